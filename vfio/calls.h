/* SPDX-License-Identifier: MIT */
/*
 * calls.h - system calls on the descriptors of one kernel device
 *
 * All of them go through the seam (sys.h), are watched (watch.h), and are repeated when a signal
 * interrupted them; only reads and writes are not, since a write may be a command that has run
 * already. After ENODEV the device is dead and no further call is made.
 */
#ifndef SMCDU_VFIO_CALLS_H
#define SMCDU_VFIO_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vfio/sys.h"
#include "vfio/watch.h"

struct calls {
	const struct sys_ops *sys;
	struct watch watch;
	bool dead;
};

/* @c is zeroed by the caller, @name goes into messages and is not copied. */
void calls_begin(struct calls *c, const struct sys_ops *sys, const char *name);
void calls_end(struct calls *c);

/* What the call returned, or -errno; -ENODEV without a call when the device is dead. */
int calls_ioctl(struct calls *c, int fd, unsigned long nr, void *arg);
ssize_t calls_pread(struct calls *c, int fd, void *buf, size_t len, off_t pos);
ssize_t calls_pwrite(struct calls *c, int fd, const void *buf, size_t len, off_t pos);

/* Descriptor or -errno. */
int calls_open(struct calls *c, const char *path);

/* Closes if it is valid and sets it to -1. Closing a device resets it, so that is watched, too. */
void calls_close(struct calls *c, int *fd);

/*
 * Information with capabilities: the kernel says in argsz how much room it wants and leaves the
 * chain out when it does not fit. @request, of @fixed bytes, begins with argsz and flags. *buf is
 * malloced. 0 or -errno; -EPROTO when it never fits.
 */
int calls_info(struct calls *c, int fd, unsigned long nr, const void *request, size_t fixed,
	void **buf, size_t *len);

#endif
