/* SPDX-License-Identifier: MIT */
#include "ism/model/move.h"

#include <errno.h>

#include "ism/copy.h"
#include "ism/model/dmb.h"
#include "ism/model/fabric.h"
#include "ism/model/function.h"
#include "ism/model/notify.h"

/* The opposite of what a driver would like (knob torn_writes). */
static void copy_torn(uint8_t *dst, const uint8_t *src, size_t len)
{
	while (len--)
		__atomic_store_n(dst + len, src[len], __ATOMIC_RELEASE);
}

bool move_allowed(const struct function *src, const struct dmb *d)
{
	if (src->gid != d->rgid && d->rgid)
		return false;
	if (!function_alive(d->owner))
		return false;
	if (fabric_knob(src->fabric, KNOB_require_registered) && !function_enabled(src))
		return false;
	return !d->vlan_valid || (function_has_vlan(src, d->vlan_id) &&
					 function_has_vlan(d->owner, d->vlan_id));
}

int move_execute(struct function *src, uint64_t addr, const void *data, size_t len)
{
	struct fabric *f = src->fabric;
	uint64_t below = ~fabric_token_mask(f);
	uint32_t offset = (uint32_t)(addr & ISM_MOVE_OFF_MASK);
	uint64_t idx = (addr & below) >> ISM_MOVE_IDX_SHIFT;
	struct dmb *d = fabric_dmb(f, addr & ~below);
	uint8_t *dst;

	if (!d || !move_allowed(src, d) || idx > fabric_knob(f, KNOB_idx_limit))
		return -EIO;
	if (offset > d->len || len > d->len - offset)
		return -EIO;
	if (len) {
		dst = dmb_at(d, offset);
		if (!dst)
			return -EIO;
		if (fabric_knob(f, KNOB_torn_writes))
			copy_torn(dst, data, len);
		else
			ism_copy(dst, data, len);
	}
	src->count.moves++;
	src->count.bytes += len;
	if (addr & ISM_MOVE_SF)
		notify_dmb(d, (uint8_t)idx);
	return 0;
}
