/* SPDX-License-Identifier: MIT */
#include "ism/sba.h"

static uint64_t *word_at(const uint8_t *page, unsigned int k)
{
	return (uint64_t *)(uintptr_t)(page + ISM_SBA_SCAN + 8 * (uintptr_t)k);
}

/* The last word's low half is reserved and not ours to clear. In the device's byte order. */
static uint64_t observed(const uint8_t *page, unsigned int k)
{
	uint64_t raw = __atomic_load_n(word_at(page, k), __ATOMIC_RELAXED);

	if (k == ISM_SBA_WORDS - 1)
		raw &= htobe64(UINT64_C(0xffffffff00000000));
	return raw;
}

uint64_t ism_sba_take(uint8_t *page, unsigned int k)
{
	uint64_t raw = observed(page, k);

	if (!raw)
		return 0;
	/* Acquire: orders the bits before loads of mask and DMB data, which were written first. */
	__atomic_fetch_and(word_at(page, k), ~raw, __ATOMIC_ACQ_REL);
	return be64toh(raw);
}

uint16_t ism_sba_take_mask(uint8_t *page, uint32_t idx)
{
	uint16_t *mask = (uint16_t *)(void *)(page + ISM_SBA_MASKS + 2 * (uintptr_t)idx);

	return be16toh(__atomic_exchange_n(mask, (uint16_t)0, __ATOMIC_ACQ_REL));
}

void ism_sba_forget(uint8_t *page, uint32_t idx)
{
	uint8_t *byte = page + ISM_SBA_BITS + idx / 8;

	__atomic_fetch_and(byte, (uint8_t)~(0x80u >> idx % 8), __ATOMIC_ACQ_REL);
	ism_sba_take_mask(page, idx);
}

bool ism_sba_test(const uint8_t *page, uint32_t idx)
{
	const uint8_t *byte = page + ISM_SBA_BITS + idx / 8;

	return __atomic_load_n(byte, __ATOMIC_ACQUIRE) & 0x80u >> idx % 8;
}

bool ism_sba_any(const uint8_t *page)
{
	uint64_t any = 0;

	for (unsigned int k = 0; k < ISM_SBA_WORDS; k++)
		any |= observed(page, k);
	return any;
}
