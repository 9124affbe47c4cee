/* SPDX-License-Identifier: MIT */
/* Pins of public keys (RFC 7858 section 4.2, RFC 7469 section 2.1.1): the SHA-256 of a certificate's whole
 * SubjectPublicKeyInfo, as text and as a value.  Pure. */
#ifndef DNPROXY_PIN_H
#define DNPROXY_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pin {
	uint8_t sha256[32];
};

/* "sha256/", 44 digits of base64, and the final NUL. */
#define PIN_TEXT_MAX 52u

/* Reads "sha256/" and 43 digits of base64 with one '=' (RFC 4648 section 4).  Returns 0, or -1 when it is
 * anything else, also where the last digit has bits that say nothing (then *p is unchanged). */
int pin_parse(struct pin *p, const char *text);

/* Writes it as pin_parse() reads it.  Returns out. */
char *pin_text(char out[PIN_TEXT_MAX], const struct pin *p);

/* Whether pin[0..count) holds this one. */
bool pin_is_among(const struct pin *p, const struct pin *pin, size_t count);

#endif
