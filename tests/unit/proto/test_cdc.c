/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/proto/cdc.h"
#include "smcd/proto/clc.h"

/* ---- cursors --------------------------------------------------------------------------------- */

/* Every position, every cursor, every bound of a small ring, around @base. */
static void exhaust_ring(uint32_t n, uint64_t base)
{
	uint64_t pos, adv, max;
	uint32_t k;

	for (pos = base; pos < base + 2 * n; pos++) {
		for (k = 0; k <= n; k++) {
			for (max = k ? k - 1 : 0; max <= (uint64_t)k + 1; max++) {
				struct smc_cursor now = cursor_of(pos + k, n);
				int r;

				adv = 4711;
				r = cursor_advance(pos, now, n, max, &adv);
				assert_int_equal(r, k <= max ? 0 : -EPROTO);
				assert_true(adv == (k <= max ? k : 4711));
			}
		}
	}
}

static void test_cursor_exhaustive(void **state)
{
	uint32_t n;

	for (n = 32; n <= 64; n++) {
		exhaust_ring(n, 0);
		exhaust_ring(n, UINT64_C(65535) * n); /* the wrap counter turns over */
		exhaust_ring(n, (UINT64_C(1) << 40) / n * n);
	}
}

/* What is no advance of 0..n: every other (wrap, count) near the position. */
static void test_cursor_refuses(void **state)
{
	const uint32_t n = 40;
	uint64_t pos, adv = 4711;
	unsigned int wrap;
	uint32_t count;

	for (pos = 65534u * n; pos < 65537u * n; pos += 7) {
		for (wrap = 0; wrap < 65536; wrap += wrap > 3 && wrap < 65530 ? 211 : 1) {
			for (count = 0; count < n + 3; count++) {
				struct smc_cursor now = { (uint16_t)wrap, count };
				struct smc_cursor old = cursor_of(pos, n);
				bool same = wrap == old.wrap && count >= old.count;
				bool next = wrap == (old.wrap + 1u) % 65536 && count <= old.count;
				bool ok = count < n && (same || next);

				assert_int_equal(cursor_advance(pos, now, n, n, &adv),
					ok ? 0 : -EPROTO);
			}
		}
	}
}

static void test_cursor_edges(void **state)
{
	const uint32_t n = 65504;
	uint64_t adv = 0;

	assert_int_equal(cursor_of(0, n).wrap, 0);
	assert_int_equal(cursor_of(70000, n).wrap, 1);
	assert_int_equal(cursor_of(70000, n).count, 4496);
	/*
	 * Full: same offset, one turn ahead. The hostile bump of the wrap alone, again and again.
	 */
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 1, 0 }, n, n, &adv), 0);
	assert_true(adv == n);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 1, 0 }, n, n - 1, &adv), -EPROTO);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 2, 0 }, n, UINT64_MAX, &adv),
		-EPROTO);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 65535, 0 }, n, n, &adv), -EPROTO);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 0, n }, n, n, &adv), -EPROTO);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 0, UINT32_MAX }, n, n, &adv),
		-EPROTO);
	assert_int_equal(cursor_advance(0, (struct smc_cursor){ 0, n - 1 }, n, n, &adv), 0);
	assert_true(adv == n - 1);
}

/* ---- the block ------------------------------------------------------------------------------- */

struct block {
	_Alignas(8) uint8_t bytes[CDC_SIZE];
};

static void check_block(const struct cdc_msg *m, enum cdc_order order, const char *golden)
{
	struct block b;
	struct cdc_msg back;

	cdc_encode(b.bytes, m, order);
	assert_memory_equal(b.bytes, golden, CDC_SIZE);
	cdc_load(b.bytes, order, &back);
	assert_int_equal(back.prod.wrap, m->prod.wrap);
	assert_int_equal(back.prod.count, m->prod.count);
	assert_int_equal(back.cons.wrap, m->cons.wrap);
	assert_int_equal(back.cons.count, m->cons.count);
	assert_int_equal(back.prod_flags, m->prod_flags);
	assert_int_equal(back.conn_flags, m->conn_flags);
}

#define Z8 "\0\0\0\0\0\0\0\0"

static void test_block_extremes(void **state)
{
	struct cdc_msg m = { .prod = { 0xfffe, 0xfffffffd }, .cons = { 0x1234, 0x56789abc },
		.prod_flags = 0xff, .conn_flags = 0xff };

	check_block(&m, CDC_LITTLE,
		"\xfe\0\0\0\0\0\0\0" "\xfe\xff\xfd\xff\xff\xff\0\0"
		"\x34\x12\xbc\x9a\x78\x56\xff\xff" Z8);
	check_block(&m, CDC_BIG,
		"\xfe\0\0\0\0\0\0\0" "\xff\xfe\xff\xff\xff\xfd\0\0"
		"\x12\x34\x56\x78\x9a\xbc\xff\xff" Z8);
}

/* What is reserved, and the type byte, do not matter to a reader. */
/* The words one by one make the block; each leaves the others alone. */
static void test_single_words(void **state)
{
	const struct cdc_msg m = { .prod = { 0x1234, 0x89abc }, .cons = { 0xfedc, 0x56789 },
		.prod_flags = CDC_WRITER_BLOCKED, .conn_flags = CDC_SENDING_DONE };

	for (enum cdc_order order = CDC_LITTLE; order <= CDC_BIG; order++) {
		_Alignas(8) uint8_t whole[CDC_SIZE] = { 0 }, parts[CDC_SIZE] = { 0 };
		uint64_t cons;

		cdc_store(whole, &m, order);
		cdc_store_cons(parts, &m, order);
		assert_int_equal(cdc_load_prod(parts, order).count, 0);
		cons = cdc_peek(parts, CDC_CONS_WORD);
		cdc_store_prod(parts, m.prod, order);
		assert_true(cdc_peek(parts, CDC_CONS_WORD) == cons);
		cdc_store_type(parts);
		assert_memory_equal(parts, whole, CDC_SIZE);
		parts[CDC_PROD_FLAGS] = 0;
		parts[CDC_PROD_FLAGS + 1] = 0;
		assert_true(cdc_peek(parts, CDC_CONS_WORD) == (cons & ~CDC_FLAGS_MASK));
	}
}

static void test_cursor_moves(void **state)
{
	struct smc_cursor c = { 0 };
	uint64_t pos = 0;

	for (uint32_t k = 0; pos < 70000 * UINT64_C(7); k = (k + 1) % 8) {
		cursor_move(&c, k, 7);
		pos += k;
		assert_int_equal(c.wrap, cursor_of(pos, 7).wrap);
		assert_int_equal(c.count, cursor_of(pos, 7).count);
	}
}

static void test_reserved_is_ignored(void **state)
{
	struct block b;
	struct cdc_msg m;

	memset(b.bytes, 0xee, sizeof(b.bytes));
	memcpy(b.bytes + CDC_PROD_WORD, "\0\1\0\0\0\7", 6);
	memcpy(b.bytes + CDC_CONS_WORD, "\0\2\0\0\0\x9\0\0", 8);
	cdc_load(b.bytes, CDC_BIG, &m);
	assert_int_equal(m.prod.wrap, 1);
	assert_int_equal(m.prod.count, 7);
	assert_int_equal(m.cons.wrap, 2);
	assert_int_equal(m.cons.count, 9);
	assert_int_equal(m.prod_flags, 0);
	assert_int_equal(m.conn_flags, 0);
}

static void test_order_of_chid(void **state)
{
	enum cdc_order host = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? CDC_BIG : CDC_LITTLE;

	assert_int_equal(cdc_order_of_chid(0x1d15), CDC_BIG);
	assert_int_equal(cdc_order_of_chid(0), CDC_BIG);
	assert_int_equal(cdc_order_of_chid(0xfeff), CDC_BIG);
	assert_int_equal(cdc_order_of_chid(0xff00), host);
	assert_int_equal(cdc_order_of_chid(0xffff), host);
}

/* ---- consumer updates ------------------------------------------------------------------------ */

/* SMC-D 5.6, by size code. */
static const struct {
	uint32_t n, limit, half;
} due[] = {
	{ 16352, 2304, 8176 },
	{ 32736, 3273, 16368 },
	{ 65504, 6550, 32752 },
	{ 131040, 13104, 65520 },
	{ 262112, 26211, 131056 },
	{ 524256, 52425, 262128 },
	{ 1048544, 104854, 524272 },
};

static void test_update_due_table(void **state)
{
	const uint64_t told = UINT64_C(123456789012); /* any: only differences count */
	uint8_t code;

	for (code = 0; code < 7; code++) {
		uint32_t n = due[code].n;
		uint64_t l = due[code].limit, h = due[code].half;

		assert_int_equal(n, clc_code_size(code) - CDC_SIZE);
		/* The ring is full: the limit alone decides. */
		assert_false(cdc_update_due(n, told + n, told, told, CDC_WRITER_BLOCKED));
		assert_false(cdc_update_due(n, told + n, told + l, told, CDC_WRITER_BLOCKED));
		assert_true(cdc_update_due(n, told + n, told + l + 1, told, 0));
		assert_true(cdc_update_due(n, told + n, told + l + 1, told, CDC_WRITER_BLOCKED));
		/*
		 * Half of it free as the writer knows: due; one byte more free: only if it is
		 * blocked.
		 */
		assert_true(cdc_update_due(n, told + n - h, told + l + 1, told, 0));
		assert_false(cdc_update_due(n, told + n - h - 1, told + l + 1, told, 0));
		assert_true(cdc_update_due(n, told + n - h - 1, told + l + 1, told, CDC_WRITER_BLOCKED));
	}
}

/*
 * The property that the rule is for: a writer that fills the ring and a reader that only tells when
 * it must never wait for each other.
 */
static void stream_random(uint32_t n, unsigned int seed)
{
	uint64_t tx = 0, told = 0, rx = 0, adv;
	unsigned int round;

	srandom(seed);
	for (round = 0; round < 3000; round++) {
		uint64_t space = n - (tx - told);
		uint64_t put = (uint64_t)random() % (2 * (uint64_t)n);
		bool blocked = put >= space;
		struct smc_cursor wire;

		put = blocked ? space : put;
		wire = cursor_of(tx + put, n);
		assert_int_equal(cursor_advance(tx, wire, n, n - (tx - rx), &adv), 0);
		assert_true(adv == put);
		tx += put;
		rx += round % 3 ? (uint64_t)random() % (tx - rx + 1) : tx - rx;
		if (cdc_update_due(n, tx, rx, told, blocked ? CDC_WRITER_BLOCKED : 0)) {
			assert_int_equal(cursor_advance(told, cursor_of(rx, n), n, tx - told, &adv),
				0);
			told += adv;
		}
		assert_true(told <= rx && rx <= tx && tx - told <= n);
		/* All read and the writer stuck: it must have been told. */
		assert_false(rx == tx && tx - told == n);
	}
	assert_true(tx > 100 * (uint64_t)n);
}

/* An answer from old knowledge errs towards telling: however long ago that was, nothing stalls. */
static void test_update_due_from_old_knowledge(void **state)
{
	const uint32_t n = 16352;

	for (uint64_t total = n / 2 + 1; total < 5 * (uint64_t)n; total += 1000)
		assert_true(cdc_update_due(n, total, total, 0, 0));
	assert_false(cdc_update_due(n, n / 2 - 1, n / 2 - 1, 0, 0));
}

static void test_never_stalls(void **state)
{
	unsigned int i;

	for (i = 0; i < 7; i++)
		stream_random(due[i].n, i + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor_exhaustive),
		cmocka_unit_test(test_cursor_refuses),
		cmocka_unit_test(test_cursor_edges),
		cmocka_unit_test(test_block_extremes),
		cmocka_unit_test(test_single_words),
		cmocka_unit_test(test_cursor_moves),
		cmocka_unit_test(test_reserved_is_ignored),
		cmocka_unit_test(test_order_of_chid),
		cmocka_unit_test(test_update_due_table),
		cmocka_unit_test(test_update_due_from_old_knowledge),
		cmocka_unit_test(test_never_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
