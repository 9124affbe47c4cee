/* SPDX-License-Identifier: MIT */
#include "base64.h"

int
base64_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static char
char_of(uint32_t bits)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	return digits[bits & 63u];
}

size_t
base64_make(char *out, const uint8_t *data, size_t len)
{
	char *at = out;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)data[i] << 16;

		if (i + 1 < len)
			bits |= (uint32_t)data[i + 1] << 8;
		if (i + 2 < len)
			bits |= data[i + 2];
		*at++ = char_of(bits >> 18);
		*at++ = char_of(bits >> 12);
		*at++ = i + 1 < len ? char_of(bits >> 6) : '=';
		*at++ = i + 2 < len ? char_of(bits) : '=';
	}
	*at = '\0';
	return (size_t)(at - out);
}
