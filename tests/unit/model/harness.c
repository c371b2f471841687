/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include "ism/proto.h"
#include "vfio/base/endian.h"

static uint64_t fake_now;

static uint64_t fake_clock(void)
{
	return fake_now;
}

static void *resolve(void *ctx, uint64_t iova, size_t len, bool write)
{
	struct guest *g = ctx;
	uint64_t at = iova - GUEST_BASE, page;

	if (iova < GUEST_BASE || at >= GUEST_SIZE || len > GUEST_SIZE - at)
		return NULL;
	if (g->page_maps && at / 4096 != (at + len - 1) / 4096)
		return NULL;
	for (page = at / 4096; page <= (at + len - 1) / 4096; page++) {
		if (g->gone[page])
			return NULL;
	}
	return g->mem + at;
}

static void irq(void *ctx)
{
	struct guest *g = ctx;

	g->irqs++;
}

static void unplugged(void *ctx)
{
	struct guest *g = ctx;

	g->unplugged = true;
}

static const struct function_host host = { resolve, irq, unplugged };

void guest_attach(struct guest *g)
{
	assert_int_equal(function_attach(g->fn, &host, g), 0);
	function_set_msi(g->fn, true);
	assert_int_equal(guest_u64(g, ISM_REG_SBA, SBA_IOVA), 0);
	assert_int_equal(guest_reg_ieq(g, IEQ_IOVA, ISM_IEQ_LEN), 0);
}

int bench_setup(void **state)
{
	struct fabric_params params = { .functions = GUESTS, .chid = 0x1d15, .gid_base = 0x1001 };
	struct bench *b = calloc(1, sizeof(*b));
	unsigned int i;

	if (!b || fabric_new(&params, &b->f))
		return -1;
	fake_now = 1000000000;
	b->f->now = fake_clock;
	for (i = 0; i < GUESTS; i++) {
		b->g[i].fabric = b->f;
		b->g[i].fn = b->f->fn[i];
		b->g[i].mem = aligned_alloc(4096, GUEST_SIZE);
		memset(b->g[i].mem, 0, GUEST_SIZE);
		guest_attach(&b->g[i]);
	}
	*state = b;
	return 0;
}

int bench_teardown(void **state)
{
	struct bench *b = *state;
	unsigned int i;

	for (i = 0; i < GUESTS; i++) {
		function_detach(b->g[i].fn);
		free(b->g[i].mem);
	}
	/* Whatever a test did, nothing may be left over. */
	i = HASH_COUNT(b->f->dmbs) + b->f->later_count;
	fabric_free(b->f);
	free(b);
	return i ? -1 : 0;
}

uint8_t *guest_at(struct guest *g, uint64_t iova)
{
	return g->mem + (iova - GUEST_BASE);
}

uint16_t guest_cmd(struct guest *g, const void *req, size_t len, void *reply, size_t cap)
{
	uint64_t value = 0;
	uint16_t ret, got;
	size_t at;

	if (len > 8)
		assert_int_equal(
			function_store(g->fn, 2, 8, (const uint8_t *)req + 8, len - 8), 0);
	assert_int_equal(function_store(g->fn, 2, 0, req, 8), 0);
	assert_int_equal(function_load(g->fn, 2, 0, 8, &value), 0);
	ret = (uint16_t)(value >> 16);
	got = (uint16_t)value;
	assert_true(got >= 8 && got % 8 == 0);
	if (ret)
		assert_int_equal(got, 8);
	for (at = 0; at < got && at + 8 <= cap; at += 8) {
		assert_int_equal(function_load(g->fn, 2, at, 8, &value), 0);
		store_be64((uint8_t *)reply + at, value);
	}
	return ret;
}

static void header(uint8_t *req, uint32_t cmd, uint16_t len)
{
	store_be32(req, cmd);
	store_be16(req + 4, 0);
	store_be16(req + 6, len);
}

uint16_t guest_simple(struct guest *g, uint32_t cmd)
{
	uint8_t req[8];

	header(req, cmd, sizeof(req));
	return guest_cmd(g, req, sizeof(req), NULL, 0);
}

uint16_t guest_u64(struct guest *g, uint32_t cmd, uint64_t arg)
{
	uint8_t req[16];

	header(req, cmd, sizeof(req));
	store_be64(req + 8, arg);
	return guest_cmd(g, req, sizeof(req), NULL, 0);
}

uint16_t guest_reg_ieq(struct guest *g, uint64_t iova, uint64_t len)
{
	uint8_t req[24];

	header(req, ISM_REG_IEQ, sizeof(req));
	store_be64(req + 8, iova);
	store_be64(req + 16, len);
	return guest_cmd(g, req, sizeof(req), NULL, 0);
}

uint16_t guest_query_rgid(struct guest *g, uint64_t rgid, bool valid, uint32_t vlan)
{
	uint8_t req[24];

	header(req, ISM_QUERY_RGID, sizeof(req));
	store_be64(req + 8, rgid);
	store_be32(req + 16, valid);
	store_be32(req + 20, vlan);
	return guest_cmd(g, req, sizeof(req), NULL, 0);
}

uint16_t guest_signal(
	struct guest *g, uint64_t rgid, uint32_t trigger, uint32_t code, uint64_t info)
{
	uint8_t req[32];

	header(req, ISM_SIGNAL_IEQ, sizeof(req));
	store_be64(req + 8, rgid);
	store_be32(req + 16, trigger);
	store_be32(req + 20, code);
	store_be64(req + 24, info);
	return guest_cmd(g, req, sizeof(req), NULL, 0);
}

uint16_t guest_reg_dmb(struct guest *g, const struct reg_dmb *r, uint64_t *token)
{
	uint8_t req[40], reply[16] = { 0 };
	uint16_t ret;

	header(req, ISM_REG_DMB, sizeof(req));
	store_be64(req + 8, r->iova);
	store_be32(req + 16, r->len);
	store_be32(req + 20, r->idx);
	store_be32(req + 24, r->vlan_valid);
	store_be32(req + 28, r->vlan_id);
	store_be64(req + 32, r->rgid);
	ret = guest_cmd(g, req, sizeof(req), reply, sizeof(reply));
	if (!ret)
		*token = load_be64(reply + 8);
	return ret;
}

uint64_t guest_dmb(struct guest *owner, const struct guest *writer)
{
	struct reg_dmb r = { .iova = DMB_IOVA, .len = DMB_LEN, .idx = 32, .rgid = writer->fn->gid };
	uint64_t token = 0;

	assert_int_equal(guest_reg_dmb(owner, &r, &token), 0);
	return token;
}

int guest_move(struct guest *g, uint64_t token, uint32_t idx, bool sf, uint32_t offset,
	const void *data, size_t len)
{
	uint64_t addr = token | (uint64_t)idx << 24 | (uint64_t)sf << 23 | offset;

	return function_store(g->fn, 0, addr, data, len);
}

bool guest_event(struct guest *g, unsigned int *seen, struct event *ev)
{
	uint64_t idx = load_be64(guest_at(g, IEQ_IOVA));
	const uint8_t *e;

	/* The cursor as Linux keeps it, plus one: next slot to read, modulo 15, against idx. */
	if (idx == 0 || *seen % 15 == idx % 15)
		return false;
	e = guest_at(g, IEQ_IOVA + 32 + 32 * (*seen % 15));
	ev->type = load_be32(e);
	ev->code = load_be32(e + 4);
	ev->tok = load_be64(e + 8);
	ev->info = load_be64(e + 24);
	(*seen)++;
	return true;
}

void knob(struct bench *b, enum knob_id id, uint64_t value)
{
	assert_int_equal(knob_set(&b->f->knobs, id, value), 0);
}

void clock_advance(struct bench *b, uint64_t ns)
{
	fake_now += ns;
	fabric_run(b->f);
}
