/* SPDX-License-Identifier: MIT */
#include "smcd/perf/cpu.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "vfio/base/fd.h"

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

/* The first line of a file under /proc. False: there is none. */
static bool first_line(const char *name, char *line, int size)
{
	FILE *f = fopen(name, "re");
	bool got = f && fgets(line, size, f);

	if (f)
		fclose(f);
	return got;
}

uint64_t cpu_pid_wait_ns(int pid)
{
	char name[64], line[128];
	uint64_t wait = 0;

	snprintf(name, sizeof(name), "/proc/%d/schedstat", pid);
	if (!first_line(name, line, sizeof(line)) || sscanf(line, "%*u %" SCNu64, &wait) != 1)
		return 0;
	return wait;
}

uint64_t cpu_stolen(void)
{
	uint64_t stolen = 0;
	char line[256];

	/* user, nice, system, idle, iowait, irq, softirq, steal */
	if (!first_line("/proc/stat", line, sizeof(line)) ||
	    sscanf(line, "cpu %*u %*u %*u %*u %*u %*u %*u %" SCNu64, &stolen) != 1)
		return 0;
	return stolen;
}

uint32_t cpu_of_pid(int pid)
{
	cpu_set_t set;

	if (sched_getaffinity(pid, sizeof(set), &set) < 0 || CPU_COUNT(&set) != 1)
		return CPU_ANY;
	for (uint32_t i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			return i;
	return CPU_ANY;
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
