/* SPDX-License-Identifier: MIT */
/*
 * fake.h - a scripted ISM function behind the door
 *
 * Records what is submitted and answers as a function would, unless told to misbehave. It writes
 * SBA and IEQ as the device does, in the device's byte order, with plain byte arithmetic that
 * shares no code with the driver.
 */
#ifndef SMCDU_TESTS_ISM_FAKE_H
#define SMCDU_TESTS_ISM_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vfio/zpci.h"

#define FAKE_GID   UINT64_C(0x0123456789abcdef)
#define FAKE_LOG   8192
#define FAKE_DMBS  1920
#define FAKE_MAPS  4096

struct fake_op {
	char kind; /* 'S' store, 'L' load, 'M' map, 'U' unmap, 'I' MSI on, 'i' off, 'C' close */
	uint8_t pcias;
	uint16_t len;
	uint64_t offset; /* or IOVA */
	uint8_t data[64];
};

struct fake_dmb {
	bool used;
	uint64_t iova, token, rgid;
	uint32_t len;
};

struct fake_map {
	uint64_t iova;
	uint8_t *va;
	size_t len;
};

struct fake {
	struct zpci *z; /* NULL once closed */
	struct fake_op log[FAKE_LOG];
	size_t nlog;

	uint8_t area[256]; /* request as stored */
	uint8_t reply[256];
	struct fake_map maps[FAKE_MAPS];
	size_t nmaps;
	uint64_t next_iova;
	uint64_t sba, ieq;
	struct fake_dmb dmbs[FAKE_DMBS]; /* by SBA index */
	uint64_t next_token;
	uint64_t posts;	 /* events posted */
	uint32_t max_len;
	uint32_t vlan_required;
	int msi;

	/* Misbehaviour. */
	uint16_t ret[32];	/* by command: ret of the reply */
	uint16_t reply_len[32]; /* by command: len of the reply; 0: the right one */
	long fail_store; /* the n-th store from now (0: this one) fails; -1: none */
	long fail_load;
	int error; /* with which error; 0: -EIO */
	int map_error, unmap_error, msi_error, check_error;
	bool strict;	     /* moves have to be 8-aligned multiples of 8 */
	bool no_moves;	     /* all moves are refused */
	bool no_signal;
	bool signal_needs_msi;
	bool mute_while_s; /* nothing is signalled while s is set */
	bool no_events;
};

void fake_init(struct fake *f);
/* The door; also kept in f->z. */
struct zpci *fake_open(struct fake *f);

/* Memory the driver mapped, NULL if [iova, iova+len) is not mapped. */
uint8_t *fake_mem(struct fake *f, uint64_t iova, size_t len);

/* As the device does. */
void fake_signal(struct fake *f, uint32_t idx, uint16_t mask);
void fake_event(struct fake *f, uint32_t type, uint32_t code, uint64_t tok, uint64_t info);

/* Number of recorded operations of @kind since the log was emptied. */
size_t fake_count(const struct fake *f, char kind);
/* The n-th recorded operation of @kind; fails the test if there is none. */
const struct fake_op *fake_nth(const struct fake *f, char kind, size_t n);

void fake_put(uint8_t *p, uint64_t v, unsigned int len);
uint64_t fake_get(const uint8_t *p, unsigned int len);

#endif
