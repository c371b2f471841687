/* SPDX-License-Identifier: MIT */
#include "smcd/perf/server.h"

#include <errno.h>
#include <poll.h>
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
 * What the threads of the server share. One that has served its channel waits for the next, since
 * making a thread takes longer than the connect test gives it.
 */
struct server {
	atomic_uint serving;
	atomic_bool failed;
	int ended; /* eventfd: a channel ended */
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct session *queue; /* channels for waiting threads */
	unsigned int waiting;  /* threads, less channels in the queue */
};

struct session {
	struct server *server;
	struct smcdu_channel *ch;
	struct session *next;
};

static void serve_session(struct session *s)
{
	struct server *server = s->server;
	struct link *l = link_smcd(s->ch);
	int r = l ? perf_serve(l) : -ENOMEM;

	if (!l)
		smcdu_abort(s->ch);
	free(s);
	if (r < 0) {
		fail_lib("serve", r);
		atomic_store(&server->failed, true);
	}
	link_close(l);
	atomic_fetch_sub(&server->serving, 1);
	eventfd_write(server->ended, 1);
}

static struct session *next_session(struct server *server)
{
	struct session *s;

	pthread_mutex_lock(&server->lock);
	server->waiting++;
	while (!server->queue)
		pthread_cond_wait(&server->more, &server->lock);
	s = server->queue;
	server->queue = s->next;
	pthread_mutex_unlock(&server->lock);
	return s;
}

static void *serve_thread(void *arg)
{
	struct session *s = arg;
	struct server *server = s->server;
	cpu_set_t anywhere;

	pthread_getaffinity_np(pthread_self(), sizeof(anywhere), &anywhere);
	for (;; s = next_session(server)) {
		serve_session(s);
		/* Where the last client wanted it is not where the next one does. */
		pthread_setaffinity_np(pthread_self(), sizeof(anywhere), &anywhere);
	}
	return NULL;
}

/* False: nobody waits. */
static bool give_to_waiting(struct server *server, struct session *s)
{
	bool given;

	pthread_mutex_lock(&server->lock);
	given = server->waiting > 0;
	if (given) {
		server->waiting--;
		s->next = server->queue;
		server->queue = s;
		pthread_cond_signal(&server->more);
	}
	pthread_mutex_unlock(&server->lock);
	return given;
}

static void serve_channel(struct server *server, struct smcdu_channel *ch)
{
	struct session *s = malloc(sizeof(*s));
	pthread_t t;

	if (s) {
		*s = (struct session){ .server = server, .ch = ch };
		atomic_fetch_add(&server->serving, 1);
		if (give_to_waiting(server, s))
			return;
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

int server_run(const struct options *o)
{
	/* Threads that still serve use it until the process ends. */
	static struct server srv = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.more = PTHREAD_COND_INITIALIZER };
	struct smcdu_listener *l;
	struct smcdu_ctx *ctx;
	int r = smcdu_open(&o->settings, &ctx);

	if (r < 0)
		return fail_lib("settings", r);
	r = smcdu_listen(ctx, o->target, BACKLOG, &l);
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
