/* SPDX-License-Identifier: MIT */
/*
 * wire.h - the client's end of a vfio-user connection
 *
 * One exchange at a time: some commands are queued, sent as one stream, and their replies are taken
 * in the order of the commands. While sending, replies are read as well, so that neither side can
 * wait for the other to read. The server is not trusted: sizes, ids and types are checked, and a
 * violation ends the connection.
 *
 * Invariants
 * - Nothing here sleeps longer than the timeout per reply, nor beyond give_up_ns.
 * - After an error return of wire_flush() or wire_idle() the connection is dead: the socket is shut
 *   down (so that its descriptor fires) and every later call fails with -ENODEV.
 */
#ifndef SMCDU_VFIO_USER_WIRE_H
#define SMCDU_VFIO_USER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/user/proto.h"

#define WIRE_BUF  65536u /* bytes of commands in one exchange, and of one reply */
#define WIRE_CMDS 80u	 /* commands in one exchange */
#define WIRE_FDS  16u	 /* descriptors in one exchange */

/* A reply as it arrived; @payload is valid during the callback. */
struct wire_reply {
	unsigned int index; /* of the command in this exchange */
	int error;	    /* 0 or the server's negative errno; then there is no payload */
	const uint8_t *payload;
	size_t len;
};

/* 0, or a negative errno that ends the connection (-EPROTO for a reply that cannot be). */
typedef int wire_reply_fn(void *ctx, const struct wire_reply *reply);

struct wire {
	int fd; /* owned */
	unsigned int timeout_ms;
	uint64_t give_up_ns; /* clock_ns() when all waiting ends; 0: none */
	unsigned int spin_us;
	bool together; /* the server takes descriptors with VU_F_FD */
	bool dead;
	uint16_t next_id;

	/* The exchange being built or run. */
	uint16_t first_id;
	unsigned int ncmds;
	unsigned int nreplies;
	size_t last; /* where the command queued last starts */
	uint16_t command[WIRE_CMDS];
	struct {
		int fd;		   /* borrowed */
		size_t start, end; /* of the command it belongs to */
	} fds[WIRE_FDS];
	unsigned int nfds;
	unsigned int fds_sent;

	size_t tx_len, tx_off;
	size_t rx_len;
	uint8_t *tx; /* WIRE_BUF each */
	uint8_t *rx;
};

/* Takes ownership of the connected stream socket @fd, also on failure. 0 or -ENOMEM. */
int wire_init(struct wire *w, int fd, unsigned int timeout_ms, unsigned int spin_us);
void wire_deinit(struct wire *w);

/* Ends the connection because of @err, which is returned. For violations the caller finds. */
int wire_kill(struct wire *w, int err);

/* Starts an exchange. -ENODEV when the connection is dead. */
int wire_begin(struct wire *w);

/*
 * Queues a command whose payload is @a followed by @b (either may be empty). @flags: VU_F_CHAIN or
 * 0. false: it does not fit into this exchange any more, nothing was queued.
 */
bool wire_queue(struct wire *w, uint16_t command, uint32_t flags, const void *a, size_t a_len,
	const void *b, size_t b_len);

/*
 * Attaches @fd (-1: none) to the command queued last. Commands with descriptors, at most WIRE_FDS, are
 * the first of an exchange. Where the server deals descriptors out all are sent with the first byte.
 */
void wire_attach_fd(struct wire *w, int fd);

/*
 * Sends what was queued and waits for all replies. 0, -ENODEV (end of file), -ETIMEDOUT, -EPROTO,
 * or what the callback returned.
 */
int wire_flush(struct wire *w, wire_reply_fn *fn, void *ctx);

/*
 * Outside of an exchange: reads and answers what the server sent of its own accord. 0, -ENODEV,
 * -EPROTO. Does not wait.
 */
int wire_idle(struct wire *w);

/* Bytes of region data that fit into one command or reply. */
#define WIRE_MAX_DATA (WIRE_BUF - (uint32_t)sizeof(struct vu_hdr) - \
	(uint32_t)sizeof(struct vu_region_access))

#endif
