/* SPDX-License-Identifier: MIT */
/*
 * sample.h - one run of one case, by us or by a baseline, as figures
 */
#ifndef SMCDU_PERF_SAMPLE_H
#define SMCDU_PERF_SAMPLE_H

#include "smcd/perf/dialogue.h"
#include "smcd/perf/options.h"

enum metric_id {
	METRIC_P50, METRIC_P99, METRIC_P999, METRIC_MAX, /* us */
	METRIC_MSGS,	   /* per second */
	METRIC_GBS,	   /* 10^9 bytes per second */
	METRIC_CPU_CLIENT, /* seconds */
	METRIC_CPU_SERVER,
	METRIC_CPU_GB,	   /* seconds per 10^9 bytes, all processes */
	METRIC_NS_STORE,   /* per PCISTB; 0: there were none */
	METRIC_BYTES_STORE,
	METRIC_CPU_STORE,  /* ns of the sender's CPU time per PCISTB ... */
	METRIC_WAIT_STORE, /* ... and ns that it waited for a processor */
	METRIC_CONNS,	   /* per second */
	METRIC_CONNECT, METRIC_ECHO, METRIC_CLOSE, /* us, p50 */
	METRIC_CPU_CONN,   /* us per connection, all processes */
	METRIC_COUNT,
};

struct metric {
	const char *name;
	unsigned int tests; /* enum perf_test bits */
};

extern const struct metric metrics[METRIC_COUNT];

/* Behind the metrics the CPU seconds of the processes that were named. */
struct sample {
	double v[METRIC_COUNT + PERF_MAX_PIDS];
	bool disturbed; /* somebody else had the processor of a sender that runs alone */
};

const char *test_name(enum perf_test test);

/* Ours, on fresh channels; *path is the one they took. 0, or negative errno after a message. */
int sample_ours(const struct options *o, struct smcdu_ctx *ctx, const struct perf_params *p,
	struct sample *ret, uint32_t *path);

/* A baseline's, in fresh processes. *variant: UINT32_MAX until chosen. As above; -EOPNOTSUPP,
 * without a message, when it cannot do this. */
int sample_peer(const struct options *o, const struct baseline *b, const struct perf_params *p,
	struct sample *ret, uint32_t *variant);

#endif
