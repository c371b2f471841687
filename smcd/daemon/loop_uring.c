/* SPDX-License-Identifier: MIT */
/*
 * The event loop on io_uring. A source is one POLL_ADD request with the cookie as user data. It is
 * one-shot: asking anew after each callback looks at the descriptor's state again, which is what
 * gives level semantics. Requests to arm are collected and enter the kernel with the next wait.
 *
 * A removed source's request is cancelled at once, because a poll in flight keeps the file open:
 * the other end of a socket would not see our close. Its late completion no longer matches the
 * slot's generation.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

#include "smcd/daemon/loop_priv.h"

#define SQ_ENTRIES 256u
#define CQ_ENTRIES 4096u
#define COOKIE_CANCEL 0u /* user data of cancellations; a generation is never 0 */

struct uring_priv {
	struct io_uring ring;
	uint32_t queued; /* slots to be armed with the next wait: the first one, plus 1; 0: none */
};

static int uring_open(struct loop *l)
{
	/* A completion need not interrupt us while we look: the ring says that there is one. */
	static const unsigned int calm = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	struct io_uring_params params = { .flags = IORING_SETUP_CQSIZE | calm,
		.cq_entries = CQ_ENTRIES };
	struct uring_priv *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return -ENOMEM;
	ret = io_uring_queue_init_params(SQ_ENTRIES, &p->ring, &params);
	if (ret == -EINVAL) { /* before Linux 5.19 */
		params = (struct io_uring_params){ .flags = IORING_SETUP_CQSIZE,
			.cq_entries = CQ_ENTRIES };
		ret = io_uring_queue_init_params(SQ_ENTRIES, &p->ring, &params);
	}
	if (ret < 0) {
		free(p);
		return ret;
	}
	/*
	 * Without EXT_ARG a timed wait is no single call; without NODROP completions can be lost.
	 */
	if (!(params.features & IORING_FEAT_EXT_ARG) || !(params.features & IORING_FEAT_NODROP)) {
		io_uring_queue_exit(&p->ring);
		free(p);
		return -ENOSYS;
	}
	l->priv = p;
	return 0;
}

static void uring_close(struct loop *l)
{
	struct uring_priv *p = l->priv;

	io_uring_queue_exit(&p->ring);
	free(p);
}

static struct io_uring_sqe *get_sqe(struct uring_priv *p)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&p->ring);

	if (sqe)
		return sqe;
	io_uring_submit(&p->ring);
	return io_uring_get_sqe(&p->ring);
}

static void enqueue(struct loop *l, uint32_t idx)
{
	struct uring_priv *p = l->priv;

	if (l->slots[idx].queued)
		return;
	l->slots[idx].next_queued = p->queued;
	p->queued = idx + 1;
	l->slots[idx].queued = true;
}

static int uring_add(struct loop *l, uint32_t idx)
{
	enqueue(l, idx);
	return 0;
}

static void uring_del(struct loop *l, uint32_t idx)
{
	struct uring_priv *p = l->priv;
	struct io_uring_sqe *sqe;

	if (!l->slots[idx].armed)
		return;
	sqe = get_sqe(p);
	if (!sqe)
		return;
	io_uring_prep_poll_remove(sqe, loop_cookie(l, idx));
	io_uring_sqe_set_data64(sqe, COOKIE_CANCEL);
	io_uring_submit(&p->ring);
}

static void uring_move(struct loop *l, uint32_t from, uint32_t to)
{
	uring_del(l, from);
	enqueue(l, to);
}

/* Those that were removed while they were queued are queued still. */
static void uring_cut(struct loop *l, uint32_t n)
{
	struct uring_priv *p = l->priv;
	uint32_t *at = &p->queued;

	while (*at) {
		struct loop_slot *slot = &l->slots[*at - 1];

		if (*at > n)
			*at = slot->next_queued;
		else
			at = &slot->next_queued;
	}
}

/* Puts what is queued into the submission ring; what does not fit stays queued. */
static void arm_queued(struct loop *l)
{
	struct uring_priv *p = l->priv;

	while (p->queued) {
		uint32_t idx = p->queued - 1;
		struct loop_slot *slot = &l->slots[idx];
		struct io_uring_sqe *sqe;

		if (slot->src && !slot->armed) {
			sqe = get_sqe(p);
			if (!sqe)
				return;
			io_uring_prep_poll_add(sqe, slot->src->fd, (unsigned int)slot->src->events);
			io_uring_sqe_set_data64(sqe, loop_cookie(l, idx));
			slot->armed = true;
		}
		slot->queued = false;
		p->queued = slot->next_queued;
	}
}

static int collect(struct uring_priv *p, struct loop_ready *ready)
{
	struct io_uring_cqe *cqe[LOOP_BATCH];
	unsigned int n, i;
	int out = 0;

	n = io_uring_peek_batch_cqe(&p->ring, cqe, LOOP_BATCH);
	for (i = 0; i < n; i++) {
		uint64_t cookie = cqe[i]->user_data;
		int res = cqe[i]->res;

		if (cookie == COOKIE_CANCEL || cookie == LIBURING_UDATA_TIMEOUT ||
			res == -ECANCELED)
			continue;
		ready[out].cookie = cookie;
		ready[out].revents = (short)(res < 0 ? POLLERR : res);
		out++;
	}
	io_uring_cq_advance(&p->ring, n);
	return out;
}

static int uring_wait(struct loop *l, uint64_t timeout_ns, struct loop_ready *ready)
{
	struct uring_priv *p = l->priv;
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	int ret = 0;

	arm_queued(l);
	if (timeout_ns == 0) {
		/* Quiet and nothing to arm: a look at the completion ring, no system call. */
		if (io_uring_sq_ready(&p->ring) > 0)
			ret = io_uring_submit(&p->ring);
	} else {
		ts.tv_sec = (long long)(timeout_ns / 1000000000);
		ts.tv_nsec = (long long)(timeout_ns % 1000000000);
		ret = io_uring_submit_and_wait_timeout(&p->ring, &cqe, 1,
			timeout_ns == LOOP_FOREVER ? NULL : &ts, NULL);
	}
	if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
		return ret;
	return collect(p, ready);
}

const struct loop_backend loop_uring = {
	.name = "io_uring",
	.open = uring_open,
	.close = uring_close,
	.add = uring_add,
	.del = uring_del,
	.rearm = enqueue,
	.move = uring_move,
	.cut = uring_cut,
	.wait = uring_wait,
};
