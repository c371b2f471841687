/* SPDX-License-Identifier: MIT */
/*
 * connect.h - how channels come to be: both roles of the handshake over a control link
 *
 * Asks struct hs what to do and answers its questions with the device; carries its messages as CLC
 * records. Every refusal names the thing on both ends: here as an IPC_ERROR, at the peer as a
 * Decline whose code its daemon turns into text.
 */
#ifndef SMCDU_DAEMON_CONNECT_H
#define SMCDU_DAEMON_CONNECT_H

#include <sys/types.h>

#include "smcd/daemon/channel.h"
#include "smcd/daemon/link.h"

struct sock_peer {
	uid_t uid;
	pid_t pid;
};

/*
 * An application's CONNECT on @fd, which is taken over: becomes a channel's socket or is answered.
 */
void connect_start(struct daemon *d, int fd, const struct sock_peer *who, struct legacy *legacy,
	const struct ipc_connect *msg);

/* From the link. */
void connect_record(struct link *l, const struct rdv_record *rec);
void connect_reset(struct link *l, const struct rdv_record *rec);
void connect_cdc(struct link *l, const struct rdv_record *rec);
void connect_link_up(struct link *l);

/* The link or the function failed while the channel was not LIVE yet. */
void connect_failed(struct channel *ch, int err);
/* This side gives up while the channel is not LIVE yet: tells the peer. */
void connect_cancel(struct channel *ch);

#endif
