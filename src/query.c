/* SPDX-License-Identifier: MIT */
#include "query.h"

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
	return padded(slots * sizeof(struct query)) + padded(chains_for(slots) * sizeof(uint16_t)) +
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
	t->chain = (uint16_t *)(void *)p;
	t->chain_mask = (uint16_t)(chains_for(slots) - 1);
	p += padded(chains_for(slots) * sizeof(uint16_t));
	t->place = (uint8_t(*)[QUERY_MSG_MAX])p;
	t->fill = fill;
	if (fill(&t->seed, sizeof(t->seed)) == -1)
		t->seed = 0; /* then there are no IDs, and no queries, either */

	t->free = QUERY_NONE;
	memset(t->chain, 0xff, chains_for(slots) * sizeof(uint16_t));
	memset(t->first, 0xff, sizeof(t->first));
	memset(t->last, 0xff, sizeof(t->last));
	memset(t->first_watched, 0xff, sizeof(t->first_watched));
	memset(t->last_watched, 0xff, sizeof(t->last_watched));
	for (uint16_t i = 0; i < QUERIES_LONG; i++)
		t->free_place[t->free_places++] = i;
}

static uint16_t
index_of(const struct query_table *t, const struct query *q)
{
	return (uint16_t)(q - t->slot);
}

static enum query_list
list_of(const struct query *q)
{
	return q->state == QUERY_SPENT ? QUERY_LIST_SPENT : QUERY_LIST_OPEN;
}

static void
append(struct query_table *t, struct query *q)
{
	enum query_list list = list_of(q);
	uint16_t i = index_of(t, q);

	q->next = QUERY_NONE;
	q->prev = t->last[list];
	if (q->prev == QUERY_NONE)
		t->first[list] = i;
	else
		t->slot[q->prev].next = i;
	t->last[list] = i;
	if (list == QUERY_LIST_SPENT) {
		t->spent++;
	} else {
		t->open++;
		t->held[q->bucket]++;
	}
}

static void
take_off(struct query_table *t, struct query *q)
{
	enum query_list list = list_of(q);

	if (q->prev == QUERY_NONE)
		t->first[list] = q->next;
	else
		t->slot[q->prev].next = q->next;
	if (q->next == QUERY_NONE)
		t->last[list] = q->prev;
	else
		t->slot[q->next].prev = q->prev;
	if (list == QUERY_LIST_SPENT) {
		t->spent--;
	} else {
		t->open--;
		t->held[q->bucket]--;
	}
}

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

/* FNV-1a over what tells clients apart. */
static uint8_t
bucket_of(const struct query_table *t, const struct addr *peer)
{
	uint32_t h = t->seed ^ 2166136261u;
	size_t octets = addr_client_octets(peer);

	for (size_t i = 0; i < octets; i++)
		h = (h ^ peer->ip[i]) * 16777619u;
	return (uint8_t)((h ^ h >> 16) % ORIGIN_BUCKETS);
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

static void
hash_in(struct query_table *t, struct query *q)
{
	uint16_t *head = &t->chain[q->id & t->chain_mask];

	q->next_same = *head;
	*head = index_of(t, q);
}

static void
hash_out(struct query_table *t, const struct query *q)
{
	uint16_t *link = &t->chain[q->id & t->chain_mask];

	while (*link != index_of(t, q))
		link = &t->slot[*link].next_same;
	*link = q->next_same;
}

static struct query *
take_slot(struct query_table *t)
{
	uint16_t i = t->free;

	if (i != QUERY_NONE) {
		t->free = t->slot[i].next;
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

static void
give_slot_back(struct query_table *t, struct query *q)
{
	q->state = QUERY_FREE;
	q->next = t->free;
	t->free = index_of(t, q);
}

struct query *
query_open(struct query_table *t, const struct origin *origin, const uint8_t *msg, size_t len,
	   const struct edns_facts *facts, uint64_t now)
{
	uint8_t bucket = bucket_of(t, &origin->peer);
	struct query *q;
	uint16_t id;

	if (len > QUERY_MSG_MAX || (len > QUERY_SHORT && t->free_places == 0) || !is_fair(t, bucket, len) ||
	    draw_id(t, &id) == -1)
		return NULL;
	if (t->open + t->spent == t->slots && t->spent > 0)
		query_free(t, &t->slot[t->first[QUERY_LIST_SPENT]]);
	q = take_slot(t);
	if (q == NULL)
		return NULL;
	q->bucket = bucket;
	q->msg = take_place(t, q, len);
	memcpy(q->msg, msg, len);
	q->len = (uint16_t)len;
	q->id = id;
	q->origin = *origin;
	q->facts = *facts;
	q->opened_ms = now;
	q->asked = q->hoped = q->soured = q->bare = q->refused = q->tried = q->last = 0;
	q->sent = q->tries = 0;
	q->watch = QUERY_UNWATCHED;
	q->state = QUERY_WAITING;
	hash_in(t, q);
	append(t, q);
	return q;
}

void
query_unwatch(struct query_table *t, struct query *q)
{
	if (q->watch == QUERY_UNWATCHED)
		return;
	if (q->prev_watched == QUERY_NONE)
		t->first_watched[q->watch] = q->next_watched;
	else
		t->slot[q->prev_watched].next_watched = q->next_watched;
	if (q->next_watched == QUERY_NONE)
		t->last_watched[q->watch] = q->prev_watched;
	else
		t->slot[q->next_watched].prev_watched = q->prev_watched;
	q->watch = QUERY_UNWATCHED;
}

void
query_watch(struct query_table *t, struct query *q, unsigned watch, uint64_t now)
{
	uint16_t i = index_of(t, q);

	query_unwatch(t, q);
	q->watch = (uint8_t)watch;
	q->watch_ms = now;
	q->next_watched = QUERY_NONE;
	q->prev_watched = t->last_watched[watch];
	if (q->prev_watched == QUERY_NONE)
		t->first_watched[watch] = i;
	else
		t->slot[q->prev_watched].next_watched = i;
	t->last_watched[watch] = i;
}

struct query *
query_watched(const struct query_table *t, unsigned watch)
{
	return t->first_watched[watch] == QUERY_NONE ? NULL : &t->slot[t->first_watched[watch]];
}

void
query_end(struct query_table *t, struct query *q)
{
	if (q->asked == 0) {
		query_free(t, q);
		return;
	}
	query_unwatch(t, q);
	take_off(t, q);
	give_place_back(t, q);
	q->state = QUERY_SPENT;
	append(t, q);
}

void
query_free(struct query_table *t, struct query *q)
{
	query_unwatch(t, q);
	take_off(t, q);
	hash_out(t, q);
	give_place_back(t, q);
	give_slot_back(t, q);
}

struct query *
query_by_id(const struct query_table *t, uint16_t id)
{
	uint16_t i = t->chain[id & t->chain_mask];

	while (i != QUERY_NONE && t->slot[i].id != id)
		i = t->slot[i].next_same;
	return i != QUERY_NONE ? &t->slot[i] : NULL;
}

struct query *
query_first(const struct query_table *t, enum query_list list)
{
	return t->first[list] == QUERY_NONE ? NULL : &t->slot[t->first[list]];
}

struct query *
query_next(const struct query_table *t, const struct query *q)
{
	return q->next == QUERY_NONE ? NULL : &t->slot[q->next];
}
