/* SPDX-License-Identifier: MIT */
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bounds.h"
#include "log.h"
#include "loop.h"
#include "now.h"
#include "text.h"

static struct worker {
	uint64_t due_ms; /* not started before this; 0 = it never was */
	pid_t pid;	 /* 0 = none */
	bool again;	 /* it follows another */
} worker[WORKERS_MAX];
static size_t workers;
static int (*what)(size_t index);
static bool failed;  /* one could not start that was to be the first */
static pid_t keeper; /* of the workers: this process, or its parent */

static uint64_t
clock_ms(void)
{
	struct now now;

	now_read(&now);
	return now.mono_ms;
}

/* ---- Workers -------------------------------------------------------------------------------- */

/* fork() without what the C library does in it for threads, which takes 2 kB: here is one thread.  Processors
 * disagree about the order of clone()'s arguments, of which all but the signal are zero; where the signal is not
 * the first (s390), there is a fork().  What the library remembers of the thread is that of the parent then, which
 * only raise() and abort() would ask for. */
static pid_t
divide(void)
{
#ifdef SYS_fork
	return (pid_t)syscall(SYS_fork);
#else
	return (pid_t)syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
#endif
}

/* In the new process.  Whoever keeps it may have gone before it asked to be told. */
static _Noreturn void
become_worker(size_t i)
{
	(void)syscall(SYS_prctl, (long)PR_SET_PDEATHSIG, (long)SIGTERM);
	if (getppid() != keeper)
		_exit(1);
	log_set_worker((unsigned)i + 1);
	_exit(what(i));
}

/* The first that follows a dead one does so at once; from then on they rest. */
static void
start(struct worker *w, uint64_t now)
{
	size_t i = (size_t)(w - worker);

	w->again = w->due_ms != 0;
	w->due_ms = w->again ? now + SUPERVISOR_REST_MS : now;
	w->pid = divide();
	if (w->pid == 0)
		become_worker(i);
	if (w->pid == -1) {
		w->pid = 0;
		log_warn("worker %zu cannot be started: %s", i + 1, text_error(errno));
	}
}

/* Starts who is missing.  Returns when the next one may be started; UINT64_MAX = all are there. */
static uint64_t
start_missing(void)
{
	uint64_t now = clock_ms(), first = UINT64_MAX;

	for (struct worker *w = worker; w < worker + workers; w++) {
		if (w->pid == 0 && w->due_ms <= now)
			start(w, now);
		if (w->pid == 0 && w->due_ms < first)
			first = w->due_ms;
	}
	return first;
}

static void
tell_all(int number)
{
	for (struct worker *w = worker; w < worker + workers; w++)
		if (w->pid != 0)
			(void)kill(w->pid, number);
}

static void
note_end(pid_t pid, int status, bool ending)
{
	bool killed = WIFSIGNALED(status);

	for (struct worker *w = worker; w < worker + workers; w++) {
		if (w->pid != pid)
			continue;
		w->pid = 0;
		/* Why, it has said itself. */
		failed |= !w->again && WEXITSTATUS(status) != 0; /* 0 of the killed */
		if (!ending && !failed)
			log_error("worker %zu ended (%s %d); starting it again", (size_t)(w - worker) + 1,
				  killed ? "signal" : "status",
				  killed ? WTERMSIG(status) : WEXITSTATUS(status));
	}
}

/* All that have ended, and as process 1 of a container whoever was left to us.  Returns whether there are
 * others. */
static bool
collect(bool ending)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_end(pid, status, ending);
	return pid == 0;
}

/* ---- Signals -------------------------------------------------------------------------------- */

/* Says when children end, even if whoever started this program had no interest in its own (SIG_IGN is kept by
 * exec).  The default is all zero in every processor's struct, the largest of which this is as long as. */
static void
hear_of_children(void)
{
	static long by_default[16];

	(void)syscall(SYS_rt_sigaction, (long)SIGCHLD, by_default, NULL, (long)(_NSIG / 8));
}

/* The next signal, or 0: none has come until then. */
static int
next_signal(const sigset_t *set, uint64_t until)
{
	uint64_t now = clock_ms(), ms = until > now ? until - now : 0;
	struct timespec wait;
	int number;

	if (ms > SUPERVISOR_LOOK_MS)
		ms = SUPERVISOR_LOOK_MS;
	wait.tv_sec = (time_t)(ms / 1000u);
	wait.tv_nsec = (long)(ms % 1000u) * 1000000;
	number = sigtimedwait(set, NULL, &wait);
	return number > 0 ? number : 0;
}

static void
end_all(const sigset_t *set, int number)
{
	uint64_t until = clock_ms() + SUPERVISOR_END_MS;

	tell_all(number);
	number = 0;
	while (collect(true) && clock_ms() < until && number != SIGTERM && number != SIGINT)
		number = next_signal(set, until);
	tell_all(SIGKILL);
}

void
supervisor_tell(void)
{
	(void)kill(keeper, SIGNAL_AT_WORK);
}

bool
supervisor_run(size_t count, int (*work)(size_t index), void (*ready)(void))
{
	sigset_t set;
	size_t at_work = 0;
	int number;

	keeper = getpid();
	workers = count;
	what = work;
	loop_signals(&set);
	hear_of_children();
	do {
		uint64_t start_at = start_missing(), log_at = log_deadline();

		number = next_signal(&set, start_at < log_at ? start_at : log_at);
		log_tick(clock_ms());
		(void)collect(number == SIGTERM || number == SIGINT);
		if (number == SIGUSR1 || number == SIGUSR2)
			tell_all(number);
		else if (number == SIGNAL_AT_WORK && ++at_work == count)
			ready();
	} while (number != SIGTERM && number != SIGINT && !failed);
	end_all(&set, failed ? SIGTERM : number);
	return !failed;
}
