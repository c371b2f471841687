/* SPDX-License-Identifier: MIT */
#include "smcd/perf/link_fd.h"

#include <errno.h>
#include <stdlib.h>

#include "vfio/base/fd.h"

struct fd_link {
	struct link base;
	const struct fd_calls *calls;
	int rx, tx;
	size_t most; /* per put() */
};

static struct fd_link *self(struct link *l)
{
	return (struct fd_link *)(void *)l;
}

static int put_all(struct link *base, const void *buf, size_t len)
{
	const struct fd_link *l = self(base);
	const char *p = buf;

	while (len) {
		ssize_t n = l->calls->put(l->tx, p, len < l->most ? len : l->most);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int get_all(struct link *base, void *buf, size_t len)
{
	const struct fd_link *l = self(base);
	char *p = buf;

	while (len) {
		ssize_t n = l->calls->get(l->rx, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static void close_both(int rx, int tx)
{
	if (tx != rx)
		fd_closep(&tx);
	fd_closep(&rx);
}

static void close_link(struct link *l)
{
	close_both(self(l)->rx, self(l)->tx);
	free(l);
}

static const struct link_ops fd_ops = {
	.send = put_all,
	.recv = get_all,
	.close = close_link,
};

int link_fd(const struct fd_calls *calls, int rx, int tx, size_t most, struct link **ret)
{
	struct fd_link *l = malloc(sizeof(*l));

	if (!l) {
		close_both(rx, tx);
		return -ENOMEM;
	}
	*l = (struct fd_link){ .base.ops = &fd_ops, .calls = calls, .rx = rx, .tx = tx,
		.most = most };
	*ret = &l->base;
	return 0;
}
