/* SPDX-License-Identifier: MIT */
/*
 * barrier.c - a full barrier that only the sleeper pays for
 *
 * Publishing and then looking whether somebody sleeps needs a full barrier in between, and so does
 * going to sleep. On x86 and s390x it waits until all stores have arrived in the caches, which for a
 * line of the peer's takes longer than all the rest of a small send. Sends are many, sleeps are few and dear
 * anyway: so the sleeper asks the kernel to run a barrier on every processor that now runs a process that
 * has registered for it (membarrier, Linux 4.16), and the others go without.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NEEDED (MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)

static long membarrier(int cmd)
{
	return syscall(SYS_membarrier, cmd, 0, 0);
}

/* Registering twice is no harm. */
bool barrier_register(void)
{
	long have = membarrier(MEMBARRIER_CMD_QUERY);

	return have >= 0 && (have & NEEDED) == NEEDED &&
	       membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

int barrier_everywhere(void)
{
	return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) < 0 ? -errno : 0;
}
