/* SPDX-License-Identifier: MIT */
#include "vfio/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfio/base/fd.h"

static int host_open(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC);
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
};
