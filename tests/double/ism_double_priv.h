/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the double share: life and calls (ism_double.c), the machine as sysfs shows it
 * (_host.c), containers and address spaces (_dma.c), the device's ioctls (_dev.c) and accesses
 * (_io.c).
 */
#ifndef TEST_ISM_DOUBLE_PRIV_H
#define TEST_ISM_DOUBLE_PRIV_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>

#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/region_exec.h"

#define ISM_DOUBLE_MAPS	  8192u
#define ISM_DOUBLE_NODES  64u
#define ISM_DOUBLE_SPACES (2 * ISM_DOUBLE_MAX)
#define ISM_DOUBLE_GROUP  10u /* number of function 0's group */

/* Addresses and what they lead to: a container's, or an IOAS. */
struct ism_space {
	bool used;
	int fd; /* of its container or iommufd */
	uint32_t id; /* of an IOAS; 0: a container's */
	bool has_group; /* container: a group was put into it */
	bool has_iommu; /* container: SET_IOMMU was done; IOAS: a device is attached */
	struct vfio_iommu_type1_dma_map *maps;
	unsigned int nmaps;
	uint64_t locked;
};

struct ism_port {
	unsigned int nr;
	char bdf[16];
	struct function *fn;
	bool unbinding, unbound, removed;
	unsigned int descriptors; /* of the device: the last one's close ends what was done */
	bool running;		  /* the device is open: by group, or bound to an iommufd */
	bool group_open;
	int msi, req, err; /* duplicates of the driver's eventfds; -1: none */
	struct region_exec exec;
	struct ism_space *space; /* NULL: attached to none */
};

enum ism_node_kind {
	ISM_NODE_NONE,
	ISM_NODE_CONTAINER,
	ISM_NODE_GROUP,
	ISM_NODE_IOMMUFD,
	ISM_NODE_DEVICE,
	ISM_NODE_FILE, /* of sysfs */
};

struct ism_node {
	enum ism_node_kind kind;
	int fd;
	struct ism_port *port; /* group, device */
	bool bound;	       /* device: its ioctls work */
};

struct ism_double {
	struct ism_double_params params;
	struct ism_double_host host;
	struct fabric *fabric;
	struct ism_port port[ISM_DOUBLE_MAX];
	struct ism_node node[ISM_DOUBLE_NODES];
	struct ism_space space[ISM_DOUBLE_SPACES];
	uint32_t next_ioas;
	struct ism_double_count count;
	unsigned int fail_nth;
	int fail_errno;
	int probe[2];	 /* pipe: asks the kernel what may be read and written */
	void *read_only; /* page that was made writable for one request */
};

extern struct ism_double ism_d;

struct ism_node *ism_double_node(int fd);

/* --- machine --- */
ssize_t ism_double_readlink(const char *path, char *buf, size_t size);
int ism_double_access(const char *path, int mode);
int ism_double_list(const char *path, int (*fn)(void *ctx, const char *name), void *ctx);
/* What a path leads to: a node's kind and port, or a file of sysfs and its text. 0 or -errno. */
int ism_double_path(const char *path, struct ism_node *node, char text[32]);

/* --- DMA --- */
struct ism_space *ism_space_new(int fd, uint32_t id);
/* Ends the spaces of a container or iommufd. */
void ism_space_close(int fd);
struct ism_space *ism_space_of(int fd, uint32_t id);
int ism_container_ioctl(int fd, unsigned long nr, void *arg);
int ism_iommufd_ioctl(int fd, unsigned long nr, void *arg);

/* --- device --- */
extern const struct function_host ism_double_function_host;

/* Copies @fixed bytes of an information structure and the chain behind it if there is room. */
int ism_double_give(void *arg, const void *fixed, uint32_t fixed_len, uint32_t min_len,
	const void *caps, uint32_t caps_len, size_t off_at);
int ism_group_ioctl(struct ism_node *n, unsigned long nr, void *arg);
int ism_device_ioctl(struct ism_node *n, unsigned long nr, void *arg);
/* The device starts, the device ends. */
int ism_device_start(struct ism_port *p);
void ism_device_end(struct ism_port *p);

/* --- accesses --- */
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
