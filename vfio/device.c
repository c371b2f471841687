/* SPDX-License-Identifier: MIT */
#include "vfio/device.h"

#include <errno.h>
#include <linux/vfio.h>

/* A device may report any number of regions; nobody has more device-specific ones than this. */
#define REGION_SCAN_MAX 256u

int vfio_device_find_region(struct vfio_device *dev, uint32_t type, uint32_t subtype,
	uint64_t min_size, struct vfio_region_desc *desc)
{
	const uint32_t rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	struct vfio_region_desc d;
	struct vfio_dev_info info;
	int r = dev->ops->get_info(dev, &info);

	if (r < 0)
		return r;
	for (uint32_t i = VFIO_DEV_REGION_FIXED; i < info.num_regions && i < REGION_SCAN_MAX; i++) {
		r = dev->ops->get_region(dev, i, &d);
		if (r == -EINVAL) /* a hole, as ism-vfio-pci and some models have */
			continue;
		if (r < 0)
			return r;
		if (d.has_type && d.type == type && d.subtype == subtype && d.size >= min_size &&
			(d.flags & rw) == rw) {
			*desc = d;
			return 0;
		}
	}
	return -ENOENT;
}

struct vfio_device *vfio_device_close(struct vfio_device *dev)
{
	if (dev)
		dev->ops->close(dev);
	return NULL;
}
