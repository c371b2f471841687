/* SPDX-License-Identifier: MIT */
/*
 * base_socket.c - UNIX stream sockets
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smcd/perf/baseline.h"
#include "vfio/base/fd.h"

struct socket_link {
	struct link base;
	int fd;
};

static int fd_of(const struct link *l)
{
	return ((const struct socket_link *)(const void *)l)->fd;
}

static int socket_send(struct link *l, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = send(fd_of(l), p, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int socket_recv(struct link *l, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = recv(fd_of(l), p, len, MSG_WAITALL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void socket_close(struct link *l)
{
	close(fd_of(l));
	free(l);
}

static const struct link_ops socket_ops = {
	.send = socket_send,
	.recv = socket_recv,
	.close = socket_close,
};

struct socket_pair {
	int fd[2];
};

static int set_buffers(const struct socket_pair *pair, uint32_t bytes)
{
	int v = (int)bytes;

	for (int i = 0; bytes && i < 2; i++)
		if (setsockopt(pair->fd[i], SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)) < 0 &&
		    setsockopt(pair->fd[i], SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) < 0)
			return -errno;
	return 0;
}

static int open_unix(const struct base_params *p, void **shared)
{
	struct socket_pair *pair = malloc(sizeof(*pair));
	int r;

	if (!pair)
		return -ENOMEM;
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair->fd) < 0 ? -errno : 0;
	if (r == 0)
		r = set_buffers(pair, p->sockbuf);
	if (r < 0)
		free(pair);
	else
		*shared = pair;
	return r;
}

static int end_socket(void *shared, unsigned int side, struct link **ret)
{
	struct socket_pair *pair = shared;
	struct socket_link *l = malloc(sizeof(*l));

	fd_closep(&pair->fd[1 - side]);
	if (l)
		*l = (struct socket_link){ .base.ops = &socket_ops, .fd = pair->fd[side] };
	else
		fd_closep(&pair->fd[side]);
	free(pair);
	if (!l)
		return -ENOMEM;
	*ret = &l->base;
	return 0;
}

const struct baseline base_unix = {
	.name = "unix",
	.what = "UNIX stream socket",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI,
	.open = open_unix,
	.end = end_socket,
};
