/* SPDX-License-Identifier: MIT */
/* A fast DNS-over-TLS server for measurements: answers each query with one A record, after a delay
 * of its own making, so that what is asked through it is the limit and not the server.
 *
 *   responder [-a ADDRESS] [-p PORT] [-d DELAY_MS] [-v 1.2|1.3] [-i IDLE_MS [-r]] [-o] [-n] CERT KEY [CERT KEY...]
 *
 *   -a, -p  where it listens: 127.0.0.1 and a free port unless it is told
 *   -d      the time each answer takes
 *   -v      the only version of TLS; otherwise both
 *   -i      closes a connection that was idle for so long, with a FIN, or with -r by a reset
 *   -o      closes a connection after one answer
 *   -n      resumes no session
 *
 * Prints "port N".  Of several certificates each connection gets the next one.  One TLS record an answer,
 * all records of a turn in one send().  An answer to a padded query is padded to 468 octets (RFC 8467
 * section 4.1).  Prints what it has counted on SIGUSR1, and on SIGTERM, which ends it. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNS 1024u
#define CERTS 8u
#define PENDING 16384u /* answers waiting for their time: 20 ms of 800,000 a second */
#define ANSWER_MAX 640u
#define PADDED 468u
#define IN_MAX 32768u
#define TAG_LISTEN UINT64_MAX
#define TAG_SIGNAL (UINT64_MAX - 1)

/* A connection owns its slot while fd is not -1.  Records wait in the TLS session's memory BIO;
 * `sent` octets of them have left already. */
struct conn {
	int fd;
	uint32_t generation;
	bool dirty, wants_write;
	uint64_t used_ns; /* when it was opened, read or answered */
	SSL *tls;
	size_t in_len, sent;
	uint8_t in[IN_MAX];
};

/* Answers are due in the order they were made, since the delay is the same for all. */
struct answer {
	uint64_t due_ns;
	uint32_t conn, generation;
	size_t len;
	uint8_t msg[ANSWER_MAX];
};

static struct conn conns[CONNS];
static struct answer pending[PENDING];
static size_t pending_first, pending_count;
static SSL_CTX *contexts[CERTS]; /* one for each certificate */
static unsigned context_count, context_next;
static uint64_t delay_ns, idle_ns; /* idle_ns: 0 = never closes */
static bool closes_by_reset, answers_once;
static int poller;
static struct {
	unsigned long connections, resumed, queries, malformed, dropped;
} counted;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned
get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void
put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ---- The answer ----------------------------------------------------------------------------- */

/* Length of header and question, or 0. */
static size_t
question_end(const uint8_t *q, size_t len)
{
	size_t at = 12;

	if (len < 12 || (q[2] & 0x80) != 0 || get16(q + 4) != 1)
		return 0;
	while (at < len && q[at] != 0 && q[at] < 64)
		at += q[at] + 1u;
	return at + 5 <= len && q[at] == 0 ? at + 5 : 0;
}

/* Appends an OPT, padded when the query's was (option 12).  Queries hold nothing but an OPT behind
 * the question. */
static size_t
add_opt(uint8_t *a, size_t len, const uint8_t *opt, size_t opt_len)
{
	static const uint8_t empty[11] = {0, 0, 41, 0x04, 0xd0}; /* 1,232 octets */
	size_t at, pad;
	bool padded = false;

	for (at = 11; at + 4 <= opt_len; at += 4 + get16(opt + at + 2))
		padded = padded || get16(opt + at) == 12;
	memcpy(a + len, empty, sizeof(empty));
	a[len + 7] = opt[7] & 0x80; /* the DO bit */
	len += sizeof(empty);
	if (!padded || len + 4 > PADDED)
		return len;
	pad = PADDED - len - 4;
	put16(a + len - 2, pad + 4);
	put16(a + len, 12);
	put16(a + len + 2, pad);
	memset(a + len + 4, 0, pad);
	return PADDED;
}

/* Length of the answer in a[0..ANSWER_MAX), or 0 for a query that is none. */
static size_t
make_answer(uint8_t *a, const uint8_t *q, size_t q_len)
{
	static const uint8_t record[16] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};
	size_t end = question_end(q, q_len), len;

	if (end == 0 || end > 300)
		return 0;
	memcpy(a, q, end);
	a[2] = (uint8_t)(0x80 | (q[2] & 0x01));
	a[3] = (uint8_t)(0x80 | (q[3] & 0x10));
	put16(a + 6, 1);
	put16(a + 8, 0);
	put16(a + 10, 0);
	memcpy(a + end, record, sizeof(record));
	len = end + sizeof(record);
	if (q_len >= end + 11 && get16(q + 10) == 1 && q[end] == 0 && get16(q + end + 1) == 41) {
		put16(a + 10, 1);
		len = add_opt(a, len, q + end, q_len - end);
	}
	return len;
}

static void
take_query(const struct conn *c, const uint8_t *msg, size_t len)
{
	struct answer *a = &pending[(pending_first + pending_count) % PENDING];

	counted.queries++;
	if (pending_count == PENDING) {
		counted.dropped++;
		return;
	}
	a->len = make_answer(a->msg + 2, msg, len);
	if (a->len == 0) {
		counted.malformed++;
		return;
	}
	put16(a->msg, a->len);
	a->len += 2;
	a->conn = (uint32_t)(c - conns);
	a->generation = c->generation;
	a->due_ns = now_ns() + delay_ns;
	pending_count++;
}

/* ---- Connections ---------------------------------------------------------------------------- */

static void
conn_open(int fd)
{
	int one = 1;
	size_t i;
	struct epoll_event ev = {.events = EPOLLIN};
	struct conn *c;

	for (i = 0; i < CONNS && conns[i].fd != -1; i++)
		;
	if (i == CONNS) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = &conns[i];
	c->fd = fd;
	c->generation++;
	c->dirty = c->wants_write = false;
	c->in_len = c->sent = 0;
	c->used_ns = now_ns();
	c->tls = SSL_new(contexts[context_next++ % context_count]);
	if (c->tls == NULL)
		errx(1, "out of memory");
	SSL_set_bio(c->tls, BIO_new_socket(fd, BIO_NOCLOSE), BIO_new(BIO_s_mem()));
	SSL_set_accept_state(c->tls);
	ev.data.u64 = i;
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev) == -1)
		err(1, "epoll_ctl");
}

static void
conn_close(struct conn *c)
{
	/* OpenSSL would forget the session of a connection that ends otherwise; a server need not. */
	SSL_set_shutdown(c->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->tls);
	close(c->fd);
	c->fd = -1;
}

/* Sends what the session has ready, and asks for writability while the socket is full. */
static void
conn_send(struct conn *c)
{
	char *data;
	size_t len = (size_t)BIO_get_mem_data(SSL_get_wbio(c->tls), &data);
	ssize_t n = 0;
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)(c - conns)};

	while (c->sent < len && (n = send(c->fd, data + c->sent, len - c->sent, MSG_NOSIGNAL)) > 0)
		c->sent += (size_t)n;
	if (n == -1 && errno != EAGAIN) {
		conn_close(c);
		return;
	}
	if (c->sent == len && len > 0) {
		(void)BIO_reset(SSL_get_wbio(c->tls));
		len = c->sent = 0;
	}
	if (c->wants_write != (len > 0)) {
		c->wants_write = len > 0;
		ev.events |= c->wants_write ? EPOLLOUT : 0u;
		epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &ev);
	}
}

/* Closes as a server does that has had enough: with close_notify and FIN, or by a reset. */
static void
conn_end(struct conn *c)
{
	static const struct linger at_once = {1, 0};

	if (closes_by_reset)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	else if (SSL_is_init_finished(c->tls) && SSL_shutdown(c->tls) >= 0)
		conn_send(c);
	if (c->fd != -1)
		conn_close(c);
}

static void
take_frames(struct conn *c)
{
	size_t at = 0, len;

	while (c->in_len - at >= 2 && c->in_len - at - 2 >= (len = get16(c->in + at))) {
		take_query(c, c->in + at + 2, len);
		at += 2 + len;
	}
	c->in_len -= at;
	memmove(c->in, c->in + at, c->in_len);
}

static void
conn_read(struct conn *c)
{
	bool shaking = !SSL_is_init_finished(c->tls);
	int n;

	c->used_ns = now_ns();
	while ((n = SSL_read(c->tls, c->in + c->in_len, (int)(IN_MAX - c->in_len))) > 0) {
		c->in_len += (size_t)n;
		take_frames(c);
		if (c->in_len == IN_MAX)
			break;
	}
	if (shaking && SSL_is_init_finished(c->tls)) {
		counted.connections++;
		counted.resumed += SSL_session_reused(c->tls) != 0;
	}
	if (n > 0 || SSL_get_error(c->tls, n) != SSL_ERROR_WANT_READ) {
		conn_close(c);
		return;
	}
	conn_send(c);
}

/* ---- The turn ------------------------------------------------------------------------------- */

/* Encrypts every answer whose time has come, then sends once for each connection. */
static void
answer_due(void)
{
	static uint32_t dirty[CONNS];
	size_t n = 0;
	uint64_t now = now_ns();

	for (; pending_count > 0 && pending[pending_first].due_ns <= now; pending_count--) {
		struct answer *a = &pending[pending_first];
		struct conn *c = &conns[a->conn];

		pending_first = (pending_first + 1) % PENDING;
		if (c->fd == -1 || c->generation != a->generation)
			continue;
		SSL_write(c->tls, a->msg, (int)a->len);
		c->used_ns = now;
		if (!c->dirty)
			dirty[n++] = a->conn;
		c->dirty = true;
	}
	while (n > 0) {
		struct conn *c = &conns[dirty[--n]];

		c->dirty = false;
		conn_send(c);
		if (answers_once && c->fd != -1)
			conn_end(c);
	}
}

/* Closes what was idle for too long; returns when the next connection will have been. */
static uint64_t
close_idle(void)
{
	uint64_t now = now_ns(), next = UINT64_MAX;
	struct conn *c;

	if (idle_ns == 0)
		return next;
	for (c = conns; c < conns + CONNS; c++) {
		if (c->fd == -1)
			continue;
		if (c->used_ns + idle_ns <= now)
			conn_end(c);
		else if (c->used_ns + idle_ns < next)
			next = c->used_ns + idle_ns;
	}
	return next;
}

static void
wait_events(struct epoll_event *events, int *n)
{
	struct timespec t = {0, 0};
	uint64_t now = now_ns(), due = close_idle();

	if (pending_count > 0 && pending[pending_first].due_ns < due)
		due = pending[pending_first].due_ns;
	if (due > now && due != UINT64_MAX) {
		t.tv_sec = (time_t)((due - now) / 1000000000u);
		t.tv_nsec = (long)((due - now) % 1000000000u);
	}
	*n = epoll_pwait2(poller, events, 64, due == UINT64_MAX ? NULL : &t, NULL);
	if (*n == -1 && errno != EINTR)
		err(1, "epoll_pwait2");
}

static void
take_signal(int signals)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		err(1, "signalfd");
	printf("connections %lu resumed %lu queries %lu malformed %lu dropped %lu\n", counted.connections,
	       counted.resumed, counted.queries, counted.malformed, counted.dropped);
	fflush(stdout);
	if (info.ssi_signo != SIGUSR1)
		exit(0);
}

static void
take_event(int listener, int signals, const struct epoll_event *ev)
{
	if (ev->data.u64 == TAG_SIGNAL) {
		take_signal(signals);
	} else if (ev->data.u64 == TAG_LISTEN) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd != -1)
			conn_open(fd);
	} else if (conns[ev->data.u64].fd != -1) {
		conn_read(&conns[ev->data.u64]);
	}
}

/* ---- Start ---------------------------------------------------------------------------------- */

static SSL_CTX *
tls_setup(const char *cert, const char *key, const char *version, bool resumes)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int only = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		errx(1, "cannot load %s or %s", cert, key);
	SSL_CTX_set_min_proto_version(ctx, version[0] == '\0' ? TLS1_2_VERSION : only);
	SSL_CTX_set_max_proto_version(ctx, only);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, IN_MAX);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5);
	if (!resumes) {
		SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(ctx, 0);
	}
	return ctx;
}

static int
listen_at(const char *address, uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof(at);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		errx(2, "%s: no IPv4 address", address);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd == -1 || bind(fd, (struct sockaddr *)&at, len) == -1 || listen(fd, 511) == -1 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) == -1)
		err(1, "listen");
	printf("port %u\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

static void
watch(int fd, uint64_t tag)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag};

	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev) == -1)
		err(1, "epoll_ctl");
}

static int
take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Reads the command line and loads the certificates; returns the listening socket. */
static int
setup(int argc, char **argv)
{
	const char *address = "127.0.0.1", *version = "";
	uint16_t port = 0;
	bool resumes = true;
	int option;

	while ((option = getopt(argc, argv, "a:p:d:v:i:ron")) != -1) {
		switch (option) {
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = (uint16_t)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			delay_ns = strtoull(optarg, NULL, 10) * 1000000u;
			break;
		case 'v':
			version = optarg;
			break;
		case 'i':
			idle_ns = strtoull(optarg, NULL, 10) * 1000000u;
			break;
		case 'r':
			closes_by_reset = true;
			break;
		case 'o':
			answers_once = true;
			break;
		case 'n':
			resumes = false;
			break;
		default:
			exit(2);
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 2 || argc % 2 != 0 || argc / 2 > (int)CERTS)
		errx(2, "usage: responder [-a ADDRESS] [-p PORT] [-d MS] [-v 1.2|1.3] [-i MS [-r]] [-o] [-n] "
			"CERT KEY [CERT KEY...]");
	for (; argc > 0; argc -= 2, argv += 2)
		contexts[context_count++] = tls_setup(argv[0], argv[1], version, resumes);
	return listen_at(address, port);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[64];
	int listener, signals, n, i;

	for (i = 0; i < (int)CONNS; i++)
		conns[i].fd = -1;
	signals = take_signals();
	poller = epoll_create1(EPOLL_CLOEXEC);
	listener = setup(argc, argv);
	watch(signals, TAG_SIGNAL);
	watch(listener, TAG_LISTEN);
	for (;;) {
		wait_events(events, &n);
		for (i = 0; i < n; i++)
			take_event(listener, signals, &events[i]);
		answer_due();
	}
}
