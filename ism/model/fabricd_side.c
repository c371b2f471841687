/* SPDX-License-Identifier: MIT */
#include "ism/model/fabricd_side.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "ism/model/attach.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

_Static_assert(offsetof(struct side, src) == 0, "a source is its side");

static int execute(struct side *s, const struct attach_msg *req, int *fds, unsigned int *nfds,
	int *out, unsigned int *nout)
{
	int r;

	switch (req->op) {
	case ATTACH_OFFER:
		r = attach_offer(s->fn, req->token, fds, *nfds);
		if (r == 0)
			*nfds = 0; /* the fabric's now */
		return r;
	case ATTACH_TAKE:
		return *nfds ? -EINVAL : attach_take(s->fn, req->token, out, nout);
	default:
		return -EOPNOTSUPP;
	}
}

static void broke(struct side *s, const char *why)
{
	log_warn("function %u: side channel closed: %s", s->fn->nr, why);
	side_close(s);
}

/* One request. False: the channel ended, or nothing was there. */
static bool serve(struct side *s)
{
	int fds[ATTACH_MAX_FDS], out[ATTACH_MAX_FDS];
	unsigned int nfds = 0, nout = 0;
	struct attach_msg m;
	ssize_t n = fd_recv(s->src.fd, &m, sizeof(m), fds, ATTACH_MAX_FDS, &nfds, MSG_DONTWAIT);
	bool ok;

	if (n == -EAGAIN)
		return false;
	if (n == 0) {
		side_close(s);
		return false;
	}
	ok = n == (ssize_t)sizeof(m) && m.magic == ATTACH_MAGIC;
	if (ok) {
		m.error = execute(s, &m, fds, &nfds, out, &nout);
		ok = fd_send(s->src.fd, &m, sizeof(m), out, nout, MSG_DONTWAIT) == sizeof(m);
	}
	while (n > 0 && nfds)
		fd_closep(&fds[--nfds]);
	while (nout)
		fd_closep(&out[--nout]);
	if (!ok)
		broke(s, "the client broke its protocol or does not read");
	return ok;
}

static void side_ready(struct source *src, uint32_t events)
{
	struct side *s = (struct side *)(void *)src;

	for (int i = 0; i < 16 && serve(s); i++)
		;
}

void side_init(struct side *s)
{
	*s = (struct side){ .src = { .fd = -1, .ready = side_ready } };
}

int side_open(struct side *s, struct loop *loop, struct function *fn, int fd)
{
	int r;

	side_close(s);
	s->loop = loop;
	s->fn = fn;
	s->src.fd = fd;
	r = loop_set(loop, &s->src, EPOLLIN);
	if (r < 0)
		fd_closep(&s->src.fd);
	return r;
}

void side_close(struct side *s)
{
	if (s->src.fd < 0)
		return;
	loop_set(s->loop, &s->src, 0);
	fd_closep(&s->src.fd);
}
