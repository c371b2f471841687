/* SPDX-License-Identifier: MIT */
/*
 * connect.h - connect, one byte each way, close: how often, and where the time goes
 */
#ifndef SMCDU_PERF_CONNECT_H
#define SMCDU_PERF_CONNECT_H

#include <stdint.h>

#include "smcd-user.h"
#include "smcd/perf/hist.h"

/* When it began, was connected, had the byte back, was closed. */
enum { CONNECT_BEGIN, CONNECT_DONE, CONNECT_ECHOED, CONNECT_CLOSED, CONNECT_STAMPS };

struct connect_ops {
	/* Once. 0 or negative errno; called by several threads at a time. */
	int (*once)(void *arg, uint64_t stamp[CONNECT_STAMPS]);
	void *arg;
};

struct connect_result {
	struct hist connect, echo, close;
	uint64_t connections;
	uint64_t ns;
};

/* Ours: @arg is one of these. */
struct connect_target {
	struct smcdu_ctx *ctx;
	const char *name;
};
int connect_smcd(void *arg, uint64_t stamp[CONNECT_STAMPS]);

/* By so many threads, for @ns or, if that is not 0, @count times each. 0 or negative errno. */
int connect_run(const struct connect_ops *ops, unsigned int threads, uint64_t count, uint64_t ns,
	struct connect_result *res);

#endif
