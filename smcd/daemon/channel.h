/* SPDX-License-Identifier: MIT */
/*
 * channel.h - one channel between an application and a peer's application
 *
 * Life: WAIT_LINK (client: the control link comes up) -> HANDSHAKE -> LIVE -> FADING (A was sent:
 * our DMB stays for the peer's last word) -> DEAD (nothing left at the device; the application may
 * still read from its mapping and learn the error; its state is CLOSED, or PROCESSABORT if the peer
 * aborted, as the kernel shows it). An object goes when it is DEAD and the application's socket is
 * closed.
 *
 * Invariants
 * - The application's words (chan_ctl) are loaded once per service, checked against the stream's
 *   own positions, and only the copies are used. Their order matters: app_flags before tx_pos, both
 *   and rx_pos before the peer's CDC, which the application may have seen before us.
 * - The first violation, by application or peer, ends this channel with an abort, and nothing else.
 * - After the device part is gone (fn == NULL) nothing touches the device again.
 * - A DMB is never used for a second channel.
 *
 * An attached channel (att.on) moves its bytes without us: we look at its flags when somebody
 * rings, and have the last word when its application closed or died. It survives its device: LONE
 * is such a channel, of which nothing is left here but its application's socket.
 */
#ifndef SMCDU_DAEMON_CHANNEL_H
#define SMCDU_DAEMON_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/daemon/attach.h"
#include "smcd/daemon/fair.h"
#include "smcd/daemon/function.h"
#include "smcd/daemon/stream.h"
#include "smcd/ipc/chan.h"
#include "smcd/proto/close.h"
#include "vfio/base/hash.h"

#define CHANNEL_BUDGET	 (64u * 1024u) /* bytes moved per channel and turn */
#define CHANNEL_FLOWS	 4u /* looks in a row with new bytes: more will follow */
#define CHANNEL_SHARE	 (16u * 1024u) /* the same beside somebody who moves little */
#define CHANNEL_MAP_AFTER 8u /* PCISTBs: mapping does not pay for less */
#define CHANNEL_MAX_RING (1024u * 1024u)

enum channel_phase {
	CHANNEL_WAIT_LINK,
	CHANNEL_HANDSHAKE,
	CHANNEL_LIVE,
	CHANNEL_FADING,
	CHANNEL_LONE,
	CHANNEL_DEAD,
};

/*
 * What channels leave to the next one on the same connection: their send files. Nobody but that
 * application ever had them, and what is in them is that application's own. They are charged to the user.
 */
struct legacy_slot {
	struct channel *from;	     /* whose it is, and who has not ended yet */
	struct function_source send; /* map NULL: none, or not yet */
};

struct legacy {
	struct legacy_slot slot[CHAN_SEND_SLOTS];
};

struct channel {
	struct daemon *d;
	uint32_t id;
	enum channel_phase phase;
	bool server;
	struct function *fn; /* NULL when nothing is left at the device */
	struct link *link;   /* NULL likewise */
	struct lgr *lgr;     /* NULL before the DMB and likewise */
	struct listener *listener; /* server, until it is delivered */
	uint32_t peer_conn;  /* the peer's handle in the handshake */
	struct hs hs;
	bool repeated; /* client: the second handshake, after one that was out of sync */
	struct loop_timer timer; /* handshake deadline, then the fade */

	/* Who. */
	uid_t uid;
	pid_t pid;
	uint64_t local_gid; /* for reports after the end */
	uint64_t peer_gid;
	uint16_t port;
	char peer[IPC_NAME_MAX];
	char service[IPC_NAME_MAX];
	uint64_t bytes_charged;
	uint32_t want; /* IPC_PATH_* */

	/* Device side. */
	struct attach att;
	struct dmb_user user;
	struct ism_dmb *dmb;
	uint32_t rx_size;
	uint32_t tx_size;
	struct function_source send; /* control page and send ring */
	uint32_t send_slot;	     /* of the connection */
	bool send_kept;		     /* the application has it mapped already */
	struct legacy legacy;	     /* what is in the other slots */
	struct legacy_slot *heir;    /* who gets send after the end */
	uint32_t listener_id;	     /* server: who got it */
	uint32_t on;		     /* server: the channel whose connection it has; 0: a new one */
	uint8_t *cdc;
	struct stream s;
	struct smc_close close;
	uint64_t pcistb; /* whoever executed them */
	uint64_t bounced;
	bool mapped; /* send ring and the peer's DMB, or it was tried */
	uint64_t wakes;
	uint8_t heard[CDC_SIZE]; /* the peer's block that was captured last */

	/* Application side. */
	struct chan_ctl *ctl; /* NULL before the peer's size is known */
	struct loop_source sock; /* fd -1: gone */
	uint64_t tx_pos;	 /* copies of the application's words */
	uint64_t app_rx;
	uint8_t puts;		 /* looks in a row that found tx_pos further on */
	bool shut_wr;		 /* tx_pos is final */
	bool shut_done;		 /* D was sent */
	bool closing;		 /* CHAN_CLOSE, or the end of the application */
	int error;

	bool hot;
	uint64_t active_ns; /* last time there was work */
	struct fair_flow flow;
	struct channel *hot_prev, *hot_next;
	bool reaping;
	struct channel *reap_next;
	UT_hash_handle hh;
};

/* ---- channel.c: life ------------------------------------------------------------------------- */

struct channel_params {
	bool server;
	uid_t uid;
	pid_t pid;
	uint16_t port;
	const char *peer;
	const char *service;
	uint32_t rx_size; /* 0: automatic */
	uint32_t want; /* IPC_PATH_* */
};

/* *from is empty afterwards. */
void legacy_move(struct legacy *l, struct legacy *from);
void legacy_drop(struct daemon *d, uid_t uid, struct legacy *l);

/* The DMB size for an application that wants @rcvbuf bytes; 0: automatic. */
uint32_t channel_rx_size(const struct daemon *d, uint32_t rcvbuf);

/*
 * A new channel, charged to its user; with a smaller DMB than wanted where the user's limit leaves no
 * more. 0, -EDQUOT, -ENOMEM.
 */
int channel_new(struct daemon *d, const struct channel_params *p, struct channel **ret);
/* Into another phase of its life. */
void channel_enter(struct channel *ch, enum channel_phase phase);
struct channel *channel_find(struct daemon *d, uint32_t id);

/* Ties it to a link. */
void channel_bind(struct channel *ch, struct link *l);

/* Registers the DMB, a smaller one where memory is short. 0 or the device's error. */
int channel_open_rx(struct channel *ch);
/* Makes the send file for the peer's DMB. 0 or -errno. */
int channel_open_tx(struct channel *ch, uint64_t token, uint32_t size);
/* Gives the application its memory and makes the channel LIVE. @sock is taken over on success. */
int channel_go_live(struct channel *ch, int sock);
void channel_fill_info(const struct channel *ch, struct ipc_channel *msg);

/*
 * Device part back; DEAD with @err (0: ended in order) published. Frees when the application is
 * gone.
 */
void channel_detach(struct channel *ch, int err);
/* An attached channel loses its device and goes on: LIVE to LONE. */
void channel_orphan(struct channel *ch);
/* Ends the connection: A to the peer if it can be told, @err to the application. */
void channel_abort(struct channel *ch, int err);
/* Our A is out: waits for the peer's last word, within bounds. */
void channel_fade(struct channel *ch);
/*
 * The application is gone or forbidden: closes its socket; the channel goes on as far as it must.
 */
void channel_drop_app(struct channel *ch);
/* The application has closed it, and goes on to use its connection. */
void channel_leave(struct channel *ch);
/* Frees what was put on the reap list. */
void channels_reap(struct daemon *d);

/* Fails every channel of the function (on @l, if not NULL) without another word to the peer. */
void channels_fail(struct function *fn, struct link *l, int err);
/* One of the function's channels has no space left at its peer. */
bool channels_waiting(const struct function *fn);
void channels_peer_dmb_gone(struct function *fn, uint64_t token);

static inline bool channel_waiting(const struct channel *ch)
{
	return ch->phase == CHANNEL_LIVE && !ch->att.on && stream_tx_free(&ch->s) == 0;
}

/* ---- serve.c: data --------------------------------------------------------------------------- */

/* Puts it on the list of channels that are looked at every turn, its bell off. */
void channel_heat(struct channel *ch);
/* Off the list, without a bell. */
void channel_unhot(struct channel *ch);
/*
 * Serves every hot channel once; cools those that were quiet for the window. True: there was work.
 */
bool channels_serve(struct daemon *d);
/* Attached channels are served when somebody rings: brings their states up to date for a report. */
void channels_look(struct daemon *d);
/*
 * Publishes state, error and counters, then wakes the application if it waits for one of the bits.
 */
void channel_publish(struct channel *ch, uint32_t wake_bits);
/* The peer cannot be reached any more: takes what it said last, then ends with @err unless that was
 * the proper end. */
void channel_lost(struct channel *ch, int err);
/*
 * The application of an attached channel is done: takes its positions over, so that the CDC we
 * compose continues where it stopped. Nothing on a mediated channel.
 */
void channel_catch_up(struct channel *ch);
void channel_on_sock(struct loop_source *src, short revents);

#endif
