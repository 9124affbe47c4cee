/* SPDX-License-Identifier: MIT */
/* The select loop: asks every member what it waits for, waits once, lets everyone step, then lets
 * everyone send what was gathered.  Ends when SIGTERM or SIGINT has come. */
#ifndef DNPROXY_LOOP_H
#define DNPROXY_LOOP_H

#include <stddef.h>

#include "wants.h"

/* Takes SIGTERM and SIGINT, and ignores SIGPIPE.  They stay blocked but while the loop waits, so
 * none is missed.  As process 1 of a container there is no default action: this makes it stop. */
void loop_take_signals(void);

/* Runs until a signal of the above; returns its number.  now is filled once a turn. */
int loop_run(const struct member *members, size_t count, struct now *now);

#endif
