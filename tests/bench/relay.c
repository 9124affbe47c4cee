/* SPDX-License-Identifier: MIT */
/* A long line between a TCP client and a server, for kernels without netem: whatever is sent takes half
 * of the round trip, each way, and so do the end and the reset of a connection.
 *
 *   relay ADDRESS PORT TO_ADDRESS TO_PORT ROUND_TRIP_MS
 *
 * The kernel answers a SYN before the relay knows of it: so what a client sends in the first round trip
 * leaves when that is over, and arrives when it would had the SYN taken its time.  Ends by SIGTERM. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINKS 256u
#define READ_MAX 16384u

enum kind { OCTETS, END, RESET };

struct chunk {
	struct chunk *next;
	uint64_t due_ns;
	enum kind kind;
	size_t len;
	uint8_t data[];
};

/* One direction of a connection: what was read from one socket, until it is due at the other. */
struct way {
	int in, out;
	struct chunk *first, **last;
	bool ended;	  /* nothing more comes in */
	bool delivered;	  /* and all of it has gone out */
	uint64_t from_ns; /* nothing is on its way before: the connection is not open */
};

/* A connection; used while its sockets are not -1. */
struct link {
	struct way up, down;
};

static struct link links[LINKS];
static uint64_t half_ns;
static struct sockaddr_in target;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct sockaddr_in
address(const char *text, const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};

	if (inet_pton(AF_INET, text, &at.sin_addr) != 1)
		errx(2, "%s: no IPv4 address", text);
	return at;
}

/* ---- One direction -------------------------------------------------------------------------- */

static void
way_open(struct way *w, int in, int out, uint64_t from_ns)
{
	int one = 1;

	setsockopt(in, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	w->in = in;
	w->out = out;
	w->first = NULL;
	w->last = &w->first;
	w->ended = w->delivered = false;
	w->from_ns = from_ns;
}

static void
way_drop(struct way *w)
{
	while (w->first != NULL) {
		struct chunk *c = w->first;

		w->first = c->next;
		free(c);
	}
	w->in = w->out = -1;
}

static void
way_read(struct way *w)
{
	static uint8_t data[READ_MAX];
	ssize_t n = recv(w->in, data, sizeof(data), MSG_DONTWAIT);
	uint64_t now = now_ns();
	struct chunk *c;

	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	c = malloc(sizeof(*c) + (n > 0 ? (size_t)n : 0));
	if (c == NULL)
		errx(1, "out of memory");
	c->next = NULL;
	c->due_ns = (now > w->from_ns ? now : w->from_ns) + half_ns;
	c->kind = n > 0 ? OCTETS : n == 0 ? END : RESET;
	c->len = n > 0 ? (size_t)n : 0;
	memcpy(c->data, data, c->len);
	w->ended = n <= 0;
	*w->last = c;
	w->last = &c->next;
}

/* Delivers what is due; returns whether the connection was reset.  Sockets are blocking: a client that
 * does not read holds up all, which these loads never do. */
static bool
way_deliver(struct way *w, uint64_t now)
{
	while (w->first != NULL && w->first->due_ns <= now) {
		struct chunk *c = w->first;
		bool gone = c->kind == RESET ||
			    (c->kind == OCTETS && send(w->out, c->data, c->len, MSG_NOSIGNAL) == -1);

		if (c->kind == END) {
			shutdown(w->out, SHUT_WR);
			w->delivered = true;
		}
		w->first = c->next;
		if (w->first == NULL)
			w->last = &w->first;
		free(c);
		if (gone)
			return true;
	}
	return false;
}

/* ---- Connections ---------------------------------------------------------------------------- */

static void
link_open(int client)
{
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct link *l;

	for (l = links; l < links + LINKS && l->up.in != -1; l++)
		;
	if (l == links + LINKS || server == -1 ||
	    connect(server, (struct sockaddr *)&target, sizeof(target)) == -1) {
		close(server);
		close(client);
		return;
	}
	way_open(&l->up, client, server, now_ns() + 2 * half_ns);
	way_open(&l->down, server, client, 0);
}

static void
link_close(struct link *l, bool by_reset)
{
	static const struct linger at_once = {1, 0};
	int client = l->up.in, server = l->down.in;

	if (by_reset) {
		setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		setsockopt(server, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	}
	close(client);
	close(server);
	way_drop(&l->up);
	way_drop(&l->down);
}

static void
deliver(void)
{
	uint64_t now = now_ns();
	struct link *l;

	for (l = links; l < links + LINKS; l++) {
		if (l->up.in == -1)
			continue;
		if (way_deliver(&l->up, now) || way_deliver(&l->down, now))
			link_close(l, true);
		else if (l->up.delivered && l->down.delivered)
			link_close(l, false);
	}
}

/* ---- The turn ------------------------------------------------------------------------------- */

/* Waits for octets, or for the time when some are due.  at[0] is the listener. */
static void
wait_turn(struct pollfd *at, struct way **of, nfds_t *n)
{
	uint64_t now = now_ns(), due = UINT64_MAX;
	struct timespec t = {0, 0};
	struct link *l;

	for (l = links, *n = 1; l < links + LINKS; l++) {
		struct way *both[2] = {&l->up, &l->down};
		size_t i;

		for (i = 0; i < 2; i++) {
			struct way *w = both[i];

			if (w->in != -1 && w->first != NULL && w->first->due_ns < due)
				due = w->first->due_ns;
			if (w->in == -1 || w->ended)
				continue;
			at[*n] = (struct pollfd){.fd = w->in, .events = POLLIN};
			of[(*n)++] = w;
		}
	}
	if (due > now && due != UINT64_MAX) {
		t.tv_sec = (time_t)((due - now) / 1000000000u);
		t.tv_nsec = (long)((due - now) % 1000000000u);
	}
	if (ppoll(at, *n, due == UINT64_MAX ? NULL : &t, NULL) == -1 && errno != EINTR)
		err(1, "ppoll");
}

int
main(int argc, char **argv)
{
	static struct pollfd at[1 + 2 * LINKS];
	static struct way *of[1 + 2 * LINKS];
	struct sockaddr_in here;
	nfds_t n, i;
	int one = 1, fd, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 6)
		errx(2, "usage: relay ADDRESS PORT TO_ADDRESS TO_PORT ROUND_TRIP_MS");
	here = address(argv[1], argv[2]);
	target = address(argv[3], argv[4]);
	half_ns = strtoull(argv[5], NULL, 10) * 500000u;
	for (i = 0; i < LINKS; i++)
		links[i].up.in = links[i].down.in = -1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) == -1 || listen(listener, 511) == -1)
		err(1, "listen");
	printf("ready\n");
	fflush(stdout);
	at[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (;;) {
		wait_turn(at, of, &n);
		if (at[0].revents != 0 && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) != -1)
			link_open(fd);
		for (i = 1; i < n; i++)
			if (at[i].revents != 0 && of[i]->in == at[i].fd)
				way_read(of[i]);
		deliver();
	}
}
