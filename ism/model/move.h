/* SPDX-License-Identifier: MIT */
/*
 * move.h - a store into BAR 0
 */
#ifndef SMCDU_MODEL_MOVE_H
#define SMCDU_MODEL_MOVE_H

#include <stddef.h>
#include <stdint.h>

struct function;

/*
 * Executes the move of @len bytes at BAR 0 offset @addr (token, index, signal flag, offset), which
 * stays inside one 4 KiB line. 0, or -EIO: no such DMB, not for this function, out of bounds.
 */
int move_execute(struct function *src, uint64_t addr, const void *data, size_t len);

/*
 * Copies into driver memory. Up to 64 bytes, every naturally aligned 8-byte word of @dst arrives by
 * one store, in ascending order.
 */
void move_copy(uint8_t *dst, const uint8_t *src, size_t len);

#endif
