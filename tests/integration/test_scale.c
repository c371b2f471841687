/* SPDX-License-Identifier: MIT */
#include "tests/integration/guests.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

/*
 * 1000 channels in each daemon, the clients in 64 applications, the servers in this one. Open and
 * quiet they wake up nobody and cost a daemon little memory; closed, all of it comes back. That is
 * counted, not timed.
 */
enum {
	APPS = 64,
	CHANNELS = 1000,
	PER_CHANNEL_KIB = 16,
	SLACK_KIB = 256,
};

static struct guests g;
static char config[64];
static bool judge_memory = true; /* a sanitizer keeps what is freed */

static void raise_descriptors(void)
{
	struct rlimit rl;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_cur = rl.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &rl), 0);
}

static int setup(void **state)
{
	const char *extra[] = { "--config", config, NULL };
	FILE *f;

	raise_descriptors();
	snprintf(config, sizeof(config), "/tmp/smcdu-scale.%d.conf", (int)getpid());
	f = fopen(config, "we");
	assert_non_null(f);
	fputs("[smc]\nrcvbuf = 16K\n[limits]\nclients_per_user = 4096\nchannels_per_user = 2048\n"
	      "bytes_per_user = 4G\n",
		f);
	assert_int_equal(fclose(f), 0);
	guests_start(&g, extra);
	return 0;
}

static int teardown(void **state)
{
	guests_stop(&g);
	unlink(config);
	return 0;
}

/* ---- the applications ------------------------------------------------------------------------ */

struct app {
	pid_t pid;
	int ready; /* it writes a byte when its channels are there */
	int go;	   /* end of file: it closes them */
};

static unsigned int share(unsigned int nr)
{
	return CHANNELS / APPS + (nr < CHANNELS % APPS);
}

static int connect_one(struct smcdu_ctx *ctx, uint8_t nr, struct smcdu_channel **ch)
{
	uint8_t back = 0, want = (uint8_t)~nr;
	int r = smcdu_connect(ctx, "scale@guest-b", ch);

	if (r)
		return r;
	if (smcdu_send(*ch, &nr, 1, 0) != 1 || smcdu_recv(*ch, &back, 1, 0) != 1)
		return -EIO;
	return back == want ? 0 : -EBADMSG;
}

/* In a process of its own; its status says what went wrong. */
static int app_main(unsigned int nr, int ready, int go)
{
	struct smcdu_channel *ch[CHANNELS / APPS + 1];
	struct smcdu_settings s;
	struct smcdu_ctx *ctx;
	unsigned int n = share(nr);
	char byte = 1;

	smcdu_default_settings(&s);
	s.socket_path = g.socket[GUEST_A];
	s.path = guests_attached() ? SMCDU_PATH_ATTACHED : SMCDU_PATH_MEDIATED;
	s.connect_timeout_ms = HANG_MS;
	if (smcdu_open(&s, &ctx))
		return 2;
	for (unsigned int i = 0; i < n; i++) {
		int r = connect_one(ctx, (uint8_t)(nr * 16 + i), &ch[i]);

		if (r) {
			fprintf(stderr, "application %u, channel %u: %s: %s\n", nr, i,
				strerror(-r), smcdu_last_error());
			return 3;
		}
	}
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
		return 4;
	for (unsigned int i = 0; i < n; i++)
		smcdu_close(ch[i]);
	smcdu_close_ctx(ctx);
	return 0;
}

static void app_start(struct app *apps, unsigned int nr)
{
	struct app *a = &apps[nr];
	int ready[2], go[2];

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	a->pid = fork();
	assert_true(a->pid >= 0);
	if (a->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		/* Those of the ones before us, too: they are to see the end of theirs. */
		for (unsigned int i = 0; i < nr; i++)
			close(apps[i].go);
		close(go[1]);
		_exit(app_main(nr, ready[1], go[0]));
	}
	close(ready[1]);
	close(go[0]);
	a->ready = ready[0];
	a->go = go[1];
}

static void app_end(struct app *a)
{
	int status = 0;

	close(a->go);
	close(a->ready);
	assert_int_equal(waitpid(a->pid, &status, 0), a->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- what is counted ------------------------------------------------------------------------- */

struct usage {
	unsigned int fds, maps;
	long anon;
};

static pid_t process(int i)
{
	return i == 0 ? g.fabric : g.daemon[i - 1];
}

static const char *const name[3] = { "fabric", "daemon a", "daemon b" };

static void usage_now(struct usage u[3])
{
	for (int i = 0; i < 3; i++)
		u[i] = (struct usage){ .fds = proc_fds(process(i)), .maps = proc_maps(process(i)),
			.anon = proc_anon_kib(process(i)) };
}

/* What each user holds, as the daemon says it. */
static char *charges(int guest)
{
	struct json_object *root, *users;
	char *text = NULL;

	assert_int_equal(smcdu_query(g.ctx[guest], "stats", &text), 0);
	root = json_tokener_parse(text);
	free(text);
	assert_true(json_object_object_get_ex(root, "users", &users));
	text = strdup(json_object_to_json_string(users));
	assert_non_null(text);
	json_object_put(root);
	return text;
}

static uint64_t wakeups(void)
{
	return proc_wakeups(g.fabric) + proc_wakeups(g.daemon[0]) + proc_wakeups(g.daemon[1]);
}

/* As many as with few channels: each daemon's sign of life, every 10 s, and what looks at it. */
static void expect_quiet(void)
{
	enum { ALLOWED = 2 * 4 + 3 };
	uint64_t before, woken = 0;

	/* On a busy machine it takes a while until everybody has seen that there is nothing. */
	for (int i = 0; i < 10; i++) {
		sleep_ms(500);
		before = wakeups();
		sleep_ms(2000);
		woken = wakeups() - before;
		if (woken <= ALLOWED)
			break;
	}
	print_message("%d channels quiet: %llu wake-ups in 2 s\n", CHANNELS,
		(unsigned long long)woken);
	assert_in_range(woken, 0, ALLOWED);
}

static void expect_small(const struct usage before[3])
{
	struct usage during[3];

	usage_now(during);
	for (int i = 0; i < 3; i++) {
		long grown = during[i].anon - before[i].anon;

		print_message("%s: %u descriptors, %.2f KiB of memory a channel\n", name[i],
			during[i].fds, (double)grown / CHANNELS);
		if (judge_memory)
			assert_true(grown <= (long)CHANNELS * PER_CHANNEL_KIB);
	}
}

static bool returned(const struct usage before[3], const struct usage after[3])
{
	for (int i = 0; i < 3; i++) {
		/* A sanitizer's allocator maps some itself; a leak would be of hundreds. */
		if (after[i].fds > before[i].fds ||
			after[i].maps > before[i].maps + (judge_memory ? 0 : 64))
			return false;
		if (judge_memory && after[i].anon > before[i].anon + SLACK_KIB)
			return false;
	}
	return true;
}

static void settle(void)
{
	for (int i = 0; i < 2; i++) {
		guests_wait_stat(&g, i, "channels", 0);
		guests_wait_stat(&g, i, "dmbs", 1); /* the control link's */
	}
	sleep_ms(200); /* quarantines end */
}

static void expect_returned(const struct usage before[3])
{
	struct usage after[3];

	settle();
	for (int i = 0; i < HANG_MS / 50; i++) {
		usage_now(after);
		if (returned(before, after))
			break;
		sleep_ms(50);
	}
	for (int i = 0; i < 3; i++)
		print_message("%s: descriptors %+d, maps %+d, memory %+ld KiB\n", name[i],
			(int)after[i].fds - (int)before[i].fds,
			(int)after[i].maps - (int)before[i].maps, after[i].anon - before[i].anon);
	assert_true(returned(before, after));
}

/* ---- the test -------------------------------------------------------------------------------- */

static void accept_all(struct smcdu_listener *l, struct smcdu_channel *ch[CHANNELS])
{
	for (int i = 0; i < CHANNELS; i++) {
		uint8_t byte;

		assert_int_equal(smcdu_accept(l, 0, &ch[i]), 0);
		assert_int_equal(smcdu_recv(ch[i], &byte, 1, 0), 1);
		byte = (uint8_t)~byte;
		assert_int_equal(smcdu_send(ch[i], &byte, 1, 0), 1);
	}
}

/* What the first channel costs once and for all. */
static void warm_up(void)
{
	struct smcdu_channel *a, *b;
	uint64_t tx = 0, rx = 0;

	guests_connect(&g, GUEST_A, "warm", &a, &b);
	pattern_send(a, 21, &tx, 10000);
	pattern_recv(b, 21, &rx, 10000);
	smcdu_close(a);
	smcdu_close(b);
}

static void test_scale(void **state)
{
	static struct smcdu_channel *ch[CHANNELS];
	static struct app app[APPS];
	struct usage before[3];
	struct smcdu_listener *l;
	char *charged[2], *now;
	uint8_t byte;

	warm_up();
	assert_int_equal(smcdu_listen(g.ctx[GUEST_B], "scale", APPS, &l), 0);
	settle();
	for (int i = 0; i < 2; i++)
		charged[i] = charges(i);
	sleep_ms(200); /* what asked has gone */
	usage_now(before);
	for (unsigned int i = 0; i < APPS; i++)
		app_start(app, i);
	accept_all(l, ch);
	for (unsigned int i = 0; i < APPS; i++)
		assert_int_equal(read(app[i].ready, &byte, 1), 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(guests_stat(&g, i, "channels"), CHANNELS);
	expect_quiet();
	expect_small(before);
	for (unsigned int i = 0; i < APPS; i++)
		app_end(&app[i]);
	for (int i = 0; i < CHANNELS; i++) {
		assert_int_equal(smcdu_recv(ch[i], &byte, 1, 0), 0);
		smcdu_close(ch[i]);
	}
	expect_returned(before);
	for (int i = 0; i < 2; i++) {
		now = charges(i);
		assert_string_equal(now, charged[i]);
		free(now);
		free(charged[i]);
	}
	smcdu_listener_free(l);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_scale) };

	judge_memory = argc < 2 || strcmp(argv[1], "sanitized") != 0;
	return cmocka_run_group_tests(tests, setup, teardown);
}
