/* SPDX-License-Identifier: MIT */
/*
 * diag.h - why a connection was refused, in the kernel's own codes
 *
 * The one table of them: also those that only kernels use, for SMC-R or as a local reason, because
 * operators meet them in smcss and in a kernel's statistics.
 */
#ifndef SMCDU_PROTO_DIAG_H
#define SMCDU_PROTO_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/proto/clc.h"

struct diag {
	uint32_t code;
	bool ours; /* smcd-userd uses it; else only kernels do */
	const char *text;   /* what is the case */
	const char *remedy; /* what to do, or where to look */
};

/* In ascending order, ended by one without a text. */
extern const struct diag diags[];

/* NULL: no such code. */
const struct diag *diag_find(uint32_t code);

#endif
