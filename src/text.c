/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

struct output {
	char *at;
	size_t left; /* without the NUL */
	int whole;   /* length of the whole text so far */
};

/* What stands between '%' and the letter. */
struct form {
	bool left, zero;
	int width, precision; /* precision -1 = none */
	enum { LEN_INT, LEN_LONG, LEN_LONG_LONG, LEN_SIZE } length;
};

static void
put(struct output *o, const char *s, size_t n)
{
	size_t fits = n < o->left ? n : o->left;

	memcpy(o->at, s, fits);
	o->at += fits;
	o->left -= fits;
	o->whole += (int)n;
}

static void
fill(struct output *o, char c, int n)
{
	while (n-- > 0)
		put(o, &c, 1);
}

static void
put_padded(struct output *o, const struct form *f, const char *s, size_t n)
{
	int pad = f->width - (int)n;

	if (!f->left)
		fill(o, ' ', pad);
	put(o, s, n);
	if (f->left)
		fill(o, ' ', pad);
}

static void
put_number(struct output *o, const struct form *f, uint64_t v, bool negative, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits);
	size_t least = f->zero && !f->left ? (size_t)(f->width > 20 ? 20 : f->width) : 0;

	do {
		digits[--at] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	while (sizeof(digits) - at + negative < least)
		digits[--at] = '0';
	if (negative)
		digits[--at] = '-';
	put_padded(o, f, digits + at, sizeof(digits) - at);
}

static const char *
read_number(const char *p, int *n)
{
	for (*n = 0; *p >= '0' && *p <= '9' && *n < 10000; p++)
		*n = *n * 10 + (*p - '0');
	return p;
}

static const char *
read_length(const char *p, struct form *f)
{
	f->length = LEN_INT;
	if (*p == 'z') {
		f->length = LEN_SIZE;
		return p + 1;
	}
	if (p[0] == 'l' && p[1] == 'l') {
		f->length = LEN_LONG_LONG;
		return p + 2;
	}
	if (*p == 'l') {
		f->length = LEN_LONG;
		return p + 1;
	}
	return p;
}

static uint64_t
magnitude(long long v)
{
	return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

/* A va_list may be an array, which a function cannot be given a pointer to: hence a struct. */
struct arguments {
	va_list ap;
};

static const char *
read_form(const char *p, struct form *f, struct arguments *a)
{
	memset(f, 0, sizeof(*f));
	for (; *p == '-' || *p == '0'; p++) {
		f->left |= *p == '-';
		f->zero |= *p == '0';
	}
	if (*p == '*') {
		f->width = va_arg(a->ap, int);
		f->width = f->width < 0 ? 0 : f->width;
		p++;
	} else {
		p = read_number(p, &f->width);
	}
	f->precision = -1;
	if (p[0] == '.' && p[1] == '*') {
		f->precision = va_arg(a->ap, int);
		p += 2;
	} else if (*p == '.') {
		p = read_number(p + 1, &f->precision);
	}
	return read_length(p, f);
}

static void
put_signed(struct output *o, const struct form *f, struct arguments *a)
{
	long long v;

	if (f->length == LEN_LONG_LONG)
		v = va_arg(a->ap, long long);
	else if (f->length != LEN_INT)
		v = va_arg(a->ap, long);
	else
		v = va_arg(a->ap, int);
	put_number(o, f, magnitude(v), v < 0, 10);
}

static void
put_unsigned(struct output *o, const struct form *f, struct arguments *a, unsigned base)
{
	unsigned long long v;

	if (f->length == LEN_LONG_LONG)
		v = va_arg(a->ap, unsigned long long);
	else if (f->length == LEN_LONG)
		v = va_arg(a->ap, unsigned long);
	else if (f->length == LEN_SIZE)
		v = va_arg(a->ap, size_t);
	else
		v = va_arg(a->ap, unsigned);
	put_number(o, f, v, false, base);
}

static void
put_string(struct output *o, const struct form *f, const char *s)
{
	size_t n = 0;

	while (n != (size_t)f->precision && s[n] != '\0')
		n++;
	put_padded(o, f, s, n);
}

/* Returns false for a letter that is not known. */
static bool
put_argument(struct output *o, char letter, const struct form *f, struct arguments *a)
{
	char c;

	switch (letter) {
	case 's':
		put_string(o, f, va_arg(a->ap, const char *));
		return true;
	case 'c':
		c = (char)va_arg(a->ap, int);
		put_padded(o, f, &c, 1);
		return true;
	case 'd':
		put_signed(o, f, a);
		return true;
	case 'u':
	case 'x':
		put_unsigned(o, f, a, letter == 'x' ? 16 : 10);
		return true;
	case '%':
		put(o, "%", 1);
		return true;
	default:
		return false;
	}
}

int
text_make_v(char *out, size_t cap, const char *fmt, va_list ap)
{
	struct output o = {out, cap - 1, 0};
	struct arguments a;
	struct form f;

	va_copy(a.ap, ap);
	while (*fmt != '\0') {
		size_t plain = text_until(fmt, "%");

		put(&o, fmt, plain);
		fmt += plain;
		if (*fmt == '\0')
			break;
		fmt = read_form(fmt + 1, &f, &a);
		if (!put_argument(&o, *fmt, &f, &a))
			break;
		fmt++;
	}
	va_end(a.ap);
	*o.at = '\0';
	return o.whole;
}

int
text_make(char *out, size_t cap, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = text_make_v(out, cap, fmt, ap);
	va_end(ap);
	return n;
}

bool
text_has(const char *set, char c)
{
	while (*set != '\0' && *set != c)
		set++;
	return *set != '\0';
}

size_t
text_until(const char *text, const char *stops)
{
	size_t n = 0;

	while (text[n] != '\0' && !text_has(stops, text[n]))
		n++;
	return n;
}

int
text_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20; /* makes letters small */
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *
text_behind(const char *text, char c)
{
	const char *behind = text;

	while (*text != '\0')
		if (*text++ == c)
			behind = text;
	return behind;
}

bool
text_begins(const char *text, const char *with)
{
	while (*with != '\0' && *text == *with) {
		text++;
		with++;
	}
	return *with == '\0';
}

const char *
text_error(int error)
{
	static const struct {
		uint8_t error;
		char words[29];
	} known[] = {
		{EPERM, "operation not permitted"},  {ENOENT, "no such file"},
		{ENOMEM, "out of memory"},	     {EACCES, "permission denied"},
		{EISDIR, "is a directory"},	     {ENFILE, "no descriptors in the system"},
		{EMFILE, "no descriptors left"},     {EFBIG, "too large"},
		{EINVAL, "invalid argument"},	     {EAFNOSUPPORT, "address family not supported"},
		{EADDRINUSE, "address in use"},	     {EADDRNOTAVAIL, "address not available"},
		{ENETDOWN, "network is down"},	     {ENETUNREACH, "network unreachable"},
		{ECONNRESET, "connection reset"},    {ENOBUFS, "no buffer space"},
		{ETIMEDOUT, "connection timed out"}, {ECONNREFUSED, "connection refused"},
		{EHOSTUNREACH, "no route to host"},
	};

	static char other[24];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].error == error)
			return known[i].words;
	text_make(other, sizeof(other), "error %d", error);
	return other;
}
