/* SPDX-License-Identifier: MIT */
#include "proxy.h"

#include <string.h>

#include "edns.h"
#include "log.h"
#include "text.h"

enum outcome { ANSWERED, REFUSED, FAILED, GONE };

void
proxy_init(struct proxy *p, const struct proxy_settings *set, void *block, uint32_t slots,
	   int (*fill)(void *, size_t))
{
	memset(p, 0, offsetof(struct proxy, kept.msg)); /* pages are touched when they are needed */
	p->set = *set;
	query_init(&p->table, block, slots, fill);
	pool_init(&p->pool, set->policy);
	p->nobody.name = "refresh";
	p->nobody.keepalive = -1;
}

void
proxy_add_upstream(struct proxy *p, struct upstream *up)
{
	up->index = p->ups;
	p->up[p->ups++] = up;
	pool_add(&p->pool);
	up->doubt_ms = pool_doubt_ms(&p->pool, up->index);
}

static unsigned
bit(const struct upstream *up)
{
	return 1u << up->index;
}

/* ---- Replies -------------------------------------------------------------------------------- */

static struct edns_reply
how_to_reply(const struct origin *to, const struct edns_facts *f, const uint8_t *query)
{
	struct edns_reply r = {.id = dns_id(query), .udp_size = UDP_SIZE_DEFAULT, .keepalive = -1};

	r.limit = to->max;
	if (!to->via->stream && f->udp_size < r.limit)
		r.limit = f->udp_size;
	if (f->keepalive)
		r.keepalive = to->via->keepalive;
	return r;
}

/* The one way a reply leaves: counted, logged, handed to its listener. */
static void
reply(struct proxy *p, const struct origin *to, const uint8_t *msg, size_t len, enum outcome outcome)
{
	if (outcome == ANSWERED)
		p->count.answered++;
	else if (outcome == REFUSED)
		p->count.refused++;
	else
		p->count.failed++;
	to->via->reply(to->via, to, msg, len);
}

/* A line of the query log: what was asked, and what came of it. */
static void
log_outcome(const struct origin *from, const uint8_t *query, const struct edns_facts *f, const char *outcome,
	    unsigned answers, const char *where, uint64_t took_ms)
{
	char name[256] = "-", type[DNS_TYPE_TEXT_MAX] = "-", peer[ADDR_TEXT_MAX];

	if (f->question_end > DNS_HEADER) {
		dns_name_text(name, sizeof(name), query, DNS_HEADER);
		dns_type_text(type, f->question.type);
	}
	log_query("%s %s id %u %s %s: %s, %u answers, %s, %llu ms", from->via->name,
		  addr_text(peer, &from->peer), (unsigned)dns_id(query), name, type, outcome, answers, where,
		  (unsigned long long)took_ms);
}

/* Refuses at the door: the message never becomes a query.  All well is no news. */
static void
refuse(struct proxy *p, const struct origin *to, const uint8_t *msg, size_t len, const struct edns_facts *f,
       enum dns_rcode rcode, enum edns_ede ede, const char *text)
{
	struct edns_reply r = how_to_reply(to, f, msg);
	size_t n = edns_make_error(p->out, msg, len, f, rcode, ede, text, &r);
	char word[DNS_RCODE_TEXT_MAX];

	if (p->set.log_queries && rcode != DNS_NOERROR)
		log_outcome(to, msg, f, dns_rcode_text(word, rcode), 0, "refused", 0);
	reply(p, to, p->out, n, REFUSED);
}

/* ---- The way out ---------------------------------------------------------------------------- */

/* The one way out of a query.  msg[0..len) is the reply in p->out; where says who made it. */
static void
finish(struct proxy *p, struct query *q, enum outcome outcome, size_t len, const char *where, uint64_t now)
{
	char word[DNS_RCODE_TEXT_MAX];

	if (outcome == GONE || q->origin.via == &p->nobody) {
		p->count.gone++;
	} else {
		if (p->set.log_queries)
			log_outcome(&q->origin, q->msg, &q->facts, dns_rcode_text(word, dns_rcode(p->out)),
				    dns_ancount(p->out), where, now - q->opened_ms);
		reply(p, &q->origin, p->out, len, outcome);
	}
	query_end(&p->table, q);
}

/* Why nobody answered, for the client's Extended DNS Error. */
static const char *
trouble_of(const struct proxy *p, const struct query *q, enum edns_ede *ede)
{
	for (unsigned i = 0; i < p->ups && q->asked == 0; i++)
		if ((q->tried & bit(p->up[i])) != 0 && p->up[i]->trouble != NULL) {
			*ede = EDE_NETWORK_ERROR;
			return p->up[i]->trouble;
		}
	*ede = EDE_NO_REACHABLE_AUTHORITY;
	return "no upstream answered in time";
}

/* An answer of the cache is given.  Returns its name for the log. */
static const char *
note_kept(struct proxy *p, const struct cache_hit *hit)
{
	if (hit->state == CACHE_FRESH) {
		p->count.cached++;
		return "cache";
	}
	p->count.stale++;
	return "cache, stale";
}

/* No upstream answers.  Whether the client can be given what was true a while ago (RFC 8767), or what another has
 * been told meanwhile; then it has been. */
static bool
give_stale(struct proxy *p, struct query *q, uint64_t now)
{
	struct cache_hit hit;
	size_t n;

	if (q->origin.via == &p->nobody)
		return false;
	n = kept_answer(&p->kept, p->out, q->msg, q->len, &q->facts,
			how_to_reply(&q->origin, &q->facts, q->msg), &hit, now);
	if (n == 0 || dns_is_failure(dns_rcode(p->out)))
		return false;
	/* Whoever was asked has peace then, and nobody waits again.  Where nobody can be asked, neither matters. */
	if (hit.state == CACHE_STALE && (q->sent != 0 || now >= q->opened_ms + QUERY_BRIEF_MS))
		kept_failed(&p->kept, q->msg, q->len, &q->facts, now);
	finish(p, q, ANSWERED, n, note_kept(p, &hit), now);
	return true;
}

/* The client's deadline is near, or nobody is left to ask.  What an upstream said of the question itself
 * tells more than that others could not be asked. */
static void
fail(struct proxy *p, struct query *q, uint64_t now)
{
	struct edns_reply r = how_to_reply(&q->origin, &q->facts, q->msg);
	const struct query *leader = query_leader(&p->table, q);
	enum dns_rcode rcode = DNS_SERVFAIL;
	enum outcome outcome = FAILED;
	enum edns_ede ede;
	const char *why = trouble_of(p, leader, &ede), *text = why;
	size_t len;

	/* It may answer others still: whoever wants to know asks it.  If it has just done so, there are questions
	 * that nobody can answer, and whoever asks many of them must not make us ill. */
	if (p->ready_until < now + (READY_MS - HEALTH_MS))
		p->ready_until = 0;
	if (give_stale(p, q, now))
		return;
	if (leader->soured != 0) {
		rcode = (enum dns_rcode)leader->sour_rcode;
		ede = (enum edns_ede)leader->sour_ede;
		text = NULL;
		outcome = ANSWERED;
	}
	len = edns_make_error(p->out, q->msg, q->len, &q->facts, rcode, ede, text, &r);
	finish(p, q, outcome, len, why, now);
}

/* Nobody is left to ask, for its twins as little. */
static void
fail_all(struct proxy *p, struct query *q, uint64_t now)
{
	bool more;

	do {
		more = query_has_twins(q);
		fail(p, q, now);
	} while (more);
}

/* ---- Asking upstreams ----------------------------------------------------------------------- */

/* How often a query may be taken in all: once by each upstream, and once again. */
static unsigned
tries_max(const struct proxy *p)
{
	return p->ups + 1;
}

/* The upstream has it: it is waited for, and nobody else is. */
static void
note_taken(struct proxy *p, struct query *q, const struct upstream *up, bool first_time, uint64_t now)
{
	if (q->sent_ms != now)
		q->last = 0;
	/* Of an answer to what was asked twice, nobody knows which question it took how long for (Karn). */
	if (first_time)
		q->last = (uint16_t)(q->last | bit(up));
	q->sent_ms = now;
	q->asked = (uint16_t)(q->asked | bit(up));
	q->hoped = 0;
	q->state = QUERY_SENT;
	q->tries++;
	if (q->sent++ > 0)
		p->count.again++;
}

static enum upstream_verdict
send_to(struct proxy *p, struct query *q, struct upstream *up, uint64_t now)
{
	enum upstream_verdict verdict;
	size_t len;

	if (now < p->plain_until[up->index])
		q->bare = (uint16_t)(q->bare | bit(up));
	len = edns_make_query(p->out, q->msg, q->len, &q->facts, q->id, (q->bare & bit(up)) != 0);
	verdict = up->send(up, p->out, len);
	if (verdict == UPSTREAM_TAKEN)
		note_taken(p, q, up, (q->tried & bit(up)) == 0, now);
	else if (verdict != UPSTREAM_DOWN)
		q->hoped = (uint16_t)(q->hoped | bit(up));
	if (verdict != UPSTREAM_SOON && verdict != UPSTREAM_MAYBE)
		q->tried = (uint16_t)(q->tried | bit(up));
	return verdict;
}

/* Offers q to the upstreams in the pool's order, but to none of skip, until one has it or will take it soon.
 * Returns the best verdict there was. */
static enum upstream_verdict
offer(struct proxy *p, struct query *q, unsigned skip, uint64_t now)
{
	enum upstream_verdict best = UPSTREAM_DOWN, verdict;

	for (unsigned i = 0; i < p->ups && q->tries < tries_max(p) && best > UPSTREAM_SOON; i++) {
		struct upstream *up = p->up[p->pool.order[i]];

		if ((skip & bit(up)) != 0)
			continue;
		verdict = send_to(p, q, up, now);
		if (verdict < best)
			best = verdict;
		if (verdict == UPSTREAM_TAKEN)
			query_watch(&p->table, q, up->index, now);
		else if (verdict == UPSTREAM_SOON && q->asked == 0)
			query_watch(&p->table, q, QUERY_WATCH_WAITING, now);
	}
	return best;
}

/* The next in turn that wakes up, but none of skip; or NULL. */
static struct upstream *
next_to_wake(struct proxy *p, unsigned skip)
{
	for (unsigned i = 0; i < p->ups; i++) {
		struct upstream *up;

		p->woken = (p->woken + 1) % p->ups;
		up = p->up[p->woken];
		if ((skip & bit(up)) == 0 && up->wake(up))
			return up;
	}
	return NULL;
}

/* A query is there, and whoever might take it rests: one of them, but none of skip, is tried early, in turn.
 * Returns what it says. */
static enum upstream_verdict
wake_one(struct proxy *p, struct query *q, unsigned skip, uint64_t now)
{
	enum upstream_verdict verdict;
	struct upstream *up;

	if (now < p->wake_ms || (skip | ~0u << p->ups) == ~0u || q->tries >= tries_max(p))
		return UPSTREAM_DOWN;
	p->wake_ms = now + POOL_WAKE_MS;
	up = next_to_wake(p, skip);
	if (up == NULL)
		return UPSTREAM_DOWN;
	verdict = send_to(p, q, up, now);
	if (verdict == UPSTREAM_TAKEN)
		query_watch(&p->table, q, up->index, now);
	else if (verdict == UPSTREAM_SOON && q->asked == 0)
		query_watch(&p->table, q, QUERY_WATCH_WAITING, now);
	return verdict;
}

/* As offer(), and wakes one that rests where all others are down, or have failed before. */
static enum upstream_verdict
press(struct proxy *p, struct query *q, unsigned skip, uint64_t now)
{
	enum upstream_verdict best = offer(p, q, skip, now), woken;

	if (best <= UPSTREAM_SOON)
		return best;
	woken = wake_one(p, q, skip | q->hoped, now);
	return woken < best ? woken : best;
}

/* Finds an upstream for a query that none has, but none of skip.  When all are down it waits, and tries
 * again now and then: one may come back in time; unless there is an answer for the client, though a sour or
 * a stale one, or it has been asked often enough. */
static void
find_upstream(struct proxy *p, struct query *q, unsigned skip, uint64_t now)
{
	enum upstream_verdict best;

	q->state = QUERY_WAITING;
	best = press(p, q, skip | q->soured, now);
	if (best <= UPSTREAM_SOON)
		return;
	if ((best == UPSTREAM_DOWN && (q->soured != 0 || (q->brief && q->hoped == 0))) ||
	    q->tries >= tries_max(p)) {
		fail_all(p, q, now);
		return;
	}
	query_watch(&p->table, q, QUERY_WATCH_WAITING, now);
}

/* FASTEST: now and then the others are asked too, beside the one whose answer is waited for. */
static void
explore(struct proxy *p, struct query *q, uint64_t now)
{
	int u = pool_explore(&p->pool, now);
	struct upstream *up;

	if (u == -1 || q->asked == 0)
		return;
	up = p->up[u];
	if ((q->asked & bit(up)) == 0 && send_to(p, q, up, now) != UPSTREAM_TAKEN && (q->hoped & bit(up)) != 0)
		q->hoped = (uint16_t)(q->hoped & ~bit(up)); /* a later query will be its measure */
	else
		pool_explored(&p->pool, now);
}

static bool
allowed(const struct proxy *p, const struct addr *peer)
{
	for (size_t i = 0; i < p->set.allows; i++)
		if (prefix_has(&p->set.allow[i], peer))
			return true;
	return false;
}

/* Asks for its own sake what a client has asked: the answer in the cache ends soon. */
static void
refresh(struct proxy *p, const uint8_t *msg, size_t len, const struct edns_facts *f, uint64_t now)
{
	struct origin nobody = {.via = &p->nobody, .max = UDP_SIZE_MIN};
	struct query *q;

	/* Clients come first where there is little room. */
	if (p->ending || p->table.open >= p->table.slots / 2)
		return;
	q = query_open(&p->table, &nobody, msg, len, f, now);
	if (q == NULL)
		return;
	p->count.asked++;
	p->count.refreshed++;
	if (q->state == QUERY_TWIN)
		finish(p, q, GONE, 0, NULL, now);
	else
		find_upstream(p, q, 0, now);
}

/* The client has the answer that the cache gave: p->out[0..n). */
static void
give_kept(struct proxy *p, const struct origin *from, const uint8_t *msg, const struct edns_facts *f, size_t n,
	  const struct cache_hit *hit)
{
	const char *where = note_kept(p, hit);
	char word[DNS_RCODE_TEXT_MAX];

	if (p->set.log_queries)
		log_outcome(from, msg, f, dns_rcode_text(word, dns_rcode(p->out)), dns_ancount(p->out), where,
			    0);
	reply(p, from, p->out, n, ANSWERED);
}

static bool
asks_ready(const uint8_t *msg, const struct edns_facts *f)
{
	return f->question_end == DNS_READY_LEN &&
	       memcmp(msg + DNS_HEADER, dns_ready + DNS_HEADER, DNS_READY_LEN - DNS_HEADER) == 0;
}

/* Says whether an upstream has answered lately; when not, one is asked, past the cache, and the next one who wants
 * to know hears of it. */
static void
tell_ready(struct proxy *p, const struct origin *from, const uint8_t *msg, size_t len, struct edns_facts *f,
	   uint64_t now)
{
	static const uint8_t root[17] = "\0\0\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1"; /* . NS IN */
	bool ready = now < p->ready_until;
	enum dns_rcode rcode = ready ? DNS_NOERROR : DNS_SERVFAIL;
	enum edns_ede ede = ready ? EDE_NONE : EDE_NOT_READY;

	refuse(p, from, msg, len, f, rcode, ede, NULL);
	if (ready || now <= p->ready_ask_ms)
		return;
	p->ready_ask_ms = now + QUERY_JOIN_MS;
	if (edns_read_query(root, sizeof(root), f, &rcode, &ede) == EDNS_FORWARD)
		refresh(p, root, sizeof(root), f, now);
}

bool
proxy_ask(struct proxy *p, const struct origin *from, const uint8_t *msg, size_t len, uint64_t now)
{
	struct edns_facts facts;
	enum dns_rcode rcode = DNS_FORMERR;
	enum edns_ede ede = EDE_NONE;
	enum edns_verdict verdict = edns_read_query(msg, len, &facts, &rcode, &ede);
	struct cache_hit hit;
	struct query *q;
	size_t n;

	if (verdict == EDNS_DROP) {
		p->count.dropped++;
		return false;
	}
	p->count.asked++;
	if (verdict == EDNS_FORWARD && asks_ready(msg, &facts)) {
		tell_ready(p, from, msg, len, &facts, now);
		return true;
	}
	if (!allowed(p, &from->peer)) {
		refuse(p, from, msg, len, &facts, DNS_REFUSED, EDE_PROHIBITED, "not in dnproxy.allow");
		return true;
	}
	if (verdict == EDNS_REPLY) {
		refuse(p, from, msg, len, &facts, rcode, ede, NULL);
		return true;
	}
	n = kept_answer(&p->kept, p->out, msg, len, &facts, how_to_reply(from, &facts, msg), &hit, now);
	q = !p->ending && (n == 0 || (hit.state == CACHE_STALE && !hit.held))
		    ? query_open(&p->table, from, msg, len, &facts, now)
		    : NULL;
	if (q == NULL && n > 0) {
		give_kept(p, from, msg, &facts, n, &hit);
		if (hit.prefetch && p->set.prefetch)
			refresh(p, msg, len, &facts, now);
		return true;
	}
	if (q == NULL) {
		refuse(p, from, msg, len, &facts, DNS_SERVFAIL, p->ending ? EDE_NOT_READY : EDE_OTHER,
		       p->ending ? "dnproxy ends" : "too many queries on their way");
		return true;
	}
	if (n > 0)
		query_make_brief(&p->table, q);
	if (q->state == QUERY_TWIN) {
		p->count.joined++;
		return true;
	}
	pool_asked(&p->pool);
	find_upstream(p, q, 0, now);
	explore(p, q, now); /* or it has ended: nobody was asked then */
	return true;
}

static bool
same_origin(const struct origin *a, const struct origin *b)
{
	return a->via == b->via && a->token == b->token;
}

void
proxy_forget(struct proxy *p, const struct origin *gone)
{
	struct query *q;

	query_walk(&p->table, QUERY_LIST_OPEN);
	while ((q = query_walked(&p->table)) != NULL)
		if (same_origin(&q->origin, gone))
			finish(p, q, GONE, 0, NULL, 0);
}

void
proxy_end(struct proxy *p)
{
	struct origin nobody = {.via = &p->nobody};

	p->ending = true;
	proxy_forget(p, &nobody);
}

void
proxy_close(struct proxy *p, uint64_t now)
{
	struct query *q;

	while ((q = query_first(&p->table, QUERY_LIST_OPEN)) != NULL)
		fail(p, q, now);
}

/* ---- News from upstreams -------------------------------------------------------------------- */

/* Whether an answer is one to this query's question.  Some servers leave the question out of an
 * error; with it nothing but an error can be meant. */
static bool
answers_question(const struct query *q, const uint8_t *msg, const struct edns_answer *a)
{
	if (dns_qdcount(msg) == 0)
		return a->rcode != DNS_NOERROR && dns_ancount(msg) == 0;
	return dns_same_question(q->msg, &q->facts.question, msg, &a->question);
}

static bool
refuses_opt(const struct query *q, const struct edns_answer *a)
{
	return (a->rcode == DNS_FORMERR || a->rcode == DNS_NOTIMP) && a->opt_len == 0 && !q->facts.is_signed;
}

/* An upstream that does not know EDNS (RFC 6891 section 7) is asked the same without. */
static void
ask_plainly(struct proxy *p, struct query *q, struct upstream *up, uint64_t now)
{
	q->bare = (uint16_t)(q->bare | bit(up));
	q->refused = (uint16_t)(q->refused | bit(up));
	q->state = q->asked != 0 ? QUERY_SENT : QUERY_WAITING;
	q->tries--; /* it was a refusal of our OPT, not a try of this question */
	if (send_to(p, q, up, now) == UPSTREAM_TAKEN)
		query_watch(&p->table, q, up->index, now);
	else if (q->asked == 0)
		find_upstream(p, q, 0, now);
}

/* Whether the upstream knows OPT shows in its answers, to questions that hold nothing of a client's that
 * it might have refused instead. */
static void
learn(struct proxy *p, const struct query *q, const struct upstream *up, const struct edns_answer *a,
      uint64_t now)
{
	uint8_t *refusals = &p->refusals[up->index];

	if (a->opt_len != 0 || (q->bare & bit(up)) == 0)
		*refusals = 0;
	else if ((q->refused & bit(up)) != 0 && q->facts.ecs_len == 0 && !refuses_opt(q, a) &&
		 ++*refusals >= PLAIN_AFTER) {
		*refusals = 0;
		p->plain_until[up->index] = now + DOT_PLAIN_MS;
	}
}

/* Whether another upstream may know better: SERVFAIL and REFUSED often say more of the upstream than of the
 * name.  Not where it says itself that it is the name: a second opinion might be that of a resolver that does
 * not look. */
static bool
is_sour(const struct edns_answer *a)
{
	return dns_is_failure(a->rcode) && !edns_blames_name(a);
}

/* Whether an upstream has it that is not silent. */
static bool
in_good_hands(const struct proxy *p, const struct query *q)
{
	for (unsigned i = 0; i < p->ups; i++)
		if ((q->asked & bit(p->up[i])) != 0 && !p->pool.member[i].doubted)
			return true;
	return false;
}

/* A sour answer is kept in mind while others have the query that are not silent, or one more takes it.  Returns
 * false when nobody does: then it is passed on. */
static bool
ask_another(struct proxy *p, struct query *q, const struct upstream *up, const struct edns_answer *a,
	    uint64_t now)
{
	enum upstream_verdict best;
	bool taken;

	if (q->soured == 0) {
		q->sour_rcode = (uint8_t)a->rcode;
		q->sour_ede = (int16_t)a->ede;
	}
	q->soured = (uint16_t)(q->soured | bit(up));
	if (in_good_hands(p, q))
		return true;
	if (q->asked == 0)
		q->state = QUERY_WAITING;
	best = press(p, q, q->asked | q->soured, now);
	taken = best <= UPSTREAM_SOON;
	/* One that failed before is given as long as any other to come about. */
	if (q->asked == 0 && best != UPSTREAM_DOWN) {
		query_watch(&p->table, q, QUERY_WATCH_WAITING, now);
		taken = true;
	}
	p->count.soured += taken;
	return taken;
}

static void
give_answer(struct proxy *p, struct query *q, const struct upstream *up, const uint8_t *msg, size_t len,
	    const struct edns_answer *a, uint64_t now)
{
	struct edns_reply r = how_to_reply(&q->origin, &q->facts, q->msg);
	size_t n;

	if (is_sour(a) && give_stale(p, q, now))
		return;
	n = edns_make_answer(p->out, msg, len, a, q->msg, &q->facts, &r);
	if (n == 0) {
		n = edns_make_error(p->out, q->msg, q->len, &q->facts, DNS_SERVFAIL, EDE_OTHER,
				    "the upstream's answer cannot be passed on", &r);
		finish(p, q, FAILED, n, up->name, now);
		return;
	}
	finish(p, q, ANSWERED, n, up->name, now);
}

/* Finds the query that a message from up answers, which up has no longer then.  Returns NULL for a stranger. */
static struct query *
take_back(struct proxy *p, const struct upstream *up, const uint8_t *msg, const struct edns_answer *a)
{
	struct query *q = query_by_id(&p->table, dns_id(msg));

	if (q == NULL || (q->asked & bit(up)) == 0 || (q->state != QUERY_SPENT && !answers_question(q, msg, a)))
		return NULL;
	q->asked = (uint16_t)(q->asked & ~bit(up));
	q->hoped = (uint16_t)(q->hoped & ~bit(up));
	return q;
}

/* up has spoken: it is not silent, and how long it took is known. */
static void
note_time(struct proxy *p, const struct query *q, struct upstream *up, uint64_t now)
{
	pool_doubt(&p->pool, up->index, false);
	if ((q->last & bit(up)) == 0)
		return;
	pool_answered(&p->pool, up->index, now - q->sent_ms);
	up->doubt_ms = pool_doubt_ms(&p->pool, up->index);
}

/* One answer, for each its own ID, spelling, size limit and OPT. */
static void
give_all(struct proxy *p, struct query *q, const struct upstream *up, const uint8_t *msg, size_t len,
	 const struct edns_answer *a, uint64_t now)
{
	bool more;

	kept_put(&p->kept, q->msg, q->len, &q->facts, msg, len, a, now);
	do {
		more = query_has_twins(q);
		give_answer(p, q, up, msg, len, a, now);
	} while (more);
}

void
proxy_answer(struct proxy *p, struct upstream *up, const uint8_t *msg, size_t len, uint64_t now)
{
	struct edns_answer a;
	bool readable = edns_read_answer(msg, len, &a) == 0;
	struct query *q = NULL;

	if (readable && a.has_keepalive)
		up->keepalive(up, a.keepalive * 100u);
	if (readable)
		q = take_back(p, up, msg, &a);
	if (q == NULL) {
		p->count.strangers++;
		return;
	}
	note_time(p, q, up, now);
	if (!is_sour(&a))
		p->ready_until = now + READY_MS;
	if (q->state == QUERY_SPENT) {
		p->count.late++;
		/* Its client had no patience, or only a stale answer; the next one will be glad of it.  Not of a
		 * failure: another may have answered before. */
		if (q->msg == q->small && !dns_is_failure(a.rcode))
			kept_put(&p->kept, q->msg, q->len, &q->facts, msg, len, &a, now);
		if (q->asked == 0)
			query_free(&p->table, q);
		return;
	}
	if (refuses_opt(q, &a) && (q->bare & bit(up)) == 0) {
		ask_plainly(p, q, up, now);
		return;
	}
	learn(p, q, up, &a, now);
	if (is_sour(&a) && ask_another(p, q, up, &a, now))
		return;
	give_all(p, q, up, msg, len, &a, now);
}

/* Who hopes for up is sent to it; who hopes for nobody is offered to all.  Returns false when up takes no
 * more. */
static bool
retry(struct proxy *p, struct query *q, struct upstream *up, uint64_t now)
{
	enum upstream_verdict verdict;

	if ((q->hoped & bit(up)) != 0) {
		q->hoped = (uint16_t)(q->hoped & ~bit(up));
		if (q->tries >= tries_max(p))
			return true; /* another has it: it was a hedge */
		verdict = send_to(p, q, up, now);
		if (verdict == UPSTREAM_TAKEN)
			query_watch(&p->table, q, up->index, now);
		return verdict != UPSTREAM_SOON;
	}
	if (q->state == QUERY_WAITING && q->hoped == 0)
		find_upstream(p, q, 0, now);
	return true;
}

void
proxy_ready(struct proxy *p, struct upstream *up, uint64_t now)
{
	struct query *q;

	pool_doubt(&p->pool, up->index, false);
	query_walk(&p->table, QUERY_LIST_OPEN);
	while ((q = query_walked(&p->table)) != NULL && retry(p, q, up, now))
		;
}

void
proxy_suspect(struct proxy *p, struct upstream *up, bool replaced, uint64_t now)
{
	struct query *q;

	pool_doubt(&p->pool, up->index, true);
	query_walk(&p->table, QUERY_LIST_OPEN);
	while ((q = query_walked(&p->table)) != NULL) {
		if ((q->asked & bit(up)) == 0)
			continue;
		if (!in_good_hands(p, q) && press(p, q, q->asked | q->soured, now) == UPSTREAM_TAKEN)
			continue;
		if (replaced)
			q->hoped = (uint16_t)(q->hoped | bit(up));
	}
}

void
proxy_kept(struct proxy *p, const struct upstream *up)
{
	struct query *q;

	query_walk(&p->table, QUERY_LIST_OPEN);
	while ((q = query_walked(&p->table)) != NULL)
		if ((q->asked & bit(up)) != 0)
			q->hoped = (uint16_t)(q->hoped & ~bit(up));
}

/* up no longer has q.  Another may have it still; else it is offered again, while it has tries left: the second
 * time to others first, because it may be this question that ends connections. */
static void
lose(struct proxy *p, struct query *q, const struct upstream *up, uint64_t now)
{
	if (((q->asked | q->hoped) & bit(up)) == 0)
		return;
	q->asked = (uint16_t)(q->asked & ~bit(up));
	q->hoped = (uint16_t)(q->hoped & ~bit(up));
	if (q->asked != 0)
		return;
	q->state = QUERY_WAITING;
	if (q->tries < 2 || offer(p, q, bit(up) | q->soured, now) > UPSTREAM_SOON)
		find_upstream(p, q, 0, now);
}

void
proxy_lost(struct proxy *p, struct upstream *up, uint64_t now)
{
	struct query *q;

	query_walk(&p->table, QUERY_LIST_SPENT);
	while ((q = query_walked(&p->table)) != NULL) {
		q->asked = (uint16_t)(q->asked & ~bit(up));
		if (q->asked == 0)
			query_free(&p->table, q);
	}
	query_walk(&p->table, QUERY_LIST_OPEN);
	while ((q = query_walked(&p->table)) != NULL)
		lose(p, q, up, now);
	pool_doubt(&p->pool, up->index, false); /* it has no questions to be silent about */
}

/* ---- Time ----------------------------------------------------------------------------------- */

/* How long a query may be on a watch list. */
static uint32_t
patience(const struct proxy *p, unsigned watch)
{
	return watch == QUERY_WATCH_WAITING ? POOL_WAIT_MS : pool_hedge_ms(&p->pool, watch);
}

/* Its upstream takes long: another is asked as well.  If hedges have become many, or the others are down, that
 * is looked at again later, while there is somebody left to ask; in the end it counts as lost, and is asked of
 * another whatever their share. */
static void
hedge(struct proxy *p, struct query *q, uint64_t now)
{
	unsigned had = (unsigned)q->asked | q->soured;
	bool late = now >= q->opened_ms + POOL_LATE_MS;

	if (had + 1 == 1u << p->ups || q->tries >= tries_max(p)) {
		query_unwatch(&p->table, q);
		return;
	}
	query_watch(&p->table, q, q->watch, now);
	if ((!late && !pool_may_hedge(&p->pool)) || offer(p, q, had | q->hoped, now) == UPSTREAM_DOWN)
		return;
	if (!late)
		pool_hedged(&p->pool);
	p->count.hedged++;
}

/* The first of those who wait, if nobody has given it hope: it tries again as soon as one may be woken. */
static struct query *
forlorn(const struct proxy *p)
{
	struct query *q = query_watched(&p->table, QUERY_WATCH_WAITING);

	return q != NULL && q->hoped == 0 && p->ups > 0 ? q : NULL;
}

uint64_t
proxy_deadline(const struct proxy *p)
{
	const struct query *q = query_oldest(&p->table, QUERY_LIST_OPEN);
	const struct query *brief = query_oldest(&p->table, QUERY_LIST_BRIEF);
	uint64_t first = q != NULL ? q->opened_ms + QUERY_TIMEOUT_MS : UINT64_MAX;

	if (brief != NULL && brief->opened_ms + QUERY_BRIEF_MS < first)
		first = brief->opened_ms + QUERY_BRIEF_MS;
	for (unsigned watch = 0; watch < QUERY_WATCHES && first != UINT64_MAX; watch++) {
		const struct query *w = query_watched(&p->table, watch);

		if (w != NULL && w->watch_ms + patience(p, watch) < first)
			first = w->watch_ms + patience(p, watch);
	}
	if (forlorn(p) != NULL && p->wake_ms < first)
		first = p->wake_ms;
	return first;
}

void
proxy_tick(struct proxy *p, uint64_t now)
{
	struct query *q;

	while ((q = query_oldest(&p->table, QUERY_LIST_OPEN)) != NULL && q->opened_ms + QUERY_TIMEOUT_MS <= now)
		fail(p, q, now);
	while ((q = query_oldest(&p->table, QUERY_LIST_BRIEF)) != NULL && q->opened_ms + QUERY_BRIEF_MS <= now)
		fail(p, q, now);
	for (unsigned watch = 0; watch < QUERY_WATCHES; watch++)
		while ((q = query_watched(&p->table, watch)) != NULL &&
		       q->watch_ms + patience(p, watch) <= now) {
			if (q->asked != 0)
				hedge(p, q, now);
			else
				find_upstream(p, q, q->hoped, now);
		}
	while ((q = forlorn(p)) != NULL && p->wake_ms <= now)
		find_upstream(p, q, 0, now);
}
