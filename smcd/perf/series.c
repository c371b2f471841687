/* SPDX-License-Identifier: MIT */
#include "smcd/perf/series.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/probe.h"
#include "smcd/perf/sample.h"

#define PROBES		 9
#define TRIES		 3 /* rounds per run wanted, at most */
#define ROUNDS		 (TRIES * PERF_MAX_RUNS)

struct contender {
	bool unable;
	uint32_t variant;
	struct sample run[ROUNDS];
};

/* One case under way. */
struct series {
	const struct options *o;
	struct smcdu_ctx *ctx;
	struct perf_params p;
	uint32_t cpu[2]; /* of the probes */
	uint32_t path;
	unsigned int rounds, runs; /* made, and of these those that count */
	double placement[ROUNDS];
	bool counts[ROUNDS];
	struct sample ours[ROUNDS];
	struct contender peer[PERF_MAX_PEERS];
};

static void probe_places(const struct options *o, uint32_t cpu[2])
{
	if (o->cpu[0] == CPU_ANY)
		cpu_first_two(cpu);
	else
		memcpy(cpu, o->cpu, 2 * sizeof(cpu[0]));
	if (o->alone) /* its bytes come from the client's processor */
		cpu[1] = cpu_of_pid(o->sender);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

/* Ourselves, copying. */
static int round_own(struct series *s, struct sample *ret)
{
	struct perf_params p = s->p;
	uint32_t path;

	p.copy = PERF_COPY;
	return sample_ours(s->o, s->ctx, &p, ret, &path);
}

static int round_peer(struct series *s, unsigned int i)
{
	struct contender *c = &s->peer[i];
	int r = 0;

	if (s->o->peers[i]->own)
		return round_own(s, &c->run[s->rounds]);
	if (!c->unable)
		r = sample_peer(s->o, s->o->peers[i], &s->p, &c->run[s->rounds], &c->variant);
	if (r != -EOPNOTSUPP)
		return r;
	c->unable = true;
	return 0;
}

static int one_round(struct series *s)
{
	double probe[PERF_MAX_PEERS + 2];
	unsigned int n = 0;
	int r;

	probe[n++] = probe_cores(s->cpu);
	r = sample_ours(s->o, s->ctx, &s->p, &s->ours[s->rounds], &s->path);
	probe[n++] = probe_cores(s->cpu);
	for (unsigned int i = 0; r == 0 && i < s->o->nr_peers; i++) {
		r = round_peer(s, i);
		probe[n++] = probe_cores(s->cpu);
	}
	if (r < 0)
		return r;
	s->placement[s->rounds] = s->ours[s->rounds].disturbed ? -1 : stat_placement(probe, n);
	s->rounds++;
	return 0;
}

static int all_rounds(struct series *s)
{
	int r;

	do {
		r = one_round(s);
		if (r < 0)
			return r;
		s->runs = stat_choose(s->placement, s->rounds, s->o->probe_ref, s->counts);
	} while (s->runs < s->o->runs && s->rounds < TRIES * s->o->runs);
	if (s->runs)
		return 0;
	fprintf(stderr, "smcd-user-perf: %s, %u bytes: none of %u runs was undisturbed, what follows is of"
			" all of them\n", test_name(s->p.test), s->p.size, s->rounds);
	memset(s->counts, true, s->rounds * sizeof(s->counts[0]));
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct spread over_runs(const struct series *s, const struct sample *runs,
	unsigned int metric)
{
	double v[ROUNDS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->rounds; i++)
		if (s->counts[i])
			v[n++] = runs[i].v[metric];
	return stat_spread(v, n);
}

static void rows_of(const struct series *s, struct report *r, const struct report_case *c,
	unsigned int metric)
{
	struct spread ours = over_runs(s, s->ours, metric), theirs;
	bool stores = metric >= METRIC_NS_STORE && metric <= METRIC_WAIT_STORE;
	bool alone = true;

	if (stores && ours.max <= 0)
		return;
	for (unsigned int i = 0; !stores && i < s->o->nr_peers; i++) {
		const struct contender *p = &s->peer[i];

		if (p->unable)
			continue;
		theirs = over_runs(s, p->run, metric);
		report_row(r, c, metrics[metric].name, &ours, s->o->peers[i]->name, &theirs);
		alone = false;
	}
	if (alone)
		report_row(r, c, metrics[metric].name, &ours, NULL, NULL);
}

static void rows_of_pids(const struct series *s, struct report *r, const struct report_case *c)
{
	struct spread ours;
	char label[32];

	for (unsigned int pid = 0; pid < s->o->nr_pids; pid++) {
		ours = over_runs(s, s->ours, METRIC_COUNT + pid);
		snprintf(label, sizeof(label), "cpu_%d_s", s->o->pids[pid]);
		report_row(r, c, label, &ours, NULL, NULL);
	}
}

static void notes(const struct series *s, const struct report *r, const struct report_case *c)
{
	for (unsigned int i = 0; i < s->o->nr_peers; i++) {
		const struct contender *p = &s->peer[i];
		const struct baseline *b = s->o->peers[i];

		if (p->unable)
			report_note(r, "%-8s %8u  %s cannot do this", c->name, c->size, b->name);
		else if (b->nr_variants)
			report_note(r, "%-8s %8u  %s %s: %s", c->name, c->size,
				s->o->variant ? "this" : "fastest", b->name, b->variant(p->variant));
	}
	report_note(r, "%-8s %8u  %u runs count, %u discarded (%s), cache line %.0f ns",
		c->name, c->size, c->runs, c->discarded,
		s->o->alone ? "cores moved, or the sender waited for its own" : "cores moved",
		c->probe_ns);
}

static double placement_of(const struct series *s)
{
	double v[ROUNDS];
	unsigned int n = 0;

	for (unsigned int i = 0; i < s->rounds; i++)
		if (s->counts[i] && s->placement[i] > 0)
			v[n++] = s->placement[i];
	return stat_spread(v, n).median;
}

static void rows(const struct series *s, struct report *r)
{
	struct report_case c = {
		.name = test_name(s->p.test),
		.path = smcdu_path_name(s->path),
		.wait = s->o->wait,
		.copy = s->o->copy,
		.cores = options_cores(s->o) + s->o->alone,
		.channels = s->o->channels,
		.size = s->p.size,
		.runs = s->runs,
		.discarded = s->rounds - s->runs,
		.probe_ns = placement_of(s),
	};

	for (unsigned int m = 0; m < METRIC_COUNT; m++)
		if (metrics[m].tests & s->p.test)
			rows_of(s, r, &c, m);
	rows_of_pids(s, r, &c);
	notes(s, r, &c);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static int one_case(struct series *s, enum perf_test test, uint32_t size, struct report *r)
{
	const struct options *o = s->o;
	int e;

	s->rounds = s->runs = 0;
	s->p = (struct perf_params){ .test = test, .copy = o->copy, .size = size,
		.spin_us = o->settings.spin_us, .server_cpu = o->cpu[1], .verify = o->verify,
		.count = o->count, .ns = (uint64_t)(o->seconds * 1e9) };
	for (unsigned int i = 0; i < o->nr_peers; i++) {
		s->peer[i].unable = false;
		s->peer[i].variant = UINT32_MAX;
	}
	e = all_rounds(s);
	if (e == 0)
		rows(s, r);
	return e;
}

/* What the machine itself does to a tail: the same quantiles of an empty system call. */
static int rows_of_machine(const struct options *o, struct report *r)
{
	static const struct { const char *name; double share; } q[] = {
		{ "p50_us", 0.5 }, { "p99_us", 0.99 }, { "p99.9_us", 0.999 }, { "max_us", 1 },
	};
	struct report_case c = { .name = "syscall", .runs = o->runs };
	double v[4][PERF_MAX_RUNS];
	struct hist *h = malloc(sizeof(*h));

	if (!h)
		return -ENOMEM;
	for (unsigned int run = 0; run < o->runs; run++) {
		memset(h, 0, sizeof(*h));
		probe_syscall(h);
		for (size_t i = 0; i < 3; i++)
			v[i][run] = hist_quantile(h, q[i].share) / 1e3;
		v[3][run] = (double)h->max / 1e3;
	}
	free(h);
	for (size_t i = 0; i < 4; i++) {
		struct spread s = stat_spread(v[i], o->runs);

		report_row(r, &c, q[i].name, &s, NULL, NULL);
	}
	return 0;
}

static void row_of_probe(const uint32_t cpu[2], struct report *r)
{
	struct report_case c = { .name = "probe", .runs = PROBES };
	double v[PROBES];
	struct spread s;

	for (unsigned int i = 0; i < PROBES; i++)
		v[i] = probe_cores(cpu);
	s = stat_spread(v, PROBES);
	report_row(r, &c, "ns", &s, NULL, NULL);
}

int series_run(const struct options *o, struct smcdu_ctx *ctx, struct report *r)
{
	static const enum perf_test order[] = { PERF_RTT, PERF_STREAM, PERF_BIDI };
	struct series *s = calloc(1, sizeof(*s));
	int e = 0;

	if (!s)
		return -ENOMEM;
	s->o = o;
	s->ctx = ctx;
	probe_places(o, s->cpu);
	for (size_t t = 0; t < sizeof(order) / sizeof(order[0]); t++)
		for (unsigned int i = 0; e == 0 && o->tests & order[t] && i < o->nr_sizes; i++)
			e = one_case(s, order[t], o->sizes[i], r);
	if (e == 0 && o->tests & PERF_CONNECT)
		e = one_case(s, PERF_CONNECT, 1, r);
	if (e == 0)
		e = rows_of_machine(o, r);
	free(s);
	return e;
}

int series_probe(const struct options *o, struct report *r)
{
	uint32_t cpu[2];

	probe_places(o, cpu);
	row_of_probe(cpu, r);
	return rows_of_machine(o, r);
}
