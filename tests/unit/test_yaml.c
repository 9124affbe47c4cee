/* SPDX-License-Identifier: MIT */
/* What is read, refused and said; tests/e2e/test_yaml_subset.py compares with a full reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "yaml.h"

static struct yaml y;

/* Reads an exact copy, so that a sanitizer sees every octet too far. */
static int
read_octets(const char *text, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);
	int result;

	assert_non_null(copy);
	memcpy(copy, text, len);
	result = yaml_read(&y, copy, len);
	free(copy);
	return result;
}

static void
assert_read(const char *text)
{
	if (read_octets(text, strlen(text)) == -1)
		fail_msg("%u:%u: %s", (unsigned)y.at.line, (unsigned)y.at.column, y.error);
}

static void
assert_refused(const char *text, uint32_t line, uint32_t column, const char *words)
{
	assert_int_equal(read_octets(text, strlen(text)), -1);
	if (y.at.line != line || y.at.column != column || strstr(y.error, words) == NULL)
		fail_msg("%s: %u:%u: %s", text, (unsigned)y.at.line, (unsigned)y.at.column, y.error);
}

/* Finds a node by its keys, "a.b"; "#2" is the second entry of a list. */
static size_t
find(const char *path)
{
	char copy[128];
	size_t node = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	for (char *part = strtok(copy, "."); part != NULL; part = strtok(NULL, ".")) {
		if (part[0] == '#') {
			long n = strtol(part + 1, NULL, 10);

			for (node = y.node[node].first; --n > 0;)
				node = y.node[node].next;
		} else {
			node = yaml_child(&y, node, part);
		}
		if (node == 0)
			fail_msg("%s is not there", path);
	}
	return node;
}

static void
assert_scalar(const char *path, const char *text)
{
	size_t node = find(path);

	assert_int_equal(y.node[node].kind, YAML_SCALAR);
	assert_string_equal(yaml_text(&y, node), text);
}

static size_t
children(const char *path)
{
	size_t n = 0;

	for (size_t i = y.node[find(path)].first; i != 0; i = y.node[i].next)
		n++;
	return n;
}

static void
an_empty_file_is_an_empty_root(void **state)
{
	static const char *const files[] = {"", "\n\n", "# c", "---", "\xef\xbb\xbf", "  \r\n---  # c\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		assert_read(files[i]);
		assert_int_equal(y.node[0].kind, YAML_EMPTY);
		assert_int_equal(y.nodes, 1);
	}
}

static void
mappings_lists_and_scalars_make_a_tree(void **state)
{
	(void)state;
	assert_read("a:\n  b: c\n  d:\n  - e\n  - f: g\n    h: [i, 'j', \"k\"]\n  l:\nm: n o  # p\n");
	assert_int_equal(y.node[0].kind, YAML_MAP);
	assert_int_equal(children(""), 2);
	assert_scalar("a.b", "c");
	assert_int_equal(y.node[find("a.d")].kind, YAML_LIST);
	assert_int_equal(children("a.d"), 2);
	assert_scalar("a.d.#1", "e");
	assert_scalar("a.d.#2.f", "g");
	assert_int_equal(children("a.d.#2.h"), 3);
	assert_scalar("a.d.#2.h.#3", "k");
	assert_int_equal(y.node[find("a.l")].kind, YAML_EMPTY);
	assert_string_equal(yaml_text(&y, find("a.l")), "");
	assert_scalar("m", "n o");
	assert_int_equal(yaml_child(&y, 0, "z"), 0);
}

static void
a_list_may_stand_in_the_column_of_its_key(void **state)
{
	(void)state;
	assert_read("a:\n- b\n- c: d\n  e:\n  - f\n  g: h\ni: j\n");
	assert_int_equal(children("a"), 2);
	assert_scalar("a.#2.e.#1", "f");
	assert_scalar("a.#2.g", "h");
	assert_scalar("i", "j");
}

static void
empty_and_quoted_empty_are_told_apart(void **state)
{
	(void)state;
	assert_read("a:\nb: ''\nc: [\"\"]\n");
	assert_int_equal(y.node[find("a")].kind, YAML_EMPTY);
	assert_scalar("b", "");
	assert_scalar("c.#1", "");
}

static void
quotes_and_escapes_are_undone(void **state)
{
	(void)state;
	assert_read(
		"a: 'it''s \\n'\n\"b\\x20c\": \"\\\\ \\\" \\/ \\t \\u00e9\\U0001F600\\ x\"\n'd: e' : '#f'\n");
	assert_scalar("a", "it's \\n");
	assert_scalar("b c", "\\ \" / \t \xc3\xa9\xf0\x9f\x98\x80 x");
	assert_scalar("d: e", "#f");
}

static void
marks_count_lines_and_characters_from_one(void **state)
{
	(void)state;
	assert_read("\xef\xbb\xbf"
		    "a: b\r\n\r\n'gr\xc3\xbc\xc3\x9f':   c\r\nd:\r\n  - e\r\n");
	assert_int_equal(y.node[find("a")].key_at.column, 1);
	assert_int_equal(y.node[find("a")].at.column, 4);
	assert_int_equal(y.node[find("gr\xc3\xbc\xc3\x9f")].at.line, 3);
	assert_int_equal(y.node[find("gr\xc3\xbc\xc3\x9f")].at.column, 11);
	assert_int_equal(y.node[find("d")].key_at.line, 4);
	assert_int_equal(y.node[find("d")].at.line, 5);
	assert_int_equal(y.node[find("d.#1")].at.column, 5);
}

static void
paths_are_keys_with_dots_and_without_lists(void **state)
{
	char path[YAML_PATH_MAX];

	(void)state;
	assert_read("up:\n- a: 1\n- b: [x]\n");
	assert_string_equal(yaml_path(path, &y, 0), "");
	assert_string_equal(yaml_path(path, &y, find("up.#2.b")), "up.b");
	assert_string_equal(yaml_path(path, &y, find("up.#2.b.#1")), "up.b");
}

static void
a_long_path_is_cut(void **state)
{
	char file[1024], path[YAML_PATH_MAX];
	int used = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		used += snprintf(file + used, sizeof(file) - (size_t)used, "%*s%0100d:\n", i, "", 7);
	assert_read(file);
	assert_int_equal(strlen(yaml_path(path, &y, y.nodes - 1)), YAML_PATH_MAX - 1);
}

static void
what_is_not_supported_is_refused_with_place_and_remedy(void **state)
{
	static const struct {
		const char *text;
		uint32_t line, column;
		const char *words;
	} rows[] = {
		{"\ta: b", 1, 1, "tab"},
		{"a:\n \tb: c", 2, 2, "tab"},
		{"a: \tb", 1, 4, "tab"},
		{"a: &b c", 1, 4, "anchors"},
		{"a: *b", 1, 4, "aliases"},
		{"a: !b c", 1, 4, "tags"},
		{"a: |\n b", 1, 4, "several lines"},
		{"a: >\n b", 1, 4, "several lines"},
		{"a: 'b\n  c'", 1, 4, "not closed"},
		{"a: \"b\\\n  c\"", 1, 6, "escape"},
		{"a: b\n c", 2, 2, "a value ends on its line"},
		{"a: {b: c}", 1, 4, "{...}"},
		{"a: [b, [c]]", 1, 8, "[...]"},
		{"a: [b,\nc]", 1, 4, "not closed"},
		{"? a", 1, 1, "\"? \""},
		{"<<: a", 1, 1, "merge"},
		{"---\na: b\n---\n", 3, 1, "second document"},
		{"a: b\n...\n", 2, 1, "end marker"},
		{"%YAML 1.2", 1, 1, "directives"},
		{"a: 1\nb: 2\na: 3", 3, 1, "a: given twice; the first one is on line 1"},
		{"a:\n  b: 1\n  \"\\x62\": 2", 3, 3, "a.b: given twice; the first one is on line 2"},
		{"a: 2a09::", 1, 9, "quotes"},
		{"a: ::", 1, 5, "quotes"},
		{"a: [::1]", 1, 5, "quotes"},
		{"a: b: c", 1, 5, "quotes"},
		{"a: 'b'c", 1, 7, "quotes"},
		{"a: 'b'#c", 1, 7, "space"},
		{": a", 1, 1, "colon"},
		{"a", 1, 1, "key: value"},
		{"a:b", 1, 1, "key: value"},
		{"a: - b", 1, 4, "list"},
		{"a: \"\\q\"", 1, 5, "escape"},
		{"a: \"\\x4\"", 1, 5, "hexadecimal"},
		{"a: \"\\u000a\"", 1, 5, "printable"},
		{"a: \"\\U00110000\"", 1, 5, "printable"},
		{"a: \"\\", 1, 5, "escape"},
		{"a: \"", 1, 4, "not closed"},
		{"a: '", 1, 4, "not closed"},
		{"a: ''", 0, 0, NULL},
		{"a: '''", 1, 4, "not closed"},
		{"a: \xff", 1, 4, "UTF-8"},
		{"a: \xc3", 1, 4, "UTF-8"},
		{"a: \xed\xa0\x80", 1, 4, "UTF-8"},
		{"a: \xf4\x90\x80\x80", 1, 4, "UTF-8"},
		{"# \x07", 1, 3, "U+0007"},
		{"a: b\rc: d", 1, 5, "carriage return"},
		{"a: b\r", 1, 5, "carriage return"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].words == NULL)
			assert_read(rows[i].text);
		else
			assert_refused(rows[i].text, rows[i].line, rows[i].column, rows[i].words);
	}
}

static void
a_nul_is_a_character_and_not_the_end(void **state)
{
	static const char text[] = "a: b\0\nc: d\n";

	(void)state;
	assert_int_equal(read_octets(text, sizeof(text) - 1), -1);
	assert_int_equal(y.at.column, 5);
}

static void
every_cut_of_a_file_is_read_or_refused(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf---\r\na:\r\n- b: \"c\\u00e9\"\r\n  'd''': [e, 'f', \xc3\xa9] # g\r\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		if (read_octets(text, len) == -1)
			assert_true(y.at.line >= 1 && y.at.line <= 4 && y.error[0] != '\0');
	}
	assert_read(text);
}

static void
depth_has_a_bound(void **state)
{
	char file[512];
	int used = 0;

	(void)state;
	for (unsigned i = 0; i < YAML_DEPTH_MAX; i++)
		used += snprintf(file + used, sizeof(file) - (size_t)used, "%*sa:\n", (int)i, "");
	assert_read(file);
	snprintf(file + used, sizeof(file) - (size_t)used, "%*sa:\n", (int)YAML_DEPTH_MAX, "");
	assert_refused(file, YAML_DEPTH_MAX + 1, YAML_DEPTH_MAX + 1, "levels");
	assert_refused("- - - - - - - - - a", 1, 17, "levels");
}

static void
the_number_of_values_has_a_bound(void **state)
{
	static char file[YAML_NODES_MAX * 2 + 8];
	size_t used = 0;

	(void)state;
	for (unsigned i = 1; i < YAML_NODES_MAX; i++) {
		file[used++] = '-';
		file[used++] = '\n';
	}
	assert_int_equal(read_octets(file, used), 0);
	assert_int_equal(y.nodes, YAML_NODES_MAX);
	file[used++] = '-';
	assert_int_equal(read_octets(file, used), -1);
	assert_non_null(strstr(y.error, "more than 1024 values"));
	assert_int_equal(y.at.line, YAML_NODES_MAX);
}

static void
the_length_of_all_text_has_a_bound(void **state)
{
	static char file[YAML_TEXT_MAX + 8] = "- ";

	(void)state;
	/* One octet is the empty text all share, one the final NUL. */
	memset(file + 2, 'x', sizeof(file) - 2);
	assert_int_equal(read_octets(file, 2 + YAML_TEXT_MAX - 2), 0);
	assert_int_equal(y.used, YAML_TEXT_MAX);
	assert_int_equal(read_octets(file, 2 + YAML_TEXT_MAX - 1), -1);
	assert_non_null(strstr(y.error, "more than 32768 octets"));
}

static void
the_length_of_a_key_has_a_bound(void **state)
{
	char file[YAML_KEY_MAX + 8];

	(void)state;
	memset(file, 'k', sizeof(file));
	memcpy(file + YAML_KEY_MAX, ": v", 4);
	assert_read(file);
	memset(file, 'k', sizeof(file));
	memcpy(file + YAML_KEY_MAX + 1, ": v", 4);
	assert_refused(file, 1, 1, "more than 256 octets");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_is_an_empty_root),
		cmocka_unit_test(mappings_lists_and_scalars_make_a_tree),
		cmocka_unit_test(a_list_may_stand_in_the_column_of_its_key),
		cmocka_unit_test(empty_and_quoted_empty_are_told_apart),
		cmocka_unit_test(quotes_and_escapes_are_undone),
		cmocka_unit_test(marks_count_lines_and_characters_from_one),
		cmocka_unit_test(paths_are_keys_with_dots_and_without_lists),
		cmocka_unit_test(a_long_path_is_cut),
		cmocka_unit_test(what_is_not_supported_is_refused_with_place_and_remedy),
		cmocka_unit_test(a_nul_is_a_character_and_not_the_end),
		cmocka_unit_test(every_cut_of_a_file_is_read_or_refused),
		cmocka_unit_test(depth_has_a_bound),
		cmocka_unit_test(the_number_of_values_has_a_bound),
		cmocka_unit_test(the_length_of_all_text_has_a_bound),
		cmocka_unit_test(the_length_of_a_key_has_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
