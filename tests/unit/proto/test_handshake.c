/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/proto/handshake.h"
#include "vfio/base/endian.h"
#include "vectors.h"

#define SEC UINT64_C(1000000000)
#define CHID 0x1d15

static const uint8_t eids[][CLC_EID_LEN] = {
	"ALPHA                           ",
	"BETA                            ",
	"GAMMA                           ",
};

static const struct hs_local alpha = { /* knows ALPHA and BETA */
	.gid = { .gid = 0x1d15000000000001, .chid = CHID },
	.ueid = eids,
	.nr_ueid = 2,
	.host = "guest-a",
};

static const struct hs_local beta = { /* knows BETA and GAMMA */
	.gid = { .gid = 0x1d15000000000002, .chid = CHID },
	.ueid = eids + 1,
	.nr_ueid = 2,
	.host = "guest-b",
};

struct pair {
	struct hs c, s;
};

static void begin(struct pair *p)
{
	assert_int_equal(hs_start_client(&p->c, &alpha, SEC, HS_TIMEOUT_MS), HS_SEND);
	assert_int_equal(hs_start_server(&p->s, &beta, SEC, HS_TIMEOUT_MS), HS_WAIT);
	memcpy(p->c.lgr_id, "\0\1\0\0", 4);
	memcpy(p->s.lgr_id, "\0\2\0\0", 4);
}

/* What @from has to send goes into @to. */
static enum hs_step pass(struct hs *to, const struct hs *from)
{
	assert_true(from->out_len > 0);
	return hs_input(to, from->out, from->out_len);
}

/* Up to the server's Accept. */
static void until_accept(struct pair *p, bool first_contact)
{
	begin(p);
	assert_int_equal(pass(&p->s, &p->c), HS_WANT_REACH);
	assert_true(hs_candidate(&p->s)->gid == alpha.gid.gid);
	assert_int_equal(hs_candidate(&p->s)->chid, CHID);
	assert_int_equal(hs_reach(&p->s, true), HS_WANT_DMB);
	assert_true(p->s.peer.gid.gid == alpha.gid.gid);
	p->s.first_contact = first_contact;
	assert_int_equal(hs_dmb(&p->s, 0xbbbb00000000, 2), HS_SEND);
}

/* Up to the client's Confirm. */
static void until_confirm(struct pair *p, bool first_contact)
{
	until_accept(p, first_contact);
	assert_int_equal(pass(&p->c, &p->s), HS_WANT_DMB);
	assert_int_equal(hs_dmb(&p->c, 0xaaaa00000000, 6), HS_DONE);
}

static void check_happy(bool first_contact)
{
	struct pair p;

	until_confirm(&p, first_contact);
	assert_int_equal(p.s.out_len, first_contact ? 130 : 78);
	assert_int_equal(p.c.out_len, first_contact ? 130 : 78);
	assert_int_equal(pass(&p.s, &p.c), HS_DONE);
	assert_int_equal(p.s.out_len, 0);
	assert_true(p.c.peer.token == 0xbbbb00000000);
	assert_true(p.c.peer.gid.gid == beta.gid.gid);
	assert_int_equal(p.c.peer.size_code, 2);
	assert_true(p.s.peer.token == 0xaaaa00000000);
	assert_int_equal(p.s.peer.size_code, 6);
	assert_int_equal(p.s.peer.first_contact, first_contact);
	assert_memory_equal(p.c.eid, eids[1], CLC_EID_LEN); /* the one in common */
	assert_memory_equal(p.s.eid, eids[1], CLC_EID_LEN);
	assert_memory_equal(p.c.peer.lgr_id, "\0\2\0\0", 4);
	assert_string_equal(p.c.peer.host, first_contact ? "guest-b" : "");
	assert_string_equal(p.s.peer.host, first_contact ? "guest-a" : "");
	/* Over is over. */
	assert_int_equal(hs_tick(&p.c, 1000 * SEC), HS_WAIT);
	assert_int_equal(hs_tick(&p.s, 1000 * SEC), HS_WAIT);
}

static void test_first_contact(void **state)
{
	check_happy(true);
}

static void test_reuse(void **state)
{
	check_happy(false);
}

static void test_golden_messages(void **state)
{
	static const uint8_t example[][CLC_EID_LEN] = { "EXAMPLE-EID                     " };
	struct hs_local client = { .gid = { .gid = 0x0123456789abcdef, .chid = 0x07c1 },
		.ueid = example, .nr_ueid = 1, .host = "clnthost" };
	struct hs_local server = { .gid = { .gid = 0xfedcba9876543210, .chid = 0x07c1 },
		.ueid = example, .nr_ueid = 1, .host = "srvhost" };
	struct pair p;

	assert_int_equal(hs_start_client(&p.c, &client, 0, 1), HS_SEND);
	memcpy(p.c.lgr_id, "\0\2\0\0", 4);
	assert_int_equal(p.c.out_len, P1.len);
	assert_memory_equal(p.c.out, P1.bytes, P1.len);
	hs_start_server(&p.s, &server, 0, 1);
	memcpy(p.s.lgr_id, "\0\1\0\0", 4);
	assert_int_equal(pass(&p.s, &p.c), HS_WANT_REACH);
	assert_int_equal(hs_reach(&p.s, true), HS_WANT_DMB);
	p.s.first_contact = true;
	assert_int_equal(hs_dmb(&p.s, 0x0000beef00000000, 2), HS_SEND);
	assert_int_equal(p.s.out_len, A1.len);
	assert_memory_equal(p.s.out, A1.bytes, A1.len);
	assert_int_equal(pass(&p.c, &p.s), HS_WANT_DMB);
	assert_int_equal(hs_dmb(&p.c, 0x0000cafe00000000, 6), HS_DONE);
	assert_int_equal(p.c.out_len, C1.len);
	assert_memory_equal(p.c.out, C1.bytes, C1.len);
	assert_int_equal(pass(&p.s, &p.c), HS_DONE);
}

/* The other side is told the same code in a Decline of the right length. */
static void check_declined(struct hs *by, struct hs *other, uint32_t diag)
{
	assert_int_equal(by->diag, diag);
	assert_false(by->declined_by_peer);
	assert_int_equal(by->out_len, 44);
	assert_int_equal(pass(other, by), HS_DECLINED);
	assert_int_equal(other->diag, diag);
	assert_true(other->declined_by_peer);
	assert_int_equal(other->out_len, 0);
	assert_int_equal(other->out_of_sync, diag == CLC_DECL_SYNCERR);
	/* A second message after the end is refused. */
	assert_int_equal(pass(other, by), HS_FAILED);
}

/* ---- the server refuses ---------------------------------------------------------------------- */

/* A Proposal that the client did not make: the server's answer to it. */
static enum hs_step offer(struct pair *p, const struct clc_proposal *prop)
{
	begin(p);
	p->c.out_len = (size_t)clc_encode_proposal(p->c.out, prop);
	return pass(&p->s, &p->c);
}

static struct clc_proposal sane(void)
{
	struct clc_proposal p = { .release = 1, .features = 1, .nr_ueid = 1, .nr_gid = 1,
		.gid = { alpha.gid } };

	memcpy(p.ueid[0], eids[1], CLC_EID_LEN);
	return p;
}

static void test_server_declines_proposals(void **state)
{
	struct clc_proposal prop = sane();
	struct pair p;

	assert_int_equal(offer(&p, &prop), HS_WANT_REACH); /* it is sane indeed */

	memcpy(prop.ueid[0], eids[0], CLC_EID_LEN); /* an EID the server does not know */
	assert_int_equal(offer(&p, &prop), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_NOSMCDDEV);

	prop.nr_ueid = 0; /* none at all */
	assert_int_equal(offer(&p, &prop), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_NOUEID);

	prop = sane(); /* another fabric */
	prop.gid[0].chid = CHID + 1;
	assert_int_equal(offer(&p, &prop), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_NOV2DDEV);
}

static void test_server_declines_without_d2(void **state)
{
	struct clc_proposal prop = sane();
	struct pair p = { 0 };
	uint8_t *m = p.c.out;

	begin(&p);
	clc_encode_proposal(m, &prop);
	store_be16(m + 86, 0); /* the SMC-Dv2 extension's offset */
	p.c.out_len = 214;
	assert_int_equal(pass(&p.s, &p.c), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_NOV2DEXT);

	begin(&p);
	clc_encode_proposal(m, &prop);
	m[7] = 0x22; /* SMC-R in version 2: 58 bytes of SMC-Dv2 extension less */
	memcpy(m + 152, m, 4);
	store_be16(m + 5, 156);
	p.c.out_len = 156;
	assert_int_equal(pass(&p.s, &p.c), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_PEERNOSMC);
}

static void test_server_declines_v1_in_v1(void **state)
{
	uint8_t m[92] = { 0 };
	struct pair p;

	begin(&p);
	memcpy(m, P1.bytes, 40);
	memcpy(m + 88, P1.bytes, 4);
	store_be16(m + 5, sizeof(m));
	m[7] = 0x11;
	store_be16(m + 38, 40);
	assert_int_equal(hs_input(&p.s, m, sizeof(m)), HS_DECLINED);
	assert_int_equal(p.s.diag, CLC_DECL_PEERNOSMC);
	assert_int_equal(p.s.out_len, 28);
	assert_int_equal(p.s.out[7], 0x10);
}

static void test_candidates(void **state)
{
	struct clc_proposal prop = sane();
	struct pair p;
	unsigned int i;

	prop.nr_gid = 5;
	for (i = 0; i < 5; i++)
		prop.gid[i] = (struct clc_gid){ .gid = 100 + i, .chid = i % 2 ? 0x9999 : CHID };
	assert_int_equal(offer(&p, &prop), HS_WANT_REACH);
	assert_true(hs_candidate(&p.s)->gid == 100);
	assert_int_equal(hs_reach(&p.s, false), HS_WANT_REACH);
	assert_true(hs_candidate(&p.s)->gid == 102);
	assert_int_equal(hs_reach(&p.s, false), HS_WANT_REACH);
	assert_true(hs_candidate(&p.s)->gid == 104);
	assert_int_equal(hs_reach(&p.s, false), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_NOV2DDEV);

	assert_int_equal(offer(&p, &prop), HS_WANT_REACH);
	assert_int_equal(hs_reach(&p.s, false), HS_WANT_REACH);
	assert_int_equal(hs_reach(&p.s, true), HS_WANT_DMB);
	assert_true(p.s.peer.gid.gid == 102);
	/* An answer that nobody asked for. */
	assert_int_equal(hs_reach(&p.s, true), HS_FAILED);
}

/*
 * CHID 0 is an empty slot, also for a device whose CHID is 0 (Accept matching an empty slot, 2026).
 */
static void test_chid_zero_matches_nothing(void **state)
{
	struct hs_local zero = beta;
	struct clc_proposal prop = sane();
	struct pair p;

	zero.gid.chid = 0;
	prop.gid[0].chid = 0;
	begin(&p);
	hs_start_server(&p.s, &zero, SEC, 1000);
	p.c.out_len = (size_t)clc_encode_proposal(p.c.out, &prop);
	assert_int_equal(pass(&p.s, &p.c), HS_DECLINED);
	assert_int_equal(p.s.diag, CLC_DECL_NOV2DDEV);
}

static void test_seid(void **state)
{
	struct hs_local c = alpha, s = beta;
	struct pair p;

	memcpy(c.seid, "IBM-SYSZ-ISMSEID000000001AB23931", CLC_EID_LEN);
	memcpy(s.seid, c.seid, CLC_EID_LEN);
	c.seid_valid = s.seid_valid = true;
	hs_start_client(&p.c, &c, 0, 1);
	hs_start_server(&p.s, &s, 0, 1);
	assert_int_equal(pass(&p.s, &p.c), HS_WANT_REACH);
	assert_memory_equal(p.s.eid, c.seid, CLC_EID_LEN); /* before any UEID */
	hs_reach(&p.s, true);
	hs_dmb(&p.s, 1, 0);
	assert_int_equal(pass(&p.c, &p.s), HS_WANT_DMB);

	/* An all-zero SEID is none, whatever the bit says: everybody has that one. */
	memset(c.seid, 0, CLC_EID_LEN);
	memset(s.seid, 0, CLC_EID_LEN);
	c.nr_ueid = 0;
	hs_start_client(&p.c, &c, 0, 1);
	hs_start_server(&p.s, &s, 0, 1);
	assert_int_equal(pass(&p.s, &p.c), HS_DECLINED);
	assert_int_equal(p.s.diag, CLC_DECL_NOSMCDDEV);
}

static void test_release_zero(void **state)
{
	struct clc_proposal prop = sane();
	struct pair p;

	prop.release = 0;
	assert_int_equal(offer(&p, &prop), HS_WANT_REACH);
	hs_reach(&p.s, true);
	p.s.first_contact = true;
	assert_int_equal(hs_dmb(&p.s, 1, 0), HS_SEND);
	assert_int_equal(p.s.out_len, 114);
	assert_int_equal(pass(&p.c, &p.s), HS_WANT_DMB);
	assert_int_equal(hs_dmb(&p.c, 2, 0), HS_DONE);
	assert_int_equal(p.c.out_len, 114);
	assert_int_equal(pass(&p.s, &p.c), HS_DONE);

	prop.release = 9; /* the lower of the two is in effect */
	assert_int_equal(offer(&p, &prop), HS_WANT_REACH);
	hs_reach(&p.s, true);
	p.s.first_contact = true;
	assert_int_equal(hs_dmb(&p.s, 1, 0), HS_SEND);
	assert_int_equal(p.s.out_len, 130);
	assert_int_equal(p.s.out[75], 0x21);
}

static void test_dmb_failures(void **state)
{
	struct pair p;

	begin(&p);
	pass(&p.s, &p.c);
	assert_int_equal(hs_dmb_failed(&p.s, CLC_DECL_MEM), HS_FAILED); /* nobody asked */
	begin(&p);
	pass(&p.s, &p.c);
	hs_reach(&p.s, true);
	assert_int_equal(hs_dmb_failed(&p.s, CLC_DECL_MAX_DMB), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_MAX_DMB);

	until_accept(&p, true);
	pass(&p.c, &p.s);
	assert_int_equal(hs_dmb_failed(&p.c, CLC_DECL_MEM), HS_DECLINED);
	check_declined(&p.c, &p.s, CLC_DECL_MEM);

	until_accept(&p, false); /* "no such link group": with the out-of-sync bit */
	pass(&p.c, &p.s);
	assert_int_equal(hs_dmb_failed(&p.c, CLC_DECL_SYNCERR), HS_DECLINED);
	assert_int_equal(p.c.out[7] & 0x08, 0x08);
	check_declined(&p.c, &p.s, CLC_DECL_SYNCERR);

	until_accept(&p, true); /* a size code that cannot be announced is our own fault */
	pass(&p.c, &p.s);
	assert_int_equal(hs_dmb(&p.c, 1, 7), HS_DECLINED);
	check_declined(&p.c, &p.s, CLC_DECL_INTERR);
}

/* ---- the client refuses ---------------------------------------------------------------------- */

/* An Accept with one thing changed. */
static enum hs_step accept_with(struct pair *p, size_t at, uint8_t value)
{
	until_accept(p, true);
	p->s.out[at] = value;
	return pass(&p->c, &p->s);
}

static void test_client_declines_accepts(void **state)
{
	struct pair p;

	assert_int_equal(accept_with(&p, 25, 0x60), HS_WANT_DMB);
	assert_int_equal(p.c.peer.size_code, 6);
	assert_int_equal(accept_with(&p, 25, 0x70), HS_DECLINED);
	check_declined(&p.c, &p.s, CLC_DECL_MEM);
	assert_int_equal(accept_with(&p, 24, 1), HS_DECLINED); /* DMBE index */
	check_declined(&p.c, &p.s, CLC_DECL_INTERR);
	assert_int_equal(accept_with(&p, 34, 'X'), HS_DECLINED); /* EID */
	check_declined(&p.c, &p.s, CLC_DECL_NOUEID);
	assert_int_equal(accept_with(&p, 75, 0x22), HS_DECLINED); /* release 2 */
	check_declined(&p.c, &p.s, CLC_DECL_RELEASEERR);
	assert_int_equal(accept_with(&p, 7, 0x28), HS_DECLINED); /* SMC-R */
	check_declined(&p.c, &p.s, CLC_DECL_MODEUNSUPP);
	assert_int_equal(accept_with(&p, 33, 0x16), HS_FAILED); /* CHID not offered */
	assert_int_equal(p.c.out_len, 0);
}

static void test_client_declines_v1_in_v1(void **state)
{
	uint8_t m[48];
	struct pair p;

	until_accept(&p, true);
	memcpy(m, p.s.out, 44);
	memcpy(m + 44, m, 4);
	m[6] = sizeof(m);
	m[7] = 0x19;
	assert_int_equal(hs_input(&p.c, m, sizeof(m)), HS_DECLINED);
	assert_int_equal(p.c.diag, CLC_DECL_MODEUNSUPP);
	assert_int_equal(p.c.out_len, 28);
}

/* ---- a bad Confirm is fatal, never a fallback ------------------------------------------------ */

static enum hs_step confirm_with(struct pair *p, size_t at, uint8_t value)
{
	until_confirm(p, true);
	p->c.out[at] = value;
	return pass(&p->s, &p->c);
}

static void test_bad_confirm(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{ 4, CLC_ACCEPT }, { 4, CLC_PROPOSAL }, { 7, 0x28 }, { 7, 0x19 }, { 15, 0x99 }, /* GID */
		{ 24, 1 }, { 25, 0x70 }, { 33, 0x16 }, { 34, 'X' }, { 75, 0x20 }, { 75, 0x22 },
	};
	struct pair p;
	size_t i;

	assert_int_equal(confirm_with(&p, 28, 0x77), HS_DONE); /* the LGR id says nothing */
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(confirm_with(&p, bad[i].at, bad[i].value), HS_FAILED);
		assert_int_equal(p.s.out_len, 0);
		assert_false(p.s.declined_by_peer);
	}
}

/* Emulated devices: both halves of the GID count. */
static void test_emulated_gid(void **state)
{
	struct hs_local c = alpha, s = beta;
	struct pair p;
	int bad;

	c.gid = (struct clc_gid){ .gid = 0x11, .gid_ext = 0x22, .chid = 0xff01 };
	s.gid = (struct clc_gid){ .gid = 0x33, .gid_ext = 0x44, .chid = 0xff01 };
	for (bad = 0; bad < 2; bad++) {
		hs_start_client(&p.c, &c, 0, 1);
		hs_start_server(&p.s, &s, 0, 1);
		assert_int_equal(pass(&p.s, &p.c), HS_WANT_REACH);
		assert_true(hs_candidate(&p.s)->gid_ext == 0x22);
		hs_reach(&p.s, true);
		hs_dmb(&p.s, 1, 0);
		assert_int_equal(pass(&p.c, &p.s), HS_WANT_DMB);
		assert_true(p.c.peer.gid.gid_ext == 0x44);
		hs_dmb(&p.c, 2, 0);
		if (bad)
			p.c.out[73] ^= 1;
		assert_int_equal(pass(&p.s, &p.c), bad ? HS_FAILED : HS_DONE);
	}
}

/*
 * ---- a Decline in place of anything, and the wrong message anywhere
 * ------------------------------
 */

static void expect_declined(struct hs *hs)
{
	assert_int_equal(hs_input(hs, D1.bytes, D1.len), HS_DECLINED);
	assert_int_equal(hs->diag, CLC_DECL_NOV2DDEV);
	assert_true(hs->declined_by_peer);
	assert_int_equal(hs->out_len, 0);
}

static void test_decline_anywhere(void **state)
{
	struct pair p;

	begin(&p);
	expect_declined(&p.s); /* in place of the Proposal */
	expect_declined(&p.c); /* in place of Accept */
	until_accept(&p, true);
	expect_declined(&p.s); /* in place of Confirm */
	begin(&p);
	pass(&p.s, &p.c);
	expect_declined(&p.s); /* while we look for a way */
	until_accept(&p, true);
	pass(&p.c, &p.s);
	expect_declined(&p.c);

	begin(&p); /* version 1's form, from a server that knows no other */
	assert_int_equal(hs_input(&p.c, D3.bytes, D3.len), HS_DECLINED);
	assert_int_equal(p.c.diag, CLC_DECL_NOSMCDEV);
	begin(&p); /* a Decline that is none */
	assert_int_equal(hs_input(&p.c, D1.bytes, D1.len - 1), HS_FAILED);
}

static void test_wrong_messages(void **state)
{
	static const struct vector *const all[] = { &P1, &A1, &A2, &C1 };
	struct pair p;
	size_t i;

	for (i = 0; i < 4; i++) {
		begin(&p);
		if (all[i]->bytes[4] != CLC_PROPOSAL)
			assert_int_equal(hs_input(&p.s, all[i]->bytes, all[i]->len), HS_FAILED);
		if (all[i]->bytes[4] != CLC_ACCEPT)
			assert_int_equal(hs_input(&p.c, all[i]->bytes, all[i]->len), HS_FAILED);
		until_accept(&p, true);
		assert_int_equal(hs_input(&p.s, all[i]->bytes, all[i]->len), HS_FAILED);
	}
	begin(&p);
	assert_int_equal(hs_input(&p.s, P4.bytes, P4.len), HS_FAILED);
	begin(&p);
	assert_int_equal(hs_input(&p.s, P1.bytes, P1.len - 1), HS_FAILED);
	begin(&p);
	assert_int_equal(hs_input(&p.s, P1.bytes, 0), HS_FAILED);
	until_confirm(&p, true); /* the client reads no CLC any more */
	assert_int_equal(hs_input(&p.c, D1.bytes, D1.len), HS_FAILED);
	assert_int_equal(hs_dmb(&p.c, 1, 1), HS_FAILED);
}

/* ---- refusing and time ----------------------------------------------------------------------- */

static void test_refuse(void **state)
{
	struct pair p;

	begin(&p);
	pass(&p.s, &p.c);
	assert_int_equal(hs_refuse(&p.s, CLC_DECL_PEERNOSMC), HS_DECLINED);
	check_declined(&p.s, &p.c, CLC_DECL_PEERNOSMC);

	begin(&p);
	assert_int_equal(hs_refuse(&p.s, CLC_DECL_PEERNOSMC), HS_DECLINED);
	assert_int_equal(p.s.out_len, 44);
	assert_int_equal(hs_refuse(&p.c, CLC_DECL_INTERR), HS_DECLINED);
	assert_int_equal(p.c.out_len, 44);

	until_accept(&p, true); /* the client may have confirmed already */
	assert_int_equal(hs_refuse(&p.s, CLC_DECL_INTERR), HS_FAILED);
	assert_int_equal(p.s.out_len, 0);
	until_confirm(&p, true);
	assert_int_equal(hs_refuse(&p.c, CLC_DECL_INTERR), HS_FAILED);
}

static void test_deadline(void **state)
{
	struct pair p;
	uint64_t end = SEC + 3 * SEC;

	until_accept(&p, true);
	assert_true(p.c.deadline_ns == end);
	assert_true(p.s.deadline_ns == end); /* one for the whole dialogue */
	assert_int_equal(hs_tick(&p.c, end - 1), HS_WAIT);
	assert_int_equal(hs_tick(&p.s, end - 1), HS_WAIT);
	assert_int_equal(hs_tick(&p.c, end), HS_FAILED);
	assert_int_equal(hs_tick(&p.s, end), HS_FAILED);
	assert_int_equal(p.s.out_len, 0);
	assert_int_equal(hs_tick(&p.s, end + 1), HS_WAIT);
	assert_int_equal(hs_input(&p.s, C1.bytes, C1.len), HS_FAILED); /* late */
}

static void test_too_many_eids(void **state)
{
	static const uint8_t many[9][CLC_EID_LEN] = { "A" };
	struct hs_local l = alpha;
	struct hs hs;

	l.ueid = many;
	l.nr_ueid = 8;
	assert_int_equal(hs_start_client(&hs, &l, 0, 1), HS_SEND);
	l.nr_ueid = 9;
	assert_int_equal(hs_start_client(&hs, &l, 0, 1), HS_FAILED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_contact),
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_golden_messages),
		cmocka_unit_test(test_server_declines_proposals),
		cmocka_unit_test(test_server_declines_without_d2),
		cmocka_unit_test(test_server_declines_v1_in_v1),
		cmocka_unit_test(test_candidates),
		cmocka_unit_test(test_chid_zero_matches_nothing),
		cmocka_unit_test(test_seid),
		cmocka_unit_test(test_release_zero),
		cmocka_unit_test(test_dmb_failures),
		cmocka_unit_test(test_client_declines_accepts),
		cmocka_unit_test(test_client_declines_v1_in_v1),
		cmocka_unit_test(test_bad_confirm),
		cmocka_unit_test(test_emulated_gid),
		cmocka_unit_test(test_decline_anywhere),
		cmocka_unit_test(test_wrong_messages),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_too_many_eids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
