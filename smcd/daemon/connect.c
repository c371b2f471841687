/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/connect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "ism/proto.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/lgr.h"
#include "smcd/daemon/refuse.h"
#include "smcd/daemon/route.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define TIMEOUT_DEFAULT_MS 5000u
#define TIMEOUT_MAX_MS	   600000u
#define NO_CONN		   UINT32_MAX /* handle of a refusal that no channel stands behind */

static void start_client(struct channel *ch);

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

/* As the kernel has it: what the device refuses but for want of room is want of memory. */
static uint32_t buffer_diag(int err)
{
	switch (err) {
	case -ENOSPC:
		return CLC_DECL_MAX_DMB;
	case -ENODEV:
		return CLC_DECL_NOSMCDEV;
	default:
		return CLC_DECL_MEM;
	}
}

/* The whole of it: our own functions have 64 bits, and the lower half is zero whatever the CHID. */
static bool is_peer(const struct channel *ch, const struct clc_gid *g)
{
	return g->gid == ch->peer_gid && g->gid_ext == 0;
}

/* Our DMB; for a client also the window on the peer's, before it is too late to decline. */
static enum hs_step give_dmb(struct channel *ch)
{
	const struct clc_accept *peer = &ch->hs.peer;
	uint32_t diag;
	int ret;

	if (!is_peer(ch, &peer->gid)) {
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
		return hs_dmb_failed(&ch->hs, buffer_diag(ret));
	}
	return hs_dmb(&ch->hs, ch->dmb->token, clc_size_code(ch->rx_size));
}

/* What goes with IPC_CHANNEL. */
static unsigned int fds_for_app(const struct channel *ch, int sock, int ro, int *fds)
{
	unsigned int n = 0;

	if (sock >= 0)
		fds[n++] = sock;
	fds[n++] = ro;
	if (!ch->send_kept)
		fds[n++] = ch->send.fd;
	if (ch->att.on) {
		fds[n++] = ch->att.dmb;
		fds[n++] = ch->att.sock;
	}
	return n;
}

/* Sends the channel to the application: on its own socket, or with @sock on @l's. */
static int give_to_app(struct channel *ch, struct listener *l, int sock)
{
	int fds[1 + IPC_FDS_ATTACHED], ro = ism_dmb_readonly(ch->dmb), ret;
	struct ipc_channel msg;
	unsigned int nfds;
	ssize_t len;

	if (ro < 0)
		return ro;
	nfds = fds_for_app(ch, sock, ro, fds);
	channel_fill_info(ch, &msg);
	if (l) {
		ret = listener_send(l, &msg, fds, nfds);
	} else {
		len = fd_send(ch->sock.fd, &msg, sizeof(msg), fds, nfds, MSG_DONTWAIT);
		ret = len < 0 ? (int)len : 0;
	}
	fd_closep(&ro);
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
		refuse_app(ch, -ret, diag_of(ret), "control link with %s: %s", ch->peer,
			strerror(-ret));
		return;
	}
	if (give_to_app(ch, NULL, -1) < 0)
		channel_drop_app(ch);
}

/* Our end, and the application's (-1) if it has that not yet. */
static int get_socket(struct channel *ch, const struct listener *l, int sock[2])
{
	struct kit k;
	int ret;

	sock[0] = client_reuse(ch, l);
	if (sock[0] >= 0)
		return 0;
	ret = kit_get(ch->d, KIT_SOCK, &k);
	if (ret == 0)
		memcpy(sock, k.sock, sizeof(k.sock));
	return ret;
}

/* The client is ACTIVE already: from here on failure is an abort. */
static void server_done(struct channel *ch)
{
	const struct clc_accept *peer = &ch->hs.peer;
	struct listener *l = ch->listener;
	int sock[2] = { -1, -1 }, ret;

	attach_take(ch, peer->token, clc_code_size(peer->size_code));
	ret = ch->want == IPC_PATH_ATTACHED && !ch->att.on ? -EOPNOTSUPP : 0;
	if (ret == 0)
		ret = get_socket(ch, l, sock);
	if (ret == 0)
		ret = channel_open_tx(ch, peer->token, clc_code_size(peer->size_code));
	if (ret == 0)
		ret = channel_go_live(ch, sock[0]);
	if (ret < 0) {
		uint32_t diag = ret == -EOPNOTSUPP ? CLC_DECL_MODEUNSUPP : CLC_DECL_MEM;

		fd_closep(&sock[0]);
		fd_closep(&sock[1]);
		send_reset(ch->link, ch->id, ch->peer_conn, diag);
		refuse_peer(ch, -ret, diag, false, "it confirmed, but here: %s", strerror(-ret));
		return;
	}
	lgr_joined(ch);
	listener_delivered(l);
	ret = give_to_app(ch, l, sock[1]);
	fd_closep(&sock[1]);
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

/* The enterprise IDs of a Proposal, for people: they are a peer's words, of any bytes. */
static void name_eids(const struct clc_proposal *p, char *text, size_t size)
{
	size_t len = 0;
	unsigned int i, k;

	*text = '\0';
	for (i = 0; i < p->nr_ueid && len + CLC_EID_LEN + 3 < size; i++) {
		len += (size_t)snprintf(text + len, size - len, i ? ", " : "");
		for (k = 0; k < CLC_EID_LEN && p->ueid[i][k] != ' '; k++)
			text[len++] = (char)(p->ueid[i][k] > 0x20 && p->ueid[i][k] < 0x7f ?
				p->ueid[i][k] : '?');
		text[len] = '\0';
	}
}

static void server_declined(struct channel *ch)
{
	const struct hs *hs = &ch->hs;
	char eids[200];

	if (hs->out_of_sync)
		lgr_out_of_sync(ch);
	if (hs->diag == CLC_DECL_NOSMCDDEV && !hs->declined_by_peer) {
		name_eids(&hs->proposal, eids, sizeof(eids));
		refuse_peer(ch, ECONNREFUSED, hs->diag, false, "no enterprise id in common: it "
			"offers %s (smcd-userctl stats names ours)", eids[0] ? eids : "a SEID only");
	} else {
		refuse_peer(ch, ECONNREFUSED, hs->diag, hs->declined_by_peer, "%s: %s",
			hs->declined_by_peer ? "it declined" : "declined",
			clc_diag_text(hs->diag));
	}
}

static void handshake_declined(struct channel *ch)
{
	if (ch->hs.out_len > 0)
		send_clc(ch);
	if (repeat_first_contact(ch))
		return;
	if (ch->server)
		server_declined(ch);
	else if (ch->hs.declined_by_peer)
		refuse_declined(ch);
	else if (ch->hs.diag == CLC_DECL_MODEUNSUPP)
		refuse_app(ch, EOPNOTSUPP, ch->hs.diag,
			"no attached path to %s: the fabric, its daemon or ours does not offer it",
			ch->peer);
	else
		refuse_app(ch, ch->hs.diag == CLC_DECL_MAX_DMB ? ENOSPC : EPROTO, ch->hs.diag,
			"cannot use what %s offers: %s", ch->peer, clc_diag_text(ch->hs.diag));
}

static void handshake_failed(struct channel *ch, int err, const char *what)
{
	if (ch->peer_conn)
		send_reset(ch->link, ch->id, ch->peer_conn, CLC_DECL_INTERR);
	if (ch->server)
		refuse_peer(ch, err, CLC_DECL_INTERR, true, "%s", what);
	else
		refuse_app(ch, err, CLC_DECL_INTERR, "%s: %s", ch->peer, what);
}

/*
 * The peer is reached in the VLAN that stands for SMC-Dv2. Who shares a link group with us was asked
 * about; a function without that VLAN has nobody to ask.
 */
static bool reachable(const struct channel *ch)
{
	if (!is_peer(ch, hs_candidate(&ch->hs)))
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
		refuse_app(ch, ETIMEDOUT, CLC_DECL_PEERNOSMC,
			"peer '%s' (GID 0x%016" PRIx64 ") does not answer: does its "
			"smcd-userd run?",
			ch->peer, ch->peer_gid);
		return;
	}
	connect_cancel(ch);
	if (ch->server)
		refuse_peer(ch, ETIMEDOUT, CLC_DECL_TIMEOUT, true, "it did not confirm in time");
	else
		refuse_app(ch, ETIMEDOUT, CLC_DECL_TIMEOUT,
			"%s did not answer the handshake in time", ch->peer);
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
		refuse_peer(ch, err, err == ENODEV ? CLC_DECL_NOSMCDEV : CLC_DECL_PEERNOSMC,
			err != ENODEV, "the link with it broke during the handshake: %s",
			strerror(err));
	else if (err == ENODEV)
		refuse_app(ch, ENODEV, CLC_DECL_NOSMCDEV,
			"the ISM function went away: does the fabric run?");
	else if (err == ETIMEDOUT)
		refuse_app(ch, ETIMEDOUT, CLC_DECL_PEERNOSMC,
			"peer '%s' (GID 0x%016" PRIx64 ") does not answer: does "
			"its smcd-userd run?",
			ch->peer, ch->peer_gid);
	else if (err == ECONNABORTED)
		refuse_app(ch, err, CLC_DECL_SYNCERR, "the link group with peer '%s' ended",
			ch->peer);
	else
		refuse_app(ch, err, CLC_DECL_PEERNOSMC, "the link with peer '%s' broke: %s",
			ch->peer, strerror(err));
}

/* ---- client ---------------------------------------------------------------------------------- */

static void start_client(struct channel *ch)
{
	uint64_t now = clock_ns();

	channel_enter(ch, CHANNEL_HANDSHAKE);
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

/* The channel exists and owns its socket. */
static void set_out(struct channel *ch, const struct route *a, uint32_t timeout_ms)
{
	uint64_t until = clock_ns() + (uint64_t)timeout_ms * 1000000;
	struct link *l = link_get(a->fn, a->gid);
	int ret;

	if (!l) {
		refuse_app(ch, ENOBUFS, CLC_DECL_MEM, "too many peers that are not configured");
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
		refuse_app(ch, -ret, diag_of(ret), "no control link with %s: %s", ch->peer,
			strerror(-ret));
		return;
	}
	if (l->state == LINK_UP && l->greeted)
		start_client(ch);
}

/* Refused before there was a channel. */
static void refuse_connect(struct daemon *d, int fd, const struct sock_peer *who,
	const struct ipc_connect *msg, struct failure *f)
{
	if (f->text[0] == '\0')
		snprintf(f->text, sizeof(f->text), "%s", strerror(f->error));
	f->uid = who->uid;
	/* A name that is none would go into the log as it is. */
	snprintf(f->service, sizeof(f->service), "%s", rdv_name_ok(msg->service) ?
		msg->service : "?");
	snprintf(f->peer, sizeof(f->peer), "%s", rdv_name_ok(msg->peer) ? msg->peer : "?");
	d->stats.connects_refused++;
	failure_note(d, f);
	ipc_refuse(fd, f->error, f->diag, f->text);
}

void connect_start(struct daemon *d, int fd, const struct sock_peer *who, struct legacy *legacy,
	const struct ipc_connect *msg)
{
	uint32_t timeout = msg->timeout_ms ? msg->timeout_ms : TIMEOUT_DEFAULT_MS;
	struct channel_params p = { .uid = who->uid, .pid = who->pid, .peer = msg->peer,
		.service = msg->service, .want = msg->path, .rx_size = channel_rx_size(d, msg->rcvbuf) };
	struct failure f = { .diag = 0 };
	struct route a = { 0 };
	struct channel *ch;

	f.error = route_find(d, msg, &a, f.text, sizeof(f.text));
	f.diag = a.diag;
	if (f.error == 0) {
		p.port = a.port;
		f.error = -channel_new(d, &p, &ch);
		f.diag = diag_of(-f.error);
		if (f.error == EDQUOT)
			snprintf(f.text, sizeof(f.text), "user %u is at its limit of channels or "
				"bytes ([limits] in the daemon's configuration)",
				(unsigned int)who->uid);
	}
	if (f.error != 0) {
		f.peer_gid = a.gid;
		f.port = a.port;
		legacy_drop(d, who->uid, legacy);
		refuse_connect(d, fd, who, msg, &f);
		return;
	}
	ch->sock = (struct loop_source){ .fd = fd, .events = POLLIN, .fn = channel_on_sock };
	legacy_move(&ch->legacy, legacy);
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
		refuse_proposal(l, rec, CLC_DECL_PEERNOSMC, "no service '%s' (port %u) here",
			rec->name, rec->port);
		decline(l, rec, CLC_DECL_PEERNOSMC);
		return;
	}
	if (!listener_admit(li, &p)) {
		refuse_proposal(l, rec, CLC_DECL_MEM, "the backlog is full: the application does "
			"not accept");
		decline(l, rec, CLC_DECL_MEM);
		return;
	}
	ret = channel_new(d, &p, &ch);
	if (ret < 0) {
		listener_delivered(li);
		refuse_proposal(l, rec, diag_of(ret), ret == -EDQUOT ? "user %u is at its limit of "
			"channels or bytes ([limits])" : "no memory for a channel of user %u",
			(unsigned int)p.uid);
		decline(l, rec, diag_of(ret));
		return;
	}
	ch->listener = li;
	ch->peer_conn = rec->src_conn;
	channel_enter(ch, CHANNEL_HANDSHAKE);
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
		refuse_peer(ch, ECONNRESET, rec->diag, true, "it ended the handshake: %s",
			clc_diag_text(rec->diag));
	else
		refuse_app(ch, ECONNREFUSED, rec->diag, "%s ended the handshake: %s", ch->peer,
			clc_diag_text(rec->diag));
}

/* What the peer's daemon would have stored into our DMB, and may be anything, as that might. */
void connect_cdc(struct link *l, const struct rdv_record *rec)
{
	struct channel *ch = channel_find(l->fn->d, rec->dst_conn);

	if (!ch || ch->link != l || ch->peer_conn != rec->src_conn || !ch->att.on || !ch->dmb) {
		/* The store would have failed. */
		send_reset(l, rec->dst_conn, rec->src_conn, CLC_DECL_SYNCERR);
		return;
	}
	cdc_store_words(ch->dmb->va, rec->words);
	ch->user.signal(&ch->user);
}
