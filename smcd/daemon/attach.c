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
	*a = (struct attach){ .dmb = -1, .page = -1, .sock = -1 };
}

static bool wanted(const struct channel *ch)
{
	return ch->d->cfg->path == IPC_PATH_AUTO && ch->want != IPC_PATH_MEDIATED && function_up(ch->fn) &&
	       ism_can_attach(ch->fn->dev);
}

/* -ENOENT is the peer's right; everything else deserves a line. */
static int report(const struct channel *ch, const char *what, int ret)
{
	if (ret < 0 && ret != -ENOENT)
		log_warn("channel %u with %s cannot be attached: %s: %s", ch->id, ch->peer, what,
			strerror(-ret));
	return ret;
}

void attach_offer(struct channel *ch)
{
	struct attach *a = &ch->att;
	int sv[2];
	int more[2], ret;

	if (!wanted(ch))
		return;
	a->page = fd_memfd("smcd-user-peer", CHAN_PEER_SIZE);
	if (a->page < 0) {
		report(ch, "shared page", a->page);
		return;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0) {
		report(ch, "socket", -errno);
		return;
	}
	more[0] = a->page;
	more[1] = sv[1];
	a->sock = sv[0];
	ret = report(ch, "offer", ism_offer_dmb(ch->fn->dev, ch->dmb, more, 2));
	fd_closep(&sv[1]);
	a->offered = ret == 0;
}

static int take_as_client(struct channel *ch, uint64_t token, uint32_t size)
{
	struct attach *a = &ch->att;
	int fds[3];
	int ret = ism_take_dmb(ch->fn->dev, token, size, fds, 3);

	if (ret < 0)
		return report(ch, "take", ret);
	a->dmb = fds[0];
	a->page = fds[1];
	a->sock = fds[2];
	return report(ch, "offer", ism_offer_dmb(ch->fn->dev, ch->dmb, NULL, 0));
}

void attach_take(struct channel *ch, uint64_t token, uint32_t size)
{
	struct attach *a = &ch->att;
	int ret = -ENOENT;

	if (!wanted(ch))
		return;
	if (!ch->server)
		ret = take_as_client(ch, token, size);
	else if (a->offered)
		ret = report(ch, "take",
			ism_take_dmb(ch->fn->dev, token, size, &a->dmb, 1));
	a->on = ret == 0;
	if (!a->on)
		attach_drop(a);
}

void attach_drop(struct attach *a)
{
	fd_closep(&a->dmb);
	fd_closep(&a->page);
	fd_closep(&a->sock);
}
