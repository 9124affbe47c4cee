/* SPDX-License-Identifier: MIT */
/* text_make() against snprintf(), which knows how it should look. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

#define SAME(...) \
	do { \
		char ours[64], theirs[64]; \
		int n = text_make(ours, sizeof(ours), __VA_ARGS__); \
		assert_int_equal(n, snprintf(theirs, sizeof(theirs), __VA_ARGS__)); \
		assert_string_equal(ours, theirs); \
	} while (0)

static void
numbers_read_as_snprintf_writes_them(void **state)
{
	(void)state;
	SAME("%d %d %d", 0, -1, INT32_MIN);
	SAME("%u %x", UINT32_MAX, 0xbeefu);
	SAME("%lld %llu", (long long)INT64_MIN, (unsigned long long)UINT64_MAX);
	SAME("%ld %lu %zu", -5L, 7UL, (size_t)9);
	SAME("[%5d][%-5d][%05d][%-5u][%03u]", 42, 42, -42, 42u, 7u);
	SAME("[%9zu]", (size_t)123);
}

static void
strings_are_padded_and_cut(void **state)
{
	(void)state;
	SAME("%s %c %%", "abc", 'x');
	SAME("[%6s][%-6s]", "abc", "abc");
	SAME("[%.2s][%.*s][%-*s][%.9s]", "abc", 1, "abc", 5, "abc", "abc");
	SAME("%s", "");
}

static void
what_does_not_fit_is_cut_and_the_whole_length_returned(void **state)
{
	char out[8];

	(void)state;
	memset(out, 'z', sizeof(out));
	assert_int_equal(text_make(out, 5, "%s-%u", "abcdef", 12u), 9);
	assert_string_equal(out, "abcd");
	assert_int_equal(out[5], 'z');
	assert_int_equal(text_make(out, 1, "%d", 77), 2);
	assert_string_equal(out, "");
}

/* Not what snprintf() makes of it, which nobody needs; but nothing is written outside. */
static void
a_width_below_zero_is_none(void **state)
{
	static const int widths[] = {-1, -5, INT_MIN};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		memset(out, 'z', sizeof(out));
		assert_int_equal(text_make(out, sizeof(out), "[%*d][%*s]", widths[i], 42, widths[i], "abc"), 9);
		assert_string_equal(out, "[42][abc]");
		assert_int_equal(out[10], 'z');
	}
	SAME("[%*d][%*s]", 5, 42, 0, "abc");
}

/* Each answers as the C library's function for the same does. */
static void
characters_are_found_as_the_c_library_finds_them(void **state)
{
	static const char *const texts[] = {"",	  ".",	   "a",	 "a.b",	    "a.b.",
					    ".a", "a=b,c", ",,", "tcp://x", "tcp:/"};
	static const char *const sets[] = {".", ",=", "", "tcp://", "a"};

	(void)state;
	for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++)
		for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
			const char *text = texts[t], *set = sets[s], *dot = strrchr(text, '.');

			assert_int_equal(text_until(text, set), strcspn(text, set));
			assert_int_equal(text_begins(text, set), strncmp(text, set, strlen(set)) == 0);
			assert_int_equal(text_has(set, text[0]),
					 text[0] != '\0' && strchr(set, text[0]) != NULL);
			assert_ptr_equal(text_behind(text, '.'), dot != NULL ? dot + 1 : text);
		}
}

static void
hexadecimal_digits_have_their_value(void **state)
{
	static const char digits[] = "0123456789abcdefABCDEF";

	(void)state;
	for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
		const char *digit = memchr(digits, c, sizeof(digits) - 1);

		assert_int_equal(text_hex((char)c), digit == NULL	  ? -1
						    : digit < digits + 16 ? digit - digits
									  : digit - digits - 6);
	}
}

static void
errors_have_words_or_their_number(void **state)
{
	(void)state;
	assert_string_equal(text_error(ECONNREFUSED), "connection refused");
	assert_string_equal(text_error(EHOSTUNREACH), "no route to host");
	assert_string_equal(text_error(9999), "error 9999");
	assert_string_equal(text_error(0), "error 0");
	assert_string_equal(text_error(INT_MIN), "error -2147483648");
	assert_string_equal(text_error(INT_MAX), "error 2147483647");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_read_as_snprintf_writes_them),
		cmocka_unit_test(strings_are_padded_and_cut),
		cmocka_unit_test(what_does_not_fit_is_cut_and_the_whole_length_returned),
		cmocka_unit_test(a_width_below_zero_is_none),
		cmocka_unit_test(characters_are_found_as_the_c_library_finds_them),
		cmocka_unit_test(hexadecimal_digits_have_their_value),
		cmocka_unit_test(errors_have_words_or_their_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
