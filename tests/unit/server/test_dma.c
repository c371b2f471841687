/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/user/dma.h"

#define PAGE 4096u
#define RW   (VU_DMA_F_READ | VU_DMA_F_WRITE)

static int add(struct dma_table *t, uint64_t addr, uint64_t size, uint64_t offset, uint32_t flags,
	int fd)
{
	const struct vu_dma_map m = { .argsz = sizeof(m), .flags = flags, .offset = offset,
		.addr = addr, .size = size };

	/* The table may keep the descriptor. */
	int own FD_CLEANUP = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return dma_add(t, &m, &own);
}

static int count_mappings(const char *name)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, name) != NULL;
	fclose(f);
	return n;
}

static void test_find(void **state)
{
	int fd FD_CLEANUP = fd_memfd("dma-find", 4 * PAGE);
	struct dma_table t;
	char *p;

	dma_init(&t, 10);
	assert_int_equal(add(&t, 0x10000, 2 * PAGE, PAGE, RW, fd), 0);
	assert_int_equal(pwrite(fd, "hello", 5, PAGE + 8), 5);
	p = dma_find(&t, 0x10008, 5, false);
	assert_memory_equal(p, "hello", 5);
	memcpy(dma_find(&t, 0x11fff, 1, true), "x", 1);
	assert_int_equal(pread(fd, &p, 1, 3 * PAGE - 1), 1);
	assert_int_equal(*(char *)&p, 'x');
	assert_non_null(dma_find(&t, 0x10000, 2 * PAGE, true));
	assert_null(dma_find(&t, 0x10000, 2 * PAGE + 1, true));
	assert_null(dma_find(&t, 0xffff, 1, true));
	assert_null(dma_find(&t, 0xffff, 2, true));
	assert_null(dma_find(&t, 0x12000, 1, true));
	assert_null(dma_find(&t, 0x10000, 0, true));
	assert_null(dma_find(&t, 0x10001, SIZE_MAX, true));
	assert_null(dma_find(&t, 0x11fff, 2, true));
	dma_fini(&t);
	assert_int_equal(t.n_maps + t.n_files, 0);
	assert_int_equal(t.space, 0);
	assert_int_equal(count_mappings("dma-find"), 0);
}

static void test_access_rights(void **state)
{
	int fd FD_CLEANUP = fd_memfd("dma-rights", 4 * PAGE);
	int ro FD_CLEANUP = fd_readonly(fd);
	struct dma_table t;

	dma_init(&t, 10);
	assert_int_equal(add(&t, 0, PAGE, 0, VU_DMA_F_READ, ro), 0);
	assert_int_equal(add(&t, PAGE, PAGE, PAGE, VU_DMA_F_WRITE, ro), -EACCES);
	assert_int_equal(add(&t, PAGE, PAGE, PAGE, VU_DMA_F_WRITE, fd), 0);
	assert_int_equal(add(&t, 2 * PAGE, PAGE, 0, RW, ro), -EACCES); /* though mapped RW by now */
	assert_non_null(dma_find(&t, 0, 1, false));
	assert_null(dma_find(&t, 0, 1, true));
	assert_null(dma_find(&t, PAGE, 1, false));
	assert_non_null(dma_find(&t, PAGE, 1, true));
	dma_fini(&t);
	assert_int_equal(count_mappings("dma-rights"), 0);
}

static void test_refused(void **state)
{
	int fd FD_CLEANUP = fd_memfd("dma-bad", 2 * PAGE);
	int dir FD_CLEANUP = open("/", O_RDONLY | O_CLOEXEC);
	int zero FD_CLEANUP = open("/dev/zero", O_RDWR | O_CLOEXEC);
	int loose FD_CLEANUP = memfd_create("dma-loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct dma_table t;

	assert_int_equal(ftruncate(loose, PAGE), 0);
	dma_init(&t, 10);
	assert_int_equal(add(&t, 0, 0, 0, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE - 1, 0, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 1, PAGE, 0, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 512, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 0, 0, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 0, 4 | RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, 3 * PAGE, 0, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, 2 * PAGE, PAGE, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 2 * PAGE, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, 2 * PAGE, -(uint64_t)PAGE, RW, fd), -EINVAL);
	assert_int_equal(add(&t, -(uint64_t)PAGE, 2 * PAGE, 0, RW, fd), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, dir), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, zero), -EINVAL);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, loose), -EPERM);
	assert_int_equal(t.n_maps + t.n_files, 0);
	t.allow_unsealed = true;
	assert_int_equal(add(&t, 0, PAGE, 0, RW, loose), 0);
	assert_int_equal(add(&t, PAGE, PAGE, PAGE, RW, loose), -EINVAL); /* still within the file */
	assert_int_equal(add(&t, -(uint64_t)PAGE, PAGE, 0, RW, fd), 0); /* the very last page */
	assert_non_null(dma_find(&t, UINT64_MAX, 1, true));
	assert_null(dma_find(&t, UINT64_MAX, 2, true));
	dma_fini(&t);
}

static void test_overlap_and_cuts(void **state)
{
	struct dma_table t;

	dma_init(&t, 10);
	assert_int_equal(add(&t, 10 * PAGE, 4 * PAGE, 0, RW, -1), 0);
	assert_int_equal(add(&t, 13 * PAGE, PAGE, 0, RW, -1), -EEXIST);
	assert_int_equal(add(&t, 9 * PAGE, 2 * PAGE, 0, RW, -1), -EEXIST);
	assert_int_equal(add(&t, 11 * PAGE, PAGE, 0, RW, -1), -EEXIST);
	assert_int_equal(add(&t, 0, 20 * PAGE, 0, RW, -1), -EEXIST);
	assert_int_equal(add(&t, 9 * PAGE, PAGE, 0, RW, -1), 0);
	assert_int_equal(add(&t, 14 * PAGE, PAGE, 0, RW, -1), 0);
	assert_null(dma_find(&t, 10 * PAGE, 1, false)); /* no memory behind it */

	assert_false(dma_cuts(&t, 10 * PAGE, 14 * PAGE - 1));
	assert_false(dma_cuts(&t, 0, UINT64_MAX));
	assert_false(dma_cuts(&t, 0, 9 * PAGE - 1));
	assert_true(dma_cuts(&t, 10 * PAGE, 14 * PAGE - 2));
	assert_true(dma_cuts(&t, 10 * PAGE + 1, 14 * PAGE - 1));
	assert_true(dma_cuts(&t, 0, 10 * PAGE));
	assert_true(dma_cuts(&t, 13 * PAGE, UINT64_MAX));
	assert_true(dma_cuts(&t, 11 * PAGE, 12 * PAGE - 1));
	dma_remove(&t, 10 * PAGE, 14 * PAGE - 1);
	assert_int_equal(t.n_maps, 2);
	dma_fini(&t);
}

/* A file is mapped once; when it has grown, maps made before keep their addresses. */
static void test_shared_file_and_growth(void **state)
{
	int fd FD_CLEANUP = memfd_create("dma-grow", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int again FD_CLEANUP = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct dma_table t;
	char *a, *b;

	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dma_init(&t, 10);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, fd), 0);
	assert_int_equal(add(&t, PAGE, PAGE, PAGE, RW, again), 0);
	assert_int_equal(count_mappings("dma-grow"), 1);
	a = dma_find(&t, 0, 1, true);
	assert_ptr_equal(dma_find(&t, PAGE, 1, true), a + PAGE);
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	assert_int_equal(add(&t, 2 * PAGE, PAGE, 3 * PAGE, RW, fd), 0);
	assert_int_equal(t.n_files, 2);
	assert_ptr_equal(dma_find(&t, 0, 1, true), a);
	assert_int_equal(add(&t, 3 * PAGE, PAGE, 0, RW, fd), 0); /* by the newer mapping */
	assert_int_equal(t.n_files, 2);
	b = dma_find(&t, 3 * PAGE, 1, true);
	a[0] = 'G';
	assert_int_equal(b[0], 'G');
	dma_remove(&t, 0, 2 * PAGE - 1);
	assert_int_equal(t.n_files, 1);
	assert_int_equal(b[0], 'G');
	dma_fini(&t);
	assert_int_equal(count_mappings("dma-grow"), 0);
}

static void test_limits(void **state)
{
	int huge FD_CLEANUP = memfd_create("dma-huge", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct dma_table t;

	assert_int_equal(ftruncate(huge, (off_t)(DMA_MAX_SPACE + PAGE)), 0);
	assert_int_equal(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dma_init(&t, 2);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, huge), -ENOSPC);
	assert_int_equal(add(&t, 0, PAGE, 0, RW, -1), 0);
	assert_int_equal(add(&t, PAGE, PAGE, 0, RW, -1), 0);
	assert_int_equal(add(&t, 2 * PAGE, PAGE, 0, RW, -1), -ENOSPC);
	dma_fini(&t);
	dma_init(&t, DMA_MAX_FILES + 1);
	for (uint64_t i = 0; i <= DMA_MAX_FILES; i++) {
		int fd FD_CLEANUP = fd_memfd("dma-many", PAGE);

		assert_int_equal(add(&t, i * PAGE, PAGE, 0, RW, fd),
			i < DMA_MAX_FILES ? 0 : -ENOSPC);
	}
	dma_fini(&t);
	assert_int_equal(count_mappings("dma-many"), 0);
}

/* Random maps and unmaps against a plain array of pages. */
static void test_model(void **state)
{
	enum { PAGES = 256 };
	int owner[PAGES] = { 0 }; /* number of the map that holds the page; 0: none */
	int fd FD_CLEANUP = fd_memfd("dma-model", PAGES * PAGE);
	struct dma_table t;
	unsigned int seed = 1;

	dma_init(&t, PAGES);
	for (int step = 1; step < 20000; step++) {
		int first = rand_r(&seed) % PAGES, n = 1 + rand_r(&seed) % 16;
		int last = first + n - 1 < PAGES ? first + n - 1 : PAGES - 1;
		uint64_t lo = (uint64_t)first * PAGE, hi = ((uint64_t)last + 1) * PAGE;
		bool any = false, cut;

		for (int i = first; i <= last; i++)
			any = any || owner[i];
		cut = (first && owner[first] && owner[first - 1] == owner[first]) ||
			(last < PAGES - 1 && owner[last] && owner[last + 1] == owner[last]);
		assert_int_equal(dma_any(&t, lo, hi - 1), any);
		assert_int_equal(dma_cuts(&t, lo, hi - 1), cut);
		if (rand_r(&seed) % 2) {
			assert_int_equal(add(&t, lo, hi - lo, lo, RW, fd), any ? -EEXIST : 0);
			for (int i = first; i <= last && !any; i++)
				owner[i] = step;
		} else if (!cut) {
			dma_remove(&t, lo, hi - 1);
			memset(&owner[first], 0, sizeof(owner[0]) * (size_t)(last - first + 1));
		}
		assert_int_equal(dma_find(&t, lo, PAGE, true) != NULL, owner[first] != 0);
	}
	dma_fini(&t);
	assert_int_equal(t.n_files, 0);
}

/* As a guest does it: by the page, downwards, and then one unmap over everything and the holes. */
static void test_many_maps_one_unmap(void **state)
{
	const uint64_t top = UINT64_C(1) << 40;
	int fd FD_CLEANUP = fd_memfd("dma-guest", 16 * PAGE);
	struct rig *r = *state;
	char *p;

	for (uint64_t i = 1; i <= 20000; i++)
		assert_int_equal(rig_map(r, top - i * 2 * PAGE, PAGE, fd, i % 16 * PAGE), 0);
	assert_int_equal(count_mappings("dma-guest"), 1);
	assert_int_equal(rig_map(r, top - 2 * PAGE, PAGE, fd, 0), EEXIST);
	p = vu_conn_dma(r->c, top - 2 * PAGE, PAGE, true);
	assert_ptr_equal(vu_conn_dma(r->c, top - 34 * PAGE, PAGE, true), p);
	assert_null(vu_conn_dma(r->c, top - 2 * PAGE, PAGE + 1, true));
	assert_int_equal(rig_unmap(r, 0, top, 0), 0);
	assert_int_equal(r->unmaps, 1);
	assert_int_equal(r->unmap_iova, 0);
	assert_int_equal(r->unmap_size, top);
	assert_int_equal(count_mappings("dma-guest"), 0);
	assert_null(vu_conn_dma(r->c, top - 2 * PAGE, 1, true));
}

static void test_unmap_rules(void **state)
{
	struct vu_dma_unmap u = { .argsz = sizeof(u), .addr = 0x1000, .size = 0x1000 };
	int fd FD_CLEANUP = fd_memfd("dma-rules", 4 * PAGE);
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rig_map(r, 0x1000, 0x2000, fd, 0), 0);
	assert_int_equal(rig_unmap(r, 0x1000, 0x1000, 0), EINVAL); /* half a map */
	assert_int_equal(rig_unmap(r, 0x2000, 0x5000, 0), EINVAL);
	assert_int_equal(rig_unmap(r, 0x1000, 0, 0), EINVAL);
	assert_int_equal(rig_unmap(r, 0x1000, UINT64_MAX, 0), EINVAL); /* wraps */
	assert_int_equal(rig_unmap(r, 0x1000, 0x2000, 1), EINVAL);     /* dirty bitmap */
	assert_int_equal(rig_unmap(r, 0x1000, 0x2000, VU_UNMAP_F_ALL), EINVAL);
	assert_int_equal(r->unmaps, 0);
	assert_non_null(vu_conn_dma(r->c, 0x1000, 0x2000, true));
	assert_int_equal(rig_unmap(r, 0x8000, 0x1000, 0), 0); /* nothing there: fine */
	assert_int_equal(r->unmaps, 0);
	assert_int_equal(rig_unmap(r, 0, 0, VU_UNMAP_F_ALL), 0);
	assert_int_equal(r->unmaps, 1);
	assert_int_equal(r->unmap_size, UINT64_MAX);
	assert_int_equal(rig_call(r, VU_DMA_UNMAP, &u, sizeof(u), a), 0);
	assert_int_equal(a->len, sizeof(u));
	assert_memory_equal(a->body, &u, sizeof(u)); /* an echo */
	u.argsz--;
	assert_int_equal(rig_call(r, VU_DMA_UNMAP, &u, sizeof(u), a), EINVAL);
	assert_int_equal(rig_unmap(r, 1, UINT64_MAX, 0), 0); /* up to the last byte there is */
	free(a);
}

static void test_map_message(void **state)
{
	struct vu_dma_map m = { .argsz = sizeof(m) - 1, .flags = RW, .size = PAGE };
	int loose FD_CLEANUP = memfd_create("dma-loose", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct rig *r = *state;

	assert_int_equal(rig_call(r, VU_DMA_MAP, &m, sizeof(m), NULL), EINVAL);
	m.argsz = sizeof(m);
	assert_int_equal(rig_call(r, VU_DMA_MAP, &m, sizeof(m), NULL), 0); /* a ROM of QEMU's */
	assert_null(vu_conn_dma(r->c, 0, 1, false));
	assert_int_equal(ftruncate(loose, PAGE), 0);
	assert_int_equal(rig_map(r, PAGE, PAGE, loose, 0), EINVAL);
	vu_conn_allow_unsealed(r->c, true);
	assert_int_equal(rig_map(r, PAGE, PAGE, loose, 0), 0);
	assert_non_null(vu_conn_dma(r->c, PAGE, PAGE, true));
	vu_conn_allow_unsealed(r->c, false);
	assert_int_equal(rig_map(r, 2 * PAGE, PAGE, loose, 0), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_access_rights),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_overlap_and_cuts),
		cmocka_unit_test(test_shared_file_and_growth),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_model),
		cmocka_unit_test_setup_teardown(test_many_maps_one_unmap, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_unmap_rules, rig_setup, rig_teardown),
		cmocka_unit_test_setup_teardown(test_map_message, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
