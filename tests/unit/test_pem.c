/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "certs.h"
#include "pem.h"

#define BEGIN "-----BEGIN CERTIFICATE-----\n"
#define END "-----END CERTIFICATE-----\n"

/* ---- Reading from memory of exactly its size -------------------------------------------------- */

struct found {
	enum pem_result result;
	size_t len;
	uint8_t der[4096];
};

static struct found found[64];
static unsigned certificates, bad;

/* Reads all of text; returns how many results came before the end. */
static unsigned
read_octets(const void *text, size_t len)
{
	uint8_t *exact = malloc(len != 0 ? len : 1);
	const uint8_t *at = exact;
	size_t left = len;
	unsigned n = 0;

	assert_non_null(exact);
	if (len != 0)
		memcpy(exact, text, len);
	certificates = bad = 0;
	for (;; n++) {
		struct found *f = &found[n % 64];

		/* der has room for three quarters of what is left, and no more. */
		uint8_t *room = malloc(left * 3 / 4 + 1);

		f->result = pem_next(&at, &left, room, &f->len);
		assert_ptr_equal(at + left, exact + len);
		assert_true(f->len <= len * 3 / 4);
		memcpy(f->der, room, f->len < sizeof(f->der) ? f->len : sizeof(f->der));
		free(room);
		if (f->result == PEM_END)
			break;
		certificates += f->result == PEM_CERTIFICATE;
		bad += f->result == PEM_BAD;
		assert_true(n <= len);
	}
	assert_int_equal(left, 0);
	free(exact);
	return n;
}

static unsigned
read_text(const char *text)
{
	return read_octets(text, strlen(text));
}

static void
assert_one(const char *text, const char *der, size_t len)
{
	assert_int_equal(read_text(text), 1);
	assert_int_equal(found[0].result, PEM_CERTIFICATE);
	assert_int_equal(found[0].len, len);
	assert_memory_equal(found[0].der, der, len);
}

/* ---- What is right ---------------------------------------------------------------------------- */

static void
a_block_gives_its_octets(void **state)
{
	(void)state;
	assert_one(BEGIN "Zm9vYmFy\n" END, "foobar", 6);
	assert_one(BEGIN "Zm9vYmE=\n" END, "fooba", 5);
	assert_one(BEGIN "Zm9vYg==\n" END, "foob", 4);
	assert_one(BEGIN "+/+/AAAA\n" END, "\xfb\xff\xbf\0\0\0", 6);
}

static void
line_ends_of_any_kind_are_right(void **state)
{
	(void)state;
	assert_one("-----BEGIN CERTIFICATE-----\r\nZm9v\r\nYmFy\r\n-----END CERTIFICATE-----\r\n", "foobar", 6);
	assert_one("-----BEGIN CERTIFICATE-----\rZm9v\rYmFy\r-----END CERTIFICATE-----\r", "foobar", 6);
	assert_one("-----BEGIN CERTIFICATE-----\nZm9v\r\nYmFy\r-----END CERTIFICATE-----", "foobar", 6);
	assert_one(BEGIN "Z\nm\n9\nv\nY\nm\nF\ny\n" END, "foobar", 6);
	assert_one(BEGIN " \tZm9vYmFy \t \n\n" END, "foobar", 6);
}

static void
a_byte_order_mark_is_right(void **state)
{
	(void)state;
	assert_one("\xef\xbb\xbf" BEGIN "Zm9vYmFy\n" END, "foobar", 6);
}

static void
a_missing_final_newline_is_right(void **state)
{
	(void)state;
	assert_one(BEGIN "Zm9vYmFy\n-----END CERTIFICATE-----", "foobar", 6);
}

static void
text_around_blocks_is_passed_over(void **state)
{
	(void)state;
	assert_one("# Root of all\nSubject: x --- y\n-----\n" BEGIN "Zm9vYmFy\n" END "that was it - - -----",
		   "foobar", 6);
	assert_one("-" BEGIN "Zm9vYmFy\n" END, "foobar", 6);
	assert_one("-----BEGIN CERT" BEGIN "Zm9vYmFy\n" END, "foobar", 6);
}

static void
the_old_name_of_a_certificate_is_right(void **state)
{
	(void)state;
	assert_one("-----BEGIN X509 CERTIFICATE-----\nZm9vYmFy\n-----END X509 CERTIFICATE-----\n", "foobar", 6);
}

static void
blocks_of_other_kinds_are_passed_over(void **state)
{
	(void)state;
	assert_one("-----BEGIN EC PRIVATE KEY-----\nZm9v\n-----END EC PRIVATE KEY-----\n" BEGIN "Zm9vYmFy\n" END
		   "-----BEGIN CERTIFICATE REQUEST-----\nZm9v\n-----END CERTIFICATE REQUEST-----\n",
		   "foobar", 6);
	assert_int_equal(
		read_text("-----BEGIN TRUSTED CERTIFICATE-----\nZm9v\n-----END TRUSTED CERTIFICATE-----\n"), 0);
}

static void
blocks_come_one_after_another(void **state)
{
	(void)state;
	assert_int_equal(read_text(BEGIN "Zm9v\n" END BEGIN "YmFy\n" END "\n\n" BEGIN "YmF6\n" END), 3);
	assert_int_equal(certificates, 3);
	assert_memory_equal(found[0].der, "foo", 3);
	assert_memory_equal(found[1].der, "bar", 3);
	assert_memory_equal(found[2].der, "baz", 3);
}

static void
nothing_has_no_certificate(void **state)
{
	(void)state;
	assert_int_equal(read_text(""), 0);
	assert_int_equal(read_text("\n"), 0);
	assert_int_equal(read_text("-----BEGIN"), 0);
	assert_int_equal(read_text("-----BEGIN CERTIFICATE----"), 0);
	assert_int_equal(read_octets("\0\0\0", 3), 0);
}

/* ---- What is bad ------------------------------------------------------------------------------ */

static void
a_bad_block_in_the_middle_costs_no_other(void **state)
{
	static const char *const body[] = {
		"Zm9v!mFy\n",  "Zm9vY\n",    "Zm9vYm\n",   "Zm9vYmF\n", "Zm9vYm==Fy\n", "Zm9vYg=\n",
		"Zm9vYmE==\n", "Zm9vYh==\n", "Zm9vYmF=\n", "====\n",	"=\n",		"Zm9vYmFy\xff\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(body) / sizeof(body[0]); i++) {
		char text[512];

		snprintf(text, sizeof(text), BEGIN "Zm9v\n" END BEGIN "%s" END BEGIN "YmFy\n" END, body[i]);
		assert_int_equal(read_text(text), 3);
		assert_int_equal(certificates, 2);
		assert_int_equal(found[1].result, PEM_BAD);
		assert_memory_equal(found[0].der, "foo", 3);
		assert_memory_equal(found[2].der, "bar", 3);
	}
}

static void
a_block_without_an_end_is_bad(void **state)
{
	(void)state;
	assert_int_equal(read_text(BEGIN "Zm9v\n"), 1);
	assert_int_equal(bad, 1);
	assert_int_equal(read_text(BEGIN), 1);
	assert_int_equal(bad, 1);
	/* The next one's begin is no end; the next one itself is not lost. */
	assert_int_equal(read_text(BEGIN "Zm9v\n" BEGIN "YmFy\n" END), 2);
	assert_int_equal(bad, 1);
	assert_int_equal(found[1].result, PEM_CERTIFICATE);
	assert_memory_equal(found[1].der, "bar", 3);
}

static void
cut_anywhere_it_is_bad_or_nothing(void **state)
{
	static const char text[] = BEGIN "Zm9vYmFyZm9vYmFy\n-----END ";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		read_octets(text, len);
		assert_int_equal(certificates, 0);
		assert_int_equal(bad, len >= strlen(BEGIN) - 1);
	}
}

/* ---- Against another writer, and any octets --------------------------------------------------- */

static uint32_t
chance(void)
{
	static uint64_t seed = 11;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33);
}

static void
what_another_program_writes_reads_back(void **state)
{
	static const unsigned flags[] = {0, BR_PEM_LINE64, BR_PEM_CRLF, BR_PEM_LINE64 | BR_PEM_CRLF};
	uint8_t der[1000];
	char text[3000];

	(void)state;
	for (size_t len = 1; len <= sizeof(der); len += len < 100 ? 1 : 37) {
		size_t n;

		for (size_t i = 0; i < len; i++)
			der[i] = (uint8_t)chance();
		n = br_pem_encode(text, der, len, "CERTIFICATE", flags[len % 4]);
		assert_int_equal(read_octets(text, n), 1);
		assert_int_equal(found[0].result, PEM_CERTIFICATE);
		assert_int_equal(found[0].len, len);
		assert_memory_equal(found[0].der, der, len);
	}
}

/* trust.c reads that way: what comes out lies in front of what goes in. */
static void
octets_may_be_written_in_front_of_what_is_read(void **state)
{
	char text[] = BEGIN "Zm9vYmFyZm9vYmFy\n" END BEGIN "YmF6\n" END;
	const uint8_t *at = (const uint8_t *)text;
	size_t left = strlen(text), len;

	(void)state;
	assert_int_equal(pem_next(&at, &left, (uint8_t *)text, &len), PEM_CERTIFICATE);
	assert_int_equal(len, 12);
	assert_memory_equal(text, "foobarfoobar", 12);
	assert_int_equal(pem_next(&at, &left, (uint8_t *)text + len, &len), PEM_CERTIFICATE);
	assert_memory_equal(text, "foobarfoobarbaz", 15);
}

static void
random_changes_stay_inside(void **state)
{
	static const char text[] = "x\n" BEGIN "Zm9vYmFyZm9vYmFy\n" END "y\n" BEGIN "Zm9vYg==\n" END;
	char changed[sizeof(text)];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		memcpy(changed, text, sizeof(text));
		for (unsigned n = 1 + chance() % 4; n > 0; n--)
			changed[chance() % (sizeof(text) - 1)] = "-\n\r =AZz09+/\0\xef"[chance() % 15];
		read_octets(changed, sizeof(text) - 1 - chance() % 10);
		assert_true(certificates + bad <= 2);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_block_gives_its_octets),
		cmocka_unit_test(line_ends_of_any_kind_are_right),
		cmocka_unit_test(a_byte_order_mark_is_right),
		cmocka_unit_test(a_missing_final_newline_is_right),
		cmocka_unit_test(text_around_blocks_is_passed_over),
		cmocka_unit_test(the_old_name_of_a_certificate_is_right),
		cmocka_unit_test(blocks_of_other_kinds_are_passed_over),
		cmocka_unit_test(blocks_come_one_after_another),
		cmocka_unit_test(nothing_has_no_certificate),
		cmocka_unit_test(a_bad_block_in_the_middle_costs_no_other),
		cmocka_unit_test(a_block_without_an_end_is_bad),
		cmocka_unit_test(cut_anywhere_it_is_bad_or_nothing),
		cmocka_unit_test(what_another_program_writes_reads_back),
		cmocka_unit_test(octets_may_be_written_in_front_of_what_is_read),
		cmocka_unit_test(random_changes_stay_inside),
	};

	return cmocka_run_group_tests_name("pem", tests, NULL, NULL);
}
