/* SPDX-License-Identifier: MIT */
/*
 * command.h - the command area: body latch, execution, reply
 */
#ifndef SMCDU_MODEL_COMMAND_H
#define SMCDU_MODEL_COMMAND_H

#include <stddef.h>
#include <stdint.h>

struct function;

/* A store into BAR 2: latches a body or, at offset 0 with 8 bytes, executes. 0 or -EIO. */
int command_store(struct function *fn, uint64_t offset, const void *data, size_t len);

/* A load from BAR 2: the reply of the last command, 0 beyond it. */
uint64_t command_load(const struct function *fn, uint64_t offset, size_t len);

#endif
