/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "edns.h"

#define POINTER 0xc0u	    /* RFC 1035 section 4.1.4 */
#define OPT_FIXED 11u	    /* root owner, type, size, TTL field, length of RDATA (RFC 6891 section 6.1.2) */
#define OPT_VERSION 6u	    /* offset of the version in an OPT record */
#define OPT_DO 0x8000u	    /* in the TTL field (RFC 3225 section 3) */
#define OPTION_HEADER 4u    /* code and length (RFC 6891 section 6.1.2) */
#define ECS_MAX 24u	    /* header, family, two prefix lengths, an IPv6 address (RFC 7871 section 6) */
#define EDE_KEPT_MAX 4u	    /* Extended DNS Errors that cross: an answer has one or two */
#define EDE_OCTETS_MAX 512u /* all of them together */
#define EDE_TEXT_MAX 64u

/* Types whose RDATA may hold compressed names (RFC 3597 section 4): NS MD MF CNAME SOA MB MG MR PTR
 * MINFO MX RP AFSDB RT SIG PX NXT SRV NAPTR. */
#define TYPE(n) (UINT64_C(1) << (n))
#define COMPRESSIBLE \
	(TYPE(2) | TYPE(3) | TYPE(4) | TYPE(5) | TYPE(6) | TYPE(7) | TYPE(8) | TYPE(9) | TYPE(12) | TYPE(14) | \
	 TYPE(15) | TYPE(17) | TYPE(18) | TYPE(21) | TYPE(24) | TYPE(26) | TYPE(30) | TYPE(33) | TYPE(35))

/* ---- Options -------------------------------------------------------------------------------- */

struct option {
	uint16_t code;
	size_t at, len; /* where it lies, its header included */
};

/* Reads the option at offset at of an OPT that ends at end.  Returns false at the end, and when the
 * option does not fit. */
static bool
read_option(const uint8_t *msg, size_t at, size_t end, struct option *o)
{
	if (end - at < OPTION_HEADER)
		return false;
	o->code = get16(msg + at);
	o->at = at;
	o->len = OPTION_HEADER + get16(msg + at + 2);
	return o->len <= end - at;
}

/* Appends an option at p.  Returns the place behind it. */
static uint8_t *
put_option(uint8_t *p, enum edns_option code, const void *data, size_t len)
{
	put16(p, (uint16_t)code);
	put16(p + 2, (uint16_t)len);
	if (len != 0)
		memcpy(p + OPTION_HEADER, data, len);
	return p + OPTION_HEADER + len;
}

static uint8_t *
put_keepalive(uint8_t *p, int timeout)
{
	uint8_t data[2];

	put16(data, (uint16_t)timeout);
	return put_option(p, EDNS_KEEPALIVE, data, 2);
}

/* Begins an OPT record at p.  Returns the place of its first option. */
static uint8_t *
put_opt(uint8_t *p, uint16_t udp_size, unsigned rcode, bool dnssec_ok)
{
	p[0] = 0;
	put16(p + 1, DNS_TYPE_OPT);
	put16(p + 3, udp_size);
	put32(p + 5, (uint32_t)(rcode >> 4) << 24 | (dnssec_ok ? OPT_DO : 0));
	put16(p + 9, 0);
	return p + OPT_FIXED;
}

/* Ends the OPT record out[at..] at p and counts it.  Returns the length of the message. */
static size_t
end_opt(uint8_t *out, size_t at, const uint8_t *p)
{
	size_t len = (size_t)(p - out);

	put16(out + at + 9, (uint16_t)(len - at - OPT_FIXED));
	put16(out + 10, (uint16_t)(dns_arcount(out) + 1));
	return len;
}

/* ---- Taking an OPT out ---------------------------------------------------------------------- */

static unsigned
pointer_target(const uint8_t *p)
{
	return get16(p) & 0x3fffu;
}

/* Offset of the pointer that ends the name at at, which lies inside msg; 0 when none does. */
static size_t
find_pointer(const uint8_t *msg, size_t at)
{
	while (msg[at] != 0 && msg[at] < POINTER)
		at += 1u + msg[at];
	return msg[at] != 0 ? at : 0;
}

/* Whether the record rr behind the OPT record at opt_at keeps it from being taken out: its owner
 * points into the OPT; or its RDATA may hold names, and has what could be a pointer to the OPT or
 * behind it.  (To tell for sure would take a parser for each of those types.)  Other types hold no
 * compressed names, and nothing in their RDATA is ever changed (RFC 3597 section 4). */
static bool
is_stuck(const uint8_t *msg, const struct dns_rr *rr, size_t opt_at, size_t opt_len)
{
	size_t pointer = find_pointer(msg, rr->at);

	if (pointer != 0) {
		unsigned to = pointer_target(msg + pointer);

		if (to >= opt_at && to < opt_at + opt_len)
			return true;
	}
	if (rr->type > 63 || (COMPRESSIBLE & TYPE(rr->type)) == 0)
		return false;
	for (size_t i = rr->rdata; i + 1 < rr->end; i++) {
		if (msg[i] >= POINTER && pointer_target(msg + i) >= opt_at)
			return true;
	}
	return false;
}

/* The records of msg[at..end) have moved down by gap into out: owners that point at what lay at
 * offset at or behind it now point gap lower. */
static void
fix_owners(uint8_t *out, const uint8_t *msg, size_t at, size_t end, size_t gap)
{
	size_t first = at;
	struct dns_rr rr;

	for (; at < end && dns_read_rr(msg, end, at, &rr) == 0; at = rr.end) {
		size_t pointer = find_pointer(msg, at);
		unsigned to = pointer != 0 ? pointer_target(msg + pointer) : 0;

		if (to >= first)
			put16(out + pointer - gap, (uint16_t)(POINTER << 8 | (to - gap)));
	}
}

/* Copies msg[0..end), but not the OPT record at opt_at (opt_len 0 = none).  Returns the length. */
static size_t
copy_without(uint8_t *out, const uint8_t *msg, size_t end, size_t opt_at, size_t opt_len)
{
	size_t behind = opt_at + opt_len;

	if (opt_len == 0) {
		memcpy(out, msg, end);
		return end;
	}
	memcpy(out, msg, opt_at);
	if (behind < end) {
		memcpy(out + opt_at, msg + behind, end - behind);
		fix_owners(out, msg, behind, end, opt_len);
	}
	put16(out + 10, (uint16_t)(dns_arcount(msg) - 1));
	return end - opt_len;
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* What stands in the three sections of records. */
struct records {
	size_t opt_at, opt_len; /* the OPT record where it should be; opt_len 0 = none */
	bool has_opt;		/* one was there, in whatever place and shape */
	bool bad_opt;		/* a second one, or not in the additional section, or owned by a name */
	bool is_stuck;		/* the OPT cannot be taken out */
	bool is_signed;		/* TSIG or SIG(0) is the last record */
	bool bad_tsig;		/* TSIG is somewhere else */
	size_t end;		/* behind the last record */
};

static void
note_opt(struct records *s, const uint8_t *msg, const struct dns_rr *rr, bool additional)
{
	if (s->has_opt || !additional || msg[rr->at] != 0) {
		s->bad_opt = true;
	} else {
		s->opt_at = rr->at;
		s->opt_len = rr->end - rr->at;
	}
	s->has_opt = true;
}

static void
note_signature(struct records *s, const uint8_t *msg, const struct dns_rr *rr, bool last)
{
	if (rr->type == DNS_TYPE_TSIG) {
		s->is_signed = last;
		s->bad_tsig = s->bad_tsig || !last;
	} else if (rr->rdlen >= 2 && get16(msg + rr->rdata) == 0) {
		/* SIG(0) covers no type (RFC 2931 section 3). */
		s->is_signed = last;
	}
}

/* Goes once through all records, from offset at.  Returns 0, or -1 when one does not lie inside the
 * message; *s then tells of those before it. */
static int
read_records(struct records *s, const uint8_t *msg, size_t len, size_t at)
{
	unsigned before = (unsigned)dns_ancount(msg) + dns_nscount(msg);
	unsigned all = before + dns_arcount(msg);
	struct dns_rr rr;

	*s = (struct records){.end = at};
	for (unsigned i = 0; i < all; i++) {
		if (dns_read_rr(msg, len, s->end, &rr) == -1)
			return -1;
		s->end = rr.end;
		if (rr.type == DNS_TYPE_OPT)
			note_opt(s, msg, &rr, i >= before);
		else if (s->opt_len != 0 && is_stuck(msg, &rr, s->opt_at, s->opt_len))
			s->is_stuck = true;
		if (rr.type == DNS_TYPE_TSIG || rr.type == DNS_TYPE_SIG)
			note_signature(s, msg, &rr, i >= before && i + 1 == all);
	}
	return 0;
}

/* Offset behind the question section, or 0 when it does not lie inside the message.  Several
 * questions are an error, but their OPT is looked for all the same. */
static size_t
read_questions(const uint8_t *msg, size_t len, struct edns_facts *f)
{
	unsigned count = dns_qdcount(msg);
	size_t at = DNS_HEADER;

	if (count == 1) {
		if (dns_read_question(msg, len, &f->question) == -1)
			return 0;
		f->question_end = (uint16_t)f->question.end;
		return f->question.end;
	}
	while (count-- > 0) {
		at = dns_skip_name(msg, len, at);
		if (at == 0 || len - at < 4)
			return 0;
		at += 4;
	}
	return at;
}

/* RFC 7871 section 6: family, source and scope prefix lengths, and as many octets of the address as the
 * source prefix needs, with no bit set behind it.  Family 0 may stand with a prefix of 0. */
static bool
is_subnet(const uint8_t *option, size_t len)
{
	unsigned family, bits;

	if (len < OPTION_HEADER + 4)
		return false;
	family = get16(option + OPTION_HEADER);
	bits = option[OPTION_HEADER + 2];
	if (option[OPTION_HEADER + 3] != 0 || len != OPTION_HEADER + 4 + (bits + 7) / 8)
		return false;
	if (bits % 8 != 0 && (option[len - 1] & (0xffu >> bits % 8)) != 0)
		return false;
	return family == 1 ? bits <= 32 : family == 2 ? bits <= 128 : family == 0 && bits == 0;
}

/* Notes what the client's OPT record says.  Returns 0, or -1 when its options do not fill it, or its
 * client subnet is none: an upstream would refuse that, and could not be told from one without EDNS. */
static int
read_opt(const uint8_t *msg, struct edns_facts *f)
{
	const uint8_t *opt = msg + f->opt_at;
	size_t at = f->opt_at + OPT_FIXED, end = (size_t)f->opt_at + f->opt_len;
	struct option o;

	/* RFC 6891 section 6.2.3: less than 512 counts as 512. */
	if (get16(opt + 3) > UDP_SIZE_MIN)
		f->udp_size = get16(opt + 3);
	f->dnssec_ok = (get32(opt + 5) & OPT_DO) != 0;
	if (opt[OPT_VERSION] != 0)
		return 0; /* who knows what its options look like */
	for (; read_option(msg, at, end, &o); at += o.len) {
		if (o.code == EDNS_KEEPALIVE)
			f->keepalive = true;
		if (o.code == EDNS_ECS && !is_subnet(msg + o.at, o.len))
			return -1;
		if (o.code == EDNS_ECS && f->ecs_len == 0) {
			f->ecs_at = (uint16_t)o.at;
			f->ecs_len = (uint16_t)o.len;
		}
	}
	return at == end ? 0 : -1;
}

/* Fills *f.  Returns 0, or -1 when the message is malformed. */
static int
read_facts(const uint8_t *msg, size_t len, struct edns_facts *f)
{
	struct records s;
	size_t at = read_questions(msg, len, f);
	int whole;

	if (at == 0)
		return -1;
	whole = read_records(&s, msg, len, at);
	f->has_opt = s.has_opt;
	f->is_signed = s.is_signed;
	f->opt_at = (uint16_t)s.opt_at;
	f->opt_len = (uint16_t)s.opt_len;
	if (f->opt_len != 0 && read_opt(msg, f) == -1)
		return -1;
	if (whole == -1 || s.end != len || s.bad_opt || s.bad_tsig || (s.is_stuck && !s.is_signed))
		return -1;
	return dns_qdcount(msg) == 1 ? 0 : -1;
}

enum edns_verdict
edns_read_query(const uint8_t *msg, size_t len, struct edns_facts *f, enum dns_rcode *rcode, enum edns_ede *ede)
{
	bool malformed;

	*f = (struct edns_facts){.question_end = DNS_HEADER, .udp_size = UDP_SIZE_MIN};
	*rcode = DNS_NOERROR;
	*ede = EDE_NONE;
	if (len < DNS_HEADER || (dns_flags(msg) & DNS_QR) != 0)
		return EDNS_DROP;
	malformed = len > QUERY_MSG_MAX || read_facts(msg, len, f) == -1;
	if (dns_opcode(msg) == DNS_OP_DSO && (get32(msg + 4) != 0 || get32(msg + 8) != 0)) {
		*rcode = DNS_FORMERR;
	} else if (dns_opcode(msg) != DNS_OP_QUERY) {
		*rcode = DNS_NOTIMP;
	} else if (malformed) {
		*rcode = DNS_FORMERR;
	} else if (f->opt_len != 0 && msg[f->opt_at + OPT_VERSION] != 0) {
		*rcode = DNS_BADVERS;
	} else if (f->question.type == DNS_TYPE_AXFR || f->question.type == DNS_TYPE_IXFR) {
		*rcode = DNS_REFUSED;
		*ede = EDE_NOT_SUPPORTED;
	} else {
		return EDNS_FORWARD;
	}
	return EDNS_REPLY;
}

/* Notes what the upstream's OPT record says to us. */
static void
read_answer_opt(const uint8_t *msg, struct edns_answer *a)
{
	size_t at = a->opt_at + OPT_FIXED, end = a->opt_at + a->opt_len;
	struct option o;

	a->rcode |= (unsigned)msg[a->opt_at + OPT_VERSION - 1] << 4;
	for (; read_option(msg, at, end, &o); at += o.len) {
		if (o.code == EDNS_KEEPALIVE && o.len == OPTION_HEADER + 2) {
			a->has_keepalive = true;
			a->keepalive = get16(msg + o.at + OPTION_HEADER);
		}
		a->has_padding |= o.code == EDNS_PADDING;
		if (o.code == EDNS_ECS && o.len >= OPTION_HEADER + 4)
			a->scope = msg[o.at + OPTION_HEADER + 3];
		if (o.code == EDNS_EDE && o.len >= OPTION_HEADER + 2 && a->ede == EDE_NONE)
			a->ede = get16(msg + o.at + OPTION_HEADER);
	}
}

int
edns_read_answer(const uint8_t *msg, size_t len, struct edns_answer *a)
{
	struct records s;
	size_t at = DNS_HEADER;

	if (len < DNS_HEADER || len > DNS_MESSAGE_MAX || dns_qdcount(msg) > 1 ||
	    (dns_flags(msg) & (DNS_QR | DNS_OPCODE)) != DNS_QR)
		return -1;
	*a = (struct edns_answer){.rcode = dns_rcode(msg), .ede = EDE_NONE};
	if (dns_qdcount(msg) == 1) {
		if (dns_read_question(msg, len, &a->question) == -1)
			return -1;
		at = a->question.end;
	}
	if (read_records(&s, msg, len, at) == -1 || s.bad_opt)
		return -1;
	a->opt_at = s.opt_at;
	a->opt_len = s.opt_len;
	a->tail_names = s.is_stuck;
	a->end = s.end;
	if (a->opt_len != 0)
		read_answer_opt(msg, a);
	return 0;
}

/* ---- Making --------------------------------------------------------------------------------- */

size_t
edns_make_query(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f, uint16_t id,
		bool plain)
{
	static const uint8_t zeros[PAD_BLOCK];
	static const uint8_t no_subnet[] = {0, 1, 0, 0}; /* IPv4, 0 bits, scope 0 */
	size_t n, opt_at;
	uint8_t *p;

	if (f->is_signed) {
		memcpy(out, msg, len);
		dns_set_id(out, id);
		return len;
	}
	opt_at = copy_without(out, msg, len, f->opt_at, f->opt_len);
	dns_set_id(out, id);
	if (plain)
		return opt_at;
	p = put_opt(out + opt_at, UDP_SIZE_DEFAULT, 0, f->dnssec_ok);
	if (f->ecs_len != 0) {
		memcpy(p, msg + f->ecs_at, f->ecs_len);
		p += f->ecs_len;
	} else {
		p = put_option(p, EDNS_ECS, no_subnet, sizeof(no_subnet));
	}
	p = put_option(p, EDNS_KEEPALIVE, NULL, 0);
	n = (size_t)(p - out) + OPTION_HEADER;
	p = put_option(p, EDNS_PADDING, zeros, (PAD_BLOCK - n % PAD_BLOCK) % PAD_BLOCK);
	return end_opt(out, opt_at, p);
}

/* The options of an upstream's OPT that cross to the client. */
struct crossing {
	struct option ecs; /* len 0 = none */
	struct option ede[EDE_KEPT_MAX];
	unsigned edes;
	uint16_t own_ede;  /* ours; 0 = none */
	size_t ede_octets; /* all of them together */
};

static void
pick_options(struct crossing *c, const uint8_t *msg, const struct edns_answer *a, bool wants_ecs)
{
	size_t at = a->opt_at + OPT_FIXED, end = a->opt_at + a->opt_len;
	struct option o;

	if (a->opt_len == 0)
		return;
	for (; read_option(msg, at, end, &o); at += o.len) {
		if (o.code == EDNS_ECS && wants_ecs && c->ecs.len == 0 && o.len <= ECS_MAX)
			c->ecs = o;
		if (o.code == EDNS_EDE && o.len >= OPTION_HEADER + 2 && c->edes < EDE_KEPT_MAX &&
		    o.len <= EDE_OCTETS_MAX - c->ede_octets) {
			c->ede[c->edes++] = o;
			c->ede_octets += o.len;
		}
	}
}

static uint8_t *
copy_option(uint8_t *p, const uint8_t *msg, const struct option *o)
{
	if (o->len != 0)
		memcpy(p, msg + o->at, o->len);
	return p + o->len;
}

/* A limit within what the header promises, whatever the caller said. */
static size_t
reply_limit(const struct edns_reply *r)
{
	if (r->limit < UDP_SIZE_MIN)
		return UDP_SIZE_MIN;
	return r->limit < DNS_MESSAGE_MAX ? r->limit : DNS_MESSAGE_MAX;
}

/* Copies the client's question, if it could be read, behind the header in out and sets all counts.
 * Returns the length. */
static size_t
copy_question(uint8_t *out, const uint8_t *query, const struct edns_facts *f)
{
	memset(out + 4, 0, 8);
	if (f->question_end <= DNS_HEADER)
		return DNS_HEADER;
	put16(out + 4, 1);
	memcpy(out + DNS_HEADER, query + DNS_HEADER, f->question_end - DNS_HEADER);
	return f->question_end;
}

/* Octets of an answer without its OPT.  One that is a bare header gets the client's question: some
 * servers leave it out of an error, and stub resolvers wait on when it is not there. */
static size_t
answer_len(const struct edns_answer *a, const struct edns_facts *f)
{
	size_t len = a->end - a->opt_len;

	return len != DNS_HEADER ? len : f->question_end;
}

/* Copies the whole answer but for its OPT, with the client's spelling of the question; the letters
 * of a name may differ in case (RFC 4343), and some clients check that theirs come back. */
static size_t
copy_answer(uint8_t *out, const uint8_t *msg, const struct edns_answer *a, const uint8_t *query,
	    const struct edns_facts *f)
{
	size_t len = copy_without(out, msg, a->end, a->opt_at, a->opt_len);

	if (len == DNS_HEADER)
		return copy_question(out, query, f);
	if (dns_qdcount(msg) == 1 && a->question.name_len == f->question.name_len)
		memcpy(out + DNS_HEADER, query + DNS_HEADER, f->question.name_len);
	return len;
}

static uint16_t
answer_flags(const uint8_t *msg, const struct edns_answer *a, const uint8_t *query, const struct edns_facts *f)
{
	unsigned flags = dns_flags(msg);

	if (!f->dnssec_ok && (dns_flags(query) & DNS_AD) == 0)
		flags &= ~DNS_AD;
	if (!f->has_opt && a->rcode > DNS_RCODE)
		flags = (flags & ~DNS_RCODE) | DNS_SERVFAIL;
	return (uint16_t)flags;
}

/* Appends an Extended DNS Error of our own. */
static uint8_t *
put_ede(uint8_t *p, enum edns_ede ede, const char *text)
{
	uint8_t data[2 + EDE_TEXT_MAX];
	size_t len = 0;

	put16(data, (uint16_t)ede);
	while (text != NULL && len < EDE_TEXT_MAX && text[len] != '\0')
		len++;
	if (len != 0)
		memcpy(data + 2, text, len);
	return put_option(p, EDNS_EDE, data, 2 + len);
}

/* Appends the client's OPT to out[0..at).  Returns the length. */
static size_t
put_answer_opt(uint8_t *out, size_t at, const uint8_t *msg, const struct edns_answer *a,
	       const struct crossing *c, const struct edns_facts *f, const struct edns_reply *r)
{
	uint8_t *p = put_opt(out + at, r->udp_size, a->rcode, f->dnssec_ok);

	p = copy_option(p, msg, &c->ecs);
	if (r->keepalive >= 0)
		p = put_keepalive(p, r->keepalive);
	for (unsigned i = 0; i < c->edes; i++)
		p = copy_option(p, msg, &c->ede[i]);
	if (c->own_ede != 0)
		p = put_ede(p, (enum edns_ede)c->own_ede, NULL);
	return end_opt(out, at, p);
}

size_t
edns_make_answer(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_answer *a,
		 const uint8_t *query, const struct edns_facts *f, const struct edns_reply *r)
{
	struct crossing c = {.edes = 0};
	size_t limit = reply_limit(r), whole = answer_len(a, f), opt = 0, n;
	uint16_t flags;

	if (f->is_signed && len <= limit) {
		memcpy(out, msg, len);
		dns_set_id(out, r->id);
		return len;
	}
	if (a->tail_names && !f->is_signed)
		return 0;
	flags = answer_flags(msg, a, query, f);
	if (f->has_opt) {
		pick_options(&c, msg, a, f->ecs_len != 0);
		c.own_ede = r->ede;
		c.ede_octets += r->ede != 0 ? OPTION_HEADER + 2 : 0;
		opt = OPT_FIXED + c.ecs.len + (r->keepalive >= 0 ? OPTION_HEADER + 2 : 0);
	}
	if (f->is_signed || whole + opt + c.ede_octets > limit)
		flags |= DNS_TC;
	if (f->is_signed || whole + opt > limit)
		n = copy_question(out, query, f);
	else
		n = copy_answer(out, msg, a, query, f);
	if (n + opt + c.ede_octets > limit)
		c.edes = c.own_ede = 0;
	dns_set_id(out, r->id);
	dns_set_flags(out, flags);
	return f->has_opt ? put_answer_opt(out, n, msg, a, &c, f, r) : n;
}

size_t
edns_make_error(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f, enum dns_rcode rcode,
		enum edns_ede ede, const char *text, const struct edns_reply *r)
{
	unsigned low = rcode > DNS_RCODE && !f->has_opt ? DNS_SERVFAIL : rcode & DNS_RCODE;
	size_t n = copy_question(out, msg, f);
	uint8_t *p;

	(void)len;
	dns_set_id(out, r->id);
	dns_set_flags(out,
		      (uint16_t)((dns_flags(msg) & (DNS_OPCODE | DNS_RD | DNS_CD)) | DNS_QR | DNS_RA | low));
	if (!f->has_opt)
		return n;
	p = put_opt(out + n, r->udp_size, rcode, f->dnssec_ok);
	if (r->keepalive >= 0)
		p = put_keepalive(p, r->keepalive);
	if (ede != EDE_NONE)
		p = put_ede(p, ede, text);
	return end_opt(out, n, p);
}
