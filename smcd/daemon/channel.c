/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/channel.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "ism/proto.h"
#include "smcd/daemon/capture.h"
#include "smcd/daemon/client.h"
#include "smcd/daemon/connect.h"
#include "smcd/daemon/lgr.h"
#include "smcd/daemon/link.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

/* ---- what one leaves to the next ------------------------------------------------------------ */

static uint64_t send_bytes(const struct function_source *send)
{
	return send->head + send->size;
}

void legacy_move(struct legacy *l, struct legacy *from)
{
	*l = *from;
	for (unsigned int i = 0; i < CHAN_SEND_SLOTS; i++) {
		if (l->slot[i].from)
			l->slot[i].from->heir = &l->slot[i];
	}
	*from = (struct legacy){ 0 };
}

static void slot_drop(struct daemon *d, uid_t uid, struct legacy_slot *s)
{
	if (s->from)
		s->from->heir = NULL;
	if (s->send.map)
		account_release(&d->accounts, uid, ACCOUNT_BYTES, send_bytes(&s->send));
	function_source_free(&s->send);
	*s = (struct legacy_slot){ 0 };
}

void legacy_drop(struct daemon *d, uid_t uid, struct legacy *l)
{
	for (unsigned int i = 0; i < CHAN_SEND_SLOTS; i++)
		slot_drop(d, uid, &l->slot[i]);
}

/* @ch has ended, and is charged for nothing any more. */
static void bequeath(struct channel *ch)
{
	struct legacy_slot *s = ch->heir;

	if (!s)
		return;
	s->from = NULL;
	ch->heir = NULL;
	if (!ch->send.map || account_charge(&ch->d->accounts, ch->uid, ACCOUNT_BYTES,
		send_bytes(&ch->send)) < 0)
		return;
	s->send = ch->send;
	ch->send = (struct function_source){ .fd = -1 };
}

/* A send file with a ring of @ring bytes from a channel before, as if it were new. */
static bool inherit(struct channel *ch, uint32_t ring)
{
	unsigned int i, use = 0;
	struct legacy_slot *s;

	for (i = 0; i < CHAN_SEND_SLOTS; i++) {
		s = &ch->legacy.slot[i];
		if (s->send.map && s->send.size == ring)
			break;
		/* Rather than one that will be of use. */
		if (!s->from)
			use = i;
	}
	ch->send_slot = i < CHAN_SEND_SLOTS ? i : use;
	s = &ch->legacy.slot[ch->send_slot];
	ch->send_kept = i < CHAN_SEND_SLOTS;
	ch->d->stats.send_kept += ch->send_kept;
	if (ch->send_kept) {
		account_release(&ch->d->accounts, ch->uid, ACCOUNT_BYTES, send_bytes(&s->send));
		ch->send = s->send;
		s->send = (struct function_source){ .fd = -1 };
		memset(ch->send.map, 0, CHAN_CTL_SIZE);
	}
	slot_drop(ch->d, ch->uid, s);
	return ch->send_kept;
}

/* ---- coming ---------------------------------------------------------------------------------- */

/* What a channel holds. Until the peer's DMB is known the largest send ring is charged. */
static uint64_t cost(uint32_t rx_size)
{
	return rx_size + CHAN_CTL_SIZE + CHANNEL_MAX_RING;
}

static int charge(struct daemon *d, uid_t uid, uint64_t bytes)
{
	int ret = account_charge(&d->accounts, uid, ACCOUNT_CHANNELS, 1);

	if (ret < 0)
		return ret;
	ret = account_charge(&d->accounts, uid, ACCOUNT_BYTES, bytes);
	if (ret < 0)
		account_release(&d->accounts, uid, ACCOUNT_CHANNELS, 1);
	return ret;
}

static void add_to_table(struct daemon *d, struct channel *ch)
{
	do {
		ch->id = ++d->next_id;
	} while (ch->id == 0 || channel_find(d, ch->id));
	HASH_ADD(hh, d->channels, id, sizeof(ch->id), ch);
	trim_grown(&d->trim, HASH_COUNT(d->channels));
	d->stats.channels_total++;
	spin_came(&d->spin, d->now_ns);
}

static void on_signal(struct dmb_user *user)
{
	struct channel *ch = CONTAINER(user, struct channel, user);

	if (ch->phase == CHANNEL_LIVE || ch->phase == CHANNEL_FADING)
		channel_heat(ch);
}

uint32_t channel_rx_size(const struct daemon *d, uint32_t rcvbuf)
{
	if (rcvbuf == 0)
		rcvbuf = d->cfg->rcvbuf;
	return rcvbuf ? clc_code_size(clc_size_code(rcvbuf)) : 0;
}

static uint32_t automatic_size(struct daemon *d, uid_t uid)
{
	uint64_t used = account_used(&d->accounts, uid, ACCOUNT_BYTES);
	uint64_t limit = d->cfg->limit[ACCOUNT_BYTES];

	return autosize_next(&d->autosize, uid, d->now_ns,
		account_used(&d->accounts, uid, ACCOUNT_CHANNELS), limit > used ? limit - used : 0);
}

int channel_new(struct daemon *d, const struct channel_params *p, struct channel **ret)
{
	uint32_t wanted = p->rx_size ? p->rx_size : automatic_size(d, p->uid);
	uint32_t rx_size = wanted;
	struct channel *ch;
	uint64_t bytes;
	int err;

	while ((err = charge(d, p->uid, cost(rx_size))) == -EDQUOT &&
		rx_size > ISM_DMB_MIN_SIZE)
		rx_size /= 2;
	bytes = cost(rx_size);
	if (err < 0)
		return err;
	ch = calloc(1, sizeof(*ch));
	if (!ch) {
		account_release(&d->accounts, p->uid, ACCOUNT_CHANNELS, 1);
		account_release(&d->accounts, p->uid, ACCOUNT_BYTES, bytes);
		return -ENOMEM;
	}
	ch->d = d;
	ch->server = p->server;
	ch->uid = p->uid;
	ch->pid = p->pid;
	ch->port = p->port;
	ch->rx_size = rx_size;
	ch->bytes_charged = bytes;
	ch->close.state = SMC_INIT;
	ch->want = p->want;
	ch->sock.fd = -1;
	ch->send.fd = -1;
	attach_init(&ch->att);
	ch->user.signal = on_signal;
	ch->user.use = "channel";
	snprintf(ch->peer, sizeof(ch->peer), "%s", p->peer);
	snprintf(ch->service, sizeof(ch->service), "%s", p->service);
	add_to_table(d, ch);
	d->stats.downgrades += rx_size < wanted;
	ch->user.channel = ch->id;
	*ret = ch;
	return 0;
}

void channel_enter(struct channel *ch, enum channel_phase phase)
{
	ch->d->handshakes += (phase == CHANNEL_HANDSHAKE) - (ch->phase == CHANNEL_HANDSHAKE);
	ch->phase = phase;
}

struct channel *channel_find(struct daemon *d, uint32_t id)
{
	struct channel *ch;

	HASH_FIND(hh, d->channels, &id, sizeof(id), ch);
	return ch;
}

void channel_bind(struct channel *ch, struct link *l)
{
	ch->fn = l->fn;
	ch->link = l;
	ch->local_gid = l->fn->gid;
	ch->peer_gid = l->gid;
	l->channels++;
	function_count(l->fn, 1);
}

/* It is more than a handful of bytes: worth what makes each store cheaper. */
static void settle_in(struct channel *ch)
{
	int ret;

	ch->mapped = true;
	ret = function_source_map(ch->fn, &ch->send);
	if (ret < 0)
		log_info("channel %u with %s: its stores are copied first: %s", ch->id, ch->peer,
			strerror(-ret));
	function_map(ch->fn, ch->peer_gid, ch->s.token, ch->tx_size);
}

static int counted_move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	struct channel *ch = ctx;
	const struct zpci_counters *c;
	uint64_t pcistb, bounced;
	int ret;

	if (!function_up(ch->fn))
		return -ENODEV;
	c = zpci_counters(ism_zpci(ch->fn->dev));
	pcistb = c->pcistb + c->attached;
	bounced = c->bounced_bytes;
	ret = function_move(ch->fn, v, n, done);
	ch->pcistb += c->pcistb + c->attached - pcistb;
	if (ret == 0 && !ch->mapped && ch->pcistb >= CHANNEL_MAP_AFTER)
		settle_in(ch);
	ch->bounced += c->bounced_bytes - bounced;
	if (ch->d->captures && ret == 0)
		capture_said(ch, v[n - 1].data);
	return ret;
}

/*
 * The last words of an attached channel: its peer's daemon stores them for us. So we need not map what else only
 * its application writes; and when both have said theirs, nothing of ours is on its way to the DMB.
 */
static int told_move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	struct channel *ch = ctx;
	struct rdv_record rec = { .type = RDV_CDC, .src_conn = ch->id, .dst_conn = ch->peer_conn };
	int ret;

	assert(n == 1 && v->len == CDC_SIZE);
	memcpy(rec.words, (const uint8_t *)v->data + CDC_PROD_WORD, sizeof(rec.words));
	ret = function_up(ch->fn) ? link_send(ch->link, &rec) : -ENODEV;
	if (ch->d->captures && ret == 0)
		capture_said(ch, v->data);
	*done = ret == 0;
	return ret;
}

static void shrink(struct channel *ch)
{
	ch->rx_size /= 2;
	ch->bytes_charged -= ch->rx_size;
	account_release(&ch->d->accounts, ch->uid, ACCOUNT_BYTES, ch->rx_size);
}

int channel_open_rx(struct channel *ch)
{
	uint32_t wanted = ch->rx_size;
	int ret;

	while ((ret = stock_get(ch->fn, ch->peer_gid, ch->rx_size, &ch->user, &ch->dmb)) ==
			-ENOMEM && ch->rx_size > ISM_DMB_MIN_SIZE)
		shrink(ch);
	ch->d->stats.downgrades += ret == 0 && ch->rx_size < wanted;
	if (ret < 0)
		return ret;
	ch->s = (struct stream){ .move = counted_move, .move_ctx = ch };
	stream_open_rx(&ch->s, ch->dmb->va, ch->rx_size, ch->fn->order);
	return 0;
}

static int get_source(struct channel *ch, uint32_t ring)
{
	struct kit k;
	int ret;

	if (inherit(ch, ring))
		return 0;
	if (ring > 0)
		return function_source_get(CHAN_CTL_SIZE, ring, &ch->send);
	ret = kit_get(ch->d, KIT_CTL, &k);
	if (ret == 0)
		ch->send = (struct function_source){ .fd = k.fd, .map = k.map,
			.head = CHAN_CTL_SIZE };
	return ret;
}

int channel_open_tx(struct channel *ch, uint64_t token, uint32_t size)
{
	uint32_t ring = ch->att.on ? 0 : size;
	int ret;

	ret = get_source(ch, ring);
	if (ret < 0)
		return ret;
	ch->cdc = function_slot_get(ch->fn);
	if (!ch->cdc) {
		function_source_revoke(ch->fn, &ch->send);
		function_source_free(&ch->send);
		return -ENOSPC;
	}
	ch->tx_size = size;
	ch->ctl = (struct chan_ctl *)(void *)ch->send.map;
	stream_open_tx(&ch->s, token, size, ch->send.map + CHAN_CTL_SIZE, ch->cdc);
	if (ch->att.on)
		ch->s.move = told_move;
	account_release(&ch->d->accounts, ch->uid, ACCOUNT_BYTES, CHANNEL_MAX_RING - ring);
	ch->bytes_charged -= CHANNEL_MAX_RING - ring;
	return 0;
}

void channel_fill_info(const struct channel *ch, struct ipc_channel *msg)
{
	*msg = (struct ipc_channel){
		.hdr = ipc_hdr(IPC_CHANNEL),
		.id = ch->id,
		.local_gid = ch->local_gid,
		.peer_gid = ch->peer_gid,
		.rx_size = ch->rx_size,
		.tx_size = ch->tx_size,
		.order = ch->s.order,
		.path = ch->att.on ? IPC_PATH_ATTACHED : IPC_PATH_MEDIATED,
		.port = ch->port,
		.on = ch->on,
		.slot = ch->send_slot,
		.kept = ch->send_kept,
	};
	memcpy(msg->peer, ch->peer, sizeof(msg->peer));
	memcpy(msg->service, ch->service, sizeof(msg->service));
}

int channel_go_live(struct channel *ch, int sock)
{
	int ret;

	if (ch->sock.fd != sock) {
		ch->sock = (struct loop_source){ .fd = sock, .events = POLLIN,
			.fn = channel_on_sock };
		ret = loop_add(ch->d->loop, &ch->sock);
		if (ret < 0) {
			ch->sock.fd = -1;
			return ret;
		}
	}
	loop_timer_cancel(ch->d->loop, &ch->timer);
	channel_enter(ch, CHANNEL_LIVE);
	ch->close.state = SMC_ACTIVE;
	ch->listener_id = ch->listener ? ch->listener->id : 0;
	ch->listener = NULL;
	channel_publish(ch, 0);
	/* The peer may have written before we listened: the first service looks at the CDC. */
	channel_heat(ch);
	return 0;
}

/* ---- going ----------------------------------------------------------------------------------- */

static void reap_later(struct channel *ch)
{
	if (ch->reaping)
		return;
	ch->reaping = true;
	LL_PREPEND2(ch->d->reap, ch, reap_next);
}

static void close_socket(struct channel *ch)
{
	loop_del(ch->d->loop, &ch->sock);
	fd_closep(&ch->sock.fd);
}

/* Gives back what the channel has of its device. */
static void let_go(struct channel *ch)
{
	channel_unhot(ch);
	loop_timer_cancel(ch->d->loop, &ch->timer);
	attach_drop(&ch->att);
	if (ch->fn) {
		if (ch->att.token)
			function_unmap(ch->fn, ch->att.token);
		function_source_revoke(ch->fn, &ch->send);
		if (ch->cdc)
			function_slot_put(ch->fn, ch->cdc);
		if (ch->dmb)
			function_dmb_retire(ch->fn, ch->dmb);
	}
	lgr_leave(ch);
	if (ch->link)
		link_drop_channel(ch->link);
	ch->dmb = NULL;
	ch->cdc = NULL;
	ch->fn = NULL;
	ch->link = NULL;
}

void channel_orphan(struct channel *ch)
{
	log_info("channel %u with %s: its device is gone; it goes on attached", ch->id, ch->peer);
	channel_enter(ch, CHANNEL_LONE);
	let_go(ch);
}

void channel_detach(struct channel *ch, int err)
{
	if (ch->phase == CHANNEL_DEAD)
		return;
	channel_enter(ch, CHANNEL_DEAD);
	let_go(ch);
	if (ch->listener)
		listener_lost(ch);
	if (ch->close.state != SMC_PROCESSABORT || ch->sock.fd < 0)
		ch->close.state = SMC_CLOSED;
	if (!ch->error)
		ch->error = err;
	channel_publish(ch, CHAN_WAIT_ALL);
	if (ch->sock.fd < 0)
		reap_later(ch);
}

static void on_faded(struct loop_timer *timer)
{
	channel_detach(CONTAINER(timer, struct channel, timer), 0);
}

/* Our A is out. The peer answers with its own, and its store needs our DMB until then: at most for
 * the linger time, if it is a peer whose application is slow to close. */
void channel_fade(struct channel *ch)
{
	channel_enter(ch, CHANNEL_FADING);
	ch->timer.fn = on_faded;
	channel_publish(ch, CHAN_WAIT_ALL);
	if (loop_timer_set(ch->d->loop, &ch->timer,
		clock_ns() + ch->d->cfg->linger_s * UINT64_C(1000000000)) < 0)
		channel_detach(ch, ch->error);
}

void channel_abort(struct channel *ch, int err)
{
	bool peer_done = ch->close.rx_flags & (CDC_CONN_CLOSED | CDC_ABNORMAL);
	/* After C the peer may let go of its DMB at any time: no A may follow. */
	bool said = ch->close.tx_flags & CDC_CONN_CLOSED;
	int flags;

	if (ch->phase == CHANNEL_FADING || ch->phase == CHANNEL_DEAD)
		return;
	if (!ch->error)
		ch->error = err;
	if (ch->phase != CHANNEL_LIVE) {
		if (ch->phase != CHANNEL_LONE)
			connect_cancel(ch);
		channel_detach(ch, err);
		return;
	}
	channel_catch_up(ch);
	flags = smc_close_local(&ch->close, SMC_EV_ABORT, true);
	if (flags > 0 && !said &&
		stream_push(&ch->s, ch->s.tx_sent, 0, (uint8_t)flags, true) < 0)
		peer_done = true; /* it cannot be told, so it will not answer */
	if (peer_done)
		channel_detach(ch, err);
	else
		channel_fade(ch);
}

void channel_drop_app(struct channel *ch)
{
	if (ch->sock.fd < 0)
		return;
	close_socket(ch);
	if (ch->phase == CHANNEL_DEAD)
		reap_later(ch);
	else if (ch->phase != CHANNEL_LIVE)
		channel_abort(ch, ECONNABORTED);
	else if (!ch->closing) { /* it died: the peer must hear so */
		failure_of_channel(ch, ECONNABORTED, false, "the application here aborted or died");
		channel_abort(ch, ECONNABORTED);
	}
}

void channel_leave(struct channel *ch)
{
	int fd = ch->sock.fd;

	struct legacy_slot *s = &ch->legacy.slot[ch->send_slot];

	loop_del(ch->d->loop, &ch->sock);
	ch->sock.fd = -1;
	s->from = ch;
	ch->heir = s;
	client_keep(ch, fd);
	if (ch->phase == CHANNEL_DEAD)
		reap_later(ch);
}

static void channel_free(struct channel *ch)
{
	close_socket(ch);
	HASH_DEL(ch->d->channels, ch);
	account_release(&ch->d->accounts, ch->uid, ACCOUNT_BYTES, ch->bytes_charged);
	account_release(&ch->d->accounts, ch->uid, ACCOUNT_CHANNELS, 1);
	legacy_drop(ch->d, ch->uid, &ch->legacy);
	bequeath(ch);
	function_source_free(&ch->send);
	free(ch);
}

void channels_reap(struct daemon *d)
{
	struct channel *ch;

	while ((ch = d->reap) != NULL) {
		LL_DELETE2(d->reap, ch, reap_next);
		channel_free(ch);
	}
}

/* ---- all at once ----------------------------------------------------------------------------- */

void channels_fail(struct function *fn, struct link *l, int err)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, fn->d->channels, ch, tmp) {
		if (ch->fn != fn || (l && ch->link != l))
			continue;
		if (ch->phase == CHANNEL_WAIT_LINK || ch->phase == CHANNEL_HANDSHAKE)
			connect_failed(ch, err);
		else
			channel_lost(ch, err);
	}
}

bool channels_waiting(const struct function *fn)
{
	const struct channel *ch, *tmp;

	HASH_ITER(hh, fn->d->channels, ch, tmp) {
		if (ch->fn == fn && channel_waiting(ch))
			return true;
	}
	return false;
}

void channels_peer_dmb_gone(struct function *fn, uint64_t token)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, fn->d->channels, ch, tmp) {
		if (ch->fn == fn && ch->s.tx_n != 0 && ch->s.token == token) {
			channel_lost(ch, ECONNRESET);
			return;
		}
	}
}
