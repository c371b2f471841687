/* SPDX-License-Identifier: MIT */
/* What several runs say together, and which of them count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/perf/stat.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_spread(void **state)
{
	double odd[] = { 5, 1, 4, 2, 3 }, even[] = { 4, 1, 3, 2 }, one[] = { 7 };
	struct spread s = stat_spread(odd, 5);

	assert_float_equal(s.median, 3, 0);
	assert_float_equal(s.min, 1, 0);
	assert_float_equal(s.max, 5, 0);
	assert_float_equal(s.quartile, 2, 0);
	s = stat_spread(even, 4);
	assert_float_equal(s.median, 2.5, 0);
	assert_float_equal(s.quartile, 1, 0);
	s = stat_spread(one, 1);
	assert_float_equal(s.median, 7, 0);
	assert_float_equal(s.quartile, 7, 0);
	s = stat_spread(NULL, 0);
	assert_float_equal(s.median, 0, 0);
}

static void test_ratio(void **state)
{
	assert_float_equal(stat_ratio(3, 2), 1.5, 0);
	assert_float_equal(stat_ratio(3, 0), 0, 0);
}

static void test_placement(void **state)
{
	const double still[] = { 300, 320, 310 }, moved[] = { 300, 310, 91 }, none[] = { 0, 0 };
	const double partly[] = { 0, 100, 120 }, edge[] = { 100, 130 }, beyond[] = { 100, 131 };

	assert_float_equal(stat_placement(still, 3), 310, 1e-9);
	assert_true(stat_placement(moved, 3) < 0);
	assert_float_equal(stat_placement(none, 2), 0, 0);
	assert_float_equal(stat_placement(partly, 3), 110, 1e-9);
	assert_float_equal(stat_placement(edge, 2), 115, 1e-9);
	assert_true(stat_placement(beyond, 2) < 0);
}

static void expect(const double *placement, unsigned int n, double reference, const char *counts)
{
	bool got[16];
	unsigned int sum = 0, want = stat_choose(placement, n, reference, got);

	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(got[i], counts[i] == 'y');
		sum += got[i];
	}
	assert_int_equal(want, sum);
}

static void test_choose(void **state)
{
	const double two[] = { 310, 92, 305, 90, 95, 330, 315 };
	const double moved[] = { -1, 92, -1, 95 };
	const double all_moved[] = { -1, -1 };
	const double one_core[] = { 0, 0, 0 };

	expect(two, N(two), 0, "ynynnyy"); /* the commoner one */
	expect(two, N(two), 90, "nynyynn"); /* the one asked for */
	expect(two, N(two), 1000, "nnnnnnn");
	expect(moved, N(moved), 0, "nyny");
	expect(all_moved, N(all_moved), 0, "nn");
	expect(all_moved, N(all_moved), 100, "nn");
	expect(one_core, N(one_core), 0, "yyy");
	expect(one_core, N(one_core), 300, "yyy");
	expect(NULL, 0, 0, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_ratio),
		cmocka_unit_test(test_placement),
		cmocka_unit_test(test_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
