/* SPDX-License-Identifier: MIT */
/*
 * report.h - rows: a case, a metric, ours, and perhaps another's
 */
#ifndef SMCDU_PERF_REPORT_H
#define SMCDU_PERF_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/perf/perf.h"
#include "smcd/perf/stat.h"

struct report {
	bool json;
	bool begun;
};

/* What was measured how. */
struct report_case {
	const char *name;
	const char *path; /* NULL: no channel */
	enum perf_wait wait;
	enum perf_copy copy;
	unsigned int cores;
	unsigned int channels;
	uint32_t size;
	unsigned int runs;	/* that count */
	unsigned int discarded;
	double probe_ns;	/* the cores' placement during these runs; 0: one core */
};

void report_begin(struct report *r, bool json);
/* @peer: whose @theirs is; NULL: nobody's. */
void report_row(struct report *r, const struct report_case *c, const char *metric,
	const struct spread *ours, const char *peer, const struct spread *theirs);
/* A line for people. */
void report_note(const struct report *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* 0 or negative errno: whether all of it was written. */
int report_end(struct report *r);

#endif
