/* SPDX-License-Identifier: MIT */
/*
 * fabricd_dir.h - the fabric's directory: one lock, its sockets
 *
 * DIR/lock is held (flock) as long as the fabric lives and names the holder's pid. Whoever holds it
 * owns every socket in DIR, so sockets found there are leftovers and may be replaced.
 */
#ifndef SMCDU_MODEL_FABRICD_DIR_H
#define SMCDU_MODEL_FABRICD_DIR_H

#include <limits.h>
#include <stddef.h>

#define FABRICD_CONTROL "control.sock"

struct fabricd_dir {
	char path[PATH_MAX];
	int lock;
};

/* $XDG_RUNTIME_DIR/ism-fabric, or /run/ism-fabric without it. */
void fabricd_dir_default(char *buf, size_t size);

/* Creates (0750) and locks. 0 or -errno, after a log line: -EBUSY another fabric lives there. */
int fabricd_dir_open(struct fabricd_dir *d, const char *path);

/* A listening stream socket DIR/@name with mode 0660, non-blocking; -errno after a log line. */
int fabricd_dir_listen(struct fabricd_dir *d, const char *name);

void fabricd_dir_remove(struct fabricd_dir *d, const char *name);

/* Removes and releases the lock. */
void fabricd_dir_close(struct fabricd_dir *d);

/* A socket connected to DIR/@name, or -errno. */
int fabricd_dir_connect(const char *path, const char *name);

#endif
