/* SPDX-License-Identifier: MIT */
/* What the two ways of opening a function (group.c, cdev.c) get from open.c. */
#ifndef SMCDU_VFIO_OPENING_H
#define SMCDU_VFIO_OPENING_H

#include "vfio/calls.h"
#include "vfio/kernel.h"
#include "vfio/pci.h"

#define NODE_CONTAINER "/dev/vfio/vfio"
#define NODE_IOMMUFD   "/dev/iommu"
#define NODE_MAX       (PCI_NAME_LEN + 32u)

struct opening {
	const char *bdf;
	struct calls calls;
	unsigned int group;	    /* number of the IOMMU group */
	char group_node[NODE_MAX];  /* "/dev/vfio/17" */
	char cdev_node[NODE_MAX];   /* "/dev/vfio/devices/vfio0", "" where the kernel has none */
};

/*
 * Fill @fds, which come in as -1; those that were opened stay there on failure, too. 0 or -errno
 * after one log line.
 */
int opening_by_group(struct opening *o, struct vfio_kernel_fds *fds);
int opening_by_cdev(struct opening *o, struct vfio_kernel_fds *fds);

/* Descriptor of a node, or -errno after a log line. */
int opening_node(struct opening *o, const char *node);

/* Logs that @what failed; returns @err. */
int opening_failed(const struct opening *o, const char *what, int err);

/* The kernel says EPERM because the platform does not keep functions from forging interrupts. */
int opening_unsafe(const struct opening *o, const char *module);

/* Some other member of its IOMMU group has a driver that is not VFIO's: -EPERM. */
int opening_not_viable(const struct opening *o);

/* It says ENODEV for a function that is there: the function cannot be enabled. */
int opening_broken(const struct opening *o);

#endif
