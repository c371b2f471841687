/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - what ties the daemon together
 *
 * One thread, one loop. A turn looks at descriptors, polls the functions' SBAs and event queues,
 * and serves the hot channels, those that were busy a moment ago and whose bell is off. A channel
 * that stays quiet for the spin window gets its bell and leaves the list. When nothing is hot and
 * the window is over, the interrupts are armed, everything is looked at once more, and the daemon
 * sleeps in the loop with no timeout of its own.
 *
 * Objects that end in the middle of a turn are put on the reap list and freed at its end, so that
 * no caller up the stack is left with a stale pointer.
 */
#ifndef SMCDU_DAEMON_DAEMON_H
#define SMCDU_DAEMON_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "smcd/daemon/account.h"
#include "smcd/daemon/autosize.h"
#include "smcd/daemon/config.h"
#include "smcd/daemon/fair.h"
#include "smcd/daemon/kit.h"
#include "smcd/daemon/loop.h"
#include "smcd/daemon/refuse.h"
#include "smcd/daemon/spin.h"
#include "smcd/ipc/chan.h"
#include "vfio/base/slab.h"
#include "vfio/base/trim.h"

struct capture;
struct channel;
struct client;
struct function;
struct listener;

struct daemon_stats {
	uint64_t sleeps;
	uint64_t wakes; /* CHAN_WAKE sent */
	uint64_t channels_total;
	uint64_t connects_refused;
	uint64_t downgrades; /* channels whose DMB is smaller than wanted */
	uint64_t from_stock; /* channels whose DMB had been made ahead */
	uint64_t reused;     /* channels on a connection that one before had left */
	uint64_t send_kept;  /* whose send file was that of one before */
	uint64_t protocol_errors; /* of applications and peers */
	uint64_t held_back; /* stores of much that were cut short for somebody who moves little */
};

struct daemon {
	const struct config *cfg;
	struct loop *loop;
	struct accounts accounts;
	struct autosize autosize;
	struct spin spin;
	struct fair fair; /* among channels */
	struct daemon_stats stats;
	struct failures failures;
	uint64_t started_ns;
	uint64_t now_ns;      /* clock of this turn */
	uint64_t busy_ns;     /* when there was work last */
	bool stopping;

	struct function *functions; /* list */
	struct client *clients;	    /* list: connections that have not said what they are */
	struct slab client_slab;    /* what these are made of */
	bool clients_fresh; /* there are some to be heard */
	struct listener *listeners; /* list */
	struct capture *captures;   /* list: who is told what goes over the connections */
	struct channel *channels;   /* hash by id */
	struct channel *hot;	    /* list */
	struct channel *reap;	    /* list: to be freed at the end of the turn */
	struct kits kits;	    /* for the next channels */
	struct trim trim;	    /* of channels */
	unsigned int handshakes; /* channels on their way */
	uint32_t next_id;
	uint32_t last_listener; /* id of the youngest */
	uint32_t last_lgr; /* number of the youngest link group */

	struct loop_source accept;
	struct loop_timer accept_again;
	int lock_fd; /* flock of SOCKET.lock; -1 with an inherited socket */
	bool own_socket;
};

/* Opens socket and functions. 0 or -errno after a log line. */
int daemon_init(struct daemon *d, const struct config *cfg);
/* Serves until daemon.stopping is set. 0 or -errno. */
int daemon_run(struct daemon *d);
/* What each turn of that does beside the loop: functions, channels, clients. True: there was something. */
bool daemon_work(struct daemon *d);
/* Aborts what is left and gives everything back; the accounts must be empty then. */
void daemon_deinit(struct daemon *d);

/* Out of descriptors: stops accepting for a moment instead of spinning on the ready socket. */
void daemon_pause_accept(struct daemon *d);

#endif
