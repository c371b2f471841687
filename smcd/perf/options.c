/* SPDX-License-Identifier: MIT */
#include "smcd/perf/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/perf/cpu.h"

#define LIST_MAX 256
#define CPU_MAX	 1023
#define SPIN_US	 1000000u /* the library's longest: a waiter that never sleeps, but sees its peer die */

enum { OPT_ONCE = 256, OPT_TEST, OPT_SIZES, OPT_RUNS, OPT_SECONDS, OPT_COUNT, OPT_VERIFY,
	OPT_BASELINE, OPT_SOCKBUF, OPT_PID, OPT_FORMAT, OPT_WAIT, OPT_COPY, OPT_CPUS, OPT_CHANNELS,
	OPT_PROBE_REF, OPT_SENDER, OPT_ALONE, OPT_VARIANT, OPT_SPIN, OPT_PATH, OPT_RCVBUF, OPT_SOCKET, OPT_HELP,
	OPT_VERSION };

static const struct option longs[] = {
	{ "listen", no_argument, NULL, 'l' },
	{ "once", no_argument, NULL, OPT_ONCE },
	{ "test", required_argument, NULL, OPT_TEST },
	{ "sizes", required_argument, NULL, OPT_SIZES },
	{ "runs", required_argument, NULL, OPT_RUNS },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "verify", no_argument, NULL, OPT_VERIFY },
	{ "baseline", required_argument, NULL, OPT_BASELINE },
	{ "sockbuf", required_argument, NULL, OPT_SOCKBUF },
	{ "variant", required_argument, NULL, OPT_VARIANT },
	{ "cpu-pid", required_argument, NULL, OPT_PID },
	{ "sender", required_argument, NULL, OPT_SENDER },
	{ "alone", no_argument, NULL, OPT_ALONE },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "wait", required_argument, NULL, OPT_WAIT },
	{ "copy", required_argument, NULL, OPT_COPY },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "channels", required_argument, NULL, OPT_CHANNELS },
	{ "probe-ref", required_argument, NULL, OPT_PROBE_REF },
	{ "spin-us", required_argument, NULL, OPT_SPIN },
	{ "path", required_argument, NULL, OPT_PATH },
	{ "rcvbuf", required_argument, NULL, OPT_RCVBUF },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

void options_usage(void)
{
	fputs("usage: smcd-user-perf [options] SERVICE@PEER\n"
	      "       smcd-user-perf [--once] -l SERVICE\n"
	      "       smcd-user-perf --test probe\n"
	      "Measures channels between two smcd-user-perf, beside what others offer.\n\n"
	      "  -l, --listen         serve tests\n"
	      "      --once           serve one client, then end\n"
	      "      --test T,...     rtt, stream, bidi, connect; all (default): rtt and stream;\n"
	      "                       idle or probe, alone\n"
	      "      --sizes A,B,...  message sizes; K and M are understood\n"
	      "                       (default 8,64,512,4K,64K,1M)\n"
	      "      --runs N         runs per case, medians are printed (default 5)\n"
	      "      --seconds S      length of a run (default 0.2)\n"
	      "      --count N        messages per run instead of a time\n"
	      "      --channels N     so many channels at once (default 1)\n"
	      "      --wait W         block (default), spin or sleep (never spins)\n"
	      "      --copy C         copy (default) or zero\n"
	      "      --cpus A[,B]     run client and server on these processors\n"
	      "      --path PATH      auto (default), attached or mediated\n"
	      "      --verify         hash every byte on both sides and compare\n"
	      "      --baseline B,... measure these, too, interleaved (list below)\n"
	      "      --sockbuf BYTES  socket buffers of the baselines\n"
	      "      --variant N      the ring's N-th way of copying (default: the fastest)\n"
	      "      --cpu-pid PID    also count the CPU seconds of this process (repeatable)\n"
	      "      --sender PID     the process that executes our PCISTBs: what each takes of it\n"
	      "      --alone          it has a processor to itself: discard runs in which it waited\n"
	      "      --probe-ref NS   only count runs in this placement (default: the commonest)\n"
	      "      --format F       text (default) or json\n"
	      "      --spin-us N      look this long before sleeping (default: adaptive)\n"
	      "      --rcvbuf BYTES   receive buffer of the channels\n"
	      "      --socket PATH    the daemon's socket\n"
	      "      --help, --version\n\n"
	      "Baselines:\n", stdout);
	baseline_list(stdout);
}

static bool parse_number(const char *s, uint64_t max, uint64_t *v)
{
	unsigned long long n;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (*end == 'K' || *end == 'k')
		shift = 10, end++;
	else if (*end == 'M' || *end == 'm')
		shift = 20, end++;
	if (errno || end == s || *end || *s == '-' || n > max >> shift)
		return false;
	*v = n << shift;
	return true;
}

static bool parse_u32(const char *s, uint32_t max, uint32_t *v)
{
	uint64_t n;

	if (!parse_number(s, max, &n))
		return false;
	*v = (uint32_t)n;
	return true;
}

/* Calls @one for each of a list; at least one, and all must be understood. */
static bool parse_list(const char *list, struct options *o,
	bool (*one)(const char *, struct options *))
{
	char copy[LIST_MAX], *save = NULL, *s;

	if (snprintf(copy, sizeof(copy), "%s", list) >= LIST_MAX)
		return false;
	s = strtok_r(copy, ",", &save);
	if (!s)
		return false;
	for (; s; s = strtok_r(NULL, ",", &save))
		if (!one(s, o))
			return false;
	return true;
}

static bool one_size(const char *s, struct options *o)
{
	uint32_t v;

	if (o->nr_sizes == PERF_MAX_SIZES || !parse_u32(s, PERF_SIZE_MAX, &v) || !v)
		return false;
	o->sizes[o->nr_sizes++] = v;
	return true;
}

static bool one_test(const char *s, struct options *o)
{
	static const struct { const char *name; unsigned int tests; } names[] = {
		{ "rtt", PERF_RTT }, { "stream", PERF_STREAM }, { "bidi", PERF_BIDI },
		{ "connect", PERF_CONNECT }, { "idle", PERF_IDLE },
		{ "all", PERF_RTT | PERF_STREAM }, { "probe", PERF_PROBE },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, s)) {
			o->tests |= names[i].tests;
			return true;
		}
	return false;
}

static bool one_peer(const char *s, struct options *o)
{
	const struct baseline *b = baseline_find(s);

	if (!b || o->nr_peers == PERF_MAX_PEERS)
		return false;
	o->peers[o->nr_peers++] = b;
	return true;
}

/* One more than there are is noticed, and wrong. */
static bool one_cpu(const char *s, struct options *o)
{
	uint32_t v;

	if (!parse_u32(s, CPU_MAX, &v) || o->cpu[1] != CPU_ANY)
		return false;
	o->cpu[o->cpu[0] == CPU_ANY ? 0 : 1] = v;
	return true;
}

static bool parse_cpus(const char *list, struct options *o)
{
	o->cpu[0] = o->cpu[1] = CPU_ANY;
	if (!parse_list(list, o, one_cpu))
		return false;
	if (o->cpu[1] == CPU_ANY)
		o->cpu[1] = o->cpu[0];
	return true;
}

static bool parse_real(const char *s, double max, double *v)
{
	char *end;

	*v = strtod(s, &end);
	return end != s && !*end && *v > 0 && *v <= max;
}

static bool parse_wait(const char *s, struct options *o)
{
	if (!strcmp(s, "block")) {
		o->wait = PERF_BLOCK;
		o->settings.spin_us = 0;
	} else if (!strcmp(s, "spin")) {
		o->wait = PERF_SPIN;
		o->settings.spin_us = SPIN_US;
	} else if (!strcmp(s, "sleep")) {
		o->wait = PERF_SLEEP;
		o->settings.spin_us = UINT32_MAX;
	} else {
		return false;
	}
	return true;
}

static bool parse_spin(const char *s, struct options *o)
{
	if (!parse_u32(s, UINT32_MAX, &o->settings.spin_us))
		return false;
	if (!o->settings.spin_us)
		o->settings.spin_us = UINT32_MAX;
	return true;
}

static bool parse_pid(const char *s, int *pid)
{
	uint32_t v;

	if (!parse_u32(s, INT32_MAX, &v) || !v)
		return false;
	*pid = (int)v;
	return true;
}

/* Options with a value. False when the value is wrong. */
static bool parse_value(int c, char *arg, struct options *o)
{
	switch (c) {
	case OPT_TEST: o->tests = 0; return parse_list(arg, o, one_test);
	case OPT_SIZES: o->nr_sizes = 0; return parse_list(arg, o, one_size);
	case OPT_BASELINE: return parse_list(arg, o, one_peer);
	case OPT_RUNS: return parse_u32(arg, PERF_MAX_RUNS, &o->runs) && o->runs;
	case OPT_CHANNELS:
		return parse_u32(arg, PERF_MAX_CHANNELS, &o->channels) && o->channels;
	case OPT_SECONDS: return parse_real(arg, 3600, &o->seconds);
	case OPT_COUNT: return parse_number(arg, UINT64_MAX, &o->count) && o->count;
	case OPT_WAIT: return parse_wait(arg, o);
	case OPT_COPY:
		o->copy = !strcmp(arg, "zero") ? PERF_ZERO : PERF_COPY;
		return o->copy == PERF_ZERO || !strcmp(arg, "copy");
	case OPT_CPUS: return parse_cpus(arg, o);
	case OPT_PROBE_REF: return parse_real(arg, 1e6, &o->probe_ref);
	case OPT_SOCKBUF: return parse_u32(arg, INT32_MAX, &o->sockbuf) && o->sockbuf;
	case OPT_SOCKET: o->settings.socket_path = arg; return true;
	case OPT_PATH: return smcdu_path_parse(arg, &o->settings.path) == 0;
	case OPT_FORMAT: o->json = !strcmp(arg, "json"); return o->json || !strcmp(arg, "text");
	case OPT_PID: return o->nr_pids < PERF_MAX_PIDS && parse_pid(arg, &o->pids[o->nr_pids++]);
	case OPT_SENDER: return parse_pid(arg, &o->sender);
	case OPT_SPIN: return parse_spin(arg, o);
	case OPT_VARIANT: return parse_u32(arg, UINT32_MAX, &o->variant) && o->variant;
	case OPT_RCVBUF: return parse_u32(arg, UINT32_MAX, &o->settings.rcvbuf);
	default: return false;
	}
}

static enum options_do misuse(const char *why)
{
	if (why)
		fprintf(stderr, "smcd-user-perf: %s\n", why);
	fputs("Try 'smcd-user-perf --help'.\n", stderr);
	return OPTIONS_WRONG;
}

static enum options_do check(struct options *o, int argc, char **argv)
{
	bool local = o->tests == PERF_PROBE && !o->listen;

	if (optind + !local != argc)
		return misuse(local ? "--test probe needs nobody to connect to" :
			"give one SERVICE@PEER, or -l and one SERVICE");
	if ((!local && (o->tests & PERF_PROBE)) ||
	    ((o->tests & PERF_IDLE) && o->tests != PERF_IDLE))
		return misuse("--test probe and idle stand alone");
	if (o->once && !o->listen)
		return misuse("--once is for -l");
	if (o->alone && (!o->sender || cpu_of_pid(o->sender) == CPU_ANY))
		return misuse("--alone needs a --sender that may run on one processor only: taskset(1)");
	for (unsigned int i = 0; i < o->nr_peers; i++)
		if (o->peers[i]->nr_variants && o->variant > o->peers[i]->nr_variants)
			return misuse("--variant: the baseline has not as many");
	o->target = argv[optind];
	return OPTIONS_RUN;
}

enum options_do options_parse(struct options *o, int argc, char **argv)
{
	int c, index = 0;

	*o = (struct options){ .tests = PERF_RTT | PERF_STREAM, .runs = 5, .channels = 1,
		.seconds = 0.2, .cpu = { CPU_ANY, CPU_ANY }, .nr_sizes = 6,
		.sizes = { 8, 64, 512, 4096, 65536, 1048576 } };
	smcdu_default_settings(&o->settings);
	optind = 0; /* from the beginning, also a second time */
	while ((c = getopt_long(argc, argv, "l", longs, &index)) != -1) {
		switch (c) {
		case 'l': o->listen = true; break;
		case OPT_ONCE: o->once = true; break;
		case OPT_VERIFY: o->verify = true; break;
		case OPT_ALONE: o->alone = true; break;
		case OPT_HELP: return OPTIONS_HELP;
		case OPT_VERSION: return OPTIONS_VERSION;
		case '?': return misuse(NULL);
		default:
			if (parse_value(c, optarg, o))
				break;
			fprintf(stderr, "smcd-user-perf: bad value for --%s: '%s'\n",
				longs[index].name, optarg);
			return OPTIONS_WRONG;
		}
	}
	return check(o, argc, argv);
}

unsigned int options_cores(const struct options *o)
{
	uint32_t two[2];

	if (o->cpu[0] != CPU_ANY)
		return o->cpu[0] == o->cpu[1] ? 1 : 2;
	cpu_first_two(two);
	return two[1] == CPU_ANY ? 1 : 2;
}
