/* SPDX-License-Identifier: MIT */
#include "ism/model/function.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ism/model/command.h"
#include "ism/model/dmb.h"
#include "ism/model/move.h"
#include "ism/model/notify.h"
#include "vfio/zpci.h"

#define PCIAS_CONFIG 15u

struct function *function_create(struct fabric *f, unsigned int nr, uint64_t gid)
{
	struct function *fn = calloc(1, sizeof(*fn));

	if (!fn)
		return NULL;
	fn->fabric = f;
	fn->nr = nr;
	fn->gid = gid;
	fn->attach.gate_fd = -1;
	pci_config_init(&fn->config, fabric_knob(f, KNOB_bar2_size));
	return fn;
}

/* Ends all registrations. Who has to be told has been told before. */
static void drop_registrations(struct function *fn)
{
	struct dmb *d, *tmp;

	DL_FOREACH_SAFE (fn->owned, d, tmp)
		fabric_del_dmb(fn->fabric, d);
	fabric_forget(fn->fabric, fn);
	fn->sba = NULL;
	fn->ieq = NULL;
	fn->num_vlans = 0;
	fn->body_len = 0;
	memset(fn->reply, 0, sizeof(fn->reply));
}

void function_destroy(struct function *fn)
{
	struct dmb *d, *tmp;

	if (!fn)
		return;
	drop_registrations(fn);
	DL_FOREACH_SAFE2 (fn->writes, d, tmp, wnext)
		d->writer = NULL;
	free(fn);
}

int function_attach(struct function *fn, const struct function_host *host, void *ctx)
{
	if (fn->faults.unplugged)
		return -ENODEV;
	if (fn->host)
		return -EBUSY;
	fn->host = host;
	fn->ctx = ctx;
	fn->stall_ms = 0;
	pci_config_init(&fn->config, fabric_knob(fn->fabric, KNOB_bar2_size));
	attach_review(fn->fabric);
	return 0;
}

/* DMBs that the old GID was allowed to write stay bound to a GID that nobody has any more. */
static void change_gid(struct function *fn)
{
	struct dmb *d, *tmp;

	DL_FOREACH_SAFE2 (fn->writes, d, tmp, wnext) {
		DL_DELETE2(fn->writes, d, wprev, wnext);
		d->writer = NULL;
	}
	fn->num_writes = 0;
	do
		fn->gid += fn->fabric->n;
	while (!fn->gid || fabric_by_gid(fn->fabric, fn->gid) != fn);
}

/* The function begins anew, and its peers are told. */
static void restart(struct function *fn)
{
	fn->faults.error = false;
	fn->count.resets++;
	notify_peers(fn, 0, ISM_EV_USER_DISABLED, ISM_EV_GID_DISABLED);
	attach_leave(fn);
	drop_registrations(fn);
	if (fabric_knob(fn->fabric, KNOB_gid_change))
		change_gid(fn);
}

void function_detach(struct function *fn)
{
	if (!fn->host)
		return;
	restart(fn);
	fn->msi = false;
	fn->host = NULL;
	fn->ctx = NULL;
	attach_review(fn->fabric);
}

int function_reset(struct function *fn)
{
	struct fabric *f = fn->fabric;

	if (fn->faults.unplugged)
		return -ENODEV;
	if (!fabric_knob(f, KNOB_reset_supported))
		return -EOPNOTSUPP;
	fn->stall_ms += fabric_knob(f, KNOB_reset_ms);
	if (fabric_knob(f, KNOB_reset_keeps)) {
		fn->faults.error = false;
		fn->count.resets++;
		attach_review(f);
		return 0;
	}
	restart(fn);
	return 0;
}

void function_enter_error(struct function *fn)
{
	if (fn->faults.error)
		return;
	fn->faults.error = true;
	attach_review(fn->fabric);
	notify_peers(fn, ISM_EV_OWNER_ERROR, ISM_EV_USER_ERROR, ISM_EV_GID_ERROR);
}

void function_leave_error(struct function *fn)
{
	fn->faults.error = false;
	if (!fabric_knob(fn->fabric, KNOB_error_keeps))
		drop_registrations(fn);
	attach_review(fn->fabric);
}

void function_unplug(struct function *fn)
{
	fn->faults.unplugged = true;
	attach_review(fn->fabric);
	if (fn->host)
		fn->host->unplugged(fn->ctx);
}

static uint64_t bar_size(const struct function *fn, uint8_t pcias)
{
	switch (pcias) {
	case ISM_PCIAS_MOVE:
		return ZPCI_OFFSET_LIMIT;
	case ISM_PCIAS_CMD:
		return fabric_knob(fn->fabric, KNOB_bar2_size);
	default:
		return 0;
	}
}

/* What PCISTB itself refuses. */
static int check_store(const struct function *fn, uint8_t pcias, uint64_t offset, size_t len)
{
	uint64_t size = bar_size(fn, pcias);

	if (!size)
		return -EIO;
	if (len > fabric_knob(fn->fabric, KNOB_max_store) || offset >= size || len > size - offset)
		return -EINVAL;
	if (!len && !fabric_knob(fn->fabric, KNOB_zero_length))
		return -EINVAL;
	if (offset % ISM_PAGE_SIZE + len > ISM_PAGE_SIZE)
		return -EINVAL;
	if (fabric_knob(fn->fabric, KNOB_strict_align) && (len <= 8 || len % 8 || offset % 8))
		return -EINVAL;
	return 0;
}

static int check_state(const struct function *fn)
{
	if (fn->faults.unplugged || !fn->host)
		return -ENODEV;
	return fn->faults.error ? -EIO : 0;
}

static int store(struct function *fn, uint8_t pcias, uint64_t offset, const void *data, size_t len)
{
	int r = check_state(fn);

	if (!r)
		r = check_store(fn, pcias, offset, len);
	if (r)
		return r;
	if (fault_take(&fn->faults.fail_stores)) {
		if (!fn->faults.fail_stores)
			attach_review(fn->fabric);
		return -EIO;
	}
	if (!len && (pcias != ISM_PCIAS_MOVE || fabric_knob(fn->fabric, KNOB_zero_length) == 1))
		return 0;
	if (pcias == ISM_PCIAS_MOVE)
		return move_execute(fn, offset, data, len);
	return command_store(fn, offset, data, len);
}

/*
 * Lets an instruction that began at @begin take @ns in all, its work included. Not by sleeping:
 * a processor does nothing else meanwhile either.
 */
static void take_time(const struct function *fn, uint64_t begin, uint64_t ns)
{
	while (fn->fabric->now() - begin < ns)
		;
}

int function_store(struct function *fn, uint8_t pcias, uint64_t offset, const void *data,
	size_t len)
{
	uint64_t ns = fabric_knob(fn->fabric, KNOB_store_ns) +
		len * fabric_knob(fn->fabric, KNOB_store_ps_byte) / 1000;
	uint64_t begin = ns ? fn->fabric->now() : 0;
	int r = store(fn, pcias, offset, data, len);

	if (ns)
		take_time(fn, begin, ns);
	fn->count.pcistb++;
	if (r)
		fn->count.errors++;
	return r;
}

static int load_config(const struct function *fn, uint64_t offset, size_t len, uint64_t *value)
{
	uint8_t buf[4];
	size_t i;

	if ((len != 1 && len != 2 && len != 4) || offset % 4 + len > 4 ||
		pci_config_read(&fn->config, offset, buf, len))
		return -EINVAL;
	*value = 0;
	for (i = 0; i < len; i++)
		*value = *value << 8 | buf[i];
	return 0;
}

static int load(struct function *fn, uint8_t pcias, uint64_t offset, size_t len, uint64_t *value)
{
	uint64_t size = bar_size(fn, pcias);
	int r = check_state(fn);

	if (r)
		return r;
	if (pcias == PCIAS_CONFIG)
		return load_config(fn, offset, len, value);
	if (!size)
		return -EIO;
	if (!len || len > 8 || offset % 8 + len > 8 || offset >= size || len > size - offset)
		return -EINVAL;
	if (fault_take(&fn->faults.fail_loads))
		return -EIO;
	if (pcias == ISM_PCIAS_MOVE) /* a window for writing only */
		return -EIO;
	if (fabric_knob(fn->fabric, KNOB_load_width8) && len != 8)
		return -EIO;
	*value = command_load(fn, offset, len);
	return 0;
}

int function_load(struct function *fn, uint8_t pcias, uint64_t offset, size_t len, uint64_t *value)
{
	uint64_t ns = fabric_knob(fn->fabric, KNOB_load_ns), begin = ns ? fn->fabric->now() : 0;
	int r = load(fn, pcias, offset, len, value);

	if (ns)
		take_time(fn, begin, ns);
	fn->count.pcilg++;
	if (r)
		fn->count.errors++;
	return r;
}

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b ? b - a < alen : a - b < blen;
}

/* The memory is gone whoever is to blame: the function lets go rather than write elsewhere. */
void function_dma_unmapped(struct function *fn, uint64_t iova, uint64_t size)
{
	struct dmb *d, *tmp;

	if (fn->sba && overlaps(fn->sba_iova, ISM_PAGE_SIZE, iova, size))
		fn->sba = NULL;
	if (fn->ieq && overlaps(fn->ieq_iova, fn->ieq_len, iova, size))
		fn->ieq = NULL;
	DL_FOREACH_SAFE (fn->owned, d, tmp) {
		if (overlaps(d->iova, d->len, iova, size))
			dmb_unregister(fn, d->token);
	}
	if (!fn->sba)
		attach_review(fn->fabric);
}

void function_set_msi(struct function *fn, bool enabled)
{
	fn->msi = enabled;
}

uint64_t function_take_stall(struct function *fn)
{
	uint64_t ms = fn->stall_ms;

	fn->stall_ms = 0;
	return ms;
}

bool function_has_vlan(const struct function *fn, uint32_t vlan)
{
	unsigned int i;

	for (i = 0; i < fn->num_vlans; i++) {
		if (fn->vlan[i] == vlan)
			return true;
	}
	return false;
}

bool function_alive(const struct function *fn)
{
	return fn->host && !fn->faults.error && !fn->faults.unplugged;
}

bool function_enabled(const struct function *fn)
{
	return fn->sba && fn->ieq;
}

static bool addressable(const struct function *fn, uint64_t iova, size_t len)
{
	const struct fabric *f = fn->fabric;

	return fn->host && len && iova <= UINT64_MAX - (len - 1) &&
	       iova >= fabric_knob(f, KNOB_iova_start) &&
	       iova + (len - 1) <= fabric_knob(f, KNOB_iova_end);
}

void *function_memory(const struct function *fn, uint64_t iova, size_t len)
{
	return addressable(fn, iova, len) ? fn->host->resolve(fn->ctx, iova, len, true) : NULL;
}

int function_memory_fd(const struct function *fn, uint64_t iova, size_t len)
{
	return addressable(fn, iova, len) && fn->host->memory_fd ?
		fn->host->memory_fd(fn->ctx, iova, len) : -1;
}
