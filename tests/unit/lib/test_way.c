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

#define WAYS   (WAY_ROOM + 1)

/* What a ring's length takes in each way. */
static const uint64_t far_apart[] = { 100, 160, 300, 500, 1000, 1000 };
static const uint64_t alike[] = { 100, 100, 100, 96, 100, 100 };
static const uint64_t mixed[] = { 150, 120, 100, 130, 140, 150 };
static const uint64_t room[] = { 150, 120, 130, 140, 140, 50 };

/* A sender of one direction, or one that is answered. */
struct run {
	struct lib_way way;
	bool answered;
	uint64_t now, pos;
	uint64_t bytes[WAYS];
};

static void look(struct run *r)
{
	way_judge(&r->way, r->now, r->pos, r->answered ? r->pos : 0, A_RING);
}

static void start(struct run *r)
{
	*r = (struct run){ .now = 1000 };
	way_init(&r->way);
	look(r);
}

static bool trial(const struct run *r)
{
	return r->way.now != r->way.best;
}

/* As far as the next look at the clock. */
static void step(struct run *r, const uint64_t *ns)
{
	uint64_t n = r->way.end - r->pos;

	assert_in_range(n, 1, A_RING);
	assert_in_range(r->way.now, 0, WAY_ROOM);
	r->bytes[r->way.now] += n;
	r->now += n * ns[r->way.now] / A_RING;
	r->pos = r->way.end;
	look(r);
}

static void run(struct run *r, uint64_t rings, const uint64_t *ns)
{
	uint64_t until = r->pos + rings * A_RING;

	memset(r->bytes, 0, sizeof(r->bytes));
	while (r->pos < until)
		step(r, ns);
}

/* Bytes that did not go as the best do. */
static uint64_t tried(const struct run *r, unsigned int best)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WAYS; i++)
		sum += i == best ? 0 : r->bytes[i];
	return sum;
}

/* It begins past the caches, and stays there if no other is better; what is much worse ends soon. */
static void test_stays(void **state)
{
	struct run r;

	start(&r);
	assert_int_equal(r.way.now, 0);
	run(&r, 16384, far_apart);
	assert_int_equal(r.way.best, 0);
	assert_in_range(tried(&r, 0), 4 * A_RING, 40 * A_RING);
	run(&r, 16384, far_apart);
	assert_in_range(tried(&r, 0), 4 * A_RING, 40 * A_RING);
	start(&r);
	run(&r, 16384, alike);
	assert_int_equal(r.way.best, 0);
	run(&r, 16384, alike);
	assert_in_range(tried(&r, 0), 64 * A_RING, 160 * A_RING);
}

/* In a dialogue it ends at once. */
static void test_dialogue(void **state)
{
	struct run r;

	start(&r);
	r.answered = true;
	run(&r, 64, far_apart);
	run(&r, 16384, far_apart);
	assert_int_equal(r.way.best, 0);
	assert_in_range(tried(&r, 0), 1, 8 * A_RING);
}

/* The best of all is found soon, also behind worse ones. */
static void test_finds(void **state)
{
	struct run r;

	start(&r);
	run(&r, 2048, mixed);
	assert_int_equal(r.way.best, 2);
	run(&r, 8192, mixed);
	assert_int_equal(r.way.best, 2);
	start(&r);
	run(&r, 64, room);
	assert_int_equal(r.way.best, WAY_ROOM);
}

/* After a change of the machine by the next trials; both ways. */
static void test_changes(void **state)
{
	struct run r;

	start(&r);
	run(&r, 32768, room);
	run(&r, 16384, far_apart);
	assert_int_equal(r.way.best, 0);
	run(&r, 32768, far_apart);
	run(&r, 16384, mixed);
	assert_int_equal(r.way.best, 2);
}

/* Two slow windows made it change its mind wrongly: soon it changes it back. */
static void test_mistaken(void **state)
{
	const uint64_t slow[] = { 10000, 10000, 10000, 10000, 10000, 10000 };
	struct run r;

	start(&r);
	run(&r, 4096, far_apart);
	while (r.way.windows + 2 < r.way.every)
		step(&r, far_apart);
	while (!trial(&r))
		step(&r, slow);
	run(&r, 24, far_apart);
	assert_int_not_equal(r.way.best, 0);
	run(&r, 512, far_apart);
	assert_int_equal(r.way.best, 0);
}

/* What another way has left in the caches is not counted, however bad it is. */
static void test_settling(void **state)
{
	const uint64_t first[] = { 100, 100, 100, 100, 100, 1000 }, later[] = { 100, 100, 100, 100, 100, 50 };
	struct run r;

	start(&r);
	while (!trial(&r))
		step(&r, later);
	assert_int_equal(r.way.now, WAY_ROOM);
	run(&r, 2, first);
	assert_true(trial(&r));
	run(&r, 15, later);
	assert_int_equal(r.way.best, WAY_ROOM);
}

/* A pause is no reason to change: not before a trial, not in one. */
static void test_pauses(void **state)
{
	const uint64_t pause[] = { 100000, 100000, 100000, 100000, 100000, 100000 };
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
		cmocka_unit_test(test_dialogue),
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_mistaken),
		cmocka_unit_test(test_settling),
		cmocka_unit_test(test_pauses),
	};

	return cmocka_run_group_tests_name("lib/way", tests, NULL, NULL);
}
