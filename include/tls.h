/* SPDX-License-Identifier: MIT */
/* One TLS client session (RFC 5246, used as RFC 7858, RFC 8310 and RFC 9325 ask): octets in, octets
 * out, no descriptor, no clock, no allocation.  TLS 1.2, ECDHE with AEAD; the server's chain and name
 * are verified before any application octet can be given to it.  Behind this header stands the TLS
 * library; no other file but trust knows which. */
#ifndef DNPROXY_TLS_H
#define DNPROXY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trust.h"

struct tls;

/* Octets of the block of one session; it can be started again and again. */
size_t tls_memory(void);

/* block: tls_memory() octets, aligned for any type.  trust stays with the session. */
struct tls *tls_init(void *block, const struct trust *trust);

/* Begins a handshake with the server that must prove to be name, a DNS name without a final dot;
 * name stays valid while the session is used.  utc_s is the time certificates are judged by.
 * Returns 0; or -1 when there is no entropy yet, and nothing may be sent. */
int tls_start(struct tls *t, const char *name, int64_t utc_s);

enum tls_state {
	TLS_SHAKING, /* nothing is known of the server yet */
	TLS_OPEN,    /* chain and name are verified; application octets may go both ways */
	TLS_CLOSED   /* tls_trouble() says why, NULL for a regular end; unread octets may be left */
};
enum tls_state tls_state(const struct tls *t);

/* What went wrong, in words for the log; NULL when nothing did.  Valid until the next tls_start(). */
const char *tls_trouble(const struct tls *t);

/* Whether the trouble is that the server could not prove who it is. */
bool tls_distrusts(const struct tls *t);

/* Gives octets of the network to the session.  Returns how many it took: fewer than len when
 * application octets have to be read, or records to be drained, first; or when it is closed. */
size_t tls_feed(struct tls *t, const uint8_t *data, size_t len);

/* Octets for the network: up to cap of them are moved to out.  Returns how many; 0 = none wait. */
size_t tls_drain(struct tls *t, uint8_t *out, size_t cap);
bool tls_wants_drain(const struct tls *t);

/* Application octets that came: *data, valid until tls_read_done(), which takes n of them. */
size_t tls_read(struct tls *t, uint8_t **data);
void tls_read_done(struct tls *t, size_t n);

/* Room for the application octets of one record: NULL when none can be made now (drain first).
 * tls_write_done() makes the record of the first n of them. */
uint8_t *tls_write(struct tls *t, size_t *room);
void tls_write_done(struct tls *t, size_t n);

/* Begins a regular end: drain what it leaves, then close the connection without waiting. */
void tls_close(struct tls *t);

/* "TLS 1.2 ECDHE-ECDSA AES-128-GCM", of an open session. */
const char *tls_cipher(const struct tls *t);

/* "BearSSL 0.6": what is behind this header. */
const char *tls_library(void);

#endif
