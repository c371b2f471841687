/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "smcd/daemon/capture.h"
#include "smcd/daemon/messages.h"
#include "smcd/daemon/query.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define ACCEPT_BATCH 16 /* connections per turn */

struct client {
	struct daemon *d;
	struct loop_source sock;
	struct loop_timer silence;
	struct sock_peer who;
	bool fresh; /* it was not looked at yet, and is no source of the loop */
	uint32_t kept; /* the channel that has left it; 0: none has. Its user can do without */
	uint32_t listener; /* its accepted channels' (it is no source of the loop, either); 0: it will speak */
	struct legacy legacy;
	struct client *prev, *next;
};

union first_message {
	struct ipc_hdr hdr;
	struct ipc_connect connect;
	struct ipc_listen listen;
	struct ipc_query query;
	struct ipc_capture capture;
};

/* ---- life ------------------------------------------------------------------------------------ */

void ipc_refuse(int fd, int err, uint32_t diag, const char *text)
{
	struct ipc_error msg = { .hdr = ipc_hdr(IPC_ERROR), .error = err, .diag = diag };
	size_t len = strlen(text);

	if (len >= sizeof(msg.text))
		len = sizeof(msg.text) - 1;
	memcpy(msg.text, text, len);
	fd_send(fd, &msg, sizeof(msg), NULL, 0, MSG_DONTWAIT);
	fd_closep(&fd);
}

/* Frees the client; its descriptor, and what a channel left, is the caller's (@legacy NULL: nobody's). */
static int release(struct client *c, struct legacy *legacy)
{
	int fd = c->sock.fd;

	if (legacy)
		legacy_move(legacy, &c->legacy);
	else
		legacy_drop(c->d, c->who.uid, &c->legacy);
	loop_del(c->d->loop, &c->sock);
	loop_timer_cancel(c->d->loop, &c->silence);
	account_release(&c->d->accounts, c->who.uid, ACCOUNT_CLIENTS, 1);
	DL_DELETE(c->d->clients, c);
	slab_put(&c->d->client_slab, c);
	return fd;
}

static void drop(struct client *c)
{
	int fd = release(c, NULL);

	fd_closep(&fd);
}

static void on_silence(struct loop_timer *timer)
{
	struct client *c = CONTAINER(timer, struct client, silence);

	if (!c->kept)
		log_debug("pid %d (uid %u) connected and said nothing; dropped", (int)c->who.pid,
			(unsigned int)c->who.uid);
	drop(c);
}

static void malformed(struct client *c)
{
	c->d->stats.protocol_errors++;
	log_err("pid %d (uid %u): malformed first message; dropped. Is it a client of smcd-user, of "
		"this version?", (int)c->who.pid, (unsigned int)c->who.uid);
	drop(c);
}

static void on_first(struct client *c, const union first_message *m, size_t len)
{
	struct daemon *d = c->d;
	struct sock_peer who = c->who;
	struct legacy legacy;
	int fd;

	if (ipc_check_connect(m, len) == 0) {
		d->stats.reused += c->kept != 0;
		fd = release(c, &legacy);
		connect_start(d, fd, &who, &legacy, &m->connect);
	} else if (ipc_check_listen(m, len) == 0) {
		listener_start(d, release(c, NULL), &who, &m->listen);
	} else if (ipc_check_query(m, len) == 0) {
		query_answer(d, release(c, NULL), m->query.what);
	} else if (ipc_check_capture(m, len) == 0) {
		capture_start(d, release(c, NULL), &who, &m->capture);
	} else {
		malformed(c);
	}
}

/* False: it has said nothing yet. */
static bool hear(struct client *c)
{
	union first_message m;
	unsigned int nfds;
	int fds[1];
	ssize_t len;

	len = fd_recv(c->sock.fd, &m, sizeof(m), fds, 0, &nfds, MSG_DONTWAIT);
	if (len == -EAGAIN)
		return false;
	if (len == 0 || len == -ECONNRESET)
		drop(c);
	else if (len < 0)
		malformed(c);
	else
		on_first(c, &m, (size_t)len);
	return true;
}

static void on_readable(struct loop_source *src, short revents)
{
	hear(CONTAINER(src, struct client, sock));
}

/* A connection that was kept makes room for one that says something. */
static bool drop_kept(struct daemon *d, uid_t uid)
{
	struct client *c;

	DL_FOREACH(d->clients, c) {
		if (c->kept && c->who.uid == uid) {
			drop(c);
			return true;
		}
	}
	return false;
}

static int add(struct daemon *d, int fd, const struct sock_peer *who, struct client **ret_c)
{
	struct client *c;
	int ret;

	do {
		ret = account_charge(&d->accounts, who->uid, ACCOUNT_CLIENTS, 1);
	} while (ret == -EDQUOT && drop_kept(d, who->uid));
	if (ret < 0)
		return ret;
	c = slab_get(&d->client_slab);
	if (!c) {
		account_release(&d->accounts, who->uid, ACCOUNT_CLIENTS, 1);
		return -ENOMEM;
	}
	c->d = d;
	c->who = *who;
	c->silence.fn = on_silence;
	c->sock = (struct loop_source){ .fd = fd, .events = POLLIN, .fn = on_readable };
	c->fresh = true;
	d->clients_fresh = true;
	DL_APPEND(d->clients, c);
	*ret_c = c;
	return 0;
}

void client_keep(struct channel *ch, int fd)
{
	const struct sock_peer who = { .uid = ch->uid, .pid = ch->pid };
	struct client *c;

	if (add(ch->d, fd, &who, &c) < 0) {
		legacy_drop(ch->d, ch->uid, &ch->legacy);
		fd_closep(&fd);
		return;
	}
	c->kept = ch->id;
	c->listener = ch->listener_id;
	legacy_move(&c->legacy, &ch->legacy);
	if (!c->listener)
		return;
	c->fresh = false;
	if (loop_timer_set(ch->d->loop, &c->silence, clock_ns() + CLIENT_KEPT_NS) < 0)
		drop(c);
}

int client_reuse(struct channel *ch, const struct listener *l)
{
	struct client *c;

	DL_FOREACH(ch->d->clients, c) {
		if (c->listener == l->id) {
			ch->on = c->kept;
			ch->d->stats.reused++;
			return release(c, &ch->legacy);
		}
	}
	return -1;
}

void clients_forget(struct daemon *d, const struct listener *l)
{
	struct client *c, *tmp;

	DL_FOREACH_SAFE(d->clients, c, tmp) {
		if (c->listener == l->id)
			drop(c);
	}
}

/* It has not spoken yet. */
static void wait_for(struct client *c)
{
	int ret = loop_add(c->d->loop, &c->sock);

	if (ret == 0)
		ret = loop_timer_set(c->d->loop, &c->silence, clock_ns() +
			(c->kept ? CLIENT_KEPT_NS : CLIENT_SILENCE_NS));
	if (ret < 0)
		ipc_refuse(release(c, NULL), -ret, 0, "");
}

bool clients_hear(struct daemon *d)
{
	struct client *c, *tmp;

	if (!d->clients_fresh)
		return false;
	d->clients_fresh = false;
	DL_FOREACH_SAFE(d->clients, c, tmp) {
		if (!c->fresh)
			continue;
		c->fresh = false;
		if (!hear(c))
			wait_for(c);
	}
	return true;
}

static void welcome(struct daemon *d, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct sock_peer who;
	struct client *c;
	int ret;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		fd_closep(&fd);
		return;
	}
	who = (struct sock_peer){ .uid = cred.uid, .pid = cred.pid };
	ret = add(d, fd, &who, &c);
	if (ret < 0)
		ipc_refuse(fd, -ret, 0, ret == -EDQUOT ? "too many connections of this user" : "");
}

static bool waits(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

void client_on_accept(struct loop_source *src, short revents)
{
	struct daemon *d = CONTAINER(src, struct daemon, accept);
	int fd, i;

	/* Asking first costs less than a socket that is made for nobody. */
	for (i = 0; i < ACCEPT_BATCH && (i == 0 || waits(src->fd)); i++) {
		fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			welcome(d, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE)
			daemon_pause_accept(d);
		return;
	}
}

void clients_init(struct daemon *d)
{
	d->client_slab = SLAB_OF(struct client);
}

void clients_drop_all(struct daemon *d)
{
	struct client *c, *tmp;

	DL_FOREACH_SAFE(d->clients, c, tmp)
		drop(c);
}

unsigned int clients_count(const struct daemon *d)
{
	struct client *c;
	unsigned int n = 0;

	DL_COUNT(d->clients, c, n);
	return n;
}
