/* SPDX-License-Identifier: MIT */
/*
 * fabric_double.c - functions of a kernel, which is a double in this process
 */
#include "rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *ism_transport(int n)
{
	return zpci_caps(ism_zpci(side[n].dev))->transport;
}

/* Instructions that reached the functions. */
static uint64_t model_count(bool stores)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < NFUNC; i++)
		n += stores ? rig.model->fn[i]->count.pcistb : rig.model->fn[i]->count.pcilg;
	return n;
}

/* Everything above went through one transport, and one only. */
static void test_transport(void **state)
{
	const struct ism_double_count *c = ism_double_count();
	struct ism_dmb *dmb = reg(0, 1);
	static uint8_t data[SIZE];

	assert_int_equal(move1(1, dmb, 0, data, sizeof(data), true), 0);
	if (rig.params.kind == ISM_DOUBLE_REGION) {
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

	function_unplug(rig.model->fn[1]);
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
	region = rig.params.kind == ISM_DOUBLE_REGION;
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
	function_enter_error(rig.model->fn[0]);
	assert_int_equal(ism_probe(side[0].dev), -EIO);
	function_leave_error(rig.model->fn[0]);
	assert_int_equal(ism_probe(side[0].dev), -ESTALE);
	assert_int_equal(ism_probe(side[1].dev), 0);
}

int run_double(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(test_transport),
		RIG_TEST(test_unplugged),
		RIG_TEST(test_sources),
		RIG_TEST(test_forgotten),
	};

	return cmocka_run_group_tests_name("double", tests, NULL, NULL);
}
