/* SPDX-License-Identifier: MIT */
#include "vfio/source_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 128u

/* Index of the first range that starts after @addr. */
static size_t range_after(const struct source_map *m, uintptr_t addr)
{
	size_t lo = 0, hi = m->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (m->v[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool covers(const struct source_range *r, uintptr_t addr, size_t len)
{
	return addr >= r->start && len <= r->len && addr - r->start <= r->len - len;
}

int source_map_reserve(struct source_map *m, size_t n)
{
	size_t cap = m->cap ? m->cap : CAP_MIN;
	struct source_range *v;

	if (n <= m->cap - m->n)
		return 0;
	while (cap - m->n < n)
		cap *= 2;
	v = realloc(m->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	m->v = v;
	m->cap = cap;
	return 0;
}

bool source_map_overlaps(const struct source_map *m, uintptr_t start, size_t len)
{
	size_t i = range_after(m, start);

	return (i > 0 && m->v[i - 1].len > start - m->v[i - 1].start) ||
	       (i < m->n && m->v[i].start - start < len);
}

void source_map_add(struct source_map *m, uintptr_t start, size_t len)
{
	size_t i = range_after(m, start);

	memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof(*m->v));
	m->v[i] = (struct source_range){ start, len };
	m->n++;
}

/* Gives back what a crowd needed. */
static void shrink(struct source_map *m)
{
	struct source_range *v;

	if (m->cap <= CAP_MIN || m->n > m->cap / 4)
		return;
	/* Somewhere else: what is cut off in place stays among what the crowd had. */
	v = malloc(m->cap / 2 * sizeof(*v));
	if (!v)
		return;
	memcpy(v, m->v, m->n * sizeof(*v));
	free(m->v);
	m->v = v;
	m->cap /= 2;
}

int source_map_del(struct source_map *m, uintptr_t start, size_t len)
{
	size_t i = range_after(m, start);

	if (i == 0 || m->v[i - 1].start != start || m->v[i - 1].len != len)
		return -EINVAL;
	m->n--;
	memmove(&m->v[i - 1], &m->v[i], (m->n - (i - 1)) * sizeof(*m->v));
	shrink(m);
	return 0;
}

bool source_map_has(struct source_map *m, uintptr_t addr, size_t len)
{
	size_t i;

	if (m->last < m->n && covers(&m->v[m->last], addr, len))
		return true;
	i = range_after(m, addr);
	if (i == 0 || !covers(&m->v[i - 1], addr, len))
		return false;
	m->last = i - 1;
	return true;
}

void source_map_fini(struct source_map *m)
{
	free(m->v);
	*m = (struct source_map){ 0 };
}
