/* SPDX-License-Identifier: MIT */
/* Any text is an address or none exactly as inet_pton() says; what is read can be printed and read again.
 * Input: the text, up to a NUL. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "../unit/law.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void
law_as_the_c_library(const char *text, const struct addr *a)
{
	uint8_t v4[4], v6[16];
	bool is_v4 = inet_pton(AF_INET, text, v4) == 1, is_v6 = inet_pton(AF_INET6, text, v6) == 1;

	LAW(a->family == (is_v4 ? ADDR_V4 : is_v6 ? ADDR_V6 : ADDR_NONE));
	LAW(!is_v4 || memcmp(a->ip, v4, sizeof(v4)) == 0);
	LAW(!is_v6 || memcmp(a->ip, v6, sizeof(v6)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = calloc(1, len + 1), shown[ADDR_TEXT_MAX];
	struct addr a = {0}, again;
	struct prefix p;

	LAW(text != NULL);
	if (len > 0)
		memcpy(text, data, len);
	if (addr_parse(&a, text) == 0)
		LAW(addr_parse(&again, addr_text(shown, &a)) == 0 && addr_same(&a, &again));
	if (strchr(text, '[') == NULL && strchr(text, '%') == NULL)
		law_as_the_c_library(text, &a);
	if (prefix_parse(&p, text) == 0)
		LAW(prefix_parse(&p, prefix_text(shown, &p)) == 0);
	free(text);
	return 0;
}
