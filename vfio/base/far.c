/* SPDX-License-Identifier: MIT */
#include "vfio/base/far.h"

#include <string.h>

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#include <cpuid.h>
#include <emmintrin.h>
#include <stdatomic.h>
#include <stdbool.h>

#define WORDS_MAX	 256u
#define CPUID_CLFLUSHOPT (1u << 23) /* leaf 7, EBX */

/*
 * By words of 8 bytes, each in a register: what is sent was often written just before, in words of that
 * size, and a wider load would have to wait until they have left for the cache.
 */
static void copy_words(uint8_t *d, const uint8_t *s, size_t n)
{
	uint64_t word, last;
	size_t i;

	if (n < sizeof(word)) {
		while (n--)
			*d++ = *s++;
		return;
	}
	memcpy(&last, s + n - sizeof(last), sizeof(last));
	for (i = 0; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, s + i, sizeof(word));
		__asm__("" : "+r"(word)); /* or compilers make a memcpy() of it all */
		memcpy(d + i, &word, sizeof(word));
	}
	memcpy(d + n - sizeof(last), &last, sizeof(last));
}

/* Head and tail are parts of lines that neighbours have to do with: those stay in the cache. */
void far_copy(void *dst, const void *src, size_t n, size_t cached)
{
	const uint8_t *s = src;
	uint8_t *d = dst;
	size_t head = -(uintptr_t)d % FAR_LINE;

	if (n <= WORDS_MAX) {
		copy_words(d, s, n);
		return;
	}
	if (n < FAR_COPY_MIN || cached + head + FAR_LINE > n) {
		memcpy(d, s, n);
		return;
	}
	memcpy(d, s, head);
	for (d += head, s += head, n -= head; n >= cached + FAR_LINE; d += FAR_LINE, s += FAR_LINE, n -= FAR_LINE)
		for (unsigned int i = 0; i < FAR_LINE; i += sizeof(__m128i))
			_mm_stream_si128((__m128i *)(void *)(d + i),
				_mm_loadu_si128((const __m128i *)(const void *)(s + i)));
	memcpy(d, s, n);
	/* Such stores are ordered by nothing else: before whatever the caller stores to announce them. */
	_mm_sfence();
}

static bool can_forget(void)
{
	/* 0: not known yet. Whoever finds out finds the same. */
	static _Atomic int known;
	int k = atomic_load_explicit(&known, memory_order_relaxed);
	unsigned int a, b, c, d;

	if (!k) {
		k = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & CPUID_CLFLUSHOPT) ? 1 : -1;
		atomic_store_explicit(&known, k, memory_order_relaxed);
	}
	return k > 0;
}

void far_forget(const void *p, size_t n)
{
	uintptr_t at = (uintptr_t)p & ~(uintptr_t)(FAR_LINE - 1);
	uintptr_t end = ((uintptr_t)p + n) & ~(uintptr_t)(FAR_LINE - 1);

	if (at == end || !can_forget())
		return;
	for (; at != end; at += FAR_LINE)
		__asm__ volatile("clflushopt %0" : : "m"(*(const char *)at));
}
#else
void far_copy(void *dst, const void *src, size_t n, size_t cached)
{
	(void)cached;
	memcpy(dst, src, n);
}

void far_forget(const void *p, size_t n)
{
	(void)p;
	(void)n;
}
#endif
