/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smcd/daemon/autosize.h"

#define KIB  UINT64_C(1024)
#define MIB  (1024 * KIB)
#define MUCH (UINT64_C(1) << 40)
#define MS   UINT64_C(1000000)

static const uint64_t start = 12345 * MS;

static void test_few_are_large(void **state)
{
	struct autosize a = { 0 };
	unsigned int i;

	for (i = 0; i < 16; i++)
		assert_int_equal(autosize_next(&a, 1, start, i, MUCH), MIB);
	/* The 17th is the first that they would not share the budget with. */
	assert_int_equal(autosize_next(&a, 1, start, 16, MUCH), MIB / 2);
	/* Open ones count as long as they are, whenever they came. */
	assert_int_equal(autosize_next(&a, 2, start, 63, MUCH), 256 * KIB);
	assert_int_equal(autosize_next(&a, 3, start, 100000, MUCH), AUTOSIZE_MIN);
}

/* However few are open at a time. */
static void test_fast_are_small(void **state)
{
	struct autosize a = { 0 };
	uint32_t size = 0, last = AUTOSIZE_MAX;
	uint64_t sum = 0;

	for (unsigned int i = 0; i < 3000; i++) {
		size = autosize_next(&a, 1, start + i * MS / 3, 1, MUCH);
		assert_true(size <= last);
		last = size;
		sum += size;
	}
	assert_int_equal(size, AUTOSIZE_MIN);
	assert_true(sum < 10 * (uint64_t)AUTOSIZE_BUDGET);
	/* Somebody else's are their own. */
	assert_int_equal(autosize_next(&a, 2, start + 1000 * MS, 0, MUCH), AUTOSIZE_MAX);
	/* A pause of a second is remembered, one of two is not. */
	assert_int_equal(autosize_next(&a, 1, start + 1900 * MS, 0, MUCH), AUTOSIZE_MIN);
	assert_int_equal(autosize_next(&a, 1, start + 4000 * MS, 0, MUCH), AUTOSIZE_MAX);
}

static void test_limit(void **state)
{
	struct autosize a = { 0 };

	assert_int_equal(autosize_next(&a, 1, start, 0, 16 * MIB), MIB);
	assert_int_equal(autosize_next(&a, 1, start, 0, 16 * MIB - 1), MIB / 2);
	assert_int_equal(autosize_next(&a, 1, start, 0, 0), AUTOSIZE_MIN);
}

/* There is room for so many users; a busy one is not forgotten for those who come once. */
static void test_users(void **state)
{
	struct autosize a = { 0 };

	for (unsigned int i = 0; i < 1100; i++)
		autosize_next(&a, 1, start, 0, MUCH);
	for (uid_t uid = 2; uid < 200; uid++)
		assert_int_equal(autosize_next(&a, uid, start, 0, MUCH), AUTOSIZE_MAX);
	assert_int_equal(autosize_next(&a, 1, start, 0, MUCH), AUTOSIZE_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_are_large),
		cmocka_unit_test(test_fast_are_small),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
