/* SPDX-License-Identifier: MIT */
#include "vfio/iommu.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/uapi.h"

static int type1_ranges(struct calls *c, const struct iommu *m,
	struct iova_range v[IOMMU_MAX_RANGES], uint64_t *align)
{
	struct vfio_iommu_type1_info ii = { 0 };
	struct vfio_caps caps;
	void *buf;
	size_t len;
	int n = calls_info(c, m->fd, VFIO_IOMMU_GET_INFO, &ii, sizeof(ii), &buf, &len);

	if (n < 0)
		return n;
	memcpy(&ii, buf, sizeof(ii));
	vfio_caps_init(&caps, buf, len, sizeof(ii),
		ii.flags & VFIO_IOMMU_INFO_CAPS ? ii.cap_offset : 0);
	n = vfio_caps_iova_ranges(&caps, v, IOMMU_MAX_RANGES);
	free(buf);
	if (n >= 0)
		*align = ii.flags & VFIO_IOMMU_INFO_PGSIZES ? ii.iova_pgsizes & -ii.iova_pgsizes : 1;
	return n;
}

/* With more ranges than there is room for, those that fit are as good as all. */
static int ioas_ranges(struct calls *c, const struct iommu *m,
	struct iova_range v[IOMMU_MAX_RANGES], uint64_t *align)
{
	struct ioas_ranges q = {
		.size = sizeof(q),
		.ioas_id = m->ioas,
		.num = IOMMU_MAX_RANGES,
		.ranges = (uintptr_t)v,
	};
	int r;

	_Static_assert(sizeof(v[0]) == 16, "a range as the kernel has it");
	memset(v, 0, IOMMU_MAX_RANGES * sizeof(v[0]));
	r = calls_ioctl(c, m->fd, IOAS_RANGES, &q);
	if (r < 0 && r != -EMSGSIZE)
		return r;
	*align = q.out_alignment;
	return (int)(q.num < IOMMU_MAX_RANGES ? q.num : IOMMU_MAX_RANGES);
}

int iommu_ranges(struct calls *c, const struct iommu *m, struct iova_range v[IOMMU_MAX_RANGES],
	uint64_t *align)
{
	return m->ioas ? ioas_ranges(c, m, v, align) : type1_ranges(c, m, v, align);
}

int iommu_map(struct calls *c, const struct iommu *m, void *va, uint64_t len, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va,
		.size = len,
		.iova = iova,
	};
	struct ioas_map ioas = {
		.size = sizeof(ioas),
		.flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_READABLE | IOAS_MAP_WRITEABLE,
		.ioas_id = m->ioas,
		.user_va = (uintptr_t)va,
		.length = len,
		.iova = iova,
	};
	int r = m->ioas ? calls_ioctl(c, m->fd, IOAS_MAP, &ioas)
			: calls_ioctl(c, m->fd, VFIO_IOMMU_MAP_DMA, &map);

	return r < 0 ? r : 0;
}

int iommu_unmap(struct calls *c, const struct iommu *m, uint64_t iova, uint64_t len)
{
	struct vfio_iommu_type1_dma_unmap un = {
		.argsz = sizeof(un),
		.iova = iova,
		.size = len,
	};
	struct ioas_unmap ioas = {
		.size = sizeof(ioas),
		.ioas_id = m->ioas,
		.iova = iova,
		.length = len,
	};
	int r = m->ioas ? calls_ioctl(c, m->fd, IOAS_UNMAP, &ioas)
			: calls_ioctl(c, m->fd, VFIO_IOMMU_UNMAP_DMA, &un);

	if (r < 0)
		return r;
	return (m->ioas ? ioas.length : un.size) == len ? 0 : -EINVAL;
}
