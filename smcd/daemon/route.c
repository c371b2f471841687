/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/route.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/daemon/link.h"
#include "smcd/proto/diag.h"

/* The GID of a configured name, of 0x..., or of a name that a peer told us. 0: unknown. */
static uint64_t gid_of(struct daemon *d, const char *peer)
{
	const struct config_peer *p = config_peer(d->cfg, peer);
	struct function *fn;
	struct link *l, *tmp;
	uint64_t gid;
	char *end;

	if (p)
		return p->gid;
	if (peer[0] == '0' && (peer[1] == 'x' || peer[1] == 'X')) {
		errno = 0;
		gid = strtoull(peer, &end, 16);
		return *end == '\0' && errno == 0 ? gid : 0;
	}
	for (fn = d->functions; fn; fn = fn->next) {
		HASH_ITER(hh, fn->links, l, tmp) {
			if (l->state == LINK_UP && strcmp(l->name, peer) == 0)
				return l->gid;
		}
	}
	return 0;
}

/*
 * The function among those that suit the peer as well as @suits says (config_suits()) that reaches
 * @gid. 0, -ENODEV (none is up), -EHOSTUNREACH, -EINVAL (it is ours).
 */
static int pick_among(struct daemon *d, uint64_t gid, unsigned int suits, struct function **ret)
{
	const struct config_peer *p = config_peer_by_gid(d->cfg, gid);
	struct function *fn;
	struct link *l;
	int err = -ENODEV;
	bool linked;

	for (fn = d->functions; fn; fn = fn->next) {
		if (!function_up(fn))
			continue;
		HASH_FIND(hh, fn->links, &gid, sizeof(gid), l);
		linked = l && l->state == LINK_UP;
		/* One that is not configured is for the function through which it came. */
		if ((!p && linked ? 1 : config_suits(fn->cfg, p)) != suits)
			continue;
		if (fn->gid == gid) {
			err = -EINVAL;
			continue;
		}
		if (linked || function_note(fn,
				ism_query_remote_gid(fn->dev, gid, false, 0)) == 0) {
			*ret = fn;
			return 0;
		}
		if (err == -ENODEV)
			err = -EHOSTUNREACH;
	}
	return err;
}

/* Whether any function is for the peer's network, up or down. */
static bool one_suits(const struct daemon *d, uint64_t gid)
{
	const struct config_peer *p = config_peer_by_gid(d->cfg, gid);
	const struct function *fn;

	for (fn = d->functions; fn; fn = fn->next) {
		if (config_suits(fn->cfg, p) > 0)
			return true;
	}
	return false;
}

/*
 * The function that reaches @gid. As in the kernel, one that has the peer's PNETID comes first, then
 * those without any; one with another is for other networks. Errors as above (-ENODEV: none that is
 * for that network is up); -ENETUNREACH when PNETIDs leave none.
 */
static int pick_function(struct daemon *d, uint64_t gid, struct function **ret)
{
	int same = pick_among(d, gid, 2, ret), none = -ENODEV;

	if (same != 0)
		none = pick_among(d, gid, 1, ret);
	if (same == 0 || none == 0)
		return 0;
	if (same != -ENODEV || none != -ENODEV)
		return none != -ENODEV ? none : same;
	if (one_suits(d, gid))
		return -ENODEV;
	return pick_among(d, gid, 0, ret) == -ENODEV ? -ENODEV : -ENETUNREACH;
}

static int explain_no_function(int err, const struct ipc_connect *msg, struct route *a,
	char *text, size_t size)
{
	switch (err) {
	case -ENODEV:
		a->diag = CLC_DECL_NOSMCDEV;
		snprintf(text, size, "no ISM function that could reach peer '%s' is up: does the "
			"fabric run?", msg->peer);
		return ENODEV;
	case -EINVAL:
		snprintf(text, size, "peer '%s' is this guest itself: a function cannot send to "
			"itself", msg->peer);
		return EHOSTUNREACH;
	case -ENETUNREACH:
		a->diag = CLC_DECL_NOSMCDDEV;
		snprintf(text, size, "no ISM function is for the network of peer '%s': give it "
			"the pnetid of one, in [peer NAME]", msg->peer);
		return ENETUNREACH;
	default:
		a->diag = CLC_DECL_NOV2DDEV;
		snprintf(text, size, "peer '%s' (GID 0x%016" PRIx64 ") is not on the fabric: does "
			"its smcd-userd run?", msg->peer, a->gid);
		return -err;
	}
}

int route_find(struct daemon *d, const struct ipc_connect *msg, struct route *a, char *text,
	size_t size)
{
	int ret;

	a->diag = CLC_DECL_CNFERR;
	/* A name that is none is not repeated: it would go into the log as it is. */
	if (config_port(d->cfg, msg->service, &a->port) < 0) {
		snprintf(text, size,
			"a service is a name of 1..63 characters from [A-Za-z0-9._-], or a "
			"port 1..65535");
		return EINVAL;
	}
	if (!rdv_name_ok(msg->peer)) {
		snprintf(text, size,
			"a peer is a name of 1..63 characters from [A-Za-z0-9._-], or a GID "
			"as 0x...");
		return EINVAL;
	}
	a->gid = gid_of(d, msg->peer);
	if (a->gid == 0 && strcmp(msg->peer, d->cfg->name) == 0)
		return explain_no_function(-EINVAL, msg, a, text, size);
	if (a->gid == 0) {
		snprintf(text, size, "unknown peer '%s': configure --peer %s=GID", msg->peer,
			msg->peer);
		return EHOSTUNREACH;
	}
	ret = pick_function(d, a->gid, &a->fn);
	return ret < 0 ? explain_no_function(ret, msg, a, text, size) : 0;
}
