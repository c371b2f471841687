/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/lgr.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "smcd/daemon/channel.h"
#include "smcd/daemon/connect.h"
#include "smcd/daemon/link.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

/* ---- VLANs ----------------------------------------------------------------------------------- */

static bool vlan_in_use(const struct function *fn, uint16_t vlan)
{
	struct link *l, *tmp;
	struct lgr *g;

	HASH_ITER(hh, fn->links, l, tmp) {
		LL_FOREACH(l->lgrs, g) {
			if (g->vlan == vlan)
				return true;
		}
	}
	return false;
}

/* Before a group with it is made. 0 or -errno. */
static int vlan_enter(struct function *fn, uint16_t vlan)
{
	int ret;

	if (vlan == 0 || vlan_in_use(fn, vlan))
		return 0;
	ret = function_note(fn, ism_add_vlan(fn->dev, vlan));
	if (ret < 0)
		log_err("%s: cannot become a member of VLAN %u: %s", fn->cfg->name, vlan,
			strerror(-ret));
	return ret;
}

/* After a group with it is gone. */
static void vlan_leave(struct function *fn, uint16_t vlan)
{
	int ret;

	if (vlan == 0 || vlan_in_use(fn, vlan) || !function_up(fn))
		return;
	ret = function_note(fn, ism_del_vlan(fn->dev, vlan));
	if (ret < 0)
		log_warn("%s: cannot leave VLAN %u: %s", fn->cfg->name, vlan, strerror(-ret));
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void send_shutdown(struct lgr *g)
{
	struct function *fn = g->l->fn;
	const struct lgr_event ev = { .name = g->name, .vlan = g->vlan, .code = LGR_REQUEST };

	if (function_up(fn))
		function_note(fn, ism_signal_event(fn->dev, g->l->gid, LGR_EV_SHUTDOWN,
			lgr_event_pack(&ev, fn->order)));
}

/* It has no connections. */
static void dissolve(struct lgr *g, bool tell)
{
	struct link *l = g->l;

	assert(g->conns == 0);
	loop_timer_cancel(l->fn->d->loop, &g->idle);
	if (tell)
		send_shutdown(g);
	LL_DELETE(l->lgrs, g);
	l->fn->nr_lgrs--;
	vlan_leave(l->fn, g->vlan);
	free(g);
}

static void on_idle(struct loop_timer *timer)
{
	struct lgr *g = CONTAINER(timer, struct lgr, idle);

	log_info("%s: link group 0x%08x with %s ends: no connection for a while",
		g->l->fn->cfg->name, g->nr, link_peer(g->l));
	dissolve(g, true);
}

static struct lgr *idle_one(struct link *l)
{
	struct lgr *g;

	LL_FOREACH(l->lgrs, g) {
		if (g->conns == 0)
			return g;
	}
	return NULL;
}

/* An idle group makes room: one with this peer, or with any. */
static bool make_room(struct link *l)
{
	struct function *fn = l->fn;
	struct lgr *g, *old = NULL;
	struct link *other, *tmp;
	unsigned int n;

	LL_COUNT(l->lgrs, g, n);
	if (n < LGR_MAX_PER_PEER && fn->nr_lgrs < fn->d->cfg->lgr_max)
		return true;
	old = idle_one(l);
	if (!old && n < LGR_MAX_PER_PEER) {
		HASH_ITER(hh, fn->links, other, tmp) {
			g = idle_one(other);
			if (g && (!old || g->since_ns < old->since_ns))
				old = g;
		}
	}
	if (!old)
		return false;
	dissolve(old, true);
	return true;
}

static uint32_t create(struct link *l, bool server, struct lgr **ret)
{
	struct function *fn = l->fn;
	uint16_t vlan = 0;
	struct lgr *g;

	if (!make_room(l)) {
		log_warn("%s: no room for another link group with %s: link_groups in [limits] "
			 "may be too low", fn->cfg->name, link_peer(l));
		return CLC_DECL_MEM;
	}
	if (!server)
		vlan = config_vlan(fn->cfg, config_peer_by_gid(fn->d->cfg, l->gid));
	if (vlan_enter(fn, vlan) < 0)
		return CLC_DECL_ISMVLANERR;
	g = calloc(1, sizeof(*g));
	if (!g) {
		vlan_leave(fn, vlan);
		return CLC_DECL_MEM;
	}
	*g = (struct lgr){ .l = l, .state = LGR_MAKING, .server = server, .vlan = vlan,
		.since_ns = clock_ns(), .idle.fn = on_idle };
	do {
		g->nr = fn->d->last_lgr += LGR_ID_STEP;
	} while (g->nr == 0);
	g->name = lgr_name_of(g->nr, fn->order);
	LL_APPEND(l->lgrs, g);
	fn->nr_lgrs++;
	*ret = g;
	return 0;
}

/* The one that the peer names; else the oldest that can be used. */
static struct lgr *find(struct link *l, const uint8_t *peers)
{
	struct lgr *g, *first = NULL;

	LL_FOREACH(l->lgrs, g) {
		if (g->state == LGR_LEAVING)
			continue;
		if (peers && memcmp(g->peers.id, peers, LGR_ID_LEN) == 0)
			return g;
		if (!first)
			first = g;
	}
	return first;
}

uint32_t lgr_join(struct channel *ch)
{
	struct hs *hs = &ch->hs;
	struct lgr *g = find(ch->link, ch->server ? NULL : hs->peer.lgr_id);
	enum lgr_choice choice = ch->server ? lgr_choose_server(g != NULL)
					    : lgr_choose_client(hs->peer.first_contact, g != NULL);
	uint32_t diag;

	if (choice == LGR_OUT_OF_SYNC)
		return CLC_DECL_SYNCERR;
	if (choice == LGR_CREATE || !g) {
		diag = create(ch->link, ch->server, &g);
		if (diag != 0)
			return diag;
	}
	loop_timer_cancel(ch->d->loop, &g->idle);
	g->conns++;
	ch->lgr = g;
	hs->first_contact = choice == LGR_CREATE;
	memcpy(hs->lgr_id, g->name.id, sizeof(hs->lgr_id));
	return 0;
}

void lgr_joined(struct channel *ch)
{
	const struct clc_accept *peer = &ch->hs.peer;
	struct lgr *g = ch->lgr;

	if (g->state != LGR_MAKING || !ch->hs.first_contact)
		return;
	g->state = LGR_USABLE;
	memcpy(g->peers.id, peer->lgr_id, LGR_ID_LEN);
	memcpy(g->eid, ch->hs.eid, sizeof(g->eid));
	if (peer->first_contact) {
		g->release = peer->release;
		g->os = peer->os;
		memcpy(g->host, peer->host, sizeof(g->host));
	}
	log_info("%s: link group 0x%08x with %s", g->l->fn->cfg->name, g->nr, link_peer(g->l));
}

/* A connection less. Without one a group that can be used stays for a while. */
static void drop(struct lgr *g)
{
	struct daemon *d = g->l->fn->d;

	if (--g->conns > 0)
		return;
	if (g->state == LGR_USABLE && loop_timer_set(d->loop, &g->idle,
		clock_ns() + d->cfg->lgr_idle_s * UINT64_C(1000000000)) == 0)
		return;
	dissolve(g, g->state == LGR_USABLE);
}

void lgr_leave(struct channel *ch)
{
	struct lgr *g = ch->lgr;

	if (!g)
		return;
	ch->lgr = NULL;
	/* Those that joined behind a first contact that failed go on, nobody else comes. */
	if (g->state == LGR_MAKING && ch->hs.first_contact)
		g->state = LGR_LEAVING;
	drop(g);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void end_channel(struct channel *ch, bool by_peer)
{
	if (ch->phase == CHANNEL_HANDSHAKE)
		connect_failed(ch, ECONNABORTED);
	else if (by_peer)
		channel_lost(ch, ECONNABORTED);
	else
		channel_abort(ch, ECONNABORTED);
}

/* Ends the group and its channels. A peer that ended it hears nothing more. */
static void terminate(struct lgr *g, bool by_peer, const char *why)
{
	struct daemon *d = g->l->fn->d;
	struct channel *ch, *tmp;

	log_warn("%s: link group 0x%08x with %s ends, and %u connections: %s", g->l->fn->cfg->name,
		g->nr, link_peer(g->l), g->conns, why);
	loop_timer_cancel(d->loop, &g->idle);
	g->state = LGR_LEAVING;
	g->conns++; /* ours, until all have left */
	HASH_ITER(hh, d->channels, ch, tmp) {
		if (ch->lgr == g)
			end_channel(ch, by_peer);
	}
	if (!by_peer)
		send_shutdown(g);
	drop(g);
}

void lgr_out_of_sync(struct channel *ch)
{
	struct lgr *g = ch->lgr;

	if (!g)
		return;
	ch->lgr = NULL; /* it has an end of its own */
	terminate(g, false, "the peer does not know it");
	drop(g);
}

static void on_shutdown(struct link *l, const struct lgr_event *ev)
{
	struct lgr *g, *tmp;

	LL_FOREACH_SAFE(l->lgrs, g, tmp) {
		if (lgr_shutdown_ends(ev, g->peers, g->vlan))
			terminate(g, true, "the peer shut it down");
	}
}

void lgr_event(struct function *fn, const struct ism_event *ev)
{
	const struct lgr_event info = lgr_event_unpack(ev->info, fn->order);
	uint64_t answer;
	struct link *l;

	if (lgr_event_answer(ev->code, ev->info, fn->order, &answer)) {
		function_note(fn, ism_signal_event(fn->dev, ev->tok, ev->code, answer));
		return;
	}
	HASH_FIND(hh, fn->links, &ev->tok, sizeof(ev->tok), l);
	if (ev->code == LGR_EV_SHUTDOWN && l)
		on_shutdown(l, &info);
}

void lgrs_forget(struct link *l, bool tell)
{
	struct lgr *g, *tmp;

	LL_FOREACH_SAFE(l->lgrs, g, tmp)
		dissolve(g, tell);
}

/* ---- for reports ----------------------------------------------------------------------------- */

void lgr_memory(const struct lgr *g, uint64_t *sndbuf, uint64_t *dmb)
{
	const struct channel *ch, *tmp;

	*sndbuf = *dmb = 0;
	HASH_ITER(hh, g->l->fn->d->channels, ch, tmp) {
		if (ch->lgr != g)
			continue;
		*sndbuf += ch->tx_size;
		*dmb += ch->dmb ? ch->dmb->size : 0;
	}
}
