/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/connect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ism/proto.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/lgr.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define TIMEOUT_DEFAULT_MS 5000u
#define TIMEOUT_MAX_MS	   600000u
#define NO_CONN		   UINT32_MAX /* handle of a refusal that no channel stands behind */

static void start_client(struct channel *ch);

/* ---- answers to the application -------------------------------------------------------------- */

/* Ends an attempt of ours: the application gets @err and the text, the channel goes. */
static void refuse_app(struct channel *ch, int err, uint32_t diag, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void refuse_app(struct channel *ch, int err, uint32_t diag, const char *fmt, ...)
{
	char text[IPC_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ch->d->stats.connects_refused++;
	log_info("connect %s@%s (uid %u, pid %d): %s", ch->service, ch->peer,
		(unsigned int)ch->uid, (int)ch->pid, text);
	if (ch->sock.fd >= 0) {
		loop_del(ch->d->loop, &ch->sock);
		ipc_refuse(fd_steal(&ch->sock.fd), err, diag, text);
	}
	channel_detach(ch, err);
}

/* What a Decline of the peer means to the application here. */
static void refuse_declined(struct channel *ch)
{
	uint32_t diag = ch->hs.diag;

	switch (diag) {
	case CLC_DECL_PEERNOSMC:
		refuse_app(ch, ECONNREFUSED, diag, "no service '%s' (port %u) at %s", ch->service,
			ch->port, ch->peer);
		break;
	case CLC_DECL_MEM:
		refuse_app(ch, ECONNREFUSED, diag,
			"%s has no room for another channel of '%s': its "
			"backlog, its user's limit or its memory is used up",
			ch->peer, ch->service);
		break;
	case CLC_DECL_MAX_DMB:
		refuse_app(ch, ENOSPC, diag, "no DMB left at %s: close other channels", ch->peer);
		break;
	case CLC_DECL_NOSMCDDEV:
	case CLC_DECL_NOUEID:
		refuse_app(ch, EPROTO, diag,
			"no enterprise id in common with %s: configure the same ueid on both "
			"sides (smcd-userctl stats names ours)",
			ch->peer);
		break;
	default:
		refuse_app(ch, EPROTO, diag, "%s declined '%s': %s", ch->peer, ch->service,
			clc_diag_text(diag));
	}
}

/* ---- messages -------------------------------------------------------------------------------- */

static int send_clc(struct channel *ch)
{
	struct rdv_record rec = { .type = RDV_CLC, .src_conn = ch->id, .dst_conn = ch->peer_conn,
		.clc = ch->hs.out, .clc_len = ch->hs.out_len };
	enum clc_type type;
	size_t len;

	if (clc_peek(ch->hs.out, ch->hs.out_len, &type, &len) == 0 && type == CLC_PROPOSAL) {
		rec.port = ch->port;
		memcpy(rec.name, ch->service, sizeof(rec.name));
	}
	return link_send(ch->link, &rec);
}

static void send_reset(struct link *l, uint32_t ours, uint32_t theirs, uint32_t diag)
{
	struct rdv_record rec = { .type = RDV_RESET, .src_conn = ours, .dst_conn = theirs,
		.diag = diag };

	link_send(l, &rec);
}

/* ---- driving the handshake ------------------------------------------------------------------- */

static uint32_t diag_of(int err)
{
	switch (err) {
	case -ENOSPC:
		return CLC_DECL_MAX_DMB;
	case -ENOMEM:
	case -EDQUOT:
	case -EMFILE:
	case -ENFILE:
		return CLC_DECL_MEM;
	default:
		return CLC_DECL_INTERR;
	}
}

/* Our DMB; for a client also the window on the peer's, before it is too late to decline. */
static enum hs_step give_dmb(struct channel *ch)
{
	const struct clc_accept *peer = &ch->hs.peer;
	uint32_t diag;
	int ret;

	if (peer->gid.gid != ch->peer_gid) {
		log_err("peer %s names a GID that is not its own (0x%016" PRIx64 ")", ch->peer,
			peer->gid.gid);
		return hs_dmb_failed(&ch->hs, CLC_DECL_INTERR);
	}
	diag = lgr_join(ch);
	if (diag != 0)
		return hs_dmb_failed(&ch->hs, diag);
	ret = channel_open_rx(ch);
	if (ret == 0 && ch->server)
		attach_offer(ch);
	if (ret == 0 && !ch->server)
		attach_take(ch, peer->token, clc_code_size(peer->size_code));
	if (ret == 0 && !ch->server && ch->want == IPC_PATH_ATTACHED && !ch->att.on)
		return hs_dmb_failed(&ch->hs, CLC_DECL_MODEUNSUPP);
	if (ret == 0 && !ch->server)
		ret = channel_open_tx(ch, peer->token, clc_code_size(peer->size_code));
	if (ret < 0) {
		log_warn("channel %u with %s: no memory at the device: %s", ch->id, ch->peer,
			strerror(-ret));
		return hs_dmb_failed(&ch->hs, diag_of(ret));
	}
	return hs_dmb(&ch->hs, ch->dmb->token, clc_size_code(ch->rx_size));
}

/* Sends the channel to the application: on its own socket, or with @sock on @l's. */
static int give_to_app(struct channel *ch, struct listener *l, int sock)
{
	int fds[1 + IPC_FDS_ATTACHED] = { sock, fd_readonly(ch->dmb->fd), ch->send.fd,
		ch->att.dmb, ch->att.page, ch->att.sock };
	unsigned int nfds = ch->att.on ? IPC_FDS_ATTACHED : IPC_FDS_MEDIATED;
	struct ipc_channel msg;
	ssize_t len;
	int ret;

	if (fds[1] < 0)
		return fds[1];
	channel_fill_info(ch, &msg);
	if (l) {
		ret = listener_send(l, &msg, fds, nfds + 1);
	} else {
		len = fd_send(ch->sock.fd, &msg, sizeof(msg), &fds[1], nfds, MSG_DONTWAIT);
		ret = len < 0 ? (int)len : 0;
	}
	fd_closep(&fds[1]);
	attach_drop(&ch->att);
	return ret;
}

static void client_done(struct channel *ch)
{
	int ret = send_clc(ch);

	if (ret == 0)
		ret = channel_go_live(ch, ch->sock.fd);
	if (ret == 0)
		lgr_joined(ch);
	if (ret < 0) {
		refuse_app(ch, -ret, 0, "control link with %s: %s", ch->peer, strerror(-ret));
		return;
	}
	if (give_to_app(ch, NULL, -1) < 0)
		channel_drop_app(ch);
}

/* The client is ACTIVE already: from here on failure is an abort. */
static void server_done(struct channel *ch)
{
	const struct clc_accept *peer = &ch->hs.peer;
	struct listener *l = ch->listener;
	int sv[2] = { -1, -1 }, ret;

	attach_take(ch, peer->token, clc_code_size(peer->size_code));
	ret = ch->want == IPC_PATH_ATTACHED && !ch->att.on ? -EOPNOTSUPP : 0;
	if (ret == 0)
		ret = channel_open_tx(ch, peer->token, clc_code_size(peer->size_code));
	if (ret == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		ret = -errno;
	if (ret == 0)
		ret = channel_go_live(ch, sv[0]);
	if (ret < 0) {
		log_warn("channel %u from %s: %s", ch->id, ch->peer, strerror(-ret));
		fd_closep(&sv[0]);
		fd_closep(&sv[1]);
		send_reset(ch->link, ch->id, ch->peer_conn, CLC_DECL_MEM);
		channel_detach(ch, -ret);
		return;
	}
	lgr_joined(ch);
	listener_delivered(l);
	ret = give_to_app(ch, l, sv[1]);
	fd_closep(&sv[1]);
	if (ret < 0)
		channel_drop_app(ch);
}

/*
 * We declined because the peer's link group is none of ours. It ends that group when it reads so, and
 * what we propose behind it is a first contact.
 */
static bool repeat_first_contact(struct channel *ch)
{
	if (ch->server || ch->hs.declined_by_peer || ch->hs.diag != CLC_DECL_SYNCERR ||
		ch->repeated)
		return false;
	log_info("%s: out of sync about the link group with %s: it begins anew",
		ch->fn->cfg->name, ch->peer);
	ch->repeated = true;
	ch->peer_conn = 0;
	start_client(ch);
	return true;
}

static void handshake_declined(struct channel *ch)
{
	if (ch->hs.out_len > 0)
		send_clc(ch);
	if (repeat_first_contact(ch))
		return;
	if (ch->server) {
		if (!ch->hs.declined_by_peer)
			ch->d->stats.connects_refused++;
		log_info("channel from %s for '%s' declined: %s", ch->peer, ch->service,
			clc_diag_text(ch->hs.diag));
		if (ch->hs.out_of_sync && ch->lgr)
			lgr_out_of_sync(ch->lgr);
		channel_detach(ch, ECONNREFUSED);
	} else if (ch->hs.declined_by_peer) {
		refuse_declined(ch);
	} else if (ch->hs.diag == CLC_DECL_MODEUNSUPP) {
		refuse_app(ch, EOPNOTSUPP, ch->hs.diag,
			"no attached path to %s: the fabric, its daemon or ours does not offer it",
			ch->peer);
	} else {
		refuse_app(ch, ch->hs.diag == CLC_DECL_MAX_DMB ? ENOSPC : EPROTO, ch->hs.diag,
			"cannot use what %s offers: %s", ch->peer, clc_diag_text(ch->hs.diag));
	}
}

static void handshake_failed(struct channel *ch, int err, const char *what)
{
	if (ch->peer_conn)
		send_reset(ch->link, ch->id, ch->peer_conn, CLC_DECL_INTERR);
	if (ch->server) {
		log_warn("channel from %s for '%s': %s", ch->peer, ch->service, what);
		channel_detach(ch, err);
	} else {
		refuse_app(ch, err, 0, "%s: %s", ch->peer, what);
	}
}

/*
 * The peer is reached in the VLAN that stands for SMC-Dv2. Who shares a link group with us was asked
 * about; a function without that VLAN has nobody to ask.
 */
static bool reachable(const struct channel *ch)
{
	if (hs_candidate(&ch->hs)->gid != ch->peer_gid)
		return false;
	if (ch->link->lgrs || !ism_profile(ch->fn->dev)->vlan_1fff)
		return true;
	return function_note(ch->fn, ism_query_remote_gid(ch->fn->dev, ch->peer_gid, true,
		ISM_RESERVED_VLAN)) == 0;
}

static void drive(struct channel *ch, enum hs_step step)
{
	for (;;) {
		switch (step) {
		case HS_WAIT:
			return;
		case HS_SEND:
			if (send_clc(ch) < 0)
				handshake_failed(ch, ECONNRESET, "the control link is congested");
			return;
		case HS_WANT_REACH:
			step = hs_reach(&ch->hs, reachable(ch));
			break;
		case HS_WANT_DMB:
			step = give_dmb(ch);
			break;
		case HS_DONE:
			if (ch->server)
				server_done(ch);
			else
				client_done(ch);
			return;
		case HS_DECLINED:
			handshake_declined(ch);
			return;
		case HS_FAILED:
			ch->d->stats.protocol_errors++;
			handshake_failed(ch, EPROTO, "it broke the handshake's protocol");
			return;
		}
	}
}

static void on_deadline(struct loop_timer *timer)
{
	struct channel *ch = CONTAINER(timer, struct channel, timer);

	if (ch->phase == CHANNEL_WAIT_LINK) {
		refuse_app(ch, ETIMEDOUT, 0,
			"peer '%s' (GID 0x%016" PRIx64 ") does not answer: does its "
			"smcd-userd run?",
			ch->peer, ch->peer_gid);
		return;
	}
	connect_cancel(ch);
	if (ch->server) {
		log_warn("channel from %s for '%s': it did not confirm in time", ch->peer,
			ch->service);
		channel_detach(ch, ETIMEDOUT);
	} else {
		refuse_app(ch, ETIMEDOUT, 0, "%s did not answer the handshake in time", ch->peer);
	}
}

void connect_cancel(struct channel *ch)
{
	if (ch->phase != CHANNEL_HANDSHAKE || !ch->link)
		return;
	if (hs_refuse(&ch->hs, CLC_DECL_CNFERR) == HS_DECLINED)
		send_clc(ch);
	else if (ch->peer_conn)
		send_reset(ch->link, ch->id, ch->peer_conn, CLC_DECL_CNFERR);
}

void connect_failed(struct channel *ch, int err)
{
	if (ch->server)
		channel_detach(ch, err);
	else if (err == ENODEV)
		refuse_app(ch, ENODEV, 0, "the ISM function went away: does the fabric run?");
	else if (err == ETIMEDOUT)
		refuse_app(ch, ETIMEDOUT, 0,
			"peer '%s' (GID 0x%016" PRIx64 ") does not answer: does "
			"its smcd-userd run?",
			ch->peer, ch->peer_gid);
	else
		refuse_app(
			ch, err, 0, "the link with peer '%s' broke: %s", ch->peer, strerror(err));
}

/* ---- client ---------------------------------------------------------------------------------- */

static void start_client(struct channel *ch)
{
	uint64_t now = clock_ns();

	ch->phase = CHANNEL_HANDSHAKE;
	drive(ch, hs_start_client(&ch->hs, &ch->fn->local, now, HS_TIMEOUT_MS));
	if (ch->phase == CHANNEL_HANDSHAKE && ch->hs.deadline_ns < ch->timer.when_ns)
		loop_timer_set(ch->d->loop, &ch->timer, ch->hs.deadline_ns);
}

void connect_link_up(struct link *l)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, l->fn->d->channels, ch, tmp) {
		if (ch->link == l && ch->phase == CHANNEL_WAIT_LINK)
			start_client(ch);
	}
}

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

/*
 * The function that reaches @gid. As in the kernel, one that has the peer's PNETID comes first, then
 * those without any; one with another is for other networks. Errors as above; -ENETUNREACH when
 * PNETIDs leave none.
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
	return pick_among(d, gid, 0, ret) == -ENODEV ? -ENODEV : -ENETUNREACH;
}

struct attempt { /* a CONNECT, resolved */
	struct function *fn;
	uint64_t gid;
	uint16_t port;
};

/* 0, or the errno with its reason in @text. */
static int resolve(struct daemon *d, const struct ipc_connect *msg, struct attempt *a, char *text,
	size_t size)
{
	int ret;

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
	if (a->gid == 0) {
		snprintf(text, size, "unknown peer '%s': configure --peer %s=GID", msg->peer,
			msg->peer);
		return EHOSTUNREACH;
	}
	ret = pick_function(d, a->gid, &a->fn);
	if (ret == -ENODEV)
		snprintf(text, size, "no ISM function is up: does the fabric run?");
	else if (ret == -EINVAL)
		snprintf(text, size,
			"peer '%s' is this guest itself: a function cannot send to itself",
			msg->peer);
	else if (ret == -ENETUNREACH)
		snprintf(text, size,
			"no ISM function is for the network of peer '%s': give it the pnetid of one, "
			"in [peer NAME]",
			msg->peer);
	else if (ret < 0)
		snprintf(text, size,
			"peer '%s' (GID 0x%016" PRIx64 ") is not on the fabric: does its "
			"smcd-userd run?",
			msg->peer, a->gid);
	return ret == -EINVAL ? EHOSTUNREACH : -ret;
}

/* The channel exists and owns its socket. */
static void set_out(struct channel *ch, const struct attempt *a, uint32_t timeout_ms)
{
	uint64_t until = clock_ns() + (uint64_t)timeout_ms * 1000000;
	struct link *l = link_get(a->fn, a->gid);
	int ret;

	if (!l) {
		refuse_app(ch, ENOBUFS, 0, "too many peers that are not configured");
		return;
	}
	channel_bind(ch, l);
	ch->timer.fn = on_deadline;
	ret = loop_add(ch->d->loop, &ch->sock);
	if (ret == 0)
		ret = loop_timer_set(ch->d->loop, &ch->timer, until);
	if (ret == 0)
		ret = link_want(l, until);
	if (ret < 0) {
		refuse_app(ch, -ret, 0, "no control link with %s: %s", ch->peer, strerror(-ret));
		return;
	}
	if (l->state == LINK_UP && l->greeted)
		start_client(ch);
}

void connect_start(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_connect *msg)
{
	uint32_t rcvbuf = msg->rcvbuf ? msg->rcvbuf : d->cfg->rcvbuf;
	uint32_t timeout = msg->timeout_ms ? msg->timeout_ms : TIMEOUT_DEFAULT_MS;
	struct channel_params p = { .uid = who->uid, .pid = who->pid, .peer = msg->peer,
		.service = msg->service, .want = msg->path,
		.rx_size = clc_code_size(clc_size_code(rcvbuf)) };
	char text[IPC_TEXT_MAX] = "";
	struct attempt a = { 0 };
	struct channel *ch;
	int err;

	err = resolve(d, msg, &a, text, sizeof(text));
	if (err == 0) {
		p.port = a.port;
		err = -channel_new(d, &p, &ch);
		if (err == EDQUOT)
			snprintf(text, sizeof(text), "user %u is at its limit of channels or bytes "
				"([limits] in the daemon's configuration)", (unsigned int)who->uid);
	}
	if (err != 0) {
		d->stats.connects_refused++;
		log_info("connect of uid %u, pid %d: %s", (unsigned int)who->uid, (int)who->pid,
			text[0] ? text : strerror(err));
		ipc_refuse(fd, err, 0, text);
		return;
	}
	ch->sock = (struct loop_source){ .fd = fd, .events = POLLIN, .fn = channel_on_sock };
	set_out(ch, &a, timeout < TIMEOUT_MAX_MS ? timeout : TIMEOUT_MAX_MS);
}

/* ---- server ---------------------------------------------------------------------------------- */

/* Declines a Proposal that no channel was made for. */
static void decline(struct link *l, const struct rdv_record *prop, uint32_t diag)
{
	struct rdv_record rec = {
		.type = RDV_CLC, .src_conn = NO_CONN, .dst_conn = prop->src_conn
	};
	enum hs_step step;
	struct hs hs;

	l->fn->d->stats.connects_refused++;
	hs_start_server(&hs, &l->fn->local, clock_ns(), HS_TIMEOUT_MS);
	step = hs_input(&hs, prop->clc, prop->clc_len);
	if (step != HS_DECLINED && step != HS_FAILED)
		hs_refuse(&hs, diag);
	rec.clc = hs.out;
	rec.clc_len = hs.out_len;
	if (hs.out_len > 0)
		link_send(l, &rec);
	else
		send_reset(l, NO_CONN, prop->src_conn, diag);
}

static void on_proposal(struct link *l, const struct rdv_record *rec)
{
	struct daemon *d = l->fn->d;
	struct listener *li = listener_find(d, rec->port, rec->name);
	struct channel_params p = { .server = true, .port = rec->port, .peer = link_peer(l),
		.service = rec->name };
	struct channel *ch;
	int ret;

	if (!li) {
		log_info("%s asks for '%s' (port %u): no such service here", link_peer(l),
			rec->name, rec->port);
		decline(l, rec, CLC_DECL_PEERNOSMC);
		return;
	}
	if (!listener_admit(li, &p)) {
		log_info("%s asks for '%s': the backlog is full", link_peer(l), rec->name);
		decline(l, rec, CLC_DECL_MEM);
		return;
	}
	ret = channel_new(d, &p, &ch);
	if (ret < 0) {
		listener_delivered(li);
		decline(l, rec, diag_of(ret));
		return;
	}
	ch->listener = li;
	ch->peer_conn = rec->src_conn;
	ch->phase = CHANNEL_HANDSHAKE;
	ch->timer.fn = on_deadline;
	channel_bind(ch, l);
	hs_start_server(&ch->hs, &l->fn->local, clock_ns(), HS_TIMEOUT_MS);
	if (loop_timer_set(d->loop, &ch->timer, ch->hs.deadline_ns) < 0)
		drive(ch, hs_refuse(&ch->hs, CLC_DECL_MEM));
	else
		drive(ch, hs_input(&ch->hs, rec->clc, rec->clc_len));
}

/* ---- records --------------------------------------------------------------------------------- */

/* A client that gave up before it learnt our handle. */
static struct channel *find_by_peer(struct link *l, uint32_t conn)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, l->fn->d->channels, ch, tmp) {
		if (ch->link == l && ch->server && ch->phase == CHANNEL_HANDSHAKE &&
			ch->peer_conn == conn)
			return ch;
	}
	return NULL;
}

static struct channel *addressed(struct link *l, const struct rdv_record *rec)
{
	struct channel *ch;

	if (rec->dst_conn == 0)
		return find_by_peer(l, rec->src_conn);
	ch = channel_find(l->fn->d, rec->dst_conn);
	/* Handles are small numbers: only the link that it belongs to may use one. */
	if (!ch || ch->link != l || (ch->peer_conn && ch->peer_conn != rec->src_conn))
		return NULL;
	return ch;
}

void connect_record(struct link *l, const struct rdv_record *rec)
{
	struct channel *ch;
	enum clc_type type;
	size_t len;

	if (clc_peek(rec->clc, rec->clc_len, &type, &len) < 0)
		return;
	if (type == CLC_PROPOSAL) {
		on_proposal(l, rec);
		return;
	}
	ch = addressed(l, rec);
	if (!ch) {
		if (type != CLC_DECLINE && rec->dst_conn != 0)
			send_reset(l, rec->dst_conn, rec->src_conn, CLC_DECL_SYNCERR);
		return;
	}
	if (ch->phase != CHANNEL_HANDSHAKE)
		return; /* after the point of no return nothing is read any more */
	if (rec->src_conn != NO_CONN)
		ch->peer_conn = rec->src_conn;
	drive(ch, hs_input(&ch->hs, rec->clc, rec->clc_len));
}

void connect_reset(struct link *l, const struct rdv_record *rec)
{
	struct channel *ch = channel_find(l->fn->d, rec->dst_conn);

	if (!ch || ch->link != l || (ch->peer_conn && ch->peer_conn != rec->src_conn))
		return;
	if (ch->phase != CHANNEL_HANDSHAKE)
		channel_lost(ch, ECONNRESET);
	else if (ch->server)
		channel_detach(ch, ECONNRESET);
	else
		refuse_app(ch, ECONNREFUSED, rec->diag, "%s ended the handshake: %s", ch->peer,
			clc_diag_text(rec->diag));
}
