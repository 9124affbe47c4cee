/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pool.h"

static struct pool p;

static void
start(enum pool_policy policy, unsigned count)
{
	memset(&p, 0xee, sizeof(p)); /* what is not set shows */
	pool_init(&p, policy);
	for (unsigned i = 0; i < count; i++)
		pool_add(&p);
	assert_int_equal(p.count, count);
}

/* Answers so often that its usual time is this one. */
static void
settle(unsigned u, uint64_t ms)
{
	for (int i = 0; i < 100; i++)
		pool_answered(&p, u, ms);
}

static void
assert_order(const char *expected)
{
	char order[UPSTREAMS_MAX + 1] = "";

	for (unsigned i = 0; i < p.count; i++)
		order[i] = (char)('0' + p.order[i]);
	assert_string_equal(order, expected);
}

/* ---- Order ------------------------------------------------------------------------------------ */

static void
they_come_as_listed(void **state)
{
	(void)state;
	start(POOL_ORDER, UPSTREAMS_MAX);
	assert_order("01234567");
	start(POOL_FASTEST, UPSTREAMS_MAX);
	assert_order("01234567");
}

static void
order_knows_no_speed(void **state)
{
	(void)state;
	start(POOL_ORDER, 3);
	settle(0, 300);
	settle(1, 20);
	settle(2, 1);
	assert_order("012");
	pool_doubt(&p, 1, true);
	assert_order("021");
	pool_doubt(&p, 1, false);
	assert_order("012");
}

static void
who_is_doubted_comes_last_and_returns_to_its_place(void **state)
{
	(void)state;
	start(POOL_ORDER, 4);
	pool_doubt(&p, 0, true);
	assert_order("1230");
	pool_doubt(&p, 2, true);
	assert_order("1302");
	pool_doubt(&p, 2, true);
	assert_order("1302");
	pool_doubt(&p, 1, true);
	pool_doubt(&p, 3, true);
	assert_order("0123");
	pool_doubt(&p, 3, false);
	assert_order("3012");
	pool_doubt(&p, 0, false);
	assert_order("0312");
	pool_doubt(&p, 2, false);
	pool_doubt(&p, 1, false);
	assert_order("0123");
}

static void
the_fastest_comes_first(void **state)
{
	(void)state;
	start(POOL_FASTEST, 4);
	settle(0, 80);
	settle(1, 40);
	settle(2, 20);
	settle(3, 10);
	assert_order("3210");
	settle(3, 60);
	assert_order("2130");
}

/* However fast, it does not answer now. */
static void
the_fastest_comes_last_while_it_is_doubted(void **state)
{
	(void)state;
	start(POOL_FASTEST, 3);
	settle(0, 80);
	settle(1, 40);
	settle(2, 20);
	pool_doubt(&p, 2, true);
	assert_order("102");
	pool_doubt(&p, 1, true);
	assert_order("021");
	pool_doubt(&p, 2, false);
	assert_order("201");
}

static void
who_is_not_measured_comes_behind_who_is_and_else_as_listed(void **state)
{
	(void)state;
	start(POOL_FASTEST, 4);
	pool_answered(&p, 2, 3000);
	assert_order("2013");
	pool_answered(&p, 3, 5);
	assert_order("3201");
	pool_answered(&p, 0, 5);
	assert_order("3021");
}

/* A lead of less than an eighth changes nothing, in either direction. */
static void
two_that_are_alike_do_not_take_turns(void **state)
{
	(void)state;
	start(POOL_FASTEST, 2);
	settle(0, 80);
	settle(1, 71);
	assert_order("01");
	settle(1, 69);
	assert_order("10");
	settle(1, 90);
	assert_order("10");
	settle(1, 92);
	assert_order("01");
}

/* Each is hardly faster than the one before it, but the last is by far the fastest. */
static void
who_is_alike_between_them_does_not_keep_the_fastest_back(void **state)
{
	(void)state;
	start(POOL_FASTEST, 4);
	settle(0, 100);
	settle(1, 90);
	settle(2, 81);
	settle(3, 73);
	assert_order("2301");
}

/* The law of the order, after anything: nobody comes behind one that it should come before. */
static void
nobody_is_behind_one_that_is_much_slower(void **state)
{
	uint64_t seed = 1;

	(void)state;
	start(POOL_FASTEST, UPSTREAMS_MAX);
	for (unsigned round = 0; round < 20000; round++) {
		unsigned u;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		u = (unsigned)(seed >> 60) % UPSTREAMS_MAX;
		if ((seed >> 56) % 8 == 0)
			pool_doubt(&p, u, (seed >> 50 & 1) != 0);
		else
			pool_answered(&p, u, (seed >> 40) % 64);
		for (unsigned i = 1; i < UPSTREAMS_MAX; i++)
			for (unsigned j = 0; j < i; j++) {
				const struct pool_member *first = &p.member[p.order[j]],
							 *then = &p.member[p.order[i]];

				assert_true(then->doubted || !first->doubted);
				if (then->doubted == first->doubted && then->usual != 0) {
					assert_int_not_equal(first->usual, 0);
					assert_true(then->usual >= first->usual - first->usual / 8);
				}
			}
	}
}

/* ---- Times ------------------------------------------------------------------------------------ */

static void
the_first_time_is_taken_as_it_is_and_later_ones_by_an_eighth(void **state)
{
	(void)state;
	start(POOL_ORDER, 2);
	pool_answered(&p, 1, 80);
	assert_int_equal(p.member[1].usual, 640);
	assert_int_equal(p.member[0].usual, 0);
	pool_answered(&p, 1, 160);
	assert_int_equal(p.member[1].usual, 720);
	pool_answered(&p, 1, 10);
	assert_int_equal(p.member[1].usual, 640);
	settle(1, 10);
	assert_in_range(p.member[1].usual, 80, 87);
}

/* 0 would say that it was never measured. */
static void
an_answer_in_no_time_is_known_too(void **state)
{
	(void)state;
	start(POOL_FASTEST, 2);
	pool_answered(&p, 1, 0);
	assert_int_not_equal(p.member[1].usual, 0);
	assert_order("10");
	settle(1, 0);
	assert_int_not_equal(p.member[1].usual, 0);
	assert_int_equal(pool_hedge_ms(&p, 1), POOL_HEDGE_MIN_MS);
}

/* The client was served long ago. */
static void
an_answer_after_hours_counts_as_the_longest_there_is(void **state)
{
	(void)state;
	start(POOL_ORDER, 1);
	pool_answered(&p, 0, (uint64_t)1 << 32);
	assert_int_equal(p.member[0].usual, QUERY_TIMEOUT_MS * 8);
	pool_answered(&p, 0, UINT64_MAX);
	assert_int_equal(p.member[0].usual, QUERY_TIMEOUT_MS * 8);
	assert_int_equal(pool_hedge_ms(&p, 0), POOL_HEDGE_MAX_MS);
	assert_int_equal(pool_doubt_ms(&p, 0), POOL_DOUBT_MAX_MS);
}

static void
a_hedge_is_due_after_three_times_the_usual_within_bounds(void **state)
{
	(void)state;
	start(POOL_ORDER, 2);
	assert_int_equal(pool_hedge_ms(&p, 0), POOL_HEDGE_DEFAULT_MS);
	pool_answered(&p, 0, 100);
	assert_int_equal(pool_hedge_ms(&p, 0), 300);
	assert_int_equal(pool_hedge_ms(&p, 1), POOL_HEDGE_DEFAULT_MS);
	pool_answered(&p, 1, POOL_HEDGE_MIN_MS / 3 - 1);
	assert_int_equal(pool_hedge_ms(&p, 1), POOL_HEDGE_MIN_MS);
	settle(1, POOL_HEDGE_MIN_MS / 3 + 2);
	assert_in_range(pool_hedge_ms(&p, 1), POOL_HEDGE_MIN_MS + 1, POOL_HEDGE_MIN_MS + 9);
	settle(1, POOL_HEDGE_MAX_MS / 3 - 1);
	assert_in_range(pool_hedge_ms(&p, 1), POOL_HEDGE_MAX_MS - 9, POOL_HEDGE_MAX_MS - 1);
	settle(1, POOL_HEDGE_MAX_MS / 3 + 1);
	assert_int_equal(pool_hedge_ms(&p, 1), POOL_HEDGE_MAX_MS);
}

static void
silence_is_doubted_later_where_answers_take_longer(void **state)
{
	(void)state;
	start(POOL_ORDER, 1);
	assert_int_equal(pool_doubt_ms(&p, 0), POOL_DOUBT_MIN_MS);
	settle(0, 20);
	assert_int_equal(pool_doubt_ms(&p, 0), POOL_DOUBT_MIN_MS);
	settle(0, 400);
	assert_in_range(pool_doubt_ms(&p, 0), 1200, 1203);
	settle(0, 600);
	assert_int_equal(pool_doubt_ms(&p, 0), POOL_DOUBT_MAX_MS);
}

/* ---- How many hedges -------------------------------------------------------------------------- */

/* Takes hedges until there are no more. */
static unsigned
take_hedges(void)
{
	unsigned n = 0;

	for (; pool_may_hedge(&p); n++)
		pool_hedged(&p);
	return n;
}

static void
a_burst_of_hedges_and_then_one_in_ten_queries(void **state)
{
	(void)state;
	start(POOL_ORDER, 2);
	assert_int_equal(take_hedges(), POOL_HEDGE_BURST);
	for (unsigned i = 1; i <= 10 * POOL_HEDGE_SHARE; i++) {
		pool_asked(&p);
		assert_int_equal(take_hedges(), i % POOL_HEDGE_SHARE == 0);
	}
}

static void
queries_without_hedges_save_up_no_more_than_a_burst(void **state)
{
	(void)state;
	start(POOL_ORDER, 2);
	for (unsigned i = 0; i < 100000; i++)
		pool_asked(&p);
	assert_int_equal(take_hedges(), POOL_HEDGE_BURST);
	for (unsigned i = 0; i < 100000; i++)
		pool_asked(&p);
	assert_int_equal(take_hedges(), POOL_HEDGE_BURST);
}

/* ---- Looking into the others ------------------------------------------------------------------ */

static void
order_looks_into_nobody_and_one_alone_neither(void **state)
{
	(void)state;
	start(POOL_ORDER, 3);
	assert_int_equal(pool_explore(&p, 1000000), -1);
	start(POOL_FASTEST, 1);
	assert_int_equal(pool_explore(&p, 1000000), -1);
	start(POOL_FASTEST, 0);
	assert_int_equal(pool_explore(&p, 1000000), -1);
}

static void
each_but_the_first_is_looked_into_in_turn(void **state)
{
	uint64_t now = 1000000;
	unsigned times[4] = {0};

	(void)state;
	start(POOL_FASTEST, 4);
	settle(2, 10);
	for (unsigned i = 0; i < 30; i++) {
		int u = pool_explore(&p, now);

		assert_in_range(u, 0, 3);
		assert_int_equal(pool_explore(&p, now), u); /* named until it is done */
		pool_explored(&p, now);
		times[u]++;
		assert_int_equal(pool_explore(&p, now), -1);
		assert_int_equal(pool_explore(&p, now + POOL_EXPLORE_MS - 1), -1);
		now += POOL_EXPLORE_MS;
	}
	assert_int_equal(times[2], 0);
	assert_int_equal(times[0], 10);
	assert_int_equal(times[1], 10);
	assert_int_equal(times[3], 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_come_as_listed),
		cmocka_unit_test(order_knows_no_speed),
		cmocka_unit_test(who_is_doubted_comes_last_and_returns_to_its_place),
		cmocka_unit_test(the_fastest_comes_first),
		cmocka_unit_test(the_fastest_comes_last_while_it_is_doubted),
		cmocka_unit_test(who_is_not_measured_comes_behind_who_is_and_else_as_listed),
		cmocka_unit_test(two_that_are_alike_do_not_take_turns),
		cmocka_unit_test(who_is_alike_between_them_does_not_keep_the_fastest_back),
		cmocka_unit_test(nobody_is_behind_one_that_is_much_slower),
		cmocka_unit_test(the_first_time_is_taken_as_it_is_and_later_ones_by_an_eighth),
		cmocka_unit_test(an_answer_in_no_time_is_known_too),
		cmocka_unit_test(an_answer_after_hours_counts_as_the_longest_there_is),
		cmocka_unit_test(a_hedge_is_due_after_three_times_the_usual_within_bounds),
		cmocka_unit_test(silence_is_doubted_later_where_answers_take_longer),
		cmocka_unit_test(a_burst_of_hedges_and_then_one_in_ten_queries),
		cmocka_unit_test(queries_without_hedges_save_up_no_more_than_a_burst),
		cmocka_unit_test(order_looks_into_nobody_and_one_alone_neither),
		cmocka_unit_test(each_but_the_first_is_looked_into_in_turn),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
