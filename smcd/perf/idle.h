/* SPDX-License-Identifier: MIT */
/*
 * idle.h - what many channels cost when nothing happens: CPU time, and memory of the processes named
 */
#ifndef SMCDU_PERF_IDLE_H
#define SMCDU_PERF_IDLE_H

#include "smcd/perf/options.h"
#include "smcd/perf/report.h"

/* 0 or negative errno, after a message. */
int idle_run(const struct options *o, struct smcdu_ctx *ctx, struct report *r);

#endif
