/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "dns.h"
#include "text.h"

#define LABEL_MAX 63u	 /* RFC 1035 section 2.3.4 */
#define POINTER 0xc0u	 /* RFC 1035 section 4.1.4: both high bits of a length octet */
#define QUESTION_TAIL 4u /* type and class */
#define RR_FIXED 10u	 /* type, class, TTL and the length of RDATA */
#define SOA_FIXED 20u	 /* of its RDATA, behind two names: five numbers, MINIMUM the last */

const uint8_t dns_ready[DNS_READY_LEN] = "\0\0\0\0\0\1\0\0\0\0\0\0\5ready\7dnproxy\0\0\20\0\3";

/* Whether a whole pointer is at at, and points before start and not into the header, which is no
 * name and does not stay as it is. */
static bool
is_pointer(const uint8_t *msg, size_t len, size_t at, size_t start)
{
	unsigned to;

	if (len - at < 2)
		return false;
	to = get16(msg + at) & 0x3fffu;
	return to >= DNS_HEADER && to < start;
}

size_t
dns_skip_name(const uint8_t *msg, size_t len, size_t at)
{
	size_t start = at;

	while (at < len && at - start < DNS_NAME_MAX) {
		if (msg[at] == 0)
			return at + 1;
		if (msg[at] >= POINTER)
			return is_pointer(msg, len, at, start) ? at + 2 : 0;
		/* 01 and 10 in the high bits never came into use (RFC 6891 section 5). */
		if (msg[at] > LABEL_MAX)
			return 0;
		at += 1u + msg[at];
	}
	return 0;
}

int
dns_read_question(const uint8_t *msg, size_t len, struct dns_question *q)
{
	size_t at = DNS_HEADER;

	while (at < len && msg[at] != 0) {
		/* No name stands before this one, so there is nothing a pointer could mean. */
		if (msg[at] > LABEL_MAX)
			return -1;
		at += 1u + msg[at];
	}
	if (at >= len || len - at < 1 + QUESTION_TAIL || at - DNS_HEADER >= DNS_NAME_MAX)
		return -1;
	at++;
	q->name_len = at - DNS_HEADER;
	q->type = get16(msg + at);
	q->class = get16(msg + at + 2);
	q->end = at + QUESTION_TAIL;
	return 0;
}

bool
dns_same_question(const uint8_t *a, const struct dns_question *qa, const uint8_t *b,
		  const struct dns_question *qb)
{
	if (qa->type != qb->type || qa->class != qb->class || qa->name_len != qb->name_len)
		return false;
	/* Length octets are below 64, so treating them as letters changes nothing. */
	for (size_t i = DNS_HEADER; i < DNS_HEADER + qa->name_len; i++) {
		if (a[i] != b[i] && dns_lower_octet(a[i]) != dns_lower_octet(b[i]))
			return false;
	}
	return true;
}

void
dns_lower(uint8_t *to, const uint8_t *from, size_t len)
{
	while (len-- > 0)
		*to++ = dns_lower_octet(*from++);
}

int
dns_read_rr(const uint8_t *msg, size_t len, size_t at, struct dns_rr *rr)
{
	rr->at = at;
	at = dns_skip_name(msg, len, at);
	if (at == 0 || len - at < RR_FIXED)
		return -1;
	rr->type = get16(msg + at);
	rr->class = get16(msg + at + 2);
	rr->ttl = get32(msg + at + 4);
	rr->rdlen = get16(msg + at + 8);
	rr->rdata = at + RR_FIXED;
	if (rr->rdlen > len - rr->rdata)
		return -1;
	rr->end = rr->rdata + rr->rdlen;
	return 0;
}

uint32_t
dns_negative_ttl(const uint8_t *msg, size_t len, const struct dns_rr *soa)
{
	size_t at = dns_skip_name(msg, len, soa->rdata);
	uint32_t ttl = dns_ttl(soa->ttl), minimum;

	if (at != 0)
		at = dns_skip_name(msg, len, at);
	if (at == 0 || at + SOA_FIXED != soa->end)
		return 0;
	minimum = dns_ttl(get32(msg + soa->end - 4));
	return minimum < ttl ? minimum : ttl;
}

/* Writes one octet of a label the way master files do.  Returns how many characters that took. */
static size_t
escape(char out[4], unsigned c)
{
	if (c <= ' ' || c > '~') {
		out[0] = '\\';
		out[1] = (char)('0' + c / 100);
		out[2] = (char)('0' + c / 10 % 10);
		out[3] = (char)('0' + c % 10);
		return 4;
	}
	if (text_has(".\\\"();@$", (char)c)) {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	out[0] = (char)c;
	return 1;
}

/* A text that grows in pieces and ends in "..." when the next piece does not fit. */
struct text {
	char *out;
	size_t cap, len;
	size_t cut; /* where "..." would still fit */
	bool full;
};

static void
add(struct text *t, const char *piece, size_t len)
{
	if (t->full)
		return;
	if (len >= t->cap - t->len) {
		memcpy(t->out + t->cut, "...", 4);
		t->full = true;
		return;
	}
	memcpy(t->out + t->len, piece, len);
	t->len += len;
	t->out[t->len] = '\0';
	if (t->cap - t->len >= 4)
		t->cut = t->len;
}

char *
dns_name_text(char *out, size_t cap, const uint8_t *msg, size_t at)
{
	struct text t = {.out = out, .cap = cap};
	size_t end = at + DNS_NAME_MAX;

	if (cap < 4) {
		if (cap > 0)
			out[0] = '\0';
		return out;
	}
	if (msg[at] == 0)
		add(&t, ".", 1);
	while (!t.full && at < end && msg[at] != 0 && msg[at] <= LABEL_MAX) {
		for (size_t last = at + msg[at]; at < last;) {
			char piece[4];
			size_t n = escape(piece, msg[++at]);

			add(&t, piece, n);
		}
		at++;
		add(&t, ".", 1);
	}
	return out;
}

/* A number's word. */
struct word {
	uint16_t number;
	char text[10];
};

static const struct word types[] = {
	{1, "A"},
	{2, "NS"},
	{5, "CNAME"},
	{6, "SOA"},
	{12, "PTR"},
	{13, "HINFO"},
	{15, "MX"},
	{16, "TXT"},
	{DNS_TYPE_SIG, "SIG"},
	{28, "AAAA"},
	{29, "LOC"},
	{33, "SRV"},
	{35, "NAPTR"},
	{39, "DNAME"},
	{DNS_TYPE_OPT, "OPT"},
	{43, "DS"},
	{44, "SSHFP"},
	{46, "RRSIG"},
	{47, "NSEC"},
	{48, "DNSKEY"},
	{50, "NSEC3"},
	{52, "TLSA"},
	{59, "CDS"},
	{60, "CDNSKEY"},
	{64, "SVCB"},
	{65, "HTTPS"},
	{249, "TKEY"},
	{DNS_TYPE_TSIG, "TSIG"},
	{DNS_TYPE_IXFR, "IXFR"},
	{DNS_TYPE_AXFR, "AXFR"},
	{255, "ANY"},
	{256, "URI"},
	{257, "CAA"},
};

static const struct word rcodes[] = {
	{DNS_NOERROR, "NOERROR"},
	{DNS_FORMERR, "FORMERR"},
	{DNS_SERVFAIL, "SERVFAIL"},
	{DNS_NXDOMAIN, "NXDOMAIN"},
	{DNS_NOTIMP, "NOTIMP"},
	{DNS_REFUSED, "REFUSED"},
	{6, "YXDOMAIN"},
	{7, "YXRRSET"},
	{8, "NXRRSET"},
	{9, "NOTAUTH"},
	{10, "NOTZONE"},
	{DNS_BADVERS, "BADVERS"},
	{23, "BADCOOKIE"}, /* RFC 7873 section 8 */
};

#define COUNT(words) (sizeof(words) / sizeof((words)[0]))

/* Writes the number's word, or the number behind kind.  Returns out. */
static char *
put_word(char *out, size_t cap, const struct word *words, size_t count, const char *kind, unsigned number)
{
	for (size_t i = 0; i < count; i++) {
		if (words[i].number == number) {
			text_make(out, cap, "%s", words[i].text);
			return out;
		}
	}
	text_make(out, cap, "%s%u", kind, number);
	return out;
}

char *
dns_type_text(char out[DNS_TYPE_TEXT_MAX], uint16_t type)
{
	return put_word(out, DNS_TYPE_TEXT_MAX, types, COUNT(types), "TYPE", type);
}

char *
dns_rcode_text(char out[DNS_RCODE_TEXT_MAX], unsigned rcode)
{
	rcode &= 0xfffu; /* four bits in the header, eight in the OPT record */
	return put_word(out, DNS_RCODE_TEXT_MAX, rcodes, COUNT(rcodes), "RCODE", rcode);
}
