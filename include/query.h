/* SPDX-License-Identifier: MIT */
/* The table of queries on their way: a fixed number of slots, found by the ID that is used towards
 * upstreams.  No I/O, no clock, no allocation; it keeps queries, proxy.c moves them. */
#ifndef DNPROXY_QUERY_H
#define DNPROXY_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "edns.h"
#include "listener.h"

enum query_state {
	QUERY_FREE,    /* nobody waits for this slot */
	QUERY_WAITING, /* message, origin and deadline are kept; no upstream has it */
	QUERY_SENT,    /* an upstream of .asked has it; an answer with our ID may come */
	QUERY_TWIN,    /* it asks what another query that is on its way asks: the answer is for both */
	QUERY_SPENT    /* its client is served or gone, but an answer may still come: the ID stays taken,
			* so that the answer meets nobody else (RFC 7766 section 6.2.1) */
};

#define QUERY_NONE UINT16_MAX

/* Lists of queries, by their slots; QUERY_NONE = there is none. */
struct query_ends {
	uint16_t first, last;
};

struct query_links {
	uint16_t next, prev;
};

struct query {
	enum query_state state;
	uint16_t id;	    /* ours, unpredictable, unique in the table; a TWIN has none */
	uint16_t asked;	    /* bit i: upstream i took it and has neither answered nor been lost */
	uint16_t hoped;	    /* bit i: it is to be sent to upstream i as soon as that is ready */
	uint16_t soured;    /* bit i: upstream i answered SERVFAIL or REFUSED */
	uint16_t bare;	    /* bit i: upstream i was asked without OPT, or is to be */
	uint16_t refused;   /* bit i: because it refused the OPT of this very question */
	uint16_t tried;	    /* bit i: upstream i took it, or was down */
	uint8_t sent;	    /* how often it has gone out */
	uint8_t tries;	    /* of these, how often as a try: not when only our OPT had been refused */
	uint8_t watch;	    /* the watch list it is on, or QUERY_UNWATCHED */
	uint8_t sour_rcode; /* what the first of .soured said, */
	int16_t sour_ede;   /* and the Extended DNS Error it gave; -1 = none */
	uint16_t last;	    /* bit i: upstream i was sent it at sent_ms, and not before */
	uint64_t sent_ms;   /* when it was sent last */
	uint64_t watch_ms;  /* when it came onto its watch list */
	/* The table's own: */
	uint64_t begun_ms;	      /* when the first client asked it */
	struct query_links by_age;    /* in the list it is on */
	struct query_links by_watch;  /* in its watch list; of a twin: among those of its leader */
	struct query_ends twins;      /* who waits for its answer, too; the first asked first */
	uint16_t leader;	      /* of a twin: whose answer it waits for */
	uint16_t next_id, next_alike; /* in the hash chains */
	uint32_t alike;		      /* hash of what twins have in common; 0 = none may join */
	/* All from here on is its client's, and that of the twin that goes on in its place: */
	uint64_t opened_ms;
	uint8_t *msg; /* the client's message as it came; not of a SPENT query */
	uint16_t len;
	uint16_t long_place; /* QUERY_NONE = msg lies in small */
	uint8_t bucket;	     /* of its client's address */
	bool brief;	     /* on BRIEF rather than OPEN */
	struct edns_facts facts;
	struct origin origin;
	uint8_t small[QUERY_SHORT];
};

/* Queries in order of age: those a client waits for, all of them or only for a short time, and the spent ones. */
enum query_list { QUERY_LIST_OPEN, QUERY_LIST_BRIEF, QUERY_LIST_SPENT, QUERY_LISTS };

/* Beside that, an open query may be on one watch list, in order of the time it came there: that of an
 * upstream that has it (0..UPSTREAMS_MAX - 1), or that of those who wait for a connection.  Whatever is due
 * after a time that is the same for all of a list is due for its first one first. */
#define QUERY_WATCH_WAITING UPSTREAMS_MAX
#define QUERY_WATCHES (UPSTREAMS_MAX + 1u)
#define QUERY_UNWATCHED UINT8_MAX

struct query_table {
	struct query *slot;
	uint16_t slots;
	uint16_t *ids;	 /* first slot of each hash chain; as many as slots, rounded up to 2^n */
	uint16_t *alike; /* likewise, by what twins have in common */
	uint16_t chain_mask;
	uint16_t free; /* a stack: slots used lately are used first */
	uint16_t used; /* slots from here on were never opened, their memory never touched */
	uint16_t walk; /* the next of a walk */
	struct query_ends list[QUERY_LISTS];
	struct query_ends watched[QUERY_WATCHES];
	uint16_t open; /* on OPEN and BRIEF */
	uint16_t spent;
	uint8_t (*place)[QUERY_MSG_MAX]; /* for messages longer than QUERY_SHORT */
	uint16_t free_place[QUERIES_LONG];
	uint16_t free_places;
	uint16_t held[ORIGIN_BUCKETS];	   /* open queries, by client address */
	uint8_t held_long[ORIGIN_BUCKETS]; /* of these, long ones */
	uint32_t seed;			   /* of the hashes of addresses and questions */
	int (*fill)(void *, size_t);	   /* entropy_fill() or a test's own */
	uint8_t pool[256];		   /* octets from it, not used yet: pool[0..pool_left) */
	uint16_t pool_left;
};

/* Octets of the block that query_init() needs for so many slots (QUERIES_MIN..QUERIES_MAX). */
size_t query_memory(uint32_t slots);

/* block: query_memory(slots) octets, aligned for any type, all zero; it stays with the table. */
void query_init(struct query_table *t, void *block, uint32_t slots, int (*fill)(void *, size_t));

/* Takes a slot for msg[0..len), len <= QUERY_MSG_MAX, which is copied: WAITING, on OPEN, not watched.  now must
 * not be before that of an earlier call.  Gives up the oldest SPENT query when no slot is free.
 * Where a query of the last QUERY_JOIN_MS asks the same, it is its TWIN instead: question (letter case aside),
 * flags and DO bit are the same, and nothing else is in either but an OPT without a client's subnet.
 * Returns NULL when there is no slot, no long place, or no entropy; or when little is left and this
 * client has a large share already. */
struct query *query_open(struct query_table *t, const struct origin *origin, const uint8_t *msg, size_t len,
			 const struct edns_facts *facts, uint64_t now);

/* From OPEN to BRIEF, right after query_open(). */
void query_make_brief(struct query_table *t, struct query *q);

/* Puts an open query at the end of a watch list, as of now, and off the one it was on; or off alone. */
void query_watch(struct query_table *t, struct query *q, unsigned watch, uint64_t now);
void query_unwatch(struct query_table *t, struct query *q);

/* The first of a watch list; NULL = it is empty. */
struct query *query_watched(const struct query_table *t, unsigned watch);

/* Its client is served or gone.  If it has twins, the first of them goes on in its place: client, message and
 * age are the twin's from now on, all else stays, and the twin's slot is FREE.  Else it is SPENT while an
 * upstream of .asked may still answer, or FREE.  A spent query keeps its ID and lets its message go. */
void query_end(struct query_table *t, struct query *q);

/* Gives the slot of one that has no twins back: FREE. */
void query_free(struct query_table *t, struct query *q);

/* Whether others wait for q's answer too; and whose answer q waits for: its own or another's. */
static inline bool
query_has_twins(const struct query *q)
{
	return q->twins.first != QUERY_NONE;
}
const struct query *query_leader(const struct query_table *t, const struct query *q);

/* The query with our ID, whatever its state but FREE and TWIN; or NULL. */
struct query *query_by_id(const struct query_table *t, uint16_t id);

/* The first of a list alone. */
struct query *query_oldest(const struct query_table *t, enum query_list list);

/* A list from its oldest, OPEN and behind it BRIEF: NULL at the end. */
struct query *query_first(const struct query_table *t, enum query_list list);
struct query *query_next(const struct query_table *t, const struct query *q);

/* Walks a list likewise, while any of its queries end: each that is on it when its turn comes is met, and one
 * that goes on in another's place is met in that.  One walk at a time. */
void query_walk(struct query_table *t, enum query_list list);
struct query *query_walked(struct query_table *t);

#endif
