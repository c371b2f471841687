/* SPDX-License-Identifier: MIT */
/*
 * genl.h - dumps of the kernel's generic netlink families
 */
#ifndef SMCDU_NETLINK_GENL_H
#define SMCDU_NETLINK_GENL_H

#include <stdint.h>

struct nl_sock;
struct nlmsghdr;

struct genl {
	struct nl_sock *sk;
	int family;
};

/* 0; -ENOENT: this kernel has no such family (now); another -errno, with a complaint (VIEW_WHY). */
int genl_open(struct genl *g, const char *family, char *why);
void genl_close(struct genl *g);

/*
 * Calls @fn for every message of the answer; its failure ends the dump. 0; -EOPNOTSUPP: the kernel
 * does not know the command; another -errno, with a complaint (VIEW_WHY).
 */
int genl_dump(struct genl *g, uint8_t command, int (*fn)(void *ctx, struct nlmsghdr *msg),
	void *ctx, char *why);

#endif
