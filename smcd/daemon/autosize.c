/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/autosize.h"

#include <stddef.h>

/* Ends spans that are over. */
static void advance(struct autosize_user *u, uint64_t now_ns)
{
	uint64_t spans = (now_ns - u->since_ns) / AUTOSIZE_SPAN_NS;

	if (spans == 0)
		return;
	u->before = spans == 1 ? u->now : 0;
	u->now = 0;
	u->since_ns += spans * AUTOSIZE_SPAN_NS;
}

static struct autosize_user *user_of(struct autosize *a, uid_t uid, uint64_t now_ns)
{
	struct autosize_user *least = NULL;

	for (unsigned int i = 0; i < AUTOSIZE_USERS; i++) {
		struct autosize_user *u = &a->user[i];

		if (u->since_ns) {
			advance(u, now_ns);
			if (u->uid == uid)
				return u;
		}
		if (!least || u->now + u->before < least->now + least->before)
			least = u;
	}
	*least = (struct autosize_user){ .uid = uid, .since_ns = now_ns };
	return least;
}

uint32_t autosize_next(struct autosize *a, uid_t uid, uint64_t now_ns, uint64_t channels, uint64_t left)
{
	struct autosize_user *u = user_of(a, uid, now_ns);
	uint64_t recent = (uint64_t)u->now + u->before;
	uint64_t most = left / AUTOSIZE_PART;
	uint32_t size = AUTOSIZE_MAX;

	if (u->now < UINT32_MAX)
		u->now++;
	/* One that was opened lately and is open still counts once. */
	if (recent < channels)
		recent = channels;
	if (most > AUTOSIZE_BUDGET / (recent + 1))
		most = AUTOSIZE_BUDGET / (recent + 1);
	while (size > AUTOSIZE_MIN && size > most)
		size /= 2;
	return size;
}
