/* SPDX-License-Identifier: MIT */
/* The door: what is refused before a transport sees it, and what is counted. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/zpci.h"

struct fake {
	struct zpci z; /* first */
	unsigned int loads, stores, maps, others;
	size_t fail_at; /* the store of a batch that fails */
	int error;
};

static bool closed;

static struct fake *fake_of(struct zpci *z)
{
	return (struct fake *)z;
}

static int fake_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len)
{
	fake_of(z)->loads++;
	memset(out, 0x5a, len);
	return fake_of(z)->error;
}

static int fake_store(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done)
{
	struct fake *f = fake_of(z);

	f->stores += (unsigned int)n;
	*done = f->error ? f->fail_at : n;
	return f->error;
}

static int fake_dma_map(struct zpci *z, void *va, size_t len, int fd, uint64_t off, uint64_t *iova)
{
	fake_of(z)->maps++;
	*iova = 1;
	return 0;
}

static int fake_dma_unmap(struct zpci *z, uint64_t iova, size_t len)
{
	return (int)++fake_of(z)->others;
}

static int fake_set_msi(struct zpci *z, int fd)
{
	return (int)++fake_of(z)->others;
}

static int fake_simple(struct zpci *z)
{
	return (int)++fake_of(z)->others;
}

static void fake_close(struct zpci *z)
{
	closed = true;
}

static const struct zpci_ops fake_ops = {
	.load = fake_load,
	.store = fake_store,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
	.set_msi = fake_set_msi,
	.reset = fake_simple,
	.liveness_fd = fake_simple,
	.check = fake_simple,
	.close = fake_close,
};

static int setup(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));

	zpci_init(&f->z, &fake_ops);
	f->z.caps.max_store = 2048;
	f->z.caps.bar_size[0] = UINT64_C(1) << 48;
	f->z.caps.bar_size[2] = 256;
	*state = f;
	closed = false;
	return 0;
}

static int teardown(void **state)
{
	struct fake *f = *state;

	zpci_close(&f->z);
	return closed ? 0 : -1;
}

static void test_store_checks(void **state)
{
	static const uint64_t top = UINT64_C(1) << 48;
	static const struct {
		uint8_t pcias;
		uint64_t offset;
		uint16_t len;
		int ret;
	} t[] = {
		{ 0, 0, 0, -EINVAL },
		{ 0, 0, 1, 0 },
		{ 0, 0, 2048, 0 },
		{ 0, 0, 2049, -EINVAL }, /* longer than the function takes */
		{ 0, 4095, 1, 0 },
		{ 0, 4095, 2, -EINVAL }, /* crosses a 4 KiB line */
		{ 0, 0x1ff0, 16, 0 },
		{ 0, 0x1ff0, 17, -EINVAL },
		{ 0, 2048, 2048, 0 },
		{ 0, 2049, 2048, -EINVAL },
		{ 0, top - 8, 8, 0 },
		{ 0, top - 1, 2, -EINVAL },
		{ 0, top, 1, -EINVAL },
		{ 0, UINT64_MAX, 1, -EINVAL },
		{ 2, 248, 8, 0 },
		{ 2, 249, 8, -EINVAL }, /* behind the BAR's end */
		{ 2, 256, 1, -EINVAL },
		{ 1, 0, 1, -EINVAL }, /* not implemented */
		{ 5, 0, 1, -EINVAL },
		{ 6, 0, 1, -EINVAL },
		{ 15, 0, 1, -EINVAL }, /* configuration space is not for instructions */
		{ 255, 0, 1, -EINVAL },
	};
	struct fake *f = *state;
	uint8_t data[4096];
	unsigned int accepted = 0;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(
			zpci_store_block(&f->z, t[i].pcias, t[i].offset, data, t[i].len), t[i].ret);
		accepted += t[i].ret == 0;
		assert_int_equal(f->stores, accepted);
	}
	assert_int_equal(zpci_counters(&f->z)->pcistb, accepted);
	assert_int_equal(zpci_counters(&f->z)->batches, accepted);
	assert_int_equal(zpci_counters(&f->z)->region_errors, 0);
}

/* A BAR larger than the architecture's cannot widen the door. */
static void test_offset_limit(void **state)
{
	struct fake *f = *state;

	f->z.caps.bar_size[0] = UINT64_MAX;
	assert_int_equal(zpci_store_block(&f->z, 0, ZPCI_OFFSET_LIMIT - 1, "x", 1), 0);
	assert_int_equal(zpci_store_block(&f->z, 0, ZPCI_OFFSET_LIMIT, "x", 1), -EINVAL);
}

static void test_load_checks(void **state)
{
	static const struct {
		uint8_t pcias;
		uint64_t offset;
		uint16_t len;
		int ret;
	} t[] = {
		{ 2, 0, 0, -EINVAL }, { 2, 0, 1, 0 },	   { 2, 0, 8, 0 },
		{ 2, 0, 9, -EINVAL }, { 2, 4, 4, 0 },	   { 2, 4, 5, -EINVAL },
		{ 2, 7, 1, 0 },	      { 2, 7, 2, -EINVAL }, { 2, 248, 8, 0 },
		{ 2, 256, 8, -EINVAL }, { 3, 0, 8, -EINVAL }, { 15, 0, 4, -EINVAL },
	};
	struct fake *f = *state;
	uint8_t out[8];
	unsigned int accepted = 0;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(
			zpci_load(&f->z, t[i].pcias, t[i].offset, out, t[i].len), t[i].ret);
		accepted += t[i].ret == 0;
		assert_int_equal(f->loads, accepted);
	}
	assert_int_equal(zpci_counters(&f->z)->pcilg, accepted);
}

static void test_batch_is_checked_whole(void **state)
{
	struct fake *f = *state;
	struct zpci_store v[ZPCI_BATCH_MAX + 1];
	size_t done = 99;

	for (size_t i = 0; i < ZPCI_BATCH_MAX + 1; i++)
		v[i] = (struct zpci_store){ .offset = i * 4096, .data = v, .len = 8 };
	assert_int_equal(zpci_store_blocks(&f->z, v, 0, &done), -EINVAL);
	assert_int_equal(zpci_store_blocks(&f->z, v, ZPCI_BATCH_MAX + 1, &done), -EINVAL);
	v[3].len = 0;
	assert_int_equal(zpci_store_blocks(&f->z, v, 5, &done), -EINVAL);
	assert_int_equal(done, 3);
	assert_int_equal(f->stores, 0);
	assert_int_equal(zpci_counters(&f->z)->pcistb, 0);
	v[3].len = 8;
	assert_int_equal(zpci_store_blocks(&f->z, v, ZPCI_BATCH_MAX, &done), 0);
	assert_int_equal(done, ZPCI_BATCH_MAX);
	assert_int_equal(zpci_counters(&f->z)->pcistb, ZPCI_BATCH_MAX);
	assert_int_equal(zpci_counters(&f->z)->pcistb_bytes, 8 * ZPCI_BATCH_MAX);
	assert_int_equal(zpci_counters(&f->z)->batches, 1);
}

static void test_failures_are_counted(void **state)
{
	struct fake *f = *state;
	const struct zpci_store v[4] = {
		{ .data = v, .len = 1 }, { .data = v, .len = 2 }, { .data = v, .len = 4 },
		{ .data = v, .len = 8 },
	};
	uint8_t out[8];
	size_t done;

	f->error = -EIO;
	f->fail_at = 2;
	assert_int_equal(zpci_store_blocks(&f->z, v, 4, &done), -EIO);
	assert_int_equal(done, 2);
	assert_int_equal(zpci_counters(&f->z)->pcistb, 3); /* the fourth was never asked for */
	assert_int_equal(zpci_counters(&f->z)->pcistb_bytes, 3);
	assert_int_equal(zpci_counters(&f->z)->region_errors, 1);
	assert_int_equal(zpci_load(&f->z, 2, 0, out, 8), -EIO);
	assert_int_equal(zpci_counters(&f->z)->region_errors, 2);
}

static void test_dma_map_checks(void **state)
{
	struct fake *f = *state;
	uint8_t *page = (uint8_t *)UINT64_C(0x10000);
	uint64_t iova = 0;

	assert_int_equal(zpci_dma_map(&f->z, page, 4096, 3, 0, &iova), 0);
	assert_int_equal(iova, 1);
	assert_int_equal(zpci_dma_map(&f->z, NULL, 4096, 3, 0, &iova), -EINVAL);
	assert_int_equal(zpci_dma_map(&f->z, page + 8, 4096, 3, 0, &iova), -EINVAL);
	assert_int_equal(zpci_dma_map(&f->z, page, 0, 3, 0, &iova), -EINVAL);
	assert_int_equal(zpci_dma_map(&f->z, page, 4095, 3, 0, &iova), -EINVAL);
	assert_int_equal(zpci_dma_map(&f->z, page, 4096, 3, 512, &iova), -EINVAL);
	assert_int_equal(
		zpci_dma_map(&f->z, page, SIZE_MAX - 0xffff + 0xf000, 3, 0, &iova), -EINVAL);
	assert_int_equal(f->maps, 1);
}

/* A child is not the submitter, whatever it inherited. */
static void test_fork(void **state)
{
	struct fake *f = *state;
	uint8_t out[8];
	uint64_t iova;
	size_t done;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const struct zpci_store v = { .data = out, .len = 8 };
		int bad = 0;

		bad |= zpci_load(&f->z, 2, 0, out, 8) != -EPERM;
		bad |= zpci_store_blocks(&f->z, &v, 1, &done) != -EPERM;
		bad |= zpci_dma_map(&f->z, (void *)4096, 4096, -1, 0, &iova) != -EPERM;
		bad |= zpci_dma_unmap(&f->z, 0, 4096) != -EPERM;
		bad |= zpci_set_msi(&f->z, -1) != -EPERM;
		bad |= zpci_reset(&f->z) != -EPERM;
		bad |= zpci_check(&f->z) != -EPERM;
		bad |= f->loads || f->stores || f->maps || f->others;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(zpci_load(&f->z, 2, 0, out, 8), 0);
}

static void *other_thread(void *arg)
{
	struct fake *f = arg;
	const struct zpci_store v = { .data = &f, .len = 8 };
	uint8_t out[8];
	size_t done;
	uintptr_t bad = 0;

	bad |= zpci_load(&f->z, 2, 0, out, 8) != -EPERM;
	bad |= zpci_store_blocks(&f->z, &v, 1, &done) != -EPERM || done != 0;
	bad |= zpci_check(&f->z) != -EPERM;
	bad |= f->loads || f->stores || f->others;
	return (void *)bad;
}

/* Nor is another thread; the door that was opened there is not ours. */
static void test_thread(void **state)
{
	struct fake *f = *state;
	pthread_t thread;
	uint8_t out[8];
	void *bad;

	assert_int_equal(pthread_create(&thread, NULL, other_thread, f), 0);
	assert_int_equal(pthread_join(thread, &bad), 0);
	assert_null(bad);
	assert_int_equal(zpci_load(&f->z, 2, 0, out, 8), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_store_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offset_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch_is_checked_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dma_map_checks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(test_thread, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
