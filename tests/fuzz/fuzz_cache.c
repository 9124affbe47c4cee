/* SPDX-License-Identifier: MIT */
/* Any answers put into a small cache, at any time, and any questions asked: the structure stays whole, what is
 * given is whole, and what was kept just now is given back as it was.
 * Input: rules (one octet), then operations: what (one octet; its high bits are the key's), how much time passes
 * (one octet, squared), length of the message (two octets), the message. */
#include "../unit/cache_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SIZE 8192u /* less than is allowed: it is full soon */

enum { PUT, PUT_OTHER, GET, FAILED, FLUSH, OPERATIONS };
#define QUIETLY 200u

static struct cache c;
static uint8_t out[DNS_MESSAGE_MAX];

/* In memory of exactly its size, so that a read outside is seen. */
static uint8_t *
copy(const uint8_t *data, size_t len)
{
	uint8_t *p = malloc(len != 0 ? len : 1);

	LAW(p != NULL);
	if (len != 0)
		memcpy(p, data, len);
	return p;
}

/* The key of a message's question, or of another question when it has none. */
static struct cache_key
key_of(const uint8_t *msg, size_t len, unsigned bits)
{
	static const uint8_t other[] = "............\1a\2BC\0\0\1\0\1";
	struct cache_key key;
	struct dns_question q;

	if (len < DNS_HEADER || dns_read_question(msg, len, &q) == -1) {
		msg = other;
		LAW(dns_read_question(other, sizeof(other) - 1, &q) == 0);
	}
	cache_key(&key, msg, &q, bits);
	return key;
}

static struct cache_hit
get(const struct cache_key *key, uint32_t now, size_t *len)
{
	struct cache_hit hit;

	*len = cache_get(&c, key, out, &hit, now);
	law_given(key, out, *len, &hit);
	return hit;
}

static uint32_t
law_first_ttl(const uint8_t *msg, size_t len)
{
	struct dns_question q;
	struct dns_rr rr;

	LAW(dns_read_question(msg, len, &q) == 0);
	return dns_read_rr(msg, len, q.end, &rr) == 0 ? rr.ttl : 0;
}

/* What was kept is given back at once, with the counts and the RCODE that came.  Quietly: it is not asked for. */
static void
law_put(const struct cache_key *key, const uint8_t *msg, size_t len, uint32_t now, bool quietly)
{
	struct cache_offer o = {.msg = msg, .len = len, .ede = (int)len % 30 - 1, .firm = len % 3 == 0};
	struct cache_hit hit;
	size_t given;

	if (!cache_put(&c, key, &o, now) || quietly)
		return;
	hit = get(key, now, &given);
	LAW(hit.state == CACHE_FRESH && hit.ede == o.ede && given <= len && dns_rcode(out) == dns_rcode(msg));
	if (dns_rcode(msg) == DNS_SERVFAIL || dns_rcode(msg) == DNS_REFUSED)
		return;
	LAW(dns_ancount(out) == dns_ancount(msg) && dns_nscount(out) == dns_nscount(msg));
	LAW(dns_arcount(out) == dns_arcount(msg) || dns_arcount(out) + 1 == dns_arcount(msg));
	LAW(law_first_ttl(out, given) <= c.rules.max_ttl || given == DNS_HEADER + key->len - 1u);
	o.scoped = true;
	LAW(!cache_put(&c, key, &o, now));
}

static void
operate(unsigned what, const uint8_t *msg, size_t len, uint32_t now)
{
	struct cache_key key = key_of(msg, len, what / OPERATIONS);
	size_t given;

	switch (what % OPERATIONS) {
	case PUT:
		law_put(&key, msg, len, now, what >= QUIETLY);
		break;
	case PUT_OTHER:
		key.octets[key.len - 3] ^= 1;
		LAW(!cache_put(&c, &key, &(struct cache_offer){.msg = msg, .len = len}, now));
		break;
	case GET:
		get(&key, now, &given);
		break;
	case FAILED:
		cache_failed(&c, &key, now);
		break;
	default:
		cache_flush(&c);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct cache_rules rules[] = {
		{0, 86400, 86400}, {60, 300, 100}, {0, 3600, 0}, {500, 500, 1}};
	static const uint32_t seed[2] = {1, 2};
	uint32_t now = 1000;
	void *block = calloc(1, SIZE);

	LAW(block != NULL);
	cache_init(&c, block, SIZE, &rules[len != 0 ? data[0] % 4 : 0], seed);
	for (size_t at = 1; len >= at + 4;) {
		size_t n = get16(data + at + 2);
		uint8_t *msg;

		now += (uint32_t)data[at + 1] * data[at + 1];
		if (n > len - at - 4)
			n = len - at - 4;
		msg = copy(data + at + 4, n);
		operate(data[at], msg, n, now);
		law_cache(&c);
		free(msg);
		at += 4 + n;
	}
	free(block);
	return 0;
}
