/* SPDX-License-Identifier: MIT */
/* Records: their boundaries, what is refused, and readiness that means a whole one. */
#include "pair.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/base/endian.h"

#define MAX   (RING / 2)
#define HEAD  4u
#define MARK  8u
#define LIMIT 20000 /* ms; only a broken test ever waits so long */

static struct pair *start(void **state, uint32_t spin_us)
{
	struct pair *p = *state;

	pair_open(p, RING, spin_us);
	for (int i = 0; i < 2; i++)
		channel_set_record(p->ch[i], true);
	return p;
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct pair));
	start(state, 0);
	return 0;
}

static int teardown(void **state)
{
	pair_close(*state);
	free(*state);
	return 0;
}

static uint32_t max_of(const struct smcdu_channel *ch)
{
	struct smcdu_channel_info info;

	smcdu_channel_info(ch, &info);
	return info.record_max;
}

static void test_boundaries(void **state)
{
	struct pair *p = *state;
	char buf[64];

	assert_int_equal(smcdu_send(p->ch[0], "one", 3, 0), 3);
	assert_int_equal(smcdu_send(p->ch[0], "three", 5, 0), 5);
	assert_int_equal(smcdu_send(p->ch[1], "back", 4, 0), 4);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), 3);
	assert_memory_equal(buf, "one", 3);
	/* Too little room: it stays, and the size is said. */
	assert_int_equal(smcdu_recv(p->ch[1], buf, 4, 0), -EMSGSIZE);
	assert_string_equal(smcdu_last_error(), "the record has 5 bytes");
	assert_int_equal(smcdu_recv(p->ch[1], buf, 5, SMCDU_DONTWAIT), 5);
	assert_memory_equal(buf, "three", 5);
	assert_int_equal(smcdu_recv(p->ch[1], buf, 5, SMCDU_DONTWAIT), -EAGAIN);
	/* Cut on demand, the rest is lost. */
	assert_int_equal(smcdu_send(p->ch[0], "truncate", 8, 0), 8);
	assert_int_equal(smcdu_send(p->ch[0], "x", 1, 0), 1);
	memset(buf, '-', sizeof(buf));
	assert_int_equal(smcdu_recv(p->ch[1], buf, 5, SMCDU_TRUNC), 8);
	assert_memory_equal(buf, "trunc-", 6);
	assert_int_equal(smcdu_recv(p->ch[1], buf, 5, SMCDU_WAITALL), 1);
	assert_int_equal(smcdu_recv(p->ch[0], buf, sizeof(buf), 0), 4);
	assert_memory_equal(buf, "back", 4);
	assert_int_equal(smcdu_send(p->ch[0], "last", 4, 0), 4);
	assert_int_equal(smcdu_shutdown(p->ch[0]), 0);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), 4);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), 0);
}

static void test_vectors(void **state)
{
	struct pair *p = *state;
	char a[4], b[16];
	char ab[] = "ab", cdefg[] = "cdefg";
	struct iovec tx[3] = { { ab, 2 }, { NULL, 0 }, { cdefg, 5 } };
	struct iovec rx[2] = { { a, sizeof(a) }, { b, sizeof(b) } };

	assert_int_equal(smcdu_sendv(p->ch[0], tx, 3, 0), 7);
	assert_int_equal(smcdu_sendv(p->ch[0], tx, 1, 0), 2);
	assert_int_equal(smcdu_recvv(p->ch[1], rx, 2, 0), 7);
	assert_memory_equal(a, "abcd", 4);
	assert_memory_equal(b, "efg", 3);
	assert_int_equal(smcdu_recvv(p->ch[1], rx, 2, 0), 2);
}

static void test_refusals(void **state)
{
	static const uint8_t big[MAX];
	struct pair *p = *state;
	size_t len = 1;
	void *space = NULL;
	const void *bytes = NULL;

	assert_int_equal(max_of(p->ch[0]), MAX - CDC_SIZE / 2 - MARK - HEAD);
	assert_int_equal(smcdu_send(p->ch[0], big, max_of(p->ch[0]) + 1, 0), -EMSGSIZE);
	assert_int_equal(smcdu_send(p->ch[0], big, 0, 0), -EINVAL);
	assert_int_equal(smcdu_send(p->ch[0], big, 1, SMCDU_OOB), -EOPNOTSUPP);
	assert_int_equal(smcdu_recv(p->ch[0], &len, 1, SMCDU_OOB), -EOPNOTSUPP);
	assert_int_equal(smcdu_reserve(p->ch[0], &space, &len, SMCDU_DONTWAIT), -EOPNOTSUPP);
	assert_int_equal(smcdu_peek(p->ch[1], &bytes, &len, SMCDU_DONTWAIT), -EOPNOTSUPP);
	assert_null(space);
	assert_null(bytes);
	channel_set_record(p->ch[0], false);
	assert_int_equal(max_of(p->ch[0]), 0);
	assert_int_equal(smcdu_recv(p->ch[0], &len, 1, SMCDU_TRUNC), -EINVAL);
}

/* All or nothing; writable means: for the record that did not fit. */
static void test_no_half_records(void **state)
{
	struct pair *p = *state;
	uint8_t buf[MAX] = { 0 };
	size_t big = max_of(p->ch[0]);
	struct pollfd pfd = { .events = POLLIN };
	uint64_t before;
	int sent = 0;

	assert_int_equal(smcdu_set_events(p->ch[0], SMCDU_OUT), 0);
	pfd.fd = smcdu_channel_fd(p->ch[0]);
	while (smcdu_send(p->ch[0], buf, 1000, SMCDU_DONTWAIT) == 1000)
		sent++;
	assert_int_equal(sent, (RING - CDC_SIZE - MARK) / (1000 + HEAD));
	before = lib_get(&p->ch[0]->tx.pos);
	assert_int_equal(smcdu_send(p->ch[0], buf, big, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(lib_get(&p->ch[0]->tx.pos), before);
	assert_int_equal(smcdu_events(p->ch[0]) & SMCDU_OUT, 0);
	while (sent > 8) {
		assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), 1000);
		sent--;
	}
	/* There is space, and the writer was told of some, but not of enough. */
	assert_int_equal(smcdu_send(p->ch[0], buf, big, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(poll(&pfd, 1, 0), 0);
	while (sent--)
		assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), 1000);
	assert_int_equal(poll(&pfd, 1, LIMIT), 1);
	assert_int_equal(smcdu_events(p->ch[0]) & SMCDU_OUT, SMCDU_OUT);
	assert_int_equal(smcdu_send(p->ch[0], buf, big, SMCDU_DONTWAIT), big);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), SMCDU_DONTWAIT), big);
}

/* The peer's stream comes in pieces, as a daemon or another implementation may send it. */
static void test_readable_means_whole(void **state)
{
	struct pair *p = *state;
	uint8_t record[MARK + HEAD + 100] = "SMCDREC1", buf[200];
	be32_t len = be32_of(100);

	memcpy(record + MARK, &len, HEAD);
	memset(record + MARK + HEAD, 'r', 100);
	channel_set_record(p->ch[0], false);
	for (size_t i = 0; i < sizeof(record); i++) {
		assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), SMCDU_DONTWAIT), -EAGAIN);
		assert_int_equal(smcdu_events(p->ch[1]) & SMCDU_IN, 0); /* what came was looked at */
		assert_int_equal(smcdu_send(p->ch[0], record + i, 1, 0), 1);
	}
	assert_int_equal(smcdu_events(p->ch[1]) & SMCDU_IN, SMCDU_IN);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), SMCDU_DONTWAIT), 100);
	assert_memory_equal(buf, record + MARK + HEAD, 100);
}

/* A stream is noticed with its first byte, and not taken for a slow record. */
static void test_streams_are_noticed(void **state)
{
	struct pair *p = *state;
	char c;

	channel_set_record(p->ch[0], false);
	assert_int_equal(smcdu_recv(p->ch[1], &c, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_int_equal(smcdu_send(p->ch[0], "h", 1, 0), 1);
	assert_int_equal(smcdu_events(p->ch[1]) & SMCDU_IN, SMCDU_IN);
	assert_int_equal(smcdu_recv(p->ch[1], &c, 1, SMCDU_DONTWAIT), -ECONNRESET);
	assert_non_null(strstr(smcdu_last_error(), "does not send records"));
}

static void expect_end(void **state, const void *bytes, size_t len, bool oob, const char *why)
{
	struct pair *p = *state;
	char buf[16];

	pair_close(p);
	start(state, 0);
	channel_set_record(p->ch[0], false);
	assert_int_equal(smcdu_send(p->ch[0], bytes, len, oob ? SMCDU_OOB : 0), len);
	assert_int_equal(smcdu_shutdown(p->ch[0]), 0);
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), 0), -ECONNRESET);
	assert_non_null(strstr(smcdu_last_error(), why));
	assert_int_equal(smcdu_recv(p->ch[1], buf, sizeof(buf), SMCDU_TRUNC), -ECONNRESET);
}

static void test_what_is_no_record(void **state)
{
	expect_end(state, "GET / HTTP/1.1\r\n", 16, false, "does not send records");
	expect_end(state, "SMCDREC1\0\0\0\0", 12, false, "impossible length");
	expect_end(state, "SMCDREC1\xff\xff\xff\xff", 12, false, "impossible length");
	expect_end(state, "SMCDREC1\0\0\x1f\xe5", 12, false, "impossible length"); /* max + 1 */
	expect_end(state, "SMCDREC1\0\0\x1f\xe4", 12, false, "inside a record");
	expect_end(state, "SMCDREC1\0\0\0\5abcd", 16, false, "inside a record");
	expect_end(state, "SMC", 3, false, "inside a record");
	expect_end(state, "SMCDREC1\0\0\0\1a", 13, true, "urgent");
}

/* ---- both ways at once ----------------------------------------------------------------------- */

#define COUNT 4000u

struct half {
	struct smcdu_channel *ch;
	uint32_t seed;
	bool ok;
};

static size_t size_of(uint32_t i, uint32_t seed, uint32_t max)
{
	uint32_t r = (i + 1) * 2654435761u ^ seed * 40503u;

	return 1 + (r >> 7) % (r % 16 ? 300 : max);
}

static void *send_all(void *arg)
{
	struct half *h = arg;
	uint8_t buf[MAX];
	uint32_t max = max_of(h->ch);

	for (uint32_t i = 0; i < COUNT; i++) {
		size_t n = size_of(i, h->seed, max);

		memset(buf, (int)(i + h->seed), n);
		if (smcdu_send(h->ch, buf, n, 0) != (ssize_t)n)
			return NULL;
	}
	h->ok = smcdu_shutdown(h->ch) == 0;
	return NULL;
}

static void *recv_all(void *arg)
{
	struct half *h = arg;
	uint8_t buf[MAX];
	uint32_t max = max_of(h->ch);

	for (uint32_t i = 0; i < COUNT; i++) {
		ssize_t n = smcdu_recv(h->ch, buf, sizeof(buf), 0);

		if (n != (ssize_t)size_of(i, h->seed, max))
			return NULL;
		for (ssize_t k = 0; k < n; k++)
			if (buf[k] != (uint8_t)(i + h->seed))
				return NULL;
	}
	h->ok = smcdu_recv(h->ch, buf, sizeof(buf), 0) == 0;
	return NULL;
}

static void exchange(void **state, uint32_t spin_us)
{
	struct pair *p = *state;
	struct half h[4];
	pthread_t t[4];

	pair_close(p);
	start(state, spin_us);
	for (unsigned int i = 0; i < 4; i++) {
		h[i] = (struct half){ .ch = p->ch[i & 1], .seed = i == 0 || i == 3 };
		pthread_create(&t[i], NULL, i < 2 ? send_all : recv_all, &h[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_true(h[i].ok);
	}
}

static void test_exchange(void **state)
{
	exchange(state, 0);
	exchange(state, 20);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_boundaries), T(test_vectors), T(test_refusals), T(test_no_half_records),
		T(test_readable_means_whole), T(test_streams_are_noticed), T(test_what_is_no_record), T(test_exchange),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
