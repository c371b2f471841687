/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <cmocka.h>

#include "fake.h"
#include "ism/dev.h"
#include "vfio/base/fd.h"

#define PEER	UINT64_C(0x1d15000000000002)
#define FOREVER 3600000u
#define KIB	1024u

static struct fake f;
static struct ism_dev *dev;
static unsigned int woken;

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	woken++;
}

static const struct ism_handler handler = { .dmb = on_dmb };

static void open_dev(unsigned int quarantine_ms)
{
	const struct ism_params params = { .handler = &handler, .name = "test",
		.skip_selftest = true, .quarantine_ms = quarantine_ms };

	fake_init(&f);
	assert_int_equal(ism_open(fake_open(&f), &params, &dev), 0);
	f.nlog = 0;
	woken = 0;
}

static int setup_long(void **state)
{
	open_dev(FOREVER);
	return 0;
}

static int setup_short(void **state)
{
	open_dev(1);
	return 0;
}

static int teardown(void **state)
{
	ism_close(dev);
	assert_null(f.z);
	return 0;
}

/* Polls until the quarantines are over. */
static void wait_released(void)
{
	const struct timespec ts = { .tv_nsec = 1000000 };

	for (int i = 0; i < 5000 && ism_counters(dev)->quarantined; i++) {
		ism_poll(dev);
		nanosleep(&ts, NULL);
	}
	assert_int_equal(ism_counters(dev)->quarantined, 0);
}

static void test_lifecycle(void **state)
{
	struct ism_dmb *dmb;
	int user;

	f.next_iova = UINT64_C(0x100100000);
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, &user, &dmb), 0);
	assert_int_equal(dmb->idx, 32);
	assert_int_equal(dmb->size, 16 * KIB);
	assert_true(dmb->iova == UINT64_C(0x100100000));
	assert_true(dmb->rgid == PEER);
	assert_true(dmb->token == UINT64_C(0x123400000000));
	assert_ptr_equal(dmb->user, &user);
	assert_int_equal(fd_check_sealed(dmb->fd, dmb->size), 0);
	for (uint32_t i = 0; i < dmb->size; i++)
		assert_int_equal(((uint8_t *)dmb->va)[i], 0);
	/* Mapped before it is registered. */
	assert_int_equal(f.log[0].kind, 'M');
	assert_int_equal(ism_counters(dev)->dmbs, 1);

	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	assert_int_equal(ism_counters(dev)->dmbs, 0);
	assert_int_equal(ism_counters(dev)->quarantined, 1);
	wait_released();
	assert_int_equal(fake_count(&f, 'U'), 1);
	/* Now the index is free again, as is shown by going round. */
	assert_null(dev->dmbs[32]);
}

static void test_sizes(void **state)
{
	static const uint32_t bad[] = { 0, 1, 4096, 8192, 16383, 16385, 24576, 1048575, 1048577,
		2097152, 0x80000000 };
	struct ism_dmb *dmb = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ism_register_dmb(dev, PEER, bad[i], NULL, &dmb), -EINVAL);
	assert_null(dmb);
	assert_int_equal(f.nlog, 0);
	for (uint32_t size = 16 * KIB; size <= 1024 * KIB; size *= 2) {
		assert_int_equal(ism_register_dmb(dev, PEER, size, NULL, &dmb), 0);
		assert_int_equal(dmb->iova % size, 0);
	}
}

/* A signal that was for the index's former owner is not the new one's. */
static void test_stale_signal_is_cleared(void **state)
{
	struct ism_dmb *dmb;

	fake_signal(&f, 32, 0x1000);
	fake_signal(&f, 33, 0x1000);
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	assert_int_equal(dmb->idx, 32);
	assert_int_equal(ism_poll(dev), 0);
	assert_int_equal(woken, 0);
	fake_signal(&f, 32, 0x1000);
	assert_int_equal(ism_poll(dev), 1);
	assert_int_equal(woken, 1);
}

static void test_quarantine_holds(void **state)
{
	struct ism_dmb *dmb, *other;
	uint64_t iova;
	uint32_t idx;

	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	iova = dmb->iova;
	idx = dmb->idx;
	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	/* Commands alone do not end it. */
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ism_probe(dev), 0);
		ism_poll(dev);
	}
	assert_int_equal(ism_counters(dev)->quarantined, 1);
	assert_int_equal(fake_count(&f, 'U'), 0);
	assert_non_null(fake_mem(&f, iova, 16 * KIB));
	/* A store that was under way lands harmlessly, and wakes nobody. */
	memset(fake_mem(&f, iova, 16 * KIB), 0xee, 16 * KIB);
	fake_signal(&f, idx, 0x1000);
	assert_int_equal(ism_poll(dev), 0);
	assert_int_equal(woken, 0);
	/* Neither memory nor index is handed out again. */
	dev->next_idx = idx;
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &other), 0);
	assert_int_not_equal(other->idx, idx);
	assert_true(other->iova != iova);
}

/* Time alone does not end it: the device has to show that it goes on working. */
static void test_quarantine_needs_an_answer(void **state)
{
	const struct timespec ts = { .tv_nsec = 3000000 };
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	f.ret[0x03] = 5;
	for (int i = 0; i < 5; i++) {
		nanosleep(&ts, NULL);
		ism_poll(dev);
	}
	assert_int_equal(ism_counters(dev)->quarantined, 1);
	assert_int_equal(fake_count(&f, 'U'), 0);
	f.ret[0x03] = 0;
	wait_released();
	assert_int_equal(fake_count(&f, 'U'), 1);
}

/* The refusals after which memory must stay, and the ones after which it may go. */
static void test_refused_unregister(void **state)
{
	static const uint16_t rets[] = { 1, 0x1234, 0xfffe };
	struct ism_dmb *dmb;

	for (size_t i = 0; i < 3; i++) {
		uint32_t idx;

		assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
		idx = dmb->idx;
		f.ret[0x0b] = rets[i];
		assert_int_equal(ism_unregister_dmb(dev, dmb), -EIO);
		assert_int_equal(ism_last_ret(dev), rets[i]);
		assert_int_equal(ism_counters(dev)->quarantined, 0);
		assert_int_equal(ism_counters(dev)->dmbs, 0);
		fake_signal(&f, idx, 0x1000);
		assert_int_equal(ism_poll(dev), 0);
		assert_int_equal(dev->dmbs[idx]->state, ISM_DMB_KEPT);
		assert_int_equal(fake_count(&f, 'U'), 0);
		f.ret[0x0b] = 0;
	}
}

static void test_unanswered_unregister(void **state)
{
	struct ism_dmb *dmb;
	uint32_t idx;

	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	idx = dmb->idx;
	f.ret[0x0b] = 0xffff;
	assert_int_equal(ism_unregister_dmb(dev, dmb), -EIO);
	f.ret[0x0b] = 0;
	assert_int_equal(ism_counters(dev)->quarantined, 1);
	wait_released();
	assert_int_equal(fake_count(&f, 'U'), 1);
	/* Nobody knows whether the device thinks the index free. */
	assert_int_equal(dev->dmbs[idx]->state, ISM_DMB_RETIRED);
}

static void test_refused_register(void **state)
{
	struct ism_dmb *dmb = NULL;

	f.ret[0x0a] = 7;
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -EIO);
	assert_int_equal(ism_last_ret(dev), 7);
	assert_null(dmb);
	assert_int_equal(fake_count(&f, 'U'), 1);
	assert_int_equal(ism_counters(dev)->dmbs, 0);
	assert_null(dev->dmbs[32]);
}

/* Each store and each load of REG_DMB: what may have been executed is quarantined. */
static void test_unanswered_register(void **state)
{
	struct ism_dmb *dmb = NULL;

	for (int i = 0; i < 4; i++) {
		f.fail_store = i < 2 ? i : -1;
		f.fail_load = i < 2 ? -1 : i - 2;
		assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -EIO);
		assert_null(dmb);
		assert_int_equal(ism_last_ret(dev), 0xffff);
		assert_int_equal(ism_counters(dev)->quarantined, i + 1);
		assert_int_equal(fake_count(&f, 'U'), 0);
	}
}

static void test_impossible_token(void **state)
{
	static const uint64_t bad[] = { 1, UINT64_C(0x123400800000), UINT64_C(0x1000000000000) };
	struct ism_dmb *dmb = NULL;

	for (size_t i = 0; i < 3; i++) {
		f.next_token = bad[i];
		assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -EIO);
		assert_null(dmb);
	}
	assert_int_equal(ism_counters(dev)->quarantined, 3);
}

static void test_map_failures(void **state)
{
	struct ism_dmb *dmb = NULL;

	f.map_error = -ENOSPC;
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -ENOMEM);
	f.map_error = -EIO;
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -EIO);
	f.map_error = 0;
	assert_int_equal(f.nlog, 0);
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	/* What cannot be unmapped is not destroyed. */
	f.unmap_error = -EIO;
	wait_released();
	assert_int_equal(dev->dmbs[32]->state, ISM_DMB_KEPT);
	f.unmap_error = 0;
}

static void test_all_indexes(void **state)
{
	struct rlimit lim;
	struct ism_dmb *dmb = NULL, *first = NULL;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
	if (lim.rlim_max < 2048) {
		skip();
		return;
	}
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	for (uint32_t i = 0; i < 1888; i++) {
		f.nlog = 0;
		assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
		assert_int_equal(dmb->idx, 32 + i);
		if (!first)
			first = dmb;
	}
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -ENOSPC);
	assert_int_equal(ism_unregister_dmb(dev, first), 0);
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), -ENOSPC);
	wait_released();
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	assert_int_equal(dmb->idx, 32);
	f.nlog = 0;
}

/* Private DMBs are cut out of the memory that was mapped when the function was opened. */
static void test_private(void **state)
{
	struct ism_dmb *dmb[8], *large;
	uint64_t iova;

	for (int i = 0; i < 8; i++) {
		assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb[i]), 0);
		assert_int_equal(dmb[i]->iova % (64 * KIB), 0);
		assert_int_equal(dmb[i]->fd, -1);
		assert_ptr_equal(dmb[i]->va, fake_mem(&f, dmb[i]->iova, 64 * KIB));
		for (int k = 0; k < i; k++)
			assert_true(dmb[k]->iova != dmb[i]->iova);
	}
	assert_int_equal(fake_count(&f, 'M'), 0);
	/* One that finds no room brings another arena. */
	assert_int_equal(ism_register_private_dmb(dev, PEER, 1024 * KIB, NULL, &large), 0);
	assert_int_equal(large->iova % (1024 * KIB), 0);
	assert_int_equal(fake_count(&f, 'M'), 1);
	/* Its memory is used again once it has rested, zeroed. */
	iova = dmb[3]->iova;
	memset(dmb[3]->va, 0xee, 64 * KIB);
	assert_int_equal(ism_unregister_dmb(dev, dmb[3]), 0);
	assert_int_equal(ism_unregister_dmb(dev, large), 0);
	wait_released();
	assert_int_equal(fake_count(&f, 'U'), 1);
	assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb[3]), 0);
	assert_true(dmb[3]->iova == iova);
	for (uint32_t i = 0; i < dmb[3]->size; i++)
		assert_int_equal(((uint8_t *)dmb[3]->va)[i], 0);
	assert_int_equal(fake_count(&f, 'M'), 1);
}

/* Files and blocks that leave one after another, each in its own way. */
static void test_private_among_others(void **state)
{
	struct ism_dmb *dmb;

	for (int i = 0; i < 12; i++) {
		if (i / 2 % 2)
			assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
		else
			assert_int_equal(ism_register_private_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
		assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	}
	wait_released();
	assert_int_equal(fake_count(&f, 'M'), 6);
	assert_int_equal(fake_count(&f, 'U'), 6);
	for (uint32_t i = 32; i < 64; i++)
		assert_null(dev->dmbs[i]);
}

/* During its rest a late store lands in nobody's memory. */
static void test_private_rests(void **state)
{
	struct ism_dmb *dmb, *other;
	uint64_t iova;

	assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb), 0);
	iova = dmb->iova;
	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ism_probe(dev), 0);
		ism_poll(dev);
	}
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &other), 0);
		assert_true(other->iova != iova);
	}
	assert_non_null(fake_mem(&f, iova, 64 * KIB));
}

/* What the device may still write, for all we know, is no one else's while it is open. */
static void test_private_kept(void **state)
{
	struct ism_dmb *dmb[3] = { NULL }, *other;
	uint64_t iova[2];

	for (int i = 0; i < 2; i++) {
		assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb[i]), 0);
		iova[i] = dmb[i]->iova;
		f.ret[0x0b] = i ? 0xffff : 0x1234;
		assert_int_equal(ism_unregister_dmb(dev, dmb[i]), -EIO);
	}
	f.ret[0x0b] = 0;
	f.fail_load = 0; /* perhaps registered, perhaps not */
	assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb[2]), -EIO);
	wait_released();
	for (uint32_t idx = 32; idx < 35; idx++)
		assert_int_equal(dev->dmbs[idx]->state, ISM_DMB_KEPT);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &other), 0);
		assert_true(other->iova != iova[0] && other->iova != iova[1]);
	}
	/* A plain refusal is another matter: the device never had it. */
	f.ret[0x0a] = 7;
	assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb[2]), -EIO);
	f.ret[0x0a] = 0;
	assert_null(dev->dmbs[dev->next_idx - 1]);
}

/* Where DMBs are given to their writers each one is a file. */
static void test_private_is_a_file(void **state)
{
	struct ism_dmb *dmb;

	f.z->caps.gives_files = true;
	assert_int_equal(ism_register_private_dmb(dev, PEER, 64 * KIB, NULL, &dmb), 0);
	assert_int_equal(fd_check_sealed(dmb->fd, 64 * KIB), 0);
	assert_int_equal(fake_count(&f, 'M'), 1);
	assert_int_equal(ism_unregister_dmb(dev, dmb), 0);
	wait_released();
	assert_int_equal(fake_count(&f, 'U'), 1);
}

/* SBA, event queue, the self-test's DMB, what a daemon asks for: one map. */
static void test_one_map(void **state)
{
	const struct ism_params params = { .handler = &handler, .name = "test" };
	struct arena_block b;

	ism_close(dev);
	fake_init(&f);
	assert_int_equal(ism_open(fake_open(&f), &params, &dev), 0);
	assert_int_equal(ism_memory_get(dev, 64 * KIB, &b), 0);
	assert_ptr_equal(b.va, fake_mem(&f, b.iova, 64 * KIB));
	assert_int_equal(fake_count(&f, 'M'), 1);
	assert_int_equal(ism_memory_put(dev, &b), 0);
	f.map_error = -ENOSPC;
	assert_int_equal(ism_memory_get(dev, 1024 * KIB, &b), -ENOMEM);
	f.map_error = -EIO;
	assert_int_equal(ism_memory_get(dev, 1024 * KIB, &b), -EIO);
	f.map_error = 0;
}

/* Unregistered, queue and signals off, door closed, and then the memory is gone: see the fake. */
static void test_close_order(void **state)
{
	static const uint8_t cmds[] = { 0x0b, 0x12, 0x11 };
	struct ism_dmb *dmb;
	size_t at = 0;

	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	f.nlog = 0;
	dev = ism_close(dev);
	assert_null(dev);
	for (size_t i = 0; i < f.nlog; i++)
		if (f.log[i].kind == 'S' && f.log[i].offset == 0) {
			if (at < sizeof(cmds))
				assert_int_equal(f.log[i].data[3], cmds[at]);
			at++;
		}
	assert_int_equal(at, sizeof(cmds));
	assert_int_equal(f.log[f.nlog - 2].kind, 'i');
	assert_int_equal(f.log[f.nlog - 1].kind, 'C');
}

static void test_gone(void **state)
{
	struct ism_dmb *dmb, *other = NULL;

	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &dmb), 0);
	f.error = -ENODEV;
	f.fail_store = 0;
	assert_int_equal(ism_probe(dev), -ENODEV);
	f.nlog = 0;
	assert_int_equal(ism_unregister_dmb(dev, dmb), -ENODEV);
	assert_int_equal(ism_register_dmb(dev, PEER, 16 * KIB, NULL, &other), -ENODEV);
	assert_null(other);
	ism_poll(dev);
	assert_int_equal(f.nlog, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lifecycle, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_sizes, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_stale_signal_is_cleared, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_quarantine_holds, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_quarantine_needs_an_answer, setup_short,
			teardown),
		cmocka_unit_test_setup_teardown(test_refused_unregister, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_unanswered_unregister, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_refused_register, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_unanswered_register, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_impossible_token, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_map_failures, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_all_indexes, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_private, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_private_among_others, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_private_rests, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_private_kept, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_private_is_a_file, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_one_map, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_close_order, setup_long, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup_long, teardown),
	};

	return cmocka_run_group_tests_name("ism dmb", tests, NULL, NULL);
}
