/* SPDX-License-Identifier: MIT */
/*
 * kernel.h - a VFIO device through the kernel's interface
 *
 * Wraps an already opened device descriptor (and the container that maps DMA for it) as a
 * struct vfio_device. All system calls go through the seam of sys.h. How the descriptors come to be
 * (group and container, or cdev and iommufd) is the opener's business.
 */
#ifndef SMCDU_VFIO_KERNEL_H
#define SMCDU_VFIO_KERNEL_H

#include "vfio/device.h"
#include "vfio/sys.h"

/*
 * Takes ownership of both descriptors, also on failure. @container_fd: a type1 container. Reads the
 * usable IOVA ranges from it. @name is for messages and not copied. 0, -EBUSY when another process
 * submits to the device through the same descriptor, or -errno.
 *
 * From here on every call on the device's descriptor is watched (vfio/watch.h).
 */
int vfio_kernel_attach(const struct sys_ops *sys, const char *name, int device_fd, int container_fd,
	struct vfio_device **ret);

#endif
