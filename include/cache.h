/* SPDX-License-Identifier: MIT */
/* Answers that are kept, in one block of memory that is given at the start and never exceeded.  Octets and
 * numbers in, octets out: no I/O, no clock, no allocation, no knowledge of clients or upstreams.  It may
 * forget anything at any time; it never gives an answer that it was not given for that very question (or,
 * RFC 8020, for a name above it that does not exist), nor one that is too old.
 *
 * Inside (S3-FIFO): answers lie one behind the other in two rings.  New ones go through the small one, a tenth
 * of the block; who was asked for again by the time its end is reached is copied to the main one, and who was
 * not leaves but for 15 bits of its hash, by which it goes straight to the main one when it comes back.  In the
 * main ring each question is worth one more turn, at most three.  So names that are asked for once pass through
 * a tenth of the memory, nothing is fragmented, and one put moves at most CACHE_MOVES answers (while the block
 * fills for the first time: those whose place it takes).  Pages are touched as they fill.
 *
 * Overhead for each answer: CACHE_ENTRY octets and up to 3 to round up, and of each CACHE_BUCKET octets of the
 * block 6 for the index: below 40 octets for an answer up to 128 octets long. */
#ifndef DNPROXY_CACHE_H
#define DNPROXY_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "dns.h"

/* What an answer is found by: a question and what else was asked for.  Answers to questions with different
 * bits never mix (RFC 4035 section 4.7 on CD, section 3.2.1 on DO). */
#define CACHE_DO 1u
#define CACHE_CD 2u
#define CACHE_BITS 0x0fu /* 4 and 8 are the caller's own, for whatever else may change an answer */

struct cache_key {
	uint16_t len;
	uint8_t octets[1 + DNS_NAME_MAX + 4]; /* bits; the question as on the wire, its name in lower case */
};

/* Makes the key of msg's question q, which dns_read_question() read.  bits: within CACHE_BITS. */
void cache_key(struct cache_key *key, const uint8_t *msg, const struct dns_question *q, unsigned bits);

/* All in seconds, below 2^31; min_ttl <= max_ttl. */
struct cache_rules {
	uint32_t min_ttl; /* positive answers are kept at least so long, unless a TTL is 0 */
	uint32_t max_ttl; /* all answers but failures at most so long */
	uint32_t stale;	  /* so long after its end an answer can still be had, as STALE; 0 = not at all */
};

/* Of all calls.  Who asks again for the same question, say for a STALE answer, is counted again. */
struct cache_counters {
	uint64_t hits;	  /* cache_get() said FRESH, */
	uint64_t stale;	  /* STALE, */
	uint64_t misses;  /* or NONE */
	uint64_t stored;  /* cache_put() kept it */
	uint64_t evicted; /* left to make room */
};

/* A ring of entries in the block: [tail, head), or when wrapped [tail, end) and then [base, head). */
struct cache_ring {
	uint32_t base, limit;
	uint32_t head, tail, end;
	bool wrapped;
};

/* What stands before each message in a ring.  The message lies behind it: without OPT, ID 0, the question in
 * lower case, no TTL below .life.  For tests to look at; nobody else needs to know. */
struct cache_entry {
	uint32_t hash;
	uint32_t next;	  /* in the same bucket: offset in the block, 0 = none */
	uint32_t stored;  /* when */
	uint32_t life;	  /* so long it is FRESH */
	uint32_t recheck; /* a refresh failed: not again before */
	uint16_t room;	  /* of the entry in the ring, in units of 4 octets */
	uint16_t len;	  /* of the message */
	int16_t ede;
	uint8_t bits;
	uint8_t use; /* CACHE_LIVE and what else is in cache.c */
};
#define CACHE_ENTRY 28u
#define CACHE_WIDE 0x80u /* in .bits: no type of the name exists; the question's type is 0 */
#define CACHE_LIVE 0x80u /* in .use: it is in the index; else it only waits for the ring's end */
_Static_assert(sizeof(struct cache_entry) == CACHE_ENTRY, "the overhead is as promised");

struct cache {
	uint8_t *block;
	uint32_t *bucket;  /* first entry: offset in the block, 0 = none */
	uint16_t *ghost;   /* one a bucket: whose hash left the small ring last, 0 = none */
	uint32_t buckets;  /* 0 = no cache: a struct of zeros keeps nothing */
	uint32_t room_max; /* of an entry, in octets */
	uint32_t seed[2];
	uint32_t entries; /* in the index now */
	bool aged;	  /* the main ring has been full */
	struct cache_ring small, main;
	struct cache_rules rules;
	struct cache_counters count;
};

/* block: size octets, 1 .. CACHE_KIB_MAX KiB, all zero, aligned for any type; it stays with the cache.
 * seed: from entropy_fill(), so that nobody outside can choose names that meet in one bucket. */
void cache_init(struct cache *c, void *block, size_t size, const struct cache_rules *rules,
		const uint32_t seed[2]);

/* Everything is forgotten; the counters stay. */
void cache_flush(struct cache *c);

/* An upstream's answer, whole, as it came. */
struct cache_offer {
	const uint8_t *msg;
	size_t len;
	int ede;     /* its Extended DNS Error (RFC 8914), 0..32767; -1 = none */
	bool scoped; /* it is for some clients only: an ECS option with a scope above 0 (RFC 7871 section 7.3.1) */
	bool firm; /* the upstream blames the name itself: older answers do not outlive such a failure, and such an
		    * NXDOMAIN says nothing of other types, nor of names below */
};

/* Keeps the answer, if it may be kept:
 *   never      scoped; not a response to the key's question; opcode not QUERY; TC (RFC 2181 section 9); a
 *              record outside the message or signed (TSIG, SIG); an extended RCODE; an OPT that is not the
 *              last record (taking it out could move what names point at); a question for TKEY, TSIG,
 *              transfers, MAILA and MAILB; longer than a twentieth of the block
 *   NOERROR    with a record of the type asked for: the lowest TTL of all records but OPT (a TTL with its top
 *              bit set counts as 0, RFC 2181 section 8), not when that is 0, within min_ttl .. max_ttl;
 *              otherwise as
 *   NXDOMAIN   the lowest of all TTLs and MINIMUM of the SOA in the authority section, not without one (RFC 2308
 *              section 5), at most CACHE_NEGATIVE_MAX_S and max_ttl
 *   SERVFAIL,
 *   REFUSED    failures: the header and the question for CACHE_FAILURE_S; twice as long as last time, up to
 *              CACHE_FAILURE_MAX_S, when it goes on (RFC 9520 section 3.2)
 *   others     not.
 * An older answer of the same key goes, except before a failure that is not firm: then one that is FRESH or STALE
 * stays, and counts as failed (cache_failed()).  NXDOMAIN without a CNAME, and not firm, is kept for all types of the name
 * (RFC 2308 section 5), and goes when the name turns out to exist.
 * now: seconds of a clock that never goes back, the same for all calls.
 * Returns whether it was kept. */
bool cache_put(struct cache *c, const struct cache_key *key, const struct cache_offer *offer, uint32_t now);

/* A refresh of the key's answer failed in some other way than by such an answer: if there is one that is FRESH or STALE,
 * cache_get() says so (.held) for CACHE_RECHECK_S. */
void cache_failed(struct cache *c, const struct cache_key *key, uint32_t now);

enum cache_state {
	CACHE_NONE,
	CACHE_STALE, /* its life has ended: only when nothing better is to be had (RFC 8767) */
	CACHE_FRESH
};

struct cache_hit {
	enum cache_state state;
	int ede;   /* the upstream's; -1 = none.  That an answer is STALE (EDE 3, 19) is the caller's to say */
	bool held; /* STALE: a refresh failed less than CACHE_RECHECK_S ago: no need to try */
	bool prefetch; /* FRESH: asked for CACHE_PREFETCH_ASKED times or more, and a tenth of its life or less
			* is left (never of a failure, nor when it lives below 10 s): ask the upstream now.  Said once for each
			* answer kept. */
};

/* Looks up an answer, and in out makes it one to this question: ID 0, the name in lower case, no OPT, AA clear,
 * other flags as the upstream sent them (RD, CD and AD as it thought right for who asked first).  TTLs are what is
 * left of them, never below 1; CACHE_STALE_TTL when STALE.  Without an answer for the question itself that is
 * FRESH, NXDOMAIN for the name with another type, or for one of CACHE_ANCESTORS names above it (RFC 8020), is
 * taken.  ID, RD, the spelling of the name, AD, OPT and the size are left to the caller.
 * out holds DNS_MESSAGE_MAX octets.  Returns the length, and fills all of *hit; 0 when that says NONE. */
size_t cache_get(struct cache *c, const struct cache_key *key, uint8_t *out, struct cache_hit *hit,
		 uint32_t now);

#endif
