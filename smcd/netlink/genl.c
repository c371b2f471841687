/* SPDX-License-Identifier: MIT */
#include "smcd/netlink/genl.h"

#include <errno.h>

#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>

#include "smcd/netlink/view.h"

#define FAMILY_VERSION 1

int genl_open(struct genl *g, const char *family, char *why)
{
	struct nl_sock *sk = nl_socket_alloc();
	int ret;

	if (!sk)
		return view_complain(why, -ENOMEM, "no memory for a netlink socket");
	ret = genl_connect(sk);
	if (ret == 0)
		ret = genl_ctrl_resolve(sk, family); /* the kernel loads the module if it may */
	if (ret >= 0) {
		*g = (struct genl){ .sk = sk, .family = ret };
		return 0;
	}
	nl_socket_free(sk);
	if (ret == -NLE_OBJ_NOTFOUND)
		return view_complain(why, -ENOENT,
			"no SMC in this kernel, or not loaded (no netlink family %s); 'modprobe smc' "
			"loads it where there is one", family);
	return view_complain(why, -EIO, "generic netlink: %s", nl_geterror(ret));
}

void genl_close(struct genl *g)
{
	nl_socket_free(g->sk);
	g->sk = NULL;
}

struct dump {
	int (*fn)(void *ctx, struct nlmsghdr *msg);
	void *ctx;
	int err;
};

static int on_message(struct nl_msg *msg, void *arg)
{
	struct dump *d = arg;

	if (d->err == 0)
		d->err = d->fn(d->ctx, nlmsg_hdr(msg));
	return NL_OK; /* to the end, so that the socket stays usable */
}

int genl_dump(struct genl *g, uint8_t command, int (*fn)(void *ctx, struct nlmsghdr *msg),
	void *ctx, char *why)
{
	struct dump d = { .fn = fn, .ctx = ctx };
	int ret;

	nl_socket_modify_cb(g->sk, NL_CB_VALID, NL_CB_CUSTOM, on_message, &d);
	ret = genl_send_simple(g->sk, g->family, command, FAMILY_VERSION, NLM_F_DUMP);
	if (ret >= 0)
		ret = nl_recvmsgs_default(g->sk);
	if (ret == -NLE_OPNOTSUPP)
		return -EOPNOTSUPP;
	if (ret < 0)
		return view_complain(why, -EIO, "generic netlink, command %u: %s", command,
			nl_geterror(ret));
	if (d.err < 0)
		return view_complain(why, d.err, "generic netlink, command %u: no memory", command);
	return 0;
}
