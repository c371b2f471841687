/* SPDX-License-Identifier: MIT */
/*
 * A peer and a daemon that flip every word and byte they may write, as fast as they can, while the
 * application uses the channel in all ways: what it gets stays inside the rings and inside what the
 * functions promise, and no call hangs.
 */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/base/fd.h"

#define SIZE   16384u
#define ROUNDS 60
#define OPS    4000
#define HANG_NS UINT64_C(60000000000)

struct mutator {
	struct fake *f;
	uint32_t seed;
	bool legal; /* cursors stay true, so that the channel lives on */
	atomic_bool stop;
};

static uint32_t rnd(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static uint64_t rnd64(uint32_t *seed)
{
	return (uint64_t)rnd(seed) << 40 ^ (uint64_t)rnd(seed) << 20 ^ rnd(seed);
}

/* Cursors that an honest peer could have. */
static void move_on(struct mutator *m)
{
	struct fake *f = m->f;
	uint64_t space = f->rx_n - (f->prod - atomic_load(&f->ctl->rx_pos));
	uint64_t sent = atomic_load(&f->ctl->tx_pos) - f->cons;

	f->prod += space ? rnd(&m->seed) % (space + 1) : 0;
	f->cons += sent ? rnd(&m->seed) % (sent + 1) : 0;
	f->prod_flags = (uint8_t)rnd(&m->seed);
	fake_cdc(f);
}

/* Cursors that are nearly true: another turn, another place, what is not there to be read. */
static void nearly(struct mutator *m)
{
	struct smc_cursor prod = cursor_of(m->f->prod, m->f->rx_n);
	struct smc_cursor cons = cursor_of(m->f->cons, m->f->tx_n);

	prod.wrap = (uint16_t)(prod.wrap + rnd(&m->seed) % 3);
	cons.wrap = (uint16_t)(cons.wrap + rnd(&m->seed) % 3);
	prod.count = rnd(&m->seed) % (m->f->rx_n + 2);
	cons.count = rnd(&m->seed) % (m->f->tx_n + 2);
	fake_cdc_raw(m->f, prod, cons);
}

static void flip(struct mutator *m)
{
	struct fake *f = m->f;
	uint64_t *word = (uint64_t *)(void *)f->dmb;
	uint32_t what = rnd(&m->seed) % 64;

	/* Payload, the daemon's words: as often as can be. */
	for (int i = 0; i < 8; i++)
		__atomic_store_n(&word[4 + rnd(&m->seed) % (SIZE / 8 - 4)], rnd64(&m->seed),
			__ATOMIC_RELAXED);
	atomic_store(&f->ctl->bell, rnd(&m->seed));
	atomic_store(&f->ctl->state, rnd(&m->seed));
	atomic_store(&f->ctl->rx_told, rnd64(&m->seed));
	atomic_store(&f->ctl->rx_urg, what % 2 ? f->prod - rnd(&m->seed) % 9 : rnd64(&m->seed));
	atomic_store(&f->ctl->tx_sent, what % 2 ? atomic_load(&f->ctl->tx_pos) : rnd64(&m->seed));
	atomic_fetch_and(&f->ctl->app_wait, rnd(&m->seed));
	if (m->legal || what < 60) {
		move_on(m);
		return;
	}
	if (what == 60)
		atomic_store(&f->ctl->error, (int32_t)rnd64(&m->seed));
	else if (what < 63)
		nearly(m);
	else /* any word of the block, also the reserved ones */
		__atomic_store_n(&word[rnd(&m->seed) & 3], rnd64(&m->seed), __ATOMIC_RELAXED);
}

static void *mutate(void *arg)
{
	struct mutator *m = arg;

	while (!atomic_load(&m->stop)) {
		flip(m);
		fake_wake(m->f, rnd(&m->seed));
	}
	return NULL;
}

static void expect_in_ring(const uint8_t *ring, uint32_t size, const uint8_t *p, size_t len)
{
	assert_true(len > 0 && len <= size);
	assert_true(p >= ring && p + len <= ring + size);
}

/* Both parts, the second one at the ring's beginning. */
static void expect_parts(const uint8_t *ring, uint32_t size, const struct iovec iov[2], ssize_t n)
{
	assert_int_equal(iov[0].iov_len + iov[1].iov_len, n);
	expect_in_ring(ring, size, iov[0].iov_base, iov[0].iov_len);
	if (iov[1].iov_len) {
		assert_ptr_equal((uint8_t *)iov[0].iov_base + iov[0].iov_len, ring + size);
		assert_ptr_equal(iov[1].iov_base, ring);
		assert_true((size_t)n <= size);
	}
}

/* Both at once, with any wants. */
static ssize_t use_parts(struct smcdu_channel *ch, uint32_t *seed)
{
	size_t want = rnd(seed) % (ch->rx.size / 4);
	struct iovec iov[2];
	ssize_t n, tx = smcdu_reservev(ch, iov, want, SMCDU_DONTWAIT);

	if (tx > 0) {
		assert_true((size_t)tx >= want);
		expect_parts(ch->tx.ring, ch->tx.size, iov, tx);
		memset(iov[0].iov_base, 1, iov[0].iov_len);
		memset(iov[1].iov_base, 2, iov[1].iov_len);
		tx = smcdu_commit(ch, rnd(seed) % ((size_t)tx + 1));
	}
	n = smcdu_peekv(ch, iov, rnd(seed) % (ch->rx.size / 4), SMCDU_DONTWAIT);
	if (n > 0) {
		expect_parts(ch->rx.ring, ch->rx.size, iov, n);
		assert_int_equal(smcdu_release(ch, rnd(seed) % ((size_t)n + 1)), 0);
	}
	return tx < 0 ? tx : n;
}

/* One call of the application; false when the channel has failed for good. */
static bool use(struct smcdu_channel *ch, uint32_t *seed)
{
	uint8_t buf[4096] = { 0 };
	const void *data;
	ssize_t r = 0;
	size_t len;
	void *room;

	switch (rnd(seed) % 10) {
	case 0:
		r = smcdu_send(ch, buf, 1 + rnd(seed) % sizeof(buf), SMCDU_DONTWAIT);
		break;
	case 1:
		r = smcdu_send(ch, buf, 1 + rnd(seed) % sizeof(buf), SMCDU_DONTWAIT | SMCDU_OOB);
		break;
	case 2:
	case 3:
		len = 1 + rnd(seed) % sizeof(buf);
		r = smcdu_recv(ch, buf, len, SMCDU_DONTWAIT);
		assert_true(r <= (ssize_t)len);
		break;
	case 4:
		r = smcdu_recv(ch, buf, 1, SMCDU_OOB);
		assert_true(r <= 1);
		r = r == -EINVAL ? 0 : r;
		break;
	case 5:
		r = smcdu_peek(ch, &data, &len, SMCDU_DONTWAIT);
		if (r == 0 && len) {
			expect_in_ring(ch->rx.ring, ch->rx.size, data, len);
			memcpy(buf, data, len < sizeof(buf) ? len : sizeof(buf));
			assert_int_equal(smcdu_release(ch, rnd(seed) % (len + 1)), 0);
		}
		break;
	case 6:
		r = smcdu_reserve(ch, &room, &len, SMCDU_DONTWAIT);
		if (r == 0) {
			expect_in_ring(ch->tx.ring, ch->tx.size, room, len);
			memset(room, 1, len);
			r = smcdu_commit(ch, rnd(seed) % (len + 1));
		}
		break;
	case 7:
		r = use_parts(ch, seed);
		break;
	case 8:
		smcdu_set_oob_inline(ch, (rnd(seed) & 1) != 0);
		break;
	default:
		r = smcdu_events(ch);
		assert_true(r >= 0 && r < 64);
	}
	assert_true(atomic_load(&ch->rx.prod) - atomic_load(&ch->rx.pos) <= ch->rx.size);
	assert_true(atomic_load(&ch->tx.pos) - atomic_load(&ch->tx.cons) <= ch->tx.size);
	return r >= 0 || r == -EAGAIN;
}

static void one_round(uint32_t seed, bool legal)
{
	uint64_t end = clock_ns() + HANG_NS;
	struct smcdu_channel *ch;
	struct mutator m = { .seed = seed, .legal = legal };
	unsigned int ops, failed = 0;
	pthread_t thread;
	struct fake f;

	fake_make(&f, SIZE, SIZE, seed & 1 ? CDC_BIG : CDC_LITTLE);
	ch = fake_adopt(&f);
	m.f = &f;
	assert_int_equal(pthread_create(&thread, NULL, mutate, &m), 0);
	for (ops = 0; ops < OPS && failed < 50; ops++) {
		failed += !use(ch, &seed);
		assert_true(clock_ns() < end);
	}
	atomic_store(&m.stop, true);
	pthread_join(thread, NULL);
	if (legal)
		assert_int_equal(failed, 0);
	smcdu_close(ch);
	fake_end(&f);
}

static void test_true_cursors(void **state)
{
	for (uint32_t i = 0; i < ROUNDS; i++)
		one_round(i, true);
}

static void test_anything(void **state)
{
	for (uint32_t i = 0; i < 10 * ROUNDS; i++)
		one_round(i, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_true_cursors),
		cmocka_unit_test(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
