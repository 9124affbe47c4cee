/* SPDX-License-Identifier: MIT */
/* The datagram side of the listener: reads what came in batches, gathers replies and sends them
 * together at the end of the turn.  One object serves all listening addresses. */
#ifndef DNPROXY_UDP_H
#define DNPROXY_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "listener.h"
#include "net.h"
#include "proxy.h"
#include "wants.h"

struct udp {
	struct listener listener; /* first, so that a pointer to it is one to this */
	struct proxy *proxy;
	uint16_t reply_max; /* dnproxy.udp_size */
	int fd[LISTEN_MAX];
	size_t sockets;
	uint64_t unsent; /* replies the kernel did not take */
	size_t outs, out_used;
	struct net_datagram out[UDP_BATCH]; /* replies of this turn, in order */
	uint32_t out_socket[UDP_BATCH];
	struct net_datagram in[UDP_BATCH];
	uint8_t in_data[UDP_BATCH][QUERY_MSG_MAX];
	uint8_t out_data[UDP_OUT_MAX];
};

void udp_init(struct udp *u, struct proxy *proxy, uint16_t reply_max);

/* Adds a listening socket of net_listen_udp(), at most LISTEN_MAX; it is closed with the others. */
void udp_add(struct udp *u, int fd);

/* Sends what is gathered, and closes the sockets. */
void udp_close(struct udp *u);

struct member udp_member(struct udp *u);

#endif
