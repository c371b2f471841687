/* SPDX-License-Identifier: MIT */
/*
 * base_eventfd.c - shared memory for the bytes, one eventfd each way for waking
 *
 * What a blocking round trip through shared memory costs at least: a write() that wakes and a read()
 * that sleeps on each side. Each message is one of each.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "smcd/perf/baseline.h"
#include "smcd/perf/ring.h"
#include "vfio/base/fd.h"

struct eventfd_pair {
	size_t size; /* of one direction's data */
	struct ring_shared *counter;
	int fd[2]; /* by the side that is woken */
};

struct eventfd_link {
	struct link base;
	struct ring_shared *counter;
	size_t size;
	struct ring tx, rx;
	int wake, wait;
};

static struct eventfd_link *self(struct link *l)
{
	return (struct eventfd_link *)(void *)l;
}

static size_t memory(size_t size)
{
	return 2 * (sizeof(struct ring_shared) + size);
}

/* The ring holds two messages, and no more are ever under way. */
static int eventfd_send(struct link *base, const void *buf, size_t len)
{
	struct eventfd_link *l = self(base);
	const uint8_t *src = buf;
	size_t n;
	void *p;

	while (len) {
		n = ring_space(&l->tx, &p);
		if (!n)
			return -ENOBUFS;
		n = n < len ? n : len;
		memcpy(p, src, n);
		ring_wrote(&l->tx, n);
		src += n;
		len -= n;
	}
	return eventfd_write(l->wake, 1) < 0 ? -errno : 0;
}

static int eventfd_recv(struct link *base, void *buf, size_t len)
{
	struct eventfd_link *l = self(base);
	uint8_t *dst = buf;
	const void *p;
	eventfd_t one;
	size_t n;

	if (eventfd_read(l->wait, &one) < 0)
		return -errno;
	while (len) {
		n = ring_bytes(&l->rx, &p);
		if (!n)
			return -EPROTO;
		n = n < len ? n : len;
		memcpy(dst, p, n);
		ring_read(&l->rx, n);
		dst += n;
		len -= n;
	}
	return 0;
}

static void eventfd_close(struct link *base)
{
	struct eventfd_link *l = self(base);

	fd_closep(&l->wake);
	fd_closep(&l->wait);
	munmap(l->counter, memory(l->size));
	free(l);
}

static const struct link_ops eventfd_ops = {
	.send = eventfd_send,
	.recv = eventfd_recv,
	.close = eventfd_close,
};

static void free_pair(struct eventfd_pair *pair)
{
	if (pair->counter != MAP_FAILED)
		munmap(pair->counter, memory(pair->size));
	fd_closep(&pair->fd[0]);
	fd_closep(&pair->fd[1]);
	free(pair);
}

static int open_pair(const struct base_params *p, void **shared)
{
	struct eventfd_pair *pair = malloc(sizeof(*pair));
	int r = 0;

	if (!pair)
		return -ENOMEM;
	*pair = (struct eventfd_pair){ .size = 4096 };
	while (pair->size < 2 * (size_t)p->size)
		pair->size *= 2;
	pair->fd[0] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	pair->fd[1] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	pair->counter = mmap(NULL, memory(pair->size), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (pair->fd[0] < 0 || pair->fd[1] < 0 || pair->counter == MAP_FAILED)
		r = -errno;
	if (r < 0)
		free_pair(pair);
	else
		*shared = pair;
	return r;
}

static int end_pair(void *shared, unsigned int side, struct link **ret)
{
	struct eventfd_pair *pair = shared;
	uint8_t *data = (uint8_t *)(pair->counter + 2);
	struct eventfd_link *l = malloc(sizeof(*l));

	if (!l) {
		free_pair(pair);
		return -ENOMEM;
	}
	*l = (struct eventfd_link){
		.base.ops = &eventfd_ops,
		.counter = pair->counter,
		.size = pair->size,
		.wake = pair->fd[1 - side],
		.wait = pair->fd[side],
		.tx = { .shared = &pair->counter[side], .data = data + side * pair->size,
			.size = pair->size },
		.rx = { .shared = &pair->counter[1 - side],
			.data = data + (1 - side) * pair->size, .size = pair->size },
	};
	free(pair);
	*ret = &l->base;
	return 0;
}

const struct baseline base_eventfd = {
	.name = "eventfd",
	.what = "shared memory, each message announced through an eventfd (rtt only)",
	.tests = PERF_RTT,
	.open = open_pair,
	.end = end_pair,
};
