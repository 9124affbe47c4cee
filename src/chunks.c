/* SPDX-License-Identifier: MIT */
#include "chunks.h"

#include <string.h>

void
chunk_pool_init(struct chunk_pool *pool)
{
	for (uint16_t i = 0; i < CHUNKS; i++)
		pool->next[i] = (uint16_t)(i + 1);
	pool->free = 0;
	pool->left = CHUNKS;
}

void
chain_init(struct chain *c)
{
	c->len = 0;
	c->first = c->last = CHUNKS;
	c->start = 0;
	c->end = CHUNK_SIZE;
}

static void
grow(struct chunk_pool *pool, struct chain *c)
{
	uint16_t i = pool->free;

	pool->free = pool->next[i];
	pool->left--;
	pool->next[i] = CHUNKS;
	if (c->first == CHUNKS)
		c->first = i;
	else
		pool->next[c->last] = i;
	c->last = i;
	c->end = 0;
}

int
chain_put(struct chunk_pool *pool, struct chain *c, const uint8_t *data, size_t len)
{
	size_t room = (size_t)pool->left * CHUNK_SIZE + (CHUNK_SIZE - c->end);

	if (len > room)
		return -1;
	while (len > 0) {
		size_t n = CHUNK_SIZE - c->end;

		if (n == 0) {
			grow(pool, c);
			n = CHUNK_SIZE;
		}
		if (n > len)
			n = len;
		memcpy(pool->chunk[c->last] + c->end, data, n);
		c->end = (uint16_t)(c->end + n);
		c->len += (uint32_t)n;
		data += n;
		len -= n;
	}
	return 0;
}

size_t
chain_peek(const struct chunk_pool *pool, const struct chain *c, size_t skip, const uint8_t **data)
{
	uint16_t at = c->start;

	for (uint16_t i = c->first; i != CHUNKS; i = pool->next[i]) {
		size_t n = (size_t)(i == c->last ? c->end : CHUNK_SIZE) - at;

		if (skip == 0) {
			*data = pool->chunk[i] + at;
			return n;
		}
		skip -= n;
		at = 0;
	}
	return 0;
}

static void
drop_first(struct chunk_pool *pool, struct chain *c)
{
	uint16_t i = c->first;

	c->first = pool->next[i];
	pool->next[i] = pool->free;
	pool->free = i;
	pool->left++;
	c->start = 0;
}

void
chain_take(struct chunk_pool *pool, struct chain *c, size_t n)
{
	c->len -= (uint32_t)n;
	while (c->first != CHUNKS) {
		size_t have = (size_t)(c->first == c->last ? c->end : CHUNK_SIZE) - c->start;

		if (n < have) {
			c->start = (uint16_t)(c->start + n);
			return;
		}
		n -= have;
		drop_first(pool, c);
	}
	chain_init(c);
}
