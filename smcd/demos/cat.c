/* SPDX-License-Identifier: MIT */
/*
 * cat.c - smcd-user-cat: standard input to a peer, a peer to standard output
 *
 * One poll loop for both directions. Bytes go from read(2) straight into the send ring and from the
 * receive ring straight into write(2). Nothing is read from standard input unless there is space
 * for it, and nothing is released before it was written: an error never eats bytes silently.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "smcd-user.h"

#define ROUNDS	      16 /* reads or writes in a row before the other direction has its turn */
#define PROGRESS_MS   500
#define MS_PER_S      1000

struct options {
	const char *target;
	const char *socket;
	uint32_t path; /* wanted: enum smcdu_path, 0: any */
	bool listen;
	bool keep;
	bool no_half_close;
	bool progress;
	bool stats;
	bool recv_only;
	bool send_only;
	uint32_t timeout_s;
};

struct pump {
	const struct options *o;
	struct smcdu_channel *ch;
	int in;	       /* -1: at its end, or not wanted */
	int out;       /* -1: received bytes are dropped */
	bool shut;     /* our half is closed */
	bool ended;    /* the peer's half is closed and everything is written */
	bool rx_ready; /* the channel has something for us */
	bool tx_ready; /* the channel has space */
	uint64_t received;
	uint64_t sent;
	int64_t moved_ms; /* last time a byte moved */
};

static int fail_errno(const char *what, int error)
{
	fprintf(stderr, "smcd-user-cat: %s: %s\n", what, strerror(error));
	return 1;
}

static int fail_lib(const char *what, int error)
{
	const char *why = smcdu_last_error();

	fprintf(stderr, "smcd-user-cat: %s: %s\n", what, *why ? why : strerror(-error));
	return 1;
}

/* With the kernel's code, which 'smcd-userctl diag' explains. */
static int fail_connect(int error)
{
	const char *why = smcdu_last_error();
	uint32_t diag = smcdu_last_diag();

	fprintf(stderr, "smcd-user-cat: connect: %s", *why ? why : strerror(-error));
	if (diag)
		fprintf(stderr, " (diagnosis 0x%08" PRIx32 ")", diag);
	fputc('\n', stderr);
	return 1;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * MS_PER_S + ts.tv_nsec / 1000000;
}

/*
 * A description of the same file that does not block, without changing the one that is shared with
 * the shell; where it cannot be opened again (sockets) the flag is set on the shared one.
 */
static int unblocked(int fd, int mode)
{
	char path[32];
	struct stat st;
	int flags, again;

	if (fstat(fd, &st) < 0)
		return -1;
	if (S_ISREG(st.st_mode))
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (again >= 0)
		return again;
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	return fd;
}

/* Space, input -> channel. 0, or the exit status. */
static int pump_in(struct pump *p)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct iovec space[2];
		ssize_t n = smcdu_reservev(p->ch, space, 0, SMCDU_DONTWAIT);
		int r;

		if (n == -EAGAIN) {
			p->tx_ready = false;
			return 0;
		}
		if (n < 0)
			return fail_lib("send", (int)n);
		n = readv(p->in, space, 2);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 :
				fail_errno("standard input", errno);
		if (n == 0) {
			p->in = -1;
			return 0;
		}
		r = smcdu_commit(p->ch, (size_t)n);
		if (r < 0)
			return fail_lib("send", r);
		p->sent += (uint64_t)n;
		p->moved_ms = now_ms();
	}
	return 0;
}

/* Channel -> output. */
static int pump_out(struct pump *p)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct iovec data[2];
		ssize_t n = smcdu_peekv(p->ch, data, 0, SMCDU_DONTWAIT);

		if (n == -EAGAIN) {
			p->rx_ready = false;
			return 0;
		}
		if (n < 0)
			return fail_lib("receive", (int)n);
		if (n == 0) {
			p->ended = true;
			p->rx_ready = false;
			return 0;
		}
		if (p->out >= 0)
			n = writev(p->out, data, 2);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 :
				fail_errno("standard output", errno);
		smcdu_release(p->ch, (size_t)n);
		p->received += (uint64_t)n;
		p->moved_ms = now_ms();
	}
	return 0;
}

static void show_progress(const struct pump *p, int64_t start_ms, bool last)
{
	int64_t ms = now_ms() - start_ms;
	double s = ms > 0 ? (double)ms / MS_PER_S : 0.001;
	double mib = (double)(p->sent + p->received) / (1 << 20);

	fprintf(stderr, "\r%" PRIu64 " bytes sent, %" PRIu64 " received, %.1f s, %.1f MiB/s%s",
		p->sent, p->received, s, mib / s, last ? "\n" : "   ");
}

static void show_stats(const struct pump *p)
{
	struct smcdu_channel_stats st;

	smcdu_channel_stats(p->ch, &st);
	fprintf(stderr,
		"{\"tx_bytes\":%" PRIu64 ",\"rx_bytes\":%" PRIu64 ",\"tx_calls\":%" PRIu64
		",\"rx_calls\":%" PRIu64 ",\"tx_sent\":%" PRIu64 ",\"pcistb\":%" PRIu64
		",\"cdc_tx\":%" PRIu64 ",\"bounced\":%" PRIu64 ",\"bells\":%" PRIu64
		",\"sleeps\":%" PRIu64 ",\"state\":\"%s\",\"error\":%" PRId32 "}\n",
		st.tx_bytes, st.rx_bytes, st.tx_calls, st.rx_calls, st.tx_sent, st.pcistb,
		st.cdc_tx, st.bounced, st.bells, st.sleeps, smcdu_state_name(st.state), st.error);
}

/* What was sent reached a peer that went away in order. 0, or the exit status. */
static int check_delivered(const struct pump *p)
{
	struct smcdu_channel_stats st;

	smcdu_channel_stats(p->ch, &st);
	if (p->sent == 0 || st.error == 0)
		return 0;
	return fail_errno("send", st.error);
}

/* The peer is gone altogether: fine if it went in order and no input was waiting to be sent. */
static int peer_left(struct pump *p, int error)
{
	struct pollfd in = { .fd = p->in, .events = POLLIN };
	int status = check_delivered(p);
	char c;

	if (status)
		return status;
	/* Nobody at a terminal has to type on; elsewhere one byte more is one too many. */
	if (!isatty(p->in) && poll(&in, 1, 0) > 0 && read(p->in, &c, 1) > 0)
		return fail_lib("send", error);
	p->in = -1;
	return 0;
}

/* Sees to what the channel says now. 0, or the exit status. */
static int look(struct pump *p, bool *dead)
{
	unsigned int want = (p->rx_ready || p->ended ? 0 : SMCDU_IN) |
		(p->in >= 0 && !p->tx_ready ? SMCDU_OUT : 0);
	size_t len;
	void *ptr;
	int ev, r;

	smcdu_set_events(p->ch, want);
	ev = smcdu_events(p->ch);
	if (ev < 0)
		return fail_lib("channel", ev);
	p->rx_ready = p->rx_ready || (!p->ended && (ev & SMCDU_IN));
	p->tx_ready = p->tx_ready || (ev & SMCDU_OUT);
	*dead = (ev & SMCDU_ERR) != 0;
	if (!p->ended || p->in < 0)
		return 0;
	r = smcdu_reserve(p->ch, &ptr, &len, SMCDU_DONTWAIT);
	if (r == -ECONNRESET)
		return peer_left(p, r);
	return r < 0 && r != -EAGAIN ? fail_lib("send", r) : 0;
}

static int half_close(struct pump *p)
{
	int r;

	if (p->in >= 0 || p->shut || p->o->no_half_close)
		return 0;
	p->shut = true;
	r = smcdu_shutdown(p->ch);
	/* A peer that closed already needs no end from us. */
	return r < 0 && r != -ECONNRESET && r != -EPIPE ? fail_lib("half close", r) : 0;
}

static bool finished(const struct pump *p)
{
	if (p->o->send_only)
		return p->in < 0;
	return p->ended && (p->in < 0 || p->o->recv_only);
}

static int pump_wait(struct pump *p, bool dead, int64_t *next_ms)
{
	struct pollfd fds[3] = {
		{ .fd = dead ? -1 : smcdu_channel_fd(p->ch), .events = POLLIN },
		{ .fd = p->tx_ready ? p->in : -1, .events = POLLIN },
		{ .fd = p->rx_ready ? p->out : -1, .events = POLLOUT },
	};
	int64_t now = now_ms();
	int64_t idle = (int64_t)p->o->timeout_s * MS_PER_S;
	int wait = -1, r = 0;

	if (p->o->timeout_s)
		wait = now - p->moved_ms < idle ? (int)(idle - (now - p->moved_ms)) : 0;
	if (p->o->progress && (wait < 0 || wait > *next_ms - now))
		wait = *next_ms > now ? (int)(*next_ms - now) : 0;
	if (p->rx_ready && p->out < 0)
		wait = 0; /* dropping needs nobody */
	if (poll(fds, 3, wait) < 0 && errno != EINTR)
		return fail_errno("poll", errno);
	if (fds[1].revents)
		r = pump_in(p);
	if (r == 0 && (fds[2].revents || (p->rx_ready && p->out < 0)))
		r = pump_out(p);
	if (r == 0 && idle && now_ms() - p->moved_ms >= idle) {
		fprintf(stderr, "smcd-user-cat: nothing moved for %" PRIu32 " s\n",
			p->o->timeout_s);
		return 1;
	}
	return r;
}

static int pump_run(struct pump *p)
{
	int64_t start = now_ms(), next = start + PROGRESS_MS;
	bool dead = false;
	int r = smcdu_channel_fd(p->ch);

	if (r < 0)
		return fail_lib("channel", r);
	p->moved_ms = start;
	do {
		r = half_close(p);
		if (r == 0)
			r = look(p, &dead);
		if (r == 0 && !finished(p))
			r = pump_wait(p, dead, &next);
		if (p->o->progress && now_ms() >= next) {
			show_progress(p, start, false);
			next += PROGRESS_MS;
		}
	} while (r == 0 && !finished(p));
	if (r == 0)
		r = half_close(p);
	if (r == 0) {
		uint32_t ms = p->o->timeout_s ? p->o->timeout_s * MS_PER_S : UINT32_MAX;
		int e = smcdu_flush(p->ch, ms);

		r = e < 0 ? fail_lib("flush", e) : check_delivered(p);
	}
	if (p->o->progress)
		show_progress(p, start, true);
	return r;
}

static int serve(const struct options *o, struct smcdu_channel *ch, int in, int out)
{
	struct pump p = { .o = o, .ch = ch, .in = o->recv_only ? -1 : in,
		.out = o->send_only ? -1 : out };
	int r = pump_run(&p);

	if (o->stats)
		show_stats(&p);
	if (r)
		smcdu_abort(ch);
	else
		smcdu_close(ch);
	return r;
}

static int run_listen(const struct options *o, struct smcdu_ctx *ctx, int in, int out)
{
	struct smcdu_listener *l;
	struct smcdu_channel *ch;
	int r = smcdu_listen(ctx, o->target, 0, &l);
	int status;

	if (r < 0)
		return fail_lib("listen", r);
	do {
		r = smcdu_accept(l, 0, &ch);
		if (r < 0) {
			status = fail_lib("accept", r);
			break;
		}
		if (!o->keep) {
			smcdu_listener_free(l);
			l = NULL;
		}
		status = serve(o, ch, in, out);
	} while (o->keep);
	smcdu_listener_free(l);
	return status;
}

static int run(const struct options *o)
{
	struct smcdu_settings s;
	struct smcdu_ctx *ctx;
	struct smcdu_channel *ch;
	int in = unblocked(STDIN_FILENO, O_RDONLY);
	int out = unblocked(STDOUT_FILENO, O_WRONLY);
	int r;

	if (out < 0 && !o->send_only)
		return fail_errno("standard output", EBADF);
	smcdu_default_settings(&s);
	s.socket_path = o->socket;
	s.path = o->path;
	if (o->timeout_s)
		s.connect_timeout_ms = o->timeout_s * MS_PER_S;
	r = smcdu_open(&s, &ctx);
	if (r < 0)
		return fail_lib("settings", r);
	if (o->listen) {
		r = run_listen(o, ctx, in, out);
	} else {
		r = smcdu_connect(ctx, o->target, &ch);
		r = r < 0 ? fail_connect(r) : serve(o, ch, in, out);
	}
	smcdu_close_ctx(ctx);
	return r;
}

static void usage(FILE *f)
{
	fputs("usage: smcd-user-cat [options] SERVICE@PEER\n"
	      "       smcd-user-cat [options] -l SERVICE\n"
	      "Sends standard input to a peer and writes what comes to standard output.\n\n"
	      "  -l, --listen       wait for a peer to connect\n"
	      "  -k, --keep         with -l: serve further peers, one after the other\n"
	      "  -N, --no-shutdown  do not half-close at the end of standard input\n"
	      "  -p, --progress     show progress on standard error\n"
	      "      --recv-only    do not read standard input\n"
	      "      --send-only    drop what comes; end when everything was delivered\n"
	      "      --stats        print the channel's statistics as JSON on standard error\n"
	      "      --timeout S    give up when nothing moves (or connects) for S seconds\n"
	      "      --path PATH    auto (default), attached or mediated\n"
	      "      --socket PATH  the daemon's socket\n"
	      "      --help, --version\n", f);
}

static int misuse(const char *why)
{
	if (why)
		fprintf(stderr, "smcd-user-cat: %s\n", why);
	fputs("Try 'smcd-user-cat --help'.\n", stderr);
	return 2;
}

enum { OPT_RECV_ONLY = 256, OPT_SEND_ONLY, OPT_STATS, OPT_TIMEOUT, OPT_PATH, OPT_SOCKET, OPT_HELP,
	OPT_VERSION };

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "listen", no_argument, NULL, 'l' },
		{ "keep", no_argument, NULL, 'k' },
		{ "no-shutdown", no_argument, NULL, 'N' },
		{ "progress", no_argument, NULL, 'p' },
		{ "recv-only", no_argument, NULL, OPT_RECV_ONLY },
		{ "send-only", no_argument, NULL, OPT_SEND_ONLY },
		{ "stats", no_argument, NULL, OPT_STATS },
		{ "timeout", required_argument, NULL, OPT_TIMEOUT },
		{ "path", required_argument, NULL, OPT_PATH },
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	unsigned long v;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "lkNp", longs, NULL)) != -1) {
		switch (c) {
		case 'l': o->listen = true; break;
		case 'k': o->keep = true; break;
		case 'N': o->no_half_close = true; break;
		case 'p': o->progress = true; break;
		case OPT_RECV_ONLY: o->recv_only = true; break;
		case OPT_SEND_ONLY: o->send_only = true; break;
		case OPT_STATS: o->stats = true; break;
		case OPT_SOCKET: o->socket = optarg; break;
		case OPT_PATH:
			if (smcdu_path_parse(optarg, &o->path) < 0)
				return misuse("--path takes auto, attached or mediated");
			break;
		case OPT_TIMEOUT:
			v = strtoul(optarg, &end, 10);
			if (*end || end == optarg || v == 0 || v > 86400) {
				return misuse("--timeout takes 1 to 86400 s");
			}
			o->timeout_s = (uint32_t)v;
			break;
		case OPT_HELP: usage(stdout); return 0;
		case OPT_VERSION: printf("smcd-user-cat %s\n", smcdu_version()); return 0;
		default: return misuse(NULL);
		}
	}
	if (optind + 1 != argc)
		return misuse("give one SERVICE@PEER, or -l and one SERVICE");
	if (o->keep && !o->listen)
		return misuse("--keep is for --listen");
	if (o->recv_only && o->send_only)
		return misuse("--recv-only and --send-only leave nothing to do");
	o->target = argv[optind];
	return -1;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int r = parse(argc, argv, &o);

	if (r >= 0)
		return r;
	signal(SIGPIPE, SIG_IGN); /* a closed output is an error like any other */
	return run(&o);
}
