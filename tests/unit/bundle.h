/* SPDX-License-Identifier: MIT */
/* For tests: the trust anchors of this machine, if it has any, as Debian keeps them. */
#ifndef DNPROXY_TESTS_BUNDLE_H
#define DNPROXY_TESTS_BUNDLE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUNDLE_FILE "/etc/ssl/certs/ca-certificates.crt"

/* The whole file, to be freed; NULL when there is none. */
static inline uint8_t *
bundle_read(size_t *len)
{
	FILE *file = fopen(BUNDLE_FILE, "rb");
	uint8_t *data = NULL;
	long size;

	if (file == NULL)
		return NULL;
	if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0 && fseek(file, 0, SEEK_SET) == 0) {
		*len = (size_t)size;
		data = malloc(*len);
		if (data != NULL && fread(data, 1, *len, file) != *len) {
			free(data);
			data = NULL;
		}
	}
	fclose(file);
	return data;
}

/* How many certificates it says it has. */
static inline size_t
bundle_count(const uint8_t *data, size_t len)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const size_t n = sizeof(begin) - 1;
	size_t count = 0;

	for (size_t i = 0; i + n <= len; i++)
		count += memcmp(data + i, begin, n) == 0;
	return count;
}

#endif
