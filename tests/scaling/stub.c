/* SPDX-License-Identifier: MIT */
/* Applications that look names up with the C library's own resolver, as it is: 5 s for an answer, two attempts.
 *
 *   stub ADDRESS CLIENTS PAUSE_MS
 *
 * Each client asks for a new name, waits for the end of that, pauses and goes on, until standard input ends.
 * Prints a line for each: "CLIENT BEGAN TOOK RESULT", times in seconds, RESULT "ok" or the number of the error. */
#include <arpa/inet.h>
#include <err.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 256u

static struct in_addr server;
static unsigned pause_ms;
static atomic_bool ended;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The resolver as it comes, but for whom it asks. */
static void
make_resolver(struct __res_state *state)
{
	memset(state, 0, sizeof(*state));
	if (res_ninit(state) != 0)
		errx(1, "no resolver");
	state->options = RES_DEFAULT;
	state->retrans = RES_TIMEOUT;
	state->retry = RES_DFLRETRY;
	state->nscount = 1;
	state->nsaddr_list[0] =
		(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = server};
}

static void *
ask(void *argument)
{
	unsigned client = *(const unsigned *)argument;
	struct timespec rest = {pause_ms / 1000, (long)(pause_ms % 1000) * 1000000};
	struct __res_state state;
	unsigned char answer[NS_PACKETSZ];
	char name[64];

	make_resolver(&state);
	for (unsigned i = 0; !ended; i++) {
		double began = now(), took;
		int len;

		snprintf(name, sizeof(name), "g%u-%u.stub.test.", client, i);
		len = res_nquery(&state, name, ns_c_in, ns_t_a, answer, sizeof(answer));
		took = now() - began;
		if (len > 0)
			printf("%u %.6f %.6f ok\n", client, began, took);
		else
			printf("%u %.6f %.6f %d\n", client, began, took, state.res_h_errno);
		nanosleep(&rest, NULL);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static pthread_t thread[CLIENTS_MAX];
	static unsigned number[CLIENTS_MAX];
	unsigned clients;
	char c;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &server) != 1)
		errx(2, "usage: stub ADDRESS CLIENTS PAUSE_MS");
	clients = (unsigned)strtoul(argv[2], NULL, 10);
	pause_ms = (unsigned)strtoul(argv[3], NULL, 10);
	if (clients > CLIENTS_MAX)
		errx(2, "at most %u clients", CLIENTS_MAX);
	for (unsigned i = 0; i < clients; i++) {
		number[i] = i;
		if (pthread_create(&thread[i], NULL, ask, &number[i]) != 0)
			errx(1, "no thread");
	}
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	ended = true;
	for (unsigned i = 0; i < clients; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
