/* SPDX-License-Identifier: MIT */
/*
 * probe.h - what the machine itself does, beside which every figure must be read
 */
#ifndef SMCDU_PERF_PROBE_H
#define SMCDU_PERF_PROBE_H

#include <stdint.h>

#include "smcd/perf/hist.h"

/*
 * The round trip of one cache line between two processors, in ns: the lower quartile of short
 * batches, so that being interrupted does not show. 0 when there are no two different processors.
 */
double probe_cores(const uint32_t cpu[2]);

/* Times an empty system call many times. */
void probe_syscall(struct hist *h);

#endif
