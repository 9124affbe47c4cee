/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dnsmake.h"
#include "kept.h"

#define A 1u
#define CNAME 5u
#define AAAA 28u
#define IN 1u
#define BEGIN 5000500u /* ms: half a second of the cache's clock is over */

static struct kept k;
static void *block;
static const struct cache_rules usual = {CACHE_MIN_TTL, CACHE_MAX_TTL, CACHE_STALE_S};

/* What is asked, and how the reply is to be. */
static struct made m;
static struct edns_facts facts;
static struct edns_reply how;

/* What an upstream says. */
static struct made a;

/* What came back. */
static uint8_t out[DNS_MESSAGE_MAX];
static size_t len;
static struct cache_hit hit;
static struct edns_answer said;

/* ---- Tools ------------------------------------------------------------------------------------ */

static void
start(uint32_t kib, const struct cache_rules *rules)
{
	static const uint32_t seed[2] = {1, 2};

	free(block);
	block = calloc(kib, 1024);
	assert_non_null(block);
	cache_init(&k.cache, block, (size_t)kib * 1024, rules, seed);
	how = (struct edns_reply){.id = 0x4711, .limit = 1232, .udp_size = 1232, .keepalive = -1};
}

static int
start_usual(void **state)
{
	(void)state;
	start(64, &usual);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	free(block);
	block = NULL;
	return 0;
}

/* A question without OPT; more may be added. */
static void
question(const char *name, unsigned type, unsigned flags)
{
	made_init(&m, 0x4711, flags);
	made_question(&m, name, type, IN);
}

static void
usual_question(const char *name)
{
	question(name, A, DNS_RD);
}

static void
read_question(void)
{
	enum dns_rcode rcode;
	enum edns_ede ede;

	assert_int_equal(edns_read_query(m.buf, m.len, &facts, &rcode, &ede), EDNS_FORWARD);
}

/* The beginning of an answer to what is in m. */
static void
begin_answer(unsigned flags)
{
	read_question();
	made_init(&a, 0x1111, DNS_QR | DNS_RA | (dns_flags(m.buf) & (DNS_RD | DNS_CD)) | flags);
	made_octets(&a, m.buf + DNS_HEADER, facts.question_end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
}

static void
add_record(enum made_section section, unsigned type, uint32_t ttl, uint32_t data)
{
	made_rr(&a, section, "12>", type, IN, ttl);
	made_u32(&a, data);
	made_rdlen(&a);
}

static void
add_soa(uint32_t ttl, uint32_t minimum)
{
	made_rr(&a, MADE_AUTHORITY, "example", DNS_TYPE_SOA, IN, ttl);
	made_name(&a, "ns.example");
	made_name(&a, "root.example");
	for (int i = 0; i < 4; i++)
		made_u32(&a, 7);
	made_u32(&a, minimum);
	made_rdlen(&a);
}

static void
add_opt(void)
{
	if (facts.has_opt)
		made_opt(&a, 1232, facts.dnssec_ok ? EDNS_DO : 0);
}

static void
add_ede(unsigned code)
{
	uint8_t data[] = {(uint8_t)(code >> 8), (uint8_t)code, 'x'};

	made_option(&a, EDNS_EDE, data, sizeof(data));
}

/* The answer in a comes, to what is in m. */
static void
put(uint64_t now)
{
	struct edns_answer answer;

	assert_int_equal(edns_read_answer(a.buf, a.len, &answer), 0);
	kept_put(&k, m.buf, m.len, &facts, a.buf, a.len, &answer, now);
}

/* The usual answer: one record whose data is ip. */
static void
put_record(uint32_t ttl, uint32_t ip, uint64_t now)
{
	begin_answer(0);
	add_record(MADE_ANSWER, facts.question.type, ttl, ip);
	add_opt();
	put(now);
}

static void
put_error(unsigned rcode, uint64_t now)
{
	begin_answer(rcode);
	add_opt();
	put(now);
}

static void
put_nxdomain(uint32_t ttl, uint32_t minimum, uint64_t now)
{
	begin_answer(DNS_NXDOMAIN);
	add_soa(ttl, minimum);
	add_opt();
	put(now);
}

/* Asks what is in m: the reply is in out, and read as said. */
static enum cache_state
get(uint64_t now)
{
	read_question();
	len = kept_answer(&k, out, m.buf, m.len, &facts, how, &hit, now);
	assert_int_equal(len == 0, hit.state == CACHE_NONE);
	if (len != 0) {
		assert_int_equal(edns_read_answer(out, len, &said), 0);
		assert_int_equal(said.end, len);
		assert_int_equal(dns_id(out), 0x4711);
		assert_memory_equal(out + DNS_HEADER, m.buf + DNS_HEADER, facts.question_end - DNS_HEADER);
		assert_int_equal(said.opt_len != 0, facts.has_opt);
	}
	return hit.state;
}

static struct dns_rr
record_of_reply(void)
{
	struct dns_rr rr;

	assert_int_equal(dns_read_rr(out, len, said.question.end, &rr), 0);
	return rr;
}

static uint32_t
data_of_reply(void)
{
	return get32(out + record_of_reply().rdata);
}

/* ---- What is given ---------------------------------------------------------------------------- */

static void
each_has_its_own_id_spelling_and_opt(void **state)
{
	(void)state;
	usual_question("www.Example");
	put_record(300, 7, BEGIN);
	usual_question("WWW.example");
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_ancount(out), 1);
	assert_int_equal(data_of_reply(), 7);
	usual_question("wWw.eXample");
	made_opt(&m, 1232, 0);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(data_of_reply(), 7);
	assert_int_equal(dns_flags(out), DNS_QR | DNS_RD | DNS_RA);
}

static void
a_ttl_is_what_is_left_of_it(void **state)
{
	(void)state;
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	assert_int_equal(get(BEGIN + 499), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 300);
	assert_int_equal(get(BEGIN + 500), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 299);
	assert_int_equal(get(BEGIN + 298500), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 1);
	/* Rather half a second too short than a moment too long. */
	assert_int_equal(get(BEGIN + 299500), CACHE_STALE);
}

static void
a_ttl_is_kept_within_its_bounds(void **state)
{
	static const struct cache_rules narrow = {60, 120, 0};

	(void)state;
	start(64, &narrow);
	usual_question("short.example");
	put_record(5, 7, BEGIN);
	assert_int_equal(get(BEGIN + 50000), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 10);
	assert_int_equal(get(BEGIN + 60000), CACHE_NONE);
	usual_question("long.example");
	put_record(5000, 7, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 120);
	assert_int_equal(get(BEGIN + 120000), CACHE_NONE);
	usual_question("never.example");
	put_record(0, 7, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	/* What is not there is not made to last. */
	usual_question("no.example");
	put_nxdomain(5, 300, BEGIN);
	assert_int_equal(get(BEGIN + 4000), CACHE_FRESH);
	assert_int_equal(get(BEGIN + 5000), CACHE_NONE);
}

static void
what_does_not_fit_the_clients_size_is_truncated(void **state)
{
	(void)state;
	usual_question("www.example");
	made_opt(&m, 4096, 0);
	begin_answer(0);
	for (unsigned i = 0; i < 40; i++)
		add_record(MADE_ANSWER, A, 300, i);
	add_opt();
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_ancount(out), 40);
	assert_int_equal(dns_flags(out) & DNS_TC, 0);
	how.limit = 512;
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_ancount(out), 0);
	assert_int_equal(dns_flags(out) & DNS_TC, DNS_TC);
	assert_in_range(len, DNS_HEADER, 512);
	/* That one client had to ask again is none of the next one's. */
	how.limit = 65535;
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_flags(out) & DNS_TC, 0);
}

static void
who_asks_for_keepalive_is_told_ours(void **state)
{
	(void)state;
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	made_opt(&m, 1232, 0);
	made_option(&m, EDNS_KEEPALIVE, NULL, 0);
	how.keepalive = 77;
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_true(said.has_keepalive);
	assert_int_equal(said.keepalive, 77);
}

/* ---- What is asked for ------------------------------------------------------------------------ */

static void
answers_to_different_flags_never_mix(void **state)
{
	(void)state;
	for (int ask = 0; ask < 2; ask++) {
		for (uint32_t i = 0; i < 8; i++) {
			question("www.example", A, DNS_RD | (i & 1 ? DNS_CD : 0) | (i & 2 ? DNS_AD : 0));
			if (i & 4)
				made_opt(&m, 1232, EDNS_DO);
			if (ask == 0) {
				put_record(300, i, BEGIN);
				continue;
			}
			assert_int_equal(get(BEGIN), CACHE_FRESH);
			assert_int_equal(dns_flags(out) & DNS_CD, dns_flags(m.buf) & DNS_CD);
			assert_int_equal(facts.dnssec_ok, (i & 4) != 0);
			/* DO asks for AD as well: these two are the same. */
			assert_int_equal(data_of_reply(), i & 4 ? i | 2 : i);
		}
	}
}

static void
ad_is_for_who_asked_for_it(void **state)
{
	(void)state;
	question("www.example", A, DNS_RD);
	made_opt(&m, 1232, EDNS_DO);
	begin_answer(DNS_AD);
	add_record(MADE_ANSWER, A, 300, 7);
	add_opt();
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_flags(out) & DNS_AD, DNS_AD);
	question("www.example", A, DNS_RD | DNS_AD);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	begin_answer(DNS_AD);
	add_record(MADE_ANSWER, A, 300, 7);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_flags(out) & DNS_AD, DNS_AD);
	/* An upstream that says it unasked. */
	question("www.example", A, DNS_RD);
	begin_answer(DNS_AD);
	add_record(MADE_ANSWER, A, 300, 7);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(dns_flags(out) & DNS_AD, 0);
}

/* The query in m is neither kept nor answered, though the usual one to the same name is. */
static void
assert_no_part_in_it(void)
{
	struct made odd = m;

	put_record(300, 1, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	usual_question("www.example");
	assert_int_equal(get(BEGIN), CACHE_NONE);
	put_record(300, 2, BEGIN);
	m = odd;
	assert_int_equal(get(BEGIN), CACHE_NONE);
	put_record(300, 3, BEGIN);
	usual_question("www.example");
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(data_of_reply(), 2);
	cache_flush(&k.cache);
}

static void
odd_flags_have_no_part_in_it(void **state)
{
	static const unsigned odd[] = {
		0, DNS_AD, DNS_RD | DNS_Z, DNS_RD | DNS_AA, DNS_RD | DNS_TC, DNS_RD | DNS_RA};

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		question("www.example", A, odd[i]);
		assert_no_part_in_it();
	}
}

static void
other_classes_have_no_part_in_it(void **state)
{
	static const unsigned classes[] = {0, 2, 3, 4, 254, 255, 256};

	(void)state;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		made_init(&m, 0x4711, DNS_RD);
		made_question(&m, "www.example", A, classes[i]);
		assert_no_part_in_it();
	}
}

static void
meta_types_have_no_part_in_it(void **state)
{
	(void)state;
	for (unsigned type = 128; type < 256; type++) {
		if (type == DNS_TYPE_AXFR || type == DNS_TYPE_IXFR)
			continue; /* are refused at the door */
		question("www.example", type, DNS_RD);
		assert_no_part_in_it();
	}
	for (unsigned type = 127; type <= 256; type += 129) {
		question("www.example", type, DNS_RD);
		put_record(300, 7, BEGIN);
		assert_int_equal(get(BEGIN), CACHE_FRESH);
	}
}

static void
a_client_subnet_has_no_part_in_it(void **state)
{
	static const uint8_t none[] = {0, 1, 0, 0}, some[] = {0, 1, 24, 0, 192, 0, 2};

	(void)state;
	for (int i = 0; i < 2; i++) {
		usual_question("www.example");
		made_opt(&m, 1232, 0);
		made_option(&m, EDNS_ECS, i ? none : some, i ? sizeof(none) : sizeof(some));
		assert_no_part_in_it();
	}
}

static void
a_signed_query_has_no_part_in_it(void **state)
{
	static const uint8_t mac[16], sig[18];

	(void)state;
	usual_question("www.example");
	made_rr(&m, MADE_ADDITIONAL, "key", DNS_TYPE_TSIG, 255, 0);
	made_rdata(&m, mac, sizeof(mac));
	/* Its reply would not have our ID and question: it is looked at here. */
	read_question();
	assert_true(facts.is_signed);
	assert_no_part_in_it();
	usual_question("www.example");
	made_rr(&m, MADE_ADDITIONAL, "", DNS_TYPE_SIG, 255, 0);
	made_rdata(&m, sig, sizeof(sig));
	read_question();
	assert_true(facts.is_signed);
	assert_no_part_in_it();
}

static void
a_query_with_more_than_a_question_has_no_part_in_it(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		usual_question("www.example");
		made_a(&m, (enum made_section)(MADE_ANSWER + 2 * i), "more.example", 1);
		assert_no_part_in_it();
	}
}

static void
options_that_stay_behind_make_no_difference(void **state)
{
	static const unsigned codes[] = {EDNS_COOKIE, EDNS_PADDING, 3, 65001};

	(void)state;
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		usual_question("www.example");
		made_opt(&m, 1232, 0);
		made_option(&m, codes[i], "12345678", 8);
		assert_int_equal(get(BEGIN), CACHE_FRESH);
		assert_int_equal(said.opt_len, 11); /* nothing of it comes back */
	}
}

/* ---- What is kept ----------------------------------------------------------------------------- */

static void
an_answer_with_a_scope_is_not_kept(void **state)
{
	(void)state;
	for (uint8_t scope = 0; scope < 2; scope++) {
		uint8_t subnet[] = {0, 1, 0, scope};

		usual_question("www.example");
		made_opt(&m, 1232, 0);
		begin_answer(0);
		add_record(MADE_ANSWER, A, 300, 7);
		add_opt();
		made_option(&a, EDNS_ECS, subnet, sizeof(subnet));
		cache_flush(&k.cache);
		put(BEGIN);
		assert_int_equal(get(BEGIN), scope > 0 ? CACHE_NONE : CACHE_FRESH);
	}
}

static void
a_truncated_answer_is_not_kept(void **state)
{
	(void)state;
	usual_question("www.example");
	begin_answer(DNS_TC);
	add_record(MADE_ANSWER, A, 300, 7);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
}

static void
a_signed_answer_is_not_kept(void **state)
{
	static const uint8_t mac[16];

	(void)state;
	usual_question("www.example");
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	made_rr(&a, MADE_ADDITIONAL, "key", DNS_TYPE_TSIG, 255, 0);
	made_rdata(&a, mac, sizeof(mac));
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
}

static void
an_answer_to_another_question_is_not_kept(void **state)
{
	struct made asked;

	(void)state;
	usual_question("www.example");
	asked = m;
	usual_question("www.example.org");
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	m = asked;
	read_question();
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	usual_question("www.example.org");
	assert_int_equal(get(BEGIN), CACHE_NONE);
}

static void
an_answer_without_opt_is_none_to_a_question_with_do(void **state)
{
	(void)state;
	usual_question("www.example");
	made_opt(&m, 1232, EDNS_DO);
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	/* Without DO it is. */
	usual_question("www.example");
	made_opt(&m, 1232, 0);
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
}

static void
what_is_not_there_is_kept_with_its_soa(void **state)
{
	(void)state;
	usual_question("no.example");
	put_nxdomain(600, 100, BEGIN);
	assert_int_equal(get(BEGIN + 40000), CACHE_FRESH);
	assert_int_equal(said.rcode, DNS_NXDOMAIN);
	assert_int_equal(dns_nscount(out), 1);
	assert_int_equal(record_of_reply().type, DNS_TYPE_SOA);
	assert_int_equal(record_of_reply().ttl, 60);
	usual_question("www.no.example");
	assert_int_equal(get(BEGIN + 40000), CACHE_FRESH); /* RFC 8020 */
	assert_int_equal(said.rcode, DNS_NXDOMAIN);
	assert_int_equal(record_of_reply().ttl, 60);
	question("no.example", A, DNS_RD | DNS_CD);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	/* The name is there, the type is not. */
	question("www.example", AAAA, DNS_RD);
	begin_answer(0);
	add_soa(30, 100);
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(record_of_reply().ttl, 30);
	usual_question("www.example");
	assert_int_equal(get(BEGIN), CACHE_NONE);
	/* Nobody says for how long. */
	usual_question("other.example");
	put_error(DNS_NXDOMAIN, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
}

static void
failures_are_remembered_for_seconds(void **state)
{
	static const unsigned rcodes[] = {DNS_SERVFAIL, DNS_REFUSED};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint64_t now = BEGIN + i * 1000000u;

		usual_question("www.example");
		made_opt(&m, 1232, 0);
		put_error(rcodes[i], now);
		assert_int_equal(get(now + 4000), CACHE_FRESH);
		assert_int_equal(said.rcode, rcodes[i]);
		assert_int_equal(said.ede, EDE_CACHED_ERROR);
		assert_int_equal(get(now + 5000), CACHE_NONE);
		/* It goes on, and says why. */
		begin_answer(rcodes[i]);
		add_opt();
		add_ede(22);
		put(now + 5000);
		assert_int_equal(get(now + 14000), CACHE_FRESH);
		assert_int_equal(said.ede, 22);
		assert_int_equal(get(now + 15000), CACHE_NONE);
	}
	put_error(DNS_NOTIMP, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
}

static void
an_error_code_comes_back(void **state)
{
	(void)state;
	usual_question("www.example");
	made_opt(&m, 1232, 0);
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	add_opt();
	add_ede(4); /* forged answer */
	put(BEGIN);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(said.ede, 4);
	usual_question("www.example");
	assert_int_equal(get(BEGIN), CACHE_FRESH); /* and has no OPT to say it in */
	put_record(300, 7, BEGIN);
	made_opt(&m, 1232, 0);
	assert_int_equal(get(BEGIN), CACHE_FRESH);
	assert_int_equal(said.ede, EDE_NONE);
}

/* ---- What was true a while ago ---------------------------------------------------------------- */

static void
a_stale_answer_says_so_and_lives_for_30_seconds(void **state)
{
	(void)state;
	usual_question("www.example");
	made_opt(&m, 1232, 0);
	begin_answer(0);
	add_record(MADE_ANSWER, A, 300, 7);
	add_opt();
	add_ede(4);
	put(BEGIN);
	assert_int_equal(get(BEGIN + 300000), CACHE_STALE);
	assert_int_equal(said.ede, EDE_STALE);
	assert_int_equal(record_of_reply().ttl, 30);
	assert_int_equal(data_of_reply(), 7);
	assert_int_equal(get(BEGIN + 300000 + CACHE_STALE_S * 1000u - 1000), CACHE_STALE);
	assert_int_equal(get(BEGIN + 300000 + CACHE_STALE_S * 1000u), CACHE_NONE);
	usual_question("www.example");
	assert_int_equal(get(BEGIN + 300000), CACHE_STALE);
	assert_int_equal(record_of_reply().ttl, 30);
	usual_question("no.example");
	made_opt(&m, 1232, 0);
	put_nxdomain(300, 300, BEGIN);
	assert_int_equal(get(BEGIN + 300000), CACHE_STALE);
	assert_int_equal(said.ede, EDE_STALE_NXDOMAIN);
	assert_int_equal(record_of_reply().ttl, 30);
	usual_question("www.no.example");
	assert_int_equal(get(BEGIN + 300000), CACHE_NONE);
}

static void
without_stale_there_is_nothing_behind_the_end(void **state)
{
	static const struct cache_rules strict = {0, 86400, 0};

	(void)state;
	start(64, &strict);
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	assert_int_equal(get(BEGIN + 299000), CACHE_FRESH);
	assert_int_equal(get(BEGIN + 300000), CACHE_NONE);
}

static void
that_a_refresh_failed_is_said_for_30_seconds(void **state)
{
	(void)state;
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	assert_int_equal(get(BEGIN + 400000), CACHE_STALE);
	assert_false(hit.held);
	kept_failed(&k, m.buf, m.len, &facts, BEGIN + 400000);
	assert_int_equal(get(BEGIN + 429000), CACHE_STALE);
	assert_true(hit.held);
	assert_int_equal(get(BEGIN + 430000), CACHE_STALE);
	assert_false(hit.held);
	/* An answer that says it is a failure is one, too. */
	put_error(DNS_SERVFAIL, BEGIN + 430000);
	assert_int_equal(get(BEGIN + 459000), CACHE_STALE);
	assert_true(hit.held);
}

/* RFC 8914 section 4: signatures that do not hold, or a name that is kept from users. */
static void
a_failure_of_the_name_itself_ends_older_answers(void **state)
{
	static const unsigned codes[][2] = {{5, CACHE_STALE},  {6, CACHE_FRESH},  {9, CACHE_FRESH},
					    {12, CACHE_FRESH}, {13, CACHE_STALE}, {14, CACHE_STALE},
					    {15, CACHE_FRESH}, {17, CACHE_FRESH}, {18, CACHE_STALE}};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		for (unsigned rcode = DNS_SERVFAIL; rcode <= DNS_REFUSED; rcode += DNS_REFUSED - DNS_SERVFAIL) {
			cache_flush(&k.cache);
			usual_question("www.example");
			made_opt(&m, 1232, 0);
			put_record(300, 7, BEGIN);
			begin_answer(rcode);
			add_opt();
			add_ede(codes[i][0]);
			put(BEGIN + 400000);
			assert_int_equal(get(BEGIN + 400000), codes[i][1]);
			assert_int_equal(said.rcode, hit.state == CACHE_FRESH ? rcode : DNS_NOERROR);
		}
	}
}

/* ---- Nothing is kept -------------------------------------------------------------------------- */

static void
without_a_cache_nothing_is_kept(void **state)
{
	(void)state;
	memset(&k.cache, 0, sizeof(k.cache));
	usual_question("www.example");
	put_record(300, 7, BEGIN);
	kept_failed(&k, m.buf, m.len, &facts, BEGIN);
	assert_int_equal(get(BEGIN), CACHE_NONE);
	assert_int_equal(hit.held, false);
	assert_int_equal(hit.prefetch, false);
	assert_int_equal(k.cache.count.misses, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start_usual, stop)
	const struct CMUnitTest tests[] = {
		TEST(each_has_its_own_id_spelling_and_opt),
		TEST(a_ttl_is_what_is_left_of_it),
		TEST(a_ttl_is_kept_within_its_bounds),
		TEST(what_does_not_fit_the_clients_size_is_truncated),
		TEST(who_asks_for_keepalive_is_told_ours),
		TEST(answers_to_different_flags_never_mix),
		TEST(ad_is_for_who_asked_for_it),
		TEST(odd_flags_have_no_part_in_it),
		TEST(other_classes_have_no_part_in_it),
		TEST(meta_types_have_no_part_in_it),
		TEST(a_client_subnet_has_no_part_in_it),
		TEST(a_signed_query_has_no_part_in_it),
		TEST(a_query_with_more_than_a_question_has_no_part_in_it),
		TEST(options_that_stay_behind_make_no_difference),
		TEST(an_answer_with_a_scope_is_not_kept),
		TEST(a_truncated_answer_is_not_kept),
		TEST(a_signed_answer_is_not_kept),
		TEST(an_answer_to_another_question_is_not_kept),
		TEST(an_answer_without_opt_is_none_to_a_question_with_do),
		TEST(what_is_not_there_is_kept_with_its_soa),
		TEST(failures_are_remembered_for_seconds),
		TEST(an_error_code_comes_back),
		TEST(a_stale_answer_says_so_and_lives_for_30_seconds),
		TEST(without_stale_there_is_nothing_behind_the_end),
		TEST(that_a_refresh_failed_is_said_for_30_seconds),
		TEST(a_failure_of_the_name_itself_ends_older_answers),
		TEST(without_a_cache_nothing_is_kept),
	};

	return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
