/* SPDX-License-Identifier: MIT */
/*
 * function.h - one ISM function of the daemon
 *
 * Opens the device, keeps its interrupt and liveness descriptors in the loop, spreads its signals
 * and events, lends slots for CDC blocks, and notices its death: then every channel and link on it
 * fails with ENODEV and the device is tried again, after 1 s, 2 s, ... 8 s. A device that does not
 * answer one request within 2 s is dead; an attempt to reopen one that hangs takes 250 ms. It is
 * asked for a sign of life every 10 s, every second while a channel waits for space at its peer,
 * because a silent device looks like a silent peer; and it is asked after every store or command
 * that failed, because one in error state has forgotten us. What it is asked for is what it has
 * registered of us, where it tells: one that recovered by itself answers, but delivers nothing. At the
 * same times each peer is asked (links_probe()): it may be gone without an event.
 *
 * A function of the kernel is asked for by it when it is unbound or unplugged, and reports errors
 * where it can; either ends it like the rest, and opening it again resets it.
 *
 * Death is noted where a call fails and executed by function_tend() in the daemon's turn, never in
 * the middle of somebody's work.
 */
#ifndef SMCDU_DAEMON_FUNCTION_H
#define SMCDU_DAEMON_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/ism.h"
#include "smcd/daemon/daemon.h"
#include "smcd/daemon/stock.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/handshake.h"

#define CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define FUNCTION_CDC_SLOTS 2048u /* more than a function has DMB indexes */

/* Behind ism_dmb.user: whose DMB it is. */
struct dmb_user {
	void (*signal)(struct dmb_user *user);
	const char *use;  /* for reports: "channel", "control", "stock" */
	uint32_t channel; /* its id, or 0 */
};

struct function {
	struct daemon *d;
	const struct config_function *cfg;
	struct ism_dev *dev; /* NULL while down */
	bool dying;	     /* -ENODEV was seen */
	bool suspect;	     /* -EIO was seen: a peer's DMB is gone, or the device is in error */
	uint64_t gid;
	uint16_t chid;
	enum cdc_order order;
	struct hs_local local;

	uint8_t *slots; /* CDC_SIZE bytes each, readable by the device; gone with it */
	uint32_t slot_free[FUNCTION_CDC_SLOTS / 32]; /* bit set: free */

	struct loop_source irq;
	struct loop_source live;
	struct loop_timer retry;
	struct loop_timer pulse;
	uint64_t backoff_ns;
	struct zpci_counters past; /* of devices that died */

	struct stock stock;
	struct link *links; /* hash by GID */
	bool link_failed;   /* links_tend() has something to do */
	unsigned int channels;	   /* on its links */
	unsigned int nr_strangers; /* links to GIDs that are not configured */
	unsigned int nr_lgrs;	   /* link groups on its links */
	struct function *next;
};

/* Tries to open the device; without success it is tried again later. NULL: no memory. */
struct function *function_new(struct daemon *d, const struct config_function *cfg);
struct function *function_free(struct function *fn);

static inline bool function_up(const struct function *fn)
{
	return fn->dev && !fn->dying;
}

/* Delivers signals and events. Their number. */
unsigned int function_poll(struct function *fn);
/* Does a piece of work that nobody waits for. False: there is none. */
bool function_tidy(struct function *fn);
/* Arms the interrupt. True: something is pending, do not sleep. */
bool function_arm(struct function *fn);
/* It is polled again. */
void function_disarm(struct function *fn);
/* Executes a death that was noted. */
void function_tend(struct function *fn);

/* ism_move_data() for streams; @ctx is the function. */
int function_move(void *ctx, const struct ism_move *v, size_t n, size_t *done);
/*
 * Peers' DMBs that are written in this process, where fabric, peer and configuration allow it; nothing
 * depends on it. The function @gid may so write what we register for it (each time it begins anew);
 * the DMB @token is written so; not any more; the peer begins anew.
 */
void function_welcome(struct function *fn, uint64_t gid);
void function_map(struct function *fn, uint64_t gid, uint64_t token, uint32_t size);
void function_unmap(struct function *fn, uint64_t token);
void function_forget(struct function *fn, uint64_t gid);
/* A channel came (@n 1) or went (-1). */
void function_count(struct function *fn, int n);
/* A channel waits for its peer: asks soon. */
void function_hurry(struct function *fn);
/* Passes @ret on and notes -ENODEV and -EIO. */
int function_note(struct function *fn, int ret);

/* A DMB for @rgid whose signals go to @user. As ism_register_dmb(). */
int function_dmb_get(struct function *fn, uint64_t rgid, uint32_t size, struct dmb_user *user,
	struct ism_dmb **ret);
/* One that no application sees. */
int function_dmb_get_private(struct function *fn, uint64_t rgid, uint32_t size,
	struct dmb_user *user, struct ism_dmb **ret);
/* Unregisters; harmless after the device's death. The second one soon, with others. */
void function_dmb_put(struct function *fn, struct ism_dmb *dmb);
void function_dmb_retire(struct function *fn, struct ism_dmb *dmb);

/* Zeroed memory for the daemon's own stores, as ism_memory_get() and ism_memory_put(). */
int function_memory_get(struct function *fn, size_t size, struct arena_block *ret);
void function_memory_put(struct function *fn, struct arena_block *block);

/*
 * A memfd of @head + @size bytes. Stores from the part behind @head are made without a copy once the
 * device may read it, which pays for more than a few.
 */
struct function_source {
	int fd;
	uint8_t *map; /* head + size bytes */
	size_t head;
	size_t size;
	uint64_t iova;
	bool mapped;
};

int function_source_get(size_t head, size_t size, struct function_source *ret);
int function_source_map(struct function *fn, struct function_source *src);
/* Takes the memory from the device (@fn may be NULL or down); the mapping stays. */
void function_source_revoke(struct function *fn, struct function_source *src);
/* Unmaps and closes. */
void function_source_free(struct function_source *src);

/* A slot for CDC blocks, or NULL. */
uint8_t *function_slot_get(struct function *fn);
void function_slot_put(struct function *fn, uint8_t *slot);

/* Counters of the region layer, over all incarnations of the device. */
struct zpci_counters function_counters(const struct function *fn);

#endif
