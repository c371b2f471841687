/* SPDX-License-Identifier: MIT */
#ifndef SMCDU_PERF_SERVER_H
#define SMCDU_PERF_SERVER_H

#include "smcd/perf/options.h"

/* smcd-user-perf -l: the exit status, after a message if it is not 0. */
int server_run(const struct options *o);

#endif
