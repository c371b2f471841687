/* SPDX-License-Identifier: MIT */
/* The command line: a layer of settings above the files', and what is no setting. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "smcd/daemon/config.h"
#include "smcd/daemon/config_value.h"
#include "vfio/base/log.h"

#define MAX_OPTIONS 48

enum { /* values of long options; from OPT_KEY on an index into config_keys */
	OPT_CONFIG = 256,
	OPT_CHECK,
	OPT_FUNCTION,
	OPT_PEER,
	OPT_SERVICE,
	OPT_KEY,
};

static const struct {
	struct option o;
	const char *metavar, *help;
} own[] = {
	{ { "config", required_argument, NULL, OPT_CONFIG }, "FILE",
		"read settings from FILE and FILE.d/*.conf (again for more)" },
	{ { "check-config", no_argument, NULL, OPT_CHECK }, NULL,
		"print the settings in effect and where each is from" },
	{ { "function", required_argument, NULL, OPT_FUNCTION }, "KIND:PLACE",
		"an ISM function: vfio:BDF[,group|,cdev] or vfio-user:PATH (again for more)" },
	{ { "peer", required_argument, NULL, OPT_PEER }, "NAME=GID",
		"a peer guest, GID as 0x... (again for more)" },
	{ { "service", required_argument, NULL, OPT_SERVICE }, "NAME=PORT",
		"the port of a service (again for more)" },
	{ { "verbose", no_argument, NULL, 'v' }, NULL, "log more" },
	{ { "help", no_argument, NULL, 'h' }, NULL, "print this" },
	{ { "version", no_argument, NULL, 'V' }, NULL, "print the version" },
};

#define NR_OWN (sizeof(own) / sizeof(own[0]))

static void fill_options(struct option options[MAX_OPTIONS])
{
	unsigned int n, i;

	for (n = 0; n < NR_OWN; n++)
		options[n] = own[n].o;
	for (i = 0; config_keys[i].section && n < MAX_OPTIONS - 1; i++) {
		if (!config_keys[i].option)
			continue;
		options[n++] = (struct option){ .name = config_keys[i].option,
			.has_arg = required_argument, .val = OPT_KEY + (int)i };
	}
	options[n] = (struct option){ 0 };
}

static void print_option(const char *name, const char *metavar, int letter, const char *help)
{
	char text[64];

	snprintf(text, sizeof(text), "--%s%s%s", name, metavar ? " " : "", metavar ? metavar : "");
	if (letter < 256)
		printf("  -%c, ", letter);
	else
		printf("      ");
	printf("%-25s %s\n", text, help);
}

static void usage(void)
{
	const struct config_key *k;
	unsigned int i;

	puts("Usage: smcd-userd [OPTION]...\n"
	     "Shares ISM functions among applications that use libsmcd-user.\n");
	for (i = 0; i < NR_OWN; i++)
		print_option(own[i].o.name, own[i].metavar, own[i].o.val, own[i].help);
	for (k = config_keys; k->section; k++) {
		if (k->option)
			print_option(k->option, k->metavar, 256, k->help);
	}
	puts("\nLater files override earlier ones, and options override files. "
	     "Prints one line\n"
	     "'smcd-userd: ready: ...' when applications can connect.");
}

/* ---- one option ------------------------------------------------------------------------------ */

static int set_function_option(struct config *c, const struct config_at *at, const char *value,
	char why[CONFIG_WHY])
{
	size_t kind = strcspn(value, ":");
	char name[16], key[16];
	unsigned int i, n = 0;

	if (strncmp(value, "vfio:", 5) != 0 && strncmp(value, "vfio-user:", 10) != 0)
		return config_complain(why, "a function is vfio:BDF or vfio-user:PATH, not '%s'",
			value);
	memcpy(key, value, kind);
	key[kind] = '\0';
	do { /* the first name that no file has given */
		snprintf(name, sizeof(name), "ism%u", n++);
		for (i = 0; i < c->nr_functions && strcmp(c->functions[i].name, name) != 0; i++)
			;
	} while (i < c->nr_functions);
	return config_set(c, at, "function", name, key, value + kind + 1, why);
}

/* NAME=VALUE into [@section NAME] @key=VALUE, or with no @key into [@section] NAME=VALUE. */
static int set_pair_option(struct config *c, const struct config_at *at, const char *section,
	const char *key, const char *pair, char why[CONFIG_WHY])
{
	const char *eq = strchr(pair, '=');
	char name[IPC_NAME_MAX];

	if (!eq || (size_t)(eq - pair) >= sizeof(name))
		return config_complain(why, "not NAME=VALUE: '%s'", pair);
	memcpy(name, pair, (size_t)(eq - pair));
	name[eq - pair] = '\0';
	if (key)
		return config_set(c, at, section, name, key, eq + 1, why);
	return config_set(c, at, section, NULL, name, eq + 1, why);
}

static int apply_option(struct config *c, int opt, const struct config_at *at, const char *value,
	char why[CONFIG_WHY])
{
	switch (opt) {
	case OPT_CONFIG: /* was read before */
	case OPT_CHECK:
		return 0;
	case 'v':
		c->verbose = true;
		return 0;
	case OPT_FUNCTION:
		return set_function_option(c, at, value, why);
	case OPT_PEER:
		return set_pair_option(c, at, "peer", "gid", value, why);
	case OPT_SERVICE:
		return set_pair_option(c, at, "services", NULL, value, why);
	default:
		return config_set(c, at, config_keys[opt - OPT_KEY].section, NULL,
			config_keys[opt - OPT_KEY].key, value, why);
	}
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* First pass: help, version, mistakes of getopt's, and the files, which have to come first. */
static int scan_args(struct config *c, int argc, char **argv, const struct option *options,
	bool *check)
{
	int opt, ret;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "vhV", options, NULL)) != -1) {
		switch (opt) {
		case 'h':
			usage();
			return 1;
		case 'V':
			puts("smcd-userd " SMCDU_VERSION);
			return 1;
		case '?':
			return -EINVAL;
		case OPT_CHECK:
			*check = true;
			break;
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

static int apply_args(struct config *c, int argc, char **argv, const struct option *options)
{
	char why[CONFIG_WHY] = "", name[64];
	struct config_at at = { .file = name, .layer = UINT_MAX };
	int opt, index, ret;

	optind = 0;
	while ((opt = getopt_long(argc, argv, "vhV", options, &index)) != -1) {
		if (opt >= 256)
			snprintf(name, sizeof(name), "--%s", options[index].name);
		ret = apply_option(c, opt, &at, optarg, why);
		if (ret < 0) {
			log_err("%s: %s", name, ret == -ENOMEM ? strerror(ENOMEM) : why);
			return ret;
		}
	}
	return 0;
}

int config_from_args(struct config *c, int argc, char **argv)
{
	struct option options[MAX_OPTIONS];
	bool check = false;
	int ret;

	fill_options(options);
	ret = scan_args(c, argc, argv, options, &check);
	if (ret == 0)
		ret = apply_args(c, argc, argv, options);
	if (ret == 0)
		ret = config_check(c);
	if (ret == 0 && check) {
		config_print(c, stdout);
		return 1;
	}
	return ret;
}
