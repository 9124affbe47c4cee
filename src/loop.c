/* SPDX-License-Identifier: MIT */
#include "loop.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bounds.h"

static int signals = -1; /* a descriptor that the signals come from */

void
loop_signals(sigset_t *set)
{
	static const uint8_t number[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD, SIGNAL_AT_WORK};

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(number); i++)
		sigaddset(set, number[i]);
}

int
loop_take_signals(void)
{
	sigset_t ours, blocked;

	loop_signals(&ours);
	blocked = ours;
	sigaddset(&blocked, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &blocked, NULL) == -1)
		return -1;
	signals = signalfd(-1, &ours, SFD_NONBLOCK | SFD_CLOEXEC);
	return signals == -1 ? -1 : 0;
}

/* The number of a signal that has come; 0 = none. */
static int
next_signal(const struct wants *ready)
{
	struct signalfd_siginfo info;

	if (!FD_ISSET((unsigned)signals, &ready->rd) || read(signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}

/* Waits until something is ready or a deadline is reached. */
static void
wait_once(struct wants *w, uint64_t now)
{
	struct timeval tv = {.tv_usec = LOOP_REST_US}, *timeout = NULL;
	uint64_t ms;

	if (w->crowded)
		(void)select(0, NULL, NULL, NULL, &tv);
	if (w->deadline != UINT64_MAX) {
		ms = w->deadline > now ? w->deadline - now : 0;
		tv.tv_sec = (time_t)(ms / 1000u);
		tv.tv_usec = (suseconds_t)(ms % 1000u) * 1000;
		timeout = &tv;
	}
	if (select(w->nfds, &w->rd, &w->wr, NULL, timeout) <= 0) {
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
	w->crowded = false;
	wants_fd(w, signals, &w->rd);
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

void
loop_run(const struct member *members, size_t count, struct now *now, bool (*goes_on)(int number))
{
	struct wants w;

	/* A rest is to be as long as it says: the kernel's usual slack is 50 us. */
	(void)syscall(SYS_prctl, (long)PR_SET_TIMERSLACK, 1L);
	now_read(now);
	do
		turn(members, count, &w, now);
	while (goes_on(next_signal(&w)));
}
