/* SPDX-License-Identifier: MIT */
/*
 * perf.h - the words that all parts of the benchmark share
 *
 * From the bottom: data.h (bytes that are written and read), link.h (what carries them), the links
 * (link_smcd.c is ours, base_*.c are those of others), dialogue.h (one test on one link, both
 * sides), probe.h and stat.h (whether a run counts, and what the runs say together), series.h
 * (interleaving), report.h (rows).
 */
#ifndef SMCDU_PERF_PERF_H
#define SMCDU_PERF_PERF_H

#include <stdint.h>

#define PERF_SIZE_MAX	  (16u << 20)
#define PERF_MAX_SIZES	  16
#define PERF_MAX_RUNS	  99
#define PERF_MAX_PIDS	  8
#define PERF_MAX_PEERS	  8
#define PERF_MAX_CHANNELS 4096

enum perf_test {
	PERF_RTT = 1,	 /* a message there and one back, timed one by one */
	PERF_STREAM = 2, /* messages one way */
	PERF_BIDI = 4,	 /* messages both ways at once */
	PERF_CONNECT = 8,
	PERF_IDLE = 16,
	PERF_PROBE = 32,
};

enum perf_wait {
	PERF_BLOCK, /* blocking calls, looking as long as the library finds good */
	PERF_SPIN,  /* looks until it is there */
	PERF_SLEEP, /* never looks, always sleeps */
};

enum perf_copy {
	PERF_COPY, /* from a buffer and into a buffer */
	PERF_ZERO, /* written and read where it lies */
};

#endif
