/* SPDX-License-Identifier: MIT */
#include "ism/model/config.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "ism/proto.h"
#include "vfio/zpci.h"

#define MSI_CAP 0x40u

static void put(uint8_t *p, uint64_t v, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void field(struct pci_config *c, size_t at, size_t len, uint64_t value, uint64_t writable)
{
	put(c->data + at, value, len);
	put(c->writable + at, writable, len);
}

static void bar64(struct pci_config *c, size_t at, uint64_t size)
{
	field(c, at, 8, PCI_BASE_ADDRESS_MEM_TYPE_64, ~(size - 1));
}

void pci_config_init(struct pci_config *c, uint64_t bar2_size)
{
	memset(c, 0, sizeof(*c));
	field(c, PCI_VENDOR_ID, 2, ISM_PCI_VENDOR, 0);
	field(c, PCI_DEVICE_ID, 2, ISM_PCI_DEVICE, 0);
	field(c, PCI_COMMAND, 2, 0,
		PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	field(c, PCI_STATUS, 2, PCI_STATUS_CAP_LIST, 0);
	field(c, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	bar64(c, PCI_BASE_ADDRESS_0, ZPCI_OFFSET_LIMIT);
	bar64(c, PCI_BASE_ADDRESS_2, bar2_size);
	field(c, PCI_SUBSYSTEM_VENDOR_ID, 2, ISM_PCI_VENDOR, 0);
	field(c, PCI_CAPABILITY_LIST, 1, MSI_CAP, 0);
	field(c, PCI_INTERRUPT_LINE, 1, 0, 0xff);
	field(c, MSI_CAP + PCI_CAP_LIST_ID, 1, PCI_CAP_ID_MSI, 0);
	field(c, MSI_CAP + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT, PCI_MSI_FLAGS_ENABLE);
	field(c, MSI_CAP + PCI_MSI_ADDRESS_LO, 4, 0, 0xfffffffc);
	field(c, MSI_CAP + PCI_MSI_ADDRESS_HI, 4, 0, 0xffffffff);
	field(c, MSI_CAP + PCI_MSI_DATA_64, 2, 0, 0xffff);
}

int pci_config_read(const struct pci_config *c, uint64_t offset, void *buf, size_t len)
{
	if (offset >= PCI_CONFIG_SIZE || len > PCI_CONFIG_SIZE - offset)
		return -EINVAL;
	memcpy(buf, c->data + offset, len);
	return 0;
}

int pci_config_write(struct pci_config *c, uint64_t offset, const void *buf, size_t len)
{
	const uint8_t *src = buf;
	size_t i;

	if ((len != 1 && len != 2 && len != 4) || offset % len ||
		offset > PCI_CONFIG_SIZE - len)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		uint8_t w = c->writable[offset + i];

		c->data[offset + i] = (uint8_t)((c->data[offset + i] & ~w) | (src[i] & w));
	}
	return 0;
}

bool pci_config_master(const struct pci_config *c)
{
	return c->data[PCI_COMMAND] & PCI_COMMAND_MASTER;
}
