/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct guests g;
static const char *loop = "auto";

static int setup(void **state)
{
	const char *const extra[] = { "--loop", loop, NULL };

	guests_start(&g, extra);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g);
	return 0;
}

struct job {
	struct smcdu_channel *ch;
	uint32_t stream;
	uint64_t bytes;
};

static void *send_job(void *arg)
{
	struct job *j = arg;
	uint64_t pos = 0;

	pattern_send(j->ch, j->stream, &pos, j->bytes);
	assert_int_equal(smcdu_shutdown(j->ch), 0);
	return NULL;
}

/* Both directions at once, one thread each per channel end: the library's promise about threads. */
static void test_both_ways(void **state)
{
	struct smcdu_channel *a, *b;
	struct job ja, jb;
	uint64_t pos = 0;
	pthread_t ta, tb;
	char c;

	guests_connect(&g, GUEST_A, "both", &a, &b);
	ja = (struct job){ a, 1, 20000003 };
	jb = (struct job){ b, 2, 20000003 };
	pthread_create(&ta, NULL, send_job, &ja);
	pthread_create(&tb, NULL, send_job, &jb);
	pattern_recv(b, 1, &pos, ja.bytes);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	pos = 0;
	pattern_recv(a, 2, &pos, jb.bytes);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), 0);
	pthread_join(ta, NULL);
	pthread_join(tb, NULL);
	smcdu_close(a);
	smcdu_close(b);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

/* Every size around the lines that matter: words, pages, the ring. */
static void test_sizes(void **state)
{
	static const size_t sizes[] = { 1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 4063, 4064, 4065, 4095,
		4096, 4097, 8191, 65503, 65504, 65505, 65536, 131072, 1000003 };
	struct smcdu_channel *a, *b;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct job j;
		uint64_t rx = 0;
		pthread_t t;
		char c;

		guests_connect(&g, GUEST_B, "sizes", &a, &b);
		j = (struct job){ a, 3, sizes[i] * 3 };
		pthread_create(&t, NULL, send_job, &j);
		for (int turn = 0; turn < 3; turn++)
			pattern_recv(b, 3, &rx, sizes[i]);
		assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
		pthread_join(t, NULL);
		smcdu_close(a);
		smcdu_close(b);
	}
}

static void test_zero_copy(void **state)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;
	const uint64_t total = 3000000;

	guests_connect(&g, GUEST_A, "zero", &a, &b);
	while (rx < total) {
		const void *in;
		void *out;
		size_t n;
		int r = tx < total ? smcdu_reserve(a, &out, &n, SMCDU_DONTWAIT) : -EAGAIN;

		if (r == 0) {
			n = n > total - tx ? (size_t)(total - tx) : n;
			n = n > 5000 ? 5000 : n;
			pattern_fill(out, n, 5, tx);
			assert_int_equal(smcdu_commit(a, n), 0);
			tx += n;
		} else {
			assert_int_equal(r, -EAGAIN);
		}
		r = smcdu_peek(b, &in, &n, tx == rx ? SMCDU_DONTWAIT : 0);
		if (r == -EAGAIN)
			continue;
		assert_int_equal(r, 0);
		assert_int_equal(pattern_check(in, n, 5, rx), n);
		assert_int_equal(smcdu_release(b, n + 1), -EINVAL);
		assert_int_equal(smcdu_release(b, n), 0);
		rx += n;
	}
	smcdu_close(a);
	smcdu_close(b);
}

/* A reader that takes one byte per poll() must see every byte: readiness is level-triggered. */
static void test_poll_level(void **state)
{
	struct smcdu_channel *a, *b;
	struct pollfd pfd;
	uint64_t tx = 0, rx = 0;

	guests_connect(&g, GUEST_A, "poll", &a, &b);
	pfd = (struct pollfd){ .fd = smcdu_channel_fd(b), .events = POLLIN };
	/* once it was asked and found empty, the descriptor is quiet */
	assert_int_equal(smcdu_recv(b, &(uint8_t){ 0 }, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	for (int i = 0; i < 20; i++) {
		pattern_send(a, 6, &tx, 50);
		while (rx < tx) {
			uint8_t c;
			ssize_t r;

			assert_int_equal(poll(&pfd, 1, HANG_MS), 1);
			r = smcdu_recv(b, &c, 1, SMCDU_DONTWAIT);
			if (r == -EAGAIN)
				continue;
			assert_int_equal(r, 1);
			assert_int_equal(c, pattern_byte(6, rx));
			rx++;
		}
	}
	/* the end is an event, too */
	assert_int_equal(smcdu_recv(b, &(uint8_t){ 0 }, 1, SMCDU_DONTWAIT), -EAGAIN);
	smcdu_close(a);
	assert_int_equal(poll(&pfd, 1, HANG_MS), 1);
	while (smcdu_recv(b, &(uint8_t){ 0 }, 1, SMCDU_DONTWAIT) == -EAGAIN)
		assert_int_equal(poll(&pfd, 1, HANG_MS), 1);
	assert_true(smcdu_events(b) & SMCDU_HUP);
	smcdu_close(b);
}

static void test_poll_writable(void **state)
{
	struct smcdu_channel *a, *b;
	struct pollfd pfd;
	uint8_t buf[10000];
	uint64_t tx = 0, rx = 0;
	ssize_t r;

	guests_connect(&g, GUEST_A, "pollout", &a, &b);
	pfd = (struct pollfd){ .fd = smcdu_channel_fd(a), .events = POLLIN };
	assert_int_equal(smcdu_set_events(a, SMCDU_OUT), 0);
	assert_true(smcdu_events(a) & SMCDU_OUT);
	for (;;) {
		pattern_fill(buf, sizeof(buf), 7, tx);
		r = smcdu_send(a, buf, sizeof(buf), SMCDU_DONTWAIT);
		if (r == -EAGAIN)
			break;
		assert_true(r > 0);
		tx += (uint64_t)r;
	}
	assert_int_equal(smcdu_events(a) & SMCDU_OUT, 0);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	pattern_recv(b, 7, &rx, (size_t)tx);
	do {
		assert_int_equal(poll(&pfd, 1, HANG_MS), 1);
	} while (!(smcdu_events(a) & SMCDU_OUT));
	smcdu_close(a);
	smcdu_close(b);
}

/* close() returns at once; what was sent arrives although the sender is gone. */
static void test_close_delivers(void **state)
{
	struct smcdu_channel *a, *b;
	struct smcdu_channel_info info;
	struct smcdu_channel_stats st;
	uint64_t tx = 0, rx = 0;
	char c;

	guests_connect(&g, GUEST_A, "deliver", &a, &b);
	smcdu_channel_info(a, &info);
	assert_int_equal(info.path,
		guests_attached() ? SMCDU_PATH_ATTACHED : SMCDU_PATH_MEDIATED);
	assert_string_equal(info.peer, "guest-b");
	assert_string_equal(info.service, "deliver");
	assert_int_equal(info.peer_gid, 0x1d15000000000002);
	pattern_send(a, 8, &tx, info.sndbuf);
	assert_int_equal(smcdu_flush(a, HANG_MS), 0);
	smcdu_channel_stats(a, &st);
	assert_int_equal(st.tx_bytes, tx);
	assert_int_equal(st.tx_sent, tx);
	assert_int_equal(st.pcistb > 1, !guests_attached());
	smcdu_close(a);
	pattern_recv(b, 8, &rx, (size_t)tx);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	smcdu_close(b);
}

static void test_abort_and_unread(void **state)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;
	ssize_t r;
	char c;

	guests_connect(&g, GUEST_A, "abort", &a, &b);
	pattern_send(a, 9, &tx, 100);
	pattern_recv(b, 9, &rx, 100);
	smcdu_abort(b);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), -ECONNRESET);
	do {
		r = smcdu_send(a, "x", 1, 0);
	} while (r == 1);
	assert_true(r == -ECONNRESET || r == -EPIPE);
	smcdu_close(a);

	/* closing with unread data aborts, as SMC does */
	guests_connect(&g, GUEST_A, "unread", &a, &b);
	tx = 0;
	pattern_send(a, 9, &tx, 100);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 1);
	smcdu_close(b);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), -ECONNRESET);
	smcdu_close(a);
}

struct bulk {
	struct smcdu_channel *tx, *rx;
	atomic_bool stop;
	_Atomic uint64_t got;
};

static void *bulk_send(void *arg)
{
	static const uint8_t block[65536];
	struct bulk *k = arg;

	while (!atomic_load(&k->stop))
		assert_int_equal(smcdu_send(k->tx, block, sizeof(block), 0), sizeof(block));
	smcdu_shutdown(k->tx);
	return NULL;
}

static void *bulk_recv(void *arg)
{
	static uint8_t block[65536];
	struct bulk *k = arg;
	ssize_t n;

	while ((n = smcdu_recv(k->rx, block, sizeof(block), 0)) > 0)
		k->got += (uint64_t)n;
	return NULL;
}

/* A ping-pong beside a sender that never pauses: both go on. */
static void test_fair(void **state)
{
	struct smcdu_channel *a, *b;
	struct bulk k = { 0 };
	pthread_t tt, tr;

	guests_connect(&g, GUEST_A, "bulk", &k.tx, &k.rx);
	guests_connect(&g, GUEST_A, "ping", &a, &b);
	pthread_create(&tt, NULL, bulk_send, &k);
	pthread_create(&tr, NULL, bulk_recv, &k);
	/* Attached and in one thread, the ping-pong alone would be over before the other starts. */
	for (int i = 0; i < 500 || k.got <= 65536; i++) {
		uint8_t c = (uint8_t)i;

		assert_int_equal(smcdu_send(a, &c, 1, 0), 1);
		assert_int_equal(smcdu_recv(b, &c, 1, 0), 1);
		assert_int_equal(smcdu_send(b, &c, 1, 0), 1);
		assert_int_equal(smcdu_recv(a, &c, 1, 0), 1);
		assert_int_equal(c, (uint8_t)i);
	}
	atomic_store(&k.stop, true);
	pthread_join(tt, NULL);
	pthread_join(tr, NULL);
	smcdu_close(a);
	smcdu_close(b);
	smcdu_close(k.tx);
	smcdu_close(k.rx);
}

/* Lines of 4 KiB that a message lies in at the peer, behind the CDC block. */
static uint64_t lines_of(uint64_t pos, uint64_t len, uint64_t ring)
{
	uint64_t at = pos % ring, first = at + len > ring ? ring - at : len;
	uint64_t n = (32 + at + first - 1) / 4096 - (32 + at) / 4096 + 1;

	return first < len ? n + (32 + len - first - 1) / 4096 + 1 : n;
}

/* Waits until the channel has cost so many PCISTBs; it may not be more. */
static void expect_stores(struct smcdu_channel *ch, uint64_t n)
{
	struct smcdu_channel_stats st;

	for (int i = 0; i < HANG_MS; i++) {
		smcdu_channel_stats(ch, &st);
		if (st.pcistb == n && i > 0)
			return;
		if (st.pcistb > n)
			break;
		sleep_ms(1);
	}
	fail_msg("%llu PCISTBs instead of %llu", (unsigned long long)st.pcistb,
		(unsigned long long)n);
}

/*
 * A message to and fro costs each side the lines that it lies in and one CDC block, in which what was
 * received is acknowledged, too.
 */
static void test_stores(void **state)
{
	static const size_t sizes[] = { 1, 8, 64, 512, 4096, 30000 };
	uint64_t tx = 0, rx = 0, back = 0, got = 0, expected[2] = { 0 }, ring[2];
	struct smcdu_channel *a, *b;
	struct smcdu_channel_info info;

	if (guests_attached())
		skip();
	guests_connect(&g, GUEST_A, "stores", &a, &b);
	smcdu_channel_info(a, &info);
	ring[0] = info.sndbuf;
	smcdu_channel_info(b, &info);
	ring[1] = info.sndbuf;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int k = 0; k < 40; k++) {
			expected[0] += lines_of(tx, sizes[i], ring[0]) + 1;
			pattern_send(a, 1, &tx, sizes[i]);
			pattern_recv(b, 1, &rx, sizes[i]);
			expected[1] += lines_of(back, sizes[i], ring[1]) + 1;
			pattern_send(b, 2, &back, sizes[i]);
			pattern_recv(a, 2, &got, sizes[i]);
		}
		expect_stores(a, expected[0]);
		expect_stores(b, expected[1]);
	}
	smcdu_close(a);
	smcdu_close(b);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_zero_copy),
		cmocka_unit_test(test_poll_level),
		cmocka_unit_test(test_poll_writable),
		cmocka_unit_test(test_close_delivers),
		cmocka_unit_test(test_abort_and_unread),
		cmocka_unit_test(test_fair),
		cmocka_unit_test(test_stores),
	};

	if (argc > 1)
		loop = argv[1];
	return cmocka_run_group_tests(tests, setup, teardown);
}
