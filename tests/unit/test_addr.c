/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"

static struct addr
address(const char *text, uint16_t port)
{
	struct addr a;

	if (addr_parse(&a, text) == -1)
		fail_msg("%s is refused", text);
	assert_int_equal(a.port, 0);
	a.port = port;
	return a;
}

static struct prefix
prefix(const char *text)
{
	struct prefix p;

	if (prefix_parse(&p, text) == -1)
		fail_msg("%s is refused", text);
	return p;
}

static void
addresses_read_and_print(void **state)
{
	static const struct {
		const char *in, *out;
		uint16_t port;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1", 0},
		{"192.0.2.1", "192.0.2.1@853", 853},
		{"0.0.0.0", "0.0.0.0@53", 53},
		{"2001:db8::1", "2001:db8::1", 0},
		{"[2001:db8::1]", "2001:db8::1", 0},
		{"2001:DB8:0::1", "[2001:db8::1]@853", 853},
		{"::", "::", 0},
		{"::1", "[::1]@65535", 65535},
		{"2a09::", "2a09::", 0},
		{"fe80::1%7", "fe80::1%7", 0},
		{"[fe80::1%4294967295]", "[fe80::1%4294967295]@53", 53},
		{"ff02::fb%3", "ff02::fb%3", 0},
		{"1:0:0:2:0:0:0:3", "1:0:0:2::3", 0},
		{"1:0:0:2:3:0:0:4", "1::2:3:0:0:4", 0},
		{"1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7", 0},
		{"0:0:1:2:3:4:0:0", "::1:2:3:4:0:0", 0},
		{"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::", 0},
		{"::ffff:192.0.2.1", "[::ffff:192.0.2.1]@1", 1},
		{"::192.0.2.1", "::c000:201", 0},
		{"fe80:1111:2222:3333:4444:5555:6666:7777%4294967295",
		 "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]@65535", 65535},
	};
	char text[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr a = address(rows[i].in, rows[i].port);

		assert_string_equal(addr_text(text, &a), rows[i].out);
	}
}

#define TOO_LONG "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void
what_is_no_address_is_refused_and_changes_nothing(void **state)
{
	static const char *const bad[] = {"",
					  " ",
					  "localhost",
					  "1.2.3",
					  "1.2.3.4.5",
					  "1.2.3.256",
					  "01.2.3.4",
					  "1.2.3.4 ",
					  " 1.2.3.4",
					  "1.2.3.4@53",
					  "[1.2.3.4]",
					  "1.2.3.4%1",
					  "0x7f.0.0.1",
					  ":",
					  ":::",
					  "1::2::3",
					  "12345::",
					  "::g",
					  "[::1",
					  "::1]",
					  "[]",
					  "[[::1]]",
					  "[::1]@53",
					  "::1%1",
					  "2001:db8::1%eth0",
					  "fe80::1%",
					  "fe80::1%0",
					  "fe80::1%4294967296",
					  "fe80::1%nosuchinterface0",
					  "fe80::1%1%2",
					  "fe80::1%lo%",
					  "1:2:3:4:5:6:7:8:9",
					  TOO_LONG};
	const struct addr before = {.family = ADDR_V4, .port = 9, .ip = {1, 2, 3, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct addr a = before;

		if (addr_parse(&a, bad[i]) == 0)
			fail_msg("\"%s\" is taken", bad[i]);
		assert_true(addr_same(&a, &before));
	}
}

/* The C library's reader is the measure; of these texts one in thirty is an address. */
static void
any_text_is_an_address_or_none_as_the_c_library_says(void **state)
{
	static const char *const pieces[] = {"0",  "1",	 "00", "ab",	 "FFFF", "12345", "g",	    ":",
					     ":",  ":",	 ":",  "::",	 "::",	 ".",	  "255",    "256",
					     "01", "1:", "a:", "1:2:3:", "0:",	 "10.",	  "1.2.3.", "1.2.3.4"};
	uint32_t chance = 1;
	size_t good = 0;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		char text[96] = "";
		uint8_t v4[16] = {0}, v6[16];
		struct addr a = {0};
		bool is_v4, is_v6;

		for (unsigned n = chance >> 28 & 7u; n < 9; n++) {
			chance = chance * 1664525 + 1013904223;
			strcat(text, pieces[(chance >> 16) % (sizeof(pieces) / sizeof(pieces[0]))]);
		}
		is_v4 = inet_pton(AF_INET, text, v4) == 1;
		is_v6 = inet_pton(AF_INET6, text, v6) == 1;
		good += addr_parse(&a, text) == 0;
		if (a.family != (is_v4	 ? ADDR_V4
				 : is_v6 ? ADDR_V6
					 : ADDR_NONE) ||
		    ((is_v4 || is_v6) && memcmp(a.ip, is_v4 ? v4 : v6, 16) != 0))
			fail_msg("\"%s\" is read otherwise", text);
	}
	assert_in_range(good, 5000, 295000);
}

static void
a_zone_may_be_the_name_of_an_interface(void **state)
{
	struct addr a = address("fe80::1%lo", 0);

	(void)state;
	assert_int_equal(a.scope, if_nametoindex("lo"));
}

static void
every_part_of_an_address_counts(void **state)
{
	struct addr a = address("fe80::1%2", 53), port = address("fe80::1%2", 54),
		    zone = address("fe80::1%3", 53), ip = address("fe80::2%2", 53),
		    same = address("[fe80:0::1%2]", 53);
	struct addr v4 = address("0.0.0.0", 53), v6 = address("::", 53);

	(void)state;
	assert_true(addr_same(&a, &same));
	assert_false(addr_same(&a, &port));
	assert_false(addr_same(&a, &zone));
	assert_false(addr_same(&a, &ip));
	assert_false(addr_same(&v4, &v6));
}

static void
prefixes_read_and_print(void **state)
{
	static const char *const rows[][2] = {
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"192.0.2.1", "192.0.2.1/32"},
		{"0.0.0.0/0", "0.0.0.0/0"},
		{"::/0", "::/0"},
		{"::1", "::1/128"},
		{"fe80::/10", "fe80::/10"},
		{"fc00::/7", "fc00::/7"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"192.0.2.254/31", "192.0.2.254/31"},
	};
	char text[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct prefix p = prefix(rows[i][0]);

		assert_string_equal(prefix_text(text, &p), rows[i][1]);
	}
}

static void
what_is_no_prefix_is_refused(void **state)
{
	static const char *const bad[] = {"",
					  "/8",
					  "10.0.0.0/",
					  "10.0.0.0/33",
					  "10.0.0.0/08",
					  "10.0.0/8",
					  "10.0.0.0/8/8",
					  "10.0.0.0/-1",
					  "10.0.0.0/+8",
					  "10.0.0.0/8 ",
					  "10.1.0.0/8",
					  "10.0.0.1/31",
					  "::1/127",
					  "fd00::/6",
					  "::/129",
					  "fe80::%1/10",
					  "[::1]/128",
					  "all",
					  "10.0.0.0/4294967304"};
	struct prefix p;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (prefix_parse(&p, bad[i]) == 0)
			fail_msg("\"%s\" is taken", bad[i]);
	}
}

static void
a_prefix_holds_what_shares_its_bits(void **state)
{
	static const struct {
		const char *prefix, *addr;
		bool has;
	} rows[] = {
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/8", "9.255.255.255", false},
		{"172.16.0.0/12", "172.31.255.255", true},
		{"172.16.0.0/12", "172.32.0.0", false},
		{"192.0.2.1/32", "192.0.2.1", true},
		{"192.0.2.1/32", "192.0.2.0", false},
		{"192.0.2.254/31", "192.0.2.255", true},
		{"0.0.0.0/0", "255.255.255.255", true},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "1.2.3.4", false},
		{"::/0", "ffff::", true},
		{"fe80::/10", "febf::1", true},
		{"fe80::/10", "fec0::1", false},
		{"fe80::/10", "fe80::1%3", true},
		{"fc00::/7", "fdff::1", true},
		{"fc00::/7", "fe00::1", false},
		{"::1/128", "::1", true},
		{"::1/128", "::", false},
		{"10.0.0.0/8", "::ffff:10.1.2.3", true},
		{"10.0.0.0/8", "::ffff:11.1.2.3", false},
		{"10.0.0.0/8", "::10.1.2.3", false},
		{"::/0", "::ffff:10.1.2.3", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct prefix p = prefix(rows[i].prefix);
		struct addr a = address(rows[i].addr, 4711);

		if (prefix_has(&p, &a) != rows[i].has)
			fail_msg("%s in %s: expected %d", rows[i].addr, rows[i].prefix, rows[i].has);
	}
}

static void
no_address_lies_in_no_prefix(void **state)
{
	const struct prefix none = {0}, all = prefix("0.0.0.0/0");
	const struct addr nobody = {0};

	(void)state;
	assert_false(prefix_has(&none, &nobody));
	assert_false(prefix_has(&all, &nobody));
}

/* One client may have a /64 of public addresses; on a LAN a /64 is all the clients there are. */
static void
what_tells_clients_apart_depends_on_the_kind_of_address(void **state)
{
	static const struct {
		const char *text;
		size_t octets;
	} known[] = {
		{"192.0.2.1", 4}, {"127.0.0.1", 4}, {"2001:db8::1", 8}, {"::1", 8},	 {"fe80::1", 16},
		{"febf::1", 16},  {"fec0::1", 8},   {"fc00::1", 16},	{"fdff::1", 16}, {"fe00::1", 8},
	};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		assert_int_equal(addr_parse(&a, known[i].text), 0);
		assert_int_equal(addr_client_octets(&a), known[i].octets);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_tells_clients_apart_depends_on_the_kind_of_address),
		cmocka_unit_test(addresses_read_and_print),
		cmocka_unit_test(what_is_no_address_is_refused_and_changes_nothing),
		cmocka_unit_test(any_text_is_an_address_or_none_as_the_c_library_says),
		cmocka_unit_test(a_zone_may_be_the_name_of_an_interface),
		cmocka_unit_test(every_part_of_an_address_counts),
		cmocka_unit_test(prefixes_read_and_print),
		cmocka_unit_test(what_is_no_prefix_is_refused),
		cmocka_unit_test(a_prefix_holds_what_shares_its_bits),
		cmocka_unit_test(no_address_lies_in_no_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
