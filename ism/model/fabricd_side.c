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

/* Descriptors of a reply: @own is ours to close when it was sent, the others are the fabric's. */
struct reply {
	int fds[ATTACH_MAX_FDS];
	unsigned int n;
	bool own;
};

static int give_bell(struct side *s, uint64_t gid, struct reply *out)
{
	const int *fds;
	int r = attach_bell(s->fn, gid, &fds);

	if (r == 0) {
		memcpy(out->fds, fds, ATTACH_BELL_FDS * sizeof(*fds));
		out->n = ATTACH_BELL_FDS;
	}
	return r;
}

/* What takes no descriptors. */
static int execute_plain(struct side *s, struct attach_msg *m, struct reply *out)
{
	int r;

	switch (m->op) {
	case ATTACH_TAKE:
		out->own = true;
		return dmb_take(s->fn, m->token, out->fds, &out->n);
	case ATTACH_GATE:
		r = attach_gate(s->fn, &out->fds[0]);
		break;
	case ATTACH_MAP:
		r = attach_map(s->fn, m, &out->fds[0]);
		break;
	case ATTACH_BELL:
		return give_bell(s, m->token, out);
	default:
		return -EOPNOTSUPP;
	}
	out->n = r == 0;
	return r;
}

static int execute(struct side *s, struct attach_msg *m, const int *fds, unsigned int *nfds,
	struct reply *out)
{
	int r;

	switch (m->op) {
	case ATTACH_OFFER:
		r = dmb_offer(s->fn, m->token, fds, *nfds);
		break;
	case ATTACH_CONSENT:
		r = *nfds == ATTACH_BELL_FDS ? attach_consent(s->fn, m->token, fds) : -EINVAL;
		break;
	default:
		return *nfds ? -EINVAL : execute_plain(s, m, out);
	}
	if (r == 0)
		*nfds = 0; /* the fabric's now */
	return r;
}

static void broke(struct side *s, const char *why)
{
	log_warn("function %u: side channel closed: %s", s->fn->nr, why);
	side_close(s);
}

/* One request. False: the channel ended, or nothing was there. */
static bool serve(struct side *s)
{
	int fds[ATTACH_MAX_FDS];
	unsigned int nfds = 0;
	struct reply out = { .n = 0 };
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
	if (ok)
		m.error = execute(s, &m, fds, &nfds, &out);
	/* Before the reply: whoever has it finds that nothing was kept. */
	while (n > 0 && nfds)
		fd_closep(&fds[--nfds]);
	if (ok)
		ok = fd_send(s->src.fd, &m, sizeof(m), out.fds, out.n, MSG_DONTWAIT) == sizeof(m);
	while (out.own && out.n)
		fd_closep(&out.fds[--out.n]);
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
