/* SPDX-License-Identifier: MIT */
/* Containers of type1 and address spaces of iommufd. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ism_double_priv.h"
#include "vfio/uapi.h"

#define PAGE 4096u

struct ism_space *ism_space_new(int fd, uint32_t id)
{
	for (unsigned int i = 0; i < ISM_DOUBLE_SPACES; i++) {
		struct ism_space *s = &ism_d.space[i];

		if (s->used)
			continue;
		*s = (struct ism_space){ .used = true, .fd = fd, .id = id };
		s->maps = calloc(ISM_DOUBLE_MAPS, sizeof(*s->maps));
		return s->maps ? s : NULL;
	}
	return NULL;
}

struct ism_space *ism_space_of(int fd, uint32_t id)
{
	for (unsigned int i = 0; i < ISM_DOUBLE_SPACES; i++) {
		struct ism_space *s = &ism_d.space[i];

		if (s->used && s->fd == fd && s->id == id)
			return s;
	}
	return NULL;
}

void ism_space_close(int fd)
{
	for (unsigned int i = 0; i < ISM_DOUBLE_SPACES; i++) {
		struct ism_space *s = &ism_d.space[i];

		if (!s->used || s->fd != fd)
			continue;
		for (unsigned int k = 0; k < ism_d.params.functions; k++)
			if (ism_d.port[k].space == s)
				ism_d.port[k].space = NULL;
		free(s->maps);
		*s = (struct ism_space){ 0 };
	}
}

/* --- maps --- */

static bool overlaps(const struct vfio_iommu_type1_dma_map *m, uint64_t iova, uint64_t size)
{
	return iova < m->iova + m->size && m->iova < iova + size;
}

/* What both have in common once the addresses are right. */
static int add_map(struct ism_space *s, uint64_t va, uint64_t iova, uint64_t size)
{
	for (unsigned int i = 0; i < s->nmaps; i++)
		if (overlaps(&s->maps[i], iova, size))
			return -EEXIST;
	if (ism_d.host.lock_limit && s->locked + size > ism_d.host.lock_limit)
		return -ENOMEM;
	if (s->nmaps == (ism_d.host.map_limit ? ism_d.host.map_limit : ISM_DOUBLE_MAPS))
		return -ENOSPC;
	s->maps[s->nmaps++] = (struct vfio_iommu_type1_dma_map){ .vaddr = va, .iova = iova,
		.size = size };
	s->locked += size;
	ism_d.count.maps++;
	return 0;
}

/* Whole maps only. */
static int remove_maps(struct ism_space *s, uint64_t iova, uint64_t size, uint64_t *removed)
{
	for (unsigned int i = 0; i < s->nmaps; i++)
		if (overlaps(&s->maps[i], iova, size) && (s->maps[i].iova < iova ||
			s->maps[i].iova + s->maps[i].size > iova + size))
			return -EINVAL;
	for (unsigned int k = 0; k < ism_d.params.functions; k++)
		if (ism_d.port[k].space == s && ism_d.port[k].running)
			function_dma_unmapped(ism_d.port[k].fn, iova, size);
	*removed = 0;
	for (unsigned int i = 0; i < s->nmaps;) {
		if (overlaps(&s->maps[i], iova, size)) {
			*removed += s->maps[i].size;
			s->maps[i] = s->maps[--s->nmaps];
		} else {
			i++;
		}
	}
	s->locked -= *removed;
	ism_d.count.unmaps++;
	return 0;
}

/* --- type1 --- */

static int type1_info(void *arg)
{
	const struct vfio_iommu_type1_info ii = {
		.flags = VFIO_IOMMU_INFO_CAPS | VFIO_IOMMU_INFO_PGSIZES, .iova_pgsizes = PAGE };
	const struct {
		struct vfio_info_cap_header header;
		uint32_t num, reserved;
		struct vfio_iova_range range;
	} cap = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, .version = 1 },
		.num = 1,
		.range = { ISM_DOUBLE_IOVA_START, ISM_DOUBLE_IOVA_END },
	};

	return ism_double_give(arg, &ii, sizeof(ii), 16, &cap,
		ism_d.host.tells_no_ranges ? 0 : sizeof(cap),
		offsetof(struct vfio_iommu_type1_info, cap_offset));
}

static int type1_map(struct ism_space *s, const void *arg)
{
	struct vfio_iommu_type1_dma_map m;

	memcpy(&m, arg, sizeof(m));
	if (m.argsz < sizeof(m) || !(m.flags & 3) || m.flags & ~7u || !m.size ||
		(m.vaddr | m.iova | m.size) % PAGE || m.iova < ISM_DOUBLE_IOVA_START ||
		m.size - 1 > ISM_DOUBLE_IOVA_END - m.iova)
		return -EINVAL;
	return add_map(s, m.vaddr, m.iova, m.size);
}

/* A range without any succeeds and says 0. */
static int type1_unmap(struct ism_space *s, void *arg)
{
	struct vfio_iommu_type1_dma_unmap un;
	uint64_t removed = 0;
	int r;

	memcpy(&un, arg, offsetof(struct vfio_iommu_type1_dma_unmap, data));
	if (un.argsz < sizeof(un) || un.flags || !un.size || (un.iova | un.size) % PAGE)
		return -EINVAL;
	r = remove_maps(s, un.iova, un.size, &removed);
	if (r < 0)
		return r;
	un.size = removed;
	memcpy(arg, &un, offsetof(struct vfio_iommu_type1_dma_unmap, data));
	return 0;
}

static int set_iommu(struct ism_space *s, void *arg)
{
	if (!s->has_group || s->has_iommu)
		return -EINVAL;
	if (((uintptr_t)arg != VFIO_TYPE1_IOMMU && (uintptr_t)arg != VFIO_TYPE1v2_IOMMU) ||
		ism_d.host.no_type1)
		return -ENODEV;
	if (ism_d.host.unsafe)
		return -EPERM;
	s->has_iommu = true;
	return 0;
}

int ism_container_ioctl(int fd, unsigned long nr, void *arg)
{
	struct ism_space *s = ism_space_of(fd, 0);

	switch (nr) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return ((uintptr_t)arg == VFIO_TYPE1_IOMMU ||
			(uintptr_t)arg == VFIO_TYPE1v2_IOMMU) && !ism_d.host.no_type1;
	case VFIO_SET_IOMMU:
		return set_iommu(s, arg);
	}
	if (!s->has_iommu)
		return -EINVAL;
	switch (nr) {
	case VFIO_IOMMU_GET_INFO:
		return type1_info(arg);
	case VFIO_IOMMU_MAP_DMA:
		return type1_map(s, arg);
	case VFIO_IOMMU_UNMAP_DMA:
		return type1_unmap(s, arg);
	}
	return -ENOTTY;
}

/* --- iommufd --- */

static int alloc_ioas(int fd, void *arg)
{
	struct ioas_alloc a;

	memcpy(&a, arg, sizeof(a));
	if (a.size < sizeof(a))
		return -EINVAL;
	if (a.flags)
		return -EOPNOTSUPP;
	a.out_ioas_id = ++ism_d.next_ioas;
	if (!ism_space_new(fd, a.out_ioas_id))
		return -ENOMEM;
	memcpy(arg, &a, sizeof(a));
	return 0;
}

/* The lower limit is a function's, once attached; the upper one is not known to the kernel. */
static int tell_ranges(int fd, void *arg)
{
	struct ism_space *s;
	struct ioas_ranges q;
	uint64_t range[2] = { 0, UINT64_C(0x3ffffffffff) };
	int r = 0;

	memcpy(&q, arg, sizeof(q));
	s = q.size < sizeof(q) ? NULL : ism_space_of(fd, q.ioas_id);
	if (!s)
		return q.size < sizeof(q) ? -EINVAL : -ENOENT;
	if (q.reserved)
		return -EOPNOTSUPP;
	if (s->has_iommu)
		range[0] = ISM_DOUBLE_IOVA_START;
	if (q.num >= 1)
		memcpy((void *)(uintptr_t)q.ranges, range, sizeof(range));
	else
		r = -EMSGSIZE;
	q.num = 1;
	q.out_alignment = PAGE;
	memcpy(arg, &q, sizeof(q));
	return r;
}

/* Above what the function can address the map fails, and the function is in error state. */
static int check_limit(struct ism_space *s, const struct ioas_map *m)
{
	if (m->length - 1 <= ISM_DOUBLE_IOVA_END - m->iova && m->iova <= ISM_DOUBLE_IOVA_END)
		return 0;
	ism_d.count.out_of_range++;
	for (unsigned int k = 0; k < ism_d.params.functions; k++)
		if (ism_d.port[k].space == s)
			function_enter_error(ism_d.port[k].fn);
	return -EIO;
}

static int map_ioas(int fd, void *arg)
{
	struct ism_space *s;
	struct ioas_map m;
	int r;

	memcpy(&m, arg, sizeof(m));
	if (m.size < sizeof(m) || !m.length || (m.user_va | m.iova | m.length) % PAGE)
		return -EINVAL;
	if (m.flags & ~7u || m.reserved)
		return -EOPNOTSUPP;
	if (!(m.flags & IOAS_MAP_FIXED_IOVA))
		return -EOPNOTSUPP; /* the kernel's choice: not needed here */
	s = ism_space_of(fd, m.ioas_id);
	if (!s)
		return -ENOENT;
	if (s->has_iommu && m.iova < ISM_DOUBLE_IOVA_START)
		return -EINVAL;
	r = check_limit(s, &m);
	return r < 0 ? r : add_map(s, m.user_va, m.iova, m.length);
}

static int unmap_ioas(int fd, void *arg)
{
	struct ism_space *s;
	struct ioas_unmap u;
	int r;

	memcpy(&u, arg, sizeof(u));
	if (u.size < sizeof(u))
		return -EINVAL;
	s = ism_space_of(fd, u.ioas_id);
	if (!s)
		return -ENOENT;
	r = remove_maps(s, u.iova, u.length, &u.length);
	if (r == 0 && u.length == 0)
		r = -ENOENT;
	memcpy(arg, &u, sizeof(u));
	return r;
}

int ism_iommufd_ioctl(int fd, unsigned long nr, void *arg)
{
	switch (nr) {
	case IOAS_ALLOC:
		return alloc_ioas(fd, arg);
	case IOAS_RANGES:
		return tell_ranges(fd, arg);
	case IOAS_MAP:
		return map_ioas(fd, arg);
	case IOAS_UNMAP:
		return unmap_ioas(fd, arg);
	}
	return -ENOTTY;
}
