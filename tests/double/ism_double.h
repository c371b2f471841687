/* SPDX-License-Identifier: MIT */
/*
 * ism_double.h - the kernel's VFIO for ISM functions, inside this process
 *
 * Stands behind struct sys_ops from the point where a device descriptor has been got: ioctl by
 * ioctl and errno by errno what the two kernels do that can drive ISM. Behind it are functions of
 * the model on one fabric, so a driver finds a complete device, and several find each other.
 *
 *	ISM_DOUBLE_REGION  vfio-pci with the zPCI I/O region: regions 2^40 apart, BAR accesses
 *			   refused, requests run on the memory of this very process
 *	ISM_DOUBLE_BARS	   ism-vfio-pci: nine regions 2^48 apart, of which ROM and VGA are refused;
 *			   one PCISTB a write, loads cut into aligned pieces
 *	ISM_DOUBLE_PLAIN   vfio-pci as it is: neither
 *
 * One thread; one double at a time, since system calls carry no context.
 */
#ifndef TEST_ISM_DOUBLE_H
#define TEST_ISM_DOUBLE_H

#include <stdint.h>

#include "ism/model/fabric.h"
#include "vfio/device.h"
#include "vfio/sys.h"

#define ISM_DOUBLE_MAX 4u /* functions */

enum ism_double_kind {
	ISM_DOUBLE_REGION,
	ISM_DOUBLE_BARS,
	ISM_DOUBLE_PLAIN,
};

struct ism_double_params {
	enum ism_double_kind kind;
	unsigned int functions;	   /* 1..ISM_DOUBLE_MAX */
	unsigned int region_index; /* of the zPCI I/O region; 0: 9 */
	unsigned int caps_version; /* of the zPCI capabilities; 0: 2 */
};

/* Starts; the fabric's knobs may be set before a function is opened. 0 or -errno. */
int ism_double_start(const struct ism_double_params *params, struct fabric **ret);

/* Ends it; -EBUSY when a descriptor or a DMA map was left behind. */
int ism_double_stop(void);

/* Opens function @nr through vfio_kernel_attach(). 0 or -errno; -EBUSY: it is open. */
int ism_double_open(unsigned int nr, struct vfio_device **ret);

/* The @nth system call from now on (1: the next) but close() fails with @err; 0: none does. */
void ism_double_fail(unsigned int nth, int err);

/* Accesses to BARs and to configuration space and the region that the double has seen. */
struct ism_double_count {
	unsigned int calls;
	unsigned int bar_reads, bar_writes;
	unsigned int region_reads, region_writes;
	unsigned int odd_region_writes; /* other than 32 bytes at 16 */
};
const struct ism_double_count *ism_double_count(void);

extern const struct sys_ops ism_double_sys;

#endif
