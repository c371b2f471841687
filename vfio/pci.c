/* SPDX-License-Identifier: MIT */
#include "vfio/pci.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"
#define GROUPS	"/sys/kernel/iommu_groups"

/* @n hex digits, none of them a capital. */
static bool digits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)s[i]) || isupper((unsigned char)s[i]))
			return false;
	return true;
}

bool pci_bdf_ok(const char *bdf)
{
	size_t domain = strcspn(bdf, ":");
	const char *s = bdf + domain;

	return domain >= 4 && domain <= 8 && digits(bdf, domain) && strlen(s) == 8 &&
	       digits(s + 1, 2) && s[3] == ':' && digits(s + 4, 2) && s[6] == '.' && s[7] >= '0' &&
	       s[7] <= '7';
}

int pci_exists(const struct sys_ops *sys, const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DEVICES "/%s", bdf);
	if (sys->access(path, F_OK) == 0)
		return 0;
	return errno == ENOENT ? -ENODEV : -errno;
}

/* The last component of what @path points to. */
static int link_name(const struct sys_ops *sys, const char *path, char name[PCI_NAME_LEN])
{
	char target[PATH_MAX];
	const char *last;
	ssize_t n = sys->readlink(path, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	last = strrchr(target, '/');
	last = last ? last + 1 : target;
	if (strlen(last) >= PCI_NAME_LEN)
		return -ENAMETOOLONG;
	strcpy(name, last);
	return 0;
}

int pci_driver(const struct sys_ops *sys, const char *bdf, char name[PCI_NAME_LEN])
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/driver", bdf);
	r = link_name(sys, path, name);
	if (r != -ENOENT)
		return r;
	r = pci_exists(sys, bdf);
	if (r == 0)
		name[0] = '\0';
	return r;
}

bool pci_driver_is_vfio(const char *name)
{
	return strstr(name, "vfio") != NULL;
}

int pci_group(const struct sys_ops *sys, const char *bdf, unsigned int *group)
{
	char path[PATH_MAX], name[PCI_NAME_LEN] = "", *end;
	unsigned long n;
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", bdf);
	r = link_name(sys, path, name);
	if (r < 0)
		return r;
	n = strtoul(name, &end, 10);
	if (!isdigit((unsigned char)name[0]) || *end || n > UINT_MAX)
		return -EPROTO;
	*group = (unsigned int)n;
	return 0;
}

static int take_cdev(void *ctx, const char *name)
{
	char *out = ctx;

	if (strncmp(name, "vfio", 4) != 0 || strlen(name) >= PCI_NAME_LEN)
		return 0;
	strcpy(out, name);
	return 1;
}

int pci_cdev(const struct sys_ops *sys, const char *bdf, char name[PCI_NAME_LEN])
{
	char path[PATH_MAX], found[PCI_NAME_LEN];
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/vfio-dev", bdf);
	r = sys->list(path, take_cdev, found);
	if (r <= 0)
		return r < 0 ? -errno : -ENOENT;
	/* Its major and minor number, if it has any. */
	snprintf(path, sizeof(path), DEVICES "/%s/vfio-dev/%s/dev", bdf, found);
	if (sys->access(path, F_OK) < 0)
		return -errno;
	strcpy(name, found);
	return 0;
}

int pci_read_file(const struct sys_ops *sys, const char *path, char *text, size_t size)
{
	int fd = sys->open(path, O_RDONLY);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = sys->pread(fd, text, size - 1, 0);
	err = errno;
	sys->close(fd);
	if (n < 0)
		return -err;
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return 0;
}

int pci_write_file(const struct sys_ops *sys, const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd = sys->open(path, O_WRONLY);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = sys->pwrite(fd, text, len, 0);
	err = n < 0 ? errno : EIO;
	sys->close(fd);
	return n == (ssize_t)len ? 0 : -err;
}

static int read_hex(const struct sys_ops *sys, const char *bdf, const char *attr, uint16_t *ret)
{
	char path[PATH_MAX], text[32], *end;
	unsigned long v;
	int r;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", bdf, attr);
	r = pci_read_file(sys, path, text, sizeof(text));
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	v = strtoul(text, &end, 16);
	if (end == text || *end || v > UINT16_MAX)
		return -EPROTO;
	*ret = (uint16_t)v;
	return 0;
}

int pci_id(const struct sys_ops *sys, const char *bdf, uint16_t *vendor, uint16_t *device)
{
	uint16_t v, d;
	int r = read_hex(sys, bdf, "vendor", &v);

	if (r == 0)
		r = read_hex(sys, bdf, "device", &d);
	if (r < 0)
		return r;
	*vendor = v;
	*device = d;
	return 0;
}

struct blockers {
	const struct sys_ops *sys;
	const char *bdf;
	char *text;
	size_t size;
	int n;
};

/* Bridges and functions without a driver, or with a stub, do not count: they do no DMA. */
static int note_blocker(void *ctx, const char *bdf)
{
	static const char *const harmless[] = { "pci-stub", "pcieport" };
	struct blockers *b = ctx;
	char driver[PCI_NAME_LEN] = "";
	size_t used = strlen(b->text);

	if (strcmp(bdf, b->bdf) == 0 || pci_driver(b->sys, bdf, driver) < 0 || !driver[0] ||
		pci_driver_is_vfio(driver))
		return 0;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (strcmp(driver, harmless[i]) == 0)
			return 0;
	snprintf(b->text + used, b->size - used, "%s%s (%s)", b->n ? ", " : "", bdf, driver);
	b->n++;
	return 0;
}

int pci_group_blockers(const struct sys_ops *sys, unsigned int group, const char *bdf, char *text,
	size_t size)
{
	struct blockers b = { .sys = sys, .bdf = bdf, .text = text, .size = size };
	char path[PATH_MAX];

	text[0] = '\0';
	snprintf(path, sizeof(path), GROUPS "/%u/devices", group);
	return sys->list(path, note_blocker, &b) < 0 ? -errno : b.n;
}

int pci_each(const struct sys_ops *sys, int (*fn)(void *ctx, const char *bdf), void *ctx)
{
	int r = sys->list(DEVICES, fn, ctx);

	return r < 0 ? -errno : r;
}
