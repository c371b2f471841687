/* SPDX-License-Identifier: MIT */
#include "ism/model/attach.h"

#include <errno.h>
#include <string.h>

#include "ism/model/function.h"
#include "vfio/base/fd.h"

int attach_offer(struct function *fn, uint64_t token, const int *fds, unsigned int n)
{
	struct dmb *d = fabric_dmb(fn->fabric, token);

	if (n == 0 || n > ATTACH_MAX_FDS)
		return -EINVAL;
	if (!d || d->owner != fn)
		return -ENOENT;
	if (d->offered)
		return -EALREADY;
	if (fn->num_offers >= ATTACH_MAX_OFFERS)
		return -ENOSPC;
	memcpy(d->offer, fds, n * sizeof(*fds));
	d->nr_offer = n;
	d->offered = true;
	fn->num_offers++;
	return 0;
}

int attach_take(struct function *fn, uint64_t token, int fds[ATTACH_MAX_FDS], unsigned int *n)
{
	struct dmb *d = fabric_dmb(fn->fabric, token);

	/* Authority is the GID; one answer for all that is not this function's business. */
	if (!d || d->rgid != fn->gid || d->nr_offer == 0)
		return -ENOENT;
	memcpy(fds, d->offer, d->nr_offer * sizeof(*fds));
	*n = d->nr_offer;
	d->nr_offer = 0;
	d->owner->num_offers--;
	return 0;
}

void attach_withdraw(struct dmb *d)
{
	if (d->nr_offer == 0)
		return;
	d->owner->num_offers--;
	while (d->nr_offer)
		fd_closep(&d->offer[--d->nr_offer]);
}
