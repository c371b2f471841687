/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - processors: which one, and how much of it
 */
#ifndef SMCDU_PERF_CPU_H
#define SMCDU_PERF_CPU_H

#include <stdint.h>

#define CPU_ANY UINT32_MAX

/* CPU time in ns: this thread's, this process's, another process's (0 when it is gone). */
uint64_t cpu_thread_ns(void);
uint64_t cpu_process_ns(void);
uint64_t cpu_pid_ns(int pid);

/*
 * How long the first thread of @pid could have run and had to wait for a processor so far, in ns; 0 where the
 * kernel does not tell.
 */
uint64_t cpu_pid_wait_ns(int pid);

/* What the hypervisor took from all processors so far, in ticks of the kernel's accounts. */
uint64_t cpu_stolen(void);

/* The only processor that @pid may run on; CPU_ANY if there are several, or it is gone. */
uint32_t cpu_of_pid(int pid);

/* The calling thread stays on @cpu (CPU_ANY: nothing happens). 0 or negative errno. */
int cpu_pin(uint32_t cpu);

/* The first two processors this thread may use, CPU_ANY for one that is not there. */
void cpu_first_two(uint32_t cpu[2]);

#endif
