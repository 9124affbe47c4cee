/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "query.h"

#define SLOTS QUERIES_MIN

static struct query_table t;
static const struct edns_facts facts;
static uint8_t msg[QUERY_MSG_MAX + 1];
static uint32_t clients; /* so many different ones have asked */

/* ---- Chance, the same in every run ------------------------------------------------------------ */

static uint64_t seed;

static uint32_t
chance(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static int
fill(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len-- > 0)
		*p++ = (uint8_t)(chance() >> 8);
	return 0;
}

static int
fill_nothing(void *buf, size_t len)
{
	(void)buf;
	(void)len;
	return -1;
}

/* A broken source: every ID is the same. */
static int
fill_same(void *buf, size_t len)
{
	memset(buf, 0x5a, len);
	return 0;
}

static void *
start(uint32_t slots, int (*source)(void *, size_t))
{
	void *block = calloc(1, query_memory(slots));

	assert_non_null(block);
	seed = 1;
	clients = 0;
	query_init(&t, block, slots, source);
	return block;
}

/* 10.0.0.0 and the addresses behind it, one for each number. */
static struct addr
address(uint32_t number)
{
	return (struct addr){.family = ADDR_V4,
			     .ip = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static struct query *
open_by(struct addr peer, size_t len, uint64_t now)
{
	struct origin from = {.peer = peer};

	return query_open(&t, &from, msg, len, &facts, now);
}

/* A question of a client that has asked nothing else: what is fair does not matter. */
static struct query *
open_one(size_t len, uint64_t now)
{
	return open_by(address(clients++), len, now);
}

/* ---- Opening ---------------------------------------------------------------------------------- */

static void
an_opened_query_waits_and_keeps_what_it_was_given(void **state)
{
	void *block = start(SLOTS, fill);
	struct origin origin = {.token = 77, .max = 1232, .peer = address(7)};
	struct edns_facts f = {.question_end = 33, .dnssec_ok = true};
	struct query *q;

	(void)state;
	for (size_t i = 0; i < sizeof(msg); i++)
		msg[i] = (uint8_t)(i * 7);
	q = query_open(&t, &origin, msg, 100, &f, 12345);
	assert_non_null(q);
	assert_int_equal(q->state, QUERY_WAITING);
	assert_int_equal(q->origin.token, 77);
	assert_int_equal(q->origin.max, 1232);
	assert_true(addr_same(&q->origin.peer, &origin.peer));
	assert_int_equal(q->facts.question_end, 33);
	assert_true(q->facts.dnssec_ok);
	assert_int_equal(q->opened_ms, 12345);
	assert_int_equal(q->asked | q->hoped | q->soured | q->bare | q->refused | q->tried | q->last, 0);
	assert_int_equal(q->sent | q->tries, 0);
	assert_int_equal(q->watch, QUERY_UNWATCHED);
	assert_int_equal(q->len, 100);
	assert_ptr_not_equal(q->msg, msg);
	assert_memory_equal(q->msg, msg, 100);
	assert_ptr_equal(query_by_id(&t, q->id), q);
	assert_ptr_equal(query_first(&t, QUERY_LIST_OPEN), q);
	assert_null(query_next(&t, q));
	assert_null(query_first(&t, QUERY_LIST_SPENT));
	for (unsigned watch = 0; watch < QUERY_WATCHES; watch++)
		assert_null(query_watched(&t, watch));
	assert_int_equal(t.open, 1);
	free(block);
}

static void
a_reopened_slot_remembers_nothing(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q = open_one(50, 1), *again;

	(void)state;
	q->state = QUERY_SENT;
	q->asked = 3;
	q->hoped = 4;
	q->sent = q->tries = 2;
	q->bare = q->refused = q->tried = q->soured = q->last = 1;
	query_make_brief(&t, q);
	query_watch(&t, q, 2, 1);
	query_free(&t, q);
	assert_null(query_watched(&t, 2));
	again = open_one(60, 2);
	assert_ptr_equal(again, q);
	assert_int_equal(again->state, QUERY_WAITING);
	assert_int_equal(again->asked | again->hoped | again->sent | again->tries | again->bare, 0);
	assert_int_equal(again->refused | again->tried | again->soured | again->last, 0);
	assert_int_equal(again->watch, QUERY_UNWATCHED);
	assert_ptr_equal(query_oldest(&t, QUERY_LIST_OPEN), again);
	assert_null(query_oldest(&t, QUERY_LIST_BRIEF));
	free(block);
}

static void
all_slots_can_be_open_with_different_ids(void **state)
{
	void *block = start(QUERIES_MAX, fill);
	static struct query *of_id[65536];
	struct query *q;

	(void)state;
	memset(of_id, 0, sizeof(of_id));
	for (uint32_t i = 0; i < QUERIES_MAX; i++) {
		q = open_one(20, i);
		assert_non_null(q);
		assert_null(of_id[q->id]);
		of_id[q->id] = q;
	}
	assert_null(open_one(20, QUERIES_MAX));
	assert_int_equal(t.open, QUERIES_MAX);
	for (uint32_t id = 0; id < 65536; id++)
		assert_ptr_equal(query_by_id(&t, (uint16_t)id), of_id[id]);
	free(block);
}

/* With 8 of the 16 bits fixed, runs of IDs would show. */
static void
ids_use_all_sixteen_bits(void **state)
{
	void *block = start(SLOTS, fill);
	unsigned ones[16] = {0};

	(void)state;
	for (int i = 0; i < 4096; i++) {
		struct query *q = open_one(20, 0);

		for (int bit = 0; bit < 16; bit++)
			ones[bit] += (unsigned)(q->id >> bit) & 1u;
		query_free(&t, q);
	}
	for (int bit = 0; bit < 16; bit++)
		assert_in_range(ones[bit], 1848, 2248);
	free(block);
}

static void
without_entropy_nothing_is_opened(void **state)
{
	void *block = start(SLOTS, fill_nothing);

	(void)state;
	assert_null(open_one(20, 0));
	assert_int_equal(t.open, 0);
	t.fill = fill;
	assert_non_null(open_one(20, 0));
	free(block);
}

static void
a_source_that_repeats_itself_ends_in_no_query(void **state)
{
	void *block = start(SLOTS, fill_same);

	(void)state;
	assert_non_null(open_one(20, 0));
	assert_null(open_one(20, 0));
	assert_int_equal(t.open, 1);
	free(block);
}

static void
the_slot_used_last_is_used_first(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *a = open_one(20, 0), *b = open_one(20, 0), *c = open_one(20, 0);

	(void)state;
	query_free(&t, b);
	query_free(&t, a);
	query_free(&t, c);
	assert_ptr_equal(open_one(20, 1), c);
	assert_ptr_equal(open_one(20, 1), a);
	assert_ptr_equal(open_one(20, 1), b);
	assert_int_equal(t.used, 3);
	free(block);
}

static void
a_message_over_the_bound_is_not_taken(void **state)
{
	void *block = start(SLOTS, fill);

	(void)state;
	assert_null(open_one(QUERY_MSG_MAX + 1, 0));
	assert_non_null(open_one(QUERY_MSG_MAX, 0));
	free(block);
}

/* ---- Long messages ---------------------------------------------------------------------------- */

static void
long_places_are_used_up_and_given_back(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[QUERIES_LONG];

	(void)state;
	for (unsigned i = 0; i < QUERIES_LONG; i++) {
		memset(msg, (int)i, sizeof(msg));
		q[i] = open_one(i == 0 ? QUERY_SHORT + 1 : QUERY_MSG_MAX, 0);
		assert_non_null(q[i]);
	}
	assert_null(open_one(QUERY_SHORT + 1, 0));
	assert_int_equal(t.open, QUERIES_LONG);
	assert_non_null(open_one(QUERY_SHORT, 0));
	for (unsigned i = 0; i < QUERIES_LONG; i++)
		for (size_t at = 0; at < q[i]->len; at++)
			assert_int_equal(q[i]->msg[at], i);
	query_free(&t, q[7]);
	assert_non_null(open_one(QUERY_MSG_MAX, 0));
	assert_null(open_one(QUERY_MSG_MAX, 0));
	free(block);
}

static void
a_spent_query_lets_its_long_place_go(void **state)
{
	void *block = start(SLOTS, fill);

	(void)state;
	for (unsigned i = 0; i < QUERIES_LONG; i++) {
		struct query *q = open_one(QUERY_MSG_MAX, 0);

		q->state = QUERY_SENT;
		q->asked = 1;
		query_end(&t, q);
		assert_int_equal(q->state, QUERY_SPENT);
	}
	assert_int_equal(t.free_places, QUERIES_LONG);
	while (t.spent > 0)
		query_free(&t, query_first(&t, QUERY_LIST_SPENT));
	assert_int_equal(t.free_places, QUERIES_LONG);
	free(block);
}

/* The query that was refused must not keep a slot, nor cost one that is spent. */
static void
no_long_place_costs_no_slot(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q;

	(void)state;
	for (unsigned i = 0; i < QUERIES_LONG; i++)
		open_one(QUERY_MSG_MAX, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_null(open_one(QUERY_MSG_MAX, 0));
	for (unsigned i = QUERIES_LONG; i < SLOTS; i++) {
		q = open_one(20, 0);
		assert_non_null(q);
	}
	assert_null(open_one(20, 0));
	assert_int_equal(t.open, SLOTS);
	free(block);
}

/* ---- Fairness --------------------------------------------------------------------------------- */

#define SPARE QUERIES_SPARE(SLOTS)
#define SHARE QUERIES_SHARE(SLOTS)

/* Opens for one client until it gets no more.  Returns how many it got. */
static unsigned
open_all(struct addr peer, size_t len)
{
	unsigned n = 0;

	while (n <= SLOTS && open_by(peer, len, 0) != NULL)
		n++;
	return n;
}

static void
one_client_does_not_get_the_last_eighth(void **state)
{
	void *block = start(SLOTS, fill);

	(void)state;
	assert_int_equal(open_all(address(1), 20), SLOTS - SPARE);
	assert_int_equal(t.open, SLOTS - SPARE);
	for (unsigned i = 0; i < SPARE; i++)
		assert_non_null(open_by(address(100 + i), 20, 0));
	assert_null(open_by(address(100), 20, 0));
	assert_int_equal(t.open, SLOTS);
	free(block);
}

static void
the_last_eighth_is_for_who_holds_less_than_a_quarter(void **state)
{
	void *block = start(SLOTS, fill);

	(void)state;
	for (unsigned i = 0; i < SHARE - 1; i++)
		assert_non_null(open_by(address(1), 20, 0));
	assert_int_equal(open_all(address(2), 20), SLOTS - SPARE - (SHARE - 1));
	assert_non_null(open_by(address(1), 20, 0));
	assert_null(open_by(address(1), 20, 0));
	assert_non_null(open_by(address(3), 20, 0));
	free(block);
}

/* While there is room for all, one client may have it. */
static void
before_that_nobody_is_counted(void **state)
{
	void *block = start(QUERIES_MAX, fill);
	unsigned n = 0;

	(void)state;
	while (open_by(address(1), 20, 0) != NULL)
		n++;
	assert_int_equal(n, QUERIES_MAX - QUERIES_SPARE(QUERIES_MAX));
	free(block);
}

static void
what_is_served_does_not_count_any_more(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *last = NULL;
	uint8_t bucket;

	(void)state;
	clients = 100;
	open_all(address(1), 20);
	bucket = query_first(&t, QUERY_LIST_OPEN)->bucket;
	/* Two in three are spent, the others free; then others fill the table but for two slots. */
	for (unsigned i = 0; i < SLOTS - SPARE - (SHARE - 1); i++) {
		query_first(&t, QUERY_LIST_OPEN)->asked = i % 3 != 0;
		query_end(&t, query_first(&t, QUERY_LIST_OPEN));
	}
	while (t.open < SLOTS - 2) {
		last = open_one(20, 1);
		assert_non_null(last);
		if (last->bucket == bucket)
			query_free(&t, last);
	}
	assert_non_null(open_by(address(1), 20, 1));
	/* Now it holds its quarter: neither the free slot nor another's end helps it. */
	assert_null(open_by(address(1), 20, 1));
	query_free(&t, last);
	assert_null(open_by(address(1), 20, 1));
	query_end(&t, query_first(&t, QUERY_LIST_OPEN)); /* its own oldest */
	assert_non_null(open_by(address(1), 20, 1));
	free(block);
}

/* Queries that take long are held as well. */
static void
a_watched_query_still_counts(void **state)
{
	void *block = start(SLOTS, fill);

	(void)state;
	open_all(address(1), 20);
	for (struct query *q = query_first(&t, QUERY_LIST_OPEN); q != NULL; q = query_next(&t, q))
		query_watch(&t, q, q->id % QUERY_WATCHES, 0);
	assert_null(open_by(address(1), 20, 0));
	assert_non_null(open_by(address(2), 20, 0));
	free(block);
}

static void
all_addresses_of_an_ipv6_network_are_one_client(void **state)
{
	void *block = start(SLOTS, fill);
	struct addr peer;

	(void)state;
	assert_int_equal(addr_parse(&peer, "2001:db8:0:1::"), 0);
	for (unsigned i = 0; i < SLOTS - SPARE; i++) {
		peer.ip[8] = peer.ip[15] = (uint8_t)i;
		assert_non_null(open_by(peer, 20, 0));
	}
	peer.ip[8] = peer.ip[15] = 255;
	assert_null(open_by(peer, 20, 0));
	peer.ip[7] = 2; /* the next network */
	assert_non_null(open_by(peer, 20, 0));
	free(block);
}

static void
neither_port_nor_connection_make_another_client(void **state)
{
	void *block = start(SLOTS, fill);
	struct origin from = {.peer = address(1)};

	(void)state;
	for (unsigned i = 0; i < SLOTS - SPARE; i++) {
		from.token = i;
		from.peer.port = (uint16_t)(1024 + i);
		assert_non_null(query_open(&t, &from, msg, 20, &facts, 0));
	}
	from.token = from.peer.port = 9999;
	assert_null(query_open(&t, &from, msg, 20, &facts, 0));
	free(block);
}

static void
the_last_long_places_are_kept_for_others_too(void **state)
{
	void *block = start(SLOTS, fill);
	const unsigned spare = QUERIES_SPARE(QUERIES_LONG);

	(void)state;
	assert_int_equal(open_all(address(1), QUERY_SHORT + 1), QUERIES_LONG - spare);
	assert_int_equal(t.free_places, spare);
	assert_non_null(open_by(address(1), QUERY_SHORT, 0)); /* what is short needs no place */
	for (unsigned i = 0; i < spare; i++)
		assert_non_null(open_by(address(100 + i), QUERY_MSG_MAX, 0));
	assert_null(open_by(address(200), QUERY_MSG_MAX, 0));
	free(block);
}

/* Two addresses in one bucket share what one may have: nobody shall be able to choose such. */
static void
who_shares_a_bucket_is_another_matter_in_each_run(void **state)
{
	static uint8_t bucket[2][4096];
	unsigned shared = 0, still = 0;

	(void)state;
	for (unsigned run = 0; run < 2; run++) {
		void *block = calloc(1, query_memory(SLOTS));

		assert_non_null(block);
		seed = 1000 + run;
		query_init(&t, block, SLOTS, fill);
		for (uint32_t i = 0; i < 4096; i++) {
			struct query *q = open_by(address(i * 77), 20, 0);

			assert_non_null(q);
			bucket[run][i] = q->bucket;
			query_free(&t, q);
		}
		free(block);
	}
	for (unsigned i = 1; i < 4096; i++)
		if (bucket[0][i] == bucket[0][0]) {
			shared++;
			still += bucket[1][i] == bucket[1][0];
		}
	assert_in_range(shared, 4, 64); /* one in 256 */
	assert_in_range(still, 0, shared / 4);
}

/* ---- Lists ------------------------------------------------------------------------------------ */

static void
lists_are_in_order_of_age(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[5];

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		q[i] = open_one(20, i);
	/* Whatever else is done with them. */
	query_watch(&t, q[2], 0, 5);
	query_watch(&t, q[0], 0, 6);
	query_free(&t, q[3]);
	q[1]->asked = q[0]->asked = 1;
	query_end(&t, q[1]);
	query_end(&t, q[0]);
	assert_ptr_equal(query_first(&t, QUERY_LIST_OPEN), q[2]);
	assert_ptr_equal(query_next(&t, q[2]), q[4]);
	assert_null(query_next(&t, q[4]));
	assert_ptr_equal(query_first(&t, QUERY_LIST_SPENT), q[1]);
	assert_ptr_equal(query_next(&t, q[1]), q[0]);
	assert_null(query_next(&t, q[0]));
	assert_int_equal(t.open, 2);
	assert_int_equal(t.spent, 2);
	free(block);
}

/* Takes all off a watch list; they were these, in this order. */
static void
assert_watched(unsigned watch, struct query *const *expected, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_ptr_equal(query_watched(&t, watch), expected[i]);
		assert_int_equal(expected[i]->watch, watch);
		query_unwatch(&t, expected[i]);
		assert_int_equal(expected[i]->watch, QUERY_UNWATCHED);
	}
	assert_null(query_watched(&t, watch));
}

static void
watch_lists_are_in_order_of_coming_there(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[6];

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		q[i] = open_one(20, i);
	for (unsigned i = 6; i-- > 0;)
		query_watch(&t, q[i], i % 2 == 0 ? 0 : QUERY_WATCH_WAITING, 20 - i);
	assert_int_equal(q[5]->watch_ms, 15);
	assert_watched(0, (struct query *[]){q[4], q[2], q[0]}, 3);
	assert_watched(QUERY_WATCH_WAITING, (struct query *[]){q[5], q[3], q[1]}, 3);
	assert_int_equal(t.open, 6);
	free(block);
}

static void
watched_again_a_query_is_last_and_on_one_list_only(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		q[i] = open_one(20, 0);
		query_watch(&t, q[i], 3, i);
	}
	query_watch(&t, q[0], 3, 10); /* the first, */
	query_watch(&t, q[2], 3, 11); /* one in the middle, */
	query_watch(&t, q[2], 3, 12); /* and the last */
	assert_int_equal(q[2]->watch_ms, 12);
	query_watch(&t, q[3], UPSTREAMS_MAX - 1, 13);
	assert_watched(3, (struct query *[]){q[1], q[0], q[2]}, 3);
	assert_watched(UPSTREAMS_MAX - 1, &q[3], 1);
	free(block);
}

static void
off_a_watch_list_and_off_again_is_the_same(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		q[i] = open_one(20, 0);
		query_watch(&t, q[i], 1, i);
	}
	query_unwatch(&t, q[1]);
	query_unwatch(&t, q[1]);
	assert_watched(1, (struct query *[]){q[0], q[2]}, 2);
	query_unwatch(&t, q[0]);
	assert_null(query_watched(&t, 1));
	free(block);
}

static void
who_ends_is_watched_no_more(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		q[i] = open_one(20, 0);
		query_watch(&t, q[i], 5, i);
	}
	q[0]->asked = 1;
	query_end(&t, q[0]); /* spent */
	query_end(&t, q[2]); /* free */
	query_free(&t, q[3]);
	assert_int_equal(q[0]->watch, QUERY_UNWATCHED);
	assert_watched(5, &q[1], 1);
	free(block);
}

static void
a_query_may_be_ended_inside_a_walk(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q, *next;
	unsigned seen = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		open_one(20, i)->asked = i & 1;
	for (q = query_first(&t, QUERY_LIST_OPEN); q != NULL; q = next) {
		next = query_next(&t, q);
		assert_int_equal(q->opened_ms, seen++);
		query_end(&t, q);
	}
	assert_int_equal(seen, 10);
	assert_int_equal(t.open, 0);
	assert_int_equal(t.spent, 5);
	free(block);
}

/* ---- The end ---------------------------------------------------------------------------------- */

static void
a_query_nobody_has_is_free_at_its_end(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q = open_one(20, 0);
	uint16_t id = q->id;

	(void)state;
	query_end(&t, q);
	assert_int_equal(q->state, QUERY_FREE);
	assert_null(query_by_id(&t, id));
	assert_int_equal(t.open + t.spent, 0);
	free(block);
}

static void
a_spent_query_keeps_its_id(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q = open_one(20, 0);
	uint16_t id = q->id;

	(void)state;
	q->state = QUERY_SENT;
	q->asked = 2;
	query_watch(&t, q, 1, 0);
	query_end(&t, q);
	assert_int_equal(q->state, QUERY_SPENT);
	assert_ptr_equal(query_by_id(&t, id), q);
	assert_null(query_watched(&t, 1));
	assert_null(query_first(&t, QUERY_LIST_OPEN));
	assert_ptr_equal(query_first(&t, QUERY_LIST_SPENT), q);
	assert_int_equal(t.open, 0);
	assert_int_equal(t.spent, 1);
	query_free(&t, q);
	assert_null(query_by_id(&t, id));
	assert_int_equal(t.spent, 0);
	free(block);
}

static void
the_oldest_spent_query_gives_way_when_all_slots_are_taken(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q[SLOTS], *more;

	(void)state;
	for (unsigned i = 0; i < SLOTS; i++)
		q[i] = open_one(20, i);
	assert_null(open_one(20, SLOTS));
	q[9]->asked = q[4]->asked = 1;
	query_end(&t, q[9]);
	query_end(&t, q[4]);
	more = open_one(20, SLOTS);
	assert_ptr_equal(more, q[9]);
	assert_ptr_equal(query_by_id(&t, more->id), more);
	assert_ptr_equal(query_first(&t, QUERY_LIST_SPENT), q[4]);
	assert_ptr_equal(open_one(20, SLOTS), q[4]);
	assert_null(open_one(20, SLOTS));
	free(block);
}

static void
a_spent_query_is_kept_while_a_slot_is_free(void **state)
{
	void *block = start(SLOTS, fill);
	struct query *q = open_one(20, 0);

	(void)state;
	q->asked = 1;
	query_end(&t, q);
	for (unsigned i = 1; i < SLOTS; i++)
		assert_ptr_not_equal(open_one(20, i), q);
	assert_int_equal(q->state, QUERY_SPENT);
	free(block);
}

static void
memory_is_what_is_said(void **state)
{
	(void)state;
	for (uint32_t slots = QUERIES_MIN; slots <= QUERIES_MAX; slots = slots * 3 / 2 + 1) {
		void *block = start(slots, fill); /* of exactly this size: sanitizers see a step outside */

		for (uint32_t i = 0; i < slots; i++)
			assert_non_null(open_one(i < QUERIES_LONG ? QUERY_MSG_MAX : QUERY_SHORT, i));
		assert_null(open_one(20, slots));
		free(block);
	}
}

/* ---- A million random steps against a plain reference ----------------------------------------- */

struct reference {
	struct query *q; /* NULL = not in the table */
	enum query_list list;
	uint16_t id, len;
	uint8_t mark;
	uint32_t client;
	uint64_t order; /* place in its list: when it was appended */
	unsigned watch; /* the watch list it is on, or QUERY_UNWATCHED, */
	uint64_t watch_order;
	unsigned asks;		  /* what it asks; 0 = it can have no twins */
	uint64_t begun;		  /* when the first of its twins asked it */
	struct reference *leader; /* of a twin, else NULL */
};

#define CLIENTS 8u

static struct reference ref[SLOTS];
static uint64_t orders;
static unsigned long_in_eight;
static struct addr client[CLIENTS]; /* no two of them in one bucket */
static unsigned times_full, times_unfair, times_no_place, times_unfair_long;
static unsigned times_joined, times_too_late, times_in_place, times_long_in_place;

static struct reference *
ref_of(const struct query *q)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (ref[i].q == q)
			return &ref[i];
	return NULL;
}

static unsigned
ref_count(bool spent)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += ref[i].q != NULL && (ref[i].list == QUERY_LIST_SPENT) == spent;
	return n;
}

static unsigned
ref_long(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += ref[i].q != NULL && ref[i].list != QUERY_LIST_SPENT && ref[i].len > QUERY_SHORT;
	return n;
}

static unsigned
ref_held(uint32_t by)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += ref[i].q != NULL && ref[i].list != QUERY_LIST_SPENT && ref[i].client == by;
	return n;
}

static unsigned
ref_held_long(uint32_t by)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		n += ref[i].q != NULL && ref[i].list != QUERY_LIST_SPENT && ref[i].client == by &&
		     ref[i].len > QUERY_SHORT;
	return n;
}

/* bounds.h: the last eighth of the table, and of the long places, is for clients that hold less than a
 * quarter of it. */
static bool
ref_is_fair(uint32_t by, bool is_long)
{
	if (ref_count(false) >= SLOTS - SLOTS / 8 && ref_held(by) >= SLOTS / 4)
		return false;
	return !is_long || QUERIES_LONG - ref_long() > QUERIES_LONG / 8 || ref_held_long(by) < QUERIES_LONG / 4;
}

static struct reference *
ref_oldest(enum query_list list)
{
	struct reference *best = NULL;

	for (unsigned i = 0; i < SLOTS; i++)
		if (ref[i].q != NULL && ref[i].list == list && (best == NULL || ref[i].order < best->order))
			best = &ref[i];
	return best;
}

static struct reference *
ref_any(void)
{
	struct reference *r = &ref[chance() % SLOTS];

	return r->q != NULL ? r : NULL;
}

/* ---- Twins in the reference */

#define ASKED 12u /* different questions that may have twins; each name with and without DO */

static struct edns_facts asked_facts;

/* Makes msg[0..len) one that asks what the number says, in some spelling, with an OPT that fills it up. */
static void
make_twin_of(unsigned asks, size_t len, uint8_t mark)
{
	memset(msg + DNS_HEADER + 6, mark, len - DNS_HEADER - 6);
	memset(msg, 0, DNS_HEADER);
	memcpy(msg + DNS_HEADER, "\4name", 6);
	msg[DNS_HEADER + 1] = (uint8_t)('a' + asks / 2);
	for (unsigned i = 1; i <= 4; i++)
		if (chance() % 2 == 0)
			msg[DNS_HEADER + i] ^= 0x20;
	asked_facts = (struct edns_facts){.question_end = DNS_HEADER + 6, .dnssec_ok = asks % 2 == 1};
	asked_facts.question = (struct dns_question){.name_len = 6, .type = 1, .class = 1};
	asked_facts.opt_len = (uint16_t)(len - asked_facts.question_end);
}

static struct reference *
ref_leader(unsigned asks, uint64_t now)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (ref[i].q != NULL && ref[i].list == QUERY_LIST_OPEN && ref[i].leader == NULL &&
		    ref[i].asks == asks && asks != 0) {
			if (now - ref[i].begun <= QUERY_JOIN_MS)
				return &ref[i];
			times_too_late++;
		}
	return NULL;
}

/* Who has waited longest for r's answer; NULL = nobody does. */
static struct reference *
ref_heir(const struct reference *r)
{
	struct reference *best = NULL;

	for (unsigned i = 0; i < SLOTS; i++)
		if (ref[i].q != NULL && ref[i].leader == r && (best == NULL || ref[i].order < best->order))
			best = &ref[i];
	return best;
}

/* r's client goes, and its first twin goes on in its place. */
static void
ref_bequeath(struct reference *r, struct reference *heir)
{
	heir->q = r->q;
	heir->id = r->id;
	heir->watch = r->watch;
	heir->watch_order = r->watch_order;
	heir->begun = r->begun;
	heir->leader = NULL;
	for (unsigned i = 0; i < SLOTS; i++)
		if (ref[i].q != NULL && ref[i].leader == r)
			ref[i].leader = heir;
	r->q = NULL;
	times_in_place++;
	times_long_in_place += heir->len > QUERY_SHORT;
}

static void
random_open(uint64_t now)
{
	size_t len = 1 + chance() % (chance() % 8 < long_in_eight ? QUERY_MSG_MAX : QUERY_SHORT);
	bool full = ref_count(false) == SLOTS, no_place = len > QUERY_SHORT && ref_long() == QUERIES_LONG;
	struct reference *r, *oldest = ref_oldest(QUERY_LIST_SPENT);
	bool gives_way = ref_count(false) + ref_count(true) == SLOTS && oldest != NULL;
	uint32_t by = chance() % 3 == 0 ? 0 : chance() % CLIENTS; /* the first asks more than the others */
	bool unfair = !ref_is_fair(by, len > QUERY_SHORT);
	uint8_t mark = (uint8_t)chance();
	unsigned asks = chance() % 2 == 0 || len < 32 ? 0 : 1 + chance() % ASKED;
	struct reference *leader = ref_leader(asks, now);
	struct origin from = {.peer = client[by], .token = (uint32_t)orders};
	struct query *q;

	memset(msg, mark, len);
	if (asks != 0)
		make_twin_of(asks, len, mark);
	q = query_open(&t, &from, msg, len, asks != 0 ? &asked_facts : &facts, now);
	if (full || no_place || unfair) {
		times_full += full;
		times_no_place += no_place;
		times_unfair += !full && unfair && len <= QUERY_SHORT;
		times_unfair_long += !no_place && unfair && len > QUERY_SHORT;
		assert_null(q);
		if (gives_way) /* not for this */
			assert_ptr_equal(query_by_id(&t, oldest->id), oldest->q);
		return;
	}
	if (gives_way)
		assert_ptr_equal(q, oldest->q);
	if (gives_way)
		oldest->q = NULL;
	if (q == NULL) {
		fail();
		return;
	}
	assert_null(ref_of(q));
	for (r = ref; r->q != NULL; r++)
		;
	assert_int_equal(q->state, leader != NULL ? QUERY_TWIN : QUERY_WAITING);
	times_joined += leader != NULL;
	for (unsigned i = 0; i < SLOTS && leader == NULL; i++)
		assert_false(ref[i].q != NULL && ref[i].leader == NULL && ref[i].id == q->id);
	*r = (struct reference){q,	  QUERY_LIST_OPEN, q->id, (uint16_t)len, mark, by,
				orders++, QUERY_UNWATCHED, 0,	  asks,		 now,  leader};
}

static void
random_end(struct reference *r)
{
	struct reference *heir = ref_heir(r);

	if (r->list == QUERY_LIST_SPENT)
		return;
	if (r->leader == NULL)
		r->q->asked = chance() % 2;
	if (heir != NULL) {
		assert_true(query_has_twins(r->q));
		query_end(&t, r->q);
		ref_bequeath(r, heir);
		return;
	}
	r->watch = QUERY_UNWATCHED;
	if (r->q->asked != 0) {
		r->list = QUERY_LIST_SPENT;
		r->order = orders++;
		query_end(&t, r->q);
	} else {
		query_end(&t, r->q);
		r->q = NULL;
	}
}

static void
check_list(enum query_list list)
{
	uint64_t last = 0;
	unsigned n = 0, expected = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		expected += ref[i].q != NULL && ref[i].list == list;
	for (struct query *q = query_first(&t, list); q != NULL; q = query_next(&t, q)) {
		struct reference *r = ref_of(q);

		assert_non_null(r);
		assert_int_equal(r->list, list);
		assert_true(n == 0 || r->order > last);
		last = r->order;
		n++;
	}
	assert_int_equal(n, expected);
}

static void
random_watch(struct reference *r, uint64_t now)
{
	if (r->list != QUERY_LIST_OPEN || r->leader != NULL)
		return;
	r->watch = chance() % (QUERY_WATCHES + 1);
	if (r->watch == QUERY_WATCHES) {
		r->watch = QUERY_UNWATCHED;
		query_unwatch(&t, r->q);
		return;
	}
	r->watch_order = orders++;
	query_watch(&t, r->q, r->watch, now);
	assert_true(r->q->watch_ms == now);
}

static void
check_watch(unsigned watch)
{
	uint64_t last = 0;
	unsigned n = 0, expected = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		expected += ref[i].q != NULL && ref[i].watch == watch;
	for (struct query *q = query_watched(&t, watch); q != NULL;
	     q = q->by_watch.next == QUERY_NONE ? NULL : &t.slot[q->by_watch.next]) {
		struct reference *r = ref_of(q);

		assert_non_null(r);
		assert_int_equal(r->watch, watch);
		assert_int_equal(q->watch, watch);
		assert_true(n == 0 || r->watch_order > last);
		last = r->watch_order;
		n++;
	}
	assert_int_equal(n, expected);
}

/* Those who wait for r's answer, in the order they came. */
static void
check_twins(const struct reference *r)
{
	uint64_t last = 0;
	unsigned n = 0;

	for (uint16_t i = r->q->twins.first; i != QUERY_NONE; i = t.slot[i].by_watch.next) {
		const struct reference *twin = ref_of(&t.slot[i]);

		assert_non_null(twin);
		assert_ptr_equal(twin->leader, r);
		assert_ptr_equal(&t.slot[twin->q->leader], r->q);
		assert_true(n == 0 || twin->order > last);
		assert_true(twin->order > r->order);
		last = twin->order;
		n++;
	}
	for (unsigned i = 0; i < SLOTS; i++)
		n -= ref[i].q != NULL && ref[i].leader == r;
	assert_int_equal(n, 0);
}

static void
check_all(void)
{
	for (unsigned watch = 0; watch < QUERY_WATCHES; watch++)
		check_watch(watch);
	for (int list = 0; list < QUERY_LISTS; list++)
		check_list((enum query_list)list);
	assert_int_equal(t.open, ref_count(false));
	assert_int_equal(t.spent, ref_count(true));
	assert_int_equal(t.free_places, QUERIES_LONG - ref_long());
	for (unsigned i = 0; i < SLOTS; i++) {
		if (ref[i].q == NULL)
			continue;
		assert_int_equal(ref[i].q->state == QUERY_TWIN, ref[i].leader != NULL);
		if (ref[i].leader == NULL) {
			assert_ptr_equal(query_by_id(&t, ref[i].id), ref[i].q);
			check_twins(&ref[i]);
		}
		if (ref[i].list == QUERY_LIST_SPENT)
			continue;
		assert_true(addr_same(&ref[i].q->origin.peer, &client[ref[i].client]));
		assert_int_equal(ref[i].q->len, ref[i].len);
		assert_int_equal(ref[i].q->msg[ref[i].asks != 0 ? DNS_HEADER + 6 : 0], ref[i].mark);
		assert_int_equal(ref[i].q->msg[ref[i].len - 1], ref[i].mark);
	}
}

/* Addresses of which no two lie in one bucket: the reference counts clients, not buckets. */
static void
choose_clients(void)
{
	bool taken[ORIGIN_BUCKETS] = {false};
	unsigned n = 0;

	for (uint32_t i = 0; n < CLIENTS; i++) {
		struct query *q = open_by(address(i), 20, 0);

		assert_non_null(q);
		if (!taken[q->bucket])
			client[n++] = address(i);
		taken[q->bucket] = true;
		query_free(&t, q);
	}
}

static void
random_steps_agree_with_a_plain_reference(void **state)
{
	void *block = start(SLOTS, fill);
	struct reference *r;

	(void)state;
	memset(ref, 0, sizeof(ref));
	choose_clients();
	for (uint32_t i = 0; i < 1000000; i++) {
		/* Seasons, so that the table and its long places are at times empty and at times full. */
		uint32_t what = chance() % 16, opens = i / 1000 % 2 == 0 ? 9 : 5;

		long_in_eight = i / 1000 % 3 == 0 ? 8 : 2;
		if (what < opens) {
			random_open(i);
		} else if ((r = ref_any()) != NULL) {
			if (what < 12) {
				random_end(r);
			} else if (what < 14) {
				if (ref_heir(r) != NULL)
					continue;
				query_free(&t, r->q);
				r->q = NULL;
			} else {
				random_watch(r, i);
			}
		}
		if (i % 64 == 0)
			check_all();
	}
	check_all();
	/* It was all met, and often. */
	assert_true(times_full > 100 && times_unfair > 100 && times_no_place > 100 && times_unfair_long > 100);
	assert_true(times_joined > 10000 && times_too_late > 100);
	assert_true(times_in_place > 10000 && times_long_in_place > 1000);
	free(block);
}

static int
by_hash(const void *a, const void *b)
{
	const uint32_t *one = a, *other = b;

	return one[0] < other[0] ? -1 : one[0] > other[0];
}

/* Opens a query with one of many names: 16 letters, chosen by the number. */
static struct query *
open_number(uint32_t number)
{
	struct origin from = {.peer = address(number)};
	struct edns_facts f = {.question_end = DNS_HEADER + 22,
			       .question = {.name_len = 18, .type = 1, .class = 1}};

	memset(msg, 0, f.question_end);
	msg[DNS_HEADER] = 16;
	seed = number;
	for (unsigned i = 1; i <= 16; i++)
		msg[DNS_HEADER + i] = (uint8_t)('a' + chance() % 26);
	return query_open(&t, &from, msg, f.question_end, &f, 0);
}

/* Different names with the same hash: they are looked for. */
static void
equal_hashes_make_no_twins(void **state)
{
	enum { NAMES = 300000 };
	static uint32_t hashes[NAMES][2];
	void *block = start(SLOTS, fill);
	unsigned pairs = 0;

	(void)state;
	for (uint32_t i = 0; i < NAMES; i++) {
		struct query *q = open_number(i);

		hashes[i][0] = q->alike;
		hashes[i][1] = i;
		query_free(&t, q);
	}
	qsort(hashes, NAMES, sizeof(hashes[0]), by_hash);
	for (unsigned i = 1; i < NAMES; i++) {
		struct query *one, *other;

		if (hashes[i][0] != hashes[i - 1][0])
			continue;
		one = open_number(hashes[i][1]);
		other = open_number(hashes[i - 1][1]);
		assert_int_equal(one->alike, other->alike);
		assert_int_equal(other->state, QUERY_WAITING);
		assert_int_equal(open_number(hashes[i][1])->leader, one - t.slot);
		assert_int_equal(open_number(hashes[i - 1][1])->leader, other - t.slot);
		pairs++;
		while ((one = query_first(&t, QUERY_LIST_OPEN)) != NULL)
			query_end(&t, one);
	}
	assert_true(pairs > 0);
	free(block);
}

/* Whoever ends meanwhile, and whoever goes on in whose place: a walk meets each client once that is there when
 * its turn comes. */
static void
a_walk_meets_all_whoever_ends_meanwhile(void **state)
{
	unsigned gone = 0, met_later = 0;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		void *block = start(SLOTS, fill);
		bool met[40] = {false}, ended[40] = {false};
		struct query *q, *other;
		uint64_t last[2] = {0, 0}; /* on OPEN, and behind it on BRIEF */

		seed = round;
		for (unsigned i = 0; i < 40; i++) {
			unsigned asks = chance() % 4; /* 0: alone */
			struct origin from = {.peer = address(i), .token = i};

			make_twin_of(asks, 40, 1);
			q = query_open(&t, &from, msg, 40, asks != 0 ? &asked_facts : &facts, i);
			if (q->state != QUERY_TWIN)
				q->asked = chance() % 2;
			if (round % 2 == 1 && chance() % 2 == 0)
				query_make_brief(&t, q);
		}
		query_walk(&t, QUERY_LIST_OPEN);
		while ((q = query_walked(&t)) != NULL) {
			assert_false(met[q->origin.token] || ended[q->origin.token]);
			assert_true(q->state == QUERY_WAITING || q->state == QUERY_TWIN);
			assert_true(q->opened_ms >= last[q->brief] && (q->brief || last[1] == 0));
			last[q->brief] = q->opened_ms;
			met[q->origin.token] = true;
			for (unsigned n = chance() % 4; n > 0; n--) {
				other = chance() % 3 == 0 ? q : &t.slot[chance() % 40];
				if (other->state != QUERY_WAITING && other->state != QUERY_TWIN)
					continue;
				ended[other->origin.token] = true;
				gone++;
				met_later += query_has_twins(other);
				query_end(&t, other);
			}
		}
		for (unsigned i = 0; i < 40; i++)
			assert_true(met[i] || ended[i]);
		free(block);
	}
	assert_true(gone > 100000 && met_later > 10000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_opened_query_waits_and_keeps_what_it_was_given),
		cmocka_unit_test(a_reopened_slot_remembers_nothing),
		cmocka_unit_test(all_slots_can_be_open_with_different_ids),
		cmocka_unit_test(ids_use_all_sixteen_bits),
		cmocka_unit_test(without_entropy_nothing_is_opened),
		cmocka_unit_test(a_source_that_repeats_itself_ends_in_no_query),
		cmocka_unit_test(the_slot_used_last_is_used_first),
		cmocka_unit_test(a_message_over_the_bound_is_not_taken),
		cmocka_unit_test(long_places_are_used_up_and_given_back),
		cmocka_unit_test(a_spent_query_lets_its_long_place_go),
		cmocka_unit_test(no_long_place_costs_no_slot),
		cmocka_unit_test(one_client_does_not_get_the_last_eighth),
		cmocka_unit_test(the_last_eighth_is_for_who_holds_less_than_a_quarter),
		cmocka_unit_test(before_that_nobody_is_counted),
		cmocka_unit_test(what_is_served_does_not_count_any_more),
		cmocka_unit_test(a_watched_query_still_counts),
		cmocka_unit_test(all_addresses_of_an_ipv6_network_are_one_client),
		cmocka_unit_test(neither_port_nor_connection_make_another_client),
		cmocka_unit_test(the_last_long_places_are_kept_for_others_too),
		cmocka_unit_test(who_shares_a_bucket_is_another_matter_in_each_run),
		cmocka_unit_test(lists_are_in_order_of_age),
		cmocka_unit_test(watch_lists_are_in_order_of_coming_there),
		cmocka_unit_test(watched_again_a_query_is_last_and_on_one_list_only),
		cmocka_unit_test(off_a_watch_list_and_off_again_is_the_same),
		cmocka_unit_test(who_ends_is_watched_no_more),
		cmocka_unit_test(a_query_may_be_ended_inside_a_walk),
		cmocka_unit_test(a_query_nobody_has_is_free_at_its_end),
		cmocka_unit_test(a_spent_query_keeps_its_id),
		cmocka_unit_test(the_oldest_spent_query_gives_way_when_all_slots_are_taken),
		cmocka_unit_test(a_spent_query_is_kept_while_a_slot_is_free),
		cmocka_unit_test(memory_is_what_is_said),
		cmocka_unit_test(random_steps_agree_with_a_plain_reference),
		cmocka_unit_test(equal_hashes_make_no_twins),
		cmocka_unit_test(a_walk_meets_all_whoever_ends_meanwhile),
	};

	return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
