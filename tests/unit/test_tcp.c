/* SPDX-License-Identifier: MIT */
/* Stream clients over loopback sockets, a real proxy, one made-up upstream, and time that is a number:
 * who gets a slot, who loses it, and who may keep what it does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
#include "log.h"
#include "proxy_world.h"
#include "net.h"
#include "tcp.h"

static struct tcp tcp;
static struct member member;
static struct now clock_now;
static void *block;
static uint16_t port;

/* ---- A turn of the loop ----------------------------------------------------------------------- */

static uint64_t
turn(void)
{
	struct timeval at_once = {0, 0};
	struct wants w = {.deadline = UINT64_MAX};

	FD_ZERO(&w.rd);
	FD_ZERO(&w.wr);
	clock_now.mono_ms = world.now;
	member.want(member.self, &w);
	if (select(w.nfds, &w.rd, &w.wr, NULL, &at_once) <= 0) {
		FD_ZERO(&w.rd);
		FD_ZERO(&w.wr);
	}
	proxy_tick(&world.proxy, world.now);
	member.step(member.self, &w, &clock_now);
	member.flush(member.self);
	return w.deadline;
}

#define UNTIL(condition) \
	do { \
		for (int i_ = 0; i_ < 2000 && !(condition); i_++) { \
			turn(); \
			usleep(100); \
		} \
		assert_true(condition); \
	} while (0)

/* Long enough for whatever is on its way through the loopback interface. */
static void
settle(void)
{
	for (int i = 0; i < 10; i++) {
		turn();
		usleep(300);
	}
}

static void
pass(uint64_t ms)
{
	world.now += ms;
	settle();
}

static void
start(uint32_t clients, uint32_t per_address)
{
	struct addr at;
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	if (block != NULL)
		tcp_close(&tcp);
	free(block);
	world_start(QUERIES_DEFAULT, 1);
	assert_int_equal(prefix_parse(&world.allow, "127.0.0.0/8"), 0);
	block = calloc(1, tcp_memory(clients));
	assert_non_null(block);
	clock_now.mono_ms = world.now;
	assert_int_equal(tcp_init(&tcp, block, &world.proxy, clients, per_address, &clock_now), 0);
	assert_int_equal(addr_parse(&at, "127.0.0.1"), 0);
	tcp_add(&tcp, net_listen_tcp(&at, false));
	assert_int_equal(getsockname(tcp.fd[0], (struct sockaddr *)&sin, &len), 0);
	port = ntohs(sin.sin_port);
	member = tcp_member(&tcp);
}

/* ---- Clients ---------------------------------------------------------------------------------- */

struct client {
	int fd;
	char letter;		  /* of its questions */
	struct tcp_client *there; /* its slot */
	size_t got;
};

/* Knocks from 127.0.0.host; a small buffer of its own makes it one that reads slowly. */
static struct client
knock(char letter, unsigned host)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	struct client c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .letter = letter};
	int small = 2048;

	assert_int_not_equal(c.fd, -1);
	setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
	assert_int_equal(bind(c.fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = htons(port);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	fcntl(c.fd, F_SETFL, O_NONBLOCK);
	return c;
}

/* Knocks and is let in; our side of the connection gets a small buffer too. */
static struct client
enter(char letter)
{
	uint16_t count = tcp.count;
	struct client c = knock(letter, 1);
	int small = 2048;

	UNTIL(tcp.count == count + 1);
	c.there = &tcp.client[tcp.last];
	setsockopt(c.there->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	return c;
}

/* Sends so many questions in one piece, and waits until they are at the upstream.  Each has a name of its own
 * that begins with the client's letter: of equal ones only one would get there. */
static void
ask(struct client *c, unsigned times)
{
	static struct made m, all;
	static unsigned asked;
	char name[32];
	unsigned count = world.up[0].count;

	all.len = 0;
	for (unsigned i = 0; i < times; i++) {
		snprintf(name, sizeof(name), "%c%u.example", c->letter, asked++);
		made_init(&m, i, DNS_RD);
		made_question(&m, name, 1, 1);
		made_u16(&all, (unsigned)m.len);
		made_octets(&all, m.buf, m.len);
	}
	assert_int_equal(send(c->fd, all.buf, all.len, MSG_NOSIGNAL), all.len);
	UNTIL(world.up[0].count == count + times);
}

/* The upstream answers c's oldest question with so many octets in all. */
static void
answer(const struct client *c, size_t size)
{
	static struct made a;
	static const uint8_t filler[65535];
	struct world_sent s;
	struct dns_question q;
	unsigned k = 0;

	while (world.up[0].sent[k].msg[DNS_HEADER + 1] != (uint8_t)c->letter)
		assert_true(++k < world.up[0].count);
	s = world_take(0, k);
	assert_int_equal(dns_read_question(s.msg, s.len, &q), 0);
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_RD | DNS_RA);
	made_octets(&a, s.msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	made_rr(&a, MADE_ANSWER, "12>", 65280, 1, 60);
	made_rdata(&a, filler, size - a.len);
	proxy_answer(&world.proxy, &world.up[0].up, a.buf, a.len, world.now);
	turn();
}

/* Reads up to so many octets.  Returns false at the end of the stream. */
static bool
take(struct client *c, size_t most)
{
	uint8_t buf[4096];

	while (most > 0) {
		ssize_t n = recv(c->fd, buf, most < sizeof(buf) ? most : sizeof(buf), 0);

		if (n <= 0)
			return n == -1 && errno == EAGAIN;
		c->got += (size_t)n;
		most -= (size_t)n;
	}
	return true;
}

static bool
is_open(struct client *c)
{
	uint8_t octet;
	ssize_t n = recv(c->fd, &octet, 1, MSG_PEEK);

	return n > 0 || (n == -1 && errno == EAGAIN);
}

static bool
has_answer(struct client *c)
{
	uint8_t octet;

	return recv(c->fd, &octet, 1, MSG_PEEK) == 1;
}

static void
leave(struct client *c)
{
	close(c->fd);
}

/* ---- Questions and answers -------------------------------------------------------------------- */

static void
a_question_is_answered_and_its_connection_stays(void **state)
{
	struct client c;

	(void)state;
	start(2, 2);
	c = enter('a');
	for (int i = 0; i < 3; i++) {
		ask(&c, 1);
		answer(&c, 100);
		UNTIL(has_answer(&c));
		assert_true(take(&c, SIZE_MAX));
	}
	assert_int_equal(c.got, 3 * 102);
	assert_int_equal(tcp.count, 1);
	leave(&c);
}

static void
who_says_nothing_is_closed_after_a_while(void **state)
{
	struct client c;

	(void)state;
	start(2, 2);
	c = enter('a');
	assert_true(turn() == world.now + TCP_IDLE_MS);
	pass(TCP_IDLE_MS - 1);
	assert_true(is_open(&c));
	pass(1);
	assert_false(is_open(&c));
	leave(&c);
}

/* ---- Slots ------------------------------------------------------------------------------------ */

static void
one_address_gets_no_more_than_its_share_of_slots(void **state)
{
	struct client a, b, c, d;

	(void)state;
	start(4, 2);
	a = enter('a');
	b = enter('b');
	c = knock('c', 1);
	UNTIL(tcp.turned_away == 1);
	settle();
	assert_false(is_open(&c));
	d = knock('d', 2);
	UNTIL(tcp.count == 3);
	assert_true(is_open(&a) && is_open(&b) && is_open(&d));
	leave(&a);
	leave(&b);
	leave(&c);
	leave(&d);
}

static void
when_all_slots_are_taken_the_longest_idle_makes_room(void **state)
{
	struct client a, b, c;

	(void)state;
	start(2, 9);
	a = enter('a');
	pass(100);
	b = enter('b');
	c = knock('c', 1);
	settle();
	assert_int_equal(tcp.count, 2);
	/* It does not spin: nobody is asked for until a slot can be had. */
	assert_true(turn() == world.now - 100 + TCP_SPARE_MS);
	pass(TCP_SPARE_MS - 101);
	assert_true(is_open(&a));
	pass(1);
	assert_false(is_open(&a));
	assert_true(is_open(&b) && is_open(&c));
	assert_int_equal(tcp.count, 2);
	ask(&c, 1);
	answer(&c, 100);
	UNTIL(has_answer(&c));
	leave(&a);
	leave(&b);
	leave(&c);
}

/* Without a knock nobody has to go before its time. */
static void
full_and_nobody_knocks_all_stay(void **state)
{
	struct client a, b;

	(void)state;
	start(2, 9);
	a = enter('a');
	b = enter('b');
	pass(TCP_IDLE_MS - 1);
	assert_true(is_open(&a) && is_open(&b));
	leave(&a);
	leave(&b);
}

static void
who_has_asked_lately_is_not_the_one_to_go(void **state)
{
	struct client a, b, c;

	(void)state;
	start(2, 9);
	a = enter('a');
	b = enter('b');
	pass(500);
	ask(&a, 1);
	answer(&a, 100);
	UNTIL(has_answer(&a));
	c = knock('c', 1);
	pass(TCP_SPARE_MS - 501);
	assert_true(is_open(&a) && is_open(&b));
	pass(1);
	assert_true(is_open(&a) && is_open(&c));
	assert_false(is_open(&b));
	leave(&a);
	leave(&b);
	leave(&c);
}

/* Each closes but one: the others stay, however many knock within the time. */
static void
each_knock_costs_one_slot(void **state)
{
	struct client in[4], late[2];

	(void)state;
	start(4, 9);
	for (int i = 0; i < 4; i++)
		in[i] = enter((char)('a' + i));
	pass(TCP_SPARE_MS);
	late[0] = knock('x', 1);
	settle();
	assert_int_equal(tcp.count, 4);
	assert_false(is_open(&in[0]));
	assert_true(is_open(&in[1]) && is_open(&in[2]) && is_open(&in[3]));
	late[1] = knock('y', 1);
	settle();
	assert_false(is_open(&in[1]));
	assert_true(is_open(&in[2]) && is_open(&in[3]) && is_open(&late[0]) && is_open(&late[1]));
	for (int i = 0; i < 4; i++)
		leave(&in[i]);
	leave(&late[0]);
	leave(&late[1]);
}

/* The last free slot goes to who knocks first; the other knock, at another door in the same turn, has to
 * wait as all do. */
static void
a_knock_at_another_door_closes_nobody_before_the_time(void **state)
{
	struct client a, b, c;
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	struct addr at;

	(void)state;
	start(2, 9);
	assert_int_equal(addr_parse(&at, "127.0.0.1"), 0);
	tcp_add(&tcp, net_listen_tcp(&at, false));
	a = enter('a');
	b = knock('b', 1);
	assert_int_equal(getsockname(tcp.fd[1], (struct sockaddr *)&sin, &len), 0);
	port = ntohs(sin.sin_port);
	c = knock('c', 1);
	settle();
	pass(TCP_SPARE_MS - 1);
	assert_true(is_open(&a));
	pass(1);
	assert_false(is_open(&a));
	assert_true(is_open(&b) && is_open(&c));
	assert_int_equal(tcp.count, 2);
	leave(&a);
	leave(&b);
	leave(&c);
}

static void
who_waits_for_an_answer_does_not_make_room(void **state)
{
	struct client a, b, c;

	(void)state;
	start(2, 9);
	a = enter('a');
	b = enter('b');
	ask(&a, 1);
	ask(&b, 1);
	c = knock('c', 1);
	pass(3 * TCP_SPARE_MS);
	assert_true(is_open(&a) && is_open(&b));
	assert_int_equal(tcp.count, 2);
	answer(&a, 100);
	answer(&b, 100);
	UNTIL(has_answer(&a) && has_answer(&b));
	leave(&a);
	leave(&b);
	leave(&c);
}

/* ---- Clients that do not read ----------------------------------------------------------------- */

#define PIECE 16000u

/* Answers c, which does not read, until it keeps as much as one client may. */
static void
fill(struct client *c)
{
	while (is_open(c) && !c->there->dead && c->there->kept.len + PIECE + 2 <= TCP_KEPT_MAX) {
		answer(c, PIECE);
		settle();
	}
}

static void
who_reads_slowly_but_reads_is_not_closed(void **state)
{
	uint64_t begun;
	struct client c;
	size_t all = 0;

	(void)state;
	start(2, 9);
	c = enter('a');
	begun = world.now;
	ask(&c, 40);
	while (c.there->kept.len + PIECE + 2 <= TCP_KEPT_MAX) {
		answer(&c, PIECE);
		all += PIECE + 2;
		settle();
	}
	assert_true(c.there->stuck);
	while (world.up[0].count > 0) /* its other questions come to nothing */
		world_take(0, 0);
	while (c.there->fd != -1 && c.there->kept.len > 0) {
		assert_true(take(&c, 12000));
		pass(TCP_IDLE_MS * 2 / 3);
		assert_true(is_open(&c));
	}
	assert_true(world.now - begun > 3 * TCP_IDLE_MS);
	for (int i = 0; i < 200 && c.got < all; i++) {
		assert_true(take(&c, SIZE_MAX));
		settle();
	}
	assert_true(c.got >= all);
	assert_int_equal(tcp.evicted, 0);
	leave(&c);
}

static void
who_reads_nothing_is_closed_after_the_idle_time(void **state)
{
	struct client c;

	(void)state;
	start(2, 9);
	c = enter('a');
	ask(&c, 40);
	fill(&c);
	assert_true(c.there->stuck);
	/* The kernel's buffers may take a little more yet: what it has taken was not read. */
	for (int i = 0; i < 10; i++) {
		world.now = c.there->deadline - 1;
		settle();
	}
	assert_true(world.now == c.there->deadline - 1);
	assert_int_equal(tcp.count, 1);
	pass(1);
	assert_int_equal(tcp.count, 0);
	assert_int_equal(tcp.pool.left, CHUNKS);
	leave(&c);
}

static void
who_keeps_more_than_one_may_is_closed(void **state)
{
	struct client c;

	(void)state;
	start(2, 9);
	c = enter('a');
	ask(&c, 40);
	fill(&c);
	assert_int_equal(tcp.evicted, 0);
	answer(&c, PIECE);
	assert_int_equal(tcp.evicted, 1);
	settle();
	assert_int_equal(tcp.count, 0);
	assert_int_equal(tcp.pool.left, CHUNKS);
	leave(&c);
}

/* b is stuck before a, though a asked before b: when the pool is used up, b pays. */
static void
when_the_pool_is_used_up_the_longest_stuck_is_closed(void **state)
{
	struct client in[6];

	(void)state;
	start(9, 9);
	for (int i = 0; i < 6; i++) {
		in[i] = enter((char)('a' + i));
		ask(&in[i], 30);
		pass(10);
	}
	fill(&in[1]);
	pass(10);
	fill(&in[0]);
	for (int i = 2; i < 6 && tcp.evicted == 0; i++) {
		pass(10);
		fill(&in[i]);
	}
	assert_int_equal(tcp.evicted, 1);
	assert_true(tcp.pool.left < CHUNKS / 4);
	settle();
	assert_int_equal(tcp.count, 5);
	while (take(&in[1], 1) && in[1].got < 1000000)
		;
	assert_true(in[1].got < 1000000);
	assert_true(is_open(&in[0]) && is_open(&in[2]) && is_open(&in[3]));
	for (int i = 0; i < 6; i++)
		leave(&in[i]);
}

/* a was stuck first, but has read since: it is not the one whose socket has taken nothing longest. */
static void
when_the_pool_is_used_up_who_reads_is_spared(void **state)
{
	struct client in[7];

	(void)state;
	start(9, 9);
	for (int i = 0; i < 7; i++) {
		in[i] = enter((char)('a' + i));
		ask(&in[i], 30);
	}
	fill(&in[0]);
	pass(10);
	fill(&in[1]);
	pass(10);
	assert_true(take(&in[0], 20000));
	settle();
	assert_true(in[0].there->stuck);
	for (int i = 2; i < 7 && tcp.evicted == 0; i++) {
		pass(10);
		fill(&in[i]);
	}
	assert_int_equal(tcp.evicted, 1);
	settle();
	assert_int_equal(in[1].there->fd, -1);
	assert_int_not_equal(in[0].there->fd, -1);
	for (int i = 0; i < 7; i++)
		leave(&in[i]);
}

static int
quiet(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	tcp_close(&tcp);
	free(block);
	world_stop();
	return 0;
}

/* Nothing is read of a client that has enough open; that it is gone shows all the same. */
static void
a_full_client_that_breaks_off_is_closed_at_once(void **state)
{
	struct linger at_once = {.l_onoff = 1};
	struct client c;

	(void)state;
	start(2, 9);
	c = enter('a');
	for (unsigned asked = 0; asked < TCP_OWED_MAX; asked += 32)
		ask(&c, 32);
	assert_int_equal(c.there->owed, TCP_OWED_MAX);
	setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	leave(&c);
	UNTIL(tcp.count == 0);
	assert_int_equal(world.proxy.table.open, 0);
}

/* What came in one piece with more than may be open is asked when there is room, though nothing more comes. */
static void
what_waits_in_our_own_buffer_is_asked_when_there_is_room(void **state)
{
	static struct made m, all;
	struct client c;

	(void)state;
	start(2, 9);
	c = enter('a');
	all.len = 0;
	for (unsigned i = 0; i < TCP_OWED_MAX + 1; i++) {
		made_init(&m, i, DNS_RD);
		made_question(&m, "a.example", 1000 + i, 1);
		made_u16(&all, (unsigned)m.len);
		made_octets(&all, m.buf, m.len);
	}
	assert_int_equal(send(c.fd, all.buf, all.len, MSG_NOSIGNAL), all.len);
	UNTIL(world.up[0].count == TCP_OWED_MAX);
	settle();
	assert_int_equal(world.up[0].count, TCP_OWED_MAX);
	answer(&c, 100);
	UNTIL(world.up[0].count == TCP_OWED_MAX);
	leave(&c);
}

static void
who_has_finished_asking_is_closed_with_its_last_answer(void **state)
{
	struct client c;

	(void)state;
	start(2, 9);
	c = enter('a');
	ask(&c, 2);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	answer(&c, 100);
	settle();
	assert_int_equal(tcp.count, 1);
	answer(&c, 100);
	UNTIL(tcp.count == 0);
	assert_true(has_answer(&c));
	leave(&c);
}

static void
more_clients_than_are_told_of_at_once_are_all_served(void **state)
{
	static struct client c[NET_NEWS_MAX + 10];
	const unsigned clients = sizeof(c) / sizeof(c[0]);
	struct made m;

	(void)state;
	start(clients, clients);
	for (unsigned i = 0; i < clients; i++)
		c[i] = enter('a');
	for (unsigned i = 0; i < clients; i++) {
		made_init(&m, i, DNS_RD);
		made_question(&m, "a.example", 1000 + i, 1);
		assert_int_equal(send(c[i].fd, (uint8_t[]){0, (uint8_t)m.len}, 2, MSG_MORE), 2);
		assert_int_equal(send(c[i].fd, m.buf, m.len, 0), m.len);
	}
	UNTIL(world.up[0].count == clients);
	for (unsigned i = 0; i < clients; i++)
		answer(&c[0], 100);
	for (unsigned i = 0; i < clients; i++) {
		UNTIL(has_answer(&c[i]));
		leave(&c[i]);
	}
	UNTIL(tcp.count == 0);
}

/* Whoever is quiet is not even looked at: select() is told of the same few descriptors, however many there are. */
static void
a_quiet_client_adds_nothing_to_a_turn(void **state)
{
	struct wants none = {.deadline = UINT64_MAX}, some = {.deadline = UINT64_MAX};
	struct client c[3];

	(void)state;
	start(9, 9);
	member.want(member.self, &none);
	for (int i = 0; i < 3; i++)
		c[i] = enter('a');
	settle();
	assert_int_equal(tcp.busies, 0);
	member.want(member.self, &some);
	assert_memory_equal(&none.rd, &some.rd, sizeof(none.rd));
	assert_memory_equal(&none.wr, &some.wr, sizeof(none.wr));
	assert_int_equal(some.deadline, world.now + TCP_IDLE_MS);
	for (int i = 0; i < 3; i++)
		leave(&c[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_is_answered_and_its_connection_stays),
		cmocka_unit_test(who_says_nothing_is_closed_after_a_while),
		cmocka_unit_test(one_address_gets_no_more_than_its_share_of_slots),
		cmocka_unit_test(when_all_slots_are_taken_the_longest_idle_makes_room),
		cmocka_unit_test(full_and_nobody_knocks_all_stay),
		cmocka_unit_test(who_has_asked_lately_is_not_the_one_to_go),
		cmocka_unit_test(each_knock_costs_one_slot),
		cmocka_unit_test(a_knock_at_another_door_closes_nobody_before_the_time),
		cmocka_unit_test(who_waits_for_an_answer_does_not_make_room),
		cmocka_unit_test(who_reads_slowly_but_reads_is_not_closed),
		cmocka_unit_test(who_reads_nothing_is_closed_after_the_idle_time),
		cmocka_unit_test(who_keeps_more_than_one_may_is_closed),
		cmocka_unit_test(when_the_pool_is_used_up_the_longest_stuck_is_closed),
		cmocka_unit_test(when_the_pool_is_used_up_who_reads_is_spared),
		cmocka_unit_test(what_waits_in_our_own_buffer_is_asked_when_there_is_room),
		cmocka_unit_test(who_has_finished_asking_is_closed_with_its_last_answer),
		cmocka_unit_test(a_full_client_that_breaks_off_is_closed_at_once),
		cmocka_unit_test(more_clients_than_are_told_of_at_once_are_all_served),
		cmocka_unit_test(a_quiet_client_adds_nothing_to_a_turn),
	};

	return cmocka_run_group_tests_name("tcp", tests, quiet, stop);
}
