/* SPDX-License-Identifier: MIT */
#include "smcd/perf/data.h"

#include <string.h>

#define STEP UINT64_C(0x9e3779b97f4a7c15)

/* Four words at once, so that no word waits for the one before it. */
struct lanes {
	uint64_t a, b, c, d;
};

/* Word number i is i * STEP: the next four are those before, each 4 * STEP further. */
void data_fill(void *buf, size_t len, uint64_t *next)
{
	uint64_t word = *next * STEP;
	struct lanes v = { word, word + STEP, word + 2 * STEP, word + 3 * STEP };
	uint8_t *p = buf;

	*next += (len + sizeof(word) - 1) / sizeof(word);
	for (; len >= sizeof(v); len -= sizeof(v), p += sizeof(v)) {
		memcpy(p, &v, sizeof(v));
		v.a += 4 * STEP;
		v.b += 4 * STEP;
		v.c += 4 * STEP;
		v.d += 4 * STEP;
	}
	for (word = v.a; len; word += STEP) {
		size_t n = len < sizeof(word) ? len : sizeof(word);

		memcpy(p, &word, n);
		p += n;
		len -= n;
	}
}

#ifdef __x86_64__
#define FAR_MIN 2048u /* below, a store that waits costs less than memory does the reader */

void data_fill_far(void *buf, size_t len, uint64_t *next)
{
	uint64_t word = *next * STEP, *p = buf;

	if (len < FAR_MIN || (uintptr_t)buf % sizeof(word)) {
		data_fill(buf, len, next);
		return;
	}
	*next += len / sizeof(word);
	for (; len >= sizeof(word); len -= sizeof(word), word += STEP)
		__asm__ volatile("movnti %1, %0" : "=m"(*p++) : "r"(word));
	__asm__ volatile("sfence" : : : "memory"); /* before anything says that they are there */
	data_fill(p, len, next);
}
#else
void data_fill_far(void *buf, size_t len, uint64_t *next)
{
	data_fill(buf, len, next);
}
#endif

uint64_t data_read(const void *buf, size_t len)
{
	struct lanes sum = { 0 }, v;
	const uint8_t *p = buf;
	uint64_t word;

	for (; len >= sizeof(v); len -= sizeof(v), p += sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		sum.a += v.a;
		sum.b += v.b;
		sum.c += v.c;
		sum.d += v.d;
	}
	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		sum.a += word;
	}
	word = 0;
	memcpy(&word, p, len);
	word += sum.a + sum.b + sum.c + sum.d;
	__asm__ volatile("" : : "r"(word)); /* or the compiler would leave it all out */
	return word;
}
