/* SPDX-License-Identifier: MIT */
/*
 * What a stream costs in PCISTBs, exactly: a stream above the driver, above a function that writes down
 * what it is told to store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ism/ism.h"
#include "ism/proto.h"
#include "smcd/daemon/stream.h"
#include "tests/unit/ism/fake.h"

#define SIZE  262144u
#define N     (SIZE - CDC_SIZE)
#define LINE  4096u

struct rig {
	struct fake f;
	struct ism_dev *dev;
	struct stream s;
	_Alignas(8) uint8_t dmb[SIZE];
	_Alignas(8) uint8_t tx[SIZE];
	_Alignas(8) uint8_t cdc[CDC_SIZE];
	uint64_t put;
};

static int move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	return ism_move_data(((struct rig *)ctx)->dev, v, n, done);
}

static int setup(void **state)
{
	static const struct ism_handler handler;
	const struct ism_params params = { .handler = &handler, .skip_selftest = true };
	struct rig *r = calloc(1, sizeof(*r));
	struct ism_dmb *dmb;

	fake_init(&r->f);
	assert_int_equal(ism_open(fake_open(&r->f), &params, &r->dev), 0);
	/* The function knows no other: it is its own peer. */
	assert_int_equal(ism_register_dmb(r->dev, FAKE_GID, SIZE, NULL, &dmb), 0);
	r->s.move = move;
	r->s.move_ctx = r;
	stream_open_rx(&r->s, r->dmb, SIZE, CDC_BIG);
	stream_open_tx(&r->s, dmb->token, SIZE, r->tx, r->cdc);
	r->f.nlog = 0;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	r->f.nlog = 0;
	ism_close(r->dev);
	free(r);
	return 0;
}

/* The peer reads everything and says so. */
static void acknowledge(struct rig *r)
{
	struct cdc_msg m = { .prod = cursor_of(r->s.rx_total, N), .cons = cursor_of(r->s.tx_sent, N) };
	struct stream_news news;

	cdc_encode(r->dmb, &m, CDC_BIG);
	assert_int_equal(stream_pull(&r->s, &news), 0);
}

/* The peer has sent @n bytes, which the application takes. */
static void hear(struct rig *r, uint64_t n)
{
	struct cdc_msg m = { .prod = cursor_of(r->s.rx_total + n, N),
		.cons = cursor_of(r->s.tx_acked, N) };
	struct stream_news news;

	cdc_encode(r->dmb, &m, CDC_BIG);
	assert_int_equal(stream_pull(&r->s, &news), 0);
	assert_int_equal(stream_consume(&r->s, r->s.rx_total), 0);
}

/*
 * Pushes @len bytes more. Returns the stores, of which none crosses a line, and the last one is the
 * one CDC, with the only signal.
 */
static size_t push(struct rig *r, uint64_t len, uint64_t budget)
{
	uint64_t cdcs = r->s.cdc_tx;
	size_t n;

	r->put += len;
	r->f.nlog = 0;
	assert_true(stream_push(&r->s, r->put, budget, 0, stream_update_due(&r->s)) >= 0);
	n = fake_count(&r->f, 'S');
	for (size_t i = 0; i < n; i++) {
		const struct fake_op *op = fake_nth(&r->f, 'S', i);
		uint64_t at = op->offset & ISM_MOVE_OFF_MASK;

		assert_true(at % LINE + op->len <= LINE);
		assert_int_equal(!!(op->offset & ISM_MOVE_SF), i + 1 == n);
	}
	assert_int_equal(r->s.cdc_tx - cdcs, n > 0);
	if (n > 0) {
		assert_int_equal(fake_nth(&r->f, 'S', n - 1)->offset & ISM_MOVE_OFF_MASK, 0);
		assert_int_equal(fake_nth(&r->f, 'S', n - 1)->len, CDC_SIZE);
	}
	return n;
}

/* Lines that the bytes from @pos to @pos + @len lie in. */
static size_t lines(uint64_t pos, uint64_t len)
{
	uint64_t at = pos % N, first = at + len > N ? N - at : len;
	size_t n = (CDC_SIZE + at + first - 1) / LINE - (CDC_SIZE + at) / LINE + 1;

	return first < len ? n + (CDC_SIZE + len - first - 1) / LINE + 1 : n;
}

/* A message by itself costs the lines that it lies in, and one CDC. */
static void single_messages(void **state)
{
	static const uint32_t sizes[] = { 1, 8, 64, 512, 4064, 4096, 65536 };
	struct rig *r = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int k = 0; k < 300; k++) {
			uint64_t pos = r->put;

			assert_int_equal(push(r, sizes[i], UINT64_MAX), lines(pos, sizes[i]) + 1);
			acknowledge(r);
		}
	}
}

/* What has gathered since the last look goes together. */
static void small_messages_gather(void **state)
{
	struct rig *r = *state;

	assert_int_equal(push(r, 63 * 64, UINT64_MAX), 2); /* with the CDC block, one line less 32 bytes */
	assert_int_equal(push(r, 64, UINT64_MAX), 3);	   /* the last 32, and 32 in the next */
	assert_int_equal(push(r, 1024 * 64, UINT64_MAX), 18);
}

/*
 * Messages of 4 KiB, of which some come while the ones before are moved. What flows leaves its ragged
 * end for the next time, so each time costs its whole lines and a CDC, and the last one its rest.
 */
static void what_flows_leaves_at_lines(void **state)
{
	struct rig *r = *state;
	size_t stores = 0;

	r->s.tx_flows = true;
	for (unsigned int i = 0; i < 100; i++) {
		stores += push(r, LINE, UINT64_MAX);
		assert_int_equal((CDC_SIZE + r->s.tx_sent % N) % LINE, r->s.tx_sent % N ? 0 : CDC_SIZE);
		assert_true(r->put - r->s.tx_sent < LINE);
		acknowledge(r);
	}
	r->s.tx_flows = false;
	assert_int_equal(push(r, 0, UINT64_MAX), 2);
	assert_int_equal(r->s.tx_sent, r->put);
	assert_int_equal(stores, 2 * 100); /* a line and a CDC each */
	/* One by one and at once it was 3 each. */
	stores = 0;
	for (unsigned int i = 0; i < 100; i++) {
		stores += push(r, LINE, UINT64_MAX);
		acknowledge(r);
	}
	assert_in_range(stores, 299, 300);
}

/* Bytes that reach no line go at once, flowing or not; and nothing waits for a second push. */
static void nothing_waits_long(void **state)
{
	struct rig *r = *state;
	uint64_t waits = 0, before;

	r->s.tx_flows = true;
	assert_int_equal(push(r, 64, UINT64_MAX), 2);
	assert_int_equal(r->s.tx_sent, 64);
	for (unsigned int i = 0; i < 5000; i++) {
		before = r->put;
		push(r, 1 + i * 7919 % 9000, UINT64_MAX);
		assert_true(r->s.tx_sent > before || (waits == 0 && r->s.tx_sent + LINE > before));
		assert_true(r->s.tx_sent >= before);
		waits = r->put - r->s.tx_sent;
		assert_true(waits < LINE);
		acknowledge(r);
	}
}

/* A budget is cut back to a line: then each part costs its lines, and the next begins with a whole one. */
static void budgets_end_at_lines(void **state)
{
	struct rig *r = *state;

	assert_int_equal(push(r, 200000, 65536), 17);
	assert_int_equal(r->s.tx_sent, 65536 - CDC_SIZE);
	assert_int_equal(push(r, 0, 65536), 17);
	assert_int_equal(push(r, 0, 65536), 17);
	assert_int_equal(push(r, 0, 65536), 2);
	assert_int_equal(r->s.tx_sent, 200000);
	assert_int_equal(push(r, 0, 65536), 0);
	/* Less than a line is possible, too. */
	acknowledge(r);
	assert_int_equal(push(r, 3000, 100), 2);
	assert_int_equal(r->s.tx_sent, 200100);
}

/* Cursor updates go with what is sent, and alone only when SMC-D's rule wants them. */
static void updates_are_folded_in(void **state)
{
	struct rig *r = *state;
	unsigned int alone = 0;

	/* A dialogue: 2 stores a message, whatever was received. */
	for (unsigned int i = 0; i < 10000; i++) {
		uint64_t pos = r->put;

		hear(r, 64);
		assert_int_equal(push(r, 64, UINT64_MAX), lines(pos, 64) + 1);
		assert_int_equal(r->s.rx_told, r->s.rx_pos);
		acknowledge(r);
	}
	/* Only receiving: an update in so many bytes. */
	for (unsigned int i = 0; i < 1024; i++) {
		size_t n;

		hear(r, LINE);
		n = push(r, 0, UINT64_MAX);
		assert_in_range(n, 0, 1);
		alone += n != 0;
	}
	/* When, as far as the writer knows, half of the ring is full. */
	assert_int_equal(alone, 1024 * LINE / (SIZE / 2));
}

/* What lies right for the device is never copied. */
static void whole_words_are_stored_in_place(void **state)
{
	struct rig *r = *state;

	for (unsigned int i = 0; i < 2000; i++) {
		size_t n = push(r, 8 * (1 + i * 31 % 1500), UINT64_MAX);

		for (size_t k = 0; k < n; k++) {
			uint64_t at = fake_nth(&r->f, 'S', k)->offset & ISM_MOVE_OFF_MASK;

			assert_int_equal(at % 8, 0); /* and so in the ring that mirrors it */
		}
		acknowledge(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(single_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(small_messages_gather, setup, teardown),
		cmocka_unit_test_setup_teardown(what_flows_leaves_at_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_waits_long, setup, teardown),
		cmocka_unit_test_setup_teardown(budgets_end_at_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(updates_are_folded_in, setup, teardown),
		cmocka_unit_test_setup_teardown(whole_words_are_stored_in_place, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
