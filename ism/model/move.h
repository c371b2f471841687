/* SPDX-License-Identifier: MIT */
/*
 * move.h - a store into BAR 0
 */
#ifndef SMCDU_MODEL_MOVE_H
#define SMCDU_MODEL_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dmb;
struct function;

/*
 * Executes the move of @len bytes at BAR 0 offset @addr (token, index, signal flag, offset), which
 * stays inside one 4 KiB line. 0, or -EIO: no such DMB, not for this function, out of bounds.
 */
int move_execute(struct function *src, uint64_t addr, const void *data, size_t len);

/* @src may write @d, as both are now. */
bool move_allowed(const struct function *src, const struct dmb *d);

#endif
