/* SPDX-License-Identifier: MIT */
/*
 * move.c - moves into remote DMBs
 *
 * A move becomes pieces, each one PCISTB that crosses no 4 KiB line of its destination and is no
 * longer than the function takes; only the last carries the signal, so that the signal follows all
 * of the data. Pieces of several moves leave together in batches: payload and the control message
 * behind it cost one submission.
 */
#include "ism/dev.h"

#include <errno.h>

struct batch {
	struct zpci_store v[ZPCI_BATCH_MAX];
	bool ends_move[ZPCI_BATCH_MAX]; /* the piece is its move's last */
	size_t n;
};

/* Tokens come from peers: nothing of them becomes an address before it was checked. */
static bool valid(const struct ism_dev *dev, const struct ism_move *m)
{
	uint64_t index = (uint64_t)m->idx << ISM_MOVE_IDX_SHIFT;
	uint64_t limit = zpci_caps(dev->port.z)->bar_size[ISM_PCIAS_MOVE];
	uint64_t end = (m->token | index | ISM_MOVE_SF) + m->offset + m->len;

	return ism_token_valid(m->token) && m->idx <= ISM_MOVE_IDX_MAX && !(m->token & index) &&
	       m->len >= 1 && (uint64_t)m->offset + m->len <= ISM_MOVE_SF && end <= limit;
}

/* Submits what was gathered and empties the batch; adds the moves that arrived whole to *done. */
static int flush(struct ism_dev *dev, struct batch *b, size_t *done)
{
	struct ism_counters *c = &dev->port.counters;
	size_t ok;
	int r;

	if (!b->n)
		return 0;
	r = zpci_store_blocks(dev->port.z, b->v, b->n, &ok);
	for (size_t i = 0; i < ok; i++) {
		c->move_bytes += b->v[i].len;
		*done += b->ends_move[i];
	}
	c->moves += ok;
	b->n = 0;
	if (r < 0)
		c->move_errors++;
	return ism_port_error(&dev->port, r);
}

static uint32_t piece_len(const struct ism_dev *dev, uint32_t offset, uint32_t left)
{
	uint32_t len = ZPCI_PAGE_SIZE - offset % ZPCI_PAGE_SIZE;
	uint32_t max = zpci_caps(dev->port.z)->max_store;

	if (len > max)
		len = max;
	return len < left ? len : left;
}

static int add_move(struct ism_dev *dev, struct batch *b, const struct ism_move *m, size_t *done)
{
	uint64_t base = m->token | (uint64_t)m->idx << ISM_MOVE_IDX_SHIFT;
	const uint8_t *src = m->data;
	uint32_t at = 0;

	while (at < m->len) {
		uint32_t offset = m->offset + at;
		uint32_t len = piece_len(dev, offset, m->len - at);
		bool last = at + len == m->len;

		if (b->n == ZPCI_BATCH_MAX) {
			int r = flush(dev, b, done);

			if (r < 0)
				return r;
		}
		b->ends_move[b->n] = last;
		b->v[b->n++] = (struct zpci_store){
			.pcias = ISM_PCIAS_MOVE,
			.offset = base | (last && m->sf ? ISM_MOVE_SF : 0) | offset,
			.data = src + at,
			.len = (uint16_t)len,
		};
		at += len;
	}
	return 0;
}

int ism_move_data(struct ism_dev *dev, const struct ism_move *v, size_t n, size_t *done)
{
	struct batch b;
	int r = 0, refused = 0;

	*done = 0;
	if (dev->port.gone)
		return -ENODEV;
	b.n = 0;
	for (size_t i = 0; i < n && r == 0 && refused == 0; i++) {
		if (valid(dev, &v[i]))
			r = add_move(dev, &b, &v[i], done);
		else
			refused = -EINVAL; /* what came before it still leaves */
	}
	if (r == 0)
		r = flush(dev, &b, done);
	return r < 0 ? r : refused;
}
