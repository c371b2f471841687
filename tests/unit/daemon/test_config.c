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
#include <sys/stat.h>
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
		"[function ism1]\nvfio-user=/run/f/ism1.sock\npnetid=net1\nvlan=4094\n"
		"[function ism2]\nvfio = 0001:00:00.0,cdev\n"
		"[peer guest-b]\ngid=0x1d15000000000002\npnetid=NET1\nvlan=1 ; a comment\n"
		"[services]\necho=7\n"
		"  [smc] ; indented\n  ueid=MY.EID-1\n\tueid = OTHER\n"
		"seid=IBM-SYSZ-ISMSEID000000001AB23931\nrcvbuf=100K\n"
		"[limits]\nchannels_per_user=3\nlisteners_per_user=4\nbytes_per_user=5M\n"
		"clients_per_user=6\nlinger_s=8\n"), 0);
	assert_string_equal(c.name, "guest-a");
	assert_string_equal(c.socket, "/x/y.sock");
	assert_int_equal(c.loop, LOOP_EPOLL);
	assert_int_equal(c.spin_us, 7);
	assert_int_equal(c.socket_mode, 0600);
	assert_string_equal(c.group, "users");
	assert_int_equal(c.nr_functions, 3);
	assert_string_equal(c.functions[1].vfio_user, "/run/f/ism1.sock");
	assert_string_equal(config_place(&c.functions[1]), "/run/f/ism1.sock");
	assert_string_equal(config_place(&c.functions[2]), "0001:00:00.0");
	assert_int_equal(c.functions[2].vfio.way, VFIO_WAY_CDEV);
	assert_int_equal(config_peer(&c, "guest-b")->gid, 0x1d15000000000002);
	assert_string_equal(config_peer_name(&c, 0x1d15000000000002), "guest-b");
	assert_null(config_peer(&c, "guest-c"));
	assert_int_equal(config_port(&c, "echo", &port), 0);
	assert_int_equal(port, 7);
	assert_int_equal(c.ueids.nr, 2);
	assert_memory_equal(c.ueids.eid[0], "MY.EID-1                        ", CLC_EID_LEN);
	assert_memory_equal(c.ueids.eid[1], "OTHER                           ", CLC_EID_LEN);
	assert_true(c.seid.valid);
	assert_memory_equal(c.seid.eid, "IBM-SYSZ-ISMSEID000000001AB23931", CLC_EID_LEN);
	assert_string_equal(c.functions[1].pnetid.id, "NET1");
	assert_int_equal(c.functions[1].vlan.id, 4094);
	assert_string_equal(c.peers[0].pnetid.id, "NET1");
	assert_int_equal(c.peers[0].vlan.id, 1);
	CAPTURE(assert_int_equal(config_check(&c), 0));
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
		{ "[function f]\nvfio-user=;/x\n", ":2:", "comment" },
		{ "[daemon]\nname=a\n\ncolour=blue\n", ":4:", "colour" },
		{ "[demon]\nname=a\n", ":1:", "[demon]" },
		{ "[daemon x]\nname=a\n", ":1:", "[daemon x]" },
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
		{ "[function]\nvfio-user=/x\n", ":1:", "[function]" },
		{ "[peer b]\ngid=1234\n", ":2:", "1234" },
		{ "[peer b]\ngid=0x\n", ":2:", "0x" },
		{ "[peer b]\ngid=0x0\n", ":2:", "0x0" },
		{ "[peer b]\ngid=0x12345678901234567\n", ":2:", "0x12345678901234567" },
		{ "[peer b]\ngid=0x1\n[peer b]\ngid=0x2\n", ":4:", "twice" },
		{ "[peer]\n", ":1:", "[peer]" },
		{ "[peer a b]\n", ":1:", "a b" },
		{ "[peer b]\nvlan=0\n", ":2:", "1..4094" },
		{ "[peer b]\nvlan=4095\n", ":2:", "4095" },
		{ "[peer b]\nvlan=eth0.100\n", ":2:", "interface:NAME" },
		{ "[peer b]\nvlan=interface:\n", ":2:", "interface" },
		{ "[peer b]\nvlan=interface:sixteen-letters-\n", ":2:", "1..15" },
		{ "[peer b]\nvlan=interface:a/b\n", ":2:", "a/b" },
		{ "[peer b]\npnetid=\n", ":2:", "pnetid" },
		{ "[peer b]\npnetid=NET_1\n", ":2:", "NET_1" },
		{ "[peer b]\npnetid=SEVENTEENLETTERSX\n", ":2:", "1..16" },
		{ "[services\n", ":1:", "key = value" },
		{ "[services] x\n", ":1:", "key = value" },
		{ "[]\nname=a\n", ":1:", "no name" },
		{ "[colours]\n", ":1:", "[colours]" },
		{ "[services]\necho=7\necho=8\n", ":3:", "echo is given twice" },
		{ "[services]\na b=7\n", ":2:", "a b" },
		{ "[daemon]\nname=a\nname=b\n", ":3:", "name is given twice" },
		{ "[daemon]\nname=a\n  b\n", ":3:", "key = value" },
		{ "[smc]\nueid=A\nueid=A\n", ":3:", "given twice" },
		{ "[smc]\nueid=A..B\n", ":2:", "A..B" },
		{ "[smc]\nueid=A\nueid=none\n", ":3:", "none" },
		{ "[smc]\nueid=ABCDEFGHIJKLMNOPQRSTUVWXYZ1234567\n", ":2:", "1..32" },
		{ "[smc]\nueid=1\nueid=2\nueid=3\nueid=4\nueid=5\nueid=6\nueid=7\nueid=8\n"
		  "ueid=9\n", ":10:", "at most 8" },
		{ "[smc]\nseid=on\n", ":2:", "seid" },
		{ "[smc]\nseid=IBM-SYSZ-ISMSEID000000001AB2393\n", ":2:", "seid" },
		{ "[smc]\nseid=IBM-SYSZ-ISMSEID000000001ab23931\n", ":2:", "seid" },
		{ "[services]\necho=0\n", ":2:", "1..65535, not '0'" },
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

/* What is too long for inih's buffers is refused, never cut; a NUL would end the line early. */
static void unreadable_lines(void **state)
{
	char name[80], text[600];
	struct config c;

	memset(name, 'x', sizeof(name));
	name[63] = '\0';
	snprintf(text, sizeof(text), "[peer %s]\ngid=0x1\n", name);
	assert_int_equal(load_text(&c, text), 0);
	assert_non_null(config_peer(&c, name));
	config_deinit(&c);
	name[63] = 'x';
	name[64] = '\0';
	snprintf(text, sizeof(text), "[peer %s]\ngid=0x1\n", name);
	assert_int_equal(load_text(&c, text), -EINVAL);
	assert_non_null(strstr(errors, ":1: a peer's name must be 1..63"));
	config_deinit(&c);
	memset(text, 'y', sizeof(text));
	memcpy(text, "[daemon]\ngroup=", 15);
	text[15 + 255] = '\n';
	text[15 + 256] = '\0';
	assert_int_equal(load_text(&c, text), -EINVAL);
	assert_non_null(strstr(errors, ":2: the line is longer than"));
	config_deinit(&c);
}

/* What only the whole can tell. */
static void contradictions(void **state)
{
	static const struct {
		const char *text;
		const char *what;
	} bad[] = {
		{ "", "no ISM function" },
		{ "[function a]\npnetid=X\n", ":1: function 'a' has no vfio-user = PATH and no vfio" },
		{ "[function a]\nvfio-user=/x\nvfio=0001:00:00.0\n",
			":3: function 'a' has both vfio-user and vfio" },
		{ "[function a]\nvfio=0001:00:00.0\n[function b]\nvfio=0001:00:00.0,cdev\n",
			":4: function 'b' has the PCI address of function 'a'" },
		{ "[function a]\nvfio-user=/x\n[function b]\nvfio-user=/x\n",
			":4: function 'b' has the socket of function 'a'" },
		{ "[function a]\nvfio-user=/x\n[peer b]\n", ":3: peer 'b' has no gid" },
		{ "[function a]\nvfio-user=/x\n[peer b]\ngid=0x1\n[peer c]\ngid=0x1\n",
			":6: peer 'c' has the GID of peer 'b'" },
		{ "[function a]\nvfio-user=/x\n[services]\necho=7\nohce=7\n",
			":5: service 'ohce' has the port of service 'echo'" },
		{ "[function a]\nvfio-user=/x\nvlan=interface:eth0.100\n",
			":3: vlan of interface eth0.100" },
		{ "[function a]\nvfio-user=/x\n[smc]\nseid=kernel\n", ":4: seid of the kernel" },
		{ "[function a]\nvfio-user=/x\n[smc]\nueid=none\n", ":4: without a UEID" },
	};
	struct config c;
	size_t i;
	int ret;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(load_text(&c, bad[i].text), 0);
		CAPTURE(ret = config_check(&c));
		assert_int_equal(ret, -EINVAL);
		if (!strstr(errors, bad[i].what))
			fail_msg("case %zu: '%s' lacks '%s'", i, errors, bad[i].what);
		config_deinit(&c);
	}
}

/* ---- layers ---------------------------------------------------------------------------------- */

static char dir[] = "/tmp/smcd-test-config-XXXXXX";

static void put_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static int make_dir(void **state)
{
	char path[200];

	strcpy(dir, "/tmp/smcd-test-config-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/x.conf.d", dir);
	return mkdir(path, 0700);
}

static int remove_dir(void **state)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "rm -r '%s'", dir);
	return system(cmd);
}

static int load_dir(struct config *c)
{
	char path[200];
	int ret;

	snprintf(path, sizeof(path), "%s/x.conf", dir);
	assert_int_equal(config_init(c), 0);
	CAPTURE(ret = config_load(c, path));
	return ret;
}

static void drop_ins_override(void **state)
{
	struct config c;

	put_file("x.conf", "[daemon]\nname=a\nspin_us=1\n[smc]\nueid=A\nueid=B\n"
		"[peer b]\ngid=0x1\nvlan=interface:eth0.7\n[services]\necho=7\n");
	put_file("x.conf.d/20-b.conf", "[daemon]\nname=c\n[peer b]\nvlan=7\n");
	put_file("x.conf.d/10-a.conf", "[daemon]\nname=b\n[smc]\nueid=C\nueid=D\n"
		"[services]\necho=8\nohce=9\n");
	put_file("x.conf.d/README", "this is no setting\n");
	put_file("x.conf.d/.hidden.conf", "nor this\n");
	assert_int_equal(load_dir(&c), 0);
	assert_string_equal(c.name, "c");
	assert_int_equal(c.spin_us, 1);
	assert_int_equal(c.ueids.nr, 2);
	assert_memory_equal(c.ueids.eid[0], "C ", 2);
	assert_int_equal(c.nr_services, 2);
	assert_int_equal(c.services[0].port, 8);
	assert_int_equal(c.peers[0].gid, 1);
	assert_int_equal(c.peers[0].vlan.id, 7);
	assert_string_equal(c.peers[0].vlan.pending, "");
	config_deinit(&c);
}

static void drop_ins_are_checked(void **state)
{
	struct config c;

	put_file("x.conf", "[daemon]\nname=a\n");
	put_file("x.conf.d/10-a.conf", "[daemon]\n\nname=b\nname=c\n");
	assert_int_equal(load_dir(&c), -EINVAL);
	assert_non_null(strstr(errors, "x.conf.d/10-a.conf:4: name is given twice"));
	assert_non_null(strstr(errors, "x.conf.d/10-a.conf:3"));
	config_deinit(&c);
}

/* Printed, loaded and printed again: the same, but for the origins. */
static void printing_round_trip(void **state)
{
	char *text[2] = { NULL, NULL }, *semicolon;
	struct config c;
	size_t size;
	FILE *out;
	int i;

	put_file("x.conf", "[daemon]\nname=a\n[function f]\nvfio-user=/f\nvlan=interface:e.1\n"
		"pnetid=interface:e\n[peer b]\ngid=0x1\npnetid=X\n[smc]\nueid=A\nueid=B\n"
		"[services]\necho=7\n");
	for (i = 0; i < 2; i++) {
		assert_int_equal(load_dir(&c), 0);
		out = open_memstream(&text[i], &size);
		config_print(&c, out);
		fclose(out);
		config_deinit(&c);
		put_file("x.conf", text[i]);
	}
	assert_non_null(strstr(text[0], "name = a ; "));
	assert_non_null(strstr(text[0], "x.conf:2\n"));
	assert_non_null(strstr(text[0], "spin_us = auto ; default\n"));
	assert_non_null(strstr(text[0], "vlan = interface:e.1 ;"));
	for (i = 0; i < 2; i++) {
		for (semicolon = strchr(text[i], ';'); semicolon; semicolon = strchr(semicolon, ';'))
			while (*semicolon != '\n')
				memmove(semicolon, semicolon + 1, strlen(semicolon));
	}
	assert_string_equal(text[0], text[1]);
	free(text[0]);
	free(text[1]);
}

static void pnetids_and_vlans(void **state)
{
	struct config_function plain = { .name = "p" }, net1 = { .name = "n", .pnetid.id = "NET1" };
	struct config_peer none = { .gid = 1 }, one = { .gid = 2, .pnetid.id = "NET1" },
		two = { .gid = 3, .pnetid.id = "NET2", .vlan.id = 9 };

	assert_int_equal(config_suits(&plain, NULL), 1);
	assert_int_equal(config_suits(&plain, &none), 1);
	assert_int_equal(config_suits(&plain, &one), 1);
	assert_int_equal(config_suits(&net1, NULL), 0);
	assert_int_equal(config_suits(&net1, &none), 0);
	assert_int_equal(config_suits(&net1, &one), 2);
	assert_int_equal(config_suits(&net1, &two), 0);
	net1.vlan.id = 5;
	assert_int_equal(config_vlan(&plain, NULL), 0);
	assert_int_equal(config_vlan(&net1, NULL), 5);
	assert_int_equal(config_vlan(&net1, &one), 5);
	assert_int_equal(config_vlan(&net1, &two), 9);
}

/* ---- the command line ------------------------------------------------------------------------ */

static int from_args(struct config *c, const char *const *args)
{
	char *argv[32] = { (char *)(uintptr_t)"smcd-userd" };
	int argc = 1, ret;

	while (args[argc - 1]) {
		assert_in_range(argc, 1, 31);
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
		argc++;
	}
	assert_int_equal(config_init(c), 0);
	CAPTURE(ret = config_from_args(c, argc, argv));
	return ret;
}

static void automatic_size(void **state)
{
	struct config c;

	assert_int_equal(from_args(&c, (const char *const[]){ "--function", "vfio-user:/f0", NULL }), 0);
	assert_int_equal(c.rcvbuf, 0);
	config_deinit(&c);
	assert_int_equal(from_args(&c, (const char *const[]){ "--function", "vfio-user:/f0", "--rcvbuf",
		"auto", NULL }), 0);
	assert_int_equal(c.rcvbuf, 0);
	config_deinit(&c);
	assert_true(from_args(&c, (const char *const[]){ "--function", "vfio-user:/f0", "--rcvbuf", "0",
		NULL }) < 0);
	config_deinit(&c);
}

static void flags_alone(void **state)
{
	struct config c;

	assert_int_equal(from_args(&c, (const char *const[]){ "--name", "a", "--function",
		"vfio-user:/f0", "--function", "vfio-user:/f1", "--function",
		"vfio:0001:00:00.0", "--function", "vfio:0002:00:00.0,group", "--peer", "b=0x2",
		"--service", "echo=7", "--rcvbuf", "1M", "-v", NULL }), 0);
	assert_string_equal(c.name, "a");
	assert_int_equal(c.nr_functions, 4);
	assert_string_equal(c.functions[0].vfio_user, "/f0");
	assert_null(c.functions[2].vfio_user);
	assert_string_equal(c.functions[2].vfio.bdf, "0001:00:00.0");
	assert_int_equal(c.functions[2].vfio.way, VFIO_WAY_AUTO);
	assert_int_equal(c.functions[3].vfio.way, VFIO_WAY_GROUP);
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
		const char *args[7];
		const char *what;
	} bad[] = {
		{ { NULL }, "no ISM function" },
		{ { "--function", "/f0" }, "--function: a function is vfio:BDF or vfio-user:PATH" },
		{ { "--function", "vfio:0001:00.0" }, "--function: vfio must be a PCI address" },
		{ { "--function", "vfio:0001:00:00.0,x" }, "must be a PCI address" },
		{ { "--function", "vfio-user:" }, "--function: a path is missing" },
		{ { "--function", "vfio-user:/f", "--peer", "b" }, "--peer: not NAME=VALUE" },
		{ { "--function", "vfio-user:/f", "--peer", "=0x1" }, "--peer:" },
		{ { "--function", "vfio-user:/f", "--spin-us", "x" }, "--spin-us:" },
		{ { "--function", "vfio-user:/f", "--ueid", "a" }, "--ueid:" },
		{ { "--function", "vfio-user:/f", "--name", "a", "--name", "b" }, "twice" },
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

/* ---- documents ------------------------------------------------------------------------------- */

static char *manual(const char *name)
{
	char path[300];
	char *text = calloc(1, 65536);
	FILE *f;

	assert_non_null(text);
	snprintf(path, sizeof(path), "%s/%s", getenv("SMCDU_MAN"), name);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_true(fread(text, 1, 65535, f) > 0);
	fclose(f);
	return text;
}

/* Each key of the table has an entry in its section of the one page, each option in the other. */
static void manuals_are_complete(void **state)
{
	char *conf, *daemon, heading[80], entry[80], *section, *end, *at;
	const struct config_key *k;

	if (!getenv("SMCDU_MAN"))
		skip();
	conf = manual("smcd-userd.conf.5.scd");
	daemon = manual("smcd-userd.8.scd");
	for (k = config_keys; k->section; k++) {
		snprintf(heading, sizeof(heading), "# [%s", k->section);
		section = strstr(conf, heading);
		if (!section) {
			fail_msg("no section %s", heading);
			return;
		}
		end = strstr(section + 1, "\n# ");
		snprintf(entry, sizeof(entry), "\n*%s*", strcmp(k->key, "*") == 0 ? "NAME" : k->key);
		at = strstr(section, entry);
		if (!at || at > end)
			fail_msg("%s] has no %s", heading, entry + 1);
		snprintf(entry, sizeof(entry), "*--%s*", k->option ? k->option : "config");
		if (!strstr(daemon, entry))
			fail_msg("no %s", entry);
	}
	free(conf);
	free(daemon);
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

/* Channels that come fast, and the last of them. */
static void spin_rush(void **state)
{
	struct spin s = { .max_ns = 50000 };
	uint64_t now = 5 * SPIN_RUSH_NS;

	spin_came(&s, now);
	assert_int_equal(spin_now(&s, now), 0); /* the first is no rush */
	now += SPIN_RUSH_NS / 2;
	spin_came(&s, now);
	assert_int_equal(spin_now(&s, now), SPIN_RUSH * s.max_ns);
	assert_int_equal(spin_now(&s, now + SPIN_RUSH_NS), 0);
	spin_came(&s, now + 3 * SPIN_RUSH_NS);
	assert_int_equal(spin_now(&s, now + 3 * SPIN_RUSH_NS), 0);
	s = (struct spin){ .max_ns = 0 };
	spin_came(&s, now);
	spin_came(&s, now + 1);
	assert_int_equal(spin_now(&s, now + 1), 0); /* one processor: never */
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
		cmocka_unit_test(unreadable_lines),
		cmocka_unit_test(contradictions),
		cmocka_unit_test_setup_teardown(drop_ins_override, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(drop_ins_are_checked, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(printing_round_trip, make_dir, remove_dir),
		cmocka_unit_test(pnetids_and_vlans),
		cmocka_unit_test(automatic_size),
		cmocka_unit_test(flags_alone),
		cmocka_unit_test(bad_flags),
		cmocka_unit_test(manuals_are_complete),
		cmocka_unit_test(service_ports),
		cmocka_unit_test(account_limits),
		cmocka_unit_test(spin_window),
		cmocka_unit_test(spin_rush),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
