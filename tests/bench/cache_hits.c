/* SPDX-License-Identifier: MIT */
/* Compares what the cache forgets with LRU, FIFO and SIEVE of the same size, on made-up questions: names by Zipf's
 * law, and some that are asked for once and never again.  Answers have 50 to 500 octets, the cache holds a tenth
 * of the names.  Prints the share of hits for each; octets are counted alike, with the cache's overhead.
 *
 *	cache_hits [NAMES [QUESTIONS]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "zipf.h"

#define OVERHEAD (CACHE_ENTRY + 6u)
#define FOREVER 1000000u

static uint32_t names = 30000, questions = 1000000;

/* The next name: one of the known ones, or in so many of a hundred questions a new one. */
static uint32_t
next_name(uint32_t question, unsigned once)
{
	uint32_t known = known_name(names);

	return chance() % 100 < once ? names + question : known;
}

/* ---- A list of names: LRU, FIFO, SIEVE --------------------------------------------------------- */

enum rule { FIFO, LRU, SIEVE };
#define END UINT32_MAX

struct node {
	uint32_t newer, older;
	bool here, visited;
};

static struct node *nodes;
static uint32_t newest, oldest, hand;
static uint64_t held;

static void
unlink_node(uint32_t i)
{
	struct node *n = &nodes[i];

	if (n->newer == END)
		newest = n->older;
	else
		nodes[n->newer].older = n->older;
	if (n->older == END)
		oldest = n->newer;
	else
		nodes[n->older].newer = n->newer;
	n->here = false;
	held -= answer_len(i) + OVERHEAD;
}

static void
link_node(uint32_t i)
{
	nodes[i] = (struct node){.newer = END, .older = newest, .here = true};
	if (newest == END)
		oldest = i;
	else
		nodes[newest].newer = i;
	newest = i;
	held += answer_len(i) + OVERHEAD;
}

/* SIEVE: the hand goes from the oldest to the newest and takes the first that was not asked for again. */
static uint32_t
victim(enum rule rule)
{
	if (rule != SIEVE)
		return oldest;
	for (;; hand = nodes[hand].newer) {
		if (hand == END)
			hand = oldest;
		if (!nodes[hand].visited)
			break;
		nodes[hand].visited = false;
	}
	return hand;
}

static bool
ask_list(enum rule rule, uint32_t name, uint64_t size)
{
	if (nodes[name].here) {
		nodes[name].visited = true;
		if (rule == LRU) {
			unlink_node(name);
			link_node(name);
		}
		return true;
	}
	while (held + answer_len(name) + OVERHEAD > size) {
		uint32_t i = victim(rule);

		hand = nodes[i].newer;
		unlink_node(i);
	}
	link_node(name);
	return false;
}

/* ---- The cache --------------------------------------------------------------------------------- */

static struct cache cache;
static uint8_t *block;

/* ---- The table --------------------------------------------------------------------------------- */

/* The share of hits in the second half of the questions, in thousandths of a percent.  kind: a rule, or -1 =
 * the cache. */
static double
run(int kind, unsigned once, uint64_t size)
{
	static const struct cache_rules rules = {.max_ttl = FOREVER};
	static const uint32_t key[2] = {1, 2};
	uint32_t hits = 0;

	seed = 7;
	memset(nodes, 0, (names + questions) * sizeof(*nodes));
	newest = oldest = hand = END;
	held = 0;
	memset(block, 0, size);
	cache_init(&cache, block, size, &rules, key);
	for (uint32_t i = 0; i < questions; i++) {
		uint32_t name = next_name(i, once);
		bool hit = kind == -1 ? ask_cache(&cache, name, FOREVER, 1)
				      : ask_list((enum rule)kind, name, size);

		if (i >= questions / 2)
			hits += hit;
	}
	return 200.0 * hits / questions;
}

int
main(int argc, char **argv)
{
	uint64_t size = 0;

	if (argc > 1)
		names = (uint32_t)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		questions = (uint32_t)strtoul(argv[2], NULL, 10);
	sums = calloc(names, sizeof(*sums));
	nodes = calloc((size_t)names + questions, sizeof(*nodes));
	for (uint32_t i = 0; i < names; i++)
		size += answer_len(i) + OVERHEAD;
	size /= 10;
	block = aligned_alloc(64, (size + 63) & ~63u);
	if (sums == NULL || nodes == NULL || block == NULL)
		return 1;
	printf("%u names, %u questions, %llu octets; %% of hits\n", names, questions, (unsigned long long)size);
	printf("Zipf  once   FIFO    LRU  SIEVE  cache  cache-LRU\n");
	for (int exponent = 90; exponent <= 110; exponent += 10) {
		make_names(names, exponent / 100.0);
		for (unsigned once = 0; once <= 50; once += once == 0 ? 20 : 15) {
			double fifo = run(FIFO, once, size), lru = run(LRU, once, size),
			       sieve = run(SIEVE, once, size), ours = run(-1, once, size);

			printf("%.2f  %3u%%  %5.2f  %5.2f  %5.2f  %5.2f  %+9.2f\n", exponent / 100.0, once,
			       fifo, lru, sieve, ours, ours - lru);
			fflush(stdout);
		}
	}
	return 0;
}
