/* SPDX-License-Identifier: MIT */
#include "vfio/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfio/base/fd.h"

static const char *host_root = "";

void sys_host_root(const char *root)
{
	host_root = root;
}

/* @path below the root, in @buf where it has to be put together. NULL and errno: it is too long. */
static const char *below_root(const char *path, char buf[PATH_MAX])
{
	if (!*host_root || *path != '/')
		return path;
	if (snprintf(buf, PATH_MAX, "%s%s", host_root, path) < PATH_MAX)
		return buf;
	errno = ENAMETOOLONG;
	return NULL;
}

static int host_open(const char *path, int flags)
{
	char buf[PATH_MAX];

	path = below_root(path, buf);
	return path ? open(path, flags | O_CLOEXEC) : -1;
}

static ssize_t host_readlink(const char *path, char *out, size_t size)
{
	char buf[PATH_MAX];

	path = below_root(path, buf);
	return path ? readlink(path, out, size) : -1;
}

static int host_access(const char *path, int mode)
{
	char buf[PATH_MAX];

	path = below_root(path, buf);
	return path ? access(path, mode) : -1;
}

static int host_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx)
{
	char buf[PATH_MAX];
	struct dirent *e;
	int r = 0;
	DIR *dir;

	path = below_root(path, buf);
	dir = path ? opendir(path) : NULL;
	if (!dir)
		return -1;
	while (r == 0 && (e = readdir(dir))) {
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(ctx, e->d_name);
	}
	closedir(dir);
	return r;
}

static int host_ioctl(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg);
}

/*
 * A record lock belongs to a process and an inode. Files without an inode of their own share that
 * of every eventfd; there a lock would bind strangers, and go when any such file is closed.
 */
static int host_claim(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int other FD_CLEANUP = eventfd(0, EFD_CLOEXEC);
	struct stat a, b;

	if (other < 0 || fstat(fd, &a) < 0 || fstat(other, &b) < 0)
		return -1;
	if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return 0;
	if (fcntl(fd, F_SETLK, &whole) == 0)
		return 0;
	if (errno != EACCES && errno != EAGAIN)
		return 0; /* cannot be locked */
	errno = EBUSY;
	return -1;
}

const struct sys_ops sys_host = {
	.open = host_open,
	.close = close,
	.ioctl = host_ioctl,
	.pread = pread,
	.pwrite = pwrite,
	.claim = host_claim,
	.readlink = host_readlink,
	.access = host_access,
	.list = host_list,
};
