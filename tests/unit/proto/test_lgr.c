/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/proto/lgr.h"

static const struct lgr_name abcd = { { 'A', 'B', 'C', 'D' } };
static const struct lgr_name abce = { { 'A', 'B', 'C', 'E' } };
static const struct lgr_name none;

/* The words that a big-endian and a little-endian kernel send. */
static void test_event_words(void **state)
{
	const struct lgr_event ev = { .name = abcd, .vlan = 0x0fa1, .code = LGR_REQUEST };
	static const struct {
		enum cdc_order order;
		uint64_t info;
	} rows[] = {
		{ CDC_BIG, UINT64_C(0x414243440fa10001) },
		{ CDC_LITTLE, UINT64_C(0x00010fa144434241) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lgr_event back = lgr_event_unpack(rows[i].info, rows[i].order);

		assert_true(lgr_event_pack(&ev, rows[i].order) == rows[i].info);
		assert_true(lgr_same_name(back.name, abcd));
		assert_int_equal(back.vlan, 0x0fa1);
		assert_int_equal(back.code, LGR_REQUEST);
	}
}

static void test_names(void **state)
{
	struct lgr_name big = lgr_name_of(0x01020304, CDC_BIG);
	struct lgr_name little = lgr_name_of(0x01020304, CDC_LITTLE);

	assert_memory_equal(big.id, "\1\2\3\4", 4);
	assert_memory_equal(little.id, "\4\3\2\1", 4);
	assert_int_equal(lgr_number(big, CDC_BIG), 0x01020304);
	assert_int_equal(lgr_number(little, CDC_LITTLE), 0x01020304);
	assert_false(lgr_named(none));
	for (int i = 0; i < 4; i++) {
		struct lgr_name one = none;

		one.id[i] = 1;
		assert_true(lgr_named(one));
		assert_false(lgr_same_name(one, none));
	}
}

static void test_first_contact(void **state)
{
	assert_int_equal(lgr_choose_server(false), LGR_CREATE);
	assert_int_equal(lgr_choose_server(true), LGR_JOIN);
	assert_int_equal(lgr_choose_client(true, false), LGR_CREATE);
	assert_int_equal(lgr_choose_client(true, true), LGR_CREATE);
	assert_int_equal(lgr_choose_client(false, true), LGR_JOIN);
	assert_int_equal(lgr_choose_client(false, false), LGR_OUT_OF_SYNC);
}

/* A request comes back with code 2 and nothing else changed; nothing else is answered. */
static void test_testlink(void **state)
{
	uint64_t answer = 99;

	assert_true(lgr_event_answer(LGR_EV_TESTLINK, UINT64_C(0x4142434400050001), CDC_BIG,
		&answer));
	assert_true(answer == UINT64_C(0x4142434400050002));
	assert_true(lgr_event_answer(LGR_EV_TESTLINK, UINT64_C(0x0001000544434241), CDC_LITTLE,
		&answer));
	assert_true(answer == UINT64_C(0x0002000544434241));
	answer = 99;
	for (uint64_t code = 0; code < 0x10000; code++) {
		bool due = lgr_event_answer(LGR_EV_TESTLINK, code, CDC_BIG, &answer);

		assert_int_equal(due, code == LGR_REQUEST);
		if (!due)
			continue;
		assert_int_equal(answer, LGR_RESPONSE);
		answer = 99;
	}
	assert_false(lgr_event_answer(LGR_EV_SHUTDOWN, LGR_REQUEST, CDC_BIG, &answer));
	assert_false(lgr_event_answer(LGR_EV_TESTLINK + 1, LGR_REQUEST, CDC_BIG, &answer));
	assert_true(answer == 99);
}

static void test_shutdown(void **state)
{
	const struct {
		struct lgr_name said, peers;
		uint16_t said_vlan, vlan;
		bool ends;
	} rows[] = {
		{ abcd, abcd, 0, 0, true },
		{ abcd, abcd, 5, 0, true }, /* a Linux client's VLAN is not its server's */
		{ abcd, abce, 0, 0, false },
		{ abcd, none, 0, 0, false }, /* for an older one: this one's name is not known yet */
		{ none, abcd, 0, 0, true },
		{ none, none, 7, 7, true },
		{ none, abcd, 7, 0, false },
		{ none, abcd, 0, 7, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lgr_event ev = { .name = rows[i].said, .vlan = rows[i].said_vlan,
			.code = LGR_REQUEST };

		assert_int_equal(lgr_shutdown_ends(&ev, rows[i].peers, rows[i].vlan), rows[i].ends);
	}
}

static void test_state_names(void **state)
{
	assert_string_equal(lgr_state_name(LGR_MAKING), "making");
	assert_string_equal(lgr_state_name(LGR_USABLE), "usable");
	assert_string_equal(lgr_state_name(LGR_LEAVING), "leaving");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_event_words),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_first_contact),
		cmocka_unit_test(test_testlink),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_state_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
