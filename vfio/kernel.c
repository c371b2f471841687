/* SPDX-License-Identifier: MIT */
#include "vfio/kernel.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/calls.h"
#include "vfio/caps.h"
#include "vfio/iommu.h"
#include "vfio/iova.h"

#define PAGE	 4096u
#define NAME_MAX_LEN 64

struct kernel_device {
	struct vfio_device dev; /* first */
	char name[NAME_MAX_LEN];
	struct calls calls;
	struct iommu iommu;
	struct iova iova;
	int device_fd;
	int group_fd; /* -1: none */
	int req_fd; /* eventfd: the kernel wants the device back; -1: it cannot say so */
	int err_fd; /* eventfd: the device reported an error; -1: it cannot */
	int both_fd; /* epoll instance over the two, if there are two; else -1 */
	uint32_t msi; /* index of the interrupt by message */
	bool msi_on;
	bool can_reset;
};

static struct kernel_device *kernel_of(struct vfio_device *dev)
{
	return (struct kernel_device *)dev;
}

static int kernel_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	struct kernel_device *k = kernel_of(dev);
	struct vfio_device_info di = { 0 };
	struct vfio_dev_info out;
	struct vfio_caps caps;
	void *buf;
	size_t len;
	int r = calls_info(&k->calls, k->device_fd, VFIO_DEVICE_GET_INFO, &di, sizeof(di), &buf,
		&len);

	if (r < 0)
		return r;
	memcpy(&di, buf, sizeof(di));
	memset(&out, 0, sizeof(out));
	out.flags = di.flags;
	out.num_regions = di.num_regions;
	out.num_irqs = di.num_irqs;
	vfio_caps_init(&caps, buf, len, sizeof(di),
		di.flags & VFIO_DEVICE_FLAGS_CAPS ? di.cap_offset : 0);
	r = vfio_caps_device(&caps, &out);
	free(buf);
	if (r == 0)
		*info = out;
	return r;
}

static int kernel_get_region(struct vfio_device *dev, uint32_t index, struct vfio_region_desc *desc)
{
	struct kernel_device *k = kernel_of(dev);
	struct vfio_region_info ri = { .index = index };
	struct vfio_region_desc out;
	struct vfio_caps caps;
	void *buf;
	size_t len;
	int r;

	r = calls_info(&k->calls, k->device_fd, VFIO_DEVICE_GET_REGION_INFO, &ri, sizeof(ri), &buf,
		&len);
	if (r < 0)
		return r;
	memcpy(&ri, buf, sizeof(ri));
	memset(&out, 0, sizeof(out));
	out.index = index;
	out.flags = ri.flags;
	out.size = ri.size;
	out.offset = ri.offset;
	vfio_caps_init(&caps, buf, len, sizeof(ri),
		ri.flags & VFIO_REGION_INFO_FLAG_CAPS ? ri.cap_offset : 0);
	r = vfio_caps_region(&caps, &out);
	free(buf);
	if (r == 0)
		*desc = out;
	return r;
}

static bool in_region(const struct vfio_region_desc *r, uint64_t offset)
{
	return offset <= r->size && r->offset <= INT64_MAX && offset <= INT64_MAX - r->offset;
}

static ssize_t kernel_region_read(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, void *buf, size_t len)
{
	struct kernel_device *k = kernel_of(dev);

	if (!in_region(r, offset))
		return k->calls.dead ? -ENODEV : -EINVAL;
	return calls_pread(&k->calls, k->device_fd, buf, len, (off_t)(r->offset + offset));
}

static ssize_t kernel_region_write(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, const void *buf, size_t len)
{
	struct kernel_device *k = kernel_of(dev);

	if (!in_region(r, offset))
		return k->calls.dead ? -ENODEV : -EINVAL;
	return calls_pwrite(&k->calls, k->device_fd, buf, len, (off_t)(r->offset + offset));
}

/* One call each: io_uring was slower in every form (docs/performance.md). */
static int kernel_region_write_batch(struct vfio_device *dev, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	for (size_t i = 0; i < n; i++) {
		ssize_t w = kernel_region_write(dev, r, wr[i].offset, wr[i].data, wr[i].len);

		if (w != (ssize_t)wr[i].len) {
			*done = i;
			return w < 0 ? (int)w : -EPROTO;
		}
	}
	*done = n;
	return 0;
}

/* What the kernel's refusal to pin memory means, and what can be done about it. */
static void explain_map_failure(const struct kernel_device *k, size_t len, int err)
{
	struct rlimit rl = { .rlim_cur = RLIM_INFINITY };

	if (err == -ENODEV)
		return;
	getrlimit(RLIMIT_MEMLOCK, &rl);
	if (err == -ENOMEM && rl.rlim_cur != RLIM_INFINITY)
		log_err("%s: cannot pin %zu KiB more for the function: RLIMIT_MEMLOCK is %llu KiB; "
			"raise it (LimitMEMLOCK= of the unit, ulimit -l)",
			k->name, len / 1024, (unsigned long long)rl.rlim_cur / 1024);
	else if (err == -ENOSPC)
		log_err("%s: the kernel allows no more DMA maps; raise dma_entry_limit of "
			"vfio_iommu_type1, or have fewer channels", k->name);
	else
		log_err("%s: cannot map %zu KiB for the function: %s", k->name, len / 1024,
			strerror(-err));
}

static int kernel_dma_map(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct kernel_device *k = kernel_of(dev);
	uint64_t addr;
	int r;

	if (k->calls.dead)
		return -ENODEV;
	r = iova_alloc(&k->iova, len, &addr);
	if (r == -ENOSPC)
		log_err("%s: no DMA addresses are left for %zu KiB; have fewer channels, or "
			"smaller buffers", k->name, len / 1024);
	if (r < 0)
		return r;
	r = iommu_map(&k->calls, &k->iommu, va, len, addr);
	if (r < 0) {
		explain_map_failure(k, len, r);
		iova_free(&k->iova, addr, len);
		return r;
	}
	*iova = addr;
	return 0;
}

/* Addresses the kernel did not let go of stay allocated: the device may still reach them. */
static int kernel_dma_unmap(struct vfio_device *dev, uint64_t iova, size_t len)
{
	struct kernel_device *k = kernel_of(dev);
	int r = iommu_unmap(&k->calls, &k->iommu, iova, len);

	return r < 0 ? r : iova_free(&k->iova, iova, len);
}

static int set_irq(struct kernel_device *k, uint32_t index, int eventfd)
{
	union {
		struct vfio_irq_set set;
		uint8_t room[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	} u;
	int32_t fd = eventfd;
	int r;

	memset(&u, 0, sizeof(u));
	u.set.argsz = sizeof(struct vfio_irq_set);
	u.set.index = index;
	u.set.flags = VFIO_IRQ_SET_ACTION_TRIGGER;
	if (eventfd < 0) {
		u.set.flags |= VFIO_IRQ_SET_DATA_NONE;
	} else {
		u.set.flags |= VFIO_IRQ_SET_DATA_EVENTFD;
		u.set.argsz += sizeof(fd);
		u.set.count = 1;
		memcpy(u.room + sizeof(struct vfio_irq_set), &fd, sizeof(fd));
	}
	r = calls_ioctl(&k->calls, k->device_fd, VFIO_DEVICE_SET_IRQS, &u);
	return r < 0 ? r : 0;
}

/* The vectors cannot be changed while enabled, so a change goes through off. */
static int kernel_set_msi(struct vfio_device *dev, int eventfd)
{
	struct kernel_device *k = kernel_of(dev);
	int r;

	if (k->msi_on) {
		r = set_irq(k, k->msi, -1);
		if (r < 0)
			return r;
		k->msi_on = false;
	}
	if (eventfd < 0)
		return k->calls.dead ? -ENODEV : 0;
	r = set_irq(k, k->msi, eventfd);
	k->msi_on = r == 0;
	return r;
}

static int kernel_reset(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);
	int r;

	if (!k->can_reset)
		return k->calls.dead ? -ENODEV : -EOPNOTSUPP;
	r = calls_ioctl(&k->calls, k->device_fd, VFIO_DEVICE_RESET, NULL);
	return r < 0 ? r : 0;
}

static int kernel_liveness_fd(struct vfio_device *dev)
{
	const struct kernel_device *k = kernel_of(dev);

	return k->both_fd >= 0 ? k->both_fd : k->req_fd;
}

static bool fired(int fd)
{
	eventfd_t count;

	return fd >= 0 && eventfd_read(fd, &count) == 0;
}

/*
 * The kernel asks for the device when it is being unbound or removed, and waits until every
 * descriptor of it is closed: for us the function is gone. After an error the device may have
 * forgotten everything, so that is the end of this opening as well; the next one resets it.
 */
static int kernel_check(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);

	if (fired(k->req_fd)) {
		log_notice("%s: the kernel wants the function back (unbind or removal)", k->name);
		k->calls.dead = true;
	}
	if (fired(k->err_fd)) {
		log_err("%s: the function reported an error", k->name);
		k->calls.dead = true;
	}
	return k->calls.dead ? -ENODEV : 0;
}

/* Closing the device resets the function; only then may the container drop the DMA maps. */
static void kernel_close(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);

	calls_close(&k->calls, &k->device_fd);
	calls_close(&k->calls, &k->group_fd);
	calls_close(&k->calls, &k->iommu.fd);
	calls_end(&k->calls);
	fd_closep(&k->both_fd);
	fd_closep(&k->req_fd);
	fd_closep(&k->err_fd);
	iova_deinit(&k->iova);
	free(k);
}

static const struct vfio_device_ops kernel_ops = {
	.name = "vfio",
	.get_info = kernel_get_info,
	.get_region = kernel_get_region,
	.region_read = kernel_region_read,
	.region_write = kernel_region_write,
	.region_write_batch = kernel_region_write_batch,
	.dma_map = kernel_dma_map,
	.dma_unmap = kernel_dma_unmap,
	.set_msi = kernel_set_msi,
	.reset = kernel_reset,
	.liveness_fd = kernel_liveness_fd,
	.check = kernel_check,
	.close = kernel_close,
};

/* Part of @r that the function's own limits allow; iommufd reports too much. */
static int add_range(struct kernel_device *k, struct iova_range r, const struct vfio_dev_info *info)
{
	if (info->has_zpci && r.start < info->start_dma)
		r.start = info->start_dma;
	if (info->has_zpci && r.end > info->end_dma)
		r.end = info->end_dma;
	return r.start < r.end ? iova_add(&k->iova, r.start, r.end) : 0;
}

static int read_iova_ranges(struct kernel_device *k, const struct vfio_dev_info *info)
{
	struct iova_range v[IOMMU_MAX_RANGES];
	uint64_t align = 0;
	int r = 0, n = iommu_ranges(&k->calls, &k->iommu, v, &align);

	if (n < 0) {
		log_err("%s: the kernel does not say which DMA addresses are usable: %s", k->name,
			strerror(-n));
		return n;
	}
	if (align > PAGE) {
		log_err("%s: the IOMMU maps pages of %llu bytes; %u are needed", k->name,
			(unsigned long long)align, PAGE);
		return -EOPNOTSUPP;
	}
	if (n == 0 && info->has_zpci) {
		v[0] = (struct iova_range){ info->start_dma, info->end_dma };
		n = 1;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = add_range(k, v[i], info);
	if (r < 0)
		return r;
	if (k->iova.nfree)
		return 0;
	log_err("%s: the kernel reports no usable DMA addresses; one with IOVA range information "
		"(5.4 or later) is needed", k->name);
	return -EOPNOTSUPP;
}

/* ISM has MSI. A function that has only MSI-X serves as well: one vector is all that is used. */
static int find_msi(struct kernel_device *k)
{
	struct vfio_irq_info ii = { .argsz = sizeof(ii), .index = VFIO_PCI_MSI_IRQ_INDEX };
	int r = calls_ioctl(&k->calls, k->device_fd, VFIO_DEVICE_GET_IRQ_INFO, &ii);

	if (r < 0) {
		log_err("%s: the kernel does not describe its interrupts: %s", k->name, strerror(-r));
		return r;
	}
	k->msi = ii.count ? VFIO_PCI_MSI_IRQ_INDEX : VFIO_PCI_MSIX_IRQ_INDEX;
	return 0;
}

/* An eventfd for an interrupt of its own, or -1. */
static int arm(struct kernel_device *k, uint32_t index)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd >= 0 && set_irq(k, index, fd) < 0)
		fd_closep(&fd);
	return fd;
}

/* The function works without either. Only PCI Express functions have the second. */
static void arm_requests(struct kernel_device *k)
{
	struct epoll_event req = { .events = EPOLLIN }, err = { .events = EPOLLIN };

	k->req_fd = arm(k, VFIO_PCI_REQ_IRQ_INDEX);
	if (k->calls.dead)
		return;
	if (k->req_fd < 0)
		log_warn("%s: the kernel has no way to ask for the function back; stop this "
			"process before you unbind it", k->name);
	k->err_fd = arm(k, VFIO_PCI_ERR_IRQ_INDEX);
	if (k->err_fd < 0)
		return;
	k->both_fd = epoll_create1(EPOLL_CLOEXEC);
	if (k->both_fd >= 0 && (epoll_ctl(k->both_fd, EPOLL_CTL_ADD, k->err_fd, &err) < 0 ||
		(k->req_fd >= 0 && epoll_ctl(k->both_fd, EPOLL_CTL_ADD, k->req_fd, &req) < 0)))
		fd_closep(&k->both_fd);
}

static int claim(struct kernel_device *k)
{
	int err;

	if (k->calls.sys->claim(k->device_fd) == 0)
		return 0;
	err = -errno;
	log_err("%s: another process works with the same device descriptor; end that one", k->name);
	return err;
}

static int start(struct kernel_device *k)
{
	struct vfio_dev_info info = { 0 };
	int r = claim(k);

	if (r < 0)
		return r;
	r = kernel_get_info(&k->dev, &info);
	if (r < 0) {
		log_err("%s: the kernel does not describe the function: %s", k->name, strerror(-r));
		return r;
	}
	r = read_iova_ranges(k, &info);
	if (r == 0)
		r = find_msi(k);
	if (r < 0)
		return r;
	k->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	arm_requests(k);
	return k->calls.dead ? -ENODEV : 0;
}

int vfio_kernel_attach(const struct sys_ops *sys, const char *name,
	const struct vfio_kernel_fds *fds, struct vfio_device **ret)
{
	struct kernel_device *k = calloc(1, sizeof(*k));
	int r;

	if (!k) {
		sys->close(fds->device);
		if (fds->group >= 0)
			sys->close(fds->group);
		sys->close(fds->iommu);
		return -ENOMEM;
	}
	k->dev.ops = &kernel_ops;
	snprintf(k->name, sizeof(k->name), "%s", name);
	k->device_fd = fds->device;
	k->group_fd = fds->group;
	k->iommu = (struct iommu){ .fd = fds->iommu, .ioas = fds->ioas };
	k->req_fd = k->err_fd = k->both_fd = -1;
	calls_begin(&k->calls, sys, k->name);
	r = start(k);
	if (r < 0) {
		kernel_close(&k->dev);
		return r;
	}
	*ret = &k->dev;
	return 0;
}
