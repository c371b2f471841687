/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/stream.h"

#include <errno.h>

#include "ism/proto.h"

void stream_open_rx(struct stream *s, const void *dmb, uint32_t dmb_size, enum cdc_order order)
{
	s->dmb = dmb;
	s->rx_n = dmb_size - CDC_SIZE;
	s->order = order;
}

void stream_open_tx(struct stream *s, uint64_t token, uint32_t dmb_size, const void *tx, void *cdc)
{
	s->token = token;
	s->tx_n = dmb_size - CDC_SIZE;
	s->tx = tx;
	s->cdc = cdc;
}

int stream_pull(struct stream *s, struct stream_news *news)
{
	struct cdc_msg msg;
	uint64_t bytes, space = 0;
	int ret;

	cdc_load(s->dmb, s->order, &msg);
	/*
	 * The peer may fill what it was told is free, and no more: rx_told, not rx_pos, is the
	 * bound that an honest peer cannot exceed and that keeps unread bytes from being
	 * overwritten.
	 */
	ret = cursor_advance(s->rx_total, msg.prod, s->rx_n, s->rx_n - (s->rx_total - s->rx_told),
		&bytes);
	if (ret < 0)
		return ret;
	if (s->tx_n) {
		ret = cursor_advance(
			s->tx_acked, msg.cons, s->tx_n, s->tx_sent - s->tx_acked, &space);
		if (ret < 0)
			return ret;
	} else if (msg.cons.wrap != 0 || msg.cons.count != 0) {
		return -EPROTO; /* consumed what we never sent */
	}
	s->rx_total += bytes;
	s->tx_acked += space;
	s->peer_prod_flags = msg.prod_flags;
	news->urgent = (msg.prod_flags & CDC_URG_PRESENT) && s->rx_urg != s->rx_total;
	if (msg.prod_flags & CDC_URG_PRESENT)
		s->rx_urg = s->rx_total;
	news->bytes = bytes;
	news->space = space;
	news->conn_flags = msg.conn_flags;
	return 0;
}

int stream_catch_up(struct stream *s, uint64_t tx_pos, uint64_t rx_pos)
{
	/* The peer has consumed at least what no longer fits into its ring behind it. */
	uint64_t acked = tx_pos > s->tx_n ? tx_pos - s->tx_n : 0;
	uint64_t bytes, space;
	struct cdc_msg msg;

	if (tx_pos < s->tx_sent || rx_pos < s->rx_pos || s->tx_n == 0)
		return -EPROTO;
	cdc_load(s->dmb, s->order, &msg);
	if (cursor_advance(rx_pos, msg.prod, s->rx_n, s->rx_n, &bytes) < 0 ||
		cursor_advance(acked, msg.cons, s->tx_n, tx_pos - acked, &space) < 0 ||
		rx_pos + bytes < s->rx_total || acked + space < s->tx_acked)
		return -EPROTO;
	s->tx_sent = tx_pos;
	s->tx_acked = acked + space;
	s->rx_pos = rx_pos;
	s->rx_told = rx_pos;
	s->rx_total = rx_pos + bytes;
	return 0;
}

int stream_consume(struct stream *s, uint64_t rx_pos)
{
	if (rx_pos < s->rx_pos || rx_pos > s->rx_total)
		return -EPROTO;
	s->rx_pos = rx_pos;
	return 0;
}

bool stream_update_due(const struct stream *s)
{
	if (s->tx_n == 0)
		return false;
	return (s->rx_told < s->rx_urg && s->rx_urg <= s->rx_pos) ||
	       cdc_update_due(s->rx_n, s->rx_total, s->rx_pos, s->rx_told, s->peer_prod_flags);
}

/* The payload pieces, split at the ring's end. Returns their number (0..2). */
static size_t cut(const struct stream *s, uint64_t len, struct ism_move mv[2])
{
	uint32_t at = (uint32_t)(s->tx_sent % s->tx_n);
	uint64_t first = s->tx_n - at < len ? s->tx_n - at : len;
	size_t n = 0;

	if (first > 0)
		mv[n++] = (struct ism_move){ .token = s->token, .offset = CDC_SIZE + at,
			.len = (uint32_t)first, .data = s->tx + CDC_SIZE + at };
	if (len > first)
		mv[n++] = (struct ism_move){ .token = s->token, .offset = CDC_SIZE,
			.len = (uint32_t)(len - first), .data = s->tx + CDC_SIZE };
	return n;
}

/* @len, cut back to the last line of the peer's DMB that it reaches, if it does. */
static uint64_t whole_lines(const struct stream *s, uint64_t len)
{
	uint32_t at = (uint32_t)(s->tx_sent % s->tx_n);
	uint64_t over = at + len > s->tx_n ? at + len - s->tx_n : 0; /* in the ring's next turn */
	uint64_t ragged = (CDC_SIZE + (over ? over : at + len)) % ISM_PAGE_SIZE;

	if (over && over < ragged)
		ragged = over; /* the ring's end is a line, its beginning is not */
	return ragged < len ? len - ragged : len;
}

/* How much of what is pending goes now. */
static uint64_t choose(const struct stream *s, uint64_t pending, uint64_t budget)
{
	uint64_t len = pending < budget ? pending : budget;

	/* The urgent byte is the last one of its CDC. */
	if (s->tx_urg > s->tx_sent && len >= s->tx_urg - s->tx_sent)
		return s->tx_urg - s->tx_sent;
	return len < pending || s->tx_flows ? whole_lines(s, len) : len;
}

/* P until the urgent byte goes, U when it does; see stream.h for the U of an end. */
static uint8_t urgent_flags(const struct stream *s, uint64_t prod, bool end)
{
	uint8_t flags = 0;

	if (s->tx_urg > s->tx_sent)
		flags |= CDC_URG_PENDING;
	if (s->tx_urg == prod && s->tx_urg > (end ? s->tx_acked : s->tx_sent))
		flags |= CDC_URG_PRESENT;
	return flags;
}

static void compose(struct stream *s, uint64_t len, uint8_t conn_flags)
{
	struct cdc_msg msg = {
		.prod = cursor_of(s->tx_sent + len, s->tx_n),
		.cons = cursor_of(s->rx_pos, s->rx_n),
		.prod_flags = urgent_flags(s, s->tx_sent + len, conn_flags != 0),
		.conn_flags = conn_flags,
	};

	if (s->tx_blocked)
		msg.prod_flags |= CDC_WRITER_BLOCKED;
	cdc_encode(s->cdc, &msg, s->order);
}

ssize_t stream_push(struct stream *s, uint64_t tx_pos, uint64_t budget, uint8_t conn_flags,
	bool force)
{
	uint64_t pending = tx_pos - s->tx_sent, len;
	struct ism_move mv[3];
	size_t n, done;
	int ret;

	if (s->tx_n == 0)
		return -ENOTCONN;
	if (tx_pos < s->tx_sent || pending > stream_tx_free(s))
		return -EPROTO;
	len = choose(s, pending, budget);
	if (len == 0 && !force)
		return 0;
	/* Stands through CDCs that move nothing, as the kernel's does. */
	if (pending > 0)
		s->tx_blocked = len == stream_tx_free(s);
	n = cut(s, len, mv);
	compose(s, len, conn_flags);
	mv[n++] = (struct ism_move){
		.token = s->token, .len = CDC_SIZE, .data = s->cdc, .sf = true
	};
	ret = s->move(s->move_ctx, mv, n, &done);
	if (ret < 0)
		return ret;
	s->tx_sent += len;
	s->rx_told = s->rx_pos;
	s->cdc_tx++;
	return (ssize_t)len;
}

int stream_repeat(struct stream *s)
{
	const struct ism_move mv = { .token = s->token, .len = CDC_SIZE, .data = s->cdc };
	size_t done;

	return s->cdc_tx ? s->move(s->move_ctx, &mv, 1, &done) : 0;
}
