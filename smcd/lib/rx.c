/* SPDX-License-Identifier: MIT */
/*
 * rx.c - the receiving half
 *
 * Bytes are read where the fabric wrote them. Order of looking: what ended the channel, then the
 * consumer word with the flags (acquire), then the producer word. Whoever ended something stored it
 * after the last byte, so an end seen first never hides bytes that came before it.
 *
 * An urgent byte is the one before the producer cursor that came with a U flag. The flag is seen in
 * the CDC, or the daemon saw it, took it out and left the position in rx_urg. The byte is kept aside
 * and, when the reader gets there, skipped, which the sender is told at once: it waits for that.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "vfio/base/far.h"

/* Of buffers that are received into; see left_behind(). */
#define DISPLACES_SOME 16384u
#define DISPLACES_MUCH 524288u

/* What the CDC says. True: with a U flag. */
static bool load_cdc(const struct smcdu_channel *ch, uint8_t *conn_flags, struct smc_cursor *prod)
{
	struct cdc_cons_word w = cdc_load_cons(ch->dmb, ch->order), again;

	*prod = cdc_load_prod(ch->dmb, ch->order);
	/* Did a CDC with a U flag come in between? Its byte would pass for an ordinary one. */
	again = cdc_load_cons(ch->dmb, ch->order);
	if (!(w.prod_flags & CDC_URG_PRESENT) && (again.prod_flags & CDC_URG_PRESENT)) {
		w = again;
		*prod = cdc_load_prod(ch->dmb, ch->order);
	}
	*conn_flags = w.conn_flags;
	return w.prod_flags & CDC_URG_PRESENT;
}

/* Where the last urgent byte ends, of those that are not read yet; @here: at prod. */
static uint64_t find_urgent(const struct smcdu_channel *ch, uint64_t pos, uint64_t prod, bool here)
{
	/* After the CDC (acquire): a flag that was taken out has left its position here. */
	uint64_t told = channel_attached(ch) ? peer_urgent(ch) :
		atomic_load_explicit(&ch->ctl->rx_urg, memory_order_acquire);
	uint64_t urg = here ? prod : told;

	return urg > pos && urg <= prod ? urg : lib_get(&ch->rx.urg);
}

/* Bytes up to the urgent one, or to prod when that is behind us. */
static uint64_t count_unread(const struct smcdu_channel *ch, uint64_t pos, const struct rx_view *v)
{
	if (v->urg <= pos)
		return v->prod - pos;
	if (pos + 1 < v->urg)
		return v->urg - 1 - pos;
	return atomic_load_explicit(&ch->rx.oob_inline, memory_order_relaxed) ? 1 : v->prod - v->urg;
}

void rx_look(const struct smcdu_channel *ch, struct rx_view *v)
{
	uint64_t pos = lib_get(&ch->rx.pos);
	uint64_t prod = lib_get(&ch->rx.prod);
	uint64_t advance = 0;
	struct smc_cursor now;
	bool urgent;

	v->status = channel_status(ch);
	urgent = load_cdc(ch, &v->flags, &now);
	if (atomic_load_explicit(&ch->rx.ended, memory_order_relaxed))
		v->flags |= CDC_SENDING_DONE;
	/* After a violation nothing new is accepted; what was accepted is still delivered. */
	v->impossible = atomic_load_explicit(&ch->failed, memory_order_relaxed) ||
		cursor_advance(prod, now, ch->rx.size, ch->rx.size - (prod - pos), &advance) < 0 ||
		(advance && atomic_load_explicit(&ch->rx.ended, memory_order_relaxed));
	v->prod = v->impossible ? prod : prod + advance;
	v->urg = find_urgent(ch, pos, v->prod, urgent && !v->impossible);
	v->unread = count_unread(ch, pos, v);
}

bool rx_ready(const struct smcdu_channel *ch, const struct rx_view *v)
{
	uint64_t need = atomic_load_explicit(&ch->rx.need, memory_order_relaxed);

	if (v->unread >= (need ? need : 1))
		return true;
	/* The urgent byte's sender waits for it to be passed. */
	return v->unread && !ch->record && v->urg > lib_get(&ch->rx.pos);
}

int rx_ending(const struct rx_view *v)
{
	if (v->impossible || (v->flags & CDC_ABNORMAL))
		return -ECONNRESET;
	if (v->flags & (CDC_SENDING_DONE | CDC_CONN_CLOSED))
		return 0;
	return v->status ? v->status : 1;
}

/* The position that the peer knows. A daemon's lies only make it be rung for too often or too rarely. */
static uint64_t told_last(const struct smcdu_channel *ch)
{
	return lib_get(channel_attached(ch) ? &ch->rx.announced : &ch->ctl->rx_told);
}

/*
 * The lines of the next @n bytes were read: nobody needs them here until they are written again. What was
 * written in large pieces (far.h) needs no such help, and a daemon has them gather: it stores fewer and
 * larger ones. In a dialogue the writer fetches its next lines from here sooner than from memory. The first
 * line of the DMB stays, for it has the CDC in it.
 */
static void forget(struct smcdu_channel *ch, size_t n)
{
	const struct lib_rx *rx = &ch->rx;
	size_t from = rx->at.count, to = from + n;
	const size_t first = FAR_LINE - CDC_SIZE;

	if (n >= FAR_COPY_MIN || !channel_attached(ch) || rx->start.dialogue ||
	    atomic_load_explicit(&ch->shared, memory_order_relaxed))
		return;
	if (to > rx->size) {
		far_forget(rx->ring + from, rx->size - from);
		to -= rx->size;
		from = 0;
	}
	from = from < first ? first : from;
	if (from < to)
		far_forget(rx->ring + from, to - from);
}

/* Tells the peer how far was read, or the daemon, which goes by the rule. */
static void announce(struct smcdu_channel *ch)
{
	if (channel_attached(ch)) {
		peer_publish_read(ch);
		peer_wake(ch, CHAN_WAIT_TX);
	} else {
		channel_bell(ch);
	}
}

/*
 * The peer's writer may be waiting for them: whether it has to be told follows SMC-D's rule and what it
 * was told last, which on a mediated channel the daemon says.
 */
void rx_consume(struct smcdu_channel *ch, size_t n)
{
	struct lib_rx *rx = &ch->rx;
	uint64_t pos = lib_get(&rx->pos) + n;
	uint64_t urg = lib_get(&rx->urg);
	uint64_t told = told_last(ch);
	uint8_t peer = 0;

	forget(ch, n);
	cursor_move(&rx->at, (uint32_t)n, rx->size);
	/* Release, both: the bytes are copied out before anybody may overwrite them. */
	atomic_store_explicit(&rx->pos, pos, memory_order_release);
	atomic_store_explicit(&ch->ctl->rx_pos, pos, memory_order_release);
	/*
	 * Full barrier: rx_pos before the B flag. A CDC with a B that comes too late for this look
	 * is signalled to the daemon, which does not sleep before it has seen both rx_pos and B.
	 * An attached peer waits for half the ring at most: without B, too, it is told in time.
	 */
	if (!channel_attached(ch)) {
		atomic_thread_fence(memory_order_seq_cst);
		peer = cdc_load_cons(ch->dmb, ch->order).prod_flags;
	}
	if ((told < urg && urg <= pos) ||
	    cdc_update_due(rx->size, lib_get(&rx->prod), pos, told, peer))
		announce(ch);
}

/* The byte before rx.urg goes aside, unless it is to be read in its place. */
static void keep_urgent(struct lib_rx *rx)
{
	uint64_t urg = lib_get(&rx->urg);
	bool aside = urg > lib_get(&rx->pos) && !atomic_load(&rx->oob_inline);

	atomic_store(&rx->urg_byte, aside ? rx->ring[(urg - 1) % rx->size] : -1);
}

void rx_take_in(struct smcdu_channel *ch, struct rx_view *v)
{
	struct lib_rx *rx = &ch->rx;

	rx_look(ch, v);
	if (v->impossible)
		channel_violation(ch, "the peer wrote an impossible producer cursor");
	atomic_store_explicit(&rx->prod, v->prod, memory_order_relaxed);
	if (v->urg != lib_get(&rx->urg)) {
		atomic_store_explicit(&rx->urg, v->urg, memory_order_relaxed);
		keep_urgent(rx);
	}
	if (v->urg == lib_get(&rx->pos) + 1 && !atomic_load(&rx->oob_inline))
		rx_consume(ch, 1);
}

/* Unread bytes for the half's owner (> 0), 0 at the end, -EAGAIN, or what ended the channel. */
static ssize_t rx_unread(struct smcdu_channel *ch)
{
	struct rx_view v;
	int end, r = 0;

	rx_take_in(ch, &v);
	if (ch->record && v.unread)
		r = record_look(ch, v.unread);
	if (r < 0)
		return r;
	end = rx_ending(&v);
	if (rx_ready(ch, &v) || (v.unread && end != 1 && !ch->record))
		return (ssize_t)v.unread;
	if (end == 0 && v.unread)
		return channel_violation(ch, "the peer ended inside a record");
	if (end == 0 && !atomic_load_explicit(&ch->rx.ended, memory_order_relaxed)) {
		/* The application was told: whatever the peer does, the end stays. */
		atomic_store_explicit(&ch->rx.ended, true, memory_order_relaxed);
		if (channel_attached(ch))
			channel_bell(ch); /* the daemon shows the state */
	}
	return end > 0 ? -EAGAIN : end;
}

/*
 * Before waiting for more with bytes left unread: the writer may wait for the room of those that were
 * read, and when these were given back it was not known how much there was to come. The daemon goes
 * by the rule, and looks again when more has come.
 */
static void tell_read(struct smcdu_channel *ch)
{
	if (lib_get(&ch->rx.pos) != told_last(ch))
		announce(ch);
}

/*
 * What most looks find on an attached channel: bytes, and nothing else has happened. As rx_unread(), which does it
 * where this says 0.
 */
static size_t unread_quick(struct smcdu_channel *ch)
{
	struct lib_rx *rx = &ch->rx;
	uint64_t pos = lib_get(&rx->pos);
	struct smc_cursor now;
	uint32_t unread;

	if (!channel_attached(ch) || ch->record)
		return 0;
	/* Acquire: the mark of an urgent byte, and the flags, are there before the cursor that passes it. */
	now = cdc_load_prod(ch->dmb, ch->order);
	if ((cdc_peek(ch->dmb, CDC_CONS_WORD) & CDC_FLAGS_MASK) || peer_urgent(ch) > pos || lib_get(&rx->urg) > pos ||
	    atomic_load_explicit(&ch->failed, memory_order_relaxed) ||
	    atomic_load_explicit(&rx->ended, memory_order_relaxed) ||
	    cursor_distance(rx->at, now, rx->size, &unread) < 0 || unread < lib_get(&rx->prod) - pos)
		return 0;
	atomic_store_explicit(&rx->prod, pos + unread, memory_order_relaxed);
	return unread;
}

/* As rx_unread(), but waits unless told not to. */
ssize_t rx_wait_unread(struct smcdu_channel *ch, unsigned int flags, uint32_t want)
{
	uint64_t pos = lib_get(&ch->rx.pos), accepted = lib_get(&ch->rx.prod) - pos;
	ssize_t n;

	if (!ch->record && atomic_load_explicit(&ch->rx.need, memory_order_relaxed) != want)
		atomic_store_explicit(&ch->rx.need, want, memory_order_relaxed);
	/* What was accepted needs no look: it comes before anything that may have happened since. */
	if (!ch->record && accepted >= want && lib_get(&ch->rx.urg) <= pos)
		return (ssize_t)accepted;
	if (!(flags & SMCDU_DONTWAIT))
		wait_head_start(ch);
	for (;;) {
		struct lib_glance seen = lib_glance(ch, SMCDU_IN);

		n = (ssize_t)unread_quick(ch);
		if (n && n >= want)
			return n;
		n = rx_unread(ch);
		if (n != -EAGAIN)
			return n;
		if (want > 1)
			tell_read(ch);
		if (!(flags & SMCDU_DONTWAIT))
			wait_for(ch, SMCDU_IN, &ch->rx.spin, &seen);
		else if (!(wait_rearm(ch) & SMCDU_IN))
			return -EAGAIN;
	}
}

void rx_copy_out(const struct smcdu_channel *ch, struct smc_cursor at, struct lib_iov *it, size_t n)
{
	uint32_t size = ch->rx.size;
	size_t off = at.count;

	while (n) {
		void *dst;
		size_t piece = lib_iov_next(it, n < size - off ? n : size - off, &dst);

		way_fetch(ch, dst, ch->rx.ring + off, piece);
		n -= piece;
		off += piece;
		if (off == size)
			off = 0;
	}
}

/*
 * Of @piece bytes that were copied out, into a buffer of @len, how many are still in this processor's own cache:
 * what they were copied to displaces them, the more the larger it is.
 */
static size_t left_behind(size_t piece, size_t len)
{
	if (len >= DISPLACES_MUCH)
		return piece / 4;
	return len < DISPLACES_SOME ? piece : piece - piece / 4;
}

/* Copies and consumes in pieces, so that the writer goes on while we copy; @len is all that is wanted. */
static void take(struct smcdu_channel *ch, struct lib_iov *it, size_t n, size_t len)
{
	const size_t chunk = lib_chunk(ch->rx.size);

	while (n) {
		size_t piece = n < chunk ? n : chunk;

		rx_copy_out(ch, ch->rx.at, it, piece);
		rx_consume(ch, piece);
		way_done(ch, left_behind(piece, len));
		n -= piece;
	}
}

/* The urgent byte. Never waits. */
static ssize_t recv_urgent(struct smcdu_channel *ch, const struct iovec *iov, size_t len)
{
	struct lib_iov it = { .iov = iov };
	ssize_t n = rx_unread(ch);
	int byte = atomic_load(&ch->rx.urg_byte);
	uint8_t flags;
	void *dst;

	if (byte >= 0 && len) {
		lib_iov_next(&it, 1, &dst);
		*(uint8_t *)dst = (uint8_t)byte;
		atomic_store(&ch->rx.urg_byte, -1);
		return 1;
	}
	if (byte >= 0)
		return 0;
	if (n < 0 && n != -EAGAIN)
		return channel_error(ch, (int)n);
	flags = cdc_load_cons(ch->dmb, ch->order).prod_flags;
	if (atomic_load(&ch->rx.oob_inline) ||
	    (flags & (CDC_URG_PENDING | CDC_URG_PRESENT)) != CDC_URG_PENDING)
		return lib_fail_plain(-EINVAL);
	return n == 0 ? 0 : lib_fail_plain(-EAGAIN);
}

static ssize_t recv_iov(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	struct lib_iov it = { .iov = iov };
	size_t done = 0;
	ssize_t n = 0;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (flags & ~(SMCDU_DONTWAIT | SMCDU_WAITALL | SMCDU_OOB | (ch->record ? SMCDU_TRUNC : 0)))
		return lib_fail_plain(-EINVAL);
	if (ch->record && (flags & SMCDU_OOB))
		return lib_fail(-EOPNOTSUPP, "there is no urgent data among records");
	lib_add(&ch->rx.calls, 1);
	if (ch->record)
		return record_recv(ch, iov, len, flags);
	if (flags & SMCDU_OOB)
		return recv_urgent(ch, iov, len);
	while (done < len) {
		n = rx_wait_unread(ch, flags, 1);
		if (n <= 0)
			break;
		if ((size_t)n > len - done)
			n = (ssize_t)(len - done);
		ch->rx.peeked = 0; /* these bytes are gone now */
		take(ch, &it, (size_t)n, len);
		done += (size_t)n;
		if (!(flags & SMCDU_WAITALL))
			break;
	}
	if (done || n == 0)
		return (ssize_t)done;
	return n == -EAGAIN ? lib_fail_plain((int)n) : channel_error(ch, (int)n);
}

/*
 * What most receives are: of few bytes that are in one part, on an attached channel. The same as recv_iov(), which
 * does it where this says 0.
 */
static size_t recv_quick(struct smcdu_channel *ch, void *buf, size_t len, unsigned int flags)
{
	struct lib_rx *rx = &ch->rx;
	ssize_t n;

	if ((flags & ~SMCDU_WAITALL) || (flags && len > LIB_QUICK_MAX) || !len || !channel_mine(ch) ||
	    !channel_attached(ch) || ch->record)
		return 0;
	n = rx_wait_unread(ch, 0, 1);
	if (n <= 0)
		return 0;
	/*
	 * A branch and no minimum: the processor may guess that all is there, and fetch it while the line
	 * that says so is still on its way.
	 */
	if ((size_t)n < len) {
		if (flags)
			return 0;
		len = (size_t)n;
	}
	if (len > LIB_QUICK_MAX || len > rx->size - rx->at.count)
		return 0;
	lib_add(&rx->calls, 1);
	way_fetch(ch, buf, rx->ring + rx->at.count, len);
	rx->peeked = 0;
	rx_consume(ch, len);
	way_done(ch, len);
	return len;
}

ssize_t smcdu_recv(struct smcdu_channel *ch, void *buf, size_t len, unsigned int flags)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	size_t n;

	if (len > SSIZE_MAX)
		return lib_fail_plain(-EINVAL);
	n = recv_quick(ch, buf, len, flags);
	if (n)
		return (ssize_t)n;
	return recv_iov(ch, &iov, len, flags);
}

ssize_t smcdu_recvv(struct smcdu_channel *ch, const struct iovec *iov, int iovcnt,
	unsigned int flags)
{
	ssize_t len = lib_iov_len(iov, iovcnt);

	return len < 0 ? lib_fail_plain((int)len) : recv_iov(ch, iov, (size_t)len, flags);
}

int smcdu_set_oob_inline(struct smcdu_channel *ch, int on)
{
	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (atomic_load(&ch->rx.oob_inline) != !!on) {
		atomic_store(&ch->rx.oob_inline, !!on);
		keep_urgent(&ch->rx);
	}
	return 0;
}
