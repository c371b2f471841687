/* SPDX-License-Identifier: MIT */
/*
 * machine.h - a machine as sysfs and /dev show it, in a directory
 *
 * Made of plain files and links; machine_sys looks and writes below it, and what is written to the
 * files that drivers and buses have does there what a kernel would do.
 */
#ifndef TESTS_CTL_MACHINE_H
#define TESTS_CTL_MACHINE_H

#include "vfio/sys.h"

extern char machine_root[64];

/* An empty machine with the drivers ism, ism_vfio_pci, vfio-pci and e1000e. */
void machine_make(void);
void machine_remove(void);

void machine_file(const char *path, const char *text, unsigned int mode);
void machine_unlink(const char *path);
/* @driver "": none; @group negative: none. Of id @vendor:@device, hex. */
void machine_function(const char *bdf, const char *vendor, const char *device, const char *driver,
	int group);
/* The driver that a function has now; "" for none. */
const char *machine_driver(const char *bdf);

/* sys_host, and a kernel that answers. */
extern const struct sys_ops machine_sys;
extern int machine_fail_write; /* number of the write that fails; 0: none */
extern int machine_fail_errno; /* with this */
extern int machine_writes;     /* so far */
extern const char *machine_refuses; /* a driver that takes no function; NULL: all do */

#endif
