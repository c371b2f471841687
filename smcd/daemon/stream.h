/* SPDX-License-Identifier: MIT */
/*
 * stream.h - the two byte streams of one SMC-D connection
 *
 * Our DMB, which the peer fills, and a send ring that mirrors the peer's DMB (same offsets), which
 * we move there. Channels and control links both are a stream with something around it. It keeps
 * the positions as 64-bit totals, checks every cursor that arrives against them, splits what is to
 * be sent at the ring's end and puts the CDC block behind it in the same submission.
 *
 * Invariants
 * - rx_told <= rx_pos <= rx_total <= rx_told + rx_n; tx_acked <= tx_sent <= tx_acked + tx_n.
 *   A peer that would break one of them is refused with -EPROTO before anything changes.
 * - Payload, then CDC, in one ordered submission that stops at the first failure: the peer never
 *   sees a cursor over bytes that did not arrive.
 * - The CDC is one signalled move of 32 bytes.
 * - What a push leaves behind it leaves at a line of the peer's DMB: no store crosses one, so the rest
 *   begins with a whole line where it would have cost one store more. The budget is cut back to a
 *   line, and a ragged end of what flows (tx_flows) waits; if a push would reach no line it sends all,
 *   so nothing waits longer than for the next push.
 * - B says that the peer's ring is full, and so that its cursor is waited for. Bytes that wait here for their
 *   turn are no reason: they go without it.
 * - An urgent byte is the last one of its CDC: a push stops there. Its U flag is said once; only an
 *   end (D, C, A) that follows repeats it, because it may overwrite the block before the peer looked,
 *   and no byte can come behind an end that a repeated U could be mistaken for.
 *
 * Knows nothing of applications, states or devices: moves go through a function, memory is
 * borrowed.
 */
#ifndef SMCDU_DAEMON_STREAM_H
#define SMCDU_DAEMON_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ism/ism.h"
#include "smcd/proto/cdc.h"

typedef int (*stream_move_fn)(void *ctx, const struct ism_move *v, size_t n, size_t *done);

struct stream {
	stream_move_fn move;
	void *move_ctx;
	enum cdc_order order;

	/* Receiving: our DMB. */
	const uint8_t *dmb;
	uint32_t rx_n;	   /* ring size */
	uint64_t rx_total; /* arrived */
	uint64_t rx_pos;   /* consumed */
	uint64_t rx_told;  /* consumed, as the peer last heard */
	uint64_t rx_urg;   /* behind the last urgent byte; 0: there was none */
	uint8_t peer_prod_flags;

	/* Sending: the peer's DMB. */
	uint64_t token;
	uint32_t tx_n;	   /* 0: the peer's DMB is not known yet */
	const uint8_t *tx; /* mirror of the peer's DMB: ring byte i at CDC_SIZE + i */
	uint8_t *cdc;	   /* CDC_SIZE bytes, 8-aligned, that the device reads from */
	uint64_t tx_sent;
	uint64_t tx_acked; /* consumed by the peer's application, as we last heard */
	uint64_t tx_urg;   /* behind the last urgent byte, perhaps not put yet; set by the owner */
	bool tx_flows;	   /* more follows at once; set by the owner */
	bool tx_blocked;   /* B: the last transmission filled the peer's ring */
	uint64_t cdc_tx;   /* CDC blocks written */
};

/* What a look at the peer's CDC brought. */
struct stream_news {
	uint64_t bytes;	    /* newly arrived */
	uint64_t space;	    /* newly consumed by the peer */
	bool urgent;	    /* rx_urg moved: cdc_take_urgent() before the next push */
	uint8_t conn_flags; /* as they are now, sticky */
};

/* Gives the stream its own end. @dmb_size is 16 KiB << n. */
void stream_open_rx(struct stream *s, const void *dmb, uint32_t dmb_size, enum cdc_order order);
/* ... and the peer's. @tx mirrors a DMB of @dmb_size; @cdc is the slot for CDC blocks. */
void stream_open_tx(struct stream *s, uint64_t token, uint32_t dmb_size, const void *tx, void *cdc);

/* Bytes that may still be sent before the peer consumes some. */
static inline uint64_t stream_tx_free(const struct stream *s)
{
	return s->tx_n - (s->tx_sent - s->tx_acked);
}

/*
 * Bytes that arrived and were not consumed. An urgent byte does not count: it is not part of what is
 * read in order.
 */
static inline bool stream_unread(const struct stream *s)
{
	return s->rx_total - s->rx_pos > (s->rx_urg > s->rx_pos ? 1 : 0);
}

/*
 * Somebody else moved the bytes: up to @tx_pos out, up to @rx_pos consumed. Takes over both, and what
 * the peer's CDC says beside them. 0, or -EPROTO (nothing changed) when they cannot all be true.
 */
int stream_catch_up(struct stream *s, uint64_t tx_pos, uint64_t rx_pos);

/* Loads the peer's CDC once and takes it over. 0, or -EPROTO with nothing changed. */
int stream_pull(struct stream *s, struct stream_news *news);

/*
 * The consumer is at total @rx_pos now. 0, or -EPROTO when that went backwards or beyond rx_total.
 */
int stream_consume(struct stream *s, uint64_t rx_pos);

/*
 * The consumer's progress has to be told to the peer by a CDC of its own: by the rule of
 * cdc_update_due(), or because the urgent byte that its sender waits for was consumed.
 */
bool stream_update_due(const struct stream *s);

/*
 * Moves at most @budget of the bytes up to total @tx_pos, and a CDC with @conn_flags behind them.
 * Sends the CDC alone when there is nothing to move and @force is set. Returns the bytes moved;
 * -EPROTO when @tx_pos went backwards or beyond the ring; -ENOTCONN when the peer's DMB is not
 * known; the move's error, after which the stream cannot be continued.
 */
ssize_t stream_push(struct stream *s, uint64_t tx_pos, uint64_t budget, uint8_t conn_flags,
	bool force);

/*
 * Stores the CDC that was said last once more, without a signal: nothing changes for the peer, and the
 * move's error says whether its DMB is still there. Not on a stream with urgent data. 0: it is, or
 * nothing was said yet.
 */
int stream_repeat(struct stream *s);

#endif
