/* SPDX-License-Identifier: MIT */
/* The cdev way: until the device is bound to an iommufd it answers nothing. */
#include <errno.h>

#include "vfio/base/log.h"
#include "vfio/opening.h"
#include "vfio/uapi.h"

/* The same errno for a driver's claim on the group and for interrupts that nobody checks. */
static int not_permitted(const struct opening *o)
{
	char text[PCI_NAME_LEN];

	if (pci_group_blockers(o->calls.sys, o->group, o->bdf, text, sizeof(text)) > 0)
		return opening_not_viable(o);
	return opening_unsafe(o, "iommufd");
}

static int bind_device(struct opening *o, int device, int iommufd)
{
	struct cdev_bind bind = { .argsz = sizeof(bind), .iommufd = iommufd };
	int r = calls_ioctl(&o->calls, device, CDEV_BIND, &bind);

	/* Busy through its group; and not to be bound twice, which the kernel calls invalid. */
	if (r == -EBUSY || r == -EINVAL) {
		log_err("%s: another process has the function, through %s or %s; stop it (another "
			"smcd-userd, or QEMU)", o->bdf, o->cdev_node, o->group_node);
		return -EBUSY;
	}
	if (r == -EPERM)
		return not_permitted(o);
	if (r == -ENODEV)
		return opening_broken(o);
	return r < 0 ? opening_failed(o, "VFIO_DEVICE_BIND_IOMMUFD", r) : 0;
}

static int attach_device(struct opening *o, int device, int iommufd, uint32_t *ioas)
{
	struct ioas_alloc alloc = { .size = sizeof(alloc) };
	struct cdev_attach attach = { .argsz = sizeof(attach) };
	int r = calls_ioctl(&o->calls, iommufd, IOAS_ALLOC, &alloc);

	if (r < 0)
		return opening_failed(o, "IOMMU_IOAS_ALLOC", r);
	attach.pt_id = alloc.out_ioas_id;
	r = calls_ioctl(&o->calls, device, CDEV_ATTACH, &attach);
	if (r == -EBUSY) {
		log_err("%s: another member of IOMMU group %u is in use by another process; stop it",
			o->bdf, o->group);
		return r;
	}
	if (r < 0)
		return opening_failed(o, "VFIO_DEVICE_ATTACH_IOMMUFD_PT", r);
	*ioas = alloc.out_ioas_id;
	return 0;
}

int opening_by_cdev(struct opening *o, struct vfio_kernel_fds *fds)
{
	int r;

	if (!o->cdev_node[0]) {
		log_err("%s: the kernel has no device nodes for VFIO (6.6 and later may); leave out "
			"'cdev'", o->bdf);
		return -EOPNOTSUPP;
	}
	r = opening_node(o, o->cdev_node);
	if (r < 0)
		return r;
	fds->device = r;
	r = opening_node(o, NODE_IOMMUFD);
	if (r < 0)
		return r;
	fds->iommu = r;
	r = bind_device(o, fds->device, fds->iommu);
	if (r == 0)
		r = attach_device(o, fds->device, fds->iommu, &fds->ioas);
	return r;
}
