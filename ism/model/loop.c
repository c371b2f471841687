/* SPDX-License-Identifier: MIT */
#include "ism/model/loop.h"

#include <errno.h>
#include <stddef.h>

#include "vfio/base/fd.h"

int loop_init(struct loop *l)
{
	l->n = 0;
	l->fd = epoll_create1(EPOLL_CLOEXEC);
	return l->fd < 0 ? -errno : 0;
}

void loop_fini(struct loop *l)
{
	fd_closep(&l->fd);
}

int loop_set(struct loop *l, struct source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };
	int op = !s->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	int i;

	if (s->events == events)
		return 0;
	if (epoll_ctl(l->fd, op, s->fd, &ev) < 0)
		return -errno;
	s->events = events;
	for (i = 0; !events && i < l->n; i++) {
		if (l->batch[i].data.ptr == s)
			l->batch[i].data.ptr = NULL;
	}
	return 0;
}

int loop_turn(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->fd, l->batch, LOOP_BATCH, timeout_ms);
	int i;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->n = n;
	for (i = 0; i < n; i++) {
		struct source *s = l->batch[i].data.ptr;

		if (s)
			s->ready(s, l->batch[i].events);
	}
	l->n = 0;
	return 0;
}
