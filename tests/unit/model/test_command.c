/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "ism/proto.h"
#include "vfio/base/endian.h"

static const struct fabric *fabric_of(void **state)
{
	return ((struct bench *)*state)->f;
}

#define RET(id) ((uint16_t)fabric_knob(fabric_of(state), KNOB_##id))

static void test_vectors(void **state)
{
	struct bench *b = *state;
	static const uint8_t reg[40] = {
		0, 0, 0, 0x0a, 0, 0, 0, 0x28, 0, 0, 0, 1, 0, 0x10, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0x20,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x02,
	};
	static const uint8_t signal[32] = {
		0, 0, 0, 0x0e, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x10, 0x02, 0, 0, 0, 1, 0, 0, 0, 0x83,
		0x41, 0x42, 0x43, 0x44, 0, 0, 0, 1,
	};
	uint8_t reply[16];
	uint8_t data[16] = "sixteen bytes!!";
	uint64_t token, addr;
	const uint8_t *e;

	assert_int_equal(guest_cmd(&b->g[0], reg, sizeof(reg), reply, sizeof(reply)), 0);
	assert_int_equal(load_be32(reply), 0x0a);
	assert_int_equal(load_be16(reply + 6), 0x10);
	token = load_be64(reply + 8);

	assert_int_equal(guest_cmd(&b->g[0], signal, sizeof(signal), NULL, 0), 0);
	e = guest_at(&b->g[1], IEQ_IOVA + 32);
	assert_int_equal(load_be32(e), 2);
	assert_int_equal(load_be32(e + 4), 0x83);
	assert_int_equal(load_be64(e + 8), b->g[0].fn->gid);
	assert_int_equal(load_be64(e + 24), 0x4142434400000001);

	/* token | sf | 0x1ff0: 16 bytes end at the line, one more crosses it */
	addr = token | 0x00801ff0;
	assert_int_equal(function_store(b->g[1].fn, 0, addr, data, 16), 0);
	assert_memory_equal(guest_at(&b->g[0], DMB_IOVA + 0x1ff0), data, 16);
	assert_int_equal(function_store(b->g[1].fn, 0, addr, reg, 17), -EINVAL);
}

static void test_query_info(void **state)
{
	struct bench *b = *state;
	uint8_t req[8] = { 0, 0, 0, 8, 0, 0, 0, 8 }, r[200];
	struct reg_dmb loop = { DMB_IOVA + 0x10000, 0x4000, 40, 0, 0, b->g[0].fn->gid };
	uint64_t token;

	guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(guest_reg_dmb(&b->g[0], &loop, &token), 0);
	guest_dmb(&b->g[1], &b->g[0]);
	assert_int_equal(guest_u64(&b->g[0], ISM_ADD_VLAN_ID, 0x1fff), 0);
	assert_int_equal(guest_u64(&b->g[0], ISM_ADD_VLAN_ID, 7), 0);
	assert_int_equal(guest_cmd(&b->g[0], req, sizeof(req), r, sizeof(r)), 0);
	assert_int_equal(load_be16(r + 6), 200);
	assert_int_equal(load_be32(r + 8), 1);
	assert_int_equal(load_be32(r + 12), 1048576);
	assert_int_equal(load_be64(r + 16), 3);
	assert_int_equal(load_be64(r + 24), b->g[0].fn->gid);
	assert_int_equal(load_be64(r + 32), SBA_IOVA);
	assert_int_equal(load_be64(r + 40), IEQ_IOVA);
	assert_int_equal(load_be32(r + 48), 512);
	assert_int_equal(load_be32(r + 56), 2); /* owned */
	assert_int_equal(load_be32(r + 60), 2); /* used: its own and guest 1's */
	assert_int_equal(load_be32(r + 64), 0);
	assert_int_equal(load_be32(r + 68), 2);
	assert_int_equal(load_be16(r + 72), 0x1fff);
	assert_int_equal(load_be16(r + 74), 7);
	assert_int_equal(load_be16(r + 76), 0);
}

static void test_read_gid_and_query_rgid(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint8_t req[8] = { 0, 0, 0, 3, 0, 0, 0, 8 }, r[16];

	assert_int_equal(guest_cmd(g, req, sizeof(req), r, sizeof(r)), 0);
	assert_int_equal(load_be64(r + 8), 0x1001);
	assert_int_equal(guest_query_rgid(g, 0x1002, false, 0), 0);
	assert_int_equal(guest_query_rgid(g, 0x1001, false, 0), 0);
	assert_int_equal(guest_query_rgid(g, 0x1004, false, 0), RET(ret_gid));
	assert_int_equal(guest_query_rgid(g, 0, false, 0), RET(ret_gid));
	/* with a VLAN: both need it; vlan_id counts only when valid */
	assert_int_equal(guest_query_rgid(g, 0x1002, true, 5), RET(ret_vlan));
	assert_int_equal(guest_query_rgid(g, 0x1002, false, 5), 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 5), 0);
	assert_int_equal(guest_query_rgid(g, 0x1002, true, 5), RET(ret_vlan));
	assert_int_equal(guest_u64(&b->g[1], ISM_ADD_VLAN_ID, 5), 0);
	assert_int_equal(guest_query_rgid(g, 0x1002, true, 5), 0);
	assert_int_equal(guest_query_rgid(g, 0x1002, true, 5 + 65536), RET(ret_vlan));
	/* not initialised */
	assert_int_equal(guest_simple(&b->g[1], ISM_UNREG_IEQ), 0);
	assert_int_equal(guest_query_rgid(g, 0x1002, false, 0), RET(ret_gid));
	assert_int_equal(guest_signal(g, 0x1002, 1, 1, 1), RET(ret_gid));
	assert_int_equal(guest_signal(g, 0x9999, 1, 1, 1), RET(ret_gid));
}

static void test_sba_ieq_registration(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];

	assert_int_equal(guest_u64(g, ISM_REG_SBA, SBA_IOVA), RET(ret_state));
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 512), RET(ret_state));
	assert_int_equal(guest_simple(g, ISM_UNREG_SBA), 0);
	assert_int_equal(guest_simple(g, ISM_UNREG_SBA), RET(ret_state));
	assert_int_equal(guest_simple(g, ISM_UNREG_IEQ), 0);
	assert_int_equal(guest_simple(g, ISM_UNREG_IEQ), RET(ret_state));

	assert_int_equal(guest_u64(g, ISM_REG_SBA, SBA_IOVA + 8), RET(ret_address));
	assert_int_equal(guest_u64(g, ISM_REG_SBA, GUEST_BASE - 0x1000), RET(ret_address));
	assert_int_equal(guest_u64(g, ISM_REG_SBA, GUEST_BASE + GUEST_SIZE), RET(ret_address));
	assert_int_equal(guest_u64(g, ISM_REG_SBA, UINT64_MAX - 4095), RET(ret_address));
	assert_int_equal(guest_u64(g, ISM_REG_SBA, GUEST_BASE + GUEST_SIZE - 4096), 0);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 511), RET(ret_size));
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 544), RET(ret_size));
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 0), RET(ret_size));
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, UINT64_MAX), RET(ret_size));
	assert_int_equal(guest_reg_ieq(g, 0, 512), RET(ret_address));
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, 512), 0);
	/* the header says how long it is, and that nothing happened */
	assert_int_equal(load_be64(guest_at(g, IEQ_IOVA)), 0);
	assert_int_equal(load_be64(guest_at(g, IEQ_IOVA + 8)), 512);
	assert_int_equal(load_be32(guest_at(g, IEQ_IOVA + 16)), 32);
}

static void test_vlans(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	unsigned int i;

	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0), RET(ret_vlan));
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 4095), RET(ret_vlan));
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0x2000), RET(ret_vlan));
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0x10001), RET(ret_vlan));
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0x1fff), 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 0x1fff), RET(ret_vlan));
	for (i = 1; i < 64; i++)
		assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, i), 0);
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 4094), RET(ret_limit));
	assert_int_equal(guest_u64(g, ISM_DEL_VLAN_ID, 1), 0);
	assert_int_equal(guest_u64(g, ISM_DEL_VLAN_ID, 1), RET(ret_vlan));
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 4094), 0);
}

static void test_reg_dmb_refusals(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	const struct reg_dmb good = { DMB_IOVA, 0x4000, 32, 0, 0, 0x1002 };
	uint64_t token = 77;

	struct {
		struct reg_dmb r;
		uint16_t ret;
	} bad[] = {
		{ { DMB_IOVA, 0, 32, 0, 0, 0x1002 }, RET(ret_size) },
		{ { DMB_IOVA, 0x4001, 32, 0, 0, 0x1002 }, RET(ret_size) },
		{ { DMB_IOVA, 0x101000, 32, 0, 0, 0x1002 }, RET(ret_size) },
		{ { DMB_IOVA, 0xfffff000, 32, 0, 0, 0x1002 }, RET(ret_size) },
		{ { DMB_IOVA + 8, 0x4000, 32, 0, 0, 0x1002 }, RET(ret_address) },
		{ { 0, 0x4000, 32, 0, 0, 0x1002 }, RET(ret_address) },
		{ { UINT64_MAX - 0xfff, 0x4000, 32, 0, 0, 0x1002 }, RET(ret_address) },
		{ { GUEST_BASE + GUEST_SIZE - 0x3000, 0x4000, 32, 0, 0, 0x1002 }, RET(ret_address) },
		{ { DMB_IOVA, 0x4000, 1920, 0, 0, 0x1002 }, RET(ret_index) },
		{ { DMB_IOVA, 0x4000, UINT32_MAX, 0, 0, 0x1002 }, RET(ret_index) },
		{ { DMB_IOVA, 0x4000, 32, 0, 0, 0x1000 }, RET(ret_gid) },
		{ { DMB_IOVA, 0x4000, 32, 0, 0, 0 }, RET(ret_gid) },
		{ { DMB_IOVA, 0x4000, 32, 0, 0, UINT64_MAX }, RET(ret_gid) },
		{ { DMB_IOVA, 0x4000, 32, 1, 9, 0x1002 }, RET(ret_vlan) },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(guest_reg_dmb(g, &bad[i].r, &token), bad[i].ret);
	assert_int_equal(token, 77);
	assert_int_equal(g->fn->num_owned, 0);

	assert_int_equal(guest_reg_dmb(g, &good, &token), 0);
	assert_int_equal(token & 0xffffffff, 0);
	assert_true(token && token < UINT64_C(1) << 48);
	assert_int_equal(guest_reg_dmb(g, &good, &token), RET(ret_index));
	/* VLAN id alone means nothing */
	assert_int_equal(guest_reg_dmb(g,
		&(struct reg_dmb){ DMB_IOVA, 0x4000, 1919, 0, 9, 0x1002 }, &token), 0);
}

static void test_unreg_dmb(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]), again;

	assert_int_equal(guest_u64(&b->g[1], ISM_UNREG_DMB, token), RET(ret_token));
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, token + 1), RET(ret_token));
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, 0), RET(ret_token));
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, token), 0);
	assert_int_equal(guest_u64(&b->g[0], ISM_UNREG_DMB, token), RET(ret_token));
	again = guest_dmb(&b->g[0], &b->g[1]);
	assert_int_not_equal(again, token);
}

static void test_unknown_and_malformed(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint8_t gid[8] = { 0, 0, 0, 3, 0, 0, 0, 9 };
	uint8_t dmb[8] = { 0, 0, 0, 0x0a, 0, 0, 0, 40 };
	uint8_t body[32] = { 0 };
	uint64_t v;

	assert_int_equal(guest_simple(g, 0), RET(ret_command));
	assert_int_equal(guest_simple(g, 0x0c), RET(ret_command));
	assert_int_equal(guest_simple(g, 0x13), RET(ret_command));
	assert_int_equal(guest_simple(g, UINT32_MAX), RET(ret_command));
	assert_int_equal(guest_simple(g, ISM_SET_VLAN), RET(ret_command));
	assert_int_equal(guest_cmd(g, gid, 8, NULL, 0), RET(ret_length));
	/* a header whose body never came, or came short */
	assert_int_equal(guest_cmd(g, dmb, 8, NULL, 0), RET(ret_length));
	assert_int_equal(function_store(g->fn, 2, 8, body, 24), 0);
	assert_int_equal(guest_cmd(g, dmb, 8, NULL, 0), RET(ret_length));
	/* a body is used once */
	assert_int_equal(guest_u64(g, ISM_ADD_VLAN_ID, 9), 0);
	assert_int_equal(guest_cmd(g, (uint8_t[8]){ 0, 0, 0, 4, 0, 0, 0, 16 }, 8, NULL, 0),
		RET(ret_length));

	/* stores that are neither a header nor a body */
	assert_int_equal(function_store(g->fn, 2, 0, gid, 4), -EIO);
	assert_int_equal(function_store(g->fn, 2, 0, body, 16), -EIO);
	assert_int_equal(function_store(g->fn, 2, 4, body, 8), -EIO);
	assert_int_equal(function_store(g->fn, 2, 256, body, 8), -EIO);
	assert_int_equal(function_store(g->fn, 2, 250, body, 8), -EIO);
	assert_int_equal(function_store(g->fn, 2, 100, body, 8), -EIO); /* leaves a hole */
	assert_int_equal(function_store(g->fn, 2, 4092, body, 8), -EINVAL);
	assert_int_equal(function_store(g->fn, 2, 4096, body, 8), -EINVAL);
	assert_int_equal(function_store(g->fn, 1, 0, body, 8), -EIO);
	assert_int_equal(function_store(g->fn, 15, 0, body, 8), -EIO);
	assert_int_equal(function_load(g->fn, 3, 0, 8, &v), -EIO);
	assert_int_equal(function_load(g->fn, 0, 0, 8, &v), -EIO);
}

static void test_replies_persist(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint8_t body[8] = { 0 };
	uint64_t v;

	assert_int_equal(guest_simple(g, ISM_READ_GID), 0);
	assert_int_equal(function_store(g->fn, 2, 8, body, 8), 0);
	assert_int_equal(function_load(g->fn, 2, 8, 8, &v), 0);
	assert_int_equal(v, 0x1001);
	/* narrow loads are right-justified and stay in their 8-byte unit */
	assert_int_equal(function_load(g->fn, 2, 14, 2, &v), 0);
	assert_int_equal(v, 0x1001);
	assert_int_equal(function_load(g->fn, 2, 14, 1, &v), 0);
	assert_int_equal(v, 0x10);
	assert_int_equal(function_load(g->fn, 2, 4, 8, &v), -EINVAL);
	assert_int_equal(function_load(g->fn, 2, 0, 9, &v), -EINVAL);
	assert_int_equal(function_load(g->fn, 2, 0, 0, &v), -EINVAL);
	assert_int_equal(function_load(g->fn, 2, 4088, 8, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(function_load(g->fn, 2, 4096, 8, &v), -EINVAL);
	/* config space by PCILG: bytes in ascending address order */
	assert_int_equal(function_load(g->fn, 15, 0, 4, &v), 0);
	assert_int_equal(v, 0x1410ed04);
	assert_int_equal(function_load(g->fn, 15, 2, 4, &v), -EINVAL);
	assert_int_equal(function_load(g->fn, 15, 0, 8, &v), -EINVAL);
	/* a refused command leaves no payload behind */
	assert_int_equal(guest_simple(g, 0x55), RET(ret_command));
	assert_int_equal(function_load(g->fn, 2, 8, 8, &v), 0);
	assert_int_equal(v, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_vectors),
		T(test_query_info),
		T(test_read_gid_and_query_rgid),
		T(test_sba_ieq_registration),
		T(test_vlans),
		T(test_reg_dmb_refusals),
		T(test_unreg_dmb),
		T(test_unknown_and_malformed),
		T(test_replies_persist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
