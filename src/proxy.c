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
	memset(p, 0, offsetof(struct proxy, out));
	p->set = *set;
	query_init(&p->table, block, slots, fill);
}

void
proxy_add_upstream(struct proxy *p, struct upstream *up)
{
	up->index = p->ups;
	p->up[p->ups++] = up;
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

/* Refuses at the door: the message never becomes a query. */
static void
refuse(struct proxy *p, const struct origin *to, const uint8_t *msg, size_t len, const struct edns_facts *f,
       enum dns_rcode rcode, enum edns_ede ede, const char *text)
{
	struct edns_reply r = how_to_reply(to, f, msg);
	size_t n = edns_make_error(p->out, msg, len, f, rcode, ede, text, &r);
	char word[DNS_RCODE_TEXT_MAX];

	if (p->set.log_queries)
		log_outcome(to, msg, f, dns_rcode_text(word, rcode), 0, "refused", 0);
	reply(p, to, p->out, n, REFUSED);
}

/* ---- The way out ---------------------------------------------------------------------------- */

/* The one way out of a query.  msg[0..len) is the reply in p->out; where says who made it. */
static void
finish(struct proxy *p, struct query *q, enum outcome outcome, size_t len, const char *where, uint64_t now)
{
	char word[DNS_RCODE_TEXT_MAX];

	if (outcome == GONE) {
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

static void
fail(struct proxy *p, struct query *q, uint64_t now)
{
	struct edns_reply r = how_to_reply(&q->origin, &q->facts, q->msg);
	enum edns_ede ede;
	const char *why = trouble_of(p, q, &ede);
	size_t len = edns_make_error(p->out, q->msg, q->len, &q->facts, DNS_SERVFAIL, ede, why, &r);

	finish(p, q, FAILED, len, why, now);
}

/* ---- Asking upstreams ----------------------------------------------------------------------- */

/* How often a query may be taken in all: once by each upstream, and once again. */
static unsigned
tries_max(const struct proxy *p)
{
	return p->ups + 1;
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
	q->tried = (uint16_t)(q->tried | bit(up));
	if (verdict == UPSTREAM_TAKEN) {
		q->asked = (uint16_t)(q->asked | bit(up));
		q->hoped = (uint16_t)(q->hoped & ~bit(up));
		q->state = QUERY_SENT;
		q->tries++;
		if (q->sent++ > 0)
			p->count.again++;
	} else if (verdict != UPSTREAM_DOWN) {
		q->hoped = (uint16_t)(q->hoped | bit(up));
	}
	return verdict;
}

/* Offers q to the upstreams in order, but to none of skip, until one has it or will take it soon.
 * When all are down, q waits: one may come back in time. */
static void
offer(struct proxy *p, struct query *q, unsigned skip, uint64_t now)
{
	enum upstream_verdict verdict = UPSTREAM_DOWN;

	for (unsigned i = 0; i < p->ups && q->tries < tries_max(p); i++) {
		if ((skip & bit(p->up[i])) == 0)
			verdict = send_to(p, q, p->up[i], now);
		if (verdict == UPSTREAM_TAKEN || verdict == UPSTREAM_SOON)
			return;
	}
}

static bool
allowed(const struct proxy *p, const struct addr *peer)
{
	for (size_t i = 0; i < p->set.allows; i++)
		if (prefix_has(&p->set.allow[i], peer))
			return true;
	return false;
}

bool
proxy_ask(struct proxy *p, const struct origin *from, const uint8_t *msg, size_t len, uint64_t now)
{
	struct edns_facts facts;
	enum dns_rcode rcode = DNS_FORMERR;
	enum edns_ede ede = EDE_NONE;
	enum edns_verdict verdict = edns_read_query(msg, len, &facts, &rcode, &ede);
	struct query *q;

	if (verdict == EDNS_DROP) {
		p->count.dropped++;
		return false;
	}
	p->count.asked++;
	if (!allowed(p, &from->peer)) {
		refuse(p, from, msg, len, &facts, DNS_REFUSED, EDE_PROHIBITED, "not in dnproxy.allow");
		return true;
	}
	if (verdict == EDNS_REPLY) {
		refuse(p, from, msg, len, &facts, rcode, ede, NULL);
		return true;
	}
	q = query_open(&p->table, from, msg, len, &facts, now);
	if (q == NULL) {
		refuse(p, from, msg, len, &facts, DNS_SERVFAIL, EDE_OTHER, "too many queries on their way");
		return true;
	}
	offer(p, q, 0, now);
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
	struct query *q, *next;

	for (int list = QUERY_LIST_FRESH; list <= QUERY_LIST_LATE; list++)
		for (q = query_first(&p->table, (enum query_list)list); q != NULL; q = next) {
			next = query_next(&p->table, q);
			if (same_origin(&q->origin, gone))
				finish(p, q, GONE, 0, NULL, 0);
		}
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
	if (send_to(p, q, up, now) == UPSTREAM_DOWN && q->state == QUERY_WAITING)
		offer(p, q, 0, now);
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

static void
give_answer(struct proxy *p, struct query *q, const struct upstream *up, const uint8_t *msg, size_t len,
	    const struct edns_answer *a, uint64_t now)
{
	struct edns_reply r = how_to_reply(&q->origin, &q->facts, q->msg);
	size_t n = edns_make_answer(p->out, msg, len, a, q->msg, &q->facts, &r);

	if (n == 0) {
		n = edns_make_error(p->out, q->msg, q->len, &q->facts, DNS_SERVFAIL, EDE_OTHER,
				    "the upstream's answer cannot be passed on", &r);
		finish(p, q, FAILED, n, up->name, now);
		return;
	}
	finish(p, q, ANSWERED, n, up->name, now);
}

void
proxy_answer(struct proxy *p, struct upstream *up, const uint8_t *msg, size_t len, uint64_t now)
{
	struct edns_answer a;
	struct query *q;
	bool bare;

	if (edns_read_answer(msg, len, &a) == -1) {
		p->count.strangers++;
		return;
	}
	if (a.has_keepalive)
		up->keepalive(up, a.keepalive * 100u);
	q = query_by_id(&p->table, dns_id(msg));
	if (q == NULL || (q->asked & bit(up)) == 0 ||
	    (q->state != QUERY_SPENT && !answers_question(q, msg, &a))) {
		p->count.strangers++;
		return;
	}
	q->asked = (uint16_t)(q->asked & ~bit(up));
	if (q->state == QUERY_SPENT) {
		p->count.late++;
		if (q->asked == 0)
			query_free(&p->table, q);
		return;
	}
	bare = (q->bare & bit(up)) != 0;
	if (refuses_opt(q, &a) && !bare) {
		ask_plainly(p, q, up, now);
		return;
	}
	learn(p, q, up, &a, now);
	give_answer(p, q, up, msg, len, &a, now);
}

/* Who was told SOON or MAYBE by up is sent to it, if nobody has the query yet or it is late; who waits
 * for nobody in particular is offered to all.  Returns false when up takes no more. */
static bool
retry(struct proxy *p, struct query *q, struct upstream *up, uint64_t now)
{
	if ((q->hoped & bit(up)) != 0) {
		q->hoped = (uint16_t)(q->hoped & ~bit(up));
		if ((q->state != QUERY_WAITING && !q->late) || q->tries >= tries_max(p))
			return true;
		return send_to(p, q, up, now) != UPSTREAM_SOON;
	}
	if (q->state == QUERY_WAITING && q->hoped == 0)
		offer(p, q, 0, now);
	return true;
}

void
proxy_ready(struct proxy *p, struct upstream *up, uint64_t now)
{
	for (int list = QUERY_LIST_LATE; list >= QUERY_LIST_FRESH; list--)
		for (struct query *q = query_first(&p->table, (enum query_list)list); q != NULL;
		     q = query_next(&p->table, q))
			if (!retry(p, q, up, now))
				return;
}

/* up no longer has q.  Another may have it still (it was hedged); else it is offered again, while
 * it has tries left. */
static void
lose(struct proxy *p, struct query *q, const struct upstream *up, uint64_t now)
{
	bool had = (q->asked & bit(up)) != 0;

	if (!had && (q->hoped & bit(up)) == 0)
		return;
	q->asked = (uint16_t)(q->asked & ~bit(up));
	q->hoped = (uint16_t)(q->hoped & ~bit(up));
	if (q->asked != 0)
		return;
	q->state = QUERY_WAITING;
	if (q->tries >= tries_max(p) && had) {
		fail(p, q, now);
		return;
	}
	offer(p, q, 0, now);
	if (q->late && q->asked == 0)
		offer(p, q, q->hoped, now); /* no time to wait for one alone */
}

void
proxy_lost(struct proxy *p, struct upstream *up, uint64_t now)
{
	struct query *q, *next;

	for (q = query_first(&p->table, QUERY_LIST_SPENT); q != NULL; q = next) {
		next = query_next(&p->table, q);
		q->asked = (uint16_t)(q->asked & ~bit(up));
		if (q->asked == 0)
			query_free(&p->table, q);
	}
	for (int list = QUERY_LIST_LATE; list >= QUERY_LIST_FRESH; list--)
		for (q = query_first(&p->table, (enum query_list)list); q != NULL; q = next) {
			next = query_next(&p->table, q);
			lose(p, q, up, now);
		}
}

/* ---- Time ----------------------------------------------------------------------------------- */

uint64_t
proxy_deadline(const struct proxy *p)
{
	const struct query *fresh = query_first(&p->table, QUERY_LIST_FRESH);
	const struct query *late = query_first(&p->table, QUERY_LIST_LATE);

	/* Late queries are older than fresh ones, but their next event is further from their start. */
	uint64_t hedge = fresh != NULL ? fresh->opened_ms + QUERY_HEDGE_MS : UINT64_MAX;
	uint64_t end = late != NULL ? late->opened_ms + QUERY_TIMEOUT_MS : UINT64_MAX;

	return hedge < end ? hedge : end;
}

void
proxy_tick(struct proxy *p, uint64_t now)
{
	struct query *q;

	while ((q = query_first(&p->table, QUERY_LIST_FRESH)) != NULL && q->opened_ms + QUERY_HEDGE_MS <= now) {
		query_make_late(&p->table, q);
		offer(p, q, (unsigned)q->asked | q->hoped, now);
	}
	while ((q = query_first(&p->table, QUERY_LIST_LATE)) != NULL && q->opened_ms + QUERY_TIMEOUT_MS <= now)
		fail(p, q, now);
}
