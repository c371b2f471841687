/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vfio/base/slab.h"

#define MANY 1000

struct thing {
	uint64_t id;
	void *p;
	char text[100];
};

static struct thing *get(struct slab *s, uint64_t id)
{
	static const struct thing zero;
	struct thing *t = slab_get(s);

	assert_non_null(t);
	assert_memory_equal(t, &zero, sizeof(zero));
	assert_int_equal((uintptr_t)t % _Alignof(max_align_t), 0);
	memset(t, 0xee, sizeof(*t));
	t->id = id;
	return t;
}

static void put(struct slab *s, struct thing *t, uint64_t id)
{
	assert_int_equal(t->id, id);
	memset(t, 0xdd, sizeof(*t));
	slab_put(s, t);
}

/* Each is its user's alone, from the beginning to the end, in whatever order they come and go. */
static void test_apart(void **state)
{
	struct slab s = SLAB_OF(struct thing);
	struct thing *t[MANY] = { NULL };

	srandom(1);
	slab_put(&s, NULL);
	for (unsigned int round = 0; round < 50 * MANY; round++) {
		unsigned int i = (unsigned int)random() % MANY;

		if (t[i])
			put(&s, t[i], i);
		t[i] = t[i] ? NULL : get(&s, i);
	}
	for (unsigned int i = 0; i < MANY; i++)
		if (t[i])
			put(&s, t[i], i);
	assert_null(s.rooms);
}

/* A block goes with its last object, and one with room is filled before another is made. */
static void test_blocks(void **state)
{
	struct slab s = SLAB_OF(struct thing);
	struct thing *t[MANY];

	for (unsigned int i = 0; i < MANY; i++)
		t[i] = get(&s, i);
	for (unsigned int i = 0; i < MANY; i += 2)
		put(&s, t[i], i);
	for (unsigned int i = 0; i < MANY; i += 2)
		t[i] = get(&s, i);
	for (unsigned int i = MANY; i-- > 0;)
		put(&s, t[i], i);
	assert_null(s.rooms);
}

/* What the C library keeps for the thread of small pieces it keeps of none of these. */
static void test_not_kept(void **state)
{
#if defined(HAVE_MALLINFO2)
	struct slab s = SLAB_OF(struct thing);
	struct thing *t[MANY];
	size_t before = mallinfo2().uordblks;

	if (!before) /* valgrind's, or a sanitizer's */
		skip();
	for (unsigned int i = 0; i < MANY; i++)
		t[i] = get(&s, i);
	assert_true(mallinfo2().uordblks >= before + MANY * sizeof(struct thing));
	for (unsigned int i = 0; i < MANY; i++)
		put(&s, t[i], i);
	assert_int_equal(mallinfo2().uordblks, before);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apart),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
