/* SPDX-License-Identifier: MIT */
/*
 * fabric_offers.c - DMBs that are handed to their writers, and a fabric that dies
 */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
	unsigned int before = count_fds(rig.fabric);
	int more[2], got[3];
	uint8_t *p;

	assert_true(ism_can_attach(side[0].dev) && ism_can_attach(side[1].dev));
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(pipe(more), 0);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), 0);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), -EALREADY);
	assert_int_equal(count_fds(rig.fabric), before + 3);
	/* neither the owner nor anybody else */
	assert_int_equal(ism_take_dmb(side[0].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_take_dmb(side[2].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), 0);
	assert_int_equal(ism_take_dmb(side[1].dev, dmb->token, SIZE, got, 3), -ENOENT);
	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, more, 2), -EALREADY);
	assert_int_equal(count_fds(rig.fabric), before);

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
	unsigned int before = count_fds(rig.fabric);
	uint64_t token = dmb->token;
	int got[1];

	assert_int_equal(ism_offer_dmb(side[0].dev, dmb, NULL, 0), 0);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), 0);
	assert_int_equal(ism_take_dmb(side[1].dev, token, SIZE, got, 1), -ENOENT);
	assert_int_equal(count_fds(rig.fabric), before);

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
	assert_int_equal(rig_open(0), 0);
	assert_int_equal(count_fds(rig.fabric), before - 1); /* nor the memory of the first DMB */
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

	rig_end_fabric(SIGKILL);
	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(ism_probe(side[0].dev), -ENODEV);
	assert_int_equal(move1(1, dmb, 0, &word, 8, false), -ENODEV);
	assert_int_equal(ism_unregister_dmb(side[0].dev, dmb), -ENODEV);
	assert_int_equal(ism_poll(side[0].dev), 0);
}

int run_offers(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_attach),
		RIG_TEST(test_offers_end),
		RIG_TEST(test_offers_have_a_limit),
		RIG_TEST(test_fabric_dies),
	};

	return cmocka_run_group_tests_name("offers", tests, NULL, NULL);
}
