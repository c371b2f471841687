/* SPDX-License-Identifier: MIT */
/*
 * Changes what a kernel's SMC knows, for tests in emulated machines:
 *   smc-set ueid EID | smc-set pnetid ID INTERFACE
 */
#include <stdio.h>
#include <string.h>

#include <linux/smc.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/socket.h>

static int run(const char *family, uint8_t command, int a, const char *first, int b,
	const char *second)
{
	struct nl_sock *sk = nl_socket_alloc();
	struct nl_msg *msg = nlmsg_alloc();
	int ret = genl_connect(sk);

	if (ret == 0)
		ret = genl_ctrl_resolve(sk, family);
	if (ret >= 0) {
		genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, ret, 0, NLM_F_ACK, command, 1);
		if (first)
			nla_put_string(msg, a, first);
		if (second)
			nla_put_string(msg, b, second);
		ret = nl_send_auto(sk, msg);
	}
	if (ret >= 0)
		ret = nl_wait_for_ack(sk);
	if (ret < 0)
		fprintf(stderr, "smc-set: %s: %s\n", family, nl_geterror(ret));
	nlmsg_free(msg);
	nl_socket_free(sk);
	return ret < 0;
}

int main(int argc, char **argv)
{
	char eid[SMC_MAX_EID_LEN + 1];

	if (argc == 3 && strcmp(argv[1], "ueid") == 0) {
		snprintf(eid, sizeof(eid), "%-32.32s", argv[2]);
		return run(SMC_GENL_FAMILY_NAME, SMC_NETLINK_ADD_UEID, SMC_NLA_EID_TABLE_ENTRY, eid,
			0, NULL);
	}
	if (argc == 4 && strcmp(argv[1], "pnetid") == 0)
		return run(SMCR_GENL_FAMILY_NAME, SMC_PNETID_ADD, SMC_PNETID_NAME, argv[2],
			SMC_PNETID_ETHNAME, argv[3]);
	return 2;
}
