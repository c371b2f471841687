/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vfio/base/far.h"

#define EDGE  64u
#define LONGEST (3 * 4096u + 200u)

static uint8_t byte(size_t i)
{
	return (uint8_t)(i * 7 + (i >> 8) * 13 + 1);
}

/* One copy between given places in their lines: all of it, and nothing beside it. */
static void copy(uint8_t *src, uint8_t *dst, size_t from, size_t to, size_t n)
{
	static size_t turn;
	const size_t cached[] = { 0, n / 4, n / 2, n - n / 4, n };
	size_t all = to + n + EDGE;

	memset(dst, 0, all);
	far_copy(dst + to, src + from, n, cached[turn++ % 5]);
	assert_memory_equal(dst + to, src + from, n);
	for (size_t i = 0; i < to; i++)
		assert_int_equal(dst[i], 0);
	for (size_t i = to + n; i < all; i++)
		assert_int_equal(dst[i], 0);
}

static void test_copy(void **state)
{
	/* No byte more than may be touched, for sanitizers to see. */
	uint8_t *src = malloc(EDGE + LONGEST), *dst = malloc(EDGE + LONGEST + EDGE);

	for (size_t i = 0; i < EDGE + LONGEST; i++)
		src[i] = byte(i);
	for (size_t n = 0; n <= LONGEST; n += n < 600 ? 1 : 37)
		for (size_t to = 0; to <= EDGE; to += n < 80 ? 1 : 13)
			copy(src, dst, (to * 5 + n) % EDGE, to, n);
	for (size_t n = FAR_COPY_MIN - 2; n < FAR_COPY_MIN + 2 * FAR_LINE; n++)
		for (size_t to = 0; to <= EDGE; to++)
			copy(src, dst, n % EDGE, to, n);
	/* Long enough to go by lines: each place in a line to each. */
	for (size_t from = 0; from < EDGE; from++)
		for (size_t to = 0; to < EDGE; to++)
			copy(src, dst, from, to, LONGEST - (from * 3 + to) % 200);
	free(src);
	free(dst);
}

/* The same from memory that a near processor wrote. */
static void test_fetch(void **state)
{
	for (size_t n = 1; n <= LONGEST; n += n < 100 ? 1 : 61) {
		size_t from = n % 3 * n % EDGE;
		uint8_t *src = malloc(from + n), *dst = malloc(n + 1);

		for (size_t i = 0; i < from + n; i++)
			src[i] = byte(i);
		dst[n] = 0;
		far_fetch(dst, src + from, n);
		assert_memory_equal(dst, src + from, n);
		assert_int_equal(dst[n], 0);
		free(src);
		free(dst);
	}
}

static void *make_room(void *turn)
{
	for (int i = 0; i < 1000; i++)
		far_make_room(16384 + 1, turn);
	return NULL;
}

/* Whoever is first, it is as large for all, and each has a place of its own in it. */
static void test_room(void **state)
{
	size_t turn[4] = { 0 };
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, make_room, &turn[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_in_range(turn[i], 0, FAR_ROOM_MAX);
		assert_int_equal(turn[i], turn[0]);
	}
}

/* What was given up is still there, and so is what is beside it. */
static void test_forget(void **state)
{
	uint8_t *p = malloc(LONGEST);

	for (size_t i = 0; i < LONGEST; i++)
		p[i] = byte(i);
	for (size_t from = 0; from < 2 * FAR_LINE; from += 9)
		for (size_t n = 0; from + n <= LONGEST; n += 111)
			far_forget(p + from, n);
	for (size_t i = 0; i < LONGEST; i++)
		assert_int_equal(p[i], byte(i));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_forget),
	};

	return cmocka_run_group_tests_name("base/far", tests, NULL, NULL);
}
