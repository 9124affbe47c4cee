/* SPDX-License-Identifier: MIT */
/* The limit: what answering over UDP costs at least, with nothing behind it.  Takes datagrams in batches,
 * makes each into an answer with one A record where it lies, and sends the batch back.
 *
 *   limit PORT
 *
 * Looks at nothing but the header: good enough for a load generator, and for nobody else. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64u
#define MSG_SPACE 600u
#define SO_RCVBUF_OCTETS (1 << 20)

static const uint8_t record[16] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};

static uint8_t octets[BATCH][MSG_SPACE];
static struct sockaddr_in from[BATCH];
static struct iovec part[BATCH];
static struct mmsghdr batch[BATCH];

static int
listen_at(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = SO_RCVBUF_OCTETS;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (fd == -1 || bind(fd, (struct sockaddr *)&at, sizeof(at)) == -1)
		err(1, "listen");
	return fd;
}

static void
prepare(unsigned i)
{
	part[i] = (struct iovec){octets[i], MSG_SPACE - sizeof(record)};
	batch[i].msg_hdr = (struct msghdr){
		.msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &part[i], .msg_iovlen = 1};
}

/* The query has a question and nothing else.  A datagram without a header goes back as it came. */
static void
make_answer(unsigned i)
{
	uint8_t *msg = octets[i];
	size_t len = batch[i].msg_len;

	part[i].iov_len = len;
	if (len < 12)
		return;
	msg[2] |= 0x80;
	msg[3] = 0x80;
	msg[7] = 1;
	memcpy(msg + len, record, sizeof(record));
	part[i].iov_len += sizeof(record);
}

int
main(int argc, char **argv)
{
	unsigned i;
	int fd, n, sent, done;

	if (argc != 2)
		errx(2, "usage: limit PORT");
	fd = listen_at((uint16_t)strtoul(argv[1], NULL, 10));
	for (i = 0; i < BATCH; i++)
		prepare(i);
	for (;;) {
		n = recvmmsg(fd, batch, BATCH, MSG_WAITFORONE, NULL);
		for (i = 0; (int)i < n; i++)
			make_answer(i);
		for (done = 0; done < n; done += sent)
			if ((sent = sendmmsg(fd, batch + done, (unsigned)(n - done), 0)) < 1)
				break; /* clients that have gone */
		for (i = 0; (int)i < n; i++)
			prepare(i);
	}
}
