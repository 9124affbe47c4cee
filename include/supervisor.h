/* SPDX-License-Identifier: MIT */
/* Several processes that do the same work, and one that does nothing but keep them: it starts a worker again
 * that has died, passes signals on, and ends when they have.  What it had opened before (listening sockets
 * above all) outlives its workers, so nothing that the kernel has taken is lost with one. */
#ifndef DNPROXY_SUPERVISOR_H
#define DNPROXY_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

/* Runs work(0) .. work(count - 1), each in a process of its own, 1 <= count <= WORKERS_MAX; what it returns is
 * the process's exit status, and it begins as its fellows do: with this process's memory as it is now.  When all
 * of them have said that they are at work, ready() is called in this process.
 *
 * A worker that ends without having been told to is started again: the first time at once, later not sooner than
 * SUPERVISOR_REST_MS after its last start.  SIGUSR1 and SIGUSR2 are passed on to all.  So are SIGTERM and
 * SIGINT, after which this returns: when all have ended, or after SUPERVISOR_END_MS, when the others are
 * killed; when told again, at once.  When this process is killed itself, workers are sent SIGTERM.  Whatever other
 * children it has (process 1 of a container is given some) are collected too.
 *
 * A status other than 0 of one that follows no other says that it could not start; the rest could as little: all are
 * told to end likewise, and this returns false, else true.
 *
 * Called behind loop_take_signals(), which holds for the workers as well, in a process of one thread. */
bool supervisor_run(size_t count, int (*work)(size_t index), void (*ready)(void));

/* A worker says that it is at work. */
void supervisor_tell(void);

#endif
