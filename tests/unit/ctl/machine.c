/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define DEVICES "/sys/bus/pci/devices/"
#define DRIVERS "/sys/bus/pci/drivers/"

char machine_root[64];
int machine_fail_write;
int machine_fail_errno;
int machine_writes;
const char *machine_refuses;

static void at(char out[PATH_MAX], const char *a, const char *b, const char *c)
{
	assert_true(snprintf(out, PATH_MAX, "%s%s%s%s", machine_root, a, b, c) < PATH_MAX);
}

/* The directories above a path. */
static void make_parents(const char *path)
{
	char dir[PATH_MAX];

	for (const char *s = strchr(path + strlen(machine_root) + 1, '/'); s;
		s = strchr(s + 1, '/')) {
		snprintf(dir, sizeof(dir), "%.*s", (int)(s - path), path);
		assert_true(mkdir(dir, 0755) == 0 || errno == EEXIST);
	}
}

void machine_file(const char *path, const char *text, unsigned int mode)
{
	char full[PATH_MAX];
	FILE *f;

	at(full, path, "", "");
	make_parents(full);
	f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(full, mode), 0);
}

void machine_unlink(const char *path)
{
	char full[PATH_MAX];

	at(full, path, "", "");
	assert_int_equal(unlink(full), 0);
}

static void make_link(const char *target, const char *a, const char *b, const char *c)
{
	char full[PATH_MAX];

	at(full, a, b, c);
	make_parents(full);
	assert_int_equal(symlink(target, full), 0);
}

void machine_make(void)
{
	static const char *const drivers[] = { "ism", "ism_vfio_pci", "vfio-pci", "e1000e" };
	char path[128];

	strcpy(machine_root, "/tmp/smcdu-machine.XXXXXX");
	assert_non_null(mkdtemp(machine_root));
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		snprintf(path, sizeof(path), DRIVERS "%s/unbind", drivers[i]);
		machine_file(path, "", 0200);
	}
	machine_file("/sys/bus/pci/drivers_probe", "", 0200);
	machine_file(DEVICES "README", "", 0600);
	machine_unlink(DEVICES "README");
	machine_fail_write = machine_writes = 0;
	machine_refuses = NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void machine_remove(void)
{
	assert_int_equal(nftw(machine_root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void machine_function(const char *bdf, const char *vendor, const char *device, const char *driver,
	int group)
{
	char path[160], target[128];

	snprintf(path, sizeof(path), DEVICES "%s/vendor", bdf);
	machine_file(path, vendor, 0444);
	snprintf(path, sizeof(path), DEVICES "%s/device", bdf);
	machine_file(path, device, 0444);
	snprintf(path, sizeof(path), DEVICES "%s/driver_override", bdf);
	machine_file(path, "(null)\n", 0644);
	if (driver[0]) {
		snprintf(target, sizeof(target), "../../drivers/%s", driver);
		make_link(target, DEVICES, bdf, "/driver");
	}
	if (group < 0)
		return;
	snprintf(target, sizeof(target), "../../../../kernel/iommu_groups/%d", group);
	make_link(target, DEVICES, bdf, "/iommu_group");
	snprintf(path, sizeof(path), "/sys/kernel/iommu_groups/%d/devices/%s", group, bdf);
	machine_file(path, "", 0644);
}

const char *machine_driver(const char *bdf)
{
	static char target[PATH_MAX];
	char path[PATH_MAX];
	ssize_t n;

	at(path, DEVICES, bdf, "/driver");
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return "";
	target[n] = '\0';
	return strrchr(target, '/') + 1;
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static char opened[PATH_MAX]; /* what was opened last */

static int machine_open(const char *path, int flags)
{
	snprintf(opened, sizeof(opened), "%s", path);
	return sys_host.open(path, flags);
}

/* The first function's override decides; without one ism takes ISM functions. */
static void probe(const char *bdf)
{
	char path[PATH_MAX], wish[64] = "", target[128];
	FILE *f;

	at(path, DEVICES, bdf, "/driver_override");
	f = fopen(path, "re");
	if (f) {
		assert_non_null(fgets(wish, sizeof(wish), f));
		fclose(f);
	}
	wish[strcspn(wish, "\n")] = '\0';
	if (!wish[0] || strcmp(wish, "(null)") == 0)
		strcpy(wish, "ism");
	if (machine_driver(bdf)[0] || (machine_refuses && strcmp(machine_refuses, wish) == 0))
		return;
	snprintf(target, sizeof(target), "../../drivers/%s", wish);
	make_link(target, DEVICES, bdf, "/driver");
}

static ssize_t machine_pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	char text[128], path[PATH_MAX];

	if (++machine_writes == machine_fail_write) {
		errno = machine_fail_errno;
		return -1;
	}
	snprintf(text, sizeof(text), "%.*s", (int)count, (const char *)buf);
	if (strcmp(opened, "/sys/bus/pci/drivers_probe") == 0) {
		probe(text);
	} else if (strstr(opened, "/driver/unbind")) {
		at(path, DEVICES, text, "/driver");
		if (unlink(path) < 0) {
			errno = ENODEV;
			return -1;
		}
	} else {
		assert_int_equal(ftruncate(fd, 0), 0);
		return pwrite(fd, text[0] == '\n' ? "(null)\n" : text,
			text[0] == '\n' ? 7 : count, offset) > 0 ? (ssize_t)count : -1;
	}
	return (ssize_t)count;
}

static ssize_t machine_pread(int fd, void *buf, size_t count, off_t offset)
{
	return pread(fd, buf, count, offset);
}

static ssize_t machine_readlink(const char *path, char *buf, size_t size)
{
	return sys_host.readlink(path, buf, size);
}

static int machine_access(const char *path, int mode)
{
	return sys_host.access(path, mode);
}

static int machine_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx)
{
	return sys_host.list(path, fn, ctx);
}

const struct sys_ops machine_sys = {
	.open = machine_open,
	.close = close,
	.pread = machine_pread,
	.pwrite = machine_pwrite,
	.readlink = machine_readlink,
	.access = machine_access,
	.list = machine_list,
};
