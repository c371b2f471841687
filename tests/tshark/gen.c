/* SPDX-License-Identifier: MIT */
/*
 * Writes CLC messages into a capture file, and what is meant by each as one line of JSON beside it:
 *	gen CAPTURE MEANT [COUNT [SEED]]
 * A foreign parser reads the capture; compare.py compares.
 *
 * COUNT messages are generated: what our encoder makes of random structures, and Proposals that it
 * does not make (version 1, SMC-R beside SMC-D, prefixes) from bytes put together here. Our decoder
 * has to understand each as it was meant. Some of them are then written again with one byte changed,
 * for every byte of theirs: those that our decoder refuses are left out, of the others the capture
 * gets the message and the line gets what our decoder understood.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/ctl/pcapng.h"
#include "smcd/proto/clc.h"
#include "smcd/proto/clc_wire.h"
#include "vfio/base/endian.h"

#define MUTATED_EVERY 48 /* messages; no multiple of 7, so that all kinds come round */

static FILE *capture, *meant;
static uint64_t seed;
static uint32_t frame;
static unsigned int generated, accepted, refused;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned int below(unsigned int n)
{
	return (unsigned int)((rnd() >> 33) % n);
}

static void random_bytes(uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (uint8_t)rnd();
}

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "gen: message %u: %s\n", frame + 1, what);
	exit(1);
}

/* ---- the lines ------------------------------------------------------------------------------- */

static void put_hex(const char *key, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t i;

	fprintf(meant, ", \"%s\": \"", key);
	for (i = 0; i < len; i++)
		fprintf(meant, "%02x", p[i]);
	fputc('"', meant);
}

static void put_num(const char *key, uint64_t v)
{
	fprintf(meant, ", \"%s\": %" PRIu64, key, v);
}

static void put_packet(const uint8_t *msg, size_t len)
{
	struct pcapng_packet p = {
		.time_ns = (uint64_t)frame * 1000,
		.chid = 0x07c1,
		.src = { frame, (uint16_t)(1024 + frame % 60000) },
		.dst = { UINT64_MAX, 4711 },
		.seq = 1,
		.ack = 1,
		.data = msg,
		.len = len,
	};

	pcapng_clc(capture, &p);
	frame++;
}

static void open_line(const char *how, const uint8_t *msg, size_t len)
{
	put_packet(msg, len);
	fprintf(meant, "{\"frame\": %u, \"how\": \"%s\", \"type\": %u, \"length\": %zu", frame, how,
		msg[CLC_TYPE], len);
}

static void put_devices(const struct clc_proposal *p)
{
	unsigned int i;

	fputs(", \"devices\": [", meant);
	for (i = 0; i < p->nr_gid; i++)
		fprintf(meant, "%s[%" PRIu64 ", %" PRIu64 ", %u]", i ? ", " : "", p->gid[i].gid,
			p->gid[i].gid_ext, p->gid[i].chid);
	fputc(']', meant);
}

static void line_proposal(const char *how, const uint8_t *msg, size_t len,
	const struct clc_proposal *p)
{
	open_line(how, msg, len);
	put_num("version", p->version);
	put_num("typev1", p->typev1);
	put_num("typev2", p->typev2);
	put_num("v2ext", p->v2ext);
	put_num("d2ext", p->v2dext);
	put_num("release", p->release);
	put_num("features", p->features);
	put_num("seid_valid", p->seid_valid);
	put_hex("seid", p->seid, CLC_EID_LEN);
	put_num("nr_ueid", p->nr_ueid);
	put_hex("ueids", p->ueid, (size_t)p->nr_ueid * CLC_EID_LEN);
	put_devices(p);
	put_num("v1_gid", p->v1_gid.gid);
	put_num("v1_chid", p->v1_gid.chid);
	fputs("}\n", meant);
}

static void line_accept(const char *how, const uint8_t *msg, size_t len,
	const struct clc_accept *a)
{
	open_line(how, msg, len);
	put_num("version", a->version);
	put_num("smcd", a->smcd);
	put_num("first_contact", a->first_contact);
	put_num("gid", a->gid.gid);
	put_num("gid_ext", a->gid.gid_ext);
	put_num("chid", a->gid.chid);
	put_num("token", a->token);
	put_num("idx", a->dmbe_idx);
	put_num("size_code", a->size_code);
	put_hex("link_id", a->lgr_id, sizeof(a->lgr_id));
	put_hex("eid", a->eid, CLC_EID_LEN);
	put_num("os", a->os);
	put_num("release", a->release);
	put_hex("host", a->host, strlen(a->host));
	put_num("features", a->features);
	fputs("}\n", meant);
}

static void line_decline(const char *how, const uint8_t *msg, size_t len,
	const struct clc_decline *d)
{
	open_line(how, msg, len);
	put_num("version", d->version);
	put_num("out_of_sync", d->out_of_sync);
	put_num("diag", d->diag);
	put_num("os", d->os);
	fputs("}\n", meant);
}

/* What our decoder makes of a message; false if it refuses it. */
static bool line_decoded(const char *how, const uint8_t *msg, size_t len)
{
	struct clc_proposal p;
	struct clc_accept a;
	struct clc_decline d;

	if (clc_decode_proposal(msg, len, &p) == 0)
		line_proposal(how, msg, len, &p);
	else if (clc_decode_accept(msg, len, &a) == 0)
		line_accept(how, msg, len, &a);
	else if (clc_decode_decline(msg, len, &d) == 0)
		line_decline(how, msg, len, &d);
	else
		return false;
	return true;
}

/* ---- random structures ----------------------------------------------------------------------- */

static void random_eid(uint8_t eid[CLC_EID_LEN])
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
	char name[CLC_EID_LEN + 1] = { 0 };
	unsigned int i, len = 1 + below(CLC_EID_LEN);

	for (i = 0; i < len; i++)
		name[i] = first[below(i ? 38 : 36)];
	if (clc_eid(eid, name) < 0)
		die("EID refused");
}

static struct clc_gid random_gid(void)
{
	struct clc_gid g = { .gid = rnd(), .chid = (uint16_t)below(0xff00) };

	if (below(3) == 0) {
		g.chid = (uint16_t)(0xff00 + below(256));
		g.gid_ext = rnd();
	}
	return g;
}

/* A name as people give them, up to the longest. */
static void random_host(char host[CLC_HOST_LEN + 1])
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
	unsigned int i, len = below(CLC_HOST_LEN + 1);

	memset(host, 0, CLC_HOST_LEN + 1);
	for (i = 0; i < len; i++)
		host[i] = chars[below(sizeof(chars) - 1)];
}

static struct clc_proposal random_proposal(void)
{
	struct clc_proposal p = { .version = 2, .typev1 = CLC_TYPE_NEITHER, .typev2 = CLC_TYPE_D,
		.v2ext = true, .v2dext = true, .release = (uint8_t)below(2),
		.features = (uint16_t)rnd(), .seid_valid = below(2),
		.nr_ueid = below(CLC_MAX_UEID + 1) };
	unsigned int i, entries = 0, want = 1 + below(CLC_MAX_GID);

	for (i = 0; i < p.nr_ueid; i++)
		random_eid(p.ueid[i]);
	if (p.seid_valid)
		random_eid(p.seid);
	while (entries < want) {
		struct clc_gid g = random_gid();

		entries += clc_emulated(g.chid) ? 2 : 1;
		if (entries <= CLC_MAX_GID)
			p.gid[p.nr_gid++] = g;
	}
	return p;
}

static struct clc_accept random_accept(uint8_t type)
{
	struct clc_accept a = { .type = type, .version = 2, .smcd = true,
		.first_contact = below(2), .gid = random_gid(), .token = rnd(),
		.size_code = (uint8_t)below(7) };

	random_bytes(a.lgr_id, sizeof(a.lgr_id));
	random_eid(a.eid);
	if (a.first_contact) {
		a.os = (uint8_t)(1 + below(3));
		a.release = (uint8_t)below(2);
		a.features = a.release ? (uint16_t)rnd() : 0;
		random_host(a.host);
	}
	return a;
}

static struct clc_decline random_decline(void)
{
	static const uint32_t codes[] = { CLC_DECL_MEM, CLC_DECL_PEERNOSMC, CLC_DECL_NOSMCDDEV,
		CLC_DECL_NOV2DDEV, CLC_DECL_NOUEID, CLC_DECL_RELEASEERR, CLC_DECL_SYNCERR,
		CLC_DECL_INTERR };
	struct clc_decline d = { .version = (uint8_t)(1 + below(2)), .out_of_sync = below(2),
		.diag = below(2) ? codes[below(8)] : (uint32_t)rnd() };

	if (d.version == 2)
		d.os = (uint8_t)(1 + below(3));
	return d;
}

/* ---- Proposals that our encoder does not make ------------------------------------------------ */

static size_t put_prefixes(uint8_t *at)
{
	unsigned int i, n = below(CLC_MAX_PFX + 1);

	random_bytes(at, 4);
	at[4] = (uint8_t)below(33);
	at[CLC_PFX_COUNT] = (uint8_t)n;
	for (i = 0; i < n; i++) {
		random_bytes(at + CLC_PFX_FIXED_LEN + (size_t)i * CLC_PFX_LEN, 16);
		at[CLC_PFX_FIXED_LEN + i * CLC_PFX_LEN + 16] = (uint8_t)below(129);
	}
	return CLC_PFX_FIXED_LEN + (size_t)n * CLC_PFX_LEN;
}

/* The v1 part, up to byte 80. The GID at 40 is only there with SMC-D in version 1. */
static void put_fixed(uint8_t *m, struct clc_proposal *p)
{
	store_be32(m, CLC_EYE_SMCR);
	m[CLC_TYPE] = CLC_PROPOSAL;
	m[CLC_VERSION] = (uint8_t)(p->version << 4 | p->typev2 << 2 | p->typev1);
	random_bytes(m + 8, 30); /* peer id, RoCE GID, MAC */
	if (p->version == 1 || p->typev1 == CLC_TYPE_NEITHER || !clc_has_d(p->typev1))
		return;
	p->v1_gid = (struct clc_gid){ .gid = rnd(), .chid = (uint16_t)(1 + below(0xfeff)) };
	store_be64(m + CLC_P_SMCD, p->v1_gid.gid);
	store_be16(m + CLC_P_SMCD + 8, p->v1_gid.chid);
}

static size_t put_v2(uint8_t *m, size_t at, struct clc_proposal *p)
{
	uint8_t *v2 = m + at;
	size_t ueids = (size_t)p->nr_ueid * CLC_EID_LEN;

	p->v2ext = true;
	store_be16(m + CLC_P_V2EXT_OFF, (uint16_t)(at - CLC_P_V2EXT_BASE));
	v2[CLC_V2_NR_UEID] = (uint8_t)p->nr_ueid;
	v2[CLC_V2_RELEASE] = (uint8_t)(p->release << 4 | p->seid_valid);
	random_bytes(v2 + CLC_V2_DEXT_BASE, 16); /* RoCEv2 GID */
	store_be16(v2 + CLC_V2_FEATURES, p->features);
	memcpy(v2 + CLC_V2_UEIDS, p->ueid, ueids);
	return CLC_V2_FIXED_LEN + ueids;
}

static size_t put_d2(uint8_t *v2, size_t at, const struct clc_proposal *p)
{
	uint8_t *d2 = v2 + at, *entry = d2 + CLC_D2_GIDS;
	unsigned int i;

	store_be16(v2 + CLC_V2_DEXT_OFF, (uint16_t)(at - CLC_V2_DEXT_BASE));
	memcpy(d2 + CLC_D2_SEID, p->seid, CLC_EID_LEN);
	for (i = 0; i < p->nr_gid; i++) {
		store_be64(entry, p->gid[i].gid);
		store_be16(entry + 8, p->gid[i].chid);
		entry += CLC_GID_ENTRY;
		v2[CLC_V2_NR_GID]++;
		if (!clc_emulated(p->gid[i].chid))
			continue;
		store_be64(entry, p->gid[i].gid_ext);
		store_be16(entry + 8, p->gid[i].chid);
		entry += CLC_GID_ENTRY;
		v2[CLC_V2_NR_GID]++;
	}
	return (size_t)(entry - d2);
}

static size_t finish(uint8_t *m, size_t len)
{
	store_be32(m + len, CLC_EYE_SMCR);
	len += CLC_TRAILER_LEN;
	store_be16(m + CLC_LENGTH, (uint16_t)len);
	return len;
}

/* Version 1 ends behind the prefixes, which follow byte 40, or the SMC-D area. */
static size_t build_v1(uint8_t *m, struct clc_proposal *p)
{
	size_t at = CLC_P_SMCD;

	*p = (struct clc_proposal){ .version = 1, .typev1 = (uint8_t)below(2) };
	if (below(3) == 0)
		p->typev1 = CLC_TYPE_BOTH;
	put_fixed(m, p);
	if (clc_has_d(p->typev1)) {
		random_bytes(m + CLC_P_SMCD, 8);
		at += CLC_P_SMCD_LEN;
	}
	store_be16(m + CLC_P_IPAREA_OFF, (uint16_t)(at - CLC_P_SMCD));
	return finish(m, at + put_prefixes(m + at));
}

static size_t build_mixed(uint8_t *m, struct clc_proposal *p)
{
	size_t at = CLC_P_FIXED_LEN, v2;

	*p = random_proposal();
	p->typev1 = (uint8_t)(below(3) ? below(2) : CLC_TYPE_BOTH);
	p->typev2 = (uint8_t)(below(2) ? CLC_TYPE_D : CLC_TYPE_BOTH);
	put_fixed(m, p);
	store_be16(m + CLC_P_IPAREA_OFF, CLC_P_SMCD_LEN);
	at += put_prefixes(m + at);
	v2 = at;
	at += put_v2(m, at, p);
	at += put_d2(m + v2, at - v2, p);
	return finish(m, at);
}

/* ---- one message ----------------------------------------------------------------------------- */

static bool same_devices(const struct clc_proposal *a, const struct clc_proposal *b)
{
	unsigned int i;

	for (i = 0; i < a->nr_gid; i++) {
		if (a->gid[i].gid != b->gid[i].gid || a->gid[i].gid_ext != b->gid[i].gid_ext ||
				a->gid[i].chid != b->gid[i].chid)
			return false;
	}
	return a->nr_gid == b->nr_gid;
}

static bool same_proposal(const struct clc_proposal *a, const struct clc_proposal *b)
{
	return a->version == b->version && a->typev1 == b->typev1 && a->typev2 == b->typev2 &&
		a->v2ext == b->v2ext && a->v2dext == b->v2dext && a->release == b->release &&
		a->features == b->features && a->seid_valid == b->seid_valid &&
		memcmp(a->seid, b->seid, CLC_EID_LEN) == 0 && a->nr_ueid == b->nr_ueid &&
		memcmp(a->ueid, b->ueid, sizeof(a->ueid)) == 0 && same_devices(a, b) &&
		a->v1_gid.gid == b->v1_gid.gid && a->v1_gid.chid == b->v1_gid.chid;
}

static size_t proposal(uint8_t *m, unsigned int kind)
{
	struct clc_proposal p, back = { 0 };
	ssize_t len;

	if (kind == 0) {
		len = (ssize_t)build_v1(m, &p);
	} else if (kind == 1) {
		len = (ssize_t)build_mixed(m, &p);
	} else {
		p = random_proposal();
		len = clc_encode_proposal(m, &p);
	}
	if (len < 0 || clc_decode_proposal(m, (size_t)len, &back) < 0 || !same_proposal(&p, &back))
		die("our decoder does not take the Proposal as it was meant");
	line_proposal(kind == 0 ? "v1" : kind == 1 ? "mixed" : "ours", m, (size_t)len, &p);
	return (size_t)len;
}

static size_t accept_confirm(uint8_t *m, uint8_t type)
{
	struct clc_accept a = random_accept(type), back;
	ssize_t len = clc_encode_accept(m, &a);

	if (len < 0 || clc_decode_accept(m, (size_t)len, &back) < 0)
		die("our decoder refuses our Accept");
	line_accept("ours", m, (size_t)len, &a);
	return (size_t)len;
}

static size_t decline(uint8_t *m)
{
	struct clc_decline d = random_decline(), back;
	ssize_t len = clc_encode_decline(m, &d);

	if (len < 0 || clc_decode_decline(m, (size_t)len, &back) < 0)
		die("our decoder refuses our Decline");
	line_decline("ours", m, (size_t)len, &d);
	return (size_t)len;
}

/* Every byte once, by a value that it did not have. */
static void mutate(const uint8_t *msg, size_t len)
{
	uint8_t *m = malloc(len);
	char how[32];
	size_t i;

	if (!m)
		die("no memory");
	for (i = 0; i < len; i++) {
		memcpy(m, msg, len);
		m[i] ^= (uint8_t)(1 + below(255));
		snprintf(how, sizeof(how), "byte %zu", i);
		if (line_decoded(how, m, len))
			accepted++;
		else
			refused++;
	}
	free(m);
}

static void generate(unsigned int count)
{
	uint8_t m[CLC_MAX_LEN];
	unsigned int i;
	size_t len;

	for (i = 0; i < count; i++) {
		memset(m, 0, sizeof(m));
		switch (i % 7) {
		case 0:
		case 1:
		case 2:
			len = proposal(m, i % 7);
			break;
		case 3:
			len = accept_confirm(m, CLC_ACCEPT);
			break;
		case 4:
			len = accept_confirm(m, CLC_CONFIRM);
			break;
		case 5:
			len = decline(m);
			break;
		default:
			len = proposal(m, 2);
		}
		generated++;
		if (i % MUTATED_EVERY == 0)
			mutate(m, len);
	}
}

int main(int argc, char **argv)
{
	unsigned int count = argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 10) : 2800;
	uint64_t start = argc > 4 ? strtoull(argv[4], NULL, 0) : 1;

	if (argc < 3 || argc > 5 || count == 0) {
		fprintf(stderr, "usage: gen CAPTURE MEANT [COUNT [SEED]]\n");
		return 2;
	}
	seed = start * 2 + 1;
	capture = fopen(argv[1], "wb");
	meant = fopen(argv[2], "w");
	if (!capture || !meant) {
		perror("gen");
		return 1;
	}
	pcapng_start(capture, "tshark test", "generated");
	generate(count);
	fprintf(stderr, "gen: %u messages, seed %" PRIu64 "; with one of their bytes changed %u more "
		"are refused and %u are in the capture\n", generated, start, refused, accepted);
	if (ferror(capture) | ferror(meant) | fclose(capture) | fclose(meant)) {
		perror("gen");
		return 1;
	}
	return 0;
}
