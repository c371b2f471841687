/* SPDX-License-Identifier: MIT */
/*
 * bar.c - zPCI operations through the BAR regions of Linux's ism-vfio-pci (7.1 and later)
 *
 * That driver offers no region of its own: a write to a BAR region is one PCISTB of just these
 * bytes, a read of 1, 2, 4 or 8 aligned bytes is one PCILG, and the regions lie 2^48 apart, because
 * BAR 0 is that long. Sources need no alignment and no mapping: the kernel copies them.
 *
 * The file position is region offset plus BAR offset, so an offset of 2^48 or more would reach the
 * next region, be it configuration space: it is refused before they are added.
 *
 * Recognised by that spacing (generic vfio-pci has 2^40) and the size of BAR 0. Its longest store
 * is the hardware's, from the zPCI group capability; where a kernel does not tell, 128 bytes, which
 * every function takes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/base/log.h"
#include "vfio/transport.h"

#define SPACING		ZPCI_OFFSET_LIMIT
#define GENERIC_SPACING (UINT64_C(1) << 40)
#define STORE_UNKNOWN	128u
#define STORE_MIN	8u

struct bar_zpci {
	struct transport t; /* first */
	struct vfio_region_desc bar[ZPCI_PCIAS_MAX + 1];
};

_Static_assert(offsetof(struct bar_zpci, t) == 0, "transport is embedded first");

static struct bar_zpci *bars_of(struct zpci *z)
{
	return (struct bar_zpci *)z;
}

/* Whether [offset, offset+len) stays in the region, whatever it is. */
static bool inside(const struct vfio_region_desc *bar, uint64_t offset, uint64_t len)
{
	return offset < SPACING && len <= SPACING - offset && bar->offset <= INT64_MAX - SPACING;
}

static int bar_store(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	struct bar_zpci *b = bars_of(z);
	struct vfio_device *dev = b->t.dev;

	if (b->t.dead)
		return -ENODEV;
	for (*done = 0; *done < n; ++*done) {
		const struct zpci_store *s = &v[*done];
		const struct vfio_region_desc *bar = &b->bar[s->pcias];
		ssize_t w;

		if (!inside(bar, s->offset, s->len))
			return -EIO;
		w = dev->ops->region_write(dev, bar, s->offset, s->data, s->len);
		if (w != s->len)
			return transport_note_io(&b->t, w < 0 ? (int)w : -EIO);
	}
	return 0;
}

/* Other lengths and places would become several loads. */
static bool one_load(uint64_t offset, uint16_t len)
{
	return len && !(len & (len - 1)) && offset % len == 0;
}

static int bar_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	struct bar_zpci *b = bars_of(z);
	struct vfio_device *dev = b->t.dev;
	uint64_t value;
	ssize_t r;

	if (b->t.dead)
		return -ENODEV;
	if (!one_load(offset, len) || !inside(&b->bar[pcias], offset, len))
		return -EINVAL;
	r = dev->ops->region_read(dev, &b->bar[pcias], offset, &value, len);
	if (r != len)
		return transport_note_io(&b->t, r < 0 ? (int)r : -EIO);
	memcpy(out, &value, len);
	return 0;
}

static int bar_dma_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct transport *t = transport_of(z);

	if (t->dead)
		return -ENODEV;
	return transport_note(t, t->dev->ops->dma_map(t->dev, va, len, fd, fd_offset, iova));
}

static int bar_dma_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	struct transport *t = transport_of(z);

	return t->dead ? -ENODEV : transport_note(t, t->dev->ops->dma_unmap(t->dev, iova, len));
}

static void bar_close(struct zpci *z)
{
	struct transport *t = transport_of(z);

	t->dev = vfio_device_close(t->dev);
}

static const struct zpci_ops bar_ops = {
	.load = bar_load,
	.store = bar_store,
	.dma_map = bar_dma_map,
	.dma_unmap = bar_dma_unmap,
	.set_msi = transport_set_msi,
	.reset = transport_reset,
	.side_channel = transport_side_channel,
	.liveness_fd = transport_liveness_fd,
	.check = transport_check,
	.close = bar_close,
};

/* BAR 1 is not implemented, and an index need not exist: 0, 2 and configuration space do. */
static int recognise(struct bar_zpci *b)
{
	const struct vfio_region_desc *bar = b->bar;
	struct vfio_device *dev = b->t.dev;
	struct vfio_region_desc config;
	int e;

	for (uint32_t i = 0; i <= ZPCI_PCIAS_MAX; i++) {
		e = dev->ops->get_region(dev, i, &b->bar[i]);
		if (e == -EINVAL)
			b->bar[i] = (struct vfio_region_desc){ .index = i };
		else if (e < 0)
			return e;
	}
	e = dev->ops->get_region(dev, VFIO_DEV_REGION_CONFIG, &config);
	if (e < 0)
		return e;
	return bar[0].size > GENERIC_SPACING && bar[2].size &&
			       bar[2].offset - bar[0].offset == 2 * SPACING &&
			       config.offset - bar[0].offset == 7 * SPACING
		       ? 0
		       : -ENOENT;
}

static int longest_store(struct zpci_caps *caps)
{
	uint32_t max = caps->info.max_store;

	if (max > 0 && max < STORE_MIN)
		return -EPROTO;
	if (!max) {
		log_warn("vfio: the kernel does not say how long a store may be; %u bytes are used",
			STORE_UNKNOWN);
		max = STORE_UNKNOWN;
	}
	caps->max_store = max < ZPCI_PAGE_SIZE ? max : ZPCI_PAGE_SIZE;
	return 0;
}

static int open_function(struct bar_zpci *b)
{
	int e = recognise(b);

	if (e == 0)
		e = transport_describe(&b->t);
	if (e == 0)
		e = longest_store(&b->t.z.caps);
	if (e == 0)
		e = transport_enable(&b->t);
	return e;
}

int zpci_open_bars(struct vfio_device *dev, struct zpci **ret)
{
	struct bar_zpci *b = calloc(1, sizeof(*b));
	int e;

	if (!b) {
		vfio_device_close(dev);
		return -ENOMEM;
	}
	zpci_init(&b->t.z, &bar_ops);
	b->t.z.caps.transport = "ism-vfio-pci";
	b->t.dev = dev;
	e = open_function(b);
	if (e < 0) {
		zpci_close(&b->t.z);
		return e;
	}
	*ret = &b->t.z;
	return 0;
}
