/* SPDX-License-Identifier: MIT */
/* Base64 as RFC 4648 section 4 has it.  Pure. */
#ifndef DNPROXY_BASE64_H
#define DNPROXY_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* The six bits of a digit; -1 for anything else, '=' included. */
int base64_digit(uint8_t c);

/* Writes data[0..len) with its '=' and a final NUL to out, which holds (len + 2) / 3 * 4 + 1 octets.
 * Returns the length without the NUL. */
size_t base64_make(char *out, const uint8_t *data, size_t len);

#endif
