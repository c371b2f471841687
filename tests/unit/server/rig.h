/* SPDX-License-Identifier: MIT */
/*
 * rig.h - a served device and a raw client at the other end of a socket pair
 *
 * The client is nothing but send() and recv(): every byte and descriptor is the test's own. A
 * device double remembers what it was called with.
 */
#ifndef SMCDU_TESTS_SERVER_RIG_H
#define SMCDU_TESTS_SERVER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vfio/user/proto.h"
#include "vfio/user/server.h"

#define RIG_BAR2_SIZE 4096u

struct rig {
	struct vu_conn *c;
	int s; /* the client's end */
	int fds_before;
	/* what the device saw */
	unsigned char bar2[RIG_BAR2_SIZE];
	unsigned int reads, writes, resets, unmaps, irq_changes;
	uint64_t last_offset;
	size_t last_len;
	uint64_t unmap_iova, unmap_size;
	int irq_fd;
	/* what it is told to do */
	ssize_t write_result; /* unless 0 */
	bool pause_on_write;
};

/* A reply, and where its body is. */
struct reply {
	struct vu_hdr hdr;
	size_t len;
	unsigned char body[VU_MAX_MSG];
};

extern const struct vu_device_ops rig_ops;
extern const char rig_offer[]; /* everything, with the private extensions */

/* cmocka fixtures: negotiated with rig_offer, or just connected. Teardown checks for leaked fds. */
int rig_setup(void **state);
int rig_setup_raw(void **state);
int rig_teardown(void **state);

int count_fds(void);

/*
 * True under qemu-user, which converts an eventfd's counter only for descriptors it saw being made
 * and drops descriptors of truncated control data. What depends on either is skipped there.
 */
bool rig_emulated(void);

/* Sends one message as it is, with the id 7. */
void rig_send(struct rig *r, uint16_t cmd, uint32_t flags, const void *body, size_t len);
void rig_send_fds(struct rig *r, uint16_t cmd, const void *body, size_t len, const int *fds,
	unsigned int n);

/* Lets the server work until nothing is left for it; what ended it, or 0. */
int rig_pump(struct rig *r);

/* The next reply if it has arrived; false: nothing there. */
bool rig_recv(struct rig *r, struct reply *a);

/* Sends, pumps and receives the only reply. Returns the errno in it. */
int rig_call(struct rig *r, uint16_t cmd, const void *body, size_t len, struct reply *a);
int rig_call_fds(struct rig *r, uint16_t cmd, const void *body, size_t len, const int *fds,
	unsigned int n);

int rig_map(struct rig *r, uint64_t iova, uint64_t size, int fd, uint64_t offset);
int rig_unmap(struct rig *r, uint64_t iova, uint64_t size, uint32_t flags);
void rig_queue_write(struct rig *r, uint32_t flags, uint64_t offset, const void *data,
	uint32_t count);

#endif
