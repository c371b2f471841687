/* SPDX-License-Identifier: MIT */
#include "vfio/open.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vfio/base/log.h"
#include "vfio/opening.h"

#define BLOCKERS_LEN 400

const char *vfio_way_name(enum vfio_way way)
{
	static const char *const names[] = {
		[VFIO_WAY_AUTO] = "auto", [VFIO_WAY_GROUP] = "group", [VFIO_WAY_CDEV] = "cdev"
	};

	return names[way];
}

int vfio_parse_spec(const char *spec, char bdf[PCI_BDF_MAX], enum vfio_way *way)
{
	size_t len = strcspn(spec, ",");
	enum vfio_way w = VFIO_WAY_AUTO;
	char name[PCI_BDF_MAX];

	if (len >= sizeof(name))
		return -EINVAL;
	memcpy(name, spec, len);
	name[len] = '\0';
	if (strcmp(spec + len, ",group") == 0)
		w = VFIO_WAY_GROUP;
	else if (strcmp(spec + len, ",cdev") == 0)
		w = VFIO_WAY_CDEV;
	else if (spec[len])
		return -EINVAL;
	if (!pci_bdf_ok(name))
		return -EINVAL;
	memcpy(bdf, name, sizeof(name));
	*way = w;
	return 0;
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

int opening_failed(const struct opening *o, const char *what, int err)
{
	log_err("%s: %s: %s", o->bdf, what, strerror(-err));
	return err;
}

int opening_unsafe(const struct opening *o, const char *module)
{
	log_err("%s: the platform cannot remap interrupts, so that a function could forge them; "
		"only if you trust whoever uses this one: echo Y > "
		"/sys/module/%s/parameters/allow_unsafe_interrupts", o->bdf, module);
	return -EPERM;
}

int opening_not_viable(const struct opening *o)
{
	char text[BLOCKERS_LEN];

	if (pci_group_blockers(o->calls.sys, o->group, o->bdf, text, sizeof(text)) > 0)
		log_err("%s: IOMMU group %u has other members in use: %s; unbind them from their "
			"drivers, or bind them to vfio-pci as well", o->bdf, o->group, text);
	else
		log_err("%s: IOMMU group %u is not viable; bind all of its members to VFIO drivers",
			o->bdf, o->group);
	return -EPERM;
}

int opening_broken(const struct opening *o)
{
	log_err("%s: the function is in error state, or was switched off; on IBM Z: echo 1 > "
		"/sys/bus/pci/devices/%s/recover, then bind it again: smcd-userctl bind %s", o->bdf,
		o->bdf, o->bdf);
	return -ENODEV;
}

/* Nodes of modules come with them, those of a function with its driver. */
static int no_node(const struct opening *o, const char *node)
{
	if (strcmp(node, NODE_IOMMUFD) == 0 || strcmp(node, NODE_CONTAINER) == 0)
		log_err("%s: there is no %s: load the module that makes it (modprobe %s)", o->bdf,
			node, strcmp(node, NODE_IOMMUFD) == 0 ? "iommufd" : "vfio_iommu_type1");
	else
		log_err("%s: there is no %s, which comes with the driver: look at udev, and at what "
			"this container is given of /dev; see 'smcd-userctl check'", o->bdf, node);
	return -ENOENT;
}

int opening_node(struct opening *o, const char *node)
{
	int fd = calls_open(&o->calls, node);

	switch (fd) {
	case -ENOENT:
	case -ENODEV: /* the node is there before the module that serves it */
	case -ENXIO:
		return no_node(o, node);
	case -EACCES:
	case -EPERM:
		log_err("%s: %s may not be opened by uid %u: make it writable for a group that this "
			"process is in (the udev rule of smcd-user does it for group smcd-user)",
			o->bdf, node, (unsigned int)geteuid());
		return fd;
	case -EBUSY:
		log_err("%s: another process has %s open; stop it (another smcd-userd, or QEMU)",
			o->bdf, node);
		return fd;
	}
	return fd < 0 ? opening_failed(o, node, fd) : fd;
}

static int no_such_function(const struct opening *o)
{
	log_err("%s: there is no such PCI function; see 'smcd-userctl check', or lspci -D", o->bdf);
	return -ENODEV;
}

static int no_iommu_group(const struct opening *o, int err)
{
	if (err != -ENOENT)
		return opening_failed(o, "IOMMU group", err);
	log_err("%s: the function is in no IOMMU group: enable the machine's IOMMU (on x86: "
		"intel_iommu=on, and in the firmware)", o->bdf);
	return -EOPNOTSUPP;
}

/* ---- looking before opening ------------------------------------------------------------------ */

static int check_driver(struct opening *o)
{
	char driver[PCI_NAME_LEN];
	int r = pci_driver(o->calls.sys, o->bdf, driver);

	if (r == -ENODEV)
		return no_such_function(o);
	if (r < 0)
		return opening_failed(o, "driver", r);
	if (!driver[0]) {
		log_err("%s: no driver has the function; bind it: smcd-userctl bind %s", o->bdf,
			o->bdf);
		return -ENODEV;
	}
	if (!pci_driver_is_vfio(driver)) {
		log_err("%s: the function is bound to %s; give it to VFIO: smcd-userctl bind %s",
			o->bdf, driver, o->bdf);
		return -EADDRINUSE;
	}
	return 0;
}

static int look(struct opening *o)
{
	char cdev[PCI_NAME_LEN];
	int r = check_driver(o);

	if (r < 0)
		return r;
	r = pci_group(o->calls.sys, o->bdf, &o->group);
	if (r < 0)
		return no_iommu_group(o, r);
	snprintf(o->group_node, sizeof(o->group_node), "/dev/vfio/%u", o->group);
	r = pci_cdev(o->calls.sys, o->bdf, cdev);
	if (r < 0 && r != -ENOENT)
		return opening_failed(o, "vfio-dev", r);
	if (r == 0)
		snprintf(o->cdev_node, sizeof(o->cdev_node), "/dev/vfio/devices/%s", cdev);
	return 0;
}

static bool may_open(const struct opening *o, const char *node)
{
	return node[0] && o->calls.sys->access(node, R_OK | W_OK) == 0;
}

static bool exists(const struct opening *o, const char *node)
{
	return node[0] && o->calls.sys->access(node, F_OK) == 0;
}

/* Where neither can be had, the one that gives the better message. */
static enum vfio_way choose(const struct opening *o)
{
	if (may_open(o, o->cdev_node) && may_open(o, NODE_IOMMUFD))
		return VFIO_WAY_CDEV;
	if (may_open(o, o->group_node) && may_open(o, NODE_CONTAINER))
		return VFIO_WAY_GROUP;
	return exists(o, o->cdev_node) && exists(o, NODE_IOMMUFD) ? VFIO_WAY_CDEV : VFIO_WAY_GROUP;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_nodes(struct opening *o, enum vfio_way way, struct vfio_kernel_fds *fds)
{
	int r = look(o);

	if (r < 0)
		return r;
	if (way == VFIO_WAY_AUTO)
		way = choose(o);
	r = way == VFIO_WAY_CDEV ? opening_by_cdev(o, fds) : opening_by_group(o, fds);
	if (r == 0)
		log_info("%s: opened by %s %s", o->bdf, vfio_way_name(way),
			way == VFIO_WAY_CDEV ? o->cdev_node : o->group_node);
	return r;
}

int vfio_open(const struct vfio_open_params *params, struct vfio_device **ret)
{
	const struct sys_ops *sys = params->sys ? params->sys : &sys_host;
	struct vfio_kernel_fds fds = { .device = -1, .group = -1, .iommu = -1 };
	struct opening o = { .bdf = params->bdf };
	int r;

	if (!pci_bdf_ok(params->bdf)) {
		log_err("'%s' is no PCI address; they look like 0001:00:00.0", params->bdf);
		return -EINVAL;
	}
	calls_begin(&o.calls, sys, params->bdf);
	r = open_nodes(&o, params->way, &fds);
	if (r < 0) {
		calls_close(&o.calls, &fds.device);
		calls_close(&o.calls, &fds.group);
		calls_close(&o.calls, &fds.iommu);
	}
	calls_end(&o.calls);
	return r < 0 ? r : vfio_kernel_attach(sys, params->bdf, &fds, ret);
}
