/* SPDX-License-Identifier: MIT */
/*
 * mediated.pml - two applications, their daemons, one stream between them (see smcd/ipc/chan.h)
 *
 * The writer puts BYTES bytes through rings of N, then closes, or half-closes and waits for the end
 * before it closes. The reader takes one byte or more, until the end, and closes; with GIVES_UP it
 * may also close at any time before. The daemons look as long as there is work, then set their bell
 * and sleep until a signal of the device or a message of their application. A ring of one byte has
 * it all: full, empty and turning over at every byte. (N=2 and BYTES=3 hold, too, in a minute and
 * 2 GB.)
 *
 * Holds: bytes arrive in order and unharmed (a ring overrun would change one), an end is seen after
 * the last byte, and every run comes to its end: both connections closed, nobody asleep for ever
 * (Spin's check for invalid end states).
 *
 * Each of these macros takes one line of the protocol away, and then it must not hold:
 * NO_APP_FENCE NO_APP_RECHECK NO_BELL_FENCE NO_COOL_FENCE NO_COOL_RECHECK END_BEFORE_DATA NO_UPDATE
 */
#include "memory.pml"

#ifndef N
#define N 1
#endif
#ifndef BYTES
#define BYTES 2
#endif
#define LIMIT 0 /* untold bytes that need no consumer update: max(n/10, 2304), scaled down */

#define D 1
#define C 2
#define A 4

/* What the reader's daemon has at the device: the CDC block and ring that the writer's fills. */
byte b_ring[N];
byte b_prod = 0;
byte b_flags = 0;
bool b_blocked = false;
bool b_signal = false;

/* And the writer's: consumer cursor and flags of the reader. */
byte a_cons = 0;
byte a_flags = 0;
bool a_signal = false;

/* Control page and socket of the writer ... */
byte a_ring[N];
WORD(tx_pos);
WORD(shut);
WORD(a_bell);
WORD(a_wait);
bool a_rang = false, a_closed = false; /* CHAN_BELL, CHAN_CLOSE */
bool a_woken = false;		       /* CHAN_WAKE */

/* ... and of the reader. */
WORD(rx_pos);
byte b_told = 0;
WORD(b_bell);
WORD(b_wait);
bool b_rang = false, b_closed = false;
bool b_woken = false;

active proctype memory()
{
end:
	do
	:: COMMIT(tx_pos)
	:: COMMIT(shut)
	:: COMMIT(a_bell)
	:: COMMIT(a_wait)
	:: COMMIT(rx_pos)
	:: COMMIT(b_bell)
	:: COMMIT(b_wait)
	od
}

#ifdef NO_APP_FENCE
#define ARM(x) STORE_ONLY(x, 1)
#else
#define ARM(x) STORE_FENCED(x, 1)
#endif
#ifdef NO_BELL_FENCE
#define PUBLISH(x, v) STORE_ONLY(x, v)
#else
#define PUBLISH(x, v) STORE_FENCED(x, v)
#endif
#ifdef NO_COOL_FENCE
#define RAISE(x) STORE_ONLY(x, 1)
#else
#define RAISE(x) STORE_FENCED(x, 1)
#endif
#ifdef NO_APP_RECHECK
#define LAST_LOOK(something) false
#else
#define LAST_LOOK(something) (something)
#endif
#ifdef NO_COOL_RECHECK
#define LAST_GLANCE(moved) false
#else
#define LAST_GLANCE(moved) (moved)
#endif

/* The application has published: channel_bell(). */
#define RING_BELL(bell, rang) \
	if \
	:: bell -> atomic { rang = rang || bell; bell = 0; DROP(bell) } \
	:: else \
	fi

/* The application finds nothing: arm(), the last look, sleep. */
#define SLEEP_UNLESS(something, wait, woken) \
	ARM(wait); \
	if \
	:: LAST_LOOK(something) -> atomic { DROP(wait); wait = 0 } \
	:: else -> atomic { woken -> woken = false } \
	fi

/* The daemon has news for its application: wake(). */
#define WAKE(wait, woken) atomic { woken = woken || wait; wait = 0 }

/* The daemon finds nothing: cool(). */
#define COOL(moved, bell, called) \
	RAISE(bell); \
	if \
	:: LAST_GLANCE(moved) \
	:: else -> called \
	fi; \
	atomic { DROP(bell); bell = 0 }

/* ---- the writer ------------------------------------------------------------------------------ */

#define A_ENDED (a_flags & (C | A))

active proctype writer()
{
	byte pos = 0;

	do
	:: pos == BYTES || A_ENDED -> break
	:: else ->
		if
		:: pos - a_cons < N ->
			a_ring[pos % N] = pos + 1;
			pos++;
			PUBLISH(tx_pos, pos);
			RING_BELL(a_bell, a_rang)
		:: else -> SLEEP_UNLESS(pos - a_cons < N || A_ENDED, a_wait, a_woken)
		fi
	od;
	if
	:: true -> /* half close, then wait for the peer's end */
		SETTLED(tx_pos); /* release */
		PUBLISH(shut, 1);
		RING_BELL(a_bell, a_rang);
		do
		:: A_ENDED -> break
		:: else -> SLEEP_UNLESS(A_ENDED, a_wait, a_woken)
		od
	:: true
	fi;
	SETTLED(tx_pos) && SETTLED(shut); /* a system call */
	a_closed = true
}

active proctype writer_daemon()
{
	byte sent = 0, acked = 0, told = 0, tx = 0, rx = 0, to, n;
	bool was_shut, closing, work, filled;

	do
	:: atomic {
		a_signal = false;
		a_rang = false;
		closing = a_closed;
		was_shut = shut /* before tx_pos: nothing follows it */
	   };
	   to = tx_pos;
	   atomic { /* one word: cursor and flags */
		assert(a_cons <= sent && to >= sent);
		work = a_cons > acked || a_flags != rx;
		acked = a_cons;
		rx = a_flags;
		n = to - sent;
		assert(n <= N - (sent - acked)); /* what may be put here, the peer can take */
		filled = n > 0 && n == N - (sent - acked);
		if
		:: rx & (C | A) -> n = 0; filled = false
		:: else
		fi;
		work = work || n > 0;
		do
		:: n > 0 -> b_ring[sent % N] = a_ring[sent % N]; sent++; n--
		:: else -> break
		od
	   };
	   if
	   :: sent > told ->
		told = sent;
		b_prod = sent;
		atomic { b_blocked = filled; filled = false; b_signal = true }
	   :: else
	   fi;
	   if
	   :: was_shut && tx == 0 -> atomic { tx = D; b_flags = tx; b_signal = true }
	   :: else
	   fi;
	   if
	   :: closing && !(tx & C) -> atomic { tx = tx | C; b_flags = tx; b_signal = true }
	   :: else
	   fi;
	   if
	   :: closing && (rx & (C | A)) -> break
	   :: else
	   fi;
	   if
	   :: work -> WAKE(a_wait, a_woken)
	   :: else ->
		COOL(tx_pos != to || shut != was_shut, a_bell,
			(a_signal || a_rang || a_closed != closing))
	   fi
	od
}

/* ---- the reader ------------------------------------------------------------------------------ */

/* SMC-D 5.6: whoever consumed up to @pos, having told @told, of @total that arrived. */
#ifdef NO_UPDATE
#define DUE(pos, told, total, blocked) (pos - told > N)
#else
#define DUE(pos, told, total, blocked) \
	(pos - told > LIMIT && (N - (total - told) <= N / 2 || blocked))
#endif

active proctype reader()
{
	byte pos = 0, told, prod, flags;

	do
	:: atomic { prod = 0; flags = 0 };
#ifdef END_BEFORE_DATA
	   prod = b_prod;
#endif
	   flags = b_flags; /* the end before the data */
#ifndef END_BEFORE_DATA
	   prod = b_prod;
#endif
	   if
	   :: prod > pos ->
		atomic {
			assert(prod - pos <= N);
			do
			:: pos < prod -> assert(b_ring[pos % N] == pos + 1); pos++; break
			od;
			do
			:: pos < prod -> assert(b_ring[pos % N] == pos + 1); pos++
			:: true -> break
			od;
			told = b_told /* what the daemon says to have told */
		};
		PUBLISH(rx_pos, pos);
		if
		:: DUE(pos, told, prod, b_blocked) -> RING_BELL(b_bell, b_rang)
		:: else
		fi;
		told = 0
	   :: prod == pos && flags -> assert(pos == BYTES); break
	   :: prod == pos && !flags ->
		SLEEP_UNLESS(b_prod != pos || b_flags, b_wait, b_woken)
#ifdef GIVES_UP
	   :: true -> break
#endif
	   fi
	od;
	SETTLED(rx_pos);
	b_closed = true
}

active proctype reader_daemon()
{
	byte total = 0, told = 0, tx = 0, rx = 0, pos;
	bool closing, work, due;

	do
	:: atomic {
		b_signal = false;
		b_rang = false;
		closing = b_closed;
		pos = rx_pos /* before the CDC, which the application may have seen first */
	   };
	   atomic { work = b_flags != rx; rx = b_flags; due = b_blocked };
	   atomic {
		work = work || b_prod > total;
		assert(b_prod - told <= N); /* never more than it was told */
		total = b_prod;
		assert(pos <= total);
		due = DUE(pos, told, total, due) && !(rx & (C | A));
		if
		:: closing && tx == 0 ->
			tx = (total > pos -> A : C);
			due = true
		:: else
		fi;
		work = work || due
	   };
	   if
	   :: due ->
		atomic { told = pos; a_cons = pos; a_flags = tx; a_signal = true };
		b_told = told /* it has arrived before the daemon sleeps: COOL has a fence */
	   :: else
	   fi;
	   if
	   :: closing && (rx & (C | A)) -> break
	   :: else
	   fi;
	   if
	   :: work -> WAKE(b_wait, b_woken)
	   :: else -> COOL(rx_pos != pos, b_bell, (b_signal || b_rang || b_closed != closing))
	   fi
	od
}
