/* SPDX-License-Identifier: MIT */
/*
 * route.h - which peer an application means, and through which function it is reached
 */
#ifndef SMCDU_DAEMON_ROUTE_H
#define SMCDU_DAEMON_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#include "smcd/daemon/daemon.h"

struct route {
	struct function *fn;
	uint64_t gid;
	uint16_t port;
	uint32_t diag; /* why there is none */
};

/* 0, or the errno with its reason in @text and a->diag. */
int route_find(struct daemon *d, const struct ipc_connect *msg, struct route *a, char *text,
	size_t size);

#endif
