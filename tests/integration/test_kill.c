/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/*
 * kill -9 of an application, a daemon, the fabric while data flows: whoever remains gets a clear
 * error, never a hang, and what was delivered is an exact prefix of what was sent.
 */
static struct guests g;

/* Several times around the 256 KiB ring. */
#define FLOWING (1U << 20)

static int setup(void **state)
{
	guests_start(&g, NULL);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g);
	return 0;
}

struct reader {
	struct smcdu_channel *ch;
	uint32_t stream;
	_Atomic uint64_t got;
	ssize_t end;
	bool differs;
};

static void *read_to_end(void *arg)
{
	struct reader *r = arg;
	uint8_t buf[30000];
	ssize_t n;

	while ((n = smcdu_recv(r->ch, buf, sizeof(buf), 0)) > 0) {
		if (pattern_check(buf, (size_t)n, r->stream, r->got) != (size_t)n)
			r->differs = true;
		r->got += (uint64_t)n;
	}
	r->end = n;
	return NULL;
}

/* Sends until it fails; returns the error. */
static ssize_t send_to_end(struct smcdu_channel *ch, uint32_t stream)
{
	uint8_t buf[30000];
	uint64_t pos = 0;
	ssize_t n;

	do {
		pattern_fill(buf, sizeof(buf), stream, pos);
		n = smcdu_send(ch, buf, sizeof(buf), 0);
		pos += n > 0 ? (uint64_t)n : 0;
	} while (n > 0);
	return n;
}

static void *send_thread(void *arg)
{
	struct reader *r = arg;

	r->end = send_to_end(r->ch, r->stream);
	return NULL;
}

/* Data is in full flow before anything is killed, however slow the machine. */
static void wait_flowing(const struct reader *r)
{
	for (int i = 0; i < HANG_MS && r->got < FLOWING; i++)
		sleep_ms(1);
	assert_true(r->got >= FLOWING);
}

static void join_or_hang(pthread_t t, const char *who)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += HANG_MS / 1000;
	if (pthread_timedjoin_np(t, NULL, &ts))
		fail_msg("%s hangs", who);
}

/* The sending application is a process of its own and dies in the middle. */
static void test_kill_application(void **state)
{
	for (int i = 0; i < 5; i++) {
		struct smcdu_listener *l;
		struct reader r = { .stream = 11 };
		pthread_t t;
		pid_t app;

		assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "killapp", 1, &l), 0);
		app = fork();
		assert_true(app >= 0);
		if (app == 0) {
			struct smcdu_settings s;
			struct smcdu_channel *ch;
			struct smcdu_ctx *ctx;

			smcdu_default_settings(&s);
			s.socket_path = g.socket[GUEST_A];
			if (smcdu_open(&s, &ctx) || smcdu_connect(ctx, "killapp@guest-b", &ch))
				_exit(1);
			send_to_end(ch, 11);
			_exit(2);
		}
		assert_int_equal(smcdu_accept(l, 0, &r.ch), 0);
		pthread_create(&t, NULL, read_to_end, &r);
		wait_flowing(&r);
		sleep_ms(3 * (unsigned int)i);
		guests_kill(&app, SIGKILL);
		join_or_hang(t, "the reader");
		assert_false(r.differs);
		assert_int_equal(r.end, -ECONNRESET);
		smcdu_close(r.ch);
		smcdu_listener_free(l);
		guests_wait_stat(&g, GUEST_A, "channels", 0);
		guests_wait_stat(&g, GUEST_B, "channels", 0);
	}
}

/* Data flows both ways through two channels while @victim dies. */
static void flow_and_kill(pid_t *victim, ssize_t a_end, ssize_t b_end)
{
	struct smcdu_channel *a, *b;
	struct reader tx, rx;
	pthread_t tt, tr;

	guests_connect(&g, GUEST_A, "kill", &a, &b);
	tx = (struct reader){ .ch = a, .stream = 12 };
	rx = (struct reader){ .ch = b, .stream = 12 };
	pthread_create(&tt, NULL, send_thread, &tx);
	pthread_create(&tr, NULL, read_to_end, &rx);
	wait_flowing(&rx);
	guests_kill(victim, SIGKILL);
	join_or_hang(tr, "the receiver");
	join_or_hang(tt, "the sender");
	assert_false(rx.differs);
	assert_int_equal(tx.end, a_end);
	assert_int_equal(rx.end, b_end);
	smcdu_close(a);
	smcdu_close(b);
}

static void test_kill_receiving_daemon(void **state)
{
	flow_and_kill(&g.daemon[GUEST_B], -ECONNRESET, -ENODEV);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
}

static void test_kill_sending_daemon(void **state)
{
	flow_and_kill(&g.daemon[GUEST_A], -ENODEV, -ECONNRESET);
	guests_start_daemon(&g, GUEST_A, NULL);
	guests_expect_works(&g);
}

static void test_kill_fabric(void **state)
{
	struct smcdu_channel *ch;
	int r = -1;

	flow_and_kill(&g.fabric, -ENODEV, -ENODEV);
	assert_int_not_equal(smcdu_connect(g.ctx[GUEST_A], "again@guest-b", &ch), 0);
	assert_true(strlen(smcdu_last_error()) > 0);

	/* a new fabric is found without restarting the daemons */
	guests_start_fabric(&g);
	for (int i = 0; i < 200 && r; i++) {
		struct smcdu_listener *l;

		assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "back", 1, &l), 0);
		r = smcdu_connect(g.ctx[GUEST_A], "back@guest-b", &ch);
		if (r)
			sleep_ms(100);
		else
			smcdu_close(ch);
		smcdu_listener_free(l);
	}
	assert_int_equal(r, 0);
	guests_expect_works(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_application),
		cmocka_unit_test(test_kill_receiving_daemon),
		cmocka_unit_test(test_kill_sending_daemon),
		cmocka_unit_test(test_kill_fabric),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
