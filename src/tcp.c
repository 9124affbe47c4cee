/* SPDX-License-Identifier: MIT */
#include "tcp.h"

#include <string.h>

#include "bytes.h"
#include "log.h"
#include "net.h"

#define ACCEPTS_A_TURN 64   /* then others get their turn */
#define ACCEPT_PAUSE_MS 250 /* when descriptors are used up */
#define PIECES_A_WRITE 16

static struct tcp *
tcp_of(struct listener *l)
{
	return (struct tcp *)(void *)l;
}

static uint16_t
index_of(const struct tcp *t, const struct tcp_client *c)
{
	return (uint16_t)(c - t->client);
}

static uint32_t
token_of(const struct tcp *t, const struct tcp_client *c)
{
	return (uint32_t)c->generation << 16 | index_of(t, c);
}

static struct tcp_client *
by_token(struct tcp *t, uint32_t token)
{
	struct tcp_client *c = &t->client[token & 0xffffu];

	return c->fd != -1 && c->generation == token >> 16 ? c : NULL;
}

/* Something happens to it: this turn looks at it. */
static void
touch(struct tcp *t, struct tcp_client *c)
{
	if (!c->busy)
		t->busy[t->busies++] = index_of(t, c);
	c->busy = true;
}

/* ---- The list of clients in order of deadline ----------------------------------------------- */

static void
append(struct tcp *t, struct tcp_client *c, uint64_t now)
{
	c->active_ms = now;
	c->deadline = now + TCP_IDLE_MS;
	c->taken = 0;
	c->next = TCP_NONE;
	c->prev = t->last;
	if (t->last == TCP_NONE)
		t->first = index_of(t, c);
	else
		t->client[t->last].next = index_of(t, c);
	t->last = index_of(t, c);
}

static void
take_off(struct tcp *t, struct tcp_client *c)
{
	if (c->prev == TCP_NONE)
		t->first = c->next;
	else
		t->client[c->prev].next = c->next;
	if (c->next == TCP_NONE)
		t->last = c->prev;
	else
		t->client[c->next].prev = c->prev;
}

static struct tcp_client *
client_at(const struct tcp *t, uint16_t i)
{
	return i == TCP_NONE ? NULL : &t->client[i];
}

/* ---- Slots ---------------------------------------------------------------------------------- */

size_t
tcp_memory(uint32_t clients)
{
	return clients * (sizeof(struct tcp_client) + 2 + QUERY_MSG_MAX);
}

static void reply(struct listener *self, const struct origin *to, const uint8_t *msg, size_t len);

int
tcp_init(struct tcp *t, void *block, struct proxy *proxy, uint32_t clients, uint32_t per_address,
	 const struct now *now)
{
	memset(t, 0, offsetof(struct tcp, scratch));
	t->listener.name = "tcp";
	t->listener.stream = true;
	t->listener.keepalive = TCP_IDLE_MS / 100;
	t->listener.reply = reply;
	t->proxy = proxy;
	t->now = now;
	t->client = block;
	t->in = (uint8_t(*)[2 + QUERY_MSG_MAX])(void *)(t->client + clients);
	t->clients = (uint16_t)clients;
	t->per_address = (uint16_t)per_address;
	t->first = t->last = t->free = TCP_NONE;
	chunk_pool_init(&t->pool);
	t->watch = net_watch_open();
	return t->watch == -1 ? -1 : 0;
}

void
tcp_add(struct tcp *t, int fd)
{
	t->fd[t->sockets++] = fd;
}

/* It will be closed in the next step(); what it kept is free at once. */
static void
give_up(struct tcp *t, struct tcp_client *c)
{
	c->dead = true;
	touch(t, c);
	chain_take(&t->pool, &c->kept, c->kept.len);
}

static void
open_client(struct tcp *t, int fd, const struct addr *peer, uint64_t now)
{
	struct tcp_client *c;
	uint16_t generation;
	bool busy;

	if (t->free != TCP_NONE) {
		c = &t->client[t->free];
		t->free = c->next;
	} else {
		c = &t->client[t->used++];
	}
	generation = c->generation;
	busy = c->busy; /* with what was here before */
	memset(c, 0, sizeof(*c));
	c->generation = generation;
	c->busy = busy;
	c->fd = fd;
	c->peer = *peer;
	chain_init(&c->kept);
	append(t, c, now);
	t->count++;
	c->watched = NET_IN;
	if (net_watch(t->watch, fd, index_of(t, c), NET_IN, true) == -1)
		give_up(t, c);
}

/* The one way a client's slot is given back.  Called from step() and tcp_close() only, for it tells
 * the proxy. */
static void
close_client(struct tcp *t, struct tcp_client *c)
{
	struct origin gone = {.via = &t->listener, .token = token_of(t, c)};

	if (c->owed > 0)
		proxy_forget(t->proxy, &gone);
	chain_take(&t->pool, &c->kept, c->kept.len);
	take_off(t, c);
	net_close(c->fd);
	c->fd = -1;
	c->generation++;
	c->next = t->free;
	t->free = index_of(t, c);
	t->count--;
}

/* ---- Output --------------------------------------------------------------------------------- */

/* A client that reads a long answer slowly, but reads, is given time: a new deadline for each chunk. */
static void
count_taken(struct tcp *t, struct tcp_client *c, size_t n)
{
	chain_take(&t->pool, &c->kept, n);
	c->taken += (uint32_t)n;
	if (c->stuck && c->taken >= CHUNK_SIZE) {
		take_off(t, c);
		append(t, c, t->now->mono_ms);
		c->stuck_ms = t->now->mono_ms;
	}
}

static void
become_stuck(const struct tcp *t, struct tcp_client *c)
{
	if (!c->stuck)
		c->stuck_ms = t->now->mono_ms;
	c->stuck = true;
}

static void
write_kept(struct tcp *t, struct tcp_client *c)
{
	struct net_piece piece[PIECES_A_WRITE];
	size_t pieces, skip;
	long n;

	c->dirty = false;
	while (c->kept.len > 0 && !c->dead) {
		skip = 0;
		for (pieces = 0; pieces < PIECES_A_WRITE; pieces++) {
			piece[pieces].len = chain_peek(&t->pool, &c->kept, skip, &piece[pieces].data);
			if (piece[pieces].len == 0)
				break;
			skip += piece[pieces].len;
		}
		n = net_write_pieces(c->fd, piece, pieces);
		if (n == NET_FAILED)
			give_up(t, c);
		else if (n == NET_AGAIN)
			become_stuck(t, c);
		if (n <= 0)
			return;
		count_taken(t, c, (size_t)n);
	}
	c->stuck = false;
}

/* By the list's numbers: it grows where a client is given up meanwhile. */
static void
write_all(struct tcp *t)
{
	for (uint16_t i = 0; i < t->busies; i++) {
		struct tcp_client *c = &t->client[t->busy[i]];

		if (c->fd != -1 && c->dirty)
			write_kept(t, c);
	}
}

/* The client beside c whose socket has taken nothing for the longest time. */
static struct tcp_client *
longest_stuck(struct tcp *t, const struct tcp_client *c)
{
	struct tcp_client *found = NULL;

	for (struct tcp_client *o = client_at(t, t->first); o != NULL; o = client_at(t, o->next))
		if (o != c && o->stuck && o->kept.len > 0 && (found == NULL || o->stuck_ms < found->stuck_ms))
			found = o;
	return found;
}

/* The pool is empty: those that can take their answers now do; else the client that has been stuck
 * longest pays for it.  Returns false when nobody but c itself holds any. */
static bool
make_room(struct tcp *t, const struct tcp_client *c)
{
	uint16_t left = t->pool.left;
	struct tcp_client *stuck;

	write_all(t);
	if (t->pool.left > left)
		return true;
	stuck = longest_stuck(t, c);
	if (stuck == NULL)
		return false;
	t->evicted++;
	give_up(t, stuck);
	return true;
}

static void
keep(struct tcp *t, struct tcp_client *c, const uint8_t *data, size_t len)
{
	while (!c->dead && chain_put(&t->pool, &c->kept, data, len) == -1)
		if (!make_room(t, c))
			give_up(t, c);
	c->dirty = true;
}

static void
reply(struct listener *self, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct tcp *t = tcp_of(self);
	struct tcp_client *c = by_token(t, to->token);
	uint8_t length[2];

	if (c == NULL)
		return;
	touch(t, c);
	c->owed--;
	c->active_ms = t->now->mono_ms;
	if (c->dead)
		return;
	if (c->kept.len + 2 + len > TCP_KEPT_MAX) {
		t->evicted++;
		give_up(t, c);
		return;
	}
	put16(length, (uint16_t)len);
	keep(t, c, length, sizeof(length));
	keep(t, c, msg, len);
}

/* ---- Input ---------------------------------------------------------------------------------- */

static bool
full(const struct tcp_client *c)
{
	return c->owed >= TCP_OWED_MAX || c->stuck;
}

/* Whether buf[0..have) begins with a whole message. */
static bool
whole(const uint8_t *buf, size_t have)
{
	return have >= 2 && have >= 2u + get16(buf);
}

/* Asks what is whole in buf[0..have), as far as the bounds allow.  Returns the octets used. */
static size_t
ask_all(struct tcp *t, struct tcp_client *c, const uint8_t *buf, size_t have, uint64_t now)
{
	struct origin from = {
		.via = &t->listener, .token = token_of(t, c), .max = DNS_MESSAGE_MAX, .peer = c->peer};
	size_t used = 0;

	while (have - used >= 2 && !c->dead && !full(c)) {
		size_t len = get16(buf + used);

		if (len < DNS_HEADER || len > QUERY_MSG_MAX)
			give_up(t, c); /* what follows cannot be told apart any more, or is too much */
		if (c->dead || !whole(buf + used, have - used))
			break;
		take_off(t, c);
		append(t, c, now);
		c->owed++;
		if (!proxy_ask(t->proxy, &from, buf + used + 2, len, now))
			c->owed--;
		used += 2 + len;
	}
	return used;
}

/* Keeps what is left of buf[0..have) behind used in the client's own buffer. */
static void
keep_rest(struct tcp *t, struct tcp_client *c, const uint8_t *buf, size_t have, size_t used)
{
	c->have = (uint16_t)(have - used);
	if (c->have > 0)
		memmove(t->in[index_of(t, c)], buf + used, c->have);
}

/* Whole messages wait in its buffer until answers have gone out. */
static bool
has_more(const struct tcp *t, const struct tcp_client *c)
{
	return !c->dead && !full(c) && whole(t->in[index_of(t, c)], c->have);
}

static void
read_some(struct tcp *t, struct tcp_client *c, uint64_t now)
{
	uint8_t *own = t->in[index_of(t, c)];
	/* Most input is whole messages: it needs no buffer of the client's own, whose memory stays
	 * untouched. */
	uint8_t *buf = c->have > 0 ? own : t->scratch;
	long n = net_read(c->fd, buf + c->have, sizeof(t->scratch) - c->have);

	if (n == NET_AGAIN)
		return;
	if (n == NET_FAILED) {
		give_up(t, c);
		return;
	}
	if (n == NET_CLOSED) {
		c->ended = true;
		return;
	}
	n += c->have;
	keep_rest(t, c, buf, (size_t)n, ask_all(t, c, buf, (size_t)n, now));
}

/* A client that has finished asking is closed when all is answered; a cut message is none. */
static bool
is_over(const struct tcp *t, const struct tcp_client *c)
{
	return c->dead || (c->ended && c->owed == 0 && c->kept.len == 0 && !has_more(t, c));
}

static void
serve(struct tcp *t, struct tcp_client *c, uint64_t now)
{
	uint8_t *own = t->in[index_of(t, c)];
	unsigned news = c->news;

	c->news = 0;
	if ((news & NET_BROKEN) != 0)
		give_up(t, c);
	if (c->stuck && (news & NET_OUT) != 0)
		write_kept(t, c);
	if (has_more(t, c))
		keep_rest(t, c, own, c->have, ask_all(t, c, own, c->have, now));
	else if (!c->dead && !c->ended && !full(c) && (news & NET_IN) != 0)
		read_some(t, c, now);
	if (is_over(t, c))
		close_client(t, c);
}

/* Waits for what the client may do next. */
static void
watch(const struct tcp *t, struct tcp_client *c)
{
	unsigned news = (!c->ended && !full(c) ? NET_IN : 0) | (c->stuck ? NET_OUT : 0);

	if (news == c->watched)
		return;
	c->watched = (uint8_t)news;
	(void)net_watch(t->watch, c->fd, index_of(t, c), news, false);
}

/* The end of the turn: answers leave, and those stay busy whose next step waits for nobody. */
static void
flush(void *self)
{
	struct tcp *t = self;
	uint16_t busies = t->busies;

	write_all(t);
	t->busies = 0;
	for (uint16_t i = 0; i < busies; i++) {
		struct tcp_client *c = &t->client[t->busy[i]];

		c->busy = false;
		if (c->fd == -1)
			continue;
		watch(t, c);
		if (is_over(t, c) || has_more(t, c))
			touch(t, c);
	}
}

/* ---- New clients, and time ------------------------------------------------------------------ */

static bool
same_host(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, addr_client_octets(a)) == 0;
}

static unsigned
clients_of(const struct tcp *t, const struct addr *peer)
{
	unsigned n = 0;

	for (const struct tcp_client *c = client_at(t, t->first); c != NULL; c = client_at(t, c->next))
		n += same_host(&c->peer, peer);
	return n;
}

/* Who could be closed for a new client: of those with nothing open, who has been quiet longest. */
static struct tcp_client *
quietest(const struct tcp *t)
{
	struct tcp_client *found = NULL;

	for (struct tcp_client *c = client_at(t, t->first); c != NULL; c = client_at(t, c->next))
		if (c->owed == 0 && c->kept.len == 0 && (found == NULL || c->active_ms < found->active_ms))
			found = c;
	return found;
}

/* When the next client can be accepted: 0 = now; UINT64_MAX = when something else changes. */
static uint64_t
accept_time(const struct tcp *t)
{
	const struct tcp_client *c;

	if (t->no_accept_until != 0)
		return t->no_accept_until;
	if (t->count < t->clients)
		return 0;
	c = quietest(t);
	return c != NULL ? c->active_ms + TCP_SPARE_MS : UINT64_MAX;
}

/* A client that is within its address's bound gets a slot, if need be that of the quietest. */
static void
take_in(struct tcp *t, int fd, const struct addr *peer, uint64_t now)
{
	struct tcp_client *quiet;

	if (clients_of(t, peer) >= t->per_address) {
		t->turned_away++;
		net_close(fd);
		return;
	}
	quiet = t->count == t->clients ? quietest(t) : NULL;
	if (quiet != NULL)
		close_client(t, quiet);
	open_client(t, fd, peer, now);
}

static void
accept_some(struct tcp *t, int listening, uint64_t now)
{
	struct addr peer;
	int fd;

	for (int i = 0; i < ACCEPTS_A_TURN && accept_time(t) <= now; i++) {
		fd = net_accept(listening, &peer);
		if (fd == NET_FAILED) {
			log_warn("tcp: no descriptor for a new client; accepting again in %d ms",
				 ACCEPT_PAUSE_MS);
			t->no_accept_until = now + ACCEPT_PAUSE_MS;
		}
		if (fd < 0)
			return;
		take_in(t, fd, &peer, now);
	}
}

static void
want_clients(const struct tcp *t, struct wants *w)
{
	uint64_t when = accept_time(t);

	if (when > t->now->mono_ms)
		wants_by(w, when);
	else
		for (size_t i = 0; i < t->sockets; i++)
			wants_fd(w, t->fd[i], &w->rd);
}

static void
want(void *self, struct wants *w)
{
	struct tcp *t = self;
	const struct tcp_client *oldest = client_at(t, t->first);

	want_clients(t, w);
	wants_fd(w, t->watch, &w->rd);
	if (t->busies > 0)
		wants_by(w, 0);
	if (oldest != NULL)
		wants_by(w, oldest->deadline);
}

/* Closes who has not sent a whole message in time; who waits for an answer stays. */
static void
end_idle(struct tcp *t, uint64_t now)
{
	struct tcp_client *c;

	while ((c = client_at(t, t->first)) != NULL && c->deadline <= now) {
		if ((c->owed > 0 || c->kept.len > 0) && !c->stuck) {
			take_off(t, c);
			append(t, c, now);
		} else {
			close_client(t, c);
		}
	}
}

static void
take_news(struct tcp *t)
{
	struct net_news news[NET_NEWS_MAX];
	size_t n = net_watched(t->watch, news);

	for (size_t i = 0; i < n; i++) {
		/* Closing has ended the watch: the slot is nobody else's. */
		struct tcp_client *c = &t->client[news[i].token];

		c->news = (uint8_t)news[i].what;
		touch(t, c);
	}
}

static void
step(void *self, const struct wants *ready, const struct now *now)
{
	struct tcp *t = self;

	if (FD_ISSET((unsigned)t->watch, &ready->rd))
		take_news(t);
	for (uint16_t i = 0; i < t->busies; i++)
		if (t->client[t->busy[i]].fd != -1)
			serve(t, &t->client[t->busy[i]], now->mono_ms);
	end_idle(t, now->mono_ms);
	if (t->no_accept_until <= now->mono_ms)
		t->no_accept_until = 0;
	for (size_t i = 0; i < t->sockets; i++)
		if (FD_ISSET((unsigned)t->fd[i], &ready->rd))
			accept_some(t, t->fd[i], now->mono_ms);
}

void
tcp_close(struct tcp *t)
{
	write_all(t);
	while (t->first != TCP_NONE)
		close_client(t, &t->client[t->first]);
	while (t->sockets > 0)
		net_close(t->fd[--t->sockets]);
	net_close(t->watch);
}

struct member
tcp_member(struct tcp *t)
{
	return (struct member){.want = want, .step = step, .flush = flush, .self = t};
}
