/* SPDX-License-Identifier: MIT */
/*
 * lgr.h - link groups
 *
 * The daemon's side of proto/lgr.h. A group belongs to a link, that is to a function and a peer GID,
 * and never outlives it: where the link ends both ends have forgotten. Channels join it between
 * Proposal and Accept (server) or Accept and Confirm (client) and leave it with their device part.
 * The first one makes it usable when its handshake is done; if it fails, the group is none.
 *
 * A group without connections goes after config.lgr_idle_s; then, as whenever this end gives a group
 * up, the peer is told by a SHUTDOWN event. That is for peers with a control link only: a Linux host
 * would end every group it has on its function, so none may be sent to a kernel peer that merely
 * became idle.
 *
 * A group that we start has the VLAN that is configured for the peer. The function is a member of a
 * VLAN as long as one of its groups has it.
 *
 * Bounds against a hostile peer: whatever it says, it can make us have LGR_MAX_PER_PEER groups with
 * it, each beyond the first only by a connection that one of our applications asked for; all groups
 * of a function together are limited by config.lgr_max. Idle ones make room, oldest first.
 *
 * No DMB is kept for the next connection of the group, other than in the kernel. An application has
 * its DMB mapped, read-only, for as long as it likes: it could read what is received by the next one.
 * (Nor does the uid help: applications of one user may be confined differently.) The only DMBs that
 * no application has seen are those of handshakes that failed, and those are not worth a mechanism.
 */
#ifndef SMCDU_DAEMON_LGR_H
#define SMCDU_DAEMON_LGR_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/daemon/loop.h"
#include "smcd/proto/clc.h"
#include "smcd/proto/lgr.h"

#define LGR_MAX_PER_PEER 16u

struct channel;
struct function;
struct ism_event;
struct link;

struct lgr {
	struct link *l;
	enum lgr_state state;
	uint32_t nr; /* as the tools show it */
	struct lgr_name name;
	struct lgr_name peers; /* the peer's; zeros until it is known */
	bool server;	       /* who made it */
	uint16_t vlan;	       /* 0: none */
	uint64_t since_ns;
	unsigned int conns;

	/* What was agreed at first contact. */
	uint8_t eid[CLC_EID_LEN];
	uint8_t release;
	uint8_t os;
	char host[CLC_HOST_LEN + 1];

	struct loop_timer idle;
	struct lgr *next;
};

/*
 * The handshake is at its DMB: the channel joins the group it belongs to, which is made if it is the
 * first contact, and the handshake learns the group's name. 0, or the diagnosis to decline with.
 */
uint32_t lgr_join(struct channel *ch);
/* The handshake is done: the group is usable, and has what the peer said of itself. */
void lgr_joined(struct channel *ch);
/* The channel has no group any more; harmless when it has none. */
void lgr_leave(struct channel *ch);

/* The peer declined @ch because it knows no such group: ours ends with all its other channels. */
void lgr_out_of_sync(struct channel *ch);

/* SHUTDOWN and TESTLINK, from the GID @ev->tok. */
void lgr_event(struct function *fn, const struct ism_event *ev);

/* Frees the groups of a link, which have no channels; @tell: the peer hears of it. */
void lgrs_forget(struct link *l, bool tell);

/* Bytes of the group's send rings and DMBs, for reports. */
void lgr_memory(const struct lgr *g, uint64_t *sndbuf, uint64_t *dmb);

#endif
