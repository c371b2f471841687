/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "smcd/proto/cdc.h"
#include "vfio/base/endian.h"

#define CHID_SOFTWARE 0xff00u /* first software-defined CHID */

/* Offsets inside either 8-byte word. */
#define WORD_WRAP	0
#define WORD_COUNT	2
#define WORD_PROD_FLAGS 6
#define WORD_CONN_FLAGS 7

enum cdc_order cdc_order_of_chid(uint16_t chid)
{
	if (chid < CHID_SOFTWARE)
		return CDC_BIG;
	return __BYTE_ORDER == __BIG_ENDIAN ? CDC_BIG : CDC_LITTLE;
}

static void put_cursor(uint8_t *word, struct smc_cursor c, enum cdc_order order)
{
	uint16_t wrap = order == CDC_BIG ? htobe16(c.wrap) : htole16(c.wrap);
	uint32_t count = order == CDC_BIG ? htobe32(c.count) : htole32(c.count);

	memcpy(word + WORD_WRAP, &wrap, sizeof(wrap));
	memcpy(word + WORD_COUNT, &count, sizeof(count));
}

static struct smc_cursor get_cursor(const uint8_t *word, enum cdc_order order)
{
	uint16_t wrap;
	uint32_t count;

	memcpy(&wrap, word + WORD_WRAP, sizeof(wrap));
	memcpy(&count, word + WORD_COUNT, sizeof(count));
	return (struct smc_cursor){
		.wrap = order == CDC_BIG ? be16toh(wrap) : le16toh(wrap),
		.count = order == CDC_BIG ? be32toh(count) : le32toh(count),
	};
}

void cdc_encode(uint8_t out[CDC_SIZE], const struct cdc_msg *msg, enum cdc_order order)
{
	memset(out, 0, CDC_SIZE);
	out[0] = CDC_MSG_TYPE;
	put_cursor(out + CDC_PROD_WORD, msg->prod, order);
	put_cursor(out + CDC_CONS_WORD, msg->cons, order);
	out[CDC_CONS_WORD + WORD_PROD_FLAGS] = msg->prod_flags;
	out[CDC_CONS_WORD + WORD_CONN_FLAGS] = msg->conn_flags;
}

/* One aligned 8-byte store. Release: what was stored before is seen before. */
static void store_word(void *dmb, size_t offset, const uint8_t bytes[8])
{
	uint64_t *word = (void *)((uint8_t *)dmb + offset);
	uint64_t v;

	memcpy(&v, bytes, sizeof(v));
	__atomic_store_n(word, v, __ATOMIC_RELEASE);
}

void cdc_store(void *dmb, const struct cdc_msg *msg, enum cdc_order order)
{
	uint8_t bytes[CDC_SIZE];

	cdc_encode(bytes, msg, order);
	store_word(dmb, 0, bytes);
	store_word(dmb, CDC_PROD_WORD, bytes + CDC_PROD_WORD);
	store_word(dmb, CDC_CONS_WORD, bytes + CDC_CONS_WORD);
}

/*
 * One aligned 8-byte load, so that a cursor is never put together from two writes of the peer.
 * Acquire: what the peer wrote before this word (the other word, the payload) is read after it.
 */
static void load_word(const void *dmb, size_t offset, uint8_t bytes[8])
{
	const uint64_t *word = (const void *)((const uint8_t *)dmb + offset);
	uint64_t v = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	memcpy(bytes, &v, sizeof(v));
}

struct cdc_cons_word cdc_load_cons(const void *dmb, enum cdc_order order)
{
	uint8_t word[8];

	load_word(dmb, CDC_CONS_WORD, word);
	return (struct cdc_cons_word){
		.cons = get_cursor(word, order),
		.prod_flags = word[WORD_PROD_FLAGS],
		.conn_flags = word[WORD_CONN_FLAGS],
	};
}

struct smc_cursor cdc_load_prod(const void *dmb, enum cdc_order order)
{
	uint8_t word[8];

	load_word(dmb, CDC_PROD_WORD, word);
	return get_cursor(word, order);
}

void cdc_load(const void *dmb, enum cdc_order order, struct cdc_msg *msg)
{
	struct cdc_cons_word cons = cdc_load_cons(dmb, order);

	msg->cons = cons.cons;
	msg->prod_flags = cons.prod_flags;
	msg->conn_flags = cons.conn_flags;
	/* After the consumer word: a close flag seen there has its last byte in this one. */
	msg->prod = cdc_load_prod(dmb, order);
}

void cdc_take_urgent(void *dmb)
{
	uint8_t *flags = (uint8_t *)dmb + CDC_CONS_WORD + WORD_PROD_FLAGS;

	/* Atomic: the device may be storing the word that the flags are in. */
	__atomic_fetch_and(flags, (uint8_t)~(CDC_URG_PRESENT | CDC_URG_PENDING), __ATOMIC_RELEASE);
}

bool cdc_update_due(uint32_t n, uint64_t rx_total, uint64_t rx_pos, uint64_t rx_told,
	uint8_t prod_flags)
{
	uint64_t limit = n / 10 > 2304 ? n / 10 : 2304;
	uint64_t seen_free = n - (rx_total - rx_told); /* what the writer believes to be free */

	if (prod_flags & CDC_CONS_REQUEST)
		return rx_pos != rx_told;
	return rx_pos - rx_told > limit &&
	       (seen_free <= n / 2 || (prod_flags & CDC_WRITER_BLOCKED));
}
