/* SPDX-License-Identifier: MIT */
/* LAW(holds): what has to be true, whatever happens.  A test may define it itself before it includes this. */
#ifndef DNPROXY_TESTS_LAW_H
#define DNPROXY_TESTS_LAW_H

#include <stdio.h>
#include <stdlib.h>

#ifndef LAW
#define LAW(holds) \
	do { \
		if (!(holds)) { \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #holds); \
			abort(); \
		} \
	} while (0)
#endif

#endif
