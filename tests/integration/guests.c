/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "vfio/base/fd.h"

const char *guests_program(const char *variable)
{
	const char *path = getenv(variable);

	if (!path) {
		print_error("%s is not set: run this through meson test\n", variable);
		exit(1);
	}
	return path;
}

static void await_ready(int fd, const char *name)
{
	char buf[512];
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, HANG_MS) <= 0)
			fail_msg("%s did not become ready", name);
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			fail_msg("%s ended before it was ready", name);
		len += (size_t)n;
		buf[len] = '\0';
		if (strstr(buf, ": ready: ") && strchr(buf, '\n'))
			return;
	}
}

pid_t guests_spawn(const char *name, const char *const argv[])
{
	int out[2];
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], STDOUT_FILENO);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	await_ready(out[0], name);
	close(out[0]);
	return pid;
}

void guests_start_fabric(struct guests *g)
{
	char dir[96];
	const char *argv[] = { guests_program("ISM_FABRICD"), "--functions", "3", "--dir", dir,
		NULL };

	snprintf(dir, sizeof(dir), "%s/fabric", g->dir);
	g->fabric = guests_spawn("ism-fabricd", argv);
}

bool guests_attached(void)
{
	const char *path = getenv("SMCDU_TEST_PATH");

	return path && strcmp(path, "attached") == 0;
}

void guests_start_daemon(struct guests *g, int guest, const char *const *extra)
{
	char function[160], peer[64];
	const char *argv[32] = { guests_program("SMCD_USERD"), "--name",
		guest == GUEST_A ? "guest-a" : "guest-b", "--socket", g->socket[guest],
		"--peer", peer };
	size_t n = 7;

	if (!guests_attached()) {
		argv[n++] = "--path";
		argv[n++] = "mediated";
	}
	if (!g->own_functions) {
		argv[n++] = "--function";
		argv[n++] = function;
	}

	snprintf(function, sizeof(function), "vfio-user:%s/fabric/ism%d.sock", g->dir, guest);
	snprintf(peer, sizeof(peer), "guest-%c=0x1d1500000000000%d", guest == GUEST_A ? 'b' : 'a',
		guest == GUEST_A ? 2 : 1);
	for (; extra && *extra && n < 31; extra++)
		argv[n++] = *extra;
	g->daemon[guest] = guests_spawn("smcd-userd", argv);
}

void guests_conf_path(const struct guests *g, int guest, char path[GUESTS_PATH_MAX])
{
	snprintf(path, GUESTS_PATH_MAX, "%s/%c.conf", g->dir, 'a' + guest);
}

void guests_configure(struct guests *g, int guest, const char *text)
{
	char conf[GUESTS_PATH_MAX];
	const char *const extra[] = { "--config", conf, NULL };
	int status;
	FILE *f;

	guests_conf_path(g, guest, conf);
	f = fopen(conf, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	status = guests_kill(&g->daemon[guest], SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	guests_start_daemon(g, guest, extra);
}

void guests_start(struct guests *g, const char *const *extra)
{
	struct smcdu_settings s;

	memset(g, 0, sizeof(*g));
	g->fabric = g->daemon[0] = g->daemon[1] = -1;
	strcpy(g->dir, "/tmp/smcdu-test.XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	guests_start_fabric(g);
	for (int i = 0; i < 2; i++) {
		snprintf(g->socket[i], sizeof(g->socket[i]), "%s/%c.sock", g->dir, 'a' + i);
		guests_start_daemon(g, i, extra);
		smcdu_default_settings(&s);
		s.socket_path = g->socket[i];
		s.path = guests_attached() ? SMCDU_PATH_ATTACHED : SMCDU_PATH_MEDIATED;
		assert_int_equal(smcdu_open(&s, &g->ctx[i]), 0);
	}
}

int guests_kill(pid_t *pid, int sig)
{
	int status = 0;

	if (*pid < 0)
		return 0;
	kill(*pid, sig);
	while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
		;
	*pid = -1;
	return status;
}

void guests_remove_tree(const char *path)
{
	char child[512];
	struct dirent *e;
	DIR *d = opendir(path);

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
		if (unlink(child) < 0)
			guests_remove_tree(child);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

void guests_stop(struct guests *g)
{
	int status;

	for (int i = 0; i < 2; i++) {
		smcdu_close_ctx(g->ctx[i]);
		status = guests_kill(&g->daemon[i], SIGTERM);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	status = guests_kill(&g->fabric, SIGTERM);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	guests_remove_tree(g->dir);
}

void guests_connect(struct guests *g, int from, const char *service, struct smcdu_channel **client,
	struct smcdu_channel **server)
{
	struct smcdu_listener *l = NULL;
	char target[64];
	int r;

	snprintf(target, sizeof(target), "%s@guest-%c", service, from == GUEST_A ? 'b' : 'a');
	assert_int_equal(smcdu_listen(g->ctx[!from], service, 1, &l), 0);
	r = smcdu_connect(g->ctx[from], target, client);
	if (r)
		fail_msg("connect to %s: %s: %s", target, strerror(-r), smcdu_last_error());
	assert_int_equal(smcdu_accept(l, 0, server), 0);
	smcdu_listener_free(l);
}

static unsigned int count_entries(const char *path)
{
	unsigned int n = 0;
	DIR *d = opendir(path);

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

unsigned int proc_fds(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	return count_entries(path);
}

unsigned int proc_maps(pid_t pid)
{
	char path[64];
	unsigned int n = 0;
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

/* A number in /proc/PID/status; -1 when it is not there. */
static long status_field(pid_t pid, const char *name)
{
	char path[64], line[256];
	size_t len = strlen(name);
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ':')
			value = strtol(line + len + 1, NULL, 10);
	fclose(f);
	return value;
}

long proc_rss_kib(pid_t pid)
{
	return status_field(pid, "VmRSS");
}

long proc_anon_kib(pid_t pid)
{
	return status_field(pid, "RssAnon");
}

uint64_t proc_wakeups(pid_t pid)
{
	return (uint64_t)status_field(pid, "voluntary_ctxt_switches");
}

const char *json_text(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "";
}

int json_number(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int(v) : -1;
}

int64_t guests_stat(struct guests *g, int guest, const char *name)
{
	struct json_object *root, *v;
	char *text = NULL;
	int64_t value = -1;

	assert_int_equal(smcdu_query(g->ctx[guest], "stats", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_non_null(root);
	if (json_object_object_get_ex(root, name, &v))
		value = json_object_get_int64(v);
	json_object_put(root);
	return value;
}

void guests_wait_stat(struct guests *g, int guest, const char *name, int64_t value)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	int64_t now;

	while ((now = guests_stat(g, guest, name)) != value) {
		if (clock_ns() > end) {
			char *text = NULL;

			smcdu_query(g->ctx[guest], "channel", &text);
			fail_msg("guest %d: %s stays at %lld, expected %lld: %s", guest, name,
				(long long)now, (long long)value, text ? text : "no report");
		}
		sleep_ms(5);
	}
}

void guests_wait_fds(pid_t pid, unsigned int n)
{
	uint64_t end = clock_ns() + UINT64_C(1000000) * HANG_MS;
	unsigned int now;

	while ((now = proc_fds(pid)) > n) {
		if (clock_ns() > end)
			fail_msg("process %d stays at %u descriptors, expected %u", (int)pid, now,
				n);
		sleep_ms(5);
	}
}

uint8_t pattern_byte(uint32_t stream, uint64_t pos)
{
	/* Neither a short period nor the same bytes for two streams. */
	return (uint8_t)(((pos * UINT64_C(0x9E3779B97F4A7C15)) >> 29) ^ (pos >> 3) ^
			 (stream * 37u));
}

void pattern_fill(uint8_t *buf, size_t len, uint32_t stream, uint64_t pos)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = pattern_byte(stream, pos + i);
}

size_t pattern_check(const uint8_t *buf, size_t len, uint32_t stream, uint64_t pos)
{
	size_t i;

	for (i = 0; i < len && buf[i] == pattern_byte(stream, pos + i); i++)
		;
	return i;
}

void pattern_send(struct smcdu_channel *ch, uint32_t stream, uint64_t *pos, size_t len)
{
	uint8_t buf[65536];

	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);
		ssize_t r;

		pattern_fill(buf, n, stream, *pos);
		r = smcdu_send(ch, buf, n, 0);
		if (r <= 0)
			fail_msg("send at %llu: %s", (unsigned long long)*pos, strerror((int)-r));
		*pos += (uint64_t)r;
		len -= (size_t)r;
	}
}

void pattern_recv(struct smcdu_channel *ch, uint32_t stream, uint64_t *pos, size_t len)
{
	uint8_t buf[65536];

	while (len) {
		ssize_t r = smcdu_recv(ch, buf, len < sizeof(buf) ? len : sizeof(buf), 0);

		if (r <= 0)
			fail_msg("recv at %llu: %s", (unsigned long long)*pos, strerror((int)-r));
		if (pattern_check(buf, (size_t)r, stream, *pos) != (size_t)r)
			fail_msg("stream %u differs after %llu", stream, (unsigned long long)*pos);
		*pos += (uint64_t)r;
		len -= (size_t)r;
	}
}

void guests_expect_works(struct guests *g)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;

	guests_connect(g, GUEST_A, "works", &a, &b);
	for (int i = 0; i < 3; i++) { /* each fits into the smallest ring */
		pattern_send(a, 21, &tx, 10000);
		pattern_recv(b, 21, &rx, 10000);
	}
	smcdu_close(a);
	smcdu_close(b);
}

void sleep_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}
