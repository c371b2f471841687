/* SPDX-License-Identifier: MIT */
/*
 * The kernel device over a double of the kernel: argsz protocol, limits, and every call failing
 * once.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <linux/vfio_zdev.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/kernel.h"
#include "vfio/zpci.h"
#include "zpci-io.h"

#define DEVICE	  100
#define CONTAINER 101

/* The kernel double. */
static struct {
	unsigned int calls, fail_call; /* 1-based number of the call that fails; 0: none */
	int fail_errno;
	unsigned int pad; /* size of a capability in front of the others */
	bool no_ranges, no_zpci, grows;
	uint64_t start_dma, end_dma;
	unsigned int open_fds;
	unsigned int info_calls;
	uint64_t maps, unmaps;
	bool has_err;
	bool only_msix;
	int err_fd;
	struct vfio_iommu_type1_dma_map last_map;
	bool unmap_less;
	struct { uint32_t flags, index, count; int32_t fd; } irq[8];
	unsigned int nirq;
	int req_fd;
	unsigned int resets;
	uint8_t region[48];
	off_t last_pos;
	uint8_t config[64];
} k;

static int fails(void)
{
	k.calls++;
	if (k.calls != k.fail_call)
		return 0;
	errno = k.fail_errno;
	return 1;
}

static int k_close(int fd)
{
	assert_true(fd == DEVICE || fd == CONTAINER);
	k.open_fds--;
	return 0;
}

struct chain {
	uint8_t b[4096] __attribute__((aligned(8)));
	size_t len;
	uint32_t first;
	uint32_t *link; /* where the next offset goes */
};

static uint8_t *chain_add(struct chain *c, uint16_t id, uint16_t version, size_t size)
{
	uint32_t at = (uint32_t)(c->len + 7) & ~7u;
	uint8_t *p = c->b + at;

	memset(p, 0, size);
	memcpy(p, &id, 2);
	memcpy(p + 2, &version, 2);
	if (c->first)
		memcpy(c->link, &at, 4);
	else
		c->first = at;
	c->link = (uint32_t *)(void *)(p + 4);
	c->len = at + size;
	return p;
}

/* Copies as the kernel does: what does not fit leaves only the fixed part and the wanted size. */
static int give(void *arg, const void *info, size_t fixed, struct chain *c, size_t off_at)
{
	uint32_t room, want = (uint32_t)c->len, zero = 0;

	memcpy(&room, arg, 4);
	if (k.grows && ++k.info_calls)
		want = room + 8;
	memcpy(c->b, info, fixed);
	memcpy(c->b, &want, 4);
	memcpy(c->b + off_at, want <= room ? &c->first : &zero, 4);
	memcpy(arg, c->b, want <= room ? want : fixed);
	return 0;
}

static int get_info(void *arg)
{
	struct vfio_device_info di = { .flags = VFIO_DEVICE_FLAGS_CAPS | VFIO_DEVICE_FLAGS_RESET,
		.num_regions = 11, .num_irqs = 5 };
	struct vfio_device_info_cap_zpci_base *z;
	struct chain c = { .len = sizeof(di) };

	if (k.pad)
		chain_add(&c, 99, 1, k.pad);
	if (!k.no_zpci) {
		z = (void *)chain_add(&c, VFIO_DEVICE_INFO_CAP_ZPCI_BASE, 2, sizeof(*z));
		z->start_dma = k.start_dma;
		z->end_dma = k.end_dma;
		z->pchid = 0x1d15;
		z->pft = 5;
	}
	return give(arg, &di, sizeof(di), &c, offsetof(struct vfio_device_info, cap_offset));
}

static int get_region(void *arg)
{
	struct vfio_region_info ri = { .flags = 3 };
	struct vfio_region_info_cap_type *t;
	struct chain c = { .len = sizeof(ri) };

	memcpy(&ri.index, (uint8_t *)arg + 8, 4);
	ri.offset = (uint64_t)ri.index << 40;
	ri.size = 256;
	if (ri.index == 10) {
		ri.size = 48;
		ri.flags |= VFIO_REGION_INFO_FLAG_CAPS;
		t = (void *)chain_add(&c, VFIO_REGION_INFO_CAP_TYPE, 1, sizeof(*t));
		t->type = ZPCI_IO_REGION_TYPE;
		t->subtype = ZPCI_IO_REGION_SUBTYPE;
	} else if (ri.index > 7) {
		errno = EINVAL;
		return -1;
	}
	return give(arg, &ri, sizeof(ri), &c, offsetof(struct vfio_region_info, cap_offset));
}

static int iommu_info(void *arg)
{
	struct vfio_iommu_type1_info ii = { .flags = VFIO_IOMMU_INFO_CAPS };
	struct chain c = { .len = sizeof(ii) };
	const uint64_t r[] = { 0x1000, 0x4fff, 0x100000, 0xffffffff };
	uint8_t *p;

	if (!k.no_ranges) {
		p = chain_add(&c, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 16 + sizeof(r));
		p[8 + (__BYTE_ORDER == __BIG_ENDIAN ? 3 : 0)] = 2;
		memcpy(p + 16, r, sizeof(r));
	}
	return give(arg, &ii, sizeof(ii), &c, offsetof(struct vfio_iommu_type1_info, cap_offset));
}

static int set_irqs(const void *arg)
{
	struct vfio_irq_set s;

	memcpy(&s, arg, sizeof(s));
	if (s.index == VFIO_PCI_ERR_IRQ_INDEX && !k.has_err) {
		errno = EINVAL;
		return -1;
	}
	k.irq[k.nirq].flags = s.flags;
	k.irq[k.nirq].index = s.index;
	k.irq[k.nirq].count = s.count;
	k.irq[k.nirq].fd = -1;
	if (s.argsz == sizeof(s) + 4)
		memcpy(&k.irq[k.nirq].fd, (const uint8_t *)arg + sizeof(s), 4);
	if (s.index == VFIO_PCI_REQ_IRQ_INDEX)
		k.req_fd = k.irq[k.nirq].fd;
	if (s.index == VFIO_PCI_ERR_IRQ_INDEX)
		k.err_fd = k.irq[k.nirq].fd;
	k.nirq++;
	return 0;
}

static int k_ioctl(int fd, unsigned long nr, void *arg)
{
	struct vfio_iommu_type1_dma_unmap *un = arg;
	struct vfio_irq_info *ii = arg;

	if (fails())
		return -1;
	assert_int_equal(fd, nr == VFIO_IOMMU_MAP_DMA || nr == VFIO_IOMMU_UNMAP_DMA ||
		(nr == VFIO_IOMMU_GET_INFO) ? CONTAINER : DEVICE);
	switch (nr) {
	case VFIO_DEVICE_GET_INFO:
		return get_info(arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region(arg);
	case VFIO_IOMMU_GET_INFO:
		return iommu_info(arg);
	case VFIO_IOMMU_MAP_DMA:
		memcpy(&k.last_map, arg, sizeof(k.last_map));
		k.maps++;
		return 0;
	case VFIO_IOMMU_UNMAP_DMA:
		k.unmaps++;
		if (k.unmap_less)
			un->size -= 4096;
		return 0;
	case VFIO_DEVICE_GET_IRQ_INFO:
		assert_int_equal(ii->index, VFIO_PCI_MSI_IRQ_INDEX);
		ii->count = !k.only_msix;
		return 0;
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(arg);
	case VFIO_DEVICE_RESET:
		k.resets++;
		return 0;
	}
	fail();
	return -1;
}

static uint8_t *file_at(off_t pos, size_t len)
{
	k.last_pos = pos;
	if (pos >> 40 == 10) {
		assert_true((pos & 0xffff) + (off_t)len <= 48);
		return k.region + (pos & 0xffff);
	}
	assert_int_equal(pos >> 40, 7);
	return k.config + (pos & 63);
}

static ssize_t k_pread(int fd, void *buf, size_t len, off_t pos)
{
	if (fails())
		return -1;
	memcpy(buf, file_at(pos, len), len);
	return (ssize_t)len;
}

static ssize_t k_pwrite(int fd, const void *buf, size_t len, off_t pos)
{
	if (fails())
		return -1;
	memcpy(file_at(pos, len), buf, len);
	return (ssize_t)len;
}

static int k_claim(int fd)
{
	assert_int_equal(fd, DEVICE);
	return fails() ? -1 : 0;
}

static const struct sys_ops double_sys = {
	.claim = k_claim,
	.close = k_close,
	.ioctl = k_ioctl,
	.pread = k_pread,
	.pwrite = k_pwrite,
};

static int setup(void **state)
{
	const uint16_t max = 4096;

	memset(&k, 0, sizeof(k));
	k.start_dma = 0x100000;
	k.end_dma = 0x4fffff;
	k.req_fd = -1;
	memcpy(k.region + 8, &max, 2);
	return 0;
}

static int attach(struct vfio_device **dev)
{
	const struct vfio_kernel_fds fds = { .device = DEVICE, .group = -1, .iommu = CONTAINER };

	k.open_fds = 2;
	return vfio_kernel_attach(&double_sys, "double", &fds, dev);
}

static int teardown(void **state)
{
	return k.open_fds ? -1 : 0;
}

static void test_info(void **state)
{
	struct vfio_device *dev = NULL;
	struct vfio_dev_info info;
	struct vfio_region_desc d;

	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->get_info(dev, &info), 0);
	assert_int_equal(info.num_regions, 11);
	assert_true(info.has_zpci);
	assert_int_equal(info.pft, 5);
	assert_int_equal(
		vfio_device_find_region(dev, ZPCI_IO_REGION_TYPE, ZPCI_IO_REGION_SUBTYPE, 48, &d),
		0);
	assert_int_equal(d.index, 10);
	assert_int_equal(d.offset, UINT64_C(10) << 40);
	assert_int_equal(dev->ops->get_region(dev, 9, &d), -EINVAL);
	assert_false(dev->iova_is_va);
	vfio_device_close(dev);
}

/* A chain that does not fit at first is asked for again; one that keeps growing is refused. */
static void test_argsz(void **state)
{
	struct vfio_device *dev = NULL;
	struct vfio_dev_info info;
	unsigned int calls;

	k.pad = 1000;
	assert_int_equal(attach(&dev), 0);
	calls = k.calls;
	assert_int_equal(dev->ops->get_info(dev, &info), 0);
	assert_int_equal(k.calls - calls, 2);
	assert_int_equal(info.pchid, 0x1d15);
	k.grows = true;
	assert_int_equal(dev->ops->get_info(dev, &info), -EPROTO);
	assert_int_equal(k.info_calls, 3);
	vfio_device_close(dev);
}

/* Addresses come from the container's ranges cut to the function's own. */
static void test_dma(void **state)
{
	struct vfio_device *dev = NULL;
	void *va = (void *)0x7000000;
	uint64_t a, b, c = 7;

	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->dma_map(dev, va, 0x100000, -1, 0, &a), 0);
	assert_int_equal(a, 0x100000);
	assert_int_equal(k.last_map.vaddr, 0x7000000);
	assert_int_equal(k.last_map.size, 0x100000);
	assert_int_equal(k.last_map.flags, 3);
	assert_int_equal(dev->ops->dma_map(dev, va, 0x200000, -1, 0, &b), 0);
	assert_int_equal(b, 0x200000);
	assert_int_equal(dev->ops->dma_map(dev, va, 0x100000, -1, 0, &c), -ENOSPC);
	assert_int_equal(c, 7);
	/* the kernel says no: the address is free for the next */
	k.fail_call = k.calls + 1;
	k.fail_errno = ENOMEM;
	assert_int_equal(dev->ops->dma_map(dev, va, 0x1000, -1, 0, &c), -ENOMEM);
	assert_int_equal(dev->ops->dma_map(dev, va, 0x1000, -1, 0, &c), 0);
	assert_int_equal(c, 0x400000);
	/* not let go of: never handed out again */
	k.unmap_less = true;
	assert_int_equal(dev->ops->dma_unmap(dev, b, 0x200000), -EINVAL);
	k.unmap_less = false;
	assert_int_equal(dev->ops->dma_map(dev, va, 0x200000, -1, 0, &c), -ENOSPC);
	assert_int_equal(dev->ops->dma_unmap(dev, a, 0x100000), 0);
	assert_int_equal(dev->ops->dma_map(dev, va, 0x100000, -1, 0, &c), 0);
	assert_int_equal(c, a);
	vfio_device_close(dev);
}

static void test_ranges_from_function_only(void **state)
{
	struct vfio_device *dev = NULL;
	uint64_t a;

	k.no_ranges = true;
	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->dma_map(dev, (void *)4096, 4096, -1, 0, &a), 0);
	assert_int_equal(a, k.start_dma);
	vfio_device_close(dev);
	k.no_zpci = true;
	assert_int_equal(attach(&dev), -EOPNOTSUPP);
}

static void test_irqs(void **state)
{
	struct vfio_device *dev = NULL;

	assert_int_equal(attach(&dev), 0);
	assert_int_equal(k.nirq, 1);
	assert_int_equal(k.irq[0].index, VFIO_PCI_REQ_IRQ_INDEX);
	assert_int_equal(dev->ops->set_msi(dev, -1), 0);
	assert_int_equal(k.nirq, 1); /* already off */
	assert_int_equal(dev->ops->set_msi(dev, 50), 0);
	assert_int_equal(k.irq[1].flags, 0x24);
	assert_int_equal(k.irq[1].index, 1);
	assert_int_equal(k.irq[1].count, 1);
	assert_int_equal(k.irq[1].fd, 50);
	assert_int_equal(dev->ops->set_msi(dev, 51), 0); /* through off */
	assert_int_equal(k.irq[2].flags, 0x21);
	assert_int_equal(k.irq[2].count, 0);
	assert_int_equal(k.irq[3].fd, 51);
	assert_int_equal(dev->ops->reset(dev), 0);
	assert_int_equal(k.resets, 1);
	vfio_device_close(dev);
}

/* One vector of MSI-X does the same for a function without MSI. */
static void test_msix(void **state)
{
	struct vfio_device *dev = NULL;

	k.only_msix = true;
	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->set_msi(dev, 50), 0);
	assert_int_equal(dev->ops->set_msi(dev, -1), 0);
	assert_int_equal(k.nirq, 3);
	for (int i = 1; i < 3; i++)
		assert_int_equal(k.irq[i].index, VFIO_PCI_MSIX_IRQ_INDEX);
	vfio_device_close(dev);
}

/* The kernel wants the device back: for us it is gone. */
static void test_request(void **state)
{
	struct vfio_device *dev = NULL;
	struct vfio_dev_info info;

	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->liveness_fd(dev), k.req_fd);
	assert_int_equal(dev->ops->check(dev), 0);
	assert_int_equal(eventfd_write(k.req_fd, 1), 0);
	assert_int_equal(dev->ops->check(dev), -ENODEV);
	assert_int_equal(dev->ops->check(dev), -ENODEV);
	assert_int_equal(dev->ops->get_info(dev, &info), -ENODEV);
	vfio_device_close(dev);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* One descriptor tells of both, whichever fires; an error ends the opening, too. */
static void test_error(void **state)
{
	struct vfio_device *dev = NULL;

	for (int i = 0; i < 2; i++) {
		k.has_err = true;
		k.nirq = 0;
		assert_int_equal(attach(&dev), 0);
		assert_int_equal(k.nirq, 2);
		assert_true(dev->ops->liveness_fd(dev) != k.req_fd);
		assert_false(readable(dev->ops->liveness_fd(dev)));
		assert_int_equal(eventfd_write(i ? k.err_fd : k.req_fd, 1), 0);
		assert_true(readable(dev->ops->liveness_fd(dev)));
		assert_int_equal(dev->ops->check(dev), -ENODEV);
		vfio_device_close(dev);
	}
}

static void test_batch(void **state)
{
	struct vfio_device *dev = NULL;
	uint8_t q[4][32] = { { 1 }, { 2 }, { 3 }, { 4 } };
	struct vfio_region_wr wr[4];
	struct vfio_region_desc d;
	size_t done = 0;

	assert_int_equal(attach(&dev), 0);
	assert_int_equal(dev->ops->get_region(dev, 10, &d), 0);
	for (size_t i = 0; i < 4; i++)
		wr[i] = (struct vfio_region_wr){ 16, q[i], 32 };
	assert_int_equal(dev->ops->region_write_batch(dev, &d, wr, 4, &done), 0);
	assert_int_equal(done, 4);
	assert_int_equal(k.last_pos, (UINT64_C(10) << 40) + 16);
	k.fail_call = k.calls + 3;
	k.fail_errno = EIO;
	assert_int_equal(dev->ops->region_write_batch(dev, &d, wr, 4, &done), -EIO);
	assert_int_equal(done, 2);
	assert_int_equal(k.region[16], 2); /* nothing behind the failure was written */
	assert_int_equal(dev->ops->region_write(dev, &d, 49, q, 1), -EINVAL);
	d.offset = INT64_MAX;
	assert_int_equal(dev->ops->region_write(dev, &d, 16, q, 32), -EINVAL);
	vfio_device_close(dev);
}

static int use_everything(struct vfio_device **dev, struct zpci **z)
{
	const uint8_t word[8] = { 0 };
	uint64_t iova;
	int r = attach(dev);

	if (r == 0)
		r = zpci_open(*dev, z);
	if (r == 0)
		r = zpci_set_msi(*z, 50);
	if (r == 0)
		r = zpci_dma_map(*z, (void *)0x10000, 4096, -1, 0, &iova);
	if (r == 0)
		r = zpci_store_block(*z, 2, 0, word, 8);
	if (r == 0)
		r = zpci_dma_unmap(*z, iova, 4096);
	if (r == 0)
		r = zpci_reset(*z);
	return r;
}

/* Call by call and errno by errno: an error comes out, nothing leaks, nothing hangs. */
static void test_each_call_fails_once(void **state)
{
	static const int errnos[] = { EIO, ENODEV, ENOMEM, EINVAL };
	struct vfio_device *dev;
	struct zpci *z = NULL;
	unsigned int total, tolerated;

	assert_int_equal(use_everything(&dev, &z), 0);
	total = k.calls;
	assert_true(total > 20);
	zpci_close(z);
	for (size_t e = 0; e < sizeof(errnos) / sizeof(errnos[0]); e++) {
		tolerated = 0;
		for (unsigned int call = 1; call <= total; call++) {
			int r;

			setup(NULL);
			k.fail_call = call;
			k.fail_errno = errnos[e];
			z = NULL;
			r = use_everything(&dev, &z);
			zpci_close(z);
			assert_int_equal(k.open_fds, 0);
			tolerated += r == 0;
			if (errnos[e] == ENODEV)
				assert_int_equal(r, -ENODEV);
		}
		/* two interrupts are optional; EINVAL is also "no such region" */
		if (errnos[e] == EIO || errnos[e] == ENOMEM)
			assert_int_equal(tolerated, 2);
	}
}

/* The host's own claim: another process with the same file is refused, as long as we live. */
static void test_claim(void **state)
{
	int fd = memfd_create("device", MFD_CLOEXEC), shared = eventfd(0, EFD_CLOEXEC);
	int status;
	pid_t pid;

	assert_int_equal(sys_host.claim(fd), 0);
	assert_int_equal(sys_host.claim(fd), 0); /* it is ours */
	assert_int_equal(sys_host.claim(shared), 0);
	assert_int_equal(close(shared), 0); /* and has taken nothing with it */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(sys_host.claim(fd) == -1 && errno == EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(sys_host.claim(-1), -1);
	assert_int_equal(errno, EBADF);
}

static void test_claimed_by_another(void **state)
{
	struct vfio_device *dev = NULL;

	k.fail_call = 1;
	k.fail_errno = EBUSY;
	assert_int_equal(attach(&dev), -EBUSY);
	assert_null(dev);
	assert_int_equal(k.calls, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_info),
		T(test_argsz),
		T(test_dma),
		T(test_ranges_from_function_only),
		T(test_irqs),
		T(test_msix),
		T(test_request),
		T(test_error),
		T(test_batch),
		T(test_each_call_fails_once),
		T(test_claim),
		T(test_claimed_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
