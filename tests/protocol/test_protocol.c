/* SPDX-License-Identifier: MIT */
/*
 * Two endpoints of SMC-D, from the handshake to the last flag, over a fabric in this process: codec,
 * handshake, driver, fabric, CDC, cursors, urgent data and close together, in both byte orders of a
 * fabric and, built for it, on a big-endian host. Only the daemon's timers and sockets are absent.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ism/ism.h"
#include "ism/proto.h"
#include "smcd/daemon/stream.h"
#include "smcd/proto/close.h"
#include "smcd/proto/handshake.h"
#include "tests/protocol/local.h"
#include "vfio/base/log.h"

#define SEC    UINT64_C(1000000000)
#define NATIVE 0x1d15 /* CDC words are big-endian */
#define EMUL   0xff01 /* ... in host order */
#define FLOW   (UINT64_C(1) << 20)

/* One connection's end, its device, and an application that is very patient. */
struct end {
	struct ism_dev *dev;
	struct hs_local local;
	struct hs hs;
	struct ism_dmb *dmb;
	uint8_t code; /* size code of dmb */
	struct stream s;
	struct smc_close close;
	uint8_t *tx; /* mirror of the peer's DMB */
	uint32_t tx_len;
	_Alignas(8) uint8_t cdc[CDC_SIZE];
	uint64_t put; /* bytes of the pattern put into tx */
	uint64_t got; /* ... and found in the DMB */
	bool signalled;
	int error; /* of the stream or a move */
	bool buffer_gone, peer_gone; /* says the device */
};

struct net {
	struct fabric *f;
	struct end end[2];
	uint32_t seed;
};

static const uint8_t eid[1][CLC_EID_LEN] = { "PROTOCOL                        " };

static uint8_t pattern(int from, uint64_t pos)
{
	return (uint8_t)(pos * 167 + (pos >> 8) * 13 + (uint64_t)from * 91 + 1);
}

static uint32_t rnd(struct net *net)
{
	net->seed = net->seed * 1664525u + 1013904223u;
	return net->seed >> 8;
}

/* ---- device ---------------------------------------------------------------------------------- */

static void on_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
	struct end *e = ctx;

	assert_ptr_equal(dmb, e->dmb);
	e->signalled = true;
}

static void on_event(void *ctx, const struct ism_event *ev)
{
	struct end *e = ctx;

	e->buffer_gone = e->buffer_gone || (ev->type == ISM_EVENT_BUF && ev->tok == e->s.token);
	e->peer_gone = e->peer_gone || (ev->type == ISM_EVENT_DEV &&
					       ev->tok == e->hs.peer.gid.gid);
}

static const struct ism_handler handler = { .dmb = on_dmb, .event = on_event };

static int move(void *ctx, const struct ism_move *v, size_t n, size_t *done)
{
	return ism_move_data(((struct end *)ctx)->dev, v, n, done);
}

static void end_open(struct net *net, int i, uint8_t code)
{
	struct ism_params params = { .handler = &handler, .ctx = &net->end[i], .name = "end" };
	struct end *e = &net->end[i];

	assert_int_equal(ism_open(local_open(net->f->fn[i]), &params, &e->dev), 0);
	e->code = code;
	e->local = (struct hs_local){
		.gid = { .gid = ism_gid(e->dev), .gid_ext = ism_chid(e->dev) == EMUL ? 7u : 0,
			.chid = ism_chid(e->dev) },
		.ueid = eid,
		.nr_ueid = 1,
	};
	strcpy(e->local.host, i ? "server" : "client");
}

static struct net *net_new(uint16_t chid, uint8_t client_code, uint8_t server_code)
{
	struct fabric_params params = { .functions = 2, .chid = chid, .gid_base = 0x1d1500000001 };
	struct net *net = calloc(1, sizeof(*net));

	assert_non_null(net);
	assert_int_equal(fabric_new(&params, &net->f), 0);
	net->seed = chid + client_code * 7u + server_code;
	end_open(net, 0, client_code);
	end_open(net, 1, server_code);
	return net;
}

static void net_free(struct net *net)
{
	for (int i = 0; i < 2; i++) {
		struct end *e = &net->end[i];

		if (e->dmb)
			ism_unregister_dmb(e->dev, e->dmb);
		e->dev = ism_close(e->dev);
		free(e->tx);
	}
	assert_int_equal(HASH_COUNT(net->f->dmbs), 0);
	fabric_free(net->f);
	free(net);
}

/* ---- handshake ------------------------------------------------------------------------------- */

/* Registers the DMB that the handshake asks for. */
static enum hs_step give_dmb(struct end *e)
{
	uint64_t peer = e->hs.peer.gid.gid;

	assert_int_equal(ism_register_dmb(e->dev, peer, clc_code_size(e->code), e, &e->dmb), 0);
	stream_open_rx(&e->s, e->dmb->va, e->dmb->size, cdc_order_of_chid(ism_chid(e->dev)));
	return hs_dmb(&e->hs, e->dmb->token, e->code);
}

/* The peer's DMB is known: the stream can begin. */
static void go_active(struct end *e)
{
	e->s.move = move;
	e->s.move_ctx = e;
	e->tx_len = clc_code_size(e->hs.peer.size_code);
	e->tx = aligned_alloc(8, e->tx_len);
	assert_non_null(e->tx);
	stream_open_tx(&e->s, e->hs.peer.token, e->tx_len, e->tx, e->cdc);
	e->close.state = SMC_ACTIVE;
	e->signalled = true; /* a signal may have come before we listened */
}

static void connect_ends(struct net *net)
{
	struct end *c = &net->end[0], *s = &net->end[1];
	const struct clc_gid *asked;

	assert_int_equal(hs_start_client(&c->hs, &c->local, SEC, HS_TIMEOUT_MS), HS_SEND);
	assert_int_equal(hs_start_server(&s->hs, &s->local, SEC, HS_TIMEOUT_MS), HS_WAIT);
	assert_int_equal(hs_input(&s->hs, c->hs.out, c->hs.out_len), HS_WANT_REACH);
	asked = hs_candidate(&s->hs);
	assert_int_equal(asked->chid, ism_chid(s->dev));
	assert_int_equal(hs_reach(&s->hs,
		ism_query_remote_gid(s->dev, asked->gid, false, 0) == 0), HS_WANT_DMB);
	s->hs.first_contact = true;
	assert_int_equal(give_dmb(s), HS_SEND);
	assert_int_equal(hs_input(&c->hs, s->hs.out, s->hs.out_len), HS_WANT_DMB);
	assert_int_equal(give_dmb(c), HS_DONE);
	go_active(c);
	/* The client may write before its Confirm is read: nothing of it is lost. */
	memcpy(c->tx + CDC_SIZE, "early", 5);
	assert_int_equal(stream_push(&c->s, 5, UINT64_MAX, 0, false), 5);
	assert_int_equal(hs_input(&s->hs, c->hs.out, c->hs.out_len), HS_DONE);
	go_active(s);
	assert_int_equal(c->hs.peer.size_code, s->code);
	assert_int_equal(s->hs.peer.size_code, c->code);
	assert_memory_equal(c->hs.eid, s->hs.eid, CLC_EID_LEN);
}

/* ---- traffic --------------------------------------------------------------------------------- */

static void say(struct end *e, int flags)
{
	ssize_t r;

	if (flags <= 0)
		return;
	r = stream_push(&e->s, e->s.tx_sent, 0, (uint8_t)flags, true);
	e->error = r < 0 ? (int)r : e->error;
}

/* What a daemon does in a turn: device, CDC, what is due. */
static void look(struct end *e)
{
	struct stream_news news;

	ism_poll(e->dev);
	if (!e->signalled || e->error)
		return;
	e->signalled = false;
	e->error = stream_pull(&e->s, &news);
	if (e->error)
		return;
	if (news.urgent)
		cdc_take_urgent(e->dmb->va);
	smc_close_peer(&e->close, news.conn_flags);
}

/* The application reads @max bytes at most and checks them. */
static void take(struct net *net, int i, uint64_t max)
{
	struct end *e = &net->end[i];
	uint64_t n = e->s.rx_total - e->s.rx_pos;
	const uint8_t *ring = e->s.dmb + CDC_SIZE;

	n = n < max ? n : max;
	for (uint64_t k = 0; k < n; k++, e->got++)
		assert_int_equal(ring[e->got % e->s.rx_n], pattern(1 - i, e->got));
	assert_int_equal(stream_consume(&e->s, e->got), 0);
	if (!e->error && !smc_tx_forbidden(&e->close) && stream_update_due(&e->s))
		assert_int_equal(stream_push(&e->s, e->s.tx_sent, 0, e->close.tx_flags, true), 0);
}

/* The application puts what fits, at most @max; what was put goes. */
static void put(struct net *net, int i, uint64_t max)
{
	struct end *e = &net->end[i];
	uint64_t room = e->s.tx_n - (e->put - e->s.tx_acked);
	ssize_t r;

	max = max < room ? max : room;
	for (; max; max--, e->put++)
		e->tx[CDC_SIZE + e->put % e->s.tx_n] = pattern(i, e->put);
	r = stream_push(&e->s, e->put, 64 * 1024, e->close.tx_flags, false);
	e->error = r < 0 ? (int)r : e->error;
}

/* The client's five early bytes are no pattern. */
static void skip_early(struct net *net)
{
	struct end *s = &net->end[1];

	look(s);
	assert_int_equal(s->s.rx_total, 5);
	assert_memory_equal(s->s.dmb + CDC_SIZE, "early", 5);
	s->got = 5;
	net->end[0].put = 5;
	assert_int_equal(stream_consume(&s->s, 5), 0);
}

/* Both ways at once, in pieces of any size, until each has sent @total. */
static void flow(struct net *net, uint64_t total)
{
	unsigned int idle = 0;

	while (net->end[0].got < total || net->end[1].got < total) {
		int i = (int)(rnd(net) & 1);
		struct end *e = &net->end[i];
		uint64_t before = e->put + e->got, left = total - e->put;
		uint64_t n = rnd(net) % 9000;

		look(e);
		put(net, i, n < left ? n : left);
		take(net, i, rnd(net) % 9000);
		assert_int_equal(e->error, 0);
		idle = e->put + e->got == before ? idle + 1 : 0;
		assert_true(idle < 1000); /* nobody waits for the other */
	}
}

static void settle(struct net *net)
{
	for (int i = 0; i < 4; i++)
		look(&net->end[i & 1]);
}

static void expect_states(const struct net *net, enum smc_state client, enum smc_state server)
{
	assert_int_equal(net->end[0].close.state, client);
	assert_int_equal(net->end[1].close.state, server);
}

static void local_event(struct end *e, enum smc_local_event ev)
{
	say(e, smc_close_local(&e->close, ev, stream_unread(&e->s)));
}

static struct net *start(uint16_t chid, uint8_t client_code, uint8_t server_code)
{
	struct net *net = net_new(chid, client_code, server_code);

	connect_ends(net);
	skip_early(net);
	return net;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* What lies in the other's memory after five bytes: section 12's vectors, by the fabric's order. */
static void test_bytes_on_the_fabric(void **state)
{
	static const uint8_t big[CDC_SIZE] = { 0xfe, [13] = 5 }, little[CDC_SIZE] = { 0xfe, [10] = 5 };
	struct net *net;

	net = start(NATIVE, 2, 2);
	assert_memory_equal(net->end[1].dmb->va, big, CDC_SIZE);
	net_free(net);
	net = start(EMUL, 2, 2);
	assert_memory_equal(net->end[1].dmb->va,
		__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? big : little, CDC_SIZE);
	net_free(net);
}

static void whole_life(uint16_t chid, uint8_t client_code, uint8_t server_code)
{
	struct net *net = start(chid, client_code, server_code);
	struct end *c = &net->end[0], *s = &net->end[1];
	uint64_t total = FLOW;

	flow(net, total);
	assert_true(c->s.tx_sent > 3 * c->s.tx_n || client_code > 3 || server_code > 3);

	/* Urgent: nothing behind it before it is passed; passing it is told at once. */
	for (int i = 0; i < 2; i++) {
		struct end *tx = &net->end[i], *rx = &net->end[1 - i];

		tx->s.tx_urg = tx->put + 100;
		put(net, i, 100);
		look(rx);
		assert_int_equal(rx->s.rx_urg, tx->put);
		assert_int_equal(((const uint8_t *)rx->dmb->va)[22] & CDC_URG_PRESENT, 0);
		take(net, 1 - i, 99);
		assert_false(stream_unread(&rx->s));
		take(net, 1 - i, 1);
		look(tx);
		assert_int_equal(tx->s.tx_acked, tx->put);
	}
	total += 100;

	/* The client half-closes; the server goes on sending, closes; the client closes. */
	local_event(c, SMC_EV_SHUTDOWN_WR);
	settle(net);
	expect_states(net, SMC_PEERCLOSEWAIT1, SMC_APPCLOSEWAIT1);
	put(net, 1, 3000);
	look(c);
	take(net, 0, UINT64_MAX);
	assert_int_equal(c->got, total + 3000);
	local_event(s, SMC_EV_CLOSE);
	settle(net);
	expect_states(net, SMC_APPFINCLOSEWAIT, SMC_PEERFINCLOSEWAIT);
	local_event(c, SMC_EV_CLOSE);
	assert_int_equal(c->close.tx_flags, CDC_SENDING_DONE | CDC_CONN_CLOSED);
	settle(net);
	expect_states(net, SMC_CLOSED, SMC_CLOSED);
	assert_int_equal(c->error, 0);
	assert_int_equal(s->error, 0);
	net_free(net);
}

static void test_whole_life(void **state)
{
	static const uint16_t chid[] = { NATIVE, EMUL };

	for (int i = 0; i < 2; i++) {
		whole_life(chid[i], 0, 0);
		whole_life(chid[i], 0, 2); /* the two directions are independent */
		whole_life(chid[i], 6, 0);
	}
}

static void test_close_after_data(void **state)
{
	struct net *net = start(NATIVE, 0, 0);
	struct end *c = &net->end[0], *s = &net->end[1];

	put(net, 0, 5000);
	local_event(c, SMC_EV_CLOSE);
	look(s); /* one signal for both: the end is seen with all of the data */
	expect_states(net, SMC_PEERCLOSEWAIT1, SMC_APPCLOSEWAIT1);
	assert_true(smc_rx_shutdown(&s->close));
	assert_false(smc_can_send(&s->close));
	take(net, 1, UINT64_MAX);
	assert_int_equal(s->got, 5005);
	local_event(s, SMC_EV_CLOSE);
	settle(net);
	expect_states(net, SMC_CLOSED, SMC_CLOSED);
	net_free(net);
}

/* Closed with bytes unread, and aborted in the middle of it all: A, and no word after it. */
static void test_aborts(void **state)
{
	for (int kind = 0; kind < 2; kind++) {
		struct net *net = start(NATIVE, 0, 0);
		struct end *c = &net->end[0], *s = &net->end[1];

		flow(net, 100000);
		put(net, 1, 10);
		look(c);
		local_event(c, kind ? SMC_EV_ABORT : SMC_EV_CLOSE);
		assert_int_equal(c->close.tx_flags, CDC_ABNORMAL);
		look(s);
		expect_states(net, kind ? SMC_PEERABORTWAIT : SMC_PEERCLOSEWAIT1, SMC_PROCESSABORT);
		assert_true(smc_tx_forbidden(&s->close));
		local_event(s, SMC_EV_CLOSE);
		settle(net);
		expect_states(net, SMC_CLOSED, SMC_CLOSED);
		net_free(net);
	}
}

/* The peer's buffer goes, then its function: moves fail, and the survivor is told by events. */
static void test_peer_goes(void **state)
{
	struct net *net = start(NATIVE, 0, 0);
	struct end *c = &net->end[0], *s = &net->end[1];

	flow(net, 50000);
	ism_unregister_dmb(s->dev, s->dmb);
	s->dmb = NULL;
	look(c);
	assert_true(c->buffer_gone && !c->peer_gone);
	put(net, 0, 100);
	assert_int_equal(c->error, -EIO);
	assert_int_equal(c->s.tx_sent, 50000); /* not a byte of it counts */
	s->dev = ism_close(s->dev);
	ism_poll(c->dev);
	assert_true(c->peer_gone);
	assert_int_equal(ism_query_remote_gid(c->dev, s->local.gid.gid, false, 0), -ENETUNREACH);
	net_free(net);
}

/* Cursors that cannot be, written by a peer that may write our block. */
static void test_lies(void **state)
{
	const uint32_t n = 16384 - CDC_SIZE;
	struct cdc_msg lies[] = {
		{ .prod = { 0, n } }, { .prod = { 0, UINT32_MAX } }, { .prod = { 2, 0 } },
		{ .prod = { 1, 0 }, .cons = { 0, 1 } }, { .prod = { 65535, 0 } },
		{ .prod = { 0, 4 } }, { .prod = { 1, 6 } }, { .prod = { 0, 5 }, .cons = { 1, 0 } },
		{ .prod = { 0, n }, .prod_flags = CDC_URG_PRESENT },
		{ .prod = { 0, 0 }, .prod_flags = CDC_URG_PRESENT },
	};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct net *net = start(NATIVE, 0, 0);
		struct end *c = &net->end[0], *s = &net->end[1];
		struct ism_move v = { .token = s->dmb->token, .len = CDC_SIZE, .data = c->cdc,
			.sf = true };
		size_t done;

		cdc_encode(c->cdc, &lies[i], CDC_BIG);
		assert_int_equal(ism_move_data(c->dev, &v, 1, &done), 0);
		look(s);
		assert_int_equal(s->error, -EPROTO);
		assert_int_equal(s->s.rx_total, 5);
		assert_int_equal(s->s.rx_urg, 0);
		local_event(s, SMC_EV_ABORT);
		look(c);
		assert_int_equal(c->close.state, SMC_PROCESSABORT);
		net_free(net);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_on_the_fabric),
		cmocka_unit_test(test_whole_life),
		cmocka_unit_test(test_close_after_data),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_peer_goes),
		cmocka_unit_test(test_lies),
	};

	log_init("test", LOG_LEVEL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
