/* SPDX-License-Identifier: MIT */
/* Standard error is a pipe while these run; what comes out of it is what the log wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include <cmocka.h>

#include "bounds.h"
#include "log.h"

static int stderr_before, pipe_fd[2];
static char got[65536];
static uint64_t now = 1;

/* What was written since the last call. */
static const char *
written(void)
{
	ssize_t n = read(pipe_fd[0], got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = '\0';
	return got;
}

static int
redirect(void **state)
{
	(void)state;
	stderr_before = dup(STDERR_FILENO);
	if (pipe(pipe_fd) == -1 || dup2(pipe_fd[1], STDERR_FILENO) == -1)
		return -1;
	return fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
}

static int
restore(void **state)
{
	(void)state;
	dup2(stderr_before, STDERR_FILENO);
	close(stderr_before);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	return 0;
}

/* A time at which nothing of an earlier test is remembered. */
static int
start(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_DEBUG);
	now += 10 * LOG_REPEAT_MS;
	log_tick(now);
	written();
	return 0;
}

static void
a_line_has_program_level_and_text(void **state)
{
	(void)state;
	log_error("number %d", 1);
	assert_string_equal(written(), "dnproxy: error: number 1\n");
	log_warn("%s", "two");
	assert_string_equal(written(), "dnproxy: warn: two\n");
	log_info("three");
	assert_string_equal(written(), "dnproxy: info: three\n");
	log_debug("%s %u", "four", 4u);
	assert_string_equal(written(), "dnproxy: debug: four 4\n");
}

static void
what_is_above_the_level_is_not_written(void **state)
{
	static const char *const text[] = {
		"dnproxy: error: e\n",
		"dnproxy: error: e\ndnproxy: warn: w\n",
		"dnproxy: error: e\ndnproxy: warn: w\ndnproxy: info: i\n",
		"dnproxy: error: e\ndnproxy: warn: w\ndnproxy: info: i\ndnproxy: debug: d\n",
	};

	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		start(NULL);
		log_set_level((enum log_level)level);
		assert_int_equal(log_get_level(), level);
		log_error("e");
		log_warn("w");
		log_info("i");
		log_debug("d");
		assert_string_equal(written(), text[level]);
	}
}

static void
words_of_the_levels_are_in_order(void **state)
{
	(void)state;
	assert_string_equal(log_words[LOG_LEVEL_ERROR], "error");
	assert_string_equal(log_words[LOG_LEVEL_WARN], "warn");
	assert_string_equal(log_words[LOG_LEVEL_INFO], "info");
	assert_string_equal(log_words[LOG_LEVEL_DEBUG], "debug");
	assert_null(log_words[LOG_LEVEL_DEBUG + 1]);
}

static void
control_octets_never_come_out(void **state)
{
	char text[256], expected[300] = "dnproxy: warn: ";
	size_t n = 0;

	(void)state;
	for (int c = 1; c < 256; c++)
		text[n++] = (char)c;
	text[n] = '\0';
	for (size_t i = 0, at = strlen(expected); i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		expected[at++] = (char)(c >= ' ' && c <= '~' ? c : '?');
		expected[at] = '\n';
	}
	log_warn("%s", text);
	assert_string_equal(written(), expected);
	log_query("a%sb", "\x1b[2J\n\r");
	assert_string_equal(written(), "dnproxy: query: a?[2J??b\n");
}

static void
a_long_line_is_cut_and_ends(void **state)
{
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t len = LOG_LINE_MAX - 40; len < sizeof(text); len += len < LOG_LINE_MAX + 40 ? 1 : 500) {
		const char *line;

		now += 2 * LOG_REPEAT_MS;
		log_tick(now);
		written();
		log_warn("%s", text + sizeof(text) - 1 - len);
		line = written();
		assert_true(strlen(line) <= LOG_LINE_MAX + 32);
		assert_int_equal(strchr(line, '\n') - line, (ptrdiff_t)strlen(line) - 1);
		assert_true(strlen(line) >= LOG_LINE_MAX - 40);
	}
}

static void
a_repeated_line_is_counted_and_summarised(void **state)
{
	(void)state;
	for (int i = 0; i < 313; i++)
		log_warn("upstream %s", "is down");
	assert_string_equal(written(), "dnproxy: warn: upstream is down\n");
	assert_true(log_deadline() == now + LOG_REPEAT_MS);
	log_tick(now + LOG_REPEAT_MS - 1);
	assert_string_equal(written(), "");
	log_tick(now + LOG_REPEAT_MS);
	assert_string_equal(written(), "dnproxy: warn: upstream is down ... and 312 more\n");
	assert_true(log_deadline() == UINT64_MAX);
	now += LOG_REPEAT_MS;
}

static void
another_line_ends_the_summary(void **state)
{
	(void)state;
	log_warn("one");
	log_warn("one");
	log_warn("one");
	log_warn("two");
	assert_string_equal(written(),
			    "dnproxy: warn: one\ndnproxy: warn: one ... and 2 more\ndnproxy: warn: two\n");
	assert_true(log_deadline() == UINT64_MAX);
}

static void
levels_are_summarised_apart(void **state)
{
	(void)state;
	log_warn("same");
	log_info("same");
	log_warn("same");
	log_info("same");
	assert_string_equal(written(), "dnproxy: warn: same\ndnproxy: info: same\n");
	now += LOG_REPEAT_MS;
	log_tick(now);
	assert_string_equal(written(),
			    "dnproxy: warn: same ... and 1 more\ndnproxy: info: same ... and 1 more\n");
}

static void
a_line_once_has_no_summary(void **state)
{
	(void)state;
	log_warn("once");
	written();
	assert_true(log_deadline() == UINT64_MAX);
	now += LOG_REPEAT_MS;
	log_tick(now);
	assert_string_equal(written(), "");
	log_warn("once");
	assert_string_equal(written(), "dnproxy: warn: once\n");
}

/* A line that never stops is summed up again and again, not once at its end. */
static void
an_endless_line_is_summed_up_each_time(void **state)
{
	unsigned lines = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		log_warn("again");
		now += 100;
		log_tick(now);
	}
	for (const char *p = written(); (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_in_range(lines, 15, 25);
}

static void
the_query_log_repeats_itself_at_any_level(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	log_query("%s", "same");
	log_query("%s", "same");
	assert_string_equal(written(), "dnproxy: query: same\ndnproxy: query: same\n");
}

static void
lines_below_the_level_are_not_remembered(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_WARN);
	log_info("quiet");
	log_info("quiet");
	assert_true(log_deadline() == UINT64_MAX);
	log_set_level(LOG_LEVEL_INFO);
	log_info("quiet");
	assert_string_equal(written(), "dnproxy: info: quiet\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_line_has_program_level_and_text, start),
		cmocka_unit_test_setup(what_is_above_the_level_is_not_written, start),
		cmocka_unit_test_setup(words_of_the_levels_are_in_order, start),
		cmocka_unit_test_setup(control_octets_never_come_out, start),
		cmocka_unit_test_setup(a_long_line_is_cut_and_ends, start),
		cmocka_unit_test_setup(a_repeated_line_is_counted_and_summarised, start),
		cmocka_unit_test_setup(another_line_ends_the_summary, start),
		cmocka_unit_test_setup(levels_are_summarised_apart, start),
		cmocka_unit_test_setup(a_line_once_has_no_summary, start),
		cmocka_unit_test_setup(an_endless_line_is_summed_up_each_time, start),
		cmocka_unit_test_setup(the_query_log_repeats_itself_at_any_level, start),
		cmocka_unit_test_setup(lines_below_the_level_are_not_remembered, start),
	};

	return cmocka_run_group_tests_name("log", tests, redirect, restore);
}
