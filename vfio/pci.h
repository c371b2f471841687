/* SPDX-License-Identifier: MIT */
/*
 * pci.h - what sysfs says about a PCI function, and the little that is written there
 *
 * Functions are named by their address as sysfs spells it, "0001:00:00.0". All errors are negative
 * errnos; -ENODEV always means that there is no such function. Outputs are untouched on failure.
 */
#ifndef SMCDU_VFIO_PCI_H
#define SMCDU_VFIO_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/sys.h"

#define PCI_BDF_MAX  20u /* with the final NUL; a domain may have more than four digits */
#define PCI_NAME_LEN 64u /* of drivers and nodes, with the final NUL */

#define PCI_ISM_VENDOR 0x1014u
#define PCI_ISM_DEVICE 0x04edu

/* "0001:00:00.0": domain (4..8 digits), bus, device, function, in lower-case hex. */
bool pci_bdf_ok(const char *bdf);

/* 0 or -ENODEV. */
int pci_exists(const struct sys_ops *sys, const char *bdf);

/* The driver's name, "" when none is bound. */
int pci_driver(const struct sys_ops *sys, const char *bdf, char name[PCI_NAME_LEN]);

/* Whether a driver of that name gives functions to VFIO. */
bool pci_driver_is_vfio(const char *name);

/* The number of the IOMMU group. -ENOENT: it is in none. */
int pci_group(const struct sys_ops *sys, const char *bdf, unsigned int *group);

/*
 * The name of the VFIO device that has a node, "vfio3"; -ENOENT: none (driver without VFIO, kernel
 * without CONFIG_VFIO_DEVICE_CDEV, which lists the device since 6.1 all the same).
 */
int pci_cdev(const struct sys_ops *sys, const char *bdf, char name[PCI_NAME_LEN]);

int pci_id(const struct sys_ops *sys, const char *bdf, uint16_t *vendor, uint16_t *device);

/*
 * Members of the IOMMU group other than @bdf whose driver keeps it from being given to VFIO, as text
 * ("0000:00:1f.0 (e1000e), ..."). Their number, or -errno.
 */
int pci_group_blockers(const struct sys_ops *sys, unsigned int group, const char *bdf, char *text,
	size_t size);

/* Calls @fn for every function of the machine until it returns a positive number, then that. */
int pci_each(const struct sys_ops *sys, int (*fn)(void *ctx, const char *bdf), void *ctx);

/* A file below /sys or /proc: its text without the final newline; writes @text in one call. */
int pci_read_file(const struct sys_ops *sys, const char *path, char *text, size_t size);
int pci_write_file(const struct sys_ops *sys, const char *path, const char *text);

#endif
