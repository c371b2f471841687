/* SPDX-License-Identifier: MIT */
#include "vfio/user/client.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/caps.h"
#include "vfio/user/version.h"
#include "vfio/user/wire.h"

#define DEFAULT_TIMEOUT_MS 5000u
#define INFO_ROOM	   4096u /* offered for capabilities at first */

struct vu_client {
	struct vfio_device dev; /* first */
	struct wire wire;
	int hangup_fd; /* epoll: readable once the server is gone */
	struct vu_caps peer;
	uint32_t ndmas;
};

static struct vu_client *client_of(struct vfio_device *dev)
{
	return (struct vu_client *)dev;
}

/* An error reply is the peer's word: it cannot mean what these two mean in ours. */
static int peer_error(int err)
{
	return err == -ETIMEDOUT || err == -EPROTO ? -EIO : err;
}

/* The peer's last word on a command; a device that says it is gone is believed. */
static int settle(struct vu_client *c, int err)
{
	return err == -ENODEV ? wire_kill(&c->wire, err) : err;
}

/* --- single commands --- */

/* Where the reply of a single command goes. */
struct answer {
	void *buf; /* payload, at most @cap bytes of it */
	size_t cap;
	size_t len; /* whole payload */
	size_t min; /* shorter is a violation */
	int error;
};

static int take_answer(void *ctx, const struct wire_reply *reply)
{
	struct answer *a = ctx;

	a->error = peer_error(reply->error);
	if (reply->error)
		return 0;
	if (reply->len < a->min)
		return -EPROTO;
	a->len = reply->len;
	if (a->cap)
		memcpy(a->buf, reply->payload, reply->len < a->cap ? reply->len : a->cap);
	return 0;
}

/* One command and its reply; @fd -1: none. 0, the peer's error, or the wire's. */
static int command(struct vu_client *c, uint16_t cmd, const void *payload, size_t len, int fd,
	struct answer *a)
{
	int r = wire_begin(&c->wire);

	if (r < 0)
		return r;
	if (!wire_queue(&c->wire, cmd, 0, payload, len, NULL, 0))
		return -EMSGSIZE;
	wire_attach_fd(&c->wire, fd);
	r = wire_flush(&c->wire, take_answer, a);
	if (r < 0)
		return r;
	return settle(c, a->error);
}

static int violated(struct vu_client *c)
{
	return wire_kill(&c->wire, -EPROTO);
}

/* --- information --- */

/*
 * Device and region information with capabilities: both start with argsz. *buf (malloced) holds the
 * *len bytes that came. Asked a second time when the peer says it has more.
 */
static int get_info_buf(struct vu_client *c, uint16_t cmd, const void *request, size_t request_len,
	size_t min, uint8_t **buf, size_t *len)
{
	size_t room = INFO_ROOM;
	uint8_t req[sizeof(struct vu_region_info)];
	uint32_t argsz;
	int r;

	for (;;) {
		struct answer a = { .cap = room, .min = min };

		a.buf = calloc(1, room);
		if (!a.buf)
			return -ENOMEM;
		memcpy(req, request, request_len);
		argsz = (uint32_t)room;
		memcpy(req, &argsz, sizeof(argsz));
		r = command(c, cmd, req, request_len, -1, &a);
		if (r == 0) {
			memcpy(&argsz, a.buf, sizeof(argsz));
			if (a.len > room || argsz > WIRE_BUF)
				r = violated(c);
		}
		if (r == 0 && (argsz <= room || room == WIRE_BUF)) {
			*buf = a.buf;
			*len = a.len;
			return 0;
		}
		free(a.buf);
		if (r < 0)
			return r;
		room = WIRE_BUF; /* whatever it wants now, the second answer is the last */
	}
}

static int client_get_info(struct vfio_device *dev, struct vfio_dev_info *info)
{
	struct vu_client *c = client_of(dev);
	const struct vu_device_info request = { 0 };
	struct vu_device_info_ext di = { 0 };
	struct vfio_dev_info out = { 0 };
	struct vfio_caps caps;
	uint8_t *buf;
	size_t len;
	int r;

	r = get_info_buf(c, VU_DEVICE_GET_INFO, &request, sizeof(request), sizeof(di.base), &buf,
		&len);
	if (r < 0)
		return r;
	/* A server without capabilities answers with the 16 bytes of the specification. */
	memcpy(&di, buf, len < sizeof(di) ? len : sizeof(di));
	out.flags = di.base.flags;
	out.num_regions = di.base.num_regions;
	out.num_irqs = di.base.num_irqs;
	vfio_caps_init(&caps, buf, len, sizeof(di),
		len > sizeof(di) && (di.base.flags & VFIO_DEVICE_FLAGS_CAPS) ? di.cap_offset : 0);
	r = vfio_caps_device(&caps, &out);
	free(buf);
	if (r < 0)
		return violated(c);
	*info = out;
	return 0;
}

static int client_get_region(struct vfio_device *dev, uint32_t index, struct vfio_region_desc *desc)
{
	struct vu_client *c = client_of(dev);
	const struct vu_region_info request = { .index = index };
	struct vfio_region_desc out = { .index = index };
	struct vu_region_info ri;
	struct vfio_caps caps;
	uint8_t *buf;
	size_t len;
	int r;

	r = get_info_buf(c, VU_DEVICE_GET_REGION_INFO, &request, sizeof(request), sizeof(ri), &buf,
		&len);
	if (r < 0)
		return r;
	memcpy(&ri, buf, sizeof(ri));
	out.flags = ri.flags;
	out.size = ri.size;
	out.offset = ri.offset;
	vfio_caps_init(&caps, buf, len, sizeof(ri),
		ri.flags & VFIO_REGION_INFO_FLAG_CAPS ? ri.cap_offset : 0);
	r = vfio_caps_region(&caps, &out);
	free(buf);
	if (r < 0 || ri.index != index)
		return violated(c);
	*desc = out;
	return 0;
}

/* --- region access --- */

static uint32_t clamp_len(const struct vu_client *c, size_t len)
{
	uint32_t max = c->peer.max_data_xfer_size;

	if (max > WIRE_MAX_DATA)
		max = WIRE_MAX_DATA;
	return len < max ? (uint32_t)len : max;
}

struct read_answer {
	void *buf;
	uint32_t count;
	int result; /* bytes or the peer's error */
};

static int take_read(void *ctx, const struct wire_reply *reply)
{
	struct read_answer *a = ctx;
	struct vu_region_access ra;

	if (reply->error) {
		a->result = peer_error(reply->error);
		return 0;
	}
	if (reply->len < sizeof(ra))
		return -EPROTO;
	memcpy(&ra, reply->payload, sizeof(ra));
	if (ra.count > a->count || reply->len != sizeof(ra) + ra.count)
		return -EPROTO;
	memcpy(a->buf, reply->payload + sizeof(ra), ra.count);
	a->result = (int)ra.count;
	return 0;
}

static ssize_t client_region_read(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, void *buf, size_t len)
{
	struct vu_client *c = client_of(dev);
	struct read_answer a = { .buf = buf, .count = clamp_len(c, len) };
	const struct vu_region_access ra = { offset, r->index, a.count };
	int e = wire_begin(&c->wire);

	if (e < 0)
		return e;
	wire_queue(&c->wire, VU_REGION_READ, 0, &ra, sizeof(ra), NULL, 0);
	e = wire_flush(&c->wire, take_read, &a);
	if (e < 0)
		return e;
	return settle(c, a.result);
}

static int can_map(const struct vu_client *c, size_t n)
{
	if (c->peer.max_msg_fds < 1)
		return -EOPNOTSUPP;
	return c->ndmas < c->peer.max_dma_maps && n <= c->peer.max_dma_maps - c->ndmas ? 0 : -ENOSPC;
}

/* Among the first commands of an exchange, see wire_attach_fd(). */
static void queue_map(struct vu_client *c, const struct vfio_map *map, uint32_t flags)
{
	const struct vu_dma_map m = {
		.argsz = sizeof(m),
		.flags = VU_DMA_F_READ | VU_DMA_F_WRITE,
		.offset = map->fd_offset,
		.addr = (uintptr_t)map->va,
		.size = map->len,
	};

	wire_queue(&c->wire, VU_DMA_MAP, flags, &m, sizeof(m), NULL, 0);
	wire_attach_fd(&c->wire, map->fd);
}

/* A group of writes on their way: what was asked, and how far it got. */
struct write_answer {
	const struct vfio_region_wr *wr;
	struct vfio_map *maps; /* came before them */
	size_t nmaps;
	size_t done;
	uint32_t count; /* bytes of the first write that did not succeed as a whole */
	int error;	/* of the first failing one */
};

/* Behind a failure there must be cancellations only: anything else has been executed. */
static int take_write(void *ctx, const struct wire_reply *reply)
{
	struct write_answer *a = ctx;
	struct vu_region_access ra;
	size_t at = reply->index;

	if (a->error)
		return reply->error == -ECANCELED ? 0 : -EPROTO;
	if (reply->error) {
		a->error = peer_error(reply->error);
		return 0;
	}
	if (at < a->nmaps) {
		a->maps[at].done = true;
		return 0;
	}
	at -= a->nmaps;
	if (reply->len < sizeof(ra))
		return -EPROTO;
	memcpy(&ra, reply->payload, sizeof(ra));
	if (ra.count > a->wr[at].len)
		return -EPROTO;
	if (ra.count == a->wr[at].len && at == a->done)
		a->done++;
	else if (at == a->done)
		a->count = ra.count;
	return 0;
}

/*
 * Sends up to @n writes as one group (at least one) and awaits it. *sent: writes in the group.
 * 0 when the peer failed none (the last ones may be short), else the first error. @maps: to be mapped
 * before.
 */
static int write_group(struct vu_client *c, struct vfio_map *maps, size_t nmaps, uint32_t region,
	const struct vfio_region_wr *wr, size_t n, size_t *sent, struct write_answer *a)
{
	size_t i;
	int r = wire_begin(&c->wire);

	*a = (struct write_answer){ .wr = wr, .maps = maps, .nmaps = nmaps };
	if (r < 0)
		return r;
	for (i = 0; i < nmaps; i++)
		queue_map(c, &maps[i], i ? VU_F_CHAIN : 0);
	for (i = 0; i < n && (i == 0 || c->peer.chain); i++) {
		const struct vu_region_access ra = { wr[i].offset, region, wr[i].len };

		if (!wire_queue(&c->wire, VU_REGION_WRITE, i || nmaps ? VU_F_CHAIN : 0, &ra, sizeof(ra),
			    wr[i].data, wr[i].len))
			break;
	}
	*sent = i;
	r = wire_flush(&c->wire, take_write, a);
	return r < 0 ? r : settle(c, a->error);
}

static ssize_t client_region_write(struct vfio_device *dev, const struct vfio_region_desc *r,
	uint64_t offset, const void *buf, size_t len)
{
	struct vu_client *c = client_of(dev);
	const struct vfio_region_wr wr = {
		.offset = offset, .data = buf, .len = clamp_len(c, len)
	};
	struct write_answer a;
	size_t sent;
	int e = write_group(c, NULL, 0, r->index, &wr, 1, &sent, &a);

	if (e < 0)
		return e;
	return a.done ? (ssize_t)wr.len : (ssize_t)a.count;
}

static int write_batch(struct vu_client *c, struct vfio_map *maps, size_t nmaps,
	const struct vfio_region_desc *r, const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	struct write_answer a = { 0 };
	size_t at = 0, sent;
	int e = 0;

	*done = 0;
	for (size_t i = 0; i < n; i++) {
		if (clamp_len(c, wr[i].len) != wr[i].len)
			return -EMSGSIZE;
	}
	while (e == 0 && at < n) {
		e = write_group(c, maps, at ? 0 : nmaps, r->index, wr + at, n - at, &sent, &a);
		if (e == 0 && a.done < sent)
			e = -EPROTO;
		at += a.done;
	}
	*done = at;
	return e;
}

static int client_region_write_batch(struct vfio_device *dev, const struct vfio_region_desc *r,
	const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	return write_batch(client_of(dev), NULL, 0, r, wr, n, done);
}

/* --- DMA, interrupts, reset --- */

static int client_dma_map(struct vfio_device *dev, void *va, size_t len, int fd, uint64_t fd_offset,
	uint64_t *iova)
{
	struct vu_client *c = client_of(dev);
	const struct vfio_map map = { .va = va, .len = len, .fd = fd, .fd_offset = fd_offset };
	struct answer a = { 0 };
	int r = can_map(c, 1);

	if (r == 0)
		r = wire_begin(&c->wire);
	if (r < 0)
		return r;
	queue_map(c, &map, 0);
	r = wire_flush(&c->wire, take_answer, &a);
	if (r == 0)
		r = settle(c, a.error);
	if (r < 0)
		return r;
	c->ndmas++;
	*iova = (uintptr_t)va;
	return 0;
}

static int client_map_write_batch(struct vfio_device *dev, struct vfio_map *maps, size_t nmaps,
	const struct vfio_region_desc *r, const struct vfio_region_wr *wr, size_t n, size_t *done)
{
	struct vu_client *c = client_of(dev);
	int e = can_map(c, nmaps);

	*done = 0;
	if (e == 0)
		e = write_batch(c, maps, nmaps, r, wr, n, done);
	for (size_t i = 0; i < nmaps; i++)
		c->ndmas += maps[i].done;
	return e;
}

static int client_dma_unmap(struct vfio_device *dev, uint64_t iova, size_t len)
{
	struct vu_client *c = client_of(dev);
	const struct vu_dma_unmap un = { .argsz = sizeof(un), .addr = iova, .size = len };
	struct answer a = { 0 };
	int r = command(c, VU_DMA_UNMAP, &un, sizeof(un), -1, &a);

	if (r == 0 && c->ndmas)
		c->ndmas--;
	return r;
}

static int take_unmap(void *ctx, const struct wire_reply *reply)
{
	struct vfio_range *v = ctx;

	v[reply->index].result = peer_error(reply->error);
	return 0;
}

static int client_dma_unmap_batch(struct vfio_device *dev, struct vfio_range *v, size_t n)
{
	struct vu_client *c = client_of(dev);
	int r = wire_begin(&c->wire);
	size_t i;

	for (i = 0; r == 0 && i < n; i++) {
		const struct vu_dma_unmap un = {
			.argsz = sizeof(un), .addr = v[i].iova, .size = v[i].len };

		v[i].result = -ENODEV;
		if (!wire_queue(&c->wire, VU_DMA_UNMAP, 0, &un, sizeof(un), NULL, 0))
			r = -EMSGSIZE;
	}
	if (r == 0)
		r = wire_flush(&c->wire, take_unmap, v);
	for (i = 0; r == 0 && i < n; i++) {
		r = settle(c, v[i].result == -ENODEV ? -ENODEV : 0);
		c->ndmas -= v[i].result == 0 && c->ndmas;
	}
	return r;
}

static int client_set_msi(struct vfio_device *dev, int eventfd)
{
	const uint32_t on = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	const uint32_t off = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
	const struct vu_irq_set set = {
		.argsz = sizeof(set),
		.flags = eventfd < 0 ? off : on,
		.index = VFIO_PCI_MSI_IRQ_INDEX,
		.count = eventfd < 0 ? 0 : 1,
	};
	struct answer a = { 0 };

	return command(client_of(dev), VU_DEVICE_SET_IRQS, &set, sizeof(set), eventfd, &a);
}

static int client_reset(struct vfio_device *dev)
{
	struct answer a = { 0 };

	return command(client_of(dev), VU_DEVICE_RESET, NULL, 0, -1, &a);
}

static int client_side_channel(struct vfio_device *dev, int fd)
{
	struct vu_client *c = client_of(dev);
	struct answer a = { 0 };

	return c->peer.side ? command(c, VU_SIDE_CHANNEL, NULL, 0, fd, &a) : -EOPNOTSUPP;
}

static int client_liveness_fd(struct vfio_device *dev)
{
	return client_of(dev)->hangup_fd;
}

static int client_check(struct vfio_device *dev)
{
	int r = wire_idle(&client_of(dev)->wire);

	return r < 0 ? -ENODEV : 0;
}

static void client_close(struct vfio_device *dev)
{
	struct vu_client *c = client_of(dev);

	fd_closep(&c->hangup_fd);
	wire_deinit(&c->wire);
	free(c);
}

static const struct vfio_device_ops client_ops = {
	.name = "vfio-user",
	.get_info = client_get_info,
	.get_region = client_get_region,
	.region_read = client_region_read,
	.region_write = client_region_write,
	.region_write_batch = client_region_write_batch,
	.dma_map = client_dma_map,
	.dma_unmap = client_dma_unmap,
	.map_write_batch = client_map_write_batch,
	.dma_unmap_batch = client_dma_unmap_batch,
	.set_msi = client_set_msi,
	.reset = client_reset,
	.side_channel = client_side_channel,
	.liveness_fd = client_liveness_fd,
	.check = client_check,
	.close = client_close,
};

/* --- opening --- */

/*
 * The socket itself is readable with every reply, so whoever waits for it would be woken by each
 * request. An epoll instance that only listens for the hang-up stays quiet until that.
 */
static int watch_hangup(int sock)
{
	struct epoll_event ev = { .events = EPOLLRDHUP };
	int fd FD_CLEANUP = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, sock, &ev) < 0)
		return -errno;
	return fd_steal(&fd);
}

/* The send timeout also limits how long connect() waits for a full backlog. */
static int connect_to(const char *path, unsigned int timeout_ms)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const struct timeval tv = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000,
	};
	int fd FD_CLEANUP = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return fd_steal(&fd);
}

static int negotiate(struct vu_client *c, const char **why)
{
	const char *offer = vu_version_offer();
	struct { /* version 0.0 and the offer */
		struct vu_version v;
		char json[256];
	} msg = { 0 };
	uint8_t buf[4096];
	struct answer a = { .buf = buf, .cap = sizeof(buf), .min = sizeof(struct vu_version) };
	size_t len = strlen(offer) + 1;
	int r;

	memcpy(msg.json, offer, len);
	r = command(c, VU_VERSION, &msg, sizeof(msg.v) + len, -1, &a);
	if (r < 0) {
		*why = r == -ETIMEDOUT ? "no answer to the version offer" :
		       a.error	       ? "the version offer was refused" :
		       r == -ENODEV    ? "it closed the connection: has it another client?" :
					 "not a vfio-user server";
		return a.error ? -EPROTO : r;
	}
	if (a.len > sizeof(buf)) {
		*why = "oversized version reply";
		return -EPROTO;
	}
	return vu_version_parse(buf, a.len, &c->peer, why);
}

int vu_client_open(const struct vu_client_params *params, struct vfio_device **ret)
{
	unsigned int timeout = params->timeout_ms ? params->timeout_ms : DEFAULT_TIMEOUT_MS;
	struct vu_client *c = calloc(1, sizeof(*c));
	const char *why = NULL;
	int fd, r;

	if (!c)
		return -ENOMEM;
	fd = connect_to(params->path, timeout);
	if (fd < 0) {
		free(c);
		log_err("%s: cannot connect: %s%s", params->path, strerror(-fd),
			fd == -ENOENT || fd == -ECONNREFUSED ? " (is the device server running?)" :
							       "");
		return fd;
	}
	c->dev.ops = &client_ops;
	c->hangup_fd = watch_hangup(fd);
	r = wire_init(&c->wire, fd, timeout, params->spin_us);
	c->wire.give_up_ns = params->give_up_ns;
	if (r == 0 && c->hangup_fd < 0)
		r = c->hangup_fd;
	if (r == 0)
		r = negotiate(c, &why);
	if (r < 0) {
		log_err("%s: %s", params->path, why ? why : strerror(-r));
		client_close(&c->dev);
		return r;
	}
	c->wire.together = c->peer.together && c->peer.max_msg_fds >= WIRE_FDS;
	c->dev.iova_is_va = c->peer.iova_is_va;
	c->dev.pipelined = c->peer.iova_is_va && c->peer.chain;
	*ret = &c->dev;
	return 0;
}

void vu_client_settle(struct vfio_device *dev, unsigned int timeout_ms)
{
	struct vu_client *c = client_of(dev);

	c->wire.timeout_ms = timeout_ms;
	c->wire.give_up_ns = 0;
}
