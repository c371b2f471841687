/* SPDX-License-Identifier: MIT */
/*
 * memory.pml - shared words, and what a missing fence does to them
 *
 * Spin's memory is sequentially consistent, which hides just the bugs that a wake-up protocol can
 * have. A store with a full fence right behind it is an ordinary assignment. Without the fence it
 * waits in a buffer until the process `memory` commits it, at any later time, while its owner goes
 * on to look at other words.
 */
#define WORD(x)		   byte x = 0; byte x##_v = 0; bool x##_held = false
#define STORE_FENCED(x, v) x = v
#define STORE_ONLY(x, v)   atomic { x##_v = v; x##_held = true }
#define COMMIT(x)	   atomic { x##_held -> x = x##_v; x##_held = false }
/* A read-modify-write, or a system call: what was stored before has arrived. */
#define DROP(x)		   x##_held = false
#define SETTLED(x)	   (!x##_held)
