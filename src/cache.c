/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include <string.h>

#include "bytes.h"

/* The rest of .use: how often it was asked for since it was kept, until a move takes some off; how often
 * since it was kept, for prefetching; and whether the caller was told to. */
#define VISITS 0x03u
#define ASKED_1 0x04u
#define ASKED 0x1cu
#define TOLD 0x20u

#define POINTER 0xc0u
#define POINTER_MAX 0x3fffu
#define NO_SOA UINT32_MAX
_Static_assert(CACHE_PREFETCH_ASKED <= ASKED / ASKED_1, "asking is counted far enough");

/* ---- The index ------------------------------------------------------------------------------- */

static uint32_t
rotate(uint32_t x, unsigned by)
{
	return x << by | x >> (32 - by);
}

static void
sip_round(uint32_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 5) ^ v[0];
	v[0] = rotate(v[0], 16);
	v[2] += v[3];
	v[3] = rotate(v[3], 8) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 7) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 13) ^ v[2];
	v[2] = rotate(v[2], 16);
}

/* HalfSipHash-1-3: for tables alone, but nobody without the seed can make names collide. */
static uint32_t
hash_of(const struct cache *c, const uint8_t *p, size_t len)
{
	uint32_t v[4] = {c->seed[0], c->seed[1], 0x6c796765u ^ c->seed[0], 0x74656462u ^ c->seed[1]};
	uint32_t word = 0;

	/* Words are little-endian; the last one has what is left, and the length. */
	for (size_t i = 0;; i++) {
		if (i % 4 == 3 || i == len) {
			word |= (i == len ? (uint32_t)len : p[i]) << 24;
			v[3] ^= word;
			sip_round(v);
			v[0] ^= word;
			if (i == len)
				break;
			word = 0;
		} else {
			word |= (uint32_t)p[i] << i % 4 * 8;
		}
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[1] ^ v[3];
}

static struct cache_entry *
entry_at(const struct cache *c, uint32_t at)
{
	return (struct cache_entry *)(void *)(c->block + at);
}

static uint8_t *
message_of(struct cache_entry *e)
{
	return (uint8_t *)(e + 1);
}

static uint32_t
bucket_of(const struct cache *c, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * c->buckets >> 32);
}

static uint16_t
print_of(uint32_t hash)
{
	return (uint16_t)(hash | 1u); /* 0 is none; the bucket is made of the high bits */
}

/* The entry of a key; NULL = none.  A name says itself where it ends: equal octets are equal questions. */
static struct cache_entry *
find(const struct cache *c, const uint8_t *key, size_t len)
{
	uint32_t hash, at;

	if (c->buckets == 0)
		return NULL;
	hash = hash_of(c, key, len);
	for (at = c->bucket[bucket_of(c, hash)]; at != 0; at = entry_at(c, at)->next) {
		struct cache_entry *e = entry_at(c, at);

		if (e->hash == hash && e->bits == key[0] && e->len >= DNS_HEADER + len - 1 &&
		    memcmp(message_of(e) + DNS_HEADER, key + 1, len - 1) == 0)
			return e;
	}
	return NULL;
}

/* Where the index has the offset of e. */
static uint32_t *
link_to(const struct cache *c, const struct cache_entry *e)
{
	uint32_t at = (uint32_t)((const uint8_t *)e - c->block);
	uint32_t *link = &c->bucket[bucket_of(c, e->hash)];

	while (*link != at)
		link = &entry_at(c, *link)->next;
	return link;
}

static void
forget(struct cache *c, struct cache_entry *e)
{
	*link_to(c, e) = e->next;
	e->use = 0;
	c->entries--;
}

/* ---- The rings ------------------------------------------------------------------------------- */

/* Octets an entry takes with a message of len. */
static uint32_t
room_for(size_t len)
{
	return (uint32_t)(CACHE_ENTRY + len + 3u) & ~3u;
}

/* Takes n octets at the head.  Returns their offset; 0 = there is no room, entries have to leave. */
static uint32_t
take(struct cache_ring *r, uint32_t n)
{
	if (!r->wrapped && r->head == r->tail)
		r->head = r->tail = r->base;
	if (r->wrapped) {
		if (r->tail - r->head < n)
			return 0;
	} else if (r->limit - r->head < n) {
		if (r->tail - r->base < n)
			return 0;
		r->end = r->head;
		r->head = r->base;
		r->wrapped = true;
	}
	r->head += n;
	return r->head - n;
}

/* The entry at the tail goes. */
static void
let_go(struct cache_ring *r, uint32_t n)
{
	r->tail += n;
	if (r->wrapped && r->tail == r->end) {
		r->tail = r->base;
		r->wrapped = false;
	}
}

/* Puts an entry where room was taken; the two may overlap. */
static void
move(struct cache *c, struct cache_entry *e, uint32_t to, unsigned visits)
{
	uint32_t *link = link_to(c, e);

	e->use = (uint8_t)((e->use & ~VISITS) | visits);
	e->room = (uint16_t)(room_for(e->len) / 4);
	memmove(c->block + to, e, CACHE_ENTRY + (size_t)e->len);
	*link = to;
}

static enum cache_state
state_of(const struct cache *c, struct cache_entry *e, uint32_t now)
{
	uint32_t age = now - e->stored;

	if (age < e->life)
		return CACHE_FRESH;
	if (age - e->life < c->rules.stale && !dns_is_failure(dns_rcode(message_of(e))))
		return CACHE_STALE;
	return CACHE_NONE;
}

/* What making room may still cost, and when it is. */
struct effort {
	uint32_t moves;
	uint32_t now;
};

/* Whether an entry at the tail has earned another turn. */
static bool
stays(const struct cache *c, struct cache_entry *e, const struct effort *f)
{
	return (e->use & VISITS) != 0 && f->moves > 0 && state_of(c, e, f->now) != CACHE_NONE;
}

static void
evict(struct cache *c, struct cache_entry *e)
{
	forget(c, e);
	c->count.evicted++;
}

/* The oldest of the main ring has another turn, with one visit less, or leaves.  Where it was is always room
 * enough for it: at the head, or at the ring's base. */
static void
turn_main(struct cache *c, struct effort *f)
{
	struct cache_entry *e = entry_at(c, c->main.tail);
	bool live = (e->use & CACHE_LIVE) != 0;

	c->aged = true;
	let_go(&c->main, e->room * 4u);
	if (live && stays(c, e, f)) {
		f->moves--;
		move(c, e, take(&c->main, room_for(e->len)), (e->use & VISITS) - 1);
	} else if (live) {
		evict(c, e);
	}
}

static uint32_t
take_main(struct cache *c, uint32_t n, struct effort *f)
{
	uint32_t at;

	while ((at = take(&c->main, n)) == 0)
		turn_main(c, f);
	return at;
}

/* The oldest of the small ring goes to the main one when it was asked for, or while that was never full. */
static void
turn_small(struct cache *c, struct effort *f)
{
	struct cache_entry *e = entry_at(c, c->small.tail);
	uint32_t was = e->room * 4u, to = 0;

	if ((e->use & CACHE_LIVE) != 0) {
		if (stays(c, e, f))
			to = take_main(c, room_for(e->len), f);
		else if (!c->aged)
			to = take(&c->main, room_for(e->len));
		if (to != 0) {
			f->moves -= f->moves > 0;
			move(c, e, to, 0);
		} else {
			c->ghost[bucket_of(c, e->hash)] = print_of(e->hash);
			evict(c, e);
		}
	}
	let_go(&c->small, was);
}

/* Room for a new entry; in the main ring when it is known to be asked for more than once. */
static struct cache_entry *
make_room(struct cache *c, uint32_t n, bool known, uint32_t now)
{
	struct effort f = {.moves = CACHE_MOVES, .now = now};
	struct cache_entry *e;
	uint32_t at;

	if (known) {
		at = take_main(c, n, &f);
	} else {
		while ((at = take(&c->small, n)) == 0)
			turn_small(c, &f);
	}
	e = entry_at(c, at);
	e->room = (uint16_t)(n / 4);
	return e;
}

/* Puts a new entry into the index. */
static void
enter(struct cache *c, struct cache_entry *e, uint32_t hash)
{
	uint32_t *bucket = &c->bucket[bucket_of(c, hash)];

	e->hash = hash;
	e->next = *bucket;
	*bucket = (uint32_t)((uint8_t *)e - c->block);
	c->entries++;
}

static void
ring_init(struct cache_ring *r, uint32_t base, uint32_t limit)
{
	*r = (struct cache_ring){.base = base, .limit = limit, .head = base, .tail = base};
}

void
cache_init(struct cache *c, void *block, size_t size, const struct cache_rules *rules, const uint32_t seed[2])
{
	uint32_t buckets = (uint32_t)(size / CACHE_BUCKET);
	uint32_t base = (buckets * 6u + 3u) & ~3u, limit = (uint32_t)size & ~3u;
	uint32_t middle = base + ((limit - base) / CACHE_SMALL & ~3u);

	memset(c, 0, sizeof(*c));
	c->block = block;
	c->bucket = block;
	c->buckets = buckets;
	c->ghost = (uint16_t *)(void *)(c->block + buckets * sizeof(uint32_t));
	ring_init(&c->small, base, middle);
	ring_init(&c->main, middle, limit);
	c->room_max = (middle - base) / 2;
	c->rules = *rules;
	memcpy(c->seed, seed, sizeof(c->seed));
}

void
cache_flush(struct cache *c)
{
	if (c->buckets == 0)
		return;
	memset(c->block, 0, c->small.base);
	ring_init(&c->small, c->small.base, c->small.limit);
	ring_init(&c->main, c->main.base, c->main.limit);
	c->aged = false;
	c->entries = 0;
}

/* ---- Keys ------------------------------------------------------------------------------------ */

void
cache_key(struct cache_key *key, const uint8_t *msg, const struct dns_question *q, unsigned bits)
{
	key->len = (uint16_t)(1 + q->name_len + 4);
	key->octets[0] = (uint8_t)(bits & CACHE_BITS);
	dns_lower(key->octets + 1, msg + DNS_HEADER, q->name_len);
	put16(key->octets + key->len - 4, q->type);
	put16(key->octets + key->len - 2, q->class);
}

/* The key of "no such name, whatever the type". */
static struct cache_key
widen(const struct cache_key *key)
{
	struct cache_key wide = *key;

	wide.octets[0] |= CACHE_WIDE;
	put16(wide.octets + wide.len - 4, 0);
	return wide;
}

/* Finds that a name above the one of a wide key does not exist; *above says by how many octets it is shorter. */
static struct cache_entry *
find_above(const struct cache *c, struct cache_key *wide, size_t *above, uint32_t now)
{
	uint8_t bits = wide->octets[0];
	size_t at = 0;

	for (unsigned i = 0; i < CACHE_ANCESTORS && wide->octets[at + 1] != 0; i++) {
		struct cache_entry *e;

		/* Bits, then the rest of the name: over the end of the label that goes. */
		at += 1u + wide->octets[at + 1];
		wide->octets[at] = bits;
		e = find(c, wide->octets + at, wide->len - at);
		if (e != NULL && state_of(c, e, now) == CACHE_FRESH) {
			*above = at;
			return e;
		}
	}
	return NULL;
}

/* ---- What may be kept ------------------------------------------------------------------------ */

struct judged {
	struct dns_question question;
	size_t end; /* of what is kept */
	size_t opt_len;
	uint32_t lowest;   /* TTL */
	uint32_t negative; /* TTL of the SOA, NO_SOA = there is none */
	uint32_t life;	   /* 0 = it is not kept */
	bool answered;	   /* there is a record of the type asked for */
	bool fixed;	   /* records whose names cannot be made to point elsewhere */
	bool wide;	   /* it says that the name does not exist, for all types */
};

static uint32_t
lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Notes what a record says to its keeping.  Returns false when it forbids that. */
static bool
judge_record(struct judged *j, const uint8_t *msg, size_t len, const struct dns_rr *rr, unsigned i)
{
	unsigned authority = dns_ancount(msg), additional = authority + dns_nscount(msg);

	if (j->opt_len != 0 || rr->type == DNS_TYPE_TSIG || rr->type == DNS_TYPE_SIG)
		return false;
	if (rr->type == DNS_TYPE_OPT) {
		j->opt_len = rr->end - rr->at;
		return i >= additional && rr->ttl >> 24 == 0;
	}
	j->lowest = lesser(j->lowest, dns_ttl(rr->ttl));
	if (i < authority && (rr->type == j->question.type || j->question.type == DNS_TYPE_ANY))
		j->answered = true;
	if (i >= authority && i < additional && rr->type == DNS_TYPE_SOA)
		j->negative = lesser(j->negative, dns_negative_ttl(msg, len, rr));
	else if (rr->type != DNS_TYPE_RRSIG && rr->type != DNS_TYPE_NSEC && rr->type != DNS_TYPE_NSEC3)
		j->fixed =
			true; /* those three have no pointers in their RDATA (RFC 4034 sections 3.1.7, 4.1.1) */
	return true;
}

static bool
judge_records(struct judged *j, const uint8_t *msg, size_t len)
{
	unsigned records = (unsigned)dns_ancount(msg) + dns_nscount(msg) + dns_arcount(msg);
	struct dns_rr rr;
	size_t at = j->question.end;

	for (unsigned i = 0; i < records; i++, at = rr.end) {
		if (dns_read_rr(msg, len, at, &rr) == -1 || !judge_record(j, msg, len, &rr, i))
			return false;
	}
	j->end = at - j->opt_len;
	return true;
}

/* How long an answer of which everything is known but that is kept. */
static uint32_t
life_of(const struct cache *c, const struct judged *j, unsigned rcode)
{
	uint32_t life = j->lowest;

	if (dns_is_failure(rcode))
		return CACHE_FAILURE_S;
	if (rcode == DNS_NOERROR && j->answered) {
		if (life != 0 && life < c->rules.min_ttl)
			life = c->rules.min_ttl;
	} else if ((rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN) && j->negative != NO_SOA) {
		life = lesser(lesser(life, j->negative), CACHE_NEGATIVE_MAX_S);
	} else {
		return 0;
	}
	return lesser(life, c->rules.max_ttl);
}

/* Whether it answers the key's question at all, and that is one for data. */
static bool
is_answer_to(struct judged *j, const struct cache_key *key, const uint8_t *msg, size_t len)
{
	struct cache_key own;

	if (len < DNS_HEADER || len > DNS_MESSAGE_MAX ||
	    (dns_flags(msg) & (DNS_QR | DNS_OPCODE | DNS_TC)) != DNS_QR || dns_qdcount(msg) != 1 ||
	    dns_read_question(msg, len, &j->question) == -1)
		return false;
	if (j->question.type >= DNS_TYPE_TKEY && j->question.type <= DNS_TYPE_MAILA)
		return false;
	cache_key(&own, msg, &j->question, key->octets[0]);
	return own.len == key->len && memcmp(own.octets, key->octets, own.len) == 0;
}

static bool
judge(struct judged *j, const struct cache *c, const struct cache_key *key, const struct cache_offer *offer)
{
	const uint8_t *msg = offer->msg;

	*j = (struct judged){.lowest = UINT32_MAX, .negative = NO_SOA};
	if (offer->scoped || !is_answer_to(j, key, msg, offer->len) || !judge_records(j, msg, offer->len))
		return false;
	j->life = life_of(c, j, dns_rcode(msg));
	if (dns_is_failure(dns_rcode(msg)))
		j->end = j->question.end;
	/* A name that is only kept from users may have others below it.  Names of an answer that is also for longer
	 * names must be able to point so far. */
	j->wide = dns_rcode(msg) == DNS_NXDOMAIN && dns_ancount(msg) == 0 && !offer->firm && !j->fixed &&
		  j->end <= POINTER_MAX - DNS_NAME_MAX;
	return j->life != 0 && room_for(j->end) <= c->room_max;
}

/* ---- Keeping --------------------------------------------------------------------------------- */

/* No TTL is below the life of the answer, so that none ends before it; none above what is allowed. */
static void
level_ttls(uint8_t *msg, size_t len, size_t at, uint32_t least, uint32_t most)
{
	struct dns_rr rr;

	for (; at < len && dns_read_rr(msg, len, at, &rr) == 0; at = rr.end) {
		uint32_t ttl = lesser(dns_ttl(rr.ttl), most);

		dns_set_ttl(msg, &rr, ttl < least ? least : ttl);
	}
}

/* Copies the message behind its entry, in the form it is kept in. */
static void
fill(const struct cache *c, struct cache_entry *e, const struct judged *j, const struct cache_key *key,
     const uint8_t *from)
{
	uint8_t *msg = message_of(e);
	bool negative = !j->answered || dns_rcode(from) != DNS_NOERROR;

	memcpy(msg, from, j->end);
	dns_set_id(msg, 0);
	dns_set_flags(msg, (uint16_t)(dns_flags(from) & ~DNS_AA));
	memcpy(msg + DNS_HEADER, key->octets + 1, key->len - 1u);
	if (j->end == j->question.end)
		memset(msg + 6, 0, 6);
	else if (j->opt_len != 0)
		put16(msg + 10, (uint16_t)(dns_arcount(from) - 1));
	level_ttls(msg, j->end, j->question.end, j->life, negative ? j->life : c->rules.max_ttl);
}

/* Keeps what was judged.  old: the entry of the same key, or NULL; its place is used again when it is large
 * enough, and who comes again without one is known. */
static void
keep(struct cache *c, struct cache_entry *old, const struct judged *j, const struct cache_key *key,
     const struct cache_offer *offer, bool known, uint32_t now)
{
	uint32_t hash = hash_of(c, key->octets, key->len), n = room_for(j->end);
	uint16_t *ghost = &c->ghost[bucket_of(c, hash)];
	struct cache_entry *e = old;
	unsigned visits = 0;

	if (old != NULL && old->room * 4u >= n) {
		visits = old->use & VISITS;
	} else {
		if (old != NULL)
			forget(c, old);
		if (*ghost == print_of(hash)) {
			*ghost = 0;
			known = true;
		}
		e = make_room(c, n, known, now);
		enter(c, e, hash);
	}
	e->stored = now;
	e->life = j->life;
	e->recheck = 0;
	e->len = (uint16_t)j->end;
	e->ede = (int16_t)offer->ede;
	e->bits = key->octets[0];
	e->use = (uint8_t)(CACHE_LIVE | visits);
	fill(c, e, j, key, offer->msg);
	c->count.stored++;
}

/* The answer to the question itself, or that its name does not exist.  When both are there, the second is the
 * younger: who comes later drives the other out. */
static struct cache_entry *
find_either(const struct cache *c, const struct cache_key *key, const struct cache_key *wide, uint32_t now)
{
	struct cache_entry *e = find(c, key->octets, key->len), *w;

	if (e != NULL && state_of(c, e, now) == CACHE_FRESH)
		return e;
	w = find(c, wide->octets, wide->len);
	return w != NULL && (e == NULL || state_of(c, w, now) != CACHE_NONE) ? w : e;
}

void
cache_failed(struct cache *c, const struct cache_key *key, uint32_t now)
{
	struct cache_key wide = widen(key);
	struct cache_entry *e = find_either(c, key, &wide, now);

	if (e != NULL)
		e->recheck = now + CACHE_RECHECK_S;
}

/* A failure does not take the place of an answer that can be had, unless it is firm, and is kept longer when it
 * follows another. */
static bool
judge_failure(struct cache *c, struct judged *j, const struct cache_key *key, const struct cache_key *wide,
	      bool firm, uint32_t now)
{
	struct cache_entry *e = find_either(c, key, wide, now);
	bool again;

	if (e == NULL)
		return true;
	again = dns_is_failure(dns_rcode(message_of(e)));
	if (!again && !firm && state_of(c, e, now) != CACHE_NONE) {
		cache_failed(c, key, now);
		return false;
	}
	if (again && now - e->stored < 2 * e->life)
		j->life = lesser(2 * e->life, CACHE_FAILURE_MAX_S);
	return true;
}

bool
cache_put(struct cache *c, const struct cache_key *key, const struct cache_offer *offer, uint32_t now)
{
	struct cache_key wide = widen(key);
	const struct cache_key *to = key, *from = &wide;
	struct cache_entry *old, *other;
	struct judged j;

	if (!judge(&j, c, key, offer) ||
	    (dns_is_failure(dns_rcode(offer->msg)) && !judge_failure(c, &j, key, &wide, offer->firm, now)))
		return false;
	if (j.wide) {
		to = &wide;
		from = key;
	}
	other = find(c, from->octets, from->len);
	if (other != NULL)
		forget(c, other);
	old = find(c, to->octets, to->len);
	keep(c, old, &j, to, offer, old != NULL || other != NULL, now);
	return true;
}

/* ---- Giving ---------------------------------------------------------------------------------- */

/* The pointer that the name at at ends in, if any, points by so many octets further.  Returns the offset behind the
 * name. */
static size_t
shift_name(uint8_t *msg, size_t at, size_t by)
{
	while (msg[at] != 0 && msg[at] < POINTER)
		at += 1u + msg[at];
	if (msg[at] == 0)
		return at + 1;
	put16(msg + at, (uint16_t)(get16(msg + at) + by));
	return at + 2;
}

/* TTLs as they are now, and names that point at a question which is longer by so many octets. */
static void
bring_up(uint8_t *msg, size_t len, size_t at, enum cache_state state, uint32_t age, size_t by)
{
	struct dns_rr rr;

	for (; at < len && dns_read_rr(msg, len, at, &rr) == 0; at = rr.end) {
		dns_set_ttl(msg, &rr, state == CACHE_FRESH ? rr.ttl - age : CACHE_STALE_TTL);
		if (by == 0)
			continue;
		shift_name(msg, at, by);
		if (rr.type == DNS_TYPE_SOA)
			shift_name(msg, shift_name(msg, rr.rdata, by), by);
	}
}

/* Copies the message of e, whose question is above octets shorter than the key's, as an answer to the key's. */
static size_t
copy_out(uint8_t *out, struct cache_entry *e, const struct cache_key *key, size_t above, enum cache_state state,
	 uint32_t now)
{
	const uint8_t *msg = message_of(e);
	size_t question = DNS_HEADER + key->len - 1u, was = question - above;

	memcpy(out, msg, DNS_HEADER);
	memcpy(out + DNS_HEADER, key->octets + 1, key->len - 1u);
	memcpy(out + question, msg + was, e->len - was);
	bring_up(out, e->len + above, question, state, now - e->stored, above);
	return e->len + above;
}

/* Whether it is time to ask the upstream again; said once, and never of a failure (RFC 9520 section 3.2). */
static bool
prefetch(struct cache_entry *e, uint32_t now)
{
	uint32_t left = e->life - (now - e->stored);

	if ((e->use & TOLD) != 0 || (e->use & ASKED) < CACHE_PREFETCH_ASKED * ASKED_1 || left > e->life / 10 ||
	    dns_is_failure(dns_rcode(message_of(e))))
		return false;
	e->use |= TOLD;
	return true;
}

static void
note_visit(struct cache_entry *e)
{
	if ((e->use & VISITS) != VISITS)
		e->use++;
	if ((e->use & ASKED) != ASKED)
		e->use = (uint8_t)(e->use + ASKED_1);
}

size_t
cache_get(struct cache *c, const struct cache_key *key, uint8_t *out, struct cache_hit *hit, uint32_t now)
{
	struct cache_key wide = widen(key);
	struct cache_entry *e = find_either(c, key, &wide, now), *better = NULL;
	size_t above = 0;

	*hit = (struct cache_hit){.ede = -1};
	if (e == NULL || state_of(c, e, now) != CACHE_FRESH)
		better = find_above(c, &wide, &above, now);
	if (e != NULL)
		note_visit(e);
	if (better != NULL) {
		e = better;
		note_visit(e);
	}
	if (e != NULL)
		hit->state = state_of(c, e, now);
	if (hit->state == CACHE_NONE) {
		c->count.misses++;
		return 0;
	}
	hit->ede = e->ede;
	if (hit->state == CACHE_FRESH) {
		c->count.hits++;
		hit->prefetch = above == 0 && prefetch(e, now);
	} else {
		c->count.stale++;
		hit->held = now < e->recheck;
	}
	return copy_out(out, e, key, above, hit->state, now);
}
