/* SPDX-License-Identifier: MIT */
/* Where settings come from: the INI file and the command line. Both end in config_set(). */
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/daemon/config.h"
#include "vfio/base/log.h"

/* ---- the file -------------------------------------------------------------------------------- */

struct ini_state {
	struct config *c;
	char why[256];
	int err;
};

/* "function ism0" -> "function" and "ism0" */
static char *split_section(char *section)
{
	char *arg = strchr(section, ' ');

	if (!arg)
		return NULL;
	*arg++ = '\0';
	return arg + strspn(arg, " ");
}

static int on_ini(void *user, const char *section, const char *name, const char *value)
{
	struct ini_state *st = user;
	char buf[128];

	if (st->err)
		return 0; /* the first complaint is the one to report */
	if (strlen(section) >= sizeof(buf)) {
		snprintf(st->why, sizeof(st->why), "the section's name is too long");
		st->err = -EINVAL;
		return 0;
	}
	strcpy(buf, section);
	st->err = config_set(st->c, buf, split_section(buf), name, value ? value : "", st->why);
	return st->err == 0;
}

int config_load(struct config *c, const char *path)
{
	struct ini_state st = { .c = c };
	FILE *f = fopen(path, "re");
	int line, err = errno;

	if (!f) {
		log_err("%s: %s", path, strerror(err));
		return -err;
	}
	line = ini_parse_file(f, on_ini, &st);
	fclose(f);
	if (line == 0)
		return 0;
	if (st.err == -ENOMEM || line < 0) {
		log_err("%s: %s", path, line == -1 ? "cannot be read" : strerror(ENOMEM));
		return line == -1 ? -EIO : -ENOMEM;
	}
	log_err("%s:%d: %s", path, line, st.err ? st.why : "not 'key = value' or '[section]'");
	return -EINVAL;
}

int config_check(const struct config *c)
{
	if (c->nr_functions == 0) {
		log_err("no ISM function: give --function vfio-user:PATH, or a section [function NAME] "
			"with vfio-user=PATH in the configuration file");
		return -EINVAL;
	}
	return 0;
}

/* ---- the command line ------------------------------------------------------------------------ */

static const char usage[] =
	"Usage: smcd-userd [OPTION]...\n"
	"Shares ISM functions among applications that use libsmcd-user.\n"
	"\n"
	"      --config FILE             read settings from FILE; other options add to them\n"
	"      --name NAME               this guest's name (default: the host name)\n"
	"      --function vfio-user:PATH an ISM function served at PATH (again for more)\n"
	"      --peer NAME=GID           a peer guest, GID as 0x... (again for more)\n"
	"      --service NAME=PORT       the port of a service (again for more)\n"
	"      --socket PATH             where applications connect\n"
	"      --loop auto|io_uring|epoll\n"
	"      --spin-us N               look at most N microseconds before sleeping\n"
	"      --rcvbuf SIZE             receive buffer of a channel, 16K..1M (default 256K)\n"
	"      --ueid NAME               enterprise id that peers must share (default SMCD-USER)\n"
	"      --max-channels-per-user N\n"
	"  -v, --verbose                 log more\n"
	"  -h, --help\n"
	"  -V, --version\n"
	"\n"
	"Prints one line 'smcd-userd: ready: ...' when applications can connect.\n";

enum {
	OPT_CONFIG = 256,
	OPT_NAME,
	OPT_FUNCTION,
	OPT_PEER,
	OPT_SERVICE,
	OPT_SOCKET,
	OPT_LOOP,
	OPT_SPIN,
	OPT_RCVBUF,
	OPT_UEID,
	OPT_MAX_CHANNELS,
};

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "function", required_argument, NULL, OPT_FUNCTION },
	{ "peer", required_argument, NULL, OPT_PEER },
	{ "service", required_argument, NULL, OPT_SERVICE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "loop", required_argument, NULL, OPT_LOOP },
	{ "spin-us", required_argument, NULL, OPT_SPIN },
	{ "rcvbuf", required_argument, NULL, OPT_RCVBUF },
	{ "ueid", required_argument, NULL, OPT_UEID },
	{ "max-channels-per-user", required_argument, NULL, OPT_MAX_CHANNELS },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* Options that are one key of one section. */
static const struct {
	int opt;
	const char *section;
	const char *key;
} simple[] = {
	{ OPT_NAME, "daemon", "name" },
	{ OPT_SOCKET, "daemon", "socket" },
	{ OPT_LOOP, "daemon", "loop" },
	{ OPT_SPIN, "daemon", "spin_us" },
	{ OPT_RCVBUF, "smc", "rcvbuf" },
	{ OPT_UEID, "smc", "ueid" },
	{ OPT_MAX_CHANNELS, "limits", "channels_per_user" },
};

static int set_function_option(struct config *c, const char *value, char why[256])
{
	char name[16];

	if (strncmp(value, "vfio-user:", 10) != 0) {
		snprintf(why, 256, "a function is vfio-user:PATH, not '%s'", value);
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "ism%u", c->nr_functions);
	return config_set(c, "function", name, "vfio-user", value + 10, why);
}

/* NAME=VALUE into [@section NAME] @key=VALUE, or with no @key into [@section] NAME=VALUE. */
static int set_pair_option(struct config *c, const char *section, const char *key,
	const char *pair, char why[256])
{
	const char *eq = strchr(pair, '=');
	char name[IPC_NAME_MAX];

	if (!eq || (size_t)(eq - pair) >= sizeof(name)) {
		snprintf(why, 256, "not NAME=VALUE: '%s'", pair);
		return -EINVAL;
	}
	memcpy(name, pair, (size_t)(eq - pair));
	name[eq - pair] = '\0';
	if (key)
		return config_set(c, section, name, key, eq + 1, why);
	return config_set(c, section, NULL, name, eq + 1, why);
}

static int apply_option(struct config *c, int opt, const char *value, char why[256])
{
	unsigned int i;

	switch (opt) {
	case OPT_CONFIG: /* was read before */
		return 0;
	case 'v':
		c->verbose = true;
		return 0;
	case OPT_FUNCTION:
		return set_function_option(c, value, why);
	case OPT_PEER:
		return set_pair_option(c, "peer", "gid", value, why);
	case OPT_SERVICE:
		return set_pair_option(c, "services", NULL, value, why);
	}
	for (i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
		if (simple[i].opt == opt)
			return config_set(c, simple[i].section, NULL, simple[i].key, value, why);
	}
	return -EINVAL;
}

static const char *option_name(int opt)
{
	unsigned int i;

	for (i = 0; options[i].name; i++) {
		if (options[i].val == opt)
			return options[i].name;
	}
	return "?";
}

/* First pass: help, version, mistakes of getopt's, and the file, which has to come first. */
static int scan_args(struct config *c, int argc, char **argv)
{
	int opt, ret;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "vhV", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			fputs(usage, stdout);
			return 1;
		case 'V':
			puts("smcd-userd " SMCDU_VERSION);
			return 1;
		case '?':
			return -EINVAL;
		case OPT_CONFIG:
			ret = config_load(c, optarg);
			if (ret < 0)
				return ret;
			break;
		}
	}
	if (optind < argc) {
		log_err("'%s' is no option; see --help", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

int config_from_args(struct config *c, int argc, char **argv)
{
	char why[256] = "";
	int opt, ret;

	ret = scan_args(c, argc, argv);
	if (ret != 0)
		return ret;
	optind = 0;
	while ((opt = getopt_long(argc, argv, "vhV", options, NULL)) != -1) {
		ret = apply_option(c, opt, optarg, why);
		if (ret < 0) {
			log_err("--%s: %s", option_name(opt),
				ret == -ENOMEM ? strerror(ENOMEM) : why);
			return ret;
		}
	}
	return config_check(c);
}
