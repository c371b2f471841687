/* SPDX-License-Identifier: MIT */
/* Giving the processor away when the daemon asks for it: how often, and when no more. */
#include "fake.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define SIZE  262144u
#define SHARE 16384u

#define NS_PER_S UINT64_C(1000000000)

static unsigned int given;
static uint64_t takes_ns; /* until it comes back */
static uint64_t now_ns = NS_PER_S;

/*
 * In the C library's place, for the library under test. The clock stands still but for that: on a busy
 * machine this test would lose the processor now and then, too.
 */
int sched_yield(void)
{
	given++;
	now_ns += takes_ns;
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *t)
{
	*t = (struct timespec){ .tv_sec = (time_t)(now_ns / NS_PER_S),
		.tv_nsec = (long)(now_ns % NS_PER_S) };
	return 0;
}

struct rig {
	struct fake f;
	struct smcdu_channel *ch;
	uint8_t buf[SIZE];
	uint64_t pos;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	fake_make(&r->f, SIZE, SIZE, CDC_BIG);
	r->ch = fake_adopt(&r->f);
	given = 0;
	takes_ns = 0;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	smcdu_close(r->ch);
	fake_end(&r->f);
	free(r);
	return 0;
}

/* Sends @len bytes, in calls of @step, which the peer takes. Returns how often the processor was given. */
static unsigned int give(struct rig *r, size_t len, size_t step)
{
	unsigned int before = given;

	for (size_t n; len; len -= n) {
		n = len < step ? len : step;
		pattern_fill(r->buf, r->pos, n);
		assert_int_equal(smcdu_send(r->ch, r->buf, n, 0), n);
		assert_int_equal(fake_take(&r->f, n), n);
		r->pos += n;
	}
	return given - before;
}

static void test_only_when_asked(void **state)
{
	struct rig *r = *state;

	assert_int_equal(give(r, 10 * SHARE, SHARE), 0);
	atomic_store(&r->f.ctl->share, 1);
	assert_int_equal(give(r, 10 * SHARE, SHARE), 10);
	atomic_store(&r->f.ctl->share, 0);
	assert_int_equal(give(r, 10 * SHARE, SHARE), 0);
}

/* Once in so many bytes, whatever a call sends. */
static void test_every_so_often(void **state)
{
	struct rig *r = *state;

	atomic_store(&r->f.ctl->share, 1);
	assert_int_equal(give(r, 8 * SHARE, 8 * SHARE), 8);
	assert_int_equal(give(r, 8 * SHARE, 64), 8);
	assert_int_equal(give(r, 8 * SHARE, SHARE / 2), 8);
	assert_int_equal(give(r, SHARE - 1, SHARE), 0);
	assert_int_equal(give(r, 1, 1), 1);
}

static void test_committed_bytes_count(void **state)
{
	struct rig *r = *state;
	void *p;
	size_t n;

	atomic_store(&r->f.ctl->share, 1);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(smcdu_reserve(r->ch, &p, &n, 0), 0);
		assert_true(n >= SHARE / 4);
		assert_int_equal(smcdu_commit(r->ch, SHARE / 4), 0);
	}
	assert_int_equal(given, 2);
}

/* Somebody keeps it: then it is rarely given away, until that is over. */
static void test_not_to_whoever_keeps_it(void **state)
{
	struct rig *r = *state;

	atomic_store(&r->f.ctl->share, 1);
	takes_ns = 2000000;
	assert_int_equal(give(r, 65 * SHARE, SHARE), 1);
	takes_ns = 0;
	assert_int_equal(give(r, SHARE, SHARE), 1);
	assert_int_equal(give(r, 10 * SHARE, SHARE), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_only_when_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_so_often, setup, teardown),
		cmocka_unit_test_setup_teardown(test_committed_bytes_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_to_whoever_keeps_it, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
