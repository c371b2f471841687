/* SPDX-License-Identifier: MIT */
/*
 * iova.h - allocator of I/O virtual addresses
 *
 * A zPCI function accepts DMA only inside the ranges its IOMMU reports, and ISM's buffers want
 * natural alignment (a 1 MiB buffer must not cross a 1 MiB line). First fit over a sorted list of
 * free ranges; sizes are pages. What was mapped at such addresses as a whole is cut up by the same
 * means (arena.h).
 *
 * Invariants: free ranges are disjoint, not adjacent, page-aligned and sorted; address 0 and the
 * last page of each reported range are never handed out (0 looks like "none", and the upper limit
 * that firmware reports has been off by one). Freeing never needs memory.
 */
#ifndef SMCDU_VFIO_IOVA_H
#define SMCDU_VFIO_IOVA_H

#include <stddef.h>
#include <stdint.h>

#include "vfio/caps.h"

struct iova {
	struct iova_range *free; /* start page-aligned, end = last byte */
	size_t nfree;
	size_t cap;
	size_t outstanding; /* allocations not yet freed */
	size_t ranges;	    /* at creation */
};

/*
 * Zero-initialise first. Adds the pages inside [start, end], as they are reported; an empty rest is
 * not an error.
 */
int iova_add(struct iova *a, uint64_t start, uint64_t end);

/* Adds [start, end] to the last byte: addresses that are known to be good. -EINVAL: no whole pages. */
int iova_add_whole(struct iova *a, uint64_t start, uint64_t end);

/*
 * Allocates @len bytes (rounded up to pages), aligned to the power of two >= @len. 0, -EINVAL for
 * @len 0 or above 2^62, -ENOSPC, -ENOMEM.
 */
int iova_alloc(struct iova *a, uint64_t len, uint64_t *addr);

/* Gives back exactly what iova_alloc() returned. -EINVAL when part of it is free already. */
int iova_free(struct iova *a, uint64_t addr, uint64_t len);

void iova_deinit(struct iova *a);

#endif
