/* SPDX-License-Identifier: MIT */
/* Who asks what is on its way already shares its answer: see QUERY_TWIN in query.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define LAW(holds) assert_true(holds)
#include "proxy_world.h"

#define TYPE_A 1
#define TYPE_AAAA 28
#define CLASS_IN 1
#define CLASS_CH 3

static struct made m, a;

static struct proxy_counters *
count(void)
{
	return &world.proxy.count;
}

/* ---- All replies, in the order they came ------------------------------------------------------ */

#define REPLIES 2048

static struct reply {
	const struct world_listener *via;
	uint32_t token;
	size_t len;
	uint8_t msg[1400];
} got[REPLIES];
static unsigned gots;

static void
keep_reply(struct world_listener *l, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct reply *r = &got[gots++];

	assert_true(gots <= REPLIES && len <= sizeof(r->msg));
	r->via = l;
	r->token = to->token;
	r->len = len;
	memcpy(r->msg, msg, len);
}

static void
start(uint32_t slots, unsigned ups)
{
	world_start(slots, ups);
	world.on_reply = keep_reply;
	gots = 0;
}

static void
assert_got(unsigned i, uint32_t token, unsigned id, unsigned rcode)
{
	assert_true(i < gots);
	assert_int_equal(got[i].token, token);
	assert_int_equal(dns_id(got[i].msg), id);
	assert_int_equal(dns_rcode(got[i].msg), rcode);
}

/* The INFO-CODE of its Extended DNS Error; -1 = it has none, -2 = it has no OPT. */
static int
error_code_of(const struct reply *r)
{
	struct edns_answer e;

	assert_int_equal(edns_read_answer(r->msg, r->len, &e), 0);
	return e.opt_len == 0 ? -2 : e.ede;
}

/* ---- Asking and answering --------------------------------------------------------------------- */

static void
make(unsigned id, const char *name)
{
	made_init(&m, id, DNS_RD);
	made_question(&m, name, TYPE_A, CLASS_IN);
}

static void
send_made(struct world_listener *via, uint32_t token)
{
	assert_true(world_ask(via, token, m.buf, m.len));
}

static void
ask(struct world_listener *via, uint32_t token, unsigned id, const char *name)
{
	make(id, name);
	send_made(via, token);
}

static void
ask_with_opt(struct world_listener *via, uint32_t token, unsigned id, const char *name, unsigned size)
{
	make(id, name);
	made_opt(&m, size, 0);
	send_made(via, token);
}

static void
make_answer(const struct world_sent *s, unsigned rcode, unsigned answers)
{
	struct dns_question q;

	assert_int_equal(dns_read_question(s->msg, s->len, &q), 0);
	made_init(&a, dns_id(s->msg), DNS_QR | DNS_RD | DNS_RA | rcode);
	made_octets(&a, s->msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	while (answers-- > 0)
		made_a(&a, MADE_ANSWER, "12>", 0x01020304);
}

static void
answer(unsigned up, unsigned rcode, unsigned answers)
{
	struct world_sent s = world_take(up, 0);

	make_answer(&s, rcode, answers);
	world_answer(up, a.buf, a.len);
}

static void
all_down(void)
{
	for (unsigned u = 0; u < world.proxy.ups; u++)
		world.up[u].verdict = UPSTREAM_DOWN;
}

/* ---- One question, many answers --------------------------------------------------------------- */

/* The n-th spelling of the same name. */
static const char *
spelling(unsigned n)
{
	static char name[] = "cold.name.example";

	for (unsigned i = 0, letter = 0; name[i] != '\0'; i++)
		if (name[i] != '.')
			name[i] = (char)(n >> letter++ % 16 & 1 ? name[i] & ~0x20 : name[i] | 0x20);
	return name;
}

#define CROWD 1000u
#define ROWS 40u /* of an answer that fits into 1,232 octets, and not into 512 */

/* What the n-th of the crowd takes: 0 = all, it came over TCP. */
static unsigned
size_of(unsigned n)
{
	static const unsigned size[] = {512, 1232, 4096, 0};

	return size[n % 4];
}

static void
a_thousand_clients_cause_one_question(void **state)
{
	(void)state;
	start(2048, 2);
	for (unsigned i = 0; i < CROWD; i++) {
		make(0xffff - 7 * i, spelling(i));
		if (i % 8 >= 4 || size_of(i) > 512)
			made_opt(&m, size_of(i), 0);
		send_made(size_of(i) == 0 ? &world.tcp : &world.udp, i);
	}
	assert_int_equal(world.up[0].taken + world.up[1].taken, 1);
	assert_int_equal(count()->joined, CROWD - 1);
	assert_int_equal(gots, 0);
	answer(0, DNS_NOERROR, ROWS);
	assert_int_equal(gots, CROWD);
	for (unsigned i = 0; i < CROWD; i++) {
		bool cut = size_of(i) == 512, opt = i % 8 >= 4 || size_of(i) > 512;

		make(0, spelling(i));
		assert_got(i, i, 0xffff - 7 * i, DNS_NOERROR);
		assert_ptr_equal(got[i].via, size_of(i) == 0 ? &world.tcp : &world.udp);
		assert_memory_equal(got[i].msg + DNS_HEADER, m.buf + DNS_HEADER, m.len - DNS_HEADER);
		assert_int_equal((dns_flags(got[i].msg) & DNS_TC) != 0, cut);
		assert_true(!cut || got[i].len <= 512);
		assert_int_equal(dns_ancount(got[i].msg), cut ? 0 : ROWS);
		assert_int_equal(error_code_of(&got[i]), opt ? -1 : -2);
	}
	assert_int_equal(world.proxy.table.open + world.proxy.table.spent, 0);
	/* The next one is a question of its own. */
	ask(&world.udp, 1, 1, "cold.name.example");
	assert_int_equal(world.up[0].taken, 2);
}

/* ---- What is the same, and what is not -------------------------------------------------------- */

enum odd {
	PLAIN,
	SPELLING,
	OPT,
	OPT_SIZE,
	OPT_Z,
	OPT_PADDING,
	OPT_COOKIE,
	OPT_KEEPALIVE,
	OPT_UNKNOWN,
	OPT_LONG,
	SAME, /* all before this one are the same question, */
	CD = SAME,
	DO,
	RD,
	AD,
	Z,
	AA,
	TC,
	RA,
	RCODE,
	CLASS,
	TYPE,
	NAME,
	LONGER_NAME,
	ALONE, /* these are only the same as themselves, and those not even that */
	ECS = ALONE,
	ADDITIONAL,
	ANSWER,
	TSIG,
	ODDS
};

static void
make_odd(enum odd odd)
{
	static const uint8_t octets[600];
	static const uint16_t flag[] = {[CD] = DNS_CD, [AD] = DNS_AD, [Z] = 0x40,  [AA] = 0x400,
					[TC] = DNS_TC, [RA] = DNS_RA, [RCODE] = 5, [RD] = DNS_RD};

	made_init(&m, 1000u + odd, (unsigned)(DNS_RD ^ (odd >= CD && odd <= RCODE ? flag[odd] : 0)));
	made_question(&m,
		      odd == SPELLING	   ? "WwW.example"
		      : odd == NAME	   ? "wwx.example"
		      : odd == LONGER_NAME ? "www.example.com"
					   : "www.example",
		      odd == TYPE ? TYPE_AAAA : TYPE_A, odd == CLASS ? CLASS_CH : CLASS_IN);
	if (odd == ADDITIONAL)
		made_a(&m, MADE_ADDITIONAL, "www.example", 1);
	if (odd == ANSWER)
		made_a(&m, MADE_ANSWER, "www.example", 1);
	if (odd == TSIG) {
		made_rr(&m, MADE_ADDITIONAL, "key.example", DNS_TYPE_TSIG, 255, 0);
		made_rdata_name(&m, "hmac-sha256");
	}
	if ((odd >= OPT && odd < SAME) || odd == DO || odd == ECS)
		made_opt(&m, odd == OPT_SIZE ? 4096 : 1232, odd == DO ? EDNS_DO : odd == OPT_Z ? 0x4001 : 0);
	if (odd == OPT_PADDING || odd == OPT_LONG)
		made_option(&m, EDNS_PADDING, octets, odd == OPT_LONG ? 600 : 60);
	if (odd == OPT_COOKIE)
		made_option(&m, EDNS_COOKIE, "12345678", 8);
	if (odd == OPT_KEEPALIVE)
		made_option(&m, EDNS_KEEPALIVE, NULL, 0);
	if (odd == OPT_UNKNOWN)
		made_option(&m, 65001, "unknown", 7);
	if (odd == ECS)
		made_option(&m, EDNS_ECS, "\0\1\x18\0\xc0\0\2", 7);
}

static bool
are_the_same(enum odd one, enum odd other)
{
	if (one < SAME && other < SAME)
		return true;
	return one == other && one < ALONE;
}

static void
only_who_asks_the_same_shares_an_answer(void **state)
{
	(void)state;
	for (unsigned one = 0; one < ODDS; one++)
		for (unsigned other = 0; other < ODDS; other++) {
			bool same = are_the_same((enum odd)one, (enum odd)other);

			start(64, 1);
			make_odd((enum odd)one);
			send_made(&world.udp, 1);
			make_odd((enum odd)other);
			send_made(&world.udp, 2);
			if (world.up[0].taken != (same ? 1 : 2))
				print_error("%u and %u\n", one, other);
			assert_int_equal(world.up[0].taken, same ? 1 : 2);
			assert_int_equal(count()->joined, same ? 1 : 0);
			while (world.up[0].count > 0)
				answer(0, DNS_NOERROR, 1);
			assert_got(0, 1, 1000 + one, DNS_NOERROR);
			assert_got(1, 2, 1000 + other, DNS_NOERROR);
		}
}

/* Whoever is first: what goes upstream has no more than the question, the flags and DO of all. */
static void
what_goes_out_is_the_same_whoever_was_first(void **state)
{
	struct world_sent first;

	(void)state;
	for (unsigned odd = 0; odd < SAME; odd++) {
		start(64, 1);
		make_odd((enum odd)odd);
		send_made(&world.udp, 1);
		put16(world.up[0].sent[0].msg, 0);
		if (odd == SPELLING)
			world.up[0].sent[0].msg[13] ^= 0x20, world.up[0].sent[0].msg[15] ^= 0x20;
		if (odd == 0)
			first = world.up[0].sent[0];
		assert_int_equal(world.up[0].sent[0].len, first.len);
		assert_memory_equal(world.up[0].sent[0].msg, first.msg, first.len);
	}
}

static void
each_flag_comes_back_to_who_sent_it(void **state)
{
	(void)state;
	start(64, 1);
	for (unsigned i = 0; i < 4; i++) {
		made_init(&m, i, DNS_RD | (i & 1 ? DNS_CD : 0));
		made_question(&m, "www.example", TYPE_A, CLASS_IN);
		if (i & 2)
			made_opt(&m, 1232, EDNS_DO);
		send_made(&world.udp, i);
		send_made(&world.tcp, i + 4);
	}
	assert_int_equal(world.up[0].taken, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct world_sent *s = &world.up[0].sent[i];
		struct edns_facts f;
		enum dns_rcode rcode;
		enum edns_ede ede;

		assert_int_equal(edns_read_query(s->msg, s->len, &f, &rcode, &ede), EDNS_FORWARD);
		assert_int_equal(f.dnssec_ok, i / 2);
		assert_int_equal((dns_flags(s->msg) & DNS_CD) != 0, i & 1);
	}
	/* Errors of our own repeat RD and CD. */
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(gots, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal((dns_flags(got[i].msg) & DNS_CD) != 0, dns_id(got[i].msg) & 1);
}

/* ---- For how long ----------------------------------------------------------------------------- */

static void
who_asks_later_than_a_second_asks_anew(void **state)
{
	(void)state;
	start(64, 1);
	ask(&world.udp, 1, 1, "www.example");
	world_pass(QUERY_JOIN_MS);
	ask(&world.udp, 2, 2, "www.example");
	assert_int_equal(world.up[0].taken, 1);
	world_pass(1);
	ask(&world.udp, 3, 3, "www.example");
	assert_int_equal(world.up[0].taken, 2);
	/* From then on the younger one is joined. */
	ask(&world.udp, 4, 4, "www.example");
	assert_int_equal(world.up[0].taken, 2);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 2);
	assert_got(1, 2, 2, DNS_NOERROR);
	answer(0, DNS_NOERROR, 1);
	assert_got(2, 3, 3, DNS_NOERROR);
	assert_got(3, 4, 4, DNS_NOERROR);
}

/* The second counts from when it was asked first, however often clients come and go meanwhile. */
static void
a_question_is_not_kept_alive_by_those_who_join(void **state)
{
	(void)state;
	start(64, 1);
	for (unsigned i = 0; i <= 10; i++) {
		ask(&world.tcp, i, i, "www.example");
		if (i > 0)
			world_forget(&world.tcp, i - 1);
		assert_int_equal(world.up[0].taken, 1);
		if (i < 10)
			world_pass(QUERY_JOIN_MS / 10);
	}
	world_pass(1);
	ask(&world.tcp, 11, 11, "www.example");
	assert_int_equal(world.up[0].taken, 2);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 1);
	assert_got(0, 10, 10, DNS_NOERROR);
}

/* ---- Clients that go -------------------------------------------------------------------------- */

static void
the_first_client_goes_and_the_answer_is_for_the_others(void **state)
{
	struct world_sent s;

	(void)state;
	start(64, 1);
	for (unsigned i = 0; i < 4; i++)
		ask(i == 2 ? &world.udp : &world.tcp, i, i, spelling(i));
	s = world.up[0].sent[0];
	for (unsigned i = 0; i < 2; i++) {
		world_forget(&world.tcp, i);
		assert_int_equal(count()->gone, i + 1);
		assert_int_equal(world.proxy.table.open, 3 - i);
		assert_int_equal(world.proxy.table.spent, 0);
		assert_non_null(query_by_id(&world.proxy.table, dns_id(s.msg)));
	}
	assert_int_equal(world.up[0].taken, 1);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 2);
	assert_got(0, 2, 2, DNS_NOERROR);
	assert_got(1, 3, 3, DNS_NOERROR);
	make(0, spelling(3));
	assert_memory_equal(got[1].msg + DNS_HEADER, m.buf + DNS_HEADER, m.len - DNS_HEADER);
}

static void
a_twin_goes_and_the_others_do_not_notice(void **state)
{
	(void)state;
	for (unsigned gone = 1; gone < 4; gone++) {
		start(64, 1);
		for (unsigned i = 0; i < 4; i++)
			ask(&world.tcp, i, i, "www.example");
		world_forget(&world.tcp, gone);
		assert_int_equal(count()->gone, 1);
		ask(&world.tcp, 4, 4, "www.example");
		answer(0, DNS_NOERROR, 1);
		assert_int_equal(gots, 4);
		for (unsigned i = 0; i < 4; i++)
			assert_got(i, i + (i >= gone), i + (i >= gone), DNS_NOERROR);
	}
}

/* One connection may ask the same again and again, with others between. */
static void
all_that_one_connection_asked_goes_with_it(void **state)
{
	(void)state;
	for (unsigned pattern = 0; pattern < 256; pattern++) {
		unsigned gone = 0, left = 0;

		start(64, 1);
		for (unsigned i = 0; i < 8; i++) {
			bool goes = pattern >> i & 1;

			ask(&world.tcp, goes ? 77 : i, i, i % 3 == 2 ? "other.example" : "www.example");
			gone += goes;
		}
		world_forget(&world.tcp, 77);
		assert_int_equal(count()->gone, gone);
		assert_int_equal(world.proxy.table.open, 8 - gone);
		while (world.up[0].count > 0)
			answer(0, DNS_NOERROR, 1);
		assert_int_equal(gots, 8 - gone);
		for (unsigned i = 0; i < gots; i++)
			left |= 1u << dns_id(got[i].msg);
		assert_int_equal(left, ~pattern & 255);
		assert_int_equal(world.proxy.table.open + world.proxy.table.spent, 0);
	}
}

/* Nobody is left: the late answer meets nobody, and who asks now is no twin of it. */
static void
with_the_last_client_the_question_is_spent(void **state)
{
	struct world_sent late;

	(void)state;
	start(64, 1);
	ask(&world.tcp, 1, 1, "www.example");
	ask(&world.tcp, 2, 2, "www.example");
	world_forget(&world.tcp, 1);
	world_forget(&world.tcp, 2);
	assert_int_equal(world.proxy.table.spent, 1);
	assert_int_equal(world.proxy.table.open, 0);
	late = world.up[0].sent[0];
	ask(&world.tcp, 3, 3, "www.example");
	assert_int_equal(world.up[0].taken, 2);
	assert_int_not_equal(dns_id(world.up[0].sent[1].msg), dns_id(late.msg));
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(count()->late, 1);
	assert_int_equal(gots, 0);
	answer(0, DNS_NOERROR, 2);
	assert_int_equal(gots, 1);
	assert_got(0, 3, 3, DNS_NOERROR);
	assert_int_equal(dns_ancount(got[0].msg), 2);
}

/* Of two that were asked one answers; the twins are served, and the other answer is late. */
static void
what_is_still_to_come_after_all_are_served_is_late(void **state)
{
	(void)state;
	start(64, 2);
	ask(&world.tcp, 1, 1, "www.example");
	ask(&world.tcp, 2, 2, "www.example");
	world_pass(POOL_HEDGE_DEFAULT_MS);
	assert_int_equal(world.up[1].count, 1);
	answer(1, DNS_NOERROR, 1);
	assert_int_equal(gots, 2);
	assert_int_equal(world.proxy.table.spent, 1);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(count()->late, 1);
	assert_int_equal(gots, 2);
	assert_int_equal(world.proxy.table.spent, 0);
}

/* ---- Deadlines -------------------------------------------------------------------------------- */

static void
each_twin_has_a_deadline_of_its_own(void **state)
{
	(void)state;
	start(64, 1);
	for (unsigned i = 0; i < 10; i++) {
		if (i % 2 == 0)
			ask(&world.udp, i, i, "www.example");
		else
			ask_with_opt(&world.udp, i, i, "www.example", 1232);
		world_pass(100);
	}
	for (unsigned i = 0; i < 10; i++) {
		world_pass(1000000 + i * 100 + QUERY_TIMEOUT_MS - 1 - world.now);
		assert_int_equal(gots, i);
		world_pass(1);
		assert_int_equal(gots, i + 1);
		assert_got(i, i, i, DNS_SERVFAIL);
		assert_int_equal(error_code_of(&got[i]), i % 2 == 0 ? -2 : EDE_NO_REACHABLE_AUTHORITY);
	}
	assert_int_equal(world.up[0].taken, 1);
	assert_int_equal(count()->failed, 10);
}

static void
a_twin_outlives_its_leader_and_is_answered(void **state)
{
	uint16_t id;

	(void)state;
	start(64, 1);
	ask(&world.udp, 1, 1, "www.example");
	world_pass(800);
	ask(&world.udp, 2, 2, "www.EXAMPLE");
	ask(&world.udp, 3, 3, "www.example");
	id = dns_id(world.up[0].sent[0].msg);
	world_pass(QUERY_TIMEOUT_MS - 800);
	assert_int_equal(gots, 1);
	assert_got(0, 1, 1, DNS_SERVFAIL);
	assert_non_null(query_by_id(&world.proxy.table, id));
	assert_int_equal(world.proxy.table.spent, 0);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 3);
	assert_got(1, 2, 2, DNS_NOERROR);
	assert_got(2, 3, 3, DNS_NOERROR);
	make(0, "www.EXAMPLE");
	assert_memory_equal(got[1].msg + DNS_HEADER, m.buf + DNS_HEADER, m.len - DNS_HEADER);
}

/* It waits for a connection, or has a hedge to come, at the time it would have had anyway. */
static void
who_goes_on_in_anothers_place_keeps_its_place_in_time(void **state)
{
	(void)state;
	start(64, 2);
	ask(&world.tcp, 1, 1, "www.example");
	world_pass(POOL_HEDGE_DEFAULT_MS - 10);
	ask(&world.tcp, 2, 2, "www.example");
	world_forget(&world.tcp, 1);
	world_pass(9);
	assert_int_equal(world.up[1].count, 0);
	world_pass(1);
	assert_int_equal(world.up[1].count, 1);
	assert_int_equal(count()->hedged, 1);
	start(64, 2);
	world.up[0].verdict = UPSTREAM_SOON;
	ask(&world.tcp, 1, 1, "www.example");
	world_pass(POOL_WAIT_MS - 1);
	ask(&world.tcp, 2, 2, "www.example");
	world_forget(&world.tcp, 1);
	assert_int_equal(world.up[1].count, 0);
	world_pass(1);
	assert_int_equal(world.up[1].count, 1);
	answer(1, DNS_NOERROR, 1);
	assert_got(0, 2, 2, DNS_NOERROR);
}

/* ---- Trouble upstream ------------------------------------------------------------------------- */

static void
a_sour_answer_to_twins_is_asked_of_another(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 4; gone++) {
		start(64, 2);
		for (unsigned i = 1; i <= 3; i++)
			ask(&world.tcp, i, i, "www.example");
		answer(0, DNS_SERVFAIL, 0);
		assert_int_equal(gots, 0);
		assert_int_equal(world.up[1].count, 1);
		assert_int_equal(count()->soured, 1);
		if (gone > 0)
			world_forget(&world.tcp, gone);
		answer(1, DNS_NOERROR, 1);
		assert_int_equal(gots, gone > 0 ? 2 : 3);
		for (unsigned i = 0; i < gots; i++)
			assert_int_equal(dns_rcode(got[i].msg), DNS_NOERROR);
		assert_int_equal(world.up[0].taken, 1);
	}
}

/* What the first said of the name, also when nobody else can be asked. */
static void
where_all_are_sour_each_twin_is_told_so(void **state)
{
	struct world_sent s;

	(void)state;
	start(64, 2);
	ask(&world.udp, 1, 1, "www.example");
	ask_with_opt(&world.udp, 2, 2, "www.example", 1232);
	s = world_take(0, 0);
	make_answer(&s, DNS_REFUSED, 0);
	made_opt(&a, 1232, 0);
	made_option(&a, EDNS_EDE, "\0\24", 2);
	world_answer(0, a.buf, a.len);
	assert_int_equal(world.up[1].count, 1);
	world_forget(&world.udp, 1);
	ask_with_opt(&world.udp, 3, 3, "www.example", 1232);
	ask(&world.udp, 4, 4, "www.example");
	all_down();
	world_lost(1, UPSTREAM_DOWN);
	assert_int_equal(gots, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_got(i, i + 2, i + 2, DNS_REFUSED);
		assert_int_equal(error_code_of(&got[i]), i < 2 ? 20 : -2);
	}
	assert_int_equal(count()->answered, 3);
	assert_int_equal(world.proxy.table.open, 0);
}

static void
where_nobody_can_be_asked_each_twin_is_told_why(void **state)
{
	(void)state;
	start(64, 1);
	world.up[0].up.trouble = "connection refused";
	all_down();
	ask(&world.udp, 1, 1, "www.example");
	ask_with_opt(&world.udp, 2, 2, "www.example", 1232);
	ask(&world.tcp, 3, 3, "www.example");
	world_pass(QUERY_TIMEOUT_MS);
	assert_int_equal(gots, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_got(i, i + 1, i + 1, DNS_SERVFAIL);
		assert_int_equal(error_code_of(&got[i]), i == 1 ? EDE_NETWORK_ERROR : -2);
	}
	assert_int_equal(count()->failed, 3);
}

static void
a_lost_connection_is_asked_again_for_all(void **state)
{
	uint16_t id;

	(void)state;
	for (unsigned gone = 0; gone < 3; gone++) {
		start(64, 1);
		ask(&world.tcp, 1, 1, "www.example");
		ask(&world.tcp, 2, 2, "www.example");
		id = dns_id(world.up[0].sent[0].msg);
		if (gone > 0)
			world_forget(&world.tcp, gone);
		world_lost(0, UPSTREAM_TAKEN);
		assert_int_equal(world.up[0].count, 1);
		assert_int_equal(dns_id(world.up[0].sent[0].msg), id);
		assert_int_equal(count()->again, 1);
		answer(0, DNS_NOERROR, 1);
		assert_int_equal(gots, gone > 0 ? 1 : 2);
	}
}

/* Who is lost with its twins must not take those behind it along. */
static void
a_loss_that_ends_twins_reaches_all_behind_them(void **state)
{
	(void)state;
	start(64, 2);
	ask(&world.udp, 1, 1, "sour.example");
	ask(&world.udp, 2, 2, "sour.example");
	ask(&world.udp, 3, 3, "sour.example");
	answer(0, DNS_SERVFAIL, 0);
	world.up[0].verdict = UPSTREAM_DOWN;
	ask(&world.udp, 4, 4, "www.example");
	ask(&world.udp, 5, 5, "www.example");
	assert_int_equal(world.up[1].count, 2);
	world_lost(1, UPSTREAM_DOWN);
	assert_int_equal(gots, 3);
	assert_int_equal(count()->answered, 3);
	assert_int_equal(query_first(&world.proxy.table, QUERY_LIST_OPEN)->state, QUERY_WAITING);
	world_ready(0);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 5);
	assert_got(3, 4, 4, DNS_NOERROR);
	assert_got(4, 5, 5, DNS_NOERROR);
}

static void
silence_is_hedged_once_for_all(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 3; gone++) {
		start(64, 3);
		ask(&world.tcp, 1, 1, "www.example");
		ask(&world.tcp, 2, 2, "www.example");
		if (gone > 0)
			world_forget(&world.tcp, gone);
		world_suspect(0, false);
		assert_int_equal(world.up[1].count, 1);
		assert_int_equal(world.up[2].count, 0);
		answer(1, DNS_NOERROR, 1);
		assert_int_equal(gots, gone > 0 ? 1 : 2);
	}
}

/* Hedges are a share of what upstreams are asked, not of what clients ask. */
static void
twins_earn_no_hedges(void **state)
{
	uint16_t credit;

	(void)state;
	start(512, 2);
	world.proxy.pool.credit = 0;
	ask(&world.udp, 1, 1, "www.example");
	credit = world.proxy.pool.credit;
	assert_int_not_equal(credit, 0);
	for (unsigned i = 0; i < 300; i++)
		ask(&world.udp, i, i, "www.example");
	assert_int_equal(world.proxy.pool.credit, credit);
}

static void
who_refuses_opt_is_asked_without_for_all(void **state)
{
	(void)state;
	for (unsigned gone = 0; gone < 3; gone++) {
		start(64, 1);
		make(1, "www.example");
		made_opt(&m, 1232, EDNS_DO);
		send_made(&world.tcp, 1);
		put16(m.buf, 2);
		send_made(&world.tcp, 2);
		if (gone == 1)
			world_forget(&world.tcp, 1);
		answer(0, DNS_FORMERR, 0);
		assert_int_equal(gots, 0);
		assert_int_equal(world.up[0].count, 1);
		assert_int_equal(dns_arcount(world.up[0].sent[0].msg), 0);
		if (gone == 2)
			world_forget(&world.tcp, 1);
		answer(0, DNS_NOERROR, 1);
		assert_int_equal(gots, gone > 0 ? 1 : 2);
		assert_int_equal(dns_rcode(got[0].msg), DNS_NOERROR);
		assert_int_equal(error_code_of(&got[0]), -1);
	}
}

static void
an_answer_that_cannot_be_edited_is_servfail_for_all(void **state)
{
	struct world_sent s;
	size_t behind;

	(void)state;
	start(64, 1);
	ask_with_opt(&world.udp, 1, 1, "www.example", 1232);
	ask(&world.udp, 2, 2, "www.example");
	s = world_take(0, 0);
	make_answer(&s, DNS_NOERROR, 1);
	made_opt(&a, 1232, 0);
	behind = made_a(&a, MADE_ADDITIONAL, "mail.example", 1);
	made_rr(&a, MADE_ADDITIONAL, "12>", 2, 1, 300);
	made_u16(&a, 0xc000u | (unsigned)behind);
	made_rdlen(&a);
	world_answer(0, a.buf, a.len);
	assert_int_equal(gots, 2);
	assert_got(0, 1, 1, DNS_SERVFAIL);
	assert_got(1, 2, 2, DNS_SERVFAIL);
	assert_int_equal(count()->failed, 2);
}

static void
anothers_answer_is_for_no_twin(void **state)
{
	struct world_sent s;

	(void)state;
	start(64, 2);
	ask(&world.udp, 1, 1, "www.example");
	ask(&world.udp, 2, 2, "www.example");
	s = world.up[0].sent[0];
	make_answer(&s, DNS_NOERROR, 1);
	world_answer(1, a.buf, a.len);
	a.buf[DNS_HEADER + 1] ^= 1;
	world_answer(0, a.buf, a.len);
	assert_int_equal(count()->strangers, 2);
	assert_int_equal(gots, 0);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 2);
}

/* Twins that wait for a connection go out with their leader, once. */
static void
twins_wait_for_a_connection_together(void **state)
{
	(void)state;
	start(64, 1);
	world.up[0].verdict = UPSTREAM_SOON;
	for (unsigned i = 0; i < 5; i++)
		ask(&world.tcp, i, i, "www.example");
	assert_int_equal(world.up[0].offered, 1);
	world_forget(&world.tcp, 0);
	world_ready(0);
	assert_int_equal(world.up[0].taken, 1);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 4);
}

/* ---- Room ------------------------------------------------------------------------------------- */

static void
a_table_full_of_twins_refuses_and_serves_all(void **state)
{
	(void)state;
	start(64, 1);
	for (unsigned i = 0; i < 64; i++)
		ask(&world.udp, i, i, "www.example");
	assert_int_equal(gots, 0);
	ask_with_opt(&world.udp, 64, 64, "www.example", 1232);
	assert_int_equal(gots, 1);
	assert_got(0, 64, 64, DNS_SERVFAIL);
	assert_int_equal(error_code_of(&got[0]), EDE_OTHER);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 65);
	assert_int_equal(world.up[0].taken, 1);
	assert_int_equal(count()->answered, 64);
	ask(&world.udp, 1, 1, "www.example");
	assert_int_equal(world.up[0].taken, 2);
}

/* A twin takes room like any other: one client cannot fill the table with one name. */
static void
twins_count_as_their_clients_queries(void **state)
{
	const unsigned most = 64 - QUERIES_SPARE(64);

	(void)state;
	start(64, 1);
	for (unsigned i = 0; i < 100; i++)
		ask(&world.udp, 7, i, "www.example");
	assert_int_equal(world.proxy.table.open, most);
	assert_int_equal(count()->refused, 100 - most);
	ask(&world.udp, 8, 1, "www.example");
	assert_int_equal(count()->refused, 100 - most);
	/* It is served, and so may ask as much again. */
	answer(0, DNS_NOERROR, 1);
	for (unsigned i = 0; i < 100; i++)
		ask(&world.udp, 7, i, "other.example");
	assert_int_equal(world.proxy.table.open, most);
}

/* Leader and heir are of different clients: what each holds is counted for itself. */
static void
who_goes_on_is_counted_for_its_own_client(void **state)
{
	struct query_table *t = &world.proxy.table;

	(void)state;
	start(64, 1);
	ask(&world.tcp, 1, 1, "www.example");
	ask(&world.tcp, 2, 2, "www.example");
	world_forget(&world.tcp, 1);
	for (unsigned i = 0, sum = 0; i < ORIGIN_BUCKETS; i++) {
		sum += t->held[i];
		assert_int_equal(t->held[i], i == query_first(t, QUERY_LIST_OPEN)->bucket);
		assert_int_equal(sum, i >= query_first(t, QUERY_LIST_OPEN)->bucket);
	}
	world_forget(&world.tcp, 2);
	for (unsigned i = 0; i < ORIGIN_BUCKETS; i++)
		assert_int_equal(t->held[i], 0);
}

/* Long messages lie in places of which there are few: each goes with its client. */
static void
long_messages_of_twins_keep_their_places(void **state)
{
	static const unsigned lens[] = {60, 600, 700, 60, 800};
	static const uint8_t octets[800];

	(void)state;
	for (unsigned turn = 0; turn < 2 * QUERIES_LONG; turn++) {
		start(64, 1);
		for (unsigned i = 0; i < 5; i++) {
			make(i, spelling(i));
			made_opt(&m, 1232, 0);
			made_option(&m, EDNS_PADDING, octets, lens[(i + turn) % 5]);
			send_made(&world.tcp, i);
		}
		assert_int_equal(world.proxy.table.free_places, QUERIES_LONG - 3);
		for (unsigned i = 0; i < 4; i++) {
			world_forget(&world.tcp, i);
			world_lost(0, UPSTREAM_TAKEN);
			if (world.up[0].count == 0)
				break; /* no tries left */
			make(0, spelling(i + 1));
			assert_memory_equal(world.up[0].sent[0].msg + DNS_HEADER, m.buf + DNS_HEADER,
					    m.len - DNS_HEADER);
		}
		world_pass(QUERY_TIMEOUT_MS);
		assert_int_equal(world.proxy.table.free_places, QUERIES_LONG);
		for (unsigned i = 0; i < ORIGIN_BUCKETS; i++)
			assert_int_equal(world.proxy.table.held_long[i], 0);
	}
}

static int
fill_nothing(void *buf, size_t len)
{
	(void)buf;
	(void)len;
	return -1;
}

/* No ID of its own is drawn for it. */
static void
a_twin_needs_no_entropy(void **state)
{
	(void)state;
	start(64, 1);
	ask(&world.udp, 1, 1, "www.example");
	world.proxy.table.fill = fill_nothing;
	world.proxy.table.pool_left = 0;
	ask(&world.udp, 2, 2, "www.example");
	assert_int_equal(gots, 0);
	ask(&world.udp, 3, 3, "other.example");
	assert_int_equal(gots, 1);
	assert_got(0, 3, 3, DNS_SERVFAIL);
	answer(0, DNS_NOERROR, 1);
	assert_int_equal(gots, 3);
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
		cmocka_unit_test(a_thousand_clients_cause_one_question),
		cmocka_unit_test(only_who_asks_the_same_shares_an_answer),
		cmocka_unit_test(what_goes_out_is_the_same_whoever_was_first),
		cmocka_unit_test(each_flag_comes_back_to_who_sent_it),
		cmocka_unit_test(who_asks_later_than_a_second_asks_anew),
		cmocka_unit_test(a_question_is_not_kept_alive_by_those_who_join),
		cmocka_unit_test(the_first_client_goes_and_the_answer_is_for_the_others),
		cmocka_unit_test(a_twin_goes_and_the_others_do_not_notice),
		cmocka_unit_test(all_that_one_connection_asked_goes_with_it),
		cmocka_unit_test(with_the_last_client_the_question_is_spent),
		cmocka_unit_test(what_is_still_to_come_after_all_are_served_is_late),
		cmocka_unit_test(each_twin_has_a_deadline_of_its_own),
		cmocka_unit_test(a_twin_outlives_its_leader_and_is_answered),
		cmocka_unit_test(who_goes_on_in_anothers_place_keeps_its_place_in_time),
		cmocka_unit_test(a_sour_answer_to_twins_is_asked_of_another),
		cmocka_unit_test(where_all_are_sour_each_twin_is_told_so),
		cmocka_unit_test(where_nobody_can_be_asked_each_twin_is_told_why),
		cmocka_unit_test(a_lost_connection_is_asked_again_for_all),
		cmocka_unit_test(a_loss_that_ends_twins_reaches_all_behind_them),
		cmocka_unit_test(silence_is_hedged_once_for_all),
		cmocka_unit_test(twins_earn_no_hedges),
		cmocka_unit_test(who_refuses_opt_is_asked_without_for_all),
		cmocka_unit_test(an_answer_that_cannot_be_edited_is_servfail_for_all),
		cmocka_unit_test(anothers_answer_is_for_no_twin),
		cmocka_unit_test(twins_wait_for_a_connection_together),
		cmocka_unit_test(a_table_full_of_twins_refuses_and_serves_all),
		cmocka_unit_test(twins_count_as_their_clients_queries),
		cmocka_unit_test(who_goes_on_is_counted_for_its_own_client),
		cmocka_unit_test(long_messages_of_twins_keep_their_places),
		cmocka_unit_test(a_twin_needs_no_entropy),
	};

	return cmocka_run_group_tests_name("twins", tests, NULL, stop);
}
