/* SPDX-License-Identifier: MIT */
/* One connection to a DNS-over-TLS server (RFC 7858), from the first SYN to its end: TCP, TLS, and messages
 * with their length in front.  It knows nothing of queries and upstreams; who owns it decides when to
 * connect, and what an end means.  No question leaves before the server has proved who it is. */
#ifndef DNPROXY_CONN_H
#define DNPROXY_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "frame.h"
#include "now.h"
#include "tls.h"
#include "wants.h"

enum conn_state {
	CONN_CLOSED,	 /* no descriptor */
	CONN_CONNECTING, /* a SYN is on its way */
	CONN_SHAKING,	 /* TCP is there, TLS not yet verified */
	CONN_OPEN	 /* verified; messages may go both ways */
};

enum conn_event {
	CONN_NOTHING, /* all goes on; messages may have been given out */
	CONN_OPENED,  /* it is OPEN as of now */
	CONN_ENDED,   /* it was OPEN and the peer has ended it; CLOSED now */
	CONN_FAILED   /* it did not work, and .trouble says why; CLOSED now */
};

struct conn {
	enum conn_state state;
	int fd;	      /* -1 = none */
	int twin;     /* a second SYN's descriptor while CONNECTING; -1 = none */
	bool checked; /* the path, in a handshake that was silent */
	bool unseen;  /* fd was opened in this turn: what select() said is about an older one */
	const struct addr *addr;
	const struct tls_rules *rules;
	struct tls_past *past;
	struct tls *tls;
	struct frame frame;
	/* Gives a whole message out; from conn_step() only.  msg is borrowed, and may be written to. */
	void (*message)(void *ctx, uint8_t *msg, size_t len);
	void *ctx;
	uint64_t begun_ms;   /* when CONNECTING began */
	uint64_t tcp_ms;     /* when SHAKING began */
	uint64_t opened_ms;  /* when OPEN began */
	uint64_t heard_ms;   /* when octets came last */
	uint64_t active_ms;  /* when octets came, or a message was taken, last */
	uint64_t waiting_ms; /* since when the oldest question waits for any octet to come; 0 = none does */
	uint32_t unanswered; /* messages taken less messages given out */
	uint32_t heard;	     /* messages given out */
	bool distrust;	     /* after FAILED: the server could not prove who it is */
	bool local;	     /* after FAILED: our own kernel would not send (no route, no address) */
	char trouble[400];   /* after FAILED: why, in words */
	size_t out_len;
	uint8_t out[DOT_OUT_MAX]; /* records of this turn */
};

/* Octets of the block conn_init() needs. */
size_t conn_memory(void);

/* block: conn_memory() octets, aligned for any type, zero.  addr, rules and past (which may be NULL) stay
 * in use. */
struct conn *conn_init(void *block, const struct addr *addr, const struct tls_rules *rules,
		       struct tls_past *past, void (*message)(void *ctx, uint8_t *msg, size_t len), void *ctx);

/* CLOSED to CONNECTING; or to CLOSED again, with .trouble and .local, when it cannot even begin.  A second
 * SYN follows after CONN_SYN_MS, since the kernel waits longer; the first that is answered wins.  It fails
 * after DOT_CONNECT_MS, a handshake after DOT_HANDSHAKE_MS; one in which the peer's kernel falls silent too is
 * begun anew, once, after POOL_DOUBT_MIN_MS and the time the connection took.  Returns 0 or -1. */
int conn_open(struct conn *c, const struct now *now);

/* Takes one message of at most UPSTREAM_MSG_MAX octets while OPEN: one record, its length in front (RFC 7858
 * section 3.3).  Returns false when there is no room for it now. */
bool conn_send(struct conn *c, const uint8_t *msg, size_t len, uint64_t now);

/* Whether records wait to leave. */
bool conn_has_output(const struct conn *c);

/* Whether all that was sent has been acknowledged by the peer's kernel: the path is alive, whatever the
 * server does.  False where it is not known. */
bool conn_is_acknowledged(const struct conn *c);

/* Its part of a turn of the loop (wants.h).  conn_step() changes nothing behind its event: after ENDED and
 * FAILED the counters still say what was open. */
void conn_want(struct conn *c, struct wants *w);
enum conn_event conn_step(struct conn *c, const struct wants *ready, const struct now *now);
void conn_flush(struct conn *c);

/* To CLOSED: with a close_notify, best effort (RFC 5246 section 7.2.1); or without a word. */
void conn_close(struct conn *c);
void conn_drop(struct conn *c);

#endif
