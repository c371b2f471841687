/* SPDX-License-Identifier: MIT */
/*
 * client.h - a VFIO device over a vfio-user socket
 *
 * Implements struct vfio_device for a device served by another process. One connection, one
 * submitter. Batches of region writes travel as one send and are answered together; when the server
 * announced the "chain" extension (proto.h), a failed write cancels the ones behind it, otherwise
 * each write is awaited before the next leaves.
 *
 * DMA maps are announced with IOVA = VA, the private convention that lets the server of the zPCI
 * I/O region resolve gaddr; the version negotiation says so on both sides.
 */
#ifndef SMCDU_VFIO_USER_CLIENT_H
#define SMCDU_VFIO_USER_CLIENT_H

#include "vfio/device.h"

struct vu_client_params {
	const char *path;	 /* socket */
	unsigned int timeout_ms; /* longest wait for one reply; 0: 5000 */
	uint64_t give_up_ns; /* clock_ns() when all waiting ends, 0: none; for openers in a hurry */
	unsigned int spin_us;	 /* busy-wait for a reply before sleeping; 0: none */
};

/*
 * Connects and negotiates. 0, -ENOENT/-ECONNREFUSED (nobody serves @path), -EPROTO (not a vfio-user
 * server, or one that contradicts itself), -ETIMEDOUT, -errno. One log line names the socket and
 * the reason on failure.
 */
int vu_client_open(const struct vu_client_params *params, struct vfio_device **ret);

/* From now on waits at most @timeout_ms for each reply, and give_up_ns is none. @dev as above. */
void vu_client_settle(struct vfio_device *dev, unsigned int timeout_ms);

#endif
