/* SPDX-License-Identifier: MIT */
/*
 * fair.h - who has to wait for whom
 *
 * A channel that moves little is most likely one end of a dialogue: somebody waits for each of its
 * messages. One that moves much always has more behind it. So while one of the former is active, the
 * latter move less in a turn, and their applications are asked to give the processor away between
 * the pieces they write: on a machine with fewer processors than busy processes it is they whom the
 * dialogue waits for most. Without such a neighbour nobody is held back.
 *
 * Little is less than FAIR_LITTLE bytes in FAIR_WINDOW_NS, both ways together. Pure: bytes and time
 * in, a decision out.
 */
#ifndef SMCDU_DAEMON_FAIR_H
#define SMCDU_DAEMON_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#define FAIR_WINDOW_NS UINT64_C(1000000)
#define FAIR_LITTLE    UINT64_C(65536)

/* One channel. */
struct fair_flow {
	uint64_t since_ns; /* begin of the window */
	uint64_t bytes;	   /* in it */
	uint64_t before;   /* in the one before it */
};

/* Who moved little last, and when. The flow is compared, never looked into. */
struct fair {
	const struct fair_flow *last;
	uint64_t last_ns;
	uint64_t other_ns; /* somebody other than @last */
};

/* @flow moved @bytes (more than 0). */
void fair_moved(struct fair *f, struct fair_flow *flow, uint64_t bytes, uint64_t now_ns);

/* Whether @flow moves much, and another that moves little was active within a window. */
bool fair_crowded(const struct fair *f, const struct fair_flow *flow, uint64_t now_ns);

#endif
