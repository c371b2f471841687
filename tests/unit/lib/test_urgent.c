/* SPDX-License-Identifier: MIT */
/* Urgent bytes: one thread, the peer moves between the calls. */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 16384u

struct rig {
	struct fake f;
	struct smcdu_channel *ch;
	uint8_t buf[2 * SIZE];
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	fake_make(&r->f, SIZE, SIZE, CDC_BIG);
	r->ch = fake_adopt(&r->f);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	smcdu_close(r->ch);
	fake_end(&r->f);
	free(r);
	return 0;
}

/* The peer writes @len bytes of which the last is urgent. */
static void write_urgent(struct fake *f, size_t len)
{
	f->prod_flags = CDC_URG_PRESENT;
	fake_write(f, len);
	f->prod_flags = 0;
}

/* What the daemon does when it sees that, once the application has or has not looked. */
static void daemon_takes(struct fake *f)
{
	atomic_store(&f->ctl->rx_urg, f->prod);
	cdc_take_urgent(f->dmb);
}

static uint64_t rx_pos(struct rig *r)
{
	return atomic_load(&r->f.ctl->rx_pos);
}

static ssize_t try_recv(struct rig *r, size_t len, unsigned int flags)
{
	return smcdu_recv(r->ch, r->buf, len, SMCDU_DONTWAIT | flags);
}

static void expect_bell(struct rig *r)
{
	assert_int_equal(fake_message(&r->f), CHAN_BELL);
	atomic_store(&r->f.ctl->bell, 1);
}

static void expect_bytes(struct rig *r, uint64_t pos, size_t len)
{
	assert_int_equal(try_recv(r, SIZE, 0), len);
	pattern_check(r->buf, pos, len);
}

static void expect_urgent(struct rig *r, uint64_t pos)
{
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), 1);
	assert_int_equal(r->buf[0], pattern(pos));
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EINVAL); /* once */
}

/* Read aside before, at and after its place; seen in the CDC, or only by the daemon. */
static void test_in_the_middle(void **state)
{
	struct rig *r = *state;

	for (int i = 0; i < 8; i++) {
		uint64_t at = r->f.prod;
		bool by_daemon = i & 1, early = i & 2, behind = i & 4;

		atomic_store(&r->f.ctl->bell, 1);
		write_urgent(&r->f, 10);
		if (by_daemon)
			daemon_takes(&r->f);
		assert_int_equal(smcdu_events(r->ch) & (SMCDU_PRI | SMCDU_IN | SMCDU_MARK),
			SMCDU_PRI | SMCDU_IN);
		if (early)
			expect_urgent(r, at + 9);
		expect_bytes(r, at, 9);
		/* Its sender waits: the place is given back as soon as the reader gets there. */
		assert_int_equal(smcdu_events(r->ch) & (SMCDU_IN | SMCDU_MARK), SMCDU_MARK);
		assert_int_equal(rx_pos(r), at + 10);
		expect_bell(r);
		if (!by_daemon)
			daemon_takes(&r->f);
		if (behind)
			fake_write(&r->f, 5);
		if (!early)
			expect_urgent(r, at + 9);
		assert_int_equal(smcdu_events(r->ch) & SMCDU_PRI, 0);
		if (behind)
			expect_bytes(r, at + 10, 5);
		else
			assert_int_equal(try_recv(r, SIZE, 0), -EAGAIN);
	}
}

/* The byte at the ring's last place, at its first, and the whole ring before it. */
static void test_at_the_wrap(void **state)
{
	struct rig *r = *state;
	const uint32_t n = r->f.rx_n;
	uint64_t start = 0;

	for (uint32_t behind = 0; behind < 3; behind++) {
		uint64_t end = start + 2 * n - start % n + behind; /* 0: cursor offset 0, byte N-1 */

		while (end - r->f.prod > n) {
			fake_write(&r->f, n / 2);
			expect_bytes(r, r->f.prod - n / 2, n / 2);
		}
		write_urgent(&r->f, end - r->f.prod);
		daemon_takes(&r->f);
		while (try_recv(r, 1000, 0) > 0)
			;
		assert_int_equal(rx_pos(r), end);
		expect_urgent(r, end - 1);
		start = end;
	}
	write_urgent(&r->f, n);
	assert_int_equal(try_recv(r, 2 * SIZE, SMCDU_WAITALL), n - 1);
	expect_urgent(r, r->f.prod - 1);
}

static void test_alone(void **state)
{
	struct rig *r = *state;

	atomic_store(&r->f.ctl->bell, 1);
	write_urgent(&r->f, 1);
	assert_int_equal(try_recv(r, 1, 0), -EAGAIN);
	assert_int_equal(rx_pos(r), 1);
	expect_bell(r);
	expect_urgent(r, 0);
	daemon_takes(&r->f);
	/* An application that never receives it, and only asks for events, holds nobody up. */
	write_urgent(&r->f, 1);
	assert_int_equal(smcdu_events(r->ch) & (SMCDU_PRI | SMCDU_IN), SMCDU_PRI);
	expect_bell(r);
}

/* The first is passed, not received, when the second comes: as in TCP, it is gone. */
static void test_second_replaces_first(void **state)
{
	struct rig *r = *state;

	write_urgent(&r->f, 3);
	expect_bytes(r, 0, 2);
	assert_int_equal(try_recv(r, 1, 0), -EAGAIN);
	daemon_takes(&r->f);
	write_urgent(&r->f, 4);
	daemon_takes(&r->f);
	expect_urgent(r, 6);
	expect_bytes(r, 3, 3);
	assert_int_equal(try_recv(r, 1, 0), -EAGAIN);
	/* A peer that does not wait: the earlier byte is an ordinary one again. */
	write_urgent(&r->f, 5);
	assert_true(smcdu_events(r->ch) & SMCDU_PRI);
	write_urgent(&r->f, 5);
	expect_urgent(r, 16);
	assert_int_equal(try_recv(r, 9, SMCDU_WAITALL), 9);
	pattern_check(r->buf, 7, 9);
}

static void test_close_behind(void **state)
{
	struct rig *r = *state;

	write_urgent(&r->f, 6);
	daemon_takes(&r->f);
	r->f.conn_flags = CDC_CONN_CLOSED;
	fake_cdc(&r->f);
	assert_int_equal(smcdu_events(r->ch) & (SMCDU_HUP | SMCDU_PRI), SMCDU_HUP | SMCDU_PRI);
	expect_bytes(r, 0, 5);
	assert_int_equal(try_recv(r, 1, 0), 0);
	expect_urgent(r, 5); /* still there behind the end */
	assert_int_equal(try_recv(r, 1, 0), 0);
}

static void test_announced(void **state)
{
	struct rig *r = *state;

	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EINVAL);
	r->f.prod_flags = CDC_URG_PENDING;
	fake_write(&r->f, 3);
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EAGAIN);
	assert_int_equal(smcdu_recv(r->ch, r->buf, 1, SMCDU_OOB), -EAGAIN); /* never waits */
	r->f.conn_flags = CDC_CONN_CLOSED;
	fake_cdc(&r->f);
	assert_int_equal(try_recv(r, 3, 0), 3);
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), 0);
}

static void test_inline(void **state)
{
	struct rig *r = *state;

	assert_int_equal(smcdu_set_oob_inline(r->ch, 1), 0);
	write_urgent(&r->f, 10);
	assert_true(smcdu_events(r->ch) & SMCDU_PRI);
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EINVAL);
	expect_bytes(r, 0, 9);
	assert_int_equal(smcdu_events(r->ch) & (SMCDU_IN | SMCDU_PRI | SMCDU_MARK),
		SMCDU_IN | SMCDU_PRI | SMCDU_MARK);
	daemon_takes(&r->f);
	fake_write(&r->f, 5);
	atomic_store(&r->f.ctl->bell, 1);
	expect_bytes(r, 9, 1);
	expect_bell(r);
	assert_int_equal(smcdu_events(r->ch) & (SMCDU_PRI | SMCDU_MARK), 0);
	expect_bytes(r, 10, 5);
	/* Back to the usual while one is under way. */
	write_urgent(&r->f, 2);
	assert_true(smcdu_events(r->ch) & SMCDU_PRI);
	assert_int_equal(smcdu_set_oob_inline(r->ch, 0), 0);
	expect_urgent(r, 16);
	expect_bytes(r, 15, 1);
	assert_int_equal(try_recv(r, 1, 0), -EAGAIN);
}

/* Whatever a peer or a daemon says, no byte is read twice and none outside the ring. */
static void test_hostile_marks(void **state)
{
	struct rig *r = *state;
	uint64_t marks[] = { 1, 49, 50, 99, 101, 5000, SIZE, UINT64_MAX, UINT64_MAX - 1 };
	uint64_t pos = 0;

	fake_write(&r->f, 100);
	expect_bytes(r, 0, 100);
	pos = 100;
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		atomic_store(&r->f.ctl->rx_urg, marks[i]);
		fake_write(&r->f, 50);
		while (try_recv(r, 7, 0) > 0)
			;
		pos += 50;
		assert_int_equal(rx_pos(r), pos);
		assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EINVAL);
	}
	/* U over nothing new, U that stays, U with an impossible cursor. */
	atomic_store(&r->f.ctl->rx_urg, 0);
	r->f.prod_flags = CDC_URG_PRESENT;
	fake_cdc(&r->f);
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -EINVAL);
	for (int i = 0; i < 50; i++) {
		fake_write(&r->f, 20);
		while (try_recv(r, 7, 0) > 0)
			;
		pos += 20;
		assert_int_equal(rx_pos(r), pos);
	}
	fake_cdc_raw(&r->f, (struct smc_cursor){ 0, UINT32_MAX }, cursor_of(0, r->f.tx_n));
	assert_int_equal(try_recv(r, 1, 0), -ECONNRESET);
	/* What was accepted before is still delivered. */
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), 1);
	assert_int_equal(r->buf[0], pattern(pos - 1));
	assert_int_equal(try_recv(r, 1, SMCDU_OOB), -ECONNRESET);
}

/* The descriptor, when only the urgent byte is of interest. */
static void test_descriptor(void **state)
{
	struct rig *r = *state;
	struct pollfd p = { .fd = smcdu_channel_fd(r->ch), .events = POLLIN };

	assert_int_equal(smcdu_set_events(r->ch, SMCDU_PRI), 0);
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT);
	assert_int_equal(poll(&p, 1, 0), 0);
	fake_write(&r->f, 10);
	fake_wake(&r->f, CHAN_WAIT_RX);
	assert_int_equal(poll(&p, 1, 5000), 1); /* may have happened */
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT | SMCDU_IN);
	assert_int_equal(poll(&p, 1, 0), 0);
	write_urgent(&r->f, 1);
	fake_wake(&r->f, CHAN_WAIT_RX);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT | SMCDU_IN | SMCDU_PRI);
	expect_urgent(r, 10);
	assert_int_equal(smcdu_events(r->ch), SMCDU_OUT | SMCDU_IN);
	assert_int_equal(poll(&p, 1, 0), 0);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void test_send(void **state)
{
	struct rig *r = *state;
	struct chan_ctl *ctl = r->f.ctl;

	pattern_fill(r->buf, 0, SIZE);
	assert_int_equal(smcdu_send(r->ch, r->buf, 10, 0), 10);
	assert_int_equal(atomic_load(&ctl->tx_urg), 0);
	assert_int_equal(smcdu_send(r->ch, r->buf + 10, 5, SMCDU_OOB), 5);
	assert_int_equal(atomic_load(&ctl->tx_urg), 15);
	assert_int_equal(atomic_load(&ctl->tx_pos), 15);
	/* Nothing goes until everything is read, however much room there is. */
	assert_int_equal(smcdu_send(r->ch, r->buf + 15, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_events(r->ch) & SMCDU_OUT, 0);
	assert_int_equal(fake_take(&r->f, 14), 14);
	assert_int_equal(smcdu_send(r->ch, r->buf + 15, 1, SMCDU_DONTWAIT | SMCDU_OOB), -EAGAIN);
	assert_int_equal(atomic_load(&ctl->tx_urg), 15);
	assert_int_equal(fake_take(&r->f, 1), 1);
	assert_true(smcdu_events(r->ch) & SMCDU_OUT);
	assert_int_equal(smcdu_send(r->ch, r->buf + 15, 1, SMCDU_DONTWAIT | SMCDU_OOB), 1);
	assert_int_equal(atomic_load(&ctl->tx_urg), 16);
	assert_int_equal(smcdu_send(r->ch, NULL, 0, SMCDU_OOB), 0);
	assert_int_equal(atomic_load(&ctl->tx_urg), 16);
	assert_int_equal(fake_take(&r->f, 1), 1);
	assert_int_equal(smcdu_send(r->ch, r->buf + 16, 100, 0), 100);
}

/* Taken in part: no byte of it is urgent, and sending goes on as ever. */
static void test_send_in_part(void **state)
{
	struct rig *r = *state;
	const uint32_t n = r->f.tx_n;

	pattern_fill(r->buf, 0, 2 * SIZE);
	assert_int_equal(smcdu_send(r->ch, r->buf, n + 1, SMCDU_DONTWAIT | SMCDU_OOB), n);
	assert_int_equal(atomic_load(&r->f.ctl->tx_urg), 0);
	assert_int_equal(fake_take(&r->f, 10), 10);
	assert_int_equal(smcdu_send(r->ch, r->buf + n, 1, SMCDU_DONTWAIT | SMCDU_OOB), 1);
	assert_int_equal(atomic_load(&r->f.ctl->tx_urg), n + 1);
	assert_int_equal(smcdu_send(r->ch, r->buf, 1, SMCDU_DONTWAIT), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_the_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_replaces_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(test_announced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_marks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send_in_part, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
