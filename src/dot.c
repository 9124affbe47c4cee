/* SPDX-License-Identifier: MIT */
#include "dot.h"

#include <string.h>

#include "entropy.h"
#include "log.h"
#include "text.h"

static struct dot *
dot_of(struct upstream *up)
{
	return (struct dot *)(void *)up;
}

static uint64_t
now_ms(const struct dot *d)
{
	return d->now->mono_ms;
}

/* ---- Trouble -------------------------------------------------------------------------------- */

/* A rest that several programs which lost the same server at the same time do not share.  Where nothing has
 * left this machine the next try costs nobody anything. */
static uint32_t
next_rest(struct dot *d, bool distrust, bool local)
{
	uint32_t rest = distrust && d->rest_ms < DOT_REST_DISTRUST_MS ? DOT_REST_DISTRUST_MS : d->rest_ms;
	uint8_t chance = 0;

	if (local)
		return DOT_REST_LOCAL_MS;
	(void)entropy_fill(&chance, 1);
	d->rest_ms = rest * 2 < DOT_REST_MAX_MS ? rest * 2 : DOT_REST_MAX_MS;
	rest += rest * chance / 1024;
	return rest < DOT_REST_MAX_MS ? rest : DOT_REST_MAX_MS;
}

static bool
is_power_of_two(unsigned n)
{
	return n > 0 && (n & (n - 1)) == 0;
}

/* Trouble is told at growing distances, the 1st, 2nd, 4th, 8th ... time in a row, and when its words
 * change, but then not too often: two reasons may take turns. */
static void
log_trouble(struct dot *d, bool changed, uint32_t rest)
{
	if (!is_power_of_two(d->failures) && (!changed || now_ms(d) < d->logged_ms + DOT_LOG_MS))
		return;
	d->logged_ms = now_ms(d);
	d->told = true;
	log_warn("dot %s (%s): %s; resting %u ms, %u failures in a row", d->up.name, d->label, d->trouble,
		 (unsigned)rest, d->failures);
}

/* It failed: words say why.  What was asked of it has to be asked elsewhere, or later. */
static void
fail(struct dot *d, const char *words, bool distrust, bool local)
{
	uint32_t rest = next_rest(d, distrust, local);
	bool changed = strcmp(words, d->trouble) != 0;

	conn_drop(d->cur);
	conn_drop(d->old);
	d->lost = true;
	d->fresh = d->kept = d->blocked = d->suspected = false;
	d->resting = true;
	d->rest_until = now_ms(d) + rest;
	d->distrusted = distrust;
	d->failures++;
	text_make(d->trouble, sizeof(d->trouble), "%s", words);
	d->up.trouble = d->trouble;
	log_trouble(d, changed, rest);
}

static void
start_connecting(struct dot *d)
{
	d->blocked = d->suspected = false;
	if (conn_open(d->cur, d->now) == -1)
		fail(d, d->cur->trouble, false, d->cur->local);
}

/* Ends all that is there, without blame. */
static void
hang_up(struct dot *d)
{
	conn_close(d->cur);
	conn_drop(d->old);
	d->lost = true;
	d->fresh = d->kept = d->blocked = d->suspected = false;
}

/* ---- How long an idle connection is kept ------------------------------------------------------ */

/* Less than the server's time, so that we close first: its close and a question of ours must not cross. */
static uint32_t
less(uint64_t idle_ms)
{
	return (uint32_t)(idle_ms - idle_ms / 8);
}

static uint32_t
idle_ms(const struct dot *d)
{
	uint32_t said = d->granted_ms == UINT32_MAX ? DOT_IDLE_MS : d->granted_ms;

	return said < d->learnt_ms ? said : d->learnt_ms;
}

/* RFC 7828 section 3.2.2: the server's word; 0 asks us to close as soon as nothing is open. */
static void
keepalive(struct upstream *up, uint32_t granted_ms)
{
	dot_of(up)->granted_ms = less(granted_ms < DOT_IDLE_MAX_MS ? granted_ms : DOT_IDLE_MAX_MS);
}

/* The server has closed a connection that was idle for so long.  One that closes after each answer has no
 * idle time. */
static void
learn_idle(struct dot *d, uint64_t quiet_ms)
{
	d->in_time = 0;
	if (quiet_ms >= DOT_IDLE_LEARN_MS && less(quiet_ms) < d->learnt_ms)
		d->learnt_ms = less(quiet_ms);
}

/* We closed first.  Now and then it is tried whether the server has more patience by now. */
static void
close_idle(struct dot *d)
{
	hang_up(d);
	if (++d->in_time < DOT_IDLE_TRUST)
		return;
	d->in_time = 0;
	d->learnt_ms = d->learnt_ms * 2 < DOT_IDLE_MAX_MS ? d->learnt_ms * 2 : DOT_IDLE_MAX_MS;
}

/* ---- What becomes of the connection --------------------------------------------------------- */

static void
on_message(void *ctx, uint8_t *msg, size_t len)
{
	struct dot *d = ctx;

	d->barren = 0;
	d->failures = 0;
	d->rest_ms = DOT_REST_MIN_MS;
	proxy_answer(d->proxy, &d->up, msg, len, now_ms(d));
}

static void
on_opened(struct dot *d)
{
	static const char *const effort[] = {"full handshake", "known certificate", "resumed"};
	unsigned took = (unsigned)(now_ms(d) - d->cur->begun_ms);
	bool news = d->told || d->opened[0] + d->opened[1] + d->opened[2] == 0;

	d->opened[tls_effort(d->cur->tls)]++;
	d->up.trouble = NULL;
	d->granted_ms = UINT32_MAX;
	d->fresh = true;
	d->told = false;
	if (news)
		log_info("dot %s (%s): connected, %s, %s, %u ms, %u failures before", d->up.name, d->label,
			 tls_cipher(d->cur->tls), effort[tls_effort(d->cur->tls)], took, d->failures);
	else
		log_debug("dot %s (%s): connected again, %s, %s, %u ms", d->up.name, d->label,
			  tls_cipher(d->cur->tls), effort[tls_effort(d->cur->tls)], took);
}

/* The server ended a working connection.  While idle that is its right; with questions open they go out
 * again at once, unless it does this every time, or ends each connection as soon as it stands. */
static void
on_ended(struct dot *d)
{
	const struct conn *c = d->cur;
	bool useless = c->unanswered > 0 || now_ms(d) < c->opened_ms + DOT_SHORT_MS;

	if (useless && c->heard == 0 && ++d->barren > 1) {
		fail(d, "closes the connection without an answer", false, false);
		return;
	}
	if (!useless)
		d->barren = 0; /* what was before is long ago */
	log_debug("dot %s (%s): %s, %u questions open", d->up.name, d->label, c->trouble,
		  (unsigned)c->unanswered);
	if (c->unanswered == 0)
		learn_idle(d, now_ms(d) - c->active_ms);
	hang_up(d);
}

static void
swap(struct dot *d)
{
	struct conn *c = d->cur;

	d->cur = d->old;
	d->old = c;
}

/* A connection could not be made.  Where it was to replace one that has spoken since, that one was only
 * slow. */
static void
on_failed(struct dot *d)
{
	if (d->old->state == CONN_OPEN && d->old->heard_ms >= d->replaced_ms) {
		swap(d);
		d->kept = true;
		log_debug("dot %s (%s): %s; the earlier connection goes on", d->up.name, d->label,
			  d->old->trouble);
		return;
	}
	fail(d, d->cur->trouble, d->cur->distrust, d->cur->local);
}

/* A router forgot us, or the server hangs: another connection takes over, while this one may still answer.
 * One that has never answered is no reason to hope for the next. */
static void
replace(struct dot *d)
{
	unsigned silent = (unsigned)(now_ms(d) - d->cur->waiting_ms);

	if (d->cur->heard == 0 && ++d->barren > 1) {
		fail(d, "is silent with questions open", false, false);
		return;
	}
	log_info("dot %s (%s): silent for %u ms with questions open; connecting again", d->up.name, d->label,
		 silent);
	conn_drop(d->old);
	swap(d);
	d->replaced = true;
	d->replaced_ms = now_ms(d) + 1;
	d->old_until = now_ms(d) + QUERY_TIMEOUT_MS;
	start_connecting(d);
}

/* Questions are out and nothing has come for a while.  Their fate is the proxy's; that of the connection
 * depends on whether the peer's kernel is still there. */
static void
on_silence(struct dot *d)
{
	uint64_t silent = now_ms(d) - d->cur->waiting_ms;

	d->suspected = d->silent = true;
	d->suspect_ms = now_ms(d) + d->up.doubt_ms;
	if (silent >= DOT_SILENT_MS || !conn_is_acknowledged(d->cur))
		replace(d);
}

/* ---- The upstream's verbs ------------------------------------------------------------------- */

static enum upstream_verdict
take_message(struct upstream *up, const uint8_t *msg, size_t len)
{
	struct dot *d = dot_of(up);

	if (!d->resting && d->cur->state == CONN_CLOSED)
		start_connecting(d);
	if (d->resting)
		return UPSTREAM_DOWN;
	/* After a failure nobody is made to wait for the next try: others may be well. */
	if (d->cur->state != CONN_OPEN)
		return d->failures > 0 || d->old->state == CONN_OPEN ? UPSTREAM_MAYBE : UPSTREAM_SOON;
	if (d->blocked || !conn_send(d->cur, msg, len, now_ms(d))) {
		d->blocked = true;
		return UPSTREAM_SOON;
	}
	return UPSTREAM_TAKEN;
}

static bool
wake(struct upstream *up)
{
	struct dot *d = dot_of(up);

	/* Who could not prove who it is does not learn to within a second; others may be well. */
	if (d->resting && d->distrusted)
		return false;
	d->resting = false;
	return true;
}

/* ---- The member of the loop ----------------------------------------------------------------- */

/* When questions have been open in silence for too long, or for that long again. */
static uint64_t
silence_due(const struct dot *d)
{
	uint64_t due = d->cur->waiting_ms + d->up.doubt_ms;

	if (!d->suspected)
		return due;
	due = d->cur->waiting_ms + DOT_SILENT_MS;
	return d->suspect_ms < due ? d->suspect_ms : due;
}

static uint64_t
deadline(const struct dot *d)
{
	if (d->resting)
		return d->rest_until;
	if (d->cur->state == CONN_CLOSED)
		return d->keep_warm ? 0 : UINT64_MAX;
	if (d->cur->state != CONN_OPEN)
		return UINT64_MAX; /* conn.c has an eye on it */
	if (d->cur->unanswered > 0)
		return silence_due(d);
	return d->keep_warm ? UINT64_MAX : d->cur->active_ms + idle_ms(d);
}

/* Whether what was verified without a clock has to be verified again, now that there is one. */
static bool
is_outdated(const struct dot *d)
{
	return d->cur->state == CONN_OPEN && !d->now->unset && tls_without_clock(d->cur->tls);
}

/* Whether something waits for no time and no descriptor. */
static bool
is_owed(const struct dot *d)
{
	return d->lost || d->fresh || d->dropping || is_outdated(d);
}

static void
want(void *self, struct wants *w)
{
	struct dot *d = self;

	conn_want(d->cur, w);
	conn_want(d->old, w);
	wants_by(w, is_owed(d) ? 0 : deadline(d));
	if (d->old->state == CONN_OPEN && d->cur->state == CONN_OPEN)
		wants_by(w, d->old_until);
	if (d->blocked && !conn_has_output(d->cur))
		wants_by(w, 0); /* the end of the last turn made room for those who were told SOON */
}

static void
on_deadline(struct dot *d)
{
	if (d->resting) {
		d->resting = false;
		d->fresh = true;
		return;
	}
	if (d->cur->state == CONN_CLOSED)
		start_connecting(d);
	else if (d->cur->unanswered > 0)
		on_silence(d);
	else
		close_idle(d);
}

/* The replaced connection: it goes when it has nothing left to say, or has had its time, and another is
 * there. */
static void
step_old(struct dot *d, const struct wants *ready)
{
	(void)conn_step(d->old, ready, d->now);
	if (d->old->state == CONN_OPEN && d->cur->state == CONN_OPEN &&
	    (d->old->unanswered == 0 || now_ms(d) >= d->old_until))
		conn_close(d->old);
}

static void
step_cur(struct dot *d, const struct wants *ready)
{
	switch (conn_step(d->cur, ready, d->now)) {
	case CONN_NOTHING:
		break;
	case CONN_OPENED:
		on_opened(d);
		break;
	case CONN_ENDED:
		on_ended(d);
		break;
	case CONN_FAILED:
		on_failed(d);
		break;
	}
	if (d->cur->heard_ms == now_ms(d))
		d->suspected = false;
}

static void
drop(struct dot *d)
{
	d->dropping = d->resting = false;
	d->failures = d->barren = 0;
	d->rest_ms = DOT_REST_MIN_MS;
	hang_up(d);
	d->fresh = true;
}

/* Reports come last: the proxy may send again inside them, and meets a state that is in order. */
static void
report(struct dot *d)
{
	if (d->silent) {
		d->silent = false;
		proxy_suspect(d->proxy, &d->up, d->replaced, now_ms(d));
		d->replaced = false;
	}
	if (d->kept) {
		d->kept = false;
		d->fresh = true;
		proxy_kept(d->proxy, &d->up);
	}
	if (d->lost) {
		d->lost = false;
		proxy_lost(d->proxy, &d->up, now_ms(d));
	}
	if (d->fresh || (d->blocked && d->cur->state == CONN_OPEN && !conn_has_output(d->cur))) {
		d->fresh = d->blocked = false;
		proxy_ready(d->proxy, &d->up, now_ms(d));
	}
}

static void
step(void *self, const struct wants *ready, const struct now *now)
{
	struct dot *d = self;

	(void)now;
	step_old(d, ready);
	step_cur(d, ready);
	if (d->dropping || is_outdated(d))
		drop(d);
	/* Who waited for the connection comes first, before it can be called idle, or silent. */
	else if (!d->fresh && !d->kept && deadline(d) <= now_ms(d))
		on_deadline(d);
	report(d);
}

static void
flush(void *self)
{
	struct dot *d = self;

	conn_flush(d->cur);
}

/* ---- Set-up --------------------------------------------------------------------------------- */

void
dot_drop(struct dot *d)
{
	d->dropping = true;
}

void
dot_close(struct dot *d)
{
	hang_up(d);
	d->lost = false;
}

static size_t
padded(size_t n)
{
	return (n + 15u) & ~(size_t)15u;
}

size_t
dot_memory(void)
{
	return padded(sizeof(struct dot)) + 2 * padded(conn_memory());
}

struct dot *
dot_init(void *block, const struct addr *addr, const struct tls_rules *rules, bool keep_warm,
	 struct proxy *proxy, const struct now *now)
{
	struct dot *d = block;
	uint8_t *p = (uint8_t *)block + padded(sizeof(struct dot));

	d->up.send = take_message;
	d->up.wake = wake;
	d->up.keepalive = keepalive;
	addr_text(d->up.name, addr);
	d->addr = *addr;
	d->rules = *rules;
	d->label = rules->name[0] != '\0' ? rules->name : rules->pins > 0 ? "pinned" : "by address";
	d->rules.address = d->addr.ip;
	d->rules.address_len = addr->family == ADDR_V4 ? 4 : 16;
	d->keep_warm = keep_warm;
	d->proxy = proxy;
	d->now = now;
	d->rest_ms = DOT_REST_MIN_MS;
	d->granted_ms = UINT32_MAX;
	d->learnt_ms = DOT_IDLE_MAX_MS;
	d->cur = conn_init(p, &d->addr, &d->rules, &d->past, on_message, d);
	d->old = conn_init(p + padded(conn_memory()), &d->addr, &d->rules, &d->past, on_message, d);
	proxy_add_upstream(proxy, &d->up);
	return d;
}

struct member
dot_member(struct dot *d)
{
	return (struct member){.want = want, .step = step, .flush = flush, .self = d};
}
