/* SPDX-License-Identifier: MIT */
/* The group way: the container first, since the group goes into it and the function comes out. */
#include <errno.h>
#include <linux/vfio.h>

#include "vfio/base/log.h"
#include "vfio/opening.h"

static int check_container(struct opening *o, int container)
{
	int r = calls_ioctl(&o->calls, container, VFIO_GET_API_VERSION, NULL);

	if (r < 0)
		return opening_failed(o, NODE_CONTAINER ": VFIO_GET_API_VERSION", r);
	if (r != VFIO_API_VERSION) {
		log_err("%s: the kernel has version %d of VFIO, which is not supported", o->bdf, r);
		return -EOPNOTSUPP;
	}
	r = calls_ioctl(&o->calls, container, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1v2_IOMMU);
	if (r < 0)
		return opening_failed(o, NODE_CONTAINER ": VFIO_CHECK_EXTENSION", r);
	if (r > 0)
		return 0;
	log_err("%s: the kernel has no type1 IOMMU; load its module: modprobe vfio_iommu_type1",
		o->bdf);
	return -EOPNOTSUPP;
}

static int check_group(struct opening *o, int group)
{
	struct vfio_group_status s = { .argsz = sizeof(s) };
	int r = calls_ioctl(&o->calls, group, VFIO_GROUP_GET_STATUS, &s);

	if (r < 0)
		return opening_failed(o, "VFIO_GROUP_GET_STATUS", r);
	return s.flags & VFIO_GROUP_FLAGS_VIABLE ? 0 : opening_not_viable(o);
}

static int join(struct opening *o, int group, int container)
{
	int r = calls_ioctl(&o->calls, group, VFIO_GROUP_SET_CONTAINER, &container);

	if (r < 0)
		return opening_failed(o, "VFIO_GROUP_SET_CONTAINER", r);
	r = calls_ioctl(&o->calls, container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU);
	if (r == -EPERM)
		return opening_unsafe(o, "vfio_iommu_type1");
	return r < 0 ? opening_failed(o, "VFIO_SET_IOMMU", r) : 0;
}

static int get_device(struct opening *o, int group)
{
	int r = calls_ioctl(&o->calls, group, VFIO_GROUP_GET_DEVICE_FD, (void *)(uintptr_t)o->bdf);

	if (r == -EPERM) /* from a container that iommufd plays */
		return opening_unsafe(o, "iommufd");
	if (r == -ENODEV)
		return opening_broken(o);
	return r < 0 ? opening_failed(o, "VFIO_GROUP_GET_DEVICE_FD", r) : r;
}

int opening_by_group(struct opening *o, struct vfio_kernel_fds *fds)
{
	int r = opening_node(o, NODE_CONTAINER);

	if (r < 0)
		return r;
	fds->iommu = r;
	r = check_container(o, fds->iommu);
	if (r == 0)
		r = opening_node(o, o->group_node);
	if (r < 0)
		return r;
	fds->group = r;
	r = check_group(o, fds->group);
	if (r == 0)
		r = join(o, fds->group, fds->iommu);
	if (r == 0)
		r = get_device(o, fds->group);
	if (r < 0)
		return r;
	fds->device = r;
	return 0;
}
