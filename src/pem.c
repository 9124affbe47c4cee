/* SPDX-License-Identifier: MIT */
#include "pem.h"

#include <stdbool.h>
#include <string.h>

#include "base64.h"

#define BEGIN "-----BEGIN CERTIFICATE-----"
#define BEGIN_X509 "-----BEGIN X509 CERTIFICATE-----"
#define END "-----END "

static bool
starts_with(const uint8_t *p, size_t left, const char *word)
{
	size_t n = strlen(word);

	return left >= n && memcmp(p, word, n) == 0;
}

/* Passes over everything before the octets of the next certificate. */
static bool
find_begin(const uint8_t **at, size_t *left)
{
	size_t n;

	while (*left > 0) {
		n = 1;
		if (**at == '-' && starts_with(*at, *left, BEGIN))
			n = strlen(BEGIN);
		else if (**at == '-' && starts_with(*at, *left, BEGIN_X509))
			n = strlen(BEGIN_X509);
		*at += n;
		*left -= n;
		if (n > 1)
			return true;
	}
	return false;
}

enum pem_result
pem_next(const uint8_t **at, size_t *left, uint8_t *der, size_t *der_len)
{
	uint32_t bits = 0;
	unsigned have = 0, pads = 0;

	*der_len = 0;
	if (!find_begin(at, left))
		return PEM_END;
	for (; *left > 0 && **at != '-'; ++*at, --*left) {
		uint8_t c = **at;
		int value = base64_digit(c);

		if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
			continue;
		if (c == '=' && pads < 2) {
			pads++;
			continue;
		}
		if (value == -1 || pads > 0)
			return PEM_BAD;
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			der[(*der_len)++] = (uint8_t)(bits >> have);
		}
	}
	/* Digits come in groups of four, the last one filled up with '='. */
	if (!starts_with(*at, *left, END) || have / 2 != pads || (bits & ((1u << have) - 1u)) != 0)
		return PEM_BAD;
	return PEM_CERTIFICATE;
}
