/* SPDX-License-Identifier: MIT */
/*
 * dma.h - the DMA maps of one vfio-user client
 *
 * Maps are disjoint ranges of IOVA in a balanced tree that is ordered by "lies wholly before": two
 * ranges that overlap compare equal, so finding the map of an address and finding any map in a
 * range are the same O(log n) search. Guests map by the 4 KiB page, tens of thousands at a time, in
 * any order. The memory file behind the maps is mapped once and whole; every map of it holds a
 * reference.
 *
 * A file's mapping never moves or changes while a map refers to it. When the file has grown or is
 * needed with more rights, a second mapping is made beside it, which later maps use.
 *
 * The client owns the memory: it is mapped only if it cannot shrink (else an access would be
 * SIGBUS), unless allow_unsealed is set. Limits bound what one client can take of this process:
 * maps, mapped files (each is a kernel mapping) and address space. Not thread-safe.
 *
 * Of a file that one map covers as a whole the descriptor is kept, as long as there are descriptors to be
 * had; everything but dma_file_at() works without. If such a file is sealed for good it is mapped when
 * dma_find() wants it first: most DMBs are written by others.
 */
#ifndef SMCDU_VFIO_USER_DMA_H
#define SMCDU_VFIO_USER_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/base/trim.h"
#include "vfio/user/proto.h"

#define DMA_PAGE_SIZE 4096u
#define DMA_MAX_FILES 4096u			/* a DMB and a send buffer per channel, and some */
#define DMA_MAX_SPACE (UINT64_C(4) << 40)	/* bytes of address space */

struct dma_table {
	void *maps;		/* of struct dma_map, by tsearch(3) */
	void *files;		/* of struct dma_file, the newest mapping of each file, likewise */
	uint64_t space;
	uint32_t n_files;
	uint32_t n_maps;
	uint32_t max_maps;
	int keep_below; /* descriptors of files are kept below this */
	bool allow_unsealed;
	struct trim trim; /* of maps */
};

void dma_init(struct dma_table *t, uint32_t max_maps);

/* Removes all maps. */
void dma_fini(struct dma_table *t);

/*
 * Adds a map of @req->size bytes of *fd at @req->offset. If the table takes the descriptor over, *fd is -1
 * afterwards; else it still is the caller's. Without a file (*fd -1) the
 * range is taken but dma_find() never returns memory for it: QEMU announces ROMs that way.
 * 0 · -EINVAL: alignment, flags, not a file, beyond its end · -EPERM: it could shrink · -EEXIST:
 * overlaps a map · -ENOSPC: a limit · -EACCES: @fd does not grant the access · -ENOMEM.
 */
int dma_add(struct dma_table *t, const struct vu_dma_map *req, int *fd);

/* Any map within [first, last]? */
bool dma_any(const struct dma_table *t, uint64_t first, uint64_t last);

/* A map that is only partly within [first, last]? */
bool dma_cuts(const struct dma_table *t, uint64_t first, uint64_t last);

/* Removes all maps that overlap [first, last] and unmaps files that nothing refers to any more. */
void dma_remove(struct dma_table *t, uint64_t first, uint64_t last);

/*
 * The memory at [iova, iova+len) if one map covers it and grants the access, else NULL. Valid until
 * the map is removed.
 */
void *dma_find(const struct dma_table *t, uint64_t iova, size_t len, bool write);

/*
 * The file that is mapped as a whole, read and write, at exactly [iova, iova+len): a descriptor that
 * is the table's and lives as long as the map. -1: there is no such file, or no descriptor was left
 * when it was mapped.
 */
int dma_file_at(const struct dma_table *t, uint64_t iova, size_t len);

#endif
