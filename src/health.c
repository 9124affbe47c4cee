/* SPDX-License-Identifier: MIT */
#include "health.h"

#include <errno.h>
#include <string.h>
#include <sys/select.h>

#include "dns.h"
#include "net.h"
#include "now.h"
#include "text.h"

#define STATUS_OPCODE 0x1000u /* opcode 2, which is answered with an error, without a look at anything else */

/* Waits for what comes, for HEALTH_AGAIN_MS; -1: just that long. */
static bool
comes(int fd)
{
	struct timeval tv = {.tv_usec = HEALTH_AGAIN_MS * 1000};
	fd_set rd;

	FD_ZERO(&rd);
	if (fd != -1)
		FD_SET((unsigned)fd, &rd);
	return select(fd + 1, &rd, NULL, NULL, &tv) > 0;
}

/* Asks once.  Returns what is wrong, or NULL. */
static const char *
ask(int fd, bool live)
{
	uint8_t query[DNS_READY_LEN], answer[UDP_SIZE_MIN];
	static char rcode[DNS_RCODE_TEXT_MAX];
	long n;

	memcpy(query, dns_ready, sizeof(query));
	dns_set_flags(query, live ? STATUS_OPCODE : 0);
	(void)net_write(fd, query, sizeof(query));
	if (!comes(fd))
		return "no answer";
	n = net_read(fd, answer, sizeof(answer));
	if (n == NET_FAILED)
		return text_error(errno);
	/* Its ID is 0, and it is no question. */
	if (n < (long)sizeof(query) || (get32(answer) & (0xffff0000u | DNS_QR)) != DNS_QR ||
	    memcmp(answer + DNS_HEADER, query + DNS_HEADER, sizeof(query) - DNS_HEADER) != 0)
		return "an answer that is none";
	if (live || dns_rcode(answer) == DNS_NOERROR)
		return NULL;
	return dns_rcode(answer) == DNS_SERVFAIL ? "no upstream answers it; its log says why"
						 : dns_rcode_text(rcode, dns_rcode(answer));
}

bool
health_ask(struct addr *at, bool live, char line[HEALTH_LINE_MAX])
{
	const char *wrong = "";
	char text[ADDR_TEXT_MAX];
	struct now now;
	uint64_t until;
	int fd;

	if (addr_is_unspecified(at)) {
		at->ip[0] = at->family == ADDR_V4 ? 127 : 0;
		at->ip[at->family == ADDR_V4 ? 3 : 15] = 1;
	}
	fd = net_connect_udp(at);
	if (fd == -1)
		wrong = text_error(errno);
	now_read(&now);
	until = now.mono_ms + HEALTH_MS;
	while (fd != -1 && wrong != NULL && now.mono_ms < until) {
		wrong = ask(fd, live);
		if (wrong != NULL)
			(void)comes(-1); /* an upstream may be asked meanwhile */
		now_read(&now);
	}
	text_make(line, HEALTH_LINE_MAX, "%s%s: %s: %s\n", wrong != NULL ? "not " : "", live ? "live" : "ready",
		  addr_text(text, at), wrong != NULL ? wrong : "well");
	return wrong == NULL;
}
