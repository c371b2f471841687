/* SPDX-License-Identifier: MIT */
#include "vfio/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <utlist.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/iova.h"

#define PAGE ((size_t)4096)

struct arena {
	uint8_t *va;
	size_t size;
	int fd;
	uint64_t iova;
	struct iova free; /* as addresses of the device */
	struct arena *next;
};

void arenas_init(struct arenas *as, const struct arena_ops *ops, void *ctx)
{
	*as = (struct arenas){ .ops = ops, .ctx = ctx };
}

static void arena_drop(struct arena *a, bool mapped)
{
	if (a->va && mapped)
		munmap(a->va, a->size);
	fd_closep(&a->fd);
	iova_deinit(&a->free);
	free(a);
}

static int make_memory(struct arena *a)
{
	void *p;
	int r;

	a->fd = fd_memfd("vfio-arena", a->size);
	if (a->fd < 0)
		return a->fd;
	r = fd_map_aligned(a->fd, a->size, &p);
	if (r < 0)
		return r;
	a->va = p;
	/* A child must not have it: it would be a second user of what the device writes. */
	if (madvise(p, a->size, MADV_DONTFORK) < 0)
		return -errno;
	memset(p, 0, a->size); /* present and dirty before the device sees it */
	return 0;
}

static int arena_new(struct arenas *as, size_t size, struct arena **ret)
{
	struct arena *a;
	int r;

	if (size > ARENAS_MAX - as->size) {
		log_err("vfio: %llu KiB of memory are shared with the function, which is the limit; "
			"have fewer peers", (unsigned long long)as->size / 1024);
		return -ENOMEM;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->size = size;
	r = make_memory(a);
	if (r == 0)
		r = as->ops->map(as->ctx, a->va, size, a->fd, &a->iova);
	if (r < 0) {
		arena_drop(a, true);
		return r;
	}
	r = iova_add_whole(&a->free, a->iova, a->iova + size - 1);
	if (r < 0) {
		/* Where even that fails it goes with the door, and is good for nothing until then. */
		if (as->ops->unmap(as->ctx, a->iova, size) == 0) {
			arena_drop(a, true);
			return r;
		}
	}
	as->size += size;
	LL_APPEND(as->list, a);
	*ret = a;
	return r;
}

static int cut(struct arena *a, size_t size, struct arena_block *ret)
{
	uint64_t iova;
	int r = iova_alloc(&a->free, size, &iova);

	if (r < 0)
		return r;
	*ret = (struct arena_block){ .va = a->va + (iova - a->iova), .size = size, .iova = iova };
	memset(ret->va, 0, size);
	return 0;
}

static size_t arena_size(size_t block)
{
	size_t size = ARENA_SIZE;

	while (size < block)
		size <<= 1;
	return size;
}

int arena_get(struct arenas *as, size_t size, struct arena_block *ret)
{
	struct arena *a;
	int r;

	if (!size || size > ARENAS_MAX)
		return -EINVAL;
	size = (size + PAGE - 1) / PAGE * PAGE;
	LL_FOREACH (as->list, a) {
		r = cut(a, size, ret);
		if (r != -ENOSPC)
			return r;
	}
	r = arena_new(as, arena_size(size), &a);
	return r < 0 ? r : cut(a, size, ret);
}

static struct arena *arena_of(struct arenas *as, const struct arena_block *b)
{
	struct arena *a;

	LL_FOREACH (as->list, a) {
		if (b->iova >= a->iova && b->iova - a->iova < a->size)
			return a;
	}
	return NULL;
}

int arena_put(struct arenas *as, struct arena_block *b)
{
	struct arena *a = b->va ? arena_of(as, b) : NULL;
	int r;

	if (!a)
		return b->va ? -EINVAL : 0;
	r = iova_free(&a->free, b->iova, b->size);
	if (r < 0)
		return r;
	*b = (struct arena_block){ 0 };
	if (a->free.outstanding || a == as->list)
		return 0;
	r = as->ops->unmap(as->ctx, a->iova, a->size);
	if (r < 0)
		return r;
	as->size -= a->size;
	LL_DELETE(as->list, a);
	arena_drop(a, true);
	return 0;
}

void arenas_fini(struct arenas *as, bool mapped)
{
	while (as->list) {
		struct arena *a = as->list;

		LL_DELETE(as->list, a);
		arena_drop(a, mapped);
	}
	as->size = 0;
}
