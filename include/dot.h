/* SPDX-License-Identifier: MIT */
/* One upstream reached by DNS over TLS (RFC 7858): one lasting connection, opened when a question needs it,
 * with many questions in flight; and a second one while the first is silent and another takes its place.
 * What an end means is decided here: an idle close is the server's right and teaches how long it waits;
 * trouble makes it rest. */
#ifndef DNPROXY_DOT_H
#define DNPROXY_DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "conn.h"
#include "now.h"
#include "proxy.h"
#include "tls.h"
#include "upstream.h"
#include "wants.h"

/* What is used most comes first, for the sake of short code. */
struct dot {
	struct upstream up; /* first, so that a pointer to it is one to this */
	struct proxy *proxy;
	const struct now *now; /* the turn's time */
	struct conn *cur;      /* takes questions */
	struct conn *old;      /* fell silent and was replaced: what it still answers counts; else CLOSED */
	uint64_t old_until;
	uint64_t replaced_ms;
	uint64_t suspect_ms; /* when that is looked at again */
	uint64_t rest_until;
	uint32_t rest_ms; /* the next rest */
	/* How long an idle connection is kept, less a margin: */
	uint32_t granted_ms; /* this one, by the server's word (RFC 7828); UINT32_MAX = it said nothing */
	uint32_t learnt_ms;  /* any, as has been seen, at the most */
	unsigned in_time;    /* closes of ours in a row before it closed */
	bool keep_warm;
	bool suspected;	    /* cur is silent with questions open, and the proxy knows */
	bool resting;	    /* it failed; not again before rest_until */
	bool distrusted;    /* for the certificate: the rest is not cut short */
	bool blocked;	    /* somebody was told SOON for want of room */
	bool silent;	    /* proxy_suspect() is owed, */
	bool replaced;	    /* for a connection that is being replaced */
	bool kept;	    /* proxy_kept() is owed */
	bool fresh;	    /* proxy_ready() is owed */
	bool lost;	    /* proxy_lost() is owed */
	bool dropping;	    /* dot_drop() was called */
	unsigned barren;    /* connections in a row that ended with questions and without one answer */
	unsigned failures;  /* in a row, without an answer between */
	uint64_t logged_ms; /* the last line about trouble */
	bool told;	    /* of trouble; that it is over, not yet */
	const char *label;  /* for the log: what it must prove */
	struct addr addr;
	struct tls_rules rules;
	struct tls_past past;
	uint64_t opened[3]; /* connections that were, by enum tls_effort */
	char trouble[400];
};

/* Octets of the block dot_init() needs. */
size_t dot_memory(void);

/* block: dot_memory() octets, aligned for any type, zero.  What rules points to, proxy and now stay in use;
 * rules without a name are given the address itself.  Adds itself to the proxy. */
struct dot *dot_init(void *block, const struct addr *addr, const struct tls_rules *rules, bool keep_warm,
		     struct proxy *proxy, const struct now *now);

/* The network is another one: in the next turn its connections end, without blame, and questions that were
 * open go out again over new ones; a rest is over. */
void dot_drop(struct dot *d);

/* Ends the connection for good, with a close_notify if there is room for it. */
void dot_close(struct dot *d);

struct member dot_member(struct dot *d);

#endif
