/* SPDX-License-Identifier: MIT */
#include "smcd/daemon/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ism/proto.h"
#include "smcd/daemon/capture.h"
#include "smcd/daemon/channel.h"
#include "smcd/daemon/connect.h"
#include "smcd/daemon/lgr.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

const char *link_peer(const struct link *l)
{
	static char text[RDV_NAME_LEN];

	if (l->name[0])
		return l->name;
	snprintf(text, sizeof(text), "0x%016" PRIx64, l->gid);
	return text;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void fail_later(struct link *l, int err)
{
	l->failed = err;
	l->fn->link_failed = true;
}

static uint32_t ring_room(const struct link *l)
{
	return (uint32_t)(l->s.tx_n - (l->tx_pos - l->s.tx_acked));
}

static void ring_put(struct link *l, const uint8_t *data, size_t len)
{
	uint8_t *ring = (uint8_t *)l->out.va + CDC_SIZE;
	uint32_t at = (uint32_t)(l->tx_pos % l->s.tx_n);
	size_t first = l->s.tx_n - at < len ? l->s.tx_n - at : len;

	memcpy(ring + at, data, first);
	memcpy(ring, data + first, len - first);
	l->tx_pos += len;
}

/* Moves what waits into the ring and what is in the ring to the peer. */
static void flush(struct link *l, bool force)
{
	size_t n = ring_room(l) < l->queue_len ? ring_room(l) : l->queue_len;
	ssize_t ret;

	if (l->failed)
		return;
	if (n > 0) {
		ring_put(l, l->queue, n);
		l->queue_len -= n;
		memmove(l->queue, l->queue + n, l->queue_len);
	}
	ret = stream_push(&l->s, l->tx_pos, UINT64_MAX, 0, force);
	if (ret < 0)
		fail_later(l, ret == -ENODEV ? ENODEV : ECONNRESET);
}

static int enqueue(struct link *l, const uint8_t *data, size_t len)
{
	uint8_t *grown;

	if (len > LINK_QUEUE_MAX - l->queue_len)
		return -ENOBUFS;
	grown = realloc(l->queue, l->queue_len + len);
	if (!grown)
		return -ENOMEM;
	memcpy(grown + l->queue_len, data, len);
	l->queue = grown;
	l->queue_len += len;
	return 0;
}

int link_send(struct link *l, const struct rdv_record *rec)
{
	uint8_t buf[RDV_MAX_LEN];
	ssize_t len;
	int ret = 0;

	if (l->state != LINK_UP || l->failed)
		return -ENOTCONN;
	len = rdv_encode(buf, rec);
	if (len < 0)
		return (int)len;
	if (l->queue_len == 0 && ring_room(l) >= (size_t)len)
		ring_put(l, buf, (size_t)len);
	else
		ret = enqueue(l, buf, (size_t)len);
	flush(l, false);
	if (rec->type == RDV_CLC && ret == 0 && l->fn->d->captures)
		capture_clc(l, rec, true);
	return ret;
}

static void send_hello(struct link *l)
{
	struct rdv_record rec = { .type = RDV_HELLO, .version = RDV_VERSION };

	memcpy(rec.name, l->fn->d->cfg->name, sizeof(rec.name));
	link_send(l, &rec);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Only now handshakes begin: an answer to an old offer cannot swallow a Proposal. */
static int on_hello(struct link *l, const struct rdv_record *rec)
{
	bool first = !l->greeted;

	if (rec->version != RDV_VERSION) {
		log_err("peer %s speaks rendezvous version %u, not %u: update the older daemon",
			link_peer(l), rec->version, RDV_VERSION);
		return -EPROTO;
	}
	if (!l->configured)
		memcpy(l->name, rec->name, sizeof(l->name));
	l->greeted = true;
	if (first) {
		log_info("%s: linked with %s (GID 0x%016" PRIx64 ")", l->fn->cfg->name, rec->name,
			l->gid);
		connect_link_up(l);
	}
	return 0;
}

static int on_record(struct link *l, const struct rdv_record *rec)
{
	struct rdv_record pong = { .type = RDV_PONG };

	if (rec->type == RDV_HELLO)
		return on_hello(l, rec);
	if (!l->greeted)
		return -EPROTO;
	switch (rec->type) {
	case RDV_CLC:
		if (l->fn->d->captures)
			capture_clc(l, rec, false);
		connect_record(l, rec);
		return 0;
	case RDV_RESET:
		connect_reset(l, rec);
		return 0;
	case RDV_CDC:
		connect_cdc(l, rec);
		return 0;
	case RDV_PING:
		link_send(l, &pong);
		return 0;
	default:
		return 0;
	}
}

/* Records from the bytes that have arrived. 0 or -EPROTO. */
static int decode(struct link *l)
{
	unsigned int epoch = l->epoch;
	struct rdv_record rec;
	size_t used;
	int ret;

	while (l->s.rx_pos < l->s.rx_total) {
		uint32_t at = (uint32_t)(l->s.rx_pos % l->s.rx_n);
		uint64_t len = l->s.rx_total - l->s.rx_pos;

		if (len > l->s.rx_n - at)
			len = l->s.rx_n - at;
		ret = rdv_decode(&l->dec, l->s.dmb + CDC_SIZE + at, len, &used, &rec);
		if (ret < 0)
			return ret;
		stream_consume(&l->s, l->s.rx_pos + used);
		if (ret == 1)
			ret = on_record(l, &rec);
		if (ret < 0)
			return ret;
		if (l->state != LINK_UP || l->epoch != epoch)
			return 0;
	}
	return 0;
}

static void receive(struct link *l)
{
	unsigned int epoch = l->epoch;
	struct stream_news news;

	if (l->state != LINK_UP || l->failed)
		return;
	if (stream_pull(&l->s, &news) < 0 || decode(l) < 0) {
		l->fn->d->stats.protocol_errors++;
		log_err("%s: peer %s broke the control link's protocol; the link and its channels end",
			l->fn->cfg->name, link_peer(l));
		fail_later(l, ECONNRESET);
		return;
	}
	if (l->state == LINK_UP && l->epoch == epoch)
		flush(l, stream_update_due(&l->s));
}

static void on_signal(struct dmb_user *user)
{
	receive(CONTAINER(user, struct link, user));
}

/* ---- up and down ----------------------------------------------------------------------------- */

static void on_offer_timer(struct loop_timer *timer);

static int open_own_end(struct link *l)
{
	struct ism_dmb *dmb;
	int ret;

	function_welcome(l->fn, l->gid);
	ret = function_dmb_get_private(l->fn, l->gid, RDV_DMB_SIZE, &l->user, &dmb);
	if (ret < 0)
		return ret;
	l->dmb = dmb;
	l->s = (struct stream){ .move = function_move, .move_ctx = l->fn };
	stream_open_rx(&l->s, dmb->va, RDV_DMB_SIZE, l->fn->order);
	l->tx_pos = 0;
	l->queue_len = 0;
	l->dec = (struct rdv_decoder){ 0 };
	l->greeted = false;
	l->failed = 0;
	l->epoch++;
	l->state = LINK_CONNECTING;
	return 0;
}

static void drop_peer_end(struct link *l)
{
	if (l->s.tx_n)
		function_unmap(l->fn, l->s.token);
	if (l->out.va)
		function_memory_put(l->fn, &l->out);
	if (l->cdc)
		function_slot_put(l->fn, l->cdc);
	l->cdc = NULL;
	l->s.tx_n = 0;
}

static int open_peer_end(struct link *l, uint64_t token)
{
	int ret;

	ret = function_memory_get(l->fn, RDV_DMB_SIZE, &l->out);
	if (ret < 0)
		return ret;
	l->cdc = function_slot_get(l->fn);
	if (!l->cdc) {
		drop_peer_end(l);
		return -ENOSPC;
	}
	stream_open_tx(&l->s, token, RDV_DMB_SIZE, l->out.va, l->cdc);
	function_map(l->fn, l->gid, token, RDV_DMB_SIZE);
	return 0;
}

/* The peer's token is known: the link is up. */
static void establish(struct link *l, uint64_t token)
{
	int ret;

	loop_timer_cancel(l->fn->d->loop, &l->offer);
	ret = open_peer_end(l, token);
	if (ret < 0) {
		link_down(l, -ret, "no memory for the control link");
		return;
	}
	l->state = LINK_UP;
	send_hello(l);
	/* Its records may have come before its token did. */
	receive(l);
}

static void offer(struct link *l, uint32_t code)
{
	int ret = function_note(l->fn, ism_signal_event(l->fn->dev, l->gid, code, l->dmb->token));

	if (ret < 0)
		log_debug("%s: event to peer %s: %s", l->fn->cfg->name, link_peer(l),
			strerror(-ret));
}

static void on_offer_timer(struct loop_timer *timer)
{
	struct link *l = CONTAINER(timer, struct link, offer);
	uint64_t now = clock_ns();

	if (now >= l->offer_until) {
		link_down(l, ETIMEDOUT, "it does not answer");
		return;
	}
	if (!function_up(l->fn))
		return;
	offer(l, RDV_EV_OFFER);
	loop_timer_set(l->fn->d->loop, &l->offer, now + LINK_OFFER_NS);
}

int link_want(struct link *l, uint64_t until_ns)
{
	int ret;

	if (l->offer_until < until_ns)
		l->offer_until = until_ns;
	if (l->failed)
		return -ECONNRESET;
	if (l->state != LINK_DOWN)
		return 0;
	ret = open_own_end(l);
	if (ret < 0)
		return ret;
	offer(l, RDV_EV_OFFER);
	return loop_timer_set(l->fn->d->loop, &l->offer, clock_ns() + LINK_OFFER_NS);
}

void link_down(struct link *l, int err, const char *why)
{
	if (l->state == LINK_DOWN)
		return;
	if (l->state == LINK_UP)
		log_info("%s: link with %s ended: %s", l->fn->cfg->name, link_peer(l), why);
	else
		log_warn("%s: no link with %s: %s", l->fn->cfg->name, link_peer(l), why);
	l->state = LINK_DOWN;
	l->epoch++;
	l->failed = 0;
	loop_timer_cancel(l->fn->d->loop, &l->offer);
	drop_peer_end(l);
	function_dmb_put(l->fn, l->dmb);
	l->dmb = NULL;
	free(l->queue);
	l->queue = NULL;
	l->queue_len = 0;
	channels_fail(l->fn, l, err);
	function_forget(l->fn, l->gid);
	lgrs_forget(l, false);
}

void links_probe(struct function *fn)
{
	struct link *l, *tmp;
	int ret;

	HASH_ITER(hh, fn->links, l, tmp) {
		if (l->state != LINK_UP || l->failed || !function_up(fn))
			continue;
		ret = stream_repeat(&l->s);
		if (ret < 0)
			fail_later(l, ret == -ENODEV ? ENODEV : ECONNRESET);
	}
}

void links_tend(struct function *fn)
{
	struct link *l, *tmp;

	fn->link_failed = false;
	HASH_ITER(hh, fn->links, l, tmp) {
		if (l->failed)
			link_down(l, l->failed, "the peer's memory cannot be written any more");
	}
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct link *find(struct function *fn, uint64_t gid)
{
	struct link *l;

	HASH_FIND(hh, fn->links, &gid, sizeof(gid), l);
	return l;
}

static void forget(struct link *l)
{
	lgrs_forget(l, true);
	link_down(l, ECONNRESET, "this side gives it up");
	if (!l->configured)
		l->fn->nr_strangers--;
	HASH_DEL(l->fn->links, l);
	free(l);
}

/* Makes room for one more GID that nobody configured. */
static bool admit_stranger(struct function *fn)
{
	struct link *l, *tmp;

	if (fn->nr_strangers < LINK_MAX_STRANGERS)
		return true;
	HASH_ITER(hh, fn->links, l, tmp) {
		if (!l->configured && l->state == LINK_DOWN && l->channels == 0) {
			forget(l);
			return true;
		}
	}
	return false;
}

struct link *link_get(struct function *fn, uint64_t gid)
{
	const char *name = config_peer_name(fn->d->cfg, gid);
	struct link *l = find(fn, gid);

	if (l)
		return l;
	if (!name && !admit_stranger(fn))
		return NULL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->fn = fn;
	l->gid = gid;
	l->configured = name != NULL;
	if (name)
		snprintf(l->name, sizeof(l->name), "%s", name);
	else
		fn->nr_strangers++;
	l->user.signal = on_signal;
	l->user.use = "control";
	l->offer.fn = on_offer_timer;
	HASH_ADD(hh, fn->links, gid, sizeof(l->gid), l);
	return l;
}

void link_drop_channel(struct link *l)
{
	l->channels--;
	function_count(l->fn, -1);
}

void links_forget(struct function *fn)
{
	struct link *l, *tmp;

	HASH_ITER(hh, fn->links, l, tmp)
		forget(l);
}

/* ---- events ---------------------------------------------------------------------------------- */

/* True when this peer may begin anew now: a flood of tokens must not cost a DMB each. */
static bool may_restart(struct link *l)
{
	uint64_t now = clock_ns();

	if (l->restart_ns && now - l->restart_ns < LINK_OFFER_NS)
		return false;
	l->restart_ns = now;
	return true;
}

static void on_offer(struct function *fn, uint64_t gid, uint64_t token)
{
	struct link *l = link_get(fn, gid);

	if (!l) {
		log_debug("%s: offer of GID 0x%016" PRIx64 " ignored: too many unknown peers",
			fn->cfg->name, gid);
		return;
	}
	if (l->state == LINK_UP && l->s.token == token && !l->failed) {
		offer(l, RDV_EV_ANSWER);
		return;
	}
	if (l->state != LINK_CONNECTING && !may_restart(l))
		return;
	if (l->state == LINK_UP)
		link_down(l, ECONNRESET, "the peer began anew");
	if (l->state == LINK_DOWN && open_own_end(l) < 0)
		return;
	if (l->state == LINK_CONNECTING)
		establish(l, token);
	if (l->state == LINK_UP)
		offer(l, RDV_EV_ANSWER);
}

static void on_answer(struct function *fn, uint64_t gid, uint64_t token)
{
	struct link *l = find(fn, gid);

	if (!l)
		return;
	if (l->state == LINK_CONNECTING) {
		establish(l, token);
	} else if (l->state != LINK_UP || l->s.token == token || !may_restart(l)) {
		return;
	} else if (!l->greeted) {
		/* The first answer was to an earlier offer of ours; nothing was said yet. */
		drop_peer_end(l);
		l->s.tx_sent = l->s.tx_acked = l->s.cdc_tx = 0;
		l->tx_pos = 0;
		l->queue_len = 0;
		l->failed = 0;
		l->state = LINK_CONNECTING;
		establish(l, token);
	} else {
		link_down(l, ECONNRESET, "the peer began anew");
	}
}

static void on_software_event(struct function *fn, const struct ism_event *ev)
{
	if (ev->tok == fn->gid)
		return; /* nobody but the self-test sends to itself */
	if (ev->code == RDV_EV_OFFER)
		on_offer(fn, ev->tok, ev->info);
	else if (ev->code == RDV_EV_ANSWER)
		on_answer(fn, ev->tok, ev->info);
	else
		lgr_event(fn, ev);
}

static void on_device_event(struct function *fn, const struct ism_event *ev)
{
	struct link *l = find(fn, ev->tok);

	/* While connecting it is just starting up, and the offers go on. */
	if (!l || l->state != LINK_UP ||
		(ev->code != ISM_EV_GID_DISABLED && ev->code != ISM_EV_GID_ERROR))
		return;
	link_down(l, ECONNRESET, ev->code == ISM_EV_GID_ERROR ? "its function is in error"
							      : "its function went away");
}

/* A DMB that we could write is no more. */
static void on_buffer_event(struct function *fn, const struct ism_event *ev)
{
	struct link *l, *tmp;

	if (ev->code != ISM_EV_DMB_UNREGISTERED && ev->code != ISM_EV_OWNER_ERROR)
		return;
	HASH_ITER(hh, fn->links, l, tmp) {
		if (l->state == LINK_UP && l->s.token == ev->tok) {
			link_down(l, ECONNRESET, "the peer's daemon ended it");
			return;
		}
	}
	channels_peer_dmb_gone(fn, ev->tok);
}

void link_event(struct function *fn, const struct ism_event *ev)
{
	switch (ev->type) {
	case ISM_EVENT_SWR:
		on_software_event(fn, ev);
		break;
	case ISM_EVENT_DEV:
		on_device_event(fn, ev);
		break;
	case ISM_EVENT_BUF:
		on_buffer_event(fn, ev);
		break;
	}
}

void link_check_all(struct function *fn)
{
	struct link *l, *tmp;
	int ret;

	HASH_ITER(hh, fn->links, l, tmp) {
		if (l->state != LINK_UP || !function_up(fn))
			continue;
		ret = function_note(fn, ism_query_remote_gid(fn->dev, l->gid, false, 0));
		if (ret == -ENETUNREACH)
			link_down(l, ECONNRESET, "its function went away");
	}
}
