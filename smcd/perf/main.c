/* SPDX-License-Identifier: MIT */
/*
 * main.c - smcd-user-perf: latency and bandwidth of channels, beside a UNIX socket's
 *
 * What is compared runs interleaved (ours, theirs, ours, theirs ...) in one command, every run on a
 * fresh connection; what is printed are the medians of the runs with their spread.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smcd/perf/hist.h"
#include "smcd/perf/perf.h"
#include "vfio/base/fd.h"

#define SYSCALLS 100000 /* calls behind the "empty system call" row */

struct options {
	const char *target;
	struct smcdu_settings settings;
	bool listen;
	bool once;
	bool baseline;
	bool json;
	bool verify;
	bool rtt;
	bool stream;
	unsigned int runs;
	unsigned int nr_sizes;
	uint32_t sizes[PERF_MAX_SIZES];
	uint64_t count;
	double seconds;
	unsigned int nr_pids;
	int pids[PERF_MAX_PIDS];
};

/* All runs of one case on one transport. */
struct series {
	struct perf_result run[PERF_MAX_RUNS];
	double pid_s[PERF_MAX_RUNS][PERF_MAX_PIDS];
};

struct output {
	const struct options *o;
	bool first;
};

static int fail_lib(const char *what, int error)
{
	const char *why = smcdu_last_error();

	fprintf(stderr, "smcd-user-perf: %s: %s\n", what, *why ? why : strerror(-error));
	return 1;
}

static int fail_errno(const char *what)
{
	fprintf(stderr, "smcd-user-perf: %s: %s\n", what, strerror(errno));
	return 1;
}

/* ---- server ---------------------------------------------------------------------------------- */

/* What the threads of the server share: those that serve, and news of each that ended. */
struct server {
	atomic_uint serving;
	atomic_bool failed;
	int ended; /* eventfd */
};

struct session {
	struct server *server;
	struct smcdu_channel *ch;
};

static void *serve_thread(void *arg)
{
	struct session *s = arg;
	struct server *server = s->server;
	struct conn c = { .ch = s->ch, .fd = -1 };
	int r = perf_serve(&c);

	free(s);
	if (r < 0) {
		fail_lib("serve", r);
		atomic_store(&server->failed, true);
	}
	smcdu_close(c.ch);
	atomic_fetch_sub(&server->serving, 1);
	eventfd_write(server->ended, 1);
	return NULL;
}

static void serve_channel(struct server *server, struct smcdu_channel *ch)
{
	struct session *s = malloc(sizeof(*s));
	pthread_t t;

	if (s) {
		*s = (struct session){ .server = server, .ch = ch };
		atomic_fetch_add(&server->serving, 1);
		if (pthread_create(&t, NULL, serve_thread, s) == 0) {
			pthread_detach(t);
			return;
		}
		atomic_fetch_sub(&server->serving, 1);
	}
	fprintf(stderr, "smcd-user-perf: no thread for another channel\n");
	free(s);
	smcdu_abort(ch);
}

/*
 * With @once until the last channel of the first client ends: a client holds one from its beginning
 * to its end, so that between two runs there is always one. 0, or the exit status.
 */
static int serve_all(struct server *server, struct smcdu_listener *l, bool once)
{
	struct pollfd fds[2] = {
		{ .fd = smcdu_listener_fd(l), .events = POLLIN },
		{ .fd = server->ended, .events = POLLIN },
	};
	struct smcdu_channel *ch;
	eventfd_t n;
	int r;

	for (;;) {
		r = smcdu_accept(l, SMCDU_DONTWAIT, &ch);
		if (r == 0)
			serve_channel(server, ch);
		else if (r != -EAGAIN)
			return fail_lib("accept", r);
		else if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return fail_errno("poll");
		if (eventfd_read(server->ended, &n) == 0 && once && !atomic_load(&server->serving))
			return atomic_load(&server->failed);
	}
}

static int server(const struct options *o)
{
	static struct server srv; /* threads that still serve use it until the process ends */
	struct smcdu_listener *l;
	struct smcdu_ctx *ctx;
	int r = smcdu_open(&o->settings, &ctx);

	if (r < 0)
		return fail_lib("settings", r);
	r = smcdu_listen(ctx, o->target, 0, &l);
	smcdu_close_ctx(ctx);
	if (r < 0)
		return fail_lib("listen", r);
	srv.ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (srv.ended < 0) {
		r = fail_errno("eventfd");
	} else {
		fprintf(stderr, "smcd-user-perf: ready on service '%s'\n", o->target);
		r = serve_all(&srv, l, o->once);
	}
	smcdu_listener_free(l);
	return r;
}

/* The baseline's server is a process of its own, as ours is. */
static pid_t start_baseline(int *fd)
{
	struct conn c = { .fd = -1 };
	int sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(sv[0]);
		c.fd = sv[1];
		_exit(perf_serve(&c) < 0);
	}
	close(sv[1]);
	*fd = sv[0];
	return pid;
}

/* ---- client ---------------------------------------------------------------------------------- */

static int run_ours(const struct options *o, struct smcdu_ctx *ctx, const struct perf_params *p,
	struct series *s, unsigned int run)
{
	uint64_t before[PERF_MAX_PIDS];
	struct conn c = { .fd = -1 };
	int r = smcdu_connect(ctx, o->target, &c.ch);

	if (r < 0)
		return fail_lib("connect", r);
	for (unsigned int i = 0; i < o->nr_pids; i++)
		before[i] = cpu_pid_ns(o->pids[i]);
	r = perf_run(&c, p, &s->run[run]);
	for (unsigned int i = 0; i < o->nr_pids; i++)
		s->pid_s[run][i] = (double)(cpu_pid_ns(o->pids[i]) - before[i]) / 1e9;
	if (r < 0) {
		fprintf(stderr, "smcd-user-perf: %s, %u bytes: %s\n",
			p->test == PERF_RTT ? "rtt" : "stream", p->size,
			r == -EBADMSG ? "the bytes received are not those sent" :
			*smcdu_last_error() ? smcdu_last_error() : strerror(-r));
		smcdu_abort(c.ch);
		return 1;
	}
	smcdu_close(c.ch);
	return 0;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *sorted, unsigned int n)
{
	return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

/* One row: medians of a metric over the runs. @theirs may be NULL. */
static void row(struct output *out, const char *name, uint32_t size, const char *metric,
	double *ours, double *theirs)
{
	unsigned int n = out->o->runs;
	double a, b = 0;

	qsort(ours, n, sizeof(*ours), compare_doubles);
	a = median(ours, n);
	if (theirs) {
		qsort(theirs, n, sizeof(*theirs), compare_doubles);
		b = median(theirs, n);
	}
	if (!out->o->json) {
		printf("%-8s %8u  %-14s %12.3f [%.3f .. %.3f]", name, size, metric, a, ours[0],
			ours[n - 1]);
		if (theirs)
			printf("   unix %12.3f   ratio %.3f", b, b > 0 ? a / b : 0);
		printf("\n");
		fflush(stdout);
		return;
	}
	printf("%s\n{\"case\":\"%s\",\"size\":%u,\"metric\":\"%s\",\"ours\":%.4f,\"min\":%.4f,"
	       "\"max\":%.4f,\"runs\":%u", out->first ? "" : ",", name, size, metric, a, ours[0],
		ours[n - 1], n);
	if (theirs)
		printf(",\"peer\":\"unix\",\"theirs\":%.4f,\"ratio\":%.4f}", b, b > 0 ? a / b : 0);
	else
		printf(",\"peer\":null,\"theirs\":null,\"ratio\":null}");
	out->first = false;
}

struct metric {
	const char *name;
	size_t offset;
};

#define METRIC(n, f) { n, offsetof(struct perf_result, f) }

static const struct metric rtt_metrics[] = {
	METRIC("p50_us", p50), METRIC("p99_us", p99), METRIC("p99.9_us", p999),
	METRIC("max_us", max), METRIC("cpu_client_s", client_s), METRIC("cpu_server_s", server_s),
};
static const struct metric stream_metrics[] = {
	METRIC("MB/s", mb_s), METRIC("cpu_client_s", client_s), METRIC("cpu_server_s", server_s),
};

static void pick(const struct series *s, unsigned int runs, size_t offset, double *v)
{
	for (unsigned int i = 0; i < runs; i++)
		memcpy(&v[i], (const char *)&s->run[i] + offset, sizeof(v[i]));
}

static void report(struct output *out, const struct perf_params *p, const struct series *ours,
	const struct series *theirs)
{
	const struct metric *m = p->test == PERF_RTT ? rtt_metrics : stream_metrics;
	size_t n = p->test == PERF_RTT ? sizeof(rtt_metrics) / sizeof(*m) :
		sizeof(stream_metrics) / sizeof(*m);
	const char *name = p->test == PERF_RTT ? "rtt" : "stream";
	double a[PERF_MAX_RUNS], b[PERF_MAX_RUNS];
	char label[32];

	for (size_t i = 0; i < n; i++) {
		pick(ours, out->o->runs, m[i].offset, a);
		if (theirs)
			pick(theirs, out->o->runs, m[i].offset, b);
		row(out, name, p->size, m[i].name, a, theirs ? b : NULL);
	}
	for (unsigned int pid = 0; pid < out->o->nr_pids; pid++) {
		for (unsigned int i = 0; i < out->o->runs; i++)
			a[i] = ours->pid_s[i][pid];
		snprintf(label, sizeof(label), "cpu_%d_s", out->o->pids[pid]);
		row(out, name, p->size, label, a, NULL);
	}
}

/* What the machine itself does to a tail: the same quantiles of an empty system call. */
static void report_syscall(struct output *out)
{
	static const struct { const char *name; double share; } q[] = {
		{ "p50_us", 0.5 }, { "p99_us", 0.99 }, { "p99.9_us", 0.999 }, { "max_us", 1 },
	};
	double v[4][PERF_MAX_RUNS];
	struct hist *h = malloc(sizeof(*h));

	for (unsigned int run = 0; h && run < out->o->runs; run++) {
		memset(h, 0, sizeof(*h));
		for (int i = 0; i < SYSCALLS; i++) {
			uint64_t t = clock_ns();

			getppid();
			hist_add(h, clock_ns() - t);
		}
		for (size_t i = 0; i < 4; i++)
			v[i][run] = hist_quantile(h, q[i].share) / 1e3;
		v[3][run] = (double)h->max / 1e3;
	}
	for (size_t i = 0; h && i < 4; i++)
		row(out, "syscall", 0, q[i].name, v[i], NULL);
	free(h);
}

static int one_case(struct output *out, struct smcdu_ctx *ctx, int unix_fd, enum perf_test test,
	uint32_t size)
{
	const struct options *o = out->o;
	struct perf_params p = { .test = test, .size = size, .verify = o->verify,
		.count = o->count, .ns = (uint64_t)(o->seconds * 1e9) };
	struct series *s = calloc(2, sizeof(*s));
	struct conn base = { .fd = unix_fd };
	int r = s ? 0 : 1;

	for (unsigned int run = 0; r == 0 && run < o->runs; run++) {
		r = run_ours(o, ctx, &p, &s[0], run);
		if (r == 0 && unix_fd >= 0 && perf_run(&base, &p, &s[1].run[run]) < 0) {
			fprintf(stderr, "smcd-user-perf: the baseline failed\n");
			r = 1;
		}
	}
	if (r == 0)
		report(out, &p, &s[0], unix_fd >= 0 ? &s[1] : NULL);
	free(s);
	return r;
}

static int all_cases(const struct options *o, struct smcdu_ctx *ctx, int unix_fd)
{
	struct output out = { .o = o, .first = true };
	int r = 0;

	if (o->json)
		printf("[");
	for (unsigned int i = 0; r == 0 && o->rtt && i < o->nr_sizes; i++)
		r = one_case(&out, ctx, unix_fd, PERF_RTT, o->sizes[i]);
	for (unsigned int i = 0; r == 0 && o->stream && i < o->nr_sizes; i++)
		r = one_case(&out, ctx, unix_fd, PERF_STREAM, o->sizes[i]);
	if (r == 0 && o->rtt)
		report_syscall(&out);
	if (o->json)
		printf("\n]\n");
	if (fflush(stdout) != 0 || ferror(stdout))
		return fail_errno("standard output");
	return r;
}

static int client(const struct options *o)
{
	int unix_fd FD_CLEANUP = -1;
	struct smcdu_channel *held; /* tells a server with --once that more is to come */
	struct smcdu_ctx *ctx;
	pid_t pid = o->baseline ? start_baseline(&unix_fd) : 0;
	int r;

	if (pid < 0)
		return fail_errno("baseline");
	r = smcdu_open(&o->settings, &ctx);
	if (r < 0)
		return fail_lib("settings", r);
	r = smcdu_connect(ctx, o->target, &held);
	if (r < 0) {
		r = fail_lib("connect", r);
	} else {
		r = all_cases(o, ctx, unix_fd);
		smcdu_close(held);
	}
	smcdu_close_ctx(ctx);
	fd_closep(&unix_fd);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return r;
}

/* ---- options --------------------------------------------------------------------------------- */

static void usage(FILE *f)
{
	fputs("usage: smcd-user-perf [options] SERVICE@PEER\n"
	      "       smcd-user-perf [--once] -l SERVICE\n"
	      "Measures round trips and bandwidth between two smcd-user-perf.\n\n"
	      "  -l, --listen         serve tests\n"
	      "      --once           serve one client, then end\n"
	      "      --test T         rtt, stream or all (default)\n"
	      "      --sizes A,B,...  message sizes; K and M are understood\n"
	      "                       (default 8,64,512,4K,64K,1M)\n"
	      "      --runs N         runs per case, medians are printed (default 5)\n"
	      "      --seconds S      length of a run (default 0.2)\n"
	      "      --count N        messages per run instead of a time\n"
	      "      --verify         hash every byte on both sides and compare\n"
	      "      --baseline unix  the same over a UNIX stream socket, interleaved\n"
	      "      --cpu-pid PID    also report the CPU seconds of this process (repeatable)\n"
	      "      --format F       text (default) or json\n"
	      "      --spin-us N      look this long before sleeping (default: adaptive)\n"
	      "      --path PATH      auto (default), attached or mediated\n"
	      "      --rcvbuf BYTES   receive buffer of the channels\n"
	      "      --socket PATH    the daemon's socket\n"
	      "      --help, --version\n", f);
}

static int misuse(const char *why)
{
	if (why)
		fprintf(stderr, "smcd-user-perf: %s\n", why);
	fputs("Try 'smcd-user-perf --help'.\n", stderr);
	return 2;
}

static bool parse_number(const char *s, uint64_t max, uint64_t *v)
{
	unsigned long long n;
	char *end;

	errno = 0;
	n = strtoull(s, &end, 10);
	if (*end == 'K' || *end == 'k')
		n <<= 10, end++;
	else if (*end == 'M' || *end == 'm')
		n <<= 20, end++;
	if (errno || end == s || *end || *s == '-' || n > max)
		return false;
	*v = n;
	return true;
}

static bool parse_sizes(char *list, struct options *o)
{
	char *save = NULL;
	uint64_t v;

	o->nr_sizes = 0;
	for (char *s = strtok_r(list, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		if (o->nr_sizes == PERF_MAX_SIZES || !parse_number(s, PERF_SIZE_MAX, &v) || !v)
			return false;
		o->sizes[o->nr_sizes++] = (uint32_t)v;
	}
	return o->nr_sizes > 0;
}

static bool parse_test(const char *s, struct options *o)
{
	o->rtt = !strcmp(s, "rtt") || !strcmp(s, "all");
	o->stream = !strcmp(s, "stream") || !strcmp(s, "all");
	return o->rtt || o->stream;
}

static bool parse_seconds(const char *s, double *v)
{
	char *end;

	*v = strtod(s, &end);
	return end != s && !*end && *v > 0 && *v <= 3600;
}

enum { OPT_ONCE = 256, OPT_TEST, OPT_SIZES, OPT_RUNS, OPT_SECONDS, OPT_COUNT, OPT_VERIFY,
	OPT_BASELINE, OPT_PID, OPT_FORMAT, OPT_SPIN, OPT_PATH, OPT_RCVBUF, OPT_SOCKET, OPT_HELP,
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
	{ "cpu-pid", required_argument, NULL, OPT_PID },
	{ "format", required_argument, NULL, OPT_FORMAT },
	{ "spin-us", required_argument, NULL, OPT_SPIN },
	{ "path", required_argument, NULL, OPT_PATH },
	{ "rcvbuf", required_argument, NULL, OPT_RCVBUF },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

/* Options with a value. False when the value is wrong. */
static bool parse_value(int c, char *arg, struct options *o)
{
	uint64_t v = 0;
	bool ok;

	switch (c) {
	case OPT_TEST: return parse_test(arg, o);
	case OPT_SIZES: return parse_sizes(arg, o);
	case OPT_SECONDS: return parse_seconds(arg, &o->seconds);
	case OPT_COUNT: return parse_number(arg, UINT64_MAX, &o->count) && o->count;
	case OPT_SOCKET: o->settings.socket_path = arg; return true;
	case OPT_PATH: return smcdu_path_parse(arg, &o->settings.path) == 0;
	case OPT_BASELINE: o->baseline = true; return !strcmp(arg, "unix");
	case OPT_FORMAT: o->json = !strcmp(arg, "json"); return o->json || !strcmp(arg, "text");
	case OPT_RUNS:
		ok = parse_number(arg, PERF_MAX_RUNS, &v) && v;
		o->runs = (unsigned int)v;
		return ok;
	case OPT_PID:
		ok = o->nr_pids < PERF_MAX_PIDS && parse_number(arg, INT32_MAX, &v) && v;
		if (ok)
			o->pids[o->nr_pids++] = (int)v;
		return ok;
	case OPT_SPIN:
		ok = parse_number(arg, UINT32_MAX, &v);
		o->settings.spin_us = v ? (uint32_t)v : UINT32_MAX;
		return ok;
	case OPT_RCVBUF:
		ok = parse_number(arg, UINT32_MAX, &v);
		o->settings.rcvbuf = (uint32_t)v;
		return ok;
	default: return false;
	}
}

int main(int argc, char **argv)
{
	struct options o = { .rtt = true, .stream = true, .runs = 5, .seconds = 0.2, .nr_sizes = 6,
		.sizes = { 8, 64, 512, 4096, 65536, 1048576 } };
	int c, index = 0;

	smcdu_default_settings(&o.settings);
	while ((c = getopt_long(argc, argv, "l", longs, &index)) != -1) {
		switch (c) {
		case 'l': o.listen = true; break;
		case OPT_ONCE: o.once = true; break;
		case OPT_VERIFY: o.verify = true; break;
		case OPT_HELP: usage(stdout); return 0;
		case OPT_VERSION: printf("smcd-user-perf %s\n", smcdu_version()); return 0;
		case '?': return misuse(NULL);
		default:
			if (parse_value(c, optarg, &o))
				break;
			fprintf(stderr, "smcd-user-perf: bad value for --%s: '%s'\n",
				longs[index].name, optarg);
			return 2;
		}
	}
	if (optind + 1 != argc)
		return misuse("give one SERVICE@PEER, or -l and one SERVICE");
	if (o.once && !o.listen)
		return misuse("--once is for -l");
	o.target = argv[optind];
	return o.listen ? server(&o) : client(&o);
}
