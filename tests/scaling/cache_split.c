/* SPDX-License-Identifier: MIT */
/* What it costs that each replica has a cache of its own: the share of hits, with the real cache and a clock that is made
 * up, when so many questions a second go to one of so many replicas by chance.
 *
 *	cache_split [QUESTIONS_A_SECOND [NAMES [CACHE_SIZE]]]
 *
 * Names by Zipf's law, exponent 1.  Answers live 60 s (a quarter of the names), 300 s (half) or 3600 s; most have 50 to
 * 110 octets, a quarter up to 500.  Ten minutes, of which the second five count.  Nothing is prefetched or stale. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "../bench/zipf.h"

#define SECONDS 600u
#define REPLICAS_MAX 16u

static uint32_t names = 300000, rate = 5000;
static struct cache caches[REPLICAS_MAX];

static uint32_t
time_to_live(uint32_t name)
{
	static const uint32_t usual[4] = {60, 300, 300, 3600};

	return usual[scatter(name) >> 30];
}

/* The share of hits, with so many replicas that have so many octets each. */
static double
run(unsigned replicas, size_t size)
{
	static const struct cache_rules rules = {.max_ttl = 86400};
	static const uint32_t key[2] = {1, 2};
	uint32_t hits = 0, counted = 0;
	uint8_t *block = aligned_alloc(64, replicas * size);

	if (block == NULL)
		abort();
	memset(block, 0, replicas * size);
	for (unsigned i = 0; i < replicas; i++)
		cache_init(&caches[i], block + i * size, size, &rules, key);
	seed = 7;
	for (uint32_t i = 0; i < rate * SECONDS; i++) {
		uint32_t now = 1 + i / rate;
		uint32_t name = known_name(names);
		struct cache *cache = &caches[chance() % replicas];
		bool hit = ask_cache(cache, name, time_to_live(name), now);

		hits += now > SECONDS / 2 && hit;
		counted += now > SECONDS / 2;
	}
	free(block);
	return (double)hits / counted;
}

int
main(int argc, char **argv)
{
	uint32_t sizes[] = {512, 4096, 32768};
	unsigned s = 0;

	if (argc > 1)
		rate = (uint32_t)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		names = (uint32_t)strtoul(argv[2], NULL, 10);
	if (argc > 3) {
		s = 2;
		sizes[s] = (uint32_t)strtoul(argv[3], NULL, 10);
	}
	sums = calloc(names, sizeof(*sums));
	if (sums == NULL)
		return 1;
	make_names(names, 1);
	printf("%u questions a second for %u names; %% of hits, and questions upstream a second\n", rate,
	       names);
	printf("cache.size  replicas: 1           2           4           8          16\n");
	for (; s < 3; s++) {
		printf("%10u", sizes[s]);
		for (unsigned replicas = 1; replicas <= REPLICAS_MAX; replicas *= 2) {
			double share = run(replicas, (size_t)sizes[s] << 10);

			printf("  %4.1f %5.0f", 100 * share, rate * (1 - share));
			fflush(stdout);
		}
		printf("\n");
	}
	return 0;
}
