/* SPDX-License-Identifier: MIT */
/*
 * main.c - smcd-userctl: what the daemon knows, for operators
 *
 * The grammar is smc-tools' "OBJECT COMMAND" with unique stems, so that fingers need not relearn
 * it. Exit status: 0, 1 when the daemon could not be asked, 2 for a command line that makes no
 * sense.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "smcd-user.h"
#include "smcd/ctl/report.h"

#define NAME "smcd-userctl"

enum exit_status { OK = 0, FAILED = 1, USAGE = 2, GO_ON = -1 };

struct options {
	const char *socket;
	bool json;
	const struct report *report;
};

static void usage(FILE *out)
{
	const struct report *r;

	fputs("Usage: " NAME " [OPTION]... OBJECT [COMMAND]\n"
	      "Shows what smcd-userd knows.\n"
	      "\n"
	      "Objects (any unique stem will do):\n", out);
	for (r = reports; r->name; r++)
		fprintf(out, "  %-22s %s\n", r->name, r->help);
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

static bool is_stem(const char *word, const char *of)
{
	return *word && strncmp(word, of, strlen(word)) == 0;
}

static int bad_object(const char *word, unsigned int candidates)
{
	const struct report *r;

	fprintf(stderr, NAME ": '%s' %s:", word, candidates ? "could be any of" :
		"is no object; there are");
	for (r = reports; r->name; r++) {
		if (!candidates || is_stem(word, r->name))
			fprintf(stderr, " %s", r->name);
	}
	fputc('\n', stderr);
	return USAGE;
}

/* OBJECT [COMMAND] */
static int parse_words(int argc, char **argv, struct options *o)
{
	unsigned int candidates = 0;

	if (argc == 0) {
		usage(stderr);
		return USAGE;
	}
	if (is_stem(argv[0], "help")) {
		usage(stdout);
		return OK;
	}
	o->report = report_find(argv[0], &candidates);
	if (!o->report)
		return bad_object(argv[0], candidates);
	if (argc > 2) {
		fprintf(stderr, NAME ": '%s' is one word too many\n", argv[2]);
		return USAGE;
	}
	if (argc == 1 || is_stem(argv[1], "show"))
		return GO_ON;
	if (is_stem(argv[1], "help")) {
		printf("%s: %s\n", o->report->name, o->report->help);
		return OK;
	}
	fprintf(stderr, NAME ": '%s' is no command; there are show and help\n", argv[1]);
	return USAGE;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "hv", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->socket = optarg;
			break;
		case 'f':
			o->json = strcmp(optarg, "json") == 0;
			if (!o->json && strcmp(optarg, "text") != 0) {
				fprintf(stderr, NAME ": --format is text or json, not '%s'\n",
					optarg);
				return USAGE;
			}
			break;
		case 'h':
			usage(stdout);
			return OK;
		case 'v':
			printf(NAME " %s\n", smcdu_version());
			return OK;
		default:
			fprintf(stderr, "Try '" NAME " --help'.\n");
			return USAGE;
		}
	}
	return parse_words(argc - optind, argv + optind, o);
}

/* The daemon's answer; to be freed. NULL after one line on stderr. */
static char *ask(const struct options *o)
{
	struct smcdu_settings settings;
	struct smcdu_ctx *ctx = NULL;
	char *json = NULL;
	int r;

	smcdu_default_settings(&settings);
	settings.socket_path = o->socket;
	r = smcdu_open(&settings, &ctx);
	if (r == 0)
		r = smcdu_query(ctx, o->report->name, &json);
	if (r < 0) {
		const char *why = smcdu_last_error();

		fprintf(stderr, NAME ": %s\n", *why ? why : strerror(-r));
		json = NULL;
	}
	smcdu_close_ctx(ctx);
	return json;
}

static int print(const struct options *o, const char *text)
{
	struct json_object *root = json_tokener_parse(text);

	if (!json_object_is_type(root, json_type_object)) {
		fprintf(stderr, NAME
			": the daemon's answer is no report: is it of another version?\n");
		json_object_put(root);
		return FAILED;
	}
	if (o->json)
		puts(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY |
			JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		o->report->print(stdout, root);
	json_object_put(root);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, NAME ": standard output: %s\n", strerror(errno));
		return FAILED;
	}
	return OK;
}

int main(int argc, char **argv)
{
	struct options o = { 0 };
	int status = parse(argc, argv, &o);
	char *text;

	if (status != GO_ON)
		return status;
	text = ask(&o);
	if (!text)
		return FAILED;
	status = print(&o, text);
	free(text);
	return status;
}
