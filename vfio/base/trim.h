/* SPDX-License-Identifier: MIT */
/*
 * trim.h - gives memory back to the system after a crowd has gone
 *
 * An allocator keeps what was freed below something that lives, which after thousands of objects is
 * most of it. Giving back costs system calls, and what comes and goes by the handful should not pay
 * them: it happens only when a crowd shrank to an eighth, again when what is left of it does, and once
 * more when the last of it has gone.
 */
#ifndef SMCDU_BASE_TRIM_H
#define SMCDU_BASE_TRIM_H

#include <stdbool.h>
#if defined(HAVE_MALLOC_TRIM)
#include <malloc.h>
#endif

#define TRIM_CROWD 16u

struct trim {
	unsigned int most; /* objects at once since the last time */
	bool rest;	   /* some of a crowd were left then */
};

/* There are @now objects, more than before. */
static inline void trim_grown(struct trim *t, unsigned int now)
{
	if (now > t->most)
		t->most = now;
}

/* There are @now objects, fewer than before. */
static inline void trim_shrunk(struct trim *t, unsigned int now)
{
	bool last = t->rest && now == 0;

	if (!last && (t->most < TRIM_CROWD || now > t->most / 8))
		return;
	t->rest = now > 0;
	t->most = now;
#if defined(HAVE_MALLOC_TRIM)
	malloc_trim(0);
#endif
}

#endif
