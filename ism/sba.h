/* SPDX-License-Identifier: MIT */
/*
 * sba.h - the signal page
 *
 * The function sets s, e, DMB bits and mask bits at any time; the driver only clears, always with
 * an atomic operation, so that a bit set meanwhile is never lost. Bits are levels, not counters.
 * The scan is not gated on s: s exists for the interrupt alone.
 *
 * @page is 4096 bytes, page-aligned, shared with the device.
 */
#ifndef SMCDU_ISM_SBA_H
#define SMCDU_ISM_SBA_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/proto.h"

/* Clears s: the next signal raises an interrupt. Loads after it see what was signalled before. */
static inline void ism_sba_clear_s(uint8_t *page)
{
	/* A byte AND, not a store: e shares the byte. */
	__atomic_fetch_and(page, 0xff ^ ISM_SBA_S, __ATOMIC_SEQ_CST);
	/*
	 * Orders the clearing before the rescan: the device sets its bit, then s. Either it finds s
	 * clear and raises the interrupt, or the rescan finds its bit.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline bool ism_sba_s(const uint8_t *page)
{
	return __atomic_load_n(page, __ATOMIC_RELAXED) & ISM_SBA_S;
}

/* True when e is set; ordered before the loads of the event queue that follow. */
static inline bool ism_sba_e(const uint8_t *page)
{
	return __atomic_load_n(page, __ATOMIC_ACQUIRE) & ISM_SBA_E;
}

static inline void ism_sba_clear_e(uint8_t *page)
{
	/* Acquire: orders the clearing before the loads of the queue, whose idx is set before e. */
	__atomic_fetch_and(page, 0xff ^ ISM_SBA_E, __ATOMIC_ACQ_REL);
}

/* Takes (fetches and clears) the bits of word @k, 0..29: bit i MSB-0 is index 32 + 64k + i. */
uint64_t ism_sba_take(uint8_t *page, unsigned int k);

/* Takes the mask of @idx. A hint: 0 beside a set bit is a valid wake-up. */
uint16_t ism_sba_take_mask(uint8_t *page, uint32_t idx);

/* Clears bit and mask of @idx (32..1919), before it is registered. */
void ism_sba_forget(uint8_t *page, uint32_t idx);

/* True when the bit of @idx is set. Acquire: orders it before loads of the DMB's data. */
bool ism_sba_test(const uint8_t *page, uint32_t idx);

/* True when any DMB bit is set. */
bool ism_sba_any(const uint8_t *page);

#endif
