/* SPDX-License-Identifier: MIT */
/*
 * version.h - what two vfio-user peers agree on
 *
 * The VERSION message carries its limits as JSON. Every key has a default, unknown keys are
 * ignored, and each side obeys the limits of the other.
 */
#ifndef SMCDU_VFIO_USER_VERSION_H
#define SMCDU_VFIO_USER_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vu_caps {
	uint32_t max_msg_fds;
	uint32_t max_data_xfer_size;
	uint32_t max_dma_maps;
	uint64_t pgsizes;
	bool iova_is_va;
	bool chain;
	bool together;
	bool side;
};

/* The client's offer. Static, NUL-terminated. */
const char *vu_version_offer(void);

/*
 * Parses the payload of a VERSION reply. 0, or -EPROTO with *why (static text) set: another
 * version, no JSON, or limits nobody can work with. *caps is untouched on failure.
 */
int vu_version_parse(const void *payload, size_t len, struct vu_caps *caps, const char **why);

#endif
