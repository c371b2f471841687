/* SPDX-License-Identifier: MIT */
/*
 * spin.h - how long to look before sleeping
 *
 * The window is learned: a sleep that ended sooner than the longest window would have lasted says
 * that looking longer would have paid, and doubles it; a longer sleep says that looking was wasted,
 * and halves it. So it is near the longest window while messages come back to back and 0 when
 * little goes on. With a limit of 0 (one processor) nobody ever spins.
 *
 * A channel takes a dozen messages between five processes to come and go, each of which does some
 * work first. While channels come fast the window is a multiple of the longest: a wake-up costs more.
 */
#ifndef SMCDU_DAEMON_SPIN_H
#define SMCDU_DAEMON_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_MIN_NS 2000u /* first step up from 0; below this it does not pay to spin at all */

#define SPIN_RUSH_NS UINT64_C(1000000) /* two channels within that time are a rush */
#define SPIN_RUSH    4u		       /* times max_ns */

struct spin {
	uint64_t max_ns;
	uint64_t cur_ns;
	uint64_t came_ns; /* when the last channel came */
	bool rush;
};

/* A channel comes. */
static inline void spin_came(struct spin *s, uint64_t now_ns)
{
	s->rush = s->came_ns && now_ns - s->came_ns < SPIN_RUSH_NS;
	s->came_ns = now_ns;
}

static inline uint64_t spin_now(const struct spin *s, uint64_t now_ns)
{
	return s->rush && now_ns - s->came_ns < SPIN_RUSH_NS ? SPIN_RUSH * s->max_ns : s->cur_ns;
}

/* A sleep lasted @slept_ns. */
static inline void spin_learn(struct spin *s, uint64_t slept_ns)
{
	if (slept_ns <= s->max_ns)
		s->cur_ns = s->cur_ns ? s->cur_ns * 2 : SPIN_MIN_NS;
	else
		s->cur_ns /= 2;
	if (s->cur_ns > s->max_ns)
		s->cur_ns = s->max_ns;
	if (s->cur_ns < SPIN_MIN_NS && slept_ns > s->max_ns)
		s->cur_ns = 0;
}

#endif
