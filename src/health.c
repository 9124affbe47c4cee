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

static struct addr
address_of(const struct addr *listening)
{
	struct addr to = *listening;

	if (!addr_is_unspecified(&to))
		return to;
	if (to.family == ADDR_V4)
		to.ip[0] = 127;
	to.ip[to.family == ADDR_V4 ? 3 : 15] = 1;
	return to;
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
	if (n < (long)sizeof(query) || dns_id(answer) != 0 || (dns_flags(answer) & DNS_QR) == 0 ||
	    memcmp(answer + DNS_HEADER, query + DNS_HEADER, sizeof(query) - DNS_HEADER) != 0)
		return "an answer that is none";
	if (live || dns_rcode(answer) == DNS_NOERROR)
		return NULL;
	return dns_rcode(answer) == DNS_SERVFAIL ? "no upstream answers it; its log says why"
						  : dns_rcode_text(rcode, dns_rcode(answer));
}

bool
health_ask(const struct addr *listening, bool live, char line[HEALTH_LINE_MAX])
{
	struct addr to = address_of(listening);
	int fd = net_connect_udp(&to);
	const char *wrong = fd == -1 ? text_error(errno) : "";
	char at[ADDR_TEXT_MAX];
	struct now now;
	uint64_t until;

	now_read(&now);
	until = now.mono_ms + HEALTH_MS;
	while (fd != -1 && wrong != NULL && now.mono_ms < until) {
		wrong = ask(fd, live);
		if (wrong != NULL)
			(void)comes(-1); /* an upstream may be asked meanwhile */
		now_read(&now);
	}
	text_make(line, HEALTH_LINE_MAX, "%s%s: %s: %s\n", wrong != NULL ? "not " : "", live ? "live" : "ready",
		  addr_text(at, &to), wrong != NULL ? wrong : live ? "it answers" : "an upstream answers it");
	return wrong == NULL;
}
