/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"
#include "vfio/base/log.h"

const char rig_offer[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
			 "\"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true,"
			 "\"smcd_user\":{\"iova_is_va\":true,\"chain\":true,\"together\":true}}}";

static const unsigned char region_cap[16] = "region type cap";
static const unsigned char dev_cap[40] = "device info capabilities";

static const struct vu_region regions[10] = {
	[0] = { UINT64_C(1) << 48, VFIO_REGION_INFO_FLAG_WRITE, NULL, 0 },
	[2] = { RIG_BAR2_SIZE, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, NULL, 0 },
	[7] = { 256, VFIO_REGION_INFO_FLAG_READ, NULL, 0 },
	[9] = { 48, VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE, region_cap,
		sizeof(region_cap) },
};
static const uint32_t irq_counts[5] = { 0, 1, 0, 0, 1 };

static ssize_t dev_read(void *ctx, uint32_t index, uint64_t offset, void *buf, size_t len)
{
	struct rig *r = ctx;

	r->reads++;
	r->last_offset = offset;
	r->last_len = len;
	if (index == 9)
		return -EFAULT;
	if (index == 2)
		memcpy(buf, r->bar2 + offset, len);
	return (ssize_t)len;
}

static ssize_t dev_write(void *ctx, uint32_t index, uint64_t offset, const void *buf, size_t len)
{
	struct rig *r = ctx;

	r->writes++;
	r->last_offset = offset;
	r->last_len = len;
	if (r->pause_on_write)
		vu_conn_pause(r->c, true);
	if (r->write_result)
		return r->write_result;
	if (index == 2)
		memcpy(r->bar2 + offset, buf, len);
	return (ssize_t)len;
}

static void dev_irq_changed(void *ctx, uint32_t index, int fd)
{
	struct rig *r = ctx;

	r->irq_changes++;
	r->irq_fd = fd;
}

static int dev_reset(void *ctx)
{
	((struct rig *)ctx)->resets++;
	return 0;
}

static void dev_dma_unmapped(void *ctx, uint64_t iova, uint64_t size)
{
	struct rig *r = ctx;
	volatile unsigned char *p = vu_conn_dma(r->c, iova, 1, false);

	if (p) /* still mapped while the device is told */
		(void)*p;
	r->unmaps++;
	r->unmap_iova = iova;
	r->unmap_size = size;
}

const struct vu_device_ops rig_ops = {
	.regions = regions,
	.num_regions = 10,
	.irq_counts = irq_counts,
	.num_irqs = 5,
	.dev_caps = dev_cap,
	.dev_caps_len = sizeof(dev_cap),
	.region_read = dev_read,
	.region_write = dev_write,
	.irq_changed = dev_irq_changed,
	.reset = dev_reset,
	.dma_unmapped = dev_dma_unmapped,
};

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

bool rig_emulated(void)
{
	return getenv("MESON_EXE_WRAPPER");
}

int rig_setup_raw(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int s[2];

	assert_non_null(r);
	log_init("test", (enum log_level)0); /* what is refused here is refused on purpose */
	r->fds_before = count_fds();
	r->irq_fd = -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	r->s = s[0];
	assert_int_equal(vu_conn_new(s[1], &rig_ops, r, &r->c), 0);
	assert_int_equal(vu_conn_fd(r->c), s[1]);
	*state = r;
	return 0;
}

int rig_setup(void **state)
{
	unsigned char msg[4 + sizeof(rig_offer)] = { 0 };
	struct rig *r;

	rig_setup_raw(state);
	r = *state;
	memcpy(msg + 4, rig_offer, sizeof(rig_offer));
	assert_int_equal(rig_call(r, VU_VERSION, msg, sizeof(msg), NULL), 0);
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *r = *state;
	int leaked;

	assert_null(vu_conn_free(r->c));
	fd_closep(&r->s);
	leaked = count_fds() - r->fds_before;
	free(r);
	assert_int_equal(leaked, 0);
	return 0;
}

static void send_message(struct rig *r, uint16_t cmd, uint32_t flags, const void *body, size_t len,
	const int *fds, unsigned int n)
{
	unsigned char *buf = malloc(sizeof(struct vu_hdr) + len);
	struct vu_hdr h = { .id = 7, .command = cmd, .size = (uint32_t)(sizeof(h) + len),
		.flags = flags };

	assert_non_null(buf);
	memcpy(buf, &h, sizeof(h));
	if (len)
		memcpy(buf + sizeof(h), body, len);
	assert_int_equal(fd_send(r->s, buf, h.size, fds, n, 0), h.size);
	free(buf);
}

void rig_send_fds(struct rig *r, uint16_t cmd, const void *body, size_t len, const int *fds,
	unsigned int n)
{
	send_message(r, cmd, 0, body, len, fds, n);
}

void rig_send(struct rig *r, uint16_t cmd, uint32_t flags, const void *body, size_t len)
{
	send_message(r, cmd, flags, body, len, NULL, 0);
}

int rig_pump(struct rig *r)
{
	int e;

	do {
		e = vu_conn_process(r->c);
	} while (!e);
	return e == -EAGAIN ? 0 : e;
}

bool rig_recv(struct rig *r, struct reply *a)
{
	ssize_t n = recv(r->s, &a->hdr, sizeof(a->hdr), MSG_DONTWAIT | MSG_WAITALL);

	if (n <= 0)
		return false;
	assert_int_equal(n, sizeof(a->hdr));
	assert_in_range(a->hdr.size, sizeof(a->hdr), VU_MAX_MSG);
	a->len = a->hdr.size - sizeof(a->hdr);
	assert_int_equal(a->hdr.flags & VU_F_TYPE_MASK, VU_F_TYPE_REPLY);
	if (a->len)
		assert_int_equal(recv(r->s, a->body, a->len, MSG_DONTWAIT | MSG_WAITALL), a->len);
	if (a->hdr.flags & VU_F_ERROR) {
		assert_int_equal(a->len, 0);
		assert_int_not_equal(a->hdr.error, 0);
	} else {
		assert_int_equal(a->hdr.error, 0);
	}
	return true;
}

static struct reply scratch; /* for those that want no more than the errno */

static int one_reply(struct rig *r, uint16_t cmd, struct reply *a)
{
	char extra;

	assert_int_equal(rig_pump(r), 0);
	assert_true(rig_recv(r, a));
	assert_int_equal(a->hdr.command, cmd);
	assert_int_equal(a->hdr.id, 7);
	assert_int_equal(recv(r->s, &extra, 1, MSG_DONTWAIT), -1);
	return (int)a->hdr.error;
}

int rig_call(struct rig *r, uint16_t cmd, const void *body, size_t len, struct reply *a)
{
	rig_send(r, cmd, 0, body, len);
	return one_reply(r, cmd, a ? a : &scratch);
}

int rig_call_fds(struct rig *r, uint16_t cmd, const void *body, size_t len, const int *fds,
	unsigned int n)
{
	rig_send_fds(r, cmd, body, len, fds, n);
	return one_reply(r, cmd, &scratch);
}

int rig_map(struct rig *r, uint64_t iova, uint64_t size, int fd, uint64_t offset)
{
	const struct vu_dma_map m = { .argsz = sizeof(m), .flags = VU_DMA_F_READ | VU_DMA_F_WRITE,
		.offset = offset, .addr = iova, .size = size };

	return rig_call_fds(r, VU_DMA_MAP, &m, sizeof(m), &fd, fd >= 0);
}

int rig_unmap(struct rig *r, uint64_t iova, uint64_t size, uint32_t flags)
{
	const struct vu_dma_unmap u = { .argsz = sizeof(u), .flags = flags, .addr = iova,
		.size = size };

	return rig_call(r, VU_DMA_UNMAP, &u, sizeof(u), NULL);
}

void rig_queue_write(struct rig *r, uint32_t flags, uint64_t offset, const void *data,
	uint32_t count)
{
	unsigned char msg[sizeof(struct vu_region_access) + 256];
	const struct vu_region_access a = { .offset = offset, .region = 2, .count = count };

	assert_true(count <= 256);
	memcpy(msg, &a, sizeof(a));
	memcpy(msg + sizeof(a), data, count);
	rig_send(r, VU_REGION_WRITE, flags, msg, sizeof(a) + count);
}
