/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake.h"
#include "ism/cmd.h"

static struct fake f;
static struct ism_port port;

static int setup(void **state)
{
	fake_init(&f);
	port = (struct ism_port){ .z = fake_open(&f), .name = "test" };
	return 0;
}

static int teardown(void **state)
{
	zpci_close(port.z);
	return 0;
}

/* The one command sent: its body at 8 first, its header at 0 last, together @want. */
static void assert_sent(const char *want)
{
	char got[200] = "";
	size_t n = fake_count(&f, 'S');
	const struct fake_op *hdr = fake_nth(&f, 'S', n - 1);

	assert_int_equal(hdr->pcias, 2);
	assert_int_equal(hdr->offset, 0);
	assert_int_equal(hdr->len, 8);
	for (size_t i = 0; i < 8; i++)
		sprintf(got + strlen(got), "%02x", hdr->data[i]);
	if (n == 2) {
		const struct fake_op *body = fake_nth(&f, 'S', 0);

		assert_int_equal(body->pcias, 2);
		assert_int_equal(body->offset, 8);
		for (size_t i = 0; i < body->len; i++)
			sprintf(got + strlen(got), "%02x", body->data[i]);
	} else {
		assert_int_equal(n, 1);
	}
	assert_string_equal(got, want);
	f.nlog = 0;
}

static void test_vectors(void **state)
{
	const struct ism_dmb dmb = { .iova = UINT64_C(0x100100000), .size = 16384, .idx = 32,
		.rgid = UINT64_C(0x0123456789abcdef) };
	uint64_t token = 0;

	assert_int_equal(ism_cmd_reg_dmb(&port, &dmb, &token), 0);
	assert_true(token == UINT64_C(0x123400000000));
	assert_sent("0000000a0000002800000001001000000000400000000020"
		    "00000000000000000123456789abcdef");
	assert_int_equal(ism_cmd_signal_ieq(&port, UINT64_C(0x1123456789abcdef), 0x83,
				 UINT64_C(0x4142434400000001)), 0);
	assert_sent("0000000e000000201123456789abcdef00000001000000834142434400000001");
}

static void test_every_command(void **state)
{
	struct ism_resp_query_info info;
	uint64_t gid;

	assert_int_equal(ism_cmd_reg_sba(&port, UINT64_C(0x1122334455667000)), 0);
	assert_sent("00000001000000101122334455667000");
	assert_int_equal(ism_cmd_reg_ieq(&port, UINT64_C(0x1122334455668000)), 0);
	assert_sent("000000020000001811223344556680000000000000000200");
	assert_int_equal(ism_cmd_read_gid(&port, &gid), 0);
	assert_true(gid == FAKE_GID);
	assert_sent("0000000300000008");
	assert_int_equal(ism_cmd_add_vlan(&port, 0x1fff), 0);
	assert_sent("00000004000000100000000000001fff");
	assert_int_equal(ism_cmd_del_vlan(&port, 7), 0);
	assert_sent("00000005000000100000000000000007");
	assert_int_equal(ism_cmd_query_info(&port, &info), 0);
	assert_int_equal(be32_get(info.version), 2);
	assert_int_equal(be32_get(info.max_len), 0x100000);
	assert_int_equal(fake_count(&f, 'L'), 25);
	assert_sent("0000000800000008");
	assert_int_equal(ism_cmd_query_rgid(&port, 5, true, 0x1fff), 0);
	assert_sent("0000000900000018000000000000000500000001" "00001fff");
	assert_int_equal(ism_cmd_unreg_sba(&port), 0);
	assert_sent("0000001100000008");
	assert_int_equal(ism_cmd_unreg_ieq(&port), 0);
	assert_sent("0000001200000008");
	f.ret[0x0b] = 9;
	assert_int_equal(ism_cmd_unreg_dmb(&port, UINT64_C(0x123400000000)), -EIO);
	assert_sent("0000000b000000100000123400000000");
	assert_int_equal(port.counters.commands, 10);
	assert_int_equal(port.counters.command_errors, 1);
	assert_int_equal(port.answered, 9);
}

static void test_stops_at_failing_store(void **state)
{
	for (long at = 0; at < 2; at++) {
		f.nlog = 0;
		f.fail_store = at;
		port.last_ret = 0;
		assert_int_equal(ism_cmd_reg_sba(&port, 4096), -EIO);
		assert_int_equal(port.last_ret, 0xffff);
		assert_int_equal(fake_count(&f, 'S'), at + 1);
		assert_int_equal(fake_count(&f, 'L'), 0);
	}
	assert_int_equal(ism_cmd_reg_sba(&port, 4096), 0);
}

static void test_failing_loads(void **state)
{
	uint64_t gid = 77;

	for (long at = 0; at < 2; at++) {
		f.nlog = 0;
		f.fail_load = at;
		assert_int_equal(ism_cmd_read_gid(&port, &gid), -EIO);
		assert_int_equal(port.last_ret, 0xffff);
		assert_int_equal(fake_count(&f, 'L'), at + 1);
	}
	assert_int_equal(gid, 77);
	assert_int_equal(port.answered, 0);
}

static void test_reply_lengths(void **state)
{
	static const uint16_t bad[] = { 1, 7, 8, 12, 15, 17, 20, 201, 208, 256, 0xfff8, 0xffff };
	uint64_t gid = 77;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f.nlog = 0;
		f.reply_len[3] = bad[i];
		assert_int_equal(ism_cmd_read_gid(&port, &gid), -EIO);
		assert_int_equal(port.last_ret, 0xffff);
		assert_int_equal(fake_count(&f, 'L'), 1);
	}
	assert_int_equal(gid, 77);
	f.reply_len[3] = 24; /* longer than asked for, but a reply */
	assert_int_equal(ism_cmd_read_gid(&port, &gid), 0);
	assert_true(gid == FAKE_GID);
	f.reply_len[3] = 200;
	assert_int_equal(ism_cmd_read_gid(&port, &gid), 0);
	f.reply_len[1] = 7;
	assert_int_equal(ism_cmd_reg_sba(&port, 4096), -EIO);
	/* A refusal is one whatever its length says. */
	f.ret[1] = 3;
	assert_int_equal(ism_cmd_reg_sba(&port, 4096), -EIO);
	assert_int_equal(port.last_ret, 3);
}

static void test_return_codes(void **state)
{
	static const uint16_t rets[] = { 1, 0x1234, 0xfffe, 0xffff };
	uint64_t gid = 77;

	for (size_t i = 0; i < sizeof(rets) / sizeof(rets[0]); i++) {
		f.nlog = 0;
		f.ret[3] = f.ret[9] = rets[i];
		assert_int_equal(ism_cmd_read_gid(&port, &gid), -EIO);
		assert_int_equal(port.last_ret, rets[i]);
		assert_int_equal(fake_count(&f, 'L'), 1);
		assert_int_equal(ism_cmd_query_rgid(&port, 5, false, 0),
			rets[i] == 0xffff ? -EIO : -ENETUNREACH);
		assert_int_equal(port.last_ret, rets[i]);
	}
	assert_int_equal(gid, 77);
	/* Unreachable is an answer, not an error. */
	assert_int_equal(port.counters.command_errors, 5);
}

static void test_gone_is_final(void **state)
{
	static const int errors[] = { -ENODEV, -ETIMEDOUT };

	for (size_t i = 0; i < 2; i++) {
		port.gone = false;
		f.error = errors[i];
		f.fail_store = 0;
		assert_int_equal(ism_cmd_unreg_sba(&port), -ENODEV);
		f.nlog = 0;
		port.last_ret = 5;
		assert_int_equal(ism_cmd_unreg_sba(&port), -ENODEV);
		assert_int_equal(port.last_ret, 0xffff);
		assert_int_equal(f.nlog, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_vectors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_command, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stops_at_failing_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failing_loads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reply_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_return_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone_is_final, setup, teardown),
	};

	return cmocka_run_group_tests_name("ism cmd", tests, NULL, NULL);
}
