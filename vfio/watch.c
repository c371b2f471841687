/* SPDX-License-Identifier: MIT */
#include "vfio/watch.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include <utlist.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

/* Devices come and go, and threads may own some each: one comes or goes at a time. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_t helper;
/* Shared with the helper. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* on the monotonic clock */
static struct watch *watched;
static void (*listener)(const char *name, unsigned int seconds);

static void tell(const struct watch *w, uint64_t hung_ns)
{
	unsigned int s = (unsigned int)(hung_ns / NS_PER_S);

	log_err("%s: a request has not come back from the kernel for %u s; the function hangs, and "
		"this process with it: try to recover it (echo 1 > "
		"/sys/bus/pci/devices/FUNCTION/recover), or take it from the machine",
		w->name, s);
	if (listener)
		listener(w->name, s ? s : 1);
}

static void look(struct watch *w, uint64_t now)
{
	uint64_t calls = __atomic_load_n(&w->calls, __ATOMIC_RELAXED);
	uint64_t hung = now - w->since_ns;

	if (calls != w->seen || !(calls & 1)) {
		if (w->told_ns) {
			log_warn("%s: the request came back after all", w->name);
			if (listener)
				listener(w->name, 0);
		}
		w->seen = calls;
		w->since_ns = now;
		w->told_ns = 0;
	} else if (hung >= w->limit_ms * NS_PER_MS && hung >= 2 * w->told_ns) {
		tell(w, hung);
		w->told_ns = hung;
	}
}

static void wait_a_while(void)
{
	unsigned int ms = WATCH_LIMIT_MS;
	struct timespec until;
	struct watch *w;
	uint64_t ns;

	LL_FOREACH(watched, w)
		if (w->limit_ms < ms)
			ms = w->limit_ms;
	ns = clock_ns() + ms * NS_PER_MS;
	until.tv_sec = (time_t)(ns / NS_PER_S);
	until.tv_nsec = (long)(ns % NS_PER_S);
	pthread_cond_timedwait(&changed, &lock, &until);
}

static void *run(void *arg)
{
	struct watch *w;

	pthread_mutex_lock(&lock);
	while (watched) {
		wait_a_while();
		LL_FOREACH(watched, w)
			look(w, clock_ns());
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Signals are for the process's own threads. */
static int start_helper(void)
{
	pthread_condattr_t attr;
	sigset_t all, old;
	int r;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	pthread_condattr_destroy(&attr);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&helper, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int watch_begin(struct watch *w, const char *name, unsigned int limit_ms)
{
	bool first;
	int r = 0;

	w->name = name;
	w->limit_ms = limit_ms;
	w->owner = getpid();
	w->seen = w->calls;
	w->since_ns = clock_ns();
	pthread_mutex_lock(&turn);
	pthread_mutex_lock(&lock);
	first = !watched;
	LL_PREPEND(watched, w);
	if (first)
		r = start_helper();
	else
		pthread_cond_signal(&changed);
	if (r < 0) {
		LL_DELETE(watched, w);
		w->owner = 0;
	}
	pthread_mutex_unlock(&lock);
	pthread_mutex_unlock(&turn);
	return r;
}

/* A child has inherited neither the helper nor locks in a state to be used. */
void watch_end(struct watch *w)
{
	bool last;

	if (w->owner != getpid())
		return;
	pthread_mutex_lock(&turn);
	pthread_mutex_lock(&lock);
	LL_DELETE(watched, w);
	last = !watched;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	if (last)
		pthread_join(helper, NULL);
	pthread_mutex_unlock(&turn);
	w->owner = 0;
}

void watch_listen(void (*fn)(const char *name, unsigned int seconds))
{
	listener = fn;
}
