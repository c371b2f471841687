/* SPDX-License-Identifier: MIT */
/*
 * flow.h - messages in one direction of a link, written or read, hashed or not
 *
 * A message is sent in two steps so that a round trip can be timed without the writing of its bytes:
 * prepare (copying: the bytes are written into a buffer) and put. Likewise received: get and finish
 * (copying: the bytes are read). With zero copy all of it happens in put and get, where the bytes
 * lie.
 */
#ifndef SMCDU_PERF_FLOW_H
#define SMCDU_PERF_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "smcd/perf/link.h"
#include "smcd/perf/perf.h"

/* Handed on at once without copying; the second, so that the other side begins early, if somebody waits for it. */
#define FLOW_PIECE	 65536u
#define FLOW_PIECE_EARLY 16384u

struct flow {
	struct link *link;
	enum perf_copy copy;
	size_t size;
	size_t piece;	     /* one of the above */
	uint8_t *buf;	     /* copying */
	XXH3_state_t *hash;  /* NULL: none */
	uint64_t next;	     /* data_fill() */
	uint64_t bytes;
};

/* 0, -ENOMEM, -EOPNOTSUPP (the link has no zero copy). */
int flow_init(struct flow *f, struct link *l, enum perf_copy copy, size_t size, bool verify);
void flow_fini(struct flow *f);

/* @mark is the message's first byte. */
void flow_prepare(struct flow *f, uint8_t mark);
int flow_put(struct flow *f, uint8_t mark);
int flow_get(struct flow *f, uint8_t *mark);
void flow_finish(struct flow *f);

/* Sends back what was just received: copying, the same bytes; else new ones, written in place. */
int flow_return(struct flow *tx, const struct flow *rx, uint8_t mark);

/* Of all bytes so far; 0 without hash. */
uint64_t flow_hash(const struct flow *f);

#endif
