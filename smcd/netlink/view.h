/* SPDX-License-Identifier: MIT */
/*
 * view.h - what the kernel's network configuration says, at one moment
 *
 * A view is read once, through netlink, and then questioned: which VLAN is this interface in, which
 * physical network is it on. The questions are the ones that the kernel's own SMC asks about the
 * interface of a route, and so are the answers, except that it takes the first of several and we
 * refuse to guess.
 *
 * Reading needs no privilege. What a question needs and the view does not have is part of the
 * complaint; a kernel without SMC is no error, it just has no table of PNETIDs.
 */
#ifndef SMCDU_NETLINK_VIEW_H
#define SMCDU_NETLINK_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#define VIEW_WHY	256u /* room for a complaint */
#define VIEW_IFNAMSIZ	16u  /* as IFNAMSIZ */
#define VIEW_PNETID_LEN 16u

struct nl_cache;
struct nlmsghdr;

struct view_pnet { /* an entry of the kernel's table (smc_pnet(8)) */
	char id[VIEW_PNETID_LEN + 1];
	char interface[VIEW_IFNAMSIZ]; /* "": it is for a device */
};

struct view {
	struct nl_cache *links;
	struct view_pnet *pnets;
	unsigned int nr_pnets;
	bool pnet_table;   /* the kernel has one */
	const char *sysfs; /* "/sys" */
};

/* 0, or -errno with a complaint. */
int view_open(struct view *v, char why[VIEW_WHY]);
void view_close(struct view *v);

/*
 * The VLAN of @interface: its own ID, or that of the VLAN interface that it stands on (as a bridge, a
 * bond or a macvlan may). 0; -ENODEV: no such interface; -ENOENT: no VLAN; -ENOTUNIQ: several.
 */
int view_vlan(const struct view *v, const char *interface, uint16_t *ret, char why[VIEW_WHY]);

/*
 * The PNETID of @interface: that of its hardware, else that of the kernel's table, else that of what
 * it stands on. Results as above.
 */
int view_pnetid(const struct view *v, const char *interface, char ret[VIEW_PNETID_LEN + 1],
	char why[VIEW_WHY]);

/* ---- private, for the files of this folder and their tests ----------------------------------- */

#define VIEW_DEPTH 8u /* as deep as the kernel stacks interfaces */

int view_complain(char why[VIEW_WHY], int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The index of @interface, or -ENODEV. */
int view_find(const struct view *v, const char *interface, char why[VIEW_WHY]);

/* Whether there is one, and its name. */
bool view_name(const struct view *v, int ifindex, char ret[VIEW_IFNAMSIZ]);

/*
 * Calls @fn for what @ifindex stands on directly, until it returns non-zero, and returns that.
 */
int view_below(const struct view *v, int ifindex, int (*fn)(void *ctx, int ifindex), void *ctx);

/* Takes the entry that a message of the pnet family holds; one that makes no sense is left out. */
int view_pnet_add(struct view *v, struct nlmsghdr *msg);

/* The PNETID that the machine's configuration gives the interface. */
bool view_pnet_hardware(const char *sysfs, const char *interface, char ret[VIEW_PNETID_LEN + 1]);

#endif
