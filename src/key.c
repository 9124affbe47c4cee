/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <stdarg.h>
#include <string.h>

#include "pin.h"
#include "text.h"

_Static_assert(KEY_TEXT_MAX >= CONFIG_PATH_MAX && KEY_TEXT_MAX > HOSTNAME_MAX &&
		       KEY_TEXT_MAX >= ADDR_TEXT_MAX && KEY_TEXT_MAX >= PIN_TEXT_MAX,
	       "all that is shown fits");
_Static_assert(sizeof(bool) == sizeof(uint8_t), "a switch is a word of two");
_Static_assert(CONFIG_ERROR_MAX > 128 + sizeof(":4294967295:4294967295: ") + 128 + sizeof(": "),
	       "the place of an error fits, and leaves room");

static bool
is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

int
key_fail(const struct place *p, const char *fmt, ...)
{
	va_list ap;
	int used = 0;

	if (p->file != NULL)
		used = text_make(p->err, CONFIG_ERROR_MAX, "%.128s:%u:%u: ", p->file, (unsigned)p->at.line,
				 (unsigned)p->at.column);
	used += text_make(p->err + used, CONFIG_ERROR_MAX - (size_t)used, "%.128s%s", p->key,
			  p->key[0] != '\0' ? ": " : "");
	va_start(ap, fmt);
	text_make_v(p->err + used, CONFIG_ERROR_MAX - (size_t)used, fmt, ap);
	va_end(ap);
	for (char *s = p->err; *s != '\0'; s++) {
		if (is_control(*s))
			*s = '?';
	}
	return -1;
}

/* ---- One value of each type ------------------------------------------------------------------ */

/* A value in a message has quotes, and no more of it is shown than fits. */
static int
refuse(const struct place *p, const char *text, const char *why)
{
	return key_fail(p, "\"%.80s\" %s", text, why);
}

static void
store_number(const struct key *k, void *to, uint32_t v)
{
	if (k->size == sizeof(uint16_t))
		*(uint16_t *)to = (uint16_t)v;
	else
		*(uint32_t *)to = v;
}

static uint32_t
load_number(const struct key *k, const void *from)
{
	return k->size == sizeof(uint16_t) ? *(const uint16_t *)from : *(const uint32_t *)from;
}

static int
put_number(const struct key *k, void *to, const char *text, const struct place *p)
{
	size_t digits = 0;
	uint64_t v = 0;

	if (k->text != NULL && strcmp(text, k->text) == 0) {
		store_number(k, to, 0);
		return 0;
	}
	while (text[digits] >= '0' && text[digits] <= '9')
		digits++;
	/* Some readers take 053 for an octal number. */
	if (digits == 0 || text[digits] != '\0' || (text[0] == '0' && digits > 1))
		return refuse(p, text, "is not a whole number without leading zeros");
	for (size_t i = 0; i < digits && v <= k->max; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	if (v < k->min || v > k->max)
		return key_fail(p, "%.80s is outside %u..%u", text, (unsigned)k->min, (unsigned)k->max);
	store_number(k, to, (uint32_t)v);
	return 0;
}

static void
show_number(const struct key *k, uint32_t v, char out[KEY_TEXT_MAX])
{
	if (v == 0 && k->text != NULL)
		text_make(out, KEY_TEXT_MAX, "%s", k->text);
	else
		text_make(out, KEY_TEXT_MAX, "%u", (unsigned)v);
}

static int
put_word(const struct key *k, uint8_t *to, const char *text, const struct place *p)
{
	const char *word = k->text;

	for (uint8_t i = 0;; i++) {
		size_t len = text_until(word, "|");

		if (strlen(text) == len && memcmp(word, text, len) == 0) {
			*to = i;
			return 0;
		}
		if (word[len] == '\0')
			return key_fail(p, "\"%.80s\" is none of %s", text, k->text);
		word += len + 1;
	}
}

static void
show_word(const struct key *k, unsigned i, char out[KEY_TEXT_MAX])
{
	const char *word = k->text;

	while (i-- > 0)
		word += text_until(word, "|") + 1;
	text_make(out, KEY_TEXT_MAX, "%.*s", (int)text_until(word, "|"), word);
}

static int
put_path(const struct key *k, char *to, const char *text, const struct place *p)
{
	size_t len = 0;

	while (len < k->size && text[len] != '\0' && !is_control(text[len]))
		len++;
	if (len == k->size || text[len] != '\0')
		return key_fail(p, "a path has at most %u octets, none of them a control character",
				k->size - 1u);
	text_make(to, k->size, "%s", text);
	return 0;
}

/* A name of labels of 1 to 63 letters, digits, hyphens and underscores, its last dot aside. */
static bool
is_hostname(const char *name, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		char c = name[i], letter = (char)(c | 0x20);

		if (c == '.' && label == 0)
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
		if (c != '.' && c != '-' && c != '_' && !(c >= '0' && c <= '9') &&
		    !(letter >= 'a' && letter <= 'z'))
			return false;
	}
	return label > 0 && len <= HOSTNAME_MAX;
}

static int
put_hostname(const struct key *k, char *to, const char *text, const struct place *p)
{
	size_t len = strlen(text);
	struct addr a;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (text[0] == '\0' || is_hostname(text, len)) {
		text_make(to, k->size, "%.*s", (int)len, text);
		if (addr_parse(&a, to) == -1)
			return 0;
		return refuse(p, text, "is an address: without a hostname the certificate must name it");
	}
	return refuse(p, text,
		      "is not a name as in the server's certificate: up to 253 of a-z, 0-9, - _ and dots");
}

static int
put_address(const struct key *k, struct addr *to, const char *text, const struct place *p)
{
	uint16_t port = to->port;

	if (addr_parse(to, text) == -1)
		return refuse(p, text, "is not an IP address (names and ports have no place here)");
	to->port = port;
	if (to->family == ADDR_V6 && to->scope == 0 && to->ip[0] == 0xfe && (to->ip[1] & 0xc0) == 0x80)
		return refuse(p, text, "is link-local and needs its interface, as in fe80::1%eth0");
	if (k->type == KEY_SERVER && addr_is_unspecified(to))
		return refuse(p, text, "is not the address of a server");
	return 0;
}

static void
show_address(const struct addr *from, char out[KEY_TEXT_MAX])
{
	struct addr a = *from;

	a.port = 0;
	addr_text(out, &a);
}

static int
put_value(const struct key *k, void *to, const char *text, const struct place *p)
{
	switch (k->type) {
	case KEY_NUMBER:
		return put_number(k, to, text, p);
	case KEY_WORD:
		return put_word(k, to, text, p);
	case KEY_PATH:
		return put_path(k, to, text, p);
	case KEY_HOSTNAME:
		return put_hostname(k, to, text, p);
	case KEY_PREFIX:
		if (prefix_parse(to, text) == 0)
			return 0;
		return refuse(p, text, "is not a prefix such as 10.0.0.0/8 (bits behind its length are 0)");
	case KEY_PIN:
		if (pin_parse(to, text) == 0)
			return 0;
		return refuse(
			p, text,
			"is not a pin such as sha256/... (43 digits of base64 and =; dnproxy probe prints "
			"them)");
	default:
		return put_address(k, to, text, p);
	}
}

void
key_show(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	const void *from = (const char *)base + k->at + i * k->size;

	switch (k->type) {
	case KEY_NUMBER:
		show_number(k, load_number(k, from), out);
		break;
	case KEY_WORD:
		show_word(k, *(const uint8_t *)from, out);
		break;
	case KEY_PATH:
	case KEY_HOSTNAME:
		text_make(out, KEY_TEXT_MAX, "%s", (const char *)from);
		break;
	case KEY_PREFIX:
		prefix_text(out, from);
		break;
	case KEY_PIN:
		pin_text(out, from);
		break;
	default:
		show_address(from, out);
	}
}

/* ---- Fields ---------------------------------------------------------------------------------- */

size_t
key_count(const struct key *k, const void *base)
{
	return k->count != 0 ? *(const size_t *)(const void *)((const char *)base + k->count) : 1;
}

static void
set_count(const struct key *k, void *base, size_t n)
{
	*(size_t *)(void *)((char *)base + k->count) = n;
}

void
key_clear(const struct key *k, void *base)
{
	if (k->count != 0)
		set_count(k, base, 0);
}

int
key_put(const struct key *k, void *base, const char *text, const struct place *p)
{
	size_t n = k->count != 0 ? key_count(k, base) : 0;
	char added[KEY_TEXT_MAX], other[KEY_TEXT_MAX];

	if (k->count != 0 && n == k->max)
		return key_fail(p, "takes at most %u entries", (unsigned)k->max);
	if (put_value(k, (char *)base + k->at + n * k->size, text, p) == -1)
		return -1;
	if (k->count == 0)
		return 0;
	key_show(k, base, n, added);
	for (size_t i = 0; i < n; i++) {
		key_show(k, base, i, other);
		if (strcmp(added, other) == 0)
			return refuse(p, text, "is listed twice");
	}
	set_count(k, base, n + 1);
	return 0;
}

int
key_read(const struct key *k, void *base, const char *text, const struct place *p)
{
	char word[ADDR_TEXT_MAX];

	if (k->count == 0)
		return key_put(k, base, text, p);
	key_clear(k, base);
	for (; *text != '\0'; text += *text != '\0') {
		size_t len = text_until(text, ", ");

		text_make(word, sizeof(word), "%.*s", (int)len, text);
		if (len > 0 && key_put(k, base, word, p) == -1)
			return -1;
		text += len;
	}
	return key_count(k, base) > 0 ? 0 : key_fail(p, "names nothing");
}

void
key_preset(const struct key *k, void *base)
{
	char err[CONFIG_ERROR_MAX];
	void *to = (char *)base + k->at;

	if (k->type == KEY_NUMBER)
		store_number(k, to, k->number);
	else if (k->type == KEY_WORD)
		*(uint8_t *)to = (uint8_t)k->number;
	else
		key_read(k, base, k->text, &(struct place){.key = k->name, .err = err});
}
