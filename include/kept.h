/* SPDX-License-Identifier: MIT */
/* Answers for clients out of the cache, and answers of upstreams into it: what stands between messages as they
 * come and go and the cache, which knows keys and whole answers only.  Pure but for the cache it holds. */
#ifndef DNPROXY_KEPT_H
#define DNPROXY_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache.h"
#include "edns.h"

struct kept {
	struct cache cache; /* all zero: nothing is kept */
	uint8_t msg[DNS_MESSAGE_MAX];
};

/* Makes in out, of DNS_MESSAGE_MAX octets, the reply to the query msg[0..len) with facts f that can be had from
 * the cache: as edns_make_answer(), with the Extended DNS Error "Stale Answer" (RFC 8767, RFC 8914) where it is
 * one, or "Cached Error" where it is a failure of which the upstream said no more.  Queries that are signed, hold
 * a client's subnet or more than a question and an OPT, or do not ask for recursion, for the Internet and for data,
 * have none.  now: monotonic milliseconds.  Returns its length and fills *hit; 0 when there is none. */
size_t kept_answer(struct kept *k, uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f,
		   struct edns_reply r, struct cache_hit *hit, uint64_t now);

/* Keeps the upstream's answer[0..answer_len), read as a, to such a query, if it may be kept (cache_put()): not one
 * without OPT to a query with DO, whose signatures may be missing. */
void kept_put(struct kept *k, const uint8_t *msg, size_t len, const struct edns_facts *f, const uint8_t *answer,
	      size_t answer_len, const struct edns_answer *a, uint64_t now);

/* No upstream answered it (cache_failed()). */
void kept_failed(struct kept *k, const uint8_t *msg, size_t len, const struct edns_facts *f, uint64_t now);

#endif
