/* SPDX-License-Identifier: MIT */
/* What the process does once for all of its workers: how many there are, the descriptors they need, and every
 * listening socket, opened before anything else so that no worker ever has to. */
#ifndef DNPROXY_START_H
#define DNPROXY_START_H

#include <stddef.h>

#include "config.h"
#include "tcp.h"
#include "udp.h"

/* c->workers 0 becomes one for each processor this process may run on, at most WORKERS_MAX. */
void start_count(struct config *c);

/* Takes as many descriptors as are granted and of use, and lowers c->workers and c->tcp_clients to what these
 * and FD_SETSIZE allow; that it did is said in the log.  Returns 0; -1 when there are too few to serve at all, which the log
 * says too. */
int start_fit(struct config *c);

/* Opens a socket for datagrams and one for streams on each address, for each worker.  An address that somebody
 * listens at already is an error also where workers share it.  Returns 0, or -1 with a line in the log. */
int start_listen(const struct config *c);

/* Gives one worker its sockets, and closes those of the others in this process. */
void start_take(const struct config *c, size_t worker, struct udp *udp, struct tcp *tcp);

#endif
