/* SPDX-License-Identifier: MIT */
#include "ism/model/fabricd_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define LOCK_NAME  "lock"
#define BACKLOG	   16
#define LOCK_TRIES 16

void fabricd_dir_default(char *buf, size_t size)
{
	const char *run = getenv("XDG_RUNTIME_DIR");

	snprintf(buf, size, "%s/ism-fabric", run && run[0] == '/' ? run : "/run");
}

static int join(char *buf, size_t size, const char *dir, const char *name)
{
	int n = snprintf(buf, size, "%s/%s", dir, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static void log_holder(const struct fabricd_dir *d, int lock)
{
	char pid[24] = "";
	ssize_t n = pread(lock, pid, sizeof(pid) - 1, 0);

	if (n < 0)
		n = 0;
	pid[n] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	log_err("%s is in use by a running ism-fabricd (pid %s): stop it, or choose another --dir",
		d->path, pid[0] ? pid : "unknown");
}

/*
 * The lock file is removed by its holder, so the one just locked may be a removed one that somebody
 * else has replaced meanwhile: then try again.
 */
static int lock_once(struct fabricd_dir *d, const char *path)
{
	int fd FD_CLEANUP = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	struct stat mine, there;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return -errno;
		log_holder(d, fd);
		return -EBUSY;
	}
	if (fstat(fd, &mine) < 0)
		return -errno;
	if (stat(path, &there) < 0 || mine.st_ino != there.st_ino || mine.st_dev != there.st_dev)
		return -EAGAIN;
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return -errno;
	d->lock = fd_steal(&fd);
	return 0;
}

int fabricd_dir_open(struct fabricd_dir *d, const char *path)
{
	char lock[PATH_MAX];
	int i, r;

	d->lock = -1;
	if (strlen(path) >= sizeof(d->path) || join(lock, sizeof(lock), path, LOCK_NAME)) {
		log_err("directory name too long: %.64s...", path);
		return -ENAMETOOLONG;
	}
	strcpy(d->path, path);
	if (mkdir(path, 0750) < 0 && errno != EEXIST) {
		r = -errno;
		log_err("cannot create directory %s: %s", path, strerror(-r));
		return r;
	}
	r = -EAGAIN;
	for (i = 0; i < LOCK_TRIES && r == -EAGAIN; i++)
		r = lock_once(d, lock);
	if (r && r != -EBUSY)
		log_err("cannot lock %s: %s", lock, strerror(-r));
	return r;
}

static int address(struct sockaddr_un *sa, const char *dir, const char *name)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	return join(sa->sun_path, sizeof(sa->sun_path), dir, name);
}

/*
 * The socket gets its name only when it listens and those whom it is for may connect, so whoever
 * sees the name can connect.
 */
static int bind_listen(const struct sockaddr_un *nascent, const char *path)
{
	int fd FD_CLEANUP = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	unlink(nascent->sun_path); /* a dead fabric's: the lock is ours */
	if (bind(fd, (const struct sockaddr *)nascent, sizeof(*nascent)) < 0)
		return -errno;
	if (chmod(nascent->sun_path, 0660) < 0 || listen(fd, BACKLOG) < 0 ||
	    rename(nascent->sun_path, path) < 0) {
		r = -errno;
		unlink(nascent->sun_path);
		return r;
	}
	return fd_steal(&fd);
}

int fabricd_dir_listen(struct fabricd_dir *d, const char *name)
{
	char path[PATH_MAX], hidden[64];
	struct sockaddr_un nascent;
	int r = join(path, sizeof(path), d->path, name);

	snprintf(hidden, sizeof(hidden), ".%s", name);
	if (!r)
		r = address(&nascent, d->path, hidden);
	if (!r)
		r = bind_listen(&nascent, path);
	if (r < 0)
		log_err("cannot listen on %s/%s: %s", d->path, name, strerror(-r));
	return r;
}

void fabricd_dir_remove(struct fabricd_dir *d, const char *name)
{
	char path[PATH_MAX];

	if (!join(path, sizeof(path), d->path, name))
		unlink(path);
}

void fabricd_dir_close(struct fabricd_dir *d)
{
	if (d->lock < 0)
		return;
	fabricd_dir_remove(d, LOCK_NAME);
	fd_closep(&d->lock);
}

int fabricd_dir_connect(const char *path, const char *name)
{
	int fd FD_CLEANUP = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;
	int r = address(&sa, path, name);

	if (r)
		return r;
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return -errno;
	return fd_steal(&fd);
}
