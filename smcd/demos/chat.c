/* SPDX-License-Identifier: MIT */
/*
 * chat.c - smcd-user-chat: two people in two terminals
 *
 * The first line each side sends is its name. Lines end with a newline; what the other side sends
 * is shown with control characters replaced, so that a peer cannot drive the terminal.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "smcd-user.h"

#define LINE_MAX_BYTES 1024 /* longer lines are shown in parts */
#define NAME_BYTES     32
#define SERVICE	       "chat"

struct chat {
	struct smcdu_channel *ch;
	char line[LINE_MAX_BYTES];
	size_t len;
	bool named; /* the peer said its name */
	char peer[NAME_BYTES];
};

static int fail_lib(const char *what, int error)
{
	const char *why = smcdu_last_error();

	fprintf(stderr, "smcd-user-chat: %s: %s\n", what, *why ? why : strerror(-error));
	return 1;
}

/* With the kernel's code, which 'smcd-userctl diag' explains. */
static int fail_connect(int error)
{
	const char *why = smcdu_last_error();
	uint32_t diag = smcdu_last_diag();

	fprintf(stderr, "smcd-user-chat: connect: %s", *why ? why : strerror(-error));
	if (diag)
		fprintf(stderr, " (diagnosis 0x%08" PRIx32 ")", diag);
	fputc('\n', stderr);
	return 1;
}

/* C0, DEL and, in UTF-8, C1 (0xc2 0x80..0x9f) must not reach the terminal. */
static void sanitise(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			*p = *p == '\t' ? ' ' : '?';
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
			p[0] = p[1] = '?';
		else if (*p >= 0x80 && *p <= 0x9f && (p == (unsigned char *)s || p[-1] < 0x80))
			*p = '?'; /* a bare C1 byte */
	}
}

static void take_line(struct chat *c)
{
	for (size_t i = 0; i < c->len; i++)
		if (!c->line[i])
			c->line[i] = '?';
	c->line[c->len] = '\0';
	c->len = 0;
	sanitise(c->line);
	if (c->named) {
		printf("%s: %s\n", c->peer, c->line);
	} else {
		snprintf(c->peer, sizeof(c->peer), "%.*s", NAME_BYTES - 1,
			*c->line ? c->line : "peer");
		c->named = true;
		printf("* %s is here\n", c->peer);
	}
	fflush(stdout);
}

/* 1: go on, 0: the peer left, negative errno. */
static int receive(struct chat *c)
{
	char buf[512];

	for (;;) {
		ssize_t n = smcdu_recv(c->ch, buf, sizeof(buf), SMCDU_DONTWAIT);

		if (n == -EAGAIN)
			return 1;
		if (n <= 0)
			return (int)n;
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == '\n')
				take_line(c);
			else
				c->line[c->len++] = buf[i];
			if (c->len == sizeof(c->line) - 1)
				take_line(c);
		}
	}
}

static int say_goodbye(const struct chat *c, int r)
{
	const char *who = c->named ? c->peer : "the other";

	if (r == 0 || r == -ECONNRESET) {
		printf("* %s left\n", who);
		return 0;
	}
	return fail_lib("receive", r);
}

static int talk(struct chat *c, const char *name)
{
	struct pollfd fds[2] = {
		{ .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = smcdu_channel_fd(c->ch), .events = POLLIN },
	};
	char buf[LINE_MAX_BYTES];
	ssize_t n;
	int r, len = snprintf(buf, sizeof(buf), "%.*s\n", NAME_BYTES - 1, name);

	if (fds[1].fd < 0)
		return fail_lib("channel", fds[1].fd);
	n = smcdu_send(c->ch, buf, (size_t)len, 0);
	if (n < 0)
		return fail_lib("send", (int)n);
	for (;;) {
		r = receive(c);
		if (r <= 0)
			return say_goodbye(c, r);
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return fail_lib("poll", -errno);
		if (!fds[0].revents)
			continue;
		n = read(STDIN_FILENO, buf, sizeof(buf));
		if (n <= 0)
			return 0; /* our end: closing tells the other */
		n = smcdu_send(c->ch, buf, (size_t)n, 0);
		if (n < 0)
			return say_goodbye(c, (int)n);
	}
}

static void usage(FILE *f)
{
	fputs("usage: smcd-user-chat [options] SERVICE@PEER\n"
	      "       smcd-user-chat [options] -l [SERVICE]     (default: " SERVICE ")\n"
	      "Two people in two terminals. Ctrl-D leaves.\n\n"
	      "  -l, --listen       wait for the other\n"
	      "      --name NAME    what the other calls you (default: the login name)\n"
	      "      --socket PATH  the daemon's socket\n"
	      "      --help, --version\n", f);
}

static int misuse(const char *why)
{
	if (why)
		fprintf(stderr, "smcd-user-chat: %s\n", why);
	fputs("Try 'smcd-user-chat --help'.\n", stderr);
	return 2;
}

static int start(struct smcdu_ctx *ctx, const char *target, bool listen, struct smcdu_channel **ch)
{
	struct smcdu_listener *l;
	int r;

	if (!listen) {
		r = smcdu_connect(ctx, target, ch);
		return r < 0 ? fail_connect(r) : 0;
	}
	r = smcdu_listen(ctx, target, 1, &l);
	if (r < 0)
		return fail_lib("listen", r);
	printf("* waiting on service '%s'\n", target);
	fflush(stdout);
	r = smcdu_accept(l, 0, ch);
	if (r < 0)
		r = fail_lib("accept", r);
	smcdu_listener_free(l);
	return r;
}

static int run(const struct smcdu_settings *s, const char *target, bool listen, const char *name)
{
	struct chat c = { 0 };
	struct smcdu_ctx *ctx;
	int r = smcdu_open(s, &ctx);

	if (r < 0)
		return fail_lib("settings", r);
	r = start(ctx, target, listen, &c.ch);
	if (r == 0) {
		r = talk(&c, name);
		smcdu_close(c.ch);
	}
	smcdu_close_ctx(ctx);
	return r;
}

enum { OPT_NAME = 256, OPT_SOCKET, OPT_HELP, OPT_VERSION };

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "listen", no_argument, NULL, 'l' },
		{ "name", required_argument, NULL, OPT_NAME },
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	const char *name = getenv("LOGNAME");
	struct smcdu_settings s;
	const char *target = NULL;
	bool listen = false;
	int c;

	smcdu_default_settings(&s);
	while ((c = getopt_long(argc, argv, "l", longs, NULL)) != -1) {
		switch (c) {
		case 'l': listen = true; break;
		case OPT_NAME: name = optarg; break;
		case OPT_SOCKET: s.socket_path = optarg; break;
		case OPT_HELP: usage(stdout); return 0;
		case OPT_VERSION: printf("smcd-user-chat %s\n", smcdu_version()); return 0;
		default: return misuse(NULL);
		}
	}
	if (optind < argc)
		target = argv[optind++];
	else if (listen)
		target = SERVICE;
	if (!target || optind != argc)
		return misuse("give one SERVICE@PEER, or -l and at most one SERVICE");
	return run(&s, target, listen, name && *name ? name : "someone");
}
