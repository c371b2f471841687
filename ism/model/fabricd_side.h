/* SPDX-License-Identifier: MIT */
/*
 * fabricd_side.h - the side channel of one client: requests of ism/attach.h
 *
 * A request is executed and answered at once. A client that breaks the protocol, or does not read
 * its answers, loses the channel; its function goes on.
 */
#ifndef SMCDU_MODEL_FABRICD_SIDE_H
#define SMCDU_MODEL_FABRICD_SIDE_H

#include "ism/model/function.h"
#include "ism/model/loop.h"

struct side {
	struct source src; /* first; fd -1: closed */
	struct loop *loop;
	struct function *fn;
};

void side_init(struct side *s);

/* Takes ownership of @fd, also on failure; replaces an earlier channel. 0 or -errno. */
int side_open(struct side *s, struct loop *loop, struct function *fn, int fd);
void side_close(struct side *s);

#endif
