/* SPDX-License-Identifier: MIT */
/*
 * refuse.h - why connections were refused or failed, for all who want to know
 *
 * Every end of an attempt that is not a channel passes through here, and so does every end of a
 * channel that is not in order. It has one of the kernel's codes and one line of text. The
 * application gets both, the log a line, and the last FAILURES_MAX are kept for operators
 * (smcd-userctl failure), whoever refused: we, or the peer.
 *
 * Texts are made here or in connect.c, of names that were checked; nothing in them is a peer's own
 * wording.
 */
#ifndef SMCDU_DAEMON_REFUSE_H
#define SMCDU_DAEMON_REFUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "smcd/ipc/chan.h"

#define FAILURES_MAX 64u

struct channel;
struct daemon;
struct link;
struct rdv_record;

struct failure {
	uint64_t when_ns;
	bool server;
	bool by_peer; /* it refused, or went away */
	uint32_t diag; /* 0: a channel ended that had been established */
	int error;     /* positive errno that the application here gets */
	uid_t uid;     /* of that application; if there is none, (uid_t)-1 */
	uint64_t peer_gid;
	uint16_t port;
	char peer[IPC_NAME_MAX];
	char service[IPC_NAME_MAX];
	char text[IPC_TEXT_MAX];
};

struct failures {
	struct failure last[FAILURES_MAX]; /* a ring */
	uint64_t total;
};

/* Keeps it, and writes a log line if it is an attempt's. */
void failure_note(struct daemon *d, const struct failure *f);

/* An attempt of ours ends: the application gets errno and text, the channel goes. */
void refuse_app(struct channel *ch, int err, uint32_t diag, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The same, because the peer declined. */
void refuse_declined(struct channel *ch);
/* An attempt of a peer's ends, by us or (@by_peer) by it; the channel goes. */
void refuse_peer(struct channel *ch, int err, uint32_t diag, bool by_peer, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* The same, before there was a channel. */
void refuse_proposal(struct link *l, const struct rdv_record *rec, uint32_t diag, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

/* A channel that was established ends with an error. */
void failure_of_channel(struct channel *ch, int err, bool by_peer, const char *text);

#endif
