/* SPDX-License-Identifier: MIT */
/*
 * Sizes and offsets of everything that another program reads or writes, at compile time: a second
 * opinion on the numbers of clc_wire.h, cdc.h and rdv.h by structures of bytes, and on what the
 * compiler made of the structures that the code uses.
 */
#include <stddef.h>
#include <stdint.h>

#include "include/zpci-io.h"
#include "ism/attach.h"
#include "ism/proto.h"
#include "smcd/ipc/chan.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/clc_wire.h"
#include "smcd/proto/rdv.h"
#include "vfio/user/proto.h"

#define AT(type, member, offset) \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member)
#define SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

/* ---- CLC ------------------------------------------------------------------------------------- */

struct w_hdr {
	uint8_t eye[4], type, length[2], version;
};
SIZE(w_hdr, 8);
AT(w_hdr, type, CLC_TYPE);
AT(w_hdr, length, CLC_LENGTH);
AT(w_hdr, version, CLC_VERSION);
SIZE(w_hdr, CLC_HDR_LEN);

struct w_proposal {
	struct w_hdr hdr;
	uint8_t peer_id[8], roce_gid[16], mac[6], iparea_offset[2];
	uint8_t ism_gid[8], ism_chid[2], v2ext_offset[2];
	uint8_t vendor_oui[3], vendor_options[5], reserved[20];
};
SIZE(w_proposal, 80);
AT(w_proposal, peer_id, 8);
AT(w_proposal, roce_gid, 16);
AT(w_proposal, mac, 32);
AT(w_proposal, iparea_offset, 38);
AT(w_proposal, iparea_offset, CLC_P_IPAREA_OFF);
AT(w_proposal, ism_gid, 40);
AT(w_proposal, ism_gid, CLC_P_SMCD);
AT(w_proposal, ism_chid, 48);
AT(w_proposal, v2ext_offset, 50);
AT(w_proposal, v2ext_offset, CLC_P_V2EXT_OFF);
AT(w_proposal, vendor_oui, 52);
AT(w_proposal, vendor_oui, CLC_P_V2EXT_BASE);
AT(w_proposal, vendor_options, 55);
AT(w_proposal, reserved, 60);
SIZE(w_proposal, CLC_P_FIXED_LEN);
_Static_assert(CLC_P_FIXED_LEN - CLC_P_SMCD == CLC_P_SMCD_LEN, "SMC-D area");

struct w_prefixes {
	uint8_t subnet[4], mask_bits, reserved[2], ipv6_count;
};
SIZE(w_prefixes, 8);
SIZE(w_prefixes, CLC_PFX_FIXED_LEN);
AT(w_prefixes, ipv6_count, CLC_PFX_COUNT);

struct w_prefix {
	uint8_t prefix[16], len;
};
SIZE(w_prefix, CLC_PFX_LEN);

struct w_v2ext {
	uint8_t nr_eid, nr_gid, reserved, release, reserved2[2], d2ext_offset[2];
	uint8_t roce_gid[16], max_conns, max_links, features[2], reserved3[12];
};
SIZE(w_v2ext, 40);
AT(w_v2ext, nr_eid, CLC_V2_NR_UEID);
AT(w_v2ext, nr_gid, CLC_V2_NR_GID);
AT(w_v2ext, release, CLC_V2_RELEASE);
AT(w_v2ext, d2ext_offset, CLC_V2_DEXT_OFF);
AT(w_v2ext, roce_gid, CLC_V2_DEXT_BASE);
AT(w_v2ext, max_conns, 24);
AT(w_v2ext, max_links, 25);
AT(w_v2ext, features, 26);
AT(w_v2ext, features, CLC_V2_FEATURES);
AT(w_v2ext, reserved3, 28);
SIZE(w_v2ext, CLC_V2_FIXED_LEN);
SIZE(w_v2ext, CLC_V2_UEIDS);

struct w_d2ext {
	uint8_t seid[32], reserved[16];
};
SIZE(w_d2ext, 48);
AT(w_d2ext, seid, CLC_D2_SEID);
SIZE(w_d2ext, CLC_D2_FIXED_LEN);
SIZE(w_d2ext, CLC_D2_GIDS);

struct w_gid {
	uint8_t gid[8], chid[2];
};
SIZE(w_gid, CLC_GID_ENTRY);
_Static_assert(sizeof(struct w_proposal) + sizeof(struct w_prefixes) +
	8 * sizeof(struct w_prefix) + sizeof(struct w_v2ext) + 8 * CLC_EID_LEN +
	sizeof(struct w_d2ext) + 8 * sizeof(struct w_gid) + 4 == CLC_MAX_LEN, "longest Proposal");

struct w_accept {
	struct w_hdr hdr;
	uint8_t gid[8], token[8], dmbe_idx, size_code, reserved[2], link_id[4];
	uint8_t chid[2], eid[32], gid_ext[8];
};
SIZE(w_accept, 74);
AT(w_accept, gid, 8);
AT(w_accept, gid, CLC_A_GID);
AT(w_accept, token, 16);
AT(w_accept, token, CLC_A_TOKEN);
AT(w_accept, dmbe_idx, 24);
AT(w_accept, dmbe_idx, CLC_A_IDX);
AT(w_accept, size_code, CLC_A_SIZE);
AT(w_accept, link_id, 28);
AT(w_accept, link_id, CLC_A_LGR);
AT(w_accept, chid, 32);
AT(w_accept, chid, CLC_A_CHID);
AT(w_accept, eid, 34);
AT(w_accept, eid, CLC_A_EID);
AT(w_accept, gid_ext, 66);
AT(w_accept, gid_ext, CLC_A_GID_EXT);
SIZE(w_accept, CLC_A_FCE);
_Static_assert(offsetof(struct w_accept, chid) + 12 + 4 == CLC_A_V1_LEN, "v1 Accept");
_Static_assert(sizeof(struct w_accept) + 4 == CLC_A_V2_LEN, "v2 Accept");

struct w_fce {
	uint8_t flags, release, reserved[2], host[32]; /* release 0 ends here */
	uint8_t max_conns, max_links, features[2], vendor[4], reserved2[8];
};
SIZE(w_fce, 52);
AT(w_fce, release, CLC_FCE_RELEASE);
AT(w_fce, host, CLC_FCE_HOST);
AT(w_fce, max_conns, CLC_FCE_LEN_R0);
AT(w_fce, features, 38);
AT(w_fce, features, CLC_FCE_FEATURES);
AT(w_fce, vendor, 40);
AT(w_fce, reserved2, 44);
SIZE(w_fce, CLC_FCE_LEN_R1);
_Static_assert(CLC_A_V2_LEN + CLC_FCE_LEN_R0 == 114, "first contact, release 0");
_Static_assert(CLC_A_V2_LEN + CLC_FCE_LEN_R1 == 130, "first contact, release 1");

struct w_decline {
	struct w_hdr hdr;
	uint8_t peer_id[8], diag[4], os, reserved[3], trailer_v1[4];
};
SIZE(w_decline, CLC_D_V1_LEN);
AT(w_decline, diag, 16);
AT(w_decline, diag, CLC_D_DIAG);
AT(w_decline, os, 20);
AT(w_decline, os, CLC_D_OS);
AT(w_decline, trailer_v1, 24);
_Static_assert(offsetof(struct w_decline, trailer_v1) + 16 + 4 == CLC_D_V2_LEN, "v2 Decline");

/* ---- CDC block, rendezvous records ----------------------------------------------------------- */

struct w_cdc {
	uint8_t type, reserved[7];
	uint8_t prod_wrap[2], prod_count[4], reserved2[2];
	uint8_t cons_wrap[2], cons_count[4], prod_flags, conn_flags;
	uint8_t reserved3[8];
};
SIZE(w_cdc, 32);
AT(w_cdc, prod_wrap, 8);
AT(w_cdc, prod_wrap, CDC_PROD_WORD);
AT(w_cdc, prod_count, 10);
AT(w_cdc, cons_wrap, 16);
AT(w_cdc, cons_wrap, CDC_CONS_WORD);
AT(w_cdc, cons_count, 18);
AT(w_cdc, prod_flags, 22);
AT(w_cdc, conn_flags, 23);
SIZE(w_cdc, CDC_SIZE);

struct w_record {
	uint8_t magic[4], type[2], length[2], src[4], dst[4], port[2], reserved[2];
};
SIZE(w_record, RDV_HDR_LEN);
AT(w_record, src, 8);
AT(w_record, dst, 12);
AT(w_record, port, 16);

/* ---- ISM function ---------------------------------------------------------------------------- */

SIZE(ism_req_simple, 8);
SIZE(ism_req_unreg_dmb, 16);
AT(ism_req_hdr, zero, 4);
AT(ism_req_hdr, len, 6);
AT(ism_resp_hdr, ret, 4);
AT(ism_resp_hdr, len, 6);
AT(ism_req_reg_sba, sba, 8);
AT(ism_req_reg_ieq, ieq, 8);
AT(ism_req_reg_ieq, len, 16);
AT(ism_resp_read_gid, gid, 8);
AT(ism_req_vlan, vlan_id, 8);
AT(ism_resp_query_info, version, 8);
AT(ism_resp_query_info, max_len, 12);
AT(ism_resp_query_info, ism_state, 16);
AT(ism_resp_query_info, my_gid, 24);
AT(ism_resp_query_info, sba, 32);
AT(ism_resp_query_info, ieq, 40);
AT(ism_resp_query_info, ieq_len, 48);
AT(ism_resp_query_info, dmbs_owned, 56);
AT(ism_resp_query_info, dmbs_used, 60);
AT(ism_resp_query_info, vlan_required, 64);
AT(ism_resp_query_info, vlan_nr_ids, 68);
AT(ism_resp_query_info, vlan_id, 72);
AT(ism_req_query_rgid, rgid, 8);
AT(ism_req_query_rgid, vlan_valid, 16);
AT(ism_req_query_rgid, vlan_id, 20);
AT(ism_req_reg_dmb, dmb, 8);
AT(ism_req_reg_dmb, dmb_len, 16);
AT(ism_req_reg_dmb, sba_idx, 20);
AT(ism_req_reg_dmb, vlan_valid, 24);
AT(ism_req_reg_dmb, vlan_id, 28);
AT(ism_req_reg_dmb, rgid, 32);
AT(ism_resp_reg_dmb, dmb_tok, 8);
AT(ism_req_unreg_dmb, dmb_tok, 8);
AT(ism_req_signal_ieq, rgid, 8);
AT(ism_req_signal_ieq, trigger_irq, 16);
AT(ism_req_signal_ieq, event_code, 20);
AT(ism_req_signal_ieq, info, 24);
AT(ism_ieq_entry, code, 4);
AT(ism_ieq_entry, tok, 8);
AT(ism_ieq_entry, time, 16);
AT(ism_ieq_entry, info, 24);
SIZE(attach_msg, 40);
AT(attach_msg, token, 8);
AT(attach_msg, key, 16);
AT(attach_msg, slot, 24);
AT(attach_msg, len, 28);
AT(attach_msg, idx, 32);
AT(attach_msg, error, 36);
AT(attach_gate, slot, 32);
SIZE(attach_hand, 24);
AT(attach_hand, idx, 4);
AT(attach_hand, token, 8);
AT(attach_hand, len, 16);
AT(attach_hand, use, 20);
AT(attach_bell, asleep, 4);
AT(attach_bell, bits, 16);
AT(attach_bell, mask, 256);

/* ---- zPCI I/O region and vfio-user ----------------------------------------------------------- */

AT(zpci_io_hdr, max, 8);
AT(zpci_io_req, gaddr, 8);
AT(zpci_io_req, offset, 16);
AT(zpci_io_req, reserved, 24);
AT(zpci_io_req, len, 28);
AT(zpci_io_req, pcias, 30);
AT(zpci_io_region, req, ZPCI_IO_REQ_OFFSET);
SIZE(zpci_io_region, ZPCI_IO_REGION_SIZE);
AT(vu_hdr, command, 2);
AT(vu_hdr, size, 4);
AT(vu_hdr, flags, 8);
AT(vu_hdr, error, 12);
SIZE(vu_version, 4);
AT(vu_dma_map, offset, 8);
AT(vu_dma_map, addr, 16);
AT(vu_dma_map, size, 24);
AT(vu_dma_unmap, addr, 8);
AT(vu_dma_unmap, size, 16);
AT(vu_device_info, num_regions, 8);
AT(vu_device_info, num_irqs, 12);
AT(vu_device_info_ext, cap_offset, 16);
AT(vu_region_info, index, 8);
AT(vu_region_info, cap_offset, 12);
AT(vu_region_info, size, 16);
AT(vu_region_info, offset, 24);
AT(vu_irq_info, index, 8);
AT(vu_irq_info, count, 12);
AT(vu_irq_set, index, 8);
AT(vu_irq_set, start, 12);
AT(vu_irq_set, count, 16);
AT(vu_region_access, region, 8);
AT(vu_region_access, count, 12);

/* ---- application and daemon ------------------------------------------------------------------ */

AT(chan_ctl, tx_pos, 0);
AT(chan_ctl, rx_pos, 8);
AT(chan_ctl, app_flags, 16);
AT(chan_ctl, app_wait, 20);
AT(chan_ctl, tx_urg, 24);
AT(chan_ctl, bell, 64); /* the daemon's words have a cache line of their own */
AT(chan_ctl, state, 68);
AT(chan_ctl, error, 72);
AT(chan_ctl, tx_sent, 80);
AT(chan_ctl, pcistb, 88);
AT(chan_ctl, cdc_tx, 96);
AT(chan_ctl, rx_told, 104);
AT(chan_ctl, bounced, 112);
AT(chan_ctl, rx_urg, 120);
AT(chan_block, prod, 8);
AT(chan_block, cons, 16);
AT(chan_block, wait, 24);
AT(chan_block, cpu, 28);
AT(chan_block, way, 30);
AT(ipc_hdr, version, 4);
AT(ipc_hdr, type, 6);
AT(ipc_connect, peer, 8);
AT(ipc_connect, service, 72);
AT(ipc_connect, rcvbuf, 136);
AT(ipc_connect, timeout_ms, 140);
AT(ipc_connect, path, 144);
AT(ipc_listen, service, 8);
AT(ipc_listen, backlog, 72);
AT(ipc_listen, rcvbuf, 76);
AT(ipc_listen, path, 80);
AT(ipc_query, what, 8);
SIZE(ipc_simple, 8);
AT(ipc_error, error, 8);
AT(ipc_error, diag, 12);
AT(ipc_error, text, 16);
AT(ipc_channel, id, 8);
AT(ipc_channel, local_gid, 16);
AT(ipc_channel, peer_gid, 24);
AT(ipc_channel, rx_size, 32);
AT(ipc_channel, tx_size, 36);
AT(ipc_channel, order, 40);
AT(ipc_channel, path, 44);
AT(ipc_channel, port, 48);
AT(ipc_channel, on, 52);
AT(ipc_channel, slot, 56);
AT(ipc_channel, kept, 60);
AT(ipc_channel, peer, 72);
AT(ipc_channel, service, 136);
AT(ipc_listening, port, 8);
SIZE(ipc_listening, 16);
SIZE(ipc_query, 16);
SIZE(ipc_capture, 16);
AT(ipc_capture, what, 8);
AT(ipc_record, time_ns, 8);
AT(ipc_record, dropped, 16);
AT(ipc_record, local_gid, 24);
AT(ipc_record, peer_gid, 32);
AT(ipc_record, client_conn, 40);
AT(ipc_record, what, 44);
AT(ipc_record, chid, 48);
AT(ipc_record, port, 50);
AT(ipc_record, out, 52);
AT(ipc_record, server, 53);
AT(ipc_record, order, 54);
AT(ipc_record, len, 56);
AT(ipc_record, data, 58);
