/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <string.h>

void
pool_init(struct pool *p, enum pool_policy policy)
{
	memset(p, 0, sizeof(*p));
	p->policy = policy;
	p->credit = POOL_HEDGE_BURST * POOL_HEDGE_SHARE;
}

/* ---- Order ---------------------------------------------------------------------------------- */

/* Whether a comes before b: those in doubt last; then whom the policy prefers; then as listed.  To be the
 * faster one takes an eighth: two that are alike do not take turns. */
static bool
comes_before(const struct pool *p, unsigned a, unsigned b)
{
	const struct pool_member *x = &p->member[a], *y = &p->member[b];

	if (x->doubted != y->doubted)
		return y->doubted;
	if (p->policy == POOL_ORDER || x->usual == 0 || y->usual == 0)
		return p->policy == POOL_FASTEST && x->usual != y->usual ? x->usual != 0 : a < b;
	return x->usual < y->usual - y->usual / 8;
}

/* An insertion sort from what was in force: each goes before the first that it comes before, though there be
 * some alike between them; who comes before nobody stays. */
static void
sort(struct pool *p)
{
	for (unsigned i = 1; i < p->count; i++) {
		uint8_t u = p->order[i];
		unsigned at = 0;

		while (at < i && !comes_before(p, u, p->order[at]))
			at++;
		memmove(&p->order[at + 1], &p->order[at], i - at);
		p->order[at] = u;
	}
}

void
pool_add(struct pool *p)
{
	p->order[p->count] = (uint8_t)p->count;
	p->count++;
}

/* ---- What happens --------------------------------------------------------------------------- */

void
pool_asked(struct pool *p)
{
	if (p->credit < POOL_HEDGE_BURST * POOL_HEDGE_SHARE)
		p->credit++;
}

/* Smoothed as RFC 6298 section 2 does it: an eighth of each new time. */
void
pool_answered(struct pool *p, unsigned u, uint64_t took_ms)
{
	struct pool_member *m = &p->member[u];
	uint32_t took = took_ms < QUERY_TIMEOUT_MS ? (uint32_t)took_ms * 8 : QUERY_TIMEOUT_MS * 8;

	if (m->usual == 0)
		m->usual = took;
	else
		m->usual += took / 8 - m->usual / 8;
	if (m->usual == 0)
		m->usual = 1;
	if (p->policy == POOL_FASTEST)
		sort(p);
}

void
pool_doubt(struct pool *p, unsigned u, bool doubted)
{
	if (p->member[u].doubted == doubted)
		return;
	p->member[u].doubted = doubted;
	sort(p);
}

/* ---- Times ---------------------------------------------------------------------------------- */

static uint32_t
within(uint32_t value, uint32_t low, uint32_t high)
{
	if (value < low)
		return low;
	return value < high ? value : high;
}

uint32_t
pool_hedge_ms(const struct pool *p, unsigned u)
{
	uint32_t usual = p->member[u].usual;

	if (usual == 0)
		return POOL_HEDGE_DEFAULT_MS;
	return within(usual * POOL_HEDGE_TIMES / 8, POOL_HEDGE_MIN_MS, POOL_HEDGE_MAX_MS);
}

uint32_t
pool_doubt_ms(const struct pool *p, unsigned u)
{
	return within(p->member[u].usual * POOL_HEDGE_TIMES / 8, POOL_DOUBT_MIN_MS, POOL_DOUBT_MAX_MS);
}

bool
pool_may_hedge(const struct pool *p)
{
	return p->credit >= POOL_HEDGE_SHARE;
}

void
pool_hedged(struct pool *p)
{
	p->credit = (uint16_t)(p->credit - POOL_HEDGE_SHARE);
}

/* ---- Looking into the others ---------------------------------------------------------------- */

int
pool_explore(const struct pool *p, uint64_t now)
{
	unsigned u = p->explored;

	if (p->policy != POOL_FASTEST || p->count < 2 || now < p->explore_ms)
		return -1;
	do
		u = (u + 1) % p->count;
	while (u == p->order[0]);
	return (int)u;
}

void
pool_explored(struct pool *p, uint64_t now)
{
	p->explored = (uint8_t)pool_explore(p, now);
	p->explore_ms = now + POOL_EXPLORE_MS;
}
