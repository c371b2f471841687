/* SPDX-License-Identifier: MIT */
/*
 * clc_try.h - decoding in memory of just the message's size, so that ASan sees any read outside
 */
#ifndef SMCDU_TEST_PROTO_CLC_TRY_H
#define SMCDU_TEST_PROTO_CLC_TRY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "smcd/proto/clc.h"
#include "vectors.h"

static inline uint8_t *exact(const uint8_t *bytes, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert_non_null(p);
	if (len)
		memcpy(p, bytes, len);
	return p;
}

static inline int proposal(const uint8_t *bytes, size_t len, struct clc_proposal *p)
{
	uint8_t *m = exact(bytes, len);
	int r = clc_decode_proposal(m, len, p);

	free(m);
	return r;
}

static inline int accept_(const uint8_t *bytes, size_t len, struct clc_accept *a)
{
	uint8_t *m = exact(bytes, len);
	int r = clc_decode_accept(m, len, a);

	free(m);
	return r;
}

static inline int decline(const uint8_t *bytes, size_t len, struct clc_decline *d)
{
	uint8_t *m = exact(bytes, len);
	int r = clc_decode_decline(m, len, d);

	free(m);
	return r;
}

/* Any of the three, for tests that only ask whether. */
static inline int any(const uint8_t *bytes, size_t len)
{
	struct clc_proposal p;
	struct clc_accept a;
	struct clc_decline d;

	if (proposal(bytes, len, &p) == 0 || accept_(bytes, len, &a) == 0)
		return 0;
	return decline(bytes, len, &d);
}

static const struct vector *const good[] = { &P1, &P2, &P3, &A1, &A2, &A3, &C1, &D1, &D2, &D3 };
#define NR_GOOD (sizeof(good) / sizeof(good[0]))

#endif
