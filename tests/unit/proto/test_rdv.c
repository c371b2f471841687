/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/proto/rdv.h"
#include "vfio/base/endian.h"
#include "vectors.h"

static const struct rdv_record hello = { .type = RDV_HELLO, .name = "guest-a", .version = 1,
	.flags = 0x8001 };
static const struct rdv_record reset = { .type = RDV_RESET, .src_conn = 0x01020304, .dst_conn = 9,
	.diag = 0x09990000 };
static const struct rdv_record cdc = { .type = RDV_CDC, .src_conn = 5, .dst_conn = 0x01020304,
	.words = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0xe0 } };
static const struct rdv_record ping = { .type = RDV_PING };
static const struct rdv_record pong = { .type = RDV_PONG };

static struct rdv_record clc(const struct vector *v, uint32_t src, uint32_t dst)
{
	struct rdv_record r = { .type = RDV_CLC, .src_conn = src, .dst_conn = dst,
		.clc = v->bytes, .clc_len = v->len };

	if (v->bytes[4] == 1) {
		strcpy(r.name, "echo");
		r.port = 50000;
	}
	return r;
}

static void check_same(const struct rdv_record *a, const struct rdv_record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->src_conn, b->src_conn);
	assert_int_equal(a->dst_conn, b->dst_conn);
	assert_int_equal(a->port, b->port);
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->version, b->version);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->diag, b->diag);
	if (a->type == RDV_CDC)
		assert_memory_equal(a->words, b->words, sizeof(a->words));
	assert_int_equal(a->clc_len, b->clc_len);
	if (a->clc_len)
		assert_memory_equal(a->clc, b->clc, a->clc_len);
}

/* One whole record, from memory of exactly its size. */
static int decode(const uint8_t *bytes, size_t len, struct rdv_record *rec)
{
	struct rdv_decoder d = { 0 };
	uint8_t *m = malloc(len);
	size_t used;
	int r;

	assert_non_null(m);
	memcpy(m, bytes, len);
	r = rdv_decode(&d, m, len, &used, rec);
	free(m);
	return r;
}

static size_t build(uint8_t out[RDV_MAX_LEN], const struct rdv_record *rec)
{
	ssize_t len = rdv_encode(out, rec);

	assert_true(len >= (ssize_t)RDV_HDR_LEN);
	return (size_t)len;
}

static void test_layout(void **state)
{
	static const uint8_t golden[24] = { 'R', 'D', 'V', '1', 0, 3, 0, 24, 1, 2, 3, 4, 0, 0, 0, 9,
		0, 0, 0, 0, 0x09, 0x99, 0, 0 };
	struct rdv_record p = clc(&P1, 0xa1b2c3d4, 0);
	uint8_t m[RDV_MAX_LEN];

	assert_int_equal(build(m, &reset), 24);
	assert_memory_equal(m, golden, 24);
	assert_int_equal(build(m, &hello), 88);
	assert_memory_equal(m + 20, "guest-a\0", 8);
	assert_memory_equal(m + 84, "\0\1\x80\1", 4);
	assert_int_equal(build(m, &cdc), 36);
	assert_memory_equal(m + 4, "\0\6\0\44\0\0\0\5\1\2\3\4\0\0\0\0", 16);
	assert_memory_equal(m + 20, cdc.words, 16);
	assert_int_equal(build(m, &ping), 20);
	assert_int_equal(build(m, &p), 20 + 64 + 214);
	assert_memory_equal(m + 8, "\xa1\xb2\xc3\xd4\0\0\0\0\xc3\x50\0\0", 12);
	assert_memory_equal(m + 20, "echo\0", 5);
	assert_memory_equal(m + 84, P1.bytes, P1.len);
}

static void check_round_trip(const struct rdv_record *rec)
{
	uint8_t m[RDV_MAX_LEN];
	size_t len = build(m, rec), used, cut, i;
	struct rdv_decoder d = { 0 };
	struct rdv_record got = { 0 };

	/* In two pieces, cut everywhere; one decoder for all. */
	for (cut = 0; cut < len; cut++) {
		memset(&got, 0x77, sizeof(got));
		assert_int_equal(rdv_decode(&d, m, cut, &used, &got), 0);
		assert_int_equal(used, cut);
		assert_int_equal(rdv_decode(&d, m + cut, len - cut, &used, &got), 1);
		assert_int_equal(used, len - cut);
		check_same(&got, rec);
	}
	/* Byte by byte. */
	for (i = 0; i < len; i++) {
		assert_int_equal(rdv_decode(&d, m + i, 1, &used, &got), i == len - 1);
		assert_int_equal(used, 1);
	}
	check_same(&got, rec);
}

static void test_round_trips(void **state)
{
	struct rdv_record r;

	check_round_trip(&hello);
	check_round_trip(&reset);
	check_round_trip(&cdc);
	check_round_trip(&ping);
	check_round_trip(&pong);
	r = clc(&P1, 1, 0);
	check_round_trip(&r);
	r = clc(&P2, UINT32_MAX, 0);
	check_round_trip(&r);
	r = clc(&A1, 2, 1);
	check_round_trip(&r);
	r = clc(&C1, 1, 2);
	check_round_trip(&r);
	r = clc(&D1, 1, 0);
	check_round_trip(&r);
	r = clc(&D3, 1, 2);
	check_round_trip(&r);
}

static void test_stream(void **state)
{
	struct rdv_record recs[] = { hello, clc(&P1, 1, 0), ping, clc(&D1, 1, 0), reset, pong };
	struct rdv_decoder d = { 0 };
	struct rdv_record got;
	uint8_t m[6 * RDV_MAX_LEN];
	size_t len = 0, at = 0, used, i;

	for (i = 0; i < 6; i++)
		len += build(m + len, &recs[i]);
	for (i = 0; i < 6; i++) {
		assert_int_equal(rdv_decode(&d, m + at, len - at, &used, &got), 1);
		check_same(&got, &recs[i]);
		at += used;
	}
	assert_int_equal(at, len);
	assert_int_equal(rdv_decode(&d, m, 0, &used, &got), 0);
	assert_int_equal(used, 0);
	assert_int_equal(rdv_decode(&d, NULL, 0, &used, &got), 0);
}

static void test_broken_is_sticky(void **state)
{
	struct rdv_decoder d = { 0 };
	struct rdv_record got, before;
	uint8_t m[RDV_MAX_LEN];
	size_t len = build(m, &ping), used;

	memset(&got, 0x5a, sizeof(got));
	memcpy(&before, &got, sizeof(got));
	assert_int_equal(rdv_decode(&d, (const uint8_t *)"GET / HTTP/1.1\r\nHost", 20, &used, &got),
		-EPROTO);
	assert_int_equal(rdv_decode(&d, m, len, &used, &got), -EPROTO);
	assert_int_equal(used, 0);
	assert_memory_equal(&got, &before, sizeof(got));
}

/* Each header field with a value that is not its own. */
static void check_header(const struct rdv_record *rec, size_t at, size_t size, uint32_t value,
	int want)
{
	uint8_t m[RDV_MAX_LEN] = { 0 };
	struct rdv_record got;
	size_t len = build(m, rec);

	if (size == 2)
		store_be16(m + at, (uint16_t)value);
	else
		store_be32(m + at, value);
	assert_int_equal(decode(m, len, &got), want);
}

static void test_header_fields(void **state)
{
	struct rdv_record p = clc(&P1, 7, 0), a = clc(&A1, 7, 8);
	unsigned int t;

	check_header(&ping, 0, 4, RDV_MAGIC, 1);
	check_header(&ping, 0, 4, RDV_MAGIC + 1, -EPROTO);
	for (t = 0; t < 65536; t += t < 16 ? 1 : 997)
		check_header(&ping, 4, 2, t, t == RDV_PING || t == RDV_PONG ? 1 : -EPROTO);
	check_header(&ping, 8, 4, 1, -EPROTO);
	check_header(&ping, 12, 4, 1, -EPROTO);
	check_header(&ping, 16, 2, 1, -EPROTO);
	check_header(&ping, 18, 2, 1, -EPROTO);
	check_header(&hello, 8, 4, 1, -EPROTO);
	check_header(&reset, 8, 4, 0, 1);
	check_header(&reset, 12, 4, 0, -EPROTO);
	check_header(&reset, 16, 2, 1, -EPROTO);
	check_header(&cdc, 8, 4, 0, -EPROTO);
	check_header(&cdc, 12, 4, 0, -EPROTO);
	check_header(&cdc, 16, 2, 1, -EPROTO);
	check_header(&p, 8, 4, 0, -EPROTO);
	check_header(&p, 12, 4, 1, -EPROTO);
	check_header(&p, 16, 2, 0, 1); /* the port is the receiver's to judge */
	check_header(&a, 8, 4, 0, -EPROTO);
	check_header(&a, 12, 4, 0, -EPROTO);
	check_header(&a, 16, 2, 1, -EPROTO);
}

static void test_lengths(void **state)
{
	const struct rdv_record recs[] = { hello, clc(&P1, 1, 0), clc(&A1, 1, 2), reset, ping, cdc };
	struct rdv_record got;
	uint8_t m[65536];
	size_t len, claim, i;

	for (i = 0; i < 6; i++) {
		memset(m, 0, sizeof(m));
		len = build(m, &recs[i]);
		for (claim = 0; claim < sizeof(m); claim += claim < RDV_MAX_LEN + 4 ? 1 : 1013) {
			store_be16(m + 6, (uint16_t)claim);
			assert_int_equal(decode(m, sizeof(m), &got), claim == len ? 1 : -EPROTO);
		}
	}
}

static void test_names(void **state)
{
	char name[RDV_NAME_LEN + 1];
	uint8_t m[RDV_MAX_LEN];
	struct rdv_record got, rec = hello;
	size_t len = build(m, &hello);
	unsigned int c;

	assert_false(rdv_name_ok(""));
	memset(name, 'x', sizeof(name));
	name[63] = '\0';
	assert_true(rdv_name_ok(name));
	name[63] = 'x';
	assert_false(rdv_name_ok(name)); /* 64 and no end */
	for (c = 1; c < 256; c++) {
		name[0] = (char)c;
		name[1] = '\0';
		assert_int_equal(rdv_name_ok(name), c < 128 && strchr("abcdefghijklmnopqrstuvwxyz"
			"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", (int)c) != NULL);
	}
	rec.name[0] = '\0';
	assert_int_equal(rdv_encode(m, &rec), -EINVAL);

	build(m, &hello);
	m[20 + 63] = 'x'; /* hidden behind the end */
	assert_int_equal(decode(m, len, &got), -EPROTO);
	memset(m + 20, 'x', 64); /* no end */
	assert_int_equal(decode(m, len, &got), -EPROTO);
	build(m, &hello);
	m[20] = 0x1b;
	assert_int_equal(decode(m, len, &got), -EPROTO);
	m[20] = 0;
	assert_int_equal(decode(m, len, &got), -EPROTO);
}

/* A service with a message that is no Proposal, and a Proposal without one. */
static void test_service_only_with_proposal(void **state)
{
	uint8_t m[RDV_MAX_LEN] = { 0 };
	struct rdv_record a = clc(&A1, 1, 2), p = clc(&P1, 1, 0), got;
	size_t len = build(m, &a);

	memmove(m + 84, m + 20, len - 20);
	memset(m + 20, 0, 64);
	memcpy(m + 20, "echo", 5);
	store_be16(m + 6, (uint16_t)(len + 64));
	assert_int_equal(decode(m, len + 64, &got), -EPROTO);

	len = build(m, &p);
	memmove(m + 20, m + 84, len - 84);
	store_be16(m + 6, (uint16_t)(len - 64));
	assert_int_equal(decode(m, len - 64, &got), -EPROTO);

	/* One message per record: not less, not more. */
	len = build(m, &p);
	store_be16(m + 84 + 5, (uint16_t)(P1.len - 1));
	assert_int_equal(decode(m, len, &got), -EPROTO);
}

static void test_encoder_refuses(void **state)
{
	uint8_t m[RDV_MAX_LEN];
	struct rdv_record r = clc(&P1, 0, 0);

	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = clc(&P1, 1, 2);
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = clc(&P1, 1, 0);
	r.clc_len--;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = clc(&P1, 1, 0);
	strcpy(r.name, "no spaces");
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = clc(&A1, 1, 0);
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = clc(&A1, 1, 2);
	r.port = 1;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = (struct rdv_record){ .type = RDV_CLC, .src_conn = 1 };
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = reset;
	r.dst_conn = 0;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = cdc;
	r.src_conn = 0;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r = cdc;
	r.dst_conn = 0;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
	r.type = (enum rdv_type)7;
	assert_int_equal(rdv_encode(m, &r), -EINVAL);
}

static void test_random_bytes(void **state)
{
	const struct rdv_record recs[] = { hello, clc(&P1, 1, 0), clc(&A1, 1, 2), reset, ping, cdc };
	struct rdv_record got;
	uint8_t m[RDV_MAX_LEN];
	unsigned int round;
	size_t len;

	srandom(11);
	for (round = 0; round < 50000; round++) {
		len = build(m, &recs[round % 6]);
		m[4 + (size_t)random() % (len - 4)] = (uint8_t)random();
		m[4 + (size_t)random() % (len - 4)] = (uint8_t)random();
		if (decode(m, len, &got) == 1) {
			assert_true(got.clc_len <= len);
			assert_true(memchr(got.name, 0, sizeof(got.name)) != NULL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_broken_is_sticky),
		cmocka_unit_test(test_header_fields),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_service_only_with_proposal),
		cmocka_unit_test(test_encoder_refuses),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
