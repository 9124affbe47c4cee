/* SPDX-License-Identifier: MIT */
/* Options, settings, putting the parts together, running.  Only here does the program give up. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bounds.h"
#include "config.h"
#include "dot.h"
#include "entropy.h"
#include "log.h"
#include "loop.h"
#include "now.h"
#include "net.h"
#include "probe.h"
#include "proxy.h"
#include "supervisor.h"
#include "tcp.h"
#include "text.h"
#include "trust.h"
#include "udp.h"

enum exit_status { EXIT_OK = 0, EXIT_START = 1, EXIT_SETTINGS = 2 };

/* Listeners, upstream connections, clients; the standard streams, and a few for the C library. */
_Static_assert(2 * LISTEN_MAX + 3 * UPSTREAMS_MAX + TCP_CLIENTS_MAX + 16 <= FD_SETSIZE,
	       "select() cannot wait for that many descriptors");

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
	if (config_environment(&config, getenv, from_file, error) == -1)
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
	char memory[512];

	config_print(&config, page);
	text_make(memory, sizeof(memory),
		  "# Memory taken at start by each worker, of which only what is used is touched:\n"
		  "#   queries on their way   %9zu octets\n"
		  "#   clients                %9zu octets\n"
		  "#   upstream connections   %9zu octets\n"
		  "#   answers that are kept  %9zu octets\n"
		  "#   trust anchors          %9zu octets (%zu anchors)\n"
		  "#   together               %9zu octets\n",
		  queries, clients, upstreams, cache, trust_octets, trust_count(trust),
		  queries + clients + upstreams + cache + trust_octets);
	return say(STDOUT_FILENO, page) == 0 && say(STDOUT_FILENO, memory) == 0 ? EXIT_OK : EXIT_START;
}

static const char usage[] =
	"dnproxy: takes plain DNS over UDP and TCP, and asks an upstream over authenticated TLS.\n"
	"\n"
	"usage: dnproxy [-c FILE] [--check]\n"
	"       dnproxy probe [-c FILE] [--json] [--idle] [--name NAME] [IP[@PORT][#HOSTNAME]]\n"
	"  -c, --config FILE  settings; else ./dnproxy.yml, else /etc/dnproxy.yml, else defaults\n"
	"      --check        check the settings, print what is in force and the memory, and end\n"
	"      --help         print this and end\n"
	"      --version      print versions and build date and end\n"
	"  probe              what an upstream (each of the settings) can do, and what is wrong\n"
	"      --json         as JSON\n"
	"      --idle         also how long it stays open, up to 65 s\n"
	"      --name NAME    what is asked for, else example.com\n"
	"\n";

static int
help(void)
{
	config_help(page);
	return say(STDOUT_FILENO, usage) == 0 && say(STDOUT_FILENO, page) == 0 ? EXIT_OK : EXIT_START;
}

static int
version(void)
{
	text_make(page, sizeof(page), "dnproxy %s (%s, sources of %s)\n", DNPROXY_VERSION, tls_library(),
		  DNPROXY_BUILD_DATE);
	return say(STDOUT_FILENO, page) == 0 ? EXIT_OK : EXIT_START;
}

/* ---- Start ---------------------------------------------------------------------------------- */

static _Noreturn void
refuse_address(const struct addr *at, const char *transport)
{
	char text[ADDR_TEXT_MAX];
	const char *remedy = "";

	addr_text(text, at);
	if (errno == EADDRINUSE)
		remedy = "; stop what listens there (ss -lntup), or set another dnproxy.port";
	else if (errno == EACCES || errno == EPERM)
		remedy = "; set dnproxy.port (DNPROXY_PORT) to 5353, or give CAP_NET_BIND_SERVICE (setcap, "
			 "AmbientCapabilities=, --cap-add NET_BIND_SERVICE), or sysctl "
			 "net.ipv4.ip_unprivileged_port_start=53";
	else if (errno == EADDRNOTAVAIL)
		remedy = "; no interface has this address (ip addr)";
	log_error("cannot listen on %s (%s): %s%s", text, transport, text_error(errno), remedy);
	give_up(EXIT_START);
}

static int socket_of[WORKERS_MAX][LISTEN_MAX][2]; /* for datagrams and for streams */

static int
open_one(size_t i, int stream, bool shared)
{
	const struct addr *at = &config.listen[i];
	int fd = stream ? net_listen_tcp(at, shared) : net_listen_udp(at, shared);

	if (fd == -1)
		refuse_address(at, stream ? "tcp" : "udp");
	return fd;
}

/* All listening sockets of all workers.  Whether the address is somebody else's shows only while it is not
 * shared. */
static void
listen_everywhere(void)
{
	for (size_t i = 0; i < config.listens; i++)
		for (int stream = 0; stream < 2; stream++) {
			if (config.workers > 1)
				net_close(open_one(i, stream, false));
			for (size_t w = 0; w < config.workers; w++)
				socket_of[w][i][stream] = open_one(i, stream, config.workers > 1);
		}
}

/* One worker takes its own, and lets those of the others be. */
static void
take_sockets(size_t worker)
{
	for (size_t i = 0; i < config.listens; i++)
		for (size_t w = 0; w < config.workers; w++) {
			if (w == worker) {
				udp_add(&udp, socket_of[w][i][0]);
				tcp_add(&tcp, socket_of[w][i][1]);
			} else {
				net_close(socket_of[w][i][0]);
				net_close(socket_of[w][i][1]);
			}
		}
}

/* As many workers as there are processors for us. */
static void
count_workers(void)
{
	unsigned long set[1024 / (8 * sizeof(unsigned long))] = {0};
	long octets = syscall(SYS_sched_getaffinity, 0, sizeof(set), set);

	if (config.workers != 0)
		return;
	for (size_t i = 0; i < 8 * sizeof(set) && octets > 0 && config.workers < WORKERS_MAX; i++)
		if ((set[i / (8 * sizeof(set[0]))] >> (i % (8 * sizeof(set[0]))) & 1) != 0)
			config.workers++;
	if (config.workers == 0)
		config.workers = 1;
}

/* Descriptors for everything but TCP clients; these get what is left.  Without this, many clients
 * would keep dnproxy from reaching its upstreams. */
#define DESCRIPTORS_BESIDE (2 * config.listens * config.workers + 3 * config.upstreams + 16)

/* Reads, or else sets, how many descriptors are granted.  The system call itself: the C library's brings 2 kB
 * that tell other threads. */
static int
descriptors(const uint64_t set[2], uint64_t get[2])
{
	return (int)syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, set, get);
}

/* Takes as many descriptors as are granted and of use, and bounds TCP clients by them. */
static void
fit_descriptors(void)
{
	uint64_t limit[2]; /* in force, and the most there can be */
	size_t want = DESCRIPTORS_BESIDE + config.tcp_clients, have;

	if (descriptors(NULL, limit) == -1 || limit[0] >= want)
		return;
	have = (size_t)limit[0];
	limit[0] = limit[1] < want ? limit[1] : want;
	if (descriptors(limit, NULL) == 0)
		have = (size_t)limit[0];
	if (have >= want)
		return;
	if (have <= DESCRIPTORS_BESIDE) {
		log_error("only %zu descriptors are granted, %zu are needed; raise the limit (ulimit -n)", have,
			  DESCRIPTORS_BESIDE + 1);
		give_up(EXIT_START);
	}
	config.tcp_clients = (uint16_t)(have - DESCRIPTORS_BESIDE);
	log_warn("only %zu descriptors are granted (ulimit -n): at most %u TCP clients at once", have,
		 (unsigned)config.tcp_clients);
}

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
	tcp_init(&tcp, take(tcp_memory(config.tcp_clients)), &proxy, config.tcp_clients, config.tcp_per_address,
		 &now);
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
	log_info("dnproxy %s: listening on%s (udp, tcp)", DNPROXY_VERSION, line);
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

static void
proxy_want(void *self, struct wants *w)
{
	wants_by(w, proxy_deadline(self));
}

static void
proxy_step(void *self, const struct wants *ready, const struct now *at)
{
	(void)ready;
	proxy_tick(self, at->mono_ms);
}

/* All connections end, and all rests. */
static void
begin_anew(const char *why)
{
	log_info("%s", why);
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

/* What has happened since the start; of this worker. */
static void
log_counters(void)
{
	const struct proxy_counters *c = &proxy.count;
	const struct cache_counters *k = &proxy.kept.cache.count;

	log_info("counters: asked %llu, answered %llu, refused %llu, failed %llu, gone %llu, open %u, dropped "
		 "%llu",
		 (unsigned long long)c->asked, (unsigned long long)c->answered, (unsigned long long)c->refused,
		 (unsigned long long)c->failed, (unsigned long long)c->gone, (unsigned)proxy.table.open,
		 (unsigned long long)c->dropped);
	log_info("counters: cached %llu, stale %llu, refreshed %llu, joined %llu, kept %llu, evicted %llu",
		 (unsigned long long)c->cached, (unsigned long long)c->stale, (unsigned long long)c->refreshed,
		 (unsigned long long)c->joined, (unsigned long long)k->stored, (unsigned long long)k->evicted);
	log_info("counters: sent again %llu, hedged %llu, soured %llu, late %llu, strangers %llu",
		 (unsigned long long)c->again, (unsigned long long)c->hedged, (unsigned long long)c->soured,
		 (unsigned long long)c->late, (unsigned long long)c->strangers);
	for (size_t i = 0; i < config.upstreams; i++)
		log_info("counters: %s: %llu full handshakes, %llu of known certificates, %llu resumed",
			 dot[i]->up.name, (unsigned long long)dot[i]->opened[TLS_FULL],
			 (unsigned long long)dot[i]->opened[TLS_KNOWN_LEAF],
			 (unsigned long long)dot[i]->opened[TLS_RESUMED]);
}

/* SIGUSR2: the network has changed, says whoever sends it, and what is connected is of no use any more. */
static void
on_signal(int number)
{
	if (number == SIGUSR1)
		log_counters();
	else
		begin_anew("SIGUSR2: connections to upstreams are made anew");
}

static int
serve(void)
{
	struct member members[5 + UPSTREAMS_MAX];
	size_t count = 0;
	int number;

	/* Answers first: after a pause they lie in the sockets, and must neither be too late for their
	 * queries nor find the table full of new ones.  All of a turn leaves at its end, in flush(). */
	members[count++] = (struct member){.want = log_want, .step = log_step};
	members[count++] = (struct member){.want = clock_want, .step = clock_step};
	for (size_t i = 0; i < config.upstreams; i++)
		members[count++] = dot_member(dot[i]);
	members[count++] = (struct member){.want = proxy_want, .step = proxy_step, .self = &proxy};
	members[count++] = udp_member(&udp);
	members[count++] = tcp_member(&tcp);
	number = loop_run(members, count, &now, on_signal);
	log_info("ending on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
	udp_close(&udp);
	tcp_close(&tcp);
	for (size_t i = 0; i < config.upstreams; i++)
		dot_close(dot[i]);
	return EXIT_OK;
}

/* One worker, or the only process there is. */
static int
work(size_t index)
{
	if (loop_take_signals() == -1) {
		log_error("cannot take signals: %s", text_error(errno));
		return EXIT_START;
	}
	now_read(&now);
	build();
	take_sockets(index);
	return serve();
}

struct options {
	const char *path;
	enum { TO_SERVE, TO_CHECK, TO_HELP, TO_VERSION, TO_PROBE } task;
	struct probe_wishes wishes;
	const char *target; /* of a probe; NULL = all upstreams */
};

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

static _Noreturn void
refuse_usage(const char *what, const char *why)
{
	char line[CONFIG_ERROR_MAX];

	text_make(line, sizeof(line), "dnproxy: %s: %s; see dnproxy --help", what, why);
	refuse_settings(line);
}

static bool
read_probe_option(struct options *o, char **argv, int *i)
{
	const char *arg = argv[*i];

	if (strcmp(arg, "--json") == 0) {
		o->wishes.json = true;
	} else if (strcmp(arg, "--idle") == 0) {
		o->wishes.idle = true;
	} else if (strcmp(arg, "--name") == 0) {
		if (argv[*i + 1] == NULL || !probe_is_name(argv[*i + 1]))
			refuse_usage(arg, "needs a DNS name");
		o->wishes.name = argv[++*i];
	} else if (arg[0] != '-' && o->target == NULL) {
		o->target = arg;
	} else {
		return false;
	}
	return true;
}

static void
read_option(struct options *o, char **argv, int *i)
{
	const char *arg = argv[*i];

	if (o->task == TO_PROBE && read_probe_option(o, argv, i))
		return;
	if (strcmp(arg, "-c") == 0 || strcmp(arg, "--config") == 0) {
		if (argv[*i + 1] == NULL)
			refuse_usage(arg, "names no file");
		o->path = argv[++*i];
	} else if (strncmp(arg, "--config=", 9) == 0) {
		o->path = arg + 9;
	} else if (strcmp(arg, "--check") == 0 && o->task != TO_PROBE) {
		o->task = TO_CHECK;
	} else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
		o->task = TO_HELP;
	} else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-V") == 0) {
		o->task = TO_VERSION;
	} else {
		refuse_usage(arg,
			     arg[0] == '-'
				     ? "no such option"
				     : "no option; a settings file is named with -c, and probe comes first");
	}
}

int
main(int argc, char **argv)
{
	struct options o = {.task = TO_SERVE, .wishes = {.name = "example.com"}};
	int i = 1;

	if (argc > 1 && strcmp(argv[1], "probe") == 0) {
		o.task = TO_PROBE;
		i = 2;
	}
	for (; i < argc; i++)
		read_option(&o, argv, &i);
	if (o.task == TO_HELP)
		return help();
	if (o.task == TO_VERSION)
		return version();
	find_settings(o.path);
	find_trust();
	if (o.task == TO_CHECK)
		return check();
	now_set_floor(DNPROXY_BUILD_EPOCH);
	now_read(&now);
	if (o.task == TO_PROBE)
		return probe(&o);
	count_workers();
	fit_descriptors();
	listen_everywhere();
	log_start();
	return config.workers == 1 ? work(0) : supervisor_run(config.workers, work);
}
