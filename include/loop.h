/* SPDX-License-Identifier: MIT */
/* The select loop: asks every member what it waits for, waits once, lets everyone step, then lets
 * everyone send what was gathered.  Signals are handed on between two turns. */
#ifndef DNPROXY_LOOP_H
#define DNPROXY_LOOP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#include "wants.h"

/* The signals that mean something here: SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGCHLD and SIGNAL_AT_WORK. */
void loop_signals(sigset_t *set);

/* Takes these: blocked, they are read from a descriptor like everything else.  That also holds for process 1 of a container, for which they have no default action, and
 * for processes that are made from this one: each reads its own.  SIGPIPE is blocked for good: a log that nobody
 * reads any more ends nothing.  Returns 0, or -1 with errno. */
int loop_take_signals(void);

/* Runs until goes_on() says no, which is called after each turn, with the number of a signal that has come, or 0.
 * now is filled once a turn. */
void loop_run(const struct member *members, size_t count, struct now *now, bool (*goes_on)(int number));

#endif
