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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "smcd/ipc/chan.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/close.h"
#include "vfio/base/fd.h"

/*
 * Attached channels: no PCISTB and no daemon between two applications, and so neither a daemon's
 * death nor the fabric's is theirs. Who may have one is both sides' decision.
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

#define FLOWING (1U << 20)

struct flow {
	struct smcdu_channel *tx, *rx;
	uint32_t stream;
	_Atomic bool stop;
	_Atomic uint64_t sent, got;
	ssize_t tx_end, rx_end;
	bool differs;
	pthread_t tt, tr;
};

static void *transmit(void *arg)
{
	struct flow *f = arg;
	uint8_t buf[30000];
	ssize_t n = 0;

	while (!f->stop) {
		pattern_fill(buf, sizeof(buf), f->stream, f->sent);
		n = smcdu_send(f->tx, buf, sizeof(buf), 0);
		if (n <= 0)
			break;
		f->sent += (uint64_t)n;
	}
	f->tx_end = n > 0 ? smcdu_shutdown(f->tx) : n;
	return NULL;
}

static void *receive(void *arg)
{
	struct flow *f = arg;
	uint8_t buf[30000];
	ssize_t n;

	while ((n = smcdu_recv(f->rx, buf, sizeof(buf), 0)) > 0) {
		if (pattern_check(buf, (size_t)n, f->stream, f->got) != (size_t)n)
			f->differs = true;
		f->got += (uint64_t)n;
	}
	f->rx_end = n;
	return NULL;
}

static void wait_bytes(_Atomic uint64_t *count, uint64_t more)
{
	uint64_t want = *count + more;

	for (int i = 0; i < HANG_MS && *count < want; i++)
		sleep_ms(1);
	assert_true(*count >= want);
}

static void join_or_hang(pthread_t t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += HANG_MS / 1000;
	assert_int_equal(pthread_timedjoin_np(t, NULL, &ts), 0);
}

static void flow_start(struct flow *f, uint32_t stream)
{
	*f = (struct flow){ .stream = stream };
	guests_connect(&g, GUEST_A, "flow", &f->tx, &f->rx);
	pthread_create(&f->tt, NULL, transmit, f);
	pthread_create(&f->tr, NULL, receive, f);
	wait_bytes(&f->got, FLOWING);
}

/* In order: all that was sent has arrived, then the end. */
static void flow_end(struct flow *f)
{
	f->stop = true;
	join_or_hang(f->tt);
	join_or_hang(f->tr);
	assert_int_equal(f->tx_end, 0);
	assert_int_equal(f->rx_end, 0);
	assert_false(f->differs);
	assert_int_equal(f->got, f->sent);
	smcdu_close(f->tx);
	smcdu_close(f->rx);
}

static void test_no_store_is_needed(void **state)
{
	int64_t before, after;
	struct smcdu_channel_stats st;
	struct flow f;

	flow_start(&f, 1);
	before = guests_stat(&g, GUEST_A, "pcistb") + guests_stat(&g, GUEST_B, "pcistb");
	wait_bytes(&f.got, 64 * FLOWING);
	after = guests_stat(&g, GUEST_A, "pcistb") + guests_stat(&g, GUEST_B, "pcistb");
	assert_true(after - before < 200); /* signs of life; the bytes would take 16384 */
	smcdu_channel_stats(f.tx, &st);
	assert_int_equal(st.pcistb, 0);
	assert_true(st.cdc_tx > 0 && st.tx_sent == st.tx_bytes);
	flow_end(&f);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static void wait_state(struct smcdu_channel *ch, uint32_t state)
{
	struct smcdu_channel_stats st;

	for (int i = 0; i < HANG_MS; i++) {
		smcdu_channel_stats(ch, &st);
		if (st.state == state)
			return;
		sleep_ms(1);
	}
	fail_msg("state %s, not %s", smcdu_state_name(st.state), smcdu_state_name(state));
}

/* The daemons follow, so that an operator sees what is going on. */
static void test_states(void **state)
{
	struct smcdu_channel *a, *b;
	char c;

	guests_connect(&g, GUEST_A, "states", &a, &b);
	wait_state(a, SMC_ACTIVE);
	wait_state(b, SMC_ACTIVE);
	assert_int_equal(smcdu_shutdown(a), 0);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	wait_state(a, SMC_PEERCLOSEWAIT1);
	wait_state(b, SMC_APPCLOSEWAIT1);
	assert_int_equal(smcdu_send(b, "x", 1, 0), 1);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), 1);
	smcdu_close(b);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), 0);
	smcdu_close(a);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static void recv_text(struct smcdu_channel *ch, const char *text)
{
	char buf[16];

	assert_int_equal(smcdu_recv(ch, buf, strlen(text), SMCDU_WAITALL), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

/* The urgent byte beside the stream; nothing overtakes it, and it is no reason to abort. */
static void test_urgent(void **state)
{
	struct smcdu_channel *a, *b;
	char c = 0;

	guests_connect(&g, GUEST_A, "urgent", &a, &b);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(smcdu_send(a, "abc", 3, 0), 3);
		assert_int_equal(smcdu_send(a, "dU", 2, SMCDU_OOB), 2);
		assert_int_equal(smcdu_send(a, "e", 1, SMCDU_DONTWAIT), -EAGAIN);
		recv_text(b, "abcd");
		assert_int_equal(smcdu_recv(b, &c, 1, SMCDU_OOB), 1);
		assert_int_equal(c, 'U');
		assert_int_equal(smcdu_recv(b, &c, 1, SMCDU_DONTWAIT), -EAGAIN);
		assert_int_equal(smcdu_send(a, "efg", 3, 0), 3);
		recv_text(b, "efg");
	}
	assert_int_equal(smcdu_send(a, "!", 1, SMCDU_OOB), 1);
	smcdu_close(b);
	assert_int_equal(smcdu_recv(a, &c, 1, 0), 0);
	smcdu_close(a);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

/* Whoever is killed, the flow does not notice; afterwards all of it works again. */
static void test_nobody_else_is_needed(void **state)
{
	struct flow f;

	flow_start(&f, 2);
	guests_kill(&g.daemon[GUEST_B], SIGKILL);
	wait_bytes(&f.got, 8 * FLOWING);
	guests_start_daemon(&g, GUEST_B, NULL);
	wait_bytes(&f.got, 8 * FLOWING);
	guests_kill(&g.fabric, SIGKILL);
	wait_bytes(&f.got, 8 * FLOWING);
	guests_kill(&g.daemon[GUEST_A], SIGKILL);
	wait_bytes(&f.got, 8 * FLOWING);
	flow_end(&f);
	guests_start_fabric(&g);
	guests_start_daemon(&g, GUEST_A, NULL);
	guests_kill(&g.daemon[GUEST_B], SIGTERM);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
}

/* The descriptor is quiet when nothing is there, with and without a daemon. */
static void test_descriptor(void **state)
{
	struct smcdu_channel *a, *b;
	struct pollfd p = { .events = POLLIN };
	char c;

	guests_connect(&g, GUEST_A, "poll", &a, &b);
	p.fd = smcdu_channel_fd(b);
	assert_true(p.fd >= 0);
	for (int daemon = 1; daemon >= 0; daemon--) {
		assert_int_equal(smcdu_events(b) & SMCDU_IN, 0);
		assert_int_equal(poll(&p, 1, 0), 0);
		for (int i = 0; i < 100; i++) {
			assert_int_equal(smcdu_send(a, "x", 1, 0), 1);
			assert_int_equal(poll(&p, 1, HANG_MS), 1);
			assert_int_equal(smcdu_events(b) & SMCDU_IN, SMCDU_IN);
			assert_int_equal(smcdu_recv(b, &c, 1, SMCDU_DONTWAIT), 1);
			assert_int_equal(smcdu_recv(b, &c, 1, SMCDU_DONTWAIT), -EAGAIN);
			assert_int_equal(poll(&p, 1, 0), 0);
		}
		guests_kill(&g.daemon[GUEST_B], SIGKILL);
		if (daemon) { /* its end wakes once */
			assert_int_equal(poll(&p, 1, HANG_MS), 1);
			assert_int_equal(smcdu_events(b) & SMCDU_IN, 0);
		}
	}
	smcdu_close(a);
	assert_int_equal(poll(&p, 1, HANG_MS), 1);
	assert_int_equal(smcdu_recv(b, &c, 1, 0), 0);
	smcdu_close(b);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
}

static pid_t start_sender(void)
{
	pid_t app = fork();

	assert_true(app >= 0);
	if (app == 0) {
		struct flow f = { .stream = 11 };
		struct smcdu_settings s;
		struct smcdu_ctx *ctx;

		smcdu_default_settings(&s);
		s.socket_path = g.socket[GUEST_A];
		s.path = SMCDU_PATH_ATTACHED;
		if (smcdu_open(&s, &ctx) || smcdu_connect(ctx, "victim@guest-b", &f.tx))
			_exit(1);
		transmit(&f);
		_exit(2);
	}
	return app;
}

/* kill -9 of the sender: the exact prefix, then the error; even if no daemon is left to say so. */
static void test_killed_peer(void **state)
{
	for (int daemons = 1; daemons >= 0; daemons--) {
		struct flow f = { .stream = 11 };
		struct smcdu_listener *l;
		pid_t app;

		assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "victim", 1, &l), 0);
		app = start_sender();
		assert_int_equal(smcdu_accept(l, 0, &f.rx), 0);
		pthread_create(&f.tr, NULL, receive, &f);
		wait_bytes(&f.got, FLOWING);
		if (!daemons) {
			guests_kill(&g.daemon[GUEST_A], SIGKILL);
			guests_kill(&g.daemon[GUEST_B], SIGKILL);
		}
		guests_kill(&app, SIGKILL);
		join_or_hang(f.tr);
		assert_false(f.differs);
		assert_int_equal(f.rx_end, -ECONNRESET);
		assert_int_equal(smcdu_send(f.rx, "x", 1, 0), -ECONNRESET);
		smcdu_close(f.rx);
		smcdu_listener_free(l);
	}
	guests_start_daemon(&g, GUEST_A, NULL);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static struct smcdu_ctx *context(int guest, uint32_t path, uint32_t record)
{
	struct smcdu_settings s;
	struct smcdu_ctx *ctx;

	smcdu_default_settings(&s);
	s.socket_path = g.socket[guest];
	s.path = path;
	s.record = record;
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	return ctx;
}

/* What client and server wish, and what becomes of it: a path, or the client's error. */
static void try_path(uint32_t client, uint32_t server, int result)
{
	struct smcdu_ctx *c = context(GUEST_A, client, 0), *s = context(GUEST_B, server, 0);
	struct smcdu_channel *a = NULL, *b = NULL;
	struct smcdu_channel_info info;
	struct smcdu_listener *l;
	char byte;
	int r;

	assert_int_equal(smcdu_listen(s, "wish", 1, &l), 0);
	r = smcdu_connect(c, "wish@guest-b", &a);
	if (result > 0) {
		assert_int_equal(r, 0);
		assert_int_equal(smcdu_accept(l, 0, &b), 0);
		smcdu_channel_info(a, &info);
		assert_int_equal(info.path, result);
		smcdu_channel_info(b, &info);
		assert_int_equal(info.path, result);
		assert_int_equal(smcdu_send(a, "x", 1, 0), 1);
		assert_int_equal(smcdu_recv(b, &byte, 1, 0), 1);
	} else if (r == 0) { /* the server may refuse only after its Accept */
		assert_int_equal(smcdu_recv(a, &byte, 1, 0), result);
	} else {
		assert_int_equal(r, result);
		assert_true(strlen(smcdu_last_error()) > 0);
	}
	smcdu_close(a);
	smcdu_close(b);
	smcdu_listener_free(l);
	smcdu_close_ctx(c);
	smcdu_close_ctx(s);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static void test_wishes(void **state)
{
	enum { AUTO, MEDIATED = SMCDU_PATH_MEDIATED, ATTACHED = SMCDU_PATH_ATTACHED };
	static const char *const never[] = { "--path", "mediated", NULL };

	try_path(AUTO, AUTO, ATTACHED);
	try_path(AUTO, MEDIATED, MEDIATED);
	try_path(MEDIATED, AUTO, MEDIATED);
	try_path(ATTACHED, AUTO, ATTACHED);
	try_path(AUTO, ATTACHED, ATTACHED);
	try_path(ATTACHED, ATTACHED, ATTACHED);
	try_path(ATTACHED, MEDIATED, -EOPNOTSUPP);
	try_path(MEDIATED, ATTACHED, -ECONNRESET);
	guests_kill(&g.daemon[GUEST_B], SIGTERM);
	guests_start_daemon(&g, GUEST_B, never);
	try_path(AUTO, AUTO, MEDIATED);
	try_path(ATTACHED, AUTO, -EOPNOTSUPP);
	guests_kill(&g.daemon[GUEST_B], SIGTERM);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_kill(&g.daemon[GUEST_A], SIGTERM);
	guests_start_daemon(&g, GUEST_A, never);
	try_path(AUTO, AUTO, MEDIATED);
	try_path(ATTACHED, AUTO, -EOPNOTSUPP);
}

/* ---- a hostile application at the other end -------------------------------------------------- */

struct raw {
	int fd[IPC_FDS_ATTACHED + 1]; /* DMB, send file, peer's DMB, their socket; ours */
	struct ipc_channel info;
	uint64_t *dmb; /* the victim's */
	uint64_t *ctl;
};

static void *raw_map(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void raw_connect(struct raw *r, struct smcdu_channel **victim)
{
	const struct ipc_connect c = { .hdr = ipc_hdr(IPC_CONNECT), .peer = "guest-b",
		.service = "prey", .path = IPC_PATH_ATTACHED };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct smcdu_listener *l;
	unsigned int n = 0;
	int sock;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "prey", 0, &l), 0);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", g.socket[GUEST_A]);
	assert_int_equal(connect(sock, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(fd_send(sock, &c, sizeof(c), NULL, 0, 0), sizeof(c));
	assert_int_equal(fd_recv(sock, &r->info, sizeof(r->info), r->fd, IPC_FDS_ATTACHED, &n, 0),
		sizeof(r->info));
	assert_int_equal(n, IPC_FDS_ATTACHED);
	r->fd[IPC_FDS_ATTACHED] = sock;
	assert_int_equal(smcdu_accept(l, 0, victim), 0);
	smcdu_listener_free(l);
	r->ctl = raw_map(r->fd[1], CHAN_CTL_SIZE);
	r->dmb = raw_map(r->fd[2], r->info.tx_size);
}

static void raw_free(struct raw *r)
{
	munmap(r->ctl, CHAN_CTL_SIZE);
	munmap(r->dmb, r->info.tx_size);
	for (unsigned int i = 0; i <= IPC_FDS_ATTACHED; i++)
		close(r->fd[i]);
}

static void put_word(uint64_t *base, uint64_t word, uint64_t v)
{
	__atomic_store_n(&base[word], v, __ATOMIC_RELAXED);
}

/*
 * Every word that may be written, as fast as can be: the block and the ring of the victim's DMB, and
 * the own control page; with cursors that could be true, so that it goes on for a while.
 */
static void raw_mutate(struct raw *r, uint64_t seed)
{
	uint64_t end = clock_ns() + 50000000, prod = 0;
	struct cdc_msg msg;

	while (clock_ns() < end) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		prod += seed % 64;
		msg = (struct cdc_msg){ .prod = cursor_of(prod, r->info.tx_size - CDC_SIZE),
			.prod_flags = (uint8_t)(seed >> 16) };
		if (seed % 256)
			cdc_store(r->dmb, &msg, (enum cdc_order)r->info.order);
		else
			put_word(r->dmb, seed >> 8 & 3, seed);
		put_word(r->dmb, 4 + (seed >> 8) % (r->info.tx_size / 8 - 4), seed);
		if (seed % 16 == 0)
			put_word(r->dmb, seed >> 20 & 1 ? 0 : 3, seed); /* beside the CDC's words */
		put_word(r->ctl, (seed >> 30) % (sizeof(struct chan_ctl) / 8), seed);
		if (seed % 512 == 0)
			send(r->fd[3], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/*
 * Reads and writes until it is told of an end; what it reads is rubbish. Not NULL: it was given more
 * than there can be.
 */
static void *be_prey(void *arg)
{
	struct smcdu_channel *ch = arg;
	uint8_t buf[5000] = { 0 };
	ssize_t n;

	do {
		n = smcdu_send(ch, buf, 100, SMCDU_DONTWAIT);
		if (n > 100)
			return arg;
		n = smcdu_recv(ch, buf, sizeof(buf), 0);
		if (n > (ssize_t)sizeof(buf))
			return arg;
	} while (n > 0);
	return NULL;
}

static void test_mutating_peer(void **state)
{
	struct flow other;

	flow_start(&other, 9);
	for (uint64_t i = 1; i <= 20; i++) {
		struct smcdu_channel *victim;
		struct raw r;
		void *complaint;
		pthread_t t;

		raw_connect(&r, &victim);
		pthread_create(&t, NULL, be_prey, victim);
		raw_mutate(&r, i * UINT64_C(0x9e3779b97f4a7c15));
		raw_free(&r);
		join_or_hang(t);
		pthread_create(&t, NULL, be_prey, victim); /* it stays ended */
		assert_int_equal(pthread_join(t, &complaint), 0);
		assert_null(complaint);
		smcdu_close(victim);
	}
	wait_bytes(&other.got, FLOWING);
	flow_end(&other);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
	guests_expect_works(&g);
}

/* ---- records --------------------------------------------------------------------------------- */

struct records {
	struct smcdu_channel *ch;
	uint32_t max;
	bool ok;
};

#define RECORDS 500u

static size_t record_size(uint32_t i, uint32_t max)
{
	return 1 + i * 2654435761u % (i % 8 ? 5000 : max);
}

static void *send_records(void *arg)
{
	struct records *r = arg;
	uint8_t *buf = malloc(r->max);

	r->ok = buf;
	for (uint32_t i = 0; i < RECORDS && r->ok; i++) {
		size_t n = record_size(i, r->max);

		pattern_fill(buf, n, i, 0);
		r->ok = smcdu_send(r->ch, buf, n, 0) == (ssize_t)n;
	}
	free(buf);
	r->ok = r->ok && smcdu_shutdown(r->ch) == 0;
	return NULL;
}

static void open_records(uint32_t path, uint32_t server, struct smcdu_channel *ch[2])
{
	struct smcdu_ctx *c = context(GUEST_A, path, 1), *s = context(GUEST_B, path, server);
	struct smcdu_listener *l;

	assert_int_equal(smcdu_listen(s, "records", 1, &l), 0);
	assert_int_equal(smcdu_connect(c, "records@guest-b", &ch[0]), 0);
	assert_int_equal(smcdu_accept(l, 0, &ch[1]), 0);
	smcdu_listener_free(l);
	smcdu_close_ctx(c);
	smcdu_close_ctx(s);
}

/* On either path, sizes up to the largest; a server that wants a stream is found out. */
static void try_records(uint32_t path)
{
	struct smcdu_channel *ch[2];
	struct smcdu_channel_info info;
	struct records r;
	pthread_t t;
	uint8_t *buf;

	open_records(path, 1, ch);
	smcdu_channel_info(ch[0], &info);
	assert_true(info.record_max > info.sndbuf / 2 - 64);
	r = (struct records){ .ch = ch[0], .max = info.record_max };
	buf = malloc(r.max);
	pthread_create(&t, NULL, send_records, &r);
	for (uint32_t i = 0; i < RECORDS; i++) {
		assert_int_equal(smcdu_recv(ch[1], buf, r.max, 0), record_size(i, r.max));
		assert_int_equal(pattern_check(buf, record_size(i, r.max), i, 0),
			record_size(i, r.max));
	}
	assert_int_equal(smcdu_recv(ch[1], buf, r.max, 0), 0);
	join_or_hang(t);
	assert_true(r.ok);
	smcdu_close(ch[1]);
	smcdu_close(ch[0]);
	open_records(path, 0, ch);
	assert_int_equal(smcdu_send(ch[1], "a stream's", 10, 0), 10);
	assert_int_equal(smcdu_recv(ch[0], buf, r.max, 0), -ECONNRESET);
	assert_non_null(strstr(smcdu_last_error(), "does not send records"));
	smcdu_close(ch[0]);
	smcdu_close(ch[1]);
	free(buf);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static void test_records(void **state)
{
	try_records(SMCDU_PATH_ATTACHED);
	try_records(SMCDU_PATH_MEDIATED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_no_store_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_states, setup, teardown),
		cmocka_unit_test_setup_teardown(test_urgent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_else_is_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutating_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wishes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
