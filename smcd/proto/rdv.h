/* SPDX-License-Identifier: MIT */
/*
 * rdv.h - the fabric rendezvous: records of the control link between two daemons
 *
 * Guests that share nothing but the fabric carry their CLC dialogue over the fabric itself. Each
 * daemon registers one control DMB of RDV_DMB_SIZE bytes for its peer and tells the token in an ISM
 * event: RDV_EV_OFFER (sent by whoever wants the link, again until it is answered), answered by
 * RDV_EV_ANSWER. The pair of DMBs is then used exactly as an SMC-D connection: CDC block at 0, ring
 * behind it, cursors for flow control. Its byte stream consists of records; all integers are
 * big-endian:
 *
 *	0 u32 magic    4 u16 type     6 u16 length of the record, this header included
 *	8 u32 src_conn: the sender's handle of the connection
 *	12 u32 dst_conn: the receiver's handle, 0 while the sender has not learnt it
 *	16 u16 port (of the service, with a Proposal; else 0)    18 u16 reserved, 0
 *	20 payload
 *
 *	HELLO	name[64] of the daemon, u16 protocol version, u16 flags; handles 0. First record of
 *		either direction; a receiver refuses any other record before it (the caller's check).
 *	CLC	one CLC message, preceded by the service's name[64] if it is a Proposal. src_conn is
 *		never 0. dst_conn is 0 in a Proposal, may be 0 in a Decline (a client that gives up
 *		before Accept), and is never 0 in Accept and Confirm.
 *	RESET	u32 diagnosis: the connection src_conn of the sender is unknown or gone; dst_conn says
 *		which of the receiver's it belonged to and is never 0
 *	CDC	the two words of a CDC block as they are to stand in the receiver's DMB of the connection,
 *		which stores them there: for a sender that cannot do so itself, since only its
 *		application has the DMB (attached). No handle is 0
 *	PING, PONG  no payload, handles 0
 *
 * Names are 1..63 characters from [A-Za-z0-9._-], padded with NULs. Everything else is -EPROTO: the
 * peer is hostile until proven correct, and a stream that lost its framing cannot be trusted again.
 *
 * Pure functions, no allocation.
 */
#ifndef SMCDU_PROTO_RDV_H
#define SMCDU_PROTO_RDV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ISM event codes of the bootstrap; the event's info word is the sender's control DMB token. */
#define RDV_EV_OFFER  0x53440001u
#define RDV_EV_ANSWER 0x53440002u

#define RDV_DMB_SIZE 65536u /* of a control DMB, both sides, no negotiation */

#define RDV_MAGIC   0x52445631u /* "RDV1" */
#define RDV_VERSION 2u		/* in HELLO */
#define RDV_HDR_LEN 20u
#define RDV_MAX_LEN 1024u /* of a whole record */
#define RDV_NAME_LEN 64u

enum rdv_type {
	RDV_HELLO = 1,
	RDV_CLC = 2,
	RDV_RESET = 3,
	RDV_PING = 4,
	RDV_PONG = 5,
	RDV_CDC = 6,
};

struct rdv_record {
	enum rdv_type type;
	uint32_t src_conn;
	uint32_t dst_conn;
	uint16_t port;
	char name[RDV_NAME_LEN]; /* HELLO: the daemon; CLC with a Proposal: the service; else "" */
	uint16_t version;	 /* HELLO */
	uint16_t flags;		 /* HELLO */
	uint32_t diag;		 /* RESET */
	uint8_t words[16];	 /* CDC: producer and consumer word, in the fabric's byte order */
	const uint8_t *clc;	 /* CLC: one message with a correct header, trailer not looked at */
	size_t clc_len;
};

/* Whether @name may stand in a record: 1..63 characters from [A-Za-z0-9._-]. */
bool rdv_name_ok(const char *name);

/*
 * Writes @rec, borrowing rec->clc. Returns the record's length; -EINVAL, with @out undefined, for a
 * record that no decoder would accept. Members that the type does not use are ignored.
 */
ssize_t rdv_encode(uint8_t out[RDV_MAX_LEN], const struct rdv_record *rec);

/* Cuts a byte stream into records. All zero is the initial state. */
struct rdv_decoder {
	uint8_t buf[RDV_MAX_LEN];
	size_t fill;
	bool whole;  /* buf holds a record that was returned: starts anew with the next call */
	bool broken; /* sticky */
};

/*
 * Takes bytes from @data until one record is complete. *used says how many were taken (all of them
 * when 0 is returned): call again with the rest. Returns 1 and *rec, whose clc points into the
 * decoder and is valid until the next call; 0 when more bytes are needed; -EPROTO, now and for
 * ever, when the stream is none of ours. *rec is untouched unless 1 is returned.
 */
int rdv_decode(struct rdv_decoder *d, const uint8_t *data, size_t len, size_t *used,
	struct rdv_record *rec);

#endif
