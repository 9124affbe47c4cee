/* SPDX-License-Identifier: MIT */
/* Made-up questions, the same in each run: names by Zipf's law, the answer of each, and the real cache that is asked. */
#ifndef ZIPF_H
#define ZIPF_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

static double *sums; /* of the weights up to each name; the caller's room for so many */
static uint64_t seed;

static uint32_t
chance(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 32);
}

/* A number's own dice. */
static uint32_t
scatter(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352du;
	x = (x ^ x >> 15) * 0x846ca68bu;
	return x ^ x >> 16;
}

/* Octets of a name's answer: most are small. */
static uint32_t
answer_len(uint32_t name)
{
	uint32_t dice = scatter(name);

	return 50 + (dice & 63) + ((dice >> 8 & 3) == 0 ? (dice >> 16) % 390 : 0);
}

static void
make_names(uint32_t names, double exponent)
{
	double sum = 0;

	for (uint32_t i = 0; i < names; i++) {
		sum += pow(i + 1, -exponent);
		sums[i] = sum;
	}
}

/* The next of so many names. */
static uint32_t
known_name(uint32_t names)
{
	double at = chance() / 4294967296.0 * sums[names - 1];
	uint32_t low = 0, high = names - 1;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The name's answer: its question, and one record that makes it as long as it is. */
static size_t
make_answer(uint8_t *msg, uint32_t name, uint32_t ttl)
{
	size_t len = answer_len(name), at = DNS_HEADER;

	memset(msg, 0, len);
	dns_set_flags(msg, DNS_QR | DNS_RD | DNS_RA);
	put16(msg + 4, 1);
	put16(msg + 6, 1);
	msg[at++] = 8;
	for (int i = 28; i >= 0; i -= 4)
		msg[at++] = (uint8_t)('a' + (name >> i & 15));
	at++;
	put16(msg + at, 16);
	put16(msg + at + 2, 1);
	at += 4;
	put16(msg + at, 0xc00c);
	put16(msg + at + 2, 16);
	put16(msg + at + 4, 1);
	put32(msg + at + 6, ttl);
	put16(msg + at + 10, (uint16_t)(len - at - 12));
	return len;
}

/* Whether the cache has the answer of the name; else it is put there. */
static bool
ask_cache(struct cache *cache, uint32_t name, uint32_t ttl, uint32_t now)
{
	static uint8_t msg[DNS_MESSAGE_MAX], out[DNS_MESSAGE_MAX];
	struct cache_offer offer = {.msg = msg, .ede = -1};
	struct dns_question q;
	struct cache_key key;
	struct cache_hit hit;

	offer.len = make_answer(msg, name, ttl);
	if (dns_read_question(msg, offer.len, &q) == -1)
		abort();
	cache_key(&key, msg, &q, 0);
	if (cache_get(cache, &key, out, &hit, now) != 0)
		return true;
	if (!cache_put(cache, &key, &offer, now))
		abort();
	return false;
}

#endif
