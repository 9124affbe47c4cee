/* SPDX-License-Identifier: MIT */
/* Which upstream is asked next, and when another is asked as well.  Pure numbers: it sees no octet, no
 * socket and no clock.  Upstreams are named by their place in the list of the settings. */
#ifndef DNPROXY_POOL_H
#define DNPROXY_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"

enum pool_policy {
	POOL_ORDER,  /* as they are listed */
	POOL_FASTEST /* who answers soonest, which is looked into every POOL_EXPLORE_MS */
};

struct pool_member {
	uint32_t usual; /* smoothed time from question to answer, in eighths of a ms; 0 = not known */
	bool doubted;	/* it is silent with questions open */
};

struct pool {
	enum pool_policy policy;
	unsigned count;
	struct pool_member member[UPSTREAMS_MAX];
	uint8_t order[UPSTREAMS_MAX]; /* order[0..count): who is offered a query first, second ... */
	uint16_t credit;	      /* of hedges, in POOL_HEDGE_SHARE-ths */
	uint8_t explored;	      /* who was looked into last */
	uint64_t explore_ms;	      /* when the next one is due */
};

void pool_init(struct pool *p, enum pool_policy policy);

/* One more upstream, behind those already there; at most UPSTREAMS_MAX. */
void pool_add(struct pool *p);

/* What happens: a query came from a client; upstream u answered one after so many milliseconds; u is silent
 * with questions open, or is not any more. */
void pool_asked(struct pool *p);
void pool_answered(struct pool *p, unsigned u, uint64_t took_ms);
void pool_doubt(struct pool *p, unsigned u, bool doubted);

/* How long u may take for an answer before the next upstream is asked as well: POOL_HEDGE_TIMES its usual
 * time, within POOL_HEDGE_MIN_MS..POOL_HEDGE_MAX_MS. */
uint32_t pool_hedge_ms(const struct pool *p, unsigned u);

/* How long u may be silent with questions open before its connection is doubted: within
 * POOL_DOUBT_MIN_MS..POOL_DOUBT_MAX_MS. */
uint32_t pool_doubt_ms(const struct pool *p, unsigned u);

/* Whether one more hedge is within their share of all queries.  pool_hedged() says that there was one, and
 * comes only after a yes. */
bool pool_may_hedge(const struct pool *p);
void pool_hedged(struct pool *p);

/* FASTEST: an upstream that the query at hand should be put to as well, so that its time is known; -1 = none
 * is due.  pool_explored() says that it has been, or cannot be; else it is named again. */
int pool_explore(const struct pool *p, uint64_t now);
void pool_explored(struct pool *p, uint64_t now);

#endif
