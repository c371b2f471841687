/* SPDX-License-Identifier: MIT */
/*
 * notify.h - SBA and IEQ from the device's side
 *
 * Memory that the driver shares and may scribble on at any time: the device ORs bits into the SBA
 * atomically, writes events at the position it keeps itself, and reads nothing back but the old
 * value of the byte with s and e.
 */
#ifndef SMCDU_MODEL_NOTIFY_H
#define SMCDU_MODEL_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/model/fabric.h"

/* A signalled move arrived for @d: mask, bit, s, MSI (now or later, as the knobs say). */
void notify_dmb(struct dmb *d, uint8_t signal_idx);

/* After UNREG_DMB: a store that was still on its way (knob late_store_us). */
void notify_late_store(const struct dmb *d);

/* SBA bit of @idx as REG_DMB leaves it (knob stale_bits). */
void notify_registered(struct function *fn, uint32_t idx);

/*
 * Writes an event into @fn's IEQ. @at_once: raise s and the MSI; otherwise the event may be
 * coalesced (knob).
 */
void notify_event(struct function *fn, uint32_t type, uint32_t code, uint64_t tok, uint64_t info,
	bool at_once);

/* REG_IEQ: fills the header in and starts at slot 0. */
void notify_ieq_init(struct function *fn);

/*
 * Tells everybody who shares a DMB with @fn: writers of its DMBs get BUF @owned, owners of DMBs it
 * writes get BUF @used, then each peer DEV @dev once (last, so that it survives in a short IEQ). 0:
 * not that one.
 */
void notify_peers(struct function *fn, uint32_t owned, uint32_t used, uint32_t dev);

/* A postponed update is due. */
void notify_later(const struct later *l);

#endif
