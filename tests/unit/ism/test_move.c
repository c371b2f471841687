/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake.h"
#include "ism/dev.h"

#define TOKEN UINT64_C(0x123400000000)

static struct fake f;
static struct ism_dev *dev;
static struct ism_dmb *dmb;
static uint8_t src[256 * 1024];

static int setup(void **state)
{
	static const struct ism_handler handler;
	const struct ism_params params = { .handler = &handler, .skip_selftest = true };

	fake_init(&f);
	assert_int_equal(ism_open(fake_open(&f), &params, &dev), 0);
	assert_int_equal(ism_register_dmb(dev, FAKE_GID, 1024 * 1024, NULL, &dmb), 0);
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)(i * 31 + i / 251);
	f.nlog = 0;
	return 0;
}

static int teardown(void **state)
{
	f.nlog = 0;
	ism_close(dev);
	return 0;
}

static int move1(uint64_t token, uint32_t offset, uint32_t len, uint8_t idx, bool sf)
{
	const struct ism_move m = { .token = token, .offset = offset, .len = len, .data = src,
		.idx = idx, .sf = sf };
	size_t done = 99;
	int r = ism_move_data(dev, &m, 1, &done);

	assert_int_equal(done, r == 0);
	return r;
}

static void assert_piece(size_t n, uint64_t offset, uint16_t len)
{
	const struct fake_op *op = fake_nth(&f, 'S', n);

	assert_int_equal(op->pcias, 0);
	assert_true(op->offset == offset);
	assert_int_equal(op->len, len);
}

static void test_address(void **state)
{
	assert_int_equal(move1(TOKEN, 0x1ff0, 16, 0, true), 0);
	assert_int_equal(fake_count(&f, 'S'), 1);
	assert_piece(0, UINT64_C(0x123400801ff0), 16);
	f.nlog = 0;
	assert_int_equal(move1(TOKEN, 0x1ff0, 17, 0, true), 0);
	assert_int_equal(fake_count(&f, 'S'), 2);
	assert_piece(0, UINT64_C(0x123400001ff0), 16);
	assert_piece(1, UINT64_C(0x123400802000), 1);
	f.nlog = 0;
	assert_int_equal(move1(TOKEN, 8, 8, 15, false), 0);
	assert_piece(0, UINT64_C(0x12340f000008), 8);
}

static void test_split(void **state)
{
	assert_int_equal(move1(TOKEN, 5000, 10000, 0, true), 0);
	assert_int_equal(fake_count(&f, 'S'), 3);
	assert_piece(0, TOKEN | 5000, 3192);
	assert_piece(1, TOKEN | 8192, 4096);
	assert_piece(2, TOKEN | 0x800000 | 12288, 2712);
	assert_memory_equal((uint8_t *)dmb->va + 5000, src, 10000);
	assert_int_equal(((uint8_t *)dmb->va)[4999], 0);
	assert_int_equal(((uint8_t *)dmb->va)[15000], 0);
	assert_int_equal(ism_counters(dev)->moves, 3);
	assert_int_equal(ism_counters(dev)->move_bytes, 10000);
}

static void test_split_at_max_store(void **state)
{
	f.z->caps.max_store = 1000;
	assert_int_equal(move1(TOKEN, 3000, 3000, 0, true), 0);
	assert_int_equal(fake_count(&f, 'S'), 4);
	assert_piece(0, TOKEN | 3000, 1000);
	assert_piece(1, TOKEN | 4000, 96);
	assert_piece(2, TOKEN | 4096, 1000);
	assert_piece(3, TOKEN | 0x800000 | 5096, 904);
	assert_memory_equal((uint8_t *)dmb->va + 3000, src, 3000);
}

static void test_every_short_length(void **state)
{
	for (uint32_t len = 1; len <= 4097; len++) {
		uint32_t offset = 4096 * 3 + len * 7 % 4096;

		f.nlog = 0;
		assert_int_equal(move1(TOKEN, offset, len, 0, false), 0);
		assert_memory_equal((uint8_t *)dmb->va + offset, src, len);
	}
}

static void test_refusals(void **state)
{
	static const struct {
		uint64_t token;
		uint32_t offset, len;
		uint8_t idx;
	} bad[] = {
		{ TOKEN, 0, 0, 0 },
		{ TOKEN | 1, 0, 8, 0 },
		{ TOKEN | 0x400000, 0, 8, 0 },
		{ TOKEN | 0x800000, 0, 8, 0 },
		{ UINT64_C(1) << 48, 0, 8, 0 },
		{ UINT64_MAX, 0, 8, 0 },
		{ TOKEN, 0, 8, 16 },
		{ TOKEN, 0, 8, 255 },
		{ TOKEN | 0x1000000, 0, 8, 1 },
		{ TOKEN | 0x8000000, 0, 8, 8 },
		{ TOKEN, 0x7ffff8, 9, 0 },
		{ TOKEN, 0x800000, 1, 0 },
		{ TOKEN, UINT32_MAX, 1, 0 },
		{ TOKEN, 1, UINT32_MAX, 0 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(move1(bad[i].token, bad[i].offset, bad[i].len, bad[i].idx, true),
			-EINVAL);
	assert_int_equal(f.nlog, 0);
	/* Good at the edge: what the device says then is the device's business. */
	assert_int_equal(move1(TOKEN, 0x7ffff8, 8, 0, false), -EIO);
	assert_int_equal(move1(TOKEN | 0x10000000, 0, 8, 15, false), -EIO);
	assert_int_equal(fake_count(&f, 'S'), 2);
	/* A function with a shorter window. */
	f.z->caps.bar_size[0] = UINT64_C(1) << 40;
	f.nlog = 0;
	assert_int_equal(move1(TOKEN, 0, 8, 0, false), -EINVAL);
	assert_int_equal(f.nlog, 0);
}

/* Payload and the control message behind it leave in one submission, in order. */
static void test_batch(void **state)
{
	const struct ism_move v[3] = {
		{ .token = TOKEN, .offset = 4000, .len = 200, .data = src },
		{ .token = TOKEN, .offset = 0, .len = 48, .data = src + 200, .sf = true },
		{ .token = TOKEN, .offset = 64, .len = 8, .data = src + 248 },
	};
	uint64_t batches = zpci_counters(f.z)->batches;
	size_t done = 0;

	assert_int_equal(ism_move_data(dev, v, 3, &done), 0);
	assert_int_equal(done, 3);
	assert_int_equal(zpci_counters(f.z)->batches, batches + 1);
	assert_int_equal(fake_count(&f, 'S'), 4);
	assert_piece(0, TOKEN | 4000, 96);
	assert_piece(1, TOKEN | 4096, 104);
	assert_piece(2, TOKEN | 0x800000, 48);
	assert_piece(3, TOKEN | 64, 8);
	assert_int_equal(ism_move_data(dev, v, 0, &done), 0);
	assert_int_equal(done, 0);
	assert_int_equal(zpci_counters(f.z)->batches, batches + 1);
}

static void test_more_than_a_batch(void **state)
{
	struct ism_move v[70];
	uint64_t batches = zpci_counters(f.z)->batches;
	size_t done = 0;

	for (size_t i = 0; i < 70; i++)
		v[i] = (struct ism_move){ .token = TOKEN, .offset = (uint32_t)(4096 * i + 4095),
			.len = 2, .data = src + i, .sf = true };
	assert_int_equal(ism_move_data(dev, v, 70, &done), 0);
	assert_int_equal(done, 70);
	assert_int_equal(fake_count(&f, 'S'), 140);
	assert_int_equal(zpci_counters(f.z)->batches, batches + 3);
	for (size_t i = 0; i < 140; i++)
		assert_int_equal(!!(fake_nth(&f, 'S', i)->offset & 0x800000), i % 2);
}

/* At every piece: nothing after it is stored, and only whole moves count. */
static void test_first_failure_stops(void **state)
{
	const struct ism_move v[3] = {
		{ .token = TOKEN, .offset = 0, .len = 16, .data = src },
		{ .token = TOKEN, .offset = 5000, .len = 10000, .data = src, .sf = true },
		{ .token = TOKEN, .offset = 64, .len = 8, .data = src },
	};
	static const size_t whole[] = { 0, 1, 1, 1, 2 };

	for (long at = 0; at < 5; at++) {
		uint64_t errors = ism_counters(dev)->move_errors;
		size_t done = 99;

		f.nlog = 0;
		f.fail_store = at;
		assert_int_equal(ism_move_data(dev, v, 3, &done), -EIO);
		assert_int_equal(done, whole[at]);
		assert_int_equal(fake_count(&f, 'S'), at + 1);
		assert_int_equal(ism_counters(dev)->move_errors, errors + 1);
	}
}

static void test_failure_in_second_batch(void **state)
{
	const struct ism_move v[2] = {
		{ .token = TOKEN, .offset = 0, .len = 63 * 4096, .data = src },
		/* Its first piece ends the first batch. */
		{ .token = TOKEN, .offset = 0, .len = 2 * 4096, .data = src },
	};
	size_t done;

	f.fail_store = 64;
	assert_int_equal(ism_move_data(dev, v, 2, &done), -EIO);
	assert_int_equal(done, 1);
	assert_int_equal(fake_count(&f, 'S'), 65);
}

/* What stands before a move that cannot be right is executed, what stands behind it is not. */
static void test_invalid_in_the_middle(void **state)
{
	const struct ism_move v[3] = {
		{ .token = TOKEN, .offset = 0, .len = 16, .data = src },
		{ .token = TOKEN + 1, .offset = 0, .len = 16, .data = src },
		{ .token = TOKEN, .offset = 64, .len = 8, .data = src },
	};
	size_t done;

	assert_int_equal(ism_move_data(dev, v, 3, &done), -EINVAL);
	assert_int_equal(done, 1);
	assert_int_equal(fake_count(&f, 'S'), 1);
	f.fail_store = 0;
	assert_int_equal(ism_move_data(dev, v, 3, &done), -EIO);
	assert_int_equal(done, 0);
}

static void test_gone(void **state)
{
	f.error = -ETIMEDOUT;
	f.fail_store = 0;
	assert_int_equal(move1(TOKEN, 0, 8, 0, false), -ENODEV);
	f.nlog = 0;
	assert_int_equal(move1(TOKEN, 0, 8, 0, false), -ENODEV);
	assert_int_equal(f.nlog, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split, setup, teardown),
		cmocka_unit_test_setup_teardown(test_split_at_max_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_short_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_more_than_a_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_failure_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure_in_second_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_invalid_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	};

	return cmocka_run_group_tests_name("ism move", tests, NULL, NULL);
}
