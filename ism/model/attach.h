/* SPDX-License-Identifier: MIT */
/*
 * attach.h - DMBs handed from their owner to their writer
 *
 * The fabric's side of ism/attach.h: it keeps what an owner offers with one of its DMBs until the
 * function whose GID is the DMB's RGID takes it, once. It looks at no descriptor.
 *
 * Invariants: an offer belongs to a registered DMB and ends with it; a function has at most
 * ATTACH_MAX_OFFERS that nobody took.
 */
#ifndef SMCDU_MODEL_ATTACH_H
#define SMCDU_MODEL_ATTACH_H

#include "ism/model/fabric.h"

/* 0 and the descriptors are the fabric's, or as attach.h says and they stay the caller's. */
int attach_offer(struct function *fn, uint64_t token, const int *fds, unsigned int n);

/* 0 with *n descriptors, the caller's from then on, or -ENOENT. */
int attach_take(struct function *fn, uint64_t token, int fds[ATTACH_MAX_FDS], unsigned int *n);

/* Closes what nobody took. */
void attach_withdraw(struct dmb *d);

#endif
