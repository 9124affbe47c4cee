/* SPDX-License-Identifier: MIT */
#include "now.h"

#include <time.h>

static int64_t floor_s;

void
now_set_floor(int64_t utc_s)
{
	floor_s = utc_s;
}

void
now_read(struct now *now)
{
	struct timespec ts;

	/* While the machine sleeps, time goes on for the peers; CLOCK_MONOTONIC would not notice. */
	if (clock_gettime(CLOCK_BOOTTIME, &ts) == -1)
		clock_gettime(CLOCK_MONOTONIC, &ts);
	now->mono_ms = (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
	clock_gettime(CLOCK_REALTIME, &ts);
	now->unset = ts.tv_sec < floor_s;
	now->utc_s = now->unset ? floor_s : ts.tv_sec;
}
