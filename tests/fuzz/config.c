/* SPDX-License-Identifier: MIT */
/*
 * Configuration files. What is accepted is printed, and what is printed is a file that means the
 * same: reading it again gives the same values.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "smcd/daemon/config.h"
#include "vfio/base/log.h"

/* Loads text through a file without a name. */
static int load(struct config *c, const void *text, size_t len)
{
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC), r;

	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	CHECK(config_init(c) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(c, path);
	close(fd);
	return r;
}

static char *print(const struct config *c)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	CHECK(f);
	config_print(c, f);
	fclose(f);
	return text;
}

/* How much of a line is before its comment, which says where the value came from. */
static size_t value_len(const char *line)
{
	size_t n = strcspn(line, "\n"), i;

	for (i = n; i > 2; i--) {
		if (strncmp(line + i - 3, " ; ", 3) == 0)
			return i - 3;
	}
	return n;
}

static bool same_values(const char *a, const char *b)
{
	while (*a && *b) {
		size_t n = value_len(a);

		if (value_len(b) != n || memcmp(a, b, n) != 0)
			return false;
		a += strcspn(a, "\n") + 1;
		b += strcspn(b, "\n") + 1;
	}
	return *a == *b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config c, d;
	char *once, *twice;

	log_init("fuzz", (enum log_level)0); /* what is refused here is refused on purpose */
	if (load(&c, data, size) == 0) {
		config_check(&c);
		once = print(&c);
		CHECK(load(&d, once, strlen(once)) == 0);
		twice = print(&d);
		CHECK(same_values(once, twice));
		CHECK(config_check(&c) == config_check(&d));
		free(once);
		free(twice);
		config_deinit(&d);
	}
	config_deinit(&c);
	return 0;
}
