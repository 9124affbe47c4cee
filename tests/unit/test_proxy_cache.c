/* SPDX-License-Identifier: MIT */
/* The proxy with a cache: when an answer is taken out of it, and when not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAW(holds) assert_true(holds)
#include "proxy_world.h"

#define TYPE_A 1
#define CLASS_IN 1
#define TTL 100u

static struct made m, a;
static const struct cache_rules usual = {0, 86400, 86400}, strict = {0, 86400, 0};

static struct proxy_counters *
count(void)
{
	return &world.proxy.count;
}

/* ---- Asking and answering --------------------------------------------------------------------- */

static void
begin(unsigned ups, const struct cache_rules *rules)
{
	world_start(64, ups);
	world_keep(64, rules);
}

/* With an OPT record, so that error codes come back. */
static void
ask_flags(struct world_listener *via, uint32_t token, const char *name, unsigned flags, uint32_t opt_ttl)
{
	made_init(&m, token, flags);
	made_question(&m, name, TYPE_A, CLASS_IN);
	made_opt(&m, 1232, opt_ttl);
	assert_true(world_ask(via, token, m.buf, m.len));
}

static void
ask(uint32_t token, const char *name)
{
	ask_flags(&world.udp, token, name, DNS_RD, 0);
}

/* The answer to the k-th question that an upstream has: an address and an OPT, or an error. */
static void
make_answer(unsigned up, unsigned k, unsigned rcode, uint32_t ttl, uint32_t ip)
{
	struct world_sent s = world_take(up, k);
	struct dns_question q;

	assert_int_equal(dns_read_question(s.msg, s.len, &q), 0);
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_RD | DNS_RA | rcode);
	made_octets(&a, s.msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	if (rcode == DNS_NOERROR) {
		made_rr(&a, MADE_ANSWER, "12>", TYPE_A, CLASS_IN, ttl);
		made_u32(&a, ip);
		made_rdlen(&a);
	}
	if (dns_arcount(s.msg) != 0)
		made_opt(&a, 1232, 0);
}

static void
answer(unsigned up, unsigned rcode, uint32_t ttl, uint32_t ip)
{
	make_answer(up, 0, rcode, ttl, ip);
	world_answer(up, a.buf, a.len);
}

/* An error that says more. */
static void
answer_ede(unsigned up, unsigned rcode, unsigned code, const char *text)
{
	uint8_t data[16] = {0, (uint8_t)code};

	make_answer(up, 0, rcode, 0, 0);
	memcpy(data + 2, text, strlen(text));
	made_option(&a, EDNS_EDE, data, 2 + strlen(text));
	world_answer(up, a.buf, a.len);
}

/* The name is in the cache, with an address of 7. */
static void
fill(const char *name)
{
	ask(99, name);
	answer(0, DNS_NOERROR, TTL, 7);
	assert_int_equal(world.udp.token, 99);
}

/* Filled, and expired. */
static void
begin_stale(unsigned ups)
{
	begin(ups, &usual);
	fill("www.example");
	world_pass(TTL * 1000);
}

/* ---- Looking ---------------------------------------------------------------------------------- */

static struct edns_answer
read_reply(const struct world_listener *l, uint32_t token)
{
	struct edns_answer r;

	assert_int_equal(l->token, token);
	assert_int_equal(dns_id(l->msg), token);
	assert_int_equal(edns_read_answer(l->msg, l->len, &r), 0);
	return r;
}

/* The last reply is this one, an answer with this address. */
static void
assert_address(const struct world_listener *l, uint32_t token, uint32_t ip, uint32_t ttl, int ede)
{
	struct edns_answer r = read_reply(l, token);
	struct dns_rr rr;

	assert_int_equal(r.rcode, DNS_NOERROR);
	assert_int_equal(r.ede, ede);
	assert_int_equal(dns_ancount(l->msg), 1);
	assert_int_equal(dns_read_rr(l->msg, l->len, r.question.end, &rr), 0);
	assert_int_equal(get32(l->msg + rr.rdata), ip);
	assert_int_equal(rr.ttl, ttl);
}

static void
assert_fresh(uint32_t token, uint32_t ip, uint32_t ttl)
{
	assert_address(&world.udp, token, ip, ttl, EDE_NONE);
}

static void
assert_stale(uint32_t token)
{
	assert_address(&world.udp, token, 7, 30, EDE_STALE);
}

static void
assert_error(uint32_t token, unsigned rcode, int ede)
{
	struct edns_answer r = read_reply(&world.udp, token);

	assert_int_equal(r.rcode, rcode);
	assert_int_equal(r.ede, ede);
}

/* ---- Hits ------------------------------------------------------------------------------------- */

static void
a_hit_reaches_no_upstream(void **state)
{
	(void)state;
	begin(1, &usual);
	fill("www.example");
	world_pass(40000);
	ask(1, "WWW.example");
	assert_fresh(1, 7, TTL - 40);
	ask_flags(&world.tcp, 2, "www.EXAMPLE", DNS_RD, 0);
	assert_address(&world.tcp, 2, 7, TTL - 40, EDE_NONE);
	assert_int_equal(world.up[0].offered, 1);
	assert_int_equal(count()->cached, 2);
	assert_int_equal(count()->answered, 3);
	assert_int_equal(world.proxy.table.open, 0);
}

static void
a_hit_fits_the_clients_size(void **state)
{
	(void)state;
	begin(1, &usual);
	ask_flags(&world.tcp, 1, "www.example", DNS_RD, 0);
	make_answer(0, 0, DNS_NOERROR, TTL, 7);
	a.len -= 11; /* the OPT comes last */
	made_count(&a, MADE_ADDITIONAL, -1);
	for (unsigned i = 0; i < 100; i++)
		made_a(&a, MADE_ANSWER, "12>", i);
	world_answer(0, a.buf, a.len);
	assert_int_equal(dns_ancount(world.tcp.msg), 101);
	made_init(&m, 2, DNS_RD);
	made_question(&m, "www.example", TYPE_A, CLASS_IN);
	assert_true(world_ask(&world.udp, 2, m.buf, m.len));
	assert_int_equal(dns_flags(world.udp.msg) & DNS_TC, DNS_TC);
	assert_in_range(world.udp.len, DNS_HEADER, 512);
	ask_flags(&world.tcp, 3, "www.example", DNS_RD, 0);
	assert_int_equal(dns_ancount(world.tcp.msg), 101);
	assert_int_equal(world.up[0].offered, 1);
}

static void
who_is_not_allowed_is_refused_what_is_kept(void **state)
{
	struct origin o;

	(void)state;
	begin(1, &usual);
	fill("www.example");
	o = world_origin(&world.udp, 5);
	assert_int_equal(addr_parse(&o.peer, "203.0.113.1"), 0);
	made_init(&m, 5, DNS_RD);
	made_question(&m, "www.example", TYPE_A, CLASS_IN);
	made_opt(&m, 1232, 0);
	assert_true(proxy_ask(&world.proxy, &o, m.buf, m.len, world.now));
	assert_error(5, DNS_REFUSED, EDE_PROHIBITED);
	assert_int_equal(count()->cached, 0);
}

static void
what_is_malformed_is_not_answered_from_the_cache(void **state)
{
	(void)state;
	begin(1, &usual);
	fill("www.example");
	made_init(&m, 5, DNS_RD);
	made_question(&m, "www.example", TYPE_A, CLASS_IN);
	made_u8(&m, 0);
	assert_true(world_ask(&world.udp, 5, m.buf, m.len));
	assert_int_equal(dns_rcode(world.udp.msg), DNS_FORMERR);
}

static void
other_questions_go_to_the_upstream(void **state)
{
	static const uint8_t subnet[] = {0, 1, 24, 0, 192, 0, 2};

	(void)state;
	begin(1, &usual);
	fill("www.example");
	ask_flags(&world.udp, 1, "www.example", DNS_RD | DNS_CD, 0);
	ask_flags(&world.udp, 2, "www.example", DNS_RD, EDNS_DO);
	ask_flags(&world.udp, 3, "www.example", 0, 0);
	made_init(&m, 4, DNS_RD);
	made_question(&m, "www.example", TYPE_A, CLASS_IN);
	made_opt(&m, 1232, 0);
	made_option(&m, EDNS_ECS, subnet, sizeof(subnet));
	assert_true(world_ask(&world.udp, 4, m.buf, m.len));
	assert_int_equal(world.up[0].count, 4);
	assert_int_equal(world.udp.replies, 1);
	for (uint32_t i = 1; i <= 4; i++)
		answer(0, DNS_NOERROR, TTL, 100 + i);
	ask(5, "www.example");
	assert_fresh(5, 7, TTL);
}

static void
an_answer_from_who_refuses_opt_is_none_for_who_wants_signatures(void **state)
{
	(void)state;
	begin(1, &usual);
	ask_flags(&world.udp, 1, "www.example", DNS_RD, EDNS_DO);
	make_answer(0, 0, DNS_FORMERR, 0, 0);
	a.len -= 11;
	made_count(&a, MADE_ADDITIONAL, -1);
	world_answer(0, a.buf, a.len);
	answer(0, DNS_NOERROR, TTL, 7);
	assert_fresh(1, 7, TTL);
	ask_flags(&world.udp, 2, "www.example", DNS_RD, EDNS_DO);
	assert_int_equal(world.up[0].offered, 3);
}

static void
without_a_cache_all_go_to_the_upstream(void **state)
{
	(void)state;
	world_start(64, 1);
	world.proxy.set.prefetch = true;
	for (uint32_t i = 1; i <= 5; i++) {
		ask(i, "www.example");
		answer(0, DNS_NOERROR, TTL, i);
		assert_fresh(i, i, TTL);
	}
	assert_int_equal(world.proxy.kept.cache.count.misses, 0);
}

/* ---- Stale answers ---------------------------------------------------------------------------- */

static void
a_stale_answer_waits_for_a_better_one(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(QUERY_BRIEF_MS - 1);
	assert_int_equal(world.udp.replies, 1);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_fresh(1, 8, TTL);
	assert_int_equal(count()->stale, 0);
	ask(2, "www.example");
	assert_fresh(2, 8, TTL);
}

static void
after_1800_ms_it_is_given(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(1799);
	assert_int_equal(world.udp.replies, 1);
	world_pass(1);
	assert_stale(1);
	assert_int_equal(count()->stale, 1);
	assert_int_equal(world.proxy.table.open, 0);
}

static void
the_answer_that_comes_after_it_is_kept(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(2000);
	assert_stale(1);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_int_equal(count()->late, 1);
	assert_int_equal(world.udp.replies, 2);
	ask(2, "www.example");
	assert_fresh(2, 8, TTL);
	assert_int_equal(world.up[0].offered, 2);
}

static void
while_a_failed_refresh_is_recent_it_is_given_at_once(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(QUERY_BRIEF_MS);
	for (uint32_t i = 2; i < 20; i++) {
		ask(i, "www.example");
		assert_stale(i);
		world_pass(1000);
	}
	assert_int_equal(world.up[0].offered, 2);
	assert_int_equal(count()->stale, 19);
	/* Then it is tried again. */
	world_take(0, 0);
	world_pass(CACHE_RECHECK_S * 1000u);
	ask(20, "www.example");
	assert_int_equal(world.up[0].offered, 3);
	assert_int_equal(world.udp.replies, 20);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_fresh(20, 8, TTL);
}

static void
when_the_upstream_fails_it_is_given_at_once(void **state)
{
	static const unsigned rcodes[] = {DNS_SERVFAIL, DNS_REFUSED};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin_stale(1);
		ask(1, "www.example");
		answer(0, rcodes[i], 0, 0);
		assert_stale(1);
		/* And the upstream has its peace. */
		ask(2, "www.example");
		assert_stale(2);
		assert_int_equal(world.up[0].offered, 2);
		world_stop();
	}
}

static void
another_upstream_is_asked_before_it_is_given(void **state)
{
	(void)state;
	begin_stale(2);
	ask(1, "www.example");
	answer(0, DNS_SERVFAIL, 0, 0);
	assert_int_equal(world.udp.replies, 1);
	assert_int_equal(world.up[1].count, 1);
	answer(1, DNS_NOERROR, TTL, 8);
	assert_fresh(1, 8, TTL);
	world_pass(TTL * 1000);
	ask(2, "www.example");
	answer(0, DNS_SERVFAIL, 0, 0);
	answer(1, DNS_REFUSED, 0, 0);
	assert_address(&world.udp, 2, 8, 30, EDE_STALE);
	/* The second one is silent. */
	world_pass(CACHE_RECHECK_S * 1000u);
	ask(3, "www.example");
	answer(0, DNS_SERVFAIL, 0, 0);
	world_pass(QUERY_BRIEF_MS - 1);
	assert_int_equal(world.udp.replies, 3);
	world_pass(1);
	assert_address(&world.udp, 3, 8, 30, EDE_STALE);
}

static void
an_upstream_that_failed_while_others_are_down_has_its_peace(void **state)
{
	(void)state;
	begin_stale(2);
	ask(1, "www.example");
	answer(0, DNS_SERVFAIL, 0, 0);
	world_lost(1, UPSTREAM_DOWN);
	assert_stale(1);
	ask(2, "www.example");
	assert_stale(2);
	assert_int_equal(world.up[0].count, 0);
}

static void
what_an_upstream_says_of_the_name_itself_is_passed_on(void **state)
{
	(void)state;
	begin_stale(2);
	ask(1, "www.example");
	answer_ede(0, DNS_SERVFAIL, EDE_DNSSEC_BOGUS, "bad");
	assert_error(1, DNS_SERVFAIL, EDE_DNSSEC_BOGUS);
	ask(2, "www.example");
	assert_error(2, DNS_SERVFAIL, EDE_DNSSEC_BOGUS);
	world_pass(CACHE_FAILURE_S * 1000u);
	ask(3, "www.example");
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(read_reply(&world.udp, 3).rcode, DNS_SERVFAIL);
	assert_int_equal(count()->stale, 0);
}

static void
when_all_upstreams_are_down_it_is_given_at_once(void **state)
{
	(void)state;
	begin_stale(2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	ask(1, "www.example");
	assert_stale(1);
	assert_int_equal(world.up[0].wakes + world.up[1].wakes, 1); /* it has been tried */
	/* And again, but with the first one to be had it is over. */
	ask(3, "www.example");
	assert_stale(3);
	world_ready(1);
	ask(4, "www.example");
	answer(1, DNS_NOERROR, TTL, 8);
	assert_fresh(4, 8, TTL);
	world.up[1].verdict = UPSTREAM_DOWN;
	/* Who can have none waits: one may come back. */
	ask(2, "other.example");
	assert_int_equal(world.udp.replies, 4);
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(read_reply(&world.udp, 2).rcode, DNS_SERVFAIL);
}

static void
when_the_last_upstream_is_lost_it_is_given(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	ask(2, "WWW.example");
	assert_int_equal(world.udp.replies, 1);
	world_lost(0, UPSTREAM_DOWN);
	assert_int_equal(world.udp.replies, 3);
	assert_stale(2);
	assert_int_equal(count()->stale, 2);
}

static void
a_lost_connection_is_no_failure_while_another_can_be_made(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_lost(0, UPSTREAM_SOON);
	assert_int_equal(world.udp.replies, 1);
	world_pass(100);
	world_ready(0);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_fresh(1, 8, TTL);
}

static void
when_the_table_is_full_it_is_given(void **state)
{
	(void)state;
	begin_stale(1);
	for (uint32_t i = 0; world.proxy.table.open < world.proxy.table.slots; i++)
		ask(i + 1, world_name());
	ask(1000, "more.example");
	assert_error(1000, DNS_SERVFAIL, EDE_OTHER);
	ask(1001, "www.example");
	assert_stale(1001);
}

static void
each_twin_has_its_own(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(500);
	ask_flags(&world.tcp, 2, "WWW.example", DNS_RD, 0);
	made_init(&m, 3, DNS_RD);
	made_question(&m, "www.EXAMPLE", TYPE_A, CLASS_IN);
	assert_true(world_ask(&world.udp, 3, m.buf, m.len));
	assert_int_equal(world.up[0].offered, 2);
	world_pass(1300);
	assert_stale(1);
	assert_int_equal(world.tcp.replies, 0);
	world_pass(500);
	assert_address(&world.tcp, 2, 7, 30, EDE_STALE);
	assert_memory_equal(world.tcp.msg + DNS_HEADER, "\3WWW\7example", 13);
	assert_address(&world.udp, 3, 7, 30, EDE_NONE);
	assert_memory_equal(world.udp.msg + DNS_HEADER, "\3www\7EXAMPLE", 13);
	assert_int_equal(count()->stale, 3);
	/* They asked once. */
	answer(0, DNS_NOERROR, TTL, 8);
	assert_int_equal(count()->late, 1);
}

static void
who_can_have_none_waits_for_the_whole_time(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "other.example");
	ask(2, "www.example");
	world_pass(QUERY_BRIEF_MS);
	assert_stale(2);
	assert_int_equal(world.proxy.table.open, 1);
	world_pass(QUERY_TIMEOUT_MS - QUERY_BRIEF_MS);
	assert_error(1, DNS_SERVFAIL, EDE_NO_REACHABLE_AUTHORITY);
}

static void
without_stale_there_is_none(void **state)
{
	(void)state;
	begin(1, &strict);
	fill("www.example");
	world_pass(TTL * 1000);
	ask(1, "www.example");
	world_pass(QUERY_TIMEOUT_MS - 1);
	assert_int_equal(world.udp.replies, 1);
	world_pass(1);
	assert_error(1, DNS_SERVFAIL, EDE_NO_REACHABLE_AUTHORITY);
	ask(2, "www.example");
	answer(0, DNS_REFUSED, 0, 0); /* late: it was the first one's */
	answer(0, DNS_SERVFAIL, 0, 0);
	assert_int_equal(read_reply(&world.udp, 2).rcode, DNS_SERVFAIL);
	assert_int_equal(count()->stale, 0);
}

static void
it_is_gone_after_its_time(void **state)
{
	(void)state;
	begin_stale(1);
	world_pass(86400u * 1000u);
	ask(1, "www.example");
	world_pass(QUERY_BRIEF_MS);
	assert_int_equal(world.udp.replies, 1);
	answer(0, DNS_SERVFAIL, 0, 0);
	assert_int_equal(read_reply(&world.udp, 1).rcode, DNS_SERVFAIL);
}

static void
who_has_waited_in_vain_for_a_connection_spares_others_that(void **state)
{
	(void)state;
	begin_stale(1);
	world.up[0].verdict = UPSTREAM_MAYBE;
	ask(1, "www.example");
	world_pass(QUERY_BRIEF_MS - 1);
	assert_int_equal(world.udp.replies, 1);
	world_pass(1);
	assert_stale(1);
	ask(2, "www.example");
	assert_stale(2);
}

/* ---- Failures and late answers ---------------------------------------------------------------- */

static void
a_failure_is_passed_on_as_it_came_and_then_remembered(void **state)
{
	const uint8_t *msg = world.udp.msg;

	(void)state;
	begin(1, &usual);
	ask(1, "www.example");
	answer_ede(0, DNS_SERVFAIL, 22, "lame");
	assert_error(1, DNS_SERVFAIL, 22);
	assert_memory_equal(msg + world.udp.len - 4, "lame", 4);
	ask(2, "www.example");
	assert_error(2, DNS_SERVFAIL, 22);
	assert_int_equal(count()->cached, 1);
	assert_int_equal(world.up[0].offered, 1);
	world_pass(CACHE_FAILURE_S * 1000u);
	ask(3, "www.example");
	assert_int_equal(world.up[0].offered, 2);
	answer(0, DNS_REFUSED, 0, 0);
	assert_error(3, DNS_REFUSED, EDE_NONE);
	ask(4, "www.example");
	assert_error(4, DNS_REFUSED, EDE_CACHED_ERROR);
}

static void
what_all_upstreams_refuse_is_remembered(void **state)
{
	(void)state;
	begin(2, &usual);
	ask(1, "www.example");
	answer(0, DNS_REFUSED, 0, 0);
	answer(1, DNS_REFUSED, 0, 0);
	assert_error(1, DNS_REFUSED, EDE_NONE);
	ask(2, "www.example");
	assert_error(2, DNS_REFUSED, EDE_CACHED_ERROR);
	assert_int_equal(count()->again, 1);
}

static void
a_late_failure_says_nothing_against_an_answer(void **state)
{
	static const unsigned rcodes[] = {DNS_SERVFAIL, DNS_REFUSED};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin(2, &usual);
		ask(1, "www.example");
		world_pass(pool_hedge_ms(&world.proxy.pool, 0));
		assert_int_equal(world.up[1].count, 1);
		answer(1, DNS_NOERROR, 5, 7);
		answer(0, rcodes[i], 0, 0);
		assert_int_equal(count()->late, 1);
		world_pass(5000);
		ask(2, "www.example");
		assert_int_equal(world.udp.replies, 1);
		assert_int_equal(count()->stale, 0);
	}
}

static void
a_late_answer_to_another_question_is_not_kept(void **state)
{
	(void)state;
	begin_stale(1);
	ask(1, "www.example");
	world_pass(QUERY_BRIEF_MS);
	make_answer(0, 0, DNS_NOERROR, TTL, 8);
	a.buf[DNS_HEADER + 1] = 'v';
	world_answer(0, a.buf, a.len);
	world_pass(1000);
	ask(2, "www.example");
	assert_stale(2);
	ask(3, "vww.example");
	assert_int_equal(world.up[0].count, 1);
}

static void
what_a_client_that_left_asked_is_kept(void **state)
{
	(void)state;
	begin(1, &usual);
	ask_flags(&world.tcp, 1, "www.example", DNS_RD, 0);
	world_forget(&world.tcp, 1);
	answer(0, DNS_NOERROR, TTL, 7);
	ask(2, "www.example");
	assert_fresh(2, 7, TTL);
}

/* What was checked must not be taken for what was not (RFC 4035 section 4.7), nor the other way. */
static void
a_late_answer_is_not_kept_for_the_query_in_its_place(void **state)
{
	static const uint8_t padding[500];

	(void)state;
	begin(1, &usual);
	/* A long query's message is let go when its client is gone, and the next one lies there. */
	for (uint32_t i = 1; i <= 2; i++) {
		made_init(&m, i, i == 1 ? DNS_RD | DNS_CD : DNS_RD);
		made_question(&m, "www.example", TYPE_A, CLASS_IN);
		made_opt(&m, 1232, 0);
		made_option(&m, EDNS_PADDING, padding, sizeof(padding));
		assert_true(world_ask(&world.tcp, i, m.buf, m.len));
		if (i == 1)
			world_forget(&world.tcp, 1);
	}
	answer(0, DNS_NOERROR, TTL, 7);
	assert_int_equal(count()->late, 1);
	ask(3, "www.example");
	assert_int_equal(world.udp.replies, 0);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_fresh(3, 8, TTL);
}

/* ---- Prefetching ------------------------------------------------------------------------------ */

/* Asked for often enough, and nearly expired: the next one to ask has it asked again. */
static void
begin_popular(uint32_t slots)
{
	world_start(slots, 1);
	world_keep(64, &usual);
	fill("www.example");
	ask(1, "www.example");
	ask(2, "www.example");
	world_pass(TTL * 900 - 1000);
	ask(3, "www.example"); /* too early */
	world_pass(1000);
	assert_int_equal(world.up[0].offered, 1);
	assert_int_equal(count()->refreshed, 0);
}

static void
what_is_asked_often_is_asked_again_before_it_expires(void **state)
{
	(void)state;
	begin_popular(64);
	ask(4, "www.example");
	assert_fresh(4, 7, 10);
	assert_int_equal(world.up[0].offered, 2);
	assert_int_equal(count()->refreshed, 1);
	ask(5, "www.example");
	assert_fresh(5, 7, 10);
	assert_int_equal(world.up[0].offered, 2);
	answer(0, DNS_NOERROR, TTL, 8);
	assert_int_equal(world.udp.replies, 6);
	assert_int_equal(count()->gone, 1);
	ask(6, "www.example");
	assert_fresh(6, 8, TTL);
}

static void
what_is_asked_seldom_is_not(void **state)
{
	(void)state;
	begin(1, &usual);
	fill("www.example");
	ask(1, "www.example");
	world_pass(TTL * 900);
	ask(2, "www.example");
	assert_int_equal(world.up[0].offered, 1);
}

static void
without_prefetch_nothing_is(void **state)
{
	(void)state;
	begin_popular(64);
	world.proxy.set.prefetch = false;
	ask(4, "www.example");
	ask(5, "www.example");
	assert_int_equal(world.up[0].offered, 1);
}

static void
when_the_table_is_half_full_clients_come_first(void **state)
{
	(void)state;
	for (unsigned less = 0; less < 2; less++) {
		begin_popular(64);
		for (uint32_t i = 0; i < 32 - less; i++)
			ask(10 + i, world_name());
		ask(4, "www.example");
		assert_fresh(4, 7, 10);
		assert_int_equal(count()->refreshed, less);
	}
}

static void
a_stale_answer_is_not_refreshed_beside(void **state)
{
	(void)state;
	begin_popular(64);
	world_pass(TTL * 100);
	ask(4, "www.example");
	world_pass(QUERY_BRIEF_MS);
	assert_stale(4);
	for (uint32_t i = 5; i < 10; i++) {
		ask(i, "www.example");
		assert_stale(i);
	}
	assert_int_equal(count()->refreshed, 0);
	assert_int_equal(world.up[0].offered, 2);
}

static void
a_refresh_that_fails_is_nobodys_loss(void **state)
{
	static const unsigned rcodes[] = {DNS_SERVFAIL, DNS_REFUSED};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t cached;

		begin_popular(64);
		ask(4, "www.example");
		cached = count()->cached;
		if (i < 2)
			answer(0, rcodes[i], 0, 0);
		else
			world_pass(QUERY_TIMEOUT_MS);
		assert_int_equal(world.udp.replies, 5);
		assert_int_equal(count()->failed, 0);
		assert_int_equal(count()->stale, 0);
		assert_int_equal(count()->cached, cached);
		assert_int_equal(world.proxy.table.open, 0);
		ask(5, "www.example");
		assert_fresh(5, 7, i < 2 ? 10 : 7);
	}
}

static void
a_refresh_with_all_upstreams_down_keeps_no_client_waiting(void **state)
{
	(void)state;
	begin_popular(64);
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(4, "www.example");
	assert_fresh(4, 7, 10);
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(world.proxy.table.open, 0);
	assert_int_equal(count()->failed, 0);
}

/* Who asks when the answer has expired meanwhile joins the refresh. */
static void
a_client_may_join_a_refresh(void **state)
{
	(void)state;
	for (int comes = 0; comes < 2; comes++) {
		world_start(64, 1);
		world_keep(64, &usual);
		ask(99, "www.example");
		answer(0, DNS_NOERROR, 10, 7);
		for (uint32_t i = 1; i <= 2; i++)
			ask(i, "www.example");
		world_pass(9900 - world.now % 1000);
		ask(3, "www.example");
		assert_int_equal(count()->refreshed, 1);
		world_pass(500);
		ask(4, "www.example");
		assert_int_equal(count()->joined, 1);
		assert_int_equal(world.up[0].offered, 2);
		if (comes) {
			answer(0, DNS_NOERROR, 10, 8);
			assert_fresh(4, 8, 10);
		} else {
			world_pass(QUERY_BRIEF_MS);
			assert_stale(4);
			world_pass(QUERY_TIMEOUT_MS);
		}
		assert_int_equal(world.proxy.table.open, 0);
		assert_int_equal(count()->gone, 1);
	}
}

static void
a_refresh_of_what_is_on_its_way_is_over_at_once(void **state)
{
	struct origin o;

	(void)state;
	begin_popular(64);
	/* One that must not have the cache's answer asks the same: there is none, so the table is told itself. */
	o = world_origin(&world.tcp, 9);
	made_init(&m, 9, DNS_RD);
	made_question(&m, "www.example", TYPE_A, CLASS_IN);
	{
		struct edns_facts f;
		enum dns_rcode rcode;
		enum edns_ede ede;

		assert_int_equal(edns_read_query(m.buf, m.len, &f, &rcode, &ede), EDNS_FORWARD);
		assert_non_null(query_open(&world.proxy.table, &o, m.buf, m.len, &f, world.now));
	}
	count()->asked++;
	query_watch(&world.proxy.table, query_oldest(&world.proxy.table, QUERY_LIST_OPEN), QUERY_WATCH_WAITING,
		    world.now);
	ask(4, "www.example");
	assert_fresh(4, 7, 10);
	assert_int_equal(count()->refreshed, 1);
	assert_int_equal(count()->gone, 1);
	assert_int_equal(world.proxy.table.open, 1);
	world_pass(QUERY_TIMEOUT_MS);
}

static int
stop(void **state)
{
	(void)state;
	world_stop();
	return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, stop)
	const struct CMUnitTest tests[] = {
		TEST(a_hit_reaches_no_upstream),
		TEST(a_hit_fits_the_clients_size),
		TEST(who_is_not_allowed_is_refused_what_is_kept),
		TEST(what_is_malformed_is_not_answered_from_the_cache),
		TEST(other_questions_go_to_the_upstream),
		TEST(an_answer_from_who_refuses_opt_is_none_for_who_wants_signatures),
		TEST(without_a_cache_all_go_to_the_upstream),
		TEST(a_stale_answer_waits_for_a_better_one),
		TEST(after_1800_ms_it_is_given),
		TEST(the_answer_that_comes_after_it_is_kept),
		TEST(while_a_failed_refresh_is_recent_it_is_given_at_once),
		TEST(when_the_upstream_fails_it_is_given_at_once),
		TEST(another_upstream_is_asked_before_it_is_given),
		TEST(an_upstream_that_failed_while_others_are_down_has_its_peace),
		TEST(what_an_upstream_says_of_the_name_itself_is_passed_on),
		TEST(when_all_upstreams_are_down_it_is_given_at_once),
		TEST(when_the_last_upstream_is_lost_it_is_given),
		TEST(who_has_waited_in_vain_for_a_connection_spares_others_that),
		TEST(a_lost_connection_is_no_failure_while_another_can_be_made),
		TEST(when_the_table_is_full_it_is_given),
		TEST(each_twin_has_its_own),
		TEST(who_can_have_none_waits_for_the_whole_time),
		TEST(without_stale_there_is_none),
		TEST(it_is_gone_after_its_time),
		TEST(a_failure_is_passed_on_as_it_came_and_then_remembered),
		TEST(what_all_upstreams_refuse_is_remembered),
		TEST(a_late_failure_says_nothing_against_an_answer),
		TEST(a_late_answer_to_another_question_is_not_kept),
		TEST(what_a_client_that_left_asked_is_kept),
		TEST(a_late_answer_is_not_kept_for_the_query_in_its_place),
		TEST(what_is_asked_often_is_asked_again_before_it_expires),
		TEST(what_is_asked_seldom_is_not),
		TEST(without_prefetch_nothing_is),
		TEST(when_the_table_is_half_full_clients_come_first),
		TEST(a_stale_answer_is_not_refreshed_beside),
		TEST(a_refresh_that_fails_is_nobodys_loss),
		TEST(a_refresh_with_all_upstreams_down_keeps_no_client_waiting),
		TEST(a_client_may_join_a_refresh),
		TEST(a_refresh_of_what_is_on_its_way_is_over_at_once),
	};

	return cmocka_run_group_tests_name("proxy and cache", tests, NULL, NULL);
}
