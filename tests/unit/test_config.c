/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"

#define UPSTREAM "upstream:\n  ip: 192.0.2.1\n  hostname: dns.example\n"

/* Pins of 32 octets 0x00 and of 32 octets 0xff. */
#define PIN_00 "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define PIN_FF "sha256///////////////////////////////////////////8="

static struct config c;
static char err[CONFIG_ERROR_MAX];

/* Reads settings from an exact copy, so that a sanitizer sees every octet too far. */
static int
read_settings(const char *text)
{
	size_t len = strlen(text);
	char *copy = malloc(len + 1);
	int result;

	assert_non_null(copy);
	memcpy(copy, text, len);
	copy = realloc(copy, len > 0 ? len : 1);
	result = config_read(&c, copy, len, "dnproxy.yml", err);
	free(copy);
	return result;
}

static void
assert_read(const char *text)
{
	if (read_settings(text) == -1)
		fail_msg("%s", err);
}

static void
assert_refused(const char *text, const char *words)
{
	assert_int_equal(read_settings(text), -1);
	assert_string_equal(err, words);
}

static void
assert_addr(const struct addr *a, const char *text)
{
	char shown[ADDR_TEXT_MAX];

	assert_string_equal(addr_text(shown, a), text);
}

/* ---- Environment ---------------------------------------------------------------------------- */

static const char *variables[8][2];

static char *
get(const char *name)
{
	for (size_t i = 0; i < 8 && variables[i][0] != NULL; i++) {
		if (strcmp(variables[i][0], name) == 0)
			return (char *)(uintptr_t)variables[i][1];
	}
	return NULL;
}

static int
with_environment(bool from_file, const char *a, const char *av, const char *b, const char *bv)
{
	memset(variables, 0, sizeof(variables));
	variables[0][0] = a;
	variables[0][1] = av;
	variables[1][0] = b;
	variables[1][1] = bv;
	return config_environment(&c, get, from_file, err);
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void
defaults_are_those_of_the_readme(void **state)
{
	(void)state;
	config_default(&c);
	assert_int_equal(c.listens, 1);
	assert_addr(&c.listen[0], "127.0.0.1@53");
	assert_int_equal(c.port, 53);
	assert_int_equal(c.upstreams, 1);
	assert_addr(&c.upstream[0].addr, "1.1.1.1@853");
	assert_string_equal(c.upstream[0].hostname, "cloudflare-dns.com");
	assert_int_equal(c.allows, 8);
	assert_string_equal(c.trust_anchors, "");
	assert_int_equal(c.udp_size, UDP_SIZE_DEFAULT);
	assert_int_equal(c.max_queries, QUERIES_DEFAULT);
	assert_int_equal(c.tcp_clients, TCP_CLIENTS_DEFAULT);
	assert_int_equal(c.tcp_per_address, TCP_PER_ADDRESS_DEFAULT);
	assert_int_equal(c.level, LOG_LEVEL_INFO);
	assert_false(c.log_queries);
	assert_int_equal(c.upstream_policy, 0);
	assert_int_equal(c.upstream[0].pins, 0);
	assert_false(c.upstream[0].keep_warm);
	assert_false(c.strict_clock);
	assert_int_equal(c.cache_size, CACHE_KIB_DEFAULT);
	assert_int_equal(c.cache_min_ttl, CACHE_MIN_TTL);
	assert_int_equal(c.cache_max_ttl, CACHE_MAX_TTL);
	assert_int_equal(c.cache_stale, CACHE_STALE_S);
	assert_true(c.cache_prefetch);
}

static void
loopback_private_link_local_and_unique_local_sources_are_allowed(void **state)
{
	static const struct {
		const char *addr;
		bool allowed;
	} rows[] = {{"127.0.0.1", true},   {"::1", true},	  {"10.9.8.7", true},	  {"172.16.0.1", true},
		    {"172.32.0.1", false}, {"192.168.1.1", true}, {"169.254.1.1", true},  {"fe80::1%1", true},
		    {"fd12::1", true},	   {"8.8.8.8", false},	  {"2001:db8::1", false}, {"0.0.0.0", false}};

	(void)state;
	config_default(&c);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a;
		bool allowed = false;

		assert_int_equal(addr_parse(&a, rows[i].addr), 0);
		for (size_t k = 0; k < c.allows; k++)
			allowed |= prefix_has(&c.allow[k], &a);
		if (allowed != rows[i].allowed)
			fail_msg("%s", rows[i].addr);
	}
}

static void
the_original_four_keys_work_quoted_or_not(void **state)
{
	static const char *const files[] = {
		"dnproxy:\n  host: 0.0.0.0\n  port: 5353\nupstream:\n  ip: 9.9.9.9\n  hostname: "
		"dns.quad9.net\n",
		"dnproxy:\n  host: '0.0.0.0'\n  port: '5353'\nupstream:\n  ip: '9.9.9.9'\n  hostname: "
		"'dns.quad9.net'\n",
		"upstream:\n    hostname: \"dns.quad9.net\"\n    ip: \"9.9.9.9\"\ndnproxy:\n    port: "
		"\"5353\"\n"
		"    host: \"0.0.0.0\"",
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		assert_read(files[i]);
		assert_int_equal(c.listens, 1);
		assert_addr(&c.listen[0], "0.0.0.0@5353");
		assert_int_equal(c.upstreams, 1);
		assert_addr(&c.upstream[0].addr, "9.9.9.9@853");
		assert_string_equal(c.upstream[0].hostname, "dns.quad9.net");
		assert_int_equal(c.allows, 8);
	}
}

static void
every_key_is_read(void **state)
{
	(void)state;
	assert_read("dnproxy:\n  host: [127.0.0.1, '::1', \"fe80::1%1\"]\n  port: 5300\n  allow:\n  - "
		    "192.0.2.0/24\n"
		    "  - 2001:db8::/32\n  udp_size: 4096\n  max_queries: 64\n  tcp_clients: 1\n"
		    "  tcp_per_address: 900\n  upstream_policy: fastest\nupstream:\n- ip: 192.0.2.1\n"
		    "  port: 8853\n  hostname: a.example.\n  pins: " PIN_FF "\n  keep_warm: true\n"
		    "- hostname: _b.example\n  ip: 2001:db8::1\ntls:\n  trust_anchors: /etc/ca.pem\n"
		    "  clock: strict\ncache:\n  size: 1048576\n  min_ttl: 3600\n  max_ttl: 604800\n  stale: 0\n"
		    "  prefetch: false\nlog:\n  level: debug\n  queries: true\n");
	assert_int_equal(c.listens, 3);
	assert_addr(&c.listen[1], "[::1]@5300");
	assert_addr(&c.listen[2], "[fe80::1%1]@5300");
	assert_int_equal(c.allows, 2);
	assert_int_equal(c.udp_size, 4096);
	assert_int_equal(c.max_queries, 64);
	assert_int_equal(c.tcp_clients, 1);
	assert_int_equal(c.tcp_per_address, 900);
	assert_int_equal(c.upstreams, 2);
	assert_addr(&c.upstream[0].addr, "192.0.2.1@8853");
	assert_string_equal(c.upstream[0].hostname, "a.example");
	assert_addr(&c.upstream[1].addr, "[2001:db8::1]@853");
	assert_int_equal(c.upstream_policy, 1);
	assert_int_equal(c.upstream[0].pins, 1);
	assert_int_equal(c.upstream[0].pin[0].sha256[31], 0xff);
	assert_true(c.upstream[0].keep_warm);
	assert_string_equal(c.upstream[1].hostname, "_b.example");
	assert_int_equal(c.upstream[1].pins, 0);
	assert_false(c.upstream[1].keep_warm);
	assert_true(c.strict_clock);
	assert_string_equal(c.trust_anchors, "/etc/ca.pem");
	assert_int_equal(c.cache_size, 1048576);
	assert_int_equal(c.cache_min_ttl, 3600);
	assert_int_equal(c.cache_max_ttl, 604800);
	assert_int_equal(c.cache_stale, 0);
	assert_false(c.cache_prefetch);
	assert_int_equal(c.level, LOG_LEVEL_DEBUG);
	assert_true(c.log_queries);
}

static void
colons_need_no_quotes_where_yaml_needs_none(void **state)
{
	(void)state;
	assert_read("dnproxy:\n  host: ::1\n" UPSTREAM);
	assert_addr(&c.listen[0], "[::1]@53");
	assert_read("dnproxy:\n  host:\n  - ::1\n  - 2a09::1\n  allow: [2a09::/32, '::/0']\n" UPSTREAM);
	assert_addr(&c.listen[1], "[2a09::1]@53");
	assert_read("dnproxy:\n  host: '::'\n" UPSTREAM);
	assert_addr(&c.listen[0], "[::]@53");
	assert_refused("dnproxy:\n  host: ::\n" UPSTREAM,
		       "dnproxy.yml:2:10: a colon ends a key here; put quotes around a value that holds one");
	assert_int_equal(read_settings("dnproxy:\n  host: 2a09::\n" UPSTREAM), -1);
	assert_non_null(strstr(err, "put quotes around"));
	assert_refused("dnproxy:\n  host:\n  - ::1\n  - 2a09::\n" UPSTREAM,
		       "dnproxy.yml:4:5: dnproxy.host: expected one value or a list of them here; put quotes "
		       "around a value that ends in :");
	assert_refused("upstream:\n  hostname: a\n  ip:\n    2a09::\n",
		       "dnproxy.yml:4:5: upstream.ip: expected one value here; put quotes around a value that "
		       "ends in :");
	assert_int_equal(read_settings("dnproxy:\n  host: [::1]\n" UPSTREAM), -1);
	assert_non_null(strstr(err, "put quotes around"));
}

static void
a_section_without_keys_keeps_its_defaults(void **state)
{
	(void)state;
	assert_read("log:\n  # level: debug\ndnproxy:\n" UPSTREAM);
	assert_int_equal(c.level, LOG_LEVEL_INFO);
	assert_addr(&c.listen[0], "127.0.0.1@53");
}

static void
errors_say_place_key_value_and_what_is_expected(void **state)
{
	static const char *const rows[][2] = {
		{UPSTREAM "  port: 70000\n", "dnproxy.yml:4:9: upstream.port: 70000 is outside 1..65535"},
		{UPSTREAM "  port: 0\n", "dnproxy.yml:4:9: upstream.port: 0 is outside 1..65535"},
		{UPSTREAM "  port: 99999999999999999999999\n",
		 "dnproxy.yml:4:9: upstream.port: 99999999999999999999999 is outside 1..65535"},
		{UPSTREAM "  port: 4294967349\n",
		 "dnproxy.yml:4:9: upstream.port: 4294967349 is outside 1..65535"},
		{UPSTREAM "cache:\n  max_ttl: 60\n  min_ttl: 61\n",
		 "dnproxy.yml:6:12: cache.min_ttl: 61 is more than cache.max_ttl, 60"},
		{UPSTREAM "  port: 0x35\n",
		 "dnproxy.yml:4:9: upstream.port: \"0x35\" is not a whole number without leading zeros"},
		{UPSTREAM "  port: 053\n",
		 "dnproxy.yml:4:9: upstream.port: \"053\" is not a whole number without leading zeros"},
		{UPSTREAM "  port: [853]\n",
		 "dnproxy.yml:4:9: upstream.port: expected one value here; leave the key out for its default"},
		{UPSTREAM "  port:\n",
		 "dnproxy.yml:4:3: upstream.port: expected one value here; leave the key out for its default"},
		{UPSTREAM "  port:\n    a: b\n", "dnproxy.yml:5:5: upstream.port: expected one value here; put "
						 "quotes around a value that ends in :"},
		{"dnproxy:\n  udp_size: 511\n" UPSTREAM,
		 "dnproxy.yml:2:13: dnproxy.udp_size: 511 is outside 512..4096"},
		{"dnproxy:\n  host: localhost\n" UPSTREAM,
		 "dnproxy.yml:2:9: dnproxy.host: \"localhost\" is not an IP address (names and ports have no "
		 "place here)"},
		{"dnproxy:\n  host: [127.0.0.1, 127.0.0.1]\n" UPSTREAM,
		 "dnproxy.yml:2:21: dnproxy.host: \"127.0.0.1\" is listed twice"},
		{"dnproxy:\n  host: []\n" UPSTREAM, "dnproxy.yml:2:9: dnproxy.host: expected one value or a "
						    "list of them here; leave the key out for its default"},
		{"dnproxy:\n  host:\n  - a: b\n" UPSTREAM,
		 "dnproxy.yml:3:5: dnproxy.host: expected one value or a list of them here; put quotes around "
		 "a value that ends in :"},
		{"dnproxy:\n  host: fe80::1\n" UPSTREAM,
		 "dnproxy.yml:2:9: dnproxy.host: \"fe80::1\" is link-local "
		 "and needs its interface, as in fe80::1%eth0"},
		{"dnproxy:\n  allow:\n  - 10.0.0.1/8\n" UPSTREAM,
		 "dnproxy.yml:3:5: dnproxy.allow: \"10.0.0.1/8\" is not a prefix such as 10.0.0.0/8 "
		 "(bits behind its length are 0)"},
		{"dnproxy:\n  allow: [::/0]\n" UPSTREAM,
		 "dnproxy.yml:2:11: values that begin with this colon are not supported; put quotes around it "
		 "or write it otherwise"},
		{"dnproxy: 53\n" UPSTREAM, "dnproxy.yml:1:10: dnproxy: expected keys below it, such as host:"},
		{"dnproxy:\n- host: ::1\n" UPSTREAM,
		 "dnproxy.yml:2:1: dnproxy: expected keys below it, such as host:"},
		{"- a\n", "dnproxy.yml:1:1: expected keys such as upstream: here"},
		{UPSTREAM "log:\n  level: loud\n",
		 "dnproxy.yml:5:10: log.level: \"loud\" is none of error|warn|info|debug"},
		{UPSTREAM "log:\n  queries: yes\n",
		 "dnproxy.yml:5:12: log.queries: \"yes\" is none of false|true"},
		{"upstream:\n  ip: 0.0.0.0\n  hostname: a\n",
		 "dnproxy.yml:2:7: upstream.ip: \"0.0.0.0\" is not the address of a server"},
		{"upstream: 1.1.1.1\n", "dnproxy.yml:1:11: upstream: expected keys below it, such as ip:"},
		{"upstream:\n- 1.1.1.1\n", "dnproxy.yml:2:3: upstream: expected keys such as ip: here"},
		{UPSTREAM "  keep_warm: yes\n",
		 "dnproxy.yml:4:14: upstream.keep_warm: \"yes\" is none of false|true"},
		{UPSTREAM "  pins:\n",
		 "dnproxy.yml:4:3: upstream.pins: expected one value or a list of them here; "
		 "leave the key out for its default"},
		{UPSTREAM "  pins:\n    sha256: a\n",
		 "dnproxy.yml:5:5: upstream.pins: expected one value or a list of them here; put quotes around "
		 "a value that ends in :"},
		{UPSTREAM "  pins:\n  - " PIN_00 "\n  - '" PIN_00 "'\n",
		 "dnproxy.yml:6:5: upstream.pins: \"" PIN_00 "\" is listed twice"},
		{UPSTREAM "tls:\n  clock: lax\n",
		 "dnproxy.yml:5:10: tls.clock: \"lax\" is none of auto|strict"},
		{UPSTREAM "cache:\n  size: 1048577\n",
		 "dnproxy.yml:5:9: cache.size: 1048577 is outside 0..1048576"},
		{UPSTREAM "cache:\n  stale: 604801\n",
		 "dnproxy.yml:5:10: cache.stale: 604801 is outside 0..604800"},
		{UPSTREAM "cache:\n  max_ttl: 0\n", "dnproxy.yml:5:12: cache.max_ttl: 0 is outside 1..604800"},
		{"dnproxy:\n  upstream_policy: random\n" UPSTREAM,
		 "dnproxy.yml:2:20: dnproxy.upstream_policy: \"random\" is none of order|fastest"},
		{"a:\n\tb: c\n", "dnproxy.yml:2:1: tabs outside quotes (indent with spaces) are not supported; "
				 "put quotes around it or write it otherwise"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_refused(rows[i][0], rows[i][1]);
}

static void
a_file_must_name_the_address_of_an_upstream(void **state)
{
	static const char none[] = "dnproxy.yml:1:1: upstream: a file must give it, with ip: below";

	(void)state;
	assert_refused("", none);
	assert_refused("# empty\n", none);
	assert_refused("dnproxy:\n  port: 53\n", none);
	assert_refused("upstream:\n", none);
	assert_refused("upstream: []\n", none);
	assert_refused("upstream:\n  hostname: a.example\n",
		       "dnproxy.yml:2:3: upstream.ip: a file must give it");
	assert_refused("upstream:\n- ip: 192.0.2.1\n- hostname: a\n",
		       "dnproxy.yml:3:3: upstream.ip: a file must give it");
	assert_refused("upstream:\n  hostname: a\n  ip:\n",
		       "dnproxy.yml:3:3: upstream.ip: expected one value here; a file must give it");
	assert_refused("upstream:\n  ip: ''\n",
		       "dnproxy.yml:2:7: upstream.ip: \"\" is not an IP address (names "
		       "and ports have no place here)");
}

/* The built-in hostname belongs to the built-in address, and never stands in for one left out. */
static void
a_hostname_may_be_left_out_or_empty(void **state)
{
	(void)state;
	assert_read("upstream:\n  ip: 192.0.2.1\n");
	assert_string_equal(c.upstream[0].hostname, "");
	assert_read("upstream:\n  ip: 192.0.2.1\n  hostname: ''\n");
	assert_string_equal(c.upstream[0].hostname, "");
	assert_read("upstream:\n- ip: 192.0.2.1\n  hostname: a\n- ip: 192.0.2.2\n");
	assert_string_equal(c.upstream[0].hostname, "a");
	assert_string_equal(c.upstream[1].hostname, "");
	assert_refused("upstream:\n  ip: 192.0.2.1\n  hostname:\n",
		       "dnproxy.yml:3:3: upstream.hostname: expected one value here; leave the key out for its "
		       "default");
}

static void
pins_are_one_or_a_list_that_may_be_empty(void **state)
{
	(void)state;
	assert_read(UPSTREAM "  pins: " PIN_FF "\n");
	assert_int_equal(c.upstream[0].pins, 1);
	assert_int_equal(c.upstream[0].pin[0].sha256[0], 0xff);
	assert_read(UPSTREAM "  pins: [" PIN_00 ", '" PIN_FF "']\n");
	assert_int_equal(c.upstream[0].pins, 2);
	assert_int_equal(c.upstream[0].pin[0].sha256[0], 0);
	assert_int_equal(c.upstream[0].pin[1].sha256[31], 0xff);
	assert_read(UPSTREAM "  pins:\n  - " PIN_FF "\n");
	assert_int_equal(c.upstream[0].pins, 1);
	assert_read(UPSTREAM "  pins: []\n");
	assert_int_equal(c.upstream[0].pins, 0);
	assert_read("upstream:\n- ip: ::1\n  pins: " PIN_FF "\n- ip: ::2\n");
	assert_int_equal(c.upstream[0].pins, 1);
	assert_int_equal(c.upstream[1].pins, 0);
}

static void
what_is_no_pin_is_refused_with_what_is_expected(void **state)
{
	static const char *const bad[] = {
		"",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SHA256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",
		"sha256/0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000000",
	};
	char file[256], expected[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(file, sizeof(file), UPSTREAM "  pins:\n  - " PIN_FF "\n  - '%s'\n", bad[i]);
		snprintf(expected, sizeof(expected),
			 "dnproxy.yml:6:5: upstream.pins: \"%s\" is not a pin such as sha256/... (43 digits of "
			 "base64 "
			 "and =; dnproxy probe prints them)",
			 bad[i]);
		assert_refused(file, expected);
	}
}

static void
an_unknown_key_is_refused_with_the_nearest_known_one(void **state)
{
	static const char *const rows[][2] = {
		{"dnproxy:\n  prot: 53\n",
		 "2:3: dnproxy.prot: unknown key; the nearest known one is dnproxy.port"},
		{"dnproxy:\n  hosts: ::1\n",
		 "2:3: dnproxy.hosts: unknown key; the nearest known one is dnproxy.host"},
		{"dnproxy:\n  ip: ::1\n", "2:3: dnproxy.ip: unknown key; the nearest known one is upstream.ip"},
		{"port: 53\n", "1:1: port: unknown key; the nearest known one is dnproxy.port"},
		{"upstreams:\n", "1:1: upstreams: unknown key; the nearest known one is upstream"},
		{"DNPROXY:\n", "1:1: DNPROXY: unknown key; the nearest known one is "},
		{"upstream:\n- ip: ::1\n  host_name: x\n",
		 "3:3: upstream.host_name: unknown key; the nearest known one is upstream.hostname"},
		{"log:\n  query: true\n", "2:3: log.query: unknown key; the nearest known one is log.queries"},
		{"tls:\n  level:\n    level: x\n",
		 "2:3: tls.level: unknown key; the nearest known one is log.level"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char expected[CONFIG_ERROR_MAX];

		snprintf(expected, sizeof(expected), "dnproxy.yml:%s", rows[i][1]);
		assert_int_equal(read_settings(rows[i][0]), -1);
		err[strlen(expected)] = '\0';
		assert_string_equal(err, expected);
	}
}

static void
a_doubled_key_is_refused_and_the_first_one_named(void **state)
{
	(void)state;
	assert_refused(UPSTREAM "  ip: 192.0.2.2\n",
		       "dnproxy.yml:4:3: upstream.ip: given twice; the first one is on line 2");
	assert_refused(UPSTREAM UPSTREAM, "dnproxy.yml:4:1: upstream: given twice; the first one is on line 1");
}

static void
a_hostname_is_letters_digits_hyphens_and_underscores(void **state)
{
	static const char *const bad[] = {
		"'.'",	    "a..b",
		".a",	    "a b",
		"'a*'",	    "a.b..",
		"a/b",	    "a:b",
		"grüße.de", "'1.1.1.1'",
		"'::1'",    "1.1.1.1.",
		"'[::1]'",  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example"};
	static const char *const good[] = {
		"a", "A-b_c.9", "1dot1dot1dot1.cloudflare-dns.com", "xn--grsse-kva.de.",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example"};
	char file[512];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(file, sizeof(file), "upstream:\n  ip: ::1\n  hostname: %s\n", bad[i]);
		if (read_settings(file) == 0)
			fail_msg("%s is taken", bad[i]);
		if (strstr(err, "upstream.hostname: ") == NULL)
			fail_msg("%s", err);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(file, sizeof(file), "upstream:\n  ip: ::1\n  hostname: %s\n", good[i]);
		assert_read(file);
	}
	assert_refused("upstream:\n  ip: ::1\n  hostname: 1.1.1.1\n",
		       "dnproxy.yml:3:13: upstream.hostname: \"1.1.1.1\" is an address: without a hostname the "
		       "certificate must name it");
}

/* A name of n characters in labels of up to 63. */
static const char *
long_name(size_t n)
{
	static char file[512];
	int used = snprintf(file, sizeof(file), "upstream:\n  ip: ::1\n  hostname: ");

	for (size_t i = 0; i < n; i++)
		file[used++] = i % 64 == 63 ? '.' : 'a';
	file[used] = '\0';
	return file;
}

static void
a_hostname_has_at_most_253_characters(void **state)
{
	(void)state;
	assert_read(long_name(253));
	assert_int_equal(strlen(c.upstream[0].hostname), 253);
	assert_int_equal(read_settings(long_name(254)), -1);
	assert_int_equal(strncmp(err, "dnproxy.yml:3:13: upstream.hostname: \"aaa", 40), 0);
	assert_non_null(strstr(err, "up to 253 of"));
}

static void
lists_have_bounds(void **state)
{
	char file[4096];
	int used = snprintf(file, sizeof(file), "dnproxy:\n  host:\n");

	(void)state;
	for (unsigned i = 1; i <= LISTEN_MAX + 1; i++)
		used += snprintf(file + used, sizeof(file) - (size_t)used, "  - 127.0.0.%u\n", i);
	snprintf(file + used, sizeof(file) - (size_t)used, UPSTREAM);
	assert_refused(file, "dnproxy.yml:19:5: dnproxy.host: takes at most 16 entries");

	used = snprintf(file, sizeof(file), "upstream:\n");
	for (unsigned i = 1; i <= UPSTREAMS_MAX + 1; i++)
		used += snprintf(file + used, sizeof(file) - (size_t)used, "- ip: 127.0.0.%u\n  hostname: a\n",
				 i);
	assert_refused(file, "dnproxy.yml:18:3: upstream: takes at most 8 entries");

	used = snprintf(file, sizeof(file), UPSTREAM "  pins:\n");
	for (unsigned i = 0; i <= PINS_MAX; i++)
		used += snprintf(file + used, sizeof(file) - (size_t)used,
				 "  - sha256/%cAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", (char)('A' + i));
	assert_refused(file, "dnproxy.yml:13:5: upstream.pins: takes at most 8 entries");
}

static void
the_words_of_log_level_are_those_of_the_log(void **state)
{
	char file[256];
	unsigned i = 0;

	(void)state;
	for (; log_words[i] != NULL; i++) {
		snprintf(file, sizeof(file), UPSTREAM "log:\n  level: %s\n", log_words[i]);
		assert_read(file);
		assert_int_equal(c.level, i);
		assert_int_equal(log_words[i + 1] == NULL, i == LOG_LEVEL_DEBUG);
	}
}

static void
a_word_is_taken_whole_or_not_at_all(void **state)
{
	static const char *const bad[] = {"''", "'|'", "'error|warn'", "err", "errors", "debug|", "Info"};
	char file[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(file, sizeof(file), UPSTREAM "log:\n  level: %s\n", bad[i]);
		if (read_settings(file) == 0)
			fail_msg("%s is taken", bad[i]);
		assert_non_null(strstr(err, "dnproxy.yml:5:10: log.level: "));
	}
}

static void
a_path_with_control_characters_is_refused(void **state)
{
	(void)state;
	assert_refused(UPSTREAM "tls:\n  trust_anchors: \"/a\\tb\"\n",
		       "dnproxy.yml:5:18: tls.trust_anchors: a path has at most 255 octets, none of them a "
		       "control character");
}

static void
a_path_has_a_bound(void **state)
{
	char file[1024] = UPSTREAM "tls:\n  trust_anchors: /";
	size_t begin = strlen(file);

	(void)state;
	memset(file + begin, 'x', CONFIG_PATH_MAX - 2);
	assert_read(file);
	assert_int_equal(strlen(c.trust_anchors), CONFIG_PATH_MAX - 1);
	file[begin + CONFIG_PATH_MAX - 2] = 'x';
	assert_refused(file, "dnproxy.yml:5:18: tls.trust_anchors: a path has at most 255 octets, none of them "
			     "a control character");
}

static void
an_upstream_that_is_dnproxy_itself_is_refused(void **state)
{
	static const struct {
		const char *host, *ip;
		bool refused;
	} rows[] = {
		{"127.0.0.1", "127.0.0.1", true},
		{"127.0.0.1", "127.0.0.2", false},
		{"0.0.0.0", "127.0.0.2", true},
		{"0.0.0.0", "'::1'", false},
		{"'::'", "'::1'", true},
		{"'::'", "2001:db8::1", false},
		{"2001:db8::1", "2001:db8::1", true},
	};
	char file[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(file, sizeof(file),
			 "dnproxy:\n  port: 853\n  host: %s\nupstream:\n  ip: %s\n  hostname: a\n",
			 rows[i].host, rows[i].ip);
		if (rows[i].refused != (read_settings(file) == -1))
			fail_msg("%s %s", rows[i].host, rows[i].ip);
	}
	assert_refused("dnproxy:\n  port: 8853\nupstream:\n- ip: ::1\n  hostname: a\n- ip: 127.0.0.1\n"
		       "  hostname: a\n  port: 8853\n",
		       "dnproxy.yml:6:3: upstream: 127.0.0.1@8853 is where dnproxy itself listens");
}

static void
the_environment_overrides_file_and_defaults(void **state)
{
	(void)state;
	config_default(&c);
	assert_int_equal(
		with_environment(false, "DNPROXY_HOST", "0.0.0.0, :: ,192.0.2.1", "DNPROXY_PORT", "5353"), 0);
	assert_int_equal(c.listens, 3);
	assert_addr(&c.listen[0], "0.0.0.0@5353");
	assert_addr(&c.listen[1], "[::]@5353");
	assert_addr(&c.listen[2], "192.0.2.1@5353");
	assert_read("log:\n  level: error\n" UPSTREAM);
	assert_int_equal(with_environment(true, "DNPROXY_LOG_LEVEL", "debug", NULL, NULL), 0);
	assert_int_equal(c.level, LOG_LEVEL_DEBUG);
}

static void
an_empty_variable_counts_as_not_set(void **state)
{
	(void)state;
	config_default(&c);
	assert_int_equal(with_environment(false, "DNPROXY_PORT", "", "DNPROXY_UPSTREAM_IP", ""), 0);
	assert_addr(&c.listen[0], "127.0.0.1@53");
	assert_addr(&c.upstream[0].addr, "1.1.1.1@853");
}

static void
errors_name_the_variable(void **state)
{
	static const char *const rows[][3] = {
		{"DNPROXY_PORT", "70000", "DNPROXY_PORT: 70000 is outside 1..65535"},
		{"DNPROXY_PORT", "5\n3\x1b",
		 "DNPROXY_PORT: \"5?3?\" is not a whole number without leading zeros"},
		{"DNPROXY_HOST", ", ,", "DNPROXY_HOST: names nothing"},
		{"DNPROXY_HOST", "::1,::1", "DNPROXY_HOST: \"::1\" is listed twice"},
		{"DNPROXY_LOG_LEVEL", "x", "DNPROXY_LOG_LEVEL: \"x\" is none of error|warn|info|debug"},
		{"DNPROXY_UPSTREAM_IP", "x",
		 "DNPROXY_UPSTREAM_IP: \"x\" is not an IP address (names and ports have no place here)"},
		{"DNPROXY_UPSTREAM_IP", "192.0.2.1@",
		 "DNPROXY_UPSTREAM_IP: \"\" is not a whole number without leading zeros"},
		{"DNPROXY_UPSTREAM_IP", "::1@70000", "DNPROXY_UPSTREAM_IP: 70000 is outside 1..65535"},
		{"DNPROXY_UPSTREAM_IP", "127.0.0.1@53",
		 "DNPROXY_UPSTREAM_IP: 127.0.0.1@53 is where dnproxy itself listens"},
		{"DNPROXY_UPSTREAM_HOSTNAME", "1.1.1.1",
		 "DNPROXY_UPSTREAM_HOSTNAME: \"1.1.1.1\" is an address: without a hostname the "
		 "certificate must name it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_read(UPSTREAM);
		assert_int_equal(with_environment(true, rows[i][0], rows[i][1], NULL, NULL), -1);
		assert_string_equal(err, rows[i][2]);
	}
}

static void
an_address_without_a_file_needs_its_hostname(void **state)
{
	(void)state;
	config_default(&c);
	assert_int_equal(with_environment(false, "DNPROXY_UPSTREAM_IP", "9.9.9.9", NULL, NULL), -1);
	assert_string_equal(err, "DNPROXY_UPSTREAM_HOSTNAME: is needed as well: address and hostname together "
				 "replace all upstreams");
	config_default(&c);
	assert_int_equal(with_environment(false, "DNPROXY_UPSTREAM_IP", "2001:db8::1@8853",
					  "DNPROXY_UPSTREAM_HOSTNAME", "dns.example."),
			 0);
	assert_addr(&c.upstream[0].addr, "[2001:db8::1]@8853");
	assert_string_equal(c.upstream[0].hostname, "dns.example");
}

static void
one_upstream_is_overridden_part_by_part(void **state)
{
	(void)state;
	assert_read(UPSTREAM "  port: 8853\n");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.9", NULL, NULL), 0);
	assert_addr(&c.upstream[0].addr, "192.0.2.9@8853");
	assert_string_equal(c.upstream[0].hostname, "dns.example");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_HOSTNAME", "b.example", NULL, NULL), 0);
	assert_addr(&c.upstream[0].addr, "192.0.2.9@8853");
	assert_string_equal(c.upstream[0].hostname, "b.example");
}

static void
one_upstream_without_a_hostname_may_move_alone(void **state)
{
	(void)state;
	assert_read("upstream:\n  ip: 192.0.2.1\n");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.9", NULL, NULL), 0);
	assert_addr(&c.upstream[0].addr, "192.0.2.9@853");
	assert_string_equal(c.upstream[0].hostname, "");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_HOSTNAME", "b.example", NULL, NULL), 0);
	assert_string_equal(c.upstream[0].hostname, "b.example");
}

/* Another server must show one of them too: no query leaves when it does not. */
static void
pins_stay_when_the_environment_changes_the_one_upstream(void **state)
{
	(void)state;
	assert_read(UPSTREAM "  pins: " PIN_FF "\n  keep_warm: true\n");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.9", NULL, NULL), 0);
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_HOSTNAME", "b.example", NULL, NULL), 0);
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.8", "DNPROXY_UPSTREAM_HOSTNAME",
					  "c.example"),
			 0);
	assert_addr(&c.upstream[0].addr, "192.0.2.8@853");
	assert_int_equal(c.upstream[0].pins, 1);
	assert_int_equal(c.upstream[0].pin[0].sha256[0], 0xff);
	assert_true(c.upstream[0].keep_warm);
}

static void
several_upstreams_are_replaced_by_both_variables_only(void **state)
{
	static const char file[] = "upstream:\n- ip: ::1\n  hostname: a\n  port: 1\n  pins: " PIN_FF
				   "\n  keep_warm: true\n- ip: ::2\n  hostname: b\n";

	(void)state;
	assert_read(file);
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.9", NULL, NULL), -1);
	assert_string_equal(err, "DNPROXY_UPSTREAM_HOSTNAME: is needed as well: address and hostname together "
				 "replace all upstreams");
	assert_int_equal(with_environment(true, "DNPROXY_UPSTREAM_HOSTNAME", "c", NULL, NULL), -1);
	assert_non_null(strstr(err, "DNPROXY_UPSTREAM_IP: is needed"));
	assert_int_equal(
		with_environment(true, "DNPROXY_UPSTREAM_IP", "192.0.2.9", "DNPROXY_UPSTREAM_HOSTNAME", "c"),
		0);
	assert_int_equal(c.upstreams, 1);
	assert_addr(&c.upstream[0].addr, "192.0.2.9@853");
	assert_string_equal(c.upstream[0].hostname, "c");
	assert_int_equal(c.upstream[0].pins, 0);
	assert_false(c.upstream[0].keep_warm);
}

static void
assert_reads_back(void)
{
	char first[CONFIG_TEXT_MAX], second[CONFIG_TEXT_MAX];
	size_t len = config_print(&c, first);

	assert_int_equal(len, strlen(first));
	assert_true(len < CONFIG_TEXT_MAX - 1);
	assert_read(first);
	config_print(&c, second);
	assert_string_equal(first, second);
}

static void
what_is_printed_reads_back_the_same(void **state)
{
	(void)state;
	config_default(&c);
	assert_reads_back();
	assert_addr(&c.listen[0], "127.0.0.1@53");
	assert_string_equal(c.upstream[0].hostname, "cloudflare-dns.com");
	assert_read(
		"dnproxy:\n  host: ['::', 0.0.0.0]\n  allow: 192.0.2.1\ntls:\n  trust_anchors: 'a \\ \" b#: '\n"
		"upstream:\n- ip: ::1\n  hostname: a\n- ip: ::2\n  port: 1\n  hostname: b\n");
	assert_reads_back();
	assert_string_equal(c.trust_anchors, "a \\ \" b#: ");
	assert_int_equal(c.allows, 1);
	assert_int_equal(c.upstreams, 2);
	assert_int_equal(c.upstream[1].addr.port, 1);
	assert_read("dnproxy:\n  upstream_policy: fastest\ntls:\n  clock: strict\nupstream:\n- ip: ::1\n"
		    "  pins: " PIN_FF "\n- ip: ::2\n  keep_warm: true\n  pins: [" PIN_FF ", " PIN_00 "]\n");
	assert_reads_back();
	assert_int_equal(c.upstream_policy, 1);
	assert_true(c.strict_clock);
	assert_string_equal(c.upstream[0].hostname, "");
	assert_int_equal(c.upstream[0].pins, 1);
	assert_false(c.upstream[0].keep_warm);
	assert_int_equal(c.upstream[1].pins, 2);
	assert_int_equal(c.upstream[1].pin[0].sha256[0], 0xff);
	assert_int_equal(c.upstream[1].pin[1].sha256[0], 0);
	assert_true(c.upstream[1].keep_warm);
}

static void
what_is_empty_is_printed_as_it_is_read(void **state)
{
	char text[CONFIG_TEXT_MAX];

	(void)state;
	assert_read("upstream:\n  ip: ::1\n");
	config_print(&c, text);
	assert_non_null(strstr(text, "\n    hostname: \"\"\n    pins: []\n    keep_warm: false\n"));
	assert_reads_back();
	assert_read("upstream:\n  ip: ::1\n  pins: [" PIN_FF ", " PIN_00 "]\n");
	config_print(&c, text);
	assert_non_null(strstr(text, "\n    pins:\n      - \"" PIN_FF "\"\n      - \"" PIN_00 "\"\n"));
}

static void
the_longest_settings_fit_when_printed(void **state)
{
	struct addr wide;

	(void)state;
	config_default(&c);
	assert_int_equal(addr_parse(&wide, "fe80:1111:2222:3333:4444:5555:6666:7777%4294967295"), 0);
	for (c.listens = 0; c.listens < LISTEN_MAX; c.listens++) {
		c.listen[c.listens] = wide;
		c.listen[c.listens].ip[15] = (uint8_t)c.listens;
	}
	for (c.allows = 0; c.allows < ALLOW_MAX; c.allows++) {
		c.allow[c.allows] = (struct prefix){.family = ADDR_V6, .bits = 128};
		memcpy(c.allow[c.allows].ip, wide.ip, 16);
		c.allow[c.allows].ip[15] = (uint8_t)c.allows;
	}
	for (c.upstreams = 0; c.upstreams < UPSTREAMS_MAX; c.upstreams++) {
		c.upstream[c.upstreams].addr = wide;
		c.upstream[c.upstreams].addr.port = 65535;
		memset(c.upstream[c.upstreams].hostname, 'a', HOSTNAME_MAX);
		for (size_t i = 63; i < HOSTNAME_MAX; i += 64)
			c.upstream[c.upstreams].hostname[i] = '.';
		c.upstream[c.upstreams].pins = PINS_MAX;
		for (uint8_t i = 0; i < PINS_MAX; i++)
			c.upstream[c.upstreams].pin[i].sha256[0] = i;
	}
	memset(c.trust_anchors, '"', CONFIG_PATH_MAX - 1);
	assert_reads_back();
}

static void
help_names_every_key_that_is_printed(void **state)
{
	static const char *const names[] = {"dnproxy.host",
					    "dnproxy.port",
					    "dnproxy.allow",
					    "dnproxy.udp_size",
					    "dnproxy.max_queries",
					    "dnproxy.tcp_clients",
					    "dnproxy.tcp_per_address",
					    "upstream.ip",
					    "upstream.port",
					    "upstream.hostname",
					    "tls.trust_anchors",
					    "log.level",
					    "log.queries",
					    "dnproxy.upstream_policy",
					    "upstream.pins",
					    "upstream.keep_warm",
					    "tls.clock",
					    "cache.size",
					    "cache.min_ttl",
					    "cache.max_ttl",
					    "cache.stale",
					    "cache.prefetch"};
	char help[CONFIG_TEXT_MAX], text[CONFIG_TEXT_MAX], line[64];
	size_t len;

	(void)state;
	len = config_help(help);
	assert_int_equal(len, strlen(help));
	config_default(&c);
	config_print(&c, text);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(line, sizeof(line), "  %s\n", names[i]);
		assert_non_null(strstr(help, line));
		snprintf(line, sizeof(line), " %s:", strchr(names[i], '.') + 1);
		assert_non_null(strstr(text, line));
	}
	assert_non_null(strstr(help, "default 53; 1..65535; $DNPROXY_PORT\n"));
	assert_non_null(strstr(help, "default info; error|warn|info|debug; $DNPROXY_LOG_LEVEL\n"));
	assert_non_null(strstr(help, "default 1.1.1.1; $DNPROXY_UPSTREAM_IP; a file must give it\n"));
	assert_non_null(strstr(help, "default cloudflare-dns.com; $DNPROXY_UPSTREAM_HOSTNAME\n"));
	assert_non_null(strstr(help, "default []; one or a list of up to 8\n"));
	assert_non_null(strstr(help, "default 127.0.0.1; one or a list of up to 16; $DNPROXY_HOST\n"));
	assert_non_null(strstr(help, "default order; order|fastest\n"));
}

static void
the_example_file_says_the_defaults(void **state)
{
	static char file[CONFIG_FILE_MAX];
	char defaults[CONFIG_TEXT_MAX], example[CONFIG_TEXT_MAX];
	FILE *f = fopen("dnproxy.yml", "r");
	size_t len;

	(void)state;
	if (f == NULL)
		fail_msg("dnproxy.yml is not there; tests run in the top directory");
	len = fread(file, 1, sizeof(file), f);
	fclose(f);
	if (config_read(&c, file, len, "dnproxy.yml", err) == -1)
		fail_msg("%s", err);
	config_print(&c, example);
	config_default(&c);
	config_print(&c, defaults);
	assert_string_equal(example, defaults);
	for (char *key = strtok(defaults, "\n"); key != NULL; key = strtok(NULL, "\n")) {
		key += strspn(key, " -");
		key[strcspn(key, ":") + (strchr(key, ':') != NULL)] = '\0';
		if (key[0] != '"' && strstr(file, key) == NULL)
			fail_msg("%s is missing", key);
	}
}

static void
chosen(const char *text, const char *addr, const char *hostname, size_t pins)
{
	assert_read("upstream:\n"
		    "  - ip: 192.0.2.1\n    hostname: a.test\n"
		    "  - ip: 192.0.2.1\n    hostname: again.test\n"
		    "  - ip: 2001:db8::1\n    port: 8853\n    hostname: b.test\n"
		    "    pins: sha256/B1bMBM/jQ2DP7Pmv9WZmcdemoRZn7cqON28iWk8QqLA=\n");
	if (config_choose(&c, text, err) == -1)
		fail_msg("%s", err);
	assert_int_equal(c.upstreams, 1);
	assert_addr(&c.upstream[0].addr, addr);
	assert_string_equal(c.upstream[0].hostname, hostname);
	assert_int_equal(c.upstream[0].pins, pins);
}

static void
one_upstream_is_chosen_with_what_the_settings_know_of_it(void **state)
{
	(void)state;
	chosen("192.0.2.1", "192.0.2.1@853", "a.test", 0);
	chosen("192.0.2.1#c.test", "192.0.2.1@853", "c.test", 0);
	chosen("192.0.2.1@8853", "192.0.2.1@8853", "", 0);
	chosen("[2001:db8::1]@8853", "[2001:db8::1]@8853", "b.test", 1);
	chosen("2001:db8::1@8853#c.test.", "[2001:db8::1]@8853", "c.test", 1);
	chosen("2001:db8::1", "[2001:db8::1]@853", "", 0);
	chosen("1.1.1.1", "1.1.1.1@853", "", 0);
}

static void
what_cannot_be_chosen_is_said(void **state)
{
	static const char *const bad[] = {"",
					  "a.test",
					  "192.0.2.1@",
					  "192.0.2.1@0",
					  "192.0.2.1#a b",
					  "0.0.0.0@853",
					  "[2001:db8::1",
					  "192.0.2.1@1@2"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config_default(&c);
		assert_int_equal(config_choose(&c, bad[i], err), -1);
		assert_memory_equal(err, "probe: ", 7);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_the_readme),
		cmocka_unit_test(loopback_private_link_local_and_unique_local_sources_are_allowed),
		cmocka_unit_test(the_original_four_keys_work_quoted_or_not),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(colons_need_no_quotes_where_yaml_needs_none),
		cmocka_unit_test(a_section_without_keys_keeps_its_defaults),
		cmocka_unit_test(errors_say_place_key_value_and_what_is_expected),
		cmocka_unit_test(a_file_must_name_the_address_of_an_upstream),
		cmocka_unit_test(a_hostname_may_be_left_out_or_empty),
		cmocka_unit_test(pins_are_one_or_a_list_that_may_be_empty),
		cmocka_unit_test(what_is_no_pin_is_refused_with_what_is_expected),
		cmocka_unit_test(an_unknown_key_is_refused_with_the_nearest_known_one),
		cmocka_unit_test(a_doubled_key_is_refused_and_the_first_one_named),
		cmocka_unit_test(a_hostname_is_letters_digits_hyphens_and_underscores),
		cmocka_unit_test(a_hostname_has_at_most_253_characters),
		cmocka_unit_test(lists_have_bounds),
		cmocka_unit_test(the_words_of_log_level_are_those_of_the_log),
		cmocka_unit_test(a_word_is_taken_whole_or_not_at_all),
		cmocka_unit_test(a_path_with_control_characters_is_refused),
		cmocka_unit_test(a_path_has_a_bound),
		cmocka_unit_test(an_upstream_that_is_dnproxy_itself_is_refused),
		cmocka_unit_test(the_environment_overrides_file_and_defaults),
		cmocka_unit_test(an_empty_variable_counts_as_not_set),
		cmocka_unit_test(errors_name_the_variable),
		cmocka_unit_test(an_address_without_a_file_needs_its_hostname),
		cmocka_unit_test(one_upstream_is_overridden_part_by_part),
		cmocka_unit_test(one_upstream_without_a_hostname_may_move_alone),
		cmocka_unit_test(pins_stay_when_the_environment_changes_the_one_upstream),
		cmocka_unit_test(several_upstreams_are_replaced_by_both_variables_only),
		cmocka_unit_test(one_upstream_is_chosen_with_what_the_settings_know_of_it),
		cmocka_unit_test(what_cannot_be_chosen_is_said),
		cmocka_unit_test(what_is_printed_reads_back_the_same),
		cmocka_unit_test(what_is_empty_is_printed_as_it_is_read),
		cmocka_unit_test(the_longest_settings_fit_when_printed),
		cmocka_unit_test(help_names_every_key_that_is_printed),
		cmocka_unit_test(the_example_file_says_the_defaults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
