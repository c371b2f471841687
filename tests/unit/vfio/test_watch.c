/* SPDX-License-Identifier: MIT */
/* Hanging requests are told, and only they. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/watch.h"

#define LIMIT	5u     /* ms */
#define PATIENT 20000 /* ms: whatever takes longer does not happen */

/* What the helper says, one line per call: a pipe, so that a test can wait for it. */
static int told[2];

static void listen_in(const char *name, unsigned int seconds)
{
	if (dprintf(told[1], "%s %s\n", name, seconds ? "hangs" : "back") < 0)
		abort();
}

static void expect(const char *line)
{
	struct pollfd p = { .fd = told[0], .events = POLLIN };
	char buf[64] = { 0 };

	assert_int_equal(poll(&p, 1, PATIENT), 1);
	assert_int_equal(read(told[0], buf, strlen(line)), strlen(line));
	assert_string_equal(buf, line);
}

static void expect_silence(void)
{
	struct pollfd p = { .fd = told[0], .events = POLLIN };

	assert_int_equal(poll(&p, 1, 20 * LIMIT), 0);
}

/* Behind any number of "hangs". */
static void skip_to_back(void)
{
	for (char byte = 0; byte != 'b';)
		assert_int_equal(read(told[0], &byte, 1), 1);
	expect("ack\n");
}

static int setup(void **state)
{
	watch_listen(listen_in);
	return pipe(told);
}

static int teardown(void **state)
{
	watch_listen(NULL);
	return close(told[0]) | close(told[1]);
}

/* Said once it hangs, again when that has doubled, and when it is over. */
static void test_hang(void **state)
{
	struct watch w = { 0 };

	assert_int_equal(watch_begin(&w, "f0", LIMIT), 0);
	watch_enter(&w);
	expect("f0 hangs\n");
	expect("f0 hangs\n");
	watch_leave(&w);
	skip_to_back();
	expect_silence();
	watch_end(&w);
	watch_end(&w);
}

/* Behind what was said of others. */
static void skip_to(const char *name)
{
	char byte = '\n', before;

	do {
		before = byte;
		assert_int_equal(read(told[0], &byte, 1), 1);
	} while (before != '\n' || byte != *name);
	assert_int_equal(name[1], '\0');
	expect(" hangs\n");
}

/* The other one of two, and one that hangs when it goes. */
static void test_two(void **state)
{
	struct watch a = { 0 }, b = { 0 };

	assert_int_equal(watch_begin(&a, "a", 10 * WATCH_LIMIT_MS), 0);
	assert_int_equal(watch_begin(&b, "b", LIMIT), 0);
	watch_enter(&a);
	watch_leave(&a);
	watch_enter(&b);
	expect("b hangs\n");
	watch_end(&b);
	watch_end(&a);
	/* and the helper starts anew */
	memset(&a, 0, sizeof(a));
	assert_int_equal(watch_begin(&a, "c", LIMIT), 0);
	watch_enter(&a);
	skip_to("c"); /* the other one may have been told of twice */
	watch_end(&a);
}

/* Another call is another hang, even if nobody looked in between. */
static void test_next_call(void **state)
{
	struct watch w = { 0 };

	assert_int_equal(watch_begin(&w, "f0", LIMIT), 0);
	expect_silence();
	watch_enter(&w);
	expect("f0 hangs\n");
	watch_leave(&w);
	watch_enter(&w);
	skip_to_back();
	expect("f0 hangs\n");
	watch_end(&w);
}

/* A child has no helper: ending there touches nothing and does not hang. */
static void test_fork(void **state)
{
	struct watch w = { 0 };
	int status;
	pid_t pid;

	assert_int_equal(watch_begin(&w, "f0", LIMIT), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(PATIENT / 1000);
		watch_end(&w);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	watch_enter(&w);
	expect("f0 hangs\n");
	watch_end(&w);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_hang),
		T(test_two),
		T(test_next_call),
		T(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
