/* SPDX-License-Identifier: MIT */
/*
 * inplace.c - zero copy: the application works in the rings themselves
 *
 * A ring begins CDC_SIZE behind the start of its DMB and ends with it, so no second mapping could make
 * its end and its beginning neighbours: what lies across the wrap is in two parts.
 *
 * What a call may wait for is bounded by what the other side is certain to make true. A reader that has
 * read everything may leave nearly half the ring unacknowledged (cdc_update_due()): a writer may wait for
 * half the ring. A reader that waits with less than a quarter of it unread has acknowledged all it has
 * read but a tenth: so it waits in vain for no such writer.
 */
#include "smcd/lib/internal.h"

void lib_parts(uint8_t *ring, uint32_t size, struct smc_cursor at, size_t n, struct iovec iov[2])
{
	size_t first = n < size - at.count ? n : size - at.count;

	iov[0] = (struct iovec){ .iov_base = ring + at.count, .iov_len = first };
	iov[1] = (struct iovec){ .iov_base = ring, .iov_len = n - first };
}

static int check_call(const struct smcdu_channel *ch, unsigned int flags)
{
	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	return flags & ~SMCDU_DONTWAIT ? lib_fail_plain(-EINVAL) : 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

static ssize_t reserve_bytes(struct smcdu_channel *ch, struct iovec iov[2], uint32_t want,
	unsigned int flags)
{
	uint32_t space = 0;
	int r = tx_wait_space(ch, flags, want, &space);

	if (r < 0)
		return r == -EAGAIN ? lib_fail_plain(r) : channel_error(ch, r);
	ch->tx.reserved = space;
	lib_parts(ch->tx.ring, ch->tx.size, ch->tx.at, space, iov);
	return (ssize_t)space;
}

ssize_t smcdu_reservev(struct smcdu_channel *ch, struct iovec iov[2], size_t want,
	unsigned int flags)
{
	int r = check_call(ch, flags);

	if (r < 0)
		return r;
	if (ch->record)
		return record_reserve(ch, iov, want, flags);
	if (want > ch->tx.size / 2)
		return lib_fail(-EMSGSIZE, "on this channel %u bytes at most can be waited for",
			ch->tx.size / 2);
	return reserve_bytes(ch, iov, want ? (uint32_t)want : 1, flags);
}

int smcdu_reserve(struct smcdu_channel *ch, void **ptr, size_t *len, unsigned int flags)
{
	struct iovec iov[2] = { { 0 } };
	int r = check_call(ch, flags);
	ssize_t n;

	if (r < 0)
		return r;
	if (ch->record)
		return lib_fail(-EOPNOTSUPP, "space for a record is given by smcdu_reservev()");
	n = reserve_bytes(ch, iov, 1, flags);
	if (n < 0)
		return (int)n;
	ch->tx.reserved = iov[0].iov_len;
	*ptr = iov[0].iov_base;
	*len = iov[0].iov_len;
	return 0;
}

int smcdu_commit(struct smcdu_channel *ch, size_t len)
{
	uint32_t space;
	int r;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (len > ch->tx.reserved)
		return lib_fail(-EINVAL, "more bytes committed than reserved");
	r = tx_space(ch, &space);
	if (r < 0)
		return channel_error(ch, r);
	ch->tx.reserved = 0;
	lib_add(&ch->tx.calls, 1);
	if (len && ch->record)
		record_commit(ch, len);
	else if (len)
		tx_publish(ch, len);
	tx_tell(ch);
	tx_share(ch, len);
	return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static ssize_t peek_bytes(struct smcdu_channel *ch, struct iovec iov[2], uint32_t want,
	unsigned int flags)
{
	ssize_t n = rx_wait_unread(ch, flags, want);

	if (n < 0)
		return n == -EAGAIN ? lib_fail_plain((int)n) : channel_error(ch, (int)n);
	ch->rx.peeked = (size_t)n;
	lib_parts((uint8_t *)(uintptr_t)ch->rx.ring, ch->rx.size, ch->rx.at, (size_t)n, iov);
	return n;
}

ssize_t smcdu_peekv(struct smcdu_channel *ch, struct iovec iov[2], size_t want, unsigned int flags)
{
	int r = check_call(ch, flags);

	if (r < 0)
		return r;
	if (ch->record)
		return record_peek(ch, iov, flags);
	if (want > ch->rx.size / 4)
		return lib_fail(-EMSGSIZE, "on this channel %u bytes at most can be waited for",
			ch->rx.size / 4);
	return peek_bytes(ch, iov, want ? (uint32_t)want : 1, flags);
}

int smcdu_peek(struct smcdu_channel *ch, const void **ptr, size_t *len, unsigned int flags)
{
	struct iovec iov[2] = { { 0 } };
	int r = check_call(ch, flags);
	ssize_t n;

	if (r < 0)
		return r;
	if (ch->record)
		return lib_fail(-EOPNOTSUPP, "a record is peeked at by smcdu_peekv()");
	n = peek_bytes(ch, iov, 1, flags);
	if (n < 0)
		return (int)n;
	ch->rx.peeked = iov[0].iov_len;
	*ptr = iov[0].iov_base;
	*len = iov[0].iov_len;
	return 0;
}

int smcdu_release(struct smcdu_channel *ch, size_t len)
{
	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (len > ch->rx.peeked)
		return lib_fail(-EINVAL, "more bytes released than peeked at");
	if (ch->record && len < ch->rx.peeked)
		return lib_fail(-EINVAL, "a record is released as a whole");
	ch->rx.peeked -= len;
	lib_add(&ch->rx.calls, 1);
	if (len && ch->record) {
		record_release(ch);
	} else if (len) {
		rx_consume(ch, len);
		way_done(ch, len);
	}
	return 0;
}
