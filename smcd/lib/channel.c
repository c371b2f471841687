/* SPDX-License-Identifier: MIT */
/*
 * channel.c - how a channel begins, fails and ends
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define DMB_MIN 16384u
#define DMB_MAX 1048576u /* SMC-D's largest size code */

static bool ring_size_valid(uint32_t size)
{
	return size >= DMB_MIN && size <= DMB_MAX && !(size & (size - 1));
}

static bool description_valid(const struct ipc_channel *m)
{
	return m->kept <= 1 && m->slot < CHAN_SEND_SLOTS && ring_size_valid(m->rx_size) && ring_size_valid(m->tx_size) &&
	       (m->order == CDC_LITTLE || m->order == CDC_BIG) &&
	       (m->path == IPC_PATH_MEDIATED || m->path == IPC_PATH_ATTACHED) &&
	       memchr(m->peer, '\0', sizeof(m->peer)) &&
	       memchr(m->service, '\0', sizeof(m->service));
}

/* A mapping; start 0: none. */
struct range {
	uintptr_t start;
	size_t len;
};

/* Mappings made one after the other mostly lie side by side: then they go at once. */
static void unmap_all(struct range *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = i; v[i].start && k < n;) {
			if (v[k].start && v[k].start == v[i].start + v[i].len) {
				v[i].len += v[k].len;
			} else if (v[k].start && v[k].start + v[k].len == v[i].start) {
				v[i].start = v[k].start;
				v[i].len += v[k].len;
			} else {
				k++;
				continue;
			}
			v[k].start = 0;
			k = i; /* the others may fit now */
		}
		if (v[i].start)
			munmap((void *)v[i].start, v[i].len);
	}
}

static void channel_free(struct smcdu_channel *ch)
{
	struct range v[1 + CHAN_SEND_SLOTS] = {
		{ (uintptr_t)ch->dmb, ch->dmb_len },
	};

	for (unsigned int i = 0; i < CHAN_SEND_SLOTS; i++)
		v[1 + i] = (struct range){ (uintptr_t)ch->send[i].map, ch->send[i].len };
	unmap_all(v, 1 + CHAN_SEND_SLOTS);
	fd_closep(&ch->peer.sock);
	wait_fini(&ch->wait);
	fd_closep(&ch->sock);
	home_put(ch->home);
	free(ch);
}

static int not_sealed(void)
{
	return lib_fail(-EPROTO, "the daemon's channel memory is not sealed or too small");
}

/* The send file: @fd, or what is mapped in its slot. */
static int map_send(struct smcdu_channel *ch, const struct ipc_channel *m, int fd)
{
	size_t len = CHAN_CTL_SIZE + (m->path == IPC_PATH_MEDIATED ? (size_t)m->tx_size : 0);
	struct lib_send *send = &ch->send[m->slot];
	void *p;

	if (m->kept) {
		if (!send->map || send->len != len)
			return lib_fail(-EPROTO, "the daemon names a send buffer that is not there");
	} else {
		if (fd_check_sealed(fd, len) < 0)
			return not_sealed();
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return lib_fail(-ENOMEM, "cannot map the send buffer");
		if (send->map)
			munmap(send->map, send->len);
		*send = (struct lib_send){ .map = p, .len = len };
	}
	ch->ctl = send->map;
	if (m->path == IPC_PATH_MEDIATED)
		ch->tx.ring = (uint8_t *)send->map + CHAN_CTL_SIZE + CDC_SIZE;
	return 0;
}

static int map_memory(struct smcdu_channel *ch, const struct ipc_channel *m, int dmb_fd, int ctl_fd)
{
	void *p;
	int r;

	/* Of the file there is no more: what is behind it is room for the peer's, so that both go as one. */
	ch->dmb_len = m->rx_size + (m->path == IPC_PATH_ATTACHED ? m->tx_size : 0);
	if (fd_check_sealed(dmb_fd, m->rx_size) < 0)
		return not_sealed();
	p = mmap(NULL, ch->dmb_len, PROT_READ, MAP_SHARED, dmb_fd, 0);
	if (p == MAP_FAILED)
		return lib_fail(-ENOMEM, "cannot map the receive buffer");
	ch->dmb = p;
	r = map_send(ch, m, ctl_fd);
	if (r < 0)
		return r;
	ch->tx.size = m->tx_size - CDC_SIZE;
	ch->rx.ring = ch->dmb + CDC_SIZE;
	ch->rx.size = m->rx_size - CDC_SIZE;
	return 0;
}

static void describe(struct smcdu_channel_info *info, const struct ipc_channel *m)
{
	*info = (struct smcdu_channel_info){
		.id = m->id,
		.local_gid = m->local_gid,
		.peer_gid = m->peer_gid,
		.path = m->path,
		.rcvbuf = m->rx_size - CDC_SIZE,
		.sndbuf = m->tx_size - CDC_SIZE,
		.port = m->port,
	};
	memcpy(info->peer, m->peer, sizeof(info->peer));
	memcpy(info->service, m->service, sizeof(info->service));
}

static struct smcdu_channel *channel_new(int sock)
{
	struct smcdu_channel *ch = aligned_alloc(LIB_CACHE_LINE, sizeof(*ch));

	if (!ch)
		return NULL;
	memset(ch, 0, sizeof(*ch));
	ch->generation = lib_generation();
	ch->sock = sock;
	ch->peer.sock = -1;
	atomic_init(&ch->rx.urg_byte, -1);
	wait_init(&ch->wait);
	way_init(&ch->tx.way);
	atomic_init(&ch->tx.want, 1);
	ch->tx.spin.give = ch->rx.spin.give = 1;
	return ch;
}

int channel_adopt(const struct ipc_channel *msg, int sock, int *fds, unsigned int nfds,
	const struct lib_kept *kept, uint32_t spin_us, struct smcdu_channel **ret)
{
	struct smcdu_channel *ch = channel_new(sock);
	bool attached = msg->path == IPC_PATH_ATTACHED;
	/* {DMB, send file, peer's DMB, socket}; without the second where that was kept */
	int *peers = fds + (msg->kept ? 1 : 2);
	int r;

	if (ch && kept)
		memcpy(ch->send, kept->send, sizeof(ch->send));
	if (!ch) {
		struct lib_kept k = { .sock = sock };

		if (kept)
			memcpy(k.send, kept->send, sizeof(k.send));
		kept_drop(&k);
		r = lib_fail_plain(-ENOMEM);
	} else if (!description_valid(msg) ||
		   nfds + msg->kept != (attached ? IPC_FDS_ATTACHED : IPC_FDS_MEDIATED)) {
		r = lib_fail(-EPROTO, "the daemon described a channel this library cannot use");
	} else {
		ch->order = (enum cdc_order)msg->order;
		ch->spin_ns = lib_spin_limit(spin_us, attached);
		describe(&ch->info, msg);
		r = map_memory(ch, msg, fds[0], msg->kept ? -1 : fds[1]);
		if (r == 0 && attached)
			r = peer_open(ch, msg, peers[0], fd_steal(&peers[1]));
	}
	while (nfds)
		fd_closep(&fds[--nfds]);
	if (r < 0) {
		if (ch)
			channel_free(ch);
		return r;
	}
	*ret = ch;
	return 0;
}

void channel_set_record(struct smcdu_channel *ch, bool record)
{
	ch->record = record;
	ch->info.record_max = record ? record_max(ch) : 0;
}

/* "service@peer" */
static int parse_target(const char *target, struct ipc_connect *req)
{
	const char *at = target ? strchr(target, '@') : NULL;

	if (!at || lib_copy_name(req->service, target, (size_t)(at - target)) < 0 ||
	    lib_copy_peer(req->peer, at + 1, strlen(at + 1)) < 0)
		return lib_fail(-EINVAL, "'%.140s' is no target: write service@peer, names of 1 to "
			"63 characters from A-Z a-z 0-9 . _ -", target ? target : "");
	return 0;
}

/* On a connection that was left, or a new one. The socket; what else was left is in *kept. */
static int call(struct smcdu_ctx *ctx, const struct ipc_connect *req, struct ipc_channel *ans, int *fds,
	unsigned int *nfds, struct lib_kept *kept, uint64_t deadline_ns)
{
	int r = -ESTALE;

	home_came(ctx->home);
	if (home_take(ctx->home, 0, kept)) {
		r = ipc_call_kept(ctx, kept->sock, req, sizeof(*req), IPC_CHANNEL, ans, sizeof(*ans), fds,
			IPC_FDS_ATTACHED, nfds, deadline_ns);
		if (r == 0)
			return fd_steal(&kept->sock);
		kept_drop(kept);
	}
	if (r != -ESTALE)
		return r;
	return ipc_call(ctx, req, sizeof(*req), IPC_CHANNEL, ans, sizeof(*ans), fds, IPC_FDS_ATTACHED,
		nfds, deadline_ns);
}

int smcdu_connect(struct smcdu_ctx *ctx, const char *target, struct smcdu_channel **ret)
{
	/* The daemon gives up a little earlier, so that its reason arrives in time. */
	uint32_t slack = ctx->connect_timeout_ms / 10 < 100 ? ctx->connect_timeout_ms / 10 : 100;
	struct ipc_connect req = { .hdr = ipc_hdr(IPC_CONNECT), .rcvbuf = ctx->rcvbuf,
		.timeout_ms = ctx->connect_timeout_ms - slack, .path = ctx->path };
	uint64_t deadline = clock_ns() + ctx->connect_timeout_ms * UINT64_C(1000000);
	struct lib_kept kept = { .sock = -1 };
	int fds[IPC_FDS_ATTACHED];
	struct smcdu_channel *ch = NULL;
	struct ipc_channel ans;
	unsigned int nfds;
	int sock, r;

	lib_set_diag(0);
	if (ctx->generation != lib_generation())
		return lib_fail_plain(-EPERM);
	if (parse_target(target, &req) < 0)
		return -EINVAL;
	sock = call(ctx, &req, &ans, fds, &nfds, &kept, deadline);
	if (sock < 0)
		return sock;
	r = channel_adopt(&ans, sock, fds, nfds, &kept, ctx->spin_us, &ch);
	if (ch) {
		channel_set_record(ch, ctx->record);
		ch->home = home_ref(ctx->home);
		ch->uid = geteuid();
		*ret = ch;
	}
	return r;
}

/* ---- failing --------------------------------------------------------------------------------- */

int channel_violation(struct smcdu_channel *ch, const char *why)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&ch->failed, &none, ECONNRESET)) {
		atomic_store(&ch->why, why);
		/* Wakes the other half's thread. */
		shutdown(ch->sock, SHUT_RD);
		if (channel_attached(ch))
			shutdown(ch->peer.sock, SHUT_RD);
	}
	return -ECONNRESET;
}

int channel_error(const struct smcdu_channel *ch, int error)
{
	const char *why = atomic_load(&ch->why);
	const char *peer = ch->info.peer;

	if (why)
		return lib_fail(error, "channel with '%s' failed: %s", peer, why);
	switch (error) {
	case -ECONNRESET:
		return lib_fail(error, "the peer '%s' closed or aborted the channel, or died",
			peer);
	case -ENODEV:
		if (atomic_load(&ch->gone))
			return lib_fail(error, "the daemon smcd-userd is gone; connect again");
		return lib_fail(error, "the ISM device of the channel with '%s' is gone", peer);
	case -EPIPE:
		return lib_fail(error, "the sending side of the channel is shut down");
	default:
		return lib_fail_plain(error);
	}
}

void channel_bell(struct smcdu_channel *ch)
{
	int r;

	/*
	 * Full barrier: the position was stored before, the bell is loaded after. It pairs with the
	 * daemon's barrier between setting the bell and its last look at the positions: either we
	 * see the bell, or the daemon sees the position.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&ch->ctl->bell, memory_order_relaxed) ||
	    !atomic_exchange(&ch->ctl->bell, 0))
		return;
	atomic_fetch_add_explicit(&ch->bells, 1, memory_order_relaxed);
	r = ipc_send_simple(ch->sock, CHAN_BELL);
	/* -EAGAIN: the daemon has unread messages and will look anyway. */
	if (r == -EPIPE || r == -ECONNRESET)
		atomic_store(&ch->gone, true);
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* For the peer's application. What its daemon waits for is our daemon's, the last store. */
static void tell_peer(struct smcdu_channel *ch, uint8_t flag)
{
	if (channel_attached(ch))
		peer_publish_flags(ch, CDC_BY_APPLICATION | flag);
	atomic_store(&ch->ctl->app_wait, 0);
}

/*
 * The kernel turns closing a socket with unread datagrams into ECONNRESET at the other end, ahead
 * of what was sent last. A wake-up left unread would so hide the farewell: none may be left.
 */
static void farewell(struct smcdu_channel *ch, enum ipc_type type)
{
	struct ipc_simple msg;

	tell_peer(ch, type == CHAN_CLOSE ? CDC_CONN_CLOSED : CDC_ABNORMAL);
	ipc_send_simple(ch->sock, type);
	shutdown(ch->sock, SHUT_RD);
	while (recv(ch->sock, &msg, sizeof(msg), MSG_DONTWAIT) > 0)
		;
}

/*
 * A close that leaves the connection to the next channel. A wake-up that is left unread is one too many for that
 * one. The daemon may give a listener's away as soon as it knows, so that it is in its place before; settings' is
 * taken by another thread as soon as it is there.
 */
static void leave(struct smcdu_channel *ch)
{
	struct lib_kept k = { .sock = fd_steal(&ch->sock), .id = ch->info.id, .uid = ch->uid };
	int sock = k.sock, r;

	tell_peer(ch, CDC_CONN_CLOSED);
	memcpy(k.send, ch->send, sizeof(k.send));
	memset(ch->send, 0, sizeof(ch->send));
	if (ch->accepted)
		home_give(ch->home, &k);
	r = ipc_send_simple(sock, CHAN_LEAVE);
	if (r < 0 && (!ch->accepted || home_take(ch->home, k.id, &k)))
		kept_drop(&k);
	else if (!ch->accepted)
		home_give(ch->home, &k);
}

/* The daemon decides by the same rule; but attached, our own word reaches the peer first. */
static enum ipc_type close_kind(const struct smcdu_channel *ch)
{
	struct rx_view v;

	if (atomic_load(&ch->failed))
		return CHAN_ABORT;
	if (!channel_attached(ch))
		return CHAN_CLOSE;
	rx_look(ch, &v);
	/* An urgent byte is not part of what is read in order. */
	return v.prod - lib_get(&ch->rx.pos) > (v.urg > lib_get(&ch->rx.pos) ? 1 : 0) ?
		CHAN_ABORT : CHAN_CLOSE;
}

void smcdu_close(struct smcdu_channel *ch)
{
	enum ipc_type kind;

	if (!ch)
		return;
	if (channel_mine(ch)) {
		kind = close_kind(ch);
		if (kind == CHAN_CLOSE && ch->home && home_wants(ch->home))
			leave(ch);
		else
			farewell(ch, kind);
	}
	channel_free(ch);
}

void smcdu_abort(struct smcdu_channel *ch)
{
	if (!ch)
		return;
	if (channel_mine(ch))
		farewell(ch, CHAN_ABORT);
	channel_free(ch);
}

/* ---- knowing --------------------------------------------------------------------------------- */

void smcdu_channel_info(const struct smcdu_channel *ch, struct smcdu_channel_info *info)
{
	*info = ch->info;
}

void smcdu_channel_stats(const struct smcdu_channel *ch, struct smcdu_channel_stats *st)
{
	*st = (struct smcdu_channel_stats){
		.tx_bytes = lib_get(&ch->tx.pos),
		.rx_bytes = lib_get(&ch->rx.pos),
		.tx_calls = lib_get(&ch->tx.calls),
		.rx_calls = lib_get(&ch->rx.calls),
		.tx_sent = lib_get(&ch->ctl->tx_sent),
		.pcistb = lib_get(&ch->ctl->pcistb),
		.cdc_tx = lib_get(&ch->ctl->cdc_tx),
		.bounced = lib_get(&ch->ctl->bounced),
		.bells = lib_get(&ch->bells),
		.sleeps = lib_get(&ch->sleeps),
		.spins = lib_get(&ch->tx.spin.helped) + lib_get(&ch->rx.spin.helped),
		.state = atomic_load_explicit(&ch->ctl->state, memory_order_relaxed),
		.error = -channel_status(ch),
	};
	if (channel_attached(ch)) {
		st->tx_sent = st->tx_bytes;
		st->cdc_tx = lib_get(&ch->tx.cdcs) + lib_get(&ch->rx.cdcs);
	}
}

/* Of the urgent byte. */
static unsigned int urgent_events(const struct smcdu_channel *ch, const struct rx_view *v)
{
	bool here = atomic_load_explicit(&ch->rx.oob_inline, memory_order_relaxed);
	uint64_t pos = lib_get(&ch->rx.pos);
	bool is_new = v->urg != lib_get(&ch->rx.urg);
	unsigned int ev = 0;

	if (here ? v->urg > pos : is_new || atomic_load(&ch->rx.urg_byte) >= 0)
		ev |= SMCDU_PRI;
	if (v->urg && pos == (here ? v->urg - 1 : v->urg))
		ev |= SMCDU_MARK;
	return ev;
}

static unsigned int rx_events(const struct smcdu_channel *ch)
{
	struct rx_view v;
	unsigned int ev;
	int end;

	rx_look(ch, &v);
	end = rx_ending(&v);
	ev = urgent_events(ch, &v);
	if (end <= 0 || rx_ready(ch, &v))
		ev |= SMCDU_IN;
	if (end <= 0)
		ev |= SMCDU_HUP;
	if (end < 0)
		ev |= SMCDU_ERR;
	return ev;
}

static unsigned int tx_events(const struct smcdu_channel *ch)
{
	struct tx_view v;

	tx_look(ch, &v);
	if (v.impossible || channel_status(ch) < 0)
		return SMCDU_OUT | SMCDU_ERR;
	if (v.space >= atomic_load_explicit(&ch->tx.want, memory_order_relaxed))
		return SMCDU_OUT;
	return v.status || atomic_load(&ch->tx.shut) ? SMCDU_OUT : 0;
}

unsigned int channel_events(const struct smcdu_channel *ch, unsigned int asked)
{
	unsigned int ev = asked & SMCDU_OUT ? tx_events(ch) : 0;

	return ev | (asked & (SMCDU_IN | SMCDU_PRI) ? rx_events(ch) : 0);
}
