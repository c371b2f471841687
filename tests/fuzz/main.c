/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over the files and directories named, once each: its corpus as an ordinary
 * test, in every kind of build.
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (1u << 20)

static unsigned int ran;

static int run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX), *exact;
	size_t len;

	if (!f || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		free(data);
		return -1;
	}
	len = fread(data, 1, INPUT_MAX, f);
	fclose(f);
	exact = realloc(data, len ? len : 1);
	if (!exact) {
		free(data);
		return -1;
	}
	fprintf(stderr, "%s\n", path); /* the last one is the culprit */
	LLVMFuzzerTestOneInput(exact, len);
	free(exact);
	ran++;
	return 0;
}

static int run(const char *path)
{
	struct dirent **found;
	struct stat st;
	int i, n, ret = 0;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return run_file(path);
	n = scandir(path, &found, NULL, alphasort);
	for (i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", path, found[i]->d_name);
		if (found[i]->d_name[0] != '.')
			ret |= run_file(file);
		free(found[i]);
	}
	if (n >= 0)
		free(found);
	return n < 0 ? -1 : ret;
}

int main(int argc, char **argv)
{
	int i, ret = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (i = 1; i < argc; i++)
		ret |= run(argv[i]);
	printf("%u inputs\n", ran);
	return ret || ran == 0;
}
