/* SPDX-License-Identifier: MIT */
#include "addr.h"

#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bytes.h"
#include "text.h"

/* The longest literal without its zone, and the longest zone with its NUL. */
#define LITERAL_MAX (INET6_ADDRSTRLEN - 1)
#define ZONE_MAX IF_NAMESIZE

/* Reads a decimal number up to max, which has no leading zeros.  Returns what stands behind it, or NULL. */
static const char *
read_number(uint32_t *n, const char *text, uint32_t max)
{
	uint64_t v = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	do
		v = v * 10 + (uint64_t)(*text++ - '0');
	while (v > 0 && v <= max && *text >= '0' && *text <= '9');
	*n = (uint32_t)v;
	return v <= max ? text : NULL;
}

/* Reads all of text as such a number.  Returns 0, or -1. */
static int
parse_number(uint32_t *n, const char *text, uint32_t max)
{
	text = read_number(n, text, max);
	return text != NULL && *text == '\0' ? 0 : -1;
}

/* A zone makes sense for fe80::/10 and ff02::/16 alone: elsewhere it would say nothing. */
static bool
may_have_zone(const struct addr *a)
{
	return a->family == ADDR_V6 && ((a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80) ||
					(a->ip[0] == 0xff && (a->ip[1] & 0x0f) == 0x02));
}

/* The C library's if_nametoindex(), and its ioctl(), take six times the room. */
static uint32_t
interface_number(const char *name)
{
	struct ifreq r = {.ifr_ifindex = 0};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool found = text_make(r.ifr_name, sizeof(r.ifr_name), "%s", name) < IF_NAMESIZE &&
		     syscall(SYS_ioctl, fd, SIOCGIFINDEX, &r) == 0;

	close(fd);
	return found ? (uint32_t)r.ifr_ifindex : 0;
}

static int
parse_zone(uint32_t *scope, const char *zone)
{
	if (parse_number(scope, zone, UINT32_MAX) == -1)
		*scope = interface_number(zone);
	return *scope != 0 ? 0 : -1;
}

/* ---- Literals: what inet_pton() takes, in half of its room ----------------------------------- */

/* Reads all of text. */
static bool
parse_v4(uint8_t *ip, const char *text)
{
	uint32_t n;

	for (size_t i = 0; i < 4; i++) {
		text = read_number(&n, text, 255);
		if (text == NULL || *text++ != (i < 3 ? '.' : '\0'))
			return false;
		ip[i] = (uint8_t)n;
	}
	return true;
}

/* Reads up to four hexadecimal digits.  Returns what stands behind them; that is text when there are none. */
static const char *
read_group(uint8_t *ip, const char *text)
{
	unsigned v = 0;

	for (const char *end = text + 4; text < end && text_hex(*text) != -1; text++)
		v = v << 4 | (unsigned)text_hex(*text);
	put16(ip, (uint16_t)v);
	return text;
}

/* RFC 4291 section 2.2.  Reads all of text. */
static bool
parse_v6(uint8_t *ip, const char *text)
{
	size_t used = 0, gap = 0;
	bool has_gap = false;

	do {
		const char *group;

		if (!has_gap && text_begins(text, "::")) {
			has_gap = true;
			gap = used;
			text += 2;
			if (*text == '\0')
				break;
		} else if (used > 0 && *text++ != ':') {
			return false;
		}
		if (used <= 12 && parse_v4(ip + used, text)) {
			used += 4;
			break;
		}
		if (used == 16)
			return false;
		group = text;
		text = read_group(ip + used, group);
		if (text == group)
			return false;
		used += 2;
	} while (*text != '\0');
	if (has_gap ? used == 16 : used < 16)
		return false;
	memmove(ip + 16 - (used - gap), ip + gap, used - gap);
	memset(ip + gap, 0, 16 - used);
	return true;
}

static int
parse_literal(struct addr *a, const char *text)
{
	if (parse_v4(a->ip, text))
		a->family = ADDR_V4;
	else if (parse_v6(a->ip, text))
		a->family = ADDR_V6;
	else
		return -1;
	return 0;
}

int
addr_parse(struct addr *a, const char *text)
{
	struct addr got = {0};
	char buf[LITERAL_MAX + 1 + ZONE_MAX];
	size_t len = strlen(text);
	bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	size_t zone;

	if (brackets) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(buf))
		return -1;
	memcpy(buf, text, len);
	buf[len] = '\0';
	zone = text_until(buf, "%");
	buf[zone] = '\0';
	if (parse_literal(&got, buf) == -1 || (brackets && got.family != ADDR_V6))
		return -1;
	if (zone < len && (!may_have_zone(&got) || parse_zone(&got.scope, buf + zone + 1) == -1))
		return -1;
	*a = got;
	return 0;
}

/* Whether all bits of ip[0..octets) behind the first bits are 0. */
static bool
rest_is_zero(const uint8_t *ip, size_t octets, unsigned bits)
{
	for (size_t i = bits / 8; i < octets; i++) {
		unsigned keep = i == bits / 8 ? bits % 8 : 0;

		if ((ip[i] & (0xffu >> keep)) != 0)
			return false;
	}
	return true;
}

int
prefix_parse(struct prefix *p, const char *text)
{
	struct addr a;
	char buf[INET6_ADDRSTRLEN];
	size_t len = text_until(text, "/");
	uint32_t full, bits;

	if (text[0] == '[' || len >= sizeof(buf))
		return -1;
	memcpy(buf, text, len);
	buf[len] = '\0';
	if (addr_parse(&a, buf) == -1 || a.scope != 0)
		return -1;
	full = a.family == ADDR_V4 ? 32 : 128;
	bits = full;
	if (text[len] != '\0' && parse_number(&bits, text + len + 1, full) == -1)
		return -1;
	if (!rest_is_zero(a.ip, full / 8, bits))
		return -1;
	p->family = a.family;
	p->bits = (uint8_t)bits;
	memcpy(p->ip, a.ip, sizeof(p->ip));
	return 0;
}

/* Where the groups that "::" stands for begin: the first longest run of at least two that are 0
 * (RFC 5952 section 4.2).  *n is their number, 0 = none. */
static unsigned
longest_zeros(const uint8_t *ip, unsigned *n)
{
	unsigned best = 0, run = 0;

	*n = 0;
	for (unsigned i = 0; i < 8; i++) {
		run = get16(ip + 2 * i) == 0 ? run + 1 : 0;
		if (run > *n && run > 1) {
			*n = run;
			best = i + 1 - run;
		}
	}
	return best;
}

static bool
is_mapped(const uint8_t *ip)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(ip, mapped, sizeof(mapped)) == 0;
}

/* Each of the parts below has its own bound; together they fit in ADDR_TEXT_MAX. */
static size_t
v4_text(char *out, const uint8_t *ip)
{
	return (size_t)text_make(out, sizeof("255.255.255.255"), "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
}

/* inet_ntop() would do, but the C library's draws in all of printf with it. */
static size_t
literal_text(char *out, unsigned family, const uint8_t *ip)
{
	unsigned zeros, first = longest_zeros(ip, &zeros);
	size_t used = 0;

	if (family == ADDR_V4)
		return v4_text(out, ip);
	if (family != ADDR_V6)
		return (size_t)text_make(out, sizeof("none"), "none");
	if (is_mapped(ip)) {
		used = (size_t)text_make(out, sizeof("::ffff:"), "::ffff:");
		return used + v4_text(out + used, ip + 12);
	}
	for (unsigned i = 0; i < 8; i++) {
		const char *colon = used > 0 && out[used - 1] != ':' ? ":" : "";

		if (zeros > 0 && i == first) {
			used += (size_t)text_make(out + used, sizeof("::"), "::");
			i += zeros - 1;
		} else {
			used += (size_t)text_make(out + used, sizeof(":ffff"), "%s%x", colon,
						  get16(ip + 2 * i));
		}
	}
	return used;
}

char *
addr_text(char out[ADDR_TEXT_MAX], const struct addr *a)
{
	bool brackets = a->family == ADDR_V6 && a->port != 0;
	size_t used;

	out[0] = '[';
	used = brackets + literal_text(out + brackets, a->family, a->ip);
	if (a->scope != 0)
		used += (size_t)text_make(out + used, sizeof("%4294967295"), "%%%u", (unsigned)a->scope);
	if (a->port != 0)
		text_make(out + used, sizeof("]@65535"), "%s@%u", brackets ? "]" : "", (unsigned)a->port);
	return out;
}

char *
prefix_text(char out[ADDR_TEXT_MAX], const struct prefix *p)
{
	size_t used = literal_text(out, p->family, p->ip);

	text_make(out + used, sizeof("/128"), "/%u", (unsigned)p->bits);
	return out;
}

bool
addr_same(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->port == b->port && a->scope == b->scope &&
	       memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool
addr_is_unspecified(const struct addr *a)
{
	return rest_is_zero(a->ip, sizeof(a->ip), 0);
}

bool
addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return a->family == ADDR_V4 ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof(one)) == 0;
}

bool
prefix_has(const struct prefix *p, const struct addr *a)
{
	unsigned family = a->family, whole = p->bits / 8, rest = p->bits % 8;
	const uint8_t *ip = a->ip;

	if (family == ADDR_V6 && is_mapped(ip)) {
		family = ADDR_V4;
		ip += 12;
	}
	if (family != p->family || family == ADDR_NONE || memcmp(p->ip, ip, whole) != 0)
		return false;
	return rest == 0 || ((p->ip[whole] ^ ip[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}

size_t
addr_client_octets(const struct addr *a)
{
	bool link_local = a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80,
	     unique_local = (a->ip[0] & 0xfe) == 0xfc;

	if (a->family == ADDR_V4)
		return 4;
	return link_local || unique_local ? 16 : 8;
}
