/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "smcd/daemon/account.h"
#include "smcd/daemon/config.h"
#include "smcd/daemon/spin.h"

static char errors[1024];

/* Runs @fn with stderr collected in errors. */
#define CAPTURE(expr)                                             \
	do {                                                      \
		int saved_ = dup(2), tmp_ = fileno(tmpfile_);     \
		ssize_t n_;                                       \
		assert_int_equal(ftruncate(tmp_, 0), 0);          \
		dup2(tmp_, 2);                                    \
		expr;                                             \
		dup2(saved_, 2);                                  \
		close(saved_);                                    \
		n_ = pread(tmp_, errors, sizeof(errors) - 1, 0);  \
		errors[n_ < 0 ? 0 : n_] = '\0';                   \
		lseek(tmp_, 0, SEEK_SET);                         \
	} while (0)

static FILE *tmpfile_;

static int load_text(struct config *c, const char *text)
{
	char path[] = "/tmp/smcd-test-config-XXXXXX";
	int fd = mkstemp(path), ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	assert_int_equal(config_init(c), 0);
	CAPTURE(ret = config_load(c, path));
	unlink(path);
	return ret;
}

static void good_file(void **state)
{
	struct config c;
	uint16_t port;

	assert_int_equal(load_text(&c,
		"[daemon]\nname = guest-a\nsocket=/x/y.sock\nloop=epoll\nspin_us=7\n"
		"socket_mode=0600\ngroup=users\n"
		"[function ism0]\nvfio-user=/run/f/ism0.sock\n"
		"[function ism1]\nvfio-user=/run/f/ism1.sock\n"
		"[peer guest-b]\ngid=0x1d15000000000002\n"
		"[services]\necho=7\n"
		"[smc]\nueid=MY.EID-1\nrcvbuf=100K\n"
		"[limits]\nchannels_per_user=3\nlisteners_per_user=4\nbytes_per_user=5M\n"
		"clients_per_user=6\nlinger_s=8\n"), 0);
	assert_string_equal(c.name, "guest-a");
	assert_string_equal(c.socket, "/x/y.sock");
	assert_int_equal(c.loop, LOOP_EPOLL);
	assert_int_equal(c.spin_us, 7);
	assert_int_equal(c.socket_mode, 0600);
	assert_string_equal(c.group, "users");
	assert_int_equal(c.nr_functions, 2);
	assert_string_equal(c.functions[1].vfio_user, "/run/f/ism1.sock");
	assert_int_equal(config_peer(&c, "guest-b")->gid, 0x1d15000000000002);
	assert_string_equal(config_peer_name(&c, 0x1d15000000000002), "guest-b");
	assert_null(config_peer(&c, "guest-c"));
	assert_int_equal(config_port(&c, "echo", &port), 0);
	assert_int_equal(port, 7);
	assert_string_equal(c.ueid, "MY.EID-1");
	assert_int_equal(c.rcvbuf, 128 * 1024);
	assert_int_equal(c.limit[ACCOUNT_CHANNELS], 3);
	assert_int_equal(c.limit[ACCOUNT_LISTENERS], 4);
	assert_int_equal(c.limit[ACCOUNT_BYTES], 5 << 20);
	assert_int_equal(c.limit[ACCOUNT_CLIENTS], 6);
	assert_int_equal(c.linger_s, 8);
	config_deinit(&c);
}

/* Each mistake is refused, with its line and a word that names it. */
static void bad_files(void **state)
{
	static const struct {
		const char *text;
		const char *where;
		const char *what;
	} bad[] = {
		{ "[daemon]\nname=a\n\ncolour=blue\n", ":4:", "colour" },
		{ "[demon]\nname=a\n", ":2:", "[demon]" },
		{ "[daemon x]\nname=a\n", ":2:", "[daemon x]" },
		{ "name=a\n", ":1:", "before the first section" },
		{ "[daemon]\nname=a b\n", ":2:", "a b" },
		{ "[daemon]\nname=\n", ":2:", "name" },
		{ "[daemon]\nloop=kqueue\n", ":2:", "kqueue" },
		{ "[daemon]\nspin_us=-1\n", ":2:", "-1" },
		{ "[daemon]\nspin_us=1000001\n", ":2:", "1000001" },
		{ "[daemon]\nsocket_mode=0800\n", ":2:", "0800" },
		{ "[daemon]\nthis is nothing\n", ":2:", "key = value" },
		{ "[function ism0]\nvfio=/x\n", ":2:", "vfio" },
		{ "[function ism0]\nvfio-user=/x\n[function ism0]\nvfio-user=/y\n",
			":4:", "twice" },
		{ "[function]\nvfio-user=/x\n", ":2:", "[function]" },
		{ "[peer b]\ngid=1234\n", ":2:", "1234" },
		{ "[peer b]\ngid=0x\n", ":2:", "0x" },
		{ "[peer b]\ngid=0x0\n", ":2:", "0x0" },
		{ "[peer b]\ngid=0x12345678901234567\n", ":2:", "0x12345678901234567" },
		{ "[peer b]\ngid=0x1\n[peer c]\ngid=0x1\n", ":4:", "peer 'b'" },
		{ "[services]\necho=0\n", ":2:", "echo" },
		{ "[services]\necho=65536\n", ":2:", "65536" },
		{ "[services]\n99=7\n", ":2:", "99" },
		{ "[smc]\nueid=lower\n", ":2:", "lower" },
		{ "[smc]\nrcvbuf=16383\n", ":2:", "16383" },
		{ "[smc]\nrcvbuf=1025K\n", ":2:", "1025K" },
		{ "[limits]\nchannels_per_user=many\n", ":2:", "many" },
		{ "[limits]\nlinger_s=86401\n", ":2:", "86401" },
		{ "[limits]\nfoo=1\n", ":2:", "foo" },
	};
	struct config c;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(load_text(&c, bad[i].text), -EINVAL);
		if (!strstr(errors, bad[i].where) || !strstr(errors, bad[i].what))
			fail_msg("case %zu: '%s' lacks '%s' or '%s'", i, errors, bad[i].where,
				bad[i].what);
		config_deinit(&c);
	}
}

static int from_args(struct config *c, const char *const *args)
{
	char *argv[16] = { (char *)(uintptr_t)"smcd-userd" };
	int argc = 1, ret;

	while (args[argc - 1]) {
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
		argc++;
	}
	assert_int_equal(config_init(c), 0);
	CAPTURE(ret = config_from_args(c, argc, argv));
	return ret;
}

static void flags_alone(void **state)
{
	struct config c;

	assert_int_equal(from_args(&c, (const char *const[]){ "--name", "a", "--function",
		"vfio-user:/f0", "--function", "vfio-user:/f1", "--peer", "b=0x2", "--service",
		"echo=7", "--rcvbuf", "1M", "-v", NULL }), 0);
	assert_string_equal(c.name, "a");
	assert_int_equal(c.nr_functions, 2);
	assert_string_equal(c.functions[0].vfio_user, "/f0");
	assert_string_equal(c.functions[1].name, "ism1");
	assert_int_equal(c.peers[0].gid, 2);
	assert_int_equal(c.services[0].port, 7);
	assert_int_equal(c.rcvbuf, 1 << 20);
	assert_true(c.verbose);
	config_deinit(&c);
}

static void bad_flags(void **state)
{
	static const struct {
		const char *args[5];
		const char *what;
	} bad[] = {
		{ { NULL }, "no ISM function" },
		{ { "--function", "/f0" }, "--function: a function is vfio-user:PATH" },
		{ { "--function", "vfio-user:" }, "--function: a path is missing" },
		{ { "--function", "vfio-user:/f", "--peer", "b" }, "--peer: not NAME=VALUE" },
		{ { "--function", "vfio-user:/f", "--peer", "=0x1" }, "--peer:" },
		{ { "--function", "vfio-user:/f", "--spin-us", "x" }, "--spin-us:" },
		{ { "--function", "vfio-user:/f", "surplus" }, "'surplus'" },
		{ { "--frobnicate" }, "frobnicate" },
		{ { "--config", "/nonexistent/x.conf" }, "/nonexistent/x.conf: No such file" },
	};
	struct config c;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_true(from_args(&c, bad[i].args) < 0);
		if (!strstr(errors, bad[i].what))
			fail_msg("case %zu: '%s' lacks '%s'", i, errors, bad[i].what);
		config_deinit(&c);
	}
}

static void service_ports(void **state)
{
	struct config c;
	uint16_t port, again;

	assert_int_equal(config_init(&c), 0);
	assert_int_equal(config_port(&c, "1", &port), 0);
	assert_int_equal(port, 1);
	assert_int_equal(config_port(&c, "65535", &port), 0);
	assert_int_equal(port, 65535);
	assert_int_equal(config_port(&c, "0", &port), -EINVAL);
	assert_int_equal(config_port(&c, "65536", &port), -EINVAL);
	assert_int_equal(config_port(&c, "99999999999999999999", &port), -EINVAL);
	assert_int_equal(config_port(&c, "", &port), -EINVAL);
	assert_int_equal(config_port(&c, "a/b", &port), -EINVAL);
	assert_int_equal(config_port(&c, "echo", &port), 0);
	assert_true(port >= 49152);
	assert_int_equal(config_port(&c, "echo", &again), 0);
	assert_int_equal(port, again);
	config_deinit(&c);
}

static void account_limits(void **state)
{
	struct accounts as = { .limit = { 1, 2, 3, 100 } };

	assert_int_equal(account_charge(&as, 7, ACCOUNT_BYTES, 100), 0);
	CAPTURE(assert_int_equal(account_charge(&as, 7, ACCOUNT_BYTES, 1), -EDQUOT));
	assert_non_null(strstr(errors, "user 7"));
	assert_int_equal(account_charge(&as, 8, ACCOUNT_BYTES, 100), 0); /* another user */
	account_release(&as, 7, ACCOUNT_BYTES, 1);
	assert_int_equal(account_charge(&as, 7, ACCOUNT_BYTES, 2), -EDQUOT);
	assert_int_equal(account_charge(&as, 7, ACCOUNT_BYTES, 1), 0);
	assert_int_equal(account_used(&as, 7, ACCOUNT_BYTES), 100);
	assert_int_equal(account_charge(&as, 7, ACCOUNT_BYTES, UINT64_MAX), -EDQUOT);
	assert_int_equal(account_charge(&as, 7, ACCOUNT_CHANNELS, 2), 0);
	assert_int_equal(account_charge(&as, 7, ACCOUNT_CHANNELS, 1), -EDQUOT);
	account_release(&as, 7, ACCOUNT_CHANNELS, 2);
	account_release(&as, 7, ACCOUNT_BYTES, 100);
	account_release(&as, 8, ACCOUNT_BYTES, 100);
	assert_true(accounts_empty(&as));
	CAPTURE(assert_int_equal(account_charge(&as, 9, ACCOUNT_CLIENTS, 2), -EDQUOT));
	assert_true(accounts_empty(&as)); /* a refusal leaves nothing behind */
}

static void spin_window(void **state)
{
	struct spin s = { .max_ns = 50000 };
	int i;

	for (i = 0; i < 10; i++)
		spin_learn(&s, 20000);
	assert_int_equal(s.cur_ns, 50000);
	for (i = 0; i < 10; i++)
		spin_learn(&s, 10000000);
	assert_int_equal(s.cur_ns, 0);
	s = (struct spin){ .max_ns = 0 };
	for (i = 0; i < 10; i++)
		spin_learn(&s, 0);
	assert_int_equal(s.cur_ns, 0); /* one processor: never */
}

static int setup(void **state)
{
	tmpfile_ = tmpfile();
	return tmpfile_ ? 0 : -1;
}

static int teardown(void **state)
{
	return fclose(tmpfile_);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_file),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(flags_alone),
		cmocka_unit_test(bad_flags),
		cmocka_unit_test(service_ports),
		cmocka_unit_test(account_limits),
		cmocka_unit_test(spin_window),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
