/* SPDX-License-Identifier: MIT */
/*
 * loop.h - readiness event loop
 *
 * Descriptors with callbacks, and timers, behind one interface with two implementations: io_uring
 * (a one-shot POLL_ADD per descriptor, re-armed and submitted together with the wait, so that a
 * turn is one system call) and epoll for kernels and sandboxes without io_uring. Both give level
 * semantics: a callback that leaves its descriptor ready is called again.
 *
 * Invariants
 * - A source or timer belongs to its creator, which embeds it. loop_del() and loop_timer_cancel()
 *   may be called at any time, also from any callback; afterwards the callback is not called again
 *   and the memory may be freed, whatever the kernel still has in flight: completions are matched
 *   by a cookie (slot and generation), never by address.
 * - loop_del() comes before close() of the descriptor.
 * - Timers fire in the order of their times; those of equal time in any order.
 *
 * One thread. Times are clock_ns().
 */
#ifndef SMCDU_DAEMON_LOOP_H
#define SMCDU_DAEMON_LOOP_H

#include <poll.h>
#include <stdint.h>

#define LOOP_FOREVER UINT64_MAX

enum loop_kind {
	LOOP_AUTO, /* io_uring, or epoll with a log line where the kernel forbids it */
	LOOP_URING,
	LOOP_EPOLL,
};

struct loop;

struct loop_source {
	int fd;
	short events; /* POLLIN and/or POLLOUT; POLLERR and POLLHUP are always reported */
	void (*fn)(struct loop_source *src, short revents);
	uint32_t slot; /* private: 0 while not added */
};

struct loop_timer {
	void (*fn)(struct loop_timer *timer);
	uint64_t when_ns; /* private */
	uint32_t pos;	  /* private: 0 while not set */
};

/* 0, -ENOSYS/-EPERM/... when the demanded kind is not to be had, -ENOMEM. */
int loop_new(enum loop_kind kind, struct loop **ret);
/* Sources and timers must be gone. NULL is allowed. Returns NULL. */
struct loop *loop_free(struct loop *l);
const char *loop_name(const struct loop *l); /* "io_uring" or "epoll" */

/* Watches src->fd for src->events. 0 or -ENOMEM, -EPERM (a file that cannot be polled), ... */
int loop_add(struct loop *l, struct loop_source *src);
/* Harmless on a source that was never added (slot 0). */
void loop_del(struct loop *l, struct loop_source *src);
/* Gives back what many sources needed. */
void loop_trim(struct loop *l);

/* Fires once at @when_ns (absolute); a timer that is already set is moved. 0 or -ENOMEM. */
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t when_ns);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

/*
 * Waits at most @timeout_ns (0: not at all, LOOP_FOREVER: no limit) for a descriptor or a timer and
 * runs what is due. Returns the number of callbacks run, or -errno when waiting itself failed.
 */
int loop_turn(struct loop *l, uint64_t timeout_ns);

#endif
