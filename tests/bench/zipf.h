/* SPDX-License-Identifier: MIT */
/* Made-up questions, the same in each run: names by Zipf's law, and how long the answer of each is. */
#ifndef ZIPF_H
#define ZIPF_H

#include <math.h>
#include <stdint.h>

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

#endif
