/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "vfio/base/fd.h"

/*
 * What a fabric and its guests can do to each other short of lying: hang, lose events, refuse
 * stores, break, go and come back, start anew at the same moment. Every channel ends in a clear
 * error or goes on; what arrived is an exact prefix of what was sent; afterwards everything works
 * again.
 */
static struct guests g;

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

static void fabric(const char *line)
{
	char dir[96];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%s/fabric", g.dir);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fclose(stdout);
		execl(guests_program("ISM_FABRICD"), "ism-fabricd", "--dir", dir, "--command", line,
			NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- data in flight ---- */

struct end {
	struct smcdu_channel *ch;
	uint32_t stream;
	_Atomic uint64_t bytes;
	ssize_t error; /* what ended it */
	bool differs;
};

struct flow {
	struct end tx, rx;
	pthread_t tx_thread, rx_thread;
	volatile bool stop;
};

static void *receive(void *arg)
{
	struct end *e = &((struct flow *)arg)->rx;
	uint8_t buf[30000];
	ssize_t n;

	while ((n = smcdu_recv(e->ch, buf, sizeof(buf), 0)) > 0) {
		if (pattern_check(buf, (size_t)n, e->stream, e->bytes) != (size_t)n)
			e->differs = true;
		e->bytes += (uint64_t)n;
	}
	e->error = n;
	return NULL;
}

static void *transmit(void *arg)
{
	struct flow *f = arg;
	struct end *e = &f->tx;
	uint8_t buf[30000];
	ssize_t n = 1;

	while (n > 0 && !f->stop) {
		pattern_fill(buf, sizeof(buf), e->stream, e->bytes);
		n = smcdu_send(e->ch, buf, sizeof(buf), 0);
		e->bytes += n > 0 ? (uint64_t)n : 0;
	}
	e->error = n > 0 ? 0 : n;
	if (n > 0)
		smcdu_shutdown(e->ch);
	return NULL;
}

static void flow_start(struct flow *f, int from, uint32_t stream)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;

	*f = (struct flow){ .tx.stream = stream, .rx.stream = stream };
	guests_connect(&g, from, "flow", &f->tx.ch, &f->rx.ch);
	pthread_create(&f->tx_thread, NULL, transmit, f);
	pthread_create(&f->rx_thread, NULL, receive, f);
	while (f->rx.bytes == 0 && clock_ns() < end)
		sleep_ms(1);
	sleep_ms(50);
}

static void join_or_hang(pthread_t t, const char *who)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += HANG_MS / 1000;
	if (pthread_timedjoin_np(t, NULL, &ts))
		fail_msg("%s hangs", who);
}

static void flow_end(struct flow *f)
{
	join_or_hang(f->tx_thread, "the sender");
	join_or_hang(f->rx_thread, "the receiver");
	assert_false(f->rx.differs);
	if (f->rx.bytes == 0 || f->rx.bytes > f->tx.bytes)
		fail_msg("%llu bytes of %llu arrived", (unsigned long long)f->rx.bytes,
			(unsigned long long)f->tx.bytes);
	smcdu_close(f->tx.ch);
	smcdu_close(f->rx.ch);
}

/* It must not have noticed anything. */
static void flow_survives(struct flow *f)
{
	f->stop = true;
	flow_end(f);
	assert_int_equal(f->tx.error, 0);
	assert_int_equal(f->rx.error, 0);
	assert_int_equal(f->rx.bytes, f->tx.bytes);
}

/* Both ends must have been told. */
static void flow_breaks(struct flow *f)
{
	flow_end(f);
	assert_true(f->tx.error == -ENODEV || f->tx.error == -ECONNRESET);
	assert_true(f->rx.error == -ENODEV || f->rx.error == -ECONNRESET);
}

/* Connects as often as it takes. Every failure has an errno and a reason. */
static struct smcdu_channel *connect_patiently(int from, const char *target)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct smcdu_channel *ch = NULL;
	int r;

	while ((r = smcdu_connect(g.ctx[from], target, &ch)) < 0) {
		assert_true(strlen(smcdu_last_error()) > 0);
		if (clock_ns() > end)
			fail_msg("%s: %s: %s", target, strerror(-r), smcdu_last_error());
		sleep_ms(20);
	}
	return ch;
}

static void expect_recovers(int from)
{
	const char *target = from == GUEST_A ? "back@guest-b" : "back@guest-a";
	struct smcdu_channel *c, *s = NULL;
	struct smcdu_listener *l;
	uint64_t tx = 0, rx = 0;
	char byte;

	assert_int_equal(smcdu_listen(g.ctx[!from], "back", 0, &l), 0);
	c = connect_patiently(from, target);
	/* attempts that failed late may be in front */
	while (!s) {
		assert_int_equal(smcdu_accept(l, 0, &s), 0);
		pattern_send(c, 41, &tx, tx ? 0 : 1000);
		if (smcdu_recv(s, &byte, 1, 0) != 1) {
			smcdu_close(s);
			s = NULL;
		}
	}
	assert_int_equal((uint8_t)byte, pattern_byte(41, 0));
	rx = 1;
	pattern_recv(s, 41, &rx, 999);
	smcdu_close(c);
	smcdu_close(s);
	smcdu_listener_free(l);
}

/* ... and @others channels stay. */
static void expect_all_works_beside(int others)
{
	expect_recovers(GUEST_A);
	expect_recovers(GUEST_B);
	guests_wait_stat(&g, GUEST_A, "channels", others);
	guests_wait_stat(&g, GUEST_B, "channels", others);
}

static void expect_all_works(void)
{
	expect_all_works_beside(0);
}

/* ---- the fabric ---- */

static void restart(int guest)
{
	guests_kill(&g.daemon[guest], SIGKILL);
	guests_start_daemon(&g, guest, NULL);
}

static void test_fabric_hangs(void **state)
{
	struct flow f;

	flow_start(&f, GUEST_A, 1);
	kill(g.fabric, SIGSTOP);
	flow_breaks(&f);
	/* the daemons answer all the while */
	assert_int_equal(guests_stat(&g, GUEST_A, "channels"), 0);
	assert_int_equal(guests_stat(&g, GUEST_B, "channels"), 0);
	kill(g.fabric, SIGCONT);
	expect_all_works();

	flow_start(&f, GUEST_B, 2);
	kill(g.fabric, SIGSTOP);
	flow_breaks(&f);
	guests_kill(&g.fabric, SIGKILL);
	guests_start_fabric(&g);
	expect_all_works();
}

static void test_stores_fail(void **state)
{
	static const char *const lines[] = { "fault 0 fail-store 1", "fault 1 fail-store 1",
		"fault 0 fail-store 40", "fault 0 fail-command 1", "fault 1 fail-load 1" };
	struct flow f;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		flow_start(&f, (int)i & 1, 3);
		fabric(lines[i]);
		/* it hits the stream, or something beside it */
		sleep_ms(50);
		f.stop = true;
		flow_end(&f);
		if (f.tx.error == 0 && f.rx.error == 0)
			assert_int_equal(f.rx.bytes, f.tx.bytes);
		fabric("clear 0");
		fabric("clear 1");
		expect_all_works();
	}
}

static void test_error_state(void **state)
{
	struct flow f;

	for (int fn = 0; fn < 2; fn++) {
		flow_start(&f, GUEST_A, 4);
		fabric(fn ? "fault 1 error" : "fault 0 error");
		flow_breaks(&f);
		fabric(fn ? "clear 1" : "clear 0");
		expect_all_works();
	}
}

static void test_unplug(void **state)
{
	struct smcdu_channel *ch;
	struct flow f;

	for (int fn = 0; fn < 2; fn++) {
		flow_start(&f, GUEST_A, 5);
		fabric(fn ? "fault 1 unplug" : "fault 0 unplug");
		flow_breaks(&f);
		assert_int_not_equal(smcdu_connect(g.ctx[GUEST_A], "none@guest-b", &ch), 0);
		assert_true(strlen(smcdu_last_error()) > 0);
		fabric(fn ? "clear 1" : "clear 0");
		expect_all_works();
	}
}

static void test_slow_replies(void **state)
{
	struct flow f;

	flow_start(&f, GUEST_A, 6);
	fabric("fault 0 slow 30");
	sleep_ms(300);
	fabric("fault 1 slow 30");
	sleep_ms(300);
	fabric("clear 0");
	fabric("clear 1");
	flow_survives(&f);
	expect_all_works();
}

/* Functions that take their time with each command. */
static void test_slow_commands(void **state)
{
	struct flow f;

	flow_start(&f, GUEST_A, 9);
	fabric("knob command_delay_ms 10");
	fabric("knob query_rgid_delay_ms 100");
	expect_all_works_beside(1);
	flow_survives(&f);
	restart(GUEST_A); /* then the peer is asked for anew */
	expect_all_works();
	fabric("knob command_delay_ms 0");
	fabric("knob query_rgid_delay_ms 0");
}

/* ---- the rendezvous ---- */

/* A new daemon has a new token while the other may still believe in the old one. */
static void test_daemon_restarts_at_once(void **state)
{
	struct flow f;

	for (int i = 0; i < 6; i++) {
		flow_start(&f, i & 1, 7);
		restart(i >> 1 & 1);
		flow_breaks(&f);
		expect_recovers(i & 1);
		expect_recovers(!(i & 1));
	}
	restart(GUEST_A);
	restart(GUEST_B);
	expect_all_works();
}

static void test_events_are_lost(void **state)
{
	struct flow f;

	/* the peer's end is not announced, and the first offers of the new one are lost */
	for (int guest = 0; guest < 2; guest++) {
		flow_start(&f, GUEST_A, 8);
		fabric(guest ? "fault 0 drop-events 5" : "fault 1 drop-events 5");
		restart(guest);
		fabric(guest ? "fault 1 drop-events 3" : "fault 0 drop-events 3");
		expect_recovers(guest);
		expect_recovers(!guest);
		flow_breaks(&f);
		fabric("clear 0");
		fabric("clear 1");
	}
	expect_all_works();
}

/*
 * A guest vanishes and the fabric says nothing of it. Its peers are quiet: one waits for data, one for
 * space. Neither would ever store anything again.
 */
static void test_peer_vanishes(void **state)
{
	uint64_t until = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct smcdu_channel *idle, *idle_peer, *full, *full_peer;
	ssize_t idle_end, full_end;
	char buf[30000] = "";

	guests_connect(&g, GUEST_A, "idle", &idle, &idle_peer);
	guests_connect(&g, GUEST_A, "full", &full, &full_peer);
	while (smcdu_send(full, buf, sizeof(buf), SMCDU_DONTWAIT) > 0)
		; /* its peer reads nothing */
	fabric("knob unreg_events 0");
	fabric("knob death_events 0");
	guests_kill(&g.daemon[GUEST_B], SIGKILL);
	do {
		sleep_ms(20);
		idle_end = smcdu_recv(idle, buf, sizeof(buf), SMCDU_DONTWAIT);
		full_end = smcdu_send(full, buf, sizeof(buf), SMCDU_DONTWAIT);
	} while ((idle_end == -EAGAIN || full_end == -EAGAIN) && clock_ns() < until);
	assert_int_equal(idle_end, -ECONNRESET);
	assert_int_equal(full_end, -ECONNRESET);
	smcdu_close(idle);
	smcdu_close(full);
	smcdu_close(idle_peer);
	smcdu_close(full_peer);
	fabric("knob unreg_events 1");
	fabric("knob death_events 1");
	guests_start_daemon(&g, GUEST_B, NULL);
	expect_all_works();
}

struct caller {
	int from;
	pthread_barrier_t *start;
};

static void *call(void *arg)
{
	struct caller *c = arg;

	pthread_barrier_wait(c->start);
	smcdu_close(
		connect_patiently(c->from, c->from == GUEST_A ? "cross@guest-b" : "cross@guest-a"));
	return NULL;
}

/* Both offer at the same instant, each time from nothing. */
static void test_crossing_offers(void **state)
{
	for (int i = 0; i < 12; i++) {
		struct smcdu_listener *l[2];
		pthread_barrier_t start;
		struct caller c[2];
		pthread_t t[2];

		restart(GUEST_A);
		restart(GUEST_B);
		pthread_barrier_init(&start, NULL, 2);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(smcdu_listen(g.ctx[k], "cross", 0, &l[k]), 0);
			c[k] = (struct caller){ .from = k, .start = &start };
			pthread_create(&t[k], NULL, call, &c[k]);
		}
		for (int k = 0; k < 2; k++)
			join_or_hang(t[k], "a connecting application");
		for (int k = 0; k < 2; k++)
			smcdu_listener_free(l[k]);
		pthread_barrier_destroy(&start);
	}
	expect_all_works();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stores_fail),
		cmocka_unit_test(test_error_state),
		cmocka_unit_test(test_unplug),
		cmocka_unit_test(test_slow_replies),
		cmocka_unit_test(test_slow_commands),
		cmocka_unit_test(test_daemon_restarts_at_once),
		cmocka_unit_test(test_events_are_lost),
		cmocka_unit_test(test_peer_vanishes),
		cmocka_unit_test(test_crossing_offers),
		cmocka_unit_test(test_fabric_hangs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
