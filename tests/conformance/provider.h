/* SPDX-License-Identifier: MIT */
/*
 * provider.h - somebody who serves the zPCI I/O region
 *
 * A provider is reached as a struct vfio_device and nothing else; the suite judges what comes back
 * from accesses to the region. A further one (a kernel's, say) only needs an open function here.
 */
#ifndef CONFORMANCE_PROVIDER_H
#define CONFORMANCE_PROVIDER_H

#include <stdbool.h>

#include "vfio/device.h"

struct provider {
	struct vfio_device *dev; /* owned */
	/* gaddr is an address of this process: rows about page protection make sense. */
	bool process_memory;
};

/*
 * The in-process double: its region is number @index (>= 9), its longest store @max. 0 or -errno.
 */
int provider_double(struct provider *p, unsigned int index, unsigned int max);

/* A function served on a vfio-user socket. 0 or -errno. */
int provider_vfio_user(struct provider *p, const char *socket);

#endif
