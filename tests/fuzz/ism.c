/* SPDX-License-Identifier: MIT */
/*
 * The ISM function's command stream and moves: hostile drivers on one fabric. A model of our own
 * knows which DMBs there are, who may write them and which registrations each function has, and
 * foretells of every command whether it succeeds, of every move whether it lands, and that nothing
 * else in a DMB changes. At the end everybody goes, and nothing may be left.
 */
#include "fuzz.h"
#include "ism/model/fabric.h"
#include "ism/model/function.h"
#include "ism/proto.h"
#include "vfio/base/endian.h"

#define GUESTS	  3u
#define BASE	  UINT64_C(0x100000000)
#define MEM	  (64u << 10)
#define PAGES	  (MEM / 4096)
#define GID0	  UINT64_C(0x1001)
#define DMBS_MAX  2048u
#define STEPS_MAX 500

struct shadow_dmb {
	uint64_t token, rgid, iova;
	uint32_t len, idx;
	unsigned int owner;
	bool vlan_valid;
	uint16_t vlan;
};

struct guest {
	struct function *fn;
	uint8_t *mem;
	bool gone[PAGES];
	bool sba, ieq;
	uint64_t sba_iova, ieq_iova;
	bool vlan[ISM_RESERVED_VLAN + 1];
	unsigned int vlans;
};

static struct fabric *fabric;
static struct guest guests[GUESTS];
static struct shadow_dmb dmbs[DMBS_MAX];
static unsigned int nr_dmbs;
static uint64_t now_ns = 1000000000;

static uint64_t fake_clock(void)
{
	return now_ns;
}

static bool mapped(const struct guest *g, uint64_t iova, uint64_t len)
{
	uint64_t at = iova - BASE, page;

	if (iova < BASE || at >= MEM || len == 0 || len > MEM - at)
		return false;
	for (page = at / 4096; page <= (at + len - 1) / 4096; page++) {
		if (g->gone[page])
			return false;
	}
	return true;
}

static void *resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	struct guest *g = ctx;

	return mapped(g, iova, len) ? g->mem + (iova - BASE) : NULL;
}

static void irq(void *ctx)
{
}

static void unplugged(void *ctx)
{
	CHECK(!"nobody unplugs here");
}

static const struct function_host host = { resolve, irq, unplugged };

/* ---- the model ------------------------------------------------------------------------------- */

static void forget_dmb(unsigned int i)
{
	dmbs[i] = dmbs[--nr_dmbs];
}

static void forget_owner(unsigned int owner)
{
	unsigned int i = 0;

	while (i < nr_dmbs) {
		if (dmbs[i].owner == owner)
			forget_dmb(i);
		else
			i++;
	}
}

/* Reset, or the end of the driver. */
static void forget_guest(struct guest *g)
{
	forget_owner((unsigned int)(g - guests));
	g->sba = g->ieq = false;
	memset(g->vlan, 0, sizeof(g->vlan));
	g->vlans = 0;
}

static struct shadow_dmb *find_dmb(uint64_t token)
{
	unsigned int i;

	for (i = 0; i < nr_dmbs; i++) {
		if (dmbs[i].token == token)
			return &dmbs[i];
	}
	return NULL;
}

static bool index_used(unsigned int owner, uint32_t idx)
{
	unsigned int i;

	for (i = 0; i < nr_dmbs; i++) {
		if (dmbs[i].owner == owner && dmbs[i].idx == idx)
			return true;
	}
	return false;
}

static bool has_vlan(const struct guest *g, uint32_t vlan)
{
	return vlan <= ISM_RESERVED_VLAN && g->vlan[vlan];
}

static bool enabled(uint64_t gid)
{
	return gid >= GID0 && gid < GID0 + GUESTS && guests[gid - GID0].sba && guests[gid - GID0].ieq;
}

/* ---- what drivers do ------------------------------------------------------------------------- */

static uint64_t any_iova(struct input *in)
{
	uint8_t how = in8(in);

	if (how >= 0xf0)
		return in64(in);
	return BASE + (uint64_t)(how % (PAGES + 1)) * 4096 + (how >= 0xe0 ? in16(in) : 0);
}

static uint64_t any_gid(struct input *in)
{
	uint8_t how = in8(in);

	return how >= 0xf0 ? in64(in) : GID0 + how % (GUESTS + 1);
}

static uint64_t any_token(struct input *in)
{
	uint8_t how = in8(in);

	return how >= 0xf0 || nr_dmbs == 0 ? in64(in) : dmbs[how % nr_dmbs].token;
}

/* Body, header, then the header of the reply. */
static uint16_t issue(struct guest *g, const uint8_t *req, size_t len)
{
	uint64_t value = 0;
	uint16_t ret, got;

	if (len > 8)
		CHECK(function_store(g->fn, 2, 8, req + 8, len - 8) == 0);
	CHECK(function_store(g->fn, 2, 0, req, 8) == 0);
	CHECK(function_load(g->fn, 2, 0, 8, &value) == 0);
	ret = (uint16_t)(value >> 16);
	got = (uint16_t)value;
	CHECK(got >= 8 && got <= FUNCTION_AREA && (ret == 0 || got == 8));
	return ret;
}

static void header(uint8_t *req, uint32_t cmd, size_t len)
{
	store_be32(req, cmd);
	store_be16(req + 4, 0);
	store_be16(req + 6, (uint16_t)len);
}

static void register_dmb(struct guest *g, struct input *in)
{
	uint8_t how = in8(in), req[40];
	struct shadow_dmb d = { .owner = (unsigned int)(g - guests), .iova = any_iova(in),
		.len = how & 1 ? in32(in) : (1u + in8(in) % 16) * 4096,
		.idx = how & 2 ? in32(in) : 28u + in8(in), .rgid = any_gid(in) };
	uint32_t vlan_valid = how & 4 ? in32(in) : 0, vlan = how & 4 ? in16(in) % 8 : 0;
	uint16_t ret;
	bool good;

	d.vlan_valid = vlan_valid != 0;
	d.vlan = (uint16_t)vlan;
	header(req, ISM_REG_DMB, sizeof(req));
	store_be64(req + 8, d.iova);
	store_be32(req + 16, d.len);
	store_be32(req + 20, d.idx);
	store_be32(req + 24, vlan_valid);
	store_be32(req + 28, vlan);
	store_be64(req + 32, d.rgid);
	ret = issue(g, req, sizeof(req));
	good = d.len > 0 && d.len <= ISM_DMB_MAX_SIZE && d.len % 4096 == 0 && d.iova % 4096 == 0 &&
		mapped(g, d.iova, d.len) && d.idx < ISM_NR_DMBS && !index_used(d.owner, d.idx) &&
		d.rgid >= GID0 && d.rgid < GID0 + GUESTS && (!d.vlan_valid || has_vlan(g, vlan));
	CHECK((ret == 0) == good);
	if (ret != 0)
		return;
	CHECK(nr_dmbs < DMBS_MAX);
	CHECK(function_load(g->fn, 2, 8, 8, &d.token) == 0);
	CHECK(!find_dmb(d.token));
	dmbs[nr_dmbs++] = d;
}

static void unregister_dmb(struct guest *g, struct input *in)
{
	uint64_t token = any_token(in);
	struct shadow_dmb *d = find_dmb(token);
	bool own = d && d->owner == (unsigned int)(g - guests);
	uint8_t req[16];

	header(req, ISM_UNREG_DMB, sizeof(req));
	store_be64(req + 8, token);
	CHECK((issue(g, req, sizeof(req)) == 0) == own);
	if (own)
		forget_dmb((unsigned int)(d - dmbs));
}

static void vlan(struct guest *g, struct input *in)
{
	bool add = in8(in) & 1;
	uint64_t id = in16(in) % (ISM_RESERVED_VLAN + 1);
	uint8_t req[16];
	uint16_t ret;

	header(req, add ? ISM_ADD_VLAN_ID : ISM_DEL_VLAN_ID, sizeof(req));
	store_be64(req + 8, id);
	ret = issue(g, req, sizeof(req));
	if (add) {
		CHECK((ret == 0) == (((id >= 1 && id <= 4094) || id == ISM_RESERVED_VLAN) &&
			!g->vlan[id] && g->vlans < ISM_NR_VLANS));
		if (ret == 0) {
			g->vlan[id] = true;
			g->vlans++;
		}
		return;
	}
	CHECK((ret == 0) == has_vlan(g, (uint32_t)id));
	if (ret == 0) {
		g->vlan[id] = false;
		g->vlans--;
	}
}

static void queues(struct guest *g, struct input *in)
{
	uint8_t what = in8(in) % 4, req[24];
	uint64_t iova = any_iova(in);
	bool fits = iova % 4096 == 0 && mapped(g, iova, 4096);
	uint16_t ret;

	header(req, what == 0 ? ISM_REG_SBA : what == 1 ? ISM_REG_IEQ : what == 2 ? ISM_UNREG_SBA :
		ISM_UNREG_IEQ, what == 0 ? 16 : what == 1 ? 24 : 8);
	store_be64(req + 8, iova);
	store_be64(req + 16, ISM_IEQ_LEN);
	ret = issue(g, req, what == 0 ? 16 : what == 1 ? 24 : 8);
	switch (what) {
	case 0:
		CHECK((ret == 0) == (fits && !g->sba));
		g->sba = g->sba || ret == 0;
		g->sba_iova = ret == 0 ? iova : g->sba_iova;
		break;
	case 1:
		CHECK((ret == 0) == (fits && !g->ieq));
		g->ieq = g->ieq || ret == 0;
		g->ieq_iova = ret == 0 ? iova : g->ieq_iova;
		break;
	case 2:
		CHECK((ret == 0) == g->sba);
		g->sba = false;
		break;
	default:
		CHECK((ret == 0) == g->ieq);
		g->ieq = false;
	}
}

static void signal_peer(struct guest *g, struct input *in)
{
	uint64_t gid = any_gid(in);
	uint8_t req[32];

	header(req, ISM_SIGNAL_IEQ, sizeof(req));
	store_be64(req + 8, gid);
	store_be32(req + 16, in8(in));
	store_be32(req + 20, in32(in));
	store_be64(req + 24, in64(in));
	CHECK((issue(g, req, sizeof(req)) == 0) == enabled(gid));
}

/* Any command number, any length: what it does is only known of those above. */
static void raw(struct guest *g, struct input *in)
{
	uint8_t req[48];
	size_t len = 8 + in8(in) % 41;
	uint32_t cmd;

	in_bytes(in, req, sizeof(req));
	store_be16(req + 4, 0);
	if (in8(in) & 1) {
		store_be32(req, in8(in) % 32);
		store_be16(req + 6, (uint16_t)len);
	}
	cmd = load_be32(req);
	if (cmd == ISM_READ_GID || cmd == ISM_QUERY_INFO || cmd == ISM_QUERY_RGID ||
			cmd == ISM_SET_VLAN || cmd == ISM_RESET_VLAN) {
		issue(g, req, len);
	} else if (cmd == 0 || cmd > ISM_UNREG_IEQ || cmd == 12 || cmd == 13 || cmd == 15 ||
			cmd == 16) {
		CHECK(issue(g, req, len) != 0);
	} else if (load_be16(req + 6) < 8 || len < load_be16(req + 6) || load_be16(req + 6) > 40) {
		CHECK(issue(g, req, len) != 0);
	}
}

static bool may_write(const struct guest *g, const struct shadow_dmb *d)
{
	const struct guest *owner = &guests[d->owner];

	if (d->rgid != 0 && d->rgid != g->fn->gid)
		return false;
	return !d->vlan_valid || (has_vlan(g, d->vlan) && has_vlan(owner, d->vlan));
}

static bool in_queue(const struct guest *g, uint64_t page)
{
	return (g->sba && g->sba_iova == page) || (g->ieq && g->ieq_iova == page);
}

static void move(struct guest *g, struct input *in)
{
	static uint8_t data[4096], before[MEM];
	uint64_t token = any_token(in);
	uint8_t how = in8(in);
	uint32_t off = how & 1 ? in32(in) & ISM_MOVE_OFF_MASK : in16(in);
	size_t len = how & 2 ? 1u + in16(in) % 4096 : 1u + in8(in) % 64;
	uint64_t idx = how & 4 ? in8(in) : 0;
	struct shadow_dmb *d = find_dmb(token);
	bool one_page = off % 4096 + len <= 4096;
	struct guest *owner = d ? &guests[d->owner] : NULL;
	uint64_t at;
	bool good;
	int r;

	if (!d && (token & 0xffffffff))
		return; /* would hide index and offset */
	memset(data, in8(in), len);
	if (owner)
		memcpy(before, owner->mem, MEM);
	r = function_store(g->fn, 0, token | idx << ISM_MOVE_IDX_SHIFT | (how & 8 ? ISM_MOVE_SF : 0) |
		off, data, len);
	good = d && may_write(g, d) && idx <= ISM_MOVE_IDX_MAX && one_page && off + len <= d->len;
	CHECK((r == 0) == good);
	if (!owner)
		return;
	if (good)
		memcpy(before + (d->iova - BASE) + off, data, len);
	/* Except in SBA and event queue, which may even lie in the DMB. */
	for (at = 0; at < MEM; at += 4096)
		CHECK(in_queue(owner, BASE + at) || memcmp(before + at, owner->mem + at, 4096) == 0);
}

static void unmap(struct guest *g, struct input *in)
{
	uint32_t first = in8(in) % PAGES, n = 1 + in8(in) % 8, i;
	uint64_t from, to;

	n = first + n > PAGES ? PAGES - first : n;
	from = BASE + (uint64_t)first * 4096;
	to = from + (uint64_t)n * 4096;
	for (i = first; i < first + n; i++)
		g->gone[i] = true;
	function_dma_unmapped(g->fn, from, to - from);
	for (i = 0; i < nr_dmbs;) {
		struct shadow_dmb *d = &dmbs[i];

		if (&guests[d->owner] == g && d->iova < to && d->iova + d->len > from)
			forget_dmb(i);
		else
			i++;
	}
	if (g->sba_iova < to && g->sba_iova + 4096 > from)
		g->sba = false;
	if (g->ieq_iova < to && g->ieq_iova + ISM_IEQ_LEN > from)
		g->ieq = false;
	if (in8(in) & 1)
		memset(g->gone, 0, sizeof(g->gone));
}

/* Nothing that the model does not know of is registered, and the other way round. */
static void compare(void)
{
	unsigned int i;

	CHECK(HASH_COUNT(fabric->dmbs) == nr_dmbs);
	for (i = 0; i < nr_dmbs; i++) {
		const struct dmb *d = fabric_dmb(fabric, dmbs[i].token);

		CHECK(d && d->owner == guests[dmbs[i].owner].fn && d->rgid == dmbs[i].rgid);
		CHECK(d->len == dmbs[i].len && d->iova == dmbs[i].iova && d->idx == dmbs[i].idx);
	}
	for (i = 0; i < GUESTS; i++) {
		CHECK(!guests[i].fn->sba == !guests[i].sba);
		CHECK(!guests[i].fn->ieq == !guests[i].ieq);
	}
}

static void step(struct guest *g, struct input *in)
{
	uint64_t v;

	switch (in8(in) % 16) {
	case 0:
	case 1:
	case 2:
		register_dmb(g, in);
		break;
	case 3:
		unregister_dmb(g, in);
		break;
	case 4:
		vlan(g, in);
		break;
	case 5:
		queues(g, in);
		break;
	case 6:
		signal_peer(g, in);
		break;
	case 7:
		raw(g, in);
		break;
	case 8:
		unmap(g, in);
		break;
	case 9:
		CHECK(function_reset(g->fn) == 0);
		forget_guest(g);
		break;
	case 10:
		now_ns += in16(in) * UINT64_C(1000);
		fabric_run(fabric);
		break;
	case 11: /* loads never change anything; stores elsewhere are refused */
		function_load(g->fn, in8(in), in64(in) >> in8(in) % 64, in8(in) % 10, &v);
		CHECK(function_store(g->fn, 1, in64(in), "x", 1) != 0);
		break;
	default:
		move(g, in);
	}
	compare();
}

static void arrive(struct guest *g)
{
	memset(g->gone, 0, sizeof(g->gone));
	memset(g->mem, 0, MEM);
	forget_guest(g);
	CHECK(function_attach(g->fn, &host, g) == 0);
	function_set_msi(g->fn, true);
}

static void build(void)
{
	const struct fabric_params params = { .functions = GUESTS, .chid = 0x1d15, .gid_base = GID0 };
	unsigned int i;

	CHECK(fabric_new(&params, &fabric) == 0);
	fabric->now = fake_clock;
	for (i = 0; i < GUESTS; i++) {
		guests[i].fn = fabric->fn[i];
		guests[i].mem = aligned_alloc(4096, MEM);
		CHECK(guests[i].mem);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned int i;

	if (!fabric)
		build();
	for (i = 0; i < GUESTS; i++)
		arrive(&guests[i]);
	for (i = 0; in.left && i < STEPS_MAX; i++)
		step(&guests[in8(&in) % GUESTS], &in);
	for (i = 0; i < GUESTS; i++) {
		function_detach(guests[i].fn);
		forget_guest(&guests[i]);
	}
	CHECK(HASH_COUNT(fabric->dmbs) == 0 && fabric->later_count == 0);
	return 0;
}
