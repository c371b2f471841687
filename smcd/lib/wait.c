/* SPDX-License-Identifier: MIT */
/*
 * wait.c - sleeping until something is the case
 *
 * Blocking calls. A caller looks for a while, then raises its wait bit, looks once more and sleeps
 * on the socket. At most one thread (the leader) sleeps there and reads; a second one sleeps on a
 * condition variable. The leader reads every wake-up, also those meant for the other, and therefore
 * wakes the other after each. A follower looks and goes to sleep under the lock: a wake-up read
 * before its look is covered by the look, one read after it is followed by a broadcast that waits
 * for the lock.
 *
 * Attached. Data, closes and deaths are told by the socket to the peer, and a receive from it is
 * both the sleep and the reading of the wake-up: one system call. Only after some quiet the sleeper
 * sleeps on both sockets; so the daemon's word (an abort that it or the peer's daemon wrote) may come
 * that much later. Looking, the two need different processors: each leaves a note where it waits, and
 * on the same one gives it away instead.
 *
 * The descriptor. Whenever the application is in control, this holds once it asked for the
 * descriptor: it is readable, or the wait bits of all chosen events were raised before a look that
 * found none of them to hold (so the daemon will send a wake-up when one does). A library cannot
 * write into its own socket's queue, hence the descriptor is an epoll over the socket and an
 * eventfd: whatever looks up a change without a wake-up in the socket makes the eventfd readable.
 * Only wait_rearm() makes the descriptor unreadable: it empties both first, then raises the bits,
 * then looks, so a wake-up for anything later than the look stays in the socket. Calls that
 * transfer data leave it alone: with a chosen event still true the descriptor stays readable, and
 * once nothing is left the call that says -EAGAIN, or smcdu_events(), re-arms.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define DRAIN_BATCH	 4
#define SPIN_CREDIT_MAX	 16u
#define SPIN_RETRY	 64u /* without credit, one wait in so many tries again */
#define LOOKS_PER_CLOCK	 16
#define YIELD_ATTACHED	 16
#define GIVE_CREDIT_MAX	 4u
#define GIVE_RETRY	 256u
#define START_MIN_NS	 128u
#define START_MAX_NS	 4096u
#define START_TRY_NS	 1024u
/* For a receive each, or a byte, the writer is worth waiting for. */
#define START_NS_CALL	 128u
#define START_NS_BYTE	 1u
/* Messages of which one may be found each time. */
#define START_BYTES_MIN	 1024u
#define START_BYTES_MAX	 16384u
#define START_PATIENCE	 16u /* looks until the first try, twice as many after each that failed */
#define START_FAILED_MAX 8u
#define GIVE_LONG_NS	 100000u /* somebody else had the processor: the peer alone is quicker */
#define SHARE_LONG_NS	 500000u /* who had it this long gives it to nobody */
#define SHARE_RETRY	 64u

void wait_init(struct lib_wait *w)
{
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->turn, NULL);
	w->epoll = -1;
	w->event = -1;
	w->interest = SMCDU_IN;
}

void wait_fini(struct lib_wait *w)
{
	fd_closep(&w->epoll);
	fd_closep(&w->event);
	pthread_cond_destroy(&w->turn);
	pthread_mutex_destroy(&w->lock);
}

static bool wake_valid(const struct ipc_simple *m, const struct mmsghdr *h)
{
	return h->msg_len == sizeof(*m) && !(h->msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
	       m->hdr.magic == IPC_MAGIC && m->hdr.version == IPC_VERSION &&
	       m->hdr.type == CHAN_WAKE;
}

/*
 * Reads the daemon's wake-ups: all there are, or with MSG_WAITFORONE at least one. No room for descriptors is
 * offered: the kernel drops any and says MSG_CTRUNC. End of file, or anything that is no wake-up,
 * means that the daemon is lost. Callers: the leader, or under the lock while there is none.
 */
static void receive_daemon(struct smcdu_channel *ch, int flags)
{
	struct ipc_simple msg[DRAIN_BATCH];
	struct iovec iov[DRAIN_BATCH];
	struct mmsghdr h[DRAIN_BATCH] = { 0 };
	int n;

	for (int i = 0; i < DRAIN_BATCH; i++) {
		iov[i] = (struct iovec){ .iov_base = &msg[i], .iov_len = sizeof(msg[i]) };
		h[i].msg_hdr.msg_iov = &iov[i];
		h[i].msg_hdr.msg_iovlen = 1;
	}
	do {
		n = recvmmsg(ch->sock, h, DRAIN_BATCH, flags, NULL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			atomic_store(&ch->gone, true);
		for (int i = 0; i < n; i++)
			if (!wake_valid(&msg[i], &h[i]))
				atomic_store(&ch->gone, true);
		flags = MSG_DONTWAIT;
	} while (n == DRAIN_BATCH && !atomic_load(&ch->gone));
}

/* Sleeps until daemon or peer has something to say. */
static void wait_either(const struct smcdu_channel *ch)
{
	struct pollfd p[2] = {
		{ .fd = ch->peer.sock, .events = POLLIN },
		{ .fd = atomic_load(&ch->gone) ? -1 : ch->sock, .events = POLLIN },
	};

	poll(p, 2, -1);
}

/* The same from everybody who wakes us, under the same conditions. */
static void receive_wakes(struct smcdu_channel *ch, int flags)
{
	if (channel_attached(ch)) {
		if (flags == MSG_WAITFORONE) {
			if (peer_sleep(ch))
				return;
			wait_either(ch);
		}
		peer_drain(ch);
		flags = MSG_DONTWAIT;
		if (atomic_load(&ch->gone))
			return;
	}
	receive_daemon(ch, flags);
	/* Its end of file would keep the descriptor readable for ever. */
	if (channel_attached(ch) && atomic_load(&ch->gone) && ch->wait.epoll >= 0)
		epoll_ctl(ch->wait.epoll, EPOLL_CTL_DEL, ch->sock, NULL);
}

/* Makes the descriptor readable, if it was given out. Under the lock. */
static void raise_event(struct lib_wait *w)
{
	uint64_t one = 1;

	if (w->epoll < 0 || w->signalled)
		return;
	w->signalled = write(w->event, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

static void lower_event(struct lib_wait *w)
{
	uint64_t count;

	if (w->signalled)
		w->signalled = read(w->event, &count, sizeof(count)) < 0;
}

static uint32_t wait_bits(unsigned int events)
{
	uint32_t bits = 0;

	if (events & (SMCDU_IN | SMCDU_PRI))
		bits |= CHAN_WAIT_RX;
	/* Errors are always reported; of the two bits this one wakes less often for nothing. */
	if ((events & SMCDU_OUT) || !bits)
		bits |= CHAN_WAIT_TX;
	return bits;
}

static void arm(struct smcdu_channel *ch, uint32_t bits)
{
	atomic_fetch_or(&ch->ctl->app_wait, bits);
	if (channel_attached(ch)) {
		peer_arm(ch, bits);
		return;
	}
	/*
	 * Full barrier: the bits before the look that follows. Pairs with the daemon's barrier
	 * between publishing (or seeing the peer's CDC) and taking the bits: either the look finds
	 * what was published, or the daemon finds the bits and sends a wake-up.
	 */
	atomic_thread_fence(memory_order_seq_cst);
}

/*
 * Takes bits back that no sleep needs any more. Those already taken by the daemon have a wake-up on
 * its way: reading what is there keeps such from piling up in the socket.
 */
static void disarm(struct smcdu_channel *ch, uint32_t bits)
{
	uint32_t before = atomic_fetch_and(&ch->ctl->app_wait, ~bits);

	if (channel_attached(ch))
		before &= peer_disarm(ch, bits);
	if ((before & bits) != bits && !ch->wait.polling)
		receive_wakes(ch, MSG_DONTWAIT);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Whether the peer last waited on the processor that we wait on now. Either may say anything. */
static bool same_processor(struct smcdu_channel *ch)
{
	uint16_t here = (uint16_t)(sched_getcpu() + 1);
	bool same;

	if (!channel_attached(ch))
		return false;
	same = peer_here(ch, here) == here;
	if (atomic_load_explicit(&ch->shared, memory_order_relaxed) != same)
		atomic_store_explicit(&ch->shared, same, memory_order_relaxed);
	return same;
}

/*
 * A peer that waits for our processor gets it in one system call, where sleeping and being woken take
 * each of us two. If somebody else gets it first, the kernel prefers those who slept.
 */
static bool give_way(const struct smcdu_channel *ch, unsigned int event, struct lib_spin *s)
{
	uint64_t begin;
	bool came;

	if (!s->give && ++s->give_skipped < GIVE_RETRY)
		return false;
	s->give_skipped = 0;
	begin = clock_ns();
	sched_yield();
	came = channel_events(ch, event) & event;
	if (came && clock_ns() - begin < GIVE_LONG_NS)
		s->give = GIVE_CREDIT_MAX;
	else if (s->give)
		s->give--;
	return came;
}

/*
 * Whoever waits for the daemon's turn, or for the next step of a dialogue beside ours, gets the
 * processor while they are few and quick. Somebody who computes would keep it for a whole slice of the
 * scheduler each time.
 */
void wait_share(struct smcdu_channel *ch)
{
	uint64_t begin;

	if (ch->tx.share_skip) {
		ch->tx.share_skip--;
		return;
	}
	begin = clock_ns();
	sched_yield();
	if (clock_ns() - begin > SHARE_LONG_NS)
		ch->tx.share_skip = SHARE_RETRY;
}

/* One batch of looks: something has changed. */
static bool look_often(const struct smcdu_channel *ch, unsigned int event,
	const struct lib_glance *seen)
{
	struct lib_glance now;

	for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
		now = lib_glance(ch, event);
		if (now.prod != seen->prod || now.cons != seen->cons)
			return true;
		relax();
	}
	return channel_status(ch) < 0;
}

/* Looks for a while, as long as that helped lately. True when something changed, maybe the event. */
static bool spin_for(const struct smcdu_channel *ch, unsigned int event, struct lib_spin *s,
	const struct lib_glance *seen)
{
	/* The daemon may need this processor, a peer has its own or is given ours. */
	unsigned int yield = channel_attached(ch) ? YIELD_ATTACHED : 1, batch = 0;
	uint64_t now, end = 0;

	if (!ch->spin_ns || (!s->credit && ++s->skipped < SPIN_RETRY))
		return false;
	s->skipped = 0;
	do {
		if (look_often(ch, event, seen)) {
			s->credit = s->credit < SPIN_CREDIT_MAX - 2 ? s->credit + 2 : SPIN_CREDIT_MAX;
			return true;
		}
		if (++batch % yield == 0)
			sched_yield();
		now = clock_ns();
		end = end ? end : now + ch->spin_ns;
	} while (now < end);
	if (s->credit)
		s->credit--;
	return false;
}

/*
 * A writer of small messages and a reader as fast as it would hand over each line alone, at the price of
 * its way between two caches, for which the writer's next stores wait. Many at once cost hardly more: as
 * long as each look finds several receives' worth, and nothing is sent in answer, the reader lets the
 * writer get ahead before it looks again. It finds one each time if it is a little faster than the writer;
 * then it tries now and then, the more rarely the less often that helps. Large ones need none, and are best taken
 * while the ring is almost empty: the longer ago its lines were read before they are written again, the better (far.h).
 */
void wait_head_start(struct smcdu_channel *ch)
{
	uint64_t received = lib_get(&ch->rx.calls), sent = lib_get(&ch->tx.calls), pos = lib_get(&ch->rx.pos);
	struct lib_start *s = &ch->rx.start;
	uint64_t found = received - s->received, bytes = pos - s->pos, end;

	s->dialogue = found == 1 && sent - s->sent == 1;
	if (sent != s->sent || (bytes >= START_BYTES_MAX && bytes >= found * START_BYTES_MAX)) {
		s->ns = s->alone = 0;
	} else if (found >= 2 && (found * START_NS_CALL >= s->ns || bytes * START_NS_BYTE >= s->ns)) {
		s->ns = s->ns ? s->ns * 2 : START_MIN_NS;
		s->failed = 0;
	} else if (s->ns) {
		s->ns /= 2;
	} else if (bytes >= START_BYTES_MIN && bytes < START_BYTES_MAX &&
		   ++s->alone >= START_PATIENCE << s->failed) {
		s->alone = 0;
		s->failed += s->failed < START_FAILED_MAX;
		s->ns = START_TRY_NS;
	}
	s->ns = s->ns < START_MAX_NS ? s->ns : START_MAX_NS;
	s->received = received;
	s->sent = sent;
	s->pos = pos;
	if (s->ns < START_MIN_NS || !ch->spin_ns || atomic_load_explicit(&ch->shared, memory_order_relaxed))
		return;
	end = clock_ns() + s->ns;
	do
		relax();
	while (clock_ns() < end);
}

/* One turn of sleeping, as leader or follower. Under the lock, which is released meanwhile. */
static void sleep_once(struct smcdu_channel *ch)
{
	struct lib_wait *w = &ch->wait;

	atomic_fetch_add_explicit(&ch->sleeps, 1, memory_order_relaxed);
	if (w->polling) {
		pthread_cond_wait(&w->turn, &w->lock);
		return;
	}
	w->polling = true;
	pthread_mutex_unlock(&w->lock);
	receive_wakes(ch, MSG_WAITFORONE);
	pthread_mutex_lock(&w->lock);
	w->polling = false;
	pthread_cond_broadcast(&w->turn);
}

void wait_for(struct smcdu_channel *ch, unsigned int event, struct lib_spin *spin,
	const struct lib_glance *seen)
{
	uint32_t bits = wait_bits(event);
	struct lib_wait *w = &ch->wait;

	if (same_processor(ch) ? give_way(ch, event, spin) : spin_for(ch, event, spin, seen)) {
		lib_add(&spin->helped, 1);
		return;
	}
	pthread_mutex_lock(&w->lock);
	while (!(channel_events(ch, event) & event)) {
		arm(ch, bits);
		if (channel_events(ch, event) & event) {
			disarm(ch, bits);
			break;
		}
		sleep_once(ch);
	}
	/* Wake-ups were read that the descriptor's invariant may have counted on. */
	raise_event(w);
	pthread_mutex_unlock(&w->lock);
}

unsigned int wait_rearm(struct smcdu_channel *ch)
{
	struct lib_wait *w = &ch->wait;
	unsigned int chosen = w->interest | SMCDU_ERR;
	unsigned int ev = channel_events(ch, SMCDU_IN | SMCDU_OUT);

	if (ev & chosen)
		return ev;
	pthread_mutex_lock(&w->lock);
	if (!w->polling) /* a leader reads anyway */
		receive_wakes(ch, MSG_DONTWAIT);
	lower_event(w);
	if (w->epoll >= 0)
		arm(ch, wait_bits(w->interest));
	ev = channel_events(ch, SMCDU_IN | SMCDU_OUT);
	if (ev & chosen)
		raise_event(w);
	pthread_mutex_unlock(&w->lock);
	return ev;
}

void wait_sent(struct smcdu_channel *ch, int ms)
{
	struct pollfd p = { .fd = ch->sock, .events = POLLIN };
	struct lib_wait *w = &ch->wait;
	struct tx_view v;

	arm(ch, CHAN_WAIT_SENT);
	tx_look(ch, &v);
	/* The last look, see arm(). A wake-up for what it finds may be on its way: read later. */
	if (v.impossible || v.status || tx_delivered(ch))
		return;
	atomic_fetch_add_explicit(&ch->sleeps, 1, memory_order_relaxed);
	poll(&p, 1, ms);
	pthread_mutex_lock(&w->lock);
	receive_wakes(ch, MSG_DONTWAIT);
	raise_event(w);
	pthread_mutex_unlock(&w->lock);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static int watch(int epoll, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* Starts out readable: nothing is armed yet. */
static int make_descriptor(struct smcdu_channel *ch)
{
	int epoll FD_CLEANUP = epoll_create1(EPOLL_CLOEXEC);
	int event FD_CLEANUP = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	int r;

	if (epoll < 0 || event < 0)
		return -errno;
	r = channel_attached(ch) && atomic_load(&ch->gone) ? 0 : watch(epoll, ch->sock);
	if (r == 0)
		r = watch(epoll, event);
	if (r == 0 && channel_attached(ch))
		r = watch(epoll, ch->peer.sock);
	if (r < 0)
		return r;
	ch->wait.epoll = fd_steal(&epoll);
	ch->wait.event = fd_steal(&event);
	ch->wait.signalled = true;
	return ch->wait.epoll;
}

int smcdu_channel_fd(const struct smcdu_channel *ch)
{
	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (ch->wait.epoll >= 0)
		return ch->wait.epoll;
	/* Made on first use: blocking users never pay for it. No channel is a const object. */
	return make_descriptor((struct smcdu_channel *)(uintptr_t)ch);
}

int smcdu_set_spin(struct smcdu_channel *ch, uint32_t spin_us)
{
	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (!lib_spin_valid(spin_us))
		return lib_fail_plain(-EINVAL);
	ch->spin_ns = lib_spin_limit(spin_us, channel_attached(ch));
	return 0;
}

int smcdu_set_events(struct smcdu_channel *ch, unsigned int events)
{
	struct lib_wait *w = &ch->wait;
	unsigned int added = events & ~w->interest;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	if (events & ~(SMCDU_IN | SMCDU_OUT | SMCDU_PRI))
		return lib_fail_plain(-EINVAL);
	w->interest = events;
	if (!added || w->epoll < 0)
		return 0;
	/* Nothing was emptied, so only what is newly chosen needs its bit and a look. */
	arm(ch, wait_bits(added));
	if (channel_events(ch, added) & added) {
		pthread_mutex_lock(&w->lock);
		raise_event(w);
		pthread_mutex_unlock(&w->lock);
	}
	return 0;
}

int smcdu_events(struct smcdu_channel *ch)
{
	struct rx_view v;

	if (!channel_mine(ch))
		return lib_fail_plain(-EPERM);
	/* An urgent byte alone makes nobody receive, but its sender waits for it to be passed. */
	rx_take_in(ch, &v);
	return (int)wait_rearm(ch);
}
