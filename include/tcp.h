/* SPDX-License-Identifier: MIT */
/* The stream side of the listener (RFC 7766): many questions on one connection, answers as they
 * come.  Bounded in every way: clients in all and per address, questions of one client on their way,
 * answers kept for clients that do not read.  A full table accepts nobody until a slot is free, or the
 * client that has been idle longest, for TCP_SPARE_MS at least, is closed for the new one.  A client that
 * says nothing costs nothing. */
#ifndef DNPROXY_TCP_H
#define DNPROXY_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "chunks.h"
#include "listener.h"
#include "now.h"
#include "proxy.h"
#include "wants.h"

#define TCP_NONE UINT16_MAX

/* A slot for one client.  fd is -1 in a free one. */
struct tcp_client {
	int fd;
	uint16_t generation; /* part of the token: a late reply to the slot's former owner misses */
	uint16_t owed;	     /* questions whose answers have not come */
	uint16_t have;	     /* octets in its input buffer */
	bool ended;	     /* the client has finished asking (half-close) */
	bool dead;	     /* to be closed in the next step() */
	bool stuck;	     /* the socket takes no more: kept waits for it */
	bool dirty;	     /* kept is to be written at the end of the turn */
	bool busy;	     /* in the list of those */
	uint8_t watched;     /* what is waited for: NET_IN, NET_OUT */
	uint8_t news;	     /* what the watch has told in this turn */
	struct chain kept;
	uint64_t deadline;  /* of its next whole message, or of reading on */
	uint64_t stuck_ms;  /* since when the socket takes no more; while stuck */
	uint64_t active_ms; /* its last question or answer */
	uint32_t taken;	    /* octets the socket has taken since the deadline was set */
	struct addr peer;
	uint16_t next, prev; /* in order of deadline, or next free */
};

struct tcp {
	struct listener listener; /* first, so that a pointer to it is one to this */
	struct proxy *proxy;
	struct tcp_client *client;
	uint8_t (*in)[2 + QUERY_MSG_MAX]; /* for input that did not come in whole messages */
	uint16_t clients, used, count;
	uint16_t per_address;
	uint16_t first, last; /* clients in order of deadline */
	uint16_t free;
	int watch; /* over all clients' descriptors */
	uint16_t busies;
	const struct now *now;	  /* the turn's time */
	uint64_t no_accept_until; /* descriptors are used up: asking again at once would spin */
	int fd[LISTEN_MAX];
	size_t sockets;
	uint64_t turned_away;		/* connections over the bound per address */
	uint64_t evicted;		/* clients closed because they did not read */
	uint16_t busy[TCP_CLIENTS_MAX]; /* clients that something happens to: nobody else costs anything */
	uint8_t scratch[2 + QUERY_MSG_MAX];
	struct chunk_pool pool;
};

/* Octets of the block tcp_init() needs for so many clients. */
size_t tcp_memory(uint32_t clients);

/* block: tcp_memory(clients) octets, aligned for any type, all zero.  clients <= TCP_CLIENTS_MAX.
 * proxy and now stay in use.  Returns 0, or -1 with errno. */
int tcp_init(struct tcp *t, void *block, struct proxy *proxy, uint32_t clients, uint32_t per_address,
	     const struct now *now);

/* Adds a listening socket of net_listen_tcp(), at most LISTEN_MAX; it is closed with the others. */
void tcp_add(struct tcp *t, int fd);

/* Writes what is gathered as far as sockets take it, and closes them all. */
void tcp_close(struct tcp *t);

struct member tcp_member(struct tcp *t);

#endif
