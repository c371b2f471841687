/* SPDX-License-Identifier: MIT */
#include "smcd/perf/sample.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "smcd/perf/connect.h"
#include "smcd/perf/cpu.h"

#define PATIENCE_S 60		      /* beyond its length, until a baseline's run is given up */
#define TRIAL_NS   UINT64_C(15000000) /* for each variant of a baseline */
#define SETTLE_NS  3000000L	      /* what closing leaves to others is done before the next run */
#define WAITED	   0.01		      /* part of a run that a sender who runs alone may wait for its processor */

const struct metric metrics[METRIC_COUNT] = {
	[METRIC_P50] = { "p50_us", PERF_RTT },
	[METRIC_P99] = { "p99_us", PERF_RTT },
	[METRIC_P999] = { "p99.9_us", PERF_RTT },
	[METRIC_MAX] = { "max_us", PERF_RTT },
	[METRIC_MSGS] = { "msg/s", PERF_RTT | PERF_STREAM | PERF_BIDI },
	[METRIC_GBS] = { "GB/s", PERF_STREAM | PERF_BIDI },
	[METRIC_CPU_CLIENT] = { "cpu_client_s", PERF_RTT | PERF_STREAM | PERF_BIDI },
	[METRIC_CPU_SERVER] = { "cpu_server_s", PERF_RTT | PERF_STREAM | PERF_BIDI },
	[METRIC_CPU_GB] = { "cpu_s/GB", PERF_STREAM | PERF_BIDI },
	[METRIC_NS_STORE] = { "ns/pcistb", PERF_STREAM },
	[METRIC_BYTES_STORE] = { "B/pcistb", PERF_STREAM },
	[METRIC_CPU_STORE] = { "cpu_ns/pcistb", PERF_STREAM },
	[METRIC_WAIT_STORE] = { "wait_ns/pcistb", PERF_STREAM },
	[METRIC_CONNS] = { "conn/s", PERF_CONNECT },
	[METRIC_CONNECT] = { "connect_us", PERF_CONNECT },
	[METRIC_ECHO] = { "echo_us", PERF_CONNECT },
	[METRIC_CLOSE] = { "close_us", PERF_CONNECT },
	[METRIC_CPU_CONN] = { "cpu_us/conn", PERF_CONNECT },
};

/* ---- one test on several links at once ------------------------------------------------------- */

/* What is counted from the moment at which all are warm. */
struct meter {
	void (*begin)(void *arg);
	void *arg;
};

struct job {
	struct link *link;
	const struct perf_params *p;
	pthread_barrier_t *start;
	const struct meter *meter; /* of one job only */
	pthread_t thread;
	struct perf_result res;
	int error;
};

static void *job_main(void *arg)
{
	struct job *j = arg;

	j->error = perf_warm(j->link, j->p);
	pthread_barrier_wait(j->start);
	if (j->meter)
		j->meter->begin(j->meter->arg);
	if (j->error == 0)
		j->error = perf_run(j->link, j->p, &j->res);
	return NULL;
}

static void merge(struct perf_result *into, const struct perf_result *from)
{
	hist_merge(&into->rtt, &from->rtt);
	into->bytes += from->bytes;
	into->messages += from->messages;
	into->ns = from->ns > into->ns ? from->ns : into->ns;
	into->server_cpu_ns += from->server_cpu_ns;
	into->stores += from->stores;
}

/* The last job is this thread's own. A thread that cannot be had leaves the others waiting. */
static int jobs_run(struct job *jobs, unsigned int n, struct perf_result *total)
{
	int r = 0;

	for (unsigned int i = 0; i + 1 < n; i++)
		if (pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i])) {
			fprintf(stderr, "smcd-user-perf: no thread for channel %u of %u\n", i, n);
			exit(1);
		}
	job_main(&jobs[n - 1]);
	for (unsigned int i = 0; i < n; i++) {
		if (i + 1 < n)
			pthread_join(jobs[i].thread, NULL);
		merge(total, &jobs[i].res);
		r = r ? r : jobs[i].error;
	}
	return r;
}

static int links_run(struct link *const *links, unsigned int n, const struct perf_params *p,
	const struct meter *meter, struct perf_result *total)
{
	struct job *jobs = calloc(n, sizeof(*jobs));
	pthread_barrier_t start;
	int r;

	if (!jobs)
		return -ENOMEM;
	memset(total, 0, sizeof(*total));
	pthread_barrier_init(&start, NULL, n);
	for (unsigned int i = 0; i < n; i++)
		jobs[i] = (struct job){ .link = links[i], .p = p, .start = &start,
			.meter = i + 1 == n ? meter : NULL };
	r = jobs_run(jobs, n, total);
	pthread_barrier_destroy(&start);
	free(jobs);
	return r;
}

/* ---- figures --------------------------------------------------------------------------------- */

static void figures(const struct perf_result *res, double client_s, double server_s, double other_s,
	struct sample *s)
{
	double seconds = (double)res->ns / 1e9, gb = (double)res->bytes / 1e9;

	memset(s->v, 0, METRIC_COUNT * sizeof(s->v[0]));
	s->v[METRIC_P50] = hist_quantile(&res->rtt, 0.5) / 1e3;
	s->v[METRIC_P99] = hist_quantile(&res->rtt, 0.99) / 1e3;
	s->v[METRIC_P999] = hist_quantile(&res->rtt, 0.999) / 1e3;
	s->v[METRIC_MAX] = (double)res->rtt.max / 1e3;
	s->v[METRIC_MSGS] = (double)res->messages / seconds;
	s->v[METRIC_GBS] = gb / seconds;
	s->v[METRIC_CPU_CLIENT] = client_s;
	s->v[METRIC_CPU_SERVER] = server_s;
	s->v[METRIC_CPU_GB] = (client_s + server_s + other_s) / gb;
	if (res->stores) {
		s->v[METRIC_NS_STORE] = (double)res->ns / (double)res->stores;
		s->v[METRIC_BYTES_STORE] = (double)res->bytes / (double)res->stores;
	}
}

static void connect_figures(const struct connect_result *res, double cpu_s, struct sample *s)
{
	memset(s->v, 0, METRIC_COUNT * sizeof(s->v[0]));
	s->v[METRIC_CONNS] = (double)res->connections / ((double)res->ns / 1e9);
	s->v[METRIC_CONNECT] = hist_quantile(&res->connect, 0.5) / 1e3;
	s->v[METRIC_ECHO] = hist_quantile(&res->echo, 0.5) / 1e3;
	s->v[METRIC_CLOSE] = hist_quantile(&res->close, 0.5) / 1e3;
	s->v[METRIC_CPU_CONN] = cpu_s * 1e6 / (double)res->connections;
}

static void settle(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = SETTLE_NS }, NULL);
}

const char *test_name(enum perf_test test)
{
	switch (test) {
	case PERF_RTT: return "rtt";
	case PERF_STREAM: return "stream";
	case PERF_BIDI: return "bidi";
	case PERF_CONNECT: return "connect";
	default: return "idle";
	}
}

static int explain(const struct perf_params *p, const char *who, int error)
{
	const char *why = smcdu_last_error();

	fprintf(stderr, "smcd-user-perf: %s, %u bytes, %s: %s\n",
		test_name(p->test), p->size,
		who, error == -EBADMSG ? "the bytes received are not those sent" :
		*why ? why : strerror(-error));
	return error;
}

/* ---- ours ------------------------------------------------------------------------------------ */

static int connect_all(const struct options *o, struct smcdu_ctx *ctx, struct link **links,
	uint32_t *path)
{
	struct smcdu_channel_info info;
	struct smcdu_channel *ch;
	int r;

	for (unsigned int i = 0; i < o->channels; i++) {
		r = smcdu_connect(ctx, o->target, &ch);
		if (r < 0)
			return r;
		smcdu_channel_info(ch, &info);
		*path = info.path;
		links[i] = link_smcd(ch);
		if (!links[i]) {
			smcdu_close(ch);
			return -ENOMEM;
		}
	}
	return 0;
}

/* CPU time of this process and of those named, and what became of the sender, since when it was begun. */
struct usage {
	const struct options *o;
	uint64_t process, pid[PERF_MAX_PIDS];
	uint64_t sender, waited, stolen;
};

static void usage_begin(void *arg)
{
	struct usage *u = arg;
	const struct options *o = u->o;

	for (unsigned int i = 0; i < o->nr_pids; i++)
		u->pid[i] = cpu_pid_ns(o->pids[i]);
	if (o->sender) {
		u->sender = cpu_pid_ns(o->sender);
		u->waited = cpu_pid_wait_ns(o->sender);
		u->stolen = cpu_stolen();
	}
	u->process = cpu_process_ns();
}

/* Returns the seconds of those named, and puts each into @s. */
static double usage_end(struct usage *u, struct sample *s)
{
	const struct options *o = u->o;
	double sum = 0;

	u->process = cpu_process_ns() - u->process;
	if (o->sender) {
		u->sender = cpu_pid_ns(o->sender) - u->sender;
		u->waited = cpu_pid_wait_ns(o->sender) - u->waited;
		u->stolen = cpu_stolen() - u->stolen;
	}
	for (unsigned int i = 0; i < o->nr_pids; i++) {
		s->v[METRIC_COUNT + i] = (double)(cpu_pid_ns(o->pids[i]) - u->pid[i]) / 1e9;
		sum += s->v[METRIC_COUNT + i];
	}
	return sum;
}

static void sender_figures(const struct usage *u, const struct perf_result *res, struct sample *s)
{
	if (!u->o->sender || !res->stores)
		return;
	s->v[METRIC_CPU_STORE] = (double)u->sender / (double)res->stores;
	s->v[METRIC_WAIT_STORE] = (double)u->waited / (double)res->stores;
	s->disturbed = u->o->alone &&
		       (u->stolen || (double)u->waited > WAITED * (double)res->ns);
}

static int run_ours(const struct options *o, struct link *const *links, const struct perf_params *p,
	struct sample *ret)
{
	struct perf_result res;
	struct usage u = { .o = o };
	const struct meter meter = { .begin = usage_begin, .arg = &u };
	double others;
	int r;

	r = links_run(links, o->channels, p, &meter, &res);
	others = usage_end(&u, ret);
	if (r == 0) {
		figures(&res, (double)u.process / 1e9, (double)res.server_cpu_ns / 1e9, others,
			ret);
		sender_figures(&u, &res, ret);
	}
	return r;
}

static int connect_ours(const struct options *o, struct smcdu_ctx *ctx, const struct perf_params *p,
	struct sample *ret)
{
	struct connect_target target = { .ctx = ctx, .name = o->target };
	const struct connect_ops ops = { .once = connect_smcd, .arg = &target };
	struct connect_result res;
	struct usage u = { .o = o };
	double others;
	int r;

	usage_begin(&u);
	r = connect_run(&ops, o->channels, p->count, p->ns, &res);
	others = usage_end(&u, ret);
	if (r == 0)
		connect_figures(&res, (double)u.process / 1e9 + others, ret);
	return r;
}

int sample_ours(const struct options *o, struct smcdu_ctx *ctx, const struct perf_params *p,
	struct sample *ret, uint32_t *path)
{
	/* The connect test has one, too, which tells the path. */
	struct link **links = calloc(o->channels, sizeof(struct link *));
	int r = links ? connect_all(o, ctx, links, path) : -ENOMEM;

	if (r == 0)
		r = p->test == PERF_CONNECT ? connect_ours(o, ctx, p, ret) :
			run_ours(o, links, p, ret);
	if (r < 0)
		explain(p, o->target, r);
	for (unsigned int i = 0; links && i < o->channels; i++)
		link_close(links[i]);
	free(links);
	settle();
	return r;
}

/* ---- a baseline's ---------------------------------------------------------------------------- */

static double merit(const struct perf_params *p, const struct sample *s)
{
	return p->test == PERF_RTT ? -s->v[METRIC_P50] : s->v[METRIC_GBS];
}

/* What the client's process of a baseline leaves to us. */
struct outcome {
	struct perf_result res;
	struct connect_result connects;
	uint64_t client_ns, server_ns;
	int error;
};

/* CPU time of a baseline's two ends. */
struct ends {
	const struct peer *peer;
	uint64_t client, server;
};

static void ends_begin(void *arg)
{
	struct ends *e = arg;

	e->server = peer_cpu_ns(e->peer);
	e->client = cpu_process_ns();
}

static int run_links(const struct options *o, const struct baseline *b, struct peer *peer,
	const struct perf_params *p, uint32_t variant, struct outcome *out)
{
	struct link **links = calloc(o->channels, sizeof(struct link *));
	struct ends e = { .peer = peer };
	const struct meter meter = { .begin = ends_begin, .arg = &e };
	struct perf_params able = *p;
	int r;

	if (!links)
		return -ENOMEM;
	for (unsigned int i = 0; i < o->channels; i++) {
		links[i] = peer_link(peer, i);
		/* Who has no zero copy shows what he has. */
		if (!links[i]->ops->reserve)
			able.copy = PERF_COPY;
		if (b->nr_variants)
			links[i]->ops->set_variant(links[i], variant);
	}
	r = links_run(links, o->channels, &able, &meter, &out->res);
	out->client_ns = cpu_process_ns() - e.client;
	out->server_ns = peer_cpu_ns(peer) - e.server;
	free(links);
	return r;
}

static int run_connects(const struct options *o, const struct baseline *b,
	const struct perf_params *p, struct outcome *out)
{
	uint64_t client = cpu_process_ns(), server;
	struct connect_ops ops = { .once = b->connect };
	struct peer *peer;
	int r = peer_start_connects(b, &ops.arg, &peer);

	if (r < 0)
		return r;
	server = peer_cpu_ns(peer);
	r = connect_run(&ops, o->channels, p->count, p->ns, &out->connects);
	out->client_ns = cpu_process_ns() - client;
	out->server_ns = peer_cpu_ns(peer) - server;
	peer_stop(peer);
	return r;
}

/*
 * In a process of its own, so that whatever a library does to its process (threads, signal
 * handlers, hooks in the allocator) happens neither to us nor to the next run.
 */
static void client_process(const struct options *o, const struct baseline *b,
	const struct perf_params *p, uint32_t variant, struct outcome *out)
{
	struct base_params bp = { .test = p->test, .copy = p->copy, .size = p->size,
		.sockbuf = o->sockbuf, .cores = options_cores(o) };
	struct peer *peer;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(PATIENCE_S + (unsigned int)(p->ns / 1000000000)); /* a ring does not see its peer die */
	if (p->test == PERF_CONNECT) {
		out->error = run_connects(o, b, p, out);
		return;
	}
	out->error = peer_start(b, &bp, o->channels, &peer);
	if (out->error)
		return;
	out->error = run_links(o, b, peer, p, variant, out);
	peer_stop(peer);
}

static int in_process(const struct options *o, const struct baseline *b, const struct perf_params *p,
	uint32_t variant, struct outcome *out)
{
	pid_t pid;
	int status;

	out->error = -ECHILD;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		client_process(o, b, p, variant, out);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return out->error;
}

static int run_peer(const struct options *o, const struct baseline *b, const struct perf_params *p,
	uint32_t variant, struct sample *ret)
{
	struct outcome *out = mmap(NULL, sizeof(*out), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r;

	if (out == MAP_FAILED)
		return -errno;
	r = in_process(o, b, p, variant, out);
	if (r == 0 && p->test == PERF_CONNECT)
		connect_figures(&out->connects, (double)(out->client_ns + out->server_ns) / 1e9, ret);
	else if (r == 0)
		figures(&out->res, (double)out->client_ns / 1e9, (double)out->server_ns / 1e9, 0,
			ret);
	munmap(out, sizeof(*out));
	return r;
}

static int choose_variant(const struct options *o, const struct baseline *b,
	const struct perf_params *p, uint32_t *variant)
{
	struct perf_params trial = *p;
	struct sample best = { 0 }, s = { 0 };
	int r;

	trial.count = 0;
	trial.ns = TRIAL_NS;
	for (uint32_t i = 0; i < b->nr_variants; i++) {
		r = run_peer(o, b, &trial, i, &s);
		if (r < 0)
			return r;
		if (i == 0 || merit(p, &s) > merit(p, &best)) {
			best = s;
			*variant = i;
		}
	}
	return 0;
}

int sample_peer(const struct options *o, const struct baseline *b, const struct perf_params *p,
	struct sample *ret, uint32_t *variant)
{
	int r = 0;

	if (b->nr_variants && o->variant)
		*variant = o->variant - 1;
	else if (b->nr_variants && *variant == UINT32_MAX && b->tests & p->test)
		r = choose_variant(o, b, p, variant);
	if (r == 0)
		r = run_peer(o, b, p, *variant, ret);
	if (r < 0 && r != -EOPNOTSUPP)
		explain(p, b->name, r);
	return r;
}
