/* SPDX-License-Identifier: MIT */
/*
 * report.h - what smcd-userctl can be asked for, and the daemon's reports as text
 *
 * An object is either a report of the daemon or a command of the tool's own with words and options
 * after it; both stand in one table, so that stems, help and errors are the same for all.
 *
 * A report is a JSON object; which members it has may change with the daemon's version, so the
 * printers take what is there and print "-" for what is not. Names in it were chosen by peers: only
 * printable characters reach the terminal, and no blank ever splits a cell in two.
 */
#ifndef SMCDU_CTL_REPORT_H
#define SMCDU_CTL_REPORT_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <json-c/json.h>

enum exit_status { OK = 0, FAILED = 1, USAGE = 2 };

#define CTL_NAME	"smcd-userctl"
#define CTL_MAX_OPTIONS 8

/* The command line, as a command gets it. */
struct ctl {
	const char *socket; /* NULL: the default */
	bool json;
	int argc; /* words after the command's name */
	char **argv;
	const char *opt[CTL_MAX_OPTIONS]; /* its own options by val: argument, "" without; else NULL */
};

struct report {
	const char *name; /* as the daemon calls it, and the operator */
	const char *help; /* one line */
	void (*print)(FILE *out, struct json_object *root);
	/* A command instead. */
	const char *args; /* "FILE [--count N]" */
	const struct option *options; /* val: 0..CTL_MAX_OPTIONS - 1, flag: NULL; or NULL */
	enum exit_status (*run)(const struct ctl *c);
};

/* All of them, ended by one without a name. */
extern const struct report reports[];

/* Whether @word is not empty and @of begins with it. */
bool ctl_is_stem(const char *word, const char *of);

/*
 * A report of the daemon, to be freed by json_object_put(). NULL after one line on stderr.
 */
struct json_object *ctl_ask(const struct ctl *c, const char *what);
void ctl_put_json(struct json_object *root);
/* At the end of all output: FAILED, after one line, if not everything could be written. */
enum exit_status ctl_finish(void);

enum exit_status capture_run(const struct ctl *c);
extern const struct option capture_options[];
enum exit_status config_run(const struct ctl *c);
extern const struct option config_options[];
enum exit_status diag_run(const struct ctl *c);
enum exit_status info_run(const struct ctl *c);

/*
 * The report that @word is a unique stem of (a whole name wins). NULL when there is none or more
 * than one; then *candidates, if not NULL, says how many.
 */
const struct report *report_find(const char *word, unsigned int *candidates);

struct column {
	const char *title;
	const char *key;
	bool number; /* flush right */
	bool words;  /* a sentence: blanks stay */
};

/* The elements of the array @rows under a header, in columns (ended by one without a title). */
void table_print(FILE *out, const struct column *columns, struct json_object *rows);

/*
 * The member @key of @o as one printable word in @buf; "-" when it is missing, empty or no scalar.
 */
const char *cell_text(struct json_object *o, const char *key, char *buf, size_t size);

#endif
