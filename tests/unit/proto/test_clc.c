/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "vfio/base/endian.h"
#include "clc_try.h"

static void test_decline_of_early_kernels(void **state)
{
	struct clc_decline d;
	uint8_t m[28];

	memcpy(m, D3.bytes, sizeof(m));
	m[7] = 0x20; /* version 2 in the short form */
	assert_int_equal(decline(m, sizeof(m), &d), 0);
	assert_int_equal(d.diag, CLC_DECL_NOSMCDEV);
	/* Version 1 in the long form never existed. */
	memcpy(m, D1.bytes, sizeof(m));
	assert_int_equal(decline(D1.bytes, D1.len - 1, &d), -EPROTO);
}

/* A message with its length field changed to what it now is, and its trailer put at the end. */
static int resized(const struct vector *v, size_t len)
{
	uint8_t m[V_MAX_LEN + 1] = { 0 };

	assert_true(len < sizeof(m));
	memcpy(m, v->bytes, len < v->len ? len : v->len);
	if (len >= 8)
		store_be16(m + 5, (uint16_t)len);
	if (len >= 12)
		memcpy(&m[len - 4], v->bytes, 4);
	return any(m, len);
}

static void test_exact_length(void **state)
{
	size_t i;

	for (i = 0; i < NR_GOOD; i++) {
		const struct vector *v = good[i];
		bool longer_accept = v->bytes[4] == CLC_ACCEPT || v->bytes[4] == CLC_CONFIRM;

		assert_int_equal(resized(v, v->len), 0);
		assert_int_equal(resized(v, v->len - 1), -EPROTO);
		/* The kernel lets a v2 Accept be longer than it knows, nothing else. */
		assert_int_equal(resized(v, v->len + 1), longer_accept ? 0 : -EPROTO);
	}
}

/* Lengths at which a cut message with a fitting length field and trailer is a legal one again. */
static bool legal_when_cut(const struct vector *v, size_t len)
{
	return v->bytes[4] == CLC_DECLINE && len == D3.len;
}

static void test_truncation(void **state)
{
	size_t i, len;

	/* Also first contact without its whole extension, where Linux takes the trailer for one. */
	for (i = 0; i < NR_GOOD; i++) {
		for (len = 0; len < good[i]->len; len++) {
			assert_int_equal(any(good[i]->bytes, len), -EPROTO);
			assert_int_equal(resized(good[i], len),
				legal_when_cut(good[i], len) ? 0 : -EPROTO);
		}
	}
}

static void test_outputs_untouched(void **state)
{
	struct clc_proposal p, p0;
	struct clc_accept a, a0;
	struct clc_decline d, d0;

	memset(&p, 0x5a, sizeof(p));
	memset(&a, 0x5a, sizeof(a));
	memset(&d, 0x5a, sizeof(d));
	memcpy(&p0, &p, sizeof(p));
	memcpy(&a0, &a, sizeof(a));
	memcpy(&d0, &d, sizeof(d));
	assert_int_equal(proposal(P4.bytes, P4.len, &p), -EPROTO);
	assert_int_equal(accept_(A1.bytes, A1.len - 1, &a), -EPROTO);
	assert_int_equal(decline(D1.bytes, D1.len - 1, &d), -EPROTO);
	assert_memory_equal(&p, &p0, sizeof(p));
	assert_memory_equal(&a, &a0, sizeof(a));
	assert_memory_equal(&d, &d0, sizeof(d));
}

/*
 * Each byte of the frame, with every value: refused unless it is one of the few that mean the same.
 */
static bool frame_value_ok(const struct vector *v, size_t at, uint8_t b)
{
	uint8_t old = v->bytes[at];

	if (b == old)
		return true;
	if (at == 3 || at == v->len - 1)
		return b == 0xd9 || b == 0xc4;
	return false;
}

static void test_header_mutations(void **state)
{
	size_t i, j;
	unsigned int b;

	for (i = 0; i < NR_GOOD; i++) {
		const struct vector *v = good[i];
		const size_t at[] = { 0, 1, 2, 3, 5, 6, v->len - 4, v->len - 3, v->len - 2,
			v->len - 1 };
		uint8_t m[V_MAX_LEN];

		for (j = 0; j < sizeof(at) / sizeof(at[0]); j++) {
			if (v->bytes[4] == CLC_DECLINE && at[j] >= v->len - 4)
				continue; /* its trailer is not looked at */
			for (b = 0; b < 256; b++) {
				memcpy(m, v->bytes, v->len);
				m[at[j]] = (uint8_t)b;
				assert_int_equal(any(m, v->len),
					frame_value_ok(v, at[j], (uint8_t)b) ? 0 : -EPROTO);
			}
		}
	}
}

static void test_type_and_version(void **state)
{
	uint8_t m[V_MAX_LEN];
	struct clc_proposal p;
	struct clc_accept a;
	unsigned int t;

	for (t = 0; t < 256; t++) {
		memcpy(m, P1.bytes, P1.len);
		m[4] = (uint8_t)t;
		assert_int_equal(proposal(m, P1.len, &p), t == 1 ? 0 : -EPROTO);
		memcpy(m, A1.bytes, A1.len);
		m[4] = (uint8_t)t;
		assert_int_equal(accept_(m, A1.len, &a), t == 2 || t == 3 ? 0 : -EPROTO);
	}
	for (t = 0; t < 16; t++) {
		memcpy(m, P1.bytes, P1.len);
		m[7] = (uint8_t)(t << 4 | 6);
		/* 0 is nothing, 1 has another length and no "neither"; above 2 counts as 2. */
		assert_int_equal(proposal(m, P1.len, &p), t < 2 ? -EPROTO : 0);
		memcpy(m, A2.bytes, A2.len);
		m[7] = (uint8_t)(t << 4 | 1);
		assert_int_equal(accept_(m, A2.len, &a), t < 2 ? -EPROTO : 0);
	}
}

static void test_accept_v1_and_smcr(void **state)
{
	uint8_t m[V_MAX_LEN];
	struct clc_accept a;

	memcpy(m, A2.bytes, 44);
	memcpy(m + 44, A2.bytes, 4);
	m[6] = 48;
	m[7] = 0x11;
	assert_int_equal(accept_(m, 48, &a), 0);
	assert_int_equal(a.version, 1);
	assert_true(a.smcd);
	assert_int_equal(a.gid.chid, 0);
	m[7] = 0x21; /* too short for version 2 */
	assert_int_equal(accept_(m, 48, &a), -EPROTO);

	memcpy(m, A2.bytes, A2.len);
	m[7] = 0x11; /* too long for version 1 */
	assert_int_equal(accept_(m, A2.len, &a), -EPROTO);
	m[7] = 0x20; /* SMC-R: known as such, nothing else read */
	assert_int_equal(accept_(m, A2.len, &a), 0);
	assert_false(a.smcd);
	assert_true(a.token == 0);
	m[7] = 0x22;
	assert_int_equal(accept_(m, A2.len, &a), -EPROTO);
	m[7] = 0x23;
	assert_int_equal(accept_(m, A2.len, &a), -EPROTO);
}

static void test_accept_fields(void **state)
{
	uint8_t m[V_MAX_LEN];
	struct clc_accept a;
	unsigned int code;

	memcpy(m, A1.bytes, A1.len);
	for (code = 0; code < 16; code++) {
		m[25] = (uint8_t)(code << 4 | 0xf); /* low half reserved */
		assert_int_equal(accept_(m, A1.len, &a), 0);
		assert_int_equal(a.size_code, code);
	}
	m[24] = 7;
	store_be16(m + 32, 0xff01);
	store_be64(m + 66, 0x5555666677778888);
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_int_equal(a.dmbe_idx, 7);
	assert_true(a.gid.gid_ext == 0x5555666677778888);
	store_be16(m + 32, 0xfeff); /* native: the lower half is always zero */
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_true(a.gid.gid_ext == 0);
}

static void test_host_is_plain_text(void **state)
{
	uint8_t m[V_MAX_LEN];
	struct clc_accept a;

	memcpy(m, A1.bytes, A1.len);
	memset(m + 78, 'h', 32);
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_int_equal(strlen(a.host), 32);
	m[90] = 0x1b; /* an escape sequence for the operator's terminal */
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_string_equal(a.host, "");
	m[90] = 0xe9;
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_string_equal(a.host, "");
	m[90] = '\0';
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_int_equal(strlen(a.host), 12);
	memset(m + 78, ' ', 32);
	assert_int_equal(accept_(m, A1.len, &a), 0);
	assert_string_equal(a.host, "");
}

static void test_encoder_limits(void **state)
{
	static const uint8_t zeros[CLC_MAX_LEN];
	uint8_t m[CLC_MAX_LEN];
	struct clc_proposal p = { .release = 1, .nr_ueid = 8, .nr_gid = 8 };
	struct clc_accept a = { .type = CLC_ACCEPT };
	struct clc_decline d = { .version = 2 };
	unsigned int i;

	for (i = 0; i < 8; i++)
		p.gid[i].chid = 1;
	assert_int_equal(clc_encode_proposal(m, &p), 172 + 8 * 32 + 80);
	assert_memory_equal(m + 40, zeros, 10);
	p.gid[7].chid = 0xff00; /* nine entries */
	assert_int_equal(clc_encode_proposal(m, &p), -EINVAL);
	p.nr_gid = 7;
	p.nr_ueid = 9;
	assert_int_equal(clc_encode_proposal(m, &p), -EINVAL);
	p.nr_ueid = 0;
	p.nr_gid = 0;
	assert_int_equal(clc_encode_proposal(m, &p), -EINVAL);
	p.nr_gid = 9;
	assert_int_equal(clc_encode_proposal(m, &p), -EINVAL);

	a.size_code = 6;
	assert_int_equal(clc_encode_accept(m, &a), 78);
	a.size_code = 7;
	assert_int_equal(clc_encode_accept(m, &a), -EINVAL);
	a = (struct clc_accept){ .type = CLC_DECLINE };
	assert_int_equal(clc_encode_accept(m, &a), -EINVAL);
	d.version = 0;
	assert_int_equal(clc_encode_decline(m, &d), -EINVAL);
}

static void test_peek(void **state)
{
	enum clc_type type = 0;
	size_t len = 0;
	uint8_t m[8];

	assert_int_equal(clc_peek(P1.bytes, 7, &type, &len), -EAGAIN);
	assert_int_equal(clc_peek(P1.bytes, 8, &type, &len), 0);
	assert_int_equal(type, CLC_PROPOSAL);
	assert_int_equal(len, 214);
	memcpy(m, P1.bytes, 8);
	store_be16(m + 5, CLC_MAX_LEN);
	assert_int_equal(clc_peek(m, 8, &type, &len), 0);
	store_be16(m + 5, CLC_MAX_LEN + 1);
	assert_int_equal(clc_peek(m, 8, &type, &len), -EPROTO);
	store_be16(m + 5, 11);
	assert_int_equal(clc_peek(m, 8, &type, &len), -EPROTO);
	store_be16(m + 5, 0);
	assert_int_equal(clc_peek(m, 8, &type, &len), -EPROTO);
	assert_int_equal(clc_peek((const uint8_t *)"GET / HT", 8, &type, &len), -EPROTO);
}

static void test_eid(void **state)
{
	uint8_t eid[CLC_EID_LEN];

	assert_int_equal(clc_eid(eid, "A"), 0);
	assert_memory_equal(eid, "A                               ", CLC_EID_LEN);
	assert_int_equal(clc_eid(eid, "0123456789ABCDEF0123456789ABCDEF"), 0);
	assert_int_equal(clc_eid(eid, "0123456789ABCDEF0123456789ABCDEF0"), -EINVAL);
	assert_int_equal(clc_eid(eid, "A.B-C"), 0);
	assert_int_equal(clc_eid(eid, ""), -EINVAL);
	assert_int_equal(clc_eid(eid, "-A"), -EINVAL);
	assert_int_equal(clc_eid(eid, ".A"), -EINVAL);
	assert_int_equal(clc_eid(eid, "a"), -EINVAL);
	assert_int_equal(clc_eid(eid, "A B"), -EINVAL);
	assert_int_equal(clc_eid(eid, "A_B"), -EINVAL);
}

static void test_size_code(void **state)
{
	uint8_t code;

	assert_int_equal(clc_size_code(0), 0);
	for (code = 0; code <= 6; code++) {
		uint32_t size = 16384u << code;

		assert_int_equal(clc_code_size(code), size);
		assert_int_equal(clc_size_code(size - 1), code);
		assert_int_equal(clc_size_code(size), code);
		assert_int_equal(clc_size_code(size + 1), code < 6 ? code + 1 : 6);
	}
	assert_int_equal(clc_size_code(UINT32_MAX), 6);
}

static void test_diag_text(void **state)
{
	assert_non_null(strstr(clc_diag_text(CLC_DECL_RELEASEERR), "release"));
	assert_string_not_equal(clc_diag_text(CLC_DECL_MAX_DMB), clc_diag_text(CLC_DECL_MEM));
	assert_string_equal(clc_diag_text(0x12345678), "unknown diagnosis");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decline_of_early_kernels),
		cmocka_unit_test(test_exact_length),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_outputs_untouched),
		cmocka_unit_test(test_header_mutations),
		cmocka_unit_test(test_type_and_version),
		cmocka_unit_test(test_accept_v1_and_smcr),
		cmocka_unit_test(test_accept_fields),
		cmocka_unit_test(test_host_is_plain_text),
		cmocka_unit_test(test_encoder_limits),
		cmocka_unit_test(test_peek),
		cmocka_unit_test(test_eid),
		cmocka_unit_test(test_size_code),
		cmocka_unit_test(test_diag_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
