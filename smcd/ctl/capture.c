/* SPDX-License-Identifier: MIT */
/* capture.c - smcd-userctl capture: the daemon's connections as a file for Wireshark */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smcd-user.h"
#include "smcd/ctl/pcapng.h"
#include "smcd/ctl/report.h"
#include "smcd/ipc/chan.h"
#include "smcd/proto/cdc.h"
#include "smcd/proto/clc.h"
#include "vfio/base/fd.h"
#include "vfio/base/hash.h"

#define FLOWS_MAX   65536u /* connections remembered; then all are forgotten */
#define CLIENT_PORT 49152u /* of the first of 16384 */
#define REST_NS	    UINT64_C(2000000000) /* in which the daemon hands over what it still has */

_Static_assert(SMCDU_CAPTURE_CLC == IPC_CAPTURE_CLC && SMCDU_CAPTURE_CDC == IPC_CAPTURE_CDC, "what");

enum { OPT_COUNT, OPT_DURATION, OPT_CLC };

const struct option capture_options[] = {
	{ "count", required_argument, NULL, OPT_COUNT },
	{ "duration", required_argument, NULL, OPT_DURATION },
	{ "clc", no_argument, NULL, OPT_CLC },
	{ NULL, 0, NULL, 0 },
};

/* A connection as a TCP stream: where either side is in it. */
struct flow {
	struct {
		uint64_t local_gid, peer_gid;
		uint32_t client_conn;
		uint32_t server;
	} key;
	uint16_t port;	  /* of the service */
	uint32_t next[2]; /* sequence number by "we sent it" */
	UT_hash_handle hh;
};

struct capture {
	FILE *f;
	const char *path;
	struct flow *flows;
	uint64_t packets, dropped;
	uint64_t count; /* wanted; UINT64_MAX: no limit */
};

/* ---- packets --------------------------------------------------------------------------------- */

static void forget_flows(struct capture *c)
{
	struct flow *fl = c->flows, *next;

	HASH_CLEAR(hh, c->flows);
	for (; fl; fl = next) {
		next = fl->hh.next;
		free(fl);
	}
}

/* NULL: no memory. */
static struct flow *flow_of(struct capture *c, const struct ipc_record *r)
{
	struct flow *fl, want;

	memset(&want, 0, sizeof(want)); /* the padding is part of the key */
	want.key.local_gid = r->local_gid;
	want.key.peer_gid = r->peer_gid;
	want.key.client_conn = r->client_conn;
	want.key.server = r->server;
	HASH_FIND(hh, c->flows, &want.key, sizeof(want.key), fl);
	if (!fl) {
		if (HASH_COUNT(c->flows) >= FLOWS_MAX)
			forget_flows(c);
		fl = malloc(sizeof(*fl));
		if (!fl)
			return NULL;
		*fl = want;
		fl->next[0] = fl->next[1] = 1;
		HASH_ADD(hh, c->flows, key, sizeof(fl->key), fl);
	}
	if (r->port)
		fl->port = r->port;
	return fl;
}

static void put_flag(char *text, size_t size, bool set, const char *name)
{
	size_t len = strlen(text);

	if (set)
		snprintf(text + len, size - len, " %s", name);
}

/* What a CDC block says: Wireshark shows it as data. */
static void describe_cdc(const struct ipc_record *r, char *text, size_t size)
{
	_Alignas(8) uint8_t block[CDC_SIZE];
	struct cdc_msg m;

	memcpy(block, r->data, sizeof(block));
	cdc_load(block, r->order == CDC_BIG ? CDC_BIG : CDC_LITTLE, &m);
	snprintf(text, size, "CDC %s: produced %u:%u consumed %u:%u flags", r->out ? "sent" : "seen",
		m.prod.wrap, m.prod.count, m.cons.wrap, m.cons.count);
	put_flag(text, size, m.prod_flags & CDC_WRITER_BLOCKED, "writer-blocked");
	put_flag(text, size, m.prod_flags & CDC_URG_PENDING, "urgent-pending");
	put_flag(text, size, m.prod_flags & CDC_URG_PRESENT, "urgent-present");
	put_flag(text, size, m.prod_flags & CDC_CONS_REQUEST, "update-requested");
	put_flag(text, size, m.conn_flags & CDC_SENDING_DONE, "sending-done");
	put_flag(text, size, m.conn_flags & CDC_CONN_CLOSED, "closed");
	put_flag(text, size, m.conn_flags & CDC_ABNORMAL, "abnormal-close");
	put_flag(text, size, !m.prod_flags && !m.conn_flags, "none");
}

static void describe_clc(const struct ipc_record *r, char *text, size_t size)
{
	struct clc_decline d;

	snprintf(text, size, "CLC %s", r->out ? "sent" : "received");
	if (clc_decode_decline(r->data, r->len, &d) == 0)
		snprintf(text, size, "CLC %s: declined with 0x%08" PRIx32 ": %s",
			r->out ? "sent" : "received", d.diag, clc_diag_text(d.diag));
}

static bool put_record(struct capture *c, const struct ipc_record *r)
{
	struct flow *fl = r->what ? flow_of(c, r) : NULL;
	bool from_client = !r->out == !!r->server;
	struct pcapng_side local = { .gid = r->local_gid }, peer = { .gid = r->peer_gid };
	struct pcapng_packet p = { .time_ns = r->time_ns, .chid = r->chid, .data = r->data,
		.len = r->len, .dropped = r->dropped };
	char text[200];

	if (!r->what) {
		c->dropped += r->dropped;
		return true;
	}
	if (!fl)
		return false;
	p.src = r->out ? local : peer;
	p.dst = r->out ? peer : local;
	p.src.port = p.dst.port = fl->port;
	*(from_client ? &p.src.port : &p.dst.port) = (uint16_t)(CLIENT_PORT + r->client_conn % 16384);
	p.comment = text;
	c->packets++;
	c->dropped += r->dropped;
	if (r->what == IPC_CAPTURE_CDC) {
		describe_cdc(r, text, sizeof(text));
		pcapng_cdc(c->f, &p);
		return true;
	}
	describe_clc(r, text, sizeof(text));
	p.seq = fl->next[r->out];
	p.ack = fl->next[!r->out];
	fl->next[r->out] += r->len;
	pcapng_clc(c->f, &p);
	return true;
}

/* ---- the daemon's records -------------------------------------------------------------------- */

static bool record_ok(const struct ipc_record *r, size_t len)
{
	const size_t head = offsetof(struct ipc_record, data);

	return len >= head && r->hdr.magic == IPC_MAGIC && r->hdr.version == IPC_VERSION &&
		r->hdr.type == IPC_RECORD && r->len <= IPC_RECORD_DATA && len == head + r->len &&
		r->out <= 1 && r->server <= 1 &&
		(r->what == IPC_CAPTURE_CLC || (r->what == IPC_CAPTURE_CDC && r->len == CDC_SIZE) ||
			(r->what == 0 && r->len == 0));
}

/* All that is there. 0; 1 when the capture is over; -errno. */
static int drain(struct capture *c, int sock)
{
	struct ipc_record r;
	unsigned int nfds;
	ssize_t len;
	int fds[1];

	while (c->packets < c->count) {
		len = fd_recv(sock, &r, sizeof(r), fds, 0, &nfds, MSG_DONTWAIT);
		if (len == -EAGAIN)
			break;
		if (len == 0 || len == -ECONNRESET)
			return -ECONNRESET;
		if (len < 0)
			return (int)len;
		if (!record_ok(&r, (size_t)len))
			return -EPROTO;
		if (!put_record(c, &r))
			return -ENOMEM;
	}
	if (fflush(c->f) != 0) /* who reads the file meanwhile sees whole packets */
		return -errno;
	return c->packets >= c->count;
}

static enum exit_status say_end(const struct capture *c, int ret)
{
	switch (ret) {
	case -ECONNRESET:
		fputs(CTL_NAME ": the daemon has ended\n", stderr);
		break;
	case -EPROTO:
		fputs(CTL_NAME ": the daemon is of another version\n", stderr);
		break;
	case -ETIMEDOUT:
		fputs(CTL_NAME ": the daemon does not hand over what it still has\n", stderr);
		break;
	default:
		if (ret < 0)
			fprintf(stderr, CTL_NAME ": %s: %s\n", c->path, strerror(-ret));
	}
	fprintf(stderr, CTL_NAME ": %" PRIu64 " packets captured, %" PRIu64 " dropped\n", c->packets,
		c->dropped);
	return ret < 0 ? FAILED : OK;
}

enum wake { BY_RECORDS, BY_SIGNAL, BY_TIME };

/* What comes first. enum wake or -errno. */
static int wait_for(int sock, int signals, uint64_t until_ns)
{
	struct pollfd p[2] = { { .fd = sock, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
	uint64_t now = clock_ns();
	uint64_t ms = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
	struct signalfd_siginfo sig;

	if (ms == 0)
		return BY_TIME;
	if (poll(p, 2, until_ns == UINT64_MAX || ms > 1000000 ? 1000000 : (int)ms) < 0 && errno != EINTR)
		return -errno;
	return p[1].revents && read(signals, &sig, sizeof(sig)) == sizeof(sig) ? BY_SIGNAL : BY_RECORDS;
}

/* Until the count, the time, a signal, or the end: BY_... for the reason that is none of the daemon's. */
static int take(struct capture *c, int sock, int signals, uint64_t until_ns)
{
	int why, ret;

	do {
		why = wait_for(sock, signals, until_ns);
		ret = why < 0 ? why : drain(c, sock);
	} while (ret == 0 && why == BY_RECORDS);
	return ret < 0 ? ret : why;
}

/* The daemon ends the capture after what it still has. Another signal is for those who cannot wait. */
static int run(struct capture *c, int sock, int signals, uint64_t until_ns)
{
	int ret = take(c, sock, signals, until_ns);

	if (ret < 0 || c->packets >= c->count)
		return ret < 0 ? ret : 0;
	if (shutdown(sock, SHUT_WR) < 0)
		return -errno;
	ret = take(c, sock, signals, clock_ns() + REST_NS);
	if (ret == BY_TIME)
		return -ETIMEDOUT;
	return ret == -ECONNRESET || ret >= 0 ? 0 : ret;
}

/* ---- the command ----------------------------------------------------------------------------- */

static int open_capture(const struct ctl *c, unsigned int what)
{
	struct smcdu_settings settings;
	struct smcdu_ctx *ctx = NULL;
	int r;

	smcdu_default_settings(&settings);
	settings.socket_path = c->socket;
	r = smcdu_open(&settings, &ctx);
	if (r == 0)
		r = smcdu_capture(ctx, what);
	if (r < 0) {
		const char *why = smcdu_last_error();

		fprintf(stderr, CTL_NAME ": %s\n", *why ? why : strerror(-r));
	}
	smcdu_close_ctx(ctx);
	return r;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever reads the file may go: EPIPE says so */
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* A positive number, or 0 after one line. */
static uint64_t number(const char *option, const char *text)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && v > 0 && v <= UINT32_MAX)
		return v;
	fprintf(stderr, CTL_NAME ": %s: '%s' is no number from 1 on\n", option, text);
	return 0;
}

static enum exit_status capture_to(struct capture *c, const struct ctl *ctl, uint64_t duration_s)
{
	unsigned int what = ctl->opt[OPT_CLC] ? SMCDU_CAPTURE_CLC :
		SMCDU_CAPTURE_CLC | SMCDU_CAPTURE_CDC;
	int signals FD_CLEANUP = open_signals();
	int sock FD_CLEANUP = open_capture(ctl, what);
	enum exit_status status;

	if (sock < 0 || signals < 0)
		return FAILED;
	pcapng_start(c->f, CTL_NAME " " SMCDU_VERSION, "smcd-userd");
	fflush(c->f);
	fprintf(stderr, CTL_NAME ": capturing to %s\n", c->path);
	status = say_end(c, run(c, sock, signals,
		duration_s ? clock_ns() + duration_s * UINT64_C(1000000000) : UINT64_MAX));
	pcapng_end(c->f, clock_wall_ns(), c->packets, c->dropped);
	fflush(c->f);
	forget_flows(c);
	return status;
}

enum exit_status capture_run(const struct ctl *ctl)
{
	struct capture c = { .count = UINT64_MAX };
	uint64_t duration_s = 0;
	enum exit_status status;

	if (ctl->argc != 1) {
		fputs(CTL_NAME ": capture needs one FILE, or - for standard output\n", stderr);
		return USAGE;
	}
	if (ctl->opt[OPT_COUNT] && (c.count = number("--count", ctl->opt[OPT_COUNT])) == 0)
		return USAGE;
	if (ctl->opt[OPT_DURATION] &&
			(duration_s = number("--duration", ctl->opt[OPT_DURATION])) == 0)
		return USAGE;
	c.path = strcmp(ctl->argv[0], "-") == 0 ? "standard output" : ctl->argv[0];
	c.f = strcmp(ctl->argv[0], "-") == 0 ? stdout : fopen(ctl->argv[0], "wbe");
	if (!c.f) {
		fprintf(stderr, CTL_NAME ": %s: %s\n", c.path, strerror(errno));
		return FAILED;
	}
	status = capture_to(&c, ctl, duration_s);
	if (c.f != stdout && fclose(c.f) != 0) {
		fprintf(stderr, CTL_NAME ": %s: %s\n", c.path, strerror(errno));
		status = FAILED;
	}
	return status;
}
