/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/daemon/loop_priv.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define SLOTS_MIN 64u

/* ---- slots --------------------------------------------------------------------------------- */

static void next_gen(struct loop_slot *slot)
{
	if (++slot->gen == 0)
		slot->gen = 1;
}

static void push_free(struct loop *l, uint32_t idx)
{
	l->slots[idx].next_free = l->first_free;
	l->first_free = idx + 1;
	l->nr_free++;
}

static uint32_t pop_free(struct loop *l)
{
	uint32_t idx = l->first_free - 1;

	l->first_free = l->slots[idx].next_free;
	l->nr_free--;
	return idx;
}

static int grow_slots(struct loop *l)
{
	uint32_t n = l->nr_slots ? l->nr_slots * 2 : SLOTS_MIN, i;
	struct loop_slot *slots;

	slots = realloc(l->slots, n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	l->slots = slots;
	for (i = n; i-- > l->nr_slots;) {
		slots[i] = (struct loop_slot){ .gen = l->first_gen ? l->first_gen : 1 };
		push_free(l, i);
	}
	l->nr_slots = n;
	return 0;
}

/* What the kernel still tells of the old slot is of an older generation. */
static void move_source(struct loop *l, uint32_t from, uint32_t to)
{
	struct loop_slot *old = &l->slots[from];

	l->slots[to].src = old->src;
	old->src->slot = to + 1;
	l->be->move(l, from, to);
	old->src = NULL;
	next_gen(old);
}

/* All sources find room in the first @n, of which half are enough. */
static void shrink_slots(struct loop *l, uint32_t n)
{
	/* Somewhere else: what is cut off in place stays among what the crowd had. */
	struct loop_slot *slots = malloc(n * sizeof(*slots));
	uint32_t to = 0;

	if (!slots)
		return;
	for (uint32_t i = n; i < l->nr_slots; i++) {
		if (l->slots[i].src) {
			while (l->slots[to].src)
				to++;
			move_source(l, i, to);
		}
		if (l->slots[i].gen > l->first_gen)
			l->first_gen = l->slots[i].gen;
	}
	l->be->cut(l, n);
	memcpy(slots, l->slots, n * sizeof(*slots));
	free(l->slots);
	l->slots = slots;
	l->nr_slots = n;
	l->nr_free = l->first_free = 0;
	for (uint32_t i = n; i-- > 0;) {
		if (!slots[i].src)
			push_free(l, i);
	}
}

void loop_trim(struct loop *l)
{
	uint32_t used = l->nr_slots - l->nr_free, n = l->nr_slots;

	while (n > SLOTS_MIN && used <= n / 4)
		n /= 2;
	if (n < l->nr_slots)
		shrink_slots(l, n);
}

static void put_slot(struct loop *l, uint32_t idx)
{
	struct loop_slot *slot = &l->slots[idx];

	slot->src = NULL;
	slot->armed = false;
	next_gen(slot);
	push_free(l, idx);
}

int loop_add(struct loop *l, struct loop_source *src)
{
	uint32_t idx;
	int ret;

	if (l->nr_free == 0) {
		ret = grow_slots(l);
		if (ret < 0)
			return ret;
	}
	idx = pop_free(l);
	l->slots[idx].src = src;
	ret = l->be->add(l, idx);
	if (ret < 0) {
		put_slot(l, idx);
		return ret;
	}
	src->slot = idx + 1;
	return 0;
}

void loop_del(struct loop *l, struct loop_source *src)
{
	uint32_t idx = src->slot - 1;

	if (src->slot == 0)
		return;
	l->be->del(l, idx);
	put_slot(l, idx);
	src->slot = 0;
}

/* ---- timers: a binary heap ------------------------------------------------------------------ */

static void place(struct loop *l, uint32_t pos, struct loop_timer *t)
{
	l->heap[pos] = t;
	t->pos = pos;
}

static void sift_up(struct loop *l, uint32_t pos, struct loop_timer *t)
{
	while (pos > 1 && l->heap[pos / 2]->when_ns > t->when_ns) {
		place(l, pos, l->heap[pos / 2]);
		pos /= 2;
	}
	place(l, pos, t);
}

static void sift_down(struct loop *l, uint32_t pos, struct loop_timer *t)
{
	uint32_t kid;

	for (;; pos = kid) {
		kid = 2 * pos;
		if (kid > l->nr_timers)
			break;
		if (kid < l->nr_timers && l->heap[kid + 1]->when_ns < l->heap[kid]->when_ns)
			kid++;
		if (l->heap[kid]->when_ns >= t->when_ns)
			break;
		place(l, pos, l->heap[kid]);
	}
	place(l, pos, t);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last;
	uint32_t pos = t->pos;

	if (pos == 0)
		return;
	last = l->heap[l->nr_timers--];
	t->pos = 0;
	if (last == t)
		return;
	if (pos > 1 && l->heap[pos / 2]->when_ns > last->when_ns)
		sift_up(l, pos, last);
	else
		sift_down(l, pos, last);
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t when_ns)
{
	struct loop_timer **heap;
	uint32_t cap;

	if (l->nr_timers + 1 >= l->cap_timers && t->pos == 0) {
		cap = l->cap_timers ? l->cap_timers * 2 : 32;
		heap = realloc(l->heap, cap * sizeof(struct loop_timer *));
		if (!heap)
			return -ENOMEM;
		l->heap = heap;
		l->cap_timers = cap;
	}
	loop_timer_cancel(l, t);
	t->when_ns = when_ns;
	sift_up(l, ++l->nr_timers, t);
	return 0;
}

/*
 * Runs the timers that were due when this was called; those they set anew wait for the next turn.
 */
static int run_timers(struct loop *l)
{
	uint64_t now;
	uint32_t limit = l->nr_timers;
	int n = 0;

	if (l->nr_timers == 0)
		return 0;
	now = clock_ns();
	while (l->nr_timers > 0 && limit-- > 0 && l->heap[1]->when_ns <= now) {
		struct loop_timer *t = l->heap[1];

		loop_timer_cancel(l, t);
		t->fn(t);
		n++;
	}
	return n;
}

/* ---- turning -------------------------------------------------------------------------------- */

static uint64_t until_timer(const struct loop *l, uint64_t timeout_ns)
{
	uint64_t now, left;

	if (l->nr_timers == 0 || timeout_ns == 0)
		return timeout_ns;
	now = clock_ns();
	left = l->heap[1]->when_ns > now ? l->heap[1]->when_ns - now : 0;
	return left < timeout_ns ? left : timeout_ns;
}

static int dispatch(struct loop *l, const struct loop_ready *r)
{
	uint32_t idx = (uint32_t)r->cookie;
	uint32_t gen = (uint32_t)(r->cookie >> 32);
	struct loop_source *src;

	/* Removed (and perhaps reused) since the kernel reported it. */
	if (idx >= l->nr_slots || l->slots[idx].gen != gen || !l->slots[idx].src)
		return 0;
	l->slots[idx].armed = false;
	src = l->slots[idx].src;
	src->fn(src, r->revents);
	/* @src may be gone; the callback may also have moved the table. */
	if (l->slots[idx].gen == gen && l->slots[idx].src)
		l->be->rearm(l, idx);
	return 1;
}

int loop_turn(struct loop *l, uint64_t timeout_ns)
{
	struct loop_ready ready[LOOP_BATCH];
	int n, i, calls = 0;

	n = l->be->wait(l, until_timer(l, timeout_ns), ready);
	if (n < 0)
		return n;
	for (i = 0; i < n; i++)
		calls += dispatch(l, &ready[i]);
	return calls + run_timers(l);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int open_backend(struct loop *l, const struct loop_backend *be)
{
	l->be = be;
	return be->open(l);
}

static int open_any(struct loop *l, enum loop_kind kind)
{
	int ret = -ENOSYS;

	if (kind == LOOP_EPOLL)
		return open_backend(l, &loop_epoll);
#if defined(HAVE_URING)
	ret = open_backend(l, &loop_uring);
	if (ret == 0)
		return 0;
#endif
	if (kind == LOOP_URING)
		return ret;
	log_info("event loop: io_uring is not available here (%s), using epoll", strerror(-ret));
	return open_backend(l, &loop_epoll);
}

int loop_new(enum loop_kind kind, struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	err = open_any(l, kind);
	if (err < 0) {
		free(l);
		return err;
	}
	*ret = l;
	return 0;
}

struct loop *loop_free(struct loop *l)
{
	if (!l)
		return NULL;
	l->be->close(l);
	free(l->slots);
	free(l->heap);
	free(l);
	return NULL;
}

const char *loop_name(const struct loop *l)
{
	return l->be->name;
}
