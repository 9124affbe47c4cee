/* SPDX-License-Identifier: MIT */
/* How a question goes out: the promise between the core and whatever carries it to a resolver. */
#ifndef DNPROXY_UPSTREAM_H
#define DNPROXY_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

enum upstream_verdict {
	UPSTREAM_TAKEN, /* copied, on its way */
	UPSTREAM_SOON,	/* not now; proxy_ready() or proxy_lost() will follow */
	UPSTREAM_MAYBE, /* as SOON, but it has failed or fell silent before: ask others too */
	UPSTREAM_DOWN	/* not for a while; proxy_ready() follows when it can be tried again */
};

struct upstream {
	unsigned index;	     /* its place in the list of the settings */
	const char *trouble; /* why it is down, in words that stay valid; NULL = it is not */
	uint32_t doubt_ms;   /* the proxy's word on how long it may be silent with questions open */

	/* Offers one message of at most UPSTREAM_MSG_MAX octets; its ID is ours already.  msg is
	 * borrowed for the call.  Never calls the proxy. */
	enum upstream_verdict (*send)(struct upstream *self, const uint8_t *msg, size_t len);

	/* Ends its rest early, if it rests: all others do too.  Returns false when it will not be woken.
	 * Never calls the proxy. */
	bool (*wake)(struct upstream *self);

	/* The upstream said how long it keeps an idle connection (RFC 7828); 0 = it wants it closed
	 * now.  Never calls the proxy. */
	void (*keepalive)(struct upstream *self, uint32_t idle_ms);

	char name[ADDR_TEXT_MAX]; /* for the log */
};

#endif
