/* SPDX-License-Identifier: MIT */
#include "pin.h"

#include <string.h>

#include "base64.h"
#include "text.h"

#define PREFIX "sha256/"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define DIGITS 43u /* 32 octets are 256 bits: 42 digits, one with four bits, and a '=' */

int
pin_parse(struct pin *p, const char *text)
{
	struct pin read;
	uint8_t *at = read.sha256;
	uint32_t bits = 0;
	unsigned have = 0;

	if (!text_begins(text, PREFIX))
		return -1;
	text += PREFIX_LEN;
	for (unsigned i = 0; i < DIGITS; i++) {
		int value = base64_digit((uint8_t)text[i]); /* -1 at the end of a text too short */

		if (value == -1)
			return -1;
		bits = bits << 6 | (uint32_t)value;
		have += 6;
		if (have >= 8) {
			have -= 8;
			*at++ = (uint8_t)(bits >> have);
		}
	}
	if ((bits & 3u) != 0 || strcmp(text + DIGITS, "=") != 0)
		return -1;
	*p = read;
	return 0;
}

char *
pin_text(char out[PIN_TEXT_MAX], const struct pin *p)
{
	memcpy(out, PREFIX, PREFIX_LEN);
	base64_make(out + PREFIX_LEN, p->sha256, sizeof(p->sha256));
	return out;
}

bool
pin_is_among(const struct pin *p, const struct pin *pin, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(p->sha256, pin[i].sha256, sizeof(p->sha256)) == 0)
			return true;
	return false;
}
