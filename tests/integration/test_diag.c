/* SPDX-License-Identifier: MIT */
#include "tests/integration/guest_x.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "smcd/proto/diag.h"
#include "vfio/base/fd.h"

/*
 * Every way to be refused says why, at both ends: the application gets errno, code and text, and an
 * operator of either guest finds code and text among its daemon's failures.
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

static void fabric(const char *line)
{
	char command[512];

	snprintf(command, sizeof(command), "'%s' --dir '%s/fabric' --command '%s' >/dev/null",
		guests_program("ISM_FABRICD"), g.dir, line);
	assert_int_equal(system(command), 0);
}

/* The daemon's failures; to be put. */
static struct json_object *failures(int guest, struct json_object **list)
{
	struct json_object *root;
	char *text = NULL;

	assert_int_equal(smcdu_query(g.ctx[guest], "failure", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "failures", list));
	return root;
}

static bool last_failure_is(int guest, const char *role, const char *by, uint32_t diag,
	const char *word, char *seen, size_t size)
{
	struct json_object *list, *root = failures(guest, &list), *o;
	size_t n = json_object_array_length(list);
	char code[16];
	bool is = false;

	snprintf(code, sizeof(code), "0x%08" PRIx32, diag);
	o = n ? json_object_array_get_idx(list, n - 1) : NULL;
	if (o) {
		snprintf(seen, size, "%s", json_object_to_json_string(o));
		is = !strcmp(json_text(o, "role"), role) && !strcmp(json_text(o, "by"), by) &&
			!strcmp(json_text(o, "diag"), diag ? code : "") &&
			strstr(json_text(o, "text"), word);
	}
	json_object_put(root);
	return is;
}

/* The youngest failure, now or soon. */
static void expect_failure(int guest, const char *role, const char *by, uint32_t diag,
	const char *word)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	char seen[1024] = "none";

	while (!last_failure_is(guest, role, by, diag, word, seen, sizeof(seen))) {
		if (clock_ns() > end)
			fail_msg("guest %d: no %s 0x%08x by %s with '%s', but %s", guest, role,
				diag, by, word, seen);
		sleep_ms(5);
	}
}

static void expect_refused(const char *target, int error, uint32_t diag, const char *word)
{
	struct smcdu_channel *ch;
	int r = smcdu_connect(g.ctx[GUEST_A], target, &ch);

	if (r != error || smcdu_last_diag() != diag || !strstr(smcdu_last_error(), word))
		fail_msg("%s: %s, 0x%08x: '%s'; not %s, 0x%08x with '%s'", target, strerror(-r),
			smcdu_last_diag(), smcdu_last_error(), strerror(-error), diag, word);
	assert_non_null(diag_find(diag));
}

/* ---- before a peer is asked ---- */

static void test_here(void **state)
{
	struct smcdu_channel *c, *s;

	expect_refused("x@guest-z", -EHOSTUNREACH, 0x03000000, "unknown peer 'guest-z'");
	expect_failure(GUEST_A, "client", "us", 0x03000000, "unknown peer");
	expect_refused("x@0x1d15000000000001", -EHOSTUNREACH, 0x03000000, "itself");
	expect_refused("x@guest-a", -EHOSTUNREACH, 0x03000000, "itself");
	expect_refused("70000@guest-b", -EINVAL, 0x03000000, "service");
	expect_refused("x@0x1d150000000000ff", -EHOSTUNREACH, 0x03030007, "not on the fabric");
	expect_failure(GUEST_A, "client", "us", 0x03030007, "not on the fabric");

	guests_configure(&g, GUEST_A, "[limits]\nchannels_per_user = 1\n");
	guests_connect(&g, GUEST_A, "one", &c, &s);
	expect_refused("two@guest-b", -EDQUOT, 0x01010000, "limit");
	expect_failure(GUEST_A, "client", "us", 0x01010000, "limit");
	smcdu_close(c);
	smcdu_close(s);
	guests_configure(&g, GUEST_A, "");
}

static void test_networks(void **state)
{
	char text[256];

	g.own_functions = true;
	snprintf(text, sizeof(text), "[function f]\nvfio-user = %s/fabric/ism0.sock\n"
		"pnetid = NETA\n", g.dir);
	guests_configure(&g, GUEST_A, text);
	g.own_functions = false;
	expect_refused("x@guest-b", -ENETUNREACH, 0x03030001, "pnetid");
	expect_failure(GUEST_A, "client", "us", 0x03030001, "pnetid");
	guests_configure(&g, GUEST_A, "");
}

static void test_no_function(void **state)
{
	struct smcdu_channel *ch;

	fabric("fault 0 unplug");
	for (int i = 0; i < HANG_MS; i++) {
		assert_true(smcdu_connect(g.ctx[GUEST_A], "x@guest-b", &ch) < 0);
		if (smcdu_last_diag() == 0x03030000)
			break;
		sleep_ms(1);
	}
	expect_refused("x@guest-b", -ENODEV, 0x03030000, "no ISM function");
	expect_failure(GUEST_A, "client", "us", 0x03030000, "no ISM function");
	fabric("clear 0");
	for (int i = 0; i < HANG_MS / 10; i++) {
		if (smcdu_connect(g.ctx[GUEST_A], "x@guest-b", &ch) != -ENODEV)
			break;
		sleep_ms(10);
	}
	guests_expect_works(&g);
}

/* ---- by the peer ---- */

static void test_service(void **state)
{
	expect_refused("nobody@guest-b", -ECONNREFUSED, 0x03010000, "no service 'nobody'");
	expect_failure(GUEST_A, "client", "peer", 0x03010000, "no service 'nobody'");
	expect_failure(GUEST_B, "server", "us", 0x03010000, "no service 'nobody'");
}

static void test_backlog_and_quota(void **state)
{
	struct smcdu_channel *c, *s;
	struct smcdu_listener *l;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "busy", 1, &l), 0);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "busy@guest-b", &c), 0);
	expect_refused("busy@guest-b", -ECONNREFUSED, 0x01010000, "backlog");
	expect_failure(GUEST_A, "client", "peer", 0x01010000, "backlog");
	expect_failure(GUEST_B, "server", "us", 0x01010000, "backlog");
	smcdu_close(c);
	smcdu_listener_free(l);

	guests_configure(&g, GUEST_B, "[limits]\nchannels_per_user = 1\n");
	guests_connect(&g, GUEST_A, "one", &c, &s);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "two", 0, &l), 0);
	expect_refused("two@guest-b", -ECONNREFUSED, 0x01010000, "limit");
	expect_failure(GUEST_A, "client", "peer", 0x01010000, "limit");
	expect_failure(GUEST_B, "server", "us", 0x01010000, "limit");
	smcdu_listener_free(l);
	smcdu_close(c);
	smcdu_close(s);
	guests_configure(&g, GUEST_B, "");
}

static void test_enterprise_ids(void **state)
{
	struct smcdu_listener *l;

	guests_configure(&g, GUEST_A, "[smc]\nueid = OURS\nueid = OURS.TOO\n");
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "eid", 0, &l), 0);
	expect_refused("eid@guest-b", -EPROTO, 0x03030001, "enterprise id");
	expect_failure(GUEST_A, "client", "peer", 0x03030001, "enterprise id");
	expect_failure(GUEST_B, "server", "us", 0x03030001, "OURS, OURS.TOO");
	smcdu_listener_free(l);
	guests_configure(&g, GUEST_A, "");
}

static void test_path(void **state)
{
	struct smcdu_channel *ch;
	struct smcdu_settings s;
	struct smcdu_listener *l;
	struct smcdu_ctx *ctx;

	smcdu_default_settings(&s);
	s.socket_path = g.socket[GUEST_A];
	s.path = SMCDU_PATH_ATTACHED; /* which both daemons are told not to offer */
	assert_int_equal(smcdu_open(&s, &ctx), 0);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "path", 0, &l), 0);
	assert_int_equal(smcdu_connect(ctx, "path@guest-b", &ch), -EOPNOTSUPP);
	assert_int_equal(smcdu_last_diag(), 0x03040000);
	assert_non_null(strstr(smcdu_last_error(), "attached"));
	expect_failure(GUEST_A, "client", "us", 0x03040000, "attached");
	expect_failure(GUEST_B, "server", "peer", 0x03040000, "it declined");
	smcdu_listener_free(l);
	smcdu_close_ctx(ctx);
}

/* ---- devices ---- */

#define INDEXES 1888u /* that a function has for DMBs */

/* All indexes of B's function are used up, one by its control link. */
static void test_dmb_limit(void **state)
{
	static const char many[] = "[smc]\nrcvbuf = 16K\n"
		"[limits]\nchannels_per_user = 4000\nbytes_per_user = 100G\n";
	struct rlimit rl = { 0 };
	static struct smcdu_channel *c[INDEXES], *s[INDEXES];
	struct smcdu_listener *l;
	unsigned int n = 0;

	getrlimit(RLIMIT_NOFILE, &rl);
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_max < 8192)
		skip();
	guests_configure(&g, GUEST_A, many);
	guests_configure(&g, GUEST_B, many);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "dmb", 0, &l), 0);
	for (; n < INDEXES && smcdu_connect(g.ctx[GUEST_A], "dmb@guest-b", &c[n]) == 0; n++)
		assert_int_equal(smcdu_accept(l, 0, &s[n]), 0);
	assert_int_equal(n, INDEXES - 1);
	assert_int_equal(smcdu_last_diag(), 0x030d0000);
	expect_failure(GUEST_A, "client", "peer", 0x030d0000, "no DMB left");
	expect_failure(GUEST_B, "server", "us", 0x030d0000, "no DMB left");
	while (n > 0) {
		smcdu_close(c[--n]);
		smcdu_close(s[n]);
	}
	smcdu_listener_free(l);
	guests_configure(&g, GUEST_A, "");
	guests_configure(&g, GUEST_B, "");
}

/* The device refuses a DMB, for a reason that nobody knows. */
static void test_dmb_refused(void **state)
{
	struct smcdu_listener *l;

	guests_expect_works(&g); /* the link is up: it needs a DMB, too */
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "dmb", 0, &l), 0);
	fabric("knob dmb_limit 0");
	expect_refused("dmb@guest-b", -ECONNREFUSED, 0x01010000, "memory");
	expect_failure(GUEST_A, "client", "peer", 0x01010000, "memory");
	expect_failure(GUEST_B, "server", "us", 0x01010000, "memory");
	fabric("knob dmb_limit 1920");
	smcdu_listener_free(l);
	guests_expect_works(&g);
}

static void test_vlan(void **state)
{
	struct smcdu_listener *l;

	guests_configure(&g, GUEST_A, "[peer guest-b]\nvlan = 7\n");
	guests_configure(&g, GUEST_B, ""); /* no group is left of before */
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "vlan", 0, &l), 0);
	expect_refused("nobody@guest-b", -ECONNREFUSED, 0x03010000, ""); /* the link is up */
	fabric("fault 0 fail-command 1");
	expect_refused("vlan@guest-b", -EPROTO, 0x03090000, "VLAN");
	expect_failure(GUEST_A, "client", "us", 0x03090000, "VLAN");
	expect_failure(GUEST_B, "server", "peer", 0x03090000, "VLAN");
	fabric("clear 0");
	smcdu_listener_free(l);
	guests_expect_works(&g);
	guests_configure(&g, GUEST_A, "");
}

/* ---- time, and disagreement ---- */

static void test_timeouts(void **state)
{
	struct smcdu_listener *l;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "late", 0, &l), 0);
	guests_expect_works(&g);
	kill(g.daemon[GUEST_B], SIGSTOP);
	expect_refused("late@guest-b", -ETIMEDOUT, 0x02010000, "in time");
	expect_failure(GUEST_A, "client", "us", 0x02010000, "in time");
	kill(g.daemon[GUEST_B], SIGCONT);
	smcdu_listener_free(l);
	guests_expect_works(&g);

	/* a function without a daemon that answers */
	expect_refused("x@0x1d15000000000003", -EHOSTUNREACH, 0x03030007, "smcd-userd");
}

static size_t groups(int guest)
{
	struct json_object *root, *list;
	char *text = NULL;
	size_t n;

	assert_int_equal(smcdu_query(g.ctx[guest], "linkgroup", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "linkgroups", &list));
	n = json_object_array_length(list);
	json_object_put(root);
	return n;
}

/* A group ended unheard: the kernel's code for it passes between the daemons, nobody else notices. */
static void test_out_of_sync(void **state)
{
	struct smcdu_channel *c, *s;

	guests_configure(&g, GUEST_A, "[smc]\nlgr_idle_s = 1\n");
	guests_connect(&g, GUEST_A, "idle", &c, &s);
	fabric("fault 1 drop-events 1000"); /* others may be under way */
	smcdu_close(c); /* while there is a connection the group does not end */
	smcdu_close(s);
	while (groups(GUEST_A) > 0)
		sleep_ms(10);
	fabric("clear 1");
	assert_int_equal(groups(GUEST_B), 1);
	guests_expect_works(&g);
	expect_failure(GUEST_B, "server", "peer", 0x04000000, "it declined");
	guests_configure(&g, GUEST_A, "");
}

/* ---- other versions, seen by a peer that sends what it likes ---- */

static uint32_t diag_of_answer(const struct rdv_record *rec)
{
	struct clc_decline d;

	assert_int_equal(clc_decode_decline(rec->clc, rec->clc_len, &d), 0);
	return d.diag;
}

static void test_versions(void **state)
{
	static const struct {
		uint32_t diag;
		const char *name;
	} cases[] = {
		{ 0x03010000, "version 1" },
		{ 0x03010000, "SMC-R only" },
		{ 0x03030008, "no EID" },
		{ 0x03030001, "an EID of strange bytes" },
		{ 0x03030007, "another fabric" },
		{ 0x03030007, "a GID that is not there" },
	};
	struct rdv_record answer;
	struct smcdu_listener *l;
	struct guest_x x;
	uint16_t port;

	x_open(&x, &g);
	x_link(&x);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "version", 0, &l), 0);
	port = (uint16_t)smcdu_listener_port(l);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct clc_proposal p = { .release = 1, .features = 1, .nr_ueid = 1, .nr_gid = 1,
			.gid = { { .gid = ism_gid(x.dev), .chid = ism_chid(x.dev) } } };
		uint8_t msg[CLC_MAX_LEN] = { 0 };
		ssize_t len;

		clc_eid(p.ueid[0], "SMCD-USER");
		if (i == 2)
			p.nr_ueid = 0;
		else if (i == 3)
			memcpy(p.ueid[0], "\x1b[2J\x07\xff", 6);
		else if (i == 4)
			p.gid[0].chid = 0x7c1;
		else if (i == 5)
			p.gid[0].gid = 0x77;
		len = clc_encode_proposal(msg, &p);
		assert_true(len > 0);
		if (i < 2) { /* 40 fixed, 40 of SMC-D, an empty prefix area, the trailer */
			len = 92;
			msg[5] = 0;
			msg[6] = (uint8_t)len;
			msg[7] = i == 0 ? 0x11 : 0x28;
			memset(&msg[38], 0, 54);
			msg[39] = 40;
			memcpy(&msg[88], msg, 4);
		}
		x_propose(&x, "version", port, msg, (size_t)len, &answer);
		if (diag_of_answer(&answer) != cases[i].diag)
			fail_msg("%s: 0x%08x", cases[i].name, diag_of_answer(&answer));
		expect_failure(GUEST_A, "server", "us", cases[i].diag,
			i == 3 ? "it offers ?[2J??SER" : "");
	}
	smcdu_listener_free(l);
	x_close(&x);
}

/* ---- established ---- */

static void test_channels_that_end(void **state)
{
	struct smcdu_channel *c, *s;
	char byte;

	guests_connect(&g, GUEST_A, "aborted", &c, &s);
	smcdu_abort(c);
	assert_int_equal(smcdu_recv(s, &byte, 1, 0), -ECONNRESET);
	expect_failure(GUEST_B, "server", "peer", 0, "aborted or died");
	smcdu_close(s);
	guests_connect(&g, GUEST_A, "left", &c, &s);
	guests_kill(&g.daemon[GUEST_B], SIGKILL);
	assert_int_equal(smcdu_recv(c, &byte, 1, 0), -ECONNRESET);
	expect_failure(GUEST_A, "client", "peer", 0, "went away");
	smcdu_close(c);
	smcdu_close(s);
	guests_start_daemon(&g, GUEST_B, NULL);
	guests_expect_works(&g);
}

/* Only so many are kept, and the table shows them. */
static void test_table(void **state)
{
	struct json_object *list, *root, *total;
	char command[512], line[512];
	unsigned int lines = 0;
	FILE *f;

	for (unsigned int i = 0; i < 70; i++)
		expect_refused("nobody@guest-b", -ECONNREFUSED, 0x03010000, "nobody");
	root = failures(GUEST_B, &list);
	assert_int_equal(json_object_array_length(list), 64);
	assert_true(json_object_object_get_ex(root, "total", &total));
	assert_true(json_object_get_int(total) >= 70);
	json_object_put(root);
	snprintf(command, sizeof(command), "'%s' --socket '%s' failure",
		guests_program("SMCD_USERCTL"), g.socket[GUEST_B]);
	f = popen(command, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (lines++ > 0)
			assert_non_null(strstr(line, "0x03010000  no service 'nobody' (port "));
	}
	assert_int_equal(pclose(f), 0);
	assert_int_equal(lines, 65);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_here),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_no_function),
		cmocka_unit_test(test_service),
		cmocka_unit_test(test_backlog_and_quota),
		cmocka_unit_test(test_enterprise_ids),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_dmb_limit),
		cmocka_unit_test(test_dmb_refused),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_out_of_sync),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_channels_that_end),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
