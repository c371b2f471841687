/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "smcd/ipc/chan.h"
#include "vfio/base/fd.h"

/*
 * The daemon as a service: limits per user, backlogs, the socket's owner, systemd's sockets and
 * notifications; and smcd-user-cat, whose exit status scripts rely on.
 */
static struct guests g;

static int setup(void **state)
{
	guests_start(&g, NULL);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g); /* asserts that the daemons end well: no charge is left */
	return 0;
}

static void expect_works(void)
{
	guests_expect_works(&g);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
}

static void expect_refused(const char *target, int error, const char *text)
{
	struct smcdu_channel *ch;
	int r = smcdu_connect(g.ctx[GUEST_A], target, &ch);

	if (r != error || !strstr(smcdu_last_error(), text))
		fail_msg("%s: %s: '%s' does not mention '%s'", target, strerror(-r),
			smcdu_last_error(), text);
}

/* ---- limits ---- */

static void use_up_channels(int error, const char *text)
{
	struct smcdu_channel *c[2], *s[2];
	struct smcdu_listener *l;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "limit", 0, &l), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "limit@guest-b", &c[i]), 0);
		assert_int_equal(smcdu_accept(l, 0, &s[i]), 0);
	}
	expect_refused("limit@guest-b", error, text);
	for (int i = 0; i < 2; i++) {
		smcdu_close(c[i]);
		smcdu_close(s[i]);
	}
	smcdu_listener_free(l);
	guests_wait_stat(&g, GUEST_A, "channels", 0);
	guests_wait_stat(&g, GUEST_B, "channels", 0);
	expect_works();
}

static void test_channels_per_user(void **state)
{
	guests_configure(&g, GUEST_A, "[limits]\nchannels_per_user = 2\n");
	use_up_channels(-EDQUOT, "limit");
	guests_configure(&g, GUEST_A, "");
	guests_configure(&g, GUEST_B, "[limits]\nchannels_per_user = 2\n");
	use_up_channels(-ECONNREFUSED, "limit");
	guests_configure(&g, GUEST_B, "");
}

/* 64K + 4K and a send ring of 64K, for which 1M is charged until the peer's size is known. */
static void test_bytes_per_user(void **state)
{
	guests_configure(&g, GUEST_B, "[smc]\nrcvbuf = 64K\n");
	guests_configure(&g, GUEST_A, "[smc]\nrcvbuf = 64K\n[limits]\nbytes_per_user = 1300K\n");
	use_up_channels(-EDQUOT, "limit");
	guests_configure(&g, GUEST_A, "");
	guests_configure(&g, GUEST_B, "");
}

static void test_listeners_per_user(void **state)
{
	struct smcdu_listener *l[3];

	guests_configure(&g, GUEST_A, "[limits]\nlisteners_per_user = 2\n");
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "one", 0, &l[0]), 0);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "two", 0, &l[1]), 0);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "three", 0, &l[2]), -EDQUOT);
	assert_non_null(strstr(smcdu_last_error(), "listeners"));
	smcdu_listener_free(l[0]);
	guests_wait_stat(&g, GUEST_A, "listeners", 1);
	assert_int_equal(smcdu_listen(g.ctx[GUEST_A], "three", 0, &l[2]), 0);
	smcdu_listener_free(l[1]);
	smcdu_listener_free(l[2]);
	guests_configure(&g, GUEST_A, "");
}

static int dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* Connections that say nothing. The refusal must be understood, however late it is read. */
static void test_clients_per_user(void **state)
{
	struct smcdu_channel *ch;
	char *json = NULL;
	int fds[4], r;

	guests_configure(&g, GUEST_A, "[limits]\nclients_per_user = 4\n");
	for (int i = 0; i < 4; i++)
		fds[i] = dial(g.socket[GUEST_A]);
	for (int i = 0; i < 50; i++) {
		r = smcdu_connect(g.ctx[GUEST_A], "works@guest-b", &ch);
		assert_int_equal(r, -EDQUOT);
		assert_non_null(strstr(smcdu_last_error(), "too many connections"));
	}
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	while (smcdu_query(g.ctx[GUEST_A], "stats", &json) == -EDQUOT)
		sleep_ms(5);
	free(json);
	guests_configure(&g, GUEST_A, "");
	expect_works();
}

static void test_backlog(void **state)
{
	struct smcdu_channel *c[4], *s;
	struct smcdu_listener *l;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "busy", 2, &l), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "busy@guest-b", &c[i]), 0);
	expect_refused("busy@guest-b", -ECONNREFUSED, "backlog");
	assert_int_equal(smcdu_accept(l, 0, &s), 0);
	smcdu_close(s);
	assert_int_equal(smcdu_connect(g.ctx[GUEST_A], "busy@guest-b", &c[2]), 0);
	expect_refused("busy@guest-b", -ECONNREFUSED, "backlog");
	/* what waits there goes with the listener */
	smcdu_listener_free(l);
	for (int i = 1; i < 3; i++) {
		char byte;

		assert_int_equal(smcdu_recv(c[i], &byte, 1, 0), -ECONNRESET);
	}
	for (int i = 0; i < 3; i++)
		smcdu_close(c[i]);
	expect_works();
}

/* More than a socket holds by itself: whoever was connected is there when the listener looks. */
static void test_long_backlog(void **state)
{
	enum { MANY = 600 };
	static struct smcdu_channel *c[MANY], *s;
	struct smcdu_listener *l;
	int n = 0;
	char byte;

	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "long", MANY, &l), 0);
	/* How many there may be is net.core.wmem_max's to say, too. */
	while (n < MANY && smcdu_connect(g.ctx[GUEST_A], "long@guest-b", &c[n]) == 0)
		n++;
	assert_in_range(n, 100, MANY);
	expect_refused("long@guest-b", -ECONNREFUSED, "backlog");
	for (int i = 0; i < n; i++) {
		assert_int_equal(smcdu_accept(l, 0, &s), 0);
		assert_int_equal(smcdu_send(s, "x", 1, 0), 1);
		assert_int_equal(smcdu_recv(c[i], &byte, 1, 0), 1);
		smcdu_close(s);
		smcdu_close(c[i]);
	}
	smcdu_listener_free(l);
	expect_works();
}

/* Closed and delivered: the peer's application may take longer than linger_s to read it. */
static void test_linger(void **state)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;
	char byte;

	guests_configure(&g, GUEST_A, "[limits]\nlinger_s = 1\n");
	guests_connect(&g, GUEST_A, "linger", &a, &b);
	pattern_send(a, 22, &tx, 1000);
	smcdu_close(a);
	sleep_ms(1500);
	pattern_recv(b, 22, &rx, 1000);
	assert_int_equal(smcdu_recv(b, &byte, 1, 0), 0);
	smcdu_close(b);
	guests_configure(&g, GUEST_A, "");
	expect_works();
}

/* ---- the socket ---- */

static int exit_status(const char *const argv[])
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_socket_owner(void **state)
{
	struct group *gr = getgrgid(getegid());
	char text[256], path[128], conf[GUESTS_PATH_MAX];
	const char *argv[] = { guests_program("SMCD_USERD"), "--config", conf, "--socket", NULL,
		"--function", "vfio-user:/nonexistent", NULL };
	struct stat st;
	FILE *f;

	assert_non_null(gr);
	snprintf(text, sizeof(text), "[daemon]\ngroup = %s\nsocket_mode = 0620\n", gr->gr_name);
	guests_configure(&g, GUEST_A, text);
	assert_int_equal(stat(g.socket[GUEST_A], &st), 0);
	assert_int_equal(st.st_gid, getegid());
	assert_int_equal(st.st_mode & 0777, 0620);
	expect_works();
	guests_configure(&g, GUEST_A, "");

	/* no such group, and a socket that another daemon serves */
	snprintf(path, sizeof(path), "%s/new.sock", g.dir);
	argv[4] = path;
	guests_conf_path(&g, GUEST_A, conf);
	f = fopen(conf, "we");
	assert_non_null(f);
	fputs("[daemon]\ngroup = no-such-group\n", f);
	fclose(f);
	assert_int_equal(exit_status(argv), EXIT_FAILURE);
	assert_int_equal(access(path, F_OK), -1);
	argv[4] = g.socket[GUEST_B];
	assert_int_equal(exit_status(argv), EXIT_FAILURE);
	expect_works();
}

/* ---- systemd ---- */

/* False: nothing comes any more. */
static bool notified(int fd, const char *what)
{
	char buf[256];
	ssize_t n;

	do {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };

		if (poll(&pfd, 1, HANG_MS) != 1)
			return false;
		n = recv(fd, buf, sizeof(buf) - 1, 0);
		if (n <= 0)
			return false;
		buf[n] = '\0';
	} while (!strstr(buf, what));
	return true;
}

static void expect_notification(int fd, const char *what)
{
	if (!notified(fd, what))
		fail_msg("no %s", what);
}

/* As systemd reads: the queue holds ten, and a daemon that finds it full waits. */
static void *read_to_the_end(void *fd)
{
	return notified(*(int *)fd, "STOPPING=1") ? fd : NULL;
}

static void test_notifications(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	pthread_t reader;
	int status;
	void *end;

	if (!getenv("WITH_SYSTEMD"))
		skip();
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/notify", g.dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	guests_kill(&g.daemon[GUEST_A], SIGTERM);
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
	setenv("WATCHDOG_USEC", "200000", 1);
	guests_start_daemon(&g, GUEST_A, NULL);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	expect_notification(fd, "READY=1");
	for (int i = 0; i < 5; i++)
		expect_notification(fd, "WATCHDOG=1");
	/* a fabric that hangs must not cost the daemon its watchdog */
	kill(g.fabric, SIGSTOP);
	for (int i = 0; i < 5; i++)
		expect_notification(fd, "WATCHDOG=1");
	kill(g.fabric, SIGCONT);
	pthread_create(&reader, NULL, read_to_the_end, &fd);
	expect_works();
	status = guests_kill(&g.daemon[GUEST_A], SIGTERM);
	pthread_join(reader, &end);
	assert_non_null(end);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(fd);
	guests_start_daemon(&g, GUEST_A, NULL);
	expect_works();
}

/* Bound is not enough: between that and listening connections are refused. */
static bool listens(const char *path)
{
	char line[512], name[256];
	unsigned int flags;
	bool found = false;
	FILE *f = fopen("/proc/net/unix", "re");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		found |= sscanf(line, "%*s %*s %*s %x %*s %*s %*s %255s", &flags, name) == 2 &&
			!strcmp(name, path) && (flags & 0x10000); /* __SO_ACCEPTCON */
	fclose(f);
	return found;
}

/* The first connection starts the daemon, and the socket outlives it. */
static void test_socket_activation(void **state)
{
	char function[160];
	const char *argv[] = { NULL, "--seqpacket", "-l", g.socket[GUEST_A],
		guests_program("SMCD_USERD"), "--name", "guest-a", "--function", function, "--peer",
		"guest-b=0x1d15000000000002", NULL };
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	int status;

	if (!getenv("SYSTEMD_SOCKET_ACTIVATE"))
		skip();
	argv[0] = guests_program("SYSTEMD_SOCKET_ACTIVATE");
	snprintf(function, sizeof(function), "vfio-user:%s/fabric/ism0.sock", g.dir);
	guests_kill(&g.daemon[GUEST_A], SIGTERM);
	assert_int_equal(access(g.socket[GUEST_A], F_OK), -1);
	g.daemon[GUEST_A] = fork();
	assert_true(g.daemon[GUEST_A] >= 0);
	if (g.daemon[GUEST_A] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	while (!listens(g.socket[GUEST_A])) {
		assert_true(clock_ns() < end);
		sleep_ms(5);
	}
	expect_works();
	status = guests_kill(&g.daemon[GUEST_A], SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(access(g.socket[GUEST_A], F_OK), 0);
	guests_start_daemon(&g, GUEST_A, NULL);
	expect_works();
}

/* ---- smcd-user-cat ---- */

/* smcd-user-cat @how at a guest, between two files. */
static pid_t cat(int guest, const char *how, const char *target, const char *in, const char *out)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open(in, O_RDONLY | O_CLOEXEC), STDIN_FILENO);
		dup2(open(out, O_WRONLY | O_CLOEXEC | O_CREAT, 0600), STDOUT_FILENO);
		execl(guests_program("SMCD_USER_CAT"), "smcd-user-cat", how, "--socket",
			g.socket[guest], target, NULL);
		_exit(127);
	}
	return pid;
}

static int cat_status(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void pair(pid_t pid[2], const char *in, const char *server_in, const char *out)
{
	guests_wait_stat(&g, GUEST_B, "listeners", 0);
	pid[1] = cat(GUEST_B, "--listen", "cat", server_in, out);
	guests_wait_stat(&g, GUEST_B, "listeners", 1);
	pid[0] = cat(GUEST_A, "--timeout=20", "cat@guest-b", in, "/dev/null");
}

static void test_cat_in_order(void **state)
{
	char in[128], out[128];
	struct stat st;
	pid_t pid[2];
	int fd;

	snprintf(in, sizeof(in), "%s/in", g.dir);
	snprintf(out, sizeof(out), "%s/out", g.dir);
	fd = open(in, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 3000000), 0);
	close(fd);
	pair(pid, in, "/dev/null", out);
	assert_int_equal(cat_status(pid[0]), 0);
	assert_int_equal(cat_status(pid[1]), 0);
	assert_int_equal(stat(out, &st), 0);
	assert_int_equal(st.st_size, 3000000);
	/* both ways at once */
	pair(pid, in, in, "/dev/null");
	assert_int_equal(cat_status(pid[0]), 0);
	assert_int_equal(cat_status(pid[1]), 0);
	/* nothing either way */
	pair(pid, "/dev/null", "/dev/null", "/dev/null");
	assert_int_equal(cat_status(pid[0]), 0);
	assert_int_equal(cat_status(pid[1]), 0);
}

static void wait_under_way(void)
{
	guests_wait_stat(&g, GUEST_A, "channels", 1);
	guests_wait_stat(&g, GUEST_B, "channels", 1);
	sleep_ms(100);
}

/* Input that never ends: whatever ends the peer, not everything was delivered. */
static void test_cat_in_disorder(void **state)
{
	pid_t pid[2];

	pair(pid, "/dev/zero", "/dev/null", "/dev/null");
	wait_under_way();
	guests_kill(&g.daemon[GUEST_B], SIGKILL);
	assert_int_equal(cat_status(pid[0]), 1);
	assert_int_equal(cat_status(pid[1]), 1);
	guests_start_daemon(&g, GUEST_B, NULL);
	expect_works();

	pair(pid, "/dev/zero", "/dev/null", "/dev/null");
	wait_under_way();
	kill(pid[1], SIGKILL); /* the peer's application */
	assert_int_equal(cat_status(pid[0]), 1);
	cat_status(pid[1]);

	pair(pid, "/dev/zero", "/dev/null", "/dev/full");
	assert_int_equal(cat_status(pid[1]), 1);
	assert_int_equal(cat_status(pid[0]), 1);
	expect_works();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channels_per_user),
		cmocka_unit_test(test_bytes_per_user),
		cmocka_unit_test(test_listeners_per_user),
		cmocka_unit_test(test_clients_per_user),
		cmocka_unit_test(test_backlog),
		cmocka_unit_test(test_long_backlog),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_socket_owner),
		cmocka_unit_test(test_notifications),
		cmocka_unit_test(test_socket_activation),
		cmocka_unit_test(test_cat_in_order),
		cmocka_unit_test(test_cat_in_disorder),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
