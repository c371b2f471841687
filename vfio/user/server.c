/* SPDX-License-Identifier: MIT */
#include "vfio/user/server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/user/conn.h"

#define IN_SIZE	     (64u * 1024u) /* receive buffer until a longer message comes */
#define OUT_HIGH     (64u * 1024u) /* stop executing while this much waits to be sent */
#define MSGS_PER_CALL 1024u
#define RECVS_PER_CALL 64u

int vu_peer_pid(const struct vu_conn *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -1;
	return cred.pid;
}

int vu_violation(struct vu_conn *c, const char *why)
{
	log_err("vfio-user client (pid %d) broke the protocol: %s; disconnecting it",
		vu_peer_pid(c), why);
	c->err = -EPROTO;
	return -EPROTO;
}

/* Makes room for @len more bytes. */
static int buf_reserve(struct vu_buf *b, size_t len)
{
	size_t cap = b->cap ? b->cap : IN_SIZE;
	unsigned char *p;

	if (len <= b->cap - b->end)
		return 0;
	while (cap - b->end < len)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

static void buf_compact(struct vu_buf *b)
{
	if (!b->start)
		return;
	memmove(b->p, b->p + b->start, b->end - b->start);
	b->end -= b->start;
	b->start = 0;
}

void *vu_reply(struct vu_conn *c, size_t len)
{
	void *p;

	if (buf_reserve(&c->out, len))
		return NULL;
	p = c->out.p + c->out.end;
	memset(p, 0, len);
	c->out.end += len;
	return p;
}

static void close_fds(int *fds, unsigned int *n)
{
	while (*n)
		fd_closep(&fds[--*n]);
}

/* Size of the message at the head of the receive buffer; 0: its header has not arrived yet. */
static size_t head_size(const struct vu_conn *c)
{
	struct vu_hdr h;

	if (c->in.end - c->in.start < sizeof(h))
		return 0;
	memcpy(&h, c->in.p + c->in.start, sizeof(h));
	/* shorter: to be refused by next_message() */
	return h.size < sizeof(h) ? sizeof(h) : h.size;
}

static bool head_complete(const struct vu_conn *c)
{
	size_t size = head_size(c);

	return size && size <= c->in.end - c->in.start;
}

static int check_header(struct vu_conn *c, const struct vu_hdr *h)
{
	const size_t first_max = sizeof(*h) + sizeof(struct vu_version) + VU_MAX_VERSION;

	if ((h->flags & VU_F_TYPE_MASK) != VU_F_TYPE_CMD)
		return vu_violation(c, "a message that is not a command");
	if (h->size < sizeof(*h))
		return vu_violation(c, "a message shorter than its header");
	if (h->size > VU_MAX_MSG)
		return vu_violation(c, "a message longer than negotiated");
	if (!c->ready && h->command != VU_VERSION)
		return vu_violation(c, "a command before the version negotiation");
	if (h->command == VU_VERSION && h->size > first_max)
		return vu_violation(c, "a version message that is too long");
	return 0;
}

/* Takes the next message off the receive buffer. 1, 0: it has not arrived whole, -EPROTO. */
static int next_message(struct vu_conn *c, struct vu_msg *m)
{
	size_t have = c->in.end - c->in.start;
	int r;

	if (have < sizeof(m->hdr))
		return 0;
	memcpy(&m->hdr, c->in.p + c->in.start, sizeof(m->hdr));
	r = check_header(c, &m->hdr);
	if (r)
		return r;
	if (have < m->hdr.size)
		return 0;
	m->body = c->in.p + c->in.start + sizeof(m->hdr);
	m->len = m->hdr.size - sizeof(m->hdr);
	c->in.start += m->hdr.size;
	m->n_fds = 0;
	if (c->limits.together && (m->hdr.flags & VU_F_FD)) {
		if (!c->n_fds)
			return vu_violation(c, "a command without the descriptor it announces");
		m->fds[m->n_fds++] = c->fds[0];
		memmove(c->fds, c->fds + 1, --c->n_fds * sizeof(c->fds[0]));
	} else if (c->n_fds && c->fds_at < c->in.start) {
		memcpy(m->fds, c->fds, sizeof(m->fds));
		m->n_fds = c->n_fds;
		c->n_fds = 0;
	}
	return 1;
}

static void put_header(struct vu_conn *c, const struct vu_hdr *req, size_t at, int r)
{
	const struct vu_hdr h = {
		.id = req->id,
		.command = req->command,
		.size = (uint32_t)(c->out.end - at),
		.flags = VU_F_TYPE_REPLY | (r ? VU_F_ERROR : 0),
		.error = (uint32_t)-r,
	};

	memcpy(c->out.p + at, &h, sizeof(h));
}

static void serve_message(struct vu_conn *c, struct vu_msg *m)
{
	size_t at = c->out.end;
	int r;

	if (!vu_reply(c, sizeof(m->hdr))) {
		c->err = -ENOMEM;
		close_fds(m->fds, &m->n_fds);
		return;
	}
	r = vu_execute(c, m);
	close_fds(m->fds, &m->n_fds);
	if (r)
		c->failed = true;
	if (c->err || (m->hdr.flags & VU_F_NO_REPLY)) {
		c->out.end = at;
		return;
	}
	if (r)
		c->out.end = at + sizeof(m->hdr);
	put_header(c, &m->hdr, at, r);
}

/* Executes what has arrived, within @budget messages and what the client leaves unread. */
static int serve(struct vu_conn *c, unsigned int *budget)
{
	struct vu_msg m;

	while (*budget && !c->paused && c->out.end - c->out.start < OUT_HIGH) {
		int r = next_message(c, &m);

		if (r <= 0)
			return r;
		(*budget)--;
		serve_message(c, &m);
		if (c->err)
			return c->err;
	}
	return 0;
}

/* How much to receive: all there is room for, but nothing behind a message whose fds are here. */
static int receive_room(struct vu_conn *c, size_t *room)
{
	size_t size = head_size(c);
	size_t have;

	buf_compact(&c->in);
	have = c->in.end;
	if (buf_reserve(&c->in, (size ? size : sizeof(struct vu_hdr)) - have))
		return -ENOMEM;
	*room = c->in.cap - have;
	if (c->n_fds)
		*room = (size ? size : sizeof(struct vu_hdr)) - have;
	return 0;
}

/* One recvmsg(). *@more: descriptors ended it early, so there may be more. */
static int receive(struct vu_conn *c, bool *more)
{
	unsigned int n_fds = 0;
	size_t room;
	ssize_t n;
	int r;

	r = receive_room(c, &room);
	if (r)
		return r;
	n = fd_recv(c->fd, c->in.p + c->in.end, room, c->fds + c->n_fds, VU_MAX_FDS - c->n_fds,
		&n_fds, MSG_DONTWAIT);
	if (n == -EMSGSIZE)
		return vu_violation(c, "more descriptors than a message may carry");
	if (n == 0 || n == -ECONNRESET)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	c->in.end += (size_t)n;
	if (n_fds) {
		c->n_fds += n_fds;
		c->fds_at = c->in.end - 1;
	}
	*more = n_fds > 0;
	return 0;
}

/* 0: everything was sent; -EAGAIN: the client has to read first. */
static int flush(struct vu_conn *c)
{
	struct vu_buf *out = &c->out;
	ssize_t n;

	if (out->start == out->end)
		return 0;
	n = fd_send(c->fd, out->p + out->start, out->end - out->start, NULL, 0, MSG_DONTWAIT);
	if (n == -ECONNRESET)
		return -EPIPE;
	if (n < 0)
		return (int)n;
	out->start += (size_t)n;
	if (out->start < out->end)
		return -EAGAIN;
	out->start = out->end = 0;
	return 0;
}

static int receive_and_serve(struct vu_conn *c)
{
	unsigned int budget = MSGS_PER_CALL;

	for (unsigned int i = 0; i < RECVS_PER_CALL; i++) {
		bool more = false;
		int r = head_complete(c) ? 0 : receive(c, &more);

		if (r)
			return r == -EAGAIN && i ? 0 : r;
		r = serve(c, &budget);
		if (r)
			return r;
		if (!more || c->paused || head_complete(c))
			break;
	}
	return 0;
}

int vu_conn_process(struct vu_conn *c)
{
	int r, sent;

	if (c->err)
		return c->err;
	if (c->paused)
		return -EAGAIN;
	r = flush(c);
	if (!r) {
		r = receive_and_serve(c);
		/* While paused a reply is held back like everything else. */
		sent = c->paused ? 0 : flush(c);
		if (sent && sent != -EAGAIN && (!r || r == -EAGAIN))
			r = sent;
	}
	if (r && r != -EAGAIN)
		c->err = r;
	return r;
}

short vu_conn_events(const struct vu_conn *c)
{
	if (c->paused)
		return 0;
	if (c->out.start < c->out.end)
		return POLLOUT;
	return head_complete(c) ? POLLIN | POLLOUT : POLLIN;
}

void vu_conn_pause(struct vu_conn *c, bool paused)
{
	c->paused = paused;
}

void vu_conn_allow_unsealed(struct vu_conn *c, bool allow)
{
	c->dma.allow_unsealed = allow;
}

int vu_conn_fd(const struct vu_conn *c)
{
	return c->fd;
}

bool vu_conn_iova_is_va(const struct vu_conn *c)
{
	return c->limits.iova_is_va;
}

void *vu_conn_dma(struct vu_conn *c, uint64_t iova, size_t len, bool write)
{
	return dma_find(&c->dma, iova, len, write);
}

int vu_conn_dma_fd(const struct vu_conn *c, uint64_t iova, size_t len)
{
	return dma_file_at(&c->dma, iova, len);
}

void vu_conn_irq(struct vu_conn *c, uint32_t index)
{
	const uint64_t one = 1;
	struct pollfd p = { .events = POLLOUT };

	if (index >= c->ops->num_irqs || c->irq_fds[index] < 0)
		return;
	/*
	 * A full counter has told the client more often than it looked. Asked first, since the client
	 * shares the descriptor and may have made it blocking again.
	 */
	p.fd = c->irq_fds[index];
	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return;
	while (write(c->irq_fds[index], &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

int vu_conn_new(int fd, const struct vu_device_ops *ops, void *ctx, struct vu_conn **ret)
{
	struct vu_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		fd_closep(&fd);
		return -ENOMEM;
	}
	c->fd = fd;
	c->ops = ops;
	c->ctx = ctx;
	dma_init(&c->dma, VU_MAX_DMA_MAPS);
	c->irq_fds = calloc(ops->num_irqs + 1u, sizeof(*c->irq_fds));
	if (!c->irq_fds || buf_reserve(&c->in, IN_SIZE)) {
		vu_conn_free(c);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < ops->num_irqs; i++)
		c->irq_fds[i] = -1;
	for (uint32_t i = 0; i < ops->num_irqs; i++) {
		if (ops->irq_counts[i] > 1) {
			vu_conn_free(c);
			return -EINVAL;
		}
	}
	*ret = c;
	return 0;
}

struct vu_conn *vu_conn_free(struct vu_conn *c)
{
	if (!c)
		return NULL;
	dma_fini(&c->dma);
	close_fds(c->fds, &c->n_fds);
	for (uint32_t i = 0; c->irq_fds && i < c->ops->num_irqs; i++)
		fd_closep(&c->irq_fds[i]);
	free(c->irq_fds);
	free(c->in.p);
	free(c->out.p);
	fd_closep(&c->fd);
	free(c);
	return NULL;
}
