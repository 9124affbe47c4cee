/* SPDX-License-Identifier: MIT */
/* Pins as text and as values, and the base64 below them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base64.h"
#include "pin.h"

/* The 32 octets 0 to 31. */
#define TEXT "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

/* From memory of exactly its size; the value must stay what it was when the text is refused. */
static int
parse(struct pin *p, const char *text)
{
	struct pin before = *p;
	char *exact = malloc(strlen(text) + 1);
	int result;

	assert_non_null(exact);
	memcpy(exact, text, strlen(text) + 1);
	result = pin_parse(p, exact);
	free(exact);
	if (result == -1)
		assert_memory_equal(p, &before, sizeof(before));
	return result;
}

static void
assert_bad(const char *text)
{
	struct pin p;

	memset(&p, 0x5a, sizeof(p));
	assert_int_equal(parse(&p, text), -1);
}

/* ---- Base64 ----------------------------------------------------------------------------------- */

static void
digits_are_the_64_of_the_rfc(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	(void)state;
	for (int c = 0; c < 256; c++) {
		const char *at = c == 0 ? NULL : strchr(digits, c);

		assert_int_equal(base64_digit((uint8_t)c), at == NULL ? -1 : (int)(at - digits));
	}
}

/* RFC 4648 section 10. */
static void
the_vectors_of_the_rfc_come_out(void **state)
{
	static const char *const texts[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	char out[12];

	(void)state;
	for (size_t len = 0; len <= 6; len++) {
		memset(out, '!', sizeof(out));
		assert_int_equal(base64_make(out, (const uint8_t *)"foobar", len), strlen(texts[len]));
		assert_string_equal(out, texts[len]);
		assert_int_equal(out[strlen(texts[len]) + 1], '!');
	}
	assert_int_equal(base64_make(out, (const uint8_t *)"\xfb\xff\xbf", 3), 4);
	assert_string_equal(out, "+/+/");
}

/* ---- Pins ------------------------------------------------------------------------------------- */

static void
a_pin_is_read_and_written(void **state)
{
	char out[PIN_TEXT_MAX];
	struct pin p;

	(void)state;
	assert_int_equal(parse(&p, TEXT), 0);
	for (uint8_t i = 0; i < 32; i++)
		assert_int_equal(p.sha256[i], i);
	assert_ptr_equal(pin_text(out, &p), out);
	assert_string_equal(out, TEXT);
}

static void
all_octets_go_both_ways(void **state)
{
	char out[PIN_TEXT_MAX];

	(void)state;
	for (unsigned round = 0; round < 256; round++) {
		struct pin p, again;

		for (unsigned i = 0; i < 32; i++)
			p.sha256[i] = (uint8_t)(round * (i + 1) + (round >> i % 8));
		assert_int_equal(strlen(pin_text(out, &p)), PIN_TEXT_MAX - 1);
		assert_int_equal(parse(&again, out), 0);
		assert_memory_equal(&p, &again, sizeof(p));
	}
}

static void
each_wrong_length_is_refused(void **state)
{
	char text[120];

	(void)state;
	/* Cut, with its '=' and without. */
	for (size_t len = 0; len < sizeof(TEXT) - 1; len++) {
		memcpy(text, TEXT, len);
		text[len] = '\0';
		assert_bad(text);
		memcpy(text + len, "=", 2);
		if (len != sizeof(TEXT) - 2)
			assert_bad(text);
	}
	/* Longer by up to 60 digits. */
	for (size_t more = 1; more <= 60; more++) {
		memcpy(text, TEXT, sizeof(TEXT) - 2);
		memset(text + sizeof(TEXT) - 2, 'A', more);
		memcpy(text + sizeof(TEXT) - 2 + more, "=", 2);
		assert_bad(text);
		text[sizeof(TEXT) - 2 + more] = '\0';
		assert_bad(text);
	}
	assert_bad(TEXT "=");
	assert_bad(TEXT "A");
	assert_bad(TEXT " ");
	assert_bad(TEXT "\n");
	assert_bad(" " TEXT);
}

static void
a_sign_of_the_end_anywhere_else_is_refused(void **state)
{
	char text[] = TEXT;

	(void)state;
	for (size_t at = 7; at < sizeof(TEXT) - 2; at++) {
		text[at] = '=';
		assert_bad(text);
		text[at] = TEXT[at];
	}
	text[sizeof(TEXT) - 2] = 'A';
	assert_bad(text);
}

/* The last digit stands for four bits: there is one text for each pin. */
static void
bits_that_say_nothing_are_refused(void **state)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[] = TEXT;
	struct pin p;

	(void)state;
	for (unsigned i = 0; i < 64; i++) {
		text[sizeof(TEXT) - 3] = digits[i];
		if (i % 4 == 0) {
			assert_int_equal(parse(&p, text), 0);
			assert_int_equal(p.sha256[31], (31 & 0xf0) | i / 4);
		} else {
			assert_bad(text);
		}
	}
}

static void
other_alphabets_and_characters_are_refused(void **state)
{
	char text[] = TEXT;

	(void)state;
	for (size_t at = 7; at < sizeof(TEXT) - 2; at++) {
		for (int c = 1; c < 256; c++) {
			text[at] = (char)c;
			if (base64_digit((uint8_t)c) == -1)
				assert_bad(text);
		}
		text[at] = TEXT[at];
	}
	assert_bad("sha256/-AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("sha256/_AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
}

static void
only_sha256_is_known(void **state)
{
	(void)state;
	assert_bad("");
	assert_bad("sha256/");
	assert_bad("SHA256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("sha1/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("sha512/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
	assert_bad("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
}

static void
a_pin_is_found_among_others(void **state)
{
	struct pin pins[8], p;

	(void)state;
	memset(pins, 0, sizeof(pins));
	memset(&p, 0, sizeof(p));
	for (uint8_t i = 0; i < 8; i++)
		pins[i].sha256[31] = (uint8_t)(i + 1);
	assert_false(pin_is_among(&p, pins, 8));
	p.sha256[31] = 8;
	assert_true(pin_is_among(&p, pins, 8));
	assert_false(pin_is_among(&p, pins, 7));
	assert_false(pin_is_among(&p, pins, 0));
	assert_false(pin_is_among(&p, NULL, 0));
	p.sha256[0] = 1;
	assert_false(pin_is_among(&p, pins, 8));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_are_the_64_of_the_rfc),
		cmocka_unit_test(the_vectors_of_the_rfc_come_out),
		cmocka_unit_test(a_pin_is_read_and_written),
		cmocka_unit_test(all_octets_go_both_ways),
		cmocka_unit_test(each_wrong_length_is_refused),
		cmocka_unit_test(a_sign_of_the_end_anywhere_else_is_refused),
		cmocka_unit_test(bits_that_say_nothing_are_refused),
		cmocka_unit_test(other_alphabets_and_characters_are_refused),
		cmocka_unit_test(only_sha256_is_known),
		cmocka_unit_test(a_pin_is_found_among_others),
	};

	return cmocka_run_group_tests_name("pin", tests, NULL, NULL);
}
