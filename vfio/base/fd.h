/* SPDX-License-Identifier: MIT */
/*
 * fd.h - file descriptors: ownership, sealed memory, descriptors over sockets
 *
 * Every descriptor is close-on-exec from birth and has one owner. Shared memory is a memfd that was
 * allocated up front (so that a full tmpfs is ENOSPC and never SIGBUS) and sealed against resizing;
 * a receiver checks both before it maps. Control messages that arrive truncated mean that
 * descriptors were lost: the caller must drop the connection.
 *
 * All functions are thread-safe.
 */
#ifndef SMCDU_BASE_FD_H
#define SMCDU_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FD_MSG_MAX 16 /* descriptors per message, both directions; vfio-user peers use at most 16 */

/* Closes *fd if it is valid and sets it to -1; preserves errno. Usable as a cleanup attribute. */
void fd_closep(int *fd);
#define FD_CLEANUP __attribute__((cleanup(fd_closep)))

/* Returns the value of *fd and sets it to -1: hands ownership on. */
int fd_steal(int *fd);

/*
 * Creates a memfd of @size bytes (a page multiple), mode 0600, allocated, sealed against SHRINK,
 * GROW and further sealing. @name appears in /proc. Returns the descriptor (owned by the caller) or
 * -errno (ENOSPC, ENOMEM, EMFILE, EINVAL).
 */
int fd_memfd(const char *name, size_t size);

/*
 * The same, but mapped at *map, readable and writable, and sealed against every further writable
 * mapping and write(2): whoever gets the descriptor can only look.
 */
int fd_memfd_publish(const char *name, size_t size, void **map);

/*
 * Maps the first @size bytes of @fd, shared, readable and writable, at a multiple of @size, which is a
 * power of two. 0 or -errno.
 */
int fd_map_aligned(int fd, size_t size, void **map);

/*
 * A second, read-only description of the same memfd: whoever gets it can map it PROT_READ only, and
 * cannot reopen it for writing unless it runs as the creator's user. Descriptor or -errno.
 */
int fd_readonly(int fd);

/*
 * The same for whoever does it often: @dir is what fd_self_dir() returned to this process, not to its parent, and
 * finding it is a third of the work.
 */
int fd_self_dir(void);
int fd_readonly_in(int dir, int fd);

/* 0 when @fd is a memfd of at least @size bytes that cannot shrink, else -EINVAL. */
int fd_check_sealed(int fd, size_t size);

/*
 * Sends @len bytes with @nfds descriptors (0..FD_MSG_MAX) in one message, retrying EINTR, never
 * raising SIGPIPE. @flags are MSG_* (MSG_DONTWAIT). Returns bytes sent (may be short on a stream)
 * or -errno.
 */
ssize_t fd_send(
	int sock, const void *buf, size_t len, const int *fds, unsigned int nfds, int flags);

#define FD_PIECES_MAX 16u

struct fd_piece {
	const void *buf;
	size_t len;
	int fd;	     /* goes with its first byte; -1: none */
	size_t sent; /* set for those that were sent, 0 for the others */
};

/*
 * Sends @n (1..FD_PIECES_MAX) pieces of a stream in one call, as fd_send() would one after the other: up to the
 * first that is short. How many were sent in part at least, or -errno: none.
 */
int fd_send_pieces(int sock, struct fd_piece *v, unsigned int n, int flags);

/*
 * Receives up to @len bytes and up to @cap (<= FD_MSG_MAX) descriptors. On success sets *nfds and
 * fds[0..*nfds) (owned by the caller, close-on-exec). Returns bytes received, 0 at end of file,
 * -EAGAIN, or -errno. -EMSGSIZE: the data or control part was truncated or carried more than @cap
 * descriptors; everything received is closed and the connection must be dropped.
 */
ssize_t fd_recv(int sock, void *buf, size_t len, int *fds, unsigned int cap, unsigned int *nfds,
	int flags);

/* In nanoseconds: any clock, 0 if it cannot be read; monotonic time; the time since 1970. */
uint64_t clock_of(clockid_t id);
uint64_t clock_ns(void);
uint64_t clock_wall_ns(void);

#endif
