/* SPDX-License-Identifier: MIT */
/* The vfio-user client against servers that break the rules or fall silent. */
#include "script.h"

/* --- a server that breaks the rules; each answers the second of two chained writes --- */

static struct vu_hdr reply_hdr(const struct msg *m, uint32_t len)
{
	return (struct vu_hdr){ m->h.id, m->h.command, 16 + len, VU_F_TYPE_REPLY, 0 };
}

static void wrong_reply(const struct vu_hdr *h, uint32_t count, size_t len)
{
	struct vu_region_access ra = { 16, 9, count };
	uint8_t b[32];

	memcpy(b, h, 16);
	memcpy(b + 16, &ra, 16);
	put_raw(b, len);
	expect_eof();
}

static struct vu_hdr begin_wrong(uint32_t len)
{
	version_chain();
	take_batch(batch, 2);
	write_done(&batch[0], 32);
	return reply_hdr(&batch[1], len);
}

static void w_id(void)
{
	struct vu_hdr h = begin_wrong(16);

	h.id++;
	wrong_reply(&h, 32, 32);
}

static void w_command(void)
{
	struct vu_hdr h = begin_wrong(16);

	h.command = VU_REGION_READ;
	wrong_reply(&h, 32, 32);
}

static void w_type(void)
{
	struct vu_hdr h = begin_wrong(16);

	h.flags = 2;
	wrong_reply(&h, 32, 32);
}

static void w_tiny(void)
{
	struct vu_hdr h = begin_wrong(16);

	h.size = 15;
	wrong_reply(&h, 32, 32);
}

static void w_huge(void)
{
	struct vu_hdr h = begin_wrong(16);

	h.size = 65537;
	wrong_reply(&h, 32, 32);
}

static void w_short_payload(void)
{
	struct vu_hdr h = begin_wrong(15);

	wrong_reply(&h, 32, 31);
}

static void w_count(void)
{
	struct vu_hdr h = begin_wrong(16);

	wrong_reply(&h, 33, 32);
}

static void w_surplus(void)
{
	begin_wrong(16);
	write_done(&batch[1], 32);
	write_done(&batch[1], 32);
	expect_eof();
}

static void test_violations(void **state)
{
	static void (*const scripts[])(void) = { w_id, w_command, w_type, w_tiny, w_huge,
		w_short_payload, w_count };
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done;

	fill(wr, q);
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		done = 9;
		assert_int_equal(start(r, scripts[i], 0), 0);
		assert_int_equal(
			r->dev->ops->region_write_batch(r->dev, &io_region, wr, 2, &done), -EPROTO);
		assert_int_equal(done, 1);
		assert_int_equal(fired(r->dev->ops->liveness_fd(r->dev)), 1);
		assert_int_equal(r->dev->ops->reset(r->dev), -ENODEV);
		finish(r);
	}
}

/* A second answer to the same command surfaces at the next occasion. */
static void test_surplus_reply(void **state)
{
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done;

	fill(wr, q);
	assert_int_equal(start(r, w_surplus, 0), 0);
	r->dev->ops->region_write_batch(r->dev, &io_region, wr, 2, &done); /* may see it already */
	assert_int_equal(await_death(r->dev), -ENODEV);
	finish(r);
}

/* Running a write behind a failed one breaks what chaining promises. */
static void s_executes_cancelled(void)
{
	version_chain();
	take_batch(batch, 2);
	refuse(&batch[0], EIO);
	write_done(&batch[1], 32);
	expect_eof();
}

static void s_dies_in_reply(void)
{
	struct vu_hdr h = begin_wrong(16);

	put_raw(&h, 16);
}

/*
 * The clock of a client that gives up runs from its request, and a script may be slow. So the answer to
 * the first of two writes is there before they are sent: what is waited for is the second one's.
 */
#define FIRST_ID 1 /* of the first command behind the negotiation */
static int meet[2];

static struct vu_hdr begin_ahead(uint32_t len)
{
	const struct vu_region_access ra = { 16, REGION, 32 };
	char byte;

	version_chain();
	must(read(meet[1], &byte, 1) == 1); /* the negotiation is over */
	put(FIRST_ID, VU_REGION_WRITE, VU_F_TYPE_REPLY, 0, &ra, sizeof(ra));
	must(write(meet[1], "", 1) == 1);
	take_batch(batch, 2);
	must(batch[0].h.id == FIRST_ID);
	return reply_hdr(&batch[1], len);
}

static void start_ahead(struct rig *r, void (*script)(void), unsigned int timeout_ms, unsigned int spin_us)
{
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, meet), 0);
	assert_int_equal(start_spinning(r, script, 0, spin_us), 0);
	close(meet[1]);
	assert_int_equal(write(meet[0], "", 1), 1);
	assert_int_equal(read(meet[0], &byte, 1), 1);
	close(meet[0]);
	vu_client_settle(r->dev, timeout_ms);
}

static void s_never_answers(void)
{
	begin_ahead(16);
	expect_eof();
}

/* Bytes keep coming, an answer does not. */
static void s_trickles(void)
{
	const uint8_t zero = 0;
	struct vu_hdr h = begin_ahead(4096);

	put_raw(&h, 16);
	while (fd_send(sv, &zero, 1, NULL, 0, 0) == 1)
		usleep(2000);
}

static void test_ends(void **state)
{
	static const struct {
		void (*script)(void);
		int ret;
		size_t done;
	} t[] = {
		{ s_executes_cancelled, -EPROTO, 0 },
		{ s_dies_in_reply, -ENODEV, 1 },
		{ s_never_answers, -ETIMEDOUT, 1 },
		{ s_trickles, -ETIMEDOUT, 1 },
	};
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done;

	fill(wr, q);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (t[i].ret == -ETIMEDOUT)
			start_ahead(r, t[i].script, 200, 0);
		else
			assert_int_equal(start(r, t[i].script, 0), 0);
		assert_int_equal(r->dev->ops->region_write_batch(r->dev, &io_region, wr, 2, &done),
			t[i].ret);
		assert_int_equal(done, t[i].done);
		assert_int_equal(r->dev->ops->check(r->dev), -ENODEV);
		assert_int_equal(r->dev->ops->region_write_batch(r->dev, &io_region, wr, 2, &done),
			-ENODEV);
		assert_int_equal(done, 0);
		finish(r);
	}
}

/* Busy-waiting, even for ever, ends at the timeout. */
static void test_spin_times_out(void **state)
{
	struct rig *r = *state;
	struct vfio_region_wr wr[BATCH];
	uint8_t q[BATCH][32];
	size_t done = 0;

	fill(wr, q);
	start_ahead(r, s_never_answers, 100, 10000000);
	assert_int_equal(
		r->dev->ops->region_write_batch(r->dev, &io_region, wr, 2, &done), -ETIMEDOUT);
	assert_int_equal(done, 1);
	finish(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_violations),
		T(test_surplus_reply),
		T(test_ends),
		T(test_spin_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
