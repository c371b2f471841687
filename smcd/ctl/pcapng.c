/* SPDX-License-Identifier: MIT */
#include "smcd/ctl/pcapng.h"

#include <string.h>

#include "vfio/base/endian.h"

#define BLOCK_SECTION	0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_STATISTICS 5u
#define BLOCK_PACKET	6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_RAW	101u

#define OPT_END		 0u
#define OPT_COMMENT	 1u
#define OPT_SHB_USERAPPL 4u
#define OPT_IF_NAME	 2u
#define OPT_IF_TSRESOL	 9u
#define OPT_EPB_DROPCOUNT 4u
#define OPT_ISB_IFRECV	 4u
#define OPT_ISB_IFDROP	 5u

#define IPV6_LEN 40u
#define TCP_LEN	 20u
#define NEXT_TCP 6u
#define TCP_PSH_ACK 0x18u
#define PAYLOAD_MAX 1024u
#define OPTIONS_MAX 512u

/* ---- blocks ---------------------------------------------------------------------------------- */

/* A block in the making, in the byte order of this host: the section header says which that is. */
struct block {
	uint8_t bytes[PAYLOAD_MAX + IPV6_LEN + TCP_LEN + OPTIONS_MAX];
	size_t len;
};

static void put(struct block *b, const void *data, size_t len)
{
	if (len)
		memcpy(b->bytes + b->len, data, len);
	b->len += len;
	while (b->len % 4)
		b->bytes[b->len++] = 0;
}

static void put32(struct block *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static void put_option(struct block *b, uint16_t code, const void *data, size_t len)
{
	const uint16_t head[2] = { code, (uint16_t)len };

	put(b, head, sizeof(head));
	put(b, data, len);
}

/* Text longer than fits is cut. */
static void put_text(struct block *b, uint16_t code, const char *text)
{
	size_t len = strnlen(text, OPTIONS_MAX / 2);

	put_option(b, code, text, len);
}

static void put_block(FILE *f, uint32_t type, const struct block *b)
{
	const uint32_t len = (uint32_t)b->len + 12;

	fwrite(&type, sizeof(type), 1, f);
	fwrite(&len, sizeof(len), 1, f);
	fwrite(b->bytes, b->len, 1, f);
	fwrite(&len, sizeof(len), 1, f);
}

void pcapng_start(FILE *f, const char *application, const char *interface)
{
	static const uint16_t version[2] = { 1, 0 };
	static const uint64_t unknown_len = UINT64_MAX;
	static const uint16_t link[2] = { LINKTYPE_RAW, 0 };
	static const uint8_t nanoseconds = 9;
	struct block b = { .len = 0 };

	put32(&b, BYTE_ORDER_MAGIC);
	put(&b, version, sizeof(version));
	put(&b, &unknown_len, sizeof(unknown_len));
	put_text(&b, OPT_SHB_USERAPPL, application);
	put_option(&b, OPT_END, NULL, 0);
	put_block(f, BLOCK_SECTION, &b);

	b.len = 0;
	put(&b, link, sizeof(link));
	put32(&b, 0); /* packets are never cut */
	put_text(&b, OPT_IF_NAME, interface);
	put_option(&b, OPT_IF_TSRESOL, &nanoseconds, sizeof(nanoseconds));
	put_option(&b, OPT_END, NULL, 0);
	put_block(f, BLOCK_INTERFACE, &b);
}

void pcapng_end(FILE *f, uint64_t time_ns, uint64_t packets, uint64_t dropped)
{
	const uint64_t received = packets + dropped;
	struct block b = { .len = 0 };

	put32(&b, 0); /* interface */
	put32(&b, (uint32_t)(time_ns >> 32));
	put32(&b, (uint32_t)time_ns);
	put_option(&b, OPT_ISB_IFRECV, &received, sizeof(received));
	put_option(&b, OPT_ISB_IFDROP, &dropped, sizeof(dropped));
	put_option(&b, OPT_END, NULL, 0);
	put_block(f, BLOCK_STATISTICS, &b);
}

static void put_packet(FILE *f, const struct pcapng_packet *p, const uint8_t *frame, size_t len)
{
	struct block b = { .len = 0 };

	put32(&b, 0); /* interface */
	put32(&b, (uint32_t)(p->time_ns >> 32));
	put32(&b, (uint32_t)p->time_ns);
	put32(&b, (uint32_t)len);
	put32(&b, (uint32_t)len);
	put(&b, frame, len);
	if (p->comment)
		put_text(&b, OPT_COMMENT, p->comment);
	if (p->dropped)
		put_option(&b, OPT_EPB_DROPCOUNT, &p->dropped, sizeof(p->dropped));
	if (p->comment || p->dropped)
		put_option(&b, OPT_END, NULL, 0);
	put_block(f, BLOCK_PACKET, &b);
}

/* ---- packets --------------------------------------------------------------------------------- */

static void put_address(uint8_t at[16], uint16_t chid, uint64_t gid)
{
	static const uint8_t prefix[6] = { 0xfd, 0, 'S', 'M', 'C', 'D' };

	memcpy(at, prefix, sizeof(prefix));
	store_be16(at + 6, chid);
	store_be64(at + 8, gid);
}

static void put_ipv6(uint8_t *at, const struct pcapng_packet *p, uint8_t next, size_t payload)
{
	memset(at, 0, IPV6_LEN);
	at[0] = 6 << 4;
	store_be16(at + 4, (uint16_t)payload);
	at[6] = next;
	at[7] = 64;
	put_address(at + 8, p->chid, p->src.gid);
	put_address(at + 24, p->chid, p->dst.gid);
}

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += load_be16(p + i);
	return len % 2 ? sum + (uint32_t)(p[len - 1] << 8) : sum;
}

/* Over the addresses, the length, the protocol, and the segment with a checksum of zero. */
static uint16_t tcp_checksum(const uint8_t *ip, size_t len)
{
	uint32_t sum = sum16((uint32_t)len + NEXT_TCP, ip + 8, 32);

	sum = sum16(sum, ip + IPV6_LEN, len);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void pcapng_clc(FILE *f, const struct pcapng_packet *p)
{
	uint8_t frame[IPV6_LEN + TCP_LEN + PAYLOAD_MAX] = { 0 };
	size_t len = p->len < PAYLOAD_MAX ? p->len : PAYLOAD_MAX;
	uint8_t *tcp = frame + IPV6_LEN;

	put_ipv6(frame, p, NEXT_TCP, TCP_LEN + len);
	store_be16(tcp, p->src.port);
	store_be16(tcp + 2, p->dst.port);
	store_be32(tcp + 4, p->seq);
	store_be32(tcp + 8, p->ack);
	tcp[12] = (TCP_LEN / 4) << 4;
	tcp[13] = TCP_PSH_ACK;
	store_be16(tcp + 14, UINT16_MAX); /* window */
	memcpy(tcp + TCP_LEN, p->data, len);
	store_be16(tcp + 16, tcp_checksum(frame, TCP_LEN + len));
	put_packet(f, p, frame, IPV6_LEN + TCP_LEN + len);
}

void pcapng_cdc(FILE *f, const struct pcapng_packet *p)
{
	uint8_t frame[IPV6_LEN + PAYLOAD_MAX];
	size_t len = p->len < PAYLOAD_MAX ? p->len : PAYLOAD_MAX;

	put_ipv6(frame, p, PCAPNG_PROTO_CDC, len);
	memcpy(frame + IPV6_LEN, p->data, len);
	put_packet(f, p, frame, IPV6_LEN + len);
}
