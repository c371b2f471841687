/* SPDX-License-Identifier: MIT */
#include "vfio/iova.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IOVA_PAGE UINT64_C(4096)
#define IOVA_MAX  (UINT64_C(1) << 62)

/*
 * The list is longest when every allocation has a hole on its left, so with room for one range more
 * than that, a free always finds its place.
 */
static int reserve(struct iova *a)
{
	size_t need = a->ranges + a->outstanding + 2;
	struct iova_range *p;
	size_t cap;

	if (need <= a->cap)
		return 0;
	cap = need * 2;
	p = realloc(a->free, cap * sizeof(*p));
	if (!p)
		return -ENOMEM;
	a->free = p;
	a->cap = cap;
	return 0;
}

static void insert_at(struct iova *a, size_t i, uint64_t start, uint64_t end)
{
	memmove(&a->free[i + 1], &a->free[i], (a->nfree - i) * sizeof(*a->free));
	a->free[i] = (struct iova_range){ start, end };
	a->nfree++;
}

static void remove_at(struct iova *a, size_t i)
{
	a->nfree--;
	memmove(&a->free[i], &a->free[i + 1], (a->nfree - i) * sizeof(*a->free));
}

/* Puts [start, end] into the list and joins it with its neighbours. */
static int give(struct iova *a, uint64_t start, uint64_t end)
{
	size_t i = 0;

	while (i < a->nfree && a->free[i].end < start)
		i++;
	if (i < a->nfree && a->free[i].start <= end)
		return -EINVAL;
	insert_at(a, i, start, end);
	if (i + 1 < a->nfree && a->free[i + 1].start == end + 1) {
		a->free[i].end = a->free[i + 1].end;
		remove_at(a, i + 1);
	}
	if (i > 0 && a->free[i - 1].end + 1 == start) {
		a->free[i - 1].end = a->free[i].end;
		remove_at(a, i);
	}
	return 0;
}

int iova_add_whole(struct iova *a, uint64_t start, uint64_t end)
{
	int r;

	if (start % IOVA_PAGE || (end + 1) % IOVA_PAGE || end < start)
		return -EINVAL;
	a->ranges++;
	r = reserve(a);
	if (r == 0)
		r = give(a, start, end);
	if (r < 0)
		a->ranges--;
	return r;
}

int iova_add(struct iova *a, uint64_t start, uint64_t end)
{
	uint64_t last = (end + 1) / IOVA_PAGE * IOVA_PAGE; /* behind the last whole page */

	if (end == UINT64_MAX)
		last = UINT64_MAX / IOVA_PAGE * IOVA_PAGE;
	if (start < IOVA_PAGE)
		start = IOVA_PAGE;
	if (start > UINT64_MAX - IOVA_PAGE)
		return 0;
	start = (start + IOVA_PAGE - 1) / IOVA_PAGE * IOVA_PAGE;
	if (last < IOVA_PAGE || last - IOVA_PAGE <= start)
		return 0;
	return iova_add_whole(a, start, last - IOVA_PAGE - 1);
}

static uint64_t pow2_ceil(uint64_t len)
{
	uint64_t p = IOVA_PAGE;

	while (p < len)
		p <<= 1;
	return p;
}

/* Cuts [start, end] out of free range @i. */
static void take(struct iova *a, size_t i, uint64_t start, uint64_t end)
{
	struct iova_range f = a->free[i];

	if (f.start < start && f.end > end) {
		a->free[i].end = start - 1;
		insert_at(a, i + 1, end + 1, f.end);
	} else if (f.start < start) {
		a->free[i].end = start - 1;
	} else if (f.end > end) {
		a->free[i].start = end + 1;
	} else {
		remove_at(a, i);
	}
}

int iova_alloc(struct iova *a, uint64_t len, uint64_t *addr)
{
	uint64_t align;
	int r;

	if (!len || len > IOVA_MAX)
		return -EINVAL;
	r = reserve(a);
	if (r < 0)
		return r;
	align = pow2_ceil(len);
	len = (len + IOVA_PAGE - 1) / IOVA_PAGE * IOVA_PAGE;
	for (size_t i = 0; i < a->nfree; i++) {
		uint64_t start = (a->free[i].start + align - 1) & ~(align - 1);

		if (start < a->free[i].start || start > a->free[i].end ||
			len - 1 > a->free[i].end - start)
			continue;
		take(a, i, start, start + len - 1);
		a->outstanding++;
		*addr = start;
		return 0;
	}
	return -ENOSPC;
}

int iova_free(struct iova *a, uint64_t addr, uint64_t len)
{
	int r;

	len = (len + IOVA_PAGE - 1) / IOVA_PAGE * IOVA_PAGE;
	if (!len || !a->outstanding || addr % IOVA_PAGE || len - 1 > UINT64_MAX - addr)
		return -EINVAL;
	r = give(a, addr, addr + len - 1);
	if (r == 0)
		a->outstanding--;
	return r;
}

void iova_deinit(struct iova *a)
{
	free(a->free);
	memset(a, 0, sizeof(*a));
}
