/* SPDX-License-Identifier: MIT */
#include "vfio/region_exec.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vfio/base/endian.h"

#define PAGE 4096u

_Static_assert(sizeof(struct zpci_io_hdr) == ZPCI_IO_REQ_OFFSET, "header");
_Static_assert(sizeof(struct zpci_io_region) == ZPCI_IO_REGION_SIZE, "region");
_Static_assert(offsetof(struct zpci_io_req, pcias) == 30, "request");

void region_exec_init(struct region_exec *re, const struct region_exec_ops *ops, void *ctx,
	uint16_t max)
{
	memset(re, 0, sizeof(*re));
	re->ops = ops;
	re->ctx = ctx;
	re->state.hdr.max = max;
}

ssize_t region_exec_read(struct region_exec *re, uint64_t pos, void *buf, size_t count)
{
	if (count == 0)
		return 0;
	if (pos >= ZPCI_IO_REGION_SIZE)
		return -EINVAL;
	if (count > ZPCI_IO_REGION_SIZE - pos)
		count = ZPCI_IO_REGION_SIZE - pos;
	if (pos + count > sizeof(re->state.hdr)) /* the request is write-only */
		return -EFAULT;
	memcpy(buf, (const uint8_t *)&re->state.hdr + pos, count);
	return (ssize_t)count;
}

/* The value is stored only when the instruction succeeded. */
static int exec_load(struct region_exec *re, const struct zpci_io_req *q, void *mem)
{
	uint64_t value;

	if (re->ops->load(re->ctx, q->pcias, q->offset, q->len, &value) < 0)
		return -EIO;
	store_be64(mem, value);
	return 0;
}

static int exec_store(struct region_exec *re, const struct zpci_io_req *q, const void *mem)
{
	return re->ops->store(re->ctx, q->pcias, q->offset, mem, q->len) < 0 ? -EIO : 0;
}

/*
 * The order of checks is visible from outside: every line here is a row of the conformance table.
 */
static int execute(struct region_exec *re, const struct zpci_io_req *q)
{
	int read = !!(q->flags & ZPCI_IO_FLAG_READ);
	void *mem;

	if (read && q->len > 8)
		return -EIO;
	if ((q->flags & ZPCI_IO_FLAG_BLOCKW) && q->len > re->state.hdr.max)
		return -EIO;
	if (q->gaddr % 8)
		return -EIO;
	/* Length 0 wraps at the start of a page and passes anywhere else. */
	if ((q->gaddr % PAGE + q->len - 1) & ~(uint64_t)(PAGE - 1))
		return -EIO;
	/* The page is pinned before the operation is looked at. */
	mem = re->ops->resolve(re->ctx, q->gaddr, read ? 8 : q->len ? q->len : 1, read);
	if (!mem)
		return -EIO;
	if (read)
		return exec_load(re, q, mem);
	if (q->flags & ZPCI_IO_FLAG_BLOCKW)
		return exec_store(re, q, mem);
	return -EIO;
}

ssize_t region_exec_write(struct region_exec *re, uint64_t pos, const void *buf, size_t count)
{
	int r;

	if (count == 0)
		return 0;
	if (pos >= ZPCI_IO_REGION_SIZE)
		return -EINVAL;
	if (pos < ZPCI_IO_REQ_OFFSET)
		return -EFAULT;
	if (count > ZPCI_IO_REGION_SIZE - pos)
		count = ZPCI_IO_REGION_SIZE - pos;
	memcpy((uint8_t *)&re->state.req + (pos - ZPCI_IO_REQ_OFFSET), buf, count);
	r = execute(re, &re->state.req);
	return r < 0 ? r : (ssize_t)count;
}
