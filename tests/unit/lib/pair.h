/* SPDX-License-Identifier: MIT */
/*
 * pair.h - both ends of an attached channel in one process, without a daemon
 */
#ifndef SMCDU_TESTS_PAIR_H
#define SMCDU_TESTS_PAIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/lib/internal.h"

#define RING 16384u

struct pair {
	struct smcdu_channel *ch[2];
	int daemon[2]; /* the daemons' ends */
	uint8_t *dmb[2]; /* writable */
	uint32_t size;	 /* of each */
};

void pair_open(struct pair *p, uint32_t size, uint32_t spin_us);
/* Either end may have been closed, and is NULL then. */
void pair_close(struct pair *p);

#endif
