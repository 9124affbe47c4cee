/* SPDX-License-Identifier: MIT */
/* What must hold for every query and every answer, however odd.  The unit tests try it on thousands
 * of generated messages, the fuzz targets on whatever they come up with.  A test may define LAW()
 * itself before it includes this. */
#ifndef DNPROXY_TESTS_EDNS_LAWS_H
#define DNPROXY_TESTS_EDNS_LAWS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edns.h"
#include "law.h"

/* Goes to the first record.  Returns its offset. */
static inline size_t
law_first_record(const uint8_t *msg, size_t len)
{
	struct dns_question q = {.end = DNS_HEADER};

	if (dns_qdcount(msg) != 0)
		LAW(dns_read_question(msg, len, &q) == 0);
	return q.end;
}

/* Moves *at behind the next record that is not an OPT; *left counts down.  Returns whether there is one. */
static inline int
law_next_record(const uint8_t *msg, size_t len, size_t *at, unsigned *left, struct dns_rr *rr)
{
	while (*left > 0) {
		(*left)--;
		LAW(dns_read_rr(msg, len, *at, rr) == 0);
		*at = rr->end;
		if (rr->type != DNS_TYPE_OPT)
			return 1;
	}
	return 0;
}

static inline unsigned
law_records(const uint8_t *msg)
{
	return (unsigned)dns_ancount(msg) + dns_nscount(msg) + dns_arcount(msg);
}

/* RFC 3597 section 4, RFC 5625 section 4.3: two messages hold the same records, OPT aside, with
 * RDATA octet for octet. */
static inline void
law_same_records(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t at_a = law_first_record(a, a_len), at_b = law_first_record(b, b_len);
	unsigned left_a = law_records(a), left_b = law_records(b);
	struct dns_rr ra = {0}, rb = {0};

	LAW(dns_ancount(a) == dns_ancount(b) && dns_nscount(a) == dns_nscount(b));
	while (law_next_record(a, a_len, &at_a, &left_a, &ra)) {
		LAW(law_next_record(b, b_len, &at_b, &left_b, &rb));
		LAW(ra.type == rb.type && ra.class == rb.class && ra.ttl == rb.ttl && ra.rdlen == rb.rdlen);
		LAW(ra.rdata - ra.at == rb.rdata - rb.at);
		LAW(memcmp(a + ra.rdata, b + rb.rdata, ra.rdlen) == 0);
	}
	LAW(!law_next_record(b, b_len, &at_b, &left_b, &rb));
}

/* Finds an option in the OPT record at opt_at.  Returns how many of that code there are; with code
 * -1, how many there are at all.  All of them must fit. */
static inline unsigned
law_count_options(const uint8_t *msg, size_t opt_at, size_t opt_len, int code)
{
	unsigned n = 0;
	size_t at = opt_at + 11, end = opt_at + opt_len;

	if (opt_len == 0)
		return 0;
	while (at < end) {
		LAW(end - at >= 4);
		n += code == -1 || get16(msg + at) == code;
		at += 4u + get16(msg + at + 2);
		LAW(at <= end);
	}
	return n;
}

static inline void
law_facts(const uint8_t *msg, size_t len, const struct edns_facts *f, enum edns_verdict verdict)
{
	if (verdict == EDNS_DROP) {
		LAW(len < DNS_HEADER || (dns_flags(msg) & DNS_QR) != 0);
		return;
	}
	LAW(f->question_end >= DNS_HEADER && f->question_end <= len);
	LAW((size_t)f->opt_at + f->opt_len <= len);
	LAW(f->ecs_len == 0 || (f->ecs_at > f->opt_at && f->ecs_at + f->ecs_len <= f->opt_at + f->opt_len));
	LAW(f->udp_size >= UDP_SIZE_MIN);
	LAW(f->opt_len == 0 || f->has_opt);
	LAW(verdict != EDNS_FORWARD || f->question_end > DNS_HEADER);
	LAW(verdict != EDNS_FORWARD || f->has_opt == (f->opt_len != 0));
}

/* An error of our own reads back, in 512 octets, with an OPT record if the query had one. */
static inline void
law_error(const uint8_t *msg, size_t len, const struct edns_facts *f, enum dns_rcode rcode, enum edns_ede ede)
{
	static uint8_t out[512];
	struct edns_reply r = {.id = 0xbeef, .limit = 512, .udp_size = 1232, .keepalive = (int)(len % 3) - 1};
	struct edns_answer a;
	size_t n = edns_make_error(out, msg, len, f, rcode, ede, "a text of our own, to say a little more", &r);

	LAW(n >= DNS_HEADER && n <= sizeof(out));
	LAW(dns_id(out) == 0xbeef && dns_opcode(out) == dns_opcode(msg));
	LAW((dns_flags(out) & (DNS_QR | DNS_AA | DNS_TC | DNS_RA | DNS_Z | DNS_AD)) == (DNS_QR | DNS_RA));
	LAW((dns_flags(out) & (DNS_RD | DNS_CD)) == (dns_flags(msg) & (DNS_RD | DNS_CD)));
	out[2] &= 0x87; /* edns_read_answer() takes opcode QUERY only */
	LAW(edns_read_answer(out, n, &a) == 0 && a.end == n);
	LAW((a.opt_len != 0) == f->has_opt);
	LAW(a.rcode == (unsigned)rcode || (!f->has_opt && a.rcode == DNS_SERVFAIL));
	LAW(dns_qdcount(out) == (f->question_end > DNS_HEADER));
	LAW(memcmp(out + DNS_HEADER, msg + DNS_HEADER, f->question_end - DNS_HEADER) == 0);
	LAW(law_count_options(out, a.opt_at, a.opt_len, EDNS_EDE) == (f->has_opt && ede != EDE_NONE));
}

/* What leaves asks the same, is padded, and says no more of the client than it should. */
static inline void
law_sent(const uint8_t *msg, size_t len, const struct edns_facts *f, bool plain)
{
	static uint8_t out[UPSTREAM_MSG_MAX];
	struct edns_facts g;
	enum dns_rcode rcode;
	enum edns_ede ede;
	size_t n = edns_make_query(out, msg, len, f, 0xcafe, plain);

	LAW(n <= UPSTREAM_MSG_MAX && dns_id(out) == 0xcafe && dns_flags(out) == dns_flags(msg));
	if (f->is_signed) {
		LAW(n == len && memcmp(out + 2, msg + 2, len - 2) == 0);
		return;
	}
	LAW(memcmp(out + 4, msg + 4, 6) == 0);
	LAW(memcmp(out + DNS_HEADER, msg + DNS_HEADER, f->question_end - DNS_HEADER) == 0);
	law_same_records(msg, len, out, n);
	LAW(plain || n % PAD_BLOCK == 0);
	LAW(!plain || n == len - f->opt_len);
	if (n > QUERY_MSG_MAX)
		return;
	LAW(edns_read_query(out, n, &g, &rcode, &ede) == EDNS_FORWARD);
	LAW(dns_same_question(msg, &f->question, out, &g.question) && g.question_end == f->question_end);
	LAW(g.has_opt == !plain);
	if (plain)
		return;
	LAW(!g.is_signed && g.keepalive && g.udp_size == UDP_SIZE_DEFAULT && g.dnssec_ok == f->dnssec_ok);
	LAW(g.ecs_len == (f->ecs_len != 0 ? f->ecs_len : 8) && g.opt_at + g.opt_len == n);
	LAW(f->ecs_len == 0 || memcmp(out + g.ecs_at, msg + f->ecs_at, f->ecs_len) == 0);
	LAW((get32(out + g.opt_at + 5) & ~0x8000u) == 0);
	LAW(law_count_options(out, g.opt_at, g.opt_len, -1) == 3);
	LAW(law_count_options(out, g.opt_at, g.opt_len, EDNS_PADDING) == 1);
}

/* All laws of a query.  Returns whether it is forwarded; then *f is filled. */
static inline bool
law_query(const uint8_t *msg, size_t len, struct edns_facts *f)
{
	enum dns_rcode rcode;
	enum edns_ede ede;
	enum edns_verdict verdict = edns_read_query(msg, len, f, &rcode, &ede);

	law_facts(msg, len, f, verdict);
	if (verdict == EDNS_DROP)
		return false;
	if (verdict == EDNS_REPLY) {
		LAW(rcode != DNS_NOERROR);
		law_error(msg, len, f, rcode, ede);
		return false;
	}
	law_error(msg, len, f, DNS_SERVFAIL, EDE_NETWORK_ERROR);
	law_sent(msg, len, f, false);
	law_sent(msg, len, f, true);
	return true;
}

/* What the OPT record of a made answer may hold. */
static inline void
law_answer_opt(const uint8_t *out, const struct edns_answer *b, const struct edns_facts *f,
	       const struct edns_reply *r)
{
	unsigned ede = law_count_options(out, b->opt_at, b->opt_len, EDNS_EDE);
	unsigned ecs = law_count_options(out, b->opt_at, b->opt_len, EDNS_ECS);
	unsigned keepalive = law_count_options(out, b->opt_at, b->opt_len, EDNS_KEEPALIVE);

	LAW((b->opt_len != 0) == f->has_opt);
	LAW(law_count_options(out, b->opt_at, b->opt_len, -1) == ede + ecs + keepalive);
	LAW(ede <= 4 && ecs <= (f->ecs_len != 0) && keepalive == (f->has_opt && r->keepalive >= 0));
	if (!f->has_opt)
		return;
	LAW(b->opt_at + b->opt_len == b->end && get16(out + b->opt_at + 3) == r->udp_size);
	LAW((get32(out + b->opt_at + 5) & 0xffffffu) == (f->dnssec_ok ? 0x8000u : 0));
}

static inline void
law_made_answer(const uint8_t *out, size_t n, const uint8_t *msg, const struct edns_answer *a,
		const uint8_t *query, const struct edns_facts *f, const struct edns_reply *r)
{
	bool cut = dns_ancount(out) != dns_ancount(msg) || dns_nscount(out) != dns_nscount(msg) ||
		   dns_arcount(out) - f->has_opt != dns_arcount(msg) - (a->opt_len != 0);
	bool bare = a->end - a->opt_len == DNS_HEADER; /* gets the client's question */
	size_t body = bare ? f->question_end : a->end - a->opt_len;
	struct edns_answer b;

	LAW(edns_read_answer(out, n, &b) == 0 && b.end == n);
	law_answer_opt(out, &b, f, r);
	LAW(b.rcode == a->rcode || (!f->has_opt && a->rcode > 15 && b.rcode == DNS_SERVFAIL));
	LAW((dns_flags(out) & ~(DNS_TC | DNS_AD | DNS_RCODE)) ==
	    (dns_flags(msg) & ~(DNS_TC | DNS_AD | DNS_RCODE)));
	LAW((dns_flags(msg) & DNS_TC) == 0 || (dns_flags(out) & DNS_TC) != 0);
	if (!f->dnssec_ok && (dns_flags(query) & DNS_AD) == 0)
		LAW((dns_flags(out) & DNS_AD) == 0);
	if (!f->is_signed && body + (f->has_opt ? 11 + 24 + 6 + 512 : 0) <= r->limit)
		LAW(!cut && (dns_flags(out) & DNS_TC) == (dns_flags(msg) & DNS_TC));
	if (cut) {
		LAW((dns_flags(out) & DNS_TC) != 0 && law_records(out) == f->has_opt);
		LAW(n == f->question_end + b.opt_len);
		LAW(f->is_signed || body + (f->has_opt ? 11 + 24 + 6 : 0) > r->limit);
	} else {
		law_same_records(msg, a->end, out, n);
	}
	if (cut || bare || (dns_qdcount(msg) == 1 && a->question.name_len == f->question.name_len))
		LAW(memcmp(out + DNS_HEADER, query + DNS_HEADER, f->question.name_len) == 0);
}

/* All laws of an answer to a query that was judged FORWARD, whether it fits that query or not. */
static inline void
law_answer(const uint8_t *msg, size_t len, const uint8_t *query, const struct edns_facts *f,
	   const struct edns_reply *r)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct edns_answer a;
	size_t n;

	if (edns_read_answer(msg, len, &a) == -1)
		return;
	LAW(a.end <= len && a.opt_at + a.opt_len <= a.end && (a.question.end == 0 || a.question.end <= len));
	n = edns_make_answer(out, msg, len, &a, query, f, r);
	LAW((n == 0) == (a.tail_names && !f->is_signed));
	if (n == 0)
		return;
	LAW(n <= r->limit && n >= DNS_HEADER && dns_id(out) == r->id);
	if (f->is_signed && len <= r->limit)
		LAW(n == len && memcmp(out + 2, msg + 2, len - 2) == 0);
	else
		law_made_answer(out, n, msg, &a, query, f, r);
}

#endif
