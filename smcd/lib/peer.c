/* SPDX-License-Identifier: MIT */
/*
 * peer.c - the attached path: writing the peer's DMB ourselves
 *
 * tx.ring is the peer's receive ring; what is left is the CDC and the wake-up. Of the CDC's two words
 * only what has changed is stored: the sending half's cursor is a word of its own, so that a send is
 * the payload and one store. The receiving half's cursor shares its word with flags of the sending
 * half; they take turns, each with the newest of both. It is stored when SMC-D's rule wants the peer
 * to know (rx.c), not with everything that is sent: who reads it has one word less to look into.
 *
 * Nothing the peer does can hurt us: its wait bits only make us send a byte too many or too few,
 * the socket is read and written without waiting, and its DMB is written, never read.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define LOCK_LOOKS 100
#define FORBIDDEN_US 10000
#define JOIN_AFTER   32u     /* barriers of our own */
#define QUIET_US   50000 /* as long a sleeper hears the peer only; see wait.c */

/* What the peer is told by us, and we by it. */
static struct chan_block *out(const struct lib_peer *p)
{
	return (struct chan_block *)(void *)p->dmb;
}

static const struct chan_block *in(const struct smcdu_channel *ch)
{
	return (const struct chan_block *)(const void *)ch->dmb;
}

int peer_open(struct smcdu_channel *ch, const struct ipc_channel *m, int dmb_fd, int sock)
{
	const struct timeval quiet = { .tv_usec = QUIET_US };
	struct lib_peer *p = &ch->peer;
	void *va;

	p->sock = sock; /* closed with the channel, whatever follows */
	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet)) < 0)
		return lib_fail(-EPROTO, "the descriptor to the peer is no socket");
	if (fd_check_sealed(dmb_fd, m->tx_size) < 0)
		return lib_fail(-EPROTO, "the peer's memory is not sealed or too small");
	/* Into the room behind ours. */
	va = mmap((uint8_t *)(uintptr_t)ch->dmb + m->rx_size, m->tx_size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_FIXED, dmb_fd, 0);
	if (va == MAP_FAILED)
		return lib_fail(-ENOMEM, "cannot map the peer's receive buffer");
	p->dmb = va;
	/* Once for all: what follows is stored word by word. */
	atomic_store_explicit(&out(p)->urgent, chan_urgent(0), memory_order_relaxed);
	ch->tx.ring = p->dmb + CDC_SIZE;
	return 0;
}

/*
 * A channel that lives on takes part in barriers: whoever goes to sleep interrupts a processor for one, which
 * is more than a handful of bytes can save. A peer that does not know yet has its own.
 */
static void join(struct smcdu_channel *ch)
{
	struct lib_peer *p = &ch->peer;

	if (!barrier_register())
		return;
	atomic_store_explicit(&p->barrier, true, memory_order_relaxed);
	atomic_fetch_or(&out(p)->wait, CHAN_PEER_BARRIER);
}

/* Held for the time of a few stores; its owner may still have lost its processor. */
static void lock(struct lib_peer *p)
{
	for (int i = 0; atomic_exchange_explicit(&p->lock, true, memory_order_acquire); i++)
		if (i >= LOCK_LOOKS)
			sched_yield();
}

static void unlock(struct lib_peer *p)
{
	atomic_store_explicit(&p->lock, false, memory_order_release);
}

/* Answers those of @bits that @w, the peer's word, asks for. False: somebody else has, or there are none. */
static bool answer(struct lib_peer *p, uint32_t w, uint32_t bits)
{
	uint32_t mine = atomic_load_explicit(&out(p)->wait, memory_order_relaxed), fields;

	do {
		fields = chan_fields(chan_wanted(w, mine) & bits);
		if (!fields)
			return false;
	} while (!atomic_compare_exchange_weak(&out(p)->wait, &mine,
		(mine & ~(fields << CHAN_ANSWER)) | (w & fields) << CHAN_ANSWER));
	return true;
}

void peer_wake(struct smcdu_channel *ch, uint32_t bits)
{
	const _Atomic uint32_t *wait = &in(ch)->wait;
	struct lib_peer *p = &ch->peer;
	const char byte = 0;
	uint32_t w;

	/*
	 * Full barrier: the CDC was stored before, the peer's bits are loaded after. It has the same
	 * between setting its bits and its last look: one of the two sees the other. If it runs its
	 * barrier here, too, then only the compiler must keep the order: that barrier comes either after
	 * the store, which its look then finds, or before the load, which then finds its bits.
	 */
	atomic_signal_fence(memory_order_seq_cst);
	w = atomic_load_explicit(wait, memory_order_relaxed);
	if (!atomic_load_explicit(&p->barrier, memory_order_relaxed) || !(w & CHAN_PEER_BARRIER)) {
		atomic_thread_fence(memory_order_seq_cst);
		w = atomic_load_explicit(wait, memory_order_relaxed);
		if (atomic_fetch_add_explicit(&p->fences, 1, memory_order_relaxed) == JOIN_AFTER)
			join(ch);
	}
	if (!(w & chan_fields(bits)) || !answer(p, w, bits))
		return;
	atomic_fetch_add_explicit(&ch->bells, 1, memory_order_relaxed);
	/* A full socket has enough in it to wake the peer; one that is closed needs no more. */
	send(p->sock, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The word that both halves have a part in. Under the lock. */
static void store_cons(struct smcdu_channel *ch)
{
	/* Acquire: what was copied out before the position moved stays before our CDC. */
	uint64_t pos = atomic_load_explicit(&ch->rx.pos, memory_order_acquire);
	struct lib_peer *p = &ch->peer;
	struct cdc_msg msg = {
		.cons = cursor_of(pos, ch->rx.size),
		.prod_flags = p->prod_flags,
		.conn_flags = p->conn_flags,
	};

	cdc_store_cons(p->dmb, &msg, ch->order);
	atomic_store_explicit(&ch->rx.announced, pos, memory_order_relaxed);
}

uint32_t peer_publish_sent(struct smcdu_channel *ch)
{
	struct lib_peer *p = &ch->peer;
	uint64_t pos = lib_get(&ch->tx.pos);
	uint8_t flags = 0;

	if (pos - lib_get(&ch->tx.cons) == ch->tx.size)
		flags = CDC_WRITER_BLOCKED;
	if (ch->tx.mark > pos)
		flags |= CDC_URG_PENDING;
	/* Release: the payload is there before the cursor says so. */
	cdc_store_prod(p->dmb, ch->tx.at, ch->order);
	lib_add(&ch->tx.cdcs, 1);
	if (flags == ch->tx.flags)
		return CHAN_WAIT_RX;
	ch->tx.flags = flags;
	lock(p);
	p->prod_flags = flags;
	store_cons(ch);
	unlock(p);
	return CHAN_WAIT_RX | CHAN_WAIT_TX;
}

void peer_publish_read(struct smcdu_channel *ch)
{
	lock(&ch->peer);
	store_cons(ch);
	unlock(&ch->peer);
	lib_add(&ch->rx.cdcs, 1);
}

void peer_publish_flags(struct smcdu_channel *ch, uint8_t flags)
{
	struct lib_peer *p = &ch->peer;

	lock(p);
	p->conn_flags |= flags;
	store_cons(ch);
	unlock(p);
	lib_add(&ch->tx.cdcs, 1);
	peer_wake(ch, CHAN_WAIT_ALL);
}

/* A mark for each of @bits that has none, or one that is answered. */
static uint32_t raise_marks(uint32_t mine, uint32_t answers, uint32_t bits)
{
	const uint32_t missing = bits & ~chan_wanted(mine, answers);

	for (unsigned int k = 0; k < 3; k++) {
		uint32_t last = answers >> (CHAN_ANSWER + 2 * k) & 3;

		if (missing & 1u << k)
			mine = (mine & ~(3u << 2 * k)) | (last == 1 ? 2u : 1u) << 2 * k;
	}
	return mine;
}

void peer_arm(struct smcdu_channel *ch, uint32_t bits)
{
	_Atomic uint32_t *wait = &out(&ch->peer)->wait;
	uint32_t mine = atomic_load_explicit(wait, memory_order_relaxed);

	while (!atomic_compare_exchange_weak(wait, &mine, raise_marks(mine,
		atomic_load_explicit(&in(ch)->wait, memory_order_relaxed), bits)))
		;
	atomic_thread_fence(memory_order_seq_cst);
	if (!(mine & CHAN_PEER_BARRIER) || barrier_everywhere() == 0)
		return;
	/*
	 * Somebody has forbidden it meanwhile. From now on the peer has its own barriers; what it stored
	 * before it saw that has been under way for a few instructions. Others' barriers still are ours.
	 */
	atomic_fetch_and(wait, ~CHAN_PEER_BARRIER);
	usleep(FORBIDDEN_US);
}

uint32_t peer_disarm(struct smcdu_channel *ch, uint32_t bits)
{
	uint32_t mine = atomic_fetch_and(&out(&ch->peer)->wait, ~chan_fields(bits));

	return chan_wanted(mine, atomic_load_explicit(&in(ch)->wait, memory_order_relaxed));
}

uint16_t peer_here(struct smcdu_channel *ch, uint16_t cpu)
{
	_Atomic uint16_t *mine = &out(&ch->peer)->cpu;

	if (atomic_load_explicit(mine, memory_order_relaxed) != cpu)
		atomic_store_explicit(mine, cpu, memory_order_relaxed);
	return atomic_load_explicit(&in(ch)->cpu, memory_order_relaxed);
}

void peer_mark_urgent(struct smcdu_channel *ch, uint64_t behind)
{
	ch->tx.mark = behind;
	if (channel_attached(ch))
		atomic_store_explicit(&out(&ch->peer)->urgent, chan_urgent(behind), memory_order_relaxed);
}

uint64_t peer_urgent(const struct smcdu_channel *ch)
{
	return chan_urgent_behind(atomic_load_explicit(&in(ch)->urgent, memory_order_acquire));
}

void peer_tell_way(struct smcdu_channel *ch, uint32_t way)
{
	if (channel_attached(ch))
		atomic_store_explicit(&out(&ch->peer)->way, (uint16_t)way, memory_order_relaxed);
}

uint32_t peer_way(const struct smcdu_channel *ch)
{
	return channel_attached(ch) ? atomic_load_explicit(&in(ch)->way, memory_order_relaxed) : 0;
}

/* What a receive from the socket says of its other end; @n and errno are of the call. */
static bool heard(struct smcdu_channel *ch, ssize_t n)
{
	/* Release: the flags that the peer stored before it closed are seen by who sees this. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		atomic_store_explicit(&ch->peer.gone, true, memory_order_release);
	return n >= 0 || errno != EAGAIN;
}

void peer_drain(struct smcdu_channel *ch)
{
	char bytes[256];

	heard(ch, recv(ch->peer.sock, bytes, sizeof(bytes), MSG_DONTWAIT));
}

bool peer_sleep(struct smcdu_channel *ch)
{
	char bytes[256];

	return heard(ch, recv(ch->peer.sock, bytes, sizeof(bytes), 0));
}
