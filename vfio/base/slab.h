/* SPDX-License-Identifier: MIT */
/*
 * slab.h - small objects of one kind that come and go by the thousand
 *
 * A C library keeps some of the freed pieces of each size for the thread that freed them, wherever they lie
 * (glibc: seven of each size up to 1032 bytes). After a crowd these are what it leaves behind: each holds a
 * page that malloc_trim() cannot give back. So objects are cut out of blocks that are too large to be kept
 * like that, and a block is freed with its last object.
 *
 * Where accesses are checked by a sanitizer a block has one object, so that it still sees each one's end.
 */
#ifndef SMCDU_BASE_SLAB_H
#define SMCDU_BASE_SLAB_H

#include <stddef.h>

struct slab_block;

struct slab {
	size_t size;		  /* of an object */
	struct slab_block *rooms; /* blocks with room for one more */
};

#define SLAB_OF(type) ((struct slab){ .size = sizeof(type) })

/* Zeroed, aligned for anything; NULL without memory. */
void *slab_get(struct slab *s);
/* NULL is allowed. */
void slab_put(struct slab *s, void *object);

#endif
