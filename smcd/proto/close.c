/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "smcd/proto/cdc.h"
#include "smcd/proto/close.h"

#define D CDC_SENDING_DONE
#define C CDC_CONN_CLOSED
#define A CDC_ABNORMAL

const char *smc_state_name(enum smc_state state)
{
	switch (state) {
	case SMC_ACTIVE:
		return "ACTIVE";
	case SMC_INIT:
		return "INIT";
	case SMC_CLOSED:
		return "CLOSED";
	case SMC_LISTEN:
		return "LISTEN";
	case SMC_PEERCLOSEWAIT1:
		return "PEERCLW1";
	case SMC_PEERCLOSEWAIT2:
		return "PEERCLW2";
	case SMC_APPCLOSEWAIT1:
		return "APPLCLW1";
	case SMC_APPCLOSEWAIT2:
		return "APPLCLW2";
	case SMC_APPFINCLOSEWAIT:
		return "APPLFINCLW";
	case SMC_PEERFINCLOSEWAIT:
		return "PEERFINCLW";
	case SMC_PEERABORTWAIT:
		return "PEERABORTW";
	case SMC_PROCESSABORT:
		return "PROCESSABORT";
	}
	return "UNKNOWN";
}

/* Both sides have said their last word: the peer may already use its DMB for somebody else. */
static bool both_final(const struct smc_close *c)
{
	return (c->tx_flags & (C | A)) && (c->rx_flags & (C | A));
}

static int send_flags(struct smc_close *c, uint8_t flags)
{
	c->tx_flags |= flags;
	return c->tx_flags;
}

static int send_final(struct smc_close *c, bool unread)
{
	return send_flags(c, unread ? A : C);
}

static int local_shutdown(struct smc_close *c)
{
	switch (c->state) {
	case SMC_INIT:
	case SMC_LISTEN:
		return -ENOTCONN;
	case SMC_ACTIVE:
		c->state = SMC_PEERCLOSEWAIT1;
		return send_flags(c, D);
	case SMC_APPCLOSEWAIT1:
		c->state = SMC_APPCLOSEWAIT2;
		return send_flags(c, D);
	default:
		return 0;
	}
}

static int local_close(struct smc_close *c, bool unread)
{
	bool half_closed = (c->tx_flags & (D | C | A)) == D;

	c->app_closed = true;
	switch (c->state) {
	case SMC_ACTIVE:
		c->state = SMC_PEERCLOSEWAIT1;
		return send_final(c, unread);
	case SMC_PEERCLOSEWAIT1:
	case SMC_PEERCLOSEWAIT2:
		return half_closed ? send_final(c, unread) : 0;
	case SMC_APPCLOSEWAIT1:
	case SMC_APPCLOSEWAIT2:
		c->state = c->rx_flags & (C | A) ? SMC_CLOSED : SMC_PEERFINCLOSEWAIT;
		return send_final(c, unread);
	case SMC_APPFINCLOSEWAIT:
		c->state = SMC_CLOSED;
		return half_closed ? send_final(c, unread) : 0;
	case SMC_PROCESSABORT:
		c->state = SMC_CLOSED;
		return send_flags(c, A);
	case SMC_INIT:
	case SMC_LISTEN:
	case SMC_PEERABORTWAIT:
		c->state = SMC_CLOSED;
		return 0;
	default: /* PEERFINCLOSEWAIT, CLOSED: everything is said */
		return 0;
	}
}

static int local_abort(struct smc_close *c)
{
	bool connected = c->state != SMC_INIT && c->state != SMC_LISTEN && c->state != SMC_CLOSED;
	bool say = connected && !(c->tx_flags & A) && !both_final(c);

	c->state = say ? SMC_PEERABORTWAIT : SMC_CLOSED;
	return say ? send_flags(c, A) : 0;
}

int smc_close_local(struct smc_close *c, enum smc_local_event ev, bool unread)
{
	switch (ev) {
	case SMC_EV_SHUTDOWN_WR:
		return local_shutdown(c);
	case SMC_EV_CLOSE:
		return local_close(c, unread);
	case SMC_EV_ABORT:
		return local_abort(c);
	}
	return -EINVAL;
}

static enum smc_state peer_aborted(const struct smc_close *c)
{
	switch (c->state) {
	case SMC_INIT:
	case SMC_ACTIVE:
	case SMC_APPCLOSEWAIT1:
	case SMC_APPFINCLOSEWAIT:
		return SMC_PROCESSABORT;
	case SMC_PEERCLOSEWAIT1:
	case SMC_PEERCLOSEWAIT2:
		return (c->tx_flags & (D | C | A)) == D ? SMC_PROCESSABORT : SMC_CLOSED;
	case SMC_APPCLOSEWAIT2:
	case SMC_PEERFINCLOSEWAIT:
	case SMC_PEERABORTWAIT:
		return SMC_CLOSED;
	default:
		return c->state;
	}
}

static enum smc_state peer_closed(const struct smc_close *c)
{
	switch (c->state) {
	case SMC_INIT:
	case SMC_ACTIVE:
		return SMC_APPCLOSEWAIT1;
	case SMC_PEERCLOSEWAIT1:
	case SMC_PEERCLOSEWAIT2:
		return c->app_closed && (c->tx_flags & (C | A)) ? SMC_CLOSED : SMC_APPFINCLOSEWAIT;
	case SMC_PEERFINCLOSEWAIT:
		return SMC_CLOSED;
	default: /* APPCLOSEWAIT1 and 2 remember it in rx_flags */
		return c->state;
	}
}

static enum smc_state peer_half_closed(const struct smc_close *c)
{
	switch (c->state) {
	case SMC_INIT:
	case SMC_ACTIVE:
		return SMC_APPCLOSEWAIT1;
	case SMC_PEERCLOSEWAIT1:
		return SMC_PEERCLOSEWAIT2;
	default:
		return c->state;
	}
}

bool smc_close_peer(struct smc_close *c, uint8_t conn_flags)
{
	enum smc_state old = c->state;

	/* Sticky on this side too: a peer that takes a flag back has not un-closed anything. */
	c->rx_flags |= conn_flags & (D | C | A);
	if (c->rx_flags & A)
		c->state = peer_aborted(c);
	else if (c->rx_flags & C)
		c->state = peer_closed(c);
	else if (c->rx_flags & D)
		c->state = peer_half_closed(c);
	return c->state != old;
}

bool smc_can_send(const struct smc_close *c)
{
	return (c->state == SMC_ACTIVE || c->state == SMC_APPCLOSEWAIT1) &&
		!(c->rx_flags & (C | A));
}

bool smc_rx_shutdown(const struct smc_close *c)
{
	return c->state == SMC_CLOSED || (c->rx_flags & (D | C | A));
}

bool smc_tx_forbidden(const struct smc_close *c)
{
	return c->state == SMC_CLOSED || ((c->tx_flags | c->rx_flags) & A) || both_final(c);
}
