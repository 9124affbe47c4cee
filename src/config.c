/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdarg.h>
#include <string.h>

#include "text.h"
#include "yaml.h"

enum key_type {
	KEY_NUMBER,
	KEY_SWITCH,
	KEY_WORD,
	KEY_PATH,
	KEY_HOSTNAME,
	KEY_ADDRESS,
	KEY_ADDRESSES,
	KEY_PREFIXES
};

/* One setting.  Rows of one section stand together; the part of the name before the dot is the
 * section.  A section either lies in struct config, or (each) in every struct config_upstream. */
struct key {
	const char *name;
	const char *env; /* overrides it; NULL = none */
	enum key_type type;
	bool each;
	size_t at, size;	  /* the field: octets from the begin of its struct, and octets */
	size_t count;		  /* of a list: where its length (size_t) lies */
	uint32_t min, max;	  /* of a number; of a list: most entries */
	const char *const *words; /* of a word: all there are, NULL at the end */
	uint32_t number;	  /* default of a number, or of a word its index */
	const char *text;	  /* default of the others; of a list: with ", " between its entries */
	const char *must;	  /* why a file must give it; NULL = it need not */
	const char *help;
};

#define FIELD(part, field) .at = offsetof(struct part, field), .size = sizeof(((struct part *)0)->field)
#define NUMBER(part, field, low, high, preset) \
	.type = KEY_NUMBER, FIELD(part, field), .min = (low), .max = (high), .number = (preset)
#define LIST(field, length, most) FIELD(config, field), .count = offsetof(struct config, length), .max = (most)

/* YAML 1.1 has more words for these; which of them count depends on the reader. */
static const char *const switch_words[] = {"false", "true", NULL};

static const struct key keys[] = {
	{.name = "dnproxy.host",
	 .env = "DNPROXY_HOST",
	 .type = KEY_ADDRESSES,
	 LIST(listen, listens, LISTEN_MAX),
	 .text = "127.0.0.1",
	 .help = "Where clients ask, over UDP and TCP: one address or a list. 0.0.0.0 and :: mean\n"
		 "all addresses of this machine; fe80::1%br-lan one on a certain interface."},
	{.name = "dnproxy.port",
	 .env = "DNPROXY_PORT",
	 NUMBER(config, port, 1, 65535, 53),
	 .help = "The port on each of these addresses. Below 1024 needs a right: see README."},
	{.name = "dnproxy.allow",
	 .type = KEY_PREFIXES,
	 LIST(allow, allows, ALLOW_MAX),
	 .text = "127.0.0.0/8, ::1/128, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fe80::/10, "
		 "fc00::/7",
	 .help = "Who is answered; all others get REFUSED. The default is loopback, private,\n"
		 "link-local and unique-local addresses. 0.0.0.0/0 and ::/0 allow everybody."},
	{.name = "dnproxy.udp_size",
	 NUMBER(config, udp_size, UDP_SIZE_MIN, UDP_SIZE_MAX, UDP_SIZE_DEFAULT),
	 .help = "The longest answer over UDP, in octets, for clients that take as much.\n"
		 "Longer ones are asked for again over TCP."},
	{.name = "dnproxy.max_queries",
	 NUMBER(config, max_queries, QUERIES_MIN, QUERIES_MAX, QUERIES_DEFAULT),
	 .help = "Queries on their way at once. More get SERVFAIL. Memory is taken at start."},
	{.name = "dnproxy.tcp_clients",
	 NUMBER(config, tcp_clients, 1, TCP_CLIENTS_MAX, TCP_CLIENTS_DEFAULT),
	 .help = "TCP connections of clients at once. More wait until one is closed."},
	{.name = "dnproxy.tcp_per_address",
	 NUMBER(config, tcp_per_address, 1, TCP_CLIENTS_MAX, TCP_PER_ADDRESS_DEFAULT),
	 .help = "TCP connections of one client address at once."},

	{.name = "upstream.ip",
	 .env = "DNPROXY_UPSTREAM_IP",
	 .type = KEY_ADDRESS,
	 .each = true,
	 FIELD(config_upstream, addr),
	 .text = "1.1.1.1",
	 .must = "an upstream needs an address; add ip: ...",
	 .help = "The address of a DNS-over-TLS server. One upstream is a mapping, several are a\n"
		 "list of mappings, tried in this order."},
	{.name = "upstream.port",
	 .each = true,
	 NUMBER(config_upstream, addr.port, 1, 65535, DOT_PORT),
	 .help = "Its port. In the environment: DNPROXY_UPSTREAM_IP=192.0.2.1@8853."},
	{.name = "upstream.hostname",
	 .env = "DNPROXY_UPSTREAM_HOSTNAME",
	 .type = KEY_HOSTNAME,
	 .each = true,
	 FIELD(config_upstream, hostname),
	 .text = "cloudflare-dns.com",
	 .must = "an upstream without a hostname cannot be authenticated; add hostname: ...",
	 .help = "The name its certificate must have. Without the right one nothing is sent."},

	{.name = "tls.trust_anchors",
	 .type = KEY_PATH,
	 FIELD(config, trust_anchors),
	 .text = "",
	 .help = "A PEM file of the authorities that may vouch for upstreams, instead of the\n"
		 "built-in ones. \"\" means the built-in ones."},

	{.name = "log.level",
	 .env = "DNPROXY_LOG_LEVEL",
	 .type = KEY_WORD,
	 FIELD(config, level),
	 .words = log_words,
	 .number = LOG_LEVEL_INFO,
	 .help = "How much is written to standard error. Names that are asked for: debug only."},
	{.name = "log.queries",
	 .type = KEY_WORD,
	 FIELD(config, log_queries),
	 .words = switch_words,
	 .number = 0,
	 .help = "One line for every query: client, name, type, outcome, upstream, milliseconds."},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* Numbers and words are stored through 1, 2 or 4 octets. */
_Static_assert(sizeof(bool) == 1 && sizeof(enum log_level) == 4, "store() knows these sizes");

/* The longest scalar that is printed: a path, a hostname, an address. */
#define SHOW_MAX 256u
_Static_assert(SHOW_MAX >= CONFIG_PATH_MAX && SHOW_MAX > HOSTNAME_MAX && SHOW_MAX >= ADDR_TEXT_MAX,
	       "see above");

/* ---- Saying what is wrong -------------------------------------------------------------------- */

/* Where a value comes from.  Without a file it is the environment, and key the variable. */
struct place {
	const char *file;
	struct yaml_mark at;
	const char *key; /* "" = the file as a whole */
	char *err;
};

/* A value in a message: quoted, and no more of it than fits. */
#define SHOWN "\"%.80s\""

/* Writes the message; always returns -1.  Text from outside cannot add a line or move a cursor. */
__attribute__((format(printf, 2, 3))) static int
fail(const struct place *p, const char *fmt, ...)
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
		return fail(p, SHOWN " is not a whole number (%u..%u)", text, k->min, k->max);
	if (text[0] == '0' && digits > 1)
		return fail(p, SHOWN " begins with 0, which some read as octal; leave the 0 out", text);
	for (size_t i = 0; i < digits && v <= k->max; i++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	if (v < k->min || v > k->max)
		return fail(p, "%.80s is outside %u..%u", text, k->min, k->max);
	store(k, base, (uint32_t)v);
	return 0;
}

static void
show_number(const struct key *k, const void *base, size_t i, char out[SHOW_MAX])
{
	(void)i;
	text_make(out, SHOW_MAX, "%u", (unsigned)load(k, base));
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
	return fail(p, SHOWN " is none of %s", text, all);
}

static void
show_word(const struct key *k, const void *base, size_t i, char out[SHOW_MAX])
{
	(void)i;
	text_make(out, SHOW_MAX, "%s", k->words[load(k, base)]);
}

static int
put_path(const struct key *k, void *base, const char *text, const struct place *p)
{
	if (strlen(text) >= k->size)
		return fail(p, "a path has at most %u octets", (unsigned)k->size - 1);
	for (const char *s = text; *s != '\0'; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return fail(p, "a path with control characters is not supported");
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
		return fail(p, "a hostname has at most %u characters", HOSTNAME_MAX);
	memset(name, 0, k->size);
	memcpy(name, text, len);
	if (addr_parse(&a, name) == 0)
		return fail(p, SHOWN " is an address; expected is the name in the server's certificate", text);
	if (!is_hostname(name, len))
		return fail(p,
			    SHOWN " is not a hostname: labels of 1 to 63 letters, digits, - and _ with dots "
				  "between (other letters in their xn-- form)",
			    text);
	return 0;
}

static void
show_text(const struct key *k, const void *base, size_t i, char out[SHOW_MAX])
{
	(void)i;
	text_make(out, SHOW_MAX, "%s", (const char *)at_const(base, k->at));
}

/* Reads an address that can be used as it is. */
static int
read_address(struct addr *a, const char *text, const struct place *p)
{
	if (addr_parse(a, text) == -1)
		return fail(
			p, SHOWN " is not an IPv4 or IPv6 address (names are not looked up; ports stand apart)",
			text);
	if (a->family == ADDR_V6 && a->scope == 0 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80)
		return fail(p, "%.80s is link-local and needs its interface, as in fe80::1%%eth0", text);
	return 0;
}

static bool
is_unspecified(const struct addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* The port is a key of its own, and stays. */
static int
put_address(const struct key *k, void *base, const char *text, const struct place *p)
{
	struct addr *field = at(base, k->at), a;

	if (read_address(&a, text, p) == -1)
		return -1;
	if (is_unspecified(&a))
		return fail(p, "%.80s is not the address of a server", text);
	a.port = field->port;
	*field = a;
	return 0;
}

static void
show_address(const struct key *k, const void *base, size_t i, char out[SHOW_MAX])
{
	struct addr a = ((const struct addr *)at_const(base, k->at))[i];

	a.port = 0;
	addr_text(out, &a);
}

static int
fail_full(const struct key *k, const struct place *p)
{
	return fail(p, "more than %u entries are not supported", (unsigned)k->max);
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
			return fail(p, "%.80s is listed twice", text);
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
		return fail(
			p,
			SHOWN
			" is not a prefix such as 192.168.0.0/16 or fd00::/8 (bits behind its length are 0)",
			text);
	for (size_t i = 0; i < *count; i++) {
		if (list[i].bits == x.bits && list[i].family == x.family &&
		    memcmp(list[i].ip, x.ip, sizeof(x.ip)) == 0)
			return fail(p, "%.80s is listed twice", text);
	}
	if (*count == k->max)
		return fail_full(k, p);
	list[(*count)++] = x;
	return 0;
}

static void
show_prefix(const struct key *k, const void *base, size_t i, char out[SHOW_MAX])
{
	prefix_text(out, &((const struct prefix *)at_const(base, k->at))[i]);
}

/* put reads one scalar (a list appends it); show writes the i-th. */
static const struct {
	int (*put)(const struct key *k, void *base, const char *text, const struct place *p);
	void (*show)(const struct key *k, const void *base, size_t i, char out[SHOW_MAX]);
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

static size_t
values(const struct key *k, const void *base)
{
	return types[k->type].is_list ? *(const size_t *)at_const(base, k->count) : 1;
}

static void
clear_list(const struct key *k, void *base)
{
	if (types[k->type].is_list)
		*(size_t *)at(base, k->count) = 0;
}

/* Sets a key from text; that of a list holds entries with commas or spaces between them. */
static int
put_text(const struct key *k, void *base, const char *text, const struct place *p)
{
	char word[ADDR_TEXT_MAX];

	if (!types[k->type].is_list)
		return types[k->type].put(k, base, text, p);
	clear_list(k, base);
	for (text += strspn(text, ", "); *text != '\0'; text += strspn(text, ", ")) {
		size_t len = strcspn(text, ", ");

		text_make(word, sizeof(word), "%.*s", len < sizeof(word) ? (int)len : (int)sizeof(word) - 1,
			  text);
		if (types[k->type].put(k, base, word, p) == -1)
			return -1;
		text += len;
	}
	return values(k, base) > 0 ? 0 : fail(p, "names nothing");
}

/* ---- Keys by name ---------------------------------------------------------------------------- */

static size_t
section_len(const struct key *k)
{
	return strcspn(k->name, ".");
}

static const char *
last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL ? dot + 1 : name;
}

static bool
same_section(const struct key *a, const struct key *b)
{
	return section_len(a) == section_len(b) && memcmp(a->name, b->name, section_len(a)) == 0;
}

static const struct key *
find_key(const char *name)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	}
	return NULL;
}

/* The first key of a section, or NULL. */
static const struct key *
find_section(const char *name)
{
	for (size_t i = 0; i < KEYS; i++) {
		if (strlen(name) == section_len(&keys[i]) && memcmp(keys[i].name, name, strlen(name)) == 0)
			return &keys[i];
	}
	return NULL;
}

/* Edit distance: how many letters must be put in, left out or replaced. */
static unsigned
distance(const char *a, const char *b, size_t b_len)
{
	unsigned row[64];

	if (b_len >= sizeof(row) / sizeof(row[0]))
		b_len = sizeof(row) / sizeof(row[0]) - 1;
	for (unsigned j = 0; j <= b_len; j++)
		row[j] = j;
	for (; *a != '\0'; a++) {
		unsigned corner = row[0]++;

		for (size_t j = 1; j <= b_len; j++) {
			unsigned cost = corner + (*a != b[j - 1]);

			corner = row[j];
			if (cost > row[j] + 1)
				cost = row[j] + 1;
			row[j] = cost < row[j - 1] + 1 ? cost : row[j - 1] + 1;
		}
	}
	return row[b_len];
}

static int
fail_unknown(const struct place *p)
{
	const char *last = last_part(p->key);
	unsigned best = UINT32_MAX;
	const char *nearest = "";
	size_t len = 0;

	for (size_t i = 0; i < KEYS; i++) {
		const char *name = keys[i].name, *part = last_part(name);
		unsigned whole = distance(p->key, name, strlen(name));
		/* The right key in the wrong section, or in none, is nearer than its letters are. */
		unsigned alone = 1 + distance(last, part, strlen(part));
		unsigned section = last == p->key ? distance(last, name, section_len(&keys[i])) : UINT32_MAX;
		unsigned least = whole < alone ? whole : alone;

		if (least < best || section < best) {
			best = least < section ? least : section;
			nearest = name;
			len = least < section ? strlen(name) : section_len(&keys[i]);
		}
	}
	return fail(p, "unknown key; the nearest known one is %.*s", (int)len, nearest);
}

/* ---- The file -------------------------------------------------------------------------------- */

struct file {
	struct config *c;
	const struct yaml *y;
	const char *name;
	char *err;
	struct yaml_mark upstream_at[UPSTREAMS_MAX];
};

static struct place
place_of(const struct file *f, struct yaml_mark mark, const char *key)
{
	return (struct place){.file = f->name, .at = mark, .key = key, .err = f->err};
}

static int
read_list(const struct key *k, void *base, const struct file *f, size_t node)
{
	struct place p = place_of(f, f->y->node[node].at, k->name);

	if (!types[k->type].is_list)
		return fail(&p, "takes one value, not a list");
	if (f->y->node[node].first == 0)
		return fail(&p, "this list is empty; leave the key out for the default");
	clear_list(k, base);
	for (size_t i = f->y->node[node].first; i != 0; i = f->y->node[i].next) {
		p.at = f->y->node[i].at;
		if (f->y->node[i].kind != YAML_SCALAR)
			return fail(&p, "expected a value here");
		if (types[k->type].put(k, base, yaml_text(f->y, i), &p) == -1)
			return -1;
	}
	return 0;
}

static int
read_key(void *base, const struct file *f, size_t node)
{
	const struct yaml_node *n = &f->y->node[node];
	char path[YAML_PATH_MAX];
	struct place p = place_of(f, n->key_at, yaml_path(path, f->y, node));
	const struct key *k = find_key(path);

	if (k == NULL)
		return fail_unknown(&p);
	p.at = n->at;
	switch (n->kind) {
	case YAML_SCALAR:
		clear_list(k, base);
		return types[k->type].put(k, base, yaml_text(f->y, node), &p);
	case YAML_LIST:
		return read_list(k, base, f, node);
	case YAML_MAP:
		return fail(&p, "takes a value, not keys below it");
	default:
		return fail(&p, "has no value; give one, or leave the key out for the default");
	}
}

static int
read_keys(void *base, const struct file *f, size_t node)
{
	for (size_t i = f->y->node[node].first; i != 0; i = f->y->node[i].next) {
		if (read_key(base, f, i) == -1)
			return -1;
	}
	return 0;
}

static void
preset(const struct key *k, void *base)
{
	char err[CONFIG_ERROR_MAX];

	if (k->text == NULL)
		store(k, base, k->number);
	else
		put_text(k, base, k->text, &(struct place){.key = k->name, .err = err});
}

/* Reads a mapping as one more upstream. */
static int
read_upstream(struct file *f, size_t node)
{
	struct place p = place_of(f, f->y->node[node].at, "upstream");
	struct config_upstream *u = &f->c->upstream[f->c->upstreams];

	if (f->y->node[node].kind != YAML_MAP)
		return fail(&p, "expected ip: and hostname: here");
	if (f->c->upstreams == UPSTREAMS_MAX)
		return fail(&p, "more than %u upstreams are not supported", UPSTREAMS_MAX);
	f->upstream_at[f->c->upstreams++] = p.at;
	memset(u, 0, sizeof(*u));
	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i].each && keys[i].must == NULL)
			preset(&keys[i], u);
	}
	if (read_keys(u, f, node) == -1)
		return -1;
	for (size_t i = 0; i < KEYS; i++) {
		p.key = keys[i].name;
		if (keys[i].each && keys[i].must != NULL && yaml_child(f->y, node, last_part(p.key)) == 0)
			return fail(&p, "%s", keys[i].must);
	}
	return 0;
}

static int
read_section(struct file *f, size_t node)
{
	const struct yaml_node *n = &f->y->node[node];
	struct place p = place_of(f, n->key_at, yaml_key(f->y, node));
	const struct key *first = find_section(p.key);

	if (first == NULL)
		return fail_unknown(&p);
	p.at = n->at;
	if (n->kind == YAML_EMPTY)
		return 0;
	if (first->each && n->kind == YAML_LIST) {
		for (size_t i = n->first; i != 0; i = f->y->node[i].next) {
			if (read_upstream(f, i) == -1)
				return -1;
		}
		return 0;
	}
	if (n->kind != YAML_MAP)
		return fail(&p, "expected keys below it, such as %s:", last_part(first->name));
	return first->each ? read_upstream(f, node) : read_keys(f->c, f, node);
}

/* ---- What must hold between keys ------------------------------------------------------------- */

static void
settle_ports(struct config *c)
{
	for (size_t i = 0; i < c->listens; i++)
		c->listen[i].port = c->port;
}

static bool
is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = {[15] = 1};

	return a->family == ADDR_V4 ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof(one)) == 0;
}

/* The first upstream that is dnproxy itself, for a query would go round forever; or upstreams. */
static size_t
find_self(const struct config *c)
{
	for (size_t u = 0; u < c->upstreams; u++) {
		const struct addr *to = &c->upstream[u].addr;

		for (size_t i = 0; i < c->listens; i++) {
			const struct addr *l = &c->listen[i];

			if (addr_same(l, to) || (l->family == to->family && l->port == to->port &&
						 is_unspecified(l) && is_loopback(to)))
				return u;
		}
	}
	return c->upstreams;
}

static int
check_self(const struct config *c, struct place *p, const struct yaml_mark *marks)
{
	char text[ADDR_TEXT_MAX];
	size_t self = find_self(c);

	if (self == c->upstreams)
		return 0;
	if (marks != NULL)
		p->at = marks[self];
	return fail(p, "the upstream %s is where dnproxy itself listens",
		    addr_text(text, &c->upstream[self].addr));
}

/* ---- Interface ------------------------------------------------------------------------------- */

void
config_default(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->upstreams = 1;
	for (size_t i = 0; i < KEYS; i++)
		preset(&keys[i], keys[i].each ? (void *)&c->upstream[0] : (void *)c);
	settle_ports(c);
}

int
config_read(struct config *c, const char *text, size_t len, const char *name, char err[CONFIG_ERROR_MAX])
{
	struct yaml y;
	struct file f = {.c = c, .y = &y, .name = name, .err = err};
	struct place p = place_of(&f, (struct yaml_mark){1, 1}, "");
	int bad = yaml_read(&y, text, len);

	p.at = y.at;
	if (bad)
		return fail(&p, "%s", y.error);
	if (y.node[0].kind == YAML_LIST)
		return fail(&p, "expected keys such as dnproxy: and upstream:, not a list");
	config_default(c);
	c->upstreams = 0;
	for (size_t i = y.node[0].first; i != 0; i = y.node[i].next) {
		if (read_section(&f, i) == -1)
			return -1;
	}
	p.key = "upstream";
	if (c->upstreams == 0)
		return fail(&p, "the file names no upstream; add upstream: with ip: and hostname: below it");
	settle_ports(c);
	return check_self(c, &p, f.upstream_at);
}

static const char *
variable(char *(*get)(const char *), const char *name)
{
	const char *value = get(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

/* Reads "192.0.2.1" or "192.0.2.1@8853". */
static int
put_at_port(struct config_upstream *u, const char *text, const struct place *p)
{
	char address[ADDR_TEXT_MAX];
	const char *sign = strrchr(text, '@');
	size_t len = sign != NULL ? (size_t)(sign - text) : strlen(text);

	text_make(address, sizeof(address), "%.*s", len < sizeof(address) ? (int)len : (int)sizeof(address) - 1,
		  text);
	if (put_text(find_key("upstream.ip"), u, address, p) == -1)
		return -1;
	return sign != NULL ? put_text(find_key("upstream.port"), u, sign + 1, p) : 0;
}

static int
environment_upstream(struct config *c, char *(*get)(const char *), bool from_file, char *err)
{
	const struct key *ip_key = find_key("upstream.ip"), *name_key = find_key("upstream.hostname");
	const char *ip = variable(get, ip_key->env), *name = variable(get, name_key->env);
	struct place p = {.key = name == NULL ? name_key->env : ip_key->env, .err = err};

	if (ip == NULL && name == NULL)
		return 0;
	if (c->upstreams > 1 && (ip == NULL || name == NULL))
		return fail(&p,
			    "is needed as well: the settings file names %u upstreams, which both variables "
			    "together replace",
			    (unsigned)c->upstreams);
	if (!from_file && name == NULL)
		return fail(&p, "is needed as well: an upstream without a hostname cannot be authenticated");
	if (c->upstreams > 1)
		preset(find_key("upstream.port"), &c->upstream[0]);
	c->upstreams = 1;
	p.key = ip_key->env;
	if (ip != NULL && put_at_port(&c->upstream[0], ip, &p) == -1)
		return -1;
	p.key = name_key->env;
	return name != NULL ? put_text(name_key, &c->upstream[0], name, &p) : 0;
}

int
config_environment(struct config *c, char *(*get)(const char *), bool from_file, char err[CONFIG_ERROR_MAX])
{
	struct place p = {.key = "", .err = err};

	for (size_t i = 0; i < KEYS; i++) {
		const char *value = keys[i].env != NULL ? variable(get, keys[i].env) : NULL;

		if (value == NULL)
			continue;
		p.key = keys[i].env;
		if (!keys[i].each && put_text(&keys[i], c, value, &p) == -1)
			return -1;
	}
	if (environment_upstream(c, get, from_file, err) == -1)
		return -1;
	settle_ports(c);
	return check_self(c, &p, NULL);
}

/* ---- Printing -------------------------------------------------------------------------------- */

struct out {
	char *text;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void
print(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = text_make_v(o->text + o->used, CONFIG_TEXT_MAX - o->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		o->used += (size_t)n < CONFIG_TEXT_MAX - o->used ? (size_t)n : CONFIG_TEXT_MAX - o->used - 1;
}

static void
print_value(struct out *o, const struct key *k, const void *base, size_t i)
{
	char text[SHOW_MAX];

	types[k->type].show(k, base, i, text);
	if (!types[k->type].is_quoted) {
		print(o, " %s\n", text);
		return;
	}
	print(o, " \"");
	for (const char *s = text; *s != '\0'; s++)
		print(o, "%s%c", *s == '"' || *s == '\\' ? "\\" : "", *s);
	print(o, "\"\n");
}

/* begin is what stands before the key: two spaces, or "  - " and as many spaces. */
static void
print_key(struct out *o, const struct key *k, const void *base, const char *begin)
{
	size_t n = values(k, base);

	print(o, "%s%s:", begin, last_part(k->name));
	if (n == 1) {
		print_value(o, k, base, 0);
		return;
	}
	print(o, "\n");
	for (size_t i = 0; i < n; i++) {
		print(o, "%*s-", (int)strlen(begin) + 2, "");
		print_value(o, k, base, i);
	}
}

static void
print_section(struct out *o, const struct key *first, size_t n, const struct config *c)
{
	print(o, "%.*s:\n", (int)section_len(first), first->name);
	for (size_t i = 0; i < n && !first->each; i++)
		print_key(o, &first[i], c, "  ");
	for (size_t u = 0; u < c->upstreams && first->each; u++) {
		for (size_t i = 0; i < n; i++)
			print_key(o, &first[i], &c->upstream[u], i == 0 ? "  - " : "    ");
	}
}

size_t
config_print(const struct config *c, char out[CONFIG_TEXT_MAX])
{
	struct out o = {.text = out};
	size_t n;

	out[0] = '\0';
	for (size_t i = 0; i < KEYS; i += n) {
		for (n = 1; i + n < KEYS && same_section(&keys[i], &keys[i + n]); n++)
			;
		print_section(&o, &keys[i], n, c);
	}
	return o.used;
}

/* What a value may be; nothing for a plain text. */
static void
help_range(struct out *o, const struct key *k)
{
	if (k->type == KEY_NUMBER)
		print(o, "; %u..%u", (unsigned)k->min, (unsigned)k->max);
	if (types[k->type].is_list)
		print(o, "; one or a list of up to %u", (unsigned)k->max);
	for (size_t i = 0; k->words != NULL && k->words[i] != NULL; i++)
		print(o, "%s%s", i > 0 ? "|" : "; ", k->words[i]);
}

static void
help_key(struct out *o, const struct key *k, const void *base)
{
	char text[SHOW_MAX];

	types[k->type].show(k, base, 0, text);
	print(o, "  %s\n      default %s%s", k->name, text[0] != '\0' ? text : "\"\"",
	      values(k, base) > 1 ? " and others" : "");
	help_range(o, k);
	print(o, "%s%s%s\n", k->env != NULL ? "; $" : "", k->env != NULL ? k->env : "",
	      k->must != NULL ? "; a file must give it" : "");
	for (const char *line = k->help; *line != '\0';) {
		int len = (int)strcspn(line, "\n");

		print(o, "      %.*s\n", len, line);
		line += len + (line[len] == '\n');
	}
}

size_t
config_help(char out[CONFIG_TEXT_MAX])
{
	struct out o = {.text = out};
	struct config c;

	out[0] = '\0';
	config_default(&c);
	for (size_t i = 0; i < KEYS; i++)
		help_key(&o, &keys[i], keys[i].each ? (void *)&c.upstream[0] : (void *)&c);
	return o.used;
}
