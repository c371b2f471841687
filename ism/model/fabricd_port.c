/* SPDX-License-Identifier: MIT */
#include "ism/model/fabricd_port.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/zpci.h"

#define NS_PER_MS      UINT64_C(1000000)
#define ACCEPT_RETRY   (100 * NS_PER_MS)
#define REFUSED_EVERY  (1000 * NS_PER_MS)
#define INFO_SIZE      24u /* of the device info, before its capabilities */
#define REGION_INFO_RW (VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE)
#define ZPCI_REGION    VFIO_DEV_REGION_FIXED

static const struct vfio_region_info_cap_type zpci_region_cap = {
	.header = { .id = VFIO_REGION_INFO_CAP_TYPE, .version = 1 },
	.type = ZPCI_IO_REGION_TYPE,
	.subtype = ZPCI_IO_REGION_SUBTYPE,
};

/* --- the function's view of its client --- */

static void *host_resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	struct port *p = ctx;

	return vu_conn_dma(p->conn, iova, len, write);
}

static int host_memory_fd(void *ctx, uint64_t iova, size_t len)
{
	struct port *p = ctx;

	return vu_conn_dma_fd(p->conn, iova, len);
}

static void host_irq(void *ctx)
{
	struct port *p = ctx;

	vu_conn_irq(p->conn, VFIO_PCI_MSI_IRQ_INDEX);
}

static void host_unplugged(void *ctx)
{
	struct port *p = ctx;

	p->closing = true;
}

static const struct function_host host = {
	.resolve = host_resolve,
	.memory_fd = host_memory_fd,
	.irq = host_irq,
	.unplugged = host_unplugged,
};

/* --- the client's view of the function --- */

/* Faults and knobs that take time: nothing more happens on this connection, replies included. */
static void hold_back(struct port *p)
{
	uint64_t ms = function_take_stall(p->fn) + p->fn->faults.slow_ms;

	if (!ms)
		return;
	p->resume_at = clock_ns() + ms * NS_PER_MS;
	vu_conn_pause(p->conn, true);
}

static void *exec_resolve(void *ctx, uint64_t gaddr, size_t len, int write)
{
	struct port *p = ctx;

	return vu_conn_iova_is_va(p->conn) ? vu_conn_dma(p->conn, gaddr, len, write) : NULL;
}

static int exec_load(void *ctx, uint8_t pcias, uint64_t offset, uint16_t len, uint64_t *value)
{
	struct port *p = ctx;

	return function_load(p->fn, pcias, offset, len, value);
}

static int exec_store(void *ctx, uint8_t pcias, uint64_t offset, const void *data, uint16_t len)
{
	struct port *p = ctx;

	return function_store(p->fn, pcias, offset, data, len);
}

static const struct region_exec_ops exec_ops = {
	.resolve = exec_resolve,
	.load = exec_load,
	.store = exec_store,
};

static int load_bar(struct port *p, uint32_t index, uint64_t offset, uint8_t *buf, size_t len)
{
	uint64_t value;
	int r;

	if (len > sizeof(value))
		return -EINVAL;
	r = function_load(p->fn, (uint8_t)index, offset, len, &value);
	while (!r && len--) {
		buf[len] = (uint8_t)value;
		value >>= 8;
	}
	return r;
}

static ssize_t op_read(void *ctx, uint32_t index, uint64_t offset, void *buf, size_t len)
{
	struct port *p = ctx;
	ssize_t r;

	switch (index) {
	case VFIO_DEV_REGION_BAR0:
	case VFIO_DEV_REGION_BAR2:
		r = load_bar(p, index, offset, buf, len);
		break;
	case VFIO_DEV_REGION_CONFIG:
		r = pci_config_read(&p->fn->config, offset, buf, len);
		break;
	case ZPCI_REGION:
		r = region_exec_read(&p->exec, offset, buf, len);
		break;
	default:
		r = -EINVAL;
		break;
	}
	hold_back(p);
	return r ? r : (ssize_t)len;
}

static ssize_t op_write(void *ctx, uint32_t index, uint64_t offset, const void *buf, size_t len)
{
	struct port *p = ctx;
	ssize_t r;

	switch (index) {
	case VFIO_DEV_REGION_BAR0:
	case VFIO_DEV_REGION_BAR2:
		r = function_store(p->fn, (uint8_t)index, offset, buf, len);
		break;
	case VFIO_DEV_REGION_CONFIG:
		r = pci_config_write(&p->fn->config, offset, buf, len);
		break;
	case ZPCI_REGION:
		r = region_exec_write(&p->exec, offset, buf, len);
		break;
	default:
		r = -EINVAL;
		break;
	}
	hold_back(p);
	return r ? r : (ssize_t)len;
}

static void op_irq_changed(void *ctx, uint32_t index, int fd)
{
	struct port *p = ctx;

	if (index == VFIO_PCI_MSI_IRQ_INDEX)
		function_set_msi(p->fn, fd >= 0);
}

static int op_reset(void *ctx)
{
	struct port *p = ctx;
	int r = function_reset(p->fn);

	hold_back(p);
	return r;
}

static void op_dma_unmapped(void *ctx, uint64_t iova, uint64_t size)
{
	struct port *p = ctx;

	function_dma_unmapped(p->fn, iova, size);
}

static int op_side_channel(void *ctx, int fd)
{
	struct port *p = ctx;

	return side_open(&p->side, p->loop, p->fn, fd);
}

static void describe_regions(struct port *p)
{
	const struct fabric *f = p->fn->fabric;
	struct vu_region *r = p->regions;

	memset(r, 0, sizeof(p->regions));
	r[VFIO_DEV_REGION_BAR0] = (struct vu_region){ ZPCI_OFFSET_LIMIT, REGION_INFO_RW, NULL, 0 };
	r[VFIO_DEV_REGION_BAR2] = (struct vu_region){ fabric_knob(f, KNOB_bar2_size),
		REGION_INFO_RW, NULL, 0 };
	r[VFIO_DEV_REGION_CONFIG] = (struct vu_region){ PCI_CONFIG_SIZE, REGION_INFO_RW, NULL, 0 };
	r[ZPCI_REGION] = (struct vu_region){ ZPCI_IO_REGION_SIZE,
		REGION_INFO_RW | VFIO_REGION_INFO_FLAG_CAPS, &zpci_region_cap,
		sizeof(zpci_region_cap) };
}

static void describe_zpci(struct port *p)
{
	const struct fabric *f = p->fn->fabric;
	struct port_dev_caps *c = &p->dev_caps;

	memset(c, 0, sizeof(*c));
	c->base.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_BASE;
	c->base.header.version = 2;
	c->base.header.next = INFO_SIZE + sizeof(c->base);
	c->base.start_dma = fabric_knob(f, KNOB_iova_start);
	c->base.end_dma = fabric_knob(f, KNOB_iova_end);
	c->base.pchid = f->chid;
	c->base.vfn = (uint16_t)p->fn->nr;
	c->base.pft = ISM_PFT;
	c->base.fh = 0x80000000u | (p->fn->nr + 1);
	c->group.header.id = VFIO_DEVICE_INFO_CAP_ZPCI_GROUP;
	c->group.header.version = 2;
	c->group.dasm = UINT64_MAX;
	c->group.noi = 1;
	c->group.maxstbl = 128; /* what Linux reports whatever the hardware can do */
	c->group.version = 1;
	c->group.imaxstbl = (uint16_t)fabric_knob(f, KNOB_max_store);
}

static void describe(struct port *p)
{
	describe_regions(p);
	describe_zpci(p);
	region_exec_init(&p->exec, &exec_ops, p,
		(uint16_t)fabric_knob(p->fn->fabric, KNOB_max_store));
	p->irq_counts[VFIO_PCI_MSI_IRQ_INDEX] = 1;
	p->irq_counts[VFIO_PCI_ERR_IRQ_INDEX] = (uint32_t)fabric_knob(p->fn->fabric, KNOB_err_irq);
	p->irq_counts[VFIO_PCI_REQ_IRQ_INDEX] = 1;
	p->ops = (struct vu_device_ops){
		.regions = p->regions,
		.num_regions = PORT_REGIONS,
		.irq_counts = p->irq_counts,
		.max_dma_maps = (uint32_t)fabric_knob(p->fn->fabric, KNOB_dma_maps),
		.num_irqs = VFIO_PCI_NUM_IRQS,
		.dev_caps = &p->dev_caps,
		.dev_caps_len = sizeof(p->dev_caps),
		.region_read = op_read,
		.region_write = op_write,
		.irq_changed = op_irq_changed,
		.reset = op_reset,
		.dma_unmapped = op_dma_unmapped,
		.side_channel = fabric_knob(p->fn->fabric, KNOB_attach) ? op_side_channel : NULL,
	};
}

/* --- connections --- */

static void disconnect(struct port *p, const char *why)
{
	log_info("function %u: client (pid %d, uid %u) is gone: %s", p->fn->nr, (int)p->pid,
		(unsigned int)p->uid, why);
	/* First the function lets go of the client's memory, then the memory goes. */
	function_detach(p->fn);
	side_close(&p->side);
	loop_set(p->loop, &p->sock, 0);
	p->conn = vu_conn_free(p->conn);
	p->sock.fd = -1;
	p->resume_at = FABRIC_NEVER;
	p->closing = false;
}

/* Waits for what the connection needs now. */
static void rearm(struct port *p)
{
	int r = loop_set(p->loop, &p->sock, (uint32_t)vu_conn_events(p->conn));

	if (r)
		disconnect(p, strerror(-r));
}

static void sock_ready(struct source *s, uint32_t events)
{
	struct port *p = (struct port *)(void *)((char *)s - offsetof(struct port, sock));
	int r = vu_conn_process(p->conn);

	if (r == 0 || r == -EAGAIN)
		rearm(p);
	else
		disconnect(p, r == -EPIPE ? "end of file" : strerror(-r));
}

static void refuse(struct port *p, int fd, const char *why)
{
	uint64_t now = clock_ns();

	if (p->refused_at + REFUSED_EVERY <= now) {
		p->refused_at = now;
		log_warn("function %u: refused a client: %s", p->fn->nr, why);
	}
	close(fd);
}

/* A client that comes back at once may be seen before its predecessor's end of file. */
static bool client_left(const struct port *p)
{
	struct pollfd pfd = { .fd = p->sock.fd };

	return poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP | POLLERR));
}

static void refuse_busy(struct port *p, int fd)
{
	char why[64];

	snprintf(why, sizeof(why), "pid %d is using the function", (int)p->pid);
	refuse(p, fd, why);
}

/* Takes @fd. */
static void connected(struct port *p, int fd)
{
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	int r;

	if (p->fn->faults.unplugged) {
		refuse(p, fd, "it is unplugged");
		return;
	}
	if (p->conn && client_left(p))
		disconnect(p, "end of file");
	if (p->conn) {
		refuse_busy(p, fd);
		return;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	p->pid = who.pid;
	p->uid = who.uid;
	describe(p);
	r = vu_conn_new(fd, &p->ops, p, &p->conn);
	if (r) {
		log_err("function %u: cannot serve a client: %s", p->fn->nr, strerror(-r));
		return;
	}
	vu_conn_allow_unsealed(p->conn, p->allow_unsealed);
	function_attach(p->fn, &host, p); /* nobody is attached: there was no connection */
	p->sock.fd = vu_conn_fd(p->conn);
	log_info("function %u: client (pid %d, uid %u)", p->fn->nr, (int)p->pid,
		(unsigned int)p->uid);
	rearm(p);
}

static void listen_ready(struct source *s, uint32_t events)
{
	struct port *p = (struct port *)(void *)((char *)s - offsetof(struct port, listen));
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		connected(p, fd);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
		return;
	log_err("function %u: cannot accept clients (%s): raise LimitNOFILE", p->fn->nr,
		strerror(errno));
	p->accept_at = clock_ns() + ACCEPT_RETRY;
	loop_set(p->loop, s, 0);
}

static void socket_name(const struct port *p, char *buf, size_t size)
{
	snprintf(buf, size, "ism%u.sock", p->fn->nr);
}

int port_open(struct port *p, struct loop *loop, struct function *fn, struct fabricd_dir *dir,
	bool allow_unsealed)
{
	char name[32];
	int r;

	memset(p, 0, sizeof(*p));
	p->loop = loop;
	p->fn = fn;
	p->allow_unsealed = allow_unsealed;
	p->resume_at = FABRIC_NEVER;
	p->accept_at = FABRIC_NEVER;
	side_init(&p->side);
	p->sock = (struct source){ .fd = -1, .ready = sock_ready };
	socket_name(p, name, sizeof(name));
	r = fabricd_dir_listen(dir, name);
	if (r < 0)
		return r;
	p->listen = (struct source){ .fd = r, .ready = listen_ready };
	return loop_set(loop, &p->listen, EPOLLIN);
}

void port_close(struct port *p, struct fabricd_dir *dir)
{
	char name[32];

	if (!p->fn)
		return;
	if (p->conn)
		disconnect(p, "the fabric ends");
	loop_set(p->loop, &p->listen, 0);
	if (p->listen.fd >= 0) {
		socket_name(p, name, sizeof(name));
		fabricd_dir_remove(dir, name);
	}
	fd_closep(&p->listen.fd);
}

uint64_t port_due(const struct port *p)
{
	if (p->closing)
		return 0;
	return p->resume_at < p->accept_at ? p->resume_at : p->accept_at;
}

void port_run(struct port *p, uint64_t now)
{
	if (p->closing) {
		disconnect(p, "unplugged");
		return;
	}
	if (p->accept_at <= now) {
		p->accept_at = FABRIC_NEVER;
		if (loop_set(p->loop, &p->listen, EPOLLIN))
			p->accept_at = now + ACCEPT_RETRY;
	}
	if (p->resume_at <= now) {
		p->resume_at = FABRIC_NEVER;
		vu_conn_pause(p->conn, false);
		rearm(p);
	}
}
