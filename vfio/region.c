/* SPDX-License-Identifier: MIT */
/*
 * region.c - zPCI operations through the zPCI I/O region of a VFIO device
 *
 * One request is one 32-byte write of struct zpci_io_req at offset 16, no other form: any write
 * there executes whatever the region has stored, so a partial one would run a mixture. The request
 * names its data by address; the data has to be 8-aligned, inside one page and, where the device
 * resolves addresses through its DMA map, mapped. A source that is all of this is used in place,
 * any other is copied to the transfer memory first.
 *
 * Transfer memory (of an arena: a sealed memfd of our own, written once, DMA-mapped, not inherited by
 * children): the first page receives the replies of loads, the others are bounce space for one batch. The
 * kernel writes a load's reply to a page it has not asked for write access to, so that page must be
 * our own, present and dirty; the preset value keeps it so and shows whether a reply was delivered
 * at all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/base/endian.h"
#include "vfio/source_map.h"
#include "vfio/transport.h"
#include "zpci-io.h"

#define XFER_PAGES (1u + ZPCI_BATCH_MAX)
#define XFER_SIZE  ((size_t)XFER_PAGES * ZPCI_PAGE_SIZE)
/* In the device's byte order. Read as an ISM reply, it says ret 0xFFFF: no answer. */
#define SENTINEL   htobe64(UINT64_C(0xA5A5A5A5FFFFA5A5))

struct region_zpci {
	struct transport t; /* first */
	struct vfio_region_desc io;
	uint8_t *xfer;
	size_t bounce_used; /* bytes of the bounce pages taken by the batch being built */
	struct source_map sources; /* made usable by zpci_dma_map(); kept only when needed */
	struct zpci_io_req req[ZPCI_BATCH_MAX];
	struct vfio_region_wr wr[ZPCI_BATCH_MAX];
};

_Static_assert(offsetof(struct region_zpci, t) == 0, "transport is embedded first");
_Static_assert(sizeof(struct zpci_io_req) == 32, "request");
_Static_assert(ZPCI_BATCH_MAX * sizeof(uint64_t) <= ZPCI_PAGE_SIZE, "replies");

static struct region_zpci *region_of(struct zpci *z)
{
	return (struct region_zpci *)z;
}

static bool usable_in_place(struct region_zpci *r, const void *data, size_t len)
{
	uintptr_t addr = (uintptr_t)data;

	return addr % 8 == 0 && addr % ZPCI_PAGE_SIZE + len <= ZPCI_PAGE_SIZE &&
	       (!r->t.dev->iova_is_va || source_map_has(&r->sources, addr, len));
}

/* A copy of @data in bounce space; a batch's worst case, every source a page, fits. */
static const void *bounce(struct region_zpci *r, const void *data, size_t len)
{
	size_t at = (r->bounce_used + 7) & ~(size_t)7;
	uint8_t *p;

	if (at % ZPCI_PAGE_SIZE + len > ZPCI_PAGE_SIZE)
		at = (at + ZPCI_PAGE_SIZE - 1) & ~(size_t)(ZPCI_PAGE_SIZE - 1);
	r->bounce_used = at + len;
	r->t.z.counters.bounced++;
	r->t.z.counters.bounced_bytes += len;
	p = r->xfer + ZPCI_PAGE_SIZE + at;
	memcpy(p, data, len);
	return p;
}

/* Request @i of a batch: @flags, on @mem. */
static void compose(struct region_zpci *r, size_t i, uint64_t flags, const void *mem,
	const struct zpci_store *v)
{
	r->req[i] = (struct zpci_io_req){
		.flags = flags,
		.gaddr = (uintptr_t)mem,
		.offset = v->offset,
		.len = v->len,
		.pcias = v->pcias,
	};
	r->wr[i] = (struct vfio_region_wr){
		.offset = ZPCI_IO_REQ_OFFSET,
		.data = &r->req[i],
		.len = sizeof(r->req[i]),
	};
}

static void compose_store(struct region_zpci *r, size_t i, const struct zpci_store *v)
{
	const void *src = v->data;

	if (!usable_in_place(r, src, v->len))
		src = bounce(r, src, v->len);
	compose(r, i, ZPCI_IO_FLAG_BLOCKW, src, v);
}

static int region_store(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	struct region_zpci *r = region_of(z);
	struct vfio_device *dev = r->t.dev;
	uint64_t stores = dev->here_stores, bytes = dev->here_bytes;
	int e;

	if (r->t.dead)
		return -ENODEV;
	r->bounce_used = 0;
	for (size_t i = 0; i < n; i++)
		compose_store(r, i, &v[i]);
	e = dev->ops->region_write_batch(dev, &r->io, r->wr, n, done);
	z->counters.attached += dev->here_stores - stores;
	z->counters.attached_bytes += dev->here_bytes - bytes;
	return transport_note_io(&r->t, e);
}

/* Where the reply of load @i of a batch arrives. */
static uint64_t *reply_of(struct region_zpci *r, size_t i)
{
	return (uint64_t *)(void *)(r->xfer + i * sizeof(uint64_t));
}

static void preset_reply(struct region_zpci *r, size_t i)
{
	/* The device reads nothing here; the write being ours is what counts, not its order. */
	__atomic_store_n(reply_of(r, i), SENTINEL, __ATOMIC_RELAXED);
}

/* The reply arrives as eight big-endian bytes with the datum right-justified. 0 or -EIO: none did. */
static int take_reply(struct region_zpci *r, size_t i, void *out, uint16_t len)
{
	/* Acquire: orders this load of the reply after the write that had it stored. */
	uint64_t raw = __atomic_load_n(reply_of(r, i), __ATOMIC_ACQUIRE);
	uint8_t bytes[sizeof(raw)];

	if (raw == SENTINEL)
		return -EIO;
	memcpy(bytes, &raw, sizeof(bytes));
	memcpy(out, bytes + sizeof(bytes) - len, len);
	return 0;
}

static int region_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	struct region_zpci *r = region_of(z);
	ssize_t n;

	const struct zpci_io_req req = {
		.flags = ZPCI_IO_FLAG_READ,
		.gaddr = (uintptr_t)reply_of(r, 0),
		.offset = offset,
		.len = len,
		.pcias = pcias,
	};

	if (r->t.dead)
		return -ENODEV;
	preset_reply(r, 0);
	n = r->t.dev->ops->region_write(r->t.dev, &r->io, ZPCI_IO_REQ_OFFSET, &req, sizeof(req));
	if (n != (ssize_t)sizeof(req)) /* short: what the region has stored now is unknown */
		return transport_note_io(&r->t, n < 0 ? (int)n : -EPROTO);
	return take_reply(r, 0, out, len);
}

static int run_batch(struct region_zpci *r, struct vfio_map *maps, size_t nmaps, size_t n, size_t *done)
{
	struct vfio_device *dev = r->t.dev;
	int e;

	if (!nmaps)
		return transport_note_io(&r->t,
			dev->ops->region_write_batch(dev, &r->io, r->wr, n, done));
	e = source_map_reserve(&r->sources, nmaps);
	for (size_t i = 0; e == 0 && i < nmaps; i++) {
		if (source_map_overlaps(&r->sources, (uintptr_t)maps[i].va, maps[i].len))
			e = -EEXIST;
	}
	if (e < 0)
		return e;
	e = dev->ops->map_write_batch(dev, maps, nmaps, &r->io, r->wr, n, done);
	for (size_t i = 0; i < nmaps; i++) {
		if (!maps[i].done)
			return transport_note(&r->t, e);
		source_map_add(&r->sources, (uintptr_t)maps[i].va, maps[i].len);
	}
	return transport_note_io(&r->t, e);
}

static int region_run(struct zpci *z, struct vfio_map *maps, size_t nmaps, const struct zpci_step *v,
	size_t n, size_t *done)
{
	struct region_zpci *r = region_of(z);
	size_t ok = 0;
	int e;

	if (r->t.dead)
		return -ENODEV;
	r->bounce_used = 0;
	for (size_t i = 0; i < n; i++) {
		if (!v[i].out) {
			compose_store(r, i, &v[i].s);
			continue;
		}
		preset_reply(r, i);
		compose(r, i, ZPCI_IO_FLAG_READ, reply_of(r, i), &v[i].s);
	}
	e = run_batch(r, maps, nmaps, n, &ok);
	for (size_t i = 0; i < ok; i++) {
		if (v[i].out && take_reply(r, i, v[i].out, v[i].s.len) < 0) {
			*done = i;
			return -EIO;
		}
	}
	*done = ok;
	return e;
}

static int region_dma_unmap_batch(struct zpci *z, struct vfio_range *v, size_t n)
{
	struct region_zpci *r = region_of(z);

	if (r->t.dead)
		return -ENODEV;
	for (size_t i = 0; i < n; i++)
		source_map_del(&r->sources, (uintptr_t)v[i].iova, v[i].len);
	return transport_note(&r->t, r->t.dev->ops->dma_unmap_batch(r->t.dev, v, n));
}

static int region_dma_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct region_zpci *r = region_of(z);
	uintptr_t start = (uintptr_t)va;
	uint64_t got;
	int e;

	if (r->t.dead)
		return -ENODEV;
	e = r->t.dev->iova_is_va ? source_map_reserve(&r->sources, 1) : 0;
	if (e < 0)
		return e;
	if (source_map_overlaps(&r->sources, start, len))
		return -EEXIST;
	e = transport_note(&r->t, r->t.dev->ops->dma_map(r->t.dev, va, len, fd, fd_offset, &got));
	if (e < 0)
		return e;
	if (r->t.dev->iova_is_va)
		source_map_add(&r->sources, start, len);
	*iova = got;
	return 0;
}

static int region_dma_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	struct region_zpci *r = region_of(z);

	if (r->t.dead)
		return -ENODEV;
	/* Forgotten first: whatever the device answers, it is no source any more. */
	if (r->t.dev->iova_is_va && source_map_del(&r->sources, (uintptr_t)iova, len) < 0)
		return -EINVAL;
	return transport_note(&r->t, r->t.dev->ops->dma_unmap(r->t.dev, iova, len));
}

/* The device goes first, and its DMA maps with it: only then may their memory go. */
static void region_close(struct zpci *z)
{
	struct region_zpci *r = region_of(z);

	r->t.dev = vfio_device_close(r->t.dev);
	source_map_fini(&r->sources);
}

static const struct zpci_ops region_ops = {
	.load = region_load,
	.store = region_store,
	.dma_map = region_dma_map,
	.dma_unmap = region_dma_unmap,
	.run = region_run,
	.dma_unmap_batch = region_dma_unmap_batch,
	.set_msi = transport_set_msi,
	.reset = transport_reset,
	.side_channel = transport_side_channel,
	.add_window = transport_add_window,
	.del_window = transport_del_window,
	.liveness_fd = transport_liveness_fd,
	.check = transport_check,
	.close = region_close,
};

/* The header is read in the one form that all servers of the region accept: 16 bytes at 0. */
static int read_header(struct region_zpci *r)
{
	struct vfio_device *dev = r->t.dev;
	struct zpci_io_hdr hdr;
	ssize_t n = dev->ops->region_read(dev, &r->io, ZPCI_IO_HDR_OFFSET, &hdr, sizeof(hdr));

	if (n < 0)
		return (int)n;
	if (n != (ssize_t)sizeof(hdr) || hdr.max < 8 || hdr.max > ZPCI_PAGE_SIZE)
		return -EPROTO;
	r->t.z.caps.max_store = hdr.max;
	return 0;
}

static int make_transfer_memory(struct region_zpci *r)
{
	struct arena_block b;
	int e = arena_get(&r->t.z.arenas, XFER_SIZE, &b);

	if (e == 0)
		r->xfer = b.va;
	return e;
}

static int open_function(struct region_zpci *r)
{
	int e = read_header(r);

	if (e == 0)
		e = transport_describe(&r->t);
	if (e == 0)
		e = transport_enable(&r->t);
	if (e == 0)
		e = make_transfer_memory(r);
	return e;
}

int zpci_open_region(struct vfio_device *dev, const struct vfio_region_desc *io, struct zpci **ret)
{
	struct region_zpci *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		vfio_device_close(dev);
		return -ENOMEM;
	}
	zpci_init(&r->t.z, &region_ops);
	r->t.z.caps.transport = "zpci-io-region";
	r->t.z.caps.maps_sources = true;
	r->t.z.caps.pipelined = dev->pipelined;
	r->t.dev = dev;
	r->io = *io;
	e = open_function(r);
	if (e < 0) {
		zpci_close(&r->t.z);
		return e;
	}
	*ret = &r->t.z;
	return 0;
}
