/* SPDX-License-Identifier: MIT */
#include "ism/model/fabric.h"
#include "ism/model/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

#include "ism/model/function.h"
#include "ism/model/notify.h"
#include "vfio/base/fd.h"
#include "vfio/zpci.h"

#define TOKEN_TRIES 128 /* at most half of the token space is in use: 2^-128 to run out */

int fabric_new(const struct fabric_params *params, struct fabric **ret)
{
	struct fabric *f;
	unsigned int i;

	if (!params->functions || params->functions > FABRIC_FUNCTIONS_MAX || !params->gid_base ||
		params->gid_base > UINT64_MAX - params->functions)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->chid = params->chid;
	f->now = clock_ns;
	knobs_init(&f->knobs);
	f->fn = calloc(params->functions, sizeof(struct function *));
	if (!f->fn) {
		free(f);
		return -ENOMEM;
	}
	for (i = 0; i < params->functions; i++) {
		f->fn[i] = function_create(f, i, params->gid_base + i);
		if (!f->fn[i]) {
			fabric_free(f);
			return -ENOMEM;
		}
		f->n++;
	}
	*ret = f;
	return 0;
}

struct fabric *fabric_free(struct fabric *f)
{
	struct later *l, *tmp;
	unsigned int i;

	if (!f)
		return NULL;
	for (i = 0; i < f->n; i++)
		attach_leave(f->fn[i]);
	for (i = 0; i < f->n; i++)
		function_destroy(f->fn[i]);
	DL_FOREACH_SAFE (f->later, l, tmp)
		free(l);
	free(f->fn);
	free(f);
	return NULL;
}

struct function *fabric_by_gid(const struct fabric *f, uint64_t gid)
{
	unsigned int i;

	for (i = 0; i < f->n; i++) {
		if (f->fn[i]->gid == gid)
			return f->fn[i];
	}
	return NULL;
}

struct dmb *fabric_dmb(const struct fabric *f, uint64_t token)
{
	struct dmb *d;

	HASH_FIND(hh, f->dmbs, &token, sizeof(token), d);
	return d;
}

/*
 * Tokens are random so that none can be guessed from another. Holding one is no authority anyway:
 * the writer's GID is.
 */
static int new_token(struct fabric *f, uint64_t *ret)
{
	uint64_t mask = fabric_token_mask(f) & (ZPCI_OFFSET_LIMIT - 1);
	uint64_t token;
	int i;

	for (i = 0; i < TOKEN_TRIES; i++) {
		if (f->nr_random == 0) {
			if (getrandom(f->random, sizeof(f->random), 0) != (ssize_t)sizeof(f->random))
				return -ENOSPC;
			f->nr_random = FABRIC_RANDOM;
		}
		token = f->random[--f->nr_random] & mask;
		if (token && !fabric_dmb(f, token)) {
			*ret = token;
			return 0;
		}
	}
	return -ENOSPC;
}

int fabric_add_dmb(struct fabric *f, struct dmb *d)
{
	uint64_t token = 0;
	int r;

	if (HASH_COUNT(f->dmbs) >= fabric_knob(f, KNOB_fabric_limit))
		return -ENOSPC;
	r = new_token(f, &token);
	if (r)
		return r;
	d->token = token;
	HASH_ADD(hh, f->dmbs, token, sizeof(d->token), d);
	trim_grown(&f->trim, HASH_COUNT(f->dmbs));
	DL_APPEND(d->owner->owned, d);
	d->owner->num_owned++;
	d->owner->by_idx[d->idx] = d;
	d->writer = fabric_by_gid(f, d->rgid);
	if (d->writer) {
		DL_APPEND2(d->writer->writes, d, wprev, wnext);
		d->writer->num_writes++;
		attach_admit(d);
	}
	return 0;
}

void fabric_del_dmb(struct fabric *f, struct dmb *d)
{
	HASH_DEL(f->dmbs, d);
	DL_DELETE(d->owner->owned, d);
	d->owner->num_owned--;
	d->owner->by_idx[d->idx] = NULL;
	if (d->writer) {
		DL_DELETE2(d->writer->writes, d, wprev, wnext);
		d->writer->num_writes--;
	}
	attach_withdraw(d);
	free(d->page);
	free(d);
	trim_shrunk(&f->trim, HASH_COUNT(f->dmbs));
}

int fabric_postpone(struct fabric *f, const struct later *l)
{
	struct later *n, *at;

	if (f->later_count >= FABRIC_LATER_MAX)
		return -ENOSPC;
	n = malloc(sizeof(*n));
	if (!n)
		return -ENOMEM;
	*n = *l;
	/*
	 * Due times mostly grow: look for the place from the end. In a DL list head->prev is the
	 * tail.
	 */
	at = f->later ? f->later->prev : NULL;
	while (at && at->due > n->due)
		at = at == f->later ? NULL : at->prev;
	if (at)
		DL_APPEND_ELEM(f->later, at, n);
	else
		DL_PREPEND(f->later, n);
	f->later_count++;
	return 0;
}

void fabric_forget(struct fabric *f, const struct function *fn)
{
	struct later *l, *tmp;

	DL_FOREACH_SAFE (f->later, l, tmp) {
		if (l->fn != fn)
			continue;
		DL_DELETE(f->later, l);
		f->later_count--;
		free(l);
	}
}

uint64_t fabric_due(const struct fabric *f)
{
	return f->later ? f->later->due : FABRIC_NEVER;
}

void fabric_run(struct fabric *f)
{
	uint64_t now = f->now();
	struct later *l;

	/* What is postponed again in here is due after @now, so this ends. */
	while ((l = f->later) && l->due <= now) {
		DL_DELETE(f->later, l);
		f->later_count--;
		notify_later(l);
		free(l);
	}
}
