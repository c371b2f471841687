/* SPDX-License-Identifier: MIT */
/* loop_priv.h - what the event loop's two backends share with loop.c */
#ifndef SMCDU_DAEMON_LOOP_PRIV_H
#define SMCDU_DAEMON_LOOP_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smcd/daemon/loop.h"

#define LOOP_BATCH 64u

struct loop_slot {
	struct loop_source *src; /* NULL: free */
	uint32_t gen;		 /* of this or the next user; never 0 */
	uint32_t next_free;	 /* the list's next, plus 1; 0: none */
	uint32_t next_queued;	 /* likewise */
	bool armed;		 /* io_uring: a POLL_ADD is in flight */
	bool queued;		 /* io_uring: waits to be armed */
};

struct loop_ready {
	uint64_t cookie;
	short revents;
};

struct loop_backend {
	const char *name;
	int (*open)(struct loop *l);
	void (*close)(struct loop *l);
	int (*add)(struct loop *l, uint32_t idx);
	void (*del)(struct loop *l, uint32_t idx);
	/* The callback of a slot that is still in use has run: watch it again. */
	void (*rearm)(struct loop *l, uint32_t idx);
	/* The source of slot @from is now that of slot @to, a free one, too. */
	void (*move)(struct loop *l, uint32_t from, uint32_t to);
	/* Slots from @n on, without sources, are going to be no more. */
	void (*cut)(struct loop *l, uint32_t n);
	/* Fills @ready (LOOP_BATCH entries). Number of entries or -errno; a signal is 0 entries. */
	int (*wait)(struct loop *l, uint64_t timeout_ns, struct loop_ready *ready);
};

struct loop {
	const struct loop_backend *be;
	void *priv; /* the backend's */
	struct loop_slot *slots;
	uint32_t nr_slots;
	uint32_t first_free; /* plus 1; 0: none */
	uint32_t nr_free;
	uint32_t first_gen; /* of slots that are made: more than any of that index had */
	struct loop_timer **heap; /* heap[1..nr_timers], earliest at 1 */
	uint32_t nr_timers;
	uint32_t cap_timers;
};

extern const struct loop_backend loop_epoll;
#if defined(HAVE_URING)
extern const struct loop_backend loop_uring;
#endif

static inline uint64_t loop_cookie(const struct loop *l, uint32_t idx)
{
	return (uint64_t)l->slots[idx].gen << 32 | idx;
}

#endif
