/* SPDX-License-Identifier: MIT */
#include "smcd/perf/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char *wait_name(enum perf_wait w)
{
	return w == PERF_SPIN ? "spin" : w == PERF_SLEEP ? "sleep" : "block";
}

static const char *copy_name(enum perf_copy c)
{
	return c == PERF_ZERO ? "zero" : "copy";
}

void report_begin(struct report *r, bool json)
{
	*r = (struct report){ .json = json };
	if (json)
		printf("[");
}

static void row_text(const struct report_case *c, const char *metric, const struct spread *ours,
	const char *peer, const struct spread *theirs)
{
	printf("%-8s %8u  %-14s %12.3f [%.3f .. %.3f]", c->name, c->size, metric, ours->median,
		ours->min, ours->max);
	if (peer)
		printf("   %s %12.3f [%.3f .. %.3f]   ratio %.3f", peer, theirs->median,
			theirs->min, theirs->max, stat_ratio(ours->median, theirs->median));
	printf("\n");
	fflush(stdout);
}

static void row_json(struct report *r, const struct report_case *c, const char *metric,
	const struct spread *ours, const char *peer, const struct spread *theirs)
{
	printf("%s\n{\"case\":\"%s\",\"size\":%u,\"metric\":\"%s\",\"ours\":%.6g,\"min\":%.6g,"
	       "\"max\":%.6g,\"runs\":%u,\"discarded\":%u", r->begun ? "," : "", c->name, c->size,
		metric, ours->median, ours->min, ours->max, c->runs, c->discarded);
	if (c->path)
		printf(",\"path\":\"%s\",\"wait\":\"%s\",\"copy\":\"%s\",\"cores\":%u,\"channels\":%u,"
		       "\"probe_ns\":%.0f", c->path, wait_name(c->wait), copy_name(c->copy), c->cores,
			c->channels, c->probe_ns);
	if (peer)
		printf(",\"peer\":\"%s\",\"theirs\":%.6g,\"theirs_min\":%.6g,\"theirs_max\":%.6g,"
		       "\"ratio\":%.4g}", peer, theirs->median, theirs->min, theirs->max,
			stat_ratio(ours->median, theirs->median));
	else
		printf(",\"peer\":null,\"theirs\":null,\"ratio\":null}");
	r->begun = true;
}

void report_row(struct report *r, const struct report_case *c, const char *metric,
	const struct spread *ours, const char *peer, const struct spread *theirs)
{
	if (r->json)
		row_json(r, c, metric, ours, peer, theirs);
	else
		row_text(c, metric, ours, peer, theirs);
}

void report_note(const struct report *r, const char *fmt, ...)
{
	va_list ap;

	if (r->json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

int report_end(struct report *r)
{
	if (r->json)
		printf("\n]\n");
	return fflush(stdout) != 0 || ferror(stdout) ? -EIO : 0;
}
