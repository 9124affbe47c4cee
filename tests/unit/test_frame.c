/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bytes.h"
#include "frame.h"

#define MAX 100u

struct fixture {
	struct frame f;
	uint8_t buf[2 + MAX];
	uint8_t *in, *msg;
	size_t len, msg_len;
};

static void
begin(struct fixture *x, uint8_t *in, size_t len)
{
	frame_init(&x->f, x->buf, 3, MAX);
	x->in = in;
	x->len = len;
}

static enum frame_result
next(struct fixture *x)
{
	return frame_next(&x->f, &x->in, &x->len, &x->msg, &x->msg_len);
}

static void
expect_message(struct fixture *x, const char *text)
{
	assert_int_equal(next(x), FRAME_MESSAGE);
	assert_int_equal(x->msg_len, strlen(text));
	assert_memory_equal(x->msg, text, x->msg_len);
}

static void
a_whole_message_is_given_where_it_lies(void **state)
{
	uint8_t in[] = "\0\5hello";
	struct fixture x;

	(void)state;
	begin(&x, in, 7);
	expect_message(&x, "hello");
	assert_ptr_equal(x.msg, in + 2);
	assert_int_equal(x.len, 0);
	assert_ptr_equal(x.in, in + 7);
	assert_int_equal(next(&x), FRAME_MORE);
}

/* RFC 7766 section 6.2.1.1: queries may be pipelined. */
static void
messages_that_come_together_are_given_one_by_one(void **state)
{
	uint8_t in[] = "\0\3one\0\3two\0\5three\0\4fo";
	struct fixture x;

	(void)state;
	begin(&x, in, 21);
	expect_message(&x, "one");
	expect_message(&x, "two");
	expect_message(&x, "three");
	assert_int_equal(next(&x), FRAME_MORE);
	assert_int_equal(x.len, 0);
}

/* RFC 7766 section 8: a first read that is partial is no reason to close. */
static void
a_message_in_two_pieces_is_put_together(void **state)
{
	uint8_t in[] = "\0\5hello\0\3abc";
	struct fixture x;

	(void)state;
	for (size_t cut = 0; cut <= 7; cut++) {
		begin(&x, in, cut);
		if (cut < 7)
			assert_int_equal(next(&x), FRAME_MORE);
		else
			expect_message(&x, "hello");
		x.in = in + cut;
		x.len = 12 - cut;
		if (cut < 7)
			expect_message(&x, "hello");
		expect_message(&x, "abc");
		assert_int_equal(next(&x), FRAME_MORE);
	}
}

static void
a_length_below_the_least_is_bad(void **state)
{
	uint8_t in[] = "\0\2no";
	struct fixture x;

	(void)state;
	begin(&x, in, 4);
	assert_int_equal(next(&x), FRAME_BAD);
}

static void
a_length_above_the_largest_is_bad_before_its_octets_come(void **state)
{
	uint8_t in[] = {0, MAX + 1};
	struct fixture x;

	(void)state;
	begin(&x, in, 2);
	assert_int_equal(next(&x), FRAME_BAD);
	assert_int_equal(next(&x), FRAME_BAD);
}

static void
a_bad_length_in_two_pieces_is_bad(void **state)
{
	uint8_t in[] = {0xff, 0xff, 1, 2, 3};
	struct fixture x;

	(void)state;
	begin(&x, in, 1);
	assert_int_equal(next(&x), FRAME_MORE);
	x.len = 4;
	assert_int_equal(next(&x), FRAME_BAD);
	assert_int_equal(next(&x), FRAME_BAD);
}

static void
good_messages_before_a_bad_length_are_given(void **state)
{
	uint8_t in[] = "\0\3one\0\1x";
	struct fixture x;

	(void)state;
	begin(&x, in, 8);
	expect_message(&x, "one");
	assert_int_equal(next(&x), FRAME_BAD);
}

static void
the_largest_and_the_least_length_are_taken(void **state)
{
	uint8_t in[2 + MAX + 2 + 3] = {0, MAX};
	struct fixture x;

	(void)state;
	put16(in + 2 + MAX, 3);
	for (size_t cut = 0; cut < 2 + MAX; cut += 50) {
		begin(&x, in, cut);
		assert_int_equal(next(&x), FRAME_MORE);
		x.in = in + cut;
		x.len = sizeof(in) - cut;
		assert_int_equal(next(&x), FRAME_MESSAGE);
		assert_int_equal(x.msg_len, MAX);
		assert_int_equal(next(&x), FRAME_MESSAGE);
		assert_int_equal(x.msg_len, 3);
	}
}

static void
an_empty_message_is_given_when_allowed(void **state)
{
	uint8_t in[] = {0, 0, 0, 0};
	struct fixture x;

	(void)state;
	begin(&x, in, 3);
	x.f.min = 0;
	assert_int_equal(next(&x), FRAME_MESSAGE);
	assert_int_equal(x.msg_len, 0);
	assert_int_equal(next(&x), FRAME_MORE);
	x.len = 1;
	assert_int_equal(next(&x), FRAME_MESSAGE);
	assert_int_equal(x.msg_len, 0);
}

static void
reset_forgets_an_unfinished_message(void **state)
{
	uint8_t in[] = "\0\5he", other[] = "\0\3abc";
	struct fixture x;

	(void)state;
	begin(&x, in, 4);
	assert_int_equal(next(&x), FRAME_MORE);
	frame_reset(&x.f);
	x.in = other;
	x.len = 5;
	expect_message(&x, "abc");
}

static void
a_message_may_be_written_to_until_the_next_call(void **state)
{
	uint8_t in[] = "\0\5hello\0\5hello";
	struct fixture x;

	(void)state;
	begin(&x, in, 9);
	assert_int_equal(next(&x), FRAME_MESSAGE);
	memset(x.msg, 'x', x.msg_len);
	assert_int_equal(next(&x), FRAME_MORE);
	x.len = 5;
	expect_message(&x, "hello");
	memset(x.msg, 'x', x.msg_len);
	x.in = in + 7;
	x.len = 7;
	expect_message(&x, "hello");
}

/* ---- However a stream is cut ------------------------------------------------------------------ */

static uint32_t seed;

static uint32_t
chance(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* Feeds the stream in pieces of at most most octets (0 = all at once); every message goes to out with
 * its length in front.  Returns how many octets that were; *last is how it ended. */
static size_t
feed(uint8_t *out, const uint8_t *stream, size_t len, uint32_t most, enum frame_result *last)
{
	struct fixture x;
	size_t got = 0;

	begin(&x, NULL, 0);
	*last = FRAME_MORE;
	for (size_t at = 0, n; at < len && *last != FRAME_BAD; at += n) {
		uint8_t *piece;

		n = most == 0 ? len : 1 + chance(most);
		if (n > len - at)
			n = len - at;
		x.in = piece = malloc(n); /* of its own, so that a read outside is seen */
		x.len = n;
		assert_non_null(piece);
		memcpy(piece, stream + at, n);
		while ((*last = next(&x)) == FRAME_MESSAGE) {
			put16(out + got, (uint16_t)x.msg_len);
			memcpy(out + got + 2, x.msg, x.msg_len);
			got += 2 + x.msg_len;
		}
		free(piece);
	}
	return got;
}

static size_t
make_stream(uint8_t *out)
{
	size_t len = 0;

	for (uint32_t n = chance(20); n > 0; n--) {
		size_t size = chance(50) == 0 ? chance(150) : 3 + chance(MAX - 2);

		put16(out + len, (uint16_t)size);
		for (size_t i = 0; i < size; i++)
			out[len + 2 + i] = (uint8_t)chance(256);
		len += 2 + size;
	}
	return len - (len != 0 ? chance(3) : 0);
}

static void
the_same_messages_come_out_however_a_stream_is_cut(void **state)
{
	static const uint32_t pieces[] = {1, 2, 3, 7, 40, 150, 700};
	static uint8_t stream[4096], whole[4096], cut[4096];
	enum frame_result last, cut_last;
	unsigned bad = 0;

	(void)state;
	seed = 20240607;
	for (int round = 0; round < 3000; round++) {
		size_t len = make_stream(stream), n = feed(whole, stream, len, 0, &last);

		assert_memory_equal(whole, stream, n);
		bad += last == FRAME_BAD;
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			assert_int_equal(feed(cut, stream, len, pieces[i], &cut_last), n);
			assert_int_equal(cut_last, last);
			assert_memory_equal(cut, whole, n);
		}
	}
	assert_in_range(bad, 100, 2000); /* both ends were seen */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_message_is_given_where_it_lies),
		cmocka_unit_test(messages_that_come_together_are_given_one_by_one),
		cmocka_unit_test(a_message_in_two_pieces_is_put_together),
		cmocka_unit_test(a_length_below_the_least_is_bad),
		cmocka_unit_test(a_length_above_the_largest_is_bad_before_its_octets_come),
		cmocka_unit_test(a_bad_length_in_two_pieces_is_bad),
		cmocka_unit_test(good_messages_before_a_bad_length_are_given),
		cmocka_unit_test(the_largest_and_the_least_length_are_taken),
		cmocka_unit_test(an_empty_message_is_given_when_allowed),
		cmocka_unit_test(reset_forgets_an_unfinished_message),
		cmocka_unit_test(a_message_may_be_written_to_until_the_next_call),
		cmocka_unit_test(the_same_messages_come_out_however_a_stream_is_cut),
	};

	return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
