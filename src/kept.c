/* SPDX-License-Identifier: MIT */
#include "kept.h"

#define CLASS_IN 1u
#define META_TYPES 128u /* .. 255: what is asked for is no data (RFC 6895 section 3.1) */
#define WANTS_AD 4u	/* a bit of the key: AD in the answer without DO in the query (RFC 6840 section 5.7) */

/* The cache's clock. */
static uint32_t
seconds(uint64_t now)
{
	return (uint32_t)(now / 1000u);
}

/* Whether the query's answer is one for all who ask the same; then its key. */
static bool
make_key(struct cache_key *key, const uint8_t *msg, size_t len, const struct edns_facts *f)
{
	unsigned flags = dns_flags(msg), bits = f->dnssec_ok ? CACHE_DO : (flags & DNS_AD) != 0 ? WANTS_AD : 0;

	if (!edns_is_plain(f, len) || (flags & (DNS_RD | DNS_Z | DNS_AA | DNS_TC | DNS_RA)) != DNS_RD ||
	    f->question.class != CLASS_IN || (f->question.type & ~0x7fu) == META_TYPES)
		return false;
	cache_key(key, msg, &f->question, bits | ((flags & DNS_CD) != 0 ? CACHE_CD : 0));
	return true;
}

size_t
kept_answer(struct kept *k, uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f,
	    struct edns_reply r, struct cache_hit *hit, uint64_t now)
{
	struct edns_answer a;
	struct cache_key key;
	size_t n;

	*hit = (struct cache_hit){.state = CACHE_NONE};
	if (k->cache.buckets == 0 || !make_key(&key, msg, len, f))
		return 0;
	n = cache_get(&k->cache, &key, k->msg, hit, seconds(now));
	if (n == 0 || edns_read_answer(k->msg, n, &a) == -1) {
		hit->state = CACHE_NONE;
		return 0;
	}
	if (hit->state == CACHE_STALE)
		r.ede = a.rcode == DNS_NXDOMAIN ? EDE_STALE_NXDOMAIN : EDE_STALE;
	else if (hit->ede > 0)
		r.ede = (uint16_t)hit->ede;
	else if (dns_is_failure(a.rcode))
		r.ede = EDE_CACHED_ERROR;
	return edns_make_answer(out, k->msg, n, &a, msg, f, &r);
}

void
kept_put(struct kept *k, const uint8_t *msg, size_t len, const struct edns_facts *f, const uint8_t *answer,
	 size_t answer_len, const struct edns_answer *a, uint64_t now)
{
	struct cache_offer offer = {answer, answer_len, a->ede, a->scope > 0, edns_blames_name(a)};
	struct cache_key key;

	/* An answer without OPT is one to a question without DO. */
	if (k->cache.buckets != 0 && (a->opt_len != 0 || !f->dnssec_ok) && make_key(&key, msg, len, f))
		(void)cache_put(&k->cache, &key, &offer, seconds(now));
}

void
kept_failed(struct kept *k, const uint8_t *msg, size_t len, const struct edns_facts *f, uint64_t now)
{
	struct cache_key key;

	if (k->cache.buckets != 0 && make_key(&key, msg, len, f))
		cache_failed(&k->cache, &key, seconds(now));
}
