/* SPDX-License-Identifier: MIT */
/* Sleeping: the descriptor's promise, blocked threads, and a daemon that echoes at full speed. */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define SIZE	   16384u
#define STRESS	   (8u << 20)
#define WAKE_LIMIT 20000 /* ms; only a broken test ever waits so long */

struct rig {
	struct fake f;
	struct smcdu_channel *ch;
	int fds;
	uint8_t buf[SIZE];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->fds = count_fds();
	fake_make(&r->f, SIZE, SIZE, CDC_BIG);
	r->ch = fake_adopt(&r->f);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	smcdu_close(r->ch);
	fake_end(&r->f);
	assert_int_equal(count_fds(), r->fds);
	free(r);
	return 0;
}

static bool readable(struct rig *r)
{
	struct pollfd p = { .fd = smcdu_channel_fd(r->ch), .events = POLLIN };

	assert_true(p.fd >= 0);
	return poll(&p, 1, 0) == 1;
}

/* The peer's bytes arrive and the daemon notices. */
static void deliver(struct rig *r, size_t len)
{
	fake_write(&r->f, len);
	fake_wake(&r->f, CHAN_WAIT_RX);
}

static struct smcdu_channel_stats stats_of(const struct smcdu_channel *ch)
{
	struct smcdu_channel_stats st;

	smcdu_channel_stats(ch, &st);
	return st;
}

struct blocked {
	struct rig *r;
	bool send;
	ssize_t ret;
};

static void *blocked_call(void *arg)
{
	struct blocked *b = arg;
	uint8_t c = 0;

	b->ret = b->send ? smcdu_send(b->r->ch, &c, 1, 0) : smcdu_recv(b->r->ch, &c, 1, 0);
	return NULL;
}

static void test_level(void **state)
{
	struct rig *r = *state;

	assert_true(readable(r)); /* never armed yet */
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_false(readable(r));
	assert_int_equal(atomic_load(&r->f.ctl->app_wait), CHAN_WAIT_RX);
	deliver(r, 100);
	assert_true(readable(r));
	for (int i = 0; i < 9; i++) { /* one piece per poll */
		assert_int_equal(smcdu_recv(r->ch, r->buf, 10, 0), 10);
		assert_true(readable(r));
		assert_true(smcdu_events(r->ch) & SMCDU_IN);
		assert_true(readable(r));
	}
	assert_int_equal(smcdu_recv(r->ch, r->buf, 10, 0), 10);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 10, SMCDU_DONTWAIT), -EAGAIN);
	assert_false(readable(r)); /* -EAGAIN re-arms as well */
	deliver(r, 1);
	assert_true(readable(r));
}

/* A descriptor asked for late knows nothing of what was looked at before. */
static void test_late_descriptor(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_int_equal(atomic_load(&r->f.ctl->app_wait), 0); /* nobody to tell */
	fake_write(&r->f, 20);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 5, 0), 5);
	assert_true(readable(r));
	assert_int_equal(smcdu_recv(r->ch, r->buf, 20, 0), 15);
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_false(readable(r));
}

/* Arming finds what nobody announced: the descriptor must be readable from then on. */
static void test_arming_finds_bytes(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_set_events(r->ch, SMCDU_OUT), 0);
	assert_int_equal(smcdu_send(r->ch, r->buf, r->f.tx_n, 0), r->f.tx_n);
	assert_int_equal(smcdu_channel_fd(r->ch) >= 0, 1);
	assert_int_equal(smcdu_events(r->ch), 0);
	assert_false(readable(r));
	fake_write(&r->f, 20); /* nobody asked to be told */
	assert_false(readable(r));
	assert_int_equal(smcdu_set_events(r->ch, SMCDU_IN), 0);
	assert_true(readable(r));
	assert_int_equal(smcdu_recv(r->ch, r->buf, 5, 0), 5);
	assert_true(readable(r));
	assert_int_equal(smcdu_recv(r->ch, r->buf, 15, 0), 15);
	assert_int_equal(smcdu_events(r->ch), 0);
	assert_false(readable(r));
	assert_int_equal(smcdu_set_events(r->ch, 4), -EINVAL);
}

static void test_out_event(void **state)
{
	struct rig *r = *state;
	struct smc_cursor zero = { 0 };

	assert_int_equal(smcdu_set_events(r->ch, SMCDU_IN | SMCDU_OUT), 0);
	assert_true(readable(r));
	assert_int_equal(smcdu_send(r->ch, r->buf, SIZE, SMCDU_DONTWAIT), r->f.tx_n);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_false(readable(r));
	assert_int_equal(atomic_load(&r->f.ctl->app_wait), CHAN_WAIT_RX | CHAN_WAIT_TX);
	fake_cdc_raw(&r->f, zero, cursor_of(1, r->f.tx_n));
	fake_wake(&r->f, CHAN_WAIT_TX);
	assert_true(readable(r));
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_true(readable(r));
	assert_int_equal(smcdu_send(r->ch, r->buf, 9, SMCDU_DONTWAIT), 1);
	assert_int_equal(smcdu_events(r->ch), 0);
	assert_false(readable(r));
	atomic_store(&r->f.ctl->error, ECONNRESET);
	fake_wake(&r->f, CHAN_WAIT_TX);
	assert_true(readable(r));
	assert_true(smcdu_events(r->ch) & SMCDU_ERR);
	assert_true(readable(r));
}

static void test_error_without_interest(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_set_events(r->ch, 0), 0);
	assert_true(readable(r));
	smcdu_events(r->ch);
	assert_false(readable(r));
	fd_closep(&r->f.sock);
	assert_true(readable(r));
	assert_true(smcdu_events(r->ch) & SMCDU_ERR);
	assert_true(readable(r));
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ENODEV);
}

static void test_edge_triggered(void **state)
{
	struct rig *r = *state;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int ep FD_CLEANUP = epoll_create1(EPOLL_CLOEXEC);

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, smcdu_channel_fd(r->ch), &ev), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(epoll_wait(ep, &ev, 1, i ? WAKE_LIMIT : 0), 1);
		while (smcdu_recv(r->ch, r->buf, 7, SMCDU_DONTWAIT) > 0)
			;
		deliver(r, 20);
	}
	assert_int_equal(smcdu_recv(r->ch, r->buf, 100, SMCDU_DONTWAIT), 20);
}

/* A blocking call in between reads wake-ups; the descriptor must not lose them. */
static void test_blocking_between_polls(void **state)
{
	struct rig *r = *state;
	struct blocked b = { .r = r };
	pthread_t t;

	assert_true(readable(r));
	smcdu_events(r->ch);
	assert_false(readable(r));
	pthread_create(&t, NULL, blocked_call, &b);
	while (stats_of(r->ch).sleeps == 0)
		sched_yield();
	deliver(r, 20);
	pthread_join(t, NULL); /* has read the wake-up and one byte */
	assert_int_equal(b.ret, 1);
	assert_true(readable(r));
	assert_int_equal(smcdu_recv(r->ch, r->buf, 19, 0), 19);
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_false(readable(r));
}

static void test_stray_message_ends_it(void **state)
{
	struct rig *r = *state;
	struct ipc_simple m = { .hdr = ipc_hdr(CHAN_WAKE) };
	int fd = r->f.sock;

	smcdu_events(r->ch);
	fd_send(r->f.sock, &m, sizeof(m), &fd, 1, 0); /* a descriptor nobody asked for */
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), -ENODEV);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* The daemon's half of the protocol: echoes, sleeps with the bell armed. */
static void *echo_daemon(void *arg)
{
	struct fake *f = arg;

	for (;;) {
		uint64_t tx = atomic_load_explicit(&f->ctl->tx_pos, memory_order_acquire);
		uint64_t rx = atomic_load_explicit(&f->ctl->rx_pos, memory_order_acquire);
		uint64_t space = f->rx_n - (f->prod - rx);
		uint64_t n = tx - f->cons < space ? tx - f->cons : space;
		struct pollfd p = { .fd = f->sock, .events = POLLIN };
		int type;

		if (n) {
			for (uint64_t i = 0; i < n; i++)
				f->dmb[CDC_SIZE + (f->prod + i) % f->rx_n] =
					f->ring[(f->cons + i) % f->tx_n];
			f->prod += n;
			f->cons += n;
			f->prod_flags = n == space ? CDC_WRITER_BLOCKED : 0;
			fake_cdc(f);
			fake_wake(f, CHAN_WAIT_RX | CHAN_WAIT_TX);
			continue;
		}
		if (atomic_load(&f->ctl->bell) == 0) {
			atomic_store(&f->ctl->bell, 1);
			atomic_thread_fence(memory_order_seq_cst);
			continue;
		}
		poll(&p, 1, WAKE_LIMIT);
		type = fake_message(f);
		if (type != CHAN_BELL && type != -EAGAIN)
			return (void *)(intptr_t)type;
	}
}

static void *send_stream(void *arg)
{
	struct rig *r = arg;
	uint8_t buf[3000];

	for (uint64_t pos = 0; pos < STRESS; ) {
		size_t n = pos % sizeof(buf) + 1;

		n = n < STRESS - pos ? n : (size_t)(STRESS - pos);
		pattern_fill(buf, pos, n);
		if (smcdu_send(r->ch, buf, n, 0) != (ssize_t)n)
			return (void *)1;
		pos += n;
	}
	return NULL;
}

static void test_two_threads(void **state)
{
	struct rig *r = *state;
	pthread_t daemon, sender;
	void *ret;

	pthread_create(&daemon, NULL, echo_daemon, &r->f);
	pthread_create(&sender, NULL, send_stream, r);
	for (uint64_t pos = 0; pos < STRESS; ) {
		ssize_t n = smcdu_recv(r->ch, r->buf, pos % SIZE + 1, 0);

		assert_true(n > 0);
		pattern_check(r->buf, pos, (size_t)n);
		pos += (uint64_t)n;
	}
	pthread_join(sender, &ret);
	assert_null(ret);
	smcdu_close(r->ch);
	r->ch = NULL;
	pthread_join(daemon, &ret);
	assert_int_equal((intptr_t)ret, CHAN_CLOSE);
}

/* Looking before sleeping must neither lose a byte nor a wake-up. */
static void test_two_threads_that_spin(void **state)
{
	struct rig *r = *state;

	r->ch->spin_ns = 20000;
	r->ch->tx.spin.credit = r->ch->rx.spin.credit = 4;
	test_two_threads(state);
}

/* The same bytes through one level-triggered poll loop that moves one small piece per turn. */
static void test_poll_loop(void **state)
{
	struct rig *r = *state;
	struct pollfd p = { .fd = smcdu_channel_fd(r->ch), .events = POLLIN };
	uint64_t sent = 0, got = 0, total = STRESS / 16;
	pthread_t daemon;
	ssize_t n;

	pthread_create(&daemon, NULL, echo_daemon, &r->f);
	while (got < total) {
		int ev;

		smcdu_set_events(r->ch, SMCDU_IN | (sent < total ? SMCDU_OUT : 0));
		assert_int_equal(poll(&p, 1, WAKE_LIMIT), 1);
		ev = smcdu_events(r->ch);
		assert_true(ev >= 0);
		if ((ev & SMCDU_OUT) && sent < total) {
			pattern_fill(r->buf, sent, 1500);
			n = smcdu_send(r->ch, r->buf, total - sent < 1500 ? total - sent : 1500,
				SMCDU_DONTWAIT);
			assert_true(n > 0);
			sent += (uint64_t)n;
		}
		if (ev & SMCDU_IN) {
			n = smcdu_recv(r->ch, r->buf, 999, SMCDU_DONTWAIT);
			assert_true(n > 0);
			pattern_check(r->buf, got, (size_t)n);
			got += (uint64_t)n;
		}
	}
	smcdu_abort(r->ch);
	r->ch = NULL;
	pthread_join(daemon, NULL);
}

static void block_both(struct rig *r, struct blocked *b, pthread_t *t)
{
	assert_int_equal(smcdu_send(r->ch, r->buf, r->f.tx_n, 0), r->f.tx_n);
	for (int i = 0; i < 2; i++) {
		b[i] = (struct blocked){ .r = r, .send = i };
		pthread_create(&t[i], NULL, blocked_call, &b[i]);
	}
	while (atomic_load(&r->f.ctl->app_wait) != (CHAN_WAIT_RX | CHAN_WAIT_TX))
		sched_yield();
}

static void test_daemon_dies_under_sleepers(void **state)
{
	struct rig *r = *state;
	struct blocked b[2];
	pthread_t t[2];

	block_both(r, b, t);
	fd_closep(&r->f.sock);
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(b[i].ret, -ENODEV);
	}
}

/* Whoever of the two sleeps on the socket, the wake-up reaches the one it is for. */
static void test_each_sleeper_is_woken(void **state)
{
	for (int first = 0; first < 2; first++) {
		struct rig *r = *state;
		struct blocked b[2];
		pthread_t t[2];

		block_both(r, b, t);
		for (int i = 0; i < 2; i++) {
			int now = i ^ first;

			if (now == 0) {
				deliver(r, 1);
			} else {
				fake_cdc_raw(&r->f, cursor_of(r->f.prod, r->f.rx_n),
					cursor_of(1, r->f.tx_n));
				r->f.cons = 1;
				fake_wake(&r->f, CHAN_WAIT_TX);
			}
			pthread_join(t[now], NULL);
			assert_int_equal(b[now].ret, 1);
		}
		teardown(state);
		setup(state);
	}
}

static void test_violation_wakes_the_other(void **state)
{
	struct rig *r = *state;
	struct smc_cursor zero = { 0 };
	struct blocked b[2];
	pthread_t t[2];

	block_both(r, b, t);
	fake_cdc_raw(&r->f, zero, (struct smc_cursor){ .wrap = 7 });
	fake_wake(&r->f, CHAN_WAIT_TX); /* the sender looks; the receiver is not told */
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(b[i].ret, -ECONNRESET);
	}
}

static void *flush_call(void *arg)
{
	struct blocked *b = arg;

	b->ret = smcdu_flush(b->r->ch, UINT32_MAX);
	return NULL;
}

/* One sleep for any number of bytes: woken when the last one is moved, not before. */
static void test_flush_sleeps_once(void **state)
{
	struct rig *r = *state;
	struct blocked b = { .r = r };
	pthread_t t;

	pattern_fill(r->buf, 0, 1000);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1000, 0), 1000);
	pthread_create(&t, NULL, flush_call, &b);
	for (int i = 0; i < 9; i++) {
		while (!(atomic_load(&r->f.ctl->app_wait) & CHAN_WAIT_SENT) || !stats_of(r->ch).sleeps)
			sched_yield();
		assert_int_equal(fake_take(&r->f, 100), 100);
		fake_wake(&r->f, CHAN_WAIT_RX | CHAN_WAIT_TX);
	}
	assert_int_equal(fake_take(&r->f, 100), 100);
	fake_wake(&r->f, CHAN_WAIT_SENT);
	pthread_join(t, NULL);
	assert_int_equal(b.ret, 0);
	assert_int_equal(stats_of(r->ch).sleeps, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* It is the channel's own, and judged as the setting is. */
static void test_set_spin(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_set_spin(r->ch, 1000000), 0);
	assert_int_equal(r->ch->spin_ns, 1000000000);
	assert_int_equal(smcdu_set_spin(r->ch, 1000001), -EINVAL);
	assert_int_equal(r->ch->spin_ns, 1000000000);
	assert_int_equal(smcdu_set_spin(r->ch, UINT32_MAX), 0);
	assert_int_equal(r->ch->spin_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_level), T(test_late_descriptor), T(test_arming_finds_bytes),
		T(test_out_event), T(test_error_without_interest), T(test_edge_triggered),
		T(test_blocking_between_polls), T(test_stray_message_ends_it),
		T(test_two_threads), T(test_two_threads_that_spin),
		T(test_poll_loop), T(test_daemon_dies_under_sleepers),
		T(test_each_sleeper_is_woken), T(test_violation_wakes_the_other), T(test_flush_sleeps_once),
		T(test_set_spin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
