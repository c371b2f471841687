/* SPDX-License-Identifier: MIT */
/*
 * dialogue.h - one test on one link: request, messages, report
 *
 * Each message has the size of the request; its first byte tells whether it is the last, so that a
 * test may end by time. The client decides how both sides wait, copy, and where they run.
 */
#ifndef SMCDU_PERF_DIALOGUE_H
#define SMCDU_PERF_DIALOGUE_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/perf/hist.h"
#include "smcd/perf/link.h"
#include "smcd/perf/perf.h"

struct perf_params {
	enum perf_test test;
	enum perf_copy copy;
	uint32_t size;
	uint32_t spin_us;    /* of both sides' waits, where the link has such */
	uint32_t server_cpu; /* CPU_ANY */
	bool verify;	     /* both sides hash every byte they send and receive, and compare */
	uint64_t count;	     /* messages; 0: by time */
	uint64_t ns;
};

/* What one link's test came to. */
struct perf_result {
	struct hist rtt;
	uint64_t bytes;	   /* payload, both ways */
	uint64_t messages; /* sent; rtt: round trips */
	uint64_t ns;
	uint64_t server_cpu_ns;
	uint64_t stores; /* PCISTBs of the client's end */
};

/* Serves tests until the other side ends. 0 or negative errno. */
int perf_serve(struct link *l);

/*
 * Tells the link how to wait, and runs a short test that is not counted: memory is touched, learners
 * have learned. As perf_run().
 */
int perf_warm(struct link *l, const struct perf_params *p);

/*
 * One test. 0, negative errno, -EBADMSG when what came is not what was sent, -EOPNOTSUPP when the
 * link has no zero copy. *res is added to.
 */
int perf_run(struct link *l, const struct perf_params *p, struct perf_result *res);

#endif
