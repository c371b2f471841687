/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/user/conn.h"

static int reply_with(struct vu_conn *c, const void *body, size_t len)
{
	void *p = vu_reply(c, len);

	if (!p)
		return -ENOMEM;
	memcpy(p, body, len);
	return 0;
}

static int cmd_version(struct vu_conn *c, struct vu_msg *m)
{
	char json[VU_MAX_VERSION];
	struct vu_limits limits;
	struct vu_version v;
	int len;

	if (c->ready)
		return -EINVAL;
	memcpy(&v, m->body, sizeof(v));
	if (v.major != VU_MAJOR)
		return -EINVAL;
	len = vu_negotiate((const char *)m->body + sizeof(v), m->len - sizeof(v), &limits, json,
		sizeof(json));
	if (len < 0)
		return len;
	if (v.minor > VU_MINOR_MAX)
		v.minor = VU_MINOR_MAX;
	if (reply_with(c, &v, sizeof(v)) || reply_with(c, json, (size_t)len))
		return -ENOMEM;
	c->limits = limits;
	c->dma.max_maps = limits.max_dma_maps;
	/* What the device's own table holds is not announced, like an IOMMU's. */
	if (c->ops->max_dma_maps && c->ops->max_dma_maps < c->dma.max_maps)
		c->dma.max_maps = c->ops->max_dma_maps;
	c->ready = true;
	return 0;
}

static int cmd_dma_map(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_dma_map req;
	int none = -1, r;

	memcpy(&req, m->body, sizeof(req));
	if (req.argsz < sizeof(req))
		return -EINVAL;
	r = dma_add(&c->dma, &req, m->n_fds ? &m->fds[0] : &none);
	if (r != -EPERM)
		return r;
	if (!c->unsealed_logged)
		log_err("vfio-user client (pid %d) maps memory that it could shrink: refused; create "
			"it with F_SEAL_SHRINK (QEMU: memory-backend-memfd,share=on,seal=on) or "
			"start the server with --allow-unsealed-memory",
			vu_peer_pid(c));
	c->unsealed_logged = true;
	return -EINVAL;
}

static int cmd_dma_unmap(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_dma_unmap req;
	uint64_t last;

	memcpy(&req, m->body, sizeof(req));
	if (req.argsz < sizeof(req))
		return -EINVAL;
	if (req.flags == VU_UNMAP_F_ALL) {
		if (req.addr || req.size)
			return -EINVAL;
		last = UINT64_MAX;
	} else {
		if (req.flags || !req.size || req.size - 1 > UINT64_MAX - req.addr)
			return -EINVAL;
		last = req.addr + req.size - 1;
	}
	if (dma_cuts(&c->dma, req.addr, last))
		return -EINVAL;
	if (dma_any(&c->dma, req.addr, last)) {
		if (c->ops->dma_unmapped)
			c->ops->dma_unmapped(c->ctx, req.addr, req.size ? req.size : UINT64_MAX);
		dma_remove(&c->dma, req.addr, last);
	}
	return reply_with(c, &req, sizeof(req));
}

static int cmd_get_info(struct vu_conn *c, struct vu_msg *m)
{
	const struct vu_device_ops *ops = c->ops;
	struct vu_device_info_ext info;
	uint32_t argsz, full;

	memcpy(&argsz, m->body, sizeof(argsz));
	if (argsz < sizeof(info.base))
		return -EINVAL;
	full = (uint32_t)(ops->dev_caps_len ? sizeof(info) + ops->dev_caps_len : sizeof(info.base));
	info = (struct vu_device_info_ext){
		.base = {
			.argsz = full,
			.flags = VFIO_DEVICE_FLAGS_PCI | (ops->reset ? VFIO_DEVICE_FLAGS_RESET : 0) |
				(ops->dev_caps_len ? VFIO_DEVICE_FLAGS_CAPS : 0),
			.num_regions = ops->num_regions,
			.num_irqs = ops->num_irqs,
		},
		.cap_offset = sizeof(info),
	};
	if (!ops->dev_caps_len || argsz < full)
		return reply_with(c, &info.base, sizeof(info.base));
	if (reply_with(c, &info, sizeof(info)))
		return -ENOMEM;
	return reply_with(c, ops->dev_caps, ops->dev_caps_len);
}

static int cmd_get_region_info(struct vu_conn *c, struct vu_msg *m)
{
	const struct vu_region *region;
	struct vu_region_info info;
	uint32_t argsz, full;

	memcpy(&info, m->body, sizeof(info));
	argsz = info.argsz;
	if (argsz < sizeof(info) || info.index >= c->ops->num_regions)
		return -EINVAL;
	region = &c->ops->regions[info.index];
	full = (uint32_t)(sizeof(info) + region->caps_len);
	info = (struct vu_region_info){
		.argsz = full,
		.flags = region->flags | (region->caps_len ? VFIO_REGION_INFO_FLAG_CAPS : 0),
		.index = info.index,
		.size = region->size,
	};
	if (!region->caps_len || argsz < full)
		return reply_with(c, &info, sizeof(info));
	info.cap_offset = sizeof(info);
	if (reply_with(c, &info, sizeof(info)))
		return -ENOMEM;
	return reply_with(c, region->caps, region->caps_len);
}

static int cmd_get_irq_info(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_irq_info info;

	memcpy(&info, m->body, sizeof(info));
	if (info.argsz < sizeof(info) || info.index >= c->ops->num_irqs)
		return -EINVAL;
	info.argsz = sizeof(info);
	info.count = c->ops->irq_counts[info.index];
	info.flags = info.count ? VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE : 0;
	return reply_with(c, &info, sizeof(info));
}

/* Another kind of file could block or signal this process when it is written. */
static bool is_eventfd(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], target[sizeof(want)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target)) == (ssize_t)sizeof(want) - 1 &&
		!memcmp(target, want, sizeof(want) - 1);
}

/* Takes ownership of @fd (-1: none). */
static void irq_assign(struct vu_conn *c, uint32_t index, int fd)
{
	int old = c->irq_fds[index];

	if (old < 0 && fd < 0)
		return;
	c->irq_fds[index] = fd;
	if (c->ops->irq_changed)
		c->ops->irq_changed(c->ctx, index, fd);
	fd_closep(&old);
}

static int irq_set_eventfd(struct vu_conn *c, const struct vu_irq_set *set, struct vu_msg *m)
{
	int flags;

	if (!set->count)
		return -EINVAL;
	if (m->n_fds) {
		if (!is_eventfd(m->fds[0]))
			return -EINVAL;
		flags = fcntl(m->fds[0], F_GETFL);
		if (flags < 0 || fcntl(m->fds[0], F_SETFL, flags | O_NONBLOCK) < 0)
			return -errno;
	}
	irq_assign(c, set->index, m->n_fds ? fd_steal(&m->fds[0]) : -1);
	return 0;
}

static int irq_trigger(struct vu_conn *c, const struct vu_irq_set *set, bool wanted)
{
	if (c->irq_fds[set->index] < 0)
		return -EINVAL;
	if (wanted)
		vu_conn_irq(c, set->index);
	return 0;
}

/* Flags, range and lengths of a SET_IRQS; the rest of it is up to the kind of data. */
static int irq_check(struct vu_conn *c, const struct vu_irq_set *set, const struct vu_msg *m)
{
	uint32_t data = set->flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = set->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	size_t len = sizeof(*set) + (data == VFIO_IRQ_SET_DATA_BOOL ? set->count : 0);
	uint32_t n;

	if (m->n_fds && (data != VFIO_IRQ_SET_DATA_EVENTFD || m->n_fds != set->count))
		return vu_violation(c, "descriptors that SET_IRQS has no use for");
	if (set->argsz < sizeof(*set) || set->index >= c->ops->num_irqs || (set->flags & ~63u))
		return -EINVAL;
	n = c->ops->irq_counts[set->index];
	if (set->start > n || set->count > n - set->start || m->len != len)
		return -EINVAL;
	switch (action) {
	case VFIO_IRQ_SET_ACTION_TRIGGER:
		return 0;
	case VFIO_IRQ_SET_ACTION_MASK:
	case VFIO_IRQ_SET_ACTION_UNMASK:
		return -ENOTSUP; /* no index is maskable */
	default:
		return -EINVAL;
	}
}

static int cmd_set_irqs(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_irq_set set;
	int r;

	memcpy(&set, m->body, sizeof(set));
	r = irq_check(c, &set, m);
	if (r)
		return r;
	switch (set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_EVENTFD:
		return irq_set_eventfd(c, &set, m);
	case VFIO_IRQ_SET_DATA_NONE:
		if (set.count)
			return irq_trigger(c, &set, true);
		irq_assign(c, set.index, -1);
		return 0;
	case VFIO_IRQ_SET_DATA_BOOL:
		return set.count ? irq_trigger(c, &set, m->body[sizeof(set)]) : -EINVAL;
	default:
		return -EINVAL;
	}
}

/*
 * Checks an access and cuts it at the region's end. 0, or -EINVAL; then nothing may be done. With
 * nothing to do *len is 0.
 */
static int region_check(const struct vu_conn *c, const struct vu_region_access *a, uint32_t flag,
	size_t *len)
{
	const struct vu_region *region;

	if (a->region >= c->ops->num_regions || a->count > c->limits.max_xfer)
		return -EINVAL;
	region = &c->ops->regions[a->region];
	*len = a->count;
	if (!a->count)
		return 0;
	if (!(region->flags & flag) || a->offset >= region->size)
		return -EINVAL;
	if (a->count > region->size - a->offset)
		*len = region->size - a->offset;
	return 0;
}

static int cmd_region_read(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_region_access a;
	unsigned char *p;
	ssize_t n = 0;
	size_t len;
	int r;

	memcpy(&a, m->body, sizeof(a));
	r = region_check(c, &a, VFIO_REGION_INFO_FLAG_READ, &len);
	if (r)
		return r;
	p = vu_reply(c, sizeof(a) + len);
	if (!p)
		return -ENOMEM;
	if (len)
		n = c->ops->region_read(c->ctx, a.region, a.offset, p + sizeof(a), len);
	if (n < 0)
		return (int)n;
	a.count = (uint32_t)n;
	memcpy(p, &a, sizeof(a));
	c->out.end -= len - (size_t)n;
	return 0;
}

static int cmd_region_write(struct vu_conn *c, struct vu_msg *m)
{
	struct vu_region_access a;
	ssize_t n = 0;
	size_t len;
	int r;

	memcpy(&a, m->body, sizeof(a));
	if (a.count != m->len - sizeof(a))
		return -EINVAL;
	r = region_check(c, &a, VFIO_REGION_INFO_FLAG_WRITE, &len);
	if (r)
		return r;
	if (len)
		n = c->ops->region_write(c->ctx, a.region, a.offset, m->body + sizeof(a), len);
	if (n < 0)
		return (int)n;
	c->failed = (size_t)n < a.count;
	a.count = (uint32_t)n;
	return reply_with(c, &a, sizeof(a));
}

static int cmd_reset(struct vu_conn *c, struct vu_msg *m)
{
	return c->ops->reset ? c->ops->reset(c->ctx) : -ENOTSUP;
}

/* Anything but a message socket could make this process wait. */
static bool is_seqpacket(int fd)
{
	socklen_t len = sizeof(int);
	int type = 0;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static int cmd_side_channel(struct vu_conn *c, struct vu_msg *m)
{
	if (!c->limits.side || !c->ops->side_channel)
		return -ENOTSUP;
	if (m->n_fds != 1 || !is_seqpacket(m->fds[0]))
		return -EINVAL;
	return c->ops->side_channel(c->ctx, fd_steal(&m->fds[0]));
}

/* What a client may send; everything else is -ENOTSUP. */
#define INFO_MAX 4096u

static const struct command {
	int (*run)(struct vu_conn *c, struct vu_msg *m);
	size_t min; /* bytes of the body */
	size_t max;
	unsigned int max_fds;
} commands[] = {
	[VU_VERSION] = { cmd_version, sizeof(struct vu_version),
		sizeof(struct vu_version) + VU_MAX_VERSION, 0 },
	[VU_DMA_MAP] = { cmd_dma_map, sizeof(struct vu_dma_map), sizeof(struct vu_dma_map), 1 },
	[VU_DMA_UNMAP] = { cmd_dma_unmap, sizeof(struct vu_dma_unmap),
		sizeof(struct vu_dma_unmap), 0 },
	/* libvfio-user's client sends as much as it has room for in the reply. */
	[VU_DEVICE_GET_INFO] = { cmd_get_info, sizeof(struct vu_device_info), INFO_MAX, 0 },
	[VU_DEVICE_GET_REGION_INFO] = { cmd_get_region_info, sizeof(struct vu_region_info),
		INFO_MAX, 0 },
	[VU_DEVICE_GET_IRQ_INFO] = { cmd_get_irq_info, sizeof(struct vu_irq_info), INFO_MAX, 0 },
	[VU_DEVICE_SET_IRQS] = { cmd_set_irqs, sizeof(struct vu_irq_set), VU_MAX_MSG, VU_MAX_FDS },
	[VU_REGION_READ] = { cmd_region_read, sizeof(struct vu_region_access),
		sizeof(struct vu_region_access), 0 },
	[VU_REGION_WRITE] = { cmd_region_write, sizeof(struct vu_region_access), VU_MAX_MSG, 0 },
	[VU_DEVICE_RESET] = { cmd_reset, 0, 0, 0 },
	[VU_SIDE_CHANNEL] = { cmd_side_channel, 0, 0, 1 },
};

int vu_execute(struct vu_conn *c, struct vu_msg *m)
{
	static const struct command unknown;
	const struct command *cmd = &unknown;
	uint32_t known = VU_F_NO_REPLY | (c->limits.chain ? VU_F_CHAIN : 0) |
		(c->limits.together ? VU_F_FD : 0);
	bool cancel = c->failed && (m->hdr.flags & VU_F_CHAIN & known);

	if (m->hdr.command < sizeof(commands) / sizeof(commands[0]))
		cmd = &commands[m->hdr.command];
	if (m->n_fds > cmd->max_fds)
		return vu_violation(c, "descriptors with a command that takes none");
	if (cancel)
		return -ECANCELED;
	c->failed = false;
	if (m->hdr.flags & ~known)
		return -EINVAL;
	if (!cmd->run)
		return -ENOTSUP;
	if (m->len < cmd->min || m->len > cmd->max)
		return -EINVAL;
	return cmd->run(c, m);
}
