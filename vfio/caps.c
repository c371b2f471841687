/* SPDX-License-Identifier: MIT */
#include "vfio/caps.h"

#include <errno.h>
#include <linux/vfio.h>
#include <linux/vfio_zdev.h>
#include <string.h>

void vfio_caps_init(struct vfio_caps *c, const void *buf, size_t len, size_t fixed, uint32_t first)
{
	c->buf = buf;
	c->len = len;
	c->min = fixed;
	c->next = first;
}

int vfio_caps_next(struct vfio_caps *c, struct vfio_cap *cap)
{
	struct vfio_info_cap_header h;
	size_t at = c->next;

	if (!at)
		return 0;
	if (at < c->min || at > c->len || c->len - at < sizeof(h))
		return -EPROTO;
	memcpy(&h, c->buf + at, sizeof(h));
	c->min = at + sizeof(h);
	c->next = h.next;
	if (h.next && (h.next < c->min || h.next > c->len))
		return -EPROTO;
	cap->id = h.id;
	cap->version = h.version;
	cap->data = c->buf + at;
	cap->len = (h.next ? h.next : c->len) - at;
	return 1;
}

/* Version 1 ends before fh. */
static int parse_zpci_base(const struct vfio_cap *cap, struct vfio_dev_info *info)
{
	struct vfio_device_info_cap_zpci_base b;
	size_t need = offsetof(struct vfio_device_info_cap_zpci_base, fh);

	if (cap->version >= 2)
		need += sizeof(b.fh);
	if (cap->len < need)
		return -EPROTO;
	memset(&b, 0, sizeof(b));
	memcpy(&b, cap->data, need);
	info->has_zpci = true;
	info->pft = b.pft;
	info->pchid = b.pchid;
	info->fh = b.fh;
	info->start_dma = b.start_dma;
	info->end_dma = b.end_dma;
	return 0;
}

/* Version 1 ends before imaxstbl, and its maxstbl is a constant of the kernel. */
static int parse_zpci_group(const struct vfio_cap *cap, struct vfio_dev_info *info)
{
	struct vfio_device_info_cap_zpci_group g;
	size_t need = offsetof(struct vfio_device_info_cap_zpci_group, imaxstbl);

	if (cap->version >= 2)
		need += sizeof(g.imaxstbl);
	if (cap->len < need)
		return -EPROTO;
	memset(&g, 0, sizeof(g));
	memcpy(&g, cap->data, need);
	info->max_store = g.imaxstbl;
	return 0;
}

int vfio_caps_device(struct vfio_caps *c, struct vfio_dev_info *info)
{
	struct vfio_dev_info out = *info;
	struct vfio_cap cap;
	int r;

	while ((r = vfio_caps_next(c, &cap)) > 0) {
		if (cap.version < 1)
			continue;
		if (cap.id == VFIO_DEVICE_INFO_CAP_ZPCI_BASE && parse_zpci_base(&cap, &out) < 0)
			return -EPROTO;
		if (cap.id == VFIO_DEVICE_INFO_CAP_ZPCI_GROUP && parse_zpci_group(&cap, &out) < 0)
			return -EPROTO;
	}
	if (r == 0)
		*info = out;
	return r;
}

int vfio_caps_region(struct vfio_caps *c, struct vfio_region_desc *desc)
{
	struct vfio_region_desc out = *desc;
	struct vfio_region_info_cap_type t;
	struct vfio_cap cap;
	int r;

	while ((r = vfio_caps_next(c, &cap)) > 0) {
		if (cap.id != VFIO_REGION_INFO_CAP_TYPE || cap.version < 1)
			continue;
		if (cap.len < sizeof(t))
			return -EPROTO;
		memcpy(&t, cap.data, sizeof(t));
		out.has_type = true;
		out.type = t.type;
		out.subtype = t.subtype;
	}
	if (r == 0)
		*desc = out;
	return r;
}

static int parse_iova_ranges(const struct vfio_cap *cap, struct iova_range *v, size_t max)
{
	struct vfio_iommu_type1_info_cap_iova_range h;
	struct vfio_iova_range range;
	size_t n;

	if (cap->len < sizeof(h))
		return -EPROTO;
	memcpy(&h, cap->data, sizeof(h));
	if (h.nr_iovas > (cap->len - sizeof(h)) / sizeof(range))
		return -EPROTO;
	n = h.nr_iovas < max ? h.nr_iovas : max;
	for (size_t i = 0; i < n; i++) {
		memcpy(&range, cap->data + sizeof(h) + i * sizeof(range), sizeof(range));
		v[i].start = range.start;
		v[i].end = range.end;
	}
	return (int)n;
}

int vfio_caps_iova_ranges(struct vfio_caps *c, struct iova_range *v, size_t max)
{
	struct vfio_cap cap;
	int r;

	while ((r = vfio_caps_next(c, &cap)) > 0) {
		if (cap.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE && cap.version >= 1)
			return parse_iova_ranges(&cap, v, max);
	}
	return r;
}
