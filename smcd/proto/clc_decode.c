/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "smcd/proto/clc.h"
#include "smcd/proto/clc_wire.h"
#include "vfio/base/endian.h"

/*
 * A view of the message without its trailer. Every byte is fetched through it; a fetch outside
 * gives zeros and leaves a mark, so a decoder reads first and asks once, before it hands anything
 * out.
 */
struct view {
	const uint8_t *p;
	size_t len;
	bool bad;
};

static void get_bytes(struct view *v, size_t off, void *out, size_t n)
{
	if (off > v->len || n > v->len - off) {
		v->bad = true;
		memset(out, 0, n);
		return;
	}
	memcpy(out, v->p + off, n);
}

static uint8_t get8(struct view *v, size_t off)
{
	uint8_t b;

	get_bytes(v, off, &b, 1);
	return b;
}

static uint16_t get16(struct view *v, size_t off)
{
	uint8_t b[2];

	get_bytes(v, off, b, sizeof(b));
	return load_be16(b);
}

static uint32_t get32(struct view *v, size_t off)
{
	uint8_t b[4];

	get_bytes(v, off, b, sizeof(b));
	return load_be32(b);
}

static uint64_t get64(struct view *v, size_t off)
{
	uint8_t b[8];

	get_bytes(v, off, b, sizeof(b));
	return load_be64(b);
}

static bool is_eye(uint32_t word)
{
	return word == CLC_EYE_SMCR || word == CLC_EYE_SMCD;
}

int clc_peek(const uint8_t *buf, size_t len, enum clc_type *type, size_t *msg_len)
{
	size_t whole;

	if (len < CLC_HDR_LEN)
		return -EAGAIN;
	whole = load_be16(buf + CLC_LENGTH);
	if (!is_eye(load_be32(buf)) || buf[CLC_VERSION] >> 4 == 0 ||
			buf[CLC_TYPE] < CLC_PROPOSAL || buf[CLC_TYPE] > CLC_DECLINE ||
			whole < CLC_HDR_LEN + CLC_TRAILER_LEN || whole > CLC_MAX_LEN)
		return -EPROTO;
	*type = (enum clc_type)buf[CLC_TYPE];
	*msg_len = whole;
	return 0;
}

/* Checks the frame and opens the view. */
static int open_view(const uint8_t *buf, size_t len, enum clc_type *type, struct view *v)
{
	size_t whole;

	if (clc_peek(buf, len, type, &whole) < 0 || whole != len)
		return -EPROTO;
	/* A Decline's trailer is not looked at, as in the kernel: it changes nothing any more. */
	if (*type != CLC_DECLINE && !is_eye(load_be32(buf + len - CLC_TRAILER_LEN)))
		return -EPROTO;
	*v = (struct view){ .p = buf, .len = len - CLC_TRAILER_LEN };
	return 0;
}

/* Where the parts of a Proposal lie. */
struct proposal_parts {
	size_t v2;
	size_t d2;
	unsigned int nr_entries;
};

/*
 * The v1 IP area: its offset and its length. The prefix count is bounded even if no area is there,
 * as the kernel does.
 */
static int ip_area(struct view *v, size_t *offset, size_t *len)
{
	size_t off = get16(v, CLC_P_IPAREA_OFF);
	uint8_t prefixes = get8(v, CLC_P_SMCD + off + CLC_PFX_COUNT);

	if (off > CLC_P_SMCD_LEN || prefixes > CLC_MAX_PFX)
		return -EPROTO;
	*offset = off;
	*len = CLC_PFX_FIXED_LEN + (size_t)prefixes * CLC_PFX_LEN;
	return 0;
}

/*
 * Because the length is exact, the extensions have one place each, behind the @ip_len bytes of the IP
 * area and behind the UEIDs. The kernel takes any offset within bounds; one that points elsewhere
 * would make the parts overlap, and mean something else to each reader.
 */
static int locate_v2(struct view *v, size_t ip_len, struct clc_proposal *p,
	struct proposal_parts *parts)
{
	p->v2ext = p->typev2 != CLC_TYPE_NEITHER;
	if (!p->v2ext)
		return 0;
	parts->v2 = CLC_P_FIXED_LEN + ip_len;
	if (get16(v, CLC_P_V2EXT_OFF) != parts->v2 - CLC_P_V2EXT_BASE)
		return -EPROTO;
	p->nr_ueid = get8(v, parts->v2 + CLC_V2_NR_UEID);
	if (p->nr_ueid > CLC_MAX_UEID)
		return -EPROTO;
	if (!clc_has_d(p->typev2))
		return 0;

	parts->nr_entries = get8(v, parts->v2 + CLC_V2_NR_GID);
	if (parts->nr_entries > CLC_MAX_GID)
		return -EPROTO;
	/* The extension is as good as missing then: a Decline says so. */
	parts->d2 = parts->v2 + CLC_V2_FIXED_LEN + (size_t)p->nr_ueid * CLC_EID_LEN;
	p->v2dext = get16(v, parts->v2 + CLC_V2_DEXT_OFF) ==
		parts->d2 - parts->v2 - CLC_V2_DEXT_BASE;
	return 0;
}

static size_t v2_len(const struct clc_proposal *p, const struct proposal_parts *parts)
{
	size_t len = 0;

	if (p->v2ext)
		len += CLC_V2_FIXED_LEN + (size_t)p->nr_ueid * CLC_EID_LEN;
	if (clc_has_d(p->typev2))
		len += CLC_D2_FIXED_LEN + (size_t)parts->nr_entries * CLC_GID_ENTRY;
	return len;
}

static void decode_v2(struct view *v, size_t at, struct clc_proposal *p)
{
	uint8_t rel = get8(v, at + CLC_V2_RELEASE);
	unsigned int i;

	p->release = rel >> 4;
	p->seid_valid = rel & CLC_V2_SEID_FLAG;
	p->features = get16(v, at + CLC_V2_FEATURES);
	for (i = 0; i < p->nr_ueid; i++)
		get_bytes(v, at + CLC_V2_UEIDS + (size_t)i * CLC_EID_LEN, p->ueid[i], CLC_EID_LEN);
}

/* Emulated devices come as two entries with the same CHID; half of one is skipped. */
static void decode_gids(struct view *v, size_t at, unsigned int entries, struct clc_proposal *p)
{
	unsigned int i = 0;

	while (i < entries) {
		size_t entry = at + (size_t)i++ * CLC_GID_ENTRY;
		struct clc_gid g = { .gid = get64(v, entry), .chid = get16(v, entry + 8) };

		if (clc_emulated(g.chid)) {
			size_t next = entry + CLC_GID_ENTRY;

			if (i == entries || get16(v, next + 8) != g.chid)
				continue;
			g.gid_ext = get64(v, next);
			i++;
		}
		p->gid[p->nr_gid++] = g;
	}
}

static void decode_v2d(struct view *v, const struct proposal_parts *parts, struct clc_proposal *p)
{
	get_bytes(v, parts->d2 + CLC_D2_SEID, p->seid, CLC_EID_LEN);
	decode_gids(v, parts->d2 + CLC_D2_GIDS, parts->nr_entries, p);
}

/* Version 1: only what is needed to decline it. */
static int decode_v1_proposal(struct view *v, const struct clc_proposal *p)
{
	size_t off, len;

	if (p->typev1 == CLC_TYPE_NEITHER || ip_area(v, &off, &len) < 0)
		return -EPROTO;
	return v->len == CLC_P_SMCD + off + len && !v->bad ? 0 : -EPROTO;
}

static int decode_v2_proposal(struct view *v, struct clc_proposal *p)
{
	struct proposal_parts parts = { 0 };
	size_t off, len;

	if (ip_area(v, &off, &len) < 0)
		return -EPROTO;
	if (p->typev1 == CLC_TYPE_NEITHER)
		len = 0;
	else if (off != CLC_P_SMCD_LEN) /* it follows the SMC-D area, which is always there */
		return -EPROTO;
	if (locate_v2(v, len, p, &parts) < 0)
		return -EPROTO;
	if (v->len != CLC_P_FIXED_LEN + len + v2_len(p, &parts))
		return -EPROTO;
	p->v1_gid.gid = get64(v, CLC_P_SMCD);
	p->v1_gid.chid = get16(v, CLC_P_SMCD + 8);
	if (p->v2ext)
		decode_v2(v, parts.v2, p);
	if (p->v2dext)
		decode_v2d(v, &parts, p);
	return v->bad ? -EPROTO : 0;
}

int clc_decode_proposal(const uint8_t *buf, size_t len, struct clc_proposal *ret)
{
	struct clc_proposal p = { 0 };
	enum clc_type type;
	struct view v;
	int r;

	if (open_view(buf, len, &type, &v) < 0 || type != CLC_PROPOSAL)
		return -EPROTO;
	p.version = buf[CLC_VERSION] >> 4;
	p.typev1 = buf[CLC_VERSION] & 3;
	p.typev2 = buf[CLC_VERSION] >> 2 & 3;
	r = p.version == 1 ? decode_v1_proposal(&v, &p) : decode_v2_proposal(&v, &p);
	if (r == 0)
		*ret = p;
	return r;
}

/* Blank padded on the wire. A name that is no plain text is as good as none. */
static void decode_host(struct view *v, size_t at, char host[CLC_HOST_LEN + 1])
{
	size_t i, n;

	get_bytes(v, at, host, CLC_HOST_LEN);
	host[CLC_HOST_LEN] = '\0';
	n = strlen(host);
	while (n > 0 && host[n - 1] == ' ')
		host[--n] = '\0';
	for (i = 0; i < n; i++) {
		if (host[i] < 0x20 || host[i] > 0x7e)
			host[0] = '\0';
	}
}

static void decode_fce(struct view *v, struct clc_accept *a)
{
	uint8_t rel = get8(v, CLC_A_FCE + CLC_FCE_RELEASE);

	a->os = rel >> 4;
	a->release = rel & 15;
	decode_host(v, CLC_A_FCE + CLC_FCE_HOST, a->host);
	if (a->release == 0)
		return;
	a->features = get16(v, CLC_A_FCE + CLC_FCE_FEATURES);
	/* The rest is reserved, but it has to be there. */
	get8(v, CLC_A_FCE + CLC_FCE_LEN_R1 - 1);
}

static void decode_accept_v2(struct view *v, struct clc_accept *a)
{
	a->gid.chid = get16(v, CLC_A_CHID);
	get_bytes(v, CLC_A_EID, a->eid, CLC_EID_LEN);
	if (clc_emulated(a->gid.chid))
		a->gid.gid_ext = get64(v, CLC_A_GID_EXT);
	if (a->first_contact)
		decode_fce(v, a);
}

static bool accept_len_ok(const struct clc_accept *a, size_t len)
{
	return a->version == 1 ? len == CLC_A_V1_LEN : len >= CLC_A_V2_LEN;
}

int clc_decode_accept(const uint8_t *buf, size_t len, struct clc_accept *ret)
{
	struct clc_accept a = { 0 };
	enum clc_type type;
	struct view v;
	uint8_t transport;

	if (open_view(buf, len, &type, &v) < 0 || (type != CLC_ACCEPT && type != CLC_CONFIRM))
		return -EPROTO;
	transport = buf[CLC_VERSION] & 3;
	if (transport != CLC_TYPE_R && transport != CLC_TYPE_D)
		return -EPROTO;
	a.type = (uint8_t)type;
	a.version = buf[CLC_VERSION] >> 4;
	a.smcd = transport == CLC_TYPE_D;
	a.first_contact = buf[CLC_VERSION] & CLC_FLAG_FC;
	/* SMC-R has another layout; that it is SMC-R is all that we need for declining it. */
	if (a.smcd) {
		if (!accept_len_ok(&a, len))
			return -EPROTO;
		a.gid.gid = get64(&v, CLC_A_GID);
		a.token = get64(&v, CLC_A_TOKEN);
		a.dmbe_idx = get8(&v, CLC_A_IDX);
		a.size_code = get8(&v, CLC_A_SIZE) >> 4;
		get_bytes(&v, CLC_A_LGR, a.lgr_id, sizeof(a.lgr_id));
		if (a.version > 1)
			decode_accept_v2(&v, &a);
		if (v.bad)
			return -EPROTO;
	}
	*ret = a;
	return 0;
}

int clc_decode_decline(const uint8_t *buf, size_t len, struct clc_decline *ret)
{
	struct clc_decline d = { 0 };
	enum clc_type type;
	struct view v;

	if (open_view(buf, len, &type, &v) < 0 || type != CLC_DECLINE)
		return -EPROTO;
	d.version = buf[CLC_VERSION] >> 4;
	/* Early v2 kernels sent the short form with version 2. */
	if (len != CLC_D_V1_LEN && (d.version == 1 || len != CLC_D_V2_LEN))
		return -EPROTO;
	d.out_of_sync = buf[CLC_VERSION] & CLC_FLAG_OOS;
	d.diag = get32(&v, CLC_D_DIAG);
	if (d.version > 1)
		d.os = get8(&v, CLC_D_OS) >> 4;
	if (v.bad)
		return -EPROTO;
	*ret = d;
	return 0;
}
