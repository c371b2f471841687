/* SPDX-License-Identifier: MIT */
/*
 * stat.h - what several runs say together, and which of them count
 *
 * The hypervisor moves the cores of a virtual machine: for seconds at a time everything that
 * crosses cores is several times faster, or slower. A cache line's round trip, measured before and
 * after each run, tells. A run during which it changed says nothing about the transport, and runs in
 * different placements do not belong into one median.
 */
#ifndef SMCDU_PERF_STAT_H
#define SMCDU_PERF_STAT_H

#include <stdbool.h>

struct spread {
	double median;
	double quartile; /* the lower one */
	double min;
	double max;
};

/* Sorts @v. All 0 for no values. */
struct spread stat_spread(double *v, unsigned int n);

/*
 * The placement during a run that was bracketed by these probes (ns): their mean. 0 when none was
 * taken (one core); negative when the cores were moved meanwhile: some differ by more than 30 %.
 */
double stat_placement(const double *probe, unsigned int n);

/*
 * Which of @n runs count, by their placements: those within 30 % of @reference, or, if that is 0, of
 * the placement that most of them share. Fills @counts, returns how many.
 */
unsigned int stat_choose(const double *placement, unsigned int n, double reference, bool *counts);

/* @ours / @theirs; 0 when there is nothing to divide by. */
double stat_ratio(double ours, double theirs);

#endif
