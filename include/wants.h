/* SPDX-License-Identifier: MIT */
/* What one turn of the loop waits for, and the promise of whoever takes part in it. */
#ifndef DNPROXY_WANTS_H
#define DNPROXY_WANTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/select.h>

#include "now.h"

/* Before the wait each member adds what it waits for; afterwards the same sets say what is ready. */
struct wants {
	int nfds;	   /* highest descriptor + 1 */
	uint64_t deadline; /* monotonic ms; UINT64_MAX = none */
	bool crowded;	   /* so much is on its way that a short rest is worth it: LOOP_REST_US */
	fd_set rd, wr;
};

struct member {
	void (*want)(void *self, struct wants *w);
	void (*step)(void *self, const struct wants *ready, const struct now *now);
	void (*flush)(void *self); /* the end of the turn: what was gathered goes out; may be NULL */
	void *self;
};

static inline void
wants_fd(struct wants *w, int fd, fd_set *set)
{
	FD_SET((unsigned)fd, set);
	if (fd >= w->nfds)
		w->nfds = fd + 1;
}

static inline void
wants_by(struct wants *w, uint64_t deadline)
{
	if (deadline < w->deadline)
		w->deadline = deadline;
}

#endif
