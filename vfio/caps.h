/* SPDX-License-Identifier: MIT */
/*
 * caps.h - VFIO capability chains
 *
 * Information structures may carry a chain of capabilities: headers {id, version, next} whose next
 * is an offset from the start of the structure, 0 at the end. The chain comes from a kernel or,
 * over vfio-user, from another process, so the walker never leaves the buffer, and a chain has to
 * run forward without overlaps; that also bounds the walk.
 */
#ifndef SMCDU_VFIO_CAPS_H
#define SMCDU_VFIO_CAPS_H

#include <stddef.h>
#include <stdint.h>

#include "vfio/device.h"

#define VFIO_CAP_HDR_SIZE 8u

struct vfio_caps {
	const uint8_t *buf; /* the whole information structure */
	size_t len;	    /* bytes of it that are there */
	size_t min;	    /* the next capability may not start before this */
	uint32_t next;	    /* 0: end */
};

struct vfio_cap {
	uint16_t id;
	uint16_t version;
	const uint8_t *data; /* at the header: field offsets are those of linux/vfio*.h */
	size_t len;	     /* readable bytes from @data up to the next capability */
};

/*
 * @buf, @len: the structure with its capabilities (host byte order); @fixed: the size of its fixed
 * part; @first: its cap_offset, 0 for none.
 */
void vfio_caps_init(struct vfio_caps *c, const void *buf, size_t len, size_t fixed, uint32_t first);

/* 1: *cap is the next one · 0: end of chain · -EPROTO: the chain is malformed. */
int vfio_caps_next(struct vfio_caps *c, struct vfio_cap *cap);

/*
 * What this project uses of a device's, a region's and a container's chain. Unknown capabilities
 * and versions 0 are skipped. 0 or -EPROTO (malformed chain, or a known capability that is too
 * short); outputs are untouched on failure.
 */
int vfio_caps_device(struct vfio_caps *c, struct vfio_dev_info *info);
int vfio_caps_region(struct vfio_caps *c, struct vfio_region_desc *desc);

/* Usable IOVA range, both ends inclusive. */
struct iova_range {
	uint64_t start;
	uint64_t end;
};

/* Number of ranges put into @v (at most @max), 0 when the chain has no such capability, -EPROTO. */
int vfio_caps_iova_ranges(struct vfio_caps *c, struct iova_range *v, size_t max);

#endif
