/* SPDX-License-Identifier: MIT */
/*
 * handshake.h - the CLC dialogue of one connection, both roles
 *
 * Pure: CLC messages and time in, CLC messages and questions out. The caller carries messages (over
 * the fabric's control link, later over TCP), answers the questions with the device, and passes the
 * clock. One struct hs per connection.
 *
 *	client	hs_start_client -> HS_SEND (Proposal) ; hs_input (Accept) -> HS_WANT_DMB ;
 *		hs_dmb -> HS_DONE with a Confirm to send
 *	server	hs_start_server ; hs_input (Proposal) -> HS_WANT_REACH for each candidate ;
 *		hs_reach -> HS_WANT_DMB ; hs_dmb -> HS_SEND (Accept) ; hs_input (Confirm) -> HS_DONE
 *
 * Invariants: the server's DMB is registered before its Accept leaves; every refusal that is
 * possible before Accept (server) or before Confirm (client) is a Decline with the kernel's code;
 * after that a bad message is fatal (HS_FAILED), never a fallback.
 */
#ifndef SMCDU_PROTO_HANDSHAKE_H
#define SMCDU_PROTO_HANDSHAKE_H

#include "smcd/proto/clc.h"

#define HS_TIMEOUT_MS 3000u /* below the kernel's 6 s, so that our Decline arrives in time */

enum hs_step {
	HS_WAIT,       /* nothing to do until the next input or the deadline */
	HS_SEND,       /* send out/out_len, then HS_WAIT */
	HS_WANT_REACH, /* server: is hs_candidate() reachable from our function? -> hs_reach() */
	HS_WANT_DMB,   /* register a DMB for hs.peer.gid -> hs_dmb() */
	HS_DONE,       /* connection is ACTIVE; send out/out_len first if out_len > 0 */
	HS_DECLINED,   /* over; send out/out_len first if out_len > 0 (ours), diag says why */
	HS_FAILED,     /* over, protocol violated or timed out: close without a message */
};

struct hs_local { /* what this end is; borrowed, must outlive the handshake */
	struct clc_gid gid;
	const uint8_t (*ueid)[CLC_EID_LEN];
	unsigned int nr_ueid;
	bool seid_valid;
	uint8_t seid[CLC_EID_LEN];
	char host[CLC_HOST_LEN + 1];
};

struct hs {
	const struct hs_local *local;
	bool server;
	uint8_t phase; /* private */
	uint8_t candidate;
	bool first_contact;  /* server: no link group with this peer yet. Set before hs_dmb(). */
	uint8_t lgr_id[4];   /* our link group's name. Set before hs_dmb(). */
	uint64_t deadline_ns;
	struct clc_proposal proposal; /* server: the peer's */
	struct clc_accept peer;	      /* the peer's Accept or Confirm; gid is known at WANT_DMB */
	uint8_t eid[CLC_EID_LEN];
	uint32_t diag;	     /* HS_DECLINED: the code */
	bool declined_by_peer;
	bool out_of_sync;    /* declined by the peer: it does not know our link group */
	uint8_t out[CLC_MAX_LEN];
	size_t out_len;
};

enum hs_step hs_start_client(struct hs *hs, const struct hs_local *local, uint64_t now_ns,
	unsigned int timeout_ms);
enum hs_step hs_start_server(struct hs *hs, const struct hs_local *local, uint64_t now_ns,
	unsigned int timeout_ms);

/* One whole CLC message from the peer. */
enum hs_step hs_input(struct hs *hs, const uint8_t *msg, size_t len);

/* HS_WANT_REACH: the GID and CHID in question, and its answer. */
const struct clc_gid *hs_candidate(const struct hs *hs);
enum hs_step hs_reach(struct hs *hs, bool reachable);

/*
 * HS_WANT_DMB: the registered DMB, or the failure (a clc_diag) to decline with; CLC_DECL_SYNCERR
 * goes with the out-of-sync bit.
 */
enum hs_step hs_dmb(struct hs *hs, uint64_t token, uint8_t size_code);
enum hs_step hs_dmb_failed(struct hs *hs, uint32_t diag);

/*
 * Local refusal at any time before the point of no return (unknown service: CLC_DECL_PEERNOSMC...).
 */
enum hs_step hs_refuse(struct hs *hs, uint32_t diag);

/* The deadline may have passed: HS_FAILED then, else HS_WAIT. */
enum hs_step hs_tick(struct hs *hs, uint64_t now_ns);

#endif
