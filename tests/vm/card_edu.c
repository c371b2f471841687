/* SPDX-License-Identifier: MIT */
/*
 * QEMU's edu: one BAR with registers and a DMA engine that copies between memory and a buffer of
 * 4 KiB in the device, at most 4095 bytes at a time (one more and some versions of QEMU abort). Each
 * copy takes it a tenth of a second.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "card.h"

enum {
	REG_ID = 0x00,
	REG_INVERT = 0x04,
	REG_IRQ_STATUS = 0x24,
	REG_IRQ_RAISE = 0x60,
	REG_IRQ_ACK = 0x64,
	REG_DMA_FROM = 0x80,
	REG_DMA_TO = 0x88,
	REG_DMA_COUNT = 0x90,
	REG_DMA_COMMAND = 0x98,
	DMA_START = 1,
	DMA_TO_MEMORY = 2,
	BUFFER = 0x40000, /* address of the device's own */
	LENGTH = 4000,
};

#define ID 0x010000edu

static void start(struct card *c)
{
	uint32_t probe = 0x12345678;

	assert_int_equal(c->dev->ops->get_region(c->dev, VFIO_DEV_REGION_BAR0, &c->bar), 0);
	assert_int_equal(c->bar.size, 1u << 20);
	assert_int_equal(card_read(c, &c->bar, REG_ID, 4), ID);
	card_write(c, &c->bar, REG_INVERT, probe, 4);
	assert_int_equal(card_read(c, &c->bar, REG_INVERT, 4), ~probe);
}

static void copy(struct card *c, uint64_t from, uint64_t to, uint32_t command)
{
	const struct timespec pause = { .tv_nsec = 10 * 1000 * 1000 };

	assert_true(from < UINT32_MAX && to < UINT32_MAX);
	card_write(c, &c->bar, REG_DMA_FROM, from, 4);
	card_write(c, &c->bar, REG_DMA_TO, to, 4);
	card_write(c, &c->bar, REG_DMA_COUNT, LENGTH, 4);
	card_write(c, &c->bar, REG_DMA_COMMAND, DMA_START | command, 4);
	for (int i = 0; card_read(c, &c->bar, REG_DMA_COMMAND, 4) & DMA_START; i++) {
		assert_true(i < CARD_PATIENCE_MS / 10);
		nanosleep(&pause, NULL);
	}
}

/* The second half of the arena becomes what the first is, and nothing around it changes. */
static void dma(struct card *c, uint8_t *mem, uint64_t iova, int irq)
{
	uint8_t *from = mem + 96, *to = mem + CARD_ARENA / 2 + 32;

	c->round++;
	memset(mem, 0xee, CARD_ARENA);
	for (uint32_t i = 0; i < LENGTH; i++)
		from[i] = (uint8_t)(i * 7 + (i >> 8) + c->round);
	copy(c, iova + (uint64_t)(from - mem), BUFFER, 0);
	memset(from + LENGTH, 0x11, 8);
	copy(c, BUFFER, iova + (uint64_t)(to - mem), DMA_TO_MEMORY);
	assert_memory_equal(from, to, LENGTH);
	assert_int_equal(to[-1], 0xee);
	assert_int_equal(to[LENGTH], 0xee);
	if (irq < 0)
		return;
	card_write(c, &c->bar, REG_IRQ_RAISE, 0x40, 4);
	card_wait_irq(irq);
	assert_int_equal(card_read(c, &c->bar, REG_IRQ_STATUS, 4), 0x40);
	card_write(c, &c->bar, REG_IRQ_ACK, 0x40, 4);
}

static void stray(struct card *c, uint8_t *mem, uint64_t iova, uint64_t nowhere)
{
	copy(c, BUFFER, nowhere, DMA_TO_MEMORY);
}

const struct card_ops card_edu = {
	.vendor = 0x1234,
	.device = 0x11e8,
	.forgives = true,
	.start = start,
	.dma = dma,
	.stray = stray,
};
