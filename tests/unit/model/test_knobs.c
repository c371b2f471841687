/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "ism/proto.h"
#include "vfio/base/endian.h"

#define MS UINT64_C(1000000)

static uint16_t reg(struct guest *g, uint64_t iova, uint32_t len, uint32_t idx, uint64_t rgid)
{
	uint64_t token;

	return guest_reg_dmb(g, &(struct reg_dmb){ iova, len, idx, 0, 0, rgid }, &token);
}

static void test_text(void **state)
{
	struct knobs k;
	int i;

	knobs_init(&k);
	for (i = 0; i < KNOB_COUNT; i++) {
		assert_int_equal(knob_find(knob_table[i].name), i);
		assert_int_equal(knob_set(&k, (enum knob_id)i, knob_table[i].def), 0);
		assert_int_equal(knob_set(&k, (enum knob_id)i, knob_table[i].min), 0);
		assert_int_equal(knob_set(&k, (enum knob_id)i, knob_table[i].max), 0);
		if (knob_table[i].min)
			assert_int_equal(knob_set(&k, (enum knob_id)i, knob_table[i].min - 1),
				-ERANGE);
		if (knob_table[i].max < UINT64_MAX)
			assert_int_equal(knob_set(&k, (enum knob_id)i, knob_table[i].max + 1),
				-ERANGE);
	}
	assert_int_equal(knob_set_text(&k, "idx_limit", "0x0f"), 0);
	assert_int_equal(k.v[KNOB_idx_limit], 15);
	assert_int_equal(knob_set_text(&k, "nonsense", "1"), -ENOENT);
	assert_int_equal(knob_set_text(&k, "idx_limit", ""), -EINVAL);
	assert_int_equal(knob_set_text(&k, "idx_limit", "-1"), -EINVAL);
	assert_int_equal(knob_set_text(&k, "idx_limit", "1x"), -EINVAL);
	assert_int_equal(knob_set_text(&k, "idx_limit", "256"), -ERANGE);
	assert_int_equal(knob_set_text(&k, "iova_end", "99999999999999999999"), -ERANGE);
	assert_int_equal(knob_set_text(&k, "bar2_size", "12288"), -ERANGE);
	assert_int_equal(k.v[KNOB_idx_limit], 15);
}

static void test_command_area(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint8_t body[16] = { 0 };
	uint64_t v;

	knob(b, KNOB_ret_command, 0x77);
	assert_int_equal(guest_simple(g, 0x30), 0x77);
	knob(b, KNOB_vlan_set, 1);
	assert_int_equal(guest_simple(g, ISM_RESET_VLAN), 0);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), 0);
	assert_int_equal(v >> 32, ISM_RESET_VLAN);
	knob(b, KNOB_echo_cmd, 0);
	assert_int_equal(guest_simple(g, ISM_READ_GID), 0);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), 0);
	assert_int_equal(v, 16);
	assert_int_equal(function_load(g->fn, 2, 0, 4, &v), 0);
	knob(b, KNOB_load_width8, 1);
	assert_int_equal(function_load(g->fn, 2, 0, 4, &v), -EIO);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), 0);

	assert_int_equal(function_store(g->fn, 2, 8, body, 8), 0);
	assert_int_equal(function_store(g->fn, 2, 16, body, 8), 0);
	knob(b, KNOB_split_body, 0);
	assert_int_equal(function_store(g->fn, 2, 8, body, 8), 0);
	assert_int_equal(function_store(g->fn, 2, 16, body, 8), -EIO);

	assert_int_equal(function_load(g->fn, 2, 4096, 8, &v), -EINVAL);
	knob(b, KNOB_bar2_size, 8192);
	assert_int_equal(function_load(g->fn, 2, 4096, 8, &v), 0);
	assert_int_equal(function_load(g->fn, 2, 8192, 8, &v), -EINVAL);

	knob(b, KNOB_stale_body, 1);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 3), 0);
	assert_int_equal(guest_cmd(g, (uint8_t[8]){ 0, 0, 0, 5, 0, 0, 0, 16 }, 8, NULL, 0), 0);
	assert_int_equal(g->fn->num_vlans, 0);
}

static void test_busy(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];

	function_take_stall(g->fn);
	knob(b, KNOB_query_rgid_delay_ms, 30);
	guest_query_rgid(g, 0x1002, false, 0);
	guest_simple(g, ISM_READ_GID);
	assert_int_equal(function_take_stall(g->fn), 30);
	knob(b, KNOB_command_delay_ms, 5);
	guest_simple(g, ISM_READ_GID);
	assert_int_equal(function_take_stall(g->fn), 5);
	assert_int_equal(function_take_stall(g->fn), 0);
	knob(b, KNOB_reset_ms, 200);
	assert_int_equal(function_reset(g->fn), 0);
	assert_int_equal(function_take_stall(g->fn), 200);
}

static void test_stores(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	struct guest *w = &b->g[1];
	uint8_t data[64] = "data", *sba = guest_at(&b->g[0], SBA_IOVA);

	knob(b, KNOB_max_store, 16);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 16), 0);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 17), -EINVAL);
	knob(b, KNOB_max_store, 4096);
	knob(b, KNOB_strict_align, 1);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 16), 0);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 8), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, 4, data, 16), -EINVAL);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 20), -EINVAL);
	knob(b, KNOB_strict_align, 0);

	assert_int_equal(guest_move(w, token, 0, true, 0, data, 0), -EINVAL);
	knob(b, KNOB_zero_length, 1);
	assert_int_equal(guest_move(w, token, 0, true, 0, data, 0), 0);
	assert_int_equal(sba[0], 0);
	knob(b, KNOB_zero_length, 2);
	assert_int_equal(guest_move(w, token, 0, true, 0, data, 0), 0);
	assert_int_equal(sba[0], 0x80);
	assert_int_equal(guest_move(w, token, 0, true, DMB_LEN, data, 0), 0);
	assert_int_equal(guest_move(w, token, 0, true, DMB_LEN + 1, data, 0), -EIO);

	knob(b, KNOB_torn_writes, 1);
	assert_int_equal(guest_move(w, token, 0, false, 0, "torn", 4), 0);
	assert_memory_equal(guest_at(&b->g[0], DMB_IOVA), "torn", 4);

	knob(b, KNOB_require_registered, 1);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 1), 0);
	guest_simple(w, ISM_UNREG_IEQ);
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 1), -EIO);
}

static uint64_t ticks;

static uint64_t ticking(void)
{
	return ticks += 10;
}

/* By the fabric's clock, whatever the instruction came to. */
static void test_costs(void **state)
{
	struct bench *b = *state;
	struct guest *w = &b->g[1];
	uint64_t token = guest_dmb(&b->g[0], w), begin, value;
	uint8_t data[4096] = { 0 };

	b->f->now = ticking;
	begin = ticks;
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 4096), 0);
	assert_int_equal(ticks, begin); /* nothing is asked for */
	knob(b, KNOB_store_ns, 1000);
	begin = ticks;
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 4096), 0);
	assert_in_range(ticks - begin, 1000, 1020);
	knob(b, KNOB_store_ps_byte, 100);
	begin = ticks;
	assert_int_equal(guest_move(w, token, 0, false, 0, data, 4096), 0);
	assert_in_range(ticks - begin, 1409, 1429);
	begin = ticks;
	assert_int_equal(guest_move(w, token ^ UINT64_C(1) << 40, 0, false, 0, data, 8), -EIO);
	assert_in_range(ticks - begin, 1000, 1020);
	knob(b, KNOB_load_ns, 3000);
	begin = ticks;
	assert_int_equal(function_load(w->fn, ISM_PCIAS_CMD, 0, 8, &value), 0);
	assert_in_range(ticks - begin, 3000, 3020);
}

static void test_tokens_and_masks(void **state)
{
	struct bench *b = *state;
	uint8_t *mask = guest_at(&b->g[0], SBA_IOVA + 256 + 64);
	uint64_t token;

	knob(b, KNOB_token_low_bits, 44);
	token = guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(token & ((UINT64_C(1) << 44) - 1), 0);
	assert_int_equal(guest_move(&b->g[1], token, 3, true, 0, "x", 1), 0);
	assert_int_equal(load_be16(mask), 0x1000 >> 3);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);

	knob(b, KNOB_token_low_bits, 28);
	knob(b, KNOB_mask_base, 0x8000);
	store_be16(mask, 0);
	token = guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(guest_move(&b->g[1], token, 0, true, 0, "x", 1), 0);
	assert_int_equal(load_be16(mask), 0x8000);
	knob(b, KNOB_idx_limit, 2);
	assert_int_equal(guest_move(&b->g[1], token, 2, true, 0, "x", 1), 0);
	assert_int_equal(guest_move(&b->g[1], token, 3, true, 0, "x", 1), -EIO);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	knob(b, KNOB_token_low_bits, 32);
	knob(b, KNOB_idx_limit, 255);
	token = guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(guest_move(&b->g[1], token, 255, true, 0, "x", 1), 0);
}

static void test_signals(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	struct guest *w = &b->g[1];
	uint8_t *sba = guest_at(&b->g[0], SBA_IOVA);
	uint64_t order;

	for (order = 0; order < 3; order++) {
		memset(sba, 0, 4096);
		knob(b, KNOB_sba_order, order);
		guest_move(w, token, 0, true, 0, "x", 1);
		assert_int_equal(sba[0], 0x80);
		assert_int_equal(sba[8], 0x80);
		assert_int_equal(sba[320], 0x10);
	}
	knob(b, KNOB_irq_level, 1);
	b->g[0].irqs = 0;
	guest_move(w, token, 0, true, 0, "x", 1);
	guest_move(w, token, 0, true, 0, "x", 1);
	assert_int_equal(b->g[0].irqs, 2);

	memset(sba, 0, 4096);
	knob(b, KNOB_require_msi, 1);
	function_set_msi(b->g[0].fn, false);
	guest_move(w, token, 0, true, 0, "x", 1);
	assert_int_equal(sba[8], 0);
	function_set_msi(b->g[0].fn, true);
	guest_move(w, token, 0, true, 0, "x", 1);
	assert_int_equal(sba[8], 0x80);

	memset(sba, 0, 4096);
	knob(b, KNOB_require_master, 1);
	guest_move(w, token, 0, true, 0, "x", 1);
	guest_signal(w, 0x1001, 1, 1, 1);
	assert_int_equal(sba[0], 0);
	assert_int_equal(pci_config_write(&b->g[0].fn->config, 4, (uint8_t[2]){ 4, 0 }, 2), 0);
	guest_move(w, token, 0, true, 0, "x", 1);
	assert_int_equal(sba[8], 0x80);
}

static void test_delays(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	uint8_t *sba = guest_at(&b->g[0], SBA_IOVA);

	assert_int_equal(fabric_due(b->f), FABRIC_NEVER);
	knob(b, KNOB_sba_delay_us, 2000);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA), 'x');
	clock_advance(b, 2 * MS - 1);
	assert_int_equal(sba[8], 0);
	clock_advance(b, 1);
	assert_int_equal(sba[8], 0x80);
	assert_int_equal(fabric_due(b->f), FABRIC_NEVER);

	/* different delays come in order of due time */
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	knob(b, KNOB_sba_delay_us, 1000);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	assert_int_equal(fabric_due(b->f), b->f->now() + MS);
	clock_advance(b, 3 * MS);

	/* bits wait while s is set */
	knob(b, KNOB_sba_delay_us, 0);
	knob(b, KNOB_sba_hold, 1);
	memset(sba, 0, 4096);
	sba[0] = 0x80;
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	clock_advance(b, 5 * MS);
	assert_int_equal(sba[8], 0);
	sba[0] = 0;
	clock_advance(b, MS);
	assert_int_equal(sba[8], 0x80);

	/* what is pending dies with the function */
	knob(b, KNOB_sba_delay_us, 1000);
	guest_move(&b->g[1], token, 0, true, 0, "x", 1);
	function_reset(b->g[0].fn);
	assert_int_equal(fabric_due(b->f), FABRIC_NEVER);
}

static void test_late_store(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	uint8_t *sba = guest_at(&b->g[0], SBA_IOVA);

	knob(b, KNOB_late_store_us, 500);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	memset(sba, 0, 4096);
	clock_advance(b, MS);
	assert_int_equal(sba[8], 0x80);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA + DMB_LEN - 1), 0xa5);
	/* memory that is gone by then stays untouched */
	token = guest_dmb(&b->g[0], &b->g[1]);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	b->g[0].gone[(DMB_IOVA - GUEST_BASE + DMB_LEN - 4096) / 4096] = true;
	*guest_at(&b->g[0], DMB_IOVA + DMB_LEN - 1) = 0;
	clock_advance(b, MS);
	assert_int_equal(*guest_at(&b->g[0], DMB_IOVA + DMB_LEN - 1), 0);
}

static void test_dmb_limits(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];

	knob(b, KNOB_dmb_max, 0x4000);
	assert_int_equal(reg(g, DMB_IOVA, 0x5000, 40, 0x1002), 0x0109);
	knob(b, KNOB_dmb_pow2, 1);
	assert_int_equal(reg(g, DMB_IOVA, 0x3000, 40, 0x1002), 0x0109);
	knob(b, KNOB_dmb_granule, 0x4000);
	assert_int_equal(reg(g, DMB_IOVA, 0x2000, 40, 0x1002), 0x0109);
	knob(b, KNOB_dmb_align, 0x4000);
	assert_int_equal(reg(g, DMB_IOVA + 0x1000, 0x4000, 40, 0x1002), 0x0103);
	knob(b, KNOB_dmb_align, 0x1000);
	knob(b, KNOB_dmb_cross_1m, 0);
	assert_int_equal(reg(g, DMB_IOVA + 0xfd000, 0x4000, 40, 0x1002), 0x0103);
	assert_int_equal(reg(g, DMB_IOVA + 0xfc000, 0x4000, 40, 0x1002), 0);
	knob(b, KNOB_dmb_limit, 1);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 41, 0x1002), 0x010a);
	knob(b, KNOB_dmb_limit, 1920);
	knob(b, KNOB_fabric_limit, 1);
	assert_int_equal(reg(&b->g[1], DMB_IOVA, 0x4000, 41, 0x1002), 0x010a);
	knob(b, KNOB_fabric_limit, 2);
	assert_int_equal(reg(&b->g[1], DMB_IOVA, 0x4000, 41, 0x1002), 0);
	knob(b, KNOB_fabric_limit, 100);
	knob(b, KNOB_low_idx, 0);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 31, 0x1002), 0x0105);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 32, 0x1002), 0);
	knob(b, KNOB_iova_start, SBA_IOVA + 0x1000);
	knob(b, KNOB_iova_end, DMB_IOVA + 0x3fff);
	assert_int_equal(reg(g, SBA_IOVA, 0x4000, 50, 0x1002), 0x0103);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 50, 0x1002), 0);
	assert_int_equal(reg(g, DMB_IOVA + 0x1000, 0x4000, 51, 0x1002), 0x0103);
	guest_simple(g, ISM_UNREG_SBA);
	knob(b, KNOB_dmb_needs_sba, 1);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 52, 0x1002), 0x0104);
}

static void test_dmb_policies(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint8_t *sba = guest_at(g, SBA_IOVA);
	uint64_t token;
	struct reg_dmb all = { DMB_IOVA + 0x8000, 0x4000, 33, 0, 0, 0 };

	knob(b, KNOB_loop_gid, 0);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 32, 0x1001), 0x0106);
	knob(b, KNOB_rgid_zero, 1);
	assert_int_equal(guest_reg_dmb(g, &all, &token), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	assert_int_equal(guest_move(&b->g[2], token, 0, false, 0, "x", 1), 0);
	knob(b, KNOB_stale_bits, 1);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 34, 0x1002), 0);
	assert_int_equal(sba[8], 0x20);
	knob(b, KNOB_stale_bits, 2);
	sba[8] = 0xff;
	store_be16(sba + 256 + 2 * 35, 7);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 35, 0x1002), 0);
	assert_int_equal(sba[8], 0xef);
	assert_int_equal(load_be16(sba + 256 + 2 * 35), 0);
	knob(b, KNOB_dmb_clear, 1);
	memset(guest_at(g, DMB_IOVA), 1, 0x4001);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 36, 0x1002), 0);
	assert_int_equal(*guest_at(g, DMB_IOVA), 0);
	assert_int_equal(*guest_at(g, DMB_IOVA + 0x3fff), 0);
	assert_int_equal(*guest_at(g, DMB_IOVA + 0x4000), 1);
	knob(b, KNOB_vlan_required, 1);
	assert_int_equal(reg(g, DMB_IOVA, 0x4000, 37, 0x1002), 0x0107);
	knob(b, KNOB_vlan_1fff, 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0x1fff), 0x0107);
}

static void test_ieq(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	unsigned int i;

	guest_simple(g, ISM_UNREG_IEQ);
	knob(b, KNOB_ieq_any_len, 1);
	knob(b, KNOB_ieq_fill, 0);
	memset(guest_at(g, IEQ_IOVA), 0, 4096);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 63), 0x0109);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 65), 0x0109);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 4128), 0x0109);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 96), 0);
	assert_int_equal(load_be64(guest_at(g, IEQ_IOVA + 8)), 0);
	for (i = 0; i < 7; i++) {
		guest_signal(&b->g[1], 0x1001, 1, 1, i);
		assert_int_equal(load_be64(guest_at(g, IEQ_IOVA)), i % 2 + 1);
	}
	assert_int_equal(load_be64(guest_at(g, IEQ_IOVA + 96)), 0);
}

static void test_life(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	unsigned int seen = 0;
	struct event ev;

	knob(b, KNOB_reset_supported, 0);
	assert_int_equal(function_reset(b->g[0].fn), -EOPNOTSUPP);
	assert_non_null(b->g[0].fn->sba);
	knob(b, KNOB_reset_supported, 1);
	knob(b, KNOB_reset_keeps, 1);
	assert_int_equal(function_reset(b->g[0].fn), 0);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	knob(b, KNOB_death_events, 0);
	knob(b, KNOB_error_keeps, 1);
	function_enter_error(b->g[0].fn);
	function_leave_error(b->g[0].fn);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	assert_false(guest_event(&b->g[1], &seen, &ev));

	/* the writer comes back as somebody else */
	knob(b, KNOB_reset_keeps, 0);
	knob(b, KNOB_gid_change, 1);
	assert_int_equal(function_reset(b->g[1].fn), 0);
	assert_int_equal(b->g[1].fn->gid, 0x1002 + GUESTS);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	assert_int_equal(guest_query_rgid(&b->g[0], 0x1002, false, 0), 0x0106);
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, token), 0);
}

static void test_faults(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	const char *two[] = { "2" }, *ret[] = { "1", "0x55" }, *bad[] = { "x" };
	unsigned int seen = 0;
	struct event ev;
	uint64_t v;

	assert_int_equal(fault_apply(g->fn, "nonsense", two, 1), -ENOENT);
	assert_int_equal(fault_apply(g->fn, "fail-store", NULL, 0), -EINVAL);
	assert_int_equal(fault_apply(g->fn, "fail-store", bad, 1), -EINVAL);
	assert_int_equal(fault_apply(g->fn, "fail-store", ret, 2), -EINVAL);
	assert_int_equal(fault_apply(g->fn, "error", two, 1), -EINVAL);

	assert_int_equal(fault_apply(g->fn, "fail-store", two, 1), 0);
	assert_int_equal(function_store(g->fn, 2, 8, "12345678", 8), -EIO);
	assert_int_equal(function_store(g->fn, 2, 8, "12345678", 8), -EIO);
	assert_int_equal(function_store(g->fn, 2, 8, "12345678", 8), 0);
	assert_int_equal(fault_apply(g->fn, "fail-load", two, 1), 0);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), -EIO);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), -EIO);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), 0);
	assert_int_equal(fault_apply(g->fn, "fail-command", ret, 2), 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 9), 0x55);
	assert_int_equal(g->fn->num_vlans, 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 9), 0);
	assert_int_equal(fault_apply(g->fn, "drop-events", two, 1), 0);
	for (v = 0; v < 3; v++)
		guest_signal(&b->g[1], 0x1001, 1, 1, v);
	assert_true(guest_event(g, &seen, &ev));
	assert_int_equal(ev.info, 2);
	assert_false(guest_event(g, &seen, &ev));

	assert_int_equal(fault_apply(g->fn, "unplug", NULL, 0), 0);
	assert_true(g->unplugged);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &v), -ENODEV);
	assert_int_equal(function_reset(g->fn), -ENODEV);
	function_detach(g->fn);
	assert_int_equal(function_attach(g->fn, b->g[1].fn->host, g), -ENODEV);
	fault_clear(g->fn);
	guest_attach(g);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		T(test_command_area),
		T(test_busy),
		T(test_stores),
		T(test_costs),
		T(test_tokens_and_masks),
		T(test_signals),
		T(test_delays),
		T(test_late_store),
		T(test_dmb_limits),
		T(test_dmb_policies),
		T(test_ieq),
		T(test_life),
		T(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
