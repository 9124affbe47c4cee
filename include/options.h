/* SPDX-License-Identifier: MIT */
/* What the command line asks for. */
#ifndef DNPROXY_OPTIONS_H
#define DNPROXY_OPTIONS_H

#include <stdbool.h>

#include "bounds.h"
#include "probe.h"

enum options_task { TO_SERVE, TO_CHECK, TO_HELP, TO_VERSION, TO_PROBE, TO_HEALTH };

struct options {
	const char *path; /* of the settings; NULL = the usual ones */
	enum options_task task;
	struct probe_wishes wishes;
	bool live;	    /* of health: without upstreams */
	const char *target; /* of a probe; NULL = all upstreams */
};

/* The text of --help, but for the settings. */
extern const char options_usage[];

/* Reads what main() is given into *o, which then points into argv.  Returns 0; or -1 with one line in err. */
int options_read(struct options *o, int argc, char **argv, char err[CONFIG_ERROR_MAX]);

#endif
