/* SPDX-License-Identifier: MIT */
/*
 * Every test over every baseline, hashed; and a link that alters, loses or doubles a byte is found
 * out.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/perf/baseline.h"
#include "smcd/perf/cpu.h"
#include "smcd/perf/dialogue.h"

static const enum perf_test tests_of[] = { PERF_RTT, PERF_STREAM, PERF_BIDI };
static struct perf_result res;

static struct perf_params params(enum perf_test test, enum perf_copy copy, uint32_t size)
{
	return (struct perf_params){ .test = test, .copy = copy, .size = size, .verify = true,
		.server_cpu = CPU_ANY, .count = size > 65536 ? 5 : 50 };
}

static struct peer *start(const struct baseline *b, const struct perf_params *p)
{
	struct base_params bp = { .test = p->test, .copy = p->copy, .size = p->size, .cores = 1 };
	struct peer *peer = NULL;

	assert_int_equal(peer_start(b, &bp, 1, &peer), 0);
	return peer;
}

static void one(const struct baseline *b, enum perf_test test, enum perf_copy copy, uint32_t size)
{
	struct perf_params p = params(test, copy, size);
	struct peer *peer = start(b, &p);
	struct link *l = peer_link(peer, 0);

	memset(&res, 0, sizeof(res));
	for (unsigned int v = 0; v < (b->nr_variants ? b->nr_variants : 1); v++) {
		if (b->nr_variants)
			l->ops->set_variant(l, v);
		assert_int_equal(perf_warm(l, &p), 0);
		assert_int_equal(perf_run(l, &p, &res), 0);
		assert_int_equal(res.messages, p.count * (v + 1));
		if (test == PERF_BIDI)
			assert_true(res.bytes > res.messages * size);
		else
			assert_int_equal(res.bytes, res.messages * size);
		assert_int_equal(res.rtt.count, test == PERF_RTT ? res.messages : 0);
	}
	peer_stop(peer);
}

static void test_baseline(void **state)
{
	static const uint32_t sizes[] = { 1, 64, 100, 5000, 1u << 20 };
	const struct baseline *b = *state;

	for (size_t t = 0; t < 3; t++)
		for (size_t i = 0; b->tests & tests_of[t] && i < sizeof(sizes) / sizeof(*sizes); i++) {
			one(b, tests_of[t], PERF_COPY, sizes[i]);
			if (b == &base_ring)
				one(b, tests_of[t], PERF_ZERO, sizes[i]);
		}
}

static void test_no_zero_copy(void **state)
{
	struct perf_params p = params(PERF_STREAM, PERF_ZERO, 64);
	struct peer *peer = start(&base_unix, &p);

	assert_int_equal(perf_run(peer_link(peer, 0), &p, &res), -EOPNOTSUPP);
	peer_stop(peer);
}

static void test_not_offered(void **state)
{
	struct base_params bp = { .test = PERF_STREAM, .size = 64 };
	struct peer *peer;

	assert_int_equal(peer_start(&base_eventfd, &bp, 1, &peer), -EOPNOTSUPP);
}

static void test_connect(void **state)
{
	const struct baseline *b = *state;
	static struct connect_result con;
	struct connect_ops ops = { .once = b->connect };
	struct peer *peer;

	assert_int_equal(peer_start_connects(b, &ops.arg, &peer), 0);
	assert_int_equal(connect_run(&ops, 3, 20, 0, &con), 0);
	assert_int_equal(con.connections, 60);
	assert_int_equal(con.connect.count, 60);
	assert_int_equal(con.echo.count, 60);
	assert_int_equal(con.close.count, 60);
	peer_stop(peer);
}

/* ---- a link with a flaw ---------------------------------------------------------------------- */

struct flawed {
	struct link base;
	struct link *real;
	unsigned int messages, at;
};

static int flawed_send(struct link *l, const void *buf, size_t len)
{
	struct flawed *f = (struct flawed *)(void *)l;
	char copy[256];

	assert_true(len <= sizeof(copy));
	memcpy(copy, buf, len);
	if (++f->messages == f->at)
		copy[len - 1] ^= 1;
	return f->real->ops->send(f->real, copy, len);
}

static int flawed_recv(struct link *l, void *buf, size_t len)
{
	struct flawed *f = (struct flawed *)(void *)l;
	int r = f->real->ops->recv(f->real, buf, len);

	if (++f->messages == f->at)
		((char *)buf)[len - 1] ^= 1;
	return r;
}

static const struct link_ops flawed_tx = { .send = flawed_send, .recv = flawed_recv };

static void test_flaws(void **state)
{
	/* 1 is the request, whose last byte means nothing; then there and back in turn. */
	for (unsigned int at = 2; at < 40; at++) {
		struct perf_params p = params(PERF_RTT, PERF_COPY, 200);
		struct peer *peer = start(&base_unix, &p);
		struct flawed f = { .base.ops = &flawed_tx, .real = peer_link(peer, 0), .at = at };

		assert_int_equal(perf_run(&f.base, &p, &res), -EBADMSG);
		peer_stop(peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_ring),
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_eventfd),
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_unix),
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_seqpacket),
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_pipe),
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_tcp),
#ifdef HAVE_ZMQ
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_zmq),
#endif
#ifdef HAVE_UCX
		cmocka_unit_test_prestate(test_baseline, (void *)(uintptr_t)&base_ucx),
#endif
		cmocka_unit_test_prestate(test_connect, (void *)(uintptr_t)&base_unix),
		cmocka_unit_test_prestate(test_connect, (void *)(uintptr_t)&base_tcp),
		cmocka_unit_test(test_no_zero_copy),
		cmocka_unit_test(test_not_offered),
		cmocka_unit_test(test_flaws),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
