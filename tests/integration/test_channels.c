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

#include "smcd/proto/cdc.h"
#include "vfio/base/fd.h"

/*
 * Many channels at once, each with its own bytes; then many connections after another. Afterwards
 * everything that a channel costs must have been given back: descriptors, mappings, DMBs, charges.
 */
enum { CHANNELS = 64 };

static struct guests g;
static int cycles = 1000;

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

static uint64_t stream_bytes(uint32_t stream)
{
	return 200000 + stream * 1009;
}

struct end {
	struct smcdu_channel *ch;
	uint32_t tx_stream, rx_stream;
	uint64_t tx, rx;
	bool shut, ended;
};

/* One turn of a non-blocking end; true while there is more to do. */
static bool turn(struct end *e)
{
	uint8_t buf[7000];
	uint64_t total = stream_bytes(e->tx_stream);
	ssize_t r;

	if (e->tx < total) {
		size_t n = total - e->tx < sizeof(buf) ? (size_t)(total - e->tx) : sizeof(buf);

		pattern_fill(buf, n, e->tx_stream, e->tx);
		r = smcdu_send(e->ch, buf, n, SMCDU_DONTWAIT);
		assert_true(r > 0 || r == -EAGAIN);
		e->tx += r > 0 ? (uint64_t)r : 0;
	} else if (!e->shut) {
		assert_int_equal(smcdu_shutdown(e->ch), 0);
		e->shut = true;
	}
	r = e->ended ? -EAGAIN : smcdu_recv(e->ch, buf, sizeof(buf), SMCDU_DONTWAIT);
	if (r == 0)
		e->ended = true;
	if (r > 0) {
		assert_int_equal(pattern_check(buf, (size_t)r, e->rx_stream, e->rx), r);
		e->rx += (uint64_t)r;
	}
	return !e->shut || !e->ended;
}

static void test_many_at_once(void **state)
{
	static struct end ends[2 * CHANNELS];
	struct pollfd pfd[2 * CHANNELS];
	bool busy = true;

	for (uint32_t i = 0; i < CHANNELS; i++) {
		struct end *c = &ends[2 * i], *s = &ends[2 * i + 1];

		guests_connect(&g, (int)(i & 1), "many", &c->ch, &s->ch);
		c->tx_stream = s->rx_stream = 2 * i;
		s->tx_stream = c->rx_stream = 2 * i + 1;
	}
	assert_int_equal(guests_stat(&g, GUEST_A, "channels"), CHANNELS);
	while (busy) {
		busy = false;
		for (int i = 0; i < 2 * CHANNELS; i++) {
			unsigned int want = SMCDU_IN;

			if (turn(&ends[i]))
				busy = true;
			want |= ends[i].tx < stream_bytes(ends[i].tx_stream) ? SMCDU_OUT : 0;
			assert_int_equal(smcdu_set_events(ends[i].ch, want), 0);
			pfd[i] = (struct pollfd){
				.fd = ends[i].ended ? -1 : smcdu_channel_fd(ends[i].ch),
				.events = POLLIN
			};
		}
		if (busy)
			assert_true(poll(pfd, 2 * CHANNELS, 50) >= 0);
	}
	for (int i = 0; i < 2 * CHANNELS; i++) {
		assert_int_equal(ends[i].rx, stream_bytes(ends[i].rx_stream));
		smcdu_close(ends[i].ch);
	}
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static uint64_t wakeups(void)
{
	return proc_wakeups(g.fabric) + proc_wakeups(g.daemon[0]) + proc_wakeups(g.daemon[1]);
}

/*
 * Nothing runs, nothing costs: with channels open and quiet nobody wakes up, so nobody uses CPU,
 * but for the sign of life that each daemon wants of its function every 10 s, 4 wake-ups together.
 */
static void test_idle(void **state)
{
	enum { QUIET = 16, ALLOWED = 2 * 4 + 3 };
	struct smcdu_channel *a[QUIET], *b[QUIET];
	uint64_t before, woken = 0;

	for (int i = 0; i < QUIET; i++) {
		uint64_t tx = 0, rx = 0;

		guests_connect(&g, GUEST_A, "idle", &a[i], &b[i]);
		pattern_send(a[i], 1, &tx, 100000);
		pattern_recv(b[i], 1, &rx, 100000);
	}
	/* On a busy machine it takes a while until everybody has seen that there is nothing. */
	for (int i = 0; i < 10; i++) {
		sleep_ms(500);
		before = wakeups();
		sleep_ms(3000);
		woken = wakeups() - before;
		if (woken <= ALLOWED)
			break;
	}
	assert_in_range(woken, 0, ALLOWED);
	for (int i = 0; i < QUIET; i++) {
		smcdu_close(a[i]);
		smcdu_close(b[i]);
	}
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

struct usage {
	unsigned int fds[3], maps[3];
	long rss[3];
};

static struct usage usage_now(void)
{
	pid_t pid[3] = { g.fabric, g.daemon[0], g.daemon[1] };
	struct usage u;

	for (int i = 0; i < 3; i++) {
		u.fds[i] = proc_fds(pid[i]);
		u.maps[i] = proc_maps(pid[i]);
		u.rss[i] = proc_rss_kib(pid[i]);
	}
	return u;
}

static void cycle(struct smcdu_listener *l, uint8_t n)
{
	struct smcdu_channel *a, *b;
	uint8_t c = 0;
	int r = smcdu_connect(g.ctx[GUEST_A], "churn@guest-b", &a);

	if (r)
		fail_msg("connect: %s: %s", strerror(-r), smcdu_last_error());
	assert_int_equal(smcdu_accept(l, 0, &b), 0);
	assert_int_equal(smcdu_send(a, &n, 1, 0), 1);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 1);
	assert_int_equal(c, n);
	n = (uint8_t)~n;
	assert_int_equal(smcdu_send(b, &n, 1, 0), 1);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), 1);
	assert_int_equal(c, n);
	smcdu_close(a);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	smcdu_close(b);
}

static uint32_t size_of(const struct smcdu_channel *ch)
{
	struct smcdu_channel_info info;

	smcdu_channel_info(ch, &info);
	return info.rcvbuf + CDC_SIZE;
}

/* Who asks for no size gets a large one while there are few, and what was asked for is what there is. */
static void test_sizes(void **state)
{
	enum { N = 20 };
	struct smcdu_channel *a[N], *b[N];
	struct smcdu_settings s;
	struct smcdu_ctx *ctx, *mine = g.ctx[GUEST_A];

	for (int i = 0; i < 2; i++) /* it has seen no channels */
		guests_configure(&g, i, "");
	for (int i = 0; i < N; i++) {
		guests_connect(&g, GUEST_A, "sizes", &a[i], &b[i]);
		assert_int_equal(size_of(a[i]), i < 16 ? 1024 * 1024 : 512 * 1024);
		assert_int_equal(size_of(b[i]), i < 16 ? 1024 * 1024 : 512 * 1024);
	}
	smcdu_default_settings(&s);
	s.socket_path = g.socket[GUEST_A];
	s.path = guests_attached() ? SMCDU_PATH_ATTACHED : SMCDU_PATH_MEDIATED;
	for (uint32_t size = 16384; size <= 1024 * 1024; size *= 2) {
		struct smcdu_channel *c, *d;

		s.rcvbuf = size;
		assert_int_equal(smcdu_open(&s, &ctx), 0);
		g.ctx[GUEST_A] = ctx;
		guests_connect(&g, GUEST_A, "sizes", &c, &d);
		g.ctx[GUEST_A] = mine;
		assert_int_equal(size_of(c), size);
		smcdu_close(c);
		smcdu_close(d);
		smcdu_close_ctx(ctx);
	}
	for (int i = 0; i < N; i++) {
		smcdu_close(a[i]);
		smcdu_close(b[i]);
	}
	for (int i = 0; i < 2; i++)
		guests_wait_stat(&g, i, "channels", 0);
}

static void settle(void)
{
	for (int i = 0; i < 2; i++) {
		guests_wait_stat(&g, i, "channels", 0);
		guests_wait_stat(&g, i, "dmbs", 1); /* the control link's */
	}
	sleep_ms(200); /* quarantines end */
}

/* Channels that follow each other find their DMBs made; and when none follow, nothing is left. */
static void test_stock(void **state)
{
	struct smcdu_listener *l;
	uint64_t until = clock_ns() + HANG_MS * UINT64_C(1000000);

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "churn", 16, &l), 0);
	for (uint8_t i = 0; guests_stat(&g, GUEST_A, "from_stock") < 8 ||
			    guests_stat(&g, GUEST_B, "from_stock") < 8; i++) {
		assert_true(clock_ns() < until);
		for (int k = 0; k < 20; k++)
			cycle(l, i);
	}
	settle();
	smcdu_listener_free(l);
}

/* @c has something for @s, which answers, and more than one byte. */
static void talk(struct smcdu_channel *c, struct smcdu_channel *s, uint32_t stream)
{
	uint64_t pos[4] = { 0 };

	for (int i = 0; i < 3; i++) {
		pattern_send(c, stream, &pos[0], 3000);
		pattern_recv(s, stream, &pos[1], 3000);
		pattern_send(s, stream + 1, &pos[2], 2000);
		pattern_recv(c, stream + 1, &pos[3], 2000);
	}
}

/*
 * Channels that come fast leave their connections to the next ones, also crosswise and beside others that live
 * on; each begins anew, with nothing of the one before. When none follow they are given back.
 */
static void test_left(void **state)
{
	struct smcdu_channel *c[3], *s[3];
	uint64_t until = clock_ns() + HANG_MS * UINT64_C(1000000);
	struct smcdu_channel_stats st;
	struct smcdu_listener *l;
	unsigned int fds[2];

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "left", 16, &l), 0);
	for (int i = 0; i < 2; i++) {
		guests_wait_stat(&g, i, "channels", 0);
		fds[i] = proc_fds(g.daemon[i]);
	}
	for (uint32_t n = 0; guests_stat(&g, GUEST_A, "reused") < 50 ||
			     guests_stat(&g, GUEST_B, "reused") < 50 ||
			     guests_stat(&g, GUEST_A, "send_kept") < 20 ||
			     guests_stat(&g, GUEST_B, "send_kept") < 20; n++) {
		assert_true(clock_ns() < until);
		for (int i = 0; i < 30; i++) {
			unsigned int k = (unsigned int)i % 3;

			if (i >= 3) {
				talk(c[k], s[k], n + k);
				smcdu_close(i & 1 ? c[k] : s[k]);
				smcdu_close(i & 1 ? s[k] : c[k]);
			}
			assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "left@guest-b", &c[k]), 0);
			assert_int_equal(smcdu_accept(l, 0, &s[k]), 0);
			smcdu_channel_stats(c[k], &st);
			assert_int_equal(st.tx_sent + st.rx_bytes + st.error, 0);
			talk(c[k], s[k], n + 7);
		}
		for (int k = 0; k < 3; k++) {
			smcdu_close(c[k]);
			smcdu_close(s[k]);
		}
	}
	settle();
	for (int i = 0; i < 2; i++)
		guests_wait_fds(g.daemon[i], fds[i] + 1);
	/* the library has connections that the daemon has closed: it notices */
	guests_connect(&g, GUEST_A, "other", &c[0], &s[0]);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "left@guest-b", &c[1]), 0);
	assert_int_equal(smcdu_accept(l, 0, &s[1]), 0);
	for (int k = 0; k < 2; k++) {
		talk(c[k], s[k], 5);
		smcdu_close(c[k]);
		smcdu_close(s[k]);
	}
	smcdu_listener_free(l);
	settle();
}

/* The allocators' own arenas may come and go, a leak would be one per cycle. */
static bool returned(const struct usage *before, const struct usage *after)
{
	for (int i = 0; i < 3; i++) {
		if (after->fds[i] > before->fds[i] || after->maps[i] > before->maps[i] + 16 ||
			after->rss[i] > before->rss[i] + 4096)
			return false;
	}
	return true;
}

static struct usage usage_in_the_end(const struct usage *before)
{
	uint64_t end = clock_ns() + HANG_MS * UINT64_C(1000000);
	struct usage after;

	settle();
	for (;;) {
		after = usage_now();
		if (returned(before, &after) || clock_ns() > end)
			return after;
		sleep_ms(50);
	}
}

static void test_churn(void **state)
{
	struct smcdu_listener *l;
	struct usage before, after;
	unsigned int own;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "churn", 16, &l), 0);
	for (int i = 0; i < 50; i++)
		cycle(l, (uint8_t)i);
	settle();
	sleep_ms(500); /* nor is anything kept for others that do not come */
	before = usage_now();
	own = proc_fds(getpid());
	for (int i = 0; i < cycles; i++)
		cycle(l, (uint8_t)i);
	after = usage_in_the_end(&before);
	/* Connections that were left to the next channel: four of the settings, four of the listener. */
	assert_true(proc_fds(getpid()) <= own + 8);
	for (int i = 0; i < 3; i++)
		print_message("%d cycles, %s: descriptors %+d, maps %+d, memory %+ld KiB\n", cycles,
			i == 0 ? "fabric" : i == 1 ? "daemon a" : "daemon b",
			(int)after.fds[i] - (int)before.fds[i],
			(int)after.maps[i] - (int)before.maps[i], after.rss[i] - before.rss[i]);
	assert_true(returned(&before, &after));
	smcdu_listener_free(l);
}

/* ---- urgent data ---- */

static void wait_urgent(struct smcdu_channel *ch)
{
	struct pollfd p = { .fd = smcdu_channel_fd(ch), .events = POLLIN };

	assert_int_equal(smcdu_set_events(ch, SMCDU_PRI), 0);
	while (!(smcdu_events(ch) & SMCDU_PRI))
		assert_int_equal(poll(&p, 1, HANG_MS), 1);
}

static void send_urgent(struct smcdu_channel *ch, uint64_t *pos, size_t len)
{
	uint8_t buf[8192];

	pattern_fill(buf, len, 61, *pos);
	assert_int_equal(smcdu_send(ch, buf, len, SMCDU_OOB), len);
	*pos += len;
}

static void recv_urgent(struct smcdu_channel *ch, uint64_t pos)
{
	uint8_t byte;

	assert_int_equal(smcdu_recv(ch, &byte, 1, SMCDU_OOB), 1);
	assert_int_equal(byte, pattern_byte(61, pos));
	assert_int_equal(smcdu_recv(ch, &byte, 1, SMCDU_OOB), -EINVAL);
}

/*
 * Ordinary bytes with an urgent one behind them, over many turns of the ring; the urgent one is
 * taken before or after the others. The sender goes on because passing it is told at once.
 */
static void test_urgent(void **state)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;
	char byte;

	guests_connect(&g, GUEST_A, "urgent", &a, &b);
	for (unsigned int i = 0; i < 300; i++) {
		if (i % 3)
			pattern_send(a, 61, &tx, 1 + i * 37 % 5000);
		send_urgent(a, &tx, 1 + i * 29 % 2000);
		wait_urgent(b);
		if (i % 2)
			recv_urgent(b, tx - 1);
		pattern_recv(b, 61, &rx, (size_t)(tx - 1 - rx));
		rx++;
		assert_int_equal(smcdu_recv(b, &byte, 1, SMCDU_DONTWAIT), -EAGAIN);
		if (i % 2 == 0)
			recv_urgent(b, tx - 1);
	}
	/* The end right behind it. */
	send_urgent(a, &tx, 5);
	smcdu_close(a);
	wait_urgent(b);
	pattern_recv(b, 61, &rx, 4);
	assert_int_equal(smcdu_recv(b, &byte, 1, 0), 0);
	recv_urgent(b, tx - 1);
	smcdu_close(b);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

/* ---- a stream beside a dialogue ---- */

struct bulk {
	struct smcdu_channel *tx, *rx;
	_Atomic bool enough;
	uint64_t sent, got;
};

static void *bulk_sender(void *arg)
{
	struct bulk *b = arg;

	while (!atomic_load(&b->enough))
		pattern_send(b->tx, 71, &b->sent, 65536);
	assert_int_equal(smcdu_shutdown(b->tx), 0);
	return NULL;
}

static void *bulk_receiver(void *arg)
{
	static uint8_t buf[65536];
	struct bulk *b = arg;
	ssize_t n;

	while ((n = smcdu_recv(b->rx, buf, sizeof(buf), 0)) > 0) {
		assert_int_equal(pattern_check(buf, (size_t)n, 71, b->got), n);
		b->got += (uint64_t)n;
	}
	assert_int_equal(n, 0);
	return NULL;
}

/*
 * The stream is held back while there is a dialogue beside it, and neither before nor afterwards. That
 * both are under way at the same moment may take a while on a busy machine.
 */
static void test_neighbours(void **state)
{
	struct smcdu_channel *ping, *pong;
	uint64_t tx = 0, rx = 0, end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct bulk b = { 0 };
	pthread_t sender, receiver;
	int64_t held;

	if (guests_attached())
		skip(); /* no daemon moves anything */
	guests_connect(&g, GUEST_A, "bulk", &b.tx, &b.rx);
	guests_connect(&g, GUEST_A, "talk", &ping, &pong);
	sleep_ms(10);
	held = guests_stat(&g, GUEST_A, "held_back");
	assert_int_equal(pthread_create(&receiver, NULL, bulk_receiver, &b), 0);
	assert_int_equal(pthread_create(&sender, NULL, bulk_sender, &b), 0);
	sleep_ms(50);
	assert_int_equal(guests_stat(&g, GUEST_A, "held_back"), held);
	while (guests_stat(&g, GUEST_A, "held_back") < held + 10) {
		for (int i = 0; i < 100; i++) {
			pattern_send(ping, 72, &tx, 64);
			pattern_recv(pong, 72, &rx, 64);
		}
		assert_true(clock_ns() < end);
	}
	sleep_ms(10);
	guests_stat(&g, GUEST_A, "held_back"); /* no turn that began before is under way any more */
	held = guests_stat(&g, GUEST_A, "held_back");
	sleep_ms(50);
	assert_int_equal(guests_stat(&g, GUEST_A, "held_back"), held);
	atomic_store(&b.enough, true);
	pthread_join(sender, NULL);
	pthread_join(receiver, NULL);
	assert_int_equal(b.got, b.sent);
	smcdu_close(b.tx);
	smcdu_close(b.rx);
	smcdu_close(ping);
	smcdu_close(pong);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest many[] = {
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_stock),
		cmocka_unit_test(test_left),
	};
	const struct CMUnitTest churn[] = { cmocka_unit_test(test_churn) };

	if (argc > 2)
		cycles = atoi(argv[2]);
	if (argc > 1 && !strcmp(argv[1], "churn"))
		return cmocka_run_group_tests(churn, setup, teardown);
	return cmocka_run_group_tests(many, setup, teardown);
}
