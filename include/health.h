/* SPDX-License-Identifier: MIT */
/* Whether the program that is at work with these settings is well, asked over the network as its clients do: for
 * a container's health check, and whoever else restarts or spares what is not. */
#ifndef DNPROXY_HEALTH_H
#define DNPROXY_HEALTH_H

#include <stdbool.h>

#include "addr.h"

#define HEALTH_LINE_MAX 200

/* Asks the program that listens at this address (which becomes loopback where it is all addresses), again and again for at
 * most HEALTH_MS and a little.  live: whether it answers at all, which takes no upstream; else whether an upstream
 * has answered it lately, or does so now.  Returns which, and says it in a line of its own. */
bool health_ask(struct addr *at, bool live, char line[HEALTH_LINE_MAX]);

#endif
