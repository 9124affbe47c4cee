/* SPDX-License-Identifier: MIT */
/* A careful part of YAML: text in, a tree in fixed arrays out.  Knows nothing of dnproxy; pure, no
 * allocation, no I/O.
 *
 * Read are block mappings, block lists (also at the column of their key), inline lists of scalars
 * on one line, plain, 'single' and "double" quoted scalars on one line, comments, blank lines, one
 * leading "---", LF or CRLF, a UTF-8 byte order mark, and a file without a final newline.  What
 * YAML has beyond that (tabs outside quotes, anchors, aliases, tags, text over several lines,
 * {...}, "? " keys, merge keys, directives, more documents), and a key given twice, is refused.
 *
 * The promise: for every text that is accepted, a full YAML reader that takes all scalars as text
 * sees the same tree, and no text is accepted that such a reader (PyYAML) refuses. */
#ifndef DNPROXY_YAML_H
#define DNPROXY_YAML_H

#include <stddef.h>
#include <stdint.h>

#define YAML_NODES_MAX 1024u /* values, lists and mappings of a file; offsets fit in 16 bits */
#define YAML_TEXT_MAX 32768u /* keys and scalars together, without comments */
#define YAML_DEPTH_MAX 8u    /* collections inside each other; settings need four */
#define YAML_KEY_MAX 256u    /* octets up to the colon; YAML itself allows 1,024 characters */
#define YAML_PATH_MAX 128u   /* a path for people; a longer one is cut */
#define YAML_ERROR_MAX 256u

enum yaml_kind {
	YAML_EMPTY, /* a key or a "-" with nothing behind it; also an empty file */
	YAML_SCALAR,
	YAML_LIST,
	YAML_MAP
};

/* Both count from 1; columns count characters, not octets. */
struct yaml_mark {
	uint32_t line, column;
};

/* Nodes name each other by index; 0 is the root, which is nobody's child, so it says "none". */
struct yaml_node {
	enum yaml_kind kind;
	uint16_t parent, first, last, next; /* first and last child, next child of the same parent */
	uint16_t key;			    /* in a mapping: where its key begins in text[] */
	uint16_t text;			    /* of a scalar: where it begins in text[] */
	struct yaml_mark key_at;	    /* where the key begins (in a list: the "-" or the value) */
	struct yaml_mark at;		    /* where the value begins; EMPTY: as key_at */
};

struct yaml {
	size_t nodes, used;
	struct yaml_node node[YAML_NODES_MAX];
	char text[YAML_TEXT_MAX]; /* each text ends in NUL; only printable UTF-8 and tabs */
	struct yaml_mark at;	  /* where the error is */
	char error[YAML_ERROR_MAX];
};

/* Reads text[0..len), which need not end in NUL, into *y.  Returns 0; the root is a mapping, a list
 * or EMPTY.  Or -1, with y->at and y->error saying in one line what is wrong and what to write
 * instead; the tree must not be used then. */
int yaml_read(struct yaml *y, const char *text, size_t len);

/* The text of a scalar ("" for EMPTY), and the key of a node in a mapping ("" for others). */
const char *yaml_text(const struct yaml *y, size_t node);
const char *yaml_key(const struct yaml *y, size_t node);

/* The child of a mapping with this key, or 0. */
size_t yaml_child(const struct yaml *y, size_t node, const char *key);

/* Writes the keys that lead to a node, "upstream.port"; levels of lists are left out.  Returns out. */
char *yaml_path(char out[YAML_PATH_MAX], const struct yaml *y, size_t node);

#endif
