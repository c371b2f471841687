/* SPDX-License-Identifier: MIT */
/*
 * hist.h - a log-linear histogram of nanoseconds
 *
 * Every power of two is divided into HIST_SUB equal buckets, so a value is known to within
 * 1/HIST_SUB of itself at any magnitude, in fixed memory and without allocation on the way.
 */
#ifndef SMCDU_PERF_HIST_H
#define SMCDU_PERF_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6u
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_MAX_BITS 40u /* values from 2^40 ns (18 minutes) on are counted in the last bucket */
#define HIST_BUCKETS  ((HIST_MAX_BITS - HIST_SUB_BITS + 1) * HIST_SUB)

struct hist {
	uint64_t count;
	uint64_t max;
	uint32_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *h, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
/* The value below or at which @share (0..1) of all values lie, in ns; 0 when empty. */
double hist_quantile(const struct hist *h, double share);

#endif
