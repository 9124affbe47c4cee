/* SPDX-License-Identifier: MIT */
/* For tests: a DNS-over-TLS server over loopback sockets, that does what the test tells it to.  It takes
 * several connections; peer is the one that came last.  Include it behind cmocka. */
#ifndef DNPROXY_TESTS_TLS_PEER_H
#define DNPROXY_TESTS_TLS_PEER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bounds.h"
#include "bytes.h"
#include "tls_server.h"
#include "trust.h"

#define PEER_NAME "dns.example"
#define PEER_QUESTIONS 2048
#define PEER_SESSIONS 4

static struct made_key peer_root_key, peer_key;
static struct made_cert peer_root, peer_leaf;

struct peer_question {
	uint8_t msg[UPSTREAM_MSG_MAX];
	size_t len;
};

struct peer_session {
	int fd;
	bool deaf;    /* does not read */
	bool ended;   /* end of input, or an error */
	bool goodbye; /* a close_notify came */
	struct tls_server tls;
	uint8_t raw[1 << 20]; /* all that came, as it came */
	size_t raw_len;
	struct peer_question got[PEER_QUESTIONS]; /* not answered yet */
	unsigned count;
	uint8_t out[1 << 18];
	size_t out_len;
};

static struct peer_server {
	int listening;
	uint16_t port;
	unsigned accepted;
	unsigned shaken; /* sessions ever, each with chance of its own */
	bool mute;	 /* accepts and says nothing */
	bool forgetful;	 /* resumes no session */
	br_ssl_session_cache_lru cache;
	uint8_t cache_octets[4096];
	struct peer_session session[PEER_SESSIONS];
} server;

static struct peer_session *peer = &server.session[0];

static inline struct sockaddr_in
peer_loopback(uint16_t port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sin;
}

/* Binds a port, and listens if backlog is not negative; otherwise the port refuses. */
static inline void
peer_listen(int backlog)
{
	struct sockaddr_in sin = peer_loopback(server.port);
	socklen_t len = sizeof(sin);
	int one = 1;

	if (server.listening == -1) {
		server.listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		assert_int_not_equal(server.listening, -1);
		setsockopt(server.listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		assert_int_equal(bind(server.listening, (struct sockaddr *)&sin, sizeof(sin)), 0);
		getsockname(server.listening, (struct sockaddr *)&sin, &len);
		server.port = ntohs(sin.sin_port);
	}
	if (backlog >= 0)
		assert_int_equal(listen(server.listening, backlog), 0);
}

/* From now on the port refuses. */
static inline void
peer_refuse(void)
{
	close(server.listening);
	server.listening = -1;
}

/* What comes to this socket is dropped before its kernel sees it: a path that is dead, as far as the other
 * side can tell.  What is connected to a listening socket meanwhile gets no answer. */
static inline void
peer_cut_off(int fd)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = {1, &none};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
}

static inline void
peer_reach(int fd)
{
	int unused = 0;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)), 0);
}

static inline void
peer_end(struct peer_session *s)
{
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
	s->out_len = 0;
	s->ended = s->goodbye = s->deaf = false;
}

static inline void
peer_hang_up(void)
{
	peer_end(peer);
}

/* Closes so that the other side gets a reset. */
static inline void
peer_reset(void)
{
	struct linger linger = {1, 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	peer_hang_up();
}

static inline void
peer_write(struct peer_session *s)
{
	ssize_t n;

	s->out_len += server_drain(&s->tls, s->out + s->out_len, sizeof(s->out) - s->out_len);
	if (s->out_len == 0 || server.mute)
		return;
	n = send(s->fd, s->out, s->out_len, MSG_NOSIGNAL);
	if (n <= 0)
		return;
	s->out_len -= (size_t)n;
	memmove(s->out, s->out + n, s->out_len);
}

/* RFC 7858 section 3.3: each record holds one whole message with its length. */
static inline void
peer_take_questions(struct peer_session *s)
{
	uint8_t record[16384];
	size_t n;

	while ((n = server_read(&s->tls, record, sizeof(record))) > 0) {
		assert_true(s->count < PEER_QUESTIONS && n >= 2 + DNS_HEADER);
		assert_int_equal(get16(record) + 2, n);
		memcpy(s->got[s->count].msg, record + 2, n - 2);
		s->got[s->count++].len = n - 2;
	}
}

static inline bool
peer_read(struct peer_session *s)
{
	uint8_t buf[4096];
	ssize_t n = recv(s->fd, buf, sizeof(buf), 0);

	if (n <= 0) {
		s->ended = s->ended || n == 0 || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	assert_true((size_t)n <= sizeof(s->raw) - s->raw_len);
	memcpy(s->raw + s->raw_len, buf, (size_t)n);
	s->raw_len += (size_t)n;
	if (server.mute)
		return true;
	for (size_t at = 0, taken; at < (size_t)n; at += taken) {
		taken = server_feed(&s->tls, buf + at, (size_t)n - at);
		peer_take_questions(s);
		peer_write(s);
		if (taken == 0)
			break;
	}
	if (br_ssl_engine_current_state(&s->tls.ctx.eng) == BR_SSL_CLOSED)
		s->goodbye = br_ssl_engine_last_error(&s->tls.ctx.eng) == BR_ERR_OK;
	return true;
}

/* A place for one connection more; that of one the other side has ended will do. */
static inline struct peer_session *
peer_place(void)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		if (server.session[i].fd == -1)
			return &server.session[i];
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		if (server.session[i].ended) {
			peer_end(&server.session[i]);
			return &server.session[i];
		}
	return NULL;
}

static inline bool
peer_accept(void)
{
	struct peer_session *s = peer_place();
	int fd;

	if (s == NULL || server.listening == -1)
		return false;
	fd = accept4(server.listening, NULL, NULL, SOCK_NONBLOCK);
	if (fd == -1)
		return false;
	peer = s;
	s->fd = fd;
	s->raw_len = 0;
	s->count = 0;
	server.accepted++;
	server.shaken++;
	server_init(&s->tls, &peer_key, &peer_leaf.x509, 1);
	if (!server.forgetful)
		br_ssl_server_set_cache(&s->tls.ctx, &server.cache.vtable);
	/* Else all sessions would have the same ID. */
	br_ssl_engine_inject_entropy(&s->tls.ctx.eng, &server.shaken, sizeof(server.shaken));
	server_start(&s->tls);
	return true;
}

/* All that can be done now.  Returns whether anything was. */
static inline bool
peer_turn(void)
{
	bool any = peer_accept();

	for (unsigned i = 0; i < PEER_SESSIONS; i++) {
		struct peer_session *s = &server.session[i];

		if (s->fd == -1)
			continue;
		peer_write(s);
		while (!s->deaf && peer_read(s))
			any = true;
	}
	return any;
}

static inline void
peer_say_to(struct peer_session *s, const uint8_t *data, size_t len)
{
	while (len > 0) {
		size_t n = server_write(&s->tls, data, len);

		assert_true(n > 0);
		data += n;
		len -= n;
		peer_write(s);
	}
}

/* A regular end of the session; the connection is still there. */
static inline void
peer_say_goodbye(void)
{
	br_ssl_engine_close(&peer->tls.ctx.eng);
	peer_write(peer);
}

/* Without connections and port. */
static inline void
peer_stop(void)
{
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		peer_end(&server.session[i]);
	if (server.listening != -1)
		peer_refuse();
	server.mute = server.forgetful = false;
}

/* A new one, which listens. */
static inline void
peer_start(void)
{
	peer_stop();
	server.port = 0;
	server.accepted = 0;
	peer = &server.session[0];
	peer->raw_len = peer->count = 0;
	br_ssl_session_cache_lru_init(&server.cache, server.cache_octets, sizeof(server.cache_octets));
	peer_listen(16);
}

/* Before all else: keys and certificates.  Returns the anchors, which trust the server when their clock says
 * MADE_NOW; *block is to be given back by free(). */
static inline const struct trust *
peer_make_keys(void **block)
{
	char pem[4096];
	size_t len, skipped;

	server.listening = -1;
	for (unsigned i = 0; i < PEER_SESSIONS; i++)
		server.session[i].fd = -1;
	made_key_ec(&peer_root_key, "root", BR_EC_secp256r1);
	made_key_ec(&peer_key, "leaf", BR_EC_secp256r1);
	made_cert(&peer_root, &(struct cert_wish){.name = "Root", .key = &peer_root_key, .ca = true});
	made_cert(&peer_leaf, &(struct cert_wish){.name = "x",
						  .issuer = "Root",
						  .key = &peer_key,
						  .signer = &peer_root_key,
						  .san = PEER_NAME});
	len = made_pem(pem, sizeof(pem), &peer_root, 0);
	*block = calloc(1, trust_memory((const uint8_t *)pem, len));
	return trust_load(*block, (const uint8_t *)pem, len, &skipped);
}

#endif
