/* SPDX-License-Identifier: MIT */
/*
 * ism.h - a polling driver for one ISM function
 *
 * Concept. The function lets its owner register DMBs, memory that exactly one remote GID may write;
 * a remote function's move (PCISTB into BAR 0) lands there and, with the signal flag, sets the
 * DMB's bit in our SBA. The driver polls the SBA and the event queue (IEQ); nothing is gated on
 * interrupts. Operation names are those of the kernel's dibs layer.
 *
 * Invariants
 * - One submitter: a struct ism_dev belongs to one thread; all calls come from it.
 * - A command stops at its first failing store, so a stale reply is never read as an answer.
 * - A DMB's memory and index are quarantined after unregistering (a store may still be in flight
 *   elsewhere) and its memory is destroyed, never handed out again; that of a private DMB, which no
 *   other process has seen, may be.
 * - Tokens and sizes from peers are checked before they become part of an address.
 *
 * Errors: negative errno. -ENODEV: the function is gone. -EIO: a store, load or command failed; the
 * device's return code is in ism_last_ret(). After -EIO from a command the function is suspect:
 * ism_probe() tells whether it still answers.
 */
#ifndef SMCDU_ISM_ISM_H
#define SMCDU_ISM_ISM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/zpci.h"

struct ism_dev;

/* One registered DMB. Owned by the driver; read-only to others. */
struct ism_dmb {
	uint64_t token; /* to be given to the peer, opaque */
	uint64_t rgid;	/* the one GID that may write */
	uint32_t idx;	/* SBA index, 32..1919 */
	uint32_t size;
	void *va;	/* read-write, zeroed at registration */
	int fd;		/* sealed memfd of which it is the whole; owned by the DMB; -1: a private one */
	uint64_t iova;
	void *user;	/* the registrant's, see ism_handler.dmb */
};

struct ism_event {
	uint32_t type; /* enum ism_event_type: 0 BUF, 1 DEV, 2 SWR */
	uint32_t code;
	uint64_t tok;  /* BUF: DMB token; DEV and SWR: GID */
	uint64_t time;
	uint64_t info;
};

/*
 * Delivered from ism_poll(). Handlers may call everything except ism_poll() and ism_close().
 * Signals coalesce: one dmb() call means "look at this DMB", not "one message".
 */
struct ism_handler {
	void (*dmb)(void *ctx, struct ism_dmb *dmb, uint16_t mask);
	void (*event)(void *ctx, const struct ism_event *ev);
	/* Events were lost (IEQ overrun): query the peers. */
	void (*overrun)(void *ctx);
};

/* Answers of the start-up self-test: which rule variants this function needs. */
struct ism_profile {
	bool loop_dmb;		/* a DMB for the own GID could be registered and written */
	bool unaligned_move;	/* a one-byte move at an odd offset arrived */
	bool full_move;		/* a move of max_store bytes arrived */
	bool refuses_crossing;	/* (checked by the door) not asked of the device */
	bool signal_without_msi; /* a signalled move showed up in the SBA with MSI never enabled */
	bool signal_with_s;	/* ... and one with s still set: polling may leave s alone */
	uint16_t mask_idx0;	/* mask value seen for signal index 0 */
	bool self_event;	/* SIGNAL_IEQ to the own GID arrived */
	bool unreg_event;	/* UNREG_DMB caused a BUF event */
	bool vlan_1fff;		/* ADD_VLAN_ID(0x1FFF) succeeded: "ISM version 2" */
	uint32_t max_len;	/* QUERY_INFO.max_len */
	uint32_t version;	/* QUERY_INFO.version */
};

struct ism_counters {
	uint64_t commands;
	uint64_t command_errors;
	uint64_t moves;		/* PCISTBs into BAR 0 */
	uint64_t move_bytes;
	uint64_t move_errors;
	uint64_t signals;	/* SBA bits delivered */
	uint64_t events;
	uint64_t event_overruns;
	uint64_t irqs;		/* interrupts consumed by ism_irq_ack() */
	uint32_t dmbs;		/* registered now */
	uint32_t quarantined;	/* retired or unregistered, not yet released */
};

struct ism_params {
	const struct ism_handler *handler; /* required; its functions may be NULL */
	void *ctx;
	const char *name;	  /* for log lines; not copied */
	bool skip_selftest;
	bool map_dmbs; /* consent to and use what vfio/attached.h is about */
	unsigned int quarantine_ms; /* 0: 10 */
};

/*
 * Initialises the function behind @z: REG_SBA, REG_IEQ, QUERY_INFO, READ_GID, ADD_VLAN_ID(0x1FFF),
 * then the self-test, whose profile is logged in one line. Takes ownership of @z, also on failure.
 * 0 · -ENOTSUP the function is not usable (one log line says why) · -EIO · -ENODEV · -ENOMEM.
 */
int ism_open(struct zpci *z, const struct ism_params *params, struct ism_dev **ret);

/* Unregisters everything and closes the door. All DMBs become invalid. NULL is allowed. */
struct ism_dev *ism_close(struct ism_dev *dev);

uint64_t ism_gid(const struct ism_dev *dev);
uint16_t ism_chid(const struct ism_dev *dev);
const struct ism_profile *ism_profile(const struct ism_dev *dev);
const struct ism_counters *ism_counters(const struct ism_dev *dev);
struct zpci *ism_zpci(struct ism_dev *dev);
uint16_t ism_last_ret(const struct ism_dev *dev); /* ret of the last failed command */

/* 0: @rgid is reachable (with @vlan when @vlan_valid) · -ENETUNREACH · -EIO · -ENODEV. */
int ism_query_remote_gid(struct ism_dev *dev, uint64_t rgid, bool vlan_valid, uint16_t vlan);

/*
 * Allocates and registers a zeroed DMB of @size bytes (16 KiB << n, at most 1 MiB) that only @rgid
 * may write. 0 · -EINVAL bad size · -ENOSPC no free index · -ENOMEM · -EIO (ism_last_ret) ·
 * -ENODEV.
 * @user is passed on in ism_dmb.user.
 */
int ism_register_dmb(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **ret);

/*
 * The same for a DMB whose descriptor is given to nobody: it is cut out of what is mapped already,
 * unless who serves the function gives DMBs to others (zpci_caps.gives_files).
 */
int ism_register_private_dmb(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **ret);

/*
 * Up to @n at once, together in one exchange where that is possible. How many, the first of @v; else the
 * error of the first.
 */
int ism_register_dmbs(struct ism_dev *dev, uint64_t rgid, uint32_t size, void *user,
	struct ism_dmb **v, unsigned int n);

/*
 * Makes the file of one more DMB of @size ahead, for the next that are registered; a size at a time. False:
 * there are @upto already, or no memory. Nobody but this driver knows of them.
 */
bool ism_prepare_dmb(struct ism_dev *dev, uint32_t size, unsigned int upto);
void ism_drop_prepared(struct ism_dev *dev);

/* A read-only description of its file: the caller's, or -errno. */
int ism_dmb_readonly(struct ism_dmb *dmb);

/*
 * Unregisters. The DMB is invalid afterwards whatever is returned: no more handler calls for it.
 * Memory the device may still write is kept mapped until the quarantine ends or, where the device
 * refused to let go, until ism_close().
 */
int ism_unregister_dmb(struct ism_dev *dev, struct ism_dmb *dmb);

/*
 * The same, not at once: together with others, at the latest by an ism_poll() some milliseconds later.
 * Until then a move of its writer succeeds, and is not delivered. Where that saves nothing it is
 * ism_unregister_dmb().
 */
void ism_retire_dmb(struct ism_dev *dev, struct ism_dmb *dmb);

/*
 * Attaching, on a software fabric (attach.h): the DMB's writer gets its memory, and @more
 * descriptors (borrowed; at most 3) with it. ism_can_attach() says whether the fabric does that.
 * 0 · -EOPNOTSUPP · -ENOENT · -EALREADY · -ENOSPC.
 */
bool ism_can_attach(const struct ism_dev *dev);
int ism_offer_dmb(struct ism_dev *dev, const struct ism_dmb *dmb, const int *more,
	unsigned int nmore);
/*
 * Takes what the owner of the DMB @token offered to us: exactly @nfds descriptors, the caller's from
 * then on. fds[0] is the memory, sealed and of at least @size bytes. 0 · -ENOENT nothing offered, or
 * not to us · -EPROTO something else was offered · -EOPNOTSUPP.
 */
int ism_take_dmb(struct ism_dev *dev, uint64_t token, uint32_t size, int *fds, unsigned int nfds);

/*
 * The same from owner to writer at once, where the latter consented (below) and we did: without the
 * fabric, and its driver executes its moves there from then on. @use: for an application of the writer's,
 * with @more, not only for its driver. 0 · -EOPNOTSUPP, -ENOENT not between these two · -EAGAIN.
 */
int ism_hand_dmb(struct ism_dev *dev, const struct ism_dmb *dmb, bool use, const int *more,
	unsigned int nmore);
/*
 * What the function @gid handed us as its DMB @token, of at least @size bytes. @nfds: the descriptors for an
 * application, as for ism_take_dmb(). Without (0, or -ENXIO: it is not for an application) moves to it are
 * executed here from now on, if the fabric lets us. 0 · -ENOENT, -EOPNOTSUPP it was not handed · -EPROTO.
 */
int ism_receive_dmb(struct ism_dev *dev, uint64_t gid, uint64_t token, uint32_t size, int *fds,
	unsigned int nfds);

/*
 * DMBs that are written without the device (attach.h), if ism_params.map_dmbs was set. ism_consent()
 * lets the function @gid map what we register for it, from now on, and once more after it has begun
 * anew. ism_map_dmb(): moves to the DMB @token of the function @gid, of at least @size bytes, are
 * executed in this process from now on, as far as the fabric lets us; ism_unmap_dmb() ends that, at
 * the latest when the DMB has gone. ism_forget_peer(): @gid begins anew. 0 · -EOPNOTSUPP door or
 * fabric do not do it · -ENOENT, -ENOSPC as attach.h says · -EPROTO · -ENOMEM.
 */
int ism_consent(struct ism_dev *dev, uint64_t gid);
int ism_map_dmb(struct ism_dev *dev, uint64_t gid, uint64_t token, uint32_t size);
void ism_unmap_dmb(struct ism_dev *dev, uint64_t token);
void ism_forget_peer(struct ism_dev *dev, uint64_t gid);

/* One move; split at 4 KiB lines of @offset by the driver. */
struct ism_move {
	uint64_t token;
	uint32_t offset;	/* offset + len <= 8 MiB */
	uint32_t len;		/* >= 1 */
	const void *data;
	uint8_t idx;		/* 0..15 */
	bool sf;		/* signal with the last piece */
};

/*
 * Executes the moves in order, stops at the first failing store. *done: moves that arrived whole.
 * -EINVAL when a token or range cannot be right (nothing of that move was submitted).
 */
int ism_move_data(struct ism_dev *dev, const struct ism_move *v, size_t n, size_t *done);

/* Sends a software event to @rgid. trigger_irq is always 1. */
int ism_signal_event(struct ism_dev *dev, uint64_t rgid, uint32_t code, uint64_t info);

int ism_add_vlan(struct ism_dev *dev, uint16_t vlan);
int ism_del_vlan(struct ism_dev *dev, uint16_t vlan);

/*
 * Memory for what only this process and the device use: zeroed, for the device to read and write, and
 * a direct source of moves. Costs no map of its own; see vfio/arena.h. Ends with ism_close().
 * 0 · -ENOMEM · -EIO · -ENODEV.
 */
int ism_memory_get(struct ism_dev *dev, size_t size, struct arena_block *ret);
int ism_memory_put(struct ism_dev *dev, struct arena_block *block);

/*
 * Makes memory of the caller usable as a direct source of moves (no copy as long as pieces are
 * 8-aligned). [va, va+len) is a page-aligned MAP_SHARED mapping of @fd at @fd_offset. *iova is for
 * unmapping only; where sources need no map (zpci_caps.maps_sources) it is 0 and nothing is done.
 */
int ism_map_source(struct ism_dev *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova);
int ism_unmap_source(struct ism_dev *dev, uint64_t iova, size_t len);

/*
 * Looks at SBA and IEQ once and delivers. Returns the number of things delivered (0: quiet). Also
 * ends quarantines that are due. Cheap when quiet: 31 words of memory, no system call.
 */
unsigned int ism_poll(struct ism_dev *dev);

/*
 * Somebody waits for the caller's next step: what ends DMBs is put off, within bounds. And while there is time:
 * destroys a file that is over. False: there is none.
 */
void ism_put_off(struct ism_dev *dev, bool off);
bool ism_tidy(struct ism_dev *dev);

/*
 * Sleeping. ism_irq_fd() becomes readable when the function signals after ism_irq_arm(). Arming
 * returns true when something is already pending: poll again instead of sleeping. ism_irq_ack()
 * drains the descriptor. ism_irq_disarm(): polled again from now on; it spares the peers what would
 * wake us.
 */
int ism_irq_fd(const struct ism_dev *dev);
bool ism_irq_arm(struct ism_dev *dev);
void ism_irq_disarm(struct ism_dev *dev);
void ism_irq_ack(struct ism_dev *dev);

/* Descriptor that fires when the device goes away (-1 if none); then ism_probe() decides. */
int ism_liveness_fd(const struct ism_dev *dev);

/*
 * Liveness: 0, -ENODEV, or -EIO. -ESTALE: it answers, but with another GID, or it has forgotten what
 * we registered (told by functions whose QUERY_INFO named our pages when they were opened).
 */
int ism_probe(struct ism_dev *dev);

#endif
