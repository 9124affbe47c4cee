/* SPDX-License-Identifier: MIT */
#include "entropy.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>

int
entropy_fill(void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = getrandom(p, len, GRND_NONBLOCK);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}
