/* SPDX-License-Identifier: MIT */
/*
 * endian.h - big-endian field types that sparse checks
 *
 * Everything an ISM function reads or writes (commands, SBA, IEQ) is big-endian on every host. Such
 * a field is declared be16_t/be32_t/be64_t and can only be reached through the conversions below;
 * sparse reports any other use. Fixed-order loads and stores on byte buffers serve wire formats
 * whose fields are unaligned (CLC, CDC).
 */
#ifndef SMCDU_BASE_ENDIAN_H
#define SMCDU_BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#ifdef __CHECKER__
#define BASE_BITWISE __attribute__((bitwise))
#define BASE_FORCE   __attribute__((force))
#else
#define BASE_BITWISE
#define BASE_FORCE
#endif

typedef uint16_t BASE_BITWISE be16_t;
typedef uint32_t BASE_BITWISE be32_t;
typedef uint64_t BASE_BITWISE be64_t;

static inline be16_t be16_of(uint16_t v) { return (BASE_FORCE be16_t)htobe16(v); }
static inline be32_t be32_of(uint32_t v) { return (BASE_FORCE be32_t)htobe32(v); }
static inline be64_t be64_of(uint64_t v) { return (BASE_FORCE be64_t)htobe64(v); }
static inline uint16_t be16_get(be16_t v) { return be16toh((BASE_FORCE uint16_t)v); }
static inline uint32_t be32_get(be32_t v) { return be32toh((BASE_FORCE uint32_t)v); }
static inline uint64_t be64_get(be64_t v) { return be64toh((BASE_FORCE uint64_t)v); }

/* Unaligned loads and stores of big-endian integers in a byte buffer. */
static inline uint16_t load_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t load_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t load_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void store_be16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void store_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void store_be64(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

#endif
