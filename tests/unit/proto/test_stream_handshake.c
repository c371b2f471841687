/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "smcd/proto/handshake.h"
#include "vectors.h"

/*
 * The handshake over a stream, as over the TCP connection of a kernel peer; a socket pair stands for
 * it. CLC messages and the application's bytes follow each other without a border: whatever way
 * they arrive, the dialogue takes its own bytes and not one of the others.
 */
#define SEC  UINT64_C(1000000000)
#define CHID 0x1d15

static const uint8_t eid[][CLC_EID_LEN] = { "STREAM                          " };

static const struct hs_local alpha = { .gid = { .gid = 0x1d15000000000001, .chid = CHID },
	.ueid = eid, .nr_ueid = 1, .host = "guest-a" };
static const struct hs_local beta = { .gid = { .gid = 0x1d15000000000002, .chid = CHID },
	.ueid = eid, .nr_ueid = 1, .host = "guest-b" };

/* ---- the carrier ----------------------------------------------------------------------------- */

/* One end of the stream: what the library has beside the daemon's struct hs. */
struct end {
	int fd;
	struct hs hs;
	uint8_t msg[CLC_MAX_LEN];
	size_t have, len; /* of the message that is arriving; len 0: not known yet */
};

/*
 * Takes what is there of the next message, never more. The header is only looked at until it is
 * complete and is one: a stream that does not speak CLC stays whole.
 */
static enum hs_step take(struct end *e)
{
	enum clc_type type;
	ssize_t n;

	if (e->len == 0) {
		n = recv(e->fd, e->msg, CLC_HDR_LEN, MSG_PEEK | MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return HS_FAILED;
		if (n < (ssize_t)CLC_HDR_LEN)
			return HS_WAIT;
		if (clc_peek(e->msg, CLC_HDR_LEN, &type, &e->len) < 0 || e->len > sizeof(e->msg))
			return HS_FAILED;
	}
	n = recv(e->fd, e->msg + e->have, e->len - e->have, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		return HS_FAILED;
	e->have += n > 0 ? (size_t)n : 0;
	if (e->have < e->len)
		return HS_WAIT;
	n = (ssize_t)e->len;
	e->have = e->len = 0;
	return hs_input(&e->hs, e->msg, (size_t)n);
}

/* The device's part. */
static enum hs_step answer(struct end *e, enum hs_step step)
{
	if (step == HS_WANT_REACH)
		step = hs_reach(&e->hs, true);
	if (step == HS_WANT_DMB) {
		e->hs.first_contact = true;
		step = hs_dmb(&e->hs, e->hs.server ? 0xb00000000 : 0xa00000000, 2);
	}
	return step;
}

/* ---- the wire -------------------------------------------------------------------------------- */

struct wire {
	struct end c, s;
	int to_c, to_s; /* where a test puts the bytes that each end is to get */
};

static int pair(int *far)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	*far = sv[1];
	return sv[0];
}

static void open_wire(struct wire *w)
{
	memset(w, 0, sizeof(*w));
	w->c.fd = pair(&w->to_c);
	w->s.fd = pair(&w->to_s);
	assert_int_equal(hs_start_client(&w->c.hs, &alpha, SEC, HS_TIMEOUT_MS), HS_SEND);
	assert_int_equal(hs_start_server(&w->s.hs, &beta, SEC, HS_TIMEOUT_MS), HS_WAIT);
}

static void close_wire(struct wire *w)
{
	close(w->c.fd);
	close(w->s.fd);
	if (w->to_c >= 0)
		close(w->to_c);
	if (w->to_s >= 0)
		close(w->to_s);
}

static void put(int fd, const void *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

/* Exactly these bytes are left, for the application. */
static void expect_left(struct end *e, const char *data)
{
	char buf[64];
	ssize_t n = recv(e->fd, buf, sizeof(buf), MSG_DONTWAIT);

	assert_int_equal(n < 0 ? 0 : n, strlen(data));
	assert_memory_equal(buf, data, strlen(data));
}

/* How the bytes of one message and what follows it arrive. */
enum way { WHOLE, BYTES, SPLIT };

/* @len bytes of a message and @behind in @e's direction; what @e makes of the message. */
static enum hs_step deliver(struct end *e, int to, const uint8_t *msg, size_t len,
	const char *behind, enum way way, size_t at)
{
	uint8_t all[CLC_MAX_LEN + 64];
	size_t whole = len + strlen(behind), i, step;
	enum hs_step got = HS_WAIT;

	memcpy(all, msg, len);
	memcpy(all + len, behind, strlen(behind));
	for (i = 0; i < whole; i += step) {
		step = way == WHOLE ? whole : way == BYTES ? 1 : i == 0 ? at : whole - at;
		put(to, all + i, step);
		if (got == HS_WAIT)
			got = take(e);
		if (got == HS_WAIT)
			assert_true(i + step < len); /* a message that is there is taken */
	}
	return got;
}

static size_t pass(struct wire *w, bool to_server, const char *behind, enum way way, size_t at,
	enum hs_step *step)
{
	struct end *from = to_server ? &w->c : &w->s, *to = to_server ? &w->s : &w->c;
	uint8_t msg[CLC_MAX_LEN];
	size_t len = from->hs.out_len;

	assert_true(len > 0);
	memcpy(msg, from->hs.out, len);
	*step = deliver(to, to_server ? w->to_s : w->to_c, msg, len, behind, way, at);
	return len;
}

/* A whole dialogue; @at splits the message number @which. */
static size_t dialogue(enum way way, unsigned int which, size_t at)
{
	enum hs_step step;
	struct wire w;
	size_t len[3];

	open_wire(&w);
	len[0] = pass(&w, true, "", which == 0 ? way : WHOLE, at, &step);
	assert_int_equal(answer(&w.s, step), HS_SEND);
	len[1] = pass(&w, false, "", which == 1 ? way : WHOLE, at, &step);
	assert_int_equal(answer(&w.c, step), HS_DONE);
	/* Nothing follows a Confirm in SMC; whatever does is not ours. */
	len[2] = pass(&w, true, "payload", which == 2 ? way : WHOLE, at, &step);
	assert_int_equal(step, HS_DONE);
	expect_left(&w.s, "payload");
	expect_left(&w.c, "");
	assert_true(w.s.hs.peer.token == 0xa00000000);
	assert_true(w.c.hs.peer.token == 0xb00000000);
	close_wire(&w);
	return len[which];
}

static void test_every_arrival(void **state)
{
	for (unsigned int which = 0; which < 3; which++) {
		size_t len = dialogue(WHOLE, which, 0);

		dialogue(BYTES, which, 0);
		for (size_t at = 1; at < len; at++)
			dialogue(SPLIT, which, at);
	}
}

/* ---- declines and what follows them ---------------------------------------------------------- */

/* Brings a dialogue to where @stage messages have passed; the next one is @stage's. */
static void until(struct wire *w, unsigned int stage)
{
	enum hs_step step;

	open_wire(w);
	if (stage > 0) {
		pass(w, true, "", WHOLE, 0, &step);
		assert_int_equal(answer(&w->s, step), HS_SEND);
	}
	if (stage > 1) {
		pass(w, false, "", WHOLE, 0, &step);
		assert_int_equal(answer(&w->c, step), HS_DONE);
	}
}

/*
 * A Decline in place of Proposal, Accept and Confirm, in both versions' forms, with the
 * application's first bytes glued to it: from there on the stream is theirs.
 */
static void test_declines(void **state)
{
	static const struct vector *const forms[] = { &D1, &D2, &D3 };
	static const uint32_t codes[] = { CLC_DECL_NOV2DDEV, CLC_DECL_SYNCERR, CLC_DECL_NOSMCDEV };
	const char *data = "GET / HTTP/1.0\r\n\r\n";

	for (unsigned int stage = 0; stage < 3; stage++) {
		for (unsigned int form = 0; form < 3; form++) {
			for (size_t at = 0; at <= forms[form]->len; at++) {
				size_t len = forms[form]->len;
				enum way way = at == 0 ? WHOLE : at == len ? BYTES : SPLIT;
				struct end *e;
				struct wire w;

				until(&w, stage);
				e = stage == 1 ? &w.c : &w.s;
				assert_int_equal(deliver(e, stage == 1 ? w.to_c : w.to_s,
					forms[form]->bytes, len, data, way, at), HS_DECLINED);
				assert_true(e->hs.declined_by_peer);
				assert_int_equal(e->hs.diag, codes[form]);
				expect_left(e, data);
				close_wire(&w);
			}
		}
	}
}

/* Who declines has read what it declines, or it would become the application's. */
static void test_declining(void **state)
{
	struct hs_local deaf = beta;
	enum hs_step step;
	struct wire w;

	open_wire(&w);
	deaf.nr_ueid = 0;
	hs_start_server(&w.s.hs, &deaf, SEC, HS_TIMEOUT_MS);
	pass(&w, true, "early bird", BYTES, 0, &step);
	assert_int_equal(step, HS_DECLINED);
	assert_int_equal(w.s.hs.diag, CLC_DECL_NOSMCDDEV);
	expect_left(&w.s, "early bird");
	pass(&w, false, "plain TCP", WHOLE, 0, &step);
	assert_int_equal(step, HS_DECLINED);
	assert_int_equal(w.c.hs.diag, CLC_DECL_NOSMCDDEV);
	expect_left(&w.c, "plain TCP");
	close_wire(&w);

	/* a client, of an Accept */
	until(&w, 1);
	pass(&w, false, "rest", WHOLE, 0, &step);
	assert_int_equal(step, HS_WANT_DMB);
	assert_int_equal(hs_dmb_failed(&w.c.hs, CLC_DECL_MAX_DMB), HS_DECLINED);
	expect_left(&w.c, "rest");
	pass(&w, true, "data", BYTES, 0, &step);
	assert_int_equal(step, HS_DECLINED);
	assert_int_equal(w.s.hs.diag, CLC_DECL_MAX_DMB);
	expect_left(&w.s, "data");
	close_wire(&w);
}

/* ---- what is no dialogue --------------------------------------------------------------------- */

static void test_other_protocols(void **state)
{
	static const char *const others[] = { "GET / HTTP/1.0\r\n\r\n", "SSH-2.0-x\r\n",
		"\xe2\xd4\xc3\xd9\x09\x00\x2c\x20", "\xe2\xd4\xc3\xd8\x01\x00\x2c\x20" };
	struct wire w;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		open_wire(&w);
		/* these have zeros in them: as many bytes as a header has */
		put(w.to_s, others[i], i < 2 ? strlen(others[i]) : 8);
		assert_int_equal(take(&w.s), HS_FAILED);
		if (i < 2)
			expect_left(&w.s, others[i]);
		close_wire(&w);
	}
	/* too little to tell: nothing is taken, and nothing is decided */
	open_wire(&w);
	put(w.to_s, "\xe2\xd4\xc3", 3);
	assert_int_equal(take(&w.s), HS_WAIT);
	expect_left(&w.s, "\xe2\xd4\xc3");
	close_wire(&w);
	/* more than any message has, and less */
	open_wire(&w);
	put(w.to_s, "\xe2\xd4\xc3\xd9\x01\x02\x8d\x26", 8);
	assert_int_equal(take(&w.s), HS_FAILED);
	close_wire(&w);
	open_wire(&w);
	put(w.to_s, "\xe2\xd4\xc3\xd9\x01\x00\x0b\x26", 8);
	assert_int_equal(take(&w.s), HS_FAILED);
	close_wire(&w);
}

/* An end of the stream in the middle of anything. */
static void test_ends(void **state)
{
	struct wire w;
	size_t len, at;

	open_wire(&w);
	len = w.c.hs.out_len;
	close_wire(&w);
	for (at = 0; at < len; at++) {
		open_wire(&w);
		if (at > 0) {
			put(w.to_s, w.c.hs.out, at);
			assert_int_equal(take(&w.s), HS_WAIT);
		}
		close(w.to_s);
		w.to_s = -1;
		if (at > 0 && at < CLC_HDR_LEN) { /* peeked at, it looks like more to come */
			int left = 0;

			assert_int_equal(take(&w.s), HS_WAIT);
			assert_int_equal(ioctl(w.s.fd, FIONREAD, &left), 0);
			assert_int_equal(left, at);
			assert_int_equal(hs_tick(&w.s.hs, w.s.hs.deadline_ns), HS_FAILED);
		} else {
			assert_int_equal(take(&w.s), HS_FAILED);
		}
		close_wire(&w);
	}
}

/* Half a message when the time is over: the other half is nobody's. */
static void test_timeouts(void **state)
{
	struct wire w;
	struct end *e;

	for (unsigned int stage = 0; stage < 3; stage++) {
		struct end *from;
		uint64_t end;
		int to;

		until(&w, stage);
		e = stage == 1 ? &w.c : &w.s;
		from = stage == 1 ? &w.s : &w.c;
		to = stage == 1 ? w.to_c : w.to_s;
		end = e->hs.deadline_ns;
		put(to, from->hs.out, 20);
		assert_int_equal(take(e), HS_WAIT);
		assert_int_equal(hs_tick(&e->hs, end - 1), HS_WAIT);
		put(to, from->hs.out + 20, 1);
		assert_int_equal(take(e), HS_WAIT);
		assert_int_equal(hs_tick(&e->hs, end), HS_FAILED);
		assert_int_equal(e->hs.out_len, 0);
		put(to, from->hs.out + 21, from->hs.out_len - 21);
		assert_int_equal(take(e), HS_FAILED); /* late */
		close_wire(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_arrival),
		cmocka_unit_test(test_declines),
		cmocka_unit_test(test_declining),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_timeouts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
