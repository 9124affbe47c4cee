/* SPDX-License-Identifier: MIT */
/* Any octets are read as a tree in which every link is right, or refused with a place and words. */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
check_text(const struct yaml *y, size_t at)
{
	assert(at < y->used && memchr(y->text + at, '\0', y->used - at) != NULL);
	for (const char *s = y->text + at; *s != '\0'; s++)
		assert((unsigned char)*s >= 0x20 || *s == '\t');
}

static void
check_children(const struct yaml *y, size_t node)
{
	size_t last = 0;

	for (size_t i = y->node[node].first; i != 0; i = y->node[i].next) {
		assert(i > node && i > last && i < y->nodes && y->node[i].parent == node);
		last = i;
		if (y->node[node].kind == YAML_MAP)
			assert(yaml_child(y, node, yaml_key(y, i)) == i);
		else
			assert(y->node[node].kind == YAML_LIST && y->node[i].key == 0);
	}
	assert(y->node[node].last == last);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct yaml y;
	char path[YAML_PATH_MAX];

	if (yaml_read(&y, (const char *)data, len) == -1) {
		assert(y.at.line >= 1 && y.at.column >= 1 && y.at.column <= len + 1);
		assert(y.error[0] != '\0' && strchr(y.error, '\n') == NULL);
		return 0;
	}
	assert(y.nodes >= 1 && y.nodes <= YAML_NODES_MAX && y.used <= YAML_TEXT_MAX);
	assert(y.node[0].kind != YAML_SCALAR && y.node[0].next == 0);
	for (size_t i = 0; i < y.nodes; i++) {
		check_text(&y, y.node[i].key);
		check_text(&y, y.node[i].text);
		check_children(&y, i);
		assert(strlen(yaml_path(path, &y, i)) < YAML_PATH_MAX);
	}
	return 0;
}
