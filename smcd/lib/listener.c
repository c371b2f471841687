/* SPDX-License-Identifier: MIT */
/*
 * listener.c - a registered service and the channels that arrive on it
 *
 * The connection on which the service was registered is the listener's descriptor: each incoming
 * channel is one datagram with its descriptors, so readable means acceptable.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vfio/base/fd.h"

#define BACKLOG_DEFAULT 64u
#define BACKLOG_MAX	1024u

int smcdu_listen(struct smcdu_ctx *ctx, const char *service, unsigned int backlog,
	struct smcdu_listener **ret)
{
	struct ipc_listen req = { .hdr = ipc_hdr(IPC_LISTEN), .rcvbuf = ctx->rcvbuf,
		.backlog = backlog ? backlog : BACKLOG_DEFAULT, .path = ctx->path };
	struct ipc_listening ans;
	struct smcdu_listener *l;
	struct lib_home *home;
	int sock;

	if (ctx->generation != lib_generation())
		return lib_fail_plain(-EPERM);
	if (!service || lib_copy_name(req.service, service, strlen(service)) < 0)
		return lib_fail(-EINVAL, "'%.80s' is no service: write 1 to 63 characters from "
			"A-Z a-z 0-9 . _ - or a port", service ? service : "");
	if (backlog > BACKLOG_MAX)
		return lib_fail(-EINVAL, "the backlog is at most %u", BACKLOG_MAX);
	l = calloc(1, sizeof(*l));
	if (!l)
		return lib_fail_plain(-ENOMEM);
	sock = ipc_call(ctx, &req, sizeof(req), IPC_LISTENING, &ans, sizeof(ans), NULL, 0,
		NULL, clock_ns() + ctx->connect_timeout_ms * UINT64_C(1000000));
	if (sock < 0) {
		free(l);
		return sock;
	}
	home = home_new();
	if (!home) {
		fd_closep(&sock);
		free(l);
		return lib_fail_plain(-ENOMEM);
	}
	*l = (struct smcdu_listener){ .home = home, .generation = lib_generation(), .sock = sock,
		.port = ans.port, .spin_us = ctx->spin_us, .record = ctx->record };
	*ret = l;
	return 0;
}

int smcdu_listener_fd(const struct smcdu_listener *l)
{
	return l->generation == lib_generation() ? l->sock : lib_fail_plain(-EPERM);
}

uint32_t smcdu_listener_port(const struct smcdu_listener *l)
{
	return l->port;
}

static int broken(struct smcdu_listener *l, const char *why)
{
	l->broken = true;
	return lib_fail(-ECONNRESET, "the listener ended: %s", why);
}

int smcdu_accept(struct smcdu_listener *l, unsigned int flags, struct smcdu_channel **ret)
{
	struct smcdu_channel *ch = NULL;
	struct lib_kept kept = { .sock = -1 };
	struct ipc_channel msg;
	unsigned int nfds = 0, first;
	int fds[1 + IPC_FDS_ATTACHED];
	ssize_t n;
	int r;

	if (l->generation != lib_generation())
		return lib_fail_plain(-EPERM);
	if (flags & ~SMCDU_DONTWAIT)
		return lib_fail_plain(-EINVAL);
	if (l->broken)
		return broken(l, "an earlier call said why");
	n = fd_recv(l->sock, &msg, sizeof(msg), fds, 1 + IPC_FDS_ATTACHED, &nfds,
		flags & SMCDU_DONTWAIT ? MSG_DONTWAIT : 0);
	if (n == -EAGAIN)
		return lib_fail_plain(-EAGAIN);
	if (n == 0 || n == -ECONNRESET)
		return broken(l, "the daemon is gone");
	if (n != (ssize_t)sizeof(msg) || nfds < 1 || msg.hdr.magic != IPC_MAGIC ||
	    msg.hdr.version != IPC_VERSION || msg.hdr.type != IPC_CHANNEL) {
		while (n > 0 && nfds)
			fd_closep(&fds[--nfds]);
		return broken(l, "the daemon broke the protocol, or no descriptors are left");
	}
	home_came(l->home);
	if (msg.on && !home_take(l->home, msg.on, &kept)) {
		while (nfds)
			fd_closep(&fds[--nfds]);
		return broken(l, "the daemon names a connection that is not there");
	}
	first = msg.on ? 0 : 1;
	r = channel_adopt(&msg, msg.on ? kept.sock : fds[0], fds + first, nfds - first, &kept, l->spin_us,
		&ch);
	if (ch) {
		channel_set_record(ch, l->record);
		ch->home = home_ref(l->home);
		ch->accepted = true;
		*ret = ch;
	}
	if (r == -EPROTO) {
		l->broken = true;
		return -ECONNRESET;
	}
	return r;
}

void smcdu_listener_free(struct smcdu_listener *l)
{
	if (!l)
		return;
	fd_closep(&l->sock);
	home_close(l->home);
	free(l);
}
