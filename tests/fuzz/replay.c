/* SPDX-License-Identifier: MIT */
/* A main() for fuzz targets without libFuzzer: feeds each file of the directories (or files) given as
 * arguments through the target once, in memory of exactly its size, and prints a TAP line.  A broken
 * law aborts; standard error then names the file that was open. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned files;

static void
fail(const char *path)
{
	printf("not ok 1 - cannot read %s\n1..1\n", path);
	exit(1);
}

static void
replay_file(const char *path, size_t len)
{
	uint8_t *data = malloc(len != 0 ? len : 1);
	FILE *file = fopen(path, "rb");

	if (data == NULL || file == NULL || fread(data, 1, len, file) != len)
		fail(path);
	fclose(file);
	fprintf(stderr, "# %s\n", path);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	files++;
}

static void replay(const char *path);

static void
replay_directory(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char below[4096];

	if (dir == NULL)
		fail(path);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= (int)sizeof(below))
			fail(path);
		replay(below);
	}
	closedir(dir);
}

static void
replay(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		fail(path);
	if (S_ISDIR(st.st_mode))
		replay_directory(path);
	else
		replay_file(path, (size_t)st.st_size);
}

int
main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%s 1 - %s: %u files replayed\n1..1\n", files != 0 ? "ok" : "not ok",
	       name != NULL ? name + 1 : argv[0], files);
	return files != 0 ? 0 : 1;
}
