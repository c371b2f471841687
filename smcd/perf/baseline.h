/* SPDX-License-Identifier: MIT */
/*
 * baseline.h - what others offer between two processes of one machine
 *
 * A baseline makes pairs of links whose other ends are served in a process of their own, by the same
 * code that serves our channels.
 */
#ifndef SMCDU_PERF_BASELINE_H
#define SMCDU_PERF_BASELINE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "smcd/perf/connect.h"
#include "smcd/perf/link.h"
#include "smcd/perf/perf.h"

struct base_params {
	enum perf_test test;
	enum perf_copy copy;
	uint32_t size;
	uint32_t sockbuf; /* socket buffers in bytes; 0: the system's own choice */
	unsigned int cores;
};

struct baseline {
	const char *name;
	const char *what;
	bool own;	    /* our channels, copying: beside --copy zero */
	unsigned int tests; /* enum perf_test bits */
	unsigned int nr_variants;
	const char *(*variant)(unsigned int i);
	/* What both processes share, before they part. 0 or negative errno. */
	int (*open)(const struct base_params *p, void **shared);
	/* After they did: the link of @side (0: client, 1: server). Takes over @shared, also on failure. */
	int (*end)(void *shared, unsigned int side, struct link **ret);
	/* Instead, for connect: a listener before they part; then connect_ops.once() of the client, and
	 * in the server all that come, without an end. */
	int (*listen)(void **shared);
	int (*connect)(void *shared, uint64_t stamp[CONNECT_STAMPS]);
	void (*serve_connects)(void *shared);
	/* In the client, once the server is gone. */
	void (*close_listener)(void *shared);
};

extern const struct baseline base_ring, base_eventfd, base_unix, base_seqpacket, base_pipe, base_tcp,
	base_zmq, base_ucx;

/* NULL: no such baseline, or not in this build. */
const struct baseline *baseline_find(const char *name);
void baseline_list(FILE *f);

/* The links of one case, and the process behind them. */
struct peer;

/* 0, negative errno; -EOPNOTSUPP when the baseline cannot do this. */
int peer_start(const struct baseline *b, const struct base_params *p, unsigned int channels,
	struct peer **ret);
struct link *peer_link(const struct peer *peer, unsigned int i);
/* What the process has used so far, all its threads. */
uint64_t peer_cpu_ns(const struct peer *peer);
/* For connect: only the process. *shared is for connect(), and lives until this process ends. */
int peer_start_connects(const struct baseline *b, void **shared, struct peer **ret);
/* Ends the process. NULL is allowed. */
void peer_stop(struct peer *peer);

#endif
