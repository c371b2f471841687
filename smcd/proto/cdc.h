/* SPDX-License-Identifier: MIT */
/*
 * cdc.h - the CDC block: 32 bytes at the start of a DMB
 *
 * The block in *my* DMB describes the *peer*: how far it has written into my ring (prod), how far
 * it has read of its own, which I fill (cons), and its flags. It is a state slot that is
 * overwritten, not a queue: only cursors and the sticky flags are reliable.
 *
 * Two aligned 8-byte words are the atomic units: the producer word at 8, the consumer word with
 * both flag bytes at 16. A reader loads the consumer word first (acquire), then the producer word,
 * so that a close flag never overtakes the data before it. Integers are in the byte order of the
 * fabric, a property of who the peers are and not of this host.
 *
 * Everything here comes from a peer and is hostile until cursor_advance() accepted it.
 */
#ifndef SMCDU_PROTO_CDC_H
#define SMCDU_PROTO_CDC_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/proto/cursor.h"
#include "vfio/base/endian.h"

#define CDC_SIZE	 32u
#define CDC_MSG_TYPE	 0xFEu
#define CDC_PROD_WORD	 8u
#define CDC_CONS_WORD	 16u
#define CDC_PROD_FLAGS	 22u

/* Producer flags, byte 22. */
#define CDC_WRITER_BLOCKED 0x80u /* B: the ring was full when this was written */
#define CDC_URG_PENDING	   0x40u /* P: an urgent byte is on its way */
#define CDC_URG_PRESENT	   0x20u /* U: the last byte before the producer cursor is urgent */
#define CDC_CONS_REQUEST   0x10u /* R: wants to be told of whatever is consumed */

/* Connection state flags, byte 23; all sticky. */
#define CDC_SENDING_DONE   0x80u /* D: half closed */
#define CDC_CONN_CLOSED	   0x40u /* C */
#define CDC_ABNORMAL	   0x20u /* A: abort */
/*
 * Ours, in a bit that SMC-D leaves unused, and only where an application writes the block itself
 * (attached): these are its words, and the block of its daemon is still to come.
 */
#define CDC_BY_APPLICATION 0x10u

enum cdc_order {
	CDC_LITTLE = 0,
	CDC_BIG = 1,
};

/* Native ISM (CHID below 0xFF00) is big-endian; software-defined CHIDs are in host order. */
enum cdc_order cdc_order_of_chid(uint16_t chid);

struct cdc_msg {
	struct smc_cursor prod;
	struct smc_cursor cons;
	uint8_t prod_flags;
	uint8_t conn_flags;
};

/* What the consumer word says. */
struct cdc_cons_word {
	struct smc_cursor cons;
	uint8_t prod_flags;
	uint8_t conn_flags;
};

/*
 * A word in a register: wrap, count, producer flags, connection flags, first to last byte in memory.
 * Only cursors have a byte order, so it is not the same in both.
 */
static inline uint64_t cdc_pack(struct smc_cursor c, uint8_t prod_flags, uint8_t conn_flags,
	enum cdc_order order)
{
	if (order == CDC_BIG)
		return htobe64((uint64_t)c.wrap << 48 | (uint64_t)c.count << 16 |
			(uint64_t)prod_flags << 8 | conn_flags);
	return htole64((uint64_t)conn_flags << 56 | (uint64_t)prod_flags << 48 |
		(uint64_t)c.count << 16 | c.wrap);
}

static inline struct cdc_cons_word cdc_unpack(uint64_t word, enum cdc_order order)
{
	uint64_t v = order == CDC_BIG ? be64toh(word) : le64toh(word);

	if (order == CDC_BIG)
		return (struct cdc_cons_word){ { (uint16_t)(v >> 48), (uint32_t)(v >> 16) },
			(uint8_t)(v >> 8), (uint8_t)v };
	return (struct cdc_cons_word){ { (uint16_t)v, (uint32_t)(v >> 16) }, (uint8_t)(v >> 48),
		(uint8_t)(v >> 56) };
}

/* One aligned 8-byte store. Release: what was stored before is seen before. */
static inline void cdc_store_word(void *dmb, uint32_t offset, uint64_t word)
{
	__atomic_store_n((uint64_t *)(void *)((uint8_t *)dmb + offset), word, __ATOMIC_RELEASE);
}

void cdc_encode(uint8_t out[CDC_SIZE], const struct cdc_msg *msg, enum cdc_order order);

/*
 * Stores the two words of a CDC into shared memory, producer word first: whoever sees the consumer
 * word sees the producer word and the payload stored before. Two callers must not run at once.
 */
void cdc_store(void *dmb, const struct cdc_msg *msg, enum cdc_order order);

/*
 * One of the two words (CDC_PROD_WORD, CDC_CONS_WORD), uninterpreted: for whoever looks often. One
 * aligned 8-byte load, so that a cursor is never put together from two writes of the peer. Acquire:
 * what the peer wrote before this word (the other word, the payload) is read after it.
 */
static inline uint64_t cdc_peek(const void *dmb, uint32_t word)
{
	return __atomic_load_n((const uint64_t *)(const void *)((const uint8_t *)dmb + word),
		__ATOMIC_ACQUIRE);
}

/* The flags in a consumer word so loaded: bytes 22 and 23, wherever this host has them. */
#define CDC_FLAGS_MASK (__BYTE_ORDER == __BIG_ENDIAN ? UINT64_C(0xffff) : UINT64_C(0xffff) << 48)

/*
 * Store one word. All three are cdc_store(), in that order. Each is a release, and each needs one
 * caller at a time.
 */
void cdc_store_type(void *dmb);
static inline void cdc_store_prod(void *dmb, struct smc_cursor prod, enum cdc_order order)
{
	cdc_store_word(dmb, CDC_PROD_WORD, cdc_pack(prod, 0, 0, order));
}
void cdc_store_cons(void *dmb, const struct cdc_msg *msg, enum cdc_order order);

static inline struct cdc_cons_word cdc_load_cons(const void *dmb, enum cdc_order order)
{
	return cdc_unpack(cdc_peek(dmb, CDC_CONS_WORD), order);
}

static inline struct smc_cursor cdc_load_prod(const void *dmb, enum cdc_order order)
{
	return cdc_unpack(cdc_peek(dmb, CDC_PROD_WORD), order).cons;
}

/* The two words, ready-made, one after the other in @words, which may lie anywhere. */
void cdc_store_words(void *dmb, const uint8_t words[16]);

/* Both words, consumer word first. */
void cdc_load(const void *dmb, enum cdc_order order, struct cdc_msg *msg);

/*
 * Takes the U flag (and P, which comes with it) out of the block in our own DMB, once it was taken
 * note of. It would stand there until the peer's next CDC, whose producer cursor becomes visible
 * first: whoever looks in between would take an ordinary byte for an urgent one. The peer sends
 * nothing behind an urgent byte before it was told that the byte is consumed, so this must come
 * before that is told. Release: whoever finds the flag gone finds what was noted.
 */
void cdc_take_urgent(void *dmb);

/*
 * Whether a reader that has consumed up to @rx_pos must tell the writer, having last told it
 * @rx_told, in a ring of @n bytes into which @rx_total bytes have arrived; @prod_flags are the
 * writer's. The kernel's rule (SMC-D 5.6): anything untold if the writer asked for it (R); else more
 * than max(n/10, 2304) untold bytes, and at most half the ring free as the writer knows it or the
 * writer blocked (B). @rx_told may be older than what was told last: the answer is then yes too often.
 */
static inline bool cdc_update_due(uint32_t n, uint64_t rx_total, uint64_t rx_pos, uint64_t rx_told,
	uint8_t prod_flags)
{
	uint64_t limit = n / 10 > 2304 ? n / 10 : 2304;
	/* What the writer believes to be free; it cannot be less if the caller knows what it was told. */
	uint64_t seen_free = rx_total - rx_told < n ? n - (rx_total - rx_told) : 0;

	if (prod_flags & CDC_CONS_REQUEST)
		return rx_pos != rx_told;
	return rx_pos - rx_told > limit &&
	       (seen_free <= n / 2 || (prod_flags & CDC_WRITER_BLOCKED));
}

#endif
