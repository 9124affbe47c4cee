/* SPDX-License-Identifier: MIT */
/* Octets become events around a proxy with three upstreams, a small table and a small cache.  After each event the law
 * of proxy.h holds; every question ends exactly once, with the answer to itself; an ID is never given
 * to two questions of one connection.
 * Input: one octet for the policy and whether there is a cache, then events of one octet (its kind) and one or two that say more. */
#include "../unit/proxy_world.h"

#include "../unit/cache_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CLIENTS 6u
#define IDS 4096u /* many more than the table has slots */

static struct input {
	const uint8_t *at;
	size_t left;
} in;

static unsigned
octet(void)
{
	if (in.left == 0)
		return 0;
	in.left--;
	return *in.at++;
}

/* ---- The clients' side ------------------------------------------------------------------------ */

/* Each question has an ID of its own, so that its reply is known: who waits for it, and for what. */
static struct question {
	uint8_t who; /* 0 = nobody, else the client + 1 */
	bool has_opt, is_signed;
	uint16_t type;
	uint32_t expects;  /* the address in its answer */
	uint8_t first[11]; /* of its question, in its spelling; first[0] 0 = not known */
} waits[IDS];
static unsigned next_id;

static struct world_listener *
listener_of(unsigned client)
{
	return client % 2 == 0 ? &world.udp : &world.tcp;
}

static void
on_reply(struct world_listener *l, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct question *w = &waits[dns_id(msg) % IDS];
	struct edns_answer a;
	struct dns_rr rr;

	LAW(dns_id(msg) < IDS);
	LAW(w->who != 0 && to->token == w->who - 1u && l == listener_of(to->token));
	w->who = 0;
	if (dns_opcode(msg) != DNS_OP_QUERY)
		return; /* not implemented */
	LAW(edns_read_answer(msg, len, &a) == 0);
	LAW(w->is_signed || (a.opt_len != 0) == w->has_opt);
	if (w->first[0] != 0 && dns_qdcount(msg) == 1 && !w->is_signed)
		LAW(memcmp(msg + DNS_HEADER, w->first, sizeof(w->first)) == 0);
	/* An address in an answer says what it was the answer to. */
	if (dns_ancount(msg) == 1) {
		LAW(dns_qdcount(msg) == 1 && a.question.type == w->type);
		LAW(dns_read_rr(msg, len, a.question.end, &rr) == 0 && rr.rdlen == 4);
		LAW(get32(msg + rr.rdata) == w->expects);
	}
}

/* An ID that waits for nothing: raw messages come with 0, and may not be replied to twice. */
static unsigned
new_id(void)
{
	do
		next_id = (next_id + 1) % IDS;
	while (waits[next_id].who != 0);
	return next_id;
}

static void
ask(void)
{
	static const uint8_t padding[500];
	static struct made m;
	unsigned who = octet(), client = who % CLIENTS, shape = octet(), id = new_id();
	struct question *w = &waits[id];
	unsigned type = 1 + shape / 32 * 256 + shape % 8, flags = DNS_RD | (who >= 128 ? DNS_CD : 0);

	made_init(&m, id, flags);
	made_question(&m, shape & 1 ? "www.example" : "WWW.Example", type, 1);
	*w = (struct question){.who = (uint8_t)(client + 1), .type = (uint16_t)type};
	w->expects = flags << 16 | type;
	memcpy(w->first, m.buf + DNS_HEADER, sizeof(w->first));
	if (shape & 8) {
		made_opt(&m, 1232, shape & 16 ? EDNS_DO : 0);
		w->has_opt = true;
		if (shape & 4)
			made_option(&m, EDNS_PADDING, padding, sizeof(padding)); /* a long place */
	}
	if ((shape & 12) == 4) {
		made_rr(&m, MADE_ADDITIONAL, "key", DNS_TYPE_TSIG, 255, 0);
		made_rdata(&m, padding, 12);
		w->is_signed = true;
	}
	LAW(world_ask(listener_of(client), client, m.buf, m.len));
}

/* Whatever the input holds next. */
static void
ask_raw(void)
{
	static uint8_t msg[256];
	unsigned client = octet() % CLIENTS, id = new_id();
	size_t len = octet();

	for (size_t i = 0; i < len; i++)
		msg[i] = (uint8_t)octet();
	if (len >= 2)
		dns_set_id(msg, (uint16_t)id);
	waits[id] = (struct question){.who = (uint8_t)(client + 1)};
	if (len >= DNS_HEADER) {
		struct edns_facts f;
		enum dns_rcode rcode;
		enum edns_ede ede;

		edns_read_query(msg, len, &f, &rcode, &ede);
		waits[id].has_opt = f.has_opt;
		waits[id].is_signed = f.is_signed;
		waits[id].type = f.question_end > DNS_HEADER ? f.question.type : 0;
		waits[id].expects = ((uint32_t)dns_flags(msg) & (DNS_RD | DNS_CD)) << 16 | waits[id].type;
	}
	if (!world_ask(listener_of(client), client, msg, len))
		waits[id].who = 0;
}

static void
forget(void)
{
	unsigned client = octet() % CLIENTS;

	for (unsigned id = 0; id < IDS; id++)
		if (waits[id].who == client + 1)
			waits[id].who = 0;
	world_forget(listener_of(client), client);
}

/* ---- The upstreams' side ---------------------------------------------------------------------- */

/* What each upstream had in hand when its connection was replaced: sent[0..old) came over the one before.  And
 * how many it had ever taken then. */
static unsigned old[WORLD_UPS], taken[WORLD_UPS];

/* No two questions of one connection have the same ID, unless the table had to give spent ones up. */
static void
check_ids(void)
{
	const struct query_table *t = &world.proxy.table;

	if (t->open + t->spent == t->slots)
		return;
	for (unsigned u = 0; u < world.proxy.ups; u++)
		for (unsigned i = old[u]; i < world.up[u].count; i++) {
			const struct query *q = query_by_id(t, dns_id(world.up[u].sent[i].msg));

			for (unsigned j = old[u]; q != NULL && j < i; j++)
				LAW(dns_id(world.up[u].sent[j].msg) != q->id);
		}
}

/* Takes what comes over the connection that was replaced, and the same out of the new one, which nobody waits
 * for any more then. */
static struct world_sent
take(unsigned up, unsigned k)
{
	struct world_sent s = world_take(up, k);

	if (k >= old[up])
		return s;
	old[up]--;
	for (unsigned i = world.up[up].count; i-- > old[up];)
		if (dns_id(world.up[up].sent[i].msg) == dns_id(s.msg))
			world_take(up, i);
	return s;
}

/* The answer to s, then changed in one way. */
static void
answer(void)
{
	static struct made a;
	unsigned up = octet() % WORLD_UPS, which = octet(), how = octet();
	struct world_sent s;
	struct dns_question q;

	if (world.up[up].count == 0)
		return;
	s = take(up, which % world.up[up].count);
	if (dns_read_question(s.msg, s.len, &q) == -1)
		return;
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_RA | (dns_flags(s.msg) & (DNS_RD | DNS_CD)));
	made_octets(&a, s.msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	made_rr(&a, MADE_ANSWER, "12>", 1, 1, which / 16 * 5);
	made_u32(&a, ((uint32_t)dns_flags(s.msg) & (DNS_RD | DNS_CD)) << 16 | q.type);
	made_rdlen(&a);
	if (how & 16) {
		made_opt(&a, 1232, 0);
		made_option(&a, EDNS_KEEPALIVE, "\0\1", 2);
		made_option(&a, EDNS_EDE, (uint8_t[]){0, (uint8_t)(how >> 5 | (which & 3) << 3), 'x'}, 3);
	}
	switch (how % 16) {
	case 6: /* sour */
	case 7:
		dns_set_flags(a.buf, (uint16_t)(dns_flags(a.buf) | (how & 1 ? DNS_SERVFAIL : DNS_REFUSED)));
		break;
	case 8: /* an ID that differs in one bit */
		dns_set_id(a.buf, (uint16_t)(dns_id(a.buf) ^ 1u << which % 16));
		break;
	case 9: /* another type, with the address that fits it */
		put16(a.buf + q.end - 4, (uint16_t)(q.type + 1));
		put32(a.buf + q.end + 12, q.type + 1u);
		break;
	case 10: /* an error, which may mean that OPT is refused */
		dns_set_flags(a.buf, (uint16_t)(dns_flags(a.buf) | (which % 16)));
		break;
	case 11: /* cut */
		a.len = a.len * (which + 1) / 257;
		break;
	case 12: /* no question */
		dns_set_flags(a.buf, DNS_QR | DNS_SERVFAIL);
		put32(a.buf + 4, 0);
		put32(a.buf + 8, 0);
		a.len = DNS_HEADER;
		break;
	case 13: /* not an answer */
		dns_set_flags(a.buf, DNS_RD);
		break;
	case 14: /* twice */
		world_answer(up, a.buf, a.len);
		break;
	case 15: /* from somebody else */
		up = (up + 1) % WORLD_UPS;
		break;
	default:
		break;
	}
	world_answer(up, a.buf, a.len);
}

/* It is silent: what it has in hand may be answered yet, but others take questions, or a new connection does. */
static void
suspect(unsigned up)
{
	bool replaced = octet() & 1;

	if (replaced) {
		for (; old[up] > 0; old[up]--) /* there are no more than two connections */
			world_take(up, 0);
		old[up] = world.up[up].count;
		taken[up] = world.up[up].taken;
	}
	world_suspect(up, replaced);
}

/* The new connection could not be made. */
static void
keep(unsigned up)
{
	if (world.up[up].taken != taken[up])
		return;
	old[up] = 0;
	world_kept(up);
	world_ready(up);
}

static void
pass(void)
{
	unsigned how = octet();

	if (how >= 250)
		world_pass(DOT_PLAIN_MS / 2);
	else
		world_pass(how * how / 8);
}

static void
one_event(void)
{
	unsigned what = octet();
	unsigned up = what / 16 % WORLD_UPS;

	switch (what % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
		ask();
		break;
	case 4:
		ask_raw();
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		answer();
		break;
	case 9:
		world_ready(up);
		break;
	case 10:
		old[up] = 0;
		world_lost(up, (enum upstream_verdict)(octet() % 4));
		break;
	case 11: {
		unsigned how = octet();

		world.up[up].verdict = (enum upstream_verdict)(how % 4);
		world.up[up].woken = (enum upstream_verdict)(how / 4 % 4);
		world.up[up].up.trouble = how & 16 ? "trouble" : NULL;
		break;
	}
	case 12:
		forget();
		break;
	case 13: /* a burst */
		for (unsigned i = octet() % 80; i > 0; i--)
			ask();
		break;
	case 14:
		if (what & 128)
			keep(up);
		else
			suspect(up);
		break;
	default:
		pass();
		break;
	}
	check_ids();
}

/* Then nobody is left waiting. */
static void
all_are_well(void)
{
	const struct query_table *t = &world.proxy.table;

	for (unsigned u = 0; u < WORLD_UPS; u++)
		old[u] = world.up[u].count = 0;
	for (unsigned u = 0; u < WORLD_UPS; u++)
		world_ready(u);
	for (const struct query *q = query_first(t, QUERY_LIST_OPEN); q != NULL; q = query_next(t, q))
		LAW(q->state == QUERY_SENT || q->state == QUERY_TWIN);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct cache_rules rules = {0, 60, 120};
	unsigned how;

	in = (struct input){data, len};
	how = octet();
	world_start_with(QUERIES_MIN, WORLD_UPS, how & 1 ? POOL_FASTEST : POOL_ORDER);
	if ((how & 2) == 0)
		world_keep(2, &rules);
	world.on_reply = on_reply;
	memset(waits, 0, sizeof(waits));
	memset(old, 0, sizeof(old));
	memset(taken, 0xff, sizeof(taken));
	while (in.left > 0)
		one_event();
	all_are_well();
	/* In the end nobody waits: each was answered, or had left. */
	world_pass(QUERY_TIMEOUT_MS);
	LAW(world.proxy.table.open == 0);
	for (unsigned id = 0; id < IDS; id++)
		LAW(waits[id].who == 0);
	if ((how & 2) == 0)
		law_cache(&world.proxy.kept.cache);
	world_stop();
	return 0;
}
