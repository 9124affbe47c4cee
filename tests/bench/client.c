/* SPDX-License-Identifier: MIT */
/* Two measurements of a DNS forwarder on 127.0.0.1, as a UDP client that checks each answer.
 *
 *   client latency PORT RATE SECONDS
 *       asks RATE questions a second; prints "asked N lost N wrong N p50 US p99 US max US".
 *   client start PORT RUNS CORE PROGRAM [ARG...]
 *       starts PROGRAM on that core, asks every 0.2 ms until it answers, ends it; prints
 *       "runs N median US min US max US", the time counted from just before fork(). */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES_MAX 65536u
#define RUNS_MAX 1000u
#define NAME_AT 12u
#define PATIENCE_NS 2000000000u
#define START_EVERY_NS 200000u
#define START_PATIENCE_NS 10000000000u

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int
connect_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd == -1 || connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1)
		err(1, "UDP socket");
	return fd;
}

/* ---- Messages ------------------------------------------------------------------------------- */

/* The question "XXXXXXXX.bench. A", distinct for each number; the low 16 bits are the ID. */
static size_t
make_query(uint8_t q[64], uint32_t number)
{
	static const uint8_t tail[] = {5, 'b', 'e', 'n', 'c', 'h', 0, 0, 1, 0, 1};
	char label[9];

	memset(q, 0, NAME_AT);
	q[0] = (uint8_t)(number >> 8);
	q[1] = (uint8_t)number;
	q[2] = 0x01; /* RD */
	q[5] = 1;
	q[NAME_AT] = 8;
	snprintf(label, sizeof(label), "%08x", (unsigned)number);
	memcpy(q + NAME_AT + 1, label, 8);
	memcpy(q + NAME_AT + 9, tail, sizeof(tail));
	return NAME_AT + 9 + sizeof(tail);
}

/* Whether a[0..len) answers that question with NOERROR and one record. */
static bool
is_answer(const uint8_t *a, size_t len, uint32_t number)
{
	uint8_t q[64];
	size_t q_len = make_query(q, number);

	return len >= q_len && (a[2] & 0x80) != 0 && (a[3] & 0x0f) == 0 && a[6] == 0 && a[7] == 1 &&
	       memcmp(a, q, 2) == 0 && memcmp(a + NAME_AT, q + NAME_AT, q_len - NAME_AT) == 0;
}

/* ---- Latency -------------------------------------------------------------------------------- */

static struct {
	uint64_t sent_ns, took_ns; /* took_ns: 0 = not answered */
} sample[SAMPLES_MAX];

/* Takes all answers that are there; returns how many were right, and counts the others. */
static unsigned
take_answers(int fd, unsigned asked, unsigned *wrong)
{
	uint8_t a[4096];
	unsigned right = 0;
	ssize_t n;

	while ((n = recv(fd, a, sizeof(a), 0)) >= 2) {
		uint32_t number = (uint32_t)a[0] << 8 | a[1];

		if (number < asked && sample[number].took_ns == 0 && is_answer(a, (size_t)n, number)) {
			sample[number].took_ns = now_ns() - sample[number].sent_ns;
			right++;
		} else {
			(*wrong)++;
		}
	}
	return right;
}

static void
wait_until(int fd, uint64_t until)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now = now_ns(), left = until > now ? until - now : 0;
	struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};

	ppoll(&p, 1, &t, NULL);
}

static void
report_latency(unsigned asked, unsigned right, unsigned wrong)
{
	static uint64_t took[SAMPLES_MAX];
	unsigned i, n = 0;

	for (i = 0; i < asked; i++)
		if (sample[i].took_ns != 0)
			took[n++] = sample[i].took_ns / 1000u;
	if (n == 0)
		errx(1, "no answer at all");
	qsort(took, n, sizeof(took[0]), by_value);
	printf("asked %u lost %u wrong %u p50 %llu p99 %llu max %llu\n", asked, asked - right, wrong,
	       (unsigned long long)took[n / 2], (unsigned long long)took[(n * 99 + 99) / 100 - 1],
	       (unsigned long long)took[n - 1]);
}

static int
measure_latency(uint16_t port, unsigned rate, unsigned seconds)
{
	int fd = connect_to(port);
	unsigned total = rate * seconds, asked = 0, right = 0, wrong = 0;
	uint64_t step, next = now_ns(), end = 0;
	uint8_t q[64];

	if (rate == 0 || seconds == 0 || total > SAMPLES_MAX)
		errx(2, "at most %u questions", SAMPLES_MAX);
	step = 1000000000u / rate;
	while (asked < total || (right < asked && now_ns() < end)) {
		if (asked < total && now_ns() >= next) {
			size_t len = make_query(q, asked);

			sample[asked].sent_ns = now_ns();
			if (send(fd, q, len, 0) == -1)
				warn("send");
			asked++;
			next += step;
			end = next + PATIENCE_NS;
		}
		wait_until(fd, asked < total ? next : end);
		right += take_answers(fd, asked, &wrong);
	}
	report_latency(asked, right, wrong);
	return right == asked && wrong == 0 ? 0 : 1;
}

/* ---- Start ---------------------------------------------------------------------------------- */

static pid_t
start_program(unsigned core, char **argv)
{
	pid_t pid = fork();
	cpu_set_t cores;

	if (pid == -1)
		err(1, "fork");
	if (pid == 0) {
		CPU_ZERO(&cores);
		CPU_SET(core, &cores);
		sched_setaffinity(0, sizeof(cores), &cores);
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	return pid;
}

/* It stays a zombie, so that its number is nobody else's. */
static bool
has_ended(pid_t pid)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* Asks until an answer comes; returns when it came, or 0 when the program has ended or the patience is over. */
static uint64_t
ask_until_answered(uint16_t port, uint64_t from, pid_t pid)
{
	int fd = connect_to(port);
	uint8_t q[64], a[4096];
	uint32_t asked = 0;
	uint64_t now = from, next = from;

	while (now - from < START_PATIENCE_NS && !has_ended(pid)) {
		if (now >= next) {
			/* Refused while nobody listens: that is what is waited for. */
			send(fd, q, make_query(q, asked++ & 0xffff), 0);
			next = now + START_EVERY_NS;
		}
		wait_until(fd, next);
		now = now_ns();
		ssize_t n = recv(fd, a, sizeof(a), 0);
		if (n >= 2 && is_answer(a, (size_t)n, (uint32_t)a[0] << 8 | a[1])) {
			close(fd);
			return now;
		}
	}
	close(fd);
	return 0;
}

static int
measure_start(uint16_t port, unsigned runs, unsigned core, char **argv)
{
	static uint64_t took[RUNS_MAX];
	unsigned i;

	if (runs == 0 || runs > RUNS_MAX)
		errx(2, "at most %u runs", RUNS_MAX);
	for (i = 0; i < runs; i++) {
		uint64_t from = now_ns(), answered;
		pid_t pid = start_program(core, argv);

		answered = ask_until_answered(port, from, pid);
		kill(pid, SIGTERM);
		waitpid(pid, NULL, 0);
		if (answered == 0)
			errx(1, "%s: no answer", argv[0]);
		took[i] = (answered - from) / 1000u;
	}
	qsort(took, runs, sizeof(took[0]), by_value);
	printf("runs %u median %llu min %llu max %llu\n", runs, (unsigned long long)took[runs / 2],
	       (unsigned long long)took[0], (unsigned long long)took[runs - 1]);
	return 0;
}

static unsigned
number(const char *text)
{
	return (unsigned)strtoul(text, NULL, 10);
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "latency") == 0)
		return measure_latency((uint16_t)number(argv[2]), number(argv[3]), number(argv[4]));
	if (argc >= 6 && strcmp(argv[1], "start") == 0)
		return measure_start((uint16_t)number(argv[2]), number(argv[3]), number(argv[4]), argv + 5);
	errx(2, "usage: client latency PORT RATE SECONDS | client start PORT RUNS CORE PROGRAM [ARG...]");
}
