/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <stdarg.h>
#include <string.h>

#include "text.h"

_Static_assert(KEY_TEXT_MAX >= CONFIG_PATH_MAX && KEY_TEXT_MAX > HOSTNAME_MAX && KEY_TEXT_MAX >= ADDR_TEXT_MAX,
	       "all that is shown fits");

/* A value in a message: quoted, and no more of it than fits. */
#define SHOWN "\"%.80s\""

int
key_fail(const struct place *p, const char *fmt, ...)
{
	va_list ap;
	size_t used;

	p->err[0] = '\0';
	if (p->file != NULL)
		text_make(p->err, CONFIG_ERROR_MAX, "%.128s:%u:%u: ", p->file, (unsigned)p->at.line,
			  (unsigned)p->at.column);
	used = strlen(p->err);
	if (p->key[0] != '\0')
		text_make(p->err + used, CONFIG_ERROR_MAX - used, "%s: ", p->key);
	used = strlen(p->err);
	va_start(ap, fmt);
	text_make_v(p->err + used, CONFIG_ERROR_MAX - used, fmt, ap);
	va_end(ap);
	for (char *s = p->err; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
	return -1;
}

/* ---- Values of each type: from text, to text ------------------------------------------------- */

static void *
at(void *base, size_t offset)
{
	return (char *)base + offset;
}

static const void *
at_const(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* Numbers and words take 1, 2 or 4 octets. */
static void
store(const struct key *k, void *base, uint32_t v)
{
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	const void *from = &v;

	if (k->size == sizeof(v8))
		from = &v8;
	else if (k->size == sizeof(v16))
		from = &v16;
	memcpy(at(base, k->at), from, k->size);
}

static uint32_t
load(const struct key *k, const void *base)
{
	const void *from = at_const(base, k->at);
	uint32_t v = 0;
	uint16_t v16;

	if (k->size == sizeof(uint8_t))
		return *(const uint8_t *)from;
	if (k->size == sizeof(v16)) {
		memcpy(&v16, from, sizeof(v16));
		return v16;
	}
	memcpy(&v, from, sizeof(v));
	return v;
}

static int
put_number(const struct key *k, void *base, const char *text, const struct place *p)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t v = 0;

	if (digits == 0 || text[digits] != '\0')
		return key_fail(p, SHOWN " is not a whole number (%u..%u)", text, k->min, k->max);
	if (text[0] == '0' && digits > 1)
		return key_fail(p, SHOWN " begins with 0, which some read as octal; leave the 0 out", text);
	for (size_t i = 0; i < digits && v <= k->max; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	if (v < k->min || v > k->max)
		return key_fail(p, "%.80s is outside %u..%u", text, k->min, k->max);
	store(k, base, (uint32_t)v);
	return 0;
}

static void
show_number(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	(void)i;
	text_make(out, KEY_TEXT_MAX, "%u", (unsigned)load(k, base));
}

static int
put_word(const struct key *k, void *base, const char *text, const struct place *p)
{
	char all[128] = "";

	for (uint32_t i = 0; k->words[i] != NULL; i++) {
		if (strcmp(k->words[i], text) == 0) {
			store(k, base, i);
			return 0;
		}
		text_make(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? ", " : "", k->words[i]);
	}
	return key_fail(p, SHOWN " is none of %s", text, all);
}

static void
show_word(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	(void)i;
	text_make(out, KEY_TEXT_MAX, "%s", k->words[load(k, base)]);
}

static int
put_path(const struct key *k, void *base, const char *text, const struct place *p)
{
	if (strlen(text) >= k->size)
		return key_fail(p, "a path has at most %u octets", (unsigned)k->size - 1);
	for (const char *s = text; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return key_fail(p, "a path with control characters is not supported");
	}
	memset(at(base, k->at), 0, k->size);
	memcpy(at(base, k->at), text, strlen(text));
	return 0;
}

/* A name of labels of 1 to 63 letters, digits, hyphens and underscores, its last dot aside. */
static bool
is_hostname(const char *name, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (c == '.' && label == 0)
			return false;
		label = c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
		if (c != '.' && c != '-' && c != '_' && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
		    !(c >= 'A' && c <= 'Z'))
			return false;
	}
	return label > 0;
}

static int
put_hostname(const struct key *k, void *base, const char *text, const struct place *p)
{
	char *name = at(base, k->at);
	size_t len = strlen(text);
	struct addr a;

	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len > HOSTNAME_MAX)
		return key_fail(p, "a hostname has at most %u characters", HOSTNAME_MAX);
	memset(name, 0, k->size);
	memcpy(name, text, len);
	if (addr_parse(&a, name) == 0)
		return key_fail(p, SHOWN " is an address; expected is the name in the server's certificate",
				text);
	if (!is_hostname(name, len))
		return key_fail(p,
				SHOWN
				" is not a hostname: labels of 1 to 63 letters, digits, - and _ with dots "
				"between (other letters in their xn-- form)",
				text);
	return 0;
}

static void
show_text(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	(void)i;
	text_make(out, KEY_TEXT_MAX, "%s", (const char *)at_const(base, k->at));
}

/* Reads an address that can be used as it is. */
static int
read_address(struct addr *a, const char *text, const struct place *p)
{
	if (addr_parse(a, text) == -1)
		return key_fail(
			p, SHOWN " is not an IPv4 or IPv6 address (names are not looked up; ports stand apart)",
			text);
	if (a->family == ADDR_V6 && a->scope == 0 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)
		return key_fail(p, "%.80s is link-local and needs its interface, as in fe80::1%%eth0", text);
	return 0;
}

/* The port is a key of its own, and stays. */
static int
put_address(const struct key *k, void *base, const char *text, const struct place *p)
{
	struct addr *field = at(base, k->at), a;

	if (read_address(&a, text, p) == -1)
		return -1;
	if (addr_is_unspecified(&a))
		return key_fail(p, "%.80s is not the address of a server", text);
	a.port = field->port;
	*field = a;
	return 0;
}

static void
show_address(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	struct addr a = ((const struct addr *)at_const(base, k->at))[i];

	a.port = 0;
	addr_text(out, &a);
}

static int
fail_full(const struct key *k, const struct place *p)
{
	return key_fail(p, "more than %u entries are not supported", (unsigned)k->max);
}

static int
append_address(const struct key *k, void *base, const char *text, const struct place *p)
{
	struct addr *list = at(base, k->at), a;
	size_t *count = at(base, k->count);

	if (read_address(&a, text, p) == -1)
		return -1;
	for (size_t i = 0; i < *count; i++) {
		if (addr_same(&list[i], &a))
			return key_fail(p, "%.80s is listed twice", text);
	}
	if (*count == k->max)
		return fail_full(k, p);
	list[(*count)++] = a;
	return 0;
}

static int
append_prefix(const struct key *k, void *base, const char *text, const struct place *p)
{
	struct prefix *list = at(base, k->at), x;
	size_t *count = at(base, k->count);

	if (prefix_parse(&x, text) == -1)
		return key_fail(
			p,
			SHOWN
			" is not a prefix such as 192.168.0.0/16 or fd00::/8 (bits behind its length are 0)",
			text);
	for (size_t i = 0; i < *count; i++) {
		if (list[i].bits == x.bits && list[i].family == x.family &&
		    memcmp(list[i].ip, x.ip, sizeof(x.ip)) == 0)
			return key_fail(p, "%.80s is listed twice", text);
	}
	if (*count == k->max)
		return fail_full(k, p);
	list[(*count)++] = x;
	return 0;
}

static void
show_prefix(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	prefix_text(out, &((const struct prefix *)at_const(base, k->at))[i]);
}

/* put reads one scalar (a list appends it); show writes the i-th. */
static const struct {
	int (*put)(const struct key *k, void *base, const char *text, const struct place *p);
	void (*show)(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX]);
	bool is_list;
	bool is_quoted; /* when printed: what a YAML reader might take for something else */
} types[] = {
	[KEY_NUMBER] = {put_number, show_number, false, false},
	[KEY_WORD] = {put_word, show_word, false, false},
	[KEY_PATH] = {put_path, show_text, false, true},
	[KEY_HOSTNAME] = {put_hostname, show_text, false, true},
	[KEY_ADDRESS] = {put_address, show_address, false, true},
	[KEY_ADDRESSES] = {append_address, show_address, true, true},
	[KEY_PREFIXES] = {append_prefix, show_prefix, true, true},
};

size_t
key_count(const struct key *k, const void *base)
{
	return types[k->type].is_list ? *(const size_t *)at_const(base, k->count) : 1;
}

void
key_clear(const struct key *k, void *base)
{
	if (types[k->type].is_list)
		*(size_t *)at(base, k->count) = 0;
}

int
key_read(const struct key *k, void *base, const char *text, const struct place *p)
{
	char word[ADDR_TEXT_MAX];

	if (!types[k->type].is_list)
		return types[k->type].put(k, base, text, p);
	key_clear(k, base);
	for (text += strspn(text, ", "); *text != '\0'; text += strspn(text, ", ")) {
		size_t len = strcspn(text, ", ");

		text_make(word, sizeof(word), "%.*s", len < sizeof(word) ? (int)len : (int)sizeof(word) - 1,
			  text);
		if (types[k->type].put(k, base, word, p) == -1)
			return -1;
		text += len;
	}
	return key_count(k, base) > 0 ? 0 : key_fail(p, "names nothing");
}

bool
key_is_list(const struct key *k)
{
	return types[k->type].is_list;
}

bool
key_is_quoted(const struct key *k)
{
	return types[k->type].is_quoted;
}

int
key_put(const struct key *k, void *base, const char *text, const struct place *p)
{
	return types[k->type].put(k, base, text, p);
}

void
key_show(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX])
{
	types[k->type].show(k, base, i, out);
}

void
key_preset(const struct key *k, void *base)
{
	char err[CONFIG_ERROR_MAX];

	if (k->text == NULL)
		store(k, base, k->number);
	else
		key_read(k, base, k->text, &(struct place){.key = k->name, .err = err});
}
