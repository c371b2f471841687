/* SPDX-License-Identifier: MIT */
/*
 * The data path of a channel: what the application wrote goes out, what the peer said comes in,
 * whoever sleeps over it is woken. See channel.h for the rules and chan.h for the bells.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "smcd/daemon/capture.h"
#include "smcd/daemon/channel.h"
#include "smcd/daemon/link.h"
#include "smcd/daemon/messages.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"

#define SOCK_BATCH 16 /* messages of one application per turn */

/* ---- telling the application ----------------------------------------------------------------- */

static void wake(struct channel *ch, uint32_t bits)
{
	struct ipc_simple msg = { .hdr = ipc_hdr(CHAN_WAKE) };

	/*
	 * Orders what was published before (our words, and the peer's bytes in the DMB) against the
	 * look at app_wait; the application has the same fence between setting its bits and looking
	 * at the positions. One of the two sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if ((atomic_load_explicit(&ch->ctl->app_wait, memory_order_relaxed) & bits) == 0)
		return;
	if ((atomic_fetch_and(&ch->ctl->app_wait, ~bits) & bits) == 0 || ch->sock.fd < 0)
		return;
	/* A full socket has enough in it to wake the application. */
	fd_send(ch->sock.fd, &msg, sizeof(msg), NULL, 0, MSG_DONTWAIT);
	ch->wakes++;
	ch->d->stats.wakes++;
}

void channel_publish(struct channel *ch, uint32_t wake_bits)
{
	struct chan_ctl *ctl = ch->ctl;

	if (!ctl)
		return;
	atomic_store_explicit(&ctl->pcistb, ch->pcistb, memory_order_relaxed);
	atomic_store_explicit(&ctl->cdc_tx, ch->s.cdc_tx, memory_order_relaxed);
	atomic_store_explicit(&ctl->bounced, ch->bounced, memory_order_relaxed);
	atomic_store_explicit(&ctl->tx_sent, ch->s.tx_sent, memory_order_release);
	/* The reason before the state that makes the application ask for it. */
	atomic_store_explicit(&ctl->error, ch->error, memory_order_release);
	atomic_store_explicit(&ctl->state, ch->close.state, memory_order_release);
	if (wake_bits)
		wake(ch, wake_bits);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void violation(struct channel *ch, const char *what)
{
	ch->d->stats.protocol_errors++;
	log_err("channel %u (%s@%s, uid %u, pid %d): %s; the channel is aborted", ch->id,
		ch->service, ch->peer, (unsigned int)ch->uid, (int)ch->pid, what);
	failure_of_channel(ch, EPROTO, false, what);
	channel_abort(ch, EPROTO);
}

/* A move failed: this channel cannot go on. Nothing more is written to the peer. */
static void push_failed(struct channel *ch, ssize_t err)
{
	if (err == -EPROTO) {
		violation(ch, "the application's send position is outside its ring");
		return;
	}
	channel_lost(ch, err == -ENODEV ? ENODEV : ECONNRESET);
}

void channel_lost(struct channel *ch, int err)
{
	struct stream_news news;

	if (ch->phase == CHANNEL_LONE)
		return;
	if (ch->phase != CHANNEL_LIVE) {
		channel_detach(ch, err);
		return;
	}
	if (ch->d->captures)
		capture_heard(ch);
	if (ch->att.on) /* an end by its application: nobody is left to repeat it */
		smc_close_peer(&ch->close, cdc_load_cons(ch->s.dmb, ch->s.order).conn_flags);
	else if (stream_pull(&ch->s, &news) == 0)
		smc_close_peer(&ch->close, news.conn_flags);
	if (ch->att.on && !ch->closing &&
		!(ch->close.rx_flags & (CDC_CONN_CLOSED | CDC_ABNORMAL))) {
		channel_orphan(ch);
		return;
	}
	/* It had closed in order before it went: the application reads the rest and the end. */
	if ((ch->close.rx_flags & (CDC_CONN_CLOSED | CDC_ABNORMAL)) == CDC_CONN_CLOSED)
		err = 0;
	if (err != 0)
		failure_of_channel(ch, err, err != ENODEV, err == ENODEV ?
			"the ISM function went away" : "the peer's guest went away or shut down");
	channel_detach(ch, err);
}

static bool say(struct channel *ch, int flags)
{
	ssize_t ret;

	if (flags <= 0)
		return true;
	ret = stream_push(&ch->s, ch->s.tx_sent, 0, (uint8_t)flags, true);
	if (ret < 0)
		push_failed(ch, ret);
	return ret >= 0;
}

/*
 * The peer aborted: answer at once, so that it can let go of its DMB. The kernel answers when the
 * application closes; until then the state stays PROCESSABORT here, too (channel_detach()).
 */
static void peer_aborted(struct channel *ch)
{
	struct smc_close closed = ch->close;
	int flags = 0;

	if (ch->close.state == SMC_PROCESSABORT)
		flags = smc_close_local(&closed, SMC_EV_CLOSE, true);
	ch->close.tx_flags = closed.tx_flags;
	if (!ch->closing)
		failure_of_channel(ch, ECONNRESET, true, "the peer's application aborted or died");
	if (say(ch, flags))
		channel_detach(ch, ch->closing ? 0 : ECONNRESET);
}

/* Half close and close, once everything before them is on its way. False: the channel ended. */
static bool advance_close(struct channel *ch)
{
	/* Attached, the application has judged, and told the peer: this was no CHAN_ABORT. */
	bool unread = !ch->att.on && stream_unread(&ch->s);

	if (ch->s.tx_sent != ch->tx_pos && smc_can_send(&ch->close))
		return true;
	if (ch->shut_wr && !ch->shut_done && !ch->closing) {
		ch->shut_done = true;
		if (!say(ch, smc_close_local(&ch->close, SMC_EV_SHUTDOWN_WR, false)))
			return false;
	}
	if (ch->closing && !ch->close.app_closed &&
		!say(ch, smc_close_local(&ch->close, SMC_EV_CLOSE, unread)))
		return false;
	if (ch->close.state == SMC_CLOSED)
		channel_detach(ch, 0);
	else if (ch->close.tx_flags & CDC_ABNORMAL) /* closed with bytes unread; see 6.4 */
		channel_fade(ch);
	else
		return true;
	return false;
}

/*
 * What the peer's flags mean for its DMB and ours. An end that its application has put is none yet:
 * its daemon repeats it, and we store that into our DMB. Until then the DMB must stay.
 */
static uint8_t settled(const struct channel *ch, uint8_t flags)
{
	if (ch->att.on && (flags & CDC_BY_APPLICATION))
		return flags & CDC_SENDING_DONE;
	return flags;
}

/* ---- one look -------------------------------------------------------------------------------- */

/* Copies the application's words. False: they contradict what it said before. */
static bool take_words(struct channel *ch)
{
	uint32_t flags;
	uint64_t tx, rx;

	if (ch->closing)
		return true; /* its last word was taken */
	/* Flags first: what is published before CHAN_SHUT_WR is seen with it. */
	flags = atomic_load_explicit(&ch->ctl->app_flags, memory_order_acquire);
	tx = atomic_load_explicit(&ch->ctl->tx_pos, memory_order_acquire);
	rx = atomic_load_explicit(&ch->ctl->rx_pos, memory_order_acquire);
	if (tx < ch->tx_pos || (ch->shut_wr && tx != ch->tx_pos))
		return false;
	if (tx == ch->tx_pos)
		ch->puts = 0;
	else if (ch->puts < CHANNEL_FLOWS)
		ch->puts++;
	ch->tx_pos = tx;
	/* After tx_pos: the mark of what is published is seen with it. */
	ch->s.tx_urg = atomic_load_explicit(&ch->ctl->tx_urg, memory_order_relaxed);
	ch->app_rx = rx;
	ch->shut_wr = ch->shut_wr || (flags & CHAN_SHUT_WR);
	return true;
}

/*
 * Bytes that come when all of ours were read are an answer: what is written next waited for them, and nothing
 * comes behind it. They may be found at one look with it, where all share a processor.
 */
static void judge_flow(struct channel *ch, const struct stream_news *news)
{
	if (news->bytes && ch->s.tx_acked == ch->s.tx_sent)
		ch->puts = 0;
	ch->s.tx_flows = ch->puts == CHANNEL_FLOWS && !ch->shut_wr && !ch->closing;
}

/* The application looks at the U flag, too: it is told before the flag goes. */
static void note_urgent(struct channel *ch)
{
	atomic_store_explicit(&ch->ctl->rx_urg, ch->s.rx_urg, memory_order_relaxed);
	cdc_take_urgent(ch->dmb->va);
}

/* Takes in both sides' words. False: the channel ended. */
static bool take_in(struct channel *ch, struct stream_news *news)
{
	if (!take_words(ch)) {
		violation(ch, "the application took back its send position");
		return false;
	}
	if (ch->d->captures)
		capture_heard(ch);
	/* After the application's words: it may have acted on a CDC that we have not seen yet. */
	if (stream_pull(&ch->s, news) < 0) {
		violation(ch, "the peer's cursors are out of range");
		return false;
	}
	judge_flow(ch, news);
	if (news->urgent)
		note_urgent(ch);
	/* Flags are sticky, and nothing follows an end. */
	if ((ch->close.rx_flags & ~news->conn_flags) || (ch->close.rx_flags && news->bytes)) {
		violation(ch, "the peer went on after its end");
		return false;
	}
	if (stream_consume(&ch->s, ch->app_rx) < 0) {
		violation(ch, "the application's receive position is out of range");
		return false;
	}
	return true;
}

void channel_catch_up(struct channel *ch)
{
	if (!ch->att.on)
		return;
	/* Only its own peer is misled by an application that lies here, and it could do that anyway. */
	if (!take_words(ch) || stream_catch_up(&ch->s, ch->tx_pos, ch->app_rx) < 0)
		log_info("channel %u (%s@%s, uid %u, pid %d): its positions contradict each other",
			ch->id, ch->service, ch->peer, (unsigned int)ch->uid, (int)ch->pid);
	/* It has put D itself, and flags are never taken back. */
	if (ch->shut_wr)
		ch->close.tx_flags |= CDC_SENDING_DONE;
}

/* What may go in one turn. The application is asked to be as considerate as we are. */
static uint64_t budget(struct channel *ch)
{
	uint32_t share = fair_crowded(&ch->d->fair, &ch->flow, ch->d->now_ns);

	if (atomic_load_explicit(&ch->ctl->share, memory_order_relaxed) != share)
		atomic_store_explicit(&ch->ctl->share, share, memory_order_relaxed);
	return share ? CHANNEL_SHARE : CHANNEL_BUDGET;
}

static ssize_t send_out(struct channel *ch)
{
	bool due = stream_update_due(&ch->s);
	uint64_t to = smc_can_send(&ch->close) ? ch->tx_pos : ch->s.tx_sent, max;
	ssize_t sent;

	if (smc_tx_forbidden(&ch->close))
		return 0;
	if (to == ch->s.tx_sent && !due)
		return 0;
	max = budget(ch);
	ch->d->stats.held_back += to - ch->s.tx_sent > max && max == CHANNEL_SHARE;
	sent = stream_push(&ch->s, to, max, ch->close.tx_flags, due);
	if (sent >= 0 && ch->ctl)
		atomic_store_explicit(&ch->ctl->rx_told, ch->s.rx_told, memory_order_relaxed);
	return sent;
}

/*
 * Attached: the applications move the bytes, and tell each other. Left to us are the states, and
 * the close of an application that has gone.
 */
static bool serve_attached(struct channel *ch)
{
	const struct smc_close old = ch->close;
	uint8_t flags;

	if (!take_words(ch)) {
		violation(ch, "the application took back its send position");
		return true;
	}
	if (ch->d->captures)
		capture_heard(ch);
	flags = settled(ch, cdc_load_cons(ch->s.dmb, ch->s.order).conn_flags);
	if (ch->close.rx_flags & ~flags) {
		violation(ch, "the peer went on after its end");
		return true;
	}
	smc_close_peer(&ch->close, flags);
	if (ch->closing)
		channel_catch_up(ch);
	if (ch->close.rx_flags & CDC_ABNORMAL) {
		channel_catch_up(ch);
		peer_aborted(ch);
		return true;
	}
	/* The application has sent D itself. */
	if (ch->shut_wr && !ch->shut_done && !ch->closing) {
		ch->shut_done = true;
		smc_close_local(&ch->close, SMC_EV_SHUTDOWN_WR, false);
	}
	if (ch->closing && !advance_close(ch))
		return true;
	if (ch->close.state == SMC_CLOSED) {
		channel_detach(ch, 0);
		return true;
	}
	if (ch->close.state == old.state && ch->close.rx_flags == old.rx_flags)
		return false;
	channel_publish(ch, ch->close.rx_flags != old.rx_flags ? CHAN_WAIT_ALL : 0);
	return true;
}

static bool serve_live(struct channel *ch)
{
	const struct smc_close old = ch->close;
	struct stream_news news;
	uint32_t bits = 0;
	ssize_t sent;

	if (!take_in(ch, &news))
		return true;
	smc_close_peer(&ch->close, news.conn_flags);
	if (ch->close.rx_flags & CDC_ABNORMAL) {
		peer_aborted(ch);
		return true;
	}
	sent = send_out(ch);
	if (sent < 0) {
		push_failed(ch, sent);
		return true;
	}
	if (sent > 0 || news.bytes)
		fair_moved(&ch->d->fair, &ch->flow, (uint64_t)sent + news.bytes, ch->d->now_ns);
	if (!advance_close(ch))
		return true;
	if (news.bytes || news.urgent)
		bits |= CHAN_WAIT_RX;
	if (news.space)
		bits |= CHAN_WAIT_TX;
	if (sent > 0 && ch->s.tx_sent == ch->tx_pos)
		bits |= CHAN_WAIT_SENT;
	if (ch->close.rx_flags != old.rx_flags)
		bits |= CHAN_WAIT_ALL;
	if (bits || sent > 0 || ch->close.state != old.state)
		channel_publish(ch, bits);
	return bits || sent > 0;
}

/* Aborted by us: only the peer's last word is of interest. */
static void serve_fading(struct channel *ch)
{
	struct stream_news news;

	if (ch->d->captures)
		capture_heard(ch);
	if (stream_pull(&ch->s, &news) < 0 ||
		(settled(ch, news.conn_flags) & (CDC_CONN_CLOSED | CDC_ABNORMAL)))
		channel_detach(ch, 0);
}

static bool serve(struct channel *ch)
{
	if (ch->phase == CHANNEL_LIVE)
		return ch->att.on ? serve_attached(ch) : serve_live(ch);
	if (ch->phase == CHANNEL_FADING)
		serve_fading(ch);
	return false;
}

void channels_look(struct daemon *d)
{
	struct channel *ch, *tmp;

	HASH_ITER(hh, d->channels, ch, tmp) {
		if (ch->phase == CHANNEL_LIVE && ch->att.on)
			serve_attached(ch);
	}
}

/* ---- hot and cold ---------------------------------------------------------------------------- */

void channel_heat(struct channel *ch)
{
	ch->active_ns = ch->d->now_ns;
	if (ch->hot)
		return;
	ch->hot = true;
	DL_APPEND2(ch->d->hot, ch, hot_prev, hot_next);
	/*
	 * We look by ourselves now; a bell that was taken in the meantime is only a look too many.
	 */
	atomic_store_explicit(&ch->ctl->bell, 0, memory_order_relaxed);
}

void channel_unhot(struct channel *ch)
{
	if (!ch->hot)
		return;
	ch->hot = false;
	DL_DELETE2(ch->d->hot, ch, hot_prev, hot_next);
}

static bool app_moved(const struct channel *ch)
{
	const struct chan_ctl *ctl = ch->ctl;

	if (ch->phase != CHANNEL_LIVE || ch->closing)
		return false;
	if (ch->att.on)
		return !ch->shut_wr && (atomic_load_explicit(&ctl->app_flags,
			memory_order_relaxed) & CHAN_SHUT_WR);
	return atomic_load_explicit(&ctl->tx_pos, memory_order_relaxed) != ch->tx_pos ||
	       atomic_load_explicit(&ctl->rx_pos, memory_order_relaxed) != ch->app_rx ||
	       (!ch->shut_wr && (atomic_load_explicit(&ctl->app_flags, memory_order_relaxed) &
					CHAN_SHUT_WR));
}

static void cool(struct channel *ch)
{
	atomic_store_explicit(&ch->ctl->bell, 1, memory_order_relaxed);
	/*
	 * The bell before the last look at the positions; the application has the same fence
	 * between publishing and looking at the bell. One of the two sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (app_moved(ch)) {
		atomic_store_explicit(&ch->ctl->bell, 0, memory_order_relaxed);
		return;
	}
	channel_unhot(ch);
	if (channel_waiting(ch))
		function_hurry(ch->fn);
}

bool channels_serve(struct daemon *d)
{
	struct channel *ch, *tmp;
	bool work = false;

	DL_FOREACH_SAFE2(d->hot, ch, tmp, hot_next) {
		if (serve(ch)) {
			ch->active_ns = d->now_ns;
			work = true;
		} else if (ch->hot && d->now_ns - ch->active_ns >= d->spin.cur_ns) {
			cool(ch);
		}
	}
	return work;
}

/* ---- the application's socket ---------------------------------------------------------------- */

static void on_message(struct channel *ch, uint16_t type)
{
	switch (type) {
	case CHAN_BELL:
		if (ch->phase == CHANNEL_LIVE)
			channel_heat(ch);
		break;
	case CHAN_CLOSE:
		if (ch->phase == CHANNEL_LIVE) {
			if (!take_words(ch)) {
				violation(ch, "the application took back its send position");
				break;
			}
			ch->closing = true;
			channel_heat(ch);
		} else if (ch->phase < CHANNEL_LIVE) {
			channel_drop_app(ch);
		} else if (ch->phase == CHANNEL_LONE) {
			channel_detach(ch, 0); /* it told its peer itself */
		}
		break;
	case CHAN_LEAVE:
		on_message(ch, CHAN_CLOSE);
		if (ch->sock.fd >= 0)
			channel_leave(ch);
		break;
	case CHAN_ABORT:
		channel_abort(ch, ECONNABORTED);
		break;
	default:
		log_err("channel %u (uid %u, pid %d): unknown message %u; the channel is aborted",
			ch->id, (unsigned int)ch->uid, (int)ch->pid, type);
		ch->d->stats.protocol_errors++;
		channel_drop_app(ch);
	}
}

void channel_on_sock(struct loop_source *src, short revents)
{
	struct channel *ch = CONTAINER(src, struct channel, sock);
	struct ipc_simple msg;
	unsigned int nfds;
	uint16_t type;
	int fds[1], i;
	ssize_t len;

	for (i = 0; i < SOCK_BATCH && src->fd >= 0; i++) {
		len = fd_recv(src->fd, &msg, sizeof(msg), fds, 0, &nfds, MSG_DONTWAIT);
		if (len == -EAGAIN)
			return;
		if (len == -ECONNRESET)
			continue; /* it left wake-ups unread; what it said last comes behind */
		if (len > 0 && ipc_check_simple(&msg, (size_t)len, &type) == 0) {
			on_message(ch, type);
			continue;
		}
		if (len > 0 || len == -EMSGSIZE) {
			ch->d->stats.protocol_errors++;
			log_err("channel %u (uid %u, pid %d): malformed message; it is dropped",
				ch->id, (unsigned int)ch->uid, (int)ch->pid);
		}
		channel_drop_app(ch);
		return;
	}
}
