/* SPDX-License-Identifier: MIT */
/*
 * smc.h - what the kernel's own SMC knows, as JSON
 *
 * One object: "available", and with it "version" ("2.1"), "hostname", "ism_v2", "seid", "ueids",
 * "devices", "linkgroups", "pnetids", "handshake_errors" and "fallbacks"; without it "why".
 *
 * Kernels differ in what they say and in which width: an attribute that is missing, unknown or
 * absurd leaves its member out, and never more than that.
 */
#ifndef SMCDU_NETLINK_SMC_H
#define SMCDU_NETLINK_SMC_H

#include <stdbool.h>
#include <stdint.h>

struct json_object;
struct nlmsghdr;

/*
 * 0; 1: the kernel has no SMC, and the object says so; -errno with a complaint in @why (VIEW_WHY).
 * To be freed, unless negative.
 */
int smc_kernel(struct json_object **ret, char *why);

/* Adds what one message of the answer to @command says to the object. 0 or -ENOMEM. */
int smc_kernel_add(struct json_object *root, uint8_t command, struct nlmsghdr *msg);

/* The kernel's SEID if it is enabled. 0, or -errno with a complaint. */
int smc_kernel_seid(char ret[33], char *why);

#endif
