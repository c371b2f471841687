/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include <netlink/route/link.h>
#include <netlink/route/link/vlan.h>

#include "smcd/netlink/view.h"

struct vlan_search {
	const struct view *v;
	unsigned int depth;
	int found; /* 0: none yet */
	int other; /* one that differs */
};

static int own_vlan(const struct view *v, int ifindex)
{
	struct rtnl_link *link = rtnl_link_get(v->links, ifindex);
	int id = link && rtnl_link_is_vlan(link) ? rtnl_link_vlan_get_id(link) : 0;

	rtnl_link_put(link);
	return id;
}

/* The outermost VLAN on each way down, as for a route through the interface. */
static int search(void *ctx, int ifindex)
{
	struct vlan_search *s = ctx;
	int id = own_vlan(s->v, ifindex), ret;

	if (id > 0) {
		if (s->found > 0 && s->found != id)
			s->other = id;
		else
			s->found = id;
		return s->other > 0;
	}
	if (s->depth == VIEW_DEPTH)
		return 0;
	s->depth++;
	ret = view_below(s->v, ifindex, search, s);
	s->depth--;
	return ret;
}

int view_vlan(const struct view *v, const char *interface, uint16_t *ret, char why[VIEW_WHY])
{
	struct vlan_search s = { .v = v };
	int ifindex = view_find(v, interface, why);

	if (ifindex < 0)
		return ifindex;
	search(&s, ifindex);
	if (s.other > 0)
		return view_complain(why, -ENOTUNIQ, "interface '%s' stands on several VLANs, %d "
			"and %d among them: name the VLAN interface that is meant", interface,
			s.found, s.other);
	if (s.found <= 0 || s.found > 4094)
		return view_complain(why, -ENOENT, "interface '%s' is no VLAN interface and stands "
			"on none", interface);
	*ret = (uint16_t)s.found;
	return 0;
}
