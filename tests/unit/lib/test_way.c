/* SPDX-License-Identifier: MIT */
/*
 * test_way.c - which way large pieces are copied, by a clock of our own
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "smcd/lib/internal.h"

#define A_RING UINT64_C(262144)

/* What a ring's length takes at each level. */
static const uint64_t far_apart[] = { 100, 150, 300, 500, 1000 };
static const uint64_t alike[] = { 100, 100, 100, 96, 100 };
static const uint64_t mixed[] = { 150, 120, 100, 130, 140 };
static const uint64_t through[] = { 150, 155, 170, 180, 100 };

/* A sender of one direction. */
struct run {
	struct lib_way way;
	uint64_t now, pos;
	uint64_t bytes[WAY_LEVELS + 1];
};

static void start(struct run *r)
{
	*r = (struct run){ .now = 1000 };
	way_init(&r->way);
	way_judge(&r->way, r->now, 0, A_RING);
}

static bool trial(const struct run *r)
{
	return r->way.level != r->way.best;
}

/* As far as the next look at the clock. */
static void step(struct run *r, const uint64_t *ns)
{
	uint64_t n = r->way.end - r->pos;

	assert_in_range(n, 1, A_RING);
	assert_in_range(r->way.level, 0, WAY_LEVELS);
	r->bytes[r->way.level] += n;
	r->now += n * ns[r->way.level] / A_RING;
	r->pos = r->way.end;
	way_judge(&r->way, r->now, r->pos, A_RING);
}

static void run(struct run *r, uint64_t rings, const uint64_t *ns)
{
	uint64_t until = r->pos + rings * A_RING;

	memset(r->bytes, 0, sizeof(r->bytes));
	while (r->pos < until)
		step(r, ns);
}

/* Rings' lengths that did not go as the best do. */
static uint64_t tried(const struct run *r, unsigned int best)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i <= WAY_LEVELS; i++)
		sum += i == best ? 0 : r->bytes[i];
	return sum / A_RING;
}

/* It begins past the caches, and stays there if no other is better; what is much worse ends at once. */
static void test_stays(void **state)
{
	struct run r;

	start(&r);
	assert_int_equal(r.way.level, 0);
	run(&r, 16384, far_apart);
	assert_int_equal(r.way.best, 0);
	assert_in_range(tried(&r, 0), 40, 120);
	run(&r, 16384, far_apart);
	assert_in_range(tried(&r, 0), 10, 50);
	start(&r);
	run(&r, 16384, alike);
	assert_int_equal(r.way.best, 0);
	run(&r, 16384, alike);
	assert_in_range(tried(&r, 0), 100, 150);
}

/* The best of all is found soon, also behind worse ones. */
static void test_finds(void **state)
{
	struct run r;

	start(&r);
	run(&r, 512, mixed);
	assert_int_equal(r.way.best, 2);
	run(&r, 8192, mixed);
	assert_int_equal(r.way.best, 2);
	start(&r);
	run(&r, 256, through);
	assert_int_equal(r.way.best, 4);
}

/* After a change of the machine by the next trials; both ways. */
static void test_changes(void **state)
{
	struct run r;

	start(&r);
	run(&r, 32768, mixed);
	run(&r, 16384, far_apart);
	assert_int_equal(r.way.best, 0);
	run(&r, 32768, far_apart);
	run(&r, 16384, mixed);
	assert_int_equal(r.way.best, 2);
}

/* Two slow windows made it change its mind wrongly: soon it changes it back. */
static void test_mistaken(void **state)
{
	const uint64_t slow[] = { 10000, 10000, 10000, 10000, 10000 };
	struct run r;

	start(&r);
	run(&r, 4096, far_apart);
	while (r.way.windows + 2 < r.way.every)
		step(&r, far_apart);
	while (!trial(&r))
		step(&r, slow);
	run(&r, 24, far_apart);
	assert_int_not_equal(r.way.best, 0);
	run(&r, 256, far_apart);
	assert_int_equal(r.way.best, 0);
}

/* What another level has left in the caches is not counted. */
static void test_settling(void **state)
{
	const uint64_t first[] = { 100, 140, 140, 140, 140 }, later[] = { 100, 50, 50, 50, 50 };
	struct run r;

	start(&r);
	while (!trial(&r))
		step(&r, later);
	run(&r, 8, first);
	assert_true(trial(&r));
	run(&r, 9, later);
	assert_int_equal(r.way.best, 1);
}

/* A pause is no reason to change: not before a trial, not in one. */
static void test_pauses(void **state)
{
	const uint64_t pause[] = { 100000, 100000, 100000, 100000, 100000 };
	struct run r;

	start(&r);
	run(&r, 160, far_apart);
	for (unsigned int i = 0; i < 8192; i++) {
		step(&r, i % 56 == 3 ? pause : far_apart);
		assert_int_equal(r.way.best, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stays),
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_mistaken),
		cmocka_unit_test(test_settling),
		cmocka_unit_test(test_pauses),
	};

	return cmocka_run_group_tests_name("lib/way", tests, NULL, NULL);
}
