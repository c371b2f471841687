/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

static void send_header(struct rig *r, struct vu_hdr h)
{
	assert_int_equal(fd_send(r->s, &h, sizeof(h), NULL, 0, 0), sizeof(h));
}

/* Violations end the connection for good, whatever else was sent. */
static void expect_end(struct rig *r)
{
	assert_int_equal(rig_pump(r), -EPROTO);
	assert_int_equal(vu_conn_process(r->c), -EPROTO);
	assert_int_equal(r->resets, 0);
}

static void test_reply_type(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_DEVICE_RESET, .size = 16, .flags = 1 });
	expect_end(*state);
}

static void test_other_type(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_DEVICE_RESET, .size = 16, .flags = 15 });
	expect_end(*state);
}

static void test_short_size(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_DEVICE_RESET, .size = 15 });
	expect_end(*state);
}

static void test_zero_size(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_DEVICE_RESET });
	expect_end(*state);
}

static void test_oversize(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_REGION_WRITE, .size = VU_MAX_MSG + 1 });
	expect_end(*state);
}

static void test_largest_size(void **state)
{
	struct rig *r = *state;
	unsigned char *junk = calloc(1, VU_MAX_MSG);
	struct reply *a = malloc(sizeof(*a));
	size_t left = VU_MAX_MSG - sizeof(struct vu_hdr);

	send_header(r, (struct vu_hdr){ .command = VU_REGION_WRITE, .size = VU_MAX_MSG });
	while (left) {
		ssize_t n = send(r->s, junk, left, MSG_DONTWAIT);

		if (n > 0)
			left -= (size_t)n;
		assert_int_equal(rig_pump(r), 0);
	}
	assert_true(rig_recv(r, a));
	assert_int_equal(a->hdr.error, EINVAL); /* refused for its count, but received */
	assert_int_equal(rig_call(r, VU_DEVICE_RESET, NULL, 0, a), 0);
	free(a);
	free(junk);
}

static void test_command_before_version(void **state)
{
	rig_send(*state, VU_DEVICE_RESET, 0, NULL, 0);
	expect_end(*state);
}

static void test_long_version(void **state)
{
	send_header(*state, (struct vu_hdr){ .command = VU_VERSION, .size = 16 + 4 + 4096 + 1 });
	expect_end(*state);
}

/* What was asked before the violation is still answered. */
static void test_replies_before_violation(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	rig_send(r, VU_DEVICE_RESET, 0, NULL, 0);
	send_header(r, (struct vu_hdr){ .command = VU_DEVICE_RESET, .size = 3 });
	assert_int_equal(rig_pump(r), -EPROTO);
	assert_true(rig_recv(r, a));
	assert_int_equal(r->resets, 1);
	free(a);
}

static void send_n_fds(struct rig *r, uint16_t cmd, const void *body, size_t len, unsigned int n)
{
	int fds[FD_MSG_MAX];

	for (unsigned int i = 0; i < n; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	rig_send_fds(r, cmd, body, len, fds, n);
	for (unsigned int i = 0; i < n; i++)
		close(fds[i]);
}

static void test_fd_with_reset(void **state)
{
	send_n_fds(*state, VU_DEVICE_RESET, NULL, 0, 1);
	expect_end(*state);
}

static void test_fd_with_unknown(void **state)
{
	send_n_fds(*state, 77, NULL, 0, 16);
	expect_end(*state);
}

static void test_two_fds_with_map(void **state)
{
	const struct vu_dma_map m = { .argsz = 32, .flags = 3, .size = 4096 };

	send_n_fds(*state, VU_DMA_MAP, &m, sizeof(m), 2);
	expect_end(*state);
}

static void test_surplus_irq_fds(void **state)
{
	const struct vu_irq_set s = { .argsz = 20, .flags = 0x24, .index = 1, .count = 1 };

	send_n_fds(*state, VU_DEVICE_SET_IRQS, &s, sizeof(s), 2);
	expect_end(*state);
}

static void test_fd_without_use(void **state)
{
	const struct vu_irq_set s = { .argsz = 20, .flags = 0x21, .index = 1, .count = 0 };

	send_n_fds(*state, VU_DEVICE_SET_IRQS, &s, sizeof(s), 1);
	expect_end(*state);
}

/* More descriptors than the control buffer holds: some are lost (MSG_CTRUNC). */
static void test_control_truncated(void **state)
{
	struct vu_hdr h = { .command = VU_DEVICE_RESET, .size = sizeof(h) };
	union {
		struct cmsghdr hdr;
		char space[CMSG_SPACE(sizeof(int) * 200)];
	} ctl = { .hdr = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
			  .cmsg_len = CMSG_LEN(sizeof(int) * 200) } };
	struct iovec iov = { &h, sizeof(h) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
		.msg_controllen = sizeof(ctl) };
	struct rig *r = *state;
	int *fds = (int *)(void *)CMSG_DATA(&ctl.hdr);

	if (rig_emulated())
		skip();
	for (int i = 0; i < 200; i++)
		fds[i] = r->s;
	assert_int_equal(sendmsg(r->s, &msg, 0), sizeof(h));
	expect_end(r);
}

/* Descriptors with every part of one message: too many in the end. */
static void test_fds_piled_up(void **state)
{
	const struct { struct vu_hdr h; struct vu_dma_map m; } msg = {
		{ .command = VU_DMA_MAP, .size = 48 }, { .argsz = 32, .flags = 3, .size = 4096 } };
	struct rig *r = *state;
	int e = 0;

	for (size_t i = 0; i < sizeof(msg) && !e; i++) {
		int fd = eventfd(0, EFD_CLOEXEC);

		fd_send(r->s, (const char *)&msg + i, 1, &fd, 1, 0);
		close(fd);
		e = rig_pump(r);
	}
	assert_int_equal(e, -EPROTO);
}

static void test_eof(void **state)
{
	struct rig *r = *state;

	rig_send(r, VU_DEVICE_RESET, 0, NULL, 0);
	fd_closep(&r->s);
	assert_int_equal(rig_pump(r), -EPIPE);
	assert_int_equal(vu_conn_process(r->c), -EPIPE);
}

static void test_eof_in_message(void **state)
{
	const struct { struct vu_hdr h; char part[5]; } msg = {
		{ .command = VU_DMA_MAP, .size = 48 }, "abcd" };
	int fd FD_CLEANUP = eventfd(0, EFD_CLOEXEC);
	struct rig *r = *state;

	assert_int_equal(fd_send(r->s, &msg, 21, &fd, 1, 0), 21);
	assert_int_equal(rig_pump(r), 0);
	fd_closep(&r->s);
	assert_int_equal(rig_pump(r), -EPIPE); /* and teardown finds no descriptor */
}

static void test_byte_by_byte(void **state)
{
	const struct { struct vu_hdr h; struct vu_dma_map m; } msg = {
		{ .id = 3, .command = VU_DMA_MAP, .size = 48 },
		{ .argsz = 32, .flags = 3, .addr = 0x5000, .size = 4096 } };
	int fd FD_CLEANUP = fd_memfd("bytes", 4096);
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(msg); i++) {
		assert_false(rig_recv(r, a));
		assert_int_equal(
			fd_send(r->s, (const char *)&msg + i, 1, &fd, i == 20, 0), 1);
		assert_int_equal(rig_pump(r), 0);
	}
	assert_true(rig_recv(r, a));
	assert_int_equal(a->hdr.id, 3);
	assert_int_equal(a->hdr.error, 0);
	assert_non_null(vu_conn_dma(r->c, 0x5000, 4096, true));
	free(a);
}

/* Messages that follow one whose descriptors arrived before its end keep theirs. */
static void test_fds_of_neighbours(void **state)
{
	struct { struct vu_hdr h; struct vu_dma_map m; } msg = {
		{ .command = VU_DMA_MAP, .size = 48 }, { .argsz = 32, .flags = 3, .size = 4096 } };
	int a_fd FD_CLEANUP = fd_memfd("a", 4096), b_fd FD_CLEANUP = fd_memfd("b", 4096);
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(pwrite(a_fd, "A", 1, 0) + pwrite(b_fd, "B", 1, 0), 2);
	assert_int_equal(fd_send(r->s, &msg, 10, &a_fd, 1, 0), 10);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(fd_send(r->s, (char *)&msg + 10, 38, NULL, 0, 0), 38);
	msg.m.addr = 0x1000;
	rig_send(r, VU_DEVICE_RESET, 0, NULL, 0);
	assert_int_equal(fd_send(r->s, &msg, 48, &b_fd, 1, 0), 48);
	assert_int_equal(rig_pump(r), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(rig_recv(r, a));
		assert_int_equal(a->hdr.error, 0);
	}
	assert_memory_equal(vu_conn_dma(r->c, 0, 1, false), "A", 1);
	assert_memory_equal(vu_conn_dma(r->c, 0x1000, 1, false), "B", 1);
	free(a);
}

/* Descriptors that were sent together, with the first of the commands they are for: each takes the next one. */
static void test_fds_together(void **state)
{
	struct { struct vu_hdr h; struct vu_dma_map m; } msg[4];
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;
	char mark[3] = "ABC";
	int fds[3];

	for (size_t cut = 1; cut <= 3 * sizeof(msg[0]); cut += 23) {
		for (unsigned int i = 0; i < 3; i++) {
			fds[i] = fd_memfd("together", 4096);
			assert_int_equal(pwrite(fds[i], &mark[i], 1, 0), 1);
			memset(&msg[i], 0, sizeof(msg[i]));
			msg[i].h = (struct vu_hdr){ .command = VU_DMA_MAP, .size = 48, .flags = VU_F_FD };
			msg[i].m = (struct vu_dma_map){ .argsz = 32, .flags = 3, .addr = i << 12,
				.size = 4096 };
		}
		/* What follows, in whatever pieces, has none of its own. */
		msg[3].h = (struct vu_hdr){ .command = VU_DEVICE_RESET, .size = sizeof(msg[3].h) };
		assert_int_equal(fd_send(r->s, msg, cut, fds, 3, 0), cut);
		assert_int_equal(rig_pump(r), 0);
		assert_int_equal(fd_send(r->s, (char *)msg + cut, 3 * sizeof(msg[0]) + 16 - cut, NULL, 0,
			0), 3 * sizeof(msg[0]) + 16 - cut);
		assert_int_equal(rig_pump(r), 0);
		for (unsigned int i = 0; i < 4; i++) {
			assert_true(rig_recv(r, a));
			assert_int_equal(a->hdr.error, 0);
		}
		for (unsigned int i = 0; i < 3; i++) {
			close(fds[i]);
			assert_memory_equal(vu_conn_dma(r->c, i << 12, 1, false), &mark[i], 1);
		}
		assert_int_equal(rig_unmap(r, 0, 0, VU_UNMAP_F_ALL), 0);
	}
	free(a);
}

/* One that says that there is a descriptor for it, and there is none left. */
static void test_fd_missing(void **state)
{
	struct { struct vu_hdr h; struct vu_dma_map m; } msg[2];
	int fd FD_CLEANUP = fd_memfd("only", 4096);
	struct rig *r = *state;

	for (unsigned int i = 0; i < 2; i++) {
		msg[i].h = (struct vu_hdr){ .command = VU_DMA_MAP, .size = 48, .flags = VU_F_FD };
		msg[i].m = (struct vu_dma_map){ .argsz = 32, .flags = 3, .addr = i << 12, .size = 4096 };
	}
	assert_int_equal(fd_send(r->s, msg, sizeof(msg), &fd, 1, 0), sizeof(msg));
	expect_end(r);
}

static void test_many_in_one_send(void **state)
{
	enum { N = 4000 };
	struct vu_hdr *h = calloc(N, sizeof(*h));
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	for (int i = 0; i < N; i++)
		h[i] = (struct vu_hdr){ .id = (uint16_t)i, .command = VU_DEVICE_RESET, .size = sizeof(*h) };
	assert_int_equal(send(r->s, h, N * sizeof(*h), 0), N * sizeof(*h));
	/* one call does a bounded part of it and asks to be called again */
	assert_int_equal(vu_conn_process(r->c), 0);
	assert_in_range(r->resets, 1, N - 1);
	assert_int_equal(vu_conn_events(r->c), POLLIN | POLLOUT);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(vu_conn_events(r->c), POLLIN);
	for (int i = 0; i < N; i++) {
		assert_true(rig_recv(r, a));
		assert_int_equal(a->hdr.id, i);
	}
	assert_int_equal(r->resets, N);
	free(a);
	free(h);
}

/* A client that sends and never reads: its requests stay with it once the socket is full. */
static void test_slow_reader(void **state)
{
	const struct { struct vu_hdr h; struct vu_region_access a; } msg = {
		{ .id = 7, .command = VU_REGION_READ, .size = 32 }, { .region = 2, .count = 4096 } };
	const size_t reply_len = sizeof(msg) + 4096;
	unsigned char *buf = malloc(reply_len);
	unsigned int sent = 0, reads;
	struct rig *r = *state;
	size_t got = 0;

	for (int quiet = 0; quiet < 3;) {
		ssize_t n = send(r->s, &msg, sizeof(msg), MSG_DONTWAIT);

		sent += n > 0;
		assert_true(n < 0 || n == sizeof(msg));
		assert_int_equal(rig_pump(r), 0);
		quiet = n < 0 ? quiet + 1 : 0;
	}
	assert_int_equal(vu_conn_events(r->c), POLLOUT);
	reads = r->reads;
	assert_int_equal(vu_conn_process(r->c), -EAGAIN);
	assert_int_equal(r->reads, reads);
	assert_true(reads < sent); /* it stopped executing, too */
	while (got < sent * reply_len) {
		struct vu_hdr h;
		ssize_t n;

		while ((n = recv(r->s, buf, reply_len, MSG_DONTWAIT)) > 0) {
			if (n == (ssize_t)reply_len && got % reply_len == 0) {
				memcpy(&h, buf, sizeof(h));
				assert_int_equal(h.size, reply_len);
			}
			got += (size_t)n;
		}
		assert_int_equal(rig_pump(r), 0);
	}
	assert_int_equal(got, sent * reply_len);
	assert_int_equal(r->reads, sent);
	assert_int_equal(vu_conn_events(r->c), POLLIN);
	free(buf);
}

static void test_pause(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	r->pause_on_write = true;
	rig_queue_write(r, 0, 0, "x", 1);
	rig_send(r, VU_DEVICE_RESET, 0, NULL, 0);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(vu_conn_events(r->c), 0);
	assert_int_equal(vu_conn_process(r->c), -EAGAIN);
	assert_false(rig_recv(r, a)); /* not even the reply */
	assert_int_equal(r->resets, 0);
	vu_conn_pause(r->c, false);
	assert_int_not_equal(vu_conn_events(r->c) & POLLOUT, 0);
	assert_int_equal(rig_pump(r), 0);
	assert_true(rig_recv(r, a));
	assert_true(rig_recv(r, a));
	assert_int_equal(r->resets, 1);
	free(a);
}

static void test_nothing_there(void **state)
{
	struct rig *r = *state;

	assert_int_equal(vu_conn_process(r->c), -EAGAIN);
	assert_int_equal(vu_conn_events(r->c), POLLIN);
}

/* Bytes without sense, in pieces without sense: it ends or goes on, but nothing else happens. */
static void test_noise(void **state)
{
	unsigned int seed = 42;

	for (int round = 0; round < 2000; round++) {
		unsigned char noise[512];
		void *mine;
		struct rig *r;
		size_t n = 16 + (size_t)rand_r(&seed) % (sizeof(noise) - 16);
		struct vu_hdr h = { .command = (uint16_t)(rand_r(&seed) % 20) };

		rig_setup(&mine);
		r = mine;
		for (size_t i = 0; i < n; i++)
			noise[i] = rand_r(&seed) % 4 ? 0 : (unsigned char)rand_r(&seed);
		h.size = rand_r(&seed) % 4 ? (uint32_t)n : (uint32_t)rand_r(&seed) % 1024;
		memcpy(noise, &h, sizeof(h));
		if (rand_r(&seed) % 2)
			assert_int_equal(fd_send(r->s, noise, n, NULL, 0, 0), n);
		else
			assert_int_equal(fd_send(r->s, noise, n, &r->s, 1, 0), n);
		rig_pump(r);
		rig_teardown(&mine);
	}
}

#define T(f)	 cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define T_RAW(f) cmocka_unit_test_setup_teardown(f, rig_setup_raw, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_reply_type), T(test_other_type), T(test_short_size), T(test_zero_size),
		T(test_oversize), T(test_largest_size), T_RAW(test_command_before_version),
		T_RAW(test_long_version), T(test_replies_before_violation), T(test_fd_with_reset),
		T(test_fd_with_unknown), T(test_two_fds_with_map), T(test_surplus_irq_fds),
		T(test_fd_without_use), T(test_control_truncated), T(test_fds_piled_up),
		T(test_eof), T(test_eof_in_message), T(test_byte_by_byte),
		T(test_fds_of_neighbours), T(test_fds_together), T(test_fd_missing), T(test_many_in_one_send), T(test_slow_reader),
		T(test_pause), T(test_nothing_there), cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
