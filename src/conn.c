/* SPDX-License-Identifier: MIT */
#include "conn.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bytes.h"
#include "net.h"
#include "text.h"

/* One read of any connection; always used up before the next. */
static uint8_t scratch[NET_READ_MAX];

/* ---- Its end -------------------------------------------------------------------------------- */

/* Lets go of the descriptors and all that belonged to them. */
static void
let_go(struct conn *c)
{
	if (c->fd != -1)
		net_close(c->fd);
	if (c->twin != -1)
		net_close(c->twin);
	c->fd = c->twin = -1;
	c->out_len = 0;
	c->state = CONN_CLOSED;
	frame_reset(&c->frame);
}

__attribute__((format(printf, 2, 3))) static enum conn_event
fail(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_make_v(c->trouble, sizeof(c->trouble), fmt, ap);
	va_end(ap);
	let_go(c);
	return CONN_FAILED;
}

void
conn_drop(struct conn *c)
{
	let_go(c);
}

void
conn_close(struct conn *c)
{
	if (c->state == CONN_OPEN && tls_state(c->tls) == TLS_OPEN) {
		tls_close(c->tls);
		c->out_len += tls_drain(c->tls, c->out + c->out_len, sizeof(c->out) - c->out_len);
		(void)net_write(c->fd, c->out, c->out_len);
	}
	let_go(c);
}

/* ---- Output --------------------------------------------------------------------------------- */

/* Moves records to the buffer and the buffer to the socket, until one of them takes no more.
 * Errors are left for the next read to find. */
static void
write_out(struct conn *c)
{
	long n;

	for (;;) {
		c->out_len += tls_drain(c->tls, c->out + c->out_len, sizeof(c->out) - c->out_len);
		if (c->out_len == 0)
			return;
		n = net_write(c->fd, c->out, c->out_len);
		if (n <= 0)
			return;
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
}

bool
conn_has_output(const struct conn *c)
{
	return c->out_len > 0 || tls_wants_drain(c->tls);
}

/* One message becomes one record, its length in front: some servers stall when a record holds two. */
static bool
put_message(struct conn *c, const uint8_t *msg, size_t len)
{
	size_t room = 0;
	uint8_t *p = tls_write(c->tls, &room);

	if (p == NULL || room < len + 2) {
		write_out(c);
		p = tls_write(c->tls, &room);
	}
	if (p == NULL || room < len + 2)
		return false;
	put16(p, (uint16_t)len);
	memcpy(p + 2, msg, len);
	tls_write_done(c->tls, len + 2);
	c->out_len += tls_drain(c->tls, c->out + c->out_len, sizeof(c->out) - c->out_len);
	return true;
}

bool
conn_send(struct conn *c, const uint8_t *msg, size_t len, uint64_t now)
{
	if (c->state != CONN_OPEN || tls_state(c->tls) != TLS_OPEN || !put_message(c, msg, len))
		return false;
	c->unanswered++;
	if (c->waiting_ms == 0)
		c->waiting_ms = now;
	c->active_ms = now;
	return true;
}

bool
conn_is_acknowledged(const struct conn *c)
{
	return c->state == CONN_OPEN && !conn_has_output(c) && net_is_acknowledged(c->fd);
}

void
conn_flush(struct conn *c)
{
	if (c->state == CONN_OPEN && c->out_len > 0)
		write_out(c);
}

/* ---- Its begin ------------------------------------------------------------------------------ */

/* A port that refuses was asked; all else is refused by our own kernel. */
static enum conn_event
fail_to_begin(struct conn *c)
{
	c->local = errno != ECONNREFUSED;
	return fail(c, "%s", text_error(errno));
}

static enum conn_event
begin(struct conn *c, const struct now *now)
{
	c->fd = net_connect(c->addr);
	if (c->fd == -1)
		return fail_to_begin(c);
	c->unseen = true;
	c->begun_ms = now->mono_ms;
	c->state = CONN_CONNECTING;
	return CONN_NOTHING;
}

int
conn_open(struct conn *c, const struct now *now)
{
	c->distrust = c->local = c->checked = false;
	c->unanswered = c->heard = 0;
	c->waiting_ms = 0;
	return begin(c, now) == CONN_NOTHING ? 0 : -1;
}

/* When the second SYN is due; UINT64_MAX = it is out. */
static uint64_t
twin_due(const struct conn *c)
{
	return c->twin == -1 ? c->begun_ms + CONN_SYN_MS : UINT64_MAX;
}

static enum conn_event
begin_handshake(struct conn *c, const struct now *now)
{
	c->state = CONN_SHAKING;
	c->tcp_ms = c->heard_ms = now->mono_ms;
	if (tls_start(c->tls, c->rules, c->past, now) == -1)
		return fail(c, "%s", tls_trouble(c->tls) != NULL ? tls_trouble(c->tls) : "TLS cannot begin");
	write_out(c);
	return CONN_NOTHING;
}

/* Goes on with a descriptor that has become writable, which tells of success and failure alike.  Any
 * failure counts for both: it is an answer of some kind, and silence is what the second SYN is for. */
static enum conn_event
try_connected(struct conn *c, int fd, const struct now *now)
{
	int error = net_connect_error(fd);

	if (error != 0)
		return fail(c, "%s", text_error(error));
	if (c->twin != -1) {
		net_close(fd == c->twin ? c->fd : c->twin);
		c->fd = fd;
		c->twin = -1;
	}
	return begin_handshake(c, now);
}

static enum conn_event
step_connecting(struct conn *c, const struct wants *ready, const struct now *now)
{
	if (FD_ISSET((unsigned)c->fd, &ready->wr))
		return try_connected(c, c->fd, now);
	if (c->twin != -1 && FD_ISSET((unsigned)c->twin, &ready->wr))
		return try_connected(c, c->twin, now);
	if (now->mono_ms >= c->begun_ms + DOT_CONNECT_MS)
		return fail(c, "no TCP connection within %u ms", DOT_CONNECT_MS);
	if (now->mono_ms >= twin_due(c)) {
		c->twin = net_connect(c->addr);
		c->unseen = true; /* a number that select() may have told of as another's */
		if (c->twin == -1)
			return fail_to_begin(c);
	}
	return CONN_NOTHING;
}

/* ---- Input ---------------------------------------------------------------------------------- */

/* Hands over each message of the octets that came through TLS.  Returns -1 when they are none. */
static int
take_messages(struct conn *c, uint8_t *data, size_t len)
{
	uint8_t *msg;
	size_t msg_len;

	while (len > 0) {
		switch (frame_next(&c->frame, &data, &len, &msg, &msg_len)) {
		case FRAME_MORE:
			return 0;
		case FRAME_BAD:
			return -1;
		case FRAME_MESSAGE:
			if (c->unanswered > 0)
				c->unanswered--;
			c->heard++;
			c->message(c->ctx, msg, msg_len);
			break;
		}
	}
	return 0;
}

/* Gives octets of the network to TLS, and takes out what it makes of them, until none are left: the
 * last answer and the end of the connection may come in one piece.  Returns -1 when the stream
 * inside is broken. */
static int
digest(struct conn *c, const uint8_t *data, size_t len)
{
	uint8_t *plain;
	size_t n, taken;

	do {
		taken = tls_feed(c->tls, data, len);
		data += taken;
		len -= taken;
		while ((n = tls_read(c->tls, &plain)) > 0) {
			taken += n;
			if (take_messages(c, plain, n) == -1)
				return -1;
			tls_read_done(c->tls, n);
		}
		if (tls_wants_drain(c->tls)) {
			write_out(c);
			taken += !tls_wants_drain(c->tls);
		}
	} while (taken > 0 && len > 0);
	/* An open session that takes nothing wants its records drained, and the peer reads nothing. */
	return len > 0 && tls_state(c->tls) != TLS_CLOSED ? -1 : 0;
}

/* The session is over, or the connection is: says so in the words that fit. */
static enum conn_event
end_of_session(struct conn *c, long n)
{
	const char *words = tls_trouble(c->tls);
	bool was_open = c->state == CONN_OPEN;

	if (words != NULL) {
		(void)net_write(c->fd, c->out, c->out_len); /* the alert that says so, if there is room */
		c->distrust = tls_distrusts(c->tls);
		return fail(c, "%s", words);
	}
	words = n == NET_FAILED ? text_error(errno) : was_open ? "closed by the server" : NULL;
	(void)fail(c, "%s", words != NULL ? words : "closes the connection during the handshake");
	return was_open ? CONN_ENDED : CONN_FAILED;
}

static enum conn_event
become_open(struct conn *c, const struct now *now)
{
	c->state = CONN_OPEN;
	c->opened_ms = c->active_ms = now->mono_ms;
	c->waiting_ms = 0;
	return CONN_OPENED;
}

/* What came may be the last there is: an answer and the end behind it may come in one piece.  A handshake is
 * read by the bite: a router computes for a while at each, and between them clients have their turn. */
static enum conn_event
read_in(struct conn *c, const struct now *now)
{
	long n = net_read(c->fd, scratch, c->state == CONN_SHAKING ? tls_bite(c->tls) : sizeof(scratch));
	enum conn_event event = CONN_NOTHING;
	uint32_t heard = c->heard;

	if (n == NET_AGAIN)
		return CONN_NOTHING;
	if (n > 0) {
		c->heard_ms = now->mono_ms;
		if (digest(c, scratch, (size_t)n) == -1)
			return fail(c, "sends what is no DNS over TLS");
		c->waiting_ms = c->unanswered > 0 ? now->mono_ms : 0;
		/* A goodbye alone is none: how long it was quiet before tells its owner why it came. */
		if (c->heard != heard || tls_state(c->tls) != TLS_CLOSED)
			c->active_ms = now->mono_ms;
		if (c->state == CONN_SHAKING && tls_state(c->tls) == TLS_OPEN)
			event = become_open(c, now);
		if (tls_state(c->tls) != TLS_CLOSED) {
			if (c->state == CONN_SHAKING || c->unanswered > 0)
				net_quick_ack(c->fd);
			return event;
		}
	}
	return end_of_session(c, n);
}

/* ---- A turn --------------------------------------------------------------------------------- */

/* When a handshake has been silent for so long that the path is looked at: longer where that is a long one. */
static uint64_t
check_due(const struct conn *c)
{
	return c->heard_ms + POOL_DOUBT_MIN_MS + (c->tcp_ms - c->begun_ms);
}

/* A handshake has its time.  But where not even the peer's kernel has heard us, the network may be another one
 * by now: once it is begun anew. */
static enum conn_event
step_shaking(struct conn *c, const struct now *now)
{
	if (now->mono_ms >= c->tcp_ms + DOT_HANDSHAKE_MS)
		return fail(c, "no TLS handshake within %u ms", DOT_HANDSHAKE_MS);
	if (c->checked || now->mono_ms < check_due(c))
		return CONN_NOTHING;
	c->checked = true;
	if (net_is_acknowledged(c->fd))
		return CONN_NOTHING;
	let_go(c);
	return begin(c, now);
}

void
conn_want(struct conn *c, struct wants *w)
{
	c->unseen = false;
	if (c->state == CONN_CONNECTING) {
		wants_fd(w, c->fd, &w->wr);
		if (c->twin != -1)
			wants_fd(w, c->twin, &w->wr);
		wants_by(w, twin_due(c));
		wants_by(w, c->begun_ms + DOT_CONNECT_MS);
	}
	if (c->state != CONN_SHAKING && c->state != CONN_OPEN)
		return;
	wants_fd(w, c->fd, &w->rd);
	if (conn_has_output(c))
		wants_fd(w, c->fd, &w->wr);
	if (c->state == CONN_SHAKING) {
		wants_by(w, c->tcp_ms + DOT_HANDSHAKE_MS);
		wants_by(w, c->checked ? UINT64_MAX : check_due(c));
	}
}

enum conn_event
conn_step(struct conn *c, const struct wants *ready, const struct now *now)
{
	enum conn_event event = CONN_NOTHING;

	if (c->state == CONN_CLOSED || c->unseen)
		return CONN_NOTHING;
	if (c->state == CONN_CONNECTING)
		return step_connecting(c, ready, now);
	if (FD_ISSET((unsigned)c->fd, &ready->wr))
		write_out(c);
	if (FD_ISSET((unsigned)c->fd, &ready->rd))
		event = read_in(c, now);
	return c->state == CONN_SHAKING ? step_shaking(c, now) : event;
}

/* ---- Set-up --------------------------------------------------------------------------------- */

struct conn_block {
	struct conn conn;
	uint8_t answer[2 + DNS_MESSAGE_MAX]; /* one that comes in pieces */
};

static size_t
tls_offset(void)
{
	return (sizeof(struct conn_block) + 15u) & ~(size_t)15u;
}

size_t
conn_memory(void)
{
	return tls_offset() + ((tls_memory() + 15u) & ~(size_t)15u);
}

struct conn *
conn_init(void *block, const struct addr *addr, const struct tls_rules *rules, struct tls_past *past,
	  void (*message)(void *ctx, uint8_t *msg, size_t len), void *ctx)
{
	struct conn_block *b = block;
	struct conn *c = &b->conn;

	c->fd = c->twin = -1;
	c->addr = addr;
	c->rules = rules;
	c->past = past;
	c->message = message;
	c->ctx = ctx;
	c->tls = tls_init((uint8_t *)block + tls_offset());
	frame_init(&c->frame, b->answer, DNS_HEADER, DNS_MESSAGE_MAX);
	return c;
}
