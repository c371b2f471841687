/* SPDX-License-Identifier: MIT */
/*
 * clc.h - CLC messages: Proposal, Accept, Confirm, Decline
 *
 * The codec of SMC-Dv2 (release 0 and 1). All integers on the wire are big-endian. Decoding goes
 * through one bounds-carrying reader, follows the kernel's exact-length rules, copies everything
 * into the decoded structure (no pointer into the message survives) and never reads outside
 * [buf, buf+len). Version 1 proposals are understood well enough to be declined properly.
 *
 * Pure functions, no allocation. Encoders return the message's length; the buffer must hold
 * CLC_MAX_LEN bytes.
 */
#ifndef SMCDU_PROTO_CLC_H
#define SMCDU_PROTO_CLC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CLC_HDR_LEN  8u
#define CLC_MAX_LEN  652u /* longest legal Proposal */
#define CLC_EID_LEN  32u
#define CLC_HOST_LEN 32u
#define CLC_MAX_UEID 8u
#define CLC_MAX_GID  8u
#define CLC_RELEASE  1u	     /* SMCv2 release we speak */
#define CLC_FEATURES 0x0001u /* bit 0: emulated ISM */

enum clc_type {
	CLC_PROPOSAL = 1,
	CLC_ACCEPT = 2,
	CLC_CONFIRM = 3,
	CLC_DECLINE = 4,
};

/* Diagnosis codes of a Decline (the kernel's). */
enum clc_diag {
	CLC_DECL_MEM = 0x01010000,
	CLC_DECL_TIMEOUT = 0x02010000, /* never sent: what this end says of itself */
	CLC_DECL_CNFERR = 0x03000000,
	CLC_DECL_PEERNOSMC = 0x03010000,
	CLC_DECL_NOSMCDEV = 0x03030000,
	CLC_DECL_NOSMCDDEV = 0x03030001,
	CLC_DECL_NOISM2SUPP = 0x03030003,
	CLC_DECL_NOV2EXT = 0x03030004,
	CLC_DECL_NOV2DEXT = 0x03030005,
	CLC_DECL_NOV2DDEV = 0x03030007,
	CLC_DECL_NOUEID = 0x03030008,
	CLC_DECL_RELEASEERR = 0x03030009,
	CLC_DECL_MODEUNSUPP = 0x03040000,
	CLC_DECL_ISMVLANERR = 0x03090000,
	CLC_DECL_MAX_DMB = 0x030d0000,
	CLC_DECL_SYNCERR = 0x04000000,
	CLC_DECL_PEERDECL = 0x05000000,
	CLC_DECL_INTERR = 0x09990000,
};

/* What a code means, for both ends' messages (diag.h has more). Never NULL. */
const char *clc_diag_text(uint32_t diag);

struct clc_gid {
	uint64_t gid;
	uint64_t gid_ext; /* lower half, emulated CHIDs (0xFF00..) only */
	uint16_t chid;
};

struct clc_proposal {
	uint8_t version;
	uint8_t typev1; /* 0 R, 1 D, 2 neither, 3 both */
	uint8_t typev2;
	bool v2ext;	/* SMCv2 extension present */
	bool v2dext;	/* SMC-Dv2 extension present */
	uint8_t release;
	uint16_t features;
	bool seid_valid;
	uint8_t seid[CLC_EID_LEN];
	unsigned int nr_ueid;
	uint8_t ueid[CLC_MAX_UEID][CLC_EID_LEN]; /* blank padded */
	unsigned int nr_gid; /* devices (an emulated one takes two wire entries) */
	struct clc_gid gid[CLC_MAX_GID];
	struct clc_gid v1_gid; /* native GID/CHID at 40..49; chid 0: none */
};

struct clc_accept { /* Accept and Confirm */
	uint8_t type; /* CLC_ACCEPT or CLC_CONFIRM */
	uint8_t version;
	bool smcd;	/* names SMC-D */
	bool first_contact;
	struct clc_gid gid;
	uint64_t token;
	uint8_t dmbe_idx;  /* 0 */
	uint8_t size_code; /* DMB size is 16 KiB << code, 0..6 */
	uint8_t lgr_id[4];
	uint8_t eid[CLC_EID_LEN];
	/* First-contact extension. */
	uint8_t os;
	uint8_t release;
	char host[CLC_HOST_LEN + 1];
	uint16_t features;
};

struct clc_decline {
	uint8_t version;
	bool out_of_sync;
	uint32_t diag;
	uint8_t os;
};

/* D2-only Proposal, as a Linux server accepts it. -EINVAL when counts are out of range. */
ssize_t clc_encode_proposal(uint8_t *buf, const struct clc_proposal *p);
ssize_t clc_encode_accept(uint8_t *buf, const struct clc_accept *a);
ssize_t clc_encode_decline(uint8_t *buf, const struct clc_decline *d);

/*
 * Looks at the first CLC_HDR_LEN bytes. 0 with type and whole length, -EAGAIN when @len is too
 * short to tell, -EPROTO when this is no CLC message.
 */
int clc_peek(const uint8_t *buf, size_t len, enum clc_type *type, size_t *msg_len);

/* @len must be the message's exact length. 0 or -EPROTO, outputs untouched on failure. */
int clc_decode_proposal(const uint8_t *buf, size_t len, struct clc_proposal *p);
int clc_decode_accept(const uint8_t *buf, size_t len, struct clc_accept *a);
int clc_decode_decline(const uint8_t *buf, size_t len, struct clc_decline *d);

/* Blank-pads @name into a 32-byte EID; -EINVAL unless it is [A-Z0-9][A-Z0-9.-]*, at most 32. */
int clc_eid(uint8_t out[CLC_EID_LEN], const char *name);

/* The code whose DMB holds @size bytes: 16 KiB << code >= size, at most 6 (1 MiB). */
uint8_t clc_size_code(uint32_t size);
static inline uint32_t clc_code_size(uint8_t code)
{
	return 16384u << code;
}

#endif
