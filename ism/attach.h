/* SPDX-License-Identifier: MIT */
/*
 * attach.h - handing a DMB to its writer (software fabrics only)
 *
 * On a software fabric a DMB is a memory file, so its one authorised writer may as well write it
 * itself. This is the kernel's attach_dmb, between processes, in two forms:
 *
 * - for applications: the owner offers a registered DMB, with whatever else the two sides need to work
 *   without the fabric. The fabric keeps the descriptors until the function with the DMB's RGID takes
 *   them; it understands none of them.
 * - for the writer's driver (vfio/attached.h): the owner consents once per writer, and the fabric hands
 *   out the memory of any DMB for that writer that is a memory file of its own. The driver's PCISTBs
 *   are then executed in its process, and the fabric keeps the last word.
 *
 * What the two share in the second form, and what it lets them do to each other:
 *
 *	gate	made and written by the fabric, one per writer, read-only for it. A slot for each DMB
 *		that it may write and whose owner consented, as long as there is room: the DMB's token
 *		and a word, cleared when the DMB ends. And a word for all, set while the fabric wants
 *		to see every store itself (a fault, a knob, an error state). Looked at before every
 *		store: what is not open goes to the function, whose answer is the device's. And two
 *		that say how long a store takes, so that the costed mode charges these stores, too
 *	bell	made by the owner, one per writer, instead of the SBA, which it must not reach: in it
 *		it could swallow the signals of others. Bits, masks and a summary as in an SBA, but
 *		only of the DMBs of this writer: the owner ignores the other bits. So a hostile writer
 *		spoils its own signals and nobody else's
 *	wake	one end of a socket, for an owner that sleeps, not an eventfd: a hostile owner could
 *		make that one block its writer for ever; a send with MSG_DONTWAIT never does
 *	hand	one end of a SOCK_SEQPACKET pair, from the writer to the owner of the bell
 *
 * Through the last one a function hands its own DMBs to their writer at once, without the fabric: struct
 * attach_hand with the memory and what else belongs to it. By then the fabric has given the DMB a slot,
 * by which the writer sees that it may write the DMB of this token. Which memory that is, is for the
 * owner to say: it would mislead nobody but itself.
 *
 * A store that was on its way when its DMB ended may still land in memory that nobody uses any more,
 * as on hardware; the owner's quarantine and the rule that DMBs are never reused are for that.
 *
 * The messages travel on a side channel: a SOCK_SEQPACKET pair whose other end the driver hands to
 * the server of its function (zpci_side_channel()). One request, one reply, in order; a peer that
 * sends anything else loses the channel and nothing more. Integers are in host order: both ends run
 * on one machine.
 *
 *	OFFER	token of an own DMB, 1..ATTACH_MAX_FDS descriptors. 0, -ENOENT (no such DMB of this
 *		function), -EALREADY, -ENOSPC (too many offers that nobody took), -EINVAL
 *	TAKE	token of a DMB that names this function's GID as its writer. 0 with the descriptors;
 *		-ENOENT (no such DMB, not this function's to write, or nothing offered)
 *	GATE	0 with the gate; -EOPNOTSUPP (every store goes to the function), -ENOMEM
 *	CONSENT	gid of a writer, descriptors {bell, wake, hand}. 0, -EALREADY, -ENETUNREACH (no such GID)
 *	BELL	gid of an owner. 0 with its bell, wake and hand for us; -ENOENT (it did not consent)
 *	MAP	token as for TAKE. 0 with the memory, slot and key of the gate, SBA index and length;
 *		-ENOENT as above, without consent, or no file of its own; -ENOSPC (no slot)
 *
 * An offer is taken once. It ends with the DMB's registration, as a mapping does.
 */
#ifndef SMCDU_ISM_ATTACH_H
#define SMCDU_ISM_ATTACH_H

#include <stdatomic.h>
#include <stdint.h>

#include "ism/proto.h"

#define ATTACH_MAGIC	  0x49534d42u /* "ISMB" */
#define ATTACH_MAX_FDS	  4u
#define ATTACH_BELL_FDS	  3u
#define ATTACH_MAX_OFFERS 256u /* per function, not yet taken */

enum attach_op {
	ATTACH_OFFER = 1,
	ATTACH_TAKE = 2,
	ATTACH_GATE = 3,
	ATTACH_CONSENT = 4,
	ATTACH_BELL = 5,
	ATTACH_MAP = 6,
};

struct attach_msg { /* request and reply */
	uint32_t magic;
	uint32_t op;
	uint64_t token; /* CONSENT, BELL: a GID */
	uint64_t key;	/* MAP's reply */
	uint32_t slot;
	uint32_t len;
	uint32_t idx;
	int32_t error; /* reply: 0 or negative errno */
};

_Static_assert(sizeof(struct attach_msg) == 40, "attach message");

/* The fabric's word, for one writer. */
#define ATTACH_GATE_SIZE 65536u
#define ATTACH_SLOTS	 4094u
#define ATTACH_PROBES	 16u /* a DMB's slot is one of so many from attach_slot_of() */
#define ATTACH_COST_MAX	 1000000u /* ns; a writer charges no more, whatever the fabric says */

struct attach_gate {
	_Atomic uint64_t shut;		     /* not 0: every store goes to the function */
	_Atomic uint64_t store_ns;	     /* what a store is charged (costed mode) */
	_Atomic uint64_t store_ps_byte;
	uint64_t reserved;
	struct {
		_Atomic uint64_t key;	/* of the DMB that may be written now; keys never return */
		_Atomic uint64_t token; /* whose slot it is, stored before the key; 0: nobody's */
	} slot[ATTACH_SLOTS];
};

static inline uint32_t attach_slot_of(uint64_t token, uint32_t probe)
{
	return (uint32_t)((token >> 32) % ATTACH_SLOTS + probe) % ATTACH_SLOTS;
}

/* From the owner of a DMB to its writer. */
#define ATTACH_HAND_MAGIC 0x49534d48u /* "ISMH" */

struct attach_hand {
	uint32_t magic;
	uint32_t idx; /* in the owner's SBA, and its bell */
	uint64_t token;
	uint32_t len;
	uint32_t use; /* 1: for an application; else for the writer's driver only */
};

_Static_assert(sizeof(struct attach_hand) == 24, "attach hand");

/* The signals of one writer. */
#define ATTACH_BELL_SIZE 4096u

struct attach_bell {
	_Atomic uint32_t rung;	 /* there are bits; set after them */
	_Atomic uint32_t asleep; /* wake me: set by the owner, taken by whoever rings */
	uint64_t reserved;
	_Atomic uint64_t bits[ISM_SBA_WORDS]; /* bit 63 - n % 64 of word n / 64: index 32 + n */
	_Atomic uint16_t mask[ISM_NR_DMBS];
};

_Static_assert(sizeof(struct attach_gate) == ATTACH_GATE_SIZE, "gate");
_Static_assert(sizeof(struct attach_bell) == ATTACH_BELL_SIZE, "bell");

#endif
