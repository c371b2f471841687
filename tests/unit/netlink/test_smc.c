/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <linux/smc.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>

#include "smcd/netlink/smc.h"

/*
 * What a kernel with SMC answers, made by hand from the layout of its messages: as it is, with what
 * a later kernel might add or leave out, and with every byte of it wrong.
 */
static struct nl_msg *begin(uint8_t command)
{
	struct nl_msg *msg = nlmsg_alloc();

	assert_non_null(genlmsg_put(msg, 0, 0, 31, 0, NLM_F_MULTI, command, 1));
	return msg;
}

static void add(struct json_object *root, uint8_t command, struct nl_msg *msg)
{
	assert_int_equal(smc_kernel_add(root, command, nlmsg_hdr(msg)), 0);
	nlmsg_free(msg);
}

static void expect(struct json_object *root, const char *want)
{
	const char *got = json_object_to_json_string_ext(root,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	assert_string_equal(got, want);
	json_object_put(root);
}

static struct nl_msg *system_info(void)
{
	struct nl_msg *msg = begin(SMC_NETLINK_GET_SYS_INFO);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_SYS_INFO);

	nla_put_u8(msg, SMC_NLA_SYS_VER, 2);
	nla_put_u8(msg, SMC_NLA_SYS_REL, 1);
	nla_put_u8(msg, SMC_NLA_SYS_IS_ISM_V2, 1);
	nla_put_u8(msg, SMC_NLA_SYS_IS_SMCR_V2, 0);
	nla_put_string(msg, SMC_NLA_SYS_LOCAL_HOST, "zhost                           ");
	nla_put_string(msg, SMC_NLA_SYS_SEID, "IBM-SYSZ-ISMSEID000000001AB23931");
	nla_nest_end(msg, nest);
	return msg;
}

static struct nl_msg *device(void)
{
	struct nl_msg *msg = begin(SMC_NETLINK_GET_DEV_SMCD);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_DEV_SMCD), *port;

	nla_put_u32(msg, SMC_NLA_DEV_USE_CNT, 2);
	nla_put_u8(msg, SMC_NLA_DEV_IS_CRIT, 1);
	nla_put_u32(msg, SMC_NLA_DEV_PCI_FID, 0x29);
	nla_put_u16(msg, SMC_NLA_DEV_PCI_CHID, 0x7c1);
	nla_put_u16(msg, SMC_NLA_DEV_PCI_VENDOR, 0x1014);
	nla_put_u16(msg, SMC_NLA_DEV_PCI_DEVICE, 0x4ed);
	nla_put_string(msg, SMC_NLA_DEV_PCI_ID, "0018:00:00.0");
	port = nla_nest_start(msg, SMC_NLA_DEV_PORT);
	nla_put_u8(msg, SMC_NLA_DEV_PORT_PNET_USR, 1);
	nla_put_string(msg, SMC_NLA_DEV_PORT_PNETID, "NET25");
	nla_nest_end(msg, port);
	nla_nest_end(msg, nest);
	return msg;
}

static struct nl_msg *linkgroup(void)
{
	struct nl_msg *msg = begin(SMC_NETLINK_GET_LGR_SMCD);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_LGR_SMCD), *v2;

	nla_put_u32(msg, SMC_NLA_LGR_D_ID, 0x100);
	nla_put_u64(msg, SMC_NLA_LGR_D_GID, 0x0123456789abcdef);
	nla_put_u64(msg, SMC_NLA_LGR_D_PEER_GID, 0xfedcba9876543210);
	nla_put_u8(msg, SMC_NLA_LGR_D_VLAN_ID, 100);
	nla_put_u32(msg, SMC_NLA_LGR_D_CONNS_NUM, 3);
	nla_put_u32(msg, SMC_NLA_LGR_D_CHID, 0x7c1); /* declared shorter than it comes */
	nla_put_string(msg, SMC_NLA_LGR_D_PNETID, "NET25");
	nla_put_u64(msg, 10, 0);
	nla_put_u64(msg, 11, 5);
	nla_put_u32(msg, 12, 65536); /* as wide as the value needs */
	nla_put_u64(msg, 13, UINT64_C(1) << 33);
	v2 = nla_nest_start(msg, SMC_NLA_LGR_D_V2_COMMON);
	nla_put_u8(msg, SMC_NLA_LGR_V2_VER, 2);
	nla_put_u8(msg, SMC_NLA_LGR_V2_REL, 1);
	nla_put_u8(msg, SMC_NLA_LGR_V2_OS, 2);
	nla_put_string(msg, SMC_NLA_LGR_V2_NEG_EID, "EXAMPLE-EID                     ");
	nla_put_string(msg, SMC_NLA_LGR_V2_PEER_HOST, "evil\x1b[2J\n");
	nla_nest_end(msg, v2);
	nla_nest_end(msg, nest);
	return msg;
}

static struct nl_msg *statistics(void)
{
	struct nl_msg *msg = begin(SMC_NETLINK_GET_STATS);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_STATS);

	nla_put_u64(msg, SMC_NLA_STATS_CLNT_HS_ERR_CNT, 4);
	nla_put_u64(msg, SMC_NLA_STATS_SRV_HS_ERR_CNT, 5);
	nla_nest_end(msg, nest);
	return msg;
}

static struct nl_msg *fallback(uint8_t server, uint32_t code, uint16_t count)
{
	struct nl_msg *msg = begin(SMC_NETLINK_GET_FBACK_STATS);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_FBACK_STATS);

	nla_put_u8(msg, SMC_NLA_FBACK_STATS_TYPE, server);
	nla_put_u32(msg, SMC_NLA_FBACK_STATS_RSN_CODE, code);
	nla_put_u16(msg, SMC_NLA_FBACK_STATS_RSN_CNT, count);
	nla_nest_end(msg, nest);
	return msg;
}

static struct nl_msg *ueid(const char *eid)
{
	struct nl_msg *msg = begin(SMC_NETLINK_DUMP_UEID);

	nla_put_string(msg, SMC_NLA_EID_TABLE_ENTRY, eid);
	return msg;
}

static struct nl_msg *seid(const char *eid, uint8_t enabled)
{
	struct nl_msg *msg = begin(SMC_NETLINK_DUMP_SEID);

	nla_put_string(msg, SMC_NLA_SEID_ENTRY, eid);
	nla_put_u8(msg, SMC_NLA_SEID_ENABLED, enabled);
	return msg;
}

static void test_all(void **state)
{
	struct json_object *root = json_object_new_object();

	add(root, SMC_NETLINK_GET_SYS_INFO, system_info());
	add(root, SMC_NETLINK_GET_DEV_SMCD, device());
	add(root, SMC_NETLINK_GET_LGR_SMCD, linkgroup());
	add(root, SMC_NETLINK_GET_STATS, statistics());
	add(root, SMC_NETLINK_GET_FBACK_STATS, fallback(1, 0x03030001, 7));
	add(root, SMC_NETLINK_GET_FBACK_STATS, fallback(0, 0x05000000, 1));
	add(root, SMC_NETLINK_GET_FBACK_STATS, fallback(0, 0, 0)); /* an empty slot */
	add(root, SMC_NETLINK_DUMP_UEID, ueid("EXAMPLE-EID                     "));
	add(root, SMC_NETLINK_DUMP_UEID, ueid("OTHER"));
	add(root, SMC_NETLINK_DUMP_SEID, seid("IBM-SYSZ-ISMSEID000000001AB23931", 1));
	expect(root,
		"{\"version\":\"2.1\",\"hostname\":\"zhost\",\"ism_v2\":true,\"smcr_v2\":false,"
		"\"devices\":[{\"fid\":\"0x0029\",\"pci_id\":\"0018:00:00.0\",\"chid\":\"0x07c1\","
		"\"vendor\":\"0x1014\",\"device\":\"0x04ed\",\"in_use\":true,\"linkgroups\":2,"
		"\"pnetid\":\"NET25\",\"pnetid_by_user\":true}],"
		"\"linkgroups\":[{\"id\":\"0x00000100\",\"vlan\":100,\"conns\":3,"
		"\"pnetid\":\"NET25\",\"chid\":\"0x07c1\",\"gid\":\"0x0123456789abcdef\","
		"\"ext_gid\":\"0x0000000000000000\",\"peer_gid\":\"0xfedcba9876543210\","
		"\"peer_ext_gid\":\"0x0000000000000005\",\"sndbuf\":65536,\"dmb\":8589934592,"
		"\"peer_release\":1,\"peer_os\":2,\"eid\":\"EXAMPLE-EID\","
		"\"peer_host\":\"evil?[2J?\"}],"
		"\"handshake_errors\":{\"client\":4,\"server\":5},"
		"\"fallbacks\":[{\"side\":\"server\",\"diag\":\"0x03030001\",\"count\":7,"
		"\"text\":\"no SMC-D device in common, or no enterprise ID in common\"},"
		"{\"side\":\"client\",\"diag\":\"0x05000000\",\"count\":1,"
		"\"text\":\"the peer declined\"}],"
		"\"ueids\":[\"EXAMPLE-EID\",\"OTHER\"],"
		"\"seid\":{\"id\":\"IBM-SYSZ-ISMSEID000000001AB23931\",\"enabled\":true}}");
}

/* Missing, of another width, unknown: only that member is concerned. */
static void test_other_kernels(void **state)
{
	struct json_object *root = json_object_new_object();
	struct nl_msg *msg = begin(SMC_NETLINK_GET_DEV_SMCD);
	struct nlattr *nest = nla_nest_start(msg, SMC_GEN_DEV_SMCD);

	nla_put_u8(msg, SMC_NLA_DEV_USE_CNT, 2);
	nla_put(msg, SMC_NLA_DEV_PCI_FID, 3, "abc");
	nla_put(msg, SMC_NLA_DEV_IS_CRIT, 0, NULL);
	nla_put(msg, SMC_NLA_DEV_PCI_ID, 4, "0018"); /* without an end */
	nla_put_u32(msg, SMC_NLA_DEV_PORT, 7); /* no nest */
	nla_put_u64(msg, 200, 1);
	nla_nest_end(msg, nest);
	nla_put_u32(msg, 99, 1);
	add(root, SMC_NETLINK_GET_DEV_SMCD, msg);
	add(root, SMC_NETLINK_GET_DEV_SMCD, begin(SMC_NETLINK_GET_DEV_SMCD));
	add(root, SMC_NETLINK_GET_LGR_SMCD, begin(SMC_NETLINK_GET_LGR_SMCD));
	add(root, SMC_NETLINK_GET_STATS, begin(SMC_NETLINK_GET_STATS));
	add(root, SMC_NETLINK_GET_FBACK_STATS, begin(SMC_NETLINK_GET_FBACK_STATS));
	add(root, SMC_NETLINK_GET_SYS_INFO, begin(SMC_NETLINK_GET_SYS_INFO));
	add(root, SMC_NETLINK_DUMP_UEID, begin(SMC_NETLINK_DUMP_UEID));
	add(root, SMC_NETLINK_DUMP_UEID, ueid(""));
	add(root, SMC_NETLINK_DUMP_UEID, ueid("                                "));
	add(root, SMC_NETLINK_DUMP_SEID, seid("", 0));
	expect(root, "{\"devices\":[{\"pci_id\":\"0018\",\"linkgroups\":2}]}");
}

/* Every byte of every message, header too, set to a few values; and every message cut short. */
static void mutate(uint8_t command, struct nl_msg *msg)
{
	static const uint8_t values[] = { 0, 1, 4, 0x7f, 0x80, 0xff };
	const struct nlmsghdr *h = nlmsg_hdr(msg);
	size_t len = h->nlmsg_len, i, k;

	for (i = NLMSG_HDRLEN; i < len; i++) {
		for (k = 0; k <= sizeof(values); k++) {
			struct json_object *root = json_object_new_object();
			size_t used = k == sizeof(values) ? i : len;
			uint8_t *copy = malloc(used); /* no byte more */

			memcpy(copy, h, used);
			if (k < sizeof(values))
				copy[i] = values[k];
			else
				((struct nlmsghdr *)(void *)copy)->nlmsg_len = (uint32_t)used;
			assert_int_equal(smc_kernel_add(root, command, (void *)copy), 0);
			/* whatever was understood is proper JSON */
			json_object_put(json_tokener_parse(json_object_to_json_string(root)));
			json_object_put(root);
			free(copy);
		}
	}
	nlmsg_free(msg);
}

static void test_mutations(void **state)
{
	mutate(SMC_NETLINK_GET_SYS_INFO, system_info());
	mutate(SMC_NETLINK_GET_DEV_SMCD, device());
	mutate(SMC_NETLINK_GET_LGR_SMCD, linkgroup());
	mutate(SMC_NETLINK_GET_STATS, statistics());
	mutate(SMC_NETLINK_GET_FBACK_STATS, fallback(1, 0x03030001, 7));
	mutate(SMC_NETLINK_DUMP_UEID, ueid("EXAMPLE-EID"));
	mutate(SMC_NETLINK_DUMP_SEID, seid("IBM-SYSZ-ISMSEID000000001AB23931", 1));
}

/* With SMC or without, the machine that the test runs on gives an answer. */
static void test_this_machine(void **state)
{
	struct json_object *root = NULL, *v = NULL;
	char why[256] = "", id[33] = "";
	int ret = smc_kernel(&root, why);

	if (ret < 0) {
		print_message("no netlink here: %s\n", why);
		skip();
	}
	assert_true(json_object_object_get_ex(root, "available", &v));
	assert_int_equal(json_object_get_boolean(v), ret == 0);
	assert_int_equal(json_object_object_get_ex(root, ret == 0 ? "version" : "why", &v), 1);
	json_object_put(root);
	if (ret == 1) {
		assert_true(smc_kernel_seid(id, why) < 0);
		assert_non_null(strstr(why, "SMC"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_other_kernels),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_this_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
