/* SPDX-License-Identifier: MIT */
#include "ism/cmd.h"

#include <errno.h>
#include <string.h>

#include "vfio/base/log.h"

#define HDR_LEN	  sizeof(struct ism_req_hdr)
#define REPLY_MAX sizeof(struct ism_resp_query_info)

int ism_port_error(struct ism_port *p, int err)
{
	if (err == -ENODEV || err == -ETIMEDOUT) {
		if (!p->gone)
			log_err("%s: the function is gone (%s)", p->name, strerror(-err));
		p->gone = true;
		return -ENODEV;
	}
	return err == 0 || err == -EPERM ? err : -EIO;
}

/* The body first, then the header that starts the command; one store each. */
static int submit(struct ism_port *p, const uint8_t *req, size_t len)
{
	const struct zpci_store v[2] = {
		{ .pcias = ISM_PCIAS_CMD, .offset = HDR_LEN, .data = req + HDR_LEN,
			.len = (uint16_t)(len - HDR_LEN) },
		{ .pcias = ISM_PCIAS_CMD, .offset = 0, .data = req, .len = HDR_LEN },
	};
	size_t first = len > HDR_LEN ? 0 : 1;
	size_t done;

	return zpci_store_blocks(p->z, v + first, 2 - first, &done);
}

union reply {
	struct ism_resp_hdr hdr;
	uint8_t bytes[REPLY_MAX];
};

/* What the header of a reply says: 0, the device's return code, or < 0. */
static int judge(struct ism_port *p, const union reply *reply, size_t resp_len)
{
	size_t len;

	if (be16_get(reply->hdr.ret) == ISM_RET_NO_ANSWER)
		return -EIO;
	if (be16_get(reply->hdr.ret))
		return be16_get(reply->hdr.ret);
	len = be16_get(reply->hdr.len);
	if (len >= resp_len && len <= REPLY_MAX && len % 8 == 0)
		return 0;
	log_warn("%s: the function answered with %zu bytes where %zu are due; its firmware does not "
		 "follow the protocol",
		p->name, len, resp_len);
	return -EIO;
}

/* 0, the device's return code, or < 0. A reply of another size than promised is no answer. */
static int fetch(struct ism_port *p, void *resp, size_t resp_len)
{
	union reply reply = { .hdr.ret = be16_of(ISM_RET_NO_ANSWER) };
	int r;

	r = zpci_load(p->z, ISM_PCIAS_CMD, 0, reply.bytes, HDR_LEN);
	if (r == 0)
		r = judge(p, &reply, resp_len);
	for (size_t at = HDR_LEN; r == 0 && at < resp_len; at += 8)
		r = zpci_load(p->z, ISM_PCIAS_CMD, at, reply.bytes + at, 8);
	if (r == 0)
		memcpy(resp, reply.bytes, resp_len);
	return r;
}

static struct zpci_step store_step(const uint8_t *req, size_t at, size_t len)
{
	return (struct zpci_step){ .s = { .pcias = ISM_PCIAS_CMD, .offset = at, .data = req + at,
		.len = (uint16_t)len } };
}

/* The steps of one command whose reply is read in any case. Their number. */
static size_t steps_of(struct zpci_step *v, const void *req, size_t req_len, union reply *reply,
	size_t resp_len)
{
	size_t n = 0;

	*reply = (union reply){ .hdr.ret = be16_of(ISM_RET_NO_ANSWER) };
	if (req_len > HDR_LEN)
		v[n++] = store_step(req, HDR_LEN, req_len - HDR_LEN);
	v[n++] = store_step(req, 0, HDR_LEN);
	for (size_t at = 0; at < resp_len; at += 8)
		v[n++] = (struct zpci_step){ .out = reply->bytes + at,
			.s = { .pcias = ISM_PCIAS_CMD, .offset = at, .len = 8 } };
	return n;
}

/*
 * Where requests travel together the reply is fetched with the command: one exchange instead of three
 * to six. What follows the header of an error's reply is not used.
 */
static int exchange(struct ism_port *p, const void *req, size_t req_len, void *resp, size_t resp_len)
{
	struct zpci_step v[2 + REPLY_MAX / 8];
	union reply reply;
	size_t n = steps_of(v, req, req_len, &reply, resp_len), done;
	int r = zpci_run(p->z, NULL, 0, v, n, &done);

	if (r == 0)
		r = judge(p, &reply, resp_len);
	if (r == 0)
		memcpy(resp, reply.bytes, resp_len);
	return r;
}

/* Counts, and tells the callers of the driver what it means. */
static int finish(struct ism_port *p, int r)
{
	p->counters.commands++;
	if (r < 0) {
		p->last_ret = ISM_RET_NO_ANSWER;
		p->counters.command_errors++;
		return ism_port_error(p, r);
	}
	if (r == 0)
		p->answered++;
	else
		p->last_ret = (uint16_t)r;
	return r;
}

static int gone(struct ism_port *p)
{
	p->last_ret = ISM_RET_NO_ANSWER;
	return -ENODEV;
}

int ism_execute(struct ism_port *p, const void *req, size_t req_len, void *resp, size_t resp_len)
{
	int r;

	if (p->gone)
		return gone(p);
	if (zpci_caps(p->z)->pipelined)
		return finish(p, exchange(p, req, req_len, resp, resp_len));
	r = submit(p, req, req_len);
	if (r == 0)
		r = fetch(p, resp, resp_len);
	return finish(p, r);
}

static struct ism_req_hdr header(enum ism_cmd cmd, size_t len)
{
	return (struct ism_req_hdr){
		.cmd = be32_of(cmd),
		.len = be16_of((uint16_t)len),
	};
}

/* A refusal is an error for every command but QUERY_RGID. */
static int settle(struct ism_port *p, const struct ism_req_hdr *hdr, int r)
{
	if (r <= 0)
		return r;
	p->counters.command_errors++;
	log_debug("%s: command 0x%02x refused with ret 0x%04x", p->name, be32_get(hdr->cmd),
		(unsigned int)r);
	return -EIO;
}

/* A command that is answered by a bare header; @hdr begins the request. */
static int run(struct ism_port *p, const struct ism_req_hdr *hdr, size_t len)
{
	struct ism_resp_hdr resp;

	return settle(p, hdr, ism_execute(p, hdr, len, &resp, sizeof(resp)));
}

static int run_simple(struct ism_port *p, enum ism_cmd cmd)
{
	const struct ism_req_simple req = { .hdr = header(cmd, sizeof(req)) };

	return run(p, &req.hdr, sizeof(req));
}

int ism_cmd_reg_sba(struct ism_port *p, uint64_t iova)
{
	const struct ism_req_reg_sba req = {
		.hdr = header(ISM_REG_SBA, sizeof(req)),
		.sba = be64_of(iova),
	};

	return run(p, &req.hdr, sizeof(req));
}

int ism_cmd_unreg_sba(struct ism_port *p)
{
	return run_simple(p, ISM_UNREG_SBA);
}

int ism_cmd_reg_ieq(struct ism_port *p, uint64_t iova)
{
	const struct ism_req_reg_ieq req = {
		.hdr = header(ISM_REG_IEQ, sizeof(req)),
		.ieq = be64_of(iova),
		.len = be64_of(ISM_IEQ_LEN),
	};

	return run(p, &req.hdr, sizeof(req));
}

int ism_cmd_unreg_ieq(struct ism_port *p)
{
	return run_simple(p, ISM_UNREG_IEQ);
}

int ism_cmd_read_gid(struct ism_port *p, uint64_t *gid)
{
	const struct ism_req_simple req = { .hdr = header(ISM_READ_GID, sizeof(req)) };
	struct ism_resp_read_gid resp;
	int r;

	r = settle(p, &req.hdr, ism_execute(p, &req, sizeof(req), &resp, sizeof(resp)));
	if (r == 0)
		*gid = be64_get(resp.gid);
	return r;
}

int ism_cmd_query_info(struct ism_port *p, struct ism_resp_query_info *info)
{
	const struct ism_req_simple req = { .hdr = header(ISM_QUERY_INFO, sizeof(req)) };

	return settle(p, &req.hdr, ism_execute(p, &req, sizeof(req), info, sizeof(*info)));
}

static int run_vlan(struct ism_port *p, enum ism_cmd cmd, uint16_t vlan)
{
	const struct ism_req_vlan req = {
		.hdr = header(cmd, sizeof(req)),
		.vlan_id = be64_of(vlan),
	};

	return run(p, &req.hdr, sizeof(req));
}

int ism_cmd_add_vlan(struct ism_port *p, uint16_t vlan)
{
	return run_vlan(p, ISM_ADD_VLAN_ID, vlan);
}

int ism_cmd_del_vlan(struct ism_port *p, uint16_t vlan)
{
	return run_vlan(p, ISM_DEL_VLAN_ID, vlan);
}

int ism_cmd_query_rgid(struct ism_port *p, uint64_t rgid, bool vlan_valid, uint16_t vlan)
{
	const struct ism_req_query_rgid req = {
		.hdr = header(ISM_QUERY_RGID, sizeof(req)),
		.rgid = be64_of(rgid),
		.vlan_valid = be32_of(vlan_valid),
		.vlan_id = be32_of(vlan),
	};
	struct ism_resp_hdr resp;
	int r;

	r = ism_execute(p, &req, sizeof(req), &resp, sizeof(resp));
	return r > 0 ? -ENETUNREACH : r;
}

static struct ism_req_reg_dmb reg_dmb_of(const struct ism_dmb *dmb, uint64_t iova)
{
	return (struct ism_req_reg_dmb){
		.hdr = header(ISM_REG_DMB, sizeof(struct ism_req_reg_dmb)),
		.dmb = be64_of(iova),
		.dmb_len = be32_of(dmb->size),
		.sba_idx = be32_of(dmb->idx),
		.rgid = be64_of(dmb->rgid),
	};
}

int ism_cmd_reg_dmb(struct ism_port *p, const struct ism_dmb *dmb, uint64_t *token)
{
	const struct ism_req_reg_dmb req = reg_dmb_of(dmb, dmb->iova);
	struct ism_resp_reg_dmb resp;
	int r;

	r = settle(p, &req.hdr, ism_execute(p, &req, sizeof(req), &resp, sizeof(resp)));
	if (r == 0)
		*token = be64_get(resp.dmb_tok);
	return r;
}

/* How many steps a registration takes: the request's two stores and the reply's loads. */
#define REG_STEPS (2 + sizeof(struct ism_resp_reg_dmb) / 8)

/* The result of the one whose steps end at @end, of which @done were executed, the next with @r. */
static void judge_reg(struct ism_port *p, struct ism_reg *g, const union reply *reply, size_t end,
	size_t done, int r)
{
	const struct ism_req_hdr hdr = header(ISM_REG_DMB, sizeof(struct ism_req_reg_dmb));
	int e = end <= done ? judge(p, reply, sizeof(struct ism_resp_reg_dmb)) : r;
	struct ism_resp_reg_dmb resp;

	/* Behind the one that failed, nothing was executed. */
	g->asked = g->mapped && end - REG_STEPS <= done;
	g->ret = p->gone ? -ENODEV : g->asked ? settle(p, &hdr, finish(p, e)) : -EIO;
	g->last_ret = p->gone ? ISM_RET_NO_ANSWER : p->last_ret;
	if (g->ret != 0)
		return;
	memcpy(&resp, reply->bytes, sizeof(resp));
	g->token = be64_get(resp.dmb_tok);
}

void ism_cmd_map_dmbs(struct ism_port *p, struct ism_reg *v, size_t n)
{
	struct zpci_step steps[REG_STEPS * ISM_REG_BATCH] = { 0 };
	struct ism_req_reg_dmb req[ISM_REG_BATCH];
	union reply reply[ISM_REG_BATCH];
	struct vfio_map map[ISM_REG_BATCH];
	size_t k = 0, done = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		struct ism_dmb *d = v[i].dmb;

		map[i] = (struct vfio_map){ .va = d->va, .len = d->size, .fd = d->fd };
		req[i] = reg_dmb_of(d, (uintptr_t)d->va);
		k += steps_of(steps + k, &req[i], sizeof(req[i]), &reply[i],
			sizeof(struct ism_resp_reg_dmb));
	}
	r = p->gone ? -ENODEV : zpci_run(p->z, map, n, steps, k, &done);
	for (size_t i = 0; i < n; i++) {
		v[i].mapped = map[i].done;
		if (v[i].mapped)
			v[i].dmb->iova = (uintptr_t)v[i].dmb->va;
	}
	for (size_t i = 0; i < n; i++) {
		v[i].asked = false;
		v[i].ret = r;
		v[i].last_ret = ISM_RET_NO_ANSWER;
		if (map[n - 1].done)
			judge_reg(p, &v[i], &reply[i], REG_STEPS * (i + 1), done, r);
	}
}

static struct ism_req_unreg_dmb unreg_dmb_of(uint64_t token)
{
	return (struct ism_req_unreg_dmb){
		.hdr = header(ISM_UNREG_DMB, sizeof(struct ism_req_unreg_dmb)),
		.dmb_tok = be64_of(token),
	};
}

int ism_cmd_unreg_dmb(struct ism_port *p, uint64_t token)
{
	const struct ism_req_unreg_dmb req = unreg_dmb_of(token);

	return run(p, &req.hdr, sizeof(req));
}

void ism_cmd_unreg_dmbs(struct ism_port *p, struct ism_unreg *u, size_t n)
{
	struct ism_req_unreg_dmb req[ISM_UNREG_BATCH];
	union reply reply[ISM_UNREG_BATCH];
	struct zpci_step v[3 * ISM_UNREG_BATCH] = { 0 };
	size_t steps = 0, done = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		req[i] = unreg_dmb_of(u[i].token);
		steps += steps_of(v + steps, &req[i], sizeof(req[i]), &reply[i],
			sizeof(struct ism_resp_hdr));
	}
	r = p->gone ? -ENODEV : zpci_run(p->z, NULL, 0, v, steps, &done);
	for (size_t i = 0; i < n; i++) {
		int e = 3 * (i + 1) <= done ? judge(p, &reply[i], sizeof(struct ism_resp_hdr)) : r;

		/* Behind the one that failed, nothing was executed. */
		u[i].asked = 3 * i <= done;
		u[i].ret = p->gone || !u[i].asked ? -ENODEV : settle(p, &req[i].hdr, finish(p, e));
		u[i].last_ret = p->gone ? ISM_RET_NO_ANSWER : p->last_ret;
	}
}

int ism_cmd_signal_ieq(struct ism_port *p, uint64_t rgid, uint32_t code, uint64_t info)
{
	const struct ism_req_signal_ieq req = {
		.hdr = header(ISM_SIGNAL_IEQ, sizeof(req)),
		.rgid = be64_of(rgid),
		.trigger_irq = be32_of(1),
		.event_code = be32_of(code),
		.info = be64_of(info),
	};

	return run(p, &req.hdr, sizeof(req));
}
