/* SPDX-License-Identifier: MIT */
/* The upstream's connection against a TLS server of the test's own, over loopback sockets and with time
 * that is a number: real proxy, real TLS, no waiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LAW(holds) assert_true(holds)
#include "dot.h"
#include "log.h"
#include "net.h"
#include "proxy_world.h"
#include "tls_peer.h"

#define NAME PEER_NAME
#define QUESTIONS PEER_QUESTIONS

static const struct trust *trust;
static void *trust_block;

static struct now now;
static struct dot *dot;
static struct member member;

/* What is asked about most. */
enum dot_is { DOT_IDLE, DOT_CONNECTING, DOT_SHAKING, DOT_READY, DOT_RESTING };

static enum dot_is
is(void)
{
	return dot->resting ? DOT_RESTING : (enum dot_is)dot->cur->state;
}

/* ---- A turn of the loop ----------------------------------------------------------------------- */

static uint64_t
turn(void)
{
	struct timeval at_once = {0, 0};
	struct wants w = {.deadline = UINT64_MAX};

	FD_ZERO(&w.rd);
	FD_ZERO(&w.wr);
	member.want(member.self, &w);
	if (select(w.nfds, &w.rd, &w.wr, NULL, &at_once) <= 0) {
		FD_ZERO(&w.rd);
		FD_ZERO(&w.wr);
	}
	proxy_tick(&world.proxy, now.mono_ms);
	member.step(member.self, &w, &now);
	member.flush(member.self);
	world_check();
	return w.deadline;
}

/* Lets both sides go on until the condition holds; fails when it does not in the end. */
#define UNTIL(condition) \
	do { \
		for (int i_ = 0; i_ < 20000 && !(condition); i_++) { \
			bool any_ = peer_turn(); \
			turn(); \
			if (!any_) \
				usleep(100); \
		} \
		if (!(condition)) \
			print_message("# state %d, trouble %s\n", (int)is(), dot->trouble); \
		assert_true(condition); \
	} while (0)

/* Lets both sides go on until nothing happens any more. */
static void
settle(void)
{
	for (int quiet = 0; quiet < 4; quiet++) {
		if (peer_turn())
			quiet = 0;
		turn();
		usleep(200);
	}
}

static void
pass(uint64_t ms)
{
	now.mono_ms += ms;
	world.now = now.mono_ms;
	turn();
}

/* Until the server's kernel has acknowledged what it was sent, which may take it 40 ms. */
static void
acknowledged(void)
{
	for (int i = 0; i < 10000 && !conn_is_acknowledged(dot->cur); i++)
		usleep(1000);
	assert_true(conn_is_acknowledged(dot->cur));
}

/* ---- Questions and answers -------------------------------------------------------------------- */

static struct made m;

static void
ask(unsigned id, const char *name)
{
	made_init(&m, id, DNS_RD);
	made_question(&m, name, 1, 1);
	world_ask(&world.udp, id, m.buf, m.len);
}

static void
ask_with_opt(unsigned id)
{
	made_init(&m, id, DNS_RD);
	made_question(&m, "www.example", 1, 1);
	made_opt(&m, 1232, 0);
	world_ask(&world.udp, id, m.buf, m.len);
}

/* Makes in m, with its length in front, the answer to the k-th question, which is taken away. */
static void
make_answer(unsigned k)
{
	struct peer_question *s = &peer->got[k];
	struct dns_question q;
	uint8_t *msg = s->msg;

	assert_true(k < peer->count);
	assert_int_equal(dns_read_question(msg, s->len, &q), 0);
	m.len = 0;
	made_u16(&m, 0);
	made_u16(&m, dns_id(msg));
	made_octets(&m, "\x81\x80\0\1\0\1\0\0\0\0", 10);
	made_octets(&m, msg + DNS_HEADER, q.end - DNS_HEADER);
	made_octets(&m, "\xc0\x0c\0\1\0\1\0\0\0\1\0\4abcd", 16);
	put16(m.buf, (uint16_t)(m.len - 2));
	peer->count--;
	memmove(s, s + 1, (peer->count - k) * sizeof(*s));
}

/* An OPT with edns-tcp-keepalive behind the answer in m. */
static void
add_keepalive(unsigned timeout)
{
	made_octets(&m, "\0\0\x29\x04\xd0\0\0\0\0\0\6\0\x0b\0\2", 15);
	made_u16(&m, timeout);
	put16(m.buf + 2 + 10, 1);
	put16(m.buf, (uint16_t)(m.len - 2));
}

static void
peer_say(const uint8_t *data, size_t len)
{
	peer_say_to(peer, data, len);
}

static void
peer_answer(unsigned k)
{
	make_answer(k);
	peer_say(m.buf, m.len);
}

static void
start_by(const struct tls_rules *rules, bool keep_warm)
{
	struct addr addr;

	peer_start();
	world_start(QUESTIONS, 0);
	world.proxy.wake_ms = UINT64_MAX; /* no rest is cut short, unless the test wants it */
	now = (struct now){.mono_ms = world.now, .utc_s = MADE_NOW};
	assert_int_equal(addr_parse(&addr, "127.0.0.1"), 0);
	addr.port = server.port;
	if (dot != NULL)
		dot_close(dot);
	free(dot);
	dot = dot_init(calloc(1, dot_memory()), &addr, rules, keep_warm, &world.proxy, &now);
	member = dot_member(dot);
}

static void
start_with(const char *hostname)
{
	start_by(&(struct tls_rules){.name = hostname, .trust = trust}, false);
}

static void
start(void)
{
	start_with(NAME);
}

/* A connection that has answered once. */
static void
start_ready(void)
{
	start();
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(is(), DOT_READY);
}

/* ---- From the first question to the answer ---------------------------------------------------- */

static void
without_a_question_nothing_is_opened(void **state)
{
	(void)state;
	start();
	for (int i = 0; i < 10; i++) {
		assert_true(turn() == UINT64_MAX);
		pass(60000);
		peer_turn();
	}
	assert_int_equal(server.accepted, 0);
	assert_int_equal(is(), DOT_IDLE);
}

static void
the_first_question_opens_the_connection_and_is_answered(void **state)
{
	(void)state;
	start();
	ask(4711, "www.example");
	assert_int_equal(is(), DOT_CONNECTING);
	UNTIL(peer->count == 1);
	assert_int_equal(is(), DOT_READY);
	assert_string_equal(br_ssl_engine_get_server_name(&peer->tls.ctx.eng), NAME);
	assert_int_equal(peer->got[0].len % PAD_BLOCK, 0);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(world.udp.token, 4711);
	assert_int_equal(dns_id(world.udp.msg), 4711);
	assert_memory_equal(world.udp.msg + world.udp.len - 4, "abcd", 4);
	assert_int_equal(server.accepted, 1);
}

/* Whether the octets hold the label of the question, in clear. */
static bool
shows_question(void)
{
	for (size_t i = 0; i + 6 <= peer->raw_len; i++)
		if (memcmp(peer->raw + i, "secret", 6) == 0)
			return true;
	return false;
}

static void
nothing_but_tls_records_leaves_and_no_question_before_verification(void **state)
{
	size_t records = 0;

	(void)state;
	start();
	ask(1, "secret.example");
	for (int i = 0; i < 2000 && peer->count == 0; i++) {
		turn();
		if (!peer_turn())
			usleep(100);
		for (size_t at = 0; at + 5 <= peer->raw_len; at += 5 + get16(peer->raw + at + 3)) {
			assert_in_range(peer->raw[at], 0x14, 0x17);
			assert_int_equal(peer->raw[at + 1], 3);
			assert_true(peer->raw[at] != 0x17 || server_is_open(&peer->tls));
			records += peer->raw[at] == 0x17;
		}
	}
	assert_int_equal(peer->count, 1);
	assert_true(records > 0);
	assert_false(shows_question());
}

static void
a_server_of_another_name_gets_no_question(void **state)
{
	(void)state;
	start_with("other.example");
	ask_with_opt(1);
	UNTIL(is() == DOT_RESTING);
	settle();
	for (size_t at = 0; at + 5 <= peer->raw_len; at += 5 + get16(peer->raw + at + 3))
		assert_int_not_equal(peer->raw[at], 0x17);
	assert_false(server_is_open(&peer->tls));
	assert_string_equal(dot->up.trouble, "certificate does not name other.example");
	/* It is tried again and again, until the question's time is up. */
	while (world.udp.replies == 0) {
		peer_hang_up();
		pass(100);
		settle();
	}
	assert_int_equal(dns_rcode(world.udp.msg), DNS_SERVFAIL);
	assert_true(now.mono_ms <= 1000000 + 4000);
	assert_int_equal(peer->count, 0);
}

static void
many_questions_share_one_connection(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 500; i++)
		ask(i, world_name());
	UNTIL(peer->count == 500);
	while (peer->count > 0)
		peer_answer(peer->count - 1);
	UNTIL(world.udp.replies == 500);
	assert_int_equal(world.proxy.count.answered, 500);
	assert_int_equal(server.accepted, 1);
	assert_int_equal(world.proxy.count.again, 0);
	assert_int_equal(dot->cur->unanswered, 0);
}

static void
the_largest_question_goes_out(void **state)
{
	static const uint8_t octets[QUERY_MSG_MAX];

	(void)state;
	start();
	made_init(&m, 1, 0);
	made_question(&m, "www.example", 1, 1);
	made_opt(&m, 1232, 0);
	made_option(&m, 65001, octets, QUERY_MSG_MAX - m.len - 4 - 400);
	/* What crosses is the rest: records behind the question. */
	made_init(&m, 1, 0);
	made_question(&m, "www.example", 1, 1);
	made_rr(&m, MADE_ADDITIONAL, "x", 65280, 1, 0);
	made_rdata(&m, octets, QUERY_MSG_MAX - m.len);
	assert_int_equal(m.len, QUERY_MSG_MAX);
	world_ask(&world.udp, 1, m.buf, m.len);
	UNTIL(peer->count == 1);
	assert_true(peer->got[0].len >= QUERY_MSG_MAX);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
}

/* ---- Streams cut in any way ------------------------------------------------------------------- */

static void
an_answer_in_records_of_one_octet_is_whole(void **state)
{
	(void)state;
	start();
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	make_answer(0);
	for (size_t i = 0; i < m.len; i++) {
		peer_say(m.buf + i, 1);
		peer_turn();
		turn();
	}
	UNTIL(world.udp.replies == 1);
	assert_int_equal(world.proxy.count.answered, 1);
}

static void
answers_in_one_record_all_arrive(void **state)
{
	uint8_t record[16384];
	size_t len = 0;

	(void)state;
	start();
	for (unsigned i = 0; i < 100; i++)
		ask(i, world_name());
	UNTIL(peer->count == 100);
	while (peer->count > 0) {
		make_answer(0);
		memcpy(record + len, m.buf, m.len);
		len += m.len;
	}
	peer_say(record, len);
	UNTIL(world.udp.replies == 100);
}

static void
the_largest_answer_arrives(void **state)
{
	static uint8_t big[2 + DNS_MESSAGE_MAX];

	(void)state;
	start();
	made_init(&m, 1, 0);
	made_question(&m, "www.example", 1, 1);
	world_ask(&world.tcp, 1, m.buf, m.len);
	UNTIL(peer->count == 1);
	make_answer(0);
	memcpy(big, m.buf, m.len);
	/* One record more, of unknown type, up to the bound. */
	memcpy(big + m.len, "\0\xff\0\0\1\0\0\0\0", 9);
	put16(big + m.len + 9, (uint16_t)(DNS_MESSAGE_MAX - (m.len - 2) - 11));
	put16(big + 2 + 10, 1);
	put16(big, DNS_MESSAGE_MAX);
	for (size_t at = 0; at < sizeof(big);) {
		size_t n = server_write(&peer->tls, big + at, sizeof(big) - at);

		at += n;
		peer_turn();
		turn();
	}
	UNTIL(world.tcp.replies == 1);
	assert_int_equal(world.tcp.len, DNS_MESSAGE_MAX);
}

static void
what_is_no_dns_inside_ends_the_connection(void **state)
{
	(void)state;
	start();
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer_say((const uint8_t *)"\0\3abc", 5);
	UNTIL(is() == DOT_RESTING);
	assert_string_equal(dot->trouble, "sends what is no DNS over TLS");
}

/* ---- Ends ------------------------------------------------------------------------------------- */

static void
an_idle_close_by_the_server_goes_unnoticed(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		start_ready();
		if (how == 0) { /* as it should be */
			br_ssl_engine_close(&peer->tls.ctx.eng);
			peer_write(peer);
		}
		if (how == 2)
			peer_reset();
		else
			peer_hang_up();
		UNTIL(is() == DOT_IDLE);
		assert_int_equal(dot->cur->fd, -1);
		assert_null(dot->up.trouble);
		ask(2, "www.example");
		UNTIL(peer->count == 1);
		peer_answer(0);
		UNTIL(world.udp.replies == 2);
		assert_int_equal(world.proxy.count.answered, 2);
		assert_int_equal(server.accepted, 2);
	}
}

static void
questions_of_a_closed_connection_are_asked_again_at_once(void **state)
{
	(void)state;
	start_ready();
	for (unsigned i = 0; i < 20; i++)
		ask(100 + i, world_name());
	UNTIL(peer->count == 20);
	peer_answer(3);
	UNTIL(world.udp.replies == 2);
	peer_hang_up();
	UNTIL(server.accepted == 2 && peer->count == 19);
	assert_int_equal(world.proxy.count.again, 19);
	assert_int_equal(now.mono_ms, 1000000);
	while (peer->count > 0)
		peer_answer(0);
	UNTIL(world.udp.replies == 21);
	assert_int_equal(world.proxy.count.answered, 21);
}

static void
who_closes_every_time_without_an_answer_has_to_rest(void **state)
{
	(void)state;
	start();
	ask_with_opt(1);
	UNTIL(peer->count == 1);
	peer_hang_up();
	UNTIL(peer->count == 1 && server.accepted == 2);
	peer_hang_up();
	UNTIL(is() == DOT_RESTING);
	assert_string_equal(dot->trouble, "closes the connection without an answer");
	UNTIL(world.udp.replies == 1);
	assert_int_equal(dns_rcode(world.udp.msg), DNS_SERVFAIL);
	assert_int_equal(world.proxy.count.failed, 1);
}

static void
who_closes_after_each_answer_is_asked_on(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 10; i++) {
		ask(i, "www.example");
		UNTIL(peer->count == 1);
		make_answer(0);
		/* Answer, close_notify and end of the stream in one piece. */
		server_write(&peer->tls, m.buf, m.len);
		peer->out_len = server_drain(&peer->tls, peer->out, sizeof(peer->out));
		br_ssl_engine_close(&peer->tls.ctx.eng);
		peer_write(peer);
		peer_hang_up();
		UNTIL(world.udp.replies == i + 1);
		UNTIL(is() == DOT_IDLE);
	}
	assert_int_equal(world.proxy.count.answered, 10);
	assert_int_equal(world.proxy.count.again, 0);
}

static void
an_idle_connection_is_closed_by_us_first(void **state)
{
	(void)state;
	start_ready();
	assert_true(turn() == now.mono_ms + DOT_IDLE_MS);
	pass(DOT_IDLE_MS - 1);
	assert_int_equal(is(), DOT_READY);
	pass(1);
	assert_int_equal(is(), DOT_IDLE);
	UNTIL(peer->ended);
	assert_true(peer->goodbye);
	assert_true(turn() == UINT64_MAX);
}

static void
the_end_of_the_program_says_goodbye(void **state)
{
	(void)state;
	start_ready();
	dot_close(dot);
	UNTIL(peer->ended);
	assert_true(peer->goodbye);
	assert_int_equal(dot->cur->fd, -1);
	dot_close(dot);
}

/* ---- Keepalive (RFC 7828) --------------------------------------------------------------------- */

static void
answer_with_keepalive(unsigned timeout)
{
	make_answer(0);
	add_keepalive(timeout);
	peer_say(m.buf, m.len);
}

static void
the_servers_keepalive_is_obeyed(void **state)
{
	(void)state;
	start();
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	answer_with_keepalive(20);
	UNTIL(world.udp.replies == 1);
	assert_in_range(turn() - now.mono_ms, 1000, 2000);
	pass(2000);
	UNTIL(is() == DOT_IDLE);
	/* It was said of that connection, not of the next one. */
	UNTIL(peer->ended);
	peer_hang_up();
	ask(2, "www.example");
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	assert_true(turn() == now.mono_ms + DOT_IDLE_MS);
}

static void
a_long_keepalive_is_bounded(void **state)
{
	(void)state;
	start();
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	answer_with_keepalive(65535);
	UNTIL(world.udp.replies == 1);
	assert_in_range(turn() - now.mono_ms, DOT_IDLE_MAX_MS / 2, DOT_IDLE_MAX_MS);
}

/* It wants this connection closed; the next question opens another. */
static void
a_keepalive_of_zero_closes_this_connection_only(void **state)
{
	(void)state;
	start();
	for (unsigned i = 0; i < 3; i++) {
		ask(i, world_name());
		ask(100 + i, world_name());
		UNTIL(peer->count == 2);
		answer_with_keepalive(0);
		UNTIL(world.udp.replies == 2 * i + 1);
		assert_int_equal(is(), DOT_READY); /* one is still open */
		answer_with_keepalive(0);
		UNTIL(world.udp.replies == 2 * i + 2);
		UNTIL(is() == DOT_IDLE);
		UNTIL(peer->ended);
		peer_hang_up();
	}
	assert_int_equal(world.proxy.count.again, 0);
}

/* ---- Servers that fail ------------------------------------------------------------------------ */

static void
a_port_that_refuses_means_a_rest(void **state)
{
	(void)state;
	start();
	peer_refuse();
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	assert_non_null(dot->up.trouble);
	assert_string_equal(dot->up.trouble, "connection refused");
	assert_int_equal(dot->cur->fd, -1);
	assert_int_equal(dot->up.send(&dot->up, m.buf, m.len), UPSTREAM_DOWN);
	assert_int_equal(world.udp.replies, 0);
}

/* Each rest is twice as long as the one before, with some chance in it, up to a bound. */
static void
rests_grow_to_a_bound(void **state)
{
	uint64_t expected = DOT_REST_MIN_MS;

	(void)state;
	start();
	peer_refuse();
	for (int i = 0; i < 10; i++) {
		uint64_t rest;

		ask(1, "www.example");
		UNTIL(is() == DOT_RESTING);
		rest = dot->rest_until - now.mono_ms;
		assert_in_range(rest, expected, expected + expected / 4);
		assert_true(rest <= DOT_REST_MAX_MS);
		assert_true(turn() == dot->rest_until);
		/* Afterwards the questions that still wait bring on the next try. */
		world_forget(&world.udp, 1);
		pass(rest - 1);
		assert_int_equal(is(), DOT_RESTING);
		pass(1);
		assert_int_equal(is(), DOT_IDLE);
		expected = expected * 2 < DOT_REST_MAX_MS ? expected * 2 : DOT_REST_MAX_MS;
	}
}

/* No route: nothing has left this machine, and the next try costs nobody anything. */
static void
a_rest_for_lack_of_a_route_is_short_and_does_not_grow(void **state)
{
	(void)state;
	start();
	assert_int_equal(addr_parse(&dot->addr, "224.0.0.1"), 0); /* TCP has none there */
	dot->addr.port = server.port;
	for (int i = 0; i < 5; i++) {
		ask(1, "www.example");
		assert_int_equal(is(), DOT_RESTING);
		assert_string_equal(dot->up.trouble, "network unreachable");
		assert_int_equal(dot->rest_until, now.mono_ms + DOT_REST_LOCAL_MS);
		assert_int_equal(dot->rest_ms, DOT_REST_MIN_MS);
		world_forget(&world.udp, 1);
		pass(DOT_REST_LOCAL_MS);
		assert_int_equal(is(), DOT_IDLE);
	}
	/* It is back. */
	assert_int_equal(addr_parse(&dot->addr, "127.0.0.1"), 0);
	dot->addr.port = server.port;
	ask(2, "www.example");
	UNTIL(peer->count == 1);
}

static void
a_rest_is_cut_short_for_a_question_when_all_rest(void **state)
{
	(void)state;
	start();
	peer_refuse();
	dot->rest_ms = DOT_REST_MAX_MS;
	ask(1, world_name());
	UNTIL(is() == DOT_RESTING);
	assert_true(dot->rest_until == now.mono_ms + DOT_REST_MAX_MS);
	peer_listen(16);
	pass(100);
	assert_int_equal(is(), DOT_RESTING);
	world.proxy.wake_ms = 0;
	ask(2, world_name());
	assert_int_equal(is(), DOT_CONNECTING);
	UNTIL(peer->count == 2);
}

static void
a_rest_after_certificate_trouble_is_not_cut_short(void **state)
{
	(void)state;
	start_with("other.example");
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	peer_hang_up();
	assert_false(dot->up.wake(&dot->up));
	assert_int_equal(is(), DOT_RESTING);
	pass(DOT_REST_DISTRUST_MS - 1);
	assert_false(dot->up.wake(&dot->up));
	assert_int_equal(is(), DOT_RESTING);
	assert_int_equal(server.accepted, 1);
	/* However long it has grown. */
	world_forget(&world.udp, 1);
	pass(DOT_REST_DISTRUST_MS);
	dot->rest_ms = DOT_REST_MAX_MS;
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	pass(DOT_REST_MAX_MS - 1);
	assert_false(dot->up.wake(&dot->up));
	assert_int_equal(is(), DOT_RESTING);
}

static void
a_success_makes_the_next_rest_short(void **state)
{
	(void)state;
	start();
	dot->rest_ms = DOT_REST_MAX_MS;
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(dot->rest_ms, DOT_REST_MIN_MS);
}

static void
a_server_that_comes_back_in_time_answers_who_waited(void **state)
{
	(void)state;
	start();
	peer_refuse();
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	peer_listen(16);
	pass(DOT_REST_MIN_MS * 5 / 4);
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(world.proxy.count.answered, 1);
	assert_null(dot->up.trouble);
}

/* Another upstream behind dot, that takes everything. */
static bool
other_wake(struct upstream *self)
{
	(void)self;
	return true;
}

static struct world_up *
add_other(void)
{
	struct world_up *other = &world.up[1];

	memset(other, 0, sizeof(*other));
	other->up.send = world_send;
	other->up.wake = other_wake;
	other->up.keepalive = world_keepalive;
	proxy_add_upstream(&world.proxy, &other->up);
	return other;
}

/* Others may be well: after a failure nobody is made to wait for what may fail again. */
static void
while_it_is_tried_again_others_are_asked(void **state)
{
	struct world_up *other;

	(void)state;
	start();
	peer_refuse();
	other = add_other();
	ask(1, world_name());
	UNTIL(is() == DOT_RESTING);
	assert_int_equal(other->count, 1);
	peer_listen(16);
	pass(DOT_REST_MIN_MS * 5 / 4);
	assert_int_equal(is(), DOT_IDLE);
	ask(2, world_name());
	assert_int_equal(is(), DOT_CONNECTING);
	assert_int_equal(other->count, 2);
	UNTIL(is() == DOT_SHAKING);
	ask(3, world_name());
	assert_int_equal(other->count, 3);
	UNTIL(is() == DOT_READY);
	ask(4, world_name());
	assert_int_equal(other->count, 3);
	UNTIL(peer->count == 1);
	/* The next connection is one that is waited for: an answer has come. */
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(dot->failures, 0);
	dot_close(dot);
	ask(5, world_name());
	assert_int_equal(is(), DOT_CONNECTING);
	assert_int_equal(other->count, 3);
}

/* Where there is no other, the question waits, and goes out as soon as the connection stands. */
static void
while_it_is_tried_again_a_question_may_wait(void **state)
{
	struct query *q;

	(void)state;
	start();
	peer_refuse();
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	peer_listen(16);
	pass(DOT_REST_MIN_MS * 5 / 4);
	assert_int_equal(is(), DOT_CONNECTING); /* the question that waits has brought it on */
	q = query_first(&world.proxy.table, QUERY_LIST_OPEN);
	assert_int_equal(q->hoped, 1);
	assert_int_equal(dot->up.send(&dot->up, m.buf, m.len), UPSTREAM_MAYBE);
	UNTIL(is() == DOT_SHAKING);
	assert_int_equal(dot->up.send(&dot->up, m.buf, m.len), UPSTREAM_MAYBE);
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	assert_int_equal(world.proxy.count.answered, 1);
	assert_int_equal(world.proxy.count.again, 0);
}

/* A certificate does not get better in a quarter of a second. */
static void
a_rest_after_certificate_trouble_is_long(void **state)
{
	uint64_t expected = DOT_REST_DISTRUST_MS;

	(void)state;
	start_with("other.example");
	for (int i = 0; i < 6; i++) {
		uint64_t rest;

		ask(1, "www.example");
		UNTIL(is() == DOT_RESTING);
		rest = dot->rest_until - now.mono_ms;
		assert_in_range(rest, expected, expected + expected / 4);
		world_forget(&world.udp, 1);
		peer_hang_up();
		pass(rest);
		assert_int_equal(is(), DOT_IDLE);
		expected = expected * 2 < DOT_REST_MAX_MS ? expected * 2 : DOT_REST_MAX_MS;
	}
	/* Other trouble rests as ever. */
	start();
	server.mute = true;
	ask(1, "www.example");
	UNTIL(is() == DOT_SHAKING && peer->raw_len > 0);
	peer_hang_up();
	UNTIL(is() == DOT_RESTING);
	assert_in_range(dot->rest_until - now.mono_ms, DOT_REST_MIN_MS, DOT_REST_MIN_MS * 5 / 4);
}

/* What was written to standard error while it is a pipe, and how many lines of it are about dot. */
static unsigned
lines_of(int fd, char *text, size_t cap)
{
	ssize_t n = read(fd, text, cap - 1);
	unsigned lines = 0;

	text[n > 0 ? n : 0] = '\0';
	for (const char *p = text; (p = strstr(p, ": dot ")) != NULL; p++)
		lines++;
	return lines;
}

static void
rest_is_over(void)
{
	world_forget(&world.udp, 1);
	pass(dot->rest_until - now.mono_ms);
	assert_int_equal(is(), DOT_IDLE);
}

/* Trouble is told when it begins, when its words change, and at growing distances. */
static void
trouble_is_told_at_growing_distances(void **state)
{
	static const char *const expected[20] = {
		[1] = "connection refused; resting ",
		[2] = ", 2 failures in a row",
		[4] = ", 4 failures in a row",
		[8] = ", 8 failures in a row",
		[11] = "closes the connection during the handshake; resting ",
		[16] = "closes the connection during the handshake; resting ",
	};
	int before = dup(STDERR_FILENO), fd[2];
	char text[17][4096];
	unsigned lines[17], after;

	(void)state;
	start();
	peer_refuse();
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	fflush(NULL);
	dup2(fd[1], STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
	for (unsigned i = 1; i <= 16; i++) {
		log_tick(now.mono_ms);
		if (i == 11) {
			peer_listen(16);
			server.mute = true;
		}
		ask(1, "www.example");
		if (i >= 11) {
			UNTIL(is() == DOT_SHAKING && peer->raw_len > 0);
			peer_hang_up();
		}
		UNTIL(is() == DOT_RESTING);
		lines[i] = lines_of(fd[0], text[i], sizeof(text[i]));
		rest_is_over();
	}
	server.mute = false;
	ask(1, "www.example");
	UNTIL(is() == DOT_READY);
	after = lines_of(fd[0], text[0], sizeof(text[0]));
	dup2(before, STDERR_FILENO);
	log_set_level(LOG_LEVEL_ERROR);
	close(before);
	close(fd[0]);
	close(fd[1]);
	for (unsigned i = 1; i <= 16; i++) {
		assert_int_equal(lines[i], expected[i] != NULL);
		if (expected[i] != NULL)
			assert_non_null(strstr(text[i], expected[i]));
	}
	/* And that it is over, and how long it took. */
	assert_int_equal(after, 1);
	assert_non_null(strstr(text[0], "connected"));
	assert_non_null(strstr(text[0], "16 failures before"));
}

/* However many failures there were since the last line: it must not be the last word. */
static void
the_end_of_trouble_is_told(void **state)
{
	int before = dup(STDERR_FILENO), fd[2];
	char text[4096];
	unsigned told;

	(void)state;
	start_ready();
	peer_hang_up();
	UNTIL(is() == DOT_IDLE);
	peer_refuse();
	for (unsigned i = 0; i < 3; i++) {
		ask(1, "www.example");
		UNTIL(is() == DOT_RESTING);
		rest_is_over();
	}
	peer_listen(16);
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	fflush(NULL);
	dup2(fd[1], STDERR_FILENO);
	log_set_level(LOG_LEVEL_INFO);
	ask(1, "www.example");
	UNTIL(is() == DOT_READY);
	told = lines_of(fd[0], text, sizeof(text));
	dup2(before, STDERR_FILENO);
	log_set_level(LOG_LEVEL_ERROR);
	close(before);
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(told, 1);
	assert_non_null(strstr(text, "connected, "));
	assert_non_null(strstr(text, "3 failures before"));
	assert_false(dot->told);
}

static void
a_handshake_that_stalls_is_given_up(void **state)
{
	uint64_t begun;

	(void)state;
	start();
	server.mute = true;
	ask(1, "www.example");
	UNTIL(is() == DOT_SHAKING && peer->raw_len > 0 && net_is_acknowledged(dot->cur->fd));
	begun = now.mono_ms;
	pass(POOL_DOUBT_MIN_MS);
	assert_true(turn() == begun + DOT_HANDSHAKE_MS);
	pass(begun + DOT_HANDSHAKE_MS - 1 - now.mono_ms);
	assert_int_equal(is(), DOT_SHAKING);
	pass(1);
	assert_int_equal(is(), DOT_RESTING);
	assert_string_equal(dot->trouble, "no TLS handshake within 2000 ms");
	UNTIL(peer->ended);
}

/* A handshake of which one octet comes now and then does not last longer. */
static void
a_handshake_that_drips_is_given_up(void **state)
{
	uint8_t octet = 0x16;
	uint64_t begun;

	(void)state;
	start();
	server.mute = true;
	ask(1, "www.example");
	UNTIL(is() == DOT_SHAKING && peer->raw_len > 0);
	begun = now.mono_ms;
	for (int i = 0; i < 5 && is() == DOT_SHAKING; i++) {
		assert_true(turn() <= begun + DOT_HANDSHAKE_MS);
		assert_int_equal(send(peer->fd, &octet, 1, MSG_NOSIGNAL), 1);
		octet = 3;
		pass(DOT_HANDSHAKE_MS / 4);
	}
	assert_int_equal(is(), DOT_RESTING);
	assert_int_equal(now.mono_ms, begun + DOT_HANDSHAKE_MS);
}

/* A full queue of a server that accepts nobody: Linux drops what more comes. */
static void
a_connection_that_does_not_come_about_is_given_up(void **state)
{
	struct sockaddr_in sin;
	int filler[4];

	(void)state;
	start();
	peer_listen(0);
	sin = peer_loopback(server.port);
	for (int i = 0; i < 4; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(filler[i], (struct sockaddr *)&sin, sizeof(sin));
	}
	ask(1, "www.example");
	assert_true(turn() == now.mono_ms + CONN_SYN_MS);
	pass(CONN_SYN_MS);
	assert_true(turn() == now.mono_ms - CONN_SYN_MS + DOT_CONNECT_MS);
	pass(DOT_CONNECT_MS - CONN_SYN_MS - 1);
	assert_int_equal(is(), DOT_CONNECTING);
	pass(1);
	assert_int_equal(is(), DOT_RESTING);
	assert_string_equal(dot->trouble, "no TCP connection within 1500 ms");
	for (int i = 0; i < 4; i++)
		close(filler[i]);
}

/* ---- Silence ---------------------------------------------------------------------------------- */

/* The proxy is told, so that others are asked; the connection is kept for now, for the server's kernel
 * acknowledges: the path is alive. */
static void
silence_with_a_question_open_is_told_after_a_while(void **state)
{
	(void)state;
	start_ready();
	pass(5000);
	assert_int_equal(dot->up.doubt_ms, POOL_DOUBT_MIN_MS);
	ask(2, "www.example");
	UNTIL(peer->count == 1);
	acknowledged();
	assert_true(turn() == now.mono_ms + POOL_DOUBT_MIN_MS);
	pass(POOL_DOUBT_MIN_MS - 1);
	assert_false(dot->suspected);
	assert_false(world.proxy.pool.member[0].doubted);
	pass(1);
	assert_true(dot->suspected);
	assert_true(world.proxy.pool.member[0].doubted);
	assert_int_equal(is(), DOT_READY);
	assert_int_equal(server.accepted, 1);
	/* Told again in the same time. */
	assert_true(turn() == now.mono_ms + POOL_DOUBT_MIN_MS);
	/* An answer clears it. */
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	assert_false(dot->suspected);
	assert_false(world.proxy.pool.member[0].doubted);
	assert_int_equal(server.accepted, 1);
	assert_true(turn() == now.mono_ms + DOT_IDLE_MS);
}

static void
what_is_silent_here_is_asked_elsewhere(void **state)
{
	struct world_up *other;

	(void)state;
	start_ready();
	other = add_other();
	ask(2, world_name());
	UNTIL(peer->count == 1);
	world.proxy.pool.credit = 0; /* so that it is no hedge that goes there */
	pass(POOL_DOUBT_MIN_MS - 1);
	assert_int_equal(other->count, 0);
	pass(1);
	assert_int_equal(other->count, 1);
	assert_int_equal(world.proxy.count.hedged, 0);
	/* The next one goes there first. */
	ask(3, world_name());
	assert_int_equal(other->count, 2);
	UNTIL(peer->count == 1);
}

/* The server hangs, or has dropped all that was asked: its kernel acknowledges. */
static void
a_server_that_hangs_is_replaced_after_a_longer_time(void **state)
{
	uint64_t begun;

	(void)state;
	start_ready();
	ask(2, "www.example");
	begun = now.mono_ms;
	UNTIL(peer->count == 1);
	acknowledged();
	while (turn() < begun + DOT_SILENT_MS) {
		assert_true(turn() > now.mono_ms);
		pass(turn() - now.mono_ms);
		settle();
		assert_int_equal(server.accepted, 1);
		assert_int_equal(is(), DOT_READY);
	}
	assert_true(turn() == begun + DOT_SILENT_MS);
	pass(begun + DOT_SILENT_MS - now.mono_ms);
	assert_int_equal(is(), DOT_CONNECTING);
	assert_int_equal(dot->old->state, CONN_OPEN);
	assert_null(dot->up.trouble);
	assert_int_equal(dot->failures, 0);
	UNTIL(server.accepted == 2 && peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
}

/* A router forgot us: what we send is not acknowledged, and waiting is of no use. */
static void
a_dead_path_is_replaced_at_the_first_doubt(void **state)
{
	(void)state;
	start_ready();
	pass(5000);
	peer_cut_off(peer->fd);
	ask(2, "www.example");
	pass(POOL_DOUBT_MIN_MS - 1);
	assert_int_equal(is(), DOT_READY);
	pass(1);
	assert_int_equal(is(), DOT_CONNECTING);
	assert_int_equal(dot->old->state, CONN_OPEN);
	assert_int_equal(dot->failures, 0);
	UNTIL(server.accepted == 2 && peer->count == 1);
	assert_int_equal(world.proxy.count.again, 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	assert_int_equal(world.proxy.count.answered, 2);
	/* The question it never answers keeps the old one, but not for ever. */
	assert_int_equal(dot->old->state, CONN_OPEN);
	assert_int_equal(dot->old->unanswered, 1);
	assert_true(turn() == dot->old_until);
	assert_int_equal(dot->old_until, now.mono_ms + QUERY_TIMEOUT_MS);
	pass(QUERY_TIMEOUT_MS - 1);
	assert_int_equal(dot->old->state, CONN_OPEN);
	pass(1);
	assert_int_equal(dot->old->state, CONN_CLOSED);
	assert_int_equal(is(), DOT_READY);
}

/* Leaves peer as the connection that was replaced with the question of token 2 open, and the new one ready
 * and without an answer.  Returns the new one's session. */
static struct peer_session *
replace_one(void)
{
	struct peer_session *first, *second;

	start_ready();
	first = peer;
	ask(2, world_name());
	UNTIL(first->count == 1);
	peer_cut_off(first->fd);
	ask(3, world_name());
	pass(POOL_DOUBT_MIN_MS);
	UNTIL(server.accepted == 2);
	second = peer;
	assert_ptr_not_equal(first, second);
	UNTIL(second->count == 2);
	peer = first;
	return second;
}

static void
what_the_replaced_one_still_answers_counts(void **state)
{
	struct peer_session *second, *first;

	(void)state;
	second = replace_one();
	first = peer;
	assert_int_equal(dot->old->unanswered, 2);
	peer_reach(first->fd);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	assert_int_equal(world.udp.token, 2);
	assert_int_equal(world.proxy.count.answered, 2);
	/* One is open there, and so it stays; the other's answer comes by the new one. */
	assert_int_equal(dot->old->state, CONN_OPEN);
	UNTIL(first->count == 1);
	peer = second;
	peer_answer(1);
	UNTIL(world.udp.replies == 3);
	assert_int_equal(world.udp.token, 3);
	/* Now the old one has nothing to say that anybody waits for; but it may. */
	peer = first;
	peer_answer(0);
	UNTIL(dot->old->state == CONN_CLOSED);
	UNTIL(first->goodbye);
	assert_int_equal(is(), DOT_READY);
	assert_int_equal(world.proxy.count.answered, 3);
	assert_int_equal(dot->failures, 0);
}

/* It was slow, and the next one does not come about: back to it, and nobody is blamed. */
static void
who_spoke_while_its_successor_failed_goes_on(void **state)
{
	struct peer_session *first;

	(void)state;
	start_ready();
	first = peer;
	ask(2, world_name());
	UNTIL(first->count == 1);
	peer_cut_off(first->fd);
	ask(3, world_name());
	peer_cut_off(server.listening);
	pass(POOL_DOUBT_MIN_MS);
	assert_int_equal(is(), DOT_CONNECTING);
	assert_int_equal(dot->old->state, CONN_OPEN);
	/* One that is looked for is not waited for while there is another upstream. */
	assert_int_equal(dot->up.send(&dot->up, m.buf, m.len), UPSTREAM_MAYBE);
	pass(10);
	peer_reach(first->fd);
	UNTIL(first->count == 2);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	assert_int_equal(is(), DOT_CONNECTING);
	pass(CONN_SYN_MS - 10);
	pass(DOT_CONNECT_MS - CONN_SYN_MS);
	assert_int_equal(is(), DOT_READY);
	assert_int_equal(dot->old->state, CONN_CLOSED);
	assert_int_equal(dot->failures, 0);
	assert_null(dot->up.trouble);
	/* What it has still is not asked of it twice. */
	turn();
	assert_int_equal(world.proxy.count.again, 0);
	peer_answer(0);
	UNTIL(world.udp.replies == 3);
	assert_int_equal(server.accepted, 1);
}

/* It goes on, but what it has is not acknowledged: another one is tried, and gets that question. */
static void
who_goes_on_and_is_silent_still_is_replaced_again(void **state)
{
	struct peer_session *first;

	(void)state;
	start_ready();
	first = peer;
	ask(2, world_name());
	UNTIL(first->count == 1);
	peer_cut_off(first->fd);
	ask(3, world_name());
	peer_cut_off(server.listening);
	pass(POOL_DOUBT_MIN_MS);
	pass(CONN_SYN_MS);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	pass(DOT_CONNECT_MS - CONN_SYN_MS);
	assert_int_equal(is(), DOT_READY);
	peer_reach(server.listening);
	turn();
	assert_int_equal(is(), DOT_CONNECTING);
	UNTIL(server.accepted == 2 && peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 3);
	assert_int_equal(world.proxy.count.answered, 3);
}

/* Neither speaks: that is a failure, and both go. */
static void
who_stayed_silent_while_its_successor_failed_is_given_up(void **state)
{
	(void)state;
	start_ready();
	peer_cut_off(peer->fd);
	peer_cut_off(server.listening);
	ask(2, "www.example");
	pass(POOL_DOUBT_MIN_MS);
	assert_int_equal(is(), DOT_CONNECTING);
	pass(CONN_SYN_MS);
	pass(DOT_CONNECT_MS - CONN_SYN_MS);
	assert_int_equal(is(), DOT_RESTING);
	assert_string_equal(dot->trouble, "no TCP connection within 1500 ms");
	assert_int_equal(dot->cur->fd, -1);
	assert_int_equal(dot->old->fd, -1);
}

/* One that has never answered is no reason to hope for a third. */
static void
a_server_silent_from_the_start_is_given_up(void **state)
{
	(void)state;
	start();
	ask(2, "www.example");
	UNTIL(peer->count == 1);
	acknowledged();
	pass(POOL_DOUBT_MIN_MS);
	pass(DOT_SILENT_MS - POOL_DOUBT_MIN_MS);
	assert_int_equal(is(), DOT_CONNECTING);
	UNTIL(server.accepted == 2 && peer->count == 1);
	acknowledged();
	pass(POOL_DOUBT_MIN_MS);
	assert_int_equal(is(), DOT_READY);
	pass(DOT_SILENT_MS - POOL_DOUBT_MIN_MS);
	assert_int_equal(is(), DOT_RESTING);
	assert_string_equal(dot->up.trouble, "is silent with questions open");
	assert_true(dot->rest_until > now.mono_ms);
	assert_int_equal(dot->old->fd, -1);
}

/* The server dropped one question and answers others: that is no silence. */
static void
a_dropped_question_costs_no_connection(void **state)
{
	uint64_t begun;

	(void)state;
	start_ready();
	begun = now.mono_ms;
	ask(2, "dropped.example");
	UNTIL(peer->count == 1);
	for (unsigned i = 0; i < 20; i++) {
		pass(POOL_DOUBT_MIN_MS / 2);
		ask(100 + i, "www.example");
		UNTIL(peer->count == 2);
		assert_int_equal(dot->cur->waiting_ms, i == 0 ? begun : now.mono_ms - POOL_DOUBT_MIN_MS / 2);
		peer_answer(1);
		UNTIL(world.proxy.count.answered == 2 + i);
		assert_int_equal(dot->cur->waiting_ms, now.mono_ms);
		assert_false(dot->suspected);
	}
	assert_int_equal(world.proxy.count.failed, 1);
	assert_int_equal(server.accepted, 1);
	/* The silence that comes then is counted from the last octet. */
	assert_true(turn() == now.mono_ms + POOL_DOUBT_MIN_MS);
}

/* Who goes on asking does not put the end off. */
static void
silence_runs_from_the_first_question(void **state)
{
	uint64_t begun;

	(void)state;
	start_ready();
	begun = now.mono_ms;
	for (unsigned i = 0; i < 5; i++) {
		ask(10 + i, "www.example");
		assert_true(turn() == begun + POOL_DOUBT_MIN_MS);
		pass(POOL_DOUBT_MIN_MS / 5);
	}
	assert_int_equal(now.mono_ms, begun + POOL_DOUBT_MIN_MS);
	assert_true(world.proxy.pool.member[0].doubted);
}

/* ---- What is learnt of idle times ------------------------------------------------------------- */

/* The server closes after so many ms of quiet.  The next question finds another connection. */
static void
closed_after(uint64_t ms)
{
	unsigned before = world.udp.replies, accepted = server.accepted;

	pass(ms);
	assert_int_equal(is(), DOT_READY);
	peer_say_goodbye();
	peer_hang_up();
	UNTIL(is() == DOT_IDLE);
	ask(2, "www.example");
	UNTIL(server.accepted == accepted + 1 && peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == before + 1);
}

static void
the_idle_time_of_a_server_is_learnt(void **state)
{
	(void)state;
	start_ready();
	assert_true(turn() == now.mono_ms + DOT_IDLE_MS);
	closed_after(4000);
	assert_true(turn() == now.mono_ms + 3500);
	/* It has got less patient. */
	closed_after(1000);
	assert_true(turn() == now.mono_ms + 875);
	/* Not by one that closes after each answer: it has no idle time. */
	closed_after(DOT_IDLE_LEARN_MS - 1);
	assert_true(turn() == now.mono_ms + 875);
	closed_after(DOT_IDLE_LEARN_MS);
	assert_true(turn() == now.mono_ms + 175);
	/* Nor by one that restarts with a question open. */
	assert_int_equal(dot->learnt_ms, 175);
	dot->learnt_ms = 3500;
	pass(1000);
	ask(3, "www.example");
	UNTIL(peer->count == 1);
	pass(400);
	peer_hang_up();
	UNTIL(server.accepted == 6 && peer->count == 1);
	assert_int_equal(dot->learnt_ms, 3500);
}

static void
an_idle_time_learnt_is_tried_again_after_a_while(void **state)
{
	(void)state;
	start_ready();
	closed_after(4000);
	for (unsigned i = 1; i <= 2 * DOT_IDLE_TRUST + 3; i++) {
		uint64_t idle = i <= DOT_IDLE_TRUST ? 3500 : i <= 2 * DOT_IDLE_TRUST ? 7000 : DOT_IDLE_MS;

		pass(idle - 1);
		assert_int_equal(is(), DOT_READY);
		pass(1);
		assert_int_equal(is(), DOT_IDLE);
		ask(3, "www.example");
		UNTIL(peer->count == 1 && server.accepted == 2 + i);
		peer_answer(0);
		UNTIL(world.udp.replies == 2 + i);
	}
	assert_true(turn() == now.mono_ms + DOT_IDLE_MS);
	/* A close of the server in between begins the count anew. */
	assert_int_equal(dot->in_time, 3);
	closed_after(4000);
	assert_true(turn() == now.mono_ms + 3500);
	assert_int_equal(dot->in_time, 0);
}

/* ---- Kept warm -------------------------------------------------------------------------------- */

static void
start_warm(void)
{
	start_by(&(struct tls_rules){.name = NAME, .trust = trust}, true);
}

static void
who_is_kept_warm_is_there_before_the_first_question(void **state)
{
	(void)state;
	start_warm();
	UNTIL(is() == DOT_READY);
	/* We do not close it, however long nobody asks. */
	assert_true(turn() == UINT64_MAX);
	for (int i = 0; i < 10; i++)
		pass(60000);
	assert_int_equal(is(), DOT_READY);
	assert_int_equal(server.accepted, 1);
	/* When the server does, it is opened anew at once. */
	for (unsigned i = 2; i < 6; i++) {
		peer_say_goodbye();
		peer_hang_up();
		UNTIL(server.accepted == i && is() == DOT_READY);
		assert_int_equal(dot->failures, 0);
		pass(DOT_SHORT_MS);
	}
}

/* A server that ends it at once each time would be asked for ever. */
static void
who_is_kept_warm_but_ends_at_once_has_to_rest(void **state)
{
	(void)state;
	start_warm();
	UNTIL(is() == DOT_READY);
	peer_hang_up();
	UNTIL(server.accepted == 2 && is() == DOT_READY);
	pass(DOT_SHORT_MS - 1);
	peer_hang_up();
	UNTIL(is() == DOT_RESTING);
	assert_string_equal(dot->trouble, "closes the connection without an answer");
	pass(dot->rest_until - now.mono_ms);
	UNTIL(server.accepted == 3 && is() == DOT_READY);
}

/* Two questions lost to two closes, with a regular one between them, are no failure. */
static void
what_was_before_a_regular_close_is_forgiven(void **state)
{
	(void)state;
	start_warm();
	UNTIL(is() == DOT_READY);
	for (unsigned i = 0; i < 4; i++) {
		unsigned accepted = server.accepted;

		ask(1, "www.example");
		UNTIL(peer->count == 1);
		world_forget(&world.udp, 1);
		pass(DOT_SHORT_MS);
		peer_hang_up();
		UNTIL(server.accepted == accepted + 1 && is() == DOT_READY);
		pass(DOT_SHORT_MS);
		peer_say_goodbye();
		peer_hang_up();
		UNTIL(server.accepted == accepted + 2 && is() == DOT_READY);
		assert_int_equal(dot->failures, 0);
	}
}

/* ---- Another network -------------------------------------------------------------------------- */

static void
what_is_dropped_goes_out_again_over_a_new_connection(void **state)
{
	(void)state;
	start_ready();
	for (unsigned i = 0; i < 10; i++)
		ask(10 + i, world_name());
	UNTIL(peer->count == 10);
	dot_drop(dot);
	assert_true(turn() == 0);
	UNTIL(server.accepted == 2 && peer->count == 10);
	assert_int_equal(dot->failures, 0);
	assert_null(dot->up.trouble);
	while (peer->count > 0)
		peer_answer(0);
	UNTIL(world.udp.replies == 11);
	assert_int_equal(world.proxy.count.answered, 11);
	/* Where nothing was asked, nothing is opened. */
	dot_drop(dot);
	settle();
	assert_int_equal(is(), DOT_IDLE);
	assert_true(turn() == UINT64_MAX);
	assert_int_equal(server.accepted, 2);
}

static void
a_drop_ends_a_rest(void **state)
{
	(void)state;
	start();
	peer_refuse();
	dot->rest_ms = DOT_REST_MAX_MS;
	ask(1, "www.example");
	UNTIL(is() == DOT_RESTING);
	peer_listen(16);
	dot_drop(dot);
	UNTIL(peer->count == 1);
	assert_int_equal(dot->rest_ms, DOT_REST_MIN_MS);
	assert_int_equal(now.mono_ms, 1000000);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
}

static void
a_drop_while_one_is_replaced_ends_both(void **state)
{
	(void)state;
	replace_one();
	dot_drop(dot);
	turn();
	assert_int_equal(dot->old->fd, -1);
	assert_int_equal(dot->cur->fd, -1);
	/* What was asked twice already is not asked a third time. */
	assert_int_equal(world.proxy.count.failed, 2);
	ask(4, world_name());
	UNTIL(server.accepted == 3 && peer->count == 1);
}

/* ---- What the last handshake saves the next one ----------------------------------------------- */

static void
again(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		unsigned replies = world.udp.replies, accepted = server.accepted;

		pass(DOT_IDLE_MS);
		assert_int_equal(is(), DOT_IDLE);
		ask(2, "www.example");
		UNTIL(server.accepted == accepted + 1 && peer->count == 1);
		peer_answer(0);
		UNTIL(world.udp.replies == replies + 1);
	}
}

static void
efforts_of_handshakes_are_counted(void **state)
{
	(void)state;
	start_ready();
	assert_int_equal(dot->opened[TLS_FULL], 1);
	again(2);
	assert_int_equal(dot->opened[TLS_RESUMED], 2);
	server.forgetful = true;
	again(1);
	assert_int_equal(dot->opened[TLS_KNOWN_LEAF], 1);
	assert_int_equal(dot->opened[TLS_FULL], 1);
	assert_int_equal(dot->opened[TLS_RESUMED], 2);
}

static void
what_was_verified_without_a_clock_is_verified_again_with_one(void **state)
{
	(void)state;
	start();
	now.utc_s = MADE_NOT_BEFORE - 86400;
	now.unset = true;
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	settle();
	assert_int_equal(server.accepted, 1);
	ask(2, "www.example");
	UNTIL(peer->count == 1);
	/* The clock is set while a question is open. */
	now.utc_s = MADE_NOW;
	now.unset = false;
	assert_true(turn() == 0);
	UNTIL(server.accepted == 2 && peer->count == 1);
	assert_int_equal(dot->opened[TLS_FULL], 2);
	assert_int_equal(dot->failures, 0);
	peer_answer(0);
	UNTIL(world.udp.replies == 2);
	settle();
	assert_int_equal(server.accepted, 2);
}

static void
what_does_not_hold_once_the_clock_is_set_is_not_used_on(void **state)
{
	(void)state;
	start();
	now.utc_s = MADE_NOT_BEFORE - 86400;
	now.unset = true;
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer_answer(0);
	UNTIL(world.udp.replies == 1);
	now.utc_s = MADE_NOT_AFTER + 86400;
	now.unset = false;
	ask(2, "www.example");
	settle();
	UNTIL(is() == DOT_RESTING);
	assert_non_null(strstr(dot->trouble, "certificate has expired"));
	assert_int_equal(world.udp.replies, 1);
}

/* ---- Words ------------------------------------------------------------------------------------ */

static void
what_speaks_no_tls_is_said_in_words(void **state)
{
	(void)state;
	start();
	server.mute = true;
	ask(1, "www.example");
	UNTIL(is() == DOT_SHAKING);
	UNTIL(peer->fd != -1);
	assert_int_equal(send(peer->fd, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL), 11);
	UNTIL(is() == DOT_RESTING);
	assert_non_null(dot->up.trouble);
}

static void
a_close_during_the_handshake_is_said_in_words(void **state)
{
	(void)state;
	start();
	server.mute = true;
	ask(1, "www.example");
	UNTIL(is() == DOT_SHAKING && peer->raw_len > 0);
	peer_hang_up();
	UNTIL(is() == DOT_RESTING);
	assert_string_equal(dot->trouble, "closes the connection during the handshake");
}

/* ---- A server that does not read -------------------------------------------------------------- */

static void
questions_wait_for_a_server_that_does_not_read(void **state)
{
	int small = 4096;
	static uint8_t octets[260];
	unsigned asked;

	(void)state;
	start();
	setsockopt(server.listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ask(1, "www.example");
	UNTIL(peer->count == 1);
	peer->deaf = true;
	setsockopt(dot->cur->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (asked = 1; asked < 1500; asked++) {
		made_init(&m, asked, 0);
		made_question(&m, "www.example", 1, 1);
		made_rr(&m, MADE_ADDITIONAL, "x", 65280, 1, 0);
		made_rdata(&m, octets, sizeof(octets) - 1);
		world_ask(&world.udp, asked, m.buf, m.len);
		if (asked % 50 == 0)
			turn();
	}
	assert_true(dot->blocked);
	assert_int_equal(world.proxy.table.open, asked);
	peer->deaf = false;
	while (world.udp.replies < asked) {
		UNTIL(peer->count > 0 || world.udp.replies == asked);
		while (peer->count > 0)
			peer_answer(0);
		turn();
	}
	assert_int_equal(world.proxy.count.answered, asked);
	assert_int_equal(server.accepted, 1);
}

/* Whether records wait for the socket. */
static bool
output_waits(void)
{
	return dot->cur->out_len > 0 || tls_wants_drain(dot->cur->tls);
}

/* The socket takes all that was gathered at the end of a turn: nothing would wake the loop for those
 * who were told SOON, so it does not sleep. */
static void
room_made_at_the_end_of_a_turn_is_used_in_the_next(void **state)
{
	unsigned asked = 1, late;
	int small = 4096;

	(void)state;
	start();
	setsockopt(server.listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ask(1, world_name());
	UNTIL(peer->count == 1);
	peer->deaf = true;
	setsockopt(dot->cur->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while (!dot->blocked && asked < 1500)
		ask(++asked, world_name());
	assert_true(dot->blocked);
	assert_int_equal(query_first(&world.proxy.table, QUERY_LIST_OPEN)->origin.token, 1);
	peer->deaf = false;
	for (int i = 0; i < 2000 && output_waits(); i++) {
		peer_turn();
		member.flush(member.self);
	}
	assert_false(output_waits());
	assert_true(dot->blocked);
	/* Who comes now is told SOON too, and does not go before those who wait. */
	late = asked + 1;
	ask(late, "late.example");
	assert_true(turn() == 0);
	assert_false(dot->blocked);
	UNTIL(peer->count == late);
	assert_int_equal(peer->got[late - 1].msg[DNS_HEADER + 1], 'l');
	while (peer->count > 0)
		peer_answer(0);
	UNTIL(world.udp.replies == late);
	assert_int_equal(world.proxy.count.again, 0);
}

/* ---- Set-up ----------------------------------------------------------------------------------- */

static int
make_keys(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	trust = peer_make_keys(&trust_block);
	return trust == NULL ? -1 : 0;
}

static int
drop_keys(void **state)
{
	(void)state;
	dot_close(dot);
	peer_stop();
	free(dot);
	free(trust_block);
	world_stop();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_question_nothing_is_opened),
		cmocka_unit_test(the_first_question_opens_the_connection_and_is_answered),
		cmocka_unit_test(nothing_but_tls_records_leaves_and_no_question_before_verification),
		cmocka_unit_test(a_server_of_another_name_gets_no_question),
		cmocka_unit_test(many_questions_share_one_connection),
		cmocka_unit_test(the_largest_question_goes_out),
		cmocka_unit_test(an_answer_in_records_of_one_octet_is_whole),
		cmocka_unit_test(answers_in_one_record_all_arrive),
		cmocka_unit_test(the_largest_answer_arrives),
		cmocka_unit_test(what_is_no_dns_inside_ends_the_connection),
		cmocka_unit_test(an_idle_close_by_the_server_goes_unnoticed),
		cmocka_unit_test(questions_of_a_closed_connection_are_asked_again_at_once),
		cmocka_unit_test(who_closes_every_time_without_an_answer_has_to_rest),
		cmocka_unit_test(who_closes_after_each_answer_is_asked_on),
		cmocka_unit_test(an_idle_connection_is_closed_by_us_first),
		cmocka_unit_test(the_end_of_the_program_says_goodbye),
		cmocka_unit_test(the_servers_keepalive_is_obeyed),
		cmocka_unit_test(a_long_keepalive_is_bounded),
		cmocka_unit_test(a_keepalive_of_zero_closes_this_connection_only),
		cmocka_unit_test(a_port_that_refuses_means_a_rest),
		cmocka_unit_test(rests_grow_to_a_bound),
		cmocka_unit_test(a_rest_for_lack_of_a_route_is_short_and_does_not_grow),
		cmocka_unit_test(a_rest_is_cut_short_for_a_question_when_all_rest),
		cmocka_unit_test(a_rest_after_certificate_trouble_is_not_cut_short),
		cmocka_unit_test(a_success_makes_the_next_rest_short),
		cmocka_unit_test(a_server_that_comes_back_in_time_answers_who_waited),
		cmocka_unit_test(while_it_is_tried_again_others_are_asked),
		cmocka_unit_test(while_it_is_tried_again_a_question_may_wait),
		cmocka_unit_test(a_rest_after_certificate_trouble_is_long),
		cmocka_unit_test(trouble_is_told_at_growing_distances),
		cmocka_unit_test(the_end_of_trouble_is_told),
		cmocka_unit_test(a_handshake_that_stalls_is_given_up),
		cmocka_unit_test(a_handshake_that_drips_is_given_up),
		cmocka_unit_test(a_connection_that_does_not_come_about_is_given_up),
		cmocka_unit_test(silence_with_a_question_open_is_told_after_a_while),
		cmocka_unit_test(what_is_silent_here_is_asked_elsewhere),
		cmocka_unit_test(a_server_that_hangs_is_replaced_after_a_longer_time),
		cmocka_unit_test(a_dead_path_is_replaced_at_the_first_doubt),
		cmocka_unit_test(what_the_replaced_one_still_answers_counts),
		cmocka_unit_test(who_spoke_while_its_successor_failed_goes_on),
		cmocka_unit_test(who_goes_on_and_is_silent_still_is_replaced_again),
		cmocka_unit_test(who_stayed_silent_while_its_successor_failed_is_given_up),
		cmocka_unit_test(a_server_silent_from_the_start_is_given_up),
		cmocka_unit_test(a_dropped_question_costs_no_connection),
		cmocka_unit_test(silence_runs_from_the_first_question),
		cmocka_unit_test(the_idle_time_of_a_server_is_learnt),
		cmocka_unit_test(an_idle_time_learnt_is_tried_again_after_a_while),
		cmocka_unit_test(who_is_kept_warm_is_there_before_the_first_question),
		cmocka_unit_test(who_is_kept_warm_but_ends_at_once_has_to_rest),
		cmocka_unit_test(what_was_before_a_regular_close_is_forgiven),
		cmocka_unit_test(what_is_dropped_goes_out_again_over_a_new_connection),
		cmocka_unit_test(a_drop_ends_a_rest),
		cmocka_unit_test(a_drop_while_one_is_replaced_ends_both),
		cmocka_unit_test(efforts_of_handshakes_are_counted),
		cmocka_unit_test(what_was_verified_without_a_clock_is_verified_again_with_one),
		cmocka_unit_test(what_does_not_hold_once_the_clock_is_set_is_not_used_on),
		cmocka_unit_test(what_speaks_no_tls_is_said_in_words),
		cmocka_unit_test(a_close_during_the_handshake_is_said_in_words),
		cmocka_unit_test(questions_wait_for_a_server_that_does_not_read),
		cmocka_unit_test(room_made_at_the_end_of_a_turn_is_used_in_the_next),
	};

	return cmocka_run_group_tests_name("dot", tests, make_keys, drop_keys);
}
