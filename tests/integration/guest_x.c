/* SPDX-License-Identifier: MIT */
#include "tests/integration/guest_x.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ism/proto.h"
#include "smcd/proto/lgr.h"
#include "vfio/base/fd.h"
#include "vfio/base/log.h"
#include "vfio/user/client.h"

#define LINK_N (RDV_DMB_SIZE - CDC_SIZE)

static void x_event(void *ctx, const struct ism_event *ev)
{
	struct guest_x *x = ctx;

	if (ev->type != ISM_EVENT_SWR || ev->tok != GID_A)
		return;
	if (ev->code == RDV_EV_ANSWER)
		x->answer = ev->info;
	if (ev->code == LGR_EV_TESTLINK) {
		x->echoes++;
		x->echo = *ev;
	}
}

static void x_dmb(void *ctx, struct ism_dmb *dmb, uint16_t mask)
{
}

static void x_overrun(void *ctx)
{
}

static const struct ism_handler x_handler = {
	.dmb = x_dmb, .event = x_event, .overrun = x_overrun
};

void x_open(struct guest_x *x, struct guests *g)
{
	struct vu_client_params vp = { 0 };
	struct ism_params ip = { .handler = &x_handler, .ctx = x, .name = "x" };
	struct vfio_device *vdev;
	struct zpci *z;
	char path[256];

	log_init("guest-x", LOG_LEVEL_ERR);
	memset(x, 0, sizeof(*x));
	snprintf(path, sizeof(path), "%s/fabric/ism2.sock", g->dir);
	vp.path = path;
	assert_int_equal(vu_client_open(&vp, &vdev), 0);
	assert_int_equal(zpci_open(vdev, &z), 0);
	assert_int_equal(ism_open(z, &ip, &x->dev), 0);
	x->order = cdc_order_of_chid(ism_chid(x->dev));
}

void x_close(struct guest_x *x)
{
	x->dev = ism_close(x->dev);
}

void x_offer(struct guest_x *x, uint64_t token)
{
	x->answer = 0;
	for (int i = 0; i < HANG_MS && !x->answer; i++) {
		if (i % 50 == 0)
			assert_int_equal(ism_signal_event(x->dev, GID_A, RDV_EV_OFFER, token), 0);
		x_idle(x, 1);
	}
	assert_int_not_equal(x->answer, 0);
}

void x_store(struct guest_x *x, uint64_t token, uint32_t offset, const void *data, uint32_t len)
{
	struct ism_move m = {
		.token = token, .offset = offset, .len = len, .data = data, .sf = true
	};
	size_t done;

	ism_move_data(x->dev, &m, 1, &done);
}

void x_cdc(struct guest_x *x, uint64_t token, struct cdc_msg msg)
{
	uint8_t cdc[CDC_SIZE];

	cdc_encode(cdc, &msg, x->order);
	x_store(x, token, 0, cdc, sizeof(cdc));
}

void x_idle(struct guest_x *x, unsigned int ms)
{
	for (unsigned int i = 0; i < ms; i++) {
		ism_poll(x->dev);
		sleep_ms(1);
	}
}

/* ---- the control link ---- */

static void say(struct guest_x *x, const struct rdv_record *rec)
{
	uint8_t buf[RDV_MAX_LEN];
	ssize_t len = rdv_encode(buf, rec);

	assert_true(len > 0);
	for (ssize_t i = 0; i < len; i++, x->tx++) /* byte by byte: it may wrap */
		x_store(x, x->answer, CDC_SIZE + (uint32_t)(x->tx % LINK_N), &buf[i], 1);
	x_cdc(x, x->answer, (struct cdc_msg){ .prod = cursor_of(x->tx, LINK_N),
		.cons = cursor_of(x->rx, LINK_N) });
}

static void hear(struct guest_x *x, struct rdv_record *rec)
{
	for (int i = 0; i < HANG_MS; i++) {
		const uint8_t *ring = (const uint8_t *)x->dmb->va + CDC_SIZE;
		struct smc_cursor prod = cdc_load_prod(x->dmb->va, x->order);
		uint64_t new;
		size_t used;

		assert_int_equal(cursor_advance(x->rx, prod, LINK_N, LINK_N, &new), 0);
		for (uint64_t k = 0; k < new; k++) {
			int r = rdv_decode(&x->dec, &ring[x->rx++ % LINK_N], 1, &used, rec);

			assert_true(r >= 0);
			if (r == 1)
				return;
		}
		x_idle(x, 1);
	}
	fail_msg("guest A says nothing");
}

void x_link(struct guest_x *x)
{
	struct rdv_record rec = { .type = RDV_HELLO, .name = "guest-x", .version = RDV_VERSION };

	assert_int_equal(ism_register_dmb(x->dev, GID_A, RDV_DMB_SIZE, NULL, &x->dmb), 0);
	x_offer(x, x->dmb->token);
	say(x, &rec);
	hear(x, &rec);
	assert_int_equal(rec.type, RDV_HELLO);
}

void x_propose(struct guest_x *x, const char *service, uint16_t port, const uint8_t *clc,
	size_t len, struct rdv_record *answer)
{
	struct rdv_record rec = { .type = RDV_CLC, .src_conn = ++x->conns, .port = port,
		.clc = clc, .clc_len = len };

	snprintf(rec.name, sizeof(rec.name), "%s", service);
	say(x, &rec);
	do {
		hear(x, answer); /* what still comes for earlier channels is none of this one's */
	} while (answer->type != RDV_CLC || answer->dst_conn != x->conns);
}

void x_connect(struct guest_x *x, const char *service, uint16_t port, struct x_channel *ch)
{
	uint8_t ueid[1][CLC_EID_LEN];
	struct hs_local local = { .gid = { .gid = ism_gid(x->dev), .chid = ism_chid(x->dev) },
		.ueid = (const uint8_t (*)[CLC_EID_LEN])ueid, .nr_ueid = 1, .host = "guest-x" };
	struct rdv_record rec;
	struct hs hs;

	assert_int_equal(clc_eid(ueid[0], "SMCD-USER"), 0);
	assert_int_equal(hs_start_client(&hs, &local, clock_ns(), HS_TIMEOUT_MS), HS_SEND);
	x_propose(x, service, port, hs.out, hs.out_len, &rec);
	assert_int_equal(hs_input(&hs, rec.clc, rec.clc_len), HS_WANT_DMB);
	assert_int_equal(ism_register_dmb(x->dev, GID_A, 16384, NULL, &ch->dmb), 0);
	assert_int_equal(hs_dmb(&hs, ch->dmb->token, 0), HS_DONE);
	rec = (struct rdv_record){ .type = RDV_CLC, .src_conn = x->conns, .dst_conn = rec.src_conn,
		.clc = hs.out, .clc_len = hs.out_len };
	say(x, &rec);
	ch->conn = rec.dst_conn;
	ch->token = hs.peer.token;
	ch->n = clc_code_size(hs.peer.size_code) - CDC_SIZE;
	ch->own_n = 16384 - CDC_SIZE;
}

void x_stray_cdc(struct guest_x *x, uint32_t conn, struct cdc_msg msg)
{
	struct rdv_record rec = { .type = RDV_CDC, .src_conn = x->conns, .dst_conn = conn };
	uint8_t block[CDC_SIZE];

	cdc_encode(block, &msg, x->order);
	memcpy(rec.words, block + CDC_PROD_WORD, sizeof(rec.words));
	say(x, &rec);
	do {
		hear(x, &rec);
	} while (rec.type != RDV_RESET || rec.dst_conn != x->conns);
	assert_int_equal(rec.src_conn, conn);
}

/* ---- the others ---- */

static void *bystander_tx(void *arg)
{
	struct bystander *s = arg;

	while (!s->stop)
		pattern_send(s->a, 31, &s->sent, 5000);
	smcdu_shutdown(s->a);
	return NULL;
}

static void *bystander_rx(void *arg)
{
	struct bystander *s = arg;
	uint8_t buf[20000];
	ssize_t n;

	while ((n = smcdu_recv(s->b, buf, sizeof(buf), 0)) > 0) {
		if (pattern_check(buf, (size_t)n, 31, s->got) != (size_t)n)
			break;
		s->got += (uint64_t)n;
	}
	return (void *)(intptr_t)n;
}

void bystander_start(struct bystander *s, struct guests *g)
{
	memset(s, 0, sizeof(*s));
	guests_connect(g, GUEST_A, "bystander", &s->a, &s->b);
	pthread_create(&s->tx, NULL, bystander_tx, s);
	pthread_create(&s->rx, NULL, bystander_rx, s);
}

void bystander_unharmed(struct bystander *s)
{
	void *end;

	s->stop = true;
	pthread_join(s->tx, NULL);
	pthread_join(s->rx, &end);
	assert_null(end);
	assert_int_equal(s->got, s->sent);
	smcdu_close(s->a);
	smcdu_close(s->b);
}
