/* SPDX-License-Identifier: MIT */
/*
 * cmd.h - the command area of one function
 *
 * A command is the body's store, the header's store (which starts it), and loads of the reply, all
 * synchronous. The area is one shared mailbox that keeps the previous reply until the next header
 * store, so execution stops at the first failing store: what is read after it would be the answer
 * to something else.
 *
 * A port belongs to one thread. Once the function is gone, nothing more is submitted.
 */
#ifndef SMCDU_ISM_CMD_H
#define SMCDU_ISM_CMD_H

#include "ism/ism.h"
#include "ism/proto.h"

struct ism_port {
	struct zpci *z;
	const char *name;
	struct ism_counters counters;
	uint64_t answered; /* commands that the device answered with ret 0 */
	uint16_t last_ret;
	bool gone;
};

/*
 * What an error of the door means to the driver's callers: a door that timed out never answers
 * again, so the function is gone; everything that is not theirs to tell apart is -EIO.
 */
int ism_port_error(struct ism_port *p, int err);

/*
 * Executes the command whose header begins @req (@req_len bytes, 8..40) and reads @resp_len bytes
 * (8..sizeof(struct ism_resp_query_info), a multiple of 8) of the reply into @resp, which is
 * touched only on success. 0 · the device's return code, 1..0xFFFE · -EIO no usable answer
 * (ism_last_ret() is 0xFFFF) · -ENODEV.
 */
int ism_execute(struct ism_port *p, const void *req, size_t req_len, void *resp, size_t resp_len);

/* Each: 0 · -EIO (last_ret says why) · -ENODEV. Outputs are untouched on failure. */
int ism_cmd_reg_sba(struct ism_port *p, uint64_t iova);
int ism_cmd_unreg_sba(struct ism_port *p);
int ism_cmd_reg_ieq(struct ism_port *p, uint64_t iova);
int ism_cmd_unreg_ieq(struct ism_port *p);
int ism_cmd_read_gid(struct ism_port *p, uint64_t *gid);
int ism_cmd_query_info(struct ism_port *p, struct ism_resp_query_info *info);
int ism_cmd_add_vlan(struct ism_port *p, uint16_t vlan);
int ism_cmd_del_vlan(struct ism_port *p, uint16_t vlan);
/* As ism_query_remote_gid(). */
int ism_cmd_query_rgid(struct ism_port *p, uint64_t rgid, bool vlan_valid, uint16_t vlan);
int ism_cmd_reg_dmb(struct ism_port *p, const struct ism_dmb *dmb, uint64_t *token);
int ism_cmd_unreg_dmb(struct ism_port *p, uint64_t token);

/*
 * The same where requests travel together (caps.pipelined). Maps the memory of up to ISM_REG_BATCH DMBs
 * and registers them, or unregisters up to ISM_UNREG_BATCH: each has a result as above, and last_ret with
 * it. One that was not even asked for, because one before it failed, is what it was, but perhaps mapped;
 * where not all are mapped the door's error is the result of all, and none was asked for.
 */
#define ISM_REG_BATCH	16u
#define ISM_UNREG_BATCH 16u

struct ism_reg {
	struct ism_dmb *dmb;
	uint64_t token; /* if ret is 0 */
	int ret;
	uint16_t last_ret;
	bool mapped;
	bool asked;
};

struct ism_unreg {
	uint64_t token;
	int ret;
	uint16_t last_ret;
	bool asked;
};

void ism_cmd_map_dmbs(struct ism_port *p, struct ism_reg *v, size_t n);
void ism_cmd_unreg_dmbs(struct ism_port *p, struct ism_unreg *u, size_t n);

int ism_cmd_signal_ieq(struct ism_port *p, uint64_t rgid, uint32_t code, uint64_t info);

#endif
