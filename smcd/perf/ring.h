/* SPDX-License-Identifier: MIT */
/*
 * ring.h - bytes in one direction through shared memory, for baselines
 *
 * One writer, one reader, two counters, each on a cache line of its own and each read by the other
 * side only when what it knows does not suffice. Nothing here waits.
 */
#ifndef SMCDU_PERF_RING_H
#define SMCDU_PERF_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_LINE 128 /* two lines: processors fetch them in pairs */

struct ring_shared {
	_Alignas(RING_LINE) _Atomic uint64_t head; /* bytes written */
	_Alignas(RING_LINE) _Atomic uint64_t tail; /* bytes read */
};

/* One side's view. */
struct ring {
	struct ring_shared *shared;
	uint8_t *data;
	size_t size;   /* in use, a power of two */
	uint64_t pos;  /* of this side */
	uint64_t peer; /* the other side's, as last seen */
	void (*copy)(void *dst, const void *src, size_t len);
	bool room;     /* the reader makes room behind itself (vfio/base/far.h) */
	size_t turn;
};

/*
 * The C library's, the processor's own string move where it has one, past the caches (vfio/base/far.h), through them
 * by whole lines, and past them for the first half.
 */
void ring_copy_libc(void *dst, const void *src, size_t len);
void ring_copy_string(void *dst, const void *src, size_t len);
void ring_copy_far(void *dst, const void *src, size_t len);
void ring_copy_lines(void *dst, const void *src, size_t len);
void ring_copy_half(void *dst, const void *src, size_t len);

/* Contiguous space, or contiguous bytes; 0 when there is none. */
size_t ring_space(struct ring *r, void **p);
size_t ring_bytes(struct ring *r, const void **p);

/* The first @len of these are written, or read. */
void ring_wrote(struct ring *r, size_t len);
void ring_read(struct ring *r, size_t len);

#endif
