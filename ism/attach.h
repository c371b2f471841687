/* SPDX-License-Identifier: MIT */
/*
 * attach.h - handing a DMB to its writer (software fabrics only)
 *
 * On a software fabric a DMB is a memory file, so its one authorised writer may as well write it
 * itself. The owner offers a registered DMB: the memory and whatever else the two sides need to
 * work without the fabric. The fabric keeps the descriptors until the function with the DMB's RGID
 * takes them; it understands none of them. This is the kernel's attach_dmb, between processes.
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
 *
 * An offer is taken once. It ends with the DMB's registration.
 */
#ifndef SMCDU_ISM_ATTACH_H
#define SMCDU_ISM_ATTACH_H

#include <stdint.h>

#define ATTACH_MAGIC	  0x49534d41u /* "ISMA" */
#define ATTACH_MAX_FDS	  4u
#define ATTACH_MAX_OFFERS 256u /* per function, not yet taken */

enum attach_op {
	ATTACH_OFFER = 1,
	ATTACH_TAKE = 2,
};

struct attach_msg { /* request and reply */
	uint32_t magic;
	uint32_t op;
	uint64_t token;
	int32_t error; /* reply: 0 or negative errno */
	uint32_t reserved;
};

_Static_assert(sizeof(struct attach_msg) == 24, "attach message");

#endif
