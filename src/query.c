/* SPDX-License-Identifier: MIT */
#include "query.h"

#include <stddef.h>
#include <string.h>

#include "bytes.h"

/* Parts of the block, in this order; each begins at a multiple of 16. */
static size_t
padded(size_t n)
{
	return (n + 15u) & ~(size_t)15u;
}

static uint32_t
chains_for(uint32_t slots)
{
	uint32_t n = QUERIES_MIN;

	while (n < slots)
		n *= 2;
	return n;
}

size_t
query_memory(uint32_t slots)
{
	return padded(slots * sizeof(struct query)) + 2 * padded(chains_for(slots) * sizeof(uint16_t)) +
	       (size_t)QUERIES_LONG * QUERY_MSG_MAX;
}

void
query_init(struct query_table *t, void *block, uint32_t slots, int (*fill)(void *, size_t))
{
	uint8_t *p = block;

	memset(t, 0, sizeof(*t));
	t->slot = (struct query *)block;
	t->slots = (uint16_t)slots;
	p += padded(slots * sizeof(struct query));
	t->ids = (uint16_t *)(void *)p;
	t->chain_mask = (uint16_t)(chains_for(slots) - 1);
	p += padded(chains_for(slots) * sizeof(uint16_t));
	t->alike = (uint16_t *)(void *)p;
	p += padded(chains_for(slots) * sizeof(uint16_t));
	t->place = (uint8_t(*)[QUERY_MSG_MAX])p;
	t->fill = fill;
	if (fill(&t->seed, sizeof(t->seed)) == -1)
		t->seed = 0; /* then there are no IDs, and no queries, either */

	t->free = QUERY_NONE;
	memset(t->ids, 0xff, (size_t)((uint8_t *)t->place - (uint8_t *)t->ids));
	memset(t->list, 0xff, sizeof(t->list));
	memset(t->watched, 0xff, sizeof(t->watched));
	for (uint16_t i = 0; i < QUERIES_LONG; i++)
		t->free_place[t->free_places++] = i;
}

static uint16_t
index_of(const struct query_table *t, const struct query *q)
{
	return (uint16_t)(q - t->slot);
}

/* ---- Lists and chains ----------------------------------------------------------------------- */

/* Where a query's links are. */
enum links { BY_AGE = offsetof(struct query, by_age), BY_WATCH = offsetof(struct query, by_watch) };

static struct query_links *
links_of(struct query_table *t, uint16_t i, enum links kind)
{
	return (struct query_links *)(void *)((uint8_t *)&t->slot[i] + kind);
}

/* Behind prev; QUERY_NONE = as the first. */
static void
link_in(struct query_table *t, struct query_ends *ends, enum links kind, uint16_t i, uint16_t prev)
{
	struct query_links *l = links_of(t, i, kind);
	uint16_t *next = prev == QUERY_NONE ? &ends->first : &links_of(t, prev, kind)->next;

	l->prev = prev;
	l->next = *next;
	*next = i;
	*(l->next == QUERY_NONE ? &ends->last : &links_of(t, l->next, kind)->prev) = i;
}

static void
link_out(struct query_table *t, struct query_ends *ends, enum links kind, uint16_t i)
{
	const struct query_links *l = links_of(t, i, kind);

	*(l->prev == QUERY_NONE ? &ends->first : &links_of(t, l->prev, kind)->next) = l->next;
	*(l->next == QUERY_NONE ? &ends->last : &links_of(t, l->next, kind)->prev) = l->prev;
}

static enum query_list
list_of(const struct query *q)
{
	if (q->state == QUERY_SPENT)
		return QUERY_LIST_SPENT;
	return q->brief ? QUERY_LIST_BRIEF : QUERY_LIST_OPEN;
}

/* The one behind q; BRIEF follows OPEN. */
static uint16_t
next_of(const struct query_table *t, const struct query *q)
{
	if (q->by_age.next != QUERY_NONE || list_of(q) != QUERY_LIST_OPEN)
		return q->by_age.next;
	return t->list[QUERY_LIST_BRIEF].first;
}

static void
count_in(struct query_table *t, const struct query *q, int by)
{
	if (q->state == QUERY_SPENT) {
		t->spent = (uint16_t)(t->spent + by);
	} else {
		t->open = (uint16_t)(t->open + by);
		t->held[q->bucket] = (uint16_t)(t->held[q->bucket] + by);
	}
}

/* Onto its list: there it is as old as prev, which is just behind it. */
static void
put_behind(struct query_table *t, struct query *q, uint16_t prev)
{
	link_in(t, &t->list[list_of(q)], BY_AGE, index_of(t, q), prev);
	count_in(t, q, 1);
}

static void
append(struct query_table *t, struct query *q)
{
	put_behind(t, q, t->list[list_of(q)].last);
}

static void
take_off(struct query_table *t, struct query *q)
{
	if (t->walk == index_of(t, q))
		t->walk = next_of(t, q);
	link_out(t, &t->list[list_of(q)], BY_AGE, index_of(t, q));
	count_in(t, q, -1);
}

/* ---- Opening -------------------------------------------------------------------------------- */

/* A random ID that no query of the table has.  At most a quarter of all IDs is taken, so a few
 * draws do; the bound only keeps a broken source from holding us up. */
static int
draw_id(struct query_table *t, uint16_t *id)
{
	for (int draws = 0; draws < 64; draws++) {
		if (t->pool_left < 2) {
			if (t->fill(t->pool, sizeof(t->pool)) == -1)
				return -1;
			t->pool_left = sizeof(t->pool);
		}
		t->pool_left = (uint16_t)(t->pool_left - 2);
		*id = get16(t->pool + t->pool_left);
		if (query_by_id(t, *id) == NULL)
			return 0;
	}
	return -1;
}

/* FNV-1a from h on, over octets with some bits set.  A different h ends as a different hash. */
static uint32_t
hash(const struct query_table *t, uint32_t h, const uint8_t *p, size_t len, unsigned set)
{
	h ^= t->seed;
	for (; len > 0; len--)
		h = (h ^ (*p++ | set)) * 16777619u;
	return h ^ h >> 16;
}

static uint8_t
bucket_of(const struct query_table *t, const struct addr *peer)
{
	return (uint8_t)(hash(t, 0, peer->ip, addr_client_octets(peer), 0) % ORIGIN_BUCKETS);
}

/* Whether this client may have one more, or one more long one. */
static bool
is_fair(const struct query_table *t, uint8_t bucket, size_t len)
{
	if (t->open >= t->slots - QUERIES_SPARE(t->slots) && t->held[bucket] >= QUERIES_SHARE(t->slots))
		return false;
	return len <= QUERY_SHORT || t->free_places > QUERIES_SPARE(QUERIES_LONG) ||
	       t->held_long[bucket] < QUERIES_SHARE(QUERIES_LONG);
}

/* ---- Twins ---------------------------------------------------------------------------------- */

/* A hash of what twins have in common, whatever the case of letters; 0 for a query that can have none. */
static uint32_t
alike_of(const struct query_table *t, const uint8_t *msg, size_t len, const struct edns_facts *f)
{
	if (!edns_is_plain(f, len))
		return 0;
	return hash(t, dns_flags(msg) | (uint32_t)f->dnssec_ok << 16, msg + DNS_HEADER,
		    f->question_end - DNS_HEADER, 'a' - 'A');
}

/* Of two that ask the same question with other flags or another DO, the hashes differ. */
static struct query *
find_leader(const struct query_table *t, uint32_t alike, const uint8_t *msg, const struct edns_facts *f,
	    uint64_t now)
{
	uint16_t i = t->alike[alike & t->chain_mask];

	for (; i != QUERY_NONE; i = t->slot[i].next_alike) {
		struct query *q = &t->slot[i];

		if (q->alike == alike && now - q->begun_ms <= QUERY_JOIN_MS &&
		    dns_same_question(q->msg, &q->facts.question, msg, &f->question))
			return q;
	}
	return NULL;
}

/* Lets it be found: by its ID, and by twins. */
static void
publish(struct query_table *t, struct query *q)
{
	uint16_t *head = &t->ids[q->id & t->chain_mask];

	q->next_id = *head;
	*head = index_of(t, q);
	head = &t->alike[q->alike & t->chain_mask];
	if (q->alike == 0)
		return;
	q->next_alike = *head;
	*head = index_of(t, q);
}

/* No twin finds it any more. */
static void
withdraw(struct query_table *t, struct query *q)
{
	uint16_t *link = &t->alike[q->alike & t->chain_mask];

	if (q->alike == 0)
		return;
	while (*link != index_of(t, q))
		link = &t->slot[*link].next_alike;
	*link = q->next_alike;
	q->alike = 0;
}

static void
hash_out(struct query_table *t, const struct query *q)
{
	uint16_t *link = &t->ids[q->id & t->chain_mask];

	while (*link != index_of(t, q))
		link = &t->slot[*link].next_id;
	*link = q->next_id;
}

/* ---- Slots ---------------------------------------------------------------------------------- */

static struct query *
take_slot(struct query_table *t)
{
	uint16_t i = t->free;

	if (i != QUERY_NONE) {
		t->free = t->slot[i].by_age.next;
		return &t->slot[i];
	}
	if (t->used < t->slots)
		return &t->slot[t->used++];
	return NULL;
}

/* Where the message will lie; for a long one there is a place. */
static uint8_t *
take_place(struct query_table *t, struct query *q, size_t len)
{
	q->long_place = QUERY_NONE;
	if (len <= QUERY_SHORT)
		return q->small;
	q->long_place = t->free_place[--t->free_places];
	t->held_long[q->bucket]++;
	return t->place[q->long_place];
}

static void
give_place_back(struct query_table *t, struct query *q)
{
	if (q->long_place != QUERY_NONE) {
		t->free_place[t->free_places++] = q->long_place;
		t->held_long[q->bucket]--;
	}
	q->long_place = QUERY_NONE;
}

struct query *
query_open(struct query_table *t, const struct origin *origin, const uint8_t *msg, size_t len,
	   const struct edns_facts *facts, uint64_t now)
{
	uint8_t bucket = bucket_of(t, &origin->peer);
	uint32_t alike = alike_of(t, msg, len, facts);
	struct query *q, *leader = find_leader(t, alike, msg, facts, now);
	uint16_t id = 0;

	if (len > QUERY_MSG_MAX || (len > QUERY_SHORT && t->free_places == 0) || !is_fair(t, bucket, len) ||
	    (leader == NULL && draw_id(t, &id) == -1))
		return NULL;
	if (t->open + t->spent == t->slots && t->spent > 0)
		query_free(t, &t->slot[t->list[QUERY_LIST_SPENT].first]);
	q = take_slot(t);
	if (q == NULL)
		return NULL;
	memset(q, 0, offsetof(struct query, opened_ms));
	q->bucket = bucket;
	q->msg = take_place(t, q, len);
	memcpy(q->msg, msg, len);
	q->len = (uint16_t)len;
	q->id = id;
	q->origin = *origin;
	q->facts = *facts;
	q->opened_ms = q->begun_ms = now;
	q->watch = QUERY_UNWATCHED;
	q->brief = false;
	q->twins.first = q->twins.last = QUERY_NONE;
	q->alike = alike;
	q->state = QUERY_WAITING;
	append(t, q);
	if (leader == NULL) {
		publish(t, q);
		return q;
	}
	q->state = QUERY_TWIN;
	q->leader = index_of(t, leader);
	link_in(t, &leader->twins, BY_WATCH, index_of(t, q), leader->twins.last);
	return q;
}

void
query_unwatch(struct query_table *t, struct query *q)
{
	if (q->watch == QUERY_UNWATCHED)
		return;
	link_out(t, &t->watched[q->watch], BY_WATCH, index_of(t, q));
	q->watch = QUERY_UNWATCHED;
}

void
query_watch(struct query_table *t, struct query *q, unsigned watch, uint64_t now)
{
	query_unwatch(t, q);
	q->watch = (uint8_t)watch;
	q->watch_ms = now;
	link_in(t, &t->watched[watch], BY_WATCH, index_of(t, q), t->watched[watch].last);
}

static struct query *
at(const struct query_table *t, uint16_t i)
{
	return i != QUERY_NONE ? &t->slot[i] : NULL;
}

struct query *
query_watched(const struct query_table *t, unsigned watch)
{
	return at(t, t->watched[watch].first);
}

/* q's client goes, and that of a twin takes its place. */
static void
bequeath(struct query_table *t, struct query *q)
{
	struct query *heir = &t->slot[q->twins.first];
	const size_t from = offsetof(struct query, opened_ms);

	take_off(t, q);
	give_place_back(t, q);
	memcpy((uint8_t *)q + from, (uint8_t *)heir + from, sizeof(*q) - from);
	if (q->long_place == QUERY_NONE)
		q->msg = q->small;
	heir->long_place = QUERY_NONE;
	put_behind(t, q, index_of(t, heir));
	query_free(t, heir);
}

void
query_end(struct query_table *t, struct query *q)
{
	if (query_has_twins(q)) {
		bequeath(t, q);
		return;
	}
	if (q->asked == 0) {
		query_free(t, q);
		return;
	}
	withdraw(t, q);
	query_unwatch(t, q);
	take_off(t, q);
	give_place_back(t, q);
	q->state = QUERY_SPENT;
	append(t, q);
}

void
query_free(struct query_table *t, struct query *q)
{
	if (q->state == QUERY_TWIN) {
		link_out(t, &t->slot[q->leader].twins, BY_WATCH, index_of(t, q));
	} else {
		withdraw(t, q);
		query_unwatch(t, q);
		hash_out(t, q);
	}
	take_off(t, q);
	give_place_back(t, q);
	q->state = QUERY_FREE;
	q->by_age.next = t->free;
	t->free = index_of(t, q);
}

const struct query *
query_leader(const struct query_table *t, const struct query *q)
{
	return q->state == QUERY_TWIN ? &t->slot[q->leader] : q;
}

struct query *
query_by_id(const struct query_table *t, uint16_t id)
{
	uint16_t i = t->ids[id & t->chain_mask];

	while (i != QUERY_NONE && t->slot[i].id != id)
		i = t->slot[i].next_id;
	return at(t, i);
}

void
query_make_brief(struct query_table *t, struct query *q)
{
	take_off(t, q);
	q->brief = true;
	append(t, q);
}

struct query *
query_oldest(const struct query_table *t, enum query_list list)
{
	return at(t, t->list[list].first);
}

struct query *
query_first(const struct query_table *t, enum query_list list)
{
	struct query *q = query_oldest(t, list);

	return q == NULL && list == QUERY_LIST_OPEN ? query_oldest(t, QUERY_LIST_BRIEF) : q;
}

struct query *
query_next(const struct query_table *t, const struct query *q)
{
	return at(t, next_of(t, q));
}

void
query_walk(struct query_table *t, enum query_list list)
{
	const struct query *q = query_first(t, list);

	t->walk = q != NULL ? index_of(t, q) : QUERY_NONE;
}

struct query *
query_walked(struct query_table *t)
{
	struct query *q = at(t, t->walk);

	if (q != NULL)
		t->walk = next_of(t, q);
	return q;
}
