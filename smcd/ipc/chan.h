/* SPDX-License-Identifier: MIT */
/*
 * chan.h - memory and protocol of one channel between application and daemon
 *
 * A channel is a SOCK_SEQPACKET connection and two memory files:
 *
 *  - the DMB, mapped read-only by the application: the CDC block at 0 and the receive ring from
 *    CDC_SIZE. The application reads both itself.
 *  - the send file, mapped read-write: one control page (struct chan_ctl), then the send ring,
 *    which mirrors the *peer's* DMB: its size is the peer's DMB size and ring byte i lies at
 *    CDC_SIZE + i, exactly where it will land. So a piece that ends at a 4 KiB line of the
 *    destination is also inside one page at the source, and what is free in the send ring is what
 *    is free at the peer. On an attached path the send ring will be the peer's DMB itself.
 *
 * Positions are totals since the channel began. The application publishes tx_pos and rx_pos, the
 * daemon checks them against its own and moves the bytes. Neither side trusts the other: each word
 * is loaded once, checked, and only the copy is used. tx_urg and rx_urg mark urgent bytes (one byte
 * before the position); a false mark harms nobody but the stream it is in.
 *
 * Waking. The application sleeps on the socket after setting its wait bits; the daemon, having
 * published, takes the bits that apply, leaves the others, and sends one CHAN_WAKE if it took any.
 * The daemon sleeps after setting bell; the application, having published, takes the bell
 * (exchange) and sends CHAN_BELL if it was set. Each side has a full barrier between publishing and
 * looking at the other's flag, and re-checks the positions between raising its own flag and
 * sleeping: one of the two always sees the other, so no wake-up is lost.
 *
 * Attached channels (a software fabric, where both sides want it) have no send ring. The application
 * writes payload and CDC into the peer's DMB itself, and beside the CDC what it wants to be told
 * (struct chan_block); it wakes the peer's by a byte on the socket that
 * connects the two, whose end of file is the peer's death. The same rule holds: bits, full barrier,
 * look, sleep on one side; publish, full barrier, look at the bits on the other, where the sleeper can
 * pay for both barriers (CHAN_PEER_BARRIER). tx_pos and rx_pos
 * are still published, before the CDC that carries them: from them the daemon composes the last CDC
 * of an application that closed or died. Neither daemon nor fabric is needed in between.
 *
 * The socket's end of file tells each side that the other is gone. CHAN_CLOSE before it means an
 * orderly close: the daemon delivers what is in the send ring. End of file without it means that
 * the application died: the peer gets the abort CDC.
 *
 * CHAN_LEAVE is CHAN_CLOSE of an application that is going to have another channel soon: the connection is then as
 * one that was just made, and the next CONNECT is sent on it; an accepted channel's is for the next that its listener
 * gets. Send files stay, too, in one of CHAN_SEND_SLOTS: one whose channel has ended is used again. Nobody
 * but the two ends of this connection has ever had them, and all that is in them is the application's own.
 */
#ifndef SMCDU_IPC_CHAN_H
#define SMCDU_IPC_CHAN_H

#include <stdint.h>
#include <stdatomic.h>

#include "smcd/proto/cdc.h"

#define CHAN_CTL_SIZE 4096u

#define CHAN_WAIT_RX 1u /* tell me when bytes, an end or an error can be received */
#define CHAN_WAIT_TX 2u /* tell me when there is space to send, or an error */
#define CHAN_WAIT_SENT 4u /* tell me when tx_sent reaches tx_pos, or an error */
#define CHAN_WAIT_ALL (CHAN_WAIT_RX | CHAN_WAIT_TX | CHAN_WAIT_SENT)

#define CHAN_SHUT_WR 1u /* app_flags: nothing follows tx_pos */

struct chan_ctl {
	/* Written by the application. */
	_Atomic uint64_t tx_pos;    /* bytes put into the send ring; release */
	_Atomic uint64_t rx_pos;    /* bytes taken from the receive ring; release */
	_Atomic uint32_t app_flags; /* CHAN_SHUT_WR */
	_Atomic uint32_t app_wait;  /* CHAN_WAIT_*; the daemon takes bits, the application sets them */
	_Atomic uint64_t tx_urg;    /* behind the last urgent byte; stored before the tx_pos there */
	uint8_t pad0[64 - 32];

	/* Written by the daemon. */
	_Atomic uint32_t bell;	    /* 1: ring CHAN_BELL after publishing; the application takes it */
	_Atomic uint32_t state;	    /* enum smc_state */
	_Atomic int32_t error;	    /* positive errno that ended the channel, 0 while it lives */
	_Atomic uint32_t share;	    /* 1: others who move little wait, give the processor away */
	_Atomic uint64_t tx_sent;   /* bytes moved to the peer */
	_Atomic uint64_t pcistb;    /* PCISTBs spent on this channel, payload and CDC */
	_Atomic uint64_t cdc_tx;    /* CDC blocks written */
	_Atomic uint64_t rx_told;   /* the rx_pos that the peer was told last */
	_Atomic uint64_t bounced;   /* payload bytes that were copied for alignment */
	_Atomic uint64_t rx_urg;    /* behind the last urgent byte that arrived; 0: there was none */
};

/*
 * The first CDC_SIZE bytes of an attached channel's DMB, which the peer's application writes, and only it: the two
 * words of the CDC, and in what SMC-D leaves unused there its words to ours. Hostile, as the CDC is: they
 * only ever make us send a byte too many or too few.
 *
 * Nobody can take back what the other one has written. So who sleeps raises for each bit one of two marks, the
 * one that the other has not answered last; who wakes it answers with the same mark in its own word, which
 * stands in the sleeper's DMB, and sends a byte. A bit is set as long as mark and answer differ. Whoever answers
 * late, a mark that was taken down meanwhile or is raised again, has sent a byte, too: none is lost.
 */
struct chan_block {
	_Atomic uint64_t urgent; /* chan_urgent(): CDC's type, and what tx_urg is for the other path */
	uint64_t prod;
	uint64_t cons;
	_Atomic uint32_t wait; /* two bits for each of CHAN_WAIT_*: mark, CHAN_ANSWER higher: answer; BARRIER */
	_Atomic uint16_t cpu;  /* a hint: where it last waited, plus 1 */
	_Atomic uint16_t way;  /* a hint: how it writes large pieces, WAY_* */
};

#define CHAN_ANSWER 8u
/*
 * Beside the marks: the side that the word belongs to runs a barrier everywhere between raising one
 * and its last look. A process that has registered for such barriers needs none behind what it publishes
 * for that side. Who has not registered does not set it.
 */
#define CHAN_PEER_BARRIER 0x80000000u

#define CHAN_URGENT_MAX ((UINT64_C(1) << 56) - 1)

/*
 * How a side writes its large pieces, by which the other reads them best (far.h). Only advice: neither trusts
 * the other to keep to it.
 */
#define WAY_PARTS 4u		   /* so many quarters through the caches, 0 to WAY_PARTS */
#define WAY_ROOM  (WAY_PARTS + 1u) /* all, and the reader makes room behind itself */

/* The CDC's type is the first byte in memory. */
static inline uint64_t chan_urgent(uint64_t behind)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ?
		(uint64_t)CDC_MSG_TYPE << 56 | (behind & CHAN_URGENT_MAX) : behind << 8 | CDC_MSG_TYPE;
}

static inline uint64_t chan_urgent_behind(uint64_t word)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? word & CHAN_URGENT_MAX : word >> 8;
}

/* CHAN_WAIT_* that @wait, of one side, asks for, and @answers, of the other, has not answered. */
static inline uint32_t chan_wanted(uint32_t wait, uint32_t answers)
{
	uint32_t bits = 0;

	for (unsigned int k = 0; k < 3; k++) {
		uint32_t mark = wait >> 2 * k & 3;

		if (mark != 0 && mark != (answers >> (CHAN_ANSWER + 2 * k) & 3))
			bits |= 1u << k;
	}
	return bits;
}

/* The fields of the bits in a word. */
static inline uint32_t chan_fields(uint32_t bits)
{
	return (bits & 1) * 3 | (bits & 2) * 6 | (bits & 4) * 12;
}

_Static_assert(CHAN_WAIT_ALL == 7, "three bits");
_Static_assert(sizeof(struct chan_block) == CDC_SIZE, "a CDC block");
_Static_assert(sizeof(struct chan_ctl) <= CHAN_CTL_SIZE, "one page");
#ifndef __CHECKER__ /* sparse knows the types but not these macros */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "shared words");
#endif

/*
 * Messages. Each is one SEQPACKET datagram of exactly its structure's size; anything else ends the
 * connection. Only the daemon sends descriptors.
 */
#define IPC_MAGIC     0x534d4344u /* "SMCD" */
#define IPC_VERSION   3u
#define IPC_NAME_MAX  64u  /* peer and service names, NUL-terminated */
#define IPC_TEXT_MAX  256u
#define IPC_FDS_MEDIATED 2u /* descriptors of IPC_CHANNEL, without a listener's */
#define IPC_FDS_ATTACHED 4u
#define CHAN_SEND_SLOTS	 2u /* of a connection: a channel may not have ended when the next one begins */

enum ipc_type {
	/* Application, first message of a connection. */
	IPC_CONNECT = 1,
	IPC_LISTEN = 2,
	IPC_QUERY = 3,
	IPC_CAPTURE = 4,
	/* Application, later, on a channel. */
	CHAN_BELL = 16,
	CHAN_CLOSE = 17,
	CHAN_ABORT = 18,
	CHAN_LEAVE = 19, /* CHAN_CLOSE, and the connection stays for another channel */
	/* Daemon. */
	IPC_ERROR = 32,	    /* then the daemon closes */
	/*
	 * Answer to CONNECT: fds {DMB, send file}, attached also {peer's DMB, socket to the peer};
	 * on a listener {socket to the daemon} comes before if it is a
	 * new one. A send file that is kept is left out.
	 */
	IPC_CHANNEL = 33,
	IPC_LISTENING = 34, /* answer to LISTEN */
	IPC_RESULT = 35,    /* answer to QUERY: fd {sealed memfd with JSON text} */
	CHAN_WAKE = 36,
	IPC_CAPTURING = 37, /* answer to CAPTURE: records follow until the socket is closed */
	IPC_RECORD = 38,
};

struct ipc_hdr {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
};

struct ipc_connect {
	struct ipc_hdr hdr;
	char peer[IPC_NAME_MAX];    /* configured name, or GID as 0x... */
	char service[IPC_NAME_MAX]; /* name or decimal port */
	uint32_t rcvbuf;	    /* wanted DMB size in bytes; 0: as configured, or automatic */
	uint32_t timeout_ms;	    /* for the whole connect; 0: the daemon's default */
	uint32_t path;		    /* IPC_PATH_*: wanted */
	uint32_t reserved;
};

struct ipc_listen {
	struct ipc_hdr hdr;
	char service[IPC_NAME_MAX];
	uint32_t backlog;
	uint32_t rcvbuf;
	uint32_t path; /* IPC_PATH_*: wanted */
	uint32_t reserved;
};

enum ipc_query_what {
	IPC_Q_DEVICE = 1,
	IPC_Q_DMB = 2,
	IPC_Q_CHANNEL = 3,
	IPC_Q_PEER = 4,
	IPC_Q_STATS = 5,
	IPC_Q_LINKGROUP = 6,
	IPC_Q_FAILURE = 7,
};

struct ipc_query {
	struct ipc_hdr hdr;
	uint32_t what;
	uint32_t reserved;
};

/* What is told of. */
#define IPC_CAPTURE_CLC 1u
#define IPC_CAPTURE_CDC 2u
#define IPC_CAPTURE_ALL (IPC_CAPTURE_CLC | IPC_CAPTURE_CDC)

struct ipc_capture {
	struct ipc_hdr hdr;
	uint32_t what; /* IPC_CAPTURE_*: at least one */
	uint32_t reserved;
};

/*
 * One CLC message or CDC block of one of the daemon's connections. The datagram ends with its
 * data.
 */
#define IPC_RECORD_DATA 652u

struct ipc_record {
	struct ipc_hdr hdr;
	uint64_t time_ns; /* since 1970 */
	uint64_t dropped; /* records that there was no room for, since the one before */
	uint64_t local_gid;
	uint64_t peer_gid;
	uint32_t client_conn; /* the client's handle in the handshake */
	uint32_t what;	      /* IPC_CAPTURE_CLC or IPC_CAPTURE_CDC; 0: the last one, of @dropped only */
	uint16_t chid;
	uint16_t port; /* of the service; 0 where the message does not tell */
	uint8_t out;   /* we sent it */
	uint8_t server; /* we are the server */
	uint8_t order; /* enum cdc_order */
	uint8_t reserved;
	uint16_t len;
	uint8_t data[IPC_RECORD_DATA];
};

struct ipc_simple { /* CHAN_BELL to CHAN_LEAVE, CHAN_WAKE, IPC_RESULT, IPC_CAPTURING */
	struct ipc_hdr hdr;
};

struct ipc_error {
	struct ipc_hdr hdr;
	int32_t error; /* positive errno */
	uint32_t diag; /* SMC diagnosis (0x0303....), 0 if none applies */
	char text[IPC_TEXT_MAX];
};

#define IPC_PATH_AUTO	  0u /* as a wish: attached if that is possible */
#define IPC_PATH_MEDIATED 1u
#define IPC_PATH_ATTACHED 2u

struct ipc_channel {
	struct ipc_hdr hdr;
	uint64_t id;	    /* channel id in this daemon, as smcd-userctl shows it */
	uint64_t local_gid;
	uint64_t peer_gid;
	uint32_t rx_size;   /* size of the DMB in bytes */
	uint32_t tx_size;   /* size of the peer's DMB; the send file is CHAN_CTL_SIZE + tx_size,
			       attached CHAN_CTL_SIZE */
	uint32_t order;	    /* enum cdc_order */
	uint32_t path;	    /* IPC_PATH_* */
	uint32_t port;
	uint32_t on;	    /* on a listener: the channel whose connection this one has; 0: a new one */
	uint32_t slot;	    /* the send file's on this connection, below CHAN_SEND_SLOTS */
	uint32_t kept;	    /* 1: it is there from a channel before, zeroed, and not in fds */
	uint32_t reserved[2];
	char peer[IPC_NAME_MAX];
	char service[IPC_NAME_MAX];
};

struct ipc_listening {
	struct ipc_hdr hdr;
	uint32_t port;
	uint32_t reserved;
};

_Static_assert(sizeof(struct ipc_hdr) == 8, "ipc");
_Static_assert(sizeof(struct ipc_connect) == 152, "ipc");
_Static_assert(sizeof(struct ipc_listen) == 88, "ipc");
_Static_assert(sizeof(struct ipc_error) == 272, "ipc");
_Static_assert(sizeof(struct ipc_channel) == 200, "ipc");
_Static_assert(sizeof(struct ipc_record) == 712, "ipc");

static inline struct ipc_hdr ipc_hdr(enum ipc_type type)
{
	return (struct ipc_hdr){ .magic = IPC_MAGIC, .version = IPC_VERSION,
		.type = (uint16_t)type };
}

#endif
