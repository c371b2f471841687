/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/fair.h"

static bool moves_little(const struct fair_flow *flow)
{
	return flow->bytes < FAIR_LITTLE && flow->before < FAIR_LITTLE;
}

void fair_moved(struct fair *f, struct fair_flow *flow, uint64_t bytes, uint64_t now_ns)
{
	uint64_t age = now_ns - flow->since_ns;

	if (age >= FAIR_WINDOW_NS) {
		flow->before = age < 2 * FAIR_WINDOW_NS ? flow->bytes : 0;
		flow->bytes = 0;
		flow->since_ns = now_ns;
	}
	flow->bytes += bytes;
	if (!moves_little(flow))
		return;
	if (f->last != flow)
		f->other_ns = f->last_ns;
	f->last = flow;
	f->last_ns = now_ns;
}

bool fair_crowded(const struct fair *f, const struct fair_flow *flow, uint64_t now_ns)
{
	uint64_t at = f->last == flow ? f->other_ns : f->last_ns;

	return at && now_ns - at < FAIR_WINDOW_NS && !moves_little(flow);
}
