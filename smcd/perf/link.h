/* SPDX-License-Identifier: MIT */
/*
 * link.h - one end of whatever carries a test's bytes, both ways
 *
 * A link is a byte stream, or carries messages; so a receiver always asks for as many bytes as the
 * sender gave at once. The functions wait in the link's own way. One thread may send while another
 * receives where the baseline says so.
 */
#ifndef SMCDU_PERF_LINK_H
#define SMCDU_PERF_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;
struct smcdu_channel;

struct link_ops {
	/* Whole buffers. 0, negative errno; -ENODATA for the end. */
	int (*send)(struct link *l, const void *buf, size_t len);
	int (*recv)(struct link *l, void *buf, size_t len);
	/* Zero copy: pieces where they lie, of at least one byte. NULL when there is no such thing. */
	int (*reserve)(struct link *l, void **p, size_t *len);
	int (*commit)(struct link *l, size_t len);
	/* Optional: of so many bytes written in place, how many of the last not past the caches. */
	size_t (*cached)(struct link *l, size_t len);
	int (*peek)(struct link *l, const void **p, size_t *len);
	int (*release)(struct link *l, size_t len);
	/* Optional: how long a wait looks before it sleeps (settings.spin_us). */
	int (*set_spin)(struct link *l, uint32_t spin_us);
	/* Optional: moves bytes in the @i-th of the ways that the baseline names. */
	void (*set_variant)(struct link *l, unsigned int i);
	/* Optional: PCISTBs spent so far by this end. */
	uint64_t (*stores)(const struct link *l);
	void (*close)(struct link *l);
};

struct link {
	const struct link_ops *ops;
};

/* Ours. Owns the channel. NULL without memory. */
struct link *link_smcd(struct smcdu_channel *ch);

/* NULL is allowed. */
static inline void link_close(struct link *l)
{
	if (l)
		l->ops->close(l);
}

#endif
