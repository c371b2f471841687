/* SPDX-License-Identifier: MIT */
/*
 * harness.h - drivers of a fabric without sockets
 *
 * Each guest is a function with 4 MiB of "its" memory at IOVA GUEST_BASE, of which any page can be
 * taken away, and helpers that issue commands as a driver would: body store, header store, loads.
 */
#ifndef TEST_MODEL_HARNESS_H
#define TEST_MODEL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ism/model/fabric.h"
#include "ism/model/function.h"

#define GUESTS	   3u
#define GUEST_BASE UINT64_C(0x100000000)
#define GUEST_SIZE (4u << 20)
#define SBA_IOVA   GUEST_BASE
#define IEQ_IOVA   (GUEST_BASE + 0x1000)
#define DMB_IOVA   (GUEST_BASE + 0x100000)
#define DMB_LEN	   0x4000u

struct guest {
	struct fabric *fabric;
	struct function *fn;
	uint8_t *mem;
	bool gone[GUEST_SIZE / 4096];
	bool page_maps; /* like QEMU: nothing larger than a page resolves */
	unsigned int irqs;
	bool unplugged;
};

struct bench {
	struct fabric *f;
	struct guest g[GUESTS];
};

/*
 * cmocka fixtures: *state is a struct bench with all guests attached; SBA and IEQ are registered.
 */
int bench_setup(void **state);
int bench_teardown(void **state);

void guest_attach(struct guest *g);
uint8_t *guest_at(struct guest *g, uint64_t iova);

/* Executes a request of @len bytes; returns ret, reply (if any) in @reply of @cap bytes. */
uint16_t guest_cmd(struct guest *g, const void *req, size_t len, void *reply, size_t cap);

uint16_t guest_simple(struct guest *g, uint32_t cmd);
uint16_t guest_u64(struct guest *g, uint32_t cmd, uint64_t arg);
uint16_t guest_reg_ieq(struct guest *g, uint64_t iova, uint64_t len);
uint16_t guest_query_rgid(struct guest *g, uint64_t rgid, bool valid, uint32_t vlan);
uint16_t guest_signal(struct guest *g, uint64_t rgid, uint32_t trigger, uint32_t code,
	uint64_t info);

struct reg_dmb {
	uint64_t iova;
	uint32_t len;
	uint32_t idx;
	uint32_t vlan_valid;
	uint32_t vlan_id;
	uint64_t rgid;
};
uint16_t guest_reg_dmb(struct guest *g, const struct reg_dmb *r, uint64_t *token);

/* A DMB of DMB_LEN at DMB_IOVA with index 32 for @writer; asserts success. */
uint64_t guest_dmb(struct guest *owner, const struct guest *writer);

int guest_move(struct guest *g, uint64_t token, uint32_t idx, bool sf, uint32_t offset,
	const void *data, size_t len);

/* Pops the oldest unread event; false when there is none. *seen: the cursor (starts at 0). */
struct event {
	uint32_t type;
	uint32_t code;
	uint64_t tok;
	uint64_t info;
};
bool guest_event(struct guest *g, unsigned int *seen, struct event *ev);

void knob(struct bench *b, enum knob_id id, uint64_t value);

/* The fabric's clock, when the bench uses it: starts at 1 s, moves only here. */
void clock_advance(struct bench *b, uint64_t ns);

#endif
