/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "ism/copy.h"
#include "ism/proto.h"
#include "vfio/base/endian.h"

static uint8_t pattern[4096];

static void fill(void)
{
	size_t i;

	for (i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 7 + 1);
}

static void test_who_may_write(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	const uint64_t step = UINT64_C(1) << 32;

	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	assert_int_equal(guest_move(&b->g[0], token, 0, false, 0, "y", 1), -EIO);
	assert_int_equal(guest_move(&b->g[2], token, 0, true, 0, "y", 1), -EIO);
	assert_int_equal(guest_move(&b->g[1], token + step, 0, true, 0, "y", 1), -EIO);
	assert_int_equal(guest_move(&b->g[1], token - step, 0, true, 0, "y", 1), -EIO);
	assert_int_equal(guest_move(&b->g[1], 0, 0, true, 0, "y", 1), -EIO);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA), 'x');
	assert_int_equal(guest_at(&b->g[0], SBA_IOVA)[0], 0);
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, token), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "z", 1), -EIO);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA), 'x');
}

static void test_owner_in_trouble(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);

	function_enter_error(b->g[0].fn);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	function_leave_error(b->g[0].fn);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	guest_u64(&b->g[0], ISM_REG_SBA, SBA_IOVA);
	guest_reg_ieq(&b->g[0], IEQ_IOVA, 512);
	token = guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	assert_int_equal(function_reset(b->g[0].fn), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
}

/* Every byte around both edges of a move stays what it was. */
static void check_move(struct bench *b, uint64_t token, uint32_t offset, size_t len)
{
	uint8_t *dmb = guest_at(&b->g[0], DMB_IOVA);

	memset(dmb - 64, 0xee, DMB_LEN + 128);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, offset, pattern, len), 0);
	assert_memory_equal(dmb + offset, pattern, len);
	assert_int_equal(dmb[(int)offset - 1], 0xee);
	assert_int_equal(dmb[offset + len], 0xee);
}

static void test_bounds(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	struct guest *w = &b->g[1];
	uint32_t offset;
	size_t len;

	fill();
	for (offset = 0; offset < 9; offset++) {
		for (len = 1; len < 80; len++)
			check_move(b, token, offset, len);
	}
	check_move(b, token, 0, 4096);
	check_move(b, token, 4096, 4096);
	check_move(b, token, 1, 4095);
	check_move(b, token, DMB_LEN - 1, 1);
	check_move(b, token, DMB_LEN - 4096, 4096);
	assert_int_equal(guest_move(w, token, 0, false, 1, pattern, 4096), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, 4095, pattern, 2), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, 0, pattern, 4097), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, 0, pattern, 0), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, DMB_LEN, pattern, 1), -EIO);
	assert_int_equal(guest_move(w, token, 0, false, 0x7fffff, pattern, 1), -EIO);
	assert_int_equal(
		guest_move(w, UINT64_C(1) << 48 | token, 0, false, 0, pattern, 1), -EINVAL);
	assert_int_equal(guest_move(w, UINT64_MAX, 0, false, 0, pattern, 1), -EINVAL);
}

static void test_odd_length_dmb(void **state)
{
	struct bench *b = *state;
	struct reg_dmb r = { DMB_IOVA, 5000, 32, 0, 0, 0x1002 };
	uint64_t token;

	knob(b, KNOB_dmb_granule, 1);
	assert_int_equal(guest_reg_dmb(&b->g[0], &r, &token), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 4999, "x", 1), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 5000, "x", 1), -EIO);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 4998, "xyz", 3), -EIO);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA + 5000), 0);
}

static void test_page_maps(void **state)
{
	struct bench *b = *state;
	uint64_t token;

	fill();
	b->g[0].page_maps = true;
	token = guest_dmb(&b->g[0], &b->g[1]);
	check_move(b, token, 4096, 4096);
	check_move(b, token, DMB_LEN - 1, 1);
}

static void test_vlan(void **state)
{
	struct bench *b = *state;
	struct reg_dmb r = { DMB_IOVA, 0x4000, 32, 1, 100, 0x1002 };
	unsigned int seen0 = 0, seen1 = 0;
	struct event ev;
	uint64_t token;

	assert_int_equal(guest_u64(&b->g[0], ISM_ADD_VLAN_ID, 100), 0);
	assert_int_equal(guest_reg_dmb(&b->g[0], &r, &token), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	assert_int_equal(guest_u64(&b->g[1], ISM_ADD_VLAN_ID, 100), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);

	assert_int_equal(guest_u64(&b->g[1], ISM_DEL_VLAN_ID, 100), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	assert_true(guest_event(&b->g[0], &seen0, &ev));
	assert_int_equal(ev.type, ISM_EVENT_BUF);
	assert_int_equal(ev.code, ISM_EV_VLAN_USER);
	assert_int_equal(ev.tok, token);

	assert_int_equal(guest_u64(&b->g[1], ISM_ADD_VLAN_ID, 100), 0);
	assert_int_equal(guest_u64(&b->g[0], ISM_DEL_VLAN_ID, 100), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	assert_true(guest_event(&b->g[1], &seen1, &ev));
	assert_int_equal(ev.code, ISM_EV_VLAN_OWNER);
}

static void test_bits(void **state)
{
	static const struct {
		uint32_t idx, byte, bit, mask;
	} v[] = {
		{ 32, 8, 0x80, 320 }, { 33, 8, 0x40, 322 }, { 39, 8, 0x01, 334 },
		{ 40, 9, 0x80, 336 }, { 63, 11, 0x01, 382 }, { 64, 12, 0x80, 384 },
		{ 1919, 243, 0x01, 4094 }, { 0, 4, 0x80, 256 },
	};
	struct bench *b = *state;
	uint8_t *sba = guest_at(&b->g[0], SBA_IOVA), want[4096];
	size_t i;

	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct reg_dmb r = { DMB_IOVA + 0x4000 * i, 0x4000, v[i].idx, 0, 0, 0x1002 };
		uint64_t token;

		assert_int_equal(guest_reg_dmb(&b->g[0], &r, &token), 0);
		memset(sba, 0, 4096);
		memset(want, 0, sizeof(want));
		want[0] = 0x80;
		want[v[i].byte] = (uint8_t)v[i].bit;
		want[v[i].mask] = 0x10;
		assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
		assert_int_equal(sba[0], 0);
		assert_int_equal(guest_move(&b->g[1], token, 0, true, 0, "x", 1), 0);
		assert_memory_equal(sba, want, 4096);
		/* masks accumulate: index 1 is the next bit, 15 the last after turning round */
		assert_int_equal(guest_move(&b->g[1], token, 1, true, 0, "x", 1), 0);
		assert_int_equal(load_be16(sba + v[i].mask), 0x1800);
		assert_int_equal(guest_move(&b->g[1], token, 15, true, 0, "x", 1), 0);
		assert_int_equal(load_be16(sba + v[i].mask), 0x3800);
		assert_int_equal(guest_move(&b->g[1], token, 16, true, 0, "x", 1), -EIO);
	}
}

static void test_interrupt_on_edge(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	uint8_t *sba = guest_at(&b->g[0], SBA_IOVA);

	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 1);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 1);
	sba[0] = 0;
	guest_move(&b->g[1], token, 0, false, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 1);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 2);
	/* bits without MSI; none of either without an SBA; no MSI without an IEQ */
	sba[0] = 0;
	function_set_msi(b->g[0].fn, false);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 2);
	assert_int_equal(sba[0], 0x80);
	function_set_msi(b->g[0].fn, true);
	sba[0] = 0;
	guest_simple(&b->g[0], ISM_UNREG_IEQ);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(sba[0], 0x80);
	assert_int_equal(b->g[0].irqs, 2);
	sba[0] = 0;
	guest_simple(&b->g[0], ISM_UNREG_SBA);
	assert_int_equal(guest_move(&b->g[1], token, 0, true, 0, "y", 1), 0);
	assert_int_equal(sba[0], 0);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA), 'y');
}

static void test_loop(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[0]);

	assert_int_equal(guest_move(&b->g[0], token, 0, true, 3, "self", 4), 0);
	assert_memory_equal(guest_at(&b->g[0], DMB_IOVA + 3), "self", 4);
	assert_int_equal(guest_at(&b->g[0], SBA_IOVA)[8], 0x80);
}

static void test_copy(void **state)
{
	uint8_t src[160], dst[192], want[192];
	size_t at, from, len;

	for (at = 0; at < sizeof(src); at++)
		src[at] = (uint8_t)(at + 1);
	for (at = 0; at < 16; at++) {
		for (from = 0; from < 16; from++) {
			for (len = 0; len < 130; len++) {
				memset(dst, 0, sizeof(dst));
				memset(want, 0, sizeof(want));
				memcpy(want + at, src + from, len);
				ism_copy(dst + at, src + from, len);
				assert_memory_equal(dst, want, sizeof(dst));
			}
		}
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_who_may_write),
		T(test_owner_in_trouble),
		T(test_bounds),
		T(test_odd_length_dmb),
		T(test_page_maps),
		T(test_vlan),
		T(test_bits),
		T(test_interrupt_on_edge),
		T(test_loop),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
