/* SPDX-License-Identifier: MIT */
/*
 * link_fd.h - a link over descriptors of the kernel: whole buffers, in as many calls as it takes
 */
#ifndef SMCDU_PERF_LINK_FD_H
#define SMCDU_PERF_LINK_FD_H

#include <sys/types.h>

#include "smcd/perf/link.h"

/* The system calls of one kind of descriptor. */
struct fd_calls {
	ssize_t (*put)(int fd, const void *buf, size_t len);
	ssize_t (*get)(int fd, void *buf, size_t len);
};

/*
 * Owns both descriptors, which may be the same one, also on failure. At most @most bytes go into one
 * put(). 0 or -ENOMEM.
 */
int link_fd(const struct fd_calls *calls, int rx, int tx, size_t most, struct link **ret);

#endif
