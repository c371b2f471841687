/* SPDX-License-Identifier: MIT */
/*
 * lgr.h - link groups: the rules
 *
 * A link group is what two ends remember of each other between connections: that they met, which
 * EID and release they agreed on. It has no role: connections in both directions use one. Its key is
 * the local function and the peer's GID, nothing else; the VLAN is a property that its creator gives
 * it (SMC-Dv2: the client's, 0 at the server).
 *
 * Both ends must have it or none. The server decides: it says "first contact" when it has no usable
 * group, and the client then always makes a new one. Each end names its group by four opaque bytes
 * in Accept, Confirm and events. Linux sends them and never looks; we do, for two reasons: when both
 * ends begin at the same time there are two groups per end, and only the names tell which belongs to
 * which; and an event that was overtaken by a new first contact must not end the new group.
 *
 * A group of which one end only knows is out of sync: the client says so with a Decline, and the
 * server ends what it has.
 *
 * Pure functions, no allocation.
 */
#ifndef SMCDU_PROTO_LGR_H
#define SMCDU_PROTO_LGR_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/proto/cdc.h"

#define LGR_ID_LEN  4u
#define LGR_ID_STEP 256u /* between two groups, as in the kernel */

/* Codes of the software events between two ends. */
#define LGR_EV_SHUTDOWN 0x80u
#define LGR_EV_TESTLINK 0x83u

enum lgr_state {
	LGR_MAKING,  /* first contact is under way; others may join */
	LGR_USABLE,
	LGR_LEAVING, /* nobody joins any more; goes with its last connection */
};

/* "making", "usable", "leaving" */
const char *lgr_state_name(enum lgr_state state);

struct lgr_name {
	uint8_t id[LGR_ID_LEN];
};

/* The name of group number @n, in the fabric's byte order; and back, as the tools show it. */
struct lgr_name lgr_name_of(uint32_t n, enum cdc_order order);
uint32_t lgr_number(struct lgr_name name, enum cdc_order order);
/* A name of zeros is none. */
bool lgr_named(struct lgr_name name);
bool lgr_same_name(struct lgr_name a, struct lgr_name b);

/* ---- first contact --------------------------------------------------------------------------- */

enum lgr_choice {
	LGR_JOIN,
	LGR_CREATE,
	LGR_OUT_OF_SYNC, /* decline with 0x04000000 and the out-of-sync bit */
};

/* What a server does with a Proposal; @have: there is a usable group with this peer. */
enum lgr_choice lgr_choose_server(bool have);
/* What a client does with an Accept. */
enum lgr_choice lgr_choose_client(bool accept_first_contact, bool have);

/* ---- events ---------------------------------------------------------------------------------- */

enum lgr_event_code {
	LGR_REQUEST = 1,
	LGR_RESPONSE = 2,
};

/* The info word of a SHUTDOWN (always a request) or TESTLINK. */
struct lgr_event {
	struct lgr_name name; /* the sender's group */
	uint16_t vlan;
	uint16_t code; /* enum lgr_event_code, or whatever a peer sends */
};

uint64_t lgr_event_pack(const struct lgr_event *ev, enum cdc_order order);
struct lgr_event lgr_event_unpack(uint64_t info, enum cdc_order order);

/*
 * Whether the answer to event @code with @info is due, and the answer's info: a TESTLINK request
 * comes back as it is, as a response.
 */
bool lgr_event_answer(uint32_t code, uint64_t info, enum cdc_order order, uint64_t *answer);

/*
 * Whether a SHUTDOWN of the peer ends a group with that peer: the caller has compared the full GID.
 * One with a name ends the group of that name (@peers: what the peer calls it); one without ends all
 * groups in its VLAN, as in the kernel.
 */
bool lgr_shutdown_ends(const struct lgr_event *ev, struct lgr_name peers, uint16_t vlan);

#endif
