/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdarg.h>
#include <string.h>

#include "key.h"
#include "text.h"
#include "yaml.h"

#define VALUE(part, field) .at = offsetof(struct part, field), .size = sizeof(((struct part *)0)->field)
#define NUMBER(part, field, low, high, preset) \
	.type = KEY_NUMBER, VALUE(part, field), .min = (low), .max = (high), .number = (preset)
#define LIST(part, field, length, most) \
	.at = offsetof(struct part, field), .size = sizeof(((struct part *)0)->field[0]), \
	.count = offsetof(struct part, length), .max = (most)

_Static_assert(sizeof(struct config) <= UINT16_MAX, "struct key counts in 16 bits");

static const struct key keys[] = {
	{.name = "dnproxy.host",
	 .env = "DNPROXY_HOST",
	 .type = KEY_ADDRESS,
	 LIST(config, listen, listens, LISTEN_MAX),
	 .text = "127.0.0.1",
	 .help = "where clients ask; 0.0.0.0 and :: are all addresses"},
	{.name = "dnproxy.port",
	 .env = "DNPROXY_PORT",
	 NUMBER(config, port, 1, 65535, 53),
	 .help = "the port on each of them, UDP and TCP"},
	{.name = "dnproxy.allow",
	 .type = KEY_PREFIX,
	 LIST(config, allow, allows, ALLOW_MAX),
	 .text = "127.0.0.0/8, ::1/128, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16, fe80::/10, "
		 "fc00::/7",
	 .help = "who is answered; others get REFUSED"},
	{.name = "dnproxy.udp_size",
	 NUMBER(config, udp_size, UDP_SIZE_MIN, UDP_SIZE_MAX, UDP_SIZE_DEFAULT),
	 .help = "octets of the longest answer over UDP"},
	{.name = "dnproxy.max_queries",
	 NUMBER(config, max_queries, QUERIES_MIN, QUERIES_MAX, QUERIES_DEFAULT),
	 .help = "queries on their way at once; more get SERVFAIL"},
	{.name = "dnproxy.tcp_clients",
	 NUMBER(config, tcp_clients, 1, TCP_CLIENTS_MAX, TCP_CLIENTS_DEFAULT),
	 .help = "TCP connections of clients at once; more wait"},
	{.name = "dnproxy.tcp_per_address",
	 NUMBER(config, tcp_per_address, 1, TCP_CLIENTS_MAX, TCP_PER_ADDRESS_DEFAULT),
	 .help = "of these, from one address"},
	{.name = "dnproxy.workers",
	 .env = "DNPROXY_WORKERS",
	 .text = "auto",
	 NUMBER(config, workers, 1, WORKERS_MAX, 1),
	 .help = "processes that share the work; auto: one a processor"},
	{.name = "dnproxy.upstream_policy",
	 .type = KEY_WORD,
	 VALUE(config, upstream_policy),
	 .text = "order|fastest",
	 .help = "order: the first healthy one of the list; fastest: the one that answers soonest"},

	{.name = "upstream.ip",
	 .env = "DNPROXY_UPSTREAM_IP",
	 .type = KEY_SERVER,
	 .each = true,
	 VALUE(config_upstream, addr),
	 .text = "1.1.1.1",
	 .must = true,
	 .help = "the DNS-over-TLS server; several: a list of mappings"},
	/* read_at_port() looks for it here. */
	{.name = "upstream.port",
	 .each = true,
	 NUMBER(config_upstream, addr.port, 1, 65535, DOT_PORT),
	 .help = "its port; in the environment 192.0.2.1@8853"},
	{.name = "upstream.hostname",
	 .env = "DNPROXY_UPSTREAM_HOSTNAME",
	 .type = KEY_HOSTNAME,
	 .each = true,
	 VALUE(config_upstream, hostname),
	 .text = "cloudflare-dns.com",
	 .help = "the name its certificate must prove; left out in a file: its address, or a pin"},
	{.name = "upstream.pins",
	 .type = KEY_PIN,
	 .each = true,
	 LIST(config_upstream, pin, pins, PINS_MAX),
	 .text = "",
	 .help = "sha256/BASE64 of keys; its chain must hold one of them"},
	{.name = "upstream.keep_warm",
	 .type = KEY_WORD,
	 .each = true,
	 VALUE(config_upstream, keep_warm),
	 /* YAML 1.1 has more words for these two; which of them count depends on the reader. */
	 .text = "false|true",
	 .help = "connect at once and again whenever it closes, so that no query waits for a handshake"},

	{.name = "tls.trust_anchors",
	 .type = KEY_PATH,
	 VALUE(config, trust_anchors),
	 .text = "",
	 .help = "a PEM file that replaces the built-in anchors"},
	{.name = "tls.clock",
	 .type = KEY_WORD,
	 VALUE(config, strict_clock),
	 .text = "auto|strict",
	 .help = "auto: while the clock stands before the build date, certificates may be not yet valid"},

	{.name = "cache.size",
	 NUMBER(config, cache_size, 0, CACHE_KIB_MAX, CACHE_KIB_DEFAULT),
	 .help = "KiB of answers that are kept; 0 = none"},
	{.name = "cache.min_ttl",
	 NUMBER(config, cache_min_ttl, 0, 3600, CACHE_MIN_TTL),
	 .help = "seconds an answer is kept at least"},
	{.name = "cache.max_ttl",
	 NUMBER(config, cache_max_ttl, 1, 604800, CACHE_MAX_TTL),
	 .help = "and at most"},
	{.name = "cache.stale",
	 NUMBER(config, cache_stale, 0, 604800, CACHE_STALE_S),
	 .help = "seconds an expired answer may be given when no upstream has a better one; 0 = never"},
	{.name = "cache.prefetch",
	 .type = KEY_WORD,
	 VALUE(config, cache_prefetch),
	 .text = "false|true",
	 .number = 1,
	 .help = "ask again shortly before an answer expires that is asked for often"},

	{.name = "log.level",
	 .env = "DNPROXY_LOG_LEVEL",
	 .type = KEY_WORD,
	 VALUE(config, level),
	 .text = "error|warn|info|debug",
	 .number = LOG_LEVEL_INFO,
	 .help = "how much is logged; names asked for only by log.queries"},
	{.name = "log.queries",
	 .type = KEY_WORD,
	 VALUE(config, log_queries),
	 .text = "false|true",
	 .help = "one line for every query"},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* The struct a key's field lies in; of those of a list, the first. */
static void *
base_of(const struct key *k, struct config *c)
{
	return k->each ? (void *)&c->upstream[0] : (void *)c;
}

/* ---- Keys by name ---------------------------------------------------------------------------- */

static size_t
section_len(const struct key *k)
{
	return text_until(k->name, ".");
}

/* The key of this name, or the first one of the section of this name; or NULL. */
static const struct key *
find(const char *name, bool section)
{
	size_t len = strlen(name);

	for (const struct key *k = keys; k < keys + KEYS; k++) {
		if (len == (section ? section_len(k) : strlen(k->name)) && memcmp(k->name, name, len) == 0)
			return k;
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
	const char *last = text_behind(p->key, '.'), *nearest = "";
	unsigned best = UINT32_MAX;
	size_t nearest_len = 0;

	for (size_t i = 0; i < KEYS; i++) {
		const char *name = keys[i].name, *part = text_behind(name, '.');
		size_t len = strlen(name), section = section_len(&keys[i]);
		unsigned least = distance(p->key, name, len);
		/* The right key in the wrong section, or in none, is nearer than its letters are. */
		unsigned other = 1 + distance(last, part, strlen(part));

		least = other < least ? other : least;
		other = distance(last, name, section);
		if (last == p->key && other <= least) {
			least = other;
			len = section;
		}
		if (least < best) {
			best = least;
			nearest = name;
			nearest_len = len;
		}
	}
	return key_fail(p, "unknown key; the nearest known one is %.*s", (int)nearest_len, nearest);
}

/* ---- The file -------------------------------------------------------------------------------- */

/* What is read, and the place that is read. */
struct file {
	struct config *c;
	const struct yaml *y;
	struct place p;
	char path[YAML_PATH_MAX]; /* its key */
	struct yaml_mark upstream_at[UPSTREAMS_MAX];
};

/* From here on, errors name the key of this node. */
static const struct yaml_node *
enter(struct file *f, size_t node)
{
	const struct yaml_node *n = &f->y->node[node];

	f->p.at = n->key_at;
	f->p.key = yaml_path(f->path, f->y, node);
	return n;
}

static const char must[] = "a file must give it";

/* Reads a scalar as the value of a key, or as one more entry of its list. */
static int
read_value(const struct key *k, void *base, struct file *f, size_t node)
{
	const struct yaml_node *n = &f->y->node[node];
	const char *remedy = k->must ? must : "leave the key out for its default";

	f->p.at = n->at;
	if (n->kind == YAML_SCALAR)
		return key_put(k, base, yaml_text(f->y, node), &f->p);
	if (n->kind == YAML_MAP)
		remedy = "put quotes around a value that ends in :";
	else if (n->kind == YAML_LIST && k->type == KEY_SERVER)
		remedy = "several upstreams are a list of mappings, - ip: and so on";
	return key_fail(&f->p, "expected one value%s here; %s", k->count != 0 ? " or a list of them" : "",
			remedy);
}

static int
read_key(void *base, struct file *f, size_t node)
{
	const struct yaml_node *n = enter(f, node);
	const struct key *k = find(f->path, false);

	if (k == NULL)
		return fail_unknown(&f->p);
	key_clear(k, base);
	if (k->count == 0 || n->kind != YAML_LIST || (n->first == 0 && k->text[0] != '\0'))
		return read_value(k, base, f, node);
	for (size_t i = n->first; i != 0; i = f->y->node[i].next) {
		if (read_value(k, base, f, i) == -1)
			return -1;
	}
	return 0;
}

static int
read_keys(void *base, struct file *f, size_t node)
{
	for (size_t i = f->y->node[node].first; i != 0; i = f->y->node[i].next) {
		if (read_key(base, f, i) == -1)
			return -1;
	}
	return 0;
}

static void
preset_upstream(struct config_upstream *u)
{
	for (const struct key *k = keys; k < keys + KEYS; k++) {
		if (k->each)
			key_preset(k, u);
	}
}

/* Reads a mapping as one more upstream. */
static int
read_upstream(struct file *f, size_t node)
{
	const struct yaml_node *n = enter(f, node);
	struct config_upstream *u = &f->c->upstream[f->c->upstreams];

	f->p.at = n->at;
	if (n->kind != YAML_MAP)
		return key_fail(&f->p, "expected keys such as ip: here");
	if (f->c->upstreams == UPSTREAMS_MAX)
		return key_fail(&f->p, "takes at most %u entries", UPSTREAMS_MAX);
	f->upstream_at[f->c->upstreams++] = n->at;
	preset_upstream(u);
	u->hostname[0] = '\0'; /* the built-in one belongs to another server */
	if (read_keys(u, f, node) == -1)
		return -1;
	f->p.at = n->at;
	for (const struct key *k = keys; k < keys + KEYS; k++) {
		f->p.key = k->name;
		if (k->must && yaml_child(f->y, node, text_behind(k->name, '.')) == 0)
			return key_fail(&f->p, "%s", must);
	}
	return 0;
}

static int
read_section(struct file *f, size_t node)
{
	const struct yaml_node *n = enter(f, node);
	const struct key *first = find(f->path, true);

	if (first == NULL)
		return fail_unknown(&f->p);
	f->p.at = n->at;
	if (n->kind == YAML_EMPTY)
		return 0;
	if (n->kind != YAML_MAP && (n->kind != YAML_LIST || !first->each))
		return key_fail(&f->p, "expected keys below it, such as %s:", text_behind(first->name, '.'));
	if (!first->each)
		return read_keys(f->c, f, node);
	if (n->kind == YAML_MAP)
		return read_upstream(f, node);
	for (size_t i = n->first; i != 0; i = f->y->node[i].next) {
		if (read_upstream(f, i) == -1)
			return -1;
	}
	return 0;
}

/* ---- What must hold between keys ------------------------------------------------------------- */

/* Whether a query to this address would come back to dnproxy, and so go round forever. */
static bool
is_self(const struct config *c, const struct addr *to)
{
	for (size_t i = 0; i < c->listens; i++) {
		const struct addr *l = &c->listen[i];

		if (addr_same(l, to) || (l->family == to->family && l->port == to->port &&
					 addr_is_unspecified(l) && addr_is_loopback(to)))
			return true;
	}
	return false;
}

static void
settle_ports(struct config *c)
{
	for (size_t i = 0; i < c->listens; i++)
		c->listen[i].port = c->port;
}

/* No answer can be kept both as long and as short as that. */
static int
check_ttls(struct file *f)
{
	size_t at = yaml_child(f->y, yaml_child(f->y, 0, "cache"), "min_ttl");

	if (f->c->cache_min_ttl <= f->c->cache_max_ttl)
		return 0;
	f->p.at = f->y->node[at].at;
	f->p.key = "cache.min_ttl";
	return key_fail(&f->p, "%u is more than cache.max_ttl, %u", (unsigned)f->c->cache_min_ttl,
			(unsigned)f->c->cache_max_ttl);
}

static int
settle(struct config *c, struct place *p, const struct yaml_mark *marks)
{
	char text[ADDR_TEXT_MAX];

	settle_ports(c);
	for (size_t u = 0; u < c->upstreams; u++) {
		const struct addr *a = &c->upstream[u].addr;

		if (marks != NULL)
			p->at = marks[u];
		if (is_self(c, a))
			return key_fail(p, "%s is where dnproxy itself listens", addr_text(text, a));
	}
	return 0;
}

/* ---- Interface ------------------------------------------------------------------------------- */

void
config_default(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->upstreams = 1;
	for (const struct key *k = keys; k < keys + KEYS; k++)
		key_preset(k, base_of(k, c));
	settle_ports(c);
}

int
config_read(struct config *c, const char *text, size_t len, const char *name, char err[CONFIG_ERROR_MAX])
{
	struct yaml y;
	struct file f = {.c = c, .y = &y, .p = {.file = name, .key = "", .err = err}};
	int bad = yaml_read(&y, text, len);

	f.p.at = y.at;
	if (bad)
		return key_fail(&f.p, "%s", y.error);
	if (y.node[0].kind == YAML_LIST)
		return key_fail(&f.p, "expected keys such as upstream: here");
	config_default(c);
	c->upstreams = 0;
	for (size_t i = y.node[0].first; i != 0; i = y.node[i].next) {
		if (read_section(&f, i) == -1)
			return -1;
	}
	f.p.at = y.at;
	f.p.key = "upstream";
	if (c->upstreams == 0)
		return key_fail(&f.p, "%s, with ip: below", must);
	if (check_ttls(&f) == -1)
		return -1;
	return settle(c, &f.p, f.upstream_at);
}

/* Kubernetes sets DNPROXY_PORT=tcp://10.0.0.1:53 (or udp://) for a Service named dnproxy: not ours. */
static const char *
variable(char *(*get)(const char *), const struct key *k)
{
	const char *value = k->env != NULL ? get(k->env) : NULL;

	if (value == NULL || value[0] == '\0')
		return NULL;
	if (k->type == KEY_NUMBER && (text_begins(value, "tcp://") || text_begins(value, "udp://")))
		return NULL;
	return value;
}

/* Reads "192.0.2.1" or "192.0.2.1@8853", whose port is the key behind that of the address. */
static int
read_at_port(const struct key *k, struct config_upstream *u, const char *text, const struct place *p)
{
	char address[ADDR_TEXT_MAX];
	const char *port = text_behind(text, '@');

	if (port == text)
		return key_read(k, u, text, p);
	text_make(address, sizeof(address), "%.*s", (int)(port - text - 1), text);
	if (key_read(k, u, address, p) == -1)
		return -1;
	return key_read(k + 1, u, port, p);
}

/* Makes room for an upstream of the environment, if it has one. */
static int
prepare_upstream(struct config *c, char *(*get)(const char *), bool from_file, struct place *p)
{
	const struct key *missing = NULL;
	bool given = false;

	for (const struct key *k = keys; k < keys + KEYS; k++) {
		if (!k->each || k->env == NULL)
			continue;
		if (variable(get, k) == NULL)
			missing = k;
		else
			given = true;
	}
	if (!given)
		return 0;
	if (missing != NULL && (c->upstreams > 1 || (!from_file && missing->type == KEY_HOSTNAME))) {
		p->key = missing->env;
		return key_fail(p, "is needed as well: address and hostname together replace all upstreams");
	}
	if (c->upstreams > 1)
		preset_upstream(&c->upstream[0]);
	c->upstreams = 1;
	return 0;
}

int
config_environment(struct config *c, char *(*get)(const char *), bool from_file, char err[CONFIG_ERROR_MAX])
{
	struct place p = {.key = "", .err = err};

	if (prepare_upstream(c, get, from_file, &p) == -1)
		return -1;
	for (const struct key *k = keys; k < keys + KEYS; k++) {
		const char *value = variable(get, k);

		if (value == NULL)
			continue;
		p.key = k->env;
		if ((k->type == KEY_SERVER ? read_at_port(k, &c->upstream[0], value, &p)
					   : key_read(k, base_of(k, c), value, &p)) == -1)
			return -1;
	}
	return settle(c, &p, NULL);
}

int
config_choose(struct config *c, const char *text, char err[CONFIG_ERROR_MAX])
{
	struct place p = {.key = "probe", .err = err};
	size_t hash = text_until(text, "#");
	struct config_upstream u;
	char server[KEY_TEXT_MAX];

	text_make(server, sizeof(server), "%.*s", (int)hash, text);
	preset_upstream(&u);
	u.hostname[0] = '\0';
	if (read_at_port(find("upstream.ip", false), &u, server, &p) == -1)
		return key_fail(&p, "\"%.80s\" is not an upstream as in 192.0.2.1@853#dns.example", text);
	for (size_t i = c->upstreams; i-- > 0;) {
		if (addr_same(&c->upstream[i].addr, &u.addr))
			u = c->upstream[i];
	}
	if (text[hash] != '\0' && key_read(find("upstream.hostname", false), &u, text + hash + 1, &p) == -1)
		return -1;
	c->upstream[0] = u;
	c->upstreams = 1;
	return 0;
}

/* ---- Printing -------------------------------------------------------------------------------- */

struct out {
	char *text;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void
print(struct out *o, const char *fmt, ...)
{
	size_t room = CONFIG_TEXT_MAX - o->used, n;
	va_list ap;

	va_start(ap, fmt);
	n = (size_t)text_make_v(o->text + o->used, room, fmt, ap);
	va_end(ap);
	o->used += n < room ? n : room - 1;
}

static void
print_value(struct out *o, const struct key *k, const void *base, size_t i)
{
	char text[KEY_TEXT_MAX];
	const char *quote = k->type > KEY_WORD ? "\"" : "";

	key_show(k, base, i, text);
	print(o, " %s", quote);
	for (const char *s = text; *s != '\0'; s++)
		print(o, "%s%c", *s == '"' || *s == '\\' ? "\\" : "", *s);
	print(o, "%s\n", quote);
}

/* begin is what stands before the key: two spaces, or "  - " and as many spaces. */
static void
print_key(struct out *o, const struct key *k, const void *base, const char *begin)
{
	size_t n = key_count(k, base);

	print(o, "%s%s:%s", begin, text_behind(k->name, '.'), n == 0 ? " []\n" : n == 1 ? "" : "\n");
	for (size_t i = 0; i < n; i++) {
		if (n > 1)
			print(o, "%*s-", (int)strlen(begin) + 2, "");
		print_value(o, k, base, i);
	}
}

/* Prints the section that begins with this key; returns the key behind it. */
static const struct key *
print_section(struct out *o, const struct key *first, const struct config *c)
{
	size_t len = section_len(first);
	const struct key *k = first;

	print(o, "%.*s:\n", (int)len, first->name);
	for (size_t u = 0; u < (first->each ? c->upstreams : 1); u++) {
		const void *base = first->each ? (const void *)&c->upstream[u] : (const void *)c;
		const char *begin = first->each ? "  - " : "  ";

		for (k = first;
		     k < keys + KEYS && section_len(k) == len && memcmp(k->name, first->name, len) == 0; k++) {
			print_key(o, k, base, begin);
			begin = first->each ? "    " : "  ";
		}
	}
	return k;
}

size_t
config_print(const struct config *c, char out[CONFIG_TEXT_MAX])
{
	struct out o = {.text = out};

	for (const struct key *k = keys; k < keys + KEYS;)
		k = print_section(&o, k, c);
	return o.used;
}

static void
help_key(struct out *o, const struct key *k, const void *base)
{
	char text[KEY_TEXT_MAX] = "[]";
	size_t n = key_count(k, base);

	if (n > 0)
		key_show(k, base, 0, text);
	print(o, "  %s\n      default %s%s", k->name, text[0] != '\0' ? text : "\"\"",
	      n > 1 ? " and others" : "");
	if (k->type == KEY_NUMBER)
		print(o, "; %u..%u%s%s", (unsigned)k->min, (unsigned)k->max, k->text != NULL ? " or " : "",
		      k->text != NULL ? k->text : "");
	if (k->type == KEY_WORD)
		print(o, "; %s", k->text);
	if (k->count != 0)
		print(o, "; one or a list of up to %u", (unsigned)k->max);
	if (k->env != NULL)
		print(o, "; $%s", k->env);
	print(o, "%s%s\n      %s\n", k->must ? "; " : "", k->must ? must : "", k->help);
}

size_t
config_help(char out[CONFIG_TEXT_MAX])
{
	struct out o = {.text = out};
	struct config c;

	config_default(&c);
	for (const struct key *k = keys; k < keys + KEYS; k++)
		help_key(&o, k, base_of(k, &c));
	return o.used;
}
