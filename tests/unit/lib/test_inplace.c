/* SPDX-License-Identifier: MIT */
/* The rings in the application's hands: both parts, what may be waited for, whole records. */
#include "fake.h"
#include "pair.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/base/endian.h"
#include "vfio/base/far.h"

#define N    (RING - CDC_SIZE)
#define HEAD 4u
#define MARK 8u
#define STEP 97u /* prime to every ring here: so many bytes at a time begin at every place in the end */

struct rig {
	struct pair p; /* attached */
	struct fake f; /* mediated, with one channel */
	struct smcdu_channel *ch;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	pair_open(&r->p, RING, 0);
	fake_make(&r->f, RING, 2 * RING, CDC_BIG);
	r->ch = fake_adopt(&r->f);
	*state = r;
	return 0;
}

static int setup_records(void **state)
{
	struct rig *r;

	setup(state);
	r = *state;
	channel_set_record(r->p.ch[0], true);
	channel_set_record(r->p.ch[1], true);
	channel_set_record(r->ch, true);
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	pair_close(&r->p);
	smcdu_close(r->ch);
	fake_end(&r->f);
	free(r);
	return 0;
}

static void parts_fill(const struct iovec iov[2], uint64_t pos, size_t len)
{
	size_t first = len < iov[0].iov_len ? len : iov[0].iov_len;

	pattern_fill(iov[0].iov_base, pos, first);
	pattern_fill(iov[1].iov_base, pos + first, len - first);
}

static void parts_check(const struct iovec iov[2], uint64_t pos, size_t len)
{
	size_t first = len < iov[0].iov_len ? len : iov[0].iov_len;

	assert_true(len - first <= iov[1].iov_len);
	pattern_check(iov[0].iov_base, pos, first);
	pattern_check(iov[1].iov_base, pos + first, len - first);
}

/* The parts that @len bytes at @pos of this ring have. */
static void expect_parts(const struct iovec iov[2], const uint8_t *ring, uint32_t n, uint64_t pos,
	size_t len)
{
	size_t off = (size_t)(pos % n), first = len < n - off ? len : n - off;

	assert_ptr_equal(iov[0].iov_base, ring + off);
	assert_int_equal(iov[0].iov_len, first);
	assert_int_equal(iov[1].iov_len, len - first);
	if (len > first)
		assert_ptr_equal(iov[1].iov_base, ring);
}

static void reserve_at(struct smcdu_channel *ch, uint64_t pos, struct iovec iov[2])
{
	struct smcdu_channel_info info;
	ssize_t space = smcdu_reservev(ch, iov, 0, SMCDU_DONTWAIT);

	smcdu_channel_info(ch, &info);
	assert_in_range(space, info.sndbuf / 2, info.sndbuf);
	expect_parts(iov, ch->tx.ring, info.sndbuf, pos, (size_t)space);
}

static void peek_at(struct smcdu_channel *ch, uint64_t pos, size_t len, struct iovec iov[2])
{
	assert_int_equal(smcdu_peekv(ch, iov, 0, SMCDU_DONTWAIT), len);
	expect_parts(iov, ch->rx.ring, ch->rx.size, pos, len);
	parts_check(iov, pos, len);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void test_every_place_attached(void **state)
{
	struct rig *r = *state;
	struct iovec iov[2];
	uint64_t pos = 0;

	for (unsigned int i = 0; i < N; i++, pos += STEP) {
		reserve_at(r->p.ch[0], pos, iov);
		parts_fill(iov, pos, STEP);
		assert_int_equal(smcdu_commit(r->p.ch[0], STEP), 0);
		peek_at(r->p.ch[1], pos, STEP, iov);
		assert_int_equal(smcdu_release(r->p.ch[1], STEP), 0);
	}
	assert_int_equal(pos % N, 0); /* each was the beginning once */
}

static void test_every_place_mediated(void **state)
{
	struct rig *r = *state;
	struct iovec iov[2];
	uint64_t pos = 0;

	for (unsigned int i = 0; i < r->f.tx_n; i++, pos += STEP) {
		reserve_at(r->ch, pos, iov);
		parts_fill(iov, pos, STEP);
		assert_int_equal(smcdu_commit(r->ch, STEP), 0);
		assert_int_equal(fake_take(&r->f, SIZE_MAX), STEP);
		fake_write(&r->f, STEP);
		peek_at(r->ch, pos, STEP, iov);
		assert_int_equal(smcdu_release(r->ch, STEP), 0);
	}
	assert_int_equal(pos, (uint64_t)STEP * r->f.tx_n);
}

/* A part at a time, more than one part at once, and the calls that know one part only. */
static void test_parts_of_parts(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	uint8_t buf[N] = { 0 };
	struct iovec iov[2], again[2];
	const void *data;
	size_t len;
	void *p;

	assert_int_equal(smcdu_send(tx, buf, N - 10, 0), N - 10);
	assert_int_equal(smcdu_recv(rx, buf, N, 0), N - 10);
	assert_true(smcdu_reservev(tx, iov, 0, 0) > 20);
	assert_int_equal(iov[0].iov_len, 10);
	pattern_fill(iov[0].iov_base, 0, 7);
	assert_int_equal(smcdu_commit(tx, 7), 0);
	assert_int_equal(smcdu_commit(tx, 1), -EINVAL); /* the rest was given up */
	assert_int_equal(smcdu_reserve(tx, &p, &len, 0), 0);
	assert_ptr_equal(p, (uint8_t *)iov[0].iov_base + 7);
	assert_int_equal(len, 3);
	assert_int_equal(smcdu_commit(tx, 4), -EINVAL); /* one part only was given */
	assert_true(smcdu_reservev(tx, again, 0, 0) > 20);
	assert_ptr_equal(again[0].iov_base, p);
	parts_fill(again, 7, 20);
	assert_int_equal(smcdu_commit(tx, 0), 0);
	assert_int_equal(smcdu_peekv(rx, iov, 0, SMCDU_DONTWAIT), 7);
	assert_true(smcdu_reservev(tx, again, 0, 0) > 20); /* what is written there stays there */
	assert_int_equal(smcdu_commit(tx, 20), 0);

	assert_int_equal(smcdu_peek(rx, &data, &len, 0), 0);
	assert_int_equal(len, 7); /* what was accepted comes first */
	assert_int_equal(smcdu_release(rx, 4), 0);
	assert_int_equal(smcdu_release(rx, 4), -EINVAL);
	assert_int_equal(smcdu_release(rx, 3), 0);
	assert_int_equal(smcdu_peek(rx, &data, &len, 0), 0);
	assert_int_equal(len, 3);
	assert_int_equal(smcdu_release(rx, 4), -EINVAL);
	assert_int_equal(smcdu_peekv(rx, iov, 0, 0), 20);
	assert_ptr_equal(iov[0].iov_base, data);
	parts_check(iov, 7, 20);
	assert_int_equal(smcdu_release(rx, 12), 0);
	assert_int_equal(smcdu_release(rx, 9), -EINVAL);
	assert_int_equal(smcdu_release(rx, 8), 0);
	assert_int_equal(smcdu_peekv(rx, iov, 0, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_release(rx, 1), -EINVAL);
}

/* Space and bytes are worth waiting for when there is enough of them, for the descriptor, too. */
static void test_want(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	uint8_t buf[N] = { 0 };
	struct iovec iov[2] = { { buf, 1 }, { buf, 2 } };

	assert_int_equal(smcdu_reservev(tx, iov, N / 2 + 1, SMCDU_DONTWAIT), -EMSGSIZE);
	assert_int_equal(smcdu_peekv(rx, iov, N / 4 + 1, SMCDU_DONTWAIT), -EMSGSIZE);
	assert_int_equal(smcdu_reservev(tx, iov, 1, SMCDU_TRUNC), -EINVAL);
	assert_int_equal(smcdu_peekv(rx, iov, 1, SMCDU_WAITALL), -EINVAL);
	assert_int_equal(smcdu_set_events(tx, SMCDU_OUT), 0);
	assert_int_equal(smcdu_send(tx, buf, N - 100, 0), N - 100);
	assert_int_equal(smcdu_reservev(tx, iov, 101, SMCDU_DONTWAIT), -EAGAIN);
	assert_true(iov[0].iov_len == 1 && iov[1].iov_len == 2); /* untouched so far */
	assert_int_equal(smcdu_events(tx) & SMCDU_OUT, 0);
	assert_int_equal(smcdu_reservev(tx, iov, 100, SMCDU_DONTWAIT), 100);
	assert_int_equal(smcdu_recv(rx, buf, N - 100, 0), N - 100);
	assert_int_equal(smcdu_events(tx) & SMCDU_OUT, SMCDU_OUT);
	assert_in_range(smcdu_reservev(tx, iov, N / 2, SMCDU_DONTWAIT), N / 2, N);

	assert_int_equal(smcdu_send(tx, buf, 10, 0), 10);
	assert_int_equal(smcdu_peekv(rx, iov, 11, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_events(rx) & SMCDU_IN, 0);
	/* A receive wants any, and from then on so does the descriptor. */
	assert_int_equal(smcdu_recv(rx, buf, 5, SMCDU_DONTWAIT), 5);
	assert_int_equal(smcdu_events(rx) & SMCDU_IN, SMCDU_IN);
	assert_int_equal(smcdu_peekv(rx, iov, 6, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_events(rx) & SMCDU_IN, 0);
	assert_int_equal(smcdu_send(tx, buf, 1, 0), 1);
	assert_int_equal(smcdu_events(rx) & SMCDU_IN, SMCDU_IN);
	assert_int_equal(smcdu_peekv(rx, iov, 6, SMCDU_DONTWAIT), 6);
	assert_int_equal(smcdu_release(rx, 6), 0);
}

/* Nothing more than this will come, or not before this is read: it is enough. */
static void test_want_at_the_end(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	struct iovec iov[2];

	assert_int_equal(smcdu_send(tx, "before!", 7, SMCDU_OOB), 7);
	assert_int_equal(smcdu_peekv(rx, iov, 1000, 0), 6);
	assert_memory_equal(iov[0].iov_base, "before", 6);
	assert_int_equal(smcdu_release(rx, 6), 0);
	assert_int_equal(smcdu_peekv(rx, iov, 1000, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_send(tx, "end", 3, 0), 3);
	assert_int_equal(smcdu_peekv(rx, iov, 1000, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_shutdown(tx), 0);
	assert_int_equal(smcdu_peekv(rx, iov, 1000, 0), 3);
	assert_memory_equal(iov[0].iov_base, "end", 3);
	assert_int_equal(smcdu_release(rx, 3), 0);
	assert_int_equal(smcdu_peekv(rx, iov, 1000, 0), 0);

	fake_write(&r->f, 5);
	assert_int_equal(smcdu_peekv(r->ch, iov, 6, SMCDU_DONTWAIT), -EAGAIN);
	r->f.conn_flags = CDC_ABNORMAL;
	fake_cdc(&r->f);
	assert_int_equal(smcdu_peekv(r->ch, iov, 6, 0), 5);
	assert_int_equal(smcdu_release(r->ch, 5), 0);
	assert_int_equal(smcdu_peekv(r->ch, iov, 6, 0), -ECONNRESET);
	assert_int_equal(smcdu_reservev(r->ch, iov, 6, 0), -ECONNRESET);
}

/* ---- both at once: whatever may be wanted comes ---------------------------------------------- */

#define TOTAL (8u << 20)

struct half {
	struct smcdu_channel *ch;
	bool ok;
};

static size_t want_of(uint32_t *seed, size_t max)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 30 ? 1 + (*seed >> 8) % max : max;
}

static void *produce(void *arg)
{
	struct half *h = arg;
	uint32_t seed = 1;
	struct iovec iov[2];

	for (uint64_t pos = 0; pos < TOTAL;) {
		size_t n = want_of(&seed, N / 2);

		n = n < TOTAL - pos ? n : (size_t)(TOTAL - pos);
		if (smcdu_reservev(h->ch, iov, n, 0) < (ssize_t)n)
			return NULL;
		parts_fill(iov, pos, n);
		if (smcdu_commit(h->ch, n) < 0)
			return NULL;
		pos += n;
	}
	h->ok = smcdu_shutdown(h->ch) == 0;
	return NULL;
}

static void *consume(void *arg)
{
	struct half *h = arg;
	uint32_t seed = 2;
	struct iovec iov[2];

	for (uint64_t pos = 0; pos < TOTAL;) {
		size_t want = want_of(&seed, N / 4);
		ssize_t n = smcdu_peekv(h->ch, iov, want, 0);

		if (n < (ssize_t)want && pos + (size_t)n != TOTAL)
			return NULL;
		want = (size_t)n < want ? (size_t)n : want;
		parts_check(iov, pos, want);
		if (smcdu_release(h->ch, want) < 0)
			return NULL;
		pos += want;
	}
	h->ok = smcdu_peekv(h->ch, iov, 1, 0) == 0;
	return NULL;
}

static void test_nobody_waits_for_ever(void **state)
{
	struct rig *r = *state;

	for (uint32_t spin_us = 0; spin_us <= 20; spin_us += 20) {
		struct half tx, rx;
		pthread_t t[2];

		pair_close(&r->p);
		pair_open(&r->p, RING, spin_us);
		tx = (struct half){ .ch = r->p.ch[0] };
		rx = (struct half){ .ch = r->p.ch[1] };
		pthread_create(&t[0], NULL, produce, &tx);
		pthread_create(&t[1], NULL, consume, &rx);
		for (int i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
		assert_true(tx.ok && rx.ok);
	}
}

/* What a mediated reader leaves untold is told when the daemon would, by what that says it told. */
static void test_the_daemon_is_rung_in_time(void **state)
{
	struct rig *r = *state;
	struct iovec iov[2];

	fake_write(&r->f, N / 2 + 1);
	assert_int_equal(smcdu_peekv(r->ch, iov, 0, 0), N / 2 + 1);
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_release(r->ch, 2304), 0);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	assert_int_equal(smcdu_release(r->ch, 1), 0);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	/* It did not tell, and sleeps again: it has to hear of more. */
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_release(r->ch, 1), 0);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	/* It tells, and tells again of its own accord: from there on it counts. */
	atomic_store(&r->f.ctl->rx_told, N / 2 + 1);
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_release(r->ch, N / 2 + 1 - 2306), 0);
	fake_write(&r->f, N - 100);
	assert_int_equal(smcdu_peekv(r->ch, iov, 0, 0), N - 100);
	assert_int_equal(smcdu_release(r->ch, 2304), 0);
	atomic_store(&r->f.ctl->rx_told, N / 2 + 1 + 100);
	assert_int_equal(smcdu_release(r->ch, 100), 0);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	assert_int_equal(smcdu_release(r->ch, 1), 0);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	/* Whoever waits for more than there is has told of all that is read, however little that is. */
	atomic_store(&r->f.ctl->rx_told, N / 2 + 1 + 2405);
	assert_int_equal(smcdu_release(r->ch, N - 100 - 2405 - 10), 0);
	while (fake_message(&r->f) == CHAN_BELL)
		;
	atomic_store(&r->f.ctl->rx_told, N / 2 + 1 + N - 100 - 11);
	atomic_store(&r->f.ctl->bell, 1);
	assert_int_equal(smcdu_peekv(r->ch, iov, 10, SMCDU_DONTWAIT), 10);
	assert_int_equal(fake_message(&r->f), -EAGAIN);
	assert_int_equal(smcdu_peekv(r->ch, iov, 11, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
}

/* ---- records --------------------------------------------------------------------------------- */

static void put_in_place(struct smcdu_channel *ch, uint64_t pos, size_t room, size_t len)
{
	struct iovec iov[2];

	assert_int_equal(smcdu_reservev(ch, iov, room, SMCDU_DONTWAIT), room);
	assert_int_equal(iov[0].iov_len + iov[1].iov_len, room);
	parts_fill(iov, pos, len);
	assert_int_equal(smcdu_commit(ch, len), 0);
}

static void get_in_place(struct smcdu_channel *ch, uint64_t pos, size_t len)
{
	struct iovec iov[2];

	assert_int_equal(smcdu_peekv(ch, iov, 0, SMCDU_DONTWAIT), len);
	assert_int_equal(iov[0].iov_len + iov[1].iov_len, len);
	parts_check(iov, pos, len);
	if (len > 1)
		assert_int_equal(smcdu_release(ch, len - 1), -EINVAL);
	assert_int_equal(smcdu_release(ch, len), 0);
}

static void send_record(struct smcdu_channel *ch, uint64_t pos, size_t len)
{
	uint8_t buf[RING];

	pattern_fill(buf, pos, len);
	assert_int_equal(smcdu_send(ch, buf, len, SMCDU_DONTWAIT), len);
}

static void recv_record(struct smcdu_channel *ch, uint64_t pos, size_t len)
{
	uint8_t buf[RING];

	assert_int_equal(smcdu_recv(ch, buf, sizeof(buf), SMCDU_DONTWAIT), len);
	pattern_check(buf, pos, len);
}

/* Every size, in every mixture of the ways to send and to receive; the wraps come with them. */
static void test_record_sizes_attached(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	size_t max = tx->info.record_max;

	for (size_t len = 1; len <= max; len += len < 200 || len > max - 50 ? 1 : 17) {
		for (unsigned int way = 0; way < 4; way++) {
			size_t room = len + len % 3 * 7;

			if (way & 1)
				send_record(tx, len, len);
			else
				put_in_place(tx, len, room < max ? room : max, len);
			if (way & 2)
				recv_record(rx, len, len);
			else
				get_in_place(rx, len, len);
		}
	}
	assert_int_equal(smcdu_shutdown(tx), 0);
	assert_int_equal(smcdu_peekv(rx, &(struct iovec[2]){ 0 }[0], 0, 0), 0);
}

/* What the daemon finds in the send ring is what a send would have put there. */
static void take_record(struct fake *f, uint64_t pos, size_t len, bool first)
{
	uint8_t head[MARK + HEAD];
	uint32_t skip = first ? MARK : 0;
	uint64_t have = atomic_load(&f->ctl->tx_pos) - f->cons;
	be32_t length;

	assert_int_equal(have, skip + HEAD + len);
	for (uint32_t i = 0; i < skip + HEAD; i++)
		head[i] = f->ring[f->cons++ % f->tx_n];
	assert_memory_equal(head, "SMCDREC1", skip);
	memcpy(&length, head + skip, HEAD);
	assert_int_equal(be32_get(length), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(f->ring[f->cons++ % f->tx_n], pattern(pos + i));
	fake_cdc(f);
}

static void give_record(struct fake *f, uint64_t pos, size_t len, bool first)
{
	uint8_t head[MARK + HEAD] = "SMCDREC1";
	uint32_t skip = first ? MARK : 0;
	be32_t length = be32_of((uint32_t)len);

	memcpy(head + skip, &length, HEAD);
	for (uint32_t i = 0; i < skip + HEAD; i++)
		f->dmb[CDC_SIZE + f->prod++ % f->rx_n] = head[i];
	for (size_t i = 0; i < len; i++)
		f->dmb[CDC_SIZE + f->prod++ % f->rx_n] = pattern(pos + i);
	fake_cdc(f);
}

static void test_record_sizes_mediated(void **state)
{
	struct rig *r = *state;
	size_t max = RING / 2 - CDC_SIZE / 2 - MARK - HEAD; /* of what comes */
	bool first = true;

	for (size_t len = 1; len <= max; len += len < 50 || len > max - 10 ? 1 : 61) {
		for (unsigned int way = 0; way < 2; way++) {
			if (way)
				send_record(r->ch, len, len);
			else
				put_in_place(r->ch, len, len + 9, len);
			take_record(&r->f, len, len, first);
			give_record(&r->f, len, len, first);
			if (way)
				recv_record(r->ch, len, len);
			else
				get_in_place(r->ch, len, len);
			first = false;
		}
	}
	assert_int_equal(r->ch->info.record_max, RING - CDC_SIZE / 2 - MARK - HEAD);
	put_in_place(r->ch, 1, r->ch->info.record_max, r->ch->info.record_max);
	take_record(&r->f, 1, r->ch->info.record_max, false);
}

static void test_record_rules(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	size_t max = tx->info.record_max, len = 1;
	struct iovec iov[2] = { { NULL, 1 }, { NULL, 2 } };
	void *space = NULL;
	const void *bytes = NULL;
	uint64_t before;

	assert_int_equal(smcdu_reserve(tx, &space, &len, SMCDU_DONTWAIT), -EOPNOTSUPP);
	assert_non_null(strstr(smcdu_last_error(), "smcdu_reservev()"));
	assert_int_equal(smcdu_peek(rx, &bytes, &len, SMCDU_DONTWAIT), -EOPNOTSUPP);
	assert_non_null(strstr(smcdu_last_error(), "smcdu_peekv()"));
	assert_true(!space && !bytes && len == 1);
	assert_int_equal(smcdu_reservev(tx, iov, 0, 0), -EINVAL);
	assert_int_equal(smcdu_reservev(tx, iov, max + 1, 0), -EMSGSIZE);
	assert_int_equal(smcdu_reservev(tx, iov, SIZE_MAX, 0), -EMSGSIZE);
	assert_int_equal(smcdu_commit(tx, 1), -EINVAL);
	assert_int_equal(smcdu_peekv(rx, iov, SIZE_MAX, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_release(rx, 1), -EINVAL);
	assert_true(iov[0].iov_len == 1 && iov[1].iov_len == 2);

	/* given up, outdone by a send, replaced */
	assert_int_equal(smcdu_reservev(tx, iov, 10, 0), 10);
	assert_int_equal(smcdu_commit(tx, 11), -EINVAL);
	assert_int_equal(smcdu_commit(tx, 0), 0);
	assert_int_equal(smcdu_commit(tx, 10), -EINVAL);
	assert_int_equal(smcdu_reservev(tx, iov, 10, 0), 10);
	send_record(tx, 3, 5);
	assert_int_equal(smcdu_commit(tx, 10), -EINVAL);
	assert_int_equal(smcdu_reservev(tx, iov, 10, 0), 10);
	put_in_place(tx, 4, 4, 4);
	assert_int_equal(smcdu_commit(tx, 1), -EINVAL);
	/* peeked at again, received instead */
	assert_int_equal(smcdu_peekv(rx, iov, 0, 0), 5);
	get_in_place(rx, 3, 5);
	assert_int_equal(smcdu_release(rx, 5), -EINVAL);
	assert_int_equal(smcdu_peekv(rx, iov, 0, 0), 4);
	recv_record(rx, 4, 4);
	assert_int_equal(smcdu_release(rx, 4), -EINVAL);

	/* no half of one */
	before = lib_get(&tx->tx.pos);
	put_in_place(tx, 5, max, max);
	put_in_place(tx, 6, max - 100, max - 100);
	assert_int_equal(smcdu_reservev(tx, iov, max, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_events(tx) & SMCDU_OUT, 0);
	assert_int_equal(lib_get(&tx->tx.pos) - before, 2 * HEAD + 2 * max - 100);
	get_in_place(rx, 5, max);
	assert_int_equal(smcdu_events(tx) & SMCDU_OUT, SMCDU_OUT);
	put_in_place(tx, 7, max, 1);
	get_in_place(rx, 6, max - 100);
	get_in_place(rx, 7, 1);
}

/* The length is looked at once: what was given out is what is given back. */
static void test_record_that_changes(void **state)
{
	struct rig *r = *state;
	struct iovec iov[2];

	give_record(&r->f, 1, 100, true);
	assert_int_equal(smcdu_peekv(r->ch, iov, 0, 0), 100);
	memset(r->f.dmb + CDC_SIZE + MARK, 0xff, HEAD);
	assert_int_equal(smcdu_peekv(r->ch, iov, 0, 0), 100);
	assert_int_equal(smcdu_release(r->ch, 100), 0);
	assert_int_equal(atomic_load(&r->f.ctl->rx_pos), MARK + HEAD + 100);
	give_record(&r->f, 2, 3, false);
	memset(r->f.dmb + CDC_SIZE + MARK + HEAD + 100, 1, HEAD);
	assert_int_equal(smcdu_peekv(r->ch, iov, 0, 0), -ECONNRESET);
	assert_non_null(strstr(smcdu_last_error(), "impossible length"));
	assert_int_equal(smcdu_release(r->ch, 1), -EINVAL);
}

/* Advice follows what is measured, and what is written in place is measured, too. */
static void test_cached_part(void **state)
{
	struct rig *r = *state;
	struct smcdu_channel *tx = r->p.ch[0], *rx = r->p.ch[1];
	uint8_t bytes[1000];
	uint64_t end;
	size_t room;
	void *p;

	assert_int_equal(smcdu_cached_part(tx, 0), 0);
	assert_int_equal(smcdu_cached_part(tx, FAR_COPY_MIN - 1), FAR_COPY_MIN - 1);
	for (unsigned int way = 0; way <= WAY_ROOM; way++) {
		tx->tx.way.now = tx->tx.way.best = (uint8_t)way;
		assert_int_equal(smcdu_cached_part(tx, 4096), way < WAY_PARTS ? 4096 / WAY_PARTS * way : 4096);
	}
	assert_in_range(smcdu_cached_part(tx, FAR_COPY_MIN + 3), FAR_COPY_MIN, FAR_COPY_MIN + 3);
	end = tx->tx.way.end;
	do {
		assert_int_equal(smcdu_reserve(tx, &p, &room, SMCDU_DONTWAIT), 0);
		memset(p, 1, room < sizeof(bytes) ? room : sizeof(bytes));
		assert_int_equal(smcdu_commit(tx, room < sizeof(bytes) ? room : sizeof(bytes)), 0);
		assert_true(smcdu_recv(rx, bytes, sizeof(bytes), SMCDU_DONTWAIT) > 0);
	} while (lib_get(&tx->tx.pos) < end);
	smcdu_cached_part(tx, FAR_COPY_MIN);
	assert_true(tx->tx.way.end > end);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define R(f) cmocka_unit_test_setup_teardown(f, setup_records, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_every_place_attached), T(test_every_place_mediated), T(test_parts_of_parts),
		T(test_want), T(test_want_at_the_end), T(test_nobody_waits_for_ever),
		T(test_the_daemon_is_rung_in_time), T(test_cached_part),
		R(test_record_sizes_attached), R(test_record_sizes_mediated), R(test_record_rules),
		R(test_record_that_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
