/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "smcd/proto/cdc.h"
#include "vfio/base/endian.h"

#define CHID_SOFTWARE 0xff00u /* first software-defined CHID */

enum cdc_order cdc_order_of_chid(uint16_t chid)
{
	if (chid < CHID_SOFTWARE)
		return CDC_BIG;
	return __BYTE_ORDER == __BIG_ENDIAN ? CDC_BIG : CDC_LITTLE;
}

void cdc_encode(uint8_t out[CDC_SIZE], const struct cdc_msg *msg, enum cdc_order order)
{
	uint64_t prod = cdc_pack(msg->prod, 0, 0, order);
	uint64_t cons = cdc_pack(msg->cons, msg->prod_flags, msg->conn_flags, order);

	memset(out, 0, CDC_SIZE);
	out[0] = CDC_MSG_TYPE;
	memcpy(out + CDC_PROD_WORD, &prod, sizeof(prod));
	memcpy(out + CDC_CONS_WORD, &cons, sizeof(cons));
}

void cdc_store_type(void *dmb)
{
	static const uint8_t type[8] = { CDC_MSG_TYPE };
	uint64_t word;

	memcpy(&word, type, sizeof(word));
	cdc_store_word(dmb, 0, word);
}

void cdc_store_cons(void *dmb, const struct cdc_msg *msg, enum cdc_order order)
{
	cdc_store_word(dmb, CDC_CONS_WORD,
		cdc_pack(msg->cons, msg->prod_flags, msg->conn_flags, order));
}

void cdc_store(void *dmb, const struct cdc_msg *msg, enum cdc_order order)
{
	cdc_store_type(dmb);
	cdc_store_prod(dmb, msg->prod, order);
	cdc_store_cons(dmb, msg, order);
}

void cdc_store_words(void *dmb, const uint8_t words[16])
{
	uint64_t word[2];

	memcpy(word, words, sizeof(word));
	cdc_store_word(dmb, CDC_PROD_WORD, word[0]);
	cdc_store_word(dmb, CDC_CONS_WORD, word[1]);
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
	uint8_t *flags = (uint8_t *)dmb + CDC_PROD_FLAGS;

	/* Atomic: the device may be storing the word that the flags are in. */
	__atomic_fetch_and(flags, (uint8_t)~(CDC_URG_PRESENT | CDC_URG_PENDING), __ATOMIC_RELEASE);
}
