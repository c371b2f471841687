/* SPDX-License-Identifier: MIT */
/**
 * @file smcd-user.h
 * libsmcd-user: a byte channel between two guests (or two processes) through an ISM fabric.
 *
 * An application opens a context, then listens, accepts and connects by name:
 * `smcdu_connect(ctx, "echo@guest-b", &ch)`. A channel is a reliable, ordered, bidirectional
 * byte stream with half close, like a connected stream socket. The peer's bytes are read directly
 * from the memory the fabric wrote them to.
 *
 * Conventions
 *  - Functions return 0 or a byte count on success and a negative errno on failure; they never set
 *    errno and never print. Outputs are untouched on failure.
 *  - Names: a service is a name of 1..63 characters from [A-Za-z0-9._-] or a decimal port; a peer
 *    is a name the daemon knows or a GID as 0x followed by hex digits.
 *  - The library installs no signal handlers, starts no threads and never raises SIGPIPE.
 *
 * Threads: a context may be used by any number of threads at once, and so may a listener: each channel
 * is accepted by one of them. A channel may be used by two threads at once when one only sends (smcdu_send,
 * smcdu_sendv, smcdu_reserve, smcdu_reservev, smcdu_cached_part, smcdu_commit, smcdu_shutdown) and the
 * other only receives (smcdu_recv, smcdu_recvv, smcdu_peek, smcdu_peekv, smcdu_release); all other functions
 * on a channel, and its descriptor, need exclusive use, except smcdu_channel_stats(), which may be called at
 * any time from any thread.
 *
 * fork: handles belong to the process that created them; in a child every call on them returns
 * -EPERM and only freeing is allowed (which leaves the parent's channel untouched).
 */
#ifndef SMCD_USER_H
#define SMCD_USER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMCDU_API __attribute__((visibility("default")))

struct smcdu_ctx;
struct smcdu_listener;
struct smcdu_channel;

/** Settings of a context. Fill with smcdu_default_settings() first. */
struct smcdu_settings {
	/** The daemon's socket. NULL: $SMCD_USER_SOCKET, else $XDG_RUNTIME_DIR/smcd-user/smcd-userd.sock
	 *  when that exists, else /run/smcd-user/smcd-userd.sock. */
	const char *socket_path;
	/** Longest time smcdu_connect() may take, in ms. Default 5000. */
	uint32_t connect_timeout_ms;
	/** How long a blocking call looks before it sleeps, in microseconds. Default 0: a short
	 *  adaptive spin, on a mediated channel only by a thread that may use several processors;
	 *  UINT32_MAX: never spin. A call that waits for an attached peer on its own processor does not
	 *  look, it gives the processor away once. */
	uint32_t spin_us;
	/** Receive buffer (DMB) wanted for channels, in bytes, 16 KiB..1 MiB, rounded up to a power of
	 *  two. 0 (default): what the daemon is configured for, or as that is by default what it chooses
	 *  for each channel: smcdu_channel_info() tells. */
	uint32_t rcvbuf;
	/** enum smcdu_path: the path channels must take; 0 (default): attached where fabric, daemons
	 *  and peer allow it, else mediated. Both ends have a say: one that wants SMCDU_PATH_ATTACHED
	 *  refuses anything else (-EOPNOTSUPP for a connect). */
	uint32_t path;
	/** Not 0: channels carry records instead of a byte stream, see smcdu_send(). Both ends must want it;
	 *  one that does not is found out with the first record. */
	uint32_t record;
	uint8_t reserved[40];
};

SMCDU_API void smcdu_default_settings(struct smcdu_settings *s);

/**
 * Creates a context. No daemon is contacted yet. @param s may be NULL for defaults; it is copied.
 * @return 0, -EINVAL (a setting out of range, or reserved bytes not 0), -ENAMETOOLONG, -ENOMEM.
 */
SMCDU_API int smcdu_open(const struct smcdu_settings *s, struct smcdu_ctx **ret);

/** Frees a context. Listeners and channels made from it live on. NULL is allowed. */
SMCDU_API void smcdu_close_ctx(struct smcdu_ctx *ctx);

/**
 * Why the last failing call of this thread failed, as one line of text ("unknown peer 'guest-x':
 * ..."). Empty when the library has nothing beyond the errno. Valid until the thread's next call.
 */
SMCDU_API const char *smcdu_last_error(void);

/** The SMC diagnosis (0x0303....) of the last failing smcdu_connect() of this thread, 0 if none. */
SMCDU_API uint32_t smcdu_last_diag(void);

/* ---- listening and connecting ---------------------------------------------------------------- */

/**
 * Registers a service with the daemon.
 * @param backlog accepted channels that may wait for smcdu_accept(), 1..1024; 0: 64. More than about
 *        100 need room in a socket (net.core.wmem_max); without it fewer are admitted.
 * @return 0; -EADDRINUSE; -EINVAL (bad name); -ENOENT/-ECONNREFUSED (no daemon);
 *         -EACCES; -EDQUOT (the user's limit); -ENOMEM.
 */
SMCDU_API int smcdu_listen(struct smcdu_ctx *ctx, const char *service, unsigned int backlog,
	struct smcdu_listener **ret);

/** Readable when smcdu_accept() would return something. Owned by the listener. */
SMCDU_API int smcdu_listener_fd(const struct smcdu_listener *l);

/** The port the service name maps to. */
SMCDU_API uint32_t smcdu_listener_port(const struct smcdu_listener *l);

#define SMCDU_DONTWAIT 1u /**< return -EAGAIN instead of waiting */
#define SMCDU_WAITALL  2u /**< smcdu_recv(): wait until the buffer is full, the end or an error */
#define SMCDU_OOB      4u /**< urgent data, see smcdu_send() and smcdu_recv() */
#define SMCDU_TRUNC    8u /**< smcdu_recv() of a record: cut what does not fit */

/**
 * Takes the next incoming channel. @param flags 0 or SMCDU_DONTWAIT.
 * @return 0 (the caller owns *ret); -EAGAIN; -ECONNRESET (the daemon is gone: free the listener).
 */
SMCDU_API int smcdu_accept(
	struct smcdu_listener *l, unsigned int flags, struct smcdu_channel **ret);

/** Withdraws the service. Channels not yet accepted are aborted. NULL is allowed. */
SMCDU_API void smcdu_listener_free(struct smcdu_listener *l);

/**
 * Connects to a service of a peer, waiting at most settings.connect_timeout_ms.
 * @param target "service@peer"
 * @return 0 (the caller owns *ret); -EINVAL (bad target); -ENOENT/-ECONNREFUSED (no daemon, or
 *         nobody listens: smcdu_last_error() says which); -EHOSTUNREACH (unknown or unreachable peer);
 *         -ETIMEDOUT; -EDQUOT; -ENOMEM; -ENOSPC (no DMB left); -EPROTO.
 */
SMCDU_API int smcdu_connect(struct smcdu_ctx *ctx, const char *target, struct smcdu_channel **ret);

/* ---- data ------------------------------------------------------------------------------------ */

/**
 * Sends. Blocking: returns when all @p len bytes were taken, or fewer when an error ended it in the
 * middle (the next call reports it). With SMCDU_DONTWAIT: takes what fits.
 * @return bytes taken (> 0; 0 only for len 0); -EAGAIN; -EPIPE (own side shut down or channel
 *         aborted); -ECONNRESET (peer closed, died, or its guest did); -ENODEV (the device or the
 *         daemon went away).
 * The bytes were copied; the buffer is the caller's again.
 *
 * With SMCDU_OOB the last of the bytes is urgent, as with MSG_OOB: the peer learns of it ahead of
 * what it has not read yet. If fewer than @p len bytes were taken, none of them is. After an urgent
 * byte nothing can be sent until the peer has read everything up to it. Urgent data is best effort:
 * the byte always arrives, in rare cases as an ordinary one.
 *
 * Records (settings.record): each call sends its @p len bytes as one record, or none of them. At most
 * smcdu_channel_info.record_max bytes, else -EMSGSIZE; at least one, else -EINVAL. SMCDU_OOB is
 * -EOPNOTSUPP.
 */
SMCDU_API ssize_t smcdu_send(struct smcdu_channel *ch, const void *buf, size_t len,
	unsigned int flags);
SMCDU_API ssize_t smcdu_sendv(struct smcdu_channel *ch, const struct iovec *iov, int iovcnt,
	unsigned int flags);

/**
 * Receives up to @p len bytes; waits for at least one unless SMCDU_DONTWAIT.
 * @return bytes (> 0); 0 at the end (the peer closed or half-closed and everything was read; or len
 *         was 0); -EAGAIN; -ECONNRESET (the peer aborted or died; everything delivered before was
 *         returned first); -ENODEV (device or daemon gone).
 *
 * An urgent byte of the peer (SMCDU_PRI) is not among the bytes received, unless
 * smcdu_set_oob_inline() says so; a receive stops where it was. SMCDU_OOB receives it, without ever
 * waiting.
 * @return with SMCDU_OOB: 1; -EAGAIN (announced, but not here yet); -EINVAL (none, or received
 *         already, or inline); 0 at the end. A second urgent byte replaces one that was not received.
 *
 * Records (settings.record): each call receives one whole record. If it has more than @p len bytes:
 * -EMSGSIZE, and it stays; or with SMCDU_TRUNC its first @p len bytes, the others are lost, and what is
 * returned is its size. -EPROTO when the peer does not send records.
 */
SMCDU_API ssize_t smcdu_recv(struct smcdu_channel *ch, void *buf, size_t len, unsigned int flags);
SMCDU_API ssize_t smcdu_recvv(struct smcdu_channel *ch, const struct iovec *iov, int iovcnt,
	unsigned int flags);

/** Leaves urgent bytes among the others (@p on not 0), as SO_OOBINLINE does: a receive stops before
 *  the urgent byte, and once more behind it if more has come. Default: off.
 *  @return 0. */
SMCDU_API int smcdu_set_oob_inline(struct smcdu_channel *ch, int on);

/**
 * Zero copy, sending side: all free space of the send ring, once it is at least @p want bytes (0: one).
 * The ring wraps, so it is in one or two parts, in the order of the stream: iov[1].iov_len is 0 when
 * one has all. Nothing is sent until smcdu_commit(); a later reserve without one begins at the same
 * byte. On an attached channel the space is the peer's memory: the peer may look at what is written
 * there before that.
 *
 * Records (settings.record): space for one record of @p want bytes, not more; the length that goes before
 * it is the library's.
 * From then on SMCDU_OUT among the events means as much as was wanted last; a send wants one byte.
 * @return the bytes of both parts (> 0), or as smcdu_send(); -EMSGSIZE when @p want is more than half
 *         the ring (smcdu_channel_info.sndbuf), of which the peer need not tell that it is free, or more
 *         than record_max.
 */
SMCDU_API ssize_t smcdu_reservev(struct smcdu_channel *ch, struct iovec iov[2], size_t want,
	unsigned int flags);

/**
 * The same for who can do with one part, and with one byte. A record has one part only by chance:
 * -EOPNOTSUPP. @return 0 or as smcdu_send().
 */
SMCDU_API int smcdu_reserve(struct smcdu_channel *ch, void **ptr, size_t *len, unsigned int flags);

/**
 * Sends the first @p len bytes of the space reserved last, whatever its parts; of records, as one
 * record. The rest, with 0 all of it, is given up. @return 0; -EINVAL (more than reserved);
 * -EPIPE, -ECONNRESET, -ENODEV.
 */
SMCDU_API int smcdu_commit(struct smcdu_channel *ch, size_t len);

/**
 * How large pieces are best written in place: of @p len bytes the first so many past the caches (with
 * non-temporal stores, fenced before smcdu_commit()), and the last so many as ever. Which mixture is
 * fastest depends on where the two processors are; the channel finds out from commit to commit, as it
 * does for smcdu_send(). It is advice: any way of writing is right.
 * @return how many of the last bytes, 0 to @p len; @p len for few bytes.
 */
SMCDU_API size_t smcdu_cached_part(struct smcdu_channel *ch, size_t len);

/**
 * Zero copy, receiving side: received bytes in place, read-only, once there are at least @p want (0:
 * one), in one or two parts as with smcdu_reservev(). There are fewer before an urgent byte, and
 * before an end or an error. They stay until smcdu_release(), and are given again, with more only if
 * more is wanted. A hostile peer can change them until then: check a copy.
 *
 * Records (settings.record): the next whole record, whatever @p want is.
 * From then on SMCDU_IN among the events means as much as was wanted last; a receive wants one byte.
 * @return the bytes of both parts; 0 at the end; or as smcdu_recv(); -EMSGSIZE when @p want is more than
 *         a quarter of the ring (smcdu_channel_info.rcvbuf): with more unread the peer might lack room.
 */
SMCDU_API ssize_t smcdu_peekv(struct smcdu_channel *ch, struct iovec iov[2], size_t want,
	unsigned int flags);

/**
 * The same for who can do with one part, and with one byte; *len is 0 at the end. Of a record
 * -EOPNOTSUPP. @return 0 or as smcdu_recv().
 */
SMCDU_API int smcdu_peek(
	struct smcdu_channel *ch, const void **ptr, size_t *len, unsigned int flags);

/** Consumes the first @p len of the bytes peeked at; of a record all. @return 0; -EINVAL (more than
 *  were peeked at, or a part of a record). */
SMCDU_API int smcdu_release(struct smcdu_channel *ch, size_t len);

/* ---- waiting --------------------------------------------------------------------------------- */

/**
 * How long blocking calls on this channel look before they sleep, as settings.spin_us, which it
 * overrides; 0 asks again how many processors this thread may use.
 * @return 0; -EINVAL (more than a second, and not UINT32_MAX).
 */
SMCDU_API int smcdu_set_spin(struct smcdu_channel *ch, uint32_t spin_us);

#define SMCDU_IN  1u /**< smcdu_recv() would not wait (bytes, end, or error) */
#define SMCDU_OUT 2u /**< smcdu_send() would not wait (space or error) */
#define SMCDU_HUP 4u /**< the peer will send no more */
#define SMCDU_ERR 8u /**< the channel failed */
#define SMCDU_PRI 16u /**< there is an urgent byte: smcdu_recv() with SMCDU_OOB, or inline, gets it */
#define SMCDU_MARK 32u /**< everything before the urgent byte was received, and nothing behind it */

/**
 * One descriptor for poll, epoll (level or edge) and io_uring's poll: readable (POLLIN) when one of
 * the events chosen by smcdu_set_events() may have happened; then ask smcdu_events(). Never read
 * from or written to by the application. Owned by the channel, made by the first call.
 * @return the descriptor; -EMFILE, -ENFILE, -ENOMEM.
 */
SMCDU_API int smcdu_channel_fd(const struct smcdu_channel *ch);

/** Events that make the descriptor readable: any of SMCDU_IN, SMCDU_OUT, SMCDU_PRI; errors always do.
 *  (No POLLPRI comes of it: it is always POLLIN, and smcdu_events() tells.)
 *  Default SMCDU_IN. @return 0 or -EINVAL. */
SMCDU_API int smcdu_set_events(struct smcdu_channel *ch, unsigned int events);

/**
 * What is the case now (SMCDU_*). If none of the chosen events is, the descriptor is re-armed: it
 * becomes readable when that changes. @return events or negative errno.
 */
SMCDU_API int smcdu_events(struct smcdu_channel *ch);

/* ---- ending ---------------------------------------------------------------------------------- */

/** Half close: nothing more will be sent; the peer reads the end after the last byte. Receiving goes
 *  on. @return 0, -EPIPE, -ECONNRESET, -ENODEV. */
SMCDU_API int smcdu_shutdown(struct smcdu_channel *ch);

/**
 * Orderly close: returns at once and frees the channel; the daemon delivers what was sent, also
 * after the process ended. With received bytes unread the peer sees an abort instead. NULL is
 * allowed.
 */
SMCDU_API void smcdu_close(struct smcdu_channel *ch);

/** Waits until the peer's memory holds every byte sent so far. @return 0, or as smcdu_send();
 *  -ETIMEDOUT after @p timeout_ms (UINT32_MAX: no limit). */
SMCDU_API int smcdu_flush(struct smcdu_channel *ch, uint32_t timeout_ms);

/** Ends the channel at once: the peer gets -ECONNRESET, bytes under way may be lost. Frees. */
SMCDU_API void smcdu_abort(struct smcdu_channel *ch);

/* ---- knowing --------------------------------------------------------------------------------- */

enum smcdu_path {
	SMCDU_PATH_MEDIATED = 1, /**< the daemon moves the bytes */
	SMCDU_PATH_ATTACHED = 2, /**< this process writes the peer's memory itself */
};

/** "auto" (0), "mediated", "attached": for settings.path. @return 0 or -EINVAL. */
SMCDU_API int smcdu_path_parse(const char *name, uint32_t *path);
/** The name of an enum smcdu_path, "auto" for 0; "?" for anything else. */
SMCDU_API const char *smcdu_path_name(uint32_t path);

struct smcdu_channel_info {
	uint64_t id;	    /**< as smcd-userctl shows it */
	uint64_t local_gid;
	uint64_t peer_gid;
	uint32_t path;	    /**< enum smcdu_path */
	uint32_t rcvbuf;    /**< bytes of receive ring */
	uint32_t sndbuf;    /**< bytes of send ring */
	uint32_t port;
	char peer[64];
	char service[64];
	uint32_t record_max; /**< bytes of the largest record to send; 0: a byte stream */
	uint8_t reserved[60];
};

struct smcdu_channel_stats {
	uint64_t tx_bytes; /**< taken from the application */
	uint64_t rx_bytes; /**< given to the application */
	uint64_t tx_calls;
	uint64_t rx_calls;
	uint64_t tx_sent;  /**< moved to the peer */
	uint64_t pcistb;   /**< PCISTBs spent on this channel */
	uint64_t cdc_tx;   /**< CDC blocks written */
	uint64_t bounced;  /**< payload bytes copied for alignment's sake */
	uint64_t bells;	   /**< times the daemon, or an attached peer, had to be woken */
	uint64_t sleeps;   /**< times this side slept */
	uint32_t state;	   /**< SMC state number, 1 = ACTIVE */
	int32_t error;	   /**< positive errno that ended the channel, or 0 */
	uint64_t spins;	   /**< waits that ended before this side slept */
	uint8_t reserved[56];
};

SMCDU_API void smcdu_channel_info(const struct smcdu_channel *ch, struct smcdu_channel_info *info);
SMCDU_API void smcdu_channel_stats(const struct smcdu_channel *ch, struct smcdu_channel_stats *st);

/** "ACTIVE", "PEERCLW1", ... as smcss prints them. */
SMCDU_API const char *smcdu_state_name(uint32_t state);

/**
 * Asks the daemon for a report as JSON text. @param what "device", "dmb", "channel", "peer",
 * "linkgroup", "failure" or "stats". @return 0 (*json is NUL-terminated, to be freed with free()), -EINVAL, or as
 * smcdu_listen().
 */
SMCDU_API int smcdu_query(struct smcdu_ctx *ctx, const char *what, char **json);

/** What smcdu_capture() tells of. */
#define SMCDU_CAPTURE_CLC 1u /**< CLC messages */
#define SMCDU_CAPTURE_CDC 2u /**< CDC blocks */

/**
 * Has the daemon tell of the messages of its connections. For tools of this version: what is read
 * from the socket is private to it (smcd-userctl capture makes a file of it). @param what
 * SMCDU_CAPTURE_*. @return a descriptor, to be closed with close(), which ends the capture; -EINVAL,
 * -EBUSY (too many captures), or as smcdu_listen().
 */
SMCDU_API int smcdu_capture(struct smcdu_ctx *ctx, unsigned int what);

/** "0.1.0" */
SMCDU_API const char *smcdu_version(void);

#ifdef __cplusplus
}
#endif

#endif /* SMCD_USER_H */
