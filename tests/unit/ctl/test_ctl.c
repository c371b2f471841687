/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "smcd/ctl/config.h"
#include "smcd/ctl/info.h"
#include "smcd/ctl/report.h"
#include "smcd/proto/diag.h"

/* What the report prints for this JSON; to be freed. */
static char *printed(const char *name, const char *json)
{
	struct json_object *root = json_tokener_parse(json);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(root);
	assert_non_null(out);
	report_find(name, NULL)->print(out, root);
	fclose(out);
	json_object_put(root);
	return text;
}

static void check_text(const char *name, const char *json, const char *want)
{
	char *text = printed(name, json);

	assert_string_equal(text, want);
	free(text);
}

static void test_stems(void **state)
{
	unsigned int n = 99;

	assert_string_equal(report_find("device", NULL)->name, "device");
	assert_string_equal(report_find("de", NULL)->name, "device");
	assert_string_equal(report_find("dm", NULL)->name, "dmb");
	assert_string_equal(report_find("cha", NULL)->name, "channel");
	assert_string_equal(report_find("che", NULL)->name, "check");
	assert_string_equal(report_find("link", NULL)->name, "linkgroup");
	assert_string_equal(report_find("p", NULL)->name, "peer");
	assert_string_equal(report_find("stat", NULL)->name, "stats");
	assert_null(report_find("d", &n));
	assert_true(n > 1);
	assert_null(report_find("", &n));
	assert_int_equal(n, 0);
	assert_null(report_find("devices", &n));
	assert_int_equal(n, 0);
	assert_null(report_find("Device", &n));
}

static void test_columns(void **state)
{
	check_text("peer",
		"{\"peers\":["
		"{\"name\":\"guest-b\",\"gid\":\"0x2\",\"device\":\"ism0\",\"link\":\"up\","
		"\"channels\":12,\"configured\":true},"
		"{\"name\":\"a\",\"gid\":\"0x3\",\"device\":\"\",\"link\":\"connecting\","
		"\"channels\":0,\"configured\":false}]}",
		"Peer     GID  Device  Link        Channels  Configured\n"
		"guest-b  0x2  ism0    up                12  yes\n"
		"a        0x3  -       connecting         0  no\n");
}

static void test_nothing_there(void **state)
{
	check_text("dmb", "{\"dmbs\":[]}", "Device  Idx  Token  Size  Remote-GID  Use  Channel\n");
	/* Of another version: the list is missing, or is none. */
	check_text("dmb", "{}", "");
	check_text("dmb", "{\"dmbs\":7}", "");
}

static void test_missing_members(void **state)
{
	check_text("dmb", "{\"dmbs\":[{},{\"idx\":33,\"use\":null,\"size\":{}},null,7]}",
		"Device  Idx  Token  Size  Remote-GID  Use  Channel\n"
		"-         -  -         -  -           -          -\n"
		"-        33  -         -  -           -          -\n"
		"-         -  -         -  -           -          -\n"
		"-         -  -         -  -           -          -\n");
}

/* Names come from peers: no escape sequence, no line of its own, no cell that falls apart. */
static void test_hostile_names(void **state)
{
	char *text = printed("channel", "{\"channels\":[{\"peer\":\"\\u001b[2J\\nACTIVE 9\\u007f\","
		"\"service\":\"caf\\u00e9\\u009b\"}]}");
	const char *c;
	unsigned int lines = 0;

	assert_non_null(strstr(text, "?[2J?ACTIVE?9?"));
	assert_non_null(strstr(text, "caf????"));
	for (c = text; *c; c++) {
		lines += *c == '\n';
		assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
	}
	assert_int_equal(lines, 2);
	free(text);
}

static void test_long_names_are_cut(void **state)
{
	char json[600], name[400], *text;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(json, sizeof(json), "{\"peers\":[{\"name\":\"%s\",\"gid\":\"0x1\"}]}", name);
	text = printed("peer", json);
	name[79] = '\0';
	assert_non_null(strstr(text, name));
	name[79] = 'x';
	name[80] = '\0';
	assert_null(strstr(text, name));
	free(text);
}

static void test_numbers(void **state)
{
	check_text("dmb", "{\"dmbs\":[{\"device\":\"ism0\",\"idx\":-1,\"token\":\"0x1\","
		"\"size\":18446744073709551615,\"rgid\":\"0x2\",\"use\":\"channel\","
		"\"channel\":1.5}]}",
		"Device  Idx  Token                  Size  Remote-GID  Use      Channel\n"
		"ism0     -1  0x1    18446744073709551615  0x2         channel      1.5\n");
}

static void test_stats(void **state)
{
	char *text = printed("stats", "{\"daemon\":{\"name\":\"guest-a\",\"pid\":7},\"channels\":3,"
		"\"devices\":[{\"name\":\"ism0\"}],\"users\":[]}");

	assert_non_null(strstr(text, "Daemon                 guest-a\n"));
	assert_non_null(strstr(text, "Process                7\n"));
	assert_non_null(strstr(text, "Channels               3\n"));
	assert_non_null(strstr(text, "Wakes                  -\n"));
	assert_non_null(strstr(text, "\nDevices\nDevice  State"));
	assert_null(strstr(text, "\nUsers\n"));
	free(text);
	text = printed("stats", "{}");
	assert_non_null(strstr(text, "Daemon                 -\n"));
	free(text);
}

/* ---- info ------------------------------------------------------------------------------------ */

static char *info(const char *json)
{
	struct json_object *root = json_tokener_parse(json);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(root);
	info_print(out, root);
	fclose(out);
	json_object_put(root);
	return text;
}

static void test_info(void **state)
{
	char *text = info("{\"kernel\":{\"available\":true,\"version\":\"2.1\",\"hostname\":\"z\","
		"\"ism_v2\":true,\"ueids\":[\"A\",\"B\"],\"seid\":{\"id\":\"S\",\"enabled\":false},"
		"\"devices\":[{\"fid\":\"0x0029\",\"chid\":\"0x07c1\",\"in_use\":true}],"
		"\"fallbacks\":[{\"side\":\"client\",\"diag\":\"0x05000000\",\"count\":2,"
		"\"text\":\"the peer\\ndeclined\"}]},"
		"\"daemon\":{\"daemon\":{\"name\":\"guest-a\",\"smc_version\":\"2.1\",\"ism_v2\":false,"
		"\"ueids\":[\"B\"]},\"devices\":[{},{}],\"linkgroups\":[]}}");

	assert_string_equal(text,
		"                 Kernel                             smcd-userd\n"
		"SMC version      2.1                                2.1\n"
		"Host             z                                  guest-a\n"
		"UEID             A                                  B\n"
		"                 B                                  \n"
		"SEID             S [disabled]                       -\n"
		"ISM version 2    yes                                no\n"
		"SMC-D devices    1                                  2\n"
		"Link groups      0                                  0\n"
		"\nThe kernel's SMC-D devices\n"
		"FID     PCI-ID  CHID    InUse  #LGs  PNET-ID\n"
		"0x0029  -       0x07c1  yes       -  -\n"
		"\nThe kernel's fallbacks to TCP\n"
		"Side    Diag        Count  Meaning\n"
		"client  0x05000000      2  the peer?declined\n");
	free(text);
}

static void test_info_of_nothing(void **state)
{
	char *text = info("{\"kernel\":{\"available\":false,\"why\":\"no SMC\"},\"daemon\":null}");

	assert_non_null(strstr(text, "SMC-D devices    -                                  -\n"));
	assert_non_null(strstr(text, "\nKernel: no SMC\n"));
	free(text);
	free(info("{}"));
	free(info("{\"kernel\":7,\"daemon\":[]}"));
	free(info("{\"kernel\":{\"ueids\":7,\"seid\":[],\"devices\":{}},\"daemon\":{\"daemon\":7}}"));
}

/* ---- config resolve -------------------------------------------------------------------------- */

static void test_nothing_to_resolve(void **state)
{
	char *text = NULL, why[CONFIG_WHY];
	struct config_at at = { .file = "f", .line = 1, .layer = 1 };
	struct view none = { 0 };
	struct config c;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(config_init(&c), 0);
	assert_int_equal(config_set(&c, &at, "peer", "b", "vlan", "7", why), 0);
	assert_int_equal(config_resolve(&c, &none, out), 0);
	fclose(out);
	assert_string_equal(text, "# Looked up by smcd-userctl config resolve.\n");
	free(text);
	config_deinit(&c);
}

/* ---- diagnoses ------------------------------------------------------------------------------- */

static void test_diagnoses(void **state)
{
	uint32_t last = 0;

	for (const struct diag *d = diags; d->text; d++) {
		assert_true(d->code > last);
		last = d->code;
		assert_true(strlen(d->text) > 10 && strlen(d->remedy) > 10);
		assert_ptr_equal(diag_find(d->code), d);
		assert_string_equal(clc_diag_text(d->code), d->text);
	}
	assert_null(diag_find(0));
	assert_null(diag_find(0xffffffff));
}

/* Those that smcd-userd uses are in its manual, in the same words. */
static void test_manual(void **state)
{
	const char *path = getenv("SMCD_USER_7");
	char page[16384], row[256];
	FILE *f;

	if (!path)
		skip();
	f = fopen(path, "re");
	assert_non_null(f);
	page[fread(page, 1, sizeof(page) - 1, f)] = '\0';
	fclose(f);
	for (const struct diag *d = diags; d->text; d++) {
		snprintf(row, sizeof(row), "|  0x%08x\n:  %s\n", d->code, d->text);
		if (d->ours && !strstr(page, row))
			fail_msg("no row for 0x%08x: %s", d->code, d->text);
		snprintf(row, sizeof(row), "|  0x%08x\n", d->code);
		if (!d->ours)
			assert_null(strstr(page, row));
	}
}

/* ---- the program ----------------------------------------------------------------------------- */

static int run(const char *args)
{
	char cmd[512];
	int status;

	snprintf(cmd, sizeof(cmd), "$MESON_EXE_WRAPPER '%s' %s >/dev/null 2>&1",
		getenv("SMCD_USERCTL"), args);
	status = system(cmd);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_exit_status(void **state)
{
	if (!getenv("SMCD_USERCTL"))
		skip();
	assert_int_equal(run("--help"), 0);
	assert_int_equal(run("-h"), 0);
	assert_int_equal(run("--version"), 0);
	assert_int_equal(run("-v"), 0);
	assert_int_equal(run("help"), 0);
	assert_int_equal(run("device help"), 0);
	assert_int_equal(run("--socket /nonexistent/s device"), 1);
	assert_int_equal(run("--socket /nonexistent/s --format json stats show"), 1);
	assert_int_equal(run("--socket /nonexistent/s stats s"), 1);
	assert_int_equal(run("--socket /nonexistent/s info"), 1);
	assert_int_equal(run("info show --socket /nonexistent/s --format json"), 1);
	assert_int_equal(run("info help"), 0);
	assert_int_equal(run("info erase"), 2);
	assert_int_equal(run("diag"), 0);
	assert_int_equal(run("diag 0x03030001 03010000/0x03030007"), 0);
	assert_int_equal(run("--format json diag 0x03030001"), 0);
	assert_int_equal(run("diag 0xdeadbeef"), 1);
	assert_int_equal(run("diag eid"), 2);
	assert_int_equal(run("diag 0x0303000100"), 2);
	assert_int_equal(run("diag 0x03030001/"), 2);
	assert_int_equal(run("config"), 2);
	assert_int_equal(run("config erase"), 2);
	assert_int_equal(run("config resolve /nonexistent/c"), 1);
	assert_int_equal(run("config resolve /dev/null"), 0);
	assert_int_equal(run("config resolve /dev/null --output /nonexistent/c"), 1);
	assert_int_equal(run("config resolve --colour"), 2);
	assert_int_equal(run(""), 2);
	assert_int_equal(run("d"), 2);
	assert_int_equal(run("''"), 2);
	assert_int_equal(run("linkgroups"), 2);
	assert_int_equal(run("device delete"), 2);
	assert_int_equal(run("device show all"), 2);
	assert_int_equal(run("--format xml device"), 2);
	assert_int_equal(run("--format"), 2);
	assert_int_equal(run("--nonsense"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stems),
		cmocka_unit_test(test_columns),
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_missing_members),
		cmocka_unit_test(test_hostile_names),
		cmocka_unit_test(test_long_names_are_cut),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_info_of_nothing),
		cmocka_unit_test(test_nothing_to_resolve),
		cmocka_unit_test(test_diagnoses),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_exit_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
