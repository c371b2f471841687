/* SPDX-License-Identifier: MIT */
/*
 * run.c - the tests themselves, both sides, on any transport
 */
#include "smcd/perf/perf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <xxhash.h>

#include "smcd/perf/hist.h"
#include "vfio/base/fd.h"

int conn_send(const struct conn *c, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		ssize_t n = c->ch ? smcdu_send(c->ch, p, len, 0) :
			send(c->fd, p, len, MSG_NOSIGNAL);

		if (n < 0 && !c->ch)
			n = -errno;
		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int conn_recv(const struct conn *c, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		ssize_t n = c->ch ? smcdu_recv(c->ch, p, len, SMCDU_WAITALL) :
			recv(c->fd, p, len, MSG_WAITALL);

		if (n < 0 && !c->ch)
			n = -errno;
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static uint64_t clock_of(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t cpu_self_ns(void)
{
	return clock_of(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t cpu_pid_ns(int pid)
{
	clockid_t id;

	return clock_getcpuclockid(pid, &id) ? 0 : clock_of(id);
}

/* Writes every byte; a run of numbers, so that a lost or doubled piece changes the hash. */
static void fill(uint8_t *buf, size_t len, uint64_t *next)
{
	size_t words = len / sizeof(uint64_t);

	for (size_t i = 0; i < words; i++) {
		uint64_t v = (*next)++ * UINT64_C(0x9e3779b97f4a7c15);

		memcpy(buf + i * sizeof(v), &v, sizeof(v));
	}
	for (size_t i = words * sizeof(uint64_t); i < len; i++)
		buf[i] = (uint8_t)(*next)++;
}

/* Reads every byte. */
static void read_all(const uint8_t *buf, size_t len)
{
	uint64_t sum = 0;
	size_t i = 0;

	for (; i + sizeof(uint64_t) <= len; i += sizeof(uint64_t)) {
		uint64_t v;

		memcpy(&v, buf + i, sizeof(v));
		sum += v;
	}
	for (; i < len; i++)
		sum += buf[i];
	__asm__ volatile("" : : "r"(sum)); /* or the compiler would leave it all out */
}

/* ---- server ---------------------------------------------------------------------------------- */

static int serve_messages(const struct conn *c, enum perf_test test, uint8_t *buf, size_t size,
	XXH3_state_t *hash, uint64_t *bytes)
{
	int r;

	do {
		r = conn_recv(c, buf, size);
		if (r < 0)
			return r;
		*bytes += size;
		if (hash)
			XXH3_64bits_update(hash, buf, size);
		else
			read_all(buf, size);
		if (test == PERF_RTT)
			r = conn_send(c, buf, size);
		if (r < 0)
			return r;
	} while (buf[0] == PERF_MORE);
	return buf[0] == PERF_LAST ? 0 : -EPROTO;
}

static int serve_one(const struct conn *c, const struct perf_req *req, XXH3_state_t *hash)
{
	uint32_t test = be32_get(req->test), size = be32_get(req->size);
	bool verify = be32_get(req->flags) & PERF_VERIFY;
	uint64_t cpu = cpu_self_ns(), bytes = 0;
	struct perf_report rep;
	uint8_t *buf;
	int r;

	if (be32_get(req->magic) != PERF_MAGIC || (test != PERF_RTT && test != PERF_STREAM) ||
	    size == 0 || size > PERF_SIZE_MAX)
		return -EPROTO;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	XXH3_64bits_reset(hash);
	r = serve_messages(c, (enum perf_test)test, buf, size, verify ? hash : NULL, &bytes);
	free(buf);
	if (r < 0)
		return r;
	rep = (struct perf_report){
		.magic = be32_of(PERF_MAGIC),
		.bytes = be64_of(bytes),
		.hash = be64_of(verify ? XXH3_64bits_digest(hash) : 0),
		.cpu_ns = be64_of(cpu_self_ns() - cpu),
	};
	return conn_send(c, &rep, sizeof(rep));
}

int perf_serve(const struct conn *c)
{
	XXH3_state_t *hash = XXH3_createState();
	struct perf_req req;
	int r = hash ? 0 : -ENOMEM;

	while (r == 0) {
		r = conn_recv(c, &req, sizeof(req));
		if (r == 0)
			r = serve_one(c, &req, hash);
		else if (r == -ENODATA)
			break;
	}
	XXH3_freeState(hash);
	return r == -ENODATA ? 0 : r;
}

/* ---- client ---------------------------------------------------------------------------------- */

struct client {
	const struct conn *c;
	const struct perf_params *p;
	uint8_t *buf;
	XXH3_state_t *hash;
	struct hist *hist;
	uint64_t next;
	uint64_t start;
	uint64_t messages;
};

static int one_message(struct client *cl, bool last, uint64_t *now)
{
	size_t size = cl->p->size;
	uint64_t begin;
	int r;

	fill(cl->buf, size, &cl->next);
	cl->buf[0] = last ? PERF_LAST : PERF_MORE;
	if (cl->p->verify)
		XXH3_64bits_update(cl->hash, cl->buf, size);
	begin = clock_ns();
	r = conn_send(cl->c, cl->buf, size);
	if (r == 0 && cl->p->test == PERF_RTT) {
		r = conn_recv(cl->c, cl->buf, size);
		*now = clock_ns();
		hist_add(cl->hist, *now - begin);
		read_all(cl->buf, size);
	} else {
		*now = begin;
	}
	cl->messages++;
	return r;
}

static int messages(struct client *cl)
{
	uint64_t now = cl->start;
	bool last;
	int r;

	do {
		last = cl->p->count ? cl->messages + 1 == cl->p->count :
			now - cl->start >= cl->p->ns;
		r = one_message(cl, last, &now);
	} while (r == 0 && !last);
	return r;
}

static int dialogue(struct client *cl, struct perf_result *res)
{
	const struct perf_params *p = cl->p;
	struct perf_req req = { .magic = be32_of(PERF_MAGIC), .test = be32_of(p->test),
		.size = be32_of(p->size), .flags = be32_of(p->verify ? PERF_VERIFY : 0) };
	uint64_t cpu = cpu_self_ns(), ns;
	struct perf_report rep = { 0 };
	int r = conn_send(cl->c, &req, sizeof(req));

	cl->start = clock_ns();
	if (r == 0)
		r = messages(cl);
	if (r == 0)
		r = conn_recv(cl->c, &rep, sizeof(rep)); /* the receiver has read the last byte */
	if (r < 0)
		return r;
	ns = clock_ns() - cl->start;
	if (be32_get(rep.magic) != PERF_MAGIC || be64_get(rep.bytes) != cl->messages * p->size)
		return -EBADMSG;
	if (p->verify && be64_get(rep.hash) != XXH3_64bits_digest(cl->hash))
		return -EBADMSG;
	*res = (struct perf_result){
		.p50 = hist_quantile(cl->hist, 0.5) / 1e3,
		.p99 = hist_quantile(cl->hist, 0.99) / 1e3,
		.p999 = hist_quantile(cl->hist, 0.999) / 1e3,
		.max = (double)cl->hist->max / 1e3,
		.mb_s = (double)be64_get(rep.bytes) / ((double)ns / 1e3),
		.client_s = (double)(cpu_self_ns() - cpu) / 1e9,
		.server_s = (double)be64_get(rep.cpu_ns) / 1e9,
		.messages = cl->messages,
	};
	return 0;
}

int perf_run(const struct conn *c, const struct perf_params *p, struct perf_result *res)
{
	struct client cl = { .c = c, .p = p };
	int r = -ENOMEM;

	cl.buf = malloc(p->size);
	cl.hash = XXH3_createState();
	cl.hist = calloc(1, sizeof(*cl.hist));
	if (cl.buf && cl.hash && cl.hist) {
		XXH3_64bits_reset(cl.hash);
		r = dialogue(&cl, res);
	}
	free(cl.hist);
	XXH3_freeState(cl.hash);
	free(cl.buf);
	return r;
}
