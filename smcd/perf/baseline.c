/* SPDX-License-Identifier: MIT */
#include "smcd/perf/baseline.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/dialogue.h"

static const struct baseline base_copy = {
	.name = "copy",
	.what = "our own channels, copying: beside --copy zero",
	.own = true,
};

static const struct baseline *const baselines[] = {
	&base_ring, &base_eventfd, &base_unix, &base_seqpacket, &base_pipe, &base_tcp,
#ifdef HAVE_ZMQ
	&base_zmq,
#endif
#ifdef HAVE_UCX
	&base_ucx,
#endif
	&base_copy,
};

#define BASELINES (sizeof(baselines) / sizeof(baselines[0]))

struct peer {
	pid_t pid;
	void (*close_listener)(void *listener); /* NULL: this one has links */
	void *listener;
	unsigned int n;
	struct link *link[];
};

const struct baseline *baseline_find(const char *name)
{
	for (size_t i = 0; i < BASELINES; i++)
		if (!strcmp(baselines[i]->name, name))
			return baselines[i];
	return NULL;
}

void baseline_list(FILE *f)
{
	for (size_t i = 0; i < BASELINES; i++)
		fprintf(f, "  %-10s %s\n", baselines[i]->name, baselines[i]->what);
}

/* ---- the server's process -------------------------------------------------------------------- */

struct service {
	const struct baseline *b;
	void *shared;
};

static void *serve_link(void *arg)
{
	struct service *s = arg;
	struct link *l;
	int r = s->b->end(s->shared, 1, &l);

	if (r == 0) {
		r = perf_serve(l);
		link_close(l);
	}
	if (r < 0 && r != -ECONNRESET && r != -EPIPE)
		fprintf(stderr, "smcd-user-perf: server of baseline %s: %s\n", s->b->name,
			strerror(-r));
	return NULL;
}

static void serve(const struct baseline *b, void **shared, unsigned int n)
{
	struct service *s = calloc(n, sizeof(*s));
	pthread_t *t = calloc(n, sizeof(*t));
	unsigned int made = 0;

	for (unsigned int i = 0; s && t && i < n; i++) {
		s[i] = (struct service){ .b = b, .shared = shared[i] };
		if (i + 1 == n)
			serve_link(&s[i]);
		else if (pthread_create(&t[made], NULL, serve_link, &s[i]) == 0)
			made++;
	}
	while (made)
		pthread_join(t[--made], NULL);
	free(t);
	free(s);
}

/* ---- the client's side ----------------------------------------------------------------------- */

static int make_ends(struct peer *peer, const struct baseline *b, void **shared)
{
	int r = 0;

	for (unsigned int i = 0; i < peer->n; i++) {
		int e = b->end(shared[i], 0, &peer->link[i]);

		r = r ? r : e;
	}
	return r;
}

static int part(struct peer *peer, const struct baseline *b, void **shared)
{
	peer->pid = fork();
	if (peer->pid < 0)
		return -errno;
	if (peer->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(b, shared, peer->n);
		_exit(0);
	}
	return make_ends(peer, b, shared);
}

int peer_start(const struct baseline *b, const struct base_params *p, unsigned int channels,
	struct peer **ret)
{
	struct peer *peer;
	void **shared;
	int r = 0;

	if (!(b->tests & p->test))
		return -EOPNOTSUPP;
	peer = calloc(1, sizeof(*peer) + channels * sizeof(struct link *));
	shared = calloc(channels, sizeof(*shared));
	if (!peer || !shared)
		r = -ENOMEM;
	for (unsigned int i = 0; r == 0 && i < channels; i++, peer->n++)
		r = b->open(p, &shared[i]);
	if (r == 0)
		r = part(peer, b, shared);
	free(shared);
	if (r < 0) {
		peer_stop(peer);
		return r;
	}
	*ret = peer;
	return 0;
}

int peer_start_connects(const struct baseline *b, void **shared, struct peer **ret)
{
	struct peer *peer;
	int r;

	if (!(b->tests & PERF_CONNECT))
		return -EOPNOTSUPP;
	peer = calloc(1, sizeof(*peer));
	if (!peer)
		return -ENOMEM;
	r = b->listen(shared);
	if (r == 0) {
		peer->close_listener = b->close_listener;
		peer->listener = *shared;
		peer->pid = fork();
		r = peer->pid < 0 ? -errno : 0;
	}
	if (r < 0) {
		if (peer->close_listener)
			peer->close_listener(peer->listener);
		free(peer);
		return r;
	}
	if (peer->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		b->serve_connects(*shared);
		_exit(0);
	}
	*ret = peer;
	return 0;
}

struct link *peer_link(const struct peer *peer, unsigned int i)
{
	return peer->link[i];
}

uint64_t peer_cpu_ns(const struct peer *peer)
{
	return cpu_pid_ns(peer->pid);
}

void peer_stop(struct peer *peer)
{
	if (!peer)
		return;
	for (unsigned int i = 0; i < peer->n; i++)
		link_close(peer->link[i]);
	/* Some see their peer's end, a ring does not. */
	if (peer->pid > 0) {
		kill(peer->pid, SIGKILL);
		waitpid(peer->pid, NULL, 0);
	}
	if (peer->close_listener)
		peer->close_listener(peer->listener);
	free(peer);
}
