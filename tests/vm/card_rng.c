/* SPDX-License-Identifier: MIT */
/*
 * virtio-rng: it reads a descriptor from a ring in memory, fills the buffer that is named there with
 * random bytes, and writes to another ring that it did. Everything is little-endian, on any host.
 */
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "card.h"

enum {
	QUEUE_SIZE = 8,
	DESCRIPTORS = 0, /* places in the arena */
	AVAILABLE = 1024,
	USED = 2048,
	BUFFER = 4096,
	LENGTH = 256,
	STATUS_RESET = 0,
};

static void put(uint8_t *p, uint64_t value, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t common_read(struct card *c, uint32_t at, unsigned int n)
{
	return card_read(c, &c->bar, c->common + at, n);
}

static void common_write(struct card *c, uint32_t at, uint64_t value, unsigned int n)
{
	card_write(c, &c->bar, c->common + at, value, n);
}

static void common_write64(struct card *c, uint32_t at, uint64_t value)
{
	common_write(c, at, value & UINT32_MAX, 4);
	common_write(c, at + 4, value >> 32, 4);
}

/* One of virtio's own capabilities: a structure inside a BAR. */
static void note_capability(struct card *c, uint32_t at, uint32_t *bar)
{
	uint32_t type = card_read(c, &c->config, at + VIRTIO_PCI_CAP_CFG_TYPE, 1);
	uint32_t offset = card_read(c, &c->config, at + VIRTIO_PCI_CAP_OFFSET, 4);

	if (type == VIRTIO_PCI_CAP_COMMON_CFG) {
		c->common = offset;
		*bar = card_read(c, &c->config, at + VIRTIO_PCI_CAP_BAR, 1);
	} else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
		c->notify = offset;
	}
}

static void start(struct card *c)
{
	uint32_t at = card_read(c, &c->config, PCI_CAPABILITY_LIST, 1), bar = UINT32_MAX;

	for (int i = 0; at && i < 48; i++) {
		if (card_read(c, &c->config, at, 1) == PCI_CAP_ID_VNDR)
			note_capability(c, at, &bar);
		at = card_read(c, &c->config, at + PCI_CAP_LIST_NEXT, 1);
	}
	assert_true(bar < 6);
	assert_true(c->notify > 0);
	assert_int_equal(c->dev->ops->get_region(c->dev, bar, &c->bar), 0);
}

/* From here on it does not look at memory; a notification that came late would make it do so otherwise. */
static void quiesce(struct card *c)
{
	common_write(c, VIRTIO_PCI_COMMON_STATUS, STATUS_RESET, 1);
	assert_int_equal(common_read(c, VIRTIO_PCI_COMMON_STATUS, 1), STATUS_RESET);
}

static void negotiate(struct card *c)
{
	uint32_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	uint32_t high = 1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_ACCESS_PLATFORM - 32);

	common_write(c, VIRTIO_PCI_COMMON_STATUS, status, 1);
	common_write(c, VIRTIO_PCI_COMMON_DFSELECT, 1, 4);
	assert_int_equal(common_read(c, VIRTIO_PCI_COMMON_DF, 4) & high, high);
	common_write(c, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	common_write(c, VIRTIO_PCI_COMMON_GF, 0, 4);
	common_write(c, VIRTIO_PCI_COMMON_GFSELECT, 1, 4);
	common_write(c, VIRTIO_PCI_COMMON_GF, high, 4);
	status |= VIRTIO_CONFIG_S_FEATURES_OK;
	common_write(c, VIRTIO_PCI_COMMON_STATUS, status, 1);
	assert_int_equal(common_read(c, VIRTIO_PCI_COMMON_STATUS, 1), status);
}

/* Resets the device, gives it one queue and one buffer, and tells it so. */
static void offer(struct card *c, uint8_t *mem, uint64_t iova, uint64_t buffer, bool with_irq)
{
	uint32_t vector = with_irq ? 0 : VIRTIO_MSI_NO_VECTOR;
	uint8_t *available = mem + AVAILABLE;

	quiesce(c);
	memset(mem, 0, CARD_ARENA);
	put(mem + DESCRIPTORS + offsetof(struct vring_desc, addr), buffer, 8);
	put(mem + DESCRIPTORS + offsetof(struct vring_desc, len), LENGTH, 4);
	put(mem + DESCRIPTORS + offsetof(struct vring_desc, flags), VRING_DESC_F_WRITE, 2);
	put(available + offsetof(struct vring_avail, idx), 1, 2);
	negotiate(c);
	common_write(c, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	common_write(c, VIRTIO_PCI_COMMON_Q_SIZE, QUEUE_SIZE, 2);
	common_write(c, VIRTIO_PCI_COMMON_Q_MSIX, vector, 2);
	assert_int_equal(common_read(c, VIRTIO_PCI_COMMON_Q_MSIX, 2), vector);
	common_write64(c, VIRTIO_PCI_COMMON_Q_DESCLO, iova + DESCRIPTORS);
	common_write64(c, VIRTIO_PCI_COMMON_Q_AVAILLO, iova + AVAILABLE);
	common_write64(c, VIRTIO_PCI_COMMON_Q_USEDLO, iova + USED);
	common_write(c, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
	common_write(c, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
		VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK, 1);
	card_write(c, &c->bar, c->notify, 0, 2);
}

static void dma(struct card *c, uint8_t *mem, uint64_t iova, int irq)
{
	const volatile uint8_t *used = mem + USED + offsetof(struct vring_used, idx);
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };
	uint32_t zeros = 0;

	offer(c, mem, iova, iova + BUFFER, irq >= 0);
	if (irq >= 0)
		card_wait_irq(irq);
	for (int i = 0; *used != 1; i++) {
		assert_true(i < CARD_PATIENCE_MS / 10);
		nanosleep(&pause, NULL);
	}
	quiesce(c); /* the caller may unmap the memory now */
	for (uint32_t i = 0; i < LENGTH; i++)
		zeros += mem[BUFFER + i] == 0;
	assert_true(zeros < 32); /* of 256 random bytes */
	for (uint32_t i = BUFFER + LENGTH; i < CARD_ARENA; i++)
		assert_int_equal(mem[i], 0);
}

static void stray(struct card *c, uint8_t *mem, uint64_t iova, uint64_t nowhere)
{
	offer(c, mem, iova, nowhere, false);
}

const struct card_ops card_rng = {
	.vendor = 0x1af4,
	.device = 0x1044,
	.start = start,
	.dma = dma,
	.stray = stray,
};
