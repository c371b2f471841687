/* SPDX-License-Identifier: MIT */
/*
 * series.h - cases, run in rounds
 *
 * A round is one run of ours and one of each baseline, in turn, with a probe of the cores before,
 * between and after. A round whose probes disagree is run again and counted as discarded; so what
 * is compared is always of the same moment and the same placement.
 */
#ifndef SMCDU_PERF_SERIES_H
#define SMCDU_PERF_SERIES_H

#include "smcd/perf/options.h"
#include "smcd/perf/report.h"

/* All cases of rtt, stream and bidi, and the empty system call beside them. 0 or negative errno,
 * after a message. */
int series_run(const struct options *o, struct smcdu_ctx *ctx, struct report *r);

/* Prints the cores' probe and the empty system call. */
int series_probe(const struct options *o, struct report *r);

#endif
