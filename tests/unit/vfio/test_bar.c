/* SPDX-License-Identifier: MIT */
/* ism-vfio-pci's BARs: when they are chosen, what reaches them, and every call failing once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "ism/model/function.h"
#include "ism_double.h"
#include "vfio/base/endian.h"
#include "vfio/base/fd.h"
#include "vfio/transport.h"

static struct fabric *model;

static struct ism_double_params params;

static int setup(void **state)
{
	params = (struct ism_double_params){ .kind = ISM_DOUBLE_BARS, .functions = 1,
		.way = VFIO_WAY_GROUP };
	return ism_double_start(&params, &model);
}

static int teardown(void **state)
{
	return ism_double_stop();
}

static int open_door(struct zpci **z)
{
	struct vfio_device *dev;
	int r = ism_double_open(0, &dev);

	return r ? r : zpci_open(dev, z);
}

static void restart(enum ism_double_kind kind, unsigned int caps_version)
{
	assert_int_equal(ism_double_stop(), 0);
	params.kind = kind;
	params.caps_version = caps_version;
	assert_int_equal(ism_double_start(&params, &model), 0);
}

static void test_choice(void **state)
{
	struct zpci *z = NULL;

	assert_int_equal(open_door(&z), 0);
	assert_string_equal(zpci_caps(z)->transport, "ism-vfio-pci");
	assert_int_equal(zpci_caps(z)->vendor, 0x1014);
	assert_int_equal(zpci_caps(z)->device, 0x04ed);
	assert_true(zpci_caps(z)->bar_size[0] == UINT64_C(1) << 48);
	assert_int_equal(zpci_caps(z)->bar_size[1], 0);
	assert_int_equal(zpci_caps(z)->bar_size[2], 4096);
	z = zpci_close(z);
	restart(ISM_DOUBLE_REGION, 2);
	assert_int_equal(open_door(&z), 0);
	assert_string_equal(zpci_caps(z)->transport, "zpci-io-region");
	z = zpci_close(z);
	restart(ISM_DOUBLE_PLAIN, 2);
	assert_int_equal(open_door(&z), -ENOENT);
	assert_null(z);
	assert_int_equal(ism_double_count()->bar_writes + ism_double_count()->bar_reads, 0);
}

/* From the capability; a kernel that says nothing gets what every function takes. */
static void test_longest_store(void **state)
{
	struct zpci *z = NULL;

	assert_int_equal(knob_set(&model->knobs, KNOB_max_store, 1000), 0);
	assert_int_equal(open_door(&z), 0);
	assert_int_equal(zpci_caps(z)->max_store, 1000);
	zpci_close(z);
	restart(ISM_DOUBLE_BARS, 1);
	assert_int_equal(open_door(&z), 0);
	assert_int_equal(zpci_caps(z)->max_store, 128);
	zpci_close(z);
}

/* Loads that the kernel would cut into several, stores beyond the BAR: nothing is submitted. */
static void test_refused_before(void **state)
{
	static const struct {
		uint64_t offset;
		uint16_t len;
		int ret;
	} t[] = {
		{ 0, 8, 0 }, { 8, 8, 0 }, { 0, 4, 0 }, { 4, 4, 0 }, { 2, 2, 0 }, { 7, 1, 0 },
		{ 0, 3, -EINVAL }, { 2, 4, -EINVAL }, { 1, 2, -EINVAL }, { 0, 7, -EINVAL },
		{ 4, 8, -EINVAL }, { 4096, 8, -EINVAL },
	};
	const struct ism_double_count *c = ism_double_count();
	struct zpci_store s = { .offset = UINT64_C(1) << 48, .len = 1, .data = t };
	unsigned int loads = 0;
	uint8_t out[8];
	struct zpci *z = NULL;
	size_t done;

	assert_int_equal(open_door(&z), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(zpci_load(z, 2, t[i].offset, out, t[i].len), t[i].ret);
		loads += t[i].ret == 0;
	}
	assert_int_equal(c->bar_reads, loads);
	assert_int_equal(model->fn[0]->count.pcilg, loads);
	assert_int_equal(zpci_store_blocks(z, &s, 1, &done), -EINVAL);
	/* and should the door ever let it pass: BAR 0 is as long as the regions lie apart */
	assert_true(z->ops->store(z, &s, 1, &done) < 0);
	s.offset--;
	s.len = 2;
	assert_true(z->ops->store(z, &s, 1, &done) < 0);
	assert_true(z->ops->load(z, 2, UINT64_C(5) << 48, out, 8) < 0);
	assert_int_equal(c->bar_writes, 0);
	zpci_close(z);
}

/* A batch is stores one by one, up to the first that fails. */
static void test_batch(void **state)
{
	const struct ism_double_count *c = ism_double_count();
	const uint8_t body[16] = { 0 };
	struct zpci_store v[4];
	struct zpci *z = NULL;
	size_t done = 9;

	assert_int_equal(open_door(&z), 0);
	for (size_t i = 0; i < 4; i++)
		v[i] = (struct zpci_store){ .pcias = 2, .offset = 8 + 15 * i, .data = body + 1,
			.len = 15 };
	assert_int_equal(zpci_store_blocks(z, v, 4, &done), 0);
	assert_int_equal(done, 4);
	assert_int_equal(c->bar_writes, 4);
	assert_int_equal(model->fn[0]->count.pcistb, 4);
	v[2].pcias = 0; /* a token that nobody gave out */
	assert_int_equal(zpci_store_blocks(z, v, 4, &done), -EIO);
	assert_int_equal(done, 2);
	assert_int_equal(c->bar_writes, 7);
	assert_int_equal(zpci_counters(z)->bounced, 0);
	zpci_close(z);
}

static int use_everything(struct zpci **z)
{
	uint64_t iova = 0, word;
	uint8_t *mem;
	int r, fd;

	r = open_door(z);
	if (r < 0)
		return r;
	fd = fd_memfd("test", 4096);
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(mem, MAP_FAILED);
	r = zpci_set_msi(*z, fd);
	if (r == 0)
		r = zpci_dma_map(*z, mem, 4096, fd, 0, &iova);
	if (r == 0)
		r = zpci_store_block(*z, 2, 8, mem, 8);
	if (r == 0)
		r = zpci_load(*z, 2, 0, &word, 8);
	if (r == 0)
		r = zpci_dma_unmap(*z, iova, 4096);
	if (r == 0)
		r = zpci_reset(*z);
	munmap(mem, 4096);
	close(fd);
	return r;
}

/* An error comes out, nothing leaks, and nothing is asked of a device that is gone. */
static void test_each_call_fails_once(void **state)
{
	static const int errnos[] = { EIO, ENXIO, ENODEV, ENOMEM };
	struct zpci *z = NULL;
	unsigned int total;

	assert_int_equal(use_everything(&z), 0);
	zpci_close(z);
	total = ism_double_count()->calls;
	assert_true(total > 20);
	for (size_t e = 0; e < sizeof(errnos) / sizeof(errnos[0]); e++) {
		unsigned int tolerated = 0;

		for (unsigned int nth = 1; nth <= total; nth++) {
			int r;

			z = NULL;
			ism_double_fail(nth, errnos[e]);
			r = use_everything(&z);
			if (r == -ENODEV && z)
				assert_int_equal(zpci_check(z), -ENODEV);
			zpci_close(z);
			/* a node without its module is as good as none */
			assert_true(r == 0 || r == -errnos[e] || r == -EIO || r == -ENOENT);
			tolerated += r == 0;
		}
		ism_double_fail(0, 0);
		/* two interrupts are optional; their absence is not the device's */
		assert_int_equal(tolerated, errnos[e] == ENODEV ? 0 : 2);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_choice),
		T(test_longest_store),
		T(test_refused_before),
		T(test_batch),
		T(test_each_call_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
