/* SPDX-License-Identifier: MIT */
/*
 * copy.c - copying into and out of rings
 *
 * The other side of a ring was last in another processor's caches. Where the processor has fast
 * string moves, a large one takes whole lines over without reading what it overwrites, which the C
 * library's loops do not; small ones cost more to start than a loop takes.
 */
#include "smcd/lib/internal.h"

#include <string.h>

/* A sanitizer does not see what assembly reads and writes. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define STRING_MOVE
#endif
#else
#define STRING_MOVE
#endif
#endif

#ifdef STRING_MOVE
#include <cpuid.h>

#define STRING_MIN  1024u
#define CPUID_ERMS  (1u << 9) /* leaf 7, EBX */

static size_t string_min(void)
{
	/* 0: not known yet. Whoever finds out finds the same. */
	static _Atomic size_t min;
	size_t m = atomic_load_explicit(&min, memory_order_relaxed);
	unsigned int a, b, c, d;

	if (m)
		return m;
	m = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & CPUID_ERMS) ? STRING_MIN : SIZE_MAX;
	atomic_store_explicit(&min, m, memory_order_relaxed);
	return m;
}

void lib_copy(void *dst, const void *src, size_t n)
{
	if (n < STRING_MIN || n < string_min())
		memcpy(dst, src, n);
	else
		__asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}
#else
void lib_copy(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}
#endif
