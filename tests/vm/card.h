/* SPDX-License-Identifier: MIT */
/*
 * card.h - a device that QEMU emulates, driven far enough to prove what VFIO did for it
 *
 * Neither knows ISM's instructions; what counts is that a device other than a processor reads and
 * writes the memory that was mapped for it, at the addresses that were given out, and that its
 * interrupt arrives. All of it goes through struct vfio_device. Failures are CMocka's.
 */
#ifndef SMCDU_TEST_CARD_H
#define SMCDU_TEST_CARD_H

#include <stdbool.h>
#include <stdint.h>

#include "vfio/device.h"

#define CARD_ARENA 16384u /* bytes of memory that dma() works with */

struct card {
	const struct card_ops *ops;
	struct vfio_device *dev; /* borrowed */
	struct vfio_region_desc config;
	struct vfio_region_desc bar;
	/* Of a virtio device: where in the BAR, and how far the queue has got. */
	uint32_t common, notify;
	uint16_t round;
};

struct card_ops {
	uint16_t vendor;
	uint16_t device;
	bool forgives; /* a DMA to nowhere leaves the device in order */
	/* Finds what the others need in configuration space and BARs. Bus mastering is on. */
	void (*start)(struct card *c);
	/*
	 * Makes the device read from [iova, +CARD_ARENA), which is @mem here, and write into it.
	 * Checks that it did. With @irq >= 0 its interrupt must arrive there as well.
	 */
	void (*dma)(struct card *c, uint8_t *mem, uint64_t iova, int irq);
	/* Makes it write to addresses that nobody mapped. @mem as above. */
	void (*stray)(struct card *c, uint8_t *mem, uint64_t iova, uint64_t nowhere);
};

extern const struct card_ops card_edu; /* QEMU's teaching device: copies to and from a buffer */
extern const struct card_ops card_rng; /* virtio-rng: descriptors in memory, random bytes into it */

/* The card that @dev is; enables memory access and bus mastering. */
void card_open(struct card *c, struct vfio_device *dev);

/* Little-endian registers. */
uint32_t card_read(struct card *c, const struct vfio_region_desc *r, uint64_t offset, unsigned int n);
void card_write(struct card *c, const struct vfio_region_desc *r, uint64_t offset, uint64_t value,
	unsigned int n);

/* Waits for the eventfd @irq to be raised, and takes that. */
void card_wait_irq(int irq);

/* Emulated devices take their time; this much says that nothing will come. */
#define CARD_PATIENCE_MS 20000

#endif
