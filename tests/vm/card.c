/* SPDX-License-Identifier: MIT */
#include "card.h"

#include <linux/pci_regs.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <cmocka.h>

uint32_t card_read(struct card *c, const struct vfio_region_desc *r, uint64_t offset, unsigned int n)
{
	uint8_t b[4] = { 0 };

	assert_int_equal(c->dev->ops->region_read(c->dev, r, offset, b, n), n);
	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

void card_write(struct card *c, const struct vfio_region_desc *r, uint64_t offset, uint64_t value,
	unsigned int n)
{
	uint8_t b[8];

	for (unsigned int i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(value >> 8 * i);
	assert_int_equal(c->dev->ops->region_write(c->dev, r, offset, b, n), n);
}

void card_wait_irq(int irq)
{
	struct pollfd p = { .fd = irq, .events = POLLIN };
	eventfd_t n = 0;

	assert_int_equal(poll(&p, 1, CARD_PATIENCE_MS), 1);
	assert_int_equal(eventfd_read(irq, &n), 0);
	assert_true(n >= 1);
}

void card_open(struct card *c, struct vfio_device *dev)
{
	static const struct card_ops *const known[] = { &card_edu, &card_rng };
	uint32_t id, command;

	memset(c, 0, sizeof(*c));
	c->dev = dev;
	assert_int_equal(dev->ops->get_region(dev, VFIO_DEV_REGION_CONFIG, &c->config), 0);
	id = card_read(c, &c->config, PCI_VENDOR_ID, 4);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (id == ((uint32_t)known[i]->device << 16 | known[i]->vendor))
			c->ops = known[i];
	assert_non_null(c->ops);
	command = card_read(c, &c->config, PCI_COMMAND, 2);
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	card_write(c, &c->config, PCI_COMMAND, command, 2);
	assert_int_equal(card_read(c, &c->config, PCI_COMMAND, 2), command);
	c->ops->start(c);
}
