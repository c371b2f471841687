/* SPDX-License-Identifier: MIT */
/*
 * source_map.h - the memory that a device may read stores from, by address
 *
 * Where requests are resolved through the DMA table (IOVA = VA), a source has to lie in one map as a
 * whole. Maps are disjoint and kept sorted; stores come in runs from the same map, so the last one
 * found is tried first.
 */
#ifndef SMCDU_VFIO_SOURCE_MAP_H
#define SMCDU_VFIO_SOURCE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_range {
	uintptr_t start;
	size_t len;
};

struct source_map {
	struct source_range *v;
	size_t n;
	size_t cap;
	size_t last; /* where the last search ended */
};

/* Makes room for @n more. 0 or -ENOMEM. */
int source_map_reserve(struct source_map *m, size_t n);

/* [start, start+len) overlaps one that is there. */
bool source_map_overlaps(const struct source_map *m, uintptr_t start, size_t len);

/* Room was reserved, and it overlaps none. */
void source_map_add(struct source_map *m, uintptr_t start, size_t len);

/* Exactly that range. 0 or -EINVAL. */
int source_map_del(struct source_map *m, uintptr_t start, size_t len);

/* One map holds [addr, addr+len). */
bool source_map_has(struct source_map *m, uintptr_t addr, size_t len);

void source_map_fini(struct source_map *m);

#endif
