/* SPDX-License-Identifier: MIT */
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

static struct made m, a;

static struct proxy_counters *
count(void)
{
	return &world.proxy.count;
}

/* ---- Asking and answering --------------------------------------------------------------------- */

static bool
ask(struct world_listener *via, uint32_t token, unsigned id, const char *name)
{
	made_init(&m, id, DNS_RD);
	made_question(&m, name, TYPE_A, CLASS_IN);
	return world_ask(via, token, m.buf, m.len);
}

static bool
ask_with_opt(struct world_listener *via, uint32_t token, unsigned id, const char *name, unsigned size)
{
	made_init(&m, id, DNS_RD);
	made_question(&m, name, TYPE_A, CLASS_IN);
	made_opt(&m, size, EDNS_DO);
	return world_ask(via, token, m.buf, m.len);
}

/* Makes in a the answer to what was sent: its question, and one address. */
static void
make_answer(const struct world_sent *s, unsigned rcode, uint32_t ip)
{
	struct dns_question q;

	assert_int_equal(dns_read_question(s->msg, s->len, &q), 0);
	made_init(&a, dns_id(s->msg), DNS_QR | DNS_RD | DNS_RA | rcode);
	made_octets(&a, s->msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	if (ip != 0)
		made_a(&a, MADE_ANSWER, "12>", ip);
}

static void
answer(unsigned up, unsigned k, unsigned rcode, uint32_t ip)
{
	struct world_sent s = world_take(up, k);

	make_answer(&s, rcode, ip);
	world_answer(up, a.buf, a.len);
}

/* ---- Looking at messages ---------------------------------------------------------------------- */

static struct edns_answer
read_reply(const struct world_listener *l)
{
	struct edns_answer r;

	assert_int_equal(edns_read_answer(l->msg, l->len, &r), 0);
	return r;
}

/* The option's octets in an OPT record that begins at opt; NULL = it has none. */
static const uint8_t *
find_option(const uint8_t *opt, unsigned code, size_t *len)
{
	const uint8_t *p = opt + 11, *end = p + get16(opt + 9);

	for (; p < end; p += 4 + get16(p + 2))
		if (get16(p) == code) {
			*len = get16(p + 2);
			return p + 4;
		}
	return NULL;
}

/* The last reply of l is to this ID, with this RCODE and this many answers. */
static void
assert_reply(const struct world_listener *l, uint32_t token, unsigned id, unsigned rcode, unsigned answers)
{
	assert_int_equal(l->token, token);
	assert_int_equal(dns_id(l->msg), id);
	assert_int_equal(dns_rcode(l->msg), rcode);
	assert_int_equal(dns_ancount(l->msg), answers);
}

static void
assert_error_code(const struct world_listener *l, unsigned code, const char *text)
{
	struct edns_answer r = read_reply(l);
	const uint8_t *ede;
	size_t len = 0;

	assert_int_not_equal(r.opt_len, 0);
	ede = find_option(l->msg + r.opt_at, EDNS_EDE, &len);
	assert_non_null(ede);
	assert_true(len >= 2);
	assert_int_equal(get16(ede), code);
	if (text != NULL) {
		assert_int_equal(len - 2, strlen(text));
		assert_memory_equal(ede + 2, text, len - 2);
	}
}

static bool
has_opt(const struct world_sent *s)
{
	return dns_arcount(s->msg) != 0;
}

/* ---- At the door ------------------------------------------------------------------------------ */

static void
a_response_is_dropped(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 1, DNS_QR);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	assert_false(world_ask(&world.udp, 1, m.buf, m.len));
	assert_int_equal(count()->dropped, 1);
	assert_int_equal(count()->asked, 0);
	assert_int_equal(world.up[0].offered, 0);
}

static void
less_than_a_header_is_dropped(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 1, 0);
	for (size_t len = 0; len < DNS_HEADER; len++)
		assert_false(world_ask(&world.udp, 1, m.buf, len));
	assert_int_equal(count()->dropped, DNS_HEADER);
	assert_int_equal(world.udp.replies, 0);
}

static void
a_broken_message_is_formerr_at_once(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 0x4711, DNS_RD);
	assert_true(world_ask(&world.tcp, 5, m.buf, m.len));
	assert_reply(&world.tcp, 5, 0x4711, DNS_FORMERR, 0);
	assert_int_equal(count()->refused, 1);
	assert_int_equal(world.up[0].offered, 0);
}

static void
an_unknown_opcode_is_notimp(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 3, 5 << 11);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	assert_true(world_ask(&world.udp, 1, m.buf, m.len));
	assert_reply(&world.udp, 1, 3, DNS_NOTIMP, 0);
}

static void
a_zone_transfer_is_refused(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 3, 0);
	made_question(&m, "example.com", DNS_TYPE_AXFR, CLASS_IN);
	made_opt(&m, 1232, 0);
	assert_true(world_ask(&world.tcp, 1, m.buf, m.len));
	assert_reply(&world.tcp, 1, 3, DNS_REFUSED, 0);
	assert_error_code(&world.tcp, EDE_NOT_SUPPORTED, NULL);
	assert_int_equal(world.up[0].offered, 0);
}

static void
not_allowed_is_refused(void **state)
{
	struct origin o;

	(void)state;
	world_start(64, 1);
	o = world_origin(&world.udp, 9);
	assert_int_equal(addr_parse(&o.peer, "203.0.113.1"), 0);
	made_init(&m, 77, DNS_RD);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	made_opt(&m, 1232, 0);
	assert_true(proxy_ask(&world.proxy, &o, m.buf, m.len, world.now));
	world_check();
	assert_reply(&world.udp, 9, 77, DNS_REFUSED, 0);
	assert_error_code(&world.udp, EDE_PROHIBITED, NULL);
	assert_int_equal(count()->refused, 1);
	assert_int_equal(world.up[0].offered, 0);
}

static void
any_prefix_of_the_list_allows(void **state)
{
	struct prefix allow[3];
	struct origin o;

	(void)state;
	world_start(64, 1);
	prefix_parse(&allow[0], "10.0.0.0/8");
	prefix_parse(&allow[1], "2001:db8::/32");
	prefix_parse(&allow[2], "203.0.113.1");
	world.proxy.set.allow = allow;
	world.proxy.set.allows = 3;
	o = world_origin(&world.udp, 9);
	made_init(&m, 77, DNS_RD);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	for (int i = 0; i < 4; i++) {
		static const char *const peer[] = {"10.1.2.3", "2001:db8::7", "203.0.113.1", "203.0.113.2"};

		addr_parse(&o.peer, peer[i]);
		proxy_ask(&world.proxy, &o, m.buf, m.len, world.now);
		assert_int_equal(world.proxy.table.open, i < 3 ? i + 1 : 3);
		assert_int_equal(count()->refused, i == 3);
	}
}

static void
table_full_is_servfail_at_once(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 64; i++)
		ask(&world.udp, i, i, world_name());
	assert_int_equal(world.udp.replies, 0);
	ask_with_opt(&world.udp, 64, 64, world_name(), 1232);
	assert_reply(&world.udp, 64, 64, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_OTHER, NULL);
	assert_int_equal(count()->refused, 1);
	answer(0, 10, DNS_NOERROR, 1);
	ask(&world.udp, 65, 65, world_name());
	assert_int_equal(count()->refused, 1);
	assert_int_equal(world.proxy.table.open, 64);
}

/* It may have seven eighths of the table; the rest is for others. */
static void
one_client_alone_does_not_lock_out_another(void **state)
{
	const unsigned most = 64 - QUERIES_SPARE(64);

	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 100; i++)
		ask_with_opt(&world.udp, 7, i, world_name(), 1232);
	assert_int_equal(world.proxy.table.open, most);
	assert_int_equal(count()->refused, 100 - most);
	assert_reply(&world.udp, 7, 99, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_OTHER, "too many queries on their way");
	ask(&world.udp, 8, 1000, "example.org");
	assert_int_equal(count()->refused, 100 - most);
	answer(0, most, DNS_NOERROR, 1);
	assert_reply(&world.udp, 8, 1000, DNS_NOERROR, 1);
}

/* ---- There and back --------------------------------------------------------------------------- */

static void
a_question_goes_out_with_an_id_of_ours_and_comes_back_with_its_own(void **state)
{
	struct world_sent *s = world.up[0].sent;

	(void)state;
	world_start(64, 2);
	assert_true(ask(&world.udp, 3, 0, "www.example.com"));
	assert_int_equal(world.up[0].count, 1);
	assert_int_equal(world.up[1].offered, 0);
	assert_int_equal(world.udp.replies, 0);
	assert_memory_equal(s->msg + DNS_HEADER, m.buf + DNS_HEADER, m.len - DNS_HEADER);
	assert_int_equal(s->len % PAD_BLOCK, 0);
	assert_non_null(query_by_id(&world.proxy.table, dns_id(s->msg)));
	answer(0, 0, DNS_NOERROR, 0x01020304);
	assert_int_equal(world.udp.replies, 1);
	assert_reply(&world.udp, 3, 0, DNS_NOERROR, 1);
	assert_memory_equal(world.udp.msg + world.udp.len - 4, "\1\2\3\4", 4);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(world.proxy.table.open + world.proxy.table.spent, 0);
}

static void
equal_ids_of_many_clients_do_not_meet(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 60; i++)
		ask(&world.udp, i, 4711, world_name());
	assert_int_equal(world.up[0].count, 60);
	for (unsigned i = 0; i < 60; i++)
		for (unsigned j = 0; j < i; j++)
			assert_int_not_equal(dns_id(world.up[0].sent[i].msg), dns_id(world.up[0].sent[j].msg));
	/* Answered from the last to the first. */
	for (unsigned i = 60; i-- > 0;) {
		answer(0, i, DNS_NOERROR, 0x0a000000 + i);
		assert_reply(&world.udp, i, 4711, DNS_NOERROR, 1);
		assert_int_equal(world.udp.msg[world.udp.len - 1], i);
	}
}

static void
the_client_gets_the_spelling_it_sent(void **state)
{
	struct world_sent s;
	struct made sent;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "wWw.ExAmPlE.cOm");
	sent = m;
	s = world_take(0, 0);
	make_answer(&s, DNS_NOERROR, 1);
	for (size_t i = DNS_HEADER; i < DNS_HEADER + 17; i++)
		if (a.buf[i] >= 'A' && a.buf[i] <= 'Z')
			a.buf[i] = (uint8_t)(a.buf[i] + 32);
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->answered, 1);
	assert_memory_equal(world.udp.msg + DNS_HEADER, sent.buf + DNS_HEADER, sent.len - DNS_HEADER);
}

static void
every_rcode_is_an_answer(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned rcode = 0; rcode < 16; rcode++) {
		struct world_sent s;

		ask(&world.udp, 1, rcode, "example.com");
		s = world_take(0, 0);
		make_answer(&s, rcode, 0);
		made_opt(&a, 1232, 0);
		world_answer(0, a.buf, a.len);
		assert_reply(&world.udp, 1, rcode, rcode, 0);
	}
	assert_int_equal(count()->answered, 16);
}

/* ---- EDNS is hop-by-hop ----------------------------------------------------------------------- */

/* An answer with all an upstream may put into its OPT. */
static void
answer_with_options(unsigned up)
{
	struct world_sent s = world_take(up, 0);

	make_answer(&s, DNS_NOERROR, 1);
	made_opt(&a, 4096, EDNS_DO);
	made_option(&a, EDNS_KEEPALIVE, "\0\144", 2);
	made_option(&a, EDNS_COOKIE, "12345678abcdefgh", 16);
	made_option(&a, EDNS_PADDING, "\0\0\0\0\0\0\0\0", 8);
	made_option(&a, EDNS_EDE, "\0\3stale", 7);
	made_option(&a, 65001, "x", 1);
	world_answer(up, a.buf, a.len);
}

static void
a_client_without_opt_gets_none(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	assert_true(has_opt(&world.up[0].sent[0]));
	answer_with_options(0);
	assert_int_equal(read_reply(&world.udp).opt_len, 0);
	assert_int_equal(dns_arcount(world.udp.msg), 0);
}

static void
a_client_with_opt_gets_ours_and_extended_errors_only(void **state)
{
	struct edns_answer r;
	size_t len;

	(void)state;
	world_start(64, 1);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_options(0);
	r = read_reply(&world.udp);
	assert_int_not_equal(r.opt_len, 0);
	assert_int_equal(get16(world.udp.msg + r.opt_at + 3), UDP_SIZE_DEFAULT);
	assert_error_code(&world.udp, 3, "stale");
	assert_null(find_option(world.udp.msg + r.opt_at, EDNS_KEEPALIVE, &len));
	assert_null(find_option(world.udp.msg + r.opt_at, EDNS_COOKIE, &len));
	assert_null(find_option(world.udp.msg + r.opt_at, EDNS_PADDING, &len));
	assert_null(find_option(world.udp.msg + r.opt_at, 65001, &len));
}

static void
keepalive_is_said_to_stream_clients_that_ask(void **state)
{
	const uint8_t *timeout;
	size_t len = 0;

	(void)state;
	world_start(64, 1);
	for (int i = 0; i < 2; i++) {
		struct world_listener *l = i == 0 ? &world.tcp : &world.udp;

		made_init(&m, 1, 0);
		made_question(&m, "example.com", TYPE_A, CLASS_IN);
		made_opt(&m, 1232, 0);
		made_option(&m, EDNS_KEEPALIVE, NULL, 0);
		world_ask(l, 1, m.buf, m.len);
		answer(0, 0, DNS_NOERROR, 1);
		timeout = find_option(l->msg + read_reply(l).opt_at, EDNS_KEEPALIVE, &len);
		if (i == 1) {
			assert_null(timeout);
			return;
		}
		assert_non_null(timeout);
		assert_int_equal(len, 2);
		assert_int_equal(get16(timeout), 100);
	}
}

static void
an_upstreams_keepalive_reaches_its_transport(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	answer_with_options(0);
	assert_int_equal(world.up[0].keepalives, 1);
	assert_int_equal(world.up[0].keepalive_ms, 10000);
}

/* Makes and gives an answer of 30 addresses, 512 octets and more. */
static void
give_long_answer(void)
{
	struct world_sent s = world_take(0, 0);

	make_answer(&s, DNS_NOERROR, 1);
	for (int i = 1; i < 40; i++)
		made_a(&a, MADE_ANSWER, "12>", 1);
	world_answer(0, a.buf, a.len);
}

static void
a_datagram_is_cut_to_what_its_client_takes(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	give_long_answer();
	assert_true((dns_flags(world.udp.msg) & DNS_TC) != 0);
	assert_true(world.udp.len <= 512);
	assert_int_equal(dns_qdcount(world.udp.msg), 1);
	assert_int_equal(count()->answered, 1);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1000);
	give_long_answer();
	assert_false((dns_flags(world.udp.msg) & DNS_TC) != 0);
	assert_int_equal(dns_ancount(world.udp.msg), 40);
	/* The listener's own bound holds, whatever the client says. */
	made_init(&m, 1, 0);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	made_opt(&m, 65535, 0);
	struct origin o = world_origin(&world.udp, 1);
	o.max = 600;
	proxy_ask(&world.proxy, &o, m.buf, m.len, world.now);
	give_long_answer();
	assert_true((dns_flags(world.udp.msg) & DNS_TC) != 0);
	assert_true(world.udp.len <= 600);
}

static void
a_stream_client_gets_it_whole(void **state)
{
	(void)state;
	world_start(64, 1);
	ask_with_opt(&world.tcp, 1, 1, "example.com", 512);
	give_long_answer();
	assert_false((dns_flags(world.tcp.msg) & DNS_TC) != 0);
	assert_int_equal(dns_ancount(world.tcp.msg), 40);
}

/* ---- Choosing an upstream --------------------------------------------------------------------- */

static void
the_first_upstream_that_is_not_down_is_asked(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[0].offered, 1);
	assert_int_equal(world.up[1].count, 1);
	assert_int_equal(world.up[2].offered, 0);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
a_query_waits_for_an_upstream_that_is_soon_ready(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[1].offered, 0);
	assert_int_equal(query_first(&world.proxy.table, QUERY_LIST_OPEN)->state, QUERY_WAITING);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(count()->again, 0);
}

static void
waiting_queries_go_out_in_order_of_age(void **state)
{
	uint8_t first[20];

	(void)state;
	world_start(64, 1);
	world.up[0].verdict = UPSTREAM_SOON;
	for (unsigned i = 0; i < 20; i++) {
		char name[] = "a.example";

		name[0] = (char)('a' + i);
		ask(&world.udp, i, i, name);
		world_pass(100);
	}
	world_ready(0);
	assert_int_equal(world.up[0].count, 20);
	for (unsigned i = 0; i < 20; i++)
		first[i] = world.up[0].sent[i].msg[DNS_HEADER + 1];
	assert_memory_equal(first, "abcdefghijklmnopqrst", 20);
}

/* Each that waits is not asked about when the first of them hears that there is no more room. */
static void
an_upstream_that_takes_no_more_is_not_pressed(void **state)
{
	(void)state;
	world_start(512, 1);
	world.up[0].verdict = UPSTREAM_SOON;
	for (unsigned i = 0; i < WORLD_SENT + 40; i++)
		ask(&world.udp, i, i, world_name());
	world.up[0].offered = 0;
	world_ready(0);
	assert_int_equal(world.up[0].count, WORLD_SENT);
	assert_int_equal(world.up[0].offered, WORLD_SENT + 1);
	/* Nobody is forgotten. */
	while (world.up[0].count > 0)
		answer(0, 0, DNS_NOERROR, 1);
	world_ready(0);
	assert_int_equal(world.up[0].count, 40);
	while (world.up[0].count > 0)
		answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, WORLD_SENT + 40);
}

static void
a_query_waits_when_all_are_down_and_goes_to_who_comes_back(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.udp.replies, 0);
	world_pass(500);
	world_ready(1);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
an_upstream_that_cannot_connect_hands_on_to_the_next(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_lost(0, UPSTREAM_DOWN);
	assert_int_equal(world.up[1].count, 1);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->again, 0);
}

/* ---- Waiting ---------------------------------------------------------------------------------- */

static void
who_waits_for_a_connection_is_offered_to_the_next_after_a_while(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_WAIT_MS - 1);
	assert_int_equal(world.up[1].offered, 0);
	world_pass(1);
	assert_int_equal(world.up[1].offered, 1);
	assert_int_equal(world.up[0].offered, 1);
	world_pass(POOL_WAIT_MS - 1);
	assert_int_equal(world.up[2].offered, 0);
	world_pass(1);
	assert_int_equal(world.up[2].count, 1);
	assert_int_equal(count()->again, 0);
	/* One has it: the others need not hurry. */
	world_ready(0);
	world_ready(1);
	assert_int_equal(world.up[0].count + world.up[1].count, 0);
}

static void
an_upstream_that_failed_before_is_not_waited_for_alone(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = UPSTREAM_MAYBE;
	ask(&world.udp, 1, 1, world_name());
	assert_int_equal(world.up[1].count, 1);
	world_ready(0);
	assert_int_equal(world.up[0].count, 0);
	/* Nor where the next one has to connect as well: the first that is ready gets it. */
	world.up[0].verdict = UPSTREAM_MAYBE;
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 2, world_name());
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	world_ready(1);
	assert_int_equal(world.up[1].count, 1);
}

/* It was down when the query came, and the one that is hoped for may never connect. */
static void
who_hopes_for_one_that_failed_before_is_offered_to_others_too(void **state)
{
	(void)state;
	for (int verdict = UPSTREAM_SOON; verdict <= UPSTREAM_MAYBE; verdict++) {
		world_start(64, 2);
		world.up[0].verdict = (enum upstream_verdict)verdict;
		world.up[1].verdict = UPSTREAM_DOWN;
		ask(&world.udp, 1, 1, "example.com");
		world_pass(POOL_WAIT_MS + POOL_WAIT_MS / 2);
		world_ready(1);
		world_pass(POOL_WAIT_MS);
		assert_int_equal(world.up[1].count, 1);
		answer(1, 0, DNS_NOERROR, 1);
		assert_int_equal(count()->answered, 1);
		assert_int_equal(world.up[0].wakes, 0);
	}
}

static void
while_all_are_down_who_waits_tries_again_now_and_then(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	for (unsigned i = 1; i * POOL_WAIT_MS < QUERY_TIMEOUT_MS; i++) {
		unsigned before = world.up[0].offered;

		world_pass(POOL_WAIT_MS);
		assert_true(world.up[0].offered > before);
	}
	world.up[1].verdict = UPSTREAM_TAKEN;
	ask(&world.udp, 1, 2, "example.com");
	assert_int_equal(world.up[1].count, 1);
}

/* As soon as that may be again, and not only when it would have been offered anyway. */
static void
who_waits_alone_wakes_an_upstream_each_second(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	for (unsigned i = 1; i * POOL_WAKE_MS < QUERY_TIMEOUT_MS; i++) {
		assert_int_equal(world.up[0].wakes + world.up[1].wakes, i);
		world_pass(POOL_WAKE_MS - 1);
		assert_int_equal(world.up[0].wakes + world.up[1].wakes, i);
		world_pass(1);
	}
	assert_int_equal(world.up[0].wakes, world.up[1].wakes);
}

/* Ready, it says, but when it comes to it it is down again: nobody is stranded. */
static void
an_upstream_that_is_ready_and_then_is_not_strands_nobody(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = UPSTREAM_MAYBE;
	world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	world.up[0].verdict = UPSTREAM_DOWN;
	proxy_ready(&world.proxy, &world.up[0].up, world.now);
	world_check();
	world.up[1].verdict = UPSTREAM_TAKEN;
	world_pass(POOL_WAIT_MS);
	assert_int_equal(world.up[1].count, 1);
}

/* Ready means that a connection can be made now.  The first hopes for it; the other one may go elsewhere. */
static void
an_upstream_that_has_to_connect_does_not_hold_the_others_up(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = UPSTREAM_MAYBE;
	world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 2, 2, "example.org");
	world.up[0].verdict = UPSTREAM_MAYBE;
	world.up[1].verdict = UPSTREAM_TAKEN;
	proxy_ready(&world.proxy, &world.up[0].up, world.now);
	world_check();
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 2, 2, DNS_NOERROR, 1);
}

/* ---- Rests cut short -------------------------------------------------------------------------- */

static unsigned
wakes(void)
{
	unsigned n = 0;

	for (unsigned u = 0; u < world.proxy.ups; u++)
		n += world.up[u].wakes;
	return n;
}

static void
all_down(void)
{
	for (unsigned u = 0; u < world.proxy.ups; u++)
		world.up[u].verdict = UPSTREAM_DOWN;
}

static void
while_all_rest_a_query_wakes_one(void **state)
{
	(void)state;
	world_start(64, 1);
	all_down();
	world.up[0].woken = UPSTREAM_TAKEN;
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[0].wakes, 1);
	assert_int_equal(world.up[0].count, 1);
	world_pass(pool_hedge_ms(&world.proxy.pool, 0));
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	/* It has to connect first. */
	world_pass(POOL_WAKE_MS);
	all_down();
	world.up[0].woken = UPSTREAM_MAYBE;
	ask(&world.udp, 1, 2, "example.com");
	assert_int_equal(world.up[0].wakes, 2);
	world_ready(0);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 2);
}

static void
one_is_woken_once_a_second_at_most_and_in_turn(void **state)
{
	(void)state;
	world_start(512, 3);
	all_down();
	for (unsigned i = 0; i < 300; i++) {
		ask(&world.udp, i, i, world_name());
		world_pass(20);
	}
	/* world_wake() has seen to the second between them. */
	assert_in_range(wakes(), 6, 7);
	for (unsigned u = 0; u < 3; u++)
		assert_in_range(world.up[u].wakes, 2, 3);
}

static void
a_single_query_that_waits_wakes_them_one_after_the_other(void **state)
{
	(void)state;
	world_start(64, 3);
	all_down();
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(wakes(), 1);
	world_pass(POOL_WAKE_MS - 1);
	assert_int_equal(wakes(), 1);
	world_pass(POOL_WAIT_MS);
	assert_int_equal(wakes(), 2);
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(wakes(), 1 + QUERY_TIMEOUT_MS / (3 * POOL_WAIT_MS));
	for (unsigned u = 0; u < 3; u++)
		assert_in_range(world.up[u].wakes, 1, 2);
	assert_int_equal(count()->failed, 1);
}

static void
nobody_is_woken_while_another_may_help(void **state)
{
	(void)state;
	world_start(64, 3);
	all_down();
	world.up[2].verdict = UPSTREAM_TAKEN;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(wakes(), 0);
	/* A connection is on its way: it is given its time. */
	world_start(64, 3);
	all_down();
	world.up[2].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_WAIT_MS - 1);
	assert_int_equal(wakes(), 0);
	world_pass(1);
	assert_int_equal(wakes(), 1);
}

/* It failed before and may fail again, while the one that rests is well by now. */
static void
who_failed_before_keeps_nobody_asleep(void **state)
{
	(void)state;
	world_start(64, 3);
	all_down();
	world.up[2].verdict = UPSTREAM_MAYBE;
	world.up[0].woken = world.up[1].woken = UPSTREAM_TAKEN;
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[2].wakes, 0);
	assert_int_equal(wakes(), 1);
	assert_int_equal(world.up[0].count + world.up[1].count, 1);
}

/* It may hang for seconds, and the others have been well for long. */
static void
while_one_takes_long_to_connect_another_is_woken(void **state)
{
	(void)state;
	for (int verdict = UPSTREAM_SOON; verdict <= UPSTREAM_MAYBE; verdict++) {
		world_start(64, 2);
		all_down();
		world.up[0].verdict = (enum upstream_verdict)verdict;
		world.up[1].woken = UPSTREAM_TAKEN;
		ask(&world.udp, 1, 1, "example.com");
		world_pass(POOL_WAIT_MS);
		assert_int_equal(wakes(), 1);
		assert_int_equal(world.up[1].count, 1);
		answer(1, 0, DNS_NOERROR, 1);
		assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
	}
}

static void
without_any_upstream_it_is_servfail_in_time(void **state)
{
	(void)state;
	world_start(64, 0);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(QUERY_TIMEOUT_MS);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(count()->failed, 1);
}

/* Octets keep coming, so nobody doubts it, and hedges are few: yet no client is left without an answer. */
static void
an_upstream_that_loses_half_of_its_questions_starves_nobody(void **state)
{
	char name[32];

	(void)state;
	world_start(512, 2);
	for (unsigned i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		ask(&world.udp, i % 200, i, name);
		if (i % 2 == 0)
			answer(0, world.up[0].count - 1, DNS_NOERROR, 1);
		while (world.up[1].count > 0)
			answer(1, 0, DNS_NOERROR, 1);
		if (world.up[0].count > 200)
			world_take(0, 0);
		world_pass(50);
	}
	for (unsigned i = 0; i < 40; i++) {
		world_pass(50);
		while (world.up[1].count > 0)
			answer(1, 0, DNS_NOERROR, 1);
	}
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(count()->answered, 400);
	assert_int_equal(count()->failed, 0);
}

/* ---- SERVFAIL and REFUSED --------------------------------------------------------------------- */

/* With an Extended DNS Error, and a text to it. */
static void
answer_with_error(unsigned up, unsigned rcode, unsigned code)
{
	struct world_sent s = world_take(up, 0);
	uint8_t ede[6] = {(uint8_t)(code >> 8), (uint8_t)code, 't', 'e', 'x', 't'};

	make_answer(&s, rcode, 0);
	made_opt(&a, 1232, 0);
	made_option(&a, EDNS_EDE, ede, sizeof(ede));
	world_answer(up, a.buf, a.len);
}

static void
servfail_and_refused_are_asked_of_another(void **state)
{
	(void)state;
	for (unsigned rcode = 0; rcode < 16; rcode++) {
		bool sour = rcode == DNS_SERVFAIL || rcode == DNS_REFUSED;

		world_start(64, 2);
		ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
		answer_with_error(0, rcode, EDE_OTHER);
		assert_int_equal(world.up[1].count, sour);
		assert_int_equal(world.udp.replies, !sour);
		assert_int_equal(count()->soured, sour);
		assert_int_equal(count()->again, sour);
		if (sour)
			answer(1, 0, DNS_NOERROR, 1);
		assert_reply(&world.udp, 1, 1, sour ? DNS_NOERROR : rcode, sour);
		assert_int_equal(count()->answered, 1);
		assert_int_equal(world.proxy.table.open + world.proxy.table.spent, 0);
	}
}

/* RFC 8914: signatures that do not hold, and what is kept from users, are the name's. */
static void
what_an_upstream_says_of_the_name_is_final(void **state)
{
	(void)state;
	for (unsigned code = 0; code < 40; code++) {
		bool final = (code >= 6 && code <= 12) || (code >= 15 && code <= 17);

		world_start(64, 2);
		ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
		answer_with_error(0, code % 2 == 0 ? DNS_SERVFAIL : DNS_REFUSED, code);
		assert_int_equal(world.up[1].count, !final);
		assert_int_equal(world.udp.replies, final);
		if (final)
			assert_error_code(&world.udp, code, "text");
	}
}

static void
one_upstream_alone_has_the_last_word(void **state)
{
	(void)state;
	world_start(64, 1);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_REFUSED, EDE_NO_REACHABLE_AUTHORITY);
	assert_reply(&world.udp, 1, 1, DNS_REFUSED, 0);
	assert_error_code(&world.udp, EDE_NO_REACHABLE_AUTHORITY, "text");
	assert_int_equal(count()->soured, 0);
	assert_int_equal(count()->answered, 1);
}

/* Each is asked once, and the last one's word is passed on as it is. */
static void
where_all_say_servfail_it_is_servfail(void **state)
{
	(void)state;
	world_start(64, 3);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	answer_with_error(1, DNS_SERVFAIL, 23);
	assert_int_equal(world.udp.replies, 0);
	answer_with_error(2, DNS_SERVFAIL, 24);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, 24, "text");
	assert_int_equal(world.up[0].taken + world.up[1].taken + world.up[2].taken, 3);
	assert_int_equal(count()->soured, 2);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(count()->failed, 0);
}

static void
a_sour_answer_is_passed_on_at_once_where_nobody_else_can_be_asked(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[1].verdict = world.up[2].verdict = UPSTREAM_DOWN;
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_REFUSED, 22);
	assert_reply(&world.udp, 1, 1, DNS_REFUSED, 0);
	assert_error_code(&world.udp, 22, "text");
	assert_int_equal(count()->soured, 0);
	assert_int_equal(wakes(), 1); /* in vain */
	assert_int_equal(world.up[0].wakes, 0);
	world_ready(1);
	assert_int_equal(world.up[1].count, 0);
}

static void
a_sour_answer_wakes_another_that_rests(void **state)
{
	(void)state;
	for (int how = UPSTREAM_TAKEN; how <= UPSTREAM_MAYBE; how++) {
		world_start(64, 2);
		world.up[1].verdict = UPSTREAM_DOWN;
		world.up[1].woken = (enum upstream_verdict)how;
		ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
		answer_with_error(0, DNS_SERVFAIL, 22);
		assert_int_equal(world.up[1].wakes, 1);
		assert_int_equal(world.udp.replies, 0);
		if (how != UPSTREAM_TAKEN)
			world_ready(1);
		answer(1, 0, DNS_NOERROR, 1);
		assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
		/* Not for each of them: once a second. */
		world.up[1].verdict = UPSTREAM_DOWN;
		ask_with_opt(&world.udp, 2, 2, "example.com", 1232);
		answer_with_error(0, DNS_SERVFAIL, 22);
		assert_int_equal(world.up[1].wakes, 1);
		assert_reply(&world.udp, 2, 2, DNS_SERVFAIL, 0);
	}
}

/* It may be well again; if it is not, the answer is the one there is. */
static void
a_sour_answer_waits_a_little_for_who_failed_before(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_MAYBE;
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	world_pass(POOL_WAIT_MS - 1);
	assert_int_equal(world.udp.replies, 0);
	world_pass(1);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	ask_with_opt(&world.udp, 2, 2, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	world_lost(1, UPSTREAM_DOWN);
	assert_reply(&world.udp, 2, 2, DNS_SERVFAIL, 0);
	world.up[1].verdict = UPSTREAM_MAYBE;
	ask_with_opt(&world.udp, 3, 3, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	world_ready(1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 3, 3, DNS_NOERROR, 1);
}

/* It had the question, and the connection ended: it may have been at its end already. */
static void
a_sour_answer_waits_a_little_for_who_was_lost(void **state)
{
	(void)state;
	world_start(64, 2);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	world_lost(1, UPSTREAM_MAYBE);
	assert_int_equal(world.udp.replies, 0);
	world_ready(1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

/* The only one that does not rest says nothing. */
static void
silence_wakes_another_that_rests(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[1].verdict = world.up[2].verdict = UPSTREAM_DOWN;
	world.up[1].woken = UPSTREAM_TAKEN;
	ask(&world.udp, 1, 1, world_name());
	ask(&world.udp, 2, 2, world_name());
	world_suspect(0, false);
	assert_int_equal(wakes(), 1);
	assert_int_equal(world.up[1].count, 2);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

static void
a_sour_answer_waits_a_little_for_a_connection(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_SOON;
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 22);
	assert_int_equal(world.udp.replies, 0);
	world_pass(POOL_WAIT_MS - 1);
	world_ready(1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
	/* But no longer than that, */
	world.up[1].verdict = UPSTREAM_SOON;
	ask_with_opt(&world.udp, 1, 2, "example.com", 1232);
	answer_with_error(0, DNS_REFUSED, 22);
	world_pass(POOL_WAIT_MS - 1);
	assert_int_equal(world.udp.replies, 1);
	world_pass(1);
	assert_reply(&world.udp, 1, 2, DNS_REFUSED, 0);
	assert_error_code(&world.udp, 22, "");
	/* nor when it cannot be made. */
	ask_with_opt(&world.udp, 1, 3, "example.com", 1232);
	answer_with_error(0, DNS_SERVFAIL, 23);
	world_lost(1, UPSTREAM_DOWN);
	assert_reply(&world.udp, 1, 3, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, 23, "");
	assert_int_equal(count()->answered, 3);
}

/* What an upstream said of the question tells more than that another said nothing. */
static void
at_the_deadline_the_first_sour_answer_is_given(void **state)
{
	(void)state;
	world_start(64, 3);
	ask_with_opt(&world.udp, 1, 7, "example.com", 1232);
	answer_with_error(0, DNS_REFUSED, 300);
	answer_with_error(1, DNS_SERVFAIL, 22);
	world_pass(QUERY_TIMEOUT_MS - 1);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[0].taken + world.up[1].taken + world.up[2].taken, 3);
	world_pass(1);
	assert_reply(&world.udp, 1, 7, DNS_REFUSED, 0);
	assert_error_code(&world.udp, 300, "");
	assert_int_equal(count()->answered, 1);
	assert_int_equal(count()->failed, 0);
	/* One without an Extended DNS Error; and to a client without OPT. */
	ask_with_opt(&world.udp, 1, 8, "example.com", 1232);
	answer(0, 0, DNS_SERVFAIL, 0);
	world_pass(QUERY_TIMEOUT_MS);
	assert_reply(&world.udp, 1, 8, DNS_SERVFAIL, 0);
	assert_int_not_equal(read_reply(&world.udp).opt_len, 0);
	assert_int_equal(read_reply(&world.udp).ede, EDE_NONE);
	ask(&world.udp, 1, 9, "example.com");
	answer(0, 0, DNS_REFUSED, 0);
	world_pass(QUERY_TIMEOUT_MS);
	assert_reply(&world.udp, 1, 9, DNS_REFUSED, 0);
	assert_int_equal(dns_arcount(world.udp.msg), 0);
}

/* A later query in the same slot has no sour answer. */
static void
a_sour_answer_is_forgotten_with_its_query(void **state)
{
	(void)state;
	world_start(64, 2);
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	answer_with_error(0, DNS_REFUSED, 22);
	answer(1, 0, DNS_NOERROR, 1);
	ask_with_opt(&world.udp, 1, 2, "example.com", 1232);
	world_pass(QUERY_TIMEOUT_MS);
	assert_reply(&world.udp, 1, 2, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_NO_REACHABLE_AUTHORITY, NULL);
	assert_int_equal(count()->failed, 1);
}

static void
a_sour_answer_to_a_hedged_query_waits_for_the_other(void **state)
{
	(void)state;
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	answer(0, 0, DNS_SERVFAIL, 0);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[2].count, 0);
	assert_int_equal(count()->soured, 0);
	/* That one ends its connection: who said SERVFAIL is not asked again. */
	world_lost(1, UPSTREAM_DOWN);
	assert_int_equal(world.up[0].count, 0);
	assert_int_equal(world.up[2].count, 1);
	answer(2, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

static void
who_gave_a_sour_answer_is_not_asked_again(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	answer(0, 0, DNS_SERVFAIL, 0);
	world_pass(QUERY_TIMEOUT_MS / 2);
	world_suspect(1, true);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 1);
	world_ready(1);
	assert_int_equal(world.up[1].taken, 2);
	world_lost(1, UPSTREAM_TAKEN);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(world.up[0].taken, 1);
}

/* ---- Usual times ------------------------------------------------------------------------------ */

static uint32_t
usual(unsigned up)
{
	return world.proxy.pool.member[up].usual / 8;
}

static void
the_time_of_an_answer_is_measured(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(300);
	assert_int_equal(usual(0), 0);
	answer(0, 0, DNS_SERVFAIL, 0);
	assert_int_equal(usual(0), 300);
	assert_int_equal(world.up[0].up.doubt_ms, 900);
	world_pass(20);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(usual(1), 20);
	assert_int_equal(usual(0), 300);
	assert_int_equal(world.up[1].up.doubt_ms, POOL_DOUBT_MIN_MS);
}

/* Since it was sent, not since it came. */
static void
waiting_for_a_connection_is_not_measured(void **state)
{
	(void)state;
	world_start(64, 1);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(1000);
	world_ready(0);
	world_pass(50);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(usual(0), 50);
}

static void
a_late_answer_is_measured_too(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(QUERY_TIMEOUT_MS - 100);
	world_forget(&world.udp, 1);
	world_pass(50);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->late, 1);
	assert_int_equal(usual(0), QUERY_TIMEOUT_MS - 50);
}

/* Karn: of which question it is the answer nobody knows. */
static void
what_the_same_upstream_was_asked_twice_is_not_measured(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(1000);
	world_suspect(0, true);
	world_ready(0);
	world_pass(10);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(usual(0), 0);
	/* Nor the question without OPT; the refusal of the OPT is. */
	ask(&world.udp, 1, 2, "example.com");
	world.up[0].count--; /* the one that is answered already */
	world.up[0].sent[0] = world.up[0].sent[1];
	world_pass(30);
	answer(0, 0, DNS_FORMERR, 0);
	assert_int_equal(usual(0), 30);
	world_pass(500);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 2);
	assert_int_equal(usual(0), 30);
}

/* Only the last time of sending is known. */
static void
of_two_that_were_asked_at_different_times_the_later_is_measured(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	world_pass(40);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(usual(0), 0);
	world_pass(20);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(usual(1), 60);
}

static void
a_strangers_answer_is_not_measured(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	world_pass(30);
	make_answer(&s, DNS_NOERROR, 1);
	world_answer(1, a.buf, a.len);
	a.buf[DNS_HEADER + 1] ^= 1;
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->strangers, 2);
	assert_int_equal(usual(0) + usual(1), 0);
}

/* ---- The fastest ------------------------------------------------------------------------------ */

/* Asks, lets the upstreams answer after so many ms each, as far as they were asked, and waits until all could
 * have.  Returns who were asked, as bits. */
static unsigned
ask_and_answer(const unsigned *ms)
{
	unsigned asked = 0, slowest = 0;

	ask(&world.udp, 1, 1, "example.com");
	for (unsigned u = 0; u < world.proxy.ups; u++) {
		asked |= (unsigned)(world.up[u].count > 0) << u;
		slowest = ms[u] > slowest ? ms[u] : slowest;
	}
	for (unsigned t = 0; t <= slowest; t++) {
		for (unsigned u = 0; u < world.proxy.ups; u++)
			if (ms[u] == t && world.up[u].count > 0)
				answer(u, 0, DNS_NOERROR, 1);
		world_pass(1);
	}
	return asked;
}

static void
the_fastest_is_found_and_asked(void **state)
{
	static const unsigned ms[] = {60, 40, 20};

	(void)state;
	world_start_with(64, 3, POOL_FASTEST);
	/* The first question tells of the first two, the second of the third. */
	assert_int_equal(ask_and_answer(ms), 3);
	assert_int_equal(ask_and_answer(ms), 2);
	world_pass(POOL_EXPLORE_MS);
	assert_int_equal(ask_and_answer(ms), 6);
	assert_int_equal(ask_and_answer(ms), 4);
	assert_int_equal(count()->answered, 4);
	assert_int_equal(count()->late, 2); /* measured as well */
	/* It is no hedge, and takes nothing from them. */
	assert_int_equal(count()->hedged, 0);
	assert_int_equal(world.proxy.pool.credit, POOL_HEDGE_BURST * POOL_HEDGE_SHARE);
}

static void
the_others_are_looked_into_now_and_then(void **state)
{
	static const unsigned slow[] = {20, 60, 60}, quick[] = {20, 60, 10};
	unsigned both = 0;

	(void)state;
	world_start_with(64, 3, POOL_FASTEST);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned asked = ask_and_answer(slow);

		assert_true((asked & 1) != 0);
		both += asked != 1;
	}
	assert_in_range(both, 61 * 1000 / POOL_EXPLORE_MS, 61 * 1000 / POOL_EXPLORE_MS + 2);
	/* One has become faster: found within two turns and a few answers. */
	for (unsigned i = 0; i < 12000 && world.proxy.pool.order[0] != 2; i++)
		ask_and_answer(quick);
	assert_int_equal(world.proxy.pool.order[0], 2);
}

static void
order_looks_into_nobody(void **state)
{
	static const unsigned ms[] = {60, 40, 20};

	(void)state;
	world_start(64, 3);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(ask_and_answer(ms), 1);
}

/* The first query makes it connect, and a later one measures it. */
static void
who_has_to_connect_first_is_looked_into_by_a_later_query(void **state)
{
	(void)state;
	world_start_with(64, 3, POOL_FASTEST);
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, world_name());
	assert_int_equal(world.up[1].offered, 1);
	world.up[1].verdict = UPSTREAM_MAYBE;
	ask(&world.udp, 1, 1, world_name());
	assert_int_equal(world.up[1].offered, 2);
	world_ready(1); /* they do not go there now: nobody waits for that */
	assert_int_equal(world.up[1].count, 0);
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[1].count, 1);
	assert_int_equal(world.up[2].offered, 0);
}

static void
who_is_down_is_passed_over(void **state)
{
	(void)state;
	world_start_with(64, 3, POOL_FASTEST);
	world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, world_name());
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[1].offered, 1);
	answer(0, 0, DNS_NOERROR, 1);
	answer(0, 0, DNS_NOERROR, 1);
	world_pass(POOL_EXPLORE_MS);
	ask(&world.udp, 1, 3, world_name());
	assert_int_equal(world.up[1].offered, 1);
	assert_int_equal(world.up[2].count, 1);
}

/* Only a query that somebody has already looks into another: it is no way around the order. */
static void
a_query_that_waits_looks_into_nobody(void **state)
{
	(void)state;
	world_start_with(64, 2, POOL_FASTEST);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, world_name());
	assert_int_equal(world.up[1].offered, 0);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[1].count, 1);
}

/* The fastest is down, and its deputy is asked anyway: it is the third one's turn. */
static void
who_is_asked_anyway_is_looked_into_by_that(void **state)
{
	static const unsigned ms[] = {10, 60, 20};

	(void)state;
	world_start_with(64, 3, POOL_FASTEST);
	ask_and_answer(ms);
	assert_int_equal(world.proxy.pool.order[1], 1);
	world_pass(2 * POOL_EXPLORE_MS);
	world.proxy.pool.explored = 0;
	world.up[0].verdict = UPSTREAM_DOWN;
	assert_int_equal(ask_and_answer(ms), 2);
	world_pass(POOL_EXPLORE_MS);
	assert_int_equal(ask_and_answer(ms), 6);
	assert_int_equal(ask_and_answer(ms), 4);
}

/* Nothing waits on its account, and it is a try like any other. */
static void
a_query_that_looks_into_another_waits_for_one_answer(void **state)
{
	(void)state;
	world_start_with(64, 2, POOL_FASTEST);
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[0].count + world.up[1].count, 2);
	assert_int_equal(count()->again, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	answer(0, 0, DNS_SERVFAIL, 0);
	assert_int_equal(count()->late, 1);
	assert_int_equal(world.udp.replies, 1);
}

/* ---- Lost connections ------------------------------------------------------------------------- */

static void
a_lost_connection_is_asked_again_once(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_lost(0, UPSTREAM_SOON);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[0].count, 0);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	assert_int_equal(count()->again, 1);
	world_lost(0, UPSTREAM_SOON);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(count()->failed, 1);
	assert_int_equal(world.proxy.table.open + world.proxy.table.spent, 0);
}

static void
asked_again_it_is_the_same_question_with_the_same_id(void **state)
{
	struct world_sent before, after;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	before = world.up[0].sent[0];
	world_lost(0, UPSTREAM_TAKEN);
	after = world.up[0].sent[0];
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.msg, after.msg, after.len);
}

static void
a_connection_that_hands_over_goes_to_the_next_upstream(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_lost(0, UPSTREAM_DOWN);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NXDOMAIN, 0);
	assert_reply(&world.udp, 1, 1, DNS_NXDOMAIN, 0);
	assert_int_equal(count()->again, 1);
}

/* Each upstream once, and once more: with two upstreams that lose everything, three times. */
static void
tries_are_bounded(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	for (int i = 0; world.udp.replies == 0 && i < 20; i++)
		world_lost(world.up[0].count > 0 ? 0 : 1, UPSTREAM_TAKEN);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(world.up[0].taken + world.up[1].taken, 3);
	assert_int_equal(count()->again, 2);
}

/* Once by each upstream, and once again: though the first loses it each time and takes it each time. */
static void
a_question_that_ends_connections_is_asked_of_all(void **state)
{
	(void)state;
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	for (int i = 0; world.udp.replies == 0 && i < 20; i++)
		for (unsigned u = 0; u < 3; u++)
			if (world.up[u].count > 0) {
				world_lost(u, UPSTREAM_TAKEN);
				break;
			}
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(world.up[0].taken + world.up[1].taken + world.up[2].taken, 4);
	/* Where all others are down it is the same one again. */
	world.up[1].verdict = world.up[2].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 2, "example.com");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(world.up[0].count, 1);
		world_lost(0, UPSTREAM_TAKEN);
	}
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 2, DNS_NOERROR, 1);
}

static void
lost_twice_it_goes_to_the_next_upstream(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[0].count, 1);
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	/* That one has to connect first. */
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 2, "example.com");
	world_lost(0, UPSTREAM_TAKEN);
	world_lost(0, UPSTREAM_TAKEN);
	world_ready(1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 2);
}

static void
who_has_no_tries_left_is_not_looked_at_again(void **state)
{
	uint64_t deadline;

	(void)state;
	world_start(64, 2);
	deadline = world.now + QUERY_TIMEOUT_MS;
	ask(&world.udp, 1, 1, "example.com");
	world_lost(0, UPSTREAM_TAKEN);
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[1].count, 1);
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[0].count, 0);
	assert_true(proxy_deadline(&world.proxy) == deadline);
	assert_int_equal(count()->hedged, 0);
}

static void
a_loss_touches_only_what_that_upstream_had(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "one.example");
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 2, 2, "two.example");
	assert_int_equal(world.up[1].count, 1);
	world_lost(1, UPSTREAM_DOWN);
	assert_int_equal(world.up[0].count, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

static void
a_hundred_open_questions_survive_one_loss(void **state)
{
	(void)state;
	world_start(128, 1);
	for (unsigned i = 0; i < 100; i++)
		ask(&world.udp, i, i, world_name());
	world_lost(0, UPSTREAM_SOON);
	world_ready(0);
	assert_int_equal(world.up[0].count, 100);
	while (world.up[0].count > 0)
		answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 100);
	assert_int_equal(count()->again, 100);
}

/* Nothing else would tell that it is well again: nobody asks it while the next one answers. */
static void
whose_silent_connection_is_lost_is_preferred_again(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, world_name());
	world_suspect(0, false);
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[0].taken, 1);
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[0].taken, 1); /* what it had is with the other one */
	ask(&world.udp, 1, 3, world_name());
	assert_int_equal(world.up[0].taken, 2);
}

static void
what_is_lost_goes_to_others_before_who_was_silent(void **state)
{
	(void)state;
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world.up[1].verdict = world.up[2].verdict = UPSTREAM_DOWN;
	world_suspect(0, false);
	world.up[2].verdict = UPSTREAM_TAKEN;
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[2].count, 1);
	assert_int_equal(world.up[0].taken, 1);
}

/* ---- A second upstream is asked as well ------------------------------------------------------- */

static void
hedge_asks_the_second_upstream(void **state)
{
	(void)state;
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS - 1);
	assert_int_equal(world.up[1].offered, 0);
	world_pass(1);
	assert_int_equal(world.up[1].count, 1);
	assert_int_equal(world.up[2].offered, 0);
	assert_int_equal(count()->again, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
	/* The first one's answer comes too late, and meets nobody. */
	assert_int_equal(world.proxy.table.spent, 1);
	answer(0, 0, DNS_NOERROR, 2);
	assert_int_equal(world.udp.replies, 1);
	assert_int_equal(count()->late, 1);
	assert_int_equal(world.proxy.table.spent, 0);
}

static void
with_one_upstream_nothing_is_hedged(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	/* Nor is that looked at again. */
	assert_true(proxy_deadline(&world.proxy) == world.now - POOL_HEDGE_DEFAULT_MS + QUERY_TIMEOUT_MS);
	world_pass(QUERY_TIMEOUT_MS - POOL_HEDGE_DEFAULT_MS - 1);
	assert_int_equal(world.up[0].offered, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
a_hedged_query_outlives_one_loss(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_lost(0, UPSTREAM_DOWN);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(world.proxy.table.spent, 0);
}

/* The usual case: the second upstream has no connection until it is needed. */
static void
hedge_reaches_an_upstream_that_has_to_connect_first(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].offered, 1);
	world_pass(50);
	world_ready(1);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* The first is still in its handshake when the second has finished its own. */
static void
hedge_goes_to_whoever_is_ready_first(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_pass(50);
	world_ready(1);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
hedge_does_not_ask_the_same_upstream_twice(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_ready(0);
	world_ready(1);
	assert_int_equal(world.up[0].count, 1);
	assert_int_equal(world.up[1].count, 1);
}

/* ---- Upstreams that are silent ---------------------------------------------------------------- */

static void
questions_of_a_silent_upstream_go_to_the_next_at_once(void **state)
{
	(void)state;
	world_start(128, 3);
	for (unsigned i = 0; i < 100; i++)
		ask(&world.udp, i, i, world_name());
	world_suspect(0, false);
	assert_int_equal(world.up[1].count, 100);
	assert_int_equal(world.up[2].count, 0);
	assert_int_equal(world.udp.replies, 0);
	/* Though hedges are few. */
	assert_int_equal(count()->hedged, 0);
	assert_int_equal(count()->again, 100);
	/* New ones go there too, and whoever answers first is the one. */
	ask(&world.udp, 101, 101, world_name());
	assert_int_equal(world.up[1].count, 101);
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 0, 0, DNS_NOERROR, 1);
	answer(1, 1, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

static void
an_answer_ends_the_doubt(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, world_name());
	world_suspect(0, false);
	assert_true(world.proxy.pool.member[0].doubted);
	answer(1, 0, DNS_NOERROR, 1);
	assert_true(world.proxy.pool.member[0].doubted);
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[1].count, 1);
	answer(0, 0, DNS_NOERROR, 1); /* late, but it speaks */
	assert_int_equal(count()->late, 1);
	assert_false(world.proxy.pool.member[0].doubted);
	ask(&world.udp, 1, 3, world_name());
	assert_int_equal(world.up[0].count, 1);
}

static void
ready_ends_the_doubt(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, world_name());
	world_suspect(0, true);
	ask(&world.udp, 1, 2, world_name());
	assert_int_equal(world.up[0].taken, 1);
	world_ready(0);
	ask(&world.udp, 1, 3, world_name());
	assert_int_equal(world.up[0].taken, 2);
}

/* A stranger's octets are no sign of life. */
static void
a_stranger_ends_no_doubt(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, false);
	made_init(&a, dns_id(world.up[0].sent[0].msg) ^ 1u, DNS_QR);
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->strangers, 1);
	assert_true(world.proxy.pool.member[0].doubted);
}

/* RFC 7766 section 6.2.1: the same ID is not sent twice on one connection. */
static void
on_a_connection_that_stays_nothing_is_sent_twice(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, false);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
on_a_connection_that_takes_over_it_is_asked_once_more(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, true);
	assert_int_equal(world.up[0].taken, 1);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 2);
	/* But no more than that. */
	world_suspect(0, true);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 2);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	/* The other's answer is one to nothing. */
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->strangers, 1);
	assert_int_equal(world.udp.replies, 1);
}

static void
who_is_kept_is_not_asked_once_more(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, true);
	ask(&world.udp, 2, 2, "example.org"); /* this one waits for the connection */
	world_kept(0);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 2);
	answer(0, 0, DNS_NOERROR, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 2);
}

/* It never had that one. */
static void
who_is_kept_gets_what_hoped_for_it(void **state)
{
	(void)state;
	world_start(64, 2);
	world_suspect(0, true);
	ask(&world.udp, 1, 1, "example.com");
	assert_int_equal(world.up[1].count, 1);
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(count()->hedged, 1);
	world_kept(0);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
}

/* The next one has to connect first: whoever is ready first gets it. */
static void
a_suspected_question_goes_to_whoever_is_ready_first(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 2; first++) {
		world_start(64, 2);
		world.up[1].verdict = first == 0 ? UPSTREAM_SOON : UPSTREAM_MAYBE;
		ask(&world.udp, 1, 1, "example.com");
		world_suspect(0, true);
		world.up[0].count = 0;
		world_ready(first);
		assert_int_equal(world.up[first].count, 1);
		world_ready(1 - first);
		assert_int_equal(world.up[0].count + world.up[1].count, 1);
		answer(first, 0, DNS_NOERROR, 1);
		assert_int_equal(count()->answered, 1);
	}
}

/* A new address, and all connections are dead.  The question was hedged before that was known: it must not
 * count on one silent connection because another has it too. */
static void
a_question_that_two_silent_upstreams_have_is_asked_anew(void **state)
{
	(void)state;
	/* The first one is replaced before the second is even suspected. */
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	world_pass(200);
	world.up[0].count = 0;
	world_suspect(0, true);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
	/* Both are suspected, and a third is there. */
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_suspect(0, false);
	assert_int_equal(world.up[2].count, 0);
	world_suspect(1, false);
	assert_int_equal(world.up[2].count, 1);
	answer(2, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* While one that has it speaks, and its connection stays, there is nothing to be done. */
static void
a_question_in_good_hands_is_not_moved(void **state)
{
	(void)state;
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	world_suspect(0, false);
	world_ready(0);
	assert_int_equal(world.up[0].taken + world.up[1].taken + world.up[2].taken, 2);
}

/* It hopes for the connection that takes over, but is answered by the one before. */
static void
whose_answer_came_gets_no_question_more(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[2].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_suspect(0, true);
	answer(0, 0, DNS_SERVFAIL, 0);
	assert_int_equal(world.udp.replies, 0);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* One is silent and the other cannot help: no waiting for the first until the deadline. */
static void
a_sour_answer_does_not_wait_for_a_silent_upstream(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, false);
	answer(1, 0, DNS_SERVFAIL, 0);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(count()->answered, 1);
	assert_int_equal(world.proxy.table.spent, 1);
	/* A third is asked. */
	world_start(64, 3);
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, false);
	answer(1, 0, DNS_SERVFAIL, 0);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[2].count, 1);
	answer(2, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
	/* It has to connect first, and the silent one was not that silent. */
	world_start(64, 3);
	world.up[2].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_suspect(0, false);
	answer(1, 0, DNS_SERVFAIL, 0);
	assert_int_equal(world.udp.replies, 0);
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 1, DNS_NOERROR, 1);
}

/* Asks so many queries, answered at once: what they save up for hedges can be used up. */
static void
use_up_hedges(void)
{
	for (unsigned i = 0; i < POOL_HEDGE_BURST; i++)
		ask(&world.udp, 1, i, world_name());
	world_pass(POOL_HEDGE_DEFAULT_MS);
	while (world.up[0].count > 0)
		answer(0, 0, DNS_NOERROR, 1);
	while (world.up[1].count > 0)
		answer(1, 0, DNS_NOERROR, 1);
}

static void
hedges_are_a_burst_and_one_in_ten_queries(void **state)
{
	(void)state;
	world_start(512, 2);
	for (unsigned i = 0; i < 100; i++)
		ask(&world.udp, i, i, world_name());
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, POOL_HEDGE_BURST);
	assert_int_equal(count()->hedged, POOL_HEDGE_BURST);
	for (unsigned i = 0; i < 10 * POOL_HEDGE_SHARE; i++)
		ask(&world.udp, 100 + i, i, world_name());
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, POOL_HEDGE_BURST + 10);
	assert_int_equal(count()->hedged, POOL_HEDGE_BURST + 10);
	assert_int_equal(count()->again, POOL_HEDGE_BURST + 10);
}

/* It was not its turn when it was due, but it is once there are more queries. */
static void
who_gets_no_hedge_at_once_gets_one_later(void **state)
{
	(void)state;
	world_start(64, 2);
	use_up_hedges();
	ask(&world.udp, 1, 77, "slow.example");
	world_pass(pool_hedge_ms(&world.proxy.pool, 0));
	assert_int_equal(world.up[1].count, 0);
	for (unsigned i = 0; i < POOL_HEDGE_SHARE; i++) {
		ask(&world.udp, 1, i, world_name());
		answer(0, 1, DNS_NOERROR, 1);
	}
	world_pass(pool_hedge_ms(&world.proxy.pool, 0));
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 77, DNS_NOERROR, 1);
}

/* Where there is nobody to be asked, that is no hedge. */
static void
what_cannot_be_hedged_uses_nothing_up(void **state)
{
	(void)state;
	world_start(512, 2);
	world.up[1].verdict = UPSTREAM_DOWN;
	for (unsigned i = 0; i < 2 * POOL_HEDGE_BURST; i++)
		ask(&world.udp, i, i, world_name());
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(count()->hedged, 0);
	while (world.up[0].count > 0)
		answer(0, 0, DNS_NOERROR, 1);
	/* All who could be asked have it: neither. */
	world.up[1].verdict = UPSTREAM_TAKEN;
	world_start(512, 2);
	for (unsigned i = 0; i < POOL_HEDGE_BURST; i++)
		ask(&world.udp, i, i, world_name());
	world_suspect(0, false);
	assert_int_equal(world.up[1].count, POOL_HEDGE_BURST);
	world_pass(2 * POOL_HEDGE_MAX_MS);
	assert_int_equal(count()->hedged, 0);
	assert_int_equal(world.proxy.pool.credit, POOL_HEDGE_BURST * POOL_HEDGE_SHARE);
}

static void
who_was_down_when_a_hedge_was_due_is_asked_when_it_is_back(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_ready(1);
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* It had to connect first, and could not: the third is asked. */
static void
a_hedge_that_comes_to_nothing_is_followed_by_another(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_lost(1, UPSTREAM_DOWN);
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[2].count, 1);
	answer(2, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* Its connection was lost before it stood, but it takes questions again. */
static void
a_hedge_that_comes_to_nothing_may_go_to_the_same_upstream_later(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_lost(1, UPSTREAM_TAKEN);
	assert_int_equal(world.up[1].count, 0);
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
}

/* It is only offered, and goes out when it is ready: a hedge all the same. */
static void
a_hedge_to_an_upstream_that_failed_before_counts(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_MAYBE;
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(count()->hedged, 1);
	world_ready(1);
	assert_int_equal(world.up[1].count, 1);
	assert_true(world.proxy.pool.credit < POOL_HEDGE_BURST * POOL_HEDGE_SHARE);
}

/* Each upstream has its own usual time, and a query the one of who has it. */
static void
a_hedge_is_due_after_the_time_of_the_upstream_that_has_it(void **state)
{
	(void)state;
	world_start(64, 2);
	for (unsigned i = 0; i < 100; i++) {
		ask(&world.udp, 1, i, world_name());
		world_pass(10);
		answer(0, 0, DNS_NOERROR, 1);
	}
	assert_int_equal(pool_hedge_ms(&world.proxy.pool, 0), POOL_HEDGE_MIN_MS);
	ask(&world.udp, 1, 1, world_name());
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 2, world_name());
	world.up[0].verdict = UPSTREAM_TAKEN;
	assert_int_equal(world.up[1].count, 1);
	world_pass(POOL_HEDGE_MIN_MS - 1);
	assert_int_equal(world.up[1].count, 1);
	world_pass(1);
	assert_int_equal(world.up[1].count, 2);
	world_pass(POOL_HEDGE_DEFAULT_MS - POOL_HEDGE_MIN_MS - 1);
	assert_int_equal(world.up[0].count, 1);
	world_pass(1);
	assert_int_equal(world.up[0].count, 2);
}

/* ---- Time ------------------------------------------------------------------------------------- */

static void
without_queries_nothing_is_due(void **state)
{
	(void)state;
	world_start(64, 1);
	assert_true(proxy_deadline(&world.proxy) == UINT64_MAX);
	ask(&world.udp, 1, 1, "example.com");
	assert_true(proxy_deadline(&world.proxy) == world.now + POOL_HEDGE_DEFAULT_MS);
	answer(0, 0, DNS_NOERROR, 1);
	assert_true(proxy_deadline(&world.proxy) == UINT64_MAX);
}

static void
servfail_comes_within_four_seconds(void **state)
{
	(void)state;
	world_start(64, 2);
	ask_with_opt(&world.udp, 1, 0xbeef, "example.com", 1232);
	world_pass(QUERY_TIMEOUT_MS - 1);
	assert_int_equal(world.udp.replies, 0);
	world_pass(1);
	assert_in_range(QUERY_TIMEOUT_MS, 3000, 4000);
	assert_reply(&world.udp, 1, 0xbeef, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_NO_REACHABLE_AUTHORITY, "no upstream answered in time");
	assert_int_equal(count()->failed, 1);
	assert_int_equal(dns_qdcount(world.udp.msg), 1);
}

static void
servfail_says_what_the_trouble_is(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[0].verdict = world.up[1].verdict = UPSTREAM_DOWN;
	world.up[1].up.trouble = "certificate has expired";
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	world_pass(4000);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_NETWORK_ERROR, "certificate has expired");
}

/* The trouble of one that this question never was for explains nothing. */
static void
servfail_is_silent_about_upstreams_that_were_not_tried(void **state)
{
	(void)state;
	world_start(64, 3);
	world.up[2].up.trouble = "certificate has expired";
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	while (world.udp.replies == 0)
		world_lost(world.up[0].count > 0 ? 0 : 1, UPSTREAM_TAKEN);
	assert_int_equal(world.up[2].offered, 0);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_NO_REACHABLE_AUTHORITY, "no upstream answered in time");
	/* They were tried, and one could not be connected to. */
	world.up[0].verdict = world.up[1].verdict = world.up[2].verdict = UPSTREAM_DOWN;
	world.up[2].up.trouble = NULL;
	world.up[1].up.trouble = "connection refused";
	ask_with_opt(&world.udp, 1, 2, "example.com", 1232);
	world_pass(4000);
	assert_error_code(&world.udp, EDE_NETWORK_ERROR, "connection refused");
}

/* One has it and says nothing: that is why there is no answer, not the other's trouble. */
static void
servfail_while_an_upstream_has_the_question_says_so(void **state)
{
	(void)state;
	world_start(64, 2);
	world.up[1].verdict = UPSTREAM_DOWN;
	world.up[1].up.trouble = "certificate has expired";
	ask_with_opt(&world.udp, 1, 1, "example.com", 1232);
	world_pass(4000);
	assert_int_not_equal(world.up[1].offered, 0);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_error_code(&world.udp, EDE_NO_REACHABLE_AUTHORITY, "no upstream answered in time");
}

static void
servfail_to_a_client_without_opt_has_none(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(4000);
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(dns_arcount(world.udp.msg), 0);
}

static void
each_query_has_a_deadline_of_its_own(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 30; i++) {
		ask(&world.udp, i, i, world_name());
		world_pass(100);
	}
	assert_int_equal(count()->failed, 0);
	for (unsigned i = 0; i < 30; i++) {
		uint64_t due = 1000000 + i * 100 + QUERY_TIMEOUT_MS;

		world_pass(due - 1 - world.now);
		assert_int_equal(count()->failed, i);
		world_pass(1);
		assert_int_equal(count()->failed, i + 1);
		assert_int_equal(world.udp.token, i);
	}
}

/* The machine slept: everything is overdue at once. */
static void
a_leap_of_time_fails_what_is_overdue(void **state)
{
	(void)state;
	world_start(64, 2);
	for (unsigned i = 0; i < 10; i++)
		ask(&world.udp, i, i, world_name());
	world.now += 3600000;
	proxy_tick(&world.proxy, world.now);
	world_check();
	assert_int_equal(count()->failed, 10);
	assert_int_equal(world.up[1].offered, 0); /* nobody waits for that any more */
	assert_int_equal(count()->hedged, 0);
	assert_true(proxy_deadline(&world.proxy) == UINT64_MAX);
}

/* ---- Answers that are none -------------------------------------------------------------------- */

static void
late_answer_meets_nobody(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(world.udp.replies, 1);
	/* Until it came, nobody else gets its ID. */
	assert_non_null(query_by_id(&world.proxy.table, dns_id(s.msg)));
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(world.udp.replies, 1);
	assert_int_equal(count()->late, 1);
	assert_null(query_by_id(&world.proxy.table, dns_id(s.msg)));
}

static void
doubled_answer_is_ignored(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	answer(0, 0, DNS_NOERROR, 1);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 1);
	assert_int_equal(count()->strangers, 1);
}

/* Gives an answer whose question was changed, and then the right one. */
static void
assert_question_is_checked(const char *name, unsigned type, unsigned class)
{
	struct world_sent s;

	world_start(64, 1);
	ask(&world.udp, 1, 1, "www.example.com");
	s = world.up[0].sent[0];
	made_init(&a, dns_id(s.msg), DNS_QR);
	made_question(&a, name, type, class);
	made_a(&a, MADE_ANSWER, "12>", 0x06060606);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
wrong_question_is_ignored(void **state)
{
	(void)state;
	assert_question_is_checked("vww.example.com", TYPE_A, CLASS_IN);
	assert_question_is_checked("www.example.com.", 28, CLASS_IN);
	assert_question_is_checked("www.example.com", TYPE_A, 3);
	assert_question_is_checked("example.com", TYPE_A, CLASS_IN);
	assert_question_is_checked("", TYPE_A, CLASS_IN);
}

static void
wrong_id_is_ignored(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	make_answer(&s, DNS_NOERROR, 1);
	for (unsigned bit = 0; bit < 16; bit++) {
		dns_set_id(a.buf, (uint16_t)(dns_id(s.msg) ^ 1u << bit));
		world_answer(0, a.buf, a.len);
	}
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 16);
}

static void
an_answer_of_an_upstream_that_was_not_asked_is_ignored(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	make_answer(&s, DNS_NOERROR, 0x06060606);
	world_answer(1, a.buf, a.len);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

static void
an_answer_of_a_lost_connection_is_ignored(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	world_lost(0, UPSTREAM_SOON);
	make_answer(&s, DNS_NOERROR, 0x06060606);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 1);
}

static void
a_query_from_an_upstream_is_ignored(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	world_answer(0, s.msg, s.len);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 1);
}

static void
a_cut_answer_is_ignored(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	s = world.up[0].sent[0];
	make_answer(&s, DNS_NOERROR, 1);
	for (size_t len = 0; len < a.len; len++) {
		uint8_t *exact = malloc(len + 1);

		memcpy(exact, a.buf, len);
		world_answer(0, exact, len);
		free(exact);
	}
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, a.len);
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->answered, 1);
}

/* Some servers leave the question out of an error; with it, nothing but an error can be meant. */
static void
an_answer_without_a_question_is_taken_for_errors_only(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 9, "example.com");
	s = world.up[0].sent[0];
	made_init(&a, dns_id(s.msg), DNS_QR);
	world_answer(0, a.buf, a.len);
	made_a(&a, MADE_ANSWER, "example.com", 0x06060606);
	dns_set_flags(a.buf, DNS_QR | DNS_SERVFAIL);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(count()->strangers, 2);
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_SERVFAIL);
	world_answer(0, a.buf, a.len);
	assert_reply(&world.udp, 1, 9, DNS_SERVFAIL, 0);
}

/* ---- Clients that leave ----------------------------------------------------------------------- */

static void
forget_makes_gone(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.tcp, 7, 1, "example.com");
	ask(&world.tcp, 7, 2, "example.org");
	ask(&world.tcp, 8, 3, "example.net");
	ask(&world.udp, 7, 4, world_name());
	world_forget(&world.tcp, 7);
	assert_int_equal(count()->gone, 2);
	assert_int_equal(world.proxy.table.open, 2);
	s = world_take(0, 0);
	make_answer(&s, DNS_NOERROR, 1);
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->late, 1);
	assert_int_equal(world.tcp.replies, 0);
	answer(0, 1, DNS_NOERROR, 1);
	answer(0, 1, DNS_NOERROR, 1);
	assert_int_equal(world.tcp.replies, 1);
	assert_int_equal(world.udp.replies, 1);
}

static void
forgotten_queries_are_not_asked_again(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.tcp, 7, 1, "example.com");
	world_forget(&world.tcp, 7);
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.up[0].count + world.up[1].count, 0);
	assert_int_equal(world.proxy.table.spent, 0);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.tcp, 7, 1, "example.com");
	world_forget(&world.tcp, 7);
	world_ready(0);
	assert_int_equal(world.up[0].count, 0);
	assert_int_equal(count()->gone, 2);
}

static void
late_queries_can_be_forgotten_too(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.tcp, 7, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	world_forget(&world.tcp, 7);
	assert_int_equal(count()->gone, 1);
	assert_int_equal(world.proxy.table.spent, 1);
	answer(0, 0, DNS_NOERROR, 1);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->late, 2);
	assert_int_equal(world.proxy.table.spent, 0);
}

/* ---- Upstreams that refuse OPT ---------------------------------------------------------------- */

static void
an_upstream_that_refuses_opt_is_asked_without(void **state)
{
	(void)state;
	world_start(64, 1);
	ask_with_opt(&world.udp, 1, 5, "example.com", 1232);
	assert_true(has_opt(&world.up[0].sent[0]));
	answer(0, 0, DNS_FORMERR, 0);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[0].count, 1);
	assert_false(has_opt(&world.up[0].sent[0]));
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 5, DNS_NOERROR, 1);
	/* RFC 6891 section 6.1.1: its client sent an OPT, and gets one. */
	assert_int_not_equal(read_reply(&world.udp).opt_len, 0);
	assert_int_equal(count()->again, 1);
}

static void
that_it_refuses_opt_is_no_try(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 5, "example.com");
	answer(0, 0, DNS_FORMERR, 0);
	world_lost(0, UPSTREAM_TAKEN);
	assert_int_equal(world.udp.replies, 0);
	assert_int_equal(world.up[0].count, 1);
	assert_false(has_opt(&world.up[0].sent[0]));
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 1, 5, DNS_NOERROR, 1);
	assert_int_equal(world.up[0].taken, 3);
}

/* The upstream answers so many questions in a row, each with OPT at first, only without. */
static void
refuse_opt(unsigned up, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		ask(&world.udp, 1, 5, "example.com");
		assert_true(has_opt(&world.up[up].sent[0]));
		answer(up, 0, i % 2 == 0 ? DNS_NOTIMP : DNS_FORMERR, 0);
		assert_false(has_opt(&world.up[up].sent[0]));
		answer(up, 0, i % 3 == 0 ? DNS_NXDOMAIN : DNS_NOERROR, 0);
	}
}

/* Whether the next question leaves with OPT; it is answered. */
static bool
offers_opt(unsigned up)
{
	bool offers;

	ask(&world.udp, 1, 6, "example.com");
	assert_int_equal(world.up[up].count, 1);
	offers = has_opt(&world.up[up].sent[0]);
	answer(up, 0, DNS_NOERROR, 1);
	return offers;
}

static void
that_it_refuses_opt_is_remembered_for_a_while(void **state)
{
	(void)state;
	world_start(64, 1);
	refuse_opt(0, PLAIN_AFTER);
	assert_false(offers_opt(0));
	world_pass(DOT_PLAIN_MS - 1);
	assert_false(offers_opt(0));
	world_pass(1);
	assert_true(offers_opt(0));
}

/* One odd question proves nothing. */
static void
that_it_refuses_opt_is_learnt_from_several_questions(void **state)
{
	(void)state;
	world_start(64, 1);
	refuse_opt(0, PLAIN_AFTER - 1);
	assert_int_equal(world.proxy.plain_until[0], 0);
	refuse_opt(0, 1);
	assert_true(world.proxy.plain_until[0] == world.now + DOT_PLAIN_MS);
	/* After its time it is learnt anew, from as many. */
	world_pass(DOT_PLAIN_MS);
	refuse_opt(0, PLAIN_AFTER);
	assert_false(offers_opt(0));
}

/* Gives, with an OPT, the answer to the question that is there. */
static void
answer_with_opt(unsigned up, unsigned rcode)
{
	struct world_sent s = world_take(up, 0);

	make_answer(&s, rcode, 0);
	made_opt(&a, 1232, 0);
	world_answer(up, a.buf, a.len);
}

static void
an_answer_with_opt_begins_the_count_again(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned round = 0; round < 5; round++) {
		refuse_opt(0, PLAIN_AFTER - 1);
		ask(&world.udp, 1, 6, "example.com");
		answer_with_opt(0, round % 2 == 0 ? DNS_NOERROR : DNS_FORMERR);
	}
	/* It knows OPT, whatever it did not like before. */
	refuse_opt(0, PLAIN_AFTER - 1);
	ask(&world.udp, 1, 6, "example.com");
	answer(0, 0, DNS_FORMERR, 0);
	assert_false(has_opt(&world.up[0].sent[0]));
	answer_with_opt(0, DNS_NOERROR);
	assert_true(offers_opt(0));
	/* One that does not mind the OPT, though it sends none, does not refuse it either. */
	refuse_opt(0, PLAIN_AFTER - 1);
	assert_true(offers_opt(0));
	refuse_opt(0, PLAIN_AFTER - 1);
	assert_true(offers_opt(0));
}

/* What the upstream refuses may be the subnet, which is the client's choice: no client can switch off
 * OPT, and the padding in it, for all. */
static void
questions_with_a_client_subnet_teach_nothing(void **state)
{
	(void)state;
	world_start(64, 1);
	for (unsigned i = 0; i < 3 * PLAIN_AFTER; i++) {
		made_init(&m, 5, DNS_RD);
		made_question(&m, "example.com", TYPE_A, CLASS_IN);
		made_opt(&m, 1232, 0);
		made_option(&m, EDNS_ECS, "\0\1\30\0\300\0\2", 7);
		world_ask(&world.udp, 1, m.buf, m.len);
		assert_true(has_opt(&world.up[0].sent[0]));
		answer(0, 0, DNS_FORMERR, 0);
		assert_false(has_opt(&world.up[0].sent[0]));
		answer(0, 0, DNS_NOERROR, 1);
		assert_reply(&world.udp, 1, 5, DNS_NOERROR, 1);
	}
	assert_true(offers_opt(0));
}

/* RFC 7871 section 6: it never becomes a query. */
static void
a_malformed_client_subnet_reaches_nobody(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 5, DNS_RD);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	made_opt(&m, 1232, 0);
	made_option(&m, EDNS_ECS, "\0\7\30\0\300\0\2", 7);
	world_ask(&world.udp, 1, m.buf, m.len);
	assert_reply(&world.udp, 1, 5, DNS_FORMERR, 0);
	assert_int_not_equal(read_reply(&world.udp).opt_len, 0);
	assert_int_equal(world.up[0].offered, 0);
	assert_int_equal(count()->refused, 1);
}

/* They left without OPT because of what was known then: their answers are no news. */
static void
questions_without_opt_on_their_way_do_not_renew_what_was_learnt(void **state)
{
	(void)state;
	world_start(64, 1);
	refuse_opt(0, PLAIN_AFTER);
	world_pass(DOT_PLAIN_MS - 10);
	for (unsigned i = 0; i < 2 * PLAIN_AFTER; i++)
		ask(&world.udp, i, i, world_name());
	world_pass(20);
	while (world.up[0].count > 0) {
		assert_false(has_opt(&world.up[0].sent[0]));
		answer(0, 0, DNS_NOERROR, 1);
	}
	assert_true(offers_opt(0));
	assert_true(world.proxy.plain_until[0] < world.now);
}

static void
each_upstream_is_learnt_about_for_itself(void **state)
{
	(void)state;
	world_start(64, 2);
	refuse_opt(0, PLAIN_AFTER - 1);
	world.up[0].verdict = UPSTREAM_DOWN;
	refuse_opt(1, PLAIN_AFTER - 1);
	world.up[0].verdict = UPSTREAM_TAKEN;
	refuse_opt(0, 1);
	assert_false(offers_opt(0));
	world.up[0].verdict = UPSTREAM_DOWN;
	assert_true(offers_opt(1));
}

static void
a_first_question_without_opt_is_not_one_asked_again(void **state)
{
	uint64_t again;

	(void)state;
	world_start(64, 1);
	refuse_opt(0, PLAIN_AFTER);
	again = count()->again;
	assert_int_equal(again, PLAIN_AFTER);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.udp, 1, 6, "example.com");
	world_ready(0);
	assert_false(has_opt(&world.up[0].sent[0]));
	assert_int_equal(count()->again, again);
}

static void
formerr_to_a_question_without_opt_is_the_answer(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 5, "example.com");
	answer(0, 0, DNS_FORMERR, 0);
	answer(0, 0, DNS_FORMERR, 0);
	assert_reply(&world.udp, 1, 5, DNS_FORMERR, 0);
	assert_int_equal(world.up[0].taken, 2);
	/* It was the question that it did not like, not our OPT; however often. */
	for (unsigned i = 0; i < 2 * PLAIN_AFTER; i++) {
		ask(&world.udp, 1, 6, "example.com");
		assert_true(has_opt(&world.up[0].sent[0]));
		answer(0, 0, DNS_FORMERR, 0);
		answer(0, 0, DNS_FORMERR, 0);
	}
}

static void
formerr_with_an_opt_is_the_answer(void **state)
{
	struct world_sent s;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 5, "example.com");
	s = world_take(0, 0);
	make_answer(&s, DNS_FORMERR, 0);
	made_opt(&a, 1232, 0);
	world_answer(0, a.buf, a.len);
	assert_reply(&world.udp, 1, 5, DNS_FORMERR, 0);
	assert_int_equal(world.up[0].taken, 1);
}

static void
a_signed_query_is_never_asked_without_opt(void **state)
{
	(void)state;
	world_start(64, 1);
	made_init(&m, 5, DNS_RD);
	made_question(&m, "example.com", TYPE_A, CLASS_IN);
	made_rr(&m, MADE_ADDITIONAL, "key.example", DNS_TYPE_TSIG, 255, 0);
	made_rdata_name(&m, "hmac-sha256");
	world_ask(&world.tcp, 1, m.buf, m.len);
	assert_int_equal(world.up[0].sent[0].len, m.len);
	assert_memory_equal(world.up[0].sent[0].msg + 2, m.buf + 2, m.len - 2);
	answer(0, 0, DNS_FORMERR, 0);
	assert_reply(&world.tcp, 1, 5, DNS_FORMERR, 0);
	assert_int_equal(world.up[0].taken, 1);
}

/* Both left with an OPT before it was known that the upstream refuses it. */
static void
all_that_were_on_their_way_with_opt_are_asked_without(void **state)
{
	struct world_sent first, second;

	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "one.example");
	ask(&world.udp, 2, 2, "two.example");
	first = world_take(0, 0);
	second = world_take(0, 0);
	make_answer(&first, DNS_FORMERR, 0);
	world_answer(0, a.buf, a.len);
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(world.udp.replies, 1);
	make_answer(&second, DNS_FORMERR, 0);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 1);
	assert_int_equal(world.up[0].count, 1);
	answer(0, 0, DNS_NOERROR, 1);
	assert_reply(&world.udp, 2, 2, DNS_NOERROR, 1);
}

/* One of two hedged upstreams refuses OPT: that says nothing about the other. */
static void
who_refuses_opt_is_remembered_not_who_answers(void **state)
{
	(void)state;
	world_start(64, 2);
	ask(&world.udp, 1, 1, "example.com");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	answer(0, 0, DNS_FORMERR, 0);
	answer(1, 0, DNS_NOERROR, 1);
	assert_int_equal(world.udp.replies, 1);
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 1, 2, "example.com");
	assert_int_equal(world.up[1].count, 1);
	assert_true(has_opt(&world.up[1].sent[0]));
}

/* It refuses the OPT and cannot be asked at once: the question is not lost. */
static void
asked_without_opt_it_may_have_to_wait(void **state)
{
	(void)state;
	world_start(64, 1);
	ask(&world.udp, 1, 1, "example.com");
	world.up[0].verdict = UPSTREAM_SOON;
	answer(0, 0, DNS_FORMERR, 0);
	assert_int_equal(world.udp.replies, 0);
	world_ready(0);
	assert_int_equal(world.up[0].count, 1);
	assert_false(has_opt(&world.up[0].sent[0]));
	answer(0, 0, DNS_NOERROR, 1);
	assert_int_equal(count()->answered, 1);
}

/* ---- Without any ------------------------------------------------------------------------------ */

static int
fill_nothing(void *buf, size_t len)
{
	(void)buf;
	(void)len;
	return -1;
}

static void
one_that_takes_questions_again_without_a_word_gets_all_that_wait(void **state)
{
	(void)state;
	world_start(64, 1);
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 0, 0, world_name());
	world_pass(POOL_WAKE_MS - 100);
	for (uint32_t i = 1; i < 3; i++)
		ask(&world.udp, i, i, world_name());
	world.up[0].verdict = UPSTREAM_TAKEN;
	world_pass(100);
	assert_int_equal(world.up[0].count, 3);
}

static void
without_entropy_it_is_servfail_at_once(void **state)
{
	(void)state;
	world_start(64, 1);
	world.proxy.table.fill = fill_nothing;
	ask(&world.udp, 1, 1, "example.com");
	assert_reply(&world.udp, 1, 1, DNS_SERVFAIL, 0);
	assert_int_equal(count()->refused, 1);
	assert_int_equal(world.up[0].offered, 0);
}

/* An answer whose names cannot be moved safely is not passed on changed. */
static void
an_answer_that_cannot_be_edited_is_servfail(void **state)
{
	struct world_sent s;
	size_t behind;

	(void)state;
	world_start(64, 1);
	ask_with_opt(&world.udp, 1, 5, "example.com", 1232);
	s = world_take(0, 0);
	make_answer(&s, DNS_NOERROR, 1);
	made_opt(&a, 1232, 0);
	behind = made_a(&a, MADE_ADDITIONAL, "mail.example", 1);
	made_rr(&a, MADE_ADDITIONAL, "12>", 2, 1, 300);
	made_u16(&a, 0xc000u | (unsigned)behind);
	made_rdlen(&a);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.udp.replies, 1);
	assert_reply(&world.udp, 1, 5, DNS_SERVFAIL, 0);
	assert_int_equal(count()->failed, 1);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_response_is_dropped),
		cmocka_unit_test(less_than_a_header_is_dropped),
		cmocka_unit_test(a_broken_message_is_formerr_at_once),
		cmocka_unit_test(an_unknown_opcode_is_notimp),
		cmocka_unit_test(a_zone_transfer_is_refused),
		cmocka_unit_test(not_allowed_is_refused),
		cmocka_unit_test(any_prefix_of_the_list_allows),
		cmocka_unit_test(table_full_is_servfail_at_once),
		cmocka_unit_test(one_client_alone_does_not_lock_out_another),
		cmocka_unit_test(a_question_goes_out_with_an_id_of_ours_and_comes_back_with_its_own),
		cmocka_unit_test(equal_ids_of_many_clients_do_not_meet),
		cmocka_unit_test(the_client_gets_the_spelling_it_sent),
		cmocka_unit_test(every_rcode_is_an_answer),
		cmocka_unit_test(a_client_without_opt_gets_none),
		cmocka_unit_test(a_client_with_opt_gets_ours_and_extended_errors_only),
		cmocka_unit_test(keepalive_is_said_to_stream_clients_that_ask),
		cmocka_unit_test(an_upstreams_keepalive_reaches_its_transport),
		cmocka_unit_test(a_datagram_is_cut_to_what_its_client_takes),
		cmocka_unit_test(a_stream_client_gets_it_whole),
		cmocka_unit_test(the_first_upstream_that_is_not_down_is_asked),
		cmocka_unit_test(a_query_waits_for_an_upstream_that_is_soon_ready),
		cmocka_unit_test(waiting_queries_go_out_in_order_of_age),
		cmocka_unit_test(an_upstream_that_takes_no_more_is_not_pressed),
		cmocka_unit_test(a_query_waits_when_all_are_down_and_goes_to_who_comes_back),
		cmocka_unit_test(an_upstream_that_cannot_connect_hands_on_to_the_next),
		cmocka_unit_test(who_waits_for_a_connection_is_offered_to_the_next_after_a_while),
		cmocka_unit_test(an_upstream_that_failed_before_is_not_waited_for_alone),
		cmocka_unit_test(who_hopes_for_one_that_failed_before_is_offered_to_others_too),
		cmocka_unit_test(while_all_are_down_who_waits_tries_again_now_and_then),
		cmocka_unit_test(who_waits_alone_wakes_an_upstream_each_second),
		cmocka_unit_test(an_upstream_that_is_ready_and_then_is_not_strands_nobody),
		cmocka_unit_test(an_upstream_that_has_to_connect_does_not_hold_the_others_up),
		cmocka_unit_test(while_all_rest_a_query_wakes_one),
		cmocka_unit_test(one_is_woken_once_a_second_at_most_and_in_turn),
		cmocka_unit_test(a_single_query_that_waits_wakes_them_one_after_the_other),
		cmocka_unit_test(nobody_is_woken_while_another_may_help),
		cmocka_unit_test(who_failed_before_keeps_nobody_asleep),
		cmocka_unit_test(while_one_takes_long_to_connect_another_is_woken),
		cmocka_unit_test(without_any_upstream_it_is_servfail_in_time),
		cmocka_unit_test(an_upstream_that_loses_half_of_its_questions_starves_nobody),
		cmocka_unit_test(servfail_and_refused_are_asked_of_another),
		cmocka_unit_test(what_an_upstream_says_of_the_name_is_final),
		cmocka_unit_test(one_upstream_alone_has_the_last_word),
		cmocka_unit_test(where_all_say_servfail_it_is_servfail),
		cmocka_unit_test(a_sour_answer_is_passed_on_at_once_where_nobody_else_can_be_asked),
		cmocka_unit_test(a_sour_answer_wakes_another_that_rests),
		cmocka_unit_test(a_sour_answer_waits_a_little_for_who_failed_before),
		cmocka_unit_test(a_sour_answer_waits_a_little_for_who_was_lost),
		cmocka_unit_test(silence_wakes_another_that_rests),
		cmocka_unit_test(a_sour_answer_waits_a_little_for_a_connection),
		cmocka_unit_test(at_the_deadline_the_first_sour_answer_is_given),
		cmocka_unit_test(a_sour_answer_is_forgotten_with_its_query),
		cmocka_unit_test(a_sour_answer_to_a_hedged_query_waits_for_the_other),
		cmocka_unit_test(who_gave_a_sour_answer_is_not_asked_again),
		cmocka_unit_test(the_time_of_an_answer_is_measured),
		cmocka_unit_test(waiting_for_a_connection_is_not_measured),
		cmocka_unit_test(a_late_answer_is_measured_too),
		cmocka_unit_test(what_the_same_upstream_was_asked_twice_is_not_measured),
		cmocka_unit_test(of_two_that_were_asked_at_different_times_the_later_is_measured),
		cmocka_unit_test(a_strangers_answer_is_not_measured),
		cmocka_unit_test(the_fastest_is_found_and_asked),
		cmocka_unit_test(the_others_are_looked_into_now_and_then),
		cmocka_unit_test(order_looks_into_nobody),
		cmocka_unit_test(who_has_to_connect_first_is_looked_into_by_a_later_query),
		cmocka_unit_test(who_is_down_is_passed_over),
		cmocka_unit_test(a_query_that_waits_looks_into_nobody),
		cmocka_unit_test(who_is_asked_anyway_is_looked_into_by_that),
		cmocka_unit_test(a_query_that_looks_into_another_waits_for_one_answer),
		cmocka_unit_test(a_lost_connection_is_asked_again_once),
		cmocka_unit_test(asked_again_it_is_the_same_question_with_the_same_id),
		cmocka_unit_test(a_connection_that_hands_over_goes_to_the_next_upstream),
		cmocka_unit_test(tries_are_bounded),
		cmocka_unit_test(a_question_that_ends_connections_is_asked_of_all),
		cmocka_unit_test(lost_twice_it_goes_to_the_next_upstream),
		cmocka_unit_test(who_has_no_tries_left_is_not_looked_at_again),
		cmocka_unit_test(a_loss_touches_only_what_that_upstream_had),
		cmocka_unit_test(a_hundred_open_questions_survive_one_loss),
		cmocka_unit_test(whose_silent_connection_is_lost_is_preferred_again),
		cmocka_unit_test(what_is_lost_goes_to_others_before_who_was_silent),
		cmocka_unit_test(hedge_asks_the_second_upstream),
		cmocka_unit_test(with_one_upstream_nothing_is_hedged),
		cmocka_unit_test(a_hedged_query_outlives_one_loss),
		cmocka_unit_test(hedge_reaches_an_upstream_that_has_to_connect_first),
		cmocka_unit_test(hedge_goes_to_whoever_is_ready_first),
		cmocka_unit_test(hedge_does_not_ask_the_same_upstream_twice),
		cmocka_unit_test(questions_of_a_silent_upstream_go_to_the_next_at_once),
		cmocka_unit_test(an_answer_ends_the_doubt),
		cmocka_unit_test(ready_ends_the_doubt),
		cmocka_unit_test(a_stranger_ends_no_doubt),
		cmocka_unit_test(on_a_connection_that_stays_nothing_is_sent_twice),
		cmocka_unit_test(on_a_connection_that_takes_over_it_is_asked_once_more),
		cmocka_unit_test(who_is_kept_is_not_asked_once_more),
		cmocka_unit_test(who_is_kept_gets_what_hoped_for_it),
		cmocka_unit_test(a_suspected_question_goes_to_whoever_is_ready_first),
		cmocka_unit_test(a_question_that_two_silent_upstreams_have_is_asked_anew),
		cmocka_unit_test(a_question_in_good_hands_is_not_moved),
		cmocka_unit_test(whose_answer_came_gets_no_question_more),
		cmocka_unit_test(a_sour_answer_does_not_wait_for_a_silent_upstream),
		cmocka_unit_test(hedges_are_a_burst_and_one_in_ten_queries),
		cmocka_unit_test(who_gets_no_hedge_at_once_gets_one_later),
		cmocka_unit_test(what_cannot_be_hedged_uses_nothing_up),
		cmocka_unit_test(who_was_down_when_a_hedge_was_due_is_asked_when_it_is_back),
		cmocka_unit_test(a_hedge_that_comes_to_nothing_is_followed_by_another),
		cmocka_unit_test(a_hedge_that_comes_to_nothing_may_go_to_the_same_upstream_later),
		cmocka_unit_test(a_hedge_to_an_upstream_that_failed_before_counts),
		cmocka_unit_test(a_hedge_is_due_after_the_time_of_the_upstream_that_has_it),
		cmocka_unit_test(without_queries_nothing_is_due),
		cmocka_unit_test(servfail_comes_within_four_seconds),
		cmocka_unit_test(servfail_says_what_the_trouble_is),
		cmocka_unit_test(servfail_is_silent_about_upstreams_that_were_not_tried),
		cmocka_unit_test(servfail_while_an_upstream_has_the_question_says_so),
		cmocka_unit_test(servfail_to_a_client_without_opt_has_none),
		cmocka_unit_test(each_query_has_a_deadline_of_its_own),
		cmocka_unit_test(a_leap_of_time_fails_what_is_overdue),
		cmocka_unit_test(late_answer_meets_nobody),
		cmocka_unit_test(doubled_answer_is_ignored),
		cmocka_unit_test(wrong_question_is_ignored),
		cmocka_unit_test(wrong_id_is_ignored),
		cmocka_unit_test(an_answer_of_an_upstream_that_was_not_asked_is_ignored),
		cmocka_unit_test(an_answer_of_a_lost_connection_is_ignored),
		cmocka_unit_test(a_query_from_an_upstream_is_ignored),
		cmocka_unit_test(a_cut_answer_is_ignored),
		cmocka_unit_test(an_answer_without_a_question_is_taken_for_errors_only),
		cmocka_unit_test(forget_makes_gone),
		cmocka_unit_test(forgotten_queries_are_not_asked_again),
		cmocka_unit_test(late_queries_can_be_forgotten_too),
		cmocka_unit_test(an_upstream_that_refuses_opt_is_asked_without),
		cmocka_unit_test(that_it_refuses_opt_is_no_try),
		cmocka_unit_test(that_it_refuses_opt_is_remembered_for_a_while),
		cmocka_unit_test(that_it_refuses_opt_is_learnt_from_several_questions),
		cmocka_unit_test(an_answer_with_opt_begins_the_count_again),
		cmocka_unit_test(questions_with_a_client_subnet_teach_nothing),
		cmocka_unit_test(a_malformed_client_subnet_reaches_nobody),
		cmocka_unit_test(questions_without_opt_on_their_way_do_not_renew_what_was_learnt),
		cmocka_unit_test(each_upstream_is_learnt_about_for_itself),
		cmocka_unit_test(a_first_question_without_opt_is_not_one_asked_again),
		cmocka_unit_test(formerr_to_a_question_without_opt_is_the_answer),
		cmocka_unit_test(formerr_with_an_opt_is_the_answer),
		cmocka_unit_test(a_signed_query_is_never_asked_without_opt),
		cmocka_unit_test(all_that_were_on_their_way_with_opt_are_asked_without),
		cmocka_unit_test(who_refuses_opt_is_remembered_not_who_answers),
		cmocka_unit_test(asked_without_opt_it_may_have_to_wait),
		cmocka_unit_test(one_that_takes_questions_again_without_a_word_gets_all_that_wait),
		cmocka_unit_test(without_entropy_it_is_servfail_at_once),
		cmocka_unit_test(an_answer_that_cannot_be_edited_is_servfail),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, stop);
}
