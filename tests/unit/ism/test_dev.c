/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake.h"
#include "ism/dev.h"

#define PEER UINT64_C(0x1d15000000000002)
#define SIZE 16384u

static struct fake f;
static struct ism_dev *dev;

static struct {
	struct ism_dmb *dmb[64];
	uint16_t mask[64];
	size_t n;
	struct ism_event ev[64];
	size_t nev;
	unsigned int overruns;
	struct ism_dmb *kill; /* unregistered by the first call */
} seen;

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	assert_ptr_equal(ctx, &seen);
	seen.dmb[seen.n] = dmb;
	seen.mask[seen.n++] = mask;
	if (seen.kill) {
		assert_int_equal(ism_unregister_dmb(dev, seen.kill), 0);
		seen.kill = NULL;
	}
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	assert_ptr_equal(ctx, &seen);
	seen.ev[seen.nev++] = *ev;
}

static void on_overrun(void *ctx)
{
	assert_ptr_equal(ctx, &seen);
	seen.overruns++;
}

static const struct ism_handler handler = { .dmb = on_dmb, .event = on_event,
	.overrun = on_overrun };

static int try_open(bool selftest)
{
	const struct ism_params params = { .handler = &handler, .ctx = &seen, .name = "test",
		.skip_selftest = !selftest, .quarantine_ms = 3600000 };

	memset(&seen, 0, sizeof(seen));
	dev = NULL;
	return ism_open(f.z, &params, &dev);
}

static int setup_closed(void **state)
{
	fake_init(&f);
	fake_open(&f);
	dev = NULL;
	return 0;
}

static int setup(void **state)
{
	setup_closed(state);
	assert_int_equal(try_open(false), 0);
	return 0;
}

static int teardown(void **state)
{
	ism_close(dev);
	assert_null(f.z); /* taken, also by an open that failed */
	return 0;
}

static struct ism_dmb *reg(void)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(dev, PEER, SIZE, NULL, &dmb), 0);
	return dmb;
}

static bool irq_pending(void)
{
	struct pollfd p = { .fd = ism_irq_fd(dev), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* --- opening --- */

static void test_open_order(void **state)
{
	static const uint8_t cmds[] = { 0x01, 0x02, 0x08, 0x03, 0x04 };
	size_t at = 0;

	assert_int_equal(f.log[0].kind, 'M');
	for (size_t i = 0; i < f.nlog; i++)
		if (f.log[i].kind == 'S' && f.log[i].offset == 0)
			assert_int_equal(f.log[i].data[3], cmds[at++]);
	assert_int_equal(at, sizeof(cmds));
	assert_int_equal(f.sba % 4096, 0);
	assert_int_equal(f.ieq % 4096, 0);
	assert_true(f.sba != f.ieq);
	assert_true(ism_gid(dev) == FAKE_GID);
	assert_int_equal(ism_chid(dev), 0x1d15);
	assert_true(ism_profile(dev)->vlan_1fff);
	assert_int_equal(ism_profile(dev)->version, 2);
	assert_int_equal(ism_profile(dev)->max_len, 0x100000);
	assert_true(ism_irq_fd(dev) >= 0);
	assert_ptr_equal(ism_zpci(dev), f.z);
}

static void test_wrong_function(void **state)
{
	f.z->caps.device = 0x04ee;
	f.z->caps.info.pft = 4;
	assert_int_equal(try_open(false), -ENOTSUP);
	assert_int_equal(fake_count(&f, 'S'), 0);
}

static void test_either_identity_will_do(void **state)
{
	f.z->caps.info.pft = 0;
	assert_int_equal(try_open(false), 0);
	ism_close(dev);
	fake_open(&f);
	f.z->caps.vendor = 0x1af4;
	assert_int_equal(try_open(false), 0);
}

static void test_too_small(void **state)
{
	f.z->caps.max_store = 31;
	assert_int_equal(try_open(false), -ENOTSUP);
	fake_open(&f);
	f.z->caps.bar_size[2] = 255;
	assert_int_equal(try_open(false), -ENOTSUP);
	fake_open(&f);
	f.z->caps.bar_size[0] = 0;
	assert_int_equal(try_open(false), -ENOTSUP);
	fake_open(&f);
	f.z->caps.max_store = 32;
	f.z->caps.bar_size[2] = 256;
	assert_int_equal(try_open(false), 0);
}

static void test_vlan_required(void **state)
{
	f.vlan_required = 1;
	assert_int_equal(try_open(false), -ENOTSUP);
}

static void test_refusals_at_open(void **state)
{
	static const uint8_t fatal[] = { 0x01, 0x02, 0x03 };

	for (size_t i = 0; i < sizeof(fatal); i++) {
		f.ret[fatal[i]] = 4;
		assert_int_equal(try_open(false), -EIO);
		assert_null(dev);
		assert_null(f.z);
		f.ret[fatal[i]] = 0;
		fake_open(&f);
	}
	f.ret[0x08] = 4;
	f.ret[0x04] = 4;
	f.msi_error = -EINVAL;
	assert_int_equal(try_open(false), 0);
	assert_false(ism_profile(dev)->vlan_1fff);
	assert_int_equal(ism_profile(dev)->max_len, 0);
	assert_int_equal(ism_irq_fd(dev), -1);
	assert_false(ism_irq_arm(dev));
	ism_irq_ack(dev);
}

/* Every store and load of opening, the self-test's included, may be where the function dies. */
static void test_gone_at_any_step(void **state)
{
	size_t stores, loads;

	assert_int_equal(try_open(true), 0);
	stores = fake_count(&f, 'S');
	loads = fake_count(&f, 'L');
	dev = ism_close(dev);
	for (size_t i = 0; i < stores + loads; i++) {
		fake_init(&f);
		fake_open(&f);
		f.error = -ENODEV;
		f.fail_store = i < stores ? (long)i : -1;
		f.fail_load = i < stores ? -1 : (long)(i - stores);
		assert_int_equal(try_open(true), -ENODEV);
		assert_null(dev);
		assert_null(f.z);
	}
}

/* --- the self-test --- */

static void test_profile_of_a_full_function(void **state)
{
	const struct ism_profile *p;

	assert_int_equal(try_open(true), 0);
	p = ism_profile(dev);
	assert_true(p->loop_dmb);
	assert_true(p->unaligned_move);
	assert_true(p->full_move);
	assert_true(p->signal_without_msi);
	assert_true(p->signal_with_s);
	assert_int_equal(p->mask_idx0, 0x1000);
	assert_true(p->self_event);
	assert_true(p->unreg_event);
	assert_int_equal(ism_poll(dev), 0); /* nothing of it is left over */
	assert_int_equal(ism_counters(dev)->dmbs, 0);
}

static void test_strict_function_is_refused(void **state)
{
	f.strict = true;
	assert_int_equal(try_open(true), -ENOTSUP);
}

static void test_no_loop_is_no_defect(void **state)
{
	f.ret[0x0a] = 3;
	f.ret[0x0e] = 3;
	assert_int_equal(try_open(true), 0);
	assert_false(ism_profile(dev)->loop_dmb);
	assert_false(ism_profile(dev)->self_event);
	ism_close(dev);
	fake_init(&f);
	fake_open(&f);
	f.no_moves = true;
	f.no_events = true;
	assert_int_equal(try_open(true), 0);
	assert_false(ism_profile(dev)->loop_dmb);
	assert_false(ism_profile(dev)->unreg_event);
	assert_false(ism_profile(dev)->self_event);
}

static void test_signal_needs_msi(void **state)
{
	f.signal_needs_msi = true;
	assert_int_equal(try_open(true), 0);
	assert_false(ism_profile(dev)->signal_without_msi);
	assert_int_equal(ism_profile(dev)->mask_idx0, 0x1000);
	assert_int_equal(fake_count(&f, 'I'), 1);
}

/* Such a function is only heard when s is cleared by every poll. */
static void test_mute_while_s(void **state)
{
	f.mute_while_s = true;
	assert_int_equal(try_open(true), 0);
	assert_false(ism_profile(dev)->signal_with_s);
	fake_signal(&f, 32, 0);
	ism_poll(dev);
	assert_int_equal(fake_mem(&f, f.sba, 1)[0] & 0x80, 0);
}

static void test_events_of_others_survive(void **state)
{
	assert_int_equal(try_open(true), 0);
	dev = ism_close(dev);
	fake_init(&f);
	fake_open(&f);
	/* A peer's event waits before the self-test looks for its own. */
	f.ret[0x0a] = 3;
	f.no_events = true;
	assert_int_equal(try_open(false), 0);
	fake_event(&f, 2, 0x80, PEER, 7);
	assert_int_equal(ism_selftest(dev), 0);
	assert_true(ism_irq_arm(dev));
	assert_int_equal(ism_poll(dev), 1);
	assert_int_equal(seen.nev, 1);
	assert_true(seen.ev[0].tok == PEER);
	assert_false(ism_irq_arm(dev));
}

/* --- polling --- */

static void test_quiet_poll(void **state)
{
	f.nlog = 0;
	assert_int_equal(ism_poll(dev), 0);
	assert_int_equal(f.nlog, 0);
}

static void test_signals(void **state)
{
	struct ism_dmb *a = reg(), *b = reg();

	fake_signal(&f, b->idx, 0x0800);
	fake_signal(&f, a->idx, 0);
	fake_signal(&f, 1919, 0x1000); /* nobody's */
	assert_int_equal(ism_poll(dev), 2);
	assert_int_equal(seen.n, 2);
	assert_ptr_equal(seen.dmb[0], a);
	assert_int_equal(seen.mask[0], 0);
	assert_ptr_equal(seen.dmb[1], b);
	assert_int_equal(seen.mask[1], 0x0800);
	assert_int_equal(ism_counters(dev)->signals, 2);
	assert_int_equal(ism_poll(dev), 0);
}

/* The scan does not ask s. */
static void test_signal_without_s(void **state)
{
	struct ism_dmb *a = reg();

	fake_signal(&f, a->idx, 0x1000);
	fake_mem(&f, f.sba, 1)[0] = 0;
	assert_int_equal(ism_poll(dev), 1);
}

static void test_handler_unregisters(void **state)
{
	struct ism_dmb *a = reg(), *b = reg(), *c = reg();

	fake_signal(&f, a->idx, 0);
	fake_signal(&f, b->idx, 0);
	fake_signal(&f, c->idx, 0);
	seen.kill = b; /* the next of the scan */
	assert_int_equal(ism_poll(dev), 2);
	assert_ptr_equal(seen.dmb[0], a);
	assert_ptr_equal(seen.dmb[1], c);
	fake_signal(&f, a->idx, 0);
	fake_signal(&f, c->idx, 0);
	seen.kill = a; /* the one being delivered */
	seen.n = 0;
	assert_int_equal(ism_poll(dev), 2);
	assert_ptr_equal(seen.dmb[1], c);
	assert_int_equal(ism_counters(dev)->dmbs, 1);
}

static void test_events(void **state)
{
	fake_event(&f, 0, 4, UINT64_C(0x123400000000), 0);
	fake_event(&f, 1, 7, PEER, 9);
	fake_event(&f, 2, 0x83, PEER, UINT64_C(0x4142434400000001));
	assert_int_equal(ism_poll(dev), 3);
	assert_int_equal(seen.nev, 3);
	assert_int_equal(seen.ev[0].type, ISM_EVENT_BUF);
	assert_int_equal(seen.ev[0].code, ISM_EV_DMB_UNREGISTERED);
	assert_true(seen.ev[0].tok == UINT64_C(0x123400000000));
	assert_int_equal(seen.ev[1].type, ISM_EVENT_DEV);
	assert_int_equal(seen.ev[1].code, ISM_EV_GID_DISABLED);
	assert_int_equal(seen.ev[1].info, 9);
	assert_int_equal(seen.ev[2].type, ISM_EVENT_SWR);
	assert_true(seen.ev[2].info == UINT64_C(0x4142434400000001));
	assert_int_equal(fake_mem(&f, f.sba, 1)[0] & 0x40, 0);
	assert_int_equal(ism_counters(dev)->events, 3);
	assert_int_equal(seen.overruns, 0);
}

/* An event that was sent without a summary bit. */
static void test_event_without_e(void **state)
{
	fake_event(&f, 1, 7, PEER, 9);
	fake_mem(&f, f.sba, 1)[0] = 0;
	assert_int_equal(ism_poll(dev), 1);
	assert_int_equal(seen.nev, 1);
}

static void test_overrun(void **state)
{
	fake_event(&f, 1, 7, PEER, 0);
	ism_poll(dev);
	for (int i = 0; i < 15; i++)
		fake_event(&f, 1, 7, PEER, 1);
	assert_int_equal(ism_poll(dev), 1);
	assert_int_equal(seen.overruns, 1);
	assert_int_equal(ism_counters(dev)->event_overruns, 1);
	assert_int_equal(ism_poll(dev), 0);
	fake_put(fake_mem(&f, f.ieq, 8), 99, 8);
	assert_true(ism_irq_arm(dev));
	ism_poll(dev);
	assert_int_equal(seen.overruns, 2);
	assert_false(ism_irq_arm(dev)); /* nonsense that was reported keeps nobody awake */
}

/* --- sleeping --- */

static void test_irq(void **state)
{
	struct ism_dmb *a = reg();

	assert_false(ism_irq_arm(dev));
	assert_false(irq_pending());
	fake_signal(&f, a->idx, 0);
	assert_true(irq_pending());
	ism_irq_ack(dev);
	assert_false(irq_pending());
	assert_int_equal(ism_counters(dev)->irqs, 1);
	ism_irq_ack(dev); /* nothing there */
	assert_int_equal(ism_counters(dev)->irqs, 1);
	assert_int_equal(ism_poll(dev), 1);
	assert_false(ism_irq_arm(dev));
	/* Armed again: the next signal fires again. */
	fake_signal(&f, a->idx, 0);
	assert_true(irq_pending());
}

/* A signal between the last poll and arming is found by arming. */
static void test_arm_rechecks(void **state)
{
	struct ism_dmb *a = reg();

	assert_int_equal(ism_poll(dev), 0);
	fake_signal(&f, a->idx, 0);
	assert_true(ism_irq_arm(dev));
	assert_int_equal(ism_poll(dev), 1);
	assert_false(ism_irq_arm(dev));
	fake_event(&f, 1, 7, PEER, 0);
	assert_true(ism_irq_arm(dev));
	assert_int_equal(ism_poll(dev), 1);
	assert_false(ism_irq_arm(dev));
	fake_signal(&f, 1000, 0); /* a late one of nobody does not keep it awake for ever */
	assert_true(ism_irq_arm(dev));
	assert_int_equal(ism_poll(dev), 0);
	assert_false(ism_irq_arm(dev));
}

/* While it polls, a function with signal_with_s is not made to interrupt. */
static void test_polling_raises_no_interrupts(void **state)
{
	struct ism_dmb *a;

	assert_int_equal(try_open(true), 0);
	a = reg();
	ism_poll(dev);
	ism_irq_ack(dev);
	fake_signal(&f, a->idx, 0);
	ism_poll(dev);
	ism_irq_ack(dev);
	for (int i = 0; i < 5; i++) {
		fake_signal(&f, a->idx, 0);
		assert_int_equal(ism_poll(dev), 1);
		assert_false(irq_pending());
	}
	assert_false(ism_irq_arm(dev));
	fake_signal(&f, a->idx, 0);
	assert_true(irq_pending());
}

static void test_probe(void **state)
{
	assert_int_equal(ism_probe(dev), 0);
	dev->gid++;
	assert_int_equal(ism_probe(dev), -ESTALE);
	dev->gid--;
	f.ret[0x03] = 9;
	assert_int_equal(ism_probe(dev), -EIO);
	assert_int_equal(ism_last_ret(dev), 9);
	f.check_error = -ENODEV;
	assert_int_equal(ism_probe(dev), -ENODEV);
	f.check_error = 0;
	f.ret[0x03] = 0;
	assert_int_equal(ism_probe(dev), -ENODEV);
	assert_int_equal(ism_signal_event(dev, PEER, 1, 2), -ENODEV);
	assert_int_equal(ism_add_vlan(dev, 1), -ENODEV);
	assert_int_equal(ism_query_remote_gid(dev, PEER, false, 0), -ENODEV);
	assert_int_equal(ism_unmap_source(dev, 0x1000, 4096), -ENODEV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_open_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_function, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_either_identity_will_do, setup_closed,
			teardown),
		cmocka_unit_test_setup_teardown(test_too_small, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_vlan_required, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_refusals_at_open, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_gone_at_any_step, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_profile_of_a_full_function, setup_closed,
			teardown),
		cmocka_unit_test_setup_teardown(test_strict_function_is_refused, setup_closed,
			teardown),
		cmocka_unit_test_setup_teardown(test_no_loop_is_no_defect, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_signal_needs_msi, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_mute_while_s, setup_closed, teardown),
		cmocka_unit_test_setup_teardown(test_events_of_others_survive, setup_closed,
			teardown),
		cmocka_unit_test_setup_teardown(test_quiet_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signal_without_s, setup, teardown),
		cmocka_unit_test_setup_teardown(test_handler_unregisters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_event_without_e, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overrun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_irq, setup, teardown),
		cmocka_unit_test_setup_teardown(test_arm_rechecks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_polling_raises_no_interrupts, setup_closed,
			teardown),
		cmocka_unit_test_setup_teardown(test_probe, setup, teardown),
	};

	return cmocka_run_group_tests_name("ism dev", tests, NULL, NULL);
}
