/* SPDX-License-Identifier: MIT */
/*
 * link.h - the fabric rendezvous: one control link per function and peer GID
 *
 * Brought up by events that carry the control DMB's token (rdv.h), then a byte stream of records
 * with the same cursors and the same code as a channel. It carries HELLO once and the CLC
 * dialogues.
 *
 * Convergence. An OFFER is repeated every 50 ms until the peer's token is known. Whoever gets an
 * OFFER knows the peer's token, is up, and answers with its own; so it does for a repeated one. A
 * *different* token means that the peer began anew: the old link and its channels end. Crossing
 * offers therefore settle without a tie-break.
 *
 * Bounds against a hostile peer: one control DMB per GID, at most LINK_MAX_STRANGERS links to GIDs
 * that are not configured, at most one new beginning per peer and 50 ms, a bounded queue; a stream
 * that breaks the rules ends the link.
 */
#ifndef SMCDU_DAEMON_LINK_H
#define SMCDU_DAEMON_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/daemon/function.h"
#include "smcd/daemon/stream.h"
#include "smcd/proto/rdv.h"
#include "vfio/base/hash.h"

#define LINK_MAX_STRANGERS 64u
#define LINK_OFFER_NS	   UINT64_C(50000000)
#define LINK_QUEUE_MAX	   (256u * 1024u)

enum link_state {
	LINK_DOWN,	 /* no DMB: only remembered */
	LINK_CONNECTING, /* offering */
	LINK_UP,
};

struct link {
	struct function *fn;
	uint64_t gid;
	enum link_state state;
	char name[RDV_NAME_LEN]; /* configured, or from HELLO; "" while unknown */
	bool configured;
	bool greeted; /* HELLO arrived */

	struct dmb_user user;
	struct ism_dmb *dmb;
	struct arena_block out; /* the send ring, behind room for a CDC block */
	uint8_t *cdc;
	struct stream s;
	uint64_t tx_pos; /* bytes put into the send ring */
	uint8_t *queue;	 /* records that the ring had no room for */
	size_t queue_len;
	struct rdv_decoder dec;

	int failed;	 /* a move failed: links_tend() takes it down with this error */
	unsigned int epoch; /* counts beginnings */

	struct loop_timer offer;
	uint64_t offer_until; /* somebody waits until then */
	uint64_t restart_ns;  /* last new beginning */
	unsigned int channels; /* on this link, handshakes included */
	struct lgr *lgrs;      /* list, oldest first; none unless the link is up */
	UT_hash_handle hh;
};

/* The link to @gid, made if need be. NULL: no memory. */
struct link *link_get(struct function *fn, uint64_t gid);

/* Wants it up, trying until @until_ns. 0 (up or trying) or -errno. connect_link_up() follows. */
int link_want(struct link *l, uint64_t until_ns);

/* "guest-b", or the GID as text; in static storage until the next call. */
const char *link_peer(const struct link *l);

/* Sends a record. 0, -ENOTCONN, -ENOBUFS (queue full), -EINVAL. */
int link_send(struct link *l, const struct rdv_record *rec);

/* A channel of the link is gone. */
void link_drop_channel(struct link *l);

/* The peer's side of the link is lost: ends the link and its channels with @err. */
void link_down(struct link *l, int err, const char *why);

/* An event of the function; @fn as in ism_params.ctx. */
void link_event(struct function *fn, const struct ism_event *ev);
/* Events were lost: asks the fabric about every peer. */
void link_check_all(struct function *fn);

/*
 * Asks each peer for a sign of life, which costs one store that wakes nobody: one whose DMB is not there
 * any more is gone, and so are its channels, however quiet they are. An earlier end of its tokens also
 * makes it less likely that somebody else has them when something is sent.
 */
void links_probe(struct function *fn);

/* Takes down the links that failed in the middle of something; called once per turn. */
void links_tend(struct function *fn);

/* Frees all links of a function; their channels must be gone. */
void links_forget(struct function *fn);

#endif
