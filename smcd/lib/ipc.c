/* SPDX-License-Identifier: MIT */
/*
 * ipc.c - requests to the daemon
 *
 * One connection per object. A request is one datagram, the answer is one datagram of a known size
 * with a known number of descriptors, or IPC_ERROR; anything else is a protocol error and ends the
 * connection. Descriptors that do not belong are closed by whoever received them.
 */
#include "smcd/lib/internal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "vfio/base/fd.h"

#define QUERY_MAX (64u << 20) /* bytes of JSON; far above any real report */

int lib_ms_left(uint64_t deadline_ns)
{
	uint64_t now, ms;

	if (deadline_ns == UINT64_MAX)
		return -1;
	now = clock_ns();
	if (now >= deadline_ns)
		return 0;
	ms = (deadline_ns - now + 999999) / 1000000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

int ipc_send_simple(int sock, enum ipc_type type)
{
	struct ipc_simple msg = { .hdr = ipc_hdr(type) };
	ssize_t n = fd_send(sock, &msg, sizeof(msg), NULL, 0, MSG_DONTWAIT);

	return n < 0 ? (int)n : 0;
}

static int no_daemon(const struct smcdu_ctx *ctx, int error)
{
	const char *path = ctx->addr.sun_path;

	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return lib_fail(error, "no daemon at '%s': start smcd-userd or set "
			"SMCD_USER_SOCKET", path);
	case -EACCES:
		return lib_fail(error,
			"no permission to use '%s': be a member of its group, or set "
			"SMCD_USER_SOCKET",
			path);
	case -EPROTOTYPE:
		return lib_fail(error, "'%s' is not the socket of a smcd-userd: set "
			"SMCD_USER_SOCKET", path);
	case -EAGAIN: /* its queue of connections stayed full */
	case -ETIMEDOUT:
		return lib_fail(-ETIMEDOUT, "the daemon at '%s' does not answer", path);
	case -EPIPE:
	case -ECONNRESET:
		return lib_fail(-ECONNREFUSED, "the daemon at '%s' closed the connection", path);
	default:
		return lib_fail(error, "cannot reach the daemon at '%s'", path);
	}
}

static int open_socket(const struct smcdu_ctx *ctx, uint64_t deadline_ns)
{
	int ms = lib_ms_left(deadline_ns);
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	int sock FD_CLEANUP = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return lib_fail_plain(-errno);
	/* Bounds connect(2), which waits while the daemon's queue of connections is full. */
	if (ms > 0 && setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
		return lib_fail_plain(-errno);
	while (connect(sock, (const struct sockaddr *)&ctx->addr, sizeof(ctx->addr)) < 0)
		if (errno != EINTR)
			return no_daemon(ctx, -errno);
	return fd_steal(&sock);
}

static int wait_readable(int sock, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int n;

	do {
		n = poll(&p, 1, lib_ms_left(deadline_ns));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* The daemon's own words, made printable: they end up on a terminal. */
static int report_error(const struct ipc_error *e)
{
	char text[IPC_TEXT_MAX];

	memcpy(text, e->text, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (e->error <= 0 || e->error > 4095)
		return lib_fail(-EPROTO, "the daemon refused with an invalid error: %s", text);
	lib_set_diag(e->diag);
	return lib_fail(-e->error, "%s", text);
}

static bool hdr_is(const struct ipc_hdr *h, enum ipc_type type)
{
	return h->magic == IPC_MAGIC && h->version == IPC_VERSION && h->type == type;
}

static int receive_answer(const struct smcdu_ctx *ctx, int sock, bool kept, enum ipc_type type,
	void *ans, size_t ans_len, int *fds, unsigned int max_fds, unsigned int *nfds)
{
	union {
		struct ipc_hdr hdr;
		struct ipc_error error;
		struct ipc_channel channel;
	} buf;
	int got_fds[FD_MSG_MAX];
	unsigned int got = 0;
	ssize_t n = fd_recv(sock, &buf, sizeof(buf), got_fds, max_fds, &got, 0);
	int r;

	/* It refused without reading the request: reported once, ahead of its answer. */
	if (n == -ECONNRESET)
		n = fd_recv(sock, &buf, sizeof(buf), got_fds, max_fds, &got, 0);
	if (kept && (n == 0 || n == -ECONNRESET))
		return -ESTALE;
	/* For the channel before, which did not hear it any more. */
	if (kept && n == (ssize_t)sizeof(buf.hdr) && got == 0 && hdr_is(&buf.hdr, CHAN_WAKE))
		return -EAGAIN;
	if (n == 0)
		return no_daemon(ctx, -ECONNRESET);
	if (n < 0 && n != -EMSGSIZE)
		return no_daemon(ctx, (int)n);
	if (n == (ssize_t)sizeof(buf.error) && hdr_is(&buf.hdr, IPC_ERROR)) {
		r = report_error(&buf.error);
	} else if (n == (ssize_t)ans_len && hdr_is(&buf.hdr, type) &&
		   (nfds || got == max_fds)) {
		memcpy(ans, &buf, ans_len);
		if (got)
			memcpy(fds, got_fds, got * sizeof(*fds));
		if (nfds)
			*nfds = got;
		return 0;
	} else {
		r = lib_fail(-EPROTO, "the daemon at '%s' does not speak this library's protocol",
			ctx->addr.sun_path);
	}
	while (got)
		close(got_fds[--got]);
	return r;
}

int ipc_call_kept(const struct smcdu_ctx *ctx, int sock, const void *req, size_t req_len,
	enum ipc_type type, void *ans, size_t ans_len, int *fds, unsigned int max_fds, unsigned int *nfds,
	uint64_t deadline_ns)
{
	int r;

	if (fd_send(sock, req, req_len, NULL, 0, 0) < 0)
		return -ESTALE;
	do {
		r = wait_readable(sock, deadline_ns);
		if (r < 0)
			return no_daemon(ctx, r);
		r = receive_answer(ctx, sock, true, type, ans, ans_len, fds, max_fds, nfds);
	} while (r == -EAGAIN);
	return r;
}

int ipc_call(const struct smcdu_ctx *ctx, const void *req, size_t req_len, enum ipc_type type,
	void *ans, size_t ans_len, int *fds, unsigned int max_fds, unsigned int *nfds,
	uint64_t deadline_ns)
{
	int sock FD_CLEANUP = open_socket(ctx, deadline_ns);
	ssize_t n;
	int r;

	if (sock < 0)
		return sock;
	n = fd_send(sock, req, req_len, NULL, 0, 0);
	/* A daemon that refuses at once may have answered and closed before; it says why. */
	if (n < 0 && n != -EPIPE && n != -ECONNRESET)
		return no_daemon(ctx, (int)n);
	r = wait_readable(sock, deadline_ns);
	if (r < 0)
		return no_daemon(ctx, r);
	r = receive_answer(ctx, sock, false, type, ans, ans_len, fds, max_fds, nfds);
	return r < 0 ? r : fd_steal(&sock);
}

static int query_code(const char *what)
{
	static const struct {
		const char *name;
		int code;
	} names[] = {
		{ "device", IPC_Q_DEVICE }, { "dmb", IPC_Q_DMB }, { "channel", IPC_Q_CHANNEL },
		{ "peer", IPC_Q_PEER },	    { "stats", IPC_Q_STATS },
		{ "linkgroup", IPC_Q_LINKGROUP }, { "failure", IPC_Q_FAILURE },
	};

	for (size_t i = 0; what && i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(names[i].name, what))
			return names[i].code;
	return -EINVAL;
}

/* Copies the report: the text stays the caller's whatever happens to the file. */
static int read_report(int fd, char **json)
{
	struct stat st;
	size_t size, have = 0;
	ssize_t n;
	char *text;

	if (fd_check_sealed(fd, 1) < 0 || fstat(fd, &st) < 0 || st.st_size > QUERY_MAX)
		return lib_fail(-EPROTO, "the daemon's report is not a sealed memory file");
	size = (size_t)st.st_size;
	text = malloc(size + 1);
	if (!text)
		return lib_fail_plain(-ENOMEM);
	while (have < size) {
		n = pread(fd, text + have, size - have, (off_t)have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(text);
			return lib_fail(-EPROTO, "the daemon's report cannot be read");
		}
		have += (size_t)n;
	}
	text[size] = '\0'; /* the file is padded with NULs to whole pages */
	*json = text;
	return 0;
}

int smcdu_query(struct smcdu_ctx *ctx, const char *what, char **json)
{
	int code = query_code(what);
	struct ipc_query req = { .hdr = ipc_hdr(IPC_QUERY), .what = (uint32_t)code };
	struct ipc_simple ans;
	int fd FD_CLEANUP = -1;
	int sock FD_CLEANUP = -1;

	if (ctx->generation != lib_generation())
		return lib_fail_plain(-EPERM);
	if (code < 0)
		return lib_fail(-EINVAL, "'%s' is no report: device, dmb, channel, peer, linkgroup, "
			"failure, stats",
			what ? what : "");
	sock = ipc_call(ctx, &req, sizeof(req), IPC_RESULT, &ans, sizeof(ans), &fd, 1,
		NULL, clock_ns() + ctx->connect_timeout_ms * UINT64_C(1000000));
	if (sock < 0)
		return fd_steal(&sock);
	return read_report(fd, json);
}

int smcdu_capture(struct smcdu_ctx *ctx, unsigned int what)
{
	struct ipc_capture req = { .hdr = ipc_hdr(IPC_CAPTURE), .what = what };
	struct ipc_simple ans;

	if (ctx->generation != lib_generation())
		return lib_fail_plain(-EPERM);
	if (what == 0 || what > IPC_CAPTURE_ALL)
		return lib_fail(-EINVAL, "there is nothing to capture: SMCDU_CAPTURE_*");
	return ipc_call(ctx, &req, sizeof(req), IPC_CAPTURING, &ans, sizeof(ans), NULL, 0, NULL,
		clock_ns() + ctx->connect_timeout_ms * UINT64_C(1000000));
}
