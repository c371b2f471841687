/* SPDX-License-Identifier: MIT */
/*
 * cursor.h - positions in a ring, as SMC-D counts them
 *
 * A cursor is (wrap, count): count is the offset in the ring, 0..N-1, and wrap counts its turns
 * modulo 65536. Equal cursors mean empty, same count with wrap one apart means full; all N bytes
 * are usable. N is the DMB's size less the 32 bytes of the CDC block. Wraps are compared for
 * equality or "one more", never by magnitude.
 *
 * Inside our code positions are 64-bit totals since the connection began; a cursor is what they
 * look like on the wire. Pure functions.
 */
#ifndef SMCDU_PROTO_CURSOR_H
#define SMCDU_PROTO_CURSOR_H

#include <errno.h>
#include <stdint.h>

struct smc_cursor {
	uint16_t wrap;
	uint32_t count;
};

/* The cursor of total position @pos in a ring of @n bytes (n > 0). */
static inline struct smc_cursor cursor_of(uint64_t pos, uint32_t n)
{
	return (struct smc_cursor){ .wrap = (uint16_t)(pos / n), .count = (uint32_t)(pos % n) };
}

/* @c, @k bytes further (@k <= @n). */
static inline void cursor_move(struct smc_cursor *c, uint32_t k, uint32_t n)
{
	c->count += k;
	if (c->count >= n) {
		c->count -= n;
		c->wrap++;
	}
}

/*
 * How far @now is ahead of @old, a cursor that was accepted (@old.count < @n). At most @n: 0 and *advance.
 * -EPROTO when it is outside the ring, went backwards, or skipped a turn.
 */
static inline int cursor_distance(struct smc_cursor old, struct smc_cursor now, uint32_t n, uint32_t *advance)
{
	uint16_t turns = (uint16_t)(now.wrap - old.wrap);

	if (now.count >= n)
		return -EPROTO;
	if (turns == 0 && now.count >= old.count)
		*advance = now.count - old.count;
	else if (turns == 1 && now.count <= old.count)
		*advance = n - old.count + now.count;
	else
		return -EPROTO;
	return 0;
}

/*
 * How far @now is ahead of the total position @pos, accepting at most @max bytes of advance. 0 and
 * *advance; -EPROTO when the cursor is outside the ring, went backwards, skipped a turn, or
 * advanced by more than @max.
 */
int cursor_advance(uint64_t pos, struct smc_cursor now, uint32_t n, uint64_t max,
	uint64_t *advance);

#endif
