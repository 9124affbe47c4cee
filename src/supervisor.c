/* SPDX-License-Identifier: MIT */
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bounds.h"
#include "log.h"
#include "now.h"
#include "text.h"

struct worker {
	pid_t pid; /* 0 = none */
	uint64_t started_ms;
};

static struct worker worker[WORKERS_MAX];
static size_t workers;
static int (*what)(size_t index);

static uint64_t
clock_ms(void)
{
	struct now now;

	now_read(&now);
	return now.mono_ms;
}

/* ---- Workers -------------------------------------------------------------------------------- */

/* In the new process.  Whoever keeps it may have gone before it asked to be told. */
static _Noreturn void
become_worker(size_t i, pid_t keeper)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != keeper)
		_exit(1);
	_exit(what(i));
}

static void
start(size_t i)
{
	pid_t keeper = getpid(), pid = fork();

	worker[i].started_ms = clock_ms();
	if (pid == 0)
		become_worker(i, keeper);
	worker[i].pid = pid > 0 ? pid : 0;
	if (pid == -1)
		log_warn("worker %zu cannot be started: %s", i + 1, text_error(errno));
}

static void
tell_all(int number)
{
	for (size_t i = 0; i < workers; i++)
		if (worker[i].pid != 0)
			(void)kill(worker[i].pid, number);
}

static size_t
alive(void)
{
	size_t n = 0;

	for (size_t i = 0; i < workers; i++)
		n += worker[i].pid != 0;
	return n;
}

static void
note_end(pid_t pid, int status, bool ending)
{
	for (size_t i = 0; i < workers; i++) {
		if (worker[i].pid != pid)
			continue;
		worker[i].pid = 0;
		if (!ending && WIFSIGNALED(status))
			log_error("worker %zu was ended by signal %d; starting it again", i + 1,
				  WTERMSIG(status));
		else if (!ending)
			log_error("worker %zu ended with status %d; starting it again", i + 1,
				  WEXITSTATUS(status));
	}
}

/* All that have ended, and as process 1 of a container whoever was left to us. */
static void
collect(bool ending)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		note_end(pid, status, ending);
}

/* Starts who is missing.  Returns the ms until the next one may be started; -1 = all are there. */
static int64_t
start_missing(void)
{
	uint64_t now = clock_ms();
	int64_t wait = -1;

	for (size_t i = 0; i < workers; i++) {
		uint64_t due = worker[i].started_ms + SUPERVISOR_REST_MS;

		if (worker[i].pid == 0 && (worker[i].started_ms == 0 || now >= due))
			start(i);
		else if (worker[i].pid == 0 && (wait == -1 || (int64_t)(due - now) < wait))
			wait = (int64_t)(due - now);
	}
	return wait;
}

/* ---- Signals -------------------------------------------------------------------------------- */

static void
fill(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
	sigaddset(set, SIGCHLD);
}

/* The next signal; 0 when none came within so many ms, -1 = for ever. */
static int
next_signal(const sigset_t *set, int64_t ms)
{
	struct timespec wait = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
	int number;

	do
		number = sigtimedwait(set, NULL, ms == -1 ? NULL : &wait);
	while (number == -1 && errno == EINTR);
	return number == -1 ? 0 : number;
}

static void
end_all(const sigset_t *set, int number)
{
	uint64_t end = clock_ms() + SUPERVISOR_END_MS, now;

	tell_all(number);
	for (collect(true); alive() > 0 && (now = clock_ms()) < end; collect(true))
		(void)next_signal(set, (int64_t)(end - now));
	tell_all(SIGKILL);
}

int
supervisor_run(size_t count, int (*work)(size_t index))
{
	sigset_t set;
	int number;

	workers = count;
	what = work;
	fill(&set);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1) {
		log_error("cannot take signals: %s", text_error(errno));
		return 1;
	}
	do {
		number = next_signal(&set, start_missing());
		collect(false);
		if (number == SIGUSR1 || number == SIGUSR2)
			tell_all(number);
	} while (number != SIGTERM && number != SIGINT);
	end_all(&set, number);
	return 0;
}
