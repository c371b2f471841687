/* SPDX-License-Identifier: MIT */
#include "ism/model/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <utlist.h>

#include "ism/model/function.h"
#include "ism/model/move.h"
#include "vfio/base/fd.h"

/* ---- offers to applications ------------------------------------------------------------------ */

int dmb_offer(struct function *fn, uint64_t token, const int *fds, unsigned int n)
{
	struct dmb *d = fabric_dmb(fn->fabric, token);

	if (n == 0 || n > ATTACH_MAX_FDS)
		return -EINVAL;
	if (!d || d->owner != fn)
		return -ENOENT;
	if (d->offered)
		return -EALREADY;
	if (fn->num_offers >= ATTACH_MAX_OFFERS)
		return -ENOSPC;
	memcpy(d->offer, fds, n * sizeof(*fds));
	d->nr_offer = n;
	d->offered = true;
	fn->num_offers++;
	return 0;
}

int dmb_take(struct function *fn, uint64_t token, int fds[ATTACH_MAX_FDS], unsigned int *n)
{
	struct dmb *d = fabric_dmb(fn->fabric, token);

	/* Authority is the GID; one answer for all that is not this function's business. */
	if (!d || d->rgid != fn->gid || d->nr_offer == 0)
		return -ENOENT;
	memcpy(fds, d->offer, d->nr_offer * sizeof(*fds));
	*n = d->nr_offer;
	d->nr_offer = 0;
	d->owner->num_offers--;
	return 0;
}

/* ---- whether a writer may store by itself -------------------------------------------------- */

/*
 * Knobs that no store into a DMB depends on. While any other differs from its default, one that is
 * new included, every store is seen here.
 */
static const bool indifferent[KNOB_COUNT] = {
	[KNOB_ret_command] = true, [KNOB_ret_length] = true, [KNOB_ret_address] = true,
	[KNOB_ret_state] = true, [KNOB_ret_index] = true, [KNOB_ret_gid] = true,
	[KNOB_ret_vlan] = true, [KNOB_ret_token] = true, [KNOB_ret_size] = true,
	[KNOB_ret_limit] = true, [KNOB_echo_cmd] = true, [KNOB_load_width8] = true,
	[KNOB_bar2_size] = true, [KNOB_split_body] = true, [KNOB_stale_body] = true,
	[KNOB_command_delay_ms] = true, [KNOB_query_rgid_delay_ms] = true,
	[KNOB_event_coalesce] = true, [KNOB_ieq_fill] = true, [KNOB_ieq_overflow] = true,
	[KNOB_ieq_any_len] = true, [KNOB_unreg_events] = true, [KNOB_death_events] = true,
	[KNOB_dmb_max] = true, [KNOB_dmb_granule] = true, [KNOB_dmb_align] = true,
	[KNOB_dmb_pow2] = true, [KNOB_dmb_cross_1m] = true, [KNOB_dmb_limit] = true,
	[KNOB_fabric_limit] = true, [KNOB_dmb_needs_sba] = true, [KNOB_dmb_clear] = true,
	[KNOB_low_idx] = true, [KNOB_loop_gid] = true, [KNOB_iova_start] = true,
	[KNOB_iova_end] = true, [KNOB_dma_maps] = true, [KNOB_vlan_1fff] = true,
	[KNOB_vlan_required] = true, [KNOB_vlan_set] = true, [KNOB_info_version] = true,
	[KNOB_gid_change] = true, [KNOB_err_irq] = true, [KNOB_reset_supported] = true,
	[KNOB_reset_ms] = true, [KNOB_reset_keeps] = true, [KNOB_error_keeps] = true,
	[KNOB_load_ns] = true,
	/* The writer charges these itself. */
	[KNOB_store_ns] = true, [KNOB_store_ps_byte] = true,
};

static bool knobs_plain(const struct fabric *f)
{
	for (int i = 0; i < KNOB_COUNT; i++) {
		if (!indifferent[i] && f->knobs.v[i] != knob_table[i].def)
			return false;
	}
	return true;
}

static bool stores_plain(const struct function *fn)
{
	return function_alive(fn) && !fn->faults.fail_stores && !fn->faults.slow_ms;
}

static void set_word(_Atomic uint64_t *word, uint64_t value)
{
	/* Sequentially consistent: a writer that looks after this finds it so. */
	if (atomic_load_explicit(word, memory_order_relaxed) != value)
		atomic_store(word, value);
}

static void review_dmb(const struct dmb *d)
{
	const struct function *fn = d->writer;
	bool open = move_allowed(fn, d) && d->owner->sba;

	set_word(&fn->attach.gate->slot[d->slot].key, open ? d->key : 0);
}

void attach_review(struct fabric *f)
{
	bool plain = knobs_plain(f);

	for (unsigned int i = 0; i < f->n; i++) {
		const struct function *fn = f->fn[i];
		struct dmb *d;

		if (!fn->attach.gate)
			continue;
		set_word(&fn->attach.gate->store_ns, fabric_knob(f, KNOB_store_ns));
		set_word(&fn->attach.gate->store_ps_byte, fabric_knob(f, KNOB_store_ps_byte));
		set_word(&fn->attach.gate->shut, !(plain && stores_plain(fn)));
		DL_FOREACH2 (fn->writes, d, wnext) {
			if (d->key)
				review_dmb(d);
		}
	}
}

/* ---- the requests ---------------------------------------------------------------------------- */

int attach_gate(struct function *fn, int *ret)
{
	struct attach_state *a = &fn->attach;

	if (!fabric_knob(fn->fabric, KNOB_attach_stores))
		return -EOPNOTSUPP;
	if (!a->gate) {
		void *map;
		int fd = fd_memfd_publish("ism-gate", ATTACH_GATE_SIZE, &map);

		if (fd < 0)
			return fd;
		a->gate = map;
		a->gate_fd = fd;
		attach_review(fn->fabric);
	}
	*ret = a->gate_fd;
	return 0;
}

static struct attach_consent *consent_of(const struct function *owner, uint64_t gid)
{
	struct attach_consent *c;

	LL_SEARCH_SCALAR (owner->attach.consents, c, gid, gid);
	return c;
}

static void drop_consent(struct function *owner, struct attach_consent *c)
{
	LL_DELETE(owner->attach.consents, c);
	for (unsigned int i = 0; i < ATTACH_BELL_FDS; i++)
		fd_closep(&c->fds[i]);
	free(c);
}

int attach_consent(struct function *fn, uint64_t gid, const int fds[ATTACH_BELL_FDS])
{
	struct attach_consent *c;

	if (!fabric_knob(fn->fabric, KNOB_attach_stores))
		return -EOPNOTSUPP;
	if (!fabric_by_gid(fn->fabric, gid))
		return -ENETUNREACH;
	c = consent_of(fn, gid);
	if (c)
		drop_consent(fn, c);
	c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct attach_consent){ .gid = gid };
	memcpy(c->fds, fds, sizeof(c->fds));
	LL_PREPEND(fn->attach.consents, c);
	return 0;
}

int attach_bell(struct function *fn, uint64_t gid, const int **fds)
{
	const struct function *owner = fabric_by_gid(fn->fabric, gid);
	const struct attach_consent *c = owner ? consent_of(owner, fn->gid) : NULL;

	if (!c)
		return -ENOENT;
	*fds = c->fds;
	return 0;
}

/* Whose slot it is: the writer can read that, and nobody else write it. */
static uint64_t slot_token(const struct attach_gate *g, uint32_t slot)
{
	return atomic_load_explicit(&g->slot[slot].token, memory_order_relaxed);
}

static int give_slot(struct function *fn, struct dmb *d)
{
	struct attach_gate *g = fn->attach.gate;
	uint32_t probe = 0;

	while (probe < ATTACH_PROBES && slot_token(g, attach_slot_of(d->token, probe)))
		probe++;
	if (probe == ATTACH_PROBES)
		return -ENOSPC;
	d->slot = attach_slot_of(d->token, probe);
	d->key = ++fn->fabric->last_key;
	/* Before the key: who finds the key acquires that it is this token's. */
	atomic_store_explicit(&g->slot[d->slot].token, d->token, memory_order_release);
	review_dmb(d);
	return 0;
}

void attach_admit(struct dmb *d)
{
	if (d->writer && d->writer->attach.gate && consent_of(d->owner, d->writer->gid))
		give_slot(d->writer, d);
}

int attach_map(struct function *fn, struct attach_msg *m, int *ret)
{
	struct dmb *d = fabric_dmb(fn->fabric, m->token);
	int fd, r = 0;

	if (!fn->attach.gate)
		return -EOPNOTSUPP;
	/* One answer for all that is not this function's business. */
	if (!d || d->rgid != fn->gid || !consent_of(d->owner, fn->gid))
		return -ENOENT;
	fd = function_memory_fd(d->owner, d->iova, d->len);
	if (fd < 0)
		return -ENOENT;
	if (!d->key)
		r = give_slot(fn, d);
	if (r < 0)
		return r;
	m->slot = d->slot;
	m->key = d->key;
	m->idx = d->idx;
	m->len = d->len;
	*ret = fd;
	return 0;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void take_slot_back(struct dmb *d)
{
	struct attach_state *a;

	if (!d->key)
		return;
	a = &d->writer->attach;
	set_word(&a->gate->slot[d->slot].key, 0);
	atomic_store_explicit(&a->gate->slot[d->slot].token, 0, memory_order_relaxed);
	d->key = 0;
}

void attach_withdraw(struct dmb *d)
{
	take_slot_back(d);
	if (d->nr_offer == 0)
		return;
	d->owner->num_offers--;
	while (d->nr_offer)
		fd_closep(&d->offer[--d->nr_offer]);
}

void attach_leave(struct function *fn)
{
	struct attach_state *a = &fn->attach;
	struct attach_consent *c;
	struct dmb *d;

	DL_FOREACH2 (fn->writes, d, wnext)
		take_slot_back(d);
	if (a->gate) {
		set_word(&a->gate->shut, 1);
		munmap(a->gate, ATTACH_GATE_SIZE);
		fd_closep(&a->gate_fd);
		a->gate = NULL;
	}
	while (a->consents)
		drop_consent(fn, a->consents);
	/* Whoever has the GID next is somebody else. */
	for (unsigned int i = 0; i < fn->fabric->n; i++) {
		c = consent_of(fn->fabric->fn[i], fn->gid);
		if (c)
			drop_consent(fn->fabric->fn[i], c);
	}
}
