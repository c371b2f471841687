/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "smcd/proto/cursor.h"

int cursor_advance(uint64_t pos, struct smc_cursor now, uint32_t n, uint64_t max, uint64_t *advance)
{
	struct smc_cursor old = cursor_of(pos, n);
	uint16_t turns = (uint16_t)(now.wrap - old.wrap);
	uint64_t delta;

	if (now.count >= n)
		return -EPROTO;
	if (turns == 0 && now.count >= old.count)
		delta = now.count - old.count;
	else if (turns == 1 && now.count <= old.count)
		delta = (uint64_t)n - old.count + now.count;
	else
		return -EPROTO;
	/* The accumulated amount is what a hostile peer inflates, so the bound is on it. */
	if (delta > max)
		return -EPROTO;
	*advance = delta;
	return 0;
}
