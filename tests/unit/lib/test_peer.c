/* SPDX-License-Identifier: MIT */
/*
 * test_peer.c - both ends of attached channels in one process, without a daemon
 */
#include "pair.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vfio/base/endian.h"
#include "vfio/base/fd.h"

/* ---- data ------------------------------------------------------------------------------------ */

#define TOTAL (2u << 20)

static uint8_t pattern(uint64_t pos, unsigned int seed)
{
	return (uint8_t)(pos * 7 + (pos >> 8) * 13 + seed);
}

struct half {
	struct smcdu_channel *ch;
	unsigned int seed;
	size_t chunk;
	bool ok;
};

static void *send_all(void *arg)
{
	struct half *h = arg;
	uint8_t buf[8192];

	for (uint64_t pos = 0; pos < TOTAL;) {
		size_t n = 1 + (pos * 31 + h->seed) % h->chunk;

		n = n < TOTAL - pos ? n : TOTAL - pos;
		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(pos + i, h->seed);
		if (smcdu_send(h->ch, buf, n, 0) != (ssize_t)n)
			return NULL;
		pos += n;
	}
	h->ok = smcdu_shutdown(h->ch) == 0;
	return NULL;
}

static void *recv_all(void *arg)
{
	struct half *h = arg;
	uint8_t buf[8192];
	uint64_t pos = 0;
	ssize_t n;

	while ((n = smcdu_recv(h->ch, buf, 1 + (pos * 17) % h->chunk, 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(pos + (uint64_t)i, h->seed))
				return NULL;
		pos += (uint64_t)n;
	}
	h->ok = n == 0 && pos == TOTAL;
	return NULL;
}

/* Both ways at once, every half a thread of its own: nobody sleeps for ever. */
static void exchange_on(const struct pair *p, size_t chunk)
{
	struct half h[4];
	pthread_t t[4];

	for (unsigned int i = 0; i < 4; i++) {
		h[i] = (struct half){ .ch = p->ch[i & 1], .seed = i == 0 || i == 3, .chunk = chunk };
		pthread_create(&t[i], NULL, i < 2 ? send_all : recv_all, &h[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_true(h[i].ok);
	}
}

static void exchange(uint32_t spin_us, size_t chunk)
{
	struct pair p;

	pair_open(&p, RING, spin_us);
	exchange_on(&p, chunk);
	pair_close(&p);
}

static void test_exchange_sleeping(void **state)
{
	exchange(0, 3000);
	exchange(0, 8192);
}

static void test_exchange_spinning(void **state)
{
	exchange(20, 3000);
	exchange(20, 100);
}

/* ---- barriers -------------------------------------------------------------------------------- */

/* What that end says to the other one. */
static struct chan_block *said(const struct pair *p, int side)
{
	return (struct chan_block *)(void *)p->dmb[!side];
}

/* CHAN_WAIT_* that it waits for. */
static uint32_t armed(const struct pair *p, int side)
{
	return chan_wanted(atomic_load(&said(p, side)->wait), atomic_load(&said(p, !side)->wait));
}

static bool announced(const struct pair *p, int side)
{
	return atomic_load(&said(p, side)->wait) & CHAN_PEER_BARRIER;
}

/* As if the process of that end were not registered: a kernel without it, or an older library. */
static void without_barrier(struct pair *p, int side)
{
	p->ch[side]->peer.barrier = false;
	atomic_fetch_and(&said(p, side)->wait, ~CHAN_PEER_BARRIER);
}

/* Enough for both ends to take part. */
static void settle(struct pair *p)
{
	char c = 0;

	for (int i = 0; i < 100; i++)
		for (int side = 0; side < 2; side++) {
			smcdu_send(p->ch[side], &c, 1, 0);
			smcdu_recv(p->ch[!side], &c, 1, 0);
		}
}

static void test_who_runs_barriers(void **state)
{
	struct pair p;

	/* no end, one, the other: an end that cannot has its own, and so have those who write to it */
	for (int can = 0; can < 3; can++) {
		pair_open(&p, RING, 0);
		settle(&p);
		assert_int_equal(announced(&p, 0), barrier_register());
		assert_int_equal(announced(&p, 1), barrier_register());
		if (can != 1)
			without_barrier(&p, 0);
		if (can != 2)
			without_barrier(&p, 1);
		exchange_on(&p, 3000);
		pair_close(&p);
	}
	/* taking bits leaves it alone */
	pair_open(&p, RING, 0);
	assert_false(announced(&p, 0)); /* not for a handful of bytes */
	settle(&p);
	peer_arm(p.ch[0], CHAN_WAIT_ALL);
	peer_wake(p.ch[1], CHAN_WAIT_RX);
	assert_int_equal(armed(&p, 0), CHAN_WAIT_TX | CHAN_WAIT_SENT);
	assert_int_equal(peer_disarm(p.ch[0], CHAN_WAIT_ALL), CHAN_WAIT_TX | CHAN_WAIT_SENT);
	assert_int_equal(announced(&p, 0), barrier_register());
	pair_close(&p);
}

/* From now on this process's system call ends in EPERM. False: filters cannot be had here. */
static bool forbid_membarrier(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0;
}

#define NO_FILTERS 77

static int forbidden_late(void)
{
	struct pair p;

	pair_open(&p, RING, 0);
	settle(&p);
	if (!announced(&p, 0) || !forbid_membarrier())
		return NO_FILTERS;
	exchange_on(&p, 3000);
	if (announced(&p, 0) || announced(&p, 1) || barrier_register())
		return 1;
	pair_close(&p);
	/* and from the beginning */
	exchange(0, 3000);
	return 0;
}

static void test_barriers_forbidden(void **state)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(forbidden_late());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_FILTERS) {
		print_message("filters of system calls, or membarrier, cannot be had here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_daemon_gone(void **state)
{
	struct pair p;
	char c;

	pair_open(&p, RING, 0);
	fd_closep(&p.daemon[0]);
	fd_closep(&p.daemon[1]);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(smcdu_send(p.ch[i & 1], "x", 1, 0), 1);
		assert_int_equal(smcdu_recv(p.ch[!(i & 1)], &c, 1, 0), 1);
	}
	smcdu_close(p.ch[0]);
	p.ch[0] = NULL;
	assert_int_equal(smcdu_recv(p.ch[1], &c, 1, 0), 0);
	assert_int_equal(smcdu_send(p.ch[1], &c, 1, 0), -ECONNRESET);
	pair_close(&p);
}

/* A peer that left without a word died; one that left bytes unread aborted. */
static void test_peer_gone(void **state)
{
	struct pair p;
	char buf[8];

	pair_open(&p, RING, 0);
	assert_int_equal(smcdu_send(p.ch[0], "abc", 3, 0), 3);
	shutdown(p.ch[0]->peer.sock, SHUT_RDWR);
	assert_int_equal(smcdu_recv(p.ch[1], buf, 8, 0), 3);
	assert_int_equal(smcdu_recv(p.ch[1], buf, 8, 0), -ECONNRESET);
	pair_close(&p);

	pair_open(&p, RING, 0);
	assert_int_equal(smcdu_send(p.ch[0], "abc", 3, 0), 3);
	smcdu_close(p.ch[1]);
	p.ch[1] = NULL;
	assert_int_equal(smcdu_recv(p.ch[0], buf, 8, 0), -ECONNRESET);
	pair_close(&p);

	pair_open(&p, RING, 0);
	smcdu_abort(p.ch[1]);
	p.ch[1] = NULL;
	assert_int_equal(smcdu_recv(p.ch[0], buf, 8, 0), -ECONNRESET);
	pair_close(&p);
}

static void *block_recv(void *arg)
{
	struct smcdu_channel *ch = arg;
	char c;

	return (void *)(intptr_t)smcdu_recv(ch, &c, 1, 0);
}

static void *block_send(void *arg)
{
	struct smcdu_channel *ch = arg;

	return (void *)(intptr_t)smcdu_send(ch, "x", 1, 0);
}

static void fill_ring(struct smcdu_channel *ch)
{
	static const uint8_t zeros[RING];

	assert_int_equal(smcdu_send(ch, zeros, RING, SMCDU_DONTWAIT), RING - CDC_SIZE);
}

/* Both halves of side 0 sleep, and have said so. */
static void block_both(struct pair *p, pthread_t t[2])
{
	fill_ring(p->ch[0]);
	pthread_create(&t[0], NULL, block_recv, p->ch[0]);
	pthread_create(&t[1], NULL, block_send, p->ch[0]);
	while (armed(p, 0) != (CHAN_WAIT_RX | CHAN_WAIT_TX))
		usleep(100);
}

static void join_both(pthread_t t[2], intptr_t ret)
{
	for (int i = 0; i < 2; i++) {
		void *got;

		pthread_join(t[i], &got);
		assert_int_equal((intptr_t)got, ret);
	}
}

/* What only the daemon knows is heard by sleepers, too. */
static void test_daemon_ends_it(void **state)
{
	struct ipc_simple m = { .hdr = ipc_hdr(CHAN_WAKE) };
	struct pair p;
	pthread_t t[2];

	pair_open(&p, RING, 0);
	block_both(&p, t);
	atomic_store(&p.ch[0]->ctl->error, ECONNABORTED);
	assert_true(atomic_fetch_and(&p.ch[0]->ctl->app_wait, 0) & CHAN_WAIT_ALL);
	assert_int_equal(fd_send(p.daemon[0], &m, sizeof(m), NULL, 0, 0), sizeof(m));
	join_both(t, -ECONNABORTED);
	pair_close(&p);
}

/* The sender finds an impossible acknowledgement; nobody tells the receiver but the sender. */
static void test_violation_wakes_the_other(void **state)
{
	struct cdc_msg bad = { .cons = { .wrap = 7 } };
	struct pair p;
	pthread_t t[2];

	pair_open(&p, RING, 0);
	block_both(&p, t);
	cdc_store_cons(p.dmb[0], &bad, CDC_BIG);
	peer_wake(p.ch[1], CHAN_WAIT_TX);
	join_both(t, -ECONNRESET);
	pair_close(&p);
}

/*
 * A full ring is a flag beside our consumer cursor. So the peer's writer is told of what we have read
 * when our writer is stuck, and must be woken, too.
 */
static void test_flags_carry_the_cursor(void **state)
{
	uint8_t buf[RING];
	struct pair p;
	pthread_t t;
	void *got;

	pair_open(&p, RING, 0);
	fill_ring(p.ch[1]);
	pthread_create(&t, NULL, block_send, p.ch[1]);
	while (!(armed(&p, 1) & CHAN_WAIT_TX))
		usleep(100);
	assert_int_equal(smcdu_recv(p.ch[0], buf, 100, 0), 100); /* too few to be told of */
	assert_true(armed(&p, 1) & CHAN_WAIT_TX);
	fill_ring(p.ch[0]);
	pthread_join(t, &got);
	assert_int_equal((intptr_t)got, 1);
	pair_close(&p);
}

/* A pair of which the first end has received a byte: from now on it looks the short way. */
static void open_warm(struct pair *p)
{
	char byte;

	pair_open(p, RING, 0);
	assert_int_equal(smcdu_send(p->ch[1], "w", 1, 0), 1);
	assert_int_equal(smcdu_recv(p->ch[0], &byte, 1, 0), 1);
}

/* The short look leaves to the long one whatever is not just bytes: an urgent one, marked or flagged. */
static void test_short_look_urgent(void **state)
{
	const struct cdc_msg flagged = { .prod_flags = CDC_URG_PRESENT | CDC_URG_PENDING };
	char buf[64];

	for (int way = 0; way < 2; way++) {
		struct pair p;

		open_warm(&p);
		assert_int_equal(smcdu_send(p.ch[1], "abc", 3, way ? 0 : SMCDU_OOB), 3);
		if (way)
			cdc_store_cons(p.dmb[0], &flagged, CDC_BIG);
		assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), 2);
		assert_memory_equal(buf, "ab", 2);
		assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), SMCDU_OOB), 1);
		assert_int_equal(buf[0], 'c');
		pair_close(&p);
	}
}

/* Nor does it accept anything after a violation, or behind an end that the application was told of. */
static void test_short_look_ends(void **state)
{
	const struct smc_cursor more = { .count = 6 }, impossible = { .wrap = 7 };
	const struct cdc_msg plain = { 0 };
	struct pair p;
	char buf[64];

	open_warm(&p);
	cdc_store_prod(p.dmb[0], impossible, CDC_BIG);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), -ECONNRESET);
	cdc_store_prod(p.dmb[0], more, CDC_BIG);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), -ECONNRESET);
	pair_close(&p);

	open_warm(&p);
	assert_int_equal(smcdu_shutdown(p.ch[1]), 0);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), 0);
	cdc_store_cons(p.dmb[0], &plain, CDC_BIG);
	cdc_store_prod(p.dmb[0], more, CDC_BIG);
	assert_true(smcdu_recv(p.ch[0], buf, sizeof(buf), 0) <= 0);
	pair_close(&p);
}

/* A length that no answer could tell is refused, whatever there is. */
static void test_short_way_length(void **state)
{
	struct pair p;
	char buf[64];

	open_warm(&p);
	assert_int_equal(smcdu_send(p.ch[1], "abc", 3, 0), 3);
	assert_int_equal(smcdu_recv(p.ch[0], buf, (size_t)SSIZE_MAX + 1, 0), -EINVAL);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), 3);
	pair_close(&p);
}

/* A cursor that goes back takes away nothing that was accepted. */
static void test_short_look_back(void **state)
{
	const struct smc_cursor back = { .count = 20 };
	struct iovec iov[2];
	struct pair p;
	char buf[64] = { 0 };

	open_warm(&p);
	assert_int_equal(smcdu_send(p.ch[1], buf, 50, 0), 50);
	assert_int_equal(smcdu_peekv(p.ch[0], iov, 50, SMCDU_DONTWAIT), 50);
	cdc_store_prod(p.dmb[0], back, CDC_BIG);
	assert_int_equal(smcdu_peekv(p.ch[0], iov, 60, SMCDU_DONTWAIT), 50);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), 50);
	assert_int_equal(smcdu_recv(p.ch[0], buf, sizeof(buf), 0), -ECONNRESET);
	pair_close(&p);
}

/* What cannot be an attached channel is refused, and nothing is left open. */
static void test_bad_descriptions(void **state)
{
	static const struct {
		unsigned int nfds;
		uint32_t path;
		size_t dmb;
	} bad[] = {
		{ 2, IPC_PATH_ATTACHED, RING },
		{ 4, IPC_PATH_MEDIATED, RING },
		{ 4, 3, RING },
		{ 4, IPC_PATH_ATTACHED, RING / 2 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ipc_channel m = { .hdr = ipc_hdr(IPC_CHANNEL), .rx_size = RING,
			.tx_size = RING, .order = CDC_BIG, .path = bad[i].path };
		int before = dup(0), after, sv[2], own[2], fds[IPC_FDS_ATTACHED];
		struct smcdu_channel *ch = NULL;

		close(before);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, own), 0);
		fds[0] = fd_memfd("dmb", RING);
		fds[1] = fd_memfd("ctl", CHAN_CTL_SIZE);
		fds[2] = fd_memfd("peer", bad[i].dmb);
		fds[3] = own[1];
		for (unsigned int k = bad[i].nfds; k < IPC_FDS_ATTACHED; k++)
			fd_closep(&fds[k]);
		assert_int_equal(channel_adopt(&m, sv[1], fds, bad[i].nfds, NULL, 0, &ch), -EPROTO);
		assert_null(ch);
		close(sv[0]);
		close(own[0]);
		after = dup(0);
		close(after);
		assert_int_equal(after, before);
	}
}

/* ---- a hostile peer -------------------------------------------------------------------------- */

struct mutator {
	struct pair *p;
	_Atomic bool stop;
};

/* Writes whatever a peer may write: the block and the ring of the victim. */
static void *mutate(void *arg)
{
	struct mutator *m = arg;
	uint64_t r = 88172645463325252u;

	while (!m->stop) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		atomic_store(&said(m->p, 1)->wait, (uint32_t)r);
		atomic_store(&said(m->p, 1)->urgent, r % 7 ? chan_urgent(r % (4 * RING)) : r);
		atomic_store(&said(m->p, 1)->cpu, (uint16_t)((r >> 40) % 4));
		atomic_store(&said(m->p, 1)->way, (uint16_t)((r >> 44) % 8));
		__atomic_store_n((uint64_t *)(void *)(m->p->dmb[0] + (r >> 8) % RING / 8 * 8), r,
			__ATOMIC_RELAXED);
		if (r % 3 == 0) /* plausible cursors, too */
			__atomic_store_n((uint64_t *)(void *)(m->p->dmb[0] + CDC_PROD_WORD),
				htobe64((r >> 20) % 3 << 48 | (r >> 30) % RING << 16),
				__ATOMIC_RELAXED);
	}
	return NULL;
}

/* The victim gets errors or rubbish, in bounded time, and touches nothing it should not. */
static void test_hostile_peer(void **state)
{
	for (int round = 0; round < 200; round++) {
		struct mutator m = { 0 };
		uint8_t buf[RING];
		struct pair p;
		pthread_t t;

		pair_open(&p, RING, 0);
		m.p = &p;
		pthread_create(&t, NULL, mutate, &m);
		for (int i = 0; i < 50; i++) {
			ssize_t n = smcdu_recv(p.ch[0], buf, sizeof(buf),
				SMCDU_DONTWAIT | (i % 5 == 0 ? SMCDU_OOB : 0));

			assert_true(n <= (ssize_t)sizeof(buf) && n > -4096);
			n = smcdu_send(p.ch[0], buf, 1000, SMCDU_DONTWAIT);
			assert_true(n <= 1000 && n > -4096);
		}
		m.stop = true;
		pthread_join(t, NULL);
		pair_close(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchange_sleeping),
		cmocka_unit_test(test_exchange_spinning),
		cmocka_unit_test(test_who_runs_barriers),
		cmocka_unit_test(test_barriers_forbidden),
		cmocka_unit_test(test_daemon_gone),
		cmocka_unit_test(test_peer_gone),
		cmocka_unit_test(test_daemon_ends_it),
		cmocka_unit_test(test_violation_wakes_the_other),
		cmocka_unit_test(test_flags_carry_the_cursor),
		cmocka_unit_test(test_short_look_urgent),
		cmocka_unit_test(test_short_look_ends),
		cmocka_unit_test(test_short_look_back),
		cmocka_unit_test(test_short_way_length),
		cmocka_unit_test(test_bad_descriptions),
		cmocka_unit_test(test_hostile_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
