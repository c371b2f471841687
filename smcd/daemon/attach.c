/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/attach.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "smcd/daemon/channel.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

void attach_init(struct attach *a)
{
	*a = (struct attach){ .dmb = -1, .sock = -1 };
}

static bool wanted(const struct channel *ch)
{
	return ch->d->cfg->path == IPC_PATH_AUTO && ch->want != IPC_PATH_MEDIATED && function_up(ch->fn) &&
	       ism_can_attach(ch->fn->dev);
}

/* Not to offer it to an application is the peer's right; everything else deserves a line. */
static int report(const struct channel *ch, const char *what, int ret)
{
	if (ret < 0 && ret != -ENOENT && ret != -ENXIO)
		log_warn("channel %u with %s cannot be attached: %s: %s", ch->id, ch->peer, what,
			strerror(-ret));
	return ret;
}

/* Directly where the two drivers can, else through the fabric, which is for applications only. */
static int give(struct channel *ch, bool use, const int *more, unsigned int nmore)
{
	int ret = ism_hand_dmb(ch->fn->dev, ch->dmb, use, more, nmore);

	return ret < 0 && use ? ism_offer_dmb(ch->fn->dev, ch->dmb, more, nmore) : ret;
}

static int take(struct channel *ch, int *fds, unsigned int nfds)
{
	struct attach *a = &ch->att;
	int ret = ism_receive_dmb(ch->fn->dev, ch->peer_gid, a->token, a->size, fds, nfds);

	if (nfds > 0 && (ret == -ENOENT || ret == -EOPNOTSUPP))
		ret = ism_take_dmb(ch->fn->dev, a->token, a->size, fds, nfds);
	return ret;
}

/* Between the applications. 0 with *theirs, the caller's. */
static int make_pair(struct channel *ch, int *theirs)
{
	struct attach *a = &ch->att;
	struct kit k;
	int ret = kit_get(ch->d, KIT_PAIR, &k);

	if (ret < 0)
		return report(ch, "socket", ret);
	a->sock = k.sock[0];
	*theirs = k.sock[1];
	return 0;
}

void attach_offer(struct channel *ch)
{
	int theirs FD_CLEANUP = -1;

	if (!function_up(ch->fn))
		return;
	if (!wanted(ch)) {
		give(ch, false, NULL, 0); /* else its stores go through the fabric */
	} else if (make_pair(ch, &theirs) == 0) {
		ch->att.offered = report(ch, "offer", give(ch, true, &theirs, 1)) == 0;
	}
}

static int take_as_client(struct channel *ch)
{
	struct attach *a = &ch->att;
	int fds[2];
	int ret = take(ch, fds, 2);

	if (ret < 0)
		return report(ch, "take", ret);
	a->dmb = fds[0];
	a->sock = fds[1];
	return report(ch, "offer", give(ch, true, NULL, 0));
}

static int take_as_server(struct channel *ch)
{
	int ret = take(ch, &ch->att.dmb, 1);

	return report(ch, "take", ret);
}

/* Not attached: what was handed is for the daemons' own stores, or there are none such. */
static void exchange_windows(struct channel *ch, bool looked)
{
	if (!looked)
		take(ch, NULL, 0);
	if (!ch->server)
		give(ch, false, NULL, 0);
}

void attach_take(struct channel *ch, uint64_t token, uint32_t size)
{
	struct attach *a = &ch->att;
	bool look = function_up(ch->fn) && wanted(ch) && (!ch->server || a->offered);

	if (!function_up(ch->fn))
		return;
	a->token = token;
	a->size = size;
	a->on = look && (ch->server ? take_as_server(ch) : take_as_client(ch)) == 0;
	if (a->on)
		return;
	attach_drop(a);
	exchange_windows(ch, look);
}

void attach_drop(struct attach *a)
{
	fd_closep(&a->dmb);
	fd_closep(&a->sock);
}
