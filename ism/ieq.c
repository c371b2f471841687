/* SPDX-License-Identifier: MIT */
#include "ism/ieq.h"

#include <string.h>

void ism_ieq_init(struct ism_ieq *q, const uint8_t *page)
{
	*q = (struct ism_ieq){ .page = page };
}

/* Acquire: orders idx before the entries it announces, which are written first. */
static uint64_t load_idx(const struct ism_ieq *q)
{
	const uint64_t *idx = (const uint64_t *)(const void *)q->page;

	return be64toh(__atomic_load_n(idx, __ATOMIC_ACQUIRE));
}

/* Word by word, each read once; the device may be overwriting the entry meanwhile. */
static struct ism_ieq_entry load_entry(const struct ism_ieq *q, unsigned int slot)
{
	const uint8_t *at = q->page + ISM_IEQ_FIRST + ISM_IEQ_ENTRY * (uintptr_t)slot;
	const uint64_t *src = (const uint64_t *)(const void *)at;
	uint64_t raw[ISM_IEQ_ENTRY / 8];
	struct ism_ieq_entry entry;

	for (unsigned int i = 0; i < ISM_IEQ_ENTRY / 8; i++)
		raw[i] = __atomic_load_n(&src[i], __ATOMIC_RELAXED);
	memcpy(&entry, raw, sizeof(entry));
	return entry;
}

static struct ism_event decode(const struct ism_ieq_entry *entry)
{
	return (struct ism_event){
		.type = be32_get(entry->type),
		.code = be32_get(entry->code),
		.tok = be64_get(entry->tok),
		.time = be64_get(entry->time),
		.info = be64_get(entry->info),
	};
}

static bool possible(const struct ism_ieq *q, uint64_t idx)
{
	return idx <= ISM_IEQ_SLOTS && (idx != 0 || q->seen == 0);
}

/* An impossible 0 differs from "none rejected". */
static uint64_t reject_mark(uint64_t idx)
{
	return idx ? idx : UINT64_MAX;
}

/* The slot of the entry taken last; before the first one, the slot that is written last. */
static unsigned int last_slot(const struct ism_ieq *q)
{
	return (q->seen + ISM_IEQ_SLOTS - 1) % ISM_IEQ_SLOTS;
}

/* True when the ring went round since the last poll. */
static bool went_round(const struct ism_ieq *q, uint64_t idx)
{
	struct ism_ieq_entry now;

	if (q->seen == 0 && idx == ISM_IEQ_SLOTS) /* the first fifteen: full, nothing lost */
		return false;
	now = load_entry(q, last_slot(q));
	return memcmp(&now, &q->last, sizeof(now)) != 0;
}

unsigned int ism_ieq_poll(struct ism_ieq *q, bool e, struct ism_event out[ISM_IEQ_SLOTS],
	bool *lost)
{
	uint64_t idx = load_idx(q);
	unsigned int n;

	*lost = false;
	if (!possible(q, idx)) {
		*lost = q->rejected != reject_mark(idx);
		q->rejected = reject_mark(idx);
		return 0;
	}
	q->rejected = 0;
	if (idx == q->seen && !e)
		return 0;
	n = q->seen ? ((unsigned int)idx + ISM_IEQ_SLOTS - q->seen) % ISM_IEQ_SLOTS :
		      (unsigned int)idx;
	*lost = went_round(q, idx) || (n == 0 && !q->e_owed);
	for (unsigned int i = 0; i < n; i++) {
		q->last = load_entry(q, (q->seen + i) % ISM_IEQ_SLOTS);
		out[i] = decode(&q->last);
	}
	q->seen = (uint32_t)idx;
	q->e_owed = n != 0;
	if (n == 0)
		q->last = load_entry(q, last_slot(q));
	return n;
}

bool ism_ieq_pending(const struct ism_ieq *q)
{
	uint64_t idx = load_idx(q);

	if (!possible(q, idx))
		return q->rejected != reject_mark(idx);
	return idx != q->seen;
}
