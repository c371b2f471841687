/* SPDX-License-Identifier: MIT */
/*
 * proto.h - the ISM function's own formats
 *
 * Commands, SBA and IEQ as the function reads and writes them: big-endian on every host, which is
 * why all fields are be*_t. Shared by the driver and by the device model; nothing else may include
 * it. Numbers are those of Linux' ism driver (drivers/s390/net/ism.h); see docs/ism.md.
 *
 * SBA and IEQ are memory that the other side changes at any time: reach them only through the
 * accessors of sba.h and ieq.h (driver) or the model's own.
 */
#ifndef SMCDU_ISM_PROTO_H
#define SMCDU_ISM_PROTO_H

#include "vfio/base/endian.h"

#define ISM_PCI_VENDOR	0x1014u
#define ISM_PCI_DEVICE	0x04edu
#define ISM_PFT		5u

#define ISM_PCIAS_MOVE	0u /* BAR 0: moves */
#define ISM_PCIAS_CMD	2u /* BAR 2: command area */

#define ISM_PAGE_SIZE	   4096u
#define ISM_NR_DMBS	   1920u /* SBA bits */
#define ISM_DMB_IDX_MIN	   32u	 /* 0..31 are left alone so that 64-bit scans start at SBA+8 */
#define ISM_NR_VLANS	   64u
#define ISM_RESERVED_VLAN  0x1FFFu
#define ISM_DMB_MIN_SIZE   (16u * 1024u)
#define ISM_DMB_MAX_SIZE   (1024u * 1024u)
#define ISM_OFFSET_BITS	   23u
#define ISM_RET_NO_ANSWER  0xFFFFu /* driver-side preset: the reply could not be read */

/* Address of a move: token | idx << 24 | sf << 23 | offset. */
#define ISM_MOVE_SF	   (UINT64_C(1) << 23)
#define ISM_MOVE_IDX_SHIFT 24u
#define ISM_MOVE_IDX_MAX   15u
#define ISM_MOVE_OFF_MASK  (ISM_MOVE_SF - 1)

enum ism_cmd {
	ISM_REG_SBA = 0x01,
	ISM_REG_IEQ = 0x02,
	ISM_READ_GID = 0x03,
	ISM_ADD_VLAN_ID = 0x04,
	ISM_DEL_VLAN_ID = 0x05,
	ISM_SET_VLAN = 0x06,   /* never issued by us or by Linux */
	ISM_RESET_VLAN = 0x07, /* likewise */
	ISM_QUERY_INFO = 0x08,
	ISM_QUERY_RGID = 0x09,
	ISM_REG_DMB = 0x0A,
	ISM_UNREG_DMB = 0x0B,
	ISM_SIGNAL_IEQ = 0x0E,
	ISM_UNREG_SBA = 0x11,
	ISM_UNREG_IEQ = 0x12,
};

struct ism_req_hdr {
	be32_t cmd;
	be16_t zero;
	be16_t len; /* header and body */
};

struct ism_resp_hdr {
	be32_t cmd;
	be16_t ret; /* 0: success */
	be16_t len;
};

struct ism_req_simple { /* READ_GID, QUERY_INFO, UNREG_SBA, UNREG_IEQ */
	struct ism_req_hdr hdr;
};

struct ism_req_reg_sba {
	struct ism_req_hdr hdr;
	be64_t sba;
};

struct ism_req_reg_ieq {
	struct ism_req_hdr hdr;
	be64_t ieq;
	be64_t len;
};

struct ism_resp_read_gid {
	struct ism_resp_hdr hdr;
	be64_t gid;
};

struct ism_req_vlan { /* ADD_VLAN_ID, DEL_VLAN_ID */
	struct ism_req_hdr hdr;
	be64_t vlan_id;
};

struct ism_resp_query_info {
	struct ism_resp_hdr hdr;
	be32_t version;
	be32_t max_len;
	be64_t ism_state;
	be64_t my_gid;
	be64_t sba;
	be64_t ieq;
	be32_t ieq_len;
	be32_t zero;
	be32_t dmbs_owned;
	be32_t dmbs_used;
	be32_t vlan_required;
	be32_t vlan_nr_ids;
	be16_t vlan_id[ISM_NR_VLANS];
};

struct ism_req_query_rgid {
	struct ism_req_hdr hdr;
	be64_t rgid;
	be32_t vlan_valid;
	be32_t vlan_id;
};

struct ism_req_reg_dmb {
	struct ism_req_hdr hdr;
	be64_t dmb;
	be32_t dmb_len;
	be32_t sba_idx;
	be32_t vlan_valid;
	be32_t vlan_id;
	be64_t rgid;
};

struct ism_resp_reg_dmb {
	struct ism_resp_hdr hdr;
	be64_t dmb_tok;
};

struct ism_req_unreg_dmb {
	struct ism_req_hdr hdr;
	be64_t dmb_tok;
};

struct ism_req_signal_ieq {
	struct ism_req_hdr hdr;
	be64_t rgid;
	be32_t trigger_irq;
	be32_t event_code;
	be64_t info;
};

_Static_assert(sizeof(struct ism_req_hdr) == 8, "header");
_Static_assert(sizeof(struct ism_req_reg_sba) == 16, "REG_SBA");
_Static_assert(sizeof(struct ism_req_reg_ieq) == 24, "REG_IEQ");
_Static_assert(sizeof(struct ism_resp_read_gid) == 16, "READ_GID");
_Static_assert(sizeof(struct ism_req_vlan) == 16, "ADD_VLAN_ID");
_Static_assert(sizeof(struct ism_resp_query_info) == 200, "QUERY_INFO");
_Static_assert(sizeof(struct ism_req_query_rgid) == 24, "QUERY_RGID");
_Static_assert(sizeof(struct ism_req_reg_dmb) == 40, "REG_DMB");
_Static_assert(sizeof(struct ism_resp_reg_dmb) == 16, "REG_DMB reply");
_Static_assert(sizeof(struct ism_req_signal_ieq) == 32, "SIGNAL_IEQ");

/* SBA: one page. Bit n of dmb_bits is byte 4 + n/8, mask 0x80 >> n%8. */
#define ISM_SBA_S	 0x80u /* byte 0: summary */
#define ISM_SBA_E	 0x40u /* byte 0: event */
#define ISM_SBA_BITS	 4u
#define ISM_SBA_SCAN	 8u    /* first aligned 64-bit word that is scanned: indexes 32.. */
#define ISM_SBA_WORDS	 30u
#define ISM_SBA_MASKS	 256u  /* be16 per index */
#define ISM_MASK_FIRST	 0x1000u /* mask for signal index 0, rotated right by the index */

/* IEQ: 512 bytes of one page. */
#define ISM_IEQ_LEN	 512u
#define ISM_IEQ_SLOTS	 15u
#define ISM_IEQ_ENTRY	 32u
#define ISM_IEQ_FIRST	 32u

enum ism_event_type {
	ISM_EVENT_BUF = 0, /* tok: DMB token */
	ISM_EVENT_DEV = 1, /* tok: GID */
	ISM_EVENT_SWR = 2, /* tok: sender's GID; code and info are the sender's */
};

enum ism_event_code { /* BUF and DEV */
	ISM_EV_GID_ERROR = 0x01,
	ISM_EV_OWNER_ERROR = 0x02,
	ISM_EV_USER_ERROR = 0x03,
	ISM_EV_DMB_UNREGISTERED = 0x04,
	ISM_EV_VLAN_OWNER = 0x05,
	ISM_EV_VLAN_USER = 0x06,
	ISM_EV_GID_DISABLED = 0x07,
	ISM_EV_USER_DISABLED = 0x08,
};

struct ism_ieq_entry {
	be32_t type;
	be32_t code;
	be64_t tok;
	be64_t time;
	be64_t info;
};

_Static_assert(sizeof(struct ism_ieq_entry) == ISM_IEQ_ENTRY, "IEQ entry");

#endif
