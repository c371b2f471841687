/* SPDX-License-Identifier: MIT */
/*
 * main.c - smcd-userctl: what the daemon knows, for operators
 *
 * The grammar is smc-tools' "OBJECT COMMAND" with unique stems, so that fingers need not relearn
 * it. Exit status: 0, 1 when the daemon could not be asked, 2 for a command line that makes no
 * sense.
 */
#include <string.h>

#include "smcd-user.h"
#include "smcd/ctl/report.h"
#include "vfio/base/log.h"

#define GO_ON	    (-1)
#define MAX_WORDS   8
#define MAX_LONGS   (4 + CTL_MAX_OPTIONS + 1)

enum { OPT_SOCKET = 's', OPT_FORMAT = 'f', OPT_HELP = 'h', OPT_VERSION = 'v' };

struct options {
	struct ctl ctl;
	const struct report *report; /* NULL until its word was found */
	char *words[MAX_WORDS];	     /* behind it */
};

static void usage(FILE *out)
{
	const struct report *r;

	fputs("Usage: " CTL_NAME " [OPTION]... OBJECT [COMMAND]\n"
	      "Shows what smcd-userd knows.\n"
	      "\n"
	      "Objects (any unique stem will do):\n", out);
	for (r = reports; r->name; r++) {
		if (!r->run)
			fprintf(out, "  %-22s %s\n", r->name, r->help);
	}
	fputs("\n"
	      "Tools:\n", out);
	for (r = reports; r->name; r++) {
		if (r->run)
			fprintf(out, "  %s %s\n  %22s %s\n", r->name, r->args, "", r->help);
	}
	fputs("\n"
	      "Commands:\n"
	      "  show                   print it (the default)\n"
	      "  help                   say what it is\n"
	      "\n"
	      "Options:\n"
	      "      --socket PATH      the daemon's socket\n"
	      "      --format text|json columns for people, or everything for programs\n"
	      "  -h, --help\n"
	      "  -v, --version\n", out);
}

static int bad_object(const char *word, unsigned int candidates)
{
	const struct report *r;

	fprintf(stderr, CTL_NAME ": '%s' %s:", word, candidates ? "could be any of" :
		"is no object; there are");
	for (r = reports; r->name; r++) {
		if (!candidates || ctl_is_stem(word, r->name))
			fprintf(stderr, " %s", r->name);
	}
	fputc('\n', stderr);
	return USAGE;
}

/* The command of a report. */
static int parse_command(const struct options *o)
{
	char *const *word = o->words;

	if (o->ctl.argc > 1) {
		fprintf(stderr, CTL_NAME ": '%s' is one word too many\n", word[1]);
		return USAGE;
	}
	if (o->ctl.argc == 0 || ctl_is_stem(word[0], "show"))
		return GO_ON;
	if (ctl_is_stem(word[0], "help")) {
		printf("%s: %s\n", o->report->name, o->report->help);
		return OK;
	}
	fprintf(stderr, CTL_NAME ": '%s' is no command; there are show and help\n", word[0]);
	return USAGE;
}

/* The first word is the object, the others are its own. */
static int parse_word(struct options *o, char *word)
{
	unsigned int candidates = 0;

	if (o->report) {
		if (o->ctl.argc == MAX_WORDS) {
			fprintf(stderr, CTL_NAME ": '%s' is one word too many\n", word);
			return USAGE;
		}
		o->words[o->ctl.argc++] = word;
		return GO_ON;
	}
	if (ctl_is_stem(word, "help")) {
		usage(stdout);
		return OK;
	}
	o->report = report_find(word, &candidates);
	return o->report ? GO_ON : bad_object(word, candidates);
}

static int parse_option(struct options *o, int c)
{
	switch (c) {
	case OPT_SOCKET:
		o->ctl.socket = optarg;
		return GO_ON;
	case OPT_FORMAT:
		o->ctl.json = strcmp(optarg, "json") == 0;
		if (o->ctl.json || strcmp(optarg, "text") == 0)
			return GO_ON;
		fprintf(stderr, CTL_NAME ": --format is text or json, not '%s'\n", optarg);
		return USAGE;
	case OPT_HELP:
		usage(stdout);
		return OK;
	case OPT_VERSION:
		printf(CTL_NAME " %s\n", smcdu_version());
		return OK;
	default:
		if (c < CTL_MAX_OPTIONS) {
			o->ctl.opt[c] = optarg ? optarg : "";
			return GO_ON;
		}
		fprintf(stderr, "Try '" CTL_NAME " --help'.\n");
		return USAGE;
	}
}

/* Adds the options of a command to the tool's own. */
static void add_options(struct option longs[MAX_LONGS], const struct report *r)
{
	size_t n = 4;

	for (const struct option *p = r->options; p && p->name && n < MAX_LONGS - 1; p++)
		longs[n++] = *p;
}

/* Options may stand anywhere; those of a command behind its name. */
static int parse(int argc, char **argv, struct options *o)
{
	struct option longs[MAX_LONGS] = {
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "format", required_argument, NULL, OPT_FORMAT },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
	};
	int c, status = GO_ON;

	while (status == GO_ON && optind < argc) {
		c = getopt_long(argc, argv, "+hv", longs, NULL);
		if (c != -1) {
			status = parse_option(o, c);
		} else if (optind < argc) {
			bool first = !o->report;

			status = parse_word(o, argv[optind++]);
			if (first && o->report)
				add_options(longs, o->report);
		}
	}
	if (status != GO_ON)
		return status;
	if (!o->report) {
		usage(stderr);
		return USAGE;
	}
	o->ctl.argv = o->words;
	if (!o->report->run)
		return parse_command(o);
	if (o->ctl.argc > 0 && strcmp(o->words[0], "help") == 0) {
		printf("%s %s: %s\n", o->report->name, o->report->args, o->report->help);
		return OK;
	}
	return GO_ON;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int status = parse(argc, argv, &o);
	struct json_object *root;

	log_init(CTL_NAME, LOG_LEVEL_INFO);
	if (status != GO_ON)
		return status;
	if (o.report->run)
		return o.report->run(&o.ctl);
	root = ctl_ask(&o.ctl, o.report->name);
	if (!root)
		return FAILED;
	if (o.ctl.json)
		ctl_put_json(root);
	else
		o.report->print(stdout, root);
	json_object_put(root);
	return ctl_finish();
}
