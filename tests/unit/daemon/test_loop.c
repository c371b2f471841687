/* SPDX-License-Identifier: MIT */
/* The event loop, the same expectations on both backends. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "smcd/daemon/loop_priv.h"
#include "vfio/base/fd.h"

#define TURN_NS UINT64_C(2000000000) /* a limit that is never reached */

struct probe {
	struct loop_source src;
	struct loop *loop;
	int calls;
	short revents;
	bool drain;
	struct probe *remove; /* the source to remove from the callback */
};

static void on_probe(struct loop_source *src, short revents)
{
	struct probe *p = (struct probe *)(void *)src;
	uint64_t v;

	p->calls++;
	p->revents = revents;
	if (p->drain)
		assert_int_equal(read(src->fd, &v, sizeof(v)), sizeof(v));
	if (p->remove)
		loop_del(p->loop, &p->remove->src);
}

static void probe_open(struct loop *l, struct probe *p)
{
	*p = (struct probe){ .loop = l };
	p->src = (struct loop_source){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.events = POLLIN, .fn = on_probe };
	assert_true(p->src.fd >= 0);
	assert_int_equal(loop_add(l, &p->src), 0);
}

static void probe_close(struct probe *p)
{
	loop_del(p->loop, &p->src);
	close(p->src.fd);
}

static void ring(struct probe *p)
{
	uint64_t one = 1;

	assert_int_equal(write(p->src.fd, &one, sizeof(one)), sizeof(one));
}

static void level_semantics(void **state)
{
	struct loop *l = *state;
	struct probe p;
	int i;

	probe_open(l, &p);
	assert_int_equal(loop_turn(l, 0), 0);
	ring(&p);
	for (i = 1; i <= 3; i++) { /* not drained: it comes again */
		assert_int_equal(loop_turn(l, TURN_NS), 1);
		assert_int_equal(p.calls, i);
		assert_int_equal(p.revents, POLLIN);
	}
	p.drain = true;
	assert_int_equal(loop_turn(l, TURN_NS), 1);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(p.calls, 4);
	ring(&p); /* re-armed after having been quiet */
	assert_int_equal(loop_turn(l, TURN_NS), 1);
	probe_close(&p);
}

static void removal_of_self(void **state)
{
	struct loop *l = *state;
	struct probe p;

	probe_open(l, &p);
	p.remove = &p;
	ring(&p);
	assert_int_equal(loop_turn(l, TURN_NS), 1);
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.src.slot, 0);
	loop_del(l, &p.src); /* harmless */
	close(p.src.fd);
}

/* After a crowd has gone, what it left behind reaches nobody who comes later. */
static void crowd_leaves(void **state)
{
	enum { N = 300 };
	struct loop *l = *state;
	struct probe p[N], first;
	int round, i;

	assert_true(loop_turn(l, 0) >= 0);
	loop_trim(l); /* those of the test before */
	assert_int_equal(l->nr_slots, 64);
	probe_open(l, &first);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < N; i++) {
			probe_open(l, &p[i]);
			ring(&p[i]);
		}
		while (p[N - 1].calls == 0)
			assert_true(loop_turn(l, TURN_NS) >= 0);
		loop_trim(l); /* nothing to give back */
		for (i = N; i-- > 0;)
			probe_close(&p[i]);
		assert_true(l->nr_slots >= 512);
		assert_true(loop_turn(l, 0) >= 0); /* what was to be armed is none any more */
		loop_trim(l);
		assert_int_equal(l->nr_slots, 64);
		/* In the places of those that left, and quiet. */
		for (i = 0; i < N; i++)
			probe_open(l, &p[i]);
		for (i = 0; i < 5; i++)
			assert_true(loop_turn(l, 0) >= 0);
		for (i = 0; i < N; i++)
			assert_int_equal(p[i].calls, 0);
		ring(&first);
		while (first.calls <= round)
			assert_true(loop_turn(l, TURN_NS) >= 0);
		assert_int_equal(read(first.src.fd, &(uint64_t){ 0 }, 8), 8);
		for (i = 0; i < N; i++)
			probe_close(&p[i]);
		loop_trim(l);
	}
	probe_close(&first);
}

/* Who is left of a crowd, in whatever place, is heard as before. */
static void stragglers_are_moved(void **state)
{
	enum { N = 500, LEFT = 7 };
	struct loop *l = *state;
	struct probe p[N];
	int i;

	assert_true(loop_turn(l, 0) >= 0);
	loop_trim(l);
	for (i = 0; i < N; i++)
		probe_open(l, &p[i]);
	assert_true(loop_turn(l, 0) >= 0); /* armed */
	ring(&p[N - 1]); /* told of, perhaps, and not looked at */
	for (i = 0; i < N - LEFT; i++)
		probe_close(&p[i]);
	loop_trim(l);
	assert_int_equal(l->nr_slots, 64);
	for (i = N - LEFT; i < N; i++)
		assert_true(p[i].src.slot >= 1 && p[i].src.slot <= 64);
	p[N - 1].drain = true;
	while (p[N - 1].calls == 0)
		assert_true(loop_turn(l, TURN_NS) >= 0);
	for (i = N - LEFT; i < N - 1; i++) {
		assert_int_equal(p[i].calls, 0);
		p[i].drain = true;
		ring(&p[i]);
		while (p[i].calls == 0)
			assert_true(loop_turn(l, TURN_NS) >= 0);
	}
	assert_int_equal(loop_turn(l, 0), 0);
	for (i = N - LEFT; i < N; i++) {
		assert_int_equal(p[i].calls, 1);
		probe_close(&p[i]);
	}
}

/* Both are ready in the same turn; whichever runs first removes the other, which must not run. */
static void removal_of_other(void **state)
{
	struct loop *l = *state;
	struct probe a, b;

	probe_open(l, &a);
	probe_open(l, &b);
	a.remove = &b;
	b.remove = &a;
	ring(&a);
	ring(&b);
	assert_int_equal(loop_turn(l, TURN_NS), 1);
	assert_int_equal(a.calls + b.calls, 1);
	probe_close(&a);
	probe_close(&b);
}

/* A new source in the removed one's slot, with the same descriptor number, inherits nothing. */
static void slot_and_fd_reuse(void **state)
{
	struct loop *l = *state;
	struct probe old, new;
	int fd, turn;

	for (turn = 0; turn < 200; turn++) {
		probe_open(l, &old);
		assert_int_equal(loop_turn(l, 0), 0); /* a poll is in flight now */
		ring(&old);
		fd = old.src.fd;
		probe_close(&old);
		probe_open(l, &new);
		assert_int_equal(new.src.fd, fd);
		assert_int_equal(loop_turn(l, 0), 0);
		assert_int_equal(new.calls, 0);
		ring(&new);
		assert_int_equal(loop_turn(l, TURN_NS), 1);
		assert_int_equal(new.calls, 1);
		probe_close(&new);
	}
	assert_int_equal(old.calls, 0);
}

/* A poll in flight must not keep a socket open after its removal: the peer waits for the end. */
static void removed_socket_really_closes(void **state)
{
	struct loop *l = *state;
	struct probe p = { .loop = l };
	char c;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	p.src = (struct loop_source){ .fd = sv[0], .events = POLLIN, .fn = on_probe };
	assert_int_equal(loop_add(l, &p.src), 0);
	assert_int_equal(loop_turn(l, 0), 0);
	loop_del(l, &p.src);
	close(sv[0]);
	assert_int_equal(recv(sv[1], &c, 1, 0), 0);
	close(sv[1]);
}

static void hangup_is_reported(void **state)
{
	struct loop *l = *state;
	struct probe p = { .loop = l };
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0);
	p.src = (struct loop_source){ .fd = sv[0], .events = POLLIN, .fn = on_probe };
	assert_int_equal(loop_add(l, &p.src), 0);
	close(sv[1]);
	assert_int_equal(loop_turn(l, TURN_NS), 1);
	assert_true(p.revents & POLLHUP);
	probe_close(&p);
}

/* More than the submission ring and more than one batch of completions. */
static void many_sources(void **state)
{
	static struct probe p[600];
	struct loop *l = *state;
	int i, seen = 0;

	for (i = 0; i < 600; i++) {
		probe_open(l, &p[i]);
		p[i].drain = true;
	}
	assert_int_equal(loop_turn(l, 0), 0);
	for (i = 0; i < 600; i++)
		ring(&p[i]);
	while (seen < 600) {
		int n = loop_turn(l, TURN_NS);

		assert_true(n > 0);
		seen += n;
	}
	assert_int_equal(seen, 600);
	for (i = 0; i < 600; i++) {
		assert_int_equal(p[i].calls, 1);
		probe_close(&p[i]);
	}
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct tick {
	struct loop_timer t;
	struct loop *loop;
	int nr;
	int *log;
	int *nr_log;
	struct tick *cancel;
};

static void on_tick(struct loop_timer *t)
{
	struct tick *k = (struct tick *)(void *)t;

	k->log[(*k->nr_log)++] = k->nr;
	if (k->cancel)
		loop_timer_cancel(k->loop, &k->cancel->t);
}

static void timers_fire_in_order(void **state)
{
	static const int order[8] = { 5, 2, 7, 0, 3, 6, 1, 4 };
	struct loop *l = *state;
	uint64_t base = clock_ns() - 1000000;
	struct tick k[8];
	int log[8], nr = 0, i;

	for (i = 0; i < 8; i++) {
		k[i] = (struct tick){
			.t.fn = on_tick, .loop = l, .nr = i, .log = log, .nr_log = &nr
		};
	}
	for (i = 0; i < 8; i++)
		assert_int_equal(loop_timer_set(l, &k[order[i]].t, base + (uint64_t)order[i]), 0);
	loop_timer_set(l, &k[0].t, base + 100); /* moved to the end */
	loop_timer_cancel(l, &k[4].t);
	assert_int_equal(loop_turn(l, 0), 7);
	assert_int_equal(nr, 7);
	assert_int_equal(log[0], 1);
	assert_int_equal(log[1], 2);
	assert_int_equal(log[2], 3);
	assert_int_equal(log[3], 5);
	assert_int_equal(log[4], 6);
	assert_int_equal(log[5], 7);
	assert_int_equal(log[6], 0);
	loop_timer_cancel(l, &k[4].t); /* harmless */
}

static void timer_cancelled_by_another(void **state)
{
	struct loop *l = *state;
	uint64_t base = clock_ns() - 1000;
	struct tick a, b;
	int log[2], nr = 0;

	b = (struct tick){ .t.fn = on_tick, .loop = l, .nr = 2, .log = log, .nr_log = &nr };
	a = (struct tick){ .t.fn = on_tick, .loop = l, .nr = 1, .log = log, .nr_log = &nr,
		.cancel = &b };
	loop_timer_set(l, &a.t, base);
	loop_timer_set(l, &b.t, base + 1);
	assert_int_equal(loop_turn(l, 0), 1);
	assert_int_equal(nr, 1);
	assert_int_equal(log[0], 1);
}

/* The wait ends for the timer although its own limit is far away, and not before the time. */
static void timer_ends_the_wait(void **state)
{
	struct loop *l = *state;
	uint64_t when = clock_ns() + 3000000;
	struct tick a;
	int log[1], nr = 0;

	a = (struct tick){ .t.fn = on_tick, .loop = l, .nr = 1, .log = log, .nr_log = &nr };
	loop_timer_set(l, &a.t, when);
	while (nr == 0)
		assert_true(loop_turn(l, LOOP_FOREVER) >= 0);
	assert_true(clock_ns() >= when);
}

static int open_uring(void **state)
{
	struct loop *l;

	if (loop_new(LOOP_URING, &l) < 0)
		return 0;
	*state = l;
	return 0;
}

static int open_epoll(void **state)
{
	struct loop *l;

	if (loop_new(LOOP_EPOLL, &l) < 0)
		return -1;
	*state = l;
	return 0;
}

static int done(void **state)
{
	loop_free(*state);
	return 0;
}

#define TESTS \
	cmocka_unit_test(level_semantics), cmocka_unit_test(removal_of_self), \
		cmocka_unit_test(removal_of_other), cmocka_unit_test(slot_and_fd_reuse), \
		cmocka_unit_test(removed_socket_really_closes), \
		cmocka_unit_test(hangup_is_reported), cmocka_unit_test(many_sources), \
		cmocka_unit_test(crowd_leaves), \
		cmocka_unit_test(stragglers_are_moved), \
		cmocka_unit_test(timers_fire_in_order), \
		cmocka_unit_test(timer_cancelled_by_another), \
		cmocka_unit_test(timer_ends_the_wait)

int main(void)
{
	const struct CMUnitTest tests[] = { TESTS };
	struct loop *l;
	int failed = cmocka_run_group_tests_name("epoll", tests, open_epoll, done);

	if (loop_new(LOOP_URING, &l) < 0) {
		print_message("io_uring is not available here: only epoll was tested\n");
		return failed;
	}
	loop_free(l);
	return failed + cmocka_run_group_tests_name("io_uring", tests, open_uring, done);
}
