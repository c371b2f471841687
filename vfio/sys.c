/* SPDX-License-Identifier: MIT */
#include "vfio/sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int host_open(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC);
}

static int host_ioctl(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg);
}

const struct sys_ops sys_host = {
	.open = host_open,
	.close = close,
	.ioctl = host_ioctl,
	.pread = pread,
	.pwrite = pwrite,
};
