/* SPDX-License-Identifier: MIT */
/*
 * config.c - smcd-userctl config: what the daemon's settings leave to be looked up
 *
 * The daemon has no netlink. What its settings name by interface, or leave to the kernel, is looked
 * up here and written as settings of their own, for a layer above those it was named in.
 */
#include "smcd/ctl/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smcd/ctl/report.h"
#include "smcd/netlink/smc.h"
#include "vfio/base/log.h"

#define DEFAULT_FILE SMCDU_SYSCONFDIR "/smcd-user/smcd-userd.conf"

enum { OPT_OUTPUT };

const struct option config_options[] = {
	{ "output", required_argument, NULL, OPT_OUTPUT },
	{ 0 },
};

/* ---- resolving ------------------------------------------------------------------------------- */

struct resolution {
	const struct view *view; /* a test's; NULL: read when it is needed */
	struct view own;
	bool opened;
	FILE *out;
	char section[128]; /* printed last */
	unsigned int failed;
};

static const struct view *view_of(struct resolution *r, char why[VIEW_WHY])
{
	if (!r->view && view_open(&r->own, why) == 0) {
		r->opened = true;
		r->view = &r->own;
	}
	return r->view;
}

/* The value as settings have it. 0 or -errno with a complaint. */
static int look_up(struct resolution *r, const struct config_pending *p, char *value, size_t size,
	char why[VIEW_WHY])
{
	char pnetid[VIEW_PNETID_LEN + 1], seid[CLC_EID_LEN + 1];
	const struct view *v = NULL;
	uint16_t vlan;
	int ret;

	if (p->type != CONFIG_SEID) {
		v = view_of(r, why);
		if (!v)
			return -EIO;
	}
	switch (p->type) {
	case CONFIG_VLAN:
		ret = view_vlan(v, p->interface, &vlan, why);
		if (ret == 0)
			snprintf(value, size, "%u", vlan);
		return ret;
	case CONFIG_PNETID:
		ret = view_pnetid(v, p->interface, pnetid, why);
		if (ret == 0)
			snprintf(value, size, "%s", pnetid);
		return ret;
	default:
		ret = smc_kernel_seid(seid, why);
		if (ret == 0)
			snprintf(value, size, "%s", seid);
		return ret;
	}
}

static int resolve_one(void *ctx, const struct config_pending *p)
{
	char section[sizeof(((struct resolution *)0)->section)], why[VIEW_WHY] = "", value[64];
	struct resolution *r = ctx;

	if (look_up(r, p, value, sizeof(value), why) < 0) {
		log_err("%s:%u: %s = %s%s: %s", p->at.file, p->at.line, p->key,
			*p->interface ? "interface:" : "kernel", p->interface, why);
		r->failed++;
		return 0; /* all of them are worth knowing */
	}
	snprintf(section, sizeof(section), "[%s%s%s]", p->section, p->arg ? " " : "",
		p->arg ? p->arg : "");
	if (strcmp(section, r->section) != 0)
		fprintf(r->out, "%s\n", section);
	memcpy(r->section, section, sizeof(section));
	fprintf(r->out, "%s = %s\n", p->key, value);
	return 0;
}

int config_resolve(const struct config *c, const struct view *view, FILE *out)
{
	struct resolution r = { .view = view, .out = out };

	fputs("# Looked up by smcd-userctl config resolve.\n", out);
	config_each_pending(c, resolve_one, &r);
	if (r.opened)
		view_close(&r.own);
	return r.failed ? -ENOENT : 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

/* All of @text or nothing, so that no reader ever finds half of it. */
static enum exit_status write_file(const char *path, const char *text)
{
	char *tmp = NULL;
	FILE *f = NULL;
	int fd = -1, err = 0;

	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		return FAILED;
	fd = mkstemp(tmp);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		err = errno;
	else if (fchmod(fd, 0644) < 0 || fputs(text, f) < 0)
		err = errno;
	if (f && fclose(f) != 0 && err == 0)
		err = errno;
	if (err == 0 && rename(tmp, path) < 0)
		err = errno;
	if (err != 0) {
		log_err("%s: %s", path, strerror(err));
		if (fd >= 0)
			unlink(tmp);
	}
	free(tmp);
	return err ? FAILED : OK;
}

static enum exit_status load(struct config *c, const struct ctl *ctl)
{
	int i, ret = config_init(c);

	if (ret == 0 && ctl->argc == 1)
		ret = config_load(c, DEFAULT_FILE);
	for (i = 1; ret == 0 && i < ctl->argc; i++)
		ret = config_load(c, ctl->argv[i]);
	return ret == 0 ? OK : FAILED; /* it has said why */
}

static enum exit_status resolve(const struct ctl *ctl)
{
	enum exit_status status;
	struct config c;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	status = load(&c, ctl);
	out = status == OK ? open_memstream(&text, &size) : NULL;
	if (status == OK && !out)
		status = FAILED;
	if (out) {
		if (config_resolve(&c, NULL, out) < 0)
			status = FAILED;
		fclose(out);
	}
	config_deinit(&c);
	if (status == OK && ctl->opt[OPT_OUTPUT])
		status = write_file(ctl->opt[OPT_OUTPUT], text);
	else if (status == OK)
		status = fputs(text, stdout) < 0 ? FAILED : ctl_finish();
	free(text);
	return status;
}

enum exit_status config_run(const struct ctl *ctl)
{
	if (ctl->argc == 0 || !ctl_is_stem(ctl->argv[0], "resolve")) {
		fprintf(stderr, CTL_NAME ": config %s: there is 'config resolve [FILE]...'\n",
			ctl->argc ? ctl->argv[0] : "what");
		return USAGE;
	}
	return resolve(ctl);
}
