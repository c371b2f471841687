/* SPDX-License-Identifier: MIT */
#include "tests/integration/guest_x.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "smcd/ipc/chan.h"
#include "vfio/base/fd.h"

/*
 * Established channels with a hostile end: a guest that writes what it likes into the CDC block of
 * a data channel, an application that does the same to its control page, both also as fast as they
 * can while others look. The honest end gets an error, never a byte too many, and nobody else
 * notices.
 */
static struct guests g;

static int setup(void **state)
{
	guests_start(&g, NULL);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g);
	return 0;
}

static void expect_error(ssize_t r, int kind)
{
	if (r != -ECONNRESET && r != -EPROTO)
		fail_msg("attack %d: %zd instead of an error", kind, r);
}

/* ---- a hostile peer ---- */

struct prey {
	struct smcdu_listener *l;
	struct smcdu_channel *ch;
	struct x_channel x;
};

static void prey_catch(struct prey *p, struct guest_x *x)
{
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "prey", 0, &p->l), 0);
	x_connect(x, "prey", (uint16_t)smcdu_listener_port(p->l), &p->x);
	assert_int_equal(smcdu_accept(p->l, 0, &p->ch), 0);
}

static void prey_free(struct prey *p, struct guest_x *x)
{
	smcdu_close(p->ch);
	smcdu_listener_free(p->l);
	ism_unregister_dmb(x->dev, p->x.dmb);
}

/*
 * The channel fails in bounded time and with no byte too many; an end that came before stays an end
 * to the receiver, the sender is told.
 */
static void expect_fails(struct prey *p, int kind)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS, got = 0;
	struct smcdu_channel_stats st;
	uint8_t buf[5000];
	ssize_t r;

	do {
		r = smcdu_recv(p->ch, buf, sizeof(buf), SMCDU_DONTWAIT);
		got += r > 0 ? (uint64_t)r : 0;
		if (r == 0 || r == -EAGAIN)
			sleep_ms(1);
		if (clock_ns() > end || got > p->x.n)
			fail_msg("attack %d: no error, but %zd after %llu bytes", kind, r,
				(unsigned long long)got);
		smcdu_channel_stats(p->ch, &st);
	} while (r > 0 || st.error == 0);
	expect_error(-st.error, kind);
	if (r != 0)
		expect_error(smcdu_recv(p->ch, buf, 1, 0), kind);
	expect_error(smcdu_send(p->ch, buf, sizeof(buf), 0), kind);
	assert_true(smcdu_events(p->ch) & SMCDU_ERR);
}

/* Whether the daemon has taken in so many bytes of the channel, or knows that it has failed. */
static bool has_seen(uint64_t id, int bytes)
{
	struct json_object *root, *list, *c;
	char *text = NULL;
	bool seen = true; /* a channel that is gone has failed */

	assert_int_equal(smcdu_query(g.ctx[GUEST_A], "channel", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "channels", &list));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		c = json_object_array_get_idx(list, i);
		if ((uint64_t)json_number(c, "id") == id)
			seen = json_number(c, "rx_bytes") >= bytes || json_number(c, "error") != 0;
	}
	json_object_put(root);
	return seen;
}

/* A block that nobody has looked at when the next one comes is as if it had not been. */
static void let_see(struct prey *p, struct guest_x *x, int bytes)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct smcdu_channel_info info;

	smcdu_channel_info(p->ch, &info);
	while (!has_seen(info.id, bytes)) {
		if (clock_ns() > end)
			fail_msg("guest A does not see %d bytes", bytes);
		x_idle(x, 1);
	}
}

static void test_hostile_cdc(void **state)
{
	struct guest_x x;
	struct bystander s;
	struct prey p;

	x_open(&x, &g);
	bystander_start(&s, &g);
	x_link(&x);
	for (int kind = 0;; kind++) {
		struct cdc_msg first = { .prod = { 0, 100 } }, second = first;
		uint32_t n;

		prey_catch(&p, &x);
		n = p.x.n;
		switch (kind) {
		case 0: second.prod.count = n; break;
		case 1: second.prod.count = UINT32_MAX; break;
		case 2: second.prod.wrap = 2; break;
		case 3: second.prod = (struct smc_cursor){ 65535, n - 1 }; break;
		case 4: second.prod.count = 99; break;
		case 5: second.prod = (struct smc_cursor){ 1, 101 }; break;
		case 6: second.cons.count = 1; break;
		case 7: second.cons = (struct smc_cursor){ 1, 0 }; break;
		case 8: second.cons.count = UINT32_MAX; break;
		case 9: first.conn_flags = CDC_SENDING_DONE; break;
		case 10:
			first.conn_flags = second.conn_flags = CDC_SENDING_DONE;
			second.prod.count = 101;
			break;
		case 11:
			first.conn_flags = second.conn_flags = CDC_CONN_CLOSED;
			second.prod.count = 101;
			break;
		case 12: first.conn_flags = CDC_CONN_CLOSED | CDC_SENDING_DONE; break;
		case 13: second.conn_flags = second.prod_flags = 0xff; break;
		default:
			prey_free(&p, &x);
			bystander_unharmed(&s);
			x_close(&x);
			guests_wait_stat(&g, GUEST_A, "channels", 0);
			return;
		}
		x_cdc(&x, p.x.token, first);
		let_see(&p, &x, (int)first.prod.count);
		x_cdc(&x, p.x.token, second);
		expect_fails(&p, kind);
		prey_free(&p, &x);
	}
}

static void *use_channel(void *arg)
{
	struct smcdu_channel *ch = arg;
	uint8_t buf[3000] = { 0 };
	const void *data;
	unsigned int i = 0;
	size_t len;
	ssize_t r;

	do {
		smcdu_send(ch, buf, sizeof(buf), SMCDU_DONTWAIT | (i % 8 ? 0 : SMCDU_OOB));
		smcdu_recv(ch, buf, 1, SMCDU_OOB);
		smcdu_set_oob_inline(ch, i++ / 64 % 2 != 0);
		if (smcdu_peek(ch, &data, &len, SMCDU_DONTWAIT) == 0 && len)
			smcdu_release(ch, len / 2);
		r = smcdu_recv(ch, buf, sizeof(buf), 0);
	} while (r > 0);
	while (r == 0) { /* half closed: what is sent must fail at last, too */
		if (smcdu_send(ch, buf, 100, 0) < 0)
			r = -1;
	}
	return NULL;
}

static uint32_t rnd(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/*
 * Never a lie in the cursors, so that the channel lives on, but all that is allowed: flags that come
 * and go, urgent bytes that nobody sent, payload that changes while it is read, words that arrive
 * one by one, reserved bytes.
 */
static void tease(struct guest_x *x, const struct x_channel *ch, uint32_t seed, unsigned int ms)
{
	uint64_t end = clock_ns() + (uint64_t)ms * 1000000, prod = 0, acked = 0, seen = 0, n;
	uint8_t junk[256], cdc[CDC_SIZE];

	while (clock_ns() < end) {
		struct cdc_msg m = { .prod_flags = (uint8_t)rnd(&seed), .conn_flags = 0 };
		struct cdc_msg his;
		uint32_t k;

		for (size_t i = 0; i < sizeof(junk); i++)
			junk[i] = (uint8_t)rnd(&seed);
		x_store(x, ch->token, CDC_SIZE + rnd(&seed) % (ch->n - sizeof(junk)), junk,
			1 + rnd(&seed) % sizeof(junk));
		/* What he has read may be written again; what he sent may be read. */
		cdc_load(ch->dmb->va, x->order, &his);
		if (cursor_advance(acked, his.cons, ch->n, prod - acked, &n) == 0)
			acked += n;
		if (cursor_advance(seen, his.prod, ch->own_n, ch->own_n, &n) == 0)
			seen += n;
		k = rnd(&seed) % 3000;
		prod += k < ch->n - (prod - acked) ? k : ch->n - (prod - acked);
		m.prod = cursor_of(prod, ch->n);
		m.cons = cursor_of(seen, ch->own_n);
		cdc_encode(cdc, &m, x->order);
		memcpy(cdc, junk, 8);
		memcpy(cdc + 24, junk, 8);
		if (k % 2) { /* word by word */
			x_store(x, ch->token, CDC_PROD_WORD, cdc + CDC_PROD_WORD, 8);
			x_store(x, ch->token, CDC_CONS_WORD, cdc + CDC_CONS_WORD, 8);
		} else {
			x_store(x, ch->token, 0, cdc, sizeof(cdc));
		}
	}
}

/* Now true, now nearly true, now nonsense; never still. */
static void mutate(struct guest_x *x, const struct x_channel *ch, uint32_t seed, unsigned int ms)
{
	uint64_t end = clock_ns() + (uint64_t)ms * 1000000, prod = 0;

	while (clock_ns() < end) {
		struct cdc_msg m = { .prod_flags = (uint8_t)rnd(&seed) };
		uint32_t what = rnd(&seed) % 64;

		prod += what < 60 ? rnd(&seed) % 200 : 0;
		m.prod = cursor_of(prod, ch->n);
		if (what == 60)
			m.prod.wrap = (uint16_t)rnd(&seed);
		if (what == 61)
			m.prod.count = rnd(&seed);
		if (what == 62)
			m.cons = (struct smc_cursor){ (uint16_t)rnd(&seed), rnd(&seed) };
		if (what == 63)
			m.conn_flags = (uint8_t)rnd(&seed);
		x_cdc(x, ch->token, m);
	}
}

/* Nothing that was done to it was forbidden. Its reader may not have had a processor yet. */
static void expect_alive(const struct prey *p)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct smcdu_channel_stats st;

	smcdu_channel_stats(p->ch, &st);
	while (st.rx_bytes == 0 && st.error == 0 && clock_ns() < end) {
		sleep_ms(1);
		smcdu_channel_stats(p->ch, &st);
	}
	assert_int_equal(st.error, 0);
	assert_int_equal(st.state, 1);
	assert_true(st.rx_bytes > 0);
}

static void test_mutating_peer(void **state)
{
	struct guest_x x;
	struct bystander s;
	struct prey p;

	x_open(&x, &g);
	bystander_start(&s, &g);
	x_link(&x);
	for (uint32_t i = 0; i < 20; i++) {
		pthread_t user;

		prey_catch(&p, &x);
		pthread_create(&user, NULL, use_channel, p.ch);
		if (i % 2) {
			tease(&x, &p.x, i, 50);
			expect_alive(&p);
		} else {
			mutate(&x, &p.x, i, 50);
		}
		/* if it went through all that, this is the end */
		x_cdc(&x, p.x.token, (struct cdc_msg){ .conn_flags = CDC_ABNORMAL });
		pthread_join(user, NULL);
		prey_free(&p, &x);
	}
	bystander_unharmed(&s);
	x_close(&x);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

/* ---- a hostile application ---- */

struct raw {
	int sock;
	struct ipc_channel info;
	struct chan_ctl *ctl;
	struct smcdu_channel *peer;
};

static void raw_connect(struct raw *r)
{
	struct ipc_connect c = { .hdr = ipc_hdr(IPC_CONNECT), .peer = "guest-b", .service = "raw" };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct smcdu_listener *l;
	unsigned int n = 0;
	void *map;
	int fds[2];

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "raw", 0, &l), 0);
	r->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", g.socket[GUEST_A]);
	assert_int_equal(connect(r->sock, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(fd_send(r->sock, &c, sizeof(c), NULL, 0, 0), sizeof(c));
	assert_int_equal(
		fd_recv(r->sock, &r->info, sizeof(r->info), fds, 2, &n, 0), sizeof(r->info));
	assert_int_equal(n, 2);
	map = mmap(NULL, CHAN_CTL_SIZE + r->info.tx_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		fds[1], 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	r->ctl = map;
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(smcdu_accept(l, 0, &r->peer), 0);
	smcdu_listener_free(l);
}

static void raw_tell(struct raw *r, enum ipc_type type)
{
	struct ipc_simple m = { .hdr = ipc_hdr(type) };

	fd_send(r->sock, &m, sizeof(m), NULL, 0, MSG_DONTWAIT);
}

static void raw_put(struct raw *r, uint64_t from, uint64_t to)
{
	uint8_t *ring = (uint8_t *)r->ctl + CHAN_CTL_SIZE + CDC_SIZE;

	for (uint64_t i = from; i < to; i++)
		ring[i] = pattern_byte(51, i);
	atomic_store(&r->ctl->tx_pos, to);
}

static void raw_free(struct raw *r)
{
	munmap(r->ctl, CHAN_CTL_SIZE + r->info.tx_size);
	if (r->sock >= 0)
		close(r->sock);
	smcdu_close(r->peer);
}

/*
 * The kernel reports a reset ahead of the messages before it when a socket is closed with something
 * unread: an orderly close must be understood all the same.
 */
static void test_close_with_unread_wakeup(void **state)
{
	for (int i = 0; i < 5; i++) {
		struct raw r;
		struct pollfd p;
		uint64_t rx = 0;
		char byte;

		raw_connect(&r);
		p = (struct pollfd){ .fd = r.sock, .events = POLLIN };
		atomic_store(&r.ctl->app_wait, CHAN_WAIT_ALL);
		assert_int_equal(smcdu_send(r.peer, "hello", 5, 0), 5);
		assert_int_equal(poll(&p, 1, HANG_MS), 1);
		kill(g.daemon[GUEST_A], SIGSTOP);
		atomic_store(&r.ctl->rx_pos, 5);
		raw_put(&r, 0, 2000);
		raw_tell(&r, CHAN_CLOSE);
		close(r.sock);
		r.sock = -1;
		kill(g.daemon[GUEST_A], SIGCONT);
		pattern_recv(r.peer, 51, &rx, 2000);
		assert_int_equal(smcdu_recv(r.peer, &byte, 1, 0), 0);
		raw_free(&r);
	}
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

/* All words at full speed, with bells and without; the peer's bytes stay an exact prefix. */
static void test_mutating_application(void **state)
{
	struct bystander s;
	uint32_t seed = 1;

	bystander_start(&s, &g);
	for (int i = 0; i < 20; i++) {
		uint64_t end, sent = 0, rx = 0;
		uint8_t buf[4096];
		struct raw r;
		ssize_t n;

		raw_connect(&r);
		end = clock_ns() + 50000000;
		while (clock_ns() < end) {
			uint32_t what = rnd(&seed) % 128;

			if (what < 100 && sent + 50 < r.info.tx_size - CDC_SIZE) {
				raw_put(&r, sent, sent + 50);
				sent += 50;
			}
			atomic_store(&r.ctl->app_wait, rnd(&seed));
			atomic_store(&r.ctl->bell, rnd(&seed));
			atomic_store(&r.ctl->state, rnd(&seed));
			atomic_store(&r.ctl->error, (int32_t)rnd(&seed));
			atomic_store(&r.ctl->tx_sent, rnd(&seed));
			atomic_store(&r.ctl->tx_urg, rnd(&seed) % 2 ? sent - rnd(&seed) % 60 :
				rnd(&seed));
			atomic_store(&r.ctl->rx_urg, rnd(&seed));
			if (what == 125)
				atomic_store(&r.ctl->tx_pos, rnd(&seed));
			if (what == 126)
				atomic_store(&r.ctl->rx_pos, rnd(&seed));
			if (what == 127)
				atomic_store(&r.ctl->app_flags, rnd(&seed));
			if (what % 8 == 0)
				raw_tell(&r, CHAN_BELL);
		}
		close(r.sock);
		r.sock = -1;
		/*
		 * what is delivered may include what a wild tx_pos announced, but not end in order
		 */
		while ((n = smcdu_recv(r.peer, buf, sizeof(buf), 0)) > 0)
			rx += (uint64_t)n;
		assert_true(n == -ECONNRESET || n == 0);
		assert_true(rx <= r.info.tx_size - CDC_SIZE);
		raw_free(&r);
	}
	bystander_unharmed(&s);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

/* Words for a connection that is not there, or whose DMB is its peer's to write: nothing of them arrives. */
static void test_stray_words(void **state)
{
	const struct cdc_msg lie = { .prod = { .count = 100 }, .conn_flags = CDC_ABNORMAL };
	struct guest_x x;
	struct prey p;
	char buf[8];

	x_open(&x, &g);
	x_link(&x);
	prey_catch(&p, &x);
	x_stray_cdc(&x, p.x.conn, lie);
	x_stray_cdc(&x, UINT32_MAX - 1, lie);
	assert_int_equal(smcdu_recv(p.ch, buf, sizeof(buf), SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_send(p.ch, "still", 5, SMCDU_DONTWAIT), 5);
	x_cdc(&x, p.x.token, (struct cdc_msg){ .conn_flags = CDC_ABNORMAL });
	assert_int_equal(smcdu_recv(p.ch, buf, sizeof(buf), 0), -ECONNRESET);
	prey_free(&p, &x);
	x_close(&x);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_cdc),
		cmocka_unit_test(test_stray_words),
		cmocka_unit_test(test_mutating_peer),
		cmocka_unit_test(test_close_with_unread_wakeup),
		cmocka_unit_test(test_mutating_application),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
