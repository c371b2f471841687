/* SPDX-License-Identifier: MIT */
#include "smcd/perf/stat.h"

#include <stdlib.h>

#define SAME 1.3 /* placements that differ by less are the same one */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct spread stat_spread(double *v, unsigned int n)
{
	if (!n)
		return (struct spread){ 0 };
	qsort(v, n, sizeof(*v), compare);
	return (struct spread){ .median = (v[(n - 1) / 2] + v[n / 2]) / 2,
		.quartile = v[(n - 1) / 4], .min = v[0], .max = v[n - 1] };
}

double stat_placement(const double *probe, unsigned int n)
{
	double min = 0, max = 0, sum = 0;
	unsigned int taken = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (probe[i] <= 0)
			continue;
		if (!taken || probe[i] < min)
			min = probe[i];
		if (probe[i] > max)
			max = probe[i];
		sum += probe[i];
		taken++;
	}
	if (!taken)
		return 0;
	return max > min * SAME ? -1 : sum / taken;
}

static bool same(double a, double b)
{
	return a >= 0 && b >= 0 && a <= b * SAME && b <= a * SAME;
}

static unsigned int sharing(const double *placement, unsigned int n, double reference)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < n; i++)
		sum += same(placement[i], reference);
	return sum;
}

unsigned int stat_choose(const double *placement, unsigned int n, double reference, bool *counts)
{
	unsigned int most = 0, now, sum = 0;
	double best = -1;

	for (unsigned int i = 0; i < n && reference <= 0; i++) {
		now = sharing(placement, n, placement[i]);
		if (now > most) {
			most = now;
			best = placement[i];
		}
	}
	if (reference > 0)
		best = reference;
	for (unsigned int i = 0; i < n; i++) {
		/* Without a placement, on one core, there is none to be in. */
		counts[i] = same(placement[i], best) || (placement[i] >= 0 && placement[i] <= 0);
		sum += counts[i];
	}
	return sum;
}

double stat_ratio(double ours, double theirs)
{
	return theirs > 0 ? ours / theirs : 0;
}
