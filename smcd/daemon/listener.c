/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utlist.h>

#include "smcd/daemon/client.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

/* What a message weighs in a socket, at most; the kernel's own part is the larger one. */
#define WEIGHED_ENOUGH 16u /* the largest of so many is what they weigh */
#define WEIGHT_GUESS ((int)sizeof(struct ipc_channel) + 1024)

/* Bytes (as the kernel accounts them) of messages that the application has not taken yet. */
static int queued_bytes(const struct listener *l)
{
	int n = 0;

	if (ioctl(l->sock.fd, SIOCOUTQ, &n) < 0)
		return 0;
	return n;
}

/*
 * Whether one more will find room. The socket may hold fewer than the backlog; a channel that does
 * not fit would end after its peer was told that it is there.
 */
static bool has_room(const struct listener *l)
{
	uint64_t weight = l->queue_unit > WEIGHT_GUESS ? (uint64_t)l->queue_unit : WEIGHT_GUESS;
	int bytes = queued_bytes(l);
	/* Accepted channels that wait in the socket. */
	uint32_t queued = l->queue_unit > 0 ? (uint32_t)(bytes / l->queue_unit) : 0;

	return l->pending + queued < l->backlog &&
	       (uint64_t)bytes + (l->pending + 1) * weight <= (uint64_t)l->queue_room;
}

static void size_queue(struct listener *l)
{
	int wanted = WEIGHT_GUESS * (int)l->backlog, room = 0;
	socklen_t len = sizeof(room);

	/* As much as the system grants (net.core.wmem_max); it is what was there, or more. */
	if (getsockopt(l->sock.fd, SOL_SOCKET, SO_SNDBUF, &room, &len) == 0 && room < wanted)
		setsockopt(l->sock.fd, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof(wanted));
	len = sizeof(room);
	getsockopt(l->sock.fd, SOL_SOCKET, SO_SNDBUF, &room, &len);
	l->queue_room = room;
}

bool listener_admit(struct listener *l, struct channel_params *p)
{
	if (!has_room(l))
		return false;
	l->pending++;
	p->uid = l->who.uid;
	p->pid = l->who.pid;
	p->rx_size = l->rx_size;
	p->want = l->want;
	return true;
}

void listener_delivered(struct listener *l)
{
	l->pending--;
}

int listener_send(struct listener *l, const struct ipc_channel *msg, const int *fds,
	unsigned int nfds)
{
	bool weigh = l->weighed < WEIGHED_ENOUGH;
	int before = weigh ? queued_bytes(l) : 0, weight;
	ssize_t len = fd_send(l->sock.fd, msg, sizeof(*msg), fds, nfds, MSG_DONTWAIT);

	/* All these messages weigh the same. An application that takes it at once hides its weight,
	 * but then there is no backlog either. */
	weight = weigh ? queued_bytes(l) - before : 0;
	l->weighed += weight > 0;
	if (weight > l->queue_unit)
		l->queue_unit = weight;
	return len < 0 ? (int)len : 0;
}

void listener_lost(struct channel *ch)
{
	ch->listener->pending--;
	ch->listener = NULL;
}

struct listener *listener_find(struct daemon *d, uint16_t port, const char *name)
{
	struct listener *l;

	DL_FOREACH(d->listeners, l) {
		if (l->port != port)
			continue;
		if (config_is_number(name) || config_is_number(l->service) ||
			strcmp(l->service, name) == 0)
			return l;
	}
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void cancel_handshakes(struct listener *l)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, l->d->channels, ch, tmp) {
		if (ch->listener == l)
			channel_abort(ch, ECONNREFUSED);
	}
}

/* Channels that wait in its socket end by themselves: their own sockets are closed with it. */
static void drop(struct listener *l)
{
	cancel_handshakes(l);
	clients_forget(l->d, l);
	loop_del(l->d->loop, &l->sock);
	fd_closep(&l->sock.fd);
	account_release(&l->d->accounts, l->who.uid, ACCOUNT_LISTENERS, 1);
	DL_DELETE(l->d->listeners, l);
	free(l);
}

void listeners_drop_all(struct daemon *d)
{
	while (d->listeners)
		drop(d->listeners);
}

/* A listener has nothing more to say: a message is as much its end as the end of file. */
static void on_readable(struct loop_source *src, short revents)
{
	struct listener *l = CONTAINER(src, struct listener, sock);

	drop(l);
}

static int answer(struct listener *l)
{
	struct ipc_listening msg = { .hdr = ipc_hdr(IPC_LISTENING), .port = l->port };
	ssize_t len = fd_send(l->sock.fd, &msg, sizeof(msg), NULL, 0, MSG_DONTWAIT);

	return len < 0 ? (int)len : 0;
}

static int add(struct daemon *d, int fd, const struct sock_peer *who, const struct ipc_listen *msg,
	uint16_t port)
{
	struct listener *l;
	int ret;

	if (listener_find(d, port, msg->service))
		return -EADDRINUSE;
	ret = account_charge(&d->accounts, who->uid, ACCOUNT_LISTENERS, 1);
	if (ret < 0)
		return ret;
	l = calloc(1, sizeof(*l));
	if (!l) {
		account_release(&d->accounts, who->uid, ACCOUNT_LISTENERS, 1);
		return -ENOMEM;
	}
	l->d = d;
	do {
		l->id = ++d->last_listener;
	} while (l->id == 0);
	l->who = *who;
	l->port = port;
	l->backlog = msg->backlog ? msg->backlog : LISTENER_BACKLOG;
	l->rx_size = channel_rx_size(d, msg->rcvbuf);
	l->want = msg->path;
	memcpy(l->service, msg->service, sizeof(l->service));
	l->sock.fd = fd;
	size_queue(l);
	l->sock = (struct loop_source){ .fd = fd, .events = POLLIN, .fn = on_readable };
	DL_APPEND(d->listeners, l);
	ret = loop_add(d->loop, &l->sock);
	if (ret == 0)
		ret = answer(l);
	if (ret < 0) {
		loop_del(d->loop, &l->sock);
		l->sock.fd = -1; /* the caller's again */
		drop(l);
	}
	return ret;
}

static void explain(int err, const struct ipc_listen *msg, uint16_t port, char *text, size_t size)
{
	if (err == -EADDRINUSE)
		snprintf(text, size, "service '%s' (port %u) is served by another listener",
			msg->service, port);
	else if (err == -EDQUOT)
		snprintf(text, size, "too many listeners of this user ([limits] in the daemon's "
			"configuration)");
	else
		snprintf(text, size, "cannot listen on '%s': %s", msg->service, strerror(-err));
}

void listener_start(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_listen *msg)
{
	char text[IPC_TEXT_MAX];
	uint16_t port = 0;
	int ret;

	if (config_port(d->cfg, msg->service, &port) < 0) {
		ipc_refuse(fd, EINVAL, 0,
			"a service is a name of 1..63 characters from [A-Za-z0-9._-], "
			"or a port 1..65535");
		return;
	}
	if (msg->backlog > LISTENER_BACKLOG_MAX) {
		snprintf(text, sizeof(text), "a backlog is at most %u", LISTENER_BACKLOG_MAX);
		ipc_refuse(fd, EINVAL, 0, text);
		return;
	}
	ret = add(d, fd, who, msg, port);
	if (ret == 0)
		return;
	explain(ret, msg, port, text, sizeof(text));
	ipc_refuse(fd, -ret, 0, text);
}
