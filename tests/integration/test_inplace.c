/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/*
 * Zero copy between two guests, both ways at once, in rings so small that everybody waits for
 * everybody: producers of items that they want room for, consumers of items that they want whole. No
 * combination of what may be wanted waits for ever, and every byte is in its place.
 */
enum { BYTES = 12000000, RECORDS = 6000, RCVBUF = 16384 };

static struct guests g;
static struct smcdu_channel *ch[2];

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

static void connect_both(bool record)
{
	struct smcdu_ctx *ctx[2];
	struct smcdu_listener *l;
	struct smcdu_settings s;

	smcdu_default_settings(&s);
	s.path = guests_attached() ? SMCDU_PATH_ATTACHED : SMCDU_PATH_MEDIATED;
	s.rcvbuf = RCVBUF;
	s.record = record;
	for (int i = 0; i < 2; i++) {
		s.socket_path = g.socket[i];
		assert_int_equal(smcdu_open(&s, &ctx[i]), 0);
	}
	assert_int_equal(smcdu_listen(ctx[GUEST_B], "place", 1, &l), 0);
	assert_int_equal(smcdu_connect(ctx[GUEST_A], "place@guest-b", &ch[0]), 0);
	assert_int_equal(smcdu_accept(l, 0, &ch[1]), 0);
	smcdu_listener_free(l);
	for (int i = 0; i < 2; i++)
		smcdu_close_ctx(ctx[i]);
}

/* One of the four: each end produces and consumes, with threads of their own. */
struct half {
	pthread_t thread;
	struct smcdu_channel *ch;
	uint32_t stream;
	const char *failed;
};

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

/* Often the most, else anything. */
static size_t some(uint32_t *seed, size_t max)
{
	uint32_t r = next(seed);

	return r % 3 ? 1 + r / 3 % max : max;
}

static void fill(const struct iovec iov[2], size_t len, uint32_t stream, uint64_t pos)
{
	size_t first = len < iov[0].iov_len ? len : iov[0].iov_len;

	pattern_fill(iov[0].iov_base, first, stream, pos);
	pattern_fill(iov[1].iov_base, len - first, stream, pos + first);
}

static bool check(const struct iovec iov[2], size_t len, uint32_t stream, uint64_t pos)
{
	size_t first = len < iov[0].iov_len ? len : iov[0].iov_len;

	return pattern_check(iov[0].iov_base, first, stream, pos) == first &&
		pattern_check(iov[1].iov_base, len - first, stream, pos + first) == len - first;
}

/* Said at once: the other halves may wait for ever now. */
static void *broken(struct half *h, const char *what)
{
	print_error("stream %u: %s\n", h->stream, what);
	h->failed = what;
	return NULL;
}

static void run(void *(*produce)(void *), void *(*consume)(void *))
{
	struct half h[4];

	for (unsigned int i = 0; i < 4; i++) {
		h[i] = (struct half){ .ch = ch[i & 1], .stream = i == 0 || i == 3 };
		pthread_create(&h[i].thread, NULL, i < 2 ? produce : consume, &h[i]);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(h[i].thread, NULL);
		if (h[i].failed)
			fail_msg("half %u: %s", i, h[i].failed);
	}
	for (int i = 0; i < 2; i++)
		smcdu_close(ch[i]);
}

/* ---- streams --------------------------------------------------------------------------------- */

static void *produce_bytes(void *arg)
{
	struct half *h = arg;
	struct smcdu_channel_info info;
	uint32_t seed = h->stream;
	struct iovec iov[2];

	smcdu_channel_info(h->ch, &info);
	for (uint64_t pos = 0; pos < BYTES;) {
		size_t want = some(&seed, info.sndbuf / 2);

		want = want < BYTES - pos ? want : (size_t)(BYTES - pos);
		if (smcdu_reservev(h->ch, iov, want, 0) < (ssize_t)want)
			return broken(h, "less room than wanted");
		fill(iov, want, h->stream, pos);
		if (smcdu_commit(h->ch, want) < 0)
			return broken(h, "commit");
		pos += want;
	}
	return smcdu_shutdown(h->ch) < 0 ? broken(h, "shutdown") : NULL;
}

static void *consume_bytes(void *arg)
{
	struct half *h = arg;
	struct smcdu_channel_info info;
	uint32_t seed = h->stream + 7;
	struct iovec iov[2];

	smcdu_channel_info(h->ch, &info);
	for (uint64_t pos = 0; pos < BYTES;) {
		size_t want = some(&seed, info.rcvbuf / 4);
		ssize_t n = smcdu_peekv(h->ch, iov, want, 0);

		if (n < (ssize_t)want && pos + (uint64_t)n != BYTES)
			return broken(h, "fewer bytes than wanted");
		want = (size_t)n < want ? (size_t)n : want;
		if (!check(iov, want, h->stream, pos))
			return broken(h, "other bytes");
		if (smcdu_release(h->ch, want) < 0)
			return broken(h, "release");
		pos += want;
	}
	return smcdu_peekv(h->ch, iov, 1, 0) ? broken(h, "no end") : NULL;
}

static void test_streams(void **state)
{
	connect_both(false);
	run(produce_bytes, consume_bytes);
}

/* ---- records --------------------------------------------------------------------------------- */

static void *produce_records(void *arg)
{
	struct half *h = arg;
	struct smcdu_channel_info info;
	uint32_t seed = h->stream;
	uint8_t buf[RCVBUF];
	struct iovec iov[2];

	smcdu_channel_info(h->ch, &info);
	for (uint32_t i = 0; i < RECORDS; i++) {
		size_t len = some(&seed, i % 8 ? 600 : info.record_max), room = len;

		if (next(&seed) % 2) {
			pattern_fill(buf, len, h->stream, i);
			if (smcdu_send(h->ch, buf, len, 0) != (ssize_t)len)
				return broken(h, "send");
			continue;
		}
		if (room < info.record_max)
			room += next(&seed) % (info.record_max - room);
		if (smcdu_reservev(h->ch, iov, room, 0) != (ssize_t)room)
			return broken(h, "reserve");
		fill(iov, len, h->stream, i);
		if (smcdu_commit(h->ch, len) < 0)
			return broken(h, "commit");
	}
	return smcdu_shutdown(h->ch) < 0 ? broken(h, "shutdown") : NULL;
}

static void *consume_records(void *arg)
{
	struct half *h = arg;
	struct smcdu_channel_info info;
	uint32_t seed = h->stream, own = 99;
	uint8_t buf[RCVBUF];
	struct iovec iov[2] = { { buf, sizeof(buf) }, { NULL, 0 } };

	smcdu_channel_info(h->ch, &info);
	for (uint32_t i = 0; i < RECORDS; i++) {
		size_t len = some(&seed, i % 8 ? 600 : info.record_max);
		bool copy = next(&own) % 2;

		if (next(&seed) % 2 == 0 && len < info.record_max)
			next(&seed); /* as the producer did */
		if (copy)
			iov[0] = (struct iovec){ buf, sizeof(buf) };
		if ((copy ? smcdu_recv(h->ch, buf, sizeof(buf), 0) :
			    smcdu_peekv(h->ch, iov, 0, 0)) != (ssize_t)len)
			return broken(h, "another size");
		if (!check(iov, len, h->stream, i))
			return broken(h, "other bytes");
		if (!copy && smcdu_release(h->ch, len) < 0)
			return broken(h, "release");
	}
	return smcdu_peekv(h->ch, iov, 0, 0) ? broken(h, "no end") : NULL;
}

static void test_records(void **state)
{
	connect_both(true);
	run(produce_records, consume_records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
