/* SPDX-License-Identifier: MIT */
/* Who counts as moving little, and who is held back for whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/daemon/fair.h"

#define START  UINT64_C(1000000000000)
#define BULK   UINT64_C(65536)
#define WINDOW FAIR_WINDOW_NS

struct rig {
	struct fair f;
	struct fair_flow bulk, ping, pong;
	uint64_t now;
};

static struct rig rig(void)
{
	return (struct rig){ .now = START };
}

static bool held(struct rig *r, const struct fair_flow *flow)
{
	return fair_crowded(&r->f, flow, r->now);
}

static void alone_nobody_is_held_back(void **state)
{
	struct rig r = rig();

	assert_false(held(&r, &r.bulk));
	for (int i = 0; i < 100; i++, r.now += WINDOW / 30) {
		fair_moved(&r.f, &r.bulk, i ? BULK : 100, r.now); /* every stream begins small */
		assert_false(held(&r, &r.bulk));
	}
}

static void bulk_is_held_back_beside_a_dialogue(void **state)
{
	struct rig r = rig();

	fair_moved(&r.f, &r.bulk, BULK, r.now);
	fair_moved(&r.f, &r.ping, 64, r.now);
	assert_true(held(&r, &r.bulk));
	assert_false(held(&r, &r.ping));
	/* As long as the dialogue goes on, and a window more. */
	r.now += WINDOW - 1;
	fair_moved(&r.f, &r.bulk, BULK, r.now);
	assert_true(held(&r, &r.bulk));
	r.now++;
	assert_false(held(&r, &r.bulk));
	fair_moved(&r.f, &r.ping, 64, r.now);
	assert_true(held(&r, &r.bulk));
}

static void dialogues_do_not_hold_each_other_back(void **state)
{
	struct rig r = rig();

	for (int i = 0; i < 50; i++, r.now += WINDOW / 10) {
		fair_moved(&r.f, &r.ping, 4096, r.now);
		fair_moved(&r.f, &r.pong, 64, r.now);
		assert_false(held(&r, &r.ping));
		assert_false(held(&r, &r.pong));
	}
}

static void streams_do_not_hold_each_other_back(void **state)
{
	struct rig r = rig();

	for (int i = 0; i < 50; i++, r.now += WINDOW / 10) {
		fair_moved(&r.f, &r.ping, BULK, r.now);
		fair_moved(&r.f, &r.bulk, BULK, r.now);
		assert_false(held(&r, &r.ping));
		assert_false(held(&r, &r.bulk));
	}
}

/* A stream of small messages is a stream, also at the beginning of its next window. */
static void many_small_messages_are_much(void **state)
{
	struct rig r = rig();

	fair_moved(&r.f, &r.bulk, BULK, r.now);
	for (int i = 0; i < 5000; i++, r.now += WINDOW / 1000)
		fair_moved(&r.f, &r.pong, 64, r.now);
	assert_true(held(&r, &r.bulk)); /* 64 KB a window are a dialogue */
	for (int i = 0; i < 5000; i++, r.now += WINDOW / 1000) {
		fair_moved(&r.f, &r.pong, 640, r.now);
		fair_moved(&r.f, &r.bulk, BULK, r.now);
	}
	assert_false(held(&r, &r.bulk));
}

/* What was a stream may become a dialogue; after a pause at once. */
static void the_past_is_forgotten(void **state)
{
	struct rig r = rig();

	fair_moved(&r.f, &r.ping, 10 * BULK, r.now);
	fair_moved(&r.f, &r.bulk, BULK, r.now);
	r.now += WINDOW;
	fair_moved(&r.f, &r.ping, 64, r.now);
	assert_false(held(&r, &r.bulk));
	r.now += WINDOW;
	fair_moved(&r.f, &r.ping, 64, r.now);
	fair_moved(&r.f, &r.bulk, BULK, r.now);
	assert_true(held(&r, &r.bulk));
	fair_moved(&r.f, &r.ping, 10 * BULK, r.now);
	r.now += 2 * WINDOW;
	fair_moved(&r.f, &r.ping, 64, r.now);
	fair_moved(&r.f, &r.bulk, BULK, r.now);
	assert_true(held(&r, &r.bulk));
}

/* The last one that moved little may be oneself, a moment ago: the one before counts. */
static void own_beginning_hides_nobody(void **state)
{
	struct rig r = rig();

	fair_moved(&r.f, &r.ping, 64, r.now);
	r.now += WINDOW / 4;
	fair_moved(&r.f, &r.bulk, 64, r.now);
	fair_moved(&r.f, &r.bulk, BULK, r.now);
	assert_true(held(&r, &r.bulk));
	r.now += WINDOW * 3 / 4;
	assert_false(held(&r, &r.bulk));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_nobody_is_held_back),
		cmocka_unit_test(bulk_is_held_back_beside_a_dialogue),
		cmocka_unit_test(dialogues_do_not_hold_each_other_back),
		cmocka_unit_test(streams_do_not_hold_each_other_back),
		cmocka_unit_test(many_small_messages_are_much),
		cmocka_unit_test(the_past_is_forgotten),
		cmocka_unit_test(own_beginning_hides_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
