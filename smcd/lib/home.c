/* SPDX-License-Identifier: MIT */
/*
 * home.c - connections to the daemon that channels have left
 *
 * A channel's connection, and the control page (mediated also the send ring) that is mapped for it, are between
 * this process and its daemon only. While channels come fast one that is closed in order leaves both to
 * the next one of the same settings, or of the same listener, which saves what it takes to connect and to map.
 * Nothing else outlives a channel: what its peer wrote, or can write, goes with it.
 *
 * The daemon gives such a connection up after a while. Of settings' that is noticed when it is used: then a new
 * one is made. Which of a listener's is used is the daemon's choice, so one that was left stays here until the daemon
 * has closed it. At most LIB_KEPT are kept, until the settings or the listener are closed.
 */
#include "smcd/lib/internal.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define SOON_NS UINT64_C(50000000)  /* between two channels that come fast */
#define KEPT_NS UINT64_C(100000000) /* the daemon waits longer */

struct lib_home {
	atomic_uint refs;
	pthread_mutex_t lock; /* guards all below */
	bool closed;
	bool rush;
	uint64_t came_ns; /* when a channel was wanted last */
	struct lib_kept kept[LIB_KEPT]; /* oldest first */
	unsigned int n;
};

void kept_drop(struct lib_kept *k)
{
	for (unsigned int i = 0; i < CHAN_SEND_SLOTS; i++) {
		if (k->send[i].map)
			munmap(k->send[i].map, k->send[i].len);
		k->send[i].map = NULL;
	}
	fd_closep(&k->sock);
}

struct lib_home *home_new(void)
{
	struct lib_home *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	atomic_init(&h->refs, 1);
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

struct lib_home *home_ref(struct lib_home *h)
{
	atomic_fetch_add(&h->refs, 1);
	return h;
}

void home_put(struct lib_home *h)
{
	if (!h || atomic_fetch_sub(&h->refs, 1) != 1)
		return;
	while (h->n > 0)
		kept_drop(&h->kept[--h->n]);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void home_close(struct lib_home *h)
{
	pthread_mutex_lock(&h->lock);
	h->closed = true;
	while (h->n > 0)
		kept_drop(&h->kept[--h->n]);
	pthread_mutex_unlock(&h->lock);
	home_put(h);
}

void home_came(struct lib_home *h)
{
	uint64_t now = clock_ns();

	pthread_mutex_lock(&h->lock);
	h->rush = h->came_ns && now - h->came_ns < SOON_NS;
	h->came_ns = now;
	pthread_mutex_unlock(&h->lock);
}

static struct lib_kept remove_at(struct lib_home *h, unsigned int i)
{
	struct lib_kept k = h->kept[i];

	h->n--;
	memmove(&h->kept[i], &h->kept[i + 1], (h->n - i) * sizeof(h->kept[0]));
	return k;
}

/* The last one that the daemon has still. It knows us by what we were when we connected. */
static bool take_last(struct lib_home *h, struct lib_kept *ret)
{
	uint64_t now = clock_ns();

	while (h->n > 0) {
		*ret = h->kept[--h->n];
		if (now - ret->left_ns < KEPT_NS && ret->uid == geteuid())
			return true;
		kept_drop(ret);
	}
	return false;
}

static bool take_of(struct lib_home *h, uint64_t id, struct lib_kept *ret)
{
	for (unsigned int i = 0; i < h->n; i++) {
		if (h->kept[i].id == id) {
			*ret = remove_at(h, i);
			return true;
		}
	}
	return false;
}

bool home_take(struct lib_home *h, uint64_t id, struct lib_kept *ret)
{
	bool found;

	pthread_mutex_lock(&h->lock);
	found = id ? take_of(h, id, ret) : take_last(h, ret);
	pthread_mutex_unlock(&h->lock);
	return found;
}

/* Those that the daemon has closed. */
static void drop_closed(struct lib_home *h)
{
	for (unsigned int i = h->n; i-- > 0;) {
		struct pollfd p = { .fd = h->kept[i].sock };

		if (poll(&p, 1, 0) == 1) {
			struct lib_kept k = remove_at(h, i);

			kept_drop(&k);
		}
	}
}

bool home_wants(struct lib_home *h)
{
	bool yes;

	pthread_mutex_lock(&h->lock);
	if (h->rush && h->n == LIB_KEPT)
		drop_closed(h);
	yes = h->rush && !h->closed && h->n < LIB_KEPT;
	pthread_mutex_unlock(&h->lock);
	return yes;
}

void home_give(struct lib_home *h, const struct lib_kept *k)
{
	struct lib_kept mine = *k;

	mine.left_ns = clock_ns();
	pthread_mutex_lock(&h->lock);
	if (!h->closed && h->n < LIB_KEPT)
		h->kept[h->n++] = mine;
	else
		kept_drop(&mine);
	pthread_mutex_unlock(&h->lock);
}
