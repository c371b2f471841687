/* SPDX-License-Identifier: MIT */
/* The command line: what is understood, and what is refused instead of guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/options.h"

#define ARGS_MAX 24

static struct options o;
static char text[512];

static enum options_do parse(const char *line)
{
	static char name[] = "smcd-user-perf";
	char *argv[ARGS_MAX] = { name };
	int argc = 1;

	snprintf(text, sizeof(text), "%s", line);
	for (char *s = strtok(text, " "); s && argc < ARGS_MAX - 1; s = strtok(NULL, " "))
		argv[argc++] = s;
	return options_parse(&o, argc, argv);
}

static void test_defaults(void **state)
{
	assert_int_equal(parse("perf@b"), OPTIONS_RUN);
	assert_string_equal(o.target, "perf@b");
	assert_int_equal(o.tests, PERF_RTT | PERF_STREAM);
	assert_int_equal(o.runs, 5);
	assert_int_equal(o.channels, 1);
	assert_int_equal(o.nr_sizes, 6);
	assert_int_equal(o.sizes[5], 1048576);
	assert_int_equal(o.wait, PERF_BLOCK);
	assert_int_equal(o.copy, PERF_COPY);
	assert_int_equal(o.cpu[0], CPU_ANY);
	assert_int_equal(o.settings.spin_us, 0);
	assert_false(o.listen || o.once || o.json || o.verify);
}

static void test_values(void **state)
{
	assert_int_equal(parse("--test rtt,bidi --sizes 1,4K,16M --runs 7 --seconds 0.5 --channels 9"
			       " --copy zero --cpus 0,1 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.tests, PERF_RTT | PERF_BIDI);
	assert_int_equal(o.nr_sizes, 3);
	assert_int_equal(o.sizes[0], 1);
	assert_int_equal(o.sizes[1], 4096);
	assert_int_equal(o.sizes[2], PERF_SIZE_MAX);
	assert_int_equal(o.runs, 7);
	assert_int_equal(o.channels, 9);
	assert_int_equal(o.copy, PERF_ZERO);
	assert_int_equal(o.cpu[0], 0);
	assert_int_equal(o.cpu[1], 1);
	assert_int_equal(options_cores(&o), 2);
	assert_int_equal(parse("--cpus 1 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.cpu[1], 1);
	assert_int_equal(options_cores(&o), 1);
	assert_int_equal(parse("--cpu-pid 12 --cpu-pid 13 --format json --verify perf@b"), OPTIONS_RUN);
	assert_int_equal(o.nr_pids, 2);
	assert_int_equal(o.pids[1], 13);
	assert_true(o.json && o.verify);
	assert_int_equal(parse("--once -l perf"), OPTIONS_RUN);
	assert_true(o.once && o.listen);
}

static void test_waiting(void **state)
{
	assert_int_equal(parse("--wait spin perf@b"), OPTIONS_RUN);
	assert_int_equal(o.wait, PERF_SPIN);
	assert_true(o.settings.spin_us > 0 && o.settings.spin_us < UINT32_MAX);
	assert_int_equal(parse("--wait sleep perf@b"), OPTIONS_RUN);
	assert_int_equal(o.settings.spin_us, UINT32_MAX);
	assert_int_equal(parse("--wait block perf@b"), OPTIONS_RUN);
	assert_int_equal(o.settings.spin_us, 0);
	assert_int_equal(parse("--spin-us 0 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.settings.spin_us, UINT32_MAX);
	assert_int_equal(parse("--spin-us 25 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.settings.spin_us, 25);
}

static void test_baselines(void **state)
{
	assert_int_equal(parse("--baseline ring,unix --baseline eventfd perf@b"), OPTIONS_RUN);
	assert_int_equal(o.nr_peers, 3);
	assert_string_equal(o.peers[0]->name, "ring");
	assert_string_equal(o.peers[2]->name, "eventfd");
	assert_int_equal(o.variant, 0);
	assert_int_equal(parse("--baseline unix,ring --variant 3 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.variant, 3);
}

static void test_alone(void **state)
{
	assert_int_equal(parse("--test probe"), OPTIONS_RUN);
	assert_int_equal(o.tests, PERF_PROBE);
	assert_int_equal(parse("--test idle --channels 1000 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.tests, PERF_IDLE);
	assert_int_equal(parse("--test connect,rtt perf@b"), OPTIONS_RUN);
	assert_int_equal(o.tests, PERF_CONNECT | PERF_RTT);
}

/* Only somebody who can be nowhere else has a processor to himself. */
static void test_sender(void **state)
{
	uint32_t two[2];
	cpu_set_t all;
	char line[64];

	assert_int_equal(parse("--sender 12 perf@b"), OPTIONS_RUN);
	assert_int_equal(o.sender, 12);
	assert_false(o.alone);
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	cpu_first_two(two);
	assert_int_equal(cpu_pin(two[0]), 0);
	snprintf(line, sizeof(line), "--alone --sender %d perf@b", (int)getpid());
	assert_int_equal(parse(line), OPTIONS_RUN);
	assert_true(o.alone);
	assert_int_equal(cpu_of_pid(getpid()), two[0]);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	if (two[1] == CPU_ANY)
		return;
	assert_int_equal(cpu_of_pid(getpid()), CPU_ANY);
	assert_int_equal(parse(line), OPTIONS_WRONG);
}

static void test_refused(void **state)
{
	static const char *const wrong[] = {
		"", "a@b c@d", "--once perf@b", "--runs 0 p@b", "--runs 100 p@b", "--runs x p@b",
		"--sizes 0 p@b", "--sizes 17M p@b", "--sizes 8, 64 p@b", "--sizes -8 p@b",
		"--sizes 18446744073709551615K p@b", "--seconds 0 p@b", "--seconds -1 p@b",
		"--count 0 p@b", "--channels 0 p@b", "--channels 4097 p@b", "--test x p@b",
		"--test rtt,x p@b", "--test probe p@b", "--test probe,rtt p@b", "--test idle,rtt p@b", "--wait maybe p@b",
		"--copy no p@b", "--cpus x p@b", "--cpus 0,1,2 p@b", "--baseline pigeon p@b",
		"--baseline ring,pigeon p@b", "--format xml p@b", "--path fast p@b", "--cpu-pid 0 p@b",
		"--sender 0 p@b", "--sender x p@b", "--alone p@b",
		"--sockbuf 0 p@b", "--variant 0 p@b", "--baseline ring --variant 1000 p@b",
		"--probe-ref 0 p@b", "--nonsense p@b",
	};
	int err = dup(STDERR_FILENO);

	assert_non_null(freopen("/dev/null", "w", stderr));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (parse(wrong[i]) != OPTIONS_WRONG)
			fail_msg("accepted: %s", wrong[i]);
	dup2(err, STDERR_FILENO);
	close(err);
	assert_int_equal(parse("--help"), OPTIONS_HELP);
	assert_int_equal(parse("--version"), OPTIONS_VERSION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_baselines),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_sender),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
