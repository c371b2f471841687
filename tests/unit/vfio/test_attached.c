/* SPDX-License-Identifier: MIT */
/*
 * test_attached.c - what goes where, before a device that writes down what it sees
 *
 * The rules of single requests are the conformance suite's business, windows over real DMBs that of
 * ism-attached. Here: batches that change sides, order, failures, sources.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vfio/attached.h"
#include "vfio/source_map.h"
#include "zpci-io.h"

#define KEY   5u
#define BASE  ((uint64_t)KEY << ATTACHED_SHIFT)
#define OTHER (UINT64_C(9) << ATTACHED_SHIFT)

/* The device below. */
static struct below {
	struct vfio_device dev;
	char log[64]; /* one letter per request, in the order in which they were executed */
	size_t n;
	unsigned int batches;
	uint64_t fail_at; /* the request for this offset fails */
	bool closed;
} below;

static uint64_t source[1024] __attribute__((aligned(4096)));

static void note(char c)
{
	assert_true(below.n < sizeof(below.log) - 1);
	below.log[below.n++] = c;
	below.log[below.n] = '\0';
}

static int below_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	*info = (struct vfio_dev_info){ .num_regions = 10 };
	return 0;
}

static int below_get_region(struct vfio_device *dev, uint32_t index, struct vfio_region_desc *desc)
{
	*desc = (struct vfio_region_desc){ .index = index };
	if (index == 9)
		*desc = (struct vfio_region_desc){ .index = 9, .flags = 3, .size = ZPCI_IO_REGION_SIZE,
			.has_type = true, .type = ZPCI_IO_REGION_TYPE,
			.subtype = ZPCI_IO_REGION_SUBTYPE };
	return 0;
}

static ssize_t below_read(struct vfio_device *dev, const struct vfio_region_desc *r, uint64_t offset,
	void *buf, size_t len)
{
	const struct zpci_io_hdr hdr = { .max = 4096 };

	assert_int_equal(len, sizeof(hdr));
	memcpy(buf, &hdr, sizeof(hdr));
	return sizeof(hdr);
}

static int below_execute(const void *data)
{
	struct zpci_io_req q;

	memcpy(&q, data, sizeof(q));
	if (below.fail_at && q.offset == below.fail_at)
		return -EIO;
	note(q.flags & ZPCI_IO_FLAG_READ ? 'l' : 'd');
	return 0;
}

static ssize_t below_write(struct vfio_device *dev, const struct vfio_region_desc *r, uint64_t offset,
	const void *buf, size_t len)
{
	assert_int_equal(offset, ZPCI_IO_REQ_OFFSET);
	assert_int_equal(len, sizeof(struct zpci_io_req));
	return below_execute(buf) ? -EIO : (ssize_t)len;
}

static int below_batch(struct vfio_device *dev, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	below.batches++;
	for (*done = 0; *done < n; (*done)++) {
		if (below_execute(wr[*done].data) < 0)
			return -EIO;
	}
	return 0;
}

static int below_map(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	*iova = (uintptr_t)va;
	return 0;
}

static int below_unmap(struct vfio_device *dev, uint64_t iova, size_t len)
{
	return 0;
}

static void below_close(struct vfio_device *dev)
{
	below.closed = true;
}

static const struct vfio_device_ops below_ops = {
	.name = "below",
	.get_info = below_get_info,
	.get_region = below_get_region,
	.region_read = below_read,
	.region_write = below_write,
	.region_write_batch = below_batch,
	.dma_map = below_map,
	.dma_unmap = below_unmap,
	.close = below_close,
};

/* A window that can be closed. */
static struct window {
	struct vfio_window w;
	bool shut;
	bool declines; /* open, but takes nothing */
} window;

static bool window_open(const struct vfio_window *w)
{
	return !window.shut;
}

static bool window_store(struct vfio_window *w, uint32_t offset, const void *data, uint16_t len)
{
	if (window.shut || window.declines)
		return false;
	note('w');
	return true;
}

static int setup(void **state)
{
	struct vfio_device *dev;
	uint64_t iova;

	below = (struct below){ .dev = { .ops = &below_ops, .iova_is_va = true } };
	if (vfio_attached_open(&below.dev, &dev) < 0)
		return -1;
	window = (struct window){ .w = { .key = KEY, .open = window_open, .store = window_store } };
	*state = dev;
	return dev->ops->add_window(dev, &window.w) ||
	       dev->ops->dma_map(dev, source, sizeof(source), -1, 0, &iova);
}

static int teardown(void **state)
{
	struct vfio_device *dev = *state;

	dev->ops->del_window(dev, &window.w);
	vfio_device_close(dev);
	return !below.closed;
}

static struct zpci_io_req store_at(uint64_t offset)
{
	return (struct zpci_io_req){ .flags = ZPCI_IO_FLAG_BLOCKW, .gaddr = (uintptr_t)source,
		.offset = offset, .len = 8 };
}

/* Stores to the window ('w') and to the device ('d'), as one batch. */
static int batch(struct vfio_device *dev, const char *to, size_t *done)
{
	const struct vfio_region_desc io = { .index = 9 };
	struct zpci_io_req q[16];
	struct vfio_region_wr wr[16];
	size_t n = strlen(to);

	for (size_t i = 0; i < n; i++) {
		q[i] = store_at((to[i] == 'w' ? BASE : OTHER) + 8 * i);
		wr[i] = (struct vfio_region_wr){ ZPCI_IO_REQ_OFFSET, &q[i], sizeof(q[i]) };
	}
	return dev->ops->region_write_batch(dev, &io, wr, n, done);
}

static void test_order(void **state)
{
	struct vfio_device *dev = *state;
	size_t done;

	assert_int_equal(batch(dev, "wwddwdwww", &done), 0);
	assert_int_equal(done, 9);
	assert_string_equal(below.log, "wwddwdwww");
	assert_int_equal(below.batches, 2); /* what follows each other leaves together */
	assert_int_equal(dev->here_stores, 6);
	assert_int_equal(dev->here_bytes, 48);
}

/* After a crowd of windows has gone, in a table that was made anew, the one that is left is found. */
static void test_crowd_of_windows(void **state)
{
	enum { N = 2000 };
	struct vfio_device *dev = *state;
	struct vfio_window *crowd = calloc(N, sizeof(*crowd)), late = window.w;
	size_t done;

	assert_non_null(crowd);
	for (uint32_t i = 0; i < N; i++) {
		crowd[i] = (struct vfio_window){ .key = 100 + i, .open = window_open,
			.store = window_store };
		assert_int_equal(dev->ops->add_window(dev, &crowd[i]), 0);
	}
	assert_true(window.w.hh.tbl->num_buckets >= 128);
	for (uint32_t i = 0; i < N; i++)
		dev->ops->del_window(dev, &crowd[i]);
	free(crowd);
	assert_true(window.w.hh.tbl->num_buckets < 128);
	assert_int_equal(batch(dev, "wdw", &done), 0);
	assert_string_equal(below.log, "wdw");
	assert_int_equal(dev->ops->add_window(dev, &late), -EEXIST);
}

static void test_shut_is_one_batch(void **state)
{
	struct vfio_device *dev = *state;
	size_t done;

	window.shut = true;
	assert_int_equal(batch(dev, "wdwwdw", &done), 0);
	assert_string_equal(below.log, "dddddd");
	assert_int_equal(below.batches, 1);
	assert_int_equal(dev->here_stores, 0);
}

static void test_failure_stops(void **state)
{
	struct vfio_device *dev = *state;
	size_t done;

	below.fail_at = OTHER + 8 * 3;
	assert_int_equal(batch(dev, "wdwdww", &done), -EIO);
	assert_int_equal(done, 3);
	assert_string_equal(below.log, "wdw");
}

/* What the window does not take goes to the device, and nothing is done twice or left out. */
static void test_declined(void **state)
{
	struct vfio_device *dev = *state;
	size_t done;

	window.declines = true;
	assert_int_equal(batch(dev, "wdw", &done), 0);
	assert_int_equal(done, 3);
	assert_string_equal(below.log, "ddd");
}

static ssize_t put(struct vfio_device *dev, uint64_t pos, const void *buf, size_t len)
{
	const struct vfio_region_desc io = { .index = 9 };

	return dev->ops->region_write(dev, &io, pos, buf, len);
}

/* A partial write goes on from the last request, wherever that was executed. */
static void test_partial_after_batch(void **state)
{
	struct vfio_device *dev = *state;
	uint64_t flags = ZPCI_IO_FLAG_READ;
	uint8_t byte = 0;
	size_t done;

	assert_int_equal(batch(dev, "dw", &done), 0);
	assert_int_equal(put(dev, 47, &byte, 1), 1);
	assert_string_equal(below.log, "dww");
	assert_int_equal(batch(dev, "wd", &done), 0);
	assert_int_equal(put(dev, 47, &byte, 1), 1);
	assert_string_equal(below.log, "dwwwdd");
	assert_int_equal(put(dev, 16, &flags, 8), 8);
	assert_string_equal(below.log, "dwwwddl");
	below.fail_at = OTHER + 16;
	assert_int_equal(batch(dev, "wdd", &done), -EIO);
	assert_int_equal(put(dev, 47, &byte, 1), -EIO); /* the one that failed is stored */
}

static void test_sources(void **state)
{
	struct vfio_device *dev = *state;
	struct zpci_io_req q = store_at(BASE);

	q.gaddr = (uintptr_t)source + sizeof(source);
	assert_int_equal(put(dev, 16, &q, sizeof(q)), sizeof(q));
	q.gaddr = (uintptr_t)source + sizeof(source) - 8;
	assert_int_equal(put(dev, 16, &q, sizeof(q)), sizeof(q));
	assert_string_equal(below.log, "dw");
	dev->ops->dma_unmap(dev, (uintptr_t)source, sizeof(source));
	assert_int_equal(put(dev, 16, &q, sizeof(q)), sizeof(q));
	assert_string_equal(below.log, "dwd");
	assert_int_equal(dev->ops->add_window(dev, &window.w), -EEXIST);
}

static void test_source_map(void **state)
{
	struct source_map m = { 0 };

	for (uintptr_t i = 0; i < 200; i++) {
		assert_int_equal(source_map_reserve(&m, 1), 0);
		source_map_add(&m, (i * 37 % 200) * 8192, 4096);
	}
	for (uintptr_t i = 0; i < 200; i++) {
		assert_true(source_map_has(&m, i * 8192, 4096));
		assert_true(source_map_has(&m, i * 8192 + 4095, 1));
		assert_false(source_map_has(&m, i * 8192 + 4095, 2));
		assert_false(source_map_has(&m, i * 8192 + 4096, 1));
		assert_true(source_map_overlaps(&m, i * 8192 + 4095, 1));
		assert_false(source_map_overlaps(&m, i * 8192 + 4096, 4096));
		assert_true(source_map_overlaps(&m, i * 8192 + 4096, 4097) == (i < 199));
	}
	assert_int_equal(source_map_del(&m, 8192, 4095), -EINVAL);
	assert_int_equal(source_map_del(&m, 8192, 4096), 0);
	assert_false(source_map_has(&m, 8192, 1));
	assert_true(source_map_has(&m, 0, 1) && source_map_has(&m, 2 * 8192, 1));
	source_map_fini(&m);
}

/* A device that cannot have windows is used as it is. */
static void test_without(void **state)
{
	struct vfio_device *dev;

	below = (struct below){ .dev = { .ops = &below_ops } };
	assert_int_equal(vfio_attached_open(&below.dev, &dev), 0);
	assert_ptr_equal(dev, &below.dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_crowd_of_windows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_shut_is_one_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_declined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_partial_after_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sources, setup, teardown),
		cmocka_unit_test(test_source_map),
		cmocka_unit_test(test_without),
	};

	return cmocka_run_group_tests_name("attached", tests, NULL, NULL);
}
