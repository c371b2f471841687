/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/perf/hist.h"

static struct hist h;

static int clear(void **state)
{
	h = (struct hist){ 0 };
	return 0;
}

static void test_empty(void **state)
{
	assert_true(hist_quantile(&h, 0.5) < 1e-9);
}

static void test_small_values_are_exact(void **state)
{
	for (uint64_t v = 1; v <= 100; v++)
		hist_add(&h, v);
	assert_int_equal(hist_quantile(&h, 0), 1);
	assert_int_equal(hist_quantile(&h, 0.5), 51);
	assert_int_equal(h.max, 100);
}

static void test_error_is_bounded(void **state)
{
	for (uint64_t v = 1; v < UINT64_C(1) << HIST_MAX_BITS; v = v * 3 + 1) {
		double q;

		clear(NULL);
		hist_add(&h, v);
		hist_add(&h, UINT64_MAX); /* so that the maximum does not help */
		q = hist_quantile(&h, 0);
		assert_true(q >= (double)v * (1 - 1.0 / HIST_SUB));
		assert_true(q <= (double)v * (1 + 1.0 / HIST_SUB));
	}
}

static void test_tail(void **state)
{
	for (int i = 0; i < 999; i++)
		hist_add(&h, 10);
	hist_add(&h, 1000000);
	assert_int_equal(hist_quantile(&h, 0.99), 10);
	assert_in_range(hist_quantile(&h, 0.999), 980000, 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_empty, clear),
		cmocka_unit_test_setup(test_small_values_are_exact, clear),
		cmocka_unit_test_setup(test_error_is_bounded, clear),
		cmocka_unit_test_setup(test_tail, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
