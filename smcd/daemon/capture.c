/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/capture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "smcd/daemon/client.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

_Static_assert(IPC_RECORD_DATA == CLC_MAX_LEN, "the longest message fits");

struct capture {
	struct daemon *d;
	struct loop_source sock;
	struct sock_peer who;
	uint32_t what;
	unsigned int first, nr; /* in the ring */
	uint64_t dropped;	/* since the last record that found room */
	bool ending;		/* it is told what is in the ring, and nothing new */
	struct capture *prev, *next;
	struct ipc_record ring[CAPTURE_RING];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void drop(struct capture *c)
{
	loop_del(c->d->loop, &c->sock);
	fd_closep(&c->sock.fd);
	account_release(&c->d->accounts, c->who.uid, ACCOUNT_CLIENTS, 1);
	DL_DELETE(c->d->captures, c);
	free(c);
}

void captures_drop_all(struct daemon *d)
{
	while (d->captures)
		drop(d->captures);
}

/*
 * Waits for room in the socket only while there is something for it, and for the client's last word only once:
 * an end of file stays. 0 or -errno.
 */
static int watch(struct capture *c)
{
	short events = (short)((c->ending ? 0 : POLLIN) | (c->nr ? POLLOUT : 0));

	if (c->sock.events == events && c->sock.slot)
		return 0;
	loop_del(c->d->loop, &c->sock);
	c->sock.events = events;
	return loop_add(c->d->loop, &c->sock);
}

static size_t record_size(const struct ipc_record *r)
{
	return offsetof(struct ipc_record, data) + r->len;
}

/* False: the client is gone. */
static bool flush(struct capture *c)
{
	while (c->nr) {
		const struct ipc_record *r = &c->ring[c->first];
		ssize_t len = fd_send(c->sock.fd, r, record_size(r), NULL, 0, MSG_DONTWAIT);

		if (len == -EAGAIN)
			return true;
		if (len < 0)
			return false;
		c->first = (c->first + 1) % CAPTURE_RING;
		c->nr--;
	}
	return true;
}

static void append(struct capture *c, const struct ipc_record *r)
{
	struct ipc_record *to = &c->ring[(c->first + c->nr) % CAPTURE_RING];

	memcpy(to, r, record_size(r));
	to->dropped = c->dropped;
	c->dropped = 0;
	c->nr++;
}

/* What was lost after the last record is told by itself. False: the client is gone, or has all. */
static bool hand_over_rest(struct capture *c)
{
	const struct ipc_record r = { .hdr = ipc_hdr(IPC_RECORD), .time_ns = clock_wall_ns() };

	if (c->nr)
		return true;
	if (!c->dropped)
		return false;
	append(c, &r);
	return flush(c) && c->nr;
}

/* It has nothing to say: a message is as much its last word as the end of file. */
static void on_ready(struct loop_source *src, short revents)
{
	struct capture *c = CONTAINER(src, struct capture, sock);

	c->ending = c->ending || (revents & POLLIN);
	if ((revents & (POLLERR | POLLHUP)) || !flush(c) || (c->ending && !hand_over_rest(c)) ||
		watch(c) < 0)
		drop(c);
}

static int add(struct daemon *d, int fd, const struct sock_peer *who, uint32_t what)
{
	struct ipc_simple msg = { .hdr = ipc_hdr(IPC_CAPTURING) };
	struct capture *c;
	unsigned int n;
	ssize_t len;
	int ret;

	DL_COUNT(d->captures, c, n);
	if (n >= CAPTURES_MAX)
		return -EBUSY;
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
	c->what = what;
	c->sock = (struct loop_source){ .fd = fd, .fn = on_ready };
	DL_APPEND(d->captures, c);
	len = fd_send(fd, &msg, sizeof(msg), NULL, 0, MSG_DONTWAIT);
	ret = len < 0 ? (int)len : watch(c);
	if (ret < 0) {
		c->sock.fd = -1; /* the caller's again */
		drop(c);
	}
	return ret;
}

void capture_start(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_capture *msg)
{
	int ret = add(d, fd, who, msg->what);

	if (ret == 0)
		log_notice("pid %d (uid %u) captures the daemon's connections", (int)who->pid,
			(unsigned int)who->uid);
	else
		ipc_refuse(fd, -ret, 0, ret == -EBUSY ? "too many captures: end one of them" :
			strerror(-ret));
}

/* ---- records --------------------------------------------------------------------------------- */

static void put(struct capture *c, const struct ipc_record *r)
{
	if (c->nr == CAPTURE_RING) {
		c->dropped++;
		return;
	}
	append(c, r);
	/* From the loop, not from here: the caller is in the middle of serving a channel. */
	if (watch(c) < 0)
		log_warn("capture: %s", strerror(ENOMEM));
}

static void tell(struct daemon *d, struct ipc_record *r)
{
	struct capture *c;

	r->hdr = ipc_hdr(IPC_RECORD);
	r->time_ns = clock_wall_ns();
	DL_FOREACH(d->captures, c) {
		if ((c->what & r->what) && !c->ending)
			put(c, r);
	}
}

/* The peer's handle, and our own one, of a CLC message's connection. */
static void of_connection(struct link *l, const struct rdv_record *rec, enum clc_type type,
	bool out, struct ipc_record *r)
{
	uint32_t own = out ? rec->src_conn : rec->dst_conn;
	uint32_t peer = out ? rec->dst_conn : rec->src_conn;
	const struct channel *ch = channel_find(l->fn->d, own);

	if (ch && ch->link == l)
		r->server = ch->server;
	else if (type == CLC_DECLINE) /* of a Proposal that no channel was made for: the server's */
		r->server = out || own == 0;
	else
		r->server = !out;
	r->client_conn = r->server ? peer : own;
	r->port = type == CLC_PROPOSAL ? rec->port : ch && ch->link == l ? ch->port : 0;
}

void capture_clc(struct link *l, const struct rdv_record *rec, bool out)
{
	struct ipc_record r = { .what = IPC_CAPTURE_CLC, .out = out, .chid = l->fn->chid,
		.local_gid = l->fn->gid, .peer_gid = l->gid, .order = (uint8_t)l->fn->order,
		.len = (uint16_t)rec->clc_len };
	enum clc_type type;
	size_t len;

	if (clc_peek(rec->clc, rec->clc_len, &type, &len) < 0)
		return;
	of_connection(l, rec, type, out, &r);
	memcpy(r.data, rec->clc, rec->clc_len);
	tell(l->fn->d, &r);
}

static void tell_block(struct channel *ch, const void *block, bool out)
{
	struct ipc_record r = { .what = IPC_CAPTURE_CDC, .out = out, .chid = ch->fn->chid,
		.local_gid = ch->local_gid, .peer_gid = ch->peer_gid, .port = ch->port,
		.server = ch->server, .client_conn = ch->server ? ch->peer_conn : ch->id,
		.order = (uint8_t)ch->s.order, .len = CDC_SIZE };

	memcpy(r.data, block, CDC_SIZE);
	tell(ch->d, &r);
}

void capture_said(struct channel *ch, const void *cdc)
{
	if (ch->fn)
		tell_block(ch, cdc, true);
}

void capture_heard(struct channel *ch)
{
	uint8_t block[CDC_SIZE];
	struct cdc_msg msg;

	if (!ch->fn)
		return;
	cdc_load(ch->s.dmb, ch->s.order, &msg);
	if (ch->att.on) /* not of the protocol */
		msg.conn_flags &= (uint8_t)~CDC_BY_APPLICATION;
	cdc_encode(block, &msg, ch->s.order);
	if (memcmp(block, ch->heard, CDC_SIZE) == 0)
		return;
	memcpy(ch->heard, block, CDC_SIZE);
	tell_block(ch, block, false);
}
