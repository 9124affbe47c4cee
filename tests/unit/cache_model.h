/* SPDX-License-Identifier: MIT */
/* For tests: a cache that is told answers as numbers rather than octets, keeps them in a table with a place for
 * each, and says what cache_get() must give.  It forgets nothing; where the real one may, it must go on as if the
 * answer had never been there. */
#ifndef DNPROXY_TESTS_CACHE_MODEL_H
#define DNPROXY_TESTS_CACHE_MODEL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "cache_laws.h"
#include "dnsmake.h"

#define MODEL_NAMES 40u /* a name, its 3 children, their 9 and their 27 */
#define MODEL_TYPES 2u
#define MODEL_BITS 2u

/* From MODEL_TRUNCATED on they are not to be kept. */
enum model_kind {
	MODEL_POSITIVE,
	MODEL_NODATA,
	MODEL_NXDOMAIN,
	MODEL_CHAIN, /* NXDOMAIN of another name */
	MODEL_SERVFAIL,
	MODEL_REFUSED,
	MODEL_TRUNCATED,
	MODEL_NO_SOA,
	MODEL_OPT_FIRST,
	MODEL_KINDS
};

struct model_answer {
	enum model_kind kind;
	uint32_t ttl, soa_ttl, minimum, glue_ttl;
	uint32_t serial; /* no two are alike */
	unsigned pad;
	bool opt, ad;
	bool firm;
};

struct model_place {
	bool used;
	struct model_answer answer;
	uint32_t stored, life, recheck, asked;
	bool told;
};

struct model {
	struct cache *c;
	bool strict; /* nothing is forgotten */
	uint64_t seed;
	uint32_t now, serial;
	uint32_t failed[MODEL_NAMES][MODEL_BITS];
	/* The last type is none: the name does not exist. */
	struct model_place place[MODEL_NAMES][MODEL_BITS][MODEL_TYPES + 1];
	char name[MODEL_NAMES][32];
	struct made made;
	uint8_t out[DNS_MESSAGE_MAX];
};

/* What is asked. */
struct model_question {
	unsigned name, type, bits; /* indexes */
};

static inline uint32_t
model_chance(struct model *m, uint32_t below)
{
	m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(m->seed >> 33) % below;
}

static inline unsigned
model_type(unsigned index)
{
	return index == 0 ? 1 : 28;
}

/* Of all runs together: a few hundred thousand, or as many as CACHE_OPERATIONS says. */
static inline uint32_t
model_operations(void)
{
	const char *text = getenv("CACHE_OPERATIONS");

	return text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 300000;
}

/* ---- Answers as octets ------------------------------------------------------------------------- */

/* How the TTLs are to be written. */
struct model_ttls {
	uint32_t least, most, age;
	bool stale;
};

static inline uint32_t
model_ttl(const struct model_ttls *t, uint32_t ttl)
{
	if (t->stale)
		return 30;
	ttl = ttl > t->most ? t->most : ttl;
	return (ttl < t->least ? t->least : ttl) - t->age;
}

/* RFC 1035 compression all over: all but the question is pointers into it. */
static inline void
model_soa(struct made *made, const struct model_answer *a, const char *name, const struct model_ttls *t)
{
	size_t zone = DNS_HEADER + strlen(name) - strlen("example"), mname;
	char text[40];

	snprintf(text, sizeof(text), "%zu>", zone);
	made_rr(made, MADE_AUTHORITY, text, 6, 1, model_ttl(t, a->soa_ttl));
	mname = made->len;
	snprintf(text, sizeof(text), "ns.%zu>", zone);
	made_name(made, text);
	snprintf(text, sizeof(text), "r%x.%zu>", (unsigned)a->serial, mname);
	made_name(made, text);
	made_u32(made, a->serial);
	for (int i = 0; i < 3; i++)
		made_u32(made, 3600);
	made_u32(made, a->minimum);
	made_rdlen(made);
}

static inline bool
model_is_failure(const struct model_answer *a)
{
	return a->kind == MODEL_SERVFAIL || a->kind == MODEL_REFUSED;
}

static inline unsigned
model_flags(const struct model_answer *a)
{
	static const unsigned rcode[] = {0, 0, 3, 3, 2, 5, DNS_TC, 3, 0};

	return DNS_QR | DNS_RD | DNS_RA | (a->ad ? DNS_AD : 0) | rcode[a->kind];
}

static inline void
model_make(struct made *made, const struct model_answer *a, const char *name, unsigned type,
	   const struct model_ttls *t, bool raw)
{
	made_init(made, raw ? a->serial & 0xffff : 0, model_flags(a) | (raw && a->serial % 2 ? DNS_AA : 0));
	made_question(made, name, type, 1);
	if (model_is_failure(a) && !raw)
		return;
	if (a->kind == MODEL_OPT_FIRST)
		made_opt(made, 1232, 0);
	if (a->kind == MODEL_CHAIN) {
		made_rr(made, MADE_ANSWER, "12>", 5, 1, model_ttl(t, a->ttl));
		made_rdata_name(made, "elsewhere");
	} else if (a->kind == MODEL_POSITIVE || a->kind == MODEL_TRUNCATED || a->kind == MODEL_OPT_FIRST) {
		made_rr(made, MADE_ANSWER, "12>", type, 1, model_ttl(t, a->ttl));
		made_u32(made, a->serial);
		for (unsigned i = 0; i < a->pad; i++)
			made_u8(made, 'p');
		made_rdlen(made);
		made_rr(made, MADE_ADDITIONAL, "12>", 16, 1, model_ttl(t, a->glue_ttl));
	}
	if (a->kind != MODEL_POSITIVE && a->kind != MODEL_NO_SOA)
		model_soa(made, a, name, t);
	if (raw && a->opt)
		made_opt(made, 1232, 0x8000);
}

/* ---- What must be ------------------------------------------------------------------------------ */

static inline uint32_t
model_min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* 0 = not to be kept. */
static inline uint32_t
model_life(const struct model *m, const struct model_answer *a)
{
	uint32_t life = 0, max = m->c->rules.max_ttl;

	if (a->kind == MODEL_POSITIVE) {
		life = model_min(a->ttl, a->glue_ttl);
		if (life != 0 && life < m->c->rules.min_ttl)
			life = m->c->rules.min_ttl;
	} else if (a->kind < MODEL_SERVFAIL) {
		life = model_min(model_min(a->soa_ttl, a->minimum), 10800);
		if (a->kind == MODEL_CHAIN)
			life = model_min(life, a->ttl);
	} else if (model_is_failure(a)) {
		return 5;
	}
	return model_min(life, max);
}

static inline enum cache_state
model_state(const struct model *m, const struct model_place *p)
{
	uint32_t age = m->now - p->stored;

	if (!p->used)
		return CACHE_NONE;
	if (age < p->life)
		return CACHE_FRESH;
	return !model_is_failure(&p->answer) && age < p->life + m->c->rules.stale ? CACHE_STALE : CACHE_NONE;
}

/* The place of the question, or that its name does not exist. */
static inline struct model_place *
model_either(struct model *m, const struct model_question *q)
{
	struct model_place *own = &m->place[q->name][q->bits][q->type];
	struct model_place *none = &m->place[q->name][q->bits][MODEL_TYPES];

	if (model_state(m, own) == CACHE_FRESH || model_state(m, none) == CACHE_NONE)
		return own;
	return none;
}

static inline struct model_place *
model_choose(struct model *m, const struct model_question *q, bool *above)
{
	struct model_place *p = model_either(m, q);

	*above = false;
	if (model_state(m, p) == CACHE_FRESH)
		return p;
	for (unsigned name = q->name; name > 0;) {
		struct model_place *none;

		name = (name - 1) / 3;
		none = &m->place[name][q->bits][MODEL_TYPES];
		if (model_state(m, none) == CACHE_FRESH) {
			*above = true;
			return none;
		}
	}
	return p;
}

/* Whether the cache gave what the place says. */
static inline bool
model_gave(struct model *m, const struct model_question *q, const struct model_place *p, bool above, size_t len,
	   const struct cache_hit *hit)
{
	struct model_ttls t = {.least = p->life, .most = m->c->rules.max_ttl, .age = m->now - p->stored};
	bool prefetch;

	if (model_state(m, p) != hit->state)
		return false;
	if (hit->state == CACHE_NONE)
		return true;
	if (p->answer.kind != MODEL_POSITIVE)
		t.most = p->life;
	t.stale = hit->state == CACHE_STALE;
	model_make(&m->made, &p->answer, m->name[q->name], model_type(q->type), &t, false);
	if (len != m->made.len || memcmp(m->out, m->made.buf, len) != 0)
		return false;
	prefetch = !above && !t.stale && !model_is_failure(&p->answer) && !p->told &&
		   p->asked + 1 >= CACHE_PREFETCH_ASKED && p->life >= 10 && p->life - t.age <= p->life / 10;
	LAW(hit->prefetch == prefetch && hit->ede == -1);
	if (m->strict || !hit->held)
		LAW(hit->held == (t.stale && m->now < p->recheck) || !m->strict);
	else
		LAW(m->now < m->failed[q->name][q->bits] + CACHE_RECHECK_S);
	return true;
}

/* ---- Operations -------------------------------------------------------------------------------- */

static inline void
model_key(const struct model *m, const struct model_question *q, struct cache_key *key)
{
	struct made made;
	struct dns_question question;

	made_init(&made, 0, 0);
	made_question(&made, m->name[q->name], model_type(q->type), 1);
	LAW(dns_read_question(made.buf, made.len, &question) == 0);
	cache_key(key, made.buf, &question, q->bits * CACHE_DO);
}

static inline void
model_get(struct model *m, const struct model_question *q)
{
	struct cache_hit hit;
	struct cache_key key;
	size_t len;

	model_key(m, q, &key);
	len = cache_get(m->c, &key, m->out, &hit, m->now);
	law_given(&key, m->out, len, &hit);
	for (;;) {
		bool above;
		struct model_place *p = model_choose(m, q, &above);

		if (model_gave(m, q, p, above, len, &hit)) {
			p->asked++;
			p->told |= hit.prefetch;
			return;
		}
		/* What could have been given and was not is forgotten for ever. */
		LAW(!m->strict && p->used);
		p->used = false;
	}
}

/* Says whether a failure is to be kept, and how long. */
static inline bool
model_keeps_failure(struct model *m, const struct model_question *q, bool firm, uint32_t *life)
{
	struct model_place *p = model_either(m, q);
	bool again = model_is_failure(&p->answer);

	if (model_state(m, p) != CACHE_NONE && !again)
		return firm;
	if (p->used && again && m->now - p->stored < 2 * p->life)
		*life = model_min(2 * p->life, CACHE_FAILURE_MAX_S);
	return true;
}

static inline void
model_fail(struct model *m, const struct model_question *q)
{
	m->failed[q->name][q->bits] = m->now;
	model_either(m, q)->recheck = m->now + CACHE_RECHECK_S;
}

static inline void
model_kept(struct model *m, const struct model_question *q, const struct model_answer *a, uint32_t life)
{
	struct model_place *place = m->place[q->name][q->bits];

	place[q->type].used = place[MODEL_TYPES].used = false;
	if (!m->strict && model_is_failure(a))
		life = CACHE_FAILURE_MAX_S; /* what came before may be forgotten: at most */
	place[a->kind == MODEL_NXDOMAIN && !a->firm ? MODEL_TYPES : q->type] =
		(struct model_place){.used = true, .answer = *a, .stored = m->now, .life = life};
}

static inline void
model_put(struct model *m, const struct model_question *q, const struct model_answer *a)
{
	static const struct model_ttls raw = {.most = UINT32_MAX};
	struct cache_offer o = {.msg = m->made.buf, .ede = -1, .firm = a->firm};
	struct cache_key key;
	uint32_t life = model_life(m, a);
	char name[32];
	bool kept;

	for (size_t i = 0; i < sizeof(name); i++) {
		name[i] = m->name[q->name][i];
		if (name[i] >= 'a' && name[i] <= 'z' && model_chance(m, 4) == 0)
			name[i] = (char)(name[i] - 32);
	}
	model_make(&m->made, a, name, model_type(q->type), &raw, true);
	o.len = m->made.len;
	model_key(m, q, &key);
	kept = cache_put(m->c, &key, &o, m->now);
	if (life == 0 || (a->kind == MODEL_POSITIVE && a->pad + 100 > m->c->room_max)) {
		LAW(!kept);
	} else if (!model_is_failure(a)) {
		LAW(kept);
	} else {
		while (model_keeps_failure(m, q, a->firm, &life) != kept) {
			LAW(!m->strict && model_either(m, q)->used);
			model_either(m, q)->used = false;
		}
		if (!kept)
			model_fail(m, q);
	}
	if (kept)
		model_kept(m, q, a, life);
}

static inline uint32_t
model_any_ttl(struct model *m)
{
	static const uint32_t below[] = {2, 10, 40, 400, 20000, 200000};

	return model_chance(m, below[model_chance(m, 6)]) + (model_chance(m, 50) != 0);
}

static inline struct model_answer
model_any_answer(struct model *m)
{
	struct model_answer a = {.serial = ++m->serial,
				 .kind = (enum model_kind)model_chance(m, model_chance(m, 4) ? 6 : MODEL_KINDS),
				 .ttl = model_any_ttl(m),
				 .soa_ttl = model_any_ttl(m),
				 .minimum = model_any_ttl(m),
				 .glue_ttl = model_any_ttl(m),
				 .opt = model_chance(m, 2),
				 .ad = model_chance(m, 2),
				 .firm = model_chance(m, 4) == 0};

	/* Either of a few octets or of some thousand; none near the limit, where rounding would matter. */
	a.pad = model_chance(m, 50);
	if (!m->strict && model_chance(m, 5) != 0)
		a.pad = model_chance(m, 20) == 0 ? 20000 : model_chance(m, 2500);
	return a;
}

static inline void
model_flush(struct model *m)
{
	cache_flush(m->c);
	memset(m->place, 0, sizeof(m->place));
}

static inline void
model_step(struct model *m)
{
	struct model_question q = {.name = model_chance(m, MODEL_NAMES),
				   .type = model_chance(m, MODEL_TYPES),
				   .bits = model_chance(m, MODEL_BITS)};
	uint32_t dice = model_chance(m, 1000);
	struct cache_key key;

	if (dice < 400) {
		struct model_answer a = model_any_answer(m);

		model_put(m, &q, &a);
	} else if (dice < 405) {
		model_key(m, &q, &key);
		cache_failed(m->c, &key, m->now);
		model_fail(m, &q);
	} else if (dice < 480) {
		m->now += model_chance(m, model_chance(m, 10) == 0 ? 1000 : 3);
	} else if (dice == 480 && model_chance(m, 20) == 0) {
		m->now += model_chance(m, 200000);
	} else {
		model_get(m, &q);
	}
}

static inline void
model_run(struct cache *c, uint64_t seed, uint32_t operations, bool strict)
{
	struct model *m = calloc(1, sizeof(*m));

	LAW(m != NULL);
	m->c = c;
	m->seed = seed;
	m->strict = strict;
	m->now = 1000;
	snprintf(m->name[0], sizeof(m->name[0]), "zone.example");
	for (unsigned i = 1; i < MODEL_NAMES; i++)
		snprintf(m->name[i], sizeof(m->name[i]), "%c%u.%.24s", 'a' + (char)(i % 3), i % 3,
			 m->name[(i - 1) / 3]);
	for (uint32_t i = 0; i < operations; i++) {
		model_step(m);
		if (i % 512 == 0)
			law_cache(c);
		if (strict && c->main.head - c->main.base > (c->main.limit - c->main.base) / 2)
			model_flush(m);
	}
	LAW(!strict || c->count.evicted == 0);
	LAW(c->count.hits > operations / 50 && c->count.misses > operations / 50);
	free(m);
}

#endif
