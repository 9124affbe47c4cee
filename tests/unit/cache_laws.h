/* SPDX-License-Identifier: MIT */
/* For tests and fuzzers: what must hold inside a cache after any call, and of any answer it gives. */
#ifndef DNPROXY_TESTS_CACHE_LAWS_H
#define DNPROXY_TESTS_CACHE_LAWS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "law.h"

static inline const struct cache_entry *
law_entry(const struct cache *c, uint32_t at)
{
	return (const struct cache_entry *)(const void *)(c->block + at);
}

/* A message as it is kept: one question in lower case, records up to its end, no OPT, no TTL below its life. */
static inline void
law_kept(const struct cache_entry *e)
{
	const uint8_t *msg = (const uint8_t *)(e + 1);
	unsigned records;
	struct dns_question q;
	size_t at;

	LAW(e->len >= DNS_HEADER && dns_qdcount(msg) == 1 && dns_read_question(msg, e->len, &q) == 0);
	LAW((dns_flags(msg) & (DNS_QR | DNS_OPCODE | DNS_TC | DNS_AA)) == DNS_QR && dns_id(msg) == 0);
	LAW(dns_rcode(msg) == DNS_NOERROR || dns_rcode(msg) == DNS_NXDOMAIN || dns_rcode(msg) == DNS_SERVFAIL ||
	    dns_rcode(msg) == DNS_REFUSED);
	LAW(dns_rcode(msg) == DNS_NXDOMAIN || (e->bits & CACHE_WIDE) == 0);
	LAW(q.type == 0 || (e->bits & CACHE_WIDE) == 0);
	for (at = DNS_HEADER; at < DNS_HEADER + q.name_len; at++)
		LAW(msg[at] < 'A' || msg[at] > 'Z');
	records = (unsigned)dns_ancount(msg) + dns_nscount(msg) + dns_arcount(msg);
	for (at = q.end; records > 0; records--) {
		struct dns_rr rr;

		LAW(dns_read_rr(msg, e->len, at, &rr) == 0);
		LAW(rr.type != DNS_TYPE_OPT && rr.type != DNS_TYPE_TSIG && rr.ttl >= e->life);
		at = rr.end;
	}
	LAW(at == e->len);
}

/* Walks one part of a ring.  starts: a mark for each 4 octets of the block where a live entry begins.
 * Returns how many there are. */
static inline uint32_t
law_walk(const struct cache *c, uint8_t *starts, uint32_t at, uint32_t end)
{
	uint32_t live = 0;

	while (at < end) {
		const struct cache_entry *e = law_entry(c, at);

		LAW(at % 4 == 0 && end - at >= CACHE_ENTRY && e->room * 4u >= CACHE_ENTRY + e->len &&
		    e->room * 4u <= end - at && e->room * 4u <= c->room_max);
		if ((e->use & CACHE_LIVE) != 0) {
			law_kept(e);
			LAW(e->life > 0);
			starts[at / 4] = 1;
			live++;
		}
		at += e->room * 4u;
	}
	LAW(at == end);
	return live;
}

static inline uint32_t
law_ring(const struct cache *c, const struct cache_ring *r, uint8_t *starts)
{
	LAW(r->base <= r->tail && r->base <= r->head && r->tail <= r->limit && r->head <= r->limit);
	if (!r->wrapped) {
		LAW(r->tail <= r->head);
		return law_walk(c, starts, r->tail, r->head);
	}
	LAW(r->head <= r->tail && r->tail < r->end && r->end <= r->limit);
	return law_walk(c, starts, r->tail, r->end) + law_walk(c, starts, r->base, r->head);
}

/* The rings are whole; every live entry is in the index once, in the bucket of its hash, and nothing else is. */
static inline void
law_cache(const struct cache *c)
{
	uint8_t *starts = calloc(1, c->main.limit / 4 + 1);
	uint32_t live, linked = 0;

	LAW(starts != NULL);
	live = law_ring(c, &c->small, starts) + law_ring(c, &c->main, starts);
	LAW(live == c->entries);
	for (uint32_t i = 0; i < c->buckets; i++) {
		for (uint32_t at = c->bucket[i]; at != 0; at = law_entry(c, at)->next) {
			LAW(at % 4 == 0 && at < c->main.limit && starts[at / 4] == 1);
			LAW((uint64_t)law_entry(c, at)->hash * c->buckets >> 32 == i);
			starts[at / 4] = 2;
			linked++;
		}
	}
	LAW(linked == live);
	free(starts);
}

/* An answer that was given: to the question of its key, whole, TTLs as its state says. */
static inline void
law_given(const struct cache_key *key, const uint8_t *msg, size_t len, const struct cache_hit *hit)
{
	size_t at = DNS_HEADER + key->len - 1u;
	unsigned records;

	LAW((len == 0) == (hit->state == CACHE_NONE) && len <= DNS_MESSAGE_MAX);
	LAW((!hit->prefetch || hit->state == CACHE_FRESH) && (!hit->held || hit->state == CACHE_STALE));
	if (len == 0)
		return;
	LAW(len >= at && memcmp(msg + DNS_HEADER, key->octets + 1, key->len - 1u) == 0);
	LAW(dns_id(msg) == 0 && dns_qdcount(msg) == 1);
	records = (unsigned)dns_ancount(msg) + dns_nscount(msg) + dns_arcount(msg);
	for (; records > 0; records--) {
		struct dns_rr rr;

		LAW(dns_read_rr(msg, len, at, &rr) == 0 && rr.type != DNS_TYPE_OPT);
		LAW(hit->state == CACHE_STALE ? rr.ttl == CACHE_STALE_TTL : rr.ttl >= 1 && rr.ttl <= INT32_MAX);
		at = rr.end;
	}
	LAW(at == len);
}

#endif
