/* SPDX-License-Identifier: MIT */
/*
 * fabric.h - a software ISM fabric
 *
 * A fabric is a set of functions that can reach each other: one CHID, one GID per function, and the
 * table of all registered DMBs by token. It does what firmware does between functions; what one
 * function does towards its driver is in function.h.
 *
 * Works without sockets: tests drive functions directly, ism-fabricd serves them over vfio-user.
 *
 * Invariants
 * - A DMB has one owner and one GID that may write it. @writer is the function that has that GID
 *   now, or NULL; authority is the GID, never the pointer.
 * - Every table is bounded by a knob; a full one refuses.
 * - Time passes only in fabric_run(): what knobs postpone waits in one list ordered by due time.
 *
 * Single-threaded: one thread owns the fabric and all its functions.
 */
#ifndef SMCDU_MODEL_FABRIC_H
#define SMCDU_MODEL_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ism/attach.h"
#include "ism/model/knobs.h"
#include "vfio/base/hash.h"
#include "vfio/base/trim.h"

#define FABRIC_FUNCTIONS_MAX 255u
#define FABRIC_CHID_DEFAULT  0x1d15u
#define FABRIC_GID_BASE	     UINT64_C(0x1d15000000000001)
#define FABRIC_NEVER	     UINT64_MAX
#define FABRIC_LATER_MAX     4096u /* postponed updates; beyond it they happen at once */

struct function;

struct dmb {
	uint64_t token;
	struct function *owner;
	struct function *writer;
	uint64_t rgid;
	uint64_t iova;
	uint32_t len;
	uint32_t idx; /* in the owner's SBA */
	bool vlan_valid;
	uint16_t vlan_id;
	/*
	 * The owner's memory, page by page: a client may have mapped each 4 KiB page on its own,
	 * and a move never leaves its page. NULL: nobody has stored here yet; see dmb_at().
	 */
	uint8_t **page;
	/* What the owner offered to the writer (ism/attach.h), until that takes it. */
	int offer[ATTACH_MAX_FDS];
	unsigned int nr_offer; /* descriptors; 0: nothing */
	bool offered;	       /* once is enough */
	uint64_t key; /* in its writer's gate, at slot; 0: not mapped by it */
	uint32_t slot;
	UT_hash_handle hh;	 /* fabric->dmbs */
	struct dmb *prev, *next; /* owner->owned */
	struct dmb *wprev, *wnext; /* writer->writes */
};

/* A postponed update of a function's memory. */
struct later {
	uint64_t due;
	struct function *fn;
	uint32_t idx;
	uint16_t mask;
	uint64_t store_iova; /* != 0: also store 8 bytes here (a late store) */
	struct later *prev, *next;
};

#define FABRIC_RANDOM 32u /* tokens' worth is asked of the kernel at once */

struct fabric {
	uint16_t chid;
	unsigned int n;
	struct function **fn;
	struct knobs knobs;
	struct dmb *dmbs; /* by token */
	struct trim trim; /* of DMBs */
	struct later *later;
	unsigned int later_count;
	uint64_t random[FABRIC_RANDOM];
	unsigned int nr_random; /* not yet used */
	uint64_t last_key; /* the last one given out (attach.h) */
	uint64_t (*now)(void); /* monotonic ns; tests replace it */
};

struct fabric_params {
	unsigned int functions; /* 1..FABRIC_FUNCTIONS_MAX */
	uint16_t chid;
	uint64_t gid_base; /* function N has GID gid_base + N; none may be 0 */
};

/* 0, -EINVAL (count, or GIDs that wrap or are 0), -ENOMEM. */
int fabric_new(const struct fabric_params *params, struct fabric **ret);

/* Frees the functions as well; nobody may be attached any more. NULL is allowed. Returns NULL. */
struct fabric *fabric_free(struct fabric *f);

static inline uint64_t fabric_knob(const struct fabric *f, enum knob_id id)
{
	return f->knobs.v[id];
}

struct function *fabric_by_gid(const struct fabric *f, uint64_t gid);
struct dmb *fabric_dmb(const struct fabric *f, uint64_t token);

/*
 * Gives @d (owner, rgid and memory filled in) a fresh token and enters it everywhere. 0, -ENOSPC.
 * On success the fabric owns @d and its page list.
 */
int fabric_add_dmb(struct fabric *f, struct dmb *d);

/* Takes @d out of the fabric and frees it. Tells nobody. */
void fabric_del_dmb(struct fabric *f, struct dmb *d);

/* Bits of a move's address below the token. */
static inline uint64_t fabric_token_mask(const struct fabric *f)
{
	return ~((UINT64_C(1) << fabric_knob(f, KNOB_token_low_bits)) - 1);
}

/* Puts a copy of @l (due set) into the list; -ENOSPC, -ENOMEM: the caller does it at once. */
int fabric_postpone(struct fabric *f, const struct later *l);

/* Forgets everything postponed for @fn. */
void fabric_forget(struct fabric *f, const struct function *fn);

/* When something is due (as f->now() counts), or FABRIC_NEVER. */
uint64_t fabric_due(const struct fabric *f);

/* Does what is due. */
void fabric_run(struct fabric *f);

#endif
