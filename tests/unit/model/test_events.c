/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <string.h>

#include "ism/proto.h"
#include "vfio/base/endian.h"

static void expect(struct guest *g, unsigned int *seen, uint32_t type, uint32_t code, uint64_t tok)
{
	struct event ev;

	assert_true(guest_event(g, seen, &ev));
	assert_int_equal(ev.type, type);
	assert_int_equal(ev.code, code);
	assert_int_equal(ev.tok, tok);
}

static void expect_none(struct guest *g, unsigned int *seen)
{
	struct event ev;

	assert_false(guest_event(g, seen, &ev));
}

static void test_sequence(void **state)
{
	struct bench *b = *state;
	const uint8_t *ieq = guest_at(&b->g[1], IEQ_IOVA);
	unsigned int i;

	for (i = 0; i < 47; i++) {
		assert_int_equal(guest_signal(&b->g[0], 0x1002, 1, 0x80, i), 0);
		assert_int_equal(load_be64(ieq), i % 15 + 1);
		assert_int_equal(load_be64(ieq + 32 + 32 * (i % 15) + 24), i);
		assert_true(load_be64(ieq + 32 + 32 * (i % 15) + 16) != 0);
	}
	assert_int_equal(guest_at(&b->g[1], SBA_IOVA)[0], 0xc0);
	assert_int_equal(b->g[1].irqs, 1);
	/* nothing beyond the 512 bytes */
	assert_int_equal(load_be64(ieq + 512), 0);
}

static void test_own_index(void **state)
{
	struct bench *b = *state;
	uint8_t *ieq = guest_at(&b->g[1], IEQ_IOVA);

	guest_signal(&b->g[0], 0x1002, 1, 1, 1);
	memset(ieq, 0xff, 4096); /* a driver that scribbles */
	guest_signal(&b->g[0], 0x1002, 1, 2, 2);
	assert_int_equal(load_be64(ieq), 2);
	assert_int_equal(load_be32(ieq + 64 + 4), 2);
	assert_int_equal(load_be64(ieq + 512), UINT64_MAX);
}

static void test_overflow(void **state)
{
	struct bench *b = *state;
	uint8_t *ieq = guest_at(&b->g[1], IEQ_IOVA);
	unsigned int i;

	knob(b, KNOB_ieq_overflow, 1);
	for (i = 0; i < 20; i++)
		guest_signal(&b->g[0], 0x1002, 1, 1, i);
	assert_int_equal(load_be64(ieq), 14);
	assert_int_equal(b->g[1].fn->count.events_lost, 6);
	guest_at(&b->g[1], SBA_IOVA)[0] = 0; /* the driver has looked */
	guest_signal(&b->g[0], 0x1002, 1, 1, 99);
	assert_int_equal(load_be64(ieq), 15);
	assert_int_equal(load_be64(ieq + 32 + 14 * 32 + 24), 99);
}

static void test_coalesce(void **state)
{
	struct bench *b = *state;
	uint8_t *sba = guest_at(&b->g[1], SBA_IOVA);

	guest_signal(&b->g[0], 0x1002, 0, 1, 1);
	assert_int_equal(sba[0], 0x40);
	assert_int_equal(b->g[1].irqs, 0);
	sba[0] = 0;
	knob(b, KNOB_event_coalesce, 2);
	guest_signal(&b->g[0], 0x1002, 0, 1, 1);
	assert_int_equal(sba[0], 0);
	assert_int_equal(load_be64(guest_at(&b->g[1], IEQ_IOVA)), 2);
	knob(b, KNOB_event_coalesce, 0);
	guest_signal(&b->g[0], 0x1002, 0, 1, 1);
	assert_int_equal(sba[0], 0xc0);
	assert_int_equal(b->g[1].irqs, 1);
}

static void test_unreg(void **state)
{
	struct bench *b = *state;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	unsigned int seen[3] = { 0 };

	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	expect(&b->g[1], &seen[1], ISM_EVENT_BUF, ISM_EV_DMB_UNREGISTERED, token);
	expect_none(&b->g[1], &seen[1]);
	expect_none(&b->g[0], &seen[0]);
	expect_none(&b->g[2], &seen[2]);

	token = guest_dmb(&b->g[0], &b->g[0]);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	expect(&b->g[0], &seen[0], ISM_EVENT_BUF, ISM_EV_DMB_UNREGISTERED, token);

	knob(b, KNOB_unreg_events, 0);
	token = guest_dmb(&b->g[0], &b->g[1]);
	guest_u64(&b->g[0], ISM_UNREG_DMB, token);
	expect_none(&b->g[1], &seen[1]);
}

/* g0 owns one that g1 writes; g1 owns one that g0 writes; g2 shares nothing. */
static void test_death(void **state)
{
	struct bench *b = *state;
	unsigned int seen1 = 0, seen2 = 0;
	uint64_t used;

	guest_dmb(&b->g[0], &b->g[1]);
	used = guest_dmb(&b->g[1], &b->g[0]);
	function_detach(b->g[0].fn);
	expect(&b->g[1], &seen1, ISM_EVENT_BUF, ISM_EV_USER_DISABLED, used);
	expect(&b->g[1], &seen1, ISM_EVENT_DEV, ISM_EV_GID_DISABLED, 0x1001);
	expect_none(&b->g[1], &seen1);
	expect_none(&b->g[2], &seen2);
	/* the peer's DMB lives on until its owner ends it */
	assert_int_equal(b->g[1].fn->num_owned, 1);
	assert_int_equal(HASH_COUNT(b->f->dmbs), 1);
	assert_int_equal(guest_query_rgid(&b->g[1], 0x1001, false, 0), 0x0106);
	assert_int_equal(function_store(b->g[0].fn, 0, used, "x", 1), -ENODEV);

	guest_attach(&b->g[0]);
	assert_int_equal(guest_query_rgid(&b->g[1], 0x1001, false, 0), 0);
	assert_int_equal(b->g[0].fn->num_owned, 0);
}

static void test_reset(void **state)
{
	struct bench *b = *state;
	unsigned int seen1 = 0;
	uint64_t token = guest_dmb(&b->g[0], &b->g[1]);
	uint64_t v;

	guest_u64(&b->g[0], ISM_ADD_VLAN_ID, 9);
	assert_int_equal(function_reset(b->g[0].fn), 0);
	expect(&b->g[1], &seen1, ISM_EVENT_DEV, ISM_EV_GID_DISABLED, 0x1001);
	assert_int_equal(guest_move(&b->g[1], token, 0, true, 0, "x", 1), -EIO);
	assert_null(b->g[0].fn->sba);
	assert_null(b->g[0].fn->ieq);
	assert_int_equal(b->g[0].fn->num_vlans, 0);
	assert_int_equal(function_load(b->g[0].fn, 2, 0, 8, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(b->g[0].fn->gid, 0x1001);
	/* events now have nowhere to go, which harms nobody */
	guest_dmb(&b->g[0], &b->g[1]);
	assert_int_equal(function_reset(b->g[1].fn), 0);
	assert_int_equal(b->g[0].fn->count.events_lost, 2);
}

static void test_error_state(void **state)
{
	struct bench *b = *state;
	unsigned int seen1 = 0;
	uint64_t owned = guest_dmb(&b->g[0], &b->g[1]);
	uint64_t used = guest_dmb(&b->g[1], &b->g[0]);
	uint64_t v;

	assert_int_equal(fault_apply(b->g[0].fn, "error", NULL, 0), 0);
	expect(&b->g[1], &seen1, ISM_EVENT_BUF, ISM_EV_OWNER_ERROR, owned);
	expect(&b->g[1], &seen1, ISM_EVENT_BUF, ISM_EV_USER_ERROR, used);
	expect(&b->g[1], &seen1, ISM_EVENT_DEV, ISM_EV_GID_ERROR, 0x1001);
	assert_int_equal(function_load(b->g[0].fn, 2, 0, 8, &v), -EIO);
	assert_int_equal(guest_move(&b->g[0], used, 0, false, 0, "x", 1), -EIO);
	assert_int_equal(guest_query_rgid(&b->g[1], 0x1001, false, 0), 0x0106);
	fault_clear(b->g[0].fn);
	assert_int_equal(guest_simple(&b->g[0], ISM_READ_GID), 0);
	assert_int_equal(b->g[0].fn->num_owned, 0);
	/* it kept its right to write: that is the owner's to take */
	assert_int_equal(guest_move(&b->g[0], used, 0, false, 0, "x", 1), 0);
}

static void unmap(struct guest *g, uint64_t iova, uint64_t size)
{
	uint64_t at;

	for (at = iova; at < iova + size; at += 4096)
		g->gone[(at - GUEST_BASE) / 4096] = true;
	function_dma_unmapped(g->fn, iova, size);
}

static void test_unmapped_memory(void **state)
{
	struct bench *b = *state;
	struct guest *g = &b->g[0];
	uint64_t token = guest_dmb(g, &b->g[1]);
	unsigned int seen1 = 0;

	/* just beside: nothing happens */
	unmap(g, DMB_IOVA + DMB_LEN, 4096);
	unmap(g, DMB_IOVA - 4096, 4096);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), 0);
	/* one page of it */
	unmap(g, DMB_IOVA + DMB_LEN - 4096, 4096);
	assert_int_equal(guest_move(&b->g[1], token, 0, false, 0, "x", 1), -EIO);
	expect(&b->g[1], &seen1, ISM_EVENT_BUF, ISM_EV_DMB_UNREGISTERED, token);
	unmap(g, SBA_IOVA, 4096);
	assert_null(g->fn->sba);
	assert_non_null(g->fn->ieq);
	unmap(g, IEQ_IOVA, 4096);
	assert_null(g->fn->ieq);
	assert_int_equal(guest_u64(g, ISM_REG_SBA, SBA_IOVA), 0x0103);
	/* everything at once, as QEMU does */
	function_dma_unmapped(b->g[1].fn, 0, UINT64_MAX);
	assert_null(b->g[1].fn->sba);
	assert_null(b->g[1].fn->ieq);
}

static void test_one_driver_at_a_time(void **state)
{
	struct bench *b = *state;
	const struct function_host *host = b->g[0].fn->host;

	assert_int_equal(function_attach(b->g[0].fn, host, &b->g[0]), -EBUSY);
	function_detach(b->g[0].fn);
	function_detach(b->g[0].fn);
	assert_int_equal(function_attach(b->g[0].fn, host, &b->g[0]), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_sequence),
		T(test_own_index),
		T(test_overflow),
		T(test_coalesce),
		T(test_unreg),
		T(test_death),
		T(test_reset),
		T(test_error_state),
		T(test_unmapped_memory),
		T(test_one_driver_at_a_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
