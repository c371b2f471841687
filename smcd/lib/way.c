/* SPDX-License-Identifier: MIT */
/*
 * way.c - how large pieces are copied, chosen by measuring
 *
 * Past the caches (far.h) or through them: which is faster depends on where the two processors are, which
 * a hypervisor changes as it likes; the difference may be a factor of ten, either way. Where they are near
 * each other a mixture is faster than either alone, since each has its own limit, and faster still is all
 * through the caches if the reader's own one has given up by then what is written again: the reader sees
 * to that if the writer asks for it. So there are WAY_ROOM + 1 ways: so many quarters of each piece, the
 * last ones, go through the caches, or all of it does and the reader makes room. The sender takes the time
 * of windows of some rings' length, in which all counts: its copying, the reader's, and the waiting for each
 * other. Now and then it tries another way for one, each in its turn, and stays with it if that was clearly
 * faster. At first it tries often, for it may have begun wrongly, and more and more rarely when all have
 * failed.
 *
 * What counts of a window are its last rings: in the first ones lines are where another way has left them.
 * A trial that is much worse ends early, but not in its first two, where even the best one is. In a
 * dialogue, in which about as much comes back, it may end after STEP bytes: there the slow turns would be
 * seen. A pause of the application looks like a slow window, so a way is as good as the better of its last
 * two.
 */
#include "smcd/lib/internal.h"

#include <string.h>

#include "vfio/base/far.h"
#include "vfio/base/fd.h"

#define STEP	     131072u
#define TRIAL_EVERY  128u /* windows */
#define TRIAL_FIRST  2u
#define RARER	     4u
#define CLEARLY(ns)  ((ns) - (ns) / 16)
#define WORSE(ns)    ((ns) + (ns) / 2)

/* What a window consists of, in rings. */
static const uint64_t rings[] = { [WAY_CHANGES] = 2, [WAY_SETTLES] = 6, [WAY_COUNTS] = 8 };

void way_init(struct lib_way *w)
{
	*w = (struct lib_way){ .every = TRIAL_FIRST, .dialogue = true, .ns = UINT64_MAX, .last_ns = UINT64_MAX };
}

static void try_less(struct lib_way *w)
{
	w->every = w->every < TRIAL_EVERY ? w->every * RARER : TRIAL_EVERY;
}

/* What @ns, a ring's time, says of the trial. */
static void end_trial(struct lib_way *w, uint64_t ns, uint64_t best)
{
	if (ns < CLEARLY(best)) {
		w->best = w->now;
		w->ns = ns;
		w->last_ns = UINT64_MAX;
		w->failed = 0;
		w->every = TRIAL_FIRST;
	} else {
		w->failed = (w->failed + 1) % WAY_ROOM;
		if (!w->failed || ns > WORSE(best))
			try_less(w);
	}
	w->now = w->best;
}

/*
 * What it says of the best one. After enough of them another is tried: the next one below, and behind 0
 * the last.
 */
static void end_window(struct lib_way *w, uint64_t ns)
{
	w->last_ns = w->ns;
	w->ns = ns;
	if (++w->windows < w->every)
		return;
	w->windows = 0;
	w->now = (w->best + WAY_ROOM - w->failed) % (WAY_ROOM + 1);
}

static void begin(struct lib_way *w, enum way_stage stage, uint64_t now, uint64_t pos, uint64_t heard)
{
	w->stage = stage;
	w->began = pos;
	w->began_ns = now;
	w->heard = heard;
}

void way_judge(struct lib_way *w, uint64_t now, uint64_t pos, uint64_t heard, uint64_t ring)
{
	uint64_t best = w->ns < w->last_ns ? w->ns : w->last_ns, sent = pos - w->began;
	bool trial = w->now != w->best;
	uint64_t ns = sent ? (now - w->began_ns) * ring / sent : 0;

	if (!w->end || (trial && w->stage != WAY_CHANGES && ns > WORSE(best)) ||
	    (w->stage == WAY_COUNTS && sent >= rings[WAY_COUNTS] * ring)) {
		if (w->end && trial)
			end_trial(w, ns, best);
		else if (w->end)
			end_window(w, ns);
		w->dialogue = (heard - w->heard) * 2 >= sent;
		begin(w, w->dialogue ? WAY_SETTLES : WAY_CHANGES, now, pos, heard);
	} else if (sent >= rings[w->stage] * ring) {
		begin(w, w->stage + 1, now, pos, heard);
	}
	w->end = pos + (w->now != w->best && ring > STEP ? STEP : ring);
}

static size_t cached_part(struct smcdu_channel *ch, size_t n)
{
	struct lib_way *w = &ch->tx.way;
	uint8_t before = w->now;

	if (n < FAR_COPY_MIN)
		return n;
	if (lib_get(&ch->tx.pos) >= w->end)
		way_judge(w, clock_ns(), lib_get(&ch->tx.pos), lib_get(&ch->rx.pos), ch->tx.size);
	if (w->now != before)
		peer_tell_way(ch, w->now);
	return w->now < WAY_PARTS ? n / WAY_PARTS * w->now : n;
}

void way_copy(struct smcdu_channel *ch, void *dst, const void *src, size_t n)
{
	far_copy(dst, src, n, cached_part(ch, n));
}

size_t smcdu_cached_part(struct smcdu_channel *ch, size_t len)
{
	return channel_mine(ch) ? cached_part(ch, len) : len;
}

/* What went past the caches comes from memory, and needs no help. */
void way_fetch(const struct smcdu_channel *ch, void *dst, const void *src, size_t n)
{
	if (n >= FAR_COPY_MIN && peer_way(ch))
		far_fetch(dst, src, n);
	else
		memcpy(dst, src, n);
}

void way_done(struct smcdu_channel *ch, size_t n)
{
	if (n >= FAR_COPY_MIN && peer_way(ch) == WAY_ROOM)
		far_make_room(n, &ch->rx.turn);
}
