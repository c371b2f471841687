/* SPDX-License-Identifier: MIT */
/*
 * smcd-userctl capture while two guests connect, exchange and close, at both ends; then tshark says
 * what it sees in the files: the handshake with the right GIDs, CHID and EID, the Decline of a
 * connection that nobody waited for, and the CDC blocks with what they mean.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "smcd/ipc/chan.h"
#include "tests/integration/guests.h"
#include "vfio/base/fd.h"

#define FIELDS \
	"-e smc.clc_msg -e smc.proposal.ism.gid -e smc.proposal.smc.chid -e smc.proposal.eid " \
	"-e smc.accept.sender.server.ism.gid -e smc.accept.smc.chid -e smc.accept.eid " \
	"-e smc.confirm.sender.client.ism.gid -e smc.confirm.smc.chid -e smc.confirm.eid " \
	"-e smc.peer.diag.info -e tcp.srcport -e tcp.dstport -e ipv6.src -e ipv6.dst " \
	"-e frame.comment -e _ws.malformed"

static struct guests g;

struct capture {
	pid_t pid;
	char path[128];
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

/* ---- the tool -------------------------------------------------------------------------------- */

static pid_t spawn(int guest, const char *path, const char *option, const char *value)
{
	const char *ctl = guests_program("SMCD_USERCTL");
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		execl(ctl, ctl, "--socket", g.socket[guest], "capture", path, option, value,
			(char *)NULL);
		_exit(127);
	}
	return pid;
}

/* It has begun when the file has its head. */
static void wait_begun(const struct capture *c)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct stat st;

	while (stat(c->path, &st) < 0 || st.st_size == 0) {
		if (clock_ns() > end)
			fail_msg("%s stays empty", c->path);
		sleep_ms(2);
	}
}

static void begin(struct capture *c, int guest, const char *name, const char *option,
	const char *value)
{
	snprintf(c->path, sizeof(c->path), "%s/%s.pcapng", g.dir, name);
	c->pid = spawn(guest, c->path, option, value);
	wait_begun(c);
}

static void end_of(struct capture *c, int sig)
{
	int status = guests_kill(&c->pid, sig);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- tshark ---------------------------------------------------------------------------------- */

struct shown {
	char line[64][1024];
	unsigned int nr;
};

static void show(const struct capture *c, const char *filter, struct shown *s)
{
	char command[2048];
	FILE *f;

	snprintf(command, sizeof(command), "WIRESHARK_CONFIG_DIR='%s' '%s' -r '%s' -Y '%s' "
		"-o tcp.try_heuristic_first:TRUE -T fields %s 2>/dev/null",
		g.dir, guests_program("TSHARK"), c->path, filter, FIELDS);
	f = popen(command, "re");
	assert_non_null(f);
	s->nr = 0;
	while (s->nr < 64 && fgets(s->line[s->nr], sizeof(s->line[0]), f))
		s->nr++;
	assert_int_equal(pclose(f), 0);
}

static void expect_in(const char *line, const char *what)
{
	if (!strstr(line, what))
		fail_msg("'%s' is not in '%s'", what, line);
}

static void expect_gid(const char *line, uint64_t gid)
{
	char text[32];

	snprintf(text, sizeof(text), "0x%016" PRIx64, gid);
	expect_in(line, text);
}

/* The first value of a key in a report's list. */
static void first_of(int guest, const char *report, const char *list, const char *key, char out[64])
{
	struct json_object *root, *rows, *v;
	char *text = NULL;

	assert_int_equal(smcdu_query(g.ctx[guest], report, &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, list, &rows));
	assert_true(json_object_array_length(rows) > 0);
	assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), key, &v));
	snprintf(out, 64, "%s", json_object_get_string(v));
	json_object_put(root);
}

/* ---- what is seen ---------------------------------------------------------------------------- */

static struct smcdu_channel_info info; /* the client's, at guest A */

static void check_handshake(const struct capture *c)
{
	static struct shown s;
	char eid[64], chid[64], port[32];

	first_of(GUEST_A, "linkgroup", "linkgroups", "eid", eid);
	first_of(GUEST_A, "device", "devices", "chid", chid);
	snprintf(port, sizeof(port), "\t%u\t", info.port);
	show(c, "smc.clc_msg <= 3 && tcp.port == 4711", &s);
	assert_int_equal(s.nr, 3);
	assert_int_equal(s.line[0][0], '1');
	expect_gid(s.line[0], info.local_gid);
	assert_int_equal(s.line[1][0], '2');
	expect_gid(s.line[1], info.peer_gid);
	assert_int_equal(s.line[2][0], '3');
	expect_gid(s.line[2], info.local_gid);
	for (unsigned int i = 0; i < 3; i++) {
		expect_in(s.line[i], chid);
		expect_in(s.line[i], eid);
		expect_in(s.line[i], port);
		assert_null(strstr(s.line[i], "alformed"));
	}
}

static void check_decline(const struct capture *c)
{
	static struct shown s;

	show(c, "smc.clc_msg == 4", &s);
	assert_int_equal(s.nr, 1);
	expect_in(s.line[0], "0x03010000");
	expect_in(s.line[0], "declined with 0x03010000: ");
}

/* As both ends have it: one sends what the other sees, and the last word is there. */
static void check_blocks(const struct capture *c, bool client)
{
	static struct shown s;

	show(c, "ipv6.nxt == 253 && data.len == 32 && data.data[0] == fe", &s);
	assert_true(s.nr >= 4);
	show(c, client ? "frame.comment contains \"CDC sent: produced 0:5 \"" :
		"frame.comment contains \"CDC seen: produced 0:5 \"", &s);
	assert_true(s.nr >= 1);
	show(c, client ? "frame.comment contains \"CDC seen: produced 0:7 \"" :
		"frame.comment contains \"CDC sent: produced 0:7 \"", &s);
	assert_true(s.nr >= 1);
	show(c, "frame.comment contains \" closed\"", &s);
	assert_int_equal(s.nr, 2);
	assert_string_not_equal(s.line[0], s.line[1]);
}

static void expect_bytes(struct smcdu_channel *ch, size_t len)
{
	char buf[16];
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = smcdu_recv(ch, buf, len - have, 0);
		assert_true(n > 0);
		have += (size_t)n;
	}
}

static void refused_connect(void)
{
	struct smcdu_channel *ch = NULL;

	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "nobody@guest-b", &ch), -ECONNREFUSED);
	assert_null(ch);
}

/*
 * A daemon passes on what it has recorded when its loop turns, and may answer a question before. After
 * some more of them, which the loop has to bring, it has.
 */
static void wait_passed_on(void)
{
	for (int i = 0; i < 6; i++)
		guests_stat(&g, i & 1, "channels");
}

static void test_capture(void **state)
{
	struct smcdu_channel *client, *server;
	struct capture a, b;
	char buf[8];

	begin(&a, GUEST_A, "a", NULL, NULL);
	begin(&b, GUEST_B, "b", NULL, NULL);
	guests_connect(&g, GUEST_A, "4711", &client, &server);
	smcdu_channel_info(client, &info);
	assert_int_equal(smcdu_send(client, "hello", 5, 0), 5);
	expect_bytes(server, 5);
	assert_int_equal(smcdu_send(server, "goodbye", 7, 0), 7);
	expect_bytes(client, 7);
	refused_connect();
	smcdu_close(client);
	assert_int_equal(smcdu_recv(server, buf, sizeof(buf), 0), 0);
	smcdu_close(server);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
	wait_passed_on();
	end_of(&a, SIGINT);
	end_of(&b, SIGTERM);
	check_handshake(&a);
	check_handshake(&b);
	check_decline(&a);
	check_decline(&b);
	if (guests_attached())
		return; /* there the applications write the blocks */
	check_blocks(&a, true);
	check_blocks(&b, false);
}

/* It ends by itself after so many packets. */
static void test_count(void **state)
{
	struct capture c;
	int status = 0;

	begin(&c, GUEST_A, "count", "--count", "2");
	guests_expect_works(&g);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* How often @what is in the file. */
static unsigned int count_in(const struct capture *c, const char *what)
{
	FILE *f = fopen(c->path, "re");
	const char *at, *end;
	unsigned int n = 0;
	struct stat st;
	char *all;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	all = malloc((size_t)st.st_size);
	assert_non_null(all);
	assert_int_equal(fread(all, 1, (size_t)st.st_size, f), st.st_size);
	fclose(f);
	end = all + st.st_size;
	for (at = all; (at = memmem(at, (size_t)(end - at), what, strlen(what))) != NULL; at++)
		n++;
	free(all);
	return n;
}

/*
 * The tool is kept from reading until more was recorded than its socket holds, and is then told to end: it
 * writes what the daemon still has in its ring, too.
 */
static void test_end_loses_nothing(void **state)
{
	struct smcdu_channel *client, *server;
	struct smcdu_channel_stats st;
	struct capture c;

	if (guests_attached())
		skip(); /* the daemon writes no blocks */
	begin(&c, GUEST_A, "rest", NULL, NULL);
	guests_connect(&g, GUEST_A, "rest", &client, &server);
	assert_int_equal(kill(c.pid, SIGSTOP), 0);
	for (int i = 0; i < 240; i++) { /* as many as the ring holds, and some answers */
		assert_int_equal(smcdu_send(client, "x", 1, 0), 1);
		expect_bytes(server, 1);
	}
	smcdu_channel_stats(client, &st);
	assert_true(st.cdc_tx >= 240);
	/* The daemon is slow, too: it does not fill up what the tool takes out of the socket. */
	assert_int_equal(kill(g.daemon[GUEST_A], SIGSTOP), 0);
	assert_int_equal(kill(c.pid, SIGINT), 0);
	assert_int_equal(kill(c.pid, SIGCONT), 0);
	sleep_ms(100);
	assert_int_equal(kill(g.daemon[GUEST_A], SIGCONT), 0);
	end_of(&c, 0);
	assert_int_equal(count_in(&c, "CDC sent: "), st.cdc_tx);
	smcdu_close(client);
	smcdu_close(server);
}

/* A daemon that does not answer is not waited for by those who say so twice. */
static void test_end_twice(void **state)
{
	struct capture c;

	begin(&c, GUEST_A, "twice", NULL, NULL);
	assert_int_equal(kill(g.daemon[GUEST_A], SIGSTOP), 0);
	assert_int_equal(kill(c.pid, SIGINT), 0);
	end_of(&c, SIGTERM);
	assert_int_equal(kill(g.daemon[GUEST_A], SIGCONT), 0);
	guests_expect_works(&g);
}

/* The next record within a while; false: none is there. */
static bool next_record(int fd, struct ipc_record *r)
{
	ssize_t len = recv(fd, r, sizeof(*r), MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return false;
	assert_true(len >= (ssize_t)offsetof(struct ipc_record, data));
	assert_int_equal(r->hdr.type, IPC_RECORD);
	assert_int_equal((size_t)len, offsetof(struct ipc_record, data) + r->len);
	return true;
}

/*
 * Who does not read loses records, is told how many, and holds up nobody. With what comes when it
 * reads again, the blocks that were sent are all accounted for.
 */
static void test_slow_reader(void **state)
{
	struct smcdu_channel *client, *server;
	struct smcdu_channel_stats st;
	uint64_t told = 0, lost = 0, end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	struct ipc_record r;
	int fd;

	if (guests_attached())
		skip(); /* the daemon writes no blocks */
	fd = smcdu_capture(g.ctx[GUEST_A], SMCDU_CAPTURE_CDC);
	assert_true(fd >= 0);
	guests_connect(&g, GUEST_A, "slow", &client, &server);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(smcdu_send(client, "x", 1, 0), 1);
		expect_bytes(server, 1);
	}
	smcdu_channel_stats(client, &st);
	assert_true(st.cdc_tx > 1000);
	while (lost == 0 || told + lost < st.cdc_tx) {
		if (clock_ns() > end)
			fail_msg("%" PRIu64 " told of, %" PRIu64 " lost of %" PRIu64, told, lost,
				st.cdc_tx);
		if (next_record(fd, &r)) {
			told++;
			lost += r.dropped;
			continue;
		}
		assert_int_equal(smcdu_send(client, "x", 1, 0), 1);
		expect_bytes(server, 1);
	}
	smcdu_close(client);
	smcdu_close(server);
	close(fd);
}

/* All that was recorded is handed over or counted, up to the last one, and then comes the end. */
static void test_last_word(void **state)
{
	struct smcdu_channel *client, *server;
	struct smcdu_channel_stats st;
	uint64_t told = 0, lost = 0;
	struct ipc_record r = { .what = IPC_CAPTURE_CDC };
	int fd;

	if (guests_attached())
		skip(); /* the daemon writes no blocks */
	fd = smcdu_capture(g.ctx[GUEST_A], SMCDU_CAPTURE_CDC);
	assert_true(fd >= 0);
	guests_connect(&g, GUEST_A, "last", &client, &server);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(smcdu_send(client, "x", 1, 0), 1);
		expect_bytes(server, 1);
	}
	smcdu_channel_stats(client, &st);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	while (recv(fd, &r, sizeof(r), 0) > 0) {
		assert_int_equal(r.hdr.type, IPC_RECORD);
		told += r.what != 0;
		lost += r.dropped;
	}
	assert_int_equal(r.what, 0); /* there was no room for the last ones */
	assert_int_equal(r.len, 0);
	assert_true(r.dropped > 0 && told + lost >= st.cdc_tx);
	close(fd);
	smcdu_close(client);
	smcdu_close(server);
	guests_expect_works(&g);
}

static void test_limit(void **state)
{
	int fd[5];

	for (int i = 0; i < 4; i++) {
		fd[i] = smcdu_capture(g.ctx[GUEST_B], SMCDU_CAPTURE_CLC);
		assert_true(fd[i] >= 0);
	}
	assert_int_equal(smcdu_capture(g.ctx[GUEST_B], SMCDU_CAPTURE_CLC), -EBUSY);
	close(fd[0]);
	/* The daemon learns of it in its own time. */
	while ((fd[0] = smcdu_capture(g.ctx[GUEST_B], SMCDU_CAPTURE_CLC)) == -EBUSY)
		sleep_ms(2);
	assert_true(fd[0] >= 0);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	guests_expect_works(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_capture),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_end_loses_nothing),
		cmocka_unit_test(test_end_twice),
		cmocka_unit_test(test_last_word),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_slow_reader),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
