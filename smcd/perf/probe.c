/* SPDX-License-Identifier: MIT */
#include "smcd/perf/probe.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/stat.h"
#include "vfio/base/fd.h"

#define BATCHES	   41
#define TRIPS	   50
#define LONGEST_NS UINT64_C(100000000) /* on a machine that is busy otherwise */
#define SYSCALLS   100000

/* Odd: the helper's turn. */
struct line {
	_Alignas(128) _Atomic uint64_t turn;
	_Alignas(128) _Atomic bool stop;
};

static void *helper(void *arg)
{
	struct line *line = arg;
	uint64_t seen;

	while (!atomic_load_explicit(&line->stop, memory_order_relaxed)) {
		seen = atomic_load_explicit(&line->turn, memory_order_acquire);
		if (seen & 1)
			atomic_store_explicit(&line->turn, seen + 1, memory_order_release);
	}
	return NULL;
}

static void trip(struct line *line, uint64_t *turn)
{
	atomic_store_explicit(&line->turn, *turn + 1, memory_order_release);
	*turn += 2;
	while (atomic_load_explicit(&line->turn, memory_order_acquire) != *turn)
		;
}

static double measure(struct line *line)
{
	double batch[BATCHES];
	uint64_t turn = 0, begin, now;
	unsigned int n = 0;

	trip(line, &turn); /* the helper has come */
	begin = now = clock_ns();
	while (n < BATCHES && now - begin < LONGEST_NS) {
		uint64_t from = now;

		for (unsigned int i = 0; i < TRIPS; i++)
			trip(line, &turn);
		now = clock_ns();
		batch[n++] = (double)(now - from) / TRIPS;
	}
	return stat_spread(batch, n).quartile;
}

double probe_cores(const uint32_t cpu[2])
{
	struct line line = { 0 };
	cpu_set_t before, other;
	pthread_attr_t attr;
	double ns = 0;
	pthread_t t;
	int r;

	if (cpu[0] == cpu[1] || cpu[0] == CPU_ANY || cpu[1] == CPU_ANY ||
	    sched_getaffinity(0, sizeof(before), &before) < 0)
		return 0;
	CPU_ZERO(&other);
	CPU_SET(cpu[1], &other);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(other), &other);
	r = pthread_create(&t, &attr, helper, &line);
	pthread_attr_destroy(&attr);
	if (r)
		return 0;
	if (cpu_pin(cpu[0]) == 0)
		ns = measure(&line);
	atomic_store(&line.stop, true);
	pthread_join(t, NULL);
	sched_setaffinity(0, sizeof(before), &before);
	return ns;
}

void probe_syscall(struct hist *h)
{
	for (int i = 0; i < SYSCALLS; i++) {
		uint64_t t = clock_ns();

		getppid();
		hist_add(h, clock_ns() - t);
	}
}
