/* SPDX-License-Identifier: MIT */
/* The machine: which paths there are below /sys and /dev. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ism_double_priv.h"
#include "vfio/opening.h"

#define DEVICES "/sys/bus/pci/devices/"
#define GROUPS	"/sys/kernel/iommu_groups/"
#define CLASS	"/sys/class/vfio/"
#define MATE	"0009:00:00.0" /* the other member of every group */

static const char *driver_of(const struct ism_port *p)
{
	if (p->unbound)
		return "";
	if (ism_d.host.driver)
		return ism_d.host.driver;
	return ism_d.params.kind == ISM_DOUBLE_BARS ? "ism_vfio_pci" : "vfio-pci";
}

static bool has_vfio(const struct ism_port *p)
{
	return strstr(driver_of(p), "vfio") != NULL;
}

/* The function whose directory @path is in, *rest what follows; NULL: of none. */
static struct ism_port *function_of(const char *path, const char **rest)
{
	size_t len = strlen(DEVICES);

	if (strncmp(path, DEVICES, len) != 0)
		return NULL;
	for (unsigned int i = 0; i < ism_d.params.functions; i++) {
		struct ism_port *p = &ism_d.port[i];
		size_t n = strlen(p->bdf);

		if (!p->removed && strncmp(path + len, p->bdf, n) == 0 &&
			(path[len + n] == '\0' || path[len + n] == '/')) {
			*rest = path + len + n;
			return p;
		}
	}
	return NULL;
}

ssize_t ism_double_readlink(const char *path, char *buf, size_t size)
{
	const char *rest = "";
	const struct ism_port *p = function_of(path, &rest);
	const char *driver = p ? driver_of(p) : "";
	char target[128] = "";

	if (ism_d.host.mate && strcmp(path, DEVICES MATE "/driver") == 0)
		driver = ism_d.host.mate;
	else if (!p)
		return -ENOENT;
	if (p && strcmp(rest, "/iommu_group") == 0 && !ism_d.host.no_iommu)
		snprintf(target, sizeof(target), "../../../kernel/iommu_groups/%u",
			ISM_DOUBLE_GROUP + p->nr);
	else if ((!p || strcmp(rest, "/driver") == 0) && driver[0])
		snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver);
	if (!target[0])
		return -ENOENT;
	memcpy(buf, target, strlen(target) < size ? strlen(target) : size);
	return (ssize_t)(strlen(target) < size ? strlen(target) : size);
}

/* The nodes that VFIO has for a function. */
static int function_node(const char *path, struct ism_node *node)
{
	for (unsigned int i = 0; i < ism_d.params.functions; i++) {
		struct ism_port *p = &ism_d.port[i];
		char group[40], cdev[40];

		snprintf(group, sizeof(group), "/dev/vfio/%u", ISM_DOUBLE_GROUP + i);
		snprintf(cdev, sizeof(cdev), "/dev/vfio/devices/vfio%u", i);
		if (p->removed || !has_vfio(p))
			continue;
		if (strcmp(path, group) == 0 && !ism_d.host.no_iommu) {
			*node = (struct ism_node){ .kind = ISM_NODE_GROUP, .port = p };
			return 0;
		}
		if (strcmp(path, cdev) == 0 && !ism_d.host.no_cdev) {
			*node = (struct ism_node){ .kind = ISM_NODE_DEVICE, .port = p };
			return 0;
		}
	}
	return -ENOENT;
}

/* A node of /dev that is there before its module is. */
static int static_node(const char *path, struct ism_node *node)
{
	if (strcmp(path, NODE_CONTAINER) == 0) {
		node->kind = ISM_NODE_CONTAINER;
		return 0;
	}
	if (strcmp(path, NODE_IOMMUFD) == 0 && !ism_d.host.no_iommufd) {
		node->kind = ISM_NODE_IOMMUFD;
		return 0;
	}
	return -ENOENT;
}

static bool is_group(const char *name)
{
	char number[12];

	for (unsigned int i = 0; i < ism_d.params.functions; i++) {
		snprintf(number, sizeof(number), "%u", ISM_DOUBLE_GROUP + i);
		if (strcmp(name, number) == 0)
			return !ism_d.port[i].removed && has_vfio(&ism_d.port[i]);
	}
	return false;
}

/* The attribute that says which node there is. */
static bool is_cdev_number(const struct ism_port *p, const char *rest)
{
	char number[40];

	snprintf(number, sizeof(number), "/vfio-dev/vfio%u/dev", p->nr);
	return has_vfio(p) && !ism_d.host.no_cdev && strcmp(rest, number) == 0;
}

int ism_double_path(const char *path, struct ism_node *node, char text[32])
{
	const char *denied = ism_d.host.denied, *absent = ism_d.host.absent, *rest;
	const struct ism_port *p = function_of(path, &rest);
	int r;

	*node = (struct ism_node){ .kind = ISM_NODE_NONE };
	if (!ism_d.host.no_iommu && strncmp(path, CLASS, strlen(CLASS)) == 0)
		return is_group(path + strlen(CLASS)) ? -EISDIR : -ENOENT;
	if (p) {
		if (is_cdev_number(p, rest))
			return -EISDIR; /* it is there, and nobody reads it */
		if (strcmp(rest, "/vendor") != 0 && strcmp(rest, "/device") != 0)
			return rest[0] ? -ENOENT : -EISDIR;
		node->kind = ISM_NODE_FILE;
		strcpy(text, strcmp(rest, "/vendor") == 0 ? "0x1014\n" : "0x04ed\n");
		return 0;
	}
	r = static_node(path, node);
	if (r < 0)
		r = function_node(path, node);
	if (r == 0 && absent && strncmp(path, absent, strlen(absent)) == 0)
		return -ENOENT;
	if (r == 0 && denied && strncmp(path, denied, strlen(denied)) == 0)
		return -EACCES;
	return r;
}

int ism_double_access(const char *path, int mode)
{
	struct ism_node node;
	char text[32];
	int r = ism_double_path(path, &node, text);

	return r == -EISDIR || (r == -EACCES && mode == F_OK) ? 0 : r;
}

int ism_double_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx)
{
	const char *rest;
	const struct ism_port *p = function_of(path, &rest);
	char name[64];
	int r = 0;

	if (p && strcmp(rest, "/vfio-dev") == 0 && has_vfio(p) && !ism_d.host.old) {
		snprintf(name, sizeof(name), "vfio%u", p->nr);
		return fn(ctx, name);
	}
	for (unsigned int i = 0; i < ism_d.params.functions; i++) {
		snprintf(name, sizeof(name), GROUPS "%u/devices", ISM_DOUBLE_GROUP + i);
		if (strcmp(path, name) != 0)
			continue;
		r = fn(ctx, ism_d.port[i].bdf);
		return r == 0 && ism_d.host.mate ? fn(ctx, MATE) : r;
	}
	return -ENOENT;
}
