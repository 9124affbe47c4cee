/* SPDX-License-Identifier: MIT */
/* Lines of text from parts, as snprintf() makes them, in a tenth of its size and without its
 * floating point, which small routers' processors do not have. */
#ifndef DNPROXY_TEXT_H
#define DNPROXY_TEXT_H

#include <stdarg.h>
#include <stddef.h>

/* Writes at most cap octets to out, the final NUL included; cap > 0.  Knows %s %c %d %u %x and %%,
 * the lengths l, ll and z, the flags - and 0, a width, and a precision (of %s: octets at most), either
 * as digits or as *.  Anything else ends the text there.  Returns the length the whole text has,
 * without the NUL: cap or more means that it was cut. */
int text_make(char *out, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int text_make_v(char *out, size_t cap, const char *fmt, va_list ap);

/* What an errno means, in a few words ("connection refused"); "error 113" for those that
 * have no words here, valid until the next call.
 * The C library's table has every error there is, and takes four times the room. */
const char *text_error(int error);

#endif
