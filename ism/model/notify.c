/* SPDX-License-Identifier: MIT */
#include "ism/model/notify.h"

#include <string.h>
#include <time.h>

#include "ism/model/function.h"

#define HOLD_RETRY_NS UINT64_C(1000000)
#define IEQ_IDX	      0u
#define IEQ_LEN	      8u
#define IEQ_ENTRY_LEN 16u

#define TOD_EPOCH_S UINT64_C(2208988800) /* 1900-01-01 to 1970-01-01 */
#define TOD_US_SHIFT 12			 /* bit 51 of the TOD clock counts microseconds */

/* Aligned 64-bit word of the IEQ; the page is at least 4 KiB aligned. */
static void ieq_store(struct function *fn, size_t at, uint64_t value, int order)
{
	uint64_t *word = (uint64_t *)(void *)(fn->ieq + at);

	if (order == __ATOMIC_RELEASE)
		__atomic_store_n(word, htobe64(value), __ATOMIC_RELEASE);
	else
		__atomic_store_n(word, htobe64(value), __ATOMIC_RELAXED);
}

static void raise_irq(struct function *fn)
{
	if (!fn->sba || !fn->ieq || !fn->msi)
		return;
	fn->count.irqs++;
	fn->host->irq(fn->ctx);
}

static void set_mask(struct function *fn, uint32_t idx, uint16_t mask)
{
	uint16_t *word = (uint16_t *)(void *)(fn->sba + ISM_SBA_MASKS + 2u * idx);

	__atomic_fetch_or(word, htobe16(mask), __ATOMIC_RELEASE);
}

/*
 * Release: whoever acquires the bit sees the data of the move. Sequentially consistent, because a
 * driver that goes to sleep clears s and then looks at the bits, while we set the bit and then look
 * at s: one of the two must see the other.
 */
static void set_bit(struct function *fn, uint32_t idx)
{
	__atomic_fetch_or(fn->sba + ISM_SBA_BITS + idx / 8, (uint8_t)(0x80u >> idx % 8),
		__ATOMIC_SEQ_CST);
}

/* Sets s (and @also); true when the MSI is due. */
static bool set_summary(struct function *fn, uint8_t also)
{
	uint8_t old = __atomic_fetch_or(fn->sba, (uint8_t)(ISM_SBA_S | also), __ATOMIC_SEQ_CST);

	return !(old & ISM_SBA_S) || fabric_knob(fn->fabric, KNOB_irq_level);
}

static bool may_write(const struct function *fn)
{
	return !fabric_knob(fn->fabric, KNOB_require_master) || pci_config_master(&fn->config);
}

static void signal_now(struct function *fn, uint32_t idx, uint16_t mask)
{
	bool irq;

	if (!fn->sba || !may_write(fn))
		return;
	switch (fabric_knob(fn->fabric, KNOB_sba_order)) {
	case 1:
		set_bit(fn, idx);
		set_mask(fn, idx, mask);
		irq = set_summary(fn, 0);
		break;
	case 2:
		irq = set_summary(fn, 0);
		set_bit(fn, idx);
		set_mask(fn, idx, mask);
		break;
	default:
		set_mask(fn, idx, mask);
		set_bit(fn, idx);
		irq = set_summary(fn, 0);
		break;
	}
	fn->count.signals++;
	if (irq)
		raise_irq(fn);
}

static bool held(const struct function *fn)
{
	return fabric_knob(fn->fabric, KNOB_sba_hold) && fn->sba &&
		(__atomic_load_n(fn->sba, __ATOMIC_ACQUIRE) & ISM_SBA_S);
}

/* Signals now, or @delay ns later; when the list is full, late becomes now. */
static void signal_after(const struct later *what, uint64_t delay)
{
	struct later l = *what;

	if (delay) {
		l.due = l.fn->fabric->now() + delay;
		if (!fabric_postpone(l.fn->fabric, &l))
			return;
	}
	signal_now(l.fn, l.idx, l.mask);
}

void notify_later(const struct later *l)
{
	if (l->store_iova) {
		uint64_t *word = function_memory(l->fn, l->store_iova, sizeof(*word));

		if (word)
			__atomic_store_n(word, UINT64_C(0xa5a5a5a5a5a5a5a5), __ATOMIC_RELEASE);
	}
	signal_after(l, held(l->fn) ? HOLD_RETRY_NS : 0);
}

/* The mask bit of a signal index: the base rotated right, so any index has one. */
static uint16_t mask_of(const struct fabric *f, uint8_t signal_idx)
{
	uint32_t base = (uint32_t)fabric_knob(f, KNOB_mask_base);

	return (uint16_t)((base | base << 16) >> (signal_idx & 15));
}

void notify_dmb(struct dmb *d, uint8_t signal_idx)
{
	struct function *fn = d->owner;
	struct later l = { .fn = fn, .idx = d->idx, .mask = mask_of(fn->fabric, signal_idx) };
	uint64_t delay = fabric_knob(fn->fabric, KNOB_sba_delay_us) * 1000;

	if (!fn->sba || (fabric_knob(fn->fabric, KNOB_require_msi) && !fn->msi))
		return;
	if (!delay && held(fn))
		delay = HOLD_RETRY_NS;
	signal_after(&l, delay);
}

void notify_late_store(const struct dmb *d)
{
	struct fabric *f = d->owner->fabric;
	struct later l = { .fn = d->owner, .idx = d->idx, .mask = mask_of(f, 0),
		.store_iova = d->len >= 8 ? (d->iova + d->len - 8) & ~UINT64_C(7) : 0 };
	uint64_t delay = fabric_knob(f, KNOB_late_store_us) * 1000;

	if (delay)
		signal_after(&l, delay);
}

void notify_registered(struct function *fn, uint32_t idx)
{
	uint16_t *mask;

	if (!fn->sba)
		return;
	mask = (uint16_t *)(void *)(fn->sba + ISM_SBA_MASKS + 2u * idx);
	switch (fabric_knob(fn->fabric, KNOB_stale_bits)) {
	case 1:
		set_mask(fn, idx, mask_of(fn->fabric, 0));
		set_bit(fn, idx);
		break;
	case 2:
		__atomic_fetch_and(fn->sba + ISM_SBA_BITS + idx / 8,
			(uint8_t)~(0x80u >> idx % 8), __ATOMIC_RELAXED);
		__atomic_store_n(mask, 0, __ATOMIC_RELAXED);
		break;
	default:
		break;
	}
}

void notify_ieq_init(struct function *fn)
{
	fn->ieq_next = 0;
	fn->ieq_unread = 0;
	ieq_store(fn, IEQ_IDX, 0, __ATOMIC_RELAXED);
	if (!fabric_knob(fn->fabric, KNOB_ieq_fill))
		return;
	ieq_store(fn, IEQ_LEN, fn->ieq_len, __ATOMIC_RELAXED);
	ieq_store(fn, IEQ_ENTRY_LEN, (uint64_t)ISM_IEQ_ENTRY << 32, __ATOMIC_RELAXED);
}

static uint64_t tod_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (((uint64_t)ts.tv_sec + TOD_EPOCH_S) * 1000000 + (uint64_t)ts.tv_nsec / 1000)
		<< TOD_US_SHIFT;
}

/*
 * There is no consumer index. All the device can know is how many events it wrote since it last
 * found e cleared.
 */
static bool ieq_full(struct function *fn, uint32_t slots)
{
	if (!fn->sba || !(__atomic_load_n(fn->sba, __ATOMIC_ACQUIRE) & ISM_SBA_E))
		fn->ieq_unread = 0;
	return fn->ieq_unread >= slots - 1 && fabric_knob(fn->fabric, KNOB_ieq_overflow);
}

static void announce_event(struct function *fn, bool at_once)
{
	uint64_t lazy = at_once ? 0 : fabric_knob(fn->fabric, KNOB_event_coalesce);

	if (!fn->sba || lazy == 2)
		return;
	if (lazy == 1)
		__atomic_fetch_or(fn->sba, ISM_SBA_E, __ATOMIC_SEQ_CST);
	else if (set_summary(fn, ISM_SBA_E))
		raise_irq(fn);
}

void notify_event(struct function *fn, uint32_t type, uint32_t code, uint64_t tok, uint64_t info,
	bool at_once)
{
	uint32_t slots, at;

	if (!fn->ieq || !may_write(fn) || fault_take(&fn->faults.drop_events)) {
		fn->count.events_lost++;
		return;
	}
	slots = fn->ieq_len / ISM_IEQ_ENTRY - 1;
	if (ieq_full(fn, slots)) {
		fn->count.events_lost++;
		return;
	}
	at = ISM_IEQ_FIRST + ISM_IEQ_ENTRY * fn->ieq_next;
	ieq_store(fn, at, (uint64_t)type << 32 | code, __ATOMIC_RELAXED);
	ieq_store(fn, at + 8, tok, __ATOMIC_RELAXED);
	ieq_store(fn, at + 16, tod_now(), __ATOMIC_RELAXED);
	ieq_store(fn, at + 24, info, __ATOMIC_RELAXED);
	/* Release: whoever acquires the index sees the entry. It runs 1..slots, never 0 again. */
	ieq_store(fn, IEQ_IDX, fn->ieq_next + 1, __ATOMIC_RELEASE);
	fn->ieq_next = (fn->ieq_next + 1) % slots;
	fn->ieq_unread++;
	fn->count.events++;
	announce_event(fn, at_once);
}

void notify_peers(struct function *fn, uint32_t owned, uint32_t used, uint32_t dev)
{
	bool share[FABRIC_FUNCTIONS_MAX] = { false };
	struct dmb *d;
	unsigned int i;

	if (!fabric_knob(fn->fabric, KNOB_death_events))
		return;
	for (d = fn->owned; d; d = d->next) {
		if (!d->writer || d->writer == fn)
			continue;
		share[d->writer->nr] = true;
		if (owned)
			notify_event(d->writer, ISM_EVENT_BUF, owned, d->token, 0, true);
	}
	for (d = fn->writes; d; d = d->wnext) {
		if (d->owner == fn)
			continue;
		share[d->owner->nr] = true;
		if (used)
			notify_event(d->owner, ISM_EVENT_BUF, used, d->token, 0, true);
	}
	for (i = 0; dev && i < fn->fabric->n; i++) {
		if (share[i])
			notify_event(fn->fabric->fn[i], ISM_EVENT_DEV, dev, fn->gid, 0, true);
	}
}
