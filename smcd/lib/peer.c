/* SPDX-License-Identifier: MIT */
/*
 * peer.c - the attached path: writing the peer's DMB ourselves
 *
 * tx.ring is the peer's receive ring; what is left is the CDC and the wake-up. Both halves publish
 * the same 16 bytes, so they do it one after the other, each with the newest positions of both.
 *
 * Nothing the peer does can hurt us: its wait bits only make us send a byte too many or too few,
 * the socket is read and written without waiting, and its DMB is written, never read.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define LOCK_LOOKS 100

int peer_open(struct smcdu_channel *ch, const struct ipc_channel *m, int dmb_fd, int page_fd,
	int sock)
{
	struct lib_peer *p = &ch->peer;
	void *va;

	p->sock = sock; /* closed with the channel, whatever follows */
	p->side = m->side;
	if (fd_check_sealed(dmb_fd, m->tx_size) < 0 ||
	    fd_check_sealed(page_fd, CHAN_PEER_SIZE) < 0)
		return lib_fail(-EPROTO, "the peer's memory is not sealed or too small");
	va = mmap(NULL, CHAN_PEER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	if (va == MAP_FAILED)
		return lib_fail(-ENOMEM, "cannot map the page shared with the peer");
	p->page = va;
	va = mmap(NULL, m->tx_size, PROT_READ | PROT_WRITE, MAP_SHARED, dmb_fd, 0);
	if (va == MAP_FAILED)
		return lib_fail(-ENOMEM, "cannot map the peer's receive buffer");
	p->dmb = va;
	p->dmb_len = m->tx_size;
	ch->tx.ring = p->dmb + CDC_SIZE;
	return 0;
}

void peer_close(struct smcdu_channel *ch)
{
	struct lib_peer *p = &ch->peer;

	if (p->dmb)
		munmap(p->dmb, p->dmb_len);
	if (p->page)
		munmap(p->page, CHAN_PEER_SIZE);
	fd_closep(&p->sock);
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

static void wake(struct lib_peer *p, uint32_t bits)
{
	_Atomic uint32_t *wait = &p->page->side[!p->side].wait;
	const char byte = 0;

	/*
	 * Full barrier: the CDC was stored before, the peer's bits are loaded after. It has the same
	 * between setting its bits and its last look: one of the two sees the other.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!(atomic_load_explicit(wait, memory_order_relaxed) & bits))
		return;
	if (!(atomic_fetch_and(wait, ~bits) & bits))
		return;
	/* A full socket has enough in it to wake the peer; one that is closed needs no more. */
	send(p->sock, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void peer_publish(struct smcdu_channel *ch, uint32_t bits, uint8_t flags)
{
	struct lib_peer *p = &ch->peer;
	struct cdc_msg msg = { 0 };
	uint64_t tx, rx;

	lock(p);
	p->conn_flags |= flags;
	/* Acquire: what the other half copied before it moved its position stays before our CDC. */
	tx = atomic_load_explicit(&ch->tx.pos, memory_order_acquire);
	rx = atomic_load_explicit(&ch->rx.pos, memory_order_acquire);
	msg.prod = cursor_of(tx, ch->tx.size);
	msg.cons = cursor_of(rx, ch->rx.size);
	if (tx - lib_get(&ch->tx.cons) == ch->tx.size)
		msg.prod_flags = CDC_WRITER_BLOCKED;
	if (lib_get(&p->page->side[p->side].urgent) > tx)
		msg.prod_flags |= CDC_URG_PENDING;
	msg.conn_flags = p->conn_flags;
	cdc_store(p->dmb, &msg, ch->order);
	lib_add(&p->cdc_tx, 1);
	unlock(p);
	wake(p, bits);
}

void peer_arm(struct smcdu_channel *ch, uint32_t bits)
{
	atomic_fetch_or(&ch->peer.page->side[ch->peer.side].wait, bits);
}

uint32_t peer_disarm(struct smcdu_channel *ch, uint32_t bits)
{
	return atomic_fetch_and(&ch->peer.page->side[ch->peer.side].wait, ~bits);
}

bool peer_wants_space(const struct smcdu_channel *ch)
{
	const struct lib_peer *p = &ch->peer;

	return atomic_load_explicit(&p->page->side[!p->side].wait, memory_order_relaxed) &
	       CHAN_WAIT_TX;
}

void peer_mark_urgent(struct smcdu_channel *ch, uint64_t behind)
{
	struct lib_peer *p = &ch->peer;

	if (channel_attached(ch))
		atomic_store_explicit(&p->page->side[p->side].urgent, behind, memory_order_relaxed);
}

uint64_t peer_urgent(const struct smcdu_channel *ch)
{
	const struct lib_peer *p = &ch->peer;

	return atomic_load_explicit(&p->page->side[!p->side].urgent, memory_order_acquire);
}

void peer_drain(struct smcdu_channel *ch)
{
	char bytes[256];
	ssize_t n = recv(ch->peer.sock, bytes, sizeof(bytes), MSG_DONTWAIT);

	/* Release: the flags that the peer stored before it closed are seen by who sees this. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		atomic_store_explicit(&ch->peer.gone, true, memory_order_release);
}
