/* SPDX-License-Identifier: MIT */
/*
 * tx.c - the sending half
 *
 * The ring belongs to this half from the accepted acknowledgement up to size bytes further; the
 * daemon reads only what was published. Free space follows from the peer's consumer cursor alone,
 * so the space here is the space there. Behind an urgent byte there is none until all is consumed.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "vfio/base/far.h"
#include "vfio/base/fd.h"

/* The daemon starts on a large send before the copy ends. */
#define PUBLISH_CHUNK 32768u
/* Between two moments at which others get the processor, if the daemon asks for that. */
#define TX_SHARE 16384u

void tx_look(const struct smcdu_channel *ch, struct tx_view *v)
{
	uint64_t pos = lib_get(&ch->tx.pos);
	uint64_t cons = lib_get(&ch->tx.cons);
	struct cdc_cons_word w;
	uint64_t advance = 0;

	v->status = channel_status(ch);
	w = cdc_load_cons(ch->dmb, ch->order);
	v->impossible = cursor_advance(cons, w.cons, ch->tx.size, pos - cons, &advance) < 0;
	v->cons = cons + advance;
	v->space = ch->tx.size - (uint32_t)(pos - v->cons);
	if (pos == lib_get(&ch->tx.urg) && v->cons != pos)
		v->space = 0;
	if (!v->status && (w.conn_flags & (CDC_CONN_CLOSED | CDC_ABNORMAL)))
		v->status = -ECONNRESET;
}

bool tx_delivered(const struct smcdu_channel *ch)
{
	if (channel_attached(ch))
		return true; /* where we write is where it is read */
	/* Acquire: pairs with the daemon's release after the store to the peer. */
	return atomic_load_explicit(&ch->ctl->tx_sent, memory_order_acquire) ==
	       lib_get(&ch->tx.pos);
}

/* Space while nothing has happened since the last look, or 0: then somebody has to look. */
static inline uint32_t quiet_space(const struct smcdu_channel *ch, uint64_t word)
{
	const struct lib_tx *tx = &ch->tx;
	uint64_t pos = lib_get(&tx->pos), ahead = pos - lib_get(&tx->cons);

	if (!tx->quiet || word != tx->word || ahead >= tx->size || channel_status(ch) != 0 ||
	    lib_get(&tx->urg) == pos)
		return 0;
	return tx->size - (uint32_t)ahead;
}

/* The word of the CDC is looked into only when it has changed. */
int tx_space(struct smcdu_channel *ch, uint32_t *space)
{
	struct lib_tx *tx = &ch->tx;
	uint64_t word = cdc_peek(ch->dmb, CDC_CONS_WORD);
	struct tx_view v;

	if (atomic_load_explicit(&tx->shut, memory_order_relaxed))
		return -EPIPE;
	*space = quiet_space(ch, word);
	if (*space)
		return 0;
	tx->quiet = false;
	tx_look(ch, &v);
	if (v.impossible)
		return channel_violation(ch, "the peer acknowledged bytes that were never sent");
	if (v.status)
		return v.status;
	atomic_store_explicit(&tx->cons, v.cons, memory_order_relaxed);
	/* Loaded before the look: what came in between is a change next time. */
	tx->word = word;
	tx->quiet = true;
	*space = v.space;
	return 0;
}

void tx_tell(struct smcdu_channel *ch)
{
	uint32_t bits = ch->tx.untold;

	ch->tx.untold = 0;
	if (bits && channel_attached(ch))
		peer_wake(ch, bits);
	else if (bits)
		channel_bell(ch);
}

int tx_wait_space(struct smcdu_channel *ch, unsigned int flags, uint32_t want, uint32_t *space)
{
	int r;

	if (atomic_load_explicit(&ch->tx.want, memory_order_relaxed) != want)
		atomic_store_explicit(&ch->tx.want, want, memory_order_relaxed);

	for (;;) {
		struct lib_glance seen = lib_glance(ch, SMCDU_OUT);

		r = tx_space(ch, space);
		if (r < 0 || *space >= want)
			return r;
		tx_tell(ch);
		if (!(flags & SMCDU_DONTWAIT))
			wait_for(ch, SMCDU_OUT, &ch->tx.spin, &seen);
		else if (!(wait_rearm(ch) & SMCDU_OUT))
			return -EAGAIN;
	}
}

void tx_publish(struct smcdu_channel *ch, size_t n)
{
	uint64_t pos = lib_get(&ch->tx.pos) + n;

	cursor_move(&ch->tx.at, (uint32_t)n, ch->tx.size);
	/* Release: the other half's thread may be the one that publishes it (peer.c). */
	atomic_store_explicit(&ch->tx.pos, pos, memory_order_release);
	/* Release: the payload is in the ring before the daemon can see that it is. */
	atomic_store_explicit(&ch->ctl->tx_pos, pos, memory_order_release);
	ch->tx.untold |= channel_attached(ch) ? peer_publish_sent(ch) : CHAN_WAIT_RX;
}

void tx_copy_in(struct smcdu_channel *ch, struct smc_cursor at, struct lib_iov *it, size_t n)
{
	uint32_t size = ch->tx.size;
	size_t off = at.count;

	while (n) {
		void *src;
		size_t piece = lib_iov_next(it, n < size - off ? n : size - off, &src);

		way_copy(ch, ch->tx.ring + off, src, piece);
		n -= piece;
		off += piece;
		if (off == size)
			off = 0;
	}
}

/*
 * A send whose last byte is urgent begins, with all before it consumed: the mark may go ahead of the
 * byte, so that the peer hears of it while it is under way.
 */
static void mark_urgent(struct smcdu_channel *ch, size_t len)
{
	/* Not later than tx_pos at that place, whose store is a release. */
	peer_mark_urgent(ch, lib_get(&ch->tx.pos) + len);
	atomic_store_explicit(&ch->ctl->tx_urg, lib_get(&ch->tx.pos) + len, memory_order_relaxed);
}

/* It ends, with @left bytes not taken: no byte is urgent then. */
static void settle_urgent(struct smcdu_channel *ch, size_t left)
{
	if (left) {
		peer_mark_urgent(ch, 0);
		atomic_store_explicit(&ch->ctl->tx_urg, 0, memory_order_relaxed);
	} else {
		atomic_store_explicit(&ch->tx.urg, lib_get(&ch->tx.pos), memory_order_relaxed);
	}
}

/*
 * Whether to tell after the first piece of a send that has more. On another processor the peer wakes
 * up meanwhile; on ours it would only interrupt the copy. The daemon starts at once.
 */
static bool tell_early(const struct smcdu_channel *ch, bool first)
{
	if (!channel_attached(ch))
		return true;
	return first && !atomic_load_explicit(&ch->shared, memory_order_relaxed);
}

/* Nobody asks on an attached channel: its daemon does not serve it. */
static bool asked_to_share(const struct smcdu_channel *ch)
{
	return atomic_load_explicit(&ch->ctl->share, memory_order_relaxed);
}

void tx_share(struct smcdu_channel *ch, size_t n)
{
	if (!asked_to_share(ch))
		return;
	ch->tx.unshared += n;
	if (ch->tx.unshared < TX_SHARE)
		return;
	ch->tx.unshared = 0;
	wait_share(ch);
}

/*
 * How much of a send is published at once; in the peer's memory as far as a line ends, which it then has alone.
 * Only who waits for an answer gains by a peer that begins early.
 */
static size_t publish_chunk(const struct smcdu_channel *ch)
{
	if (channel_attached(ch))
		return (ch->tx.way.dialogue ? LIB_CHUNK_MIN : lib_chunk(ch->tx.size)) -
		       (ch->tx.at.count + CDC_SIZE) % FAR_LINE;
	return asked_to_share(ch) ? TX_SHARE : PUBLISH_CHUNK;
}

static ssize_t send_iov(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	struct lib_iov it = { .iov = iov };
	size_t done = 0;
	uint32_t space = 0;
	size_t n, chunk;
	int r = 0;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (flags & ~(SMCDU_DONTWAIT | SMCDU_OOB))
		return lib_fail_plain(-EINVAL);
	if (ch->record)
		return record_send(ch, iov, len, flags);
	lib_add(&ch->tx.calls, 1);
	while (done < len) {
		if (done && (flags & SMCDU_DONTWAIT))
			r = tx_space(ch, &space);
		else
			r = tx_wait_space(ch, flags, 1, &space);
		if (r < 0 || !space)
			break;
		n = len - done < space ? len - done : space;
		chunk = publish_chunk(ch);
		n = n < chunk ? n : chunk;
		if (!done && (flags & SMCDU_OOB))
			mark_urgent(ch, len);
		tx_copy_in(ch, ch->tx.at, &it, n);
		ch->tx.reserved = 0; /* that space is taken now */
		tx_publish(ch, n);
		done += n;
		if (done == len || tell_early(ch, done == n))
			tx_tell(ch);
		tx_share(ch, n);
	}
	tx_tell(ch);
	if (done && (flags & SMCDU_OOB))
		settle_urgent(ch, len - done);
	if (done || !len)
		return (ssize_t)done;
	return r == -EAGAIN ? lib_fail_plain(r) : channel_error(ch, r);
}

ssize_t lib_iov_len(const struct iovec *iov, int iovcnt)
{
	size_t len = 0;

	if (iovcnt < 0 || iovcnt > IOV_MAX)
		return -EINVAL;
	for (int i = 0; i < iovcnt; i++)
		if (iov[i].iov_len > SSIZE_MAX - len)
			return -EINVAL;
		else
			len += iov[i].iov_len;
	return (ssize_t)len;
}

/*
 * What most sends are: of few bytes, in one part, on an attached channel where nothing has happened. The
 * same as send_iov(), which does it where this says no.
 */
static bool send_quick(struct smcdu_channel *ch, const void *buf, size_t len, unsigned int flags)
{
	struct lib_tx *tx = &ch->tx;

	if (flags || !channel_mine(ch) || !channel_attached(ch) || ch->record || len - 1 >= LIB_QUICK_MAX ||
	    atomic_load_explicit(&tx->shut, memory_order_relaxed) ||
	    atomic_load_explicit(&tx->want, memory_order_relaxed) != 1 ||
	    len > tx->size - tx->at.count || len > quiet_space(ch, cdc_peek(ch->dmb, CDC_CONS_WORD)))
		return false;
	lib_add(&tx->calls, 1);
	way_copy(ch, tx->ring + tx->at.count, buf, len);
	tx->reserved = 0;
	tx_publish(ch, len);
	tx_tell(ch);
	return true;
}

ssize_t smcdu_send(struct smcdu_channel *ch, const void *buf, size_t len, unsigned int flags)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	if (send_quick(ch, buf, len, flags))
		return (ssize_t)len;
	if (len > SSIZE_MAX)
		return lib_fail_plain(-EINVAL);
	return send_iov(ch, &iov, len, flags);
}

ssize_t smcdu_sendv(struct smcdu_channel *ch, const struct iovec *iov, int iovcnt,
	unsigned int flags)
{
	ssize_t len = lib_iov_len(iov, iovcnt);

	return len < 0 ? lib_fail_plain((int)len) : send_iov(ch, iov, (size_t)len, flags);
}

int smcdu_shutdown(struct smcdu_channel *ch)
{
	struct tx_view v;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (ch->tx.shut)
		return channel_error(ch, -EPIPE);
	tx_look(ch, &v);
	if (v.status)
		return channel_error(ch, v.status);
	ch->tx.shut = true;
	ch->tx.reserved = 0;
	/* Release: tx_pos is final before the daemon can see that it is. */
	atomic_fetch_or_explicit(&ch->ctl->app_flags, CHAN_SHUT_WR, memory_order_release);
	if (channel_attached(ch))
		peer_publish_flags(ch, CDC_SENDING_DONE);
	channel_bell(ch);
	return 0;
}

int smcdu_flush(struct smcdu_channel *ch, uint32_t timeout_ms)
{
	uint64_t deadline = timeout_ms == UINT32_MAX ? UINT64_MAX :
		clock_ns() + timeout_ms * UINT64_C(1000000);
	struct tx_view v;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	for (;;) {
		int left = lib_ms_left(deadline);

		tx_look(ch, &v);
		if (tx_delivered(ch))
			return 0;
		if (v.impossible)
			return channel_error(ch, channel_violation(ch,
				"the peer acknowledged bytes that were never sent"));
		if (v.status)
			return channel_error(ch, v.status);
		if (left == 0)
			return lib_fail(-ETIMEDOUT, "the peer '%s' does not take the bytes sent",
				ch->info.peer);
		wait_sent(ch, left);
	}
}
