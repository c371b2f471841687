/* SPDX-License-Identifier: MIT */
/*
 * pcapng.h - capture files that Wireshark and tshark open
 *
 * One section, one interface of raw IP packets with nanoseconds. What travels between two ISM
 * functions has no frame of its own, so it gets one: IPv6, the addresses made of fabric and GID
 * (fd00:534d:4344:<CHID>:<GID>), so that columns and filters by address work. CLC messages are
 * payload of a TCP stream, as they are between kernels: Wireshark's SMC dissector takes them by
 * their eyecatcher. A CDC block is payload of protocol 253 (for experiments), which is shown as
 * data; what it says stands in the packet's comment.
 *
 * Errors are the FILE's: ask ferror() when it matters.
 */
#ifndef SMCDU_CTL_PCAPNG_H
#define SMCDU_CTL_PCAPNG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PCAPNG_PROTO_CDC 253u /* next header */

struct pcapng_side {
	uint64_t gid;
	uint16_t port;
};

/* One packet of a connection; @data is the CLC message or the CDC block. */
struct pcapng_packet {
	uint64_t time_ns; /* since 1970 */
	uint16_t chid;
	struct pcapng_side src, dst;
	uint32_t seq, ack; /* of the TCP stream */
	const void *data;
	size_t len;
	const char *comment; /* NULL: none */
	uint64_t dropped; /* packets that were lost before this one */
};

void pcapng_start(FILE *f, const char *application, const char *interface);
void pcapng_clc(FILE *f, const struct pcapng_packet *p);
void pcapng_cdc(FILE *f, const struct pcapng_packet *p);
/* How many there were in all, and how many were lost, also after the last packet. */
void pcapng_end(FILE *f, uint64_t time_ns, uint64_t packets, uint64_t dropped);

#endif
