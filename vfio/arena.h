/* SPDX-License-Identifier: MIT */
/*
 * arena.h - memory of this process and the device alone, mapped in few large pieces
 *
 * A kernel pins what is mapped for a device, fills the IOMMU's tables, flushes them at the end, and
 * counts the maps. So memory whose descriptor nobody else is ever given is cut out of arenas, each one
 * memfd, mapped here and for the device once. Memory that somebody else does get is a file of its own
 * instead: a descriptor opens the whole file.
 *
 * An arena is made when the others have no room, and goes when nothing is left in it; the first stays
 * as long as the door. A block is as aligned as its size rounded up to a power of two, here and for
 * the device, and hence crosses no line of its own size.
 *
 * Invariants: blocks are disjoint and lie in one arena each; what is in use is in no list of free
 * memory; a block is zero when it is given out, whoever had it before.
 */
#ifndef SMCDU_VFIO_ARENA_H
#define SMCDU_VFIO_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_SIZE (UINT64_C(1) << 20)	/* of an arena, unless one block needs more */
#define ARENAS_MAX (UINT64_C(64) << 20) /* of all together */

struct arena_block {
	void *va; /* NULL: none */
	size_t size;
	uint64_t iova;
};

/* What maps [va, va+len) of @fd for the device, as vfio_device_ops.dma_map and dma_unmap. */
struct arena_ops {
	int (*map)(void *ctx, void *va, size_t len, int fd, uint64_t *iova);
	int (*unmap)(void *ctx, uint64_t iova, size_t len);
};

struct arenas {
	const struct arena_ops *ops;
	void *ctx;
	struct arena *list; /* oldest first */
	uint64_t size;	    /* of all */
};

void arenas_init(struct arenas *as, const struct arena_ops *ops, void *ctx);

/*
 * A block of @size bytes, rounded up to pages. 0 · -EINVAL no size, or above ARENAS_MAX · -ENOMEM no
 * memory, or the limit was reached (logged) · what mapping says.
 */
int arena_get(struct arenas *as, size_t size, struct arena_block *ret);

/*
 * Gives back what arena_get() returned; the device has let go of it. @b is none afterwards. 0, or what
 * the unmapping of an arena said, which then stays, for others.
 */
int arena_put(struct arenas *as, struct arena_block *b);

/*
 * The device's access to all of it has ended. @mapped: the memory is still this process's, not so in
 * a child, which did not inherit it.
 */
void arenas_fini(struct arenas *as, bool mapped);

#endif
