/* SPDX-License-Identifier: MIT */
#include "ism/model/dmb.h"

#include <stdlib.h>
#include <string.h>

#include "ism/model/fabric.h"
#include "ism/model/function.h"
#include "ism/model/notify.h"

#define MIB UINT64_C(1048576)

/* Judgements are knob ids of return codes; -1 is "fine". */
#define FINE (-1)

static int check_size(const struct fabric *f, const struct dmb_request *want)
{
	if (!want->len || want->len > fabric_knob(f, KNOB_dmb_max) ||
		want->len % fabric_knob(f, KNOB_dmb_granule))
		return KNOB_ret_size;
	if (fabric_knob(f, KNOB_dmb_pow2) && (want->len & (want->len - 1)))
		return KNOB_ret_size;
	if (want->iova % fabric_knob(f, KNOB_dmb_align) || want->iova > UINT64_MAX - want->len)
		return KNOB_ret_address;
	if (!fabric_knob(f, KNOB_dmb_cross_1m) &&
		want->iova / MIB != (want->iova + want->len - 1) / MIB)
		return KNOB_ret_address;
	return FINE;
}

static int check_index(const struct function *fn, uint32_t idx)
{
	uint32_t min = fabric_knob(fn->fabric, KNOB_low_idx) ? 0 : ISM_DMB_IDX_MIN;

	if (idx < min || idx >= ISM_NR_DMBS || fn->by_idx[idx])
		return KNOB_ret_index;
	return FINE;
}

static int check_writer(const struct function *fn, const struct dmb_request *want)
{
	const struct fabric *f = fn->fabric;

	if (!want->rgid)
		return fabric_knob(f, KNOB_rgid_zero) ? FINE : KNOB_ret_gid;
	if (want->rgid == fn->gid)
		return fabric_knob(f, KNOB_loop_gid) ? FINE : KNOB_ret_gid;
	return fabric_by_gid(f, want->rgid) ? FINE : KNOB_ret_gid;
}

static int check(const struct function *fn, const struct dmb_request *want)
{
	int r = check_size(fn->fabric, want);

	if (r == FINE)
		r = check_index(fn, want->idx);
	if (r == FINE)
		r = check_writer(fn, want);
	if (r != FINE)
		return r;
	if (want->vlan_valid ? !function_has_vlan(fn, want->vlan_id)
			     : fabric_knob(fn->fabric, KNOB_vlan_required))
		return KNOB_ret_vlan;
	if (fabric_knob(fn->fabric, KNOB_dmb_needs_sba) && !fn->sba)
		return KNOB_ret_state;
	if (fn->num_owned >= fabric_knob(fn->fabric, KNOB_dmb_limit))
		return KNOB_ret_limit;
	return FINE;
}

/* One map for all is the rule; a guest's DMB comes as one map per page. */
static bool resolve_pages(struct dmb *d)
{
	size_t n = (d->len + ISM_PAGE_SIZE - 1) / ISM_PAGE_SIZE;
	uint8_t *whole = function_memory(d->owner, d->iova, d->len);
	uint8_t **page = calloc(n, sizeof(*page));
	size_t i;

	for (i = 0; page && i < n; i++) {
		uint32_t at = (uint32_t)(i * ISM_PAGE_SIZE);
		uint32_t left = d->len - at;

		page[i] = whole ? whole + at
				: function_memory(d->owner, d->iova + at,
					  left < ISM_PAGE_SIZE ? left : ISM_PAGE_SIZE);
		if (!page[i]) {
			free(page);
			return false;
		}
	}
	d->page = page;
	return page != NULL;
}

/* A file of its own can be mapped when somebody stores here; most such DMBs are written elsewhere. */
static bool reachable(struct dmb *d)
{
	return function_memory_fd(d->owner, d->iova, d->len) >= 0 || resolve_pages(d);
}

uint8_t *dmb_at(struct dmb *d, uint32_t offset)
{
	if (!d->page && !resolve_pages(d))
		return NULL;
	return d->page[offset / ISM_PAGE_SIZE] + offset % ISM_PAGE_SIZE;
}

/* False: there was no memory for it. */
static bool clear(struct dmb *d)
{
	uint32_t at;

	for (at = 0; at < d->len; at += ISM_PAGE_SIZE) {
		uint32_t left = d->len - at;
		uint8_t *page = dmb_at(d, at);

		if (!page)
			return false;
		memset(page, 0, left < ISM_PAGE_SIZE ? left : ISM_PAGE_SIZE);
	}
	return true;
}

uint16_t dmb_register(struct function *fn, const struct dmb_request *want, uint64_t *token)
{
	struct fabric *f = fn->fabric;
	struct dmb *d;
	int r = check(fn, want);

	if (r != FINE)
		return (uint16_t)fabric_knob(f, (enum knob_id)r);
	d = calloc(1, sizeof(*d));
	if (!d)
		return (uint16_t)fabric_knob(f, KNOB_ret_limit);
	d->owner = fn;
	d->rgid = want->rgid;
	d->iova = want->iova;
	d->len = want->len;
	d->idx = want->idx;
	d->vlan_valid = want->vlan_valid;
	d->vlan_id = (uint16_t)want->vlan_id;
	if (!reachable(d) || (fabric_knob(f, KNOB_dmb_clear) && !clear(d))) {
		free(d->page);
		free(d);
		return (uint16_t)fabric_knob(f, KNOB_ret_address);
	}
	if (fabric_add_dmb(f, d)) {
		free(d->page);
		free(d);
		return (uint16_t)fabric_knob(f, KNOB_ret_limit);
	}
	notify_registered(fn, d->idx);
	*token = d->token;
	return 0;
}

uint16_t dmb_unregister(struct function *fn, uint64_t token)
{
	struct fabric *f = fn->fabric;
	struct dmb *d = fabric_dmb(f, token);
	struct function *writer;

	if (!d || d->owner != fn)
		return (uint16_t)fabric_knob(f, KNOB_ret_token);
	writer = d->writer;
	notify_late_store(d);
	fabric_del_dmb(f, d);
	if (writer && fabric_knob(f, KNOB_unreg_events))
		notify_event(writer, ISM_EVENT_BUF, ISM_EV_DMB_UNREGISTERED, token, 0, true);
	return 0;
}
