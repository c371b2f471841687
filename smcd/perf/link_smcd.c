/* SPDX-License-Identifier: MIT */
/*
 * link_smcd.c - our channels
 */
#include <errno.h>
#include <stdlib.h>

#include "smcd-user.h"
#include "smcd/perf/link.h"

struct smcd_link {
	struct link base;
	struct smcdu_channel *ch;
};

static struct smcdu_channel *channel(const struct link *l)
{
	return ((const struct smcd_link *)(const void *)l)->ch;
}

static int smcd_send(struct link *l, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = smcdu_send(channel(l), p, len, 0);

		if (n < 0)
			return (int)n;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int smcd_recv(struct link *l, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = smcdu_recv(channel(l), p, len, SMCDU_WAITALL);

		if (n <= 0)
			return n ? (int)n : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int smcd_reserve(struct link *l, void **p, size_t *len)
{
	return smcdu_reserve(channel(l), p, len, 0);
}

static int smcd_commit(struct link *l, size_t len)
{
	return smcdu_commit(channel(l), len);
}

static size_t smcd_cached(struct link *l, size_t len)
{
	return smcdu_cached_part(channel(l), len);
}

static int smcd_peek(struct link *l, const void **p, size_t *len)
{
	int r = smcdu_peek(channel(l), p, len, 0);

	return r == 0 && !*len ? -ENODATA : r;
}

static int smcd_release(struct link *l, size_t len)
{
	return smcdu_release(channel(l), len);
}

static int smcd_set_spin(struct link *l, uint32_t spin_us)
{
	return smcdu_set_spin(channel(l), spin_us);
}

static uint64_t smcd_stores(const struct link *l)
{
	struct smcdu_channel_stats st;

	smcdu_channel_stats(channel(l), &st);
	return st.pcistb;
}

static void smcd_close(struct link *l)
{
	smcdu_close(channel(l));
	free(l);
}

static const struct link_ops smcd_ops = {
	.send = smcd_send,
	.recv = smcd_recv,
	.reserve = smcd_reserve,
	.commit = smcd_commit,
	.cached = smcd_cached,
	.peek = smcd_peek,
	.release = smcd_release,
	.set_spin = smcd_set_spin,
	.stores = smcd_stores,
	.close = smcd_close,
};

struct link *link_smcd(struct smcdu_channel *ch)
{
	struct smcd_link *l = malloc(sizeof(*l));

	if (!l)
		return NULL;
	*l = (struct smcd_link){ .base.ops = &smcd_ops, .ch = ch };
	return &l->base;
}
