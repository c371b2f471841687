/* SPDX-License-Identifier: MIT */
/*
 * conn.h - inside of a server connection (server.c and command.c only)
 *
 * server.c moves bytes and descriptors and finds the messages in them; command.c executes one
 * message at a time. A message is executed where it lies in the receive buffer and its reply is
 * composed where it will be sent from, both unaligned: fixed parts are copied to and from locals.
 *
 * Descriptors: a recvmsg() ends with the data that descriptors were attached to, so they belong to
 * the message that holds its last byte. While some wait for the rest of their message nothing
 * behind that message is received, so one set is enough. Those that commands with VU_F_FD take, one each,
 * come with the first of them at the latest.
 */
#ifndef SMCDU_VFIO_USER_CONN_H
#define SMCDU_VFIO_USER_CONN_H

#include "vfio/user/dma.h"
#include "vfio/user/negotiate.h"
#include "vfio/user/proto.h"
#include "vfio/user/server.h"

struct vu_buf {
	unsigned char *p;
	size_t start; /* of what has not been executed or sent yet */
	size_t end;
	size_t cap;
};

/*
 * One received message. Descriptors that the command does not take (fd_steal) are closed after it.
 */
struct vu_msg {
	struct vu_hdr hdr;
	const unsigned char *body;
	size_t len; /* of @body */
	int fds[VU_MAX_FDS];
	unsigned int n_fds;
};

struct vu_conn {
	int fd;
	const struct vu_device_ops *ops;
	void *ctx;
	struct vu_buf in;
	struct vu_buf out;
	int fds[VU_MAX_FDS];
	unsigned int n_fds;
	size_t fds_at; /* index in @in of the last byte that @fds came with */
	int *irq_fds;  /* per index; -1: none */
	struct vu_limits limits;
	struct dma_table dma;
	int err;     /* what ended the connection */
	bool ready;  /* the version negotiation is done */
	bool failed; /* the last command failed or was cancelled: cancel what is chained to it */
	bool paused;
	bool unsealed_logged;
};

/*
 * Appends @len zeroed bytes to the body of the reply being composed. Valid until the next call.
 * NULL: no memory.
 */
void *vu_reply(struct vu_conn *c, size_t len);

/* Ends the connection and logs why. Returns -EPROTO. */
int vu_violation(struct vu_conn *c, const char *why);

/* The process at the other end, for log lines; -1: unknown. */
int vu_peer_pid(const struct vu_conn *c);

/*
 * Executes @m. 0: the body of the reply, if it has one, was appended. Negative: errno of the error
 * reply, unless the connection was ended with vu_violation(). A write that succeeded only in part
 * sets c->failed.
 */
int vu_execute(struct vu_conn *c, struct vu_msg *m);

#endif
