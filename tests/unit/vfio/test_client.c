/* SPDX-License-Identifier: MIT */
/* The vfio-user client against an honest server: messages, batches, errors, limits. */
#include "script.h"

/* --- negotiation --- */

static void s_plain(void)
{
	version("{\"capabilities\":{}}");
	expect_eof();
}

static void s_no_json(void)
{
	version(NULL);
	expect_eof();
}

static void s_chain(void)
{
	version_chain();
	expect_eof();
}

static void test_version(void **state)
{
	struct rig *r = *state;

	assert_int_equal(start(r, s_plain, 0), 0);
	assert_false(r->dev->iova_is_va);
	assert_int_equal(r->dev->ops->check(r->dev), 0);
	finish(r);
	assert_int_equal(start(r, s_no_json, 0), 0);
	assert_false(r->dev->iova_is_va);
	finish(r);
	assert_int_equal(start(r, s_chain, 0), 0);
	assert_true(r->dev->iova_is_va);
	finish(r);
}

static void bad_version(uint16_t major, uint16_t minor)
{
	struct vu_version v = { major, minor };
	struct msg m;

	get(&m, VU_VERSION);
	answer(&m, &v, sizeof(v));
	expect_eof();
}

static void s_major(void) { bad_version(1, 0); }
static void s_minor(void) { bad_version(0, 1); }
static void s_garbage(void) { version("{\"capabilities\":"); expect_eof(); }
static void s_not_object(void) { version("[]"); expect_eof(); }
static void s_caps_not_object(void) { version("{\"capabilities\":7}"); expect_eof(); }
static void s_xfer_31(void)
{
	version("{\"capabilities\":{\"max_data_xfer_size\":31}}");
	expect_eof();
}
static void s_pages(void) { version("{\"capabilities\":{\"pgsizes\":65536}}"); expect_eof(); }
static void s_text(void) { version("{\"capabilities\":{\"max_msg_fds\":\"1\"}}"); expect_eof(); }

static void s_unterminated(void)
{
	struct msg m;

	get(&m, VU_VERSION);
	answer(&m, "\0\0\0\0{}", 6);
	expect_eof();
}

static void s_inner_nul(void)
{
	struct msg m;

	get(&m, VU_VERSION);
	answer(&m, "\0\0\0\0{}\0{}", 10);
	expect_eof();
}

static void s_refuse_version(void)
{
	struct msg m;

	get(&m, VU_VERSION);
	refuse(&m, EINVAL);
	expect_eof();
}

static void s_three_bytes(void)
{
	struct msg m;

	get(&m, VU_VERSION);
	answer(&m, "\0\0\0", 3);
	expect_eof();
}

static void s_http(void)
{
	put_raw("HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	expect_eof();
}

static void test_bad_versions(void **state)
{
	static void (*const scripts[])(void) = { s_major, s_minor, s_garbage, s_not_object,
		s_caps_not_object, s_xfer_31, s_pages, s_text, s_unterminated, s_inner_nul,
		s_refuse_version, s_three_bytes, s_http };
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		assert_int_equal(start(r, scripts[i], 0), -EPROTO);
		assert_null(r->dev);
		finish(r);
	}
}

static void s_hang_up(void) {}

static void s_silence(void)
{
	expect_eof();
}

static void test_nobody_there(void **state)
{
	struct rig *r = *state;
	struct vu_client_params p = { .path = "/nonexistent/socket" };
	char longer[200];

	assert_int_equal(vu_client_open(&p, &r->dev), -ENOENT);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	p.path = longer;
	assert_int_equal(vu_client_open(&p, &r->dev), -ENAMETOOLONG);
	assert_int_equal(start(r, s_hang_up, 0), -ENODEV);
	finish(r);
	assert_int_equal(start(r, s_silence, 50), -ETIMEDOUT);
	finish(r);
	close(r->listener);
	p.path = r->path;
	assert_int_equal(vu_client_open(&p, &r->dev), -ECONNREFUSED);
	r->listener = -1;
}

/* --- information --- */

static void s_info(void)
{
	static const uint32_t type[] = { 0, 0x80001014, 2 };
	struct vu_device_info di = { sizeof(di), 3, 10, 5 };
	union {
		struct vu_region_info ri;
		uint8_t b[6000];
	} u;
	struct msg m;
	uint32_t room;
	const uint16_t hdr[] = { VFIO_REGION_INFO_CAP_TYPE, 1 };

	version("{\"capabilities\":{}}");
	get(&m, VU_DEVICE_GET_INFO);
	memcpy(&room, m.p, 4);
	must(m.h.size == 32 && room >= 64);
	answer(&m, &di, sizeof(di));
	/* asked for a region with a chain that does not fit at first */
	for (int i = 0; i < 2; i++) {
		get(&m, VU_DEVICE_GET_REGION_INFO);
		must(m.h.size == 48);
		memcpy(&room, m.p, 4);
		must(room >= 32);
		memset(&u, 0, sizeof(u));
		u.ri = (struct vu_region_info){ 6000, 3 | VFIO_REGION_INFO_FLAG_CAPS, 9, 0, 48, 0 };
		if (i) {
			must(room >= 6000);
			u.ri.cap_offset = 5984;
			memcpy(u.b + 5984, hdr, 4);
			memcpy(u.b + 5988, type, 12);
		}
		answer(&m, &u, i ? 6000 : 32);
	}
	get(&m, VU_DEVICE_GET_REGION_INFO);
	refuse(&m, EINVAL);
	/* a chain pointing outside ends the connection */
	get(&m, VU_DEVICE_GET_REGION_INFO);
	u.ri = (struct vu_region_info){ 32, 3 | VFIO_REGION_INFO_FLAG_CAPS, 9, 64, 48, 0 };
	answer(&m, &u, 32);
	expect_eof();
}

static void test_info(void **state)
{
	struct rig *r = *state;
	struct vfio_region_desc d;
	struct vfio_dev_info info;

	assert_int_equal(start(r, s_info, 0), 0);
	assert_int_equal(r->dev->ops->get_info(r->dev, &info), 0);
	assert_int_equal(info.num_regions, 10);
	assert_false(info.has_zpci); /* a server that knows nothing of capabilities */
	assert_int_equal(r->dev->ops->get_region(r->dev, 9, &d), 0);
	assert_true(d.has_type);
	assert_int_equal(d.type, 0x80001014);
	assert_int_equal(d.subtype, 2);
	assert_int_equal(r->dev->ops->get_region(r->dev, 99, &d), -EINVAL);
	assert_int_equal(r->dev->ops->get_region(r->dev, 9, &d), -EPROTO);
	assert_int_equal(r->dev->ops->get_region(r->dev, 9, &d), -ENODEV);
	finish(r);
}

/* --- DMA, interrupt, reset: the exact messages --- */

static void s_control(void)
{
	static const uint32_t on[] = { 20, 0x24, 1, 0, 1 }, off[] = { 20, 0x21, 1, 0, 0 };
	struct vu_dma_unmap un;
	struct vu_dma_map map;
	struct msg m;

	version_chain();
	for (int i = 0; i < 2; i++) {
		get(&m, VU_DMA_MAP);
		memcpy(&map, m.p, sizeof(map));
		must(m.h.size == 48 && m.nfds == 1 && map.argsz == 32 && map.flags == 3);
		must(map.offset == 8192 && map.addr == 0x10000u + 0x10000u * (unsigned int)i);
		must(map.size == 4096 && fd_check_sealed(m.fds[0], 12288) == 0);
		close(m.fds[0]);
		answer(&m, NULL, 0);
	}
	get(&m, VU_DMA_UNMAP);
	memcpy(&un, m.p, sizeof(un));
	must(m.h.size == 40 && un.argsz == 24 && !un.flags && un.addr == 0x10000 &&
		un.size == 4096);
	answer(&m, &un, sizeof(un));
	get(&m, VU_DMA_MAP);
	close(m.fds[0]);
	refuse(&m, EEXIST);
	get(&m, VU_DEVICE_SET_IRQS);
	must(m.h.size == 36 && m.nfds == 1 && !memcmp(m.p, on, 20));
	close(m.fds[0]);
	answer(&m, NULL, 0);
	get(&m, VU_DEVICE_SET_IRQS);
	must(m.h.size == 36 && m.nfds == 0 && !memcmp(m.p, off, 20));
	answer(&m, NULL, 0);
	get(&m, VU_DEVICE_RESET);
	must(m.h.size == 16);
	refuse(&m, ENOTSUP);
	expect_eof();
}

static void test_control(void **state)
{
	struct rig *r = *state;
	int fd FD_CLEANUP = fd_memfd("t", 12288);
	const struct vfio_device_ops *o;
	uint64_t iova;

	assert_int_equal(start(r, s_control, 0), 0);
	o = r->dev->ops;
	assert_int_equal(o->dma_map(r->dev, (void *)0x10000, 4096, fd, 8192, &iova), 0);
	assert_int_equal(iova, 0x10000);
	assert_int_equal(o->dma_map(r->dev, (void *)0x20000, 4096, fd, 8192, &iova), 0);
	/* the server takes two */
	assert_int_equal(o->dma_map(r->dev, (void *)0x30000, 4096, fd, 8192, &iova), -ENOSPC);
	assert_int_equal(o->dma_unmap(r->dev, 0x10000, 4096), 0);
	assert_int_equal(o->dma_map(r->dev, (void *)0x20000, 4096, fd, 8192, &iova), -EEXIST);
	assert_int_equal(o->set_msi(r->dev, fd), 0);
	assert_int_equal(o->set_msi(r->dev, -1), 0);
	assert_int_equal(o->reset(r->dev), -EOPNOTSUPP);
	finish(r);
}

/* --- region access --- */

static void s_regions(void)
{
	struct vu_region_access ra;
	uint8_t reply[24];
	struct msg m;

	version_chain();
	get(&m, VU_REGION_READ);
	memcpy(&ra, m.p, sizeof(ra));
	must(m.h.size == 32 && ra.offset == 4 && ra.region == 9 && ra.count == 8);
	ra.count = 5; /* short */
	memcpy(reply, &ra, sizeof(ra));
	memcpy(reply + 16, "abcdefgh", 8);
	/* byte by byte, with a command of our own in between */
	put(77, VU_DMA_READ, VU_F_TYPE_CMD, 0, reply, 16);
	put(78, VU_DMA_WRITE, VU_F_TYPE_CMD | VU_F_NO_REPLY, 0, reply, 16);
	for (size_t i = 0; i < 37; i++) {
		struct vu_hdr h = { m.h.id, VU_REGION_READ, 37, VU_F_TYPE_REPLY, 0 };

		put_raw(i < 16 ? (const uint8_t *)&h + i : &reply[i - 16], 1);
	}
	get_bytes(&m.h, sizeof(m.h), &m);
	must(m.h.id == 77 && m.h.command == VU_DMA_READ && m.h.size == 16);
	must(m.h.flags == (VU_F_TYPE_REPLY | VU_F_ERROR) && m.h.error == ENOTSUP);
	get(&m, VU_REGION_WRITE);
	must(m.h.size == 16 + 16 + 3 && !memcmp(m.p + 16, "xyz", 3) && m.h.flags == 0);
	write_done(&m, 2);
	get(&m, VU_REGION_WRITE);
	refuse(&m, EIO);
	get(&m, VU_REGION_READ);
	refuse(&m, 0); /* an error without a number */
	get(&m, VU_REGION_READ);
	refuse(&m, ETIMEDOUT); /* the server's, not ours */
	get(&m, VU_REGION_READ);
	refuse(&m, ENODEV);
	expect_eof();
}

static void test_regions(void **state)
{
	struct rig *r = *state;
	const struct vfio_device_ops *o;
	char buf[9] = { 0 };

	assert_int_equal(start(r, s_regions, 0), 0);
	o = r->dev->ops;
	assert_int_equal(o->region_read(r->dev, &io_region, 4, buf, 8), 5);
	assert_string_equal(buf, "abcde");
	assert_int_equal(o->region_write(r->dev, &io_region, 0, "xyz", 3), 2);
	assert_int_equal(o->region_write(r->dev, &io_region, 0, "xyz", 3), -EIO);
	assert_int_equal(o->region_read(r->dev, &io_region, 0, buf, 8), -EIO);
	assert_int_equal(o->region_read(r->dev, &io_region, 0, buf, 8), -EIO);
	assert_int_equal(o->check(r->dev), 0);
	assert_int_equal(o->region_read(r->dev, &io_region, 0, buf, 8), -ENODEV);
	assert_int_equal(o->check(r->dev), -ENODEV);
	finish(r);
}

/* The whole batch is there before anything was answered; the 21st fails. */
static void s_chained(void)
{
	version_chain();
	take_batch(batch, BATCH);
	for (unsigned int i = 0; i < BATCH; i++)
		write_done(&batch[i], 32);
	take_batch(batch, BATCH);
	for (unsigned int i = 0; i < BATCH; i++) {
		if (i < 20)
			write_done(&batch[i], 32);
		else
			refuse(&batch[i], i == 20 ? EIO : ECANCELED);
	}
	expect_eof();
}

static void test_chain(void **state)
{
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done = 0;

	fill(wr, q);
	assert_int_equal(start(r, s_chained, 0), 0);
	assert_int_equal(r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), 0);
	assert_int_equal(done, BATCH);
	assert_int_equal(
		r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), -EIO);
	assert_int_equal(done, 20);
	assert_int_equal(r->dev->ops->check(r->dev), 0);
	finish(r);
}

/* Without the extension the next write leaves only after the answer to the one before. */
static void s_unchained(void)
{
	struct msg m;

	version("{\"capabilities\":{}}");
	for (unsigned int i = 0; i < 3; i++) {
		get(&m, VU_REGION_WRITE);
		must(m.h.flags == 0 && m.p[16] == i && !fired(sv));
		if (i < 2)
			write_done(&m, 32);
		else
			refuse(&m, EIO);
	}
	expect_eof();
}

static void test_unchained(void **state)
{
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done = 0;

	fill(wr, q);
	assert_int_equal(start(r, s_unchained, 0), 0);
	assert_int_equal(
		r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), -EIO);
	assert_int_equal(done, 2);
	finish(r);
}

/* Large writes: more than the socket takes at once, and more than one group. */
static void s_large(void)
{
	struct msg *m = malloc(sizeof(*m));

	version_chain();
	for (unsigned int i = 0; i < BATCH; i++) {
		get(m, VU_REGION_WRITE);
		must(m->h.size == 32 + 4096 && m->p[16] == i && m->p[4111] == i);
		write_done(m, 4096);
	}
	expect_eof();
}

static void test_large_batch(void **state)
{
	static uint8_t data[BATCH][4096];
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	size_t done = 0;

	for (size_t i = 0; i < BATCH; i++) {
		memset(data[i], (int)i, 4096);
		wr[i] = (struct vfio_region_wr){ 0, data[i], 4096 };
	}
	assert_int_equal(start(r, s_large, 0), 0);
	assert_int_equal(r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), 0);
	assert_int_equal(done, BATCH);
	finish(r);
}

/* Maps and writes as one piece, with all descriptors at its beginning. */
static void s_together(void)
{
	struct vu_dma_map map;
	struct msg m;

	version_together();
	for (unsigned int i = 0; i < 3; i++) {
		get(&m, VU_DMA_MAP);
		memcpy(&map, m.p, sizeof(map));
		must(map.addr == 0x10000u * (i + 1) && m.h.flags == (VU_F_FD | (i ? VU_F_CHAIN : 0)));
		must(m.nfds == (i == 0 ? 3 : 0));
		for (unsigned int k = 0; k < m.nfds; k++) {
			must(fd_check_sealed(m.fds[k], 4096 * (k + 1)) == 0);
			must(fd_check_sealed(m.fds[k], 4096 * (k + 2)) < 0);
			close(m.fds[k]);
		}
		answer(&m, NULL, 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		get(&m, VU_REGION_WRITE);
		must(m.h.flags == VU_F_CHAIN && m.nfds == 0 && m.p[16] == 'a' + i);
		write_done(&m, 1);
	}
	expect_eof();
}

static void test_together(void **state)
{
	const struct vfio_region_wr wr[] = { { 0, "a", 1 }, { 0, "b", 1 } };
	struct rig *r = *state;
	struct vfio_map map[3];
	size_t done = 0;

	assert_int_equal(start(r, s_together, 0), 0);
	for (unsigned int i = 0; i < 3; i++)
		map[i] = (struct vfio_map){ .va = (void *)(uintptr_t)(0x10000 * (i + 1)),
			.len = 4096, .fd = fd_memfd("together", 4096 * (i + 1)) };
	assert_int_equal(r->dev->ops->map_write_batch(r->dev, map, 3, &io_region, wr, 2, &done), 0);
	assert_int_equal(done, 2);
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(map[i].done);
		close(map[i].fd);
	}
	finish(r);
}

/* Busy-waiting changes nothing but the waiting. */
static void test_spin(void **state)
{
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done = 0;

	fill(wr, q);
	assert_int_equal(start_spinning(r, s_chained, 0, 20), 0);
	assert_int_equal(r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), 0);
	assert_int_equal(
		r->dev->ops->region_write_batch(r->dev, &io_region, wr, BATCH, &done), -EIO);
	assert_int_equal(done, 20);
	finish(r);
}

/* Between commands: end of file is noticed, a question of the server is answered by a check. */
static void s_asks_then_dies(void)
{
	struct msg m = { .nfds = 0 };

	version_chain();
	put(5, VU_DMA_READ, VU_F_TYPE_CMD, 0, "0123456789abcdef", 16);
	get_bytes(&m.h, sizeof(m.h), &m);
	must(m.h.id == 5 && m.h.error == ENOTSUP);
}

static void test_idle(void **state)
{
	struct rig *r = *state;
	struct pollfd p = { .events = POLLIN };

	assert_int_equal(start(r, s_asks_then_dies, 0), 0);
	p.fd = r->dev->ops->liveness_fd(r->dev);
	assert_int_equal(await_death(r->dev), -ENODEV);
	assert_int_equal(poll(&p, 1, PATIENT), 1);
	assert_int_equal(r->dev->ops->check(r->dev), -ENODEV);
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_version),
		T(test_bad_versions),
		T(test_nobody_there),
		T(test_info),
		T(test_control),
		T(test_regions),
		T(test_chain),
		T(test_unchained),
		T(test_large_batch),
		T(test_together),
		T(test_spin),
		T(test_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
