/* SPDX-License-Identifier: MIT */
/*
 * sys.h - the syscall seam
 *
 * Whatever opens and drives a function makes every system call on VFIO descriptors, and every look
 * into sysfs, through this table, so that a test can put a double of the kernel there, call by call
 * and errno by errno. Entries follow the libc functions (-1 and errno).
 */
#ifndef SMCDU_VFIO_SYS_H
#define SMCDU_VFIO_SYS_H

#include <stddef.h>
#include <sys/types.h>

struct sys_ops {
	int (*open)(const char *path, int flags);
	int (*close)(int fd);
	int (*ioctl)(int fd, unsigned long nr, void *arg);
	ssize_t (*pread)(int fd, void *buf, size_t count, off_t offset);
	ssize_t (*pwrite)(int fd, const void *buf, size_t count, off_t offset);
	/*
	 * Claims a device's file for this process against others that have the same descriptor,
	 * inherited or sent. -1 and EBUSY: one of them has. Where the kernel gives all such files
	 * one inode they cannot be told apart, and the claim succeeds without effect.
	 */
	int (*claim)(int fd);

	/* Paths below /sys and /dev. */
	ssize_t (*readlink)(const char *path, char *buf, size_t size);
	int (*access)(const char *path, int mode);
	/*
	 * Calls @fn for each entry of a directory but . and .. until it returns non-zero, which is
	 * then returned; else 0, or -1 and errno.
	 */
	int (*list)(const char *path, int (*fn)(void *ctx, const char *name), void *ctx);
};

extern const struct sys_ops sys_host;

/*
 * Where sys_host looks for absolute paths from now on, "" by default: an image of a machine, for
 * tools and their tests. Not copied.
 */
void sys_host_root(const char *root);

#endif
