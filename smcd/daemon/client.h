/* SPDX-License-Identifier: MIT */
/*
 * client.h - the socket applications connect to, and listeners
 *
 * A connection's first message says what it becomes: a channel, a listener, or a question. Until
 * then it is charged to its user and has CLIENT_SILENCE_NS to speak. A message that is not exactly
 * what chan.h describes, or that carries descriptors, ends the connection.
 */
#ifndef SMCDU_DAEMON_CLIENT_H
#define SMCDU_DAEMON_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "smcd/daemon/channel.h"
#include "smcd/daemon/connect.h"
#include "smcd/daemon/daemon.h"

#define CLIENT_SILENCE_NS UINT64_C(5000000000)
#define CLIENT_KEPT_NS	  UINT64_C(200000000) /* the same of one that a channel has left */
#define LISTENER_BACKLOG  64u
#define LISTENER_BACKLOG_MAX 1024u

struct listener {
	struct daemon *d;
	struct loop_source sock;
	struct sock_peer who;
	uint32_t id; /* of all that there were */
	uint16_t port;
	char service[IPC_NAME_MAX];
	uint32_t backlog;
	uint32_t rx_size; /* 0: automatic */
	uint32_t want; /* IPC_PATH_* */
	uint32_t pending; /* handshakes on their way */
	unsigned int weighed; /* messages that had a weight */
	int queue_unit;	  /* what one undelivered message weighs in the socket, once known */
	int queue_room;	  /* what the socket holds of them, in bytes */
	struct listener *prev, *next;
};

/* ---- client.c -------------------------------------------------------------------------------- */

/* Accepts from daemon.accept. */
void client_on_accept(struct loop_source *src, short revents);
/*
 * Hears those that were accepted lately: most have spoken by now. After the others' turn, so that what
 * somebody gave back before it connected is back. True: there were some.
 */
bool clients_hear(struct daemon *d);
/* @ch's application has left it: @fd is a client again, or its listener's. Takes what there is of legacy. */
void client_keep(struct channel *ch, int fd);
/* Gives @ch, which @l accepts, a connection that another one left. Its descriptor, or -1. */
int client_reuse(struct channel *ch, const struct listener *l);
/* @l goes. */
void clients_forget(struct daemon *d, const struct listener *l);
void clients_init(struct daemon *d);
void clients_drop_all(struct daemon *d);
unsigned int clients_count(const struct daemon *d);

/* Sends IPC_ERROR (best effort) and closes @fd. */
void ipc_refuse(int fd, int err, uint32_t diag, const char *text);

/* ---- listener.c ------------------------------------------------------------------------------ */

/* A LISTEN on @fd, which is taken over. */
void listener_start(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_listen *msg);
/* Who serves @port under @name (two names that both are names must be equal). */
struct listener *listener_find(struct daemon *d, uint16_t port, const char *name);
/* Room in the backlog: counts one handshake and fills in uid, pid and size. */
bool listener_admit(struct listener *l, struct channel_params *p);
/* That handshake is over, one way or the other. */
void listener_delivered(struct listener *l);
/* The same for a channel that ended in its handshake. */
void listener_lost(struct channel *ch);
/* Hands an accepted channel to the application. 0, -EAGAIN (its socket is full), -EPIPE, ... */
int listener_send(struct listener *l, const struct ipc_channel *msg, const int *fds,
	unsigned int nfds);
void listeners_drop_all(struct daemon *d);

#endif
