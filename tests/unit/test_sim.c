/* SPDX-License-Identifier: MIT */
/* The real core, with real upstreams and real TLS, on a network and a clock that are made up: hours pass in
 * seconds, and all that goes wrong on the way is chosen by chance, which DNPROXY_SIM_SEED repeats.
 * DNPROXY_SIM_HOURS is how long the long runs last together, and DNPROXY_SIM_TRACE tells all that happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is asserted everywhere: with the seed and the time, so that it can be seen again. */
static void broken(const char *file, int line, const char *what);
#define LAW(holds) ((holds) ? (void)0 : broken(__FILE__, __LINE__, #holds))

#include "dot.h"
#include "fake_net.h"
#include "log.h"
#include "proxy_world.h"

#define NAME "dns.example"
#define SLOTS 1024
#define LATE_MS 20 /* how late a busy machine wakes us */
#define ASKED 4096 /* outstanding questions that are looked after */

static struct made_key root_key, key;
static struct made_cert root, leaf, expired;
static const struct trust *trust;
static void *trust_block;

static uint64_t seed;
static bool trace;    /* all that happens is told: a lot */
static bool sluggish; /* the machine is busy: now and then it wakes up late */
static struct now now;
static unsigned dots;
static struct dot *dot[FAKE_SERVERS];

/* ---- Clients ---------------------------------------------------------------------------------- */

/* By token; one that is free has asked_ms 0. */
static struct asked {
	uint64_t asked_ms;
	uint32_t token;
	bool stream;
} asked[ASKED];

static struct {
	uint32_t tokens;
	unsigned open;
	uint64_t replies, good;
	/* Of the last reply: */
	bool was_good;
	uint64_t took_ms;
	uint64_t asked_ms;
	uint64_t worst_ms;
} clients;

/* What a test has to say of each reply. */
static void (*on_answer)(uint64_t asked_ms, bool good);

static void
broken(const char *file, int line, const char *what)
{
	print_error("%s:%d: broken: %s\n", file, line, what);
	print_error("seed %llu, %llu ms after the start, %u open\n", (unsigned long long)seed,
		    (unsigned long long)now.mono_ms, clients.open);
	for (unsigned i = 0; i < dots; i++)
		print_error("upstream %u: state %d, old %d, resting %d, %u failures, doubted %d, %s\n", i,
			    (int)dot[i]->cur->state, (int)dot[i]->old->state, dot[i]->resting, dot[i]->failures,
			    world.proxy.pool.member[i].doubted, dot[i]->trouble);
	for (unsigned i = 0; i < dots; i++)
		print_error("server %u: delay %u, think %u, idle %u, keepalive %d%s%s%s%s%s\n", i,
			    fake.server[i].delay, fake.server[i].think, fake.server[i].idle,
			    fake.server[i].keepalive, fake.server[i].drop ? ", no path" : "",
			    fake.server[i].hang ? ", hangs" : "", fake.server[i].refuse ? ", refuses" : "",
			    fake.server[i].servfail ? ", fails" : "",
			    fake.server[i].leaf == &expired.x509 ? ", expired" : "");
	fail();
}

static void
on_reply(struct world_listener *l, const struct origin *to, const uint8_t *msg, size_t len)
{
	struct asked *a = &asked[to->token % ASKED];

	(void)l;
	LAW(len >= DNS_HEADER && a->asked_ms != 0 && a->token == to->token);
	clients.replies++;
	clients.open--;
	clients.was_good = dns_rcode(msg) == DNS_NOERROR;
	clients.good += clients.was_good;
	clients.asked_ms = a->asked_ms;
	clients.took_ms = now.mono_ms - a->asked_ms;
	if (clients.took_ms > clients.worst_ms)
		clients.worst_ms = clients.took_ms;
	if (trace)
		print_message("# %llu ms: %u is answered, %s\n", (unsigned long long)now.mono_ms,
			      (unsigned)to->token, clients.was_good ? "well" : "SERVFAIL");
	LAW(clients.took_ms <= 4000);
	a->asked_ms = 0;
	if (on_answer != NULL)
		on_answer(clients.asked_ms, clients.was_good);
}

static void
client_asks_for(const char *name, bool stream)
{
	static struct made m;
	uint32_t token = ++clients.tokens;
	struct asked *a = &asked[token % ASKED];
	struct origin from = world_origin(stream ? &world.tcp : &world.udp, token);

	LAW(a->asked_ms == 0);
	*a = (struct asked){now.mono_ms, token, stream};
	clients.open++;
	made_init(&m, token & 0xffff, DNS_RD);
	made_question(&m, name, 1, 1);
	made_opt(&m, 1232, 0);
	if (trace)
		print_message("# %llu ms: %u asks\n", (unsigned long long)now.mono_ms, (unsigned)token);
	LAW(proxy_ask(&world.proxy, &from, m.buf, m.len, now.mono_ms));
}

static void
client_asks(bool stream)
{
	client_asks_for(world_name(), stream);
}

/* A client over TCP goes away; where there is none with an open question, nobody does. */
static void
client_vanishes(void)
{
	for (uint32_t i = 0; i < 64 && i < clients.tokens; i++) {
		struct asked *a = &asked[(clients.tokens - i) % ASKED];
		struct origin gone = {.via = &world.tcp.listener, .token = a->token};

		if (a->asked_ms == 0 || !a->stream)
			continue;
		a->asked_ms = 0;
		clients.open--;
		proxy_forget(&world.proxy, &gone);
		return;
	}
}

/* ---- The loop --------------------------------------------------------------------------------- */

/* What the test does of itself: when, and what. */
static uint64_t (*plan_due)(void);
static void (*plan_step)(void);

static unsigned restless; /* turns in which no time passed */

static void
gather(struct wants *w)
{
	FD_ZERO(&w->rd);
	FD_ZERO(&w->wr);
	w->nfds = 0;
	w->deadline = NEVER;
	for (unsigned i = 0; i < dots; i++) {
		struct member member = dot_member(dot[i]);

		member.want(member.self, w);
	}
	wants_by(w, proxy_deadline(&world.proxy));
}

static void
wait_until(uint64_t next)
{
	if (next > now.mono_ms)
		restless = 0;
	/* A loop that turns for nothing would show here. */
	LAW(++restless < 100);
	if (next > now.mono_ms) {
		now.utc_s += (int64_t)(next / 1000 - now.mono_ms / 1000);
		now.mono_ms = next;
	}
	world.now = now.mono_ms;
	fake_pass(now.mono_ms);
}

/* One turn of the loop, which lasts until the given time at most. */
static void
turn(uint64_t until)
{
	struct wants w, ready;
	uint64_t next = until;

	gather(&w);
	ready = w;
	if (fake_select(&ready)) {
		next = now.mono_ms;
	} else {
		next = fake_sooner(next, fake_sooner(w.deadline, fake_due()));
		if (plan_due != NULL)
			next = fake_sooner(next, plan_due());
		if (sluggish && fake_chance(32) == 0)
			next += fake_chance(LATE_MS + 1);
	}
	wait_until(next);
	log_tick(now.mono_ms);
	(void)fake_select(&w);
	for (unsigned i = 0; i < dots; i++) {
		struct member member = dot_member(dot[i]);

		member.step(member.self, &w, &now);
	}
	proxy_tick(&world.proxy, now.mono_ms);
	if (plan_step != NULL)
		plan_step();
	for (unsigned i = 0; i < dots; i++) {
		struct member member = dot_member(dot[i]);

		member.flush(member.self);
	}
	world_check();
	LAW(world.proxy.table.open == clients.open);
	LAW(fake.fds <= 3 * dots);
}

static void
pass(uint64_t ms)
{
	uint64_t end = now.mono_ms + ms;

	do
		turn(end);
	while (now.mono_ms < end);
}

static void
start(unsigned ups, enum pool_policy policy, bool keep_warm)
{
	struct tls_rules rules = {.name = NAME, .trust = trust};
	struct addr addr;

	world_start_with(SLOTS, 0, policy);
	world.on_reply = on_reply;
	memset(asked, 0, sizeof(asked));
	memset(&clients, 0, sizeof(clients));
	on_answer = NULL;
	plan_due = NULL;
	plan_step = NULL;
	sluggish = false;
	restless = 0;
	now = (struct now){.mono_ms = world.now, .utc_s = MADE_NOW};
	fake_start(seed, now.mono_ms, &key, &leaf);
	for (dots = 0; dots < ups; dots++) {
		assert_int_equal(addr_parse(&addr, "192.0.2.0"), 0);
		addr.ip[3] = (uint8_t)dots;
		addr.port = DOT_PORT;
		free(dot[dots]);
		dot[dots] = dot_init(calloc(1, dot_memory()), &addr, &rules, keep_warm, &world.proxy, &now);
	}
}

/* Lets everything come to rest: then nothing is left of what there was. */
static void
drain(void)
{
	plan_due = NULL;
	plan_step = NULL;
	fake_heal();
	pass(2 * DOT_IDLE_MAX_MS);
	LAW(clients.open == 0 && world.proxy.table.open == 0 && world.proxy.table.spent == 0);
	LAW(world.proxy.table.free_places == QUERIES_LONG);
	for (unsigned i = 0; i < dots; i++) {
		LAW(dot[i]->cur->state == CONN_CLOSED || dot[i]->keep_warm);
		LAW(dot[i]->old->state == CONN_CLOSED);
	}
	LAW(fake.fds == 0 || dot[0]->keep_warm);
	LAW(fake.fds <= dots);
}

/* ---- An idle close that crosses a question ----------------------------------------------------- */

static uint64_t
opened(void)
{
	return dot[0]->opened[0] + dot[0]->opened[1] + dot[0]->opened[2];
}

static struct fake_flow *
current_flow(void)
{
	return dot[0]->cur->fd != -1 ? fake_flow_of(dot[0]->cur->fd) : NULL;
}

static void
ask_and_wait(void)
{
	uint64_t replies = clients.replies;

	client_asks(false);
	while (clients.replies == replies)
		turn(now.mono_ms + 1);
	LAW(clients.was_good);
}

/* When we would close, as things stand. */
static uint64_t
our_close(void)
{
	struct wants w;

	gather(&w);
	return w.deadline;
}

/* One question aimed at the close, a little before or behind it: at the server's, or at ours, which comes
 * first when we have learnt. */
static void
one_try(struct fake_server *s, bool learnt)
{
	uint64_t aim, replies, before, resumed;
	uint32_t d = s->delay, trips;

	if (current_flow() == NULL || current_flow()->closed)
		ask_and_wait();
	pass(2 * d); /* what still comes after an answer */
	if (!learnt)
		dot[0]->learnt_ms = DOT_IDLE_MAX_MS;
	aim = current_flow()->active_ms + s->idle;
	if (our_close() < aim)
		aim = our_close();
	aim = aim - 2 * d + fake_chance(4 * d + 1);
	if (aim > now.mono_ms)
		pass(aim - now.mono_ms);
	replies = clients.replies;
	before = opened();
	resumed = dot[0]->opened[TLS_RESUMED];
	client_asks(false);
	while (clients.replies == replies)
		turn(now.mono_ms + 1);
	LAW(clients.was_good);
	LAW(opened() <= before + 1);
	/* TCP, TLS (one when it is resumed, else two), the question, and the one that was lost. */
	trips = dot[0]->opened[TLS_RESUMED] > resumed ? 4 : 5;
	LAW(clients.took_ms <= trips * 2 * d + 2 * s->think);
}

static void
a_close_after(uint32_t idle_ms, int keepalive, bool keep_warm)
{
	struct fake_server *s = &fake.server[0];
	uint64_t failed = 0;

	for (unsigned how = 0; how < FAKE_CLOSES; how++) {
		start(1, POOL_ORDER, keep_warm);
		s->idle = idle_ms;
		s->how = (enum fake_close)how;
		s->keepalive = keepalive;
		for (unsigned i = 0; i < 1000 / FAKE_CLOSES + 1; i++) {
			s->delay = i % 50 == 0 ? fake_between(1, 30) : s->delay;
			one_try(s, i % 2 == 1);
		}
		failed += world.proxy.count.failed;
		LAW(dot[0]->failures == 0);
		LAW(s->closed >= 100 || idle_ms > DOT_IDLE_MS);
		LAW(dot[0]->opened[TLS_FULL] <= 1 + now.mono_ms / 1000 / TLS_SESSION_S);
		drain();
	}
	LAW(failed == 0);
}

static void
a_close_after_1_s_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(1000, -1, false);
}

static void
a_close_after_2_s_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(2000, -1, false);
}

static void
a_close_after_5_s_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(5000, -1, false);
}

/* We close first, unless the server has told us to wait for longer than it waits itself. */
static void
a_close_after_10_s_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(10000, -1, false);
	a_close_after(10000, 600, false);
}

static void
a_close_after_30_s_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(30000, -1, false);
	a_close_after(30000, 600, false);
}

static void
a_close_of_what_is_kept_warm_costs_nobody_anything(void **state)
{
	(void)state;
	a_close_after(2000, -1, true);
	a_close_after(30000, -1, true);
}

/* ---- The only upstream is gone, and comes back ------------------------------------------------- */

#define EVERY_MS 100

static uint64_t next_ask, back_ms, first_ms;

static uint64_t
steady_due(void)
{
	return next_ask;
}

static void
steady_step(void)
{
	if (now.mono_ms < next_ask)
		return;
	client_asks(false);
	next_ask = now.mono_ms + EVERY_MS;
}

static void
note_first(uint64_t asked_ms, bool good)
{
	(void)asked_ms;
	if (good && now.mono_ms >= back_ms && first_ms == 0)
		first_ms = now.mono_ms;
}

enum absence { DEAD_PATH, HANGS, REFUSES, NO_ROUTE, FORGOTTEN, DEAD_PATH_THEN_NO_ROUTE };

static void
set_absence(enum absence how, bool on)
{
	struct fake_server *s = &fake.server[0];

	switch (how) {
	case DEAD_PATH:
		s->drop = on;
		break;
	case HANGS:
		s->hang = on;
		break;
	case REFUSES:
		if (on)
			fake_restart(s, false);
		s->refuse = on;
		break;
	case NO_ROUTE:
		fake.no_route = on;
		if (!on)
			fake_move();
		break;
	case FORGOTTEN:
		s->drop = on;
		fake_forget(s);
		break;
	default:
		break;
	}
}

/* Where no answer at all tells that it is there, we look every second; a server that refuses is looked at once
 * a second as well, when somebody asks. */
static uint64_t
bound(enum absence how)
{
	return how == REFUSES ? POOL_WAKE_MS + EVERY_MS + 4 * 2 * fake.server[0].delay : 1000;
}

/* Returns how long after its return the first answer came. */
static uint64_t
absent_for(enum absence how, uint64_t ms)
{
	back_ms = NEVER;
	first_ms = 0;
	if (how == DEAD_PATH_THEN_NO_ROUTE) {
		set_absence(DEAD_PATH, true);
		pass(ms);
		set_absence(NO_ROUTE, true);
		/* Until what was begun before is over: its SYNs come from an address that is no more. */
		pass(fake_between(DOT_HANDSHAKE_MS, 6000));
		set_absence(DEAD_PATH, false);
		set_absence(NO_ROUTE, false);
	} else {
		set_absence(how, true);
		pass(ms);
		set_absence(how, false);
	}
	back_ms = now.mono_ms;
	while (first_ms == 0) {
		turn(now.mono_ms + 1000);
		LAW(now.mono_ms < back_ms + 20000);
	}
	return first_ms - back_ms;
}

static void
the_only_upstream_answers_within_1_s_of_its_return(enum absence how, unsigned times)
{
	uint64_t worst = 0, took;

	start(1, POOL_ORDER, false);
	fake.server[0].idle = 10000;
	plan_due = steady_due;
	plan_step = steady_step;
	on_answer = note_first;
	next_ask = now.mono_ms;
	for (unsigned i = 0; i < times; i++) {
		/* Short and long; and ten minutes now and then. */
		uint64_t ms = i % 20 == 19 ? 600000 : fake_between(1, i % 2 == 0 ? 3000 : 30000);

		fake.server[0].delay = fake_between(2, 30);
		pass(fake_between(500, 3000));
		took = absent_for(how, ms);
		if (took > worst)
			worst = took;
		if (took > bound(how))
			print_error("absence %d, round %u, %llu ms: %llu ms\n", (int)how, i,
				    (unsigned long long)ms, (unsigned long long)took);
		LAW(took <= bound(how));
	}
	print_message("# at most %llu ms\n", (unsigned long long)worst);
	drain();
}

static void
a_path_that_was_dead_is_used_within_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(DEAD_PATH, 200);
}

static void
a_server_that_hung_is_used_within_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(HANGS, 200);
}

static void
a_server_that_refused_is_used_within_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(REFUSES, 200);
}

static void
a_route_that_is_back_is_used_within_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(NO_ROUTE, 200);
}

/* TCP has just come about when the address changes, and no answer to what was sent will ever come. */
static void
a_route_lost_during_the_handshake_is_used_within_1_s(void **state)
{
	uint64_t worst = 0, took;

	(void)state;
	start(1, POOL_ORDER, false);
	plan_due = steady_due;
	plan_step = steady_step;
	on_answer = note_first;
	next_ask = now.mono_ms;
	for (unsigned i = 0; i < 200; i++) {
		fake.server[0].delay = fake_between(2, 30);
		pass(fake_between(500, 3000));
		fake_restart(&fake.server[0], false);
		while (dot[0]->cur->state != CONN_SHAKING)
			turn(now.mono_ms + 1);
		took = absent_for(NO_ROUTE, fake_between(1, 200));
		if (took > worst)
			worst = took;
		LAW(took <= PROMISE_BACK_MS);
	}
	print_message("# at most %llu ms\n", (unsigned long long)worst);
	drain();
}

static void
a_route_that_went_after_the_path_is_used_within_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(DEAD_PATH_THEN_NO_ROUTE, 200);
}

static void
a_router_that_forgot_us_costs_1_s(void **state)
{
	(void)state;
	the_only_upstream_answers_within_1_s_of_its_return(FORGOTTEN, 200);
}

/* The server restarts with 500 questions in flight, and is away for up to a second. */
static void
a_restart_under_500_questions_loses_none(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		start(1, POOL_ORDER, false);
		fake.server[0].idle = 10000;
		fake.server[0].think = 300;
		for (unsigned k = 0; k < 500; k++)
			client_asks(k % 2 == 0);
		pass(fake_between(1, 200));
		fake_restart(&fake.server[0], i % 2 == 0);
		fake.server[0].refuse = true;
		pass(i * 50);
		fake.server[0].refuse = false;
		pass(4000);
		LAW(clients.good == 500 && clients.open == 0);
		drain();
	}
}

/* ---- A long time of all of it ------------------------------------------------------------------ */

enum fault {
	FAULT_DROP,
	FAULT_HANG,
	FAULT_REFUSE,
	FAULT_NO_ROUTE,
	FAULT_SLOW,
	FAULT_SERVFAIL,
	FAULT_EXPIRED,
	FAULTS_THAT_LAST,
	FAULT_FORGET = FAULTS_THAT_LAST,
	FAULT_RESTART,
	FAULT_IDLE_TIME,
	FAULT_DELAY,
	FAULT_USR2,
	FAULTS
};

static struct {
	uint64_t ask_ms, fault_ms;
	uint64_t until[FAKE_SERVERS][FAULTS_THAT_LAST]; /* 0 = it is not */
	uint64_t healthy_ms[FAKE_SERVERS];		/* since when; NEVER = it is not */
	bool distrusted[FAKE_SERVERS];			/* that rest is not cut short */
	uint64_t faults[FAULTS];
	unsigned most_open;
	uint64_t worst_ms; /* of answers while one was healthy */
	uint64_t syns[FAKE_SERVERS], syns_ms, most_syns;
} life;

/* It answers, and we hold no connection to it that a router has forgotten. */
static bool
is_healthy(unsigned i)
{
	for (unsigned k = 0; k < fake.flows; k++)
		if (fake.flow[k].used && fake.flow[k].fd != -1 && fake.flow[k].forgotten &&
		    fake.flow[k].server == &fake.server[i])
			return false;
	for (unsigned f = 0; f < FAULTS_THAT_LAST; f++)
		if (life.until[i][f] != 0)
			return false;
	return life.until[0][FAULT_NO_ROUTE] == 0;
}

static void
set_fault(unsigned i, enum fault f, bool on)
{
	struct fake_server *s = &fake.server[i];

	switch (f) {
	case FAULT_DROP:
		s->drop = on;
		break;
	case FAULT_HANG:
		s->hang = on;
		break;
	case FAULT_REFUSE:
		s->refuse = on;
		if (on)
			fake_restart(s, fake_chance(4) == 0);
		break;
	case FAULT_NO_ROUTE:
		fake.no_route = on;
		if (!on && fake_chance(2) == 0)
			fake_move();
		break;
	case FAULT_SLOW:
		s->think = on ? fake_between(100, 900) : 1;
		break;
	case FAULT_SERVFAIL:
		s->servfail = on;
		break;
	case FAULT_EXPIRED:
		s->leaf = on ? &expired.x509 : &leaf.x509;
		life.distrusted[i] = true;
		fake_restart(s, true);
		break;
	case FAULT_FORGET:
		fake_forget(s);
		break;
	case FAULT_RESTART:
		fake_restart(s, fake_chance(8) == 0);
		break;
	case FAULT_IDLE_TIME:
		s->idle = fake_between(1, 20) * 1000;
		s->how = (enum fake_close)fake_chance(FAKE_CLOSES);
		s->keepalive = fake_chance(2) == 0 ? -1 : (int)fake_between(0, 300);
		break;
	case FAULT_DELAY:
		s->delay = fake_between(1, 40);
		break;
	case FAULT_USR2:
		for (unsigned k = 0; k < dots; k++)
			dot_drop(dot[k]);
		break;
	default:
		break;
	}
}

/* Seconds mostly, minutes sometimes. */
static uint64_t
some_time(void)
{
	switch (fake_chance(8)) {
	case 0:
		return fake_between(1, 100);
	case 1:
		return fake_between(60000, 600000);
	default:
		return fake_between(100, 30000);
	}
}

static void
begin_fault(void)
{
	unsigned i = fake_chance(dots);
	enum fault f = (enum fault)fake_chance(FAULTS);

	life.faults[f]++;
	if (f == FAULT_NO_ROUTE)
		i = 0;
	if (trace)
		print_message("# %llu ms: fault %d of %u\n", (unsigned long long)now.mono_ms, (int)f, i);
	if (f >= FAULTS_THAT_LAST) {
		set_fault(i, f, true);
		/* A moment only, but with all that was open. */
		for (unsigned k = 0; k < dots; k++)
			if (k == i || f == FAULT_USR2)
				life.healthy_ms[k] = now.mono_ms;
		return;
	}
	if (life.until[i][f] != 0)
		return;
	set_fault(i, f, true);
	life.until[i][f] = now.mono_ms + some_time();
}

static void
end_faults(void)
{
	for (unsigned i = 0; i < dots; i++)
		for (unsigned f = 0; f < FAULTS_THAT_LAST; f++)
			if (life.until[i][f] != 0 && life.until[i][f] <= now.mono_ms) {
				if (trace)
					print_message("# %llu ms: fault %u of %u is over\n",
						      (unsigned long long)now.mono_ms, f, i);
				life.until[i][f] = 0;
				set_fault(i, (enum fault)f, false);
			}
}

static void
note_health(void)
{
	for (unsigned i = 0; i < dots; i++) {
		if (!is_healthy(i))
			life.healthy_ms[i] = NEVER;
		else if (life.healthy_ms[i] == NEVER)
			life.healthy_ms[i] = now.mono_ms + (life.distrusted[i] ? DOT_REST_MAX_MS : 0);
		if (is_healthy(i))
			life.distrusted[i] = false;
	}
}

static uint64_t
life_due(void)
{
	uint64_t due = fake_sooner(life.ask_ms, life.fault_ms);

	for (unsigned i = 0; i < dots; i++)
		for (unsigned f = 0; f < FAULTS_THAT_LAST; f++)
			if (life.until[i][f] != 0)
				due = fake_sooner(due, life.until[i][f]);
	return due;
}

static void
count_connections(void)
{
	if (now.mono_ms < life.syns_ms)
		return;
	life.syns_ms = now.mono_ms + 10000;
	for (unsigned i = 0; i < dots; i++) {
		if (fake.server[i].syns - life.syns[i] > life.most_syns)
			life.most_syns = fake.server[i].syns - life.syns[i];
		LAW(fake.server[i].syns - life.syns[i] <= 30);
		life.syns[i] = fake.server[i].syns;
	}
}

/* Often one that others ask as well. */
static const char *
some_name(void)
{
	switch (fake_chance(4)) {
	case 0:
		return "www.example";
	case 1:
		return "WWW.example";
	default:
		return world_name();
	}
}

static void
life_step(void)
{
	end_faults();
	note_health();
	count_connections();
	if (life.fault_ms <= now.mono_ms) {
		begin_fault();
		note_health();
		life.fault_ms = now.mono_ms + fake_between(100, 100000);
	}
	if (life.ask_ms > now.mono_ms)
		return;
	for (uint32_t n = fake_chance(100) == 0 ? fake_between(2, 60) : 1; n > 0; n--)
		client_asks_for(some_name(), fake_chance(4) == 0);
	while (fake_chance(16) == 0)
		client_vanishes();
	if (clients.open > life.most_open)
		life.most_open = clients.open;
	life.ask_ms = now.mono_ms + fake_between(20, 2000);
	if (fake_chance(200) == 0)
		life.ask_ms = now.mono_ms + fake_between(10000, 300000);
}

/* With all upstreams but one well for 2 s before, a client has its answer in 1.5 s and some round trips. */
static void
note_answer(uint64_t asked_ms, bool good)
{
	unsigned well = 0;
	uint64_t trip = 0, most;

	if (dots < 2)
		return;
	for (unsigned i = 0; i < dots; i++)
		if (life.healthy_ms[i] != NEVER && life.healthy_ms[i] + 2000 <= asked_ms) {
			well++;
			trip = fake.server[i].delay > trip ? fake.server[i].delay : trip;
		}
	if (well < dots - 1)
		return;
	most = 1500 + 5 * 2 * trip + 5 * LATE_MS;
	if (now.mono_ms - asked_ms > life.worst_ms)
		life.worst_ms = now.mono_ms - asked_ms;
	if (!good || now.mono_ms - asked_ms > most)
		print_error("# %s after %llu ms\n", good ? "answer" : "SERVFAIL",
			    (unsigned long long)(now.mono_ms - asked_ms));
	LAW(good);
	LAW(now.mono_ms - asked_ms <= most);
}

/* Of all four lives together. */
static uint64_t
hours(void)
{
	const char *text = getenv("DNPROXY_SIM_HOURS");

	return text != NULL ? strtoull(text, NULL, 10) : 24;
}

static void
live(unsigned ups, enum pool_policy policy, bool keep_warm)
{
	const struct proxy_counters *c = &world.proxy.count;

	start(ups, policy, keep_warm);
	memset(&life, 0, sizeof(life));
	for (unsigned i = 0; i < ups; i++) {
		fake.server[i].idle = 10000;
		fake.server[i].delay = fake_between(2, 30);
	}
	life.ask_ms = life.fault_ms = now.mono_ms + 1000;
	plan_due = life_due;
	plan_step = life_step;
	on_answer = note_answer;
	sluggish = true;
	pass(hours() * 3600000 / 4);
	print_message("# %u upstreams: %llu asked, %llu answered, %llu failed, %llu gone, %llu again, %llu "
		      "hedged, %llu twins\n",
		      ups, (unsigned long long)c->asked, (unsigned long long)c->answered,
		      (unsigned long long)c->failed, (unsigned long long)c->gone, (unsigned long long)c->again,
		      (unsigned long long)c->hedged, (unsigned long long)c->joined);
	LAW(c->joined >= c->asked / 100);
	print_message(
		"# at most %u open, %u descriptors, %llu SYNs in 10 s, %llu ms while all but one were well\n",
		life.most_open, fake.fds_most, (unsigned long long)life.most_syns,
		(unsigned long long)life.worst_ms);
	for (unsigned i = 0; i < ups; i++)
		print_message("# connections: %llu full, %llu known leaf, %llu resumed\n",
			      (unsigned long long)dot[i]->opened[0], (unsigned long long)dot[i]->opened[1],
			      (unsigned long long)dot[i]->opened[2]);
	drain();
	LAW(c->asked == c->answered + c->refused + c->failed + c->gone);
	LAW(clients.replies == c->answered + c->refused + c->failed);
}

static void
life_with_one_upstream(void **state)
{
	(void)state;
	live(1, POOL_ORDER, false);
}

static void
life_with_two_upstreams(void **state)
{
	(void)state;
	live(2, POOL_ORDER, false);
}

static void
life_with_three_upstreams_by_speed(void **state)
{
	(void)state;
	live(3, POOL_FASTEST, false);
}

static void
life_with_two_upstreams_kept_warm(void **state)
{
	(void)state;
	live(2, POOL_ORDER, true);
}

/* ---- Set-up ----------------------------------------------------------------------------------- */

static int
make_keys(void **state)
{
	const char *text = getenv("DNPROXY_SIM_SEED");
	struct cert_wish wish = {.name = "x", .issuer = "Root", .key = &key, .signer = &root_key, .san = NAME};
	char pem[4096];
	size_t len, skipped;

	(void)state;
	seed = text != NULL ? strtoull(text, NULL, 10) : 20260101;
	print_message("# seed %llu\n", (unsigned long long)seed);
	trace = getenv("DNPROXY_SIM_TRACE") != NULL;
	log_set_level(trace ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	made_key_ec(&root_key, "root", BR_EC_secp256r1);
	made_key_ec(&key, "leaf", BR_EC_secp256r1);
	made_cert(&root, &(struct cert_wish){.name = "Root", .key = &root_key, .ca = true});
	made_cert(&leaf, &wish);
	wish.not_after = MADE_NOW - 86400;
	made_cert(&expired, &wish);
	len = made_pem(pem, sizeof(pem), &root, 0);
	trust_block = calloc(1, trust_memory((const uint8_t *)pem, len));
	trust = trust_load(trust_block, (const uint8_t *)pem, len, &skipped);
	return trust == NULL ? -1 : 0;
}

static int
drop_keys(void **state)
{
	(void)state;
	for (unsigned i = 0; i < FAKE_SERVERS; i++)
		free(dot[i]);
	free(trust_block);
	world_stop();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_close_after_1_s_costs_nobody_anything),
		cmocka_unit_test(a_close_after_2_s_costs_nobody_anything),
		cmocka_unit_test(a_close_after_5_s_costs_nobody_anything),
		cmocka_unit_test(a_close_after_10_s_costs_nobody_anything),
		cmocka_unit_test(a_close_after_30_s_costs_nobody_anything),
		cmocka_unit_test(a_close_of_what_is_kept_warm_costs_nobody_anything),
		cmocka_unit_test(a_path_that_was_dead_is_used_within_1_s),
		cmocka_unit_test(a_server_that_hung_is_used_within_1_s),
		cmocka_unit_test(a_server_that_refused_is_used_within_1_s),
		cmocka_unit_test(a_route_that_is_back_is_used_within_1_s),
		cmocka_unit_test(a_route_that_went_after_the_path_is_used_within_1_s),
		cmocka_unit_test(a_route_lost_during_the_handshake_is_used_within_1_s),
		cmocka_unit_test(a_router_that_forgot_us_costs_1_s),
		cmocka_unit_test(a_restart_under_500_questions_loses_none),
		cmocka_unit_test(life_with_one_upstream),
		cmocka_unit_test(life_with_two_upstreams),
		cmocka_unit_test(life_with_three_upstreams_by_speed),
		cmocka_unit_test(life_with_two_upstreams_kept_warm),
	};

	return cmocka_run_group_tests_name("sim", tests, make_keys, drop_keys);
}
