/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "ism/model/config.h"

static uint32_t get(const struct pci_config *c, uint64_t at, size_t len)
{
	uint8_t b[4] = { 0 };

	assert_int_equal(pci_config_read(c, at, b, len), 0);
	return (uint32_t)(b[0] | b[1] << 8 | b[2] << 16) | (uint32_t)b[3] << 24;
}

static void put(struct pci_config *c, uint64_t at, uint32_t v, size_t len)
{
	uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	assert_int_equal(pci_config_write(c, at, b, len), 0);
}

static void test_identity(void **state)
{
	struct pci_config c;
	uint8_t all[256];

	pci_config_init(&c, 4096);
	assert_int_equal(get(&c, 0, 4), 0x04ed1014);
	assert_int_equal(get(&c, 8, 4), 0); /* class 0 */
	assert_true(get(&c, 6, 2) & 0x10);
	assert_int_equal(get(&c, 0x34, 1), 0x40);
	assert_int_equal(get(&c, 0x40, 2), 0x0005); /* MSI, the last capability */
	assert_int_equal(get(&c, 0x42, 2), 0x0080); /* 64 bit, one vector, off */
	put(&c, 0, 0xffffffff, 4);
	assert_int_equal(get(&c, 0, 4), 0x04ed1014);
	assert_int_equal(pci_config_read(&c, 0, all, 256), 0);
	assert_int_equal(pci_config_read(&c, 1, all, 256), -EINVAL);
	assert_int_equal(pci_config_read(&c, 256, all, 1), -EINVAL);
	assert_int_equal(pci_config_read(&c, UINT64_MAX, all, 2), -EINVAL);
}

static void test_bar_sizing(void **state)
{
	struct pci_config c;
	uint32_t bar;

	pci_config_init(&c, 65536);
	for (bar = 0x10; bar < 0x28; bar += 4)
		put(&c, bar, 0xffffffff, 4);
	assert_int_equal(get(&c, 0x10, 4), 0x00000004); /* 64-bit memory, 2^48 */
	assert_int_equal(get(&c, 0x14, 4), 0xffff0000);
	assert_int_equal(get(&c, 0x18, 4), 0xffff0004);
	assert_int_equal(get(&c, 0x1c, 4), 0xffffffff);
	assert_int_equal(get(&c, 0x20, 4), 0); /* BAR 4 and 5: none */
	assert_int_equal(get(&c, 0x24, 4), 0);
	put(&c, 0x30, 0xffffffff, 4);
	assert_int_equal(get(&c, 0x30, 4), 0); /* no ROM */
	put(&c, 0x18, 0x12340000, 4);
	put(&c, 0x1c, 0, 4);
	assert_int_equal(get(&c, 0x18, 4), 0x12340004);
}

static void test_writes(void **state)
{
	struct pci_config c;
	uint8_t b[8] = { 0 };

	pci_config_init(&c, 4096);
	assert_false(pci_config_master(&c));
	put(&c, 4, 0xffff, 2);
	assert_int_equal(get(&c, 4, 2), 0x0406);
	assert_true(pci_config_master(&c));
	put(&c, 4, 0x02, 1);
	assert_int_equal(get(&c, 4, 2), 0x0402);
	assert_false(pci_config_master(&c));
	put(&c, 0x42, 0xffff, 2);
	assert_int_equal(get(&c, 0x42, 2), 0x0081); /* one vector stays one */
	put(&c, 0x44, 0xffffffff, 4);
	assert_int_equal(get(&c, 0x44, 4), 0xfffffffc);
	assert_int_equal(pci_config_write(&c, 0, b, 8), -EINVAL);
	assert_int_equal(pci_config_write(&c, 0, b, 3), -EINVAL);
	assert_int_equal(pci_config_write(&c, 0, b, 0), -EINVAL);
	assert_int_equal(pci_config_write(&c, 2, b, 4), -EINVAL);
	assert_int_equal(pci_config_write(&c, 256, b, 1), -EINVAL);
	assert_int_equal(pci_config_write(&c, UINT64_MAX, b, 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_bar_sizing),
		cmocka_unit_test(test_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
