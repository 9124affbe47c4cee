/* SPDX-License-Identifier: MIT */
/* The life of a query: checked, sent, sent again, answered or given up.  No sockets, no clock: it
 * works on octets, slots and a number called now, in monotonic milliseconds, that never goes back.
 *
 * Every message that is judged worth an answer gets exactly one reply, unless its client is gone.
 * At any moment
 *     asked   = open + answered + refused + failed + gone
 *     replies = answered + refused + failed */
#ifndef DNPROXY_PROXY_H
#define DNPROXY_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "kept.h"
#include "listener.h"
#include "pool.h"
#include "query.h"
#include "upstream.h"

struct proxy_counters {
	uint64_t dropped;   /* no query at all: too short, or a response */
	uint64_t asked;	    /* all others */
	uint64_t answered;  /* with what an upstream said, now or: */
	uint64_t cached;    /* before */
	uint64_t stale;	    /* long before, since none says it now */
	uint64_t refused;   /* at the door: malformed, not allowed, not supported, no room; health's too */
	uint64_t failed;    /* SERVFAIL: no upstream answered in time */
	uint64_t gone;	    /* the client left before its answer came, or there was none */
	uint64_t refreshed; /* asked by ourselves, before a kept answer expires, or for health; then gone */
	uint64_t joined;    /* asked what was on its way already: one question upstream for both */
	uint64_t again;	    /* sent once more, for whatever reason: */
	uint64_t hedged;    /* its upstream took long */
	uint64_t soured;    /* answered SERVFAIL or REFUSED, and so asked of another */
	uint64_t late;	    /* answers to queries nobody waits for any more */
	uint64_t strangers; /* answers that match no query, or not its question */
};

struct proxy_settings {
	const struct prefix *allow; /* who is answered; stays with the proxy */
	size_t allows;
	enum pool_policy policy;
	bool prefetch;
	bool log_queries;
};

struct proxy {
	struct proxy_settings set;
	unsigned ups;
	bool ending;
	unsigned woken;	       /* whose rest was cut short last */
	uint64_t wake_ms;      /* not again before this */
	uint64_t ready_until;  /* an upstream has answered lately, and no query has failed since */
	uint64_t ready_ask_ms; /* none is asked for this sake until then */
	struct proxy_counters count;
	struct query_table table;
	struct pool pool;
	struct listener nobody; /* who asks when no client does */
	struct upstream *up[UPSTREAMS_MAX];
	uint64_t plain_until[UPSTREAMS_MAX]; /* it refuses OPT: none is sent before this */
	uint8_t refusals[UPSTREAMS_MAX];     /* questions in a row it answered only without OPT */
	struct kept kept;		     /* .cache may be set up behind proxy_init() */
	uint8_t out[DNS_MESSAGE_MAX];	     /* where every message that leaves is made */
};

/* block is for the query table: query_memory(slots) octets, aligned, zero.  fill as there. */
void proxy_init(struct proxy *p, const struct proxy_settings *set, void *block, uint32_t slots,
		int (*fill)(void *, size_t));

/* Adds an upstream behind those already there; at most UPSTREAMS_MAX.  Sets up->index. */
void proxy_add_upstream(struct proxy *p, struct upstream *up);

/* A client asks.  msg[0..len), len <= QUERY_MSG_MAX, is borrowed for the call.  Returns false when
 * the message is dropped: no reply will come.  The reply may come inside the call.
 *
 * dns_ready is answered to everybody, whoever is allowed, and gives away one bit: NOERROR, if an upstream has
 * answered in the last READY_MS, and no query has failed more than HEALTH_MS behind that; else SERVFAIL, and an
 * upstream is asked for the name servers of the root, once in QUERY_JOIN_MS at most. */
bool proxy_ask(struct proxy *p, const struct origin *from, const uint8_t *msg, size_t len, uint64_t now);

/* The client is gone (via and token count, addresses do not): what it asked is forgotten. */
void proxy_forget(struct proxy *p, const struct origin *gone);

/* News from an upstream; transports say them from their own step() only, after they have put their
 * own state in order.  answer: a message came (msg is borrowed; it may be anything).  ready: it
 * takes questions again.  suspect: it is silent with questions open; they may still be answered, but those
 * that nobody has who speaks go to others now, and, when its connection is being replaced, all that no other
 * took now to itself once more when it is ready.  kept: it was not replaced after all, so they do not.  lost:
 * whatever it had taken and not answered will not be answered. */
void proxy_answer(struct proxy *p, struct upstream *up, const uint8_t *msg, size_t len, uint64_t now);
void proxy_ready(struct proxy *p, struct upstream *up, uint64_t now);
void proxy_suspect(struct proxy *p, struct upstream *up, bool replaced, uint64_t now);
void proxy_kept(struct proxy *p, const struct upstream *up);
void proxy_lost(struct proxy *p, struct upstream *up, uint64_t now);

/* The end is near: questions are answered from the cache or refused, and what nobody else has asked is forgotten.
 * Answers to what is on its way are still passed on. */
void proxy_end(struct proxy *p);

/* The end: whoever waits is told, as if nobody had answered in time. */
void proxy_close(struct proxy *p, uint64_t now);

/* When proxy_tick() is due; UINT64_MAX = nothing waits. */
uint64_t proxy_deadline(const struct proxy *p);
void proxy_tick(struct proxy *p, uint64_t now);

#endif
