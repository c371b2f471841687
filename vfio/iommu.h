/* SPDX-License-Identifier: MIT */
/*
 * iommu.h - who maps DMA for a kernel device: a type1 container, or an address space of iommufd
 *
 * Both pin the memory, map it at addresses of our choice inside ranges that they report, and unmap
 * only what was mapped as a whole.
 */
#ifndef SMCDU_VFIO_IOMMU_H
#define SMCDU_VFIO_IOMMU_H

#include <stddef.h>
#include <stdint.h>

#include "vfio/calls.h"
#include "vfio/caps.h"

#define IOMMU_MAX_RANGES 64u

struct iommu {
	int fd;	       /* a container, or /dev/iommu */
	uint32_t ioas; /* of iommufd; 0: @fd is a container */
};

/*
 * The usable address ranges, of an attached device: their number (at most IOMMU_MAX_RANGES; 0: the
 * kernel does not tell) and in *align the smallest unit of a map. Or -errno.
 */
int iommu_ranges(struct calls *c, const struct iommu *m, struct iova_range v[IOMMU_MAX_RANGES],
	uint64_t *align);

/*
 * Maps for reading and writing by the device. 0 · -ENOMEM over RLIMIT_MEMLOCK · -ENOSPC too many
 * maps · -EEXIST · -EINVAL outside the ranges · -EFAULT memory that cannot be pinned · -errno.
 */
int iommu_map(struct calls *c, const struct iommu *m, void *va, uint64_t len, uint64_t iova);

/* 0 when all of [iova, iova+len) was unmapped, -EINVAL when less was, -errno. */
int iommu_unmap(struct calls *c, const struct iommu *m, uint64_t iova, uint64_t len);

#endif
