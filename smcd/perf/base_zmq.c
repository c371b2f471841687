/* SPDX-License-Identifier: MIT */
/*
 * base_zmq.c - a pair of ZeroMQ sockets over its ipc transport
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "smcd/perf/baseline.h"

struct zmq_link {
	struct link base;
	void *ctx, *socket;
};

static struct zmq_link *self(struct link *l)
{
	return (struct zmq_link *)(void *)l;
}

static int link_send(struct link *l, const void *buf, size_t len)
{
	int n;

	do
		n = zmq_send(self(l)->socket, buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int link_recv(struct link *l, void *buf, size_t len)
{
	int n;

	do
		n = zmq_recv(self(l)->socket, buf, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (size_t)n == len ? 0 : -EPROTO;
}

static void link_end(struct link *l)
{
	zmq_close(self(l)->socket);
	zmq_ctx_term(self(l)->ctx);
	free(l);
}

static const struct link_ops zmq_ops = {
	.send = link_send,
	.recv = link_recv,
	.close = link_end,
};

/* Abstract names: nothing is left behind. */
static int open_name(const struct base_params *p, void **shared)
{
	static atomic_uint counter;
	char *name;

	if (asprintf(&name, "ipc://@smcd-user-perf-%d-%u", (int)getpid(),
		    atomic_fetch_add(&counter, 1)) < 0)
		return -ENOMEM;
	*shared = name;
	return 0;
}

static int open_socket(struct zmq_link *l, const char *name, unsigned int side)
{
	int none = 0;

	l->ctx = zmq_ctx_new();
	if (!l->ctx)
		return -errno;
	l->socket = zmq_socket(l->ctx, ZMQ_PAIR);
	if (!l->socket || zmq_setsockopt(l->socket, ZMQ_LINGER, &none, sizeof(none)) < 0)
		return -errno;
	return (side ? zmq_bind : zmq_connect)(l->socket, name) < 0 ? -errno : 0;
}

static int end_name(void *shared, unsigned int side, struct link **ret)
{
	struct zmq_link *l = calloc(1, sizeof(*l));
	int r = l ? open_socket(l, shared, side) : -ENOMEM;

	free(shared);
	if (r == 0) {
		l->base.ops = &zmq_ops;
		*ret = &l->base;
		return 0;
	}
	if (l && l->socket)
		zmq_close(l->socket);
	if (l && l->ctx)
		zmq_ctx_term(l->ctx);
	free(l);
	return r;
}

const struct baseline base_zmq = {
	.name = "zmq",
	.what = "ZeroMQ pair over ipc",
	.tests = PERF_RTT | PERF_STREAM,
	.open = open_name,
	.end = end_name,
};
