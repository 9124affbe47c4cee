/* SPDX-License-Identifier: MIT */
#include "start.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "text.h"

#define SPARE 16u /* the standard streams, the signals', and a few for the C library */

/* Listeners, upstream connections, clients: of one worker. */
_Static_assert(2 * LISTEN_MAX + 3 * UPSTREAMS_MAX + TCP_CLIENTS_MAX + SPARE <= FD_SETSIZE,
	       "select() cannot wait for that many descriptors");

void
start_count(struct config *c)
{
	unsigned long set[1024 / (8 * sizeof(unsigned long))];
	long octets = syscall(SYS_sched_getaffinity, 0, sizeof(set), set);

	if (c->workers != 0)
		return;
	for (long i = 0; i < octets / (long)sizeof(set[0]); i++)
		for (; set[i] != 0 && c->workers < WORKERS_MAX; set[i] &= set[i] - 1)
			c->workers++;
	if (c->workers == 0)
		c->workers = 1;
}

/* ---- Descriptors ---------------------------------------------------------------------------- */

/* Reads, or else sets, how many descriptors are granted.  The system call itself: the C library's brings 2 kB
 * that tell other threads. */
static int
descriptors(const uint64_t set[2], uint64_t get[2])
{
	return (int)syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, set, get);
}

/* Asks for so many descriptors.  Returns how many there are, at most as many as select() takes. */
static size_t
ask_for(size_t want)
{
	uint64_t limit[2]; /* in force, and the most there can be */
	uint64_t have = FD_SETSIZE;

	if (descriptors(NULL, limit) == 0) {
		have = limit[0];
		limit[0] = limit[1] < want ? limit[1] : want;
		if (have < limit[0] && descriptors(limit, NULL) == 0)
			have = limit[0];
	}
	return have < FD_SETSIZE ? (size_t)have : FD_SETSIZE;
}

int
start_fit(struct config *c)
{
	/* A worker closes the sockets of the others before it opens anything.  TCP clients get what is left by
	 * the rest, or many of them would keep dnproxy from reaching its upstreams. */
	size_t each = 2 * c->listens, all = each * c->workers + SPARE;
	size_t beside = each + 3 * c->upstreams + SPARE, want = beside + c->tcp_clients;
	size_t have = ask_for(want > all ? want : all);

	if (have <= beside) {
		log_error("only %zu descriptors are granted, %zu are needed; raise the limit (ulimit -n)", have,
			  beside + 1);
		return -1;
	}
	if (have < all) {
		c->workers = (uint16_t)((have - SPARE) / each);
		log_warn("only %zu descriptors are granted (ulimit -n) or of use: %u workers", have,
			 (unsigned)c->workers);
	}
	if (have < want) {
		c->tcp_clients = (uint16_t)(have - beside);
		log_warn("only %zu descriptors are granted (ulimit -n): at most %u TCP clients at once", have,
			 (unsigned)c->tcp_clients);
	}
	return 0;
}

/* ---- Listening sockets ---------------------------------------------------------------------- */

static int
refuse(const struct addr *at, bool stream)
{
	char text[ADDR_TEXT_MAX];
	const char *remedy = "";

	addr_text(text, at);
	if (errno == EADDRINUSE)
		remedy = "; stop what listens there (ss -lntup), or set another dnproxy.port";
	else if (errno == EACCES || errno == EPERM)
		remedy = "; set dnproxy.port (DNPROXY_PORT) to 5353, or give CAP_NET_BIND_SERVICE (setcap, "
			 "AmbientCapabilities=, --cap-add NET_BIND_SERVICE), or sysctl "
			 "net.ipv4.ip_unprivileged_port_start=53";
	else if (errno == EADDRNOTAVAIL)
		remedy = "; no interface has this address (ip addr)";
	log_error("cannot listen on %s (%s): %s%s", text, stream ? "tcp" : "udp", text_error(errno), remedy);
	return -1;
}

static int
open_one(const struct addr *at, bool stream, bool shared)
{
	int fd = stream ? net_listen_tcp(at, shared) : net_listen_udp(at, shared);

	return fd == -1 ? refuse(at, stream) : fd;
}

/* By address, there by kind, datagrams first, and there by worker. */
static uint16_t sockets[FD_SETSIZE];
static size_t opened;

int
start_listen(const struct config *c)
{
	bool shared = c->workers > 1;

	for (size_t i = 0; i < 2 * c->listens; i++) {
		const struct addr *at = &c->listen[i / 2];
		int fd;

		/* Whether the address is somebody else's shows only while it is not shared. */
		if (shared && (fd = open_one(at, i & 1, false)) == -1)
			return -1;
		if (shared)
			net_close(fd);
		for (size_t w = 0; w < c->workers; w++) {
			if ((fd = open_one(at, i & 1, shared)) == -1)
				return -1;
			sockets[opened++] = (uint16_t)fd;
		}
	}
	return 0;
}

void
start_take(const struct config *c, size_t worker, struct udp *udp, struct tcp *tcp)
{
	for (size_t i = 0; i < opened; i++) {
		if (i % c->workers != worker)
			net_close(sockets[i]);
		else if ((i / c->workers & 1) == 0)
			udp_add(udp, sockets[i]);
		else
			tcp_add(tcp, sockets[i]);
	}
}
