/* SPDX-License-Identifier: MIT */
/*
 * internal.h - the objects behind the handles of libsmcd-user
 *
 * A channel has two halves that share nothing but the failure latch: one thread may own the sending
 * half and another the receiving half. What a half counts is written by its owner only; the words
 * are atomic so that smcdu_channel_stats() and the readiness check may look at them from elsewhere.
 *
 * Everything in the DMB comes from the peer, everything in the control page's second half from the
 * daemon. Each such word is loaded once per decision and checked before use.
 */
#ifndef SMCDU_LIB_INTERNAL_H
#define SMCDU_LIB_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "smcd-user.h"
#include "smcd/ipc/chan.h"
#include "smcd/proto/cdc.h"

#define LIB_CACHE_LINE 64
#define LIB_CHUNK_MIN 16384u
#define LIB_CHUNK_MAX 65536u
#define LIB_QUICK_MAX 4096u /* bytes of a send or receive that goes the short way */

/* A connection that a channel has left, and what is mapped for it. See home.c. */
#define LIB_KEPT 4u

struct lib_send {
	void *map; /* NULL: none */
	size_t len;
};

struct lib_kept {
	int sock;
	uint64_t id; /* of the channel that left it */
	struct lib_send send[CHAN_SEND_SLOTS];
	uid_t uid; /* ours, when it was made */
	uint64_t left_ns;
};

struct lib_home;

struct smcdu_ctx {
	unsigned int generation;
	struct lib_home *home;
	uint32_t connect_timeout_ms;
	uint32_t spin_us; /* as in the settings */
	uint32_t rcvbuf;
	uint32_t path; /* IPC_PATH_*: wanted */
	bool record;
	struct sockaddr_un addr;
};

struct smcdu_listener {
	unsigned int generation;
	int sock;
	_Atomic bool broken; /* the daemon is gone or broke the protocol */
	uint32_t port;
	uint32_t spin_us;
	bool record;
	struct lib_home *home;
};

/*
 * How worthwhile looking before sleeping was lately, and giving the processor away, which helps when
 * the peer needs it; one per half.
 */
struct lib_spin {
	unsigned int credit;
	unsigned int skipped;
	unsigned int give;
	unsigned int give_skipped;
	_Atomic uint64_t helped;
};

/* What the writer is given before the next look; see wait_head_start(). */
struct lib_start {
	uint32_t ns;
	bool dialogue; /* one was received, one was sent */
	uint32_t alone, failed; /* looks that found one receive's worth; tries in a row */
	uint64_t received; /* calls until the ring was last found empty */
	uint64_t sent;
	uint64_t pos;
};

/* How large pieces are copied; see way.c. Times are for one ring's length. */
enum way_stage { WAY_CHANGES, WAY_SETTLES, WAY_COUNTS };

struct lib_way {
	uint8_t now, best;	  /* one of WAY_*; they differ in a trial */
	uint8_t failed;		  /* trials since the last that did not, or since all others did */
	bool dialogue;		  /* about as much came back, or nothing is known yet */
	enum way_stage stage;	  /* of this window */
	uint32_t windows, every;  /* since the last trial; until the next */
	uint64_t end;		  /* where to look at the clock next: total sent */
	uint64_t began, began_ns; /* where this stage's time begins */
	uint64_t heard;		  /* total received then */
	uint64_t ns, last_ns;	  /* the last two windows, time for a ring's length */
};

struct lib_tx {
	_Atomic uint64_t pos;  /* total put into the send ring */
	_Atomic uint64_t cons; /* total the peer has acknowledged, accepted */
	_Atomic uint64_t calls;
	uint8_t *ring;
	uint32_t size;	 /* N of the peer's ring */
	_Atomic uint32_t want; /* bytes of space that a send waits for, at least 1 */
	struct smc_cursor at; /* pos */
	uint64_t word;	 /* of the CDC, when cons was accepted; see tx_space() */
	bool quiet;	 /* word is valid, and ended nothing */
	uint32_t untold; /* CHAN_WAIT_*: published, but who sleeps for it was not told */
	uint8_t flags;	 /* producer flags in the peer's CDC */
	uint64_t mark;	 /* behind an urgent byte on its way, attached */
	_Atomic uint64_t cdcs; /* written for this half, attached */
	size_t unshared; /* put since the processor was given away last, while somebody wants it */
	unsigned int share_skip; /* so often it is not: it took too long */
	size_t reserved; /* given out by smcdu_reservev(), not committed */
	_Atomic uint64_t urg; /* pos behind the last urgent byte; there, nothing goes before it is read */
	_Atomic bool shut;
	struct lib_spin spin;
	struct lib_way way;
} __attribute__((aligned(LIB_CACHE_LINE)));

struct lib_rx {
	_Atomic uint64_t pos;  /* total taken by the application */
	_Atomic uint64_t prod; /* total the peer has written, accepted */
	_Atomic uint64_t calls;
	const uint8_t *ring;
	uint32_t size;	     /* N of our ring */
	_Atomic bool ended;  /* the application saw the end */
	_Atomic uint64_t urg; /* total behind the last urgent byte, accepted; 0: there was none */
	_Atomic int urg_byte; /* that byte, kept aside until it is received; -1: none is */
	_Atomic bool oob_inline;
	struct smc_cursor at; /* pos */
	_Atomic uint64_t cdcs; /* written for this half, attached */
	_Atomic uint64_t announced; /* pos when the peer was last told, attached */
	_Atomic uint32_t need; /* unread bytes with which to look again; 0: with any */
	uint32_t record;     /* bytes of the next one, with all that is before it; 0: not known yet */
	size_t peeked;	     /* given out by smcdu_peekv(), not released */
	size_t turn;	     /* of far_make_room() */
	struct lib_spin spin;
	struct lib_start start;
} __attribute__((aligned(LIB_CACHE_LINE)));

/*
 * The other end of an attached channel: we write its DMB. The producer word is the sending half's.
 * The consumer word has something of both: @lock orders them, so that an older position never
 * follows a newer one.
 */
struct lib_peer {
	uint8_t *dmb; /* NULL: mediated; in one piece with ours */
	int sock;
	_Atomic bool gone; /* end of file: it closed or died */
	_Atomic bool lock;
	uint8_t prod_flags; /* ours; these two under the lock */
	uint8_t conn_flags;
	_Atomic bool barrier; /* this process takes part; for good */
	_Atomic uint32_t fences; /* barriers of our own behind what we published */
} __attribute__((aligned(LIB_CACHE_LINE)));

/* Who sleeps on the socket, and the descriptor given to the application. See wait.c. */
struct lib_wait {
	pthread_mutex_t lock;
	pthread_cond_t turn;
	bool polling;	       /* a thread sleeps on the socket; guarded by lock */
	bool signalled;	       /* eventfd is readable; guarded by lock */
	int epoll;	       /* given to the application; -1 until asked for */
	int event;
	unsigned int interest; /* SMCDU_IN | SMCDU_OUT | SMCDU_PRI */
};

struct smcdu_channel {
	unsigned int generation;
	int sock;
	enum cdc_order order;
	bool record; /* see record.c */
	uint32_t spin_ns;
	struct lib_home *home; /* whom it leaves its connection to; NULL: nobody */
	bool accepted;
	struct lib_send send[CHAN_SEND_SLOTS]; /* @ctl is in one of them */
	uid_t uid; /* ours, when the connection was made */
	const uint8_t *dmb;
	struct chan_ctl *ctl;
	size_t dmb_len; /* attached with the peer's */
	struct lib_tx tx;
	struct lib_rx rx;
	struct lib_peer peer;
	struct lib_wait wait;
	_Atomic bool shared; /* the peer seems to run on our processor */
	_Atomic int failed; /* positive errno of a violation found here; the first one stays */
	_Atomic bool gone;  /* the daemon's end of the socket is closed */
	const char *_Atomic why; /* static text for failed */
	_Atomic uint64_t bells;
	_Atomic uint64_t sleeps;
	struct smcdu_channel_info info;
};

/* ---- ctx.c: errors, names, process generation ------------------------------------------------ */

/* Of this process and those it comes from; changes only where no other thread exists. */
extern unsigned int lib_forks;

/* Changes in the child of a fork, so that a handle knows whether it still is in its own process. */
static inline unsigned int lib_generation(void)
{
	return lib_forks;
}

/* Sets this thread's error text and returns @error (negative errno). */
int lib_fail(int error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same without text. */
int lib_fail_plain(int error);
void lib_set_diag(uint32_t diag);

/* Copies a service or peer name into a message field. -EINVAL unless its syntax is right. */
int lib_copy_name(char dst[IPC_NAME_MAX], const char *src, size_t len);
int lib_copy_peer(char dst[IPC_NAME_MAX], const char *src, size_t len);

/* What settings.spin_us may be, and the longest look in ns that it means to this thread, on such a channel. */
bool lib_spin_valid(uint32_t spin_us);
uint32_t lib_spin_limit(uint32_t spin_us, bool attached);

/* ---- ipc.c: the daemon's socket -------------------------------------------------------------- */

/*
 * Connects, sends @req and receives one answer of exactly @ans_len bytes and type @type with at most
 * @max_fds descriptors, *nfds of them (NULL: exactly @max_fds). Returns the connected socket (owned by the caller) or negative errno
 * with the error text set; nothing is left behind on failure.
 */
int ipc_call(const struct smcdu_ctx *ctx, const void *req, size_t req_len, enum ipc_type type,
	void *ans, size_t ans_len, int *fds, unsigned int max_fds, unsigned int *nfds,
	uint64_t deadline_ns);

/*
 * The same on a connection that a channel has left. -ESTALE: the daemon has given it up, and nothing came of the
 * request. The connection stays the caller's.
 */
int ipc_call_kept(const struct smcdu_ctx *ctx, int sock, const void *req, size_t req_len,
	enum ipc_type type, void *ans, size_t ans_len, int *fds, unsigned int max_fds, unsigned int *nfds,
	uint64_t deadline_ns);

/* Sends a message without body; -EPIPE or -ECONNRESET when the daemon is gone. */
int ipc_send_simple(int sock, enum ipc_type type);

/* Milliseconds until @deadline_ns for poll(2), rounded up; -1 for UINT64_MAX, 0 when passed. */
int lib_ms_left(uint64_t deadline_ns);

/* ---- home.c: connections that channels have left --------------------------------------------- */

struct lib_home *home_new(void);
struct lib_home *home_ref(struct lib_home *h);
/* NULL is allowed. */
void home_put(struct lib_home *h);
/* From now on nothing is kept; gives up the caller's reference. */
void home_close(struct lib_home *h);
/* A channel is wanted, or comes. */
void home_came(struct lib_home *h);
/* A connection that was left, the caller's: the last one that can be used (@id 0), or that of channel @id. */
bool home_take(struct lib_home *h, uint64_t id, struct lib_kept *ret);
/* Channels come fast: another one would be kept. */
bool home_wants(struct lib_home *h);
/* Takes it, or drops it. */
void home_give(struct lib_home *h, const struct lib_kept *k);
void kept_drop(struct lib_kept *k);

/* ---- channel.c ------------------------------------------------------------------------------- */

/*
 * Builds a channel from the daemon's description. Takes ownership of all descriptors, also on
 * failure: the socket, and those of IPC_CHANNEL in its order; also of what channels before on that socket have
 * mapped, @kept (may be NULL). 0 or negative errno with text.
 */
int channel_adopt(const struct ipc_channel *msg, int sock, int *fds, unsigned int nfds,
	const struct lib_kept *kept, uint32_t spin_us, struct smcdu_channel **ret);

/* Before any use: whether it carries records. */
void channel_set_record(struct smcdu_channel *ch, bool record);

/* Latches a violation found in shared memory and returns -ECONNRESET. @why is a static string. */
int channel_violation(struct smcdu_channel *ch, const char *why);

/* Sets the thread's error text for @error as found on @ch, and returns @error. */
int channel_error(const struct smcdu_channel *ch, int error);

/* Orders what was published before against the daemon's bell, and rings when it sleeps. */
void channel_bell(struct smcdu_channel *ch);

static inline bool channel_attached(const struct smcdu_channel *ch)
{
	return ch->peer.dmb != NULL;
}

/* 0 while the channel lives, else the negative errno that ended it. */
static inline int channel_status(const struct smcdu_channel *ch)
{
	int failed = atomic_load_explicit(&ch->failed, memory_order_acquire);
	/* Acquire: what was stored before the end is seen by the looks that follow. */
	int32_t error = atomic_load_explicit(&ch->ctl->error, memory_order_acquire);

	if (failed)
		return -failed;
	if (error)
		return error > 0 && error <= 4095 ? -error : -EPROTO;
	/* Attached, the peer alone matters; the daemon may come and go. */
	if (channel_attached(ch))
		return atomic_load_explicit(&ch->peer.gone, memory_order_acquire) ? -ECONNRESET : 0;
	if (atomic_load_explicit(&ch->gone, memory_order_acquire))
		return -ENODEV;
	return 0;
}

static inline bool channel_mine(const struct smcdu_channel *ch)
{
	return ch->generation == lib_generation();
}

/* The counter's only writer adds to it. */
static inline void lib_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

static inline uint64_t lib_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- tx.c, rx.c: what is the case, without changing anything --------------------------------- */

struct tx_view {
	uint64_t cons;	 /* total acknowledged by the peer */
	uint32_t space;	 /* free bytes in the ring */
	bool impossible; /* the cursor violates the protocol; cons is the old one */
	int status;	 /* 0 or the negative errno a send fails with */
};

struct rx_view {
	uint64_t prod;	 /* total written by the peer */
	uint64_t urg;	 /* total behind the last urgent byte */
	uint64_t unread; /* bytes that one receive may return */
	bool impossible; /* the cursor violates the protocol; prod is the old one */
	uint8_t flags;	 /* the peer's connection flags */
	int status;	 /* of the channel, taken before the cursors */
};

void tx_look(const struct smcdu_channel *ch, struct tx_view *v);
/* Everything sent has been moved to the peer. */
bool tx_delivered(const struct smcdu_channel *ch);
void rx_look(const struct smcdu_channel *ch, struct rx_view *v);

/* Whether a receive would not wait for bytes; of a record for its header, if that is known. */
bool rx_ready(const struct smcdu_channel *ch, const struct rx_view *v);

/* 1: nothing yet. 0: the end. Negative errno. What a receive returns when nothing is unread. */
int rx_ending(const struct rx_view *v);

/* A walk through an iovec array. */
struct lib_iov {
	const struct iovec *iov;
	size_t off; /* consumed of *iov */
};

/* The next piece of at most @max bytes; there must be bytes left and max > 0. */
static inline size_t lib_iov_next(struct lib_iov *it, size_t max, void **ptr)
{
	size_t n;

	while (it->off == it->iov->iov_len) {
		it->iov++;
		it->off = 0;
	}
	n = it->iov->iov_len - it->off;
	n = n < max ? n : max;
	*ptr = (uint8_t *)it->iov->iov_base + it->off;
	it->off += n;
	return n;
}

/* Bytes of all elements, or -EINVAL. */
ssize_t lib_iov_len(const struct iovec *iov, int iovcnt);

/* Accepts what has come; an urgent byte goes aside, and its place in the ring back. */
void rx_take_in(struct smcdu_channel *ch, struct rx_view *v);

/* SMCDU_* that hold now, as far as the halves in @asked (SMCDU_IN, SMCDU_OUT, SMCDU_PRI) know. */
unsigned int channel_events(const struct smcdu_channel *ch, unsigned int asked);

/* ---- what the halves do with their rings ----------------------------------------------------- */

/*
 * Bytes of a stream that are handed on at once, or given back, in a ring of @size: few enough for both sides to be busy
 * at the same time, and as many as that allows, for each time costs as much as a thousand bytes and more.
 */
static inline uint32_t lib_chunk(uint32_t size)
{
	uint32_t part = size / 4 < LIB_CHUNK_MAX ? size / 4 : LIB_CHUNK_MAX;

	return part < LIB_CHUNK_MIN ? LIB_CHUNK_MIN : part;
}

/* Space for the owner of the half: accepts the acknowledgement. 0 bytes is a success. */
int tx_space(struct smcdu_channel *ch, uint32_t *space);
/* Waits for at least @want bytes of space unless told not to (SMCDU_DONTWAIT). */
int tx_wait_space(struct smcdu_channel *ch, unsigned int flags, uint32_t want, uint32_t *space);
/* Copies to a place in the ring; the next @n bytes from pos are for the peer, who is not told yet. */
void tx_copy_in(struct smcdu_channel *ch, struct smc_cursor at, struct lib_iov *it, size_t n);
void tx_publish(struct smcdu_channel *ch, size_t n);
/* Tells the daemon, or a peer that sleeps, of what was published. */
void tx_tell(struct smcdu_channel *ch);

/*
 * @n more bytes were published and told: while the daemon asks for consideration, gives the processor
 * away after every TX_SHARE of them.
 */
void tx_share(struct smcdu_channel *ch, size_t n);

/*
 * Unread bytes, at least @want of them unless something comes behind the last one; 0 at the end, or
 * negative errno. Of records, not before there is a whole one.
 */
ssize_t rx_wait_unread(struct smcdu_channel *ch, unsigned int flags, uint32_t want);
void rx_copy_out(const struct smcdu_channel *ch, struct smc_cursor at, struct lib_iov *it, size_t n);
/* Gives @n bytes of the ring back. */
void rx_consume(struct smcdu_channel *ch, size_t n);

/* ---- record.c -------------------------------------------------------------------------------- */

/* The largest record to send. */
uint32_t record_max(const struct smcdu_channel *ch);
/*
 * Looks at the header of the next record, with which it is known what rx_ready() needs. 0 or negative
 * errno: what came is no record.
 */
int record_look(struct smcdu_channel *ch, uint64_t unread);
ssize_t record_send(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags);
ssize_t record_recv(struct smcdu_channel *ch, const struct iovec *iov, size_t len,
	unsigned int flags);
/* In place: the calls of inplace.c, whose checks come first. */
ssize_t record_reserve(struct smcdu_channel *ch, struct iovec iov[2], size_t len,
	unsigned int flags);
void record_commit(struct smcdu_channel *ch, size_t len);
ssize_t record_peek(struct smcdu_channel *ch, struct iovec iov[2], unsigned int flags);
void record_release(struct smcdu_channel *ch);

/* ---- inplace.c ------------------------------------------------------------------------------- */

/* The @n bytes at a place of a ring, in one or two parts. */
void lib_parts(uint8_t *ring, uint32_t size, struct smc_cursor at, size_t n, struct iovec iov[2]);

/* ---- way.c ----------------------------------------------------------------------------------- */

void way_init(struct lib_way *w);
/* A look at the clock, @now, at total @pos sent and @heard received, where w->end asked for it. */
void way_judge(struct lib_way *w, uint64_t now, uint64_t pos, uint64_t heard, uint64_t ring);
/* memcpy() into the ring, the best way. */
void way_copy(struct smcdu_channel *ch, void *dst, const void *src, size_t n);
/* memcpy() out of the ring, as the peer's way wants it. */
void way_fetch(const struct smcdu_channel *ch, void *dst, const void *src, size_t n);
/* As much is the peer's to write again: makes room for that if its way wants it. */
void way_done(struct smcdu_channel *ch, size_t n);

/* ---- barrier.c ------------------------------------------------------------------------------- */

/* Makes this process take part in barriers of others, for good. False: the kernel has no such thing. */
bool barrier_register(void);
/*
 * A full barrier here and on every processor that runs a process which registered. 0, or negative errno:
 * a filter of system calls that came after the registration.
 */
int barrier_everywhere(void);

/* ---- peer.c: the attached path --------------------------------------------------------------- */

/* Maps what makes @ch attached; takes ownership of @sock on success. 0 or negative errno with text. */
int peer_open(struct smcdu_channel *ch, const struct ipc_channel *m, int dmb_fd, int sock);

/*
 * Publishing, in the peer's CDC. The sending half's position, which returns what the peer may now wait
 * for no longer (CHAN_WAIT_*); the receiving half's; more connection flags (CDC_*, for good; only the
 * sending half, or whoever has the channel alone).
 */
uint32_t peer_publish_sent(struct smcdu_channel *ch);
void peer_publish_read(struct smcdu_channel *ch);
void peer_publish_flags(struct smcdu_channel *ch, uint8_t flags);

/* After publishing: wakes the peer if it waits for one of @bits (CHAN_WAIT_*). May let us take part in
 * barriers from now on. */
void peer_wake(struct smcdu_channel *ch, uint32_t bits);

/*
 * Sets our wait bits in the peer's DMB, with a full barrier behind it that also is the peer's where it
 * has none of its own; takes them back, and says which were still there.
 */
void peer_arm(struct smcdu_channel *ch, uint32_t bits);
uint32_t peer_disarm(struct smcdu_channel *ch, uint32_t bits);

/* We wait on the processor @cpu. Where the peer last did; 0: unknown. */
uint16_t peer_here(struct smcdu_channel *ch, uint16_t cpu);

/*
 * Urgent bytes, by the position behind them. Marked before the producer cursor moves there (nothing
 * on a mediated channel); looked up after the cursor was. The peer may have written anything.
 */
void peer_mark_urgent(struct smcdu_channel *ch, uint64_t behind);
uint64_t peer_urgent(const struct smcdu_channel *ch);

/* How we write large pieces (WAY_*), for the peer (nothing on a mediated channel); how it does, by its word. */
void peer_tell_way(struct smcdu_channel *ch, uint32_t way);
uint32_t peer_way(const struct smcdu_channel *ch);

/* Reads what the peer's wake-ups left in the socket, and notices its end. Does not wait. */
void peer_drain(struct smcdu_channel *ch);

/* Sleeps until the peer says something or ends. False when it was quiet for a while. */
bool peer_sleep(struct smcdu_channel *ch);

/* ---- wait.c ---------------------------------------------------------------------------------- */

void wait_init(struct lib_wait *w);
void wait_fini(struct lib_wait *w);

/*
 * What the CDC says for one half, uninterpreted: whatever comes, this changes, except for an end that
 * the CDC knows nothing of. The other half's cursor is left out.
 */
struct lib_glance {
	uint64_t prod, cons;
};

static inline struct lib_glance lib_glance(const struct smcdu_channel *ch, unsigned int event)
{
	uint64_t cons = cdc_peek(ch->dmb, CDC_CONS_WORD);

	if (event == SMCDU_OUT)
		return (struct lib_glance){ .cons = cons };
	return (struct lib_glance){ cdc_peek(ch->dmb, CDC_PROD_WORD), cons & CDC_FLAGS_MASK };
}

/*
 * Waits for sending (SMCDU_OUT) or receiving (SMCDU_IN) to be possible; may return early. @seen is a
 * glance from before the caller's own look, which found nothing.
 */
void wait_for(struct smcdu_channel *ch, unsigned int event, struct lib_spin *spin,
	const struct lib_glance *seen);

/* Gives the processor away for a moment, unless that has cost too much lately. */
void wait_share(struct smcdu_channel *ch);

/* The ring is empty, and the caller is going to wait: lets a busy writer get ahead for a moment. */
void wait_head_start(struct smcdu_channel *ch);

/* Re-arms the descriptor unless a chosen event holds. Returns what holds now. */
unsigned int wait_rearm(struct smcdu_channel *ch);

/* Sleeps until the daemon has moved everything or an end comes, at most @ms (-1: for ever), or less.
 * Needs the channel alone. */
void wait_sent(struct smcdu_channel *ch, int ms);

#endif
