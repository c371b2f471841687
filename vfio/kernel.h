/* SPDX-License-Identifier: MIT */
/*
 * kernel.h - a VFIO device through the kernel's interface
 *
 * Wraps an already opened device descriptor, and what maps DMA for it, as a struct vfio_device. All
 * system calls go through the seam of sys.h. How the descriptors come to be is the opener's business
 * (open.h).
 */
#ifndef SMCDU_VFIO_KERNEL_H
#define SMCDU_VFIO_KERNEL_H

#include "vfio/device.h"
#include "vfio/sys.h"

struct vfio_kernel_fds {
	int device;
	int group;     /* kept open as long as the device; -1: none */
	int iommu;     /* a type1 container, or /dev/iommu */
	uint32_t ioas; /* the address space that the device is attached to; 0: a container */
};

/*
 * Takes ownership of the descriptors, also on failure. Reads the usable IOVA ranges. @name is for
 * messages. 0, -EBUSY when another process submits to the device through the same descriptor, or
 * -errno.
 *
 * From here on every call on the device's descriptors is watched (vfio/watch.h).
 */
int vfio_kernel_attach(const struct sys_ops *sys, const char *name,
	const struct vfio_kernel_fds *fds, struct vfio_device **ret);

#endif
