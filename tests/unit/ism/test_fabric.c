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
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ism/proto.h"

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
	assert_int_equal(rig_open(1), 0);
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
	assert_int_equal(zpci_run(z, &map, 1, v, 3, &done), -EINVAL); /* it could shrink */
	assert_false(map.done);
	assert_int_equal(done, 0);
	assert_memory_equal(out, untouched, sizeof(out));

	map.fd = good;
	assert_int_equal(zpci_run(z, &map, 1, v, 3, &done), 0);
	assert_true(map.done);
	assert_int_equal(done, 3);
	assert_int_equal(load_be64(out + 8), ism_gid(side[0].dev));
	assert_int_equal(zpci_run(z, &map, 1, v, 3, &done), -EEXIST); /* mapped already */

	v[1].s.offset = 7; /* refused before anything is submitted */
	assert_int_equal(zpci_run(z, NULL, 0, v, 3, &done), -EINVAL);
	read_gid_steps(v, out);
	v[1].s.pcias = 0; /* a window for writing only: what follows is not executed */
	assert_int_equal(zpci_run(z, NULL, 0, v, 3, &done), -EIO);
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

/* While that is put off they stay, but not too many of them. */
static void test_put_off(void **state)
{
	const struct ism_counters *c = ism_counters(side[0].dev);
	uint64_t commands;

	POLL_UNTIL(0, c->quarantined == 0);
	ism_put_off(side[0].dev, true);
	ism_retire_dmb(side[0].dev, reg(0, 1));
	commands = c->commands;
	for (int i = 0; i < 20; i++) {
		ism_poll(side[0].dev);
		usleep(1000);
	}
	assert_int_equal(c->quarantined, 1);
	assert_int_equal(c->commands, commands);
	for (int i = 0; i < 100; i++)
		ism_retire_dmb(side[0].dev, reg(0, 1));
	POLL_UNTIL(0, c->quarantined < 100);
	ism_put_off(side[0].dev, false);
	POLL_UNTIL(0, c->quarantined == 0);
}

/* A refusal concerns its own DMB, whatever travels with it. */
static void test_retire_refused(void **state)
{
	struct ism_dmb *dmb[3] = { reg(0, 1), reg(0, 1), reg(0, 1) };
	const uint32_t idx[3] = { dmb[0]->idx, dmb[1]->idx, dmb[2]->idx };
	const struct ism_counters *c = ism_counters(side[0].dev);

	POLL_UNTIL(0, c->quarantined == 0);
	rig_tell("fault 0 fail-command 1 0x0108");
	for (int i = 0; i < 3; i++)
		ism_retire_dmb(side[0].dev, dmb[i]);
	POLL_UNTIL(0, c->quarantined == 0);
	assert_int_equal(side[0].dev->dmbs[idx[0]]->state, ISM_DMB_KEPT);
	assert_null(side[0].dev->dmbs[idx[1]]);
	assert_null(side[0].dev->dmbs[idx[2]]);
	assert_int_equal(ism_probe(side[0].dev), 0);
}

/* Where the address of memory is the device's, too, it is as aligned as a function may want it. */
static void test_alignment(void **state)
{
	struct ism_dmb *dmb;

	rig_tell("knob dmb_cross_1m 0");
	for (uint32_t size = ISM_DMB_MIN_SIZE; size <= ISM_DMB_MAX_SIZE; size *= 2) {
		char line[40];

		snprintf(line, sizeof(line), "knob dmb_align %u", size);
		rig_tell(line);
		for (int i = 0; i < 5; i++) {
			void *odd = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			assert_int_equal(ism_register_dmb(side[0].dev, ism_gid(side[1].dev), size,
						 NULL, &dmb), 0);
			assert_int_equal(dmb->iova % size, 0);
			munmap(odd, 4096);
		}
	}
}

/* Several at once are in one exchange, and each is a DMB like any other. */
static void test_register_together(void **state)
{
	struct ism_dmb *dmb[ISM_REG_BATCH + 1] = { 0 };
	const struct zpci_counters *c = zpci_counters(ism_zpci(side[0].dev));
	uint64_t before = c->batches, word = 5;

	assert_int_equal(ism_register_dmbs(side[0].dev, ism_gid(side[1].dev), SIZE, NULL, dmb,
				 ISM_REG_BATCH + 1), ISM_REG_BATCH);
	assert_int_equal(c->batches, before + 1);
	assert_null(dmb[ISM_REG_BATCH]);
	for (unsigned int i = 0; i < ISM_REG_BATCH; i++) {
		word++;
		assert_int_equal(move1(1, dmb[i], 8 * i, &word, 8, true), 0);
		assert_memory_equal((uint8_t *)dmb[i]->va + 8 * i, &word, 8);
		side[0].signals = 0;
		POLL_UNTIL(0, side[0].signals > 0);
		assert_ptr_equal(side[0].dmb, dmb[i]);
	}
}

/* Files made ahead are DMBs like any other, and whoever is to look only cannot write them. */
static void test_prepared(void **state)
{
	struct ism_dmb *dmb[4] = { 0 };
	uint64_t word = 7;
	unsigned int over;

	for (int i = 0; i < 3; i++)
		assert_true(ism_prepare_dmb(side[0].dev, SIZE, 3));
	assert_false(ism_prepare_dmb(side[0].dev, SIZE, 3));
	assert_false(ism_prepare_dmb(side[0].dev, SIZE + 1, 9));
	assert_int_equal(ism_register_dmbs(side[0].dev, ism_gid(side[1].dev), SIZE, NULL, dmb, 4), 4);
	assert_int_equal(side[0].dev->files.nspare, 0);
	for (int i = 0; i < 4; i++) {
		int ro = ism_dmb_readonly(dmb[i]);

		assert_true(ro >= 0);
		assert_ptr_equal(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), MAP_FAILED);
		fd_closep(&ro);
		word++;
		assert_int_equal(*(uint64_t *)dmb[i]->va, 0);
		assert_int_equal(move1(1, dmb[i], 0, &word, 8, false), 0);
		assert_int_equal(*(uint64_t *)dmb[i]->va, word);
	}
	/* another size takes the place of the one before */
	assert_true(ism_prepare_dmb(side[0].dev, SIZE, 2));
	assert_true(ism_prepare_dmb(side[0].dev, 2 * SIZE, 2));
	assert_int_equal(side[0].dev->files.nspare, 1);
	ism_drop_prepared(side[0].dev);
	assert_int_equal(side[0].dev->files.nspare, 0);
	/* what is over goes while nothing else happens, and is gone when the function sleeps */
	for (int i = 0; i < 4; i++)
		ism_retire_dmb(side[0].dev, dmb[i]);
	POLL_UNTIL(0, ism_counters(side[0].dev)->quarantined == 0);
	over = side[0].dev->files.nover;
	assert_true(over >= 4);
	assert_true(ism_tidy(side[0].dev));
	assert_int_equal(side[0].dev->files.nover, over - 1);
	ism_irq_arm(side[0].dev);
	assert_int_equal(side[0].dev->files.nover, 0);
	assert_false(ism_tidy(side[0].dev));
	ism_irq_disarm(side[0].dev);
}

static unsigned int indexes_used(int n)
{
	unsigned int used = 0;

	for (uint32_t i = ISM_DMB_IDX_MIN; i < ISM_NR_DMBS; i++)
		used += side[n].dev->dmbs[i] != NULL;
	return used;
}

/* A refusal concerns its own DMB; and without memory for one more there are those before it. */
static void test_register_refused(void **state)
{
	struct ism_dmb *dmb[ISM_REG_BATCH] = { 0 };
	const struct ism_counters *c = ism_counters(side[0].dev);
	uint32_t before = c->dmbs, used;
	uint64_t gid = ism_gid(side[1].dev), word = 1;

	rig_tell("fault 0 fail-command 1 0x0108");
	assert_int_equal(ism_register_dmbs(side[0].dev, gid, SIZE, NULL, dmb, 3), 2);
	assert_int_equal(c->dmbs, before + 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(move1(1, dmb[i], 0, &word, 8, false), 0);
	rig_tell("fault 0 fail-command 1 0x0108");
	assert_int_equal(ism_register_dmbs(side[0].dev, gid, SIZE, NULL, dmb, 1), -EIO);
	/* a store that fails: those behind it were not asked for, and are not kept */
	POLL_UNTIL(0, c->quarantined == 0);
	used = indexes_used(0);
	rig_tell("fault 0 fail-store 1");
	assert_int_equal(ism_register_dmbs(side[0].dev, gid, SIZE, NULL, dmb, 3), -EIO);
	assert_int_equal(c->dmbs, before + 2);
	assert_int_equal(c->quarantined, 1);
	assert_int_equal(indexes_used(0), used + 1);
	assert_int_equal(ism_register_dmbs(side[0].dev, gid, SIZE + 1, NULL, dmb, 1), -EINVAL);
	assert_int_equal(ism_probe(side[0].dev), 0);
}

static int run_common(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_profile),
		RIG_TEST(test_every_length),
		RIG_TEST(test_mapped_source),
		RIG_TEST(test_only_the_writer_may),
		RIG_TEST(test_interrupt),
		RIG_TEST(test_events),
		RIG_TEST(test_unregister_tells_the_writer),
		RIG_TEST(test_vlans),
		RIG_TEST(test_reset),
		RIG_TEST(test_close_tells_the_peer),
	};

	return cmocka_run_group_tests_name("common", tests, NULL, NULL);
}

static int run_together(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_run),
		RIG_TEST(test_alignment),
		RIG_TEST(test_register_together),
		RIG_TEST(test_prepared),
		RIG_TEST(test_register_refused),
		RIG_TEST(test_retire),
		RIG_TEST(test_put_off),
		RIG_TEST(test_retire_refused),
	};

	return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	rig.attached = argc > 1 && strcmp(argv[1], "attached") == 0;
	if (argc > 1 && !rig.attached) {
		rig.params.kind = strcmp(argv[1], "bars") ? ISM_DOUBLE_REGION : ISM_DOUBLE_BARS;
		rig.params.region_index = 11;
		return run_common() + run_double();
	}
	rig.program = getenv("ISM_FABRICD");
	if (!rig.program) {
		fprintf(stderr, "ISM_FABRICD does not name a fabric\n");
		return 77;
	}
	return run_common() + run_together() + (rig.attached ? run_windows() : run_offers());
}
