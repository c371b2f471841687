/* SPDX-License-Identifier: MIT */
/* What the two halves of the double share: calls (ism_double.c) and accesses (ism_double_io.c). */
#ifndef TEST_ISM_DOUBLE_PRIV_H
#define TEST_ISM_DOUBLE_PRIV_H

#include <linux/vfio.h>
#include <stdbool.h>

#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/region_exec.h"

#define ISM_DOUBLE_MAPS 4096u

struct ism_port {
	char name[16];
	struct function *fn;
	bool open;
	int device_fd, container_fd; /* what this process has; the double listens to close() */
	int msi, req;		     /* duplicates of the driver's eventfds; -1: none */
	struct region_exec exec;
	struct vfio_iommu_type1_dma_map *maps;
	unsigned int nmaps;
};

struct ism_double {
	struct ism_double_params params;
	struct fabric *fabric;
	struct ism_port port[ISM_DOUBLE_MAX];
	struct ism_double_count count;
	unsigned int fail_nth;
	int fail_errno;
	int probe[2];	 /* pipe: asks the kernel what may be read and written */
	void *read_only; /* page that was made writable for one request */
};

/* Length of a region, 0 when it is not there. */
uint64_t ism_double_region_size(const struct ism_double *d, const struct ism_port *p,
	uint32_t index);
unsigned int ism_double_shift(const struct ism_double *d);

void ism_double_io_init(struct ism_double *d, struct ism_port *p);

/* Bytes or -errno. @pos: of the device's file. */
ssize_t ism_double_read(struct ism_double *d, struct ism_port *p, uint64_t pos, void *buf,
	size_t count);
ssize_t ism_double_write(struct ism_double *d, struct ism_port *p, uint64_t pos, const void *buf,
	size_t count);

#endif
