/* SPDX-License-Identifier: MIT */
#include "smcd/perf/ring.h"

#include <string.h>

#include "vfio/base/far.h"

void ring_copy_libc(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

void ring_copy_string(void *dst, const void *src, size_t len)
{
#ifdef __x86_64__
	__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(len) : : "memory");
#else
	memcpy(dst, src, len);
#endif
}

void ring_copy_far(void *dst, const void *src, size_t len)
{
	far_copy(dst, src, len, 0);
}

void ring_copy_lines(void *dst, const void *src, size_t len)
{
	far_copy(dst, src, len, len);
}

void ring_copy_half(void *dst, const void *src, size_t len)
{
	far_copy(dst, src, len, len / 2);
}

static size_t contiguous(const struct ring *r, uint64_t available)
{
	size_t to_end = r->size - (r->pos & (r->size - 1));

	return available < to_end ? available : to_end;
}

size_t ring_space(struct ring *r, void **p)
{
	uint64_t space = r->size - (r->pos - r->peer);

	if (!space) {
		/* Acquire: the reader has finished with the bytes that are overwritten next. */
		r->peer = atomic_load_explicit(&r->shared->tail, memory_order_acquire);
		space = r->size - (r->pos - r->peer);
	}
	*p = r->data + (r->pos & (r->size - 1));
	return contiguous(r, space);
}

size_t ring_bytes(struct ring *r, const void **p)
{
	uint64_t bytes = r->peer - r->pos;

	if (!bytes) {
		/* Acquire: the bytes below the counter are there. */
		r->peer = atomic_load_explicit(&r->shared->head, memory_order_acquire);
		bytes = r->peer - r->pos;
	}
	*p = r->data + (r->pos & (r->size - 1));
	return contiguous(r, bytes);
}

void ring_wrote(struct ring *r, size_t len)
{
	r->pos += len;
	atomic_store_explicit(&r->shared->head, r->pos, memory_order_release);
}

void ring_read(struct ring *r, size_t len)
{
	r->pos += len;
	atomic_store_explicit(&r->shared->tail, r->pos, memory_order_release);
	if (r->room)
		far_make_room(len, &r->turn);
}
