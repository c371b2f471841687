/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what all fuzz targets have in common
 *
 * A target is one function, LLVMFuzzerTestOneInput(): libFuzzer calls it with inputs that it invents
 * (scripts/fuzz), and the ordinary test suite with those of its corpus (main.c). It leaves nothing
 * behind, so that each input can be run again by itself. A broken promise is abort(), also with
 * NDEBUG.
 *
 * Stateful targets read an input as a program: a byte says what to do, what follows is taken as
 * its operands. An input that has ended gives zeros, so every prefix is an input, too.
 */
#ifndef SMCDU_TESTS_FUZZ_H
#define SMCDU_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(promise)                                                                     \
	do {                                                                               \
		if (!(promise)) {                                                          \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #promise); \
			abort();                                                           \
		}                                                                          \
	} while (0)

struct input {
	const uint8_t *p;
	size_t left;
};

static inline void in_bytes(struct input *in, void *out, size_t len)
{
	size_t n = len < in->left ? len : in->left;

	memset(out, 0, len);
	if (n)
		memcpy(out, in->p, n);
	in->p += n;
	in->left -= n;
}

static inline uint8_t in8(struct input *in)
{
	uint8_t v;

	in_bytes(in, &v, sizeof(v));
	return v;
}

/* Little-endian on every host, so that a corpus means the same everywhere. */
static inline uint64_t in_le(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;
	unsigned int i;

	for (i = 0; i < bytes; i++)
		v |= (uint64_t)in8(in) << (8 * i);
	return v;
}

static inline uint16_t in16(struct input *in)
{
	return (uint16_t)in_le(in, 2);
}

static inline uint32_t in32(struct input *in)
{
	return (uint32_t)in_le(in, 4);
}

static inline uint64_t in64(struct input *in)
{
	return in_le(in, 8);
}

/* Up to @max bytes of the input, as memory of just that size: to be freed. */
static inline uint8_t *in_block(struct input *in, size_t max, size_t *len)
{
	size_t n = max < in->left ? max : in->left;
	uint8_t *p = malloc(n ? n : 1);

	CHECK(p);
	in_bytes(in, p, n);
	*len = n;
	return p;
}

#endif
