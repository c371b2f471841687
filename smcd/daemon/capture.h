/* SPDX-License-Identifier: MIT */
/*
 * capture.h - telling a tool what goes over the connections
 *
 * A capture is a client that is told each CLC message and each CDC block that the daemon sends or
 * sees. Records go through a ring of CAPTURE_RING each; a client that does not keep up loses records
 * and is told how many, and nobody waits for it. One that shuts down its sending side, or says anything, wants
 * no more: what is in the ring it still gets, and then the end. Without captures nothing is done but to look
 * at whether there is one.
 *
 * A CDC block is a state that may be overwritten before it was looked at: of the peer's, what we saw
 * is told, once; on an attached channel, where applications write to each other, we look seldom and
 * write only the last one.
 */
#ifndef SMCDU_DAEMON_CAPTURE_H
#define SMCDU_DAEMON_CAPTURE_H

#include "smcd/daemon/channel.h"
#include "smcd/daemon/connect.h"
#include "smcd/daemon/link.h"

#define CAPTURE_RING 256u /* records */
#define CAPTURES_MAX 4u

/* A CAPTURE on @fd, which is taken over. */
void capture_start(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_capture *msg);
void captures_drop_all(struct daemon *d);

/* For those who found daemon.captures set. */
void capture_clc(struct link *l, const struct rdv_record *rec, bool out);
/* We wrote the block @cdc into the peer's DMB. */
void capture_said(struct channel *ch, const void *cdc);
/* Looks at the peer's block in our DMB. */
void capture_heard(struct channel *ch);

#endif
