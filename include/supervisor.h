/* SPDX-License-Identifier: MIT */
/* Several processes that do the same work, and one that does nothing but keep them: it starts a worker again
 * that has died, passes signals on, and ends when they have.  What it had opened before (listening sockets
 * above all) outlives its workers, so nothing that the kernel has taken is lost with one. */
#ifndef DNPROXY_SUPERVISOR_H
#define DNPROXY_SUPERVISOR_H

#include <stddef.h>

/* Runs work(0) .. work(count - 1), each in a process of its own, 1 <= count <= WORKERS_MAX; what it returns is
 * the process's exit status.  A worker that ends without having been told to is started again, at once, or
 * SUPERVISOR_REST_MS after its last start.  SIGTERM and SIGINT are passed on to all, and those that have not ended
 * within SUPERVISOR_END_MS are killed; SIGUSR1 and SIGUSR2 are passed on.  Called before any of these signals
 * is taken by others; workers find them blocked, as loop_take_signals() wants them.  Workers end with this
 * process.  Returns the exit status of the program. */
int supervisor_run(size_t count, int (*work)(size_t index));

#endif
