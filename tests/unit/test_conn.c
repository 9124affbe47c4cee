/* SPDX-License-Identifier: MIT */
/* One connection against a TLS server of the test's own, over loopback sockets and with time that is a
 * number: what its owner may count on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "conn.h"
#include "dnsmake.h"
#include "net.h"
#include "tls_peer.h"

static const struct trust *trust;
static void *trust_block;
static void *block;
static struct conn *conn;
static struct addr addr;
static struct tls_rules rules;
static struct tls_past past;
static struct now now;

static unsigned events[4];	   /* how often each came */
static enum conn_event last_event; /* that was not NOTHING */

static struct {
	unsigned count;
	uint8_t msg[DNS_MESSAGE_MAX];
	size_t len;
} given; /* messages that came out */

static void
take(void *ctx, uint8_t *msg, size_t len)
{
	assert_ptr_equal(ctx, &given);
	given.count++;
	given.len = len;
	memcpy(given.msg, msg, len);
	memset(msg, 0xff, len); /* it may be written to */
}

/* ---- A turn ----------------------------------------------------------------------------------- */

/* As the loop does it.  Returns the time it may sleep until. */
static uint64_t
turn(void)
{
	struct timeval at_once = {0, 0};
	struct wants w = {.deadline = UINT64_MAX};
	enum conn_event event;

	FD_ZERO(&w.rd);
	FD_ZERO(&w.wr);
	conn_want(conn, &w);
	if (select(w.nfds, &w.rd, &w.wr, NULL, &at_once) <= 0) {
		FD_ZERO(&w.rd);
		FD_ZERO(&w.wr);
	}
	event = conn_step(conn, &w, &now);
	events[event]++;
	if (event != CONN_NOTHING)
		last_event = event;
	conn_flush(conn);
	assert_true(conn->state != CONN_CLOSED || (conn->fd == -1 && conn->twin == -1));
	assert_true(conn->state == CONN_CONNECTING || conn->twin == -1);
	return w.deadline;
}

static void
pass(uint64_t ms)
{
	now.mono_ms += ms;
	turn();
}

#define UNTIL(condition) \
	do { \
		for (int i_ = 0; i_ < 20000 && !(condition); i_++) { \
			bool any_ = peer_turn(); \
			turn(); \
			if (!any_) \
				usleep(100); \
		} \
		assert_true(condition); \
	} while (0)

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
start(void)
{
	if (conn != NULL)
		conn_drop(conn);
	free(block);
	peer_start();
	memset(&past, 0, sizeof(past));
	memset(&given, 0, sizeof(given));
	memset(events, 0, sizeof(events));
	last_event = CONN_NOTHING;
	now = (struct now){.mono_ms = 1000000, .utc_s = MADE_NOW};
	rules = (struct tls_rules){.name = PEER_NAME, .trust = trust};
	assert_int_equal(addr_parse(&addr, "127.0.0.1"), 0);
	addr.port = server.port;
	block = calloc(1, conn_memory());
	conn = conn_init(block, &addr, &rules, &past, take, &given);
}

static void
start_open(void)
{
	start();
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_OPEN);
}

/* ---- Messages --------------------------------------------------------------------------------- */

static struct made m;

static bool
send_question(unsigned id)
{
	made_init(&m, id, 0);
	made_question(&m, "www.example", 1, 1);
	return conn_send(conn, m.buf, m.len, now.mono_ms);
}

/* A message of so many octets with its length in front. */
static void
say(unsigned id, size_t len)
{
	static uint8_t buf[2 + DNS_MESSAGE_MAX];

	put16(buf, (uint16_t)len);
	memset(buf + 2, 0, len);
	put16(buf + 2, (uint16_t)id);
	for (size_t at = 0; at < len + 2;) {
		size_t n = server_write(&peer->tls, buf + at, len + 2 - at);

		at += n;
		peer_turn();
		turn();
	}
}

/* ---- Its begin -------------------------------------------------------------------------------- */

static void
it_opens_and_says_so_once(void **state)
{
	(void)state;
	start();
	assert_int_equal(conn->state, CONN_CLOSED);
	assert_true(turn() == UINT64_MAX);
	assert_int_equal(conn_open(conn, &now), 0);
	assert_int_equal(conn->state, CONN_CONNECTING);
	UNTIL(conn->state == CONN_SHAKING);
	UNTIL(conn->state == CONN_OPEN);
	settle();
	assert_int_equal(events[CONN_OPENED], 1);
	assert_int_equal(events[CONN_ENDED] + events[CONN_FAILED], 0);
	assert_int_equal(conn->opened_ms, now.mono_ms);
	assert_true(turn() == UINT64_MAX);
	assert_int_equal(past.session_id_len, 32);
}

static int
waiting_octets(void)
{
	int n = 0;

	assert_int_equal(ioctl(conn->fd, FIONREAD, &n), 0);
	return n;
}

/* Where the server's whole part lies ready: clients are served between the steps, each of which computes at
 * most one thing that takes long. */
static void
a_handshake_takes_little_a_turn(void **state)
{
	size_t heard;
	int before, taken = 0;

	(void)state;
	start();
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_SHAKING);
	while (peer_turn() || (before = waiting_octets()) < 500)
		usleep(100);
	for (heard = peer->raw_len; peer->raw_len == heard;) {
		before = waiting_octets();
		assert_true(before > 0);
		turn();
		taken = before - waiting_octets();
		assert_in_range(taken, 1, TLS_BITE + 5);
		usleep(100);
		peer_turn();
	}
	/* What has our part computed came by itself, and was the last. */
	assert_int_equal(taken, 4);
	assert_int_equal(before, 4);
	UNTIL(conn->state == CONN_OPEN);
}

static void
nothing_is_taken_before_it_is_open(void **state)
{
	(void)state;
	start();
	assert_false(send_question(1));
	assert_int_equal(conn_open(conn, &now), 0);
	while (conn->state != CONN_OPEN) {
		assert_false(send_question(1));
		assert_false(conn_is_acknowledged(conn));
		peer_turn();
		turn();
	}
	assert_true(send_question(1));
	assert_int_equal(conn->unanswered, 1);
	UNTIL(peer->count == 1);
}

static void
a_port_that_refuses_was_reached(void **state)
{
	(void)state;
	start();
	peer_refuse();
	if (conn_open(conn, &now) == 0)
		UNTIL(conn->state == CONN_CLOSED);
	assert_string_equal(conn->trouble, "connection refused");
	assert_false(conn->local);
	assert_false(conn->distrust);
}

/* TCP has no route to a multicast address. */
static void
what_cannot_even_begin_is_local(void **state)
{
	(void)state;
	start();
	assert_int_equal(addr_parse(&addr, "224.0.0.1"), 0);
	assert_int_equal(conn_open(conn, &now), -1);
	assert_int_equal(conn->state, CONN_CLOSED);
	assert_int_equal(conn->fd, -1);
	assert_true(conn->local);
	assert_string_equal(conn->trouble, "network unreachable");
	/* That is over with the next try. */
	assert_int_equal(addr_parse(&addr, "127.0.0.1"), 0);
	addr.port = server.port;
	assert_int_equal(conn_open(conn, &now), 0);
	assert_false(conn->local);
	UNTIL(conn->state == CONN_OPEN);
}

static void
a_server_that_cannot_prove_itself_is_told_apart(void **state)
{
	(void)state;
	start();
	rules.name = "other.example";
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_CLOSED);
	assert_int_equal(last_event, CONN_FAILED);
	assert_true(conn->distrust);
	assert_false(conn->local);
	assert_string_equal(conn->trouble, "certificate does not name other.example");
	rules.name = PEER_NAME;
	assert_int_equal(conn_open(conn, &now), 0);
	assert_false(conn->distrust);
	UNTIL(conn->state == CONN_OPEN);
}

/* ---- A second SYN ----------------------------------------------------------------------------- */

static bool
is_open_fd(int fd)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	return getsockname(fd, (struct sockaddr *)&sin, &len) == 0;
}

/* The first SYN is lost, and the kernel's next would take a second. */
static void
a_second_syn_wins_where_the_first_was_lost(void **state)
{
	int first, twin;

	(void)state;
	start();
	peer_cut_off(server.listening);
	assert_int_equal(conn_open(conn, &now), 0);
	first = conn->fd;
	assert_true(turn() == now.mono_ms + CONN_SYN_MS);
	pass(CONN_SYN_MS - 1);
	assert_int_equal(conn->twin, -1);
	peer_reach(server.listening);
	pass(1);
	twin = conn->twin;
	assert_int_not_equal(twin, -1);
	assert_int_not_equal(twin, first);
	assert_true(turn() == now.mono_ms - CONN_SYN_MS + DOT_CONNECT_MS || conn->state != CONN_CONNECTING);
	UNTIL(conn->state == CONN_SHAKING);
	assert_int_equal(conn->fd, twin);
	assert_int_equal(conn->twin, -1);
	assert_false(is_open_fd(first));
	UNTIL(conn->state == CONN_OPEN);
	assert_int_equal(server.accepted, 1);
}

/* It was not lost, the path is a long one: its answer comes before the second one's. */
static void
the_first_syn_wins_where_it_is_answered_first(void **state)
{
	int first, twin;

	(void)state;
	start();
	peer_cut_off(server.listening);
	assert_int_equal(conn_open(conn, &now), 0);
	first = conn->fd;
	usleep(30000); /* the kernel's own clock, whose ticks are up to 10 ms, has to tell the two apart */
	pass(CONN_SYN_MS);
	twin = conn->twin;
	assert_int_not_equal(twin, -1);
	/* Its kernel sends again after a second, the other one's a little later. */
	peer_reach(server.listening);
	UNTIL(conn->state == CONN_SHAKING);
	assert_int_equal(conn->fd, first);
	assert_int_equal(conn->twin, -1);
	assert_false(is_open_fd(twin));
	UNTIL(conn->state == CONN_OPEN);
}

/* The route went meanwhile: trying again costs nobody anything. */
static void
a_second_syn_that_cannot_leave_ends_it_as_local(void **state)
{
	(void)state;
	start();
	peer_cut_off(server.listening);
	assert_int_equal(conn_open(conn, &now), 0);
	assert_int_equal(addr_parse(&addr, "224.0.0.1"), 0);
	pass(CONN_SYN_MS);
	assert_int_equal(last_event, CONN_FAILED);
	assert_true(conn->local);
	assert_string_equal(conn->trouble, "network unreachable");
}

static void
both_are_given_up_after_a_while(void **state)
{
	int first, twin;

	(void)state;
	start();
	peer_cut_off(server.listening);
	assert_int_equal(conn_open(conn, &now), 0);
	first = conn->fd;
	pass(CONN_SYN_MS);
	twin = conn->twin;
	pass(DOT_CONNECT_MS - CONN_SYN_MS - 1);
	assert_int_equal(conn->state, CONN_CONNECTING);
	pass(1);
	assert_int_equal(last_event, CONN_FAILED);
	assert_string_equal(conn->trouble, "no TCP connection within 1500 ms");
	assert_false(is_open_fd(first));
	assert_false(is_open_fd(twin));
	assert_false(conn->local);
}

static void
a_drop_takes_both(void **state)
{
	int first, twin;

	(void)state;
	start();
	peer_cut_off(server.listening);
	assert_int_equal(conn_open(conn, &now), 0);
	first = conn->fd;
	pass(CONN_SYN_MS);
	twin = conn->twin;
	conn_drop(conn);
	assert_int_equal(conn->state, CONN_CLOSED);
	assert_false(is_open_fd(first));
	assert_false(is_open_fd(twin));
}

/* A descriptor that was opened in this turn may have the number of one that select() has told of. */
static void
what_select_said_of_an_older_descriptor_does_not_count(void **state)
{
	struct wants all = {.nfds = FD_SETSIZE};

	(void)state;
	start();
	peer_cut_off(server.listening);
	memset(&all.rd, 0xff, sizeof(all.rd));
	memset(&all.wr, 0xff, sizeof(all.wr));
	assert_int_equal(conn_open(conn, &now), 0);
	assert_int_equal(conn_step(conn, &all, &now), CONN_NOTHING);
	assert_int_equal(conn->state, CONN_CONNECTING);
	turn();
	assert_int_equal(conn->state, CONN_CONNECTING);
	/* The same with the second one. */
	pass(CONN_SYN_MS);
	assert_int_not_equal(conn->twin, -1);
	assert_int_equal(conn_step(conn, &all, &now), CONN_NOTHING);
	assert_int_equal(conn->state, CONN_CONNECTING);
}

/* ---- While it is open ------------------------------------------------------------------------- */

static void
what_is_open_is_counted(void **state)
{
	uint64_t begun;

	(void)state;
	start_open();
	assert_int_equal(conn->waiting_ms, 0);
	begun = now.mono_ms;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(send_question(i));
		assert_int_equal(conn->active_ms, now.mono_ms);
		pass(10);
	}
	UNTIL(peer->count == 3);
	assert_int_equal(conn->unanswered, 3);
	assert_int_equal(conn->waiting_ms, begun);
	/* Octets end the silence, a whole message is a message less. */
	pass(100);
	say(1, 12);
	UNTIL(given.count == 1);
	assert_int_equal(conn->unanswered, 2);
	assert_int_equal(conn->heard, 1);
	assert_int_equal(conn->waiting_ms, now.mono_ms);
	assert_int_equal(conn->heard_ms, now.mono_ms);
	assert_int_equal(conn->active_ms, now.mono_ms);
	pass(100);
	say(2, 12);
	say(3, 12);
	UNTIL(given.count == 3);
	assert_int_equal(conn->unanswered, 0);
	assert_int_equal(conn->waiting_ms, 0);
	/* What nobody asked for makes no debt. */
	say(4, 12);
	UNTIL(given.count == 4);
	assert_int_equal(conn->unanswered, 0);
	assert_int_equal(conn->heard, 4);
}

static void
messages_of_every_length_come_out_whole(void **state)
{
	static const size_t lengths[] = {DNS_HEADER, 100, 16384, 40000, DNS_MESSAGE_MAX};

	(void)state;
	start_open();
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		say(i + 1, lengths[i]);
		UNTIL(given.count == i + 1);
		assert_int_equal(given.len, lengths[i]);
		assert_int_equal(get16(given.msg), i + 1);
	}
}

static void
what_is_no_message_ends_it(void **state)
{
	(void)state;
	start_open();
	assert_true(send_question(1));
	UNTIL(peer->count == 1);
	say(1, DNS_HEADER - 1);
	UNTIL(conn->state == CONN_CLOSED);
	assert_int_equal(last_event, CONN_FAILED);
	assert_string_equal(conn->trouble, "sends what is no DNS over TLS");
	assert_false(conn->distrust);
	assert_int_equal(given.count, 0);
}

/* The peer's process may do what it likes: its kernel has it. */
static void
acknowledged_is_what_the_peers_kernel_has(void **state)
{
	(void)state;
	start_open();
	UNTIL(conn_is_acknowledged(conn));
	peer->deaf = true;
	assert_true(send_question(1));
	assert_false(conn_is_acknowledged(conn)); /* it has not even left */
	UNTIL(conn_is_acknowledged(conn));
	assert_int_equal(peer->count, 0);
	peer_cut_off(peer->fd);
	assert_true(send_question(2));
	for (int i = 0; i < 50; i++) {
		settle();
		assert_false(conn_is_acknowledged(conn));
	}
	peer_reach(peer->fd);
	UNTIL(conn_is_acknowledged(conn));
	conn_drop(conn);
	assert_false(conn_is_acknowledged(conn));
}

static void
who_does_not_read_is_given_no_more_than_there_is_room_for(void **state)
{
	int small = 4096;
	unsigned taken = 0;

	(void)state;
	start();
	setsockopt(server.listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_OPEN);
	setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	peer->deaf = true;
	while (taken < PEER_QUESTIONS && send_question(taken))
		taken++;
	assert_in_range(taken, 100, PEER_QUESTIONS - 1);
	assert_int_equal(conn->unanswered, taken);
	assert_true(conn_has_output(conn));
	peer->deaf = false;
	UNTIL(peer->count == taken && !conn_has_output(conn));
	assert_true(send_question(taken));
	UNTIL(peer->count == taken + 1);
}

/* ---- Its end ---------------------------------------------------------------------------------- */

/* FIN, close_notify, reset: with whatever was open still told. */
static void
an_end_by_the_server_leaves_the_counts(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		start_open();
		assert_true(send_question(1));
		assert_true(send_question(2));
		UNTIL(peer->count == 2);
		say(1, 12);
		UNTIL(given.count == 1);
		if (how == 1)
			peer_say_goodbye();
		if (how == 2)
			peer_reset();
		else
			peer_hang_up();
		UNTIL(conn->state == CONN_CLOSED);
		assert_int_equal(last_event, CONN_ENDED);
		assert_int_equal(events[CONN_ENDED], 1);
		assert_int_equal(conn->unanswered, 1);
		assert_int_equal(conn->heard, 1);
		assert_string_equal(conn->trouble, how == 2 ? "connection reset" : "closed by the server");
		assert_false(send_question(3));
		/* They begin anew with the next connection. */
		assert_int_equal(conn_open(conn, &now), 0);
		assert_int_equal(conn->unanswered + conn->heard, 0);
		assert_int_equal(conn->waiting_ms, 0);
		UNTIL(conn->state == CONN_OPEN);
		assert_int_equal(tls_effort(conn->tls), TLS_RESUMED);
	}
}

/* How long it was quiet tells its owner why the server closed. */
static void
a_goodbye_is_no_activity(void **state)
{
	uint64_t active;

	(void)state;
	start_open();
	assert_true(send_question(1));
	UNTIL(peer->count == 1);
	say(1, 12);
	UNTIL(given.count == 1);
	active = now.mono_ms;
	pass(5000);
	peer_say_goodbye();
	UNTIL(conn->state == CONN_CLOSED);
	assert_int_equal(last_event, CONN_ENDED);
	assert_int_equal(conn->active_ms, active);
	/* With an answer before it in one piece it is. */
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_OPEN);
	assert_true(send_question(1));
	UNTIL(peer->count == 1);
	pass(300);
	server_write(&peer->tls, (const uint8_t *)"\0\14\0\1\0\0\0\0\0\0\0\0\0\0", 14);
	peer->out_len = server_drain(&peer->tls, peer->out, sizeof(peer->out));
	peer_say_goodbye();
	UNTIL(conn->state == CONN_CLOSED);
	assert_int_equal(given.count, 2);
	assert_int_equal(conn->active_ms, now.mono_ms);
}

static void
a_close_says_goodbye_and_a_drop_does_not(void **state)
{
	(void)state;
	start_open();
	conn_close(conn);
	assert_int_equal(conn->state, CONN_CLOSED);
	UNTIL(peer->ended);
	assert_true(peer->goodbye);
	start_open();
	conn_drop(conn);
	UNTIL(peer->ended);
	assert_false(peer->goodbye);
	/* Before it is open there is nothing to say. */
	start();
	server.mute = true;
	assert_int_equal(conn_open(conn, &now), 0);
	UNTIL(conn->state == CONN_SHAKING && peer->raw_len > 0);
	peer->raw_len = 0;
	conn_close(conn);
	UNTIL(peer->ended);
	assert_int_equal(peer->raw_len, 0);
	conn_close(conn);
	conn_drop(conn);
}

static void
a_handshake_has_its_time(void **state)
{
	uint64_t begun;

	(void)state;
	start();
	server.mute = true;
	assert_int_equal(conn_open(conn, &now), 0);
	pass(300); /* TCP's share counts apart */
	UNTIL(conn->state == CONN_SHAKING && peer->raw_len > 0 && net_is_acknowledged(conn->fd));
	begun = now.mono_ms;
	/* Its kernel is there, when that is looked at. */
	assert_true(turn() == begun + 300 + POOL_DOUBT_MIN_MS);
	pass(300 + POOL_DOUBT_MIN_MS);
	assert_true(turn() == begun + DOT_HANDSHAKE_MS);
	pass(begun + DOT_HANDSHAKE_MS - 1 - now.mono_ms);
	assert_int_equal(server.accepted, 1);
	assert_int_equal(conn->state, CONN_SHAKING);
	pass(1);
	assert_int_equal(last_event, CONN_FAILED);
	assert_string_equal(conn->trouble, "no TLS handshake within 2000 ms");
}

/* TCP came about, and then not even the peer's kernel hears us. */
static void
shake_with_nobody(unsigned accepted)
{
	for (int i = 0; i < 10000 && server.accepted < accepted; i++) {
		peer_turn();
		usleep(100);
	}
	assert_int_equal(server.accepted, accepted);
	peer_cut_off(peer->fd);
	while (conn->state == CONN_CONNECTING)
		turn();
	assert_int_equal(conn->state, CONN_SHAKING);
}

static void
a_handshake_that_nobody_hears_is_begun_anew_once(void **state)
{
	(void)state;
	start();
	assert_int_equal(conn_open(conn, &now), 0);
	shake_with_nobody(1);
	pass(POOL_DOUBT_MIN_MS - 1);
	assert_int_equal(conn->state, CONN_SHAKING);
	pass(1);
	assert_int_equal(conn->state, CONN_CONNECTING);
	shake_with_nobody(2);
	assert_true(turn() == now.mono_ms + DOT_HANDSHAKE_MS);
	pass(DOT_HANDSHAKE_MS - 1);
	assert_int_equal(conn->state, CONN_SHAKING);
	pass(1);
	assert_int_equal(last_event, CONN_FAILED);
	assert_string_equal(conn->trouble, "no TLS handshake within 2000 ms");
	/* The next one has its chance again, and takes it. */
	assert_int_equal(conn_open(conn, &now), 0);
	shake_with_nobody(3);
	pass(POOL_DOUBT_MIN_MS);
	UNTIL(conn->state == CONN_OPEN);
	assert_int_equal(server.accepted, 4);
}

/* ---- Set-up ----------------------------------------------------------------------------------- */

static int
make_keys(void **state)
{
	(void)state;
	trust = peer_make_keys(&trust_block);
	return trust == NULL ? -1 : 0;
}

static int
drop_keys(void **state)
{
	(void)state;
	conn_drop(conn);
	peer_stop();
	free(block);
	free(trust_block);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_opens_and_says_so_once),
		cmocka_unit_test(a_handshake_takes_little_a_turn),
		cmocka_unit_test(nothing_is_taken_before_it_is_open),
		cmocka_unit_test(a_port_that_refuses_was_reached),
		cmocka_unit_test(what_cannot_even_begin_is_local),
		cmocka_unit_test(a_server_that_cannot_prove_itself_is_told_apart),
		cmocka_unit_test(a_second_syn_wins_where_the_first_was_lost),
		cmocka_unit_test(the_first_syn_wins_where_it_is_answered_first),
		cmocka_unit_test(a_second_syn_that_cannot_leave_ends_it_as_local),
		cmocka_unit_test(both_are_given_up_after_a_while),
		cmocka_unit_test(a_drop_takes_both),
		cmocka_unit_test(what_select_said_of_an_older_descriptor_does_not_count),
		cmocka_unit_test(what_is_open_is_counted),
		cmocka_unit_test(messages_of_every_length_come_out_whole),
		cmocka_unit_test(what_is_no_message_ends_it),
		cmocka_unit_test(acknowledged_is_what_the_peers_kernel_has),
		cmocka_unit_test(who_does_not_read_is_given_no_more_than_there_is_room_for),
		cmocka_unit_test(an_end_by_the_server_leaves_the_counts),
		cmocka_unit_test(a_goodbye_is_no_activity),
		cmocka_unit_test(a_close_says_goodbye_and_a_drop_does_not),
		cmocka_unit_test(a_handshake_has_its_time),
		cmocka_unit_test(a_handshake_that_nobody_hears_is_begun_anew_once),
	};

	return cmocka_run_group_tests_name("conn", tests, make_keys, drop_keys);
}
