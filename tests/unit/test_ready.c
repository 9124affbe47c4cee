/* SPDX-License-Identifier: MIT */
/* What health is told (dns_ready), and a proxy that ends: see proxy.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAW(holds) assert_true(holds)
#include "proxy_world.h"

#define TYPE_A 1
#define TYPE_NS 2
#define CLASS_IN 1

static struct made m, a;

static int
stop(void **state)
{
	(void)state;
	world_stop();
	return 0;
}

/* Returns the RCODE that the last client was told. */
static unsigned
told(void)
{
	assert_true(world.udp.len >= DNS_HEADER);
	return dns_rcode(world.udp.msg);
}

static void
ask(uint32_t token, const char *name)
{
	made_init(&m, token, DNS_RD);
	made_question(&m, name, TYPE_A, CLASS_IN);
	assert_true(world_ask(&world.udp, token, m.buf, m.len));
}

/* Asks what health asks, from an address that is not allowed.  Returns the RCODE. */
static unsigned
ask_ready(void)
{
	struct origin o = world_origin(&world.udp, 77);
	unsigned replies = world.udp.replies;

	assert_int_equal(addr_parse(&o.peer, "203.0.113.1"), 0);
	assert_true(proxy_ask(&world.proxy, &o, dns_ready, DNS_READY_LEN, world.now));
	world_check();
	assert_int_equal(world.udp.replies, replies + 1);
	assert_int_equal(world.udp.len, DNS_READY_LEN);
	assert_int_equal(dns_id(world.udp.msg), 0);
	return told();
}

static void
answer(unsigned up, unsigned rcode)
{
	struct world_sent s = world_take(up, 0);
	struct dns_question q;

	assert_int_equal(dns_read_question(s.msg, s.len, &q), 0);
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_RD | DNS_RA | rcode);
	made_octets(&a, s.msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	if (rcode == DNS_NOERROR)
		made_a(&a, MADE_ANSWER, "12>", 0x01020304);
	world_answer(up, a.buf, a.len);
}

/* ---- Ready ------------------------------------------------------------------------------------ */

static void
it_is_a_query_with_an_id_of_0(void **state)
{
	struct edns_facts f;
	enum dns_rcode rcode;
	enum edns_ede ede;
	char name[64];

	(void)state;
	assert_int_equal(edns_read_query(dns_ready, DNS_READY_LEN, &f, &rcode, &ede), EDNS_FORWARD);
	assert_string_equal(dns_name_text(name, sizeof(name), dns_ready, DNS_HEADER), "ready.dnproxy.");
	assert_int_equal(f.question.type, 16);
	assert_int_equal(f.question.class, 3);
	assert_int_equal(get32(dns_ready), 0);
}

static void
who_has_heard_of_no_upstream_is_not_ready_and_asks_one_for_the_root(void **state)
{
	struct dns_question q;

	(void)state;
	world_start(64, 2);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.up[0].count + world.up[1].count, 1);
	assert_int_equal(dns_read_question(world.up[0].sent[0].msg, world.up[0].sent[0].len, &q), 0);
	assert_int_equal(q.name_len, 1);
	assert_int_equal(q.type, TYPE_NS);
	assert_int_equal(q.class, CLASS_IN);
	assert_int_equal(dns_flags(world.up[0].sent[0].msg), DNS_RD);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	answer(0, DNS_NOERROR);
	assert_int_equal(ask_ready(), DNS_NOERROR);
	assert_int_equal(world.up[0].taken, 1);
	assert_int_equal(world.proxy.count.refreshed, 1);
	assert_int_equal(world.proxy.count.gone, 1);
}

static void
a_clients_answer_is_a_sign_of_health_for_a_while(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	answer(0, DNS_NXDOMAIN);
	world_pass(READY_MS - 1);
	assert_int_equal(ask_ready(), DNS_NOERROR);
	assert_int_equal(world.up[0].count, 0);
	world_pass(1);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.up[0].count, 1);
}

static void
servfail_and_refused_are_no_sign_of_health(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 2; i++) {
		ask(1, world_name());
		answer(0, i == 0 ? DNS_SERVFAIL : DNS_REFUSED);
		assert_int_equal(ask_ready(), DNS_SERVFAIL);
		world_take(0, 0);
		world_lost(0, UPSTREAM_TAKEN);
		world_pass(QUERY_TIMEOUT_MS);
	}
}

static void
a_late_answer_is_a_sign_of_health(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(told(), DNS_SERVFAIL);
	answer(0, DNS_NOERROR);
	assert_int_equal(ask_ready(), DNS_NOERROR);
}

static void
a_strangers_answer_is_none(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	made_init(&a, dns_id(world.up[0].sent[0].msg) ^ 1u, DNS_QR);
	made_question(&a, "a.example", TYPE_A, CLASS_IN);
	world_answer(0, a.buf, a.len);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
}

static void
a_query_that_fails_makes_it_look_again(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	answer(0, DNS_NOERROR);
	ask(2, "b.example");
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(told(), DNS_SERVFAIL);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
}

static void
the_cache_is_no_upstream(void **state)
{
	struct cache_rules rules = {.max_ttl = 86400, .stale = 86400};

	(void)state;
	world_start(64, 1);
	world_keep(64, &rules);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	answer(0, DNS_NOERROR); /* and is kept */
	world_pass(READY_MS);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.up[0].count, 1);
}

static void
a_flood_of_it_asks_once_a_second(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned ms = 0; ms < 3 * (QUERY_JOIN_MS + 1); ms++) {
		assert_int_equal(ask_ready(), DNS_SERVFAIL);
		world_pass(1);
	}
	assert_int_equal(world.up[0].taken, 3);
}

static void
nor_does_it_ask_oftener_where_upstreams_fail_at_once(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned ms = 0; ms < 3000; ms++) {
		assert_int_equal(ask_ready(), DNS_SERVFAIL);
		if (world.up[0].count > 0)
			answer(0, DNS_SERVFAIL);
		world_pass(1);
	}
	assert_int_equal(world.proxy.table.open, 0);
	assert_in_range(world.up[0].taken, 3, 3 * 2); /* each may be asked twice */
}

/* One every 50 ms. */
static void
ask_in_vain(unsigned ms)
{
	for (; ms > 0; ms -= 50) {
		ask(2, world_name());
		world_take(0, 0);
		world_pass(50);
	}
}

static void
questions_that_take_for_ever_do_not_make_ill_who_has_just_answered(void **state)
{
	(void)state;
	world_start(256, 1);
	ask_in_vain(2 * QUERY_TIMEOUT_MS);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	answer(0, DNS_NOERROR);
	ask_in_vain(HEALTH_MS / 2);
	assert_int_equal(ask_ready(), DNS_NOERROR);
	ask_in_vain(HEALTH_MS);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
}

static void
where_clients_have_little_room_it_takes_none(void **state)
{
	(void)state;
	world_start(64, 1);
	for (uint32_t i = 0; i < 32; i++)
		ask(i, world_name());
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.proxy.table.open, 32);
}

/* ---- The end ---------------------------------------------------------------------------------- */

static void
end(void)
{
	proxy_end(&world.proxy);
	world_check();
}

static void
who_ends_still_passes_answers_on(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	end();
	answer(0, DNS_NOERROR);
	assert_int_equal(told(), DNS_NOERROR);
	assert_int_equal(world.udp.token, 1);
	assert_int_equal(world.proxy.table.open, 0);
}

static void
who_ends_takes_no_questions_more(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(1, "a.example");
	end();
	ask(2, "b.example");
	ask(3, "a.example");
	assert_int_equal(world.udp.replies, 2);
	assert_int_equal(told(), DNS_SERVFAIL);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.up[0].taken, 1);
	assert_int_equal(world.proxy.table.open, 1);
}

static void
who_ends_has_its_cache_still(void **state)
{
	struct cache_rules rules = {.max_ttl = 86400, .stale = 86400};

	(void)state;
	world_start(64, 1);
	world_keep(64, &rules);
	for (uint32_t i = 0; i < 9; i++) { /* often enough to be asked again ahead */
		ask(1, "a.example");
		if (i == 0)
			answer(0, DNS_NOERROR);
	}
	end();
	world_pass(295000);
	ask(2, "a.example");
	assert_int_equal(told(), DNS_NOERROR);
	world_pass(10000); /* its time is over */
	ask(3, "a.example");
	assert_int_equal(told(), DNS_NOERROR);
	assert_int_equal(world.proxy.count.stale, 1);
	assert_int_equal(world.up[0].taken, 1);
}

static void
who_ends_does_not_wait_for_itself(void **state)
{
	(void)state;
	world_start(64, 1);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	assert_int_equal(world.proxy.table.open, 1);
	end();
	assert_int_equal(world.proxy.table.open, 0);
}

static void
whoever_has_joined_its_own_question_is_waited_for(void **state)
{
	(void)state;
	world_start(64, 1);
	assert_int_equal(ask_ready(), DNS_SERVFAIL);
	made_init(&m, 5, DNS_RD);
	made_question(&m, "", TYPE_NS, CLASS_IN);
	assert_true(world_ask(&world.udp, 5, m.buf, m.len));
	end();
	assert_int_equal(world.proxy.table.open, 1);
	answer(0, DNS_NOERROR);
	assert_int_equal(told(), DNS_NOERROR);
	assert_int_equal(world.udp.token, 5);
}

static void
at_the_end_all_are_told(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(1, "a.example");
	world_pass(100);
	ask(2, "a.example");
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	ask(3, "b.example");
	end();
	proxy_close(&world.proxy, world.now);
	assert_int_equal(world.proxy.table.open, 0);
	assert_int_equal(world.udp.replies, 3);
	assert_int_equal(told(), DNS_SERVFAIL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_a_query_with_an_id_of_0),
		cmocka_unit_test(who_has_heard_of_no_upstream_is_not_ready_and_asks_one_for_the_root),
		cmocka_unit_test(a_clients_answer_is_a_sign_of_health_for_a_while),
		cmocka_unit_test(servfail_and_refused_are_no_sign_of_health),
		cmocka_unit_test(a_late_answer_is_a_sign_of_health),
		cmocka_unit_test(a_strangers_answer_is_none),
		cmocka_unit_test(a_query_that_fails_makes_it_look_again),
		cmocka_unit_test(the_cache_is_no_upstream),
		cmocka_unit_test(a_flood_of_it_asks_once_a_second),
		cmocka_unit_test(nor_does_it_ask_oftener_where_upstreams_fail_at_once),
		cmocka_unit_test(questions_that_take_for_ever_do_not_make_ill_who_has_just_answered),
		cmocka_unit_test(where_clients_have_little_room_it_takes_none),
		cmocka_unit_test(who_ends_still_passes_answers_on),
		cmocka_unit_test(who_ends_takes_no_questions_more),
		cmocka_unit_test(who_ends_has_its_cache_still),
		cmocka_unit_test(who_ends_does_not_wait_for_itself),
		cmocka_unit_test(whoever_has_joined_its_own_question_is_waited_for),
		cmocka_unit_test(at_the_end_all_are_told),
	};

	return cmocka_run_group_tests_name("ready", tests, NULL, stop);
}
