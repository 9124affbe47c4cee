/* SPDX-License-Identifier: MIT */
/* The only reader of clocks.  Read once a turn; the time is handed down as a value. */
#ifndef DNPROXY_NOW_H
#define DNPROXY_NOW_H

#include <stdbool.h>
#include <stdint.h>

struct now {
	uint64_t mono_ms; /* never goes back, also when the clock is set */
	int64_t utc_s;	  /* seconds since 1970, not before the floor */
	bool unset;	  /* the clock stands before the floor: nobody has set it yet */
};

/* The moment before which it cannot be: the build date.  A router without a clock starts in 1970;
 * certificates are judged by this date then. */
void now_set_floor(int64_t utc_s);

void now_read(struct now *now);

#endif
