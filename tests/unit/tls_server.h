/* SPDX-License-Identifier: MIT */
/* For tests: the other end of a TLS session, BearSSL's server engine with certificates of the test's
 * choice.  Octets in, octets out, as tls.h; no descriptor. */
#ifndef DNPROXY_TESTS_TLS_SERVER_H
#define DNPROXY_TESTS_TLS_SERVER_H

#include "certs.h"

struct tls_server {
	br_ssl_server_context ctx;
	br_x509_certificate chain[12];
	size_t chain_len;
	uint8_t buf[BR_SSL_BUFSIZE_BIDI];
};

/* A server with the chain first to last, of which key is the first one's.  What the test wants else
 * (versions, suites, protocol names) it sets in s->ctx.eng before server_start(). */
static inline void
server_init(struct tls_server *s, const struct made_key *key, const br_x509_certificate *chain, size_t len)
{
	assert(len <= sizeof(s->chain) / sizeof(s->chain[0]));
	memcpy(s->chain, chain, len * sizeof(*chain));
	s->chain_len = len;
	if (key->type == BR_KEYTYPE_EC)
		br_ssl_server_init_full_ec(&s->ctx, s->chain, len, BR_KEYTYPE_EC, &key->ec);
	else
		br_ssl_server_init_full_rsa(&s->ctx, s->chain, len, &key->rsa);
	br_ssl_engine_set_buffer(&s->ctx.eng, s->buf, sizeof(s->buf), 1);
}

static inline void
server_start(struct tls_server *s)
{
	static uint8_t round; /* the same in every run, but not in every handshake: sessions have names */

	round++;
	br_ssl_engine_inject_entropy(&s->ctx.eng, &round, 1);
	if (br_ssl_server_reset(&s->ctx) == 0)
		assert(false);
}

static inline size_t
server_feed(struct tls_server *s, const uint8_t *data, size_t len)
{
	size_t room, taken = 0;

	while (taken < len) {
		uint8_t *buf = br_ssl_engine_recvrec_buf(&s->ctx.eng, &room);

		if (buf == NULL)
			break;
		if (room > len - taken)
			room = len - taken;
		memcpy(buf, data + taken, room);
		br_ssl_engine_recvrec_ack(&s->ctx.eng, room);
		taken += room;
	}
	return taken;
}

static inline size_t
server_drain(struct tls_server *s, uint8_t *out, size_t cap)
{
	size_t have, done = 0;

	while (done < cap) {
		const uint8_t *buf = br_ssl_engine_sendrec_buf(&s->ctx.eng, &have);

		if (buf == NULL)
			break;
		if (have > cap - done)
			have = cap - done;
		memcpy(out + done, buf, have);
		br_ssl_engine_sendrec_ack(&s->ctx.eng, have);
		done += have;
	}
	return done;
}

/* Takes application octets that came.  Returns how many. */
static inline size_t
server_read(struct tls_server *s, uint8_t *out, size_t cap)
{
	size_t have;
	const uint8_t *buf = br_ssl_engine_recvapp_buf(&s->ctx.eng, &have);

	if (buf == NULL)
		return 0;
	if (have > cap)
		have = cap;
	memcpy(out, buf, have);
	br_ssl_engine_recvapp_ack(&s->ctx.eng, have);
	return have;
}

/* Puts up to len octets into one record.  Returns how many it took. */
static inline size_t
server_write(struct tls_server *s, const uint8_t *data, size_t len)
{
	size_t room;
	uint8_t *buf = br_ssl_engine_sendapp_buf(&s->ctx.eng, &room);

	if (buf == NULL)
		return 0;
	if (len > room)
		len = room;
	memcpy(buf, data, len);
	br_ssl_engine_sendapp_ack(&s->ctx.eng, len);
	br_ssl_engine_flush(&s->ctx.eng, 0);
	return len;
}

static inline bool
server_is_open(const struct tls_server *s)
{
	return (br_ssl_engine_current_state(&s->ctx.eng) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP)) != 0;
}

#endif
