/* SPDX-License-Identifier: MIT */
/*
 * base_socket.c - connected sockets: UNIX stream and seqpacket, TCP over the loopback interface
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "smcd/perf/baseline.h"
#include "smcd/perf/link_fd.h"
#include "vfio/base/fd.h"

static ssize_t socket_put(int fd, const void *buf, size_t len)
{
	return send(fd, buf, len, MSG_NOSIGNAL);
}

static ssize_t socket_get(int fd, void *buf, size_t len)
{
	return recv(fd, buf, len, MSG_WAITALL);
}

static const struct fd_calls socket_calls = { .put = socket_put, .get = socket_get };

struct socket_pair {
	int fd[2];
	size_t most; /* per send() */
};

/* Beyond the system's limit where this process may. */
static int set_buffer(int fd, uint32_t bytes)
{
	int v = (int)bytes;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)) == 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0)
		return 0;
	return -errno;
}

/* A packet must fit into the send buffer; larger messages are cut. */
static int packet_limit(struct socket_pair *pair)
{
	socklen_t len = sizeof(int);
	int v;

	if (getsockopt(pair->fd[0], SOL_SOCKET, SO_SNDBUF, &v, &len) < 0)
		return -errno;
	pair->most = (size_t)v / 2;
	return 0;
}

/* Two connected TCP sockets. */
static int connect_tcp(int fd[2])
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int l FD_CLEANUP = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int a FD_CLEANUP = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int b FD_CLEANUP = -1, one = 1;

	if (l < 0 || a < 0 || bind(l, (struct sockaddr *)&addr, len) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(a, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	b = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (b < 0 || setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
	    setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
		return -errno;
	fd[0] = fd_steal(&a);
	fd[1] = fd_steal(&b);
	return 0;
}

/* @type: of a UNIX socket; 0: TCP. */
static int open_pair(const struct base_params *p, int type, void **shared)
{
	struct socket_pair *pair = malloc(sizeof(*pair));
	int r = -ENOMEM;

	if (!pair)
		return r;
	*pair = (struct socket_pair){ .fd = { -1, -1 }, .most = SIZE_MAX };
	if (type)
		r = socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair->fd) < 0 ? -errno : 0;
	else
		r = connect_tcp(pair->fd);
	for (int i = 0; r == 0 && p->sockbuf && i < 2; i++)
		r = set_buffer(pair->fd[i], p->sockbuf);
	if (r == 0 && type == SOCK_SEQPACKET)
		r = packet_limit(pair);
	if (r < 0) {
		fd_closep(&pair->fd[0]);
		fd_closep(&pair->fd[1]);
		free(pair);
		return r;
	}
	*shared = pair;
	return 0;
}

static int end_pair(void *shared, unsigned int side, struct link **ret)
{
	struct socket_pair *pair = shared;
	int fd = fd_steal(&pair->fd[side]);
	size_t most = pair->most;

	fd_closep(&pair->fd[1 - side]);
	free(pair);
	return link_fd(&socket_calls, fd, fd, most, ret);
}

/* ---- connecting ------------------------------------------------------------------------------ */

struct listener {
	int fd;
	socklen_t len;
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	} addr;
};

/* The kernel chooses the name, or the port. */
static int open_listener(sa_family_t family, void **shared)
{
	struct listener *l = calloc(1, sizeof(*l));
	socklen_t len = family == AF_UNIX ? sizeof(family) : sizeof(l->addr.in);
	int r = 0;

	if (!l)
		return -ENOMEM;
	l->addr.any.sa_family = family;
	if (family == AF_INET)
		l->addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->len = sizeof(l->addr);
	l->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || bind(l->fd, &l->addr.any, len) < 0 || listen(l->fd, SOMAXCONN) < 0 ||
	    getsockname(l->fd, &l->addr.any, &l->len) < 0)
		r = -errno;
	if (r < 0) {
		fd_closep(&l->fd);
		free(l);
		return r;
	}
	*shared = l;
	return 0;
}

static int connect_once(void *shared, uint64_t stamp[CONNECT_STAMPS])
{
	const struct listener *l = shared;
	int fd FD_CLEANUP = -1;
	char byte = 'e';

	stamp[CONNECT_BEGIN] = clock_ns();
	fd = socket(l->addr.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &l->addr.any, l->len) < 0)
		return -errno;
	stamp[CONNECT_DONE] = clock_ns();
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1)
		return -errno;
	stamp[CONNECT_ECHOED] = clock_ns();
	fd_closep(&fd);
	stamp[CONNECT_CLOSED] = clock_ns();
	return 0;
}

static void serve_connects(void *shared)
{
	const struct listener *l = shared;
	char byte;

	for (;;) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (recv(fd, &byte, 1, 0) == 1)
			send(fd, &byte, 1, MSG_NOSIGNAL);
		close(fd);
	}
}

static void close_listener(void *shared)
{
	struct listener *l = shared;

	fd_closep(&l->fd);
	free(l);
}

/* ---- the three of them ----------------------------------------------------------------------- */

static int listen_unix(void **shared)
{
	return open_listener(AF_UNIX, shared);
}

static int listen_tcp(void **shared)
{
	return open_listener(AF_INET, shared);
}

static int open_unix(const struct base_params *p, void **shared)
{
	return open_pair(p, SOCK_STREAM, shared);
}

static int open_seqpacket(const struct base_params *p, void **shared)
{
	return open_pair(p, SOCK_SEQPACKET, shared);
}

static int open_tcp(const struct base_params *p, void **shared)
{
	return open_pair(p, 0, shared);
}

const struct baseline base_unix = {
	.name = "unix",
	.what = "UNIX stream socket",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI | PERF_CONNECT,
	.open = open_unix,
	.end = end_pair,
	.listen = listen_unix,
	.connect = connect_once,
	.serve_connects = serve_connects,
	.close_listener = close_listener,
};

const struct baseline base_seqpacket = {
	.name = "seqpacket",
	.what = "UNIX seqpacket socket; see --sockbuf",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI,
	.open = open_seqpacket,
	.end = end_pair,
};

const struct baseline base_tcp = {
	.name = "tcp",
	.what = "TCP over the loopback interface, without Nagle's delay",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI | PERF_CONNECT,
	.open = open_tcp,
	.end = end_pair,
	.listen = listen_tcp,
	.connect = connect_once,
	.serve_connects = serve_connects,
	.close_listener = close_listener,
};
