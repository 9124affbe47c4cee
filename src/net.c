/* SPDX-License-Identifier: MIT */
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

union sockname {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t
to_sockname(union sockname *s, const struct addr *a)
{
	memset(s, 0, sizeof(*s));
	if (a->family == ADDR_V4) {
		s->v4.sin_family = AF_INET;
		s->v4.sin_port = htons(a->port);
		memcpy(&s->v4.sin_addr, a->ip, 4);
		return sizeof(s->v4);
	}
	s->v6.sin6_family = AF_INET6;
	s->v6.sin6_port = htons(a->port);
	s->v6.sin6_scope_id = a->scope;
	memcpy(&s->v6.sin6_addr, a->ip, 16);
	return sizeof(s->v6);
}

static void
from_sockname(struct addr *a, const union sockname *s)
{
	memset(a, 0, sizeof(*a));
	if (s->any.sa_family == AF_INET) {
		a->family = ADDR_V4;
		a->port = ntohs(s->v4.sin_port);
		memcpy(a->ip, &s->v4.sin_addr, 4);
	} else if (s->any.sa_family == AF_INET6) {
		a->family = ADDR_V6;
		a->port = ntohs(s->v6.sin6_port);
		a->scope = s->v6.sin6_scope_id;
		memcpy(a->ip, &s->v6.sin6_addr, 16);
	}
}

static void
set_option(int fd, int level, int name, int value)
{
	/* What a kernel does not know is a convenience missed, not an error. */
	(void)setsockopt(fd, level, name, &value, sizeof(value));
}

/* FD_SET() beyond FD_SETSIZE writes outside the set. */
static int
below_fd_setsize(int fd)
{
	if (fd >= FD_SETSIZE) {
		close(fd);
		errno = EMFILE;
		return -1;
	}
	return fd;
}

static int
open_socket(const struct addr *a, int type)
{
	int family = a->family == ADDR_V4 ? AF_INET : AF_INET6;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd == -1 ? -1 : below_fd_setsize(fd);
}

/* Closes what was opened in vain.  Returns -1, and leaves the errno that was the reason. */
static int
give_back(int fd)
{
	int error = errno;

	close(fd);
	errno = error;
	return -1;
}

static int
open_bound(const struct addr *at, int type, bool shared)
{
	union sockname s;
	socklen_t len = to_sockname(&s, at);
	int fd = open_socket(at, type);

	if (fd == -1)
		return -1;
	if (at->family == ADDR_V6)
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (type == SOCK_STREAM)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (shared)
		set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (bind(fd, &s.any, len) == -1)
		return give_back(fd);
	return fd;
}

int
net_listen_udp(const struct addr *at, bool shared)
{
	static const uint8_t zero[16];
	int fd = open_bound(at, SOCK_DGRAM, shared);
	bool wildcard;

	if (fd == -1)
		return -1;
	set_option(fd, SOL_SOCKET, SO_RCVBUF, UDP_RCVBUF);
	wildcard = memcmp(at->ip, zero, sizeof(zero)) == 0;
	if (wildcard && at->family == ADDR_V4)
		set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
	if (wildcard && at->family == ADDR_V6)
		set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	return fd;
}

int
net_listen_tcp(const struct addr *at, bool shared)
{
	int fd = open_bound(at, SOCK_STREAM, shared);

	if (fd == -1)
		return -1;
	if (listen(fd, TCP_BACKLOG) == -1)
		return give_back(fd);
	return fd;
}

int
net_accept(int listening, struct addr *peer)
{
	union sockname s = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t len = sizeof(s);
	int fd;

	/* A connection that its client gave up meanwhile is no reason to stop looking. */
	do
		fd = accept4(listening, &s.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd == -1 && (errno == EINTR || errno == ECONNABORTED));
	if (fd == -1 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
		return NET_FAILED;
	if (fd == -1)
		return NET_AGAIN;
	if (below_fd_setsize(fd) == -1)
		return NET_FAILED;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	from_sockname(peer, &s);
	return fd;
}

static int
open_connected(const struct addr *to, int type)
{
	union sockname s;
	socklen_t len = to_sockname(&s, to);
	int fd = open_socket(to, type);

	if (fd == -1)
		return -1;
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (connect(fd, &s.any, len) == -1 && errno != EINPROGRESS && errno != EINTR)
		return give_back(fd);
	return fd;
}

int
net_connect(const struct addr *to)
{
	return open_connected(to, SOCK_STREAM);
}

int
net_connect_udp(const struct addr *to)
{
	return open_connected(to, SOCK_DGRAM);
}

int
net_connect_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		return errno;
	return error;
}

static long
verdict(ssize_t n)
{
	if (n >= 0)
		return (long)n;
	return errno == EAGAIN || errno == EINTR ? NET_AGAIN : NET_FAILED;
}

long
net_read(int fd, uint8_t *buf, size_t cap)
{
	return verdict(recv(fd, buf, cap, 0));
}

long
net_write(int fd, const uint8_t *buf, size_t len)
{
	return verdict(send(fd, buf, len, MSG_NOSIGNAL));
}

#define PIECES_MAX 16

long
net_write_pieces(int fd, const struct net_piece *piece, size_t pieces)
{
	struct iovec iov[PIECES_MAX];
	struct mmsghdr m;

	memset(&m, 0, sizeof(m));
	m.msg_hdr.msg_iov = iov;
	for (size_t i = 0; i < pieces && i < PIECES_MAX; i++) {
		iov[i].iov_base = (void *)(uintptr_t)piece[i].data;
		iov[i].iov_len = piece[i].len;
		m.msg_hdr.msg_iovlen++;
	}
	/* The library's sendmsg() is 300 octets of what we know not to need. */
	return verdict(syscall(SYS_sendmmsg, fd, &m, 1, MSG_NOSIGNAL) == 1 ? (ssize_t)m.msg_len : -1);
}

void
net_quick_ack(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
}

bool
net_is_acknowledged(int fd)
{
	struct tcp_info info = {.tcpi_unacked = 1};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 && info.tcpi_unacked == 0;
}

void
net_close(int fd)
{
	close(fd);
}

/* ---- Many descriptors ----------------------------------------------------------------------- */

_Static_assert(NET_IN == EPOLLIN && NET_OUT == EPOLLOUT && NET_BROKEN == (EPOLLERR | EPOLLHUP),
	       "the kernel's bits");

int
net_watch_open(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd == -1 ? -1 : below_fd_setsize(fd);
}

int
net_watch(int watch, int fd, uint32_t token, uint32_t news, bool is_new)
{
	struct epoll_event e = {.events = news, .data = {.u32 = token}};

	return epoll_ctl(watch, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &e);
}

size_t
net_watched(int watch, struct net_news *news)
{
	struct epoll_event e[NET_NEWS_MAX];
	int n = epoll_wait(watch, e, NET_NEWS_MAX, 0);

	for (int i = 0; i < n; i++)
		news[i] = (struct net_news){e[i].data.u32, e[i].events};
	return n > 0 ? (size_t)n : 0;
}

/* ---- Datagrams ------------------------------------------------------------------------------ */

#define CONTROL_MAX CMSG_SPACE(sizeof(struct in6_pktinfo))

/* What the kernel needs for one batch.  Static: it is touched again and again, never shared. */
static struct batch {
	struct mmsghdr head[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	union sockname name[UDP_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[UDP_BATCH][CONTROL_MAX];
} batch;

/* CMSG_NXTHDR() of musl mixes signs; the compiler blames whoever uses it. */
static struct cmsghdr *
next_control(struct msghdr *m, struct cmsghdr *c)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
	return CMSG_NXTHDR(m, c);
#pragma GCC diagnostic pop
}

/* The address a datagram came to, from its packet info.  The interface matters for link-local
 * addresses alone; for others it would bypass the routing table. */
static void
read_local(struct addr *local, struct msghdr *m)
{
	struct in_pktinfo v4;
	struct in6_pktinfo v6;

	memset(local, 0, sizeof(*local));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = next_control(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&v4, CMSG_DATA(c), sizeof(v4));
			local->family = ADDR_V4;
			memcpy(local->ip, &v4.ipi_addr, 4);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&v6, CMSG_DATA(c), sizeof(v6));
			local->family = ADDR_V6;
			memcpy(local->ip, &v6.ipi6_addr, 16);
			if (IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
				local->scope = v6.ipi6_ifindex;
		}
	}
}

/* Makes the reply leave from the address that was asked (RFC 2181 section 4.1). */
static void
write_local(struct msghdr *m, uint8_t *control, const struct addr *local)
{
	union {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;
	} info;
	bool is_v4 = local->family == ADDR_V4;
	size_t len = is_v4 ? sizeof(info.v4) : sizeof(info.v6);
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;

	if (local->family == ADDR_NONE)
		return;
	memset(&info, 0, sizeof(info));
	if (is_v4) {
		memcpy(&info.v4.ipi_spec_dst, local->ip, 4);
	} else {
		memcpy(&info.v6.ipi6_addr, local->ip, 16);
		info.v6.ipi6_ifindex = local->scope;
	}
	memset(control, 0, CONTROL_MAX);
	m->msg_control = control;
	m->msg_controllen = (socklen_t)CMSG_SPACE(len);
	c->cmsg_level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
	c->cmsg_type = is_v4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = (socklen_t)CMSG_LEN(len);
	memcpy(CMSG_DATA(c), &info, len);
}

static void
prepare(size_t i, uint8_t *data, size_t len)
{
	struct msghdr *m = &batch.head[i].msg_hdr;

	batch.iov[i].iov_base = data;
	batch.iov[i].iov_len = len;
	memset(m, 0, sizeof(*m));
	m->msg_iov = &batch.iov[i];
	m->msg_iovlen = 1;
	m->msg_name = &batch.name[i];
	batch.head[i].msg_len = 0;
}

size_t
net_receive(int fd, struct net_datagram *d, size_t max, size_t room)
{
	long n;

	if (max > UDP_BATCH)
		max = UDP_BATCH;
	for (size_t i = 0; i < max; i++) {
		struct msghdr *m = &batch.head[i].msg_hdr;

		prepare(i, d[i].data, room);
		m->msg_namelen = sizeof(batch.name[i]);
		m->msg_control = batch.control[i];
		m->msg_controllen = CONTROL_MAX;
	}
	/* The system calls themselves: musl's sendmmsg() sends one by one, and for both its cleaning
	 * of the padding in struct msghdr is done above. */
	n = syscall(SYS_recvmmsg, fd, batch.head, (unsigned)max, MSG_TRUNC, NULL);
	for (long i = 0; i < n; i++) {
		d[i].len = batch.head[i].msg_len;
		from_sockname(&d[i].peer, &batch.name[i]);
		read_local(&d[i].local, &batch.head[i].msg_hdr);
	}
	return n > 0 ? (size_t)n : 0;
}

size_t
net_send(int fd, const struct net_datagram *d, size_t count)
{
	size_t done = 0, sent = 0;

	if (count > UDP_BATCH)
		count = UDP_BATCH;
	for (size_t i = 0; i < count; i++) {
		struct msghdr *m = &batch.head[i].msg_hdr;

		prepare(i, d[i].data, d[i].len);
		m->msg_namelen = to_sockname(&batch.name[i], &d[i].peer);
		write_local(m, batch.control[i], &d[i].local);
	}
	while (done < count) {
		long n = syscall(SYS_sendmmsg, fd, batch.head + done, (unsigned)(count - done), MSG_NOSIGNAL);

		if (n > 0) {
			done += (size_t)n;
			sent += (size_t)n;
		} else if (errno == EAGAIN) {
			break; /* the socket is full: these are lost */
		} else {
			done++; /* this one cannot be sent (no route, a filter); the others can */
		}
	}
	return sent;
}
