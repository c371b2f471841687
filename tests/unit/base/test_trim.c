/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Counted instead of done, also where the C library cannot. */
static unsigned int trims;

static int count_trim(size_t pad)
{
	trims++;
	return (int)pad;
}

#undef HAVE_MALLOC_TRIM
#define HAVE_MALLOC_TRIM 1
#define malloc_trim	 count_trim
#include "vfio/base/trim.h"

static int setup(void **state)
{
	trims = 0;
	return 0;
}

/* From @from objects on to @to, one by one. */
static void go(struct trim *t, unsigned int from, unsigned int to)
{
	while (from < to)
		trim_grown(t, ++from);
	while (from > to)
		trim_shrunk(t, --from);
}

/* A handful pays nothing, however often it comes and goes. */
static void test_handful(void **state)
{
	struct trim t = { 0 };

	for (int i = 0; i < 100; i++) {
		go(&t, 0, TRIM_CROWD - 1);
		go(&t, TRIM_CROWD - 1, 0);
	}
	assert_int_equal(trims, 0);
}

static void test_crowd(void **state)
{
	struct trim t = { 0 };

	go(&t, 0, TRIM_CROWD);
	go(&t, TRIM_CROWD, TRIM_CROWD / 8 + 1);
	assert_int_equal(trims, 0);
	go(&t, TRIM_CROWD / 8 + 1, TRIM_CROWD / 8);
	assert_int_equal(trims, 1);
	/* What is left is no crowd, but may hold its memory. */
	go(&t, TRIM_CROWD / 8, 1);
	assert_int_equal(trims, 1);
	go(&t, 1, 0);
	assert_int_equal(trims, 2);
	go(&t, 0, TRIM_CROWD - 1);
	go(&t, TRIM_CROWD - 1, 0);
	assert_int_equal(trims, 2);
	go(&t, 0, TRIM_CROWD);
	go(&t, TRIM_CROWD, 0);
	assert_int_equal(trims, 4);
}

/* An eighth, and an eighth of that: a few times for any number, not once for each object. */
static void test_large_crowd(void **state)
{
	struct trim t = { 0 };

	go(&t, 0, 8000);
	go(&t, 8000, 1001);
	assert_int_equal(trims, 0);
	go(&t, 1001, 1000);
	assert_int_equal(trims, 1);
	go(&t, 1000, 125);
	assert_int_equal(trims, 2);
	go(&t, 125, 15);
	assert_int_equal(trims, 3);
	go(&t, 15, 0);
	assert_int_equal(trims, 4);
}

/* Those that come meanwhile count for the crowd. */
static void test_coming_and_going(void **state)
{
	struct trim t = { 0 };

	go(&t, 0, 80);
	for (int i = 0; i < 100; i++) {
		go(&t, 80, 11);
		go(&t, 11, 80);
	}
	assert_int_equal(trims, 0);
	go(&t, 80, 10);
	assert_int_equal(trims, 1);
	go(&t, 10, 160);
	go(&t, 160, 20);
	assert_int_equal(trims, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_handful, setup),
		cmocka_unit_test_setup(test_crowd, setup),
		cmocka_unit_test_setup(test_large_crowd, setup),
		cmocka_unit_test_setup(test_coming_and_going, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
