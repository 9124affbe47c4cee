/* SPDX-License-Identifier: MIT */
/* Stands in front of cmocka's runner: the unit tests that $DNPROXY_SKIP names, with a space on both sides of each,
 * are not run, and TAP says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

int run_unskipped(const char *name, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
		  CMFixtureFunction teardown);

static bool
is_listed(const char *test)
{
	const char *list = getenv("DNPROXY_SKIP");
	char name[160];

	snprintf(name, sizeof(name), " %s ", test);
	return list != NULL && strstr(list, name) != NULL;
}

/* Passes, under a name that tells prove what that means. */
static void
skipped(void **state)
{
	(void)state;
}

int
run_unskipped(const char *name, const struct CMUnitTest *tests, size_t count, CMFixtureFunction setup,
	      CMFixtureFunction teardown)
{
	struct CMUnitTest *kept = calloc(count, sizeof(*kept));
	char(*title)[160] = calloc(count, sizeof(*title));

	if (kept == NULL || title == NULL)
		return 1;
	for (size_t i = 0; i < count; i++) {
		kept[i] = tests[i];
		if (!is_listed(tests[i].name))
			continue;
		snprintf(title[i], sizeof(title[i]), "%s # SKIP see skip.txt", tests[i].name);
		kept[i] = (struct CMUnitTest){.name = title[i], .test_func = skipped};
	}
	return _cmocka_run_group_tests(name, kept, count, setup, teardown);
}
