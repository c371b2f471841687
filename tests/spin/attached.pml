/* SPDX-License-Identifier: MIT */
/*
 * attached.pml - two applications that write each other's memory themselves
 *
 * One stream, as in mediated.pml, but nobody in between (smcd/lib/peer.c): the writer stores payload
 * and CDC words into the reader's DMB and the reader stores its consumer cursor into the writer's.
 * Whoever finds nothing to do arms itself (a wait bit in the shared page), looks once more and sleeps
 * until its socket has something; whoever has published takes the other's bit and sends a byte if it
 * was set.
 *
 * Holds: as in mediated.pml. Must not hold with any of
 * NO_ARM_FENCE NO_ARM_RECHECK NO_PUBLISH_FENCE END_BEFORE_DATA TAKE_BEFORE_PUBLISH OVERRUN
 */
#include "memory.pml"

#ifndef N
#define N 3
#endif
#ifndef BYTES
#define BYTES 7
#endif

#define D 1
#define C 2

byte ring[N];

/* The reader's DMB: producer word, then the word with the flags. */
WORD(prod);
WORD(w_flags);
/* The writer's. */
WORD(cons);
WORD(r_flags);
/* Wait bits, and bytes in the sockets. */
WORD(r_armed);
WORD(w_armed);
bool r_event = false, w_event = false;

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
	od
}

#ifdef NO_ARM_FENCE
#define ARM(x) STORE_ONLY(x, 1)
#else
#define ARM(x) STORE_FENCED(x, 1)
#endif
#ifdef NO_PUBLISH_FENCE
#define PUBLISH(x, v) STORE_ONLY(x, v)
#else
#define PUBLISH(x, v) STORE_FENCED(x, v)
#endif
#ifdef NO_ARM_RECHECK
#define LAST_LOOK(something) false
#else
#define LAST_LOOK(something) (something)
#endif

#define NOTIFY(armed, event) \
	if \
	:: armed -> atomic { event = event || armed; armed = 0; DROP(armed) } \
	:: else \
	fi

#ifdef TAKE_BEFORE_PUBLISH
#define TELL(x, v, armed, event) NOTIFY(armed, event); PUBLISH(x, v)
#else
#define TELL(x, v, armed, event) PUBLISH(x, v); NOTIFY(armed, event)
#endif

#define SLEEP_UNLESS(something, armed, event) \
	ARM(armed); \
	if \
	:: LAST_LOOK(something) -> atomic { DROP(armed); armed = 0 } \
	:: else -> atomic { event -> event = false } \
	fi

#ifdef OVERRUN
#define ROOM(pos) (pos - cons <= N)
#else
#define ROOM(pos) (pos - cons < N)
#endif

active proctype writer()
{
	byte pos = 0;

	do
	:: pos == BYTES -> break
	:: pos < BYTES && ROOM(pos) ->
		do /* one byte, or as many as there is room for, in one announcement */
		:: pos < BYTES && ROOM(pos) -> ring[pos % N] = pos + 1; pos++
		:: pos > prod && pos > prod_v -> break
		od;
		TELL(prod, pos, r_armed, r_event);
		prod_v = pos
	:: pos < BYTES && !ROOM(pos) -> SLEEP_UNLESS(ROOM(pos), w_armed, w_event)
	od;
	if
	:: true -> /* half close first */
		SETTLED(prod);
		TELL(w_flags, D, r_armed, r_event);
		do
		:: r_flags -> break
		:: else -> SLEEP_UNLESS(r_flags, w_armed, w_event)
		od
	:: true
	fi;
#ifdef END_BEFORE_DATA
	skip;
#else
	SETTLED(prod);
#endif
	SETTLED(w_flags);
	TELL(w_flags, C, r_armed, r_event);
	do /* both have closed */
	:: r_flags -> break
	:: else -> SLEEP_UNLESS(r_flags, w_armed, w_event)
	od
}

active proctype reader()
{
	byte pos = 0, p, f;

	do
	:: atomic { p = 0; f = 0 };
#ifdef END_BEFORE_DATA
	   p = prod;
#endif
	   f = w_flags; /* the end before the data */
#ifndef END_BEFORE_DATA
	   p = prod;
#endif
	   assert(p - pos <= N);
	   if
	   :: p > pos ->
		do
		:: pos < p -> assert(ring[pos % N] == pos + 1); pos++
		:: pos > cons && pos > cons_v -> break
		od;
		TELL(cons, pos, w_armed, w_event);
		cons_v = pos
	   :: p == pos && f -> assert(pos == BYTES); break
	   :: p == pos && !f -> SLEEP_UNLESS(prod != pos || w_flags, r_armed, r_event)
	   fi
	od;
	SETTLED(cons);
	TELL(r_flags, C, w_armed, w_event);
	do
	:: w_flags == C -> break
	:: else -> SLEEP_UNLESS(w_flags == C, r_armed, r_event)
	od
}
