/* SPDX-License-Identifier: MIT */
/*
 * Golden vectors, both ways: each decodes to what its description says, and what the description
 * says is encoded to the same bytes. What is encoded is written down here, not taken from the
 * decoder, so that an error which both share shows.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "clc_try.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/lgr.h"

#define EXAMPLE_EID "EXAMPLE-EID                     "
#define EXAMPLE_SEID "IBM-SYSZ-ISMSEID000000001AB23931"

/* ---- proposals ------------------------------------------------------------------------------- */

static struct clc_proposal meant_proposal(void)
{
	struct clc_proposal p = { .version = 2, .typev1 = 2, .typev2 = 1, .v2ext = true,
		.v2dext = true, .release = 1, .features = 1, .nr_ueid = 1, .nr_gid = 1 };

	memcpy(p.ueid[0], EXAMPLE_EID, CLC_EID_LEN);
	p.gid[0] = (struct clc_gid){ .gid = 0x0123456789abcdef, .chid = 0x07c1 };
	return p;
}

/* Member by member: padding is nobody's business. */
static void same_proposal(const struct clc_proposal *a, const struct clc_proposal *b)
{
	unsigned int i;

	assert_int_equal(a->version, b->version);
	assert_int_equal(a->typev1, b->typev1);
	assert_int_equal(a->typev2, b->typev2);
	assert_int_equal(a->v2ext, b->v2ext);
	assert_int_equal(a->v2dext, b->v2dext);
	assert_int_equal(a->release, b->release);
	assert_int_equal(a->features, b->features);
	assert_int_equal(a->seid_valid, b->seid_valid);
	assert_memory_equal(a->seid, b->seid, CLC_EID_LEN);
	assert_int_equal(a->nr_ueid, b->nr_ueid);
	for (i = 0; i < a->nr_ueid; i++)
		assert_memory_equal(a->ueid[i], b->ueid[i], CLC_EID_LEN);
	assert_int_equal(a->nr_gid, b->nr_gid);
	for (i = 0; i < a->nr_gid; i++) {
		assert_true(a->gid[i].gid == b->gid[i].gid);
		assert_true(a->gid[i].gid_ext == b->gid[i].gid_ext);
		assert_int_equal(a->gid[i].chid, b->gid[i].chid);
	}
	assert_true(a->v1_gid.gid == b->v1_gid.gid);
	assert_int_equal(a->v1_gid.chid, b->v1_gid.chid);
}

static void check_proposal(const struct vector *v, const struct clc_proposal *meant)
{
	struct clc_proposal p;
	uint8_t out[CLC_MAX_LEN];

	assert_int_equal(proposal(v->bytes, v->len, &p), 0);
	same_proposal(&p, meant);
	assert_int_equal(clc_encode_proposal(out, meant), v->len);
	assert_memory_equal(out, v->bytes, v->len);
}

static void test_proposals(void **state)
{
	struct clc_proposal p = meant_proposal();

	check_proposal(&P1, &p);

	p.gid[0] = (struct clc_gid){ .gid = 0x1111222233334444, .gid_ext = 0x5555666677778888,
		.chid = 0xff01 };
	check_proposal(&P2, &p);

	p = meant_proposal();
	p.nr_ueid = 0;
	p.seid_valid = true;
	memcpy(p.seid, EXAMPLE_SEID, CLC_EID_LEN);
	check_proposal(&P3, &p);
}

/* Its neighbour P1 is accepted: it is the GID at 40 that makes a prefix count of 0xef. */
static void test_refused_proposal(void **state)
{
	struct clc_proposal p;
	uint8_t m[V_MAX_LEN];

	assert_int_equal(proposal(P4.bytes, P4.len, &p), -EPROTO);
	memcpy(m, P4.bytes, P4.len);
	memset(m + 40, 0, 10);
	assert_memory_equal(m, P1.bytes, P1.len);
}

/* ---- accept, confirm, decline ---------------------------------------------------------------- */

static struct clc_accept meant_accept(void)
{
	struct clc_accept a = { .type = CLC_ACCEPT, .version = 2, .smcd = true,
		.gid = { .gid = 0xfedcba9876543210, .chid = 0x07c1 },
		.token = 0x0000beef00000000, .size_code = 2, .lgr_id = { 0, 1, 0, 0 } };

	memcpy(a.eid, EXAMPLE_EID, CLC_EID_LEN);
	return a;
}

static void first_contact(struct clc_accept *a, uint8_t release, const char *host)
{
	a->first_contact = true;
	a->os = 2;
	a->release = release;
	a->features = release > 0;
	strcpy(a->host, host);
}

static void check_accept(const struct vector *v, const struct clc_accept *meant)
{
	struct clc_accept a;
	uint8_t out[CLC_MAX_LEN];

	assert_int_equal(accept_(v->bytes, v->len, &a), 0);
	assert_int_equal(a.type, meant->type);
	assert_int_equal(a.version, meant->version);
	assert_int_equal(a.smcd, meant->smcd);
	assert_int_equal(a.first_contact, meant->first_contact);
	assert_true(a.gid.gid == meant->gid.gid);
	assert_true(a.gid.gid_ext == meant->gid.gid_ext);
	assert_int_equal(a.gid.chid, meant->gid.chid);
	assert_true(a.token == meant->token);
	assert_int_equal(a.dmbe_idx, meant->dmbe_idx);
	assert_int_equal(a.size_code, meant->size_code);
	assert_memory_equal(a.lgr_id, meant->lgr_id, sizeof(a.lgr_id));
	assert_memory_equal(a.eid, meant->eid, CLC_EID_LEN);
	assert_int_equal(a.os, meant->os);
	assert_int_equal(a.release, meant->release);
	assert_string_equal(a.host, meant->host);
	assert_int_equal(a.features, meant->features);
	assert_int_equal(clc_encode_accept(out, meant), v->len);
	assert_memory_equal(out, v->bytes, v->len);
}

static void test_accepts(void **state)
{
	struct clc_accept a = meant_accept();

	check_accept(&A2, &a);
	first_contact(&a, 1, "srvhost");
	check_accept(&A1, &a);
	first_contact(&a, 0, "srvhost");
	check_accept(&A3, &a);

	a = meant_accept();
	first_contact(&a, 1, "clnthost");
	a.type = CLC_CONFIRM;
	a.gid.gid = 0x0123456789abcdef;
	a.token = 0x0000cafe00000000;
	a.size_code = 6;
	a.lgr_id[1] = 2;
	check_accept(&C1, &a);
}

static void check_decline(const struct vector *v, const struct clc_decline *meant)
{
	struct clc_decline d;
	uint8_t out[CLC_MAX_LEN];

	assert_int_equal(decline(v->bytes, v->len, &d), 0);
	assert_int_equal(d.version, meant->version);
	assert_int_equal(d.diag, meant->diag);
	assert_int_equal(d.out_of_sync, meant->out_of_sync);
	assert_int_equal(d.os, meant->os);
	assert_int_equal(clc_encode_decline(out, meant), v->len);
	assert_memory_equal(out, v->bytes, v->len);
}

static void test_declines(void **state)
{
	const struct clc_decline d1 = { .version = 2, .diag = 0x03030007, .os = 2 };
	const struct clc_decline d2 = { .version = 2, .diag = 0x04000000, .os = 2,
		.out_of_sync = true };
	const struct clc_decline d3 = { .version = 1, .diag = 0x03030000 };

	check_decline(&D1, &d1);
	check_decline(&D2, &d2);
	check_decline(&D3, &d3);
}

/* ---- CDC blocks and events ------------------------------------------------------------------- */

#define Z8 "\0\0\0\0\0\0\0\0"

static void check_block(const struct cdc_msg *m, enum cdc_order order, const char *golden)
{
	struct {
		_Alignas(8) uint8_t bytes[CDC_SIZE];
	} b, stored = { { 0 } };
	struct cdc_msg back;

	cdc_encode(b.bytes, m, order);
	assert_memory_equal(b.bytes, golden, CDC_SIZE);
	cdc_store(stored.bytes, m, order);
	assert_memory_equal(stored.bytes, golden, CDC_SIZE);
	memcpy(b.bytes, golden, CDC_SIZE);
	cdc_load(b.bytes, order, &back);
	assert_int_equal(back.prod.wrap, m->prod.wrap);
	assert_int_equal(back.prod.count, m->prod.count);
	assert_int_equal(back.cons.wrap, m->cons.wrap);
	assert_int_equal(back.cons.count, m->cons.count);
	assert_int_equal(back.prod_flags, m->prod_flags);
	assert_int_equal(back.conn_flags, m->conn_flags);
}

static void test_blocks(void **state)
{
	const struct cdc_msg five = { .prod = { 0, 5 } };
	const struct cdc_msg turned = {
		.prod = cursor_of(70000, 65504),
		.cons = { 0, 100 },
		.prod_flags = CDC_WRITER_BLOCKED,
	};
	const struct cdc_msg closed = {
		.prod = { 0, 5 },
		.conn_flags = CDC_SENDING_DONE | CDC_CONN_CLOSED,
	};

	check_block(&five, CDC_LITTLE, "\xfe\0\0\0\0\0\0\0" "\0\0\5\0\0\0\0\0" Z8 Z8);
	check_block(&five, CDC_BIG, "\xfe\0\0\0\0\0\0\0" "\0\0\0\0\0\5\0\0" Z8 Z8);
	check_block(&turned, CDC_LITTLE,
		"\xfe\0\0\0\0\0\0\0" "\1\0\x90\x11\0\0\0\0" "\0\0\x64\0\0\0\x80\0" Z8);
	check_block(&turned, CDC_BIG,
		"\xfe\0\0\0\0\0\0\0" "\0\1\0\0\x11\x90\0\0" "\0\0\0\0\0\x64\x80\0" Z8);
	check_block(&closed, CDC_LITTLE,
		"\xfe\0\0\0\0\0\0\0" "\0\0\5\0\0\0\0\0" "\0\0\0\0\0\0\0\xc0" Z8);
}

static void test_shutdown_info(void **state)
{
	const struct lgr_event ev = { .name = { { 0x11, 0x22, 0x33, 0x44 } }, .vlan = 0x0abc,
		.code = LGR_REQUEST };
	static const struct {
		enum cdc_order order;
		uint64_t info;
	} rows[] = {
		{ CDC_LITTLE, UINT64_C(0x00010abc44332211) },
		{ CDC_BIG, UINT64_C(0x112233440abc0001) },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct lgr_event back = lgr_event_unpack(rows[i].info, rows[i].order);

		assert_true(lgr_event_pack(&ev, rows[i].order) == rows[i].info);
		assert_true(lgr_same_name(back.name, ev.name));
		assert_int_equal(back.vlan, ev.vlan);
		assert_int_equal(back.code, ev.code);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proposals),
		cmocka_unit_test(test_refused_proposal),
		cmocka_unit_test(test_accepts),
		cmocka_unit_test(test_declines),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_shutdown_info),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
