/* SPDX-License-Identifier: MIT */
/*
 * Three hostile drivers do anything at random, a shadow keeps what must be true: what a move may
 * touch, and that nothing is left once they are gone. The sequence is the same in every run.
 */
#include "harness.h"

#include <string.h>

#include "ism/proto.h"
#include "vfio/base/endian.h"

#define STEPS 60000u

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t below(uint64_t n)
{
	return (rnd() >> 11) % n;
}

/* Addresses that are mostly plausible. */
static uint64_t any_iova(void)
{
	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return UINT64_MAX - below(8192);
	case 2:
		return GUEST_BASE + below(GUEST_SIZE);
	default:
		return GUEST_BASE + below(GUEST_SIZE / 4096 + 1) * 4096;
	}
}

static uint64_t any_token(struct bench *b)
{
	const struct dmb *d = b->g[below(GUESTS)].fn->owned;
	uint64_t n = below(8);

	while (d && d->next && n--)
		d = d->next;
	return d && below(10) ? d->token : rnd();
}

static void any_command(struct bench *b, struct guest *g)
{
	struct reg_dmb r = { any_iova(), (uint32_t)(below(4) ? (1 + below(64)) * 4096 : rnd()),
		(uint32_t)below(below(8) ? 64 : UINT32_MAX), (uint32_t)below(2), (uint32_t)below(4),
		0x1001 + below(GUESTS + 1) };
	uint64_t token;
	uint8_t raw[40];
	size_t i;

	switch (below(10)) {
	case 0:
		guest_u64(g, ISM_REG_SBA, any_iova());
		return;
	case 1:
		guest_reg_ieq(g, any_iova(), below(4) ? 512 : rnd());
		return;
	case 2:
	case 3:
	case 4:
		guest_reg_dmb(g, &r, &token);
		return;
	case 5:
		guest_u64(g, ISM_UNREG_DMB, any_token(b));
		return;
	case 6:
		guest_u64(g, below(2) ? ISM_ADD_VLAN_ID : ISM_DEL_VLAN_ID, below(4));
		return;
	case 7:
		guest_signal(
			g, 0x1001 + below(GUESTS + 1), (uint32_t)below(2), (uint32_t)rnd(), rnd());
		return;
	case 8:
		guest_simple(g, (uint32_t)below(32));
		return;
	default:
		for (i = 0; i < sizeof(raw); i++)
			raw[i] = (uint8_t)rnd();
		guest_cmd(g, raw, 8 + below(33), NULL, 0);
		return;
	}
}

/* A move that succeeds was allowed and landed; one that fails changed nothing. */
static void any_move(struct bench *b, struct guest *g)
{
	static uint8_t data[4096], before[4096];
	uint64_t token = any_token(b);
	uint32_t offset = (uint32_t)below(below(4) ? 65536 : 1u << 23);
	size_t len = 1 + below(below(3) ? 64 : 4096);
	const struct dmb *d = fabric_dmb(b->f, token);
	struct guest *owner = d ? &b->g[d->owner->nr] : NULL;
	bool inside = d && offset + len <= d->len && offset % 4096 + len <= 4096;
	uint8_t *at = inside ? guest_at(owner, d->iova + offset) : NULL;
	int r;

	memset(data, (int)below(256), len);
	if (at)
		memcpy(before, at, len);
	r = guest_move(g, token, 0, false, offset, data, len);
	if (!r) {
		assert_true(inside && d->rgid == g->fn->gid);
		assert_memory_equal(at, data, len);
	} else if (at) {
		assert_memory_equal(at, before, len);
	}
	guest_move(g, rnd(), (uint32_t)below(256), below(2), offset, data, len);
}

static void any_unmap(struct guest *g)
{
	uint64_t first = below(GUEST_SIZE / 4096), n = 1 + below(32), i;

	for (i = first; i < first + n && i < GUEST_SIZE / 4096; i++)
		g->gone[i] = true;
	function_dma_unmapped(g->fn, GUEST_BASE + first * 4096, n * 4096);
	/* "map" it again, so that there is something left to do */
	memset(g->gone, 0, sizeof(g->gone));
}

static void any_step(struct bench *b)
{
	struct guest *g = &b->g[below(GUESTS)];
	uint64_t v;

	switch (below(64)) {
	case 0:
		any_unmap(g);
		return;
	case 1:
		if (!below(4))
			function_reset(g->fn);
		return;
	case 2:
		if (below(8))
			return;
		function_detach(g->fn);
		guest_attach(g);
		return;
	case 3:
		clock_advance(b, below(3000000));
		return;
	case 4:
		function_load(g->fn, (uint8_t)rnd(), rnd() >> below(64), below(10), &v);
		return;
	case 5:
		function_store(g->fn, (uint8_t)below(4), rnd() >> below(64), "0123456789abcdef",
			below(17));
		/* whatever it latched or ran must not confuse the next command */
		return;
	default:
		if (below(3))
			any_move(b, g);
		else
			any_command(b, g);
		return;
	}
}

static void test_anything(void **state)
{
	struct bench *b = *state;
	unsigned int i;

	knob(b, KNOB_sba_delay_us, 700);
	knob(b, KNOB_late_store_us, 900);
	for (i = 0; i < STEPS; i++)
		any_step(b);
	assert_true(b->g[0].fn->count.moves > 100);
	assert_true(b->g[0].fn->count.events > 10);
	assert_true(b->g[0].fn->count.command_errors > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_anything, bench_setup, bench_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
