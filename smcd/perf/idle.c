/* SPDX-License-Identifier: MIT */
#include "smcd/perf/idle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smcd/perf/cpu.h"

#define SETTLE_S 1.0 /* in which what opening and closing left to do is done, or some of it */

struct idle {
	const struct options *o;
	struct smcdu_channel **ch;
	unsigned int open;
	uint32_t path;
	double before[PERF_MAX_PIDS], during[PERF_MAX_PIDS], after[PERF_MAX_PIDS]; /* KiB */
	double cpu_s[PERF_MAX_PIDS];
	double own_s;
};

static void wait_for(double seconds)
{
	struct timespec ts = { .tv_sec = (time_t)seconds };

	ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/* Memory that is a process's own: not shared, so neither DMBs nor send buffers. 0: it is gone. */
static double own_kib(int pid)
{
	char name[64], line[128];
	double kib = 0;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "RssAnon:", 8))
			kib = strtod(line + 8, NULL);
	if (f)
		fclose(f);
	return kib;
}

static void memory(const struct idle *t, double kib[PERF_MAX_PIDS])
{
	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		kib[i] = own_kib(t->o->pids[i]);
}

static int open_all(struct idle *t, struct smcdu_ctx *ctx)
{
	struct smcdu_channel_info info;
	int r;

	for (; t->open < t->o->channels; t->open++) {
		r = smcdu_connect(ctx, t->o->target, &t->ch[t->open]);
		if (r < 0) {
			fprintf(stderr, "smcd-user-perf: channel %u of %u: %s\n", t->open + 1,
				t->o->channels, smcdu_last_error());
			return r;
		}
	}
	smcdu_channel_info(t->ch[0], &info);
	t->path = info.path;
	return 0;
}

static void be_idle(struct idle *t)
{
	uint64_t pid[PERF_MAX_PIDS] = { 0 }, own;

	wait_for(SETTLE_S);
	memory(t, t->during);
	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		pid[i] = cpu_pid_ns(t->o->pids[i]);
	own = cpu_process_ns();
	wait_for(t->o->seconds);
	t->own_s = (double)(cpu_process_ns() - own) / 1e9;
	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		t->cpu_s[i] = (double)(cpu_pid_ns(t->o->pids[i]) - pid[i]) / 1e9;
}

static bool returned(const struct idle *t)
{
	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		if (t->after[i] > t->before[i])
			return false;
	return true;
}

static bool changes(const struct idle *t, const double was[PERF_MAX_PIDS])
{
	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		if (t->after[i] < was[i])
			return true;
	return false;
}

/* Looks until all of it is back, or no more comes back. */
static void close_all(struct idle *t)
{
	double was[PERF_MAX_PIDS];

	while (t->open)
		smcdu_close(t->ch[--t->open]);
	memory(t, t->after);
	do {
		memcpy(was, t->after, sizeof(was));
		wait_for(SETTLE_S);
		memory(t, t->after);
	} while (!returned(t) && changes(t, was));
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void row(struct report *r, const struct report_case *c, const char *metric, int pid, double v)
{
	struct spread s = { .median = v, .quartile = v, .min = v, .max = v };
	char label[48];

	if (pid)
		snprintf(label, sizeof(label), "%d_%s", pid, metric);
	else
		snprintf(label, sizeof(label), "%s", metric);
	report_row(r, c, label, &s, NULL, NULL);
}

static void rows(const struct idle *t, struct report *r)
{
	struct report_case c = { .name = "idle", .path = smcdu_path_name(t->path),
		.wait = t->o->wait, .copy = t->o->copy, .cores = options_cores(t->o),
		.channels = t->o->channels, .runs = 1 };
	double cpu_s = t->own_s;

	for (unsigned int i = 0; i < t->o->nr_pids; i++)
		cpu_s += t->cpu_s[i];
	row(r, &c, "cpu_ms/s", 0, cpu_s * 1e3 / t->o->seconds);
	for (unsigned int i = 0; i < t->o->nr_pids; i++) {
		int pid = t->o->pids[i];

		row(r, &c, "cpu_ms/s", pid, t->cpu_s[i] * 1e3 / t->o->seconds);
		row(r, &c, "KiB/channel", pid,
			(t->during[i] - t->before[i]) / (double)t->o->channels);
		row(r, &c, "KiB_left", pid, t->after[i] - t->before[i]);
	}
}

int idle_run(const struct options *o, struct smcdu_ctx *ctx, struct report *r)
{
	struct idle t = { .o = o };
	int e = -ENOMEM;

	t.ch = calloc(o->channels, sizeof(struct smcdu_channel *));
	if (t.ch) {
		memory(&t, t.before);
		e = open_all(&t, ctx);
	}
	if (e == 0)
		be_idle(&t);
	if (t.ch)
		close_all(&t);
	if (e == 0)
		rows(&t, r);
	free(t.ch);
	return e;
}
