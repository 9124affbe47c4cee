/* SPDX-License-Identifier: MIT */
#include "udp.h"

#include <string.h>

static struct udp *
udp_of(struct listener *l)
{
	return (struct udp *)(void *)l;
}

/* Sends the gathered replies; each run of replies of one socket is one call. */
static void
flush(void *self)
{
	struct udp *u = self;
	size_t at = 0;

	while (at < u->outs) {
		size_t run = 1;

		while (at + run < u->outs && u->out_socket[at + run] == u->out_socket[at])
			run++;
		u->unsent += run - net_send(u->fd[u->out_socket[at]], u->out + at, run);
		at += run;
	}
	u->outs = 0;
	u->out_used = 0;
}

static void
reply(struct listener *self, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct udp *u = udp_of(self);
	struct net_datagram *d;

	if (u->outs == UDP_BATCH || len > sizeof(u->out_data) - u->out_used)
		flush(u);
	d = &u->out[u->outs];
	d->data = u->out_data + u->out_used;
	d->len = len;
	d->peer = to->peer;
	d->local = to->local;
	memcpy(d->data, msg, len);
	u->out_socket[u->outs++] = to->token;
	u->out_used += len;
}

void
udp_init(struct udp *u, struct proxy *proxy, uint16_t reply_max)
{
	memset(u, 0, offsetof(struct udp, in_data));
	u->listener.name = "udp";
	u->listener.keepalive = -1; /* RFC 7828 section 3.2.1: never over UDP */
	u->listener.reply = reply;
	u->proxy = proxy;
	u->reply_max = reply_max;
	for (size_t i = 0; i < UDP_BATCH; i++)
		u->in[i].data = u->in_data[i];
}

void
udp_add(struct udp *u, int fd)
{
	u->fd[u->sockets++] = fd;
}

void
udp_close(struct udp *u)
{
	flush(u);
	while (u->sockets > 0)
		net_close(u->fd[--u->sockets]);
}

/* Reads one batch.  Returns whether there may be more. */
static bool
receive(struct udp *u, size_t socket, uint64_t now)
{
	size_t n = net_receive(u->fd[socket], u->in, UDP_BATCH, QUERY_MSG_MAX);
	struct origin from = {.via = &u->listener, .token = (uint32_t)socket, .max = u->reply_max};

	for (size_t i = 0; i < n; i++) {
		/* What is longer is cut, hence malformed, and told so. */
		size_t len = u->in[i].len > QUERY_MSG_MAX ? QUERY_MSG_MAX : u->in[i].len;

		if (u->in[i].peer.port == 0)
			continue; /* nobody can be answered there */
		from.peer = u->in[i].peer;
		from.local = u->in[i].local;
		proxy_ask(u->proxy, &from, u->in[i].data, len, now);
	}
	return n == UDP_BATCH;
}

static void
want(void *self, struct wants *w)
{
	struct udp *u = self;

	for (size_t i = 0; i < u->sockets; i++)
		wants_fd(w, u->fd[i], &w->rd);
}

static void
step(void *self, const struct wants *ready, const struct now *now)
{
	struct udp *u = self;

	for (size_t i = 0; i < u->sockets; i++)
		if (FD_ISSET((unsigned)u->fd[i], &ready->rd))
			for (unsigned b = 0; b < UDP_BATCHES && receive(u, i, now->mono_ms); b++)
				;
}

struct member
udp_member(struct udp *u)
{
	return (struct member){.want = want, .step = step, .flush = flush, .self = u};
}
