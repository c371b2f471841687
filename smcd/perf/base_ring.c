/* SPDX-License-Identifier: MIT */
/*
 * base_ring.c - a raw ring in memory that two processes share, both looking all the time
 *
 * Nothing is checked, nobody may sleep or die: the physical limit. How it is best copied depends on
 * processor and size, so there are variants, of which the fastest is chosen by measuring.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "smcd/perf/baseline.h"
#include "smcd/perf/ring.h"
#include "vfio/base/far.h"

#define RING_MAX (1u << 20)

static const struct {
	const char *name;
	void (*in)(void *dst, const void *src, size_t len);
	void (*out)(void *dst, const void *src, size_t len);
	size_t size;
	size_t chunk; /* published at once, so that the reader begins early */
	bool room;    /* the reader makes room behind itself */
} variants[] = {
	{ "libc, 256K, by 16K", ring_copy_libc, ring_copy_libc, 256u << 10, 16u << 10, false },
	{ "string, 256K, by 16K", ring_copy_string, ring_copy_string, 256u << 10, 16u << 10, false },
	{ "libc/string, 256K, by 16K", ring_copy_libc, ring_copy_string, 256u << 10, 16u << 10, false },
	{ "libc, 1M, by 64K", ring_copy_libc, ring_copy_libc, 1u << 20, 64u << 10, false },
	{ "string, 1M, by 64K", ring_copy_string, ring_copy_string, 1u << 20, 64u << 10, false },
	{ "string, 1M, by 16K", ring_copy_string, ring_copy_string, 1u << 20, 16u << 10, false },
	{ "lines/fetch, 1M, by 64K", ring_copy_lines, far_fetch, 1u << 20, 64u << 10, false },
	{ "lines/fetch, 1M, by 16K", ring_copy_lines, far_fetch, 1u << 20, 16u << 10, false },
	{ "lines/fetch, 1M, by 64K, room", ring_copy_lines, far_fetch, 1u << 20, 64u << 10, true },
	{ "far/libc, 256K, by 16K", ring_copy_far, ring_copy_libc, 256u << 10, 16u << 10, false },
	{ "far/libc, 1M, by 64K", ring_copy_far, ring_copy_libc, 1u << 20, 64u << 10, false },
	{ "far/string, 1M, by 16K", ring_copy_far, ring_copy_string, 1u << 20, 16u << 10, false },
	{ "half/libc, 256K, by 16K", ring_copy_half, ring_copy_libc, 256u << 10, 16u << 10, false },
	{ "half/libc, 1M, by 16K", ring_copy_half, ring_copy_libc, 1u << 20, 16u << 10, false },
};

#define VARIANTS (sizeof(variants) / sizeof(variants[0]))

struct ring_pair {
	struct ring_shared counter[2]; /* by the writing side */
	_Alignas(RING_LINE) _Atomic uint32_t variant;
	_Atomic uint32_t one_core;
	_Alignas(RING_LINE) uint8_t data[2][RING_MAX];
};

struct ring_link {
	struct link base;
	struct ring_pair *pair;
	struct ring tx, rx;
	uint32_t variant;
	size_t chunk;
};

static struct ring_link *self(struct link *l)
{
	return (struct ring_link *)(void *)l;
}

static void use_variant(struct ring_link *l, uint32_t i)
{
	l->variant = i;
	l->chunk = variants[i].chunk;
	l->tx.size = l->rx.size = variants[i].size;
	/* What was seen last may be farther back than a smaller ring reaches. */
	l->tx.peer = atomic_load_explicit(&l->tx.shared->tail, memory_order_acquire);
	l->tx.copy = variants[i].in;
	l->rx.copy = variants[i].out;
	l->rx.room = variants[i].room;
}

/* It changes only while nothing is under way, and before the next byte. */
static void follow_variant(struct ring_link *l)
{
	uint32_t i = atomic_load_explicit(&l->pair->variant, memory_order_relaxed);

	if (i != l->variant)
		use_variant(l, i % VARIANTS);
}

/* A look after a look that found nothing. */
static void relax(const struct ring_link *l)
{
	if (atomic_load_explicit(&l->pair->one_core, memory_order_relaxed))
		sched_yield();
#ifdef __x86_64__
	else
		__builtin_ia32_pause();
#endif
}

static int ring_link_reserve(struct link *base, void **p, size_t *len)
{
	struct ring_link *l = self(base);

	follow_variant(l);
	while (!(*len = ring_space(&l->tx, p)))
		relax(l);
	return 0;
}

static int ring_link_commit(struct link *base, size_t len)
{
	ring_wrote(&self(base)->tx, len);
	return 0;
}

/* As the variant copies. */
static size_t ring_link_cached(struct link *base, size_t len)
{
	const struct ring_link *l = self(base);

	if (l->tx.copy == ring_copy_far)
		return 0;
	return l->tx.copy == ring_copy_half ? len / 2 : len;
}

/* The variant is looked up only when there is something, for it was set before that. */
static int ring_link_peek(struct link *base, const void **p, size_t *len)
{
	struct ring_link *l = self(base);

	while (!ring_bytes(&l->rx, p))
		relax(l);
	follow_variant(l);
	*len = ring_bytes(&l->rx, p);
	return 0;
}

static int ring_link_release(struct link *base, size_t len)
{
	ring_read(&self(base)->rx, len);
	return 0;
}

static int ring_link_send(struct link *base, const void *buf, size_t len)
{
	struct ring_link *l = self(base);
	const uint8_t *src = buf;
	size_t n;
	void *p;

	follow_variant(l);
	while (len) {
		while (!(n = ring_space(&l->tx, &p)))
			relax(l);
		n = n < len ? n : len;
		n = n < l->chunk ? n : l->chunk;
		l->tx.copy(p, src, n);
		ring_wrote(&l->tx, n);
		src += n;
		len -= n;
	}
	return 0;
}

static int ring_link_recv(struct link *base, void *buf, size_t len)
{
	struct ring_link *l = self(base);
	uint8_t *dst = buf;
	const void *p;
	size_t n;

	while (len) {
		ring_link_peek(base, &p, &n);
		n = n < len ? n : len;
		l->rx.copy(dst, p, n);
		ring_read(&l->rx, n);
		dst += n;
		len -= n;
	}
	return 0;
}

static void ring_link_set_variant(struct link *base, unsigned int i)
{
	struct ring_link *l = self(base);

	use_variant(l, i);
	atomic_store_explicit(&l->pair->variant, i, memory_order_relaxed);
}

static void ring_link_close(struct link *base)
{
	munmap(self(base)->pair, sizeof(struct ring_pair));
	free(base);
}

static const struct link_ops ring_link_ops = {
	.send = ring_link_send,
	.recv = ring_link_recv,
	.reserve = ring_link_reserve,
	.commit = ring_link_commit,
	.cached = ring_link_cached,
	.peek = ring_link_peek,
	.release = ring_link_release,
	.set_variant = ring_link_set_variant,
	.close = ring_link_close,
};

static int open_pair(const struct base_params *p, void **shared)
{
	struct ring_pair *pair = mmap(NULL, sizeof(*pair), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (pair == MAP_FAILED)
		return -errno;
	pair->one_core = p->cores == 1;
	*shared = pair;
	return 0;
}

static int end_pair(void *shared, unsigned int side, struct link **ret)
{
	struct ring_pair *pair = shared;
	struct ring_link *l = aligned_alloc(RING_LINE,
		(sizeof(*l) + RING_LINE - 1) / RING_LINE * RING_LINE);

	if (!l) {
		munmap(pair, sizeof(*pair));
		return -ENOMEM;
	}
	*l = (struct ring_link){
		.base.ops = &ring_link_ops,
		.pair = pair,
		.tx = { .shared = &pair->counter[side], .data = pair->data[side] },
		.rx = { .shared = &pair->counter[1 - side], .data = pair->data[1 - side] },
	};
	use_variant(l, 0);
	*ret = &l->base;
	return 0;
}

static const char *variant_name(unsigned int i)
{
	return variants[i].name;
}

const struct baseline base_ring = {
	.name = "ring",
	.what = "raw ring in shared memory, both sides spinning: the physical limit",
	.tests = PERF_RTT | PERF_STREAM | PERF_BIDI,
	.nr_variants = VARIANTS,
	.variant = variant_name,
	.open = open_pair,
	.end = end_pair,
};
