/* SPDX-License-Identifier: MIT */
/*
 * copy.h - how a move arrives in a DMB, whoever executes it
 *
 * Control data (SMC's CDC block is 32 bytes) is read while it changes: a reader loads its 8-byte
 * words one by one, and one that acquires a later word must find the earlier ones as new or newer.
 * So small moves go word by word, each a single release store; on x86 and s390x these are plain
 * stores. Bulk data is only looked at after a control word or an SBA bit that is stored (with
 * release) behind it, so any memcpy will do there, and is several times faster.
 */
#ifndef SMCDU_ISM_COPY_H
#define SMCDU_ISM_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ISM_COPY_WORDWISE 64u

/*
 * Up to ISM_COPY_WORDWISE bytes, every naturally aligned 8-byte word of @dst arrives by one store, in
 * ascending order.
 */
static inline void ism_copy(uint8_t *dst, const uint8_t *src, size_t len)
{
	uint64_t word;

	if (len > ISM_COPY_WORDWISE) {
		memcpy(dst, src, len);
		return;
	}
	while (len && (uintptr_t)dst % sizeof(word)) {
		__atomic_store_n(dst++, *src++, __ATOMIC_RELEASE);
		len--;
	}
	while (len >= sizeof(word)) {
		memcpy(&word, src, sizeof(word));
		__atomic_store_n((uint64_t *)(void *)dst, word, __ATOMIC_RELEASE);
		dst += sizeof(word);
		src += sizeof(word);
		len -= sizeof(word);
	}
	while (len--)
		__atomic_store_n(dst++, *src++, __ATOMIC_RELEASE);
}

#endif
