/* SPDX-License-Identifier: MIT */
#include "dot.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "entropy.h"
#include "log.h"
#include "net.h"
#include "text.h"

/* One read of any connection; always used up before the next. */
static uint8_t scratch[NET_READ_MAX];

static struct dot *
dot_of(struct upstream *up)
{
	return (struct dot *)(void *)up;
}

static void
enter(struct dot *d, enum dot_state state)
{
	d->state = state;
	d->begun_ms = d->now->mono_ms;
}

/* ---- The end of a connection ---------------------------------------------------------------- */

/* Lets go of the descriptor and all that belonged to the connection. */
static void
hang_up(struct dot *d)
{
	if (d->fd != -1)
		net_close(d->fd);
	d->fd = -1;
	d->out_len = 0;
	d->unanswered = 0;
	d->freshly_ready = d->blocked = false;
	d->waiting_ms = 0;
	frame_reset(&d->frame);
}

/* A rest that several programs which lost the same server at the same time do not share. */
static uint32_t
next_rest(struct dot *d, bool distrust)
{
	uint32_t rest = distrust && d->rest_ms < DOT_REST_DISTRUST_MS ? DOT_REST_DISTRUST_MS : d->rest_ms;
	uint8_t chance = 0;

	(void)entropy_fill(&chance, 1);
	d->rest_ms = rest * 2 < DOT_REST_MAX_MS ? rest * 2 : DOT_REST_MAX_MS;
	return rest + rest * chance / 1024;
}

static bool
is_power_of_two(unsigned n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

/* Trouble is told at growing distances, the 1st, 2nd, 4th, 8th ... time in a row, and when its words
 * change, but then not too often: two reasons may take turns. */
static void
log_trouble(struct dot *d, bool changed, uint32_t rest)
{
	uint64_t now = d->now->mono_ms;

	if (!is_power_of_two(d->failures) && (!changed || now < d->logged_ms + DOT_LOG_MS))
		return;
	d->logged_ms = now;
	log_warn("dot %s (%s): %s; resting %u ms, %u failures in a row", d->up.name, d->hostname, d->trouble,
		 (unsigned)rest, d->failures);
}

/* It failed: words say why.  What was asked of it has to be asked elsewhere, or later. */
static void
fail_for(struct dot *d, const char *words, bool distrust)
{
	uint32_t rest = next_rest(d, distrust);
	bool changed = strcmp(words, d->trouble) != 0;

	hang_up(d);
	enter(d, DOT_RESTING);
	d->rest_until = d->now->mono_ms + rest;
	d->failures++;
	text_make(d->trouble, sizeof(d->trouble), "%s", words);
	d->up.trouble = d->trouble;
	log_trouble(d, changed, rest);
}

static void
fail(struct dot *d, const char *words)
{
	fail_for(d, words, false);
}

/* The peer ended a working connection.  While idle that is its right; with questions open they go
 * out again at once, unless it does this every time. */
static void
peer_ended(struct dot *d, const char *how)
{
	if (d->unanswered > 0 && !d->heard_answer && ++d->barren > 1) {
		fail(d, "closes the connection without an answer");
		return;
	}
	log_debug("dot %s (%s): %s, %u questions open", d->up.name, d->hostname, how, (unsigned)d->unanswered);
	hang_up(d);
	enter(d, DOT_IDLE);
}

/* A close_notify, best effort: nobody waits for it (RFC 5246 section 7.2.1). */
static void
say_goodbye(struct dot *d)
{
	if (d->state != DOT_READY || tls_state(d->tls) != TLS_OPEN)
		return;
	tls_close(d->tls);
	d->out_len += tls_drain(d->tls, d->out + d->out_len, sizeof(d->out) - d->out_len);
	(void)net_write(d->fd, d->out, d->out_len);
}

void
dot_close(struct dot *d)
{
	say_goodbye(d);
	hang_up(d);
	enter(d, DOT_IDLE);
}

/* ---- Output --------------------------------------------------------------------------------- */

/* Moves records to the buffer and the buffer to the socket, until one of them takes no more.
 * Errors are left for the next read to find. */
static void
write_out(struct dot *d)
{
	long n;

	for (;;) {
		d->out_len += tls_drain(d->tls, d->out + d->out_len, sizeof(d->out) - d->out_len);
		if (d->out_len == 0)
			return;
		n = net_write(d->fd, d->out, d->out_len);
		if (n <= 0)
			return;
		d->out_len -= (size_t)n;
		memmove(d->out, d->out + n, d->out_len);
	}
}

static bool
output_waits(const struct dot *d)
{
	return d->out_len > 0 || tls_wants_drain(d->tls);
}

/* One message becomes one record, its length in front (RFC 7858 section 3.3): some servers stall
 * when a record holds two.  Returns false when there is no room for it now. */
static bool
put_message(struct dot *d, const uint8_t *msg, size_t len)
{
	size_t room = 0;
	uint8_t *p = tls_write(d->tls, &room);

	if (p == NULL || room < len + 2) {
		write_out(d);
		p = tls_write(d->tls, &room);
	}
	if (p == NULL || room < len + 2)
		return false;
	put16(p, (uint16_t)len);
	memcpy(p + 2, msg, len);
	tls_write_done(d->tls, len + 2);
	d->out_len += tls_drain(d->tls, d->out + d->out_len, sizeof(d->out) - d->out_len);
	return true;
}

static void
start_connecting(struct dot *d)
{
	d->fd = net_connect(&d->addr);
	if (d->fd == -1) {
		fail(d, text_error(errno));
		return;
	}
	d->connections++;
	d->unseen = true;
	enter(d, DOT_CONNECTING);
}

static enum upstream_verdict
take_message(struct upstream *up, const uint8_t *msg, size_t len)
{
	struct dot *d = dot_of(up);

	if (d->state == DOT_IDLE)
		start_connecting(d);
	if (d->state == DOT_RESTING)
		return UPSTREAM_DOWN;
	/* After a failure nobody is made to wait for the next try: others may be well. */
	if (d->state != DOT_READY && d->failures > 0)
		return UPSTREAM_MAYBE;
	if (d->state != DOT_READY || d->blocked)
		return UPSTREAM_SOON;
	if (tls_state(d->tls) != TLS_OPEN || !put_message(d, msg, len)) {
		d->blocked = true;
		return UPSTREAM_SOON;
	}
	d->unanswered++;
	if (d->waiting_ms == 0)
		d->waiting_ms = d->now->mono_ms;
	d->active_ms = d->now->mono_ms;
	return UPSTREAM_TAKEN;
}

/* RFC 7828 section 3.2.2: the server's word on how long an idle connection lasts; 0 asks us to
 * close as soon as nothing is open.  We stay a little below it, so that we close first. */
static void
keepalive(struct upstream *up, uint32_t idle_ms)
{
	struct dot *d = dot_of(up);

	if (idle_ms > DOT_IDLE_MAX_MS)
		idle_ms = DOT_IDLE_MAX_MS;
	d->idle_ms = idle_ms - idle_ms / 8;
}

/* ---- Input ---------------------------------------------------------------------------------- */

/* Hands over each message of the octets that came through TLS.  Returns -1 when they are none. */
static int
take_messages(struct dot *d, uint8_t *data, size_t len)
{
	uint8_t *msg;
	size_t msg_len;

	while (len > 0) {
		switch (frame_next(&d->frame, &data, &len, &msg, &msg_len)) {
		case FRAME_MORE:
			return 0;
		case FRAME_BAD:
			return -1;
		case FRAME_MESSAGE:
			if (d->unanswered > 0)
				d->unanswered--;
			d->heard_answer = true;
			d->barren = 0;
			d->rest_ms = DOT_REST_MIN_MS;
			d->failures = 0;
			proxy_answer(d->proxy, &d->up, msg, msg_len, d->now->mono_ms);
			break;
		}
	}
	return 0;
}

/* Gives octets of the network to TLS, and takes out what it makes of them, until none are left: the
 * last answer and the end of the connection may come in one piece.  Returns -1 when the stream
 * inside is broken. */
static int
digest(struct dot *d, const uint8_t *data, size_t len)
{
	uint8_t *plain;
	size_t n, taken;

	do {
		taken = tls_feed(d->tls, data, len);
		data += taken;
		len -= taken;
		while ((n = tls_read(d->tls, &plain)) > 0) {
			taken += n;
			if (take_messages(d, plain, n) == -1)
				return -1;
			tls_read_done(d->tls, n);
		}
		if (tls_wants_drain(d->tls)) {
			write_out(d);
			taken += !tls_wants_drain(d->tls);
		}
	} while (taken > 0 && len > 0);
	/* An open session that takes nothing wants its records drained, and the peer reads nothing. */
	return len > 0 && tls_state(d->tls) != TLS_CLOSED ? -1 : 0;
}

static void
become_ready(struct dot *d)
{
	uint64_t took = d->now->mono_ms - d->begun_ms;

	enter(d, DOT_READY);
	d->up.trouble = NULL;
	d->heard_answer = false;
	d->freshly_ready = true;
	d->idle_ms = DOT_IDLE_MS;
	d->waiting_ms = 0;
	d->active_ms = d->now->mono_ms;
	if (is_power_of_two(d->failures) || d->connections == 1)
		log_info("dot %s (%s): connected, %s, handshake %u ms, %u failures before", d->up.name,
			 d->hostname, tls_cipher(d->tls), (unsigned)took, d->failures);
	else
		log_debug("dot %s (%s): connected again, %s", d->up.name, d->hostname, tls_cipher(d->tls));
}

/* The session is over, or the connection is: says so in the words that fit. */
static void
end_of_session(struct dot *d, long n)
{
	const char *words = tls_trouble(d->tls);

	if (words != NULL) {
		(void)net_write(d->fd, d->out, d->out_len); /* the alert that says so, if there is room */
		fail_for(d, words, tls_distrusts(d->tls));
	} else if (d->state == DOT_READY) {
		peer_ended(d, n == NET_FAILED ? text_error(errno) : "closed by the server");
	} else if (n == NET_FAILED) {
		fail(d, text_error(errno));
	} else {
		fail(d, "closes the connection during the handshake");
	}
}

static void
read_in(struct dot *d)
{
	long n = net_read(d->fd, scratch, sizeof(scratch));

	if (n == NET_AGAIN)
		return;
	if (n > 0) {
		d->waiting_ms = 0;
		d->active_ms = d->now->mono_ms;
		if (digest(d, scratch, (size_t)n) == -1) {
			fail(d, "sends what is no DNS over TLS");
			return;
		}
		if (d->state == DOT_SHAKING && tls_state(d->tls) == TLS_OPEN)
			become_ready(d);
		if (tls_state(d->tls) != TLS_CLOSED) {
			if (d->state == DOT_SHAKING || d->unanswered > 0)
				net_quick_ack(d->fd);
			return;
		}
	}
	end_of_session(d, n);
}

/* ---- The member of the loop ----------------------------------------------------------------- */

static uint64_t
deadline(const struct dot *d)
{
	switch (d->state) {
	case DOT_CONNECTING:
		return d->begun_ms + DOT_CONNECT_MS;
	case DOT_SHAKING:
		return d->begun_ms + DOT_HANDSHAKE_MS;
	case DOT_READY:
		if (d->waiting_ms != 0)
			return d->waiting_ms + DOT_STALL_MS;
		/* What is unanswered for longer than a query lives was dropped by the server. */
		if (d->unanswered > 0 && d->idle_ms < QUERY_TIMEOUT_MS)
			return d->active_ms + QUERY_TIMEOUT_MS;
		return d->active_ms + d->idle_ms;
	case DOT_RESTING:
		return d->rest_until;
	default:
		return UINT64_MAX;
	}
}

static void
want(void *self, struct wants *w)
{
	struct dot *d = self;

	d->unseen = false;
	wants_by(w, deadline(d));
	if (d->state == DOT_CONNECTING)
		wants_fd(w, d->fd, &w->wr);
	if (d->state != DOT_SHAKING && d->state != DOT_READY)
		return;
	wants_fd(w, d->fd, &w->rd);
	if (output_waits(d))
		wants_fd(w, d->fd, &w->wr);
	else if (d->blocked)
		wants_by(w, 0); /* the end of the last turn made room for those who were told SOON */
}

/* Questions are out and nothing has come for the stall time: a router forgot us, or the server hangs.
 * One that has answered before gets a new connection at once. */
static void
on_stall(struct dot *d)
{
	char words[64];

	text_make(words, sizeof(words), "silent for %u ms with questions open", DOT_STALL_MS);
	if (!d->heard_answer) {
		fail(d, words);
		return;
	}
	log_info("dot %s (%s): %s; connecting again", d->up.name, d->hostname, words);
	hang_up(d);
	enter(d, DOT_IDLE);
}

static void
on_deadline(struct dot *d)
{
	char words[64];

	switch (d->state) {
	case DOT_CONNECTING:
		text_make(words, sizeof(words), "no TCP connection within %u ms", DOT_CONNECT_MS);
		fail(d, words);
		break;
	case DOT_SHAKING:
		text_make(words, sizeof(words), "no TLS handshake within %u ms", DOT_HANDSHAKE_MS);
		fail(d, words);
		break;
	case DOT_READY:
		if (d->waiting_ms != 0)
			on_stall(d);
		else
			dot_close(d);
		break;
	default: /* RESTING */
		enter(d, DOT_IDLE);
		break;
	}
}

static void
on_connected(struct dot *d)
{
	int error = net_connect_error(d->fd);

	if (error != 0) {
		fail(d, text_error(error));
		return;
	}
	if (tls_start(d->tls, d->hostname, d->now->utc_s) == -1) {
		fail(d, tls_trouble(d->tls) != NULL ? tls_trouble(d->tls) : "TLS cannot begin");
		return;
	}
	enter(d, DOT_SHAKING);
	write_out(d);
}

static void
work(struct dot *d, const struct wants *ready)
{
	unsigned fd = (unsigned)d->fd;

	if (d->state == DOT_CONNECTING && FD_ISSET(fd, &ready->wr)) {
		on_connected(d);
	} else if (d->state == DOT_SHAKING || d->state == DOT_READY) {
		if (FD_ISSET(fd, &ready->wr))
			write_out(d);
		if (FD_ISSET(fd, &ready->rd))
			read_in(d);
	}
	/* Who waited for the connection comes first, before it can be called idle. */
	if (!d->freshly_ready && deadline(d) <= d->now->mono_ms)
		on_deadline(d);
}

/* Reports come last: the proxy may send again inside them, and meets a state that is in order. */
static void
step(void *self, const struct wants *ready, const struct now *now)
{
	struct dot *d = self;
	enum dot_state before = d->state;
	bool had_connection = d->fd != -1;

	if (d->unseen || (!had_connection && deadline(d) > now->mono_ms))
		return;
	work(d, ready);
	if (had_connection && d->fd == -1)
		proxy_lost(d->proxy, &d->up, now->mono_ms);
	else if (before == DOT_RESTING && d->state == DOT_IDLE)
		proxy_ready(d->proxy, &d->up, now->mono_ms);
	if (d->freshly_ready || (d->blocked && d->state == DOT_READY && !output_waits(d))) {
		d->freshly_ready = d->blocked = false;
		proxy_ready(d->proxy, &d->up, now->mono_ms);
	}
}

static void
flush(void *self)
{
	struct dot *d = self;

	if (d->state == DOT_READY && d->out_len > 0)
		write_out(d);
}

/* ---- Set-up --------------------------------------------------------------------------------- */

struct dot_block {
	struct dot dot;
	uint8_t answer[2 + DNS_MESSAGE_MAX]; /* one that comes in pieces */
};

static size_t
tls_offset(void)
{
	return (sizeof(struct dot_block) + 15u) & ~(size_t)15u;
}

size_t
dot_memory(void)
{
	return tls_offset() + ((tls_memory() + 15u) & ~(size_t)15u);
}

struct dot *
dot_init(void *block, const struct addr *addr, const char *hostname, const struct trust *trust,
	 struct proxy *proxy, const struct now *now)
{
	struct dot_block *b = block;
	struct dot *d = &b->dot;

	memset(d, 0, offsetof(struct dot, out));
	d->up.send = take_message;
	d->up.keepalive = keepalive;
	addr_text(d->up.name, addr);
	d->addr = *addr;
	d->hostname = hostname;
	d->proxy = proxy;
	d->now = now;
	d->fd = -1;
	d->out_len = 0;
	d->rest_ms = DOT_REST_MIN_MS;
	d->idle_ms = DOT_IDLE_MS;
	d->tls = tls_init((uint8_t *)block + tls_offset(), trust);
	frame_init(&d->frame, b->answer, DNS_HEADER, DNS_MESSAGE_MAX);
	proxy_add_upstream(proxy, &d->up);
	return d;
}

struct member
dot_member(struct dot *d)
{
	return (struct member){.want = want, .step = step, .flush = flush, .self = d};
}
