/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/arena.h"
#include "vfio/base/fd.h"
#include "vfio/zpci.h"

#define KIB 1024u
#define MIB (1024u * KIB)

/* Whoever maps for the device. */
static struct host {
	struct {
		uint8_t *va;
		uint64_t iova;
		size_t len;
	} map[80];
	unsigned int n;	       /* there now */
	unsigned int maps, unmaps;
	uint64_t next;
	int map_error, unmap_error;
} host;

static struct arenas as;

static int host_map(void *ctx, void *va, size_t len, int fd, uint64_t *iova)
{
	struct host *h = ctx;

	assert_int_equal(len & (len - 1), 0);
	assert_int_equal(fd_check_sealed(fd, len), 0);
	for (size_t i = 0; i < len; i += 4096)
		assert_int_equal(((uint8_t *)va)[i], 0);
	h->maps++;
	if (h->map_error)
		return h->map_error;
	h->next = (h->next + len - 1) & ~(uint64_t)(len - 1);
	assert_true(h->n < 80);
	h->map[h->n].va = va;
	h->map[h->n].len = len;
	*iova = h->map[h->n++].iova = h->next;
	h->next += len;
	return 0;
}

static int host_unmap(void *ctx, uint64_t iova, size_t len)
{
	struct host *h = ctx;
	unsigned int i = 0;

	h->unmaps++;
	if (h->unmap_error)
		return h->unmap_error;
	while (i < h->n && (h->map[i].iova != iova || h->map[i].len != len))
		i++;
	assert_true(i < h->n);
	h->map[i] = h->map[--h->n];
	return 0;
}

static const struct arena_ops ops = { .map = host_map, .unmap = host_unmap };

static int setup(void **state)
{
	host = (struct host){ .next = UINT64_C(0x100000000) };
	arenas_init(&as, &ops, &host);
	return 0;
}

static int teardown(void **state)
{
	arenas_fini(&as, true);
	return 0;
}

/* Where the device finds @b, it finds what is written here; and as aligned as it has to be. */
static void check_block(const struct arena_block *b, size_t size)
{
	size_t align = 4096;
	unsigned int i = 0;

	while (align < size)
		align *= 2;
	assert_int_equal(b->size, (size + 4095) / 4096 * 4096);
	assert_int_equal(b->iova % align, 0);
	assert_int_equal((uintptr_t)b->va % align, 0);
	while (i < host.n && (b->iova < host.map[i].iova ||
		b->iova + b->size > host.map[i].iova + host.map[i].len))
		i++;
	assert_true(i < host.n);
	assert_ptr_equal((uint8_t *)b->va, host.map[i].va + (b->iova - host.map[i].iova));
	for (size_t k = 0; k < b->size; k++)
		if (((uint8_t *)b->va)[k])
			fail_msg("byte %zu is not zero", k);
}

static struct arena_block get(size_t size)
{
	struct arena_block b = { 0 };

	assert_int_equal(arena_get(&as, size, &b), 0);
	check_block(&b, size);
	return b;
}

static void put(struct arena_block *b)
{
	memset(b->va, 0xee, b->size);
	assert_int_equal(arena_put(&as, b), 0);
	assert_null(b->va);
}

/* All that a function has of its own, and links: one map. */
static void test_one_map(void **state)
{
	struct arena_block transfer = get(65 * 4096), slots = get(64 * KIB), pages = get(8192);
	struct arena_block link[10];

	for (int i = 0; i < 10; i++)
		link[i] = get(64 * KIB);
	assert_int_equal(host.maps, 1);
	assert_int_equal(as.size, ARENA_SIZE);
	/* Small ones fill the holes that alignment left. */
	assert_true(pages.iova > transfer.iova && pages.iova < slots.iova);
	for (int i = 0; i < 10; i++)
		put(&link[i]);
	put(&pages);
	put(&slots);
	put(&transfer);
	/* The first arena stays, and is whole again. */
	assert_int_equal(host.unmaps, 0);
	transfer = get(MIB);
	assert_int_equal(host.maps, 1);
	put(&transfer);
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = { 1, 4095, 4096, 4097, 16 * KIB, 65 * 4096, MIB - 1, MIB,
		MIB + 1, 5 * MIB };
	struct arena_block b = { 0 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		b = get(sizes[i]);
		put(&b);
	}
	assert_int_equal(host.n, 1);
	assert_int_equal(as.size, ARENA_SIZE);
	assert_int_equal(arena_get(&as, 0, &b), -EINVAL);
	assert_int_equal(arena_get(&as, ARENAS_MAX + 1, &b), -EINVAL);
	assert_int_equal(arena_put(&as, &b), 0); /* none */
}

/* What had others beside it is zero for the next one, and theirs are untouched. */
static void test_reuse(void **state)
{
	struct arena_block a = get(16 * KIB), b = get(16 * KIB), c = get(16 * KIB), again;
	uint64_t iova = b.iova;

	memset(a.va, 1, a.size);
	memset(c.va, 3, c.size);
	put(&b);
	again = get(16 * KIB);
	assert_true(again.iova == iova);
	assert_int_equal(((uint8_t *)a.va)[a.size - 1], 1);
	assert_int_equal(((uint8_t *)c.va)[0], 3);
	/* Given back once; not in part, and not what never was one. */
	b = a;
	put(&a);
	assert_int_equal(arena_put(&as, &b), -EINVAL);
	b = (struct arena_block){ .va = c.va, .size = 4096, .iova = 4096 };
	assert_int_equal(arena_put(&as, &b), -EINVAL);
	put(&c);
	put(&again);
}

/* Room enough, but no place that is aligned: a second arena, which goes with the last block. */
static void test_fragments(void **state)
{
	struct arena_block part[64], large, small;

	for (int i = 0; i < 64; i++)
		part[i] = get(16 * KIB);
	for (int i = 0; i < 64; i += 2)
		put(&part[i]);
	assert_int_equal(host.maps, 1);
	large = get(32 * KIB);
	assert_int_equal(host.maps, 2);
	small = get(16 * KIB); /* into the first */
	put(&small);
	assert_int_equal(host.unmaps, 0);
	put(&large);
	assert_int_equal(host.unmaps, 1);
	assert_int_equal(as.size, ARENA_SIZE);
	for (int i = 1; i < 64; i += 2)
		put(&part[i]);
	large = get(MIB);
	assert_int_equal(host.maps, 2);
	put(&large);
}

/* As many as there may be, and not one more; then all comes back. */
static void test_limit(void **state)
{
	static struct arena_block b[ARENAS_MAX / (512 * KIB)];
	struct arena_block none = { 0 };
	const unsigned int n = sizeof(b) / sizeof(b[0]);

	for (unsigned int i = 0; i < n; i++)
		b[i] = get(512 * KIB);
	assert_int_equal(host.n, n / 2);
	assert_int_equal(as.size, ARENAS_MAX);
	assert_int_equal(arena_get(&as, 4096, &none), -ENOMEM);
	assert_null(none.va);
	assert_int_equal(host.maps, n / 2);
	put(&b[n - 1]);
	b[n - 1] = get(512 * KIB);
	for (unsigned int i = 0; i < n; i++)
		put(&b[i]);
	assert_int_equal(host.n, 1);
	assert_int_equal(as.size, ARENA_SIZE);
}

/* A host that maps no more, and one that does not let go. */
static void test_refusals(void **state)
{
	struct arena_block first = get(MIB), b = { 0 };

	host.map_error = -ENOMEM;
	assert_int_equal(arena_get(&as, 4096, &b), -ENOMEM);
	host.map_error = -ENOSPC;
	assert_int_equal(arena_get(&as, 4096, &b), -ENOSPC);
	assert_null(b.va);
	assert_int_equal(as.size, ARENA_SIZE);
	host.map_error = 0;
	b = get(4096);
	host.unmap_error = -EIO;
	memset(b.va, 0xee, b.size);
	assert_int_equal(arena_put(&as, &b), -EIO);
	assert_null(b.va);
	/* Still mapped, so it still serves. */
	assert_int_equal(as.size, 2 * ARENA_SIZE);
	host.unmap_error = 0;
	b = get(4096);
	assert_int_equal(host.n, 2);
	put(&b);
	assert_int_equal(host.n, 1);
	put(&first);
}

/* Random blocks, each filled with its own number: none touches another, and all comes back. */
static void test_model(void **state)
{
	enum { LIVE = 200 };
	static struct arena_block live[LIVE];
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		unsigned int i;
		size_t size;

		seed = seed * 1103515245 + 12345;
		i = (seed >> 8) % LIVE;
		size = (size_t)4096 << (seed >> 20) % 7;
		if ((seed >> 28) & 1)
			size -= 4096 * ((seed >> 24) % 2) * (size > 4096);
		if (!live[i].va) {
			assert_int_equal(arena_get(&as, size, &live[i]), 0);
			assert_int_equal(((uint8_t *)live[i].va)[size - 1], 0);
			memset(live[i].va, (int)(i + 1), live[i].size);
			continue;
		}
		for (size_t k = 0; k < live[i].size; k += 1024)
			assert_int_equal(((uint8_t *)live[i].va)[k], (uint8_t)(i + 1));
		assert_int_equal(arena_put(&as, &live[i]), 0);
	}
	for (unsigned int i = 0; i < LIVE; i++)
		assert_int_equal(arena_put(&as, &live[i]), 0);
	assert_int_equal(host.n, 1);
	live[0] = get(MIB);
	put(&live[0]);
}

/* ---- through the door -------------------------------------------------------------------------- */

static void door_close(struct zpci *z)
{
}

static int door_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset, uint64_t *iova)
{
	assert_int_equal(fd_offset, 0);
	return host_map(&host, va, len, fd, iova);
}

static int door_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	return host_unmap(&host, iova, len);
}

static const struct zpci_ops door_ops = { .dma_map = door_map, .dma_unmap = door_unmap,
	.close = door_close };

/*
 * By the file's name: something else may be at the address by now, as a sanitizer's thread is. Emulators
 * of system calls take any advice and may follow none.
 */
static bool inherited(void *va)
{
	FILE *f = fopen("/proc/self/maps", "re");
	bool found = !f;
	char line[512];

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "memfd:vfio-arena") != NULL;
	if (f)
		fclose(f);
	return found && madvise(va, 4096, 9999) < 0;
}

/* A child has neither the right to it nor the memory, and closing there takes nothing away here. */
static void test_door(void **state)
{
	struct zpci *z = calloc(1, sizeof(*z));
	struct arena_block b = { 0 }, other;
	int status;
	pid_t pid;

	assert_non_null(z);
	zpci_init(z, &door_ops);
	assert_int_equal(zpci_mem_get(z, 8192, &b), 0);
	check_block(&b, 8192);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int bad = zpci_mem_get(z, 4096, &other) != -EPERM ||
			  zpci_mem_put(z, &b) != -EPERM || inherited(b.va);

		zpci_close(z);
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	*(uint8_t *)b.va = 1;
	assert_int_equal(zpci_mem_put(z, &b), 0);
	assert_int_equal(zpci_mem_get(z, MIB, &b), 0);
	assert_int_equal(host.maps, 1);
	assert_null(zpci_close(z)); /* with what was not given back */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_one_map),
		T(test_sizes),
		T(test_reuse),
		T(test_fragments),
		T(test_limit),
		T(test_refusals),
		T(test_model),
		T(test_door),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
