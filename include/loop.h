/* SPDX-License-Identifier: MIT */
/* The select loop: asks every member what it waits for, waits once, lets everyone step, then lets
 * everyone send what was gathered.  Ends when SIGTERM or SIGINT has come; SIGUSR1 and SIGUSR2 are handed on. */
#ifndef DNPROXY_LOOP_H
#define DNPROXY_LOOP_H

#include <stddef.h>

#include "wants.h"

/* Takes SIGTERM, SIGINT, SIGUSR1 and SIGUSR2: blocked, they are read from a descriptor like everything else.  That
 * also holds for process 1 of a container, for which they have no default action, and for processes that are
 * made from this one: each reads its own.  SIGPIPE is blocked for good: a log that nobody reads any more ends
 * nothing.  So is SIGCHLD, for who waits for it.  Returns 0, or -1 with errno. */
int loop_take_signals(void);

/* Runs until SIGTERM or SIGINT; returns its number.  now is filled once a turn.  on_signal() is called
 * between two turns, with the number of any other signal. */
int loop_run(const struct member *members, size_t count, struct now *now, void (*on_signal)(int number));

#endif
