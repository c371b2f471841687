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

/* Waits for the space of a record of @len bytes and all that goes before it. */
static int wait_space(struct smcdu_channel *ch, size_t len, unsigned int flags)
{
	uint32_t before = lead(lib_get(&ch->tx.pos)) + HEADER_LEN, space = 0;
	int r;

	if (len == 0)
		return lib_fail(-EINVAL, "a record has at least one byte");
	if (len > record_max(ch))
		return lib_fail(-EMSGSIZE, "a record on this channel has at most %u bytes",
			record_max(ch));
	r = tx_wait_space(ch, flags, before + (uint32_t)len, &space);
	if (r < 0)
		return r == -EAGAIN ? lib_fail_plain(r) : channel_error(ch, r);
	return 0;
}

/* Puts mark and header of a record of @len bytes into the ring; returns how many bytes these are. */
static uint32_t put_header(struct smcdu_channel *ch, size_t len)
{
	uint32_t skip = lead(lib_get(&ch->tx.pos));
	uint8_t head[MARK_LEN + HEADER_LEN];
	struct iovec iov = { .iov_base = head, .iov_len = skip + HEADER_LEN };
	struct lib_iov it = { .iov = &iov };
	be32_t length = be32_of((uint32_t)len);

	memcpy(head, mark, skip);
	memcpy(head + skip, &length, HEADER_LEN);
	tx_copy_in(ch, ch->tx.at, &it, skip + HEADER_LEN);
	return skip + HEADER_LEN;
}

/* Where the bytes of the next record go. */
static struct smc_cursor tx_body(const struct smcdu_channel *ch)
{
	struct smc_cursor at = ch->tx.at;

	cursor_move(&at, lead(lib_get(&ch->tx.pos)) + HEADER_LEN, ch->tx.size);
	return at;
}

ssize_t record_send(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	struct lib_iov it = { .iov = iov };
	int r;

	if (flags & SMCDU_OOB)
		return lib_fail(-EOPNOTSUPP, "there is no urgent data among records");
	lib_add(&ch->tx.calls, 1);
	r = wait_space(ch, len, flags);
	if (r < 0)
		return r;
	ch->tx.reserved = 0; /* that space is taken now */
	tx_copy_in(ch, tx_body(ch), &it, len);
	tx_publish(ch, put_header(ch, len) + len);
	tx_tell(ch);
	tx_share(ch, len);
	return (ssize_t)len;
}

ssize_t record_reserve(struct smcdu_channel *ch, struct iovec iov[2], size_t len,
	unsigned int flags)
{
	int r = wait_space(ch, len, flags);

	if (r < 0)
		return r;
	ch->tx.reserved = len;
	lib_parts(ch->tx.ring, ch->tx.size, tx_body(ch), len, iov);
	return (ssize_t)len;
}

void record_commit(struct smcdu_channel *ch, size_t len)
{
	tx_publish(ch, put_header(ch, len) + len);
}

/* ---- receiving ------------------------------------------------------------------------------- */

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
	return 0;
}

/* Waits for the next record: its bytes, 0 at the end, or negative errno. */
static ssize_t wait_record(struct smcdu_channel *ch, unsigned int flags)
{
	uint32_t before = lead(lib_get(&ch->rx.pos)) + HEADER_LEN;
	ssize_t n = rx_wait_unread(ch, flags & SMCDU_DONTWAIT, 0);

	if (n <= 0)
		return n == 0 || n == -EAGAIN ? lib_fail_plain((int)n) : channel_error(ch, (int)n);
	return (ssize_t)(ch->rx.record - before);
}

/* Where the bytes of the next record are. */
static struct smc_cursor rx_body(const struct smcdu_channel *ch)
{
	struct smc_cursor at = ch->rx.at;

	cursor_move(&at, lead(lib_get(&ch->rx.pos)) + HEADER_LEN, ch->rx.size);
	return at;
}

void record_release(struct smcdu_channel *ch)
{
	uint32_t whole = ch->rx.record;

	ch->rx.peeked = 0;
	ch->rx.record = 0;
	atomic_store_explicit(&ch->rx.need, 0, memory_order_relaxed);
	rx_consume(ch, whole);
	way_done(ch, whole);
}

ssize_t record_recv(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags)
{
	ssize_t size = wait_record(ch, flags);
	struct lib_iov it = { .iov = iov };

	if (size <= 0)
		return size;
	if ((size_t)size > len && !(flags & SMCDU_TRUNC))
		return lib_fail(-EMSGSIZE, "the record has %zd bytes", size);
	rx_copy_out(ch, rx_body(ch), &it, (size_t)size < len ? (size_t)size : len);
	record_release(ch);
	return size;
}

ssize_t record_peek(struct smcdu_channel *ch, struct iovec iov[2], unsigned int flags)
{
	ssize_t size = wait_record(ch, flags);

	if (size < 0)
		return size;
	ch->rx.peeked = (size_t)size;
	lib_parts((uint8_t *)(uintptr_t)ch->rx.ring, ch->rx.size, rx_body(ch), (size_t)size, iov);
	return size;
}
