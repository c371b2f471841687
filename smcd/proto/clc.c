/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "smcd/proto/clc.h"
#include "smcd/proto/clc_wire.h"
#include "vfio/base/endian.h"

static bool eid_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int clc_eid(uint8_t out[CLC_EID_LEN], const char *name)
{
	size_t n;

	for (n = 0; n < CLC_EID_LEN && name[n]; n++) {
		if (!eid_char(name[n]) && (n == 0 || (name[n] != '.' && name[n] != '-')))
			return -EINVAL;
	}
	if (n == 0 || name[n])
		return -EINVAL;
	memset(out, ' ', CLC_EID_LEN);
	memcpy(out, name, n);
	return 0;
}

uint8_t clc_size_code(uint32_t size)
{
	uint8_t code = 0;

	while (code < 6 && clc_code_size(code) < size)
		code++;
	return code;
}

/* Zeroes the message and writes what all have in common. */
static void put_frame(uint8_t *buf, size_t len, enum clc_type type, uint8_t version, uint32_t eye)
{
	memset(buf, 0, len);
	store_be32(buf, eye);
	buf[CLC_TYPE] = (uint8_t)type;
	store_be16(buf + CLC_LENGTH, (uint16_t)len);
	buf[CLC_VERSION] = version;
	store_be32(buf + len - CLC_TRAILER_LEN, eye);
}

/* How many 10-byte entries the devices take. */
static unsigned int gid_entries(const struct clc_proposal *p)
{
	unsigned int i, n = 0;

	for (i = 0; i < p->nr_gid; i++)
		n += clc_emulated(p->gid[i].chid) ? 2 : 1;
	return n;
}

static uint8_t *put_gid(uint8_t *entry, uint64_t gid, uint16_t chid)
{
	store_be64(entry, gid);
	store_be16(entry + 8, chid);
	return entry + CLC_GID_ENTRY;
}

static void put_gids(uint8_t *entry, const struct clc_proposal *p)
{
	unsigned int i;

	for (i = 0; i < p->nr_gid; i++) {
		const struct clc_gid *g = &p->gid[i];

		entry = put_gid(entry, g->gid, g->chid);
		if (clc_emulated(g->chid))
			entry = put_gid(entry, g->gid_ext, g->chid);
	}
}

ssize_t clc_encode_proposal(uint8_t *buf, const struct clc_proposal *p)
{
	size_t ueids, len;
	unsigned int entries;
	uint8_t *v2, *d2;

	if (p->nr_ueid > CLC_MAX_UEID || p->nr_gid == 0 || p->nr_gid > CLC_MAX_GID ||
			p->release > 15)
		return -EINVAL;
	entries = gid_entries(p);
	if (entries > CLC_MAX_GID)
		return -EINVAL;

	ueids = (size_t)p->nr_ueid * CLC_EID_LEN;
	len = CLC_P_FIXED_LEN + CLC_V2_FIXED_LEN + ueids + CLC_D2_FIXED_LEN +
		entries * CLC_GID_ENTRY + CLC_TRAILER_LEN;
	/*
	 * The SMC-D area stays zero: a D2-only proposal has no IP area, and a Linux server reads
	 * its prefix count from the last byte of the GID there.
	 */
	put_frame(buf, len, CLC_PROPOSAL, 2 << 4 | CLC_TYPE_D << 2 | CLC_TYPE_NEITHER,
		CLC_EYE_SMCR);
	store_be16(buf + CLC_P_V2EXT_OFF, CLC_P_FIXED_LEN - CLC_P_V2EXT_BASE);

	v2 = buf + CLC_P_FIXED_LEN;
	v2[CLC_V2_NR_UEID] = (uint8_t)p->nr_ueid;
	v2[CLC_V2_NR_GID] = (uint8_t)entries;
	v2[CLC_V2_RELEASE] = (uint8_t)(p->release << 4 | (p->seid_valid ? CLC_V2_SEID_FLAG : 0));
	store_be16(v2 + CLC_V2_DEXT_OFF, (uint16_t)(CLC_V2_FIXED_LEN + ueids - CLC_V2_DEXT_BASE));
	store_be16(v2 + CLC_V2_FEATURES, p->features);
	memcpy(v2 + CLC_V2_UEIDS, p->ueid, ueids);

	d2 = v2 + CLC_V2_FIXED_LEN + ueids;
	if (p->seid_valid)
		memcpy(d2 + CLC_D2_SEID, p->seid, CLC_EID_LEN);
	put_gids(d2 + CLC_D2_GIDS, p);
	return (ssize_t)len;
}

static void put_fce(uint8_t *fce, const struct clc_accept *a)
{
	size_t host = strnlen(a->host, CLC_HOST_LEN);

	fce[CLC_FCE_RELEASE] = (uint8_t)(a->os << 4 | a->release);
	memset(fce + CLC_FCE_HOST, ' ', CLC_HOST_LEN);
	memcpy(fce + CLC_FCE_HOST, a->host, host);
	if (a->release > 0)
		store_be16(fce + CLC_FCE_FEATURES, a->features);
}

ssize_t clc_encode_accept(uint8_t *buf, const struct clc_accept *a)
{
	uint8_t version = 2 << 4 | CLC_TYPE_D;
	size_t len = CLC_A_V2_LEN;

	if ((a->type != CLC_ACCEPT && a->type != CLC_CONFIRM) || a->size_code > 6 ||
			a->os > 15 || a->release > 15)
		return -EINVAL;
	if (a->first_contact) {
		version |= CLC_FLAG_FC;
		len += a->release > 0 ? CLC_FCE_LEN_R1 : CLC_FCE_LEN_R0;
	}
	put_frame(buf, len, (enum clc_type)a->type, version, CLC_EYE_SMCD);
	store_be64(buf + CLC_A_GID, a->gid.gid);
	store_be64(buf + CLC_A_TOKEN, a->token);
	buf[CLC_A_IDX] = a->dmbe_idx;
	buf[CLC_A_SIZE] = (uint8_t)(a->size_code << 4);
	memcpy(buf + CLC_A_LGR, a->lgr_id, sizeof(a->lgr_id));
	store_be16(buf + CLC_A_CHID, a->gid.chid);
	memcpy(buf + CLC_A_EID, a->eid, CLC_EID_LEN);
	if (clc_emulated(a->gid.chid))
		store_be64(buf + CLC_A_GID_EXT, a->gid.gid_ext);
	if (a->first_contact)
		put_fce(buf + CLC_A_FCE, a);
	return (ssize_t)len;
}

ssize_t clc_encode_decline(uint8_t *buf, const struct clc_decline *d)
{
	bool v1 = d->version == 1;
	size_t len = v1 ? CLC_D_V1_LEN : CLC_D_V2_LEN;
	uint8_t version = v1 ? 1 << 4 : 2 << 4;

	if (d->version == 0 || d->os > 15)
		return -EINVAL;
	if (d->out_of_sync)
		version |= CLC_FLAG_OOS;
	put_frame(buf, len, CLC_DECLINE, version, CLC_EYE_SMCR);
	store_be32(buf + CLC_D_DIAG, d->diag);
	if (!v1)
		buf[CLC_D_OS] = (uint8_t)(d->os << 4);
	return (ssize_t)len;
}
