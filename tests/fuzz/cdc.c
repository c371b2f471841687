/* SPDX-License-Identifier: MIT */
/*
 * CDC blocks and cursors: one end of a connection whose peer and whose application do anything. The
 * rings are small, so that every edge is near. A shadow keeps the same positions by simpler means
 * and says what must have been taken and what refused.
 */
#include <errno.h>

#include "fuzz.h"
#include "smcd/daemon/stream.h"

#define TOKEN UINT64_C(0x1234567800000000)
#define STEPS_MAX 2000

struct end {
	struct stream s;
	uint8_t *dmb;	  /* ours, the peer writes it */
	uint8_t *tx;	  /* mirror of the peer's */
	uint8_t *peer;	  /* the peer's: where our moves go */
	uint8_t *cdc;
	uint32_t rx_size, tx_size;
	bool fail_moves;
	bool dead; /* a move failed: nothing more is pushed */
};

static uint8_t *block(size_t size)
{
	uint8_t *p = aligned_alloc(8, (size + 7) / 8 * 8);

	CHECK(p);
	memset(p, 0, size);
	return p;
}

/* Payload from where it lies in the mirror, and one signalled CDC of 32 bytes behind it. */
static int move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	struct end *e = ctx;
	size_t i;

	CHECK(n > 0);
	for (i = 0; i < n; i++) {
		const uint8_t *data = v[i].data;

		CHECK(v[i].token == TOKEN && v[i].len > 0 && v[i].idx == 0);
		CHECK(v[i].offset <= e->tx_size && v[i].len <= e->tx_size - v[i].offset);
		CHECK(v[i].sf == (i == n - 1));
		if (v[i].sf)
			CHECK(v[i].offset == 0 && v[i].len == CDC_SIZE && data == e->cdc);
		else
			CHECK(v[i].offset >= CDC_SIZE && data == e->tx + v[i].offset);
		if (e->fail_moves) {
			*done = i;
			return -EIO;
		}
		memcpy(e->peer + v[i].offset, data, v[i].len);
	}
	*done = n;
	return 0;
}

static void invariants(const struct end *e)
{
	const struct stream *s = &e->s;

	CHECK(s->rx_told <= s->rx_pos && s->rx_pos <= s->rx_total);
	CHECK(s->rx_total <= s->rx_told + s->rx_n);
	CHECK(s->tx_acked <= s->tx_sent && s->tx_sent <= s->tx_acked + s->tx_n);
	CHECK(s->rx_urg <= s->rx_total);
}

/* How far a cursor is ahead, tried out: SIZE_MAX if by no amount up to @max. */
static uint64_t ahead(uint64_t pos, struct smc_cursor c, uint32_t n, uint64_t max)
{
	uint64_t k;

	for (k = 0; k <= max; k++) {
		if ((uint16_t)((pos + k) / n) == c.wrap && (pos + k) % n == c.count)
			return k;
	}
	return SIZE_MAX;
}

static bool same_stream(const struct stream *a, const struct stream *b)
{
	return a->rx_total == b->rx_total && a->rx_pos == b->rx_pos && a->rx_told == b->rx_told &&
		a->rx_urg == b->rx_urg && a->peer_prod_flags == b->peer_prod_flags &&
		a->tx_sent == b->tx_sent && a->tx_acked == b->tx_acked &&
		a->tx_urg == b->tx_urg && a->tx_blocked == b->tx_blocked && a->cdc_tx == b->cdc_tx;
}

static void pull(struct end *e)
{
	const struct stream old = e->s;
	struct stream_news news = { 0 };
	struct cdc_msg msg;
	uint64_t bytes, space;
	int r;

	cdc_load(e->dmb, e->s.order, &msg);
	bytes = ahead(old.rx_total, msg.prod, old.rx_n, old.rx_n - (old.rx_total - old.rx_told));
	space = ahead(old.tx_acked, msg.cons, old.tx_n, old.tx_sent - old.tx_acked);
	r = stream_pull(&e->s, &news);
	if (bytes == SIZE_MAX || space == SIZE_MAX) {
		CHECK(r == -EPROTO && same_stream(&old, &e->s));
		return;
	}
	CHECK(r == 0 && news.bytes == bytes && news.space == space);
	CHECK(news.conn_flags == msg.conn_flags);
	if (news.urgent)
		cdc_take_urgent(e->dmb);
}

/* What an honest peer could say: a bit more written, a bit more read. */
static void honest(struct end *e, struct input *in)
{
	const struct stream *s = &e->s;
	uint64_t room = s->rx_n - (s->rx_total - s->rx_told);
	uint64_t sent = s->tx_sent - s->tx_acked;
	struct cdc_msg msg;

	CHECK(s->rx_n > 0 && s->tx_n > 0);
	msg = (struct cdc_msg){
		.prod = cursor_of(s->rx_total + (room ? in8(in) % (room + 1) : 0), s->rx_n),
		.cons = cursor_of(s->tx_acked + (sent ? in8(in) % (sent + 1) : 0), s->tx_n),
		.prod_flags = in8(in),
	};

	cdc_store(e->dmb, &msg, s->order);
}

/* The wire's view of where we stand must be what we believe. */
static void check_told(const struct end *e, uint64_t tx, uint64_t rx, uint8_t flags)
{
	struct cdc_msg msg;

	cdc_load(e->peer, e->s.order, &msg);
	CHECK(msg.prod.wrap == (uint16_t)(tx / e->s.tx_n) && msg.prod.count == tx % e->s.tx_n);
	CHECK(msg.cons.wrap == (uint16_t)(rx / e->s.rx_n) && msg.cons.count == rx % e->s.rx_n);
	CHECK(msg.conn_flags == flags);
	CHECK((msg.prod_flags & (CDC_URG_PENDING | CDC_URG_PRESENT)) == 0 || e->s.tx_urg);
}

static void push(struct end *e, struct input *in)
{
	uint8_t how = in8(in), flags = how & 4 ? in8(in) & 0xe0 : 0;
	uint64_t to = how & 1 ? in64(in) : e->s.tx_sent + in8(in) % (2 * e->s.tx_n);
	uint64_t budget = how & 2 ? in8(in) : UINT64_MAX, room = stream_tx_free(&e->s);
	uint64_t before = e->s.tx_sent, cdcs = e->s.cdc_tx;
	bool force = how & 8;
	ssize_t r;

	if (e->dead)
		return;
	e->fail_moves = (how & 0xf0) == 0xf0;
	e->s.tx_flows = how & 0x10;
	r = stream_push(&e->s, to, budget, flags, force);
	if (to < before || to - before > room) {
		CHECK(r == -EPROTO && e->s.tx_sent == before && e->s.cdc_tx == cdcs);
		return;
	}
	if (r < 0) {
		CHECK(r == -EIO && e->fail_moves && e->s.tx_sent == before);
		e->dead = true;
		return;
	}
	CHECK((uint64_t)r <= budget && (uint64_t)r <= to - before);
	CHECK(r > 0 || to == before || budget == 0); /* whatever may wait, it goes on */
	CHECK(e->s.tx_sent == before + (uint64_t)r);
	if (e->s.cdc_tx == cdcs) {
		CHECK(r == 0 && !force);
		return;
	}
	check_told(e, e->s.tx_sent, e->s.rx_pos, flags);
}

static void consume(struct end *e, struct input *in)
{
	uint64_t unread = e->s.rx_total - e->s.rx_pos, old = e->s.rx_pos;
	uint64_t to = in8(in) & 1 ? in64(in) : old + (unread ? in8(in) % (unread + 1) : 0);
	int r = stream_consume(&e->s, to);

	CHECK(r == (to >= old && to - old <= unread ? 0 : -EPROTO));
	CHECK(e->s.rx_pos == (r ? old : to));
}

static void step(struct end *e, struct input *in)
{
	const struct stream old = e->s;
	uint8_t raw[CDC_SIZE];

	switch (in8(in) % 8) {
	case 0: /* anything */
		in_bytes(in, raw, sizeof(raw));
		memcpy(e->dmb, raw, sizeof(raw));
		break;
	case 1: /* one byte of it */
		e->dmb[in8(in) % CDC_SIZE] = in8(in);
		break;
	case 2:
		honest(e, in);
		break;
	case 3:
	case 4:
		pull(e);
		break;
	case 5:
		consume(e, in);
		break;
	case 6:
		e->s.tx_urg = in8(in) & 1 ? in64(in) : e->s.tx_sent + in8(in);
		break;
	default:
		push(e, in);
	}
	if (in->left && (in->p[0] & 0xc0) == 0xc0) {
		uint64_t tx = old.tx_sent + in8(in) % 64, rx = old.rx_pos + in8(in) % 64;

		if (stream_catch_up(&e->s, tx, rx) == 0)
			CHECK(e->s.tx_sent == tx && e->s.rx_pos == rx && e->s.rx_told == rx);
	}
	stream_update_due(&e->s);
	stream_unread(&e->s);
	invariants(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct end e = { .rx_size = CDC_SIZE + 32 + in8(&in) % 33,
		.tx_size = CDC_SIZE + 32 + in8(&in) % 33 };
	uint8_t how = in8(&in);
	unsigned int i;

	e.dmb = block(e.rx_size);
	e.tx = block(e.tx_size);
	e.peer = block(e.tx_size);
	e.cdc = block(CDC_SIZE);
	e.s.move = move;
	e.s.move_ctx = &e;
	stream_open_rx(&e.s, e.dmb, e.rx_size, how & 1 ? CDC_BIG : CDC_LITTLE);
	stream_open_tx(&e.s, TOKEN, e.tx_size, e.tx, e.cdc);
	if (how & 2) { /* as if it had run for long: the wraps are about to turn over */
		e.s.rx_total = e.s.rx_pos = e.s.rx_told = UINT64_C(65535) * e.s.rx_n;
		e.s.tx_sent = e.s.tx_acked = UINT64_C(65535) * e.s.tx_n;
	}
	for (i = 0; in.left && i < STEPS_MAX; i++)
		step(&e, &in);
	free(e.dmb);
	free(e.tx);
	free(e.peer);
	free(e.cdc);
	return 0;
}
