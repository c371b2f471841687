/* SPDX-License-Identifier: MIT */
/*
 * record.c - message boundaries in the byte stream
 *
 * Nothing of it is SMC-D's: to the fabric and its daemons a channel of records is a byte stream like
 * any other, and which kind it is, is agreed as what the bytes mean is agreed, by the two applications.
 * Each direction begins with a mark that no sensible stream begins with, so that a mistake is found.
 * Then come records: four bytes of length, big-endian, and as many bytes.
 *
 * A record is published and received as a whole, so neither side ever holds half of one. That bounds
 * its size. A reader that has read everything may leave a tenth of the ring unacknowledged, and a
 * larger part while the writer still sees half of it free (cdc_update_due()): half the ring, header
 * included, is what a writer can wait for.
 */
#include "smcd/lib/internal.h"

#include <string.h>

#include "vfio/base/endian.h"

#define MARK_LEN   8u
#define HEADER_LEN 4u

static const uint8_t mark[MARK_LEN] = "SMCDREC1";

/* Bytes before the header of the record at @pos. */
static uint32_t lead(uint64_t pos)
{
	return pos ? 0 : MARK_LEN;
}

static uint32_t ring_max(uint32_t ring)
{
	return ring / 2 - MARK_LEN - HEADER_LEN;
}

uint32_t record_max(const struct smcdu_channel *ch)
{
	return ring_max(ch->tx.size);
}

/* ---- sending --------------------------------------------------------------------------------- */

ssize_t record_send(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	uint8_t head[MARK_LEN + HEADER_LEN];
	uint32_t skip = lead(lib_get(&ch->tx.pos)), space = 0;
	struct iovec head_iov = { .iov_base = head, .iov_len = skip + HEADER_LEN };
	struct lib_iov it = { .iov = &head_iov };
	struct smc_cursor at = ch->tx.at;
	be32_t length;
	int r;

	if (flags & SMCDU_OOB)
		return lib_fail(-EOPNOTSUPP, "there is no urgent data among records");
	if (len == 0)
		return lib_fail(-EINVAL, "a record has at least one byte");
	if (len > record_max(ch))
		return lib_fail(-EMSGSIZE, "a record on this channel has at most %u bytes",
			record_max(ch));
	lib_add(&ch->tx.calls, 1);
	r = tx_wait_space(ch, flags, skip + HEADER_LEN + (uint32_t)len, &space);
	if (r < 0)
		return r == -EAGAIN ? lib_fail_plain(r) : channel_error(ch, r);
	memcpy(head, mark, skip);
	length = be32_of((uint32_t)len);
	memcpy(head + skip, &length, HEADER_LEN);
	tx_copy_in(ch, at, &it, skip + HEADER_LEN);
	cursor_move(&at, skip + HEADER_LEN, ch->tx.size);
	it = (struct lib_iov){ .iov = iov };
	tx_copy_in(ch, at, &it, len);
	tx_publish(ch, skip + HEADER_LEN + len);
	tx_tell(ch);
	tx_share(ch, len);
	return (ssize_t)len;
}

/* ---- receiving ------------------------------------------------------------------------------- */

bool record_ready(const struct smcdu_channel *ch, uint64_t pos, uint64_t unread)
{
	uint32_t need = atomic_load_explicit(&ch->rx.need, memory_order_relaxed);

	return unread >= (need ? need : 1);
}

/*
 * What there is of mark and header, @n bytes. The ring may change while it is read: it is looked at
 * once, copied, checked.
 */
static int read_header(struct smcdu_channel *ch, uint32_t skip, uint32_t n)
{
	uint8_t head[MARK_LEN + HEADER_LEN] = { 0 };
	struct iovec iov = { .iov_base = head, .iov_len = n };
	struct lib_iov it = { .iov = &iov };
	be32_t length;
	uint32_t len;

	rx_copy_out(ch, ch->rx.at, &it, n);
	if (memcmp(head, mark, n < skip ? n : skip) != 0)
		return channel_violation(ch, "the peer does not send records; both sides must want them");
	if (n < skip + HEADER_LEN)
		return 0;
	memcpy(&length, head + skip, HEADER_LEN);
	len = be32_get(length);
	if (len == 0 || len > ring_max(ch->rx.size))
		return channel_violation(ch, "the peer sent a record of an impossible length");
	ch->rx.record = skip + HEADER_LEN + len;
	return 0;
}

int record_look(struct smcdu_channel *ch, uint64_t unread)
{
	uint32_t whole = lead(lib_get(&ch->rx.pos)) + HEADER_LEN;
	int r;

	if (lib_get(&ch->rx.urg))
		return channel_violation(ch, "the peer sent urgent data among records");
	if (!ch->rx.record) {
		r = read_header(ch, whole - HEADER_LEN, unread < whole ? (uint32_t)unread : whole);
		if (r < 0)
			return r;
		/* Without all of the header, another byte is worth a look. */
		atomic_store_explicit(&ch->rx.need,
			ch->rx.record ? ch->rx.record : (uint32_t)unread + 1, memory_order_relaxed);
	}
	return ch->rx.record && unread >= ch->rx.record;
}

ssize_t record_recv(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	uint32_t skip = lead(lib_get(&ch->rx.pos)) + HEADER_LEN, size;
	ssize_t n = rx_wait_unread(ch, flags & SMCDU_DONTWAIT);
	struct lib_iov it = { .iov = iov };
	struct smc_cursor at = ch->rx.at;

	if (n <= 0)
		return n == 0 || n == -EAGAIN ? lib_fail_plain((int)n) : channel_error(ch, (int)n);
	size = ch->rx.record - skip;
	if (size > len && !(flags & SMCDU_TRUNC))
		return lib_fail(-EMSGSIZE, "the record has %u bytes", size);
	cursor_move(&at, skip, ch->rx.size);
	rx_copy_out(ch, at, &it, size < len ? size : len);
	atomic_store_explicit(&ch->rx.need, 0, memory_order_relaxed);
	ch->rx.record = 0;
	rx_consume(ch, skip + size);
	return (ssize_t)size;
}
