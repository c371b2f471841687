/* SPDX-License-Identifier: MIT */
/*
 * dmb.c - DMBs: memory, indexes, quarantine
 *
 * After unregistering, a store issued elsewhere may still land. So memory and index rest until some
 * time has passed and the device has answered one more command; then the device's mapping ends, and
 * only after that the memory is destroyed. It never serves another DMB.
 *
 * Only a DMB that nobody else sees is a block of an arena, whose mapping goes on: after its rest, and
 * only if the device confirmed the end, the block may become another of these, or anything else.
 */
#include "ism/dev.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "ism/sba.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define RELEASE_BATCH 32u
#define LEFT_NS	      UINT64_C(5000000) /* how long a retired DMB waits for company */
#define PUT_OFF_MAX   64u		/* DMBs on their way out while that is put off */

/* The door's error, where it did not map memory. */
static int map_error(struct ism_port *p, int r)
{
	return r == -ENOMEM || r == -ENOSPC ? -ENOMEM : ism_port_error(p, r);
}

static int map_memory(struct ism_dev *dev, size_t size, struct ism_memory *ret)
{
	struct ism_port *p = &dev->port;
	struct ism_memory m;
	int r = ism_files_get(&dev->files, size, &m);

	if (r < 0)
		return r;
	r = zpci_dma_map(p->z, m.va, size, m.fd, 0, &m.iova);
	if (r < 0) {
		ism_files_put(&dev->files, &m);
		return map_error(p, r);
	}
	*ret = m;
	return 0;
}

/* Ends the device's access, then ours. On failure everything stays mapped. */
static int unmap_memory(struct ism_dev *dev, struct ism_memory *m)
{
	int r = zpci_dma_unmap(dev->port.z, m->iova, m->size);

	if (r < 0)
		return ism_port_error(&dev->port, r);
	ism_files_put(&dev->files, m);
	return 0;
}

int ism_memory_get(struct ism_dev *dev, size_t size, struct arena_block *ret)
{
	int r;

	if (dev->port.gone)
		return -ENODEV;
	r = zpci_mem_get(dev->port.z, size, ret);
	return r < 0 ? map_error(&dev->port, r) : 0;
}

int ism_memory_put(struct ism_dev *dev, struct arena_block *block)
{
	return ism_port_error(&dev->port, zpci_mem_put(dev->port.z, block));
}

static struct ism_dmb_entry *entry_of(struct ism_dmb *dmb)
{
	return (struct ism_dmb_entry *)dmb;
}

static bool good_size(uint32_t size)
{
	return size >= ISM_DMB_MIN_SIZE && size <= ISM_DMB_MAX_SIZE && !(size & (size - 1));
}

/* Next-fit, so that an index rests as long as possible. 0: none is free. */
static uint32_t free_index(const struct ism_dev *dev)
{
	uint32_t idx = dev->next_idx;

	for (uint32_t i = ISM_DMB_IDX_MIN; i < ISM_NR_DMBS; i++) {
		if (!dev->dmbs[idx])
			return idx;
		idx = idx + 1 < ISM_NR_DMBS ? idx + 1 : ISM_DMB_IDX_MIN;
	}
	return 0;
}

/* Its memory, which is the caller's now if it has ended. */
static struct ism_memory memory_of(const struct ism_dmb_entry *e)
{
	const struct ism_dmb *dmb = &e->dmb;

	return (struct ism_memory){ .va = dmb->va, .size = dmb->size, .fd = dmb->fd, .ro = e->ro,
		.iova = dmb->iova };
}

static void forget_memory(struct ism_dmb_entry *e)
{
	e->dmb.va = NULL;
	e->dmb.fd = e->ro = -1;
}

static void free_entry(struct ism_dev *dev, struct ism_dmb_entry *e)
{
	dev->dmbs[e->dmb.idx] = NULL;
	slab_put(&dev->entries, e);
}

/* Ends the device's access and destroys the memory; keeps both when the former is impossible. */
static int release_memory(struct ism_dev *dev, struct ism_dmb_entry *e)
{
	struct ism_memory m = memory_of(e);
	int r = e->block.va ? ism_memory_put(dev, &e->block) : unmap_memory(dev, &m);

	if (r < 0) {
		e->state = ISM_DMB_KEPT;
		return r;
	}
	forget_memory(e);
	return 0;
}

static void start_quarantine(struct ism_dev *dev, struct ism_dmb_entry *e, bool confirmed)
{
	e->state = ISM_DMB_LEAVING;
	e->next = NULL;
	e->confirmed = confirmed;
	e->due_ns = clock_ns() + dev->quarantine_ns;
	e->answered = dev->port.answered;
	LL_APPEND(dev->leaving, e);
	dev->port.counters.quarantined++;
}

/* @e's access by the device has ended with @result. */
static void end_quarantine(struct ism_dev *dev, struct ism_dmb_entry *e, int result)
{
	struct ism_memory m = memory_of(e);

	dev->port.counters.quarantined--;
	if (result < 0) {
		e->state = ISM_DMB_KEPT;
		return;
	}
	ism_files_put(&dev->files, &m);
	forget_memory(e);
	if (e->confirmed)
		free_entry(dev, e);
	else
		e->state = ISM_DMB_RETIRED;
}

/* A block's mapping goes on, so it is only given back if the device said that it is done with it. */
static void release_block(struct ism_dev *dev, struct ism_dmb_entry *e)
{
	LL_DELETE(dev->leaving, e);
	dev->port.counters.quarantined--;
	if (e->confirmed && release_memory(dev, e) == 0)
		free_entry(dev, e);
	else
		e->state = ISM_DMB_KEPT;
}

/* Takes the first @n out of quarantine, which are files. */
static void release_files(struct ism_dev *dev, size_t n)
{
	bool together = zpci_caps(dev->port.z)->pipelined;
	struct vfio_range v[RELEASE_BATCH];
	struct ism_dmb_entry *e = dev->leaving;
	int r = 0;

	for (size_t i = 0; i < n; i++, e = e->next)
		v[i] = (struct vfio_range){ .iova = e->dmb.iova, .len = e->dmb.size, .result = -ENODEV };
	if (together)
		r = zpci_dma_unmap_batch(dev->port.z, v, n);
	for (size_t i = 0; i < n; i++) {
		e = dev->leaving;
		if (!together)
			r = v[i].result = zpci_dma_unmap(dev->port.z, v[i].iova, v[i].len);
		LL_DELETE(dev->leaving, e);
		end_quarantine(dev, e, ism_port_error(&dev->port, r < 0 ? r : v[i].result));
	}
}

/*
 * How many of the first, all blocks or all files, have rested long enough, and the device has answered
 * since; at most RELEASE_BATCH.
 */
static size_t rested(struct ism_dev *dev, uint64_t now)
{
	struct ism_dmb_entry *e;
	uint64_t gid;
	size_t n = 0;

	LL_FOREACH (dev->leaving, e) {
		if (n == RELEASE_BATCH || now < e->due_ns || !e->block.va != !dev->leaving->block.va)
			break;
		/* On a quiet function nobody else issues the further command. */
		if (dev->port.answered == e->answered &&
			ism_cmd_read_gid(&dev->port, &gid) < 0) {
			e->due_ns = now + dev->quarantine_ns;
			break;
		}
		n++;
	}
	return n;
}

static void release(struct ism_dev *dev, uint64_t now)
{
	size_t n = rested(dev, now);

	if (dev->port.gone || !n)
		return;
	if (!dev->leaving->block.va) {
		release_files(dev, n);
		return;
	}
	while (n--)
		release_block(dev, dev->leaving);
}

static void unregistered(struct ism_dev *dev, struct ism_dmb_entry *e, int r, uint16_t last_ret)
{
	if (r == 0 || last_ret == ISM_RET_NO_ANSWER) {
		start_quarantine(dev, e, r == 0);
		return;
	}
	e->state = ISM_DMB_KEPT;
	log_warn("%s: the function refused to release DMB %u (ret 0x%04x); its %u KiB stay mapped "
		 "until the function is closed",
		dev->port.name, e->dmb.idx, last_ret, e->dmb.size / 1024);
}

/* Unregisters up to ISM_UNREG_BATCH of those that were retired. */
static void unregister_left(struct ism_dev *dev)
{
	struct ism_unreg u[ISM_UNREG_BATCH];
	struct ism_dmb_entry *e;
	size_t n = 0;

	LL_FOREACH (dev->left, e) {
		if (n == ISM_UNREG_BATCH)
			break;
		u[n++].token = e->dmb.token;
	}
	ism_cmd_unreg_dmbs(&dev->port, u, n);
	for (size_t i = 0; i < n && u[i].asked; i++) {
		e = dev->left;
		LL_DELETE(dev->left, e);
		dev->nleft--;
		dev->port.counters.quarantined--;
		unregistered(dev, e, u[i].ret, u[i].last_ret);
	}
}

void ism_dmb_reap(struct ism_dev *dev)
{
	uint64_t now;

	if ((!dev->leaving && !dev->left) || dev->port.gone)
		return;
	if (dev->put_off && dev->port.counters.quarantined < PUT_OFF_MAX)
		return;
	now = clock_ns();
	if (dev->left && (dev->nleft >= ISM_UNREG_BATCH || now >= dev->left->due_ns))
		unregister_left(dev);
	if (dev->leaving && !dev->port.gone)
		release(dev, now);
}

/* A file of its own, mapped already or with the command that registers it. */
static int get_file(struct ism_dev *dev, uint32_t size, struct ism_memory *m)
{
	return zpci_caps(dev->port.z)->pipelined ? ism_files_get(&dev->files, size, m) :
						   map_memory(dev, size, m);
}

static int get_block(struct ism_dev *dev, uint32_t size, struct arena_block *b, struct ism_memory *m)
{
	int r = ism_memory_get(dev, size, b);

	if (r == 0)
		*m = (struct ism_memory){ .va = b->va, .size = b->size, .fd = -1, .ro = -1, .iova = b->iova };
	return r;
}

/* An entry with memory and index, not yet registered. */
static int new_entry(struct ism_dev *dev, uint32_t size, bool block, struct ism_dmb_entry **ret)
{
	struct ism_dmb_entry *e;
	struct ism_memory m = { .fd = -1, .ro = -1 };
	uint32_t idx;
	int r;

	idx = free_index(dev);
	if (!idx)
		return -ENOSPC;
	e = slab_get(&dev->entries);
	if (!e)
		return -ENOMEM;
	r = block ? get_block(dev, size, &e->block, &m) : get_file(dev, size, &m);
	if (r < 0) {
		slab_put(&dev->entries, e);
		return r;
	}
	e->dmb = (struct ism_dmb){
		.idx = idx, .size = size, .va = m.va, .fd = m.fd, .iova = m.iova };
	e->ro = m.ro;
	dev->dmbs[idx] = e;
	dev->next_idx = idx + 1 < ISM_NR_DMBS ? idx + 1 : ISM_DMB_IDX_MIN;
	*ret = e;
	return 0;
}

/* REG_DMB failed with @last_ret. Without an answer it may have been executed all the same. */
static void abandon(struct ism_dev *dev, struct ism_dmb_entry *e, uint16_t last_ret)
{
	if (last_ret == ISM_RET_NO_ANSWER)
		start_quarantine(dev, e, false);
	else if (release_memory(dev, e) == 0)
		free_entry(dev, e);
}

/* An entry as the function is asked to register it. */
static int propose(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user, bool block,
	struct ism_dmb_entry **ret)
{
	int r = new_entry(dev, size, block, ret);

	if (r < 0)
		return r;
	(*ret)->dmb.rgid = rgid;
	(*ret)->dmb.user = user;
	/* What a former owner of the index left must not look like a signal. */
	ism_sba_forget(dev->sba, (*ret)->dmb.idx);
	return 0;
}

/* The function answered with @r: @e is LIVE, or goes. */
static int registered(struct ism_dev *dev, struct ism_dmb_entry *e, int r, uint16_t last_ret,
	uint64_t token)
{
	if (r == 0 && !ism_token_valid(token)) {
		log_err("%s: the function gave out token 0x%016llx, which leaves no room for an "
			"offset; it cannot be used",
			dev->port.name, (unsigned long long)token);
		last_ret = dev->port.last_ret = ISM_RET_NO_ANSWER;
		r = -EIO;
	}
	if (r < 0) {
		abandon(dev, e, last_ret);
		return r;
	}
	e->dmb.token = token;
	e->state = ISM_DMB_LIVE;
	dev->port.counters.dmbs++;
	return 0;
}

/* The same, of one of several. */
static int registered_together(struct ism_dev *dev, const struct ism_reg *g)
{
	struct ism_dmb_entry *e = entry_of(g->dmb);
	struct ism_memory m = memory_of(e);

	if (g->asked)
		return registered(dev, e, g->ret, g->last_ret, g->token);
	if (!g->mapped) {
		ism_files_put(&dev->files, &m);
		free_entry(dev, e);
		return map_error(&dev->port, g->ret);
	}
	if (dev->port.gone || release_memory(dev, e) < 0)
		e->state = ISM_DMB_KEPT;
	else
		free_entry(dev, e);
	return map_error(&dev->port, g->ret);
}

static int register_together(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **v, unsigned int n)
{
	struct ism_reg g[ISM_REG_BATCH] = { 0 };
	struct ism_dmb_entry *e;
	unsigned int made, done = 0;
	int r = 0, first = 0;

	for (made = 0; made < n; made++) {
		r = propose(dev, rgid, size, user, false, &e);
		if (r < 0)
			break;
		g[made].dmb = &e->dmb;
	}
	if (made == 0)
		return r;
	ism_cmd_map_dmbs(&dev->port, g, made);
	for (unsigned int i = 0; i < made; i++) {
		struct ism_dmb *dmb = g[i].dmb;

		r = registered_together(dev, &g[i]);
		if (r == 0)
			v[done++] = dmb;
		else if (first == 0)
			first = r;
	}
	return done ? (int)done : first;
}

static int register_alone(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user, bool block,
	struct ism_dmb **ret)
{
	struct ism_dmb_entry *e;
	uint64_t token = 0;
	int r = propose(dev, rgid, size, user, block, &e);

	if (r < 0)
		return r;
	r = ism_cmd_reg_dmb(&dev->port, &e->dmb, &token);
	r = registered(dev, e, r, dev->port.last_ret, token);
	if (r == 0)
		*ret = &e->dmb;
	return r;
}

int ism_register_dmbs(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **v, unsigned int n)
{
	unsigned int done;
	int r = 0;

	if (!good_size(size) || n == 0)
		return -EINVAL;
	if (dev->port.gone)
		return -ENODEV;
	if (zpci_caps(dev->port.z)->pipelined)
		return register_together(dev, rgid, size, user, v, n < ISM_REG_BATCH ? n : ISM_REG_BATCH);
	for (done = 0; done < n && r == 0; done += r == 0)
		r = register_alone(dev, rgid, size, user, false, &v[done]);
	return done ? (int)done : r;
}

int ism_register_dmb(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **ret)
{
	int r = ism_register_dmbs(dev, rgid, size, user, ret, 1);

	return r < 0 ? r : 0;
}

int ism_register_private_dmb(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **ret)
{
	if (zpci_caps(dev->port.z)->gives_files)
		return ism_register_dmb(dev, rgid, size, user, ret);
	if (!good_size(size))
		return -EINVAL;
	return dev->port.gone ? -ENODEV : register_alone(dev, rgid, size, user, true, ret);
}

int ism_unregister_dmb(struct ism_dev *dev, struct ism_dmb *dmb)
{
	int r;

	dev->port.counters.dmbs--;
	r = ism_cmd_unreg_dmb(&dev->port, dmb->token);
	unregistered(dev, entry_of(dmb), r, dev->port.last_ret);
	return r;
}

void ism_retire_dmb(struct ism_dev *dev, struct ism_dmb *dmb)
{
	struct ism_dmb_entry *e = entry_of(dmb);

	if (dev->port.gone || !zpci_caps(dev->port.z)->pipelined) {
		ism_unregister_dmb(dev, dmb);
		return;
	}
	e->state = ISM_DMB_LEFT;
	e->due_ns = clock_ns() + LEFT_NS;
	e->next = NULL;
	LL_APPEND(dev->left, e);
	dev->nleft++;
	dev->port.counters.dmbs--;
	dev->port.counters.quarantined++;
}

void ism_dmb_unregister_all(struct ism_dev *dev)
{
	while (dev->left && !dev->port.gone)
		unregister_left(dev);
	for (uint32_t idx = ISM_DMB_IDX_MIN; idx < ISM_NR_DMBS; idx++) {
		struct ism_dmb_entry *e = dev->dmbs[idx];

		if (e && e->state == ISM_DMB_LIVE)
			ism_unregister_dmb(dev, &e->dmb);
	}
}

void ism_dmb_drop_all(struct ism_dev *dev)
{
	for (uint32_t idx = ISM_DMB_IDX_MIN; idx < ISM_NR_DMBS; idx++) {
		struct ism_dmb_entry *e = dev->dmbs[idx];
		struct ism_memory m;

		if (!e)
			continue;
		m = memory_of(e);
		if (!e->block.va) /* those went with the door */
			ism_files_put(&dev->files, &m);
		free_entry(dev, e);
	}
	dev->leaving = NULL;
	ism_files_fini(&dev->files);
}

bool ism_prepare_dmb(struct ism_dev *dev, uint32_t size, unsigned int upto)
{
	return good_size(size) && ism_files_prepare(&dev->files, size, upto);
}

void ism_drop_prepared(struct ism_dev *dev)
{
	ism_files_drop_spares(&dev->files);
}

int ism_dmb_readonly(struct ism_dmb *dmb)
{
	struct ism_dmb_entry *e = entry_of(dmb);

	return e->ro >= 0 ? fd_steal(&e->ro) : fd_readonly(dmb->fd);
}
