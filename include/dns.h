/* SPDX-License-Identifier: MIT */
/* The DNS message on the wire (RFC 1035 section 4): reading headers, names, questions and records
 * within bounds, comparing questions, words for the log.  Pure: octets in, octets out; no I/O, no
 * clock, no allocation.  Nothing here trusts a length or a pointer it was given by the message. */
#ifndef DNPROXY_DNS_H
#define DNPROXY_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"

/* Flags of the 16-bit word behind the ID (RFC 1035 section 4.1.1, RFC 4035 section 3). */
#define DNS_QR 0x8000u
#define DNS_OPCODE 0x7800u
#define DNS_AA 0x0400u
#define DNS_TC 0x0200u
#define DNS_RD 0x0100u
#define DNS_RA 0x0080u
#define DNS_Z 0x0040u
#define DNS_AD 0x0020u
#define DNS_CD 0x0010u
#define DNS_RCODE 0x000fu

enum dns_opcode { DNS_OP_QUERY = 0, DNS_OP_DSO = 6 };

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16 /* extended: needs an OPT record (RFC 6891 section 6.1.3) */
};

/* Those that say more of who answers than of the name (RFC 9520 section 2). */
static inline bool
dns_is_failure(unsigned rcode)
{
	return rcode == DNS_SERVFAIL || rcode == DNS_REFUSED;
}

enum dns_type {
	DNS_TYPE_SOA = 6,
	DNS_TYPE_SIG = 24, /* SIG(0), RFC 2931 */
	DNS_TYPE_OPT = 41,
	DNS_TYPE_RRSIG = 46,
	DNS_TYPE_NSEC = 47,
	DNS_TYPE_NSEC3 = 50,
	DNS_TYPE_TKEY = 249, /* from here ... */
	DNS_TYPE_TSIG = 250,
	DNS_TYPE_IXFR = 251,
	DNS_TYPE_AXFR = 252,
	DNS_TYPE_MAILA = 254, /* ... to here: not asked for as data */
	DNS_TYPE_ANY = 255
};

/* A letter of a name in lower case (RFC 4343: ASCII letters and nothing else). */
static inline uint8_t
dns_lower_octet(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* What `dnproxy health` asks a program at work, which answers it itself: "ready.dnproxy", class CH, type TXT. */
#define DNS_READY_LEN 31u
extern const uint8_t dns_ready[DNS_READY_LEN];

/* Header fields of a message of at least DNS_HEADER octets. */
static inline uint16_t
dns_id(const uint8_t *msg)
{
	return get16(msg);
}
static inline uint16_t
dns_flags(const uint8_t *msg)
{
	return get16(msg + 2);
}
static inline unsigned
dns_opcode(const uint8_t *msg)
{
	return (msg[2] >> 3) & 15u;
}
static inline unsigned
dns_rcode(const uint8_t *msg)
{
	return msg[3] & 15u;
}
static inline uint16_t
dns_qdcount(const uint8_t *msg)
{
	return get16(msg + 4);
}
static inline uint16_t
dns_ancount(const uint8_t *msg)
{
	return get16(msg + 6);
}
static inline uint16_t
dns_nscount(const uint8_t *msg)
{
	return get16(msg + 8);
}
static inline uint16_t
dns_arcount(const uint8_t *msg)
{
	return get16(msg + 10);
}
static inline void
dns_set_id(uint8_t *msg, uint16_t id)
{
	put16(msg, id);
}
static inline void
dns_set_flags(uint8_t *msg, uint16_t flags)
{
	put16(msg + 2, flags);
}

/* Offset behind the name at offset at, or 0 when it does not end inside msg[0..len).  Follows no
 * pointer (a compression pointer ends the name), but demands that a pointer points backwards, behind
 * the header. */
size_t dns_skip_name(const uint8_t *msg, size_t len, size_t at);

struct dns_question {
	size_t name_len; /* octets of the name, which begins at DNS_HEADER and is not compressed */
	uint16_t type, class;
	size_t end; /* offset behind the question */
};

/* Reads the first question of a message of at least DNS_HEADER octets with QDCOUNT >= 1.
 * Returns 0, or -1 when the name is compressed, over 255 octets, or does not end in time. */
int dns_read_question(const uint8_t *msg, size_t len, struct dns_question *q);

/* Whether two questions ask the same: name without regard to ASCII case (RFC 4343), type, class. */
bool dns_same_question(const uint8_t *a, const struct dns_question *qa, const uint8_t *b,
		       const struct dns_question *qb);

/* Copies len octets of a name, letters A to Z in lower case (RFC 4343).  to may be from. */
void dns_lower(uint8_t *to, const uint8_t *from, size_t len);

struct dns_rr {
	size_t at; /* offset of the owner name */
	uint16_t type, class;
	uint32_t ttl;
	size_t rdata; /* offset of the RDATA */
	uint16_t rdlen;
	size_t end; /* offset behind the record */
};

/* Reads the record at offset at.  Returns 0, or -1 when it does not lie inside the message. */
int dns_read_rr(const uint8_t *msg, size_t len, size_t at, struct dns_rr *rr);

/* A TTL as it is to be understood: 0 when its top bit is set (RFC 2181 section 8). */
static inline uint32_t
dns_ttl(uint32_t ttl)
{
	return ttl > INT32_MAX ? 0 : ttl;
}

/* Writes the TTL of a record that dns_read_rr() read. */
static inline void
dns_set_ttl(uint8_t *msg, const struct dns_rr *rr, uint32_t ttl)
{
	put32(msg + rr->rdata - 6, ttl);
}

/* How long the answer that an SOA record stands in may say no: the lesser of its TTL and its MINIMUM (RFC
 * 2308 section 5).  0 when its RDATA is no SOA. */
uint32_t dns_negative_ttl(const uint8_t *msg, size_t len, const struct dns_rr *soa);

/* "example.com.", with \DDD and \. as master files write them (RFC 1035 section 5.1), for people;
 * cut with "..." when out is too small.  at is the offset of an uncompressed name that is known to
 * lie inside msg.  Returns out. */
#define DNS_NAME_TEXT_MAX 1024
char *dns_name_text(char *out, size_t cap, const uint8_t *msg, size_t at);

/* "A", "AAAA", "HTTPS"; "TYPE65280" when it has no name here (RFC 3597 section 5).  Returns out. */
#define DNS_TYPE_TEXT_MAX 12
char *dns_type_text(char out[DNS_TYPE_TEXT_MAX], uint16_t type);

/* "NOERROR", "NXDOMAIN"; "RCODE11" when it has no name here.  Returns out. */
#define DNS_RCODE_TEXT_MAX 12
char *dns_rcode_text(char out[DNS_RCODE_TEXT_MAX], unsigned rcode);

#endif
