/* SPDX-License-Identifier: MIT */
/* A build without libnl: every question has the same answer. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "smcd/netlink/smc.h"
#include "smcd/netlink/view.h"

static int not_built(char *why)
{
	snprintf(why, VIEW_WHY, "this smcd-userctl was built without netlink (Meson option "
		"netlink, libnl-3)");
	return -ENOTSUP;
}

int view_open(struct view *v, char why[VIEW_WHY])
{
	return not_built(why);
}

void view_close(struct view *v)
{
}

int view_vlan(const struct view *v, const char *interface, uint16_t *ret, char why[VIEW_WHY])
{
	return not_built(why);
}

int view_pnetid(const struct view *v, const char *interface, char ret[VIEW_PNETID_LEN + 1],
	char why[VIEW_WHY])
{
	return not_built(why);
}

int smc_kernel(struct json_object **ret, char *why)
{
	return not_built(why);
}

int smc_kernel_seid(char ret[33], char *why)
{
	return not_built(why);
}
