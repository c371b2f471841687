/* SPDX-License-Identifier: MIT */
/*
 * fabric_windows.c - stores that are executed in the writer's process
 */
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static uint64_t here(int n)
{
	return zpci_counters(ism_zpci(side[n].dev))->attached;
}

static uint64_t there(int n)
{
	return zpci_counters(ism_zpci(side[n].dev))->pcistb;
}

/* A move of 8 bytes, and that it was executed @where (1: in this process) with this result. */
static void expect_move(struct ism_dmb *dmb, int where, int want)
{
	uint64_t before_here = here(1), before_there = there(1);
	static uint64_t word;

	word++;
	assert_int_equal(move1(1, dmb, 64, &word, 8, true), want);
	assert_int_equal(here(1) - before_here, where);
	assert_int_equal(there(1) - before_there, !where);
	if (want == 0)
		assert_memory_equal((uint8_t *)dmb->va + 64, &word, 8);
}

static void test_windows_count(void **state)
{
	static uint8_t data[3 * 4096 + 5];
	struct ism_dmb *dmb = reg(0, 1);
	const struct zpci_counters *c = zpci_counters(ism_zpci(side[1].dev));
	const struct zpci_counters old = *c;

	memset(data, 7, sizeof(data));
	assert_int_equal(move1(1, dmb, 4000, data, sizeof(data), true), 0);
	assert_memory_equal((uint8_t *)dmb->va + 4000, data, sizeof(data));
	assert_int_equal(c->attached - old.attached, 4);
	assert_int_equal(c->attached_bytes - old.attached_bytes, sizeof(data));
	assert_int_equal(c->pcistb - old.pcistb + c->batches - old.batches, 0);
	assert_int_equal(c->pcistb_bytes - old.pcistb_bytes, 0);
	POLL_UNTIL(0, side[0].signals > 0);
	assert_ptr_equal(side[0].dmb, dmb);
	/* once for each ring, and for this DMB alone */
	assert_int_equal(ism_poll(side[0].dev), 0);
	assert_int_equal(side[0].signals, 1);
}

/* Whatever ends a DMB ends its window; the error is the device's. */
static void test_windows_end(void **state)
{
	struct ism_dmb *dmb = reg(0, 1), *other = reg(0, 1);
	uint64_t word = 1, before;
	const struct ism_move m = { .token = dmb->token, .len = 8, .data = &word };
	const struct ism_move late = { .token = other->token, .len = 8, .data = &word };
	size_t done;

	expect_move(dmb, 1, 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), 0);
	before = here(1);
	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), -EIO);
	assert_int_equal(here(1), before);
	expect_move(other, 1, 0);
	ism_unmap_dmb(side[1].dev, other->token);
	expect_move(other, 0, 0);
	assert_int_equal(ism_map_dmb(side[1].dev, ism_gid(side[0].dev), other->token, SIZE), 0);
	expect_move(other, 1, 0);
	side[0].dev = ism_close(side[0].dev);
	before = here(1);
	assert_int_equal(ism_move_data(side[1].dev, &late, 1, &done), -EIO);
	assert_int_equal(here(1), before);
}

/* Faults and knobs have the effect they are for. */
static void test_windows_shut(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);

	expect_move(dmb, 1, 0);
	rig_tell("fault 1 fail-store 1");
	expect_move(dmb, 0, -EIO);
	expect_move(dmb, 1, 0);
	rig_tell("knob torn_writes 1");
	expect_move(dmb, 0, 0);
	rig_tell("knob torn_writes 0");
	rig_tell("knob ieq_overflow 1"); /* no business of a store */
	expect_move(dmb, 1, 0);
	rig_tell("fault 1 slow 1");
	expect_move(dmb, 0, 0);
	rig_tell("clear 1");
	expect_move(dmb, 1, 0);
	rig_tell("knob attach_stores 0");
	expect_move(dmb, 0, 0);
	assert_int_equal(ism_consent(side[2].dev, ism_gid(side[1].dev)), -EOPNOTSUPP);
	rig_tell("knob attach_stores 1");
	rig_tell("fault 0 error");
	expect_move(dmb, 0, -EIO); /* the owner's error state */
	rig_tell("knob error_keeps 1");
	rig_tell("clear 0");
	rig_tell("knob error_keeps 0");
	expect_move(dmb, 1, 0);
	rig_tell("fault 1 error");
	expect_move(dmb, 0, -EIO);
}

/* The costed mode charges a window's stores, too. */
static void test_windows_cost(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	uint64_t begin;

	rig_tell("knob store_ns 200000");
	rig_tell("knob store_ps_byte 1000000");
	begin = clock_ns();
	expect_move(dmb, 1, 0);
	assert_true(clock_ns() - begin >= 208000);
	rig_tell("knob store_ns 0");
	rig_tell("knob store_ps_byte 0");
	expect_move(dmb, 1, 0);
}

/* Only the writer, only with consent, and only this DMB. */
static void test_windows_are_authorised(void **state)
{
	uint64_t gid0 = ism_gid(side[0].dev), gid1 = ism_gid(side[1].dev);
	struct ism_dmb *dmb = reg(0, 1), *foreign = reg(0, 2);
	struct attach_bell *bell = side[1].dev->windows.rings->page;
	uint32_t n = foreign->idx - ISM_DMB_IDX_MIN;

	assert_int_equal(ism_map_dmb(side[2].dev, gid0, dmb->token, SIZE), -ENOENT);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, foreign->token, SIZE), -ENOENT);
	/* a DMB that is smaller than its owner said */
	ism_unmap_dmb(side[1].dev, dmb->token);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, 2 * SIZE), -EPROTO);
	/* a hostile writer rings for what is not its */
	atomic_fetch_or(&bell->bits[n / 64], UINT64_C(1) << (63 - n % 64));
	atomic_store(&bell->rung, 1);
	assert_int_equal(ism_poll(side[0].dev), 0);
	assert_int_equal(side[0].signals, 0);
	/* and consent ends with the writer it was given to */
	side[1].dev = ism_close(side[1].dev);
	assert_int_equal(rig_open(1), 0);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, SIZE), -ENOENT);
	assert_int_equal(ism_consent(side[0].dev, gid1), 0);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, SIZE), 0);
	expect_move(dmb, 1, 0);
	POLL_UNTIL(0, side[0].signals > 0);
	assert_ptr_equal(side[0].dmb, dmb);
}

/* A sleeper is woken once, and only if it sleeps. */
static void test_windows_wake(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_irq_fd(side[0].dev), .events = POLLIN };

	while (ism_poll(side[0].dev) || ism_irq_arm(side[0].dev))
		;
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
	expect_move(dmb, 1, 0);
	expect_move(dmb, 1, 0);
	assert_int_equal(poll(&p, 1, 20000), 1);
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_true(ism_irq_arm(side[0].dev)); /* not looked at yet */
	POLL_UNTIL(0, side[0].signals > 0);
	assert_false(ism_irq_arm(side[0].dev));
	/* the device's own interrupt comes through the same descriptor */
	assert_int_equal(ism_signal_event(side[1].dev, ism_gid(side[0].dev), 5, 6), 0);
	assert_int_equal(poll(&p, 1, 20000), 1);
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
}

int run_windows(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_windows_count),
		RIG_TEST(test_windows_end),
		RIG_TEST(test_windows_shut),
		RIG_TEST(test_windows_cost),
		RIG_TEST(test_windows_are_authorised),
		RIG_TEST(test_windows_wake),
	};

	return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
