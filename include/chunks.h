/* SPDX-License-Identifier: MIT */
/* Octets that wait for a slow reader, in chains of chunks from one pool that all readers share.
 * Memory is bounded by the pool however many readers there are.  No I/O, no allocation. */
#ifndef DNPROXY_CHUNKS_H
#define DNPROXY_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

#include "bounds.h"

struct chunk_pool {
	uint8_t chunk[CHUNKS][CHUNK_SIZE];
	uint16_t next[CHUNKS];
	uint16_t free; /* first free chunk; CHUNKS = none */
	uint16_t left; /* free chunks */
};

/* A queue of octets; all zero but first is not empty: chain_init() makes one. */
struct chain {
	uint32_t len;	/* octets in it */
	uint16_t first; /* chunk; CHUNKS = none */
	uint16_t last;
	uint16_t start; /* octets of the first chunk that are taken already */
	uint16_t end;	/* octets of the last chunk that are used */
};

void chunk_pool_init(struct chunk_pool *pool);
void chain_init(struct chain *c);

/* Appends data[0..len).  Returns 0; or -1 when the pool has not enough left, and nothing changes. */
int chain_put(struct chunk_pool *pool, struct chain *c, const uint8_t *data, size_t len);

/* The octets at the front that lie together; their number, 0 when the chain is empty, is returned.
 * skip of them are passed over first, in whole pieces as an earlier call returned them. */
size_t chain_peek(const struct chunk_pool *pool, const struct chain *c, size_t skip, const uint8_t **data);

/* Takes n octets off the front, n <= c->len; chunks they leave go back to the pool. */
void chain_take(struct chunk_pool *pool, struct chain *c, size_t n);

#endif
