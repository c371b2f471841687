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

/* Frees the client; its descriptor is the caller's. */
static int release(struct client *c)
{
	int fd = c->sock.fd;

	loop_del(c->d->loop, &c->sock);
	loop_timer_cancel(c->d->loop, &c->silence);
	account_release(&c->d->accounts, c->who.uid, ACCOUNT_CLIENTS, 1);
	DL_DELETE(c->d->clients, c);
	free(c);
	return fd;
}

static void drop(struct client *c)
{
	int fd = release(c);

	fd_closep(&fd);
}

static void on_silence(struct loop_timer *timer)
{
	struct client *c = CONTAINER(timer, struct client, silence);

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

	if (ipc_check_connect(m, len) == 0)
		connect_start(d, release(c), &who, &m->connect);
	else if (ipc_check_listen(m, len) == 0)
		listener_start(d, release(c), &who, &m->listen);
	else if (ipc_check_query(m, len) == 0)
		query_answer(d, release(c), m->query.what);
	else if (ipc_check_capture(m, len) == 0)
		capture_start(d, release(c), &who, &m->capture);
	else
		malformed(c);
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

static int add(struct daemon *d, int fd, const struct sock_peer *who)
{
	struct client *c;
	int ret;

	ret = account_charge(&d->accounts, who->uid, ACCOUNT_CLIENTS, 1);
	if (ret < 0)
		return ret;
	c = calloc(1, sizeof(*c));
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
	return 0;
}

/* It has not spoken yet. */
static void wait_for(struct client *c)
{
	int ret = loop_add(c->d->loop, &c->sock);

	if (ret == 0)
		ret = loop_timer_set(c->d->loop, &c->silence, clock_ns() + CLIENT_SILENCE_NS);
	if (ret < 0)
		ipc_refuse(release(c), -ret, 0, "");
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
	int ret;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0) {
		fd_closep(&fd);
		return;
	}
	who = (struct sock_peer){ .uid = cred.uid, .pid = cred.pid };
	ret = add(d, fd, &who);
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
