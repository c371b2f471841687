/* SPDX-License-Identifier: MIT */
/*
 * A vfio-user server and a client that sends anything: messages of its own making, cut anywhere, with
 * descriptors of all kinds. Memory that the server says is mapped must be there, replies must be
 * well-formed, and no descriptor stays behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/user/proto.h"
#include "vfio/user/server.h"

#define STEPS_MAX 64
#define BAR2_SIZE 4096u
#define MEM_SIZE  65536u
#define PUMP_MAX  10000 /* turns until the server must have come to rest */

struct dev {
	struct vu_conn *c;
	int s;
	bool ended;
	bool pause;
	uint8_t bar2[BAR2_SIZE];
};

static const uint8_t cap[40] = "capabilities";
static const struct vu_region regions[10] = {
	[0] = { UINT64_C(1) << 48, VFIO_REGION_INFO_FLAG_WRITE, NULL, 0 },
	[2] = { BAR2_SIZE, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, NULL, 0 },
	[7] = { 256, VFIO_REGION_INFO_FLAG_READ, NULL, 0 },
	[9] = { 48, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, cap, 16 },
};
static const uint32_t irq_counts[5] = { 0, 1, 0, 0, 1 };

static void check_access(uint32_t index, uint64_t offset, size_t len)
{
	CHECK(index < 10 && len > 0 && len <= VU_MAX_DATA_XFER);
	CHECK(offset < regions[index].size && len <= regions[index].size - offset);
}

static ssize_t dev_read(void *ctx, uint32_t index, uint64_t offset, void *buf, size_t len)
{
	struct dev *d = ctx;

	check_access(index, offset, len);
	CHECK(regions[index].flags & VFIO_REGION_INFO_FLAG_READ);
	memset(buf, 0, len);
	if (index == 2)
		memcpy(buf, d->bar2 + offset, len);
	return index == 9 ? -EFAULT : (ssize_t)len;
}

static ssize_t dev_write(void *ctx, uint32_t index, uint64_t offset, const void *buf, size_t len)
{
	struct dev *d = ctx;
	const volatile uint8_t *p = buf;

	check_access(index, offset, len);
	CHECK(regions[index].flags & VFIO_REGION_INFO_FLAG_WRITE);
	(void)(p[0] + p[len - 1]);
	if (index == 2)
		memcpy(d->bar2 + offset, buf, len);
	d->pause = d->bar2[0] == 'P';
	return d->bar2[1] == 'E' ? -EIO : (ssize_t)len;
}

static void dev_irq_changed(void *ctx, uint32_t index, int fd)
{
	CHECK(index < 5 && irq_counts[index] == 1);
	CHECK(fd < 0 || fcntl(fd, F_GETFD) >= 0);
}

static int dev_reset(void *ctx)
{
	return 0;
}

static int dev_side_channel(void *ctx, int fd)
{
	close(fd);
	return 0;
}

/* What is mapped can be read, and written if the client allowed that. */
static void touch(const struct dev *d, uint64_t iova, size_t len)
{
	volatile uint8_t *w = vu_conn_dma(d->c, iova, len, true);
	const volatile uint8_t *r = vu_conn_dma(d->c, iova, len, false);

	if (r)
		(void)(r[0] + r[len - 1]);
	if (w) {
		w[0] = 1;
		w[len - 1] = 2;
	}
}

static void dev_dma_unmapped(void *ctx, uint64_t iova, uint64_t size)
{
	touch(ctx, iova, 1); /* still there while we are told */
}

static const struct vu_device_ops ops = {
	.regions = regions,
	.num_regions = 10,
	.irq_counts = irq_counts,
	.num_irqs = 5,
	.max_dma_maps = 24,
	.dev_caps = cap,
	.dev_caps_len = sizeof(cap),
	.region_read = dev_read,
	.region_write = dev_write,
	.irq_changed = dev_irq_changed,
	.reset = dev_reset,
	.side_channel = dev_side_channel,
	.dma_unmapped = dev_dma_unmapped,
};

/* Whole replies only; a stream that stopped in the middle would be a bug. */
static void read_replies(struct dev *d)
{
	static uint8_t body[VU_MAX_MSG];
	struct vu_hdr h;
	ssize_t n;

	while ((n = recv(d->s, &h, sizeof(h), MSG_DONTWAIT)) > 0) {
		CHECK(n == sizeof(h) && h.size >= sizeof(h) && h.size <= VU_MAX_MSG);
		CHECK((h.flags & VU_F_TYPE_MASK) == VU_F_TYPE_REPLY);
		CHECK(!(h.flags & VU_F_ERROR) == (h.error == 0));
		if (h.size > sizeof(h))
			CHECK(recv(d->s, body, h.size - sizeof(h), MSG_DONTWAIT | MSG_WAITALL) ==
				(ssize_t)(h.size - sizeof(h)));
	}
}

static void pump(struct dev *d)
{
	unsigned int turns = 0;
	int e = 0;

	while (!d->ended && e == 0) {
		CHECK(turns++ < PUMP_MAX);
		e = vu_conn_process(d->c);
		vu_conn_events(d->c);
		if (e == 0)
			read_replies(d);
	}
	read_replies(d);
	d->ended = d->ended || e != -EAGAIN;
	if (d->pause && !d->ended) {
		vu_conn_pause(d->c, true);
		vu_conn_pause(d->c, false);
		d->pause = false;
	}
}

static int some_fd(uint8_t kind)
{
	int p[2];

	switch (kind % 6) {
	case 0:
		return fd_memfd("fuzz", MEM_SIZE);
	case 1:
		return memfd_create("empty", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	case 2:
		return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	case 3:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 4:
		CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p) == 0);
		close(p[1]);
		return p[0];
	default:
		CHECK(pipe2(p, O_CLOEXEC) == 0);
		close(p[1]);
		return p[0];
	}
}

static void send_bytes(struct dev *d, struct input *in, const void *data, size_t len)
{
	unsigned int i, n = in8(in), nr = n < 0xc0 ? n & 1 : n & 15;
	uint8_t kinds = in8(in);
	int fds[16] = { -1 };

	if (d->ended || len == 0)
		return;
	for (i = 0; i < nr; i++)
		fds[i] = some_fd((uint8_t)(kinds + i * (kinds >> 6)));
	fd_send(d->s, data, len, fds, nr, MSG_DONTWAIT);
	for (i = 0; i < nr; i++)
		close(fds[i]);
}

/* A message with a header that is mostly right. */
static void send_message(struct dev *d, struct input *in)
{
	static const uint8_t commands[] = { VU_VERSION, VU_DMA_MAP, VU_DMA_UNMAP, VU_DEVICE_GET_INFO,
		VU_DEVICE_GET_REGION_INFO, VU_DEVICE_GET_IRQ_INFO, VU_DEVICE_SET_IRQS,
		VU_REGION_READ, VU_REGION_WRITE, VU_DEVICE_RESET, VU_REGION_WRITE_MULTI,
		VU_SIDE_CHANNEL, VU_DEVICE_FEATURE, VU_DEVICE_GET_REGION_IO_FDS };
	struct vu_hdr h = { .id = in8(in) };
	uint8_t how = in8(in);
	uint8_t *body, *msg;
	size_t len;

	h.command = how & 1 ? in16(in) : commands[in8(in) % sizeof(commands)];
	h.flags = how & 2 ? in32(in) : how & 4 ? VU_F_CHAIN : 0;
	body = in_block(in, in8(in) * 2u, &len);
	h.size = how & 8 ? in32(in) : (uint32_t)(sizeof(h) + len);
	msg = malloc(sizeof(h) + len);
	CHECK(msg);
	memcpy(msg, &h, sizeof(h));
	if (len)
		memcpy(msg + sizeof(h), body, len);
	send_bytes(d, in, msg, sizeof(h) + len);
	free(msg);
	free(body);
}

/* A map or unmap of pages that make sense together. */
static void send_map(struct dev *d, struct input *in)
{
	struct {
		struct vu_hdr h;
		struct vu_dma_map m;
	} map = { .h = { .command = VU_DMA_MAP, .size = sizeof(map) } };
	struct {
		struct vu_hdr h;
		struct vu_dma_unmap u;
	} unmap = { .h = { .command = VU_DMA_UNMAP, .size = sizeof(unmap) } };
	uint64_t at = (uint64_t)(in8(in) % 32) * 4096, pages = in8(in) % 20;
	uint8_t how = in8(in);

	if (how & 1) {
		unmap.u = (struct vu_dma_unmap){ .argsz = sizeof(unmap.u), .addr = at,
			.size = pages * 4096, .flags = how & 2 ? in8(in) : 0 };
		send_bytes(d, in, &unmap, sizeof(unmap));
		return;
	}
	map.m = (struct vu_dma_map){ .argsz = sizeof(map.m), .flags = how >> 1 & 3, .addr = at,
		.size = pages * 4096, .offset = how & 8 ? in64(in) : (uint64_t)(in8(in) % 17) * 4096 };
	send_bytes(d, in, &map, sizeof(map));
}

static void negotiate(struct dev *d)
{
	static const char offer[] = "{\"capabilities\":{\"max_msg_fds\":16,"
		"\"max_data_xfer_size\":1048576,\"write_multiple\":true,"
		"\"smcd_user\":{\"iova_is_va\":true,\"chain\":true,\"side\":true}}}";
	struct {
		struct vu_hdr h;
		struct vu_version v;
		char json[sizeof(offer)];
	} m = { .h = { .command = VU_VERSION, .size = 20 + sizeof(offer) } };

	memcpy(m.json, offer, sizeof(offer));
	CHECK(fd_send(d->s, &m, 20 + sizeof(offer), NULL, 0, 0) == (ssize_t)(20 + sizeof(offer)));
	pump(d);
	CHECK(!d->ended && vu_conn_iova_is_va(d->c));
}

static void step(struct dev *d, struct input *in)
{
	uint8_t *block;
	size_t len;

	switch (in8(in) % 5) {
	case 0:
		block = in_block(in, in8(in), &len);
		send_bytes(d, in, block, len);
		free(block);
		break;
	case 1:
		send_map(d, in);
		break;
	case 2:
		touch(d, (uint64_t)in16(in) * 64, 1 + in16(in));
		touch(d, in64(in), 1 + in8(in));
		vu_conn_irq(d->c, in8(in) % 5);
		break;
	default:
		send_message(d, in);
	}
	if (in8(in) & 1) /* else it stays in the socket together with what follows */
		pump(d);
}

static int lowest_free_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct dev d = { .s = -1 };
	int s[2], before, i;

	log_init("fuzz", (enum log_level)0); /* what is refused here is refused on purpose */
	before = lowest_free_fd();
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	d.s = s[0];
	CHECK(vu_conn_new(s[1], &ops, &d, &d.c) == 0);
	if ((in8(&in) & 7) != 7)
		negotiate(&d);
	vu_conn_allow_unsealed(d.c, false);
	for (i = 0; in.left && i < STEPS_MAX && !d.ended; i++)
		step(&d, &in);
	pump(&d);
	vu_conn_free(d.c);
	close(d.s);
	CHECK(lowest_free_fd() == before);
	return 0;
}
