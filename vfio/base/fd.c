/* SPDX-License-Identifier: MIT */
#include "vfio/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

void fd_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_steal(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* A memfd of @size bytes, allocated, not yet sealed. */
static int new_memfd(const char *name, size_t size)
{
	int fd FD_CLEANUP = -1;
	int r;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = posix_fallocate(fd, 0, (off_t)size);
	if (r)
		return -r;
	if (fchmod(fd, 0600) < 0)
		return -errno;
	return fd_steal(&fd);
}

int fd_memfd(const char *name, size_t size)
{
	int fd FD_CLEANUP = new_memfd(name, size);

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return fd_steal(&fd);
}

int fd_memfd_publish(const char *name, size_t size, void **map)
{
	int fd FD_CLEANUP = new_memfd(name, size);
	void *p;

	if (fd < 0)
		return fd_steal(&fd);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS,
		    F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0) {
		int r = -errno;

		munmap(p, size);
		return r;
	}
	*map = p;
	return fd_steal(&fd);
}

static void *map_at(void *wish, int fd, size_t size)
{
	return mmap(wish, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static bool aligned(const void *p, size_t size)
{
	return ((uintptr_t)p & (size - 1)) == 0;
}

/* Twice as much is mapped, and what is too much is given back: there is nothing in it. */
static void *map_and_trim(int fd, size_t size)
{
	uint8_t *p = map_at(NULL, fd, 2 * size);
	size_t skip = (0 - (uintptr_t)p) & (size - 1);

	if (p == MAP_FAILED)
		return p;
	munmap(p + skip + size, size - skip);
	if (!skip)
		return p;
	munmap(p, skip);
	/* Offset 0 has to be at the multiple. */
	return mmap(p + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
}

/*
 * Kernels map below what is there: where all are of one size, the next place is good as it is, and
 * else the multiple below it is free.
 */
int fd_map_aligned(int fd, size_t size, void **map)
{
	uint8_t *p = map_at(NULL, fd, size);

	if (p != MAP_FAILED && !aligned(p, size)) {
		munmap(p, size);
		p = map_at(p - ((uintptr_t)p & (size - 1)), fd, size);
		if (p != MAP_FAILED && !aligned(p, size)) {
			munmap(p, size);
			p = map_and_trim(fd, size);
		}
	}
	if (p == MAP_FAILED)
		return -errno;
	*map = p;
	return 0;
}

int fd_self_dir(void)
{
	int dir = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : dir;
}

int fd_readonly_in(int dir, int fd)
{
	char path[32];
	int ro;

	snprintf(path, sizeof(path), "%d", fd);
	ro = openat(dir, path, O_RDONLY | O_CLOEXEC);
	return ro < 0 ? -errno : ro;
}

int fd_readonly(int fd)
{
	int dir FD_CLEANUP = fd_self_dir();

	return dir < 0 ? dir : fd_readonly_in(dir, fd);
}

int fd_check_sealed(int fd, size_t size)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EINVAL;
	if (fstat(fd, &st) < 0 || st.st_size < 0 || (uint64_t)st.st_size < size)
		return -EINVAL;
	return 0;
}

ssize_t fd_send(int sock, const void *buf, size_t len, const int *fds, unsigned int nfds, int flags)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int) * FD_MSG_MAX)];
	} ctl;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > FD_MSG_MAX)
		return -EINVAL;
	if (nfds) {
		memset(&ctl, 0, sizeof(ctl));
		ctl.hdr.cmsg_level = SOL_SOCKET;
		ctl.hdr.cmsg_type = SCM_RIGHTS;
		ctl.hdr.cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(&ctl.hdr), fds, sizeof(int) * nfds);
		msg.msg_control = &ctl;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	}
	do {
		n = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int fd_send_pieces(int sock, struct fd_piece *v, unsigned int n, int flags)
{
	/* A multiple of the header's alignment each. */
	_Alignas(struct cmsghdr) char ctl[FD_PIECES_MAX][CMSG_SPACE(sizeof(int))];
	struct mmsghdr h[FD_PIECES_MAX] = { 0 };
	struct iovec iov[FD_PIECES_MAX];
	int done;

	if (n == 0 || n > FD_PIECES_MAX)
		return -EINVAL;
	memset(ctl, 0, sizeof(ctl));
	for (unsigned int i = 0; i < n; i++) {
		struct cmsghdr *c = (struct cmsghdr *)(void *)ctl[i];

		iov[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)v[i].buf, .iov_len = v[i].len };
		h[i].msg_hdr.msg_iov = &iov[i];
		h[i].msg_hdr.msg_iovlen = 1;
		v[i].sent = 0;
		if (v[i].fd < 0)
			continue;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &v[i].fd, sizeof(int));
		h[i].msg_hdr.msg_control = ctl[i];
		h[i].msg_hdr.msg_controllen = sizeof(ctl[i]);
	}
	do {
		done = sendmmsg(sock, h, n, flags | MSG_NOSIGNAL);
	} while (done < 0 && errno == EINTR);
	for (int i = 0; i < done; i++)
		v[i].sent = h[i].msg_len;
	return done < 0 ? -errno : done;
}

static unsigned int take_fds(struct msghdr *msg, int *fds, unsigned int cap, bool *surplus)
{
	unsigned int total = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (total < cap) {
				fds[total++] = fd;
			} else {
				close(fd);
				*surplus = true;
			}
		}
	}
	return total;
}

ssize_t fd_recv(int sock, void *buf, size_t len, int *fds, unsigned int cap, unsigned int *nfds,
	int flags)
{
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int) * FD_MSG_MAX)];
	} ctl;
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
		.msg_controllen = sizeof(ctl) };
	bool bad = false;
	unsigned int got;
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	got = take_fds(&msg, fds, cap, &bad);
	if (bad || (msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
		while (got)
			close(fds[--got]);
		return -EMSGSIZE;
	}
	*nfds = got;
	return n;
}

uint64_t clock_of(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t clock_ns(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
	return clock_of(CLOCK_REALTIME);
}
