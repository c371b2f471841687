/* SPDX-License-Identifier: MIT */
#include "ism/hand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ism/dev.h"
#include "vfio/base/fd.h"

static void close_all(int *fds, unsigned int n)
{
	while (n)
		fd_closep(&fds[--n]);
}

static void remove_at(struct ism_hands *hands, unsigned int i)
{
	hands->n--;
	memmove(&hands->v[i], &hands->v[i + 1], (hands->n - i) * sizeof(hands->v[0]));
}

static void drop_oldest(struct ism_hands *hands)
{
	close_all(hands->v[0].fds, hands->v[0].nfds);
	remove_at(hands, 0);
}

void ism_hands_drop(struct ism_hands *hands)
{
	while (hands->n)
		drop_oldest(hands);
	free(hands->v);
	hands->v = NULL;
	hands->cap = 0;
}

void ism_hands_fini(struct ism_hands *hands)
{
	ism_hands_drop(hands);
	fd_closep(&hands->sock);
}

/* Room for one more, at the expense of the oldest. False: no memory. */
static bool make_room(struct ism_hands *hands, uint64_t now)
{
	unsigned int cap = hands->cap ? 2 * hands->cap : 8;
	struct ism_hand *v;

	while (hands->n && (hands->n == ISM_HANDS_MAX || now - hands->v[0].since_ns > ISM_HANDS_NS))
		drop_oldest(hands);
	if (hands->n < hands->cap)
		return true;
	v = realloc(hands->v, cap * sizeof(*v));
	if (!v)
		return false;
	hands->v = v;
	hands->cap = cap;
	return true;
}

/* Takes the descriptors. */
static void put_aside(struct ism_hands *hands, struct ism_hand *h)
{
	h->since_ns = clock_ns();
	if (make_room(hands, h->since_ns))
		hands->v[hands->n++] = *h;
	else
		close_all(h->fds, h->nfds);
}

/* The next one in the socket. False: it is empty, or its other end is gone. */
static bool receive(struct ism_hands *hands, struct ism_hand *h)
{
	ssize_t n;

	for (;;) {
		n = fd_recv(hands->sock, &h->m, sizeof(h->m), h->fds, ATTACH_MAX_FDS, &h->nfds,
			MSG_DONTWAIT);
		if (n == -EMSGSIZE)
			continue;
		if (n <= 0)
			return false;
		if (n == (ssize_t)sizeof(h->m) && h->m.magic == ATTACH_HAND_MAGIC && h->nfds > 0)
			return true;
		close_all(h->fds, h->nfds);
	}
}

/* The one of that token, which is the caller's then. */
static bool take(struct ism_hands *hands, uint64_t token, struct ism_hand *ret)
{
	for (unsigned int i = 0; i < hands->n; i++) {
		if (hands->v[i].m.token == token) {
			*ret = hands->v[i];
			remove_at(hands, i);
			return true;
		}
	}
	/* As many as a socket holds may be between here and there, and a hostile peer could add to them. */
	for (unsigned int i = 0; i < ISM_HANDS_MAX && receive(hands, ret); i++) {
		if (ret->m.token == token)
			return true;
		put_aside(hands, ret);
	}
	return false;
}

int ism_hand_dmb(struct ism_dev *dev, const struct ism_dmb *dmb, bool use, const int *more,
	unsigned int nmore)
{
	const struct attach_hand m = { .magic = ATTACH_HAND_MAGIC, .idx = dmb->idx,
		.token = dmb->token, .len = dmb->size, .use = use };
	int give[ATTACH_MAX_FDS] = { dmb->fd };
	struct ism_bell *ring;
	ssize_t n;
	int r;

	if (nmore >= ATTACH_MAX_FDS)
		return -EINVAL;
	r = ism_ring_of(dev, dmb->rgid, &ring);
	if (r < 0)
		return r;
	if (nmore > 0)
		memcpy(&give[1], more, nmore * sizeof(*more));
	n = fd_send(ring->hands.sock, &m, sizeof(m), give, nmore + 1, MSG_DONTWAIT);
	return n < 0 ? (int)n : 0;
}

/* What a peer said of its DMB. */
static bool sound(const struct ism_hand *h, uint32_t size)
{
	return h->m.len >= size && h->m.len <= ISM_MOVE_OFF_MASK + 1 && h->m.idx >= ISM_DMB_IDX_MIN &&
	       h->m.idx < ISM_NR_DMBS && fd_check_sealed(h->fds[0], h->m.len) == 0;
}

int ism_receive_dmb(struct ism_dev *dev, uint64_t gid, uint64_t token, uint32_t size, int *fds,
	unsigned int nfds)
{
	struct ism_bell *b = ism_bell_of(dev->windows.bells, gid);
	struct ism_hand h;

	if (!b)
		return -EOPNOTSUPP;
	if (!take(&b->hands, token, &h))
		return -ENOENT;
	if (!sound(&h, size)) {
		close_all(h.fds, h.nfds);
		return -EPROTO;
	}
	if (nfds > 0 && h.m.use && h.nfds == nfds) {
		memcpy(fds, h.fds, nfds * sizeof(*fds));
		return 0;
	}
	/* Without one its stores go through the fabric. */
	ism_window_open(dev, gid, &h.m, h.fds[0]);
	close_all(h.fds, h.nfds);
	return nfds == 0 ? 0 : -ENXIO;
}
