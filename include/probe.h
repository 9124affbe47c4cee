/* SPDX-License-Identifier: MIT */
/* What can be learnt of an upstream before anybody depends on it: whether a query would be forwarded to it
 * and what is in the way, its times, its certificates and their pins, and what it does beyond the answer.
 * Works by connections of its own, one after the other, and takes its time.  A query leaves only on those
 * that are made by the upstream's own rules, as when serving. */
#ifndef DNPROXY_PROBE_H
#define DNPROXY_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "tls.h"

struct probe;

struct probe_wishes {
	const char *name; /* what is asked for, A */
	bool json;	  /* for programs; else for people */
	bool idle;	  /* also how long an idle connection is kept, which takes up to PROBE_IDLE_MS */
};

/* Whether that is a DNS name: labels of 1 to 63 octets with dots between them, as they are. */
bool probe_is_name(const char *name);

/* Octets of the block probe_init() needs. */
size_t probe_memory(void);

/* block: probe_memory() octets, aligned for any type, zero.  wishes stay in use.  say prints a text to a
 * descriptor, and returns 0 or -1. */
struct probe *probe_init(void *block, const struct probe_wishes *wishes, int (*say)(int fd, const char *text));

/* Probes one upstream and prints to standard output what was found; takes at most PROBE_MS, and what idle
 * takes.  Address and length of the rules are set here.  Returns whether a query would be forwarded and was
 * answered. */
bool probe_upstream(struct probe *p, const struct addr *addr, const struct tls_rules *rules);

/* After the last one.  Returns 0, or -1 when it could not be printed. */
int probe_end(struct probe *p);

#endif
