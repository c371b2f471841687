/* SPDX-License-Identifier: MIT */
/*
 * region_exec.h - the serving side of the zPCI I/O region
 *
 * Behaves as the kernel code of the region does, error for error and in the same order of checks:
 * the request lives in shared state, every write that touches bytes 16..47 executes the whole
 * stored request (stale bytes included), READ wins over BLOCKW, a failure after the copy is always
 * -EIO. Used by the in-process double, by the vfio-user server of the fabric, and judged by
 * tests/conformance.
 *
 * How gaddr becomes memory and what the instructions do is the provider's business (ops). Not
 * thread-safe: one caller at a time, as the kernel's contract demands of its users.
 */
#ifndef SMCDU_VFIO_REGION_EXEC_H
#define SMCDU_VFIO_REGION_EXEC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "zpci-io.h"

struct region_exec_ops {
	/*
	 * The memory behind the page that holds @gaddr (which is 8-aligned and, with @len, inside
	 * one 4 KiB page): a pointer to the byte at @gaddr, valid until the request is done, or
	 * NULL.
	 * @write: the request will store there.
	 */
	void *(*resolve)(void *ctx, uint64_t gaddr, size_t len, int write);
	/* PCILG: 0 and *value (right-justified), or < 0. @len and @offset are unchecked. */
	int (*load)(void *ctx, uint8_t pcias, uint64_t offset, uint16_t len, uint64_t *value);
	/* PCISTB: 0, or < 0. Everything about the target is unchecked. */
	int (*store)(void *ctx, uint8_t pcias, uint64_t offset, const void *data, uint16_t len);
};

struct region_exec {
	const struct region_exec_ops *ops;
	void *ctx;
	struct zpci_io_region state; /* hdr as read by clients; req as stored by them */
};

/* @max: longest PCISTB the header announces (8..4096). */
void region_exec_init(struct region_exec *re, const struct region_exec_ops *ops, void *ctx,
	uint16_t max);

/* Access at @pos of the region, with pread/pwrite semantics: bytes (clamped count) or -errno. */
ssize_t region_exec_read(struct region_exec *re, uint64_t pos, void *buf, size_t count);
ssize_t region_exec_write(struct region_exec *re, uint64_t pos, const void *buf, size_t count);

#endif
