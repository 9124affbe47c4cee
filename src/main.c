/* SPDX-License-Identifier: MIT */
/* Options, settings, putting the parts together, running.  Only here does the program give up. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "bounds.h"
#include "config.h"
#include "dot.h"
#include "entropy.h"
#include "log.h"
#include "loop.h"
#include "now.h"
#include "proxy.h"
#include "tcp.h"
#include "trust.h"
#include "udp.h"

enum exit_status { EXIT_OK = 0, EXIT_START = 1, EXIT_SETTINGS = 2 };

/* Listeners, upstream connections, clients; the standard streams, and a few for the C library. */
_Static_assert(2 * LISTEN_MAX + 2 * UPSTREAMS_MAX + TCP_CLIENTS_MAX + 16 <= FD_SETSIZE,
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

/* ---- Settings ------------------------------------------------------------------------------- */

static _Noreturn void
give_up(enum exit_status status)
{
	exit(status);
}

/* Takes memory once, at start.  The kernel gives zeroed pages, and only those that are touched. */
static void *
take(size_t len)
{
	void *p = calloc(1, len);

	if (p == NULL) {
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

/* One line for a person, in the form that editors jump to: file:line:column: text. */
static _Noreturn void
refuse_settings(const char *text)
{
	fprintf(stderr, "%s\n", text);
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
		snprintf(error, sizeof(error), "%s: cannot be read: %s", path, strerror(errno));
		refuse_settings(error);
	}
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
	if (len == -1) {
		fprintf(stderr, "tls.trust_anchors: %s cannot be read: %s\n", path, strerror(errno));
		give_up(EXIT_SETTINGS);
	}
	trust_octets = trust_memory(pem, (size_t)len);
	trust = trust_load(take(trust_octets), pem, (size_t)len, &skipped);
	free(pem);
	if (trust == NULL) {
		fprintf(stderr,
			"tls.trust_anchors: %s holds no certificate that can be used (PEM, at most %u)\n", path,
			ANCHORS_MAX);
		give_up(EXIT_SETTINGS);
	}
	if (skipped > 0)
		log_warn("tls.trust_anchors: %s: %zu certificates cannot be read and are not trusted", path,
			 skipped);
}

/* ---- --check, --help, --version ------------------------------------------------------------- */

static void
print_memory(void)
{
	size_t queries = sizeof(proxy) + query_memory(config.max_queries);
	size_t clients = sizeof(udp) + sizeof(tcp) + tcp_memory(config.tcp_clients);
	size_t upstreams = config.upstreams * dot_memory();

	printf("# Memory taken at start, of which only what is used is touched:\n"
	       "#   queries on their way   %9zu octets\n"
	       "#   clients                %9zu octets\n"
	       "#   upstream connections   %9zu octets\n"
	       "#   trust anchors          %9zu octets (%zu anchors)\n"
	       "#   together               %9zu octets\n",
	       queries, clients, upstreams, trust_octets, trust_count(trust),
	       queries + clients + upstreams + trust_octets);
}

static int
check(void)
{
	static char text[CONFIG_TEXT_MAX];

	config_print(&config, text);
	fputs(text, stdout);
	print_memory();
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_START;
}

static int
help(void)
{
	static char text[CONFIG_TEXT_MAX];

	config_help(text);
	printf("dnproxy: takes plain DNS over UDP and TCP, and asks an upstream over authenticated TLS.\n"
	       "\n"
	       "usage: dnproxy [-c FILE] [--check]\n"
	       "  -c, --config FILE  settings; else ./dnproxy.yml, else /etc/dnproxy.yml, else defaults\n"
	       "      --check        check the settings, print what is in force and the memory, and end\n"
	       "      --help         print this and end\n"
	       "      --version      print versions and build date and end\n"
	       "\n"
	       "%s",
	       text);
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_START;
}

static int
version(void)
{
	time_t built = (time_t)DNPROXY_BUILD_EPOCH;
	struct tm tm;
	char date[32] = "";

	if (gmtime_r(&built, &tm) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%d", &tm);
	printf("dnproxy %s (%s, sources of %s)\n", DNPROXY_VERSION, tls_library(), date);
	return fflush(stdout) == 0 ? EXIT_OK : EXIT_START;
}

/* ---- Start ---------------------------------------------------------------------------------- */

static _Noreturn void
refuse_address(const struct addr *at, const char *transport)
{
	char text[ADDR_TEXT_MAX];
	const char *remedy = "";

	addr_text(text, at);
	if (errno == EADDRINUSE)
		remedy = "; another program listens there (ss -lntup shows it): stop it, or set another "
			 "dnproxy.port "
			 "or dnproxy.host";
	else if (errno == EACCES || errno == EPERM)
		remedy = "; ports below 1024 need a right: set dnproxy.port (DNPROXY_PORT) to 5353 or the "
			 "like, or run "
			 "with CAP_NET_BIND_SERVICE (setcap, AmbientCapabilities=, --cap-add "
			 "NET_BIND_SERVICE), or "
			 "sysctl net.ipv4.ip_unprivileged_port_start=53";
	else if (errno == EADDRNOTAVAIL)
		remedy = "; no interface has this address (ip addr shows them)";
	log_error("cannot listen on %s (%s): %s%s", text, transport, strerror(errno), remedy);
	give_up(EXIT_START);
}

static void
listen_everywhere(void)
{
	for (size_t i = 0; i < config.listens; i++) {
		if (udp_listen(&udp, &config.listen[i]) == -1)
			refuse_address(&config.listen[i], "udp");
		if (tcp_listen(&tcp, &config.listen[i]) == -1)
			refuse_address(&config.listen[i], "tcp");
	}
}

static void
build(void)
{
	struct proxy_settings set = {
		.allow = config.allow, .allows = config.allows, .log_queries = config.log_queries};

	proxy_init(&proxy, &set, take(query_memory(config.max_queries)), config.max_queries, entropy_fill);
	udp_init(&udp, &proxy, config.udp_size);
	tcp_init(&tcp, take(tcp_memory(config.tcp_clients)), &proxy, config.tcp_clients,
		 config.tcp_per_address);
	for (size_t i = 0; i < config.upstreams; i++)
		dot[i] = dot_init(take(dot_memory()), &config.upstream[i].addr, config.upstream[i].hostname,
				  trust, &proxy, &now);
}

/* Appends to a line of the log; what does not fit is left out. */
static void
append(char *line, size_t cap, const char *before, const char *text)
{
	size_t len = strlen(line);

	snprintf(line + len, cap - len, "%s%s", before, text);
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
		append(line, sizeof(line), " ", config.upstream[i].hostname);
	}
	log_info("dnproxy %s: asking %s; %zu trust anchors", DNPROXY_VERSION, line, trust_count(trust));
}

/* ---- The proxy's and the log's time are members of the loop too ----------------------------- */

static void
clock_want(void *self, struct wants *w)
{
	(void)self;
	wants_by(w, proxy_deadline(&proxy));
	wants_by(w, log_deadline());
}

static void
clock_step(void *self, const struct wants *ready, const struct now *at)
{
	(void)self;
	(void)ready;
	proxy_tick(&proxy, at->mono_ms);
	log_tick(at->mono_ms);
}

static int
serve(void)
{
	struct member members[3 + UPSTREAMS_MAX];
	size_t count = 0;
	int number;

	/* In the order of a query's way, and the way back: what an upstream answers in a turn leaves
	 * in the same one, since flush() comes after every step(). */
	members[count++] = (struct member){.want = clock_want, .step = clock_step};
	members[count++] = udp_member(&udp);
	members[count++] = tcp_member(&tcp);
	for (size_t i = 0; i < config.upstreams; i++)
		members[count++] = dot_member(dot[i]);
	number = loop_run(members, count, &now);
	log_info("ending on %s", number == SIGTERM ? "SIGTERM" : "SIGINT");
	udp_close(&udp);
	tcp_close(&tcp);
	for (size_t i = 0; i < config.upstreams; i++)
		dot_close(dot[i]);
	return EXIT_OK;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"check", no_argument, NULL, 'k'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{NULL, 0, NULL, 0}};
	const char *path = NULL;
	bool check_only = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case 'k':
			check_only = true;
			break;
		case 'h':
			return help();
		case 'V':
			return version();
		default:
			fprintf(stderr, "usage: dnproxy [-c FILE] [--check] [--help] [--version]\n");
			return EXIT_SETTINGS;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "dnproxy: %s: not an option; settings files are named with -c\n", argv[optind]);
		return EXIT_SETTINGS;
	}
	find_settings(path);
	find_trust();
	if (check_only)
		return check();
	now_set_floor(DNPROXY_BUILD_EPOCH);
	now_read(&now);
	loop_take_signals();
	build();
	listen_everywhere();
	log_start();
	return serve();
}
