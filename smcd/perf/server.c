/* SPDX-License-Identifier: MIT */
#include "smcd/perf/server.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "smcd/perf/dialogue.h"

#define BACKLOG 1024 /* clients open many channels at once */

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

/*
 * What the threads of the server share. Each accepts channels and serves them, one after the other: to
 * hand one over to another thread takes longer than the connect test gives it. Before the last one that
 * accepts begins to serve it makes another.
 */
struct server {
	struct smcdu_listener *listener;
	atomic_uint accepting; /* threads */
	atomic_uint serving;
	atomic_bool failed;
	bool once;
	int ended; /* eventfd: somebody is to look whether this is the end */
};

static void *serve_thread(void *arg);

static int add_thread(struct server *server)
{
	pthread_t t;
	int r;

	atomic_fetch_add(&server->accepting, 1);
	r = -pthread_create(&t, NULL, serve_thread, server);
	if (r < 0)
		atomic_fetch_sub(&server->accepting, 1);
	else
		pthread_detach(t);
	return r;
}

static void serve_session(struct server *server, struct smcdu_channel *ch)
{
	struct link *l = link_smcd(ch);
	int r = l ? perf_serve(l) : -ENOMEM;

	if (!l)
		smcdu_abort(ch);
	if (r < 0) {
		fail_lib("serve", r);
		atomic_store(&server->failed, true);
	}
	link_close(l);
	if (atomic_fetch_sub(&server->serving, 1) == 1 && server->once)
		eventfd_write(server->ended, 1);
}

static void *serve_thread(void *arg)
{
	struct server *server = arg;
	struct smcdu_channel *ch;
	cpu_set_t anywhere, here;
	int r;

	pthread_getaffinity_np(pthread_self(), sizeof(anywhere), &anywhere);
	while ((r = smcdu_accept(server->listener, 0, &ch)) == 0) {
		atomic_fetch_add(&server->serving, 1);
		if (atomic_fetch_sub(&server->accepting, 1) == 1 && add_thread(server) < 0)
			fprintf(stderr, "smcd-user-perf: no thread for another channel\n");
		serve_session(server, ch);
		atomic_fetch_add(&server->accepting, 1);
		/* Where the last client wanted it is not where the next one does. */
		pthread_getaffinity_np(pthread_self(), sizeof(here), &here);
		if (!CPU_EQUAL(&here, &anywhere))
			pthread_setaffinity_np(pthread_self(), sizeof(anywhere), &anywhere);
	}
	fail_lib("accept", r);
	exit(1);
}

/*
 * With @once until the last channel of the first client ends: a client holds one from its beginning
 * to its end, so that between two runs there is always one. 0, or the exit status.
 */
static int serve_all(struct server *server)
{
	eventfd_t n;

	if (add_thread(server) < 0)
		return fail_lib("thread", -ENOMEM);
	for (;;) {
		if (eventfd_read(server->ended, &n) < 0 && errno != EINTR)
			return fail_errno("eventfd");
		if (!atomic_load(&server->serving))
			return atomic_load(&server->failed);
	}
}

int server_run(const struct options *o)
{
	/* Its threads use it until the process ends. */
	static struct server srv;
	struct smcdu_ctx *ctx;
	int r = smcdu_open(&o->settings, &ctx);

	if (r < 0)
		return fail_lib("settings", r);
	r = smcdu_listen(ctx, o->target, BACKLOG, &srv.listener);
	smcdu_close_ctx(ctx);
	if (r < 0)
		return fail_lib("listen", r);
	srv.once = o->once;
	srv.ended = eventfd(0, EFD_CLOEXEC);
	if (srv.ended < 0)
		return fail_errno("eventfd");
	fprintf(stderr, "smcd-user-perf: ready on service '%s'\n", o->target);
	return serve_all(&srv);
}
