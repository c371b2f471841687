/* SPDX-License-Identifier: MIT */
#include "smcd/ctl/check.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smcd/ctl/report.h"
#include "smcd/ctl/tools.h"
#include "vfio/base/log.h"
#include "vfio/pci.h"

#define DAEMON_USER "smcd-user"
#define TEXT_MAX    512

enum { OPT_USER, OPT_ROOT, OPT_OPEN };

const struct option check_options[] = {
	{ "user", required_argument, NULL, OPT_USER },
	{ "root", required_argument, NULL, OPT_ROOT },
	{ "open", no_argument, NULL, OPT_OPEN },
	{ 0 },
};

static const char *const verdicts[] = {
	[FINDING_OK] = "ok", [FINDING_NOTE] = "note", [FINDING_WARN] = "warn", [FINDING_BAD] = "bad"
};

/* ---- findings -------------------------------------------------------------------------------- */

static void put(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

void check_add(struct check *c, const char *about, const char *topic, enum verdict verdict,
	const char *remedy, const char *fmt, ...)
{
	struct json_object *o = json_object_new_object();
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(o, "about", about);
	put(o, "topic", topic);
	put(o, "verdict", verdicts[verdict]);
	put(o, "finding", text);
	if (*remedy)
		put(o, "remedy", remedy);
	json_object_array_add(c->findings, o);
	c->bad += verdict == FINDING_BAD;
}

static bool in_groups(const struct check *c, gid_t gid)
{
	for (int i = 0; i < c->ngids; i++)
		if (c->gids[i] == gid)
			return true;
	return false;
}

int check_may_use(const struct check *c, const char *path)
{
	char full[PATH_MAX];
	unsigned int bits;
	struct stat st;

	snprintf(full, sizeof(full), "%s%s", c->root, path);
	if (stat(full, &st) < 0)
		return -errno;
	if (c->uid == 0)
		return 1;
	bits = st.st_mode & 7;
	if (st.st_uid == c->uid)
		bits = st.st_mode >> 6 & 7;
	else if (in_groups(c, st.st_gid))
		bits = st.st_mode >> 3 & 7;
	return (bits & 6) == 6;
}

/* ---- what is looked at ----------------------------------------------------------------------- */

struct search {
	struct check *c;
	unsigned int found;
};

static int look_at(void *ctx, const char *bdf)
{
	struct search *s = ctx;
	uint16_t vendor, device;

	if (pci_id(s->c->sys, bdf, &vendor, &device) < 0 || vendor != PCI_ISM_VENDOR ||
		device != PCI_ISM_DEVICE)
		return 0;
	s->found++;
	check_function(s->c, bdf);
	return 0;
}

static void find_functions(struct check *c)
{
	struct search s = { .c = c };
	int r = pci_each(c->sys, look_at, &s);

	if (s.found)
		return;
	if (r < 0 && r != -ENOENT) {
		check_add(c, "machine", "functions", FINDING_BAD, "run this as root",
			"cannot look for functions: %s", strerror(-r));
		return;
	}
	check_add(c, "machine", "functions", FINDING_BAD,
		"on IBM Z: give this system an ISM function and configure it (echo 1 > "
		"/sys/bus/pci/slots/FID/power); without one: ism-fabricd(8) is a fabric in software",
		"there is no ISM function (PCI 1014:04ed)");
}

/* The daemon's user, else whoever runs this. */
static bool set_user(struct check *c, const char *name)
{
	const struct passwd *pw = getpwnam(name ? name : DAEMON_USER);

	if (!pw && name) {
		fprintf(stderr, "smcd-userctl: there is no user '%s'\n", name);
		return false;
	}
	if (!pw)
		pw = getpwuid(geteuid());
	c->ngids = CHECK_MAX_GROUPS;
	if (!pw) {
		c->user = "this user";
		c->uid = geteuid();
		c->ngids = getgroups(CHECK_MAX_GROUPS, c->gids);
		return true;
	}
	c->user = pw->pw_name;
	c->uid = pw->pw_uid;
	if (getgrouplist(pw->pw_name, pw->pw_gid, c->gids, &c->ngids) < 0)
		c->ngids = CHECK_MAX_GROUPS; /* as many as fit */
	return true;
}

/* ---- output ---------------------------------------------------------------------------------- */

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "";
}

static void print_text(struct json_object *findings)
{
	size_t i, n = json_object_array_length(findings);

	for (i = 0; i < n; i++) {
		struct json_object *o = json_object_array_get_idx(findings, i);

		printf("%-4s  %s: %s: %s\n", text_of(o, "verdict"), text_of(o, "about"),
			text_of(o, "topic"), text_of(o, "finding"));
		if (*text_of(o, "remedy"))
			printf("      %s\n", text_of(o, "remedy"));
	}
}

static enum exit_status finish(struct check *c, bool json)
{
	struct json_object *root = json_object_new_object();

	json_object_object_add(root, "ready", json_object_new_boolean(c->bad == 0));
	put(root, "user", c->user);
	json_object_object_add(root, "findings", c->findings);
	if (json)
		puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
			JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_text(c->findings);
	json_object_put(root);
	if (fflush(stdout) != 0)
		return FAILED;
	return c->bad ? FAILED : OK;
}

enum exit_status check_run(const struct ctl *ctl)
{
	const char *root = ctl->opt[OPT_ROOT] ? ctl->opt[OPT_ROOT] : "";
	struct check c = { .sys = &sys_host, .root = root, .socket = ctl->socket,
		.open = ctl->opt[OPT_OPEN] };
	int i;

	for (i = 0; i < ctl->argc; i++) {
		if (pci_bdf_ok(ctl->argv[i]))
			continue;
		fprintf(stderr, "smcd-userctl: '%s' is no PCI address; they look like "
			"0001:00:00.0\n", ctl->argv[i]);
		return USAGE;
	}
	if (!set_user(&c, ctl->opt[OPT_USER]))
		return USAGE;
	sys_host_root(root);
	log_init("smcd-userctl", LOG_LEVEL_ERR);
	c.findings = json_object_new_array();
	for (i = 0; i < ctl->argc; i++)
		check_function(&c, ctl->argv[i]);
	if (ctl->argc == 0)
		find_functions(&c);
	check_machine(&c);
	return finish(&c, ctl->json);
}
