/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define DATA_NONE    (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define DATA_BOOL    (VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER)
#define DATA_EVENTFD (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)

/*
 * Every command with a fixed body: one byte less and one byte more is EINVAL, no harm done. (The
 * info commands may be longer, but not without the argsz for it.)
 */
static void test_exact_sizes(void **state)
{
	static const struct {
		uint16_t cmd;
		size_t len;
	} fixed[] = {
		{ VU_DMA_MAP, 32 }, { VU_DMA_UNMAP, 24 }, { VU_DEVICE_GET_INFO, 16 },
		{ VU_DEVICE_GET_REGION_INFO, 32 }, { VU_DEVICE_GET_IRQ_INFO, 16 },
		{ VU_DEVICE_SET_IRQS, 20 }, { VU_REGION_READ, 16 }, { VU_REGION_WRITE, 16 },
		{ VU_DEVICE_RESET, 0 },
	};
	struct rig *r = *state;
	unsigned char body[64];

	memset(body, 0, sizeof(body));
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (fixed[i].len)
			assert_int_equal(
				rig_call(r, fixed[i].cmd, body, fixed[i].len - 1, NULL), EINVAL);
		assert_int_equal(rig_call(r, fixed[i].cmd, body, fixed[i].len + 1, NULL), EINVAL);
	}
	assert_int_equal(r->resets + r->reads + r->writes, 0);
}

static void test_unknown_commands(void **state)
{
	static const uint16_t cmds[] = { 0, VU_DEVICE_GET_REGION_IO_FDS, VU_DMA_READ, VU_DMA_WRITE,
		14, VU_REGION_WRITE_MULTI, VU_DEVICE_FEATURE, VU_MIG_DATA_READ, VU_MIG_DATA_WRITE,
		19, 0xffff };
	unsigned char body[64] = { 0 };
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++)
		assert_int_equal(rig_call(r, cmds[i], body, sizeof(body), NULL), ENOTSUP);
	/* flags nobody gave a meaning, and an error flag in a command */
	for (unsigned int bit = 5; bit < 32; bit++) {
		struct reply *a = malloc(sizeof(*a));

		if (((1u << bit) & (VU_F_CHAIN | VU_F_FD)) == 0) {
			rig_send(r, VU_DEVICE_RESET, 1u << bit, NULL, 0);
			assert_int_equal(rig_pump(r), 0);
			assert_true(rig_recv(r, a));
			assert_int_equal(a->hdr.error, EINVAL);
		}
		free(a);
	}
	assert_int_equal(r->resets, 0);
}

static void test_device_info(void **state)
{
	struct vu_device_info_ext want = {
		.base = { 64,
			VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_CAPS,
			10, 5 },
		.cap_offset = 24,
	};
	struct vu_device_info req = { .argsz = 16 };
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rig_call(r, VU_DEVICE_GET_INFO, &req, sizeof(req), a), 0);
	assert_int_equal(a->len, 16);
	assert_memory_equal(a->body, &want, 16);
	req.argsz = 63;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_INFO, &req, sizeof(req), a), 0);
	assert_int_equal(a->len, 16);
	req.argsz = 64;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_INFO, &req, sizeof(req), a), 0);
	assert_int_equal(a->len, 64);
	assert_memory_equal(a->body, &want, sizeof(want));
	assert_memory_equal(a->body + 24, rig_ops.dev_caps, 40);
	req.argsz = 15;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_INFO, &req, sizeof(req), a), EINVAL);
	free(a);
}

static void test_region_info(void **state)
{
	struct vu_region_info req = { .argsz = 32, .index = 9 }, got;
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;
	unsigned char whole[48];

	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, &req, sizeof(req), a), 0);
	assert_int_equal(a->len, 32);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.argsz, 48);
	assert_int_equal(got.flags, 1 | 2 | 8);
	assert_int_equal(got.cap_offset, 0);
	assert_int_equal(got.size, 48);
	req.argsz = 48;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, &req, sizeof(req), a), 0);
	assert_int_equal(a->len, 48);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.cap_offset, 32);
	assert_memory_equal(a->body + 32, "region type cap", 16);
	/* libvfio-user's client repeats its request in the size it has learned */
	memset(whole, 0, sizeof(whole));
	memcpy(whole, &req, sizeof(req));
	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, whole, sizeof(whole), a), 0);
	assert_int_equal(a->len, 48);
	assert_memory_equal(a->body + 32, "region type cap", 16);
	req.index = 3; /* absent */
	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, &req, sizeof(req), a), 0);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.argsz, 32);
	assert_int_equal(got.size + got.flags, 0);
	req.index = 10;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, &req, sizeof(req), a), EINVAL);
	req.index = 0;
	req.argsz = 31;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_REGION_INFO, &req, sizeof(req), a), EINVAL);
	free(a);
}

static void test_irq_info(void **state)
{
	struct vu_irq_info req = { .argsz = 16, .index = 1 }, got;
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rig_call(r, VU_DEVICE_GET_IRQ_INFO, &req, sizeof(req), a), 0);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.count, 1);
	assert_int_equal(got.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
	req.index = 2;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_IRQ_INFO, &req, sizeof(req), a), 0);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.count + got.flags, 0);
	req.index = 5;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_IRQ_INFO, &req, sizeof(req), a), EINVAL);
	req.index = 1;
	req.argsz = 15;
	assert_int_equal(rig_call(r, VU_DEVICE_GET_IRQ_INFO, &req, sizeof(req), a), EINVAL);
	free(a);
}

static int rw(struct rig *r, uint16_t cmd, uint32_t region, uint64_t offset, uint32_t count,
	size_t data, struct reply *a)
{
	const struct vu_region_access ra = { .offset = offset, .region = region, .count = count };
	unsigned char *msg = calloc(1, sizeof(ra) + data);
	int e;

	memcpy(msg, &ra, sizeof(ra));
	memset(msg + sizeof(ra), 0xab, data);
	e = rig_call(r, cmd, msg, sizeof(ra) + data, a);
	free(msg);
	return e;
}

static void test_region_access(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct vu_region_access got;
	struct rig *r = *state;

	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 100, 7, 7, a), 0);
	assert_int_equal(a->len, sizeof(got));
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.offset, 100);
	assert_int_equal(got.count, 7);
	assert_int_equal(rw(r, VU_REGION_READ, 2, 99, 9, 0, a), 0);
	assert_int_equal(a->len, sizeof(got) + 9);
	assert_memory_equal(a->body + sizeof(got), "\0\xab\xab\xab\xab\xab\xab\xab\0", 9);

	/* cut at the end, as a kernel does */
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, RIG_BAR2_SIZE - 4, 64, 64, a), 0);
	memcpy(&got, a->body, sizeof(got));
	assert_int_equal(got.count, 4);
	assert_int_equal(r->last_len, 4);
	assert_int_equal(rw(r, VU_REGION_READ, 2, RIG_BAR2_SIZE - 1, VU_MAX_DATA_XFER, 0, a), 0);
	assert_int_equal(a->len, sizeof(got) + 1);
	assert_int_equal(rw(r, VU_REGION_READ, 2, RIG_BAR2_SIZE, 1, 0, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_READ, 2, UINT64_MAX, 8, 0, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_WRITE, 0, (UINT64_C(1) << 48) - 8, 8, 8, a), 0);
	assert_int_equal(r->last_offset, (UINT64_C(1) << 48) - 8);
	free(a);
}

static void test_region_refusals(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rw(r, VU_REGION_READ, 10, 0, 1, 0, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_READ, 3, 0, 1, 0, a), EINVAL);	 /* absent */
	assert_int_equal(rw(r, VU_REGION_READ, 0, 0, 1, 0, a), EINVAL);	 /* write-only */
	assert_int_equal(rw(r, VU_REGION_WRITE, 7, 0, 1, 1, a), EINVAL); /* read-only */
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, 8, 7, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, 8, 9, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, UINT32_MAX, 15, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_READ, 2, 0, VU_MAX_DATA_XFER + 1, 0, a), EINVAL);
	assert_int_equal(rw(r, VU_REGION_READ, 2, 0, UINT32_MAX, 0, a), EINVAL);
	assert_int_equal(r->reads + r->writes, 0);
	/* nothing to do */
	assert_int_equal(rw(r, VU_REGION_READ, 2, 0, 0, 0, a), 0);
	assert_int_equal(a->len, 16);
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, 0, 0, a), 0);
	assert_int_equal(r->reads + r->writes, 0);
	/* the device's own refusals */
	assert_int_equal(rw(r, VU_REGION_READ, 9, 0, 48, 0, a), EFAULT);
	r->write_result = -EIO;
	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, 8, 8, a), EIO);
	free(a);
}

static void test_largest_messages(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rw(r, VU_REGION_WRITE, 2, 0, RIG_BAR2_SIZE, RIG_BAR2_SIZE, a), 0);
	assert_int_equal(rw(r, VU_REGION_READ, 2, 0, RIG_BAR2_SIZE, 0, a), 0);
	assert_int_equal(a->len, 16 + RIG_BAR2_SIZE);
	assert_int_equal(a->body[a->len - 1], 0xab);
	free(a);
}

static int set_irqs(struct rig *r, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
	int fd)
{
	struct vu_irq_set set = { .argsz = sizeof(set), .flags = flags, .index = index,
		.start = start, .count = count };

	return rig_call_fds(r, VU_DEVICE_SET_IRQS, &set, sizeof(set), &fd, fd >= 0);
}

static uint64_t drain(int fd)
{
	uint64_t v;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

static void test_irq_life(void **state)
{
	struct { struct vu_irq_set set; unsigned char on; } __attribute__((packed)) b = {
		.set = { .argsz = 21, .flags = DATA_BOOL, .index = 1, .count = 1 }, .on = 1 };
	int a FD_CLEANUP = -1;
	int z FD_CLEANUP = -1;
	struct rig *r = *state;
	int before;

	if (rig_emulated())
		skip();
	a = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	z = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vu_conn_irq(r->c, 1); /* nobody asked: nothing */
	vu_conn_irq(r->c, 99);
	before = count_fds();
	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 1, a), 0);
	assert_int_equal(r->irq_changes, 1);
	assert_true(r->irq_fd >= 0);
	vu_conn_irq(r->c, 1);
	vu_conn_irq(r->c, 4);
	assert_int_equal(drain(a), 1);
	assert_int_equal(set_irqs(r, 1, DATA_NONE, 0, 1, -1), 0); /* loop test */
	assert_int_equal(drain(a), 1);
	assert_int_equal(rig_call(r, VU_DEVICE_SET_IRQS, &b, sizeof(b), NULL), 0);
	assert_int_equal(drain(a), 1);
	b.on = 0;
	assert_int_equal(rig_call(r, VU_DEVICE_SET_IRQS, &b, sizeof(b), NULL), 0);
	assert_int_equal(drain(a), 0);

	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 1, z), 0); /* replaced */
	assert_int_equal(count_fds(), before + 1);
	vu_conn_irq(r->c, 1);
	assert_int_equal(drain(a), 0);
	assert_int_equal(drain(z), 1);
	assert_int_equal(rig_call(r, VU_DEVICE_RESET, NULL, 0, NULL), 0); /* survives a reset */
	vu_conn_irq(r->c, 1);
	assert_int_equal(drain(z), 1);

	assert_int_equal(set_irqs(r, 1, DATA_NONE, 0, 0, -1), 0); /* off */
	assert_int_equal(r->irq_fd, -1);
	assert_int_equal(r->irq_changes, 3);
	assert_int_equal(count_fds(), before);
	vu_conn_irq(r->c, 1);
	assert_int_equal(drain(z), 0);
	assert_int_equal(set_irqs(r, 1, DATA_NONE, 0, 0, -1), 0); /* off again: no news */
	assert_int_equal(r->irq_changes, 3);
	assert_int_equal(set_irqs(r, 4, DATA_EVENTFD, 0, 1, a), 0);
	assert_int_equal(set_irqs(r, 4, DATA_EVENTFD, 0, 1, -1), 0); /* detached */
	assert_int_equal(r->irq_fd, -1);
	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 1, a), 0); /* freed with the connection */
}

static void test_irq_refusals(void **state)
{
	struct vu_irq_set set = { .argsz = 19, .flags = DATA_NONE, .index = 1, .count = 1 };
	int e FD_CLEANUP = eventfd(0, EFD_CLOEXEC);
	int null FD_CLEANUP = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rig *r = *state;

	assert_int_equal(rig_call(r, VU_DEVICE_SET_IRQS, &set, sizeof(set), NULL), EINVAL);
	assert_int_equal(set_irqs(r, 5, DATA_EVENTFD, 0, 1, e), EINVAL);
	assert_int_equal(set_irqs(r, 2, DATA_EVENTFD, 0, 1, e), EINVAL); /* no such vector */
	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 1, 1, e), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_NONE, UINT32_MAX, 1, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_NONE, 0, UINT32_MAX, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 1, null), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 0, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_NONE, 0, 1, -1), EINVAL); /* trigger, not enabled */
	assert_int_equal(set_irqs(r, 1, DATA_NONE | 64, 0, 0, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_NONE | DATA_BOOL, 0, 0, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, VFIO_IRQ_SET_DATA_NONE, 0, 0, -1), EINVAL);
	assert_int_equal(set_irqs(r, 1, DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, -1), EINVAL);
	assert_int_equal(
		set_irqs(r, 1, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, -1),
		ENOTSUP);
	assert_int_equal(set_irqs(r, 1, DATA_BOOL, 0, 1, -1), EINVAL); /* its byte is missing */
	assert_int_equal(set_irqs(r, 1, DATA_BOOL, 0, 0, -1), EINVAL);
	assert_int_equal(r->irq_changes, 0);
}

/* An eventfd that the client filled up: the device must neither block nor fail. */
static void test_irq_full_counter(void **state)
{
	int e FD_CLEANUP = eventfd(0, EFD_CLOEXEC); /* blocking on purpose */
	const uint64_t full = UINT64_MAX - 1;
	struct rig *r = *state;

	assert_int_equal(set_irqs(r, 1, DATA_EVENTFD, 0, 1, e), 0);
	assert_int_equal(write(e, &full, sizeof(full)), sizeof(full));
	vu_conn_irq(r->c, 1);
	assert_int_equal(drain(e), full);
	/* even if the client makes it blocking again behind the server's back */
	assert_int_equal(write(e, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(e, F_SETFL, 0), 0);
	vu_conn_irq(r->c, 1);
	assert_int_equal(drain(e), full);
	vu_conn_irq(r->c, 1);
	if (!rig_emulated()) /* qemu-user does not know a passed eventfd: the count is not swapped */
		assert_int_equal(drain(e), 1);
}

static void test_no_reply(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	rig_queue_write(r, VU_F_NO_REPLY, 0, "12345678", 8);
	rig_queue_write(r, VU_F_NO_REPLY, RIG_BAR2_SIZE, "12345678", 8); /* fails as silently */
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(r->writes, 1);
	assert_false(rig_recv(r, a));
	assert_int_equal(rig_call(r, VU_DEVICE_RESET, NULL, 0, a), 0);
	free(a);
}

static int next_error(struct rig *r, struct reply *a)
{
	assert_true(rig_recv(r, a));
	return (int)a->hdr.error;
}

static void test_chain(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	rig_queue_write(r, VU_F_CHAIN, 0, "a", 1);
	rig_queue_write(r, VU_F_CHAIN, RIG_BAR2_SIZE, "b", 1); /* fails */
	rig_queue_write(r, VU_F_CHAIN, 1, "c", 1);
	rig_send(r, VU_DEVICE_RESET, VU_F_CHAIN, NULL, 0);
	rig_queue_write(r, 0, 2, "d", 1); /* not chained: starts anew */
	rig_queue_write(r, VU_F_CHAIN, 3, "e", 1);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(next_error(r, a), 0);
	assert_int_equal(next_error(r, a), EINVAL);
	assert_int_equal(next_error(r, a), ECANCELED);
	assert_int_equal(next_error(r, a), ECANCELED);
	assert_int_equal(next_error(r, a), 0);
	assert_int_equal(next_error(r, a), 0);
	assert_memory_equal(r->bar2, "a\0de", 4);
	assert_int_equal(r->resets, 0);

	r->write_result = 1; /* a short write is a failure to those behind it */
	rig_queue_write(r, 0, 0, "xy", 2);
	rig_queue_write(r, VU_F_CHAIN, 0, "z", 1);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(next_error(r, a), 0);
	assert_int_equal(next_error(r, a), ECANCELED);

	r->write_result = -EIO; /* also when nobody hears of it */
	rig_queue_write(r, VU_F_NO_REPLY, 0, "x", 1);
	rig_queue_write(r, VU_F_CHAIN, 0, "z", 1);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(next_error(r, a), ECANCELED);
	free(a);
}

static void test_chain_unless_negotiated(void **state)
{
	static const unsigned char version[4];
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(rig_call(r, VU_VERSION, version, sizeof(version), a), 0);
	rig_queue_write(r, VU_F_CHAIN, 0, "a", 1);
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(next_error(r, a), EINVAL);
	assert_int_equal(r->writes, 0);
	free(a);
}

static void test_cancelled_map_closes_its_fd(void **state)
{
	const struct vu_dma_map m = { .argsz = 32, .flags = 3, .size = 4096 };
	int fd FD_CLEANUP = fd_memfd("cancelled", 4096);
	struct { struct vu_hdr h; struct vu_dma_map m; } msg = {
		{ .id = 1, .command = VU_DMA_MAP, .size = 48, .flags = VU_F_CHAIN }, m };
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;
	int before = count_fds();

	rig_queue_write(r, 0, RIG_BAR2_SIZE, "b", 1);
	assert_int_equal(fd_send(r->s, &msg, sizeof(msg), &fd, 1, 0), sizeof(msg));
	assert_int_equal(rig_pump(r), 0);
	assert_int_equal(next_error(r, a), EINVAL);
	assert_int_equal(next_error(r, a), ECANCELED);
	assert_null(vu_conn_dma(r->c, 0, 1, true));
	assert_int_equal(count_fds(), before);
	free(a);
}

static void test_several_vectors_refused(void **state)
{
	static const uint32_t counts[] = { 0, 2 };
	struct vu_device_ops ops = rig_ops;
	struct vu_conn *c = (void *)state;
	int before = count_fds();

	ops.irq_counts = counts;
	ops.num_irqs = 2;
	assert_int_equal(vu_conn_new(eventfd(0, 0), &ops, NULL, &c), -EINVAL);
	assert_ptr_equal(c, state);
	assert_int_equal(count_fds(), before);
	assert_null(vu_conn_free(NULL));
}

#define T(f)	 cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#define T_RAW(f) cmocka_unit_test_setup_teardown(f, rig_setup_raw, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_exact_sizes), T(test_unknown_commands), T(test_device_info),
		T(test_region_info), T(test_irq_info), T(test_region_access),
		T(test_region_refusals), T(test_largest_messages), T(test_irq_life),
		T(test_irq_refusals), T(test_irq_full_counter), T(test_no_reply), T(test_chain),
		T_RAW(test_chain_unless_negotiated), T(test_cancelled_map_closes_its_fd),
		cmocka_unit_test(test_several_vectors_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
