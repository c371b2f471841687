/* SPDX-License-Identifier: MIT */
/*
 * config.h - the PCI configuration space of an ISM function
 *
 * 256 bytes, little-endian as PCI demands on every host: 1014:04ed, class 0, BAR 0 (64-bit memory,
 * 2^48), BAR 2 (64-bit memory), an MSI capability with one vector and a 64-bit address. Which bits
 * a driver may change is one mask per byte, which also makes BAR sizing work: the address bits
 * below the size are not writable.
 */
#ifndef SMCDU_MODEL_CONFIG_H
#define SMCDU_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCI_CONFIG_SIZE 256u

struct pci_config {
	uint8_t data[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];
};

/* As after power-on. @bar2_size: a power of two, at least 16. */
void pci_config_init(struct pci_config *c, uint64_t bar2_size);

/* Any range inside the 256 bytes. 0 or -EINVAL. */
int pci_config_read(const struct pci_config *c, uint64_t offset, void *buf, size_t len);

/* 1, 2 or 4 bytes, naturally aligned; read-only bits keep their value. 0 or -EINVAL. */
int pci_config_write(struct pci_config *c, uint64_t offset, const void *buf, size_t len);

bool pci_config_master(const struct pci_config *c);

#endif
