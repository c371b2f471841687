/* SPDX-License-Identifier: MIT */
/*
 * server.h - serving a PCI function over vfio-user
 *
 * One vu_conn per client connection. The owner polls vu_conn_fd() for vu_conn_events() and calls
 * vu_conn_process() when it is ready; the connection parses, checks, answers in arrival order and
 * calls the device's ops. It owns the client's DMA table: maps may come by the ten-thousand and
 * unmaps may cover any number of whole maps; each distinct memory file is mapped once.
 *
 * A client is not trusted: sizes, counts, flags, descriptors and addresses are checked, every table
 * has a limit, memory that could shrink is refused unless vu_conn_allow_unsealed() accepts it. Any
 * protocol violation ends the connection; a request that is merely wrong gets an error reply.
 *
 * Regions behave as a kernel's VFIO regions do: an access that starts inside and ends outside is
 * cut at the end (and says so by its count), one of no bytes does nothing.
 */
#ifndef SMCDU_VFIO_USER_SERVER_H
#define SMCDU_VFIO_USER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vu_conn;

/* What a region is; caps are the raw capability bytes after the 32-byte info, or NULL. */
struct vu_region {
	uint64_t size;
	uint32_t flags;
	const void *caps;
	size_t caps_len;
};

struct vu_device_ops {
	/* Static description. */
	const struct vu_region *regions;
	uint32_t num_regions;
	const uint32_t *irq_counts; /* per index, 0 or 1 */
	uint32_t num_irqs;
	uint32_t max_dma_maps; /* DMA_MAP beyond: ENOSPC; 0: as many as are negotiated */
	const void *dev_caps; /* device info capabilities, offsets relative to the 24-byte info */
	size_t dev_caps_len;

	/* Bytes done or -errno. Never called with a count of 0 or beyond a region's size. */
	ssize_t (*region_read)(void *ctx, uint32_t index, uint64_t offset, void *buf, size_t len);
	ssize_t (*region_write)(void *ctx, uint32_t index, uint64_t offset, const void *buf,
		size_t len);
	/* Eventfd for @index vector 0 changed; -1: none. The connection keeps ownership of @fd. */
	void (*irq_changed)(void *ctx, uint32_t index, int fd);
	int (*reset)(void *ctx);
	/* The driver's side channel, owned by the device from now on. NULL: it has none. */
	int (*side_channel)(void *ctx, int fd);
	/* A range was unmapped: no pointer into it may be used after this returns. */
	void (*dma_unmapped)(void *ctx, uint64_t iova, uint64_t size);
};

/*
 * Takes ownership of the connected socket @fd (also on failure). @ctx is passed to ops; @ops and
 * what it points to must outlive the connection. 0 or -errno (-EINVAL: an IRQ index of several
 * vectors).
 */
int vu_conn_new(int fd, const struct vu_device_ops *ops, void *ctx, struct vu_conn **ret);

/* Unmaps everything, closes everything. NULL is allowed. Returns NULL. Calls none of the ops. */
struct vu_conn *vu_conn_free(struct vu_conn *c);

int vu_conn_fd(const struct vu_conn *c);
/*
 * POLLIN and/or POLLOUT: what the owner has to wait for, level-triggered; ask again after each call
 * of this interface. POLLOUT alone: the client does not read its replies, so nothing more is read
 * from it. POLLIN | POLLOUT: received messages wait for the next vu_conn_process(). 0 while paused.
 */
short vu_conn_events(const struct vu_conn *c);

/*
 * Reads and serves what has arrived (a bounded amount, so that one client cannot starve others).
 * 0: go on; -EAGAIN: nothing was there; -EPIPE: the client is gone (end of file); -EPROTO: it broke
 * the protocol (one log line says how); other -errno from the socket. On anything but 0 and -EAGAIN
 * the owner resets the function and frees the connection.
 */
int vu_conn_process(struct vu_conn *c);

/* Holds back all further processing (the "slow reply" fault) until resumed. */
void vu_conn_pause(struct vu_conn *c, bool paused);

/*
 * Accepts DMA memory that its owner can shrink (default: refused with EPERM). A client that does
 * shrink it kills this process with SIGBUS, so only where every client is trusted.
 */
void vu_conn_allow_unsealed(struct vu_conn *c, bool allow);

/*
 * The memory at [iova, iova+len) when one DMA map covers all of it and grants the access (@write:
 * device writes), else NULL. The pointer is valid until the range is unmapped or the connection
 * freed. With sealed memory (or memory that cannot shrink below the map) access cannot fault.
 */
void *vu_conn_dma(struct vu_conn *c, uint64_t iova, size_t len, bool write);

/*
 * The file (borrowed, valid as long as the map) whose whole is mapped at exactly [iova, iova+len) with
 * the right to write, or -1.
 */
int vu_conn_dma_fd(const struct vu_conn *c, uint64_t iova, size_t len);

/* The client negotiated the private conventions of proto.h. */
bool vu_conn_iova_is_va(const struct vu_conn *c);

/* Signals vector 0 of @index (an eventfd write), if the client asked for it. */
void vu_conn_irq(struct vu_conn *c, uint32_t index);

#endif
