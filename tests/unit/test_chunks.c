/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chunks.h"

#define POOL_OCTETS ((size_t)CHUNKS * CHUNK_SIZE)

static struct chunk_pool pool;
static uint8_t data[POOL_OCTETS + 1];

/* Free chunks, counted along their chain. */
static unsigned
free_chunks(void)
{
	unsigned n = 0;

	for (uint16_t i = pool.free; i != CHUNKS; i = pool.next[i]) {
		assert_true(i < CHUNKS && n < CHUNKS);
		n++;
	}
	return n;
}

static void
start(void)
{
	chunk_pool_init(&pool);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 13 + i / 251);
}

static void
an_empty_chain_has_nothing_and_costs_nothing(void **state)
{
	const uint8_t *p;
	struct chain c;

	(void)state;
	start();
	chain_init(&c);
	assert_int_equal(c.len, 0);
	assert_int_equal(chain_peek(&pool, &c, 0, &p), 0);
	chain_take(&pool, &c, 0);
	assert_int_equal(chain_put(&pool, &c, data, 0), 0);
	assert_int_equal(c.len, 0);
	assert_int_equal(pool.left, CHUNKS);
	assert_int_equal(free_chunks(), CHUNKS);
}

static void
octets_come_out_as_they_went_in(void **state)
{
	const uint8_t *p;
	struct chain c;
	size_t at = 0, n;

	(void)state;
	start();
	chain_init(&c);
	assert_int_equal(chain_put(&pool, &c, data, 3 * CHUNK_SIZE + 5), 0);
	assert_int_equal(c.len, 3 * CHUNK_SIZE + 5);
	assert_int_equal(pool.left, CHUNKS - 4);
	while ((n = chain_peek(&pool, &c, 0, &p)) > 0) {
		assert_memory_equal(p, data + at, n);
		at += n;
		chain_take(&pool, &c, n);
	}
	assert_int_equal(at, 3 * CHUNK_SIZE + 5);
	assert_int_equal(pool.left, CHUNKS);
}

static void
what_is_too_much_changes_nothing(void **state)
{
	const uint8_t *p;
	struct chain c, other;

	(void)state;
	start();
	chain_init(&c);
	chain_init(&other);
	assert_int_equal(chain_put(&pool, &c, data, POOL_OCTETS + 1), -1);
	assert_int_equal(pool.left, CHUNKS);
	assert_int_equal(c.len, 0);
	assert_int_equal(chain_put(&pool, &c, data, POOL_OCTETS - 3), 0);
	assert_int_equal(pool.left, 0);
	assert_int_equal(chain_put(&pool, &other, data, 1), -1);
	assert_int_equal(chain_peek(&pool, &other, 0, &p), 0);
	assert_int_equal(chain_put(&pool, &c, data, 4), -1);
	assert_int_equal(c.len, POOL_OCTETS - 3);
	assert_int_equal(chain_put(&pool, &c, data, 3), 0);
	assert_int_equal(chain_put(&pool, &c, data, 1), -1);
	chain_take(&pool, &c, POOL_OCTETS);
	assert_int_equal(free_chunks(), CHUNKS);
	assert_int_equal(chain_put(&pool, &other, data, POOL_OCTETS), 0);
}

/* Each piece in its turn, without taking any: how several are written in one call. */
static void
pieces_can_be_looked_at_one_after_another(void **state)
{
	const uint8_t *p;
	struct chain c;
	size_t skip = 0, n;

	(void)state;
	start();
	chain_init(&c);
	chain_put(&pool, &c, data, 5 * CHUNK_SIZE);
	chain_take(&pool, &c, 100);
	while ((n = chain_peek(&pool, &c, skip, &p)) > 0) {
		assert_memory_equal(p, data + 100 + skip, n);
		skip += n;
	}
	assert_int_equal(skip, 5 * CHUNK_SIZE - 100);
	assert_int_equal(c.len, skip);
}

static void
chunks_go_back_as_soon_as_they_are_empty(void **state)
{
	struct chain c;

	(void)state;
	start();
	chain_init(&c);
	chain_put(&pool, &c, data, 2 * CHUNK_SIZE + 1);
	chain_take(&pool, &c, CHUNK_SIZE - 1);
	assert_int_equal(pool.left, CHUNKS - 3);
	chain_take(&pool, &c, 1);
	assert_int_equal(pool.left, CHUNKS - 2);
	chain_take(&pool, &c, CHUNK_SIZE + 1);
	assert_int_equal(pool.left, CHUNKS);
	assert_int_equal(free_chunks(), CHUNKS);
}

/* ---- Random steps of many chains, against plain queues ---------------------------------------- */

#define CHAINS 8

static struct queue {
	struct chain chain;
	uint32_t put, taken; /* octets since the beginning; octet i is what octet_of() says */
} queues[CHAINS];

static uint64_t seed = 3;

static uint32_t
chance(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static uint8_t
octet_of(size_t queue, uint32_t i)
{
	return (uint8_t)(queue * 101 + i * 7 + i / 255);
}

static size_t
chunks_needed(void)
{
	size_t n = 0;

	for (size_t i = 0; i < CHAINS; i++) {
		const struct queue *q = &queues[i];
		/* Where the first octet kept lies in its chunk is the chain's affair; without gaps. */
		size_t octets = q->put - q->taken;

		n += octets == 0 ? 0 : (q->chain.start + octets + CHUNK_SIZE - 1) / CHUNK_SIZE;
	}
	return n;
}

static void
random_put(size_t i)
{
	struct queue *q = &queues[i];
	size_t len = chance() % 8 == 0 ? chance() % 70000 : chance() % 600;
	unsigned left = pool.left;

	for (size_t at = 0; at < len; at++)
		data[at] = octet_of(i, q->put + (uint32_t)at);
	if (chain_put(&pool, &q->chain, data, len) == 0) {
		q->put += (uint32_t)len;
		return;
	}
	assert_int_equal(pool.left, left);
	assert_true(len > (size_t)left * CHUNK_SIZE);
}

static void
random_take(size_t i)
{
	struct queue *q = &queues[i];
	size_t n = q->put - q->taken;

	if (n > 0 && chance() % 4 != 0)
		n = chance() % (n < 5000 ? n + 1 : 5000);
	chain_take(&pool, &q->chain, n);
	q->taken += (uint32_t)n;
}

static void
check(size_t i)
{
	struct queue *q = &queues[i];
	const uint8_t *p;
	size_t skip = 0, n;

	assert_int_equal(q->chain.len, q->put - q->taken);
	while ((n = chain_peek(&pool, &q->chain, skip, &p)) > 0) {
		for (size_t at = 0; at < n; at++)
			if (p[at] != octet_of(i, q->taken + (uint32_t)(skip + at)))
				fail();
		skip += n;
	}
	assert_int_equal(skip, q->chain.len);
}

static void
random_steps_agree_with_plain_queues(void **state)
{
	(void)state;
	start();
	for (size_t i = 0; i < CHAINS; i++)
		chain_init(&queues[i].chain);
	for (unsigned step = 0; step < 20000; step++) {
		size_t i = chance() % CHAINS;

		if (chance() % 2 == 0)
			random_put(i);
		else
			random_take(i);
		if (step % 16 == 0)
			check(i);
		assert_int_equal(pool.left, CHUNKS - chunks_needed());
		if (step % 64 == 0)
			assert_int_equal(free_chunks(), pool.left);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_chain_has_nothing_and_costs_nothing),
		cmocka_unit_test(octets_come_out_as_they_went_in),
		cmocka_unit_test(what_is_too_much_changes_nothing),
		cmocka_unit_test(pieces_can_be_looked_at_one_after_another),
		cmocka_unit_test(chunks_go_back_as_soon_as_they_are_empty),
		cmocka_unit_test(random_steps_agree_with_plain_queues),
	};

	return cmocka_run_group_tests_name("chunks", tests, NULL, NULL);
}
