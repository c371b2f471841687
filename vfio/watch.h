/* SPDX-License-Identifier: MIT */
/*
 * watch.h - telling that a system call on a device does not come back
 *
 * While the hardware says "busy" the kernel repeats a store for ever: the call hangs, the thread in
 * it cannot be killed, and nothing in this process can change that. What can be done is to say so:
 * one helper thread for all devices of the process looks at them every few seconds, logs which
 * function hangs and since when, and tells a listener. A daemon whose only thread hangs stops
 * feeding systemd's watchdog by itself.
 *
 * Cost: one relaxed store when a call begins and one when it ends; no system call, no clock. The
 * thread exists only while something is watched.
 */
#ifndef SMCDU_VFIO_WATCH_H
#define SMCDU_VFIO_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_LIMIT_MS 5000u

struct watch {
	uint64_t calls; /* begun and ended; odd: one is under way. Only its own thread writes it */
	/* The helper's. */
	const char *name;
	unsigned int limit_ms;
	int owner; /* process; 0: not watched */
	uint64_t seen;
	uint64_t since_ns; /* when @seen was seen first */
	uint64_t told_ns;  /* how long it hung when that was said last; 0: it was not */
	struct watch *next;
};

/*
 * Starts to watch @w (zeroed by the caller). @name goes into messages and is not copied. A call
 * that hangs for @limit_ms is told at the latest after twice that, and again each time the hang has
 * doubled. 0 or -errno (no thread to be had); watch_end() is allowed either way.
 */
int watch_begin(struct watch *w, const char *name, unsigned int limit_ms);

/* Nobody looks at @w any more when this returns. */
void watch_end(struct watch *w);

/*
 * Who is told besides the log, from the helper thread: @seconds that the call has been hanging for
 * at least, or 0 when it came back after all. Set once, before anything is watched.
 */
void watch_listen(void (*fn)(const char *name, unsigned int seconds));

/* Around a call. Relaxed: nothing is published by it. */
static inline void watch_enter(struct watch *w)
{
	__atomic_store_n(&w->calls, w->calls + 1, __ATOMIC_RELAXED);
}

static inline void watch_leave(struct watch *w)
{
	__atomic_store_n(&w->calls, w->calls + 1, __ATOMIC_RELAXED);
}

#endif
