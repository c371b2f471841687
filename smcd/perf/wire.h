/* SPDX-License-Identifier: MIT */
/*
 * wire.h - what client and server say to each other around the messages
 *
 * Both structures fill a cache line, so that messages of whole lines begin at a line's start on
 * links that are byte streams.
 */
#ifndef SMCDU_PERF_WIRE_H
#define SMCDU_PERF_WIRE_H

#include "vfio/base/endian.h"

#define WIRE_MAGIC 0x70657232u /* "per2" */

#define WIRE_VERIFY 1u
#define WIRE_ZERO   2u /* zero copy */

#define WIRE_MORE 1 /* first byte of a message */
#define WIRE_LAST 2

#define WIRE_ECHO 'e' /* instead of a request: one byte, to be sent back (connect) */

struct wire_req {
	be32_t magic;
	be32_t test;
	be32_t size;
	be32_t flags;
	be32_t spin_us;
	be32_t cpu;
	uint8_t reserved[40];
};

struct wire_report {
	be32_t magic;
	be32_t reserved;
	be64_t rx_bytes;
	be64_t rx_hash;
	be64_t tx_bytes;
	be64_t tx_hash;
	be64_t cpu_ns; /* of the server, during the test */
	uint8_t reserved2[16];
};

_Static_assert(sizeof(struct wire_req) == 64, "a cache line");
_Static_assert(sizeof(struct wire_report) == 64, "a cache line");

#endif
