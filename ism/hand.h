/* SPDX-License-Identifier: MIT */
/*
 * hand.h - DMBs that their owner handed to us (attach.h)
 *
 * Each comes before the peer's word that names its token, and is taken when that is read: so it is the
 * next one in the socket, which is looked at then and at no other time. Others that are found on the way
 * wait here: their words come later, or their handshakes failed.
 *
 * Bounds against a hostile peer: what waits in the socket is its own; ISM_HANDS_MAX of it wait here, for
 * ISM_HANDS_NS, more than an honest one can have in its socket and on its way.
 */
#ifndef SMCDU_ISM_HAND_H
#define SMCDU_ISM_HAND_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/attach.h"

#define ISM_HANDS_MAX 512u
#define ISM_HANDS_NS  UINT64_C(30000000000)

struct ism_hand {
	struct attach_hand m;
	uint64_t since_ns;
	int fds[ATTACH_MAX_FDS];
	unsigned int nfds;
};

struct ism_hands {
	int sock;
	struct ism_hand *v; /* oldest first */
	unsigned int n;
	unsigned int cap;
};

/* Closes what nobody took. */
void ism_hands_drop(struct ism_hands *hands);
/* And the socket. */
void ism_hands_fini(struct ism_hands *hands);

#endif
