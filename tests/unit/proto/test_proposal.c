/* SPDX-License-Identifier: MIT */
/*
 * Proposals: what the peer can vary about them, well-meant and hostile
 */
#include <errno.h>

#include "vfio/base/endian.h"
#include "clc_try.h"

/* ---- hostile offsets and counts -------------------------------------------------------------- */

/*
 * The classes of CVE-2024-47408, -49568 and -49571: an offset or count of the wire used unchecked.
 */
static int with16(const struct vector *v, size_t at, uint16_t value, struct clc_proposal *p)
{
	uint8_t m[V_MAX_LEN];

	memcpy(m, v->bytes, v->len);
	store_be16(m + at, value);
	return proposal(m, v->len, p);
}

static int with8(const struct vector *v, size_t at, uint8_t value, struct clc_proposal *p)
{
	uint8_t m[V_MAX_LEN];

	memcpy(m, v->bytes, v->len);
	m[at] = value;
	return proposal(m, v->len, p);
}

static void test_hostile_offsets(void **state)
{
	struct clc_proposal p;
	unsigned int off;

	for (off = 0; off < 65536; off++) {
		/* There is one place for it, as the length is exact. */
		assert_int_equal(with16(&P1, 50, (uint16_t)off, &p), off == 28 ? 0 : -EPROTO);
		with16(&P1, 38, (uint16_t)off, &p);
		if (off > 40)
			assert_int_equal(with16(&P1, 38, (uint16_t)off, &p), -EPROTO);
	}
}

static void test_hostile_d2_offset(void **state)
{
	struct clc_proposal p;
	unsigned int off;

	for (off = 0; off < 65536; off++) {
		assert_int_equal(with16(&P1, 86, (uint16_t)off, &p), 0);
		assert_true(p.v2ext);
		assert_int_equal(p.v2dext, off == 64);
		if (off != 64) /* as if it were missing: to be declined */
			assert_int_equal(p.nr_gid, 0);
	}
}

static void test_hostile_counts(void **state)
{
	struct clc_proposal p;
	unsigned int n;

	for (n = 0; n < 256; n++) {
		assert_int_equal(with8(&P1, 80, (uint8_t)n, &p), n == 1 ? 0 : -EPROTO);
		assert_int_equal(with8(&P1, 81, (uint8_t)n, &p), n == 1 ? 0 : -EPROTO);
		/* The prefix count's place without an IP area: bounded, and read by nobody. */
		assert_int_equal(with8(&P1, 47, (uint8_t)n, &p), n <= 8 ? 0 : -EPROTO);
	}
}

/* Every byte with every value: no read outside, no count out of range, nothing else asserted. */
static void test_any_byte(void **state)
{
	struct clc_proposal p;
	size_t i, at;
	unsigned int b;

	for (i = 0; i < NR_GOOD; i++) {
		for (at = 0; at < good[i]->len; at++) {
			for (b = 0; b < 256; b += 3) {
				if (with8(good[i], at, (uint8_t)b, &p) < 0)
					continue;
				assert_true(p.nr_ueid <= CLC_MAX_UEID);
				assert_true(p.nr_gid <= CLC_MAX_GID);
			}
		}
	}
}

static void test_random_bytes(void **state)
{
	unsigned int round, i;

	srandom(7);
	for (round = 0; round < 20000; round++) {
		const struct vector *v = good[round % NR_GOOD];
		uint8_t m[V_MAX_LEN];

		memcpy(m, v->bytes, v->len);
		for (i = 0; i < 6; i++)
			m[8 + (size_t)random() % (v->len - 12)] = (uint8_t)random();
		any(m, v->len);
	}
}

/* ---- shapes of Proposals --------------------------------------------------------------------- */

/* P1 as a Linux client sends it that also offers version 1: SMC-D area, @pfx prefixes. */
static size_t full_proposal(uint8_t *m, uint8_t types, unsigned int pfx)
{
	size_t area = 8 + 17 * (size_t)pfx;
	size_t len = P1.len + area;

	memset(m, 0, len);
	memcpy(m, P1.bytes, 80);
	memcpy(m + 80 + area, P1.bytes + 80, P1.len - 80);
	store_be16(m + 5, (uint16_t)len);
	m[7] = (uint8_t)(0x20 | types);
	store_be16(m + 38, 40);
	store_be64(m + 40, 0x0123456789abcdef);
	store_be16(m + 48, 0x07c1);
	store_be16(m + 50, (uint16_t)(28 + area));
	m[87] = (uint8_t)pfx;
	return len;
}

static void test_proposal_with_v1_area(void **state)
{
	static const uint8_t types[] = { 0x4, 0x5, 0x7, 0xc, 0xd, 0xf };
	uint8_t m[CLC_MAX_LEN];
	struct clc_proposal p;
	unsigned int pfx;
	size_t i, len;

	for (i = 0; i < sizeof(types); i++) {
		for (pfx = 0; pfx <= 8; pfx++) {
			len = full_proposal(m, types[i], pfx);
			assert_int_equal(proposal(m, len, &p), 0);
			assert_int_equal(p.typev1, types[i] & 3);
			assert_int_equal(p.typev2, types[i] >> 2);
			assert_int_equal(p.v1_gid.chid, 0x07c1);
			assert_true(p.v1_gid.gid == 0x0123456789abcdef);
			assert_int_equal(p.nr_gid, 1);
			m[87] = (uint8_t)(pfx + 1); /* claims a prefix that is not there */
			assert_int_equal(proposal(m, len, &p), -EPROTO);
		}
	}
	/* The SMC-D area has a place of its own: no IP area lies in it. */
	for (i = 0; i < sizeof(types); i++) {
		len = full_proposal(m, types[i], 0);
		store_be16(m + 38, 39);
		assert_int_equal(proposal(m, len, &p), -EPROTO);
	}
}

static void test_proposal_without_d2(void **state)
{
	uint8_t m[CLC_MAX_LEN];
	struct clc_proposal p;
	size_t len = full_proposal(m, 0x1, 0); /* D in version 1, R in version 2 */

	/* No SMC-Dv2 extension then: take its 58 bytes out. */
	len -= 58;
	memcpy(m + len - 4, P1.bytes, 4);
	store_be16(m + 5, (uint16_t)len);
	assert_int_equal(proposal(m, len, &p), 0);
	assert_true(p.v2ext);
	assert_false(p.v2dext);
	assert_int_equal(p.nr_gid, 0);

	/* Neither in version 2: no extension at all. */
	len = 92;
	m[7] = 0x29;
	memcpy(m + 88, P1.bytes, 4);
	store_be16(m + 5, (uint16_t)len);
	assert_int_equal(proposal(m, len, &p), 0);
	assert_false(p.v2ext);
	assert_int_equal(p.nr_ueid, 0);
}

static void test_proposal_v1(void **state)
{
	uint8_t m[CLC_MAX_LEN];
	struct clc_proposal p;
	size_t len = 92;

	full_proposal(m, 0x1, 0);
	m[7] = 0x11;
	memcpy(m + 88, P1.bytes, 4);
	store_be16(m + 5, (uint16_t)len);
	assert_int_equal(proposal(m, len, &p), 0);
	assert_int_equal(p.version, 1);
	assert_int_equal(p.typev1, 1);
	m[87] = 1;
	assert_int_equal(proposal(m, len, &p), -EPROTO);
	m[87] = 0;
	m[7] = 0x12;
	assert_int_equal(proposal(m, len, &p), -EPROTO);
	/* SMC-R only: no SMC-D area in front of the prefixes. */
	len = 52;
	m[7] = 0x10;
	store_be16(m + 38, 0);
	m[47] = 0;
	memcpy(m + 48, P1.bytes, 4);
	store_be16(m + 5, (uint16_t)len);
	assert_int_equal(proposal(m, len, &p), 0);
	assert_int_equal(p.typev1, 0);
}

static void test_emulated_pairs(void **state)
{
	struct clc_proposal p = { .release = 1, .nr_gid = 4 };
	struct clc_proposal q;
	uint8_t m[CLC_MAX_LEN];
	unsigned int i;
	ssize_t len;

	p.gid[0] = (struct clc_gid){ 1, 0, 0x07c1 };
	p.gid[1] = (struct clc_gid){ 2, 3, 0xff00 };
	p.gid[2] = (struct clc_gid){ 4, 5, 0xffff };
	p.gid[3] = (struct clc_gid){ 6, 0, 0xfeff };
	len = clc_encode_proposal(m, &p);
	assert_int_equal(len, 172 + 60);
	assert_int_equal(proposal(m, (size_t)len, &q), 0);
	assert_int_equal(q.nr_gid, 4);
	for (i = 0; i < 4; i++) {
		assert_true(q.gid[i].gid == p.gid[i].gid);
		assert_true(q.gid[i].gid_ext == p.gid[i].gid_ext);
		assert_int_equal(q.gid[i].chid, p.gid[i].chid);
	}

	/* The second half has another CHID: the first is skipped, the second stands for itself. */
	store_be16(m + 168 + 28, 0x1111);
	assert_int_equal(proposal(m, (size_t)len, &q), 0);
	assert_int_equal(q.nr_gid, 4);
	assert_int_equal(q.gid[1].chid, 0x1111);
	assert_true(q.gid[1].gid == 3);
	/* An emulated one that is last has no second half. */
	store_be16(m + 168 + 58, 0xff05);
	assert_int_equal(proposal(m, (size_t)len, &q), 0);
	assert_int_equal(q.nr_gid, 3);
}

static void test_longest_proposal(void **state)
{
	struct clc_proposal p = { .release = 1, .nr_ueid = 8, .nr_gid = 8 };
	struct clc_proposal q;
	uint8_t m[CLC_MAX_LEN], d2[CLC_MAX_LEN];
	unsigned int i;
	ssize_t d2_len;

	for (i = 0; i < 8; i++)
		p.gid[i].chid = (uint16_t)(i + 1);
	d2_len = clc_encode_proposal(d2, &p);
	/* With eight prefixes it reaches CLC_MAX_LEN exactly. */
	memset(m, 0, sizeof(m));
	memcpy(m, d2, 80);
	memcpy(m + 80 + 144, d2 + 80, (size_t)d2_len - 80);
	store_be16(m + 5, CLC_MAX_LEN);
	m[7] = 0x2f;
	store_be16(m + 38, 40);
	store_be16(m + 50, 28 + 144);
	m[87] = 8;
	assert_int_equal(d2_len + 144, CLC_MAX_LEN);
	assert_int_equal(proposal(m, CLC_MAX_LEN, &q), 0);
	assert_int_equal(q.nr_gid, 8);
	assert_int_equal(q.gid[7].chid, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_offsets),
		cmocka_unit_test(test_hostile_d2_offset),
		cmocka_unit_test(test_hostile_counts),
		cmocka_unit_test(test_any_byte),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_proposal_with_v1_area),
		cmocka_unit_test(test_proposal_without_d2),
		cmocka_unit_test(test_proposal_v1),
		cmocka_unit_test(test_emulated_pairs),
		cmocka_unit_test(test_longest_proposal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
