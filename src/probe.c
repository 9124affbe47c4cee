/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <stdarg.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "bounds.h"
#include "cert.h"
#include "conn.h"
#include "dns.h"
#include "edns.h"
#include "entropy.h"
#include "now.h"
#include "pin.h"
#include "text.h"
#include "trust.h"
#include "wants.h"

/* What a number says that is none. */
enum { NOT_KNOWN = -1, NONE = -2 };

/* A fact as it is told.  For people the key's underscores are spaces. */
struct row {
	uint8_t kind;
	char key[13];
};
enum { TEXT, NUMBER, COUNT, TENTHS, IDLE, YES_NO, SEEN };

/* Of an upstream; texts come first. */
enum {
	ADDRESS,
	HOSTNAME,
	FORWARDED,
	TROUBLE,
	RCODE,
	CIPHER,
	ALPN,
	TEXTS,
	TCP_TIME = TEXTS,
	TLS_TIME,
	QUERY_TIME,
	NAME_HOLDS,
	ANCHOR_HOLDS,
	DATES_HOLD,
	PIN_HOLDS,
	RESUMES,
	KEEPALIVE,
	PADDING,
	OUT_OF_ORDER,
	IDLE_TIME,
	FACTS
};
static const struct row of_upstream[FACTS] = {
	{TEXT, "address"},	{TEXT, "hostname"},	{YES_NO, "forwarded"},	{TEXT, "trouble"},
	{TEXT, "rcode"},	{TEXT, "cipher"},	{TEXT, "alpn"},		{COUNT, "tcp_ms"},
	{COUNT, "tls_ms"},	{COUNT, "query_ms"},	{YES_NO, "name_holds"}, {YES_NO, "anchor_holds"},
	{YES_NO, "dates_hold"}, {YES_NO, "pin_holds"},	{YES_NO, "resumption"}, {TENTHS, "keepalive_s"},
	{COUNT, "padding"},	{SEEN, "out_of_order"}, {IDLE, "idle_s"},
};

/* Of a certificate, likewise. */
enum { SUBJECT, ISSUER, EXPIRES, KEY, PIN, DAYS_LEFT, PINNED, CERT_FACTS };
static const struct row of_certificate[CERT_FACTS] = {
	{TEXT, "subject"}, {TEXT, "issuer"},	  {TEXT, "expires"},  {TEXT, "key"},
	{TEXT, "pin"},	   {NUMBER, "days_left"}, {YES_NO, "pinned"},
};

/* A question on its way. */
struct asked {
	uint8_t msg[UPSTREAM_MSG_MAX];
	struct dns_question question;
	bool open;
};

/* What is used most comes first, for the sake of short code. */
struct probe {
	/* What was found, by row. */
	int n[FACTS];
	bool answered;
	bool came;	/* an answer, since await() began */
	bool overtaken; /* the slow question by the quick one */
	bool failed;	/* to print */
	const char *text[TEXTS];
	struct conn *conn;
	const struct probe_wishes *wish;
	struct now now;
	uint64_t until; /* the end of it all, monotonic */
	/* Not 0: for a connection that is made as if the clock stood there, and had never been set. */
	int64_t pretend_s;
	const char *between; /* two of a JSON list; or two upstreams */
	size_t used;	     /* of page */
	size_t certs;
	int (*say)(int fd, const char *text);
	struct tls_rules rules;
	struct tls_past past;
	char rcode[DNS_RCODE_TEXT_MAX];
	char trouble[400];
	size_t len[CHAIN_MAX];
	struct asked quick, slow;
	char page[PROBE_PAGE_MAX];
	uint8_t cert[CHAIN_MAX][CERT_MAX];
};

/* ---- Connections ---------------------------------------------------------------------------- */

static void
read_clock(struct probe *p)
{
	now_read(&p->now);
	if (p->pretend_s == 0)
		return;
	p->now.utc_s = p->pretend_s;
	p->now.unset = true;
}

/* Waits for the connection until then at most, and lets it step. */
static enum conn_event
turn(struct probe *p, uint64_t until)
{
	struct wants w = {.deadline = until};
	struct timeval tv = {0};

	conn_flush(p->conn);
	conn_want(p->conn, &w);
	wants_by(&w, p->until);
	read_clock(p);
	if (w.deadline > p->now.mono_ms) {
		tv.tv_sec = (time_t)((w.deadline - p->now.mono_ms) / 1000);
		tv.tv_usec = (suseconds_t)((w.deadline - p->now.mono_ms) % 1000 * 1000);
	}
	if (select(w.nfds, &w.rd, &w.wr, NULL, &tv) <= 0)
		w = (struct wants){.nfds = 0};
	read_clock(p);
	return conn_step(p->conn, &w, &p->now);
}

/* Returns whether the server has proved by these rules who it is. */
static bool
connect_by(struct probe *p, const struct tls_rules *rules, struct tls_past *past)
{
	enum conn_event event = CONN_NOTHING;

	conn_close(p->conn);
	p->conn->rules = rules;
	p->conn->past = past;
	read_clock(p);
	if (conn_open(p->conn, &p->now) == -1)
		return false;
	while (event == CONN_NOTHING && p->now.mono_ms < p->until)
		event = turn(p, UINT64_MAX);
	return event == CONN_OPENED;
}

/* Keeps a certificate, for it is told of also when it is refused. */
static void
on_certificate(void *ctx, const uint8_t *der, size_t len)
{
	struct probe *p = ctx;

	if (p->certs == CHAIN_MAX || len > CERT_MAX)
		return;
	memcpy(p->cert[p->certs], der, len);
	p->len[p->certs++] = len;
}

/* ---- Questions ------------------------------------------------------------------------------ */

/* Writes a name as it is on the wire.  Returns its length, at most cap; 0 when it is none. */
static size_t
put_name(uint8_t *out, size_t cap, const char *name)
{
	size_t at = 0;

	while (*name != '\0') {
		size_t n = text_until(name, ".");

		if (n == 0 || n > 63 || at + 1 + n + 1 > cap)
			return 0;
		out[at] = (uint8_t)n;
		memcpy(out + at + 1, name, n);
		at += 1 + n;
		name += n;
		name += *name == '.';
	}
	out[at] = 0;
	return at + 1;
}

bool
probe_is_name(const char *name)
{
	uint8_t out[DNS_NAME_MAX];

	return name[0] != '\0' && put_name(out, sizeof(out), name) != 0;
}

/* A label that nobody has asked for before. */
#define LABEL 16u

/* Asks for the name as a client would, through what is made of clients' queries; slow: for a name below it,
 * which the server has to look up itself.  Returns whether the question is on its way. */
static bool
ask(struct probe *p, struct asked *a, bool slow)
{
	uint8_t query[DNS_HEADER + DNS_NAME_MAX + 4] = {0}, some[2 + LABEL];
	size_t at = DNS_HEADER, n;
	struct edns_facts f;
	enum dns_rcode rcode;
	enum edns_ede ede;

	if (entropy_fill(some, sizeof(some)) == -1)
		return false;
	if (slow) {
		query[at++] = LABEL;
		for (size_t i = 0; i < LABEL; i++)
			query[at++] = (uint8_t)('a' + some[2 + i] % 26);
	}
	n = put_name(query + at, DNS_HEADER + DNS_NAME_MAX - at, p->wish->name);
	at += n;
	put16(query + at, 1);	  /* A */
	put16(query + at + 2, 1); /* IN */
	put16(query + 4, 1);	  /* one question */
	dns_set_flags(query, DNS_RD);
	if (n == 0 || edns_read_query(query, at + 4, &f, &rcode, &ede) != EDNS_FORWARD)
		return false;
	n = edns_make_query(a->msg, query, at + 4, &f, get16(some), false);
	a->question = f.question;
	read_clock(p);
	a->open = conn_send(p->conn, a->msg, n, p->now.mono_ms);
	return a->open;
}

/* Whether this is the answer to what was asked. */
static bool
answers(struct asked *a, const uint8_t *msg, const struct edns_answer *answer)
{
	if (!a->open || dns_id(msg) != dns_id(a->msg) || dns_qdcount(msg) != 1 ||
	    !dns_same_question(msg, &answer->question, a->msg, &a->question))
		return false;
	a->open = false;
	return true;
}

static int
padding_of(const struct edns_answer *a, size_t len)
{
	/* RFC 8467 section 4.1 has the one for answers, and the other for queries. */
	if (!a->has_padding)
		return NONE;
	return len % 468 == 0 ? 468 : len % PAD_BLOCK == 0 ? (int)PAD_BLOCK : 1;
}

static void
on_message(void *ctx, uint8_t *msg, size_t len)
{
	struct probe *p = ctx;
	struct edns_answer a;

	if (edns_read_answer(msg, len, &a) == -1)
		return;
	if (answers(&p->slow, msg, &a))
		p->came = true;
	if (!answers(&p->quick, msg, &a))
		return;
	p->came = true;
	p->overtaken = p->slow.open;
	p->answered = true;
	p->text[RCODE] = dns_rcode_text(p->rcode, a.rcode);
	p->n[KEEPALIVE] = a.has_keepalive ? a.keepalive : NONE;
	p->n[PADDING] = padding_of(&a, len);
}

/* Waits for so long, for an answer to come, or for the end of the connection. */
static void
await(struct probe *p, unsigned ms)
{
	uint64_t until = p->now.mono_ms + ms;

	p->came = false;
	while (!p->came && p->conn->state == CONN_OPEN && p->now.mono_ms < until && p->now.mono_ms < p->until)
		(void)turn(p, until);
}

/* One question and its answer.  Returns how long that took, or NOT_KNOWN when no answer came. */
static int
exchange(struct probe *p)
{
	uint64_t began;

	if (!ask(p, &p->quick, false))
		return NOT_KNOWN;
	began = p->now.mono_ms;
	await(p, PROBE_ANSWER_MS);
	return p->came ? (int)(p->now.mono_ms - began) : NOT_KNOWN;
}

/* The middle of a few times. */
static void
measure_queries(struct probe *p)
{
	int sorted[PROBE_QUERIES], took, at;
	int n = 0;

	for (; n < (int)PROBE_QUERIES && (took = exchange(p)) != NOT_KNOWN; n++) {
		for (at = n; at > 0 && sorted[at - 1] > took; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = took;
	}
	if (n > 0)
		p->n[QUERY_TIME] = sorted[n / 2];
}

/* RFC 7766 section 6.2.1.1: an answer does not wait for that to an earlier question. */
static void
watch_order(struct probe *p)
{
	if (!ask(p, &p->slow, true) || !ask(p, &p->quick, false))
		return;
	await(p, PROBE_ANSWER_MS);
	if (p->came)
		p->n[OUT_OF_ORDER] = p->overtaken;
	p->slow.open = false;
}

static void
watch_idle(struct probe *p)
{
	uint64_t since;

	p->until = UINT64_MAX;
	if (exchange(p) == NOT_KNOWN)
		return;
	since = p->now.mono_ms;
	await(p, PROBE_IDLE_MS);
	p->n[IDLE_TIME] = (int)((p->now.mono_ms - since) / 100);
}

/* ---- Which of the rules hold ---------------------------------------------------------------- */

/* Whether the server would be believed by other rules: one handshake and not one octet more.  With its own
 * key as the only pin it needs nobody to vouch for it, or with anchors no name. */
static int
would_hold(struct probe *p, const char *name, const struct pin *own, bool anchors, int64_t pretend_s)
{
	struct tls_rules r = p->rules;
	bool open;

	r.name = name;
	r.pin = own;
	r.pins = 1;
	r.trust_given = anchors;
	r.strict_clock &= pretend_s == 0;
	p->pretend_s = pretend_s;
	open = connect_by(p, &r, NULL);
	conn_close(p->conn);
	p->pretend_s = 0;
	read_clock(p);
	return open || p->conn->distrust ? open : NOT_KNOWN;
}

static int
name_holds(struct probe *p, const struct pin *own, const struct cert_facts *leaf)
{
	const struct tls_rules *r = &p->rules;
	int holds;

	if (r->name[0] == '\0')
		return cert_names_address(p->cert[0], leaf, r->address, r->address_len);
	holds = would_hold(p, r->name, own, false, 0);
	/* Unless it is not the name that it fails for. */
	return holds != 0 || would_hold(p, "", own, false, 0) == 1 ? holds : NOT_KNOWN;
}

static bool
is_pinned(const struct probe *p, const struct pin *pin)
{
	return pin_is_among(pin, p->rules.pin, p->rules.pins);
}

/* After the others. */
static int
pin_holds(const struct probe *p, const struct pin *own, bool any)
{
	if (p->rules.pins == 0)
		return NOT_KNOWN;
	if (p->n[FORWARDED] || is_pinned(p, own))
		return true;
	/* An issuer's pin counts where the issuer has been verified, and an anchor is seldom sent along. */
	if (p->n[NAME_HOLDS] == 1 && p->n[ANCHOR_HOLDS] == 1 && p->n[DATES_HOLD] == 1)
		return false;
	return p->n[ANCHOR_HOLDS] == 0 && !any ? false : NOT_KNOWN;
}

/* Tells the checks apart by connections that leave some out; those have one verdict alone. */
static void
tell_checks_apart(struct probe *p)
{
	struct cert_facts facts, leaf;
	int64_t end_s = INT64_MAX;
	struct pin pin, own;
	bool any = false;

	if (p->certs == 0 || cert_read(p->cert[0], p->len[0], &leaf) == -1)
		return;
	trust_pin_of(&own, p->cert[0], &leaf.spki);
	for (size_t i = 0; i < p->certs; i++) {
		if (cert_read(p->cert[i], p->len[i], &facts) == -1)
			continue;
		if (facts.not_after < end_s)
			end_s = facts.not_after;
		trust_pin_of(&pin, p->cert[i], &facts.spki);
		any |= is_pinned(p, &pin);
	}
	if (p->n[FORWARDED] && p->rules.pins == 0) {
		p->n[NAME_HOLDS] = p->n[ANCHOR_HOLDS] = true;
		p->n[DATES_HOLD] = p->now.unset ? NOT_KNOWN : true;
		return;
	}
	p->n[NAME_HOLDS] = name_holds(p, &own, &leaf);
	/* At the first end of validity, with begins passed over, no date is in the way. */
	p->n[ANCHOR_HOLDS] = would_hold(p, "", &own, true, end_s);
	if (p->n[ANCHOR_HOLDS] == 1 && !p->now.unset)
		p->n[DATES_HOLD] = would_hold(p, "", &own, true, 0);
	p->n[PIN_HOLDS] = pin_holds(p, &own, any);
}

/* ---- Output --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void
put(struct probe *p, const char *fmt, ...)
{
	size_t room = sizeof(p->page) - p->used, n;
	va_list ap;

	va_start(ap, fmt);
	n = (size_t)text_make_v(p->page + p->used, room, fmt, ap);
	va_end(ap);
	p->used += n < room ? n : room - 1;
}

static void
print(struct probe *p)
{
	p->failed |= p->say(STDOUT_FILENO, p->page) == -1;
	p->used = 0;
}

/* Writes what a number says.  Returns out; NULL for nothing. */
static const char *
number_text(const struct probe *p, unsigned kind, int n, char out[32])
{
	bool json = p->wish->json;

	if (n == NONE && kind != NUMBER && !json)
		return "none";
	if (n < 0 && kind != NUMBER)
		return NULL;
	if (kind >= YES_NO && json)
		return n ? "true" : "false";
	if (kind >= YES_NO)
		return n ? "yes" : kind == SEEN ? "not seen" : "no";
	if (kind >= TENTHS)
		text_make(out, 32, "%s%d.%d",
			  kind == IDLE && n >= (int)(PROBE_IDLE_MS / 100) && !json ? "longer than " : "",
			  n / 10, n % 10);
	else
		text_make(out, 32, "%d", n);
	return out;
}

static void
tell(struct probe *p, const struct row *r, const char *value)
{
	bool json = p->wish->json;
	const char *quote = json && r->kind == TEXT && value != NULL ? "\"" : "";
	char key[sizeof(r->key)];

	if (value == NULL && !json)
		return;
	memcpy(key, r->key, sizeof(key));
	for (char *s = key; *s != '\0' && !json; s++)
		*s = *s == '_' ? ' ' : *s;
	put(p, json ? "%s\"%s\": %s" : "%s%-14s%s", p->between, key, quote);
	for (const char *s = value != NULL ? value : "null"; *s != '\0'; s++)
		put(p, "%s%c", json && (*s == '"' || *s == '\\') ? "\\" : "", *s);
	put(p, "%s", json ? quote : "\n");
	p->between = json ? ", " : "";
}

static void
tell_all(struct probe *p, const struct row *r, const char *const *told, const int *n, size_t count)
{
	char text[32];

	for (size_t i = 0; i < count; i++)
		tell(p, &r[i], r[i].kind == TEXT ? told[i] : number_text(p, r[i].kind, n[i], text));
}

/* "2026-11-26".  Years begin in March here, so that a leap day is their last. */
static char *
date_text(char out[32], int64_t utc_s)
{
	unsigned days = utc_s > 0 ? (unsigned)(utc_s / 86400) + 719468 : 719468, day = days % 146097;
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365, month;

	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153;
	day -= (153 * month + 2) / 5;
	text_make(out, 32, "%04u-%02u-%02u", days / 146097 * 400 + year + (month > 9),
		  month > 9 ? month - 9 : month + 3, day + 1);
	return out;
}

static const char *
key_text(char out[32], const struct cert_facts *f)
{
	static const char kind[][6] = {"other", "", "P-256", "P-384", "P-521"};

	if (f->key != CERT_KEY_RSA)
		return kind[f->key];
	text_make(out, 32, "RSA %zu", f->modulus.len * 8);
	return out;
}

static void
tell_certificate(struct probe *p, const uint8_t *der, size_t len)
{
	char subject[CERT_NAME_MAX], issuer[CERT_NAME_MAX], date[32], kind[32], pin[PIN_TEXT_MAX];
	const char *told[DAYS_LEFT];
	int n[CERT_FACTS] = {0};
	struct cert_facts f;
	struct pin key;

	if (cert_read(der, len, &f) == -1) {
		tell(p, of_certificate, "cannot be read");
		return;
	}
	trust_pin_of(&key, der, &f.spki);
	told[SUBJECT] = cert_name_text(subject, der, &f.subject);
	told[ISSUER] = cert_name_text(issuer, der, &f.issuer);
	told[EXPIRES] = date_text(date, f.not_after);
	n[DAYS_LEFT] = (int)((f.not_after - p->now.utc_s) / 86400);
	told[KEY] = key_text(kind, &f);
	told[PIN] = pin_text(pin, &key);
	n[PINNED] = p->rules.pins > 0 ? is_pinned(p, &key) : NOT_KNOWN;
	tell_all(p, of_certificate, told, n, CERT_FACTS);
}

static void
tell_upstream(struct probe *p)
{
	bool json = p->wish->json;
	char address[ADDR_TEXT_MAX];

	p->text[ADDRESS] = addr_text(address, p->conn->addr);
	if (p->rules.name[0] != '\0')
		p->text[HOSTNAME] = p->rules.name;
	tell_all(p, of_upstream, p->text, p->n, FACTS);
	put(p, json ? ", \"chain\": [" : "");
	for (size_t i = 0; i < p->certs; i++) {
		p->between = !json ? "\n" : i == 0 ? "\n  {" : "},\n  {";
		tell_certificate(p, p->cert[i], p->len[i]);
	}
	put(p, json ? p->certs > 0 ? "}]}" : "]}" : "");
	print(p);
	p->between = json ? ",\n{" : "\n\n";
}

/* ---- Interface ------------------------------------------------------------------------------ */

size_t
probe_memory(void)
{
	return ((sizeof(struct probe) + 15u) & ~(size_t)15u) + conn_memory();
}

struct probe *
probe_init(void *block, const struct probe_wishes *wishes, int (*say)(int fd, const char *text))
{
	struct probe *p = block;
	uint8_t *behind = (uint8_t *)block + ((sizeof(struct probe) + 15u) & ~(size_t)15u);

	p->wish = wishes;
	p->say = say;
	p->between = wishes->json ? "{\"upstreams\": [\n{" : "";
	p->conn = conn_init(behind, NULL, NULL, NULL, on_message, p);
	return p;
}

/* By the rules in force: what serving would meet. */
static void
probe_as_served(struct probe *p)
{
	struct conn *c = p->conn;

	c->tcp_ms = 0;
	c->trouble[0] = '\0';
	tls_watch_chain(c->tls, on_certificate, p);
	p->n[FORWARDED] = connect_by(p, &p->rules, &p->past);
	tls_watch_chain(c->tls, NULL, NULL);
	if (c->tcp_ms != 0)
		p->n[TCP_TIME] = (int)(c->tcp_ms - c->begun_ms);
	if (p->n[FORWARDED]) {
		p->n[TLS_TIME] = (int)(c->opened_ms - c->tcp_ms);
		p->text[CIPHER] = tls_cipher(c->tls);
		p->text[ALPN] = tls_protocol(c->tls);
		if (p->text[ALPN] == NULL && !p->wish->json)
			p->text[ALPN] = "none";
		measure_queries(p);
		if (p->answered)
			watch_order(p);
	}
	if (p->answered)
		return;
	text_make(p->trouble, sizeof(p->trouble), "%s", c->trouble[0] != '\0' ? c->trouble : "does not answer");
	p->text[TROUBLE] = p->trouble;
}

bool
probe_upstream(struct probe *p, const struct addr *addr, const struct tls_rules *rules)
{
	p->answered = p->overtaken = false;
	p->certs = 0;
	memset(&p->past, 0, sizeof(p->past));
	memset(p->n, 0xff, sizeof(p->n)); /* NOT_KNOWN */
	memset(p->text, 0, sizeof(p->text));
	p->conn->addr = addr;
	p->rules = *rules;
	p->rules.address = addr->ip;
	p->rules.address_len = addr->family == ADDR_V4 ? 4 : 16;
	read_clock(p);
	p->until = p->now.mono_ms + PROBE_MS;
	probe_as_served(p);
	tell_checks_apart(p);
	if (p->n[FORWARDED] && connect_by(p, &p->rules, &p->past)) {
		p->n[RESUMES] = tls_effort(p->conn->tls) == TLS_RESUMED;
		if (p->wish->idle)
			watch_idle(p);
	}
	conn_close(p->conn);
	tell_upstream(p);
	return p->answered;
}

int
probe_end(struct probe *p)
{
	if (p->wish->json) {
		put(p, "\n]}\n");
		print(p);
	}
	return p->failed ? -1 : 0;
}
