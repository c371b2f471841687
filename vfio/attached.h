/* SPDX-License-Identifier: MIT */
/*
 * attached.h - the attached transport: PCISTBs that are executed in this process
 *
 * A software fabric can hand the memory behind a part of a function's address space to the one who
 * may write it. Such a part is a window. The device returned here stands before the real one: what
 * is written to the zPCI I/O region is the same request, judged by the same rules (region_exec.c),
 * and a PCISTB into a window is then executed by the window's owner, without a system call.
 *
 * Whatever is not simply that goes to the device itself, as the same request: every other operation,
 * every refused request, and every store that the window does not take now (its DMB is no more, the
 * fabric has something to say about it). So errors are always the device's own.
 *
 * Invariants: stores keep their order across both ways; a batch stops at the first that fails; a
 * window is never asked about a store that leaves it, and about none that the rules refuse.
 */
#ifndef SMCDU_VFIO_ATTACHED_H
#define SMCDU_VFIO_ATTACHED_H

#include <stdbool.h>
#include <stdint.h>

#include "vfio/base/hash.h"
#include "vfio/device.h"

#define ATTACHED_SHIFT 32u /* windows are this big, and aligned: one for each value of the rest */

struct vfio_window {
	uint32_t key; /* pcias 0, offsets key << 32 to the next */
	/* Whether stores are taken now. */
	bool (*open)(const struct vfio_window *w);
	/* Executes one. False, with nothing done: the device shall. */
	bool (*store)(struct vfio_window *w, uint32_t offset, const void *data, uint16_t len);
	UT_hash_handle hh;
};

/*
 * Puts the transport before @dev, which it owns from then on. *ret: the device to use; @dev itself
 * where that cannot have windows (no region, or requests are not resolved by DMA map). 0 or -errno,
 * and @dev is closed.
 */
int vfio_attached_open(struct vfio_device *dev, struct vfio_device **ret);

#endif
