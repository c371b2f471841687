/* SPDX-License-Identifier: MIT */
/*
 * far.h - memory that two processors take turns with
 *
 * One processor fills it, another reads it, the first fills it again. Each line then lies in the caches
 * of whoever had it last, and fetching it from there is the dearest thing that memory knows: on the
 * machine of docs/performance.md some 50 ns a line, one after the other, where 9 lines come from memory
 * in that time. So large pieces are stored past the caches, and a reader gives up what it has read. All
 * of it is advice to the processor: what memory holds, and what is ordered before what, stays as it is
 * without. Where a processor has no such instructions, the copies are memcpy() and the others nothing.
 * And where it can, large copies load and store whole lines, each once, however the two lie in theirs.
 */
#ifndef SMCDU_BASE_FAR_H
#define SMCDU_BASE_FAR_H

#include <stddef.h>
#include <stdint.h>

#define FAR_LINE 64u
/* From here on stores go past the caches: below, waiting for them costs more than they save. */
#define FAR_COPY_MIN 1024u
#define FAR_ROOM_MAX ((size_t)4 << 20)

/*
 * memcpy() into memory that another processor reads next. A later store with release order is seen after
 * all of it, as after a memcpy(). The last @cached bytes, at most @n, go through the caches all the same:
 * the two ways do not wait for each other, so where the processors are near each other a mixture is
 * faster than either.
 */
void far_copy(void *dst, const void *src, size_t n, size_t cached);

/*
 * memcpy() from memory that another processor, a near one, wrote through its caches: fetches what comes next
 * while it copies, across the ends of pages, where processors that fetch ahead by themselves stop.
 */
void far_fetch(void *dst, const void *src, size_t n);

/*
 * @n bytes that were read are for their writer to fill again: reads as many of memory that nobody uses, so that
 * those leave this processor's own cache. A near writer that finds them there has to wait until they are given
 * up, line by line; once they are in the cache that both share it is two to three times as fast. Of that memory
 * a process has one piece as large as its processors' own caches, at most FAR_ROOM_MAX, made at the first call and
 * for good. @turn is the caller's place in it, at first 0.
 */
void far_make_room(size_t n, size_t *turn);

/*
 * Whole lines of @n bytes at @p have been read and are for their writer to fill again. The line that @p
 * points into is one of them, that of @p + @n is not. Another processor may be writing them already.
 */
void far_forget(const void *p, size_t n);

#endif
