/* SPDX-License-Identifier: MIT */
/* EDNS (RFC 6891) is hop-by-hop.  dnproxy stands between two hops, so it reads the client's OPT
 * record, sends the query with an OPT record of its own, and gives the client an OPT record if, and
 * only if, the client sent one.  Here all of that is done on octets: judging a query, making what
 * leaves for the upstream, making what goes back.  Pure: no I/O, no clock, no allocation.
 *
 * A query signed with TSIG or SIG(0) is passed on unchanged, and so is its answer (RFC 5625
 * section 4.5): any change but the ID would void the signature. */
#ifndef DNPROXY_EDNS_H
#define DNPROXY_EDNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns.h"

enum edns_option {
	EDNS_ECS = 8,	     /* RFC 7871 */
	EDNS_COOKIE = 10,    /* RFC 7873 */
	EDNS_KEEPALIVE = 11, /* RFC 7828 */
	EDNS_PADDING = 12,   /* RFC 7830 */
	EDNS_EDE = 15	     /* RFC 8914 */
};

/* INFO-CODEs of Extended DNS Errors (RFC 8914 section 4) that dnproxy says itself, or looks for. */
enum edns_ede {
	EDE_NONE = -1,
	EDE_OTHER = 0,
	EDE_STALE = 3,
	EDE_DNSSEC_BOGUS = 6,  /* from here ... */
	EDE_NSEC_MISSING = 12, /* ... to here: signatures do not hold */
	EDE_CACHED_ERROR = 13,
	EDE_NOT_READY = 14,
	EDE_BLOCKED = 15,  /* from here ... */
	EDE_FILTERED = 17, /* ... to here: a name is kept from users */
	EDE_PROHIBITED = 18,
	EDE_STALE_NXDOMAIN = 19,
	EDE_NOT_SUPPORTED = 21,
	EDE_NO_REACHABLE_AUTHORITY = 22,
	EDE_NETWORK_ERROR = 23
};

/* What a query says, as far as dnproxy has to know. */
struct edns_facts {
	uint16_t question_end;	      /* offset behind the question section; DNS_HEADER when unreadable */
	struct dns_question question; /* meaningful when question_end > DNS_HEADER */
	uint16_t opt_at, opt_len;     /* where the OPT record lies; opt_len 0 = none */
	uint16_t ecs_at, ecs_len;     /* where the client subnet option lies, its header included */
	uint16_t udp_size;	      /* what the client takes over UDP: 512 without OPT */
	bool has_opt;		      /* it had one, perhaps a broken one: the reply must have one too */
	bool dnssec_ok;		      /* the DO bit */
	bool keepalive;		      /* edns-tcp-keepalive was there */
	bool is_signed;		      /* TSIG or SIG(0) is the last record */
};

/* Whether there is nothing in a query of len octets but a question, and an OPT without a client's subnet: its
 * answer is one for all who ask the same. */
static inline bool
edns_is_plain(const struct edns_facts *f, size_t len)
{
	return !f->is_signed && f->ecs_len == 0 && (size_t)f->question_end + f->opt_len == len;
}

enum edns_verdict {
	EDNS_FORWARD, /* worth passing on */
	EDNS_DROP,    /* shorter than a header, or a response: no reply is due */
	EDNS_REPLY    /* answer with the RCODE in *rcode and, unless EDE_NONE, the error in *ede */
};

/* Judges msg[0..len), len <= QUERY_MSG_MAX, as a query and fills all of *f.
 *   DROP          len < 12 or QR set (RFC 5625; two proxies must not loop)
 *   NOTIMP        any opcode but QUERY; DSO too (RFC 8490 section 5.1.1)
 *   FORMERR       DSO with counts that are not 0 (RFC 8490 section 5.4); QDCOUNT not 1 (RFC 9619);
 *                 a question or record that does not lie inside the message; octets behind the
 *                 last record; two OPT records, an OPT outside the additional section or with an
 *                 owner other than the root; options that do not fill their OPT exactly, a client
 *                 subnet that is none (RFC 7871 section 6); TSIG
 *                 that is not last (RFC 8945 section 5.2); an unsigned query whose OPT cannot be
 *                 taken out, because a name behind it may be compressed against what moves (no
 *                 known client sends records behind its OPT)
 *   BADVERS       EDNS version above 0 (RFC 6891 section 6.1.3)
 *   REFUSED       AXFR and IXFR, with EDE 21: an answer of many messages has no place here
 *   FORWARD       all else, whatever its flags, type, class, names and unknown options */
enum edns_verdict edns_read_query(const uint8_t *msg, size_t len, struct edns_facts *f, enum dns_rcode *rcode,
				  enum edns_ede *ede);

/* Makes what leaves for the upstream from a query that was judged FORWARD: everything as the client
 * sent it, but ID id, and the OPT record ours: version 0, UDP size 1,232, the client's DO bit; the
 * client's subnet option as it is, else a subnet of 0.0.0.0/0 (RFC 7871 section 7.1.2), an empty
 * edns-tcp-keepalive (RFC 7828 section 3.2.1), and padding so that the length is a multiple of
 * PAD_BLOCK (RFC 8467; the last one).  No other option crosses.  With plain set, no OPT at all: for
 * an upstream that refuses it.  A signed query gets its ID and nothing else.
 * out holds UPSTREAM_MSG_MAX octets and does not overlap msg.  Returns the length; always fits. */
size_t edns_make_query(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f, uint16_t id,
		       bool plain);

/* What dnproxy itself wants to know of an upstream's answer. */
struct edns_answer {
	struct dns_question question; /* meaningful when QDCOUNT is 1 */
	size_t opt_at, opt_len;	      /* where its OPT lies; opt_len 0 = none */
	unsigned rcode;		      /* with the extended bits */
	bool has_keepalive;	      /* with a timeout: */
	uint16_t keepalive;	      /* in units of 100 ms (RFC 7828 section 3.1) */
	bool has_padding;	      /* RFC 7830, perhaps of no octets */
	uint8_t scope;		      /* of its client subnet: for some clients only, when above 0 */
	int ede;		      /* its first Extended DNS Error (RFC 8914); EDE_NONE = none */
	bool tail_names;	      /* names behind the OPT may point at what moves when it is taken out */
	size_t end;		      /* offset behind the last record */
};

/* Whether the upstream says that an error is because of the name, not of itself: signatures that do not hold, or a
 * name that it keeps from its users (RFC 8914 section 4). */
static inline bool
edns_blames_name(const struct edns_answer *a)
{
	return (a->ede >= EDE_DNSSEC_BOGUS && a->ede <= EDE_NSEC_MISSING) ||
	       (a->ede >= EDE_BLOCKED && a->ede <= EDE_FILTERED);
}

/* Reads msg[0..len) as a response: at least a header, QR set, opcode QUERY, at most one question,
 * every record inside the message, at most one OPT, and that with the root as its owner and in the
 * additional section.  Octets behind the last record are tolerated, and left behind; so are options
 * from the first one on that does not fit into its OPT.
 * Returns 0, or -1 when it is not a response of that kind. */
int edns_read_answer(const uint8_t *msg, size_t len, struct edns_answer *a);

/* How the reply is to be made. */
struct edns_reply {
	uint16_t id;	   /* the client's */
	size_t limit;	   /* largest reply, >= 512 */
	uint16_t udp_size; /* what our OPT announces */
	int keepalive;	   /* edns-tcp-keepalive to say, in units of 100 ms; -1 = none */
	uint16_t ede;	   /* of an answer: an Extended DNS Error to say beside the upstream's; 0 = none */
};

/* Makes the client's answer from an upstream's one that edns_read_answer() took: ID as asked;
 * question in the client's own spelling, also where an error came as a bare header; OPT only for a
 * client that sent one, with the upstream's extended RCODE, the client's DO bit (RFC 3225 section
 * 3), the upstream's Extended DNS Errors, its client subnet when the client sent that option, and
 * our keepalive; nothing else of it crosses.  Without an OPT to say it in, an extended RCODE
 * becomes SERVFAIL.  AD is cleared for a client that set neither AD nor DO (RFC 6840 section 5.8).
 * Everything else byte for byte.  When the result is longer than the limit: TC set, and without
 * the Extended DNS Errors if that is enough (RFC 8914 section 3), else header, question and OPT
 * only, with the Extended DNS Errors if they fit.  query is the client's message and f its facts;
 * the caller has compared the questions.  out holds DNS_MESSAGE_MAX octets and does not overlap
 * msg.  A signed query's answer is only given its ID (and cut when it must be, to header, question
 * and OPT).
 * Returns the length; 0 when the answer cannot be edited safely (a->tail_names). */
size_t edns_make_answer(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_answer *a,
			const uint8_t *query, const struct edns_facts *f, const struct edns_reply *r);

/* Makes an error of our own for msg[0..len), len >= DNS_HEADER: ID, opcode, RD, CD (and the
 * question, when it could be read) as asked, QR set, RCODE; an OPT record with the Extended DNS
 * Error (text may be NULL, and is cut to 64 octets) when the query had one.  Never longer than
 * r->limit.  out holds 512 octets and does not overlap msg.  Returns the length. */
size_t edns_make_error(uint8_t *out, const uint8_t *msg, size_t len, const struct edns_facts *f,
		       enum dns_rcode rcode, enum edns_ede ede, const char *text, const struct edns_reply *r);

#endif
