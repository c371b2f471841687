/* SPDX-License-Identifier: MIT */
/*
 * The histogram beside the values themselves: every quantile within one bucket's width of the one
 * that sorting finds, at any magnitude.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/perf/hist.h"

#define VALUES 20000u

static struct hist h;
static uint64_t values[VALUES];

static int empty(void **state)
{
	memset(&h, 0, sizeof(h));
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void expect_near(double share)
{
	size_t rank = (size_t)(share * VALUES);
	double want = (double)values[rank < VALUES ? rank : VALUES - 1];
	double got = hist_quantile(&h, share);

	assert_true(got >= want - want / HIST_SUB && got <= want + want / HIST_SUB);
}

/* A heavy tail, as latencies have: from 1 ns to 2^39 ns. */
static void test_quantiles(void **state)
{
	uint64_t x = 1;

	for (size_t i = 0; i < VALUES; i++) {
		x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		values[i] = (x >> 20) >> ((x >> 8) % 44 + 5);
		hist_add(&h, values[i]);
	}
	qsort(values, VALUES, sizeof(values[0]), compare);
	for (unsigned int permille = 0; permille <= 1000; permille++)
		expect_near(permille / 1000.0);
	assert_int_equal(h.count, VALUES);
	assert_int_equal(h.max, values[VALUES - 1]);
}

static void test_edges(void **state)
{
	assert_int_equal((int)hist_quantile(&h, 0.5), 0); /* of nothing */
	hist_add(&h, 0);
	assert_int_equal((int)hist_quantile(&h, 0.5), 0);
	for (uint64_t v = 1; v < HIST_SUB; v++)
		hist_add(&h, v); /* small values are exact */
	for (unsigned int v = 0; v < HIST_SUB; v++)
		assert_int_equal((int)hist_quantile(&h, (double)v / HIST_SUB), (int)v);
}

/* Beyond the last bucket the maximum stays exact, and no quantile is beyond it. */
static void test_overflow(void **state)
{
	hist_add(&h, UINT64_MAX);
	assert_true(h.max == UINT64_MAX);
	assert_int_equal(h.bucket[HIST_BUCKETS - 1], 1);
	hist_add(&h, 100);
	hist_add(&h, 100);
	assert_true(hist_quantile(&h, 0.5) >= 99 && hist_quantile(&h, 0.5) <= 102);
}

static void test_never_above_max(void **state)
{
	for (unsigned int shift = 6; shift < HIST_MAX_BITS; shift++) {
		empty(NULL);
		hist_add(&h, UINT64_C(1) << shift);
		assert_true(hist_quantile(&h, 1) <= (double)h.max);
		assert_true(hist_quantile(&h, 0) <= (double)h.max);
	}
}

/* Two halves together say what the whole says. */
static void test_merge(void **state)
{
	static struct hist half[2], both;

	memset(half, 0, sizeof(half));
	memset(&both, 0, sizeof(both));
	for (uint64_t v = 1; v < 5000; v++) {
		hist_add(&half[v & 1], v * v);
		hist_add(&h, v * v);
	}
	hist_merge(&both, &half[0]);
	hist_merge(&both, &half[1]);
	assert_memory_equal(&both, &h, sizeof(h));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_quantiles, empty),
		cmocka_unit_test_setup(test_edges, empty),
		cmocka_unit_test_setup(test_overflow, empty),
		cmocka_unit_test_setup(test_never_above_max, empty),
		cmocka_unit_test_setup(test_merge, empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
