/* SPDX-License-Identifier: MIT */
/*
 * device.h - access to one PCI function in VFIO's terms
 *
 * What a VFIO device file descriptor and its container offer (information with capability chains,
 * regions, DMA mapping, one MSI eventfd, reset), whoever serves it: a kernel through ioctl/pread/
 * pwrite, or another process over vfio-user. Transports (region.c, bar.c) are built on this and
 * never know which one they use.
 *
 * Invariants: a device has one owner and one submitting thread at a time; every call completes or
 * fails before it returns; after -ENODEV every later call fails with -ENODEV.
 */
#ifndef SMCDU_VFIO_DEVICE_H
#define SMCDU_VFIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vfio_device;
struct vfio_window;

/* Device region indexes and flags used here (linux/vfio.h). */
enum {
	VFIO_DEV_REGION_BAR0 = 0,
	VFIO_DEV_REGION_BAR2 = 2,
	VFIO_DEV_REGION_CONFIG = 7,
	VFIO_DEV_REGION_FIXED = 9, /* device-specific regions start here */
};

struct vfio_dev_info {
	uint32_t flags;
	uint32_t num_regions;
	uint32_t num_irqs;
	/* From the zPCI base capability, when the device reports one. */
	bool has_zpci;
	uint8_t pft;		/* 5: ISM */
	uint16_t pchid;		/* CHID of the fabric */
	uint32_t fh;		/* 0 when not reported */
	uint64_t start_dma;	/* usable IOVA range, inclusive */
	uint64_t end_dma;
	/* From the zPCI group capability: longest PCISTB of the hardware, 0 when not reported. */
	uint16_t max_store;
};

struct vfio_region_desc {
	uint32_t index;
	uint32_t flags; /* VFIO_REGION_INFO_FLAG_* */
	uint64_t size;
	uint64_t offset; /* in the device's file; unused over vfio-user */
	bool has_type;
	uint32_t type;
	uint32_t subtype;
};

/* One element of a batch of equal-sized writes into one region. */
struct vfio_region_wr {
	uint64_t offset;
	const void *data;
	uint32_t len;
};

#define VFIO_MAPS_MAX 16u /* in one exchange */

/* Memory to be mapped, as for dma_map(), and what became of it. */
struct vfio_map {
	void *va;
	size_t len;
	int fd;
	uint64_t fd_offset;
	bool done;
};

struct vfio_range {
	uint64_t iova;
	size_t len;
	int result; /* of the unmapping */
};

struct vfio_device_ops {
	const char *name; /* "vfio-user", "vfio" */

	int (*get_info)(struct vfio_device *dev, struct vfio_dev_info *info);
	/* -EINVAL for an index the device does not have. */
	int (*get_region)(struct vfio_device *dev, uint32_t index, struct vfio_region_desc *desc);
	/* Bytes transferred (may be short) or -errno. */
	ssize_t (*region_read)(struct vfio_device *dev, const struct vfio_region_desc *r,
		uint64_t offset, void *buf, size_t len);
	ssize_t (*region_write)(struct vfio_device *dev, const struct vfio_region_desc *r,
		uint64_t offset, const void *buf, size_t len);
	/*
	 * Performs the writes in order and stops at the first that fails or is short. Sets *done to
	 * the number that succeeded. 0 when all did, else the failing one's error (-EPROTO when
	 * short: what was executed is unknown).
	 */
	int (*region_write_batch)(struct vfio_device *dev, const struct vfio_region_desc *r,
		const struct vfio_region_wr *wr, size_t n, size_t *done);
	/*
	 * Makes [va, va+len) of @fd (at @fd_offset) reachable by the device. The IOVA is the
	 * implementation's choice and returned in *iova: naturally aligned to the power of two >= len,
	 * or, where iova_is_va, @va, which is as aligned as the caller has it. -ENOMEM with RLIMIT_MEMLOCK exceeded, -ENOSPC without a free range.
	 */
	int (*dma_map)(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t fd_offset,
		uint64_t *iova);
	int (*dma_unmap)(struct vfio_device *dev, uint64_t iova, size_t len);
	/* Routes MSI vector 0 to @eventfd (borrowed until changed); -1 turns it off. */
	int (*set_msi)(struct vfio_device *dev, int eventfd);
	/* Function reset; -EOPNOTSUPP where the device has none. */
	int (*reset)(struct vfio_device *dev);
	/* A descriptor that becomes readable or hangs up when the device goes away; -1 if none. */
	int (*liveness_fd)(struct vfio_device *dev);
	/* After liveness_fd fired: 0 if the device still lives, -ENODEV otherwise. */
	int (*check)(struct vfio_device *dev);
	void (*close)(struct vfio_device *dev);
	/*
	 * Gives a socket (borrowed) to whoever serves the device, for what no instruction can do.
	 * NULL or -EOPNOTSUPP: nobody is there to take it, as with hardware.
	 */
	int (*side_channel)(struct vfio_device *dev, int fd);
	/*
	 * Stores into the window are executed by it from now on (attached.h); it is the caller's.
	 * -EEXIST there is one already. NULL: the device executes everything.
	 */
	int (*add_window)(struct vfio_device *dev, struct vfio_window *w);
	void (*del_window)(struct vfio_device *dev, struct vfio_window *w);
	/*
	 * Where requests travel together (vfio_device.pipelined; else NULL). region_write_batch() behind
	 * @nmaps mappings (1..VFIO_MAPS_MAX), without all of which no write is performed: the error of the
	 * first that fails is returned then, and its done stays false as that of those behind it. Several
	 * unmappings, each with its own result; returns what ended the exchange.
	 */
	int (*map_write_batch)(struct vfio_device *dev, struct vfio_map *maps, size_t nmaps,
		const struct vfio_region_desc *r, const struct vfio_region_wr *wr, size_t n,
		size_t *done);
	int (*dma_unmap_batch)(struct vfio_device *dev, struct vfio_range *v, size_t n);
};

struct vfio_device {
	const struct vfio_device_ops *ops;
	/* request addresses (gaddr) are resolved through the DMA map: sources must be mapped */
	bool iova_is_va;
	/* a batch is one exchange with whoever serves the device, however long it is */
	bool pipelined;
	/* PCISTBs that were executed in this process and never reached the device; their bytes */
	uint64_t here_stores;
	uint64_t here_bytes;
};

/*
 * Finds the device-specific region (index >= 9) with this type capability, size of at least
 * @min_size and READ|WRITE. 0, -ENOENT, or the device's error.
 */
int vfio_device_find_region(struct vfio_device *dev, uint32_t type, uint32_t subtype,
	uint64_t min_size, struct vfio_region_desc *desc);

/* Closes and frees; NULL is allowed. Returns NULL. */
struct vfio_device *vfio_device_close(struct vfio_device *dev);

#endif
