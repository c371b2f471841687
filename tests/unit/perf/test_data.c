/* SPDX-License-Identifier: MIT */
/* Every byte written, nothing beside them, and every byte read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/perf/data.h"

#define MAX 300u

/* Two different beginnings leave no byte as it was in both, or it was not written. */
static void test_fill_all(void **state)
{
	uint8_t buf[MAX + 2];

	for (size_t len = 0; len <= MAX; len++) {
		bool written[MAX] = { false };

		for (uint64_t next = 1; next < 9; next++) {
			uint64_t n = next * 1000;

			memset(buf, 0xa5, sizeof(buf));
			data_fill(buf + 1, len, &n);
			assert_int_equal(n, next * 1000 + (len + 7) / 8);
			for (size_t i = 0; i < len; i++)
				written[i] |= buf[1 + i] != 0xa5;
			assert_int_equal(buf[0], 0xa5);
			assert_int_equal(buf[1 + len], 0xa5);
		}
		for (size_t i = 0; i < len; i++)
			assert_true(written[i]);
	}
}

/* The words are those of one sequence, however it is cut. */
static void test_fill_goes_on(void **state)
{
	uint64_t whole = 3, cut = 3;
	uint8_t a[256], b[256];

	data_fill(a, sizeof(a), &whole);
	data_fill(b, 8, &cut);
	data_fill(b + 8, 96, &cut);
	data_fill(b + 104, 152, &cut);
	assert_int_equal(whole, cut);
	assert_memory_equal(a, b, sizeof(a));
}

/* The same bytes, whatever the way they take. */
static void test_fill_far(void **state)
{
	static _Alignas(8) uint8_t a[9000], b[9000];
	static const size_t lengths[] = { 0, 1, 100, 2047, 2048, 2049, 4096, 8191 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (size_t at = 0; at < 9; at += 4) {
			uint64_t na = 5, nb = 5;

			memset(a, 0xa5, sizeof(a));
			memset(b, 0xa5, sizeof(b));
			data_fill(a + at, lengths[i], &na);
			data_fill_far(b + at, lengths[i], lengths[i] / 4 * (i % 5), &nb);
			assert_int_equal(na, nb);
			assert_memory_equal(a, b, sizeof(a));
		}
}

/* One more in any byte is one more, at that byte's weight, in the sum. */
static void test_read_all(void **state)
{
	uint8_t buf[MAX] = { 0 };

	for (size_t len = 0; len <= MAX; len++) {
		uint64_t before = data_read(buf, len);

		for (size_t i = 0; i < len; i++) {
			buf[i]++;
			assert_int_not_equal(data_read(buf, len), before);
			buf[i]--;
		}
		assert_int_equal(data_read(buf, len), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill_all),
		cmocka_unit_test(test_fill_goes_on),
		cmocka_unit_test(test_fill_far),
		cmocka_unit_test(test_read_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
