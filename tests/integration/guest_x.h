/* SPDX-License-Identifier: MIT */
/*
 * guest_x.h - a third guest that is hostile, and a stream between the others that must not care
 *
 * Drives the fabric's spare function by hand: the peers see a guest whose daemon does whatever the
 * test wants. All functions fail the test on error.
 */
#ifndef TESTS_GUEST_X_H
#define TESTS_GUEST_X_H

#include <pthread.h>
#include <stdatomic.h>

#include "ism/ism.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/handshake.h"
#include "smcd/proto/rdv.h"
#include "tests/integration/guests.h"

#define GID_A UINT64_C(0x1d15000000000001)
#define GID_B UINT64_C(0x1d15000000000002)

struct guest_x {
	struct ism_dev *dev;
	enum cdc_order order;
	uint64_t answer; /* token of A's control DMB for us */
	unsigned int echoes; /* TESTLINK events of A */
	struct ism_event echo; /* the last of them */

	/* The control link with A, after x_link(). */
	struct ism_dmb *dmb;
	uint64_t tx, rx;
	struct rdv_decoder dec;
	uint32_t conns; /* our handles so far */
};

/* A channel with an application of A, seen from below. */
struct x_channel {
	struct ism_dmb *dmb; /* ours */
	uint64_t token;	     /* A's */
	uint32_t n;	     /* ring size at A */
	uint32_t own_n;
	uint32_t conn; /* A's handle */
};

void x_open(struct guest_x *x, struct guests *g);
void x_close(struct guest_x *x);
/* Offers a control DMB to A until it answers. */
void x_offer(struct guest_x *x, uint64_t token);
/* One signalled move; what becomes of it is not asked. */
void x_store(struct guest_x *x, uint64_t token, uint32_t offset, const void *data, uint32_t len);
void x_cdc(struct guest_x *x, uint64_t token, struct cdc_msg msg);
/* Polls the function for @ms. */
void x_idle(struct guest_x *x, unsigned int ms);

/* A proper control link, and a proper handshake as client of a service at A. */
void x_link(struct guest_x *x);
/* A first message for a service at A, of any bytes, and the answer to it. */
void x_propose(struct guest_x *x, const char *service, uint16_t port, const uint8_t *clc,
	size_t len, struct rdv_record *answer);
void x_connect(struct guest_x *x, const char *service, uint16_t port, struct x_channel *ch);

/* A record for A's connection @conn, which is none it can be for: A says so. */
void x_stray_cdc(struct guest_x *x, uint32_t conn, struct cdc_msg msg);

struct bystander {
	struct smcdu_channel *a, *b;
	pthread_t tx, rx;
	atomic_bool stop;
	uint64_t sent, got;
};

void bystander_start(struct bystander *s, struct guests *g);
/* Ends it; every byte must have arrived. */
void bystander_unharmed(struct bystander *s);

#endif
