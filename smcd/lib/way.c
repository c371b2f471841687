/* SPDX-License-Identifier: MIT */
/*
 * way.c - how large pieces are copied, chosen by measuring
 *
 * Past the caches (far.h) or through them: which is faster depends on where the two processors are, which
 * a hypervisor changes as it likes; the difference may be a factor of two, either way. So the sender
 * takes the time of windows of some rings' length, in which all counts: its copying, the reader's, and
 * the waiting for each other. Once in TRIAL_EVERY windows it tries the other way for one, and stays with it
 * if that was clearly faster. A pause of the application looks like a slow window, so a way is as good as the
 * better of its last two; and fewer than one send in a hundred goes the worse way.
 */
#include "smcd/lib/internal.h"

#include <string.h>

#include "vfio/base/far.h"
#include "vfio/base/fd.h"

#define WINDOW_RINGS 8u
#define TRIAL_EVERY  128u
#define CLEARLY(ns)  ((ns) - (ns) / 16)

/* The first trial follows the first window. */
void way_init(struct lib_way *w)
{
	*w = (struct lib_way){ .far = true, .windows = TRIAL_EVERY - 2, .ns = UINT64_MAX,
		.last_ns = UINT64_MAX };
}

static void begin(struct lib_way *w, uint64_t now, uint64_t pos, uint64_t ring)
{
	w->began_ns = now;
	w->began = pos;
	w->end = pos + WINDOW_RINGS * ring;
}

void way_judge(struct lib_way *w, uint64_t now, uint64_t pos, uint64_t ring)
{
	uint64_t ns = pos > w->began ? (now - w->began_ns) * ring / (pos - w->began) : 0;
	uint64_t best = w->ns < w->last_ns ? w->ns : w->last_ns;

	if (!w->end) {
		/* The first large piece: nothing has been measured. */
	} else if (!w->trial) {
		w->last_ns = w->ns;
		w->ns = ns;
		w->windows++;
	} else if (ns < CLEARLY(best)) {
		w->ns = ns;
		w->last_ns = UINT64_MAX;
		w->windows = 0;
	} else {
		w->far = !w->far;
		w->windows = 0;
	}
	w->trial = w->end && !w->trial && w->windows >= TRIAL_EVERY - 1;
	if (w->trial)
		w->far = !w->far;
	begin(w, now, pos, ring);
}

void way_copy(struct smcdu_channel *ch, void *dst, const void *src, size_t n)
{
	struct lib_way *w = &ch->tx.way;

	if (n >= FAR_COPY_MIN && lib_get(&ch->tx.pos) >= w->end)
		way_judge(w, clock_ns(), lib_get(&ch->tx.pos), ch->tx.size);
	if (n >= FAR_COPY_MIN && !w->far)
		memcpy(dst, src, n);
	else
		far_copy(dst, src, n);
}
