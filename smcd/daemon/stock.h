/* SPDX-License-Identifier: MIT */
/*
 * stock.h - DMBs made ahead of the channels that will want them
 *
 * When channels come one soon after the other, the next ones' DMBs are made and registered together: one
 * exchange with the device for several, and none while a peer waits in its handshake. A shelf has those
 * of one size for one peer GID. How many depends on how fast they are taken: none for whoever opens a
 * channel now and then, at most STOCK_MAX and STOCK_BYTES.
 *
 * Invariants
 * - What is on a shelf was seen by no application, and its token by no peer. It belongs to the daemon:
 *   no user is charged for it before a channel takes it.
 * - A shelf from which nothing was taken for STOCK_IDLE_NS is emptied, as is one whose peer begins anew.
 */
#ifndef SMCDU_DAEMON_STOCK_H
#define SMCDU_DAEMON_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/ism.h"
#include "smcd/daemon/loop.h"

#define STOCK_SHELVES 4u /* of a function */
#define STOCK_MAX     24u /* on a shelf */
#define STOCK_LEAST   2u /* when a shelf has no more, it is filled at once */
#define STOCK_BYTES   (512u * 1024u) /* on a shelf */
#define STOCK_IDLE_NS UINT64_C(500000000)

struct dmb_user;
struct function;

struct shelf {
	uint64_t gid; /* 0: the shelf is not in use */
	uint32_t size;
	unsigned int n;
	unsigned int want;
	uint64_t taken_ns; /* when one was asked for last */
	struct ism_dmb *dmb[STOCK_MAX];
};

struct stock {
	struct shelf shelf[STOCK_SHELVES];
	struct loop_timer idle;
	bool low; /* a shelf wants more */
};

void stock_init(struct function *fn);

/* As function_dmb_get(), from the shelf if one is there. */
int stock_get(struct function *fn, uint64_t gid, uint32_t size, struct dmb_user *user,
	struct ism_dmb **ret);

/*
 * Makes what shelves are short of: file by file while the daemon is @idle, then registers them together. True:
 * it did so.
 */
bool stock_fill(struct function *fn, bool idle);

/* Empties the shelves of a peer (0: all of them). */
void stock_forget(struct function *fn, uint64_t gid);

#endif
