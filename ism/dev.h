/* SPDX-License-Identifier: MIT */
/*
 * dev.h - what the parts of the driver share
 *
 * One struct ism_dev per function. SBA and IEQ are two pages of an arena. The DMB table
 * is indexed by SBA index; an entry that is not LIVE only keeps its index (and perhaps its memory)
 * from being used again.
 */
#ifndef SMCDU_ISM_DEV_H
#define SMCDU_ISM_DEV_H

#include "ism/attach.h"
#include "ism/cmd.h"
#include "ism/files.h"
#include "ism/ieq.h"
#include "ism/ism.h"
#include "ism/proto.h"
#include "ism/window.h"
#include "vfio/base/slab.h"

enum ism_dmb_state {
	ISM_DMB_LIVE,
	ISM_DMB_LEFT, /* nobody's any more, still to be unregistered */
	ISM_DMB_LEAVING, /* unregistered; memory and index are in quarantine */
	ISM_DMB_KEPT,	 /* the device may still write: kept until the door is closed */
	ISM_DMB_RETIRED, /* memory released, but the device never confirmed to free the index */
};

struct ism_dmb_entry {
	struct ism_dmb dmb; /* first */
	enum ism_dmb_state state;
	bool confirmed;	    /* the device answered the unregistering with ret 0 */
	uint64_t due_ns;    /* end of the quarantine; LEFT: when to unregister at the latest */
	uint64_t answered;  /* port.answered at its start: one more must follow */
	int ro; /* a read-only description of its file; -1: none */
	struct arena_block block; /* what its memory is part of; none: it is a file of its own */
	struct ism_dmb_entry *next; /* in ism_dev.left or leaving */
};

struct ism_dev {
	struct ism_port port;
	const struct ism_handler *handler;
	void *ctx;
	uint64_t quarantine_ns;
	uint64_t gid;
	struct ism_profile profile;
	bool tells_pages; /* QUERY_INFO says truly which SBA and IEQ are registered */

	struct arena_block shared;
	uint8_t *sba;
	struct ism_ieq ieq;
	bool has_sba; /* registered */
	bool has_ieq;

	struct ism_dmb_entry *dmbs[ISM_NR_DMBS];
	struct slab entries; /* what these are made of */
	struct ism_dmb_entry *left; /* oldest first */
	unsigned int nleft;
	bool put_off; /* see ism_put_off() */
	struct ism_dmb_entry *leaving; /* oldest first */
	uint32_t next_idx;	       /* where the search for a free index starts */
	struct ism_files files;

	/* Events of others that arrived during the self-test, for the first poll. */
	struct ism_event held[ISM_IEQ_SLOTS];
	unsigned int nheld;
	bool held_lost;

	int irq_fd;
	int side_fd; /* to the fabric, see attach.h; -1: none */
	struct ism_windows windows;
};

/* A token that leaves room for what a move ORs in: offset, signal and index. */
static inline bool ism_token_valid(uint64_t token)
{
	return token < ZPCI_OFFSET_LIMIT &&
	       !(token & (ISM_MOVE_OFF_MASK | ISM_MOVE_SF));
}

/* Releases what left its quarantine; cheap when there is none. */
void ism_dmb_reap(struct ism_dev *dev);

/* Unregisters what is live. */
void ism_dmb_unregister_all(struct ism_dev *dev);

/* Frees every entry with its memory. The door is closed. */
void ism_dmb_drop_all(struct ism_dev *dev);

/* Takes new events: those of the queue, ism_ieq_poll() with e and the counters seen to. */
unsigned int ism_dev_take_events(struct ism_dev *dev, struct ism_event out[ISM_IEQ_SLOTS],
	bool *lost);

/* Enables the interrupt, if the function has one. */
void ism_dev_enable_irq(struct ism_dev *dev);

/* Opens the side channel where the fabric has one. */
void ism_attach_open(struct ism_dev *dev);

/*
 * One request on it (op, token, @ngive descriptors, borrowed) and its reply, which replaces *m and has
 * brought @want descriptors. Negative: none are left.
 */
int ism_attach_call(struct ism_dev *dev, struct attach_msg *m, const int *give, unsigned int ngive,
	int fds[ATTACH_MAX_FDS], unsigned int want);

/*
 * Fills the profile's answers, before interrupts are enabled (it enables them if the function needs
 * that to signal). 0 · -ENOTSUP the function cannot serve (logged) · -ENODEV.
 */
int ism_selftest(struct ism_dev *dev);

#endif
