/* SPDX-License-Identifier: MIT */
#include "vfio/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/base/log.h"

#define INFO_FIRST 256u	  /* room offered for an information structure and its capabilities */
#define INFO_MAX   65536u /* more than this is no information */
#define INFO_TRIES 3u	  /* a chain may grow between two calls, not for ever */

/* Without a helper thread the function works as well; a hang is just not told. */
void calls_begin(struct calls *c, const struct sys_ops *sys, const char *name)
{
	int r;

	c->sys = sys;
	r = watch_begin(&c->watch, name, WATCH_LIMIT_MS);
	if (r < 0)
		log_warn("%s: no thread to watch for hanging requests: %s", name, strerror(-r));
}

void calls_end(struct calls *c)
{
	watch_end(&c->watch);
}

static int note_errno(struct calls *c)
{
	int err = errno;

	if (err == ENODEV)
		c->dead = true;
	return -err;
}

int calls_ioctl(struct calls *c, int fd, unsigned long nr, void *arg)
{
	int r;

	if (c->dead)
		return -ENODEV;
	do {
		watch_enter(&c->watch);
		r = c->sys->ioctl(fd, nr, arg);
		watch_leave(&c->watch);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? note_errno(c) : r;
}

ssize_t calls_pread(struct calls *c, int fd, void *buf, size_t len, off_t pos)
{
	ssize_t n;

	if (c->dead)
		return -ENODEV;
	watch_enter(&c->watch);
	n = c->sys->pread(fd, buf, len, pos);
	watch_leave(&c->watch);
	return n < 0 ? note_errno(c) : n;
}

ssize_t calls_pwrite(struct calls *c, int fd, const void *buf, size_t len, off_t pos)
{
	ssize_t n;

	if (c->dead)
		return -ENODEV;
	watch_enter(&c->watch);
	n = c->sys->pwrite(fd, buf, len, pos);
	watch_leave(&c->watch);
	return n < 0 ? note_errno(c) : n;
}

/* ENODEV from a node is no device's death: it says that a module is missing. */
int calls_open(struct calls *c, const char *path)
{
	int fd;

	do {
		watch_enter(&c->watch);
		fd = c->sys->open(path, O_RDWR);
		watch_leave(&c->watch);
	} while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

void calls_close(struct calls *c, int *fd)
{
	if (*fd < 0)
		return;
	watch_enter(&c->watch);
	c->sys->close(*fd);
	watch_leave(&c->watch);
	*fd = -1;
}

int calls_info(struct calls *c, int fd, unsigned long nr, const void *request, size_t fixed,
	void **buf, size_t *len)
{
	size_t room = INFO_FIRST;

	for (unsigned int i = 0; i < INFO_TRIES; i++) {
		uint32_t argsz = (uint32_t)room;
		void *p = calloc(1, room);
		int r;

		if (!p)
			return -ENOMEM;
		memcpy(p, request, fixed);
		memcpy(p, &argsz, sizeof(argsz));
		r = calls_ioctl(c, fd, nr, p);
		memcpy(&argsz, p, sizeof(argsz));
		if (r >= 0 && argsz <= room) {
			*buf = p;
			*len = room;
			return 0;
		}
		free(p);
		if (r < 0)
			return r;
		if (argsz > INFO_MAX)
			break;
		room = argsz;
	}
	return -EPROTO;
}
