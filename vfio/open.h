/* SPDX-License-Identifier: MIT */
/*
 * open.h - opening a function that the kernel's VFIO offers
 *
 * There are two ways to it. The group way, on every kernel: the function's IOMMU group, put into a
 * type1 container. The cdev way (Linux 6.6 and later): the function's own node, bound to iommufd.
 * Both end in the same struct vfio_device. Without a wish, cdev is taken where its two nodes are
 * there and may be opened, else the group; the choice is made once, by what exists, never by trying.
 *
 * Opening resets the function. It is looked at in sysfs first, so that what stands in the way (no
 * function, no driver, the wrong driver, no IOMMU) is told by name, with the remedy, in one line.
 */
#ifndef SMCDU_VFIO_OPEN_H
#define SMCDU_VFIO_OPEN_H

#include "vfio/device.h"
#include "vfio/pci.h"
#include "vfio/sys.h"

enum vfio_way {
	VFIO_WAY_AUTO,
	VFIO_WAY_GROUP,
	VFIO_WAY_CDEV,
};

struct vfio_open_params {
	const char *bdf; /* "0001:00:00.0" */
	enum vfio_way way;
	const struct sys_ops *sys; /* NULL: sys_host */
};

/*
 * 0, or after one log line: -EINVAL no address · -ENODEV no such function, or no driver has it ·
 * -EADDRINUSE a driver has it that is not VFIO's · -EBUSY another process has it, or its group is
 * not viable · -EACCES, -EPERM · -ENOENT a node is missing · -EOPNOTSUPP the host cannot · -errno.
 */
int vfio_open(const struct vfio_open_params *params, struct vfio_device **ret);

/* "0001:00:00.0", "...,group" or "...,cdev". 0 or -EINVAL. */
int vfio_parse_spec(const char *spec, char bdf[PCI_BDF_MAX], enum vfio_way *way);

const char *vfio_way_name(enum vfio_way way);

#endif
