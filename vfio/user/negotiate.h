/* SPDX-License-Identifier: MIT */
/*
 * negotiate.h - the server's side of the version negotiation
 *
 * The reply names only capabilities that the client named, each at most the client's value, so it
 * is never longer than a reasonable request (QEMU reads it into the request's buffer). A capability
 * that is not named has the specification's default, which is also ours.
 */
#ifndef SMCDU_VFIO_USER_NEGOTIATE_H
#define SMCDU_VFIO_USER_NEGOTIATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VU_MAJOR      0u
#define VU_MINOR_MAX  1u
#define VU_MAX_VERSION 4096u /* bytes of JSON, including the NUL */

struct vu_limits {
	uint32_t max_xfer;     /* bytes of region data per message */
	uint32_t max_dma_maps;
	bool iova_is_va;       /* private extensions of proto.h */
	bool chain;
	bool together;
	bool side;
};

/*
 * Reads the client's @json (@len bytes including the NUL; 0: none) and composes the reply's JSON
 * into @reply. Returns its length including the NUL (0: none) or -EINVAL: not a JSON object, a
 * number that is no positive integer, or page sizes without 4096. -ENOBUFS: @cap is too small.
 */
int vu_negotiate(const char *json, size_t len, struct vu_limits *limits, char *reply, size_t cap);

#endif
