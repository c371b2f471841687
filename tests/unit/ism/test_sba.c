/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ism/sba.h"

static _Alignas(4096) uint8_t page[4096];

static int setup(void **state)
{
	memset(page, 0, sizeof(page));
	return 0;
}

/* Where an index lives. */
static const struct {
	uint32_t idx, byte, mask, word;
} places[] = {
	{ 32, 8, 0x80, 320 }, { 33, 8, 0x40, 322 }, { 39, 8, 0x01, 334 }, { 40, 9, 0x80, 336 },
	{ 63, 11, 0x01, 382 }, { 64, 12, 0x80, 384 }, { 95, 15, 0x01, 446 }, { 96, 16, 0x80, 448 },
	{ 1919, 243, 0x01, 4094 },
};

static void test_positions(void **state)
{
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unsigned int k = (places[i].idx - 32) / 64;
		unsigned int bit = (places[i].idx - 32) % 64;

		page[places[i].byte] = (uint8_t)places[i].mask;
		page[places[i].word] = 0x12;
		page[places[i].word + 1] = 0x34;
		assert_true(ism_sba_test(page, places[i].idx));
		assert_true(ism_sba_any(page));
		for (unsigned int j = 0; j < ISM_SBA_WORDS; j++)
			assert_true(ism_sba_take(page, j) ==
				    (j == k ? UINT64_C(1) << (63 - bit) : 0));
		assert_false(ism_sba_test(page, places[i].idx));
		assert_int_equal(ism_sba_take_mask(page, places[i].idx), 0x1234);
		assert_int_equal(ism_sba_take_mask(page, places[i].idx), 0);
		for (size_t b = 0; b < sizeof(page); b++)
			assert_int_equal(page[b], 0);
	}
}

static void test_foreign_bytes_stay(void **state)
{
	memset(page, 0xff, sizeof(page));
	for (unsigned int k = 0; k < ISM_SBA_WORDS; k++)
		assert_true(ism_sba_take(page, k) ==
			    (k == 29 ? UINT64_C(0xffffffff00000000) : UINT64_MAX));
	assert_false(ism_sba_any(page));
	for (size_t b = 0; b < 256; b++)
		assert_int_equal(page[b], b < 8 || b >= 244 ? 0xff : 0);
}

static void test_forget_takes_only_its_own(void **state)
{
	memset(page, 0xff, sizeof(page));
	ism_sba_forget(page, 33);
	assert_int_equal(page[8], 0xbf);
	assert_int_equal(page[321], 0xff);
	assert_int_equal(page[322], 0);
	assert_int_equal(page[323], 0);
	assert_int_equal(page[324], 0xff);
}

static void test_summary_and_event_share_a_byte(void **state)
{
	page[0] = 0xff;
	ism_sba_clear_s(page);
	assert_int_equal(page[0], 0x7f);
	assert_false(ism_sba_s(page));
	assert_true(ism_sba_e(page));
	ism_sba_clear_e(page);
	assert_int_equal(page[0], 0x3f);
	assert_false(ism_sba_e(page));
}

#define ROUNDS 200000u

static void *set_bits(void *arg)
{
	unsigned int *sent = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		/* Both bits of one byte and the mask beside them, as a device interleaves them. */
		uint8_t bit = (uint8_t)(0x80 >> i % 8);

		__atomic_fetch_or(&page[320 + 2 * (i % 8)], (uint8_t)0x10, __ATOMIC_RELAXED);
		__atomic_add_fetch(&sent[i % 8], 1, __ATOMIC_RELAXED);
		__atomic_fetch_or(&page[8], bit, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Whatever was counted before a bit was set is seen by whoever takes the bit, and none is lost. */
static void test_no_signal_is_lost(void **state)
{
	unsigned int sent[8] = { 0 }, seen[8] = { 0 };
	pthread_t t;
	bool done = false;

	assert_int_equal(pthread_create(&t, NULL, set_bits, sent), 0);
	while (!done) {
		uint64_t bits;

		done = true;
		for (unsigned int i = 0; i < 8; i++)
			done &= seen[i] == ROUNDS / 8;
		bits = ism_sba_take(page, 0);
		for (unsigned int i = 0; i < 8; i++)
			if (bits & UINT64_C(1) << (63 - i)) {
				ism_sba_take_mask(page, 32 + i);
				seen[i] = __atomic_load_n(&sent[i], __ATOMIC_RELAXED);
			}
	}
	pthread_join(t, NULL);
	assert_false(ism_sba_any(page));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_positions, setup),
		cmocka_unit_test_setup(test_foreign_bytes_stay, setup),
		cmocka_unit_test_setup(test_forget_takes_only_its_own, setup),
		cmocka_unit_test_setup(test_summary_and_event_share_a_byte, setup),
		cmocka_unit_test_setup(test_no_signal_is_lost, setup),
	};

	return cmocka_run_group_tests_name("ism sba", tests, NULL, NULL);
}
