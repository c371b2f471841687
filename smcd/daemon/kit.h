/* SPDX-License-Identifier: MIT */
/*
 * kit.h - what a channel is made of besides its DMB, made ahead
 *
 * Control pages and pairs of sockets are the same for every channel. While
 * channels come fast the daemon makes the next ones' in turns in which it would only look, so that no
 * peer waits for it in a handshake. Everything is used once: it is new when a channel gets it, and the
 * channel's from then on.
 *
 * It belongs to the daemon, and no user is charged for it before a channel takes it. There are at most KIT_MAX
 * of each kind, and none KIT_IDLE_NS after the last one was taken.
 */
#ifndef SMCDU_DAEMON_KIT_H
#define SMCDU_DAEMON_KIT_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/daemon/loop.h"

#define KIT_MAX	    6u
#define KIT_SOON_NS UINT64_C(10000000) /* the next one comes soon enough to be prepared for */
#define KIT_IDLE_NS UINT64_C(500000000)

enum kit_kind {
	KIT_CTL,  /* a send file with the control page only */
	KIT_SOCK, /* of an application's channel: SOCK_SEQPACKET */
	KIT_PAIR, /* of two attached applications: SOCK_STREAM */
	KIT_KINDS,
};

struct kit {
	int fd;
	void *map; /* CTL: its mapping */
	int sock[2];
};

struct kit_shelf {
	struct kit v[KIT_MAX];
	unsigned int n;
	unsigned int want;
	uint64_t taken_ns; /* when one was asked for last */
};

struct kits {
	struct kit_shelf shelf[KIT_KINDS];
	struct loop_timer idle;
};

struct daemon;

void kits_init(struct daemon *d);
void kits_fini(struct daemon *d);

/* 0 and what @kind says of *ret, the caller's; or negative errno. */
int kit_get(struct daemon *d, enum kit_kind kind, struct kit *ret);

/* Makes one that is wanted. False: there is none to be made. */
bool kits_fill(struct daemon *d);

#endif
