/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "smcd/proto/clc.h"
#include "smcd/proto/rdv.h"
#include "vfio/base/endian.h"

#define HELLO_LEN (RDV_NAME_LEN + 4)
#define RESET_LEN 4
#define CDC_LEN sizeof(((struct rdv_record *)0)->words)

_Static_assert(RDV_HDR_LEN + RDV_NAME_LEN + CLC_MAX_LEN <= RDV_MAX_LEN, "largest record fits");

static bool name_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '.' || c == '_' || c == '-';
}

bool rdv_name_ok(const char *name)
{
	size_t n;

	for (n = 0; n < RDV_NAME_LEN && name[n]; n++) {
		if (!name_char(name[n]))
			return false;
	}
	return n > 0 && n < RDV_NAME_LEN;
}

/* A name as it stands in a record: valid, and nothing hidden behind its end. */
static bool name_field_ok(const uint8_t *field)
{
	static const uint8_t zeros[RDV_NAME_LEN];
	const char *name = (const char *)field;
	size_t len;

	if (!rdv_name_ok(name))
		return false;
	len = strlen(name);
	return memcmp(field + len, zeros, RDV_NAME_LEN - len) == 0;
}

/* Which handles and ports go with which CLC message (see the table in rdv.h). */
static bool clc_header_ok(const struct rdv_record *rec, enum clc_type type)
{
	if (rec->src_conn == 0)
		return false;
	switch (type) {
	case CLC_PROPOSAL:
		return rec->dst_conn == 0;
	case CLC_ACCEPT:
	case CLC_CONFIRM:
		return rec->dst_conn != 0 && rec->port == 0;
	case CLC_DECLINE:
		return rec->port == 0;
	}
	return false;
}

/* Whole message of @rec with a type that fits the rest of the header. */
static bool clc_ok(const struct rdv_record *rec, enum clc_type *type)
{
	size_t whole;

	return clc_peek(rec->clc, rec->clc_len, type, &whole) == 0 && whole == rec->clc_len &&
		clc_header_ok(rec, *type);
}

static void put_name(uint8_t *field, const char *name)
{
	size_t len = strnlen(name, RDV_NAME_LEN);

	memcpy(field, name, len);
	memset(field + len, 0, RDV_NAME_LEN - len);
}

static ssize_t encode_hello(uint8_t *payload, const struct rdv_record *rec)
{
	if (!rdv_name_ok(rec->name))
		return -EINVAL;
	put_name(payload, rec->name);
	store_be16(payload + RDV_NAME_LEN, rec->version);
	store_be16(payload + RDV_NAME_LEN + 2, rec->flags);
	return HELLO_LEN;
}

static ssize_t encode_clc(uint8_t *payload, const struct rdv_record *rec)
{
	enum clc_type type;
	size_t len = 0;

	if (!clc_ok(rec, &type))
		return -EINVAL;
	if (type == CLC_PROPOSAL) {
		if (!rdv_name_ok(rec->name))
			return -EINVAL;
		put_name(payload, rec->name);
		len = RDV_NAME_LEN;
	}
	memcpy(payload + len, rec->clc, rec->clc_len);
	return (ssize_t)(len + rec->clc_len);
}

static ssize_t encode_reset(uint8_t *payload, const struct rdv_record *rec)
{
	if (rec->dst_conn == 0)
		return -EINVAL;
	store_be32(payload, rec->diag);
	return RESET_LEN;
}

static ssize_t encode_cdc(uint8_t *payload, const struct rdv_record *rec)
{
	if (rec->src_conn == 0 || rec->dst_conn == 0)
		return -EINVAL;
	memcpy(payload, rec->words, CDC_LEN);
	return CDC_LEN;
}

static ssize_t encode_payload(uint8_t *payload, const struct rdv_record *rec)
{
	switch (rec->type) {
	case RDV_HELLO:
		return encode_hello(payload, rec);
	case RDV_CLC:
		return encode_clc(payload, rec);
	case RDV_RESET:
		return encode_reset(payload, rec);
	case RDV_CDC:
		return encode_cdc(payload, rec);
	case RDV_PING:
	case RDV_PONG:
		return 0;
	}
	return -EINVAL;
}

ssize_t rdv_encode(uint8_t out[RDV_MAX_LEN], const struct rdv_record *rec)
{
	bool of_conn = rec->type == RDV_CLC || rec->type == RDV_RESET || rec->type == RDV_CDC;
	ssize_t len = encode_payload(out + RDV_HDR_LEN, rec);

	if (len < 0)
		return len;
	len += RDV_HDR_LEN;
	store_be32(out, RDV_MAGIC);
	store_be16(out + 4, (uint16_t)rec->type);
	store_be16(out + 6, (uint16_t)len);
	store_be32(out + 8, of_conn ? rec->src_conn : 0);
	store_be32(out + 12, of_conn ? rec->dst_conn : 0);
	store_be16(out + 16, rec->type == RDV_CLC ? rec->port : 0);
	store_be16(out + 18, 0);
	return len;
}

static int decode_hello(const uint8_t *payload, size_t len, struct rdv_record *rec)
{
	if (len != HELLO_LEN || !name_field_ok(payload))
		return -EPROTO;
	memcpy(rec->name, payload, RDV_NAME_LEN);
	rec->version = load_be16(payload + RDV_NAME_LEN);
	rec->flags = load_be16(payload + RDV_NAME_LEN + 2);
	return 0;
}

static int decode_clc(const uint8_t *payload, size_t len, struct rdv_record *rec)
{
	enum clc_type type;
	bool named;

	/*
	 * A CLC message begins with a byte that cannot begin a name, so the two cannot be mixed up.
	 */
	named = len > RDV_NAME_LEN && name_field_ok(payload);
	if (named) {
		memcpy(rec->name, payload, RDV_NAME_LEN);
		payload += RDV_NAME_LEN;
		len -= RDV_NAME_LEN;
	}
	rec->clc = payload;
	rec->clc_len = len;
	if (!clc_ok(rec, &type) || named != (type == CLC_PROPOSAL))
		return -EPROTO;
	return 0;
}

static int decode_payload(const uint8_t *payload, size_t len, struct rdv_record *rec)
{
	bool no_conn = rec->src_conn == 0 && rec->dst_conn == 0 && rec->port == 0;

	switch (rec->type) {
	case RDV_HELLO:
		return no_conn ? decode_hello(payload, len, rec) : -EPROTO;
	case RDV_CLC:
		return decode_clc(payload, len, rec);
	case RDV_RESET:
		if (len != RESET_LEN || rec->dst_conn == 0 || rec->port != 0)
			return -EPROTO;
		rec->diag = load_be32(payload);
		return 0;
	case RDV_CDC:
		if (len != CDC_LEN || rec->src_conn == 0 || rec->dst_conn == 0 || rec->port != 0)
			return -EPROTO;
		memcpy(rec->words, payload, CDC_LEN);
		return 0;
	case RDV_PING:
	case RDV_PONG:
		return no_conn && len == 0 ? 0 : -EPROTO;
	}
	return -EPROTO;
}

/* The whole record's length from its header, or -EPROTO. */
static ssize_t header_len(const uint8_t *buf)
{
	size_t len = load_be16(buf + 6);

	if (load_be32(buf) != RDV_MAGIC || load_be16(buf + 18) != 0)
		return -EPROTO;
	if (len < RDV_HDR_LEN || len > RDV_MAX_LEN)
		return -EPROTO;
	return (ssize_t)len;
}

static int decode_record(const uint8_t *buf, size_t len, struct rdv_record *ret)
{
	struct rdv_record rec = {
		.type = (enum rdv_type)load_be16(buf + 4),
		.src_conn = load_be32(buf + 8),
		.dst_conn = load_be32(buf + 12),
		.port = load_be16(buf + 16),
	};
	int r = decode_payload(buf + RDV_HDR_LEN, len - RDV_HDR_LEN, &rec);

	if (r == 0)
		*ret = rec;
	return r;
}

/* Moves bytes into the decoder until it holds @want. */
static void take(struct rdv_decoder *d, size_t want, const uint8_t *data, size_t len, size_t *used)
{
	size_t n = want - d->fill;

	if (n > len - *used)
		n = len - *used;
	if (n > 0)
		memcpy(d->buf + d->fill, data + *used, n);
	d->fill += n;
	*used += n;
}

int rdv_decode(struct rdv_decoder *d, const uint8_t *data, size_t len, size_t *used,
	struct rdv_record *rec)
{
	ssize_t whole;

	*used = 0;
	if (d->broken)
		return -EPROTO;
	if (d->whole) {
		d->whole = false;
		d->fill = 0;
	}
	if (d->fill < RDV_HDR_LEN)
		take(d, RDV_HDR_LEN, data, len, used);
	if (d->fill < RDV_HDR_LEN)
		return 0;

	whole = header_len(d->buf);
	if (whole < 0)
		goto broken;
	take(d, (size_t)whole, data, len, used);
	if (d->fill < (size_t)whole)
		return 0;
	if (decode_record(d->buf, (size_t)whole, rec) < 0)
		goto broken;
	d->whole = true;
	return 1;

broken:
	d->broken = true;
	return -EPROTO;
}
