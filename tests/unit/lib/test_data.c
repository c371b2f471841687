/* SPDX-License-Identifier: MIT */
/* Bytes, ends, violations, farewells: one thread, the peer moves between the calls. */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define SIZE 16384u

struct rig {
	struct fake f;
	struct smcdu_channel *ch;
	int fds;
	uint8_t buf[2 * SIZE];
};

static int setup_order(void **state, enum cdc_order order)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->fds = count_fds();
	fake_make(&r->f, SIZE, 2 * SIZE, order);
	r->ch = fake_adopt(&r->f);
	*state = r;
	return 0;
}

static int setup(void **state)
{
	return setup_order(state, CDC_BIG);
}

static int setup_little(void **state)
{
	return setup_order(state, CDC_LITTLE);
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

static void must_recv(struct rig *r, size_t len)
{
	uint64_t pos = atomic_load(&r->f.ctl->rx_pos);

	assert_int_equal(smcdu_recv(r->ch, r->buf, len, SMCDU_DONTWAIT | SMCDU_WAITALL), len);
	pattern_check(r->buf, pos, len);
	assert_int_equal(atomic_load(&r->f.ctl->rx_pos), pos + len);
}

static void test_recv_over_many_turns(void **state)
{
	struct rig *r = *state;
	size_t step = 1;

	for (int i = 0; i < 400; i++) {
		fake_write(&r->f, step);
		must_recv(r, step / 2);
		must_recv(r, step - step / 2);
		step = step * 7 % r->f.rx_n + 1;
	}
	fake_write(&r->f, r->f.rx_n); /* every byte of the ring is usable */
	must_recv(r, r->f.rx_n);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), -EAGAIN);
}

static void test_send_over_many_turns(void **state)
{
	struct rig *r = *state;
	uint64_t pos = 0;
	size_t step = 1;

	for (int i = 0; i < 400; i++) {
		pattern_fill(r->buf, pos, step);
		assert_int_equal(smcdu_send(r->ch, r->buf, step, 0), step);
		pos += step;
		assert_int_equal(atomic_load(&r->f.ctl->tx_pos), pos);
		assert_int_equal(fake_take(&r->f, SIZE_MAX), step);
		step = step * 5 % r->f.tx_n + 1;
	}
	pattern_fill(r->buf, pos, r->f.tx_n);
	assert_int_equal(smcdu_send(r->ch, r->buf, r->f.tx_n - 1, SMCDU_DONTWAIT), r->f.tx_n - 1);
	assert_int_equal(smcdu_send(r->ch, r->buf + r->f.tx_n - 1, 2, SMCDU_DONTWAIT), 1);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(fake_take(&r->f, 1), 1);
	pattern_fill(r->buf, pos + r->f.tx_n, 2);
	assert_int_equal(smcdu_send(r->ch, r->buf, 2, SMCDU_DONTWAIT), 1);
	assert_int_equal(fake_take(&r->f, SIZE_MAX), r->f.tx_n);
}

static void test_vectors(void **state)
{
	struct rig *r = *state;
	struct iovec v[4] = { { r->buf, 3 }, { NULL, 0 }, { r->buf + 3, 5000 }, { NULL, 0 } };

	for (int i = 0; i < 20; i++) {
		pattern_fill(r->buf, r->f.cons, 5003);
		assert_int_equal(smcdu_sendv(r->ch, v, 4, 0), 5003);
		assert_int_equal(fake_take(&r->f, SIZE_MAX), 5003);
		memset(r->buf, 0, 5003);
		fake_write(&r->f, 5003);
		assert_int_equal(smcdu_recvv(r->ch, v, 4, 0), 5003);
		pattern_check(r->buf, r->f.prod - 5003, 5003);
	}
	assert_int_equal(smcdu_sendv(r->ch, v, -1, 0), -EINVAL);
	v[1].iov_len = SIZE_MAX;
	assert_int_equal(smcdu_recvv(r->ch, v, 4, 0), -EINVAL);
	assert_int_equal(smcdu_send(r->ch, r->buf, 0, 0), 0);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 0, 0), 0);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 1u << 31), -EINVAL);
}

static void test_zero_copy(void **state)
{
	struct rig *r = *state;
	const void *data;
	size_t len, len2;
	void *p, *p2;

	assert_int_equal(smcdu_commit(r->ch, 1), -EINVAL); /* nothing reserved */
	for (uint64_t pos = 0; pos < 10 * SIZE; ) {
		assert_int_equal(smcdu_reserve(r->ch, &p, &len, SMCDU_DONTWAIT), 0);
		assert_int_equal(smcdu_reserve(r->ch, &p2, &len2, SMCDU_DONTWAIT), 0);
		assert_ptr_equal(p, p2);
		assert_int_equal(len, len2);
		len = len < 4999 ? len : 4999;
		pattern_fill(p, pos, len);
		assert_int_equal(smcdu_commit(r->ch, len), 0);
		assert_int_equal(fake_take(&r->f, SIZE_MAX), len);
		pos += len;
	}
	assert_int_equal(smcdu_reserve(r->ch, &p, &len, 0), 0);
	assert_int_equal(smcdu_commit(r->ch, len + 1), -EINVAL);

	assert_int_equal(smcdu_peek(r->ch, &data, &len, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_release(r->ch, 1), -EINVAL);
	for (int i = 0; i < 30; i++) {
		fake_write(&r->f, 9001);
		for (size_t left = 9001; left; left -= len) {
			assert_int_equal(smcdu_peek(r->ch, &data, &len, 0), 0);
			assert_true(len > 0 && len <= left);
			pattern_check(data, r->f.prod - left, len);
			assert_int_equal(smcdu_release(r->ch, len + 1), -EINVAL);
			assert_int_equal(smcdu_release(r->ch, len), 0);
		}
	}
	r->f.conn_flags = CDC_SENDING_DONE;
	fake_cdc(&r->f);
	assert_int_equal(smcdu_peek(r->ch, &data, &len, 0), 0);
	assert_int_equal(len, 0);
}

static void test_end_comes_after_the_bytes(void **state)
{
	struct rig *r = *state;

	r->f.conn_flags = CDC_SENDING_DONE;
	fake_write(&r->f, 10);
	assert_int_equal(smcdu_events(r->ch), SMCDU_IN | SMCDU_OUT | SMCDU_HUP);
	must_recv(r, 10);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), 0);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), 0);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), 1); /* half closed only */
	r->f.conn_flags |= CDC_CONN_CLOSED;
	fake_cdc(&r->f);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), 0);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ECONNRESET);
	assert_int_equal(smcdu_shutdown(r->ch), -ECONNRESET);
}

static void test_abort_comes_after_the_bytes(void **state)
{
	struct rig *r = *state;

	r->f.conn_flags = CDC_ABNORMAL | CDC_SENDING_DONE;
	fake_write(&r->f, 10);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ECONNRESET);
	assert_non_null(strstr(smcdu_last_error(), "guest-b"));
	must_recv(r, 10);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ECONNRESET);
	assert_true(smcdu_events(r->ch) & SMCDU_ERR);
}

static void test_daemon_error_comes_after_the_bytes(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel_stats st;

	fake_write(&r->f, 10);
	atomic_store(&r->f.ctl->error, ENODEV);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ENODEV);
	must_recv(r, 10);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ENODEV);
	atomic_store(&r->f.ctl->error, -5);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -EPROTO);
	atomic_store(&r->f.ctl->error, 70000);
	smcdu_channel_stats(r->ch, &st);
	assert_int_equal(st.error, EPROTO);
}

static void test_daemon_death(void **state)
{
	struct rig *r = *state;

	fake_write(&r->f, 10);
	fd_closep(&r->f.sock);
	must_recv(r, 10);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), -ENODEV);
	assert_non_null(strstr(smcdu_last_error(), "smcd-userd"));
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ENODEV);
	assert_int_equal(smcdu_flush(r->ch, 0), 0); /* nothing was sent */
}

/* Every impossible producer cursor ends the channel, after the bytes accepted before it. */
static void test_hostile_producer(void **state)
{
	const struct { uint16_t wrap; uint32_t add; } bad[] = {
		{ 0, SIZE },	   /* outside the ring */
		{ 0, UINT32_MAX },
		{ 2, 0 },	   /* skipped a turn */
		{ 0xffff, 5 },	   /* went back */
		{ 1, 8 },	   /* one more than fits: 5 read, 2 unread, then a turn and 1 */
		{ 0, 6 },	   /* behind the accepted 7 */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig *r = *state;
		struct smc_cursor c = { .wrap = bad[i].wrap, .count = bad[i].add };

		fake_write(&r->f, 7);
		must_recv(r, 5);
		fake_cdc_raw(&r->f, c, cursor_of(0, r->f.tx_n));
		assert_true(smcdu_events(r->ch) & SMCDU_ERR);
		must_recv(r, 2);
		assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ECONNRESET);
		assert_non_null(strstr(smcdu_last_error(), "impossible"));
		fake_cdc(&r->f); /* good behaviour comes too late */
		assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ECONNRESET);
		assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ECONNRESET);
		teardown(state);
		setup(state);
	}
}

/* An end that the application was told stays one, and nothing may follow it. */
static void test_the_end_stays(void **state)
{
	struct rig *r = *state;

	r->f.conn_flags = CDC_SENDING_DONE;
	fake_write(&r->f, 7);
	must_recv(r, 7);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), 0);
	r->f.conn_flags = 0;
	fake_cdc(&r->f);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), 0);
	assert_true(smcdu_events(r->ch) & SMCDU_HUP);
	fake_write(&r->f, 1);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_DONTWAIT), -ECONNRESET);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, SMCDU_DONTWAIT), -ECONNRESET);
}

/* What was peeked or reserved is void once another call took it. */
static void test_void_windows(void **state)
{
	struct rig *r = *state;
	const void *data;
	void *space;
	size_t len;

	fake_write(&r->f, 10);
	assert_int_equal(smcdu_peek(r->ch, &data, &len, 0), 0);
	must_recv(r, 10);
	assert_int_equal(smcdu_release(r->ch, 1), -EINVAL);
	assert_int_equal(atomic_load(&r->f.ctl->rx_pos), 10);
	assert_int_equal(smcdu_reserve(r->ch, &space, &len, 0), 0);
	pattern_fill(r->buf, 0, r->f.tx_n);
	assert_int_equal(smcdu_send(r->ch, r->buf, r->f.tx_n, 0), r->f.tx_n);
	assert_int_equal(smcdu_commit(r->ch, 1), -EINVAL);
	assert_int_equal(atomic_load(&r->f.ctl->tx_pos), r->f.tx_n);
}

static void test_largest_advance_is_accepted(void **state)
{
	struct rig *r = *state;

	fake_write(&r->f, 7);
	must_recv(r, 5);
	fake_write(&r->f, r->f.rx_n - 2); /* exactly full */
	must_recv(r, r->f.rx_n);
}

static void test_hostile_consumer(void **state)
{
	for (uint32_t acked = 11; acked < 14; acked++) {
		struct rig *r = *state;

		pattern_fill(r->buf, 0, 10);
		assert_int_equal(smcdu_send(r->ch, r->buf, 10, 0), 10);
		fake_cdc_raw(&r->f, cursor_of(0, r->f.rx_n), cursor_of(10, r->f.tx_n));
		assert_int_equal(smcdu_send(r->ch, r->buf, 0, 0), 0);
		assert_int_equal(smcdu_events(r->ch) & SMCDU_ERR, 0);
		fake_cdc_raw(&r->f, cursor_of(0, r->f.rx_n), cursor_of(acked, r->f.tx_n));
		assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), -ECONNRESET);
		assert_non_null(strstr(smcdu_last_error(), "acknowledged"));
		assert_int_equal(smcdu_recv(r->ch, r->buf, 1, 0), -ECONNRESET);
		smcdu_close(r->ch);
		assert_int_equal(fake_message(&r->f), CHAN_ABORT);
		r->ch = NULL;
		teardown(state);
		setup(state);
	}
}

static void test_bell(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_send(r->ch, "x", 1, 0), 1);
	assert_int_equal(fake_message(&r->f), -EAGAIN); /* the daemon is awake */
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_send(r->ch, "x", 1, 0), 1);
	assert_int_equal(smcdu_send(r->ch, "x", 1, 0), 1);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	assert_int_equal(atomic_load(&r->f.ctl->bell), 0);
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_shutdown(r->ch), 0);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	assert_int_equal(atomic_load(&r->f.ctl->app_flags), CHAN_SHUT_WR);
	assert_int_equal(smcdu_send(r->ch, "x", 1, 0), -EPIPE);
	assert_int_equal(smcdu_shutdown(r->ch), -EPIPE);
}

/* A reader rings when the peer must be told, and not for every byte. */
static void test_reader_rings_when_due(void **state)
{
	struct rig *r = *state;

	atomic_store(&r->f.ctl->bell, 1);
	fake_write(&r->f, 100);
	must_recv(r, 100);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	fake_write(&r->f, r->f.rx_n - 100); /* the peer knows no free byte now */
	must_recv(r, 2204);
	assert_int_equal(fake_message(&r->f), -EAGAIN); /* 2304 untold: the limit */
	must_recv(r, 1);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
}

static void test_farewells(void **state)
{
	struct rig *r = *state;

	/* An unread wake-up must not hide the farewell behind ECONNRESET. */
	atomic_store(&r->f.ctl->app_wait, CHAN_WAIT_RX);
	fake_wake(&r->f, CHAN_WAIT_RX);
	smcdu_close(r->ch);
	assert_int_equal(fake_message(&r->f), CHAN_CLOSE);
	assert_int_equal(fake_message(&r->f), 0);
	r->ch = NULL;
	teardown(state);
	setup(state);
	r = *state;
	smcdu_abort(r->ch);
	assert_int_equal(fake_message(&r->f), CHAN_ABORT);
	assert_int_equal(fake_message(&r->f), 0);
	r->ch = NULL;
	smcdu_close(NULL);
	smcdu_abort(NULL);
}

static void test_flush(void **state)
{
	struct rig *r = *state;

	pattern_fill(r->buf, 0, 10);
	assert_int_equal(smcdu_send(r->ch, r->buf, 10, 0), 10);
	assert_int_equal(smcdu_flush(r->ch, 20), -ETIMEDOUT);
	assert_int_equal(fake_take(&r->f, 9), 9);
	assert_int_equal(smcdu_flush(r->ch, 0), -ETIMEDOUT);
	assert_int_equal(fake_take(&r->f, 9), 1);
	assert_int_equal(smcdu_flush(r->ch, UINT32_MAX), 0);
	pattern_fill(r->buf, 10, 1);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, 0), 1);
	fd_closep(&r->f.sock);
	assert_int_equal(smcdu_flush(r->ch, UINT32_MAX), -ENODEV);
}

static int child_calls(struct rig *r)
{
	size_t len;
	void *p;

	if (smcdu_send(r->ch, "x", 1, 0) != -EPERM || smcdu_recv(r->ch, r->buf, 1, 0) != -EPERM ||
	    smcdu_reserve(r->ch, &p, &len, 0) != -EPERM || smcdu_events(r->ch) != -EPERM ||
	    smcdu_channel_fd(r->ch) != -EPERM || smcdu_shutdown(r->ch) != -EPERM ||
	    smcdu_set_events(r->ch, SMCDU_IN) != -EPERM || smcdu_flush(r->ch, 0) != -EPERM ||
	    smcdu_set_spin(r->ch, 0) != -EPERM || smcdu_commit(r->ch, 0) != -EPERM ||
	    smcdu_release(r->ch, 0) != -EPERM)
		return 1;
	smcdu_close(r->ch); /* only frees */
	return 0;
}

static void test_fork(void **state)
{
	struct rig *r = *state;
	struct smcdu_ctx *ctx;
	int status = -1;
	pid_t pid;

	assert_int_equal(smcdu_open(NULL, &ctx), 0); /* watches forks from here */
	pid = fork();
	if (pid == 0)
		_exit(child_calls(r));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	fake_write(&r->f, 3);
	must_recv(r, 3);
	smcdu_close_ctx(ctx);
}

static void test_info_and_stats(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel_info info;
	struct smcdu_channel_stats st;

	smcdu_channel_info(r->ch, &info);
	assert_int_equal(info.rcvbuf, r->f.rx_n);
	assert_int_equal(info.sndbuf, r->f.tx_n);
	assert_int_equal(info.path, SMCDU_PATH_MEDIATED);
	assert_string_equal(info.peer, "guest-b");
	fake_write(&r->f, 30);
	must_recv(r, 20);
	assert_int_equal(smcdu_send(r->ch, r->buf, 11, 0), 11);
	atomic_store(&r->f.ctl->state, 1);
	atomic_store(&r->f.ctl->pcistb, 5);
	smcdu_channel_stats(r->ch, &st);
	assert_int_equal(st.rx_bytes, 20);
	assert_int_equal(st.tx_bytes, 11);
	assert_int_equal(st.rx_calls, 1);
	assert_int_equal(st.tx_calls, 1);
	assert_int_equal(st.pcistb, 5);
	assert_int_equal(st.error, 0);
	assert_string_equal(smcdu_state_name(st.state), "ACTIVE");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_recv_over_many_turns),
		cmocka_unit_test_setup_teardown(test_recv_over_many_turns, setup_little, teardown),
		T(test_send_over_many_turns),
		cmocka_unit_test_setup_teardown(test_send_over_many_turns, setup_little, teardown),
		T(test_vectors), T(test_zero_copy), T(test_end_comes_after_the_bytes),
		T(test_abort_comes_after_the_bytes), T(test_daemon_error_comes_after_the_bytes),
		T(test_daemon_death), T(test_hostile_producer), T(test_the_end_stays),
		T(test_void_windows), T(test_largest_advance_is_accepted),
		T(test_hostile_consumer), T(test_bell), T(test_reader_rings_when_due),
		T(test_farewells), T(test_flush), T(test_fork), T(test_info_and_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
