/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "cache.h"
#include "cache_laws.h"
#include "cache_model.h"
#include "dnsmake.h"

#define SMALL_KIB 64u /* soon full */
#define A 1u
#define CNAME 5u
#define TXT 16u
#define AAAA 28u
#define IN 1u
#define ANSWERED (DNS_QR | DNS_RD | DNS_RA)

static struct cache c;
static void *block;
static size_t block_len;
static uint8_t out[DNS_MESSAGE_MAX];
static struct cache_hit hit;
static const struct cache_rules usual = {CACHE_MIN_TTL, CACHE_MAX_TTL, CACHE_STALE_S};
static const uint32_t seed[2] = {0x03020100u, 0x07060504u};

/* ---- Tools ------------------------------------------------------------------------------------- */

static void
start(uint32_t kib, const struct cache_rules *rules)
{
	free(block);
	block_len = (size_t)kib * 1024;
	block = calloc(1, block_len);
	assert_non_null(block);
	cache_init(&c, block, block_len, rules, seed);
}

static int
start_usual(void **state)
{
	(void)state;
	start(SMALL_KIB, &usual);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	law_cache(&c);
	free(block);
	block = NULL;
	return 0;
}

static struct cache_key
key_for(const char *name, unsigned type, unsigned bits)
{
	struct made m;
	struct dns_question q;
	struct cache_key key;

	made_init(&m, 0, 0);
	made_question(&m, name, type, IN);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), 0);
	cache_key(&key, m.buf, &q, bits);
	return key;
}

static bool
offer(const struct made *m, const char *name, unsigned type, uint32_t now)
{
	struct cache_key key = key_for(name, type, 0);
	struct cache_offer o = {.msg = m->buf, .len = m->len, .ede = -1};
	bool kept = cache_put(&c, &key, &o, now);

	law_cache(&c);
	return kept;
}

/* The answer is in out. */
static enum cache_state
ask_bits(const char *name, unsigned type, unsigned bits, uint32_t now)
{
	struct cache_key key = key_for(name, type, bits);
	size_t len = cache_get(&c, &key, out, &hit, now);

	law_given(&key, out, len, &hit);
	return hit.state;
}

static enum cache_state
ask(const char *name, unsigned type, uint32_t now)
{
	return ask_bits(name, type, 0, now);
}

static void
begin(struct made *m, const char *name, unsigned type, unsigned flags)
{
	made_init(m, 0x1234, ANSWERED | flags);
	made_question(m, name, type, IN);
}

static void
add_a(struct made *m, enum made_section section, const char *name, uint32_t ttl)
{
	made_rr(m, section, name, A, IN, ttl);
	made_rdata(m, "\300\0\2\1", 4);
}

static void
add_soa(struct made *m, const char *owner, uint32_t ttl, uint32_t minimum)
{
	made_rr(m, MADE_AUTHORITY, owner, DNS_TYPE_SOA, IN, ttl);
	made_name(m, "ns.example");
	made_name(m, "root.example");
	for (int i = 0; i < 4; i++)
		made_u32(m, 7);
	made_u32(m, minimum);
	made_rdlen(m);
}

/* An answer of one address. */
static void
make_a(struct made *m, const char *name, uint32_t ttl)
{
	begin(m, name, A, 0);
	add_a(m, MADE_ANSWER, "12>", ttl);
}

static void
make_nxdomain(struct made *m, const char *name, unsigned type, uint32_t ttl, uint32_t minimum)
{
	begin(m, name, type, DNS_NXDOMAIN);
	add_soa(m, "example", ttl, minimum);
}

static void
make_servfail(struct made *m, const char *name)
{
	begin(m, name, A, DNS_SERVFAIL);
}

static bool
put_a(const char *name, uint32_t ttl, uint32_t now)
{
	struct made m;

	make_a(&m, name, ttl);
	return offer(&m, name, A, now);
}

/* The TTL of record number n in out. */
static uint32_t
ttl_of(unsigned n)
{
	struct dns_question q;
	struct dns_rr rr = {0};

	assert_int_equal(dns_read_question(out, sizeof(out), &q), 0);
	rr.end = q.end;
	for (unsigned i = 0; i <= n; i++)
		assert_int_equal(dns_read_rr(out, sizeof(out), rr.end, &rr), 0);
	return rr.ttl;
}

/* How long an answer is FRESH, found by asking. */
static uint32_t
life_of(const struct made *m, const char *name, unsigned type)
{
	uint32_t low = 0, high = 1u << 30;

	cache_flush(&c);
	if (!offer(m, name, type, 100))
		return 0;
	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;

		if (ask(name, type, 100 + middle) == CACHE_FRESH)
			low = middle;
		else
			high = middle;
	}
	return low + 1;
}

/* ---- Giving back ------------------------------------------------------------------------------- */

static void
an_answer_comes_back_as_it_was_but_for_id_aa_opt_and_age(void **state)
{
	struct made m, expected;

	(void)state;
	for (struct made *p = &m;; p = &expected) {
		made_init(p, p == &m ? 0x1234 : 0, ANSWERED | DNS_AD | (p == &m ? DNS_AA : 0));
		made_question(p, p == &m ? "wWw.eXample" : "www.example", A, IN);
		add_a(p, MADE_ANSWER, "12>", p == &m ? 300 : 260);
		made_rr(p, MADE_AUTHORITY, "16>", 2, IN, p == &m ? 3600 : 3560);
		made_rdata_name(p, "Ns.16>");
		add_a(p, MADE_ADDITIONAL, "Ns.16>", p == &m ? 301 : 261);
		if (p == &expected)
			break;
		made_opt(p, 1232, 0);
		made_option(p, 10, "12345678", 8);
	}
	assert_true(offer(&m, "www.example", A, 1000));
	assert_int_equal(ask("WWW.example", A, 1040), CACHE_FRESH);
	assert_memory_equal(out, expected.buf, expected.len);
	assert_int_equal(hit.ede, -1);
	assert_int_equal(c.count.hits, 1);
	assert_int_equal(c.count.stored, 1);
}

static void
an_extended_dns_error_comes_back(void **state)
{
	struct cache_key key = key_for("www.example", A, 0);
	struct made m;
	struct cache_offer o = {.msg = m.buf, .ede = 3};

	(void)state;
	make_a(&m, "www.example", 300);
	o.len = m.len;
	assert_true(cache_put(&c, &key, &o, 1));
	assert_int_equal(ask("www.example", A, 1), CACHE_FRESH);
	assert_int_equal(hit.ede, 3);
}

static void
a_fresh_ttl_ends_at_one_and_a_stale_one_is_thirty(void **state)
{
	struct made m;

	(void)state;
	make_a(&m, "www.example", 300);
	add_a(&m, MADE_ADDITIONAL, "12>", 900);
	assert_true(offer(&m, "www.example", A, 50));
	assert_int_equal(ask("www.example", A, 50), CACHE_FRESH);
	assert_int_equal(ttl_of(0), 300);
	assert_int_equal(ask("www.example", A, 349), CACHE_FRESH);
	assert_int_equal(ttl_of(0), 1);
	assert_int_equal(ttl_of(1), 601);
	assert_int_equal(ask("www.example", A, 350), CACHE_STALE);
	assert_int_equal(ttl_of(0), 30);
	assert_int_equal(ttl_of(1), 30);
	assert_int_equal(ask("www.example", A, 349 + CACHE_STALE_S), CACHE_STALE);
	assert_int_equal(ask("www.example", A, 350 + CACHE_STALE_S), CACHE_NONE);
	assert_int_equal(c.count.hits, 2);
	assert_int_equal(c.count.stale, 2);
	assert_int_equal(c.count.misses, 1);
}

static void
without_stale_an_answer_ends_with_its_life(void **state)
{
	(void)state;
	start(SMALL_KIB, &(struct cache_rules){0, 86400, 0});
	assert_true(put_a("www.example", 300, 0));
	assert_int_equal(ask("www.example", A, 299), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 300), CACHE_NONE);
}

static void
only_the_same_question_with_the_same_bits_is_answered(void **state)
{
	struct cache_key key = key_for("www.example", A, CACHE_DO);

	(void)state;
	assert_true(put_a("www.example", 300, 0));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
	assert_int_equal(ask("ww.example", A, 0), CACHE_NONE);
	assert_int_equal(ask("www.exampl", A, 0), CACHE_NONE);
	assert_int_equal(ask("example", A, 0), CACHE_NONE);
	assert_int_equal(ask("www.example", AAAA, 0), CACHE_NONE);
	for (unsigned bits = 1; bits <= CACHE_BITS; bits++)
		assert_int_equal(ask_bits("www.example", A, bits, 0), CACHE_NONE);
	key = key_for("www.example", A, 0);
	put16(key.octets + key.len - 2, 3);
	assert_int_equal(cache_get(&c, &key, out, &hit, 0), 0);
}

static void
a_newer_answer_takes_the_place_of_an_older_one(void **state)
{
	struct made m;

	(void)state;
	assert_true(put_a("www.example", 300, 0));
	assert_true(put_a("www.example", 500, 100));
	assert_int_equal(ask("www.example", A, 400), CACHE_FRESH);
	assert_int_equal(ttl_of(0), 200);
	make_a(&m, "www.example", 700);
	for (int i = 0; i < 50; i++)
		add_a(&m, MADE_ANSWER, "12>", 700);
	assert_true(offer(&m, "www.example", A, 200));
	assert_int_equal(ask("www.example", A, 200), CACHE_FRESH);
	assert_int_equal(dns_ancount(out), 51);
	assert_true(put_a("www.example", 30, 300));
	assert_int_equal(ask("www.example", A, 300), CACHE_FRESH);
	assert_int_equal(dns_ancount(out), 1);
	assert_int_equal(c.entries, 1);
}

static void
flushed_all_is_forgotten(void **state)
{
	(void)state;
	assert_true(put_a("www.example", 300, 0));
	cache_flush(&c);
	law_cache(&c);
	assert_int_equal(ask("www.example", A, 0), CACHE_NONE);
	assert_int_equal(c.entries, 0);
	assert_int_equal(c.count.stored, 1);
	assert_true(put_a("www.example", 300, 0));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
}

static void
a_struct_of_zeros_keeps_nothing(void **state)
{
	struct cache_key key = key_for("www.example", A, 0);
	struct cache none = {0};
	struct made m;
	struct cache_offer o = {.msg = m.buf, .ede = -1};

	(void)state;
	make_a(&m, "www.example", 300);
	o.len = m.len;
	assert_false(cache_put(&none, &key, &o, 0));
	assert_int_equal(cache_get(&none, &key, out, &hit, 0), 0);
	assert_int_equal(hit.state, CACHE_NONE);
	cache_failed(&none, &key, 0);
	cache_flush(&none);
	assert_int_equal(none.count.misses, 1);
}

static void
it_is_time_to_prefetch_once_when_asked_often_and_nearly_over(void **state)
{
	(void)state;
	assert_true(put_a("www.example", 100, 0));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 89), CACHE_FRESH);
	assert_false(hit.prefetch);
	assert_true(put_a("idle.example", 100, 0));
	assert_int_equal(ask("idle.example", A, 95), CACHE_FRESH);
	assert_int_equal(ask("idle.example", A, 95), CACHE_FRESH);
	assert_false(hit.prefetch);
	assert_int_equal(ask("idle.example", A, 95), CACHE_FRESH);
	assert_true(hit.prefetch);
	assert_int_equal(ask("www.example", A, 89), CACHE_FRESH);
	assert_false(hit.prefetch);
	assert_int_equal(ask("www.example", A, 90), CACHE_FRESH);
	assert_true(hit.prefetch);
	assert_int_equal(ask("www.example", A, 91), CACHE_FRESH);
	assert_false(hit.prefetch);
	assert_true(put_a("www.example", 100, 92));
	for (int i = 0; i < 9; i++)
		assert_int_equal(ask("www.example", A, 92), CACHE_FRESH);
	assert_false(hit.prefetch);
	assert_int_equal(ask("www.example", A, 190), CACHE_FRESH);
	assert_true(hit.prefetch);
}

static void
what_lives_shortly_is_not_prefetched(void **state)
{
	(void)state;
	assert_true(put_a("www.example", 9, 0));
	for (uint32_t i = 0; i < 9; i++) {
		assert_int_equal(ask("www.example", A, i), CACHE_FRESH);
		assert_false(hit.prefetch);
	}
	assert_true(put_a("www.example", 10, 10));
	for (uint32_t i = 10; i < 19; i++)
		assert_int_equal(ask("www.example", A, i), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 19), CACHE_FRESH);
	assert_true(hit.prefetch);
}

static void
a_failure_is_not_prefetched(void **state)
{
	struct made m;

	(void)state;
	make_servfail(&m, "www.example");
	assert_true(offer(&m, "www.example", A, 0));
	assert_true(offer(&m, "www.example", A, 5));
	for (uint32_t i = 5; i < 15; i++) {
		assert_int_equal(ask("www.example", A, i), CACHE_FRESH);
		assert_false(hit.prefetch);
	}
}

/* ---- What is kept, and how long ---------------------------------------------------------------- */

static void
a_positive_answer_lives_as_long_as_its_lowest_ttl(void **state)
{
	struct made m;

	(void)state;
	make_a(&m, "www.example", 300);
	assert_int_equal(life_of(&m, "www.example", A), 300);
	add_a(&m, MADE_AUTHORITY, "12>", 200);
	assert_int_equal(life_of(&m, "www.example", A), 200);
	add_a(&m, MADE_ADDITIONAL, "12>", 100);
	assert_int_equal(life_of(&m, "www.example", A), 100);
	made_opt(&m, 1232, 5); /* its TTL is none */
	assert_int_equal(life_of(&m, "www.example", A), 100);
	make_a(&m, "www.example", 0);
	assert_int_equal(life_of(&m, "www.example", A), 0);
	make_a(&m, "www.example", 300);
	add_a(&m, MADE_ADDITIONAL, "12>", 0x80000001u);
	assert_int_equal(life_of(&m, "www.example", A), 0);
	make_a(&m, "www.example", 0x7fffffffu);
	assert_int_equal(life_of(&m, "www.example", A), CACHE_MAX_TTL);
}

static void
lives_are_within_the_callers_rules(void **state)
{
	struct made m;

	(void)state;
	start(SMALL_KIB, &(struct cache_rules){60, 200, 0});
	make_a(&m, "www.example", 5);
	add_a(&m, MADE_ADDITIONAL, "12>", 1000);
	assert_int_equal(life_of(&m, "www.example", A), 60);
	assert_int_equal(ask("www.example", A, 100 + 59), CACHE_FRESH);
	assert_int_equal(ttl_of(0), 1);
	assert_int_equal(ttl_of(1), 200 - 59);
	make_a(&m, "www.example", 0);
	assert_int_equal(life_of(&m, "www.example", A), 0);
	make_nxdomain(&m, "www.example", A, 5, 7);
	assert_int_equal(life_of(&m, "www.example", A), 5);
	make_nxdomain(&m, "www.example", A, 500, 700);
	assert_int_equal(life_of(&m, "www.example", A), 200);
}

static void
a_negative_answer_lives_as_its_soa_says(void **state)
{
	struct made m;

	(void)state;
	for (unsigned rcode = DNS_NOERROR; rcode <= DNS_NXDOMAIN; rcode += DNS_NXDOMAIN) {
		begin(&m, "no.example", A, rcode);
		assert_int_equal(life_of(&m, "no.example", A), 0);
		add_soa(&m, "example", 400, 300);
		assert_int_equal(life_of(&m, "no.example", A), 300);
		assert_int_equal(ask("no.example", A, 100), CACHE_FRESH);
		assert_int_equal(dns_rcode(out), rcode);
		assert_int_equal(ttl_of(0), 300);
		begin(&m, "no.example", A, rcode);
		add_soa(&m, "example", 300, 400);
		assert_int_equal(life_of(&m, "no.example", A), 300);
		made_rr(&m, MADE_AUTHORITY, "example", DNS_TYPE_NSEC, IN, 70);
		assert_int_equal(life_of(&m, "no.example", A), 70);
		begin(&m, "no.example", A, rcode);
		add_soa(&m, "example", 86400, 86400);
		assert_int_equal(life_of(&m, "no.example", A), 10800);
		begin(&m, "no.example", A, rcode);
		add_soa(&m, "example", 86400, 0);
		assert_int_equal(life_of(&m, "no.example", A), 0);
		/* An SOA that is none, and one in the wrong place. */
		begin(&m, "no.example", A, rcode);
		made_rr(&m, MADE_AUTHORITY, "example", DNS_TYPE_SOA, IN, 300);
		made_rdata(&m, "\0\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 21);
		assert_int_equal(life_of(&m, "no.example", A), 0);
		begin(&m, "no.example", A, rcode);
		made_rr(&m, MADE_ADDITIONAL, "example", DNS_TYPE_SOA, IN, 300);
		made_rdata(&m, "\0\0\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1", 22);
		assert_int_equal(life_of(&m, "no.example", A), 0);
	}
}

static void
a_chain_without_what_was_asked_for_is_a_negative_answer(void **state)
{
	struct made m;

	(void)state;
	begin(&m, "www.example", A, 0);
	made_rr(&m, MADE_ANSWER, "12>", CNAME, IN, 600);
	made_rdata_name(&m, "other.example");
	assert_int_equal(life_of(&m, "www.example", A), 0);
	add_soa(&m, "example", 400, 300);
	assert_int_equal(life_of(&m, "www.example", A), 300);
	begin(&m, "www.example", CNAME, 0);
	made_rr(&m, MADE_ANSWER, "12>", CNAME, IN, 600);
	made_rdata_name(&m, "other.example");
	assert_int_equal(life_of(&m, "www.example", CNAME), 600);
	begin(&m, "www.example", A, 0);
	add_a(&m, MADE_ADDITIONAL, "12>", 600);
	assert_int_equal(life_of(&m, "www.example", A), 0);
	begin(&m, "www.example", DNS_TYPE_ANY, 0);
	add_a(&m, MADE_ANSWER, "12>", 600);
	assert_int_equal(life_of(&m, "www.example", DNS_TYPE_ANY), 600);
}

static void
what_must_not_be_kept_is_not(void **state)
{
	static const struct {
		unsigned flags;
		bool kept;
	} rows[] = {
		{ANSWERED, true},
		{ANSWERED & ~DNS_QR, false},
		{ANSWERED | DNS_TC, false},
		{ANSWERED | 0x0800u, false}, /* opcode 1 */
		{ANSWERED | DNS_FORMERR, false},
		{ANSWERED | DNS_NOTIMP, false},
		{ANSWERED | DNS_FORMERR, false},
		{ANSWERED | 6, false},
		{ANSWERED | 15, false},
	};
	struct cache_key key = key_for("www.example", A, 0);
	struct made m;
	struct cache_offer o = {.msg = m.buf, .ede = -1, .scoped = true};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		make_a(&m, "www.example", 300);
		dns_set_flags(m.buf, (uint16_t)rows[i].flags);
		assert_int_equal(life_of(&m, "www.example", A), rows[i].kept ? 300 : 0);
	}
	make_a(&m, "www.example", 300);
	o.len = m.len;
	assert_false(cache_put(&c, &key, &o, 0));
	o.scoped = false;
	for (o.len = 0; o.len < m.len; o.len++)
		assert_false(cache_put(&c, &key, &o, 0));
	assert_true(cache_put(&c, &key, &o, 0));
}

static void
an_answer_to_another_question_is_not_kept(void **state)
{
	struct made m;

	(void)state;
	make_a(&m, "www.example", 300);
	assert_false(offer(&m, "ww.example", A, 0));
	assert_false(offer(&m, "www.example", AAAA, 0));
	put16(m.buf + DNS_HEADER + 15, 3); /* class */
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_count(&m, MADE_QUESTION, 1);
	assert_false(offer(&m, "www.example", A, 0));
	made_init(&m, 1, ANSWERED);
	add_a(&m, MADE_ANSWER, "www.example", 300);
	assert_false(offer(&m, "www.example", A, 0));
	for (unsigned type = DNS_TYPE_TKEY; type <= DNS_TYPE_MAILA; type++) {
		begin(&m, "www.example", type, 0);
		made_rr(&m, MADE_ANSWER, "12>", type == DNS_TYPE_TSIG ? A : type, IN, 300);
		assert_false(offer(&m, "www.example", type, 0));
	}
}

static void
signed_answers_and_odd_opts_are_not_kept(void **state)
{
	struct made m;

	(void)state;
	make_a(&m, "www.example", 300);
	made_rr(&m, MADE_ADDITIONAL, "", DNS_TYPE_TSIG, 255, 300);
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_rr(&m, MADE_ADDITIONAL, "", DNS_TYPE_SIG, 255, 300);
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_opt(&m, 1232, 1u << 24); /* an extended RCODE */
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_opt(&m, 1232, 0);
	add_a(&m, MADE_ADDITIONAL, "12>", 300);
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_opt(&m, 1232, 0);
	made_opt(&m, 1232, 0);
	assert_false(offer(&m, "www.example", A, 0));
	make_a(&m, "www.example", 300);
	made_rr(&m, MADE_AUTHORITY, "", DNS_TYPE_OPT, 1232, 0);
	assert_false(offer(&m, "www.example", A, 0));
}

static void
octets_behind_the_last_record_are_left_behind(void **state)
{
	struct made m;
	size_t len;

	(void)state;
	make_a(&m, "www.example", 300);
	len = m.len;
	made_octets(&m, "behind", 6);
	assert_true(offer(&m, "www.example", A, 0));
	memset(out, 0, sizeof(out));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
	assert_memory_equal(out + len, "\0\0\0\0\0\0", 6);
}

static void
answers_longer_than_a_twentieth_are_not_kept(void **state)
{
	struct made m;
	uint32_t kept = 0;

	(void)state;
	for (unsigned n = 2000; n < 5000; n++) {
		begin(&m, "www.example", TXT, 0);
		made_rr(&m, MADE_ANSWER, "12>", TXT, IN, 300);
		memset(m.buf + m.len, 1, n);
		m.len += n;
		made_rdlen(&m);
		if (!offer(&m, "www.example", TXT, 0))
			break;
		kept = (uint32_t)m.len;
	}
	assert_in_range(kept, SMALL_KIB * 1024 / 22, SMALL_KIB * 1024 / 20);
}

/* ---- Failures ---------------------------------------------------------------------------------- */

static void
a_failure_is_remembered_longer_when_it_goes_on(void **state)
{
	struct made m;
	uint32_t now = 0;

	(void)state;
	make_servfail(&m, "www.example");
	made_opt(&m, 1232, 0);
	for (uint32_t life = 5; life <= 80; life *= 2) {
		uint32_t kept = life > CACHE_FAILURE_MAX_S ? CACHE_FAILURE_MAX_S : life;

		assert_true(offer(&m, "www.example", A, now));
		assert_int_equal(ask("www.example", A, now + kept - 1), CACHE_FRESH);
		assert_int_equal(dns_rcode(out), DNS_SERVFAIL);
		assert_int_equal(ask("www.example", A, now + kept), CACHE_NONE);
		now += kept;
	}
	/* After a while it is a new one. */
	now += 2 * CACHE_FAILURE_MAX_S;
	assert_true(offer(&m, "www.example", A, now));
	assert_int_equal(ask("www.example", A, now + 5), CACHE_NONE);
	assert_true(put_a("www.example", 300, now + 6));
	assert_int_equal(ask("www.example", A, now + 6), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NOERROR);
}

static void
a_refusal_is_a_failure(void **state)
{
	struct made m;

	(void)state;
	begin(&m, "www.example", A, DNS_REFUSED);
	assert_true(offer(&m, "www.example", A, 0));
	assert_int_equal(ask("www.example", A, 4), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_REFUSED);
	assert_int_equal(ask("www.example", A, 5), CACHE_NONE);
	/* Another one after it, whatever its kind, is kept longer. */
	make_servfail(&m, "www.example");
	assert_true(offer(&m, "www.example", A, 5));
	assert_int_equal(ask("www.example", A, 14), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_SERVFAIL);
	assert_int_equal(ask("www.example", A, 15), CACHE_NONE);
}

static void
of_a_failure_only_header_and_question_are_kept(void **state)
{
	struct made m;

	(void)state;
	make_servfail(&m, "www.example");
	add_soa(&m, "example", 300, 300);
	assert_true(offer(&m, "www.example", A, 0));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
	assert_int_equal(get32(out + 6), 0);
}

static void
a_failure_leaves_an_answer_that_can_be_had(void **state)
{
	struct cache_key key = key_for("www.example", A, 0);
	struct made m;

	(void)state;
	assert_true(put_a("www.example", 300, 0));
	make_servfail(&m, "www.example");
	assert_false(offer(&m, "www.example", A, 290));
	assert_int_equal(ask("www.example", A, 299), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 319), CACHE_STALE);
	assert_true(hit.held);
	assert_int_equal(ask("www.example", A, 320), CACHE_STALE);
	assert_false(hit.held);
	assert_false(offer(&m, "www.example", A, 400));
	assert_int_equal(ask("www.example", A, 400), CACHE_STALE);
	assert_true(hit.held);
	cache_failed(&c, &key, 420);
	assert_int_equal(ask("www.example", A, 449), CACHE_STALE);
	assert_true(hit.held);
	assert_true(put_a("www.example", 10, 440));
	assert_int_equal(ask("www.example", A, 449), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 450), CACHE_STALE);
	assert_false(hit.held);
	assert_true(offer(&m, "www.example", A, 450 + CACHE_STALE_S));
	assert_int_equal(ask("www.example", A, 450 + CACHE_STALE_S), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_SERVFAIL);
}

static void
a_firm_failure_takes_the_place_of_any_answer(void **state)
{
	struct cache_key key = key_for("www.example", A, 0);
	struct cache_offer o = {.ede = 6, .firm = true};
	struct made m;

	(void)state;
	make_servfail(&m, "www.example");
	o.msg = m.buf;
	o.len = m.len;
	for (uint32_t now = 1000; now <= 3000; now += 1000) {
		assert_true(put_a("www.example", 300, now - 400));
		assert_true(cache_put(&c, &key, &o, now));
		assert_int_equal(ask("www.example", A, now + 4), CACHE_FRESH);
		assert_int_equal(dns_rcode(out), DNS_SERVFAIL);
		assert_int_equal(hit.ede, 6);
		assert_int_equal(ask("www.example", A, now + 5), CACHE_NONE);
	}
	make_nxdomain(&m, "www.example", AAAA, 300, 300);
	assert_true(offer(&m, "www.example", AAAA, 4000));
	make_servfail(&m, "www.example");
	assert_true(cache_put(&c, &key, &o, 4400));
	assert_int_equal(ask("www.example", A, 4405), CACHE_NONE);
	assert_int_equal(c.entries, 1);
}

/* ---- Names that do not exist ------------------------------------------------------------------- */

static void
a_name_that_does_not_exist_has_no_types_and_no_names_below(void **state)
{
	struct made m;

	(void)state;
	make_nxdomain(&m, "no.example", A, 300, 300);
	assert_true(offer(&m, "no.example", A, 0));
	assert_int_equal(ask("no.example", A, 10), CACHE_FRESH);
	assert_int_equal(ask("NO.example", AAAA, 10), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NXDOMAIN);
	assert_int_equal(ttl_of(0), 290);
	assert_int_equal(ask("below.no.example", A, 10), CACHE_FRESH);
	assert_int_equal(ask("far.far.below.no.example", AAAA, 10), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NXDOMAIN);
	assert_int_equal(ttl_of(0), 290);
	assert_int_equal(ask("sono.example", A, 10), CACHE_NONE);
	assert_int_equal(ask("example", A, 10), CACHE_NONE);
	assert_int_equal(ask_bits("below.no.example", A, CACHE_CD, 10), CACHE_NONE);
	/* Stale, for the name itself alone. */
	assert_int_equal(ask("no.example", AAAA, 300), CACHE_STALE);
	assert_int_equal(ask("below.no.example", A, 300), CACHE_NONE);
}

/* A filter with a rule for one name, say. */
static void
a_name_that_is_kept_from_users_says_nothing_of_those_below(void **state)
{
	struct cache_key key = key_for("ads.example", A, 0);
	struct cache_offer o = {.ede = 15, .firm = true};
	struct made m;

	(void)state;
	make_nxdomain(&m, "ads.example", A, 300, 300);
	o.msg = m.buf;
	o.len = m.len;
	assert_true(cache_put(&c, &key, &o, 0));
	assert_int_equal(ask("ads.example", A, 10), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NXDOMAIN);
	assert_int_equal(hit.ede, 15);
	assert_int_equal(ask("ads.example", AAAA, 10), CACHE_NONE);
	assert_int_equal(ask("www.ads.example", A, 10), CACHE_NONE);
}

static void
a_name_that_turns_out_to_exist_exists(void **state)
{
	struct made m;

	(void)state;
	make_nxdomain(&m, "www.example", A, 300, 300);
	assert_true(offer(&m, "www.example", A, 0));
	assert_true(put_a("www.example", 300, 1));
	assert_int_equal(ask("www.example", A, 1), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NOERROR);
	assert_int_equal(ask("www.example", AAAA, 1), CACHE_NONE);
	assert_int_equal(c.entries, 1);
	assert_true(offer(&m, "www.example", A, 2));
	assert_int_equal(ask("www.example", A, 2), CACHE_FRESH);
	assert_int_equal(dns_rcode(out), DNS_NXDOMAIN);
	assert_int_equal(c.entries, 1);
}

static void
at_the_end_of_a_chain_it_is_the_other_name_that_does_not_exist(void **state)
{
	struct made m;

	(void)state;
	begin(&m, "www.example", A, DNS_NXDOMAIN);
	made_rr(&m, MADE_ANSWER, "12>", CNAME, IN, 600);
	made_rdata_name(&m, "other.example");
	add_soa(&m, "example", 400, 300);
	assert_true(offer(&m, "www.example", A, 0));
	assert_int_equal(ask("www.example", A, 0), CACHE_FRESH);
	assert_int_equal(ask("www.example", AAAA, 0), CACHE_NONE);
	assert_int_equal(ask("below.www.example", A, 0), CACHE_NONE);
}

static void
type_zero_is_a_type_like_others(void **state)
{
	struct made m;

	(void)state;
	begin(&m, "www.example", 0, 0);
	made_rr(&m, MADE_ANSWER, "12>", 0, IN, 600);
	assert_true(offer(&m, "www.example", 0, 0));
	assert_int_equal(ask("www.example", 0, 0), CACHE_FRESH);
	assert_int_equal(ask("www.example", A, 0), CACHE_NONE);
	assert_int_equal(ask("below.www.example", A, 0), CACHE_NONE);
}

static void
a_name_with_records_has_not_been_denied(void **state)
{
	struct made m;

	(void)state;
	begin(&m, "no.example", DNS_TYPE_NSEC, DNS_NXDOMAIN);
	made_rr(&m, MADE_ANSWER, "12>", DNS_TYPE_NSEC, IN, 300);
	add_soa(&m, "example", 300, 300);
	assert_true(offer(&m, "no.example", DNS_TYPE_NSEC, 0));
	assert_int_equal(ask("no.example", DNS_TYPE_NSEC, 0), CACHE_FRESH);
	assert_int_equal(ask("no.example", A, 0), CACHE_NONE);
}

static void
what_is_too_long_for_pointers_is_for_its_own_question_alone(void **state)
{
	struct made m;

	(void)state;
	start(1024, &usual);
	for (unsigned len = 16000; len < 16300; len += 200) {
		make_nxdomain(&m, "no.example", A, 300, 300);
		made_rr(&m, MADE_AUTHORITY, "12>", DNS_TYPE_NSEC, IN, 300);
		while (m.len < len)
			made_u8(&m, 'x');
		made_rdlen(&m);
		cache_flush(&c);
		assert_true(offer(&m, "no.example", A, 0));
		assert_int_equal(ask("no.example", A, 0), CACHE_FRESH);
		assert_int_equal(ask("below.no.example", A, 0), len == 16000 ? CACHE_FRESH : CACHE_NONE);
	}
}

static void
records_that_may_hold_pointers_are_for_their_own_question_alone(void **state)
{
	struct made m;

	(void)state;
	make_nxdomain(&m, "no.example", A, 300, 300);
	made_rr(&m, MADE_AUTHORITY, "15>", 2, IN, 300);
	made_rdata_name(&m, "ns.15>");
	assert_true(offer(&m, "no.example", A, 0));
	assert_int_equal(ask("no.example", A, 0), CACHE_FRESH);
	assert_int_equal(ask("below.no.example", A, 0), CACHE_NONE);
}

static void
only_so_many_names_above_are_looked_at(void **state)
{
	char name[128] = "no.example";
	struct made m;

	(void)state;
	make_nxdomain(&m, "no.example", A, 300, 300);
	assert_true(offer(&m, "no.example", A, 0));
	for (unsigned above = 1; above <= CACHE_ANCESTORS + 4; above++) {
		memmove(name + 2, name, strlen(name) + 1);
		memcpy(name, "a.", 2);
		assert_int_equal(ask(name, A, 0), above <= CACHE_ANCESTORS ? CACHE_FRESH : CACHE_NONE);
	}
}

static void
the_root_does_exist_or_does_not_for_all(void **state)
{
	struct made m;

	(void)state;
	make_nxdomain(&m, ".", A, 300, 300);
	assert_true(offer(&m, ".", A, 0));
	assert_int_equal(ask("com", A, 0), CACHE_FRESH);
	assert_int_equal(ask(".", AAAA, 0), CACHE_FRESH);
}

/* Writes the name at offset at out in full, its pointers followed. */
static size_t
spell(uint8_t name[256], const uint8_t *msg, size_t at)
{
	size_t n = 0;

	for (int hops = 0; hops < 128;) {
		if (msg[at] >= 0xc0) {
			at = get16(msg + at) & 0x3fffu;
			hops++;
			continue;
		}
		assert_true(n + 1u + msg[at] < 256);
		memcpy(name + n, msg + at, 1u + msg[at]);
		n += 1u + msg[at];
		if (msg[at] == 0)
			return n;
		at += 1u + msg[at];
	}
	fail();
	return 0;
}

/* Whatever is put before the name, all pointers, those with an octet of zero among them, lead to the same names. */
static void
names_below_get_pointers_that_lead_to_the_same_names(void **state)
{
	char text[512], below[600];
	uint8_t is[256], was[256];

	(void)state;
	for (unsigned n = 150; n < 240; n++) {
		struct dns_rr rr, old;
		struct dns_question q;
		struct made m;
		size_t len = 0;

		if ((n - 8) % 60 == 1)
			continue; /* a label of nothing */
		cache_flush(&c);
		while (len < n - 8) {
			unsigned label = n - 8 - (unsigned)len > 60 ? 60 : n - 8 - (unsigned)len;

			memset(text + len, 'x', label);
			text[len + label - 1] = '.';
			len += label;
		}
		memcpy(text + len, "example", 8);
		begin(&m, text, A, DNS_NXDOMAIN);
		made_rr(&m, MADE_AUTHORITY, "12>", DNS_TYPE_NSEC, IN, 300);
		made_rdata(&m, "\1b\0\0\1\100", 6);
		made_rr(&m, MADE_AUTHORITY, "12>", DNS_TYPE_SOA, IN, 300);
		snprintf(below, sizeof(below), "ns.%zu>", 12 + len); /* example */
		len = m.len;
		made_name(&m, below);
		snprintf(below, sizeof(below), "root.%zu>", len);
		made_name(&m, below);
		for (int i = 0; i < 5; i++)
			made_u32(&m, 300);
		made_rdlen(&m);
		assert_true(offer(&m, text, A, 0));
		snprintf(below, sizeof(below), "a.b.%s", text);
		assert_int_equal(ask(below, A, 0), CACHE_FRESH);
		assert_int_equal(dns_read_question(out, sizeof(out), &q), 0);
		assert_int_equal(dns_read_rr(out, sizeof(out), q.end, &rr), 0);
		assert_int_equal(dns_read_rr(m.buf, m.len, q.end - 4, &old), 0);
		assert_int_equal(rr.rdlen, 6);
		assert_int_equal(dns_read_rr(out, sizeof(out), rr.end, &rr), 0);
		assert_int_equal(dns_read_rr(m.buf, m.len, old.end, &old), 0);
		len = spell(is, out, rr.at);
		assert_int_equal(spell(was, m.buf, old.at), len);
		assert_memory_equal(is, was, len);
		for (int i = 0; i < 2; i++) {
			len = spell(is, out, rr.rdata);
			assert_int_equal(spell(was, m.buf, old.rdata), len);
			assert_memory_equal(is, was, len);
			rr.rdata = dns_skip_name(out, sizeof(out), rr.rdata);
			old.rdata = dns_skip_name(m.buf, m.len, old.rdata);
		}
	}
}

/* ---- Memory ------------------------------------------------------------------------------------ */

/* Puts an answer of len octets, with a name for its number. */
static void
put_number(uint32_t number, size_t len, uint32_t now)
{
	char name[24];
	struct made m;

	snprintf(name, sizeof(name), "n%08x.example", number);
	begin(&m, name, TXT, 0);
	made_rr(&m, MADE_ANSWER, "12>", TXT, IN, 86400);
	while (m.len < len)
		made_u8(&m, 0);
	made_rdlen(&m);
	assert_true(offer(&m, name, TXT, now));
}

static enum cache_state
ask_number(uint32_t number, uint32_t now)
{
	char name[24];

	snprintf(name, sizeof(name), "n%08x.example", number);
	return ask(name, TXT, now);
}

static void
overhead_is_below_forty_octets_an_answer(void **state)
{
	(void)state;
	for (size_t len = 60; len <= 128; len++) {
		size_t lost = 4 * (len + 40);

		start(SMALL_KIB, &usual);
		for (uint32_t i = 0; c.count.evicted == 0; i++)
			put_number(i, len, 0);
		assert_true(c.entries * (len + 40) + lost >= block_len);
	}
}

static void
names_asked_once_do_not_push_out_one_asked_often(void **state)
{
	(void)state;
	put_number(1000000, 100, 0);
	for (uint32_t i = 0; i < 5000; i++) {
		if (i % 30 == 0)
			assert_int_equal(ask_number(1000000, 0), CACHE_FRESH);
		put_number(i, 100, 0);
	}
	assert_true(c.count.evicted > 4000);
}

static void
who_comes_back_soon_after_leaving_stays(void **state)
{
	uint32_t left = 0, i;

	(void)state;
	for (i = 0; i < 5000; i++)
		put_number(i, 100, 0);
	/* The last one that left the small ring. */
	for (left = i - 1; ask_number(left, 0) != CACHE_NONE; left--)
		;
	put_number(left, 100, 0);
	for (; i < 5200; i++)
		put_number(i, 100, 0);
	assert_int_equal(ask_number(5000, 0), CACHE_NONE);
	assert_int_equal(ask_number(left, 0), CACHE_FRESH);
}

/* So many live entries have been asked for so many times since they were moved last. */
static uint32_t
count_visits(unsigned visits)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < c.buckets; i++) {
		for (uint32_t at = c.bucket[i]; at != 0; at = law_entry(&c, at)->next)
			found += (law_entry(&c, at)->use & 3u) == visits;
	}
	return found;
}

/* Fills the cache, and asks for all that is in it three times.  Returns the number of the next name. */
static uint32_t
fill_with_visits(uint32_t now)
{
	uint32_t n = 0;

	while (c.count.evicted == 0)
		put_number(n++, 100, now);
	for (uint32_t i = 0; i < 3 * n; i++)
		ask_number(i % n, now);
	assert_int_equal(count_visits(3), c.entries);
	return n;
}

static void
a_put_moves_so_many_and_then_forgets(void **state)
{
	uint32_t n, entries;

	(void)state;
	n = fill_with_visits(0);
	entries = c.entries;
	put_number(n, 100, 0);
	/* Without a bound all of the main ring would have had turns; without turns, none would have lost a visit. */
	assert_true(count_visits(3) >= entries - CACHE_MOVES - 4);
	assert_in_range(count_visits(2), CACHE_MOVES - 4, CACHE_MOVES);
	assert_in_range(c.entries, entries - 2, entries);
}

static void
what_has_expired_gets_no_further_turn(void **state)
{
	uint32_t n;

	(void)state;
	n = fill_with_visits(0);
	put_number(n, 100, 86400 + CACHE_STALE_S);
	assert_int_equal(count_visits(2), 0);
	assert_int_equal(ask_number(n, 86400 + CACHE_STALE_S), CACHE_FRESH);
	assert_int_equal(c.count.stored, c.entries + c.count.evicted);
}

static void
who_is_asked_for_again_stays_when_all_is_full(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (c.count.evicted < 500)
		put_number(n++, 100, 0);
	ask_number(n - 1, 0);
	for (uint32_t i = n; i < n + 200; i++)
		put_number(i, 100, 0);
	assert_int_equal(ask_number(n, 0), CACHE_NONE);
	assert_int_equal(ask_number(n - 1, 0), CACHE_FRESH);
}

static void
after_a_flush_as_much_is_kept_as_before(void **state)
{
	uint32_t n = fill_with_visits(0), entries = c.entries;

	(void)state;
	put_number(n, 100, 0);
	cache_flush(&c);
	c.count.evicted = 0;
	while (c.count.evicted == 0)
		put_number(n++, 100, 0);
	assert_in_range(c.entries, entries - 1, entries + 1);
}

/* Some of so many names have the same hash; each keeps its own answer. */
static void
names_with_the_same_hash_are_told_apart(void **state)
{
	uint32_t same = 0;
	struct made m;

	(void)state;
	start(64 * 1024, &usual);
	for (uint32_t i = 0; i < 200000; i++) {
		struct cache_key key;
		struct cache_offer o = {.msg = m.buf, .ede = -1};
		struct dns_question q;
		char name[12];

		snprintf(name, sizeof(name), "%x", (unsigned)i);
		make_a(&m, name, 300);
		o.len = m.len;
		assert_int_equal(dns_read_question(m.buf, m.len, &q), 0);
		cache_key(&key, m.buf, &q, 0);
		assert_true(cache_put(&c, &key, &o, 0));
	}
	for (uint32_t i = 0; i < c.buckets; i++) {
		for (uint32_t at = c.bucket[i]; at != 0; at = law_entry(&c, at)->next) {
			for (uint32_t to = law_entry(&c, at)->next; to != 0; to = law_entry(&c, to)->next)
				same += law_entry(&c, at)->hash == law_entry(&c, to)->hash;
		}
	}
	assert_int_equal(c.count.evicted, 0);
	assert_int_equal(c.entries, 200000);
	assert_int_not_equal(same, 0);
}

static void
the_smallest_cache_keeps_little_and_is_whole(void **state)
{
	struct made m;

	(void)state;
	for (uint32_t kib = 1; kib < SMALL_KIB; kib++) {
		start(kib, &usual);
		for (uint32_t i = 0; i < 300; i++) {
			char name[40];

			snprintf(name, sizeof(name), "%x.%s", (unsigned)i % 150,
				 &"what-has-a-longer-name"[i % 22]);
			make_a(&m, name, 300);
			if (offer(&m, name, A, i))
				assert_int_equal(ask(name, A, i), CACHE_FRESH);
			(void)ask("0.what.has.a.longer.name", A, i);
		}
		assert_true(kib < 2 || c.entries > 0);
	}
}

static void
a_gibibyte_is_touched_only_where_it_is_used(void **state)
{
	size_t len = (size_t)CACHE_KIB_MAX * 1024;
	unsigned char *there = malloc(len / 4096);
	void *big = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct cache_key key = key_for("www.example", A, 0);
	struct made m;
	struct cache_offer o = {.msg = m.buf, .ede = -1};
	uint32_t touched = 0;

	(void)state;
	assert_non_null(there);
	assert_ptr_not_equal(big, MAP_FAILED);
	cache_init(&c, big, len, &usual, seed);
	make_a(&m, "www.example", 300);
	o.len = m.len;
	assert_true(cache_put(&c, &key, &o, 0));
	assert_int_equal(cache_get(&c, &key, out, &hit, 0), m.len);
	assert_int_equal(mincore(big, len, there), 0);
	for (size_t i = 0; i < len / 4096; i++)
		touched += there[i] & 1u;
	assert_in_range(touched, 1, 8);
	munmap(big, len);
	free(there);
	start(SMALL_KIB, &usual);
}

static void
nothing_differs_from_a_naive_cache_while_there_is_room(void **state)
{
	static const struct cache_rules rules[] = {{0, 86400, 86400}, {60, 300, 100}, {0, 3600, 0}};

	(void)state;
	for (unsigned i = 0; i < 9; i++) {
		start(1024, &rules[i % 3]);
		model_run(&c, i, model_operations() / 12, true);
	}
}

static void
nothing_is_made_up_when_there_is_none(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		start(SMALL_KIB, &usual);
		model_run(&c, 100 + i, model_operations() / 12, false);
		assert_true(c.count.evicted > c.count.stored / 20);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_usual, stop)
	const struct CMUnitTest tests[] = {
		TEST(an_answer_comes_back_as_it_was_but_for_id_aa_opt_and_age),
		TEST(an_extended_dns_error_comes_back),
		TEST(a_fresh_ttl_ends_at_one_and_a_stale_one_is_thirty),
		TEST(without_stale_an_answer_ends_with_its_life),
		TEST(only_the_same_question_with_the_same_bits_is_answered),
		TEST(a_newer_answer_takes_the_place_of_an_older_one),
		TEST(flushed_all_is_forgotten),
		TEST(a_struct_of_zeros_keeps_nothing),
		TEST(it_is_time_to_prefetch_once_when_asked_often_and_nearly_over),
		TEST(what_lives_shortly_is_not_prefetched),
		TEST(a_failure_is_not_prefetched),
		TEST(a_positive_answer_lives_as_long_as_its_lowest_ttl),
		TEST(lives_are_within_the_callers_rules),
		TEST(a_negative_answer_lives_as_its_soa_says),
		TEST(a_chain_without_what_was_asked_for_is_a_negative_answer),
		TEST(what_must_not_be_kept_is_not),
		TEST(an_answer_to_another_question_is_not_kept),
		TEST(signed_answers_and_odd_opts_are_not_kept),
		TEST(octets_behind_the_last_record_are_left_behind),
		TEST(answers_longer_than_a_twentieth_are_not_kept),
		TEST(a_failure_is_remembered_longer_when_it_goes_on),
		TEST(a_refusal_is_a_failure),
		TEST(of_a_failure_only_header_and_question_are_kept),
		TEST(a_failure_leaves_an_answer_that_can_be_had),
		TEST(a_firm_failure_takes_the_place_of_any_answer),
		TEST(a_name_that_does_not_exist_has_no_types_and_no_names_below),
		TEST(a_name_that_is_kept_from_users_says_nothing_of_those_below),
		TEST(a_name_that_turns_out_to_exist_exists),
		TEST(at_the_end_of_a_chain_it_is_the_other_name_that_does_not_exist),
		TEST(type_zero_is_a_type_like_others),
		TEST(a_name_with_records_has_not_been_denied),
		TEST(what_is_too_long_for_pointers_is_for_its_own_question_alone),
		TEST(records_that_may_hold_pointers_are_for_their_own_question_alone),
		TEST(only_so_many_names_above_are_looked_at),
		TEST(the_root_does_exist_or_does_not_for_all),
		TEST(names_below_get_pointers_that_lead_to_the_same_names),
		TEST(overhead_is_below_forty_octets_an_answer),
		TEST(names_asked_once_do_not_push_out_one_asked_often),
		TEST(who_comes_back_soon_after_leaving_stays),
		TEST(a_put_moves_so_many_and_then_forgets),
		TEST(what_has_expired_gets_no_further_turn),
		TEST(who_is_asked_for_again_stays_when_all_is_full),
		TEST(after_a_flush_as_much_is_kept_as_before),
		TEST(names_with_the_same_hash_are_told_apart),
		TEST(the_smallest_cache_keeps_little_and_is_whole),
		TEST(a_gibibyte_is_touched_only_where_it_is_used),
		TEST(nothing_differs_from_a_naive_cache_while_there_is_room),
		TEST(nothing_is_made_up_when_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
