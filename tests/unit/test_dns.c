/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "dns.h"
#include "dnsmake.h"

static struct made m, other;

/* A message with one question, in m. */
static void
ask(const char *name)
{
	made_init(&m, 0x1234, DNS_RD);
	made_question(&m, name, 1, 1);
}

/* ---- Header ----------------------------------------------------------------------------------- */

static void
header_fields_are_read_and_set(void **state)
{
	uint8_t msg[] = {0xab, 0xcd, 0x2d, 0x95, 0, 1, 2, 3, 4, 5, 6, 7};

	(void)state;
	assert_int_equal(dns_id(msg), 0xabcd);
	assert_int_equal(dns_flags(msg), 0x2d95);
	assert_int_equal(dns_opcode(msg), 5);
	assert_int_equal(dns_rcode(msg), 5);
	assert_int_equal(dns_qdcount(msg), 1);
	assert_int_equal(dns_ancount(msg), 0x203);
	assert_int_equal(dns_nscount(msg), 0x405);
	assert_int_equal(dns_arcount(msg), 0x607);
	dns_set_id(msg, 0);
	dns_set_flags(msg, 0x8180);
	assert_memory_equal(msg, "\0\0\x81\x80\0\1", 6);
}

/* ---- Names ------------------------------------------------------------------------------------ */

static void
a_name_ends_behind_its_root_label(void **state)
{
	(void)state;
	ask("www.example.com");
	assert_int_equal(dns_skip_name(m.buf, m.len, 12), 29);
	assert_int_equal(dns_skip_name(m.buf, m.len, 16), 29);
	ask(".");
	assert_int_equal(dns_skip_name(m.buf, m.len, 12), 13);
}

/* RFC 5625 section 4.2: with or without compressed labels. */
static void
a_pointer_ends_a_name(void **state)
{
	size_t at;

	(void)state;
	ask("www.example.com");
	at = made_rr(&m, MADE_ANSWER, "ftp.16>", 1, 1, 0);
	assert_int_equal(dns_skip_name(m.buf, m.len, at), at + 6);
}

static void
a_pointer_must_point_before_its_name_and_behind_the_header(void **state)
{
	size_t at;

	(void)state;
	ask("www.example.com");
	at = m.len;
	made_octets(&m, "\1a\300\0", 4);
	for (unsigned to = 0; to < at + 8; to++) {
		m.buf[at + 3] = (uint8_t)to;
		assert_int_equal(dns_skip_name(m.buf, m.len, at), to >= 12 && to < at ? at + 4 : 0);
	}
	m.buf[at + 2] = 0xff;
	assert_int_equal(dns_skip_name(m.buf, m.len, at), 0);
}

static void
a_name_that_leaves_the_message_is_refused(void **state)
{
	(void)state;
	ask("www.example.com");
	for (size_t len = 12; len < 29; len++)
		assert_int_equal(dns_skip_name(m.buf, len, 12), 0);
	assert_int_equal(dns_skip_name(m.buf, 29, 12), 29);
	assert_int_equal(dns_skip_name(m.buf, m.len, m.len), 0);
	assert_int_equal(dns_skip_name(m.buf, m.len, m.len + 1), 0);
	m.buf[m.len - 1] = 0xc0;
	assert_int_equal(dns_skip_name(m.buf, m.len, m.len - 1), 0);
}

/* RFC 6891 section 5: extended label types never came into use. */
static void
label_types_that_nobody_uses_are_refused(void **state)
{
	struct dns_question q;

	(void)state;
	for (unsigned type = 64; type < 192; type++) {
		ask("www.example.com");
		m.buf[12] = (uint8_t)type;
		made_rr(&m, MADE_ANSWER, "", 1, 1, 0);
		memset(m.buf + m.len, 0, 200);
		assert_int_equal(dns_skip_name(m.buf, m.len + 200, 12), 0);
		assert_int_equal(dns_read_question(m.buf, m.len + 200, &q), -1);
	}
}

/* Three labels of 63 octets and one of last, at offset 12. */
static void
ask_long(unsigned last)
{
	char label[64];

	memset(label, 'a', sizeof(label));
	made_init(&m, 1, 0);
	for (int i = 0; i < 4; i++) {
		unsigned n = i < 3 ? 63 : last;

		made_u8(&m, n);
		made_octets(&m, label, n);
	}
	made_octets(&m, "\0\0\1\0\1", 5);
	made_count(&m, MADE_QUESTION, 1);
}

/* RFC 1035 section 2.3.4, RFC 2181 section 11. */
static void
names_may_have_255_octets_and_no_more(void **state)
{
	struct dns_question q;

	(void)state;
	ask_long(61);
	assert_int_equal(dns_skip_name(m.buf, m.len, 12), 12 + 255);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), 0);
	assert_int_equal(q.name_len, 255);
	ask_long(62);
	assert_int_equal(dns_skip_name(m.buf, m.len, 12), 0);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), -1);
}

/* ---- Questions -------------------------------------------------------------------------------- */

static void
a_question_is_read(void **state)
{
	struct dns_question q;

	(void)state;
	made_init(&m, 1, 0);
	made_question(&m, "a.bc", 65280, 3);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), 0);
	assert_int_equal(q.name_len, 6);
	assert_int_equal(q.type, 65280);
	assert_int_equal(q.class, 3);
	assert_int_equal(q.end, m.len);
}

static void
a_question_that_is_cut_is_refused(void **state)
{
	struct dns_question q;

	(void)state;
	ask("www.example.com");
	for (size_t len = 12; len < m.len; len++)
		assert_int_equal(dns_read_question(m.buf, len, &q), -1);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), 0);
}

static void
a_question_with_a_pointer_is_refused(void **state)
{
	struct dns_question q;

	(void)state;
	made_init(&m, 1, 0);
	made_octets(&m, "\1a\300\14\0\1\0\1\0\0\0\0\0", 13);
	assert_int_equal(dns_read_question(m.buf, m.len, &q), -1);
	m.buf[15] = 0;
	assert_int_equal(dns_read_question(m.buf, m.len, &q), -1);
}

static bool
same(const char *a, const char *b)
{
	struct dns_question qa, qb;

	ask(a);
	made_init(&other, 2, 0);
	made_question(&other, b, 1, 1);
	assert_int_equal(dns_read_question(m.buf, m.len, &qa), 0);
	assert_int_equal(dns_read_question(other.buf, other.len, &qb), 0);
	return dns_same_question(m.buf, &qa, other.buf, &qb);
}

/* RFC 4343 section 3: case does not matter, and only that of ASCII letters. */
static void
questions_are_compared_without_regard_to_ascii_case(void **state)
{
	(void)state;
	assert_true(same("www.example.com", "wWw.EXAMPLE.cOm"));
	assert_true(same("az.AZ", "AZ.az"));
	assert_false(same("www.example.com", "www.example.co"));
	assert_false(same("www.example.com", "www.example.con"));
	assert_false(same("a@b", "a`b"));
	assert_false(same("a[b", "a{b"));
	assert_false(same("\\192", "\\224"));
	assert_false(same("a\\000", "a\\032"));
}

static void
octets_that_are_not_letters_differ_though_a_bit_apart(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char a[8], b[8];
		bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		snprintf(a, sizeof(a), "\\%03u", c);
		snprintf(b, sizeof(b), "\\%03u", c ^ 0x20);
		assert_int_equal(same(a, b), letter);
	}
}

static void
a_dot_inside_a_label_is_not_the_end_of_one(void **state)
{
	(void)state;
	assert_false(same("a\\046b", "a.b"));
	assert_false(same("ab.c", "a.bc"));
}

/* RFC 5452 section 9.1: name, type and class. */
static void
questions_differ_in_type_and_class(void **state)
{
	struct dns_question a, b;

	(void)state;
	ask("www.example.com");
	assert_int_equal(dns_read_question(m.buf, m.len, &a), 0);
	b = a;
	assert_true(dns_same_question(m.buf, &a, m.buf, &b));
	b.type = 28;
	assert_false(dns_same_question(m.buf, &a, m.buf, &b));
	b = a;
	b.class = 3;
	assert_false(dns_same_question(m.buf, &a, m.buf, &b));
}

/* ---- Records ---------------------------------------------------------------------------------- */

static void
a_record_is_read(void **state)
{
	struct dns_rr rr;
	size_t at;

	(void)state;
	ask("www.example.com");
	at = made_rr(&m, MADE_ANSWER, "12>", 65280, 254, 0x80000001);
	made_rdata(&m, "abc", 3);
	assert_int_equal(dns_read_rr(m.buf, m.len, at, &rr), 0);
	assert_int_equal(rr.at, at);
	assert_int_equal(rr.type, 65280);
	assert_int_equal(rr.class, 254);
	assert_true(rr.ttl == 0x80000001);
	assert_int_equal(rr.rdata, at + 12);
	assert_int_equal(rr.rdlen, 3);
	assert_int_equal(rr.end, m.len);
}

static void
a_record_that_is_cut_is_refused(void **state)
{
	struct dns_rr rr;
	size_t at;

	(void)state;
	ask("www.example.com");
	at = made_a(&m, MADE_ANSWER, "www.example.com", 1);
	for (size_t len = at; len < m.len; len++)
		assert_int_equal(dns_read_rr(m.buf, len, at, &rr), -1);
	assert_int_equal(dns_read_rr(m.buf, m.len, at, &rr), 0);
	put16(m.buf + m.rdlen_at, 65535);
	assert_int_equal(dns_read_rr(m.buf, m.len, at, &rr), -1);
}

/* ---- Words ------------------------------------------------------------------------------------ */

static const char *
name_text(const char *name, size_t cap)
{
	static char out[DNS_NAME_TEXT_MAX];

	ask(name);
	memset(out, '~', sizeof(out));
	assert_ptr_equal(dns_name_text(out, cap, m.buf, 12), out);
	return out;
}

static void
a_name_is_written_as_in_master_files(void **state)
{
	(void)state;
	assert_string_equal(name_text("www.Example.com", 1024), "www.Example.com.");
	assert_string_equal(name_text(".", 1024), ".");
	assert_string_equal(name_text("_dmarc.~x-1", 1024), "_dmarc.~x-1.");
}

/* RFC 1035 section 5.1.  Nothing a client sends may break a line of the log or a master file. */
static void
octets_with_a_meaning_are_escaped(void **state)
{
	(void)state;
	assert_string_equal(name_text("a\\046b\\092.c", 1024), "a\\.b\\\\.c.");
	assert_string_equal(name_text("\\010\\013\\027[31m", 1024), "\\010\\013\\027[31m.");
	assert_string_equal(name_text("a b", 1024), "a\\032b.");
	assert_string_equal(name_text("\";()@$", 1024), "\\\"\\;\\(\\)\\@\\$.");
	assert_string_equal(name_text("\\000\\127\\128\\255%s", 1024), "\\000\\127\\128\\255%s.");
}

static void
a_long_name_is_cut_with_dots_between_its_pieces(void **state)
{
	(void)state;
	assert_string_equal(name_text("abcdef", 8), "abcdef.");
	assert_string_equal(name_text("abcdef", 7), "abc...");
	assert_string_equal(name_text("ab\\000cde", 10), "ab\\000...");
	assert_string_equal(name_text("ab\\000cde", 9), "ab...");
	assert_string_equal(name_text("abcdef", 4), "...");
	assert_string_equal(name_text("abcdef", 3), "");
	assert_int_equal(name_text("abcdef", 0)[0], '~');
}

static void
the_longest_text_fits(void **state)
{
	char out[DNS_NAME_TEXT_MAX];

	(void)state;
	ask_long(61);
	for (size_t i = 12; i < 12 + 254; i++) {
		if (m.buf[i] == 'a')
			m.buf[i] = 0xff;
	}
	dns_name_text(out, sizeof(out), m.buf, 12);
	assert_int_equal(strlen(out), 250 * 4 + 4);
	assert_string_equal(out + strlen(out) - 5, "\\255.");
}

/* RFC 3597 section 5. */
static void
types_have_words(void **state)
{
	static const struct {
		uint16_t type;
		const char *word;
	} known[] = {{1, "A"},	    {2, "NS"},	   {5, "CNAME"},    {6, "SOA"},		  {12, "PTR"},
		     {13, "HINFO"}, {15, "MX"},	   {16, "TXT"},	    {28, "AAAA"},	  {29, "LOC"},
		     {33, "SRV"},   {35, "NAPTR"}, {39, "DNAME"},   {41, "OPT"},	  {43, "DS"},
		     {44, "SSHFP"}, {46, "RRSIG"}, {47, "NSEC"},    {48, "DNSKEY"},	  {50, "NSEC3"},
		     {52, "TLSA"},  {59, "CDS"},   {60, "CDNSKEY"}, {64, "SVCB"},	  {65, "HTTPS"},
		     {250, "TSIG"}, {251, "IXFR"}, {252, "AXFR"},   {255, "ANY"},	  {256, "URI"},
		     {257, "CAA"},  {0, "TYPE0"},  {3, "TYPE3"},    {65280, "TYPE65280"}, {65535, "TYPE65535"}};
	char out[DNS_TYPE_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_string_equal(dns_type_text(out, known[i].type), known[i].word);
	assert_ptr_equal(dns_type_text(out, 1), out);
}

static void
rcodes_have_words(void **state)
{
	char out[DNS_RCODE_TEXT_MAX];

	(void)state;
	assert_string_equal(dns_rcode_text(out, DNS_NOERROR), "NOERROR");
	assert_string_equal(dns_rcode_text(out, DNS_FORMERR), "FORMERR");
	assert_string_equal(dns_rcode_text(out, DNS_SERVFAIL), "SERVFAIL");
	assert_string_equal(dns_rcode_text(out, DNS_NXDOMAIN), "NXDOMAIN");
	assert_string_equal(dns_rcode_text(out, DNS_NOTIMP), "NOTIMP");
	assert_string_equal(dns_rcode_text(out, DNS_REFUSED), "REFUSED");
	assert_string_equal(dns_rcode_text(out, 10), "NOTZONE");
	assert_string_equal(dns_rcode_text(out, 11), "RCODE11");
	assert_string_equal(dns_rcode_text(out, DNS_BADVERS), "BADVERS");
	assert_string_equal(dns_rcode_text(out, 23), "BADCOOKIE");
	assert_string_equal(dns_rcode_text(out, 4095), "RCODE4095");
	dns_rcode_text(out, UINT32_MAX);
	assert_string_equal(out, "RCODE4095");
}

static void
letters_are_put_in_lower_case_and_nothing_else(void **state)
{
	uint8_t all[256];

	(void)state;
	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	dns_lower(all, all, 255);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(all[i], i >= 'A' && i <= 'Z' ? i + 32 : i);
}

static void
a_ttl_with_its_top_bit_set_is_zero(void **state)
{
	(void)state;
	assert_int_equal(dns_ttl(0), 0);
	assert_int_equal(dns_ttl(0x7fffffffu), 0x7fffffffu);
	assert_int_equal(dns_ttl(0x80000000u), 0);
	assert_int_equal(dns_ttl(UINT32_MAX), 0);
}

/* How long an SOA record says no that has some octets more than it should, or less. */
static uint32_t
negative_ttl(uint32_t ttl, uint32_t minimum, int more)
{
	struct dns_rr rr;

	made_init(&m, 1, DNS_QR);
	made_rr(&m, MADE_AUTHORITY, "example", DNS_TYPE_SOA, 1, ttl);
	made_name(&m, "ns.12>");
	made_name(&m, "root");
	for (int i = 0; i < 4; i++)
		made_u32(&m, 1);
	made_u32(&m, minimum);
	if (more > 0)
		made_octets(&m, "1234", (size_t)more);
	else
		m.len -= (size_t)-more;
	made_rdlen(&m);
	assert_int_equal(dns_read_rr(m.buf, m.len, DNS_HEADER, &rr), 0);
	return dns_negative_ttl(m.buf, m.len, &rr);
}

static void
an_soa_says_no_for_the_lesser_of_ttl_and_minimum(void **state)
{
	(void)state;
	assert_int_equal(negative_ttl(300, 200, 0), 200);
	assert_int_equal(negative_ttl(200, 300, 0), 200);
	assert_int_equal(negative_ttl(0, 300, 0), 0);
	assert_int_equal(negative_ttl(300, 0x80000000u, 0), 0);
	assert_int_equal(negative_ttl(0x80000000u, 300, 0), 0);
	for (int more = -31; more <= 4; more++)
		assert_int_equal(negative_ttl(300, 200, more), more == 0 ? 200 : 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_fields_are_read_and_set),
		cmocka_unit_test(a_name_ends_behind_its_root_label),
		cmocka_unit_test(a_pointer_ends_a_name),
		cmocka_unit_test(a_pointer_must_point_before_its_name_and_behind_the_header),
		cmocka_unit_test(a_name_that_leaves_the_message_is_refused),
		cmocka_unit_test(label_types_that_nobody_uses_are_refused),
		cmocka_unit_test(names_may_have_255_octets_and_no_more),
		cmocka_unit_test(a_question_is_read),
		cmocka_unit_test(a_question_that_is_cut_is_refused),
		cmocka_unit_test(a_question_with_a_pointer_is_refused),
		cmocka_unit_test(questions_are_compared_without_regard_to_ascii_case),
		cmocka_unit_test(octets_that_are_not_letters_differ_though_a_bit_apart),
		cmocka_unit_test(a_dot_inside_a_label_is_not_the_end_of_one),
		cmocka_unit_test(questions_differ_in_type_and_class),
		cmocka_unit_test(a_record_is_read),
		cmocka_unit_test(a_record_that_is_cut_is_refused),
		cmocka_unit_test(a_name_is_written_as_in_master_files),
		cmocka_unit_test(octets_with_a_meaning_are_escaped),
		cmocka_unit_test(a_long_name_is_cut_with_dots_between_its_pieces),
		cmocka_unit_test(the_longest_text_fits),
		cmocka_unit_test(types_have_words),
		cmocka_unit_test(rcodes_have_words),
		cmocka_unit_test(letters_are_put_in_lower_case_and_nothing_else),
		cmocka_unit_test(a_ttl_with_its_top_bit_set_is_zero),
		cmocka_unit_test(an_soa_says_no_for_the_lesser_of_ttl_and_minimum),
	};

	return cmocka_run_group_tests_name("dns", tests, NULL, NULL);
}
