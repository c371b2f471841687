/* SPDX-License-Identifier: MIT */
#include "vfio/attached.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/region_exec.h"
#include "vfio/source_map.h"

#define ATTACHED_LINE 4096u /* no PCISTB crosses one */
#define WINDOWS_MANY  128u  /* buckets of a table that was made for a crowd */
#define WINDOWS_FEW   16u

struct attached {
	struct vfio_device dev; /* first */
	struct vfio_device *below;
	struct vfio_region_desc io;
	struct region_exec exec;
	bool taken; /* the window executed the request just written */
	struct source_map sources;
	struct vfio_window *windows;
	struct vfio_window *last;
};

_Static_assert(offsetof(struct attached, dev) == 0, "device is embedded first");

static struct attached *attached_of(struct vfio_device *dev)
{
	return (struct attached *)dev;
}

/* ---- windows --------------------------------------------------------------------------------- */

static struct vfio_window *window_at(struct attached *a, uint64_t offset)
{
	uint32_t key = (uint32_t)(offset >> ATTACHED_SHIFT);
	struct vfio_window *w = a->last;

	if (w && w->key == key)
		return w;
	HASH_FIND(hh, a->windows, &key, sizeof(key), w);
	if (w)
		a->last = w;
	return w;
}

static struct vfio_window *window_of(struct attached *a, const struct zpci_io_req *q)
{
	if (q->pcias != 0 || (q->flags & ZPCI_IO_FLAG_READ) || !(q->flags & ZPCI_IO_FLAG_BLOCKW))
		return NULL;
	return window_at(a, q->offset);
}

static bool taken_here(struct attached *a, const struct zpci_io_req *q)
{
	const struct vfio_window *w = window_of(a, q);

	return w && w->open(w);
}

static int attached_add_window(struct vfio_device *dev, struct vfio_window *w)
{
	struct attached *a = attached_of(dev);
	struct vfio_window *there;

	HASH_FIND(hh, a->windows, &w->key, sizeof(w->key), there);
	if (there)
		return -EEXIST;
	HASH_ADD(hh, a->windows, key, sizeof(w->key), w);
	return 0;
}

/* A table only ever grows: after a crowd those that are left get a new one. */
static void shrink_windows(struct attached *a)
{
	struct vfio_window *w, *tmp, *left = NULL;
	const UT_hash_table *t = a->windows ? a->windows->hh.tbl : NULL;

	if (!t || t->num_buckets < WINDOWS_MANY || t->num_items > WINDOWS_FEW)
		return;
	HASH_ITER(hh, a->windows, w, tmp) {
		HASH_DEL(a->windows, w);
		HASH_ADD(hh, left, key, sizeof(w->key), w);
	}
	a->windows = left;
}

static void attached_del_window(struct vfio_device *dev, struct vfio_window *w)
{
	struct attached *a = attached_of(dev);

	HASH_DEL(a->windows, w);
	if (a->last == w)
		a->last = NULL;
	shrink_windows(a);
}

/* ---- the rules ------------------------------------------------------------------------------- */

static void *exec_resolve(void *ctx, uint64_t gaddr, size_t len, int write)
{
	struct attached *a = ctx;

	return source_map_has(&a->sources, (uintptr_t)gaddr, len) ? (void *)(uintptr_t)gaddr : NULL;
}

/* Only stores come this far: see window_of(). */
static int exec_load(void *ctx, uint8_t pcias, uint64_t offset, uint16_t len, uint64_t *value)
{
	return -EIO;
}

static int exec_store(void *ctx, uint8_t pcias, uint64_t offset, const void *data, uint16_t len)
{
	struct attached *a = ctx;
	struct vfio_window *w = window_at(a, offset);
	uint32_t at = (uint32_t)offset;

	/* What the instruction itself refuses is the device's to refuse. */
	if (!w || len == 0 || at % ATTACHED_LINE + len > ATTACHED_LINE)
		return -EIO;
	a->taken = w->store(w, at, data, len);
	return a->taken ? 0 : -EIO;
}

static const struct region_exec_ops exec_ops = {
	.resolve = exec_resolve,
	.load = exec_load,
	.store = exec_store,
};

/* Executes the stored request @q if a window takes it. */
static bool execute_here(struct attached *a, const struct zpci_io_req *q)
{
	a->taken = false;
	if (!window_of(a, q) ||
		region_exec_write(&a->exec, ZPCI_IO_REQ_OFFSET, q, sizeof(*q)) < 0)
		return false;
	a->dev.here_stores += a->taken;
	a->dev.here_bytes += a->taken ? q->len : 0;
	return a->taken;
}

/* ---- the region ------------------------------------------------------------------------------ */

/*
 * A write as the region takes it: bytes of the request, which is then executed as a whole, whatever
 * is stored of it already. The device never sees less than the whole.
 */
static ssize_t write_request(struct attached *a, uint64_t pos, const void *buf, size_t count)
{
	struct zpci_io_req q = a->exec.state.req;
	ssize_t n;

	if (count > ZPCI_IO_REGION_SIZE - pos)
		count = ZPCI_IO_REGION_SIZE - pos;
	memcpy((uint8_t *)&q + (pos - ZPCI_IO_REQ_OFFSET), buf, count);
	a->exec.state.req = q;
	if (execute_here(a, &q))
		return (ssize_t)count;
	n = a->below->ops->region_write(a->below, &a->io, ZPCI_IO_REQ_OFFSET, &q, sizeof(q));
	return n == (ssize_t)sizeof(q) ? (ssize_t)count : n;
}

static ssize_t attached_region_write(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, const void *buf, size_t len)
{
	struct attached *a = attached_of(dev);

	if (r->index == a->io.index && len > 0 && offset >= ZPCI_IO_REQ_OFFSET &&
		offset < ZPCI_IO_REGION_SIZE)
		return write_request(a, offset, buf, len);
	return a->below->ops->region_write(a->below, r, offset, buf, len);
}

/* A write of a whole request: *q. */
static bool whole_request(const struct attached *a, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, struct zpci_io_req *q)
{
	if (r->index != a->io.index || wr->offset != ZPCI_IO_REQ_OFFSET || wr->len != sizeof(*q))
		return false;
	memcpy(q, wr->data, sizeof(*q));
	return true;
}

/* The length of the run that begins with wr[0] and goes to the device. */
static size_t run_below(struct attached *a, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n)
{
	struct zpci_io_req q;
	size_t i = 1;

	while (i < n && !(whole_request(a, r, &wr[i], &q) && taken_here(a, &q)))
		i++;
	return i;
}

static int attached_region_write_batch(struct vfio_device *dev, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	struct attached *a = attached_of(dev);
	struct zpci_io_req q;
	size_t at = 0, len, ok;
	int e = 0;

	while (e == 0 && at < n) {
		if (whole_request(a, r, &wr[at], &q) && execute_here(a, &q)) {
			at++;
			continue;
		}
		len = run_below(a, r, wr + at, n - at);
		e = a->below->ops->region_write_batch(a->below, r, wr + at, len, &ok);
		/* What the region has stored now: the last one that it has seen. */
		if (whole_request(a, r, &wr[at + (ok < len ? ok : len - 1)], &q))
			a->exec.state.req = q;
		at += ok;
	}
	*done = at;
	return e;
}

/* ---- sources --------------------------------------------------------------------------------- */

static int attached_dma_map(struct vfio_device *dev, void *va, size_t len, int fd,
	uint64_t fd_offset, uint64_t *iova)
{
	struct attached *a = attached_of(dev);
	int e = source_map_reserve(&a->sources, 1);

	if (e == 0)
		e = a->below->ops->dma_map(a->below, va, len, fd, fd_offset, iova);
	if (e == 0)
		source_map_add(&a->sources, (uintptr_t)va, len);
	return e;
}

static int attached_dma_unmap(struct vfio_device *dev, uint64_t iova, size_t len)
{
	struct attached *a = attached_of(dev);

	/* Forgotten first: whatever the device answers, it is no source any more. */
	source_map_del(&a->sources, (uintptr_t)iova, len);
	return a->below->ops->dma_unmap(a->below, iova, len);
}

/* Commands, which no window is for. */
static int attached_map_write_batch(struct vfio_device *dev, struct vfio_map *maps, size_t nmaps,
	const struct vfio_region_desc *r, const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	struct attached *a = attached_of(dev);
	struct zpci_io_req q;
	int e = source_map_reserve(&a->sources, nmaps);

	*done = 0;
	if (e < 0)
		return e;
	e = a->below->ops->map_write_batch(a->below, maps, nmaps, r, wr, n, done);
	for (size_t i = 0; i < nmaps; i++) {
		if (!maps[i].done)
			return e;
		source_map_add(&a->sources, (uintptr_t)maps[i].va, maps[i].len);
	}
	if (whole_request(a, r, &wr[*done < n ? *done : n - 1], &q))
		a->exec.state.req = q;
	return e;
}

static int attached_dma_unmap_batch(struct vfio_device *dev, struct vfio_range *v, size_t n)
{
	struct attached *a = attached_of(dev);

	for (size_t i = 0; i < n; i++)
		source_map_del(&a->sources, (uintptr_t)v[i].iova, v[i].len);
	return a->below->ops->dma_unmap_batch(a->below, v, n);
}

/* ---- everything else ------------------------------------------------------------------------- */

static int attached_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->get_info(d, info);
}

static int attached_get_region(struct vfio_device *dev, uint32_t index,
	struct vfio_region_desc *desc)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->get_region(d, index, desc);
}

static ssize_t attached_region_read(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, void *buf, size_t len)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->region_read(d, r, offset, buf, len);
}

static int attached_set_msi(struct vfio_device *dev, int eventfd)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->set_msi(d, eventfd);
}

static int attached_reset(struct vfio_device *dev)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->reset(d);
}

static int attached_liveness_fd(struct vfio_device *dev)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->liveness_fd(d);
}

static int attached_check(struct vfio_device *dev)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->check(d);
}

static int attached_side_channel(struct vfio_device *dev, int fd)
{
	struct vfio_device *d = attached_of(dev)->below;

	return d->ops->side_channel ? d->ops->side_channel(d, fd) : -EOPNOTSUPP;
}

static void attached_close(struct vfio_device *dev)
{
	struct attached *a = attached_of(dev);

	a->below = vfio_device_close(a->below);
	source_map_fini(&a->sources);
	free(a);
}

static const struct vfio_device_ops attached_ops = {
	.name = "attached",
	.get_info = attached_get_info,
	.get_region = attached_get_region,
	.region_read = attached_region_read,
	.region_write = attached_region_write,
	.region_write_batch = attached_region_write_batch,
	.dma_map = attached_dma_map,
	.dma_unmap = attached_dma_unmap,
	.map_write_batch = attached_map_write_batch,
	.dma_unmap_batch = attached_dma_unmap_batch,
	.set_msi = attached_set_msi,
	.reset = attached_reset,
	.liveness_fd = attached_liveness_fd,
	.check = attached_check,
	.close = attached_close,
	.side_channel = attached_side_channel,
	.add_window = attached_add_window,
	.del_window = attached_del_window,
};

/* The longest PCISTB that the region announces, or -errno. */
static int announced_max(struct vfio_device *dev, const struct vfio_region_desc *io)
{
	struct zpci_io_hdr hdr;
	ssize_t n = dev->ops->region_read(dev, io, ZPCI_IO_HDR_OFFSET, &hdr, sizeof(hdr));

	if (n < 0)
		return (int)n;
	return n == (ssize_t)sizeof(hdr) ? hdr.max : -EPROTO;
}

int vfio_attached_open(struct vfio_device *dev, struct vfio_device **ret)
{
	struct vfio_region_desc io;
	struct attached *a;
	int max;
	int r = vfio_device_find_region(dev, ZPCI_IO_REGION_TYPE, ZPCI_IO_REGION_SUBTYPE,
		ZPCI_IO_REGION_SIZE, &io);

	if (r == -ENOENT || !dev->iova_is_va) {
		*ret = dev;
		return 0;
	}
	max = r < 0 ? r : announced_max(dev, &io);
	a = max < 0 ? NULL : calloc(1, sizeof(*a));
	if (!a) {
		vfio_device_close(dev);
		return max < 0 ? max : -ENOMEM;
	}
	a->dev.ops = &attached_ops;
	a->dev.iova_is_va = true;
	a->dev.pipelined = dev->pipelined;
	a->below = dev;
	a->io = io;
	region_exec_init(&a->exec, &exec_ops, a, (uint16_t)max);
	*ret = &a->dev;
	return 0;
}
