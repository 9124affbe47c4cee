/* SPDX-License-Identifier: MIT */
/* Any octets are settings that print and read back the same, or refused with one line that says
 * where.  Behind a NUL octet, the input goes on with the values of environment variables. */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const names[] = {"DNPROXY_HOST", "DNPROXY_PORT", "DNPROXY_UPSTREAM_IP",
				    "DNPROXY_UPSTREAM_HOSTNAME", "DNPROXY_LOG_LEVEL"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static char variables[NAMES][128];

static char *
get(const char *name)
{
	for (size_t i = 0; i < NAMES; i++) {
		if (strcmp(names[i], name) == 0)
			return variables[i];
	}
	return NULL;
}

/* The values stand one after another, each behind a NUL. */
static void
fill_variables(const uint8_t *data, size_t len)
{
	memset(variables, 0, sizeof(variables));
	for (size_t i = 0, at = 0; i < NAMES && at < len; i++) {
		size_t n = strnlen((const char *)data + at, len - at);

		memcpy(variables[i], data + at, n < sizeof(variables[i]) ? n : sizeof(variables[i]) - 1);
		at += n + 1;
	}
}

static void
check_error(const char *err, const char *begin)
{
	assert(memchr(err, '\0', CONFIG_ERROR_MAX) != NULL);
	assert(strncmp(err, begin, strlen(begin)) == 0 && err[strlen(begin)] != '\0');
	for (; *err != '\0'; err++)
		assert((unsigned char)*err >= 0x20 && *err != 0x7f);
}

/* What any settings in force have in common. */
static void
check_settings(const struct config *c)
{
	static char first[CONFIG_TEXT_MAX], second[CONFIG_TEXT_MAX];
	static struct config back;
	char err[CONFIG_ERROR_MAX];
	size_t len = config_print(c, first);

	assert(c->listens >= 1 && c->listens <= LISTEN_MAX && c->allows >= 1 && c->allows <= ALLOW_MAX);
	assert(c->upstreams >= 1 && c->upstreams <= UPSTREAMS_MAX);
	for (size_t i = 0; i < c->upstreams; i++)
		assert(c->upstream[i].pins <= PINS_MAX && c->upstream[i].addr.port != 0);
	for (size_t i = 0; i < c->listens; i++)
		assert(c->listen[i].port == c->port && c->listen[i].family != ADDR_NONE);
	assert(len == strlen(first) && len + 1 < CONFIG_TEXT_MAX);
	if (config_read(&back, first, len, "printed", err) == -1) {
		fprintf(stderr, "%s\n%s", err, first);
		assert(false);
	}
	config_print(&back, second);
	assert(strcmp(first, second) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct config c;
	const uint8_t *nul = len > 0 ? memchr(data, '\0', len) : NULL;
	size_t file = nul != NULL ? (size_t)(nul - data) : len;
	char err[CONFIG_ERROR_MAX];
	bool from_file = file > 0;

	if (!from_file)
		config_default(&c);
	else if (config_read(&c, (const char *)data, file, "dnproxy.yml", err) == -1) {
		check_error(err, "dnproxy.yml:");
		return 0;
	}
	check_settings(&c);
	if (nul == NULL)
		return 0;
	fill_variables(nul + 1, len - file - 1);
	if (config_environment(&c, get, from_file, err) == -1)
		check_error(err, "DNPROXY_");
	else
		check_settings(&c);
	return 0;
}
