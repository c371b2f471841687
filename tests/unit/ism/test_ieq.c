/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake.h"
#include "ism/ieq.h"

static _Alignas(4096) uint8_t page[512];
static uint64_t posts;
static struct ism_ieq q;
static struct ism_event ev[ISM_IEQ_SLOTS];
static bool lost;

static int setup(void **state)
{
	memset(page, 0, sizeof(page));
	posts = 0;
	ism_ieq_init(&q, page);
	return 0;
}

static void set_idx(uint64_t v)
{
	fake_put(page, v, 8);
}

/* The n-th event carries n everywhere. */
static void post(unsigned int n)
{
	while (n--) {
		uint8_t *at = page + 32 + 32 * (posts % 15);

		fake_put(at, 2, 4);
		fake_put(at + 4, 100 + posts, 4);
		fake_put(at + 8, 200 + posts, 8);
		fake_put(at + 16, 300 + posts, 8);
		fake_put(at + 24, 400 + posts, 8);
		posts++;
		set_idx((posts - 1) % 15 + 1);
	}
}

/* Polls and expects the events [from, from+n). */
static void expect(bool e, uint64_t from, unsigned int n, bool want_lost)
{
	assert_int_equal(ism_ieq_poll(&q, e, ev, &lost), n);
	assert_int_equal(lost, want_lost);
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(ev[i].type, 2);
		assert_int_equal(ev[i].code, 100 + from + i);
		assert_int_equal(ev[i].tok, 200 + from + i);
		assert_int_equal(ev[i].time, 300 + from + i);
		assert_int_equal(ev[i].info, 400 + from + i);
	}
	assert_false(ism_ieq_pending(&q));
}

static void test_one_by_one_round_the_ring(void **state)
{
	expect(false, 0, 0, false);
	for (unsigned int i = 0; i < 100; i++) {
		post(1);
		assert_int_equal(fake_get(page, 8), i % 15 + 1);
		assert_true(ism_ieq_pending(&q));
		expect(true, i, 1, false);
		expect(false, i, 0, false);
	}
}

/* From every position, every number that can be told. */
static void test_any_number_from_anywhere(void **state)
{
	for (unsigned int start = 1; start <= 31; start++)
		for (unsigned int n = 1; n <= 14; n++) {
			setup(state);
			for (unsigned int i = 0; i < start; i++) {
				post(1);
				expect(true, i, 1, false);
			}
			post(n);
			expect(true, start, n, false);
		}
}

static void test_first_fifteen_fit(void **state)
{
	post(15);
	expect(true, 0, 15, false);
	post(14);
	expect(true, 15, 14, false);
}

static void test_sixteen_from_the_start(void **state)
{
	post(16);
	assert_int_equal(ism_ieq_poll(&q, true, ev, &lost), 1);
	assert_true(lost);
	assert_int_equal(ev[0].code, 115);
}

static void test_overruns(void **state)
{
	for (unsigned int n = 15; n <= 40; n++) {
		unsigned int visible = n % 15;

		setup(state);
		post(3);
		expect(true, 0, 3, false);
		post(n);
		assert_int_equal(ism_ieq_poll(&q, true, ev, &lost), visible);
		assert_true(lost);
		for (unsigned int i = 0; i < visible; i++)
			assert_int_equal(ev[i].code, 100 + 3 + n - visible + i);
		/* In step again. */
		post(2);
		expect(true, posts - 2, 2, false);
	}
}

static void test_late_e_is_no_loss(void **state)
{
	post(2);
	expect(false, 0, 2, false); /* idx was seen before e was set */
	expect(true, 2, 0, false);
	/* A second one has no explanation. */
	expect(true, 2, 0, true);
}

static void test_impossible_idx(void **state)
{
	static const uint64_t bad[] = { 16, 17, 0x100000001, UINT64_MAX, 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		setup(state);
		post(4);
		expect(true, 0, 4, false);
		set_idx(bad[i]);
		assert_true(ism_ieq_pending(&q));
		expect(true, 0, 0, true);
		expect(true, 0, 0, false); /* reported once */
		posts = 4;
		post(1);
		expect(true, 4, 1, false);
		set_idx(bad[i]); /* ... per occurrence */
		expect(true, 0, 0, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_one_by_one_round_the_ring, setup),
		cmocka_unit_test_setup(test_any_number_from_anywhere, setup),
		cmocka_unit_test_setup(test_first_fifteen_fit, setup),
		cmocka_unit_test_setup(test_sixteen_from_the_start, setup),
		cmocka_unit_test_setup(test_overruns, setup),
		cmocka_unit_test_setup(test_late_e_is_no_loss, setup),
		cmocka_unit_test_setup(test_impossible_idx, setup),
	};

	return cmocka_run_group_tests_name("ism ieq", tests, NULL, NULL);
}
