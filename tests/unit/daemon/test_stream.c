/* SPDX-License-Identifier: MIT */
/* Two streams whose moves are copies into each other's memory; and a peer that lies. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/daemon/stream.h"

#define SIZE 16384u
#define N    (SIZE - CDC_SIZE)

struct end {
	struct stream s;
	_Alignas(8) uint8_t dmb[SIZE];
	_Alignas(8) uint8_t tx[SIZE];
	_Alignas(8) uint8_t cdc[CDC_SIZE];
	struct end *peer;
	uint64_t put;	/* bytes put into tx */
	int fail_after; /* moves until one fails; -1: never */
	size_t moves;
	size_t signals;
	bool cdc_was_last;
};

static int copy_move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	struct end *e = ctx;
	size_t i;

	e->cdc_was_last = v[n - 1].offset == 0 && v[n - 1].len == CDC_SIZE && v[n - 1].sf;
	for (i = 0; i < n; i++) {
		*done = i;
		if (e->fail_after == 0)
			return -EIO;
		if (e->fail_after > 0)
			e->fail_after--;
		assert_int_equal(v[i].token, 0x1000);
		assert_true(v[i].len > 0 && v[i].offset + v[i].len <= SIZE);
		memcpy(e->peer->dmb + v[i].offset, v[i].data, v[i].len);
		e->moves++;
		e->signals += v[i].sf;
	}
	*done = n;
	return 0;
}

static struct end *new_pair(void)
{
	struct end *e = calloc(2, sizeof(*e));
	int i;

	assert_non_null(e);
	for (i = 0; i < 2; i++) {
		e[i].peer = &e[1 - i];
		e[i].fail_after = -1;
		e[i].s.move = copy_move;
		e[i].s.move_ctx = &e[i];
		stream_open_rx(&e[i].s, e[i].dmb, SIZE, CDC_BIG);
		stream_open_tx(&e[i].s, 0x1000, SIZE, e[i].tx, e[i].cdc);
	}
	return e;
}

static uint8_t pattern(uint64_t pos)
{
	return (uint8_t)(pos * 167 + (pos >> 8) * 13 + 1);
}

static void put(struct end *e, uint64_t len)
{
	for (; len > 0; len--, e->put++)
		e->tx[CDC_SIZE + e->put % N] = pattern(e->put);
}

/* Takes and checks everything that arrived. */
static uint64_t take(struct end *e)
{
	struct stream_news news;
	uint64_t pos, n;

	assert_int_equal(stream_pull(&e->s, &news), 0);
	n = e->s.rx_total - e->s.rx_pos;
	for (pos = e->s.rx_pos; pos < e->s.rx_total; pos++)
		assert_int_equal(e->dmb[CDC_SIZE + pos % N], pattern(pos));
	assert_int_equal(stream_consume(&e->s, e->s.rx_total), 0);
	return n;
}

static void bytes_arrive_through_wraps(void **state)
{
	struct end *e = new_pair();
	uint64_t total = 0;
	unsigned int i;

	for (i = 0; i < 400; i++) {
		struct stream_news news;
		uint64_t len = 1 + (i * 7919) % 5000;

		assert_int_equal(stream_pull(&e[0].s, &news), 0);
		if (len > stream_tx_free(&e[0].s))
			len = stream_tx_free(&e[0].s);
		put(&e[0], len);
		assert_int_equal(stream_push(&e[0].s, e[0].put, UINT64_MAX, 0, false), len);
		assert_true(len == 0 || e[0].cdc_was_last);
		total += take(&e[1]);
		assert_true(stream_push(&e[1].s, 0, 0, 0, stream_update_due(&e[1].s)) == 0);
	}
	assert_int_equal(total, e[0].put);
	assert_true(e[0].put > 10 * N);
	assert_int_equal(e[0].signals, e[0].s.cdc_tx);
	free(e);
}

static void full_ring_and_blocked_flag(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], N - 1);
	assert_int_equal(stream_push(&e[0].s, N - 1, UINT64_MAX, 0, false), N - 1);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(e[1].s.peer_prod_flags & CDC_WRITER_BLOCKED, 0);
	put(&e[0], 1);
	assert_int_equal(stream_push(&e[0].s, N, UINT64_MAX, 0, false), 1);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(news.bytes, 1);
	assert_true(e[1].s.peer_prod_flags & CDC_WRITER_BLOCKED);
	assert_int_equal(stream_tx_free(&e[0].s), 0);
	/* One more than free is the application's lie. */
	assert_int_equal(stream_push(&e[0].s, N + 1, UINT64_MAX, 0, false), -EPROTO);
	/* Consumed and told: all is free again. */
	assert_int_equal(take(&e[1]), N);
	assert_true(stream_update_due(&e[1].s));
	assert_int_equal(stream_push(&e[1].s, 0, 0, 0, true), 0);
	assert_int_equal(stream_pull(&e[0].s, &news), 0);
	assert_int_equal(news.space, N);
	assert_int_equal(stream_tx_free(&e[0].s), N);
	free(e);
}

static void budget_and_force(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], 1000);
	assert_int_equal(stream_push(&e[0].s, 1000, 300, 0, false), 300);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(news.bytes, 300);
	assert_int_equal(stream_push(&e[0].s, 1000, 1000, 0, false), 700);
	assert_int_equal(e[0].s.cdc_tx, 2);
	assert_int_equal(stream_push(&e[0].s, 1000, 1000, 0, false), 0);
	assert_int_equal(e[0].s.cdc_tx, 2); /* nothing to say */
	assert_int_equal(stream_push(&e[0].s, 1000, 0, CDC_CONN_CLOSED, true), 0);
	assert_int_equal(e[0].s.cdc_tx, 3);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(news.conn_flags, CDC_CONN_CLOSED);
	/* Back is never forward. */
	assert_int_equal(stream_push(&e[0].s, 999, 1000, 0, false), -EPROTO);
	free(e);
}

static void failed_payload_sends_no_cdc(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], N - 10);
	assert_int_equal(stream_push(&e[0].s, e[0].put, UINT64_MAX, 0, false), N - 10);
	take(&e[1]);
	assert_int_equal(stream_push(&e[1].s, 0, 0, 0, true), 0);
	assert_int_equal(stream_pull(&e[0].s, &news), 0);
	put(&e[0], 20); /* two pieces */
	e[0].fail_after = 1;
	assert_int_equal(stream_push(&e[0].s, e[0].put, UINT64_MAX, 0, false), -EIO);
	assert_int_equal(e[0].s.tx_sent, N - 10);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(news.bytes, 0);
	free(e);
}

/* The CDC that @e wrote last. */
static struct cdc_msg said(struct end *e)
{
	struct cdc_msg m;

	cdc_load(e->peer->dmb, CDC_BIG, &m);
	return m;
}

/* B says what the last transmission found, also in CDCs that move nothing. */
static void blocked_stands(void **state)
{
	struct end *e = new_pair();

	put(&e[0], N);
	assert_int_equal(stream_push(&e[0].s, N, UINT64_MAX, 0, false), N);
	assert_int_equal(said(&e[0]).prod_flags, CDC_WRITER_BLOCKED);
	assert_int_equal(stream_push(&e[0].s, N, 0, 0, true), 0);
	assert_int_equal(said(&e[0]).prod_flags, CDC_WRITER_BLOCKED);
	assert_int_equal(take(&e[1]), N);
	assert_int_equal(stream_push(&e[1].s, 0, 0, 0, true), 0);
	assert_int_equal(take(&e[0]), 0);
	put(&e[0], 1);
	assert_int_equal(stream_push(&e[0].s, N + 1, UINT64_MAX, 0, false), 1);
	assert_int_equal(said(&e[0]).prod_flags, 0);
	free(e);
}

/*
 * What waits here fills the ring, but not the peer's: more goes at the next turn, so nothing is asked of the
 * peer before half of its ring is full of what it has not acknowledged.
 */
static void pending_is_not_blocked(void **state)
{
	struct end *e = new_pair();
	uint64_t turns = 0;

	put(&e[0], N);
	do {
		assert_true(stream_push(&e[0].s, N, N / 8, 0, false) > 0);
		turns++;
		assert_int_equal(said(&e[0]).prod_flags,
			e[0].s.tx_sent == N ? CDC_WRITER_BLOCKED : 0);
		take(&e[1]);
		assert_true(stream_update_due(&e[1].s) == (e[0].s.tx_sent >= N / 2));
	} while (e[0].s.tx_sent < N);
	assert_true(turns >= 8);
	free(e);
}

/* R: whatever is consumed is told. */
static void update_on_request(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;
	struct cdc_msg m = { .prod = { 0, 10 } };

	cdc_encode(e->dmb, &m, CDC_BIG);
	assert_int_equal(stream_pull(&e->s, &news), 0);
	assert_int_equal(stream_consume(&e->s, 1), 0);
	assert_false(stream_update_due(&e->s));
	m.prod_flags = CDC_CONS_REQUEST;
	cdc_encode(e->dmb, &m, CDC_BIG);
	assert_int_equal(stream_pull(&e->s, &news), 0);
	assert_true(stream_update_due(&e->s));
	assert_int_equal(stream_push(&e->s, 0, 0, 0, true), 0);
	assert_false(stream_update_due(&e->s));
	free(e);
}

/* P while the urgent byte is under way, U in the CDC that ends with it, then neither. */
static void urgent_is_the_last_of_its_cdc(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], 1000);
	e[0].s.tx_urg = 700;
	assert_int_equal(stream_push(&e[0].s, 1000, 300, 0, false), 300);
	assert_int_equal(said(&e[0]).prod_flags, CDC_URG_PENDING);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_false(news.urgent);
	assert_int_equal(stream_push(&e[0].s, 1000, 1000, 0, false), 400);
	assert_int_equal(said(&e[0]).prod_flags, CDC_URG_PENDING | CDC_URG_PRESENT);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_true(news.urgent);
	assert_int_equal(e[1].s.rx_urg, 700);
	cdc_take_urgent(e[1].dmb);
	assert_int_equal(said(&e[0]).prod_flags, 0);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_false(news.urgent);
	/* The sender waits for the reader to pass it: that is told at once. */
	assert_int_equal(stream_consume(&e[1].s, 699), 0);
	assert_false(stream_update_due(&e[1].s));
	assert_false(stream_unread(&e[1].s)); /* it is not read in order */
	assert_int_equal(stream_consume(&e[1].s, 698), -EPROTO);
	assert_int_equal(stream_consume(&e[1].s, 700), 0);
	assert_true(stream_update_due(&e[1].s));
	assert_int_equal(stream_push(&e[1].s, 0, 0, 0, true), 0);
	assert_false(stream_update_due(&e[1].s));
	/* A consumer update of the sender says nothing of it any more. */
	assert_int_equal(stream_push(&e[0].s, 1000, 0, 0, true), 0);
	assert_int_equal(said(&e[0]).prod_flags, 0);
	assert_int_equal(stream_push(&e[0].s, 1000, 1000, 0, false), 300);
	assert_int_equal(said(&e[0]).prod_flags, 0);
	assert_int_equal(take(&e[1]), 300);
	assert_int_equal(e[1].s.rx_urg, 700);
	free(e);
}

/* An end right behind it overwrites the block: it says it again, until it is confirmed. */
static void urgent_survives_an_end(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], 10);
	e[0].s.tx_urg = 10;
	assert_int_equal(stream_push(&e[0].s, 10, 1000, 0, false), 10);
	assert_int_equal(stream_push(&e[0].s, 10, 0, CDC_CONN_CLOSED, true), 0);
	assert_int_equal(said(&e[0]).prod_flags, CDC_URG_PRESENT);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_true(news.urgent);
	assert_int_equal(news.conn_flags, CDC_CONN_CLOSED);
	assert_int_equal(take(&e[1]), 10);
	assert_int_equal(stream_push(&e[1].s, 0, 0, 0, true), 0);
	assert_int_equal(stream_pull(&e[0].s, &news), 0);
	assert_int_equal(stream_push(&e[0].s, 10, 0, CDC_CONN_CLOSED, true), 0);
	assert_int_equal(said(&e[0]).prod_flags, 0);
	free(e);
}

/* Marks that an application invents stay within its own stream. */
static void lying_marks(void **state)
{
	uint64_t marks[] = { 0, 1, 99, 100, 101, N, N + 1, UINT64_MAX };
	struct stream_news news;
	size_t i;

	for (i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		struct end *e = new_pair();
		ssize_t len;

		put(&e[0], 100);
		e[0].s.tx_urg = marks[i];
		len = stream_push(&e[0].s, 100, UINT64_MAX, 0, false);
		assert_int_equal(len, marks[i] > 0 && marks[i] < 100 ? marks[i] : 100);
		assert_int_equal(stream_pull(&e[1].s, &news), 0);
		assert_int_equal(news.bytes, len);
		assert_int_equal(e[1].s.rx_urg, marks[i] && marks[i] <= 100 ? marks[i] : 0);
		e[0].s.tx_urg = 50; /* back */
		assert_int_equal(stream_push(&e[0].s, 100, UINT64_MAX, 0, false),
			marks[i] == 1 ? 49 : 100 - len);
		free(e);
	}
}

/* Writes a CDC into @e's DMB as its peer would. */
static void lie(struct end *e, uint64_t prod, uint64_t cons)
{
	struct cdc_msg m = { .prod = cursor_of(prod, N), .cons = cursor_of(cons, N) };

	cdc_encode(e->dmb, &m, CDC_BIG);
}

static void lying_cursors(void **state)
{
	struct end *e = new_pair();
	struct stream before, *s = &e[0].s;
	struct stream_news news;

	put(&e[0], 100);
	stream_push(s, 100, UINT64_MAX, 0, false);
	lie(&e[0], N, 100); /* a full ring, everything consumed: honest */
	assert_int_equal(stream_pull(s, &news), 0);
	assert_int_equal(news.bytes, N);
	before = *s;
	lie(&e[0], N + 1, 100); /* into unread bytes */
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	lie(&e[0], N, 101); /* consumed more than was sent */
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	lie(&e[0], N, 99); /* took consumption back */
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	lie(&e[0], N - 1, 100); /* took production back */
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	lie(&e[0], 3 * (uint64_t)N, 100); /* skipped a turn */
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	assert_memory_equal(&before, s, sizeof(before));
	/* Reading without telling the peer gives it no room. */
	assert_int_equal(stream_consume(s, 10), 0);
	lie(&e[0], N + 1, 100);
	assert_int_equal(stream_pull(s, &news), -EPROTO);
	assert_int_equal(stream_push(s, 100, 0, 0, true), 0);
	assert_int_equal(stream_pull(s, &news), 0);
	assert_int_equal(news.bytes, 1);
	free(e);
}

static void lying_reader(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	put(&e[0], 100);
	stream_push(&e[0].s, 100, UINT64_MAX, 0, false);
	assert_int_equal(stream_pull(&e[1].s, &news), 0);
	assert_int_equal(stream_consume(&e[1].s, 101), -EPROTO);
	assert_int_equal(stream_consume(&e[1].s, 50), 0);
	assert_int_equal(stream_consume(&e[1].s, 49), -EPROTO);
	assert_int_equal(e[1].s.rx_pos, 50);
	free(e);
}

/* Before the peer's DMB is known nothing can be sent, and nothing can have been consumed. */
static void half_open(void **state)
{
	struct end *e = new_pair();
	struct stream_news news;

	e[0].s.tx_n = 0;
	assert_int_equal(stream_push(&e[0].s, 0, 0, 0, true), -ENOTCONN);
	assert_false(stream_update_due(&e[0].s));
	lie(&e[0], 5, 0);
	assert_int_equal(stream_pull(&e[0].s, &news), 0);
	assert_int_equal(news.bytes, 5);
	lie(&e[0], 5, 1);
	assert_int_equal(stream_pull(&e[0].s, &news), -EPROTO);
	free(e);
}

/* Positions that somebody else moved are taken over only if they are ahead of what was seen. */
/* The peer is left as it was and not woken, whatever has changed here; without its DMB it fails. */
static void repeating(void **state)
{
	struct end *e = new_pair();
	uint8_t before[SIZE];
	size_t signals;

	assert_int_equal(stream_repeat(&e[0].s), 0);
	assert_int_equal(e[0].moves, 0);
	put(&e[0], 1000);
	assert_int_equal(stream_push(&e[0].s, e[0].put, UINT64_MAX, 0, false), 1000);
	put(&e[1], 500);
	assert_int_equal(stream_push(&e[1].s, e[1].put, UINT64_MAX, 0, false), 500);
	assert_int_equal(take(&e[0]), 500); /* which the peer has not heard */
	put(&e[0], 100);		    /* nor this */
	memcpy(before, e[1].dmb, SIZE);
	signals = e[0].signals;
	assert_int_equal(stream_repeat(&e[0].s), 0);
	assert_memory_equal(before, e[1].dmb, SIZE);
	assert_int_equal(e[0].signals, signals);
	assert_int_equal(e[0].s.tx_sent, 1000);
	assert_int_equal(e[0].s.rx_told, 0);
	e[0].fail_after = 0;
	assert_int_equal(stream_repeat(&e[0].s), -EIO);
	free(e);
}

static void catching_up(void **state)
{
	struct end *e = new_pair();
	struct cdc_msg msg = { .prod = cursor_of(1000, N), .cons = cursor_of(500, N) };
	struct stream_news news;

	put(&e[0], 600);
	assert_int_equal(stream_push(&e[0].s, 600, UINT64_MAX, 0, false), 600);
	cdc_store(e[0].dmb, &msg, CDC_BIG);
	assert_int_equal(stream_pull(&e[0].s, &news), 0);
	assert_int_equal(stream_catch_up(&e[0].s, 700, 300), 0);
	assert_int_equal(e[0].s.tx_sent, 700);
	assert_int_equal(e[0].s.rx_pos, 300);
	assert_int_equal(e[0].s.rx_total, 1000);
	msg.prod = cursor_of(900, N); /* took back what had arrived */
	cdc_store(e[0].dmb, &msg, CDC_BIG);
	assert_int_equal(stream_catch_up(&e[0].s, 800, 300), -EPROTO);
	msg.prod = cursor_of(1000, N);
	msg.cons = cursor_of(400, N); /* ... and what it had consumed */
	cdc_store(e[0].dmb, &msg, CDC_BIG);
	assert_int_equal(stream_catch_up(&e[0].s, 800, 300), -EPROTO);
	assert_int_equal(e[0].s.tx_sent, 700);
	assert_int_equal(e[0].s.rx_total, 1000);
	assert_int_equal(e[0].s.tx_acked, 500);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_through_wraps),
		cmocka_unit_test(full_ring_and_blocked_flag),
		cmocka_unit_test(budget_and_force),
		cmocka_unit_test(failed_payload_sends_no_cdc),
		cmocka_unit_test(blocked_stands),
		cmocka_unit_test(pending_is_not_blocked),
		cmocka_unit_test(update_on_request),
		cmocka_unit_test(urgent_is_the_last_of_its_cdc),
		cmocka_unit_test(urgent_survives_an_end),
		cmocka_unit_test(lying_marks),
		cmocka_unit_test(lying_cursors),
		cmocka_unit_test(lying_reader),
		cmocka_unit_test(half_open),
		cmocka_unit_test(repeating),
		cmocka_unit_test(catching_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
