/* SPDX-License-Identifier: MIT */
/*
 * ism_double.h - the kernel's VFIO for ISM functions, inside this process
 *
 * Stands behind struct sys_ops: sysfs, the nodes of both ways to a function (group and container,
 * cdev and iommufd), and ioctl by ioctl and errno by errno what the two kernels do that can drive
 * ISM. Behind it are functions of the model on one fabric, so a driver finds a complete device, and
 * several find each other.
 *
 *	ISM_DOUBLE_REGION  vfio-pci with the zPCI I/O region: regions 2^40 apart, BAR accesses
 *			   refused, requests run on the memory of this very process
 *	ISM_DOUBLE_BARS	   ism-vfio-pci: nine regions 2^48 apart, of which ROM and VGA are refused;
 *			   one PCISTB a write, loads cut into aligned pieces
 *	ISM_DOUBLE_PLAIN   vfio-pci as it is: neither
 *
 * Function N is 000(N+1):00:00.0, alone in IOMMU group 10 + N, with device node vfioN. One thread;
 * one double at a time, since system calls carry no context.
 */
#ifndef TEST_ISM_DOUBLE_H
#define TEST_ISM_DOUBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "ism/model/fabric.h"
#include "vfio/device.h"
#include "vfio/open.h"
#include "vfio/sys.h"

#define ISM_DOUBLE_MAX 4u /* functions */

#define ISM_DOUBLE_IOVA_START UINT64_C(0x100000000)
#define ISM_DOUBLE_IOVA_END   UINT64_C(0x1ffffffff)

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
	enum vfio_way way;	   /* of ism_double_open() */
};

/* Starts; the fabric's knobs may be set before a function is opened. 0 or -errno. */
int ism_double_start(const struct ism_double_params *params, struct fabric **ret);

/* Ends it; -EBUSY when a descriptor or a DMA map was left behind. */
int ism_double_stop(void);

const char *ism_double_bdf(unsigned int nr);

/* Opens function @nr through vfio_open(). 0 or -errno. */
int ism_double_open(unsigned int nr, struct vfio_device **ret);

/* The @nth system call from now on (1: the next) but close() fails with @err; 0: none does. */
void ism_double_fail(unsigned int nth, int err);

/* What the machine is like; may be changed between calls. All false: nothing is in the way. */
struct ism_double_host {
	const char *driver;	/* NULL: the right one; "": none */
	const char *mate;	/* driver of another member of each IOMMU group; NULL: there is none */
	const char *denied;	/* nodes that begin so may not be opened */
	const char *absent;	/* and these are not there */
	bool no_iommu;		/* no function is in a group */
	bool no_cdev;		/* a kernel without device nodes: it lists the devices all the same */
	bool old;		/* with no_cdev: it does not, as before 6.1 */
	bool no_iommufd;	/* its module is not loaded */
	bool no_type1;		/* nor this one */
	bool unsafe;		/* interrupts cannot be remapped */
	bool taken;		/* another process has the functions */
	bool tells_no_ranges;	/* a kernel before 5.4 */
	bool err_irq;		/* functions are PCI Express ones */
	bool no_request;	/* there is no request interrupt */
	bool no_reset;
	uint64_t lock_limit;	/* RLIMIT_MEMLOCK; 0: none */
	unsigned int map_limit; /* of a container; 0: none */
};
struct ism_double_host *ism_double_host(void);

/*
 * The operator unbinds function @nr: the driver is asked for it, and when the last descriptor of it
 * is closed it has no driver any more, until it is bound again. True: it is unbound.
 */
void ism_double_unbind(unsigned int nr);
bool ism_double_unbound(unsigned int nr);
void ism_double_bind(unsigned int nr);

/* The function is taken out of the machine: no instruction reaches it, sysfs has forgotten it. */
void ism_double_remove(unsigned int nr);
/* And put back, as new. */
void ism_double_return(unsigned int nr);

/* Time passes for the fabric, as it does at each system call. */
void ism_double_run(void);

/* The function reports an error, where it can. */
void ism_double_report_error(unsigned int nr);

/* Accesses to BARs and to configuration space and the region that the double has seen. */
struct ism_double_count {
	unsigned int calls;
	unsigned int bar_reads, bar_writes;
	unsigned int region_reads, region_writes;
	unsigned int odd_region_writes; /* other than 32 bytes at 16 */
	unsigned int maps, unmaps;
	unsigned int out_of_range; /* maps above the function's last address: error state */
	unsigned int by_group, by_cdev; /* openings */
};
const struct ism_double_count *ism_double_count(void);

extern const struct sys_ops ism_double_sys;

#endif
