/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t stop_signal;
static sigset_t while_waiting; /* the signal mask that lets our signals in */

static void
on_stop(int number)
{
	stop_signal = number;
}

void
loop_take_signals(void)
{
	struct sigaction sa;
	sigset_t ours;

	memset(&sa, 0, sizeof(sa));
	sigemptyset(&sa.sa_mask);
	sa.sa_handler = on_stop;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigprocmask(SIG_BLOCK, &ours, &while_waiting);
	sigdelset(&while_waiting, SIGTERM);
	sigdelset(&while_waiting, SIGINT);
}

/* Waits until something is ready, a deadline is reached or a signal comes. */
static void
wait_once(struct wants *w, uint64_t now)
{
	struct timespec ts, *timeout = NULL;
	uint64_t ms;

	if (w->deadline != UINT64_MAX) {
		ms = w->deadline > now ? w->deadline - now : 0;
		ts.tv_sec = (time_t)(ms / 1000u);
		ts.tv_nsec = (long)(ms % 1000u) * 1000000L;
		timeout = &ts;
	}
	if (pselect(w->nfds, &w->rd, &w->wr, NULL, timeout, &while_waiting) <= 0) {
		FD_ZERO(&w->rd);
		FD_ZERO(&w->wr);
	}
}

static void
turn(const struct member *members, size_t count, struct wants *w, struct now *now)
{
	FD_ZERO(&w->rd);
	FD_ZERO(&w->wr);
	w->nfds = 0;
	w->deadline = UINT64_MAX;
	for (size_t i = 0; i < count; i++)
		members[i].want(members[i].self, w);
	wait_once(w, now->mono_ms);
	now_read(now);
	for (size_t i = 0; i < count; i++)
		members[i].step(members[i].self, w, now);
	for (size_t i = 0; i < count; i++)
		if (members[i].flush != NULL)
			members[i].flush(members[i].self);
}

int
loop_run(const struct member *members, size_t count, struct now *now)
{
	struct wants w;

	now_read(now);
	while (stop_signal == 0)
		turn(members, count, &w, now);
	return stop_signal;
}
