/* SPDX-License-Identifier: MIT */
/* Lines of text from parts, as snprintf() makes them, in a tenth of its size and without its
 * floating point, which small routers' processors do not have; and looking for characters in texts
 * as short as ours, in a tenth of the room of the C library's functions for long ones. */
#ifndef DNPROXY_TEXT_H
#define DNPROXY_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Writes at most cap octets to out, the final NUL included; cap > 0.  Knows %s %c %d %u %x and %%,
 * the lengths l, ll and z, the flags - and 0, a width, and a precision (of %s: octets at most), either
 * as digits or as *.  Anything else ends the text there.  Returns the length the whole text has,
 * without the NUL: cap or more means that it was cut. */
int text_make(char *out, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int text_make_v(char *out, size_t cap, const char *fmt, va_list ap);

/* Whether c is one of the characters of set; a NUL is none. */
bool text_has(const char *set, char c);

/* How long the text is before the first character of stops, or as a whole. */
size_t text_until(const char *text, const char *stops);

/* What a hexadecimal digit stands for, large or small; -1 = c is none. */
int text_hex(char c);

/* What stands behind the last c, or the whole text. */
const char *text_behind(const char *text, char c);

/* Whether the text begins with this. */
bool text_begins(const char *text, const char *with);

/* What an errno means, in a few words ("connection refused"); "error 113" for those that
 * have no words here, valid until the next call.
 * The C library's table has every error there is, and takes four times the room. */
const char *text_error(int error);

#endif
