/* SPDX-License-Identifier: MIT */
/* One key of the settings: a row of a table that says where its field lies, of what type and range
 * it is, and what it is by default; its value from text, and to text.  Which keys there are, and
 * where text comes from, is config.c's.  Pure: no I/O, no allocation. */
#ifndef DNPROXY_KEY_H
#define DNPROXY_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bounds.h"
#include "yaml.h"

/* What a YAML reader might take for something else is printed in quotes: all but the first two. */
enum key_type {
	KEY_NUMBER,   /* uint16_t or uint32_t */
	KEY_WORD,     /* uint8_t or bool: which of the words */
	KEY_PATH,     /* char[] without control characters; may be empty */
	KEY_HOSTNAME, /* char[], a DNS name without its last dot; may be empty */
	KEY_SERVER,   /* struct addr of a server; its port is a key of its own, and stays */
	KEY_ADDRESS,  /* struct addr to listen on, likewise */
	KEY_PREFIX,   /* struct prefix */
	KEY_PIN	      /* struct pin */
};

/* Rows of one section stand together; the part of the name before the dot is the section.  A
 * section lies either in one struct (struct config) or, each, in every struct of a list. */
struct key {
	const char *name;
	const char *env;   /* overrides it; NULL = none */
	const char *text;  /* of a word: all there are, with | between; of a number: unused; else the
			      * default, of a list with ", " between its entries; a list whose default is
			      * empty may be empty */
	const char *help;  /* one line */
	uint16_t at, size; /* octets from the begin of the struct to its value, or first; of a value */
	uint16_t count;	   /* of a list: where its length (size_t) lies; 0 = a single value */
	uint32_t min, max; /* of a number; of a list: most entries */
	uint32_t number;   /* default of a number, or which word is the default */
	uint8_t type;	   /* enum key_type */
	bool each;
	bool must; /* every struct of the list in a file has it */
};

/* Where a value comes from, for messages.  Without a file it is the environment, and key the
 * variable. */
struct place {
	const char *file;
	struct yaml_mark at;
	const char *key; /* "" = the file as a whole */
	char *err;	 /* CONFIG_ERROR_MAX octets */
};

/* The longest value that is shown: a path, a hostname, an address; with its NUL. */
#define KEY_TEXT_MAX 256u

/* Writes "file:line:column: key: message" into p->err and returns -1.  The message is one line
 * whatever is printed into it: control characters become '?'. */
int key_fail(const struct place *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* In all of these base is the struct the key's field lies in.  Those that return int return 0, or
 * -1 with the reason in p->err. */

/* Sets the field to its default. */
void key_preset(const struct key *k, void *base);

/* Sets the field from one scalar; of a list, appends one entry, which must not be there yet. */
int key_put(const struct key *k, void *base, const char *text, const struct place *p);

/* Empties a list; does nothing to other fields. */
void key_clear(const struct key *k, void *base);

/* Sets the whole field from text; that of a list holds entries with commas or spaces between. */
int key_read(const struct key *k, void *base, const char *text, const struct place *p);

/* How many values the field has: those of a list, else 1. */
size_t key_count(const struct key *k, const void *base);

/* Writes the i-th value as key_put() reads it. */
void key_show(const struct key *k, const void *base, size_t i, char out[KEY_TEXT_MAX]);

#endif
