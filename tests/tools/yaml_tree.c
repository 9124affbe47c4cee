/* SPDX-License-Identifier: MIT */
/* Prints the tree our YAML reader sees, for comparison with a full reader.
 *
 * Reads documents from standard input, each as four octets of big-endian length and the text.
 * Writes one line of JSON for each: {"tree": ...} or {"line": l, "column": c, "error": "..."}. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "yaml.h"

static struct yaml y;

static void
print_string(const char *s)
{
	putchar('"');
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			printf("\\u%04x", (unsigned)*s);
		else
			putchar(*s);
	}
	putchar('"');
}

static void
print_node(size_t node)
{
	bool is_map = y.node[node].kind == YAML_MAP;

	if (!is_map && y.node[node].kind != YAML_LIST) {
		print_string(yaml_text(&y, node));
		return;
	}
	putchar(is_map ? '{' : '[');
	for (size_t i = y.node[node].first; i != 0; i = y.node[i].next) {
		if (is_map) {
			print_string(yaml_key(&y, i));
			printf(": ");
		}
		print_node(i);
		if (y.node[i].next != 0)
			printf(", ");
	}
	putchar(is_map ? '}' : ']');
}

static void
print_document(const char *text, size_t len)
{
	if (yaml_read(&y, text, len) == 0) {
		printf("{\"tree\": ");
		print_node(0);
	} else {
		printf("{\"line\": %u, \"column\": %u, \"error\": ", (unsigned)y.at.line,
		       (unsigned)y.at.column);
		print_string(y.error);
	}
	puts("}");
}

int
main(void)
{
	uint8_t head[4];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		size_t len = get32(head);
		/* Exactly as long as the text, so that a sanitizer sees every octet too far. */
		char *text = malloc(len > 0 ? len : 1);

		if (text == NULL || fread(text, 1, len, stdin) != len)
			return 1;
		print_document(text, len);
		free(text);
	}
	return 0;
}
