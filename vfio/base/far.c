/* SPDX-License-Identifier: MIT */
#include "vfio/base/far.h"

#include <string.h>

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#define AHEAD		 2048u /* fetched before it is copied: what comes in the time of a few lines */
#define ROOM		 ((size_t)1 << 20) /* where nobody says how large a processor's own cache is */
#define WORDS_MAX	 256u
#define LINES_MIN	 8192u /* below, what was just written is still on its way to the cache, in other pieces */
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

#define LINES __attribute__((target("avx512f,avx512vbmi")))

/*
 * memcpy() that loads and stores whole lines, each once, also where the two lie differently in theirs: a load across
 * the border of two lines costs as much as two. @n is at least LINES_MIN; so far @ahead is fetched, 0: not at all.
 */
LINES static inline __attribute__((always_inline)) void copy_lines(uint8_t *d, const uint8_t *s, size_t n, size_t ahead)
{
	/* Up to a border of @d, and so far that the line of @s around that place is one of ours. */
	size_t head = -(uintptr_t)d % FAR_LINE + FAR_LINE, off;
	uint8_t places[FAR_LINE];
	__m512i pick, line, next;

	memcpy(d, s, head);
	d += head;
	s += head;
	n -= head;
	off = (uintptr_t)s % FAR_LINE;
	for (unsigned int i = 0; i < FAR_LINE; i++)
		places[i] = (uint8_t)(off + i);
	pick = _mm512_loadu_si512(places);
	line = _mm512_load_si512(s - off);
	for (; n >= 2 * FAR_LINE; d += FAR_LINE, s += FAR_LINE, n -= FAR_LINE) {
		if (ahead && n > ahead)
			__builtin_prefetch(s + ahead);
		next = _mm512_load_si512(s - off + FAR_LINE);
		_mm512_store_si512(d, _mm512_permutex2var_epi8(line, pick, next));
		line = next;
	}
	memcpy(d, s, n);
}

LINES static void copy_lines_here(uint8_t *d, const uint8_t *s, size_t n)
{
	copy_lines(d, s, n, 0);
}

LINES static void copy_lines_ahead(uint8_t *d, const uint8_t *s, size_t n)
{
	copy_lines(d, s, n, AHEAD);
}

static bool by_lines(size_t n)
{
	return n >= LINES_MIN && __builtin_cpu_supports("avx512vbmi");
}

static void copy_through(uint8_t *d, const uint8_t *s, size_t n)
{
	if (by_lines(n))
		copy_lines_here(d, s, n);
	else
		memcpy(d, s, n);
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
		copy_through(d, s, n);
		return;
	}
	memcpy(d, s, head);
	for (d += head, s += head, n -= head; n >= cached + FAR_LINE; d += FAR_LINE, s += FAR_LINE, n -= FAR_LINE)
		for (unsigned int i = 0; i < FAR_LINE; i += sizeof(__m128i))
			_mm_stream_si128((__m128i *)(void *)(d + i),
				_mm_loadu_si128((const __m128i *)(const void *)(s + i)));
	copy_through(d, s, n);
	/* Such stores are ordered by nothing else: before whatever the caller stores to announce them. */
	_mm_sfence();
}

void far_fetch(void *dst, const void *src, size_t n)
{
	const uint8_t *s = src;
	uint8_t *d = dst;

	if (by_lines(n)) {
		copy_lines_ahead(d, s, n);
		return;
	}
	/* As far as there is something to fetch: the lines behind it are being written. */
	for (; n > AHEAD; d += FAR_LINE, s += FAR_LINE, n -= FAR_LINE) {
		__builtin_prefetch(s + AHEAD);
		for (unsigned int i = 0; i < FAR_LINE; i += sizeof(__m128i))
			_mm_storeu_si128((__m128i *)(void *)(d + i),
				_mm_loadu_si128((const __m128i *)(const void *)(s + i)));
	}
	memcpy(d, s, n);
}

/* Memory for far_make_room(), each page a page of its own; NULL without. */
static const uint8_t *room(size_t *size)
{
	static _Atomic(const uint8_t *) made;
	static _Atomic size_t made_size;
	const uint8_t *now = atomic_load_explicit(&made, memory_order_acquire), *none = NULL;
	long own;
	void *p;

	*size = atomic_load_explicit(&made_size, memory_order_relaxed);
	if (now)
		return now;
	own = sysconf(_SC_LEVEL2_CACHE_SIZE);
	*size = own <= 0 ? ROOM : (size_t)own < FAR_ROOM_MAX ? (size_t)own & ~(size_t)(FAR_LINE - 1) : FAR_ROOM_MAX;
	p = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	/* Every thread makes it as large. */
	atomic_store_explicit(&made_size, *size, memory_order_relaxed);
	if (atomic_compare_exchange_strong(&made, &none, p))
		return p;
	munmap(p, *size);
	return none;
}

void far_make_room(size_t n, size_t *turn)
{
	size_t size, at = *turn;
	const uint8_t *r = room(&size);

	if (!r)
		return;
	for (size_t i = 0; i < n; i += FAR_LINE) {
		at = at < size ? at : 0;
		(void)*(const volatile uint8_t *)(r + at);
		at += FAR_LINE;
	}
	*turn = at;
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

void far_fetch(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
}

void far_make_room(size_t n, size_t *turn)
{
	(void)n;
	(void)turn;
}

void far_forget(const void *p, size_t n)
{
	(void)p;
	(void)n;
}
#endif
