/* SPDX-License-Identifier: MIT */
/*
 * options.h - the command line
 */
#ifndef SMCDU_PERF_OPTIONS_H
#define SMCDU_PERF_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd-user.h"
#include "smcd/perf/baseline.h"
#include "smcd/perf/perf.h"

struct options {
	const char *target; /* service@peer, or the service to listen on */
	struct smcdu_settings settings;
	bool listen;
	bool once;
	bool json;
	bool verify;
	unsigned int tests; /* enum perf_test bits */
	enum perf_wait wait;
	enum perf_copy copy;
	unsigned int runs;
	unsigned int channels;
	unsigned int nr_sizes;
	uint32_t sizes[PERF_MAX_SIZES];
	uint64_t count;
	double seconds;
	uint32_t cpu[2]; /* client's and server's; CPU_ANY: not pinned */
	double probe_ref; /* ns; 0: the most frequent one */
	uint32_t sockbuf;
	unsigned int nr_peers;
	const struct baseline *peers[PERF_MAX_PEERS];
	unsigned int nr_pids;
	int pids[PERF_MAX_PIDS];
	uint32_t variant; /* of a baseline that has several, from 1; 0: the fastest */
	int sender; /* executes the client's PCISTBs; 0: not named */
	bool alone; /* it has a processor to itself */
};

enum options_do { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

/* OPTIONS_WRONG after a message on standard error. */
enum options_do options_parse(struct options *o, int argc, char **argv);
void options_usage(void);

/* Processors that the measured ends run on. */
unsigned int options_cores(const struct options *o);

#endif
