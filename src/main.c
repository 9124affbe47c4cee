/* SPDX-License-Identifier: MIT */
/* Options, settings, putting the parts together, running.  Only here does the program give up. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bounds.h"
#include "config.h"
#include "dot.h"
#include "entropy.h"
#include "health.h"
#include "log.h"
#include "loop.h"
#include "notify.h"
#include "now.h"
#include "options.h"
#include "probe.h"
#include "proxy.h"
#include "start.h"
#include "supervisor.h"
#include "tcp.h"
#include "text.h"
#include "trust.h"
#include "udp.h"

enum exit_status { EXIT_OK = 0, EXIT_START = 1, EXIT_SETTINGS = 2 };

/* All that serving needs: parts of a fixed size lie here, what the settings size is taken once. */
static struct now now;
static struct config config;
static struct proxy proxy;
static struct udp udp;
static struct tcp tcp;
static struct dot *dot[UPSTREAMS_MAX];
static const struct trust *trust;
static size_t trust_octets;
static const char *settings_file;

/* ---- Settings ------------------------------------------------------------------------------- */

static _Noreturn void
give_up(enum exit_status status)
{
	exit(status);
}

/* Takes memory once, at start: zeroed pages, of which the kernel gives those that are touched. */
static void *
take(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		log_error("cannot take %zu octets of memory; set smaller tables (dnproxy --check shows them)",
			  len);
		give_up(EXIT_START);
	}
	return p;
}

/* Reads a file of at most max octets.  Returns its length, or -1 with errno (EFBIG when longer). */
static ssize_t
read_file(const char *path, uint8_t *buf, size_t max)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error;
	size_t len = 0;
	ssize_t n = 0;

	if (fd == -1)
		return -1;
	while (len <= max && (n = read(fd, buf + len, max + 1 - len)) > 0)
		len += (size_t)n;
	error = errno;
	close(fd);
	if (n == -1 || len > max) {
		errno = n == -1 ? error : EFBIG;
		return -1;
	}
	return (ssize_t)len;
}

static int
say(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	for (; len > 0; text += n, len -= (size_t)n)
		if ((n = write(fd, text, len)) <= 0)
			return -1;
	return 0;
}

/* One line for a person, in the form that editors jump to: file:line:column: text. */
static _Noreturn void
refuse_settings(const char *text)
{
	(void)say(STDERR_FILENO, text);
	(void)say(STDERR_FILENO, "\n");
	give_up(EXIT_SETTINGS);
}

/* Reads the settings file.  Returns false when it is not there and need not be. */
static bool
read_settings(const char *path, bool must_exist)
{
	static uint8_t text[CONFIG_FILE_MAX + 1];
	char error[CONFIG_ERROR_MAX];
	ssize_t len = read_file(path, text, CONFIG_FILE_MAX);

	if (len == -1 && errno == ENOENT && !must_exist)
		return false;
	if (len == -1) {
		text_make(error, sizeof(error), "%s: cannot be read: %s", path, text_error(errno));
		refuse_settings(error);
	}
	settings_file = path;
	if (config_read(&config, (const char *)text, (size_t)len, path, error) == -1)
		refuse_settings(error);
	return true;
}

/* getenv(), which takes half a kilobyte in the C library with what it calls. */
static char *
variable(const char *name)
{
	size_t len = strlen(name);

	for (char **v = environ; *v != NULL; v++)
		if (text_begins(*v, name) && (*v)[len] == '=')
			return *v + len + 1;
	return NULL;
}

static void
find_settings(const char *path)
{
	char error[CONFIG_ERROR_MAX];
	bool from_file;

	config_default(&config);
	if (path != NULL)
		from_file = read_settings(path, true);
	else
		from_file = read_settings("dnproxy.yml", false) || read_settings("/etc/dnproxy.yml", false);
	if (config_environment(&config, variable, from_file, error) == -1)
		refuse_settings(error);
	log_set_level(config.level);
}

static _Noreturn void
refuse_anchors(const char *what, const char *why)
{
	char line[CONFIG_ERROR_MAX];

	text_make(line, sizeof(line), "%s: tls.trust_anchors: %s %s%s", settings_file, config.trust_anchors,
		  what, why);
	refuse_settings(line);
}

static void
find_trust(void)
{
	const char *path = config.trust_anchors;
	uint8_t *pem;
	ssize_t len;
	size_t skipped;

	trust = trust_builtin();
	if (path[0] == '\0')
		return;
	pem = take(PEM_MAX + 1);
	len = read_file(path, pem, PEM_MAX);
	if (len == -1)
		refuse_anchors("cannot be read: ", text_error(errno));
	trust_octets = trust_memory(pem, (size_t)len);
	trust = trust_load(take(trust_octets), pem, (size_t)len, &skipped);
	munmap(pem, PEM_MAX + 1);
	if (trust == NULL)
		refuse_anchors("holds no certificate that can be used (PEM, at most 512)", "");
	if (skipped > 0)
		log_warn("tls.trust_anchors: %s: %zu certificates cannot be read and are not trusted", path,
			 skipped);
}

/* ---- --check, --help, --version ------------------------------------------------------------- */

static char page[CONFIG_TEXT_MAX];

static int
check(void)
{
	size_t queries = sizeof(proxy) + query_memory(config.max_queries);
	size_t clients = sizeof(udp) + sizeof(tcp) + tcp_memory(config.tcp_clients);
	size_t upstreams = config.upstreams * dot_memory(), cache = (size_t)config.cache_size * 1024;
	size_t each = queries + clients + upstreams + cache;
	char memory[512];

	config_print(&config, page);
	start_count(&config);
	text_make(memory, sizeof(memory),
		  "# Memory taken at start by each worker, of which only what is used is touched:\n"
		  "#   queries on their way   %9zu octets\n"
		  "#   clients                %9zu octets\n"
		  "#   upstream connections   %9zu octets\n"
		  "#   answers that are kept  %9zu octets\n"
		  "#   trust anchors          %9zu octets (%zu anchors), of all together\n"
		  "#   together               %9llu octets, workers: %u\n",
		  queries, clients, upstreams, cache, trust_octets, trust_count(trust),
		  (unsigned long long)each * config.workers + trust_octets, (unsigned)config.workers);
	return say(STDOUT_FILENO, page) == 0 && say(STDOUT_FILENO, memory) == 0 ? EXIT_OK : EXIT_START;
}

static int
help(void)
{
	config_help(page);
	return say(STDOUT_FILENO, options_usage) == 0 && say(STDOUT_FILENO, page) == 0 ? EXIT_OK : EXIT_START;
}

static int
version(void)
{
	text_make(page, sizeof(page), "dnproxy %s (%s, sources of %s)\n", DNPROXY_VERSION, tls_library(),
		  DNPROXY_BUILD_DATE);
	return say(STDOUT_FILENO, page) == 0 ? EXIT_OK : EXIT_START;
}

/* ---- Start ---------------------------------------------------------------------------------- */

static struct tls_rules
rules_of(const struct config_upstream *u)
{
	return (struct tls_rules){.name = u->hostname,
				  .pin = u->pin,
				  .pins = u->pins,
				  .trust = trust,
				  .trust_given = config.trust_anchors[0] != '\0',
				  .strict_clock = config.strict_clock};
}

static void
build_cache(void)
{
	struct cache_rules rules = {
		.min_ttl = config.cache_min_ttl, .max_ttl = config.cache_max_ttl, .stale = config.cache_stale};
	uint32_t seed[2];

	/* Without entropy yet nothing is kept: no names may be chosen that meet. */
	if (config.cache_size > 0 && entropy_fill(seed, sizeof(seed)) == 0)
		cache_init(&proxy.kept.cache, take((size_t)config.cache_size * 1024),
			   (size_t)config.cache_size * 1024, &rules, seed);
}

static void
build(void)
{
	struct proxy_settings set = {.allow = config.allow,
				     .allows = config.allows,
				     .policy = (enum pool_policy)config.upstream_policy,
				     .prefetch = config.cache_prefetch,
				     .log_queries = config.log_queries};

	proxy_init(&proxy, &set, take(query_memory(config.max_queries)), config.max_queries, entropy_fill);
	build_cache();
	udp_init(&udp, &proxy, config.udp_size);
	if (tcp_init(&tcp, take(tcp_memory(config.tcp_clients)), &proxy, config.tcp_clients,
		     config.tcp_per_address, &now) == -1) {
		log_error("tcp: %s", text_error(errno));
		give_up(EXIT_START);
	}
	for (size_t i = 0; i < config.upstreams; i++) {
		const struct config_upstream *u = &config.upstream[i];
		struct tls_rules rules = rules_of(u);

		dot[i] = dot_init(take(dot_memory()), &u->addr, &rules, u->keep_warm, &proxy, &now);
	}
}

/* Appends to a line of the log; what does not fit is left out. */
static void
append(char *line, size_t cap, const char *before, const char *text)
{
	size_t len = strlen(line);

	text_make(line + len, cap - len, "%s%s", before, text);
}

static void
log_start(void)
{
	char line[LOG_LINE_MAX] = "", text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < config.listens; i++)
		append(line, sizeof(line), " ", addr_text(text, &config.listen[i]));
	append(line, sizeof(line), " (udp, tcp)", "");
	if (config.workers > 1) {
		text_make(text, sizeof(text), "%u", (unsigned)config.workers);
		append(line, sizeof(line), ", workers: ", text);
	}
	log_info("dnproxy %s: listening on%s", DNPROXY_VERSION, line);
	line[0] = '\0';
	for (size_t i = 0; i < config.upstreams; i++) {
		append(line, sizeof(line), i > 0 ? ", " : "", addr_text(text, &config.upstream[i].addr));
		append(line, sizeof(line), config.upstream[i].hostname[0] != '\0' ? "#" : "",
		       config.upstream[i].hostname);
	}
	log_info("dnproxy %s: asking %s; %zu trust anchors", DNPROXY_VERSION, line, trust_count(trust));
}

/* ---- The proxy's and the log's time are members of the loop too ----------------------------- */

static void
log_want(void *self, struct wants *w)
{
	(void)self;
	wants_by(w, log_deadline());
}

static void
log_step(void *self, const struct wants *ready, const struct now *at)
{
	(void)self;
	(void)ready;
	log_tick(at->mono_ms);
}

static uint32_t asked_lately; /* fades in about 8 ms */

/* Whether a short rest would let the next turn find more of what this one found little of.  A rest that brings
 * little, for those who ask are few and wait for us, is the last for a while. */
static bool
is_crowded(void)
{
	static uint64_t before;
	static bool rested;
	uint64_t asked = proxy.count.asked - before;

	before += asked;
	asked_lately = rested && asked < LOOP_CROWD_WORTH ? 0 : asked_lately + (uint32_t)asked;
	rested = asked_lately >= LOOP_CROWD && asked > 0 && asked < UDP_BATCH / 2;
	return rested;
}

static void
fade(uint64_t now_ms)
{
	static uint64_t faded_ms;
	uint64_t gone = now_ms - faded_ms;

	faded_ms = now_ms;
	asked_lately -= gone < 8 ? asked_lately * (uint32_t)gone / 8 : asked_lately;
}

static uint64_t end_ms = UINT64_MAX; /* serving ends then, or before */

static void
proxy_want(void *self, struct wants *w)
{
	wants_by(w, end_ms);
	w->crowded = is_crowded();
	wants_by(w, proxy_deadline(self));
}

static void
proxy_step(void *self, const struct wants *ready, const struct now *at)
{
	(void)ready;
	fade(at->mono_ms);
	proxy_tick(self, at->mono_ms);
}

/* All connections end, and all rests. */
static void
begin_anew(const char *why)
{
	log_info("%s", why);
	proxy.ready_until = 0;
	for (size_t i = 0; i < config.upstreams; i++)
		dot_drop(dot[i]);
}

/* The first line says what is not looked at, the second that it is again. */
static void
clock_step(void *self, const struct wants *ready, const struct now *at)
{
	static bool unset;

	(void)self;
	(void)ready;
	if (at->unset && !unset && !config.strict_clock)
		log_warn("the clock stands before " DNPROXY_BUILD_DATE
			 ", when this program was made: until it is "
			 "set, certificates may be not yet valid (tls.clock: strict refuses them)");
	else if (unset && !at->unset)
		begin_anew("the clock is set: certificates must be valid already");
	unset = at->unset;
}

static void
clock_want(void *self, struct wants *w)
{
	(void)self;
	(void)w;
}

/* What has happened since the start; of this worker.  One name behind the other, the last one empty. */
static void
log_counts(const char *of, const char *names, const uint64_t *count)
{
	char line[LOG_LINE_MAX] = "";

	for (; names[0] != '\0'; names += strlen(names) + 1, count++) {
		size_t len = strlen(line);

		text_make(line + len, sizeof(line) - len, "%s%s %llu", len > 0 ? ", " : "", names,
			  (unsigned long long)*count);
	}
	log_info("counters: %s%s", of, line);
}

static void
log_counters(void)
{
	const uint64_t kept[] = {proxy.table.open, proxy.kept.cache.count.stored,
				 proxy.kept.cache.count.evicted};

	_Static_assert(sizeof(proxy.count) == 15 * sizeof(uint64_t), "each has its name here");
	log_counts("",
		   "dropped\0asked\0answered\0cached\0stale\0refused\0failed\0gone\0refreshed\0joined\0"
		   "again\0hedged\0soured\0late\0strangers\0",
		   &proxy.count.dropped);
	log_counts("", "open\0kept\0evicted\0", kept);
	for (size_t i = 0; i < config.upstreams; i++) {
		char of[80];

		text_make(of, sizeof(of), "%s: ", dot[i]->up.name);
		log_counts(of, "full handshakes\0of known certificates\0resumed\0", dot[i]->opened);
	}
}

/* What is on its way may still be answered.  Told again, it ends at once; but not a worker, which is told by its
 * supervisor and often by whoever has told that. */
static void
begin_end(int number)
{
	if (end_ms == UINT64_MAX) {
		log_info("ending on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
		proxy_end(&proxy);
		end_ms = now.mono_ms + SERVE_END_MS;
	} else if (config.workers == 1) {
		end_ms = 0;
	}
}

/* SIGUSR2: the network has changed, says whoever sends it, and what is connected is of no use any more.  SIGCHLD: as
 * process 1 of a container it has been left somebody's child. */
static bool
goes_on(int number)
{
	if (number == SIGUSR1)
		log_counters();
	else if (number == SIGUSR2)
		begin_anew("SIGUSR2: connections to upstreams are made anew");
	else if (number == SIGCHLD)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	else if (number != 0)
		begin_end(number);
	return end_ms == UINT64_MAX || (proxy.table.open > 0 && now.mono_ms < end_ms);
}

/* All sockets listen, and whoever comes is answered. */
static void
say_ready(void)
{
	const char *name = variable("NOTIFY_SOCKET");

	if (name != NULL && name[0] != '\0')
		notify_ready(name);
}

static int
serve(void)
{
	struct member members[5 + UPSTREAMS_MAX];
	size_t count = 0;

	/* Answers first: after a pause they lie in the sockets, and must neither be too late for their
	 * queries nor find the table full of new ones.  All of a turn leaves at its end, in flush(). */
	members[count++] = (struct member){.want = log_want, .step = log_step};
	members[count++] = (struct member){.want = clock_want, .step = clock_step};
	for (size_t i = 0; i < config.upstreams; i++)
		members[count++] = dot_member(dot[i]);
	members[count++] = (struct member){.want = proxy_want, .step = proxy_step, .self = &proxy};
	members[count++] = udp_member(&udp);
	members[count++] = tcp_member(&tcp);
	loop_run(members, count, &now, goes_on);
	proxy_close(&proxy, now.mono_ms);
	udp_close(&udp);
	tcp_close(&tcp);
	for (size_t i = 0; i < config.upstreams; i++)
		dot_close(dot[i]);
	return EXIT_OK;
}

/* One worker, or the only process there is.  All that is drawn by lot is drawn here: query IDs, the secret of
 * the cache, the keys of TLS must not be the same in two. */
static int
work(size_t index)
{
	now_read(&now);
	build();
	start_take(&config, index, &udp, &tcp);
	if (config.workers == 1)
		say_ready();
	else
		supervisor_tell();
	return serve();
}

static int
run(void)
{
	start_count(&config);
	if (loop_take_signals() == -1) {
		log_error("cannot take signals: %s", text_error(errno));
		return EXIT_START;
	}
	if (start_fit(&config) == -1 || start_listen(&config) == -1)
		return EXIT_START;
	log_start();
	if (config.workers == 1)
		return work(0);
	return supervisor_run(config.workers, work, say_ready) ? EXIT_OK : EXIT_START;
}

static int
probe(const struct options *o)
{
	struct probe *p = probe_init(take(probe_memory()), &o->wishes, say);
	char error[CONFIG_ERROR_MAX];
	bool good = true;

	if (o->target != NULL && config_choose(&config, o->target, error) == -1)
		refuse_settings(error);
	clock_step(NULL, NULL, &now);
	for (size_t i = 0; i < config.upstreams; i++) {
		struct tls_rules rules = rules_of(&config.upstream[i]);

		good &= probe_upstream(p, &config.upstream[i].addr, &rules);
	}
	return probe_end(p) == 0 && good ? EXIT_OK : EXIT_START;
}

static int
health(bool live)
{
	bool good = health_ask(&config.listen[0], live, page);

	(void)say(good ? STDOUT_FILENO : STDERR_FILENO, page);
	return good ? EXIT_OK : EXIT_START;
}

int
main(int argc, char **argv)
{
	struct options o;
	char error[CONFIG_ERROR_MAX];

	if (options_read(&o, argc, argv, error) == -1)
		refuse_settings(error);
	if (o.task == TO_HELP)
		return help();
	if (o.task == TO_VERSION)
		return version();
	find_settings(o.path);
	if (o.task == TO_HEALTH)
		return health(o.live);
	find_trust();
	if (o.task == TO_CHECK)
		return check();
	now_set_floor(DNPROXY_BUILD_EPOCH);
	now_read(&now);
	if (o.task == TO_PROBE)
		return probe(&o);
	return run();
}
