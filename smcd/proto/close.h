/* SPDX-License-Identifier: MIT */
/*
 * close.h - connection states and how a connection ends
 *
 * The kernel's state machine with its names and numbers (they appear in diagnostics). Pure: events
 * in, new state and flags to send out. Draining the send buffer before a close is the caller's: it
 * calls smc_close_local() when that is done (or when its linger time is over).
 */
#ifndef SMCDU_PROTO_CLOSE_H
#define SMCDU_PROTO_CLOSE_H

#include <stdbool.h>
#include <stdint.h>

enum smc_state {
	SMC_ACTIVE = 1,
	SMC_INIT = 2,
	SMC_CLOSED = 7,
	SMC_LISTEN = 10,
	SMC_PEERCLOSEWAIT1 = 20,
	SMC_PEERCLOSEWAIT2 = 21,
	SMC_APPCLOSEWAIT1 = 22,
	SMC_APPCLOSEWAIT2 = 23,
	SMC_APPFINCLOSEWAIT = 24,
	SMC_PEERFINCLOSEWAIT = 25,
	SMC_PEERABORTWAIT = 26,
	SMC_PROCESSABORT = 27,
};

/* smcss's spelling: "ACTIVE", "PEERCLW1", "APPLCLW1", "APPLFINCLW", "PEERFINCLW", ... */
const char *smc_state_name(enum smc_state state);

struct smc_close {
	enum smc_state state;
	uint8_t tx_flags; /* connection state flags sent so far, sticky */
	uint8_t rx_flags; /* connection state flags seen from the peer */
	bool app_closed;  /* the application has let go of the channel */
};

enum smc_local_event {
	SMC_EV_SHUTDOWN_WR, /* half close; the send buffer is drained */
	SMC_EV_CLOSE,	    /* close; drained, or the linger time is over */
	SMC_EV_ABORT,	    /* the application died or asked for it, or we give up on the peer */
};

/*
 * A local event. @unread: received bytes that the application has not consumed (close then aborts,
 * as the kernel does). Returns the flags that a CDC must carry now (also in c->tx_flags), 0 when
 * nothing is to be sent, or -ENOTCONN / -EINVAL with nothing changed. That CDC is written even if
 * smc_tx_forbidden() is true from now on: it is the last one. Should the device refuse it, the peer
 * is gone and there is nobody left to tell.
 *
 * CLOSE sets app_closed; a caller that drains first may set it before, which changes no transition.
 * ABORT leads to PEERABORTWAIT if A is to be sent, so that the peer may still answer, else to CLOSED;
 * a second ABORT ends the waiting.
 */
int smc_close_local(struct smc_close *c, enum smc_local_event ev, bool unread);

/*
 * Connection flags seen in the peer's CDC. Returns true when the state changed. After A the state
 * is PROCESSABORT (no final flag of ours was sent: SMC_EV_CLOSE is still to come, at once if the
 * caller was draining for it) or CLOSED.
 */
bool smc_close_peer(struct smc_close *c, uint8_t conn_flags);

/* The application may still send (nothing closed or aborted on our side or by the peer's C/A). */
bool smc_can_send(const struct smc_close *c);
/* No byte will be added to our ring any more. */
bool smc_rx_shutdown(const struct smc_close *c);
/* Nothing may be written to the peer's DMB any more. */
bool smc_tx_forbidden(const struct smc_close *c);

#endif
