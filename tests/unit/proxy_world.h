/* SPDX-License-Identifier: MIT */
/* All that surrounds a proxy, made up: clients, two kinds of listener, upstreams that say what the test
 * tells them to, and time that is a number.  After each event world_check() holds the proxy to its law.
 * A test may define LAW() itself before it includes this. */
#ifndef DNPROXY_TESTS_PROXY_WORLD_H
#define DNPROXY_TESTS_PROXY_WORLD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsmake.h"
#include "law.h"
#include "proxy.h"

#define WORLD_UPS 3
#define WORLD_SENT 256

/* What an upstream was given and has neither answered nor lost. */
struct world_sent {
	uint8_t msg[UPSTREAM_MSG_MAX];
	size_t len;
};

struct world_up {
	struct upstream up; /* first, so that a pointer to it is one to this */
	enum upstream_verdict verdict;
	enum upstream_verdict woken; /* its verdict once its rest has been cut short */
	struct world_sent sent[WORLD_SENT];
	unsigned count;	  /* in sent[] */
	unsigned offered; /* calls of send */
	unsigned taken;
	unsigned wakes;
	unsigned keepalives;
	uint32_t keepalive_ms;
};

struct world_listener {
	struct listener listener; /* first, so that a pointer to it is one to this */
	unsigned replies;
	uint32_t token; /* of the last reply: */
	size_t len;
	uint8_t msg[DNS_MESSAGE_MAX];
};

static struct world {
	struct proxy proxy;
	void *block;
	void *kept; /* the cache's block; NULL = there is no cache */
	struct world_listener udp, tcp;
	struct world_up up[WORLD_UPS];
	uint64_t now;
	uint64_t wake_ms; /* when one was woken last */
	uint64_t seed;
	struct prefix allow;
	void (*on_reply)(struct world_listener *l, const struct origin *to, const uint8_t *msg, size_t len);
} world;

static inline int
world_fill(void *buf, size_t len)
{
	for (uint8_t *p = buf; len-- > 0; p++) {
		world.seed = world.seed * 6364136223846793005u + 1442695040888963407u;
		*p = (uint8_t)(world.seed >> 40);
	}
	return 0;
}

static inline void
world_reply(struct listener *self, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct world_listener *l = (struct world_listener *)(void *)self;

	LAW(to->via == self && len >= DNS_HEADER && len <= to->max);
	LAW((dns_flags(msg) & DNS_QR) != 0);
	l->replies++;
	l->token = to->token;
	l->len = len;
	memcpy(l->msg, msg, len);
	if (world.on_reply != NULL)
		world.on_reply(l, to, msg, len);
}

static inline enum upstream_verdict
world_send(struct upstream *self, const uint8_t *msg, size_t len)
{
	struct world_up *u = (struct world_up *)(void *)self;

	LAW(len >= DNS_HEADER && len <= UPSTREAM_MSG_MAX);
	u->offered++;
	if (u->verdict != UPSTREAM_TAKEN)
		return u->verdict;
	if (u->count == WORLD_SENT)
		return UPSTREAM_SOON;
	memcpy(u->sent[u->count].msg, msg, len);
	u->sent[u->count++].len = len;
	u->taken++;
	return UPSTREAM_TAKEN;
}

/* Only who rests, and nobody again before its time. */
static inline bool
world_wake(struct upstream *self)
{
	struct world_up *u = (struct world_up *)(void *)self;

	LAW(u->verdict == UPSTREAM_DOWN);
	LAW(world.wake_ms == 0 || world.now - world.wake_ms >= POOL_WAKE_MS);
	world.wake_ms = world.now;
	u->wakes++;
	u->verdict = u->woken;
	return true;
}

static inline void
world_keepalive(struct upstream *self, uint32_t idle_ms)
{
	struct world_up *u = (struct world_up *)(void *)self;

	u->keepalives++;
	u->keepalive_ms = idle_ms;
}

/* A proxy with so many slots and upstreams, who take everything.  The time is not 0, so that a sum
 * forgotten somewhere shows. */
static inline void
world_start_with(uint32_t slots, unsigned ups, enum pool_policy policy)
{
	struct proxy_settings set = {.allow = &world.allow, .allows = 1, .policy = policy};

	free(world.block);
	world.on_reply = NULL;
	world.seed = 7;
	world.now = 1000000;
	world.wake_ms = 0;
	world.block = calloc(1, query_memory(slots));
	LAW(world.block != NULL && ups <= WORLD_UPS);
	LAW(prefix_parse(&world.allow, "192.0.2.0/24") == 0);
	proxy_init(&world.proxy, &set, world.block, slots, world_fill);
	world.udp.listener = (struct listener){"udp", false, -1, world_reply};
	world.tcp.listener = (struct listener){"tcp", true, 100, world_reply};
	world.udp.replies = world.tcp.replies = 0;
	for (unsigned i = 0; i < ups; i++) {
		struct world_up *u = &world.up[i];

		memset(&u->up, 0, sizeof(u->up));
		u->verdict = UPSTREAM_TAKEN;
		u->woken = UPSTREAM_DOWN;
		u->count = u->offered = u->taken = u->wakes = u->keepalives = 0;
		snprintf(u->up.name, sizeof(u->up.name), "up%u", i);
		u->up.send = world_send;
		u->up.wake = world_wake;
		u->up.keepalive = world_keepalive;
		proxy_add_upstream(&world.proxy, &u->up);
		LAW(u->up.index == i);
	}
}

static inline void
world_start(uint32_t slots, unsigned ups)
{
	world_start_with(slots, ups, POOL_ORDER);
}

static inline void
world_stop(void)
{
	free(world.block);
	free(world.kept);
	world.block = world.kept = NULL;
}

/* After world_start(): answers are kept from now on. */
static inline void
world_keep(uint32_t kib, const struct cache_rules *rules)
{
	static const uint32_t seed[2] = {1, 2};

	free(world.kept);
	world.kept = calloc(kib, 1024);
	LAW(world.kept != NULL);
	cache_init(&world.proxy.kept.cache, world.kept, (size_t)kib * 1024, rules, seed);
	world.proxy.set.prefetch = true;
}

/* Each watch list is in order of the time its queries came there, and they are due by then.  Returns how many
 * are on them. */
static inline unsigned
world_check_watches(uint64_t deadline)
{
	const struct proxy *p = &world.proxy;
	unsigned n = 0;

	for (unsigned watch = 0; watch < QUERY_WATCHES; watch++) {
		uint32_t patience = watch < QUERY_WATCH_WAITING ? pool_hedge_ms(&p->pool, watch) : POOL_WAIT_MS;
		uint64_t before = 0;
		uint16_t prev = QUERY_NONE;

		for (const struct query *q = query_watched(&p->table, watch); q != NULL;
		     q = q->by_watch.next == QUERY_NONE ? NULL : &p->table.slot[q->by_watch.next]) {
			LAW(++n <= p->table.open);
			LAW(q->watch == watch && q->by_watch.prev == prev);
			LAW(q->watch_ms >= before && q->watch_ms <= world.now);
			LAW(deadline <= q->watch_ms + patience);
			LAW((q->state == QUERY_WAITING) == (watch == QUERY_WATCH_WAITING));
			before = q->watch_ms;
			prev = (uint16_t)(q - p->table.slot);
		}
		LAW(p->table.watched[watch].last == prev);
	}
	return n;
}

/* Whether q is in the hash chain of those that twins can join. */
static inline bool
world_can_be_joined(const struct query *q)
{
	const struct query_table *t = &world.proxy.table;
	uint16_t i = t->alike[q->alike & t->chain_mask];

	while (i != QUERY_NONE && &t->slot[i] != q)
		i = t->slot[i].next_alike;
	return i != QUERY_NONE;
}

/* A twin does nothing itself: its leader does. */
static inline void
world_check_twin(const struct query *q)
{
	const struct query *leader = &world.proxy.table.slot[q->leader];

	LAW(q->leader < world.proxy.table.used && leader != q);
	LAW(leader->state == QUERY_WAITING || leader->state == QUERY_SENT);
	LAW(q->asked == 0 && q->hoped == 0 && q->sent == 0 && q->watch == QUERY_UNWATCHED);
	LAW(leader->opened_ms <= q->opened_ms && q->opened_ms - leader->begun_ms <= QUERY_JOIN_MS);
	LAW(dns_flags(q->msg) == dns_flags(leader->msg) && q->facts.dnssec_ok == leader->facts.dnssec_ok);
	LAW(dns_same_question(q->msg, &q->facts.question, leader->msg, &leader->facts.question));
	LAW(!q->facts.is_signed && !leader->facts.is_signed);
	LAW(q->facts.ecs_len == 0 && leader->facts.ecs_len == 0);
	LAW(q->opened_ms <= world.now && q->opened_ms + QUERY_TIMEOUT_MS >= world.now);
}

/* Its twins, in the order they came.  Returns how many there are. */
static inline unsigned
world_check_twins(const struct query *leader)
{
	const struct query_table *t = &world.proxy.table;
	uint16_t prev = QUERY_NONE;
	uint64_t before = 0;
	unsigned n = 0;

	for (uint16_t i = leader->twins.first; i != QUERY_NONE; i = t->slot[i].by_watch.next) {
		const struct query *q = &t->slot[i];

		LAW(++n <= t->open && q->state == QUERY_TWIN && &t->slot[q->leader] == leader);
		LAW(q->by_watch.prev == prev && q->opened_ms >= before);
		before = q->opened_ms;
		prev = i;
	}
	LAW(leader->twins.last == prev);
	return n;
}

/* What must be true of every query that is kept. */
static inline void
world_check_query(const struct query *q, enum query_list list)
{
	const struct proxy *p = &world.proxy;

	if (q->state == QUERY_TWIN) {
		LAW(list == QUERY_LIST_OPEN);
		world_check_twin(q);
		return;
	}
	LAW(query_by_id(&p->table, q->id) == q);
	LAW(q->tries <= p->ups + 1 && q->sent <= 2 * p->ups + 1 && q->tries <= q->sent);
	LAW(((q->asked | q->hoped | q->soured | q->bare | q->tried | q->last) >> p->ups) == 0);
	LAW((q->asked != 0) == (q->state != QUERY_WAITING));
	LAW((q->state == QUERY_SPENT) == (list == QUERY_LIST_SPENT));
	if (list == QUERY_LIST_SPENT) {
		LAW(q->watch == QUERY_UNWATCHED && q->twins.first == QUERY_NONE && q->alike == 0);
		return;
	}
	LAW(world_can_be_joined(q) == (q->alike != 0));
	LAW(q->alike != 0 || q->twins.first == QUERY_NONE);
	/* Who gave a sour answer has it no longer, and gets it no more. */
	LAW(((q->asked | q->hoped) & q->soured) == 0);
	/* Who waits comes to another upstream, if none of those hoped for says a word. */
	LAW(q->state != QUERY_WAITING || (q->watch == QUERY_WATCH_WAITING && q->tries <= p->ups));
	LAW(q->opened_ms <= world.now && q->opened_ms + QUERY_TIMEOUT_MS >= world.now);
}

static inline void
world_check_pool(void)
{
	const struct pool *pool = &world.proxy.pool;
	unsigned seen = 0;

	LAW(pool->count == world.proxy.ups && pool->credit <= POOL_HEDGE_BURST * POOL_HEDGE_SHARE);
	for (unsigned i = 0; i < pool->count; i++) {
		seen |= 1u << pool->order[i];
		LAW(i == 0 || pool->member[pool->order[i]].doubted ||
		    !pool->member[pool->order[i - 1]].doubted);
		LAW(world.proxy.up[i]->doubt_ms == pool_doubt_ms(pool, i));
	}
	LAW(seen == (1u << pool->count) - 1);
}

/* proxy.h's law, and that of its parts. */
static inline void
world_check(void)
{
	const struct proxy *p = &world.proxy;
	const struct proxy_counters *c = &p->count;
	uint64_t deadline = proxy_deadline(p);
	unsigned open = 0, spent = 0, watched = 0, twins = 0, led = 0;

	for (int list = 0; list < QUERY_LISTS; list++) {
		uint64_t before = 0;

		if (list == QUERY_LIST_BRIEF)
			continue; /* it comes behind OPEN */
		for (const struct query *q = query_first(&p->table, (enum query_list)list); q != NULL;
		     q = query_next(&p->table, q)) {
			world_check_query(q, (enum query_list)list);
			if (list == QUERY_LIST_SPENT) {
				spent++;
				continue;
			}
			open++;
			watched += q->watch != QUERY_UNWATCHED;
			twins += q->state == QUERY_TWIN;
			led += q->state == QUERY_TWIN ? 0 : world_check_twins(q);
			LAW(q->opened_ms >= before || q == query_oldest(&p->table, QUERY_LIST_BRIEF));
			LAW(deadline <= q->opened_ms + (q->brief ? QUERY_BRIEF_MS : QUERY_TIMEOUT_MS));
			before = q->opened_ms;
		}
	}
	LAW(open == p->table.open && spent == p->table.spent);
	LAW(twins == led && twins <= c->joined);
	LAW(open > 0 || deadline == UINT64_MAX);
	LAW(watched == world_check_watches(deadline));
	world_check_pool();
	LAW(c->asked == open + c->answered + c->refused + c->failed + c->gone);
	LAW(world.udp.replies + world.tcp.replies == c->answered + c->refused + c->failed);
	LAW(c->hedged + c->soured <= c->asked * (p->ups + 1));
	LAW(c->cached + c->stale <= c->answered && c->refreshed <= c->asked);
	LAW(p->kept.cache.buckets != 0 || c->cached + c->stale == 0);
}

/* ---- Events ----------------------------------------------------------------------------------- */

/* A name that nobody has asked before: where twins would be in the way. */
static inline const char *
world_name(void)
{
	static char name[] = "aaaaa.example";

	for (char *c = name + 4; ++*c > 'z'; c--)
		*c = 'a';
	return name;
}

/* Each client (token) has an address of its own, as far as 256 go. */
static inline struct origin
world_origin(struct world_listener *via, uint32_t token)
{
	struct origin o = {.via = &via->listener, .token = token};

	o.max = via->listener.stream ? DNS_MESSAGE_MAX : UDP_SIZE_DEFAULT;
	LAW(addr_parse(&o.peer, "192.0.2.0") == 0);
	o.peer.ip[3] = (uint8_t)token;
	return o;
}

static inline bool
world_ask(struct world_listener *via, uint32_t token, const uint8_t *msg, size_t len)
{
	struct origin o = world_origin(via, token);
	bool taken = proxy_ask(&world.proxy, &o, msg, len, world.now);

	world_check();
	return taken;
}

static inline void
world_forget(struct world_listener *via, uint32_t token)
{
	struct origin o = {.via = &via->listener, .token = token};

	proxy_forget(&world.proxy, &o);
	world_check();
}

static inline void
world_answer(unsigned up, const uint8_t *msg, size_t len)
{
	proxy_answer(&world.proxy, &world.up[up].up, msg, len, world.now);
	world_check();
}

static inline void
world_ready(unsigned up)
{
	world.up[up].verdict = UPSTREAM_TAKEN;
	proxy_ready(&world.proxy, &world.up[up].up, world.now);
	world_check();
}

/* It is silent with questions open.  What it has in hand it may answer yet. */
static inline void
world_suspect(unsigned up, bool replaced)
{
	if (replaced)
		world.up[up].verdict = UPSTREAM_MAYBE;
	proxy_suspect(&world.proxy, &world.up[up].up, replaced, world.now);
	world_check();
}

static inline void
world_kept(unsigned up)
{
	proxy_kept(&world.proxy, &world.up[up].up);
	world_check();
}

/* Its connection ends; what it says to further questions comes first, as upstreams do it. */
static inline void
world_lost(unsigned up, enum upstream_verdict verdict)
{
	world.up[up].verdict = verdict;
	world.up[up].count = 0;
	proxy_lost(&world.proxy, &world.up[up].up, world.now);
	world_check();
}

/* Time passes; the proxy is called when it asked for it, as the loop does. */
static inline void
world_pass(uint64_t ms)
{
	uint64_t end = world.now + ms, due;

	while ((due = proxy_deadline(&world.proxy)) <= end) {
		world.now = due > world.now ? due : world.now;
		proxy_tick(&world.proxy, world.now);
		world_check();
		LAW(proxy_deadline(&world.proxy) > world.now);
	}
	world.now = end;
	proxy_tick(&world.proxy, world.now);
	world_check();
}

/* Takes the k-th message out of what an upstream has in hand. */
static inline struct world_sent
world_take(unsigned up, unsigned k)
{
	struct world_up *u = &world.up[up];
	struct world_sent s;

	LAW(k < u->count);
	s = u->sent[k];
	u->count--;
	memmove(&u->sent[k], &u->sent[k + 1], (u->count - k) * sizeof(s));
	return s;
}

#endif
