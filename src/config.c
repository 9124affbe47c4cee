/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdarg.h>
#include <string.h>

#include "key.h"
#include "text.h"
#include "yaml.h"

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

_Static_assert(sizeof(bool) == 1 && sizeof(enum log_level) == 4, "a KEY_WORD takes 1, 2 or 4 octets");

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
	return key_fail(p, "unknown key; the nearest known one is %.*s", (int)len, nearest);
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

	if (!key_is_list(k))
		return key_fail(&p, "takes one value, not a list");
	if (f->y->node[node].first == 0)
		return key_fail(&p, "this list is empty; leave the key out for the default");
	key_clear(k, base);
	for (size_t i = f->y->node[node].first; i != 0; i = f->y->node[i].next) {
		p.at = f->y->node[i].at;
		if (f->y->node[i].kind != YAML_SCALAR)
			return key_fail(&p, "expected a value here");
		if (key_put(k, base, yaml_text(f->y, i), &p) == -1)
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
		key_clear(k, base);
		return key_put(k, base, yaml_text(f->y, node), &p);
	case YAML_LIST:
		return read_list(k, base, f, node);
	case YAML_MAP:
		return key_fail(&p, "takes a value, not keys below it");
	default:
		return key_fail(&p, "has no value; give one, or leave the key out for the default");
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

/* Reads a mapping as one more upstream. */
static int
read_upstream(struct file *f, size_t node)
{
	struct place p = place_of(f, f->y->node[node].at, "upstream");
	struct config_upstream *u = &f->c->upstream[f->c->upstreams];

	if (f->y->node[node].kind != YAML_MAP)
		return key_fail(&p, "expected ip: and hostname: here");
	if (f->c->upstreams == UPSTREAMS_MAX)
		return key_fail(&p, "more than %u upstreams are not supported", UPSTREAMS_MAX);
	f->upstream_at[f->c->upstreams++] = p.at;
	memset(u, 0, sizeof(*u));
	for (size_t i = 0; i < KEYS; i++) {
		if (keys[i].each && keys[i].must == NULL)
			key_preset(&keys[i], u);
	}
	if (read_keys(u, f, node) == -1)
		return -1;
	for (size_t i = 0; i < KEYS; i++) {
		p.key = keys[i].name;
		if (keys[i].each && keys[i].must != NULL && yaml_child(f->y, node, last_part(p.key)) == 0)
			return key_fail(&p, "%s", keys[i].must);
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
		return key_fail(&p, "expected keys below it, such as %s:", last_part(first->name));
	return first->each ? read_upstream(f, node) : read_keys(f->c, f, node);
}

/* ---- What must hold between keys ------------------------------------------------------------- */

static void
settle_ports(struct config *c)
{
	for (size_t i = 0; i < c->listens; i++)
		c->listen[i].port = c->port;
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
						 addr_is_unspecified(l) && addr_is_loopback(to)))
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
	return key_fail(p, "the upstream %s is where dnproxy itself listens",
			addr_text(text, &c->upstream[self].addr));
}

/* ---- Interface ------------------------------------------------------------------------------- */

void
config_default(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->upstreams = 1;
	for (size_t i = 0; i < KEYS; i++)
		key_preset(&keys[i], keys[i].each ? (void *)&c->upstream[0] : (void *)c);
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
		return key_fail(&p, "%s", y.error);
	if (y.node[0].kind == YAML_LIST)
		return key_fail(&p, "expected keys such as dnproxy: and upstream:, not a list");
	config_default(c);
	c->upstreams = 0;
	for (size_t i = y.node[0].first; i != 0; i = y.node[i].next) {
		if (read_section(&f, i) == -1)
			return -1;
	}
	p.key = "upstream";
	if (c->upstreams == 0)
		return key_fail(&p,
				"the file names no upstream; add upstream: with ip: and hostname: below it");
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
	if (key_read(find_key("upstream.ip"), u, address, p) == -1)
		return -1;
	return sign != NULL ? key_read(find_key("upstream.port"), u, sign + 1, p) : 0;
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
		return key_fail(&p,
				"is needed as well: the settings file names %u upstreams, which both variables "
				"together replace",
				(unsigned)c->upstreams);
	if (!from_file && name == NULL)
		return key_fail(&p,
				"is needed as well: an upstream without a hostname cannot be authenticated");
	if (c->upstreams > 1)
		key_preset(find_key("upstream.port"), &c->upstream[0]);
	c->upstreams = 1;
	p.key = ip_key->env;
	if (ip != NULL && put_at_port(&c->upstream[0], ip, &p) == -1)
		return -1;
	p.key = name_key->env;
	return name != NULL ? key_read(name_key, &c->upstream[0], name, &p) : 0;
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
		if (!keys[i].each && key_read(&keys[i], c, value, &p) == -1)
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
	char text[KEY_TEXT_MAX];

	key_show(k, base, i, text);
	if (!key_is_quoted(k)) {
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
	size_t n = key_count(k, base);

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
	if (key_is_list(k))
		print(o, "; one or a list of up to %u", (unsigned)k->max);
	for (size_t i = 0; k->words != NULL && k->words[i] != NULL; i++)
		print(o, "%s%s", i > 0 ? "|" : "; ", k->words[i]);
}

static void
help_key(struct out *o, const struct key *k, const void *base)
{
	char text[KEY_TEXT_MAX];

	key_show(k, base, 0, text);
	print(o, "  %s\n      default %s%s", k->name, text[0] != '\0' ? text : "\"\"",
	      key_count(k, base) > 1 ? " and others" : "");
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
