/* SPDX-License-Identifier: MIT */
/*
 * attach.h - DMBs handed from their owner to their writer
 *
 * The fabric's side of ism/attach.h. For applications it keeps what an owner offers with one of its
 * DMBs until the function whose GID is the DMB's RGID takes it, once; it looks at no descriptor. To a
 * writer's driver it hands the memory of DMBs, with the gate by which it can end or suspend that.
 *
 * Invariants
 * - An offer belongs to a registered DMB and ends with it; a function has at most ATTACH_MAX_OFFERS
 *   that nobody took.
 * - A word of the gate is its DMB's key exactly while a store by the gate's function would succeed and
 *   do nothing but what a window does; keys are never used twice. The gate is shut while a knob or a
 *   fault of the function has an effect on stores: then they are seen here.
 * - Consent and gate end with the client on either side.
 */
#ifndef SMCDU_MODEL_ATTACH_H
#define SMCDU_MODEL_ATTACH_H

#include "ism/model/fabric.h"

/* An owner's consent: the bell and the sockets for one writer. */
struct attach_consent {
	uint64_t gid;
	int fds[ATTACH_BELL_FDS];
	struct attach_consent *next;
};

/* What a function has of all this. */
struct attach_state {
	struct attach_gate *gate; /* NULL: none */
	int gate_fd;
	struct attach_consent *consents; /* of this function, as an owner */
};

/* 0 and the descriptors are the fabric's, or as attach.h says and they stay the caller's. */
int dmb_offer(struct function *fn, uint64_t token, const int *fds, unsigned int n);

/* 0 with *n descriptors, the caller's from then on, or -ENOENT. */
int dmb_take(struct function *fn, uint64_t token, int fds[ATTACH_MAX_FDS], unsigned int *n);

/*
 * The requests of the second form. As attach.h says; descriptors in *ret and fds are the fabric's,
 * those given to attach_consent() become so on success.
 */
int attach_gate(struct function *fn, int *ret);
int attach_consent(struct function *fn, uint64_t gid, const int fds[ATTACH_BELL_FDS]);
int attach_bell(struct function *fn, uint64_t gid, const int **fds);
int attach_map(struct function *fn, struct attach_msg *m, int *ret);

/* Something changed that a store may depend on: sets all gates anew. */
void attach_review(struct fabric *f);

/* The DMB is there: it gets a slot of its writer's gate, if its owner consented and one is free. */
void attach_admit(struct dmb *d);

/* The DMB ends: closes what nobody took, and the word of the gate. */
void attach_withdraw(struct dmb *d);

/* The function's client is gone or begins anew. */
void attach_leave(struct function *fn);

#endif
