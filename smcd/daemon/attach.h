/* SPDX-License-Identifier: MIT */
/*
 * attach.h - making a channel attached
 *
 * Where the fabric hands DMBs to their writers (ism/attach.h), two daemons that both want it let
 * their applications write each other's DMB themselves. Nothing of it is on the wire, the dialogue
 * and the formats are the same:
 *
 *	server	before its Accept offers its DMB, and one end of a socket between the applications
 *	client	before its Confirm takes these, and offers its own DMB; without either it goes on
 *		mediated, and a server finds nothing to take
 *	server	at the Confirm takes the client's DMB
 *
 * Where both functions let the other one write DMBs without the fabric, all this goes directly from one
 * daemon to the other (ism/hand.h); so does the DMB of a channel that is not attached, for the daemon.
 *
 * Invariants: a channel is attached on both sides or on none. Descriptors wait here only until the
 * application has them. A DMB that was offered is never used again.
 */
#ifndef SMCDU_DAEMON_ATTACH_H
#define SMCDU_DAEMON_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

struct channel;

struct attach {
	bool on;
	bool offered; /* server: our half is out */
	/* For the application; -1: none. */
	int dmb;  /* the peer's */
	int sock; /* to the peer's application */
	/* The peer's DMB; token 0: not known yet. */
	uint64_t token;
	uint32_t size;
};

void attach_init(struct attach *a);

/* Server, DMB registered: offers, if channel and configuration want it and the fabric can. */
void attach_offer(struct channel *ch);

/*
 * Takes the peer's DMB of @size bytes, registered under @token. att.on says whether the channel is
 * attached now.
 */
void attach_take(struct channel *ch, uint64_t token, uint32_t size);

/* The application has the descriptors, or nobody will: closes them. */
void attach_drop(struct attach *a);

#endif
