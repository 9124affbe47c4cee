/* SPDX-License-Identifier: MIT */
/* How an answer finds its way back: the promise between the core and whatever takes questions. */
#ifndef DNPROXY_LISTENER_H
#define DNPROXY_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

struct listener;

/* Who asked, as a value.  The token names slot and generation inside the listener, so a client
 * that is gone makes it stale; nobody points to it. */
struct origin {
	struct listener *via;
	uint32_t token;
	uint16_t max;	   /* the largest answer this listener carries */
	struct addr peer;  /* who asked */
	struct addr local; /* the address that was asked; family ADDR_NONE where it does not matter */
};

struct listener {
	const char *name; /* for the log: "udp", "tcp" */
	bool stream;	  /* the client can take origin.max octets, whatever its OPT says */
	int keepalive;	  /* idle time to tell clients that ask for it, in 100 ms; -1 = none is said */

	/* Gives msg[0..len) to whoever asked.  msg is borrowed for the call.  A client that cannot
	 * take it is closed by its listener later, in step().  Never calls the proxy. */
	void (*reply)(struct listener *self, const struct origin *to, const uint8_t *msg, size_t len);
};

#endif
