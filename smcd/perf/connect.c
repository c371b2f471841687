/* SPDX-License-Identifier: MIT */
#include "smcd/perf/connect.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/perf/wire.h"
#include "vfio/base/fd.h"

/* ---- ours ------------------------------------------------------------------------------------ */

static int echo(struct smcdu_channel *ch)
{
	char byte = WIRE_ECHO;
	ssize_t n = smcdu_send(ch, &byte, 1, 0);

	byte = 0;
	if (n == 1)
		n = smcdu_recv(ch, &byte, 1, 0);
	if (n < 0)
		return (int)n;
	return n == 1 && byte == WIRE_ECHO ? 0 : -EPROTO;
}

int connect_smcd(void *arg, uint64_t stamp[CONNECT_STAMPS])
{
	const struct connect_target *t = arg;
	struct smcdu_channel *ch;
	int r;

	stamp[CONNECT_BEGIN] = clock_ns();
	r = smcdu_connect(t->ctx, t->name, &ch);
	if (r < 0)
		return r;
	stamp[CONNECT_DONE] = clock_ns();
	r = echo(ch);
	if (r < 0) {
		smcdu_abort(ch);
		return r;
	}
	stamp[CONNECT_ECHOED] = clock_ns();
	smcdu_close(ch);
	stamp[CONNECT_CLOSED] = clock_ns();
	return 0;
}

/* ---- any ------------------------------------------------------------------------------------- */

struct worker {
	const struct connect_ops *ops;
	uint64_t count, ns;
	pthread_t thread;
	struct connect_result res;
	int error;
};

static void note(struct connect_result *res, const uint64_t stamp[CONNECT_STAMPS])
{
	hist_add(&res->connect, stamp[CONNECT_DONE] - stamp[CONNECT_BEGIN]);
	hist_add(&res->echo, stamp[CONNECT_ECHOED] - stamp[CONNECT_DONE]);
	hist_add(&res->close, stamp[CONNECT_CLOSED] - stamp[CONNECT_ECHOED]);
	res->connections++;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	uint64_t begin = clock_ns(), stamp[CONNECT_STAMPS] = { 0 };

	do {
		w->error = w->ops->once(w->ops->arg, stamp);
		if (w->error)
			return NULL;
		note(&w->res, stamp);
	} while (w->count ? w->res.connections < w->count :
		stamp[CONNECT_CLOSED] - begin < w->ns);
	w->res.ns = stamp[CONNECT_CLOSED] - begin;
	return NULL;
}

static void merge(struct connect_result *into, const struct connect_result *from)
{
	hist_merge(&into->connect, &from->connect);
	hist_merge(&into->echo, &from->echo);
	hist_merge(&into->close, &from->close);
	into->connections += from->connections;
	into->ns = from->ns > into->ns ? from->ns : into->ns;
}

int connect_run(const struct connect_ops *ops, unsigned int threads, uint64_t count, uint64_t ns,
	struct connect_result *res)
{
	struct worker *w = calloc(threads, sizeof(*w));
	unsigned int made = 0;
	int r = 0;

	if (!w)
		return -ENOMEM;
	memset(res, 0, sizeof(*res));
	for (unsigned int i = 0; i < threads; i++) {
		w[i] = (struct worker){ .ops = ops, .count = count, .ns = ns };
		if (i + 1 == threads)
			worker_main(&w[i]);
		else if ((r = -pthread_create(&w[i].thread, NULL, worker_main, &w[i])) < 0)
			break;
		else
			made++;
	}
	for (unsigned int i = 0; i < threads; i++) {
		if (i < made)
			pthread_join(w[i].thread, NULL);
		if (i < made || i + 1 == threads) {
			merge(res, &w[i].res);
			r = r ? r : w[i].error;
		}
	}
	free(w);
	return r;
}
