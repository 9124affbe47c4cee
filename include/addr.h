/* SPDX-License-Identifier: MIT */
/* Addresses, ports and prefixes as values.  Text in, text out; no look-ups of names, no sockets
 * (a zone such as %br-lan is turned into its index by the system). */
#ifndef DNPROXY_ADDR_H
#define DNPROXY_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };

/* All octets are significant for addr_same(): what the family does not use is 0. */
struct addr {
	uint8_t family; /* enum addr_family */
	uint16_t port;	/* host order; 0 = none */
	uint32_t scope; /* IPv6 zone index; 0 = none */
	uint8_t ip[16]; /* network order; IPv4 uses the first four octets */
};

struct prefix {
	uint8_t family;
	uint8_t bits; /* 0..32 or 0..128; octets behind them are 0 */
	uint8_t ip[16];
};

/* "[xxxx:xxxx:xxxx:xxxx:xxxx:xxxx:255.255.255.255%4294967295]@65535" and the final NUL. */
#define ADDR_TEXT_MAX 72

/* Reads an IPv4 or IPv6 literal: "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "fe80::1%eth0",
 * "fe80::1%2".  The port becomes 0.  Returns 0, or -1 (then *a is unchanged). */
int addr_parse(struct addr *a, const char *text);

/* Reads "192.0.2.0/24", "2001:db8::/32", or a bare address (all its bits).  A prefix with bits
 * set behind its length is refused: it says two things.  Returns 0, or -1. */
int prefix_parse(struct prefix *p, const char *text);

/* Writes "192.0.2.1@853", "[2001:db8::1]@853"; without a port only the address, and then without
 * brackets.  Returns out. */
char *addr_text(char out[ADDR_TEXT_MAX], const struct addr *a);

/* Writes "192.0.2.0/24".  Returns out. */
char *prefix_text(char out[ADDR_TEXT_MAX], const struct prefix *p);

/* Whether family, address, zone and port are the same. */
bool addr_same(const struct addr *a, const struct addr *b);

/* Whether it is 0.0.0.0 or ::, which stand for all addresses of this machine. */
bool addr_is_unspecified(const struct addr *a);

/* Whether it lies in 127.0.0.0/8 or is ::1. */
bool addr_is_loopback(const struct addr *a);

/* How many octets of the address tell one client from another: all, but of a public IPv6 address the
 * first eight, since one client may have a whole /64. */
size_t addr_client_octets(const struct addr *a);

/* Whether the address lies in the prefix.  IPv4 never lies in an IPv6 prefix, nor the reverse,
 * but an IPv4-mapped IPv6 address (::ffff:192.0.2.1) is judged as the IPv4 address it is. */
bool prefix_has(const struct prefix *p, const struct addr *a);

#endif
