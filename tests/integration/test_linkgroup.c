/* SPDX-License-Identifier: MIT */
#include "tests/integration/guest_x.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "smcd/proto/lgr.h"
#include "vfio/base/fd.h"

/*
 * Link groups as operators of both guests see them: made by a first contact, shared by connections
 * in both directions, kept for a while, ended by time, by want of room, by a peer's word.
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

struct group {
	char id[16], peer_id[16], peer[64], state[16], role[16], host[40], eid[40];
	int vlan, conns, release, version;
};

/* How many the daemon has, and up to @max of them. */
static unsigned int groups(int guest, struct group *ret, unsigned int max)
{
	struct json_object *root, *list, *o;
	unsigned int i, n;
	char *text = NULL;

	assert_int_equal(smcdu_query(g.ctx[guest], "linkgroup", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "linkgroups", &list));
	n = (unsigned int)json_object_array_length(list);
	for (i = 0; i < n && i < max; i++) {
		o = json_object_array_get_idx(list, i);
		memset(&ret[i], 0, sizeof(ret[i]));
		snprintf(ret[i].id, sizeof(ret[i].id), "%s", json_text(o, "id"));
		snprintf(ret[i].peer_id, sizeof(ret[i].peer_id), "%s", json_text(o, "peer_id"));
		snprintf(ret[i].peer, sizeof(ret[i].peer), "%s", json_text(o, "peer"));
		snprintf(ret[i].state, sizeof(ret[i].state), "%s", json_text(o, "state"));
		snprintf(ret[i].role, sizeof(ret[i].role), "%s", json_text(o, "role"));
		snprintf(ret[i].host, sizeof(ret[i].host), "%s", json_text(o, "peer_host"));
		snprintf(ret[i].eid, sizeof(ret[i].eid), "%s", json_text(o, "eid"));
		ret[i].vlan = json_number(o, "vlan");
		ret[i].conns = json_number(o, "conns");
		ret[i].release = json_number(o, "peer_release");
		ret[i].version = json_number(o, "version");
	}
	json_object_put(root);
	return n;
}

static void wait_groups(int guest, unsigned int n)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;

	while (groups(guest, NULL, 0) != n) {
		if (clock_ns() > end)
			fail_msg("guest %d has %u groups, not %u", guest, groups(guest, NULL, 0), n);
		sleep_ms(5);
	}
}

static struct group only_group(int guest)
{
	struct group one;

	assert_int_equal(groups(guest, &one, 1), 1);
	return one;
}

static void wait_conns(int guest, int conns)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;

	while (only_group(guest).conns != conns) {
		if (clock_ns() > end)
			fail_msg("guest %d's group keeps %d connections, not %d", guest,
				only_group(guest).conns, conns);
		sleep_ms(5);
	}
}

/* ---- life ---- */

static void test_shared(void **state)
{
	struct smcdu_channel *c[3], *s[3];
	struct group a, b;

	wait_groups(GUEST_A, 0);
	guests_connect(&g, GUEST_A, "one", &c[0], &s[0]);
	a = only_group(GUEST_A);
	b = only_group(GUEST_B);
	assert_string_equal(a.state, "usable");
	assert_string_equal(b.state, "usable");
	assert_string_equal(a.role, "client");
	assert_string_equal(b.role, "server");
	assert_string_equal(a.peer, "guest-b");
	assert_string_equal(b.peer, "guest-a");
	assert_string_equal(a.host, "guest-b");
	assert_string_equal(a.eid, "SMCD-USER");
	assert_string_equal(a.peer_id, b.id); /* what the other calls it */
	assert_string_equal(b.peer_id, a.id);
	assert_int_equal(a.version, 2);
	assert_int_equal(a.release, 1);
	assert_int_equal(a.vlan, 0);
	guests_connect(&g, GUEST_A, "two", &c[1], &s[1]);
	guests_connect(&g, GUEST_B, "three", &c[2], &s[2]); /* the other way */
	assert_string_equal(only_group(GUEST_A).id, a.id);
	assert_int_equal(only_group(GUEST_A).conns, 3);
	assert_int_equal(only_group(GUEST_B).conns, 3);
	for (int i = 0; i < 3; i++) {
		smcdu_close(c[i]);
		smcdu_close(s[i]);
	}
	wait_conns(GUEST_A, 0);
	wait_conns(GUEST_B, 0);
	assert_string_equal(only_group(GUEST_A).state, "usable");
	guests_connect(&g, GUEST_B, "four", &c[0], &s[0]); /* and is used again */
	assert_string_equal(only_group(GUEST_B).id, b.id);
	smcdu_close(c[0]);
	smcdu_close(s[0]);
	wait_conns(GUEST_A, 0);
}

/* A refused connection leaves the group as it was. */
static void test_refused(void **state)
{
	struct group before = only_group(GUEST_A);
	struct smcdu_channel *ch;

	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "nobody@guest-b", &ch), -ECONNREFUSED);
	assert_string_equal(only_group(GUEST_A).id, before.id);
	assert_int_equal(only_group(GUEST_A).conns, 0);
}

/* One end's time is over; it tells the other, whose own would have lasted. */
static void test_idle(void **state)
{
	struct smcdu_channel *c, *s;
	struct group a;

	guests_configure(&g, GUEST_B, "[smc]\nlgr_idle_s = 1\n");
	guests_connect(&g, GUEST_A, "idle", &c, &s);
	a = only_group(GUEST_A);
	sleep_ms(1200); /* not while there is a connection */
	assert_int_equal(only_group(GUEST_B).conns, 1);
	smcdu_close(c);
	smcdu_close(s);
	wait_groups(GUEST_B, 0);
	wait_groups(GUEST_A, 0);
	guests_connect(&g, GUEST_A, "anew", &c, &s);
	assert_string_not_equal(only_group(GUEST_A).id, a.id);
	smcdu_close(c);
	smcdu_close(s);
	guests_configure(&g, GUEST_B, "");
	wait_groups(GUEST_A, 0); /* went with the link */
}

/* ---- VLANs ---- */

/* Whether the fabric has the function in that VLAN. */
static bool is_member(int guest, int vlan)
{
	struct json_object *root, *list = NULL, *vlans = NULL;
	char command[512], *text = NULL;
	bool found = false;
	size_t size = 0;
	FILE *f;

	snprintf(command, sizeof(command), "'%s' --dir '%s/fabric' --command show",
		guests_program("ISM_FABRICD"), g.dir);
	f = popen(command, "re");
	assert_non_null(f);
	assert_true(getdelim(&text, &size, '\0', f) > 0);
	assert_int_equal(pclose(f), 0);
	assert_non_null(strchr(text, '{'));
	root = json_tokener_parse(strchr(text, '{'));
	free(text);
	assert_true(json_object_object_get_ex(root, "functions", &list));
	assert_true(json_object_object_get_ex(
		json_object_array_get_idx(list, (size_t)guest), "vlans", &vlans));
	for (size_t i = 0; i < json_object_array_length(vlans); i++)
		found |= json_object_get_int(json_object_array_get_idx(vlans, i)) == vlan;
	json_object_put(root);
	return found;
}

static void test_vlan(void **state)
{
	struct smcdu_channel *c, *s;

	guests_configure(&g, GUEST_A, "[smc]\nlgr_idle_s = 1\n[peer guest-b]\nvlan = 100\n");
	assert_false(is_member(GUEST_A, 100));
	guests_connect(&g, GUEST_A, "tagged", &c, &s);
	assert_int_equal(only_group(GUEST_A).vlan, 100);
	assert_int_equal(only_group(GUEST_B).vlan, 0); /* as a Linux server has it */
	assert_true(is_member(GUEST_A, 100));
	assert_false(is_member(GUEST_B, 100));
	smcdu_close(c);
	smcdu_close(s);
	wait_groups(GUEST_A, 0);
	assert_false(is_member(GUEST_A, 100));
	guests_configure(&g, GUEST_A, "");
}

/* ---- limits and a third guest ---- */

static bool has_peer(int guest, const char *peer)
{
	struct group all[8];
	unsigned int n = groups(guest, all, 8);

	for (unsigned int i = 0; i < n && i < 8; i++) {
		if (!strcmp(all[i].peer, peer))
			return true;
	}
	return false;
}

/* One group at most: an idle one makes room, a busy one does not. */
static void test_limit(void **state)
{
	struct smcdu_channel *c, *s, *x_app;
	struct smcdu_listener *l;
	struct x_channel xc;
	struct guest_x x;

	guests_configure(&g, GUEST_A, "[limits]\nlink_groups = 1\n");
	x_open(&x, &g);
	x_link(&x);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "both", 0, &l), 0);
	guests_connect(&g, GUEST_A, "first", &c, &s);
	smcdu_close(c);
	smcdu_close(s);
	wait_conns(GUEST_A, 0);
	assert_true(has_peer(GUEST_A, "guest-b"));
	x_connect(&x, "both", (uint16_t)smcdu_listener_port(l), &xc);
	assert_int_equal(smcdu_accept(l, 0, &x_app), 0);
	assert_true(has_peer(GUEST_A, "guest-x"));
	assert_false(has_peer(GUEST_A, "guest-b"));
	wait_groups(GUEST_B, 0); /* it was told */
	assert_int_equal(smcdu_connect(g.ctx[GUEST_B], "both@guest-a", &c), -ECONNREFUSED);
	assert_int_equal(smcdu_last_diag(), 0x01010000);
	smcdu_close(x_app);
	smcdu_listener_free(l);
	x_close(&x);
	wait_groups(GUEST_A, 0);
	guests_expect_works(&g);
	guests_configure(&g, GUEST_A, "");
}

/* ---- events ---- */

static void signal_a(struct guest_x *x, uint32_t code, struct lgr_event ev)
{
	assert_int_equal(ism_signal_event(x->dev, GID_A, code, lgr_event_pack(&ev, x->order)), 0);
}

/* Asks and waits for the answer: A has taken in what it was told before, too. */
static void ask_a(struct guest_x *x, struct lgr_event ev)
{
	unsigned int before = x->echoes;

	ev.code = LGR_REQUEST;
	signal_a(x, LGR_EV_TESTLINK, ev);
	for (int i = 0; i < HANG_MS && x->echoes == before; i++)
		x_idle(x, 1);
	assert_int_equal(x->echoes, before + 1);
}

/* A peer's SHUTDOWN ends the group it names, with its connections; nobody else's. */
static void test_shutdown(void **state)
{
	struct smcdu_channel *c, *s, *x_app;
	struct smcdu_listener *l;
	struct lgr_event ev = { .name = { { 9, 9, 9, 9 } }, .code = LGR_REQUEST };
	struct x_channel xc;
	struct guest_x x;
	char byte;

	guests_connect(&g, GUEST_A, "bystander", &c, &s);
	x_open(&x, &g);
	x_link(&x);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "shutdown", 0, &l), 0);
	x_connect(&x, "shutdown", (uint16_t)smcdu_listener_port(l), &xc);
	assert_int_equal(smcdu_accept(l, 0, &x_app), 0);
	signal_a(&x, LGR_EV_SHUTDOWN, ev); /* of a name that A has never heard */
	ask_a(&x, ev);
	assert_int_equal(smcdu_recv(x_app, &byte, 1, SMCDU_DONTWAIT), -EAGAIN);
	assert_true(has_peer(GUEST_A, "guest-x"));
	memset(&ev.name, 0, sizeof(ev.name)); /* without a name, as some systems may: all of them */
	signal_a(&x, LGR_EV_SHUTDOWN, ev);
	assert_true(smcdu_recv(x_app, &byte, 1, 0) < 0);
	for (int i = 0; i < HANG_MS && has_peer(GUEST_A, "guest-x"); i++)
		sleep_ms(1);
	assert_false(has_peer(GUEST_A, "guest-x"));
	assert_true(has_peer(GUEST_A, "guest-b"));
	assert_int_equal(smcdu_send(c, "x", 1, 0), 1);
	assert_int_equal(smcdu_recv(s, &byte, 1, 0), 1);
	smcdu_close(x_app);
	smcdu_listener_free(l);
	x_close(&x);
	smcdu_close(c);
	smcdu_close(s);
	wait_conns(GUEST_A, 0);
}

/* A TESTLINK request comes back as a response, with all else as it was; anything else does not. */
static void test_testlink(void **state)
{
	struct lgr_event ev = { .name = { { 1, 2, 3, 4 } }, .vlan = 7 }, back;
	struct guest_x x;

	x_open(&x, &g);
	ask_a(&x, ev);
	back = lgr_event_unpack(x.echo.info, x.order);
	assert_memory_equal(back.name.id, ev.name.id, LGR_ID_LEN);
	assert_int_equal(back.vlan, 7);
	assert_int_equal(back.code, LGR_RESPONSE);
	ev.code = LGR_RESPONSE;
	signal_a(&x, LGR_EV_TESTLINK, ev);
	ev.code = 3;
	signal_a(&x, LGR_EV_TESTLINK, ev);
	signal_a(&x, 0x81, ev);
	ask_a(&x, (struct lgr_event){ .name = { { 5, 6, 7, 8 } } });
	back = lgr_event_unpack(x.echo.info, x.order);
	assert_int_equal(back.name.id[0], 5); /* the only one that was answered */
	assert_int_equal(x.echoes, 2);
	x_close(&x);
}

/* ---- the tool ---- */

static void test_table(void **state)
{
	struct smcdu_channel *c, *s;
	char command[512], line[512], id[32], pnetid[32], device[32], peer[32];
	int vlan, conns, found = 0;
	struct group a;
	FILE *f;

	guests_connect(&g, GUEST_A, "table", &c, &s);
	a = only_group(GUEST_A);
	snprintf(command, sizeof(command), "'%s' --socket '%s' li sh",
		guests_program("SMCD_USERCTL"), g.socket[GUEST_A]);
	f = popen(command, "re");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	assert_int_equal(strncmp(line, "LG-ID       VLAN  #Conns  PNET-ID", 33), 0);
	while (fgets(line, sizeof(line), f)) {
		assert_int_equal(sscanf(line, "%31s %d %d %31s %31s %31s", id, &vlan, &conns, pnetid,
			device, peer), 6);
		assert_string_equal(id, a.id);
		assert_int_equal(conns, a.conns);
		assert_string_equal(pnetid, "-");
		assert_string_equal(peer, "guest-b");
		found++;
	}
	assert_int_equal(pclose(f), 0);
	assert_int_equal(found, 1);
	smcdu_close(c);
	smcdu_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_testlink),
		cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
