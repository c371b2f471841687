/* SPDX-License-Identifier: MIT */
#include "ism/model/command.h"

#include <errno.h>
#include <string.h>

#include "ism/model/dmb.h"
#include "ism/model/function.h"
#include "ism/model/notify.h"

#define HDR_LEN	      sizeof(struct ism_req_hdr)
#define IEQ_LEN_MAX   ISM_PAGE_SIZE
#define STATE_SBA     1u /* QUERY_INFO.ism_state: this model's own bits */
#define STATE_IEQ     2u

union request {
	struct ism_req_hdr hdr;
	struct ism_req_reg_sba sba;
	struct ism_req_reg_ieq ieq;
	struct ism_req_vlan vlan;
	struct ism_req_query_rgid rgid;
	struct ism_req_reg_dmb dmb;
	struct ism_req_unreg_dmb unreg;
	struct ism_req_signal_ieq signal;
	uint8_t bytes[40];
};

union response {
	struct ism_resp_hdr hdr;
	struct ism_resp_read_gid gid;
	struct ism_resp_query_info info;
	struct ism_resp_reg_dmb dmb;
};

static uint16_t ret_of(const struct function *fn, enum knob_id id)
{
	return (uint16_t)fabric_knob(fn->fabric, id);
}

static uint16_t reg_sba(struct function *fn, const union request *req, union response *resp)
{
	uint64_t iova = be64_get(req->sba.sba);
	uint8_t *page;

	if (fn->sba)
		return ret_of(fn, KNOB_ret_state);
	page = iova % ISM_PAGE_SIZE ? NULL : function_memory(fn, iova, ISM_PAGE_SIZE);
	if (!page)
		return ret_of(fn, KNOB_ret_address);
	fn->sba = page;
	fn->sba_iova = iova;
	attach_review(fn->fabric);
	return 0;
}

static uint16_t unreg_sba(struct function *fn, const union request *req, union response *resp)
{
	if (!fn->sba)
		return ret_of(fn, KNOB_ret_state);
	fn->sba = NULL;
	attach_review(fn->fabric);
	return 0;
}

static bool ieq_len_ok(const struct function *fn, uint64_t len)
{
	if (!fabric_knob(fn->fabric, KNOB_ieq_any_len))
		return len == ISM_IEQ_LEN;
	return len >= 2 * ISM_IEQ_ENTRY && len <= IEQ_LEN_MAX && !(len % ISM_IEQ_ENTRY);
}

static uint16_t reg_ieq(struct function *fn, const union request *req, union response *resp)
{
	uint64_t iova = be64_get(req->ieq.ieq);
	uint64_t len = be64_get(req->ieq.len);
	uint8_t *page;

	if (fn->ieq)
		return ret_of(fn, KNOB_ret_state);
	if (!ieq_len_ok(fn, len))
		return ret_of(fn, KNOB_ret_size);
	page = iova % ISM_PAGE_SIZE ? NULL : function_memory(fn, iova, len);
	if (!page)
		return ret_of(fn, KNOB_ret_address);
	fn->ieq = page;
	fn->ieq_iova = iova;
	fn->ieq_len = (uint32_t)len;
	notify_ieq_init(fn);
	return 0;
}

static uint16_t unreg_ieq(struct function *fn, const union request *req, union response *resp)
{
	if (!fn->ieq)
		return ret_of(fn, KNOB_ret_state);
	fn->ieq = NULL;
	return 0;
}

static uint16_t read_gid(struct function *fn, const union request *req, union response *resp)
{
	resp->gid.gid = be64_of(fn->gid);
	return 0;
}

static bool vlan_ok(const struct function *fn, uint64_t vlan)
{
	if (vlan == ISM_RESERVED_VLAN)
		return fabric_knob(fn->fabric, KNOB_vlan_1fff);
	return vlan >= 1 && vlan <= 4094;
}

static uint16_t add_vlan(struct function *fn, const union request *req, union response *resp)
{
	uint64_t vlan = be64_get(req->vlan.vlan_id);

	if (!vlan_ok(fn, vlan) || function_has_vlan(fn, (uint32_t)vlan))
		return ret_of(fn, KNOB_ret_vlan);
	if (fn->num_vlans == ISM_NR_VLANS)
		return ret_of(fn, KNOB_ret_limit);
	fn->vlan[fn->num_vlans++] = (uint16_t)vlan;
	attach_review(fn->fabric);
	return 0;
}

/* DMBs that are bound to a VLAN their owner or writer just left cannot be written any more. */
static void tell_vlan_left(struct function *fn, uint16_t vlan)
{
	struct dmb *d;

	for (d = fn->owned; d; d = d->next) {
		if (d->vlan_valid && d->vlan_id == vlan && d->writer)
			notify_event(d->writer, ISM_EVENT_BUF, ISM_EV_VLAN_OWNER, d->token, 0,
				true);
	}
	for (d = fn->writes; d; d = d->wnext) {
		if (d->vlan_valid && d->vlan_id == vlan)
			notify_event(d->owner, ISM_EVENT_BUF, ISM_EV_VLAN_USER, d->token, 0, true);
	}
}

static uint16_t del_vlan(struct function *fn, const union request *req, union response *resp)
{
	uint64_t vlan = be64_get(req->vlan.vlan_id);
	unsigned int i;

	for (i = 0; i < fn->num_vlans; i++) {
		if (fn->vlan[i] != vlan)
			continue;
		fn->vlan[i] = fn->vlan[--fn->num_vlans];
		attach_review(fn->fabric);
		tell_vlan_left(fn, (uint16_t)vlan);
		return 0;
	}
	return ret_of(fn, KNOB_ret_vlan);
}

static uint16_t set_vlan(struct function *fn, const union request *req, union response *resp)
{
	return fabric_knob(fn->fabric, KNOB_vlan_set) ? 0 : ret_of(fn, KNOB_ret_command);
}

static uint16_t query_info(struct function *fn, const union request *req, union response *resp)
{
	struct ism_resp_query_info *q = &resp->info;
	unsigned int i;

	q->version = be32_of((uint32_t)fabric_knob(fn->fabric, KNOB_info_version));
	q->max_len = be32_of((uint32_t)fabric_knob(fn->fabric, KNOB_dmb_max));
	q->ism_state = be64_of((fn->sba ? STATE_SBA : 0) | (fn->ieq ? STATE_IEQ : 0));
	q->my_gid = be64_of(fn->gid);
	q->sba = be64_of(fn->sba ? fn->sba_iova : 0);
	q->ieq = be64_of(fn->ieq ? fn->ieq_iova : 0);
	q->ieq_len = be32_of(fn->ieq ? fn->ieq_len : 0);
	q->dmbs_owned = be32_of(fn->num_owned);
	q->dmbs_used = be32_of(fn->num_writes);
	q->vlan_required = be32_of((uint32_t)fabric_knob(fn->fabric, KNOB_vlan_required));
	q->vlan_nr_ids = be32_of(fn->num_vlans);
	for (i = 0; i < fn->num_vlans; i++)
		q->vlan_id[i] = be16_of(fn->vlan[i]);
	return 0;
}

static uint16_t query_rgid(struct function *fn, const union request *req, union response *resp)
{
	struct function *peer = fabric_by_gid(fn->fabric, be64_get(req->rgid.rgid));
	uint32_t vlan = be32_get(req->rgid.vlan_id);

	fn->stall_ms += fabric_knob(fn->fabric, KNOB_query_rgid_delay_ms);
	if (!peer || !function_enabled(peer) || !function_alive(peer))
		return ret_of(fn, KNOB_ret_gid);
	if (be32_get(req->rgid.vlan_valid) &&
		(!function_has_vlan(fn, vlan) || !function_has_vlan(peer, vlan)))
		return ret_of(fn, KNOB_ret_vlan);
	return 0;
}

static uint16_t reg_dmb(struct function *fn, const union request *req, union response *resp)
{
	struct dmb_request want = {
		.iova = be64_get(req->dmb.dmb),
		.len = be32_get(req->dmb.dmb_len),
		.idx = be32_get(req->dmb.sba_idx),
		.vlan_valid = be32_get(req->dmb.vlan_valid) != 0,
		.vlan_id = be32_get(req->dmb.vlan_id),
		.rgid = be64_get(req->dmb.rgid),
	};
	uint64_t token;
	uint16_t ret = dmb_register(fn, &want, &token);

	if (!ret)
		resp->dmb.dmb_tok = be64_of(token);
	return ret;
}

static uint16_t unreg_dmb(struct function *fn, const union request *req, union response *resp)
{
	return dmb_unregister(fn, be64_get(req->unreg.dmb_tok));
}

static uint16_t signal_ieq(struct function *fn, const union request *req, union response *resp)
{
	struct function *peer = fabric_by_gid(fn->fabric, be64_get(req->signal.rgid));

	if (!peer || !function_enabled(peer) || !function_alive(peer))
		return ret_of(fn, KNOB_ret_gid);
	notify_event(peer, ISM_EVENT_SWR, be32_get(req->signal.event_code), fn->gid,
		be64_get(req->signal.info), be32_get(req->signal.trigger_irq) != 0);
	return 0;
}

static const struct command {
	uint16_t (*run)(struct function *fn, const union request *req, union response *resp);
	uint16_t req_len; /* 0: any */
	uint16_t resp_len;
} commands[] = {
	[ISM_REG_SBA] = { reg_sba, 16, 8 },
	[ISM_REG_IEQ] = { reg_ieq, 24, 8 },
	[ISM_READ_GID] = { read_gid, 8, 16 },
	[ISM_ADD_VLAN_ID] = { add_vlan, 16, 8 },
	[ISM_DEL_VLAN_ID] = { del_vlan, 16, 8 },
	[ISM_SET_VLAN] = { set_vlan, 0, 8 },
	[ISM_RESET_VLAN] = { set_vlan, 0, 8 },
	[ISM_QUERY_INFO] = { query_info, 8, 200 },
	[ISM_QUERY_RGID] = { query_rgid, 24, 8 },
	[ISM_REG_DMB] = { reg_dmb, 40, 16 },
	[ISM_UNREG_DMB] = { unreg_dmb, 16, 8 },
	[ISM_SIGNAL_IEQ] = { signal_ieq, 32, 8 },
	[ISM_UNREG_SBA] = { unreg_sba, 8, 8 },
	[ISM_UNREG_IEQ] = { unreg_ieq, 8, 8 },
};

static uint16_t run(struct function *fn, const union request *req, size_t body_len,
	union response *resp, uint16_t *resp_len)
{
	uint32_t cmd = be32_get(req->hdr.cmd);
	uint16_t len = be16_get(req->hdr.len);
	const struct command *c;

	if (cmd >= sizeof(commands) / sizeof(commands[0]) || !commands[cmd].run)
		return ret_of(fn, KNOB_ret_command);
	c = &commands[cmd];
	if (fault_take(&fn->faults.fail_commands))
		return fn->faults.fail_ret;
	if (c->req_len && (len != c->req_len || body_len < len - HDR_LEN))
		return ret_of(fn, KNOB_ret_length);
	*resp_len = c->resp_len;
	return c->run(fn, req, resp);
}

/* The header, just stored, and the body latched before it: one command. */
static void execute(struct function *fn, const void *hdr)
{
	union request req;
	union response resp;
	uint16_t resp_len = 0, ret;

	memset(&req, 0, sizeof(req));
	memset(&resp, 0, sizeof(resp));
	memcpy(req.bytes, hdr, HDR_LEN);
	memcpy(req.bytes + HDR_LEN, fn->body, sizeof(req) - HDR_LEN);
	ret = run(fn, &req, fn->body_len, &resp, &resp_len);
	if (ret) {
		memset(&resp, 0, sizeof(resp));
		resp_len = sizeof(resp.hdr);
		fn->count.command_errors++;
	}
	fn->count.commands++;
	if (!fabric_knob(fn->fabric, KNOB_stale_body))
		fn->body_len = 0;
	if (fabric_knob(fn->fabric, KNOB_echo_cmd))
		resp.hdr.cmd = req.hdr.cmd;
	resp.hdr.ret = be16_of(ret);
	resp.hdr.len = be16_of(resp_len);
	memset(fn->reply, 0, sizeof(fn->reply));
	memcpy(fn->reply, &resp, resp_len);
	fn->stall_ms += fabric_knob(fn->fabric, KNOB_command_delay_ms);
}

/*
 * A body grows without holes from offset 8; a store there begins a new one. It may be anything the
 * driver still changes, so it is only judged once it is latched.
 */
static int latch(struct function *fn, uint64_t offset, const void *data, size_t len)
{
	size_t at = (size_t)(offset - HDR_LEN);

	if (at && !fabric_knob(fn->fabric, KNOB_split_body))
		return -EIO;
	if (at > fn->body_len)
		return -EIO;
	memcpy(fn->body + at, data, len);
	fn->body_len = (uint32_t)(at + len);
	return 0;
}

int command_store(struct function *fn, uint64_t offset, const void *data, size_t len)
{
	if (offset >= FUNCTION_AREA || len > FUNCTION_AREA - offset)
		return -EIO;
	if (offset >= HDR_LEN)
		return latch(fn, offset, data, len);
	if (offset || len != HDR_LEN)
		return -EIO;
	execute(fn, data);
	return 0;
}

uint64_t command_load(const struct function *fn, uint64_t offset, size_t len)
{
	uint64_t value = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		uint64_t at = offset + i;

		value = value << 8 | (at < FUNCTION_AREA ? fn->reply[at] : 0);
	}
	return value;
}
