/* SPDX-License-Identifier: MIT */
#include "smcd/netlink/view.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/genl/genl.h>
#include <netlink/route/link.h>

#include "smcd/netlink/genl.h"

int view_complain(char why[VIEW_WHY], int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, VIEW_WHY, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- what stands on what --------------------------------------------------------------------- */

/*
 * IFLA_LINK is what an interface stands on for these kinds only: for a veth it is the other end, for
 * a tunnel the interface that it happens to leave through.
 */
static bool stands_on_link(struct rtnl_link *link)
{
	static const char *const kinds[] = { "vlan", "macvlan", "macvtap", "ipvlan", "ipvtap",
		"macsec", "dsa", "hsr" };
	const char *kind = rtnl_link_get_type(link);
	int32_t netns;
	size_t i;

	if (!kind || rtnl_link_get_link_netnsid(link, &netns) == 0)
		return false; /* the index would be another namespace's */
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind, kinds[i]) == 0)
			return true;
	}
	return false;
}

int view_below(const struct view *v, int ifindex, int (*fn)(void *ctx, int ifindex), void *ctx)
{
	struct rtnl_link *link = rtnl_link_get(v->links, ifindex);
	struct nl_object *o;
	int below, ret = 0;

	if (!link)
		return 0;
	below = rtnl_link_get_link(link);
	if (below > 0 && below != ifindex && stands_on_link(link))
		ret = fn(ctx, below);
	rtnl_link_put(link);
	/* The ports of a bridge, the members of a bond. */
	for (o = nl_cache_get_first(v->links); o && ret == 0; o = nl_cache_get_next(o)) {
		link = (struct rtnl_link *)o;
		below = rtnl_link_get_ifindex(link);
		if (rtnl_link_get_master(link) == ifindex && below != ifindex)
			ret = fn(ctx, below);
	}
	return ret;
}

int view_find(const struct view *v, const char *interface, char why[VIEW_WHY])
{
	int ifindex = rtnl_link_name2i(v->links, interface);

	return ifindex > 0 ? ifindex : view_complain(why, -ENODEV,
		"there is no network interface '%s'", interface);
}

bool view_name(const struct view *v, int ifindex, char ret[VIEW_IFNAMSIZ])
{
	return rtnl_link_i2name(v->links, ifindex, ret, VIEW_IFNAMSIZ) != NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int read_links(struct view *v, char why[VIEW_WHY])
{
	struct nl_sock *sk = nl_socket_alloc();
	int ret;

	if (!sk)
		return view_complain(why, -ENOMEM, "no memory for a netlink socket");
	ret = nl_connect(sk, NETLINK_ROUTE);
	if (ret == 0)
		ret = rtnl_link_alloc_cache(sk, AF_UNSPEC, &v->links);
	nl_socket_free(sk);
	if (ret < 0)
		return view_complain(why, -EIO, "the network interfaces cannot be listed: %s",
			nl_geterror(ret));
	return 0;
}

static int take_pnet(void *ctx, struct nlmsghdr *msg)
{
	return view_pnet_add(ctx, msg);
}

static int read_pnets(struct view *v, char why[VIEW_WHY])
{
	struct genl g;
	int ret = genl_open(&g, "SMC_PNETID", why);

	if (ret == -ENOENT)
		return 0;
	if (ret < 0)
		return ret;
	v->pnet_table = true;
	ret = genl_dump(&g, 1 /* SMC_PNETID_GET */, take_pnet, v, why);
	genl_close(&g);
	return ret;
}

int view_open(struct view *v, char why[VIEW_WHY])
{
	int ret;

	*v = (struct view){ .sysfs = "/sys" };
	ret = read_links(v, why);
	if (ret == 0)
		ret = read_pnets(v, why);
	if (ret < 0)
		view_close(v);
	return ret;
}

void view_close(struct view *v)
{
	nl_cache_free(v->links);
	free(v->pnets);
	*v = (struct view){ 0 };
}
