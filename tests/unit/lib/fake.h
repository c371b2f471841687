/* SPDX-License-Identifier: MIT */
/*
 * fake.h - a daemon and a peer in the test's hands
 *
 * Makes the memory and the socket of one channel and plays both the daemon (socket, control page)
 * and the peer (CDC and ring of the application's DMB), well-behaved or not.
 */
#ifndef SMCDU_TESTS_FAKE_H
#define SMCDU_TESTS_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "smcd/ipc/chan.h"
#include "smcd/lib/internal.h"
#include "smcd/proto/cdc.h"

struct fake {
	int sock;     /* the daemon's end */
	int app_sock; /* the application's, until handed over */
	int dmb_fd;
	int ctl_fd;
	uint8_t *dmb; /* writable here */
	struct chan_ctl *ctl;
	uint8_t *ring; /* the application's send ring */
	uint32_t rx_size, tx_size;
	uint32_t rx_n, tx_n;
	enum cdc_order order;
	uint64_t prod; /* written into the DMB */
	uint64_t cons; /* taken from the send ring */
	uint8_t prod_flags;
	uint8_t conn_flags;
};

void fake_make(struct fake *f, uint32_t rx_size, uint32_t tx_size, enum cdc_order order);
void fake_end(struct fake *f);
struct ipc_channel fake_describe(const struct fake *f);
/* The application's channel on this memory. */
struct smcdu_channel *fake_adopt(struct fake *f);

/* Stores the CDC words for the current cursors and flags. */
void fake_cdc(struct fake *f);
/* The same with cursors that are not true. */
void fake_cdc_raw(struct fake *f, struct smc_cursor prod, struct smc_cursor cons);
/* The peer writes @len bytes of the test pattern (from position prod) and its CDC. */
void fake_write(struct fake *f, size_t len);
/* The peer takes up to @max bytes, which must be the test pattern, and acknowledges them. */
size_t fake_take(struct fake *f, size_t max);
/* Takes the wait bits that apply and sends a wake-up, as a daemon does after publishing. */
void fake_wake(struct fake *f, uint32_t bits);
/* The next message from the application: its type, 0 at the end of file, -EAGAIN. */
int fake_message(struct fake *f);

/* Byte @pos of every stream in these tests. */
static inline uint8_t pattern(uint64_t pos)
{
	return (uint8_t)(pos * 131 + (pos >> 8) * 7 + (pos >> 16));
}

void pattern_fill(uint8_t *buf, uint64_t pos, size_t len);
void pattern_check(const uint8_t *buf, uint64_t pos, size_t len);

/* Open descriptors of this process. */
int count_fds(void);

#endif
