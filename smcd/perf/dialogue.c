/* SPDX-License-Identifier: MIT */
#include "smcd/perf/dialogue.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "smcd/perf/cpu.h"
#include "smcd/perf/flow.h"
#include "smcd/perf/wire.h"
#include "vfio/base/fd.h"

#define WARM_SHARE    10u		   /* the run before the run has this part of its length */
#define WARM_MAX_NS   UINT64_C(50000000)
#define CLOCK_BYTES   16384u		   /* a stream looks at the clock about this often ... */
#define CLOCK_MAX     64u		   /* ... but once in so many messages at least */

/* One side's part in a test. */
struct party {
	struct flow tx, rx;
	const struct perf_params *p;
	struct hist *rtt;    /* the client of an rtt test */
	uint64_t start;	     /* of a sender that ends by itself */
	bool follows;	     /* a sender that ends when the other side has, not by @p */
	_Atomic bool ended;  /* it has */
	uint64_t messages;
	uint64_t sender_cpu_ns; /* of the second thread of both ways */
};

static int party_init(struct party *y, struct link *l)
{
	const struct perf_params *p = y->p;
	int r = flow_init(&y->tx, l, p->copy, p->size, p->verify);

	if (r == 0) {
		r = flow_init(&y->rx, l, p->copy, p->size, p->verify);
		if (r < 0)
			flow_fini(&y->tx);
	}
	if (r == 0 && p->test == PERF_RTT)
		y->tx.piece = y->rx.piece = FLOW_PIECE_EARLY;
	return r;
}

static void party_fini(struct party *y)
{
	flow_fini(&y->tx);
	flow_fini(&y->rx);
}

/* ---- one way --------------------------------------------------------------------------------- */

static int send_one(struct party *y, uint8_t mark)
{
	flow_prepare(&y->tx, mark);
	y->messages++;
	return flow_put(&y->tx, mark);
}

/* The clock costs as much as a small message, so it is not asked before each. */
static int send_all(struct party *y)
{
	const struct perf_params *p = y->p;
	uint64_t every = CLOCK_BYTES / p->size;
	bool last;
	int r;

	every = every > CLOCK_MAX ? CLOCK_MAX : every ? every : 1;
	do {
		if (y->follows)
			last = atomic_load_explicit(&y->ended, memory_order_relaxed);
		else if (p->count)
			last = y->messages + 1 == p->count;
		else
			last = y->messages % every == 0 && clock_ns() - y->start >= p->ns;
		r = send_one(y, last ? WIRE_LAST : WIRE_MORE);
	} while (r == 0 && !last);
	return r;
}

static int receive_all(struct party *y)
{
	uint8_t mark = 0;
	int r;

	do {
		r = flow_get(&y->rx, &mark);
		if (r < 0)
			return r;
		flow_finish(&y->rx);
	} while (mark == WIRE_MORE);
	return mark == WIRE_LAST ? 0 : -EPROTO;
}

/* ---- there and back -------------------------------------------------------------------------- */

/* With zero copy writing and reading are part of the round trip: there is no other moment for them. */
static int ping(struct party *y)
{
	const struct perf_params *p = y->p;
	uint64_t begin, now = y->start;
	uint8_t mark, echo = 0;
	int r;

	do {
		mark = (p->count ? y->messages + 1 == p->count : now - y->start >= p->ns) ?
			WIRE_LAST : WIRE_MORE;
		flow_prepare(&y->tx, mark);
		begin = clock_ns();
		r = flow_put(&y->tx, mark);
		if (r == 0)
			r = flow_get(&y->rx, &echo);
		now = clock_ns();
		if (r < 0)
			return r;
		flow_finish(&y->rx);
		hist_add(y->rtt, now - begin);
		y->messages++;
		if (echo != mark)
			return -EBADMSG;
	} while (mark == WIRE_MORE);
	return 0;
}

static int pong(struct party *y)
{
	uint8_t mark = 0;
	int r;

	do {
		r = flow_get(&y->rx, &mark);
		if (r < 0)
			return r;
		flow_finish(&y->rx);
		r = flow_return(&y->tx, &y->rx, mark);
	} while (r == 0 && mark == WIRE_MORE);
	return r < 0 ? r : mark == WIRE_LAST ? 0 : -EPROTO;
}

/* ---- both ways at once ----------------------------------------------------------------------- */

struct sender {
	struct party *party;
	int result;
};

static void *sender_main(void *arg)
{
	struct sender *s = arg;

	s->result = send_all(s->party);
	s->party->sender_cpu_ns = cpu_thread_ns();
	return NULL;
}

static int both_ways(struct party *y)
{
	struct sender s = { .party = y };
	pthread_t t;
	int r = -pthread_create(&t, NULL, sender_main, &s);

	if (r < 0)
		return r;
	r = receive_all(y);
	atomic_store(&y->ended, true);
	pthread_join(t, NULL);
	return r < 0 ? r : s.result;
}

/* ---- server ---------------------------------------------------------------------------------- */

static int serve_messages(struct party *y)
{
	switch (y->p->test) {
	case PERF_RTT: return pong(y);
	case PERF_STREAM: return receive_all(y);
	default: y->follows = true; return both_ways(y);
	}
}

static uint64_t stores_of(const struct link *l)
{
	return l->ops->stores ? l->ops->stores(l) : 0;
}

static int understand(const struct wire_req *req, struct perf_params *p)
{
	uint32_t flags = be32_get(req->flags);

	*p = (struct perf_params){
		.test = (enum perf_test)be32_get(req->test),
		.size = be32_get(req->size),
		.spin_us = be32_get(req->spin_us),
		.server_cpu = be32_get(req->cpu),
		.copy = flags & WIRE_ZERO ? PERF_ZERO : PERF_COPY,
		.verify = (flags & WIRE_VERIFY) != 0,
	};
	if (be32_get(req->magic) != WIRE_MAGIC || !p->size || p->size > PERF_SIZE_MAX)
		return -EPROTO;
	return p->test == PERF_RTT || p->test == PERF_STREAM || p->test == PERF_BIDI ? 0 : -EPROTO;
}

static int serve_one(struct link *l, const struct perf_params *p)
{
	uint64_t cpu = cpu_thread_ns();
	struct wire_report rep;
	struct party y = { .p = p };
	int r = l->ops->set_spin ? l->ops->set_spin(l, p->spin_us) : 0;

	if (r == 0)
		r = party_init(&y, l);
	if (r < 0)
		return r;
	r = serve_messages(&y);
	rep = (struct wire_report){
		.magic = be32_of(WIRE_MAGIC),
		.rx_bytes = be64_of(y.rx.bytes),
		.rx_hash = be64_of(flow_hash(&y.rx)),
		.tx_bytes = be64_of(y.tx.bytes),
		.tx_hash = be64_of(flow_hash(&y.tx)),
		.cpu_ns = be64_of(cpu_thread_ns() - cpu + y.sender_cpu_ns),
	};
	party_fini(&y);
	return r < 0 ? r : l->ops->send(l, &rep, sizeof(rep));
}

/* One byte instead of a request: the connect test. 1: sent back; 0: it is a request. */
static int serve_echo(struct link *l)
{
	const void *p = NULL;
	size_t n = 0;
	char byte;
	int r;

	if (!l->ops->peek)
		return 0;
	r = l->ops->peek(l, &p, &n);
	if (r < 0)
		return r;
	byte = *(const char *)p;
	if (byte != WIRE_ECHO)
		return 0;
	r = l->ops->release(l, 1);
	if (r == 0)
		r = l->ops->send(l, &byte, 1);
	return r < 0 ? r : 1;
}

static int serve_next(struct link *l)
{
	struct perf_params p = { 0 };
	struct wire_req req;
	int r = serve_echo(l);

	if (r)
		return r < 0 ? r : 0;
	r = l->ops->recv(l, &req, sizeof(req));
	if (r == 0)
		r = understand(&req, &p);
	if (r == 0)
		r = cpu_pin(p.server_cpu);
	return r < 0 ? r : serve_one(l, &p);
}

int perf_serve(struct link *l)
{
	int r;

	do
		r = serve_next(l);
	while (r == 0);
	return r == -ENODATA ? 0 : r;
}

/* ---- client ---------------------------------------------------------------------------------- */

static int request(struct link *l, const struct perf_params *p)
{
	struct wire_req req = {
		.magic = be32_of(WIRE_MAGIC),
		.test = be32_of(p->test),
		.size = be32_of(p->size),
		.flags = be32_of((p->verify ? WIRE_VERIFY : 0) |
				 (p->copy == PERF_ZERO ? WIRE_ZERO : 0)),
		.spin_us = be32_of(p->spin_us),
		.cpu = be32_of(p->server_cpu),
	};

	return l->ops->send(l, &req, sizeof(req));
}

static int client_messages(struct party *y)
{
	switch (y->p->test) {
	case PERF_RTT: return ping(y);
	case PERF_STREAM: return send_all(y);
	default: return both_ways(y);
	}
}

static bool report_right(const struct party *y, const struct wire_report *rep)
{
	return be32_get(rep->magic) == WIRE_MAGIC && be64_get(rep->rx_bytes) == y->tx.bytes &&
	       be64_get(rep->tx_bytes) == y->rx.bytes &&
	       be64_get(rep->rx_hash) == flow_hash(&y->tx) &&
	       be64_get(rep->tx_hash) == flow_hash(&y->rx);
}

static int dialogue(struct party *y, struct perf_result *res)
{
	struct link *l = y->tx.link;
	uint64_t stores = stores_of(l);
	struct wire_report rep = { 0 };
	int r = request(l, y->p);

	y->start = clock_ns();
	y->rtt = &res->rtt;
	if (r == 0)
		r = client_messages(y);
	if (r == 0)
		r = l->ops->recv(l, &rep, sizeof(rep)); /* the receiver has read the last byte */
	if (r < 0)
		return r;
	if (!report_right(y, &rep))
		return -EBADMSG;
	res->ns += clock_ns() - y->start;
	res->bytes += y->tx.bytes + (y->p->test == PERF_BIDI ? y->rx.bytes : 0);
	res->messages += y->messages;
	res->server_cpu_ns += be64_get(rep.cpu_ns);
	res->stores += stores_of(l) - stores;
	return 0;
}

static int run_once(struct link *l, const struct perf_params *p, struct perf_result *res)
{
	struct party y = { .p = p };
	int r = party_init(&y, l);

	if (r < 0)
		return r;
	r = dialogue(&y, res);
	party_fini(&y);
	return r;
}

int perf_warm(struct link *l, const struct perf_params *p)
{
	static _Thread_local struct perf_result unused;
	struct perf_params warm = *p;
	int r = l->ops->set_spin ? l->ops->set_spin(l, p->spin_us) : 0;

	if (p->count)
		warm.count = (p->count + WARM_SHARE - 1) / WARM_SHARE;
	warm.ns = p->ns / WARM_SHARE < WARM_MAX_NS ? p->ns / WARM_SHARE : WARM_MAX_NS;
	return r < 0 ? r : run_once(l, &warm, &unused);
}

int perf_run(struct link *l, const struct perf_params *p, struct perf_result *res)
{
	return run_once(l, p, res);
}
