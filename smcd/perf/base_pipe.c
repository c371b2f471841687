/* SPDX-License-Identifier: MIT */
/*
 * base_pipe.c - two pipes, one each way
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "smcd/perf/baseline.h"
#include "smcd/perf/link_fd.h"
#include "vfio/base/fd.h"

/* The reader is killed, or lives longer than the writer: no SIGPIPE. */
static const struct fd_calls pipe_calls = { .put = write, .get = read };

struct pipes {
	int fd[2][2]; /* by the side that reads; read end, write end */
};

static void close_pipes(struct pipes *p)
{
	for (int i = 0; i < 4; i++)
		fd_closep(&p->fd[i / 2][i % 2]);
	free(p);
}

static int open_pipes(const struct base_params *params, void **shared)
{
	struct pipes *p = malloc(sizeof(*p));
	int r = 0;

	if (!p)
		return -ENOMEM;
	*p = (struct pipes){ .fd = { { -1, -1 }, { -1, -1 } } };
	for (int i = 0; r == 0 && i < 2; i++) {
		if (pipe2(p->fd[i], O_CLOEXEC) < 0 ||
		    (params->sockbuf &&
			fcntl(p->fd[i][0], F_SETPIPE_SZ, (int)params->sockbuf) < 0))
			r = -errno;
	}
	if (r < 0)
		close_pipes(p);
	else
		*shared = p;
	return r;
}

static int end_pipes(void *shared, unsigned int side, struct link **ret)
{
	struct pipes *p = shared;
	int rx = fd_steal(&p->fd[side][0]), tx = fd_steal(&p->fd[1 - side][1]);

	close_pipes(p);
	return link_fd(&pipe_calls, rx, tx, SIZE_MAX, ret);
}

const struct baseline base_pipe = {
	.name = "pipe",
	.what = "two pipes; --sockbuf sets their sizes, too",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI,
	.open = open_pipes,
	.end = end_pipes,
};
