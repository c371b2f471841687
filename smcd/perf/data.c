/* SPDX-License-Identifier: MIT */
#include "smcd/perf/data.h"

#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#include <emmintrin.h>
#endif

#define STEP  UINT64_C(0x9e3779b97f4a7c15) /* word number i is i * STEP */
#define LANES 4				   /* words at once */
#define AHEAD 2048u			   /* bytes: what is read in place comes from far away */

/*
 * In registers as wide as the processor has them: the time of filling and reading is part of every figure,
 * whichever transport it is of, and the shorter it is the more the figure says of the transport.
 */
typedef uint64_t words __attribute__((vector_size(LANES * sizeof(uint64_t))));

static inline __attribute__((always_inline)) void fill_words(uint8_t *p, size_t n, uint64_t word)
{
	static const uint64_t lanes[LANES] = { 0, STEP, 2 * STEP, 3 * STEP };
	words now;

	memcpy(&now, lanes, sizeof(now));
	for (now += word; n; n--, p += sizeof(now), now += LANES * STEP)
		memcpy(p, &now, sizeof(now));
}

static inline __attribute__((always_inline)) uint64_t add_words(const uint8_t *p, size_t n)
{
	const size_t ahead = AHEAD / sizeof(words);
	words sum = { 0 }, other = { 0 }, now;
	uint64_t sums[LANES];

	for (; n >= 2; n -= 2, p += 2 * sizeof(now)) {
		if (n > ahead)
			__builtin_prefetch(p + AHEAD);
		memcpy(&now, p, sizeof(now));
		sum += now;
		memcpy(&now, p + sizeof(now), sizeof(now));
		other += now;
	}
	if (n) {
		memcpy(&now, p, sizeof(now));
		sum += now;
	}
	sum += other;
	memcpy(sums, &sum, sizeof(sums));
	return sums[0] + sums[1] + sums[2] + sums[3];
}

#if defined(__x86_64__) && !defined(__CHECKER__)
__attribute__((target("avx2"))) static void fill_wide(uint8_t *p, size_t n, uint64_t word)
{
	fill_words(p, n, word);
}

__attribute__((target("avx2"))) static uint64_t add_wide(const uint8_t *p, size_t n)
{
	return add_words(p, n);
}

static bool can_wide(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define fill_wide fill_words
#define add_wide  add_words

static bool can_wide(void)
{
	return false;
}
#endif

void data_fill(void *buf, size_t len, uint64_t *next)
{
	uint64_t word = *next * STEP;
	size_t n = len / sizeof(words);
	uint8_t *p = buf;

	*next += (len + sizeof(word) - 1) / sizeof(word);
	if (can_wide())
		fill_wide(p, n, word);
	else
		fill_words(p, n, word);
	word += n * LANES * STEP;
	p += n * sizeof(words);
	for (len %= sizeof(words); len; word += STEP) {
		n = len < sizeof(word) ? len : sizeof(word);
		memcpy(p, &word, n);
		p += n;
		len -= n;
	}
}

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#define FAR_MIN 2048u /* below, a store that waits costs less than memory does the reader */

void data_fill_far(void *buf, size_t len, size_t cached, uint64_t *next)
{
	size_t far = (len - cached) / sizeof(__m128i);
	const uint64_t word = *next * STEP, second = word + STEP, both = 2 * STEP;
	const __m128i step = _mm_set1_epi64x((long long)both);
	__m128i now = _mm_set_epi64x((long long)second, (long long)word);
	__m128i *p = buf;

	if (len < FAR_MIN || !far || (uintptr_t)buf % sizeof(*p)) {
		data_fill(buf, len, next);
		return;
	}
	*next += far * 2;
	len -= far * sizeof(*p);
	for (; far; far--, now = _mm_add_epi64(now, step))
		_mm_stream_si128(p++, now);
	data_fill(p, len, next);
	_mm_sfence(); /* before anything says that they are there */
}
#else
void data_fill_far(void *buf, size_t len, size_t cached, uint64_t *next)
{
	(void)cached;
	data_fill(buf, len, next);
}
#endif

static uint64_t word_at(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

uint64_t data_read(const void *buf, size_t len)
{
	size_t n = len / sizeof(words);
	const uint8_t *p = buf;
	uint64_t sum = can_wide() ? add_wide(p, n) : add_words(p, n);
	uint64_t word = 0;

	p += n * sizeof(words);
	for (len %= sizeof(words); len >= sizeof(word); len -= sizeof(word), p += sizeof(word))
		sum += word_at(p);
	memcpy(&word, p, len);
	sum += word;
	__asm__ volatile("" : : "r"(sum)); /* or the compiler would leave it all out */
	return sum;
}
