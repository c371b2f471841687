/* SPDX-License-Identifier: MIT */
/*
 * proto.h - vfio-user wire format
 *
 * AF_UNIX stream, one connection per device, host byte order, descriptors by SCM_RIGHTS. Formats
 * follow the vfio-user specification (QEMU docs/interop/vfio-user); device data inside region
 * messages is raw bytes.
 *
 * Four private extensions, used only when both sides name them in the version negotiation under
 * capabilities.smcd_user:
 *   "iova_is_va": the client's DMA maps use its virtual addresses, so that gaddr in a request of
 *		   the zPCI I/O region is an address in the server's DMA table.
 *   "chain":	   VU_F_CHAIN in a command says: if the command before it on this connection failed
 *		   or was cancelled, cancel this one too (error reply ECANCELED, nothing executed).
 *   "together":	   VU_F_FD in a command says: its descriptor is the first of those that have arrived and that
 *		   no command has taken yet. So those of several commands can be sent with the first of them,
 *		   all of it in one piece, for which a sleeping server is woken once.
 *   "side":	   VU_SIDE_CHANNEL hands over a connected SOCK_SEQPACKET socket, on which the
 *		   device's driver and model talk about what no instruction can do.
 */
#ifndef SMCDU_VFIO_USER_PROTO_H
#define SMCDU_VFIO_USER_PROTO_H

#include <stdint.h>

enum vu_command {
	VU_VERSION = 1,
	VU_DMA_MAP = 2,
	VU_DMA_UNMAP = 3,
	VU_DEVICE_GET_INFO = 4,
	VU_DEVICE_GET_REGION_INFO = 5,
	VU_DEVICE_GET_REGION_IO_FDS = 6,
	VU_DEVICE_GET_IRQ_INFO = 7,
	VU_DEVICE_SET_IRQS = 8,
	VU_REGION_READ = 9,
	VU_REGION_WRITE = 10,
	VU_DMA_READ = 11,
	VU_DMA_WRITE = 12,
	VU_DEVICE_RESET = 13,
	VU_REGION_WRITE_MULTI = 15,
	VU_DEVICE_FEATURE = 16,
	VU_MIG_DATA_READ = 17,
	VU_MIG_DATA_WRITE = 18,
	VU_SIDE_CHANNEL = 64, /* private: see above */
};

#define VU_F_TYPE_MASK	 0xfu
#define VU_F_TYPE_CMD	 0u
#define VU_F_TYPE_REPLY	 1u
#define VU_F_NO_REPLY	 0x10u
#define VU_F_ERROR	 0x20u
#define VU_F_CHAIN	 0x100u /* private: see above */
#define VU_F_FD		 0x200u /* private: see above */

struct vu_hdr {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* including this header */
	uint32_t flags;
	uint32_t error; /* errno of an error reply */
};

struct vu_version {
	uint16_t major;
	uint16_t minor;
	/* followed by NUL-terminated JSON */
};

#define VU_DMA_F_READ  1u
#define VU_DMA_F_WRITE 2u
#define VU_UNMAP_F_ALL 2u /* libvfio-user's: address and size are 0 */

struct vu_dma_map {
	uint32_t argsz;
	uint32_t flags;
	uint64_t offset;
	uint64_t addr;
	uint64_t size;
};

struct vu_dma_unmap {
	uint32_t argsz;
	uint32_t flags;
	uint64_t addr;
	uint64_t size;
};

struct vu_device_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
};

/* Sent when the request's argsz has room: the rest of VFIO's device info, then the capabilities. */
struct vu_device_info_ext {
	struct vu_device_info base;
	uint32_t cap_offset;
	uint32_t pad;
};

struct vu_region_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t cap_offset;
	uint64_t size;
	uint64_t offset;
};

struct vu_irq_info {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t count;
};

struct vu_irq_set {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
};

struct vu_region_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
	/* followed by data */
};

_Static_assert(sizeof(struct vu_hdr) == 16, "vfio-user header");
_Static_assert(sizeof(struct vu_dma_map) == 32, "DMA_MAP");
_Static_assert(sizeof(struct vu_dma_unmap) == 24, "DMA_UNMAP");
_Static_assert(sizeof(struct vu_device_info) == 16, "GET_INFO");
_Static_assert(sizeof(struct vu_device_info_ext) == 24, "GET_INFO with capabilities");
_Static_assert(sizeof(struct vu_region_info) == 32, "GET_REGION_INFO");
_Static_assert(sizeof(struct vu_irq_info) == 16, "GET_IRQ_INFO");
_Static_assert(sizeof(struct vu_irq_set) == 20, "SET_IRQS");
_Static_assert(sizeof(struct vu_region_access) == 16, "REGION_READ/WRITE");

#define VU_MAX_DATA_XFER  (1024u * 1024u) /* bytes of region data per message */
#define VU_MAX_MSG	  (VU_MAX_DATA_XFER + 64u)
#define VU_MAX_FDS	  16u
#define VU_MAX_DMA_MAPS	  65535u

#endif
