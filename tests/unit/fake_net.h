/* SPDX-License-Identifier: MIT */
/* For tests: net.h and entropy.h over a network that is made up, with DNS-over-TLS servers on it and time
 * that is a number.  It is linked in place of net.c and entropy.c.  Segments take their time, get lost while
 * a path is dead, and are sent again as TCP does it (RFC 6298), with acknowledgements of all that came.
 *
 * What can go wrong is switched by the members of struct fake_server; all of it may change at any time. */
#ifndef DNPROXY_TESTS_FAKE_NET_H
#define DNPROXY_TESTS_FAKE_NET_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/select.h>

#include "bounds.h"
#include "bytes.h"
#include "dns.h"
#include "entropy.h"
#include "frame.h"
#include "net.h"
#include "tls_server.h"
#include "wants.h"

#ifndef LAW
#error "define LAW() first"
#endif

#define FAKE_SERVERS 3
#define FAKE_FLOWS 96	 /* connections of both sides, those that only one side still knows included */
#define FAKE_FDS 64	 /* descriptors are below this */
#define FAKE_PIPE 65536u /* octets a direction holds */
#define FAKE_FLIGHTS 128 /* segments under way */
#define FAKE_OWED 1024	 /* questions of a connection not answered yet */
#define FAKE_QUESTION 96 /* the part of a question that comes back: header, name, type, class */
#define NEVER UINT64_MAX

enum fake_close { FAKE_FIN, FAKE_NOTIFY, FAKE_RST, FAKE_CLOSES };

struct fake_server {
	uint32_t delay; /* one way, ms */
	uint32_t think; /* from question to answer, ms */
	uint32_t idle;	/* closes a connection that was quiet for so long, ms; 0 = never */
	enum fake_close how;
	int keepalive; /* says so (RFC 7828, in 100 ms); -1 = nothing */
	bool drop;     /* nothing gets through, in either direction */
	bool refuse;   /* nobody listens */
	bool hang;     /* the kernel is there, the process does nothing */
	bool servfail;
	const br_x509_certificate *leaf;
	const struct made_key *key;
	br_ssl_session_cache_lru cache;
	uint8_t cache_octets[4096];
	/* What came of it: */
	uint64_t syns; /* connections begun towards it */
	uint64_t questions;
	uint64_t closed; /* connections it closed for being idle */
};

struct fake_flight {
	uint64_t from, to; /* octets of the stream; an acknowledgement has only .to */
	uint64_t at;
};

/* One direction of a connection.  The end of the stream counts as one octet. */
struct fake_pipe {
	uint8_t octets[FAKE_PIPE];
	uint64_t written, arrived, acked, taken;
	bool fin; /* the last octet written is the end */
	struct fake_flight data[FAKE_FLIGHTS], ack[FAKE_FLIGHTS];
	unsigned datas, acks;
	uint64_t again_at; /* when it is sent again */
	uint32_t again_ms;
};

struct fake_owed {
	uint64_t at;
	uint8_t msg[FAKE_QUESTION];
	size_t len;
};

struct fake_flow {
	bool used;
	struct fake_server *server;
	bool forgotten; /* a router on the way did */
	/* Our side. */
	int fd; /* -1 = closed */
	bool established;
	int error;
	bool reset;
	unsigned syns;
	uint64_t syn_again, syn_at, syn_ack_at;
	uint64_t reset_us_at, reset_server_at;
	struct fake_pipe out, in; /* to the server, to us */
	/* The server's. */
	bool accepted, closed;
	bool begun; /* TLS is */
	uint64_t active_ms;
	struct tls_server tls;
	struct frame frame;
	uint8_t frame_octets[2 + UPSTREAM_MSG_MAX];
	struct fake_owed owed[FAKE_OWED];
	unsigned owes;
};

static struct fake {
	uint64_t now;
	uint64_t seed;
	bool no_route;
	unsigned sessions; /* that servers ever began */
	unsigned fds, fds_most;
	struct fake_server server[FAKE_SERVERS];
	struct fake_flow *by_fd[FAKE_FDS];
	unsigned flows; /* flow[0..flows) may be used */
	struct fake_flow flow[FAKE_FLOWS];
} fake;

/* ---- Chance ----------------------------------------------------------------------------------- */

static inline uint32_t
fake_chance(uint32_t below)
{
	fake.seed = fake.seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((fake.seed >> 33) % below);
}

/* low <= result <= high */
static inline uint32_t
fake_between(uint32_t low, uint32_t high)
{
	return low + fake_chance(high - low + 1);
}

int
entropy_fill(void *buf, size_t len)
{
	for (uint8_t *p = buf; len-- > 0; p++)
		*p = (uint8_t)fake_chance(256);
	return 0;
}

/* ---- Paths ------------------------------------------------------------------------------------ */

static inline bool
fake_passes(const struct fake_flow *f)
{
	return !fake.no_route && !f->forgotten && !f->server->drop;
}

static inline uint64_t
fake_arrival(const struct fake_flow *f)
{
	return fake.now + f->server->delay;
}

static inline void
fake_fly(struct fake_flight *list, unsigned *count, struct fake_flight one)
{
	/* Nothing overtakes, also when the delay changes. */
	if (*count > 0 && list[*count - 1].at > one.at)
		one.at = list[*count - 1].at;
	LAW(*count < FAKE_FLIGHTS);
	list[(*count)++] = one;
}

static inline void
fake_land(struct fake_flight *list, unsigned *count)
{
	(*count)--;
	memmove(list, list + 1, *count * sizeof(*list));
}

/* Sends all that is not known to have come, from octet from on. */
static inline void
fake_transmit(struct fake_flow *f, struct fake_pipe *p, uint64_t from)
{
	if (p->again_at == NEVER) {
		p->again_ms = 200 + 2 * f->server->delay;
		p->again_at = fake.now + p->again_ms;
	}
	if (p->datas == FAKE_FLIGHTS)
		p->data[p->datas - 1].to = p->written; /* joins the one before */
	else
		fake_fly(p->data, &p->datas, (struct fake_flight){from, p->written, fake_arrival(f)});
}

static inline size_t
fake_put(struct fake_flow *f, struct fake_pipe *p, const uint8_t *data, size_t len)
{
	size_t room = FAKE_PIPE - (size_t)(p->written - p->taken);
	uint64_t from = p->written;

	if (len > room)
		len = room;
	for (size_t i = 0; i < len; i++)
		p->octets[p->written++ % FAKE_PIPE] = data[i];
	if (len > 0)
		fake_transmit(f, p, from);
	return len;
}

static inline size_t
fake_take(struct fake_pipe *p, uint8_t *buf, size_t cap)
{
	uint64_t end = p->fin && p->arrived == p->written ? p->written - 1 : p->arrived;
	size_t n = 0;

	while (n < cap && p->taken < end)
		buf[n++] = p->octets[p->taken++ % FAKE_PIPE];
	return n;
}

static inline bool
fake_at_end(const struct fake_pipe *p)
{
	return p->fin && p->arrived == p->written && p->taken == p->written - 1;
}

static inline void
fake_finish(struct fake_flow *f, struct fake_pipe *p)
{
	if (p->fin)
		return;
	p->fin = true;
	p->written++;
	fake_transmit(f, p, p->written - 1);
}

/* ---- Servers ---------------------------------------------------------------------------------- */

/* Its process closes the connection. */
static inline void
fake_server_close(struct fake_flow *f, enum fake_close how)
{
	uint8_t buf[512];
	size_t n;

	if (f->closed)
		return;
	if (how == FAKE_NOTIFY && f->begun) {
		br_ssl_engine_close(&f->tls.ctx.eng);
		while ((n = server_drain(&f->tls, buf, sizeof(buf))) > 0)
			fake_put(f, &f->in, buf, n);
	}
	f->closed = true;
	f->owes = 0;
	if (how == FAKE_RST) {
		f->reset_us_at = fake_arrival(f);
		f->in.datas = 0;
		f->in.again_at = NEVER;
	} else {
		fake_finish(f, &f->in);
	}
}

static inline void
fake_server_begin(struct fake_flow *f)
{
	struct fake_server *s = f->server;

	server_init(&f->tls, s->key, s->leaf, 1);
	br_ssl_server_set_cache(&f->tls.ctx, &s->cache.vtable);
	fake.sessions++; /* else all would have the same ID */
	br_ssl_engine_inject_entropy(&f->tls.ctx.eng, &fake.sessions, sizeof(fake.sessions));
	server_start(&f->tls);
	frame_init(&f->frame, f->frame_octets, DNS_HEADER, UPSTREAM_MSG_MAX);
	f->begun = true;
}

static inline void
fake_server_drain(struct fake_flow *f)
{
	uint8_t buf[4096];
	size_t n;

	while ((n = server_drain(&f->tls, buf, sizeof(buf))) > 0)
		LAW(fake_put(f, &f->in, buf, n) == n);
}

static inline void
fake_server_owe(struct fake_flow *f, const uint8_t *msg, size_t len)
{
	struct fake_owed *o = &f->owed[f->owes];
	struct dns_question q;

	LAW(f->owes < FAKE_OWED);
	LAW(dns_read_question(msg, len, &q) == 0 && q.end <= FAKE_QUESTION);
	memcpy(o->msg, msg, q.end);
	o->len = q.end;
	o->at = fake.now + f->server->think;
	f->owes++;
	f->server->questions++;
}

static inline void
fake_server_input(struct fake_flow *f)
{
	uint8_t raw[4096], plain[16384], *at, *msg;
	size_t n, len, taken, msg_len;

	while (!f->closed && (n = fake_take(&f->out, raw, sizeof(raw))) > 0) {
		f->active_ms = fake.now;
		if (!f->begun)
			fake_server_begin(f);
		for (size_t done = 0; done < n; done += taken) {
			taken = server_feed(&f->tls, raw + done, n - done);
			for (at = plain; (len = server_read(&f->tls, plain, sizeof(plain))) > 0; at = plain)
				while (frame_next(&f->frame, &at, &len, &msg, &msg_len) == FRAME_MESSAGE)
					fake_server_owe(f, msg, msg_len);
			fake_server_drain(f);
			if (taken == 0)
				break;
		}
		if (br_ssl_engine_current_state(&f->tls.ctx.eng) == BR_SSL_CLOSED)
			fake_server_close(f, FAKE_FIN);
	}
	if (fake_at_end(&f->out))
		fake_server_close(f, FAKE_FIN);
}

static inline void
fake_server_answer(struct fake_flow *f)
{
	struct fake_owed o = f->owed[0];
	uint8_t buf[2 + FAKE_QUESTION + 64], *p = buf + 2 + o.len;
	static const uint8_t record[] = "\xc0\x0c\0\1\0\1\0\0\0\1\0\4abcd", opt[] = "\0\0\x29\x04\xd0\0\0\0\0";

	f->owes--;
	memmove(f->owed, f->owed + 1, f->owes * sizeof(o));
	memcpy(buf + 2, o.msg, o.len);
	memcpy(buf + 4, f->server->servfail ? "\x81\x82\0\1\0\0\0\0\0\1" : "\x81\x80\0\1\0\1\0\0\0\1", 10);
	if (!f->server->servfail) {
		memcpy(p, record, 16);
		p += 16;
	}
	memcpy(p, opt, 9);
	p += 9;
	put16(p, f->server->keepalive >= 0 ? 6 : 0);
	p += 2;
	if (f->server->keepalive >= 0) {
		memcpy(p, "\0\x0b\0\2", 4);
		put16(p + 4, (uint16_t)f->server->keepalive);
		p += 6;
	}
	put16(buf, (uint16_t)(p - buf - 2));
	LAW(server_write(&f->tls, buf, (size_t)(p - buf)) == (size_t)(p - buf));
	fake_server_drain(f);
	f->active_ms = fake.now;
}

static inline uint64_t
fake_server_due(const struct fake_flow *f)
{
	const struct fake_server *s = f->server;

	if (!f->accepted || f->closed || s->hang)
		return NEVER;
	if (f->out.arrived > f->out.taken + (f->out.fin && f->out.arrived == f->out.written) ||
	    fake_at_end(&f->out))
		return fake.now;
	if (f->owes > 0)
		return f->owed[0].at;
	return s->idle > 0 ? f->active_ms + s->idle : NEVER;
}

static inline void
fake_server_step(struct fake_flow *f)
{
	if (fake_server_due(f) > fake.now)
		return;
	while (f->owes > 0 && f->owed[0].at <= fake.now)
		fake_server_answer(f);
	fake_server_input(f);
	if (!f->closed && f->owes == 0 && f->server->idle > 0 && f->active_ms + f->server->idle <= fake.now) {
		f->server->closed++;
		fake_server_close(f, f->server->how);
	}
}

/* ---- What happens on the way ------------------------------------------------------------------ */

static inline void
fake_forget_timers(struct fake_pipe *p)
{
	p->datas = p->acks = 0;
	p->again_at = NEVER;
}

static inline void
fake_send_syn(struct fake_flow *f)
{
	static const uint32_t after[] = {1000, 2000, 4000, 8000};

	f->syn_again = fake.now + after[f->syns < 3 ? f->syns : 3];
	f->syns++;
	f->syn_at = fake_arrival(f);
}

static inline void
fake_syn_arrives(struct fake_flow *f)
{
	f->syn_at = NEVER;
	if (!fake_passes(f))
		return;
	if (f->server->refuse && !f->accepted) {
		f->reset_us_at = fake_arrival(f);
		return;
	}
	f->accepted = true;
	f->active_ms = fake.now;
	f->syn_ack_at = fake_arrival(f);
}

static inline void
fake_syn_ack_arrives(struct fake_flow *f)
{
	f->syn_ack_at = NEVER;
	if (!fake_passes(f) || f->established)
		return;
	f->established = true;
	f->syn_again = NEVER;
}

static inline void
fake_data_arrives(struct fake_flow *f, struct fake_pipe *p)
{
	struct fake_flight one = p->data[0];
	bool gone = p == &f->out ? f->closed : f->fd == -1;

	fake_land(p->data, &p->datas);
	if (!fake_passes(f))
		return;
	/* Nobody is there any more to read it.  The end of a stream is welcome, all the same. */
	if (gone && !(p->fin && one.from == p->written - 1)) {
		if (p == &f->out)
			f->reset_us_at = fake_arrival(f);
		else
			f->reset_server_at = fake_arrival(f);
		return;
	}
	if (one.from > p->arrived)
		return; /* what was before it is lost: it is sent again with that */
	if (one.to > p->arrived)
		p->arrived = one.to;
	if (p->acks == FAKE_FLIGHTS)
		p->ack[p->acks - 1].to = p->arrived;
	else
		fake_fly(p->ack, &p->acks, (struct fake_flight){0, p->arrived, fake_arrival(f)});
}

static inline void
fake_ack_arrives(struct fake_flow *f, struct fake_pipe *p)
{
	uint64_t to = p->ack[0].to;

	fake_land(p->ack, &p->acks);
	if (!fake_passes(f) || to <= p->acked)
		return;
	p->acked = to;
	p->again_ms = 200 + 2 * f->server->delay;
	p->again_at = p->acked < p->written ? fake.now + p->again_ms : NEVER;
}

/* A cap of some seconds, that more is tried in less time. */
static inline void
fake_send_again(struct fake_flow *f, struct fake_pipe *p)
{
	p->again_ms = p->again_ms < 2000 ? p->again_ms * 2 : 4000;
	p->again_at = fake.now + p->again_ms;
	fake_transmit(f, p, p->acked);
}

static inline void
fake_step_pipe(struct fake_flow *f, struct fake_pipe *p)
{
	while (p->datas > 0 && p->data[0].at <= fake.now)
		fake_data_arrives(f, p);
	while (p->acks > 0 && p->ack[0].at <= fake.now)
		fake_ack_arrives(f, p);
	if (p->again_at <= fake.now)
		fake_send_again(f, p);
}

static inline void
fake_resets_arrive(struct fake_flow *f)
{
	if (f->reset_us_at <= fake.now) {
		f->reset_us_at = NEVER;
		if (fake_passes(f)) {
			f->reset = true;
			f->error = f->established ? ECONNRESET : ECONNREFUSED;
			f->syn_again = NEVER;
			fake_forget_timers(&f->out);
		}
	}
	if (f->reset_server_at <= fake.now) {
		f->reset_server_at = NEVER;
		if (fake_passes(f)) {
			f->closed = true;
			f->owes = 0;
			fake_forget_timers(&f->in);
		}
	}
}

static inline void
fake_end_flow(struct fake_flow *f)
{
	f->used = false;
	while (fake.flows > 0 && !fake.flow[fake.flows - 1].used)
		fake.flows--;
}

/* Nobody of the two knows it any more. */
static inline bool
fake_is_over(const struct fake_flow *f)
{
	return f->fd == -1 && (f->closed || !f->accepted || f->reset);
}

static inline void
fake_step_flow(struct fake_flow *f)
{
	if (f->syn_again <= fake.now)
		fake_send_syn(f);
	if (f->syn_at <= fake.now)
		fake_syn_arrives(f);
	if (f->syn_ack_at <= fake.now)
		fake_syn_ack_arrives(f);
	fake_step_pipe(f, &f->out);
	fake_step_pipe(f, &f->in);
	fake_resets_arrive(f);
	fake_server_step(f);
	if (fake_is_over(f))
		fake_end_flow(f);
}

static inline uint64_t
fake_sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
fake_pipe_due(const struct fake_pipe *p)
{
	uint64_t due = p->again_at;

	if (p->datas > 0)
		due = fake_sooner(due, p->data[0].at);
	if (p->acks > 0)
		due = fake_sooner(due, p->ack[0].at);
	return due;
}

static inline uint64_t
fake_flow_due(const struct fake_flow *f)
{
	uint64_t due = fake_sooner(f->syn_again, fake_sooner(f->syn_at, f->syn_ack_at));

	due = fake_sooner(due, fake_sooner(f->reset_us_at, f->reset_server_at));
	due = fake_sooner(due, fake_sooner(fake_pipe_due(&f->out), fake_pipe_due(&f->in)));
	return fake_sooner(due, fake_server_due(f));
}

/* When something happens next. */
static inline uint64_t
fake_due(void)
{
	uint64_t due = NEVER;

	for (unsigned i = 0; i < fake.flows; i++)
		if (fake.flow[i].used)
			due = fake_sooner(due, fake_flow_due(&fake.flow[i]));
	return due;
}

/* Lets all happen that is due until then. */
static inline void
fake_pass(uint64_t now)
{
	uint64_t due;

	while ((due = fake_due()) <= now) {
		fake.now = due > fake.now ? due : fake.now;
		for (unsigned i = 0; i < fake.flows; i++)
			if (fake.flow[i].used && fake_flow_due(&fake.flow[i]) <= fake.now)
				fake_step_flow(&fake.flow[i]);
	}
	fake.now = now;
}

/* ---- net.h ------------------------------------------------------------------------------------ */

static inline struct fake_flow *
fake_flow_of(int fd)
{
	LAW(fd >= 0 && fd < FAKE_FDS && fake.by_fd[fd] != NULL);
	return fake.by_fd[fd];
}

/* As the kernel does it, the lowest one: numbers are used again at once. */
static inline int
fake_new_fd(void)
{
	int fd = 3;

	while (fake.by_fd[fd] != NULL)
		fd++;
	LAW(fd < FAKE_FDS - 1);
	return fd;
}

static inline struct fake_flow *
fake_new_flow(void)
{
	unsigned i = 0;

	while (i < FAKE_FLOWS && fake.flow[i].used)
		i++;
	/* Some server hangs, and its queue is long: the oldest ones that we do not know any more go. */
	for (unsigned k = 0; i == FAKE_FLOWS && k < FAKE_FLOWS; k++)
		if (fake.flow[k].fd == -1)
			i = k;
	LAW(i < FAKE_FLOWS);
	if (i >= fake.flows)
		fake.flows = i + 1;
	return &fake.flow[i];
}

/* Servers are told apart by the last octet of their address. */
int
net_connect(const struct addr *to)
{
	struct fake_flow *f;
	int fd;

	if (fake.no_route) {
		errno = ENETUNREACH;
		return -1;
	}
	fd = fake_new_fd();
	f = fake_new_flow();
	memset(f, 0, offsetof(struct fake_flow, owed));
	f->owes = 0;
	f->used = true;
	LAW(to->ip[3] < FAKE_SERVERS);
	f->server = &fake.server[to->ip[3]];
	f->server->syns++;
	f->fd = fd;
	fake.by_fd[fd] = f;
	f->syn_again = f->syn_at = f->syn_ack_at = f->reset_us_at = f->reset_server_at = NEVER;
	f->in.again_at = f->out.again_at = NEVER;
	fake_send_syn(f);
	if (++fake.fds > fake.fds_most)
		fake.fds_most = fake.fds;
	return fd;
}

int
net_connect_error(int fd)
{
	return fake_flow_of(fd)->error;
}

long
net_read(int fd, uint8_t *buf, size_t cap)
{
	struct fake_flow *f = fake_flow_of(fd);
	size_t n = fake_take(&f->in, buf, cap);

	if (n > 0)
		return (long)n;
	if (fake_at_end(&f->in))
		return NET_CLOSED;
	if (!f->reset)
		return NET_AGAIN;
	errno = f->error;
	return NET_FAILED;
}

long
net_write(int fd, const uint8_t *buf, size_t len)
{
	struct fake_flow *f = fake_flow_of(fd);
	size_t n;

	LAW(f->established || f->reset);
	if (f->reset) {
		errno = EPIPE;
		return NET_FAILED;
	}
	if (len == 0)
		return 0;
	n = fake_put(f, &f->out, buf, len);
	return n > 0 ? (long)n : NET_AGAIN;
}

void
net_quick_ack(int fd)
{
	(void)fake_flow_of(fd);
}

bool
net_is_acknowledged(int fd)
{
	const struct fake_flow *f = fake_flow_of(fd);

	return f->out.acked == f->out.written;
}

void
net_close(int fd)
{
	struct fake_flow *f = fake_flow_of(fd);

	fake.fds--;
	fake.by_fd[fd] = NULL;
	f->fd = -1;
	f->syn_again = NEVER;
	if (!f->established || f->forgotten) {
		fake_end_flow(f); /* its server will never hear of it again */
		return;
	}
	if (f->reset)
		f->closed = true;
	else if (f->in.arrived > f->in.taken + f->in.fin)
		f->reset_server_at = fake_arrival(f);
	else
		fake_finish(f, &f->out);
	if (fake_is_over(f))
		fake_end_flow(f);
}

static inline bool
fake_readable(int fd)
{
	const struct fake_flow *f = fake_flow_of(fd);

	return f->reset || f->in.arrived > f->in.taken;
}

static inline bool
fake_writable(int fd)
{
	const struct fake_flow *f = fake_flow_of(fd);

	return f->reset || (f->established && f->out.written - f->out.taken < FAKE_PIPE);
}

/* What select() makes of the sets.  Returns whether anything is ready. */
static inline bool
fake_select(struct wants *w)
{
	bool any = false;

	for (int fd = 0; fd < w->nfds; fd++) {
		if (FD_ISSET(fd, &w->rd) && !fake_readable(fd))
			FD_CLR(fd, &w->rd);
		if (FD_ISSET(fd, &w->wr) && !fake_writable(fd))
			FD_CLR(fd, &w->wr);
		any = any || FD_ISSET(fd, &w->rd) || FD_ISSET(fd, &w->wr);
	}
	return any;
}

/* ---- Events of the test's making --------------------------------------------------------------- */

/* The server loses all that it knew of connections, in the middle of whatever was going on; and of sessions
 * too, if it is told to. */
static inline void
fake_restart(struct fake_server *s, bool sessions_too)
{
	for (unsigned i = 0; i < FAKE_FLOWS; i++) {
		struct fake_flow *f = &fake.flow[i];

		if (!f->used || f->server != s || !f->accepted)
			continue;
		fake_server_close(f, FAKE_RST);
		if (fake_is_over(f))
			fake_end_flow(f);
	}
	if (sessions_too)
		br_ssl_session_cache_lru_init(&s->cache, s->cache_octets, sizeof(s->cache_octets));
}

/* A router on the way loses the connections to a server.  A SYN that is still under way makes it learn. */
static inline void
fake_forget(const struct fake_server *s)
{
	for (unsigned i = 0; i < FAKE_FLOWS; i++) {
		struct fake_flow *f = &fake.flow[i];

		if (f->used && f->server == s && f->fd == -1)
			fake_end_flow(f);
		else if (f->used && f->server == s && f->established)
			f->forgotten = true;
	}
}

/* We have another address: all that was sent from the old one is of no use. */
static inline void
fake_move(void)
{
	for (unsigned i = 0; i < FAKE_FLOWS; i++) {
		struct fake_flow *f = &fake.flow[i];

		if (f->used && f->fd == -1)
			fake_end_flow(f);
		else if (f->used)
			f->forgotten = true;
	}
}

/* Everything works. */
static inline void
fake_heal(void)
{
	fake.no_route = false;
	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		struct fake_server *s = &fake.server[i];

		s->drop = s->refuse = s->hang = s->servfail = false;
		s->think = 1;
	}
}

/* Without connections; time goes on from now. */
static inline void
fake_start(uint64_t seed, uint64_t now, const struct made_key *key, const struct made_cert *leaf)
{
	memset(&fake, 0, offsetof(struct fake, flow));
	for (unsigned i = 0; i < FAKE_FLOWS; i++)
		fake.flow[i].used = false;
	fake.seed = seed;
	fake.now = now;
	for (unsigned i = 0; i < FAKE_SERVERS; i++) {
		struct fake_server *s = &fake.server[i];

		s->delay = 10;
		s->think = 1;
		s->keepalive = -1;
		s->key = key;
		s->leaf = &leaf->x509;
		br_ssl_session_cache_lru_init(&s->cache, s->cache_octets, sizeof(s->cache_octets));
	}
}

#endif
