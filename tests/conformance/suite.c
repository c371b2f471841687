/* SPDX-License-Identifier: MIT */
#include "suite.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vfio/attached.h"
#include "vfio/base/endian.h"
#include "vfio/base/fd.h"
#include "vfio/zpci.h"
#include "zpci-io.h"

#define PAGE	 4096u
#define SBA	 (2 * PAGE) /* places in the shared memory; MEM is 0..8191 */
#define IEQ	 (3 * PAGE)
#define DMB	 (4 * PAGE)
#define DMB_SIZE (4 * PAGE)
#define SHARED	 (8 * PAGE)
#define FILL	 0xEE
#define PRIME	 512u /* a primed request goes this much further into the DMB */

struct suite {
	struct vfio_device *dev;
	bool bars; /* no region: requests are BAR accesses */
	uint64_t bar_base;
	struct vfio_region_desc io;
	struct vfio_region_desc config;
	uint8_t hdr[16];
	uint16_t max;
	int fd;
	uint8_t *shared;
	uint8_t *ro, *none, *unmapped;
	uint64_t iova;
	uint64_t token;
	uint8_t reply[16]; /* READ_GID's, as the function keeps it */
	uint8_t mem_before[2 * PAGE];
	struct vfio_window window; /* the DMB, for the attached transport */
	bool attached;
	char why[160];
};

/* ---- the DMB as a window: stores end up in it as the device would have put them there ---- */

static struct suite *suite_of(const struct vfio_window *w)
{
	return (struct suite *)(void *)((char *)(uintptr_t)w - offsetof(struct suite, window));
}

static bool window_open(const struct vfio_window *w)
{
	return true;
}

static bool window_store(struct vfio_window *w, uint32_t offset, const void *data, uint16_t len)
{
	if (offset > DMB_SIZE || len > DMB_SIZE - offset)
		return false;
	memcpy(suite_of(w)->shared + DMB + offset, data, len);
	return true;
}

static int attach(struct suite *s)
{
	s->window = (struct vfio_window){ .key = (uint32_t)(s->token >> ATTACHED_SHIFT),
		.open = window_open, .store = window_store };
	s->attached = true;
	return s->dev->ops->add_window(s->dev, &s->window);
}

/* What should have been stored here was, and nothing else. */
static bool executed_where(struct suite *s, uint64_t here, enum effect effect)
{
	if (!s->attached || (s->dev->here_stores > here) == (effect == STORED))
		return true;
	snprintf(s->why, sizeof(s->why), effect == STORED ? "the device executed the store" :
							    "the window executed something");
	return false;
}

/* Whatever address space it names, the access reaches the provider. */
static ssize_t access_bar(struct suite *s, const struct zpci_io_req *q)
{
	const struct vfio_region_desc bar = { .index = q->pcias, .size = ZPCI_OFFSET_LIMIT,
		.offset = s->bar_base + q->pcias * ZPCI_OFFSET_LIMIT };
	void *mem = (void *)(uintptr_t)q->gaddr;

	return q->flags & ZPCI_IO_FLAG_READ ?
		       s->dev->ops->region_read(s->dev, &bar, q->offset, mem, q->len) :
		       s->dev->ops->region_write(s->dev, &bar, q->offset, mem, q->len);
}

static ssize_t put(struct suite *s, const struct zpci_io_req *q)
{
	return s->dev->ops->region_write(s->dev, &s->io, ZPCI_IO_REQ_OFFSET, q, sizeof(*q));
}

static int perform(struct suite *s, const struct zpci_io_req *q)
{
	return s->bars ? access_bar(s, q) == q->len : put(s, q) == (ssize_t)sizeof(*q);
}

/* --- the function, for observing --- */

static int store(struct suite *s, uint64_t offset, const void *data, uint16_t len)
{
	const struct zpci_io_req q = { .flags = ZPCI_IO_FLAG_BLOCKW,
		.gaddr = (uintptr_t)s->shared, .offset = offset, .len = len, .pcias = 2 };

	memcpy(s->shared, data, len);
	return perform(s, &q) ? 0 : -EIO;
}

static int load(struct suite *s, uint64_t offset, uint8_t out[8])
{
	const struct zpci_io_req q = { .flags = ZPCI_IO_FLAG_READ, .gaddr = (uintptr_t)s->shared,
		.offset = offset, .len = 8, .pcias = 2 };

	if (!perform(s, &q))
		return -EIO;
	memcpy(out, s->shared, 8);
	return 0;
}

/* One ISM command; @words: its body. 0 when the function says success. */
static int command(struct suite *s, uint32_t cmd, const uint64_t *words, unsigned int n)
{
	uint8_t body[64], hdr[8] = { 0 };

	for (unsigned int i = 0; i < n; i++)
		store_be64(body + 8 * i, words[i]);
	store_be32(hdr, cmd);
	store_be16(hdr + 6, (uint16_t)(8 + 8 * n));
	if ((n && store(s, 8, body, (uint16_t)(8 * n)) < 0) || store(s, 0, hdr, 8) < 0 ||
		load(s, 0, hdr) < 0)
		return -EIO;
	return load_be16(hdr + 4) ? -EIO : 0;
}

static int read_gid(struct suite *s)
{
	int r = command(s, 0x03, NULL, 0);

	if (r == 0)
		r = load(s, 0, s->reply);
	return r ? r : load(s, 8, s->reply + 8);
}

/* SBA, IEQ, and a DMB that the function itself may write. */
static int enable_function(struct suite *s)
{
	const uint64_t sba[] = { s->iova + SBA };
	const uint64_t ieq[] = { s->iova + IEQ, 512 };
	uint64_t dmb[] = { s->iova + DMB, (uint64_t)DMB_SIZE << 32 | 32, 0, 0 };
	uint8_t token[8];

	if (command(s, 0x01, sba, 1) < 0 || command(s, 0x02, ieq, 2) < 0 || read_gid(s) < 0)
		return -EIO;
	dmb[3] = load_be64(s->reply + 8);
	if (command(s, 0x0A, dmb, 4) < 0 || load(s, 8, token) < 0)
		return -EIO;
	s->token = load_be64(token);
	return read_gid(s);
}

/* --- one row --- */

static uint8_t *place(const struct suite *s, const struct row *row)
{
	switch (row->where) {
	case MEM:
		return s->shared;
	case RO:
		return s->ro;
	case NONE:
		return s->none;
	case UNMAPPED:
		return s->unmapped;
	case ZERO:
		break;
	}
	return NULL;
}

static struct zpci_io_req request_of(const struct suite *s, const struct row *row)
{
	struct zpci_io_req q = {
		.flags = row->flags,
		.gaddr = (uintptr_t)place(s, row) + row->goff,
		.offset = row->offset + (row->pcias == 0 ? s->token : 0),
		.len = row->len,
		.pcias = row->pcias,
	};

	if (row->len == LEN_MAX)
		q.len = s->max;
	if (row->len == LEN_MAX_PLUS)
		q.len = (uint16_t)(s->max + 1);
	if (row->pos == 16 && row->count == 32) { /* nobody looks at these */
		q.reserved = 0x12345678;
		q.reserved2 = 0x9a;
	}
	return q;
}

/* Known contents everywhere, different in every byte that could be mixed up. */
static void prepare(struct suite *s, unsigned int nr)
{
	for (unsigned int i = 0; i < 2 * PAGE; i++)
		s->mem_before[i] = (uint8_t)(nr + i * 13 + i / 251);
	memcpy(s->shared, s->mem_before, 2 * PAGE);
	mprotect(s->ro, PAGE, PROT_READ | PROT_WRITE);
	memcpy(s->ro, s->mem_before, PAGE);
	mprotect(s->ro, PAGE, PROT_READ);
	memset(s->shared + DMB, FILL, DMB_SIZE);
}

static bool dmb_is(const struct suite *s, uint32_t at, const uint8_t *data, uint32_t len)
{
	const uint8_t *dmb = s->shared + DMB;

	for (uint32_t i = 0; i < DMB_SIZE; i++) {
		uint8_t want = i >= at && i - at < len ? data[i - at] : FILL;

		if (dmb[i] != want)
			return false;
	}
	return true;
}

/* What a load has to leave at gaddr: over BARs just the bytes, else eight, right-justified. */
static bool expected_value(struct suite *s, const struct zpci_io_req *q, uint8_t *out)
{
	uint8_t config[8];

	if (s->bars) {
		memcpy(out, s->reply + q->offset, q->len);
		return true;
	}
	memset(out, 0, 8);
	if (q->pcias == 15) {
		if (s->dev->ops->region_read(s->dev, &s->config, q->offset, config, q->len) !=
			q->len)
			return false;
		memcpy(out + 8 - q->len, config, q->len);
	} else {
		memcpy(out + 8 - q->len, s->reply + q->offset, q->len);
	}
	return true;
}

/* Whether memory and DMB show exactly @effect of the request @q. */
static bool effect_is(struct suite *s, const struct row *row, const struct zpci_io_req *q,
	enum effect effect)
{
	bool known = row->where == MEM || row->where == RO;
	const uint8_t *mem = row->where == MEM ? s->shared : s->ro;
	size_t size = row->where == MEM ? 2 * PAGE : PAGE;
	uint8_t want[2 * PAGE];
	uint32_t goff = known ? (uint32_t)(q->gaddr - (uintptr_t)mem) : 0;

	memcpy(want, s->mem_before, size);
	if (effect == LOADED && !expected_value(s, q, want + goff))
		return false;
	if (known && memcmp(mem, want, size) != 0) {
		snprintf(s->why, sizeof(s->why), "memory at gaddr is not as it should be");
		return false;
	}
	if (effect == STORED ? dmb_is(s, (uint32_t)(q->offset - s->token), want + goff, q->len)
			     : dmb_is(s, 0, want, 0))
		return true;
	snprintf(s->why, sizeof(s->why), "%s", effect == STORED ? "the store did not arrive as sent"
								: "something was stored");
	return false;
}

static bool returned(struct suite *s, const char *what, ssize_t got, ssize_t want)
{
	if (got == want)
		return true;
	snprintf(s->why, sizeof(s->why), "%s returned %zd, expected %zd", what, got, want);
	return false;
}

/* Whatever is stored now runs again when the last, reserved byte is written. */
static bool run_again(struct suite *s, const struct row *row, unsigned int nr,
	const struct zpci_io_req *stored, ssize_t ret, enum effect effect)
{
	const uint8_t byte = stored->reserved2;
	ssize_t n;

	prepare(s, nr + 1);
	n = s->dev->ops->region_write(s->dev, &s->io, 47, &byte, 1);
	return returned(s, "executing it again", n, ret) && effect_is(s, row, stored, effect);
}

/*
 * Partial writes and refused ones start from a stored request that differs from the row's: @stored
 * follows what the region holds.
 */
static bool run_write(struct suite *s, const struct row *row, unsigned int nr)
{
	const struct zpci_io_req q = request_of(s, row);
	struct zpci_io_req stored = q;
	bool whole = row->pos == 16 && row->count >= 32;
	uint8_t image[128] = { 0 };
	uint64_t here;
	size_t n = 0;
	ssize_t ret;

	memcpy(image + 16, &q, sizeof(q));
	prepare(s, nr);
	if (!whole) {
		stored.offset += PRIME;
		stored.gaddr = (uintptr_t)s->shared + 256;
		stored.len = 16;
		if (!returned(s, "the request before", put(s, &stored), sizeof(stored)))
			return false;
		prepare(s, nr);
	}
	if (row->pos >= 16 && row->pos < 48)
		n = row->count < 48 - row->pos ? row->count : 48u - row->pos;
	memcpy((uint8_t *)&stored + (n ? row->pos - 16 : 0), image + row->pos, n);
	here = s->dev->here_stores;
	ret = s->dev->ops->region_write(s->dev, &s->io, row->pos, image + row->pos, row->count);
	if (!returned(s, "write", ret, row->ret) || !executed_where(s, here, row->effect) || !effect_is(s, row, &stored, row->effect))
		return false;
	if (whole)
		return run_again(s, row, nr, &stored, ret < 0 ? ret : 1, row->effect);
	return run_again(s, row, nr, &stored, 1, STORED);
}

/* The access returns what its length says, and nothing is left to run again. */
static bool run_bar(struct suite *s, const struct row *row, unsigned int nr)
{
	const struct zpci_io_req q = request_of(s, row);
	enum effect does = q.flags & ZPCI_IO_FLAG_READ ? LOADED : STORED;
	ssize_t ret;

	prepare(s, nr);
	ret = access_bar(s, &q);
	return returned(s, "access", ret, row->bar < 0 ? row->bar : q.len) &&
	       effect_is(s, row, &q, row->bar < 0 ? NOTHING : does);
}

static bool run_read(struct suite *s, const struct row *row)
{
	uint8_t buf[64];
	ssize_t ret;

	memset(buf, FILL, sizeof(buf));
	ret = s->dev->ops->region_read(s->dev, &s->io, row->pos, buf, row->count);
	if (!returned(s, "read", ret, row->ret))
		return false;
	for (ssize_t i = 0; i < (ssize_t)sizeof(buf); i++) {
		if (buf[i] != (i < ret ? s->hdr[row->pos + i] : FILL)) {
			snprintf(s->why, sizeof(s->why), "byte %zd differs from the header", i);
			return false;
		}
	}
	return true;
}

/* --- the run --- */

static uint8_t *page(int prot)
{
	uint8_t *p = mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/*
 * Where nothing is mapped, and nothing will be: far from the places that the kernel gives away by
 * itself, or the next allocation of anybody in this process might be there.
 */
static uint8_t *hole(void)
{
	uintptr_t at;
	void *p;

	for (at = (uintptr_t)1 << 32; at < (uintptr_t)1 << 47; at <<= 1) {
		p = mmap((void *)at, PAGE, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED)
			continue;
		munmap(p, PAGE);
		if (p == (void *)at)
			return p;
	}
	return NULL;
}

static int get_memory(struct suite *s)
{
	void *p;

	s->fd = fd_memfd("conformance", SHARED);
	if (s->fd < 0)
		return s->fd;
	p = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	s->ro = page(PROT_READ);
	s->none = page(PROT_NONE);
	s->unmapped = hole();
	if (p == MAP_FAILED || !s->ro || !s->none || !s->unmapped)
		return -ENOMEM;
	s->shared = p;
	memset(p, 0, SHARED);
	return s->dev->ops->dma_map(s->dev, p, SHARED, s->fd, 0, &s->iova);
}

static int find_bars(struct suite *s)
{
	struct vfio_dev_info info = { 0 };
	struct vfio_region_desc bar = { 0 };
	int r = s->dev->ops->get_info(s->dev, &info);

	if (r == 0)
		r = s->dev->ops->get_region(s->dev, VFIO_DEV_REGION_BAR0, &bar);
	if (r < 0)
		return r;
	s->bars = true;
	s->bar_base = bar.offset;
	s->max = info.max_store;
	return 0;
}

static int find_region(struct suite *s)
{
	int r = vfio_device_find_region(s->dev, ZPCI_IO_REGION_TYPE, ZPCI_IO_REGION_SUBTYPE,
		ZPCI_IO_REGION_SIZE, &s->io);

	if (r == -ENOENT)
		return find_bars(s);
	if (r < 0)
		return r;
	if (s->dev->ops->region_read(s->dev, &s->io, 0, s->hdr, sizeof(s->hdr)) != sizeof(s->hdr))
		return -EIO;
	memcpy(&s->max, s->hdr + offsetof(struct zpci_io_hdr, max), sizeof(s->max));
	return 0;
}

static int begin(struct suite *s)
{
	int r = find_region(s);

	if (r == 0)
		r = s->dev->ops->get_region(s->dev, VFIO_DEV_REGION_CONFIG, &s->config);
	if (r == 0)
		r = get_memory(s);
	if (r < 0)
		return r;
	if (s->max < 64 || s->max > PAGE)
		return -EPROTO;
	return enable_function(s);
}

static void end(struct suite *s)
{
	if (s->fd >= 0 && s->shared)
		munmap(s->shared, SHARED);
	if (s->ro)
		munmap(s->ro, PAGE);
	if (s->none)
		munmap(s->none, PAGE);
	fd_closep(&s->fd);
}

static const char *skip_over_bars(const struct row *row)
{
	if (row->access == READ || row->pos != 16 || row->count != 32)
		return "an access to the region itself";
	if (row->flags != ZPCI_IO_FLAG_READ && row->flags != ZPCI_IO_FLAG_BLOCKW)
		return "flags belong to the region";
	return row->pcias == 15 ? "configuration space is a region of its own" : NULL;
}

static const char *skip_reason(const struct suite *s, const struct provider *p,
	const struct row *row)
{
	if ((row->where == RO || row->where == NONE) && !p->process_memory)
		return "memory is file-backed and mapped as a whole";
	if (s->bars && skip_over_bars(row))
		return skip_over_bars(row);
	if ((row->effect == STORED || (s->bars && row->bar == DOES_OVER_BARS)) &&
		row->len > s->max && row->len != LEN_MAX)
		return "longer than the longest store";
	return NULL;
}

int suite_run(struct provider *p)
{
	struct suite *s = calloc(1, sizeof(*s));
	int failures = 0, r;

	if (!s)
		return -ENOMEM;
	s->dev = p->dev;
	s->fd = -1;
	r = begin(s);
	if (r == 0 && p->attached)
		r = attach(s);
	printf("1..%u\n# %s, %s %u, longest store %u\n", num_rows, p->dev->ops->name,
		s->bars ? "BARs, region" : "region", s->io.index, s->max);
	for (unsigned int i = 0; r == 0 && i < num_rows; i++) {
		const struct row *row = &rows[i];
		const char *skip = skip_reason(s, p, row);
		bool ok;

		if (skip) {
			printf("ok %u - %s # SKIP %s\n", i + 1, row->name, skip);
			continue;
		}
		s->why[0] = 0;
		ok = s->bars		   ? run_bar(s, row, i) :
		     row->access == READ ? run_read(s, row) :
					   run_write(s, row, i);
		printf("%sok %u - %s\n", ok ? "" : "not ", i + 1, row->name);
		if (!ok)
			printf("# %s\n", s->why);
		failures += !ok;
	}
	if (s->attached)
		s->dev->ops->del_window(s->dev, &s->window);
	end(s);
	free(s);
	return r < 0 ? r : failures;
}
