/* SPDX-License-Identifier: MIT */
/* One upstream reached by DNS over TLS (RFC 7858): one lasting connection, opened when a question
 * needs it, with many questions in flight.  Nothing leaves but TLS records, and no question before
 * the server has proved who it is. */
#ifndef DNPROXY_DOT_H
#define DNPROXY_DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "frame.h"
#include "now.h"
#include "proxy.h"
#include "tls.h"
#include "upstream.h"
#include "wants.h"

enum dot_state {
	DOT_IDLE,	/* no descriptor, no grudge */
	DOT_CONNECTING, /* connect() is under way */
	DOT_SHAKING,	/* TCP is there, TLS not yet verified */
	DOT_READY,	/* chain and name are verified; questions may go */
	DOT_RESTING	/* it failed; not again before the deadline */
};

struct dot {
	struct upstream up; /* first, so that a pointer to it is one to this */
	struct proxy *proxy;
	const struct now *now; /* the turn's time */
	struct addr addr;
	const char *hostname;
	enum dot_state state;
	int fd;
	bool unseen; /* fd was opened in this turn: what select() said is about an older one */
	struct tls *tls;
	struct frame frame;
	uint64_t begun_ms;    /* when the state began */
	uint64_t waiting_ms;  /* since when the oldest question waits for any octet to come; 0 = none */
	uint64_t active_ms;   /* something was sent or heard */
	uint64_t rest_until;  /* RESTING */
	uint32_t rest_ms;     /* the next rest */
	uint32_t idle_ms;     /* how long this connection is kept when idle */
	uint32_t unanswered;  /* questions sent on this connection less answers heard */
	unsigned barren;      /* connections in a row that ended with questions and without one answer */
	bool heard_answer;    /* on this connection */
	bool blocked;	      /* somebody was told SOON for want of room */
	bool freshly_ready;   /* proxy_ready() is owed */
	uint64_t logged_ms;   /* the last line about trouble */
	unsigned failures;    /* in a row, without an answer between */
	uint64_t connections; /* opened so far */
	char trouble[400];
	uint8_t out[DOT_OUT_MAX]; /* records of this turn */
	size_t out_len;
};

/* Octets of the block dot_init() needs. */
size_t dot_memory(void);

/* block: dot_memory() octets, aligned for any type.  hostname, trust, proxy and now stay in use.
 * Adds itself to the proxy. */
struct dot *dot_init(void *block, const struct addr *addr, const char *hostname, const struct trust *trust,
		     struct proxy *proxy, const struct now *now);

/* Ends the connection, with a close_notify if there is room for it. */
void dot_close(struct dot *d);

struct member dot_member(struct dot *d);

#endif
