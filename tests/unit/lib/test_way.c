/* SPDX-License-Identifier: MIT */
/*
 * test_way.c - which way large pieces are copied, by a clock of our own
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "smcd/lib/internal.h"

#define A_RING UINT64_C(262144)

/* A sender of one direction: what a ring's length takes, each way. */
struct run {
	struct lib_way way;
	uint64_t now, pos;
	unsigned int windows, far; /* all, and those past the caches */
};

static void start(struct run *r)
{
	*r = (struct run){ .now = 1000 };
	way_init(&r->way);
	way_judge(&r->way, r->now, 0, A_RING);
}

static void window(struct run *r, uint64_t far_ns, uint64_t near_ns)
{
	uint64_t rings = (r->way.end - r->pos) / A_RING;

	assert_true(rings > 1);
	r->windows++;
	r->far += r->way.far;
	r->now += rings * (r->way.far ? far_ns : near_ns);
	r->pos = r->way.end;
	way_judge(&r->way, r->now, r->pos, A_RING);
}

static void run(struct run *r, unsigned int windows, uint64_t far_ns, uint64_t near_ns)
{
	r->windows = r->far = 0;
	while (windows--)
		window(r, far_ns, near_ns);
}

/* It begins past the caches, and hardly tries anything else if that is better, or as good. */
static void test_stays(void **state)
{
	static const uint64_t near_ns[] = { 200, 100, 96 };
	struct run r;

	for (unsigned int i = 0; i < 3; i++) {
		start(&r);
		assert_true(r.way.far);
		run(&r, 1000, 100, near_ns[i]);
		assert_in_range(r.windows - r.far, 5, 9);
	}
}

/* Found out at once, and after a change of the machine by the next trial; both ways. */
static void test_changes(void **state)
{
	struct run r;

	start(&r);
	run(&r, 1000, 100, 50);
	assert_in_range(r.far, 5, 10);
	run(&r, 200, 50, 100);
	run(&r, 1000, 50, 100);
	assert_in_range(r.windows - r.far, 5, 9);
	run(&r, 200, 100, 50);
	run(&r, 1000, 100, 50);
	assert_in_range(r.far, 5, 9);
}

/* A pause is no reason to change: not before a trial, not in one. */
static void test_pauses(void **state)
{
	struct run r;

	start(&r);
	run(&r, 10, 100, 200);
	for (unsigned int i = 0; i < 1000; i++) {
		bool pause = i % 7 == 3;

		run(&r, 1, pause ? 100000 : 100, pause ? 100000 : 200);
		if (!r.way.trial)
			assert_true(r.way.far);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stays),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_pauses),
	};

	return cmocka_run_group_tests_name("lib/way", tests, NULL, NULL);
}
