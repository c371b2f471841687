/* SPDX-License-Identifier: MIT */
/*
 * uapi.h - what the kernel's headers may be too old for: VFIO device nodes and iommufd
 *
 * Declared here under names of our own, so that it builds with any linux/vfio.h. Every structure
 * begins with its size, from which the kernel tells versions apart; these are the first ones.
 */
#ifndef SMCDU_VFIO_UAPI_H
#define SMCDU_VFIO_UAPI_H

#include <linux/ioctl.h>
#include <stdint.h>

/* On a device node (/dev/vfio/devices/vfioN). */
#define CDEV_BIND   _IO(';', 118)
#define CDEV_ATTACH _IO(';', 119)
/* On /dev/iommu. */
#define IOAS_ALLOC  _IO(';', 0x81)
#define IOAS_RANGES _IO(';', 0x84)
#define IOAS_MAP    _IO(';', 0x85)
#define IOAS_UNMAP  _IO(';', 0x86)

struct cdev_bind {
	uint32_t argsz;
	uint32_t flags;
	int32_t iommufd;
	uint32_t out_devid;
};

struct cdev_attach {
	uint32_t argsz;
	uint32_t flags;
	uint32_t pt_id; /* of an IOAS */
};

struct ioas_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t out_ioas_id;
};

struct ioas_ranges {
	uint32_t size;
	uint32_t ioas_id;
	uint32_t num; /* room for ranges; how many there are */
	uint32_t reserved;
	uint64_t ranges; /* of {start, last}, 64 bits each */
	uint64_t out_alignment;
};

#define IOAS_MAP_FIXED_IOVA 1u
#define IOAS_MAP_WRITEABLE  2u
#define IOAS_MAP_READABLE   4u

struct ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t reserved;
	uint64_t user_va;
	uint64_t length;
	uint64_t iova;
};

struct ioas_unmap {
	uint32_t size;
	uint32_t ioas_id;
	uint64_t iova;
	uint64_t length; /* asked for; done */
};

_Static_assert(sizeof(struct cdev_bind) == 16, "cdev_bind");
_Static_assert(sizeof(struct cdev_attach) == 12, "cdev_attach");
_Static_assert(sizeof(struct ioas_alloc) == 12, "ioas_alloc");
_Static_assert(sizeof(struct ioas_ranges) == 32, "ioas_ranges");
_Static_assert(sizeof(struct ioas_map) == 40, "ioas_map");
_Static_assert(sizeof(struct ioas_unmap) == 24, "ioas_unmap");

#endif
