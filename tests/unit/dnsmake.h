/* SPDX-License-Identifier: MIT */
/* For tests: makes DNS messages piece by piece.  Counts in the header follow what is added.
 *
 *	struct made m;
 *	made_init(&m, 0x1234, DNS_RD);
 *	made_question(&m, "www.example.com", 1, 1);
 *	made_opt(&m, 1232, EDNS_DO);
 *	made_option(&m, 10, "\1\2\3\4\5\6\7\10", 8);
 *	... m.buf, m.len ...
 *
 * Whatever does not fit fails an assert(). */
#ifndef DNPROXY_TESTS_DNSMAKE_H
#define DNPROXY_TESTS_DNSMAKE_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"

#define EDNS_DO 0x8000u

enum made_section { MADE_QUESTION = 4, MADE_ANSWER = 6, MADE_AUTHORITY = 8, MADE_ADDITIONAL = 10 };

struct made {
	uint8_t buf[65535];
	size_t len;
	size_t rdlen_at; /* of the record made last */
};

static inline void
made_octets(struct made *m, const void *data, size_t len)
{
	assert(len <= sizeof(m->buf) - m->len);
	if (len != 0)
		memcpy(m->buf + m->len, data, len);
	m->len += len;
}

static inline void
made_u8(struct made *m, unsigned v)
{
	uint8_t b = (uint8_t)v;

	made_octets(m, &b, 1);
}

static inline void
made_u16(struct made *m, unsigned v)
{
	uint8_t b[2];

	put16(b, (uint16_t)v);
	made_octets(m, b, 2);
}

static inline void
made_u32(struct made *m, uint32_t v)
{
	uint8_t b[4];

	put32(b, v);
	made_octets(m, b, 4);
}

/* An empty message: a header with all counts 0. */
static inline void
made_init(struct made *m, unsigned id, unsigned flags)
{
	m->len = 0;
	made_u16(m, id);
	made_u16(m, flags);
	made_u32(m, 0);
	made_u32(m, 0);
}

static inline void
made_count(struct made *m, enum made_section section, int more)
{
	put16(m->buf + section, (uint16_t)(get16(m->buf + section) + more));
}

/* A name as text, with or without its last dot; "" and "." are the root.  \DDD is an octet.  A text
 * that ends in '>' ends in a pointer to the offset given in decimal: "www.12>". */
static inline void
made_name(struct made *m, const char *text)
{
	while (*text != '\0' && strcmp(text, ".") != 0) {
		uint8_t label[256];
		unsigned n = 0;

		while (*text != '\0' && *text != '.' && *text != '>') {
			unsigned c = (unsigned char)*text++;

			if (c == '\\') {
				c = (unsigned)((text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0'));
				text += 3;
			}
			assert(n < 63 || *text == '>');
			label[n++] = (uint8_t)c;
		}
		if (*text == '>') {
			unsigned to = 0;

			for (unsigned i = 0; i < n; i++)
				to = to * 10 + (unsigned)(label[i] - '0');
			made_u16(m, 0xc000u | to);
			return;
		}
		made_u8(m, n);
		made_octets(m, label, n);
		if (*text == '.')
			text++;
	}
	made_u8(m, 0);
}

static inline void
made_question(struct made *m, const char *name, unsigned type, unsigned class)
{
	made_name(m, name);
	made_u16(m, type);
	made_u16(m, class);
	made_count(m, MADE_QUESTION, 1);
}

/* A record with empty RDATA; made_rdata() and made_rdata_name() add to it.  Returns its offset. */
static inline size_t
made_rr(struct made *m, enum made_section section, const char *name, unsigned type, unsigned class,
	uint32_t ttl)
{
	size_t at = m->len;

	made_name(m, name);
	made_u16(m, type);
	made_u16(m, class);
	made_u32(m, ttl);
	m->rdlen_at = m->len;
	made_u16(m, 0);
	made_count(m, section, 1);
	return at;
}

static inline void
made_rdlen(struct made *m)
{
	put16(m->buf + m->rdlen_at, (uint16_t)(m->len - m->rdlen_at - 2));
}

static inline void
made_rdata(struct made *m, const void *data, size_t len)
{
	made_octets(m, data, len);
	made_rdlen(m);
}

static inline void
made_rdata_name(struct made *m, const char *name)
{
	made_name(m, name);
	made_rdlen(m);
}

/* A record of type A. */
static inline size_t
made_a(struct made *m, enum made_section section, const char *name, uint32_t ip)
{
	size_t at = made_rr(m, section, name, 1, 1, 300);

	made_u32(m, ip);
	made_rdlen(m);
	return at;
}

/* An OPT record without options; ttl holds extended RCODE, version and flags.  Returns its offset. */
static inline size_t
made_opt(struct made *m, unsigned udp_size, uint32_t ttl)
{
	return made_rr(m, MADE_ADDITIONAL, "", 41, udp_size, ttl);
}

/* Adds an option to the OPT record made last. */
static inline void
made_option(struct made *m, unsigned code, const void *data, size_t len)
{
	made_u16(m, code);
	made_u16(m, (unsigned)len);
	made_octets(m, data, len);
	made_rdlen(m);
}

#endif
