/* SPDX-License-Identifier: MIT */
/*
 * zpci.h - the door: zPCI operations on one function
 *
 * Everything the ISM driver does to a function goes through here: PCILG loads, PCISTB block stores,
 * DMA mapping, the MSI eventfd, reset. Behind it are transports; this file's common checks make all
 * of them refuse the same inputs before anything is submitted, so that an error from a transport
 * can only mean trouble with the device:
 *
 *	len 1..max_store; (offset mod 4096) + len <= 4096; offset + len <= BAR size; pcias 0..5
 *
 * Invariants
 * - One submitter: a struct zpci belongs to the thread that opened it; a call from another one, or
 *   from a child after fork, fails with -EPERM and reaches no device.
 * - A store is one PCISTB, a load is one PCILG; nothing is split, merged, repeated or reordered.
 * - Counters count what the transport was asked to execute, never what was refused before. Stores
 *   that it executed in this process (attached.h) are counted apart: the others went to the device.
 *
 * Errors: -EINVAL refused by the common checks, nothing submitted · -EIO the device refused or
 * failed · -ENODEV the function is gone · -ETIMEDOUT no answer (the transport is dead from then on)
 * · -EPERM wrong thread or process.
 */
#ifndef SMCDU_VFIO_ZPCI_H
#define SMCDU_VFIO_ZPCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/arena.h"
#include "vfio/device.h"

#define ZPCI_PAGE_SIZE	   4096u
#define ZPCI_BATCH_MAX	   64u		   /* stores per zpci_store_blocks() */
#define ZPCI_PCIAS_MAX	   5u		   /* BAR 0..5 */
#define ZPCI_OFFSET_LIMIT  (UINT64_C(1) << 48) /* BAR 0 of an ISM function ends here */

struct zpci;

/* One PCISTB. */
struct zpci_store {
	uint64_t offset;  /* in the address space */
	const void *data; /* any alignment; not touched after the call returns */
	uint16_t len;	  /* 1..max_store */
	uint8_t pcias;	  /* 0..5 */
};

struct zpci_caps {
	uint32_t max_store;	/* longest PCISTB in bytes, 8..4096 */
	uint64_t bar_size[6];	/* 0: not implemented */
	uint16_t vendor;	/* from config space */
	uint16_t device;
	struct vfio_dev_info info;
	bool pipelined;		/* zpci_run() and zpci_dma_unmap_batch() are possible, and pay */
	const char *transport;	/* "zpci-io-region", "ism-vfio-pci" */
	/*
	 * Sources of stores want to be mapped: the device finds them so, or the kernel, which holds
	 * a lock meanwhile, need not bring them in. Else they are copied when they are stored, and
	 * a map would only lock memory.
	 */
	bool maps_sources;
	/*
	 * Whoever serves the function may give memory that was mapped to others, as the whole file
	 * that it is (vfio_device_ops.side_channel): what others may have must be a file of its own.
	 */
	bool gives_files;
};

struct zpci_counters {
	uint64_t pcistb;	/* store requests submitted */
	uint64_t pcilg;		/* load requests submitted */
	uint64_t pcistb_bytes;	/* payload bytes of successful stores */
	uint64_t region_errors; /* requests the device failed */
	uint64_t batches;	/* submissions that carried the stores */
	uint64_t attached;	/* stores executed in this process: not among pcistb */
	uint64_t attached_bytes;
	uint64_t bounced;	/* stores whose source was copied for alignment's sake */
	uint64_t bounced_bytes;
};

/*
 * Opens the function behind @dev and enables memory access and bus mastering in config space. The
 * transport is the zPCI I/O region where the device has it (found by its type capability), else
 * the BARs where they are those of ism-vfio-pci; with the region the BARs are never touched. Takes
 * ownership of @dev, also on failure. 0 · -ENOENT the device has neither (a message names the
 * drivers that do) · -EPROTO it describes itself with nonsense · the device's error.
 */
int zpci_open(struct vfio_device *dev, struct zpci **ret);

/* Closes the function; NULL is allowed. Memory that the caller mapped stays the caller's. Returns NULL. */
struct zpci *zpci_close(struct zpci *z);

const struct zpci_caps *zpci_caps(const struct zpci *z);
const struct zpci_counters *zpci_counters(const struct zpci *z);

/*
 * PCILG: loads @len (1..8, not crossing an 8-byte unit) bytes, in device order, into @out. Over
 * ism-vfio-pci only 1, 2, 4 or 8 bytes at a multiple of that are one PCILG; others are -EINVAL.
 */
int zpci_load(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len);

/* PCISTB: stores one block. */
int zpci_store_block(
	struct zpci *z, uint8_t pcias, uint64_t offset, const void *data, uint16_t len);

/*
 * Executes @n (1..ZPCI_BATCH_MAX) stores in order and stops at the first that fails; *done is the
 * number executed successfully, so the failing one is v[*done]. All are checked first: -EINVAL
 * means that none was submitted (*done is then the offending index). Only *done is set on failure.
 */
int zpci_store_blocks(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done);

/*
 * Maps memory for the device (and, where the transport needs that, as a source of stores).
 * [va, va+len) must be a page-aligned MAP_SHARED mapping of @fd at @fd_offset.
 */
int zpci_dma_map(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset, uint64_t *iova);
int zpci_dma_unmap(struct zpci *z, uint64_t iova, size_t len);

/*
 * Memory that only this process and the device will see, out of arenas that are mapped as a whole: it
 * costs no map of its own, and is a source of stores as well. As arena_get() and arena_put(); ends
 * with the door, if not given back before.
 */
int zpci_mem_get(struct zpci *z, size_t size, struct arena_block *ret);
int zpci_mem_put(struct zpci *z, struct arena_block *block);

/* A PCISTB, or a PCILG (@out not NULL) of 1..8 bytes as zpci_load() has it. */
struct zpci_step {
	struct zpci_store s;
	void *out;
};

/*
 * Executes @n (1..ZPCI_BATCH_MAX) steps in order, in one exchange, and stops at the first that fails;
 * *done as for zpci_store_blocks(), and what was loaded before is there. @maps (at most VFIO_MAPS_MAX,
 * whose IOVA is their address) are mapped before, in order: with one that is not done the error is its
 * mapping's, those behind it are not done either, and no step was executed.
 */
int zpci_run(struct zpci *z, struct vfio_map *maps, size_t nmaps, const struct zpci_step *v, size_t n,
	size_t *done);

/* Ends @n (1..ZPCI_BATCH_MAX) mappings in one exchange; each has its own result. 0 or -ENODEV. */
int zpci_dma_unmap_batch(struct zpci *z, struct vfio_range *v, size_t n);

int zpci_set_msi(struct zpci *z, int eventfd);
int zpci_reset(struct zpci *z);
int zpci_liveness_fd(struct zpci *z);
int zpci_check(struct zpci *z);

/* Gives a socket (borrowed) to whoever serves the function. -EOPNOTSUPP: hardware does. */
int zpci_side_channel(struct zpci *z, int fd);

/*
 * From now on stores into the window are executed by it (attached.h). 0 · -EEXIST · -EOPNOTSUPP the
 * transport sends everything to the device. Windows go before the door is closed.
 */
int zpci_add_window(struct zpci *z, struct vfio_window *w);
void zpci_del_window(struct zpci *z, struct vfio_window *w);

/* --- for transports --------------------------------------------------------------------------- */
struct zpci_ops {
	int (*load)(struct zpci *z, uint8_t pcias, uint64_t offset, void *out, uint16_t len);
	int (*store)(struct zpci *z, const struct zpci_store *v, size_t n, size_t *done);
	int (*dma_map)(struct zpci *z, void *va, size_t len, int fd, uint64_t fd_offset,
		uint64_t *iova);
	int (*dma_unmap)(struct zpci *z, uint64_t iova, size_t len);
	int (*run)(struct zpci *z, struct vfio_map *maps, size_t nmaps, const struct zpci_step *v,
		size_t n, size_t *done); /* these two only if pipelined */
	int (*dma_unmap_batch)(struct zpci *z, struct vfio_range *v, size_t n);
	int (*set_msi)(struct zpci *z, int eventfd);
	int (*reset)(struct zpci *z);
	int (*side_channel)(struct zpci *z, int fd); /* NULL: none */
	int (*add_window)(struct zpci *z, struct vfio_window *w); /* NULL: never */
	void (*del_window)(struct zpci *z, struct vfio_window *w);
	int (*liveness_fd)(struct zpci *z);
	int (*check)(struct zpci *z);
	void (*close)(struct zpci *z); /* frees the transport's own state, not @z itself */
};

/* Embedded first in a transport's own structure. */
struct zpci {
	const struct zpci_ops *ops;
	struct zpci_caps caps;
	struct zpci_counters counters;
	struct arenas arenas;
	const void *owner_thread;
	char *owner_mark; /* a page, set here and wiped in children; NULL: cannot be had */
	int owner_pid;
};

/* Sets owner and ops; caps are filled by the transport afterwards. */
void zpci_init(struct zpci *z, const struct zpci_ops *ops);

/* False in a child of the process that opened it. */
bool zpci_in_owner(const struct zpci *z);

#endif
