/* SPDX-License-Identifier: MIT */
/* Names, questions and records of any octets: offsets stay inside, texts are clean and say the same.
 * Input: room for the text, then the message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "../unit/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Reads a text back into a name.  Returns its length. */
static size_t
name_of(uint8_t out[256], const char *text)
{
	size_t label = 0, n = 1;

	if (strcmp(text, ".") == 0) {
		out[0] = 0;
		return 1;
	}
	for (; *text != '\0'; text++) {
		LAW(n < 256);
		if (*text == '.') {
			out[label] = (uint8_t)(n - label - 1);
			label = n++;
		} else if (*text != '\\') {
			out[n++] = (uint8_t)*text;
		} else if (text[1] >= '0' && text[1] <= '9') {
			out[n++] = (uint8_t)((text[1] - '0') * 100 + (text[2] - '0') * 10 + (text[3] - '0'));
			text += 3;
		} else {
			out[n++] = (uint8_t) * ++text;
		}
	}
	out[label] = 0;
	return n;
}

static void
law_text(const uint8_t *msg, const struct dns_question *q, size_t cap)
{
	char full[DNS_NAME_TEXT_MAX], *cut = malloc(cap + 1);
	uint8_t back[256];

	LAW(cut != NULL);
	LAW(dns_name_text(full, sizeof(full), msg, DNS_HEADER) == full);
	for (const char *c = full; *c != '\0'; c++)
		LAW(*c > ' ' && *c <= '~' && (*c == '\\' || strchr("\"();@$", *c) == NULL || c[-1] == '\\'));
	LAW(name_of(back, full) == q->name_len && memcmp(back, msg + DNS_HEADER, q->name_len) == 0);
	cut[cap] = 'x';
	dns_name_text(cut, cap, msg, DNS_HEADER);
	LAW(cut[cap] == 'x' && (cap == 0 || strlen(cut) < cap));
	LAW(cap < 4 || strlen(full) >= cap || strcmp(full, cut) == 0);
	LAW(cap < 4 || strlen(full) < cap ||
	    (strcmp(cut + strlen(cut) - 3, "...") == 0 && memcmp(cut, full, strlen(cut) - 3) == 0));
	free(cut);
}

static void
law_question(const uint8_t *msg, size_t len, size_t cap)
{
	uint8_t other[DNS_HEADER + DNS_NAME_MAX];
	struct dns_question q, p;

	if (dns_read_question(msg, len, &q) == -1)
		return;
	LAW(q.name_len >= 1 && q.name_len <= DNS_NAME_MAX && q.end == DNS_HEADER + q.name_len + 4 &&
	    q.end <= len);
	LAW(dns_skip_name(msg, len, DNS_HEADER) == DNS_HEADER + q.name_len);
	LAW(dns_same_question(msg, &q, msg, &q));
	memcpy(other, msg, DNS_HEADER + q.name_len);
	for (size_t i = DNS_HEADER; i < DNS_HEADER + q.name_len; i++) {
		uint8_t c = other[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
			other[i] ^= 0x20;
		LAW(dns_same_question(msg, &q, other, &q));
		if (c < 'A' || c > 'z') {
			other[i] ^= 0x80;
			LAW(!dns_same_question(msg, &q, other, &q));
			other[i] ^= 0x80;
		}
	}
	p = q;
	p.type ^= 1;
	LAW(!dns_same_question(msg, &q, msg, &p));
	law_text(msg, &q, cap);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[DNS_TYPE_TEXT_MAX];
	const uint8_t *msg = data + 1;
	struct dns_rr rr;

	if (len < 1 + DNS_HEADER)
		return 0;
	len--;
	law_question(msg, len, data[0]);
	for (size_t at = DNS_HEADER; at <= len; at++) {
		size_t end = dns_skip_name(msg, len, at);

		LAW(end == 0 || (end > at && end <= len && end - at <= DNS_NAME_MAX + 1));
		if (dns_read_rr(msg, len, at, &rr) == -1)
			continue;
		LAW(end != 0 && rr.at == at && rr.rdata == end + 10 && rr.end == rr.rdata + rr.rdlen &&
		    rr.end <= len);
		LAW(strlen(dns_type_text(text, rr.type)) < sizeof(text));
		LAW(strlen(dns_rcode_text(text, rr.ttl)) < sizeof(text));
	}
	return 0;
}
