/* SPDX-License-Identifier: MIT */
/* One TLS client session (RFC 5246, used as RFC 7858, RFC 8310 and RFC 9325 ask): octets in, octets
 * out, no descriptor, no clock, no allocation.  TLS 1.2, ECDHE with AEAD; the server proves who it is,
 * as the rules ask, before any application octet can be given to it.  Behind this header stands the TLS
 * library; no other files but trust and verify know which. */
#ifndef DNPROXY_TLS_H
#define DNPROXY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "now.h"
#include "rules.h"

struct tls;

/* How much work the handshake was. */
enum tls_effort {
	TLS_FULL,	/* the whole chain was verified */
	TLS_KNOWN_LEAF, /* the same certificate as last time: name and dates were verified, not the chain */
	TLS_RESUMED	/* an earlier session went on */
};

/* Octets of the block of one session; it can be started again and again. */
size_t tls_memory(void);

/* block: tls_memory() octets, aligned for any type. */
struct tls *tls_init(void *block);

/* Begins a handshake with a server that must prove itself by the rules; they, past (NULL = none) and what
 * they point to stay valid while the session is used.  Without a name in the rules none is sent (SNI).
 * past is read now, and written when the handshake has ended well; TLS_SESSION_S, TLS_LEAF_S and the
 * certificates' own dates bound how long it counts.  Of a handshake that went wrong, or ended with the
 * next tls_start(), past loses what it had given to it.  Several sessions may share one past.
 * Returns 0; or -1 when there is no entropy yet, and nothing may be sent. */
int tls_start(struct tls *t, const struct tls_rules *rules, struct tls_past *past, const struct now *now);

/* Calls seen(ctx, ...) for every certificate of the chain as it came, before it is judged, in this and all
 * later handshakes; NULL = nobody.  Those over CERT_MAX or behind CHAIN_MAX are not shown.  der is borrowed
 * for the call. */
void tls_watch_chain(struct tls *t, void (*seen)(void *ctx, const uint8_t *der, size_t len), void *ctx);

enum tls_state {
	TLS_SHAKING, /* nothing is known of the server yet */
	TLS_OPEN,    /* the rules hold; application octets may go both ways */
	TLS_CLOSED   /* tls_trouble() says why, NULL for a regular end; unread octets may be left */
};
enum tls_state tls_state(const struct tls *t);

/* Of a session that is or was open. */
enum tls_effort tls_effort(const struct tls *t);

/* Whether a validity start was passed over, now or when the session began that was resumed. */
bool tls_without_clock(const struct tls *t);

/* What the server chose of ALPN (RFC 7301); NULL = nothing. */
const char *tls_protocol(const struct tls *t);

/* What went wrong, in words for the log; NULL when nothing did.  Valid until the next tls_start(). */
const char *tls_trouble(const struct tls *t);

/* Whether the trouble is that the server could not prove who it is. */
bool tls_distrusts(const struct tls *t);

/* Gives octets of the network to the session.  Returns how many it took: fewer than len when
 * application octets have to be read, or records to be drained, first; or when it is closed. */
size_t tls_feed(struct tls *t, const uint8_t *data, size_t len);

/* How many octets to read for tls_feed() while the session is being made: never 0, and so few that at most one
 * thing is computed that takes long, where a server sends in one piece what asks for several of them. */
size_t tls_bite(const struct tls *t);

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
