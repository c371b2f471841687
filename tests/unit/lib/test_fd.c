/* SPDX-License-Identifier: MIT */
/* The descriptor of an attached channel in every loop an application may have: nothing is missed. */
#include "pair.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#ifdef HAVE_URING
#include <liburing.h>
#endif

#include "vfio/base/fd.h"

#define TOTAL (1u << 20)
#define LIMIT 20000 /* ms; only a broken test ever waits so long */

/* A way to wait for one descriptor. False: not here (no io_uring allowed). */
struct waiter {
	int fd;
	int epoll;
#ifdef HAVE_URING
	struct io_uring ring;
#endif
};

struct kind {
	const char *name;
	bool (*open)(struct waiter *w);
	void (*wait)(struct waiter *w);
	void (*close)(struct waiter *w);
};

static bool poll_open(struct waiter *w)
{
	return true;
}

static void poll_wait(struct waiter *w)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, LIMIT), 1);
	assert_int_equal(p.revents, POLLIN);
}

static void poll_close(struct waiter *w)
{
}

static bool epoll_open(struct waiter *w, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->fd, &ev) == 0;
}

static bool level_open(struct waiter *w)
{
	return epoll_open(w, EPOLLIN);
}

static bool edge_open(struct waiter *w)
{
	return epoll_open(w, EPOLLIN | EPOLLET);
}

static void any_wait(struct waiter *w)
{
	struct epoll_event ev;

	assert_int_equal(epoll_wait(w->epoll, &ev, 1, LIMIT), 1);
}

static void any_close(struct waiter *w)
{
	fd_closep(&w->epoll);
}

#ifdef HAVE_URING
static bool uring_open(struct waiter *w)
{
	return io_uring_queue_init(8, &w->ring, 0) == 0;
}

static void reap(struct waiter *w)
{
	struct __kernel_timespec ts = { .tv_sec = LIMIT / 1000 };
	struct io_uring_cqe *cqe;

	assert_int_equal(io_uring_wait_cqe_timeout(&w->ring, &cqe, &ts), 0);
	assert_true(cqe->res > 0 && (cqe->res & POLLIN));
	io_uring_cqe_seen(&w->ring, cqe);
}

static void uring_wait(struct waiter *w)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);

	io_uring_prep_poll_add(sqe, w->fd, POLLIN);
	assert_int_equal(io_uring_submit(&w->ring), 1);
	reap(w);
}

static void uring_close(struct waiter *w)
{
	io_uring_queue_exit(&w->ring);
}
#endif

static const struct kind kinds[] = {
	{ "poll", poll_open, poll_wait, poll_close },
	{ "epoll, level", level_open, any_wait, any_close },
	{ "epoll, edge", edge_open, any_wait, any_close },
#ifdef HAVE_URING
	{ "io_uring", uring_open, uring_wait, uring_close },
#endif
};

static uint8_t pattern(uint64_t pos)
{
	return (uint8_t)(pos * 7 + (pos >> 8) * 13);
}

/* Long and short pieces, and now and then time for the other side to fall asleep. */
static size_t piece(uint64_t pos)
{
	size_t n = pos % 5 ? 1 + pos % 97 : 1 + pos % 9000;

	if (pos % 31 == 0)
		usleep(200);
	return n < TOTAL - pos ? n : (size_t)(TOTAL - pos);
}

static ssize_t send_piece(struct smcdu_channel *ch, uint64_t pos, unsigned int flags)
{
	uint8_t buf[9000];
	size_t n = piece(pos);

	for (size_t i = 0; i < n; i++)
		buf[i] = pattern(pos + i);
	return smcdu_send(ch, buf, n, flags);
}

static void *send_all(void *arg)
{
	uint64_t pos = 0;
	ssize_t n = 1;

	while (pos < TOTAL && (n = send_piece(arg, pos, 0)) > 0)
		pos += (uint64_t)n;
	return n > 0 && smcdu_shutdown(arg) == 0 ? arg : NULL;
}

static void *recv_all(void *arg)
{
	uint8_t buf[9000];
	uint64_t pos = 0;
	ssize_t n;

	while ((n = smcdu_recv(arg, buf, 1 + pos % sizeof(buf), 0)) > 0) {
		if (pos % 31 == 0)
			usleep(200);
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(pos + (uint64_t)i))
				return NULL;
		pos += (uint64_t)n;
	}
	return n == 0 && pos == TOTAL ? arg : NULL;
}

static void waiter_for(const struct kind *k, struct waiter *w, struct pair *p, int side)
{
	*w = (struct waiter){ .fd = smcdu_channel_fd(p->ch[side]), .epoll = -1 };
	assert_true(w->fd >= 0);
	if (!k->open(w)) {
		print_message("%s: not possible here\n", k->name);
		pair_close(p);
		skip();
	}
}

static void receive_by(const struct kind *k)
{
	uint8_t buf[3000];
	struct waiter w;
	struct pair p;
	uint64_t pos = 0;
	pthread_t t;
	void *ok;
	ssize_t n;

	pair_open(&p, RING, 0);
	waiter_for(k, &w, &p, 1);
	pthread_create(&t, NULL, send_all, p.ch[0]);
	for (;;) {
		n = smcdu_recv(p.ch[1], buf, 1 + pos % sizeof(buf), SMCDU_DONTWAIT);
		if (n == -EAGAIN) {
			k->wait(&w);
			continue;
		}
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], pattern(pos + (uint64_t)i));
		pos += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	assert_int_equal(pos, TOTAL);
	pthread_join(t, &ok);
	assert_non_null(ok);
	k->close(&w);
	pair_close(&p);
}

static void send_by(const struct kind *k)
{
	struct waiter w;
	struct pair p;
	uint64_t pos = 0;
	pthread_t t;
	void *ok;

	pair_open(&p, RING, 0);
	assert_int_equal(smcdu_set_events(p.ch[0], SMCDU_OUT), 0);
	waiter_for(k, &w, &p, 0);
	pthread_create(&t, NULL, recv_all, p.ch[1]);
	while (pos < TOTAL) {
		ssize_t n = send_piece(p.ch[0], pos, SMCDU_DONTWAIT);

		if (n == -EAGAIN) {
			k->wait(&w);
			continue;
		}
		assert_true(n > 0);
		pos += (uint64_t)n;
	}
	assert_int_equal(smcdu_shutdown(p.ch[0]), 0);
	pthread_join(t, &ok);
	assert_non_null(ok);
	k->close(&w);
	pair_close(&p);
}

/* An end without a word is seen by all of them, too. */
static void end_by(const struct kind *k)
{
	struct waiter w;
	struct pair p;
	char c;

	pair_open(&p, RING, 0);
	waiter_for(k, &w, &p, 1);
	assert_int_equal(smcdu_recv(p.ch[1], &c, 1, SMCDU_DONTWAIT), -EAGAIN);
	smcdu_abort(p.ch[0]);
	p.ch[0] = NULL;
	do {
		k->wait(&w);
	} while (smcdu_recv(p.ch[1], &c, 1, SMCDU_DONTWAIT) == -EAGAIN);
	assert_int_equal(smcdu_recv(p.ch[1], &c, 1, SMCDU_DONTWAIT), -ECONNRESET);
	k->close(&w);
	pair_close(&p);
}

static void test_receiving(void **state)
{
	receive_by(*state);
}

static void test_sending(void **state)
{
	send_by(*state);
}

static void test_end(void **state)
{
	end_by(*state);
}

#define PER_KIND 3
#define KINDS	 (sizeof(kinds) / sizeof(kinds[0]))

int main(void)
{
	static const CMUnitTestFunction fns[PER_KIND] = { test_receiving, test_sending, test_end };
	static const char *const what[PER_KIND] = { "receiving", "sending", "end" };
	static char names[KINDS * PER_KIND][40];
	struct CMUnitTest tests[KINDS * PER_KIND] = { 0 };

	for (size_t i = 0; i < KINDS * PER_KIND; i++) {
		const struct kind *k = &kinds[i / PER_KIND];

		snprintf(names[i], sizeof(names[i]), "%s: %s", what[i % PER_KIND], k->name);
		tests[i] = (struct CMUnitTest){ .name = names[i], .test_func = fns[i % PER_KIND],
			.initial_state = (void *)(uintptr_t)k };
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
