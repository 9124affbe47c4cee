/* SPDX-License-Identifier: MIT */
/* Many clients of a DNS forwarder on 127.0.0.1 that go on asking: each keeps so many questions open, asks the
 * next as soon as an answer is there, and checks each answer.
 *
 *   crowd udp|tcp PORT CLIENTS IN_FLIGHT QUERIES FIRST [NAMES]
 *
 * Each client has a socket of its own.  The names are numbers from FIRST on, or from the NAMES first of them, over
 * and over.  Prints "asked N lost N wrong N us N", the time it took last. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1000u
#define IN_FLIGHT_MAX 64u
#define PATIENCE_MS 2000 /* without any answer: what is open then is lost */
#define NAME_AT 12u
#define QUERY_LEN 32u
#define IN_MAX 65536u

struct client {
	int fd;
	uint32_t asked[IN_FLIGHT_MAX]; /* the number behind each ID */
	bool open[IN_FLIGHT_MAX];
	size_t have;
	uint8_t in[IN_MAX];
};

static struct client *client;
static bool tcp;
static unsigned clients, in_flight, names;
static uint32_t first, total, asked, answered, wrong;

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* The question "XXXXXXXX.crowd. A". */
static void
make_query(uint8_t q[QUERY_LEN], uint16_t id, uint32_t number)
{
	static const uint8_t fixed[NAME_AT + 1] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 8};
	static const uint8_t tail[] = {5, 'c', 'r', 'o', 'w', 'd', 0, 0, 1, 0, 1};

	memcpy(q, fixed, sizeof(fixed));
	q[0] = (uint8_t)(id >> 8);
	q[1] = (uint8_t)id;
	for (unsigned i = 0; i < 8; i++)
		q[NAME_AT + 1 + i] = (uint8_t)("0123456789abcdef"[number >> (28 - 4 * i) & 15]);
	memcpy(q + NAME_AT + 9, tail, sizeof(tail));
}

/* Takes one answer.  Returns whether it is one to an open question. */
static bool
take(struct client *c, const uint8_t *a, size_t len)
{
	uint8_t q[QUERY_LEN];
	unsigned id = len < 2 ? IN_FLIGHT_MAX : (unsigned)a[0] << 8 | a[1];

	if (id >= in_flight || id >= IN_FLIGHT_MAX || !c->open[id] || len < QUERY_LEN)
		return false;
	make_query(q, (uint16_t)id, c->asked[id]);
	if ((a[2] & 0x80) == 0 || (a[3] & 0x0f) != 0 || a[7] != 1 ||
	    memcmp(a + NAME_AT, q + NAME_AT, QUERY_LEN - NAME_AT) != 0)
		return false;
	c->open[id] = false;
	answered++;
	return true;
}

/* Asks as many as the client may have open, over TCP in one piece. */
static void
ask(struct client *c)
{
	uint8_t out[IN_FLIGHT_MAX * (2 + QUERY_LEN)];
	size_t len = 0;

	for (unsigned id = 0; id < in_flight; id++) {
		if (c->open[id] || asked == total)
			continue;
		c->open[id] = true;
		c->asked[id] = first + (names == 0 ? asked : asked % names);
		asked++;
		out[len] = 0;
		out[len + 1] = QUERY_LEN;
		make_query(out + len + 2, (uint16_t)id, c->asked[id]);
		len += 2 + QUERY_LEN;
		if (tcp)
			continue;
		if (send(c->fd, out + 2, len - 2, 0) == -1)
			err(1, "send");
		len = 0;
	}
	if (len > 0 && send(c->fd, out, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

static void
read_stream(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, MSG_DONTWAIT);
	size_t at = 0;

	if (n <= 0)
		err(1, "a connection has ended");
	c->have += (size_t)n;
	while (c->have - at >= 2) {
		size_t len = (size_t)c->in[at] << 8 | c->in[at + 1];

		if (c->have - at < 2 + len)
			break;
		wrong += !take(c, c->in + at + 2, len);
		at += 2 + len;
	}
	c->have -= at;
	memmove(c->in, c->in + at, c->have);
}

static void
read_datagrams(struct client *c)
{
	ssize_t n;

	while ((n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT)) >= 0)
		wrong += !take(c, c->in, (size_t)n);
}

static void
open_client(struct client *c, uint16_t port, int poll_fd)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in from = {.sin_family = AF_INET};
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
	int one = 1;

	/* Ten clients an address: what is bounded by address is not what is measured. */
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (uint32_t)(c - client) / 10);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
	if (c->fd == -1 || bind(c->fd, (struct sockaddr *)&from, sizeof(from)) == -1 ||
	    connect(c->fd, (struct sockaddr *)&to, sizeof(to)) == -1)
		err(1, "client socket");
	if (tcp)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &e) == -1)
		err(1, "epoll");
}

static unsigned
number(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

int
main(int argc, char **argv)
{
	struct epoll_event e[CLIENTS_MAX];
	int poll_fd = epoll_create1(EPOLL_CLOEXEC), n;
	uint64_t began;

	if (argc < 7 || argc > 8)
		errx(2, "usage: crowd udp|tcp PORT CLIENTS IN_FLIGHT QUERIES FIRST [NAMES]");
	tcp = strcmp(argv[1], "tcp") == 0;
	clients = number(argv[3]);
	in_flight = number(argv[4]);
	total = number(argv[5]);
	first = number(argv[6]);
	names = argc == 8 ? number(argv[7]) : 0;
	if (clients > CLIENTS_MAX || in_flight > IN_FLIGHT_MAX || total == 0)
		errx(2, "at most %u clients with %u questions each", CLIENTS_MAX, IN_FLIGHT_MAX);
	client = calloc(clients, sizeof(*client));
	if (client == NULL)
		err(1, "memory");
	for (unsigned i = 0; i < clients; i++)
		open_client(&client[i], (uint16_t)number(argv[2]), poll_fd);
	began = now_us();
	for (unsigned i = 0; i < clients; i++)
		ask(&client[i]);
	while (answered < total && (n = epoll_wait(poll_fd, e, CLIENTS_MAX, PATIENCE_MS)) > 0) {
		for (int i = 0; i < n; i++) {
			if (tcp)
				read_stream(e[i].data.ptr);
			else
				read_datagrams(e[i].data.ptr);
			ask(e[i].data.ptr);
		}
	}
	printf("asked %u lost %u wrong %u us %llu\n", asked, total - answered, wrong,
	       (unsigned long long)(now_us() - began));
	return answered == total && wrong == 0 ? 0 : 1;
}
