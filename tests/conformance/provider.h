/* SPDX-License-Identifier: MIT */
/*
 * provider.h - somebody who serves the zPCI I/O region, or BARs that take block stores
 *
 * A provider is reached as a struct vfio_device and nothing else; the suite judges what comes back
 * from accesses to the region. A further one (a kernel's, say) only needs an open function here.
 */
#ifndef CONFORMANCE_PROVIDER_H
#define CONFORMANCE_PROVIDER_H

#include <stdbool.h>

#include "vfio/device.h"
#include "vfio/open.h"

struct provider {
	struct vfio_device *dev; /* owned */
	/* gaddr is an address of this process: rows about page protection make sense. */
	bool process_memory;
	bool is_double;
	/* The attached transport stands before the device: it has to execute stores itself. */
	bool attached;
};

/*
 * The in-process double of a kernel: its region is number @index (>= 9; 0: it has none, but
 * ism-vfio-pci's BARs), its longest store @max, opened this @way. 0 or -errno.
 */
int provider_double(struct provider *p, unsigned int index, unsigned int max, enum vfio_way way);

/* A function served on a vfio-user socket. 0 or -errno. */
int provider_vfio_user(struct provider *p, const char *socket);

/* The same with the attached transport before it. 0 or -errno. */
int provider_attached(struct provider *p, const char *socket);

#endif
