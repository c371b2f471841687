/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "vfio/base/fd.h"

static void test_memfd_is_sealed(void **state)
{
	int fd FD_CLEANUP = fd_memfd("t", 8192);
	int ro FD_CLEANUP = -1;
	void *p;

	assert_true(fd >= 0);
	assert_int_equal(fd_check_sealed(fd, 8192), 0);
	assert_int_equal(fd_check_sealed(fd, 8193), -EINVAL);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 16384), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

	ro = fd_readonly(fd);
	assert_true(ro >= 0);
	assert_int_equal(fd_check_sealed(ro, 8192), 0);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0);
	assert_ptr_equal(p, MAP_FAILED);
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, ro, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p, 8192, PROT_READ | PROT_WRITE), -1);
	munmap(p, 8192);
}

static void test_check_refuses_others(void **state)
{
	int p[2];
	int fd;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fd_check_sealed(p[0], 1), -EINVAL);
	fd = memfd_create("unsealed", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4096), 0);
	assert_int_equal(fd_check_sealed(fd, 4096), -EINVAL);
	close(fd);
	close(p[0]);
	close(p[1]);
}

static void test_send_recv_fds(void **state)
{
	int s[2], fds[2], got[FD_MSG_MAX];
	unsigned int n = 99;
	char buf[8];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
	fds[0] = fd_memfd("a", 4096);
	fds[1] = fd_memfd("b", 4096);
	assert_int_equal(fd_send(s[0], "hi", 2, fds, 2, 0), 2);
	assert_int_equal(fd_recv(s[1], buf, sizeof(buf), got, 2, &n, 0), 2);
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	close(got[0]);
	close(got[1]);

	/* more than the receiver expects: dropped, all closed */
	assert_int_equal(fd_send(s[0], "hi", 2, fds, 2, 0), 2);
	assert_int_equal(fd_recv(s[1], buf, sizeof(buf), got, 1, &n, 0), -EMSGSIZE);
	/* a datagram longer than the buffer */
	assert_int_equal(fd_send(s[0], "0123456789", 10, NULL, 0, 0), 10);
	assert_int_equal(fd_recv(s[1], buf, sizeof(buf), got, 1, &n, 0), -EMSGSIZE);
	assert_int_equal(fd_recv(s[1], buf, sizeof(buf), got, 1, &n, MSG_DONTWAIT), -EAGAIN);
	close(s[0]);
	assert_int_equal(fd_recv(s[1], buf, sizeof(buf), got, 1, &n, 0), 0);
	close(s[1]);
	close(fds[0]);
	close(fds[1]);
}

/* Whatever lies around; and it is the file's beginning that is there. */
static void test_map_aligned(void **state)
{
	enum { N = 60 };
	void *odd[N], *map[N];
	size_t size[N];

	for (int i = 0; i < N; i++) {
		int fd;

		size[i] = (size_t)4096 << i % 11;
		odd[i] = mmap(NULL, 4096 * (1 + (size_t)i % 3), PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fd = fd_memfd("aligned", size[i]);
		assert_int_equal(fd_map_aligned(fd, size[i], &map[i]), 0);
		assert_int_equal((uintptr_t)map[i] % size[i], 0);
		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
		assert_int_equal(pwrite(fd, "y", 1, (off_t)size[i] - 1), 1);
		assert_int_equal(*(char *)map[i], 'x');
		assert_int_equal(((char *)map[i])[size[i] - 1], 'y');
		close(fd);
		if (i % 2)
			munmap(odd[i - 1], 4096 * (1 + (size_t)(i - 1) % 3));
	}
	for (int i = 0; i < N; i++)
		assert_int_equal(munmap(map[i], size[i]), 0);
	for (int i = 1; i < N; i += 2)
		munmap(odd[i], 4096 * (1 + (size_t)i % 3));
	assert_int_equal(fd_map_aligned(-1, 4096, &map[0]), -EBADF);
}

static ssize_t hear(int sock, char *buf, size_t len, unsigned int *nfds)
{
	int fds[FD_MSG_MAX];
	ssize_t n = fd_recv(sock, buf, len, fds, FD_MSG_MAX, nfds, MSG_DONTWAIT);

	for (unsigned int i = 0; n > 0 && i < *nfds; i++)
		fd_closep(&fds[i]);
	return n;
}

/* Each piece with its own descriptor, in order, in one call; a full socket takes what it can. */
static void test_pieces(void **state)
{
	static char big[1 << 20];
	int mem FD_CLEANUP = fd_memfd("t", 4096);
	struct fd_piece v[4] = { { "ab", 2, -1, 9 }, { "cdef", 4, mem, 9 }, { "gh", 2, mem, 9 },
		{ "i", 1, -1, 9 } };
	char buf[64];
	unsigned int nfds;
	int sv[2], n, r;
	size_t sent = 0, got = 0;
	ssize_t len;

	assert_true(mem >= 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(fd_send_pieces(sv[0], v, 0, 0), -EINVAL);
	assert_int_equal(fd_send_pieces(sv[0], v, FD_PIECES_MAX + 1, 0), -EINVAL);
	assert_int_equal(fd_send_pieces(sv[0], v, 4, MSG_DONTWAIT), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(v[i].sent, v[i].len);
	/* a receive ends behind what came with a descriptor */
	assert_int_equal(hear(sv[1], buf, sizeof(buf), &nfds), 6);
	assert_memory_equal(buf, "abcdef", 6);
	assert_int_equal(nfds, 1);
	assert_int_equal(hear(sv[1], buf, sizeof(buf), &nfds), 2);
	assert_memory_equal(buf, "gh", 2);
	assert_int_equal(nfds, 1);
	assert_int_equal(hear(sv[1], buf, sizeof(buf), &nfds), 1);
	assert_int_equal(nfds, 0);
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 4; i++)
		v[i] = (struct fd_piece){ big, sizeof(big), -1, 9 };
	n = fd_send_pieces(sv[0], v, 4, MSG_DONTWAIT);
	assert_in_range(n, 1, 4);
	for (int i = 0; i < n; i++) {
		assert_true(i + 1 == n ? v[i].sent > 0 : v[i].sent == v[i].len);
		sent += v[i].sent;
	}
	assert_true(sent < 4 * sizeof(big));
	for (int i = n; i < 4; i++)
		assert_int_equal(v[i].sent, 0);
	r = fd_send_pieces(sv[0], v, 1, MSG_DONTWAIT);
	sent += r > 0 ? v[0].sent : 0;
	assert_true(r == -EAGAIN || r == 1);
	while ((len = hear(sv[1], buf, sizeof(buf), &nfds)) > 0)
		got += (size_t)len;
	assert_int_equal(got, sent);
	fd_closep(&sv[1]);
	assert_int_equal(fd_send_pieces(sv[0], v, 2, MSG_DONTWAIT), -EPIPE);
	fd_closep(&sv[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memfd_is_sealed),
		cmocka_unit_test(test_check_refuses_others),
		cmocka_unit_test(test_send_recv_fds),
		cmocka_unit_test(test_map_aligned),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
