/* SPDX-License-Identifier: MIT */
/*
 * double.c - a VFIO device with the region, inside this process
 *
 * Stands where the kernel would, behind struct sys_ops: information with capabilities, DMA maps,
 * and a region that runs requests with region_exec on the memory of this very process. Behind it is
 * the smallest ISM function that shows effects: READ_GID, one DMB, moves into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provider.h"
#include "vfio/base/endian.h"
#include "vfio/kernel.h"
#include "vfio/region_exec.h"

#define PAGE	     4096u
#define GID	     UINT64_C(0x0123456789abcdef)
#define TOKEN	     UINT64_C(0x123400000000)
#define BAR2_SIZE    4096u
#define REGION_SHIFT 40
#define MAX_MAPS     16u

static struct {
	unsigned int index; /* of the zPCI I/O region */
	struct region_exec exec;
	int probe[2]; /* pipe: asks the kernel what may be read and written */
	void *opened; /* PROT_READ page made writable for one request */
	struct vfio_iommu_type1_dma_map maps[MAX_MAPS];
	unsigned int nmaps;
	uint8_t config[256];
	/* the function */
	uint8_t body[64];
	uint8_t reply[64];
	uint64_t dmb;
	uint32_t dmb_len;
} d;

/* --- memory of this process --- */

static bool readable(const void *p, uint8_t *byte)
{
	return write(d.probe[1], p, 1) == 1 && read(d.probe[0], byte, 1) == 1;
}

static bool writable(void *p)
{
	uint8_t byte;

	if (write(d.probe[1], p, 1) != 1)
		return false;
	if (read(d.probe[0], p, 1) == 1)
		return true;
	return read(d.probe[0], &byte, 1) == 2; /* empties the pipe; false */
}

/*
 * As the kernel pins: present and readable is enough, and then it is written through an alias that
 * does not care for the protection.
 */
static void *resolve(void *ctx, uint64_t gaddr, size_t len, int write)
{
	void *p = (void *)(uintptr_t)gaddr;
	uint8_t byte;

	if (!readable(p, &byte))
		return NULL;
	if (write && !writable(p)) {
		d.opened = (void *)(uintptr_t)(gaddr & ~(uint64_t)(PAGE - 1));
		mprotect(d.opened, PAGE, PROT_READ | PROT_WRITE);
	}
	return p;
}

static uint8_t *by_iova(uint64_t iova, uint64_t len)
{
	for (unsigned int i = 0; i < d.nmaps; i++) {
		const struct vfio_iommu_type1_dma_map *m = &d.maps[i];

		if (iova >= m->iova && len <= m->size && iova - m->iova <= m->size - len)
			return (uint8_t *)(uintptr_t)(m->vaddr + (iova - m->iova));
	}
	return NULL;
}

/* --- the function --- */

static void execute(const uint8_t *hdr)
{
	uint16_t ret = 0, len = 8;

	memset(d.reply, 0, sizeof(d.reply));
	switch (load_be32(hdr)) {
	case 0x01: /* REG_SBA, REG_IEQ: nothing to show there */
	case 0x02:
		break;
	case 0x03: /* READ_GID */
		store_be64(d.reply + 8, GID);
		len = 16;
		break;
	case 0x0a: /* REG_DMB */
		d.dmb = load_be64(d.body);
		d.dmb_len = load_be32(d.body + 8);
		store_be64(d.reply + 8, TOKEN);
		len = 16;
		break;
	default:
		ret = 1;
	}
	memcpy(d.reply, hdr, 4);
	store_be16(d.reply + 4, ret);
	store_be16(d.reply + 6, len);
}

static int fn_load(void *ctx, uint8_t pcias, uint64_t offset, uint16_t len, uint64_t *value)
{
	const uint8_t *from = pcias == 15 ? d.config : d.reply;
	uint64_t size = pcias == 15 ? sizeof(d.config) : sizeof(d.reply);
	uint64_t unit = pcias == 15 ? 4 : 8;
	uint64_t v = 0;

	if ((pcias != 2 && pcias != 15) || len < 1 || len > unit || offset % unit + len > unit ||
		offset >= size)
		return -EINVAL;
	while (len--)
		v = v << 8 | from[offset++];
	*value = v;
	return 0;
}

static int move(uint64_t address, const void *data, uint16_t len)
{
	uint64_t offset = address - TOKEN;
	uint8_t *dmb = by_iova(d.dmb, d.dmb_len);

	if (address < TOKEN || !dmb || offset > d.dmb_len || len > d.dmb_len - offset)
		return -EIO;
	memcpy(dmb + offset, data, len);
	return 0;
}

static int fn_store(void *ctx, uint8_t pcias, uint64_t offset, const void *data, uint16_t len)
{
	if (len < 1 || offset % PAGE + len > PAGE)
		return -EINVAL;
	if (pcias == 0)
		return move(offset, data, len);
	if (pcias != 2)
		return -EINVAL;
	if (offset == 0 && len == 8)
		execute(data);
	else if (offset >= 8 && offset - 8 < sizeof(d.body) && len <= sizeof(d.body) - (offset - 8))
		memcpy(&d.body[offset - 8], data, len);
	else
		return -EINVAL;
	return 0;
}

static const struct region_exec_ops exec_ops = { resolve, fn_load, fn_store };

/* --- the kernel --- */


/* Copies @fixed bytes and the capability behind them when there is room for both. */
static int give(void *arg, const void *fixed, uint32_t fixed_len, const void *cap, uint32_t cap_len,
	size_t off_at)
{
	uint32_t room, want = fixed_len + cap_len;

	memcpy(&room, arg, sizeof(room));
	memcpy(arg, fixed, fixed_len);
	memcpy(arg, &want, sizeof(want));
	if (cap_len && room >= want) {
		memcpy((uint8_t *)arg + off_at, &fixed_len, sizeof(fixed_len));
		memcpy((uint8_t *)arg + fixed_len, cap, cap_len);
	}
	return 0;
}

static int device_info(void *arg)
{
	const struct vfio_device_info di = { .flags = VFIO_DEVICE_FLAGS_PCI,
		.num_regions = d.index + 1, .num_irqs = VFIO_PCI_NUM_IRQS };

	return give(arg, &di, sizeof(di), NULL, 0, 0);
}

static int region_info(void *arg)
{
	const struct vfio_region_info_cap_type type = {
		.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
		.type = ZPCI_IO_REGION_TYPE,
		.subtype = ZPCI_IO_REGION_SUBTYPE,
	};
	struct vfio_region_info ri;
	uint32_t cap_len = 0;

	memcpy(&ri, arg, sizeof(ri));
	if (ri.index > d.index) {
		errno = EINVAL;
		return -1;
	}
	ri.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	ri.cap_offset = 0;
	ri.offset = (uint64_t)ri.index << REGION_SHIFT;
	ri.size = ri.index == 0 ? UINT64_C(1) << 48 : ri.index == 2 ? BAR2_SIZE : 0;
	if (ri.index == VFIO_DEV_REGION_CONFIG)
		ri.size = sizeof(d.config);
	if (ri.index >= VFIO_DEV_REGION_FIXED)
		ri.size = ZPCI_IO_REGION_SIZE;
	if (ri.index == d.index) {
		ri.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		cap_len = sizeof(type);
	}
	return give(arg, &ri, sizeof(ri), &type, cap_len,
		offsetof(struct vfio_region_info, cap_offset));
}

static int iommu_info(void *arg)
{
	const struct vfio_iommu_type1_info ii = { .flags = VFIO_IOMMU_INFO_CAPS };
	const struct {
		struct vfio_info_cap_header header;
		uint32_t num, reserved;
		struct vfio_iova_range range;
	} cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1 },
		.num = 1,
		.range = { UINT64_C(0x100000000), UINT64_C(0x1ffffffff) },
	};

	return give(arg, &ii, sizeof(ii), &cap, sizeof(cap),
		offsetof(struct vfio_iommu_type1_info, cap_offset));
}

static int map_dma(const void *arg)
{
	if (d.nmaps == MAX_MAPS) {
		errno = ENOSPC;
		return -1;
	}
	memcpy(&d.maps[d.nmaps++], arg, sizeof(d.maps[0]));
	return 0;
}

static int double_ioctl(int fd, unsigned long nr, void *arg)
{
	switch (nr) {
	case VFIO_DEVICE_GET_INFO:
		return device_info(arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return region_info(arg);
	case VFIO_IOMMU_GET_INFO:
		return iommu_info(arg);
	case VFIO_IOMMU_MAP_DMA:
		return map_dma(arg);
	default:
		errno = EINVAL;
		return -1;
	}
}

static ssize_t result(ssize_t r)
{
	if (d.opened) {
		mprotect(d.opened, PAGE, PROT_READ);
		d.opened = NULL;
	}
	if (r >= 0)
		return r;
	errno = (int)-r;
	return -1;
}

static ssize_t double_pread(int fd, void *buf, size_t count, off_t pos)
{
	uint64_t at = (uint64_t)pos & ((UINT64_C(1) << REGION_SHIFT) - 1);
	uint64_t index = (uint64_t)pos >> REGION_SHIFT;

	if (count == 0)
		return 0;
	if (index == VFIO_DEV_REGION_CONFIG && at + count <= sizeof(d.config)) {
		memcpy(buf, d.config + at, count);
		return (ssize_t)count;
	}
	return result(index == d.index ? region_exec_read(&d.exec, at, buf, count) : -EINVAL);
}

static ssize_t double_pwrite(int fd, const void *buf, size_t count, off_t pos)
{
	uint64_t at = (uint64_t)pos & ((UINT64_C(1) << REGION_SHIFT) - 1);
	uint64_t index = (uint64_t)pos >> REGION_SHIFT;

	if (count == 0)
		return 0;
	return result(index == d.index ? region_exec_write(&d.exec, at, buf, count) : -EINVAL);
}

static int double_close(int fd)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (d.probe[i] >= 0)
			close(d.probe[i]);
		d.probe[i] = -1;
	}
	return 0;
}

static const struct sys_ops double_sys = {
	.close = double_close,
	.ioctl = double_ioctl,
	.pread = double_pread,
	.pwrite = double_pwrite,
};

int provider_double(struct provider *p, unsigned int index, unsigned int max)
{
	static const uint8_t id[] = { 0x14, 0x10, 0xed, 0x04 };

	if (index < VFIO_DEV_REGION_FIXED || index > 64 || max < 64 || max > PAGE)
		return -EINVAL;
	if (pipe2(d.probe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	d.index = index;
	memcpy(d.config, id, sizeof(id));
	region_exec_init(&d.exec, &exec_ops, NULL, (uint16_t)max);
	p->process_memory = true;
	return vfio_kernel_attach(&double_sys, 0, 1, &p->dev);
}
