/* SPDX-License-Identifier: MIT */
#include "smcd/netlink/smc.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include <linux/smc.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>

#include "smcd/netlink/genl.h"
#include "smcd/netlink/view.h"
#include "smcd/proto/clc.h"

#define TEXT_MAX 64u

/* Attributes that are younger than the oldest kernel headers we build with. */
enum {
	LGR_D_EXT_GID = 10,
	LGR_D_PEER_EXT_GID = 11,
	LGR_D_SNDBUF = 12,
	LGR_D_DMB = 13,
	LGR_D_MAX = 13,
};

/* ---- attributes ------------------------------------------------------------------------------ */

/* The number in an attribute of whatever width. */
static bool number(struct nlattr *a, uint64_t *ret)
{
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
	} v;

	if (!a || nla_len(a) > (int)sizeof(v))
		return false;
	memcpy(&v, nla_data(a), (size_t)nla_len(a));
	switch (nla_len(a)) {
	case 1:
		*ret = v.u8;
		return true;
	case 2:
		*ret = v.u16;
		return true;
	case 4:
		*ret = v.u32;
		return true;
	case 8:
		*ret = v.u64;
		return true;
	default:
		return false;
	}
}

/*
 * @len characters without the blanks they were padded with. Some are a peer's: what is not printable
 * becomes '?'. NULL: nothing is left.
 */
static struct json_object *words(const char *from, size_t len)
{
	char buf[TEXT_MAX] = "";
	size_t i;

	len = len < sizeof(buf) ? len : sizeof(buf);
	for (i = 0; i < len; i++)
		buf[i] = (char)(from[i] >= 0x20 && from[i] < 0x7f ? from[i] : '?');
	while (len > 0 && buf[len - 1] == ' ')
		len--;
	return len > 0 ? json_object_new_string_len(buf, (int)len) : NULL;
}

/* The text in an attribute, whether a NUL ends it or not. */
static struct json_object *text(struct nlattr *a)
{
	return a ? words(nla_data(a), strnlen(nla_data(a), (size_t)nla_len(a))) : NULL;
}

static void put_text(struct json_object *o, const char *key, struct nlattr *a)
{
	struct json_object *t = text(a);

	if (t)
		json_object_object_add(o, key, t);
}

static void put_number(struct json_object *o, const char *key, struct nlattr *a)
{
	uint64_t v;

	if (number(a, &v))
		json_object_object_add(o, key, json_object_new_uint64(v));
}

static void put_bool(struct json_object *o, const char *key, struct nlattr *a)
{
	uint64_t v;

	if (number(a, &v))
		json_object_object_add(o, key, json_object_new_boolean(v != 0));
}

/* As the daemon's reports have it. */
static void put_hex(struct json_object *o, const char *key, struct nlattr *a, int digits)
{
	char buf[20];
	uint64_t v;

	if (!number(a, &v))
		return;
	snprintf(buf, sizeof(buf), "0x%0*" PRIx64, digits, v);
	json_object_object_add(o, key, json_object_new_string(buf));
}

/* What is nested in @a. */
static void nest(struct nlattr *attrs[], int max, struct nlattr *a)
{
	int i;

	for (i = 0; i <= max; i++)
		attrs[i] = NULL;
	if (a)
		nla_parse_nested(attrs, max, a, NULL); /* up to the first that makes no sense */
}

static struct json_object *list(struct json_object *root, const char *key)
{
	struct json_object *a = NULL;

	if (!json_object_object_get_ex(root, key, &a)) {
		a = json_object_new_array();
		json_object_object_add(root, key, a);
	}
	return a;
}

/* ---- one message each ------------------------------------------------------------------------ */

static void add_system(struct json_object *root, struct nlattr *a)
{
	struct nlattr *sys[SMC_NLA_SYS_MAX + 1];
	uint64_t version, release = 0;
	char buf[48];

	nest(sys, SMC_NLA_SYS_MAX, a);
	if (number(sys[SMC_NLA_SYS_VER], &version)) {
		number(sys[SMC_NLA_SYS_REL], &release);
		snprintf(buf, sizeof(buf), "%" PRIu64 ".%" PRIu64, version, release);
		json_object_object_add(root, "version", json_object_new_string(buf));
	}
	put_text(root, "hostname", sys[SMC_NLA_SYS_LOCAL_HOST]);
	put_bool(root, "ism_v2", sys[SMC_NLA_SYS_IS_ISM_V2]);
	put_bool(root, "smcr_v2", sys[SMC_NLA_SYS_IS_SMCR_V2]);
}

static void add_device(struct json_object *root, struct nlattr *a)
{
	struct nlattr *dev[SMC_NLA_DEV_MAX + 1], *port[SMC_NLA_DEV_PORT_MAX + 1];
	struct json_object *o;

	if (!a)
		return;
	nest(dev, SMC_NLA_DEV_MAX, a);
	nest(port, SMC_NLA_DEV_PORT_MAX, dev[SMC_NLA_DEV_PORT]);
	o = json_object_new_object();
	put_hex(o, "fid", dev[SMC_NLA_DEV_PCI_FID], 4);
	put_text(o, "pci_id", dev[SMC_NLA_DEV_PCI_ID]);
	put_hex(o, "chid", dev[SMC_NLA_DEV_PCI_CHID], 4);
	put_hex(o, "vendor", dev[SMC_NLA_DEV_PCI_VENDOR], 4);
	put_hex(o, "device", dev[SMC_NLA_DEV_PCI_DEVICE], 4);
	put_bool(o, "in_use", dev[SMC_NLA_DEV_IS_CRIT]);
	put_number(o, "linkgroups", dev[SMC_NLA_DEV_USE_CNT]);
	put_text(o, "pnetid", port[SMC_NLA_DEV_PORT_PNETID]);
	put_bool(o, "pnetid_by_user", port[SMC_NLA_DEV_PORT_PNET_USR]);
	json_object_array_add(list(root, "devices"), o);
}

static void add_linkgroup(struct json_object *root, struct nlattr *a)
{
	struct nlattr *lgr[LGR_D_MAX + 1], *v2[SMC_NLA_LGR_V2_MAX + 1];
	struct json_object *o;

	if (!a)
		return;
	nest(lgr, LGR_D_MAX, a);
	nest(v2, SMC_NLA_LGR_V2_MAX, lgr[SMC_NLA_LGR_D_V2_COMMON]);
	o = json_object_new_object();
	put_hex(o, "id", lgr[SMC_NLA_LGR_D_ID], 8);
	put_number(o, "vlan", lgr[SMC_NLA_LGR_D_VLAN_ID]);
	put_number(o, "conns", lgr[SMC_NLA_LGR_D_CONNS_NUM]);
	put_text(o, "pnetid", lgr[SMC_NLA_LGR_D_PNETID]);
	put_hex(o, "chid", lgr[SMC_NLA_LGR_D_CHID], 4);
	put_hex(o, "gid", lgr[SMC_NLA_LGR_D_GID], 16);
	put_hex(o, "ext_gid", lgr[LGR_D_EXT_GID], 16);
	put_hex(o, "peer_gid", lgr[SMC_NLA_LGR_D_PEER_GID], 16);
	put_hex(o, "peer_ext_gid", lgr[LGR_D_PEER_EXT_GID], 16);
	put_number(o, "sndbuf", lgr[LGR_D_SNDBUF]);
	put_number(o, "dmb", lgr[LGR_D_DMB]);
	/* This enumeration begins at 0, which no parser of attributes expects; it is the version. */
	put_number(o, "peer_release", v2[SMC_NLA_LGR_V2_REL]);
	put_number(o, "peer_os", v2[SMC_NLA_LGR_V2_OS]);
	put_text(o, "eid", v2[SMC_NLA_LGR_V2_NEG_EID]);
	put_text(o, "peer_host", v2[SMC_NLA_LGR_V2_PEER_HOST]);
	json_object_array_add(list(root, "linkgroups"), o);
}

static void add_statistics(struct json_object *root, struct nlattr *a)
{
	struct nlattr *st[SMC_NLA_STATS_MAX + 1];
	struct json_object *o;

	if (!a)
		return;
	nest(st, SMC_NLA_STATS_MAX, a);
	o = json_object_new_object();
	put_number(o, "client", st[SMC_NLA_STATS_CLNT_HS_ERR_CNT]);
	put_number(o, "server", st[SMC_NLA_STATS_SRV_HS_ERR_CNT]);
	json_object_object_add(root, "handshake_errors", o);
}

static void add_fallback(struct json_object *root, struct nlattr *a)
{
	struct nlattr *fb[SMC_NLA_FBACK_STATS_MAX + 1];
	uint64_t code, server = 0;
	struct json_object *o;

	nest(fb, SMC_NLA_FBACK_STATS_MAX, a);
	if (!number(fb[SMC_NLA_FBACK_STATS_RSN_CODE], &code) || code == 0)
		return; /* a slot that was never used */
	number(fb[SMC_NLA_FBACK_STATS_TYPE], &server);
	o = json_object_new_object();
	json_object_object_add(o, "side", json_object_new_string(server ? "server" : "client"));
	put_hex(o, "diag", fb[SMC_NLA_FBACK_STATS_RSN_CODE], 8);
	put_number(o, "count", fb[SMC_NLA_FBACK_STATS_RSN_CNT]);
	json_object_object_add(o, "text", json_object_new_string(clc_diag_text((uint32_t)code)));
	json_object_array_add(list(root, "fallbacks"), o);
}

static void add_ueid(struct json_object *root, struct nlmsghdr *msg)
{
	struct nlattr *attrs[SMC_NLA_EID_TABLE_MAX + 1];
	struct json_object *t;

	if (genlmsg_parse(msg, 0, attrs, SMC_NLA_EID_TABLE_MAX, NULL) < 0)
		return;
	t = text(attrs[SMC_NLA_EID_TABLE_ENTRY]);
	if (t)
		json_object_array_add(list(root, "ueids"), t);
}

/* Machines that have none say so with zeros or nothing at all. */
static void add_seid(struct json_object *root, struct nlmsghdr *msg)
{
	struct nlattr *attrs[SMC_NLA_SEID_TABLE_MAX + 1];
	struct json_object *t, *o;

	if (genlmsg_parse(msg, 0, attrs, SMC_NLA_SEID_TABLE_MAX, NULL) < 0)
		return;
	t = text(attrs[SMC_NLA_SEID_ENTRY]);
	if (!t)
		return;
	o = json_object_new_object();
	json_object_object_add(o, "id", t);
	put_bool(o, "enabled", attrs[SMC_NLA_SEID_ENABLED]);
	json_object_object_add(root, "seid", o);
}

int smc_kernel_add(struct json_object *root, uint8_t command, struct nlmsghdr *msg)
{
	struct nlattr *top[SMC_GEN_MAX + 1];

	if (command == SMC_NETLINK_DUMP_UEID || command == SMC_NETLINK_DUMP_SEID) {
		if (command == SMC_NETLINK_DUMP_UEID)
			add_ueid(root, msg);
		else
			add_seid(root, msg);
		return 0;
	}
	if (genlmsg_parse(msg, 0, top, SMC_GEN_MAX, NULL) < 0)
		return 0;
	switch (command) {
	case SMC_NETLINK_GET_SYS_INFO:
		add_system(root, top[SMC_GEN_SYS_INFO]);
		break;
	case SMC_NETLINK_GET_DEV_SMCD:
		add_device(root, top[SMC_GEN_DEV_SMCD]);
		break;
	case SMC_NETLINK_GET_LGR_SMCD:
		add_linkgroup(root, top[SMC_GEN_LGR_SMCD]);
		break;
	case SMC_NETLINK_GET_STATS:
		add_statistics(root, top[SMC_GEN_STATS]);
		break;
	case SMC_NETLINK_GET_FBACK_STATS:
		add_fallback(root, top[SMC_GEN_FBACK_STATS]);
		break;
	}
	return 0;
}

/* ---- the kernel ------------------------------------------------------------------------------ */

struct reading {
	struct json_object *root;
	uint8_t command;
};

static int on_message(void *ctx, struct nlmsghdr *msg)
{
	struct reading *r = ctx;

	return smc_kernel_add(r->root, r->command, msg);
}

static int ask_all(struct genl *g, struct json_object *root, char *why)
{
	static const uint8_t commands[] = { SMC_NETLINK_GET_SYS_INFO, SMC_NETLINK_GET_DEV_SMCD,
		SMC_NETLINK_GET_LGR_SMCD, SMC_NETLINK_DUMP_UEID, SMC_NETLINK_DUMP_SEID,
		SMC_NETLINK_GET_STATS, SMC_NETLINK_GET_FBACK_STATS };
	size_t i;
	int ret;

	for (i = 0; i < sizeof(commands); i++) {
		struct reading r = { .root = root, .command = commands[i] };

		ret = genl_dump(g, commands[i], on_message, &r, why);
		if (ret < 0 && ret != -EOPNOTSUPP) /* older kernels know fewer */
			return ret;
	}
	return 0;
}

static void add_pnetids(struct json_object *root)
{
	char why[VIEW_WHY];
	struct view v;
	unsigned int i;

	if (view_open(&v, why) < 0)
		return;
	for (i = 0; i < v.nr_pnets; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "pnetid", words(v.pnets[i].id, strlen(v.pnets[i].id)));
		json_object_object_add(o, "interface", words(v.pnets[i].interface,
			strlen(v.pnets[i].interface)));
		json_object_array_add(list(root, "pnetids"), o);
	}
	view_close(&v);
}

int smc_kernel(struct json_object **ret, char *why)
{
	struct json_object *root;
	struct genl g;
	int err;

	err = genl_open(&g, SMC_GENL_FAMILY_NAME, why);
	if (err < 0 && err != -ENOENT)
		return err;
	root = json_object_new_object();
	json_object_object_add(root, "available", json_object_new_boolean(err == 0));
	if (err < 0) {
		json_object_object_add(root, "why", json_object_new_string(why));
		*ret = root;
		return 1;
	}
	err = ask_all(&g, root, why);
	genl_close(&g);
	if (err < 0) {
		json_object_put(root);
		return err;
	}
	add_pnetids(root);
	*ret = root;
	return 0;
}

int smc_kernel_seid(char ret[33], char *why)
{
	struct reading r = { .command = SMC_NETLINK_DUMP_SEID };
	struct json_object *seid = NULL, *id = NULL, *enabled = NULL;
	struct genl g;
	int err = genl_open(&g, SMC_GENL_FAMILY_NAME, why);

	if (err < 0)
		return err;
	r.root = json_object_new_object();
	err = genl_dump(&g, r.command, on_message, &r, why);
	genl_close(&g);
	if (err == 0 && json_object_object_get_ex(r.root, "seid", &seid) &&
		json_object_object_get_ex(seid, "id", &id) &&
		json_object_object_get_ex(seid, "enabled", &enabled) &&
		json_object_get_boolean(enabled))
		snprintf(ret, 33, "%s", json_object_get_string(id));
	else if (err == 0 || err == -EOPNOTSUPP)
		err = view_complain(why, -ENOENT, "the kernel's SMC has no SEID, or it is disabled "
			"(smcd seid)");
	json_object_put(r.root);
	return err;
}
