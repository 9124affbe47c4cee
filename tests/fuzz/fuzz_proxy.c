/* SPDX-License-Identifier: MIT */
/* Octets become events around a proxy with three upstreams and a small table.  After each event the law
 * of proxy.h holds; every question ends exactly once, with the answer to itself; an ID is never given
 * to two questions of one connection.
 * Input: events of one octet (its kind) and one or two that say more. */
#include "../unit/proxy_world.h"

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
	/* An address in an answer says what it was the answer to. */
	if (dns_ancount(msg) == 1) {
		LAW(dns_qdcount(msg) == 1 && a.question.type == w->type);
		LAW(dns_read_rr(msg, len, a.question.end, &rr) == 0 && rr.rdlen == 4);
		LAW(get32(msg + rr.rdata) == w->type);
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
	unsigned client = octet() % CLIENTS, shape = octet(), id = new_id();
	struct question *w = &waits[id];
	unsigned type = 1 + shape / 32 * 256 + shape % 8;

	made_init(&m, id, DNS_RD);
	made_question(&m, shape & 1 ? "www.example" : "WWW.Example", type, 1);
	*w = (struct question){.who = (uint8_t)(client + 1), .type = (uint16_t)type};
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

/* No two questions of one connection have the same ID, unless the table had to give spent ones up. */
static void
check_ids(void)
{
	const struct query_table *t = &world.proxy.table;

	if (t->open + t->spent == t->slots)
		return;
	for (unsigned u = 0; u < world.proxy.ups; u++)
		for (unsigned i = 0; i < world.up[u].count; i++) {
			const struct query *q = query_by_id(t, dns_id(world.up[u].sent[i].msg));

			for (unsigned j = 0; q != NULL && j < i; j++)
				LAW(dns_id(world.up[u].sent[j].msg) != q->id);
		}
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
	s = world_take(up, which % world.up[up].count);
	if (dns_read_question(s.msg, s.len, &q) == -1)
		return;
	made_init(&a, dns_id(s.msg), DNS_QR | DNS_RD | DNS_RA);
	made_octets(&a, s.msg + DNS_HEADER, q.end - DNS_HEADER);
	made_count(&a, MADE_QUESTION, 1);
	made_rr(&a, MADE_ANSWER, "12>", 1, 1, 60);
	made_u32(&a, q.type);
	made_rdlen(&a);
	if (how & 16) {
		made_opt(&a, 1232, 0);
		made_option(&a, EDNS_KEEPALIVE, "\0\1", 2);
		made_option(&a, EDNS_EDE, "\0\1x", 3);
	}
	switch (how % 16) {
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
		world_lost(up, (enum upstream_verdict)(octet() % 4));
		break;
	case 11:
		world.up[up].verdict = (enum upstream_verdict)(octet() % 4);
		world.up[up].up.trouble = octet() & 1 ? "trouble" : NULL;
		break;
	case 12:
		forget();
		break;
	case 13: /* a burst */
		for (unsigned i = octet() % 80; i > 0; i--)
			ask();
		break;
	default:
		pass();
		break;
	}
	check_ids();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	world_start(QUERIES_MIN, WORLD_UPS);
	world.on_reply = on_reply;
	memset(waits, 0, sizeof(waits));
	in = (struct input){data, len};
	while (in.left > 0)
		one_event();
	/* In the end nobody waits: each was answered, or had left. */
	world_pass(QUERY_TIMEOUT_MS);
	LAW(world.proxy.table.open == 0);
	for (unsigned id = 0; id < IDS; id++)
		LAW(waits[id].who == 0);
	world_stop();
	return 0;
}
