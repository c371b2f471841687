/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "tests/integration/guests.h"
#include "vfio/base/fd.h"

/*
 * Connections walk through the states of SMC-D's close (section 6), and at each stage an operator
 * sees the kernel's name for it, as smcss has it, at both ends: in JSON and in the table.
 */
static struct guests g;

struct pair {
	struct smcdu_channel *ch[2];
	uint64_t id[2];
};

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

static void pair_open(struct pair *p, const char *service)
{
	struct smcdu_channel_info info;

	guests_connect(&g, GUEST_A, service, &p->ch[GUEST_A], &p->ch[GUEST_B]);
	for (int i = 0; i < 2; i++) {
		smcdu_channel_info(p->ch[i], &info);
		p->id[i] = info.id;
	}
}

static void pair_close(struct pair *p, int guest)
{
	smcdu_close(p->ch[guest]);
	p->ch[guest] = NULL;
}

/* The state of a channel as the daemon reports it; "" when it is gone. */
static void state_of(int guest, uint64_t id, char name[32], int *number)
{
	struct json_object *root, *list, *c, *v;
	char *text = NULL;

	*name = '\0';
	assert_int_equal(smcdu_query(g.ctx[guest], "channel", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "channels", &list));
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		c = json_object_array_get_idx(list, i);
		assert_true(json_object_object_get_ex(c, "id", &v));
		if ((uint64_t)json_object_get_int64(v) != id)
			continue;
		assert_true(json_object_object_get_ex(c, "state", &v));
		snprintf(name, 32, "%s", json_object_get_string(v));
		assert_true(json_object_object_get_ex(c, "state_nr", &v));
		*number = json_object_get_int(v);
	}
	json_object_put(root);
}

/* The line of the table that smcd-userctl prints for it begins with the state. */
static void expect_in_table(int guest, uint64_t id, const char *name)
{
	char command[512], line[512], state[32];
	unsigned long long found;
	bool seen = false;
	FILE *f;

	snprintf(command, sizeof(command), "'%s' --socket '%s' channel",
		guests_program("SMCD_USERCTL"), g.socket[guest]);
	f = popen(command, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		seen = seen || (sscanf(line, "%31s %llu", state, &found) == 2 && found == id &&
				       !strcmp(state, name));
	assert_int_equal(pclose(f), 0);
	if (!seen)
		fail_msg("the table has no %s for channel %llu", name, (unsigned long long)id);
}

static void expect_state(const struct pair *p, int guest, const char *name, int number)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct smcdu_channel_stats st;
	char now[32];
	int nr = 0;

	for (;;) {
		state_of(guest, p->id[guest], now, &nr);
		if (!strcmp(now, name))
			break;
		if (clock_ns() > end)
			fail_msg("guest %d stays in '%s', not '%s'", guest, now, name);
		sleep_ms(2);
	}
	if (!*name)
		return;
	assert_int_equal(nr, number);
	assert_string_equal(smcdu_state_name((uint32_t)number), name);
	expect_in_table(guest, p->id[guest], name);
	if (!p->ch[guest])
		return;
	smcdu_channel_stats(p->ch[guest], &st);
	assert_int_equal(st.state, number);
}

static void expect_gone(const struct pair *p, int guest)
{
	expect_state(p, guest, "", 0);
}

static void expect_end(struct pair *p, int guest)
{
	char byte;

	assert_int_equal(smcdu_recv(p->ch[guest], &byte, 1, 0), 0);
}

static void test_active_close(void **state)
{
	struct pair p;

	pair_open(&p, "one");
	expect_state(&p, GUEST_A, "ACTIVE", 1);
	expect_state(&p, GUEST_B, "ACTIVE", 1);
	pair_close(&p, GUEST_A);
	expect_state(&p, GUEST_A, "PEERCLW1", 20);
	expect_state(&p, GUEST_B, "APPLCLW1", 22);
	expect_end(&p, GUEST_B);
	assert_int_equal(smcdu_send(p.ch[GUEST_B], "x", 1, 0), -ECONNRESET);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_A);
	expect_gone(&p, GUEST_B);
}

/* Half closed by one, closed by the other; the first still has the last word. */
static void test_half_close(void **state)
{
	struct pair p;
	char byte;

	pair_open(&p, "half");
	assert_int_equal(smcdu_shutdown(p.ch[GUEST_B]), 0);
	expect_state(&p, GUEST_B, "PEERCLW1", 20);
	expect_state(&p, GUEST_A, "APPLCLW1", 22);
	expect_end(&p, GUEST_A);
	/* The other direction is open still. */
	assert_int_equal(smcdu_send(p.ch[GUEST_A], "y", 1, 0), 1);
	assert_int_equal(smcdu_recv(p.ch[GUEST_B], &byte, 1, 0), 1);
	assert_int_equal(smcdu_send(p.ch[GUEST_B], "z", 1, 0), -EPIPE);
	pair_close(&p, GUEST_A);
	expect_state(&p, GUEST_B, "APPLFINCLW", 24);
	expect_state(&p, GUEST_A, "PEERFINCLW", 25);
	expect_end(&p, GUEST_B);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_A);
	expect_gone(&p, GUEST_B);
}

static void test_both_half_close(void **state)
{
	struct pair p;

	pair_open(&p, "both");
	assert_int_equal(smcdu_shutdown(p.ch[GUEST_A]), 0);
	expect_state(&p, GUEST_B, "APPLCLW1", 22);
	assert_int_equal(smcdu_shutdown(p.ch[GUEST_B]), 0);
	expect_state(&p, GUEST_B, "APPLCLW2", 23);
	expect_state(&p, GUEST_A, "PEERCLW2", 21);
	expect_end(&p, GUEST_A);
	expect_end(&p, GUEST_B);
	pair_close(&p, GUEST_A);
	expect_state(&p, GUEST_A, "PEERCLW2", 21);
	expect_state(&p, GUEST_B, "APPLCLW2", 23);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_A);
	expect_gone(&p, GUEST_B);
}

/* Who aborts waits for an answer; who is aborted shows it until the application lets go. */
static void test_abort(void **state)
{
	struct pair p;
	char byte;

	pair_open(&p, "abort");
	kill(g.daemon[GUEST_B], SIGSTOP);
	smcdu_abort(p.ch[GUEST_A]);
	p.ch[GUEST_A] = NULL;
	expect_state(&p, GUEST_A, "PEERABORTW", 26);
	kill(g.daemon[GUEST_B], SIGCONT);
	expect_state(&p, GUEST_B, "PROCESSABORT", 27);
	expect_gone(&p, GUEST_A);
	assert_int_equal(smcdu_recv(p.ch[GUEST_B], &byte, 1, 0), -ECONNRESET);
	assert_int_equal(smcdu_send(p.ch[GUEST_B], "x", 1, 0), -ECONNRESET);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_B);
}

/* Closed with bytes unread: A, not C. */
static void test_close_with_unread(void **state)
{
	struct pair p;
	char buf[10];

	pair_open(&p, "unread");
	assert_int_equal(smcdu_send(p.ch[GUEST_B], "0123456789", 10, 0), 10);
	assert_int_equal(smcdu_recv(p.ch[GUEST_A], buf, 3, 0), 3);
	pair_close(&p, GUEST_A);
	expect_state(&p, GUEST_B, "PROCESSABORT", 27);
	expect_gone(&p, GUEST_A);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_B);
}

/* An application that dies says A. */
static void test_application_dies(void **state)
{
	struct smcdu_channel_info info;
	struct smcdu_listener *l;
	struct pair p = { { NULL } };
	char byte;
	pid_t pid;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "dies", 0, &l), 0);
	pid = fork();
	if (pid == 0) {
		struct smcdu_settings s;
		struct smcdu_channel *ch;
		struct smcdu_ctx *ctx;

		smcdu_default_settings(&s);
		s.socket_path = g.socket[GUEST_A];
		if (smcdu_open(&s, &ctx) == 0 && smcdu_connect(ctx, "dies@guest-b", &ch) == 0 &&
			smcdu_send(ch, "x", 1, 0) == 1)
			raise(SIGKILL);
		_exit(1);
	}
	assert_true(pid > 0);
	assert_int_equal(smcdu_accept(l, 0, &p.ch[GUEST_B]), 0);
	smcdu_listener_free(l);
	smcdu_channel_info(p.ch[GUEST_B], &info);
	p.id[GUEST_B] = info.id;
	waitpid(pid, NULL, 0);
	expect_state(&p, GUEST_B, "PROCESSABORT", 27);
	while (smcdu_recv(p.ch[GUEST_B], &byte, 1, 0) > 0)
		;
	assert_int_equal(smcdu_recv(p.ch[GUEST_B], &byte, 1, 0), -ECONNRESET);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_B);
}

/* Nobody is left to answer: CLOSED, with the reason, until the application lets go. */
static void test_daemon_dies(void **state)
{
	struct pair p;
	char byte;

	pair_open(&p, "daemon");
	guests_kill(&g.daemon[GUEST_B], SIGKILL);
	expect_state(&p, GUEST_A, "CLOSED", 7);
	assert_int_equal(smcdu_recv(p.ch[GUEST_A], &byte, 1, 0), -ECONNRESET);
	pair_close(&p, GUEST_A);
	expect_gone(&p, GUEST_A);
	assert_int_equal(smcdu_recv(p.ch[GUEST_B], &byte, 1, 0), -ENODEV);
	pair_close(&p, GUEST_B);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
}

static void test_device_goes(void **state)
{
	struct pair p;
	char byte;

	pair_open(&p, "device");
	guests_kill(&g.fabric, SIGKILL);
	expect_state(&p, GUEST_A, "CLOSED", 7);
	expect_state(&p, GUEST_B, "CLOSED", 7);
	assert_true(smcdu_recv(p.ch[GUEST_A], &byte, 1, 0) < 0);
	assert_true(smcdu_recv(p.ch[GUEST_B], &byte, 1, 0) < 0);
	pair_close(&p, GUEST_A);
	pair_close(&p, GUEST_B);
	expect_gone(&p, GUEST_A);
	expect_gone(&p, GUEST_B);
	guests_start_fabric(&g);
}

/* ---- the last word is the last store ---------------------------------------------------------- */

#define ROUNDS 40u

enum ending {
	CLIENT_FIRST,
	SERVER_FIRST,
	BOTH_AT_ONCE,
	CLIENT_HALF, /* ... the server closes at its end, the client behind it */
	SERVER_HALF,
	BOTH_HALF,
	CLIENT_ABORTS,
	ENDINGS,
};

struct leaver {
	struct smcdu_channel *ch;
	pthread_barrier_t *together;
};

static void *leave(void *arg)
{
	struct leaver *l = arg;

	pthread_barrier_wait(l->together);
	smcdu_close(l->ch);
	return NULL;
}

static void leave_together(struct pair *p)
{
	pthread_barrier_t together;
	struct leaver l[2];
	pthread_t t[2];

	pthread_barrier_init(&together, NULL, 2);
	for (int i = 0; i < 2; i++) {
		l[i] = (struct leaver){ p->ch[i], &together };
		assert_int_equal(pthread_create(&t[i], NULL, leave, &l[i]), 0);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&together);
}

static void finish(struct pair *p, enum ending how)
{
	int first = how == SERVER_FIRST || how == SERVER_HALF ? GUEST_B : GUEST_A;

	switch (how) {
	case CLIENT_HALF:
	case SERVER_HALF:
		assert_int_equal(smcdu_shutdown(p->ch[first]), 0);
		expect_end(p, !first);
		pair_close(p, !first);
		expect_end(p, first);
		pair_close(p, first);
		break;
	case BOTH_HALF:
		assert_int_equal(smcdu_shutdown(p->ch[GUEST_A]), 0);
		assert_int_equal(smcdu_shutdown(p->ch[GUEST_B]), 0);
		leave_together(p);
		break;
	case BOTH_AT_ONCE:
		leave_together(p);
		break;
	case CLIENT_ABORTS:
		smcdu_abort(p->ch[GUEST_A]);
		pair_close(p, GUEST_B);
		break;
	default:
		pair_close(p, first);
		expect_end(p, !first);
		pair_close(p, !first);
	}
}

static void transfer_and_finish(enum ending how, int late)
{
	struct pair p;
	char buf[64];

	pair_open(&p, "brief");
	assert_int_equal(smcdu_send(p.ch[GUEST_A], "there", 5, 0), 5);
	assert_int_equal(smcdu_recv(p.ch[GUEST_B], buf, 5, SMCDU_WAITALL), 5);
	assert_int_equal(smcdu_send(p.ch[GUEST_B], "back", 4, 0), 4);
	assert_int_equal(smcdu_recv(p.ch[GUEST_A], buf, 4, SMCDU_WAITALL), 4);
	/* A daemon that falls behind has its word still to say when the other one is done. */
	if (late >= 0 && guests_attached())
		kill(g.daemon[late], SIGSTOP);
	finish(&p, how);
	if (late >= 0 && guests_attached()) {
		sleep_ms(2);
		kill(g.daemon[late], SIGCONT);
	}
}

/*
 * Whatever the order: nobody stores into a DMB whose owner has let go of it, and nobody is taken for
 * one who breaks the rules. A device may have given the token to somebody else by then.
 */
static void test_no_store_behind_the_end(void **state)
{
	for (unsigned int i = 0; i < ROUNDS * ENDINGS; i++)
		transfer_and_finish(i % ENDINGS, (int)(i / ENDINGS % 3) - 1);
	for (int i = 0; i < 2; i++) {
		guests_wait_stat(&g, i, "channels", 0);
		assert_int_equal(guests_stat(&g, i, "region_errors"), 0);
		assert_int_equal(guests_stat(&g, i, "protocol_errors"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest walks[] = {
		cmocka_unit_test(test_active_close),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_both_half_close),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_close_with_unread),
		cmocka_unit_test(test_application_dies),
		cmocka_unit_test(test_no_store_behind_the_end),
	};
	/* An attached channel survives these. */
	const struct CMUnitTest losses[] = {
		cmocka_unit_test(test_daemon_dies),
		cmocka_unit_test(test_device_goes),
	};

	return cmocka_run_group_tests(walks, setup, teardown) +
	       (guests_attached() ? 0 : cmocka_run_group_tests(losses, setup, teardown));
}
