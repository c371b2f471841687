/* SPDX-License-Identifier: MIT */
#include "vfio/kernel.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/caps.h"
#include "vfio/iova.h"
#include "vfio/watch.h"

#define INFO_FIRST  256u   /* room offered for an information structure and its capabilities */
#define INFO_MAX    65536u /* more than this is no information */
#define INFO_TRIES  3u	   /* a chain may grow between two calls, not for ever */
#define IOVA_RANGES 64u

struct kernel_device {
	struct vfio_device dev; /* first */
	const struct sys_ops *sys;
	int device_fd;
	int container_fd;
	int req_fd; /* eventfd: the kernel wants the device back; -1: it cannot say so */
	bool dead;
	bool msi_on;
	bool can_reset;
	struct iova iova;
	struct watch watch;
};

static struct kernel_device *kernel_of(struct vfio_device *dev)
{
	return (struct kernel_device *)dev;
}

static int note_errno(struct kernel_device *k)
{
	int err = errno;

	if (err == ENODEV)
		k->dead = true;
	return -err;
}

static int kernel_ioctl(struct kernel_device *k, int fd, unsigned long nr, void *arg)
{
	int r;

	if (k->dead)
		return -ENODEV;
	do {
		watch_enter(&k->watch);
		r = k->sys->ioctl(fd, nr, arg);
		watch_leave(&k->watch);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? note_errno(k) : r;
}

/*
 * Information with capabilities: the kernel says in argsz how much room it wants and leaves the
 * chain out when it does not fit. All three structures start with argsz and flags. *buf is
 * malloced.
 */
static int get_info_buf(struct kernel_device *k, int fd, unsigned long nr, const void *request,
	size_t fixed, void **buf, size_t *len)
{
	size_t room = INFO_FIRST;

	for (unsigned int i = 0; i < INFO_TRIES; i++) {
		uint32_t argsz = (uint32_t)room;
		void *p = calloc(1, room);
		int r;

		if (!p)
			return -ENOMEM;
		memcpy(p, request, fixed);
		memcpy(p, &argsz, sizeof(argsz));
		r = kernel_ioctl(k, fd, nr, p);
		memcpy(&argsz, p, sizeof(argsz));
		if (r >= 0 && argsz <= room) {
			*buf = p;
			*len = room;
			return 0;
		}
		free(p);
		if (r < 0)
			return r;
		if (argsz > INFO_MAX)
			break;
		room = argsz;
	}
	return -EPROTO;
}

static int kernel_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	struct kernel_device *k = kernel_of(dev);
	struct vfio_device_info di = { 0 };
	struct vfio_dev_info out;
	struct vfio_caps caps;
	void *buf;
	size_t len;
	int r = get_info_buf(k, k->device_fd, VFIO_DEVICE_GET_INFO, &di, sizeof(di), &buf, &len);

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

	r = get_info_buf(k, k->device_fd, VFIO_DEVICE_GET_REGION_INFO, &ri, sizeof(ri), &buf, &len);
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
	ssize_t n;

	if (k->dead)
		return -ENODEV;
	if (!in_region(r, offset))
		return -EINVAL;
	watch_enter(&k->watch);
	n = k->sys->pread(k->device_fd, buf, len, (off_t)(r->offset + offset));
	watch_leave(&k->watch);
	return n < 0 ? note_errno(k) : n;
}

/* Never repeated, not even for EINTR: a write may be a command that has run already. */
static ssize_t kernel_region_write(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, const void *buf, size_t len)
{
	struct kernel_device *k = kernel_of(dev);
	ssize_t n;

	if (k->dead)
		return -ENODEV;
	if (!in_region(r, offset))
		return -EINVAL;
	watch_enter(&k->watch);
	n = k->sys->pwrite(k->device_fd, buf, len, (off_t)(r->offset + offset));
	watch_leave(&k->watch);
	return n < 0 ? note_errno(k) : n;
}

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

static int kernel_dma_map(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct kernel_device *k = kernel_of(dev);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va,
		.size = len,
	};
	uint64_t addr;
	int r = iova_alloc(&k->iova, len, &addr);

	if (r < 0)
		return r;
	map.iova = addr;
	r = kernel_ioctl(k, k->container_fd, VFIO_IOMMU_MAP_DMA, &map);
	if (r < 0) {
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
	struct vfio_iommu_type1_dma_unmap un = {
		.argsz = sizeof(un),
		.iova = iova,
		.size = len,
	};
	int r = kernel_ioctl(k, k->container_fd, VFIO_IOMMU_UNMAP_DMA, &un);

	if (r < 0)
		return r;
	return un.size == len ? iova_free(&k->iova, iova, len) : -EINVAL;
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
	r = kernel_ioctl(k, k->device_fd, VFIO_DEVICE_SET_IRQS, &u);
	return r < 0 ? r : 0;
}

/* The vectors cannot be changed while enabled, so a change goes through off. */
static int kernel_set_msi(struct vfio_device *dev, int eventfd)
{
	struct kernel_device *k = kernel_of(dev);
	int r;

	if (k->msi_on) {
		r = set_irq(k, VFIO_PCI_MSI_IRQ_INDEX, -1);
		if (r < 0)
			return r;
		k->msi_on = false;
	}
	if (eventfd < 0)
		return k->dead ? -ENODEV : 0;
	r = set_irq(k, VFIO_PCI_MSI_IRQ_INDEX, eventfd);
	k->msi_on = r == 0;
	return r;
}

static int kernel_reset(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);
	int r;

	if (!k->can_reset)
		return k->dead ? -ENODEV : -EOPNOTSUPP;
	r = kernel_ioctl(k, k->device_fd, VFIO_DEVICE_RESET, NULL);
	return r < 0 ? r : 0;
}

static int kernel_liveness_fd(struct vfio_device *dev)
{
	return kernel_of(dev)->req_fd;
}

/*
 * The kernel asks for the device when it is being unbound or removed, and waits until every
 * descriptor of it is closed: for us the function is gone.
 */
static int kernel_check(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);
	eventfd_t count;

	if (k->req_fd >= 0 && eventfd_read(k->req_fd, &count) == 0)
		k->dead = true;
	return k->dead ? -ENODEV : 0;
}

/* Closing the device resets the function; only then may the container drop the DMA maps. */
static void kernel_close(struct vfio_device *dev)
{
	struct kernel_device *k = kernel_of(dev);

	watch_enter(&k->watch);
	k->sys->close(k->device_fd);
	k->sys->close(k->container_fd);
	watch_leave(&k->watch);
	watch_end(&k->watch);
	fd_closep(&k->req_fd);
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

/* Part of @r that the function's own limits allow; iommufd's compat container reports too much. */
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
	struct vfio_iommu_type1_info ii = { 0 };
	struct iova_range v[IOVA_RANGES];
	struct vfio_caps caps;
	void *buf;
	size_t len;
	int n, r = 0;

	n = get_info_buf(k, k->container_fd, VFIO_IOMMU_GET_INFO, &ii, sizeof(ii), &buf, &len);
	if (n < 0)
		return n;
	memcpy(&ii, buf, sizeof(ii));
	vfio_caps_init(&caps, buf, len, sizeof(ii),
		ii.flags & VFIO_IOMMU_INFO_CAPS ? ii.cap_offset : 0);
	n = vfio_caps_iova_ranges(&caps, v, IOVA_RANGES);
	free(buf);
	if (n == 0 && info->has_zpci) {
		v[0] = (struct iova_range){ info->start_dma, info->end_dma };
		n = 1;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = add_range(k, v[i], info);
	if (n < 0 || r < 0)
		return n < 0 ? n : r;
	if (k->iova.nfree)
		return 0;
	log_err("vfio: the container reports no usable DMA addresses; a kernel with IOVA range "
		"information (5.4 or later) is needed");
	return -EOPNOTSUPP;
}

/* Optional: a function or kernel without the request interrupt just cannot tell. */
static void arm_request(struct kernel_device *k)
{
	k->req_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->req_fd >= 0 && set_irq(k, VFIO_PCI_REQ_IRQ_INDEX, k->req_fd) < 0)
		fd_closep(&k->req_fd);
}

/* Without a helper thread the function works as well; a hang is just not told. */
static void start_watch(struct kernel_device *k, const char *name)
{
	int r = watch_begin(&k->watch, name, WATCH_LIMIT_MS);

	if (r < 0)
		log_warn("%s: no thread to watch for hanging requests: %s", name, strerror(-r));
}

static int claim(struct kernel_device *k, const char *name)
{
	if (k->sys->claim(k->device_fd) == 0)
		return 0;
	log_err("%s: another process works with the same device descriptor; end that one", name);
	return note_errno(k);
}

int vfio_kernel_attach(const struct sys_ops *sys, const char *name, int device_fd, int container_fd,
	struct vfio_device **ret)
{
	struct kernel_device *k = calloc(1, sizeof(*k));
	struct vfio_dev_info info = { 0 };
	int r;

	if (!k) {
		sys->close(device_fd);
		sys->close(container_fd);
		return -ENOMEM;
	}
	k->dev.ops = &kernel_ops;
	k->sys = sys;
	k->device_fd = device_fd;
	k->container_fd = container_fd;
	k->req_fd = -1;
	start_watch(k, name);
	r = claim(k, name);
	if (r == 0)
		r = kernel_get_info(&k->dev, &info);
	if (r == 0)
		r = read_iova_ranges(k, &info);
	if (r < 0) {
		kernel_close(&k->dev);
		return r;
	}
	k->can_reset = info.flags & VFIO_DEVICE_FLAGS_RESET;
	arm_request(k);
	*ret = &k->dev;
	return 0;
}
