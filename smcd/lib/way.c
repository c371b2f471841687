/* SPDX-License-Identifier: MIT */
/*
 * way.c - how large pieces are copied, chosen by measuring
 *
 * Past the caches (far.h) or through them: which is faster depends on where the two processors are, which
 * a hypervisor changes as it likes; the difference may be a factor of ten, either way. Where they are near
 * each other a mixture is faster than both, since each way has its own limit. So of each piece the last
 * level / WAY_LEVELS go through the caches, and the sender takes the time of windows of some rings' length,
 * in which all counts: its copying, the reader's, and the waiting for each other. Now and then it tries
 * another level for one, each in its turn, and stays with it if that was clearly faster. At first it tries
 * often, for it may have begun wrongly, and more and more rarely when all have failed.
 *
 * A window's first rings are not counted, since their lines are where another level has left them; but a
 * trial that is much worse ends at once, after STEP bytes, or a dialogue would have many slow turns. A pause
 * of the application looks like a slow window, so a level is as good as the better of its last two.
 */
#include "smcd/lib/internal.h"

#include "vfio/base/far.h"
#include "vfio/base/fd.h"

#define SETTLE_RINGS 8u
#define WINDOW_RINGS 8u
#define STEP	     131072u
#define TRIAL_EVERY  128u /* windows */
#define TRIAL_FIRST  2u
#define RARER	     4u
#define CLEARLY(ns)  ((ns) - (ns) / 16)
#define WORSE(ns)    ((ns) + (ns) / 2)

void way_init(struct lib_way *w)
{
	*w = (struct lib_way){ .every = TRIAL_FIRST, .ns = UINT64_MAX, .last_ns = UINT64_MAX };
}

/* What @ns, a ring's time, says of the trial. */
static void end_trial(struct lib_way *w, uint64_t ns, uint64_t best)
{
	if (ns < CLEARLY(best)) {
		w->best = w->level;
		w->ns = ns;
		w->last_ns = UINT64_MAX;
		w->failed = 0;
		w->every = TRIAL_FIRST;
	} else if (++w->failed == WAY_LEVELS) {
		w->failed = 0;
		w->every = w->every < TRIAL_EVERY ? w->every * RARER : TRIAL_EVERY;
	}
	w->level = w->best;
}

static void end_window(struct lib_way *w, uint64_t ns)
{
	w->last_ns = w->ns;
	w->ns = ns;
	if (++w->windows < w->every)
		return;
	w->windows = 0;
	w->level = (w->best + 1 + w->failed) % (WAY_LEVELS + 1);
}

static void begin(struct lib_way *w, uint64_t now, uint64_t pos)
{
	w->began = pos;
	w->began_ns = now;
}

void way_judge(struct lib_way *w, uint64_t now, uint64_t pos, uint64_t ring)
{
	uint64_t best = w->ns < w->last_ns ? w->ns : w->last_ns;
	bool trial = w->level != w->best, over = !w->end;
	uint64_t ns = 0;

	if (w->end) {
		ns = (now - w->began_ns) * ring / (pos - w->began);
		over = (w->settled && pos - w->began >= WINDOW_RINGS * ring) ||
		       (trial && ns > WORSE(best));
	}
	if (over && w->end && trial)
		end_trial(w, ns, best);
	else if (over && w->end)
		end_window(w, ns);
	if (over) {
		w->settled = false;
		begin(w, now, pos);
	} else if (!w->settled && pos - w->began >= SETTLE_RINGS * ring) {
		w->settled = true;
		begin(w, now, pos);
	}
	w->end = pos + (w->level != w->best && ring > STEP ? STEP : ring);
}

static size_t cached_part(struct smcdu_channel *ch, size_t n)
{
	struct lib_way *w = &ch->tx.way;

	if (n < FAR_COPY_MIN)
		return n;
	if (lib_get(&ch->tx.pos) >= w->end)
		way_judge(w, clock_ns(), lib_get(&ch->tx.pos), ch->tx.size);
	return n / WAY_LEVELS * w->level;
}

void way_copy(struct smcdu_channel *ch, void *dst, const void *src, size_t n)
{
	far_copy(dst, src, n, cached_part(ch, n));
}

size_t smcdu_cached_part(struct smcdu_channel *ch, size_t len)
{
	return channel_mine(ch) ? cached_part(ch, len) : len;
}
