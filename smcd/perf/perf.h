/* SPDX-License-Identifier: MIT */
/*
 * perf.h - what client, server and baseline share
 *
 * A test is one dialogue on one connection: request, messages, report. Each message has the size of
 * the request; its first byte tells whether it is the last, so a test may end by time. The sender
 * writes every byte of every message and the receiver reads every byte, on every transport.
 */
#ifndef SMCDU_PERF_PERF_H
#define SMCDU_PERF_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smcd-user.h"
#include "vfio/base/endian.h"

#define PERF_MAGIC	0x70657266u /* "perf" */
#define PERF_SIZE_MAX	(16u << 20)
#define PERF_MAX_SIZES	16
#define PERF_MAX_RUNS	99
#define PERF_MAX_PIDS	8

enum perf_test {
	PERF_RTT = 1,
	PERF_STREAM = 2,
};

#define PERF_VERIFY 1u /* both sides hash every byte; the report carries the receiver's hash */

#define PERF_MORE 1 /* first byte of a message */
#define PERF_LAST 2

struct perf_req {
	be32_t magic;
	be32_t test;
	be32_t size;
	be32_t flags;
};

struct perf_report {
	be32_t magic;
	be32_t reserved;
	be64_t bytes;
	be64_t hash;
	be64_t cpu_ns; /* of the thread that served the test, during the test */
};

/* A byte stream: a channel, or a socket for comparison. */
struct conn {
	struct smcdu_channel *ch; /* NULL: fd */
	int fd;
};

/* Whole buffers. 0, negative errno; -ENODATA for the end. */
int conn_send(const struct conn *c, const void *buf, size_t len);
int conn_recv(const struct conn *c, void *buf, size_t len);

/* Serves tests until the other side ends. 0 or negative errno. */
int perf_serve(const struct conn *c);

struct perf_params {
	enum perf_test test;
	uint32_t size;
	bool verify;
	uint64_t count; /* messages; 0: by time */
	uint64_t ns;
};

struct perf_result {
	double p50, p99, p999, max; /* us; rtt */
	double mb_s;		    /* 10^6 bytes per second; stream */
	double client_s, server_s;  /* CPU seconds */
	uint64_t messages;
};

/* One run. 0, negative errno, -EBADMSG when the hashes differ. */
int perf_run(const struct conn *c, const struct perf_params *p, struct perf_result *res);

/* CPU time in ns: the calling thread's, and another process's (0 when it is gone). */
uint64_t cpu_self_ns(void);
uint64_t cpu_pid_ns(int pid);

#endif
