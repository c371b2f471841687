/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "suite.h"
#include "zpci-io.h"

#define R ZPCI_IO_FLAG_READ
#define B ZPCI_IO_FLAG_BLOCKW
#define X (UINT64_C(1) << 7) /* a bit without meaning */

#define FULL WRITE, 16, 32
#define DOES DOES_OVER_BARS

/* Left out: what would hang or corrupt a host (busy loops, untouched pages), and data races. */
const struct row rows[] = {
	/* name, access, pos, count · flags, where, goff, pcias, offset, len · ret, effect, bar */

	/* reads of the region */
	{ "read: the header", READ, 0, 16, .ret = 16 },
	{ "read: nothing", READ, 0, 0, .ret = 0 },
	{ "read: max alone", READ, 8, 2, .ret = 2 },
	{ "read: last byte of the header", READ, 15, 1, .ret = 1 },
	{ "read: one byte beyond the header", READ, 0, 17, .ret = -EFAULT },
	{ "read: the whole region", READ, 0, 48, .ret = -EFAULT },
	{ "read: across the header's end", READ, 15, 2, .ret = -EFAULT },
	{ "read: the request", READ, 16, 32, .ret = -EFAULT },
	{ "read: last byte of the request", READ, 47, 1, .ret = -EFAULT },
	{ "read: clamped, then refused", READ, 40, 16, .ret = -EFAULT },
	{ "read: behind the region", READ, 48, 1, .ret = -EINVAL },
	{ "read: nothing behind the region", READ, 48, 0, .ret = 0 },

	/* which writes execute */
	{ "write: one request, load", FULL, R, MEM, 0, 2, 0, 8, 32, LOADED },
	{ "write: one request, store", FULL, B, MEM, 0, 0, 0, 16, 32, STORED },
	{ "write: 64 bytes are clamped, execute once", WRITE, 16, 64, B, MEM, 0, 0, 64, 16, 32, STORED },
	{ "write: 33 bytes at 15 change nothing", WRITE, 15, 33, B, MEM, 0, 0, 64, 16, -EFAULT, NOTHING },
	{ "write: the whole region changes nothing", WRITE, 0, 48, B, MEM, 0, 0, 64, 16, -EFAULT, NOTHING },
	{ "write: the header changes nothing", WRITE, 0, 16, B, MEM, 0, 0, 64, 16, -EFAULT, NOTHING },
	{ "write: behind the region", WRITE, 48, 1, B, MEM, 0, 0, 64, 16, -EINVAL, NOTHING },
	{ "write: nothing", WRITE, 16, 0, B, MEM, 0, 0, 64, 16, 0, NOTHING },
	{ "write: flags alone execute the stored rest", WRITE, 16, 8, B, MEM, 0, 0, 64, 16, 8, STORED },
	{ "write: gaddr alone executes", WRITE, 24, 8, B, MEM, 64, 0, 64, 16, 8, STORED },
	{ "write: offset alone executes", WRITE, 32, 8, B, MEM, 0, 0, 64, 16, 8, STORED },
	{ "write: first half executes with old offset", WRITE, 16, 16, B, MEM, 8, 0, 64, 16, 16, STORED },
	{ "write: second half executes with old gaddr", WRITE, 32, 16, B, MEM, 0, 0, 64, 24, 16, STORED },
	{ "write: len alone executes", WRITE, 44, 2, B, MEM, 0, 0, 64, 40, 2, STORED },
	{ "write: reserved byte executes", WRITE, 47, 1, B, MEM, 0, 0, 64, 16, 1, STORED },
	{ "write: reserved word executes", WRITE, 40, 4, B, MEM, 0, 0, 64, 16, 4, STORED },
	{ "write: last byte, clamped", WRITE, 47, 9, B, MEM, 0, 0, 64, 16, 1, STORED },

	/* flags */
	{ "flags: none", FULL, 0, MEM, 0, 0, 0, 8, -EIO, NOTHING },
	{ "flags: unknown bits only", FULL, X, MEM, 0, 0, 0, 8, -EIO, NOTHING },
	{ "flags: top bit only", FULL, UINT64_C(1) << 63, MEM, 0, 0, 0, 8, -EIO, NOTHING },
	{ "flags: both, READ wins", FULL, R | B, MEM, 0, 2, 0, 8, 32, LOADED },
	{ "flags: both, length of a store", FULL, R | B, MEM, 0, 0, 0, 9, -EIO, NOTHING },
	{ "flags: READ and an unknown bit", FULL, R | X, MEM, 0, 2, 0, 8, 32, LOADED },
	{ "flags: BLOCKW and an unknown bit", FULL, B | X, MEM, 0, 0, 0, 8, 32, STORED },

	/* lengths */
	{ "len: load of 0, page-aligned", FULL, R, MEM, 0, 2, 0, 0, -EIO, NOTHING, DOES },
	{ "len: load of 0", FULL, R, MEM, 8, 2, 0, 0, -EIO, NOTHING, DOES },
	{ "len: store of 0, page-aligned", FULL, B, MEM, 0, 0, 0, 0, -EIO, NOTHING, DOES },
	{ "len: store of 0", FULL, B, MEM, 8, 0, 0, 0, -EIO, NOTHING, DOES },
	{ "len: load of 1", FULL, R, MEM, 8, 2, 7, 1, 32, LOADED },
	{ "len: load of 4 at 4 is right-justified", FULL, R, MEM, 8, 2, 4, 4, 32, LOADED },
	{ "len: load of 8 at 8", FULL, R, MEM, 4088, 2, 8, 8, 32, LOADED },
	{ "len: load of 9", FULL, R, MEM, 0, 2, 0, 9, -EIO, NOTHING, DOES },
	{ "len: load that crosses 8", FULL, R, MEM, 0, 2, 4, 8, -EIO, NOTHING, DOES },
	{ "len: load of 16", FULL, R, MEM, 0, 2, 0, 16, -EIO, NOTHING, DOES },
	{ "len: load of 3 at 5", FULL, R, MEM, 0, 2, 5, 3, 32, LOADED },
	{ "len: load of 15 at 1", FULL, R, MEM, 0, 2, 1, 15, -EIO, NOTHING, DOES },
	{ "len: store of 1", FULL, B, MEM, 0, 0, 0, 1, 32, STORED },
	{ "len: store of 1 at an odd offset", FULL, B, MEM, 0, 0, 33, 1, 32, STORED },
	{ "len: store of 3 at an odd offset", FULL, B, MEM, 8, 0, 4093, 3, 32, STORED },
	{ "len: longest store", FULL, B, MEM, 0, 0, 4096, LEN_MAX, 32, STORED },
	{ "len: one more than the longest", FULL, B, MEM, 0, 0, 4096, LEN_MAX_PLUS, -EIO, NOTHING, -EINVAL },
	{ "len: 65533", FULL, B, MEM, 0, 0, 0, 65533, -EIO, NOTHING, -EINVAL },

	/* gaddr */
	{ "gaddr: 4-aligned store", FULL, B, MEM, 4, 0, 0, 8, -EIO, NOTHING, DOES },
	{ "gaddr: 4-aligned load", FULL, R, MEM, 4, 2, 0, 8, -EIO, NOTHING, DOES },
	{ "gaddr: odd, one byte", FULL, B, MEM, 1, 0, 0, 1, -EIO, NOTHING, DOES },
	{ "gaddr: last 8 bytes of a page", FULL, B, MEM, 4088, 0, 0, 8, 32, STORED },
	{ "gaddr: leaves its page by one byte", FULL, B, MEM, 4088, 0, 0, 9, -EIO, NOTHING, DOES },
	{ "gaddr: 4096 bytes from page + 8", FULL, B, MEM, 8, 0, 0, 4096, -EIO, NOTHING, DOES },
	{ "gaddr: 4088 bytes from page + 8", FULL, B, MEM, 8, 0, 0, 4088, 32, STORED },
	{ "gaddr: unmapped, load", FULL, R, UNMAPPED, 0, 2, 0, 8, -EIO, NOTHING, -EFAULT },
	{ "gaddr: unmapped, store", FULL, B, UNMAPPED, 0, 0, 0, 8, -EIO, NOTHING, -EFAULT },
	{ "gaddr: unmapped, no operation", FULL, 0, UNMAPPED, 0, 0, 0, 8, -EIO, NOTHING },
	{ "gaddr: 0", FULL, B, ZERO, 0, 0, 0, 8, -EIO, NOTHING, -EFAULT },
	{ "gaddr: PROT_NONE, load", FULL, R, NONE, 0, 2, 0, 8, -EIO, NOTHING, -EFAULT },
	{ "gaddr: PROT_NONE, store", FULL, B, NONE, 0, 0, 0, 8, -EIO, NOTHING, -EFAULT },
	{ "gaddr: PROT_READ, store", FULL, B, RO, 0, 0, 0, 8, 32, STORED },
	{ "gaddr: PROT_READ, load writes all the same", FULL, R, RO, 0, 2, 0, 8, 32, LOADED, -EFAULT },

	/* target */
	{ "target: ends at a 4 KiB line", FULL, B, MEM, 0, 0, 0xff0, 16, 32, STORED },
	{ "target: crosses a 4 KiB line", FULL, B, MEM, 0, 0, 0xff0, 17, -EIO, NOTHING, -EINVAL },
	{ "target: starts at a 4 KiB line", FULL, B, MEM, 0, 0, 0x1000, 17, 32, STORED },
	{ "target: behind the DMB", FULL, B, MEM, 0, 0, 0x4000, 8, -EIO, NOTHING, -EIO },
	{ "target: BAR that is not implemented, load", FULL, R, MEM, 0, 1, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: BAR that is not implemented, store", FULL, B, MEM, 0, 4, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 6", FULL, R, MEM, 0, 6, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 14", FULL, B, MEM, 0, 14, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 16", FULL, R, MEM, 0, 16, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 18 is not 2", FULL, R, MEM, 0, 18, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 255", FULL, B, MEM, 0, 255, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: configuration space, load", FULL, R, MEM, 0, 15, 0, 4, 32, LOADED },
	{ "target: configuration space, load of 8", FULL, R, MEM, 0, 15, 0, 8, -EIO, NOTHING },
	{ "target: configuration space, store", FULL, B, MEM, 0, 15, 4, 2, -EIO, NOTHING },
	{ "target: behind BAR 2", FULL, R, MEM, 0, 2, UINT64_C(1) << 32, 8, -EIO, NOTHING, -EINVAL },
	{ "target: offset 2^64 - 8", FULL, R, MEM, 0, 2, UINT64_MAX - 7, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 8", FULL, B, MEM, 0, 8, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: address space 9", FULL, R, MEM, 0, 9, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "target: BAR 0 cannot be loaded from", FULL, R, MEM, 0, 0, 0, 8, -EIO, NOTHING, -EIO },

	/* which refusal comes first */
	{ "order: line before memory", FULL, B, NONE, 0, 0, 0xff0, 17, -EIO, NOTHING, -EINVAL },
	{ "order: length before memory", FULL, B, NONE, 0, 0, 0, LEN_MAX_PLUS, -EIO, NOTHING, -EINVAL },
	{ "order: BAR before memory", FULL, B, NONE, 0, 4, 0, 8, -EIO, NOTHING, -EINVAL },
	{ "order: memory before the DMB's end", FULL, B, NONE, 0, 0, 0x4000, 8, -EIO, NOTHING, -EFAULT },
	{ "order: nothing at all before memory", FULL, B, NONE, 0, 0, 0, 0, -EIO, NOTHING, DOES },
};

const unsigned int num_rows = sizeof(rows) / sizeof(rows[0]);
