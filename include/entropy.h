/* SPDX-License-Identifier: MIT */
/* Unpredictable octets from getrandom(2), for query IDs and TLS.  There is no second source: no
 * device node is needed, and where the kernel has nothing to give, nothing is sent. */
#ifndef DNPROXY_ENTROPY_H
#define DNPROXY_ENTROPY_H

#include <stddef.h>

/* Fills buf[0..len).  Returns 0; or -1 when the kernel's pool is not ready yet (early boot) or
 * getrandom is not there (Linux before 3.17); buf is not to be used then.  Never blocks. */
int entropy_fill(void *buf, size_t len);

#endif
