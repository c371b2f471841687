/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "smcd/proto/clc_wire.h"
#include "smcd/proto/handshake.h"

#define MAX_SIZE_CODE 6

enum phase {
	OVER, /* a zeroed hs does nothing */
	C_ACCEPT,
	C_DMB,
	S_PROPOSAL,
	S_REACH,
	S_DMB,
	S_CONFIRM,
};

static enum hs_step fail(struct hs *hs)
{
	hs->phase = OVER;
	hs->out_len = 0;
	return HS_FAILED;
}

static enum hs_step go(struct hs *hs, enum phase phase, enum hs_step step)
{
	hs->phase = (uint8_t)phase;
	return step;
}

/* What the peer has shown to speak; our own version before it has said anything. */
static uint8_t decline_version(const struct hs *hs)
{
	uint8_t peers = hs->server ? hs->proposal.version : hs->peer.version;

	return peers == 1 ? 1 : 2;
}

static enum hs_step decline(struct hs *hs, uint32_t diag)
{
	struct clc_decline d = {
		.version = decline_version(hs),
		.out_of_sync = diag == CLC_DECL_SYNCERR,
		.diag = diag,
		.os = CLC_OS_LINUX,
	};

	hs->diag = diag;
	hs->out_len = (size_t)clc_encode_decline(hs->out, &d);
	return go(hs, OVER, HS_DECLINED);
}

static enum hs_step declined(struct hs *hs, const uint8_t *msg, size_t len)
{
	struct clc_decline d;

	if (clc_decode_decline(msg, len, &d) < 0)
		return fail(hs);
	hs->diag = d.diag;
	hs->declined_by_peer = true;
	hs->out_of_sync = d.out_of_sync;
	hs->out_len = 0;
	return go(hs, OVER, HS_DECLINED);
}

static void start(struct hs *hs, const struct hs_local *local, uint64_t now_ns,
	unsigned int timeout_ms, bool server)
{
	memset(hs, 0, sizeof(*hs));
	hs->local = local;
	hs->server = server;
	hs->deadline_ns = now_ns + (uint64_t)timeout_ms * 1000000;
}

/* An EID of zeros is none: every machine without one would match every other. */
static bool eid_set(const uint8_t eid[CLC_EID_LEN])
{
	static const uint8_t zeros[CLC_EID_LEN];

	return memcmp(eid, zeros, CLC_EID_LEN) != 0;
}

static bool our_seid(const struct hs_local *l, const uint8_t eid[CLC_EID_LEN])
{
	return l->seid_valid && eid_set(eid) && memcmp(l->seid, eid, CLC_EID_LEN) == 0;
}

static bool our_ueid(const struct hs_local *l, const uint8_t eid[CLC_EID_LEN])
{
	unsigned int i;

	for (i = 0; i < l->nr_ueid; i++) {
		if (eid_set(eid) && memcmp(l->ueid[i], eid, CLC_EID_LEN) == 0)
			return true;
	}
	return false;
}

static bool same_gid(const struct clc_gid *a, const struct clc_gid *b)
{
	return a->gid == b->gid && a->gid_ext == b->gid_ext && a->chid == b->chid;
}

/* ---- client ---------------------------------------------------------------------------------- */

enum hs_step hs_start_client(struct hs *hs, const struct hs_local *local, uint64_t now_ns,
	unsigned int timeout_ms)
{
	struct clc_proposal p = {
		.release = CLC_RELEASE,
		.features = CLC_FEATURES,
		.seid_valid = local->seid_valid,
		.nr_ueid = local->nr_ueid,
		.nr_gid = 1,
		.gid = { local->gid },
	};
	ssize_t len;

	start(hs, local, now_ns, timeout_ms, false);
	if (local->nr_ueid > CLC_MAX_UEID)
		return fail(hs);
	if (local->nr_ueid > 0)
		memcpy(p.ueid, local->ueid, (size_t)local->nr_ueid * CLC_EID_LEN);
	memcpy(p.seid, local->seid, CLC_EID_LEN);
	len = clc_encode_proposal(hs->out, &p);
	if (len < 0)
		return fail(hs);
	hs->out_len = (size_t)len;
	return go(hs, C_ACCEPT, HS_SEND);
}

/* Why we cannot go on with this Accept, 0 if we can. */
static uint32_t accept_diag(const struct hs *hs)
{
	const struct clc_accept *a = &hs->peer;

	if (!our_seid(hs->local, a->eid) && !our_ueid(hs->local, a->eid))
		return CLC_DECL_NOUEID;
	if (a->first_contact && a->release > CLC_RELEASE)
		return CLC_DECL_RELEASEERR;
	if (a->size_code > MAX_SIZE_CODE)
		return CLC_DECL_MEM;
	if (a->dmbe_idx != 0)
		return CLC_DECL_INTERR;
	return 0;
}

static enum hs_step client_accept(struct hs *hs, const uint8_t *msg, size_t len)
{
	uint32_t diag;

	if (clc_decode_accept(msg, len, &hs->peer) < 0)
		return fail(hs);
	if (!hs->peer.smcd || hs->peer.version < 2)
		return decline(hs, CLC_DECL_MODEUNSUPP);
	/*
	 * A CHID that was not offered has no code: the peer does not speak to us but to a phantom.
	 */
	if (hs->peer.gid.chid != hs->local->gid.chid)
		return fail(hs);
	diag = accept_diag(hs);
	if (diag != 0)
		return decline(hs, diag);
	memcpy(hs->eid, hs->peer.eid, CLC_EID_LEN);
	hs->out_len = 0;
	return go(hs, C_DMB, HS_WANT_DMB);
}

/* ---- server ---------------------------------------------------------------------------------- */

enum hs_step hs_start_server(struct hs *hs, const struct hs_local *local, uint64_t now_ns,
	unsigned int timeout_ms)
{
	start(hs, local, now_ns, timeout_ms, true);
	return go(hs, S_PROPOSAL, HS_WAIT);
}

const struct clc_gid *hs_candidate(const struct hs *hs)
{
	return hs->candidate == 0 ? &hs->proposal.v1_gid : &hs->proposal.gid[hs->candidate - 1];
}

/* The next offered device on our fabric, from hs->candidate on. CHID 0 is an empty slot. */
static enum hs_step next_candidate(struct hs *hs)
{
	for (; hs->candidate <= hs->proposal.nr_gid; hs->candidate++) {
		uint16_t chid = hs_candidate(hs)->chid;

		if (chid != 0 && chid == hs->local->gid.chid)
			return go(hs, S_REACH, HS_WANT_REACH);
	}
	return decline(hs, CLC_DECL_NOV2DDEV);
}

/* SEID first, then the proposal's order. */
static bool select_eid(struct hs *hs)
{
	const struct clc_proposal *p = &hs->proposal;
	unsigned int i;

	if (p->seid_valid && our_seid(hs->local, p->seid)) {
		memcpy(hs->eid, p->seid, CLC_EID_LEN);
		return true;
	}
	for (i = 0; i < p->nr_ueid; i++) {
		if (our_ueid(hs->local, p->ueid[i])) {
			memcpy(hs->eid, p->ueid[i], CLC_EID_LEN);
			return true;
		}
	}
	return false;
}

static enum hs_step server_proposal(struct hs *hs, const uint8_t *msg, size_t len)
{
	const struct clc_proposal *p = &hs->proposal;

	if (clc_decode_proposal(msg, len, &hs->proposal) < 0)
		return fail(hs);
	if (p->version < 2 || !clc_has_d(p->typev2))
		return decline(hs, CLC_DECL_PEERNOSMC);
	if (!p->v2dext)
		return decline(hs, CLC_DECL_NOV2DEXT);
	if (p->nr_ueid == 0 && !p->seid_valid)
		return decline(hs, CLC_DECL_NOUEID);
	if (!select_eid(hs))
		return decline(hs, CLC_DECL_NOSMCDDEV);
	return next_candidate(hs);
}

static uint8_t release_in_effect(const struct hs *hs)
{
	return hs->proposal.release < CLC_RELEASE ? hs->proposal.release : CLC_RELEASE;
}

/* The client is ACTIVE once it sent this, so nothing in it can be answered by a Decline. */
static enum hs_step server_confirm(struct hs *hs, const uint8_t *msg, size_t len)
{
	struct clc_accept c;

	if (clc_decode_accept(msg, len, &c) < 0)
		return fail(hs);
	if (!c.smcd || c.version < 2 || !same_gid(&c.gid, &hs->peer.gid) ||
			memcmp(c.eid, hs->eid, CLC_EID_LEN) != 0 ||
			c.size_code > MAX_SIZE_CODE || c.dmbe_idx != 0)
		return fail(hs);
	if (c.first_contact && c.release != release_in_effect(hs)) {
		hs->diag = CLC_DECL_RELEASEERR;
		return fail(hs);
	}
	hs->peer = c;
	hs->out_len = 0;
	return go(hs, OVER, HS_DONE);
}

/* ---- both ------------------------------------------------------------------------------------ */

enum hs_step hs_input(struct hs *hs, const uint8_t *msg, size_t len)
{
	enum clc_type type;
	size_t whole;

	if (hs->phase == OVER || clc_peek(msg, len, &type, &whole) < 0 || whole != len)
		return fail(hs);
	if (type == CLC_DECLINE)
		return declined(hs, msg, len);
	if (hs->phase == C_ACCEPT && type == CLC_ACCEPT)
		return client_accept(hs, msg, len);
	if (hs->phase == S_PROPOSAL && type == CLC_PROPOSAL)
		return server_proposal(hs, msg, len);
	if (hs->phase == S_CONFIRM && type == CLC_CONFIRM)
		return server_confirm(hs, msg, len);
	return fail(hs);
}

enum hs_step hs_reach(struct hs *hs, bool reachable)
{
	if (hs->phase != S_REACH)
		return fail(hs);
	if (!reachable) {
		hs->candidate++;
		return next_candidate(hs);
	}
	hs->peer.gid = *hs_candidate(hs);
	return go(hs, S_DMB, HS_WANT_DMB);
}

/* The Accept or Confirm that names our DMB. */
static int build_reply(struct hs *hs, uint64_t token, uint8_t size_code)
{
	struct clc_accept a = {
		.type = hs->server ? CLC_ACCEPT : CLC_CONFIRM,
		.first_contact = hs->server ? hs->first_contact : hs->peer.first_contact,
		.gid = hs->local->gid,
		.token = token,
		.size_code = size_code,
		.os = CLC_OS_LINUX,
		.release = hs->server ? release_in_effect(hs) : hs->peer.release,
		.features = hs->server ? CLC_FEATURES : hs->peer.features & CLC_FEATURES,
	};
	ssize_t len;

	memcpy(a.lgr_id, hs->lgr_id, sizeof(a.lgr_id));
	memcpy(a.eid, hs->eid, CLC_EID_LEN);
	memcpy(a.host, hs->local->host, sizeof(a.host));
	len = clc_encode_accept(hs->out, &a);
	if (len < 0)
		return -EINVAL;
	hs->out_len = (size_t)len;
	return 0;
}

enum hs_step hs_dmb(struct hs *hs, uint64_t token, uint8_t size_code)
{
	if (hs->phase != C_DMB && hs->phase != S_DMB)
		return fail(hs);
	if (build_reply(hs, token, size_code) < 0)
		return decline(hs, CLC_DECL_INTERR);
	return hs->server ? go(hs, S_CONFIRM, HS_SEND) : go(hs, OVER, HS_DONE);
}

enum hs_step hs_dmb_failed(struct hs *hs, uint32_t diag)
{
	if (hs->phase != C_DMB && hs->phase != S_DMB)
		return fail(hs);
	return decline(hs, diag);
}

enum hs_step hs_refuse(struct hs *hs, uint32_t diag)
{
	/* A client may have confirmed while we changed our mind: it would not read the Decline. */
	if (hs->phase == OVER || hs->phase == S_CONFIRM)
		return fail(hs);
	return decline(hs, diag);
}

enum hs_step hs_tick(struct hs *hs, uint64_t now_ns)
{
	if (hs->phase == OVER || now_ns < hs->deadline_ns)
		return HS_WAIT;
	return fail(hs);
}
