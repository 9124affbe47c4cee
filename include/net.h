/* SPDX-License-Identifier: MIT */
/* Non-blocking sockets with plain verdicts.  Every descriptor given out is below FD_SETSIZE, is
 * closed on exec, and never raises SIGPIPE. */
#ifndef DNPROXY_NET_H
#define DNPROXY_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"

/* Results of reading and writing that are no number of octets. */
#define NET_CLOSED 0	/* the peer has finished sending */
#define NET_AGAIN (-1)	/* not now */
#define NET_FAILED (-2) /* errno says why; close it */

/* Listening sockets on an address and port.  IPv6 sockets take IPv6 only.  Where the
 * address is 0.0.0.0 or ::, datagrams come with the address that was asked.  Of those that are shared there may
 * be several for one address and port, between which the kernel spreads clients (SO_REUSEPORT).
 * Returns a descriptor, or -1 with errno. */
int net_listen_udp(const struct addr *at, bool shared);
int net_listen_tcp(const struct addr *at, bool shared);

/* Takes a waiting connection.  Returns a descriptor; NET_AGAIN when there is none (any more);
 * NET_FAILED when descriptors or memory are used up (EMFILE, ENFILE, ENOBUFS, ENOMEM). */
int net_accept(int listening, struct addr *peer);

/* Begins a connection, without delay of small segments.  Returns a descriptor, or -1 with errno. */
int net_connect(const struct addr *to);

/* A socket for datagrams to and from there alone; that nobody listens there shows as ECONNREFUSED when it is
 * read.  Returns a descriptor, or -1 with errno. */
int net_connect_udp(const struct addr *to);

/* What became of a connection once its descriptor can be written to: 0 = it is there, else errno. */
int net_connect_error(int fd);

/* Octets read or written (> 0), or one of the above.  Writing never gives NET_CLOSED. */
long net_read(int fd, uint8_t *buf, size_t cap);
long net_write(int fd, const uint8_t *buf, size_t len);

/* Writes up to 16 pieces in one call, as net_write(). */
struct net_piece {
	const uint8_t *data;
	size_t len;
};
long net_write_pieces(int fd, const struct net_piece *piece, size_t pieces);

/* Asks the kernel to acknowledge at once what has been read: servers that send small segments one
 * by one (Nagle) wait for it.  Linux forgets it again, so it is said after each read. */
void net_quick_ack(int fd);

/* Whether the peer's kernel has acknowledged all that was written; false where it cannot be told. */
bool net_is_acknowledged(int fd);

void net_close(int fd);

/* A watch on many descriptors that costs nothing for those without news: itself a descriptor, readable while any has
 * some.  (epoll: select() looks at each of its descriptors every time, 900 quiet ones for every query.) */
#define NET_IN 1u	 /* readable */
#define NET_OUT 4u	 /* writable */
#define NET_BROKEN 0x18u /* either bit: an error, or neither end will send any more; always told */
#define NET_NEWS_MAX 64u

struct net_news {
	uint32_t token;
	uint32_t what;
};

/* Returns a descriptor, or -1 with errno. */
int net_watch_open(void);

/* Puts fd under watch, once (is_new); later: for other news.  news: NET_IN, NET_OUT, both or none.  It ends with
 * the descriptor.  Returns 0, or -1 when the kernel has no room for it. */
int net_watch(int watch, int fd, uint32_t token, uint32_t news, bool is_new);

/* Fills at most NET_NEWS_MAX.  Who is left out has its turn next time.  Returns how many. */
size_t net_watched(int watch, struct net_news *news);

/* Datagrams, up to UDP_BATCH a call. */
struct net_datagram {
	uint8_t *data;
	size_t len; /* received: its whole length, even when longer than the room given */
	struct addr peer;
	struct addr local; /* the address it came to or leaves from; ADDR_NONE = the socket's own */
};

/* Receives into d[i].data, of room octets each.  Returns how many came, 0 for none. */
size_t net_receive(int fd, struct net_datagram *d, size_t max, size_t room);

/* Sends d[0..count).  Returns how many the kernel took; those it did not are lost, as datagrams may
 * be. */
size_t net_send(int fd, const struct net_datagram *d, size_t count);

#endif
