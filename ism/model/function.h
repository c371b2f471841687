/* SPDX-License-Identifier: MIT */
/*
 * function.h - one ISM function of the software fabric, as its driver sees it
 *
 * The driver (client) reaches it by PCISTB and PCILG: BAR 0 takes moves, BAR 2 is the command area,
 * where a store of the body is latched, the 8-byte store of the header executes, and the reply
 * stays readable until the next header. The function reaches the driver's memory (SBA, IEQ, DMBs)
 * through its host's resolve().
 *
 * Invariants
 * - Nothing in the driver's memory is believed: the function keeps its own event index, its own
 *   idea of what is registered, and only ever ORs into the SBA and writes into IEQ and DMBs.
 * - Requests are copied once and then checked: their source may be memory that the driver changes.
 * - Pointers into driver memory live exactly as long as the DMA map below them:
 *   function_dma_unmapped() drops every registration that touches the range.
 * - Without a host the function has no registrations at all.
 *
 * Stores and loads: 0 · -EINVAL what an instruction would be refused for (length, line crossing,
 * beyond the BAR) · -EIO the function refused or is in error state · -ENODEV unplugged.
 */
#ifndef SMCDU_MODEL_FUNCTION_H
#define SMCDU_MODEL_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ism/model/attach.h"
#include "ism/model/config.h"
#include "ism/model/fabric.h"
#include "ism/model/faults.h"
#include "ism/proto.h"

#define FUNCTION_AREA 256u /* bytes of the command area that mean something */

/* Whoever serves the function to a driver. */
struct function_host {
	/*
	 * The driver's memory at [iova, iova+len), or NULL when it is not all mapped in one piece
	 * (with write access where @write). Stays valid until function_dma_unmapped() or detach.
	 */
	void *(*resolve)(void *ctx, uint64_t iova, size_t len, bool write);
	/* Raises the MSI. */
	void (*irq)(void *ctx);
	/* The function was unplugged: detach soon (not from within this call). */
	void (*unplugged)(void *ctx);
	/*
	 * The file (borrowed) that [iova, iova+len) is the whole of, or -1. NULL: DMBs are not handed to
	 * their writers' drivers.
	 */
	int (*memory_fd)(void *ctx, uint64_t iova, size_t len);
};

struct function_counters {
	uint64_t pcistb;
	uint64_t pcilg;
	uint64_t bytes;	 /* moved into DMBs */
	uint64_t moves;	 /* successful */
	uint64_t errors; /* failed stores and loads */
	uint64_t commands;
	uint64_t command_errors; /* ret != 0 */
	uint64_t signals;	 /* DMB bits set in this function's SBA */
	uint64_t events;	 /* events written to this function's IEQ */
	uint64_t events_lost;	 /* no IEQ, full, or dropped on command */
	uint64_t irqs;
	uint64_t resets;
};

struct function {
	struct fabric *fabric;
	unsigned int nr;
	uint64_t gid;
	const struct function_host *host; /* NULL: nobody is attached */
	void *ctx;
	struct pci_config config;
	struct faults faults;
	struct function_counters count;
	bool msi;		/* the driver listens to MSI 0 */
	uint64_t stall_ms;	/* see function_take_stall() */

	/* Registrations. */
	uint8_t *sba; /* NULL: none */
	uint64_t sba_iova;
	uint8_t *ieq;
	uint64_t ieq_iova;
	uint32_t ieq_len;
	uint32_t ieq_next;   /* slot of the next event */
	uint32_t ieq_unread; /* events written since e was last seen clear */
	uint16_t vlan[ISM_NR_VLANS];
	unsigned int num_vlans;
	struct dmb *owned;  /* DL list */
	struct dmb *writes; /* DL list over wprev/wnext: DMBs of whoever, for this GID */
	uint32_t num_owned;
	uint32_t num_writes;
	uint32_t num_offers; /* of own DMBs, not yet taken */
	struct dmb *by_idx[ISM_NR_DMBS];
	struct attach_state attach;

	/* Command area. */
	uint8_t body[FUNCTION_AREA - 8];
	uint32_t body_len; /* valid bytes at the start of body */
	uint8_t reply[FUNCTION_AREA];
};

/* For the fabric. */
struct function *function_create(struct fabric *f, unsigned int nr, uint64_t gid);
void function_destroy(struct function *fn);

/* A driver arrives. 0 · -EBUSY there is one already · -ENODEV unplugged. @host outlives detach. */
int function_attach(struct function *fn, const struct function_host *host, void *ctx);

/* The driver is gone, however: everything of the function ends and its peers are told. */
void function_detach(struct function *fn);

/* Function reset at the driver's wish. 0 · -EOPNOTSUPP (knob) · -ENODEV. */
int function_reset(struct function *fn);

/* One PCISTB. @data may be shared with the driver; it is read once. */
int function_store(struct function *fn, uint8_t pcias, uint64_t offset, const void *data,
	size_t len);

/* One PCILG: *value holds the @len bytes right-justified, first byte most significant. */
int function_load(struct function *fn, uint8_t pcias, uint64_t offset, size_t len,
	uint64_t *value);

/* [iova, iova+size) is no longer the function's to use. */
void function_dma_unmapped(struct function *fn, uint64_t iova, uint64_t size);

void function_set_msi(struct function *fn, bool enabled);

/* Milliseconds that the function is busy from now on, since the last call of this. */
uint64_t function_take_stall(struct function *fn);

/* Error state: every access fails, peers are told. Leaving it drops registrations (knob). */
void function_enter_error(struct function *fn);
void function_leave_error(struct function *fn);

/* Unplug: tells the host; until plugged again nobody can attach. */
void function_unplug(struct function *fn);

bool function_has_vlan(const struct function *fn, uint32_t vlan);

/* Attached and not in error state. */
bool function_alive(const struct function *fn);

/* Registered SBA and IEQ: can be reached by others. */
bool function_enabled(const struct function *fn);

/* Driver memory through the host and the announced IOVA range. */
void *function_memory(const struct function *fn, uint64_t iova, size_t len);

/* The file that is exactly this memory, or -1. */
int function_memory_fd(const struct function *fn, uint64_t iova, size_t len);

#endif
