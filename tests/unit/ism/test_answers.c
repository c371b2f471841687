/* SPDX-License-Identifier: MIT */
/*
 * The driver under every answer that hardware may give (the model's knobs), through both transports
 * of a kernel: two functions work together, or the function is refused at the start.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ism/ism.h"
#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/base/fd.h"

#define SIZE	(64u * 1024u)
#define HANG_NS UINT64_C(20000000000)
#define CODE	0x55u

static const struct {
	const char *knob;
	uint64_t value;
	int open; /* what opening says */
} answers[] = {
	{ "echo_cmd", 1, 0 }, /* all as the model has it by itself */
	{ "echo_cmd", 0, 0 },
	{ "load_width8", 1, 0 },
	{ "bar2_size", 65536, 0 },
	{ "bar2_size", 1048576, 0 },
	{ "split_body", 0, 0 },
	{ "stale_body", 1, 0 },
	{ "max_store", 32, 0 },
	{ "max_store", 1000, 0 },
	{ "max_store", 31, -ENOTSUP },
	{ "max_store", 8, -ENOTSUP },
	{ "strict_align", 1, -EIO }, /* then not even a command can be given */
	{ "zero_length", 1, 0 },
	{ "zero_length", 2, 0 },
	{ "torn_writes", 1, 0 },
	{ "require_registered", 1, 0 },
	{ "token_low_bits", 24, 0 },
	{ "token_low_bits", 44, 0 },
	{ "idx_limit", 0, 0 },
	{ "idx_limit", 255, 0 },
	{ "mask_base", 1, 0 },
	{ "mask_base", 0xffff, 0 },
	{ "sba_order", 1, 0 },
	{ "sba_order", 2, 0 },
	{ "sba_delay_us", 3000, 0 },
	{ "sba_hold", 1, 0 },
	{ "require_msi", 1, 0 },
	{ "require_master", 1, 0 },
	{ "irq_level", 1, 0 },
	{ "event_coalesce", 0, 0 },
	{ "event_coalesce", 2, 0 },
	{ "ieq_fill", 0, 0 },
	{ "ieq_overflow", 1, 0 },
	{ "ieq_any_len", 1, 0 },
	{ "unreg_events", 0, 0 },
	{ "death_events", 0, 0 },
	{ "dmb_granule", 16384, 0 },
	{ "dmb_align", 16384, 0 },
	{ "dmb_align", SIZE, 0 }, /* which the small one of the self-test does not have */
	{ "dmb_pow2", 1, 0 },
	{ "dmb_cross_1m", 0, 0 },
	{ "dmb_needs_sba", 1, 0 },
	{ "dmb_max", 65536, 0 },
	{ "dmb_limit", 1, 0 }, /* that of the self-test has gone when the next one comes */
	{ "fabric_limit", 1, 0 },
	{ "dmb_clear", 1, 0 },
	{ "stale_bits", 1, 0 },
	{ "stale_bits", 2, 0 },
	{ "low_idx", 0, 0 },
	{ "loop_gid", 0, 0 },
	{ "rgid_zero", 1, 0 },
	{ "late_store_us", 2000, 0 },
	{ "vlan_1fff", 0, 0 },
	{ "vlan_required", 1, -ENOTSUP },
	{ "vlan_set", 1, 0 },
	{ "info_version", 0xffffffff, 0 },
	{ "gid_change", 1, 0 },
	{ "reset_supported", 0, 0 },
	{ "reset_keeps", 1, 0 },
	{ "error_keeps", 1, 0 },
};

struct end {
	struct ism_dev *dev;
	unsigned int signals, events;
};

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	((struct end *)ctx)->signals++;
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	((struct end *)ctx)->events += ev->type == 2 && ev->code == CODE;
}

static const struct ism_handler handler = { .dmb = on_dmb, .event = on_event };

static int open_end(struct end *e, unsigned int nr)
{
	const struct ism_params params = { .handler = &handler, .ctx = e, .name = "test" };
	struct vfio_device *dev;
	struct zpci *z;
	int r = ism_double_open(nr, &dev);

	if (r == 0)
		r = zpci_open(dev, &z);
	return r ? r : ism_open(z, &params, &e->dev);
}

static void poll_until(struct end *e, const unsigned int *count, unsigned int want)
{
	uint64_t end = clock_ns() + HANG_NS;

	while (*count < want) {
		assert_true(clock_ns() < end);
		ism_poll(e->dev);
		ism_double_run();
	}
}

static void move(struct end *e, const struct ism_dmb *dmb, uint32_t at, const uint8_t *data,
	uint32_t len)
{
	const struct ism_move m = { .token = dmb->token, .offset = at, .len = len, .data = data,
		.sf = true };
	size_t done = 0;

	assert_int_equal(ism_move_data(e->dev, &m, 1, &done), 0);
	assert_int_equal(done, 1);
}

/* Writes arrive whole and are signalled, events too, and nothing is left after the end. */
static void work_together(struct end *owner, struct end *writer, bool private)
{
	static const uint32_t lengths[] = { 1, 7, 8, 33, 4096, 10007, SIZE - 5000 };
	struct ism_dmb *dmb = NULL;
	static uint8_t data[SIZE];
	unsigned int events = owner->events;
	uint32_t at = 3;
	uint64_t hang;
	int r;

	for (uint32_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	r = private ? ism_register_private_dmb(owner->dev, ism_gid(writer->dev), SIZE, NULL, &dmb)
		    : ism_register_dmb(owner->dev, ism_gid(writer->dev), SIZE, NULL, &dmb);
	assert_int_equal(r, 0);
	for (uint32_t i = 0; i < SIZE; i++)
		assert_int_equal(((uint8_t *)dmb->va)[i], 0);
	for (unsigned int i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		unsigned int before = owner->signals;

		move(writer, dmb, at, data, lengths[i]);
		poll_until(owner, &owner->signals, before + 1);
		assert_memory_equal((uint8_t *)dmb->va + at, data, lengths[i]);
		at = (at + 601) % 5000;
	}
	assert_int_equal(ism_signal_event(writer->dev, ism_gid(owner->dev), CODE, 1), 0);
	poll_until(owner, &owner->events, events + 1);
	assert_int_equal(ism_probe(owner->dev), 0);
	assert_int_equal(ism_unregister_dmb(owner->dev, dmb), 0);
	hang = clock_ns() + HANG_NS;
	while (private && ism_counters(owner->dev)->quarantined) {
		assert_true(clock_ns() < hang);
		ism_double_run();
		ism_poll(owner->dev);
	}
}

static void ask(enum ism_double_kind kind, unsigned int i)
{
	const struct ism_double_params params = { .kind = kind, .functions = 2 };
	struct end a = { 0 }, b = { 0 };
	struct fabric *model;
	int r;

	assert_int_equal(ism_double_start(&params, &model), 0);
	r = knob_find(answers[i].knob);
	assert_true(r >= 0);
	assert_int_equal(knob_set(&model->knobs, (enum knob_id)r, answers[i].value), 0);
	r = open_end(&a, 0);
	if (r != answers[i].open)
		fail_msg("%s = %llu: opening says %d", answers[i].knob,
			(unsigned long long)answers[i].value, r);
	if (r == 0) {
		assert_int_equal(open_end(&b, 1), 0);
		print_message("%s = %llu\n", answers[i].knob, (unsigned long long)answers[i].value);
		work_together(&a, &b, false);
		work_together(&a, &b, true);
		work_together(&a, &b, true); /* where the one before it was */
		ism_close(a.dev);
		ism_close(b.dev);
	}
	assert_int_equal(ism_double_stop(), 0);
}

static void test_region(void **state)
{
	for (unsigned int i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		ask(ISM_DOUBLE_REGION, i);
}

static void test_bars(void **state)
{
	for (unsigned int i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		ask(ISM_DOUBLE_BARS, i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_region),
		cmocka_unit_test(test_bars),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
