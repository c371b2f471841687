/* SPDX-License-Identifier: MIT */
/*
 * The region transport over a scripted device: discovery, the exact request bytes, bounces, errors.
 */
#include <errno.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/base/endian.h"
#include "vfio/base/fd.h"
#include "vfio/zpci.h"
#include "zpci-io.h"

#define RW (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)

struct script {
	struct vfio_device dev; /* first */
	struct vfio_region_desc regions[16];
	uint32_t num_regions;
	uint8_t config[64];
	struct zpci_io_hdr hdr;
	ssize_t hdr_len;
	/* answers */
	ssize_t write_ret; /* of a 32-byte write; 0: all of it */
	int batch_fail_at; /* -1: none */
	int batch_error;
	int map_error, reset_error, check_error;
	const uint8_t *reply; /* eight bytes stored at gaddr by a load; NULL: nothing */
	/* seen */
	uint8_t req[ZPCI_BATCH_MAX][32];
	uint8_t data[ZPCI_BATCH_MAX][4096]; /* what gaddr pointed at */
	uint64_t gaddr[ZPCI_BATCH_MAX];
	size_t nreq;
	unsigned int batches, maps, unmaps, resets, calls;
	uint64_t sentinel;
	bool closed;
};

static struct script *script_of(struct vfio_device *dev)
{
	struct script *s = (struct script *)dev;

	s->calls++;
	return s;
}

static int s_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	*info = (struct vfio_dev_info){ .num_regions = script_of(dev)->num_regions, .pchid = 0x1d15 };
	return 0;
}

static int s_get_region(struct vfio_device *dev, uint32_t index, struct vfio_region_desc *d)
{
	struct script *s = script_of(dev);

	if (index >= s->num_regions || s->regions[index].index != index)
		return -EINVAL;
	*d = s->regions[index];
	return 0;
}

static ssize_t s_read(struct vfio_device *dev, const struct vfio_region_desc *r, uint64_t off,
	void *buf, size_t len)
{
	struct script *s = script_of(dev);

	if (r->index == VFIO_DEV_REGION_CONFIG) {
		memcpy(buf, s->config + off, len);
		return (ssize_t)len;
	}
	assert_int_equal(off, 0);
	assert_int_equal(len, 16);
	memcpy(buf, &s->hdr, len);
	return s->hdr_len;
}

static void record(struct script *s, const void *data)
{
	struct zpci_io_req q;

	memcpy(&q, data, sizeof(q));
	memcpy(s->req[s->nreq], data, 32);
	s->gaddr[s->nreq] = q.gaddr;
	if (q.flags == ZPCI_IO_FLAG_BLOCKW)
		memcpy(s->data[s->nreq], (const void *)(uintptr_t)q.gaddr, q.len);
	s->nreq++;
}

static ssize_t s_write(struct vfio_device *dev, const struct vfio_region_desc *r, uint64_t off,
	const void *buf, size_t len)
{
	struct script *s = script_of(dev);
	struct zpci_io_req q;

	if (r->index == VFIO_DEV_REGION_CONFIG) {
		memcpy(s->config + off, buf, len);
		return (ssize_t)len;
	}
	assert_int_equal(off, 16);
	assert_int_equal(len, 32);
	record(s, buf);
	memcpy(&q, buf, sizeof(q));
	memcpy(&s->sentinel, (const void *)(uintptr_t)q.gaddr, 8);
	if (s->reply && !s->write_ret)
		memcpy((void *)(uintptr_t)q.gaddr, s->reply, 8);
	return s->write_ret ? s->write_ret : 32;
}

static int s_batch(struct vfio_device *dev, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	struct script *s = script_of(dev);

	s->batches++;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(wr[i].offset, 16);
		assert_int_equal(wr[i].len, 32);
		record(s, wr[i].data);
		if ((int)i == s->batch_fail_at) {
			*done = i;
			return s->batch_error;
		}
	}
	*done = n;
	return 0;
}

static int s_map(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t off, uint64_t *iova)
{
	struct script *s = script_of(dev);

	s->maps++;
	*iova = (uintptr_t)va;
	return s->map_error;
}

static int s_unmap(struct vfio_device *dev, uint64_t iova, size_t len)
{
	script_of(dev)->unmaps++;
	return 0;
}

static int s_msi(struct vfio_device *dev, int fd)
{
	script_of(dev);
	return 0;
}

static int s_reset(struct vfio_device *dev)
{
	struct script *s = script_of(dev);

	s->resets++;
	memset(s->config + 4, 0, 2);
	return s->reset_error;
}

static int s_live(struct vfio_device *dev)
{
	return 77;
}

static int s_check(struct vfio_device *dev)
{
	return script_of(dev)->check_error;
}

static void s_close(struct vfio_device *dev)
{
	script_of(dev)->closed = true;
}

static const struct vfio_device_ops script_ops = {
	"script", s_get_info, s_get_region, s_read, s_write, s_batch, s_map, s_unmap, s_msi, s_reset,
	s_live, s_check, s_close,
};

static struct vfio_region_desc region_desc(uint32_t index, uint64_t size, uint32_t subtype)
{
	return (struct vfio_region_desc){ .index = index, .flags = RW, .size = size,
		.has_type = subtype != 0, .type = ZPCI_IO_REGION_TYPE, .subtype = subtype };
}

static int setup(void **state)
{
	static const uint8_t id[] = { 0x14, 0x10, 0xed, 0x04, 0x01, 0x05 };
	struct script *s = calloc(1, sizeof(*s));

	s->dev.ops = &script_ops;
	s->dev.iova_is_va = true;
	s->num_regions = 13;
	s->regions[0] = region_desc(0, UINT64_C(1) << 48, 0);
	s->regions[1] = region_desc(1, 0, 0);
	s->regions[2] = region_desc(2, 4096, 0);
	s->regions[7] = region_desc(7, 256, 0);
	s->regions[9] = region_desc(9, 48, 1); /* NVLink's subtype */
	s->regions[11] = region_desc(11, 48, 2);
	memcpy(s->config, id, sizeof(id));
	s->hdr.max = 4096;
	s->hdr.flags = UINT64_MAX; /* unknown bits are no reason to refuse */
	s->hdr_len = 16;
	s->batch_fail_at = -1;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static struct zpci *opened(struct script *s)
{
	struct zpci *z = NULL;

	assert_int_equal(zpci_open(&s->dev, &z), 0);
	return z;
}

static void shut(struct script *s, struct zpci *z)
{
	assert_null(zpci_close(z));
	assert_true(s->closed);
}

static void refused(struct script *s, int err)
{
	struct zpci *z = (struct zpci *)s;

	assert_int_equal(zpci_open(&s->dev, &z), err);
	assert_ptr_equal(z, s);
	assert_true(s->closed);
}

static void test_open(void **state)
{
	struct script *s = *state;
	struct zpci *z = opened(s);
	const struct zpci_caps *c = zpci_caps(z);

	assert_int_equal(c->max_store, 4096);
	assert_int_equal(c->bar_size[0], UINT64_C(1) << 48);
	assert_int_equal(c->bar_size[2], 4096);
	assert_int_equal(c->bar_size[1], 0);
	assert_int_equal(c->bar_size[5], 0); /* region missing altogether */
	assert_int_equal(c->vendor, 0x1014);
	assert_int_equal(c->device, 0x04ed);
	assert_int_equal(c->info.pchid, 0x1d15);
	assert_int_equal(s->config[4], 0x07); /* bit 0 was there, memory and master added */
	assert_int_equal(s->config[5], 0x05);
	assert_int_equal(zpci_liveness_fd(z), 77);
	assert_int_equal(s->nreq, 0);
	shut(s, z);
}

static void test_no_region(void **state)
{
	struct script *s = *state;

	s->num_regions = 11;
	refused(s, -ENOENT);
}

static void test_region_too_small(void **state)
{
	struct script *s = *state;

	s->regions[11].size = 47;
	refused(s, -ENOENT);
}

static void test_region_read_only(void **state)
{
	struct script *s = *state;

	s->regions[11].flags = VFIO_REGION_INFO_FLAG_READ;
	refused(s, -ENOENT);
}

/* Of two regions with the same type the usable one is taken. */
static void test_two_regions(void **state)
{
	struct script *s = *state;
	struct zpci *z;

	s->regions[9] = region_desc(9, 16, 2);
	z = opened(s);
	shut(s, z);
}

static void test_header_max(void **state)
{
	static const struct {
		uint16_t max;
		int ret;
	} t[] = { { 7, -EPROTO }, { 8, 0 }, { 4096, 0 }, { 4097, -EPROTO }, { 0, -EPROTO } };
	struct script *s = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct zpci *z = NULL;

		s->hdr.max = t[i].max;
		s->closed = false;
		assert_int_equal(zpci_open(&s->dev, &z), t[i].ret);
		zpci_close(z);
		assert_true(s->closed);
	}
	s->hdr.max = 4096;
	s->hdr_len = 15;
	refused(s, -EPROTO);
	s->hdr_len = -EFAULT;
	refused(s, -EFAULT);
}

static void test_open_without_memory_for_dma(void **state)
{
	struct script *s = *state;

	s->map_error = -ENOMEM;
	refused(s, -ENOMEM);
}

static void hex(const char *text, uint8_t *out)
{
	for (size_t n = 0; *text; text++) {
		if (*text == ' ')
			continue;
		out[n / 2] = (uint8_t)(out[n / 2] << 4 |
			(*text <= '9' ? *text - '0' : *text - 'a' + 10));
		n++;
	}
}

/* The published vectors, with the address replaced: it is wherever our memory is. */
static void expect_request(const struct script *s, size_t i, const char *be, const char *le)
{
	uint8_t want[32] = { 0 };

	hex(__BYTE_ORDER == __BIG_ENDIAN ? be : le, want);
	memcpy(want + 8, &s->gaddr[i], 8);
	assert_memory_equal(s->req[i], want, 32);
}

/* REG_DMB: body, header, reply; then a move of 16 bytes with the signal flag. */
static void test_request_bytes(void **state)
{
	static const uint8_t answer[8] = { 0, 0, 0, 0x0a, 0, 0, 0, 0x10 };
	struct script *s = *state;
	struct zpci *z = opened(s);
	uint8_t out[8] __attribute__((aligned(8)));

	assert_int_equal(zpci_store_block(z, 2, 8, "0123456789abcdef0123456789abcdef", 32), 0);
	assert_int_equal(zpci_store_block(z, 2, 0, "01234567", 8), 0);
	s->reply = answer;
	assert_int_equal(zpci_load(z, 2, 0, out, 8), 0);
	assert_memory_equal(out, answer, 8);
	assert_int_equal(zpci_store_block(z, 0, UINT64_C(0x123400801ff0), "0123456789abcdef", 16), 0);
	assert_int_equal(s->nreq, 4);
	expect_request(s, 0, "0000000000000002 000003ffa0000008 0000000000000008 0000000000200200",
		"0200000000000000 00100000007f0000 0800000000000000 0000000020000200");
	expect_request(s, 1, "0000000000000002 000003ffa0000000 0000000000000000 0000000000080200",
		"0200000000000000 00100000007f0000 0000000000000000 0000000008000200");
	expect_request(s, 2, "0000000000000001 000003ffa0000800 0000000000000000 0000000000080200",
		"0100000000000000 00100000007f0000 0000000000000000 0000000008000200");
	expect_request(s, 3, "0000000000000002 000003ffa0001000 0000123400801ff0 0000000000100000",
		"0200000000000000 00100000007f0000 f01f800034120000 0000000010000000");
	assert_memory_equal(s->data[0], "0123456789abcdef0123456789abcdef", 32);
	assert_memory_equal(s->data[3], "0123456789abcdef", 16);
	shut(s, z);
}

/* Four bytes are the last four of eight; an undelivered reply is an error, not old data. */
static void test_load_decoding(void **state)
{
	static const uint8_t answer[8] = { 0, 0, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd };
	struct script *s = *state;
	struct zpci *z = opened(s);
	uint8_t out[8] = { 0 };

	s->reply = answer;
	assert_int_equal(zpci_load(z, 2, 4, out, 4), 0);
	assert_memory_equal(out, answer + 4, 4);
	assert_int_equal(out[4], 0);
	assert_int_equal(zpci_load(z, 2, 7, out, 1), 0);
	assert_int_equal(out[0], 0xdd);
	s->reply = NULL;
	memset(out, 7, sizeof(out));
	assert_int_equal(zpci_load(z, 2, 0, out, 8), -EIO);
	assert_int_equal(out[0], 7);
	assert_int_not_equal(s->sentinel, 0);
	assert_int_equal(load_be16((const uint8_t *)&s->sentinel + 4), 0xffff);
	shut(s, z);
}

/* Then nobody knows what the region holds or has run: the transport is dead. */
static void test_short_write(void **state)
{
	static const ssize_t rets[] = { 1, 16, 31, 33 };
	static const uint8_t answer[8] = { 1 };
	struct script *s = *state;
	uint8_t out[8];

	s->reply = answer;
	for (size_t i = 0; i < sizeof(rets) / sizeof(rets[0]); i++) {
		struct zpci *z = opened(s);
		unsigned int before = s->nreq;

		s->write_ret = rets[i];
		assert_int_equal(zpci_load(z, 2, 0, out, 8), -ENODEV);
		s->write_ret = 0;
		assert_int_equal(zpci_load(z, 2, 0, out, 8), -ENODEV);
		assert_int_equal(zpci_store_block(z, 2, 0, answer, 8), -ENODEV);
		assert_int_equal(s->nreq, before + 1);
		shut(s, z);
	}
}

/* A mapped, 8-aligned source within a page is used where it is; all else is copied and counted. */
static void test_bounce_decisions(void **state)
{
	struct script *s = *state;
	struct zpci *z = opened(s);
	int fd FD_CLEANUP = fd_memfd("t", 3 * 4096);
	uint8_t *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	const struct {
		const uint8_t *src;
		uint16_t len;
		bool bounced;
	} t[] = {
		{ p, 4096, false },
		{ p + 4096, 4096, false },
		{ p + 8, 1, false },
		{ p + 4088, 8, false },
		{ p + 4088, 9, true },	/* leaves its page */
		{ p + 8, 4096, true },	/* likewise */
		{ p + 4, 8, true },	/* alignment */
		{ p + 1, 1, true },
		{ p + 8192, 8, true },	/* behind the mapped range */
		{ p + 8184, 8, false }, /* its last bytes */
		{ s->config, 8, true }, /* not mapped at all */
	};
	uint64_t iova, bounced = 0, bytes = 0;

	for (size_t i = 0; i < 3 * 4096; i++)
		p[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(zpci_dma_map(z, p, 8192, fd, 0, &iova), 0);
	assert_int_equal(iova, (uintptr_t)p);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		s->nreq = 0;
		assert_int_equal(zpci_store_block(z, 0, 0, t[i].src, t[i].len), 0);
		bounced += t[i].bounced;
		bytes += t[i].bounced ? t[i].len : 0;
		assert_int_equal(s->gaddr[0] != (uintptr_t)t[i].src, t[i].bounced);
		assert_int_equal(s->gaddr[0] % 8, 0);
		assert_true(s->gaddr[0] % 4096 + t[i].len <= 4096);
		assert_memory_equal(s->data[0], t[i].src, t[i].len);
		assert_int_equal(zpci_counters(z)->bounced, bounced);
		assert_int_equal(zpci_counters(z)->bounced_bytes, bytes);
	}
	/* unmapped again: no source any more */
	assert_int_equal(zpci_dma_unmap(z, iova, 4096), -EINVAL);
	assert_int_equal(zpci_dma_unmap(z, iova, 8192), 0);
	assert_int_equal(s->unmaps, 1);
	assert_int_equal(zpci_store_block(z, 0, 0, p, 8), 0);
	assert_int_equal(zpci_counters(z)->bounced, bounced + 1);
	shut(s, z);
	munmap(p, 3 * 4096);
}

/* A device that takes process addresses needs no map for a source. */
static void test_kernel_like_source(void **state)
{
	static const uint64_t word = 42;
	struct script *s = *state;
	struct zpci *z;

	s->dev.iova_is_va = false;
	z = opened(s);
	assert_int_equal(zpci_store_block(z, 0, 0, &word, 8), 0);
	assert_int_equal(s->gaddr[0], (uintptr_t)&word);
	shut(s, z);
}

static void test_many_maps(void **state)
{
	enum { N = 300 };
	struct script *s = *state;
	struct zpci *z = opened(s);
	int fd FD_CLEANUP = fd_memfd("t", N * 2 * 4096);
	uint8_t *p = mmap(NULL, N * 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t iova;

	/* every second page, in an order that inserts everywhere */
	for (unsigned int i = 0; i < N; i++) {
		uint8_t *page = p + (size_t)(i * 7 % N) * 8192;

		assert_int_equal(zpci_dma_map(z, page, 4096, fd, 0, &iova), 0);
	}
	assert_int_equal(zpci_dma_map(z, p, 4096, fd, 0, &iova), -EEXIST);
	assert_int_equal(zpci_dma_map(z, p + 4096, 8192, fd, 0, &iova), -EEXIST);
	assert_int_equal(s->maps, N + 1);
	for (unsigned int i = 0; i < 2 * N; i++) {
		uint64_t before = zpci_counters(z)->bounced;

		s->nreq = 0;
		assert_int_equal(zpci_store_block(z, 0, 0, p + (size_t)i * 4096, 8), 0);
		assert_int_equal(zpci_counters(z)->bounced - before, i % 2);
	}
	shut(s, z);
	munmap(p, N * 2 * 4096);
}

/* A full batch of whole unaligned pages finds bounce space for each, none overlapping. */
static void test_batch_of_bounces(void **state)
{
	static uint8_t src[ZPCI_BATCH_MAX * 4096 + 1];
	struct script *s = *state;
	struct zpci *z = opened(s);
	struct zpci_store v[ZPCI_BATCH_MAX];
	size_t done = 0;

	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)(i * 31 + i / 4096);
	for (size_t i = 0; i < ZPCI_BATCH_MAX; i++)
		v[i] = (struct zpci_store){ i * 4096, src + 1 + i * 4096, 4096, 0 };
	assert_int_equal(zpci_store_blocks(z, v, ZPCI_BATCH_MAX, &done), 0);
	assert_int_equal(done, ZPCI_BATCH_MAX);
	assert_int_equal(s->batches, 1);
	for (size_t i = 0; i < ZPCI_BATCH_MAX; i++)
		assert_memory_equal((const void *)(uintptr_t)s->gaddr[i], v[i].data, 4096);
	/* small ones share pages, and still each has its own place */
	s->nreq = 0;
	for (size_t i = 0; i < ZPCI_BATCH_MAX; i++)
		v[i].len = (uint16_t)(i * 5 + 1);
	assert_int_equal(zpci_store_blocks(z, v, ZPCI_BATCH_MAX, &done), 0);
	for (size_t i = 0; i < ZPCI_BATCH_MAX; i++) {
		assert_int_equal(s->gaddr[i] % 8, 0);
		assert_true(s->gaddr[i] % 4096 + v[i].len <= 4096);
		assert_memory_equal((const void *)(uintptr_t)s->gaddr[i], v[i].data, v[i].len);
	}
	shut(s, z);
}

static void test_batch_stops(void **state)
{
	struct script *s = *state;
	struct zpci *z = opened(s);
	const struct zpci_store v[4] = {
		{ 0, "a", 1, 0 }, { 1, "b", 1, 0 }, { 2, "c", 1, 0 }, { 3, "d", 1, 0 },
	};
	size_t done = 9;

	s->batch_fail_at = 2;
	s->batch_error = -EINVAL; /* whatever a device says about an instruction, it is EIO */
	assert_int_equal(zpci_store_blocks(z, v, 4, &done), -EIO);
	assert_int_equal(done, 2);
	s->batch_fail_at = -1;
	assert_int_equal(zpci_store_blocks(z, v, 4, &done), 0);
	shut(s, z);
}

/* These three end the transport: the device is not asked again. */
static void test_dead_transport(void **state)
{
	static const struct {
		int device, first;
	} t[] = { { -ENODEV, -ENODEV }, { -ETIMEDOUT, -ETIMEDOUT }, { -EPROTO, -ENODEV } };
	struct script *s = *state;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct zpci *z = opened(s);
		uint8_t out[8];
		uint64_t iova;
		unsigned int calls;

		s->write_ret = t[i].device;
		assert_int_equal(zpci_load(z, 2, 0, out, 8), t[i].first);
		calls = s->calls;
		assert_int_equal(zpci_load(z, 2, 0, out, 8), -ENODEV);
		assert_int_equal(zpci_store_block(z, 2, 0, out, 8), -ENODEV);
		assert_int_equal(zpci_dma_map(z, (void *)4096, 4096, -1, 0, &iova), -ENODEV);
		assert_int_equal(zpci_dma_unmap(z, 4096, 4096), -ENODEV);
		assert_int_equal(zpci_set_msi(z, -1), -ENODEV);
		assert_int_equal(zpci_reset(z), -ENODEV);
		assert_int_equal(zpci_check(z), -ENODEV);
		assert_int_equal(s->calls, calls);
		zpci_close(z);
		s->write_ret = 0;
	}
}

/* Refused memory is the caller's problem, not the transport's end. */
static void test_map_errors_pass(void **state)
{
	struct script *s = *state;
	struct zpci *z = opened(s);
	uint64_t iova = 5;

	s->map_error = -ENOSPC;
	assert_int_equal(zpci_dma_map(z, (void *)4096, 4096, -1, 0, &iova), -ENOSPC);
	assert_int_equal(iova, 5);
	s->map_error = 0;
	assert_int_equal(zpci_dma_map(z, (void *)4096, 4096, -1, 0, &iova), 0);
	s->check_error = -ENODEV;
	assert_int_equal(zpci_check(z), -ENODEV);
	assert_int_equal(zpci_set_msi(z, -1), -ENODEV);
	shut(s, z);
}

static void test_reset_enables_again(void **state)
{
	struct script *s = *state;
	struct zpci *z = opened(s);

	assert_int_equal(zpci_reset(z), 0);
	assert_int_equal(s->resets, 1);
	assert_int_equal(s->config[4] & 6, 6);
	s->reset_error = -EOPNOTSUPP;
	assert_int_equal(zpci_reset(z), -EOPNOTSUPP);
	shut(s, z);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_open),
		T(test_no_region),
		T(test_region_too_small),
		T(test_region_read_only),
		T(test_two_regions),
		T(test_header_max),
		T(test_open_without_memory_for_dma),
		T(test_request_bytes),
		T(test_load_decoding),
		T(test_short_write),
		T(test_bounce_decisions),
		T(test_kernel_like_source),
		T(test_many_maps),
		T(test_batch_of_bounces),
		T(test_batch_stops),
		T(test_dead_transport),
		T(test_map_errors_pass),
		T(test_reset_enables_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
