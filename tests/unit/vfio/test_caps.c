/* SPDX-License-Identifier: MIT */
/* Capability chains, honest and hostile, and the IOVA allocator they feed. */
#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vfio/caps.h"
#include "vfio/iova.h"

#define FIXED 32u

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put_hdr(uint8_t *p, uint16_t id, uint16_t version, uint32_t next)
{
	put16(p, id);
	put16(p + 2, version);
	put32(p + 4, next);
}

/* Exactly @len bytes on the heap, so that a sanitizer sees every byte beyond. */
static uint8_t *make(size_t len)
{
	uint8_t *p = calloc(1, len);

	assert_non_null(p);
	return p;
}

static void test_walk(void **state)
{
	uint8_t *b = make(64);
	struct vfio_caps c;
	struct vfio_cap cap;

	put_hdr(b + 32, 7, 1, 48);
	put_hdr(b + 48, 8, 2, 0);
	vfio_caps_init(&c, b, 64, FIXED, 32);
	assert_int_equal(vfio_caps_next(&c, &cap), 1);
	assert_int_equal(cap.id, 7);
	assert_int_equal(cap.len, 16);
	assert_int_equal(vfio_caps_next(&c, &cap), 1);
	assert_int_equal(cap.id, 8);
	assert_int_equal(cap.version, 2);
	assert_int_equal(cap.len, 16);
	assert_int_equal(vfio_caps_next(&c, &cap), 0);
	vfio_caps_init(&c, b, 64, FIXED, 0);
	assert_int_equal(vfio_caps_next(&c, &cap), 0);
	free(b);
}

static void test_hostile_chains(void **state)
{
	static const struct {
		uint32_t first, next;
		int steps; /* good capabilities before the refusal; -1: a good chain of two */
	} t[] = {
		{ 31, 0, 0 },		 /* inside the fixed part */
		{ 4, 0, 0 },		 /* likewise */
		{ 57, 0, 0 },		 /* header does not fit by one byte */
		{ 64, 0, 0 },		 /* at the end */
		{ 65, 0, 0 },		 /* outside */
		{ UINT32_MAX, 0, 0 },	 /* far outside */
		{ 32, 32, 0 },		 /* itself */
		{ 40, 32, 0 },		 /* backward */
		{ 32, 39, 0 },		 /* overlaps the header */
		{ 32, 8, 0 },		 /* into the fixed part */
		{ 32, 65, 0 },		 /* outside */
		{ 32, 64, 1 },		 /* no room for a header there */
		{ 32, 57, 1 },		 /* nor there */
		{ 32, 40, -1 },		 /* shortest possible: just headers */
		{ 32, 56, -1 },		 /* last header that fits */
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint8_t *b = make(64);
		struct vfio_caps c;
		struct vfio_cap cap;
		int steps = 0, r;

		if (t[i].first <= 56)
			put_hdr(b + t[i].first, 1, 1, t[i].next);
		vfio_caps_init(&c, b, 64, FIXED, t[i].first);
		while ((r = vfio_caps_next(&c, &cap)) > 0)
			steps++;
		assert_int_equal(r, t[i].steps < 0 ? 0 : -EPROTO);
		assert_int_equal(steps, t[i].steps < 0 ? 2 : t[i].steps);
		free(b);
	}
}

/* @size: bytes of the capability that are there. */
static int parse_base(uint16_t version, size_t size, struct vfio_dev_info *info)
{
	uint8_t full[40] = { 0 };
	uint8_t *b = make(24 + size);
	struct vfio_caps c;
	int r;

	put_hdr(full, VFIO_DEVICE_INFO_CAP_ZPCI_BASE, version, 0);
	put64(full + 8, UINT64_C(0x100000000));
	put64(full + 16, UINT64_C(0x1ffffffff));
	put16(full + 24, 0x1d15);
	full[30] = 5;
	put32(full + 32, 0x80100000);
	memcpy(b + 24, full, size);
	vfio_caps_init(&c, b, 24 + size, 24, 24);
	memset(info, 0, sizeof(*info));
	r = vfio_caps_device(&c, info);
	free(b);
	return r;
}

static void test_zpci_base(void **state)
{
	struct vfio_dev_info info;

	assert_int_equal(parse_base(2, 40, &info), 0);
	assert_true(info.has_zpci);
	assert_int_equal(info.pft, 5);
	assert_int_equal(info.pchid, 0x1d15);
	assert_int_equal(info.fh, 0x80100000);
	assert_int_equal(info.start_dma, UINT64_C(0x100000000));
	assert_int_equal(info.end_dma, UINT64_C(0x1ffffffff));
	assert_int_equal(parse_base(2, 35, &info), -EPROTO);
	assert_false(info.has_zpci);
	assert_int_equal(parse_base(1, 32, &info), 0); /* ends before fh */
	assert_true(info.has_zpci);
	assert_int_equal(info.fh, 0);
	assert_int_equal(parse_base(1, 40, &info), 0);
	assert_int_equal(info.fh, 0); /* bytes there are not version 1's */
	assert_int_equal(parse_base(1, 31, &info), -EPROTO);
	assert_int_equal(parse_base(0, 40, &info), 0); /* no version we know */
	assert_false(info.has_zpci);
}

/* The longest store is version 2's; what version 1 calls maxstbl is a constant of the kernel. */
static int parse_group(uint16_t version, size_t size, struct vfio_dev_info *info)
{
	uint8_t full[48] = { 0 };
	uint8_t *b = make(24 + size);
	struct vfio_caps c;
	int r;

	put_hdr(full, VFIO_DEVICE_INFO_CAP_ZPCI_GROUP, version, 0);
	put16(full + 36, 128);
	put16(full + 40, 4096);
	memcpy(b + 24, full, size);
	vfio_caps_init(&c, b, 24 + size, 24, 24);
	memset(info, 0, sizeof(*info));
	r = vfio_caps_device(&c, info);
	free(b);
	return r;
}

static void test_zpci_group(void **state)
{
	struct vfio_dev_info info;

	assert_int_equal(parse_group(2, 48, &info), 0);
	assert_int_equal(info.max_store, 4096);
	assert_int_equal(parse_group(2, 42, &info), 0);
	assert_int_equal(info.max_store, 4096);
	assert_int_equal(parse_group(2, 41, &info), -EPROTO);
	assert_int_equal(info.max_store, 0);
	assert_int_equal(parse_group(1, 40, &info), 0);
	assert_int_equal(info.max_store, 0);
	assert_int_equal(parse_group(1, 48, &info), 0);
	assert_int_equal(info.max_store, 0);
	assert_int_equal(parse_group(1, 38, &info), -EPROTO);
	assert_int_equal(parse_group(0, 48, &info), 0);
	assert_int_equal(info.max_store, 0);
}

static void test_region_type(void **state)
{
	struct vfio_region_desc d = { .index = 9 };
	uint8_t *b = make(32 + 8 + 16);
	struct vfio_caps c;

	put_hdr(b + 32, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 40);
	put_hdr(b + 40, VFIO_REGION_INFO_CAP_TYPE, 1, 0);
	put32(b + 48, 0x80001014);
	put32(b + 52, 2);
	vfio_caps_init(&c, b, 56, FIXED, 32);
	assert_int_equal(vfio_caps_region(&c, &d), 0);
	assert_true(d.has_type);
	assert_int_equal(d.type, 0x80001014);
	assert_int_equal(d.subtype, 2);
	assert_int_equal(d.index, 9);

	d = (struct vfio_region_desc){ .index = 9 };
	vfio_caps_init(&c, b, 55, FIXED, 32); /* subtype cut off */
	assert_int_equal(vfio_caps_region(&c, &d), -EPROTO);
	assert_false(d.has_type);
	free(b);
}

static void test_iova_ranges(void **state)
{
	struct iova_range v[2];
	uint8_t *b = make(24 + 16 + 48);
	struct vfio_caps c;

	put_hdr(b + 24, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0);
	put32(b + 32, 3);
	for (unsigned int i = 0; i < 3; i++) {
		put64(b + 40 + 16 * i, 0x1000 * (i + 1));
		put64(b + 48 + 16 * i, 0x1000 * (i + 1) + 0xfff);
	}
	vfio_caps_init(&c, b, 88, 24, 24);
	assert_int_equal(vfio_caps_iova_ranges(&c, v, 2), 2);
	assert_int_equal(v[1].start, 0x2000);
	assert_int_equal(v[1].end, 0x2fff);
	put32(b + 32, 4); /* one more than there are */
	vfio_caps_init(&c, b, 88, 24, 24);
	assert_int_equal(vfio_caps_iova_ranges(&c, v, 2), -EPROTO);
	put32(b + 32, UINT32_MAX);
	vfio_caps_init(&c, b, 88, 24, 24);
	assert_int_equal(vfio_caps_iova_ranges(&c, v, 2), -EPROTO);
	vfio_caps_init(&c, b, 88, 24, 0);
	assert_int_equal(vfio_caps_iova_ranges(&c, v, 2), 0);
	free(b);
}

static void test_alloc_alignment(void **state)
{
	struct iova a = { 0 };
	uint64_t x, y, z;

	assert_int_equal(iova_add(&a, 0x1000, 0x3fffff), 0);
	assert_int_equal(iova_alloc(&a, 0, &x), -EINVAL);
	assert_int_equal(iova_alloc(&a, 4096, &x), 0);
	assert_int_equal(x, 0x1000);
	assert_int_equal(iova_alloc(&a, 0x100000, &y), 0);
	assert_int_equal(y, 0x100000);
	assert_int_equal(iova_alloc(&a, 0x80001, &z), 0); /* aligned to 1 MiB */
	assert_int_equal(z, 0x200000);
	/* 3 MiB..4 MiB lacks its last page */
	assert_int_equal(iova_alloc(&a, 0x100000, &z), -ENOSPC);
	assert_int_equal(iova_alloc(&a, 0x80000, &z), 0);
	assert_int_equal(z, 0x80000); /* first fit */
	assert_int_equal(iova_free(&a, y, 0x100000), 0);
	assert_int_equal(iova_free(&a, y, 0x100000), -EINVAL);
	assert_int_equal(iova_alloc(&a, 0x100000, &x), 0);
	assert_int_equal(x, y);
	iova_deinit(&a);
}

static void test_alloc_edges(void **state)
{
	struct iova a = { 0 };
	uint64_t x;

	assert_int_equal(iova_add(&a, 0, 4095), 0);	    /* only page 0 */
	assert_int_equal(iova_add(&a, 0x10000, 0x10fff), 0); /* only a last page */
	assert_int_equal(iova_add(&a, 0x20001, 0x22ffe), 0); /* 0x21000: one page, the last */
	assert_int_equal(a.nfree, 0);
	assert_int_equal(iova_alloc(&a, 4096, &x), -ENOSPC);
	assert_int_equal(iova_add(&a, UINT64_MAX - 0x2fff, UINT64_MAX), 0);
	assert_int_equal(iova_alloc(&a, 4096, &x), 0);
	assert_int_equal(x, UINT64_MAX - 0x2fff);
	assert_int_equal(iova_alloc(&a, UINT64_MAX, &x), -EINVAL);
	assert_int_equal(iova_free(&a, x + 1, 4096), -EINVAL);
	iova_deinit(&a);
}

/* Random allocations against a map of pages: disjoint, aligned, and everything comes back. */
static void test_alloc_model(void **state)
{
	enum { PAGES = 256, LIVE = 64 };
	static uint8_t used[PAGES];
	struct { uint64_t addr, len; } live[LIVE];
	struct iova a = { 0 };
	size_t n = 0;

	srand(1);
	assert_int_equal(iova_add(&a, 0x1000, PAGES * 4096 + 4095), 0);
	for (int step = 0; step < 20000; step++) {
		uint64_t len = ((uint64_t)rand() % 16 + 1) * 4096, addr;

		if (n < LIVE && rand() % 2 && iova_alloc(&a, len, &addr) == 0) {
			assert_int_equal(addr & 4095, 0);
			for (uint64_t p = 1; p < len; p <<= 1)
				assert_int_equal(addr & p, 0);
			for (uint64_t p = addr / 4096; p < (addr + len) / 4096; p++) {
				assert_in_range(p, 1, PAGES - 1);
				assert_int_equal(used[p]++, 0);
			}
			live[n].addr = addr;
			live[n++].len = len;
		} else if (n) {
			size_t i = (size_t)rand() % n;

			assert_int_equal(iova_free(&a, live[i].addr, live[i].len), 0);
			for (uint64_t p = 0; p < live[i].len / 4096; p++)
				used[live[i].addr / 4096 + p]--;
			live[i] = live[--n];
		}
	}
	while (n--)
		assert_int_equal(iova_free(&a, live[n].addr, live[n].len), 0);
	assert_int_equal(a.nfree, 1);
	assert_int_equal(a.free[0].start, 0x1000);
	assert_int_equal(a.free[0].end, PAGES * 4096 - 1);
	iova_deinit(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_hostile_chains),
		cmocka_unit_test(test_zpci_base),
		cmocka_unit_test(test_zpci_group),
		cmocka_unit_test(test_region_type),
		cmocka_unit_test(test_iova_ranges),
		cmocka_unit_test(test_alloc_alignment),
		cmocka_unit_test(test_alloc_edges),
		cmocka_unit_test(test_alloc_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
