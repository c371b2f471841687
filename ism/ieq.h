/* SPDX-License-Identifier: MIT */
/*
 * ieq.h - the event queue
 *
 * A ring of 15 entries without a consumer index: the function writes an entry and then the header's
 * idx, which runs 1..15, 1..15 and is 0 only before the first event. Fifteen unread events look
 * like none, more overwrite silently. What tells them apart is the entry consumed last: only an
 * event that went once round the ring changes it. Where even that looks the same, e without a new
 * event counts as lost events, except once after events were taken: the function sets e after idx,
 * so that e may belong to those.
 *
 * The queue is never trusted: idx is read once per poll and checked; a poll takes at most 15.
 */
#ifndef SMCDU_ISM_IEQ_H
#define SMCDU_ISM_IEQ_H

#include "ism/ism.h"
#include "ism/proto.h"

struct ism_ieq {
	const uint8_t *page;	   /* 512 bytes, 8-aligned, zeroed before registration */
	uint32_t seen;		   /* idx up to which events were taken; 0 at the start */
	uint64_t rejected;	   /* impossible idx that was reported already; else 0 */
	bool e_owed;		   /* events were taken since e was last excused */
	struct ism_ieq_entry last; /* entry taken last */
};

void ism_ieq_init(struct ism_ieq *q, const uint8_t *page);

/*
 * Takes what is new into out[0..n), n <= 15, and returns n. @e: the e bit was set (and cleared)
 * before the call. *lost is set when events were lost or idx is impossible (reported once).
 */
unsigned int ism_ieq_poll(struct ism_ieq *q, bool e, struct ism_event out[ISM_IEQ_SLOTS],
	bool *lost);

/* True when idx moved: ism_ieq_poll() would have something to say. */
bool ism_ieq_pending(const struct ism_ieq *q);

#endif
