/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "smcd/ctl/report.h"
#include "smcd/ctl/tools.h"

static const struct column device_columns[] = {
	{ "Device", "name", false },
	{ "State", "state", false },
	{ "Transport", "transport", false },
	{ "GID", "gid", false },
	{ "CHID", "chid", false },
	{ "DMBs", "dmbs", true },
	{ "PCISTB", "pcistb", true },
	{ "Attached", "pcistb_attached", true },
	{ "PCILG", "pcilg", true },
	{ "Bytes", "pcistb_bytes", true },
	{ "Errors", "region_errors", true },
	{ "Max-store", "max_store", true },
	{ NULL },
};

static const struct column dmb_columns[] = {
	{ "Device", "device", false },
	{ "Idx", "idx", true },
	{ "Token", "token", false },
	{ "Size", "size", true },
	{ "Remote-GID", "rgid", false },
	{ "Use", "use", false },
	{ "Channel", "channel", true },
	{ NULL },
};

static const struct column channel_columns[] = {
	{ "State", "state", false },
	{ "ID", "id", true },
	{ "Peer", "peer", false },
	{ "Service", "service", false },
	{ "Local-GID", "local_gid", false },
	{ "Peer-GID", "peer_gid", false },
	{ "Path", "path", false },
	{ "Rcvbuf", "rx_size", true },
	{ "Sndbuf", "tx_size", true },
	{ "Rx-bytes", "rx_bytes", true },
	{ "Tx-bytes", "tx_bytes", true },
	{ NULL },
};

static const struct column peer_columns[] = {
	{ "Peer", "name", false },
	{ "GID", "gid", false },
	{ "Device", "device", false },
	{ "Link", "link", false },
	{ "Channels", "channels", true },
	{ "Configured", "configured", false },
	{ NULL },
};

static const struct column linkgroup_columns[] = {
	{ "LG-ID", "id", false },
	{ "VLAN", "vlan", true },
	{ "#Conns", "conns", true },
	{ "PNET-ID", "pnetid", false },
	{ "Device", "device", false },
	{ "Peer", "peer", false },
	{ "Peer-GID", "peer_gid", false },
	{ "State", "state", false },
	{ "Age", "age_s", true },
	{ NULL },
};

static const struct column failure_columns[] = {
	{ "Age", "age_s", true },
	{ "Role", "role", false },
	{ "Service", "service", false },
	{ "Peer", "peer", false },
	{ "UID", "uid", true },
	{ "By", "by", false },
	{ "Diag", "diag", false },
	{ "Why", "text", false, true },
	{ NULL },
};

static const struct column user_columns[] = {
	{ "UID", "uid", true },
	{ "Channels", "channels", true },
	{ "Listeners", "listeners", true },
	{ "Bytes", "bytes", true },
	{ NULL },
};

static struct json_object *member(struct json_object *root, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(root, key, &v);
	return v;
}

static void print_device(FILE *out, struct json_object *root)
{
	table_print(out, device_columns, member(root, "devices"));
}

static void print_dmb(FILE *out, struct json_object *root)
{
	table_print(out, dmb_columns, member(root, "dmbs"));
}

static void print_channel(FILE *out, struct json_object *root)
{
	table_print(out, channel_columns, member(root, "channels"));
}

static void print_peer(FILE *out, struct json_object *root)
{
	table_print(out, peer_columns, member(root, "peers"));
}

static void print_linkgroup(FILE *out, struct json_object *root)
{
	table_print(out, linkgroup_columns, member(root, "linkgroups"));
}

static void print_failure(FILE *out, struct json_object *root)
{
	table_print(out, failure_columns, member(root, "failures"));
}

static void print_line(FILE *out, const char *title, struct json_object *o, const char *key)
{
	char buf[80];

	fprintf(out, "%-22s %s\n", title, cell_text(o, key, buf, sizeof(buf)));
}

static void print_list(FILE *out, const char *title, const struct column *columns,
	struct json_object *rows)
{
	if (!json_object_is_type(rows, json_type_array) || json_object_array_length(rows) == 0)
		return;
	fprintf(out, "\n%s\n", title);
	table_print(out, columns, rows);
}

static void print_eids(FILE *out, struct json_object *daemon)
{
	struct json_object *ueids = member(daemon, "ueids"), *one = json_object_new_object();
	bool any = json_object_is_type(ueids, json_type_array);
	size_t i, n = any ? json_object_array_length(ueids) : 0;

	for (i = 0; i < n; i++) {
		json_object_object_add(one, "ueid",
			json_object_get(json_object_array_get_idx(ueids, i)));
		print_line(out, "UEID", one, "ueid");
	}
	json_object_put(one);
	print_line(out, "SEID", daemon, "seid");
}

static void print_stats(FILE *out, struct json_object *root)
{
	static const struct {
		const char *title, *key;
	} lines[] = {
		{ "Channels", "channels" },
		{ "Channels in total", "channels_total" },
		{ "Connects refused", "connects_refused" },
		{ "Downgrades", "downgrades" },
		{ "DMBs from stock", "from_stock" },
		{ "connections reused", "reused" },
		{ "send files reused", "send_kept" },
		{ "Protocol errors", "protocol_errors" },
		{ "Listeners", "listeners" },
		{ "Peers", "peers" },
		{ "DMBs", "dmbs" },
		{ "PCISTB", "pcistb" },
		{ "PCISTB bytes", "pcistb_bytes" },
		{ "PCISTB attached", "pcistb_attached" },
		{ "PCISTB attached bytes", "pcistb_attached_bytes" },
		{ "PCILG", "pcilg" },
		{ "Batches", "batches" },
		{ "Bounced", "bounced" },
		{ "Region errors", "region_errors" },
		{ "Sleeps", "sleeps" },
		{ "Wakes", "wakes" },
		{ "Held back", "held_back" },
	};
	struct json_object *daemon = member(root, "daemon");
	size_t i;

	print_line(out, "Daemon", daemon, "name");
	print_line(out, "Process", daemon, "pid");
	print_line(out, "Version", daemon, "version");
	print_line(out, "Event loop", daemon, "loop");
	print_eids(out, daemon);
	print_line(out, "Up for (s)", daemon, "uptime_s");
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		print_line(out, lines[i].title, root, lines[i].key);
	print_list(out, "Devices", device_columns, member(root, "devices"));
	print_list(out, "Users", user_columns, member(root, "users"));
}

const struct report reports[] = {
	{ "device", "the daemon's ISM functions and their instruction counters", .print = print_device },
	{ "dmb", "the registered direct memory buffers", .print = print_dmb },
	{ "channel", "the channels, their states and byte counts", .print = print_channel },
	{ "peer", "the peer daemons and the links to them", .print = print_peer },
	{ "linkgroup", "the link groups with peers", .print = print_linkgroup },
	{ "failure", "connections that were refused or failed lately, and why",
		.print = print_failure },
	{ "stats", "the daemon's totals, and what each user has", .print = print_stats },
	{ "check", "what stands between this machine's ISM functions and the daemon",
		.args = "[BDF]... [--user NAME] [--open] [--root DIR]", .options = check_options,
		.run = check_run },
	{ "bind", "give an ISM function to VFIO", .args = "BDF [--driver NAME] [--force]",
		.options = bind_options, .run = bind_run },
	{ "unbind", "give it back to the kernel's own driver", .args = "BDF",
		.options = unbind_options, .run = unbind_run },
	{ "info", "the kernel's own SMC and the daemon, side by side", .args = "[show]",
		.run = info_run },
	{ "config", "look up what the daemon's settings name by interface", .options = config_options,
		.args = "resolve [FILE]... [--output FILE]", .run = config_run },
	{ "capture", "write CLC messages and CDC blocks to a file for Wireshark",
		.options = capture_options, .args = "FILE [--count N] [--duration S] [--clc]",
		.run = capture_run },
	{ "diag", "what the diagnosis codes of refusals mean", .args = "[CODE]...",
		.run = diag_run },
	{ NULL },
};

bool ctl_is_stem(const char *word, const char *of)
{
	return *word && strncmp(word, of, strlen(word)) == 0;
}

const struct report *report_find(const char *word, unsigned int *candidates)
{
	const struct report *r, *found = NULL;
	unsigned int n = 0;

	for (r = reports; r->name; r++) {
		if (strcmp(word, r->name) == 0)
			return r;
		if (ctl_is_stem(word, r->name)) {
			found = r;
			n++;
		}
	}
	if (candidates)
		*candidates = n;
	return n == 1 ? found : NULL;
}
