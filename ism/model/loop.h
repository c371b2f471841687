/* SPDX-License-Identifier: MIT */
/*
 * loop.h - ism-fabricd's event loop: epoll, level-triggered, one thread
 *
 * A source belongs to its owner; the loop only refers to it while it is added. Sources may be
 * removed and freed at any time, also from a handler: events already fetched for them are dropped.
 */
#ifndef SMCDU_MODEL_LOOP_H
#define SMCDU_MODEL_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_BATCH 64

struct source {
	int fd;
	uint32_t events; /* what is waited for; 0: the source is not in the loop */
	void (*ready)(struct source *s, uint32_t events);
};

struct loop {
	int fd;
	struct epoll_event batch[LOOP_BATCH];
	int n; /* valid entries of batch while dispatching */
};

int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/*
 * Sets what @s waits for (EPOLLIN | EPOLLOUT); 0 removes it. Not even a hang-up is reported for a
 * source that waits for nothing. 0 or -errno.
 */
int loop_set(struct loop *l, struct source *s, uint32_t events);

/* Waits up to @timeout_ms (-1: for ever) and dispatches one batch. 0 or -errno. */
int loop_turn(struct loop *l, int timeout_ms);

#endif
