/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfio/user/negotiate.h"

static char reply[VU_MAX_VERSION];

static int negotiate(const char *json, struct vu_limits *l)
{
	memset(reply, 0x55, sizeof(reply));
	return vu_negotiate(json, strlen(json) + 1, l, reply, sizeof(reply));
}

static void test_defaults(void **state)
{
	struct vu_limits l;

	assert_int_equal(vu_negotiate(NULL, 0, &l, reply, sizeof(reply)), 0);
	assert_int_equal(l.max_xfer, VU_MAX_DATA_XFER);
	assert_int_equal(l.max_dma_maps, VU_MAX_DMA_MAPS);
	assert_false(l.iova_is_va || l.chain);
	assert_int_equal(negotiate("{}", &l), 3);
	assert_string_equal(reply, "{}");
	assert_int_equal(negotiate(" { \"capabilities\" : { } } \n", &l),
		sizeof("{\"capabilities\":{}}"));
	assert_int_equal(l.max_xfer, VU_MAX_DATA_XFER);
}

static void test_qemu(void **state)
{
	static const char qemu[] =
		"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \"max_dma_maps\": 65535, "
		"\"max_data_xfer_size\": 1048576, \"migration\": {\"pgsize\": 4096, "
		"\"max_bitmap_size\": 268435456}, \"write_multiple\": true}}";
	struct vu_limits l;
	int len = negotiate(qemu, &l);

	assert_in_range(len, 1, sizeof(qemu)); /* it reads the reply into the request's buffer */
	assert_int_equal(reply[len - 1], 0);
	assert_null(strstr(reply, "write_multiple"));
	assert_null(strstr(reply, "migration"));
	assert_null(strstr(reply, "smcd_user"));
	assert_non_null(strstr(reply, "\"max_msg_fds\":16"));
	assert_non_null(strstr(reply, "\"pgsizes\":4096"));
	assert_false(l.iova_is_va || l.chain);
}

static void test_subset(void **state)
{
	struct vu_limits l;

	assert_true(negotiate("{\"capabilities\":{\"max_msg_fds\":2,\"max_data_xfer_size\":4096,"
			      "\"max_dma_maps\":9,\"pgsizes\":2101248,"
			      "\"smcd_user\":{\"chain\":true,\"iova_is_va\":false}}}",
			    &l) > 0);
	assert_string_equal(reply, "{\"capabilities\":{\"max_data_xfer_size\":4096,"
				   "\"max_dma_maps\":9,\"max_msg_fds\":2,\"pgsizes\":4096,"
				   "\"smcd_user\":{\"chain\":true}}}");
	assert_int_equal(l.max_xfer, 4096);
	assert_int_equal(l.max_dma_maps, 9);
	assert_true(l.chain);
	assert_false(l.iova_is_va);
	/* more than we have: ours */
	assert_true(negotiate("{\"capabilities\":{\"max_msg_fds\":17,\"max_data_xfer_size\":"
			      "99999999999999999999,\"max_dma_maps\":65536}}",
			    &l) > 0);
	assert_string_equal(reply, "{\"capabilities\":{\"max_data_xfer_size\":1048576,"
				   "\"max_dma_maps\":65535,\"max_msg_fds\":16}}");
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"", "x", "[]", "3", "null", "{", "{}x", "{} {}", "\"capabilities\"",
		"{\"capabilities\":3}", "{\"capabilities\":[]}", "{\"capabilities\":null}",
		"{\"capabilities\":{\"max_msg_fds\":0}}", "{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"max_msg_fds\":\"16\"}}",
		"{\"capabilities\":{\"max_dma_maps\":0}}",
		"{\"capabilities\":{\"max_data_xfer_size\":1.5}}",
		"{\"capabilities\":{\"pgsizes\":8192}}", "{\"capabilities\":{\"pgsizes\":null}}",
		"{\"capabilities\":{\"smcd_user\":true}}",
		"{\"a\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]}",
	};
	struct vu_limits l = { .max_xfer = 77 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(negotiate(bad[i], &l), -EINVAL);
	assert_int_equal(l.max_xfer, 77);
	assert_int_equal(reply[0], 0x55);
	/* not terminated, and a NUL inside */
	assert_int_equal(vu_negotiate("{}", 2, &l, reply, sizeof(reply)), -EINVAL);
	assert_int_equal(vu_negotiate("{}\0", 4, &l, reply, sizeof(reply)), -EINVAL);
	assert_int_equal(vu_negotiate("{}", 3, &l, reply, 2), -ENOBUFS);
	assert_int_equal(vu_negotiate("{}", 3, &l, reply, 3), 3);
}

/* The message around it. */
static int version(struct rig *r, uint16_t major, uint16_t minor, const char *json, struct reply *a)
{
	size_t len = json ? strlen(json) + 1 : 0;
	const struct vu_version v = { .major = major, .minor = minor };
	unsigned char *msg = malloc(sizeof(v) + len);
	int e;

	memcpy(msg, &v, sizeof(v));
	if (len)
		memcpy(msg + sizeof(v), json, len);
	e = rig_call(r, VU_VERSION, msg, sizeof(v) + len, a);
	free(msg);
	return e;
}

static void test_version_message(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct vu_version v = { 0 };
	struct rig *r = *state;

	assert_int_equal(version(r, 1, 0, NULL, a), EINVAL);
	assert_int_equal(version(r, 0, 0, "{", a), EINVAL);
	assert_int_equal(rig_call(r, VU_VERSION, &v, 3, a), EINVAL);
	assert_int_equal(rig_call(r, VU_VERSION, &v, 0, a), EINVAL);
	assert_int_equal(version(r, 0, 5, rig_offer, a), 0);
	memcpy(&v, a->body, sizeof(v));
	assert_int_equal(v.major, 0);
	assert_int_equal(v.minor, 1);
	assert_int_equal(a->body[a->len - 1], 0);
	assert_true(a->len <= sizeof(v) + strlen(rig_offer) + 1);
	assert_true(vu_conn_iova_is_va(r->c));
	assert_int_equal(version(r, 0, 0, NULL, a), EINVAL); /* once is enough */
	assert_true(vu_conn_iova_is_va(r->c));
	free(a);
}

static void test_version_without_json(void **state)
{
	struct reply *a = malloc(sizeof(*a));
	struct rig *r = *state;

	assert_int_equal(version(r, 0, 0, NULL, a), 0);
	assert_int_equal(a->len, sizeof(struct vu_version));
	assert_false(vu_conn_iova_is_va(r->c));
	assert_int_equal(rig_call(r, VU_DEVICE_RESET, NULL, 0, a), 0);
	free(a);
}

static void test_negotiated_limits_hold(void **state)
{
	struct vu_region_access ra = { .region = 2, .count = 64 };
	struct rig *r = *state;

	assert_int_equal(version(r, 0, 0, "{\"capabilities\":{\"max_data_xfer_size\":64,"
					  "\"max_dma_maps\":2}}", NULL), 0);
	assert_int_equal(rig_call(r, VU_REGION_READ, &ra, sizeof(ra), NULL), 0);
	ra.count = 65;
	assert_int_equal(rig_call(r, VU_REGION_READ, &ra, sizeof(ra), NULL), EINVAL);
	assert_int_equal(rig_map(r, 0, 4096, -1, 0), 0);
	assert_int_equal(rig_map(r, 4096, 4096, -1, 0), 0);
	assert_int_equal(rig_map(r, 8192, 4096, -1, 0), ENOSPC);
	assert_int_equal(rig_unmap(r, 0, 4096, 0), 0);
	assert_int_equal(rig_map(r, 8192, 4096, -1, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_qemu),
		cmocka_unit_test(test_subset),
		cmocka_unit_test(test_refused),
		cmocka_unit_test_setup_teardown(test_version_message, rig_setup_raw, rig_teardown),
		cmocka_unit_test_setup_teardown(test_version_without_json, rig_setup_raw,
			rig_teardown),
		cmocka_unit_test_setup_teardown(test_negotiated_limits_hold, rig_setup_raw,
			rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
