/* SPDX-License-Identifier: MIT */
#include "smcd/perf/hist.h"

/* Values below HIST_SUB have a bucket each; above, the leading HIST_SUB_BITS + 1 bits choose. */
static unsigned int index_of(uint64_t v)
{
	unsigned int shift;

	if (v < HIST_SUB)
		return (unsigned int)v;
	if (v >> HIST_MAX_BITS)
		return HIST_BUCKETS - 1;
	shift = 63u - (unsigned int)__builtin_clzll(v) - HIST_SUB_BITS;
	return (shift + 1) * HIST_SUB + (unsigned int)((v >> shift) & (HIST_SUB - 1));
}

/* The middle of a bucket. */
static double value_of(unsigned int i)
{
	unsigned int shift = i / HIST_SUB ? i / HIST_SUB - 1 : 0;
	uint64_t low = i < HIST_SUB ? i : ((uint64_t)HIST_SUB + i % HIST_SUB) << shift;

	return (double)low + (double)((UINT64_C(1) << shift) - 1) / 2;
}

void hist_add(struct hist *h, uint64_t ns)
{
	h->count++;
	h->bucket[index_of(ns)]++;
	if (ns > h->max)
		h->max = ns;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	into->count += from->count;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
	if (from->max > into->max)
		into->max = from->max;
}

double hist_quantile(const struct hist *h, double share)
{
	uint64_t rank = (uint64_t)(share * (double)h->count);
	uint64_t seen = 0;
	double v = 0;

	if (!h->count)
		return 0;
	if (rank >= h->count)
		rank = h->count - 1;
	for (unsigned int i = 0; i < HIST_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen > rank) {
			v = value_of(i);
			break;
		}
	}
	return v < (double)h->max ? v : (double)h->max;
}
