/* SPDX-License-Identifier: MIT */
/* The event loop on epoll, level-triggered: nothing to do between callback and wait. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "smcd/daemon/loop_priv.h"
#include "vfio/base/fd.h"

_Static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
	EPOLLHUP == POLLHUP, "one set of event bits");

struct epoll_priv {
	int fd;
};

static int epoll_open(struct loop *l)
{
	struct epoll_priv *p = malloc(sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd < 0) {
		err = -errno;
		free(p);
		return err;
	}
	l->priv = p;
	return 0;
}

static void epoll_close(struct loop *l)
{
	struct epoll_priv *p = l->priv;

	fd_closep(&p->fd);
	free(p);
}

static int epoll_add(struct loop *l, uint32_t idx)
{
	struct epoll_priv *p = l->priv;
	struct loop_source *src = l->slots[idx].src;
	struct epoll_event ev = { .events = (uint32_t)src->events };

	ev.data.u64 = loop_cookie(l, idx);
	return epoll_ctl(p->fd, EPOLL_CTL_ADD, src->fd, &ev) < 0 ? -errno : 0;
}

static void epoll_del(struct loop *l, uint32_t idx)
{
	struct epoll_priv *p = l->priv;

	epoll_ctl(p->fd, EPOLL_CTL_DEL, l->slots[idx].src->fd, NULL);
}

static void epoll_rearm(struct loop *l, uint32_t idx)
{
}

static void epoll_move(struct loop *l, uint32_t from, uint32_t to)
{
	struct epoll_priv *p = l->priv;
	struct loop_source *src = l->slots[to].src;
	struct epoll_event ev = { .events = (uint32_t)src->events };

	ev.data.u64 = loop_cookie(l, to);
	epoll_ctl(p->fd, EPOLL_CTL_MOD, src->fd, &ev);
}

static void epoll_cut(struct loop *l, uint32_t n)
{
}

/* Rounded up: a timer must be due when the wait for it ends, or the loop would spin up to 1 ms. */
static int timeout_ms(uint64_t ns)
{
	uint64_t ms;

	if (ns == LOOP_FOREVER)
		return -1;
	ms = ns / 1000000 + (ns % 1000000 != 0);
	return ms > 1000000 ? 1000000 : (int)ms;
}

static int epoll_do_wait(struct loop *l, uint64_t timeout_ns, struct loop_ready *ready)
{
	struct epoll_priv *p = l->priv;
	struct epoll_event ev[LOOP_BATCH];
	int n, i;

	n = epoll_wait(p->fd, ev, LOOP_BATCH, timeout_ms(timeout_ns));
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (i = 0; i < n; i++) {
		ready[i].cookie = ev[i].data.u64;
		ready[i].revents = (short)ev[i].events;
	}
	return n;
}

const struct loop_backend loop_epoll = {
	.name = "epoll",
	.open = epoll_open,
	.close = epoll_close,
	.add = epoll_add,
	.del = epoll_del,
	.rearm = epoll_rearm,
	.move = epoll_move,
	.cut = epoll_cut,
	.wait = epoll_do_wait,
};
