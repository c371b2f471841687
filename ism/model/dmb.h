/* SPDX-License-Identifier: MIT */
/*
 * dmb.h - registering and unregistering DMBs of one function
 */
#ifndef SMCDU_MODEL_DMB_H
#define SMCDU_MODEL_DMB_H

#include <stdbool.h>
#include <stdint.h>

struct dmb;
struct function;

struct dmb_request {
	uint64_t iova;
	uint32_t len;
	uint32_t idx;
	bool vlan_valid;
	uint32_t vlan_id;
	uint64_t rgid;
};

/* 0 and *token, or the return code for the driver. */
uint16_t dmb_register(struct function *fn, const struct dmb_request *want, uint64_t *token);

/* 0 or the return code. The writer is told. */
uint16_t dmb_unregister(struct function *fn, uint64_t token);

/* Its memory from @offset to the end of that page, or NULL: it could not be mapped. */
uint8_t *dmb_at(struct dmb *d, uint32_t offset);

#endif
