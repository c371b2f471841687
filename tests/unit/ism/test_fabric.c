/* SPDX-License-Identifier: MIT */
/*
 * test_fabric.c - the driver against a real software fabric
 *
 * Starts ism-fabricd (from the environment, ISM_FABRICD) with three functions and drives two or all
 * of them through vfio-user, the door and the driver, as the daemon does. With the argument
 * "region" or "bars" the functions are those of a kernel's double instead, through the zPCI I/O
 * region or the BARs of ism-vfio-pci. With "attached" the fabric hands every DMB to its writer, whose
 * moves are then executed in this process.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "ism/dev.h"
#include "ism/model/function.h"
#include "ism/proto.h"
#include "vfio/attached.h"
#include "vfio/base/fd.h"
#include "vfio/user/client.h"
#include "ism_double.h"

#define NFUNC	3
#define HANG_NS UINT64_C(20000000000) /* whatever takes longer hangs */
#define SIZE	(64u * 1024u)

static char dir[] = "/tmp/ism-fabric-XXXXXX";
static char dir_used[sizeof(dir)];
static const char *fabricd; /* the program; NULL: the double */
static struct ism_double_params params_double = { .functions = NFUNC };
static struct fabric *model; /* of the double */
static pid_t fabric;
static bool attached;

/* A function and what its handlers saw. */
static struct side {
	struct ism_dev *dev;
	struct ism_dmb *dmb; /* the one delivered last */
	unsigned int signals;
	struct ism_event ev[64];
	unsigned int nev;
	unsigned int overruns;
} side[NFUNC];

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	struct side *s = ctx;

	s->dmb = dmb;
	s->signals++;
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	struct side *s = ctx;

	if (s->nev < 64)
		s->ev[s->nev++] = *ev;
}

static void on_overrun(void *ctx)
{
	((struct side *)ctx)->overruns++;
}

static const struct ism_handler handler = { .dmb = on_dmb, .event = on_event,
	.overrun = on_overrun };

static int open_device(int n, struct vfio_device **vdev)
{
	struct vu_client_params client;
	struct vfio_device *below = NULL;
	char path[64];
	int r;

	if (!fabricd)
		return ism_double_open((unsigned int)n, vdev);
	snprintf(path, sizeof(path), "%s/ism%d.sock", dir_used, n);
	client = (struct vu_client_params){ .path = path, .timeout_ms = 20000 };
	r = vu_client_open(&client, &below);
	if (r < 0 || !attached) {
		*vdev = below;
		return r;
	}
	return vfio_attached_open(below, vdev);
}

static int open_side(int n)
{
	struct ism_params params = { .handler = &handler, .ctx = &side[n], .name = "test",
		.map_dmbs = attached };
	struct vfio_device *vdev;
	struct zpci *z;
	int r;

	side[n] = (struct side){ 0 };
	r = open_device(n, &vdev);
	if (r == 0)
		r = zpci_open(vdev, &z);
	if (r == 0)
		r = ism_open(z, &params, &side[n].dev);
	return r;
}

/* The fabric announces itself by a line of output, once its sockets listen. */
static int start_fabric(void)
{
	int out[2];
	char functions[8], line[256];
	ssize_t n;

	snprintf(functions, sizeof(functions), "%d", NFUNC);
	if (pipe(out) < 0)
		return -1;
	fabric = fork();
	if (fabric == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execl(fabricd, "ism-fabricd", "--functions", functions, "--dir",
			dir_used, NULL);
		_exit(127);
	}
	close(out[1]);
	n = read(out[0], line, sizeof(line)); /* end of file when it does not start */
	close(out[0]);
	return n > 0 ? 0 : -1;
}

static void end_fabric(int sig)
{
	if (fabric <= 0)
		return;
	kill(fabric, sig);
	waitpid(fabric, NULL, 0);
	fabric = -1;
}

static int teardown(void **state)
{
	char path[64];

	for (int i = 0; i < NFUNC; i++)
		side[i].dev = ism_close(side[i].dev);
	if (!fabricd)
		return ism_double_stop();
	end_fabric(SIGTERM);
	for (int i = 0; i < NFUNC; i++) { /* left behind only by one that was killed */
		snprintf(path, sizeof(path), "%s/ism%d.sock", dir_used, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/control.sock", dir_used);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock", dir_used);
	unlink(path);
	return rmdir(dir_used);
}

static int setup(void **state)
{
	int r;

	memcpy(dir_used, dir, sizeof(dir));
	if (fabricd && !mkdtemp(dir_used))
		return -1;
	r = fabricd ? start_fabric() : ism_double_start(&params_double, &model);
	for (int i = 0; i < NFUNC && r == 0; i++)
		r = open_side(i);
	if (r < 0)
		teardown(state);
	return r;
}

/* Polls @n until @cond holds. */
#define POLL_UNTIL(n, cond)                                                                        \
	do {                                                                                       \
		uint64_t until = clock_ns() + HANG_NS;                                             \
		while (!(cond)) {                                                                  \
			assert_true(clock_ns() < until);                                           \
			ism_poll(side[n].dev);                                                     \
		}                                                                                  \
	} while (0)

static struct ism_dmb *reg(int owner, int writer)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(side[owner].dev, ism_gid(side[writer].dev), SIZE, NULL,
				 &dmb), 0);
	if (attached && owner != writer) {
		assert_int_equal(ism_consent(side[owner].dev, ism_gid(side[writer].dev)), 0);
		ism_forget_peer(side[writer].dev, ism_gid(side[owner].dev));
		assert_int_equal(ism_map_dmb(side[writer].dev, ism_gid(side[owner].dev), dmb->token,
					 SIZE), 0);
	}
	return dmb;
}

static int move1(int from, const struct ism_dmb *to, uint32_t offset, const void *data,
	uint32_t len, bool sf)
{
	const struct ism_move m = { .token = to->token, .offset = offset, .len = len,
		.data = data, .sf = sf };
	size_t done;

	return ism_move_data(side[from].dev, &m, 1, &done);
}

static bool has_event(int n, uint32_t type, uint32_t code, uint64_t tok)
{
	for (unsigned int i = 0; i < side[n].nev; i++)
		if (side[n].ev[i].type == type && side[n].ev[i].code == code &&
			side[n].ev[i].tok == tok)
			return true;
	return false;
}

static void test_profile(void **state)
{
	for (int i = 0; i < NFUNC; i++) {
		const struct ism_profile *p = ism_profile(side[i].dev);

		assert_true(ism_gid(side[i].dev) == UINT64_C(0x1d15000000000001) + (unsigned)i);
		assert_int_equal(ism_chid(side[i].dev), 0x1d15);
		assert_true(p->loop_dmb && p->unaligned_move && p->full_move);
		assert_true(p->signal_without_msi && p->signal_with_s);
		assert_true(p->self_event && p->unreg_event && p->vlan_1fff);
		assert_int_equal(ism_probe(side[i].dev), 0);
		for (int j = 0; j < NFUNC; j++)
			assert_int_equal(ism_query_remote_gid(side[i].dev, ism_gid(side[j].dev),
						 false, 0), 0);
		assert_int_equal(ism_query_remote_gid(side[i].dev, 0x4711, false, 0),
			-ENETUNREACH);
	}
}

/* Every length at some offset, both ways; not a byte beside it changes. */
static void test_every_length(void **state)
{
	struct ism_dmb *dmb[2] = { reg(0, 1), reg(1, 0) };
	static uint8_t want[2][SIZE];
	static uint8_t src[8192];
	uint32_t rnd = 12345;

	memset(want, 0, sizeof(want));
	for (uint32_t len = 1; len <= 4096; len++) {
		int to = len % 2 ? 1 : 0;
		uint32_t offset, from;

		rnd = rnd * 1664525 + 1013904223;
		offset = (rnd >> 8) % (SIZE - len + 1);
		from = (rnd >> 4) % 4096;
		for (uint32_t i = 0; i < len; i++)
			src[from + i] = (uint8_t)(rnd >> 16 ^ i * 7);
		assert_int_equal(move1(!to, dmb[to], offset, src + from, len, false), 0);
		memcpy(want[to] + offset, src + from, len);
		if (len % 64 == 0 || len < 64) {
			assert_memory_equal(dmb[0]->va, want[0], SIZE);
			assert_memory_equal(dmb[1]->va, want[1], SIZE);
		}
	}
}

/* A direct source: mapped memory leaves without being copied. */
static void test_mapped_source(void **state)
{
	struct ism_dmb *to = reg(1, 0), *src = reg(0, 2);
	uint64_t bounced;

	for (uint32_t i = 0; i < SIZE; i++)
		((uint8_t *)src->va)[i] = (uint8_t)(i * 13 + i / 256);
	bounced = zpci_counters(ism_zpci(side[0].dev))->bounced;
	assert_int_equal(move1(0, to, 0, src->va, SIZE, true), 0);
	assert_int_equal(zpci_counters(ism_zpci(side[0].dev))->bounced, bounced);
	assert_memory_equal(to->va, src->va, SIZE);
	POLL_UNTIL(1, side[1].signals);
	assert_ptr_equal(side[1].dmb, to);
}

static void test_only_the_writer_may(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	uint64_t word = UINT64_C(0x1122334455667788);

	assert_int_equal(move1(2, dmb, 0, &word, 8, true), -EIO);
	assert_int_equal(move1(1, dmb, SIZE - 8, &word, 8, false), 0);
	assert_int_equal(move1(1, dmb, SIZE - 7, &word, 8, false), -EIO);
	assert_int_equal(ism_probe(side[2].dev), 0);
	assert_int_equal(ism_poll(side[0].dev), 0);
	assert_int_equal(((uint8_t *)dmb->va)[0], 0);
}

static void test_interrupt(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_irq_fd(side[0].dev), .events = POLLIN };

	assert_true(p.fd >= 0);
	for (int i = 0; i < 100; i++) {
		unsigned int before = side[0].signals;

		while (ism_irq_arm(side[0].dev))
			ism_poll(side[0].dev);
		assert_int_equal(move1(1, dmb, 0, &i, sizeof(i), true), 0);
		assert_int_equal(poll(&p, 1, 20000), 1);
		ism_irq_ack(side[0].dev);
		ism_poll(side[0].dev);
		assert_int_equal(side[0].signals, before + 1);
		assert_memory_equal(dmb->va, &i, sizeof(i));
	}
}

static void test_events(void **state)
{
	uint64_t gid0 = ism_gid(side[0].dev), gid1 = ism_gid(side[1].dev);

	for (unsigned int i = 0; i < 40; i++) {
		side[1].nev = 0;
		assert_int_equal(ism_signal_event(side[0].dev, gid1, 0x83, i), 0);
		POLL_UNTIL(1, side[1].nev);
		assert_true(has_event(1, ISM_EVENT_SWR, 0x83, gid0));
		assert_int_equal(side[1].ev[0].info, i);
	}
	assert_int_equal(side[1].overruns, 0);
	for (unsigned int i = 0; i < 15; i++)
		assert_int_equal(ism_signal_event(side[0].dev, gid1, 0x80, i), 0);
	POLL_UNTIL(1, side[1].overruns);
	assert_int_equal(ism_signal_event(side[0].dev, 0x4711, 0x80, 0), -EIO);
}

static void test_unregister_tells_the_writer(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	uint64_t token = dmb->token, word = 1;
	const struct ism_move m = { .token = token, .len = 8, .data = &word };
	size_t done;

	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), 0);
	POLL_UNTIL(1, has_event(1, ISM_EVENT_BUF, ISM_EV_DMB_UNREGISTERED, token));
	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), -EIO);
	POLL_UNTIL(0, ism_counters(side[0].dev)->quarantined == 0);
	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), -EIO);
}

static void test_vlans(void **state)
{
	uint64_t gid1 = ism_gid(side[1].dev);

	assert_int_equal(ism_add_vlan(side[0].dev, 5), 0);
	assert_int_equal(ism_add_vlan(side[1].dev, 5), 0);
	assert_int_equal(ism_query_remote_gid(side[0].dev, gid1, true, 5), 0);
	assert_int_equal(ism_query_remote_gid(side[0].dev, gid1, true, 0x1fff), 0);
	assert_int_equal(ism_query_remote_gid(side[0].dev, gid1, true, 6), -ENETUNREACH);
	assert_int_equal(ism_del_vlan(side[1].dev, 5), 0);
	assert_int_equal(ism_query_remote_gid(side[0].dev, gid1, true, 5), -ENETUNREACH);
	assert_int_equal(ism_del_vlan(side[1].dev, 5), -EIO);
}

/* A function that is reset tells those it shared DMBs with; then it can be opened anew. */
static void test_reset(void **state)
{
	struct ism_dmb *dmb = reg(0, 1), *other = reg(1, 0);
	uint64_t gid1 = ism_gid(side[1].dev), word = 1;
	const struct ism_move m = { .token = other->token, .len = 8, .data = &word };
	size_t done;

	assert_int_equal(zpci_reset(ism_zpci(side[1].dev)), 0);
	POLL_UNTIL(0, has_event(0, ISM_EVENT_DEV, ISM_EV_GID_DISABLED, gid1));
	assert_int_equal(ism_move_data(side[0].dev, &m, 1, &done), -EIO);
	side[1].dev = ism_close(side[1].dev);
	assert_int_equal(open_side(1), 0);
	assert_int_equal(ism_query_remote_gid(side[0].dev, gid1, false, 0), 0);
	assert_int_equal(move1(1, dmb, 0, &word, 8, false), 0);
}

static void test_close_tells_the_peer(void **state)
{
	uint64_t gid1 = ism_gid(side[1].dev);

	reg(0, 1);
	side[1].dev = ism_close(side[1].dev);
	POLL_UNTIL(0, has_event(0, ISM_EVENT_DEV, ISM_EV_GID_DISABLED, gid1));
}

static unsigned int count_fds(pid_t pid)
{
	unsigned int n = 0;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* What the owner offers the writer gets, once, and both see the same memory. */
static void test_attach(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	unsigned int before = count_fds(fabric);
	int more[2], got[3];
	uint8_t *p;

	assert_true(ism_can_attach(side[0].dev) && ism_can_attach(side[1].dev));
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(pipe(more), 0);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), 0);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), -EALREADY);
	assert_int_equal(count_fds(fabric), before + 3);
	/* neither the owner nor anybody else */
	assert_int_equal(ism_take_dmb(side[0].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_take_dmb(side[2].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), 0);
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), -EALREADY);
	assert_int_equal(count_fds(fabric), before);

	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, got[0], 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memcpy(p + SIZE - 5, "hello", 5);
	assert_memory_equal((uint8_t *)dmb->va + SIZE - 5, "hello", 5);
	munmap(p, SIZE);
	assert_int_equal(write(got[2], "x", 1), 1); /* the descriptors in their order */
	assert_int_equal(read(more[0], &(char){ 0 }, 1), 1);
	for (int i = 0; i < 3; i++)
		close(got[i]);
	close(more[0]);
	close(more[1]);
}

/* An offer lives as long as its DMB, whatever ends that. */
static void test_offers_end(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	unsigned int before = count_fds(fabric);
	uint64_t token = dmb->token;
	int got[1];

	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, NULL, 0), 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), 0);
	assert_int_equal(ism_take_dmb(side[1].dev, token, SIZE, got, 1), -ENOENT);
	assert_int_equal(count_fds(fabric), before);

	dmb = reg(0, 1);
	token = dmb->token;
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, NULL, 0), 0);
	/* somebody who expects more than there is gets nothing */
	assert_int_equal(ism_take_dmb(side[1].dev, token, SIZE, got, 2), -EPROTO);
	dmb = reg(0, 1);
	token = dmb->token;
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, NULL, 0), 0);
	side[0].dev = ism_close(side[0].dev);
	assert_int_equal(ism_take_dmb(side[1].dev, token, SIZE, got, 1), -ENOENT);
	assert_int_equal(open_side(0), 0);
	assert_int_equal(count_fds(fabric), before - 1); /* nor the memory of the first DMB */
}

static void test_offers_have_a_limit(void **state)
{
	struct ism_dmb *dmb[ATTACH_MAX_OFFERS + 1];
	int got[1];

	for (unsigned int i = 0; i <= ATTACH_MAX_OFFERS; i++)
		assert_int_equal(ism_register_dmb(side[0].dev, ism_gid(side[1].dev), 16384, NULL,
					 &dmb[i]), 0);
	for (unsigned int i = 0; i < ATTACH_MAX_OFFERS; i++)
		assert_int_equal(ism_offer_dmb(side[0].dev, dmb[i], NULL, 0), 0);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb[ATTACH_MAX_OFFERS], NULL, 0), -ENOSPC);
	assert_int_equal(ism_take_dmb(side[1].dev, dmb[7]->token, 16384, got, 1), 0);
	close(got[0]);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb[ATTACH_MAX_OFFERS], NULL, 0), 0);
}

static void test_fabric_dies(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_liveness_fd(side[0].dev), .events = POLLIN };
	uint64_t word = 1;

	end_fabric(SIGKILL);
	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(ism_probe(side[0].dev), -ENODEV);
	assert_int_equal(move1(1, dmb, 0, &word, 8, false), -ENODEV);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), -ENODEV);
	assert_int_equal(ism_poll(side[0].dev), 0);
}

static const char *ism_transport(int n)
{
	return zpci_caps(ism_zpci(side[n].dev))->transport;
}

/* Instructions that reached the functions. */
static uint64_t model_count(bool stores)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < NFUNC; i++)
		n += stores ? model->fn[i]->count.pcistb : model->fn[i]->count.pcilg;
	return n;
}

/* Everything above went through one transport, and one only. */
static void test_transport(void **state)
{
	const struct ism_double_count *c = ism_double_count();
	struct ism_dmb *dmb = reg(0, 1);
	static uint8_t data[SIZE];

	assert_int_equal(move1(1, dmb, 0, data, sizeof(data), true), 0);
	if (params_double.kind == ISM_DOUBLE_REGION) {
		assert_string_equal(ism_transport(0), "zpci-io-region");
		assert_true(c->region_writes > 100);
		assert_int_equal(c->bar_reads + c->bar_writes + c->odd_region_writes, 0);
		assert_int_equal(c->region_reads, NFUNC); /* the header */
	} else {
		assert_string_equal(ism_transport(0), "ism-vfio-pci");
		assert_true(c->bar_writes > 50 && c->bar_reads > 20);
		/* no store and no load was more or less than one instruction */
		assert_int_equal(c->bar_writes, model_count(true));
		assert_int_equal(c->bar_reads, model_count(false));
	}
}

/* The kernel asks for the device back; nothing else is tried on it then. */
static void test_unplugged(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_liveness_fd(side[1].dev), .events = POLLIN };
	uint64_t word = 1;

	function_unplug(model->fn[1]);
	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(move1(1, dmb, 0, &word, 8, false), -EIO);
	assert_int_equal(ism_probe(side[1].dev), -ENODEV);
	assert_int_equal(move1(1, dmb, 0, &word, 8, false), -ENODEV);
	assert_int_equal(ism_probe(side[0].dev), 0);
}

/* Memory is locked for sources only where that is good for something; they work either way. */
static void test_sources(void **state)
{
	const struct ism_double_count *c = ism_double_count();
	unsigned int maps = c->maps, unmaps = c->unmaps, region;
	struct ism_dmb *dmb = reg(0, 1);
	int fd = fd_memfd("source", SIZE);
	uint8_t *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint64_t iova = 1;

	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 0x5a, SIZE);
	region = params_double.kind == ISM_DOUBLE_REGION;
	assert_int_equal(c->maps - maps, 1); /* the DMB */
	assert_int_equal(ism_map_source(side[1].dev, p, SIZE, fd, 0, &iova), 0);
	assert_int_equal(c->maps - maps, 1 + region);
	assert_int_equal(move1(1, dmb, 0, p, SIZE, true), 0);
	assert_memory_equal(dmb->va, p, SIZE);
	assert_int_equal(ism_unmap_source(side[1].dev, iova, SIZE), 0);
	assert_int_equal(c->unmaps - unmaps, region);
	munmap(p, SIZE);
	close(fd);
}

/* In error state and recovered by itself, it answers as before, but has forgotten us. */
static void test_forgotten(void **state)
{
	assert_int_equal(ism_probe(side[0].dev), 0);
	function_enter_error(model->fn[0]);
	assert_int_equal(ism_probe(side[0].dev), -EIO);
	function_leave_error(model->fn[0]);
	assert_int_equal(ism_probe(side[0].dev), -ESTALE);
	assert_int_equal(ism_probe(side[1].dev), 0);
}

/* A line for the fabric's control socket. */
static void tell_fabric(const char *line)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl(fabricd, "ism-fabricd", "--dir", dir_used, "--command", line, NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- what travels together ------------------------------------------------------------------- */

/* The steps of a READ_GID that leaves its reply in @out. */
static void read_gid_steps(struct zpci_step v[3], uint8_t out[16])
{
	static const uint8_t hdr[8] = { 0, 0, 0, ISM_READ_GID, 0, 0, 0, 8 };

	memset(out, 0xee, 16);
	v[0] = (struct zpci_step){ .s = { .pcias = 2, .offset = 0, .data = hdr, .len = 8 } };
	v[1] = (struct zpci_step){ .s = { .pcias = 2, .offset = 0, .len = 8 }, .out = out };
	v[2] = (struct zpci_step){ .s = { .pcias = 2, .offset = 8, .len = 8 }, .out = out + 8 };
}

/* Steps behind a mapping: all of it, or nothing once something failed. */
static void test_run(void **state)
{
	struct zpci *z = ism_zpci(side[0].dev);
	int good = fd_memfd("good", SIZE), bad = memfd_create("unsealed", MFD_CLOEXEC);
	void *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, good, 0);
	struct vfio_map map = { .va = p, .len = SIZE, .fd = bad };
	struct vfio_range gone[2];
	struct zpci_step v[3];
	uint8_t out[16], untouched[16];
	size_t done;

	assert_true(zpci_caps(z)->pipelined);
	assert_int_equal(ftruncate(bad, SIZE), 0);
	read_gid_steps(v, out);
	memcpy(untouched, out, sizeof(out));
	assert_int_equal(zpci_run(z, &map, v, 3, &done), -EINVAL); /* it could shrink */
	assert_false(map.done);
	assert_int_equal(done, 0);
	assert_memory_equal(out, untouched, sizeof(out));

	map.fd = good;
	assert_int_equal(zpci_run(z, &map, v, 3, &done), 0);
	assert_true(map.done);
	assert_int_equal(done, 3);
	assert_int_equal(load_be64(out + 8), ism_gid(side[0].dev));
	assert_int_equal(zpci_run(z, &map, v, 3, &done), -EEXIST); /* mapped already */

	v[1].s.offset = 7; /* refused before anything is submitted */
	assert_int_equal(zpci_run(z, NULL, v, 3, &done), -EINVAL);
	read_gid_steps(v, out);
	v[1].s.pcias = 0; /* a window for writing only: what follows is not executed */
	assert_int_equal(zpci_run(z, NULL, v, 3, &done), -EIO);
	assert_int_equal(done, 1);
	assert_memory_equal(out, untouched, sizeof(out));

	gone[0] = (struct vfio_range){ .iova = (uintptr_t)p, .len = SIZE / 2 }; /* cuts the map */
	gone[1] = (struct vfio_range){ .iova = (uintptr_t)p, .len = SIZE };
	assert_int_equal(zpci_dma_unmap_batch(z, gone, 2), 0);
	assert_true(gone[0].result < 0); /* each has its own */
	assert_int_equal(gone[1].result, 0);
	munmap(p, SIZE);
	close(good);
	close(bad);
}

/* Retired DMBs go together, soon, and are quarantined as all others. */
static void test_retire(void **state)
{
	enum { N = ISM_UNREG_BATCH + 3 };
	struct ism_dmb *dmb[N];
	uint64_t token[N], word = 1;
	const struct ism_counters *c = ism_counters(side[0].dev);
	struct ism_move m = { .len = 8, .data = &word, .sf = true };
	uint64_t commands;
	size_t done;

	for (unsigned int i = 0; i < N; i++) {
		dmb[i] = reg(0, 1);
		token[i] = dmb[i]->token;
	}
	POLL_UNTIL(0, c->quarantined == 0); /* the self-test's */
	side[0].signals = 0;
	commands = c->commands;
	for (unsigned int i = 0; i < N; i++)
		ism_retire_dmb(side[0].dev, dmb[i]);
	assert_int_equal(c->dmbs, 0);
	assert_int_equal(c->quarantined, N);
	assert_int_equal(c->commands, commands);
	m.token = token[0];
	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), 0);
	ism_poll(side[0].dev);
	assert_int_equal(side[0].signals, 0);
	POLL_UNTIL(0, c->quarantined == 0);
	assert_true(c->commands >= commands + N);
	for (unsigned int i = 0; i < N; i++) {
		m.token = token[i];
		assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), -EIO);
	}
}

/* A refusal concerns its own DMB, whatever travels with it. */
static void test_retire_refused(void **state)
{
	struct ism_dmb *dmb[3] = { reg(0, 1), reg(0, 1), reg(0, 1) };
	const uint32_t idx[3] = { dmb[0]->idx, dmb[1]->idx, dmb[2]->idx };
	const struct ism_counters *c = ism_counters(side[0].dev);

	POLL_UNTIL(0, c->quarantined == 0);
	tell_fabric("fault 0 fail-command 1 0x0108");
	for (int i = 0; i < 3; i++)
		ism_retire_dmb(side[0].dev, dmb[i]);
	POLL_UNTIL(0, c->quarantined == 0);
	assert_int_equal(side[0].dev->dmbs[idx[0]]->state, ISM_DMB_KEPT);
	assert_null(side[0].dev->dmbs[idx[1]]);
	assert_null(side[0].dev->dmbs[idx[2]]);
	assert_int_equal(ism_probe(side[0].dev), 0);
}

/* ---- windows --------------------------------------------------------------------------------- */

static uint64_t here(int n)
{
	return zpci_counters(ism_zpci(side[n].dev))->attached;
}

static uint64_t there(int n)
{
	return zpci_counters(ism_zpci(side[n].dev))->pcistb;
}

/* A move of 8 bytes, and that it was executed @where (1: in this process) with this result. */
static void expect_move(struct ism_dmb *dmb, int where, int want)
{
	uint64_t before_here = here(1), before_there = there(1);
	static uint64_t word;

	word++;
	assert_int_equal(move1(1, dmb, 64, &word, 8, true), want);
	assert_int_equal(here(1) - before_here, where);
	assert_int_equal(there(1) - before_there, !where);
	if (want == 0)
		assert_memory_equal((uint8_t *)dmb->va + 64, &word, 8);
}

static void test_windows_count(void **state)
{
	static uint8_t data[3 * 4096 + 5];
	struct ism_dmb *dmb = reg(0, 1);
	const struct zpci_counters *c = zpci_counters(ism_zpci(side[1].dev));
	const struct zpci_counters old = *c;

	memset(data, 7, sizeof(data));
	assert_int_equal(move1(1, dmb, 4000, data, sizeof(data), true), 0);
	assert_memory_equal((uint8_t *)dmb->va + 4000, data, sizeof(data));
	assert_int_equal(c->attached - old.attached, 4);
	assert_int_equal(c->attached_bytes - old.attached_bytes, sizeof(data));
	assert_int_equal(c->pcistb - old.pcistb + c->batches - old.batches, 0);
	assert_int_equal(c->pcistb_bytes - old.pcistb_bytes, 0);
	POLL_UNTIL(0, side[0].signals > 0);
	assert_ptr_equal(side[0].dmb, dmb);
	/* once for each ring, and for this DMB alone */
	assert_int_equal(ism_poll(side[0].dev), 0);
	assert_int_equal(side[0].signals, 1);
}

/* Whatever ends a DMB ends its window; the error is the device's. */
static void test_windows_end(void **state)
{
	struct ism_dmb *dmb = reg(0, 1), *other = reg(0, 1);
	uint64_t word = 1, before;
	const struct ism_move m = { .token = dmb->token, .len = 8, .data = &word };
	const struct ism_move late = { .token = other->token, .len = 8, .data = &word };
	size_t done;

	expect_move(dmb, 1, 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), 0);
	before = here(1);
	assert_int_equal(ism_move_data(side[1].dev, &m, 1, &done), -EIO);
	assert_int_equal(here(1), before);
	expect_move(other, 1, 0);
	ism_unmap_dmb(side[1].dev, other->token);
	expect_move(other, 0, 0);
	assert_int_equal(ism_map_dmb(side[1].dev, ism_gid(side[0].dev), other->token, SIZE), 0);
	expect_move(other, 1, 0);
	side[0].dev = ism_close(side[0].dev);
	before = here(1);
	assert_int_equal(ism_move_data(side[1].dev, &late, 1, &done), -EIO);
	assert_int_equal(here(1), before);
}

/* Faults and knobs have the effect they are for. */
static void test_windows_shut(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);

	expect_move(dmb, 1, 0);
	tell_fabric("fault 1 fail-store 1");
	expect_move(dmb, 0, -EIO);
	expect_move(dmb, 1, 0);
	tell_fabric("knob torn_writes 1");
	expect_move(dmb, 0, 0);
	tell_fabric("knob torn_writes 0");
	tell_fabric("knob ieq_overflow 1"); /* no business of a store */
	expect_move(dmb, 1, 0);
	tell_fabric("fault 1 slow 1");
	expect_move(dmb, 0, 0);
	tell_fabric("clear 1");
	expect_move(dmb, 1, 0);
	tell_fabric("knob attach_stores 0");
	expect_move(dmb, 0, 0);
	assert_int_equal(ism_consent(side[2].dev, ism_gid(side[1].dev)), -EOPNOTSUPP);
	tell_fabric("knob attach_stores 1");
	tell_fabric("fault 0 error");
	expect_move(dmb, 0, -EIO); /* the owner's error state */
	tell_fabric("knob error_keeps 1");
	tell_fabric("clear 0");
	tell_fabric("knob error_keeps 0");
	expect_move(dmb, 1, 0);
	tell_fabric("fault 1 error");
	expect_move(dmb, 0, -EIO);
}

/* The costed mode charges a window's stores, too. */
static void test_windows_cost(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	uint64_t begin;

	tell_fabric("knob store_ns 200000");
	tell_fabric("knob store_ps_byte 1000000");
	begin = clock_ns();
	expect_move(dmb, 1, 0);
	assert_true(clock_ns() - begin >= 208000);
	tell_fabric("knob store_ns 0");
	tell_fabric("knob store_ps_byte 0");
	expect_move(dmb, 1, 0);
}

/* Only the writer, only with consent, and only this DMB. */
static void test_windows_are_authorised(void **state)
{
	uint64_t gid0 = ism_gid(side[0].dev), gid1 = ism_gid(side[1].dev);
	struct ism_dmb *dmb = reg(0, 1), *foreign = reg(0, 2);
	struct attach_bell *bell = side[1].dev->windows.rings->page;
	uint32_t n = foreign->idx - ISM_DMB_IDX_MIN;

	assert_int_equal(ism_map_dmb(side[2].dev, gid0, dmb->token, SIZE), -ENOENT);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, foreign->token, SIZE), -ENOENT);
	/* a DMB that is smaller than its owner said */
	ism_unmap_dmb(side[1].dev, dmb->token);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, 2 * SIZE), -EPROTO);
	/* a hostile writer rings for what is not its */
	atomic_fetch_or(&bell->bits[n / 64], UINT64_C(1) << (63 - n % 64));
	atomic_store(&bell->rung, 1);
	assert_int_equal(ism_poll(side[0].dev), 0);
	assert_int_equal(side[0].signals, 0);
	/* and consent ends with the writer it was given to */
	side[1].dev = ism_close(side[1].dev);
	assert_int_equal(open_side(1), 0);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, SIZE), -ENOENT);
	assert_int_equal(ism_consent(side[0].dev, gid1), 0);
	assert_int_equal(ism_map_dmb(side[1].dev, gid0, dmb->token, SIZE), 0);
	expect_move(dmb, 1, 0);
	POLL_UNTIL(0, side[0].signals > 0);
	assert_ptr_equal(side[0].dmb, dmb);
}

/* A sleeper is woken once, and only if it sleeps. */
static void test_windows_wake(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_irq_fd(side[0].dev), .events = POLLIN };

	while (ism_poll(side[0].dev) || ism_irq_arm(side[0].dev))
		;
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
	expect_move(dmb, 1, 0);
	expect_move(dmb, 1, 0);
	assert_int_equal(poll(&p, 1, 20000), 1);
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_true(ism_irq_arm(side[0].dev)); /* not looked at yet */
	POLL_UNTIL(0, side[0].signals > 0);
	assert_false(ism_irq_arm(side[0].dev));
	/* the device's own interrupt comes through the same descriptor */
	assert_int_equal(ism_signal_event(side[1].dev, ism_gid(side[0].dev), 5, 6), 0);
	assert_int_equal(poll(&p, 1, 20000), 1);
	ism_irq_ack(side[0].dev);
	assert_int_equal(poll(&p, 1, 0), 0);
}

static int run_attached(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_profile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapped_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_the_writer_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unregister_tells_the_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_tells_the_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retire_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_count, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_shut, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_cost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_are_authorised, setup, teardown),
		cmocka_unit_test_setup_teardown(test_windows_wake, setup, teardown),
	};

	attached = true;
	return cmocka_run_group_tests_name("attached", tests, NULL, NULL);
}

static int run_double(const char *kind)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_profile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapped_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_the_writer_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unregister_tells_the_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_tells_the_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transport, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sources, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unplugged, setup, teardown),
	};

	params_double.kind = strcmp(kind, "bars") ? ISM_DOUBLE_REGION : ISM_DOUBLE_BARS;
	params_double.region_index = 11;
	return cmocka_run_group_tests_name(kind, tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_profile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapped_source, setup, teardown),
		cmocka_unit_test_setup_teardown(test_only_the_writer_may, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unregister_tells_the_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_tells_the_peer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_retire_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offers_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offers_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fabric_dies, setup, teardown),
	};

	if (argc > 1 && strcmp(argv[1], "attached") != 0)
		return run_double(argv[1]);
	fabricd = getenv("ISM_FABRICD");
	if (!fabricd) {
		fprintf(stderr, "ISM_FABRICD does not name a fabric\n");
		return 77;
	}
	if (argc > 1)
		return run_attached();
	return cmocka_run_group_tests_name("ism fabric", tests, NULL, NULL);
}
