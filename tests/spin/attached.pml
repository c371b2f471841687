/* SPDX-License-Identifier: MIT */
/*
 * attached.pml - two applications that write each other's memory themselves
 *
 * One stream, as in mediated.pml, but nobody in between (smcd/lib/peer.c, wait.c). The writer stores
 * payload and producer word into the reader's DMB, several times if it likes before it tells, and the
 * reader its consumer word into the writer's when SMC-D's rule wants it. Each wants as
 * much as it may want (smcd/lib/inplace.c): room for up to half the ring, and fewer bytes than that;
 * here the least and the most. What the reader has accepted it takes without another look.
 *
 * Who finds too little arms itself: it raises the one of two marks in the peer's DMB that the peer has not
 * answered last, and a bit in its control page. It looks once
 * more, and receives from the peer's socket: that is its sleep. After some quiet, which may come at
 * any time, it sleeps on the daemon's socket as well, for the daemon may have ended the channel. Whoever
 * has published and sees a mark that it has not answered stores it as its answer, in the sleeper's DMB, and then
 * sends a byte, each some time after the other; a socket's end of file is heard, too. The
 * notes of processors and the spinning only decide how often somebody looks before it sleeps: here, as
 * often as it likes.
 *
 * With BARRIER (CHAN_PEER_BARRIER) nobody has a fence behind what it publishes: who arms has the kernel
 * run one where the other is. Nothing tells when, except that it is before the last look.
 *
 * Holds: as in mediated.pml, also with BARRIER; with DIES also if the writer is killed, with LOST if the
 * reader's daemon ends the channel, at any time. Must not hold with any of
 * NO_ARM_FENCE NO_ARM_RECHECK NO_PUBLISH_FENCE END_BEFORE_DATA TAKE_BEFORE_PUBLISH OVERRUN
 * NO_TELL_BEFORE_SLEEP NO_UPDATE NO_TELL_READ NO_QUIET NO_DAEMON_FENCE DEAF_TO_DEATH ONE_MARK
 */
#include "memory.pml"

#if defined(NO_QUIET) || defined(NO_DAEMON_FENCE)
#define LOST
#endif
#ifdef DEAF_TO_DEATH
#define DIES
#endif

#ifdef BARRIER /* more is too much for Spin; still more than a ring */
#define N     6
#define BYTES 7
#endif
#ifndef N
#define N 8
#endif
#ifndef BYTES
#ifdef LOST
#define BYTES 6 /* the bytes are the other runs' concern */
#else
#define BYTES 10
#endif
#endif
#define W     (N / 2)
#define R     (N / 2 - 1) /* a quarter would do for N=12, which is too much for Spin */
#define LIMIT 1 /* untold bytes that need no consumer update: max(n/10, 2304), scaled down */

#define D 1
#define C 2

byte ring[N];

/* The reader's DMB: producer word, then the word with the flags. */
WORD(prod);
WORD(w_flags);
/* The writer's. */
WORD(cons);
WORD(r_flags);
/* Marks, and what the other side has answered; bytes in the sockets, and their ends of file. */
WORD(r_armed);
WORD(w_armed);
byte r_answer = 0, w_answer = 0;
bool r_event = false, w_event = false;
bool r_gone = false, w_gone = false;
/* The reader's control page, and its daemon's socket. */
WORD(r_wait);
WORD(r_error);
bool r_woken = false;
bool killed = false;

active proctype memory()
{
end:
	do
	:: COMMIT(prod)
	:: SETTLED(prod) && w_flags_held -> COMMIT(w_flags) /* release: not before prod */
	:: COMMIT(cons)
	:: COMMIT(r_flags)
	:: COMMIT(r_armed)
	:: COMMIT(w_armed)
	:: COMMIT(r_wait)
	:: COMMIT(r_error)
	od
}

#ifdef NO_ARM_FENCE
#define STORE_ARM(x, v) STORE_ONLY(x, v)
#else
#define STORE_ARM(x, v) STORE_FENCED(x, v)
#endif
#ifdef ONE_MARK
#define OTHER(mark) 1
#else
#define OTHER(mark) (mark == 1 -> 2 : 1)
#endif
/* @last: the answer, looked up some time before. A mark that is not answered yet stays. */
#define RAISE(x, answer, last) \
	last = answer; \
	if \
	:: x == 0 || x == last -> STORE_ARM(x, OTHER(last)) \
	:: else \
	fi
#ifdef NO_ARM_RECHECK
#define LAST_LOOK(something) false
#else
#define LAST_LOOK(something) (something)
#endif
#ifdef BARRIER
#define THEIR_FENCE(a, b) SETTLED(a) && SETTLED(b)
#else
#define THEIR_FENCE(a, b) skip
#endif
#if defined(NO_PUBLISH_FENCE) || defined(BARRIER)
#define FENCE(x) skip
#else
#define FENCE(x) SETTLED(x) /* nothing else happens here until it has arrived */
#endif
#ifdef NO_DAEMON_FENCE
#define DAEMON_STORE(x, v) STORE_ONLY(x, v)
#else
#define DAEMON_STORE(x, v) STORE_FENCED(x, v)
#endif

#define TAKE(armed, event) \
	if \
	:: armed -> atomic { event = event || armed; armed = 0; DROP(armed) } \
	:: else \
	fi

/* @seen: the mark, looked at some time before. */
#define ANSWER(armed, answer, event, seen) \
	seen = armed; \
	if \
	:: seen && seen != answer -> answer = seen; event = true \
	:: else \
	fi; \
	seen = 0

/* x was stored before: wakes who sleeps for it. */
#define NOTIFY(x, armed, answer, event) FENCE(x); ANSWER(armed, answer, event, seen)

#ifdef TAKE_BEFORE_PUBLISH
#define TELL(x, v, armed, answer, event) ANSWER(armed, answer, event, seen); STORE_FENCED(x, v)
#else
#define TELL(x, v, armed, answer, event) STORE_ONLY(x, v); NOTIFY(x, armed, answer, event)
#endif

#ifdef NO_QUIET
#define QUIET false
#else
#define QUIET true
#endif
#ifdef DEAF_TO_DEATH
#define END_OF_FILE(gone) false
#else
#define END_OF_FILE(gone) gone
#endif

#define WRITER_SLEEPS_UNLESS(something) \
	RAISE(w_armed, w_answer, last); \
	last = 0; \
	THEIR_FENCE(cons, r_flags); \
	if \
	:: LAST_LOOK(something) -> atomic { DROP(w_armed); w_armed = 0 } \
	:: else -> atomic { (w_event || END_OF_FILE(r_gone)) -> w_event = false } \
	fi

#define READER_SLEEPS_UNLESS(something) \
	STORE_ARM(r_wait, 1); \
	RAISE(r_armed, r_answer, last); \
	last = 0; \
	THEIR_FENCE(prod, w_flags); \
	if \
	:: LAST_LOOK(something) -> \
		atomic { DROP(r_armed); r_armed = 0; DROP(r_wait); r_wait = 0 } \
	:: else -> \
		if \
		:: atomic { (r_event || END_OF_FILE(w_gone)) -> r_event = false } \
		:: QUIET -> \
			atomic { (r_event || r_woken || END_OF_FILE(w_gone)) -> \
				r_event = false; r_woken = false } \
		fi \
	fi

#ifdef OVERRUN
#define ROOM(pos, n) (pos + n - cons <= N + 1)
#else
#define ROOM(pos, n) (pos + n - cons <= N)
#endif
#define READER_ENDED (r_flags || r_gone)

#ifdef NO_TELL_BEFORE_SLEEP
#define TELL_ALL skip
#else
#define TELL_ALL \
	if \
	:: untold -> NOTIFY(prod, r_armed, r_answer, r_event); untold = false \
	:: else \
	fi
#endif

active proctype writer()
{
	byte pos = 0, want = 0, i = 0, seen = 0, last = 0;
	bool untold = false;

	do
	:: pos == BYTES || READER_ENDED -> break
	:: pos < BYTES ->
		if
		:: want = 1
		:: BYTES - pos >= W -> want = W
		fi;
		do
		:: ROOM(pos, want) || READER_ENDED -> break
		:: !ROOM(pos, want) && !READER_ENDED ->
			TELL_ALL;
			WRITER_SLEEPS_UNLESS(ROOM(pos, want) || READER_ENDED)
		od;
		if
		:: READER_ENDED -> break
		:: else
		fi;
		atomic {
			i = 0;
			do
			:: i < want -> ring[(pos + i) % N] = pos + i + 1; i++
			:: else -> break
			od;
			pos = pos + want;
			i = 0;
			want = 0
		}
#ifdef TAKE_BEFORE_PUBLISH
		TELL(prod, pos, r_armed, r_answer, r_event);
#else
		STORE_ONLY(prod, pos);
		untold = true;
		if
		:: true -> NOTIFY(prod, r_armed, r_answer, r_event); untold = false
		:: pos < BYTES /* there is more in this call */
		fi
#endif
#ifdef DIES
		if
		:: true -> killed = true; break
		:: true
		fi
#endif
	od;
#ifdef LOST
	if
	:: true -> /* has no more to say, and waits for an answer */
		do
		:: READER_ENDED -> break
		:: else ->
			TELL_ALL;
			WRITER_SLEEPS_UNLESS(READER_ENDED)
		od
	:: true
	fi;
#endif
	if
	:: killed -> /* by the kernel, at any time from here on */
		SETTLED(prod);
		w_gone = true
	:: else ->
		if
		:: untold -> NOTIFY(prod, r_armed, r_answer, r_event) /* the reader has ended meanwhile */
		:: else
		fi;
		if
		:: true -> /* half close first */
#ifndef END_BEFORE_DATA
			SETTLED(prod);
#endif
			TELL(w_flags, D, r_armed, r_answer, r_event);
			do
			:: READER_ENDED -> break
			:: else -> WRITER_SLEEPS_UNLESS(READER_ENDED)
			od
		:: true
		fi;
#ifndef END_BEFORE_DATA
		SETTLED(prod);
#endif
		SETTLED(w_flags);
		TELL(w_flags, C, r_armed, r_answer, r_event);
		SETTLED(w_flags); /* the socket's lock is passed on after it */
		w_gone = true
	fi
}

#ifdef NO_UPDATE
#define DUE false
#else
/* What is told goes by what was accepted, which may be less than what has come. */
#define DUE (pos - told > LIMIT && N - (p - told) <= N / 2)
#endif

active proctype reader()
{
	byte pos = 0, p = 0, f = 0, told = 0, want = 0, n = 0, seen = 0, last = 0;
	bool g = false, e = false;

	do
	:: true ->
		if
		:: want = 1
		:: want = R
		fi;
		do
		:: p - pos >= want -> break /* accepted before */
		:: p - pos < want ->
#ifdef END_BEFORE_DATA
			p = prod;
#endif
			e = r_error; /* the end before the data */
			g = w_gone;
			f = w_flags;
#ifndef END_BEFORE_DATA
			p = prod;
#endif
			assert(p - pos <= N);
			if
			:: p - pos >= want || f || g || e -> break
			:: else ->
#ifndef NO_TELL_READ
				if
				:: want > 1 && told != pos -> TELL(cons, pos, w_armed, w_answer, w_event); told = pos
				:: else
				fi;
#endif
				if
				:: true /* looks again */
				:: READER_SLEEPS_UNLESS(prod - pos >= want || w_flags || w_gone || r_error)
				fi
			fi
		od;
		if
		:: p == pos -> break
		:: else
		fi;
		atomic {
			n = 1;
			do
			:: n < p - pos -> n++
			:: break
			od;
			do
			:: n > 0 -> assert(ring[pos % N] == pos + 1); pos++; n--
			:: else -> break
			od;
			want = 0
		}
		if
		:: DUE -> TELL(cons, pos, w_armed, w_answer, w_event); told = pos
		:: else
		fi
	od;
	assert(f || g || e);
	assert(pos == BYTES || killed || e);
	assert(f || killed || e); /* whoever closes says so before its socket ends */
	SETTLED(cons);
	TELL(r_flags, C, w_armed, w_answer, w_event);
	r_gone = true
}

#ifdef LOST
/* The reader's: its device is gone, so it ends the channel. */
active proctype daemon()
{
	DAEMON_STORE(r_error, 1);
	TAKE(r_wait, r_woken)
}
#endif
