/* SPDX-License-Identifier: MIT */
#include "ism_double.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio_zdev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ism_double_priv.h"
#include "vfio/kernel.h"

#define PAGE	   4096u
#define IOVA_START UINT64_C(0x100000000)
#define IOVA_END   UINT64_C(0x1ffffffff)

static struct ism_double d;

/* --- the function's view of its driver --- */

static void *host_resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	const struct ism_port *p = ctx;

	for (unsigned int i = 0; i < p->nmaps; i++) {
		const struct vfio_iommu_type1_dma_map *m = &p->maps[i];

		if (iova >= m->iova && len <= m->size && iova - m->iova <= m->size - len)
			return (void *)(uintptr_t)(m->vaddr + (iova - m->iova));
	}
	return NULL;
}

static void host_irq(void *ctx)
{
	const struct ism_port *p = ctx;

	if (p->msi >= 0)
		eventfd_write(p->msi, 1);
}

static void host_unplugged(void *ctx)
{
	const struct ism_port *p = ctx;

	if (p->req >= 0)
		eventfd_write(p->req, 1);
}

static const struct function_host host = { host_resolve, host_irq, host_unplugged };

/* --- information --- */

/* Copies @fixed bytes and the chain behind them when there is room for both. */
static int give(void *arg, const void *fixed, uint32_t fixed_len, const void *caps,
	uint32_t caps_len, size_t off_at)
{
	uint32_t room, want = fixed_len + caps_len;

	memcpy(&room, arg, sizeof(room));
	if (room < fixed_len)
		return -EINVAL;
	memcpy(arg, fixed, fixed_len);
	memcpy(arg, &want, sizeof(want));
	if (caps_len && room >= want) {
		memcpy((uint8_t *)arg + off_at, &fixed_len, sizeof(fixed_len));
		memcpy((uint8_t *)arg + fixed_len, caps, caps_len);
	}
	return 0;
}

static int device_info(const struct ism_port *p, void *arg)
{
	bool region = d.params.kind == ISM_DOUBLE_REGION;
	const struct vfio_device_info di = {
		.flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_CAPS,
		.num_regions = region ? d.params.region_index + 1 : VFIO_PCI_NUM_REGIONS,
		.num_irqs = VFIO_PCI_NUM_IRQS,
	};
	struct {
		struct vfio_device_info_cap_zpci_base base;
		struct vfio_device_info_cap_zpci_group group;
	} caps = { 0 };

	caps.base.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_BASE;
	caps.base.header.version = (uint16_t)d.params.caps_version;
	caps.base.header.next = sizeof(di) + sizeof(caps.base);
	caps.base.start_dma = IOVA_START;
	caps.base.end_dma = IOVA_END;
	caps.base.pchid = d.fabric->chid;
	caps.base.vfn = (uint16_t)p->fn->nr;
	caps.base.pft = 5;
	caps.base.fh = 0x80000000u | (p->fn->nr + 1);
	caps.group.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_GROUP;
	caps.group.header.version = (uint16_t)d.params.caps_version;
	caps.group.noi = 1;
	caps.group.maxstbl = 128; /* what Linux reports whatever the hardware can do */
	if (d.params.caps_version >= 2)
		caps.group.imaxstbl = (uint16_t)fabric_knob(d.fabric, KNOB_max_store);
	return give(arg, &di, sizeof(di), &caps, sizeof(caps),
		offsetof(struct vfio_device_info, cap_offset));
}

static int region_info(const struct ism_port *p, void *arg)
{
	const struct vfio_region_info_cap_type type = {
		.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
		.type = ZPCI_IO_REGION_TYPE,
		.subtype = ZPCI_IO_REGION_SUBTYPE,
	};
	struct vfio_region_info ri;
	uint32_t cap_len = 0;

	memcpy(&ri, arg, sizeof(ri));
	if (ri.index == VFIO_PCI_ROM_REGION_INDEX || ri.index == VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	if (ri.index > VFIO_PCI_VGA_REGION_INDEX &&
		(d.params.kind != ISM_DOUBLE_REGION || ri.index > d.params.region_index))
		return -EINVAL;
	ri.cap_offset = 0;
	ri.offset = (uint64_t)ri.index << ism_double_shift(&d);
	ri.size = ism_double_region_size(&d, p, ri.index);
	ri.flags = ri.size ? VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE : 0;
	if (ri.index > VFIO_PCI_VGA_REGION_INDEX && ri.index == d.params.region_index) {
		ri.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		cap_len = sizeof(type);
	}
	return give(arg, &ri, sizeof(ri), &type, cap_len,
		offsetof(struct vfio_region_info, cap_offset));
}

static int iommu_info(void *arg)
{
	const struct vfio_iommu_type1_info ii = {
		.flags = VFIO_IOMMU_INFO_CAPS | VFIO_IOMMU_INFO_PGSIZES, .iova_pgsizes = PAGE };
	const struct {
		struct vfio_info_cap_header header;
		uint32_t num, reserved;
		struct vfio_iova_range range;
	} cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1 },
		.num = 1,
		.range = { IOVA_START, IOVA_END },
	};

	return give(arg, &ii, sizeof(ii), &cap, sizeof(cap),
		offsetof(struct vfio_iommu_type1_info, cap_offset));
}

/* --- DMA --- */

static bool overlaps(const struct vfio_iommu_type1_dma_map *m, uint64_t iova, uint64_t size)
{
	return iova < m->iova + m->size && m->iova < iova + size;
}

static int map_dma(struct ism_port *p, const void *arg)
{
	struct vfio_iommu_type1_dma_map m;

	memcpy(&m, arg, sizeof(m));
	if (m.argsz < sizeof(m) || !(m.flags & 3) || !m.size ||
		(m.vaddr | m.iova | m.size) % PAGE || m.iova < IOVA_START ||
		m.size - 1 > IOVA_END - m.iova)
		return -EINVAL;
	for (unsigned int i = 0; i < p->nmaps; i++)
		if (overlaps(&p->maps[i], m.iova, m.size))
			return -EEXIST;
	if (p->nmaps == ISM_DOUBLE_MAPS)
		return -ENOSPC;
	p->maps[p->nmaps++] = m;
	return 0;
}

/* Whole maps only; a range without any succeeds and says 0. */
static int unmap_dma(struct ism_port *p, void *arg)
{
	struct vfio_iommu_type1_dma_unmap un;
	uint64_t removed = 0;

	memcpy(&un, arg, sizeof(un));
	if (un.argsz < sizeof(un) || un.flags || !un.size || (un.iova | un.size) % PAGE)
		return -EINVAL;
	for (unsigned int i = 0; i < p->nmaps; i++)
		if (overlaps(&p->maps[i], un.iova, un.size) &&
			(p->maps[i].iova < un.iova ||
				p->maps[i].iova + p->maps[i].size > un.iova + un.size))
			return -EINVAL;
	function_dma_unmapped(p->fn, un.iova, un.size);
	for (unsigned int i = 0; i < p->nmaps;) {
		if (overlaps(&p->maps[i], un.iova, un.size)) {
			removed += p->maps[i].size;
			p->maps[i] = p->maps[--p->nmaps];
		} else {
			i++;
		}
	}
	un.size = removed;
	memcpy(arg, &un, sizeof(un));
	return 0;
}

/* --- interrupts and reset --- */

/* As B.7: index 1 has one vector and has to be off before it changes; 4 always has one; 3 none. */
static int set_irqs(struct ism_port *p, const void *arg)
{
	struct vfio_irq_set s;
	int32_t fd = -1;
	int *to;

	memcpy(&s, arg, sizeof(s));
	if (s.index != VFIO_PCI_MSI_IRQ_INDEX && s.index != VFIO_PCI_REQ_IRQ_INDEX)
		return -EINVAL;
	if (s.argsz < sizeof(s) || s.start || s.count > 1 ||
		!(s.flags & VFIO_IRQ_SET_ACTION_TRIGGER))
		return -EINVAL;
	to = s.index == VFIO_PCI_MSI_IRQ_INDEX ? &p->msi : &p->req;
	if (s.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
		if (s.argsz < sizeof(s) + sizeof(fd) || s.count != 1 ||
			(to == &p->msi && *to >= 0))
			return -EINVAL;
		memcpy(&fd, (const uint8_t *)arg + sizeof(s), sizeof(fd));
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -EBADF;
	}
	if (*to >= 0)
		close(*to);
	*to = fd;
	if (to == &p->msi)
		function_set_msi(p->fn, fd >= 0);
	return 0;
}

/* --- calls --- */

static struct ism_port *port_of(int fd)
{
	for (unsigned int i = 0; i < d.params.functions; i++)
		if (d.port[i].open &&
			(d.port[i].device_fd == fd || d.port[i].container_fd == fd))
			return &d.port[i];
	return NULL;
}

/* The port whose descriptor @fd is; NULL with errno set: there is none, or the call shall fail. */
static struct ism_port *enter(int fd)
{
	struct ism_port *p = port_of(fd);

	d.count.calls++;
	if (!p) {
		errno = EBADF;
	} else if (d.fail_nth && --d.fail_nth == 0) {
		errno = d.fail_errno;
		return NULL;
	}
	fabric_run(d.fabric);
	return p;
}

static int result(ssize_t r)
{
	if (r >= 0)
		return (int)r;
	errno = (int)-r;
	return -1;
}

/* Device and container ioctls share numbers. */
static int device_ioctl(struct ism_port *p, unsigned long nr, void *arg)
{
	switch (nr) {
	case VFIO_DEVICE_GET_INFO:
		return device_info(p, arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(p, arg);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(p, arg);
	case VFIO_DEVICE_RESET:
		return function_reset(p->fn) < 0 ? -EINVAL : 0;
	}
	return -ENOTTY;
}

static int container_ioctl(struct ism_port *p, unsigned long nr, void *arg)
{
	switch (nr) {
	case VFIO_IOMMU_GET_INFO:
		return iommu_info(arg);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(p, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return unmap_dma(p, arg);
	}
	return -ENOTTY;
}

static int double_ioctl(int fd, unsigned long nr, void *arg)
{
	struct ism_port *p = enter(fd);

	if (!p)
		return -1;
	return result(fd == p->device_fd ? device_ioctl(p, nr, arg) : container_ioctl(p, nr, arg));
}

static ssize_t double_pread(int fd, void *buf, size_t count, off_t pos)
{
	struct ism_port *p = enter(fd);

	if (!p)
		return -1;
	if (fd != p->device_fd || pos < 0)
		return result(-EINVAL);
	return result(ism_double_read(&d, p, (uint64_t)pos, buf, count));
}

static ssize_t double_pwrite(int fd, const void *buf, size_t count, off_t pos)
{
	struct ism_port *p = enter(fd);

	if (!p)
		return -1;
	if (fd != p->device_fd || pos < 0)
		return result(-EINVAL);
	return result(ism_double_write(&d, p, (uint64_t)pos, buf, count));
}

/* The device's close ends what it did, the container's drops the maps. */
static int double_close(int fd)
{
	struct ism_port *p = port_of(fd);

	if (!p)
		return result(-EBADF);
	if (fd == p->device_fd) {
		function_detach(p->fn);
		result(p->msi >= 0 ? close(p->msi) : 0);
		result(p->req >= 0 ? close(p->req) : 0);
		p->msi = p->req = p->device_fd = -1;
	} else {
		p->container_fd = -1;
		p->nmaps = 0;
	}
	p->open = p->device_fd >= 0 || p->container_fd >= 0;
	return close(fd);
}

static int double_claim(int fd)
{
	return enter(fd) ? 0 : -1;
}

const struct sys_ops ism_double_sys = {
	.claim = double_claim,
	.close = double_close,
	.ioctl = double_ioctl,
	.pread = double_pread,
	.pwrite = double_pwrite,
};

/* --- life --- */

int ism_double_start(const struct ism_double_params *params, struct fabric **ret)
{
	const struct fabric_params fp = { .functions = params->functions,
		.chid = FABRIC_CHID_DEFAULT, .gid_base = FABRIC_GID_BASE };
	int r;

	if (params->functions < 1 || params->functions > ISM_DOUBLE_MAX)
		return -EINVAL;
	d = (struct ism_double){ .params = *params };
	if (!d.params.region_index)
		d.params.region_index = VFIO_DEV_REGION_FIXED;
	if (!d.params.caps_version)
		d.params.caps_version = 2;
	if (pipe2(d.probe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	r = fabric_new(&fp, &d.fabric);
	if (r == 0)
		*ret = d.fabric;
	return r;
}

int ism_double_stop(void)
{
	int r = 0;

	for (unsigned int i = 0; i < d.params.functions; i++) {
		if (d.port[i].open)
			r = -EBUSY;
		free(d.port[i].maps);
	}
	d.fabric = fabric_free(d.fabric);
	close(d.probe[0]);
	close(d.probe[1]);
	d.params.functions = 0;
	return r;
}

int ism_double_open(unsigned int nr, struct vfio_device **ret)
{
	struct ism_port *p = &d.port[nr];
	int r;

	if (p->open)
		return -EBUSY;
	snprintf(p->name, sizeof(p->name), "double%u", nr);
	if (!p->maps)
		p->maps = calloc(ISM_DOUBLE_MAPS, sizeof(*p->maps));
	if (!p->maps)
		return -ENOMEM;
	p->fn = d.fabric->fn[nr];
	r = function_attach(p->fn, &host, p);
	if (r < 0)
		return r;
	p->device_fd = eventfd(0, EFD_CLOEXEC);
	p->container_fd = eventfd(0, EFD_CLOEXEC);
	p->msi = p->req = -1;
	p->open = true;
	ism_double_io_init(&d, p);
	return vfio_kernel_attach(&ism_double_sys, p->name, p->device_fd, p->container_fd,
		ret);
}

void ism_double_fail(unsigned int nth, int err)
{
	d.fail_nth = nth;
	d.fail_errno = err;
}

const struct ism_double_count *ism_double_count(void)
{
	return &d.count;
}
