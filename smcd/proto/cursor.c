/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "smcd/proto/cursor.h"

int cursor_advance(uint64_t pos, struct smc_cursor now, uint32_t n, uint64_t max, uint64_t *advance)
{
	uint32_t delta;
	int r = cursor_distance(cursor_of(pos, n), now, n, &delta);

	/* The accumulated amount is what a hostile peer inflates, so the bound is on it. */
	if (r < 0 || delta > max)
		return -EPROTO;
	*advance = delta;
	return 0;
}
