/* SPDX-License-Identifier: MIT */
/*
 * window.h - DMBs whose moves are executed in this process (attach.h)
 *
 * Both roles of a function: as a writer it has windows, each a peer's DMB mapped here with a word of
 * the fabric's gate that says whether it may still be written; as an owner it has bells, each the
 * signals of one peer that writes its DMBs itself.
 *
 * Invariants
 * - Nothing is written through a window whose word is not its key, or while the gate is shut.
 * - Data, then the signal, as a move has it; the ringer's bits come before "rung", and the owner takes
 *   "rung" before the bits.
 * - A bell signals DMBs that name its GID as their writer and no others.
 */
#ifndef SMCDU_ISM_WINDOW_H
#define SMCDU_ISM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/attach.h"
#include "ism/hand.h"
#include "vfio/base/slab.h"

struct ism_dev;
struct ism_window;

/* One page of signals and the socket of its owner. */
struct ism_bell {
	uint64_t gid;		  /* of the peer */
	struct attach_bell *page; /* shared with it */
	int sock;
	struct ism_hands hands; /* our own bells: what the peer handed us */
	unsigned int refs; /* windows that ring it, the list, who is serving it */
	uint64_t round;	   /* when it was served last */
	struct ism_bell *next;
};

struct ism_windows {
	const struct attach_gate *gate; /* NULL: every store goes to the function */
	struct ism_window *open;
	struct slab slab; /* what windows are made of */
	struct ism_bell *rings; /* peers' */
	struct ism_bell *bells; /* our own */
	uint64_t round;
	int wake_fd;		/* epoll: the MSI and the sockets of our bells; -1: none */
};

void ism_windows_init(struct ism_windows *w);

/* Gets the gate, if door and fabric can do it. The MSI is set up. */
void ism_windows_open(struct ism_dev *dev);

/* Before the door is closed. */
void ism_windows_close(struct ism_dev *dev);

/*
 * One that was rung and not yet served in this @round, with a reference for the caller: its bits are
 * taken into @bits. NULL: no more.
 */
struct ism_bell *ism_bell_next(struct ism_dev *dev, uint64_t round, uint64_t bits[ISM_SBA_WORDS]);
void ism_bell_put(struct ism_bell *b);
uint16_t ism_bell_take_mask(struct ism_bell *b, uint32_t idx);

/* Asks all ringers to wake us. True: one has rung already. */
bool ism_bells_arm(struct ism_dev *dev);
/* We are awake, and look ourselves: none need spend a system call on it. */
void ism_bells_disarm(struct ism_dev *dev);

/* That of @gid in a list, or NULL. */
struct ism_bell *ism_bell_of(struct ism_bell *list, uint64_t gid);

/* The owner's bell, which is asked for once. 0 · -EOPNOTSUPP · -ENOENT it did not consent · ... */
int ism_ring_of(struct ism_dev *dev, uint64_t gid, struct ism_bell **ret);

/*
 * A window on the DMB that @gid handed us as @m describes it, with memory @fd (borrowed). 0 · -ENOENT the
 * fabric has no slot for it · ...
 */
int ism_window_open(struct ism_dev *dev, uint64_t gid, const struct attach_hand *m, int fd);

/* Drains what made wake_fd readable. True: the MSI did. */
bool ism_bells_ack(struct ism_dev *dev);

#endif
