/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/daemon/messages.h"
#include "smcd/ipc/chan.h"

static struct ipc_connect good_connect(void)
{
	return (struct ipc_connect){ .hdr = ipc_hdr(IPC_CONNECT), .peer = "guest-b",
		.service = "echo" };
}

static void connect_message(void **state)
{
	struct ipc_connect m = good_connect();

	assert_int_equal(ipc_check_connect(&m, sizeof(m)), 0);
	assert_int_equal(ipc_check_connect(&m, sizeof(m) - 1), -EPROTO);
	assert_int_equal(ipc_check_connect(&m, sizeof(m) + 1), -EPROTO);
	assert_int_equal(ipc_check_listen(&m, sizeof(m)), -EPROTO);
	memset(m.peer, 'a', sizeof(m.peer));
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m.peer[sizeof(m.peer) - 1] = '\0'; /* the longest name */
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), 0);
	memset(m.service, 'a', sizeof(m.service));
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m = good_connect();
	m.peer[0] = '\0';
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m = good_connect();
	m.path = IPC_PATH_ATTACHED + 1;
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m = good_connect();
	m.reserved = 1;
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m = good_connect();
	m.hdr.magic ^= 1;
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m = good_connect();
	m.hdr.version++;
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
}

static void listen_message(void **state)
{
	struct ipc_listen m = { .hdr = ipc_hdr(IPC_LISTEN), .service = "echo" };

	assert_int_equal(ipc_check_listen(&m, sizeof(m)), 0);
	assert_int_equal(ipc_check_listen(&m, sizeof(m) - 1), -EPROTO);
	assert_int_equal(ipc_check_connect(&m, sizeof(m)), -EPROTO);
	m.path = IPC_PATH_ATTACHED + 1;
	assert_int_equal(ipc_check_listen(&m, sizeof(m)), -EPROTO);
	m.path = 0;
	memset(m.service, 'x', sizeof(m.service));
	assert_int_equal(ipc_check_listen(&m, sizeof(m)), -EPROTO);
}

static void query_message(void **state)
{
	struct ipc_query m = { .hdr = ipc_hdr(IPC_QUERY) };
	uint32_t what;

	for (what = 0; what < 8; what++) {
		m.what = what;
		assert_int_equal(ipc_check_query(&m, sizeof(m)),
			what >= IPC_Q_DEVICE && what <= IPC_Q_FAILURE ? 0 : -EPROTO);
	}
	m.what = IPC_Q_STATS;
	m.reserved = 1;
	assert_int_equal(ipc_check_query(&m, sizeof(m)), -EPROTO);
}

static void capture_message(void **state)
{
	struct ipc_capture m = { .hdr = ipc_hdr(IPC_CAPTURE) };
	uint32_t what;

	for (what = 0; what < 8; what++) {
		m.what = what;
		assert_int_equal(ipc_check_capture(&m, sizeof(m)),
			what >= 1 && what <= IPC_CAPTURE_ALL ? 0 : -EPROTO);
	}
	m.what = IPC_CAPTURE_CLC;
	assert_int_equal(ipc_check_capture(&m, sizeof(m) - 1), -EPROTO);
	assert_int_equal(ipc_check_query(&m, sizeof(m)), -EPROTO);
	m.reserved = 1;
	assert_int_equal(ipc_check_capture(&m, sizeof(m)), -EPROTO);
}

static void simple_message(void **state)
{
	struct ipc_simple m = { .hdr = ipc_hdr(CHAN_BELL) };
	uint16_t type = 0;

	assert_int_equal(ipc_check_simple(&m, sizeof(m), &type), 0);
	assert_int_equal(type, CHAN_BELL);
	assert_int_equal(ipc_check_simple(&m, sizeof(m) - 1, &type), -EPROTO);
	m.hdr.magic = 0;
	assert_int_equal(ipc_check_simple(&m, sizeof(m), &type), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect_message),
		cmocka_unit_test(listen_message),
		cmocka_unit_test(query_message),
		cmocka_unit_test(capture_message),
		cmocka_unit_test(simple_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
