/* SPDX-License-Identifier: MIT */
/*
 * CLC messages. What the decoder takes, and our encoder can write, comes back as it was: nothing
 * that matters is lost or invented on the way.
 */
#include <errno.h>

#include "fuzz.h"
#include "smcd/proto/clc_wire.h"

/* Also what is between the members. */
static bool untouched(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

static bool same_gid(const struct clc_gid *a, const struct clc_gid *b)
{
	return a->gid == b->gid && a->gid_ext == b->gid_ext && a->chid == b->chid;
}

static void same_proposal(const struct clc_proposal *a, const struct clc_proposal *b)
{
	unsigned int i;

	CHECK(a->release == b->release && a->features == b->features);
	CHECK(a->seid_valid == b->seid_valid && a->nr_ueid == b->nr_ueid && a->nr_gid == b->nr_gid);
	CHECK(!a->seid_valid || memcmp(a->seid, b->seid, CLC_EID_LEN) == 0);
	CHECK(memcmp(a->ueid, b->ueid, sizeof(a->ueid)) == 0);
	for (i = 0; i < a->nr_gid; i++)
		CHECK(same_gid(&a->gid[i], &b->gid[i]));
}

static void proposal(const uint8_t *data, size_t size)
{
	struct clc_proposal p, q;
	uint8_t out[CLC_MAX_LEN];
	ssize_t len;

	memset(&p, 0x5a, sizeof(p));
	memcpy(&q, &p, sizeof(p));
	if (clc_decode_proposal(data, size, &p) < 0) {
		CHECK(untouched(&p, &q, sizeof(p)));
		return;
	}
	CHECK(p.version > 0 && p.nr_ueid <= CLC_MAX_UEID && p.nr_gid <= CLC_MAX_GID);
	CHECK(!p.v2dext || (p.v2ext && clc_has_d(p.typev2)));
	if (!p.v2dext || p.nr_gid == 0)
		return;
	len = clc_encode_proposal(out, &p);
	CHECK(len > 0 && len <= CLC_MAX_LEN);
	CHECK(clc_decode_proposal(out, (size_t)len, &q) == 0);
	same_proposal(&p, &q);
}

static void accept_confirm(const uint8_t *data, size_t size)
{
	struct clc_accept a, b;
	uint8_t out[CLC_MAX_LEN];
	ssize_t len;

	memset(&a, 0x5a, sizeof(a));
	memcpy(&b, &a, sizeof(a));
	if (clc_decode_accept(data, size, &a) < 0) {
		CHECK(untouched(&a, &b, sizeof(a)));
		return;
	}
	CHECK(a.type == CLC_ACCEPT || a.type == CLC_CONFIRM);
	CHECK(strnlen(a.host, sizeof(a.host)) <= CLC_HOST_LEN);
	if (!a.smcd || a.version < 2 || a.size_code > 6)
		return;
	len = clc_encode_accept(out, &a);
	CHECK(len > 0 && (size_t)len <= size);
	CHECK(clc_decode_accept(out, (size_t)len, &b) == 0);
	CHECK(a.type == b.type && a.first_contact == b.first_contact && a.token == b.token);
	CHECK(same_gid(&a.gid, &b.gid) && a.dmbe_idx == b.dmbe_idx && a.size_code == b.size_code);
	CHECK(memcmp(a.lgr_id, b.lgr_id, 4) == 0 && memcmp(a.eid, b.eid, CLC_EID_LEN) == 0);
	CHECK(a.os == b.os && a.release == b.release && a.features == b.features);
	CHECK(strcmp(a.host, b.host) == 0);
}

static void decline(const uint8_t *data, size_t size)
{
	struct clc_decline d, e;
	uint8_t out[CLC_MAX_LEN];
	ssize_t len;

	memset(&d, 0x5a, sizeof(d));
	memcpy(&e, &d, sizeof(d));
	if (clc_decode_decline(data, size, &d) < 0) {
		CHECK(untouched(&d, &e, sizeof(d)));
		return;
	}
	CHECK(clc_diag_text(d.diag));
	len = clc_encode_decline(out, &d);
	CHECK(len == 28 || len == 44);
	CHECK(clc_decode_decline(out, (size_t)len, &e) == 0);
	CHECK(d.diag == e.diag && d.out_of_sync == e.out_of_sync && d.os == e.os);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum clc_type type;
	size_t len;
	int r = clc_peek(data, size, &type, &len);

	if (size < CLC_HDR_LEN)
		CHECK(r == -EAGAIN);
	else if (r == 0)
		CHECK(len >= CLC_HDR_LEN + CLC_TRAILER_LEN && len <= CLC_MAX_LEN);
	proposal(data, size);
	accept_confirm(data, size);
	decline(data, size);
	return 0;
}
