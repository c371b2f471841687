/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/stock.h"

#include <errno.h>

#include "smcd/daemon/function.h"
#include "vfio/base/fd.h"

#define SOON_NS UINT64_C(50000000) /* the next one comes soon enough to be prepared for */

/* A peer may write what it was not told of: nobody cares. */
static void on_signal(struct dmb_user *user)
{
}

static struct dmb_user nobody = { .signal = on_signal, .use = "stock" };

static void empty(struct function *fn, struct shelf *s)
{
	if (s->want)
		ism_drop_prepared(fn->dev);
	while (s->n)
		function_dmb_retire(fn, s->dmb[--s->n]);
	*s = (struct shelf){ 0 };
}

static void on_idle(struct loop_timer *timer)
{
	struct stock *st = CONTAINER(timer, struct stock, idle);
	struct function *fn = CONTAINER(st, struct function, stock);
	uint64_t now = clock_ns(), next = UINT64_MAX;

	for (unsigned int i = 0; i < STOCK_SHELVES; i++) {
		struct shelf *s = &st->shelf[i];

		if (s->gid && now - s->taken_ns >= STOCK_IDLE_NS)
			empty(fn, s);
		else if (s->gid && s->taken_ns < next)
			next = s->taken_ns;
	}
	/* Without a timer nothing would be given back. */
	if (next != UINT64_MAX && loop_timer_set(fn->d->loop, timer, next + STOCK_IDLE_NS) < 0)
		stock_forget(fn, 0);
}

void stock_init(struct function *fn)
{
	fn->stock.idle.fn = on_idle;
}

/* The shelf for these, which may take the place of the one that rested longest. */
static struct shelf *shelf_for(struct function *fn, uint64_t gid, uint32_t size)
{
	struct shelf *oldest = &fn->stock.shelf[0];

	for (unsigned int i = 0; i < STOCK_SHELVES; i++) {
		struct shelf *s = &fn->stock.shelf[i];

		if (s->gid == gid && s->size == size)
			return s;
		if (s->taken_ns < oldest->taken_ns)
			oldest = s;
	}
	empty(fn, oldest);
	oldest->gid = gid;
	oldest->size = size;
	return oldest;
}

static void learn(struct function *fn, struct shelf *s)
{
	uint64_t now = fn->d->now_ns;
	unsigned int most = STOCK_BYTES / s->size < STOCK_MAX ? STOCK_BYTES / s->size : STOCK_MAX;

	s->want = s->taken_ns && now - s->taken_ns < SOON_NS ? 2 * s->want + 1 : 0;
	if (s->want > most)
		s->want = most;
	s->taken_ns = now;
	/* Without a timer nothing would be given back. */
	if (!fn->stock.idle.pos &&
		loop_timer_set(fn->d->loop, &fn->stock.idle, now + STOCK_IDLE_NS) < 0)
		s->want = 0;
}

/* Registers @n more, or some. 0, or why there is none. */
static int make(struct function *fn, struct shelf *s, unsigned int n)
{
	int r;

	if (!function_up(fn))
		return -ENODEV;
	r = function_note(fn, ism_register_dmbs(fn->dev, s->gid, s->size, &nobody, s->dmb + s->n, n));
	if (r < 0)
		return r;
	s->n += (unsigned int)r;
	return 0;
}

int stock_get(struct function *fn, uint64_t gid, uint32_t size, struct dmb_user *user,
	struct ism_dmb **ret)
{
	struct shelf *s = shelf_for(fn, gid, size);
	int r = 0;

	learn(fn, s);
	fn->d->stats.from_stock += s->n != 0;
	if (s->n == 0)
		r = make(fn, s, s->want ? s->want : 1);
	if (r < 0 && s->want > 1) { /* there may be room for one */
		s->want = 0;
		r = make(fn, s, 1);
	}
	if (r < 0)
		return r;
	*ret = s->dmb[--s->n];
	(*ret)->user = user;
	if (s->n < (s->want + 1) / 2)
		fn->stock.low = true;
	return 0;
}

/* False: there is something left to do, for which there is time. */
static bool fill(struct function *fn, struct shelf *s, bool idle)
{
	unsigned int need = s->want - s->n;

	if (!s->gid || s->n >= (s->want + 1) / 2)
		return true;
	if (s->n > STOCK_LEAST) {
		if (!idle || ism_prepare_dmb(fn->dev, s->size, need))
			return false;
	}
	/* Nobody waits for it: an error is for whoever asks next. */
	if (make(fn, s, need) < 0)
		s->want = 0;
	return true;
}

bool stock_fill(struct function *fn, bool idle)
{
	bool done = true;

	if (!fn->stock.low || !function_up(fn))
		return false;
	for (unsigned int i = 0; i < STOCK_SHELVES && done; i++)
		done = fill(fn, &fn->stock.shelf[i], idle);
	fn->stock.low = !done;
	return idle;
}

void stock_forget(struct function *fn, uint64_t gid)
{
	for (unsigned int i = 0; i < STOCK_SHELVES; i++) {
		if (fn->stock.shelf[i].gid && (gid == 0 || fn->stock.shelf[i].gid == gid))
			empty(fn, &fn->stock.shelf[i]);
	}
}
