/* SPDX-License-Identifier: MIT */
#include "smcd/perf/cpu.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

static uint64_t clock_of(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t cpu_thread_ns(void)
{
	return clock_of(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t cpu_process_ns(void)
{
	return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t cpu_pid_ns(int pid)
{
	clockid_t id;

	return clock_getcpuclockid(pid, &id) ? 0 : clock_of(id);
}

int cpu_pin(uint32_t cpu)
{
	cpu_set_t set;

	if (cpu == CPU_ANY)
		return 0;
	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

void cpu_first_two(uint32_t cpu[2])
{
	unsigned int n = 0;
	cpu_set_t set;

	cpu[0] = cpu[1] = CPU_ANY;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return;
	for (uint32_t i = 0; i < CPU_SETSIZE && n < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[n++] = i;
}
