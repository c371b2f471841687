/* SPDX-License-Identifier: MIT */
/*
 * info.c - smcd-userctl info: the kernel's own SMC and the daemon, side by side
 *
 * Both are asked, whatever becomes of the other: each half says plainly what it lacks. The names
 * and numbers are theirs, so that they can be compared with those of smcd(8).
 */
#include <string.h>

#include "smcd/ctl/info.h"
#include "smcd/ctl/report.h"
#include "smcd/netlink/smc.h"
#include "smcd/netlink/view.h"

#define WIDTH 34 /* of a half */

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return v;
}

static size_t length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* ---- rows of two cells ----------------------------------------------------------------------- */

static void put_row(FILE *out, const char *title, const char *kernel, const char *ours)
{
	fprintf(out, "%-16s %-*s %s\n", title, WIDTH, kernel, ours);
}

static void put_members(FILE *out, const char *title, struct json_object *kernel, const char *key,
	struct json_object *ours, const char *our_key)
{
	char a[80], b[80];

	put_row(out, title, cell_text(kernel, key, a, sizeof(a)),
		cell_text(ours, our_key, b, sizeof(b)));
}

static void put_counts(FILE *out, const char *title, struct json_object *kernel, const char *key,
	struct json_object *ours, const char *our_key)
{
	char a[24] = "-", b[24] = "-";

	/* What a kernel with SMC does not list, it has none of. */
	if (json_object_get_boolean(member(kernel, "available")))
		snprintf(a, sizeof(a), "%zu", length(member(kernel, key)));
	if (member(ours, our_key))
		snprintf(b, sizeof(b), "%zu", length(member(ours, our_key)));
	put_row(out, title, a, b);
}

static const char *element(struct json_object *list, size_t i, char *buf, size_t size)
{
	struct json_object *one;

	if (i >= length(list))
		return i == 0 ? "-" : "";
	one = json_object_new_object();
	json_object_object_add(one, "x", json_object_get(json_object_array_get_idx(list, i)));
	cell_text(one, "x", buf, size);
	json_object_put(one);
	return buf;
}

static void put_ueids(FILE *out, struct json_object *kernel, struct json_object *ours)
{
	size_t i, n = length(kernel) > length(ours) ? length(kernel) : length(ours);
	char a[80], b[80];

	for (i = 0; i == 0 || i < n; i++)
		put_row(out, i ? "" : "UEID", element(kernel, i, a, sizeof(a)),
			element(ours, i, b, sizeof(b)));
}

static void put_seids(FILE *out, struct json_object *kernel, struct json_object *ours)
{
	char id[80], a[112], b[80];
	bool on = json_object_get_boolean(member(kernel, "enabled"));

	snprintf(a, sizeof(a), "%s%s", kernel ? cell_text(kernel, "id", id, sizeof(id)) : "-",
		!kernel || on ? "" : " [disabled]");
	put_row(out, "SEID", a, cell_text(ours, "seid", b, sizeof(b)));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct column device_columns[] = {
	{ "FID", "fid", false },
	{ "PCI-ID", "pci_id", false },
	{ "CHID", "chid", false },
	{ "InUse", "in_use", false },
	{ "#LGs", "linkgroups", true },
	{ "PNET-ID", "pnetid", false },
	{ NULL },
};

static const struct column linkgroup_columns[] = {
	{ "LG-ID", "id", false },
	{ "VLAN", "vlan", true },
	{ "#Conns", "conns", true },
	{ "PNET-ID", "pnetid", false },
	{ "CHID", "chid", false },
	{ "GID", "gid", false },
	{ "Peer-GID", "peer_gid", false },
	{ "Peer-host", "peer_host", false },
	{ "EID", "eid", false },
	{ NULL },
};

static const struct column pnetid_columns[] = {
	{ "PNET-ID", "pnetid", false },
	{ "Interface", "interface", false },
	{ NULL },
};

static const struct column fallback_columns[] = {
	{ "Side", "side", false },
	{ "Diag", "diag", false },
	{ "Count", "count", true },
	{ "Meaning", "text", false, true },
	{ NULL },
};

static void put_table(FILE *out, const char *title, const struct column *columns,
	struct json_object *rows)
{
	if (length(rows) == 0)
		return;
	fprintf(out, "\n%s\n", title);
	table_print(out, columns, rows);
}

void info_print(FILE *out, struct json_object *root)
{
	struct json_object *kernel = member(root, "kernel"), *daemon = member(root, "daemon");
	struct json_object *self = member(daemon, "daemon");
	const char *why = json_object_get_string(member(kernel, "why"));

	put_row(out, "", "Kernel", "smcd-userd");
	put_members(out, "SMC version", kernel, "version", self, "smc_version");
	put_members(out, "Host", kernel, "hostname", self, "name");
	put_ueids(out, member(kernel, "ueids"), member(self, "ueids"));
	put_seids(out, member(kernel, "seid"), self);
	put_members(out, "ISM version 2", kernel, "ism_v2", self, "ism_v2");
	put_counts(out, "SMC-D devices", kernel, "devices", daemon, "devices");
	put_counts(out, "Link groups", kernel, "linkgroups", daemon, "linkgroups");
	if (why)
		fprintf(out, "\nKernel: %s\n", why);
	put_table(out, "The kernel's SMC-D devices", device_columns, member(kernel, "devices"));
	put_table(out, "The kernel's link groups", linkgroup_columns,
		member(kernel, "linkgroups"));
	put_table(out, "The kernel's PNETIDs", pnetid_columns, member(kernel, "pnetids"));
	put_table(out, "The kernel's fallbacks to TCP", fallback_columns,
		member(kernel, "fallbacks"));
}

/* ---- the command ----------------------------------------------------------------------------- */

static struct json_object *ask_kernel(enum exit_status *status)
{
	struct json_object *kernel;
	char why[VIEW_WHY] = "";

	if (smc_kernel(&kernel, why) >= 0)
		return kernel;
	fprintf(stderr, CTL_NAME ": the kernel: %s\n", why);
	*status = FAILED;
	kernel = json_object_new_object();
	json_object_object_add(kernel, "why", json_object_new_string(why));
	return kernel;
}

/* The daemon's totals with its link groups. */
static struct json_object *ask_daemon(const struct ctl *c, enum exit_status *status)
{
	struct json_object *stats = ctl_ask(c, "stats"), *groups;

	groups = stats ? ctl_ask(c, "linkgroup") : NULL;
	if (!groups) {
		json_object_put(stats);
		*status = FAILED;
		return NULL;
	}
	json_object_object_add(stats, "linkgroups", json_object_get(member(groups, "linkgroups")));
	json_object_put(groups);
	return stats;
}

enum exit_status info_run(const struct ctl *c)
{
	struct json_object *root = json_object_new_object();
	enum exit_status status = OK;

	if (c->argc > 0 && !ctl_is_stem(c->argv[0], "show")) {
		fprintf(stderr, CTL_NAME ": '%s' is no command; there is show\n", c->argv[0]);
		json_object_put(root);
		return USAGE;
	}
	json_object_object_add(root, "kernel", ask_kernel(&status));
	json_object_object_add(root, "daemon", ask_daemon(c, &status));
	if (c->json)
		ctl_put_json(root);
	else
		info_print(stdout, root);
	json_object_put(root);
	return ctl_finish() == OK ? status : FAILED;
}
