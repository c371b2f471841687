/* SPDX-License-Identifier: MIT */
/*
 * Opening a function both ways, over the double of the kernel: what is chosen, what stands in the
 * way and how it is told, and every call failing once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/base/fd.h"
#include "vfio/zpci.h"

#define PAGE 4096u

static struct fabric *model;
static int log_fd, saved_stderr;
static char logged[4096];

static int setup(void **state)
{
	const struct ism_double_params params = { .kind = ISM_DOUBLE_BARS, .functions = 2 };

	log_fd = fd_memfd("log", sizeof(logged));
	saved_stderr = dup(STDERR_FILENO);
	return log_fd < 0 ? log_fd : ism_double_start(&params, &model);
}

static int teardown(void **state)
{
	close(log_fd);
	close(saved_stderr);
	return ism_double_stop();
}

static int try_open(const char *bdf, enum vfio_way way, struct vfio_device **dev)
{
	const struct vfio_open_params params = { .bdf = bdf, .way = way, .sys = &ism_double_sys };

	return vfio_open(&params, dev);
}

/* Opens with what is logged caught in @logged. */
static int open_quietly(const char *bdf, enum vfio_way way, struct vfio_device **dev)
{
	int r;

	memset(logged, 0, sizeof(logged));
	assert_int_equal(pwrite(log_fd, logged, sizeof(logged), 0), sizeof(logged));
	lseek(log_fd, 0, SEEK_SET);
	dup2(log_fd, STDERR_FILENO);
	r = try_open(bdf, way, dev);
	dup2(saved_stderr, STDERR_FILENO);
	assert_true(pread(log_fd, logged, sizeof(logged) - 1, 0) >= 0);
	return r;
}

/* The opening fails, and says why in one line that names function, cause and remedy. */
static void refused(enum vfio_way way, int error, const char *cause, const char *remedy)
{
	struct vfio_device *dev = NULL;
	const char *line;

	assert_int_equal(open_quietly("0001:00:00.0", way, &dev), error);
	assert_null(dev);
	line = strstr(logged, "error: ");
	if (!line || !strstr(line, cause) || !strstr(line, remedy) || !strstr(line, "0001:00:00.0"))
		fail_msg("'%s' and '%s' are not in: %s", cause, remedy, logged);
	else if (strchr(line, '\n') != strrchr(logged, '\n'))
		fail_msg("more than one line: %s", logged);
	*ism_double_host() = (struct ism_double_host){ 0 };
}

static void expect(enum vfio_way wish, unsigned int by_group, unsigned int by_cdev)
{
	const struct ism_double_count *c = ism_double_count();
	unsigned int g = c->by_group, d = c->by_cdev;
	struct vfio_device *dev = NULL;

	assert_int_equal(try_open("0001:00:00.0", wish, &dev), 0);
	assert_int_equal(c->by_group - g, by_group);
	assert_int_equal(c->by_cdev - d, by_cdev);
	vfio_device_close(dev);
}

static void test_choice(void **state)
{
	struct ism_double_host *h = ism_double_host();

	expect(VFIO_WAY_AUTO, 0, 1);
	expect(VFIO_WAY_GROUP, 1, 0);
	expect(VFIO_WAY_CDEV, 0, 1);
	h->no_cdev = true;
	expect(VFIO_WAY_AUTO, 1, 0);
	h->old = true;
	expect(VFIO_WAY_AUTO, 1, 0);
	h->no_cdev = h->old = false;
	h->no_iommufd = true;
	expect(VFIO_WAY_AUTO, 1, 0);
	h->no_iommufd = false;
	h->denied = "/dev/vfio/devices/";
	expect(VFIO_WAY_AUTO, 1, 0);
	h->denied = "/dev/vfio/1";
	expect(VFIO_WAY_AUTO, 0, 1);
}

static void test_function(void **state)
{
	struct vfio_device *dev = NULL;
	struct ism_double_host *h = ism_double_host();

	assert_int_equal(try_open("00:00.0", VFIO_WAY_AUTO, &dev), -EINVAL);
	assert_int_equal(open_quietly("0007:00:00.0", VFIO_WAY_AUTO, &dev), -ENODEV);
	assert_non_null(strstr(logged, "no such PCI function"));
	h->driver = "";
	refused(VFIO_WAY_AUTO, -ENODEV, "no driver", "smcd-userctl bind 0001:00:00.0");
	h->driver = "ism";
	refused(VFIO_WAY_AUTO, -EADDRINUSE, "bound to ism", "smcd-userctl bind 0001:00:00.0");
	h->no_iommu = true;
	refused(VFIO_WAY_AUTO, -EOPNOTSUPP, "in no IOMMU group", "enable");
	assert_null(dev);
}

static void test_group(void **state)
{
	struct ism_double_host *h = ism_double_host();

	h->absent = "/dev/vfio/vfio";
	refused(VFIO_WAY_GROUP, -ENOENT, "no /dev/vfio/vfio", "modprobe vfio_iommu_type1");
	h->absent = "/dev/vfio/1";
	refused(VFIO_WAY_GROUP, -ENOENT, "no /dev/vfio/10", "udev");
	h->absent = NULL;
	h->no_type1 = true;
	refused(VFIO_WAY_GROUP, -EOPNOTSUPP, "no type1", "modprobe vfio_iommu_type1");
	h->mate = "e1000e";
	refused(VFIO_WAY_GROUP, -EPERM, "0009:00:00.0 (e1000e)", "unbind");
	h->unsafe = true;
	refused(VFIO_WAY_GROUP, -EPERM, "interrupts", "vfio_iommu_type1/parameters");
	h->taken = true;
	refused(VFIO_WAY_GROUP, -EBUSY, "another process", "stop it");
	h->denied = "/dev/vfio/10";
	refused(VFIO_WAY_GROUP, -EACCES, "/dev/vfio/10 may not be opened", "udev rule");
	h->denied = "/dev/vfio/vfio";
	refused(VFIO_WAY_GROUP, -EACCES, "/dev/vfio/vfio may not be opened", "udev rule");
}

static void test_cdev(void **state)
{
	struct ism_double_host *h = ism_double_host();

	h->no_cdev = true;
	refused(VFIO_WAY_CDEV, -EOPNOTSUPP, "no device nodes", "leave out 'cdev'");
	h->old = true;
	refused(VFIO_WAY_CDEV, -EOPNOTSUPP, "no device nodes", "leave out 'cdev'");
	h->no_cdev = h->old = false;
	h->absent = "/dev/vfio/devices";
	refused(VFIO_WAY_CDEV, -ENOENT, "no /dev/vfio/devices/vfio0", "udev");
	h->absent = NULL;
	h->no_iommufd = true;
	refused(VFIO_WAY_CDEV, -ENOENT, "no /dev/iommu", "modprobe iommufd");
	h->unsafe = true;
	refused(VFIO_WAY_CDEV, -EPERM, "interrupts", "iommufd/parameters");
	h->mate = "e1000e";
	refused(VFIO_WAY_CDEV, -EPERM, "0009:00:00.0 (e1000e)", "unbind");
	h->taken = true;
	refused(VFIO_WAY_CDEV, -EBUSY, "another process", "stop it");
	h->denied = "/dev/vfio/devices";
	refused(VFIO_WAY_CDEV, -EACCES, "devices/vfio0 may not", "udev rule");
}

/* One opener, whichever way. */
static void test_exclusive(void **state)
{
	static const enum vfio_way ways[] = { VFIO_WAY_GROUP, VFIO_WAY_CDEV };

	for (int i = 0; i < 4; i++) {
		struct vfio_device *first = NULL, *second = NULL, *other = NULL;

		assert_int_equal(try_open("0001:00:00.0", ways[i & 1], &first), 0);
		assert_int_equal(try_open("0001:00:00.0", ways[i >> 1], &second), -EBUSY);
		assert_null(second);
		assert_int_equal(try_open("0002:00:00.0", ways[i >> 1], &other), 0);
		vfio_device_close(first);
		assert_int_equal(try_open("0001:00:00.0", ways[i >> 1], &second), 0);
		vfio_device_close(second);
		vfio_device_close(other);
	}
}

static uint8_t *memory(size_t len, int *fd)
{
	void *p;

	*fd = fd_memfd("test", len);
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/*
 * Addresses lie in what the function can address, naturally aligned, although iommufd reports more;
 * what is freed is used again.
 */
static void fill(enum vfio_way way)
{
	const uint64_t len = UINT64_C(1) << 29; /* the range has room for 7 of these, not for 8 */
	struct vfio_device *dev = NULL;
	uint64_t iova[8], again;
	int n = 0, r = 0;

	assert_int_equal(try_open("0001:00:00.0", way, &dev), 0);
	while (n < 8 && r == 0) {
		r = dev->ops->dma_map(dev, (void *)(uintptr_t)(UINT64_C(1) << 40), len, -1, 0,
			&iova[n]);
		if (r == 0) {
			assert_true(iova[n] >= ISM_DOUBLE_IOVA_START);
			assert_true(iova[n] + len - 1 < ISM_DOUBLE_IOVA_END);
			assert_int_equal(iova[n] % len, 0);
			n++;
		}
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(n, 7);
	assert_int_equal(ism_double_count()->out_of_range, 0);
	assert_int_equal(dev->ops->dma_unmap(dev, iova[3], len), 0);
	assert_int_equal(dev->ops->dma_unmap(dev, iova[4], len / 2), -EINVAL);
	assert_int_equal(dev->ops->dma_map(dev, (void *)(uintptr_t)(UINT64_C(1) << 40), len, -1, 0,
		&again), 0);
	assert_int_equal(again, iova[3]);
	vfio_device_close(dev);
}

static void test_addresses(void **state)
{
	fill(VFIO_WAY_GROUP);
	fill(VFIO_WAY_CDEV);
	ism_double_host()->tells_no_ranges = true; /* then the function's own limits have to do */
	fill(VFIO_WAY_GROUP);
}

/* Too little memory may be locked, too many maps. */
static void test_limits(void **state)
{
	static const enum vfio_way ways[] = { VFIO_WAY_GROUP, VFIO_WAY_CDEV };
	struct ism_double_host *h = ism_double_host();
	uint64_t iova;
	uint8_t *p;
	int fd;

	p = memory(8 * PAGE, &fd);
	for (int i = 0; i < 2; i++) {
		struct vfio_device *dev = NULL;

		*h = (struct ism_double_host){ .lock_limit = 6 * PAGE };
		assert_int_equal(try_open("0001:00:00.0", ways[i], &dev), 0);
		assert_int_equal(dev->ops->dma_map(dev, p, 8 * PAGE, fd, 0, &iova), -ENOMEM);
		assert_int_equal(dev->ops->dma_map(dev, p, 4 * PAGE, fd, 0, &iova), 0);
		*h = (struct ism_double_host){ .map_limit = 2 };
		assert_int_equal(dev->ops->dma_map(dev, p, PAGE, fd, 0, &iova), 0);
		assert_int_equal(dev->ops->dma_map(dev, p, PAGE, fd, 0, &iova), -ENOSPC);
		vfio_device_close(dev);
		*h = (struct ism_double_host){ 0 };
	}
	munmap(p, 8 * PAGE);
	close(fd);
}

/* Unbinding: the function is asked for, and closing it is all that the kernel waits for. */
static void test_unbind(void **state)
{
	static const enum vfio_way ways[] = { VFIO_WAY_GROUP, VFIO_WAY_CDEV };

	for (int i = 0; i < 2; i++) {
		struct vfio_device *dev = NULL;

		assert_int_equal(try_open("0001:00:00.0", ways[i], &dev), 0);
		assert_int_equal(dev->ops->check(dev), 0);
		ism_double_unbind(0);
		assert_false(ism_double_unbound(0));
		assert_int_equal(dev->ops->check(dev), -ENODEV);
		vfio_device_close(dev);
		assert_true(ism_double_unbound(0));
		refused(ways[i], -ENODEV, "no driver", "bind");
		ism_double_bind(0);
	}
}

/* What a function that was taken away, or reports an error, looks like. */
static void test_end(void **state)
{
	struct vfio_device *dev = NULL;
	struct zpci *z = NULL;
	uint64_t word;

	ism_double_host()->err_irq = true;
	assert_int_equal(try_open("0001:00:00.0", VFIO_WAY_AUTO, &dev), 0);
	ism_double_report_error(0);
	assert_int_equal(dev->ops->check(dev), -ENODEV);
	vfio_device_close(dev);
	assert_int_equal(try_open("0001:00:00.0", VFIO_WAY_AUTO, &dev), 0);
	assert_int_equal(zpci_open(dev, &z), 0);
	assert_int_equal(zpci_load(z, 2, 0, &word, 8), 0);
	ism_double_remove(0);
	assert_int_equal(zpci_load(z, 2, 0, &word, 8), -EIO);
	zpci_close(z);
	assert_int_equal(open_quietly("0001:00:00.0", VFIO_WAY_AUTO, &dev), -ENODEV);
}

/* Optional things are missing: it works all the same. */
static void test_without(void **state)
{
	struct ism_double_host *h = ism_double_host();
	struct vfio_device *dev = NULL;

	h->no_request = h->no_reset = true;
	assert_int_equal(open_quietly("0001:00:00.0", VFIO_WAY_AUTO, &dev), 0);
	assert_non_null(strstr(logged, "warning: "));
	assert_int_equal(dev->ops->liveness_fd(dev), -1);
	assert_int_equal(dev->ops->check(dev), 0);
	assert_int_equal(dev->ops->reset(dev), -EOPNOTSUPP);
	vfio_device_close(dev);
}

static void test_spec(void **state)
{
	static const char *const bad[] = { "", ",group", "0001:00:00.0,", "0001:00:00.0,both",
		"1:00:00.0", "0001:00:00.8", "0001:00:0g.0", "0001:00:00.00", "0001:00:00",
		"0001:00:00.0 ", "0001:0A:00.0", "000000001:00:00.0", "0001:00:00.0,group,cdev" };
	char bdf[PCI_BDF_MAX] = "untouched";
	enum vfio_way way = VFIO_WAY_CDEV;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(vfio_parse_spec(bad[i], bdf, &way), -EINVAL);
		assert_string_equal(bdf, "untouched");
	}
	assert_int_equal(vfio_parse_spec("0001:00:00.0", bdf, &way), 0);
	assert_string_equal(bdf, "0001:00:00.0");
	assert_int_equal(way, VFIO_WAY_AUTO);
	assert_int_equal(vfio_parse_spec("12345678:ff:1f.7,cdev", bdf, &way), 0);
	assert_int_equal(way, VFIO_WAY_CDEV);
	assert_int_equal(vfio_parse_spec("0001:00:00.0,group", bdf, &way), 0);
	assert_int_equal(way, VFIO_WAY_GROUP);
}

static int use_everything(enum vfio_way way, struct vfio_device **dev)
{
	uint64_t iova;
	uint8_t *p;
	int fd, r = open_quietly("0001:00:00.0", way, dev);

	if (r < 0)
		return r;
	p = memory(PAGE, &fd);
	r = (*dev)->ops->set_msi(*dev, fd);
	if (r == 0)
		r = (*dev)->ops->dma_map(*dev, p, PAGE, fd, 0, &iova);
	if (r == 0)
		r = (*dev)->ops->dma_unmap(*dev, iova, PAGE);
	if (r == 0)
		r = (*dev)->ops->reset(*dev);
	munmap(p, PAGE);
	close(fd);
	return r;
}

/* Every call, every errno: an error and a word about it come out, and nothing is left behind. */
static void each_call(enum vfio_way way, unsigned int optional)
{
	static const int errnos[] = { EIO, ENODEV, ENOMEM, EINVAL, EPERM, EBUSY, EMFILE };
	struct vfio_device *dev = NULL;
	unsigned int before = ism_double_count()->calls, total;

	assert_int_equal(use_everything(way, &dev), 0);
	vfio_device_close(dev);
	total = ism_double_count()->calls - before;
	assert_true(total > 12);
	for (size_t e = 0; e < sizeof(errnos) / sizeof(errnos[0]); e++) {
		unsigned int tolerated = 0;

		for (unsigned int nth = 1; nth <= total; nth++) {
			int r;

			dev = NULL;
			ism_double_fail(nth, errnos[e]);
			r = use_everything(way, &dev);
			if (r < 0 && !dev && !strstr(logged, "error: ") && errnos[e] != ENODEV)
				fail_msg("call %u, %s: no word", nth, strerror(errnos[e]));
			vfio_device_close(dev);
			tolerated += r == 0;
		}
		ism_double_fail(0, 0);
		assert_int_equal(tolerated, errnos[e] == ENODEV ? 0 : optional);
		/* nothing is held that would stop the next one */
		dev = NULL;
		assert_int_equal(use_everything(way, &dev), 0);
		vfio_device_close(dev);
	}
}

static void test_each_call_fails_once(void **state)
{
	each_call(VFIO_WAY_GROUP, 2);
	each_call(VFIO_WAY_CDEV, 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_choice),
		T(test_function),
		T(test_group),
		T(test_cdev),
		T(test_exclusive),
		T(test_addresses),
		T(test_limits),
		T(test_unbind),
		T(test_end),
		T(test_without),
		T(test_spec),
		T(test_each_call_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
