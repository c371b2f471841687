/* SPDX-License-Identifier: MIT */
/*
 * main.c - smcd-user-perf: latency and bandwidth of channels, beside what others offer
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/idle.h"
#include "smcd/perf/options.h"
#include "smcd/perf/report.h"
#include "smcd/perf/series.h"
#include "smcd/perf/server.h"

static int fail(const char *what, int error)
{
	const char *why = smcdu_last_error();

	fprintf(stderr, "smcd-user-perf: %s: %s\n", what, *why ? why : strerror(-error));
	return 1;
}

static int run(const struct options *o, struct smcdu_ctx *ctx)
{
	struct report r;
	int e, end;

	report_begin(&r, o->json);
	if (!ctx)
		e = series_probe(o, &r);
	else if (o->tests == PERF_IDLE)
		e = idle_run(o, ctx, &r);
	else
		e = series_run(o, ctx, &r);
	end = report_end(&r);
	if (end < 0)
		return fail("standard output", end);
	return e < 0;
}

static int client(const struct options *o)
{
	struct smcdu_channel *held; /* tells a server with --once that more is to come */
	struct smcdu_ctx *ctx;
	int r;

	r = smcdu_open(&o->settings, &ctx);
	if (r < 0)
		return fail("settings", r);
	r = smcdu_connect(ctx, o->target, &held);
	if (r < 0) {
		r = fail("connect", r);
	} else {
		r = run(o, ctx);
		smcdu_close(held);
	}
	smcdu_close_ctx(ctx);
	return r;
}

/* Descriptors are what many channels need first. */
static void raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
}

int main(int argc, char **argv)
{
	struct options o;
	int r;

	switch (options_parse(&o, argc, argv)) {
	case OPTIONS_HELP: options_usage(); return 0;
	case OPTIONS_VERSION: printf("smcd-user-perf %s\n", smcdu_version()); return 0;
	case OPTIONS_WRONG: return 2;
	default: break;
	}
	raise_limit();
	if (o.listen)
		return server_run(&o);
	r = cpu_pin(o.cpu[0]); /* before the library looks where it runs */
	if (r < 0)
		return fail("--cpus", r);
	return o.tests == PERF_PROBE ? run(&o, NULL) : client(&o);
}
