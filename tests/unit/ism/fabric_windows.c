/* SPDX-License-Identifier: MIT */
/*
 * fabric_windows.c - stores that are executed in the writer's process
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
	rig_tell("fault 1 fail-store 1");
	expect_move(dmb, 0, -EIO);
	expect_move(dmb, 1, 0);
	rig_tell("knob torn_writes 1");
	expect_move(dmb, 0, 0);
	rig_tell("knob torn_writes 0");
	rig_tell("knob ieq_overflow 1"); /* no business of a store */
	expect_move(dmb, 1, 0);
	rig_tell("fault 1 slow 1");
	expect_move(dmb, 0, 0);
	rig_tell("clear 1");
	expect_move(dmb, 1, 0);
	rig_tell("knob attach_stores 0");
	expect_move(dmb, 0, 0);
	assert_int_equal(ism_consent(side[2].dev, ism_gid(side[1].dev)), -EOPNOTSUPP);
	rig_tell("knob attach_stores 1");
	rig_tell("fault 0 error");
	expect_move(dmb, 0, -EIO); /* the owner's error state */
	rig_tell("knob error_keeps 1");
	rig_tell("clear 0");
	rig_tell("knob error_keeps 0");
	expect_move(dmb, 1, 0);
	rig_tell("fault 1 error");
	expect_move(dmb, 0, -EIO);
}

/* The costed mode charges a window's stores, too. */
static void test_windows_cost(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	uint64_t begin;

	rig_tell("knob store_ns 200000");
	rig_tell("knob store_ps_byte 1000000");
	begin = clock_ns();
	expect_move(dmb, 1, 0);
	assert_true(clock_ns() - begin >= 208000);
	rig_tell("knob store_ns 0");
	rig_tell("knob store_ps_byte 0");
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
	assert_int_equal(rig_open(1), 0);
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

/* ---- DMBs that are handed over ---------------------------------------------------------------- */

/* Functions 0 and 1 let each other write, as two daemons do that are linked. */
static void befriend(void)
{
	for (int i = 0; i < 2; i++)
		assert_int_equal(ism_consent(side[i].dev, ism_gid(side[!i].dev)), 0);
	for (int i = 0; i < 2; i++) { /* so that all the descriptors for it are there */
		struct ism_bell *ring;

		assert_int_equal(ism_ring_of(side[i].dev, ism_gid(side[!i].dev), &ring), 0);
	}
}

/* Of function 0, for function 1, which has no window on it yet. */
static struct ism_dmb *fresh(void)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(side[0].dev, ism_gid(side[1].dev), SIZE, NULL, &dmb), 0);
	return dmb;
}

static int receive(const struct ism_dmb *dmb, int *fds, unsigned int nfds)
{
	return ism_receive_dmb(side[1].dev, ism_gid(side[0].dev), dmb->token, SIZE, fds, nfds);
}

static unsigned int own_fds(void)
{
	unsigned int n = 0;

	for (int i = 0; i < 4096; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void test_hand(void **state)
{
	struct ism_dmb *dmb;
	int more[2], got[2];
	uint8_t *p;

	befriend();
	dmb = fresh();
	assert_int_equal(receive(dmb, got, 2), -ENOENT);
	assert_int_equal(pipe(more), 0);
	assert_int_equal(ism_hand_dmb(side[0].dev, dmb, true, &more[1], 1), 0);
	/* for nobody else */
	assert_int_equal(ism_receive_dmb(side[2].dev, ism_gid(side[0].dev), dmb->token, SIZE, got, 2),
		-EOPNOTSUPP);
	expect_move(dmb, 0, 0);
	assert_int_equal(receive(dmb, got, 2), 0);
	assert_int_equal(receive(dmb, got, 2), -ENOENT);
	/* the application could write it, the driver leaves it to it */
	expect_move(dmb, 0, 0);
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, got[0], 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[SIZE - 1] = 99;
	assert_int_equal(((uint8_t *)dmb->va)[SIZE - 1], 99);
	munmap(p, SIZE);
	assert_int_equal(write(got[1], "x", 1), 1);
	assert_int_equal(read(more[0], &(char){ 0 }, 1), 1);
	for (int i = 0; i < 2; i++) {
		close(got[i]);
		close(more[i]);
	}
	/* until it asks for it */
	assert_int_equal(ism_map_dmb(side[1].dev, ism_gid(side[0].dev), dmb->token, SIZE), 0);
	expect_move(dmb, 1, 0);
	ism_unmap_dmb(side[1].dev, dmb->token);
	expect_move(dmb, 0, 0);
}

/* What the owner did not mean for an application none gets; and the order does not matter. */
static void test_hand_for_the_driver(void **state)
{
	struct ism_dmb *dmb[3];
	unsigned int fds;
	int got[1];

	befriend();
	for (int i = 0; i < 3; i++)
		dmb[i] = fresh();
	fds = own_fds();
	for (int i = 0; i < 3; i++)
		assert_int_equal(ism_hand_dmb(side[0].dev, dmb[i], i == 1, NULL, 0), 0);
	assert_int_equal(receive(dmb[2], NULL, 0), 0);
	/* the driver writes it itself from now on, and the signals arrive */
	side[0].signals = 0;
	expect_move(dmb[2], 1, 0);
	POLL_UNTIL(0, side[0].signals > 0);
	assert_ptr_equal(side[0].dmb, dmb[2]);
	/* mapped already: nothing is asked of the fabric */
	assert_int_equal(ism_map_dmb(side[1].dev, ism_gid(side[0].dev), dmb[2]->token, SIZE), 0);
	expect_move(dmb[2], 1, 0);
	assert_int_equal(receive(dmb[0], got, 1), -ENXIO);
	expect_move(dmb[0], 1, 0);
	/* one that is smaller than it was said to be */
	assert_int_equal(ism_receive_dmb(side[1].dev, ism_gid(side[0].dev), dmb[1]->token, 2 * SIZE, got,
				 1), -EPROTO);
	expect_move(dmb[1], 0, 0);
	assert_int_equal(own_fds(), fds);
	/* and one that ended on its way: the fabric knows */
	assert_int_equal(ism_hand_dmb(side[0].dev, dmb[1], true, NULL, 0), 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb[1]), 0);
	assert_int_equal(ism_receive_dmb(side[1].dev, ism_gid(side[0].dev), dmb[1]->token, SIZE, got, 1),
		0);
	close(got[0]);
}

/* Between functions that did not both consent there is no such way. */
static void test_hand_wants_consent(void **state)
{
	struct ism_dmb *dmb;

	assert_int_equal(ism_register_dmb(side[2].dev, ism_gid(side[1].dev), SIZE, NULL, &dmb), 0);
	assert_int_equal(ism_hand_dmb(side[2].dev, dmb, true, NULL, 0), -ENOENT);
	assert_int_equal(ism_consent(side[1].dev, ism_gid(side[2].dev)), 0);
	assert_int_equal(ism_hand_dmb(side[2].dev, dmb, true, NULL, 0), 0);
	/* its owner did not: the fabric has no slot, and stores go there */
	assert_int_equal(ism_receive_dmb(side[1].dev, ism_gid(side[2].dev), dmb->token, SIZE, NULL, 0), 0);
	expect_move(dmb, 0, 0);
}

/* Nonsense is dropped with its descriptors, and too much waits where it is. */
static void test_hand_hostile(void **state)
{
	struct ism_dmb *dmb, *last;
	struct attach_hand m = { .magic = ATTACH_HAND_MAGIC };
	unsigned int fds, n;
	int sock, got[1], five[5];

	befriend();
	dmb = fresh();
	last = fresh();
	assert_int_equal(ism_hand_dmb(side[0].dev, dmb, true, NULL, 0), 0);
	assert_int_equal(receive(dmb, got, 1), 0);
	close(got[0]);
	sock = side[0].dev->windows.rings->hands.sock;
	fds = own_fds();
	for (int i = 0; i < 5; i++)
		five[i] = dmb->fd;
	assert_int_equal(fd_send(sock, &m, 3, five, 1, 0), 3);
	assert_int_equal(fd_send(sock, &m, sizeof(m), five, 5, 0), sizeof(m));
	assert_int_equal(fd_send(sock, &m, sizeof(m), NULL, 0, 0), sizeof(m));
	m.token = 7;
	assert_int_equal(fd_send(sock, &m, sizeof(m), five, 4, 0), sizeof(m));
	m = (struct attach_hand){ .magic = ATTACH_HAND_MAGIC, .token = last->token, .len = SIZE,
		.idx = ISM_NR_DMBS, .use = 1 };
	assert_int_equal(fd_send(sock, &m, sizeof(m), five, 1, 0), sizeof(m));
	assert_int_equal(receive(last, got, 1), -EPROTO); /* a bell it does not have */
	for (n = 0; n < 2 * ISM_HANDS_MAX; n++) {
		if (ism_hand_dmb(side[0].dev, n ? dmb : last, true, NULL, 0) < 0)
			break;
	}
	assert_in_range(n, 2, ISM_HANDS_MAX);
	assert_int_equal(ism_hand_dmb(side[0].dev, dmb, true, NULL, 0), -EAGAIN);
	assert_int_equal(receive(last, got, 1), 0);
	close(got[0]);
	assert_int_equal(ism_receive_dmb(side[1].dev, ism_gid(side[0].dev), 1, SIZE, got, 1), -ENOENT);
	assert_true(own_fds() > fds);
	ism_forget_peer(side[1].dev, ism_gid(side[0].dev));
	assert_true(own_fds() <= fds);
}

/* Who looks by itself is not woken. */
static void test_windows_awake(void **state)
{
	struct ism_dmb *dmb = reg(0, 1);
	struct pollfd p = { .fd = ism_irq_fd(side[0].dev), .events = POLLIN };

	while (ism_poll(side[0].dev) || ism_irq_arm(side[0].dev))
		;
	ism_irq_ack(side[0].dev);
	ism_irq_disarm(side[0].dev);
	expect_move(dmb, 1, 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_true(ism_irq_arm(side[0].dev));
	POLL_UNTIL(0, side[0].signals > 0);
}

int run_windows(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_windows_count),
		RIG_TEST(test_windows_end),
		RIG_TEST(test_windows_shut),
		RIG_TEST(test_windows_cost),
		RIG_TEST(test_windows_are_authorised),
		RIG_TEST(test_windows_wake),
		RIG_TEST(test_windows_awake),
		RIG_TEST(test_hand),
		RIG_TEST(test_hand_for_the_driver),
		RIG_TEST(test_hand_wants_consent),
		RIG_TEST(test_hand_hostile),
	};

	return cmocka_run_group_tests_name("windows", tests, NULL, NULL);
}
