/* SPDX-License-Identifier: MIT */
#include "smcd/perf/data.h"

#include <string.h>

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#include <emmintrin.h>
#endif

#define STEP  UINT64_C(0x9e3779b97f4a7c15) /* word number i is i * STEP */
#define LANES 4 /* words on their way at once, so that none waits for the one before it */

/* In scalars: a structure or array of them goes through the stack, at a tenth of the speed. */
void data_fill(void *buf, size_t len, uint64_t *next)
{
	uint64_t a = *next * STEP, b = a + STEP, c = b + STEP, d = c + STEP;
	uint8_t *p = buf;

	*next += (len + sizeof(a) - 1) / sizeof(a);
	for (; len >= LANES * sizeof(a); len -= LANES * sizeof(a), p += LANES * sizeof(a)) {
		memcpy(p, &a, sizeof(a));
		memcpy(p + sizeof(a), &b, sizeof(b));
		memcpy(p + 2 * sizeof(a), &c, sizeof(c));
		memcpy(p + 3 * sizeof(a), &d, sizeof(d));
		a += LANES * STEP;
		b += LANES * STEP;
		c += LANES * STEP;
		d += LANES * STEP;
	}
	for (; len; a += STEP) {
		size_t n = len < sizeof(a) ? len : sizeof(a);

		memcpy(p, &a, n);
		p += n;
		len -= n;
	}
}

#if defined(__x86_64__) && !defined(__CHECKER__) /* sparse does not know vectors */
#define FAR_MIN 2048u /* below, a store that waits costs less than memory does the reader */

void data_fill_far(void *buf, size_t len, uint64_t *next)
{
	uint64_t word = *next * STEP;
	__m128i *p = buf;

	if (len < FAR_MIN || (uintptr_t)buf % sizeof(*p)) {
		data_fill(buf, len, next);
		return;
	}
	*next += len / sizeof(*p) * 2;
	for (; len >= sizeof(*p); len -= sizeof(*p), word += 2 * STEP) {
		uint64_t second = word + STEP;

		_mm_stream_si128(p++, _mm_set_epi64x((long long)second, (long long)word));
	}
	_mm_sfence(); /* before anything says that they are there */
	data_fill(p, len, next);
}
#else
void data_fill_far(void *buf, size_t len, uint64_t *next)
{
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
	uint64_t a = 0, b = 0, c = 0, d = 0, word = 0;
	const uint8_t *p = buf;

	for (; len >= LANES * sizeof(a); len -= LANES * sizeof(a), p += LANES * sizeof(a)) {
		a += word_at(p);
		b += word_at(p + sizeof(a));
		c += word_at(p + 2 * sizeof(a));
		d += word_at(p + 3 * sizeof(a));
	}
	for (; len >= sizeof(a); len -= sizeof(a), p += sizeof(a))
		a += word_at(p);
	memcpy(&word, p, len);
	word += a + b + c + d;
	__asm__ volatile("" : : "r"(word)); /* or the compiler would leave it all out */
	return word;
}
