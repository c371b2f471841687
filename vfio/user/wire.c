/* SPDX-License-Identifier: MIT */
#include "vfio/user/wire.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define ERRNO_MAX 4095u

int wire_init(struct wire *w, int fd, unsigned int timeout_ms, unsigned int spin_us)
{
	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->timeout_ms = timeout_ms;
	/* With one processor, spinning only keeps the server from running. */
	w->spin_us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? spin_us : 0;
	w->tx = malloc(WIRE_BUF);
	w->rx = malloc(WIRE_BUF);
	if (w->tx && w->rx)
		return 0;
	wire_deinit(w);
	return -ENOMEM;
}

void wire_deinit(struct wire *w)
{
	fd_closep(&w->fd);
	free(w->tx);
	free(w->rx);
	w->tx = NULL;
	w->rx = NULL;
}

int wire_kill(struct wire *w, int err)
{
	w->dead = true;
	shutdown(w->fd, SHUT_RDWR);
	return err;
}

int wire_begin(struct wire *w)
{
	if (w->dead)
		return -ENODEV;
	w->first_id = w->next_id;
	w->ncmds = 0;
	w->nreplies = 0;
	w->nfds = 0;
	w->fds_sent = 0;
	w->tx_len = 0;
	w->tx_off = 0;
	return 0;
}

bool wire_queue(struct wire *w, uint16_t command, uint32_t flags, const void *a, size_t a_len,
	const void *b, size_t b_len)
{
	size_t room = WIRE_BUF - w->tx_len;
	uint8_t *p = w->tx + w->tx_len;
	struct vu_hdr h = { .id = w->next_id, .command = command, .flags = VU_F_TYPE_CMD | flags };

	if (w->ncmds == WIRE_CMDS || room < sizeof(h) || a_len > room - sizeof(h) ||
		b_len > room - sizeof(h) - a_len)
		return false;
	h.size = (uint32_t)(sizeof(h) + a_len + b_len);
	memcpy(p, &h, sizeof(h));
	if (a_len)
		memcpy(p + sizeof(h), a, a_len);
	if (b_len)
		memcpy(p + sizeof(h) + a_len, b, b_len);
	w->last = w->tx_len;
	w->tx_len += h.size;
	w->command[w->ncmds++] = command;
	w->next_id++;
	return true;
}

void wire_attach_fd(struct wire *w, int fd)
{
	struct vu_hdr h;

	if (fd < 0)
		return;
	if (w->together) {
		memcpy(&h, w->tx + w->last, sizeof(h));
		h.flags |= VU_F_FD;
		memcpy(w->tx + w->last, &h, sizeof(h));
	}
	w->fds[w->nfds].fd = fd;
	w->fds[w->nfds].start = w->last;
	w->fds[w->nfds++].end = w->tx_len;
}

/*
 * The pieces of what is to be sent. A descriptor belongs to the message with the last byte that it was sent
 * with, so what follows its command is sent after it, and what is left of the command before goes without.
 */
static unsigned int cut(const struct wire *w, struct fd_piece *v)
{
	size_t off = w->tx_off, end;
	unsigned int at = w->fds_sent, n;

	for (n = 0; n < FD_PIECES_MAX && off < w->tx_len; n++) {
		bool more = at < w->nfds, fd = more && off == w->fds[at].start;

		end = fd ? w->fds[at].end : more ? w->fds[at].start : w->tx_len;
		v[n] = (struct fd_piece){ .buf = w->tx + off, .len = end - off,
			.fd = fd ? w->fds[at].fd : -1 };
		at += fd;
		off = end;
	}
	return n;
}

/* To a server that deals descriptors out they go with the first byte. Bytes, or -errno. */
static ssize_t push_together(struct wire *w)
{
	ssize_t sent;
	int fds[WIRE_FDS];
	unsigned int n;

	for (n = 0; w->tx_off == 0 && n < w->nfds; n++)
		fds[n] = w->fds[n].fd;
	sent = fd_send(w->fd, w->tx + w->tx_off, w->tx_len - w->tx_off, fds, n, MSG_DONTWAIT);
	if (sent > 0)
		w->tx_off += (size_t)sent;
	return sent;
}

static ssize_t push_pieces(struct wire *w)
{
	struct fd_piece v[FD_PIECES_MAX];
	size_t from = w->tx_off;
	int n = fd_send_pieces(w->fd, v, cut(w, v), MSG_DONTWAIT);

	for (int i = 0; i < n; i++) {
		w->fds_sent += v[i].fd >= 0;
		w->tx_off += v[i].sent;
	}
	return n < 0 ? n : (ssize_t)(w->tx_off - from);
}

/* Sends as much as the socket takes. 1: some, 0: none, or -errno. */
static int push(struct wire *w)
{
	int some = 0;

	while (w->tx_off < w->tx_len) {
		ssize_t n = w->together ? push_together(w) : push_pieces(w);

		if (n == -EAGAIN || n == 0)
			break;
		if (n < 0)
			return n == -EPIPE || n == -ECONNRESET ? -ENODEV : (int)n;
		some = 1;
	}
	return some;
}

/*
 * We serve no DMA messages, all memory is mapped by descriptor. The refusal joins the outgoing
 * stream, which holds whole messages only, behind what is queued.
 */
static int refuse(struct wire *w, const struct vu_hdr *cmd)
{
	struct vu_hdr h = {
		.id = cmd->id,
		.command = cmd->command,
		.size = sizeof(h),
		.flags = VU_F_TYPE_REPLY | VU_F_ERROR,
		.error = ENOTSUP,
	};

	if (cmd->flags & VU_F_NO_REPLY)
		return 0;
	if (WIRE_BUF - w->tx_len < sizeof(h)) /* it asks faster than it reads the answers */
		return -EPROTO;
	memcpy(w->tx + w->tx_len, &h, sizeof(h));
	w->tx_len += sizeof(h);
	return 0;
}

static int server_errno(uint32_t error)
{
	return error >= 1 && error <= ERRNO_MAX ? -(int)error : -EIO;
}

static int take_message(struct wire *w, const struct vu_hdr *h, const uint8_t *payload,
	wire_reply_fn *fn, void *ctx)
{
	struct wire_reply reply = { .index = w->nreplies };

	if ((h->flags & VU_F_TYPE_MASK) == VU_F_TYPE_CMD)
		return refuse(w, h);
	if ((h->flags & VU_F_TYPE_MASK) != VU_F_TYPE_REPLY || w->nreplies == w->ncmds)
		return -EPROTO;
	if (h->id != (uint16_t)(w->first_id + w->nreplies) || h->command != w->command[w->nreplies])
		return -EPROTO;
	w->nreplies++;
	if (h->flags & VU_F_ERROR) {
		reply.error = server_errno(h->error);
	} else {
		reply.payload = payload;
		reply.len = h->size - sizeof(*h);
	}
	return fn(ctx, &reply);
}

/* Delivers the complete messages of the receive buffer. */
static int parse(struct wire *w, wire_reply_fn *fn, void *ctx)
{
	size_t at = 0;
	int r = 0;

	while (r == 0 && w->rx_len - at >= sizeof(struct vu_hdr)) {
		struct vu_hdr h;

		memcpy(&h, w->rx + at, sizeof(h));
		if (h.size < sizeof(h) || h.size > WIRE_BUF)
			return -EPROTO;
		if (h.size > w->rx_len - at)
			break;
		r = take_message(w, &h, w->rx + at + sizeof(h), fn, ctx);
		at += h.size;
	}
	w->rx_len -= at;
	memmove(w->rx, w->rx + at, w->rx_len);
	return r;
}

/* Receives what is there. 1: some, 0: none, or -errno. Descriptors are of no use to us. */
static int pull(struct wire *w, wire_reply_fn *fn, void *ctx)
{
	int fds[FD_MSG_MAX];
	unsigned int nfds = 0;
	ssize_t n;
	int r;

	n = fd_recv(w->fd, w->rx + w->rx_len, WIRE_BUF - w->rx_len, fds, FD_MSG_MAX, &nfds,
		MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 0;
	if (n == 0 || n == -ECONNRESET)
		return -ENODEV;
	if (n < 0)
		return n == -EMSGSIZE ? -EPROTO : (int)n;
	while (nfds)
		close(fds[--nfds]);
	w->rx_len += (size_t)n;
	r = parse(w, fn, ctx);
	return r < 0 ? r : 1;
}

/* Sleeps until the socket is ready or @deadline (ns). 0 or -ETIMEDOUT. */
static int wait_ready(struct wire *w, uint64_t deadline)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	uint64_t now = clock_ns();
	uint64_t ms;

	if (now >= deadline)
		return -ETIMEDOUT;
	if (w->tx_off < w->tx_len)
		p.events |= POLLOUT;
	ms = (deadline - now + 999999) / 1000000;
	if (poll(&p, 1, (int)ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

static uint64_t deadline(const struct wire *w, uint64_t start)
{
	uint64_t end = start + (uint64_t)w->timeout_ms * 1000000;

	return w->give_up_ns && w->give_up_ns < end ? w->give_up_ns : end;
}

int wire_flush(struct wire *w, wire_reply_fn *fn, void *ctx)
{
	const uint64_t spin = (uint64_t)w->spin_us * 1000;
	uint64_t start = clock_ns(); /* when the reply we wait for became the next one */

	for (;;) {
		uint64_t end = deadline(w, start);
		unsigned int before = w->nreplies;
		int sent = push(w);
		int got, r = 0;

		if (sent < 0)
			return wire_kill(w, sent);
		/*
		 * Before reading on: an end of file behind the last reply is not this exchange's.
		 */
		if (w->nreplies == w->ncmds && w->tx_off == w->tx_len)
			return 0;
		got = pull(w, fn, ctx);
		if (got < 0)
			return wire_kill(w, got);
		if (w->nreplies > before) {
			start = clock_ns();
			continue;
		}
		/* Even bytes that keep coming have to add up to a reply in time. */
		if (clock_ns() >= end)
			r = -ETIMEDOUT;
		else if (!sent && !got && clock_ns() - start >= spin)
			r = wait_ready(w, end);
		else if (!sent && !got)
			sched_yield(); /* the server may need this processor */
		if (r < 0)
			return wire_kill(w, r);
	}
}

static int no_reply_expected(void *ctx, const struct wire_reply *reply)
{
	return -EPROTO;
}

int wire_idle(struct wire *w)
{
	int r = wire_begin(w);

	if (r < 0)
		return r;
	do {
		r = pull(w, no_reply_expected, NULL);
	} while (r > 0 && push(w) >= 0 && w->tx_off == w->tx_len);
	if (r > 0) /* refusals that the server does not read */
		r = -EPROTO;
	return r < 0 ? wire_kill(w, r) : 0;
}
