/* SPDX-License-Identifier: MIT */
/*
 * zpci-io.h - layout of VFIO's zPCI I/O region
 *
 * One VFIO device region of 48 bytes carries zPCI instructions to a function: 16 readable bytes of
 * header, then a 32-byte request. Writing the request executes it: PCILG when READ is set, else
 * PCISTB when BLOCKW is set. The request names its data by address (gaddr); the reply of a PCILG is
 * stored there as eight right-justified big-endian bytes.
 *
 * Integers are in the byte order of the host that serves the region. The region is found by its
 * type capability, never by a fixed index. See docs/zpci-io-region.md for the exact behaviour.
 */
#ifndef ZPCI_IO_H
#define ZPCI_IO_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Region identity: the "type" capability (id 2) of VFIO_DEVICE_GET_REGION_INFO. */
#define ZPCI_IO_REGION_TYPE	0x80001014u /* PCI vendor flavour (bit 31) | IBM (0x1014) */
#define ZPCI_IO_REGION_SUBTYPE	2u

#define ZPCI_IO_FLAG_READ	(UINT64_C(1) << 0) /* PCILG: load up to 8 bytes */
#define ZPCI_IO_FLAG_BLOCKW	(UINT64_C(1) << 1) /* PCISTB: store a block of up to hdr.max bytes */

struct zpci_io_hdr {
	uint64_t flags;		/* none defined: ignore unknown bits */
	uint16_t max;		/* longest PCISTB in bytes, 8..4096 */
	uint16_t reserved;
	uint32_t reserved2;
};

struct zpci_io_req {
	uint64_t flags;		/* ZPCI_IO_FLAG_* */
	uint64_t gaddr;		/* address of the data: 8-aligned, data within one 4 KiB page */
	uint64_t offset;	/* offset in the PCI address space */
	uint32_t reserved;	/* send 0 */
	uint16_t len;		/* bytes: 1..8 (READ), 1..hdr.max (BLOCKW) */
	uint8_t pcias;		/* PCI address space: 0..5 = BAR n, 15 = configuration space */
	uint8_t reserved2;	/* send 0 */
};

struct zpci_io_region {
	struct zpci_io_hdr hdr;
	struct zpci_io_req req;
};

#define ZPCI_IO_HDR_OFFSET	0u
#define ZPCI_IO_REQ_OFFSET	16u
#define ZPCI_IO_REGION_SIZE	48u

#ifdef __cplusplus
}
#endif

#endif /* ZPCI_IO_H */
