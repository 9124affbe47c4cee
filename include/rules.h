/* SPDX-License-Identifier: MIT */
/* Whom a TLS client believes, and what it has learnt: values only. */
#ifndef DNPROXY_RULES_H
#define DNPROXY_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pin.h"
#include "trust.h"

/* Whom to believe.  A server is believed when all that is set here holds:
 *   name          a subjectAltName of its certificate is this DNS name
 *   address       with neither name nor pins: a subjectAltName is this IP address
 *   anchors       its chain ends in one of trust (RFC 5280): with pins only when trust_given is set
 *   pins          the key of a certificate that was verified, or of the anchor, is one of them
 * Without anchors in force a pin decides: that of the server's own key alone needs no clock, no chain
 * and, unless one is set, no name (RFC 7858 section 4.2); that of an issuer needs all links between and
 * their dates; a built-in anchor counts when it is pinned.  Where only an issuer's pin holds, be it with
 * anchors or without, the certificate must name the name, or if there is none the address.  Pins of
 * certificates behind the anchor, which nobody has verified, do not count. */
struct tls_rules {
	const char *name;	/* without a final dot; "" = none */
	const uint8_t *address; /* 4 or 16 octets */
	size_t address_len;
	const struct pin *pin;
	size_t pins;
	const struct trust *trust; /* also when it does not bind */
	bool trust_given;	   /* trust was chosen by the user, and binds beside pins */
	bool strict_clock;	   /* validity starts bind even when the clock is not set (now.h) */
};

/* What one connection has taught about a server and saves the next one work; in memory only.  It belongs
 * to one set of rules.  All zero: nothing is known. */
struct tls_past {
	/* A session that the server may resume (RFC 5246 section 7.3). */
	uint8_t session_id[32], secret[48];
	uint8_t session_id_len; /* 0 = none */
	uint16_t version, suite;
	uint64_t session_ms; /* the monotonic time of the handshake that verified the server */
	/* The certificate that was last verified with its whole chain. */
	uint8_t leaf[32]; /* its SHA-256 */
	bool leaf_known;
	uint64_t leaf_ms;   /* the monotonic time of that */
	int64_t until_s;    /* the first end of validity in the chain, for both; seconds since 1970 */
	bool without_clock; /* a validity start was passed over: void once the clock is set */
};

#endif
