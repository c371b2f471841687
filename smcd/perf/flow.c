/* SPDX-License-Identifier: MIT */
#include "smcd/perf/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/perf/data.h"

#define LINE 64

int flow_init(struct flow *f, struct link *l, enum perf_copy copy, size_t size, bool verify)
{
	*f = (struct flow){ .link = l, .copy = copy, .size = size, .piece = FLOW_PIECE };
	if (copy == PERF_ZERO && !l->ops->reserve)
		return -EOPNOTSUPP;
	if (copy == PERF_COPY) {
		f->buf = aligned_alloc(LINE, (size + LINE - 1) / LINE * LINE);
		if (!f->buf)
			return -ENOMEM;
		memset(f->buf, 0, size); /* its pages are there before anybody looks at the clock */
	}
	if (verify) {
		f->hash = XXH3_createState();
		if (!f->hash) {
			flow_fini(f);
			return -ENOMEM;
		}
		XXH3_64bits_reset(f->hash);
	}
	return 0;
}

void flow_fini(struct flow *f)
{
	free(f->buf);
	f->buf = NULL;
	XXH3_freeState(f->hash);
	f->hash = NULL;
}

void flow_prepare(struct flow *f, uint8_t mark)
{
	if (f->copy == PERF_ZERO)
		return;
	data_fill(f->buf, f->size, &f->next);
	f->buf[0] = mark;
	if (f->hash)
		XXH3_64bits_update(f->hash, f->buf, f->size);
}

/*
 * So many bytes of @left at @p are handed on at once, @most at most, if there is room for @n. A piece ends with a line:
 * one in which another begins would go to the reader and back.
 */
static size_t piece_at(const void *p, size_t n, size_t left, size_t most)
{
	n = n < left ? n : left;
	n = n < most ? n : most;
	return n < left && n > LINE ? n - ((uintptr_t)p + n) % LINE : n;
}

static int put_in_place(struct flow *f, uint8_t mark)
{
	const struct link_ops *ops = f->link->ops;
	size_t left = f->size, n = 0;
	void *p = NULL;

	while (left) {
		int r = ops->reserve(f->link, &p, &n);

		if (r < 0)
			return r;
		n = piece_at(p, n, left, f->piece);
		data_fill_far(p, n, ops->cached ? ops->cached(f->link, n) : n, &f->next);
		if (left == f->size)
			*(uint8_t *)p = mark;
		if (f->hash)
			XXH3_64bits_update(f->hash, p, n);
		r = ops->commit(f->link, n);
		if (r < 0)
			return r;
		left -= n;
	}
	return 0;
}

int flow_put(struct flow *f, uint8_t mark)
{
	f->bytes += f->size;
	if (f->copy == PERF_ZERO)
		return put_in_place(f, mark);
	return f->link->ops->send(f->link, f->buf, f->size);
}

static int get_in_place(struct flow *f, uint8_t *mark)
{
	const struct link_ops *ops = f->link->ops;
	size_t left = f->size, n = 0;
	const void *p = NULL;

	while (left) {
		int r = ops->peek(f->link, &p, &n);

		if (r < 0)
			return r;
		n = piece_at(p, n, left, f->piece);
		if (left == f->size)
			*mark = *(const uint8_t *)p;
		if (f->hash)
			XXH3_64bits_update(f->hash, p, n);
		else
			data_read(p, n);
		r = ops->release(f->link, n);
		if (r < 0)
			return r;
		left -= n;
	}
	return 0;
}

int flow_get(struct flow *f, uint8_t *mark)
{
	int r;

	f->bytes += f->size;
	if (f->copy == PERF_ZERO)
		return get_in_place(f, mark);
	r = f->link->ops->recv(f->link, f->buf, f->size);
	if (r == 0)
		*mark = f->buf[0];
	return r;
}

void flow_finish(struct flow *f)
{
	if (f->copy == PERF_ZERO)
		return;
	if (f->hash)
		XXH3_64bits_update(f->hash, f->buf, f->size);
	else
		data_read(f->buf, f->size);
}

int flow_return(struct flow *tx, const struct flow *rx, uint8_t mark)
{
	tx->bytes += tx->size;
	if (tx->copy == PERF_ZERO)
		return put_in_place(tx, mark);
	if (tx->hash)
		XXH3_64bits_update(tx->hash, rx->buf, rx->size);
	return tx->link->ops->send(tx->link, rx->buf, rx->size);
}

uint64_t flow_hash(const struct flow *f)
{
	return f->hash ? XXH3_64bits_digest(f->hash) : 0;
}
